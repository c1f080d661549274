/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where something may begin.  Items are put into eight buckets; a table look-up
 * by each half of a byte says which buckets have such a byte, and three
 * look-ups, of a byte and the two behind it, leave the buckets that may begin
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
#define INSIDE_BUCKETS 3 /* for what begins inside words, when there is both */
#define MAX_WEIGHED 512	 /* more items than that are spread by their first byte */

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

/* Places per 10^9 that a bucket names in plain text. */
static uint64_t weight(const struct halves h[3])
{
	uint64_t product = 1;

	for (unsigned k = 0; k < 3; k++) {
		uint64_t sum = 0;

		for (unsigned c = 0; c < 256; c++) {
			if (h[k].low >> (c % 16) & h[k].high >> (c / 16) & 1)
				sum += frequency(c);
		}
		product *= sum;
	}
	return product;
}

static void halves_add(struct halves h[3], const struct scan_item *item)
{
	for (unsigned k = 0; k < 3; k++) {
		for (unsigned c = 0; c < 256; c++) {
			if (!byte_set_has(&item->byte[k], (unsigned char)c))
				continue;
			h[k].low |= (uint16_t)(1u << (c % 16));
			h[k].high |= (uint16_t)(1u << (c / 16));
		}
	}
}

/* The bucket of [from, to) that the item makes the least worse. */
static unsigned choose(struct halves bucket[][3], const struct scan_item *item, unsigned from, unsigned to)
{
	uint64_t least = UINT64_MAX;
	unsigned best = from;

	for (unsigned b = from; b < to; b++) {
		struct halves with[3];
		uint64_t cost;

		memcpy(with, bucket[b], sizeof(with));
		halves_add(with, item);
		cost = weight(with) - weight(bucket[b]);
		if (cost < least) {
			least = cost;
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

static void build_tables(struct scan *s, struct halves bucket[][3])
{
	for (unsigned k = 0; k < 3; k++) {
		for (unsigned b = 0; b < N_BUCKETS; b++) {
			for (unsigned half = 0; half < 16; half++) {
				s->low[k][half] |= (uint8_t)((bucket[b][k].low >> half & 1) << b);
				s->high[k][half] |= (uint8_t)((bucket[b][k].high >> half & 1) << b);
			}
		}
		for (unsigned c = 0; c < 256; c++)
			s->byte[k][c] = s->low[k][c % 16] & s->high[k][c / 16];
	}
}

void scan_build(struct scan *s, const struct scan_item *item, size_t n, bool ascii)
{
	struct halves bucket[N_BUCKETS][3] = {{{0}}};
	size_t n_inside = 0;
	unsigned border;
	uint64_t share = 0;

	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < n; i++)
		n_inside += item[i].inside;
	border = n_inside == n ? N_BUCKETS : n_inside ? INSIDE_BUCKETS : 0;
	s->inside = (uint8_t)((1u << border) - 1);
	for (size_t i = 0; i < n; i++) {
		unsigned from = item[i].inside ? 0 : border, to = item[i].inside ? border : N_BUCKETS;
		unsigned b = n > MAX_WEIGHED ? from + first_byte(&item[i]) % (to - from)
					     : choose(bucket, &item[i], from, to);

		halves_add(bucket[b], &item[i]);
	}
	for (unsigned b = 0; b < N_BUCKETS; b++)
		share += weight(bucket[b]) / (b < border ? 1 : 5); /* words are about five bytes long */
	s->share = (unsigned)(share / 1000000);
	build_words(s, ascii);
	build_tables(s, bucket);
#ifdef __x86_64__
	s->wide = __builtin_cpu_supports("avx2");
#endif
}

/* ---- asking ---- */

/* The first n places of p, where p has n + 2 bytes. */
static uint64_t block_by_byte(const struct scan *s, const unsigned char *p, size_t n, bool in_word)
{
	uint64_t any = 0, inside = 0, words = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned buckets = s->byte[0][p[i]] & s->byte[1][p[i + 1]] & s->byte[2][p[i + 2]];

		any |= (uint64_t)(buckets != 0) << i;
		inside |= (uint64_t)((buckets & s->inside) != 0) << i;
		words |= (uint64_t)s->word[p[i]] << i;
	}
	return inside | (any & ~(words << 1 | in_word));
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

/* 64 places of p, which has 66 bytes. */
AVX2 static uint64_t block_avx2(const struct scan *s, const unsigned char *p, bool in_word)
{
	uint64_t any = 0, inside = 0, words = 0;

	for (unsigned i = 0; i < 64; i += 32) {
		__m256i first = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
		__m256i buckets = look_up(s->low[0], s->high[0], first);

		for (unsigned k = 1; k < 3; k++) {
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

/* Fewer than 66 bytes are left. */
static uint64_t block_at_end(const struct scan *s, const unsigned char *p, size_t n, bool in_word)
{
	size_t places = n < 64 ? n : 64, certain = n > 2 ? n - 2 : 0;
	unsigned char padded[66] = {0};
	uint64_t bits;

	memcpy(padded, p, n);
#ifdef __x86_64__
	if (s->wide)
		bits = block_avx2(s, padded, in_word);
	else
#endif
		bits = block_by_byte(s, padded, places, in_word);
	if (certain < 64)
		bits |= UINT64_MAX << certain;
	return places < 64 ? bits & ~(UINT64_MAX << places) : bits;
}

uint64_t scan_block(const struct scan *s, const unsigned char *p, size_t n, bool in_word)
{
	if (n < 66)
		return block_at_end(s, p, n, in_word);
#ifdef __x86_64__
	if (s->wide)
		return block_avx2(s, p, in_word);
#endif
	return block_by_byte(s, p, 64, in_word);
}
