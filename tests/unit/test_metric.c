/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and histograms: a value on a bound belongs to the bucket of that bound. */
#include "core/base/metric.h"

#include "core/base/util.h"
#include "t.h"

TEST(a_counter_counts)
{
	struct counter c = {0};

	counter_add(&c, 2);
	counter_add(&c, 3);
	CHECK_INT(counter_get(&c), 5);
	counter_set(&c, 1);
	CHECK_INT(counter_get(&c), 1);
}

static const struct {
	uint64_t us;
	size_t bucket;
} histogram_cases[] = {
	{0, 0},	    {250, 0},	    {251, 1},	    {10000, 5},
	{10001, 6}, {81920000, 18}, {81920001, 19}, {UINT64_MAX / 2, HISTOGRAM_BUCKETS},
};

TEST(an_observation_lands_in_the_first_bucket_that_holds_it)
{
	for (size_t i = 0; i < COUNT_OF(histogram_cases); i++) {
		struct histogram h = {0};

		histogram_observe_us(&h, histogram_cases[i].us);
		CHECK_INT(counter_get(&h.bucket[histogram_cases[i].bucket]), 1);
		CHECK_INT(counter_get(&h.count), 1);
		CHECK(counter_get(&h.sum_us) == histogram_cases[i].us);
	}
}

TEST(the_bounds_in_seconds_are_those_that_are_counted_by)
{
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		struct histogram h = {0};

		CHECK(i == 0 || histogram_bounds_s[i] > histogram_bounds_s[i - 1]);
		histogram_observe_us(&h, (uint64_t)(histogram_bounds_s[i] * 1e6 + 0.5));
		histogram_observe_us(&h, (uint64_t)(histogram_bounds_s[i] * 1e6 + 1.5));
		CHECK_INT(counter_get(&h.bucket[i]), 1);
		CHECK_INT(counter_get(&h.bucket[i + 1]), 1);
	}
}
