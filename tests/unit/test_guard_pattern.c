/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns: what matches, what is refused, and how much a stream holds. */
#include "guard_text.h"
#include "t.h"

static int compile_pattern(const char *values, const char *action, struct guard_policy **ret, struct err *err)
{
	char text[4096];

	snprintf(text, sizeof(text),
		 "{\"name\":\"t\",\"rules\":[{\"id\":\"p\",\"kind\":\"pattern\",\"action\":\"%s\",\"values\":[%s]}]}",
		 action, values);
	return guard_from_json(text, ret, err);
}

static const struct {
	const char *values, *text, *hits;
} match_cases[] = {
	{"\"sk-[a-z0-9]{4,8}\"", "key sk-abc1234567", "4-15 p"},
	{"\"sk-[a-z0-9]{4,8}\"", "sk-abc", ""},
	{"\"(?i)Foo(?:bar|baz)?\"", "xFOOBAZ foo", "1-7 p, 8-11 p"},
	{"\"\\\\bcat\\\\b\"", "cat cats concat cat", "0-3 p, 16-19 p"},
	{"\"^ab\"", "abab\nab", "0-2 p"},
	{"\"(?m)^ab$\"", "abab\nab\nab", "5-7 p, 8-10 p"},
	{"\"ab$\"", "ab ab\n", "3-5 p"},
	{"\"ab\\\\z\"", "ab ab\n", ""},
	{"\"a.c\"", "abc a\nc", "0-3 p"},
	{"\"(?s)a.c\"", "abc a\nc", "0-3 p, 4-7 p"},
	{"\"[^0-9 ]{2}\"", "1ab 2c", "1-3 p"},
	{"\"[[:upper:]]{2}x\"", "ABx", "0-3 p"},
	{"\"\\\\x41\\\\d\\\\D\"", "A1b", "0-3 p"},
	{"\"a|ab|abc\"", "abcab", "0-3 p, 3-5 p"},
	{"\"abc\",\"bcde\"", "abcde", "0-3 p"},
	{"\"(?P<n>ab){2}\"", "ababab", "0-4 p"},
	{"\"a{2}?\"", "aaaa", "0-2 p, 2-4 p"},
};

TEST(patterns_match_leftmost_and_longest)
{
	struct guard_scratch *s = guard_scratch_new();

	for (size_t i = 0; i < COUNT_OF(match_cases); i++) {
		struct guard_policy *p = NULL;
		struct guard_result r;
		struct err err = {0};

		CHECK_INT(compile_pattern(match_cases[i].values, "mask", &p, &err), 0);
		CHECK_STR(err.text, "");
		guard_result_init(&r);
		guard_check(p, s, GUARD_INPUT, slice_from(match_cases[i].text), &r);
		CHECK_STR(hits_text(p, &r), match_cases[i].hits);
		guard_policy_free(p);
	}
	guard_scratch_free(s);
}

static const struct {
	const char *values, *action;
	int rc;
	const char *says;
} compile_cases[] = {
	{"\"a{1,200}\"", "mask", 0, ""},
	{"\"xa+\"", "flag", 0, ""},
	{"\"xa+\"", "mask", E_INVALID, "give it a bound such as {1,200}"},
	{"\"xa*\"", "block", E_INVALID, "rule 'p'"},
	{"\"a[bc]{0,4087}\"", "fallback", 0, ""},
	{"\"a[bc]{0,4088}\"", "fallback", E_INVALID, "the limit is 4088"},
	{"\"a(\"", "flag", E_INVALID, "does not compile"},
	{"\"a(?=b)\"", "flag", E_INVALID, "does not compile"},
	{"\"a*\"", "flag", E_INVALID, "matches the empty text"},
	{"\"(a)\\\\1\"", "flag", E_INVALID, "does not compile"},
	{"\"(*UTF8)a\"", "flag", E_INVALID, "works on bytes"},
	{"\"\\\\Qa\\\\E\"", "mask", E_INVALID, "a stream cannot follow"},
	{"\"\\\\Qa\\\\E\"", "flag", 0, ""},
};

TEST(compiling_says_what_is_wrong_with_an_expression)
{
	for (size_t i = 0; i < COUNT_OF(compile_cases); i++) {
		struct guard_policy *p = NULL;
		struct err err = {0};

		CHECK_INT(compile_pattern(compile_cases[i].values, compile_cases[i].action, &p, &err),
			  compile_cases[i].rc);
		CHECK(strstr(err.text, compile_cases[i].says));
		if (!strstr(err.text, compile_cases[i].says))
			printf("# %s\n", err.text);
		guard_policy_free(p);
	}
}

