/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anthropic's messages: what callers get.  A stream is message_start, then blocks one after the other (start, deltas,
 * stop), then message_delta with the reason and the usage, then message_stop.  Clients keep the blocks in a list and go
 * by the index: no block may begin before the one before it has ended.
 */
#include "serving/protocol/anthropic_internal.h"

static const char *reason_name(enum chat_finish finish)
{
	switch (finish) {
	case CHAT_FINISH_NONE:
	case CHAT_FINISH_STOP:
		break;
	case CHAT_FINISH_LENGTH:
		return "max_tokens";
	case CHAT_FINISH_TOOL_CALLS:
		return "tool_use";
	case CHAT_FINISH_CONTENT_FILTER:
	case CHAT_FINISH_REFUSAL:
		return "refusal";
	case CHAT_FINISH_STOP_SEQUENCE:
		return "stop_sequence";
	case CHAT_FINISH_PAUSE:
		return "pause_turn";
	}
	return "end_turn";
}

static void write_reason(struct json_writer *w, enum chat_finish finish, struct slice stop_sequence)
{
	jw_kcstr(w, "stop_reason", reason_name(finish));
	jw_key(w, "stop_sequence");
	if (finish == CHAT_FINISH_STOP_SEQUENCE && stop_sequence.n)
		jw_str(w, stop_sequence);
	else
		jw_null(w);
}

static void write_usage(struct json_writer *w, const struct chat_usage *u)
{
	int64_t input = u->prompt_tokens - u->cached_tokens - u->cache_write_tokens;

	jw_object(w);
	jw_ki64(w, "input_tokens", input > 0 ? input : 0);
	jw_ki64(w, "cache_creation_input_tokens", u->cache_write_tokens);
	jw_ki64(w, "cache_read_input_tokens", u->cached_tokens);
	jw_ki64(w, "output_tokens", u->completion_tokens);
	jw_object_end(w);
}

/* --- whole --- */

static void write_block(struct json_writer *w, const struct chat_part *p, const struct answer_meta *m, unsigned call)
{
	jw_object(w);
	switch (p->kind) {
	case CHAT_PART_REASONING:
		jw_kcstr(w, "type", p->redacted ? "redacted_thinking" : "thinking");
		if (p->redacted) {
			jw_kstr(w, "data", p->opaque);
			break;
		}
		jw_kstr(w, "thinking", p->text);
		jw_kstr(w, "signature", p->opaque.p ? p->opaque : SLICE_LIT(""));
		break;
	case CHAT_PART_TOOL_CALL:
		jw_kcstr(w, "type", "tool_use");
		wire_write_call_id(w, "id", p->id, m, call);
		jw_kstr(w, "name", p->name);
		jw_key(w, "input");
		wire_write_object(w, p->text);
		break;
	case CHAT_PART_TEXT:
	case CHAT_PART_REFUSAL:
	case CHAT_PART_TOOL_RESULT:
	case CHAT_PART_IMAGE:
	case CHAT_PART_OTHER:
		jw_kcstr(w, "type", "text");
		jw_kstr(w, "text", p->text);
		break;
	}
	jw_object_end(w);
}

static void write_content(struct json_writer *w, const struct chat_answer *answer, const struct answer_meta *m)
{
	const struct chat_part whole = {.kind = CHAT_PART_TEXT, .text = answer->text};
	unsigned calls = 0;

	jw_key(w, "content");
	jw_array(w);
	if (!answer->n_parts && answer->text.n)
		write_block(w, &whole, m, 0);
	for (size_t i = 0; i < answer->n_parts; i++) {
		const struct chat_part thought = {
			.kind = CHAT_PART_REASONING, .text = SLICE_LIT(""), .opaque = answer->parts[i].opaque};

		if (answer->parts[i].kind == CHAT_PART_TOOL_CALL && thought.opaque.n)
			write_block(w, &thought, m, 0); /* there it comes back */
		write_block(w, &answer->parts[i], m, calls);
		calls += answer->parts[i].kind == CHAT_PART_TOOL_CALL;
	}
	jw_array_end(w);
}

int anthropic_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kstr(&w, "id", answer->id.n ? answer->id : m->answer_id);
	jw_kcstr(&w, "type", "message");
	jw_kcstr(&w, "role", "assistant");
	jw_kstr(&w, "model", m->model);
	write_content(&w, answer, m);
	write_reason(&w, answer->finish, answer->stop_sequence);
	jw_key(&w, "usage");
	write_usage(&w, &answer->usage);
	jw_object_end(&w);
	return buf_failed(out) ? E_TOOBIG : 0;
}

