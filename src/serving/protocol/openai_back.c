/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI chat completions, the side that faces upstreams: OpenAI itself and the many servers that speak like it.
 * Answers and events are walked once, member by member, because this runs for every answer.  Whatever a caller would
 * get to see and is not the text of the first choice goes into `others`: words that are not collected here are never
 * judged.
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
	return KEY_IS(v, "model") || KEY_IS(v, "messages") || KEY_IS(v, "stream") || KEY_IS(v, "stream_options");
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
	if (p->stream) {
		jw_kbool(&w, "stream", true);
		if (!p->leave_usage) {
			jw_key(&w, "stream_options");
			jw_object(&w);
			jw_kbool(&w, "include_usage", true);
			jw_object_end(&w);
		}
	}
	request_write_parameters(&w, r, "max_tokens");
	for (const struct json *v = p->parameters ? p->parameters->first : NULL; v; v = v->next) {
		if (is_ours(v) || request_names(r, v->key))
			continue;
		jw_key_slice(&w, v->key);
		jw_raw(&w, v->raw);
	}
	jw_object_end(&w);
	dropped_of_request(r, carried, COUNT_OF(carried), dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}

/* Kinds of text, each a channel of its own; calls of tools count on from the last; each further choice has a block of
 * channels. */
enum { CONTENT, REASONING, REFUSAL, TRANSCRIPT, UNKNOWN, CALL };
#define CHANNELS_OF_CHOICE 64

/* What one choice holds, of an answer (message) or an event (delta). */
struct choice {
	struct arena *a;
	const struct wire_doc *doc;
	struct texts *judged;
	unsigned *channel; /* of the first text that is judged */
	unsigned index;
	const struct json *refusal, *tool_calls, *logprobs, *finish;
	const struct json *first_logprobs; /* of the choice that the first text stands in */
	struct slice *other_logprobs;	   /* of the other choices */
	size_t n_other_logprobs;
	struct slice text, text_raw;
	bool whole;	/* an answer, no event: what stands beside the message is judged as well */
	bool has_other; /* something that only this protocol can carry */
};

static int add_text(struct choice *c, const struct json *string, unsigned kind)
{
	if (!wire_has_text(string))
		return 0;
	if (kind != CONTENT || c->index)
		c->has_other = true;
	if (!c->judged->n)
		*c->channel =
			(kind < CHANNELS_OF_CHOICE ? kind : CHANNELS_OF_CHOICE - 1) + c->index * CHANNELS_OF_CHOICE;
	return texts_add(c->a, c->judged, string->str, wire_raw(c->doc, string));
}

/* "thinking": [{"type": "text", "text": "..."}], or a string. */
static int add_thinking(struct choice *c, const struct json *thinking)
{
	int rc = add_text(c, thinking, REASONING);

	if (!thinking || thinking->type != JSON_ARRAY)
		return rc;
	for (const struct json *part = thinking->first; part && rc == 0; part = part->next)
		rc = add_text(c, json_get(part, "text"), REASONING);
	return rc;
}

static int join(struct choice *c, struct slice more)
{
	char *to = arena_alloc(c->a, c->text.n + more.n + 1);

	if (!to)
		return E_TOOBIG;
	memcpy(to, c->text.p, c->text.n);
	memcpy(to + c->text.n, more.p, more.n);
	c->text = (struct slice){to, c->text.n + more.n};
	return 0;
}

/* Content as an array of parts.  One part with text is replaced by itself; several can only be replaced together. */
static int read_parts(struct choice *c, const struct json *content)
{
	int rc = 0;

	for (const struct json *part = content->first; part && rc == 0; part = part->next) {
		const struct json *text = json_get(part, "text");

		if (!wire_has_text(text)) {
			rc = add_thinking(c, json_get(part, "thinking"));
			if (rc == 0)
				rc = add_text(c, json_get(part, "refusal"), REFUSAL);
			c->has_other = true;
			continue;
		}
		rc = add_text(c, text, CONTENT);
		if (!c->text.n) {
			c->text = text->str;
			c->text_raw = wire_raw(c->doc, text);
		} else if (rc == 0) {
			rc = join(c, text->str);
			c->text_raw = wire_raw(c->doc, content);
		}
	}
	return rc;
}

