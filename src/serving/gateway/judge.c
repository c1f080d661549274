/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guardrails on whole texts: what the caller sends, and answers that are not
 * streamed (stream.c judges those).  What would break it: a text that leaves
 * without having been in `judged`.
 */
#include "serving/gateway/exchange.h"

/* A masked body can be longer than the one that came: masks are up to 64 bytes for a match of one. */
#define MASKED_MAX ((size_t)32 * 1024 * 1024)

/* Texts of one body, and what replaces those that have to change. */
struct judgement {
	enum guard_side side;
	struct hit_list *total; /* hits of all texts; NULL until the first */
	struct slice *masked;	/* one per text; absent: unchanged */
	bool any_masked;
};

struct slice exchange_blocking_rule(const struct exchange *e, const struct hit_list *l)
{
	for (size_t i = 0; l && i < l->n_hits; i++) {
		struct guard_rule_info rule = guard_rule(e->policy, l->hit[i].rule);

		if (rule.action == l->action)
			return rule.id;
	}
	return l && l->failed ? SLICE_LIT("on_error") : SLICE_LIT("policy");
}

void exchange_take_action(struct exchange *e, enum guard_action action)
{
	if (action > e->action)
		e->action = action;
}

static void add_hits(struct exchange *e, struct judgement *j, const struct guard_result *r)
{
	if (!j->total)
		j->total = ARENA_NEW(&e->http->arena, struct hit_list);
	if (!j->total)
		return;
	for (size_t i = 0; i < r->n_hits && hits_add(&e->http->arena, j->total, r->hit[i]); i++)
		;
	j->total->overflow |= r->overflow;
	j->total->failed |= r->failed;
	if (r->action > j->total->action)
		j->total->action = r->action;
}

static struct slice mask_text(struct exchange *e, const struct guard_result *r, struct slice text)
{
	struct buf out;

	buf_init_arena(&out, &e->http->arena, MASKED_MAX);
	if (guard_mask(e->policy, r, 0, text, &out) || buf_failed(&out))
		return (struct slice){0};
	return out.n ? buf_slice(&out) : SLICE_LIT("");
}

static enum guard_action judge_one(struct exchange *e, struct judgement *j, struct slice text, struct slice *ret_masked)
{
	struct guard_result r;

	guard_result_init(&r);
	guard_check(e->policy, e->g->scratch, j->side, text, &r);
	if (r.failed)
		counter_add(&e->g->stats.guard_failures, 1);
	/* More matches than can be listed: not all could be replaced. */
	if (r.overflow && r.action == GUARD_MASK)
		r.action = GUARD_BLOCK;
	if (r.action == GUARD_MASK) {
		*ret_masked = mask_text(e, &r, text);
		if (!ret_masked->p)
			r.action = GUARD_BLOCK;
		j->any_masked = true;
	}
	measure_text(e->stats, e->policy, j->side, &r);
	if (!r.n_hits && !r.failed)
		return GUARD_ALLOW;
	add_hits(e, j, &r);
	return r.action;
}

static enum guard_action judge_all(struct exchange *e, struct judgement *j, const struct chat_text *texts, size_t n)
{
	enum guard_action strongest = GUARD_ALLOW;

	j->masked = n ? ARENA_ARRAY(&e->http->arena, struct slice, n) : NULL;
	if (n && !j->masked)
		return GUARD_BLOCK;
	for (size_t i = 0; i < n; i++) {
		enum guard_action action = judge_one(e, j, texts[i].text, &j->masked[i]);

		if (action > strongest)
			strongest = action;
	}
	exchange_take_action(e, strongest);
	return strongest;
}

/* The body with every masked text in its place, and null for what repeats it; absent when that cannot be done. */
static struct slice replace_texts(struct exchange *e, struct slice body, const struct judgement *j,
				  const struct chat_text *texts, size_t n, const struct chat_answer *answer)
{
	size_t n_more = answer ? 1 + answer->n_other_logprobs : 0, k = 0;
	struct splice *splices = ARENA_ARRAY(&e->http->arena, struct splice, n + n_more);
	struct buf out, json;

	if (!splices)
		return (struct slice){0};
	for (size_t i = 0; i < n; i++) {
		if (!j->masked[i].p)
			continue;
		if (!texts[i].raw.p)
			return (struct slice){0};
		buf_init_arena(&json, &e->http->arena, MASKED_MAX);
		buf_reserve(&json, j->masked[i].n + 2); /* its own size: there may be many */
		buf_addc(&json, '"');
		json_escape(&json, j->masked[i]);
		buf_addc(&json, '"');
		splices[k++] = (struct splice){texts[i].raw, buf_slice(&json)};
	}
	if (answer) {
		splices[k++] = (struct splice){answer->logprobs_raw, SLICE_LIT("null")};
		for (size_t i = 0; i < answer->n_other_logprobs; i++)
			splices[k++] = (struct splice){answer->other_logprobs[i], SLICE_LIT("null")};
	}
	buf_init_arena(&out, &e->http->arena, MASKED_MAX);
	buf_reserve(&out, body.n + 1024);
	if (protocol_splice(&out, body, splices, k) || !buf_reserve(&out, JSON_PADDING) || buf_failed(&out))
		return (struct slice){0};
	return buf_slice(&out);
}

static bool redecode(struct exchange *e, struct slice body)
{
	const char *param;

	if (!body.p || json_parse(e->g->json, &e->http->arena, body, NULL, &e->root, NULL))
		return false;
	memset(&e->request, 0, sizeof(e->request));
	return !exchange_read_request(e, body, &param, NULL);
}

static enum next refuse_input(struct exchange *e, struct slice rule)
{
	struct api_error error = {.status = 400, .type = "guardrail_violation", .code = "content_filter"};
	const char *text = arena_printf(&e->http->arena, "The request was refused by guardrail rule '" SLICE_FMT "'.",
					SLICE_ARG(rule));

