/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of deployments, and reading their plans. */
#include "domain/deployment.h"

#include <stdio.h>

#include "core/base/clock.h"
#include "core/json/writer.h"

#define MINUTE_MS INT64_C(60000)
#define HOLD_DEFAULT_MS (5 * MINUTE_MS)
#define WAIT_DEFAULT_MS (60 * MINUTE_MS)
#define DAY_MS (1440 * MINUTE_MS)
#define PAUSE_DEFAULT_MS DAY_MS
#define TIME_MAX_MS (30 * DAY_MS)
#define SAMPLES_MAX INT64_C(1000000000)

static const char *const strategy_names[DEPLOY_N_STRATEGIES] = {
	[DEPLOY_ALL_AT_ONCE] = "all_at_once", [DEPLOY_BLUE_GREEN] = "blue_green", [DEPLOY_CANARY] = "canary"};
static const char *const state_names[DEPLOY_N_STATES] = {[DEPLOY_DRAFT] = "draft",
							 [DEPLOY_PROGRESSING] = "progressing",
							 [DEPLOY_WAITING] = "waiting",
							 [DEPLOY_PAUSED] = "paused",
							 [DEPLOY_SUCCEEDED] = "succeeded",
							 [DEPLOY_ABORTED] = "aborted",
							 [DEPLOY_ROLLED_BACK] = "rolled_back"};
static const char *const event_names[DEPLOY_N_EVENTS] = {
	[DEPLOY_START] = "started",    [DEPLOY_ADVANCE] = "advanced", [DEPLOY_COMPLETE] = "completed",
	[DEPLOY_STARVE] = "waited",    [DEPLOY_PAUSE] = "paused",     [DEPLOY_RESUME] = "resumed",
	[DEPLOY_PROMOTE] = "promoted", [DEPLOY_ABORT] = "aborted",    [DEPLOY_ROLLBACK] = "rolled_back",
	[DEPLOY_TIMEOUT] = "timed_out"};

const char *deploy_strategy_name(enum deploy_strategy s)
{
	return strategy_names[s];
}

