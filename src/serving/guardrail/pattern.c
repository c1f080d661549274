/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns: vectorscan finds the matches, a small automaton per expression
 * (pattern_nfa.h) says where one may still begin.  This is the only file that
 * knows the library.
 *
 * A whole text is one scan.  In a stream every expression has at most one live
 * start, its earliest; a gate on pairs of bytes keeps the automata asleep over
 * text that begins nothing, and the library scans, from the earliest live start,
 * only when an automaton is awake or has seen a match end.  Clean text is thus
 * never held, and a held tail is exactly what can become a match.  An
 * expression that the automata do not know is taken to begin anywhere: its whole
 * width is held.
 *
 * Expressions without a bound, which only a rule that flags may have, run in
 * the library's own streams instead.  All expressions of such a rule do; each
 * is reported once a text, where it ends first.
 */
#include <hs.h>
#include <stdatomic.h>

#include "core/base/map.h"
#include "serving/guardrail/pattern_nfa.h"

#define MAX_WIDTH (GUARD_MAX_SPAN - 8)
#define MAX_EVENTS 1024
#define MAX_BLIND_LATE 2

/* Numbers the sets of the process, from any thread, so that a scratch knows one without a look into it. */
static atomic_uint_fast64_t next_serial = 1;

struct expression {
	struct slice text;
	struct nfa *nfa; /* NULL: not known, may begin anywhere */
	uint32_t width;
	uint32_t first_rule, n_rules; /* in group.rules */
	uint8_t late;
	bool intervenes;
};

/* Expressions that share a database. */
struct group {
	struct expression *expr;
	uint16_t *rules;
	size_t n;
	hs_database_t *db;
};

struct pattern_set {
	uint64_t serial; /* unique in the process */
	struct group bounded, unbounded;
	char *texts;	   /* all expressions, terminated */
	size_t text_bytes;
	struct byte_set first; /* what a match of a bounded expression may begin with */
	struct byte_set pair[256];
	uint64_t *by_first; /* [256][n_words]: bit per expression */
	size_t n_words;
	uint32_t nfa_size;
	size_t n_blind;
};

struct event {
	uint64_t start, end;
	uint32_t expr;
};

struct pattern_scratch {
	hs_scratch_t *hs;
	struct nfa_scratch nfa;
	uint64_t seen[32]; /* serials of the sets it fits */
	size_t n_seen;
	/* the scan that is going on */
	uint64_t base;
	const struct pattern_set *set;
	struct run *run;
	uint64_t scan_from, upto;
	const struct window *window;
	size_t n_events;
	struct event events[MAX_EVENTS];
};

/* Of a run over expressions without a bound. */
struct open_stream {
	hs_stream_t *stream;
	uint64_t fed;
	size_t n;
	struct event first[]; /* end 0: not seen */
};

/* ---- building ---- */

/* The library's sentences may end in a full stop or a newline: ours do not. */
static int compile_error(const char *rule_id, const hs_compile_error_t *e, struct err *err)
{
	struct slice text = slice_from(e && e->message ? e->message : "out of memory");

	while (text.n && (text.p[text.n - 1] == '.' || text.p[text.n - 1] == '\n'))
		text.n--;
	return err_set(err, E_INVALID, "rule '%s': the expression does not compile: " SLICE_FMT, rule_id,
		       SLICE_ARG(text));
}

static int measure(const struct pattern_source *src, const char *text, bool *ret_bounded, uint32_t *ret_width,
		   struct err *err)
{
	hs_compile_error_t *e = NULL;
	hs_expr_info_t *info = NULL;
	int rc = 0;

	if (hs_expression_info(text, HS_FLAG_SOM_LEFTMOST, &info, &e) != HS_SUCCESS) {
		rc = compile_error(src->rule_id, e, err);
		hs_free_compile_error(e);
		return rc;
	}
	*ret_bounded = info->max_width <= MAX_WIDTH;
	*ret_width = info->max_width;
	if (!*ret_bounded && src->intervenes && info->max_width == UINT32_MAX)
		rc = err_set(err, E_INVALID,
			     "rule '%s': a match of '%.100s' has no longest length, so a stream could not hold it back; "
			     "give it a bound such as {1,200}, or use action flag",
			     src->rule_id, text);
	else if (!*ret_bounded && src->intervenes)
		rc = err_set(err, E_INVALID,
			     "rule '%s': a match of '%.100s' can be %u bytes long; the limit is %d, or use action flag",
			     src->rule_id, text, info->max_width, MAX_WIDTH);
	else if (info->min_width == 0)
		rc = err_set(err, E_INVALID, "rule '%s': '%.100s' matches the empty text", src->rule_id, text);
	free(info);
	return rc;
}

