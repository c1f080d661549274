/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Ollama's upstreams answer, to /api/chat and to /api/generate: the same objects, with a message in the one and a
 * response in the other.  The last (done: true) is finish, usage and end in one.  Every string that a caller would get
 * to see becomes an event with a text: words that are in none are never judged.
 */
#include "core/base/utf8.h"
#include "serving/protocol/ollama_internal.h"

/* Channels of what has no name of its own: they are shared, which can only find more in them. */
#define CHANNEL_STRINGS (1u << 20)
#define STRINGS_MAX 16
#define CALLS_MAX (64 - CHAT_CHANNEL_CALL)

struct reply {
	const struct json *model, *message, *response, *done, *done_reason, *prompt_count, *count, *error, *logprobs,
		*context;
	bool calls; /* a tool */
};

static void read_reply(const struct json *root, struct reply *r)
{
	const struct {
		const char *name;
		const struct json **to;
	} members[] = {
		{"model", &r->model},
		{"message", &r->message},
		{"response", &r->response},
		{"done", &r->done},
		{"done_reason", &r->done_reason},
		{"prompt_eval_count", &r->prompt_count},
		{"eval_count", &r->count},
		{"error", &r->error},
		{"logprobs", &r->logprobs},
		{"context", &r->context},
	};
	const struct json *calls;

	for (const struct json *v = root->first; v; v = v->next)
		for (size_t i = 0; v->type != JSON_NULL && i < COUNT_OF(members); i++)
			if (slice_eq_str(v->key, members[i].name))
				*members[i].to = v;
	calls = json_get(r->message, "tool_calls");
	r->calls = calls && calls->first;
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
	if (r->calls) {
		*ret = CHAT_FINISH_TOOL_CALLS;
		return 0;
	}
	if (!wire_is_string(r->done_reason)) {
		*ret = CHAT_FINISH_STOP; /* older versions give no reason */
		return 0;
	}
	return wire_finish(r->done_reason->str, ret);
}

/* The whole conversation again, as tokens: who replaces a text replaces these too. */
static struct slice tokens_of(const struct reply *r, const struct wire_doc *doc)
{
	bool some = r->context && r->context->type == JSON_ARRAY && r->context->first;

	return some ? wire_raw(doc, r->context) : (struct slice){NULL, 0};
}

/* A walk over an object of an answer. */
struct walk {
	struct arena *a;
	const struct wire_doc *doc;
	struct chat_events *out;
	struct slice logprobs; /* that repeat the texts; absent if none */
	unsigned *n_calls;     /* of the stream so far */
	unsigned n_strings;
};

static int add_text(struct walk *w, const struct json *v, enum chat_event_type type, unsigned channel)
{
	struct chat_event e = {.type = type, .channel = channel};

	if (!wire_has_text(v))
		return 0;
	e.text = v->str;
	e.text_raw = wire_raw(w->doc, v);
	if (type != CHAT_EVENT_OTHER)
		e.logprobs_raw = w->logprobs;
	return events_say(w->a, w->out, &e);
}

/* Every string in a value is judged by itself, where it stands. */
static int add_strings(struct walk *w, const struct json *v)
{
	int rc = add_text(w, v, CHAT_EVENT_OTHER, CHANNEL_STRINGS + w->n_strings % STRINGS_MAX);

	w->n_strings += wire_has_text(v);
	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		rc = add_strings(w, item);
	return rc;
}

/* Arguments are an object here; of some servers that speak like it, text. */
static int add_call(struct walk *w, const struct json *call)
{
	const struct json *function = json_get(call, "function"), *arguments = json_get(function, "arguments");
	unsigned index = (*w->n_calls)++ % CALLS_MAX;
	struct chat_event e = {.type = CHAT_EVENT_TOOL_START,
			       .channel = CHAT_CHANNEL_CALL + index,
			       .index = index,
			       .name = wire_text_in(function, "name"),
			       .id = wire_text_in(call, "id")};
	int rc = events_say(w->a, w->out, &e);

	e = (struct chat_event){.type = CHAT_EVENT_TOOL_ARGS, .channel = e.channel, .index = index};
	if (rc == 0 && arguments && (arguments->type == JSON_OBJECT || wire_has_text(arguments))) {
		e.text = arguments->type == JSON_OBJECT ? arguments->raw : arguments->str;
		if (arguments->type == JSON_OBJECT)
			e.args_raw = wire_raw(w->doc, arguments);
		rc = events_say(w->a, w->out, &e);
	}
	e = (struct chat_event){.type = CHAT_EVENT_PART_END, .channel = e.channel, .index = index};
	if (rc == 0)
		rc = events_say(w->a, w->out, &e);
	return rc < 0 ? rc : add_strings(w, call);
}

