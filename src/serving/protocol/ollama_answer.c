/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ollama's /api/chat and /api/generate: what callers get.  Each line of a stream is an object with the next piece; a
 * call stands in one of them whole, with its arguments as an object, so they are gathered until it is over.  The last
 * has done: true, why it ended, and what it took, with times in nanoseconds.
 */
#include "core/base/clock.h"
#include "serving/protocol/ollama_internal.h"

#define CALL_MAX ((size_t)4 * 1024 * 1024)
#define NS_PER_MS 1000000

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
		return "length";
	case CHAT_FINISH_CONTENT_FILTER:
	case CHAT_FINISH_REFUSAL:
		return "content_filter";
	}
	return "stop";
}

static void begin_object(struct json_writer *w, struct buf *out, const struct answer_meta *m)
{
	char at[CLOCK_ISO_SIZE];

	jw_init(w, out);
	jw_object(w);
	jw_kstr(w, "model", m->model);
	jw_kcstr(w, "created_at", clock_iso(m->created_s * 1000000, at));
}

static void write_end(struct json_writer *w, enum chat_finish finish, const struct chat_usage *u,
		      const struct answer_meta *m)
{
	jw_kbool(w, "done", true);
	jw_kcstr(w, "done_reason", reason_name(finish));
	jw_ki64(w, "total_duration", m->latency_ms * NS_PER_MS);
	jw_ki64(w, "load_duration", 0);
	jw_ki64(w, "prompt_eval_count", u->prompt_tokens);
	jw_ki64(w, "prompt_eval_duration", 0);
	jw_ki64(w, "eval_count", u->completion_tokens);
	jw_ki64(w, "eval_duration", m->latency_ms * NS_PER_MS);
	jw_object_end(w);
}

/* {"id":"c","function":{"name":"f",: all of a call but its arguments and what closes it. */
static void write_call_head(struct buf *out, struct slice id, struct slice name)
{
	buf_addc(out, '{');
	if (id.n) {
		buf_adds(out, "\"id\":\"");
		json_escape(out, id);
		buf_adds(out, "\",");
	}
	buf_adds(out, "\"function\":{\"name\":\"");
	json_escape(out, name);
	buf_adds(out, "\",");
}

/* --- whole --- */

/* A model that refuses says so in words: those are its text here. */
static bool is_words(const struct chat_part *p, bool reasoning)
{
	return reasoning ? p->kind == CHAT_PART_REASONING && !p->redacted
			 : p->kind == CHAT_PART_TEXT || p->kind == CHAT_PART_REFUSAL;
}

static void write_words(struct json_writer *w, const char *key, const struct chat_answer *answer, bool reasoning)
{
	struct buf all;

	buf_init(&all, w->out->max);
	for (size_t i = 0; i < answer->n_parts; i++)
		if (is_words(&answer->parts[i], reasoning))
			buf_add(&all, answer->parts[i].text);
	if (!answer->n_parts && !reasoning)
		jw_kstr(w, key, answer->text);
	else if (all.n || !reasoning)
		jw_kstr(w, key, all.n ? buf_slice(&all) : SLICE_LIT(""));
	w->out->failed |= buf_failed(&all);
	buf_release(&all);
}

static void write_calls(struct json_writer *w, const struct chat_answer *answer)
{
	size_t n = 0;

	for (size_t i = 0; i < answer->n_parts; i++) {
		const struct chat_part *p = &answer->parts[i];
		struct buf head;

		if (p->kind != CHAT_PART_TOOL_CALL)
			continue;
		if (!n++) {
			jw_key(w, "tool_calls");
			jw_array(w);
		}
		buf_init(&head, (p->id.n + p->name.n) * 6 + 64);
		write_call_head(&head, p->id, p->name);
		wire_write_call(w, buf_slice(&head), "arguments", p->text);
		buf_release(&head);
	}
	if (n)
		jw_array_end(w);
}

int ollama_encode_chat(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	struct json_writer w;

	begin_object(&w, out, m);
	jw_key(&w, "message");
	jw_object(&w);
	jw_kcstr(&w, "role", "assistant");
	write_words(&w, "content", answer, false);
	write_words(&w, "thinking", answer, true);
	write_calls(&w, answer);
	jw_object_end(&w);
	write_end(&w, answer->finish, &answer->usage, m);
	return buf_failed(out) ? E_TOOBIG : 0;
}

int ollama_encode_generate(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	struct json_writer w;

	begin_object(&w, out, m);
	write_words(&w, "response", answer, false);
	write_words(&w, "thinking", answer, true);
	write_end(&w, answer->finish, &answer->usage, m);
	return buf_failed(out) ? E_TOOBIG : 0;
}

/* --- streamed --- */

/* head: of the call, gathered in front of its arguments; absent: words alone. */
struct piece {
	struct slice text, thinking;
	struct slice head, arguments;
};

