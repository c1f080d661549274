/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's embeddings, both sides: /api/embed, and the older /api/embeddings for one text. */
#include "serving/protocol/embed_internal.h"
#include "serving/protocol/ollama_internal.h"

static int read_input(struct front *f, const struct json *v)
{
	int64_t dimensions = f->r->embed->dimensions;
	int rc;

	if (v->type != JSON_STRING && v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "a string or an array of strings");
	if (v->type == JSON_ARRAY && !v->first)
		return err_set(f->err, E_INVALID, "input must hold at least one text");
	rc = embed_begin(f, v->type == JSON_ARRAY ? v->n_items : 1);
	if (rc < 0)
		return rc;
	f->r->embed->dimensions = dimensions;
	if (v->type == JSON_STRING)
		return embed_add_string(f, v);
	for (const struct json *text = v->first; text && rc == 0; text = text->next)
		rc = text->type == JSON_STRING ? embed_add_string(f, text)
					       : front_wrong_type(f, text, "an array of strings");
	return rc;
}

static int read_prompt(struct front *f, const struct json *v)
{
	int rc = v->type == JSON_STRING ? embed_begin(f, 1) : front_wrong_type(f, v, "a string");

	return rc < 0 ? rc : embed_add_string(f, v);
}

static const struct front_member members[] = {
	{"model", front_model},
	{"input", read_input},
	{"dimensions", embed_dimensions},
};
static const struct front_member old_members[] = {
	{"model", front_model},
	{"prompt", read_prompt},
};
_Static_assert(COUNT_OF(members) <= FRONT_MAX_MEMBERS, "front_walk keeps one bit for each");

static int finish(struct front *f, struct chat_request *ret, const struct chat_embed *empty, const char *texts)
{
	*f->ret_param = "model";
	if (!f->r->model.p)
		return err_set(f->err, E_INVALID, "model is missing: name a use case or a registered model");
	*f->ret_param = texts;
	if (f->r->embed == empty)
		return err_set(f->err, E_INVALID, "%s is missing: send the text", texts);
	*f->ret_param = NULL;
	return embed_finish(f, ret);
}

static int decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			  const char **ret_param, struct err *err)
{
	struct chat_embed empty = {0};
	struct chat_request r = {.root = root, .body = body, .embed = &empty};
	struct front f = {.a = a, .r = &r, .ret_param = ret_param, .err = err};
	int rc;

	*ret_param = NULL;
	rc = front_walk(&f, root, members, COUNT_OF(members));
	return rc < 0 ? rc : finish(&f, ret, &empty, "input");
}

static int decode_old_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			      const char **ret_param, struct err *err)
{
	struct chat_embed empty = {0};
	struct chat_request r = {.root = root, .body = body, .embed = &empty};
	struct front f = {.a = a, .r = &r, .ret_param = ret_param, .err = err};
	int rc;

	*ret_param = NULL;
	rc = front_walk(&f, root, old_members, COUNT_OF(old_members));
	return rc < 0 ? rc : finish(&f, ret, &empty, "prompt");
}

static const struct detail_member details[] = {
	{"model", CHAT_PARAMS, NULL},
	{"input", CHAT_PARAMS, NULL},
	{"prompt", CHAT_PARAMS, NULL},
	{"dimensions", CHAT_PARAMS, NULL},
};

static int decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err)
{
	struct front f = {.a = a, .r = r, .ret_param = ret_param, .err = err};

	return details_walk(&f, details, COUNT_OF(details));
}

static int encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	struct json_writer w;
	int rc = 0;

	jw_init(&w, out);
	jw_object(&w);
	jw_kstr(&w, "model", m->model);
	jw_key(&w, "embeddings");
	jw_array(&w);
	for (size_t i = 0; i < answer->n_vectors && rc == 0; i++)
		rc = embed_write_numbers(&w, &answer->vectors[i]);
	jw_array_end(&w);
	jw_ki64(&w, "total_duration", m->latency_ms * 1000000); /* nanoseconds, as is the next */
	jw_ki64(&w, "load_duration", 0);
	jw_ki64(&w, "prompt_eval_count", answer->usage.prompt_tokens);
	jw_object_end(&w);
	return rc ? rc : buf_failed(out) ? E_TOOBIG : 0;
}

static int encode_old_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	struct json_writer w;
	int rc;

	(void)m;
	jw_init(&w, out);
	jw_object(&w);
	jw_key(&w, "embedding");
	rc = answer->n_vectors ? embed_write_numbers(&w, answer->vectors) : E_INVALID;
	if (rc == 0)
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
	if (r->embed->dimensions)
		jw_ki64(&w, "dimensions", r->embed->dimensions);
	jw_object_end(&w);
	dropped_of_request(r, 0, 0, dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}

static const char *const labels[] = {"model", "total_duration", "load_duration", "prompt_eval_count", NULL};

static int decode_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			 struct err *err)
{
	static const struct vector_shape shape = {.list = "embeddings", .labels = labels, .count = "prompt_eval_count"};

	return embed_decode_counted(&(struct embed_source){a, jp, body}, &shape, ret, err);
}

static int decode_old_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			     struct err *err)
{
	static const struct vector_shape shape = {.one = "embedding", .labels = labels, .count = "prompt_eval_count"};

	return embed_decode_counted(&(struct embed_source){a, jp, body}, &shape, ret, err);
}

const struct protocol protocol_ollama_embed = {
	.name = "ollama_embed",
	.default_path = "/api/embed",
	.of = &protocol_ollama,
	.call = "/embed",
	.embeds = true,
	.framing = FRAMING_NONE,
	.default_tag = ":latest",
	.needs_model_splice = true,
	.decode_request = decode_request,
	.decode_details = decode_details,
	.encode_answer = encode_answer,
	.encode_error = ollama_encode_error,
	.encode_request = encode_request,
	.decode_answer = decode_answer,
	.decode_error = wire_decode_error,
};

const struct protocol protocol_ollama_embeddings = {
	.name = "ollama_embeddings",
	.default_path = "/api/embeddings",
	.of = &protocol_ollama,
	.call = "/embeddings",
	.embeds = true,
	.framing = FRAMING_NONE,
	.default_tag = ":latest",
	.needs_model_splice = true,
	.decode_request = decode_old_request,
	.decode_details = decode_details,
	.encode_answer = encode_old_answer,
	.encode_error = ollama_encode_error,
	.encode_request = encode_request,
	.decode_answer = decode_old_answer,
	.decode_error = wire_decode_error,
};
