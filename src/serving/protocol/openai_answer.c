/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI chat completions: what callers get.  Official clients are strict about the shape of answers and chunks (id,
 * object, created, model, choices are required; choices is empty in the usage chunk only, and no other has a usage, not
 * even null; a call's id and name stand in its first chunk, its index in each): keep every member.
 */
#include "serving/protocol/protocol_internal.h"

/* What an answer and each of its chunks begin with. */
static void write_top(struct json_writer *w, struct slice id, const char *object, const struct answer_meta *m)
{
	jw_object(w);
	jw_kstr(w, "id", id);
	jw_kcstr(w, "object", object);
	jw_ki64(w, "created", m->created_s);
	jw_kstr(w, "model", m->model);
}

static const char *finish_name(enum chat_finish finish)
{
	switch (finish) {
	case CHAT_FINISH_NONE:
	case CHAT_FINISH_STOP:
	case CHAT_FINISH_STOP_SEQUENCE:
	case CHAT_FINISH_PAUSE:
		break;
	case CHAT_FINISH_LENGTH:
		return "length";
	case CHAT_FINISH_TOOL_CALLS:
		return "tool_calls";
	case CHAT_FINISH_CONTENT_FILTER:
	case CHAT_FINISH_REFUSAL:
		return "content_filter";
	}
	return "stop";
}

/* --- whole --- */

static struct slice joined(const struct chat_answer *answer, enum chat_part_kind kind, struct buf *space)
{
	size_t n = 0;
	struct slice only = {NULL, 0};

	for (size_t i = 0; i < answer->n_parts; i++) {
		if (answer->parts[i].kind != kind || !answer->parts[i].text.n)
			continue;
		only = answer->parts[i].text;
		n++;
	}
	if (n < 2)
		return only;
	for (size_t i = 0; i < answer->n_parts; i++)
		if (answer->parts[i].kind == kind)
			buf_add(space, answer->parts[i].text);
	return buf_slice(space);
}

static void write_joined(struct json_writer *w, const char *key, const struct chat_answer *answer,
			 enum chat_part_kind kind)
{
	struct buf space;
	struct slice text;

	buf_init(&space, w->out->max);
	text = joined(answer, kind, &space);
	if (text.n)
		jw_kstr(w, key, text);
	else if (kind == CHAT_PART_REFUSAL)
		jw_kcstr(w, key, NULL);
	if (buf_failed(&space))
		w->out->failed = true;
	buf_release(&space);
}

/* Where clients of Gemini's own OpenAI endpoint look for it, and send it back from. */
static void write_signature(struct json_writer *w, struct slice signature)
{
	if (!signature.n)
		return;
	jw_key(w, "extra_content");
	jw_object(w);
	jw_key(w, "google");
	jw_object(w);
	jw_kstr(w, "thought_signature", signature);
	jw_object_end(w);
	jw_object_end(w);
}

static void write_calls(struct json_writer *w, const struct chat_answer *answer, const struct answer_meta *m)
{
	unsigned n = 0;

	for (size_t i = 0; i < answer->n_parts; i++) {
		const struct chat_part *p = &answer->parts[i];

		if (p->kind != CHAT_PART_TOOL_CALL)
			continue;
		if (!n) {
			jw_key(w, "tool_calls");
			jw_array(w);
		}
		jw_object(w);
		wire_write_call_id(w, "id", p->id, m, n++);
		jw_kcstr(w, "type", "function");
		jw_key(w, "function");
		jw_object(w);
		jw_kstr(w, "name", p->name);
		jw_kstr(w, "arguments", p->text.n ? p->text : SLICE_LIT("{}"));
		jw_object_end(w);
		write_signature(w, p->opaque);
		jw_object_end(w);
	}
	if (n)
		jw_array_end(w);
}

static bool has_part(const struct chat_answer *answer, enum chat_part_kind kind)
{
	for (size_t i = 0; i < answer->n_parts; i++)
		if (answer->parts[i].kind == kind)
			return true;
	return false;
}

static void write_message(struct json_writer *w, const struct chat_answer *answer, const struct answer_meta *m)
{
	jw_object(w);
	jw_kcstr(w, "role", "assistant");
	jw_key(w, "content");
	if (!answer->text.n && (has_part(answer, CHAT_PART_TOOL_CALL) || has_part(answer, CHAT_PART_REFUSAL)))
		jw_null(w);
	else
		jw_str(w, answer->text);
	write_joined(w, "refusal", answer, CHAT_PART_REFUSAL);
	write_joined(w, "reasoning_content", answer, CHAT_PART_REASONING);
	write_calls(w, answer, m);
	jw_object_end(w);
}

int openai_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	struct json_writer w;

	jw_init(&w, out);
	write_top(&w, answer->id.n ? answer->id : m->answer_id, "chat.completion", m);
	jw_key(&w, "choices");
	jw_array(&w);
	jw_object(&w);
	jw_ki64(&w, "index", 0);
	jw_key(&w, "message");
	write_message(&w, answer, m);
	jw_key(&w, "logprobs");
	jw_null(&w);
	jw_kcstr(&w, "finish_reason", finish_name(answer->finish));
	jw_object_end(&w);
	jw_array_end(&w);
	/* some clients take no answer without it */
	jw_kstr(&w, "system_fingerprint", m->model_id.n ? m->model_id : SLICE_LIT("muster"));
	if (answer->usage.known) {
		jw_key(&w, "usage");
		wire_write_usage(&w, &answer->usage);
	}
	jw_object_end(&w);
	return buf_failed(out) ? E_TOOBIG : 0;
}

