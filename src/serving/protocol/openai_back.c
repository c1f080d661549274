/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What OpenAI, and the many servers that speak like it, answer.  Answers and events are walked once, member by member,
 * because this runs for every answer.  Every string that a caller would get to see becomes an event with a text: words
 * that are in none are never judged.
 */
#include "core/base/digest.h"
#include "core/base/utf8.h"
#include "serving/protocol/protocol_internal.h"

/* Each further choice has a block of channels; texts that we have no name for are numbered by their place. */
#define CHANNELS_OF_CHOICE 64
#define CHANNEL_UNKNOWN (1u << 20)
#define UNKNOWN_MAX 16 /* more of them share channels, which can only find more in them */
#define CHANNEL_TWICE (CHAT_CHANNEL_CALL - 1)
#define CALLS_MAX (CHANNELS_OF_CHOICE - CHAT_CHANNEL_CALL)

/* A walk over an answer (message) or an event (delta). */
struct walk {
	struct arena *a;
	const struct wire_doc *doc;
	struct chat_events *out;
	struct decode_state *s; /* NULL: a whole answer */
	bool completes;		/* choices have a text of their own: /v1/completions */
	unsigned choice;	/* that it is in */
	unsigned n_unknown;
	unsigned n_calls; /* in this message */
	const struct json *finish, *logprobs;
	struct slice first_logprobs, *other_logprobs;
	size_t n_other_logprobs;
};

/* Only of the first choice other protocols get to see more than that it is there. */
static int say(struct walk *w, struct chat_event *e)
{
	if (w->choice) {
		e->type = CHAT_EVENT_OTHER;
		e->channel += w->choice * CHANNELS_OF_CHOICE;
	}
	return events_say(w->a, w->out, e);
}

/* A stream goes over to another part: the one before it is over. */
static int go_over(struct walk *w, enum chat_event_type type, unsigned channel, unsigned index)
{
	struct decode_state *s = w->s;
	struct chat_event *end;

	if (!s || w->choice || (s->open == type && s->channel == channel))
		return 0;
	if (s->open != CHAT_EVENT_NONE && s->channel != channel) {
		end = events_add(w->a, w->out, CHAT_EVENT_PART_END);
		if (!end)
			return E_TOOBIG;
		end->channel = s->channel;
		end->index = s->index;
	}
	s->open = type;
	s->channel = channel;
	s->index = index;
	return 0;
}

static int add_text(struct walk *w, const struct json *string, enum chat_event_type type, unsigned channel)
{
	struct chat_event *e;

	if (!wire_has_text(string))
		return 0;
	if (type != CHAT_EVENT_OTHER && go_over(w, type, channel, 0) < 0)
		return E_TOOBIG;
	e = events_add(w->a, w->out, w->choice ? CHAT_EVENT_OTHER : type);
	if (!e)
		return E_TOOBIG;
	e->channel = channel + w->choice * CHANNELS_OF_CHOICE;
	e->text = string->str;
	e->text_raw = wire_raw(w->doc, string);
	return 0;
}

/* A member that we do not know goes to the caller all the same: every string in it is judged. */
static int add_strings(struct walk *w, const struct json *v)
{
	int rc = 0;

	if (wire_has_text(v))
		rc = add_text(w, v, CHAT_EVENT_OTHER, CHANNEL_UNKNOWN + w->n_unknown++ % UNKNOWN_MAX);
	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		rc = add_strings(w, item);
	return rc;
}

static int add_reasoning(struct walk *w, const struct json *v)
{
	return add_text(w, v, CHAT_EVENT_REASONING, CHAT_CHANNEL_REASONING);
}

/* A part of content, or of "thinking": [{"type": "text", "text": "..."}]; text: what its text is. */
static int read_part(struct walk *w, const struct json *part, enum chat_event_type text)
{
	unsigned channel = text == CHAT_EVENT_TEXT ? CHAT_CHANNEL_TEXT : CHAT_CHANNEL_REASONING;
	int rc = part->type == JSON_STRING ? add_strings(w, part) : 0;

	for (const struct json *v = part->first; v && rc == 0; v = v->next) {
		bool is_string = v->type == JSON_STRING;

		if (KEY_IS(v, "text") && is_string)
			rc = add_text(w, v, text, channel);
		else if (KEY_IS(v, "thinking") && is_string)
			rc = add_reasoning(w, v);
		else if (KEY_IS(v, "refusal") && is_string)
			rc = add_text(w, v, CHAT_EVENT_REFUSAL, CHAT_CHANNEL_REFUSAL);
		else if (KEY_IS(v, "thinking") && v->type == JSON_ARRAY && text == CHAT_EVENT_TEXT)
			for (const struct json *more = v->first; more && rc == 0; more = more->next)
				rc = read_part(w, more, CHAT_EVENT_REASONING);
		else if (!KEY_IS(v, "type"))
			rc = add_strings(w, v);
	}
	return rc;
}

