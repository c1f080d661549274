/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI's responses: what callers get, whole.  The answer is a list of items (reasoning, messages, calls), and repeats
 * what was asked; official clients have every member of it as required.  What is repeated is the caller's own JSON: in
 * an event it has to be one line.
 */
#include "serving/protocol/responses_internal.h"

#include <stdio.h>

#define ID_MAX 96

bool responses_broke_off(enum chat_finish finish)
{
	return finish == CHAT_FINISH_LENGTH || finish == CHAT_FINISH_CONTENT_FILTER || finish == CHAT_FINISH_REFUSAL;
}

/* What the ids of an answer have in common. */
static struct slice base_id(const struct answer_meta *m)
{
	return slice_sub(m->log_id.n ? m->log_id : m->answer_id, 0, 64);
}

void responses_write_item_id(struct json_writer *w, const char *key, const struct responses_item *item,
			     const struct answer_meta *m)
{
	const char *kind = item->kind == CHAT_PART_REASONING ? "rs" : item->kind == CHAT_PART_TOOL_CALL ? "fc" : "msg";
	char id[ID_MAX];

	snprintf(id, sizeof(id), "%s_" SLICE_FMT "_%u", kind, SLICE_ARG(base_id(m)), item->number);
	jw_kcstr(w, key, id);
}

/* --- items --- */

void responses_write_part(struct json_writer *w, enum chat_part_kind kind, struct slice text)
{
	jw_object(w);
	if (kind == CHAT_PART_REFUSAL) {
		jw_kcstr(w, "type", "refusal");
		jw_kstr(w, "refusal", text);
	} else {
		jw_kcstr(w, "type", "output_text");
		jw_kstr(w, "text", text);
		jw_kraw(w, "annotations", SLICE_LIT("[]"));
		jw_kraw(w, "logprobs", SLICE_LIT("[]"));
	}
	jw_object_end(w);
}

static void write_message(struct json_writer *w, const struct responses_item *item)
{
	jw_kcstr(w, "role", "assistant");
	jw_key(w, "content");
	jw_array(w);
	if (!item->open)
		responses_write_part(w, item->kind, item->text);
	jw_array_end(w);
}

static void write_call(struct json_writer *w, const struct responses_item *item, const struct answer_meta *m)
{
	wire_write_call_id(w, "call_id", item->call_id, m, item->call);
	jw_kstr(w, "name", item->name);
	jw_kstr(w, "arguments", item->open ? SLICE_LIT("") : item->text.n ? item->text : SLICE_LIT("{}"));
}

static void write_opaque(struct json_writer *w, const struct responses_item *item)
{
	struct buf marked;

	if (!item->opaque.n)
		return;
	if (!item->redacted) {
		jw_kstr(w, "encrypted_content", item->opaque);
		return;
	}
	buf_init(&marked, item->opaque.n + sizeof(RESPONSES_REDACTED));
	buf_adds(&marked, RESPONSES_REDACTED);
	buf_add(&marked, item->opaque);
	jw_kstr(w, "encrypted_content", buf_slice(&marked));
	buf_release(&marked);
}

static void write_reasoning(struct json_writer *w, const struct responses_item *item)
{
	jw_key(w, "summary");
	jw_array(w);
	if (!item->open && item->text.n) {
		jw_object(w);
		jw_kcstr(w, "type", "summary_text");
		jw_kstr(w, "text", item->text);
		jw_object_end(w);
	}
	jw_array_end(w);
	if (!item->open)
		write_opaque(w, item);
}

void responses_write_item(struct json_writer *w, const struct responses_item *item, const struct answer_meta *m)
{
	jw_object(w);
	responses_write_item_id(w, "id", item, m);
	switch (item->kind) {
	case CHAT_PART_REASONING:
		jw_kcstr(w, "type", "reasoning");
		write_reasoning(w, item);
		break;
	case CHAT_PART_TOOL_CALL:
		jw_kcstr(w, "type", "function_call");
		write_call(w, item, m);
		break;
	case CHAT_PART_TEXT:
	case CHAT_PART_REFUSAL:
	case CHAT_PART_TOOL_RESULT:
	case CHAT_PART_IMAGE:
	case CHAT_PART_OTHER:
		jw_kcstr(w, "type", "message");
		write_message(w, item);
		break;
	}
	jw_kcstr(w, "status", item->status);
	jw_object_end(w);
}

/* --- what was asked --- */

static const struct json *asked(const struct answer_meta *m, const char *name)
{
	const struct json *v = json_get(m->request ? m->request->root : NULL, name);

	return v && v->type != JSON_NULL ? v : NULL;
}

/* JSON of the caller's as one line: a line's end stands between tokens only, never in one. */
static void write_raw(struct json_writer *w, const struct json *v)
{
	struct buf line;

	if (slice_chr(v->raw, '\n') < 0 && slice_chr(v->raw, '\r') < 0) {
		jw_raw(w, v->raw);
		return;
	}
	buf_init(&line, v->raw.n);
	buf_add(&line, v->raw);
	for (size_t i = 0; i < line.n; i++)
		if (line.p[i] == '\n' || line.p[i] == '\r')
			line.p[i] = ' ';
	jw_raw(w, buf_slice(&line));
	buf_release(&line);
}

