/* SPDX-License-Identifier: Apache-2.0 */
/* Whole texts: hits of all kinds together, the strongest action, masks, limits. */
#include "guard_text.h"
#include "serving/guardrail/guard_internal.h"
#include "t.h"

static const char mixed[] =
	"{\"name\":\"mixed\",\"rules\":["
	"{\"id\":\"word\",\"kind\":\"literal\",\"action\":\"flag\",\"severity\":\"low\",\"category\":\"c\",\"values\":["
	"\"bad word\"]},"
	"{\"id\":\"key\",\"kind\":\"pattern\",\"action\":\"mask\",\"values\":[\"sk-[a-z]{4,20}\"]},"
	"{\"id\":\"mail\",\"kind\":\"pii\",\"action\":\"mask\",\"mask\":\"<mail>\",\"values\":[\"email\"]},"
	"{\"id\":\"stop\",\"kind\":\"literal\",\"action\":\"block\",\"side\":\"output\",\"values\":[\"stop now\"]},"
	"{\"id\":\"fall\",\"kind\":\"literal\",\"action\":\"fallback\",\"side\":\"input\",\"values\":[\"fall "
	"back\"]}]}";

static struct guard_policy *compile(const char *json)
{
	struct guard_policy *p = NULL;
	struct err err = {0};

	CHECK_INT(guard_from_json(json, &p, &err), 0);
	CHECK_STR(err.text, "");
	return p;
}

static const struct {
	enum guard_side side;
	const char *text, *hits, *masked;
	enum guard_action action;
} check_cases[] = {
	{GUARD_INPUT, "nothing here", "", "nothing here", GUARD_ALLOW},
	{GUARD_INPUT, "", "", "", GUARD_ALLOW},
	{GUARD_INPUT, "a bad word", "2-10 word", "a bad word", GUARD_FLAG},
	{GUARD_INPUT, "sk-abcdef bad word a@b.de", "0-9 key, 10-18 word, 19-25 mail", "[key] bad word <mail>",
	 GUARD_MASK},
	{GUARD_INPUT, "stop now", "", "stop now", GUARD_ALLOW},
	{GUARD_OUTPUT, "stop now sk-abcd", "0-8 stop, 9-16 key", "stop now [key]", GUARD_BLOCK},
	{GUARD_INPUT, "fall back", "0-9 fall", "fall back", GUARD_FALLBACK},
	{GUARD_OUTPUT, "x sk-abcd@example.com y", "2-9 key, 2-21 mail", "x <mail> y", GUARD_MASK},
	{GUARD_OUTPUT, "sk-abcd", "0-7 key", "[key]", GUARD_MASK},
};

TEST(a_text_is_judged_by_all_kinds_and_masked)
{
	struct guard_scratch *s = guard_scratch_new();
	struct guard_policy *p = compile(mixed);

	for (size_t i = 0; i < COUNT_OF(check_cases); i++) {
		CLEANUP(buf_release) struct buf out;
		struct guard_result r;

		buf_init(&out, 1000);
		guard_result_init(&r);
		guard_check(p, s, check_cases[i].side, slice_from(check_cases[i].text), &r);
		CHECK_STR(hits_text(p, &r), check_cases[i].hits);
		CHECK_INT(r.action, check_cases[i].action);
		CHECK(!r.failed && !r.overflow);
		CHECK_INT(guard_mask(p, &r, 0, slice_from(check_cases[i].text), &out), 0);
		CHECK_STR(buf_cstr(&out), check_cases[i].masked);
	}
	guard_policy_free(p);
	guard_scratch_free(s);
}

TEST(masks_that_overlap_become_one)
{
	struct guard_scratch *s = guard_scratch_new();
	struct guard_policy *p =
		compile("{\"name\":\"t\",\"rules\":["
			"{\"id\":\"a\",\"kind\":\"pattern\",\"action\":\"mask\",\"values\":[\"abc\"]},"
			"{\"id\":\"b\",\"kind\":\"pattern\",\"action\":\"mask\",\"values\":[\"cde\"]},"
			"{\"id\":\"c\",\"kind\":\"pattern\",\"action\":\"flag\",\"values\":[\"bcd\"]}]}");
	CLEANUP(buf_release) struct buf out;
	CLEANUP(buf_release) struct buf small;
	struct guard_result r;

	buf_init(&out, 1000);
	buf_init(&small, 4);
	guard_result_init(&r);
	guard_check(p, s, GUARD_OUTPUT, SLICE_LIT("1abcde2abc3"), &r);
	CHECK_STR(hits_text(p, &r), "1-4 a, 2-5 c, 3-6 b, 7-10 a");
	CHECK_INT(guard_mask(p, &r, 0, SLICE_LIT("1abcde2abc3"), &out), 0);
	CHECK_STR(buf_cstr(&out), "1[a]2[a]3");
	CHECK_INT(guard_mask(p, &r, 0, SLICE_LIT("1abcde2abc3"), &small), E_TOOBIG);
	guard_policy_free(p);
	guard_scratch_free(s);
}

