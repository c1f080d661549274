/* SPDX-License-Identifier: Apache-2.0 */
/* What /health and /metrics say: read from the counters of all loops, by the control loop. */
#include "app/daemon/daemon.h"
#include "control/telemetry/metrics.h"
#include "core/base/clock.h"
#include "serving/guardrail/guard.h"

#define LAG_DEGRADED_US (30 * 1000000LL)

/* --- health --- */

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

/* --- metrics --- */

static void write_spool(struct prom_writer *w, const struct daemon *d)
{
	const struct spool_stats *s = spool_stats(d->spool);
	const struct shipper_stats *h = shipper_stats(d->shipper);
	const struct {
		const char *name, *help;
		enum prom_type type;
		const struct counter *value;
	} rows[] = {
		{"muster_log_records_total", "Log records written to the spool.", PROM_COUNTER, &s->records},
		{"muster_log_bytes_total", "Bytes of log records written to the spool.", PROM_COUNTER, &s->bytes},
		{"muster_log_records_lost_total", "Log records that could not be kept.", PROM_COUNTER, &s->lost},
		{"muster_log_records_shipped_total", "Log records that the database has.", PROM_COUNTER, &s->shipped},
		{"muster_log_records_rejected_total", "Log records that the database refused for themselves.",
		 PROM_COUNTER, &h->rejected},
		{"muster_spool_cut_bytes_total", "Bytes dropped from torn ends after a crash.", PROM_COUNTER,
		 &s->cut_bytes},
		{"muster_spool_segments", "Segment files now.", PROM_GAUGE, &s->segments},
		{"muster_spool_pending_bytes", "Bytes that wait for the database.", PROM_GAUGE, &s->pending_bytes},
		{"muster_shipper_batches_total", "Batches committed.", PROM_COUNTER, &h->batches},
		{"muster_shipper_failures_total", "Batches that failed and were tried again.", PROM_COUNTER,
		 &h->failures},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		prom_family(w, rows[i].name, rows[i].type, rows[i].help);
		prom_count(w, NULL, 0, counter_get(rows[i].value));
	}
	prom_family(w, "muster_log_lag_seconds", PROM_GAUGE,
		    "Age of the oldest log record that the database does not have.");
	prom_sample(w, NULL, 0, (double)counter_get(&h->lag_us) / 1e6);
}

static void write_leader(struct prom_writer *w, const struct daemon *d)
{
	struct prom_label label = {"lease", slice_from(d->leader.lease.name)};

	prom_family(w, "muster_leader", PROM_GAUGE, "1: this daemon does what only one on the database may.");
	prom_count(w, &label, 1, daemon_leads(d, NULL));
	prom_family(w, "muster_leader_epoch", PROM_GAUGE, "Number of the last lease that this daemon held; 0: none.");
	prom_count(w, &label, 1, (uint64_t)d->leader.lease.epoch);
}

static uint64_t sum(const struct daemon *d, size_t offset)
{
	uint64_t total = 0;

	for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++) {
		const char *base = (const char *)gateway_stats(d->loops[i].gateway);

		total += counter_get((const struct counter *)(const void *)(base + offset));
	}
	return total;
}

static void write_gateway(struct prom_writer *w, const struct daemon *d)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} rows[] = {
		{"muster_upstream_errors_total", "Attempts at a model that failed.",
		 offsetof(struct gateway_stats, upstream_errors)},
		{"muster_guardrail_failures_total", "Checks that failed themselves.",
		 offsetof(struct gateway_stats, guard_failures)},
		{"muster_unauthorized_total", "Requests without a valid key.",
		 offsetof(struct gateway_stats, unauthorized)},
		{"muster_forbidden_total", "Requests whose key may not do what they asked.",
		 offsetof(struct gateway_stats, forbidden)},
		{"muster_rate_limited_total", "Requests past the rate of their key.",
		 offsetof(struct gateway_stats, rate_limited)},
		{"muster_current_lookups_total", "Lookups of a current model.",
		 offsetof(struct gateway_stats, current_lookups)},
		{"muster_guardrail_checks_total", "Texts given to /api/v1/guardrails/check.",
		 offsetof(struct gateway_stats, checks)},
		{"muster_application_logs_total", "Log records taken from applications.",
		 offsetof(struct gateway_stats, app_logs)},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		prom_family(w, rows[i].name, PROM_COUNTER, rows[i].help);
		prom_count(w, NULL, 0, sum(d, rows[i].offset));
	}
	prom_family(w, "muster_guardrail_violations_total", PROM_COUNTER, "Guardrail hits, by severity.");
	for (int i = GUARD_LOW; i <= GUARD_CRITICAL; i++) {
		struct prom_label label = {"severity", slice_from(guard_severity_name((enum guard_severity)i))};

		prom_count(w, &label, 1,
			   sum(d, offsetof(struct gateway_stats, violations) + (size_t)i * sizeof(struct counter)));
	}
}

/* --- by use case --- */

struct slot_names {
	struct slice name[GATEWAY_SLOTS];
};

