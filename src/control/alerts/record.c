/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts and the database: what changed is written, what an earlier run or leader left is taken up, silences and ended
 * deployments are read.  Every statement stands alone, so that one that is refused keeps no other from being written;
 * what is not written is tried again.
 */
#include <stdio.h>

#include "control/alerts/alerts_internal.h"
#include "core/base/log.h"
#include "core/base/utf8.h"

#define ARENA_MAX ((size_t)16 << 20)
#define SEEN_EVERY_MS 60000
#define LOST_AFTER_US (INT64_C(10) * 60 * 1000000)
#define KEPT_US (INT64_C(90) * 24 * 3600 * 1000000)

static const struct log logger = {.module = "alerts"};

static void set_text(char *to, size_t size, struct slice from)
{
	from = utf8_truncate(from, size - 1);
	(void)snprintf(to, size, SLICE_FMT, SLICE_ARG(from)); /* cut above */
}

/* --- one alert as a row --- */

struct told {
	const char *state;
	int64_t at_us;
	const char *receiver, *error;
};

static void sum_up(const struct alerts *a, const struct alert *alert, const struct alert_slot *s, int64_t now_us,
		   struct told *ret)
{
	size_t n = 0, n_failed = 0, n_pending = 0;
	bool silenced = alerts_silenced_locked(a, alert_rule_name(alert->rule), alert->use_case, now_us);

	*ret = (struct told){.state = "none"};
	for (size_t i = 0; i < a->n_receivers; i++) {
		const struct alert_delivery *d = &s->to[i];

		if (!alerts_is_for(alert, &a->receiver[i]))
			continue;
		n++;
		n_failed += d->gave_up;
		n_pending += alert->state == ALERT_RESOLVED ? d->wanted && !d->over : !d->told;
		if (d->told_us > ret->at_us)
			ret->at_us = d->told_us;
		if (*d->error) {
			ret->receiver = a->receiver[i].status.name;
			ret->error = d->error;
		}
	}
	if (n)
		ret->state = n_failed		       ? "failed"
			     : silenced && !ret->at_us ? "silenced"
			     : n_pending	       ? "pending"
			     : ret->at_us	       ? "delivered"
						       : "none";
}

static struct slice copy(struct arena *arena, const char *s)
{
	struct slice c = arena_slice(arena, slice_from(s));

	return c.p ? c : SLICE_LIT("");
}

int alerts_row_locked(struct alerts *a, size_t i, struct arena *arena, struct alert_row *ret)
{
	const struct alert *alert = &a->rules.alert[i];
	const struct alert_time now = alert_now();
	struct told told;
	const char *error = "";

	sum_up(a, alert, &a->slot[i], now.wall_us, &told);
	if (told.error)
		error = arena_printf(arena, "%s: %s", told.receiver, told.error);
	*ret = (struct alert_row){
		.id = alert->id,
		.rule = slice_from(alert_rule_name(alert->rule)),
		.fingerprint = copy(arena, alert->fingerprint),
		.instance = copy(arena, alert->shared ? "" : a->rules.settings.instance),
		.use_case = copy(arena, alert->use_case),
		.key = copy(arena, alert->key),
		.severity = slice_from(alert_severity_name(alert->severity)),
		.state = slice_from(alert_state_name(alert->state)),
		.summary = copy(arena, alert->summary),
		.details = copy(arena, alert->details),
		.since_us = alert->since_us,
		.fired_us = alert->fired_us,
		.resolved_us = alert->resolved_us,
		.delivery = slice_from(told.state),
		.delivered_us = told.at_us,
		.delivery_error = slice_from(error ? error : ""),
		.seen_us = now.wall_us,
	};
	return 0;
}

/* --- writing --- */

struct written {
	size_t index;
	struct uuid id;
	uint64_t version;
};

/* Under the lock: the next from index on that the database does not have as it is. */
static bool next_dirty(struct alerts *a, size_t *index, struct arena *arena, struct alert_row *ret,
		       struct written *ret_w)
{
	const struct alert_time now = alert_now();