/* Where each source's text stands in set->texts, and of what kind it is. */
struct plan {
	const struct pattern_source *src;
	size_t n;
	const char **text;
	uint32_t *width;
	bool *unbounded; /* by source: its rule has an expression without a bound */
};

static int plan_sources(struct pattern_set *set, struct plan *plan, struct err *err)
{
	bool rule_unbounded[POLICY_MAX_RULES] = {false};
	char *at = set->texts;

	for (size_t i = 0; i < plan->n; i++) {
		const struct pattern_source *src = &plan->src[i];
		bool bounded;
		int rc;

		if (memchr(src->text.p, 0, src->text.n) || slice_starts(src->text, SLICE_LIT("(*")))
			return err_set(err, E_INVALID,
				       "rule '%s': an expression works on bytes: no NUL (write \\x00) and no (*...)",
				       src->rule_id);
		memcpy(at, src->text.p, src->text.n);
		at[src->text.n] = 0;
		plan->text[i] = at;
		at += src->text.n + 1;
		rc = measure(src, plan->text[i], &bounded, &plan->width[i], err);
		if (rc)
			return rc;
		rule_unbounded[src->rule] |= !bounded;
	}
	for (size_t i = 0; i < plan->n; i++)
		plan->unbounded[i] = rule_unbounded[plan->src[i].rule];
	return 0;
}

/* Each different expression once, with its rules beside each other. */
static int group_fill(struct group *g, const struct plan *plan, bool unbounded)
{
	CLEANUP(map_release) struct map seen;
	uint32_t n_rules = 0;

	map_init(&seen);
	g->expr = calloc(plan->n, sizeof(*g->expr));
	g->rules = calloc(plan->n, sizeof(*g->rules));
	if (!g->expr || !g->rules)
		return E_TOOBIG;
	for (size_t i = 0; i < plan->n; i++) {
		struct slice text = slice_from(plan->text[i]);
		struct expression *x;

		if (plan->unbounded[i] != unbounded)
			continue;
		x = map_get(&seen, text);
		if (!x) {
			x = &g->expr[g->n++];
			*x = (struct expression){.text = text, .width = plan->width[i]};
			(void)map_put(&seen, text, x);
		}
		x->n_rules++;
		x->intervenes |= plan->src[i].intervenes;
	}
	for (size_t k = 0; k < g->n; k++) {
		g->expr[k].first_rule = n_rules;
		n_rules += g->expr[k].n_rules;
		g->expr[k].n_rules = 0;
	}
	for (size_t i = 0; i < plan->n; i++) {
		struct expression *x = map_get(&seen, slice_from(plan->text[i]));

		if (plan->unbounded[i] == unbounded && x)
			g->rules[x->first_rule + x->n_rules++] = plan->src[i].rule;
	}
	return 0;
}

static int group_compile(struct group *g, unsigned mode, const struct plan *plan, struct err *err)
{
	const char **text = calloc(g->n + 1, sizeof(*text));
	unsigned *flags = calloc(g->n + 1, sizeof(*flags)), *ids = calloc(g->n + 1, sizeof(*ids));
	hs_compile_error_t *e = NULL;
	int rc = text && flags && ids ? 0 : err_set(err, E_TOOBIG, "out of memory");

	for (size_t i = 0; i < g->n && !rc; i++) {
		text[i] = g->expr[i].text.p;
		flags[i] = HS_FLAG_SOM_LEFTMOST;
		ids[i] = (unsigned)i;
	}
	if (!rc && g->n &&
	    hs_compile_multi(text, flags, ids, (unsigned)g->n, mode, NULL, &g->db, &e) != HS_SUCCESS) {
		const char *rule_id = plan->src[0].rule_id;

		for (size_t i = 0; e && e->expression >= 0 && i < plan->n; i++) {
			if (slice_eq_str(g->expr[e->expression].text, plan->text[i]))
				rule_id = plan->src[i].rule_id;
		}
		rc = compile_error(rule_id, e, err);
		hs_free_compile_error(e);
	}
	free(text);
	free(flags);
	free(ids);
	return rc;
}