/* --- streamed --- */

static void begin_event(struct json_writer *w, struct buf *out, const char *type)
{
	buf_adds(out, "event: ");
	buf_adds(out, type);
	buf_adds(out, "\ndata: ");
	jw_init(w, out);
	jw_object(w);
	jw_kcstr(w, "type", type);
}

static void end_event(struct json_writer *w)
{
	jw_object_end(w);
	buf_adds(w->out, "\n\n");
}

static void write_message_start(struct encode_state *s, struct buf *out, const struct answer_meta *m)
{
	const struct chat_usage usage = {.prompt_tokens = m->prompt_tokens};
	struct json_writer w;

	if (s->begun)
		return;
	s->begun = true;
	begin_event(&w, out, "message_start");
	jw_key(&w, "message");
	jw_object(&w);
	jw_kstr(&w, "id", m->answer_id);
	jw_kcstr(&w, "type", "message");
	jw_kcstr(&w, "role", "assistant");
	jw_kstr(&w, "model", m->model);
	jw_key(&w, "content");
	jw_array(&w);
	jw_array_end(&w);
	jw_kcstr(&w, "stop_reason", NULL);
	jw_kcstr(&w, "stop_sequence", NULL);
	jw_key(&w, "usage");
	write_usage(&w, &usage);
	jw_object_end(&w);
	end_event(&w);
}

static void close_block(struct encode_state *s, struct buf *out)
{
	struct json_writer w;

	if (s->open == CHAT_EVENT_NONE)
		return;
	s->open = CHAT_EVENT_NONE;
	begin_event(&w, out, "content_block_stop");
	jw_ki64(&w, "index", s->index);
	end_event(&w);
}

static void write_empty_block(struct json_writer *w, struct encode_state *s, const struct chat_event *e,
			      const struct answer_meta *m)
{
	struct chat_part p = {.text = SLICE_LIT(""), .opaque = e->opaque, .redacted = e->redacted, .id = e->id};

	p.kind = e->type == CHAT_EVENT_TOOL_START  ? CHAT_PART_TOOL_CALL
		 : e->type == CHAT_EVENT_REASONING ? CHAT_PART_REASONING
						   : CHAT_PART_TEXT;
	p.name = e->name;
	if (!e->redacted)
		p.opaque = SLICE_LIT("");
	jw_key(w, "content_block");
	write_block(w, &p, m, s->n_calls);
}

/* Another block; one for each call, for each redacted thought, and whenever the kind changes. */
static void open_block(struct encode_state *s, struct buf *out, const struct chat_event *e, const struct answer_meta *m)
{
	enum chat_event_type kind = e->type == CHAT_EVENT_REFUSAL ? CHAT_EVENT_TEXT : e->type;
	struct json_writer w;

	if (s->open == kind && kind != CHAT_EVENT_TOOL_START && !e->redacted)
		return;
	close_block(s, out);
	s->index = s->n_parts++;
	s->channel = e->channel;
	s->open = kind;
	begin_event(&w, out, "content_block_start");
	jw_ki64(&w, "index", s->index);
	write_empty_block(&w, s, e, m);
	end_event(&w);
	if (kind != CHAT_EVENT_TOOL_START)
		return;
	s->n_calls++;
	s->part_of_call[min_size(e->index, COUNT_OF(s->part_of_call) - 1)] = (unsigned char)min_size(s->index + 1, 255);
}

static void write_delta(struct buf *out, unsigned index, const char *type, const char *member, struct slice text)
{
	struct json_writer w;

	if (!text.n)
		return;
	begin_event(&w, out, "content_block_delta");
	jw_ki64(&w, "index", index);
	jw_key(&w, "delta");
	jw_object(&w);
	jw_kcstr(&w, "type", type);
	jw_kstr(&w, member, text);
	jw_object_end(&w);
	end_event(&w);
}

/* Arguments that come late, when the next block is open, still say whose they are. */
static unsigned block_of_call(const struct encode_state *s, const struct chat_event *e)
{
	unsigned place = s->part_of_call[min_size(e->index, COUNT_OF(s->part_of_call) - 1)];

	return place ? place - 1u : s->index;
}

static void write_reasoning(struct encode_state *s, struct buf *out, const struct chat_event *e,
			    const struct answer_meta *m)
{
	open_block(s, out, e, m);
	if (e->redacted) {
		close_block(s, out);
		return;
	}
	write_delta(out, s->index, "thinking_delta", "thinking", e->text);
	write_delta(out, s->index, "signature_delta", "signature", e->opaque);
}