/* A member that we do not know goes to the caller all the same: every string in it is judged. */
static int add_strings(struct choice *c, const struct json *v)
{
	int rc = add_text(c, v, UNKNOWN);

	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		rc = add_strings(c, item);
	return rc;
}

static int read_function(struct choice *c, const struct json *function, unsigned call)
{
	int rc = 0;

	c->has_other = true;
	for (const struct json *v = function->first; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "arguments"))
			rc = add_text(c, v, CALL + call);
		else if (!KEY_IS(v, "name"))
			rc = add_strings(c, v);
	}
	return rc;
}

static unsigned small_index(const struct json *obj)
{
	const struct json *index = json_get(obj, "index");

	return index && index->is_integer && index->integer > 0 ? (unsigned)min_size((size_t)index->integer, 1000) : 0;
}

static int read_calls(struct choice *c, const struct json *calls)
{
	int rc = 0;

	for (const struct json *call = calls->first; call && rc == 0; call = call->next) {
		c->has_other = true;
		for (const struct json *v = call->first; v && rc == 0; v = v->next) {
			if (KEY_IS(v, "function"))
				rc = read_function(c, v, small_index(call));
			else if (!KEY_IS(v, "id") && !KEY_IS(v, "type") && !KEY_IS(v, "index"))
				rc = add_strings(c, v);
		}
	}
	return rc;
}

static int read_content(struct choice *c, const struct json *v)
{
	if (v->type == JSON_ARRAY)
		return read_parts(c, v);
	if (v->type != JSON_STRING)
		return 0;
	c->text = v->str;
	c->text_raw = wire_raw(c->doc, v);
	return add_text(c, v, CONTENT);
}

/* A message or a delta. */
static int read_message(struct choice *c, const struct json *message)
{
	int rc = 0;

	for (const struct json *v = message->first; v && rc == 0; v = v->next) {
		if (v->type == JSON_NULL)
			continue;
		if (KEY_IS(v, "content")) {
			rc = read_content(c, v);
		} else if (KEY_IS(v, "refusal")) {
			c->refusal = v;
			rc = add_text(c, v, REFUSAL);
		} else if (KEY_IS(v, "tool_calls")) {
			c->tool_calls = v->first ? v : NULL;
			rc = read_calls(c, v);
		} else if (KEY_IS(v, "reasoning_content") || KEY_IS(v, "reasoning")) {
			rc = add_text(c, v, REASONING);
		} else if (KEY_IS(v, "function_call")) {
			rc = read_function(c, v, 0);
		} else if (KEY_IS(v, "audio")) {
			c->has_other = true;
			rc = add_text(c, json_get(v, "transcript"), TRANSCRIPT);
		} else if (!KEY_IS(v, "role")) {
			rc = add_strings(c, v);
		}
	}
	return rc;
}

/* Members whose strings are labels, not words: not a place for a model to say something. */
static bool is_label(const struct json *v)
{
	static const char *const labels[] = {
		"id",
		"object",
		"created",
		"model",
		"choices",
		"usage",
		"system_fingerprint",
		"service_tier",
		"provider",
		"index",
		"stop_reason",
		"native_finish_reason",
		"content_filter_results",
	};

	for (size_t i = 0; i < COUNT_OF(labels); i++)
		if (slice_eq_str(v->key, labels[i]))
			return true;
	return false;
}

static int read_choice(struct choice *c, const struct json *choice)
{
	int rc = 0;

	for (const struct json *v = choice->first; v && rc == 0; v = v->next) {
		if (v->type == JSON_NULL)
			continue;
		if (KEY_IS(v, "message") || KEY_IS(v, "delta"))
			rc = read_message(c, v);
		else if (KEY_IS(v, "finish_reason"))
			c->finish = v;
		else if (KEY_IS(v, "logprobs"))
			c->logprobs = v;
		else if (c->whole && !is_label(v))
			rc = add_strings(c, v);
	}
	return rc;
}