	for (; *index < ALERTS_MAX; (*index)++) {
		const struct alert *alert = &a->rules.alert[*index];
		struct alert_slot *s = &a->slot[*index];

		if (alert->state < ALERT_FIRING || memcmp(&s->id, &alert->id, sizeof(s->id)) != 0)
			continue;
		s->version = alert->version + s->changes;
		if (s->version == s->recorded &&
		    (alert->state == ALERT_RESOLVED || now.mono_ms - s->recorded_ms < SEEN_EVERY_MS))
			continue;
		*ret_w = (struct written){*index, alert->id, s->version};
		return !alerts_row_locked(a, (*index)++, arena, ret);
	}
	return false;
}

static void note_written(struct alerts *a, const struct written *w, bool kept)
{
	struct alert_slot *s = &a->slot[w->index];

	if (memcmp(&s->id, &w->id, sizeof(w->id)) != 0)
		return;
	s->recorded = w->version;
	s->recorded_ms = alert_now().mono_ms;
	s->fresh |= kept; /* else another daemon tells of it */
}

static int write_all(struct alerts *a, struct db *db, struct arena *arena, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < ALERTS_MAX;) {
		struct alert_row row;
		struct written w;
		bool kept = false, any;

		pthread_mutex_lock(&a->lock);
		any = next_dirty(a, &i, arena, &row, &w);
		pthread_mutex_unlock(&a->lock);
		if (!any)
			break;
		rc = store_alert_put(db, &row, &kept, err);
		if (rc == E_EXISTS) /* its fingerprint fires under another id again */
			rc = 0;
		if (rc)
			break;
		pthread_mutex_lock(&a->lock);
		note_written(a, &w, kept);
		pthread_mutex_unlock(&a->lock);
	}
	return rc;
}

/* --- taking up what was left --- */

static bool read_back(const struct alerts *a, const struct alert_row *row, struct alert *ret)
{
	*ret = (struct alert){
		.id = row->id, .shared = !row->instance.n, .since_us = row->since_us, .fired_us = row->fired_us};
	if (alert_rule_parse(row->rule, &ret->rule, NULL) || alert_severity_parse(row->severity, &ret->severity, NULL))
		return false; /* of a newer muster */
	set_text(ret->use_case, sizeof(ret->use_case), row->use_case);
	set_text(ret->key, sizeof(ret->key), row->key);
	set_text(ret->summary, sizeof(ret->summary), row->summary);
	set_text(ret->details, sizeof(ret->details), row->details);
	alert_fingerprint(&a->rules.settings, ret, ret->fingerprint);
	return true;
}

static void adopt_row(struct alerts *a, const struct alert_row *row)
{
	const struct alert_time now = alert_now();
	struct alert src, *alert = NULL;
	struct alert_slot *s;

	bool taken = read_back(a, row, &src) && alert_rules_adopt(&a->rules, &src, now.mono_ms, &alert);

	if (!alert)
		return;
	s = &a->slot[alert - a->rules.alert];
	if (!taken) {
		s->id = alert->id;
		return;
	}
	*s = (struct alert_slot){.id = alert->id, .state = ALERT_FIRING, .fresh = true, .version = 1, .recorded = 1};
	s->recorded_ms = now.mono_ms;
	for (size_t i = 0; row->delivered_us && i < ALERT_RECEIVERS_MAX; i++)
		s->to[i] = (struct alert_delivery){.wanted = true,
						   .told = true,
						   .told_us = row->delivered_us,
						   .told_ms = now.mono_ms - (now.wall_us - row->delivered_us) / 1000};
}

static int adopt(struct alerts *a, struct db *db, struct arena *arena, struct slice instance, struct err *err)
{
	const struct alert_filter f = {.state = SLICE_LIT("firing"), .instance = instance, .limit = ALERTS_MAX};
	struct alert_row *rows = NULL;
	size_t n = 0;
	int rc = store_alert_list(db, arena, &f, &rows, &n, err);

	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; !rc && i < n; i++)
		adopt_row(a, &rows[i]);
	pthread_mutex_unlock(&a->lock);
	return rc;
}

