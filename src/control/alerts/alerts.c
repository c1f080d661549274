/* SPDX-License-Identifier: Apache-2.0 */
/* Alerts as a whole: options, the tick, silences, tests, and what is told of them. */
#include "control/alerts/alerts.h"

#include <stdio.h>
#include <stdlib.h>

#include "control/alerts/alerts_internal.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/http/url.h"

#define SYNC_EVERY_MS 2000
#define SYNC_RETRY_MS 5000

struct alert_time alert_now(void)
{
	return (struct alert_time){clock_mono_ms(), clock_wall_us()};
}

static void *must_calloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		abort();
	return p;
}

/* --- receivers --- */

static void forget_secret(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

static void release_receiver(struct receiver *r)
{
	forget_secret(&r->url);
	forget_secret(&r->authorization);
	forget_secret(&r->signing_key);
}

/* An Alertmanager is named by where it is; its path is known. */
static char *url_of(const struct alert_receiver *o)
{
	struct slice url = slice_from(o->url);
	ptrdiff_t host = slice_find(url, SLICE_LIT("://")), path;
	char *full = NULL;

	if (o->format != ALERT_ALERTMANAGER || host < 0)
		return slice_dup(url);
	path = slice_chr(slice_sub(url, (size_t)host + 3, url.n), '/');
	if (path >= 0 && (size_t)(host + 3 + path) + 1 < url.n)
		return slice_dup(url);
	if (path >= 0)
		url.n--;
	if (asprintf(&full, SLICE_FMT "/api/v2/alerts", SLICE_ARG(url)) < 0)
		abort();
	return full;
}

static void make_receiver(const struct alert_receiver *o, struct receiver *ret)
{
	*ret = (struct receiver){
		.url = url_of(o),
		.authorization = slice_dup(slice_from(o->authorization)),
		.signing_key = slice_dup(slice_from(o->signing_key)),
		.status = {.format = o->format, .min_severity = o->min_severity},
	};
	(void)snprintf(ret->status.name, sizeof(ret->status.name), "%.64s", o->name); /* the configuration's limit */
}

static void set_options(struct alerts *a, const struct alerts_options *o)
{
	a->rules_json = (struct delivery_rules){o->repeat_ms, o->give_up_ms};
	a->rules_alertmanager = (struct delivery_rules){o->resend_ms, o->give_up_ms};
	a->timeout_ms = o->timeout_ms;
	a->resend_ms = o->resend_ms;
	free(a->ca_file);
	a->ca_file = slice_dup(slice_from(o->ca_file));
	a->n_receivers = min_size(o->n_receivers, ALERT_RECEIVERS_MAX);
	for (size_t i = 0; i < a->n_receivers; i++)
		make_receiver(&o->receivers[i], &a->receiver[i]);
}

int alerts_start(struct store *store, const struct alerts_options *o, struct alerts **ret, struct err *err)
{
	struct alerts *a = must_calloc(1, sizeof(*a));
	uint64_t seed;
	int rc = 0;

	a->store = store;
	a->slot = must_calloc(ALERTS_MAX, sizeof(*a->slot));
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->answered, NULL);
	rand_bytes(&seed, sizeof(seed));
	rng_seed(&a->rng, seed);
	alert_rules_init(&a->rules, &o->rules);
	set_options(a, o);
	if (a->n_receivers)
		rc = alerts_send_start(a, err);
	if (rc)
		alerts_free(a);
	else
		*ret = a;
	return rc;
}

void alerts_stop(struct alerts *a)
{
	pthread_mutex_lock(&a->lock);
	a->stopping = true;
	pthread_cond_broadcast(&a->answered);
	pthread_mutex_unlock(&a->lock);
	alerts_wake(a);
}

void alerts_free(struct alerts *a)
{
	if (!a)
		return;
	alerts_send_end(a);
	for (size_t i = 0; i < a->n_receivers; i++)
		release_receiver(&a->receiver[i]);
	alert_rules_release(&a->rules);
	free(a->slot);
	free(a->ca_file);
	pthread_cond_destroy(&a->answered);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static size_t find_receiver(const struct receiver *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i].status.name, name))
			return i;
	return n;
}

/* What was told to a receiver moves to its new place. */
static void move_deliveries(struct alerts *a, const struct receiver *old, size_t n_old)
{
	struct alert_delivery before[ALERT_RECEIVERS_MAX];

	for (size_t s = 0; s < ALERTS_MAX; s++) {
		if (a->rules.alert[s].state < ALERT_FIRING)
			continue;
		memcpy(before, a->slot[s].to, sizeof(before));
		memset(a->slot[s].to, 0, sizeof(a->slot[s].to));
		for (size_t i = 0; i < a->n_receivers; i++) {
			size_t from = find_receiver(old, n_old, a->receiver[i].status.name);

			if (from < n_old)
				a->slot[s].to[i] = before[from];
		}
	}
}

