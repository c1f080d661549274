/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where something may begin: asking.  Items are in sixteen buckets
 * (scan_build.c), and a table for each of the first bytes says which buckets have
 * such a byte there; the look-ups of a byte, of those behind it and of the one
 * before it leave the buckets that may begin at a place.
 *
 * AVX-512 VBMI looks up 64 bytes at once in tables of 128: bytes that differ in
 * the top bit are alike.  AVX2 looks up 32 by the halves of a byte, which takes
 * other bytes for those of a bucket too, so what it names is asked again by
 * byte.  Without either all is asked by byte.  What would break it: a way that
 * names other places than its tables by byte (s->byte, s->before) say.
 */
#include "serving/guardrail/scan.h"

#include <string.h>

#include "serving/guardrail/guard_internal.h"
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum scan_way scan_best_way(void)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw"))
		return SCAN_VBMI;
	if (__builtin_cpu_supports("avx2"))
		return SCAN_AVX2;
#endif
	return SCAN_BY_BYTE;
}

/* The buckets that may begin at place i of p[0..n). */
static unsigned buckets_at(const struct scan *s, const unsigned char *p, size_t n, size_t i)
{
	unsigned buckets = s->byte[0][p[i]] & (i ? s->before[p[i - 1]] : UINT16_MAX);

	for (unsigned k = 1; buckets && k < SCAN_BYTES && i + k < n; k++)
		buckets &= s->byte[k][p[i + k]];
	return buckets;
}

static void note(const struct scan *s, struct scan_map *m, size_t block, unsigned place, unsigned buckets)
{
	for (unsigned part = 0; part < SCAN_PARTS; part++) {
		uint64_t *full = &m->full[part][block / 64], bit = 1ull << (block % 64);

		if (!(buckets & s->part[part]))
			continue;
		if (!(*full & bit))
			m->bits[part][block] = 0;
		*full |= bit;
		m->bits[part][block] |= 1ull << place;
	}
}

/*
 * Each way looks at `n` blocks from p on, of which the byte before and those behind are there too.
 */
static inline unsigned buckets_amid(const struct scan *s, const unsigned char *p)
{
	unsigned buckets = s->byte[0][p[0]] & s->byte[1][p[1]] & s->byte[2][p[2]] & s->before[p[-1]];

	for (unsigned k = 3; buckets && k < SCAN_BYTES; k++)
		buckets &= s->byte[k][p[k]];
	return buckets;
}

static void blocks_by_byte(const struct scan *s, struct scan_map *m, size_t block, size_t n, const unsigned char *p)
{
	for (size_t i = 0; i < n * SCAN_BLOCK; i++) {
		unsigned buckets = buckets_amid(s, p + i);

		if (UNLIKELY(buckets))
			note(s, m, block + i / SCAN_BLOCK, i % SCAN_BLOCK, buckets);
	}
}

#ifdef __x86_64__
/* Places of a block, by part. */
struct named {
	uint64_t part[SCAN_PARTS];
};

static inline void note_block(struct scan_map *m, size_t block, const struct named *named)
{
	for (unsigned part = 0; part < SCAN_PARTS; part++) {
		if (!named->part[part])
			continue;
		m->full[part][block / 64] |= 1ull << (block % 64);
		m->bits[part][block] = named->part[part];
	}
}

/* By halves bytes look alike that are not: places of a block are asked again. */
static void note_each(const struct scan *s, struct scan_map *m, size_t block, uint64_t places, const unsigned char *p)
{
	for (; places; places &= places - 1) {
		unsigned i = (unsigned)__builtin_ctzll(places);

		note(s, m, block, i, buckets_amid(s, p + i));
	}
}

/* The empty assembly in both loops keeps the compiler from loading bytes twice and from mixing the steps: then
 * registers run out, and every step goes through memory. */
#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i table(const uint8_t *t)
{
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)t));
}

AVX2 static inline __m256i fill(unsigned byte)
{
	return _mm256_set1_epi8((char)byte);
}

AVX2 static inline __m256i load(const unsigned char *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* By the halves of 32 bytes. */
AVX2 static inline __m256i look_up(__m256i low, __m256i high, __m256i bytes)
{
	__m256i half = fill(15);

	return _mm256_and_si256(_mm256_shuffle_epi8(low, _mm256_and_si256(bytes, half)),
				_mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), half)));
}

