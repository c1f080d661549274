/* SPDX-License-Identifier: Apache-2.0 */
/* What /health says: read from the counters of all loops, by the control loop. */
#include <stdio.h>

#include "app/daemon/daemon.h"
#include "core/base/clock.h"
#include "serving/gateway/target.h"

#define HOUR_US INT64_C(3600000000)
#define LEFT_OUT_SHOWN 180 /* bytes of what is wrong */

static void observe_lookups(struct daemon *d, int64_t now)
{
	uint64_t buckets[HISTOGRAM_BUCKETS + 1] = {0}, n = 0;

	for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++) {
		const struct gateway_stats *g = gateway_stats(d->loops[i].gateway);

		histogram_add(&g->lookup, buckets);
		n += counter_get(&g->lookup.count);
	}
	health_count(&d->health, HEALTH_REGISTRY, "lookups", n);
	health_ms(&d->health, HEALTH_REGISTRY, "lookup_p99_ms",
		  watch_quantile_ms(&d->lookup_window, &histogram_lookups, buckets, 0.99, now));
}

/* A model whose configuration names a secret that it may not have, registered by an older Muster or past the API. */
static const struct snapshot_model *find_denied(const struct snapshot *s)
{
	for (size_t i = 0; s && i < s->n_models; i++) {
		const struct targets *t = s->models[i].target;

		if (t && t->n && t->list[0].denied)
			return &s->models[i];
	}
	return NULL;
}

static const char *why_denied(const struct snapshot_model *m, char *buf, size_t size)
{
	const struct target *t = ((const struct targets *)m->target)->list;

	(void)snprintf(buf, size, SLICE_FMT " is not called: " SLICE_FMT, SLICE_ARG(slice_sub(m->full_name, 0, 80)),
		       SLICE_ARG(t->missing)); /* as much as people read */
	return buf;
}

/* The first by its name and what is wrong with it, the others by their number. */
static void say_left_out(struct daemon *d, const struct snapshot *s, int64_t now)
{
	const struct snapshot_left_out *first = &s->left_out[0];
	char more[32] = "";

	if (s->n_left_out > 1)
		(void)snprintf(more, sizeof(more), "; and %zu more", s->n_left_out - 1);
	health_set(&d->health, HEALTH_REGISTRY, HEALTH_DEGRADED, now, "%s: " SLICE_FMT "%s",
		   first->replaced ? "the version before serves" : "left out",
		   (int)min_size(first->text.n, LEFT_OUT_SHOWN), first->text.p, more);
}

static void observe_registry(struct daemon *d, const struct snapshot *s, int64_t now)
{
	const struct snapshot_model *denied = find_denied(s);
	char problem[200], why[400];
	size_t n_current = 0;

	registry_problem(d->registry, problem, sizeof(problem));
	for (size_t i = 0; s && i < s->n_use_cases; i++)
		n_current += s->use_cases[i].current != NULL;
	d->health.snapshot_loaded = s != NULL;
	d->health.n_use_cases = s ? s->n_use_cases : 0;
	d->health.n_usable = d->config.fallback_content[0] ? d->health.n_use_cases : n_current;
	if (!s)
		health_set(&d->health, HEALTH_REGISTRY, HEALTH_FAILED, now, "no snapshot: %s", problem);
	else if (problem[0])
		health_set(&d->health, HEALTH_REGISTRY, HEALTH_DEGRADED, now, "serving snapshot %llu: %s",
			   (unsigned long long)s->generation, problem);
	else if (denied)
		health_set(&d->health, HEALTH_REGISTRY, HEALTH_DEGRADED, now, "%s",
			   why_denied(denied, why, sizeof(why)));
	else if (s->n_left_out)
		say_left_out(d, s, now);
	else
		health_set(&d->health, HEALTH_REGISTRY, HEALTH_OK, now,
			   "%zu use case%s, %zu with a current model, %zu model%s, snapshot %llu", s->n_use_cases,
			   s->n_use_cases == 1 ? "" : "s", n_current, s->n_models, s->n_models == 1 ? "" : "s",
			   (unsigned long long)s->generation);
	health_count(&d->health, HEALTH_REGISTRY, "use_cases", s ? s->n_use_cases : 0);
	health_count(&d->health, HEALTH_REGISTRY, "with_current_model", n_current);
	health_count(&d->health, HEALTH_REGISTRY, "models", s ? s->n_models : 0);
	health_count(&d->health, HEALTH_REGISTRY, "left_out", s ? s->n_left_out : 0);
	health_count(&d->health, HEALTH_REGISTRY, "snapshot", s ? s->generation : 0);
	health_time(&d->health, HEALTH_REGISTRY, "snapshot_built", s ? s->built_us : 0);
	observe_lookups(d, now);
}

