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

/* The end of a rule's last hit.  Most rules have had none. */
struct rule_end {
	uint64_t rule, end;
};

struct guard_stream {
	struct guard_scratch *scratch;
	struct run *run;     /* the scratch's, while a piece is judged */
	unsigned char *kept; /* the scratch's window, likewise */
	uint64_t safe, fed;
	uint64_t base; /* offset of kept[0] */
	size_t n_kept, n_ends;
	bool over;
	unsigned char *rest; /* between two pieces: picks, masked, arrays of the run and kept, one behind the other */
	size_t rest_size;
	_Alignas(struct run) unsigned char head[RUN_HEAD];
};

/* A stream that has nothing to keep may have no memory for it. */
static size_t move(void *to, const void *from, size_t n)
{
	if (to && from && n)
		memcpy(to, from, n);
	return n;
}

/* How much of the run's arrays stands before the ends: of expressions only when the run has looked at some. */
static size_t cursor_bytes(const struct run *r)
{
	return sizeof(uint64_t) *
	       (r->engine->n_pii + (r->pattern_begun ? 2 * pattern_set_count(r->engine->patterns) : 0));
}

static uint64_t *cursors(struct run *r)
{
	return r->pattern_begun ? r->pattern_live : r->pii_cursor;
}

static size_t load_ends(struct guard_stream *g, const unsigned char *from)
{
	struct run *r = g->run;
	struct rule_end e;

	memset(r->last_end, 0, sizeof(uint64_t) * r->policy->n_rules);
	for (size_t i = 0; i < g->n_ends; i++) {
		memcpy(&e, from + i * sizeof(e), sizeof(e));
		r->last_end[e.rule] = e.end;
	}
	return g->n_ends * sizeof(e);
}

static size_t count_ends(const struct run *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->policy->n_rules; i++)
		n += r->last_end[i] != 0;
	return n;
}

static size_t save_ends(const struct run *r, unsigned char *to)
{
	size_t at = 0;

	for (size_t i = 0; i < r->policy->n_rules; i++)
		if (r->last_end[i])
			at += move(to + at, &(struct rule_end){i, r->last_end[i]}, sizeof(struct rule_end));
	return at;
}

/* The scratch has room for the arrays: it had when the stream was made, and never has less. */
static void load(struct guard_stream *g)
{
	struct workplace w = scratch_workplace(g->scratch);
	size_t at = 0;

	g->run = w.run;
	g->kept = w.window;
	memcpy(g->run, g->head, sizeof(g->head));
	run_place(g->run, w.memory);
	at += move(g->run->picks, g->rest, g->run->n_picks * sizeof(struct pick));
	at += move(g->run->masked, g->rest + at, g->run->n_masked * sizeof(struct masked));
	at += move(cursors(g->run), g->rest + at, cursor_bytes(g->run));
	at += load_ends(g, g->rest + at);
	(void)move(g->kept, g->rest + at, g->n_kept);
}

static void save(struct guard_stream *g)
{
	struct run *r = g->run;
	size_t picks = r->n_picks * sizeof(struct pick), masked = r->n_masked * sizeof(struct masked), need, at = 0;

	g->n_ends = count_ends(r);
	need = picks + masked + cursor_bytes(r) + g->n_ends * sizeof(struct rule_end) + g->n_kept;
	if (need > g->rest_size || g->rest_size > 4 * need + 4 * REST_SPARE) {
		free(g->rest);
		g->rest_size = need + REST_SPARE;
		g->rest = malloc(g->rest_size);
		if (!g->rest)
			abort();
	}
	at += move(g->rest, r->picks, picks);
	at += move(g->rest + at, r->masked, masked);
	at += move(g->rest + at, cursors(r), cursor_bytes(r));
	at += g->n_ends ? save_ends(r, g->rest + at) : 0;
	(void)move(g->rest + at, g->kept, g->n_kept);
	memcpy(g->head, r, sizeof(g->head));
}

struct guard_stream *guard_stream_new(const struct guard_policy *p, struct guard_scratch *s, enum guard_side side)
{
	const struct engine *e = guard_engine(p, side);
	struct guard_stream *g;
	struct workplace w;

	if (!e->any)
		return NULL;
	g = scratch_fit(s, p, e) ? NULL : malloc(sizeof(*g));
	if (!g)
		return NULL;
	w = scratch_workplace(s);
	g->scratch = s;
	g->run = w.run;
	g->kept = w.window;
	run_start(g->run, p, e, w.memory);
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