static int add_calls(struct walk *w, const struct json *calls)
{
	int rc = 0;

	for (const struct json *call = calls->first; call && rc == 0; call = call->next)
		rc = add_call(w, call);
	return rc;
}

static int add_message(struct walk *w, const struct json *message)
{
	int rc = 0;

	for (const struct json *v = message->first; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "content") && v->type == JSON_STRING)
			rc = add_text(w, v, CHAT_EVENT_TEXT, CHAT_CHANNEL_TEXT);
		else if (KEY_IS(v, "thinking") && v->type == JSON_STRING)
			rc = add_text(w, v, CHAT_EVENT_REASONING, CHAT_CHANNEL_REASONING);
		else if (KEY_IS(v, "tool_calls"))
			rc = add_calls(w, v);
		else if (!KEY_IS(v, "role") && !KEY_IS(v, "images"))
			rc = add_strings(w, v);
	}
	return rc;
}

/* Strings that name things. */
static bool is_label(const struct json *v)
{
	return KEY_IS(v, "model") || KEY_IS(v, "created_at") || KEY_IS(v, "done_reason") || KEY_IS(v, "remote_model") ||
	       KEY_IS(v, "remote_host") || KEY_IS(v, "logprobs");
}

/* Everything it says, in the order of the body. */
static int add_reply(struct walk *w, const struct json *root)
{
	int rc = 0;

	for (const struct json *v = root->first; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "message") && v->type == JSON_OBJECT)
			rc = add_message(w, v);
		else if (KEY_IS(v, "response") && v->type == JSON_STRING)
			rc = add_text(w, v, CHAT_EVENT_TEXT, CHAT_CHANNEL_TEXT);
		else if (KEY_IS(v, "thinking") && v->type == JSON_STRING)
			rc = add_text(w, v, CHAT_EVENT_REASONING, CHAT_CHANNEL_REASONING);
		else if (!is_label(v))
			rc = add_strings(w, v);
	}
	return rc;
}

static int too_big(struct err *err)
{
	return err_set(err, E_TOOBIG, "the upstream's answer is more than an exchange may hold");
}

static bool is_answer(const struct reply *r)
{
	return (r->message && r->message->type == JSON_OBJECT) || wire_is_string(r->response);
}

static int decode_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			 struct err *err)
{
	struct chat_answer answer = {.text = SLICE_LIT(""), .n_choices = 1};
	struct chat_events events = {0};
	unsigned n_calls = 0;
	struct wire_doc doc;
	struct walk w = {.a = a, .doc = &doc, .out = &events, .n_calls = &n_calls};
	struct reply r = {0};
	int rc = wire_parse(a, jp, body, &doc, err);

	if (rc < 0)
		return rc;
	if (doc.root->type == JSON_OBJECT)
		read_reply(doc.root, &r);
	if (r.error)
		return err_set(err, E_INVALID, "the upstream reports: " SLICE_FMT,
			       SLICE_ARG(utf8_truncate(wire_error_message(doc.root), 300)));
	if (!is_answer(&r))
		return err_set(err, E_INVALID, "the upstream's answer is no Ollama answer: it has no message");
	if (!is_done(&r) || finish_of(&r, &answer.finish) < 0)
		return err_set(err, E_INVALID, "the upstream broke its answer off");
	if (add_reply(&w, doc.root) < 0 || events_cover(a, &doc, &events) < 0 ||
	    answer_of_events(a, &events, &answer) < 0)
		return too_big(err);
	if (r.logprobs)
		answer.logprobs_raw = wire_raw(&doc, r.logprobs);
	answer.other_logprobs = ARENA_NEW(a, struct slice);
	if (!answer.other_logprobs)
		return too_big(err);
	*answer.other_logprobs = tokens_of(&r, &doc);
	answer.n_other_logprobs = answer.other_logprobs->n > 0;
	if (wire_is_string(r.model))
		answer.model = r.model->str;
	answer.usage = usage_of(&r);
	parts_reasoning_first(answer.parts, answer.n_parts);
	*ret = answer;
	return 0;
}

