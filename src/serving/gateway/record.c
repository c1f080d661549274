/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable record of an exchange, written before the last byte of the answer leaves; and its counters.
 */
#include "serving/gateway/exchange.h"

#include "core/base/utf8.h"
#include "serving/gateway/limits.h"
#include "serving/gateway/resume.h"

static void add_violations(const struct exchange *e, struct log_record *r, const struct hit_list *hits,
			   enum guard_side side)
{
	for (size_t i = 0; hits && i < hits->n_hits && r->n_violations < RECORD_MAX_VIOLATIONS; i++) {
		struct guard_rule_info rule = guard_rule(e->policy, hits->hit[i].rule);

		r->violations[r->n_violations++] =
			(struct record_violation){.policy = slice_from(guard_policy_name(e->policy)),
						  .rule = rule.id,
						  .category = rule.category,
						  .action = rule.action,
						  .severity = rule.severity,
						  .side = side,
						  .start = (uint32_t)hits->hit[i].start,
						  .length = (uint32_t)(hits->hit[i].end - hits->hit[i].start)};
	}
}

/* The entry of these names, made when there is none; the last one when there is no room. */
static struct gateway_critical_stats *critical_entry(struct gateway_stats *s, struct slice use_case, struct slice rule)
{
	size_t n = gateway_n_critical(s);
	struct gateway_critical_stats *c = s->critical;

	for (size_t i = 0; i < n; i++, c++)
		if (slice_eq_str(use_case, c->use_case) && slice_eq_str(rule, c->rule))
			return c;
	if (n >= GATEWAY_CRITICAL - 1) {
		use_case = SLICE_LIT("");
		rule = SLICE_LIT("other");
		c = &s->critical[GATEWAY_CRITICAL - 1];
	}
	if (n < GATEWAY_CRITICAL) {
		(void)snprintf(c->use_case, sizeof(c->use_case), SLICE_FMT, SLICE_ARG(use_case)); /* cut above */
		(void)snprintf(c->rule, sizeof(c->rule), SLICE_FMT, SLICE_ARG(rule));
		atomic_store_explicit(&s->n_critical.v, n + 1, memory_order_release);
	}
	return c;
}

static void count_violations(struct exchange *e, const struct log_record *r)
{
	for (size_t i = 0; i < r->n_violations; i++) {
		const struct record_violation *v = &r->violations[i];

		counter_add(&e->g->stats.violations[v->severity], 1);
		if (v->severity == GUARD_CRITICAL)
			counter_add(&critical_entry(&e->g->stats, utf8_truncate(r->use_case, GATEWAY_NAME_SIZE - 1),
						    utf8_truncate(v->rule, GATEWAY_NAME_SIZE - 1))
					     ->hits,
				    1);
	}
}

/* Bounded, so that the record fits the spool whatever was asked and answered. */
static void add_texts(struct exchange *e, struct log_record *r)
{
	if (e->log == LOG_METADATA)
		return;
	r->prompt = utf8_truncate(e->request.prompt, LOG_TEXT_MAX);
	r->context = e->request.context;
	if (r->context.n > LOG_TEXT_MAX) /* JSON cannot be cut */
		r->context = slice_from(arena_printf(&e->http->arena, "{\"omitted_bytes\":%zu}", r->context.n));
	r->output = utf8_truncate(e->stream && !e->answer.text.p ? buf_slice(&e->stream->text) : e->answer.text,
				  LOG_TEXT_MAX);
	if (!e->cached)
		e->tool_calls = calls_json(e, max_size(LOG_TEXT_MAX - r->output.n, LOG_ROOM_MIN));
	r->tool_calls = e->tool_calls;
}

/* What the caller asked for beside the text. */
static struct slice parameters_of(struct exchange *e)
{
	const struct chat_request *q = &e->request;
	struct json_writer w;
	struct buf b;

	int64_t dimensions = q->embed ? q->embed->dimensions : 0;

	if (!q->has_max_tokens && !q->has_temperature && !q->has_top_p && !q->has_seed && !dimensions)
		return (struct slice){0};
	buf_init_arena(&b, &e->http->arena, 512);
	jw_init(&w, &b);
	jw_object(&w);
	if (q->has_max_tokens)
		jw_ki64(&w, "max_tokens", q->max_tokens);
	if (q->has_temperature)
		jw_kdouble(&w, "temperature", q->temperature);
	if (q->has_top_p)
		jw_kdouble(&w, "top_p", q->top_p);
	if (q->has_seed)
		jw_ki64(&w, "seed", q->seed);
	if (dimensions)
		jw_ki64(&w, "dimensions", dimensions);
	jw_object_end(&w);
	return buf_failed(&b) ? (struct slice){0} : buf_slice(&b);
}

static void add_usage(struct exchange *e, struct log_record *r)
{
	const struct candidate *c = exchange_served_by(e);
	const struct chat_usage *u = &e->answer.usage;
	struct chat_usage all;

	if (e->stream && resume_said(e)) /* what came before it broke off counts */
		exchange_complete_usage(e, resume_said(e));
	all = resume_usage(e);
	r->prompt_tokens = all.known ? all.prompt_tokens : -1;
	r->completion_tokens = all.known ? all.completion_tokens : -1;
	r->tokens_estimated = all.estimated;
	r->cached = e->cached;
	if (c && e->cached)
		memcpy(r->cost.currency, c->targets->price.currency, sizeof(r->cost.currency)); /* it cost nothing */
	else if (c && u->known)
		r->cost = price_cost(&c->targets->price, u->prompt_tokens, u->cached_tokens, u->completion_tokens);
	r->cost = resume_cost(e, r->cost);
	spend_add_waste(e, &r->cost);
}

