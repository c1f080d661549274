/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemini's embedContent and batchEmbedContents, both sides.  The path names the model, and each request of a batch
 * names it once more: upstreams refuse a batch in which the two differ.
 */
#include "serving/protocol/embed_internal.h"
#include "serving/protocol/gemini_internal.h"

static int bad(struct front *f, const char *at, const char *what)
{
	*f->ret_param = at ? at : "requests";
	return err_set(f->err, E_INVALID, "%s %s", *f->ret_param, what);
}

/* The texts of its parts are one input. */
static int read_content(struct front *f, const struct json *content, const char *at)
{
	const struct json *parts = json_get(content, "parts");
	struct slice text = SLICE_LIT("");
	struct texts list = {0};
	int rc;

	if (!content || content->type != JSON_OBJECT || json_duplicate(content, "parts"))
		return bad(f, at, "must have one content: an object with parts");
	for (const struct json *p = gemini_items(parts); p; p = gemini_next(parts, p)) {
		const struct json *words = json_get(p, "text");

		if (p->type != JSON_OBJECT || json_duplicate(p, "text") || (words && words->type != JSON_STRING))
			return bad(f, at, "must hold parts: objects with one text, which is a string");
		f->r->embed->has_other |= !words;
		if (words && texts_add(f->a, &list, words->str, words->raw) < 0)
			return front_too_big(f);
		rc = gemini_judge(f, p, false);
		if (rc < 0)
			return rc;
	}
	if (list.n == 1)
		text = list.t[0].text;
	else if (list.n > 1 && texts_join(f->a, &list, &text) < 0)
		return front_too_big(f);
	embed_add(f, text);
	return 0;
}

static int read_dimensions(struct front *f, const struct json *v, const char *at)
{
	struct chat_embed *e = f->r->embed;
	int64_t before = e->dimensions;
	int rc;

	if (v->type == JSON_NULL)
		return 0;
	*f->ret_param = "outputDimensionality";
	rc = embed_dimensions(f, v);
	if (rc == 0 && e->n > 0 && e->dimensions != before) /* another than in the request before */
		return bad(f, at, "must ask for as many dimensions as the others");
	return rc;
}

/* One text: {model, content, taskType, title, outputDimensionality}. */
static int read_one(struct front *f, const struct json *v, const char *at)
{
	struct chat_embed *e = f->r->embed;
	const struct json *dimensions = gemini_get(v, "outputDimensionality"), *model = json_get(v, "model");
	int rc = 0;

	if (v->type != JSON_OBJECT || json_duplicate(v, "content") || json_duplicate(v, "model"))
		return bad(f, at, "must be an object that gives each member once");
	if (model && model->type != JSON_STRING)
		return bad(f, at, "has a model that is no string");
	if (model)
		e->models[e->n_models++] = model->raw;
	if (dimensions)
		rc = read_dimensions(f, dimensions, at);
	else if (e->dimensions)
		rc = bad(f, at, "must ask for as many dimensions as the others");
	for (const struct json *m = v->first; m && rc == 0; m = m->next)
		if (gemini_is(m->key, "title") && m->type == JSON_STRING)
			rc = front_judge(f, m);
		else if (KEY_IS(m, "content"))
			rc = read_content(f, m, at);
	return rc;
}

static int begin(struct front *f, size_t n)
{
	int rc = embed_begin(f, n);

	if (rc < 0)
		return rc;
	f->r->embed->models = ARENA_ARRAY(f->a, struct slice, n + 1);
	return f->r->embed->models ? 0 : front_too_big(f);
}

static int decode_one(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
		      const char **ret_param, struct err *err)
{
	struct chat_request r = {.root = root, .body = body};
	struct front f = {.a = a, .r = &r, .ret_param = ret_param, .err = err};
	int rc = front_walk(&f, root, NULL, 0);

	*ret_param = NULL;
	if (rc == 0)
		rc = begin(&f, 1);
	if (rc == 0)
		rc = read_one(&f, root, "content");
	if (rc == 0 && !r.embed->n)
		rc = bad(&f, "content", "is missing: send an object with parts");
	return rc < 0 ? rc : embed_finish(&f, ret);
}

static int decode_batch(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			const char **ret_param, struct err *err)
{
	struct chat_request r = {.root = root, .body = body};
	struct front f = {.a = a, .r = &r, .ret_param = ret_param, .err = err};
	int rc = front_walk(&f, root, NULL, 0);
	const struct json *requests;
	size_t i = 0;

	*ret_param = NULL;
	if (rc < 0)
		return rc;
	requests = json_get(root, "requests");
	if (!requests || requests->type != JSON_ARRAY || !requests->first || json_duplicate(root, "requests"))
		return bad(&f, "requests", "must be an array with at least one request");
	rc = begin(&f, requests->n_items);
	for (const struct json *v = requests->first; v && rc == 0; v = v->next, i++) {
		const char *at = arena_printf(a, "requests[%zu]", i);

		rc = read_one(&f, v, at);
		if (rc == 0 && r.embed->n != i + 1)
			rc = bad(&f, at, "has no content");
	}
	return rc < 0 ? rc : embed_finish(&f, ret);
}

static const char *const known[] = {"model", "content", "outputDimensionality"};

