/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vectors in answers.  They are found by walking the text, for a tree of their numbers would be ten times as large, and
 * stay as the model wrote them: a number that is rounded on its way is a number of another model.  What would break it:
 * a vector at another place than that of its input.
 */
#include "serving/protocol/embed_internal.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/base64.h"
#include "core/base/utf8.h"

#define NUMBER_MAX 128 /* bytes of one number */

/* --- front --- */

int embed_begin(struct front *f, size_t n)
{
	struct chat_embed *e = ARENA_NEW(f->a, struct chat_embed);

	if (!e)
		return front_too_big(f);
	e->input = ARENA_ARRAY(f->a, struct chat_input, n + 1);
	f->r->embed = e;
	return e->input ? 0 : front_too_big(f);
}

void embed_add(struct front *f, struct slice text)
{
	struct chat_embed *e = f->r->embed;

	e->input[e->n++].text = text.p ? text : SLICE_LIT("");
}

void embed_add_tokens(struct front *f, const struct json *tokens)
{
	struct chat_embed *e = f->r->embed;

	e->input[e->n++].tokens = tokens;
	f->r->tokens_only = true;
}

int embed_add_string(struct front *f, const struct json *string)
{
	embed_add(f, string->str);
	return front_judge(f, string);
}

int embed_dimensions(struct front *f, const struct json *v)
{
	if (v->type != JSON_NUMBER)
		return front_wrong_type(f, v, "a whole number");
	if (!v->is_integer || v->integer < 1)
		return err_set(f->err, E_INVALID, "%s must be a whole number above 0", *f->ret_param);
	f->r->embed->dimensions = v->integer;
	return 0;
}

int embed_finish(struct front *f, struct chat_request *ret)
{
	struct chat_request *r = f->r;
	struct texts all = {0};

	for (size_t i = 0; i < r->embed->n; i++) {
		const struct chat_input *in = &r->embed->input[i];

		if (texts_add(f->a, &all, in->tokens ? in->tokens->raw : in->text, (struct slice){0}) < 0)
			return front_too_big(f);
	}
	r->prompt = all.n == 1 ? all.t[0].text : SLICE_LIT("");
	if (all.n > 1 && texts_join(f->a, &all, &r->prompt) < 0)
		return front_too_big(f);
	r->n_choices = 1;
	r->judged = f->judged.t;
	r->n_judged = f->judged.n;
	*ret = *r;
	return 0;
}

int embed_translatable(struct front *f)
{
	if (f->r->tokens_only)
		return err_set(
			f->err, E_INVALID,
			"%s holds numbers of tokens, which mean nothing to a model of another protocol: send texts",
			*f->ret_param);
	if (f->r->embed->has_other)
		return err_set(f->err, E_INVALID,
			       "%s holds more than text, which a model of another protocol cannot be asked about",
			       *f->ret_param);
	return 0;
}

/* --- reading vectors --- */

struct entry {
	struct chat_vector v;
	size_t index; /* as it says itself */
};

struct reader {
	const struct embed_source *from;
	const struct vector_shape *shape;
	struct embed_rest *rest;
	struct entry *entry;
	size_t n, cap;
	struct texts judged;
	struct err *err;
};

static int too_big(struct reader *r)
{
	return err_set(r->err, E_TOOBIG, "the upstream's answer is more than an exchange may hold");
}

static int broken(struct reader *r, const char *why)
{
	return err_set(r->err, E_INVALID, "the upstream's answer cannot be read: %s", why);
}

/* The place of the next vector; NULL: too big. */
static struct entry *next_entry(struct reader *r)
{
	size_t cap = r->cap ? r->cap * 2 : 8;
	struct entry *entry;

	if (r->n == r->cap) {
		entry = ARENA_ARRAY(r->from->a, struct entry, cap);
		if (!entry)
			return NULL;
		if (r->n)
			memcpy(entry, r->entry, r->n * sizeof(*entry));
		r->entry = entry;
		r->cap = cap;
	}
	r->entry[r->n].index = r->n;
	return &r->entry[r->n];
}

