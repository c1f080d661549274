/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters and histograms with one writer (its loop or thread) and any number
 * of readers: relaxed loads and stores, no lock, no locked instruction.
 * A reader sees each number whole, but not all of them of one instant.
 */
#pragma once
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct counter {
	_Atomic uint64_t v;
};

static inline void counter_add(struct counter *c, uint64_t n)
{
	atomic_store_explicit(&c->v, atomic_load_explicit(&c->v, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void counter_set(struct counter *c, uint64_t n)
{
	atomic_store_explicit(&c->v, n, memory_order_relaxed);
}

static inline uint64_t counter_get(const struct counter *c)
{
	return atomic_load_explicit(&c->v, memory_order_relaxed);
}

#define HISTOGRAM_BUCKETS 19

/* What a histogram's buckets end with: one for all histograms of a family. */
struct histogram_bounds {
	unsigned n;
	double unit; /* of what is shown, in what is observed: 1e6 for microseconds that are shown as seconds */
	uint64_t upper[HISTOGRAM_BUCKETS];
};
extern const struct histogram_bounds histogram_durations;    /* microseconds: calls, exchanges */
extern const struct histogram_bounds histogram_first_tokens; /* microseconds */
extern const struct histogram_bounds histogram_lookups;	     /* microseconds: what is answered from memory */
extern const struct histogram_bounds histogram_tokens;	     /* of one call */

struct histogram {
	struct counter bucket[HISTOGRAM_BUCKETS + 1]; /* not cumulative; the one at bounds->n is +Inf */
	struct counter count;
	struct counter sum;
};

void histogram_observe(struct histogram *h, const struct histogram_bounds *b, uint64_t value);
/* Adds its buckets to into[HISTOGRAM_BUCKETS + 1]. */
void histogram_add(const struct histogram *h, uint64_t *into);
/* The upper end of the bucket that quantile q in (0, 1) lies in, in the unit shown; the last bound for what is longer
 * still, negative when nothing is counted. */
double histogram_quantile(const struct histogram_bounds *b, const uint64_t *buckets, double q);
