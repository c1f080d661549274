/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of another protocol as Ollama's /api/chat takes it.  It streams unless told otherwise, so `stream` is
 * always written.  Results of tools are messages of their own that go by the function's name; images are base64 without
 * a media type.  There is no choice of tools: none is asked for by giving none.
 */
#include "serving/protocol/ollama_internal.h"

#define CARRIES                                                                                                        \
	(CHAT_CARRIES(CHAT_PARAM_MAX_TOKENS) | CHAT_CARRIES(CHAT_PARAM_TEMPERATURE) | CHAT_CARRIES(CHAT_PARAM_TOP_P) | \
	 CHAT_CARRIES(CHAT_PARAM_TOP_K) | CHAT_CARRIES(CHAT_PARAM_MIN_P) | CHAT_CARRIES(CHAT_PARAM_SEED) |             \
	 CHAT_CARRIES(CHAT_PARAM_STOP) | CHAT_CARRIES(CHAT_PARAM_FREQUENCY_PENALTY) |                                  \
	 CHAT_CARRIES(CHAT_PARAM_PRESENCE_PENALTY) | CHAT_CARRIES(CHAT_PARAM_TOOLS) |                                  \
	 CHAT_CARRIES(CHAT_PARAM_FORMAT) | CHAT_CARRIES(CHAT_PARAM_REASONING))
#define PARTS                                                                                                     \
	(1u << CHAT_PART_TEXT | 1u << CHAT_PART_REASONING | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_CALL | \
	 1u << CHAT_PART_TOOL_RESULT | 1u << CHAT_PART_IMAGE)

/* --- messages --- */

static bool is_words(const struct chat_part *p, bool reasoning)
{
	if (reasoning)
		return p->kind == CHAT_PART_REASONING && !p->redacted && p->text.n;
	return p->kind == CHAT_PART_TEXT || p->kind == CHAT_PART_REFUSAL;
}

/* The words of its parts, one a line. */
static void write_words(struct json_writer *w, const char *key, const struct chat_message *m, bool reasoning)
{
	struct buf all;
	size_t n = 0;

	buf_init(&all, w->out->max);
	for (size_t i = 0; i < m->n_parts; i++) {
		if (!is_words(&m->parts[i], reasoning))
			continue;
		if (n++)
			buf_addc(&all, '\n');
		buf_add(&all, m->parts[i].text);
	}
	if (!reasoning || n)
		jw_kstr(w, key, n ? buf_slice(&all) : m->parts ? SLICE_LIT("") : m->text);
	w->out->failed |= buf_failed(&all);
	buf_release(&all);
}

static void write_images(struct json_writer *w, const struct chat_part *parts, size_t n, struct dropped_params *dropped)
{
	size_t n_written = 0;

	for (size_t i = 0; i < n; i++) {
		if (parts[i].kind != CHAT_PART_IMAGE)
			continue;
		if (!parts[i].data.n) {
			dropped_part(dropped, &parts[i]); /* an address is not fetched there */
			continue;
		}
		if (!n_written++) {
			jw_key(w, "images");
			jw_array(w);
		}
		jw_str(w, parts[i].data);
	}
	if (n_written)
		jw_array_end(w);
}

static void write_calls(struct json_writer *w, const struct chat_message *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_parts; i++) {
		const struct chat_part *p = &m->parts[i];

		if (p->kind != CHAT_PART_TOOL_CALL)
			continue;
		if (!n++) {
			jw_key(w, "tool_calls");
			jw_array(w);
		}
		jw_object(w);
		if (p->id.n)
			jw_kstr(w, "id", p->id);
		jw_key(w, "function");
		jw_object(w);
		jw_kstr(w, "name", p->name);
		jw_key(w, "arguments");
		wire_write_object(w, p->text);
		jw_object_end(w);
		jw_object_end(w);
	}
	if (n)
		jw_array_end(w);
}

static void write_result(struct json_writer *w, const struct chat_request *r, const struct chat_part *p,
			 struct dropped_params *dropped)
{
	jw_object(w);
	jw_kcstr(w, "role", "tool");
	jw_kstr(w, "content", p->text);
	jw_kstr(w, "tool_name", request_name_of_call(r, p));
	if (p->id.n)
		jw_kstr(w, "tool_call_id", p->id);
	write_images(w, p->parts, p->n_parts, dropped);
	jw_object_end(w);
	for (size_t i = 0; i < p->n_parts; i++)
		if (p->parts[i].kind != CHAT_PART_TEXT && p->parts[i].kind != CHAT_PART_IMAGE)
			dropped_part(dropped, &p->parts[i]);
}

static void write_message(struct json_writer *w, const struct chat_request *r, const struct chat_message *m,
			  struct dropped_params *dropped)
{
	size_t n_results = 0;

	for (size_t i = 0; i < m->n_parts; i++) {
		const struct chat_part *p = &m->parts[i];

		if (p->kind == CHAT_PART_TOOL_RESULT) {
			write_result(w, r, p, dropped);
			n_results++;
		} else if (p->kind == CHAT_PART_REASONING && !is_words(p, true)) {
			dropped_part(dropped, p);
		}
	}
	if (n_results && (n_results == m->n_parts || m->role == CHAT_TOOL))
		return;
	jw_object(w);
	jw_kcstr(w, "role", chat_role_name(m->role));
	write_words(w, "content", m, false);
	write_words(w, "thinking", m, true);
	write_images(w, m->parts, m->n_parts, dropped);
	write_calls(w, m);
	jw_object_end(w);
}

