/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The automaton over the beginnings of expressions, by the usual construction of
 * subsets, breadth first.  It ends where a match may end, where DEPTH bytes are
 * known, and where it would grow beyond its limits: there all that was alive
 * is named, and the expressions' own automata tell.
 */
#include "serving/guardrail/pattern_prefix.h"

#include <stdlib.h>

#include "serving/guardrail/pattern_code.h"

#define DEPTH 8
#define MAX_STATES 4096
#define TABLE 8192u
#define MAX_BYTES (1u << 20)
#define MAX_WORK (8u << 20) /* instructions followed while it is built */
#define MAX_ITEMS 768	    /* of the scan */
#define LEVELS 4	    /* bytes by which these differ */

enum { START_ALL, START_INSIDE, START_BORDER, N_STARTS };

/* An instruction of an expression: expr << 16 | pc. Those of a state are sorted. */
struct subset {
	uint64_t *item;
	uint32_t n;
	uint8_t depth;
	bool accepts;
};

struct builder {
	struct prefixes *x;
	struct nfa *const *nfa;
	size_t n_nfa;
	uint32_t *offset; /* of an expression's marks */
	uint32_t *mark, generation;
	uint32_t *stack;
	struct subset *state;
	uint32_t *table, max_states; /* of states by hash, 0: free */
	struct subset now;	     /* being made */
	uint32_t now_size;
	uint64_t work;
};

static int now_add(struct builder *b, uint64_t item)
{
	if (b->now.n == b->now_size) {
		uint32_t size = b->now_size ? b->now_size * 2 : 256;
		uint64_t *grown = realloc(b->now.item, size * sizeof(*grown));

		if (!grown)
			return E_TOOBIG;
		b->now.item = grown;
		b->now_size = size;
	}
	b->now.item[b->now.n++] = item;
	return 0;
}

/* Adds what waits for a byte from pc on. */
static int follow(struct builder *b, size_t expr, uint32_t pc)
{
	uint32_t depth = 0, *mark = b->mark + b->offset[expr];

	b->stack[depth++] = pc;
	while (depth) {
		const struct ins *ins;

		pc = b->stack[--depth];
		if (mark[pc] == b->generation)
			continue;
		mark[pc] = b->generation;
		b->work++;
		ins = &b->nfa[expr]->code[pc];
		switch ((enum op)ins->op) {
		case OP_SPLIT:
			b->stack[depth++] = pc + (uint32_t)ins->y;
			b->stack[depth++] = pc + (uint32_t)ins->x;
			break;
		case OP_JUMP:
			b->stack[depth++] = pc + (uint32_t)ins->x;
			break;
		case OP_ASSERT:
			b->stack[depth++] = pc + 1;
			break;
		case OP_ACCEPT:
			b->now.accepts = true;
			if (now_add(b, (uint64_t)expr << 16 | pc))
				return E_TOOBIG;
			break;
		case OP_SET:
			if (now_add(b, (uint64_t)expr << 16 | pc))
				return E_TOOBIG;
			break;
		}
	}
	return 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The state of the subset that was made: 0 when it is empty, UINT32_MAX when there is no room. */
static uint32_t intern(struct builder *b, uint8_t depth)
{
	uint64_t hash = 0xcbf29ce484222325u;
	struct prefixes *x = b->x;
	struct subset *s;
	uint32_t slot;

	if (b->now.n == 0)
		return 0;
	qsort(b->now.item, b->now.n, sizeof(b->now.item[0]), by_value);
	for (uint32_t i = 0; i < b->now.n; i++)
		hash = (hash ^ b->now.item[i]) * 0x9e3779b97f4a7c15u, hash ^= hash >> 29;
	for (slot = hash % TABLE; b->table[slot]; slot = (slot + 1) % TABLE) {
		s = &b->state[b->table[slot]];
		if (s->n == b->now.n && !memcmp(s->item, b->now.item, s->n * sizeof(s->item[0])))
			return b->table[slot];
	}
	s = &b->state[x->n_states];
	if (x->n_states == b->max_states || !(s->item = malloc(b->now.n * sizeof(s->item[0]))))
		return UINT32_MAX;
	memcpy(s->item, b->now.item, b->now.n * sizeof(s->item[0]));
	s->n = b->now.n;
	s->depth = depth;
	s->accepts = b->now.accepts;
	for (uint32_t i = 0; i < s->n; i++)
		x->alive[x->n_states * x->n_words + (s->item[i] >> 22)] |= 1ull << (s->item[i] >> 16 & 63);
	b->table[slot] = x->n_states;
	return x->n_states++;
}

static void begin(struct builder *b)
{
	b->generation++;
	b->now.n = 0;
	b->now.accepts = false;
}

/* The state behind `from` by this byte. */
static uint32_t step(struct builder *b, uint32_t from, unsigned char c)
{
	const struct subset *s = &b->state[from];

	begin(b);
	for (uint32_t i = 0; i < s->n; i++) {
		size_t expr = s->item[i] >> 16;
		uint32_t pc = s->item[i] & 0xffff;
		const struct nfa *nfa = b->nfa[expr];

		b->work++;
		if (byte_set_has(&nfa->sets[nfa->code[pc].set], c) && follow(b, expr, pc + 1))
			return UINT32_MAX;
	}
	return intern(b, s->depth + 1);
}

/* Fills the row of a state, or makes the state one that stops. */
static void expand(struct builder *b, uint32_t at)
{
	struct prefixes *x = b->x;
	bool done[256] = {false};

	x->stop[at] = at == 0 || b->state[at].accepts || b->state[at].depth >= DEPTH;
	for (unsigned c = 0; c < 256 && !x->stop[at]; c++) {
		uint32_t to;

		if (done[x->class_of[c]])
			continue;
		done[x->class_of[c]] = true;
		to = b->work < MAX_WORK ? step(b, at, (unsigned char)c) : UINT32_MAX;
		x->stop[at] = to == UINT32_MAX;
		x->next[at * x->n_classes + x->class_of[c]] = (uint16_t)to;
	}
}

/* Bytes that no set of any expression tells apart share a class. */
static void number_classes(struct prefixes *x, struct nfa *const *nfa, size_t n)
{
	x->n_classes = 1;
	for (size_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < nfa[i]->n_sets && x->n_classes < 256; k++) {
			int split[256];
			bool kept[256] = {false};

			memset(split, -1, sizeof(split));
			for (unsigned c = 0; c < 256; c++)
				kept[x->class_of[c]] |= !byte_set_has(&nfa[i]->sets[k], (unsigned char)c);
			for (unsigned c = 0; c < 256; c++) {
				uint8_t old = x->class_of[c];

				if (!kept[old] || !byte_set_has(&nfa[i]->sets[k], (unsigned char)c))
					continue;
				if (split[old] < 0)
					split[old] = (int)x->n_classes++;
				x->class_of[c] = (uint8_t)split[old];
			}
		}
	}
}