static int read_parts(struct walk *w, const struct json *content)
{
	int rc = 0;

	for (const struct json *part = content->first; part && rc == 0; part = part->next)
		rc = read_part(w, part, CHAT_EVENT_TEXT);
	return rc;
}

static unsigned small_number(const struct json *v, unsigned absent, unsigned max)
{
	if (!v || !v->is_integer || v->integer < 0)
		return absent;
	return (unsigned)min_size((size_t)v->integer, max);
}

/* What a piece of a call says of it. */
struct call {
	const struct json *index, *id, *name;
	bool says; /* its name, or arguments */
};

/* Some servers give every call the index 0: another id and a name are another call. */
static unsigned index_of_call(struct decode_state *s, const struct call *c)
{
	unsigned index = small_number(c->index, 0, CALLS_MAX - 1);
	uint64_t id = wire_has_text(c->id) ? hash64(c->id->str, 0) : 0;

	if (s->n_calls && index == s->call_at && id && id != s->call_id && wire_has_text(c->name))
		s->call_shift++;
	if (id) {
		s->call_at = index;
		s->call_id = id;
	}
	return index + s->call_shift;
}

/* Whether this is where the call begins: its index is new, or it has none but an id. */
static bool begins_call(struct walk *w, const struct call *c, unsigned *ret_index)
{
	struct decode_state *s = w->s;
	bool numbered = c->index && c->index->is_integer;

	if (!s || w->choice) {
		*ret_index = w->s ? small_number(c->index, 0, CALLS_MAX - 1) : w->n_calls++;
		*ret_index = (unsigned)min_size(*ret_index, CALLS_MAX - 1);
		return true;
	}
	*ret_index = numbered ? index_of_call(s, c) : s->n_calls;
	if (!numbered && s->n_calls && !wire_has_text(c->id))
		--*ret_index; /* more of the last one */
	*ret_index = (unsigned)min_size(*ret_index, CALLS_MAX - 1);
	if (!c->says || s->tool_parts & (UINT64_C(1) << *ret_index))
		return false;
	s->tool_parts |= UINT64_C(1) << *ret_index;
	s->n_calls++;
	return true;
}

/* Arguments are JSON as text; of some servers JSON itself, whose strings are judged where they stand. */
static int add_arguments(struct walk *w, const struct json *v, unsigned call)
{
	struct chat_event e = {.type = CHAT_EVENT_TOOL_ARGS, .channel = CHAT_CHANNEL_CALL + call, .index = call};
	int rc;

	if (wire_has_text(v)) {
		e.text = v->str;
		e.text_raw = wire_raw(w->doc, v);
		return say(w, &e);
	}
	if (v->type != JSON_OBJECT && v->type != JSON_ARRAY)
		return 0;
	e.text = v->raw;
	e.args_raw = wire_raw(w->doc, v);
	rc = say(w, &e);
	return rc < 0 ? rc : add_strings(w, v);
}

static int read_function(struct walk *w, const struct json *function, unsigned call)
{
	int rc = 0;

	for (const struct json *v = function->first; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "arguments"))
			rc = add_arguments(w, v, call);
		else if (!KEY_IS(v, "name"))
			rc = add_strings(w, v);
	}
	return rc;
}

static struct slice text_of(const struct json *v)
{
	return wire_is_string(v) ? v->str : (struct slice){NULL, 0};
}

static int start_call(struct walk *w, const struct call *c, unsigned call)
{
	struct chat_event e = {.type = CHAT_EVENT_TOOL_START,
			       .channel = CHAT_CHANNEL_CALL + call,
			       .index = call,
			       .id = text_of(c->id),
			       .name = text_of(c->name)};
	int rc = go_over(w, CHAT_EVENT_TOOL_START, e.channel, call);

	return rc < 0 ? rc : say(w, &e);
}