static int take_up(struct alerts *a, struct db *db, struct arena *arena, bool leads, struct err *err)
{
	char instance[ALERT_INSTANCE_SIZE];
	bool led;
	int rc = 0;

	pthread_mutex_lock(&a->lock);
	memcpy(instance, a->rules.settings.instance, sizeof(instance));
	led = a->leads;
	pthread_mutex_unlock(&a->lock);
	if (!a->adopted) {
		rc = adopt(a, db, arena, slice_from(instance), err);
		a->adopted = !rc;
	}
	if (!rc && leads && !led) {
		rc = adopt(a, db, arena, SLICE_LIT(""), err);
		pthread_mutex_lock(&a->lock);
		a->leads = !rc;
		pthread_mutex_unlock(&a->lock);
	}
	return rc;
}

/* --- deployments --- */

/* Aborted by a person is no failure; by itself, because nobody decided or its model was taken away, it is. */
static int aborted_by_itself(struct db *db, struct arena *arena, const struct deployment *d, bool *ret,
			     struct slice *ret_why, struct err *err)
{
	char id[UUID_STR_SIZE];
	const struct event_filter f = {.subject = slice_from(uuid_format(&d->id, id)), .limit = 1};
	struct registry_event *e = NULL;
	size_t n = 0;
	int rc = store_event_list(db, arena, &f, &e, &n, err);

	*ret = !rc && n && slice_eq_str(e->actor, "muster");
	*ret_why = n ? e->reason : SLICE_LIT("");
	return rc;
}

static int judge_end(struct db *db, struct arena *arena, const struct deployment *d, struct alert_deployment *ret,
		     bool *ret_failed, struct err *err)
{
	struct slice why = d->rollback_reason;
	int rc = 0;

	*ret_failed = d->state == DEPLOY_ROLLED_BACK;
	if (d->state == DEPLOY_ABORTED)
		rc = aborted_by_itself(db, arena, d, ret_failed, &why, err);
	if (rc || !*ret_failed)
		return rc;
	if (slice_starts(why, SLICE_LIT("rolled back by "))) /* said once is enough */
		why = slice_sub(why, sizeof("rolled back ") - 1, why.n);
	*ret = (struct alert_deployment){.id = d->id, .ended_us = d->finished_us};
	set_text(ret->use_case, sizeof(ret->use_case), d->use_case);
	set_text(ret->how, sizeof(ret->how),
		 d->state == DEPLOY_ABORTED ? SLICE_LIT("aborted") : SLICE_LIT("rolled back"));
	set_text(ret->reason, sizeof(ret->reason), why);
	return 0;
}

static bool is_seen(const struct deployment *list, size_t n, struct slice use_case)
{
	for (size_t i = 0; i < n; i++)
		if (deploy_state_is_end(list[i].state) && slice_eq(list[i].use_case, use_case))
			return true;
	return false;
}

/* Of each use case the one that ended last, among the newest. */
static int read_deployments(struct alerts *a, struct db *db, struct arena *arena, struct err *err)
{
	const struct deployment_filter f = {.limit = ALERT_DEPLOYMENTS_MAX};
	int64_t since_us = alert_now().wall_us;
	struct alert_deployment found[ALERT_DEPLOYMENTS_MAX];
	struct deployment *list = NULL;
	size_t n = 0, n_found = 0;
	int rc = store_deployment_list(db, arena, &f, &list, &n, err);

	pthread_mutex_lock(&a->lock);
	since_us -= a->rules.settings.deployment.window_ms * 1000;
	pthread_mutex_unlock(&a->lock);
	for (size_t i = 0; !rc && i < n; i++) {
		bool failed = false;

		if (!deploy_state_is_end(list[i].state) || list[i].finished_us < since_us ||
		    is_seen(list, i, list[i].use_case))
			continue;
		rc = judge_end(db, arena, &list[i], &found[n_found], &failed, err);
		n_found += !rc && failed;
	}
	if (rc)
		return rc;
	pthread_mutex_lock(&a->lock);
	memcpy(a->deployment, found, n_found * sizeof(found[0]));
	a->n_deployments = n_found;
	pthread_mutex_unlock(&a->lock);
	return 0;
}

