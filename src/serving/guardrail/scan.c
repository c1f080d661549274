/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where something may begin.  Items are put into eight buckets; a table look-up
 * by each half of a byte says which buckets have such a byte, and four
 * look-ups, of a byte and the three behind it, leave the buckets that may begin
 * there.  AVX2 does 32 places in one such step; without it the same tables are
 * asked by byte, and give the same answer.  A bucket with unlike items names
 * too many places, so an item goes where it adds the fewest in plain text.
 */
#include "serving/guardrail/scan.h"

#include <stdlib.h>
#include <string.h>

#include "serving/guardrail/guard_internal.h"
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define N_BUCKETS 8
#define BLOCK (64 + SCAN_BYTES - 1)
#define PASSES 2	/* an item is sorted again, knowing all others */
#define MAX_WEIGHED 256 /* more items than that are spread by their first byte */

/* ---- building ---- */

/* Which halves of a byte a bucket has: its bytes are the product. */
struct halves {
	uint16_t low, high;
};

/* How often a byte stands in plain text, about per thousand, at least 1. */
static unsigned frequency(unsigned c)
{
	static const uint8_t letters[26] = {65, 12, 22, 34, 102, 18, 16, 49, 56, 1,  6, 32, 20,
					    57, 60, 15, 1,  48,	 51, 73, 23, 8,	 19, 1, 16, 1};

	if (c >= 'a' && c <= 'z')
		return letters[c - 'a'];
	if (c >= 'A' && c <= 'Z')
		return letters[c - 'A'] / 16 + 1;
	if (c == ' ')
		return 180;
	return guard_is_digit((int)c) || c == '.' || c == ',' || c == '\n' ? 4 : c < 0x80;
}

struct bucket {
	struct halves byte[SCAN_BYTES];
	double weight; /* places per place of plain text that it names */
};

static void weigh(struct bucket *b)
{
	b->weight = b->byte[0].low ? 1 : 0;
	for (unsigned k = 0; k < SCAN_BYTES; k++) {
		unsigned sum = 0;

		for (unsigned high = 0; high < 16; high++) {
			for (unsigned low = 0; b->byte[k].high >> high & 1 && low < 16; low++) {
				if (b->byte[k].low >> low & 1)
					sum += frequency(high * 16 + low);
			}
		}
		b->weight *= sum < 1000 ? sum / 1000.0 : 1;
	}
}

static void bucket_add(struct bucket *b, const struct bucket *with)
{
	for (unsigned k = 0; k < SCAN_BYTES; k++) {
		b->byte[k].low |= with->byte[k].low;
		b->byte[k].high |= with->byte[k].high;
	}
}

/* A bucket of one item. */
static struct bucket bucket_of(const struct scan_item *item)
{
	struct bucket b = {{{0, 0}}, 0};

	for (unsigned k = 0; k < SCAN_BYTES; k++) {
		for (unsigned c = 0; c < 256; c++) {
			if (!byte_set_has(&item->byte[k], (unsigned char)c))
				continue;
			b.byte[k].low |= (uint16_t)(1u << (c % 16));
			b.byte[k].high |= (uint16_t)(1u << (c / 16));
		}
	}
	return b;
}

/* The bucket of [from, to) that the item makes the least worse. */
static unsigned choose(const struct bucket *bucket, const struct bucket *item, unsigned from, unsigned to)
{
	double least = 0;
	unsigned best = to;

	for (unsigned b = from; b < to; b++) {
		struct bucket with = bucket[b];

		bucket_add(&with, item);
		if (memcmp(with.byte, bucket[b].byte, sizeof(with.byte)) == 0)
			return b;
		weigh(&with);
		if (best == to || with.weight - bucket[b].weight < least) {
			least = with.weight - bucket[b].weight;
			best = b;
		}
	}
	return best;
}

static unsigned first_byte(const struct scan_item *item)
{
	unsigned c = 0;

	while (c < 255 && !byte_set_has(&item->byte[0], (unsigned char)c))
		c++;
	return c;
}

