/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of many expressions may match at one place, by the few bytes there: one
 * deterministic automaton over the beginnings of all.  It takes every assertion
 * for true, so it names too many, never too few.
 */
#pragma once
#include "serving/guardrail/pattern_nfa.h"
#include "serving/guardrail/scan.h"

struct prefixes {
	uint16_t *next;	 /* by state and class; 0: nothing goes on */
	uint8_t *stop;	 /* by state: more bytes tell no more */
	uint64_t *alive; /* by state: n_words, a bit per expression */
	uint8_t class_of[256];
	unsigned n_classes;
	uint32_t n_states;
	size_t n_words;
	uint16_t start[2]; /* outside and inside a word */
};

/* nfa[i] is expression i. Adds to `items` where to ask. */
int prefixes_new(struct nfa *const *nfa, size_t n, struct scan_items *items, struct prefixes **ret);
void prefixes_free(struct prefixes *x);
size_t prefixes_bytes(const struct prefixes *x);

/* The expressions that a match at byte i of the window, or one that more text could make, may be of; NULL: none.
 * in_word: the byte before belongs to an ASCII word. */
static inline const uint64_t *prefixes_ask(const struct prefixes *x, const struct window *w, size_t i, bool in_word)
{
	uint32_t at = x->start[in_word];

	for (; i < w->n && !x->stop[at]; i++)
		at = x->next[at * x->n_classes + x->class_of[w->p[i]]];
	return at ? &x->alive[at * x->n_words] : NULL;
}
