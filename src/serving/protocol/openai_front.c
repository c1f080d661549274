/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI chat completions, the side that callers see.  Official clients are strict about the shape of answers and
 * chunks (id, object, created, model, choices are required; choices is empty in the usage chunk only): keep every
 * member.
 */
#include "serving/protocol/protocol_internal.h"

#define MAX_CHOICES 128

static int read_top_p(struct front *f, const struct json *v)
{
	if (v->type != JSON_NUMBER)
		return front_wrong_type(f, v, "a number");
	if (!(v->number >= 0 && v->number <= 1))
		return err_set(f->err, E_INVALID, "top_p must be between 0 and 1");
	f->r->top_p = v->number;
	f->r->has_top_p = true;
	return 0;
}

static int read_seed(struct front *f, const struct json *v)
{
	if (v->type != JSON_NUMBER || !v->is_integer)
		return front_wrong_type(f, v, "a whole number");
	f->r->seed = v->integer;
	f->r->has_seed = true;
	return 0;
}

static int read_n(struct front *f, const struct json *v)
{
	if (v->type != JSON_NUMBER)
		return front_wrong_type(f, v, "a whole number");
	if (!v->is_integer || v->integer < 1 || v->integer > MAX_CHOICES)
		return err_set(f->err, E_INVALID, "n must be a whole number from 1 to %d", MAX_CHOICES);
	f->r->n_choices = v->integer;
	return 0;
}

static int read_stop(struct front *f, const struct json *v)
{
	if (v->type == JSON_STRING) {
		f->r->stop[0] = v->str;
		f->r->n_stop = 1;
		return 0;
	}
	if (v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "a string or an array of strings");
	if (v->n_items > CHAT_MAX_STOP)
		return err_set(f->err, E_INVALID, "stop must hold at most %d strings", CHAT_MAX_STOP);
	for (const struct json *s = v->first; s; s = s->next) {
		if (s->type != JSON_STRING)
			return err_set(f->err, E_INVALID, "stop must hold strings only, not a %s",
				       json_type_name(s->type));
		f->r->stop[f->r->n_stop++] = s->str;
	}
	return 0;
}

static int read_stream_options(struct front *f, const struct json *v)
{
	const struct json *usage = json_get(v, "include_usage");

	if (v->type != JSON_OBJECT)
		return front_wrong_type(f, v, "an object");
	if (json_duplicate(v, "include_usage"))
		return err_set(f->err, E_INVALID, "stream_options.include_usage is given twice: name it once");
	if (!usage || usage->type == JSON_NULL)
		return 0;
	*f->ret_param = "stream_options.include_usage";
	if (usage->type != JSON_BOOL)
		return front_wrong_type(f, usage, "true or false");
	f->r->include_usage = usage->boolean;
	return 0;
}

static const struct front_member members[] = {
	{"model", front_model},
	{"messages", messages_read},
	{"stream", front_stream},
	{"stream_options", read_stream_options},
	{"max_tokens", front_max_tokens},
	{"max_completion_tokens", front_max_tokens},
	{"temperature", front_temperature},
	{"top_p", read_top_p},
	{"stop", read_stop},
	{"seed", read_seed},
	{"n", read_n},
};
_Static_assert(COUNT_OF(members) <= FRONT_MAX_MEMBERS, "front_walk keeps one bit for each");

int openai_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			  const char **ret_param, struct err *err)
{
	struct chat_request r = {.root = root, .body = body, .n_choices = 1};
	struct front f = {.a = a, .r = &r, .ret_param = ret_param, .err = err};
	int rc;

	*ret_param = NULL;
	rc = front_walk(&f, root, members, COUNT_OF(members));
	if (rc < 0)
		return rc;
	if (!r.model.p) {
		*ret_param = "model";
		return err_set(err, E_INVALID, "model is missing: name a use case or a registered model");
	}
	if (!r.messages) {
		*ret_param = "messages";
		return err_set(err, E_INVALID, "messages is missing: send an array with at least one message");
	}
	rc = messages_set_prompt(&f);
	if (rc < 0)
		return rc;
	r.judged = f.judged.t;
	r.n_judged = f.judged.n;
	*ret = r;
	return 0;
}

