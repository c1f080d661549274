/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fires and what is over.  Each rule notes what it finds (alert_note); then one function moves all states.  What
 * would break it: a rule that does not note what still holds, for that is how an alert learns that it is over.
 */
#include "control/alerts/rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/digest.h"
#include "core/base/utf8.h"
#include "core/json/writer.h"

/* What fires above a limit is over below four fifths of it. */
#define BACK 0.8

static const char *const rule_names[ALERT_N_RULES] = {
	"registry_unavailable", "logging_failures",    "critical_violation", "deployment_failed",
	"performance_degraded", "budget_nearly_spent", "budget_spent",
};
static const char *const severity_names[] = {"info", "warning", "critical"};
static const char *const state_names[ALERT_N_STATES] = {"", "pending", "firing", "resolved"};

const char *alert_rule_name(enum alert_rule r)
{
	return rule_names[r];
}

const char *alert_severity_name(enum alert_severity s)
{
	return severity_names[s];
}

const char *alert_state_name(enum alert_state s)
{
	return state_names[s];
}

int alert_rule_parse(struct slice s, enum alert_rule *ret, struct err *err)
{
	for (int i = 0; i < ALERT_N_RULES; i++) {
		if (slice_eq_str(s, rule_names[i])) {
			*ret = (enum alert_rule)i;
			return 0;
		}
	}
	return err_set(
		err, E_INVALID,
		"no rule is called '" SLICE_FMT "': there are registry_unavailable, logging_failures, "
		"critical_violation, deployment_failed, performance_degraded, budget_nearly_spent and budget_spent",
		SLICE_ARG(utf8_truncate(s, 80)));
}

