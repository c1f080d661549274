/* SPDX-License-Identifier: Apache-2.0 */
/* A review as one JSON document.  A figure that was not measured is null, never 0. */
#include "control/telemetry/review_internal.h"
#include "core/base/clock.h"

static void key_time(struct json_writer *w, const char *key, int64_t at_us)
{
	char text[CLOCK_ISO_SIZE];

	jw_kcstr(w, key, at_us ? clock_iso(at_us, text) : NULL);
}

static void key_text(struct json_writer *w, const char *key, struct slice s)
{
	jw_key(w, key);
	if (s.n)
		jw_str(w, s);
	else
		jw_null(w);
}

static void key_figure(struct json_writer *w, const char *key, bool known, double v)
{
	jw_key(w, key);
	if (known)
		jw_double(w, v);
	else
		jw_null(w);
}

static void key_share(struct json_writer *w, const char *key, int64_t part, int64_t whole)
{
	key_figure(w, key, whole > 0, review_share(part, whole));
}

static void key_uuid(struct json_writer *w, const char *key, const struct uuid *id)
{
	char text[UUID_STR_SIZE];

	jw_kcstr(w, key, uuid_is_nil(id) ? NULL : uuid_format(id, text));
}

static void write_percentiles(struct json_writer *w, const char *key, const uint32_t *buckets)
{
	static const struct {
		const char *key;
		unsigned percent;
	} wanted[] = {{"p50", 50}, {"p95", 95}, {"p99", 99}};

	jw_key(w, key);
	jw_object(w);
	for (size_t i = 0; i < COUNT_OF(wanted); i++) {
		double ms = review_percentile_ms(buckets, wanted[i].percent);

		key_figure(w, wanted[i].key, ms >= 0, ms);
	}
	jw_object_end(w);
}

