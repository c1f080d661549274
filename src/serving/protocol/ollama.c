/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ollama's own chat protocol (POST /api/chat), the side that faces upstreams.  It streams unless told otherwise, so
 * `stream` is always written; its last object (done: true) is finish, usage and end in one.
 */
#include "core/base/utf8.h"
#include "serving/protocol/protocol_internal.h"

static const char *const carried[] = {
	"model",       "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens",
	"temperature", "top_p",	   "stop",   "seed",	       "layer",	     "use_case",
	"prompt",      "context",
};

static bool is_ours(const struct json *v)
{
	return KEY_IS(v, "model") || KEY_IS(v, "messages") || KEY_IS(v, "stream") || KEY_IS(v, "stream_options") ||
	       KEY_IS(v, "options");
}

/* Members of a request, beside its options. */
static bool is_top_level(const struct json *v)
{
	return KEY_IS(v, "keep_alive") || KEY_IS(v, "format") || KEY_IS(v, "think");
}

static bool is_max_tokens(const struct json *v)
{
	return KEY_IS(v, "max_tokens") || KEY_IS(v, "max_completion_tokens");
}

static void write_defaults(struct json_writer *w, const struct chat_request *r, const struct json *parameters,
			   bool top_level)
{
	for (const struct json *v = parameters ? parameters->first : NULL; v; v = v->next) {
		if (is_ours(v) || is_top_level(v) != top_level || request_names(r, v->key))
			continue;
		jw_key_slice(w, is_max_tokens(v) ? SLICE_LIT("num_predict") : v->key);
		jw_raw(w, v->raw);
	}
}

static int encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kstr(&w, "model", p->model);
	jw_key(&w, "messages");
	messages_write(&w, r->messages, r->n_messages);
	jw_kbool(&w, "stream", p->stream);
	write_defaults(&w, r, p->parameters, true);
	jw_key(&w, "options");
	jw_object(&w);
	request_write_parameters(&w, r, "num_predict");
	write_defaults(&w, r, p->parameters, false);
	/* the model's defaults may hold options in Ollama's own shape */
	write_defaults(&w, r, json_get(p->parameters, "options"), false);
	jw_object_end(&w);
	jw_object_end(&w);
	dropped_of_request(r, carried, COUNT_OF(carried), dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}

struct reply {
	const struct json *model, *message, *done, *done_reason, *prompt_count, *count, *error;
	const struct json *content, *thinking, *tool_calls; /* of the message */
};

static void read_message(const struct json *message, struct reply *r)
{
	for (const struct json *v = message->first; v; v = v->next) {
		if (KEY_IS(v, "content"))
			r->content = v;
		else if (KEY_IS(v, "thinking"))
			r->thinking = v;
		else if (KEY_IS(v, "tool_calls") && v->first)
			r->tool_calls = v;
	}
}

static void read_reply(const struct json *root, struct reply *r)
{
	for (const struct json *v = root->first; v; v = v->next) {
		if (v->type == JSON_NULL)
			continue;
		if (KEY_IS(v, "message"))
			read_message(v, r);
		if (KEY_IS(v, "message"))
			r->message = v;
		else if (KEY_IS(v, "done"))
			r->done = v;
		else if (KEY_IS(v, "model"))
			r->model = v;
		else if (KEY_IS(v, "done_reason"))
			r->done_reason = v;
		else if (KEY_IS(v, "prompt_eval_count"))
			r->prompt_count = v;
		else if (KEY_IS(v, "eval_count"))
			r->count = v;
		else if (KEY_IS(v, "error"))
			r->error = v;
	}
}

static bool is_done(const struct reply *r)
{
	return r->done && r->done->type == JSON_BOOL && r->done->boolean;
}

/* prompt_eval_count is left out when the prompt was still in Ollama's cache. */
static struct chat_usage usage_of(const struct reply *r)
{
	int64_t prompt = wire_count(r->prompt_count), completion = wire_count(r->count);

	return (struct chat_usage){
		.known = r->count != NULL,
		.prompt_tokens = prompt,
		.completion_tokens = completion,
		.total_tokens = prompt > INT64_MAX - completion ? INT64_MAX : prompt + completion,
	};
}

static int finish_of(const struct reply *r, enum chat_finish *ret)
{
	if (r->tool_calls) {
		*ret = CHAT_FINISH_TOOL_CALLS;
		return 0;
	}
	if (!wire_is_string(r->done_reason)) {
		*ret = CHAT_FINISH_STOP; /* older versions give no reason */
		return 0;
	}
	return wire_finish(r->done_reason->str, ret);
}

