/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a review concludes: the runbook's targets, and what is worth a look.  Each rule is one function over what was
 * counted; it names the command that shows more.  A target is met only when it was measured for the whole period.
 */
#include "control/telemetry/review_internal.h"
#include "core/base/clock.h"

#define ERRORS_MIN 10 /* fewer say nothing */
#define VIOLATIONS_MIN 5
#define LATENCY_MIN_N 50 /* requests, in both periods */
#define LATENCY_WORSE 1.5
#define FALLBACKS_SHARE 0.05
#define NOW_SLACK_US INT64_C(120000000) /* "until now", by the clock of who asked */

static const struct {
	const char *name;
	double limit;
} targets[REVIEW_N_TARGETS] = {
	[REVIEW_LOOKUP] = {"current_model_lookup", 100},
	[REVIEW_LOGGING] = {"historical_logging", 0.95},
	[REVIEW_VIOLATIONS] = {"guardrail_violations", 0.01},
	[REVIEW_DEPLOYMENTS] = {"deployments", 0.90},
};

const char *review_target_name(enum review_target_id id)
{
	return targets[id].name;
}

double review_target_limit(enum review_target_id id)
{
	return targets[id].limit;
}

static bool is_upper(enum review_target_id id)
{
	return id == REVIEW_LOOKUP || id == REVIEW_VIOLATIONS;
}

/* To the second, and not later. */
static char *moment(int64_t us, char text[CLOCK_ISO_SIZE])
{
	char *dot;

	clock_iso(us, text);
	dot = strchr(text, '.');
	if (dot)
		memcpy(dot, "Z", 2);
	return text;
}

/* --- targets --- */

static void judge(struct review *r, enum review_target_id id, double figure, bool whole, const char *detail)
{
	struct review_target *t = &r->targets[id];
	bool good = is_upper(id) ? figure < targets[id].limit : figure > targets[id].limit;

	*t = (struct review_target){.measured = true, .figure = figure, .detail = slice_from(detail)};
	if (!good)
		t->verdict = REVIEW_NOT_MET;
	else
		t->verdict = whole ? REVIEW_MET : REVIEW_UNKNOWN;
}

/* What this daemon counts by itself says nothing of a period that ended before, and not all of one that it has not
 * been up for. */
static void judge_figures(struct arena *a, struct review *r)
{
	const struct review_figures *f = r->request.figures;
	char since[CLOCK_ISO_SIZE];
	unsigned long long n_records = f ? f->records + f->lost : 0;
	bool over = r->until_us < r->request.now_us - NOW_SLACK_US, whole;
	const char *part;

	r->targets[REVIEW_LOOKUP].detail = SLICE_LIT("not measured");
	r->targets[REVIEW_LOGGING].detail = SLICE_LIT("not measured");
	if (!f || over)
		return;
	whole = f->since_us <= r->since_us;
	part = whole ? "" : arena_printf(a, "; measured since %s, not all of the period", moment(f->since_us, since));
	if (f->lookups)
		judge(r, REVIEW_LOOKUP, f->lookup_p99_ms, whole,
		      arena_printf(a, "the p99 of %llu lookups at this daemon is below that%s",
				   (unsigned long long)f->lookups, part));
	if (n_records)
		judge(r, REVIEW_LOGGING, review_share((int64_t)(f->records - f->rejected), (int64_t)n_records), whole,
		      arena_printf(a, "%llu records at this daemon, %llu lost, %llu refused%s", n_records,
				   (unsigned long long)f->lost, (unsigned long long)f->rejected, part));
}

void review_judge_targets(struct arena *a, struct review *r)
{
	const struct review_counts *c = &r->total.now;
	int64_t checked = c->requests - c->unchecked;

	judge_figures(a, r);
	r->targets[REVIEW_VIOLATIONS].detail = SLICE_LIT("no record was checked");
	r->targets[REVIEW_DEPLOYMENTS].detail = SLICE_LIT("none finished");
	if (checked > 0)
		judge(r, REVIEW_VIOLATIONS, review_share(c->flagged, checked), true,
		      arena_printf(a, "%lld of %lld checked records with a violation", (long long)c->flagged,
				   (long long)checked));
	if (r->deployments.finished)
		judge(r, REVIEW_DEPLOYMENTS, review_share(r->deployments.succeeded, r->deployments.finished),
		      !r->deployments.more,
		      arena_printf(a, "%lld of %lld that finished", (long long)r->deployments.succeeded,
				   (long long)r->deployments.finished));
}

/* --- findings --- */

struct look {
	struct arena *a;
	struct review *r;
	char since[CLOCK_ISO_SIZE], until[CLOCK_ISO_SIZE];
};