/* The buckets that may begin behind the bytes: all behind no word, some behind a byte above ASCII. */
AVX2 static inline void look_before(const struct scan *s, __m256i bytes, __m256i ret[SCAN_SETS])
{
	__m256i word = look_up(table(s->word_low), table(s->word_high), bytes);
	__m256i none = _mm256_cmpeq_epi8(word, _mm256_setzero_si256());

	for (unsigned set = 0; set < SCAN_SETS; set++) {
		__m256i inside = fill(s->inside >> (8 * set)), above = fill((s->inside | s->ascii) >> (8 * set));

		ret[set] = _mm256_blendv_epi8(_mm256_or_si256(inside, none), above, bytes);
	}
}

AVX2 static inline uint64_t non_zero(__m256i low, __m256i high)
{
	__m256i zero = _mm256_setzero_si256();
	uint32_t a = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, zero));
	uint32_t b = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, zero));

	return ~(a | (uint64_t)b << 32);
}

AVX2 static void blocks_avx2(const struct scan *s, struct scan_map *m, size_t block, size_t n, const unsigned char *p)
{
	for (; n; n--, block++, p += SCAN_BLOCK) {
		__m256i buckets[2][SCAN_SETS], any[2];

		look_before(s, load(p - 1), buckets[0]);
		look_before(s, load(p + 31), buckets[1]);
#pragma GCC unroll 8
		for (unsigned k = 0; k < SCAN_BYTES; k++) {
			__m256i first = load(p + k), second = load(p + k + 32);

#pragma GCC unroll 2
			for (unsigned set = 0; set < SCAN_SETS; set++) {
				__m256i low = table(s->low[set][k]), high = table(s->high[set][k]);

				buckets[0][set] = _mm256_and_si256(buckets[0][set], look_up(low, high, first));
				buckets[1][set] = _mm256_and_si256(buckets[1][set], look_up(low, high, second));
				__asm__("" : "+x"(buckets[0][set]), "+x"(buckets[1][set]), "+x"(first), "+x"(second));
			}
		}
		any[0] = _mm256_or_si256(buckets[0][0], buckets[0][1]);
		any[1] = _mm256_or_si256(buckets[1][0], buckets[1][1]);
		any[0] = _mm256_or_si256(any[0], any[1]);
		if (UNLIKELY(!_mm256_testz_si256(any[0], any[0])))
			note_each(s, m, block, non_zero(_mm256_or_si256(buckets[0][0], buckets[0][1]), any[1]), p);
	}
}

#define VBMI __attribute__((target("avx512vbmi,avx512bw")))

/* A table of 128 bytes, in registers. */
struct seven {
	__m512i low, high;
};

VBMI static inline struct seven seven_load(const uint8_t *t)
{
	return (struct seven){_mm512_loadu_si512(t), _mm512_loadu_si512(t + 64)};
}

VBMI static inline __m512i seven_ask(const struct seven *t, __m512i bytes)
{
	return _mm512_permutex2var_epi8(t->low, bytes, t->high);
}

VBMI static inline void note_vbmi(const struct scan *s, struct scan_map *m, size_t block, __m512i a, __m512i b)
{
	struct named named;

	for (unsigned part = 0; part < SCAN_PARTS; part++) {
		__m512i in_a = _mm512_set1_epi8((char)s->part[part]);
		__m512i in_b = _mm512_set1_epi8((char)(s->part[part] >> 8));

		named.part[part] = _mm512_test_epi8_mask(a, in_a) | _mm512_test_epi8_mask(b, in_b);
	}
	note_block(m, block, &named);
}

VBMI static void blocks_vbmi(const struct scan *s, struct scan_map *m, size_t block, size_t n, const unsigned char *p)
{
	struct seven before[SCAN_SETS], table[SCAN_SETS][SCAN_BYTES];
	__m512i above[SCAN_SETS];

#pragma GCC unroll 2
	for (unsigned set = 0; set < SCAN_SETS; set++) {
		above[set] = _mm512_set1_epi8((char)((s->inside | s->ascii) >> (8 * set)));
		before[set] = seven_load(s->seven_before[set]);
#pragma GCC unroll 8
		for (unsigned k = 0; k < SCAN_BYTES; k++)
			table[set][k] = seven_load(s->seven[set][k]);
	}
	for (; n; n--, block++, p += SCAN_BLOCK) {
		__m512i bytes = _mm512_loadu_si512(p - 1), a, b, both;
		__mmask64 high = _mm512_movepi8_mask(bytes);

		a = _mm512_mask_mov_epi8(seven_ask(&before[0], bytes), high, above[0]);
		b = _mm512_mask_mov_epi8(seven_ask(&before[1], bytes), high, above[1]);
#pragma GCC unroll 8
		for (unsigned k = 0; k < SCAN_BYTES; k++) {
			bytes = _mm512_loadu_si512(p + k);
			__asm__("" : "+v"(bytes), "+v"(a), "+v"(b));
			a = _mm512_and_si512(a, seven_ask(&table[0][k], bytes));
			b = _mm512_and_si512(b, seven_ask(&table[1][k], bytes));
		}
		both = _mm512_or_si512(a, b);
		if (UNLIKELY(_mm512_test_epi8_mask(both, both)))
			note_vbmi(s, m, block, a, b);
	}
}
#endif

