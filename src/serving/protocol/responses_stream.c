/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI's responses: what callers get, streamed.  Each item begins (added), says more (delta) and ends with all it
 * said (done); the last event is the whole answer once more.  So all of it is kept, bounded, until then.  One item is
 * open at a time, but for calls whose arguments are still to come while others begin.  Events are numbered without a
 * gap.
 *
 * What would break it: telling an item as done that more is said of, since clients act on that.
 */
#include "serving/protocol/responses_internal.h"

#include <assert.h>
#include <stdlib.h>

#define KEPT_MAX ((size_t)4 * 1024 * 1024)
#define ITEMS_MAX 1024

struct item {
	enum chat_part_kind kind;
	unsigned channel, index; /* index: of a call, as its events have it */
	unsigned call;
	bool open, redacted;
	bool tells;    /* of its text something has left */
	size_t looked; /* how much of its text was no whole object */
	const char *status;
	struct buf text, opaque, call_id, name;
};

struct responses_items {
	struct item *item;
	size_t n, cap, n_bytes;
	unsigned n_calls;
};

void responses_items_free(struct responses_items *items)
{
	for (size_t i = 0; items && i < items->n; i++) {
		buf_release(&items->item[i].text);
		buf_release(&items->item[i].opaque);
		buf_release(&items->item[i].call_id);
		buf_release(&items->item[i].name);
	}
	if (items)
		free(items->item);
	free(items);
}

/* A stream that is being written. */
struct writing {
	struct encode_state *s;
	struct buf *out;
	const struct answer_meta *m;
};

static struct item *add_item(struct writing *x, enum chat_part_kind kind)
{
	struct responses_items *items = x->s->items;
	struct item *it;

	if (!items && !(items = x->s->items = calloc(1, sizeof(*items))))
		abort();
	if (items->n == ITEMS_MAX) {
		x->out->failed = true;
		return NULL;
	}
	if (items->n == items->cap) {
		items->cap = items->cap ? items->cap * 2 : 4;
		items->item = realloc(items->item, items->cap * sizeof(*items->item));
		if (!items->item)
			abort();
	}
	assert(items->item);
	it = &items->item[items->n++];
	*it = (struct item){.kind = kind, .open = true, .status = "in_progress"};
	buf_init(&it->text, KEPT_MAX);
	buf_init(&it->opaque, KEPT_MAX);
	buf_init(&it->call_id, KEPT_MAX);
	buf_init(&it->name, KEPT_MAX);
	return it;
}

/* NULL: there is none. */
static struct item *item_at(const struct writing *x, size_t i)
{
	const struct responses_items *items = x->s->items;

	return items && i < items->n ? &items->item[i] : NULL;
}

static void keep(struct writing *x, struct buf *b, struct slice s)
{
	struct responses_items *items = x->s->items;

	items->n_bytes += s.n;
	if (items->n_bytes > KEPT_MAX || buf_add(b, s))
		x->out->failed = true; /* an answer that cannot be told at its end */
}

static unsigned number_of(const struct writing *x, const struct item *it)
{
	return (unsigned)(it - x->s->items->item);
}

static struct responses_item shown(const struct writing *x, const struct item *it)
{
	return (struct responses_item){.kind = it->kind,
				       .number = number_of(x, it),
				       .text = it->text.n ? buf_slice(&it->text) : SLICE_LIT(""),
				       .opaque = buf_slice(&it->opaque),
				       .call_id = buf_slice(&it->call_id),
				       .name = it->name.n ? buf_slice(&it->name) : SLICE_LIT(""),
				       .call = it->call,
				       .redacted = it->redacted,
				       .open = it->open,
				       .status = it->status};
}

/* --- events --- */

static void begin_event(struct json_writer *w, struct writing *x, const char *type)
{
	buf_adds(x->out, "event: ");
	buf_adds(x->out, type);
	buf_adds(x->out, "\ndata: ");
	jw_init(w, x->out);
	jw_object(w);
	jw_kcstr(w, "type", type);
	jw_ki64(w, "sequence_number", (int64_t)x->s->sequence++);
}

static void end_event(struct json_writer *w)
{
	jw_object_end(w);
	buf_adds(w->out, "\n\n");
}

