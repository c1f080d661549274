/* SPDX-License-Identifier: Apache-2.0 */
/* The bucket, at its limit and one past it, whatever the limit is. */
#include "serving/resilience/rate_limit.h"

#include "core/base/util.h"
#include "t.h"

#define SECOND INT64_C(1000000000)
#define MINUTE (60 * SECOND)
#define NOW (1000 * MINUTE)

static const int64_t limits[] = {1, 2, 3, 7, 60, 61, 600, 997, 10000, 123457};

TEST(a_full_bucket_gives_exactly_its_limit)
{
	for (size_t i = 0; i < COUNT_OF(limits); i++) {
		struct rate_state s = {0};
		int64_t n = 0;

		while (rate_take(&s, limits[i], 1, NOW)) {
			n++;
			if (rate_remaining(s, limits[i], NOW) != limits[i] - n)
				break;
		}
		CHECK_INT(n, limits[i]);
		CHECK_INT(rate_remaining(s, limits[i], NOW), 0);
	}
}

TEST(one_past_the_limit_waits_as_long_as_it_says)
{
	for (size_t i = 0; i < COUNT_OF(limits); i++) {
		struct rate_state s = {0};
		int64_t wait_ms;

		CHECK(rate_take(&s, limits[i], limits[i], NOW));
		CHECK(!rate_take(&s, limits[i], 1, NOW));
		wait_ms = rate_wait_ms(s, limits[i], 1, NOW);
		CHECK(wait_ms > 0 && wait_ms <= 60000 / limits[i] + 1);
		CHECK(wait_ms < 2 || !rate_take(&s, limits[i], 1, NOW + (wait_ms - 1) * 1000000));
		CHECK(rate_take(&s, limits[i], 1, NOW + wait_ms * 1000000));
	}
}

TEST(a_refused_one_takes_nothing)
{
	struct rate_state s = {0}, before;

	CHECK(rate_take(&s, 10, 8, NOW));
	before = s;
	CHECK(!rate_take(&s, 10, 3, NOW));
	CHECK_INT(s.full_at_ns, before.full_at_ns);
	CHECK(rate_take(&s, 10, 2, NOW));
}

/* 60 a minute: one a second. */
static const struct {
	int64_t at_s, take, remaining, reset_ms;
	bool there;
} steps[] = {
	{0, 60, 0, 60000, true},  {0, 1, 0, 60000, false},    {1, 1, 0, 60000, true},
	{11, 5, 5, 55000, true},  {11, 6, 5, 55000, false},   {66, 0, 60, 0, true},
	{1000, 61, 60, 0, false}, {1000, 60, 0, 60000, true}, {1030, 30, 0, 60000, true},
};

TEST(it_fills_evenly_and_never_past_a_minute)
{
	struct rate_state s = {0};

	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		int64_t now = NOW + steps[i].at_s * SECOND;

		CHECK_INT(rate_take(&s, 60, steps[i].take, now), steps[i].there);
		CHECK_INT(rate_remaining(s, 60, now), steps[i].remaining);
		CHECK_INT(rate_reset_ms(s, now), steps[i].reset_ms);
	}
}

TEST(what_is_charged_after_the_answer_makes_the_next_one_wait)
{
	struct rate_state s = {0};

	rate_charge(&s, 60, 59, NOW);
	CHECK_INT(rate_remaining(s, 60, NOW), 1);
	rate_charge(&s, 60, 1, NOW);
	CHECK_INT(rate_remaining(s, 60, NOW), 0);
	rate_charge(&s, 60, 30, NOW); /* an answer that was longer than what was left */
	CHECK_INT(rate_remaining(s, 60, NOW), 0);
	CHECK_INT(rate_wait_ms(s, 60, 1, NOW), 31000);
	CHECK_INT(rate_remaining(s, 60, NOW + 30 * SECOND), 0);
	CHECK_INT(rate_remaining(s, 60, NOW + 31 * SECOND), 1);
}

TEST(no_answer_shuts_anybody_out_for_more_than_an_hour)
{
	struct rate_state s = {0};

	rate_charge(&s, 1, INT64_MAX, NOW);
	rate_charge(&s, 1, INT64_MAX, NOW);
	CHECK_INT(rate_reset_ms(s, NOW), 3600000);
	CHECK_INT(rate_remaining(s, 1, NOW + 60 * MINUTE), 1);
}

TEST(the_largest_limit_and_a_clock_at_zero_are_no_exception)
{
	struct rate_state s = {0};

	CHECK_INT(rate_remaining(s, RATE_MAX_PER_MINUTE, 0), RATE_MAX_PER_MINUTE);
	CHECK(rate_take(&s, RATE_MAX_PER_MINUTE, RATE_MAX_PER_MINUTE, 0));
	CHECK(!rate_take(&s, RATE_MAX_PER_MINUTE, 1, 0));
	CHECK(rate_take(&s, RATE_MAX_PER_MINUTE, 1, 60));
}
