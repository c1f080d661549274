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

#include <string.h>

#include "serving/guardrail/guard_internal.h"
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define N_BUCKETS 8
#define BLOCK (64 + SCAN_BYTES - 1)
#define FEW 12		/* bytes that are sooner looked at one by one */
#define MAX_WEIGHED 512 /* more items than that are spread by their first byte */

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
	b->weight = 1;
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

/* Puts the items into buckets, those that may begin inside words into the first `border`; returns how many places per
 * place of plain text are then named. */
static double fill(struct bucket *bucket, const struct scan_item *item, size_t n, unsigned border)
{
	double share = 0;

	memset(bucket, 0, N_BUCKETS * sizeof(*bucket));
	for (size_t i = 0; i < n; i++) {
		unsigned from = item[i].inside ? 0 : border, to = item[i].inside ? border : N_BUCKETS, b;
		struct bucket one = bucket_of(&item[i]);

		b = n > MAX_WEIGHED ? from + first_byte(&item[i]) % (to - from) : choose(bucket, &one, from, to);
		bucket_add(&bucket[b], &one);
		weigh(&bucket[b]);
	}
	for (unsigned b = 0; b < N_BUCKETS; b++)
		share += bucket[b].byte[0].low ? bucket[b].weight / (b < border ? 1 : 5) : 0; /* words: about 5 bytes */
	return share;
}

void scan_build(struct scan *s, const struct scan_item *item, size_t n, bool ascii)
{
	struct bucket bucket[N_BUCKETS];
	unsigned from = 0, to = 0, best;
	double least = 0;

	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < n; i++) {
		from |= item[i].inside;
		to |= !item[i].inside;
	}
	to = to ? N_BUCKETS - 1 : N_BUCKETS;
	to = from ? to : 0;
	best = from;
	for (unsigned border = from; border <= to; border++) {
		double share = fill(bucket, item, n, border);

		if (border == from || share < least) {
			least = share;
			best = border;
		}
	}
	(void)fill(bucket, item, n, best);
	s->inside = (uint8_t)((1u << best) - 1);
	s->share = (unsigned)(least * 1000);
	build_words(s, ascii);
	build_tables(s, bucket);
#ifdef __x86_64__
	s->wide = __builtin_cpu_supports("avx2");
#endif
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

/* Places [from, to). */
static uint64_t block_by_byte(const struct scan *s, struct slice text, size_t from, size_t to, bool in_word)
{
	uint64_t bits = 0;

	for (size_t i = from; i < to; i++)
		bits |= (uint64_t)is_named(s, (const unsigned char *)text.p, text.n, i, in_word) << i;
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

/* 64 places of p, which has BLOCK bytes. */
AVX2 static uint64_t block_avx2(const struct scan *s, const unsigned char *p, bool in_word)
{
	uint64_t any = 0, inside = 0, words = 0;

	for (unsigned i = 0; i < 64; i += 32) {
		__m256i first = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
		__m256i buckets = look_up(s->low[0], s->high[0], first);

		for (unsigned k = 1; k < s->depth; k++) {
			__m256i behind = _mm256_loadu_si256((const __m256i *)(const void *)(p + i + k));

			buckets = _mm256_and_si256(buckets, look_up(s->low[k], s->high[k], behind));
		}
		any |= (uint64_t)non_zero(buckets) << i;
		inside |= (uint64_t)non_zero(_mm256_and_si256(buckets, _mm256_set1_epi8((char)s->inside))) << i;
		words |= (uint64_t)non_zero(look_up(s->word_low, s->word_high, first)) << i;
	}
	return inside | (any & ~(words << 1 | in_word));
}
#endif

#ifdef __x86_64__
/* Fewer than BLOCK bytes are left: the last places by byte. */
static uint64_t end_avx2(const struct scan *s, struct slice text, size_t places, bool in_word)
{
	size_t whole = text.n - (SCAN_BYTES - 1) < 64 ? text.n - (SCAN_BYTES - 1) : 64;
	unsigned char padded[BLOCK] = {0};
	uint64_t bits;

	memcpy(padded, text.p, text.n);
	bits = block_avx2(s, padded, in_word);
	if (whole < 64)
		bits &= ~(UINT64_MAX << whole);
	return bits | block_by_byte(s, text, whole, places, in_word);
}
#endif

uint64_t scan_block(const struct scan *s, const unsigned char *p, size_t n, bool in_word)
{
	struct slice text = {(const char *)p, n};
	size_t places = n < 64 ? n : 64;

#ifdef __x86_64__
	if (s->wide && n >= BLOCK)
		return block_avx2(s, p, in_word);
	if (s->wide && n > FEW)
		return end_avx2(s, text, places, in_word);
#endif
	return block_by_byte(s, text, 0, places, in_word);
}
