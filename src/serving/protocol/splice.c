/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replacing values in JSON text without touching any other byte.  A request of the caller's own protocol goes upstream
 * as it came: number formats, order, white space and members that we have never heard of survive.  The places come from
 * the parsed tree, so they are inside the body; they are checked all the same, because a wrong one would send a broken
 * request.
 */
#include <sys/uio.h>

#include "serving/protocol/gemini_internal.h"

/* Bytes [from, to) of the body give way to `with`. */
struct edit {
	size_t from, to;
	struct slice with;
};

#define MAX_EDITS 10 /* beside those of names that a body repeats */

struct edits {
	struct edit *e; /* sorted by from */
	size_t n;
};

static void add_edit(struct edits *list, size_t from, size_t to, struct slice with)
{
	size_t i = list->n++;

	for (; i > 0 && list->e[i - 1].from > from; i--)
		list->e[i] = list->e[i - 1];
	list->e[i] = (struct edit){from, to, with};
}

static void replace(struct edits *list, struct slice body, struct slice raw, struct slice with)
{
	size_t from = (size_t)(raw.p - body.p);

	add_edit(list, from, from + raw.n, with);
}

static bool is_inside(struct slice whole, struct slice part)
{
	return part.p >= whole.p && part.p <= whole.p + whole.n && part.n <= (size_t)(whole.p + whole.n - part.p);
}

/* Members that are the gateway's to set, never a default's. */
static bool is_ours(const struct json *v)
{
	return KEY_IS(v, "model") || KEY_IS(v, "messages") || KEY_IS(v, "stream") || KEY_IS(v, "stream_options") ||
	       KEY_IS(v, "prompt") || KEY_IS(v, "context") || KEY_IS(v, "options") || KEY_IS(v, "contents") ||
	       KEY_IS(v, "systemInstruction") || KEY_IS(v, "generationConfig");
}

static bool has_member(const struct json *obj, struct slice key)
{
	for (const struct json *v = obj ? obj->first : NULL; v; v = v->next) {
		if (slice_eq(v->key, key))
			return true;
	}
	return false;
}

static void add_member(struct buf *b, bool *first, struct slice key, struct slice raw)
{
	buf_adds(b, *first ? "\"" : ",\"");
	json_escape(b, key);
	buf_adds(b, "\":");
	buf_add(b, raw);
	*first = false;
}

/* The object of the caller's that holds parameters, in protocols that have one; also under its other name
 * ("generation_config"). */
static const struct json *options_of(const struct chat_request *r, const struct protocol *proto)
{
	return gemini_get(r->root, proto->options);
}

/* The defaults that neither the request nor `there` names; in_options: those that stand in an object of their own. */
static void add_defaults(struct buf *b, bool *first, const struct chat_request *r, const struct upstream_params *p,
			 const struct protocol *proto, bool in_options)
{
	const struct json *there = in_options ? options_of(r, proto) : r->root;

	for (const struct json *v = p->parameters ? p->parameters->first : NULL; v; v = v->next) {
		struct slice key = proto->options ? proto->option_name(v->key) : (struct slice){NULL, 0};

		if ((key.p != NULL) != in_options)
			continue;
		if (!key.p)
			key = v->key;
		if (!is_ours(v) && !request_names(r, v->key) && !has_member(there, key))
			add_member(b, first, key, v->raw);
	}
}

static struct slice bool_text(bool v)
{
	return v ? SLICE_LIT("true") : SLICE_LIT("false");
}

bool protocol_adds_usage(const struct chat_request *r, const struct upstream_params *p, const struct protocol *proto)
{
	return proto->asks_usage && p->stream && !r->include_usage && !p->leave_usage;
}

/* stream_options in a body that has some: asked for usage, or taken out of a request that no longer streams. */
static void edit_stream_options(struct edits *list, const struct chat_request *r, const struct json *options,
				bool stream, bool add)
{
	static const struct slice yes = {"{\"include_usage\":true}", 22};
	const struct json *usage = json_get(options, "include_usage");

	if (!stream && options->type != JSON_NULL)
		replace(list, r->body, options->raw, SLICE_LIT("null")); /* refused without stream */
	else if (!add)
		return;
	else if (usage)
		replace(list, r->body, usage->raw, SLICE_LIT("true"));
	else if (options->type == JSON_OBJECT && options->first)
		add_edit(list, (size_t)(options->raw.p - r->body.p) + 1, (size_t)(options->raw.p - r->body.p) + 1,
			 SLICE_LIT("\"include_usage\":true,"));
	else
		replace(list, r->body, options->raw, yes);
}

