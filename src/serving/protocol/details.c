/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only translations read of a request, and what they drop.  Every member of the caller's body ends up in one of
 * three places: in struct chat_request, in its details, or in the list of what no other protocol knows; a member that
 * is in none of them would be dropped in silence.
 */
#include "serving/protocol/protocol_internal.h"

#define DROPPED_NAME_MAX 64

int protocol_complete(const struct protocol *front, struct arena *a, struct chat_request *r, const char **ret_param,
		      struct err *err)
{
	int rc;

	*ret_param = NULL;
	if (r->details || !front->decode_details)
		return 0;
	rc = front->decode_details(a, r, ret_param, err);
	if (rc < 0)
		r->details = NULL;
	return rc;
}

const struct chat_details *request_details(const struct chat_request *r)
{
	static const struct chat_details none;

	return r->details ? r->details : &none;
}

enum chat_role request_role(const struct chat_request *r, size_t i)
{
	if (i + 1 != r->n_messages || r->messages[i].role != CHAT_SYSTEM)
		return r->messages[i].role;
	for (size_t k = 0; k < i; k++)
		if (r->messages[k].role != CHAT_SYSTEM)
			return CHAT_SYSTEM;
	return CHAT_USER;
}

bool request_says(const struct chat_request *r, enum chat_param param)
{
	return request_details(r)->said[param].name.n > 0;
}

/* --- reading --- */

static int add_unknown(struct front *f, struct slice name)
{
	struct chat_details *d = f->r->details;

	if (d->n_unknown >= DROPPED_MAX)
		return 0; /* more would not be named either */
	if (!d->unknown)
		d->unknown = ARENA_ARRAY(f->a, struct slice, DROPPED_MAX);
	if (!d->unknown)
		return front_too_big(f);
	d->unknown[d->n_unknown++] = name;
	return 0;
}

int details_unknown(struct front *f, struct slice name)
{
	return add_unknown(f, name);
}

static const struct detail_member *find_detail(const struct detail_member *table, size_t n, struct slice key)
{
	for (size_t i = 0; i < n; i++) {
		if (slice_eq_str(key, table[i].name))
			return &table[i];
	}
	return NULL;
}

/* Members with the value that they have unsaid: leaving them out changes nothing. */
static bool asks_for_nothing(const struct json *v)
{
	static const struct {
		const char *name, *value;
	} usual[] = {
		{"store", "false"},	    {"background", "false"},	     {"service_tier", "\"auto\""},
		{"modalities", "\"text\""}, {"service_tier", "\"default\""}, {"responseModalities", "\"TEXT\""},
	};
	const struct json *only = v->type == JSON_ARRAY && v->first && !v->first->next ? v->first : v;

	for (size_t i = 0; i < COUNT_OF(usual); i++)
		if (slice_eq_str(v->key, usual[i].name) && slice_eq_str(only->raw, usual[i].value))
			return true;
	return (v->type == JSON_ARRAY || v->type == JSON_OBJECT) && !v->first;
}

int details_walk(struct front *f, const struct detail_member *table, size_t n)
{
	int rc = 0;

	f->r->details = ARENA_NEW(f->a, struct chat_details);
	if (!f->r->details)
		return front_too_big(f);
	for (const struct json *v = f->r->root->first; v && rc == 0; v = v->next) {
		const struct detail_member *m = find_detail(table, n, v->key);

		if (v->type == JSON_NULL)
			continue;
		if (!m) {
			rc = asks_for_nothing(v) ? 0 : add_unknown(f, v->key);
			continue;
		}
		*f->ret_param = m->name;
		if (m->param < CHAT_PARAMS) {
			if (f->r->details->said[m->param].value &&
			    m->read) /* which of them the model would obey is open */
				return err_set(f->err, E_INVALID, "%s is given twice: name it once", m->name);
			f->r->details->said[m->param] = (struct chat_said){v->key, v};
		}
		if (m->read)
			rc = m->read(f, v);
	}
	if (rc == 0)
		*f->ret_param = NULL;
	return rc;
}

void details_unsay(struct front *f, enum chat_param param)
{
	f->r->details->said[param] = (struct chat_said){0};
}

struct chat_part *parts_add(struct arena *a, struct parts *list, enum chat_part_kind kind)
{
	struct chat_part *p;

	if (list->n == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 4;

		p = arena_alloc(a, cap * sizeof(*p));
		if (!p)
			return NULL;
		if (list->n)
			memcpy(p, list->p, list->n * sizeof(*p));
		list->p = p;
		list->cap = cap;
	}
	p = &list->p[list->n++];
	*p = (struct chat_part){.kind = kind, .text = SLICE_LIT("")};
	return p;
}