static int read_call(struct walk *w, const struct json *call)
{
	const struct json *function = json_get(call, "function"), *arguments = json_get(function, "arguments");
	struct call c = {json_get(call, "index"), json_get(call, "id"), json_get(function, "name"), false};
	unsigned index = 0;
	int rc = 0;

	c.says = wire_has_text(c.name) || wire_has_text(arguments) || (arguments && arguments->first);
	if (begins_call(w, &c, &index))
		rc = start_call(w, &c, index);
	for (const struct json *v = call->first; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "function"))
			rc = read_function(w, v, index);
		else if (!KEY_IS(v, "id") && !KEY_IS(v, "type") && !KEY_IS(v, "index"))
			rc = add_strings(w, v);
	}
	return rc;
}

static int read_calls(struct walk *w, const struct json *calls)
{
	int rc = 0;

	for (const struct json *call = calls->first; call && rc == 0; call = call->next)
		rc = read_call(w, call);
	return rc;
}

/* The older form: one call, without an id. */
static int read_function_call(struct walk *w, const struct json *function)
{
	struct call c = {NULL, NULL, json_get(function, "name"), true};
	unsigned index = 0;
	int rc = 0;

	if (begins_call(w, &c, &index))
		rc = start_call(w, &c, index);
	return rc < 0 ? rc : read_function(w, function, index);
}

static int read_content(struct walk *w, const struct json *v)
{
	if (v->type == JSON_ARRAY)
		return read_parts(w, v);
	return v->type == JSON_STRING ? add_text(w, v, CHAT_EVENT_TEXT, CHAT_CHANNEL_TEXT) : add_strings(w, v);
}

/* One of two names of the same thing: where both say it, the second is only more to judge. */
static int read_reasoning(struct walk *w, const struct json *message, const struct json *v)
{
	const struct json *content = KEY_IS(v, "reasoning") ? json_get(message, "reasoning_content") : NULL;

	if (v->type != JSON_STRING)
		return add_strings(w, v);
	if (wire_has_text(content) && slice_eq(content->str, v->str))
		return add_text(w, v, CHAT_EVENT_OTHER, CHANNEL_TWICE);
	return add_reasoning(w, v);
}

