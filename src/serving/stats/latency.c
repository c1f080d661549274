/* SPDX-License-Identifier: Apache-2.0 */
/* Bucket 0 is all below 1.024 ms; then eight to each doubling; the last takes what is longer too. */
#include "serving/stats/latency.h"

#define EIGHTH_US 128u
#define BASE_US ((uint64_t)8 * EIGHTH_US)

static unsigned bucket_of(uint64_t us)
{
	uint64_t scaled = us / EIGHTH_US; /* 8..15 in the first doubling */
	unsigned octave = 0;

	if (us < BASE_US)
		return 0;
	while (scaled >= 16) {
		scaled >>= 1;
		if (++octave == 20)
			return LATENCY_BUCKETS - 1;
	}
	return 1 + octave * 8 + (unsigned)(scaled - 8);
}

/* Where a bucket begins, in microseconds. */
static double begin_us(unsigned bucket)
{
	unsigned octave, part;

	if (bucket == 0)
		return 0;
	octave = (bucket - 1) / 8;
	part = (bucket - 1) % 8;
	return (double)((uint64_t)EIGHTH_US * (8 + part) << octave);
}

void latency_observe_us(struct latency_sketch *s, uint64_t us)
{
	counter_add(&s->bucket[bucket_of(us)], 1);
}

void latency_add(const struct latency_sketch *s, uint64_t *into)
{
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		into[i] += counter_get(&s->bucket[i]);
}

double latency_quantile_ms(const uint64_t *counts, double q)
{
	uint64_t total = 0, below = 0;
	double wanted;

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		total += counts[i];
	if (!total)
		return -1;
	wanted = q * (double)total;
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		double from = begin_us(i), to = begin_us(i + 1);

		if (counts[i] && (double)(below + counts[i]) >= wanted)
			return (from + (to - from) * (wanted - (double)below) / (double)counts[i]) / 1000.0;
		below += counts[i];
	}
	return begin_us(LATENCY_BUCKETS) / 1000.0;
}
