/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemini's generateContent: what callers get.  Each event of a stream is an answer with the next parts; a call stands
 * in one of them whole, so its arguments are gathered until it is over.  The last has the finishReason and the usage;
 * there is no other terminator.
 */
#include "serving/protocol/gemini_internal.h"

#define CALL_MAX ((size_t)4 * 1024 * 1024)

static const char *reason_name(enum chat_finish finish)
{
	switch (finish) {
	case CHAT_FINISH_NONE:
	case CHAT_FINISH_STOP:
	case CHAT_FINISH_TOOL_CALLS:
	case CHAT_FINISH_STOP_SEQUENCE:
	case CHAT_FINISH_PAUSE:
		break;
	case CHAT_FINISH_LENGTH:
		return "MAX_TOKENS";
	case CHAT_FINISH_CONTENT_FILTER:
	case CHAT_FINISH_REFUSAL:
		return "SAFETY";
	}
	return "STOP";
}

static void write_usage(struct json_writer *w, const struct chat_usage *u)
{
	int64_t said = u->completion_tokens - u->reasoning_tokens;

	jw_key(w, "usageMetadata");
	jw_object(w);
	jw_ki64(w, "promptTokenCount", u->prompt_tokens);
	jw_ki64(w, "candidatesTokenCount", said > 0 ? said : 0);
	jw_ki64(w, "totalTokenCount", u->total_tokens);
	if (u->cached_tokens)
		jw_ki64(w, "cachedContentTokenCount", u->cached_tokens);
	if (u->reasoning_tokens)
		jw_ki64(w, "thoughtsTokenCount", u->reasoning_tokens);
	jw_object_end(w);
}

/* --- parts --- */

static void write_text(struct json_writer *w, struct slice text, bool thought, struct slice signature)
{
	jw_object(w);
	jw_kstr(w, "text", text);
	if (thought)
		jw_kbool(w, "thought", true);
	if (signature.n)
		jw_kstr(w, "thoughtSignature", signature);
	jw_object_end(w);
}

/* All of a call but its arguments and what closes it: {"functionCall":{"name":"f", */
static void write_call_head(struct buf *out, struct slice id, struct slice name, struct slice signature)
{
	buf_addc(out, '{');
	if (signature.n) {
		buf_adds(out, "\"thoughtSignature\":\"");
		json_escape(out, signature);
		buf_adds(out, "\",");
	}
	buf_adds(out, "\"functionCall\":{");
	if (id.n) {
		buf_adds(out, "\"id\":\"");
		json_escape(out, id);
		buf_adds(out, "\",");
	}
	buf_adds(out, "\"name\":\"");
	json_escape(out, name);
	buf_adds(out, "\",");
}

static void write_part(struct json_writer *w, const struct chat_part *p)
{
	struct buf head;

	switch (p->kind) {
	case CHAT_PART_REASONING:
		if (!p->redacted)
			write_text(w, p->text, p->text.n > 0, p->opaque);
		break;
	case CHAT_PART_TOOL_CALL:
		buf_init(&head, (p->id.n + p->name.n + p->opaque.n) * 6 + 128);
		write_call_head(&head, p->id, p->name, p->opaque);
		wire_write_call(w, buf_slice(&head), "args", p->text);
		buf_release(&head);
		break;
	case CHAT_PART_TEXT:
	case CHAT_PART_REFUSAL:
	case CHAT_PART_TOOL_RESULT:
	case CHAT_PART_IMAGE:
	case CHAT_PART_OTHER:
		write_text(w, p->text, false, (struct slice){NULL, 0});
		break;
	}
}

/* --- whole --- */

static void begin_candidate(struct json_writer *w)
{
	jw_object(w);
	jw_key(w, "candidates");
	jw_array(w);
	jw_object(w);
	jw_key(w, "content");
	jw_object(w);
	jw_key(w, "parts");
	jw_array(w);
}

/* finish NULL: more follows. */
static void end_candidate(struct json_writer *w, const char *finish)
{
	jw_array_end(w);
	jw_kcstr(w, "role", "model");
	jw_object_end(w);
	if (finish)
		jw_kcstr(w, "finishReason", finish);
	jw_ki64(w, "index", 0);
	jw_object_end(w);
	jw_array_end(w);
}

static void end_answer(struct json_writer *w, struct slice id, const struct answer_meta *m)
{
	jw_kstr(w, "modelVersion", m->model);
	jw_kstr(w, "responseId", id);
	jw_object_end(w);
}

int gemini_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	const struct chat_part whole = {.kind = CHAT_PART_TEXT, .text = answer->text};
	struct json_writer w;

	jw_init(&w, out);
	begin_candidate(&w);
	if (!answer->n_parts)
		write_part(&w, &whole);
	for (size_t i = 0; i < answer->n_parts; i++)
		write_part(&w, &answer->parts[i]);
	end_candidate(&w, reason_name(answer->finish));
	write_usage(&w, &answer->usage);
	end_answer(&w, answer->id.n ? answer->id : m->answer_id, m);
	return buf_failed(out) ? E_TOOBIG : 0;
}

/* --- streamed --- */

static void begin_event(struct json_writer *w, struct buf *out)
{
	buf_adds(out, "data: ");
	jw_init(w, out);
	begin_candidate(w);
}

