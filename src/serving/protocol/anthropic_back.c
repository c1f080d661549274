/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Anthropic's upstreams answer.  An answer is a list of blocks, and a stream opens, fills and closes them one by
 * one.  Blocks of types that we do not know reach callers of the same protocol: every string in them is judged.
 *
 * What would break it: taking an answer for whole that began twice, or telling usage before it is final.
 */
#include "core/base/utf8.h"
#include "serving/protocol/anthropic_internal.h"

/* Calls are numbered by their block; texts that have no name by their block or their place. */
#define BLOCKS_MAX (64 - CHAT_CHANNEL_CALL)
#define CHANNEL_BLOCK (1u << 20)
#define CHANNEL_STRINGS (1u << 21)

struct walk {
	struct arena *a;
	const struct wire_doc *doc;
	struct chat_events *out;
	unsigned n_strings;
};

static bool is_type(const struct json *obj, const char *type)
{
	return slice_eq_str(wire_text_in(obj, "type"), type);
}

static int add_text(struct walk *w, const struct json *v, enum chat_event_type type, unsigned channel, unsigned index)
{
	struct chat_event e = {.type = type, .channel = channel, .index = index};

	if (!wire_has_text(v))
		return 0;
	e.text = v->str;
	e.text_raw = wire_raw(w->doc, v);
	return events_say(w->a, w->out, &e);
}

/* Strings that name things, and those that nobody but the provider can read. */
static bool is_label(const struct json *v)
{
	static const char *const labels[] = {
		"type",	 "id",	 "tool_use_id", "name", "signature", "encrypted_content", "encrypted_index",
		"model", "role", "stop_reason", "data", "media_type"};

	for (size_t i = 0; i < COUNT_OF(labels); i++)
		if (slice_eq_str(v->key, labels[i]))
			return true;
	return false;
}

/* Every string in a value, each a text of its own. */
static int add_strings(struct walk *w, const struct json *v, bool labels)
{
	int rc = 0;

	if (labels || !is_label(v) || v->type != JSON_STRING)
		rc = add_text(w, v, CHAT_EVENT_OTHER, CHANNEL_STRINGS + w->n_strings++, 0);
	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		rc = add_strings(w, item, labels);
	return rc;
}

static int add_signature(struct walk *w, const struct json *v)
{
	struct chat_event e = {.type = CHAT_EVENT_REASONING, .channel = CHAT_CHANNEL_REASONING};

	if (!wire_has_text(v))
		return 0;
	e.opaque = v->str;
	return events_say(w->a, w->out, &e);
}

static int add_redacted(struct walk *w, const struct json *block)
{
	return events_say(w->a, w->out,
			  &(struct chat_event){.type = CHAT_EVENT_REASONING,
					       .channel = CHAT_CHANNEL_REASONING,
					       .redacted = true,
					       .opaque = wire_text_in(block, "data")});
}

/* Its input is an object: the strings in it are judged where they stand, and it is the arguments for all others. */
static int add_call(struct walk *w, const struct json *block, unsigned index)
{
	const struct json *input = json_get(block, "input");
	struct chat_event e = {.type = CHAT_EVENT_TOOL_START,
			       .channel = CHAT_CHANNEL_CALL + index,
			       .index = index,
			       .id = wire_text_in(block, "id"),
			       .name = wire_text_in(block, "name")};
	int rc = events_say(w->a, w->out, &e);

	if (rc < 0 || !input)
		return rc;
	if (input->type != JSON_OBJECT || !input->first)
		return add_strings(w, input, true);
	e.type = CHAT_EVENT_TOOL_ARGS;
	e.id = e.name = (struct slice){NULL, 0};
	e.text = input->raw;
	e.args_raw = wire_raw(w->doc, input);
	rc = events_say(w->a, w->out, &e);
	return rc < 0 ? rc : add_strings(w, input, true);
}

static int part_event(struct walk *w, enum chat_event_type type, enum chat_part_kind part, unsigned channel,
		      unsigned index)
{
	return events_say(w->a, w->out,
			  &(struct chat_event){.type = type, .part = part, .channel = channel, .index = index});
}

