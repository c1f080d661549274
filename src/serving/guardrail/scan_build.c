/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where something may begin: sorting.  Items go into sixteen buckets, and a bucket
 * with unlike items names too many places, so an item goes where it adds the
 * fewest in a sample of plain text.  Places that only just do not fit weigh
 * too: other texts have other words.  A bucket holds items of one group: of
 * one part, and alike in whether they may begin inside a word.
 */
#include <stdlib.h>
#include <string.h>

#include "serving/guardrail/guard_internal.h"
#include "serving/guardrail/scan.h"
#include "serving/guardrail/scan_sample.h"

#define N_BUCKETS (8 * SCAN_SETS)
#define N_GROUPS (2 * SCAN_PARTS)
#define PASSES 2	/* an item is sorted again, knowing all others */
#define ORDERS 4	/* in which they are sorted: the best counts */
#define MAX_SORTED 256	/* more items than that are sorted once */
#define SAMPLE_WORDS 12 /* places of a sample, by 64 */

/* What a place of the sample weighs that a bucket names, that fails it in one position, and in two. */
enum { WEIGHT_NAMED = 64, WEIGHT_ONE = 8, WEIGHT_TWO = 1 };

int scan_items_add(struct scan_items *items, const struct scan_item *add)
{
	if (items->n == items->size) {
		size_t size = items->size ? 2 * items->size : 256;
		struct scan_item *grown = realloc(items->item, size * sizeof(*grown));

		if (!grown)
			return E_TOOBIG;
		items->item = grown;
		items->size = size;
	}
	items->item[items->n++] = *add;
	return 0;
}

void scan_items_release(struct scan_items *items)
{
	free(items->item);
	*items = (struct scan_items){0};
}

/* Places of plain text: by position and byte, a bit for each that has this byte there. */
struct sample {
	uint64_t has[SCAN_BYTES][128][SAMPLE_WORDS];
	uint64_t all[SAMPLE_WORDS];
	unsigned n;
};

/*
 * The places of a sample that have at a position a byte of the items.  In tables of halves those are the places that
 * have a low half of one and a high half of one.
 */
struct fit {
	uint64_t low[SCAN_BYTES][SAMPLE_WORDS], high[SCAN_BYTES][SAMPLE_WORDS];
};

struct weight {
	unsigned sum, places; /* of the sample: as it counts, and those that are named */
};

struct bucket {
	struct fit fit;
	unsigned n_items, group;
	struct weight weight;
};

struct sorter {
	const struct scan_items *items;
	struct sample sample[2]; /* of all places, and of those where a word may begin */
	bool halves;
	struct fit *fit; /* of each item */
	uint8_t *in;	 /* its bucket */
	struct bucket bucket[N_BUCKETS];
};

static unsigned group_of(const struct scan_item *item)
{
	return item->part * 2u + item->inside;
}

/* Every place of the text, or some that stand evenly in it. */
static void sample_fill(struct sample *s, bool borders)
{
	size_t n = sizeof(scan_sample) - 1 - SCAN_BYTES, step = borders ? 1 : n / (64 * (size_t)SAMPLE_WORDS) + 1;

	for (size_t i = 1; i < n && s->n < 64 * SAMPLE_WORDS; i += step) {
		if (borders && guard_is_word((unsigned char)scan_sample[i - 1]))
			continue;
		for (unsigned k = 0; k < SCAN_BYTES; k++)
			s->has[k][scan_sample[i + k] & 127][s->n / 64] |= 1ull << (s->n % 64);
		s->all[s->n / 64] |= 1ull << (s->n % 64);
		s->n++;
	}
}

static void add_places(uint64_t *to, const uint64_t *with)
{
	for (unsigned i = 0; i < SAMPLE_WORDS; i++)
		to[i] |= with[i];
}

/* What the sample has of an item. */
static void fit_fill(const struct sorter *o, const struct scan_item *item, struct fit *ret)
{
	const struct sample *s = &o->sample[!item->inside];

	for (unsigned k = 0; k < SCAN_BYTES; k++) {
		uint16_t lows = 0, highs = 0;

		for (unsigned c = 0; c < 128; c++) {
			if (!byte_set_has(&item->byte[k], (unsigned char)c))
				continue;
			lows |= (uint16_t)(1u << (c % 16));
			highs |= (uint16_t)(1u << (c / 16));
			if (!o->halves)
				add_places(ret->low[k], s->has[k][c]);
		}
		for (unsigned c = 0; c < 128; c++) {
			if (o->halves && lows >> (c % 16) & 1)
				add_places(ret->low[k], s->has[k][c]);
			if (!o->halves || highs >> (c / 16) & 1)
				add_places(ret->high[k], s->has[k][c]);
		}
	}
}

