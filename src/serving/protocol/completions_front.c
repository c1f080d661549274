/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI's older completions: what callers ask.  Prompts are the user's words, and so is a suffix: both are judged.  A
 * model of OpenAI's protocol takes any number of prompts, one that only chats takes one.
 */
#include "serving/protocol/completions_internal.h"

static int add_prompt(struct front *f, const struct json *v)
{
	struct chat_message *m = &f->r->messages[f->r->n_messages++];

	*m = (struct chat_message){.role = CHAT_USER, .text = SLICE_LIT("")};
	if (v->type != JSON_STRING) {
		f->r->tokens_only = true;
		return 0;
	}
	m->text = v->str;
	return front_judge(f, v);
}

static int read_prompts(struct front *f, const struct json *list)
{
	for (const struct json *v = list->first; v; v = v->next) {
		bool tokens = v->type == JSON_ARRAY && v->first && v->first->type == JSON_NUMBER;
		int rc;

		if (v->type != list->first->type || (v->type != JSON_STRING && !tokens))
			return err_set(
				f->err, E_INVALID,
				"prompt must hold strings, numbers of tokens or arrays of them, and one kind only");
		rc = add_prompt(f, v);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_prompt(struct front *f, const struct json *v)
{
	bool list = v->type == JSON_ARRAY;
	bool tokens = list && v->first && v->first->type == JSON_NUMBER;

	if (v->type != JSON_STRING && !list)
		return front_wrong_type(f, v, "a string or an array");
	if (list && !v->first)
		return err_set(f->err, E_INVALID, "prompt must hold at least one text");
	f->r->messages = ARENA_ARRAY(f->a, struct chat_message, (list ? v->n_items : 1) + 1);
	if (!f->r->messages)
		return front_too_big(f);
	if (tokens)
		f->r->prompt = v->raw;
	return list && !tokens ? read_prompts(f, v) : add_prompt(f, v);
}

static int read_suffix(struct front *f, const struct json *v)
{
	return v->type == JSON_STRING ? front_judge(f, v) : front_wrong_type(f, v, "a string");
}

/* None at all is asked for by those who want to know what a prompt is worth (echo with logprobs). */
static int read_max_tokens(struct front *f, const struct json *v)
{
	if (v->type == JSON_NUMBER && v->is_integer && v->integer == 0) {
		f->r->has_max_tokens = true;
		return 0;
	}
	return front_max_tokens(f, v);
}

static const struct front_member members[] = {
	{"model", front_model},
	{"prompt", read_prompt},
	{"suffix", read_suffix},
	{"stream", front_stream},
	{"stream_options", openai_stream_options},
	{"max_tokens", read_max_tokens},
	{"temperature", front_temperature},
	{"top_p", front_top_p},
	{"stop", front_stop},
	{"seed", front_seed},
	{"n", openai_choices},
};
_Static_assert(COUNT_OF(members) <= FRONT_MAX_MEMBERS, "front_walk keeps one bit for each");

/* As the log has it: all prompts, one a line; tokens as they came. */
static int set_prompt(struct front *f, const struct json *prompt)
{
	struct chat_request *r = f->r;
	struct texts all = {0};

	if (r->tokens_only) {
		r->prompt = prompt->raw;
		return 0;
	}
	for (size_t i = 0; i < r->n_messages; i++)
		if (texts_add(f->a, &all, r->messages[i].text, (struct slice){0}) < 0)
			return front_too_big(f);
	r->prompt = all.n == 1 ? all.t[0].text : SLICE_LIT("");
	return all.n > 1 && texts_join(f->a, &all, &r->prompt) < 0 ? front_too_big(f) : 0;
}

int completions_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
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
		*ret_param = "prompt";
		return err_set(err, E_INVALID, "prompt is missing: send the text to go on from");
	}
	rc = set_prompt(&f, json_get(root, "prompt"));
	if (rc < 0)
		return rc;
	r.judged = f.judged.t;
	r.n_judged = f.judged.n;
	*ret = r;
	return 0;
}

/* --- what only translations read --- */

static int read_number(struct front *f, const struct json *v)
{
	return v->type == JSON_NUMBER ? 0 : front_wrong_type(f, v, "a number");
}

static int read_user(struct front *f, const struct json *v)
{
	if (v->type != JSON_STRING)
		return front_wrong_type(f, v, "a string");
	f->r->details->user = v->str;
	return 0;
}

/* Members that say what is so anyway need no place elsewhere. */
static int read_echo(struct front *f, const struct json *v)
{
	return v->type == JSON_BOOL && !v->boolean ? 0 : details_unknown(f, SLICE_LIT("echo"));
}

static int read_best_of(struct front *f, const struct json *v)
{
	return v->is_integer && v->integer <= 1 ? 0 : details_unknown(f, SLICE_LIT("best_of"));
}

static int name_suffix(struct front *f, const struct json *v)
{
	return v->str.n ? details_unknown(f, SLICE_LIT("suffix")) : 0;
}

