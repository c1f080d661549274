/* SPDX-License-Identifier: Apache-2.0 */
/* What /health says: read from the counters of all loops, by the control loop. */
#include "app/daemon/daemon.h"
#include "core/base/clock.h"

#define LAG_DEGRADED_US (30 * 1000000LL)

static void observe_registry(struct daemon *d, int64_t now)
{
	struct snapshot *s = registry_snapshot(d->registry);
	char problem[200];
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
	else
		health_set(&d->health, HEALTH_REGISTRY, HEALTH_OK, now,
			   "%zu use case%s, %zu with a current model, %zu model%s, snapshot %llu", s->n_use_cases,
			   s->n_use_cases == 1 ? "" : "s", n_current, s->n_models, s->n_models == 1 ? "" : "s",
			   (unsigned long long)s->generation);
	if (s)
		snapshot_unref(s);
}

static void observe_log(struct daemon *d, int64_t now)
{
	const struct spool_stats *spool = spool_stats(d->spool);
	const struct shipper_stats *shipper = shipper_stats(d->shipper);
	uint64_t lost = counter_get(&spool->lost), lag = counter_get(&shipper->lag_us);
	uint64_t records = counter_get(&spool->records), shipped = counter_get(&spool->shipped);
	unsigned long long waiting = records > shipped ? records - shipped : 0; /* an earlier run's are shipped too */
	char error[200];

	shipper_last_error(d->shipper, error, sizeof(error));
	d->health.spool_open = true;
	if (!d->config.history_enabled)
		health_set(&d->health, HEALTH_HISTORICAL_LOG, HEALTH_OK, now, "switched off (history.enabled)");
	else if (lost)
		health_set(&d->health, HEALTH_HISTORICAL_LOG, HEALTH_FAILED, now,
			   "%llu records could not be kept: see spool.max_bytes and the disk",
			   (unsigned long long)lost);
	else if (error[0])
		health_set(&d->health, HEALTH_HISTORICAL_LOG, HEALTH_DEGRADED, now, "records wait in the spool: %s",
			   error);
	else if (lag > LAG_DEGRADED_US)
		health_set(&d->health, HEALTH_HISTORICAL_LOG, HEALTH_DEGRADED, now,
			   "%llu records wait, the oldest for %llu s", waiting, (unsigned long long)(lag / 1000000));
	else
		health_set(&d->health, HEALTH_HISTORICAL_LOG, HEALTH_OK, now, "%llu records written, none lost",
			   (unsigned long long)counter_get(&spool->records));
	if (error[0])
		health_set(&d->health, HEALTH_DATABASE, HEALTH_DEGRADED, now, "%s", error);
	else
		health_set(&d->health, HEALTH_DATABASE, HEALTH_OK, now, "%s", store_description(d->store));
}

static void observe_serving(struct daemon *d, int64_t now)
{
	uint64_t failures = 0, requests = 0;

	for (size_t i = 0; i < d->n_loops; i++) {
		const struct gateway_stats *g = gateway_stats(d->loops[i].gateway);

		failures += counter_get(&g->guard_failures);
		for (size_t k = 0; k < GATEWAY_SLOTS; k++)
			requests += counter_get(&g->use_case[k].requests);
	}
	if (!d->config.guardrails_enabled)
		health_set(&d->health, HEALTH_GUARDRAILS, HEALTH_DEGRADED, now,
			   "switched off (guardrails.enabled): nothing is checked");
	else if (failures)
		health_set(&d->health, HEALTH_GUARDRAILS, HEALTH_DEGRADED, now, "%llu checks failed themselves",
			   (unsigned long long)failures);
	else
		health_set(&d->health, HEALTH_GUARDRAILS, HEALTH_OK, now, "on");
	health_set(&d->health, HEALTH_GATEWAY, d->stopping ? HEALTH_DEGRADED : HEALTH_OK, now,
		   d->stopping ? "stopping" : "%llu requests on %zu loops", (unsigned long long)requests, d->n_loops);
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
}

void daemon_update_health(struct daemon *d)
{
	int64_t now = clock_wall_us();

	observe_registry(d, now);
	observe_log(d, now);
	observe_serving(d, now);
	observe_replicas(d, now);
}