/* What insertions add: into the root, and into what they find there. */
struct root {
	struct buf b;
	bool first;
};

/* Defaults among the options: into the caller's object, or with an object of their own into the root's insertion. */
static int edit_options(struct arena *a, struct edits *list, const struct chat_request *r,
			const struct upstream_params *p, const struct protocol *proto, struct root *root)
{
	const struct json *options = options_of(r, proto);
	bool is_object = options && options->type == JSON_OBJECT;
	bool first = !is_object || !options->first;
	struct buf b;
	size_t end;

	buf_init_arena(&b, a, r->body.n + (size_t)64 * 1024);
	add_defaults(&b, &first, r, p, proto, true);
	/* the model's defaults may hold options in the protocol's own shape */
	add_defaults(&b, &first, r, &(struct upstream_params){.parameters = json_get(p->parameters, proto->options)},
		     proto, true);
	if (buf_failed(&b))
		return E_TOOBIG;
	if (!b.n)
		return 0;
	if (is_object) {
		end = (size_t)(options->raw.p - r->body.p) + options->raw.n - 1;
		add_edit(list, end, end, buf_slice(&b));
	} else if (!options) {
		(void)buf_printf(&root->b, "%s\"%s\":{", root->first ? "" : ",",
				 proto->options); /* checked at the end */
		buf_add(&root->b, buf_slice(&b));
		buf_addc(&root->b, '}');
		root->first = false;
	}
	return 0;
}

/* --- an answer that has begun --- */

static void write_beginning(struct buf *b, const struct upstream_params *p, const struct protocol *proto)
{
	struct json_writer w;

	buf_addc(b, ',');
	jw_init(&w, b);
	jw_object(&w);
	jw_kcstr(&w, "role", proto == &protocol_gemini ? "model" : "assistant");
	if (proto == &protocol_gemini) {
		jw_key(&w, "parts");
		jw_array(&w);
		jw_object(&w);
		jw_kstr(&w, "text", p->prefill);
		jw_object_end(&w);
		jw_array_end(&w);
	} else {
		jw_kstr(&w, "content", p->prefill);
	}
	if (proto == &protocol_openai && p->prefill_style == PREFILL_PREFIX)
		jw_kbool(&w, "prefix", true);
	jw_object_end(&w);
}

/* A text that is completed has the beginning at its end: before the quote that closes its only prompt. */
static int lengthen_prompt(struct arena *a, struct edits *list, const struct chat_request *r,
			   const struct upstream_params *p)
{
	const struct json *prompt = json_get(r->root, "prompt");
	struct buf b;
	size_t end;

	if (prompt && prompt->type == JSON_ARRAY && prompt->n_items == 1)
		prompt = prompt->first;
	if (!wire_is_string(prompt) || !is_inside(r->body, prompt->raw))
		return E_INVALID;
	buf_init_arena(&b, a, p->prefill.n * 6 + 16);
	json_escape(&b, p->prefill);
	end = (size_t)(prompt->raw.p - r->body.p) + prompt->raw.n - 1;
	add_edit(list, end, end, buf_slice(&b));
	return buf_failed(&b) ? E_TOOBIG : 0;
}

/* The last message. */
static int add_beginning(struct arena *a, struct edits *list, const struct chat_request *r,
			 const struct upstream_params *p, const struct protocol *proto)
{
	const struct json *messages = json_get(r->root, proto == &protocol_gemini ? "contents" : "messages");
	struct buf b;
	size_t end;

	if (!messages || messages->type != JSON_ARRAY || !messages->first || !is_inside(r->body, messages->raw))
		return E_INVALID;
	buf_init_arena(&b, a, p->prefill.n * 6 + 128);
	write_beginning(&b, p, proto);
	end = (size_t)(messages->raw.p - r->body.p) + messages->raw.n - 1;
	add_edit(list, end, end, buf_slice(&b));
	return buf_failed(&b) ? E_TOOBIG : 0;
}

/* A flag of ours, whatever the caller said of it. */
static void set_flag(struct edits *list, const struct chat_request *r, struct root *root, const char *name, bool v)
{
	const struct json *there = json_get(r->root, name);

	if (there)
		replace(list, r->body, there->raw, bool_text(v));
	else
		add_member(&root->b, &root->first, slice_from(name), bool_text(v));
}

