/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A use case against its own recent past.  Counters are cut into steps of a fifth of the window; the newest steps are
 * what is judged, the ones before them the baseline.  While an alert fires, the baseline stands still: what is slow for
 * long must not become the measure by which it is fast.
 */
#include <stdio.h>
#include <stdlib.h>

#include "control/alerts/rules.h"
#include "core/base/util.h"
#include "core/json/writer.h"

#define RECENT_STEPS 5
#define STEPS_MAX 128		   /* of the baseline: with a longer one they are longer too */
#define STALE_MS INT64_C(86400000) /* a baseline that stood still for so long is given up */
#define BACK 0.8

struct counts {
	uint32_t requests, errors;
	uint32_t latency[LATENCY_BUCKETS];
};

struct sums {
	uint64_t requests, errors, timed;
	uint64_t latency[LATENCY_BUCKETS];
};

struct alert_traffic_past {
	char use_case[ALERT_NAME_SIZE];
	uint64_t requests, errors, latency[LATENCY_BUCKETS]; /* as of the last tick */
	int64_t step_ms, step_began_ms;
	size_t n_steps, at; /* all of them; the one that grows, the one behind it is the oldest */
	struct sums recent, base;
	bool is_still;
	int64_t still_since_ms;
	struct sums measure; /* the baseline while it stands still */
	struct counts step[];
};

static void sums_move(struct sums *s, const struct counts *c, int sign)
{
	s->requests += (uint64_t)(sign * (int64_t)c->requests);
	s->errors += (uint64_t)(sign * (int64_t)c->errors);
	for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
		s->latency[i] += (uint64_t)(sign * (int64_t)c->latency[i]);
		s->timed += (uint64_t)(sign * (int64_t)c->latency[i]);
	}
}

static struct alert_traffic_past *make_past(const struct alert_rules *r, const struct alert_traffic *t, int64_t now_ms)
{
	int64_t step_ms = r->settings.performance.window_ms / RECENT_STEPS;
	int64_t n = step_ms > 0 ? r->settings.performance.baseline_ms / step_ms : 0;
	size_t n_steps = RECENT_STEPS + (size_t)(n < 1 ? 1 : n > STEPS_MAX ? STEPS_MAX : n);
	struct alert_traffic_past *p = calloc(1, sizeof(*p) + n_steps * sizeof(p->step[0]));

	if (!p)
		abort();
	(void)snprintf(p->use_case, sizeof(p->use_case), SLICE_FMT,
		       SLICE_ARG(slice_sub(t->use_case, 0, ALERT_NAME_SIZE - 1)));
	p->step_ms = step_ms > 0 ? step_ms : 1;
	p->n_steps = n_steps;
	p->step_began_ms = now_ms;
	p->requests = t->requests;
	p->errors = t->errors;
	memcpy(p->latency, t->latency, sizeof(p->latency));
	return p;
}

static struct alert_traffic_past *find_past(struct alert_rules *r, const struct alert_traffic *t, int64_t now_ms)
{
	for (size_t i = 0; i < r->n_traffic; i++)
		if (slice_eq_str(t->use_case, r->traffic[i]->use_case))
			return r->traffic[i];
	if (r->n_traffic == ALERT_TRAFFIC_MAX)
		return NULL;
	return r->traffic[r->n_traffic++] = make_past(r, t, now_ms);
}

/* The step that grows ends; the oldest of the recent ones goes to the baseline, the oldest of that is forgotten. */
static void next_step(struct alert_traffic_past *p)
{
	size_t old_recent = (p->at + p->n_steps - (RECENT_STEPS - 1)) % p->n_steps;

	sums_move(&p->recent, &p->step[old_recent], -1);
	sums_move(&p->base, &p->step[old_recent], 1);
	p->at = (p->at + 1) % p->n_steps;
	sums_move(&p->base, &p->step[p->at], -1);
	p->step[p->at] = (struct counts){.requests = 0};
}

static void advance(struct alert_traffic_past *p, int64_t now_ms)
{
	int64_t n = (now_ms - p->step_began_ms) / p->step_ms;

	p->step_began_ms += n * p->step_ms;
	for (int64_t i = 0; i < n && i < (int64_t)p->n_steps; i++)
		next_step(p);
}

static uint32_t grown(uint64_t now, uint64_t *before)
{
	uint64_t n = now > *before ? now - *before : 0;

	*before = now;
	return (uint32_t)(n < UINT32_MAX / 256 ? n : UINT32_MAX / 256); /* in one tick: no machine does that */
}