/* Bytes of words: the high halves that have the same low halves share a bit; there are fewer than eight kinds. */
static void build_words(struct scan *s, bool ascii)
{
	uint16_t row[16] = {0}, seen[8] = {0};

	for (unsigned c = 0; c < 256; c++) {
		if (guard_is_word((int)c) && !(ascii && c >= 0x80)) {
			s->word[c] = 1;
			row[c / 16] |= (uint16_t)(1u << (c % 16));
		}
	}
	for (unsigned high = 0; high < 16; high++) {
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

static void build_tables(struct scan *s, const struct bucket *bucket)
{
	for (unsigned k = 0; k < SCAN_BYTES; k++) {
		for (unsigned b = 0; b < N_BUCKETS; b++) {
			for (unsigned half = 0; half < 16; half++) {
				s->low[k][half] |= (uint8_t)((bucket[b].byte[k].low >> half & 1) << b);
				s->high[k][half] |= (uint8_t)((bucket[b].byte[k].high >> half & 1) << b);
			}
			if (bucket[b].byte[k].low && (bucket[b].byte[k].low & bucket[b].byte[k].high) != UINT16_MAX)
				s->depth = (uint8_t)(k + 1);
		}
		for (unsigned c = 0; c < 256; c++)
			s->byte[k][c] = s->low[k][c % 16] & s->high[k][c / 16];
	}
}

/* Items on their way into buckets: those that may begin inside words into the first `border`. */
struct sorter {
	const struct scan_item *item;
	struct bucket *one; /* each item alone */
	uint8_t *in;	    /* the bucket of each */
	size_t n;
	unsigned border;
	struct bucket bucket[N_BUCKETS];
};

static void put(struct sorter *o, size_t i)
{
	bool inside = o->item[i].inside;
	unsigned from = inside ? 0 : o->border, to = inside ? o->border : N_BUCKETS;
	unsigned b = o->n > MAX_WEIGHED ? from + first_byte(&o->item[i]) % (to - from)
					: choose(o->bucket, &o->one[i], from, to);

	o->in[i] = (uint8_t)b;
	bucket_add(&o->bucket[b], &o->one[i]);
	weigh(&o->bucket[b]);
}

static void take_out(struct sorter *o, size_t i)
{
	struct bucket *b = &o->bucket[o->in[i]];

	memset(b, 0, sizeof(*b));
	for (size_t k = 0; k < o->n; k++) {
		if (k != i && o->in[k] == o->in[i])
			bucket_add(b, &o->one[k]);
	}
	weigh(b);
}

/* How many places per place of plain text the buckets name. */
static double sort_items(struct sorter *o, unsigned border, unsigned passes)
{
	double share = 0;

	o->border = border;
	memset(o->bucket, 0, sizeof(o->bucket));
	for (size_t i = 0; i < o->n; i++)
		put(o, i);
	for (unsigned pass = 0; pass < passes && o->n <= MAX_WEIGHED; pass++) {
		for (size_t i = 0; i < o->n; i++) {
			take_out(o, i);
			put(o, i);
		}
	}
	for (unsigned b = 0; b < N_BUCKETS; b++)
		share += o->bucket[b].weight / (b < border ? 1 : 5); /* words are about five bytes long */
	return share;
}

/* The items in their buckets, with as many for what begins inside words as name the fewest places. */
static double sort_best(struct sorter *o)
{
	unsigned from = 0, to = 0, best;
	double least = 0;

	for (size_t i = 0; i < o->n; i++) {
		from |= o->item[i].inside;
		to |= !o->item[i].inside;
	}
	to = to ? N_BUCKETS - 1 : N_BUCKETS;
	to = from ? to : 0;
	best = from;
	for (unsigned border = from; border <= to; border++) {
		double share = sort_items(o, border, 0);

		if (border == from || share < least) {
			least = share;
			best = border;
		}
	}
	return sort_items(o, best, PASSES);
}

int scan_build(struct scan *s, const struct scan_item *item, size_t n, bool ascii)
{
	struct sorter o = {.item = item, .n = n};
	int rc = E_TOOBIG;

	memset(s, 0, sizeof(*s));
	o.one = calloc(n + 1, sizeof(*o.one));
	o.in = calloc(n + 1, 1);
	if (o.one && o.in) {
		for (size_t i = 0; i < n; i++)
			o.one[i] = bucket_of(&item[i]);
		s->share = (unsigned)(sort_best(&o) * 1000);
		s->inside = (uint8_t)((1u << o.border) - 1);
		build_words(s, ascii);
		build_tables(s, o.bucket);
		rc = 0;
	}
	free(o.one);
	free(o.in);
#ifdef __x86_64__
	s->wide = __builtin_cpu_supports("avx2");
#endif
	return rc;
}

/* ---- asking ---- */

/* Whether place i of p[0..n) is named. */
static bool is_named(const struct scan *s, const unsigned char *p, size_t n, size_t i, bool in_word)
{
	unsigned buckets = s->byte[0][p[i]];

	for (unsigned k = 1; buckets && k < s->depth && i + k < n; k++)
		buckets &= s->byte[k][p[i + k]];
	return buckets & s->inside || (buckets && !(i ? s->word[p[i - 1]] : in_word));
}

static uint64_t block_by_byte(const struct scan *s, const unsigned char *p, size_t n, bool in_word)
{
	size_t places = n < 64 ? n : 64, whole = n < BLOCK ? (n < SCAN_BYTES ? 0 : n - SCAN_BYTES + 1) : 64;
	uint64_t bits = 0;

	for (size_t i = 0; i < whole; i++) {
		if (UNLIKELY(s->byte[0][p[i]] & s->byte[1][p[i + 1]] & s->byte[2][p[i + 2]] & s->byte[3][p[i + 3]]))
			bits |= (uint64_t)is_named(s, p, n, i, in_word) << i;
	}
	for (size_t i = whole; i < places; i++)
		bits |= (uint64_t)is_named(s, p, n, i, in_word) << i;
	return bits;
}

#ifdef __x86_64__
#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i table(const uint8_t *t)
{
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)t));
}

