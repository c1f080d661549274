/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms.  The bounds are part of what /metrics promises: changing one breaks every dashboard that sums over time.
 */
#include "core/base/metric.h"

/* Those that OpenTelemetry's GenAI conventions give for durations, and five below them. */
const struct histogram_bounds histogram_durations = {
	.n = 19,
	.unit = 1e6,
	.upper = {250, 500, 1000, 2500, 5000, 10000, 20000, 40000, 80000, 160000, 320000, 640000, 1280000, 2560000,
		  5120000, 10240000, 20480000, 40960000, 81920000},
};

/* Those that they give for the time to a first token, and two above them. */
const struct histogram_bounds histogram_first_tokens = {
	.n = 18,
	.unit = 1e6,
	.upper = {1000, 5000, 10000, 20000, 40000, 60000, 80000, 100000, 250000, 500000, 750000, 1000000, 2500000,
		  5000000, 7500000, 10000000, 20000000, 60000000},
};

/* 100 ms is what people expect of a lookup in a database; from memory it takes a few microseconds. */
const struct histogram_bounds histogram_lookups = {
	.n = 15,
	.unit = 1e6,
	.upper = {10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000},
};

const struct histogram_bounds histogram_tokens = {
	.n = 14,
	.unit = 1,
	.upper = {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864},
};

void histogram_observe(struct histogram *h, const struct histogram_bounds *b, uint64_t value)
{
	unsigned i = 0;

	while (i < b->n && value > b->upper[i])
		i++;
	counter_add(&h->bucket[i], 1);
	counter_add(&h->sum, value);
	counter_add(&h->count, 1);
}

void histogram_add(const struct histogram *h, uint64_t *into)
{
	for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++)
		into[i] += counter_get(&h->bucket[i]);
}

double histogram_quantile(const struct histogram_bounds *b, const uint64_t *buckets, double q)
{
	uint64_t total = 0, seen = 0;
	unsigned i = 0;

	for (unsigned k = 0; k <= b->n; k++)
		total += buckets[k];
	if (!total)
		return -1;
	for (; i + 1 < b->n; i++) {
		seen += buckets[i];
		if ((double)seen >= q * (double)total)
			break;
	}
	return (double)b->upper[i] / b->unit;
}
