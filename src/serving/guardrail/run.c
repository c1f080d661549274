/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One text on its way through an engine: the parts step over it, their matches
 * become picks, and picks become hits when nothing can replace them.  The
 * picks of one rule never overlap: the leftmost wins, then the longest.
 */
#include "serving/guardrail/guard_internal.h"

size_t run_memory(const struct engine *e, size_t n_rules)
{
	return sizeof(uint64_t) * (2 * pattern_set_count(e->patterns) + e->n_pii + n_rules);
}

void run_place(struct run *r, void *memory)
{
	size_t n_expr = pattern_set_count(r->engine->patterns);

	r->pattern_live = memory;
	r->pattern_next = r->pattern_live + n_expr;
	r->pii_cursor = r->pattern_next + n_expr;
	r->last_end = r->pii_cursor + r->engine->n_pii;
}

void run_start(struct run *r, const struct guard_policy *p, const struct engine *e, void *memory)
{
	r->policy = p;
	r->engine = e;
	r->result = NULL;
	r->failed = false;
	r->stop_at = GUARD_NONE;
	r->literal = (struct literal_cursor){0};
	r->pattern_pos = 0;
	r->pattern_begun = false;
	r->n_pattern_live = 0;
	r->pattern_stream = NULL;
	run_place(r, memory);
	r->n_picks = 0;
	r->n_masked = 0;
	memset(r->pii_cursor, 0, sizeof(uint64_t) * (e->n_pii + p->n_rules));
}

static struct live live_min(struct live a, struct live b)
{
	return (struct live){a.hold < b.hold ? a.hold : b.hold, a.any < b.any ? a.any : b.any};
}

struct live run_step(struct run *r, const struct window *w)
{
	const struct engine *e = r->engine;
	struct live all = {GUARD_NONE, GUARD_NONE}, live;

	scan_map_reset(scratch_map(r->scratch));
	if (e->literals) {
		live = literal_step(e->literals, r, w);
		run_settle(r, GUARD_LITERAL, live);
		all = live_min(all, live);
	}
	if (e->patterns && !r->failed) {
		live = pattern_step(e->patterns, r, w);
		run_settle(r, GUARD_PATTERN, live);
		all = live_min(all, live);
	}
	if (e->n_pii)
		all = live_min(all, pii_step(r, w));
	return all;
}

void run_fail(struct run *r)
{
	struct guard_result *result = r->result;

	r->failed = true;
	result->failed = true;
	if (r->policy->block_on_error)
		result->action = GUARD_BLOCK;
}

/* Keeps the hits of this text in the order of their starts. */
static void result_add(struct run *r, struct guard_hit hit)
{
	struct guard_result *result = r->result;
	size_t i = result->n_hits;

	if (i == GUARD_MAX_HITS) {
		result->overflow = true;
		if (r->policy->rules[hit.rule].action == GUARD_MASK) /* its text could not leave as it should */
			run_fail(r);
		return;
	}
	for (; i > r->first_hit && result->hit[i - 1].start > hit.start; i--)
		result->hit[i] = result->hit[i - 1];
	result->hit[i] = hit;
	result->n_hits++;
}

/* Remembers where masks stand, so that a stream does not let half of one go. */
static void remember_mask(struct run *r, uint64_t start, uint64_t end)
{
	if (r->n_masked == GUARD_MAX_MASKED) { /* taken together they hold more, never less */
		struct pick last = {r->masked[r->n_masked - 1].start, r->masked[r->n_masked - 1].end, 0};

		r->masked[r->n_masked - 1].start = start < last.start ? start : last.start;
		r->masked[r->n_masked - 1].end = end > last.end ? end : last.end;
		return;
	}
	r->masked[r->n_masked].start = start;
	r->masked[r->n_masked].end = end;
	r->n_masked++;
}

static void count_action(struct run *r, uint16_t rule)
{
	enum guard_action action = r->policy->rules[rule].action;

	if (action > r->result->action)
		r->result->action = action;
}

void run_emit(struct run *r, uint16_t rule, uint64_t start, uint64_t end)
{
	enum guard_action action = r->policy->rules[rule].action;

	r->last_end[rule] = end;
	count_action(r, rule);
	result_add(r, (struct guard_hit){.rule = rule, .start = start, .end = end});
	if (action == GUARD_MASK)
		remember_mask(r, start, end);
	else if (action > GUARD_MASK && start < r->stop_at)
		r->stop_at = start;
}

static void emit_pick(struct run *r, size_t i)
{
	struct pick pick = r->picks[i];

	r->picks[i] = r->picks[--r->n_picks];
	if (pick.start >= r->last_end[pick.rule])
		run_emit(r, pick.rule, pick.start, pick.end);
}

static bool is_before(const struct pick *a, const struct pick *b)
{
	return a->start < b->start || (a->start == b->start && a->end > b->end);
}

void run_settle(struct run *r, enum guard_kind kind, struct live live)
{
	for (;;) {
		size_t first = r->n_picks;

		for (size_t i = 0; i < r->n_picks; i++) {
			const struct guard_rule_info *info = &r->policy->rules[r->picks[i].rule];
			uint64_t limit = info->action > GUARD_FLAG ? live.hold : live.any;

			if (info->kind == kind && r->picks[i].start < limit &&
			    (first == r->n_picks || is_before(&r->picks[i], &r->picks[first])))
				first = i;
		}
		if (first == r->n_picks)
			return;
		emit_pick(r, first);
	}
}

/* Makes room: picks that lie further back than any match is long are final. */
static bool make_room(struct run *r, uint64_t end)
{
	struct live old = {end - GUARD_MAX_SPAN, end - GUARD_MAX_SPAN};

	if (r->n_picks < GUARD_MAX_PICKS)
		return true;
	if (end > GUARD_MAX_SPAN) {
		run_settle(r, GUARD_LITERAL, old);
		run_settle(r, GUARD_PATTERN, old);
	}
	return r->n_picks < GUARD_MAX_PICKS;
}

/* A rule whose hits are masked must not lose one: then its text could not leave as it should. */
static void lose(struct run *r, uint16_t rule)
{
	r->result->overflow = true;
	count_action(r, rule);
	if (r->policy->rules[rule].action == GUARD_MASK)
		run_fail(r);
}

void run_match(struct run *r, uint16_t rule, uint64_t start, uint64_t end)
{
	if (start < r->last_end[rule] || end <= start)
		return;
	if (make_room(r, end))
		r->picks[r->n_picks++] = (struct pick){start, end, rule};
	else
		lose(r, rule);
}