/* By the halves of 32 bytes. */
AVX2 static inline __m256i look_up(const uint8_t *low, const uint8_t *high, __m256i bytes)
{
	__m256i half = _mm256_set1_epi8(15);

	return _mm256_and_si256(_mm256_shuffle_epi8(table(low), _mm256_and_si256(bytes, half)),
				_mm256_shuffle_epi8(table(high), _mm256_and_si256(_mm256_srli_epi16(bytes, 4), half)));
}

/* Bit i: byte i is not 0. */
AVX2 static inline uint32_t non_zero(__m256i bytes)
{
	return ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_setzero_si256()));
}

struct places {
	uint64_t any, inside, words;
};

static inline uint64_t named(const struct places *x, bool in_word)
{
	return x->inside | (x->any & ~(x->words << 1 | in_word));
}

/* 0xff for the bytes of 32 that are not there when there are `left`. */
AVX2 static inline __m256i missing(int64_t left)
{
	static const uint8_t ends[64] = {[32 ... 63] = 0xff};

	left = left < 0 ? 0 : left > 32 ? 32 : left;
	return _mm256_loadu_si256((const __m256i *)(const void *)(ends + 32 - left));
}

/* 32 places of p from i on; a byte behind the n is any. */
AVX2 static inline void look(const struct scan *s, const unsigned char *p, unsigned i, size_t n, struct places *ret)
{
	__m256i first = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
	__m256i buckets = look_up(s->low[0], s->high[0], first);

	for (unsigned k = 1; k < s->depth; k++) {
		__m256i behind = _mm256_loadu_si256((const __m256i *)(const void *)(p + i + k));

		behind = look_up(s->low[k], s->high[k], behind);
		if (n < BLOCK)
			behind = _mm256_or_si256(behind, missing((int64_t)n - i - k));
		buckets = _mm256_and_si256(buckets, behind);
	}
	ret->any |= (uint64_t)non_zero(buckets) << i;
	ret->inside |= (uint64_t)non_zero(_mm256_and_si256(buckets, _mm256_set1_epi8((char)s->inside))) << i;
	ret->words |= (uint64_t)non_zero(look_up(s->word_low, s->word_high, first)) << i;
}

/* 64 places of p, which has BLOCK bytes. */
AVX2 static uint64_t block_avx2(const struct scan *s, const unsigned char *p, bool in_word)
{
	struct places places = {0};

	look(s, p, 0, BLOCK, &places);
	look(s, p, 32, BLOCK, &places);
	return named(&places, in_word);
}
#endif

#ifdef __x86_64__
/* Fewer than BLOCK bytes are left. */
AVX2 static uint64_t end_avx2(const struct scan *s, const unsigned char *p, size_t n, bool in_word)
{
	unsigned char padded[BLOCK] = {0};
	struct places places = {0};

	memcpy(padded, p, n);
	look(s, padded, 0, n, &places);
	if (n > 32)
		look(s, padded, 32, n, &places);
	return named(&places, in_word) & (n < 64 ? ~(UINT64_MAX << n) : UINT64_MAX);
}
#endif

uint64_t scan_block(const struct scan *s, const unsigned char *p, size_t n, bool in_word)
{
#ifdef __x86_64__
	if (s->wide)
		return n < BLOCK ? end_avx2(s, p, n, in_word) : block_avx2(s, p, in_word);
#endif
	return block_by_byte(s, p, n, in_word);
}
