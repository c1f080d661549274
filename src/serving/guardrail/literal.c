/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Literals: an Aho-Corasick automaton over text that is folded on the fly.
 *
 * The automaton reads symbols, not bytes: upper case is lower case, a run of
 * white space is one space, and between a word byte and another stands a
 * border symbol: WORD_START before the first byte of a word, WORD_END after its
 * last.  A literal that has to stand at word boundaries carries the borders
 * at its own ends, so a state knows about boundaries without looking back, and
 * a complete literal is found by the byte after it.
 *
 * States are numbered in breadth-first order, so that the children of a state
 * are neighbours and the shallow states, where text spends its time, come
 * first.  As many of these as fit into DENSE_BYTES have a row with the next
 * state for every input; the others follow goto and fail links.  A column of a
 * row stands for a byte class and what stood before it, so borders cost no step.
 *
 * Most text begins no literal.  From the root a scan (scan.h) names the places
 * where one may begin, and hashes of the first 3, 8 and 16 bytes there say
 * whether one does; the automaton runs from such a place until it is back at
 * the root.
 */
#include <stdlib.h>

#include "serving/guardrail/guard_internal.h"
#include "serving/guardrail/scan.h"

#define DENSE_BYTES (8u << 20)
#define MAX_STATES (2u << 20)
#define OUTPUT 0x80000000u /* on an entry of a row: some literal ends on the way */
#define DEEP ((size_t)8)   /* folded bytes of a literal's beginning that are hashed, and as many behind them */
#define MAX_ITEMS 4096	   /* of the scan */
#define MAX_SHARE 150	   /* places per thousand that the scan may name; above that it saves nothing */

enum byte_kind { KIND_OTHER, KIND_SPACE, KIND_WORD, N_KINDS };
enum { WORD_START, WORD_END, FIRST_CLASS };

struct state {
	uint32_t fail;
	uint32_t child;	   /* first of n_children neighbours */
	uint32_t out;	   /* first of its own outputs, 1-based; 0: none */
	uint32_t out_link; /* next state on the fail path that has outputs; 0: none */
	uint16_t n_children;
	uint16_t symbol; /* that leads here from the parent */
	uint16_t length; /* bytes of folded text from the root */
	uint16_t live_any,
		live_hold; /* length of the longest suffix that some literal (that intervenes) goes on from */
};

struct output {
	uint32_t next; /* 1-based */
	uint16_t rule, length;
	bool intervenes;
};

/* A bit per hash. */
struct beginnings {
	uint64_t some[1024];	/* a literal begins so */
	uint64_t shorter[1024]; /* one that ends before the next hash */
};

struct literal_set {
	struct state *state;
	uint32_t n_states, n_dense;
	struct output *output;
	uint32_t n_outputs;
	uint8_t kind[256];
	uint16_t class_of[256]; /* symbol of a byte; 0: in no literal */
	uint32_t n_classes;
	uint32_t n_columns;
	uint16_t column[N_KINDS][256]; /* by kind of the byte before; N_COLUMNS holds the run of white space */
	uint8_t folded[256];
	bool skips; /* from the root, text may be skipped up to the places of the scan */
	/* By their first three bytes, DEEP folded bytes, and twice as many: what literals begin with. */
	struct beginnings begins[3];
	uint8_t one_letter[256]; /* whether a literal's first byte, folded, stands alone */
	uint32_t *row;		 /* n_dense * n_columns; an entry is the next state times n_columns, and OUTPUT */
};

/* The trie while it is built: siblings are linked. */
struct node {
	uint32_t first, sibling, out;
	uint16_t symbol, length;
	bool holds; /* a literal that intervenes ends below */
};

struct builder {
	struct node *node;
	uint32_t n, cap;
	struct output *output;
	uint32_t n_outputs;
};

static uint8_t kind_of(unsigned char c)
{
	if (guard_is_space(c))
		return KIND_SPACE;
	return guard_is_word(c) ? KIND_WORD : KIND_OTHER;
}