static unsigned count_bits(const uint64_t *bits)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SAMPLE_WORDS; i++)
		n += (unsigned)__builtin_popcountll(bits[i]);
	return n;
}

/* A bucket as it would be with an item of this group. */
static struct weight weigh(const struct sorter *o, const struct bucket *b, const struct fit *with, unsigned group)
{
	const struct sample *s = &o->sample[!(group & 1)];
	uint64_t miss[3][SAMPLE_WORDS] = {{0}}; /* places that fail in one position at least, in two, in three */
	struct weight w;
	unsigned failing[3];

	for (unsigned k = 0; k < SCAN_BYTES; k++) {
		for (unsigned i = 0; i < SAMPLE_WORDS; i++) {
			uint64_t low = b->fit.low[k][i] | with->low[k][i], high = b->fit.high[k][i] | with->high[k][i];
			uint64_t fails = s->all[i] & ~(low & high);

			miss[2][i] |= miss[1][i] & fails;
			miss[1][i] |= miss[0][i] & fails;
			miss[0][i] |= fails;
		}
	}
	for (unsigned i = 0; i < 3; i++)
		failing[i] = count_bits(miss[i]);
	w.places = s->n - failing[0];
	w.sum = WEIGHT_NAMED * w.places + WEIGHT_ONE * (failing[0] - failing[1]) +
		WEIGHT_TWO * (failing[1] - failing[2]);
	if (group & 1) /* there are more places in words than before them */
		w.sum *= 4;
	return w;
}

static void bucket_add(struct bucket *b, const struct sorter *o, size_t i)
{
	b->group = group_of(&o->items->item[i]);
	b->n_items++;
	for (unsigned k = 0; k < SCAN_BYTES; k++) {
		add_places(b->fit.low[k], o->fit[i].low[k]);
		add_places(b->fit.high[k], o->fit[i].high[k]);
	}
}

/* Into the bucket of its group, or the free one, that it makes the least worse. */
static void put(struct sorter *o, size_t i)
{
	unsigned group = group_of(&o->items->item[i]), least = UINT32_MAX, in = 0;
	struct weight best = {0};

	for (unsigned b = 0; b < N_BUCKETS; b++) {
		const struct bucket *bucket = &o->bucket[b];
		struct weight w;

		if (bucket->n_items && bucket->group != group)
			continue;
		w = weigh(o, bucket, &o->fit[i], group);
		if (w.sum - bucket->weight.sum < least) {
			least = w.sum - bucket->weight.sum;
			best = w;
			in = b;
		}
		if (!bucket->n_items)
			break; /* all free ones are alike */
	}
	bucket_add(&o->bucket[in], o, i);
	o->bucket[in].weight = best;
	o->in[i] = (uint8_t)in;
}

static void take_out(struct sorter *o, size_t i)
{
	struct bucket *b = &o->bucket[o->in[i]];

	memset(b, 0, sizeof(*b));
	for (size_t k = 0; k < o->items->n; k++) {
		if (k != i && o->in[k] == o->in[i])
			bucket_add(b, o, k);
	}
	if (b->n_items)
		b->weight = weigh(o, b, &b->fit, b->group);
}

/* The next number from `least` on that shares no divisor with n. */
static size_t coprime(size_t least, size_t n)
{
	for (;; least++) {
		size_t a = n, b = least;

		while (b) {
			size_t rest = a % b;

			a = b;
			b = rest;
		}
		if (a <= 1 || n == 0)
			return least;
	}
}

/* The first of each group, so that none is left without a bucket; then all the others, neighbours far from each other.
 */
static unsigned sort_once(struct sorter *o, size_t stride)
{
	bool seen[N_GROUPS] = {false};
	size_t n = o->items->n;
	unsigned weight = 0;

	memset(o->bucket, 0, sizeof(o->bucket));
	memset(o->in, N_BUCKETS, n);
	for (size_t i = 0; i < n; i++) {
		bool *group = &seen[group_of(&o->items->item[i])];

		if (!*group)
			put(o, i);
		*group = true;
	}
	for (size_t i = 0; i < n; i++) {
		if (o->in[i * stride % n] == N_BUCKETS)
			put(o, i * stride % n);
	}
	for (unsigned pass = 0; pass < PASSES && n <= MAX_SORTED; pass++) {
		for (size_t i = 0; i < n; i++) {
			take_out(o, i);
			put(o, i);
		}
	}
	for (unsigned b = 0; b < N_BUCKETS; b++)
		weight += o->bucket[b].weight.sum;
	return weight;
}