/* All that an answer is so far. */
static void tell_response(struct writing *x, const char *type, const struct responses_state *s)
{
	const struct item *it;
	struct json_writer w;

	begin_event(&w, x, type);
	jw_key(&w, "response");
	responses_begin(&w, s, x->m);
	for (size_t i = 0; (it = item_at(x, i)); i++) {
		struct responses_item item = shown(x, it);

		responses_write_item(&w, &item, x->m);
	}
	responses_end(&w, s);
	end_event(&w);
}

static void tell_start(struct writing *x)
{
	const struct responses_state s = {.ended = false};

	if (x->s->begun)
		return;
	x->s->begun = true;
	tell_response(x, "response.created", &s);
	tell_response(x, "response.in_progress", &s);
}

static void tell_item(struct writing *x, const char *type, const struct item *it)
{
	struct responses_item item = shown(x, it);
	struct json_writer w;

	begin_event(&w, x, type);
	jw_ki64(&w, "output_index", item.number);
	jw_key(&w, "item");
	responses_write_item(&w, &item, x->m);
	end_event(&w);
}

/* An event about an item's text; index: the member that says which of its texts, NULL: it has one. */
static void begin_text_event(struct json_writer *w, struct writing *x, const struct item *it, const char *type,
			     const char *index)
{
	struct responses_item item = shown(x, it);

	begin_event(w, x, type);
	responses_write_item_id(w, "item_id", &item, x->m);
	jw_ki64(w, "output_index", item.number);
	if (index)
		jw_ki64(w, index, 0);
}

/* How each kind of item tells its text. */
static const struct words {
	const char *index;
	const char *part_added, *delta, *done, *part_done;
	const char *all; /* what the text is called when it is done */
} words[] = {
	[CHAT_PART_TEXT] = {"content_index", "response.content_part.added", "response.output_text.delta",
			    "response.output_text.done", "response.content_part.done", "text"},
	[CHAT_PART_REFUSAL] = {"content_index", "response.content_part.added", "response.refusal.delta",
			       "response.refusal.done", "response.content_part.done", "refusal"},
	[CHAT_PART_REASONING] = {"summary_index", "response.reasoning_summary_part.added",
				 "response.reasoning_summary_text.delta", "response.reasoning_summary_text.done",
				 "response.reasoning_summary_part.done", "text"},
	[CHAT_PART_TOOL_CALL] = {NULL, NULL, "response.function_call_arguments.delta",
				 "response.function_call_arguments.done", NULL, "arguments"},
};

static void tell_part(struct writing *x, const struct item *it, const char *type, struct slice text)
{
	struct json_writer w;

	if (!type)
		return;
	begin_text_event(&w, x, it, type, words[it->kind].index);
	jw_key(&w, "part");
	if (it->kind == CHAT_PART_REASONING) {
		jw_object(&w);
		jw_kcstr(&w, "type", "summary_text");
		jw_kstr(&w, "text", text);
		jw_object_end(&w);
	} else {
		responses_write_part(&w, it->kind, text);
	}
	end_event(&w);
}

static void tell_text(struct writing *x, const struct item *it, const char *type, const char *member, struct slice text)
{
	struct json_writer w;

	begin_text_event(&w, x, it, type, words[it->kind].index);
	if (it->kind == CHAT_PART_TOOL_CALL && type == words[it->kind].done)
		jw_kstr(&w, "name", it->name.n ? buf_slice(&it->name) : SLICE_LIT(""));
	jw_kstr(&w, member, text);
	if (it->kind == CHAT_PART_TEXT)
		jw_kraw(&w, "logprobs", SLICE_LIT("[]"));
	end_event(&w);
}

/* More of an item's text. */
static void say(struct writing *x, struct item *it, struct slice text)
{
	if (!it->tells)
		tell_part(x, it, words[it->kind].part_added, SLICE_LIT(""));
	it->tells = true;
	keep(x, &it->text, text);
	if (text.n)
		tell_text(x, it, words[it->kind].delta, "delta", text);
}

/* --- items --- */