static unsigned char fold(unsigned char c)
{
	if (guard_is_space(c))
		return ' ';
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

static uint32_t builder_child(struct builder *b, uint32_t at, uint16_t symbol, uint16_t length)
{
	for (uint32_t c = b->node[at].first; c; c = b->node[c].sibling) {
		if (b->node[c].symbol == symbol)
			return c;
	}
	if (b->n == b->cap) {
		uint32_t cap = b->cap * 2;
		struct node *grown = b->n < MAX_STATES ? realloc(b->node, cap * sizeof(*grown)) : NULL;

		if (!grown)
			return 0;
		b->node = grown;
		b->cap = cap;
	}
	b->node[b->n] = (struct node){.sibling = b->node[at].first, .symbol = symbol, .length = length};
	b->node[at].first = b->n;
	return b->n++;
}

/* Folds a literal into symbols; returns how many. */
static size_t to_symbols(const struct literal_set *s, const struct literal_source *src, uint16_t *symbol,
			 uint16_t *ret_length)
{
	uint8_t before = src->anywhere ? KIND_WORD : KIND_OTHER, kind = before;
	size_t n = 0, from = 0, to = src->text.n;
	uint16_t length = 0;

	while (from < to && guard_is_space((unsigned char)src->text.p[from]))
		from++;
	while (to > from && guard_is_space((unsigned char)src->text.p[to - 1]))
		to--;
	for (size_t i = from; i < to; i++, before = kind) {
		unsigned char c = fold((unsigned char)src->text.p[i]);

		kind = kind_of(c);
		if (kind == KIND_SPACE && before == KIND_SPACE)
			continue;
		if (kind == KIND_WORD && before != KIND_WORD)
			symbol[n++] = WORD_START;
		if (kind != KIND_WORD && before == KIND_WORD && i > from)
			symbol[n++] = WORD_END;
		symbol[n++] = s->class_of[c];
		length++;
	}
	if (kind == KIND_WORD && !src->anywhere)
		symbol[n++] = WORD_END;
	*ret_length = length;
	return n;
}

static int builder_add(struct builder *b, const struct literal_set *s, const struct literal_source *src)
{
	uint16_t symbol[3 * POLICY_MAX_VALUE_BYTES + 2], length, done = 0;
	size_t n = to_symbols(s, src, symbol, &length);
	uint32_t at = 0;

	if (length == 0)
		return E_INVALID;
	for (size_t i = 0; i < n; i++) {
		done = (uint16_t)(done + (symbol[i] >= FIRST_CLASS));
		if (src->intervenes)
			b->node[at].holds = true;
		at = builder_child(b, at, symbol[i], done);
		if (!at)
			return E_TOOBIG;
	}
	b->output[b->n_outputs] = (struct output){
		.next = b->node[at].out, .rule = src->rule, .length = length, .intervenes = src->intervenes};
	b->node[at].out = ++b->n_outputs;
	return 0;
}

static void number_classes(struct literal_set *s, const struct literal_source *src, size_t n)
{
	bool used[256] = {false};

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < src[i].text.n; k++)
			used[fold((unsigned char)src[i].text.p[k])] = true;
	}
	for (unsigned c = 0; c < 256; c++) {
		s->kind[c] = kind_of((unsigned char)c);
		s->folded[c] = fold((unsigned char)c);
	}
	s->n_classes = FIRST_CLASS;
	for (unsigned c = 0; c < 256; c++) {
		if (used[c] && fold((unsigned char)c) == c)
			s->class_of[c] = (uint16_t)s->n_classes++;
	}
	for (unsigned c = 0; c < 256; c++)
		s->class_of[c] = s->class_of[fold((unsigned char)c)];
}

static uint32_t goto_child(const struct literal_set *s, uint32_t at, uint16_t symbol)
{
	const struct state *st = &s->state[at];

	for (uint32_t c = st->child; c < st->child + st->n_children; c++) {
		if (s->state[c].symbol == symbol)
			return c;
	}
	return 0;
}

static uint32_t next_state(const struct literal_set *s, uint32_t at, uint16_t symbol)
{
	for (;;) {
		uint32_t to = goto_child(s, at, symbol);

		if (to || at == 0)
			return to;
		at = s->state[at].fail;
	}
}