	error.message = slice_from(text ? text : "The request was refused by a guardrail.");
	exchange_say(e, SLICE_FMT, SLICE_ARG(error.message));
	exchange_take_action(e, GUARD_BLOCK);
	record_exchange(e, RECORD_BLOCKED, error.status);
	return respond_error(e, &error);
}

bool exchange_may_tell(struct exchange *e, struct slice text)
{
	struct guard_result r;

	if (!e->policy || !guard_policy_has(e->policy, GUARD_OUTPUT) || !text.n)
		return true;
	guard_result_init(&r);
	guard_check(e->policy, e->g->scratch, GUARD_OUTPUT, text, &r);
	if (r.failed)
		counter_add(&e->g->stats.guard_failures, 1);
	return r.action < GUARD_MASK;
}

bool exchange_may_tell_all(struct exchange *e, const struct json *v)
{
	if (!exchange_may_tell(e, v->key) || (v->type == JSON_STRING && !exchange_may_tell(e, v->str)))
		return false;
	for (const struct json *item = v->first; item; item = item->next)
		if (!exchange_may_tell_all(e, item))
			return false;
	return true;
}

enum next exchange_guard_input(struct exchange *e)
{
	struct judgement j = {.side = GUARD_INPUT};
	enum guard_action action;

	e->step = STEP_BUDGET;
	if (!e->policy || !guard_policy_has(e->policy, GUARD_INPUT))
		return NEXT;
	if (e->request.tokens_only && guard_policy_intervenes(e->policy, GUARD_INPUT))
		return exchange_refuse(e,
				       "The guardrails of this use case judge what is sent, and cannot read numbers "
				       "of tokens: send texts.",
				       NULL);
	action = judge_all(e, &j, e->request.judged, e->request.n_judged);
	e->input_hits = j.total;
	if (action == GUARD_BLOCK || (action == GUARD_FALLBACK && e->request.embed))
		return refuse_input(e, exchange_blocking_rule(e, j.total));
	if (action == GUARD_FALLBACK)
		return answer_fallback_content(e, "a guardrail rule asks for fallback content");
	if (j.any_masked &&
	    !redecode(e, replace_texts(e, e->request.body, &j, e->request.judged, e->request.n_judged, NULL)))
		return refuse_input(e, SLICE_LIT("mask"));
	return NEXT;
}

/* The answer anew from the body with its texts replaced: whatever leaves of it, in any protocol, is masked then. */
static bool mask_answer(struct exchange *e, const struct judgement *j)
{
	const struct protocol *back = e->back;
	struct chat_answer *answer = &e->answer;
	struct slice body = replace_texts(e, buf_slice(&e->body), j, answer->judged, answer->n_judged, answer);

	if (!body.p)
		return false;
	buf_clear(&e->body);
	return !buf_add(&e->body, body) &&
	       !back->decode_answer(&e->http->arena, e->g->json, buf_slice(&e->body), answer, NULL);
}

/* Whether a hit reaches over the end of a text into the next. */
static bool is_over_a_seam(const struct chat_answer *answer, const struct guard_hit *hit)
{
	uint64_t end = 0;

	for (size_t i = 0; i < answer->n_parts && end < hit->end; i++) {
		if (answer->parts[i].kind != CHAT_PART_TEXT)
			continue;
		end += answer->parts[i].text.n;
		if (hit->start < end && hit->end > end)
			return true;
	}
	return false;
}

/* Callers who get several texts as one may get together what stands in none of them: no mask can take its place. */
static enum guard_action judge_seams(struct exchange *e, struct judgement *j)
{
	const struct chat_answer *answer = &e->answer;
	struct guard_result r, over;
	size_t n = 0;

	for (size_t i = 0; i < answer->n_parts; i++)
		n += answer->parts[i].kind == CHAT_PART_TEXT;
	if (n < 2 || !e->front->joins_texts)
		return GUARD_ALLOW;
	guard_result_init(&r);
	guard_result_init(&over);
	guard_check(e->policy, e->g->scratch, j->side, answer->text, &r);
	over.failed = r.failed || r.overflow;
	if (over.failed)
		over.action = r.action == GUARD_MASK ? GUARD_BLOCK : r.action;
	for (size_t i = 0; i < r.n_hits; i++) {
		enum guard_action action = guard_rule(e->policy, r.hit[i].rule).action;

		if (!is_over_a_seam(answer, &r.hit[i]))
			continue;
		over.hit[over.n_hits++] = r.hit[i];
		action = action == GUARD_MASK ? GUARD_BLOCK : action;
		over.action = action > over.action ? action : over.action;
	}
	if (!over.n_hits && !over.failed)
		return GUARD_ALLOW;
	measure_text(e->stats, e->policy, j->side, &over);
	add_hits(e, j, &over);
	exchange_take_action(e, over.action);
	return over.action;
}

enum guard_action exchange_judge_answer(struct exchange *e)
{
	struct judgement j = {.side = GUARD_OUTPUT};
	struct chat_answer *answer = &e->answer;
	enum guard_action action, over;

	if (!e->policy || !guard_policy_has(e->policy, GUARD_OUTPUT))
		return GUARD_ALLOW;
	action = judge_all(e, &j, answer->judged, answer->n_judged);
	over = action < GUARD_FALLBACK ? judge_seams(e, &j) : GUARD_ALLOW;
	action = over > action ? over : action;
	e->output_hits = j.total;
	if (action != GUARD_MASK || !j.any_masked)
		return action;
	if (mask_answer(e, &j))
		return GUARD_MASK;
	exchange_take_action(e, GUARD_BLOCK);
	return GUARD_BLOCK;
}
