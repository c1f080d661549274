/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /metrics says: read from the counters of all loops, by the control loop.  Names are a promise, and
 * docs/METRICS.md lists them; a use case or model has the same series for as long as the process lives.
 */
#include "control/telemetry/metrics.h"
#include "app/daemon/daemon.h"
#include "core/base/clock.h"
#include "serving/gateway/series.h"
#include "serving/guardrail/guard.h"

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

static void write_retention(struct prom_writer *w, const struct daemon *d)
{
	struct retention_status s;
	const struct {
		const char *name, *help;
		const uint64_t *value;
	} rows[] = {
		{"muster_retention_runs_total", "Runs of retention, by this daemon.", &s.runs},
		{"muster_retention_failures_total", "Runs of retention that failed.", &s.failures},
		{"muster_retention_partitions_dropped_total", "Days of the log that were dropped.", &s.partitions},
		{"muster_retention_records_dropped_total", "Log records that were removed past their retention.",
		 &s.records},
		{"muster_retention_texts_removed_total", "Log records whose texts were removed.", &s.texts},
		{"muster_retention_violations_dropped_total", "Violations that were removed with their records.",
		 &s.violations},
	};

	retention_status(d->retention, &s);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		prom_family(w, rows[i].name, PROM_COUNTER, rows[i].help);
		prom_count(w, NULL, 0, *rows[i].value);
	}
	prom_family(w, "muster_retention_last_run_timestamp_seconds", PROM_GAUGE,
		    "When this daemon's last run of retention ended well; 0: none has.");
	prom_sample(w, NULL, 0, (double)s.last_run_us / 1e6);
}

static void write_leader(struct prom_writer *w, const struct daemon *d)
{
	struct prom_label label = {"lease", slice_from(d->leader.lease.name)};

	prom_family(w, "muster_leader", PROM_GAUGE, "1: this daemon does what only one on the database may.");
	prom_count(w, &label, 1, daemon_leads(d, NULL));
	prom_family(w, "muster_leader_epoch", PROM_GAUGE, "Number of the last lease that this daemon held; 0: none.");
	prom_count(w, &label, 1, (uint64_t)d->leader.lease.epoch);
	prom_family(w, "muster_replicas", PROM_GAUGE, "Daemons on the database, as far as this one knows.");
	prom_count(w, NULL, 0,
		   1 + (uint64_t)(d->lender && lender_others(d->lender) > 0 ? lender_others(d->lender) : 0));
}

static size_t all_loops(const struct daemon *d)
{
	return d->n_loops + d->has_control_listener;
}

static uint64_t sum(const struct daemon *d, size_t offset)
{
	uint64_t total = 0;

	for (size_t i = 0; i < all_loops(d); i++) {
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
		{"muster_retries_total", "Attempts at a model that had failed the same request before.",
		 offsetof(struct gateway_stats, retries)},
		{"muster_resumes_total", "Streamed answers that broke off, and another attempt went on with.",
		 offsetof(struct gateway_stats, resumes)},
		{"muster_idempotent_replays_total", "Requests that got the answer of an earlier one.",
		 offsetof(struct gateway_stats, replays)},
		{"muster_shed_total", "Requests refused because too many were under way.",
		 offsetof(struct gateway_stats, shed)},
		{"muster_retries_denied_total", "Retries that the budget of their use case did not allow.",
		 offsetof(struct gateway_stats, retries_denied)},
		{"muster_guardrail_failures_total", "Checks that failed themselves.",
		 offsetof(struct gateway_stats, guard_failures)},
		{"muster_unauthorized_total", "Requests without a valid key.",
		 offsetof(struct gateway_stats, unauthorized)},
		{"muster_forbidden_total", "Requests whose key may not do what they asked.",
		 offsetof(struct gateway_stats, forbidden)},
		{"muster_rate_limited_total", "Requests past the rate of their key.",
		 offsetof(struct gateway_stats, rate_limited)},
		{"muster_budget_exceeded_total", "Requests that a budget did not cover.",
		 offsetof(struct gateway_stats, budget_exceeded)},
		{"muster_budget_unavailable_total",
		 "Requests that found the rest of a budget reserved or lent elsewhere.",
		 offsetof(struct gateway_stats, budget_unavailable)},
		{"muster_current_lookups_total", "Lookups of a current model.",
		 offsetof(struct gateway_stats, current_lookups)},
		{"muster_guardrail_checks_total", "Requests to /api/v1/guardrails/check.",
		 offsetof(struct gateway_stats, checks)},
		{"muster_application_logs_total", "Log records taken from applications.",
		 offsetof(struct gateway_stats, app_logs)},
		{"muster_log_refusals_total", "Requests refused because the log, which is required, had no room.",
		 offsetof(struct gateway_stats, log_refusals)},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		prom_family(w, rows[i].name, PROM_COUNTER, rows[i].help);
		prom_count(w, NULL, 0, sum(d, rows[i].offset));
	}
	prom_family(w, "muster_guardrail_violations_total", PROM_COUNTER, "Guardrail hits in exchanges, by severity.");
	for (int i = GUARD_LOW; i <= GUARD_CRITICAL; i++) {
		struct prom_label label = {"severity", slice_from(guard_severity_name((enum guard_severity)i))};

		prom_count(w, &label, 1,
			   sum(d, offsetof(struct gateway_stats, violations) + (size_t)i * sizeof(struct counter)));
	}
}