static int say_error(struct arena *a, struct slice text, struct chat_events *ret)
{
	return events_say(a, ret, &(struct chat_event){.type = CHAT_EVENT_ERROR, .text = text});
}

/* The last object: how it ended, what it took, and the end. */
static int say_end(struct decode_state *s, struct walk *w, const struct reply *r)
{
	struct chat_event finish = {.type = CHAT_EVENT_FINISH, .logprobs_raw = tokens_of(r, w->doc)},
			  usage = {.type = CHAT_EVENT_USAGE};
	int rc = 0;

	if (finish_of(r, &finish.finish) < 0)
		return say_error(w->a, SLICE_LIT("the upstream broke its answer off"), w->out);
	if (s->n_calls && finish.finish == CHAT_FINISH_STOP)
		finish.finish = CHAT_FINISH_TOOL_CALLS; /* they came in an object before */
	rc = events_say(w->a, w->out, &finish);
	usage.usage = usage_of(r);
	if (rc == 0 && usage.usage.known)
		rc = events_say(w->a, w->out, &usage);
	finish = (struct chat_event){.type = CHAT_EVENT_END};
	return rc < 0 ? rc : events_say(w->a, w->out, &finish);
}

static int say_start(struct decode_state *s, struct arena *a, const struct reply *r, struct chat_events *ret)
{
	struct chat_event e = {.type = CHAT_EVENT_START};

	s->begun = true;
	if (!wire_has_text(r->model))
		return 0;
	e.name = r->model->str;
	return events_say(a, ret, &e);
}

static int decode_event(struct decode_state *s, struct arena *a, struct json_parser *jp, struct slice payload,
			struct chat_events *ret, struct err *err)
{
	struct wire_doc doc;
	struct walk w = {.a = a, .doc = &doc, .out = ret, .n_calls = &s->n_calls};
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
	if (r.logprobs)
		w.logprobs = wire_raw(&doc, r.logprobs);
	rc = s->begun ? 0 : say_start(s, a, &r, ret);
	if (rc == 0)
		rc = add_reply(&w, doc.root);
	if (rc == 0 && is_done(&r))
		rc = say_end(s, &w, &r);
	if (rc == 0)
		rc = events_cover(a, &doc, ret);
	return rc < 0 ? too_big(err) : 0;
}

const struct protocol protocol_ollama = {
	.name = "ollama",
	.default_path = "/api/chat",
	.call = "/chat",
	.gives_vectors = &protocol_ollama_embed,
	.framing = FRAMING_NDJSON,
	.stream_type = "application/x-ndjson",
	.streams_unasked = true,
	.default_tag = ":latest",
	.needs_model_splice = true,
	.ordered = true,
	.joins_texts = true,
	.options = "options",
	.option_name = ollama_option_name,
	.answer_parts =
		1u << CHAT_PART_TEXT | 1u << CHAT_PART_REASONING | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_CALL,
	.decode_request = ollama_decode_chat,
	.decode_details = ollama_chat_details,
	.encode_answer = ollama_encode_chat,
	.encode_event = ollama_encode_chat_event,
	.encode_error = ollama_encode_error,
	.encode_stream_error = ollama_encode_stream_error,
	.encode_request = ollama_encode_request,
	.decode_answer = decode_answer,
	.decode_event = decode_event,
	.decode_error = wire_decode_error,
};

const struct protocol protocol_ollama_generate = {
	.name = "ollama_generate",
	.default_path = "/api/generate",
	.of = &protocol_ollama,
	.call = "/generate",
	.framing = FRAMING_NDJSON,
	.stream_type = "application/x-ndjson",
	.streams_unasked = true,
	.default_tag = ":latest",
	.completes_text = true,
	.needs_model_splice = true,
	.ordered = true,
	.joins_texts = true,
	.options = "options",
	.option_name = ollama_option_name,
	.answer_parts = 1u << CHAT_PART_TEXT | 1u << CHAT_PART_REASONING | 1u << CHAT_PART_REFUSAL,
	.decode_request = ollama_decode_generate,
	.decode_details = ollama_generate_details,
	.encode_answer = ollama_encode_generate,
	.encode_event = ollama_encode_generate_event,
	.encode_error = ollama_encode_error,
	.encode_stream_error = ollama_encode_stream_error,
	.decode_answer = decode_answer,
	.decode_event = decode_event,
	.decode_error = wire_decode_error,
};