/* What an answer and each of its chunks begin with. */
static void write_top(struct json_writer *w, struct slice id, const char *object, const struct answer_meta *m)
{
	jw_object(w);
	jw_kstr(w, "id", id);
	jw_kcstr(w, "object", object);
	jw_ki64(w, "created", m->created_s);
	jw_kstr(w, "model", m->model);
}

static void write_finish(struct json_writer *w, enum chat_finish finish)
{
	jw_kcstr(w, "finish_reason", finish == CHAT_FINISH_NONE ? NULL : chat_finish_name(finish));
}

static void write_message(struct json_writer *w, const struct chat_answer *answer)
{
	jw_object(w);
	jw_kcstr(w, "role", "assistant");
	jw_key(w, "content");
	if (!answer->text.n && (answer->tool_calls.n || answer->refusal.n))
		jw_null(w);
	else
		jw_str(w, answer->text);
	jw_key(w, "refusal");
	if (answer->refusal.n)
		jw_str(w, answer->refusal);
	else
		jw_null(w);
	if (answer->tool_calls.n)
		jw_kraw(w, "tool_calls", answer->tool_calls);
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
	write_message(&w, answer);
	jw_key(&w, "logprobs");
	jw_null(&w);
	write_finish(&w, answer->finish == CHAT_FINISH_NONE ? CHAT_FINISH_STOP : answer->finish);
	jw_object_end(&w);
	jw_array_end(&w);
	if (answer->usage.known) {
		jw_key(&w, "usage");
		wire_write_usage(&w, &answer->usage);
	}
	jw_object_end(&w);
	return buf_failed(out) ? E_TOOBIG : 0;
}

/* One chunk with one choice.  text absent: an empty delta, but for the role. */
static void write_chunk(struct buf *out, const struct answer_meta *m, bool role, struct slice text,
			enum chat_finish finish)
{
	struct json_writer w;

	buf_adds(out, "data: ");
	jw_init(&w, out);
	write_top(&w, m->answer_id, "chat.completion.chunk", m);
	jw_key(&w, "choices");
	jw_array(&w);
	jw_object(&w);
	jw_ki64(&w, "index", 0);
	jw_key(&w, "delta");
	jw_object(&w);
	if (role)
		jw_kcstr(&w, "role", "assistant");
	if (text.p || role)
		jw_kstr(&w, "content", text.p ? text : SLICE_LIT(""));
	jw_object_end(&w);
	jw_key(&w, "logprobs");
	jw_null(&w);
	write_finish(&w, finish);
	jw_object_end(&w);
	jw_array_end(&w);
	if (m->include_usage) {
		jw_key(&w, "usage");
		jw_null(&w);
	}
	jw_object_end(&w);
	buf_adds(out, "\n\n");
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

int openai_encode_event(struct buf *out, const struct chat_event *e, const struct answer_meta *m, bool first)
{
	static const struct slice absent = {NULL, 0};

	switch (e->type) {
	case CHAT_EVENT_NONE:
	case CHAT_EVENT_OTHER:
	case CHAT_EVENT_ERROR: /* encode_stream_error's */
		break;
	case CHAT_EVENT_TEXT:
		write_chunk(out, m, first, e->text, CHAT_FINISH_NONE);
		if (e->finish != CHAT_FINISH_NONE)
			write_chunk(out, m, false, absent, e->finish);
		if (e->usage.known && m->include_usage)
			write_usage_chunk(out, m, &e->usage);
		break;
	case CHAT_EVENT_FINISH:
		write_chunk(out, m, first, absent, e->finish == CHAT_FINISH_NONE ? CHAT_FINISH_STOP : e->finish);
		if (e->usage.known && m->include_usage)
			write_usage_chunk(out, m, &e->usage);
		break;
	case CHAT_EVENT_USAGE:
		if (m->include_usage)
			write_usage_chunk(out, m, &e->usage);
		break;
	case CHAT_EVENT_END:
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