/* The best of some orders. */
static void sort_items(struct sorter *o)
{
	size_t n = o->items->n, stride = 0, best = 0;
	unsigned least = UINT32_MAX;

	for (unsigned order = 1; order <= ORDERS && n <= MAX_SORTED; order++) {
		unsigned weight;

		stride = coprime(stride + n * 5 / 13 / order + 1, n);
		weight = sort_once(o, stride);
		if (weight < least) {
			least = weight;
			best = stride;
		}
	}
	if (best != stride || n > MAX_SORTED)
		(void)sort_once(o, best ? best : 1);
}

/* Bytes of ASCII words: the high halves that have the same low halves share a bit; there are fewer than eight kinds. */
static void build_words(struct scan *s)
{
	uint16_t row[16] = {0}, seen[8] = {0};

	for (unsigned c = 0; c < 128; c++) {
		if (guard_is_word((int)c))
			row[c / 16] |= (uint16_t)(1u << (c % 16));
	}
	for (unsigned high = 0; high < 8; high++) {
		unsigned bit = 0;

		if (!row[high])
			continue;
		while (seen[bit] && seen[bit] != row[high])
			bit++;
		seen[bit] = row[high];
		s->word_high[high] |= (uint8_t)(1u << bit);
		for (unsigned low = 0; low < 16; low++) {
			if (row[high] >> low & 1)
				s->word_low[low] |= (uint8_t)(1u << bit);
		}
	}
}

static void add_byte(struct scan *s, unsigned bucket, unsigned k, unsigned c)
{
	uint8_t bit = (uint8_t)(1u << (bucket % 8));

	s->seven[bucket / 8][k][c % 128] |= bit;
	s->low[bucket / 8][k][c % 16] |= bit;
	s->high[bucket / 8][k][c / 16] |= bit;
	s->byte[k][c] |= (uint16_t)(1u << bucket);
}

/* What the items begin with, and which buckets are whose. */
static void add_items(struct scan *s, const struct sorter *o)
{
	for (size_t i = 0; i < o->items->n; i++) {
		const struct scan_item *item = &o->items->item[i];
		uint16_t bit = (uint16_t)(1u << o->in[i]);

		s->any = true;
		s->part[item->part] |= bit;
		s->inside |= item->inside ? bit : 0;
		s->ascii |= item->part == SCAN_PATTERN ? bit : 0;
		for (unsigned c = 0; c < 256 * SCAN_BYTES; c++) {
			if (byte_set_has(&item->byte[c / 256], (unsigned char)c))
				add_byte(s, o->in[i], c / 256, c % 256);
		}
	}
}

/* The bytes before; and where the top bit is not looked at, what that makes of the bytes. */
static void add_bytes(struct scan *s)
{
	for (unsigned c = 0; c < 256; c++) {
		s->before[c] = (uint16_t)(s->inside | (c < 128 ? (guard_is_word((int)c) ? 0 : UINT16_MAX) : s->ascii));
		for (unsigned set = 0; set < SCAN_SETS; set++) {
			s->seven_before[set][c % 128] |= c < 128 ? (uint8_t)(s->before[c] >> (8 * set)) : 0;
			for (unsigned k = 0; s->way == SCAN_VBMI && k < SCAN_BYTES; k++)
				s->byte[k][c] |= (uint16_t)(s->seven[set][k][c % 128] << (8 * set));
		}
	}
}

static void guess_share(struct scan *s, const struct sorter *o)
{
	for (unsigned b = 0; b < N_BUCKETS; b++) {
		const struct bucket *k = &o->bucket[b];
		unsigned places = k->n_items ? k->weight.places * 1000 / o->sample[!(k->group & 1)].n : 0;

		s->share[k->group / 2] += k->group & 1 ? places : places / 5; /* words are about five bytes */
	}
}

int scan_build(struct scan *s, const struct scan_items *items, enum scan_way way)
{
	struct sorter *o = calloc(1, sizeof(*o));
	struct fit *fit = calloc(items->n + 1, sizeof(*fit));
	uint8_t *in = calloc(items->n + 1, sizeof(*in));
	int rc = E_TOOBIG;

	memset(s, 0, sizeof(*s));
	s->way = (uint8_t)way;
	if (o && fit && in) {
		o->items = items;
		o->fit = fit;
		o->in = in;
		o->halves = way == SCAN_AVX2;
		sample_fill(&o->sample[0], false);
		sample_fill(&o->sample[1], true);
		for (size_t i = 0; i < items->n; i++)
			fit_fill(o, &items->item[i], &fit[i]);
		sort_items(o);
		guess_share(s, o);
		build_words(s);
		add_items(s, o);
		add_bytes(s);
		rc = 0;
	}
	free(o);
	free(fit);
	free(in);
	return rc;
}
