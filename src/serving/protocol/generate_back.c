/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plain POST /generate of self-hosted models: {prompt, context, max_tokens, temperature} -> {text, tokens_used}. It
 * knows one prompt: of a conversation, the last words of the user are the prompt and all other messages go to
 * context.messages.
 */
#include "core/base/utf8.h"
#include "serving/protocol/generate_internal.h"

#define CARRIES (CHAT_CARRIES(CHAT_PARAM_MAX_TOKENS) | CHAT_CARRIES(CHAT_PARAM_TEMPERATURE))
#define PARTS (1u << CHAT_PART_TEXT | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_RESULT)

static bool is_ours(const struct json *v)
{
	return KEY_IS(v, "prompt") || KEY_IS(v, "context") || KEY_IS(v, "messages") || KEY_IS(v, "model") ||
	       KEY_IS(v, "stream") || KEY_IS(v, "stream_options");
}

static void write_context(struct json_writer *w, const struct chat_request *r, size_t prompt)
{
	jw_key(w, "context");
	if (r->context.n && r->context.p[0] == '{') {
		jw_raw(w, r->context); /* it came as one */
		return;
	}
	jw_object(w);
	if (r->n_messages > 1) {
		jw_key(w, "messages");
		jw_array(w);
		for (size_t i = 0; i < r->n_messages; i++) {
			if (i == prompt)
				continue;
			jw_object(w);
			jw_kcstr(w, "role", chat_role_name(r->messages[i].role));
			jw_kstr(w, "content", r->messages[i].text);
			jw_object_end(w);
		}
		jw_array_end(w);
	}
	jw_object_end(w);
}

static int encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped)
{
	size_t prompt = messages_prompt_index(r);
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kstr(&w, "prompt", r->messages[prompt].text);
	write_context(&w, r, prompt);
	if (r->has_max_tokens)
		jw_ki64(&w, "max_tokens", r->max_tokens);
	if (r->has_temperature)
		jw_kdouble(&w, "temperature", r->temperature);
	for (const struct json *v = p->parameters ? p->parameters->first : NULL; v; v = v->next) {
		if (is_ours(v) || request_names(r, v->key))
			continue;
		jw_key_slice(&w, v->key);
		jw_raw(&w, v->raw);
	}
	jw_object_end(&w);
	dropped_of_request(r, CARRIES, PARTS, dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}

struct reply {
	const struct json *text, *success, *tokens_used, *usage, *finish, *id, *model, *error;
};

static void read_reply(const struct json *root, struct reply *r)
{
	for (const struct json *v = root->first; v; v = v->next) {
		if (v->type == JSON_NULL)
			continue;
		if (KEY_IS(v, "text") || (!r->text && (KEY_IS(v, "response") || KEY_IS(v, "generated_text"))))
			r->text = v;
		else if (KEY_IS(v, "success"))
			r->success = v;
		else if (KEY_IS(v, "tokens_used"))
			r->tokens_used = v;
		else if (KEY_IS(v, "usage"))
			r->usage = v;
		else if (KEY_IS(v, "finish_reason"))
			r->finish = v;
		else if (KEY_IS(v, "id"))
			r->id = v;
		else if (KEY_IS(v, "model"))
			r->model = v;
		else if (KEY_IS(v, "error"))
			r->error = v;
	}
}

/* tokens_used does not say whose tokens they are: they count as the answer's. */
static struct chat_usage usage_of(const struct reply *r)
{
	struct chat_usage u = {0};

	wire_read_usage(r->usage, &u);
	if (!u.known && r->tokens_used && r->tokens_used->type == JSON_NUMBER) {
		u.completion_tokens = u.total_tokens = wire_count(r->tokens_used);
		u.known = true;
	}
	return u;
}

static int decode_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			 struct err *err)
{
	struct chat_answer answer = {.n_choices = 1, .finish = CHAT_FINISH_STOP};
	struct wire_doc doc;
	struct reply r = {0};
	struct slice message;
	int rc = wire_parse(a, jp, body, &doc, err);

	if (rc < 0)
		return rc;
	if (doc.root->type == JSON_OBJECT)
		read_reply(doc.root, &r);
	if (r.error || (r.success && r.success->type == JSON_BOOL && !r.success->boolean)) {
		message = wire_error_message(doc.root);
		return err_set(err, E_INVALID, "the upstream reports: " SLICE_FMT,
			       SLICE_ARG(message.n ? utf8_truncate(message, 300) : SLICE_LIT("success is false")));
	}
	if (!wire_is_string(r.text))
		return err_set(err, E_INVALID, "the upstream's answer has no text");
	if (wire_is_string(r.finish) && wire_finish(r.finish->str, &answer.finish) < 0)
		return err_set(err, E_INVALID, "the upstream broke its answer off");
	answer.text = r.text->str;
	answer.text_raw = wire_raw(&doc, r.text);
	if (wire_is_string(r.id))
		answer.id = r.id->str;
	if (wire_is_string(r.model))
		answer.model = r.model->str;
	answer.usage = usage_of(&r);
	if (wire_has_text(r.text)) {
		struct texts judged = {0};

		if (texts_add(a, &judged, answer.text, answer.text_raw) < 0)
			return err_set(err, E_TOOBIG, "the upstream's answer is more than an exchange may hold");
		answer.judged = judged.t;
		answer.n_judged = judged.n;
	}
	*ret = answer;
	return 0;
}

const struct protocol protocol_generate = {
	.name = "generate",
	.default_path = "/generate",
	.framing = FRAMING_NONE,
	.stream_type = "text/event-stream",
	.completes_text = true,
	.joins_texts = true,
	.answer_parts = 1u << CHAT_PART_TEXT | 1u << CHAT_PART_REFUSAL,
	.decode_request = generate_decode_request,
	.decode_details = generate_decode_details,
	.encode_answer = generate_encode_answer,
	.encode_event = generate_encode_event,
	.encode_error = generate_encode_error,
	.encode_stream_error = generate_encode_stream_error,
	.encode_request = encode_request,
	.decode_answer = decode_answer,
	.decode_error = wire_decode_error,
};