int alert_severity_parse(struct slice s, enum alert_severity *ret, struct err *err)
{
	for (size_t i = 0; i < COUNT_OF(severity_names); i++) {
		if (slice_eq_str(s, severity_names[i])) {
			*ret = (enum alert_severity)i;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "severity is info, warning or critical, not '" SLICE_FMT "'",
		       SLICE_ARG(utf8_truncate(s, 80)));
}

/* --- alerts --- */

void alert_fingerprint(const struct alert_settings *s, const struct alert *a, char ret[ALERT_FINGERPRINT_SIZE])
{
	char text[ALERT_INSTANCE_SIZE + 4 * ALERT_NAME_SIZE], hex[65];
	int n = snprintf(text, sizeof(text), "%s\n%s\n%s\n%s", rule_names[a->rule], a->shared ? "" : s->instance,
			 a->use_case, a->key); /* each is bounded: it fits */

	sha256_hex((struct slice){text, (size_t)n}, hex);
	(void)snprintf(ret, ALERT_FINGERPRINT_SIZE, "%.32s", hex);
}

struct alert *alert_find(struct alert_rules *r, const struct alert_what *what)
{
	for (size_t i = 0; i < ALERTS_MAX; i++) {
		struct alert *a = &r->alert[i];

		if ((a->state == ALERT_PENDING || a->state == ALERT_FIRING) && a->rule == what->rule &&
		    slice_eq_str(what->use_case, a->use_case) && slice_eq_str(what->key, a->key))
			return a;
	}
	return NULL;
}

/* A free one; else the oldest that is over, though it is not recorded yet. */
static struct alert *take_room(struct alert_rules *r)
{
	struct alert *oldest = NULL;

	for (size_t i = 0; i < ALERTS_MAX; i++) {
		struct alert *a = &r->alert[i];

		if (a->state == ALERT_FREE)
			return a;
		if (a->state == ALERT_RESOLVED && (!oldest || a->resolved_us < oldest->resolved_us))
			oldest = a;
	}
	r->n_dropped++;
	return oldest;
}

static void set_name(char to[ALERT_NAME_SIZE], struct slice from)
{
	from = utf8_truncate(from, ALERT_NAME_SIZE - 1);
	(void)snprintf(to, ALERT_NAME_SIZE, SLICE_FMT, SLICE_ARG(from)); /* cut above */
}

/* About what all daemons share: the leader tells of it. */
static bool is_shared(enum alert_rule rule)
{
	return rule == ALERT_DEPLOYMENT_FAILED || rule == ALERT_BUDGET_NEARLY_SPENT || rule == ALERT_BUDGET_SPENT;
}

struct alert *alert_note(struct alert_rules *r, const struct alert_what *what, const struct alert_figures *f,
			 const struct alert_time *since)
{
	struct alert *a = alert_find(r, what);

	(void)f;
	if (!a) {
		a = take_room(r);
		if (!a)
			return NULL;
		*a = (struct alert){.state = ALERT_PENDING,
				    .rule = what->rule,
				    .shared = is_shared(what->rule),
				    .since_ms = since->mono_ms,
				    .since_us = since->wall_us,
				    .details = "{}"};
		set_name(a->use_case, what->use_case);
		set_name(a->key, what->key);
		alert_fingerprint(&r->settings, a, a->fingerprint);
	}
	a->holds = true;
	return a;
}

void alert_say(struct alert *a, const char *fmt, ...)
{
	struct slice cut;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(a->summary, sizeof(a->summary), fmt, ap);
	va_end(ap);
	cut = utf8_truncate(slice_from(a->summary), n > 0 ? ALERT_SUMMARY_SIZE - 1 : 0);
	a->summary[cut.n] = 0;
	for (char *p = a->summary; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
}

void alert_details_begin(struct json_writer *w, struct buf *b)
{
	buf_init(b, ALERT_DETAILS_SIZE - 1);
	jw_init(w, b);
	jw_object(w);
}

void alert_details_end(struct json_writer *w, struct buf *b, struct alert *a)
{
	jw_object_end(w);
	if (!buf_failed(b)) {
		memcpy(a->details, b->p, b->n);
		a->details[b->n] = 0;
	}
	buf_release(b);
}

/* --- the rules --- */

static void judge_registry(struct alert_rules *r, const struct alert_figures *f)
{
	const struct alert_what what = {
		.rule = ALERT_REGISTRY_UNAVAILABLE, .use_case = SLICE_LIT(""), .key = SLICE_LIT("")};
	int64_t away_ms = f->now.mono_ms - f->database_ok_ms;
	const struct alert_time since = {f->database_ok_ms, f->now.wall_us - away_ms * 1000};
	struct json_writer w;
	struct alert *a;
	struct buf b;

	if (!f->database_away)
		return;
	a = alert_note(r, &what, f, &since);
	if (!a)
		return;
	alert_say(a, "The model registry is unavailable: the database has not answered for %lld s",
		  (long long)(away_ms / 1000));
	alert_details_begin(&w, &b);
	jw_ki64(&w, "away_s", away_ms / 1000);
	jw_kstr(&w, "problem", utf8_truncate(f->database_problem, 300));
	alert_details_end(&w, &b, a);
}

/* The oldest step is the last one at or before the begin of the window. */
static const struct alert_log_step *log_window(struct alert_rules *r, const struct alert_figures *f)
{
	int64_t window = r->settings.logging.window_ms, now = f->now.mono_ms;

	if (!r->log.n)
		r->log.step[r->log.n++] = (struct alert_log_step){.at_ms = now}; /* counters begin at 0 with us */
	while (r->log.n > 1 && r->log.step[1].at_ms <= now - window) {
		r->log.n--;
		memmove(&r->log.step[0], &r->log.step[1], r->log.n * sizeof(r->log.step[0]));
	}
	if (r->log.n < ALERT_LOG_STEPS && now - r->log.step[r->log.n - 1].at_ms >= window / (ALERT_LOG_STEPS - 2) &&
	    now > r->log.step[r->log.n - 1].at_ms)
		r->log.step[r->log.n++] = (struct alert_log_step){now, f->log_records, f->log_failed};
	return &r->log.step[0];
}

static void duration_text(int64_t ms, char *ret, size_t size)
{
	if (ms % 3600000 == 0)
		(void)snprintf(ret, size, "%lldh", (long long)(ms / 3600000)); /* a number and a unit fit */
	else if (ms % 60000 == 0)
		(void)snprintf(ret, size, "%lldm", (long long)(ms / 60000));
	else
		(void)snprintf(ret, size, "%.3gs", (double)ms / 1e3);
}

static void judge_logging(struct alert_rules *r, const struct alert_figures *f)
{
	const struct alert_what what = {
		.rule = ALERT_LOGGING_FAILURES, .use_case = SLICE_LIT(""), .key = SLICE_LIT("")};
	const struct alert_log_step *from = log_window(r, f);
	uint64_t records = f->log_records - from->records, failed = f->log_failed - from->failed;
	const struct alert *before = alert_find(r, &what);
	double percent = records ? 100.0 * (double)failed / (double)records : 0, limit;
	char window[32];
	struct json_writer w;
	struct alert *a;
	struct buf b;

	limit = (double)r->settings.logging.percent * (before && before->state == ALERT_FIRING ? BACK : 1);
	if (records < (uint64_t)r->settings.logging.min_count || percent <= limit)
		return;
	a = alert_note(r, &what, f, &f->now);
	if (!a)
		return;
	duration_text(r->settings.logging.window_ms, window, sizeof(window));
	alert_say(a, "Historical logging fails: %.1f %% of the log records of the last %s were lost or refused",
		  percent, window);
	alert_details_begin(&w, &b);
	jw_ki64(&w, "records", (int64_t)records);
	jw_ki64(&w, "failed", (int64_t)failed);
	jw_kdouble(&w, "percent", percent);
	jw_ki64(&w, "limit_percent", r->settings.logging.percent);
	alert_details_end(&w, &b, a);
}

static struct alert_hits_past *hits_past(struct alert_rules *r, const struct alert_hits *h)
{
	for (size_t i = 0; i < r->n_hits; i++)
		if (slice_eq_str(h->use_case, r->hits[i].use_case) && slice_eq_str(h->rule, r->hits[i].rule))
			return &r->hits[i];
	if (r->n_hits == ALERT_HITS_MAX)
		return NULL;
	r->hits[r->n_hits] = (struct alert_hits_past){.n = 0};
	set_name(r->hits[r->n_hits].use_case, h->use_case);
	set_name(r->hits[r->n_hits].rule, h->rule);
	return &r->hits[r->n_hits++];
}

static void judge_hits(struct alert_rules *r, const struct alert_figures *f, const struct alert_hits *h)
{
	struct alert_hits_past *p = hits_past(r, h);
	struct alert_what what = {.rule = ALERT_CRITICAL_VIOLATION};
	const struct alert_time *since = &f->now;
	struct json_writer w;
	struct alert *a;
	struct buf b;

	if (!p)
		return;
	what.use_case = slice_from(p->use_case);
	what.key = slice_from(p->rule);
	if (h->n > p->n) {
		if (!p->last_ms && !alert_find(r, &what))
			p->first_n = p->n;
		p->last_ms = f->now.mono_ms;
		p->n = h->n;
	}
	if (p->last_ms && f->now.mono_ms - p->last_ms > r->settings.violation.window_ms)
		p->last_ms = 0;
	if (!p->last_ms || !(a = alert_note(r, &what, f, since)))
		return;
	alert_say(a, "Critical guardrail violation in %s: rule %s was hit %llu time%s",
		  *p->use_case ? p->use_case : "other use cases", p->rule, (unsigned long long)(p->n - p->first_n),
		  p->n - p->first_n == 1 ? "" : "s");
	alert_details_begin(&w, &b);
	jw_kcstr(&w, "rule", p->rule);
	jw_ki64(&w, "hits", (int64_t)(p->n - p->first_n));
	alert_details_end(&w, &b, a);
}

static void judge_violations(struct alert_rules *r, const struct alert_figures *f)
{
	for (size_t i = 0; i < f->n_hits; i++)
		judge_hits(r, f, &f->hits[i]);
}

static void judge_deployments(struct alert_rules *r, const struct alert_figures *f)
{
	for (size_t i = 0; f->leads && i < f->n_deployments; i++) {
		const struct alert_deployment *d = &f->deployments[i];
		char id[UUID_STR_SIZE];
		const struct alert_what what = {ALERT_DEPLOYMENT_FAILED, slice_from(d->use_case),
						slice_from(uuid_format(&d->id, id))};
		const struct alert_time since = {f->now.mono_ms - (f->now.wall_us - d->ended_us) / 1000, d->ended_us};
		struct json_writer w;
		struct alert *a;
		struct buf b;

		if (f->now.wall_us - d->ended_us > r->settings.deployment.window_ms * 1000 ||
		    !(a = alert_note(r, &what, f, &since)))
			continue;
		alert_say(a, "The deployment of %s was %s%s%s", d->use_case, d->how,
			  !strncmp(d->reason, "by ", 3) ? " "
			  : *d->reason			? ": "
							: "",
			  d->reason);
		alert_details_begin(&w, &b);
		jw_kcstr(&w, "deployment_id", id);
		jw_kcstr(&w, "how", d->how);
		jw_kcstr(&w, "reason", d->reason);
		alert_details_end(&w, &b, a);
	}
}

/* --- states: nothing else moves one --- */

static void move(struct alert_rules *r, struct alert *a, enum alert_state to)
{
	a->state = to;
	a->version++;
	r->n_moves++;
}

static void settle_held(struct alert_rules *r, struct alert *a, const struct alert_time *now)
{
	a->over_since_ms = 0;
	if (a->state != ALERT_PENDING || now->mono_ms - a->since_ms < r->settings.rule[a->rule].for_ms)
		return;
	a->id = uuid_v7(&r->ids, now->wall_us);
	a->fired_us = now->wall_us;
	move(r, a, ALERT_FIRING);
}

static void settle_over(struct alert_rules *r, struct alert *a, const struct alert_time *now)
{
	if (a->state == ALERT_PENDING) {
		a->state = ALERT_FREE; /* nobody heard of it */
		return;
	}
	if (!a->over_since_ms)
		a->over_since_ms = now->mono_ms;
	if (now->mono_ms - a->over_since_ms < r->settings.resolve_after_ms)
		return;
	a->resolved_us = now->wall_us;
	move(r, a, ALERT_RESOLVED);
}

static void settle(struct alert_rules *r, const struct alert_time *now)
{
	for (size_t i = 0; i < ALERTS_MAX; i++) {
		struct alert *a = &r->alert[i];

		if (a->state != ALERT_PENDING && a->state != ALERT_FIRING)
			continue;
		a->severity = r->settings.rule[a->rule].severity;
		if (a->holds)
			settle_held(r, a, now);
		else
			settle_over(r, a, now);
	}
}

void alert_rules_tick(struct alert_rules *r, const struct alert_figures *f)
{
	static void (*const judges[ALERT_N_RULES])(struct alert_rules *, const struct alert_figures *) = {
		judge_registry,
		judge_logging,
		judge_violations,
		judge_deployments,
		alert_judge_performance,
		alert_judge_budgets_nearly_spent,
		alert_judge_budgets_spent,
	};

	for (size_t i = 0; i < ALERTS_MAX; i++)
		r->alert[i].holds = false;
	for (int i = 0; i < ALERT_N_RULES; i++)
		if (r->settings.rule[i].enabled)
			judges[i](r, f);
	settle(r, &f->now);
}

/* --- as a whole --- */

static void *must_calloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		abort();
	return p;
}

void alert_rules_init(struct alert_rules *r, const struct alert_settings *s)
{
	*r = (struct alert_rules){.settings = *s};
	r->alert = must_calloc(ALERTS_MAX, sizeof(*r->alert));
	r->hits = must_calloc(ALERT_HITS_MAX, sizeof(*r->hits));
	uuid_gen_init(&r->ids);
}

void alert_rules_release(struct alert_rules *r)
{
	alert_performance_forget(r);
	free(r->alert);
	free(r->hits);
	*r = (struct alert_rules){.n_hits = 0};
}

void alert_rules_configure(struct alert_rules *r, const struct alert_settings *s)
{
	bool same_windows = s->performance.window_ms == r->settings.performance.window_ms &&
			    s->performance.baseline_ms == r->settings.performance.baseline_ms;

	r->settings = *s;
	if (!same_windows)
		alert_performance_forget(r);
}

bool alert_rules_adopt(struct alert_rules *r, const struct alert *src, int64_t now_ms, struct alert **ret)
{
	const struct alert_what what = {src->rule, slice_from(src->use_case), slice_from(src->key)};
	struct alert *a = alert_find(r, &what);

	if (a && a->state == ALERT_FIRING) {
		a->id = src->id;
		a->since_us = src->since_us;
		a->fired_us = src->fired_us;
		a->version++;
		*ret = a;
		return false;
	}
	if (!a)
		a = take_room(r);
	if (!a)
		return false;
	*a = *src;
	a->state = ALERT_FIRING;
	a->since_ms = now_ms;
	a->over_since_ms = 0;
	a->version = 1;
	r->n_moves++;
	*ret = a;
	return true;
}

void alert_rules_forget_shared(struct alert_rules *r)
{
	for (size_t i = 0; i < ALERTS_MAX; i++)
		if (r->alert[i].shared)
			r->alert[i].state = ALERT_FREE;
}
