/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns: bounded expressions run as small automata (pattern_nfa.h), all
 * others in the streams of vectorscan.  This is the only file that knows that
 * library.
 *
 * An automaton knows what the library cannot tell: whether more text could
 * still make a match, or a longer one.  It is woken where a scan (scan.h) and
 * the few bytes there (pattern_prefix.h) say that it may match, so text that
 * begins nothing is let go at once; what is held is exactly what can become a match.  An expression has at most one
 * live start, its earliest.  Automata have a budget of steps; past it the check
 * has failed, which the policy's on_error answers.
 *
 * Expressions without a bound, or that the automata do not know, are for rules
 * that flag.  All expressions of such a rule go to the library; each is reported
 * once a text, where it ends first.  The library is used without start offsets
 * and without HS_FLAG_SINGLEMATCH: with either, version 5.4.9 misses matches
 * of expressions as simple as q+ behind some 60 bytes of other text.
 */
#include <hs.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/map.h"
#include "serving/guardrail/pattern_prefix.h"

#define MAX_WIDTH (GUARD_MAX_SPAN - 8)
#define BUDGET_BASE (4u << 20) /* automaton steps for one call, about 3 ns each ... */
#define BUDGET_BYTE 64	       /* ... and as many more for each byte */

/* Numbers the sets of the process, from any thread, so that a scratch knows one without a look into it. */
static atomic_uint_fast64_t next_serial = 1;

struct expression {
	struct slice text;
	struct nfa *nfa;	      /* of bounded expressions */
	struct byte_set first;	      /* bytes that its matches may begin with */
	uint32_t first_rule, n_rules; /* in group.rules */
	uint8_t late;
	bool intervenes;
	uint32_t min_width; /* what is shown of a match without a bound: its last bytes */
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
	char *texts; /* all expressions, terminated */
	size_t text_bytes;
	struct prefixes *prefixes; /* of the bounded */
	uint32_t nfa_size;
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
};

/* Of a run over expressions without a bound. */
struct open_stream {
	hs_stream_t *stream;
	const struct group *group;
	uint64_t fed;
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

/* For what the automata do not know. */
static int measure(const struct pattern_source *src, const char *text, uint32_t width[2], struct err *err)
{
	hs_compile_error_t *e = NULL;
	hs_expr_info_t *info = NULL;
	int rc = 0;

	if (hs_expression_info(text, 0, &info, &e) != HS_SUCCESS) {
		rc = compile_error(src->rule_id, e, err);
		hs_free_compile_error(e);
		return rc;
	}
	width[0] = info->min_width;
	width[1] = info->max_width;
	free(info);
	return rc;
}

/* Where each source's text stands in set->texts, and of what kind it is. */
struct plan {
	const struct pattern_source *src;
	size_t n;
	const char **text;
	uint32_t *min_width;
	bool *unbounded; /* by source: its rule has an expression without a bound */
};

/* What a rule that intervenes must not have. */
static int check_bound(const struct pattern_source *src, const char *text, uint32_t width, bool known, struct err *err)
{
	if (width == UINT32_MAX)
		return err_set(
			err, E_INVALID,
			"rule '%s': a match of '%.100s' has no longest length, so a stream could not hold it back; "
			"give it a bound such as {1,200}, or use action flag",
			src->rule_id, text);
	if (width > MAX_WIDTH)
		return err_set(
			err, E_INVALID,
			"rule '%s': a match of '%.100s' can be %u bytes long; the limit is %d, or use action flag",
			src->rule_id, text, width, MAX_WIDTH);
	if (!known)
		return err_set(
			err, E_INVALID,
			"rule '%s': '%.100s' is written in a way that a stream cannot follow: use plain classes, "
			"groups, | and {n,m}, at most 8000 states in all, or use action flag",
			src->rule_id, text);
	return 0;
}

/* One source: checked, its shortest and longest match; *ret_known: the automata can run it. */
static int plan_source(const struct pattern_source *src, const char *text, uint32_t width[2], bool *ret_known,
		       struct err *err)
{
	struct nfa *nfa = NULL;
	int rc = 0;

