/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map of one bit a word, in whole words, then the words.  What would break it: packing and unpacking by different
 * sizes.
 */
#include "core/base/sparse.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define WORD sizeof(uint64_t)
#define MAP_BITS 64

static uint64_t word_at(const void *p, size_t i)
{
	uint64_t w;

	memcpy(&w, (const char *)p + i * WORD, WORD);
	return w;
}

static size_t map_words(size_t n)
{
	assert(n % WORD == 0);
	return (n / WORD + MAP_BITS - 1) / MAP_BITS;
}

size_t sparse_bytes(const void *p, size_t n)
{
	size_t words = map_words(n);

	for (size_t i = 0; i < n / WORD; i++)
		words += word_at(p, i) != 0;
	return words * WORD;
}

size_t sparse_pack(void *to, const void *p, size_t n)
{
	size_t at = map_words(n);
	char *out = to;

	memset(out, 0, at * WORD);
	for (size_t i = 0; i < n / WORD; i++) {
		uint64_t w = word_at(p, i), map = word_at(out, i / MAP_BITS) | UINT64_C(1) << (i % MAP_BITS);

		if (!w)
			continue;
		memcpy(out + i / MAP_BITS * WORD, &map, WORD);
		memcpy(out + at++ * WORD, &w, WORD);
	}
	return at * WORD;
}

size_t sparse_unpack(void *p, size_t n, const void *from)
{
	size_t at = map_words(n);

	memset(p, 0, n);
	for (size_t m = 0; m < map_words(n); m++) {
		for (uint64_t map = word_at(from, m); map; map &= map - 1) {
			size_t i = m * MAP_BITS + (size_t)__builtin_ctzll(map);

			memcpy((char *)p + i * WORD, (const char *)from + at++ * WORD, WORD);
		}
	}
	return at * WORD;
}