/* Copies the trie in breadth-first order and links fails; a fail link always points to a smaller number. */
static int build_states(struct literal_set *s, const struct builder *b)
{
	uint32_t *old = malloc(b->n * sizeof(*old)); /* node of a state */
	uint32_t n = 1;

	s->state = calloc(b->n, sizeof(*s->state));
	if (!old || !s->state) {
		free(old);
		return E_TOOBIG;
	}
	old[0] = 0;
	for (uint32_t i = 0; i < n; i++) {
		s->state[i].child = n;
		for (uint32_t c = b->node[old[i]].first; c; c = b->node[c].sibling, n++) {
			old[n] = c;
			s->state[n].symbol = b->node[c].symbol;
			s->state[n].length = b->node[c].length;
			s->state[n].out = b->node[c].out;
			s->state[i].n_children++;
		}
	}
	s->n_states = n;
	for (uint32_t i = 0; i < n; i++) {
		struct state *st = &s->state[i];

		for (uint32_t c = st->child; c < st->child + st->n_children; c++)
			s->state[c].fail = i ? next_state(s, st->fail, s->state[c].symbol) : 0;
		st->out_link = s->state[st->fail].out ? st->fail : s->state[st->fail].out_link;
		if (i == 0)
			continue;
		st->live_any = st->n_children ? st->length : s->state[st->fail].live_any;
		st->live_hold = b->node[old[i]].holds ? st->length : s->state[st->fail].live_hold;
	}
	free(old);
	return 0;
}

/* The elementary symbols of a byte after a byte of kind `before`: 0 to 2. A symbol of 0 in [1] means the byte is in no
 * literal. */
static unsigned symbols_of(const struct literal_set *s, uint8_t before, unsigned char c, uint16_t symbol[2])
{
	uint8_t kind = kind_of(c);
	unsigned n = 0;

	if (kind == KIND_SPACE && before == KIND_SPACE)
		return 0;
	if (kind == KIND_WORD && before != KIND_WORD)
		symbol[n++] = WORD_START;
	if (kind != KIND_WORD && before == KIND_WORD)
		symbol[n++] = WORD_END;
	symbol[n++] = s->class_of[c] ? s->class_of[c] : UINT16_MAX;
	return n;
}

static bool has_output(const struct literal_set *s, uint32_t at)
{
	return s->state[at].out || s->state[at].out_link;
}

/* One byte, by goto and fail; *ret_output: whether some literal ends on the way. */
static uint32_t slow_step(const struct literal_set *s, uint32_t at, uint8_t before, unsigned char c, bool *ret_output)
{
	uint16_t symbol[2];
	unsigned n = symbols_of(s, before, c, symbol);

	*ret_output = false;
	for (unsigned i = 0; i < n; i++) {
		at = next_state(s, at, symbol[i]);
		*ret_output |= has_output(s, at);
	}
	return at;
}

/* Column 0 is a repeated space; the others are pairs of (was the byte before a word byte, class), for each class there
 * is. */
static void number_columns(struct literal_set *s)
{
	uint16_t others[2][2] = {{0}}, by_class[2][258] = {{0}};

	s->n_columns = 1;
	for (unsigned k = 0; k < N_KINDS; k++) {
		for (unsigned c = 0; c < 256; c++) {
			uint16_t *col = s->class_of[c]
						? &by_class[k == KIND_WORD][s->class_of[c]]
						: &others[k == KIND_WORD][kind_of((unsigned char)c) == KIND_WORD];

			if (k == KIND_SPACE && guard_is_space((unsigned char)c))
				continue;
			if (!*col)
				*col = (uint16_t)s->n_columns++;
			s->column[k][c] = *col;
		}
	}
}

static uint32_t entry_for(const struct literal_set *s, uint32_t at, uint8_t before, unsigned char c)
{
	bool output;
	uint32_t to = slow_step(s, at, before, c, &output);

	return to * s->n_columns | (output ? OUTPUT : 0);
}

