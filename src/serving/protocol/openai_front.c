/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI chat completions: what every request is read for.  What only translations need is openai_details.c's. */
#include "serving/protocol/protocol_internal.h"

#define MAX_CHOICES 128

int openai_choices(struct front *f, const struct json *v)
{
	if (v->type != JSON_NUMBER)
		return front_wrong_type(f, v, "a whole number");
	if (!v->is_integer || v->integer < 1 || v->integer > MAX_CHOICES)
		return err_set(f->err, E_INVALID, "n must be a whole number from 1 to %d", MAX_CHOICES);
	f->r->n_choices = v->integer;
	return 0;
}

int openai_stream_options(struct front *f, const struct json *v)
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
	{"stream_options", openai_stream_options},
	{"max_tokens", front_max_tokens},
	{"max_completion_tokens", front_max_tokens},
	{"temperature", front_temperature},
	{"top_p", front_top_p},
	{"stop", front_stop},
	{"seed", front_seed},
	{"n", openai_choices},
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
