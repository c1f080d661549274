/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/messages/count_tokens, /v1beta/models/MODEL:countTokens: how long a request is.  It takes the way of an
 * exchange as far as the model, so that keys, use cases and guardrails mean the same; a model of the same protocol is
 * asked, and for any other the count is estimated and marked as such.  Nothing is answered, so nothing is recorded.
 */
#include "serving/gateway/exchange.h"
#include "serving/gateway/target.h"

void count_begin(struct exchange *e)
{
	e->counts = true;
}

/* The request line for the endpoint beside the model's own: behind its path, before its query; or another call. */
struct slice count_head(struct exchange *e, struct slice head)
{
	const char *whole = e->front->whole_call;

	return target_other_call(&e->http->arena, head, whole ? whole : "", e->front->count_call);
}

/* Definitions of tools are a part of what a model reads. */
static int64_t tool_tokens(const struct exchange *e)
{
	const struct json *tools = json_get(e->request.root, "tools");

	return tools ? (int64_t)(tools->raw.n / 4) : 0;
}

enum next count_estimate(struct exchange *e)
{
	struct http_header h[RESPOND_MAX_HEADERS + 1];
	struct json_writer w;
	struct buf out;
	size_t n;

	e->i_candidate = e->n_candidates; /* no model has said it */
	buf_init_arena(&out, &e->http->arena, 256);
	jw_init(&w, &out);
	jw_object(&w);
	jw_ki64(&w, e->front->count_member, exchange_estimate_prompt(e) + tool_tokens(e));
	jw_object_end(&w);
	n = respond_headers(e, h, SLICE_LIT("application/json"));
	h[n++] = (struct http_header){SLICE_LIT("x-muster-estimated"), SLICE_LIT("true")};
	record_exchange(e, RECORD_OK, 200);
	e->step = STEP_DONE;
	respond_send(e, 200, h, n, buf_slice(&out));
	return FINISHED;
}

enum next count_answer(struct exchange *e)
{
	failover_settle(e, OUTCOME_GOOD);
	attempt_note(e, CALL_OK, "ok");
	record_exchange(e, RECORD_OK, 200);
	return respond_whole(e, buf_slice(&e->body));
}