static void close_item(struct writing *x, struct item *it, const char *status)
{
	struct slice text;

	if (!it->open)
		return;
	if (it->kind == CHAT_PART_TOOL_CALL && !it->text.n)
		say(x, it, SLICE_LIT("{}")); /* who calls with nothing */
	it->open = false;
	it->status = status;
	text = it->text.n ? buf_slice(&it->text) : SLICE_LIT("");
	if (it->tells) {
		tell_text(x, it, words[it->kind].done, words[it->kind].all, text);
		tell_part(x, it, words[it->kind].part_done, text);
	}
	tell_item(x, "response.output_item.done", it);
}

/* Whether more may be said of it: of a call some servers go on when another has begun. */
static bool is_over(struct item *it)
{
	if (it->kind != CHAT_PART_TOOL_CALL)
		return true;
	if (it->looked == it->text.n || !wire_is_object(buf_slice(&it->text))) {
		it->looked = it->text.n;
		return false;
	}
	return true;
}

/* Whatever is over when another item begins. */
static void close_before(struct writing *x)
{
	struct item *it;

	for (size_t i = 0; (it = item_at(x, i)); i++)
		if (it->open && is_over(it))
			close_item(x, it, "completed");
}

static void close_all(struct writing *x, enum chat_finish finish)
{
	struct item *it;

	for (size_t i = 0; (it = item_at(x, i)); i++)
		close_item(x, it, responses_broke_off(finish) ? "incomplete" : "completed");
}

/* The item that an event of this kind goes on with, or another. */
static struct item *open_item(struct writing *x, enum chat_part_kind kind, const struct chat_event *e)
{
	struct item *last = x->s->items ? item_at(x, x->s->items->n - 1) : NULL;

	if (last && last->open && last->kind == kind && !last->opaque.n && !e->redacted)
		return last;
	close_before(x);
	last = add_item(x, kind);
	if (!last)
		return NULL;
	last->channel = e->channel;
	last->redacted = e->redacted;
	tell_item(x, "response.output_item.added", last);
	return last;
}

static void say_text(struct writing *x, enum chat_part_kind kind, const struct chat_event *e)
{
	struct item *it;

	tell_start(x);
	it = e->text.n ? open_item(x, kind, e) : NULL;
	if (it)
		say(x, it, e->text);
}

static void say_reasoning(struct writing *x, const struct chat_event *e)
{
	struct item *it;

	if (!e->text.n && !e->opaque.n)
		return;
	tell_start(x);
	it = open_item(x, CHAT_PART_REASONING, e);
	if (!it)
		return;
	if (e->text.n)
		say(x, it, e->text);
	keep(x, &it->opaque, e->opaque);
	if (e->redacted)
		close_item(x, it, "completed");
}

static void begin_call(struct writing *x, const struct chat_event *e)
{
	struct item *it;

	tell_start(x);
	if (e->opaque.n) { /* where it comes back */
		it = open_item(x, CHAT_PART_REASONING, &(struct chat_event){.redacted = false});
		if (!it)
			return;
		keep(x, &it->opaque, e->opaque);
	}
	close_before(x);
	it = add_item(x, CHAT_PART_TOOL_CALL);
	if (!it)
		return;
	it->channel = e->channel;
	it->index = e->index;
	it->call = x->s->items->n_calls++;
	it->tells = true;
	keep(x, &it->call_id, e->id);
	keep(x, &it->name, e->name);
	tell_item(x, "response.output_item.added", it);
}

static bool is_blank(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != ' ' && s.p[i] != '\t' && s.p[i] != '\n' && s.p[i] != '\r')
			return false;
	return true;
}

static void say_arguments(struct writing *x, const struct chat_event *e)
{
	struct item *found = NULL, *it;

	for (size_t i = 0; (it = item_at(x, i)); i++)
		if (it->kind == CHAT_PART_TOOL_CALL && it->index == e->index)
			found = it;
	if (found && found->open)
		say(x, found, e->text);
	else if (!is_blank(e->text))
		x->out->failed = true; /* more of a call that has been told whole: the answer cannot be told */
}

/* A text goes on with the part that follows: some models cut theirs anywhere. */
static void end_channel(struct writing *x, unsigned channel)
{
	struct item *it;

	for (size_t i = 0; (it = item_at(x, i)); i++)
		if (it->open && it->channel == channel && it->kind != CHAT_PART_TEXT && it->kind != CHAT_PART_REFUSAL &&
		    is_over(it))
			close_item(x, it, "completed");
}

