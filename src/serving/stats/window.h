/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much counters have grown lately: two marks that move on by half the span, so that what is told covers at least
 * half of it and, when it is asked often enough, never more than the whole.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define WINDOW_MAX 24

struct window {
	int64_t turned_us; /* 0: never asked yet; counters begin at 0 */
	uint64_t older[WINDOW_MAX], newer[WINDOW_MAX];
};

struct window_now {
	int64_t at_us, span_us;
	const uint64_t *value; /* the counters */
	size_t n;	       /* at most WINDOW_MAX, always the same ones */
};

/* ret[n]: the growth of each. */
void window_grown(struct window *w, const struct window_now *now, uint64_t *ret);
