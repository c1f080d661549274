/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting: whole exchanges by use case, calls by model, texts that guardrails judged.  Each loop counts for itself,
 * in places that were found beforehand (series.h, the slots of use cases).
 */
#include "serving/gateway/exchange.h"
#include "serving/gateway/series.h"
#include "serving/gateway/target.h"

static struct gateway_model_stats *model_stats(struct exchange *e, const struct candidate *c)
{
	return &e->g->stats.model[e->back ? target_slot(c->target, e->back) : c->target->slot];
}

void measure_call(struct exchange *e, enum call_end end)
{
	const struct candidate *c = exchange_served_by(e);
	struct gateway_model_stats *s;
	int64_t now = loop_now_ms(e->g->loop);

	if (!c || end == CALL_NOT_COUNTED)
		return;
	s = model_stats(e, c);
	histogram_observe(&s->duration[end], &histogram_durations, (uint64_t)(now - e->attempt_ms) * 1000);
	if (end == CALL_OK && e->upstream_is_stream && e->call.first_byte_ms >= e->attempt_ms)
		histogram_observe(&s->first_chunk, &histogram_durations,
				  (uint64_t)(e->call.first_byte_ms - e->attempt_ms) * 1000);
}

static void measure_cost(struct gateway_use_case_stats *s, const struct money *m)
{
	const unsigned char *c = (const unsigned char *)m->currency;
	uint64_t letters = c[0] | (uint64_t)c[1] << 8 | (uint64_t)c[2] << 16;

	for (size_t i = 0; i < GATEWAY_CURRENCIES && letters; i++) {
		struct gateway_cost_stats *at = &s->cost[i];

		if (!counter_get(&at->currency))
			counter_set(&at->currency, letters);
		if (counter_get(&at->currency) != letters)
			continue;
		counter_add(&at->nano, (uint64_t)m->nano);
		return;
	}
}

static void measure_tokens(struct exchange *e, const struct log_record *r)
{
	const struct candidate *c = exchange_served_by(e);
	struct gateway_model_stats *s = c && e->n_attempts ? model_stats(e, c) : NULL;

	if (r->cached)
		return;
	if (r->prompt_tokens > 0)
		counter_add(&e->stats->input_tokens, (uint64_t)r->prompt_tokens);
	if (r->completion_tokens > 0)
		counter_add(&e->stats->output_tokens, (uint64_t)r->completion_tokens);
	if (s && r->prompt_tokens >= 0)
		histogram_observe(&s->tokens[0], &histogram_tokens, (uint64_t)r->prompt_tokens);
	if (s && r->completion_tokens >= 0)
		histogram_observe(&s->tokens[1], &histogram_tokens, (uint64_t)r->completion_tokens);
}

void measure_exchange(struct exchange *e, const struct log_record *r)
{
	enum gateway_operation operation = gateway_operation_of(e->front);
	struct gateway_use_case_stats *s = e->stats;

	if (!s)
		return;
	measure_tokens(e, r);
	measure_cost(s, &r->cost);
	histogram_observe(&s->duration[operation][r->status], &histogram_durations, (uint64_t)r->latency_us);
	if (r->first_token_us >= 0 && r->status == RECORD_OK)
		histogram_observe(&s->first_token[operation], &histogram_first_tokens, (uint64_t)r->first_token_us);
	if (e->upstream_is_stream && e->output_hits) /* its pieces were judged as they came: one text */
		measure_hits(s, e->policy, GUARD_OUTPUT, e->output_hits);
}

void measure_hits(struct gateway_use_case_stats *s, const struct guard_policy *policy, enum guard_side side,
		  const struct hit_list *l)
{
	enum guard_severity worst = GUARD_LOW;

	counter_add(&s->texts[side == GUARD_OUTPUT][l->action], 1);
	for (size_t i = 0; i < l->n_hits; i++) {
		struct guard_rule_info rule = guard_rule(policy, l->hit[i].rule);

		if (rule.severity > worst)
			worst = rule.severity;
	}
	if (l->n_hits)
		counter_add(&s->violating[worst], 1);
}

void measure_text(struct gateway_use_case_stats *s, const struct guard_policy *policy, enum guard_side side,
		  const struct guard_result *r)
{
	struct hit_list l = {
		.action = r->action, .n_hits = (uint16_t)r->n_hits, .hit = (struct guard_hit *)(uintptr_t)r->hit};

	measure_hits(s, policy, side, &l);
}

struct gateway_use_case_stats *measure_use_case(struct gateway *g, const struct snapshot_use_case *u)
{
	unsigned slot = u && u->slot < GATEWAY_SLOTS ? u->slot : GATEWAY_SLOTS - 1;

	return &g->stats.use_case[slot];
}