static void observe_log(struct daemon *d, int64_t now)
{
	const struct spool_stats *spool = spool_stats(d->spool);
	const struct shipper_stats *shipper = shipper_stats(d->shipper);
	char error[200];
	const struct watch_log figures = {.off = !d->config.history_enabled,
					  .written = counter_get(&spool->records),
					  .lost = counter_get(&spool->lost),
					  .rejected = counter_get(&shipper->rejected),
					  .shipped = counter_get(&spool->shipped),
					  .pending_bytes = counter_get(&spool->pending_bytes),
					  .lag_us = (int64_t)counter_get(&shipper->lag_us),
					  .error = error};
	const char *away = error;

	shipper_last_error(d->shipper, error, sizeof(error));
	d->health.spool_open = true;
	watch_log(&d->log_watch, &d->health, &figures, now);
	if (!error[0])
		away = d->leader.problem; /* it is asked every two seconds, even when nothing is to be written */
	health_set(&d->health, HEALTH_DATABASE, away[0] ? HEALTH_DEGRADED : HEALTH_OK, now, "%s",
		   away[0] ? away : store_description(d->store));
	health_count(&d->health, HEALTH_DATABASE, "batches", counter_get(&shipper->batches));
	health_count(&d->health, HEALTH_DATABASE, "failed_batches", counter_get(&shipper->failures));
}

static void add_slot(const struct gateway_use_case_stats *u, struct watch_guardrails *into, uint64_t *requests)
{
	*requests += counter_get(&u->requests);
	for (int i = 0; i < 2 * GUARD_N_ACTIONS; i++)
		into->judged += counter_get(&u->texts[i / GUARD_N_ACTIONS][i % GUARD_N_ACTIONS]);
	for (int i = GUARD_LOW; i <= GUARD_CRITICAL; i++)
		into->violating += counter_get(&u->violating[i]);
	into->critical += counter_get(&u->violating[GUARD_CRITICAL]);
}

static void say_serving(struct daemon *d, const struct daemon_upstreams *u, uint64_t requests, int64_t now)
{
	char more[32] = "";

	if (u->n_shut > 1)
		(void)snprintf(more, sizeof(more), " and %zu more", u->n_shut - 1);
	if (d->stopping)
		health_set(&d->health, HEALTH_GATEWAY, HEALTH_DEGRADED, now, "stopping");
	else if (u->n_shut)
		health_set(&d->health, HEALTH_GATEWAY, HEALTH_DEGRADED, now,
			   "%zu of %zu endpoint%s failed lately and %s not asked until %s probed: %s%s", u->n_shut,
			   u->n, u->n == 1 ? "" : "s", u->n_shut == 1 ? "is" : "are",
			   u->n_shut == 1 ? "it is" : "they are", u->first, more);
	else
		health_set(&d->health, HEALTH_GATEWAY, HEALTH_OK, now, "%llu requests on %zu loops",
			   (unsigned long long)requests, d->n_loops);
}

static void observe_serving(struct daemon *d, const struct snapshot *s, int64_t now)
{
	struct daemon_upstreams upstreams;
	struct watch_guardrails figures = {.off = !d->config.guardrails_enabled};
	uint64_t requests = 0, upstream_errors = 0;

	for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++) {
		const struct gateway_stats *g = gateway_stats(d->loops[i].gateway);

		figures.failures += counter_get(&g->guard_failures);
		upstream_errors += counter_get(&g->upstream_errors);
		for (size_t k = 0; k < GATEWAY_SLOTS; k++)
			add_slot(&g->use_case[k], &figures, &requests);
	}
	watch_guardrails(&d->guard_watch, &d->health, &figures, now);
	daemon_observe_upstreams(s, &upstreams);
	say_serving(d, &upstreams, requests, now);
	health_count(&d->health, HEALTH_GATEWAY, "requests", requests);
	health_count(&d->health, HEALTH_GATEWAY, "failed_calls", upstream_errors);
	health_count(&d->health, HEALTH_GATEWAY, "loops", d->n_loops);
	health_count(&d->health, HEALTH_GATEWAY, "endpoints", upstreams.n);
	health_count(&d->health, HEALTH_GATEWAY, "endpoints_shut", upstreams.n_shut);
	health_count(&d->health, HEALTH_GATEWAY, "endpoints_resting", upstreams.n_resting);
}

static void say_deployments(struct daemon *d, size_t n, const struct registry_last_deployment *last, int64_t now)
{
	bool any = !uuid_is_nil(&last->id);

	if (d->rollout_shown[0])
		health_set(&d->health, HEALTH_DEPLOYMENTS, HEALTH_DEGRADED, now, "they cannot move: %s",
			   d->rollout_shown);
	else if (n)
		health_set(&d->health, HEALTH_DEPLOYMENTS, HEALTH_OK, now, "%zu under way", n);
	else if (any)
		health_set(&d->health, HEALTH_DEPLOYMENTS, HEALTH_OK, now, "none under way; the last, of %s, is %s",
			   last->use_case, deploy_state_name(last->state));
	else
		health_set(&d->health, HEALTH_DEPLOYMENTS, HEALTH_OK, now, "none under way, and none before");
}