static void fill(struct exchange *e, struct log_record *r)
{
	const struct candidate *c = exchange_served_by(e);

	r->id = e->log_id;
	r->created_us = e->start_us;
	r->source = RECORD_GATEWAY;
	r->request_id = e->request_id;
	r->use_case = e->use_case_name;
	r->caller = e->caller.name;
	r->stream = e->request.stream;
	r->error = r->status == RECORD_OK ? (struct slice){NULL, 0}
					  : slice_from(e->error_text); /* of it, not of attempts */
	r->guard_action = e->action;
	r->guard_skipped = !e->policy;
	if (c) {
		r->model_id = c->id;
		r->model_name = c->full_name;
		r->provider = c->provider;
		r->fallback = c->kind;
	} else if (e->have_answer) {
		r->fallback = RECORD_FALLBACK_CONTENT;
	}
	r->finish_reason = slice_from(chat_finish_name(e->answer.finish));
	r->latency_us = (loop_now_ms(e->g->loop) - e->start_ms) * 1000;
	r->first_token_us = e->first_token_ms < 0 ? -1 : e->first_token_ms * 1000;
}

static void add_attempts(struct exchange *e, struct log_record *r)
{
	attempt_close(e);
	if (!e->attempts.n)
		return;
	buf_addc(&e->attempts, ']');
	r->attempts = buf_slice(&e->attempts);
}

static void count(struct exchange *e, const struct log_record *r)
{
	struct gateway_use_case_stats *s = e->stats;

	if (!s)
		return;
	if (r->status == RECORD_OK && r->fallback == RECORD_FALLBACK_NONE)
		counter_add(&s->answered, 1);
	if (r->fallback != RECORD_FALLBACK_NONE)
		counter_add(&s->fallback[r->fallback - 1], 1);
	if (r->status == RECORD_TRUNCATED || (r->status == RECORD_TIMEOUT && e->stream && e->stream->begun))
		counter_add(&s->truncated, 1);
	if (e->policy)
		counter_add(&s->guard[e->action], 1);
}

/* Nobody is there to be answered, and no model has failed. */
static bool is_nobodys_fault(enum record_status status)
{
	return status == RECORD_CLIENT_DISCONNECT || status == RECORD_SHUTDOWN;
}

/* What the judges of deployments and alerts read: the request counts for the model that was to serve it. */
static void count_arm(struct exchange *e, const struct log_record *r)
{
	struct gateway_arm_stats *s;
	bool own = !e->arm_failed, failed;

	/* One that was not asked because it failed lately has failed. */
	if (!e->stats || (!e->n_attempts && !e->arm_failed) || (is_nobodys_fault(r->status) && own))
		return;
	/* A refusal of what the request says (400, 422, ...) is the caller's matter. */
	failed = !own || r->status == RECORD_TRUNCATED || r->status == RECORD_TIMEOUT ||
		 (r->status == RECORD_ERROR && r->http_status >= 500);
	s = &e->stats->arm[e->arm];
	counter_add(&s->requests, 1);
	if (failed)
		counter_add(&s->errors, 1);
	else if (r->status == RECORD_OK)
		latency_observe_us(&s->latency, (uint64_t)(loop_now_ms(e->g->loop) - e->attempt_ms) * 1000);
	if (own && e->output_hits && e->output_hits->n_hits)
		counter_add(&s->violations, 1);
}

/* Tokens are known once they are spent: the next request waits for them. */
static void charge(struct exchange *e, const struct log_record *r)
{
	int64_t in = r->prompt_tokens > 0 ? r->prompt_tokens : 0,
		out = r->completion_tokens > 0 ? r->completion_tokens : 0;

	spend_settle(e, r);
	if (r->cached)
		return;
	limits_charge_tokens(e->caller.key, out > INT64_MAX - in ? INT64_MAX : in + out, loop_now_ms(e->g->loop));
}

/* A failure is counted by the spool as lost, and shown by /health. */
static void keep(struct exchange *e, struct log_record *r)
{
	if (e->log == LOG_NONE || !e->use_case_name.n)
		return;
	add_texts(e, r);
	r->parameters = parameters_of(e);
	if (spool_append(e->g->spool, e->g->writer, r))
		e->is_unlogged = e->log_required && !is_nobodys_fault(r->status);
}

void record_exchange(struct exchange *e, enum record_status status, int http_status)
{
	struct log_record r;

	if (e->recorded)
		return;
	e->recorded = true;
	memset(&r, 0, offsetof(struct log_record, violations));
	r.n_violations = 0;
	r.status = status;
	r.http_status = http_status;
	fill(e, &r);
	add_usage(e, &r);
	add_attempts(e, &r);
	charge(e, &r);
	add_violations(e, &r, e->input_hits, GUARD_INPUT);
	add_violations(e, &r, e->output_hits, GUARD_OUTPUT);
	count_violations(e, &r);
	keep(e, &r);
	e->answered_well = status == RECORD_OK && r.fallback == RECORD_FALLBACK_NONE && e->action == GUARD_ALLOW;
	if (e->is_unlogged) /* respond_unlogged counts it, and the model is not at fault */
		return;
	count(e, &r);
	measure_exchange(e, &r);
	count_arm(e, &r);
}