int parts_put(struct front *f, struct parts *list, enum chat_part_kind kind, struct chat_part part)
{
	struct chat_part *p = parts_add(f->a, list, kind);

	if (!p)
		return front_too_big(f);
	part.kind = kind;
	if (!part.text.p)
		part.text = SLICE_LIT("");
	*p = part;
	return 0;
}

int details_tool(struct front *f, const struct json *v, struct chat_tool *t, const char *nameless)
{
	const struct json *strict = json_get(v, "strict");

	t->name = wire_text_in(v, "name");
	t->description = wire_text_in(v, "description");
	t->has_strict = strict && strict->type == JSON_BOOL;
	t->strict = t->has_strict && strict->boolean;
	return t->name.n ? 0 : front_bad(f, nameless);
}

void parts_reasoning_first(struct chat_part *parts, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct chat_part p = parts[i];
		size_t k = i;

		if (p.kind != CHAT_PART_REASONING)
			continue;
		for (; k && parts[k - 1].kind != CHAT_PART_REASONING; k--)
			parts[k] = parts[k - 1];
		parts[k] = p;
	}
}

bool part_data_url(struct slice url, struct chat_part *p)
{
	static const struct slice scheme = {"data:", 5}, base64 = {";base64,", 8};
	ptrdiff_t at = slice_starts(url, scheme) ? slice_find(slice_sub(url, 0, 256), base64) : -1;

	if (at < 0)
		return false;
	p->media_type = slice_sub(url, scheme.n, (size_t)at - scheme.n);
	p->data = slice_sub(url, (size_t)at + base64.n, url.n);
	/* parameters (";charset=") say nothing of an image */
	at = slice_chr(p->media_type, ';');
	if (at >= 0)
		p->media_type = slice_sub(p->media_type, 0, (size_t)at);
	return true;
}

struct slice call_ids_add(struct arena *a, struct call_ids *c, struct slice id, struct slice name)
{
	if (!id.n)
		id = slice_from(arena_printf(a, "call_%u", c->n_calls));
	c->n_calls++;
	if (c->n < CALL_IDS_MAX) {
		c->id[c->n] = id;
		c->name[c->n++] = name;
	}
	return id;
}

struct slice call_ids_of_result(struct call_ids *c, struct slice name)
{
	for (size_t i = 0; i < c->n; i++) {
		struct slice id = c->id[i];

		if (!id.n || (name.n && !slice_eq(c->name[i], name)))
			continue;
		c->id[i] = (struct slice){NULL, 0};
		return id;
	}
	return name;
}

struct slice request_name_of_call(const struct chat_request *r, const struct chat_part *result)
{
	if (result->name.n)
		return result->name;
	for (size_t i = r->n_messages; i > 0; i--) {
		const struct chat_message *m = &r->messages[i - 1];

		for (size_t k = 0; k < m->n_parts; k++)
			if (m->parts[k].kind == CHAT_PART_TOOL_CALL && slice_eq(m->parts[k].id, result->id))
				return m->parts[k].name;
	}
	return result->id;
}

/* --- what a translation drops --- */

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

void protocol_dropped(struct dropped_params *d, struct slice name)
{
	dropped_add(d, name);
}

void dropped_param(struct dropped_params *d, const struct chat_request *r, enum chat_param param)
{
	if (request_says(r, param))
		dropped_add(d, r->details->said[param].name);
}

void dropped_part(struct dropped_params *d, const struct chat_part *p)
{
	static const struct slice names[] = {
		[CHAT_PART_TEXT] = {"messages[].text", 15},
		[CHAT_PART_REASONING] = {"messages[].reasoning", 20},
		[CHAT_PART_REFUSAL] = {"messages[].refusal", 18},
		[CHAT_PART_TOOL_CALL] = {"messages[].tool_calls", 21},
		[CHAT_PART_TOOL_RESULT] = {"messages[].tool_result", 22},
		[CHAT_PART_IMAGE] = {"messages[].image", 16},
		[CHAT_PART_OTHER] = {"messages[].content", 18},
	};

	dropped_add(d, p->label.n ? p->label : names[p->kind]);
}