/* --- the rest --- */

static void write_format(struct json_writer *w, const struct chat_details *d)
{
	if (d->format == CHAT_FORMAT_JSON)
		jw_kcstr(w, "format", "json");
	else if (d->format == CHAT_FORMAT_SCHEMA)
		jw_kraw(w, "format", d->schema);
}

static const char *level_name(const struct chat_details *d)
{
	switch (d->effort) {
	case CHAT_EFFORT_UNSAID:
	case CHAT_EFFORT_NONE:
		break;
	case CHAT_EFFORT_MINIMAL:
	case CHAT_EFFORT_LOW:
		return "low";
	case CHAT_EFFORT_MEDIUM:
		return "medium";
	case CHAT_EFFORT_HIGH:
	case CHAT_EFFORT_MAX:
		return "high";
	}
	/* a number of tokens has no place here: what it comes to */
	return d->reasoning_budget <= 2048 ? "low" : d->reasoning_budget <= 16384 ? "medium" : "high";
}

/* Models of one family take a level; all others that think refuse one, and are told whether to. */
static void write_think(struct json_writer *w, const struct chat_details *d, struct slice model)
{
	if (d->effort == CHAT_EFFORT_NONE)
		jw_kbool(w, "think", false);
	else if (d->effort == CHAT_EFFORT_UNSAID && !d->reasoning_budget)
		return;
	else if (slice_has_nocase(model, SLICE_LIT("gpt-oss")))
		jw_kcstr(w, "think", level_name(d));
	else
		jw_kbool(w, "think", true);
}

static bool is_ours(const struct json *v)
{
	return KEY_IS(v, "model") || KEY_IS(v, "messages") || KEY_IS(v, "stream") || KEY_IS(v, "stream_options") ||
	       KEY_IS(v, "options");
}

struct slice ollama_option_name(struct slice parameter)
{
	static const char *const in_root[] = {"keep_alive", "format", "think"};

	for (size_t i = 0; i < COUNT_OF(in_root); i++)
		if (slice_eq_str(parameter, in_root[i]))
			return (struct slice){NULL, 0};
	return slice_eq_str(parameter, "max_tokens") || slice_eq_str(parameter, "max_completion_tokens")
		       ? SLICE_LIT("num_predict")
		       : parameter;
}

/* in_options: those that stand among the options, or those beside them. */
static void write_defaults(struct json_writer *w, const struct chat_request *r, const struct json *parameters,
			   bool in_options)
{
	for (const struct json *v = parameters ? parameters->first : NULL; v; v = v->next) {
		struct slice name = ollama_option_name(v->key);

		if (is_ours(v) || (name.p != NULL) != in_options || request_names(r, v->key))
			continue;
		jw_key_slice(w, name.p ? name : v->key);
		jw_raw(w, v->raw);
	}
}

static void write_options(struct json_writer *w, const struct chat_request *r, const struct json *parameters)
{
	jw_key(w, "options");
	jw_object(w);
	request_write_parameters(w, r, "num_predict");
	request_write_said(w, r, CHAT_PARAM_TOP_K, "top_k");
	request_write_said(w, r, CHAT_PARAM_MIN_P, "min_p");
	request_write_said(w, r, CHAT_PARAM_FREQUENCY_PENALTY, "frequency_penalty");
	request_write_said(w, r, CHAT_PARAM_PRESENCE_PENALTY, "presence_penalty");
	write_defaults(w, r, parameters, true);
	/* the model's defaults may hold options in Ollama's own shape */
	write_defaults(w, r, json_get(parameters, "options"), true);
	jw_object_end(w);
}

/* What is there by itself is carried too. */
static unsigned carried(const struct chat_details *d)
{
	unsigned carries = CARRIES;

	if (d->tool_choice == CHAT_TOOLS_AUTO || d->tool_choice == CHAT_TOOLS_NONE)
		carries |= CHAT_CARRIES(CHAT_PARAM_TOOL_CHOICE);
	if (d->parallel)
		carries |= CHAT_CARRIES(CHAT_PARAM_PARALLEL);
	return carries;
}

int ollama_encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped)
{
	const struct chat_details *d = request_details(r);
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kstr(&w, "model", p->model);
	jw_key(&w, "messages");
	jw_array(&w);
	for (size_t i = 0; i < r->n_messages; i++)
		write_message(&w, r, &r->messages[i], dropped);
	jw_array_end(&w);
	jw_kbool(&w, "stream", p->stream);
	if (d->tool_choice != CHAT_TOOLS_NONE)
		openai_write_tools(&w, d);
	write_format(&w, d);
	write_think(&w, d, p->model);
	write_defaults(&w, r, p->parameters, false);
	write_options(&w, r, p->parameters);
	jw_object_end(&w);
	dropped_of_request(r, carried(d), PARTS, dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}