static void blocks(const struct scan *s, struct scan_map *m, size_t block, size_t n, const unsigned char *p)
{
#ifdef __x86_64__
	if (s->way == SCAN_VBMI)
		blocks_vbmi(s, m, block, n, p);
	else if (s->way == SCAN_AVX2)
		blocks_avx2(s, m, block, n, p);
	else
#endif
		blocks_by_byte(s, m, block, n, p);
}

/* A block at an end of the text, with what is missing around it made up. */
static void edge(const struct scan *s, struct scan_map *m, const unsigned char *p, size_t n, size_t at)
{
	unsigned char padded[1 + SCAN_BLOCK + SCAN_BYTES] = {0};
	size_t left = n - at, there = left < SCAN_BLOCK + SCAN_BYTES ? left : SCAN_BLOCK + SCAN_BYTES;
	size_t block = (at - m->from) / SCAN_BLOCK, places = left < SCAN_BLOCK ? left : SCAN_BLOCK;
	size_t whole = left < SCAN_BYTES ? 0 : left - SCAN_BYTES + 1;

	if (whole > places)
		whole = places;
	if (whole > SCAN_BYTES) {
		memcpy(padded + 1, p + at, there);
		padded[0] = at ? p[at - 1] : 0;
		blocks(s, m, block, 1, padded + 1);
		for (unsigned part = 0; part < SCAN_PARTS && whole < SCAN_BLOCK; part++) {
			uint64_t *full = &m->full[part][block / 64], bit = 1ull << (block % 64);

			if (*full & bit && !(m->bits[part][block] &= (1ull << whole) - 1))
				*full &= ~bit;
		}
	} else {
		whole = 0;
	}
	for (size_t i = whole; i < places; i++)
		note(s, m, block, (unsigned)i, buckets_at(s, p, n, at + i));
}

void scan_fill(const struct scan *s, struct scan_map *m, const unsigned char *p, size_t n, size_t from)
{
	size_t at = from, n_blocks;

	m->from = from;
	m->to = n - from < SCAN_MAP_BLOCKS * SCAN_BLOCK ? n : from + SCAN_MAP_BLOCKS * SCAN_BLOCK;
	n_blocks = (m->to - from + SCAN_BLOCK - 1) / SCAN_BLOCK;
	for (unsigned part = 0; part < SCAN_PARTS; part++)
		memset(m->full[part], 0, (n_blocks + 63) / 64 * sizeof(m->full[part][0]));
	if (!s->any)
		return;
	if (at == 0) {
		edge(s, m, p, n, at);
		at = SCAN_BLOCK;
	}
	if (at < m->to && n - at >= SCAN_BLOCK + SCAN_BYTES - 1) {
		n_blocks = (n - at - (SCAN_BYTES - 1)) / SCAN_BLOCK;
		if (n_blocks > (m->to - at) / SCAN_BLOCK)
			n_blocks = (m->to - at) / SCAN_BLOCK;
		blocks(s, m, (at - from) / SCAN_BLOCK, n_blocks, p + at);
		at += n_blocks * SCAN_BLOCK;
	}
	for (; at < m->to; at += SCAN_BLOCK)
		edge(s, m, p, n, at);
}

size_t scan_find(const struct scan_map *m, enum scan_part part, size_t i)
{
	size_t block = (i - m->from) / SCAN_BLOCK,
	       n_words = (m->to - m->from + SCAN_BLOCK * 64 - 1) / (SCAN_BLOCK * 64);
	size_t word = block / 64;
	uint64_t full = m->full[part][word] >> (block % 64), bits;

	if (full & 1) {
		bits = m->bits[part][block] >> ((i - m->from) % SCAN_BLOCK);
		if (bits)
			return i + (size_t)__builtin_ctzll(bits);
	}
	full = full >> 1 << 1 << (block % 64);
	while (!full) {
		if (++word >= n_words)
			return m->to;
		full = m->full[part][word];
	}
	block = word * 64 + (size_t)__builtin_ctzll(full);
	return m->from + block * SCAN_BLOCK + (size_t)__builtin_ctzll(m->bits[part][block]);
}