/* Words of others in a command line: as they are when no shell would see anything in them, else quoted. */
static const char *quoted(struct arena *a, struct slice s)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@.:/-";
	struct buf b;
	bool fine = s.n > 0 && s.p[0] != '-';

	for (size_t i = 0; i < s.n; i++)
		fine = fine && s.p[i] && strchr(plain, s.p[i]);
	buf_init_arena(&b, a, 4 * s.n + 8);
	if (!fine)
		buf_addc(&b, '\'');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'')
			buf_adds(&b, "'\\''");
		else
			buf_addc(&b, s.p[i]);
	}
	if (!fine)
		buf_addc(&b, '\'');
	return buf_cstr(&b);
}

static struct review_finding *found(struct look *l, const char *kind, enum review_weight weight, struct slice use_case)
{
	struct review_finding *f = &l->r->findings[l->r->n_findings];

	if (l->r->n_findings == REVIEW_MAX_FINDINGS)
		return NULL;
	l->r->n_findings++;
	*f = (struct review_finding){.kind = kind, .weight = weight, .use_case = use_case};
	return f;
}

static const char *percent(struct arena *a, double share)
{
	return arena_printf(a, share > 0 && share < 0.001 ? "%.2f %%" : "%.1f %%", 100 * share);
}

static void look_at_errors(struct look *l, const struct review_group *g)
{
	int64_t now = review_errors(&g->now), before = review_errors(&g->before);
	double share = review_share(now, g->now.requests), was = review_share(before, g->before.requests);
	struct review_finding *f;

	if (now < ERRORS_MIN || share < 2 * was)
		return;
	f = found(l, "errors_doubled", REVIEW_BAD, g->use_case);
	if (!f)
		return;
	f->text = slice_from(arena_printf(l->a, "errors: %lld of %lld requests (%s), %s in the period before",
					  (long long)now, (long long)g->now.requests, percent(l->a, share),
					  g->before.requests ? percent(l->a, was) : "none"));
	f->command = slice_from(arena_printf(l->a, "muster log list --use-case %s --status error --since %s --until %s",
					     quoted(l->a, g->use_case), l->since, l->until));
}

static int64_t n_timed(const struct review_counts *c)
{
	int64_t n = 0;

	for (size_t i = 0; c->latency && i < REVIEW_LATENCY_BUCKETS; i++)
		n += c->latency[i];
	return n;
}

static void look_at_latency(struct look *l, const struct review_group *g)
{
	double now = review_percentile_ms(g->now.latency, 95), before = review_percentile_ms(g->before.latency, 95);
	struct review_finding *f;

	if (n_timed(&g->now) < LATENCY_MIN_N || n_timed(&g->before) < LATENCY_MIN_N || now <= LATENCY_WORSE * before)
		return;
	f = found(l, "latency_worse", REVIEW_WARN, g->use_case);
	if (!f)
		return;
	f->text = slice_from(arena_printf(l->a, "p95 latency: %.0f ms, %.0f ms in the period before", now, before));
	f->command = slice_from(arena_printf(l->a, "muster review --window 24h --use-case %s --until %s",
					     quoted(l->a, g->use_case), l->until));
}

static void look_at_violations(struct look *l, const struct review_group *g)
{
	struct review_finding *f;

	if (g->now.violations < VIOLATIONS_MIN || review_share(g->now.violations, g->now.requests) <
							  2 * review_share(g->before.violations, g->before.requests))
		return;
	f = found(l, "violations_rising", REVIEW_WARN, g->use_case);
	if (!f)
		return;
	f->text = slice_from(
		arena_printf(l->a, "guardrail violations: %lld in %lld requests, %lld in %lld in the period before",
			     (long long)g->now.violations, (long long)g->now.requests, (long long)g->before.violations,
			     (long long)g->before.requests));
	f->command = slice_from(arena_printf(l->a, "muster guardrail violations --use-case %s --since %s --until %s",
					     quoted(l->a, g->use_case), l->since, l->until));
}

static void look_at_fallbacks(struct look *l, const struct review_group *g)
{
	double share = review_share(g->now.fallbacks, g->now.requests);
	struct review_finding *f;

	if (g->now.fallbacks < ERRORS_MIN || share < FALLBACKS_SHARE)
		return;
	f = found(l, "fallbacks", REVIEW_WARN, g->use_case);
	if (!f)
		return;
	f->text = slice_from(arena_printf(l->a, "%s of the requests were answered by a fallback (%lld)",
					  percent(l->a, share), (long long)g->now.fallbacks));
	f->command = slice_from(arena_printf(l->a, "muster log list --use-case %s --since %s --until %s",
					     quoted(l->a, g->use_case), l->since, l->until));
}

static void look_at_silence(struct look *l, const struct review_group *g)
{
	struct review_finding *f;

	if (g->now.requests || !g->before.requests)
		return;
	f = found(l, "use_case_silent", REVIEW_WARN, g->use_case);
	if (!f)
		return;
	f->text =
		slice_from(arena_printf(l->a, "no request, %lld in the period before", (long long)g->before.requests));
	f->command = slice_from(arena_printf(l->a, "muster use-case show %s", quoted(l->a, g->use_case)));
}