static void observe_deployments(struct daemon *d, const struct snapshot *s, int64_t now)
{
	const struct registry_stats *stats = registry_stats(d->registry);
	struct registry_last_deployment last;
	uint64_t started = 0, ended[DEPLOY_N_RESULTS] = {0};
	char id[UUID_STR_SIZE];
	bool any;

	registry_last_deployment(d->registry, &last);
	any = !uuid_is_nil(&last.id);
	for (int i = 0; i < DEPLOY_N_STRATEGIES; i++) {
		started += counter_get(&stats->started[i]);
		for (int k = 0; k < DEPLOY_N_RESULTS; k++)
			ended[k] += counter_get(&stats->ended[i][k]);
	}
	say_deployments(d, s ? s->n_deployments : 0, &last, now);
	health_count(&d->health, HEALTH_DEPLOYMENTS, "under_way", s ? s->n_deployments : 0);
	health_count(&d->health, HEALTH_DEPLOYMENTS, "started", started);
	for (int k = 0; k < DEPLOY_N_RESULTS; k++)
		health_count(&d->health, HEALTH_DEPLOYMENTS, deploy_result_name((enum deploy_result)k), ended[k]);
	health_text(&d->health, HEALTH_DEPLOYMENTS, "last_id", any ? uuid_format(&last.id, id) : "");
	health_text(&d->health, HEALTH_DEPLOYMENTS, "last_use_case", any ? last.use_case : "");
	health_text(&d->health, HEALTH_DEPLOYMENTS, "last_state", any ? deploy_state_name(last.state) : "");
	health_time(&d->health, HEALTH_DEPLOYMENTS, "last_finished", any ? last.finished_us : 0);
}

static void observe_replicas(struct daemon *d, int64_t now)
{
	const struct leader *l = &d->leader;
	char problem[200] = "";

	if (d->listener)
		listener_problem(d->listener, problem, sizeof(problem));
	if (problem[0])
		health_set(&d->health, HEALTH_LEADER, HEALTH_DEGRADED, now, "changes by other daemons are not seen: %s",
			   problem);
	else if (l->problem[0])
		health_set(&d->health, HEALTH_LEADER, HEALTH_DEGRADED, now, "nobody can be asked who leads: %s",
			   l->problem);
	else if (daemon_leads(d, NULL))
		health_set(&d->health, HEALTH_LEADER, HEALTH_OK, now, "this daemon leads, epoch %lld",
			   (long long)l->lease.epoch);
	else
		health_set(&d->health, HEALTH_LEADER, HEALTH_OK, now, "%s",
			   l->answered ? "another daemon leads" : "has not asked yet");
	health_count(&d->health, HEALTH_LEADER, "epoch", (uint64_t)l->lease.epoch);
}

static const char *kept_for(int64_t us, char *text, size_t size)
{
	if (!us)
		(void)snprintf(text, size, "for ever");
	else if (us % (24 * HOUR_US) == 0)
		(void)snprintf(text, size, "for %lld d", (long long)(us / HOUR_US / 24));
	else
		(void)snprintf(text, size, "for %lld h", (long long)(us / HOUR_US));
	return text;
}

static void observe_retention(struct daemon *d, int64_t now)
{
	char records[32], texts[32], ago[CLOCK_ISO_SIZE], last[64] = "";
	struct retention_status s;

	retention_status(d->retention, &s);
	(void)kept_for(s.rule.records_us, records, sizeof(records));
	(void)kept_for(s.rule.texts_us ? s.rule.texts_us : s.rule.records_us, texts, sizeof(texts));
	if (s.last_run_us)
		(void)snprintf(last, sizeof(last), "last run %s ago", clock_ago(now - s.last_run_us, ago));
	if (!s.rule.records_us && !s.rule.texts_us)
		health_set(&d->health, HEALTH_RETENTION, HEALTH_OK, now,
			   "records are kept for ever (history.retention)");
	else if (s.problem[0])
		health_set(&d->health, HEALTH_RETENTION, HEALTH_DEGRADED, now, "%s", s.problem);
	else
		health_set(&d->health, HEALTH_RETENTION, HEALTH_OK, now, "records are kept %s, texts %s; %s", records,
			   texts,
			   !daemon_leads(d, NULL) ? "the leader removes what is older"
			   : s.more		  ? "more to remove, going on"
			   : last[0]		  ? last
						  : "no run yet");
	health_count(&d->health, HEALTH_RETENTION, "partitions_dropped", s.partitions);
	health_count(&d->health, HEALTH_RETENTION, "records_dropped", s.records);
	health_count(&d->health, HEALTH_RETENTION, "texts_removed", s.texts);
	health_count(&d->health, HEALTH_RETENTION, "failures", s.failures);
}

void daemon_update_health(struct daemon *d)
{
	struct snapshot *s = registry_snapshot(d->registry);
	int64_t now = clock_wall_us();

	observe_registry(d, s, now);
	observe_log(d, now);
	observe_serving(d, s, now);
	observe_deployments(d, s, now);
	observe_replicas(d, now);
	observe_retention(d, now);
	daemon_observe_alerts(d, now);
	snapshot_unref(s);
}
