/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judging an answer piece by piece.  The stream keeps the undecided tail and a
 * few bytes before it, and steps the engine over tail plus piece.  What may
 * leave is what stands before the earliest undecided candidate of a rule that
 * intervenes, before the half of a mask, and before a hit that ends the answer.
 */
#include <stdlib.h>

#include "serving/guardrail/guard_internal.h"

#define PIECE 8192 /* bytes judged at once: what bounds the buffer */

struct guard_stream {
	struct run run;
	uint64_t safe, fed;
	uint64_t base; /* offset of kept[0] */
	size_t n_kept;
	bool over;
	uint64_t *memory;
	unsigned char kept[GUARD_MAX_SPAN + GUARD_LOOK_BEHIND + PIECE];
};

struct guard_stream *guard_stream_new(const struct guard_policy *p, struct guard_scratch *s, enum guard_side side)
{
	const struct engine *e = guard_engine(p, side);
	struct guard_stream *g;

	if (!e->any)
		return NULL;
	g = malloc(sizeof(*g));
	if (!g)
		return NULL;
	g->memory = malloc(run_memory(e, p->n_rules));
	if (!g->memory) {
		free(g);
		return NULL;
	}
	run_start(&g->run, p, e, g->memory);
	g->run.scratch = s;
	g->safe = g->fed = g->base = 0;
	g->n_kept = 0;
	g->over = false;
	return g;
}

void guard_stream_free(struct guard_stream *g)
{
	if (!g)
		return;
	pattern_run_release(g->run.engine->patterns, &g->run);
	free(g->memory);
	free(g);
}

/* No release inside a mask: moves `safe` to the start of any mask it would cut. */
static uint64_t before_masks(struct run *r, uint64_t safe)
{
	bool moved = true;

	while (moved) {
		moved = false;
		for (size_t i = 0; i < r->n_masked; i++) {
			if (r->masked[i].start < safe && safe < r->masked[i].end) {
				safe = r->masked[i].start;
				moved = true;
			}
		}
	}
	for (size_t i = r->n_masked; i-- > 0;) {
		if (r->masked[i].end <= safe)
			r->masked[i] = r->masked[--r->n_masked];
	}
	return safe;
}

/* Drops what no part will read again. */
static void drop_decided(struct guard_stream *g, uint64_t live)
{
	uint64_t end = g->base + g->n_kept, from = live < end ? live : end;
	size_t cut;

	if (from - g->base <= GUARD_LOOK_BEHIND)
		return;
	cut = (size_t)(from - g->base) - GUARD_LOOK_BEHIND;
	memmove(g->kept, g->kept + cut, g->n_kept - cut);
	g->n_kept -= cut;
	g->base += cut;
}

static void judge(struct guard_stream *g, bool over)
{
	struct window w = {g->kept, g->base, g->n_kept, over};
	struct live live = run_step(&g->run, &w);
	uint64_t safe = live.hold < g->fed ? live.hold : g->fed;

	if (g->run.failed && g->run.policy->block_on_error)
		safe = g->safe;
	if (safe > g->run.stop_at)
		safe = g->run.stop_at;
	safe = before_masks(&g->run, safe);
	if (safe > g->safe)
		g->safe = safe;
	drop_decided(g, live.any);
}

static void feed_part(struct guard_stream *g, const char *p, size_t n)
{
	memcpy(g->kept + g->n_kept, p, n);
	g->n_kept += n;
	g->fed += n;
	judge(g, false);
}

static void begin(struct guard_stream *g, struct guard_result *r)
{
	g->run.result = r;
	g->run.first_hit = r->n_hits;
	if (g->run.failed)
		run_fail(&g->run);
}

void guard_stream_feed(struct guard_stream *g, struct slice piece, struct guard_result *r, uint64_t *ret_safe)
{
	begin(g, r);
	while (piece.n && !g->over) {
		size_t room = sizeof(g->kept) - g->n_kept, n = piece.n < room ? piece.n : room;

		if (n > PIECE)
			n = PIECE;
		feed_part(g, piece.p, n);
		piece = slice_sub(piece, n, piece.n - n);
	}
	*ret_safe = g->safe;
}

void guard_stream_end(struct guard_stream *g, struct guard_result *r, uint64_t *ret_safe)
{
	begin(g, r);
	if (!g->over)
		judge(g, true);
	g->over = true;
	*ret_safe = g->safe;
}