/* Logprobs repeat the text of their choice: they have to go when it is replaced. */
static int keep_logprobs(struct choice *c, const struct choice *from, const struct json *choices, bool has_first)
{
	if (!from->logprobs)
		return 0;
	if (has_first)
		c->first_logprobs = from->logprobs;
	if (from == c)
		return 0;
	if (!c->other_logprobs)
		c->other_logprobs = ARENA_ARRAY(c->a, struct slice, choices->n_items);
	if (!c->other_logprobs)
		return E_TOOBIG;
	c->other_logprobs[c->n_other_logprobs++] = wire_raw(c->doc, from->logprobs);
	return 0;
}

/* The first choice into *c; of the others only their texts, and that they are there. */
static int read_choices(struct choice *c, const struct json *choices)
{
	bool found = false;
	int rc = 0;

	for (const struct json *v = choices->first; v && rc == 0; v = v->next) {
		struct choice more = {
			.a = c->a, .doc = c->doc, .judged = c->judged, .channel = c->channel, .whole = c->whole};
		struct choice *to = &more;
		bool none_before = !c->judged->n;

		more.index = small_index(v);
		if (!found && !more.index) {
			found = true;
			to = c;
		} else {
			more.index += more.index == 0; /* a second one that calls itself the first */
			c->has_other = true;
		}
		rc = read_choice(to, v);
		if (rc == 0)
			rc = keep_logprobs(c, to, choices, none_before && c->judged->n);
	}
	return rc;
}

static struct slice raw_or_absent(const struct wire_doc *d, const struct json *v)
{
	return v ? wire_raw(d, v) : (struct slice){NULL, 0};
}

static int finish_of(const struct choice *c, enum chat_finish *ret)
{
	return wire_is_string(c->finish) ? wire_finish(c->finish->str, ret) : 0;
}

struct top {
	const struct json *id, *model, *choices, *usage, *error;
};

static void read_top(const struct json *root, struct top *t)
{
	for (const struct json *v = root->first; v; v = v->next) {
		if (v->type == JSON_NULL)
			continue;
		if (KEY_IS(v, "choices"))
			t->choices = v;
		else if (KEY_IS(v, "usage"))
			t->usage = v;
		else if (KEY_IS(v, "id"))
			t->id = v;
		else if (KEY_IS(v, "model"))
			t->model = v;
		else if (KEY_IS(v, "error"))
			t->error = v;
	}
}

static int fill_answer(const struct top *t, const struct choice *c, struct chat_answer *ret, struct err *err)
{
	struct chat_answer answer = {
		.text = c->text, .text_raw = c->text_raw, .judged = c->judged->t, .n_judged = c->judged->n};

	if (finish_of(c, &answer.finish) < 0)
		return err_set(err, E_INVALID, "the upstream broke its answer off (finish_reason '" SLICE_FMT "')",
			       SLICE_ARG(c->finish->str));
	if (wire_is_string(t->id))
		answer.id = t->id->str;
	if (wire_is_string(t->model))
		answer.model = t->model->str;
	if (wire_is_string(c->refusal))
		answer.refusal = c->refusal->str;
	if (c->tool_calls)
		answer.tool_calls = c->tool_calls->raw;
	answer.logprobs_raw = raw_or_absent(c->doc, c->logprobs);
	answer.other_logprobs = c->other_logprobs;
	answer.n_other_logprobs = c->n_other_logprobs;
	answer.n_choices = t->choices->n_items;
	wire_read_usage(t->usage, &answer.usage);
	*ret = answer;
	return 0;
}

static int decode_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			 struct err *err)
{
	struct wire_doc doc;
	struct texts judged = {0};
	unsigned channel = 0;
	struct choice c = {.a = a, .doc = &doc, .judged = &judged, .channel = &channel, .whole = true};
	struct top t = {0};
	struct slice message;
	int rc = wire_parse(a, jp, body, &doc, err);

	if (rc < 0)
		return rc;
	if (doc.root->type == JSON_OBJECT)
		read_top(doc.root, &t);
	if (!t.choices || t.choices->type != JSON_ARRAY || !t.choices->first) {
		message = wire_error_message(doc.root);
		if (message.n)
			return err_set(err, E_INVALID, "the upstream reports: " SLICE_FMT,
				       SLICE_ARG(utf8_truncate(message, 300)));
		return err_set(err, E_INVALID, "the upstream's answer is no chat completion: it has no choices");
	}
	rc = read_choices(&c, t.choices);
	for (const struct json *v = doc.root->first; v && rc == 0; v = v->next)
		if (!is_label(v))
			rc = add_strings(&c, v);
	if (rc < 0)
		return err_set(err, rc, "the upstream's answer is more than an exchange may hold");
	return fill_answer(&t, &c, ret, err);
}