static int build_gates(struct pattern_set *set)
{
	struct group *g = &set->bounded;

	set->n_words = (g->n + 63) / 64;
	set->by_first = calloc(256 * (set->n_words ? set->n_words : 1), sizeof(uint64_t));
	if (!set->by_first)
		return E_TOOBIG;
	for (size_t i = 0; i < g->n; i++) {
		struct byte_set first = {{0}};

		if (nfa_new(g->expr[i].text, &g->expr[i].nfa)) {
			g->expr[i].late = MAX_BLIND_LATE;
			set->n_blind++;
			continue;
		}
		g->expr[i].late = (uint8_t)nfa_late(g->expr[i].nfa);
		if (nfa_size(g->expr[i].nfa) > set->nfa_size)
			set->nfa_size = nfa_size(g->expr[i].nfa);
		nfa_gate(g->expr[i].nfa, &first, set->pair);
		for (unsigned c = 0; c < 256; c++) {
			if (byte_set_has(&first, (unsigned char)c))
				set->by_first[c * set->n_words + i / 64] |= 1ull << (i % 64);
		}
		for (unsigned k = 0; k < 4; k++)
			set->first.bits[k] |= first.bits[k];
	}
	return 0;
}

static int build(struct pattern_set *set, struct plan *plan, struct err *err)
{
	int rc;

	if (!set->texts || !plan->text || !plan->width || !plan->unbounded)
		return err_set(err, E_TOOBIG, "out of memory for the patterns");
	rc = plan_sources(set, plan, err);
	if (rc)
		return rc;
	if (group_fill(&set->bounded, plan, false) || group_fill(&set->unbounded, plan, true) || build_gates(set))
		return err_set(err, E_TOOBIG, "out of memory for the patterns");
	rc = group_compile(&set->bounded, HS_MODE_BLOCK, plan, err);
	return rc ? rc : group_compile(&set->unbounded, HS_MODE_STREAM | HS_MODE_SOM_HORIZON_LARGE, plan, err);
}

int pattern_set_new(const struct pattern_source *src, size_t n, struct pattern_set **ret, struct err *err)
{
	struct pattern_set *set = calloc(1, sizeof(*set));
	struct plan plan = {.src = src, .n = n};
	int rc;

	if (!set)
		return err_set(err, E_TOOBIG, "out of memory for the patterns");
	for (size_t i = 0; i < n; i++)
		set->text_bytes += src[i].text.n + 1;
	set->serial = atomic_fetch_add(&next_serial, 1);
	set->texts = malloc(set->text_bytes + 1);
	plan.text = calloc(n + 1, sizeof(*plan.text));
	plan.width = calloc(n + 1, sizeof(*plan.width));
	plan.unbounded = calloc(n + 1, sizeof(*plan.unbounded));
	rc = build(set, &plan, err);
	free(plan.text);
	free(plan.width);
	free(plan.unbounded);
	if (rc) {
		pattern_set_free(set);
		return rc;
	}
	*ret = set;
	return 0;
}

static void group_release(struct group *g)
{
	for (size_t i = 0; i < g->n; i++)
		nfa_free(g->expr[i].nfa);
	free(g->expr);
	free(g->rules);
	hs_free_database(g->db);
}

void pattern_set_free(struct pattern_set *s)
{
	if (!s)
		return;
	group_release(&s->bounded);
	group_release(&s->unbounded);
	free(s->texts);
	free(s->by_first);
	free(s);
}

size_t pattern_set_count(const struct pattern_set *s)
{
	return s ? s->bounded.n : 0;
}

static size_t group_bytes(const struct group *g)
{
	size_t n = 0, db = 0;

	for (size_t i = 0; i < g->n; i++)
		n += sizeof(g->expr[i]) + nfa_bytes(g->expr[i].nfa) + g->expr[i].n_rules * sizeof(*g->rules);
	if (g->db && hs_database_size(g->db, &db) == HS_SUCCESS)
		n += db;
	return n;
}