static int build_rows(struct literal_set *s)
{
	size_t fit;

	number_columns(s);
	fit = DENSE_BYTES / (s->n_columns * sizeof(uint32_t));
	s->n_dense = s->n_states < fit ? s->n_states : (uint32_t)fit;
	s->row = calloc((size_t)s->n_dense * s->n_columns, sizeof(uint32_t));
	if (!s->row)
		return E_TOOBIG;
	for (uint32_t i = 0; i < s->n_dense; i++) {
		uint32_t *row = s->row + (size_t)i * s->n_columns;
		uint64_t done[9] = {1}; /* bit per column */

		row[0] = i * s->n_columns;
		for (unsigned k = 0; k < N_KINDS; k++) {
			for (unsigned c = 0; c < 256; c++) {
				uint16_t col = s->column[k][c];

				if (done[col / 64] >> (col % 64) & 1)
					continue;
				done[col / 64] |= 1ull << (col % 64);
				row[col] = entry_for(s, i, (uint8_t)k, (unsigned char)c);
			}
		}
	}
	return 0;
}

static uint32_t hash3(unsigned char a, unsigned char b, unsigned char c)
{
	return (((uint32_t)a | (uint32_t)b << 8 | (uint32_t)c << 16) * 0x9e3779b1u) >> 16;
}

static uint32_t hash_deep(uint64_t folded)
{
	return (uint32_t)(folded * 0x9e3779b97f4a7c15u >> 48);
}

/* Of DEEP bytes and DEEP behind them. */
static uint32_t hash_deeper(uint64_t first, uint64_t behind)
{
	return hash_deep((first ^ first >> 31) * 0xd6e8feb86659fd93u + behind);
}

static void set_bit(uint64_t bits[1024], uint32_t h)
{
	bits[h / 64] |= 1ull << (h % 64);
}

static bool has_bit(const uint64_t bits[1024], uint32_t h)
{
	return bits[h / 64] >> (h % 64) & 1;
}

static void note_hash(struct beginnings *b, uint32_t hash, bool shorter)
{
	set_bit(b->some, hash);
	if (shorter)
		set_bit(b->shorter, hash);
}

/* The folded bytes that a literal begins with, at most 2 * DEEP; returns how many. */
static size_t first_bytes(struct slice t, unsigned char folded[2 * DEEP])
{
	size_t n = 0;

	while (t.n && guard_is_space((unsigned char)t.p[t.n - 1]))
		t.n--;
	for (size_t i = 0; i < t.n && n < 2 * DEEP; i++) {
		unsigned char c = fold((unsigned char)t.p[i]);

		if (c != ' ' || (n && folded[n - 1] != ' '))
			folded[n++] = c;
	}
	return n;
}

static uint64_t key_of(const unsigned char folded[DEEP])
{
	uint64_t key;

	memcpy(&key, folded, DEEP);
	return key;
}

/* What a literal can begin with; of the first three bytes, what stands behind a space, or the end, is anything. */
static void note_begin(struct literal_set *s, const unsigned char *folded, size_t n)
{
	size_t k = 0;

	while (k < n && k < 3 && folded[k] != ' ')
		k++;
	if (k == 1)
		s->one_letter[folded[0] | 0x20] = 1;
	for (unsigned c = 0; k > 1 && c < 256; c++)
		note_hash(&s->begins[0], hash3(folded[0] | 0x20, folded[1] | 0x20, (k == 2 ? c : folded[2]) | 0x20),
			  n < DEEP);
	if (n >= DEEP)
		note_hash(&s->begins[1], hash_deep(key_of(folded)), n < 2 * DEEP);
	if (n == 2 * DEEP)
		note_hash(&s->begins[2], hash_deeper(key_of(folded), key_of(folded + DEEP)), true);
}

/* The bytes that fold to c. */
static void add_folded(struct byte_set *set, unsigned char c)
{
	for (unsigned i = 0; i < 256; i++) {
		if (fold((unsigned char)i) == c)
			byte_set_add(set, i, i);
	}
}