/* ---- the scan ---- */

/* By state: the bytes that may stand there, behind these, and so on. Behind a stop stands any. */
struct rest {
	struct byte_set byte[SCAN_BYTES];
};

static void rest_fill(const struct prefixes *x, struct rest *rest)
{
	for (unsigned k = 0; k < SCAN_BYTES; k++) {
		for (uint32_t at = 0; at < x->n_states; at++) {
			const uint16_t *next = &x->next[(size_t)at * x->n_classes];
			struct byte_set *set = &rest[at].byte[k];

			if (x->stop[at])
				memset(set, 0xff, sizeof(*set));
			for (unsigned c = 0; c < 256 && k == 0 && !x->stop[at]; c++) {
				if (next[x->class_of[c]])
					byte_set_add(set, c, c);
			}
			for (unsigned c = 0; c < x->n_classes && k > 0 && !x->stop[at]; c++) {
				if (next[c])
					byte_set_union(set, &rest[next[c]].byte[k - 1]);
			}
		}
	}
}

/* Every byte that leads from `from` to `to`. */
static struct byte_set bytes_to(const struct prefixes *x, uint32_t from, uint32_t to)
{
	struct byte_set set = {{0}};

	for (unsigned c = 0; c < 256; c++) {
		if (x->next[from * x->n_classes + x->class_of[c]] == to)
			byte_set_add(&set, c, c);
	}
	return set;
}

/* States behind `from`, each once; returns how many. */
static size_t targets(const struct prefixes *x, uint32_t from, uint16_t ret[256])
{
	size_t n = 0;

	for (unsigned c = 0; c < x->n_classes && !x->stop[from]; c++) {
		uint16_t to = x->next[from * x->n_classes + c];
		size_t k = 0;

		while (k < n && ret[k] != to)
			k++;
		if (to && k == n)
			ret[n++] = to;
	}
	return n;
}

/* Ways through the first bytes: an item for each. */
struct ways {
	const struct prefixes *x;
	const struct rest *rest;
	struct scan_items *items;
	struct scan_item item; /* being made */
	unsigned levels;       /* bytes that are told apart */
};

/* Those from a state on; above MAX_ITEMS the count goes no further. */
static size_t count_ways(const struct ways *o, uint32_t from, unsigned k)
{
	uint16_t to[256];
	size_t n, sum = 0;

	if (k == o->levels || o->x->stop[from])
		return 1;
	n = targets(o->x, from, to);
	for (size_t i = 0; i < n && sum <= MAX_ITEMS; i++)
		sum += count_ways(o, to[i], k + 1);
	return sum;
}

static int add_ways(struct ways *o, uint32_t from, unsigned k)
{
	uint16_t to[256];
	size_t n;
	int rc = 0;

	if (k == o->levels || o->x->stop[from]) {
		memcpy(&o->item.byte[k], o->rest[from].byte, (SCAN_BYTES - k) * sizeof(o->item.byte[0]));
		return scan_items_add(o->items, &o->item);
	}
	n = targets(o->x, from, to);
	for (size_t i = 0; i < n && !rc; i++) {
		o->item.byte[k] = bytes_to(o->x, from, to[i]);
		rc = add_ways(o, to[i], k + 1);
	}
	return rc;
}