static const struct per_use_case {
	const char *name, *help, *label, *value;
	size_t offset;
} per_use_case[] = {
#define FIELD(f) offsetof(struct gateway_use_case_stats, f)
	{"muster_requests_total", "Inference requests that reached a use case.", NULL, NULL, FIELD(requests)},
	{"muster_answered_total", "Requests answered by the current model.", NULL, NULL, FIELD(answered)},
	{"muster_fallbacks_total", "Requests answered by something else.", "by", "model", FIELD(fallback[0])},
	{"muster_fallbacks_total", NULL, "by", "endpoint", FIELD(fallback[1])},
	{"muster_fallbacks_total", NULL, "by", "content", FIELD(fallback[2])},
	{"muster_errors_total", "Requests answered with an error.", NULL, NULL, FIELD(errors)},
	{"muster_client_disconnects_total", "Requests whose caller left first.", NULL, NULL, FIELD(disconnects)},
	{"muster_truncated_total", "Answers that ended early, and were marked so.", NULL, NULL, FIELD(truncated)},
	{"muster_guardrail_actions_total", "What guardrails did to exchanges.", "action", "allow",
	 FIELD(guard[GUARD_ALLOW])},
	{"muster_guardrail_actions_total", NULL, "action", "flag", FIELD(guard[GUARD_FLAG])},
	{"muster_guardrail_actions_total", NULL, "action", "mask", FIELD(guard[GUARD_MASK])},
	{"muster_guardrail_actions_total", NULL, "action", "fallback", FIELD(guard[GUARD_FALLBACK])},
	{"muster_guardrail_actions_total", NULL, "action", "block", FIELD(guard[GUARD_BLOCK])},
	{"muster_tokens_total", "Tokens, as upstreams count them or estimated.", "type", "input", FIELD(input_tokens)},
	{"muster_tokens_total", NULL, "type", "output", FIELD(output_tokens)},
#undef FIELD
};

static uint64_t slot_sum(const struct daemon *d, size_t slot, size_t offset)
{
	return sum(d, offsetof(struct gateway_stats, use_case) + slot * sizeof(struct gateway_use_case_stats) + offset);
}

static void write_use_case_counters(struct prom_writer *w, const struct daemon *d, const struct slot_names *names)
{
	for (size_t i = 0; i < COUNT_OF(per_use_case); i++) {
		const struct per_use_case *p = &per_use_case[i];

		if (p->help)
			prom_family(w, p->name, PROM_COUNTER, p->help);
		for (size_t slot = 0; slot < GATEWAY_SLOTS; slot++) {
			struct prom_label labels[2] = {{"use_case", names->name[slot]},
						       {p->label, slice_from(p->value)}};

			if (names->name[slot].n)
				prom_count(w, labels, p->label ? 2 : 1, slot_sum(d, slot, p->offset));
		}
	}
}

static void write_use_case_histogram(struct prom_writer *w, const struct daemon *d, const struct slot_names *names,
				     size_t offset)
{
	const struct histogram *h[DAEMON_MAX_LOOPS + 1];

	for (size_t slot = 0; slot < GATEWAY_SLOTS; slot++) {
		struct prom_label label = {"use_case", names->name[slot]};
		size_t n = d->n_loops + d->has_control_listener;

		if (!names->name[slot].n)
			continue;
		for (size_t i = 0; i < n; i++)
			h[i] = (const struct histogram *)(const void *)((const char *)&gateway_stats(
										d->loops[i].gateway)
										->use_case[slot] +
									offset);
		prom_histogram(w, &label, 1, h, n);
	}
}

int daemon_write_metrics(struct daemon *d, struct buf *out)
{
	struct telemetry_loop loops[DAEMON_MAX_LOOPS + 1];
	struct telemetry_sources src = {.health = &d->health,
					.now_us = clock_wall_us(),
					.loops = loops,
					.n_loops = d->n_loops + d->has_control_listener};
	struct snapshot *s = registry_snapshot(d->registry);
	struct slot_names names = {0};
	struct prom_writer w;

	for (size_t i = 0; i < src.n_loops; i++) {
		const struct gateway *g = d->loops[i].gateway;

		loops[i] = (struct telemetry_loop){d->loops[i].name, http_server_stats(d->loops[i].server),
						   gateway_client_stats(g), &gateway_stats(g)->generation};
	}
	for (size_t i = 0; s && i < s->n_use_cases; i++)
		names.name[s->use_cases[i].slot < GATEWAY_SLOTS ? s->use_cases[i].slot : GATEWAY_SLOTS - 1] =
			s->use_cases[i].slot < GATEWAY_SLOTS - 1 ? s->use_cases[i].settings.name : SLICE_LIT("other");
	prom_init(&w, out);
	telemetry_metrics_write(&w, &src);
	write_spool(&w, d);
	write_leader(&w, d);
	write_gateway(&w, d);
	write_use_case_counters(&w, d, &names);
	prom_family(&w, "gen_ai_server_request_duration_seconds", PROM_HISTOGRAM, "Whole exchanges, by use case.");
	write_use_case_histogram(&w, d, &names, offsetof(struct gateway_use_case_stats, duration));
	prom_family(&w, "gen_ai_server_time_to_first_token_seconds", PROM_HISTOGRAM,
		    "From the request to the first token, by use case.");
	write_use_case_histogram(&w, d, &names, offsetof(struct gateway_use_case_stats, first_token));
	if (s)
		snapshot_unref(s);
	return 200;
}