/* What a whole block says, or what one says as it begins. */
static int add_block(struct walk *w, const struct json *block, unsigned index, bool begins)
{
	int rc = 0;

	if (is_type(block, "tool_use"))
		return add_call(w, block, index);
	if (is_type(block, "text")) {
		rc = begins ? part_event(w, CHAT_EVENT_PART_START, CHAT_PART_TEXT, CHAT_CHANNEL_TEXT, index) : 0;
		for (const struct json *v = block->first; v && rc == 0; v = v->next)
			rc = KEY_IS(v, "text") ? add_text(w, v, CHAT_EVENT_TEXT, CHAT_CHANNEL_TEXT, index)
					       : add_strings(w, v, false);
		return rc;
	}
	if (is_type(block, "thinking")) {
		rc = begins ? part_event(w, CHAT_EVENT_PART_START, CHAT_PART_REASONING, CHAT_CHANNEL_REASONING, index)
			    : 0;
		if (rc == 0)
			rc = add_text(w, json_get(block, "thinking"), CHAT_EVENT_REASONING, CHAT_CHANNEL_REASONING,
				      index);
		return rc < 0 ? rc : add_signature(w, json_get(block, "signature"));
	}
	if (begins)
		rc = part_event(w, CHAT_EVENT_PART_START, CHAT_PART_OTHER, CHANNEL_BLOCK + index, index);
	if (rc == 0 && is_type(block, "redacted_thinking"))
		return add_redacted(w, block);
	return rc < 0 ? rc : add_strings(w, block, false);
}

/* --- how it ended, what it took --- */

static int finish_of(struct slice reason, enum chat_finish *ret)
{
	static const struct {
		const char *name;
		enum chat_finish finish;
	} table[] = {
		{"end_turn", CHAT_FINISH_STOP},
		{"max_tokens", CHAT_FINISH_LENGTH},
		{"tool_use", CHAT_FINISH_TOOL_CALLS},
		{"stop_sequence", CHAT_FINISH_STOP_SEQUENCE},
		{"pause_turn", CHAT_FINISH_PAUSE},
		{"refusal", CHAT_FINISH_REFUSAL},
		{"model_context_window_exceeded", CHAT_FINISH_LENGTH},
	};

	for (size_t i = 0; i < COUNT_OF(table); i++) {
		if (slice_eq_str(reason, table[i].name)) {
			*ret = table[i].finish;
			return 0;
		}
	}
	return wire_finish(reason, ret);
}

/* Adds what v says to what is known; a later word replaces an earlier one.  input_tokens leaves out what was cached. */
static void read_usage(const struct json *v, struct chat_usage *u, int64_t *input)
{
	for (const struct json *m = v ? v->first : NULL; m; m = m->next) {
		if (m->type != JSON_NUMBER)
			continue;
		if (KEY_IS(m, "input_tokens"))
			*input = wire_count(m);
		else if (KEY_IS(m, "output_tokens"))
			u->completion_tokens = wire_count(m);
		else if (KEY_IS(m, "cache_read_input_tokens"))
			u->cached_tokens = wire_count(m);
		else if (KEY_IS(m, "cache_creation_input_tokens"))
			u->cache_write_tokens = wire_count(m);
	}
}

static int64_t add_counts(int64_t a, int64_t b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* The codec's state keeps input_tokens in prompt_tokens until here. */
static struct chat_usage total_of(const struct chat_usage *u)
{
	struct chat_usage all = *u;

	all.prompt_tokens = add_counts(add_counts(u->prompt_tokens, u->cached_tokens), u->cache_write_tokens);
	all.total_tokens = add_counts(all.prompt_tokens, all.completion_tokens);
	all.known = true;
	return all;
}

/* Why a model would not answer stands beside the blocks. */
static int add_refusal(struct walk *w, const struct json *details)
{
	int rc = 0;

	for (const struct json *v = details ? details->first : NULL; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "explanation"))
			rc = add_text(w, v, CHAT_EVENT_REFUSAL, CHAT_CHANNEL_REFUSAL, 0);
		else
			rc = add_strings(w, v, false);
	}
	return rc;
}

/* --- whole --- */

static int read_content(struct walk *w, const struct json *content)
{
	unsigned index = 0;
	int rc = 0;

	for (const struct json *block = content->first; block && rc == 0; block = block->next)
		rc = add_block(w, block, (unsigned)min_size(index++, BLOCKS_MAX - 1), false);
	return rc;
}

/* Members in the order of the body, so that texts are found in the order of their places. */
static int read_message(struct walk *w, const struct json *root)
{
	int rc = 0;

	for (const struct json *v = root->first; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "content"))
			rc = read_content(w, v);
		else if (KEY_IS(v, "stop_details"))
			rc = add_refusal(w, v);
		else if (!KEY_IS(v, "usage"))
			rc = add_strings(w, v, false);
	}
	return rc;
}

static struct slice error_message(const struct json *root)
{
	struct slice message = wire_error_message(root);

	return message.n ? message : SLICE_LIT("an error without words");
}

