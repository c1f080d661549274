/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where something may begin: 64 bytes of text at a time, by the first bytes of
 * what is looked for, for all parts of an engine in one pass.  The answer names
 * too many places, never too few: whoever asks looks again at each.  What begins
 * at the start of a word only is not sought inside one.
 *
 * One pass fills a map of a window of text; each part walks its own places of
 * the map, and a stretch that the map does not hold is scanned when a walk
 * comes to it.  What would break it: a walk over a text that is not the one the
 * map was filled from (scan_map_reset() stands between two).
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

#define SCAN_BYTES 6
#define SCAN_BLOCK ((size_t)64) /* places looked at together */

enum scan_part { SCAN_LITERAL, SCAN_PATTERN, SCAN_PII, SCAN_PARTS };

/* Texts that begin with a byte of each set. */
struct scan_item {
	struct byte_set byte[SCAN_BYTES];
	uint8_t part;
	bool inside; /* may begin inside a word; words of patterns are ASCII, of the others every byte above it is one's
		      */
};

/* What the parts of an engine look for. */
struct scan_items {
	struct scan_item *item;
	size_t n, size;
};
/* E_TOOBIG: out of memory. */
int scan_items_add(struct scan_items *items, const struct scan_item *add);
void scan_items_release(struct scan_items *items);

/* How the processor looks, from what all can to what few can. */
enum scan_way { SCAN_BY_BYTE, SCAN_AVX2, SCAN_VBMI };
enum scan_way scan_best_way(void);

/* There are 16 buckets of items: two sets of eight, a bit for each. */
#define SCAN_SETS 2

struct scan {
	/* By set, position and byte without its top bit: the buckets that have it; and for the byte before. */
	uint8_t seven[SCAN_SETS][SCAN_BYTES][128], seven_before[SCAN_SETS][128];
	/* By low and by high half of a byte: buckets; both have it for a byte of the items. */
	uint8_t low[SCAN_SETS][SCAN_BYTES][16], high[SCAN_SETS][SCAN_BYTES][16], word_low[16], word_high[16];
	uint16_t byte[SCAN_BYTES][256], before[256]; /* the same by byte */
	uint16_t inside, ascii, part[SCAN_PARTS];    /* buckets */
	uint8_t way;
	bool any;
	unsigned share[SCAN_PARTS]; /* of the places in plain text that are named, per thousand: a guess */
};

/* E_TOOBIG: out of memory. */
int scan_build(struct scan *s, const struct scan_items *items, enum scan_way way);

#define SCAN_MAP_BLOCKS ((size_t)4096)

/* The places of [from, to) of a text that are named, by part. */
struct scan_map {
	size_t from, to;
	uint64_t full[SCAN_PARTS][SCAN_MAP_BLOCKS / 64]; /* bit: the block names a place */
	uint64_t bits[SCAN_PARTS][SCAN_MAP_BLOCKS];	 /* of such blocks: a bit for each place */
};

static inline void scan_map_reset(struct scan_map *m)
{
	m->from = m->to = 0;
}

/* Fills the map from place `from` of p[0..n) on, as far as it goes. Near the end of the n the bytes that are there
 * tell.
 */
void scan_fill(const struct scan *s, struct scan_map *m, const unsigned char *p, size_t n, size_t from);

/* The next place of the part, at i or later, that the map holds; m->to when there is none. */
size_t scan_find(const struct scan_map *m, enum scan_part part, size_t i);

/* A walk of one part over the places of p[0..n). */
struct scan_cursor {
	const struct scan *scan;
	struct scan_map *map;
	const unsigned char *p;
	size_t n;
	enum scan_part part;
};

/* The next place, at i or later, or n. */
static inline size_t scan_next(const struct scan_cursor *c, size_t i)
{
	while (i < c->n) {
		if (i < c->map->from || i >= c->map->to)
			scan_fill(c->scan, c->map, c->p, c->n, i);
		i = scan_find(c->map, c->part, i);
		if (i < c->map->to)
			return i;
	}
	return c->n;
}