static const struct detail_member details[] = {
	{"model", CHAT_PARAMS, NULL},
	{"prompt", CHAT_PARAMS, NULL},
	{"suffix", CHAT_PARAMS, name_suffix},
	{"echo", CHAT_PARAMS, read_echo},
	{"best_of", CHAT_PARAMS, read_best_of},
	{"stream", CHAT_PARAMS, NULL},
	{"stream_options", CHAT_PARAMS, NULL},
	{"max_tokens", CHAT_PARAM_MAX_TOKENS, NULL},
	{"temperature", CHAT_PARAM_TEMPERATURE, NULL},
	{"top_p", CHAT_PARAM_TOP_P, NULL},
	{"top_k", CHAT_PARAM_TOP_K, read_number},
	{"min_p", CHAT_PARAM_MIN_P, read_number},
	{"seed", CHAT_PARAM_SEED, NULL},
	{"stop", CHAT_PARAM_STOP, NULL},
	{"frequency_penalty", CHAT_PARAM_FREQUENCY_PENALTY, read_number},
	{"presence_penalty", CHAT_PARAM_PRESENCE_PENALTY, read_number},
	{"n", CHAT_PARAM_CHOICES, NULL},
	{"user", CHAT_PARAM_USER, read_user},
	{"logprobs", CHAT_PARAM_LOGPROBS, NULL},
	{"logit_bias", CHAT_PARAM_LOGIT_BIAS, NULL},
};

int completions_decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err)
{
	struct front f = {.a = a, .r = r, .ret_param = ret_param, .err = err};

	*ret_param = "prompt";
	if (r->tokens_only)
		return err_set(err, E_INVALID,
			       "prompt holds numbers of tokens, which mean nothing to a model that chats: "
			       "send a text");
	if (r->n_messages > 1)
		return err_set(err, E_INVALID,
			       "prompt holds %zu texts, and a model that chats answers one: send them one "
			       "by one",
			       r->n_messages);
	return details_walk(&f, details, COUNT_OF(details));
}

/* --- answers --- */

static void write_top(struct json_writer *w, struct slice id, const struct answer_meta *m)
{
	jw_object(w);
	jw_kstr(w, "id", id);
	jw_kcstr(w, "object", "text_completion");
	jw_ki64(w, "created", m->created_s);
	jw_kstr(w, "model", m->model);
	jw_kstr(w, "system_fingerprint", m->model_id.n ? m->model_id : SLICE_LIT("muster"));
	jw_key(w, "choices");
	jw_array(w);
}

static const char *finish_name(enum chat_finish finish)
{
	if (finish == CHAT_FINISH_LENGTH)
		return "length";
	return finish == CHAT_FINISH_CONTENT_FILTER || finish == CHAT_FINISH_REFUSAL ? "content_filter" : "stop";
}

static void write_choice(struct json_writer *w, struct slice text, const char *finish)
{
	jw_object(w);
	jw_kstr(w, "text", text.p ? text : SLICE_LIT(""));
	jw_ki64(w, "index", 0);
	jw_key(w, "logprobs");
	jw_null(w);
	jw_kcstr(w, "finish_reason", finish);
	jw_object_end(w);
}

/* A model that refuses says so in words: those are the text here. */
static struct slice words_of(const struct chat_answer *answer)
{
	for (size_t i = 0; !answer->text.n && i < answer->n_parts; i++)
		if (answer->parts[i].kind == CHAT_PART_REFUSAL)
			return answer->parts[i].text;
	return answer->text;
}

int completions_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	struct json_writer w;

	jw_init(&w, out);
	write_top(&w, answer->id.n ? answer->id : m->answer_id, m);
	write_choice(&w, words_of(answer), finish_name(answer->finish));
	jw_array_end(&w);
	if (answer->usage.known) {
		jw_key(&w, "usage");
		wire_write_usage(&w, &answer->usage);
	}
	jw_object_end(&w);
	return buf_failed(out) ? E_TOOBIG : 0;
}

/* choice: what it says; else the usage alone. */
static void write_chunk(struct buf *out, const struct answer_meta *m, const struct chat_event *e, bool choice)
{
	struct json_writer w;

	buf_adds(out, "data: ");
	jw_init(&w, out);
	write_top(&w, m->answer_id, m);
	if (choice)
		write_choice(&w, e->text, e->type == CHAT_EVENT_FINISH ? finish_name(e->finish) : NULL);
	jw_array_end(&w);
	if (!choice) {
		jw_key(&w, "usage");
		wire_write_usage(&w, &e->usage);
	}
	jw_object_end(&w);
	buf_adds(out, "\n\n");
}

int completions_encode_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			     const struct answer_meta *m)
{
	s->begun = true;
	if (!out)
		return 0;
	if (e->type == CHAT_EVENT_TEXT || e->type == CHAT_EVENT_REFUSAL || e->type == CHAT_EVENT_FINISH)
		write_chunk(out, m, e, true);
	if (e->type == CHAT_EVENT_END && m->include_usage)
		write_chunk(out, m, e, false);
	if (e->type == CHAT_EVENT_END)
		buf_adds(out, "data: [DONE]\n\n");
	return buf_failed(out) ? E_TOOBIG : 0;
}
