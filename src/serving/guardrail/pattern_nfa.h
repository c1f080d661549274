/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small automata for expressions.  A pattern library finds matches; it cannot
 * say whether a match is still possible.  These can: each is built from
 * the expression, is asked about one start, and says how long the longest match
 * there is, and whether more text could still make or lengthen one.
 */
#pragma once
#include "serving/guardrail/guard_internal.h"

struct nfa;

struct byte_set {
	uint64_t bits[4];
};

static inline bool byte_set_has(const struct byte_set *s, unsigned char c)
{
	return s->bits[c / 64] >> (c % 64) & 1;
}

/* E_UNSUPPORTED: an expression whose form is not known here. */
int nfa_new(struct slice expression, struct nfa **ret);
void nfa_free(struct nfa *n);
size_t nfa_bytes(const struct nfa *n);
uint32_t nfa_size(const struct nfa *n); /* what an nfa_scratch has to hold */
/* Bytes behind a match that have to be known before it is certain: 0, 1 for word boundaries, 2 for `$`. */
unsigned nfa_late(const struct nfa *n);
/* Bytes of the shortest and longest match; UINT32_MAX: no bound. */
uint32_t nfa_min_width(const struct nfa *n);
uint32_t nfa_max_width(const struct nfa *n);
/* Whether every match begins at the start of an ASCII word. */
bool nfa_at_word_start(const struct nfa *n);
/* How the matches of many expressions begin: the first byte, the first two, and a hash of the first three. */
struct nfa_gate {
	struct byte_set first;
	struct byte_set pair[256];
	struct byte_set wide[256]; /* pairs behind which the third byte says too little */
	uint64_t triple[1024];
};

static inline uint32_t nfa_gate_hash(unsigned char a, unsigned char b, unsigned char c)
{
	return (((uint32_t)a | (uint32_t)b << 8 | (uint32_t)c << 16) * 0x9e3779b1u) >> 16;
}

/* Adds how a match begins; *ret_first: its first byte alone. */
void nfa_gate_add(const struct nfa *n, struct nfa_gate *gate, struct byte_set *ret_first);

struct nfa_scratch {
	uint32_t *mark, *list[2], *stack;
	uint32_t generation, size;
	uint64_t steps; /* the budget that is left; at 0 a walk stops and its answer means nothing */
};
int nfa_scratch_fit(struct nfa_scratch *s, uint32_t size);
void nfa_scratch_release(struct nfa_scratch *s);

struct nfa_fate {
	bool live;    /* more text could make, or lengthen, a match */
	uint64_t end; /* of the longest match; 0: none */
};
/* A match that begins at `start`. Ends beyond `certain` count as live. */
struct nfa_fate nfa_walk(const struct nfa *n, struct nfa_scratch *s, const struct window *w, uint64_t start,
			 uint64_t certain);