/* A message or a delta. */
static int read_message(struct walk *w, const struct json *message)
{
	int rc = 0;

	for (const struct json *v = message->first; v && rc == 0; v = v->next) {
		if (v->type == JSON_NULL)
			continue;
		if (KEY_IS(v, "content"))
			rc = read_content(w, v);
		else if (KEY_IS(v, "refusal"))
			rc = add_text(w, v, CHAT_EVENT_REFUSAL, CHAT_CHANNEL_REFUSAL);
		else if (KEY_IS(v, "tool_calls"))
			rc = read_calls(w, v);
		else if (KEY_IS(v, "reasoning_content") || KEY_IS(v, "reasoning"))
			rc = read_reasoning(w, message, v);
		else if (KEY_IS(v, "function_call"))
			rc = read_function_call(w, v);
		else if (KEY_IS(v, "audio"))
			rc = add_text(w, json_get(v, "transcript"), CHAT_EVENT_OTHER, CHAT_CHANNEL_TRANSCRIPT);
		else if (!KEY_IS(v, "role"))
			rc = add_strings(w, v);
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

static int read_choice(struct walk *w, const struct json *choice)
{
	int rc = 0;

	for (const struct json *v = choice->first; v && rc == 0; v = v->next) {
		if (v->type == JSON_NULL)
			continue;
		if (KEY_IS(v, "message") || KEY_IS(v, "delta"))
			rc = read_message(w, v);
		else if (w->completes && KEY_IS(v, "text"))
			rc = add_text(w, v, CHAT_EVENT_TEXT, CHAT_CHANNEL_TEXT);
		else if (KEY_IS(v, "finish_reason"))
			w->finish = w->choice ? w->finish : v;
		else if (KEY_IS(v, "logprobs"))
			w->logprobs = v;
		else if (!w->s && !is_label(v))
			rc = add_strings(w, v);
	}
	return rc;
}

/* Logprobs repeat the texts of their choice, which are the events from first on: they have to go when one is replaced.
 */
static int keep_logprobs(struct walk *w, const struct json *choices, size_t first)
{
	struct slice raw;

	if (!w->logprobs)
		return 0;
	raw = wire_raw(w->doc, w->logprobs);
	for (size_t i = first; i < w->out->n; i++)
		w->out->e[i].logprobs_raw = raw;
	if (w->s)
		return 0;
	if (!w->choice) {
		w->first_logprobs = raw;
		return 0;
	}
	if (!w->other_logprobs)
		w->other_logprobs = ARENA_ARRAY(w->a, struct slice, choices->n_items);
	if (!w->other_logprobs)
		return E_TOOBIG;
	w->other_logprobs[w->n_other_logprobs++] = raw;
	return 0;
}

static int read_choices(struct walk *w, const struct json *choices)
{
	bool found = false;
	int rc = 0;

	for (const struct json *v = choices->first; v && rc == 0; v = v->next) {
		size_t first = w->out->n;

		w->choice = small_number(json_get(v, "index"), 0, 1000);
		if (!w->choice && found)
			w->choice = 1; /* a second one that calls itself the first */
		found |= !w->choice;
		w->logprobs = NULL;
		w->n_calls = 0;
		rc = read_choice(w, v);
		if (rc == 0)
			rc = keep_logprobs(w, choices, first);
	}
	w->choice = 0;
	return rc;
}

struct top {
	const struct json *id, *model, *created, *choices, *usage, *error;
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
		else if (KEY_IS(v, "created"))
			t->created = v;
		else if (KEY_IS(v, "error"))
			t->error = v;
	}
}

/* Beside choices too: they are what the error left of the event. */
static bool tells_of_an_error(const struct top *t)
{
	if (t->error && (wire_has_text(t->error) || (t->error->type == JSON_OBJECT && t->error->first)))
		return true;
	return !t->choices && (t->error || !t->usage);
}

static int fill_answer(const struct top *t, const struct walk *w, struct chat_answer *ret, struct err *err)
{
	struct chat_answer answer = {0};

	if (answer_of_events(w->a, w->out, &answer) < 0)
		return err_set(err, E_TOOBIG, "the upstream's answer is more than an exchange may hold");
	if (wire_is_string(w->finish) && wire_finish(w->finish->str, &answer.finish) < 0)
		return err_set(err, E_INVALID, "the upstream broke its answer off (finish_reason '" SLICE_FMT "')",
			       SLICE_ARG(w->finish->str));
	answer.finish = wire_finish_of(answer.finish, answer_calls(&answer));
	parts_reasoning_first(answer.parts, answer.n_parts);
	answer.id = text_of(t->id);
	answer.model = text_of(t->model);
	answer.logprobs_raw = w->first_logprobs;
	answer.other_logprobs = w->other_logprobs;
	answer.n_other_logprobs = w->n_other_logprobs;
	answer.n_choices = t->choices->n_items;
	wire_read_usage(t->usage, &answer.usage);
	*ret = answer;
	return 0;
}

/* What is read, and as what. */
struct source {
	struct arena *a;
	struct json_parser *jp;
	struct slice text;
	bool completes;
};

static int read_answer(const struct source *from, struct chat_answer *ret, struct err *err)
{
	struct wire_doc doc;
	struct chat_events events = {0};
	struct walk w = {.a = from->a, .doc = &doc, .out = &events, .completes = from->completes};
	struct top t = {0};
	struct slice message;
	int rc = wire_parse(from->a, from->jp, from->text, &doc, err);

	if (rc < 0)
		return rc;
	if (doc.root->type == JSON_OBJECT)
		read_top(doc.root, &t);
	if (!t.choices || t.choices->type != JSON_ARRAY || !t.choices->first) {
		message = wire_error_message(doc.root);
		if (message.n)
			return err_set(err, E_INVALID, "the upstream reports: " SLICE_FMT,
				       SLICE_ARG(utf8_truncate(message, 300)));
		return err_set(err, E_INVALID, "the upstream's answer is no %scompletion: it has no choices",
			       from->completes ? "" : "chat ");
	}
	for (const struct json *v = doc.root->first; v && rc == 0; v = v->next) {
		if (v == t.choices)
			rc = read_choices(&w, v);
		else if (!is_label(v))
			rc = add_strings(&w, v);
	}
	if (rc == 0)
		rc = events_cover(from->a, &doc, &events);
	if (rc < 0)
		return err_set(err, rc, "the upstream's answer is more than an exchange may hold");
	return fill_answer(&t, &w, ret, err);
}

int openai_decode_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			 struct err *err)
{
	return read_answer(&(struct source){a, jp, body, false}, ret, err);
}

