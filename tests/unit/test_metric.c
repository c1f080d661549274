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

		histogram_observe(&h, &histogram_durations, histogram_cases[i].us);
		CHECK_INT(counter_get(&h.bucket[histogram_cases[i].bucket]), 1);
		CHECK_INT(counter_get(&h.count), 1);
		CHECK(counter_get(&h.sum) == histogram_cases[i].us);
	}
}

static const struct histogram_bounds *const all_bounds[] = {&histogram_durations, &histogram_first_tokens,
							    &histogram_lookups, &histogram_tokens};

TEST(bounds_grow_and_each_value_on_one_belongs_to_it)
{
	for (size_t k = 0; k < COUNT_OF(all_bounds); k++) {
		const struct histogram_bounds *b = all_bounds[k];

		CHECK(b->n > 0 && b->n <= HISTOGRAM_BUCKETS);
		for (unsigned i = 0; i < b->n; i++) {
			struct histogram h = {0};

			CHECK(i == 0 || b->upper[i] > b->upper[i - 1]);
			histogram_observe(&h, b, b->upper[i]);
			histogram_observe(&h, b, b->upper[i] + 1);
			CHECK_INT(counter_get(&h.bucket[i]), 1);
			CHECK_INT(counter_get(&h.bucket[i + 1]), 1);
		}
	}
}

TEST(a_quantile_is_the_end_of_the_bucket_that_it_lies_in)
{
	const struct histogram_bounds *b = &histogram_lookups;
	uint64_t buckets[HISTOGRAM_BUCKETS + 1] = {0};
	struct histogram h = {0};

	CHECK(histogram_quantile(b, buckets, 0.99) < 0);
	for (int i = 0; i < 99; i++)
		histogram_observe(&h, b, 7);
	histogram_observe(&h, b, 900);
	histogram_add(&h, buckets);
	CHECK(histogram_quantile(b, buckets, 0.99) == 0.00001);
	CHECK(histogram_quantile(b, buckets, 0.995) == 0.001);
	histogram_add(&h, buckets);
	CHECK(histogram_quantile(b, buckets, 0.5) == 0.00001);
	histogram_observe(&h, b, UINT64_MAX / 2);
	histogram_add(&h, buckets);
	CHECK(histogram_quantile(b, buckets, 0.9999) == 1); /* longer than the last bound: at least that */
}