static void take(struct alert_traffic_past *p, const struct alert_traffic *t)
{
	struct counts add, *step = &p->step[p->at];

	add.requests = grown(t->requests, &p->requests);
	add.errors = grown(t->errors, &p->errors);
	for (size_t i = 0; i < LATENCY_BUCKETS; i++)
		add.latency[i] = grown(t->latency[i], &p->latency[i]);
	step->requests += add.requests;
	step->errors += add.errors;
	for (size_t i = 0; i < LATENCY_BUCKETS; i++)
		step->latency[i] += add.latency[i];
	sums_move(&p->recent, &add, 1);
}

struct finding {
	bool slow, failing;
	double p95, base_p95, errors, base_errors; /* milliseconds; percent */
};

/* is_back: how far from the baseline to the limit it may be, 1 or BACK. */
static void judge_one(const struct alert_settings *s, const struct sums *now, const struct sums *base, double is_back,
		      struct finding *ret)
{
	uint64_t min = (uint64_t)s->performance.min_count;
	double limit, above;

	*ret = (struct finding){.slow = false};
	if (now->timed >= min && base->timed >= min) {
		ret->p95 = latency_quantile_ms(now->latency, 0.95);
		ret->base_p95 = latency_quantile_ms(base->latency, 0.95);
		limit = ret->base_p95 * (double)s->performance.latency_ratio / 100;
		above = ret->base_p95 + (double)s->performance.latency_floor_ms;
		limit = limit > above ? limit : above;
		ret->slow = ret->p95 > ret->base_p95 + (limit - ret->base_p95) * is_back;
	}
	if (now->requests >= min && base->requests >= min) {
		ret->errors = 100.0 * (double)now->errors / (double)now->requests;
		ret->base_errors = 100.0 * (double)base->errors / (double)base->requests;
		limit = ret->base_errors * (double)s->performance.error_ratio / 100;
		above = (double)s->performance.error_floor;
		limit = limit > above ? limit : above;
		ret->failing = ret->errors > ret->base_errors + (limit - ret->base_errors) * is_back;
	}
}

static void tell(struct alert *a, const struct alert_traffic_past *p, const struct finding *f)
{
	struct json_writer w;
	struct buf b;

	if (f->slow && f->failing)
		alert_say(a, "%s is degraded: p95 latency %.0f ms, was %.0f ms; error rate %.1f %%, was %.1f %%",
			  p->use_case, f->p95, f->base_p95, f->errors, f->base_errors);
	else if (f->slow)
		alert_say(a, "%s is degraded: p95 latency %.0f ms, was %.0f ms", p->use_case, f->p95, f->base_p95);
	else
		alert_say(a, "%s is degraded: error rate %.1f %%, was %.1f %%", p->use_case, f->errors, f->base_errors);
	alert_details_begin(&w, &b);
	jw_ki64(&w, "requests", (int64_t)p->recent.requests);
	jw_kdouble(&w, "latency_p95_ms", f->p95);
	jw_kdouble(&w, "latency_p95_ms_before", f->base_p95);
	jw_kdouble(&w, "error_percent", f->errors);
	jw_kdouble(&w, "error_percent_before", f->base_errors);
	alert_details_end(&w, &b, a);
}

static void judge_past(struct alert_rules *r, const struct alert_figures *f, struct alert_traffic_past *p)
{
	const struct alert_what what = {ALERT_PERFORMANCE_DEGRADED, slice_from(p->use_case), SLICE_LIT("")};
	const struct alert *before = alert_find(r, &what);
	struct finding found;
	struct alert *a;

	if (p->is_still && (!before || f->now.mono_ms - p->still_since_ms > STALE_MS))
		p->is_still = false;
	judge_one(&r->settings, &p->recent, p->is_still ? &p->measure : &p->base,
		  before && before->state == ALERT_FIRING ? BACK : 1, &found);
	if (!found.slow && !found.failing)
		return;
	if (!p->is_still) {
		p->is_still = true;
		p->still_since_ms = f->now.mono_ms;
		p->measure = p->base;
	}
	a = alert_note(r, &what, f, &f->now);
	if (a)
		tell(a, p, &found);
}

void alert_judge_performance(struct alert_rules *r, const struct alert_figures *f)
{
	for (size_t i = 0; i < f->n_traffic; i++) {
		struct alert_traffic_past *p = find_past(r, &f->traffic[i], f->now.mono_ms);

		if (!p)
			continue;
		advance(p, f->now.mono_ms);
		take(p, &f->traffic[i]);
		judge_past(r, f, p);
	}
}

void alert_performance_forget(struct alert_rules *r)
{
	for (size_t i = 0; i < r->n_traffic; i++)
		free(r->traffic[i]);
	r->n_traffic = 0;
}
