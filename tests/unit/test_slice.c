/* SPDX-License-Identifier: Apache-2.0 */
/* Slices: searching, splitting, numbers at and past their limits. */
#include "core/base/slice.h"

#include "core/base/err.h"
#include "core/base/util.h"
#include "t.h"

static const struct slice absent = {NULL, 0};

TEST(comparisons_take_length_into_account_and_accept_the_absent_slice)
{
	CHECK(slice_eq(SLICE_LIT("ab"), SLICE_LIT("ab")));
	CHECK(!slice_eq(SLICE_LIT("ab"), SLICE_LIT("abc")));
	CHECK(slice_eq(absent, SLICE_LIT("")));
	CHECK(slice_eq_nocase(SLICE_LIT("Content-LENGTH"), SLICE_LIT("content-length")));
	CHECK(!slice_eq_nocase(SLICE_LIT("a"), SLICE_LIT("b")));
	CHECK(!slice_eq_nocase(SLICE_LIT("@"), SLICE_LIT("`")));
	CHECK(slice_starts(SLICE_LIT("abc"), SLICE_LIT("ab")) && !slice_starts(SLICE_LIT("a"), SLICE_LIT("ab")));
	CHECK(slice_ends(SLICE_LIT("abc"), SLICE_LIT("bc")) && !slice_ends(SLICE_LIT("c"), SLICE_LIT("bc")));
	CHECK(slice_starts(absent, absent) && slice_ends(absent, absent));
}

static const struct {
	const char *haystack, *needle;
	int at;
} find_cases[] = {
	{"hello", "l", 2}, {"hello", "lo", 3}, {"hello", "hello!", -1},
	{"hello", "", 0},  {"", "x", -1},      {"aab", "ab", 1},
};

TEST(find_returns_the_first_occurrence_or_minus_one)
{
	for (size_t i = 0; i < COUNT_OF(find_cases); i++)
		CHECK_INT(slice_find(slice_from(find_cases[i].haystack), slice_from(find_cases[i].needle)),
			  find_cases[i].at);
	CHECK_INT(slice_chr(SLICE_LIT("a:b"), ':'), 1);
	CHECK_INT(slice_chr(SLICE_LIT("ab"), ':'), -1);
	CHECK_INT(slice_chr(absent, ':'), -1);
}

TEST(trim_and_sub_stay_inside)
{
	CHECK(slice_eq_str(slice_trim(SLICE_LIT(" \t a b\t ")), "a b"));
	CHECK(slice_eq_str(slice_trim(SLICE_LIT(" \t ")), ""));
	CHECK(slice_eq_str(slice_sub(SLICE_LIT("abc"), 1, 1), "b"));
	CHECK(slice_eq_str(slice_sub(SLICE_LIT("abc"), 1, SIZE_MAX), "bc"));
	CHECK(slice_eq_str(slice_sub(SLICE_LIT("abc"), 9, 1), ""));
	CHECK(!slice_sub(absent, 1, 1).p);
}

TEST(split_gives_empty_parts_and_ends_with_the_absent_slice)
{
	static const char *const parts[] = {"a", "", "b", ""};
	struct slice rest = SLICE_LIT("a,,b,"), head;
	size_t n = 0;

	while (slice_split(&rest, ',', &head)) {
		CHECK(n < COUNT_OF(parts) && slice_eq_str(head, parts[n]));
		n++;
	}
	CHECK_INT(n, COUNT_OF(parts));
	CHECK(!rest.p);
}

static const struct {
	const char *in;
	int u64, i64;
} integer_cases[] = {
	{"0", 0, 0},
	{"18446744073709551615", 0, E_INVALID},
	{"18446744073709551616", E_INVALID, E_INVALID},
	{"9223372036854775807", 0, 0},
	{"9223372036854775808", 0, E_INVALID},
	{"-9223372036854775808", E_INVALID, 0},
	{"-9223372036854775809", E_INVALID, E_INVALID},
	{"", E_INVALID, E_INVALID},
	{"-", E_INVALID, E_INVALID},
	{"+1", E_INVALID, E_INVALID},
	{"--1", E_INVALID, E_INVALID},
	{" 1", E_INVALID, E_INVALID},
	{"1x", E_INVALID, E_INVALID},
	{"99999999999999999999999", E_INVALID, E_INVALID},
};

TEST(integers_are_read_whole_and_overflow_is_refused)
{
	for (size_t i = 0; i < COUNT_OF(integer_cases); i++) {
		uint64_t u = 7;
		int64_t v = 7;

		CHECK_INT(slice_to_u64(slice_from(integer_cases[i].in), &u), integer_cases[i].u64);
		CHECK_INT(slice_to_i64(slice_from(integer_cases[i].in), &v), integer_cases[i].i64);
		CHECK(integer_cases[i].u64 == 0 || u == 7);
		CHECK(integer_cases[i].i64 == 0 || v == 7);
	}
}

static const struct {
	const char *in;
	int rc;
	double v;
} double_cases[] = {
	{"0.5", 0, 0.5},   {"-1e3", 0, -1000}, {".5", 0, 0.5},	   {"+2", 0, 2},	{"1.", 0, 1},
	{"1e", E_INVALID}, {"inf", E_INVALID}, {"nan", E_INVALID}, {"0x10", E_INVALID}, {"1e999", E_INVALID},
	{"", E_INVALID},   {".", E_INVALID},   {"1 ", E_INVALID},  {"1,5", E_INVALID},	{"-", E_INVALID},
};

TEST(doubles_are_plain_decimals)
{
	for (size_t i = 0; i < COUNT_OF(double_cases); i++) {
		double v = 0;

		CHECK_INT(slice_to_double(slice_from(double_cases[i].in), &v), double_cases[i].rc);
		CHECK(v == double_cases[i].v);
	}
	CHECK_INT(slice_to_double((struct slice){"1\0002", 3}, &(double){0}), E_INVALID);
}

TEST(dup_terminates)
{
	char *p = slice_dup((struct slice){"abcd", 2});

	CHECK_STR(p, "ab");
	free(p);
}

TEST(distance_counts_edits)
{
	char longer[100];

	memset(longer, 'x', sizeof(longer));
	CHECK_INT(slice_distance(SLICE_LIT("kitten"), SLICE_LIT("sitting")), 3);
	CHECK_INT(slice_distance(SLICE_LIT("listen"), SLICE_LIT("lisen")), 1);
	CHECK_INT(slice_distance(SLICE_LIT(""), SLICE_LIT("abc")), 3);
	CHECK_INT(slice_distance(SLICE_LIT("a"), SLICE_LIT("a")), 0);
	CHECK_INT(slice_distance((struct slice){longer, 100}, SLICE_LIT("")), 64);
}