/* Everything it says, in the order of the body.  Arguments of tool calls are objects here: every string in them. */
static int add_strings(struct arena *a, const struct wire_doc *d, const struct json *v, struct texts *ret)
{
	int rc = wire_has_text(v) ? texts_add(a, ret, v->str, wire_raw(d, v)) : 0;

	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		rc = add_strings(a, d, item, ret);
	return rc;
}

static int add_texts(struct arena *a, const struct wire_doc *d, const struct json *message, struct texts *ret)
{
	int rc = 0;

	for (const struct json *v = message ? message->first : NULL; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "content") || KEY_IS(v, "thinking") || KEY_IS(v, "tool_calls"))
			rc = add_strings(a, d, v, ret);
	}
	return rc;
}

static int too_big(struct err *err)
{
	return err_set(err, E_TOOBIG, "the upstream's answer is more than an exchange may hold");
}

static int decode_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			 struct err *err)
{
	struct chat_answer answer = {.text = SLICE_LIT(""), .n_choices = 1};
	struct texts judged = {0};
	struct wire_doc doc;
	struct reply r = {0};
	int rc = wire_parse(a, jp, body, &doc, err);

	if (rc < 0)
		return rc;
	if (doc.root->type == JSON_OBJECT)
		read_reply(doc.root, &r);
	if (r.error)
		return err_set(err, E_INVALID, "the upstream reports: " SLICE_FMT,
			       SLICE_ARG(utf8_truncate(wire_error_message(doc.root), 300)));
	if (!r.message || r.message->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "the upstream's answer is no Ollama chat answer: it has no message");
	if (!is_done(&r) || finish_of(&r, &answer.finish) < 0)
		return err_set(err, E_INVALID, "the upstream broke its answer off");
	if (wire_is_string(r.content)) {
		answer.text = r.content->str;
		answer.text_raw = wire_raw(&doc, r.content);
	}
	if (wire_is_string(r.model))
		answer.model = r.model->str;
	if (add_texts(a, &doc, r.message, &judged) < 0)
		return too_big(err);
	answer.judged = judged.t;
	answer.n_judged = judged.n;
	answer.usage = usage_of(&r);
	*ret = answer;
	return 0;
}

static enum chat_event_type type_of(const struct reply *r)
{
	if (wire_has_text(r->content))
		return CHAT_EVENT_TEXT;
	if (r->tool_calls || wire_has_text(r->thinking))
		return CHAT_EVENT_OTHER;
	return is_done(r) ? CHAT_EVENT_FINISH : CHAT_EVENT_NONE;
}

/* Thinking and calls have one channel: they do not come at once, and calls come whole. */
static int fill_text(struct arena *a, const struct texts *judged, struct chat_event *e)
{
	if (judged->n > 1) {
		e->judged = judged->t;
		e->n_judged = judged->n;
	}
	if (e->text.n || !judged->n)
		return 0;
	e->channel = 1;
	e->text = judged->t[0].text;
	e->text_raw = judged->t[0].raw;
	if (judged->n == 1)
		return 0;
	e->text_raw = (struct slice){NULL, 0};
	return texts_join(a, judged, &e->text);
}

static int decode_event(struct arena *a, struct json_parser *jp, struct slice payload, struct chat_event *ret,
			struct err *err)
{
	struct chat_event e = {.type = CHAT_EVENT_NONE};
	struct texts judged = {0};
	struct wire_doc doc;
	struct reply r = {0};
	int rc = wire_parse(a, jp, payload, &doc, err);

	if (rc < 0)
		return rc;
	if (doc.root->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "the upstream's line is a %s, not an object",
			       json_type_name(doc.root->type));
	read_reply(doc.root, &r);
	e.end = is_done(&r);
	if (r.error || (e.end && finish_of(&r, &e.finish) < 0)) {
		struct slice message = wire_error_message(doc.root);

		*ret = (struct chat_event){.type = CHAT_EVENT_ERROR,
					   .text = message.n ? message : SLICE_LIT("the upstream broke its answer off"),
					   .end = true};
		return 0;
	}
	if (wire_is_string(r.content)) {
		e.text = r.content->str;
		e.text_raw = wire_raw(&doc, r.content);
	}
	if (add_texts(a, &doc, r.message, &judged) < 0 || fill_text(a, &judged, &e) < 0)
		return too_big(err);
	if (e.end)
		e.usage = usage_of(&r);
	e.type = type_of(&r);
	*ret = e;
	return 0;
}

const struct protocol protocol_ollama = {
	.name = "ollama",
	.default_path = "/api/chat",
	.framing = FRAMING_NDJSON,
	.stream_type = "application/x-ndjson",
	.needs_model_splice = true,
	.encode_request = encode_request,
	.decode_answer = decode_answer,
	.decode_event = decode_event,
	.decode_error = wire_decode_error,
};