/* --- the job --- */

static int read_silences(struct alerts *a, struct db *db, struct arena *arena, struct err *err)
{
	struct silence_row *list = NULL;
	size_t n = 0;
	int rc = store_silence_list(db, arena, alert_now().wall_us, &list, &n, err);

	if (!rc)
		alerts_take_silences(a, list, n);
	return rc;
}

static int keep_house(struct alerts *a, struct db *db, struct err *err)
{
	const struct alert_time now = alert_now();
	int rc;

	if (a->housekept_ms && now.mono_ms - a->housekept_ms < SEEN_EVERY_MS)
		return 0;
	rc = store_alert_end_lost(db, now.wall_us - LOST_AFTER_US, now.wall_us, err);
	if (!rc)
		rc = store_alert_forget(db, now.wall_us - KEPT_US, err);
	if (!rc)
		a->housekept_ms = now.mono_ms;
	return rc;
}

static int sync_with(struct alerts *a, struct db *db, bool leads, struct err *err)
{
	CLEANUP(arena_release) struct arena arena;
	int rc;

	arena_init(&arena, 16384, ARENA_MAX);
	if ((rc = take_up(a, db, &arena, leads, err)) || (rc = write_all(a, db, &arena, err)) ||
	    (rc = read_silences(a, db, &arena, err)))
		return rc;
	return !leads ? 0 : (rc = read_deployments(a, db, &arena, err)) ? rc : keep_house(a, db, err);
}

void alerts_sync(struct alerts *a, bool leads)
{
	struct err err = {0};
	struct db *db = NULL;
	int rc;

	pthread_mutex_lock(&a->lock);
	a->dirty = false; /* what changes meanwhile makes it true again */
	pthread_mutex_unlock(&a->lock);
	rc = store_acquire(a->store, &db, &err);
	if (!rc)
		rc = sync_with(a, db, leads, &err);
	store_release(a->store, db);
	pthread_mutex_lock(&a->lock);
	a->synced_ms = alert_now().mono_ms;
	a->failed_ms = rc ? a->synced_ms : 0;
	if (rc && !*a->problem)
		log_warn(&logger, "alerts cannot be recorded: %s", err.text);
	(void)snprintf(a->problem, sizeof(a->problem), "%.199s", rc ? err.text : "");
	pthread_mutex_unlock(&a->lock);
	alerts_wake(a);
}

/* --- without the database --- */

static bool matches(const struct alert_row *row, const struct alert_filter *f)
{
	char id[UUID_STR_SIZE];

	return (!f->state.p || slice_eq(row->state, f->state)) && (!f->rule.p || slice_eq(row->rule, f->rule)) &&
	       (!f->use_case.p || slice_eq(row->use_case, f->use_case)) &&
	       (!f->before_id.p || strncmp(uuid_format(&row->id, id), f->before_id.p, UUID_STR_SIZE - 1) < 0);
}

/* By id, the newest first. */
static void insert_sorted(struct alert_row *list, size_t n, const struct alert_row *row)
{
	while (n && memcmp(list[n - 1].id.b, row->id.b, sizeof(row->id.b)) < 0) {
		list[n] = list[n - 1];
		n--;
	}
	list[n] = *row;
}

int alerts_in_memory(struct alerts *a, struct arena *arena, const struct alert_filter *f, struct alert_row **ret,
		     size_t *ret_n, struct err *err)
{
	struct alert_row *list = ARENA_ARRAY(arena, struct alert_row, ALERTS_MAX);
	size_t n = 0;

	if (!list)
		return err_set(err, E_TOOBIG, "the alerts are more than fit in memory");
	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < ALERTS_MAX; i++) {
		struct alert_row row;

		if (a->rules.alert[i].state < ALERT_FIRING || alerts_row_locked(a, i, arena, &row) || !matches(&row, f))
			continue;
		insert_sorted(list, n++, &row);
	}
	pthread_mutex_unlock(&a->lock);
	*ret = list;
	*ret_n = min_size(n, f->limit ? f->limit : n);
	return 0;
}