/* Of a request what no other protocol has: its kind of task, its title. */
static int name_unknown(struct front *f, const struct json *v, const char *prefix)
{
	int rc = 0;

	for (const struct json *m = v->first; m && rc == 0; m = m->next) {
		bool is_known = m->type == JSON_NULL;

		for (size_t i = 0; i < COUNT_OF(known); i++)
			is_known |= gemini_is(m->key, known[i]);
		if (!is_known)
			rc = details_unknown(f, slice_from(arena_printf(f->a, "%s" SLICE_FMT, prefix,
									(int)min_size(m->key.n, 64), m->key.p)));
	}
	return rc;
}

static int details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err)
{
	struct front f = {.a = a, .r = r, .ret_param = ret_param, .err = err};
	const struct json *requests = json_get(r->root, "requests");
	int rc;

	*ret_param = requests ? "requests" : "content";
	if (embed_translatable(&f) < 0)
		return E_INVALID;
	r->details = ARENA_NEW(a, struct chat_details);
	if (!r->details)
		return front_too_big(&f);
	*ret_param = NULL;
	if (!requests)
		return name_unknown(&f, r->root, "");
	rc = 0;
	for (const struct json *v = requests->first; v && rc == 0; v = v->next)
		rc = name_unknown(&f, v, "requests[].");
	return rc;
}

static int write_values(struct json_writer *w, const struct chat_vector *v)
{
	int rc;

	jw_object(w);
	jw_key(w, "values");
	rc = embed_write_numbers(w, v);
	jw_object_end(w);
	return rc;
}

static int encode_one(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	struct json_writer w;
	int rc;

	(void)m;
	jw_init(&w, out);
	jw_object(&w);
	jw_key(&w, "embedding");
	rc = answer->n_vectors ? write_values(&w, answer->vectors) : E_INVALID;
	if (rc == 0)
		jw_object_end(&w);
	return rc ? rc : buf_failed(out) ? E_TOOBIG : 0;
}

static int encode_batch(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	struct json_writer w;
	int rc = 0;

	(void)m;
	jw_init(&w, out);
	jw_object(&w);
	jw_key(&w, "embeddings");
	jw_array(&w);
	for (size_t i = 0; i < answer->n_vectors && rc == 0; i++)
		rc = write_values(&w, &answer->vectors[i]);
	jw_array_end(&w);
	jw_object_end(&w);
	return rc ? rc : buf_failed(out) ? E_TOOBIG : 0;
}

void gemini_model_name(struct buf *out, struct slice model)
{
	if (!slice_starts(model, SLICE_LIT("models/")))
		buf_adds(out, "models/");
	buf_add(out, model);
}

static void write_model(struct json_writer *w, struct slice model)
{
	struct buf b;

	buf_init(&b, model.n + 64);
	gemini_model_name(&b, model);
	jw_kstr(w, "model", buf_slice(&b));
	w->out->failed |= buf_failed(&b);
	buf_release(&b);
}

static int encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped)
{
	struct json_writer w;

	if (!r->embed)
		return E_INVALID;
	jw_init(&w, out);
	jw_object(&w);
	jw_key(&w, "requests");
	jw_array(&w);
	for (size_t i = 0; i < r->embed->n; i++) {
		jw_object(&w);
		write_model(&w, p->model);
		jw_key(&w, "content");
		jw_object(&w);
		jw_key(&w, "parts");
		jw_array(&w);
		jw_object(&w);
		jw_kstr(&w, "text", r->embed->input[i].text);
		jw_object_end(&w);
		jw_array_end(&w);
		jw_object_end(&w);
		if (r->embed->dimensions)
			jw_ki64(&w, "outputDimensionality", r->embed->dimensions);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	dropped_of_request(r, 0, 0, dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}

static const char *const labels[] = {"usageMetadata", "metadata", "model", "shape", NULL};

static int decode_one_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			     struct err *err)
{
	static const struct vector_shape shape = {.one = "embedding",
						  .in_item = "values",
						  .labels = labels,
						  .count_in = "usageMetadata",
						  .count = "promptTokenCount"};

	return embed_decode_counted(&(struct embed_source){a, jp, body}, &shape, ret, err);
}

static int decode_batch_answer(struct arena *a, struct json_parser *jp, struct slice body, struct chat_answer *ret,
			       struct err *err)
{
	static const struct vector_shape shape = {.list = "embeddings",
						  .in_item = "values",
						  .labels = labels,
						  .count_in = "usageMetadata",
						  .count = "promptTokenCount"};

	return embed_decode_counted(&(struct embed_source){a, jp, body}, &shape, ret, err);
}

const struct protocol protocol_gemini_embed = {
	.name = "gemini_embed",
	.default_path = "/v1beta",
	.model_path = "/models/",
	.of = &protocol_gemini,
	.whole_call = ":embedContent",
	.embeds = true,
	.framing = FRAMING_NONE,
	.needs_model_splice = true,
	.decode_request = decode_one,
	.decode_details = details,
	.encode_answer = encode_one,
	.encode_error = gemini_encode_error,
	.encode_request = encode_request,
	.decode_answer = decode_one_answer,
	.decode_error = wire_decode_error,
};

const struct protocol protocol_gemini_embed_batch = {
	.name = "gemini_embed_batch",
	.default_path = "/v1beta",
	.model_path = "/models/",
	.of = &protocol_gemini,
	.whole_call = ":batchEmbedContents",
	.embeds = true,
	.framing = FRAMING_NONE,
	.needs_model_splice = true,
	.decode_request = decode_batch,
	.decode_details = details,
	.encode_answer = encode_batch,
	.encode_error = gemini_encode_error,
	.encode_request = encode_request,
	.decode_answer = decode_batch_answer,
	.decode_error = wire_decode_error,
};