/* --- streamed --- */

static void begin_chunk(struct json_writer *w, struct buf *out, const struct answer_meta *m)
{
	buf_adds(out, "data: ");
	jw_init(w, out);
	write_top(w, m->answer_id, "chat.completion.chunk", m);
	jw_key(w, "choices");
	jw_array(w);
	jw_object(w);
	jw_ki64(w, "index", 0);
	jw_key(w, "delta");
	jw_object(w);
}

static void end_chunk(struct json_writer *w, const char *finish)
{
	jw_object_end(w);
	jw_key(w, "logprobs");
	jw_null(w);
	jw_kcstr(w, "finish_reason", finish);
	jw_object_end(w);
	jw_array_end(w);
	jw_object_end(w);
	buf_adds(w->out, "\n\n");
}

static void write_usage_chunk(struct buf *out, const struct answer_meta *m, const struct chat_usage *usage)
{
	struct json_writer w;

	buf_adds(out, "data: ");
	jw_init(&w, out);
	write_top(&w, m->answer_id, "chat.completion.chunk", m);
	jw_key(&w, "choices");
	jw_array(&w);
	jw_array_end(&w);
	jw_key(&w, "usage");
	wire_write_usage(&w, usage);
	jw_object_end(&w);
	buf_adds(out, "\n\n");
}

/* The number that the caller knows a call by. */
static unsigned number_of_call(struct encode_state *s, unsigned index, bool begins)
{
	unsigned char *place = &s->part_of_call[min_size(index, COUNT_OF(s->part_of_call) - 1)];

	if (begins || !*place)
		*place = (unsigned char)min_size(++s->n_calls, 255);
	return *place - 1u;
}

static void write_call(struct json_writer *w, struct encode_state *s, const struct chat_event *e,
		       const struct answer_meta *m)
{
	bool begins = e->type == CHAT_EVENT_TOOL_START;
	unsigned number = number_of_call(s, e->index, begins);

	jw_key(w, "tool_calls");
	jw_array(w);
	jw_object(w);
	jw_ki64(w, "index", number);
	if (begins) {
		wire_write_call_id(w, "id", e->id, m, number);
		jw_kcstr(w, "type", "function");
	}
	jw_key(w, "function");
	jw_object(w);
	if (begins)
		jw_kstr(w, "name", e->name);
	jw_kstr(w, "arguments", begins ? SLICE_LIT("") : e->text);
	jw_object_end(w);
	if (begins)
		write_signature(w, e->opaque);
	jw_object_end(w);
	jw_array_end(w);
}

static void write_delta(struct encode_state *s, struct buf *out, const struct chat_event *e,
			const struct answer_meta *m)
{
	bool is_text = e->type == CHAT_EVENT_TEXT;
	struct json_writer w;

	begin_chunk(&w, out, m);
	if (!s->begun)
		jw_kcstr(&w, "role", "assistant");
	if (is_text)
		jw_kstr(&w, "content", e->text.p ? e->text : SLICE_LIT(""));
	else if (!s->begun && e->type == CHAT_EVENT_FINISH)
		jw_kcstr(&w, "content", "");
	else if (!s->begun)
		jw_kcstr(&w, "content", NULL);
	if (e->type == CHAT_EVENT_REASONING)
		jw_kstr(&w, "reasoning_content", e->text);
	else if (e->type == CHAT_EVENT_REFUSAL)
		jw_kstr(&w, "refusal", e->text);
	else if (e->type == CHAT_EVENT_TOOL_START || e->type == CHAT_EVENT_TOOL_ARGS)
		write_call(&w, s, e, m);
	end_chunk(&w, e->type == CHAT_EVENT_FINISH ? finish_name(e->finish) : NULL);
	s->begun = true;
}

int openai_encode_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			const struct answer_meta *m)
{
	if (!out) {
		s->begun = true;
		return 0;
	}
	switch (e->type) {
	case CHAT_EVENT_NONE:
	case CHAT_EVENT_START:
	case CHAT_EVENT_PART_START:
	case CHAT_EVENT_PART_END:
	case CHAT_EVENT_OTHER:
	case CHAT_EVENT_USAGE: /* told at the end */
	case CHAT_EVENT_ERROR: /* encode_stream_error's */
		break;
	case CHAT_EVENT_REASONING:
		if (!e->text.n) /* a signature, which has no place here */
			break;
		write_delta(s, out, e, m);
		break;
	case CHAT_EVENT_TEXT:
	case CHAT_EVENT_REFUSAL:
	case CHAT_EVENT_TOOL_START:
	case CHAT_EVENT_TOOL_ARGS:
	case CHAT_EVENT_FINISH:
		write_delta(s, out, e, m);
		break;
	case CHAT_EVENT_END:
		if (m->include_usage)
			write_usage_chunk(out, m, &e->usage);
		buf_adds(out, "data: [DONE]\n\n");
		break;
	}
	return buf_failed(out) ? E_TOOBIG : 0;
}

int openai_encode_error(struct buf *out, const struct api_error *e)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_key(&w, "error");
	jw_object(&w);
	jw_kstr(&w, "message", e->message);
	jw_kcstr(&w, "type", e->type);
	jw_kcstr(&w, "param", e->param);
	jw_kcstr(&w, "code", e->code);
	jw_object_end(&w);
	jw_object_end(&w);
	return buf_failed(out) ? E_TOOBIG : 0;
}

int openai_encode_stream_error(struct buf *out, const struct api_error *e)
{
	buf_adds(out, "data: ");
	openai_encode_error(out, e);
	return buf_adds(out, "\n\n");
}