static int begin_answer(struct arena *a, struct edits *list, const struct chat_request *r,
			const struct upstream_params *p, const struct protocol *proto, struct root *root)
{
	if (!p->prefill.n)
		return 0;
	if (proto == &protocol_openai && p->prefill_style == PREFILL_CONTINUE) {
		set_flag(list, r, root, "continue_final_message", true);
		set_flag(list, r, root, "add_generation_prompt", false);
	}
	return proto == &protocol_openai_completions ? lengthen_prompt(a, list, r, p)
						     : add_beginning(a, list, r, p, proto);
}

/* What is left of the caller's limit. */
static int lower_limit(struct arena *a, struct edits *list, const struct chat_request *r,
		       const struct upstream_params *p, const struct protocol *proto)
{
	static const char *const names[] = {"max_tokens", "max_completion_tokens", "maxOutputTokens"};
	const struct json *where = proto->options ? options_of(r, proto) : r->root;
	const char *left = p->max_tokens ? arena_printf(a, "%lld", (long long)p->max_tokens) : "";

	if (!left)
		return E_TOOBIG;
	for (size_t i = 0; p->max_tokens && i < COUNT_OF(names); i++) {
		const struct json *v = gemini_get(where, names[i]);

		if (v && v->type == JSON_NUMBER)
			replace(list, r->body, v->raw, slice_from(left));
	}
	return 0;
}

/* Everything that goes in front of the root's last brace. */
static int add_missing(struct arena *a, struct edits *list, const struct chat_request *r,
		       const struct upstream_params *p, const struct protocol *proto)
{
	const struct json *stream = json_get(r->root, "stream"), *options = json_get(r->root, "stream_options");
	bool stream_default = proto->streams_unasked, in_path = proto->model_path != NULL;
	struct root root = {.first = !r->root->first};
	size_t end = (size_t)(r->root->raw.p - r->body.p) + r->root->raw.n - 1;
	int rc = 0;

	buf_init_arena(&root.b, a, (size_t)256 * 1024);
	if (!in_path && stream &&
	    (stream->type != JSON_BOOL ? stream_default != p->stream : stream->boolean != p->stream))
		replace(list, r->body, stream->raw, bool_text(p->stream));
	else if (!in_path && !stream && p->stream != stream_default)
		add_member(&root.b, &root.first, SLICE_LIT("stream"), bool_text(p->stream));
	if (options && !in_path)
		edit_stream_options(list, r, options, p->stream, protocol_adds_usage(r, p, proto));
	else if (protocol_adds_usage(r, p, proto))
		add_member(&root.b, &root.first, SLICE_LIT("stream_options"), SLICE_LIT("{\"include_usage\":true}"));
	add_defaults(&root.b, &root.first, r, p, proto, false);
	if (proto->options)
		rc = edit_options(a, list, r, p, proto, &root);
	if (rc == 0)
		rc = begin_answer(a, list, r, p, proto, &root);
	if (rc == 0)
		rc = lower_limit(a, list, r, p, proto);
	if (rc < 0 || buf_failed(&root.b))
		return E_TOOBIG;
	if (root.b.n)
		add_edit(list, end, end, buf_slice(&root.b));
	return 0;
}

static int put(struct iovec *pieces, int max, int *n, const char *p, size_t len)
{
	union {
		const char *in;
		char *out; /* iovec's base is not const; nobody writes there */
	} u = {.in = p};

	if (!len)
		return 0;
	if (*n >= max)
		return E_TOOBIG;
	pieces[(*n)++] = (struct iovec){u.out, len};
	return 0;
}

static int cut(const struct edits *list, struct slice body, struct iovec *pieces, int max)
{
	size_t at = 0;
	int n = 0;

	for (size_t i = 0; i < list->n; i++) {
		const struct edit *e = &list->e[i];

		if (e->from < at || e->to < e->from || e->to > body.n)
			return E_INVALID;
		if (put(pieces, max, &n, body.p + at, e->from - at) < 0 ||
		    put(pieces, max, &n, e->with.p, e->with.n) < 0)
			return E_TOOBIG;
		at = e->to;
	}
	return put(pieces, max, &n, body.p + at, body.n - at) < 0 ? E_TOOBIG : n;
}

/* Names the model wherever the body does; all tokens get the same text. */
static int name_model(struct arena *a, struct edits *list, const struct chat_request *r, const struct slice *raws,
		      size_t n, struct slice name)
{
	struct json_writer w;
	struct buf text;

	buf_init_arena(&text, a, name.n * 6 + 16);
	jw_init(&w, &text);
	jw_str(&w, name);
	if (buf_failed(&text))
		return E_TOOBIG;
	for (size_t i = 0; i < n; i++) {
		if (!is_inside(r->body, raws[i]))
			return E_INVALID;
		replace(list, r->body, raws[i], buf_slice(&text));
	}
	return 0;
}

