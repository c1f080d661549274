/* SPDX-License-Identifier: Apache-2.0 */
/* How often, when, and after what an upstream said. */
#include "serving/resilience/retry.h"

#include "core/base/util.h"
#include "t.h"

#define NOW INT64_C(5000000)

TEST(a_new_budget_holds_one_retry)
{
	struct retry_budget b = {0};

	CHECK(retry_withdraw(&b, NOW));
	CHECK(!retry_withdraw(&b, NOW));
	CHECK(!retry_withdraw(&b, NOW + RETRY_REFILL_MS - 1));
	CHECK(retry_withdraw(&b, NOW + INT64_C(2) * RETRY_REFILL_MS));
}

TEST(in_an_outage_at_most_a_tenth_more_is_sent)
{
	static const int requests[] = {10, 100, 1000, 100000};

	for (size_t i = 0; i < COUNT_OF(requests); i++) {
		struct retry_budget b = {0};
		int retries = 0;

		for (int k = 0; k < requests[i]; k++) {
			retry_deposit(&b, NOW);
			retries += retry_withdraw(&b, NOW);
			retries += retry_withdraw(&b, NOW);
		}
		CHECK_INT(retries, requests[i] / 10 + 1);
	}
}

TEST(good_times_save_up_ten_and_no_more)
{
	struct retry_budget b = {0};
	int n = 0;

	for (int i = 0; i < 10000; i++)
		retry_deposit(&b, NOW);
	while (retry_withdraw(&b, NOW))
		n++;
	CHECK_INT(n, RETRY_BUDGET_MAX);
}

TEST(a_refused_withdrawal_costs_nothing)
{
	struct retry_budget b = {0}, before;

	CHECK(retry_withdraw(&b, NOW));
	before = b;
	CHECK(!retry_withdraw(&b, NOW));
	CHECK_INT(b.bits, before.bits);
}

TEST(waits_double_up_to_two_seconds_and_half_is_chance)
{
	static const struct {
		unsigned n;
		int64_t least, most;
	} rows[] = {{1, 50, 100}, {2, 100, 200}, {3, 200, 400}, {5, 800, 1600}, {6, 1000, 2000}, {60, 1000, 2000}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		bool low = false, high = false;

		for (uint32_t r = 0; r < 4000; r++) {
			int64_t ms = retry_backoff_ms(rows[i].n, r);

			CHECK(ms >= rows[i].least && ms <= rows[i].most);
			low |= ms == rows[i].least;
			high |= ms == rows[i].most;
		}
		CHECK(low && high);
	}
}

/* 2015-10-21 07:28:00 UTC */
#define WALL_US INT64_C(1445412480000000)

static const struct {
	const char *after_ms, *after;
	int64_t ms;
} headers[] = {
	{"250", NULL, 250},
	{"250", "7", 250}, /* the finer one counts */
	{"x", "7", 7000},
	{"12.75", NULL, 12},
	{NULL, "0", 0},
	{NULL, " 2 ", 2000},
	{NULL, "1.5", 1500},
	{NULL, "0.0625", 62},
	{NULL, "3600", 3600000},
	{NULL, "3601", 3600000},
	{NULL, "99999999999999999999999999", 3600000},
	{NULL, "Wed, 21 Oct 2015 07:28:30 GMT", 30000},
	{NULL, "Wed, 21 Oct 2015 07:27:00 GMT", 0}, /* past */
	{NULL, "Thu, 21 Oct 2055 07:28:00 GMT", 3600000},
	{NULL, "Wednesday, 21-Oct-15 07:28:30 GMT", 30000}, /* the older forms */
	{NULL, "Wed Oct 21 07:28:30 2015", 30000},
	{NULL, "Wed Oct 21 07:28:30 2015 or so", -1},
	{NULL, "Wed, 21 Oct 2015 07:28:30 CET", -1},
	{NULL, "Wed, 21 Oct 2015 07:28:30 GMT and more", -1},
	{NULL, "-3", -1},
	{NULL, "1e3", -1},
	{NULL, "soon", -1},
	{NULL, "", -1},
	{"", "", -1},
	{NULL, NULL, -1},
};

TEST(what_an_answer_says_about_coming_again)
{
	for (size_t i = 0; i < COUNT_OF(headers); i++) {
		struct slice ms = headers[i].after_ms ? slice_from(headers[i].after_ms) : (struct slice){NULL, 0};
		struct slice s = headers[i].after ? slice_from(headers[i].after) : (struct slice){NULL, 0};

		CHECK_INT(retry_after_ms(ms, s, WALL_US), headers[i].ms);
	}
}