/* As asked when it is of the type, else `otherwise`. */
static void repeat(struct json_writer *w, const struct answer_meta *m, const char *name, enum json_type type,
		   const char *otherwise)
{
	const struct json *v = asked(m, name);

	jw_key(w, name);
	if (v && v->type == type)
		write_raw(w, v);
	else
		jw_raw(w, slice_from(otherwise));
}

/* A member of a tool or a format, null when it is not of the type. */
static void repeat_in(struct json_writer *w, const struct json *obj, const char *name, enum json_type type)
{
	const struct json *v = json_get(obj, name);

	jw_key(w, name);
	if (v && v->type == type)
		write_raw(w, v);
	else
		jw_null(w);
}

static bool is_type(const struct json *v, const char *type)
{
	const struct json *t = json_get(v, "type");

	return wire_is_string(t) && slice_eq_str(t->str, type);
}

/* The functions, which are what the model was given. */
static void repeat_tools(struct json_writer *w, const struct answer_meta *m)
{
	const struct json *tools = asked(m, "tools");

	jw_key(w, "tools");
	jw_array(w);
	for (const struct json *t = tools ? tools->first : NULL; t; t = t->next) {
		if (!is_type(t, "function") || !wire_is_string(json_get(t, "name")))
			continue;
		jw_object(w);
		jw_kcstr(w, "type", "function");
		repeat_in(w, t, "name", JSON_STRING);
		repeat_in(w, t, "description", JSON_STRING);
		repeat_in(w, t, "parameters", JSON_OBJECT);
		repeat_in(w, t, "strict", JSON_BOOL);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void repeat_tool_choice(struct json_writer *w, const struct answer_meta *m)
{
	const struct json *v = asked(m, "tool_choice");

	if (is_type(v, "function")) {
		jw_key(w, "tool_choice");
		jw_object(w);
		jw_kcstr(w, "type", "function");
		repeat_in(w, v, "name", JSON_STRING);
		jw_object_end(w);
	} else if (wire_is_string(v) && slice_eq_str(v->str, "any")) { /* what it is called elsewhere */
		jw_kcstr(w, "tool_choice", "required");
	} else {
		repeat(w, m, "tool_choice", JSON_STRING, "\"auto\"");
	}
}

static void repeat_format(struct json_writer *w, const struct answer_meta *m)
{
	const struct json *format = json_get(asked(m, "text"), "format");
	const struct json *description = json_get(format, "description");

	jw_key(w, "text");
	jw_object(w);
	jw_key(w, "format");
	jw_object(w);
	if (is_type(format, "json_schema")) {
		jw_kcstr(w, "type", "json_schema");
		repeat_in(w, format, "name", JSON_STRING);
		if (wire_is_string(description))
			repeat_in(w, format, "description", JSON_STRING);
		repeat_in(w, format, "schema", JSON_OBJECT);
		repeat_in(w, format, "strict", JSON_BOOL);
	} else {
		jw_kcstr(w, "type", is_type(format, "json_object") ? "json_object" : "text");
	}
	jw_object_end(w);
	jw_object_end(w);
}

static void repeat_reasoning(struct json_writer *w, const struct answer_meta *m)
{
	jw_key(w, "reasoning");
	jw_object(w);
	repeat_in(w, asked(m, "reasoning"), "effort", JSON_STRING);
	jw_kcstr(w, "summary", NULL);
	jw_object_end(w);
}

/* --- the whole object --- */

static void write_status(struct json_writer *w, const struct responses_state *s, const struct answer_meta *m)
{
	bool broke_off = s->ended && !s->error && responses_broke_off(s->finish);

	jw_kcstr(w, "status",
		 s->error     ? "failed"
		 : !s->ended  ? "in_progress"
		 : !broke_off ? "completed"
			      : "incomplete");
	if (s->ended && !s->error && !broke_off)
		jw_ki64(w, "completed_at", m->created_s + m->latency_ms / 1000);
	jw_key(w, "error");
	if (s->error) {
		jw_object(w);
		jw_kcstr(w, "code", "server_error");
		jw_kstr(w, "message", s->error->message);
		jw_object_end(w);
	} else {
		jw_null(w);
	}
	jw_key(w, "incomplete_details");
	if (broke_off) {
		jw_object(w);
		jw_kcstr(w, "reason", s->finish == CHAT_FINISH_LENGTH ? "max_output_tokens" : "content_filter");
		jw_object_end(w);
	} else {
		jw_null(w);
	}
}

void responses_begin(struct json_writer *w, const struct responses_state *s, const struct answer_meta *m)
{
	char id[ID_MAX];

	snprintf(id, sizeof(id), "resp_" SLICE_FMT, SLICE_ARG(base_id(m)));
	jw_object(w);
	jw_kcstr(w, "id", id);
	jw_kcstr(w, "object", "response");
	jw_ki64(w, "created_at", m->created_s);
	write_status(w, s, m);
	jw_kbool(w, "background", false);
	jw_kbool(w, "store", false);
	jw_kcstr(w, "previous_response_id", NULL);
	jw_kstr(w, "model", m->model);
	repeat(w, m, "instructions", JSON_STRING, "null");
	repeat(w, m, "max_output_tokens", JSON_NUMBER, "null");
	repeat(w, m, "metadata", JSON_OBJECT, "{}");
	repeat(w, m, "parallel_tool_calls", JSON_BOOL, "true");
	repeat(w, m, "temperature", JSON_NUMBER, "null");
	repeat(w, m, "top_p", JSON_NUMBER, "null");
	repeat_format(w, m);
	repeat_reasoning(w, m);
	repeat_tools(w, m);
	repeat_tool_choice(w, m);
	jw_kcstr(w, "truncation", "disabled");
	if (wire_is_string(asked(m, "user")))
		repeat(w, m, "user", JSON_STRING, "null");
	jw_key(w, "output");
	jw_array(w);
}

static void write_usage(struct json_writer *w, const struct chat_usage *u)
{
	jw_key(w, "usage");
	jw_object(w);
	jw_ki64(w, "input_tokens", u->prompt_tokens);
	jw_key(w, "input_tokens_details");
	jw_object(w);
	jw_ki64(w, "cached_tokens", u->cached_tokens);
	jw_ki64(w, "cache_write_tokens", u->cache_write_tokens);
	jw_object_end(w);
	jw_ki64(w, "output_tokens", u->completion_tokens);
	jw_key(w, "output_tokens_details");
	jw_object(w);
	jw_ki64(w, "reasoning_tokens", u->reasoning_tokens);
	jw_object_end(w);
	jw_ki64(w, "total_tokens", u->total_tokens);
	jw_object_end(w);
}

void responses_end(struct json_writer *w, const struct responses_state *s)
{
	jw_array_end(w);
	if (s->usage && s->usage->known)
		write_usage(w, s->usage);
	jw_object_end(w);
}

/* The part of an answer as an item. */
static void write_output(struct json_writer *w, const struct chat_part *p, struct responses_item *at,
			 const struct answer_meta *m)
{
	struct responses_item item = {.kind = p->kind,
				      .text = p->text,
				      .opaque = p->opaque,
				      .redacted = p->redacted,
				      .call_id = p->id,
				      .name = p->name,
				      .call = at->call,
				      .status = at->status};
	struct responses_item thought = {.kind = CHAT_PART_REASONING, .opaque = p->opaque, .status = "completed"};

	if (p->kind == CHAT_PART_TOOL_CALL && p->opaque.n) { /* where it comes back */
		thought.number = at->number++;
		responses_write_item(w, &thought, m);
	}
	item.number = at->number++;
	at->call += p->kind == CHAT_PART_TOOL_CALL;
	responses_write_item(w, &item, m);
}

/* How many parts from here on are one text: some models cut theirs anywhere. */
static size_t count_together(const struct chat_part *parts, size_t n)
{
	size_t together = 1;

	if (parts[0].kind != CHAT_PART_TEXT && parts[0].kind != CHAT_PART_REFUSAL)
		return 1;
	while (together < n && parts[together].kind == parts[0].kind)
		together++;
	return together;
}

static void write_together(struct json_writer *w, const struct chat_part *parts, size_t n, struct responses_item *at,
			   const struct answer_meta *m)
{
	struct chat_part whole = parts[0];
	struct buf text;

	buf_init(&text, w->out->max);
	for (size_t i = 0; n > 1 && i < n; i++)
		buf_add(&text, parts[i].text);
	if (n > 1)
		whole.text = text.n ? buf_slice(&text) : SLICE_LIT("");
	write_output(w, &whole, at, m);
	w->out->failed |= buf_failed(&text);
	buf_release(&text);
}

int responses_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	const struct chat_part whole = {.kind = CHAT_PART_TEXT, .text = answer->text};
	const struct responses_state s = {.ended = true, .finish = answer->finish, .usage = &answer->usage};
	const struct chat_part *parts = answer->n_parts ? answer->parts : &whole;
	size_t n = answer->n_parts ? answer->n_parts : 1, together;
	struct responses_item at = {.number = 0};
	struct json_writer w;

	jw_init(&w, out);
	responses_begin(&w, &s, m);
	for (size_t i = 0; i < n; i += together) {
		together = count_together(parts + i, n - i);
		at.status = i + together == n && responses_broke_off(answer->finish) ? "incomplete" : "completed";
		write_together(&w, parts + i, together, &at, m);
	}
	responses_end(&w, &s);
	return buf_failed(out) ? E_TOOBIG : 0;
}
