/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latencies, counted in buckets of an eighth of a doubling each, from 1 ms to 18 minutes: fine enough to compare two
 * models' percentiles, and mergeable by adding.  One writer, many readers.
 */
#pragma once
#include "core/base/metric.h"

#define LATENCY_BUCKETS (1 + 20 * 8)

struct latency_sketch {
	struct counter bucket[LATENCY_BUCKETS];
};

void latency_observe_us(struct latency_sketch *s, uint64_t us);
/* Adds what is counted there to into[LATENCY_BUCKETS]. */
void latency_add(const struct latency_sketch *s, uint64_t *into);
/* q in (0, 1), within a bucket as if it were even; negative when nothing is counted. */
double latency_quantile_ms(const uint64_t *counts, double q);
