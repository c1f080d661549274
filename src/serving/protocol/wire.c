/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what upstreams send, and what a translation carries or drops.  Upstreams differ in small things, so reading
 * is lenient where nothing is at stake (a missing total) and strict where it is: an answer that failed is never taken
 * for one that ended well.
 */
#include "serving/protocol/protocol_internal.h"

#define DROPPED_NAME_MAX 64

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

void wire_read_usage(const struct json *v, struct chat_usage *ret)
{
	bool says = false;

	if (!v || v->type != JSON_OBJECT)
		return;
	*ret = (struct chat_usage){0};
	for (const struct json *m = v->first; m; m = m->next) {
		if (m->type != JSON_NUMBER)
			continue;
		if (KEY_IS(m, "prompt_tokens"))
			ret->prompt_tokens = wire_count(m);
		else if (KEY_IS(m, "completion_tokens"))
			ret->completion_tokens = wire_count(m);
		else if (KEY_IS(m, "total_tokens"))
			ret->total_tokens = wire_count(m);
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

bool request_names(const struct chat_request *r, struct slice parameter)
{
	if (slice_eq_str(parameter, "max_tokens") || slice_eq_str(parameter, "max_completion_tokens") ||
	    slice_eq_str(parameter, "num_predict"))
		return r->has_max_tokens;
	if (slice_eq_str(parameter, "temperature"))
		return r->has_temperature;
	if (slice_eq_str(parameter, "top_p"))
		return r->has_top_p;
	if (slice_eq_str(parameter, "seed"))
		return r->has_seed;
	if (slice_eq_str(parameter, "stop"))
		return r->n_stop > 0;
	return false;
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

static bool is_plain_name(struct slice s)
{
	if (!s.n || s.n > DROPPED_NAME_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
		      c == '-' || c == '.' || c == '[' || c == ']'))
			return false;
	}
	return true;
}

void dropped_add(struct dropped_params *d, struct slice name)
{
	if (!is_plain_name(name))
		name = SLICE_LIT("other");
	for (size_t i = 0; i < d->n; i++) {
		if (slice_eq(d->name[i], name))
			return;
	}
	if (d->n < DROPPED_MAX)
		d->name[d->n++] = name;
}

/* Kinds of parts and members that a message of text cannot carry, and how they are called to the caller. */
static const struct {
	const char *name;
	struct slice shown;
} message_extras[] = {
	{"image_url", {"messages[].image_url", 20}},
	{"input_audio", {"messages[].input_audio", 22}},
	{"file", {"messages[].file", 15}},
	{"tool_calls", {"messages[].tool_calls", 21}},
	{"function_call", {"messages[].function_call", 24}},
	{"audio", {"messages[].audio", 16}},
	{"images", {"messages[].images", 17}},
};

static struct slice shown_extra(struct slice name)
{
	for (size_t i = 0; i < COUNT_OF(message_extras); i++) {
		if (slice_eq_str(name, message_extras[i].name))
			return message_extras[i].shown;
	}
	return (struct slice){NULL, 0};
}

static void dropped_of_message(const struct json *node, struct dropped_params *d)
{
	for (const struct json *v = node->first; v; v = v->next) {
		struct slice shown = shown_extra(v->key);

		if (shown.n && v->type != JSON_NULL)
			dropped_add(d, shown);
		if (!KEY_IS(v, "content") || v->type != JSON_ARRAY)
			continue;
		for (const struct json *part = v->first; part; part = part->next) {
			const struct json *type = json_get(part, "type");

			if (!wire_is_string(type) || slice_eq_str(type->str, "text") ||
			    slice_eq_str(type->str, "refusal"))
				continue;
			shown = shown_extra(type->str);
			dropped_add(d, shown.n ? shown : SLICE_LIT("messages[].content"));
		}
	}
}

static bool is_carried(const struct json *v, const char *const *carried, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (slice_eq_str(v->key, carried[i]))
			return true;
	}
	/* one choice is what everyone gives */
	return KEY_IS(v, "n") && v->is_integer && v->integer == 1;
}

void dropped_of_request(const struct chat_request *r, const char *const *carried, size_t n_carried,
			struct dropped_params *d)
{
	if (r->root && r->root->type == JSON_OBJECT) {
		for (const struct json *v = r->root->first; v; v = v->next) {
			if (v->type != JSON_NULL && !is_carried(v, carried, n_carried))
				dropped_add(d, v->key);
		}
	}
	for (size_t i = 0; i < r->n_messages; i++) {
		if (r->messages[i].has_other && r->messages[i].node)
			dropped_of_message(r->messages[i].node, d);
	}
}