/* --- histograms: one per loop, shown as one --- */

struct place {
	const struct histogram_bounds *bounds;
	size_t offset; /* in struct gateway_stats */
};

static uint64_t gather(const struct daemon *d, struct place at, const struct histogram *h[DAEMON_MAX_LOOPS + 1])
{
	uint64_t count = 0;

	for (size_t i = 0; i < all_loops(d); i++) {
		const char *base = (const char *)gateway_stats(d->loops[i].gateway);

		h[i] = (const struct histogram *)(const void *)(base + at.offset);
		count += counter_get(&h[i]->count);
	}
	return count;
}

#define MAX_LABELS 8
/* Labels end with one that has no name; one that has no value is none, in Prometheus too.  always: even when nothing
 * was observed yet. */
static void write_histogram(struct prom_writer *w, const struct daemon *d, struct place at,
			    const struct prom_label labels[], bool always)
{
	const struct histogram *h[DAEMON_MAX_LOOPS + 1];
	struct prom_histograms of = {at.bounds, h, all_loops(d)};
	struct prom_label said[MAX_LABELS];
	size_t n = 0;

	for (; labels && labels->name; labels++)
		if (labels->value.n)
			said[n++] = *labels;
	if (gather(d, at, h) || always)
		prom_histogram(w, said, n, &of);
}

static void write_lookups(struct prom_writer *w, const struct daemon *d)
{
	prom_family(w, "muster_current_lookup_duration_seconds", PROM_HISTOGRAM,
		    "Time to answer a lookup of a current model.");
	write_histogram(w, d, (struct place){&histogram_lookups, offsetof(struct gateway_stats, lookup)}, NULL, true);
}

/* --- deployments --- */