/* As many bytes told apart as there may be items. */
static int build_items(const struct prefixes *x, const uint32_t start[N_STARTS], struct scan_items *items)
{
	struct rest *rest = calloc((size_t)x->n_states + 1, sizeof(*rest));
	struct ways o = {.x = x, .rest = rest, .items = items, .item.part = SCAN_PATTERN, .levels = LEVELS};
	int rc = rest ? 0 : E_TOOBIG;

	if (rest)
		rest_fill(x, rest);
	while (o.levels > 0 &&
	       count_ways(&o, start[START_INSIDE], 0) + count_ways(&o, start[START_BORDER], 0) > MAX_ITEMS)
		o.levels--;
	for (unsigned k = START_INSIDE; k <= START_BORDER && !rc; k++) {
		o.item.inside = k == START_INSIDE;
		if (start[k])
			rc = add_ways(&o, start[k], 0);
	}
	free(rest);
	return rc;
}

/* ---- building ---- */

static int build_starts(struct builder *b, uint32_t start[N_STARTS])
{
	for (unsigned k = 0; k < N_STARTS; k++) {
		begin(b);
		for (size_t i = 0; i < b->n_nfa; i++) {
			bool border = nfa_at_word_start(b->nfa[i]);

			if (k == START_ALL || border == (k == START_BORDER)) {
				if (follow(b, i, 0))
					return E_TOOBIG;
			}
		}
		start[k] = intern(b, 0);
		if (start[k] == UINT32_MAX)
			return E_TOOBIG;
	}
	b->x->start[0] = (uint16_t)start[START_ALL];
	b->x->start[1] = (uint16_t)start[START_INSIDE];
	return 0;
}

static int builder_init(struct builder *b)
{
	struct prefixes *x = b->x;
	uint32_t total = 0, longest = 0;
	size_t row = x->n_words * sizeof(uint64_t) + x->n_classes * sizeof(uint16_t) + 1;

	b->offset = calloc(b->n_nfa + 1, sizeof(*b->offset));
	if (!b->offset)
		return E_TOOBIG;
	for (size_t i = 0; i < b->n_nfa; i++) {
		b->offset[i] = total;
		total += b->nfa[i]->n_code;
		if (b->nfa[i]->n_code > longest)
			longest = b->nfa[i]->n_code;
	}
	b->max_states = MAX_BYTES / row < MAX_STATES ? (uint32_t)(MAX_BYTES / row) : MAX_STATES;
	if (b->max_states < N_STARTS + 1)
		b->max_states = N_STARTS + 1;
	b->mark = calloc(total + 1, sizeof(*b->mark));
	b->stack = calloc(2 * (size_t)longest + 2, sizeof(*b->stack));
	b->state = calloc(b->max_states, sizeof(*b->state));
	b->table = calloc(TABLE, sizeof(*b->table));
	x->next = calloc((size_t)b->max_states * x->n_classes, sizeof(*x->next));
	x->stop = calloc(b->max_states, 1);
	x->alive = calloc(b->max_states * x->n_words, sizeof(*x->alive));
	return b->mark && b->stack && b->state && b->table && x->next && x->stop && x->alive ? 0 : E_TOOBIG;
}

static void builder_release(struct builder *b)
{
	for (uint32_t i = 0; b->state && i < b->x->n_states; i++)
		free(b->state[i].item);
	free(b->offset);
	free(b->mark);
	free(b->stack);
	free(b->state);
	free(b->table);
	free(b->now.item);
}

/* Gives back what the limits had reserved. */
static void shrink(struct prefixes *x)
{
	size_t n = x->n_states > 1 ? x->n_states : 1;
	uint16_t *next = realloc(x->next, n * x->n_classes * sizeof(*next));
	uint64_t *alive = realloc(x->alive, n * x->n_words * sizeof(*alive));

	x->next = next ? next : x->next;
	x->alive = alive ? alive : x->alive;
}

int prefixes_new(struct nfa *const *nfa, size_t n, struct scan_items *items, struct prefixes **ret)
{
	struct prefixes *x = calloc(1, sizeof(*x));
	struct builder b = {.x = x, .nfa = nfa, .n_nfa = n};
	uint32_t start[N_STARTS];
	int rc;

	if (!x)
		return E_TOOBIG;
	x->n_words = n / 64 + 1;
	x->n_states = 1; /* 0: nothing is alive */
	number_classes(x, nfa, n);
	rc = builder_init(&b);
	if (!rc)
		rc = build_starts(&b, start);
	for (uint32_t i = 0; !rc && i < x->n_states; i++)
		expand(&b, i);
	if (!rc)
		rc = build_items(x, start, items);
	builder_release(&b);
	if (rc) {
		prefixes_free(x);
		return rc;
	}
	shrink(x);
	*ret = x;
	return 0;
}

void prefixes_free(struct prefixes *x)
{
	if (!x)
		return;
	free(x->next);
	free(x->stop);
	free(x->alive);
	free(x);
}

size_t prefixes_bytes(const struct prefixes *x)
{
	return x ? sizeof(*x) + x->n_states * (x->n_classes * sizeof(*x->next) + 1 + x->n_words * sizeof(*x->alive))
		 : 0;
}
