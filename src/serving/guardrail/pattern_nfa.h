/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small automata for expressions.  A pattern library finds matches; it cannot
 * say whether a match is still possible.  These can: each is built from
 * the expression, is asked about one start, and says how long the longest match
 * there is, and whether more text could still make or lengthen one.
 */
#pragma once
#include "serving/guardrail/guard_internal.h"
#include "serving/guardrail/scan.h"

struct nfa;

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
/* The bytes that a match may begin with; all when one may be empty. */
int nfa_first(const struct nfa *n, struct byte_set *ret);

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