static enum chat_event_type type_of(const struct chat_event *e, const struct choice *c)
{
	if (c->text.n)
		return CHAT_EVENT_TEXT;
	if (c->has_other)
		return CHAT_EVENT_OTHER;
	if (e->finish != CHAT_FINISH_NONE)
		return CHAT_EVENT_FINISH;
	return e->usage.known ? CHAT_EVENT_USAGE : CHAT_EVENT_NONE;
}

/* Which text speaks for the event. */
static int fill_text(const struct choice *c, struct chat_event *e)
{
	const struct texts *t = c->judged;
	int rc = 0;

	if (t->n > 1) {
		e->judged = t->t;
		e->n_judged = t->n;
	}
	if (c->text.n || !t->n) {
		e->text = c->text;
		e->text_raw = c->text_raw;
		return 0;
	}
	e->channel = *c->channel;
	e->text = t->t[0].text;
	e->text_raw = t->t[0].raw;
	if (t->n > 1)
		rc = texts_join(c->a, t, &e->text);
	if (t->n > 1)
		e->text_raw = (struct slice){NULL, 0};
	return rc;
}

static int fill_event(const struct top *t, const struct choice *c, struct chat_event *e)
{
	e->logprobs_raw = raw_or_absent(c->doc, c->first_logprobs);
	wire_read_usage(t->usage, &e->usage);
	if (finish_of(c, &e->finish) < 0) {
		e->type = CHAT_EVENT_ERROR;
		e->text = SLICE_LIT("the upstream broke its answer off");
		return 0;
	}
	e->type = type_of(e, c);
	return fill_text(c, e);
}

static int decode_event(struct arena *a, struct json_parser *jp, struct slice payload, struct chat_event *ret,
			struct err *err)
{
	struct wire_doc doc;
	struct texts judged = {0};
	unsigned channel = 0;
	struct choice c = {.a = a, .doc = &doc, .judged = &judged, .channel = &channel};
	struct chat_event e = {.type = CHAT_EVENT_NONE};
	struct top t = {0};
	int rc;

	if (slice_eq_str(slice_trim(payload), "[DONE]")) {
		*ret = (struct chat_event){.type = CHAT_EVENT_END, .end = true};
		return 0;
	}
	rc = wire_parse(a, jp, payload, &doc, err);
	if (rc < 0)
		return rc;
	if (doc.root->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "the upstream's event is a %s, not an object",
			       json_type_name(doc.root->type));
	read_top(doc.root, &t);
	if (!t.choices && (t.error || !t.usage) && wire_error_message(doc.root).n) {
		*ret = (struct chat_event){.type = CHAT_EVENT_ERROR, .text = wire_error_message(doc.root)};
		return 0;
	}
	rc = t.choices ? read_choices(&c, t.choices) : 0;
	if (rc == 0)
		rc = fill_event(&t, &c, &e);
	if (rc < 0)
		return err_set(err, rc, "the upstream's event is more than an exchange may hold");
	*ret = e;
	return 0;
}

const struct protocol protocol_openai = {
	.name = "openai",
	.default_path = "/v1/chat/completions",
	.framing = FRAMING_SSE,
	.stream_type = "text/event-stream",
	.needs_model_splice = true,
	.decode_request = openai_decode_request,
	.encode_answer = openai_encode_answer,
	.encode_event = openai_encode_event,
	.encode_error = openai_encode_error,
	.encode_stream_error = openai_encode_stream_error,
	.encode_request = encode_request,
	.decode_answer = decode_answer,
	.decode_event = decode_event,
	.decode_error = wire_decode_error,
};