TEST(several_texts_share_a_result)
{
	struct guard_scratch *s = guard_scratch_new();
	struct guard_policy *p = compile(mixed);
	CLEANUP(buf_release) struct buf out;
	struct guard_result r;

	buf_init(&out, 1000);
	guard_result_init(&r);
	guard_check(p, s, GUARD_INPUT, SLICE_LIT("a sk-abcd"), &r);
	CHECK_INT(r.n_hits, 1);
	guard_check(p, s, GUARD_INPUT, SLICE_LIT("a@b.de bad word"), &r);
	CHECK_INT(r.n_hits, 3);
	CHECK_INT(r.hit[1].start, 0);
	CHECK_INT(guard_mask(p, &r, 1, SLICE_LIT("a@b.de bad word"), &out), 0);
	CHECK_STR(buf_cstr(&out), "<mail> bad word");
	guard_policy_free(p);
	guard_scratch_free(s);
}

TEST(past_64_hits_the_rest_counts_and_a_lost_mask_is_a_failure)
{
	struct guard_scratch *s = guard_scratch_new();

	for (int mask = 0; mask < 2; mask++) {
		struct guard_policy *p =
			compile(mask ? "{\"name\":\"t\",\"rules\":[{\"id\":\"a\",\"kind\":\"literal\",\"action\":"
				       "\"mask\",\"values\":[\"a\"]}]}"
				     : "{\"name\":\"t\",\"rules\":[{\"id\":\"a\",\"kind\":\"literal\",\"action\":"
				       "\"flag\",\"values\":[\"a\"]}]}");
		char text[2 * 65];

		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = i % 2 ? ' ' : 'a';
		for (size_t n = 64; n <= 65; n++) {
			struct guard_result r;

			guard_result_init(&r);
			guard_check(p, s, GUARD_OUTPUT, (struct slice){text, 2 * n}, &r);
			CHECK_INT(r.n_hits, 64);
			CHECK_INT(r.overflow, n == 65);
			CHECK_INT(r.failed, n == 65 && mask);
			CHECK_INT(r.action, !mask ? GUARD_FLAG : n == 65 ? GUARD_BLOCK : GUARD_MASK);
		}
		guard_policy_free(p);
	}
	guard_scratch_free(s);
}

TEST(a_compiled_policy_tells_about_itself)
{
	struct guard_policy *p = compile(mixed), *empty = compile("{\"name\":\"empty\",\"rules\":[]}");
	struct guard_policy *flags =
		compile("{\"name\":\"f\",\"rules\":[{\"id\":\"a\",\"kind\":\"literal\",\"action\":\"flag\","
			"\"side\":\"input\",\"values\":[\"a\"]}]}");
	struct guard_scratch *s = guard_scratch_new();
	struct guard_rule_info info = guard_rule(p, 2);
	struct guard_result r;

	CHECK_STR(guard_policy_name(p), "mixed");
	CHECK(slice_eq_str(info.id, "mail") && slice_eq_str(info.mask, "<mail>"));
	CHECK_INT(info.kind, GUARD_PII);
	CHECK(slice_eq_str(guard_rule(p, 1).mask, "[key]"));
	CHECK_INT(guard_rule(p, 0).severity, GUARD_LOW);
	CHECK(guard_policy_has(p, GUARD_INPUT) && guard_policy_intervenes(p, GUARD_OUTPUT));
	CHECK(!guard_policy_has(empty, GUARD_BOTH) && !guard_policy_intervenes(empty, GUARD_BOTH));
	CHECK(guard_policy_has(flags, GUARD_INPUT) && !guard_policy_has(flags, GUARD_OUTPUT));
	CHECK(!guard_policy_intervenes(flags, GUARD_INPUT));
	CHECK(!guard_stream_new(flags, s, GUARD_OUTPUT));
	guard_result_init(&r);
	guard_check(empty, s, GUARD_INPUT, SLICE_LIT("a"), &r);
	CHECK_INT(r.action, GUARD_ALLOW);
	guard_policy_free(p);
	guard_policy_free(flags);
	guard_policy_free(empty);
	guard_policy_free(NULL);
	guard_scratch_free(s);
	guard_scratch_free(NULL);
}

TEST(one_scratch_serves_many_policies_in_turn)
{
	struct guard_scratch *s = guard_scratch_new();

	for (int i = 0; i < 100; i++) {
		struct guard_policy *p =
			compile(i % 2 ? mixed
				      : "{\"name\":\"t\",\"rules\":[{\"id\":\"a\",\"kind\":\"pattern\",\"action\":"
					"\"flag\",\"values\":[\"ab{3,90}c\",\"x+\"]}]}");
		struct guard_result r;

		guard_result_init(&r);
		guard_check(p, s, GUARD_INPUT, SLICE_LIT("abbbc xx a sk-abcd"), &r);
		CHECK_STR(hits_text(p, &r), i % 2 ? "11-18 key" : "0-5 a, 6-7 a");
		guard_policy_free(p);
	}
	CHECK(guard_scratch_bytes(s) > 0);
	guard_scratch_free(s);
}