static void write_deployments(struct prom_writer *w, const struct daemon *d, const struct snapshot *s)
{
	const struct registry_stats *stats = registry_stats(d->registry);

	prom_family(w, "muster_deployments_started_total", PROM_COUNTER,
		    "Deployments that this daemon started, by strategy.");
	for (int i = 0; i < DEPLOY_N_STRATEGIES; i++) {
		struct prom_label label = {"strategy", slice_from(deploy_strategy_name((enum deploy_strategy)i))};

		prom_count(w, &label, 1, counter_get(&stats->started[i]));
	}
	prom_family(w, "muster_deployments_finished_total", PROM_COUNTER,
		    "Deployments that this daemon ended, by strategy and result.");
	for (int i = 0; i < DEPLOY_N_STRATEGIES; i++)
		for (int k = 0; k < DEPLOY_N_RESULTS; k++) {
			struct prom_label labels[] = {
				{"strategy", slice_from(deploy_strategy_name((enum deploy_strategy)i))},
				{"result", slice_from(deploy_result_name((enum deploy_result)k))},
			};

			prom_count(w, labels, 2, counter_get(&stats->ended[i][k]));
		}
	prom_family(w, "muster_deployments_active", PROM_GAUGE, "Deployments under way.");
	prom_count(w, NULL, 0, s ? s->n_deployments : 0);
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
	{"muster_guardrail_violating_texts_total", "Texts with a guardrail hit, by their worst one.", "severity", "low",
	 FIELD(violating[GUARD_LOW])},
	{"muster_guardrail_violating_texts_total", NULL, "severity", "medium", FIELD(violating[GUARD_MEDIUM])},
	{"muster_guardrail_violating_texts_total", NULL, "severity", "high", FIELD(violating[GUARD_HIGH])},
	{"muster_guardrail_violating_texts_total", NULL, "severity", "critical", FIELD(violating[GUARD_CRITICAL])},
	{"muster_tokens_total", "Tokens, as upstreams count them or estimated.", "type", "input", FIELD(input_tokens)},
	{"muster_tokens_total", NULL, "type", "output", FIELD(output_tokens)},
	{"muster_cache_lookups_total", "Requests that looked for an earlier answer.", "result", "hit",
	 FIELD(cache_hits)},
	{"muster_cache_lookups_total", NULL, "result", "miss", FIELD(cache_misses)},
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

/* Each loop has met the currencies in its own order. */
static size_t gather_costs(const struct daemon *d, size_t slot, struct gateway_cost_stats *ret, size_t max)
{
	size_t n = 0;

	for (size_t k = 0; k < all_loops(d) * GATEWAY_CURRENCIES; k++) {
		const struct gateway_cost_stats *c = &gateway_stats(d->loops[k / GATEWAY_CURRENCIES].gateway)
							      ->use_case[slot]
							      .cost[k % GATEWAY_CURRENCIES];
		size_t i = 0;

		while (i < n && counter_get(&ret[i].currency) != counter_get(&c->currency))
			i++;
		if (!counter_get(&c->currency) || i == max)
			continue;
		if (i == n)
			ret[n++] = (struct gateway_cost_stats){.nano = {0}};
		counter_set(&ret[i].currency, counter_get(&c->currency));
		counter_add(&ret[i].nano, counter_get(&c->nano));
	}
	return n;
}

static void write_costs(struct prom_writer *w, const struct daemon *d, const struct slot_names *names)
{
	prom_family(w, "muster_cost_total", PROM_COUNTER, "What answers have cost, where the price is known.");
	for (size_t slot = 0; slot < GATEWAY_SLOTS; slot++) {
		struct gateway_cost_stats cost[GATEWAY_CURRENCIES];
		size_t n = names->name[slot].n ? gather_costs(d, slot, cost, COUNT_OF(cost)) : 0;

		for (size_t i = 0; i < n; i++) {
			uint64_t c = counter_get(&cost[i].currency);
			char letters[CURRENCY_SIZE] = {(char)(c & 0xff), (char)(c >> 8 & 0xff), (char)(c >> 16 & 0xff)};
			struct prom_label labels[] = {{"use_case", names->name[slot]},
						      {"currency", slice_from(letters)}};

			prom_sample(w, labels, COUNT_OF(labels), (double)counter_get(&cost[i].nano) / 1e9);
		}
	}
}

static void write_texts(struct prom_writer *w, const struct daemon *d, const struct slot_names *names)
{
	prom_family(w, "muster_guardrail_texts_total", PROM_COUNTER,
		    "Texts that guardrails judged, by side and what was done.");
	for (size_t slot = 0; slot < GATEWAY_SLOTS; slot++) {
		for (int i = 0; names->name[slot].n && i < 2 * GUARD_N_ACTIONS; i++) {
			int side = i / GUARD_N_ACTIONS, action = i % GUARD_N_ACTIONS;
			struct prom_label labels[] = {
				{"use_case", names->name[slot]},
				{"side", slice_from(side ? "output" : "input")},
				{"action", slice_from(guard_action_name((enum guard_action)action))},
			};

			prom_count(w, labels, 3,
				   slot_sum(d, slot, offsetof(struct gateway_use_case_stats, texts[side][action])));
		}
	}
}

/* --- by OpenTelemetry's names --- */

static struct slice operation_name(int operation)
{
	static const struct slice names[GATEWAY_N_OPERATIONS] = {[OPERATION_CHAT] = {"chat", 4},
								 [OPERATION_TEXT_COMPLETION] = {"text_completion", 15},
								 [OPERATION_EMBEDDINGS] = {"embeddings", 10}};

	return names[operation];
}

#define SERVER_LABELS 5
/* A caller names a use case where others name a model. An empty error_type is none at all. */
static void server_labels(struct prom_label l[SERVER_LABELS + 1], struct slice use_case, int operation,
			  enum record_status status)
{
	l[0] = (struct prom_label){"use_case", use_case};
	l[1] = (struct prom_label){"gen_ai_operation_name", operation_name(operation)};
	l[2] = (struct prom_label){"gen_ai_provider_name", SLICE_LIT("muster")};
	l[3] = (struct prom_label){"gen_ai_request_model", use_case};
	l[4] = (struct prom_label){"error_type", slice_from(status == RECORD_OK ? "" : record_status_name(status))};
	l[5] = (struct prom_label){0};
}

static void write_exchanges(struct prom_writer *w, const struct daemon *d, const struct slot_names *names)
{
	prom_family(w, "gen_ai_server_request_duration_seconds", PROM_HISTOGRAM, "Whole exchanges, by use case.");
	for (size_t slot = 0; slot < GATEWAY_SLOTS; slot++) {
		for (int i = 0; names->name[slot].n && i < GATEWAY_N_OPERATIONS * RECORD_N_STATUSES; i++) {
			int operation = i / RECORD_N_STATUSES, status = i % RECORD_N_STATUSES;
			struct place at = {&histogram_durations,
					   offsetof(struct gateway_stats, use_case[slot].duration[operation][status])};
			struct prom_label labels[SERVER_LABELS + 1];

			server_labels(labels, names->name[slot], operation, (enum record_status)status);
			write_histogram(w, d, at, labels, operation == OPERATION_CHAT && status == RECORD_OK);
		}
	}
}

static void write_first_tokens(struct prom_writer *w, const struct daemon *d, const struct slot_names *names)
{
	prom_family(w, "gen_ai_server_time_to_first_token_seconds", PROM_HISTOGRAM,
		    "From the request to the first token of good answers, by use case.");
	for (size_t slot = 0; slot < GATEWAY_SLOTS; slot++) {
		for (int i = 0; names->name[slot].n && i < GATEWAY_N_OPERATIONS; i++) {
			struct place at = {&histogram_first_tokens,
					   offsetof(struct gateway_stats, use_case[slot].first_token[i])};
			struct prom_label labels[SERVER_LABELS + 1];

			server_labels(labels, names->name[slot], i, RECORD_OK);
			labels[SERVER_LABELS - 1] = (struct prom_label){0}; /* of good answers alone */
			write_histogram(w, d, at, labels, i == OPERATION_CHAT);
		}
	}
}

#define CLIENT_LABELS 6
/* The families of calls to models: one row for each histogram of struct gateway_model_stats. */
static const struct per_model {
	const char *name, *help, *label, *value;
	const struct histogram_bounds *bounds;
	size_t offset;
} per_model[] = {
#define FIELD(f) offsetof(struct gateway_model_stats, f)
	{"gen_ai_client_operation_duration_seconds", "Calls to models.", "error_type", "", &histogram_durations,
	 FIELD(duration[CALL_OK])},
	{"gen_ai_client_operation_duration_seconds", NULL, "error_type", "timeout", &histogram_durations,
	 FIELD(duration[CALL_TIMEOUT])},
	{"gen_ai_client_operation_duration_seconds", NULL, "error_type", GATEWAY_OTHER, &histogram_durations,
	 FIELD(duration[CALL_FAILED])},
	{"gen_ai_client_operation_time_to_first_chunk_seconds", "From the call to the first bytes of a stream.", NULL,
	 NULL, &histogram_durations, FIELD(first_chunk)},
	{"gen_ai_client_token_usage", "Tokens of one call, as upstreams count them or estimated.", "gen_ai_token_type",
	 "input", &histogram_tokens, FIELD(tokens[0])},
	{"gen_ai_client_token_usage", NULL, "gen_ai_token_type", "output", &histogram_tokens, FIELD(tokens[1])},
#undef FIELD
};

/* Only models that were called: most that are registered are not. */
static void write_model(struct prom_writer *w, const struct daemon *d, const struct per_model *p, unsigned slot)
{
	static const struct gateway_series_labels others = {
		.use_case = {GATEWAY_OTHER, sizeof(GATEWAY_OTHER) - 1},
		.model = {GATEWAY_OTHER, sizeof(GATEWAY_OTHER) - 1},
		.provider = {GATEWAY_OTHER, sizeof(GATEWAY_OTHER) - 1},
		.request_model = {GATEWAY_OTHER, sizeof(GATEWAY_OTHER) - 1},
	};
	const struct gateway_series_labels *l =
		slot < GATEWAY_MODEL_SLOTS - 1 ? gateway_series_at(d->prepare.series, slot) : &others;
	struct place at = {p->bounds, offsetof(struct gateway_stats, model[slot]) + p->offset};
	struct prom_label labels[CLIENT_LABELS + 1] = {
		{"use_case", l->use_case},
		{"model", l->model},
		{"gen_ai_operation_name", operation_name((int)l->operation)},
		{"gen_ai_provider_name", l->provider},
		{"gen_ai_request_model", l->request_model},
		{p->label, slice_from(p->value)},
	};

	write_histogram(w, d, at, labels, false);
}

static void write_calls(struct prom_writer *w, const struct daemon *d)
{
	unsigned n = gateway_series_count(d->prepare.series);

	for (size_t i = 0; i < COUNT_OF(per_model); i++) {
		if (per_model[i].help)
			prom_family(w, per_model[i].name, PROM_HISTOGRAM, per_model[i].help);
		for (unsigned slot = 0; slot < n; slot++)
			write_model(w, d, &per_model[i], slot);
		write_model(w, d, &per_model[i], GATEWAY_MODEL_SLOTS - 1);
	}
}

static void write_left_out(struct prom_writer *w, const struct snapshot *s)
{
	prom_family(w, "muster_registry_left_out", PROM_GAUGE,
		    "Entries of the registry that cannot be used: left out, or served as they were before.");
	prom_count(w, NULL, 0, s ? s->n_left_out : 0);
}

/* What has no series of its own is counted together with others. */
static void write_folded(struct prom_writer *w, const struct daemon *d, const struct snapshot *s)
{
	uint64_t n = 0;

	for (size_t i = 0; s && i < s->n_use_cases; i++)
		n += s->use_cases[i].slot >= GATEWAY_SLOTS - 1;
	prom_family(w, "muster_metrics_folded_use_cases", PROM_GAUGE,
		    "Use cases without series of their own: they are counted together as " GATEWAY_OTHER ".");
	prom_count(w, NULL, 0, n);
	prom_family(w, "muster_metrics_folded_models_total", PROM_COUNTER,
		    "Times that a model got no series of its own: such are counted together as " GATEWAY_OTHER ".");
	prom_count(w, NULL, 0, gateway_series_folded(d->prepare.series));
}

static void name_slots(const struct snapshot *s, struct slot_names *names)
{
	for (size_t i = 0; s && i < s->n_use_cases; i++)
		if (s->use_cases[i].slot < GATEWAY_SLOTS - 1)
			names->name[s->use_cases[i].slot] = s->use_cases[i].settings.name;
	names->name[GATEWAY_SLOTS - 1] = SLICE_LIT(GATEWAY_OTHER);
}

int daemon_write_metrics(struct daemon *d, struct buf *out)
{
	struct telemetry_loop loops[DAEMON_MAX_LOOPS + 1];
	struct telemetry_sources src = {
		.health = &d->health, .now_us = clock_wall_us(), .loops = loops, .n_loops = all_loops(d)};
	struct snapshot *s = registry_snapshot(d->registry);
	struct slot_names names = {0};
	struct prom_writer w;

	for (size_t i = 0; i < src.n_loops; i++) {
		const struct gateway *g = d->loops[i].gateway;

		loops[i] = (struct telemetry_loop){d->loops[i].name, http_server_stats(d->loops[i].server),
						   gateway_client_stats(g), &gateway_stats(g)->generation};
	}
	name_slots(s, &names);
	prom_init(&w, out);
	telemetry_metrics_write(&w, &src);
	write_spool(&w, d);
	write_leader(&w, d);
	daemon_write_budgets(d, &w);
	write_retention(&w, d);
	daemon_write_alerts(d, &w);
	write_gateway(&w, d);
	daemon_write_upstreams(&w, s);
	write_lookups(&w, d);
	write_left_out(&w, s);
	write_deployments(&w, d, s);
	write_use_case_counters(&w, d, &names);
	write_costs(&w, d, &names);
	write_texts(&w, d, &names);
	write_exchanges(&w, d, &names);
	write_first_tokens(&w, d, &names);
	write_calls(&w, d);
	write_folded(&w, d, s);
	snapshot_unref(s);
	return buf_failed(out) ? 500 : 200;
}