static int count_numbers(struct slice array, size_t *ret)
{
	struct scan s = {.p = array.p, .end = array.p + array.n};
	struct slice item;
	int rc;

	*ret = 0;
	if (!scan_enter(&s, '['))
		return E_INVALID;
	while ((rc = scan_item(&s, &item)) > 0) {
		if (*item.p != '-' && (*item.p < '0' || *item.p > '9'))
			return E_INVALID;
		++*ret;
	}
	return rc < 0 || !*ret ? E_INVALID : 0;
}

/* Base64 needs no escapes, but a slash may have one. */
static int text_of(struct reader *r, struct slice raw, struct slice *ret)
{
	struct json *v = NULL;

	*ret = slice_sub(raw, 1, raw.n - 2);
	if (slice_chr(raw, '\\') < 0)
		return 0;
	if (json_parse_copy(r->from->jp, r->from->a, raw, NULL, &v, NULL) < 0)
		return E_INVALID;
	*ret = v->str;
	return 0;
}

static int read_vector(struct reader *r, struct slice raw, struct chat_vector *v)
{
	ptrdiff_t bytes;

	*v = (struct chat_vector){.n = 0};
	if (*raw.p != '"') {
		v->numbers = raw;
		return count_numbers(raw, &v->n) < 0 ? broken(r, "a vector is no array of numbers") : 0;
	}
	if (text_of(r, raw, &v->base64) < 0)
		return broken(r, "a vector is no base64");
	bytes = base64_decoded_size(v->base64);
	if (bytes <= 0 || bytes % 4)
		return broken(r, "a vector is no base64 of 32-bit floats");
	v->n = (size_t)bytes / 4;
	return 0;
}

static bool is_label(const struct vector_shape *shape, struct slice key)
{
	for (const char *const *l = shape->labels; *l; l++)
		if (slice_eq_str(key, *l))
			return true;
	return false;
}

static int judge_strings(struct reader *r, const struct wire_doc *doc, const struct json *v)
{
	int rc = 0;

	if (wire_has_text(v))
		rc = texts_add(r->from->a, &r->judged, v->str, wire_raw(doc, v));
	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		rc = judge_strings(r, doc, item);
	return rc;
}

/* A member that is no vector; what it says goes to the caller all the same. */
static int read_other(struct reader *r, struct slice key, struct slice raw, bool of_root)
{
	bool judge = !is_label(r->shape, key);
	struct wire_doc doc;
	int rc;

	if (!judge && (!of_root || r->rest->n == EMBED_REST_MAX))
		return 0;
	rc = wire_parse(r->from->a, r->from->jp, raw, &doc, NULL);
	if (rc < 0)
		return rc == E_TOOBIG ? too_big(r) : broken(r, "a member is no JSON");
	if (of_root && r->rest->n < EMBED_REST_MAX) {
		r->rest->m[r->rest->n].key = key;
		r->rest->m[r->rest->n++].value = doc.root;
	}
	return judge && judge_strings(r, &doc, doc.root) < 0 ? too_big(r) : 0;
}

static int read_index(struct reader *r, struct slice raw, size_t *ret)
{
	uint64_t v;

	if (slice_to_u64(raw, &v) < 0)
		return broken(r, "an index is no number");
	*ret = (size_t)v;
	return 0;
}

static int read_members(struct reader *r, struct slice raw, struct entry *e)
{
	struct scan s = {.p = raw.p, .end = raw.p + raw.n};
	struct slice key, value;
	int rc = 0, more;

	if (!scan_enter(&s, '{'))
		return broken(r, "an item is no object");
	while ((more = scan_member(&s, &key, &value)) > 0) {
		if (slice_eq_str(key, r->shape->in_item))
			rc = e->v.n ? broken(r, "an item has two vectors") : read_vector(r, value, &e->v);
		else if (slice_eq_str(key, "index"))
			rc = read_index(r, value, &e->index);
		else
			rc = read_other(r, key, value, false);
		if (rc < 0)
			return rc;
	}
	return more < 0 || !e->v.n ? broken(r, "an item has no vector") : 0;
}