/* What may stand where, by the first bytes of a literal; behind these, any. A run of spaces stands for one. */
static struct scan_item begin_item(const unsigned char *folded, size_t n, bool inside)
{
	struct scan_item item = {.part = SCAN_LITERAL, .inside = inside};
	unsigned at = 1, spaces = 0; /* bit: that folded byte */

	for (size_t i = 0; i < n; i++)
		spaces |= (unsigned)(folded[i] == ' ') << i;
	for (size_t k = 0; k < SCAN_BYTES; k++) {
		for (size_t i = 0; i < n; i++) {
			if (at >> i & 1)
				add_folded(&item.byte[k], folded[i]);
		}
		if (at >> n)
			byte_set_add(&item.byte[k], 0, 255);
		at = at << 1 | (at & spaces);
	}
	return item;
}

static bool same_item(const struct scan_item *a, const struct scan_item *b)
{
	return !memcmp(a->byte, b->byte, sizeof(a->byte)) && a->inside == b->inside;
}

/* Where literals begin: for the scan and the hashes. Too many of them are not for a scan. */
static int build_begins(struct literal_set *s, const struct literal_source *src, size_t n, struct scan_items *items)
{
	size_t first = items->n;

	for (size_t i = 0; i < n && items->n - first <= MAX_ITEMS; i++) {
		unsigned char folded[2 * DEEP];
		size_t length = first_bytes(src[i].text, folded), k = first;
		struct scan_item item;

		if (!length)
			continue;
		note_begin(s, folded, length);
		item = begin_item(folded, length, src[i].anywhere || !guard_is_word(folded[0]));
		while (k < items->n && !same_item(&items->item[k], &item))
			k++;
		if (k == items->n && scan_items_add(items, &item))
			return E_TOOBIG;
	}
	s->skips = items->n - first <= MAX_ITEMS;
	if (!s->skips)
		items->n = first;
	return 0;
}

static int build(struct literal_set *s, struct builder *b, const struct literal_source *src, size_t n,
		 struct scan_items *items)
{
	int rc;

	number_classes(s, src, n);
	rc = build_begins(s, src, n, items);
	if (rc)
		return rc;
	b->cap = 1024;
	b->n = 1;
	b->node = calloc(b->cap, sizeof(*b->node));
	b->output = calloc(n + 1, sizeof(*b->output));
	if (!b->node || !b->output)
		return E_TOOBIG;
	for (size_t i = 0; i < n; i++) {
		rc = builder_add(b, s, &src[i]);
		if (rc == E_INVALID) /* nothing but white space: matches nothing */
			continue;
		if (rc)
			return rc;
	}
	rc = build_states(s, b);
	return rc ? rc : build_rows(s);
}

int literal_set_new(const struct literal_source *src, size_t n, struct scan_items *items, struct literal_set **ret,
		    struct err *err)
{
	struct literal_set *s = calloc(1, sizeof(*s));
	struct builder b = {0};
	int rc = s ? build(s, &b, src, n, items) : E_TOOBIG;

	free(b.node);
	if (rc) {
		free(b.output);
		literal_set_free(s);
		return err_set(err, rc,
			       "the literals are too many for one policy: at most %u states, about a byte each",
			       MAX_STATES);
	}
	s->output = b.output;
	s->n_outputs = b.n_outputs;
	*ret = s;
	return 0;
}

void literal_set_free(struct literal_set *s)
{
	if (!s)
		return;
	free(s->state);
	free(s->output);
	free(s->row);
	free(s);
}

size_t literal_set_bytes(const struct literal_set *s)
{
	return s ? sizeof(*s) + s->n_states * sizeof(*s->state) + s->n_outputs * sizeof(*s->output) +
			       (size_t)s->n_dense * s->n_columns * sizeof(*s->row)
		 : 0;
}

/* Where `length` bytes of folded text that end at `end` begin in the text; GUARD_NONE when that is too far. */
static uint64_t walk_back(const struct window *w, uint64_t end, uint16_t length)
{
	size_t i = (size_t)(end - w->base), least = i > GUARD_MAX_SPAN ? i - GUARD_MAX_SPAN : 0;

	for (; length; length--) {
		if (i <= least)
			return GUARD_NONE;
		i--;
		if (guard_is_space(w->p[i])) {
			while (i > least && guard_is_space(w->p[i - 1]))
				i--;
		}
	}
	return w->base + i;
}