static int decode_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			 struct err *err)
{
	struct chat_answer answer = {.n_choices = 1};
	struct chat_events events = {0};
	struct wire_doc doc;
	struct walk w = {.a = a, .doc = &doc, .out = &events};
	const struct json *content, *reason;
	int rc = wire_parse(a, jp, body, &doc, err);

	if (rc < 0)
		return rc;
	content = json_get(doc.root, "content");
	reason = json_get(doc.root, "stop_reason");
	if (is_type(doc.root, "error") || json_get(doc.root, "error"))
		return err_set(err, E_INVALID, "the upstream reports: " SLICE_FMT,
			       SLICE_ARG(utf8_truncate(error_message(doc.root), 300)));
	if (!content || content->type != JSON_ARRAY)
		return err_set(err, E_INVALID, "the upstream's answer is no Anthropic message: it has no content");
	if (wire_is_string(reason) && finish_of(reason->str, &answer.finish) < 0)
		return err_set(err, E_INVALID, "the upstream broke its answer off (stop_reason '" SLICE_FMT "')",
			       SLICE_ARG(reason->str));
	if (read_message(&w, doc.root) < 0 || events_cover(a, &doc, &events) < 0 ||
	    answer_of_events(a, &events, &answer) < 0)
		return err_set(err, E_TOOBIG, "the upstream's answer is more than an exchange may hold");
	answer.id = wire_text_in(doc.root, "id");
	answer.model = wire_text_in(doc.root, "model");
	answer.stop_sequence = wire_text_in(doc.root, "stop_sequence");
	if (json_get(doc.root, "usage")) {
		read_usage(json_get(doc.root, "usage"), &answer.usage, &answer.usage.prompt_tokens);
		answer.usage = total_of(&answer.usage);
	}
	*ret = answer;
	return 0;
}

/* --- streamed --- */

static unsigned index_of(const struct json *root)
{
	return (unsigned)min_size((size_t)wire_count(json_get(root, "index")), BLOCKS_MAX - 1);
}

static int say_error(struct walk *w, struct slice text)
{
	return events_say(w->a, w->out, &(struct chat_event){.type = CHAT_EVENT_ERROR, .text = text});
}

static int on_message_start(struct decode_state *s, struct walk *w, const struct json *root)
{
	const struct json *message = json_get(root, "message");

	if (s->open != CHAT_EVENT_NONE || s->n_calls) /* two answers in one: whose end will it be? */
		return say_error(w, SLICE_LIT("the upstream began its answer a second time"));
	s->begun = true;
	s->usage = (struct chat_usage){0};
	read_usage(json_get(message, "usage"), &s->usage, &s->usage.prompt_tokens);
	return events_say(w->a, w->out,
			  &(struct chat_event){.type = CHAT_EVENT_START,
					       .id = wire_text_in(message, "id"),
					       .name = wire_text_in(message, "model")});
}

static int on_block_start(struct decode_state *s, struct walk *w, const struct json *root)
{
	const struct json *block = json_get(root, "content_block");
	unsigned index = index_of(root);

	s->n_calls++; /* blocks, here */
	s->index = index;
	s->tool_parts &= ~(UINT64_C(1) << index);
	s->open = CHAT_EVENT_OTHER;
	s->channel = CHANNEL_BLOCK + index;
	if (is_type(block, "tool_use")) {
		s->open = CHAT_EVENT_TOOL_START;
		s->channel = CHAT_CHANNEL_CALL + index;
		s->tool_parts |= UINT64_C(1) << index;
	} else if (is_type(block, "text")) {
		s->open = CHAT_EVENT_TEXT;
		s->channel = CHAT_CHANNEL_TEXT;
	} else if (is_type(block, "thinking") || is_type(block, "redacted_thinking")) {
		s->open = CHAT_EVENT_REASONING;
		s->channel = CHAT_CHANNEL_REASONING;
	}
	return block ? add_block(w, block, index, true) : 0;
}

static int on_block_delta(struct decode_state *s, struct walk *w, const struct json *root)
{
	const struct json *delta = json_get(root, "delta");
	unsigned index = index_of(root);
	bool is_tool = s->tool_parts & UINT64_C(1) << index;

	if (!delta)
		return 0;
	if (is_type(delta, "text_delta"))
		return add_text(w, json_get(delta, "text"), CHAT_EVENT_TEXT, CHAT_CHANNEL_TEXT, index);
	if (is_type(delta, "thinking_delta"))
		return add_text(w, json_get(delta, "thinking"), CHAT_EVENT_REASONING, CHAT_CHANNEL_REASONING, index);
	if (is_type(delta, "signature_delta"))
		return add_signature(w, json_get(delta, "signature"));
	if (is_type(delta, "input_json_delta"))
		return add_text(w, json_get(delta, "partial_json"), is_tool ? CHAT_EVENT_TOOL_ARGS : CHAT_EVENT_OTHER,
				is_tool ? CHAT_CHANNEL_CALL + index : CHANNEL_BLOCK + index, index);
	return add_strings(w, delta, false);
}