static void look_at_critical(struct look *l)
{
	int64_t n = l->r->by_severity[GUARD_CRITICAL];
	struct review_finding *f = n ? found(l, "critical_violations", REVIEW_BAD, l->r->request.use_case) : NULL;

	if (!f)
		return;
	f->text = slice_from(arena_printf(l->a, "critical guardrail violations: %lld", (long long)n));
	f->command = slice_from(arena_printf(
		l->a, "muster guardrail violations --severity critical --since %s --until %s", l->since, l->until));
}

static void look_at_deployments(struct look *l)
{
	const struct review_deployments *d = &l->r->deployments;

	for (size_t i = 0; i < d->n; i++) {
		const struct deployment *one = &d->list[i];
		struct review_finding *f;
		char id[UUID_STR_SIZE];

		if ((one->state != DEPLOY_ROLLED_BACK && one->state != DEPLOY_ABORTED) ||
		    one->finished_us >= l->r->until_us)
			continue;
		f = found(l, "deployment_failed", REVIEW_BAD, one->use_case);
		if (!f)
			return;
		f->text = slice_from(arena_printf(
			l->a, "the deployment of " SLICE_FMT " was %s%s" SLICE_FMT,
			SLICE_ARG(d->models[i].n ? d->models[i] : SLICE_LIT("a model that is gone")),
			one->state == DEPLOY_ABORTED ? "aborted" : "rolled back", one->rollback_reason.n ? ": " : "",
			SLICE_ARG(slice_sub(one->rollback_reason, 0, 300))));
		f->command = slice_from(arena_printf(l->a, "muster deploy show %s", uuid_format(&one->id, id)));
	}
}

static bool has_traffic(const struct review *r, struct slice use_case, struct slice name)
{
	for (size_t i = 0; i < r->n_models; i++)
		if (slice_eq(r->models[i].use_case, use_case) && slice_eq(r->models[i].model, name))
			return r->models[i].now.requests > 0;
	return false;
}

/* Current all the time, and nobody asked it. */
static void look_at_models(struct look *l, const struct model *models, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct model *m = &models[i];
		const char *name;
		struct review_finding *f;

		if (m->status != MODEL_CURRENT || m->status_since_us > l->r->since_us)
			continue;
		name = arena_printf(l->a, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(m->name), SLICE_ARG(m->version));
		if (l->r->groups_left_off || has_traffic(l->r, m->use_case, slice_from(name)))
			continue;
		f = found(l, "no_traffic", REVIEW_NOTE, m->use_case);
		if (!f)
			return;
		f->text = slice_from(arena_printf(l->a, "%s is current and answered nothing", name));
		f->command = slice_from(arena_printf(l->a, "muster use-case show %s", quoted(l->a, m->use_case)));
	}
}

static void look_at_targets(struct look *l)
{
	static const char *const commands[REVIEW_N_TARGETS] = {
		[REVIEW_LOOKUP] = "muster check --production",
		[REVIEW_LOGGING] = "muster health",
		[REVIEW_VIOLATIONS] = "muster guardrail violations",
		[REVIEW_DEPLOYMENTS] = "muster deploy status",
	};

	for (unsigned i = 0; i < REVIEW_N_TARGETS; i++) {
		const struct review_target *t = &l->r->targets[i];
		struct review_finding *f;

		if (t->verdict != REVIEW_NOT_MET)
			continue;
		f = found(l, "target_missed", REVIEW_BAD, l->r->request.use_case);
		if (!f)
			return;
		f->text = slice_from(arena_printf(l->a, "the target of %s is not met: " SLICE_FMT, targets[i].name,
						  SLICE_ARG(t->detail)));
		f->command = slice_from(commands[i]);
	}
}

int review_find(struct arena *a, struct review *r, const struct model *models, size_t n_models, struct err *err)
{
	struct look l = {.a = a, .r = r};

	(void)moment(r->since_us, l.since);
	(void)moment(r->until_us + 999999, l.until);
	look_at_targets(&l);
	look_at_critical(&l);
	look_at_deployments(&l);
	for (size_t i = 0; i < r->n_use_cases; i++) {
		const struct review_group *g = &r->use_cases[i];

		look_at_errors(&l, g);
		look_at_latency(&l, g);
		look_at_violations(&l, g);
		look_at_fallbacks(&l, g);
		look_at_silence(&l, g);
	}
	look_at_models(&l, models, n_models);
	for (size_t i = 0; i < r->n_findings; i++)
		if (!r->findings[i].text.p || !r->findings[i].command.p)
			return err_set(err, E_TOOBIG, "the review is more than fits in memory");
	return 0;
}
