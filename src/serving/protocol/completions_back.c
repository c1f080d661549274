/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI's older completions as models answer them: choices with a text of their own, which openai_back.c reads.  A
 * chat becomes one prompt: what was said so far, each turn after the name of who said it.
 */
#include "serving/protocol/completions_internal.h"

#define CARRIES                                                                                                        \
	(CHAT_CARRIES(CHAT_PARAM_MAX_TOKENS) | CHAT_CARRIES(CHAT_PARAM_TEMPERATURE) | CHAT_CARRIES(CHAT_PARAM_TOP_P) | \
	 CHAT_CARRIES(CHAT_PARAM_SEED) | CHAT_CARRIES(CHAT_PARAM_STOP) | CHAT_CARRIES(CHAT_PARAM_FREQUENCY_PENALTY) |  \
	 CHAT_CARRIES(CHAT_PARAM_PRESENCE_PENALTY) | CHAT_CARRIES(CHAT_PARAM_USER))
#define PARTS (1u << CHAT_PART_TEXT | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_RESULT)

static const char *const ours[] = {"model", "prompt", "messages", "stream", "stream_options", NULL};

static const char *name_of(enum chat_role role)
{
	switch (role) {
	case CHAT_SYSTEM:
		break;
	case CHAT_USER:
		return "User: ";
	case CHAT_ASSISTANT:
		return "Assistant: ";
	case CHAT_TOOL:
		return "Tool: ";
	}
	return "";
}

/* An answer that has begun is the last message, and is gone on with. */
static void write_prompt(struct json_writer *w, const struct chat_request *r, bool begun)
{
	struct buf text;

	if (r->n_messages == 1) {
		jw_kstr(w, "prompt", r->messages[0].text);
		return;
	}
	buf_init(&text, w->out->max);
	for (size_t i = 0; i < r->n_messages; i++) {
		buf_adds(&text, name_of(r->messages[i].role));
		buf_add(&text, r->messages[i].text);
		if (!begun || i + 1 < r->n_messages)
			buf_adds(&text, "\n\n");
	}
	if (!begun)
		buf_adds(&text, "Assistant:");
	jw_kstr(w, "prompt", buf_slice(&text));
	w->out->failed |= buf_failed(&text);
	buf_release(&text);
}

static int encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kstr(&w, "model", p->model);
	write_prompt(&w, r, p->prefill.n > 0);
	openai_write_stream(&w, p);
	request_write_parameters(&w, r, "max_tokens");
	request_write_said(&w, r, CHAT_PARAM_FREQUENCY_PENALTY, "frequency_penalty");
	request_write_said(&w, r, CHAT_PARAM_PRESENCE_PENALTY, "presence_penalty");
	if (request_details(r)->user.n)
		jw_kstr(&w, "user", request_details(r)->user);
	request_write_defaults(&w, r, p->parameters, ours);
	jw_object_end(&w);
	dropped_of_request(r, CARRIES, PARTS, dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}

const struct protocol protocol_openai_completions = {
	.name = "openai_completions",
	.default_path = "/v1/completions",
	.of = &protocol_openai,
	.gives_vectors = &protocol_openai_embeddings,
	.call = "/completions",
	.framing = FRAMING_SSE,
	.stream_type = "text/event-stream",
	.completes_text = true,
	.asks_usage = true,
	.needs_model_splice = true,
	.answer_parts = 1u << CHAT_PART_TEXT | 1u << CHAT_PART_REFUSAL,
	.decode_request = completions_decode_request,
	.decode_details = completions_decode_details,
	.encode_answer = completions_encode_answer,
	.encode_event = completions_encode_event,
	.encode_error = openai_encode_error,
	.encode_stream_error = openai_encode_stream_error,
	.encode_request = encode_request,
	.decode_answer = openai_decode_completion,
	.decode_event = openai_decode_completion_event,
	.decode_error = wire_decode_error,
};
