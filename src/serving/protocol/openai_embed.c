/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI's embeddings, both sides.  Official clients ask for base64 unless told otherwise, and turn it back into
 * numbers by themselves: an answer in another format than was asked for is refused by some, misread by others.
 */
#include "serving/protocol/embed_internal.h"

static int read_texts(struct front *f, const struct json *list)
{
	for (const struct json *v = list->first; v; v = v->next) {
		int rc;

		if (v->type != list->first->type)
			return err_set(f->err, E_INVALID, "input must hold things of one kind, not a %s after a %s",
				       json_type_name(v->type), json_type_name(list->first->type));
		if (v->type == JSON_STRING) {
			rc = embed_add_string(f, v);
			if (rc < 0)
				return rc;
		} else if (v->type == JSON_ARRAY && v->first && v->first->type == JSON_NUMBER) {
			embed_add_tokens(f, v);
		} else if (v->type != JSON_NUMBER) {
			return err_set(f->err, E_INVALID,
				       "input must hold strings, numbers of tokens or arrays of them, not a %s",
				       json_type_name(v->type));
		}
	}
	if (list->first->type == JSON_NUMBER)
		embed_add_tokens(f, list);
	return 0;
}

static int read_input(struct front *f, const struct json *v)
{
	struct chat_embed said = f->r->embed ? *f->r->embed : (struct chat_embed){0};
	int rc;

	if (v->type != JSON_STRING && v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "a string or an array");
	if (v->type == JSON_ARRAY && !v->first)
		return err_set(f->err, E_INVALID, "input must hold at least one text");
	rc = embed_begin(f, v->type == JSON_ARRAY ? v->n_items : 1);
	if (rc < 0)
		return rc;
	f->r->embed->base64 = said.base64;
	f->r->embed->dimensions = said.dimensions;
	return v->type == JSON_STRING ? embed_add_string(f, v) : read_texts(f, v);
}

static int read_format(struct front *f, const struct json *v)
{
	bool base64 = wire_is_string(v) && slice_eq_str(v->str, "base64");

	if (!base64 && !(wire_is_string(v) && slice_eq_str(v->str, "float")))
		return err_set(f->err, E_INVALID, "encoding_format must be float or base64");
	f->r->embed->base64 = base64;
	return 0;
}

static const struct front_member members[] = {
	{"model", front_model},
	{"input", read_input},
	{"encoding_format", read_format},
	{"dimensions", embed_dimensions},
};
_Static_assert(COUNT_OF(members) <= FRONT_MAX_MEMBERS, "front_walk keeps one bit for each");

static int decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			  const char **ret_param, struct err *err)
{
	struct chat_embed empty = {0};
	struct chat_request r = {.root = root, .body = body, .embed = &empty};
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
	if (r.embed == &empty) {
		*ret_param = "input";
		return err_set(err, E_INVALID, "input is missing: send a text, or an array of texts");
	}
	return embed_finish(&f, ret);
}

static int check_user(struct front *f, const struct json *v)
{
	if (v->type != JSON_STRING)
		return front_wrong_type(f, v, "a string");
	f->r->details->user = v->str;
	return 0;
}

static const struct detail_member details[] = {
	{"model", CHAT_PARAMS, NULL},		{"input", CHAT_PARAMS, NULL},
	{"encoding_format", CHAT_PARAMS, NULL}, {"dimensions", CHAT_PARAMS, NULL},
	{"user", CHAT_PARAM_USER, check_user},
};

static int decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err)
{
	struct front f = {.a = a, .r = r, .ret_param = ret_param, .err = err};

	*ret_param = "input";
	return embed_translatable(&f) < 0 ? E_INVALID : details_walk(&f, details, COUNT_OF(details));
}

static int encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	struct json_writer w;
	int rc = 0;

	jw_init(&w, out);
	jw_object(&w);
	jw_kcstr(&w, "object", "list");
	jw_key(&w, "data");
	jw_array(&w);
	for (size_t i = 0; i < answer->n_vectors && rc == 0; i++) {
		jw_object(&w);
		jw_kcstr(&w, "object", "embedding");
		jw_ki64(&w, "index", (int64_t)i);
		jw_key(&w, "embedding");
		rc = m->base64 ? embed_write_base64(&w, &answer->vectors[i])
			       : embed_write_numbers(&w, &answer->vectors[i]);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_kstr(&w, "model", m->model);
	jw_key(&w, "usage");
	jw_object(&w);
	jw_ki64(&w, "prompt_tokens", answer->usage.prompt_tokens);
	jw_ki64(&w, "total_tokens", answer->usage.total_tokens);
	jw_object_end(&w);
	jw_object_end(&w);
	return rc ? rc : buf_failed(out) ? E_TOOBIG : 0;
}

static int encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped)
{
	struct json_writer w;

	if (!r->embed)
		return E_INVALID;
	jw_init(&w, out);
	jw_object(&w);
	embed_write_texts(&w, r->embed, p->model);
	jw_kcstr(&w, "encoding_format", "float");
	if (r->embed->dimensions)
		jw_ki64(&w, "dimensions", r->embed->dimensions);
	jw_object_end(&w);
	dropped_of_request(r, 0, 0, dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}

static const char *const labels[] = {"object", "model", "id", "created", "usage", "provider", NULL};
static const struct vector_shape shape = {.list = "data", .in_item = "embedding", .labels = labels};

static int decode_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			 struct err *err)
{
	struct embed_rest rest;
	const struct json *usage;
	int rc = embed_decode(&(struct embed_source){a, jp, body}, &shape, ret, &rest, err);

	if (rc < 0)
		return rc;
	usage = embed_rest_get(&rest, "usage");
	wire_read_usage(usage, &ret->usage);
	if (!ret->usage.prompt_tokens) /* some tell the total alone */
		ret->usage.prompt_tokens = ret->usage.total_tokens;
	ret->usage.completion_tokens = 0;
	ret->usage.total_tokens = ret->usage.prompt_tokens;
	return 0;
}

const struct protocol protocol_openai_embeddings = {
	.name = "openai_embeddings",
	.default_path = "/v1/embeddings",
	.of = &protocol_openai,
	.call = "/embeddings",
	.embeds = true,
	.framing = FRAMING_NONE,
	.needs_model_splice = true,
	.decode_request = decode_request,
	.decode_details = decode_details,
	.encode_answer = encode_answer,
	.encode_error = openai_encode_error,
	.encode_request = encode_request,
	.decode_answer = decode_answer,
	.decode_error = wire_decode_error,
};
