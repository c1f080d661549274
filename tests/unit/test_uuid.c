/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs: the canonical form, and ids that only rise. */
#include "core/base/uuid.h"

#include "core/base/err.h"
#include "core/base/util.h"
#include "t.h"

static const struct {
	const char *in;
	int rc;
} parse_cases[] = {
	{"123e4567-e89b-12d3-a456-426614174000", 0},
	{"123E4567-E89B-12D3-A456-426614174000", 0},
	{"00000000-0000-0000-0000-000000000000", 0},
	{"123e4567e89b12d3a456426614174000", E_INVALID},
	{"123e4567-e89b-12d3-a456-42661417400", E_INVALID},
	{"123e4567-e89b-12d3-a456-4266141740000", E_INVALID},
	{"123e4567-e89b-12d3-a456-42661417400g", E_INVALID},
	{"123e4567-e89b-12d3-a456+426614174000", E_INVALID},
	{"123e4567-e89b-12d3a-456-426614174000", E_INVALID},
	{"{23e4567-e89b-12d3-a456-42661417400}", E_INVALID},
	{"", E_INVALID},
};

TEST(parse_accepts_only_the_canonical_form)
{
	for (size_t i = 0; i < COUNT_OF(parse_cases); i++) {
		struct uuid u;

		CHECK_INT(uuid_parse(parse_cases[i].in, strlen(parse_cases[i].in), &u), parse_cases[i].rc);
	}
}

TEST(format_writes_lower_case_and_reads_back)
{
	char text[UUID_STR_SIZE];
	struct uuid u, back;

	CHECK_INT(uuid_parse("123E4567-E89B-12D3-A456-426614174000", 36, &u), 0);
	CHECK_STR(uuid_format(&u, text), "123e4567-e89b-12d3-a456-426614174000");
	CHECK_INT(uuid_parse(text, 36, &back), 0);
	CHECK(!memcmp(&u, &back, sizeof(u)));
	CHECK(!uuid_is_nil(&u));
	CHECK(uuid_is_nil(&(struct uuid){{0}}));
}

TEST(version_7_carries_the_time_the_version_and_the_variant)
{
	struct uuid_gen g;
	struct uuid u;
	uint64_t ms = 0;

	uuid_gen_init(&g);
	u = uuid_v7(&g, INT64_C(1700000000123456));
	for (int i = 0; i < 6; i++)
		ms = ms << 8 | u.b[i];
	CHECK_INT(ms, 1700000000123);
	CHECK_INT(u.b[6] >> 4, 7);
	CHECK_INT(u.b[8] >> 6, 2);
}

/* The clock of each step, in milliseconds after the one before. */
static const int steps[] = {0, 0, 1, 0, -5, 0, 100, 0, -100};

TEST(ids_of_one_generator_only_rise_even_when_the_clock_goes_back)
{
	int64_t now = INT64_C(1700000000000000);
	struct uuid last = {{0}}, u;
	struct uuid_gen g;

	uuid_gen_init(&g);
	for (int i = 0; i < 50000; i++) { /* more than the 4096 of one millisecond */
		if (i % 5000 == 0)
			now += steps[(size_t)(i / 5000) % COUNT_OF(steps)] * INT64_C(1000);
		u = uuid_v7(&g, now);
		CHECK(memcmp(&last, &u, sizeof(u)) < 0);
		CHECK(u.b[6] >> 4 == 7 && u.b[8] >> 6 == 2);
		last = u;
	}
	u = uuid_v7(&g, -1);
	CHECK(memcmp(&last, &u, sizeof(u)) < 0);
}

TEST(now_gives_different_ids)
{
	struct uuid a = uuid_v7_now(), b = uuid_v7_now();

	CHECK(memcmp(&a, &b, sizeof(a)) < 0);
}

TEST(derived_ids_depend_on_base_and_number_only)
{
	struct uuid base = {{1}}, a = uuid_derive(&base, 1), again = uuid_derive(&base, 1), b = uuid_derive(&base, 2);
	char text[UUID_STR_SIZE];

	CHECK(!memcmp(&a, &again, sizeof(a)));
	CHECK(memcmp(&a, &b, sizeof(a)) != 0);
	CHECK_INT(a.b[6] >> 4, 8);
	CHECK_INT(a.b[8] >> 6, 2);
	CHECK_STR(uuid_format(&a, text), "338c9a6b-7a27-89ef-890b-eaabfa37dfd8");
}
