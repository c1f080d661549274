/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what upstreams send.  Upstreams differ in small things, so reading
 * is lenient where nothing is at stake (a missing total) and strict where it is: an answer that failed is never taken
 * for one that ended well.
 */
#include <stdio.h>

#include "serving/protocol/protocol_internal.h"

int wire_parse(struct arena *a, struct json_parser *jp, struct slice text, struct wire_doc *ret, struct err *err)
{
	struct json *root;
	int rc;

	while (text.n && (*text.p == ' ' || *text.p == '\t' || *text.p == '\n' || *text.p == '\r')) {
		text.p++;
		text.n--;
	}
	rc = json_parse_copy(jp, a, text, NULL, &root, err);
	if (rc < 0)
		return rc;
	*ret = (struct wire_doc){root, text.p};
	return 0;
}

struct slice wire_raw(const struct wire_doc *d, const struct json *node)
{
	return (struct slice){d->original + (node->raw.p - d->root->raw.p), node->raw.n};
}

int texts_add(struct arena *a, struct texts *list, struct slice text, struct slice raw)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 4;
		struct chat_text *t = arena_alloc(a, cap * sizeof(*t));

		if (!t)
			return E_TOOBIG;
		if (list->n)
			memcpy(t, list->t, list->n * sizeof(*t));
		list->t = t;
		list->cap = cap;
	}
	list->t[list->n++] = (struct chat_text){text, raw};
	return 0;
}

int texts_join(struct arena *a, const struct texts *list, struct slice *ret)
{
	size_t n = 0;
	char *to;

	for (size_t i = 0; i < list->n; i++)
		n += list->t[i].text.n + 1;
	to = arena_alloc(a, n + 1);
	if (!to)
		return E_TOOBIG;
	*ret = (struct slice){to, n ? n - 1 : 0};
	for (size_t i = 0; i < list->n; i++) {
		if (list->t[i].text.n)
			memcpy(to, list->t[i].text.p, list->t[i].text.n);
		to += list->t[i].text.n;
		*to++ = '\n';
	}
	return 0;
}

int64_t wire_count(const struct json *v)
{
	return v && v->type == JSON_NUMBER && v->is_integer && v->integer > 0 ? v->integer : 0;
}

struct slice wire_error_message(const struct json *root)
{
	const struct json *e = json_get(root, "error");
	const struct json *candidates[] = {
		json_get(e, "message"),
		e,
		json_get(root, "message"),
		json_get(root, "detail"),
	};

	for (size_t i = 0; i < COUNT_OF(candidates); i++) {
		if (wire_has_text(candidates[i]))
			return candidates[i]->str;
	}
	/* an error without words is still an error: show it as it is */
	return e && e->type != JSON_NULL ? e->raw : (struct slice){NULL, 0};
}

struct slice wire_decode_error(struct arena *a, struct json_parser *jp, struct slice body)
{
	struct wire_doc d;

	if (wire_parse(a, jp, body, &d, NULL) < 0)
		return (struct slice){NULL, 0};
	return wire_error_message(d.root);
}

/* "prompt_tokens_details": {"cached_tokens"}, "completion_tokens_details": {"reasoning_tokens"}. */
static void read_usage_details(const struct json *m, struct chat_usage *ret)
{
	if (KEY_IS(m, "prompt_tokens_details"))
		ret->cached_tokens = wire_count(json_get(m, "cached_tokens"));
	else if (KEY_IS(m, "completion_tokens_details"))
		ret->reasoning_tokens = wire_count(json_get(m, "reasoning_tokens"));
}

struct slice wire_text_in(const struct json *obj, const char *name)
{
	const struct json *v = json_get(obj, name);

	return wire_is_string(v) ? v->str : (struct slice){NULL, 0};
}

