/* SPDX-License-Identifier: Apache-2.0 */
/* An answer that came whole: judged, put into the caller's protocol, recorded, sent. */
#include "serving/gateway/exchange.h"

/* Escapes can make a text six times as long. */
#define ENCODED_MAX ((size_t)128 * 1024 * 1024)

static bool needs_decoding(const struct exchange *e, const struct protocol *back)
{
	return back != e->front || e->request.stream || e->log != LOG_NONE || e->n_holds ||
	       (e->policy && guard_policy_has(e->policy, GUARD_OUTPUT));
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Of an answer that nobody here reads: at least it has begun and ended. */
static bool looks_whole(struct slice body)
{
	while (body.n && is_space(body.p[0]))
		body = slice_sub(body, 1, body.n);
	while (body.n && is_space(body.p[body.n - 1]))
		body.n--;
	return body.n >= 2 && body.p[0] == '{' && body.p[body.n - 1] == '}';
}

static struct slice after_spaces(struct slice s)
{
	while (s.n && is_space(s.p[0]))
		s = slice_sub(s, 1, s.n);
	return s;
}

/* Its first member reports a failure, whatever its status says. */
static bool begins_with_error(struct slice body)
{
	static const struct slice name = {"\"error\"", 7};
	struct slice rest = after_spaces(body);

	rest = after_spaces(slice_sub(rest, 1, rest.n)); /* behind the brace: it looks whole */
	if (!slice_starts(rest, name))
		return false;
	rest = after_spaces(slice_sub(rest, name.n, rest.n));
	if (!rest.n || rest.p[0] != ':')
		return false;
	return !slice_starts(after_spaces(slice_sub(rest, 1, rest.n)), SLICE_LIT("null"));
}

/* A rule of thumb for English: four bytes a token.  Marked as estimated wherever it shows. */
static int64_t estimate_tokens(size_t bytes)
{
	return (int64_t)((bytes + 3) / 4);
}

int64_t exchange_estimate_prompt(const struct exchange *e)
{
	size_t bytes = e->request.embed ? vectors_prompt_bytes(e) : 0;

	if (e->settled)
		return e->prompt_tokens;
	for (size_t i = 0; i < e->request.n_messages; i++)
		bytes += e->request.messages[i].text.n;
	return estimate_tokens(bytes);
}

void exchange_complete_usage(struct exchange *e, size_t answer_bytes)
{
	struct chat_usage *u = &e->answer.usage;

	if (u->known)
		return;
	*u = (struct chat_usage){.known = true,
				 .estimated = true,
				 .prompt_tokens = exchange_estimate_prompt(e),
				 .completion_tokens = estimate_tokens(answer_bytes)};
	u->total_tokens = u->prompt_tokens + u->completion_tokens;
}

/* What the caller's protocol cannot carry of the answer. */
static void drop_parts(struct exchange *e)
{
	static const struct slice names[] = {
		[CHAT_PART_TEXT] = {"text", 4},
		[CHAT_PART_REASONING] = {"reasoning", 9},
		[CHAT_PART_REFUSAL] = {"refusal", 7},
		[CHAT_PART_TOOL_CALL] = {"tool_calls", 10},
		[CHAT_PART_TOOL_RESULT] = {"tool_result", 11},
		[CHAT_PART_IMAGE] = {"image", 5},
		[CHAT_PART_OTHER] = {"content", 7},
	};

	for (size_t i = 0; i < e->answer.n_parts; i++) {
		enum chat_part_kind kind = e->answer.parts[i].kind;

		if (!(e->front->answer_parts & 1u << kind) && exchange_dropped(e))
			protocol_dropped(e->dropped, names[kind]);
	}
}

static enum next send_encoded(struct exchange *e)
{
	struct answer_meta m;
	struct buf out;
	enum next next;

	if (e->is_unlogged)
		return respond_unlogged(e);
	drop_parts(e);
	if (e->request.stream)
		return stream_whole(e, &e->answer);
	respond_meta(e, &m);
	buf_init(&out, ENCODED_MAX); /* of its own: the exchange's arena holds the answer as it came already */
	if (e->front->encode_answer(&out, &e->answer, &m) || buf_failed(&out))
		next = respond_error(e, &(struct api_error){.status = 502,
							    .message = SLICE_LIT("The answer is too large."),
							    .type = "upstream_error"});
	else
		next = respond_whole(e, buf_slice(&out));
	buf_release(&out);
	return next;
}

struct slice answer_fallback_text(const struct exchange *e)
{
	const struct snapshot_use_case *u = e->use_case;

	return u && u->settings.fallback_content.p ? u->settings.fallback_content : e->settings->fallback_content;
}

/* Nothing else serves, or a rule asks for it (why). */
enum next answer_fallback_content(struct exchange *e, const char *why)
{
	spend_note_waste(e);
	e->answer = (struct chat_answer){.text = answer_fallback_text(e), .finish = CHAT_FINISH_STOP, .n_choices = 1};
	e->have_answer = true;
	e->i_candidate = e->n_candidates;
	if (why && !e->error_text[0])
		exchange_say(e, "%s", why);
	exchange_complete_usage(e, e->answer.text.n);
	record_exchange(e, why ? RECORD_BLOCKED : RECORD_ERROR, 200);
	return send_encoded(e);
}

static enum next answer_withheld(struct exchange *e)
{
	struct slice rule = exchange_blocking_rule(e, e->output_hits);
	const char *text = arena_printf(&e->http->arena, "The answer was withheld by guardrail rule '" SLICE_FMT "'.",
					SLICE_ARG(rule));

	exchange_say(e, "%s", text ? text : "withheld");
	e->answer.text = SLICE_LIT("");
	e->answer.parts = ARENA_NEW(&e->http->arena, struct chat_part);
	e->answer.n_parts = e->answer.parts ? 1 : 0;
	if (e->answer.parts)
		*e->answer.parts = (struct chat_part){.kind = CHAT_PART_REFUSAL, .text = slice_from(text)};
	e->answer.finish = CHAT_FINISH_CONTENT_FILTER;
	record_exchange(e, RECORD_BLOCKED, 200);
	return send_encoded(e);
}

static enum next next_candidate(struct exchange *e, const char *why)
{
	enum next next;

	if (attempt_error_inside(e, why, &next))
		return next;
	e->error_status = 502;
	attempt_failed(e, OUTCOME_FAULT, why);
	return NEXT;
}

/* It came whole for a stream that another began. */
static enum next go_on_with(struct exchange *e)
{
	struct chat_answer answer = e->answer;

	e->answer = (struct chat_answer){0}; /* the stream has its own */
	return stream_join(e, &answer);
}

bool answer_passes(const struct exchange *e)
{
	return e->back == e->front && !e->request.stream && e->back->needs_model_splice;
}

enum next exchange_answer(struct exchange *e)
{
	const struct protocol *back = e->back;
	struct err err = {0};
	enum guard_action action;
	const char *wrong;

	if (e->counts)
		return count_answer(e);
	if (e->call.first_byte_ms && !e->stream)
		e->first_token_ms = e->call.first_byte_ms - e->start_ms;
	if (needs_decoding(e, back)) {
		if (back->decode_answer(&e->http->arena, e->g->json, buf_slice(&e->body), &e->answer, &err))
			return next_candidate(e, err.text[0] ? err.text : "its answer cannot be read");
	} else if (!looks_whole(buf_slice(&e->body))) {
		return next_candidate(e, "its answer is no whole JSON object");
	} else if (begins_with_error(buf_slice(&e->body))) {
		return next_candidate(e, "it reports an error with a status of success");
	}
	wrong = needs_decoding(e, back) ? vectors_wrong(e) : NULL;
	if (wrong)
		return next_candidate(e, wrong);
	if (e->stream)
		return go_on_with(e);
	e->have_answer = true;
	failover_settle(e, OUTCOME_GOOD);
	attempt_note(e, CALL_OK, "ok");
	action = exchange_judge_answer(e);
	if (e->request.embed && action >= GUARD_FALLBACK)
		return vectors_withheld(e);
	if (action == GUARD_BLOCK)
		return answer_withheld(e);
	if (action == GUARD_FALLBACK)
		return answer_fallback_content(e, "a guardrail rule asks for fallback content");
	if (e->log != LOG_NONE || back != e->front || e->n_holds)
		exchange_complete_usage(e, e->answer.text.n);
	if (e->request.embed)
		vectors_describe(e);
	record_exchange(e, RECORD_OK, 200);
	if (!e->is_unlogged && answer_passes(e))
		return respond_whole(e, buf_slice(&e->body));
	return send_encoded(e);
}