static int read_item(struct reader *r, struct slice raw)
{
	struct entry *e = next_entry(r);
	int rc;

	if (!e)
		return too_big(r);
	rc = r->shape->in_item ? read_members(r, raw, e) : read_vector(r, raw, &e->v);
	if (rc == 0)
		r->n++;
	return rc;
}

static int read_list(struct reader *r, struct slice raw)
{
	struct scan s = {.p = raw.p, .end = raw.p + raw.n};
	struct slice item;
	int rc = 0;

	if (r->n)
		return broken(r, "it has two lists of vectors");
	if (!scan_enter(&s, '['))
		return broken(r, "its vectors are no array");
	while (rc == 0 && scan_item(&s, &item) > 0) /* it is whole: the walk over the root has seen its end */
		rc = read_item(r, item);
	return rc;
}

/* Each where its index says. */
static int put_in_order(struct reader *r, struct chat_vector **ret)
{
	struct chat_vector *v = ARENA_ARRAY(r->from->a, struct chat_vector, r->n);

	if (!v)
		return too_big(r);
	for (size_t i = 0; i < r->n; i++) {
		const struct entry *e = &r->entry[i];

		if (e->index >= r->n || v[e->index].n)
			return broken(r, "its vectors are not numbered one by one");
		v[e->index] = e->v;
	}
	*ret = v;
	return 0;
}

static int read_root(struct reader *r)
{
	struct slice body = r->from->body, key, value;
	struct scan s = {.p = body.p, .end = body.p + body.n};
	int rc = 0, more;

	if (!scan_enter(&s, '{'))
		return broken(r, "it is no JSON object");
	while ((more = scan_member(&s, &key, &value)) > 0) {
		if (r->shape->list && slice_eq_str(key, r->shape->list))
			rc = read_list(r, value);
		else if (r->shape->one && slice_eq_str(key, r->shape->one))
			rc = r->n ? broken(r, "it has two vectors where one is") : read_item(r, value);
		else
			rc = read_other(r, key, value, true);
		if (rc < 0)
			return rc;
	}
	return more < 0 || !scan_is_over(&s) ? broken(r, "it is no whole JSON object") : 0;
}

/* An answer without vectors may say why. */
static int no_vectors(struct reader *r)
{
	struct slice message = {NULL, 0};
	struct wire_doc doc;

	if (!wire_parse(r->from->a, r->from->jp, r->from->body, &doc, NULL))
		message = wire_error_message(doc.root);
	if (!message.n)
		return err_set(r->err, E_INVALID, "the upstream's answer has no vectors");
	return err_set(r->err, E_INVALID, "the upstream reports: " SLICE_FMT, SLICE_ARG(utf8_truncate(message, 300)));
}

int embed_decode(const struct embed_source *from, const struct vector_shape *shape, struct chat_answer *ret,
		 struct embed_rest *rest, struct err *err)
{
	struct reader r = {.from = from, .shape = shape, .rest = rest, .err = err};
	struct chat_vector *vectors = NULL;
	const struct json *model;
	int rc;

	rest->n = 0;
	rc = read_root(&r);
	if (rc == 0 && !r.n)
		rc = no_vectors(&r);
	if (rc == 0)
		rc = put_in_order(&r, &vectors);
	if (rc < 0)
		return rc;
	model = embed_rest_get(rest, "model");
	*ret = (struct chat_answer){.text = SLICE_LIT(""),
				    .finish = CHAT_FINISH_STOP,
				    .n_choices = 1,
				    .vectors = vectors,
				    .n_vectors = r.n,
				    .judged = r.judged.t,
				    .n_judged = r.judged.n};
	if (wire_is_string(model))
		ret->model = model->str;
	return 0;
}

const struct json *embed_rest_get(const struct embed_rest *rest, const char *name)
{
	for (size_t i = 0; i < rest->n; i++)
		if (slice_eq_str(rest->m[i].key, name))
			return rest->m[i].value;
	return NULL;
}

int embed_decode_counted(const struct embed_source *from, const struct vector_shape *shape, struct chat_answer *ret,
			 struct err *err)
{
	struct embed_rest rest;
	const struct json *n;
	int rc = embed_decode(from, shape, ret, &rest, err);