/* Whether a parameter says what happens without it: one choice is what everyone gives. */
static bool is_usual(const struct chat_request *r, enum chat_param param)
{
	const struct json *v = request_details(r)->said[param].value;

	switch ((int)param) {
	case CHAT_PARAM_CHOICES:
		return r->n_choices <= 1;
	case CHAT_PARAM_PARALLEL:
		return request_details(r)->parallel;
	case CHAT_PARAM_LOGPROBS:
		return v && v->type == JSON_BOOL && !v->boolean;
	case CHAT_PARAM_TOP_LOGPROBS:
	case CHAT_PARAM_FREQUENCY_PENALTY:
	case CHAT_PARAM_PRESENCE_PENALTY:
		return v && v->type == JSON_NUMBER && !(v->number > 0 || v->number < 0);
	case CHAT_PARAM_LOGIT_BIAS:
	case CHAT_PARAM_TOOLS:
		return v && !v->first;
	default:
		return false;
	}
}

void dropped_of_request(const struct chat_request *r, unsigned carries, unsigned parts, struct dropped_params *d)
{
	const struct chat_details *more = request_details(r);

	for (size_t i = 0; i < more->n_unknown; i++)
		dropped_add(d, more->unknown[i]);
	for (unsigned i = 0; i < CHAT_PARAMS; i++) {
		if (!(carries & CHAT_CARRIES(i)) && !is_usual(r, (enum chat_param)i))
			dropped_param(d, r, (enum chat_param)i);
	}
	for (size_t i = 0; i < r->n_messages; i++) {
		const struct chat_message *m = &r->messages[i];

		for (size_t k = 0; k < m->n_parts; k++) {
			if (!(parts & (1u << m->parts[k].kind)))
				dropped_part(d, &m->parts[k]);
		}
	}
}

/* The names that a model's default parameters may have for what a caller says. */
static const struct {
	const char *name;
	enum chat_param param;
} parameter_names[] = {
	{"max_tokens", CHAT_PARAM_MAX_TOKENS},
	{"max_completion_tokens", CHAT_PARAM_MAX_TOKENS},
	{"num_predict", CHAT_PARAM_MAX_TOKENS},
	{"temperature", CHAT_PARAM_TEMPERATURE},
	{"top_p", CHAT_PARAM_TOP_P},
	{"top_k", CHAT_PARAM_TOP_K},
	{"min_p", CHAT_PARAM_MIN_P},
	{"seed", CHAT_PARAM_SEED},
	{"stop", CHAT_PARAM_STOP},
	{"stop_sequences", CHAT_PARAM_STOP},
	{"frequency_penalty", CHAT_PARAM_FREQUENCY_PENALTY},
	{"presence_penalty", CHAT_PARAM_PRESENCE_PENALTY},
	{"tools", CHAT_PARAM_TOOLS},
	{"tool_choice", CHAT_PARAM_TOOL_CHOICE},
	{"parallel_tool_calls", CHAT_PARAM_PARALLEL},
	{"response_format", CHAT_PARAM_FORMAT},
	{"format", CHAT_PARAM_FORMAT},
	{"output_config", CHAT_PARAM_FORMAT},
	{"reasoning_effort", CHAT_PARAM_REASONING},
	{"thinking", CHAT_PARAM_REASONING},
	{"think", CHAT_PARAM_REASONING},
	{"user", CHAT_PARAM_USER},
	{"metadata", CHAT_PARAM_USER},
	{"logprobs", CHAT_PARAM_LOGPROBS},
	{"top_logprobs", CHAT_PARAM_TOP_LOGPROBS},
	{"logit_bias", CHAT_PARAM_LOGIT_BIAS},
};

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
	if (slice_eq_str(parameter, "stop") || slice_eq_str(parameter, "stop_sequences"))
		return r->n_stop > 0;
	for (size_t i = 0; i < COUNT_OF(parameter_names); i++) {
		if (slice_eq_str(parameter, parameter_names[i].name))
			return request_says(r, parameter_names[i].param);
	}
	return false;
}

void request_write_said(struct json_writer *w, const struct chat_request *r, enum chat_param param, const char *name)
{
	if (request_says(r, param))
		jw_kraw(w, name, r->details->said[param].value->raw);
}

void request_write_defaults(struct json_writer *w, const struct chat_request *r, const struct json *parameters,
			    const char *const *ours)
{
	for (const struct json *v = parameters ? parameters->first : NULL; v; v = v->next) {
		bool skip = request_names(r, v->key);

		for (size_t i = 0; ours[i] && !skip; i++)
			skip = slice_eq_str(v->key, ours[i]);
		if (skip)
			continue;
		jw_key_slice(w, v->key);
		jw_raw(w, v->raw);
	}
}