static int on_block_stop(struct decode_state *s, struct walk *w, const struct json *root)
{
	unsigned index = index_of(root);

	if (s->open == CHAT_EVENT_NONE || s->index != index)
		return 0;
	return part_event(w, CHAT_EVENT_PART_END, CHAT_PART_OTHER, s->channel, index);
}

static int on_message_delta(struct decode_state *s, struct walk *w, const struct json *root)
{
	const struct json *delta = json_get(root, "delta"), *reason = json_get(delta, "stop_reason");
	struct chat_event finish = {.type = CHAT_EVENT_FINISH, .stop_sequence = wire_text_in(delta, "stop_sequence")};
	struct chat_event usage = {.type = CHAT_EVENT_USAGE};
	int rc = add_refusal(w, json_get(delta, "stop_details"));

	if (rc == 0 && wire_is_string(reason)) {
		if (finish_of(reason->str, &finish.finish) < 0)
			return say_error(w, SLICE_LIT("the upstream broke its answer off"));
		s->finished = true;
		rc = events_say(w->a, w->out, &finish);
	}
	if (rc < 0 || !json_get(root, "usage"))
		return rc;
	read_usage(json_get(root, "usage"), &s->usage, &s->usage.prompt_tokens);
	usage.usage = total_of(&s->usage);
	return events_say(w->a, w->out, &usage);
}

static int on_message_stop(struct decode_state *s, struct walk *w, const struct json *root)
{
	(void)s;
	(void)root;
	return events_say(w->a, w->out, &(struct chat_event){.type = CHAT_EVENT_END});
}

static int on_ping(struct decode_state *s, struct walk *w, const struct json *root)
{
	(void)s;
	(void)w;
	(void)root;
	return 0;
}

static int on_error(struct decode_state *s, struct walk *w, const struct json *root)
{
	(void)s;
	return say_error(w, error_message(root));
}

static const struct {
	const char *type;
	int (*take)(struct decode_state *s, struct walk *w, const struct json *root);
} kinds[] = {
	{"content_block_delta", on_block_delta}, {"content_block_start", on_block_start},
	{"content_block_stop", on_block_stop},	 {"ping", on_ping},
	{"message_start", on_message_start},	 {"message_delta", on_message_delta},
	{"message_stop", on_message_stop},	 {"error", on_error},
};

static int decode_event(struct decode_state *s, struct arena *a, struct json_parser *jp, struct slice payload,
			struct chat_events *ret, struct err *err)
{
	struct wire_doc doc;
	struct walk w = {.a = a, .doc = &doc, .out = ret};
	struct slice type;
	int rc = wire_parse(a, jp, payload, &doc, err);

	if (rc < 0)
		return rc;
	if (doc.root->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "the upstream's event is a %s, not an object",
			       json_type_name(doc.root->type));
	type = wire_text_in(doc.root, "type");
	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		if (!slice_eq_str(type, kinds[i].type))
			continue;
		rc = kinds[i].take(s, &w, doc.root);
		if (rc == 0)
			rc = events_cover(a, &doc, ret);
		return rc < 0 ? err_set(err, rc, "the upstream's event is more than an exchange may hold") : 0;
	}
	/* an event of a later version, which callers of the same protocol get */
	rc = add_strings(&w, doc.root, false);
	if (rc == 0)
		rc = events_cover(a, &doc, ret);
	return rc < 0 ? err_set(err, rc, "the upstream's event is more than an exchange may hold") : 0;
}

const struct protocol protocol_anthropic = {
	.name = "anthropic",
	.default_path = "/v1/messages",
	.framing = FRAMING_SSE,
	.stream_type = "text/event-stream",
	.needs_model_splice = true,
	.count_call = "/count_tokens",
	.count_member = "input_tokens",
	.ordered = true,
	.names_calls = true,
	.answer_parts =
		1u << CHAT_PART_TEXT | 1u << CHAT_PART_REASONING | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_CALL,
	.pass = {{"anthropic-version", "2023-06-01"}, {"anthropic-beta", NULL}},
	.decode_request = anthropic_decode_request,
	.decode_details = anthropic_decode_details,
	.encode_answer = anthropic_encode_answer,
	.encode_event = anthropic_encode_event,
	.encode_error = anthropic_encode_error,
	.encode_stream_error = anthropic_encode_stream_error,
	.encode_request = anthropic_encode_request,
	.decode_answer = decode_answer,
	.decode_event = decode_event,
	.decode_error = wire_decode_error,
};