	if (rc < 0)
		return rc;
	n = shape->count_in ? json_get(embed_rest_get(&rest, shape->count_in), shape->count)
			    : embed_rest_get(&rest, shape->count);
	ret->usage = (struct chat_usage){.known = n && n->type == JSON_NUMBER};
	ret->usage.prompt_tokens = ret->usage.total_tokens = wire_count(n);
	return 0;
}

/* --- writing --- */

void embed_write_texts(struct json_writer *w, const struct chat_embed *e, struct slice model)
{
	jw_kstr(w, "model", model);
	jw_key(w, "input");
	jw_array(w);
	for (size_t i = 0; i < e->n; i++)
		jw_str(w, e->input[i].text);
	jw_array_end(w);
}

static int float_of(struct slice number, float *ret)
{
	char text[NUMBER_MAX];

	if (number.n >= sizeof(text))
		return E_INVALID;
	memcpy(text, number.p, number.n);
	text[number.n] = '\0';
	*ret = strtof(text, NULL);
	return isfinite(*ret) ? 0 : E_INVALID;
}

static void put_float(struct buf *out, float v)
{
	unsigned char le[4];
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	for (unsigned i = 0; i < 4; i++)
		le[i] = (unsigned char)(bits >> (8 * i));
	buf_append(out, le, sizeof(le));
}

static float take_float(const char *p)
{
	uint32_t bits = 0;
	float v;

	for (unsigned i = 0; i < 4; i++)
		bits |= (uint32_t)(unsigned char)p[i] << (8 * i);
	memcpy(&v, &bits, sizeof(v));
	return v;
}

/* Nine digits read back as the same float; a zero without a point would lose its sign in some readers. */
static int print_float(struct buf *out, float v)
{
	if (!isfinite(v))
		return E_INVALID;
	return v == 0 ? buf_adds(out, signbit(v) ? "-0.0" : "0.0") : buf_printf(out, "%.9g", (double)v);
}

static int numbers_of_base64(struct json_writer *w, struct slice text)
{
	struct buf bytes, numbers;
	int rc;

	buf_init(&bytes, w->out->max);
	buf_init(&numbers, w->out->max);
	rc = base64_decode(&bytes, text);
	buf_addc(&numbers, '[');
	for (size_t i = 0; rc == 0 && i + 4 <= bytes.n; i += 4) {
		if (i)
			buf_addc(&numbers, ',');
		rc = print_float(&numbers, take_float(bytes.p + i));
	}
	buf_addc(&numbers, ']');
	if (rc == 0 && !buf_failed(&numbers))
		jw_raw(w, buf_slice(&numbers));
	else
		jw_null(w);
	w->out->failed |= buf_failed(&numbers);
	buf_release(&bytes);
	buf_release(&numbers);
	return rc;
}

int embed_write_numbers(struct json_writer *w, const struct chat_vector *v)
{
	if (!v->numbers.p)
		return numbers_of_base64(w, v->base64);
	jw_raw(w, v->numbers);
	return 0;
}

static int base64_of_numbers(struct buf *out, struct slice numbers)
{
	struct scan s = {.p = numbers.p, .end = numbers.p + numbers.n};
	struct slice item;
	struct buf bytes;
	int rc = 0;
	float v;

	buf_init(&bytes, out->max);
	if (!scan_enter(&s, '['))
		rc = E_INVALID;
	while (rc == 0 && scan_item(&s, &item) > 0) {
		rc = float_of(item, &v);
		if (rc == 0)
			put_float(&bytes, v);
	}
	if (rc == 0)
		rc = buf_failed(&bytes) ? E_TOOBIG : base64_encode(out, bytes.p, bytes.n);
	buf_release(&bytes);
	return rc;
}

int embed_write_base64(struct json_writer *w, const struct chat_vector *v)
{
	struct buf text;
	int rc = 0;

	if (v->base64.p) {
		jw_str(w, v->base64);
		return 0;
	}
	buf_init(&text, w->out->max);
	rc = base64_of_numbers(&text, v->numbers);
	jw_str(w, rc == 0 ? buf_slice(&text) : SLICE_LIT(""));
	w->out->failed |= buf_failed(&text);
	buf_release(&text);
	return rc;
}