int deploy_strategy_parse(struct slice s, enum deploy_strategy *ret, struct err *err)
{
	for (size_t i = 0; i < DEPLOY_N_STRATEGIES; i++) {
		if (slice_eq_str(s, strategy_names[i])) {
			*ret = (enum deploy_strategy)i;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "there is no strategy '" SLICE_FMT "': say all_at_once, blue_green or canary",
		       SLICE_ARG(slice_sub(s, 0, 64)));
}

const char *deploy_state_name(enum deploy_state s)
{
	return state_names[s];
}

int deploy_state_parse(struct slice s, enum deploy_state *ret)
{
	for (size_t i = 0; i < DEPLOY_N_STATES; i++) {
		if (slice_eq_str(s, state_names[i])) {
			*ret = (enum deploy_state)i;
			return 0;
		}
	}
	return E_INVALID;
}

const char *deploy_event_name(enum deploy_event e)
{
	return event_names[e];
}

bool deploy_state_is_end(enum deploy_state s)
{
	return s == DEPLOY_SUCCEEDED || s == DEPLOY_ABORTED || s == DEPLOY_ROLLED_BACK;
}

/* --- the machine --- */

static bool has_next_step(const struct deployment *d)
{
	return d->step + 1 < d->plan.n_steps;
}

static bool is_at_last_step(const struct deployment *d)
{
	return !has_next_step(d);
}

static const struct transition {
	enum deploy_state from;
	enum deploy_event on;
	enum deploy_state to;
	bool (*guard)(const struct deployment *d); /* may refuse */
} transitions[] = {
	{DEPLOY_DRAFT, DEPLOY_START, DEPLOY_PROGRESSING, NULL},

	{DEPLOY_PROGRESSING, DEPLOY_ADVANCE, DEPLOY_PROGRESSING, has_next_step},
	{DEPLOY_PROGRESSING, DEPLOY_COMPLETE, DEPLOY_SUCCEEDED, is_at_last_step},
	{DEPLOY_PROGRESSING, DEPLOY_STARVE, DEPLOY_WAITING, NULL},
	{DEPLOY_PROGRESSING, DEPLOY_PAUSE, DEPLOY_PAUSED, NULL},
	{DEPLOY_PROGRESSING, DEPLOY_PROMOTE, DEPLOY_SUCCEEDED, NULL},
	{DEPLOY_PROGRESSING, DEPLOY_ABORT, DEPLOY_ABORTED, NULL},
	{DEPLOY_PROGRESSING, DEPLOY_ROLLBACK, DEPLOY_ROLLED_BACK, NULL},

	{DEPLOY_WAITING, DEPLOY_ADVANCE, DEPLOY_PROGRESSING, has_next_step},
	{DEPLOY_WAITING, DEPLOY_COMPLETE, DEPLOY_SUCCEEDED, is_at_last_step},
	{DEPLOY_WAITING, DEPLOY_TIMEOUT, DEPLOY_PAUSED, NULL},
	{DEPLOY_WAITING, DEPLOY_PAUSE, DEPLOY_PAUSED, NULL},
	{DEPLOY_WAITING, DEPLOY_PROMOTE, DEPLOY_SUCCEEDED, NULL},
	{DEPLOY_WAITING, DEPLOY_ABORT, DEPLOY_ABORTED, NULL},
	{DEPLOY_WAITING, DEPLOY_ROLLBACK, DEPLOY_ROLLED_BACK, NULL},

	{DEPLOY_PAUSED, DEPLOY_RESUME, DEPLOY_PROGRESSING, NULL},
	{DEPLOY_PAUSED, DEPLOY_TIMEOUT, DEPLOY_ABORTED, NULL},
	{DEPLOY_PAUSED, DEPLOY_PROMOTE, DEPLOY_SUCCEEDED, NULL},
	{DEPLOY_PAUSED, DEPLOY_ABORT, DEPLOY_ABORTED, NULL},
	{DEPLOY_PAUSED, DEPLOY_ROLLBACK, DEPLOY_ROLLED_BACK, NULL},
};

static const struct transition *find(const struct deployment *d, enum deploy_event event)
{
	for (size_t i = 0; i < COUNT_OF(transitions); i++) {
		const struct transition *t = &transitions[i];

		if (t->from == d->state && t->on == event && (!t->guard || t->guard(d)))
			return t;
	}
	return NULL;
}

bool deployment_can(const struct deployment *d, enum deploy_event event)
{
	return find(d, event) != NULL;
}

/* What a person can do in each state. */
static const char *choices(enum deploy_state s)
{
	switch (s) {
	case DEPLOY_PROGRESSING:
	case DEPLOY_WAITING:
		return "pause, promote or abort it";
	case DEPLOY_PAUSED:
		return "resume, promote or abort it";
	case DEPLOY_DRAFT:
		return "start it";
	case DEPLOY_SUCCEEDED:
		return "muster rollback takes it back";
	case DEPLOY_ABORTED:
	case DEPLOY_ROLLED_BACK:
	case DEPLOY_N_STATES:
		break;
	}
	return "start another";
}

static int refuse(const struct deployment *d, enum deploy_event event, struct err *err)
{
	char id[UUID_STR_SIZE];

	return err_set(err, E_CONFLICT, "deployment %s of " SLICE_FMT " is %s and cannot be %s: %s",
		       uuid_format(&d->id, id), SLICE_ARG(slice_sub(d->use_case, 0, 64)), state_names[d->state],
		       event_names[event], choices(d->state));
}

static void enter_step(struct deployment *d, unsigned step, int64_t now_us)
{
	d->step = step;
	d->share = d->plan.steps[step];
	d->holds_until_us = now_us + d->plan.hold_ms * 1000;
}

int deployment_move(struct deployment *d, enum deploy_event event, int64_t now_us, struct err *err)
{
	const struct transition *t = find(d, event);

	if (!t)
		return refuse(d, event, err);
	d->state = t->to;
	d->since_us = d->updated_us = now_us;
	d->holds_until_us = 0;
	d->epoch++;
	if (t->to == DEPLOY_PROGRESSING)
		enter_step(d, event == DEPLOY_ADVANCE ? d->step + 1 : d->step, now_us);
	if (deploy_state_is_end(t->to)) {
		d->finished_us = now_us;
		d->share = t->to == DEPLOY_SUCCEEDED ? 100 : 0;
	}
	return 0;
}

int64_t deployment_deadline_us(const struct deployment *d)
{
	switch (d->state) {
	case DEPLOY_PROGRESSING:
		return d->holds_until_us;
	case DEPLOY_WAITING:
		return d->since_us + d->plan.max_wait_ms * 1000;
	case DEPLOY_PAUSED:
		return d->since_us + d->plan.max_pause_ms * 1000;
	case DEPLOY_DRAFT:
	case DEPLOY_SUCCEEDED:
	case DEPLOY_ABORTED:
	case DEPLOY_ROLLED_BACK:
	case DEPLOY_N_STATES:
		break;
	}
	return 0;
}

char *deployment_next(const struct deployment *d, char buf[DEPLOY_NEXT_SIZE])
{
	const char *text = "it has ended";

	buf[0] = 0;
	if (d->state == DEPLOY_PROGRESSING && has_next_step(d)) {
		(void)snprintf(buf, DEPLOY_NEXT_SIZE, "goes to %u %% when it passes", d->plan.steps[d->step + 1]);
		return buf;
	}
	if (d->state == DEPLOY_PROGRESSING)
		text = "becomes current when it passes";
	else if (d->state == DEPLOY_WAITING)
		text = "goes on when enough was seen, else pauses";
	else if (d->state == DEPLOY_PAUSED)
		text = "is aborted, unless somebody decides";
	(void)snprintf(buf, DEPLOY_NEXT_SIZE, "%s", text); /* all fit */
	return buf;
}

/* --- plans --- */

static void set_defaults(enum deploy_strategy strategy, struct deploy_plan *p)
{
	static const unsigned canary[] = {10, 25, 50, 75, 100};

	*p = (struct deploy_plan){
		.steps = {100},
		.n_steps = 1,
		.hold_ms = strategy == DEPLOY_ALL_AT_ONCE ? 0 : HOLD_DEFAULT_MS,
		.max_wait_ms = WAIT_DEFAULT_MS,
		.max_pause_ms = PAUSE_DEFAULT_MS,
		.thresholds = {.error_rate = 0.05,
			       .latency_p95_ms = -1,
			       .latency_p95_ratio = -1,
			       .violation_rate = 0.01,
			       .min_samples = 50},
	};
	if (strategy != DEPLOY_CANARY)
		return;
	memcpy(p->steps, canary, sizeof(canary));
	p->n_steps = COUNT_OF(canary);
}

static int read_steps(enum deploy_strategy strategy, const struct json *root, struct deploy_plan *p, struct err *err)
{
	const struct json *list = json_get(root, "steps");

	if (!list || list->type == JSON_NULL)
		return 0;
	if (list->type != JSON_ARRAY || list->n_items < 1 || list->n_items > DEPLOY_MAX_STEPS)
		return err_set(err, E_INVALID, "steps is a list of 1 to %d percentages", DEPLOY_MAX_STEPS);
	p->n_steps = 0;
	for (const struct json *v = list->first; v; v = v->next) {
		unsigned before = p->n_steps ? p->steps[p->n_steps - 1] : 0;

		if (v->type != JSON_NUMBER || !v->is_integer || v->integer <= before || v->integer > 100)
			return err_set(err, E_INVALID,
				       "steps are whole percentages from 1 to 100, each above the one before");
		p->steps[p->n_steps++] = (unsigned)v->integer;
	}
	if (p->steps[p->n_steps - 1] != 100)
		return err_set(err, E_INVALID, "the last of the steps has to be 100");
	if (strategy != DEPLOY_CANARY && p->n_steps > 1)
		return err_set(err, E_INVALID, "only the strategy canary has steps");
	return 0;
}

static int read_duration(const struct json *root, const char *name, int64_t *ret_ms, struct err *err)
{
	const struct json *v = json_get(root, name);
	int64_t ms = -1;

	if (!v || v->type == JSON_NULL)
		return 0;
	if (v->type == JSON_NUMBER && v->is_integer)
		ms = v->integer;
	else if (v->type == JSON_STRING && clock_parse_duration_ms(v->str, &ms))
		ms = -1;
	if (ms < 0 || ms > TIME_MAX_MS)
		return err_set(err, E_INVALID, "%s is a duration of at most 30d: 250ms, 10s, 5m, 2h, or milliseconds",
			       name);
	*ret_ms = ms;
	return 0;
}

static int read_threshold(const struct json *root, const char *name, double max, double *ret, struct err *err)
{
	const struct json *v = json_get(root, name);

	if (!v)
		return 0;
	if (v->type == JSON_NULL) {
		*ret = -1;
		return 0;
	}
	if (v->type != JSON_NUMBER || v->number < 0 || v->number > max)
		return err_set(err, E_INVALID, "thresholds.%s is a number from 0 to %g, or null: not judged", name,
			       max);
	*ret = v->number;
	return 0;
}

static int read_thresholds(const struct json *root, struct deploy_thresholds *t, struct err *err)
{
	static const char *const names[] = {"error_rate", "latency_p95_ms", "latency_p95_ratio", "violation_rate",
					    "min_samples"};
	const struct json *o = json_get(root, "thresholds");
	int rc;

	if (!o || o->type == JSON_NULL)
		return 0;
	if (o->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "thresholds has to be an object, not a %s", json_type_name(o->type));
	for (const struct json *m = o->first; m; m = m->next) {
		bool known = false;

		for (size_t i = 0; i < COUNT_OF(names); i++)
			known |= slice_eq_str(m->key, names[i]);
		if (!known) /* one that is misspelt would judge nothing */
			return err_set(err, E_INVALID,
				       "there is no threshold '" SLICE_FMT "': there are error_rate, latency_p95_ms, "
				       "latency_p95_ratio, violation_rate and min_samples",
				       SLICE_ARG(slice_sub(m->key, 0, 64)));
	}
	if ((rc = read_threshold(o, "error_rate", 1, &t->error_rate, err)) ||
	    (rc = read_threshold(o, "latency_p95_ms", 1e9, &t->latency_p95_ms, err)) ||
	    (rc = read_threshold(o, "latency_p95_ratio", 1e6, &t->latency_p95_ratio, err)) ||
	    (rc = read_threshold(o, "violation_rate", 1, &t->violation_rate, err)) ||
	    (rc = json_get_i64(o, "min_samples", &t->min_samples, err)))
		return rc;
	if (t->min_samples < 1 || t->min_samples > SAMPLES_MAX)
		return err_set(err, E_INVALID, "thresholds.min_samples is a number of requests, at least 1");
	return 0;
}

int deploy_plan_parse(enum deploy_strategy strategy, const struct json *root, struct deploy_plan *ret, struct err *err)
{
	struct deploy_plan p;
	int rc;

	set_defaults(strategy, &p);
	if ((rc = read_steps(strategy, root, &p, err)) || (rc = read_duration(root, "hold", &p.hold_ms, err)) ||
	    (rc = read_duration(root, "max_wait", &p.max_wait_ms, err)) ||
	    (rc = read_duration(root, "max_pause", &p.max_pause_ms, err)) ||
	    (rc = read_thresholds(root, &p.thresholds, err)))
		return rc;
	*ret = p;
	return 0;
}

static void write_threshold(struct json_writer *w, const char *name, double v)
{
	jw_key(w, name);
	if (v < 0)
		jw_null(w);
	else
		jw_double(w, v);
}

void deploy_plan_write(struct json_writer *w, const struct deploy_plan *p)
{
	jw_object(w);
	jw_key(w, "steps");
	jw_array(w);
	for (size_t i = 0; i < p->n_steps; i++)
		jw_i64(w, p->steps[i]);
	jw_array_end(w);
	jw_ki64(w, "hold", p->hold_ms);
	jw_ki64(w, "max_wait", p->max_wait_ms);
	jw_ki64(w, "max_pause", p->max_pause_ms);
	jw_key(w, "thresholds");
	jw_object(w);
	write_threshold(w, "error_rate", p->thresholds.error_rate);
	write_threshold(w, "latency_p95_ms", p->thresholds.latency_p95_ms);
	write_threshold(w, "latency_p95_ratio", p->thresholds.latency_p95_ratio);
	write_threshold(w, "violation_rate", p->thresholds.violation_rate);
	jw_ki64(w, "min_samples", p->thresholds.min_samples);
	jw_object_end(w);
	jw_object_end(w);
}