static const struct {
	const char *values, *text;
	unsigned safe;
} hold_cases[] = {
	{"\"sk-[a-z]{4,9}\"", "task", 2},
	{"\"sk-[a-z]{4,9}\"", "tasks", 4},
	{"\"sk-[a-z]{4,9}\"", "task-", 2},
	{"\"sk-[a-z]{4,9}\"", "task- ", 6},
	{"\"sk-[a-z]{4,9}\"", "task-abcd", 2},
	{"\"sk-[a-z]{4,9}\"", "task-abcd ", 10},
	{"\"sk-[a-z]{4,9}\"", "task-abcdefghi", 14},
	{"\"\\\\bsk-[a-z]{4,9}\"", "task-abcd", 9},
	{"\"\\\\bcat\\\\b\"", "cat", 0},
	{"\"\\\\bcat\\\\b\"", "cats", 4},
	{"\"ab$\"", "ab", 0},
	{"\"ab$\"", "ab\n", 0},
	{"\"ab$\"", "ab\n\n", 4},
	{"\"[0-9]{3,6}x\"", "a12345", 1},
	{"\"[0-9]{3,6}x\"", "a12345678", 3},
};

TEST(a_stream_holds_exactly_what_may_become_a_match)
{
	struct guard_scratch *s = guard_scratch_new();

	for (size_t i = 0; i < COUNT_OF(hold_cases); i++) {
		struct guard_policy *p = NULL;
		struct guard_stream *g;
		struct guard_result r;
		uint64_t safe;

		CHECK_INT(compile_pattern(hold_cases[i].values, "mask", &p, NULL), 0);
		g = guard_stream_new(p, s, GUARD_OUTPUT);
		guard_result_init(&r);
		guard_stream_feed(g, slice_from(hold_cases[i].text), &r, &safe);
		CHECK_INT(safe, hold_cases[i].safe);
		guard_stream_free(g);
		guard_policy_free(p);
	}
	guard_scratch_free(s);
}

TEST(an_expression_without_a_bound_is_reported_once_where_it_ends_first)
{
	struct guard_scratch *s = guard_scratch_new();
	struct guard_policy *p = NULL;
	struct guard_result r;
	char text[4200];

	/* Behind much other text: what the library misses when start offsets are asked for. */
	memset(text, ' ', sizeof(text));
	memcpy(text + 4100, "pass=secret!", 13);
	CHECK_INT(compile_pattern("\"pass=[a-z]+\",\"q+\"", "flag", &p, NULL), 0);
	guard_result_init(&r);
	guard_check(p, s, GUARD_INPUT, slice_from(text), &r);
	CHECK_STR(hits_text(p, &r), "4100-4106 p");
	for (size_t at = 0; at < 4000; at += 13) {
		memset(text, ' ', sizeof(text));
		memcpy(text + at, "qq", 2);
		guard_result_init(&r);
		guard_check(p, s, GUARD_INPUT, (struct slice){text, sizeof(text)}, &r);
		CHECK_INT(r.n_hits, 1);
	}
	guard_policy_free(p);
	guard_scratch_free(s);
}

/* Every byte begins a match that goes on for long and fails: what the budget of steps is for. */
TEST(a_check_that_takes_too_long_has_failed_and_does_what_on_error_says)
{
	static const char *const on_error[] = {"block", "allow"};
	struct guard_scratch *s = guard_scratch_new();
	static char text[100000];

	memset(text, 'a', sizeof(text));
	for (size_t i = 0; i < 2; i++) {
		struct guard_policy *p = NULL;
		struct guard_result r;
		char json[300];

		snprintf(json, sizeof(json),
			 "{\"name\":\"t\",\"on_error\":\"%s\",\"rules\":[{\"id\":\"p\",\"kind\":\"pattern\",\"action\":"
			 "\"mask\","
			 "\"values\":[\"(?:a{0,40}a{0,40}){1,40}x\"]}]}",
			 on_error[i]);
		CHECK_INT(guard_from_json(json, &p, NULL), 0);
		guard_result_init(&r);
		guard_check(p, s, GUARD_INPUT, (struct slice){text, sizeof(text)}, &r);
		CHECK(r.failed);
		CHECK_INT(r.action, i == 0 ? GUARD_BLOCK : GUARD_ALLOW);
		guard_policy_free(p);
	}
	guard_scratch_free(s);
}
