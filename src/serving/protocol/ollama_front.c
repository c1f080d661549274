/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ollama's /api/chat and /api/generate: what every request is read for.  Both stream unless told otherwise, and both
 * may ask for no answer at all: a request without words only wants the model to be there.
 *
 * What would break it: a text that reaches a model and is not judged.  A suffix and a template are words of the
 * caller's as a prompt is; a context is tokens, which has_tokens says.
 */
#include "serving/protocol/ollama_internal.h"

/* A limit that is none (-1, -2) is as good as unsaid. */
static int read_num_predict(struct front *f, const struct json *v)
{
	int64_t n = 0;

	if (v->type != JSON_NUMBER || !front_whole(v, &n))
		return front_wrong_type(f, v, "a whole number");
	f->r->has_max_tokens = n > 0;
	f->r->max_tokens = n > 0 ? n : 0;
	return 0;
}

/* No limit is known there. */
static int read_temperature(struct front *f, const struct json *v)
{
	if (v->type != JSON_NUMBER)
		return front_wrong_type(f, v, "a number");
	if (!(v->number >= 0))
		return front_bad(f, "must not be negative");
	f->r->temperature = v->number;
	f->r->has_temperature = true;
	return 0;
}

static const struct front_member options[] = {
	{"num_predict", read_num_predict},
	{"temperature", read_temperature},
	{"top_p", front_top_p},
	{"seed", front_seed},
	{"stop", front_stop},
};

static int read_options(struct front *f, const struct json *v)
{
	if (v->type != JSON_OBJECT)
		return front_wrong_type(f, v, "an object");
	return front_walk(f, v, options, COUNT_OF(options));
}

static int need_model(struct front *f)
{
	if (f->r->model.p)
		return 0;
	*f->ret_param = "model";
	return err_set(f->err, E_INVALID, "model is missing: name a use case or a registered model");
}

static void give(struct front *f, struct chat_request *ret)
{
	f->r->judged = f->judged.t;
	f->r->n_judged = f->judged.n;
	f->r->loads = !f->r->messages;
	if (f->r->loads)
		f->r->prompt = SLICE_LIT("");
	*ret = *f->r;
}

/* --- chat --- */

static int read_messages(struct front *f, const struct json *v)
{
	return v->type == JSON_ARRAY && !v->first ? 0 : messages_read(f, v);
}

static const struct front_member chat_members[] = {
	{"model", front_model},
	{"messages", read_messages},
	{"stream", front_stream},
	{"options", read_options},
};

int ollama_decode_chat(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
		       const char **ret_param, struct err *err)
{
	struct chat_request r = {.root = root, .body = body, .n_choices = 1, .include_usage = true, .stream = true};
	struct front f = {.a = a, .r = &r, .ret_param = ret_param, .err = err};
	int rc;

	*ret_param = NULL;
	rc = front_walk(&f, root, chat_members, COUNT_OF(chat_members));
	if (rc == 0)
		rc = need_model(&f);
	if (rc == 0 && r.messages)
		rc = messages_set_prompt(&f);
	if (rc == 0)
		give(&f, ret);
	return rc;
}

/* --- generate --- */

static int read_prompt(struct front *f, const struct json *v)
{
	if (v->type != JSON_STRING)
		return front_wrong_type(f, v, "a string");
	f->r->prompt = v->str;
	return front_judge(f, v);
}

static int read_words(struct front *f, const struct json *v)
{
	return v->type == JSON_STRING ? front_judge(f, v) : front_wrong_type(f, v, "a string");
}

static int check_string(struct front *f, const struct json *v)
{
	return v->type == JSON_STRING ? 0 : front_wrong_type(f, v, "a string");
}

static int check_raw(struct front *f, const struct json *v)
{
	return v->type == JSON_BOOL ? 0 : front_wrong_type(f, v, "true or false");
}

static int check_images(struct front *f, const struct json *v)
{
	if (v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "an array of images in base64");
	for (const struct json *item = v->first; item; item = item->next)
		if (item->type != JSON_STRING)
			return err_set(f->err, E_INVALID, "images must hold images in base64, not a %s",
				       json_type_name(item->type));
	return 0;
}

static int read_context(struct front *f, const struct json *v)
{
	if (v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "an array of numbers");
	f->r->has_tokens = v->first != NULL;
	return 0;
}

static const struct front_member generate_members[] = {
	{"model", front_model},	  {"prompt", read_prompt},   {"suffix", read_words},   {"system", check_string},
	{"template", read_words}, {"raw", check_raw},	     {"images", check_images}, {"context", read_context},
	{"stream", front_stream}, {"options", read_options},
};
_Static_assert(COUNT_OF(generate_members) <= FRONT_MAX_MEMBERS, "front_walk keeps one bit for each");

/* A chat of one message. */
static int make_messages(struct front *f)
{
	const struct json *system = json_get(f->r->root, "system");
	struct chat_message *m = ARENA_ARRAY(f->a, struct chat_message, 2);

	if (!m)
		return front_too_big(f);
	f->r->messages = m;
	if (wire_has_text(system))
		*m++ = (struct chat_message){.role = CHAT_SYSTEM, .text = system->str};
	else
		system = NULL;
	*m++ = (struct chat_message){.role = CHAT_USER, .text = f->r->prompt};
	f->r->n_messages = (size_t)(m - f->r->messages);
	return messages_set_prompt_beside(f, system);
}

int ollama_decode_generate(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			   const char **ret_param, struct err *err)
{
	struct chat_request r = {.root = root, .body = body, .n_choices = 1, .include_usage = true, .stream = true};
	struct front f = {.a = a, .r = &r, .ret_param = ret_param, .err = err};
	int rc;

	*ret_param = NULL;
	rc = front_walk(&f, root, generate_members, COUNT_OF(generate_members));
	if (rc == 0)
		rc = need_model(&f);
	if (rc == 0 && r.prompt.n)
		rc = make_messages(&f);
	if (rc == 0)
		give(&f, ret);
	return rc;
}