	if (memchr(src->text.p, 0, src->text.n) || slice_starts(src->text, SLICE_LIT("(*")))
		return err_set(err, E_INVALID,
			       "rule '%s': an expression works on bytes: no NUL (write \\x00) and no (*...)",
			       src->rule_id);
	*ret_known = nfa_new(src->text, &nfa) == 0;
	if (*ret_known) {
		width[0] = nfa_min_width(nfa);
		width[1] = nfa_max_width(nfa);
		nfa_free(nfa);
	} else {
		rc = measure(src, text, width, err);
	}
	if (!rc && width[0] == 0)
		rc = err_set(err, E_INVALID, "rule '%s': '%.100s' matches the empty text", src->rule_id, text);
	if (!rc && src->intervenes)
		rc = check_bound(src, text, width[1], *ret_known, err);
	return rc;
}

static int plan_sources(struct pattern_set *set, struct plan *plan, struct err *err)
{
	bool rule_unbounded[POLICY_MAX_RULES] = {false};
	char *at = set->texts;

	for (size_t i = 0; i < plan->n; i++) {
		const struct pattern_source *src = &plan->src[i];
		uint32_t width[2] = {0, 0};
		bool known = false;
		int rc;

		memcpy(at, src->text.p, src->text.n);
		at[src->text.n] = 0;
		plan->text[i] = at;
		at += src->text.n + 1;
		rc = plan_source(src, plan->text[i], width, &known, err);
		if (rc)
			return rc;
		plan->min_width[i] = width[0];
		rule_unbounded[src->rule] |= !known || width[1] > MAX_WIDTH;
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
	g->expr = calloc(plan->n + 1, sizeof(*g->expr));
	g->rules = calloc(plan->n + 1, sizeof(*g->rules));
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
			*x = (struct expression){.text = text, .min_width = plan->min_width[i]};
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

static int streams_compile(struct group *g, const struct plan *plan, struct err *err)
{
	const char **text = calloc(g->n + 1, sizeof(*text));
	unsigned *flags = calloc(g->n + 1, sizeof(*flags)), *ids = calloc(g->n + 1, sizeof(*ids));
	hs_compile_error_t *e = NULL;
	int rc = text && flags && ids ? 0 : err_set(err, E_TOOBIG, "out of memory");

	for (size_t i = 0; i < g->n && text && flags && ids; i++) {
		text[i] = g->expr[i].text.p;
		ids[i] = (unsigned)i;
	}
	if (!rc && g->n &&
	    hs_compile_multi(text, flags, ids, (unsigned)g->n, HS_MODE_STREAM, NULL, &g->db, &e) != HS_SUCCESS) {
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

static int build_automata(struct pattern_set *set, struct scan_items *items)
{
	struct group *g = &set->bounded;
	struct nfa **nfa = calloc(g->n + 1, sizeof(struct nfa *));
	int rc = nfa ? 0 : E_TOOBIG;

	for (size_t i = 0; i < g->n && !rc; i++) {
		struct expression *x = &g->expr[i];

		if (nfa_new(x->text, &x->nfa) || nfa_first(x->nfa, &x->first)) {
			rc = E_TOOBIG; /* it was possible a moment ago: memory is short */
			break;
		}
		nfa[i] = x->nfa;
		x->late = (uint8_t)nfa_late(x->nfa);
		if (nfa_size(x->nfa) > set->nfa_size)
			set->nfa_size = nfa_size(x->nfa);
	}
	if (!rc)
		rc = prefixes_new(nfa, g->n, items, &set->prefixes);
	free(nfa);
	return rc;
}

static int build(struct pattern_set *set, struct plan *plan, struct scan_items *items, struct err *err)
{
	int rc;

	if (!set->texts || !plan->text || !plan->min_width || !plan->unbounded)
		return err_set(err, E_TOOBIG, "out of memory for the patterns");
	rc = plan_sources(set, plan, err);
	if (rc)
		return rc;
	if (group_fill(&set->bounded, plan, false) || group_fill(&set->unbounded, plan, true) ||
	    build_automata(set, items))
		return err_set(err, E_TOOBIG, "out of memory for the patterns");
	return streams_compile(&set->unbounded, plan, err);
}

int pattern_set_new(const struct pattern_source *src, size_t n, struct scan_items *items, struct pattern_set **ret,
		    struct err *err)
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
	plan.min_width = calloc(n + 1, sizeof(*plan.min_width));
	plan.unbounded = calloc(n + 1, sizeof(*plan.unbounded));
	rc = build(set, &plan, items, err);
	free(plan.text);
	free(plan.min_width);
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
	prefixes_free(s->prefixes);
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
	return s ? sizeof(*s) + s->text_bytes + prefixes_bytes(s->prefixes) + group_bytes(&s->bounded) +
			       group_bytes(&s->unbounded)
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
	if ((set->unbounded.db && hs_alloc_scratch(set->unbounded.db, &s->hs) != HS_SUCCESS) ||
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
	return sizeof(*s) + hs + 5 * sizeof(uint32_t) * s->nfa.size;
}

/* ---- expressions with a bound ---- */

struct search {
	const struct pattern_set *set;
	struct pattern_scratch *scratch;
	struct run *run;
	const struct window *window;
	bool over_budget;
};

/* How far an expression's matches are certain. */
static uint64_t certain(const struct window *w, const struct expression *x)
{
	uint64_t end = window_end(w);

	if (w->over)
		return end;
	return end > x->late ? end - x->late : 0;
}

/*
 * Asks about a match of x at `at`: returns where to ask next, behind the match or at the next byte, or `at` itself when
 * only more text can tell.
 */
static uint64_t try_at(struct search *k, const struct expression *x, uint64_t at)
{
	const struct group *g = &k->set->bounded;
	struct nfa_fate fate = nfa_walk(x->nfa, &k->scratch->nfa, k->window, at, certain(k->window, x));

	k->over_budget |= k->scratch->nfa.steps == 0;
	if (fate.live)
		return at;
	if (!fate.end)
		return at + 1;
	for (uint32_t i = 0; i < x->n_rules; i++)
		run_match(k->run, g->rules[x->first_rule + i], at, fate.end);
	return fate.end;
}

static void set_live(struct run *r, size_t expr, uint64_t at)
{
	r->pattern_live[expr] = at;
	r->n_pattern_live++;
}

/* An expression that has a live start: decided now, or followed to the next. */
static void follow(struct search *k, size_t expr)
{
	const struct expression *x = &k->set->bounded.expr[expr];
	const struct window *w = k->window;
	uint64_t end = window_end(w), at = k->run->pattern_live[expr];

	k->run->pattern_live[expr] = GUARD_NONE;
	k->run->n_pattern_live--;
	while (at < end && !k->over_budget) {
		uint64_t next = at + 1;

		if (byte_set_has(&x->first, w->p[at - w->base]))
			next = try_at(k, x, at);
		if (next == at) {
			set_live(k->run, expr, at);
			break;
		}
		at = next;
	}
	k->run->pattern_next[expr] = at;
}

/* A run's arrays are made when the first expression wakes: in most texts none does. */
static void begin_run(const struct pattern_set *set, struct run *r)
{
	for (size_t i = 0; i < set->bounded.n; i++) {
		r->pattern_live[i] = GUARD_NONE;
		r->pattern_next[i] = 0;
	}
	r->pattern_begun = true;
}

/* The expressions that may match at i and are not held or beyond it. */
static void wake(struct search *k, size_t i, const uint64_t *alive)
{
	uint64_t at = k->window->base + i;

	if (!k->run->pattern_begun)
		begin_run(k->set, k->run);
	for (size_t n = 0; n < k->set->prefixes->n_words; n++) {
		for (uint64_t bits = alive[n]; bits && !k->over_budget; bits &= bits - 1) {
			size_t expr = n * 64 + (size_t)__builtin_ctzll(bits);

			if (k->run->pattern_live[expr] != GUARD_NONE || k->run->pattern_next[expr] > at)
				continue;
			k->run->pattern_next[expr] = try_at(k, &k->set->bounded.expr[expr], at);
			if (k->run->pattern_next[expr] == at)
				set_live(k->run, expr, at);
		}
	}
}

static struct live live_starts(const struct pattern_set *set, const struct run *r)
{
	struct live live = {GUARD_NONE, GUARD_NONE};

	for (size_t i = 0; r->n_pattern_live && i < set->bounded.n; i++) {
		if (r->pattern_live[i] < live.any)
			live.any = r->pattern_live[i];
		if (set->bounded.expr[i].intervenes && r->pattern_live[i] < live.hold)
			live.hold = r->pattern_live[i];
	}
	return live;
}

/* Many matches in one text: those before byte i that nothing can replace make room. */
static void settle_early(struct search *k, size_t i)
{
	struct live live = live_starts(k->set, k->run);
	uint64_t at = k->window->base + i;

	if (at < live.hold)
		live.hold = at;
	if (at < live.any)
		live.any = at;
	run_settle(k->run, GUARD_PATTERN, live);
}

/* Everything that begins in the part of the window that is new. */
static void search_new(struct search *k)
{
	const struct prefixes *x = k->set->prefixes;
	const struct window *w = k->window;
	struct scan_cursor places = run_places(k->run, w, SCAN_PATTERN);

	for (size_t i = scan_next(&places, (size_t)(k->run->pattern_pos - w->base)); i < w->n;
	     i = scan_next(&places, i + 1)) {
		int before = i > 0 ? w->p[i - 1] : ' ';
		const uint64_t *alive = prefixes_ask(x, w, i, before < 0x80 && guard_is_word(before));

		if (LIKELY(!alive))
			continue;
		if (k->run->n_picks > GUARD_MAX_PICKS / 2)
			settle_early(k, i);
		wake(k, i, alive);
	}
}

static int step_bounded(const struct pattern_set *set, struct pattern_scratch *s, struct run *r, const struct window *w)
{
	struct search k = {set, s, r, w, false};

	s->nfa.steps = BUDGET_BASE + (uint64_t)w->n * BUDGET_BYTE;
	for (size_t i = 0; r->n_pattern_live && i < set->bounded.n; i++) {
		if (r->pattern_live[i] != GUARD_NONE)
			follow(&k, i);
	}
	search_new(&k);
	return k.over_budget ? E_TOOBIG : 0;
}

/* ---- expressions without a bound ---- */

static int by_end(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->end != y->end)
		return x->end < y->end ? -1 : 1;
	return x->start < y->start ? -1 : x->start > y->start;
}

static int on_first(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *context)
{
	struct open_stream *o = context;

	(void)flags;
	(void)from;
	if (!o->first[id].end)
		o->first[id] = (struct event){to > o->group->expr[id].min_width ? to - o->group->expr[id].min_width : 0,
					      to, id};
	return 0;
}

static int open_stream(const struct pattern_set *set, struct run *r)
{
	struct open_stream *o = calloc(1, sizeof(*o) + set->unbounded.n * sizeof(o->first[0]));

	if (!o || hs_open_stream(set->unbounded.db, 0, &o->stream) != HS_SUCCESS) {
		free(o);
		return E_TOOBIG;
	}
	o->group = &set->unbounded;
	r->pattern_stream = o;
	return 0;
}

static int step_unbounded(const struct pattern_set *set, struct pattern_scratch *s, struct run *r,
			  const struct window *w)
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
	if (w->n > at && hs_scan_stream(o->stream, (const char *)w->p + at, (unsigned)(w->n - at), 0, s->hs, on_first,
					o) != HS_SUCCESS)
		return E_IO;
	o->fed = window_end(w);
	if (!w->over)
		return 0;
	if (hs_close_stream(o->stream, s->hs, on_first, o) != HS_SUCCESS)
		return E_IO;
	o->stream = NULL;
	qsort(o->first, g->n, sizeof(o->first[0]), by_end);
	for (size_t i = 0; i < g->n; i++) {
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