size_t pattern_set_bytes(const struct pattern_set *s)
{
	return s ? sizeof(*s) + s->text_bytes + 256 * s->n_words * 8 + group_bytes(&s->bounded) + group_bytes(&s->unbounded)
		 : 0;
}

/* ---- scratch ---- */

struct pattern_scratch *pattern_scratch_new(void)
{
	return calloc(1, sizeof(struct pattern_scratch));
}

void pattern_scratch_free(struct pattern_scratch *s)
{
	if (!s)
		return;
	hs_free_scratch(s->hs);
	nfa_scratch_release(&s->nfa);
	free(s);
}

static bool scratch_fits(const struct pattern_scratch *s, uint64_t serial)
{
	for (size_t i = 0; i < COUNT_OF(s->seen); i++) {
		if (s->seen[i] == serial)
			return true;
	}
	return false;
}

int pattern_scratch_fit(struct pattern_scratch *s, const struct pattern_set *set)
{
	if (LIKELY(scratch_fits(s, set->serial)))
		return 0;
	if ((set->bounded.db && hs_alloc_scratch(set->bounded.db, &s->hs) != HS_SUCCESS) ||
	    (set->unbounded.db && hs_alloc_scratch(set->unbounded.db, &s->hs) != HS_SUCCESS) ||
	    nfa_scratch_fit(&s->nfa, set->nfa_size))
		return E_TOOBIG;
	s->seen[s->n_seen++ % COUNT_OF(s->seen)] = set->serial;
	return 0;
}

size_t pattern_scratch_bytes(const struct pattern_scratch *s)
{
	size_t hs = 0;

	if (s->hs && hs_scratch_size(s->hs, &hs) != HS_SUCCESS)
		hs = 0;
	return sizeof(*s) + hs + s->nfa.size * 5 * sizeof(uint32_t);
}

/* ---- matches ---- */

static int by_end(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->end != y->end)
		return x->end < y->end ? -1 : 1;
	return x->start < y->start ? -1 : x->start > y->start;
}

/* How far an expression's matches are certain, and were when the last step ended. */
static uint64_t certain(const struct window *w, const struct expression *x)
{
	uint64_t end = window_end(w);

	if (w->over)
		return end;
	return end > x->late ? end - x->late : 0;
}

static uint64_t was_certain(const struct run *r, const struct expression *x)
{
	return r->pattern_pos > x->late ? r->pattern_pos - x->late : 0;
}

/*
 * The byte before the scan stands for the text before it, so a start there can only come from an assertion that took it for
 * the beginning; it hides the true start, which is looked for here.  GUARD_NONE when there is none.
 */
static uint64_t true_start(struct pattern_scratch *s, const struct expression *x, uint64_t end)
{
	if (!x->nfa)
		return s->scan_from;
	for (uint64_t p = s->scan_from; p < end; p++) {
		if (nfa_walk(x->nfa, &s->nfa, s->window, p, end - 1, end).ended)
			return p;
	}
	return GUARD_NONE;
}

static void deliver(struct pattern_scratch *s, const struct event *e)
{
	const struct group *g = &s->set->bounded;
	const struct expression *x = &g->expr[e->expr];
	uint64_t start = e->start;

	if (e->end > certain(s->window, x) || e->end <= was_certain(s->run, x))
		return;
	if (start < s->scan_from)
		start = true_start(s, x, e->end);
	for (uint32_t i = 0; start != GUARD_NONE && i < x->n_rules; i++)
		run_match(s->run, g->rules[x->first_rule + i], start, e->end);
}

/* Hands on what was gathered, in the order of ends, but for those that end at `keep` or later. */
static void flush(struct pattern_scratch *s, uint64_t keep)
{
	size_t i = 0;

	qsort(s->events, s->n_events, sizeof(s->events[0]), by_end);
	for (; i < s->n_events && s->events[i].end < keep; i++)
		deliver(s, &s->events[i]);
	memmove(s->events, s->events + i, (s->n_events - i) * sizeof(s->events[0]));
	s->n_events -= i;
}