static int name_models(struct arena *a, struct edits *list, const struct chat_request *r, struct slice model)
{
	struct buf full;

	buf_init_arena(&full, a, model.n + 64);
	gemini_model_name(&full, model);
	return buf_failed(&full) ? E_TOOBIG
				 : name_model(a, list, r, r->embed->models, r->embed->n_models, buf_slice(&full));
}

/* More places than there are pieces: one text. */
static int flatten(struct arena *a, const struct edits *list, struct slice body, struct iovec *pieces)
{
	size_t at = 0;
	struct buf out;

	buf_init_arena(&out, a, SIZE_MAX / 2);
	for (size_t i = 0; i < list->n; i++) {
		const struct edit *e = &list->e[i];

		if (e->from < at || e->to < e->from || e->to > body.n)
			return E_INVALID;
		buf_append(&out, body.p + at, e->from - at);
		buf_add(&out, e->with);
		at = e->to;
	}
	buf_append(&out, body.p + at, body.n - at);
	if (buf_failed(&out))
		return E_TOOBIG;
	pieces[0] = (struct iovec){out.p, out.n};
	return 1;
}

int protocol_splice_request(struct arena *a, const struct chat_request *r, const struct upstream_params *p,
			    const struct protocol *proto, struct iovec *pieces, int max)
{
	size_t n_repeated = r->embed ? r->embed->n_models : 0;
	struct edits list = {.e = ARENA_ARRAY(a, struct edit, MAX_EDITS + n_repeated)};
	int rc = 0;

	if (!list.e)
		return E_TOOBIG;
	if (!r->root || r->root->type != JSON_OBJECT || !is_inside(r->body, r->root->raw))
		return E_INVALID;
	if (r->model_raw.p)
		rc = name_model(a, &list, r, &r->model_raw, 1, p->model);
	if (rc == 0 && n_repeated)
		rc = name_models(a, &list, r, p->model);
	if (rc == 0 && !proto->embeds)
		rc = add_missing(a, &list, r, p, proto);
	if (rc < 0)
		return rc;
	return list.n > MAX_EDITS ? flatten(a, &list, r->body, pieces) : cut(&list, r->body, pieces, max);
}

static bool are_in_order(const struct splice *splices, size_t n)
{
	const char *at = NULL;

	for (size_t i = 0; i < n; i++) {
		if (!splices[i].raw.p)
			continue;
		if (at && splices[i].raw.p < at)
			return false;
		at = splices[i].raw.p;
	}
	return true;
}

/* Those that are there, by place. */
static size_t put_in_order(const struct splice *splices, size_t n, struct splice *ret)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		size_t j = k;

		if (!splices[i].raw.p)
			continue;
		for (; j > 0 && ret[j - 1].raw.p > splices[i].raw.p; j--)
			ret[j] = ret[j - 1];
		ret[j] = splices[i];
		k++;
	}
	return k;
}

int protocol_splice(struct buf *out, struct slice payload, const struct splice *splices, size_t n)
{
	struct splice sorted[PROTOCOL_MAX_SPLICES];
	size_t at = 0;

	if (!are_in_order(splices, n)) {
		if (n > PROTOCOL_MAX_SPLICES)
			return E_TOOBIG;
		n = put_in_order(splices, n, sorted);
		splices = sorted;
	}
	for (size_t i = 0; i < n; i++) {
		const struct splice *s = &splices[i];
		size_t from;

		if (!s->raw.p)
			continue;
		if (!is_inside(payload, s->raw))
			return E_INVALID;
		from = (size_t)(s->raw.p - payload.p);
		if (from < at)
			return E_INVALID;
		buf_append(out, payload.p + at, from - at);
		buf_add(out, s->json);
		at = from + s->raw.n;
	}
	buf_append(out, payload.p + at, payload.n - at);
	return buf_failed(out) ? E_TOOBIG : 0;
}

int protocol_splice_text(struct buf *out, struct slice payload, struct slice text_raw, struct slice text)
{
	struct json_writer w;
	size_t from;

	if (!text_raw.p || !is_inside(payload, text_raw))
		return E_INVALID;
	from = (size_t)(text_raw.p - payload.p);
	buf_append(out, payload.p, from);
	jw_init(&w, out);
	jw_str(&w, text);
	buf_append(out, text_raw.p + text_raw.n, payload.n - from - text_raw.n);
	return buf_failed(out) ? E_TOOBIG : 0;
}