static void write_end(struct encode_state *s, struct buf *out, const struct chat_event *e)
{
	struct json_writer w;

	close_block(s, out);
	if (!s->finish_sent) {
		begin_event(&w, out, "message_delta");
		jw_key(&w, "delta");
		jw_object(&w);
		write_reason(&w, s->finish ? s->finish : e->finish, e->stop_sequence);
		jw_object_end(&w);
		jw_key(&w, "usage");
		write_usage(&w, &e->usage);
		end_event(&w);
	}
	s->finish_sent = true;
	begin_event(&w, out, "message_stop");
	end_event(&w);
}

/* The kind of a block that has begun: more of it goes on in the same block. */
static enum chat_event_type kind_of(const struct chat_event *e)
{
	if (e->type == CHAT_EVENT_TOOL_START)
		return e->type;
	return e->part == CHAT_PART_TEXT	? CHAT_EVENT_TEXT
	       : e->part == CHAT_PART_REASONING ? CHAT_EVENT_REASONING
						: CHAT_EVENT_OTHER;
}

/* What left as it came: which block is open, and what has been told. */
static int note_passed(struct encode_state *s, const struct chat_event *e)
{
	s->begun = true;
	if (e->type == CHAT_EVENT_PART_START || e->type == CHAT_EVENT_TOOL_START) {
		s->open = kind_of(e);
		s->channel = e->channel;
		s->index = e->index;
		s->n_parts = e->index + 1;
	} else if (e->type == CHAT_EVENT_PART_END) {
		s->open = CHAT_EVENT_NONE;
	} else if (e->type == CHAT_EVENT_FINISH) {
		s->finish_sent = true;
	}
	return 0;
}

int anthropic_encode_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			   const struct answer_meta *m)
{
	if (!out)
		return note_passed(s, e);
	if (e->type == CHAT_EVENT_REASONING && !e->text.n && !e->opaque.n)
		return 0;
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
		write_message_start(s, out, m);
		if (!e->text.n)
			break;
		open_block(s, out, e, m);
		write_delta(out, s->index, "text_delta", "text", e->text);
		break;
	case CHAT_EVENT_REASONING:
		write_message_start(s, out, m);
		write_reasoning(s, out, e, m);
		break;
	case CHAT_EVENT_TOOL_START:
		write_message_start(s, out, m);
		if (e->opaque.n)
			write_reasoning(s, out, &(struct chat_event){.type = CHAT_EVENT_REASONING, .opaque = e->opaque},
					m);
		open_block(s, out, e, m);
		break;
	case CHAT_EVENT_TOOL_ARGS:
		write_message_start(s, out, m);
		write_delta(out, block_of_call(s, e), "input_json_delta", "partial_json", e->text);
		break;
	case CHAT_EVENT_PART_END:
		if (s->channel == e->channel)
			close_block(s, out);
		break;
	case CHAT_EVENT_FINISH:
		s->finish = e->finish;
		break;
	case CHAT_EVENT_END:
		write_message_start(s, out, m);
		write_end(s, out, e);
		break;
	}
	return buf_failed(out) ? E_TOOBIG : 0;
}

/* --- errors --- */

static const char *error_type(int status)
{
	static const struct {
		int status;
		const char *type;
	} types[] = {
		{401, "authentication_error"}, {402, "billing_error"},	   {403, "permission_error"},
		{404, "not_found_error"},      {413, "request_too_large"}, {429, "rate_limit_error"},
		{503, "overloaded_error"},     {504, "timeout_error"},	   {529, "overloaded_error"},
	};

	for (size_t i = 0; i < COUNT_OF(types); i++)
		if (types[i].status == status)
			return types[i].type;
	return status >= 500 ? "api_error" : "invalid_request_error";
}

int anthropic_encode_error(struct buf *out, const struct api_error *e)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kcstr(&w, "type", "error");
	jw_key(&w, "error");
	jw_object(&w);
	jw_kcstr(&w, "type", error_type(e->status));
	jw_kstr(&w, "message", e->message);
	jw_object_end(&w);
	jw_key(&w, "request_id");
	if (e->request_id.n)
		jw_str(&w, e->request_id);
	else
		jw_null(&w);
	jw_object_end(&w);
	return buf_failed(out) ? E_TOOBIG : 0;
}

int anthropic_encode_stream_error(struct buf *out, const struct api_error *e)
{
	buf_adds(out, "event: error\ndata: ");
	anthropic_encode_error(out, e);
	return buf_adds(out, "\n\n");
}
