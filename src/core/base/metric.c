/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms.  The bounds are part of what /metrics promises: changing one breaks every dashboard that sums over time.
 */
#include "core/base/metric.h"

const double histogram_bounds_s[HISTOGRAM_BUCKETS] = {
	0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,  0.02,  0.04,  0.08,  0.16,
	0.32,	 0.64,	 1.28,	2.56,	5.12,  10.24, 20.48, 40.96, 81.92,
};

static const uint64_t bounds_us[HISTOGRAM_BUCKETS] = {
	250,	500,	1000,	 2500,	  5000,	   10000,    20000,    40000,	 80000,	   160000,
	320000, 640000, 1280000, 2560000, 5120000, 10240000, 20480000, 40960000, 81920000,
};

void histogram_observe_us(struct histogram *h, uint64_t us)
{
	size_t i = 0;

	while (i < HISTOGRAM_BUCKETS && us > bounds_us[i])
		i++;
	counter_add(&h->bucket[i], 1);
	counter_add(&h->sum_us, us);
	counter_add(&h->count, 1);
}
