/* SPDX-License-Identifier: Apache-2.0 */
/* Bucket 0 is all below 1.024 ms; then eight to each doubling; the last takes what is longer too. */
#include "serving/stats/latency.h"

#include "core/base/err.h"

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

void latency_write(const uint64_t *counts, struct buf *out)
{
	const char *between = "";

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		if (!counts[i])
			continue;
		(void)buf_adds(out, between); /* the caller asks buf_failed */
		(void)buf_addu(out, i);
		(void)buf_addc(out, ':');
		(void)buf_addu(out, counts[i]);
		between = " ";
	}
}

static int read_one(struct slice s, uint64_t *into)
{
	uint64_t bucket, count;
	struct slice head;

	if (!slice_split(&s, ':', &head) || !s.p || slice_to_u64(head, &bucket) || slice_to_u64(s, &count) ||
	    bucket >= LATENCY_BUCKETS || count > UINT64_MAX - into[bucket])
		return E_INVALID;
	into[bucket] += count;
	return 0;
}

int latency_read(struct slice text, uint64_t *into)
{
	uint64_t sum[LATENCY_BUCKETS];
	struct slice one;

	memcpy(sum, into, sizeof(sum));
	while (text.n && slice_split(&text, ' ', &one))
		if (read_one(one, sum))
			return E_INVALID;
	memcpy(into, sum, sizeof(sum));
	return 0;
}