static void write_costs(struct json_writer *w, const struct review_counts *c)
{
	jw_ki64(w, "priced", c->priced);
	jw_key(w, "costs");
	jw_array(w);
	for (size_t i = 0; i < c->n_costs; i++) {
		const struct review_cost *cost = &c->costs[i];
		char text[MONEY_SIZE];

		jw_object(w);
		jw_kcstr(w, "currency", cost->sum.currency);
		jw_kraw(w, "cost", slice_from(money_format(cost->sum.nano, text)));
		key_share(w, "estimated_share", cost->estimated_nano, cost->sum.nano);
		jw_ki64(w, "requests", cost->requests);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void write_counts(struct json_writer *w, const struct review_counts *c)
{
	jw_object(w);
	jw_ki64(w, "requests", c->requests);
	jw_key(w, "by_status");
	jw_object(w);
	for (unsigned i = 0; i < RECORD_N_STATUSES; i++)
		jw_ki64(w, record_status_name((enum record_status)i), c->by_status[i]);
	jw_object_end(w);
	jw_ki64(w, "errors", review_errors(c));
	jw_ki64(w, "fallbacks", c->fallbacks);
	jw_ki64(w, "checked", c->requests - c->unchecked);
	jw_ki64(w, "flagged", c->flagged);
	jw_ki64(w, "violations", c->violations);
	key_share(w, "success_rate", c->by_status[RECORD_OK], c->requests);
	key_share(w, "error_rate", review_errors(c), c->requests);
	key_share(w, "fallback_rate", c->fallbacks, c->requests);
	key_share(w, "blocked_rate", c->by_status[RECORD_BLOCKED], c->requests);
	key_share(w, "violation_rate", c->flagged, c->requests - c->unchecked);
	jw_ki64(w, "prompt_tokens", c->prompt_tokens);
	jw_ki64(w, "completion_tokens", c->completion_tokens);
	key_share(w, "estimated_share", c->estimated, c->requests);
	write_costs(w, c);
	write_percentiles(w, "latency_ms", c->latency);
	write_percentiles(w, "first_token_ms", c->first_token);
	jw_object_end(w);
}

static void write_period(struct json_writer *w, const char *key, int64_t since_us, int64_t until_us)
{
	jw_key(w, key);
	jw_object(w);
	key_time(w, "since", since_us);
	key_time(w, "until", until_us);
	jw_object_end(w);
}

static void write_group_counts(struct json_writer *w, const struct review_group *g)
{
	jw_key(w, "now");
	write_counts(w, &g->now);
	jw_key(w, "before");
	write_counts(w, &g->before);
}

static void write_groups(struct json_writer *w, const char *key, const struct review_group *list, size_t n, bool models)
{
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < n; i++) {
		jw_object(w);
		key_text(w, "use_case", list[i].use_case);
		if (models)
			key_text(w, "model", list[i].model);
		write_group_counts(w, &list[i]);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void write_series(struct json_writer *w, const struct review *r)
{
	jw_key(w, "series");
	jw_object(w);
	jw_ki64(w, "bucket_s", r->bucket_us / 1000000);
	jw_key(w, "buckets");
	jw_array(w);
	for (size_t i = 0; i < r->n_buckets; i++) {
		const struct review_bucket *b = &r->buckets[i];
		double p95 = review_percentile_ms(b->latency, 95);

		jw_object(w);
		key_time(w, "at", r->since_us + (int64_t)i * r->bucket_us);
		jw_ki64(w, "requests", b->requests);
		jw_ki64(w, "errors", b->errors);
		key_figure(w, "latency_p95_ms", p95 >= 0, p95);
		jw_ki64(w, "violations", b->violations);
		jw_object_end(w);
	}
	jw_array_end(w);
	jw_object_end(w);
}

static void write_tally(struct json_writer *w, const char *key, struct slice name, int64_t n, int64_t n_before)
{
	jw_object(w);
	key_text(w, key, name);
	jw_ki64(w, "n", n);
	jw_ki64(w, "before", n_before);
	jw_object_end(w);
}

static void write_rule(struct json_writer *w, const struct review_rule *rule)
{
	jw_object(w);
	jw_kstr(w, "rule", rule->rule);
	key_text(w, "policy", rule->policy);
	key_text(w, "category", rule->category);
	jw_kcstr(w, "severity", guard_severity_name(rule->severity));
	jw_kcstr(w, "action", guard_action_name(rule->action));
	jw_ki64(w, "n", rule->n);
	jw_ki64(w, "before", rule->n_before);
	jw_key(w, "log_ids");
	jw_array(w);
	for (size_t i = 0; i < rule->samples.n; i++)
		jw_str(w, rule->samples.ids[i]);
	jw_array_end(w);
	jw_object_end(w);
}

static void write_violations(struct json_writer *w, const struct review *r)
{
	jw_key(w, "violations");
	jw_object(w);
	jw_ki64(w, "n", r->total.now.violations);
	jw_ki64(w, "before", r->total.before.violations);
	jw_key(w, "by_severity");
	jw_array(w);
	for (unsigned i = GUARD_CRITICAL + 1; i-- > GUARD_LOW;)
		write_tally(w, "severity", slice_from(guard_severity_name((enum guard_severity)i)), r->by_severity[i],
			    r->by_severity_before[i]);
	jw_array_end(w);
	jw_key(w, "by_category");
	jw_array(w);
	for (size_t i = 0; i < r->n_categories; i++)
		write_tally(w, "category", r->categories[i].name, r->categories[i].n, r->categories[i].n_before);
	jw_array_end(w);
	jw_key(w, "rules");
	jw_array(w);
	for (size_t i = 0; i < r->n_rules; i++)
		write_rule(w, &r->rules[i]);
	jw_array_end(w);
	jw_kbool(w, "left_off", r->rules_left_off);
	jw_object_end(w);
}

static void write_deployment(struct json_writer *w, const struct deployment *d, struct slice model, int64_t until_us)
{
	bool finished = d->finished_us && d->finished_us < until_us;

	jw_object(w);
	key_uuid(w, "deployment_id", &d->id);
	jw_kstr(w, "use_case", d->use_case);
	key_text(w, "model", model);
	key_uuid(w, "model_id", &d->model_id);
	jw_kcstr(w, "strategy", deploy_strategy_name(d->strategy));
	jw_kcstr(w, "state", deploy_state_name(d->state));
	key_time(w, "started_at", d->created_us);
	key_time(w, "finished_at", d->finished_us);
	key_figure(w, "duration_s", finished, (double)(d->finished_us - d->created_us) / 1e6);
	key_text(w, "rollback_reason", d->rollback_reason);
	jw_kstr(w, "actor", d->actor);
	jw_kstr(w, "reason", d->reason);
	jw_object_end(w);
}

static void write_deployments(struct json_writer *w, const struct review *r)
{
	const struct review_deployments *now = &r->deployments, *before = &r->deployments_before;

	jw_key(w, "deployments");
	jw_object(w);
	jw_ki64(w, "finished", now->finished);
	jw_ki64(w, "succeeded", now->succeeded);
	key_share(w, "success_rate", now->succeeded, now->finished);
	jw_ki64(w, "finished_before", before->finished);
	jw_ki64(w, "succeeded_before", before->succeeded);
	jw_key(w, "list");
	jw_array(w);
	for (size_t i = 0; i < now->n; i++)
		write_deployment(w, &now->list[i], now->models[i], r->until_us);
	jw_array_end(w);
	jw_kbool(w, "left_off", now->more);
	jw_object_end(w);
}

static void write_targets(struct json_writer *w, const struct review *r)
{
	static const char *const verdicts[] = {"unknown", "met", "not_met"};

	jw_key(w, "targets");
	jw_array(w);
	for (unsigned i = 0; i < REVIEW_N_TARGETS; i++) {
		const struct review_target *t = &r->targets[i];

		jw_object(w);
		jw_kcstr(w, "target", review_target_name((enum review_target_id)i));
		jw_kcstr(w, "unit", i == REVIEW_LOOKUP ? "ms" : "share");
		jw_kcstr(w, "wanted", i == REVIEW_LOOKUP || i == REVIEW_VIOLATIONS ? "below" : "above");
		jw_kdouble(w, "limit", review_target_limit((enum review_target_id)i));
		key_figure(w, "figure", t->measured, t->figure);
		jw_kcstr(w, "verdict", verdicts[t->verdict]);
		jw_kstr(w, "detail", t->detail);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void write_changes(struct json_writer *w, const struct review *r)
{
	char id[UUID_STR_SIZE];

	jw_key(w, "changes");
	jw_array(w);
	for (size_t i = 0; i < r->n_changes; i++) {
		const struct review_change *c = &r->changes[i];

		jw_object(w);
		jw_kcstr(w, "event_id", uuid_format(&c->event.id, id));
		key_time(w, "at", c->event.at_us);
		jw_kstr(w, "kind", c->event.kind);
		jw_kstr(w, "subject", c->event.subject);
		key_text(w, "name", c->name);
		key_text(w, "use_case", c->event.use_case);
		key_text(w, "from", c->from);
		key_text(w, "to", c->to);
		jw_kstr(w, "actor", c->event.actor);
		jw_kstr(w, "reason", c->event.reason);
		jw_object_end(w);
	}
	jw_array_end(w);
	jw_kbool(w, "changes_left_off", r->more_changes);
}

static void write_keys(struct json_writer *w, const struct review *r, const char *key, const char *kind)
{
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < r->n_changes; i++) {
		const struct review_change *c = &r->changes[i];

		if (!slice_eq_str(c->event.kind, kind))
			continue;
		jw_object(w);
		jw_kstr(w, "name", c->name);
		key_time(w, "at", c->event.at_us);
		jw_kstr(w, "actor", c->event.actor);
		jw_kstr(w, "reason", c->event.reason);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void write_findings(struct json_writer *w, const struct review *r)
{
	static const char *const weights[] = {"note", "warn", "bad"};

	jw_key(w, "findings");
	jw_array(w);
	for (size_t i = 0; i < r->n_findings; i++) {
		const struct review_finding *f = &r->findings[i];

		jw_object(w);
		jw_kcstr(w, "kind", f->kind);
		jw_kcstr(w, "weight", weights[f->weight]);
		key_text(w, "use_case", f->use_case);
		jw_kstr(w, "text", f->text);
		jw_kstr(w, "command", f->command);
		jw_object_end(w);
	}
	jw_array_end(w);
}

void review_write(struct json_writer *w, const struct review *r)
{
	jw_object(w);
	jw_kcstr(w, "object", "review");
	jw_ki64(w, "window_s", r->request.window_us / 1000000);
	key_text(w, "use_case", r->request.use_case);
	write_period(w, "period", r->since_us, r->until_us);
	write_period(w, "period_before", r->before_us, r->since_us);
	jw_kdouble(w, "percentile_error", REVIEW_LATENCY_ERROR);
	write_findings(w, r);
	write_targets(w, r);
	jw_key(w, "total");
	jw_object(w);
	write_group_counts(w, &r->total);
	jw_object_end(w);
	write_groups(w, "use_cases", r->use_cases, r->n_use_cases, false);
	write_groups(w, "models", r->models, r->n_models, true);
	jw_kbool(w, "groups_left_off", r->groups_left_off);
	write_series(w, r);
	write_violations(w, r);
	write_deployments(w, r);
	write_changes(w, r);
	jw_key(w, "keys");
	jw_object(w);
	write_keys(w, r, "made", "key.created");
	write_keys(w, r, "revoked", "key.revoked");
	jw_object_end(w);
	jw_object_end(w);
}