int alerts_configure(struct alerts *a, const struct alerts_options *o, struct err *err)
{
	struct receiver old[ALERT_RECEIVERS_MAX];
	size_t n_old;
	int rc = o->n_receivers && !a->has_thread ? alerts_send_start(a, err) : 0;

	if (rc)
		return rc;
	pthread_mutex_lock(&a->lock);
	n_old = a->n_receivers;
	memcpy(old, a->receiver, sizeof(old));
	set_options(a, o);
	for (size_t i = 0; i < a->n_receivers; i++) {
		size_t from = find_receiver(old, n_old, a->receiver[i].status.name);
		struct alert_receiver_status *s = &a->receiver[i].status;

		if (from == n_old)
			continue;
		a->receiver[i].busy = old[from].busy;
		s->n_delivered = old[from].status.n_delivered;
		s->n_failed = old[from].status.n_failed;
		s->n_gave_up = old[from].status.n_gave_up;
	}
	move_deliveries(a, old, n_old);
	alert_rules_configure(&a->rules, &o->rules);
	pthread_mutex_unlock(&a->lock);
	for (size_t i = 0; i < n_old; i++)
		release_receiver(&old[i]);
	alerts_wake(a);
	return 0;
}

const struct delivery_rules *alerts_rules_of(const struct alerts *a, const struct receiver *r)
{
	return r->status.format == ALERT_ALERTMANAGER ? &a->rules_alertmanager : &a->rules_json;
}

bool alerts_is_for(const struct alert *alert, const struct receiver *r)
{
	return alert->severity >= r->status.min_severity;
}

/* --- the tick --- */