int openai_decode_completion(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			     struct err *err)
{
	return read_answer(&(struct source){a, jp, body, true}, ret, err);
}

/* --- streams --- */

static int say_error(struct arena *a, struct slice text, struct chat_events *ret)
{
	return events_say(a, ret, &(struct chat_event){.type = CHAT_EVENT_ERROR, .text = text});
}

static int say_start(struct decode_state *s, struct walk *w, const struct top *t)
{
	struct chat_event e = {.type = CHAT_EVENT_START,
			       .id = text_of(t->id),
			       .name = text_of(t->model),
			       .created_s = wire_count(t->created)};

	s->begun = true;
	return e.id.n || e.name.n ? events_say(w->a, w->out, &e) : 0;
}

static int say_finish(struct walk *w)
{
	struct chat_event e = {.type = CHAT_EVENT_FINISH};
	int rc;

	if (wire_finish(w->finish->str, &e.finish) < 0)
		return say_error(w->a, SLICE_LIT("the upstream broke its answer off"), w->out);
	e.finish = wire_finish_of(e.finish, w->s->n_calls > 0);
	rc = go_over(w, CHAT_EVENT_NONE, CHANNEL_UNKNOWN, 0);
	return rc < 0 ? rc : events_say(w->a, w->out, &e);
}

static int say_usage(struct walk *w, const struct json *usage)
{
	struct chat_event e = {.type = CHAT_EVENT_USAGE};

	wire_read_usage(usage, &e.usage);
	return e.usage.known ? events_say(w->a, w->out, &e) : 0;
}

static int read_event(const struct source *from, struct decode_state *s, struct chat_events *ret, struct err *err)
{
	struct arena *a = from->a;
	struct wire_doc doc;
	struct walk w = {.a = a, .doc = &doc, .out = ret, .s = s, .completes = from->completes};
	struct top t = {0};
	int rc;

	if (slice_eq_str(slice_trim(from->text), "[DONE]"))
		return events_add(a, ret, CHAT_EVENT_END) ? 0 : E_TOOBIG;
	rc = wire_parse(a, from->jp, from->text, &doc, err);
	if (rc < 0)
		return rc;
	if (doc.root->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "the upstream's event is a %s, not an object",
			       json_type_name(doc.root->type));
	read_top(doc.root, &t);
	if (tells_of_an_error(&t) && wire_error_message(doc.root).n)
		return say_error(a, wire_error_message(doc.root), ret);
	rc = s->begun ? 0 : say_start(s, &w, &t);
	if (rc == 0 && t.choices)
		rc = read_choices(&w, t.choices);
	if (rc == 0 && wire_is_string(w.finish))
		rc = say_finish(&w);
	if (rc == 0 && t.usage)
		rc = say_usage(&w, t.usage);
	if (rc == 0)
		rc = events_cover(a, &doc, ret);
	return rc < 0 ? err_set(err, rc, "the upstream's event is more than an exchange may hold") : 0;
}

int openai_decode_event(struct decode_state *s, struct arena *a, struct json_parser *jp, struct slice payload,
			struct chat_events *ret, struct err *err)
{
	return read_event(&(struct source){a, jp, payload, false}, s, ret, err);
}

int openai_decode_completion_event(struct decode_state *s, struct arena *a, struct json_parser *jp,
				   struct slice payload, struct chat_events *ret, struct err *err)
{
	return read_event(&(struct source){a, jp, payload, true}, s, ret, err);
}

const struct protocol protocol_openai = {
	.name = "openai",
	.default_path = "/v1/chat/completions",
	.call = "/chat/completions",
	.gives_vectors = &protocol_openai_embeddings,
	.framing = FRAMING_SSE,
	.stream_type = "text/event-stream",
	.asks_usage = true,
	.needs_model_splice = true,
	.joins_texts = true,
	.names_calls = true,
	.answer_parts =
		1u << CHAT_PART_TEXT | 1u << CHAT_PART_REASONING | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_CALL,
	.decode_request = openai_decode_request,
	.decode_details = openai_decode_details,
	.encode_answer = openai_encode_answer,
	.encode_event = openai_encode_event,
	.encode_error = openai_encode_error,
	.encode_stream_error = openai_encode_stream_error,
	.encode_request = openai_encode_request,
	.decode_answer = openai_decode_answer,
	.decode_event = openai_decode_event,
	.decode_error = wire_decode_error,
};
