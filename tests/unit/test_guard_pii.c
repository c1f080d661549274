/* SPDX-License-Identifier: Apache-2.0 */
/* Personal data: what is one, what only looks like one, and how much a stream holds. */
#include "guard_text.h"
#include "t.h"

static struct guard_policy *compile_pii(const char *name)
{
	struct guard_policy *p = NULL;
	char text[256];

	snprintf(text, sizeof(text),
		 "{\"name\":\"t\",\"rules\":[{\"id\":\"p\",\"kind\":\"pii\",\"action\":\"mask\",\"values\":[\"%s\"]}]}",
		 name);
	CHECK_INT(guard_from_json(text, &p, NULL), 0);
	return p;
}

static const struct {
	const char *name, *text, *hits;
} match_cases[] = {
	{"card", "4111111111111111", "0-16 p"},
	{"card", "4111 1111 1111 1111.", "0-19 p"},
	{"card", "4111-1111-1111-1111", "0-19 p"},
	{"card", "3782 822463 10005", "0-17 p"},
	{"card", "378282246310005", "0-15 p"},
	{"card", "4111111111111112", ""},  /* checksum */
	{"card", "9111111111111119", ""},  /* no issuer */
	{"card", "14111111111111111", ""}, /* inside a longer number */
	{"card", "41111111111111111", ""},
	{"card", "x4111111111111111", ""},
	{"card", "4111-1111-1111-1111-1", ""},
	{"card", "4111 1111-1111 1111", ""},
	{"card", "4111 1111 1111 1111 123", "0-19 p"},
	{"card", "4111  1111 1111 1111", ""},
	{"card", "1234 4111 1111 1111 1111", "5-24 p"},
	{"email", "write to joe.b+x@mail.example.co.uk.", "9-35 p"},
	{"email", "joe@example", ""},
	{"email", "joe@example.c", ""},
	{"email", "joe@-example.com", ""},
	{"email", "joe@exa..com", ""},
	{"email", "joe.@example.com", ""},
	{"email", "@example.com a@b@c.de", "15-21 p"},
	{"email", "..joe@example.com", "2-17 p"},
	{"email", "<joe@example.com>", "1-16 p"},
	{"iban", "DE89370400440532013000", "0-22 p"},
	{"iban", "DE89 3704 0044 0532 0130 00", "0-27 p"},
	{"iban", "GB82WEST12345698765432,", "0-22 p"},
	{"iban", "DE89370400440532013001", ""},
	{"iban", "DE893704004405320130001", ""},
	{"iban", "XX89370400440532013000", ""},
	{"iban", "ADE89370400440532013000", ""},
	{"ssn", "536-22-8726", "0-11 p"},
	{"ssn", "536 22 8726.", "0-11 p"},
	{"ssn", "536-22 8726", ""},
	{"ssn", "536228726", ""},
	{"ssn", "000-22-8726", ""},
	{"ssn", "666-22-8726", ""},
	{"ssn", "900-22-8726", ""},
	{"ssn", "536-00-8726", ""},
	{"ssn", "536-22-0000", ""},
	{"ssn", "536-22-87261", ""},
	{"ssn", "1-536-22-8726", ""},
	{"ssn", "536-22-8726-1", ""},
	{"phone", "+49 30 901820", "0-13 p"},
	{"phone", "+1 (212) 555-0123", "0-17 p"},
	{"phone", "(212) 555-0123", "0-14 p"},
	{"phone", "(212)555-0123", "0-13 p"},
	{"phone", "212-555-0123", "0-12 p"},
	{"phone", "212.555.0123", "0-12 p"},
	{"phone", "1-212-555-0123", "0-14 p"},
	{"phone", "001-212-555-0123x45", "0-19 p"},
	{"phone", "6033391", ""},
	{"phone", "2125550123", ""},
	{"phone", "2024-10-12", ""},
	{"phone", "192.168.100.200", ""},
	{"phone", "1.2.3.4567", ""},
	{"phone", "+1", ""},
	{"phone", "+1234567", ""},
	{"phone", "+1234567890123456", ""},
	{"phone", "212-555-01234", ""},
	{"phone", "112-555-0123", ""},
	{"phone", "a = 3+12345678", ""},
	{"phone", "$212.555.0123", ""},
};