void wire_read_usage(const struct json *v, struct chat_usage *ret)
{
	bool says = false;

	if (!v || v->type != JSON_OBJECT)
		return;
	*ret = (struct chat_usage){0};
	for (const struct json *m = v->first; m; m = m->next) {
		if (m->type == JSON_OBJECT)
			read_usage_details(m, ret);
		if (m->type != JSON_NUMBER)
			continue;
		if (KEY_IS(m, "prompt_tokens"))
			ret->prompt_tokens = wire_count(m);
		else if (KEY_IS(m, "completion_tokens"))
			ret->completion_tokens = wire_count(m);
		else if (KEY_IS(m, "total_tokens"))
			ret->total_tokens = wire_count(m);
		else if (KEY_IS(m, "prompt_cache_hit_tokens") && !ret->cached_tokens) /* DeepSeek's */
			ret->cached_tokens = wire_count(m);
		else
			continue;
		says = true;
	}
	ret->known = says;
	if (!ret->total_tokens && ret->prompt_tokens <= INT64_MAX - ret->completion_tokens)
		ret->total_tokens = ret->prompt_tokens + ret->completion_tokens;
}

void wire_write_usage(struct json_writer *w, const struct chat_usage *u)
{
	jw_object(w);
	jw_ki64(w, "prompt_tokens", u->prompt_tokens);
	jw_ki64(w, "completion_tokens", u->completion_tokens);
	jw_ki64(w, "total_tokens", u->total_tokens);
	if (u->cached_tokens) {
		jw_key(w, "prompt_tokens_details");
		jw_object(w);
		jw_ki64(w, "cached_tokens", u->cached_tokens);
		jw_object_end(w);
	}
	if (u->reasoning_tokens) {
		jw_key(w, "completion_tokens_details");
		jw_object(w);
		jw_ki64(w, "reasoning_tokens", u->reasoning_tokens);
		jw_object_end(w);
	}
	jw_object_end(w);
}

int wire_finish(struct slice reason, enum chat_finish *ret)
{
	static const struct {
		const char *name;
		int finish; /* or E_INVALID */
	} table[] = {
		{"stop", CHAT_FINISH_STOP},
		{"length", CHAT_FINISH_LENGTH},
		{"tool_calls", CHAT_FINISH_TOOL_CALLS},
		{"content_filter", CHAT_FINISH_CONTENT_FILTER},
		{"function_call", CHAT_FINISH_TOOL_CALLS},
		{"max_tokens", CHAT_FINISH_LENGTH},
		{"model_length", CHAT_FINISH_LENGTH},
		{"error", E_INVALID},
		{"abort", E_INVALID},
		{"insufficient_system_resource", E_INVALID},
	};

	for (size_t i = 0; i < COUNT_OF(table); i++) {
		if (!slice_eq_str(reason, table[i].name))
			continue;
		if (table[i].finish < 0)
			return table[i].finish;
		*ret = (enum chat_finish)table[i].finish;
		return 0;
	}
	*ret = CHAT_FINISH_STOP; /* "eos", "end_turn", ...: it ended by itself */
	return 0;
}

enum chat_finish wire_finish_of(enum chat_finish said, bool calls)
{
	if (calls && said == CHAT_FINISH_STOP)
		return CHAT_FINISH_TOOL_CALLS;
	return !calls && said == CHAT_FINISH_TOOL_CALLS ? CHAT_FINISH_STOP : said;
}

void request_write_parameters(struct json_writer *w, const struct chat_request *r, const char *max_tokens_name)
{
	if (r->has_max_tokens)
		jw_ki64(w, max_tokens_name, r->max_tokens);
	if (r->has_temperature)
		jw_kdouble(w, "temperature", r->temperature);
	if (r->has_top_p)
		jw_kdouble(w, "top_p", r->top_p);
	if (r->has_seed)
		jw_ki64(w, "seed", r->seed);
	if (!r->n_stop)
		return;
	jw_key(w, "stop");
	jw_array(w);
	for (size_t i = 0; i < r->n_stop; i++)
		jw_str(w, r->stop[i]);
	jw_array_end(w);
}

struct slice protocol_call_id(const struct answer_meta *m, unsigned number, char made[PROTOCOL_CALL_ID_SIZE])
{
	snprintf(made, PROTOCOL_CALL_ID_SIZE, "call_%.*s_%u", (int)min_size(m->answer_id.n, 64), m->answer_id.p,
		 number); /* it fits */
	return slice_from(made);
}

void wire_write_call_id(struct json_writer *w, const char *key, struct slice id, const struct answer_meta *m,
			unsigned n)
{
	char made[PROTOCOL_CALL_ID_SIZE];

	jw_kstr(w, key, id.n ? id : protocol_call_id(m, n, made));
}
