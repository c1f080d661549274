/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latencies, counted in buckets of an eighth of a doubling each, from 1 ms to 18 minutes: fine enough to compare two
 * models' percentiles, and mergeable by adding.  One writer, many readers.
 */
#pragma once
#include "core/base/buf.h"
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
/* The counts as text: "BUCKET:COUNT BUCKET:COUNT", those that are not 0; at most LATENCY_TEXT_MAX bytes. */
#define LATENCY_TEXT_MAX ((size_t)LATENCY_BUCKETS * 25)
void latency_write(const uint64_t *counts, struct buf *out);
/* Adds what such a text says to into[LATENCY_BUCKETS].  E_INVALID: it is none; then into is as it was. */
int latency_read(struct slice text, uint64_t *into);
