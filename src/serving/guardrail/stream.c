/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judging an answer piece by piece.  The stream keeps the undecided tail and a
 * few bytes before it, and steps the engine over tail plus piece.  What may
 * leave is what stands before the earliest undecided candidate of a rule that
 * intervenes, before the half of a mask, and before a hit that ends the answer.
 *
 * There may be thousands of streams, of which one is judged at a time: that
 * happens in the thread's scratch, and between two pieces a stream has no more
 * than what it needs for the next.  What would break it: anything that keeps a
 * pointer into the scratch's run or window over a piece.
 */
#include <stdlib.h>

#include "serving/guardrail/guard_internal.h"

#define RUN_HEAD offsetof(struct run, picks)
#define REST_SPARE ((size_t)64)

struct guard_stream {
	struct guard_scratch *scratch;
	struct run *run;     /* the scratch's, while a piece is judged */
	unsigned char *kept; /* the scratch's window, likewise */
	uint64_t safe, fed;
	uint64_t base; /* offset of kept[0] */
	size_t n_kept;
	bool over;
	unsigned char *rest; /* between two pieces: picks, masked and kept, one behind the other */
	size_t rest_size;
	_Alignas(struct run) unsigned char head[RUN_HEAD];
	uint64_t memory[]; /* of the run */
};

/* A stream that has nothing to keep may have no memory for it. */
static size_t move(void *to, const void *from, size_t n)
{
	if (to && from && n)
		memcpy(to, from, n);
	return n;
}

static void load(struct guard_stream *g)
{
	size_t at = 0;

	g->run = scratch_run(g->scratch, &g->kept);
	memcpy(g->run, g->head, sizeof(g->head));
	at += move(g->run->picks, g->rest, g->run->n_picks * sizeof(struct pick));
	at += move(g->run->masked, g->rest + at, g->run->n_masked * sizeof(struct masked));
	(void)move(g->kept, g->rest + at, g->n_kept);
}

static void save(struct guard_stream *g)
{
	size_t picks = g->run->n_picks * sizeof(struct pick), masked = g->run->n_masked * sizeof(struct masked);
	size_t need = picks + masked + g->n_kept, at = 0;

	if (need > g->rest_size || g->rest_size > 4 * need + 4 * REST_SPARE) {
		free(g->rest);
		g->rest_size = need + REST_SPARE;
		g->rest = malloc(g->rest_size);
		if (!g->rest)
			abort();
	}
	at += move(g->rest, g->run->picks, picks);
	at += move(g->rest + at, g->run->masked, masked);
	(void)move(g->rest + at, g->kept, g->n_kept);
	memcpy(g->head, g->run, sizeof(g->head));
}

struct guard_stream *guard_stream_new(const struct guard_policy *p, struct guard_scratch *s, enum guard_side side)
{
	const struct engine *e = guard_engine(p, side);
	struct guard_stream *g;

	if (!e->any)
		return NULL;
	g = malloc(sizeof(*g) + run_memory(e, p->n_rules));
	if (!g)
		return NULL;
	g->scratch = s;
	g->run = scratch_run(s, &g->kept);
	run_start(g->run, p, e, g->memory);
	g->run->scratch = s;
	g->safe = g->fed = g->base = 0;
	g->n_kept = g->rest_size = 0;
	g->rest = NULL;
	g->over = false;
	save(g);
	return g;
}

void guard_stream_free(struct guard_stream *g)
{
	if (!g)
		return;
	load(g);
	pattern_run_release(g->run->engine->patterns, g->run);
	free(g->rest);
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
	struct live live = run_step(g->run, &w);
	uint64_t safe = live.hold < g->fed ? live.hold : g->fed;

	if (g->run->failed && g->run->policy->block_on_error)
		safe = g->safe;
	if (safe > g->run->stop_at)
		safe = g->run->stop_at;
	safe = before_masks(g->run, safe);
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
	load(g);
	g->run->result = r;
	g->run->first_hit = r->n_hits;
	if (g->run->failed)
		run_fail(g->run);
}

void guard_stream_feed(struct guard_stream *g, struct slice piece, struct guard_result *r, uint64_t *ret_safe)
{
	begin(g, r);
	while (piece.n && !g->over) {
		size_t room = GUARD_WINDOW - g->n_kept, n = piece.n < room ? piece.n : room;

		if (n > GUARD_PIECE)
			n = GUARD_PIECE;
		feed_part(g, piece.p, n);
		piece = slice_sub(piece, n, piece.n - n);
	}
	save(g);
	*ret_safe = g->safe;
}

void guard_stream_end(struct guard_stream *g, struct guard_result *r, uint64_t *ret_safe)
{
	begin(g, r);
	if (!g->over)
		judge(g, true);
	g->over = true;
	save(g);
	*ret_safe = g->safe;
}
