/* SPDX-License-Identifier: Apache-2.0 */
/* Times as text, against a calendar that is known. */
#include "core/base/clock.h"

#include "core/base/err.h"
#include "core/base/util.h"
#include "t.h"

#define NOW INT64_C(1700000000000000) /* 2023-11-14T22:13:20Z */

static const struct {
	int64_t us;
	const char *iso;
} iso_cases[] = {
	{0, "1970-01-01T00:00:00.000000Z"},
	{NOW + 123456, "2023-11-14T22:13:20.123456Z"},
	{INT64_C(951782400000000), "2000-02-29T00:00:00.000000Z"},
	{INT64_C(4107542400000000), "2100-03-01T00:00:00.000000Z"},
	{-1, "1969-12-31T23:59:59.999999Z"},
	{INT64_C(-62167219200000000), "0000-01-01T00:00:00.000000Z"},
	{INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
	{INT64_MAX, "9999-12-31T23:59:59.999999Z"},
	{INT64_MIN, "0000-01-01T00:00:00.000000Z"},
};

TEST(iso_writes_and_reads_the_same_time)
{
	char text[CLOCK_ISO_SIZE];

	for (size_t i = 0; i < COUNT_OF(iso_cases); i++) {
		int64_t back = 1;

		CHECK_STR(clock_iso(iso_cases[i].us, text), iso_cases[i].iso);
		CHECK_INT(clock_parse(slice_from(text), NOW, &back), 0);
		if (iso_cases[i].us != INT64_MAX && iso_cases[i].us != INT64_MIN)
			CHECK_INT(back, iso_cases[i].us);
	}
}

TEST(every_day_of_eight_centuries_comes_back)
{
	char text[CLOCK_ISO_SIZE];
	int64_t back;

	for (int64_t day = -146097; day < 146097; day++) {
		int64_t us = day * INT64_C(86400000000);

		CHECK_INT(clock_parse(slice_from(clock_iso(us, text)), 0, &back), 0);
		CHECK_INT(back, us);
	}
}

static const struct {
	const char *in;
	int rc;
	int64_t us;
} parse_cases[] = {
	{"2023-11-14", 0, INT64_C(1699920000000000)},
	{"2023-11-14T22:13:20Z", 0, NOW},
	{"2023-11-14 22:13:20", 0, NOW},
	{"2023-11-14T22:13", 0, NOW - 20000000},
	{"2023-11-14T22:13:20.5Z", 0, NOW + 500000},
	{"2023-11-14T22:13:20.1234569Z", 0, NOW + 123456},
	{"2023-11-15T00:13:20+02:00", 0, NOW},
	{"2023-11-14T17:13:20-05:00", 0, NOW},
	{"1700000000", 0, NOW},
	{"1700000000.25", 0, NOW + 250000},
	{"0", 0, 0},
	{"15m", 0, NOW - INT64_C(900000000)},
	{"24h", 0, NOW - INT64_C(86400000000)},
	{"7d", 0, NOW - INT64_C(604800000000)},
	{"500ms", 0, NOW - 500000},
	{"2023-02-29", E_INVALID, 0},
	{"2023-04-31", E_INVALID, 0},
	{"2023-13-01", E_INVALID, 0},
	{"2023-00-01", E_INVALID, 0},
	{"2023-1-1", E_INVALID, 0},
	{"2023-11-14T24:00", E_INVALID, 0},
	{"2023-11-14T22:60", E_INVALID, 0},
	{"2023-11-14T22:13:61", E_INVALID, 0},
	{"2023-11-14T22:13:20.Z", E_INVALID, 0},
	{"2023-11-14T22:13:20+2", E_INVALID, 0},
	{"2023-11-14T22:13:20+24:00", E_INVALID, 0},
	{"2023-11-14T22:13:20Zx", E_INVALID, 0},
	{"2023-11-14T", E_INVALID, 0},
	{"yesterday", E_INVALID, 0},
	{"-1", E_INVALID, 0},
	{"5 m", E_INVALID, 0},
	{"5w", E_INVALID, 0},
	{"m", E_INVALID, 0},
	{"", E_INVALID, 0},
	{"99999999999999999d", E_INVALID, 0},
	{"9223372036854775807ms", E_INVALID, 0},
	{"99999999999999999999", E_INVALID, 0},
};

TEST(parse_takes_dates_seconds_and_durations)
{
	for (size_t i = 0; i < COUNT_OF(parse_cases); i++) {
		int64_t us = 0;

		CHECK_INT(clock_parse(slice_from(parse_cases[i].in), NOW, &us), parse_cases[i].rc);
		if (us != parse_cases[i].us)
			printf("# %s\n", parse_cases[i].in);
		CHECK_INT(us, parse_cases[i].us);
	}
}

static const struct {
	const char *in;
	int rc;
	int64_t ms;
} duration_cases[] = {
	{"250ms", 0, 250},
	{"10s", 0, 10000},
	{"5m", 0, 300000},
	{"2h", 0, 7200000},
	{"7d", 0, 604800000},
	{"1500", 0, 1500},
	{"0", 0, 0},
	{"", E_INVALID, 0},
	{"s", E_INVALID, 0},
	{"-1s", E_INVALID, 0},
	{"1.5s", E_INVALID, 0},
	{"1 s", E_INVALID, 0},
	{"1S", E_INVALID, 0},
	{"9223372036854775808", E_INVALID, 0},
	{"9223372036854775807s", E_INVALID, 0},
};

TEST(durations_have_units)
{
	for (size_t i = 0; i < COUNT_OF(duration_cases); i++) {
		int64_t ms = 0;

		CHECK_INT(clock_parse_duration_ms(slice_from(duration_cases[i].in), &ms), duration_cases[i].rc);
		CHECK_INT(ms, duration_cases[i].ms);
	}
}

static const struct {
	int64_t s;
	const char *text;
} ago_cases[] = {
	{0, "0 s"},	  {12, "12 s"},	 {-12, "12 s"},	   {59, "59 s"},       {60, "1 min"},
	{3599, "59 min"}, {3600, "1 h"}, {172799, "47 h"}, {172800, "2 days"}, {864000, "10 days"},
};

TEST(ago_speaks_to_people)
{
	char text[CLOCK_ISO_SIZE];

	for (size_t i = 0; i < COUNT_OF(ago_cases); i++)
		CHECK_STR(clock_ago(ago_cases[i].s * 1000000, text), ago_cases[i].text);
	clock_ago(INT64_MIN, text);
	CHECK(strlen(text) < CLOCK_ISO_SIZE);
}

TEST(the_clocks_run_forward)
{
	int64_t a = clock_mono_us(), b = clock_mono_us();

	CHECK(b >= a && a > 0);
	CHECK(clock_mono_ms() >= a / 1000);
	CHECK(clock_wall_us() > NOW);
}
