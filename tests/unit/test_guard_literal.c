/* SPDX-License-Identifier: Apache-2.0 */
/* Literals: folding, white space, word boundaries, and how much a stream holds. */
#include "guard_text.h"
#include "t.h"

static struct guard_policy *compile_literals(const char *values, const char *more)
{
	struct guard_policy *p = NULL;
	struct err err = {0};
	char text[4096];

	snprintf(text, sizeof(text),
		 "{\"name\":\"t\",\"rules\":[{\"id\":\"l\",\"kind\":\"literal\",\"action\":\"mask\",\"values\":[%s]%s}]"
		 "}",
		 values, more);
	CHECK_INT(guard_from_json(text, &p, &err), 0);
	CHECK_STR(err.text, "");
	return p;
}

static const char *check(const struct guard_policy *p, const char *text)
{
	struct guard_scratch *s = guard_scratch_new();
	struct guard_result r;

	guard_result_init(&r);
	guard_check(p, s, GUARD_OUTPUT, slice_from(text), &r);
	guard_scratch_free(s);
	return hits_text(p, &r);
}

static const struct {
	const char *values, *more, *text, *hits;
} match_cases[] = {
	{"\"kill you\"", "", "I will KILL You.", "7-15 l"},
	{"\"kill you\"", "", "kill \t\r\n you", "0-12 l"},
	{"\" kill  you \"", "", "kill you", "0-8 l"},
	{"\"kill you\"", "", "skill you", ""},
	{"\"kill you\"", "", "kill yours", ""},
	{"\"kill you\"", "", "kill you_", ""},
	{"\"kill you\"", "", "kill you\xc3\xa9", ""},
	{"\"kill you\"", "", "\xc3\xa9kill you", ""},
	{"\"kill you\"", "", "kill-kill you!", "5-13 l"},
	{"\"kill you\"", ",\"anywhere\":true", "skill yours", "1-9 l"},
	{"\"-x-\"", "", "a-x-b", "1-4 l"},
	{"\"x.\"", "", "ax. x.y x. x", "4-6 l, 8-10 l"},
	{"\"a\",\"a b\",\"a b c\"", "", "a b a b c a", "0-3 l, 4-9 l, 10-11 l"},
	{"\"b c d\",\"a b\"", "", "a b c d", "0-3 l"},
	{"\"aa\"", ",\"anywhere\":true", "aaaaa", "0-2 l, 2-4 l"},
	{"\"caf\xc3\xa9\"", "", "Caf\xc3\xa9!", "0-5 l"},
	{"\"i\"", "", "I i hi", "0-1 l, 2-3 l"},
	{"\"go\"", "", "good go Go", "5-7 l, 8-10 l"},
	{"\"a\"", "", "", ""},
};

TEST(literals_match_folded_and_at_word_boundaries)
{
	for (size_t i = 0; i < COUNT_OF(match_cases); i++) {
		struct guard_policy *p = compile_literals(match_cases[i].values, match_cases[i].more);

		CHECK_STR(check(p, match_cases[i].text), match_cases[i].hits);
		guard_policy_free(p);
	}
}

TEST(a_run_of_white_space_counts_as_one_up_to_64_bytes)
{
	struct guard_policy *p = compile_literals("\"a b\"", "");
	char text[80];

	snprintf(text, sizeof(text), "a%64sb", "");
	CHECK_STR(check(p, text), "0-66 l");
	snprintf(text, sizeof(text), "a%65sb", "");
	CHECK_STR(check(p, text), "");
	guard_policy_free(p);
}

TEST(a_literal_may_be_as_long_as_a_value_and_many_states_deep)
{
	char value[POLICY_MAX_VALUE_BYTES + 3], text[POLICY_MAX_VALUE_BYTES + 3];
	struct guard_policy *p;

	memset(text, 'x', sizeof(text));
	snprintf(value, sizeof(value), "\"%.*s\"", POLICY_MAX_VALUE_BYTES, text);
	text[POLICY_MAX_VALUE_BYTES] = 0;
	p = compile_literals(value, "");
	CHECK_STR(check(p, text), "0-512 l");
	text[POLICY_MAX_VALUE_BYTES - 1] = 0;
	CHECK_STR(check(p, text), "");
	guard_policy_free(p);
}

/* More states than there are rows for: the deep ones go by goto and fail. */
TEST(a_list_larger_than_the_rows_still_matches)
{
	struct policy_rule rule = {.id = SLICE_LIT("big"),
				   .category = SLICE_LIT(""),
				   .kind = GUARD_LITERAL,
				   .action = GUARD_BLOCK,
				   .side = GUARD_BOTH};
	struct policy policy = {.name = SLICE_LIT("t"), .rules = &rule, .n_rules = 1};
	static char text[8000][40];
	static struct slice values[8000];
	struct guard_policy *p = NULL;
	struct err err;
	char say[64];

	for (size_t i = 0; i < COUNT_OF(values); i++) {
		snprintf(text[i], sizeof(text[i]), "%zu the number of word %zu", i * 7919 % 8000, i);
		values[i] = slice_from(text[i]);
	}
	rule.values = values;
	rule.n_values = COUNT_OF(values);
	CHECK_INT(guard_policy_compile(&policy, &p, &err), 0);
	CHECK_STR(check(p, text[7999]), (snprintf(say, sizeof(say), "0-%zu big", strlen(text[7999])), say));
	CHECK_STR(check(p, "12 the number of word"), "");
	guard_policy_free(p);
}

static const struct {
	const char *values, *more, *text;
	unsigned safe;
} hold_cases[] = {
	{"\"kill you\"", "", "I will", 6},
	{"\"kill you\"", "", "I will ", 7},
	{"\"kill you\"", "", "I will k", 7},
	{"\"kill you\"", "", "I will kill \n ", 7},
	{"\"kill you\"", "", "I will skill y", 14},
	{"\"kill you\"", "", "kill you", 0}, /* the next byte may go on the word */
	{"\"kill you\"", "", "kill yours", 10},
	{"\"kill you\"", "", "kill you ", 9}, /* decided: a hit */
	{"\"kill you\"", "", "kill kill", 5},
	{"\"kill you.\"", "", "kill you", 0},
	{"\"kill you.\"", "", "kill you.", 9},
	{"\"kill\",\"kill you\"", "", "kill y", 0},
	{"\"kill\",\"kill you\"", "", "kill x", 6},
	{"\"ab\"", ",\"anywhere\":true", "aa", 1},
	{"\"ab\"", ",\"anywhere\":true", "ab", 2},
};

TEST(a_stream_holds_exactly_what_may_become_a_literal)
{
	for (size_t i = 0; i < COUNT_OF(hold_cases); i++) {
		struct guard_policy *p = compile_literals(hold_cases[i].values, hold_cases[i].more);
		struct guard_scratch *s = guard_scratch_new();
		struct guard_stream *g = guard_stream_new(p, s, GUARD_OUTPUT);
		struct guard_result r;
		uint64_t safe;

		guard_result_init(&r);
		guard_stream_feed(g, slice_from(hold_cases[i].text), &r, &safe);
		CHECK_INT(safe, hold_cases[i].safe);
		guard_stream_free(g);
		guard_scratch_free(s);
		guard_policy_free(p);
	}
}
