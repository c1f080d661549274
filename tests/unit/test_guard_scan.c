/* SPDX-License-Identifier: Apache-2.0 */
/* Where something may begin: no place is missed, and the processor's way and the plain way name the same places. */
#include "serving/guardrail/scan.h"

#include "serving/guardrail/guard_internal.h"
#include "t.h"

static struct byte_set set_of(const char *bytes)
{
	struct byte_set set = {{0}};

	for (; *bytes; bytes++)
		byte_set_add(&set, (unsigned char)*bytes, (unsigned char)*bytes);
	if (set.bits[0] == 0 && set.bits[1] == 0)
		byte_set_add(&set, 0, 255);
	return set;
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 16;
}

/* "" is any byte. */
static const struct {
	const char *byte[4];
	bool inside;
} item_cases[] = {
	{{"-", "-", "-", "-"}, true},	     {{"h", "t", "t", "aK"}, true},  {{"Ss", "kK", "-_", "_z "}, false},
	{{"0123456789", "", "", ""}, false}, {{"a", "b", "", "-"}, false},   {{"p", "aA", "s", "aK"}, false},
	{{"+(", "", "", "_z "}, true},	     {{"x", "x", "x", ""}, true},    {{"A", "K", "I", "-"}, false},
	{{"e", "y", "J", "aK"}, false},	     {{"_", "", "z", "_z "}, false},
};

static bool may_begin(const struct scan_item *item, size_t n_items, const unsigned char *text, size_t n, size_t i,
		      bool ascii)
{
	bool in_word = i > 0 && guard_is_word(text[i - 1]) && !(ascii && text[i - 1] >= 0x80);

	for (size_t k = 0; k < n_items; k++) {
		bool fits = item[k].inside || !in_word;

		for (size_t b = 0; b < SCAN_BYTES && i + b < n; b++)
			fits &= byte_set_has(&item[k].byte[b], text[i + b]);
		if (fits)
			return true;
	}
	return false;
}

/* The places that may begin something are among `bits`. */
static void check_named(uint64_t bits, const struct scan_item *item, size_t n_items, struct slice text, size_t from,
			bool ascii)
{
	const unsigned char *p = (const unsigned char *)text.p;

	for (size_t i = from; i < text.n && i < from + 64; i++)
		CHECK(!may_begin(item, n_items, p, text.n, i, ascii) || bits >> (i - from) & 1);
}

static void check_text(const struct scan *s, const struct scan_item *item, size_t n_items, struct slice text,
		       bool ascii)
{
	unsigned char *own = malloc(text.n + 1); /* a block of its own: a read past it is seen */
	struct scan plain = *s;

	memcpy(own, text.p, text.n);
	plain.wide = false;
	for (size_t from = 0; from < text.n; from += 7) {
		bool in_word = from > 0 && s->word[own[from - 1]];
		uint64_t bits = scan_block(s, own + from, text.n - from, in_word);

		CHECK(bits == scan_block(&plain, own + from, text.n - from, in_word));
		check_named(bits, item, n_items, (struct slice){(const char *)own, text.n}, from, ascii);
		if (text.n - from < 64)
			CHECK(bits >> (text.n - from) == 0);
	}
	free(own);
}

TEST(no_place_is_missed_and_both_ways_agree)
{
	static const unsigned char letters[] = "--httskSK-_0123 abpasAKIeyJ_z+(xx.\n\x80\xff";
	uint32_t seed = 1;

	for (unsigned round = 0; round < 400; round++) {
		struct scan_item item[COUNT_OF(item_cases)];
		unsigned char text[300];
		size_t n_items = 0, n = next_random(&seed) % sizeof(text);
		bool ascii = round & 1;
		struct scan s;

		for (size_t i = 0; i < COUNT_OF(item_cases); i++) {
			if (next_random(&seed) % 3 == 0)
				continue;
			for (size_t k = 0; k < SCAN_BYTES; k++)
				item[n_items].byte[k] = set_of(item_cases[i].byte[k]);
			item[n_items++].inside = item_cases[i].inside;
		}
		for (size_t i = 0; i < n; i++)
			text[i] = round % 5 ? letters[next_random(&seed) % (sizeof(letters) - 1)]
					    : (unsigned char)next_random(&seed);
		CHECK_INT(scan_build(&s, item, n_items, ascii), 0);
		check_text(&s, item, n_items, (struct slice){(const char *)text, n}, ascii);
	}
}

TEST(many_items_are_found_too)
{
	static struct scan_item item[1000];
	uint32_t seed = 2;
	struct scan s;
	char text[600];

	for (size_t i = 0; i < COUNT_OF(item); i++) {
		char bytes[4][2] = {{0}};

		for (size_t k = 0; k < SCAN_BYTES; k++) {
			bytes[k][0] = (char)('a' + next_random(&seed) % 26);
			item[i].byte[k] = set_of(bytes[k]);
		}
		item[i].inside = i % 2;
	}
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(next_random(&seed) % 5 ? 'a' + next_random(&seed) % 26 : ' ');
	CHECK_INT(scan_build(&s, item, COUNT_OF(item), false), 0);
	check_text(&s, item, COUNT_OF(item), (struct slice){text, sizeof(text)}, false);
}

TEST(without_items_no_place_is_named)
{
	unsigned char text[100] = "words, and more words";
	struct scan s;

	CHECK_INT(scan_build(&s, NULL, 0, false), 0);
	CHECK_INT(s.share, 0);
	CHECK(scan_block(&s, text, 100, false) == 0);
	CHECK(scan_block(&s, text, 1, false) == 0);
	CHECK(scan_block(&s, text, 66, false) == 0);
}

TEST(at_the_end_the_bytes_that_are_there_tell)
{
	struct scan_item item = {{set_of("k"), set_of("e"), set_of("y"), set_of("-")}, false};
	unsigned char text[] = "a key key ke";
	struct scan s;

	CHECK_INT(scan_build(&s, &item, 1, false), 0);
	CHECK(scan_block(&s, text, 12, false) == 1u << 10);
	CHECK(scan_block(&s, text, 11, false) == 1u << 10);
	CHECK(scan_block(&s, text, 10, false) == 0);
	CHECK(scan_block(&s, text, 9, false) == 1u << 6);
	CHECK(scan_block(&s, text + 2, 3, false) == 1);
	CHECK(scan_block(&s, text + 2, 3, true) == 0);
}

TEST(a_walk_names_places_in_order_and_goes_on_where_it_is_sent)
{
	struct scan_item item = {{set_of("a"), set_of(""), set_of(""), set_of("")}, true};
	unsigned char text[200];
	struct scan_cursor c;
	struct scan s;

	memset(text, '.', sizeof(text));
	text[3] = text[70] = text[90] = text[150] = 'a';
	CHECK_INT(scan_build(&s, &item, 1, false), 0);
	c = scan_start(&s, text, sizeof(text), 0);
	CHECK_INT(scan_next(&c), 3);
	CHECK_INT(scan_next(&c), 70);
	scan_seek(&c, 71);
	CHECK_INT(scan_next(&c), 90);
	scan_seek(&c, 160);
	CHECK_INT(scan_next(&c), 200);
}