/* The members of a piece, in a message or, for generate, beside the model's name. */
static void write_piece(struct json_writer *w, bool chat, const struct piece *p)
{
	if (chat) {
		jw_key(w, "message");
		jw_object(w);
		jw_kcstr(w, "role", "assistant");
	}
	jw_kstr(w, chat ? "content" : "response", p->text.p ? p->text : SLICE_LIT(""));
	if (p->thinking.n)
		jw_kstr(w, "thinking", p->thinking);
	if (p->head.n) {
		jw_key(w, "tool_calls");
		jw_array(w);
		wire_write_call(w, p->head, "arguments", p->arguments);
		jw_array_end(w);
	}
	if (chat)
		jw_object_end(w);
}

static void send_piece(struct encode_state *s, struct buf *out, bool chat, const struct piece *p,
		       const struct answer_meta *m)
{
	struct json_writer w;

	s->begun = true;
	begin_object(&w, out, m);
	write_piece(&w, chat, p);
	jw_kbool(&w, "done", false);
	jw_object_end(&w);
	buf_addc(out, '\n');
}

/* The gathered call leaves.  `sequence` is where its arguments begin. */
static void send_call(struct encode_state *s, struct buf *out, bool chat, const struct answer_meta *m)
{
	struct slice all = buf_slice(&s->gathered);
	struct piece p = {.head = slice_sub(all, 0, s->sequence), .arguments = slice_sub(all, s->sequence, all.n)};

	if (s->open != CHAT_EVENT_TOOL_START)
		return;
	s->open = CHAT_EVENT_NONE;
	if (buf_failed(&s->gathered))
		out->failed = true;
	send_piece(s, out, chat, &p, m);
	buf_clear(&s->gathered);
}

static void begin_call(struct encode_state *s, const struct chat_event *e)
{
	if (!s->gathered.max)
		buf_init(&s->gathered, CALL_MAX);
	buf_clear(&s->gathered);
	write_call_head(&s->gathered, e->id, e->name);
	s->sequence = s->gathered.n;
	s->open = CHAT_EVENT_TOOL_START;
	s->channel = e->channel;
}

static void send_text(struct encode_state *s, struct buf *out, bool chat, const struct chat_event *e,
		      const struct answer_meta *m)
{
	struct piece p = {0};

	if (e->redacted || !e->text.n) /* a signature has no place here */
		return;
	if (e->type == CHAT_EVENT_REASONING)
		p.thinking = e->text;
	else
		p.text = e->text;
	send_piece(s, out, chat, &p, m);
}

static void send_end(struct encode_state *s, struct buf *out, bool chat, const struct chat_event *e,
		     const struct answer_meta *m)
{
	struct json_writer w;

	if (s->finish_sent)
		return;
	s->finish_sent = true;
	begin_object(&w, out, m);
	write_piece(&w, chat, &(struct piece){.text = SLICE_LIT("")});
	write_end(&w, s->finish ? s->finish : e->finish, &e->usage, m);
	buf_addc(out, '\n');
}

static int encode_event(struct encode_state *s, struct buf *out, bool chat, const struct chat_event *e,
			const struct answer_meta *m)
{
	if (!out) {
		s->begun = true;
		s->finish_sent |= e->type == CHAT_EVENT_END;
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
		send_call(s, out, chat, m);
		send_text(s, out, chat, e, m);
		break;
	case CHAT_EVENT_TOOL_START:
		send_call(s, out, chat, m);
		if (chat)
			begin_call(s, e);
		break;
	case CHAT_EVENT_TOOL_ARGS:
		if (s->open == CHAT_EVENT_TOOL_START && s->channel == e->channel)
			buf_add(&s->gathered, e->text);
		else if (e->text.n && chat)
			out->failed = true; /* of a call that has left: the answer cannot be told */
		break;
	case CHAT_EVENT_PART_END:
		if (s->channel == e->channel)
			send_call(s, out, chat, m);
		break;
	case CHAT_EVENT_FINISH:
		send_call(s, out, chat, m);
		s->finish = e->finish;
		break;
	case CHAT_EVENT_END:
		send_call(s, out, chat, m);
		send_end(s, out, chat, e, m);
		break;
	}
	return buf_failed(out) ? E_TOOBIG : 0;
}

int ollama_encode_chat_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			     const struct answer_meta *m)
{
	return encode_event(s, out, true, e, m);
}

int ollama_encode_generate_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
				 const struct answer_meta *m)
{
	return encode_event(s, out, false, e, m);
}

/* --- errors --- */

int ollama_encode_error(struct buf *out, const struct api_error *e)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kstr(&w, "error", e->message);
	jw_object_end(&w);
	return buf_failed(out) ? E_TOOBIG : 0;
}

int ollama_encode_stream_error(struct buf *out, const struct api_error *e)
{
	ollama_encode_error(out, e);
	return buf_addc(out, '\n');
}
