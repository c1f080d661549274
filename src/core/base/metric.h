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

/* Upper bounds in seconds are those that OpenTelemetry's GenAI conventions give for durations, and five below them. */
#define HISTOGRAM_BUCKETS 19
extern const double histogram_bounds_s[HISTOGRAM_BUCKETS];

struct histogram {
	struct counter bucket[HISTOGRAM_BUCKETS + 1]; /* not cumulative; the last is +Inf */
	struct counter count;
	struct counter sum_us;
};

void histogram_observe_us(struct histogram *h, uint64_t us);