static int on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *context)
{
	struct pattern_scratch *s = context;

	(void)flags;
	if (s->n_events == MAX_EVENTS) {
		flush(s, s->base + to);
		if (s->n_events == MAX_EVENTS) /* as many at one place: nothing there tells them apart */
			flush(s, UINT64_MAX);
	}
	s->events[s->n_events++] = (struct event){s->base + from, s->base + to, id};
	return 0;
}

/* Scans the window from `from` on, with one byte before it. */
static int scan(struct pattern_scratch *s, struct run *r, const struct window *w, uint64_t from)
{
	size_t at = (size_t)(from - w->base), n;

	at -= at > 0;
	s->base = w->base + at;
	s->scan_from = from;
	s->window = w;
	s->run = r;
	s->set = r->engine->patterns;
	s->n_events = 0;
	for (n = w->n - at; n > UINT32_MAX / 2;) /* texts are far smaller; no check may be skipped all the same */
		return E_TOOBIG;
	if (n && hs_scan(s->set->bounded.db, (const char *)w->p + at, (unsigned)n, 0, s->hs, on_match, s) != HS_SUCCESS)
		return E_IO;
	flush(s, UINT64_MAX);
	return 0;
}

/* ---- live starts ---- */

struct search {
	const struct pattern_set *set;
	struct pattern_scratch *scratch;
	struct run *run;
	const struct window *window;
	uint64_t scan_from; /* GUARD_NONE: no match can have ended */
};

static void want_scan(struct search *k, uint64_t from)
{
	if (from < k->scan_from)
		k->scan_from = from;
}

/* Whether a match of x may begin at p; notes when one has ended. */
static bool is_live(struct search *k, const struct expression *x, uint64_t p)
{
	struct nfa_fate fate = nfa_walk(x->nfa, &k->scratch->nfa, k->window, p, was_certain(k->run, x), certain(k->window, x));

	if (fate.ended || fate.live)
		want_scan(k, p);
	return fate.live;
}

static bool begins(const struct pattern_set *set, size_t expr, unsigned char c)
{
	return set->by_first[c * set->n_words + expr / 64] >> (expr % 64) & 1;
}

/* An expression whose start was live: it still is, or a later one, or none. */
static void follow(struct search *k, size_t i)
{
	const struct expression *x = &k->set->bounded.expr[i];
	const struct window *w = k->window;
	uint64_t *live = &k->run->pattern_live[i];

	want_scan(k, *live);
	for (uint64_t p = *live; p < k->run->pattern_pos; p++) {
		if (begins(k->set, i, w->p[p - w->base]) && is_live(k, x, p)) {
			*live = p;
			return;
		}
	}
	*live = GUARD_NONE;
}

/* An expression that the automata do not know: its width before the end is live. */
static void follow_blind(struct search *k, size_t i)
{
	const struct expression *x = &k->set->bounded.expr[i];
	uint64_t *live = &k->run->pattern_live[i], upto = certain(k->window, x);

	if (*live == GUARD_NONE)
		*live = k->window->base;
	want_scan(k, *live);
	if (upto >= x->width && upto - x->width + 1 > *live)
		*live = upto - x->width + 1;
}

static void wake(struct search *k, size_t at)
{
	const struct pattern_set *set = k->set;
	const struct window *w = k->window;
	const uint64_t *word = &set->by_first[w->p[at] * set->n_words];

	for (size_t i = 0; i < set->n_words; i++) {
		for (uint64_t bits = word[i]; bits; bits &= bits - 1) {
			size_t expr = i * 64 + (size_t)__builtin_ctzll(bits);
			uint64_t *live = &k->run->pattern_live[expr];

			if (*live == GUARD_NONE && is_live(k, &set->bounded.expr[expr], w->base + at))
				*live = w->base + at;
		}
	}
}

static void search_new(struct search *k)
{
	const struct pattern_set *set = k->set;
	const struct window *w = k->window;
	size_t i = (size_t)(k->run->pattern_pos - w->base);

	if (set->n_blind == set->bounded.n)
		return;
	for (; i + 1 < w->n; i++) {
		if (byte_set_has(&set->pair[w->p[i]], w->p[i + 1]))
			wake(k, i);
	}
	if (i < w->n && byte_set_has(&set->first, w->p[i]))
		wake(k, i);
}