static void end_event(struct json_writer *w, const struct answer_meta *m)
{
	end_answer(w, m->answer_id, m);
	buf_adds(w->out, "\r\n\r\n");
}

static void send_text(struct encode_state *s, struct buf *out, const struct chat_event *e, const struct answer_meta *m)
{
	bool reasons = e->type == CHAT_EVENT_REASONING;
	struct json_writer w;

	if (e->redacted || (!e->text.n && !e->opaque.n))
		return;
	s->begun = true;
	begin_event(&w, out);
	write_text(&w, e->text, reasons && e->text.n, reasons ? e->opaque : (struct slice){NULL, 0});
	end_candidate(&w, NULL);
	end_event(&w, m);
}

/* The gathered call leaves.  `sequence` is where its arguments begin. */
static void send_call(struct encode_state *s, struct buf *out, const struct answer_meta *m)
{
	struct slice all = buf_slice(&s->gathered);
	struct json_writer w;

	if (s->open != CHAT_EVENT_TOOL_START)
		return;
	s->open = CHAT_EVENT_NONE;
	s->begun = true;
	if (buf_failed(&s->gathered))
		out->failed = true;
	begin_event(&w, out);
	wire_write_call(&w, slice_sub(all, 0, s->sequence), "args", slice_sub(all, s->sequence, all.n));
	end_candidate(&w, NULL);
	end_event(&w, m);
	buf_clear(&s->gathered);
}

static void begin_call(struct encode_state *s, const struct chat_event *e)
{
	if (!s->gathered.max)
		buf_init(&s->gathered, CALL_MAX);
	buf_clear(&s->gathered);
	write_call_head(&s->gathered, e->id, e->name, e->opaque);
	s->sequence = s->gathered.n;
	s->open = CHAT_EVENT_TOOL_START;
	s->channel = e->channel;
}

static void send_end(struct encode_state *s, struct buf *out, const struct chat_event *e, const struct answer_meta *m)
{
	struct json_writer w;

	if (s->finish_sent)
		return;
	s->finish_sent = true;
	begin_event(&w, out);
	write_text(&w, SLICE_LIT(""), false, (struct slice){NULL, 0});
	end_candidate(&w, reason_name(s->finish ? s->finish : e->finish));
	write_usage(&w, &e->usage);
	end_event(&w, m);
}

int gemini_encode_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			const struct answer_meta *m)
{
	if (!out) {
		s->begun = true;
		s->finish_sent |= e->type == CHAT_EVENT_FINISH;
		return 0;
	}
	switch (e->type) {
	case CHAT_EVENT_NONE:
	case CHAT_EVENT_START:
	case CHAT_EVENT_PART_START:
	case CHAT_EVENT_OTHER:
	case CHAT_EVENT_USAGE: /* told at the end */
	case CHAT_EVENT_ERROR: /* encode_stream_error's */
		break;
	case CHAT_EVENT_TEXT:
	case CHAT_EVENT_REFUSAL:
	case CHAT_EVENT_REASONING:
		send_call(s, out, m);
		send_text(s, out, e, m);
		break;
	case CHAT_EVENT_TOOL_START:
		send_call(s, out, m);
		begin_call(s, e);
		break;
	case CHAT_EVENT_TOOL_ARGS:
		if (s->open == CHAT_EVENT_TOOL_START && s->channel == e->channel)
			buf_add(&s->gathered, e->text);
		else if (e->text.n)
			out->failed = true; /* of a call that has left: the answer cannot be told */
		break;
	case CHAT_EVENT_PART_END:
		if (s->channel == e->channel)
			send_call(s, out, m);
		break;
	case CHAT_EVENT_FINISH:
		send_call(s, out, m);
		s->finish = e->finish;
		break;
	case CHAT_EVENT_END:
		send_call(s, out, m);
		send_end(s, out, e, m);
		break;
	}
	return buf_failed(out) ? E_TOOBIG : 0;
}

/* --- errors --- */

static const char *status_name(int status)
{
	static const struct {
		int status;
		const char *name;
	} names[] = {
		{401, "UNAUTHENTICATED"}, {403, "PERMISSION_DENIED"},  {404, "NOT_FOUND"},
		{409, "ABORTED"},	  {429, "RESOURCE_EXHAUSTED"}, {499, "CANCELLED"},
		{501, "UNIMPLEMENTED"},	  {502, "UNAVAILABLE"},	       {503, "UNAVAILABLE"},
		{529, "UNAVAILABLE"},	  {504, "DEADLINE_EXCEEDED"},
	};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (names[i].status == status)
			return names[i].name;
	return status >= 500 ? "INTERNAL" : "INVALID_ARGUMENT";
}

int gemini_encode_error(struct buf *out, const struct api_error *e)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_key(&w, "error");
	jw_object(&w);
	jw_ki64(&w, "code", e->status);
	jw_kstr(&w, "message", e->message);
	jw_kcstr(&w, "status", status_name(e->status));
	jw_object_end(&w);
	jw_object_end(&w);
	return buf_failed(out) ? E_TOOBIG : 0;
}

int gemini_encode_stream_error(struct buf *out, const struct api_error *e)
{
	buf_adds(out, "data: ");
	gemini_encode_error(out, e);
	return buf_adds(out, "\r\n\r\n");
}