static void report(const struct literal_set *s, struct run *r, const struct window *w, uint32_t at, uint64_t end)
{
	for (; at; at = s->state[at].out_link) {
		for (uint32_t o = s->state[at].out; o; o = s->output[o - 1].next) {
			uint64_t start = walk_back(w, end, s->output[o - 1].length);

			if (start != GUARD_NONE)
				run_match(r, s->output[o - 1].rule, start, end);
		}
	}
}

/* The byte at `pos` again, symbol by symbol, now reporting. */
static uint32_t step_and_report(const struct literal_set *s, struct run *r, const struct window *w,
				const struct literal_cursor *cur)
{
	unsigned char c = w->p[cur->pos - w->base];
	uint32_t at = cur->state;
	uint16_t symbol[2];
	unsigned n = symbols_of(s, cur->kind, c, symbol);

	for (unsigned i = 0; i < n; i++) {
		at = next_state(s, at, symbol[i]);
		report(s, r, w, at, symbol[i] == WORD_END ? cur->pos : cur->pos + 1);
	}
	return at;
}

/* One byte by any means; the cursor stands on it. */
static void slow_byte(const struct literal_set *s, struct run *r, const struct window *w, struct literal_cursor *cur)
{
	unsigned char c = w->p[cur->pos - w->base];
	uint8_t kind = s->kind[c];

	if (kind == KIND_SPACE && cur->kind == KIND_SPACE) {
		/* The state stays, until the run is too long to be one space. */
		if (cur->ws_run >= GUARD_MAX_WS_RUN)
			cur->state = 0;
		else
			cur->ws_run++;
	} else {
		cur->state = step_and_report(s, r, w, cur);
		cur->ws_run = kind == KIND_SPACE;
	}
	cur->kind = kind;
	cur->pos++;
}

#define EACH(byte) (0x0101010101010101u * (byte))

/* Folds eight bytes at once; false when there are control characters, or two spaces beside each other. */
static bool fold_eight(const unsigned char *p, uint64_t *ret)
{
	uint64_t bytes, seven, upper, space;

	memcpy(&bytes, p, sizeof(bytes));
	seven = bytes & EACH(0x7f);
	upper = ((seven + EACH(0x80 - 'A')) ^ (seven + EACH(0x7f - 'Z'))) & ~bytes & EACH(0x80);
	space = ~(((bytes ^ EACH(' ')) & EACH(0x7f)) + EACH(0x7f)) & ~bytes & EACH(0x80);
	if (((seven + EACH(0x60)) & EACH(0x80)) != EACH(0x80) || space & space >> 8)
		return false;
	*ret = bytes | upper >> 2;
	return true;
}

/* The next DEEP bytes of p, folded, behind a byte `before`; false when there are fewer. */
static bool next_key(const struct literal_set *s, const unsigned char **p, const unsigned char *end,
		     unsigned char before, uint64_t *ret)
{
	unsigned char folded[DEEP];

	if ((size_t)(end - *p) >= DEEP && !(guard_is_space(before) && **p == ' ') && fold_eight(*p, ret)) {
		*p += DEEP;
		return true;
	}
	for (unsigned k = 0; k < DEEP; ++*p) {
		if (*p == end)
			return false;
		if (s->folded[**p] == ' ' && guard_is_space(before))
			continue;
		before = folded[k++] = s->folded[**p];
	}
	*ret = key_of(folded);
	return true;
}