TEST(recognisers_know_what_is_one_and_what_looks_like_one)
{
	struct guard_scratch *s = guard_scratch_new();

	for (size_t i = 0; i < COUNT_OF(match_cases); i++) {
		struct guard_policy *p = compile_pii(match_cases[i].name);
		struct guard_result r;

		guard_result_init(&r);
		guard_check(p, s, GUARD_OUTPUT, slice_from(match_cases[i].text), &r);
		CHECK_STR(hits_text(p, &r), match_cases[i].hits);
		if (strcmp(hits_text(p, &r), match_cases[i].hits))
			printf("# in %s\n", match_cases[i].text);
		guard_policy_free(p);
	}
	guard_scratch_free(s);
}

static const struct {
	const char *name, *text;
	unsigned safe;
} hold_cases[] = {
	{"card", "the year 1999", 13},
	{"card", "pay 4", 4},
	{"card", "pay 4111", 4},
	{"card", "pay 41119", 4},
	{"card", "pay 4111 ", 4},
	{"card", "pay 4111 x", 10},
	{"card", "pay 4111 1111 1111 1111", 4},
	{"card", "pay 4111 1111 1111 1111.", 24},
	{"card", "pay 4111 1111 1111 1112", 4}, /* three digits more could make it one */
	{"card", "pay 4111 1111 1111 1112.", 24},
	{"email", "hello wor", 6},
	{"email", "hello wor ", 10},
	{"email", "to joe@example.com", 3},
	{"email", "to joe@example.com ", 19},
	{"email", "to joe@example ", 15},
	{"iban", "In D", 3},
	{"iban", "In De", 5},
	{"iban", "In DE", 3},
	{"iban", "In DE x", 7},
	{"ssn", "536-2", 0},
	{"ssn", "536-22-8726", 0},
	{"ssn", "936-2", 5},
	{"phone", "call +", 5},
	{"phone", "call + ", 7},
	{"phone", "call (212) 5", 5},
	{"phone", "call (x", 7},
};

TEST(a_stream_holds_exactly_what_may_become_one)
{
	struct guard_scratch *s = guard_scratch_new();

	for (size_t i = 0; i < COUNT_OF(hold_cases); i++) {
		struct guard_policy *p = compile_pii(hold_cases[i].name);
		struct guard_stream *g = guard_stream_new(p, s, GUARD_OUTPUT);
		struct guard_result r;
		uint64_t safe;

		guard_result_init(&r);
		guard_stream_feed(g, slice_from(hold_cases[i].text), &r, &safe);
		CHECK_INT(safe, hold_cases[i].safe);
		if (safe != hold_cases[i].safe)
			printf("# in %s\n", hold_cases[i].text);
		guard_stream_free(g);
		guard_policy_free(p);
	}
	guard_scratch_free(s);
}

TEST(an_address_is_at_most_254_bytes_and_its_local_part_64)
{
	struct guard_policy *p = compile_pii("email");
	struct guard_scratch *s = guard_scratch_new();

	for (size_t local = 64; local <= 65; local++) {
		for (size_t total = 254; total <= 255; total++) {
			struct guard_result r;
			char text[256];

			memset(text, 'a', sizeof(text));
			for (size_t i = local + 3; i < total - 4; i += 50)
				text[i] = '.';
			text[local] = '@';
			text[total - 4] = '.';
			guard_result_init(&r);
			guard_check(p, s, GUARD_OUTPUT, (struct slice){text, total}, &r);
			CHECK_INT(r.n_hits, local == 64 && total == 254);
		}
	}
	guard_scratch_free(s);
	guard_policy_free(p);
}