static bool same(const struct uuid *a, const struct uuid *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

static bool said_all(const struct alerts *a, const struct alert *alert, struct alert_slot *s, int64_t now_us)
{
	bool silenced = alerts_silenced_locked(a, alert_rule_name(alert->rule), alert->use_case, now_us);
	enum alert_message message;
	int64_t at_ms;

	for (size_t i = 0; i < a->n_receivers; i++)
		if (alerts_is_for(alert, &a->receiver[i]) &&
		    delivery_next(&s->to[i], alerts_rules_of(a, &a->receiver[i]), alert, silenced, &message, &at_ms))
			return false;
	return true;
}

/* Slots follow their alerts; what is over, told and recorded makes room. */
static void follow(struct alerts *a, const struct alert_time *now)
{
	for (size_t i = 0; i < ALERTS_MAX; i++) {
		struct alert *alert = &a->rules.alert[i];
		struct alert_slot *s = &a->slot[i];

		if (alert->state < ALERT_FIRING)
			continue;
		if (!same(&s->id, &alert->id))
			*s = (struct alert_slot){.id = alert->id, .state = alert->state, .fresh = !alert->shared};
		if (s->state != alert->state)
			for (size_t k = 0; k < a->n_receivers; k++)
				delivery_turn(&s->to[k]);
		s->state = alert->state;
		s->version = alert->version + s->changes;
		a->dirty |= s->version != s->recorded;
		if (alert->state == ALERT_RESOLVED && s->recorded == s->version && said_all(a, alert, s, now->wall_us))
			alert->state = ALERT_FREE;
	}
}

void alerts_tick(struct alerts *a, struct alert_figures *f)
{
	uint64_t n_moves;

	pthread_mutex_lock(&a->lock);
	n_moves = a->rules.n_moves;
	if (!f->leads && a->leads) {
		alert_rules_forget_shared(&a->rules);
		a->n_deployments = 0;
		a->leads = false;
	}
	f->leads = f->leads && a->leads; /* the job has read what the leader before has left */
	f->deployments = a->deployment;
	f->n_deployments = a->n_deployments;
	alert_rules_tick(&a->rules, f);
	follow(a, &f->now);
	n_moves = a->rules.n_moves - n_moves;
	pthread_mutex_unlock(&a->lock);
	if (n_moves)
		alerts_wake(a);
}

bool alerts_wants_sync(struct alerts *a, int64_t now_ms)
{
	bool wants;

	pthread_mutex_lock(&a->lock);
	wants = a->failed_ms ? now_ms - a->failed_ms >= SYNC_RETRY_MS
			     : a->dirty || !a->synced_ms || now_ms - a->synced_ms >= SYNC_EVERY_MS;
	pthread_mutex_unlock(&a->lock);
	return wants;
}

/* --- silences --- */

static bool covers(const struct alert_silence *s, struct slice rule, struct slice use_case, int64_t now_us)
{
	return s->until_us > now_us && (!*s->rule || slice_eq_str(rule, s->rule)) &&
	       (!*s->use_case || slice_eq_str(use_case, s->use_case));
}

static bool is_silenced(const struct alerts *a, struct slice rule, struct slice use_case, int64_t now_us)
{
	for (size_t i = 0; i < a->n_silences; i++)
		if (covers(&a->silence[i], rule, use_case, now_us))
			return true;
	return false;
}

bool alerts_silenced_locked(const struct alerts *a, const char *rule, const char *use_case, int64_t now_us)
{
	return is_silenced(a, slice_from(rule), slice_from(use_case), now_us);
}

bool alerts_is_silenced(struct alerts *a, struct slice rule, struct slice use_case, int64_t now_us)
{
	bool silenced;

	pthread_mutex_lock(&a->lock);
	silenced = is_silenced(a, rule, use_case, now_us);
	pthread_mutex_unlock(&a->lock);
	return silenced;
}

void alerts_take_silences(struct alerts *a, const struct silence_row *list, size_t n)
{
	pthread_mutex_lock(&a->lock);
	a->n_silences = min_size(n, ALERT_SILENCES_MAX);
	for (size_t i = 0; i < a->n_silences; i++) {
		struct alert_silence *s = &a->silence[i];

		*s = (struct alert_silence){.id = list[i].id, .until_us = list[i].until_us};
		(void)snprintf(s->rule, sizeof(s->rule), SLICE_FMT, SLICE_ARG(list[i].rule)); /* checked when made */
		(void)snprintf(s->use_case, sizeof(s->use_case), SLICE_FMT, SLICE_ARG(list[i].use_case));
	}
	pthread_mutex_unlock(&a->lock);
	alerts_wake(a);
}

/* --- what is told of them --- */

void alerts_status(struct alerts *a, struct alerts_status *ret)
{
	int64_t now_us = clock_wall_us();

	memset(ret, 0, sizeof(*ret));
	pthread_mutex_lock(&a->lock);
	ret->n_receivers = a->n_receivers;
	for (size_t i = 0; i < a->n_receivers; i++)
		ret->receiver[i] = a->receiver[i].status;
	for (size_t i = 0; i < ALERTS_MAX; i++) {
		const struct alert *alert = &a->rules.alert[i];

		if (alert->state != ALERT_FIRING)
			continue;
		ret->n_firing[alert->rule]++;
		ret->n_silenced += alerts_silenced_locked(a, alert_rule_name(alert->rule), alert->use_case, now_us);
	}
	ret->n_dropped = a->rules.n_dropped;
	(void)snprintf(ret->problem, sizeof(ret->problem), "%s", a->problem); /* of one size */
	pthread_mutex_unlock(&a->lock);
}

/* --- tests --- */

static int begin_test(struct alerts *a, struct slice receiver, struct err *err)
{
	size_t n = 0;

	if (a->stopping)
		return err_set(err, E_CLOSED, "the daemon is stopping");
	for (size_t i = 0; i < a->n_receivers; i++)
		n += !receiver.n || slice_eq_str(receiver, a->receiver[i].status.name);
	if (!n && receiver.n)
		return err_set(err, E_NOTFOUND, "there is no receiver '" SLICE_FMT "' in alerts.receivers",
			       SLICE_ARG(utf8_truncate(receiver, 80)));
	if (!n)
		return err_set(err, E_NOTFOUND, "there is no receiver: set alerts.receivers in muster.yaml");
	if (a->test.state != TEST_NONE)
		return err_set(err, E_BUSY, "another test is under way: try again when it has ended");
	a->test = (struct alert_test){.state = TEST_ASKED};
	(void)snprintf(a->test.receiver, sizeof(a->test.receiver), SLICE_FMT, SLICE_ARG(receiver)); /* found above */
	return 0;
}

int alerts_test(struct alerts *a, struct slice receiver, struct alert_test_result ret[ALERT_RECEIVERS_MAX],
		size_t *ret_n, struct err *err)
{
	int rc;

	pthread_mutex_lock(&a->lock);
	rc = begin_test(a, receiver, err);
	if (!rc) {
		alerts_wake(a);
		while (a->test.state != TEST_ANSWERED && !a->stopping)
			pthread_cond_wait(&a->answered, &a->lock); /* every transfer has its time */
		if (a->test.state != TEST_ANSWERED)
			rc = err_set(err, E_CLOSED, "the daemon is stopping");
		*ret_n = a->test.n;
		memcpy(ret, a->test.result, a->test.n * sizeof(*ret));
		a->test.state = TEST_NONE;
	}
	pthread_mutex_unlock(&a->lock);
	return rc;
}
