/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where something may begin: 64 bytes of text at a time, by the first four
 * bytes of what is looked for.  The answer names too many places, never too
 * few: whoever asks looks again at each.  What begins at the start of a word
 * only is not sought inside one.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct byte_set {
	uint64_t bits[4];
};

static inline bool byte_set_has(const struct byte_set *s, unsigned char c)
{
	return s->bits[c / 64] >> (c % 64) & 1;
}

static inline void byte_set_add(struct byte_set *s, unsigned from, unsigned to)
{
	for (unsigned c = from; c <= to; c++)
		s->bits[c / 64] |= 1ull << (c % 64);
}

static inline void byte_set_union(struct byte_set *s, const struct byte_set *with)
{
	for (unsigned i = 0; i < 4; i++)
		s->bits[i] |= with->bits[i];
}

#define SCAN_BYTES 4

/* Texts that begin with a byte of each set. */
struct scan_item {
	struct byte_set byte[SCAN_BYTES];
	bool inside; /* may begin inside a word */
};

struct scan {
	/* By low and by high half of a byte: a bit for each bucket of items; both have it for a byte of the items. */
	uint8_t low[SCAN_BYTES][16], high[SCAN_BYTES][16], word_low[16], word_high[16];
	uint8_t byte[SCAN_BYTES][256], word[256]; /* the same by byte */
	uint8_t inside;				  /* buckets of what may begin inside a word */
	uint8_t depth;				  /* bytes that matter: behind these come any */
	bool wide;				  /* the processor has AVX2 */
	unsigned share; /* of the places in plain text that are named, per thousand: a guess */
};

/* E_TOOBIG: out of memory. ascii: words are made of ASCII alone; otherwise every byte above it belongs to one. */
int scan_build(struct scan *s, const struct scan_item *item, size_t n, bool ascii);

/* Bit i of the answer: something may begin at p[i], i below 64 and below n.  Near the end
 * of the n the bytes that are there tell. in_word: the byte before p belongs to a word. */
uint64_t scan_block(const struct scan *s, const unsigned char *p, size_t n, bool in_word);

/* A walk over the places of p[0..n). */
struct scan_cursor {
	const struct scan *scan;
	const unsigned char *p;
	size_t n, at, next; /* bits are those of [at, next) */
	uint64_t bits;
};

static inline struct scan_cursor scan_start(const struct scan *s, const unsigned char *p, size_t n, size_t from)
{
	return (struct scan_cursor){s, p, n, from, from, 0};
}

/* The next place, or n. */
static inline size_t scan_next(struct scan_cursor *c)
{
	size_t i;

	while (!c->bits) {
		if (c->next >= c->n)
			return c->n;
		c->at = c->next;
		c->bits = scan_block(c->scan, c->p + c->at, c->n - c->at, c->at && c->scan->word[c->p[c->at - 1]]);
		c->next = c->at + 64;
	}
	i = c->at + (size_t)__builtin_ctzll(c->bits);
	c->bits &= c->bits - 1;
	return i;
}

/* Goes on at i, which is not before the place named last. */
static inline void scan_seek(struct scan_cursor *c, size_t i)
{
	if (i >= c->next) {
		c->bits = 0;
		c->next = i;
	} else {
		c->bits &= UINT64_MAX << ((i - c->at) & 63);
	}
}