static struct live live_starts(const struct pattern_set *set, const struct run *r)
{
	struct live live = {GUARD_NONE, GUARD_NONE};

	for (size_t i = 0; i < set->bounded.n; i++) {
		if (r->pattern_live[i] < live.any)
			live.any = r->pattern_live[i];
		if (set->bounded.expr[i].intervenes && r->pattern_live[i] < live.hold)
			live.hold = r->pattern_live[i];
	}
	return live;
}

static int step_bounded(const struct pattern_set *set, struct pattern_scratch *s, struct run *r, const struct window *w)
{
	struct search k = {set, s, r, w, GUARD_NONE};

	if (w->over && r->pattern_pos == 0)
		return scan(s, r, w, 0);
	for (size_t i = 0; i < set->bounded.n; i++) {
		if (!set->bounded.expr[i].nfa)
			follow_blind(&k, i);
		else if (r->pattern_live[i] != GUARD_NONE)
			follow(&k, i);
	}
	search_new(&k);
	return k.scan_from == GUARD_NONE ? 0 : scan(s, r, w, k.scan_from);
}

/* ---- expressions without a bound ---- */

static int on_first(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *context)
{
	struct open_stream *o = context;

	(void)flags;
	if (!o->first[id].end)
		o->first[id] = (struct event){from, to, id};
	return 0;
}

static int open_stream(const struct pattern_set *set, struct run *r)
{
	struct open_stream *o = calloc(1, sizeof(*o) + set->unbounded.n * sizeof(o->first[0]));

	if (!o || hs_open_stream(set->unbounded.db, 0, &o->stream) != HS_SUCCESS) {
		free(o);
		return E_TOOBIG;
	}
	o->n = set->unbounded.n;
	r->pattern_stream = o;
	return 0;
}

static int step_unbounded(const struct pattern_set *set, struct pattern_scratch *s, struct run *r, const struct window *w)
{
	const struct group *g = &set->unbounded;
	struct open_stream *o = r->pattern_stream;
	size_t at;

	if (!o && open_stream(set, r))
		return E_TOOBIG;
	o = r->pattern_stream;
	at = (size_t)(o->fed - w->base);
	if (w->n - at > UINT32_MAX / 2)
		return E_TOOBIG;
	if (w->n > at &&
	    hs_scan_stream(o->stream, (const char *)w->p + at, (unsigned)(w->n - at), 0, s->hs, on_first, o) != HS_SUCCESS)
		return E_IO;
	o->fed = window_end(w);
	if (!w->over)
		return 0;
	if (hs_close_stream(o->stream, s->hs, on_first, o) != HS_SUCCESS)
		return E_IO;
	o->stream = NULL;
	qsort(o->first, o->n, sizeof(o->first[0]), by_end);
	for (size_t i = 0; i < o->n; i++) {
		const struct expression *x = &g->expr[o->first[i].expr];

		for (uint32_t k = 0; o->first[i].end && k < x->n_rules; k++)
			run_match(r, g->rules[x->first_rule + k], o->first[i].start, o->first[i].end);
	}
	return 0;
}

void pattern_run_release(const struct pattern_set *s, struct run *r)
{
	struct open_stream *o = r->pattern_stream;

	(void)s;
	if (!o)
		return;
	if (o->stream)
		(void)hs_close_stream(o->stream, NULL, NULL, NULL); /* nobody listens any more */
	free(o);
	r->pattern_stream = NULL;
}

struct live pattern_step(const struct pattern_set *set, struct run *r, const struct window *w)
{
	struct live none = {GUARD_NONE, GUARD_NONE}, live;
	struct pattern_scratch *s = scratch_patterns(r->scratch);

	if (pattern_scratch_fit(s, set) || (set->bounded.n && step_bounded(set, s, r, w)) ||
	    (set->unbounded.n && step_unbounded(set, s, r, w))) {
		run_fail(r);
		return none;
	}
	r->pattern_pos = window_end(w);
	live = live_starts(set, r);
	return w->over ? none : live;
}
