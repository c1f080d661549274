/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ollama's own chat protocol (POST /api/chat), the side that faces upstreams.  It streams unless told otherwise, so
 * `stream` is always written; its last object (done: true) is finish, usage and end in one.
 */
#include "core/base/utf8.h"
#include "serving/protocol/protocol_internal.h"

#define CARRIES                                                                                                        \
	(CHAT_CARRIES(CHAT_PARAM_MAX_TOKENS) | CHAT_CARRIES(CHAT_PARAM_TEMPERATURE) | CHAT_CARRIES(CHAT_PARAM_TOP_P) | \
	 CHAT_CARRIES(CHAT_PARAM_SEED) | CHAT_CARRIES(CHAT_PARAM_STOP))
#define PARTS (1u << CHAT_PART_TEXT | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_RESULT)

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
	dropped_of_request(r, CARRIES, PARTS, dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}

static struct slice option_name(struct slice parameter)
{
	static const char *const in_root[] = {"keep_alive", "format", "think"};

	for (size_t i = 0; i < COUNT_OF(in_root); i++)
		if (slice_eq_str(parameter, in_root[i]))
			return (struct slice){NULL, 0};
	return slice_eq_str(parameter, "max_tokens") || slice_eq_str(parameter, "max_completion_tokens")
		       ? SLICE_LIT("num_predict")
		       : parameter;
}

/* Channels of what has no name of its own. */
#define CHANNEL_STRINGS (1u << 20)
#define CALLS_MAX (64 - CHAT_CHANNEL_CALL)

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

/* Arguments of tool calls are objects here: every string in them is judged by itself, where it stands. */
static int add_strings(struct arena *a, const struct wire_doc *d, const struct json *v, struct chat_events *ret)
{
	struct chat_event e = {.type = CHAT_EVENT_OTHER, .channel = CHANNEL_STRINGS + (unsigned)ret->n, .text = v->str};
	int rc = 0;

	if (wire_has_text(v)) {
		e.text_raw = wire_raw(d, v);
		rc = events_say(a, ret, &e);
	}
	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		rc = add_strings(a, d, item, ret);
	return rc;
}

static int add_call(struct arena *a, const struct wire_doc *d, const struct json *call, unsigned index,
		    struct chat_events *ret)
{
	const struct json *function = json_get(call, "function"), *name = json_get(function, "name");
	const struct json *arguments = json_get(function, "arguments"), *id = json_get(call, "id");
	struct chat_event e = {.type = CHAT_EVENT_TOOL_START, .channel = CHAT_CHANNEL_CALL + index, .index = index};
	int rc;

	if (wire_is_string(name))
		e.name = name->str;
	if (wire_is_string(id))
		e.id = id->str;
	rc = events_say(a, ret, &e);
	e = (struct chat_event){.type = CHAT_EVENT_TOOL_ARGS, .channel = e.channel, .index = index};
	if (rc == 0 && arguments && arguments->type == JSON_OBJECT) {
		e.text = arguments->raw;
		rc = events_say(a, ret, &e);
	}
	e = (struct chat_event){.type = CHAT_EVENT_PART_END, .channel = e.channel, .index = index};
	if (rc == 0)
		rc = events_say(a, ret, &e);
	return rc < 0 ? rc : add_strings(a, d, call, ret);
}

static int add_text(struct arena *a, const struct wire_doc *d, const struct json *v, enum chat_event_type type,
		    unsigned channel, struct chat_events *ret)
{
	struct chat_event e = {.type = type, .channel = channel, .text = v->str};

	if (!wire_has_text(v))
		return 0;
	e.text_raw = wire_raw(d, v);
	return events_say(a, ret, &e);
}

/* Everything it says, in the order of the body.  n_calls: those of the stream so far. */
static int add_message(struct arena *a, const struct wire_doc *d, const struct json *message, unsigned *n_calls,
		       struct chat_events *ret)
{
	int rc = 0;

	for (const struct json *v = message ? message->first : NULL; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "content"))
			rc = add_text(a, d, v, CHAT_EVENT_TEXT, CHAT_CHANNEL_TEXT, ret);
		else if (KEY_IS(v, "thinking"))
			rc = add_text(a, d, v, CHAT_EVENT_REASONING, CHAT_CHANNEL_REASONING, ret);
		else if (KEY_IS(v, "tool_calls"))
			for (const struct json *call = v->first; call && rc == 0; call = call->next)
				rc = add_call(a, d, call, (*n_calls)++ % CALLS_MAX, ret);
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
	struct chat_events events = {0};
	unsigned n_calls = 0;
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
	if (add_message(a, &doc, r.message, &n_calls, &events) < 0 || answer_of_events(a, &events, &answer) < 0)
		return too_big(err);
	if (wire_is_string(r.model))
		answer.model = r.model->str;
	answer.usage = usage_of(&r);
	*ret = answer;
	return 0;
}

static int say_error(struct arena *a, struct slice text, struct chat_events *ret)
{
	return events_say(a, ret, &(struct chat_event){.type = CHAT_EVENT_ERROR, .text = text});
}

/* The last object: how it ended, what it took, and the end. */
static int say_end(struct decode_state *s, struct arena *a, const struct reply *r, struct chat_events *ret)
{
	struct chat_event finish = {.type = CHAT_EVENT_FINISH}, usage = {.type = CHAT_EVENT_USAGE};
	int rc = 0;

	if (finish_of(r, &finish.finish) < 0)
		return say_error(a, SLICE_LIT("the upstream broke its answer off"), ret);
	if (s->n_calls && finish.finish == CHAT_FINISH_STOP)
		finish.finish = CHAT_FINISH_TOOL_CALLS; /* they came in an object before */
	rc = events_say(a, ret, &finish);
	usage.usage = usage_of(r);
	if (rc == 0 && usage.usage.known)
		rc = events_say(a, ret, &usage);
	finish = (struct chat_event){.type = CHAT_EVENT_END};
	return rc < 0 ? rc : events_say(a, ret, &finish);
}

static int decode_event(struct decode_state *s, struct arena *a, struct json_parser *jp, struct slice payload,
			struct chat_events *ret, struct err *err)
{
	struct wire_doc doc;
	struct reply r = {0};
	int rc = wire_parse(a, jp, payload, &doc, err);

	if (rc < 0)
		return rc;
	if (doc.root->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "the upstream's line is a %s, not an object",
			       json_type_name(doc.root->type));
	read_reply(doc.root, &r);
	if (r.error) {
		struct slice message = wire_error_message(doc.root);

		return say_error(a, message.n ? message : SLICE_LIT("the upstream broke its answer off"), ret);
	}
	rc = add_message(a, &doc, r.message, &s->n_calls, ret);
	if (rc == 0 && is_done(&r))
		rc = say_end(s, a, &r, ret);
	return rc < 0 ? too_big(err) : 0;
}

const struct protocol protocol_ollama = {
	.name = "ollama",
	.default_path = "/api/chat",
	.call = "/chat",
	.framing = FRAMING_NDJSON,
	.stream_type = "application/x-ndjson",
	.needs_model_splice = true,
	.options = "options",
	.option_name = option_name,
	.encode_request = encode_request,
	.decode_answer = decode_answer,
	.decode_event = decode_event,
	.decode_error = wire_decode_error,
};
