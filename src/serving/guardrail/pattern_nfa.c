/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running the automata, and what can be read off their code: first bytes, widths.
 * A walk keeps the set of states that are alive; what needs no byte is followed
 * at once, so an assertion sees the byte before and the byte behind it.
 */
#include <stdlib.h>

#include "serving/guardrail/pattern_code.h"

void nfa_free(struct nfa *n)
{
	if (!n)
		return;
	free(n->code);
	free(n->sets);
	free(n);
}

size_t nfa_bytes(const struct nfa *n)
{
	return n ? sizeof(*n) + n->n_code * sizeof(*n->code) + n->n_sets * sizeof(*n->sets) : 0;
}

uint32_t nfa_size(const struct nfa *n)
{
	return n->n_code + 1;
}

uint32_t nfa_min_width(const struct nfa *n)
{
	return n->min_width;
}

uint32_t nfa_max_width(const struct nfa *n)
{
	return n->max_width;
}

unsigned nfa_late(const struct nfa *n)
{
	return n->late;
}

int nfa_scratch_fit(struct nfa_scratch *s, uint32_t size)
{
	uint32_t *all;

	if (size <= s->size)
		return 0;
	all = calloc((size_t)size * 5, sizeof(*all));
	if (!all)
		return E_TOOBIG;
	free(s->mark);
	*s = (struct nfa_scratch){all, {all + size, all + 2 * (size_t)size}, all + 3 * (size_t)size, 0, size};
	return 0;
}

void nfa_scratch_release(struct nfa_scratch *s)
{
	free(s->mark);
	*s = (struct nfa_scratch){0};
}

/* 1 true, 0 false, -1 not known before more text comes. */
static int holds(enum assertion a, const struct window *w, uint64_t at)
{
	size_t i = (size_t)(at - w->base);
	int before = i > 0 ? w->p[i - 1] : -1;
	int next = i < w->n ? w->p[i] : -1;
	bool unknown = i >= w->n && !w->over;

	switch (a) {
	case AT_BEGIN:
		return at == 0;
	case AT_LINE_BEGIN:
		return at == 0 || before == '\n';
	case AT_BORDER:
	case AT_NO_BORDER:
		if (unknown)
			return -1;
		before = before >= 0 && before < 0x80 && guard_is_word(before);
		next = next >= 0 && next < 0x80 && guard_is_word(next);
		return (before != next) == (a == AT_BORDER);
	case AT_LINE_END:
		return unknown ? -1 : next == -1 || next == '\n';
	case AT_END:
		return unknown ? -1 : next == -1;
	case AT_END_OR_NEWLINE:
		if (unknown || (next == '\n' && i + 1 == w->n && !w->over))
			return -1;
		return next == -1 || (next == '\n' && i + 1 == w->n);
	}
	return 1;
}

struct walk {
	const struct nfa *n;
	struct nfa_scratch *s;
	const struct window *w;
	uint64_t certain;
	struct nfa_fate fate;
};

static void arrive(struct walk *k, uint64_t at)
{
	if (at > k->certain)
		k->fate.live = true;
	else
		k->fate.end = at;
}

/* Follows what needs no byte from pc on; adds the sets that wait for the byte at `at`. */
static uint32_t closure(struct walk *k, uint32_t pc, uint64_t at, uint32_t *list, uint32_t n)
{
	struct nfa_scratch *s = k->s;
	uint32_t depth = 0;

	s->stack[depth++] = pc;
	while (depth) {
		const struct ins *ins;
		int known;

		pc = s->stack[--depth];
		if (s->mark[pc] == s->generation)
			continue;
		s->mark[pc] = s->generation;
		ins = &k->n->code[pc];
		switch ((enum op)ins->op) {
		case OP_SET:
			list[n++] = pc;
			break;
		case OP_SPLIT:
			s->stack[depth++] = pc + (uint32_t)ins->y;
			s->stack[depth++] = pc + (uint32_t)ins->x;
			break;
		case OP_JUMP:
			s->stack[depth++] = pc + (uint32_t)ins->x;
			break;
		case OP_ASSERT:
			known = holds((enum assertion)ins->assertion, k->w, at);
			k->fate.live |= known < 0;
			if (known > 0)
				s->stack[depth++] = pc + 1;
			break;
		case OP_ACCEPT:
			arrive(k, at);
			break;
		}
	}
	return n;
}

static void next_generation(struct nfa_scratch *s)
{
	if (++s->generation == 0) {
		memset(s->mark, 0, s->size * sizeof(*s->mark));
		s->generation = 1;
	}
}

struct nfa_fate nfa_walk(const struct nfa *n, struct nfa_scratch *s, const struct window *w, uint64_t start,
			 uint64_t certain)
{
	struct walk k = {n, s, w, certain, {false, 0}};
	uint64_t at = start, end = window_end(w);
	uint32_t *cur = s->list[0], *next = s->list[1], n_cur, n_next;

	next_generation(s);
	n_cur = closure(&k, 0, at, cur, 0);
	for (; n_cur && at < end; at++) {
		unsigned char c = w->p[at - w->base];
		uint32_t *swap = cur;

		if (s->steps <= n_cur) {
			s->steps = 0;
			return k.fate;
		}
		s->steps -= n_cur;
		next_generation(s);
		n_next = 0;
		for (uint32_t i = 0; i < n_cur; i++) {
			if (byte_set_has(&n->sets[n->code[cur[i]].set], c))
				n_next = closure(&k, cur[i] + 1, at + 1, next, n_next);
		}
		cur = next;
		next = swap;
		n_cur = n_next;
	}
	if (n_cur && !w->over)
		k.fate.live = true;
	return k.fate;
}

/* Everything that may come first from pc on; false when a match may end without another byte. */
static bool reach(const struct nfa *n, uint32_t pc, uint8_t *seen, struct byte_set *ret)
{
	const struct ins *ins = &n->code[pc];
	bool a, b;

	if (seen[pc])
		return true;
	seen[pc] = 1;
	switch ((enum op)ins->op) {
	case OP_SET:
		byte_set_union(ret, &n->sets[ins->set]);
		return true;
	case OP_SPLIT:
		a = reach(n, pc + (uint32_t)ins->x, seen, ret);
		b = reach(n, pc + (uint32_t)ins->y, seen, ret);
		return a && b;
	case OP_JUMP:
		return reach(n, pc + (uint32_t)ins->x, seen, ret);
	case OP_ASSERT:
		return reach(n, pc + 1, seen, ret);
	case OP_ACCEPT:
		return false;
	}
	return false;
}

bool nfa_at_word_start(const struct nfa *n)
{
	if (n->code[0].op != OP_ASSERT || n->code[0].assertion != AT_BORDER || n->code[1].op != OP_SET)
		return false;
	for (int c = 0; c < 256; c++) {
		if (byte_set_has(&n->sets[n->code[1].set], (unsigned char)c) && (c >= 0x80 || !guard_is_word(c)))
			return false;
	}
	return true;
}

int nfa_first(const struct nfa *n, struct byte_set *ret)
{
	uint8_t *seen = calloc(n->n_code, 1);

	if (!seen)
		return E_TOOBIG;
	memset(ret, 0, sizeof(*ret));
	if (!reach(n, 0, seen, ret))
		memset(ret, 0xff, sizeof(*ret));
	free(seen);
	return 0;
}