static void tell_end(struct writing *x, const struct chat_event *e)
{
	struct responses_state s = {
		.ended = true, .finish = x->s->finish ? x->s->finish : e->finish, .usage = &e->usage};
	struct item *it;

	tell_start(x);
	if (!x->s->items) { /* who reads the first message finds one */
		it = open_item(x, CHAT_PART_TEXT, &(struct chat_event){.redacted = false});
		say(x, it, SLICE_LIT(""));
	}
	close_all(x, s.finish);
	tell_response(x, responses_broke_off(s.finish) ? "response.incomplete" : "response.completed", &s);
}

int responses_encode_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			   const struct answer_meta *m)
{
	struct writing x = {s, out, m};

	if (!out)
		return 0; /* no upstream speaks this */
	switch (e->type) {
	case CHAT_EVENT_NONE:
	case CHAT_EVENT_START:
	case CHAT_EVENT_PART_START:
	case CHAT_EVENT_OTHER:
	case CHAT_EVENT_USAGE: /* told at the end */
	case CHAT_EVENT_ERROR: /* encode_failure's */
		break;
	case CHAT_EVENT_TEXT:
		say_text(&x, CHAT_PART_TEXT, e);
		break;
	case CHAT_EVENT_REFUSAL:
		say_text(&x, CHAT_PART_REFUSAL, e);
		break;
	case CHAT_EVENT_REASONING:
		say_reasoning(&x, e);
		break;
	case CHAT_EVENT_TOOL_START:
		begin_call(&x, e);
		break;
	case CHAT_EVENT_TOOL_ARGS:
		say_arguments(&x, e);
		break;
	case CHAT_EVENT_PART_END:
		end_channel(&x, e->channel);
		break;
	case CHAT_EVENT_FINISH:
		s->finish = e->finish;
		break;
	case CHAT_EVENT_END:
		tell_end(&x, e);
		break;
	}
	return buf_failed(out) ? E_TOOBIG : 0;
}

/* --- errors --- */

static void tell_error(struct writing *x, const struct api_error *e)
{
	struct json_writer w;

	begin_event(&w, x, "error");
	jw_kcstr(&w, "code", e->code);
	jw_kstr(&w, "message", e->message);
	jw_kcstr(&w, "param", e->param);
	jw_key(&w, "error"); /* where official clients look, and throw it */
	jw_object(&w);
	jw_kcstr(&w, "type", e->type);
	jw_kcstr(&w, "code", e->code);
	jw_kstr(&w, "message", e->message);
	jw_kcstr(&w, "param", e->param);
	jw_object_end(&w);
	end_event(&w);
}

int responses_encode_stream_error(struct buf *out, const struct api_error *e)
{
	struct encode_state s = {0};
	struct writing x = {&s, out, NULL};

	tell_error(&x, e);
	return buf_failed(out) ? E_TOOBIG : 0;
}

int responses_encode_failure(struct encode_state *s, struct buf *out, const struct api_error *e,
			     const struct answer_meta *m)
{
	const struct responses_state failed = {.ended = true, .error = e};
	struct writing x = {s, out, m};
	struct item *it;

	tell_error(&x, e);
	for (size_t i = 0; (it = item_at(&x, i)); i++) {
		if (it->open)
			it->status = "incomplete";
		it->open = false;
	}
	tell_response(&x, "response.failed", &failed);
	return buf_failed(out) ? E_TOOBIG : 0;
}

const struct protocol protocol_responses = {
	.name = "responses",
	.default_path = "/v1/responses",
	.framing = FRAMING_SSE,
	.stream_type = "text/event-stream",
	.ordered = true,
	.repeats = true,
	.joins_texts = true,
	.names_calls = true,
	.answer_parts =
		1u << CHAT_PART_TEXT | 1u << CHAT_PART_REASONING | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_CALL,
	.decode_request = responses_decode_request,
	.decode_details = responses_decode_details,
	.encode_answer = responses_encode_answer,
	.encode_event = responses_encode_event,
	.encode_error = openai_encode_error,
	.encode_stream_error = responses_encode_stream_error,
	.encode_failure = responses_encode_failure,
};