/* Whether some literal begins with the first bytes of p, as far as these tell. */
static bool may_begin(const struct literal_set *s, const unsigned char *p, size_t n)
{
	const unsigned char *end = p + n;
	uint64_t key, behind;
	uint32_t h;

	if (n < 3 || s->one_letter[p[0] | 0x20])
		return true;
	h = hash3(p[0] | 0x20, p[1] | 0x20, p[2] | 0x20);
	if (!has_bit(s->begins[0].some, h) || has_bit(s->begins[0].shorter, h))
		return has_bit(s->begins[0].some, h);
	if (!next_key(s, &p, end, 0, &key))
		return true;
	h = hash_deep(key);
	if (!has_bit(s->begins[1].some, h) || has_bit(s->begins[1].shorter, h))
		return has_bit(s->begins[1].some, h);
	return !next_key(s, &p, end, p[-1], &behind) || has_bit(s->begins[2].some, hash_deeper(key, behind));
}

/* From the root at byte i, over text that begins no literal: most of it. Returns where one may begin, or n. */
static size_t skip(const struct literal_set *s, const struct window *w, const struct scan_cursor *places, size_t i)
{
	for (i = scan_next(places, i); i < w->n && !may_begin(s, w->p + i, w->n - i);)
		i = scan_next(places, i + 1);
	return i;
}

/* Rows as far as they go: until the root (when it is worth while to skip from there), an output, a deep state or a run
 * of spaces. */
static void fast_bytes(const struct literal_set *s, const struct window *w, struct literal_cursor *cur, bool skips)
{
	const unsigned char *p = w->p;
	size_t i = (size_t)(cur->pos - w->base), n = w->n;
	uint32_t at = cur->state * s->n_columns, deep = s->n_dense * s->n_columns;
	uint8_t kind = cur->kind;

	while (i < n && at < deep) {
		uint32_t entry = s->row[at + s->column[kind][p[i]]];

		if (entry & OUTPUT || (kind == KIND_SPACE && s->kind[p[i]] == KIND_SPACE && at))
			break;
		at = entry;
		kind = s->kind[p[i++]];
		if (at == 0 && skips)
			break;
	}
	if (i > (size_t)(cur->pos - w->base))
		cur->ws_run = kind == KIND_SPACE;
	cur->state = at / s->n_columns;
	cur->kind = kind;
	cur->pos = w->base + i;
}

/* Where the suffixes begin that some literal goes on from, in text up to `end`. */
static struct live live_of(const struct literal_set *s, const struct window *w, uint32_t at, uint64_t end)
{
	struct live live = {GUARD_NONE, GUARD_NONE};

	for (uint32_t i = at; i && live.any == GUARD_NONE; i = s->state[i].fail) {
		if (s->state[i].live_any)
			live.any = walk_back(w, end, s->state[i].live_any);
	}
	for (uint32_t i = at; i && live.hold == GUARD_NONE; i = s->state[i].fail) {
		if (s->state[i].live_hold)
			live.hold = walk_back(w, end, s->state[i].live_hold);
	}
	return live;
}

struct live literal_step(const struct literal_set *s, struct run *r, const struct window *w)
{
	struct live none = {GUARD_NONE, GUARD_NONE};
	struct literal_cursor *cur = &r->literal;
	struct scan_cursor places = run_places(r, w, SCAN_LITERAL);
	bool skips = s->skips && r->engine->scan.share[SCAN_LITERAL] <= MAX_SHARE;
	uint64_t end = window_end(w);

	while (cur->pos < end) {
		uint64_t from;

		if (cur->state == 0 && skips) {
			size_t i = skip(s, w, &places, (size_t)(cur->pos - w->base));

			if (i > (size_t)(cur->pos - w->base))
				cur->kind = s->kind[w->p[i - 1]];
			cur->pos = w->base + i;
			if (i == w->n)
				break;
		}
		from = cur->pos;
		fast_bytes(s, w, cur, skips);
		if (cur->pos == from) {
			if (UNLIKELY(r->n_picks > GUARD_MAX_PICKS / 2))
				run_settle(r, GUARD_LITERAL, live_of(s, w, cur->state, cur->pos));
			slow_byte(s, r, w, cur);
		}
	}
	if (!w->over)
		return live_of(s, w, cur->state, end);
	if (cur->kind == KIND_WORD) {
		cur->state = next_state(s, cur->state, WORD_END);
		report(s, r, w, cur->state, end);
	}
	return none;
}
