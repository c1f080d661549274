/* SPDX-License-Identifier: Apache-2.0 */
/* What would break it: a counter that goes back, which tells a growth of 0 here. */
#include "serving/stats/window.h"

#include <string.h>

static void turn(struct window *w, const struct window_now *now)
{
	memcpy(w->older, w->newer, now->n * sizeof(w->older[0]));
	memcpy(w->newer, now->value, now->n * sizeof(w->newer[0]));
	w->turned_us = now->at_us;
}

void window_grown(struct window *w, const struct window_now *now, uint64_t *ret)
{
	if (!w->turned_us)
		w->turned_us = now->at_us;
	for (size_t i = 0; i < now->n; i++)
		ret[i] = now->value[i] > w->older[i] ? now->value[i] - w->older[i] : 0;
	if (now->at_us - w->turned_us >= now->span_us / 2)
		turn(w, now);
}
