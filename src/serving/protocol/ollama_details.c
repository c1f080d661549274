/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ollama's /api/chat and /api/generate: what only a translation reads of a request.  Images have no media type there,
 * so the beginning of their bytes says it.
 */
#include "serving/protocol/ollama_internal.h"

struct details {
	struct front *f;
	struct call_ids calls; /* of the assistant's last message */
};

/* --- messages --- */

static struct slice media_type_of(struct slice base64)
{
	static const struct {
		struct slice begins, type;
	} types[] = {
		{{"/9j/", 4}, {"image/jpeg", 10}},
		{{"R0lGOD", 6}, {"image/gif", 9}},
		{{"UklGR", 5}, {"image/webp", 10}},
	};

	for (size_t i = 0; i < COUNT_OF(types); i++)
		if (slice_starts(base64, types[i].begins))
			return types[i].type;
	return SLICE_LIT("image/png");
}

static int add_images(struct front *f, const struct json *images, struct slice label, struct parts *list)
{
	int rc = 0;

	for (const struct json *v = images ? images->first : NULL; v && rc == 0; v = v->next) {
		if (!wire_has_text(v)) {
			*f->ret_param = "images";
			return err_set(f->err, E_INVALID, "images must hold images in base64");
		}
		rc = parts_put(f, list, CHAT_PART_IMAGE,
			       (struct chat_part){.media_type = media_type_of(v->str), .data = v->str, .label = label});
	}
	return rc;
}

static int read_call(struct details *d, const struct json *call, struct parts *list)
{
	const struct json *function = json_get(call, "function"), *arguments = json_get(function, "arguments");
	struct chat_part p = {.name = wire_text_in(function, "name"), .label = SLICE_LIT("messages[].tool_calls")};

	if (!p.name.n) {
		*d->f->ret_param = "messages";
		return err_set(d->f->err, E_INVALID, "a tool call in messages must have function.name");
	}
	p.id = call_ids_add(d->f->a, &d->calls, wire_text_in(call, "id"), p.name);
	if (arguments && arguments->type == JSON_OBJECT)
		p.text = arguments->raw;
	else if (wire_is_string(arguments))
		p.text = arguments->str;
	return parts_put(d->f, list, CHAT_PART_TOOL_CALL, p);
}

static int read_result(struct details *d, struct chat_message *m, struct parts *list)
{
	struct chat_part p = {.text = m->text,
			      .name = wire_text_in(m->node, "tool_name"),
			      .id = wire_text_in(m->node, "tool_call_id"),
			      .label = SLICE_LIT("messages[].tool")};
	struct parts images = {0};
	int rc;

	if (!p.name.n)
		p.name = wire_text_in(m->node, "name");
	if (!p.id.n)
		p.id = call_ids_of_result(&d->calls, p.name);
	rc = add_images(d->f, json_get(m->node, "images"), SLICE_LIT("messages[].images"), &images);
	p.parts = images.p;
	p.n_parts = images.n;
	return rc < 0 ? rc : parts_put(d->f, list, CHAT_PART_TOOL_RESULT, p);
}

static int read_said(struct details *d, struct chat_message *m, struct parts *list)
{
	const struct json *calls = json_get(m->node, "tool_calls");
	struct chat_part thought = {.text = wire_text_in(m->node, "thinking"),
				    .label = SLICE_LIT("messages[].thinking")};
	int rc = 0;

	if (m->role == CHAT_ASSISTANT)
		d->calls.n = 0;
	if (thought.text.n)
		rc = parts_put(d->f, list, CHAT_PART_REASONING, thought);
	if (rc == 0 && m->text.n)
		rc = parts_put(d->f, list, CHAT_PART_TEXT, (struct chat_part){.text = m->text});
	if (rc == 0)
		rc = add_images(d->f, json_get(m->node, "images"), SLICE_LIT("messages[].images"), list);
	for (const struct json *v = calls ? calls->first : NULL; v && rc == 0; v = v->next)
		rc = read_call(d, v, list);
	return rc;
}

static int read_message(struct details *d, struct chat_message *m)
{
	const struct json *content = json_get(m->node, "content");
	struct parts list = {0};
	int rc;

	if (content && content->type == JSON_ARRAY) {
		*d->f->ret_param = "messages";
		return err_set(d->f->err, E_INVALID, "content in messages must be a string; images stand in images");
	}
	rc = m->role == CHAT_TOOL ? read_result(d, m, &list) : read_said(d, m, &list);
	m->parts = list.p;
	m->n_parts = list.n;
	return rc;
}

/* --- options and the rest --- */

static const struct {
	const char *name;
	enum chat_param param;
} options[] = {
	{"num_predict", CHAT_PARAM_MAX_TOKENS},
	{"temperature", CHAT_PARAM_TEMPERATURE},
	{"top_p", CHAT_PARAM_TOP_P},
	{"top_k", CHAT_PARAM_TOP_K},
	{"min_p", CHAT_PARAM_MIN_P},
	{"seed", CHAT_PARAM_SEED},
	{"stop", CHAT_PARAM_STOP},
	{"frequency_penalty", CHAT_PARAM_FREQUENCY_PENALTY},
	{"presence_penalty", CHAT_PARAM_PRESENCE_PENALTY},
};

static int read_option(struct front *f, const struct json *v)
{
	for (size_t i = 0; i < COUNT_OF(options); i++) {
		enum chat_param param = options[i].param;

		if (!slice_eq_str(v->key, options[i].name))
			continue;
		*f->ret_param = options[i].name;
		if (param != CHAT_PARAM_STOP && v->type != JSON_NUMBER)
			return front_wrong_type(f, v, "a number");
		if (param != CHAT_PARAM_MAX_TOKENS || f->r->has_max_tokens)
			f->r->details->said[param] = (struct chat_said){v->key, v};
		return 0;
	}
	return details_unknown(f, v->key);
}

static int read_options(struct front *f, const struct json *v)
{
	int rc = 0;

	for (const struct json *m = v->first; m && rc == 0; m = m->next)
		if (m->type != JSON_NULL)
			rc = read_option(f, m);
	return rc;
}

/* "" (as some clients have it), "json", or a schema. */
static int read_format(struct front *f, const struct json *v)
{
	struct chat_details *d = f->r->details;

	if (v->type == JSON_OBJECT) {
		d->format = CHAT_FORMAT_SCHEMA;
		d->schema = v->raw;
		return 0;
	}
	if (v->type != JSON_STRING || (v->str.n && !slice_eq_str(v->str, "json")))
		return err_set(f->err, E_INVALID, "format must be json, or a schema");
	if (v->str.n)
		d->format = CHAT_FORMAT_JSON;
	else
		details_unsay(f, CHAT_PARAM_FORMAT);
	return 0;
}

static int read_think(struct front *f, const struct json *v)
{
	static const struct {
		const char *name;
		enum chat_effort effort;
	} levels[] = {
		{"low", CHAT_EFFORT_LOW},
		{"medium", CHAT_EFFORT_MEDIUM},
		{"high", CHAT_EFFORT_HIGH},
		{"max", CHAT_EFFORT_MAX},
	};

	if (v->type == JSON_BOOL) {
		f->r->details->effort = v->boolean ? CHAT_EFFORT_MEDIUM : CHAT_EFFORT_NONE;
		return 0;
	}
	for (size_t i = 0; v->type == JSON_STRING && i < COUNT_OF(levels); i++) {
		if (!slice_eq_str(v->str, levels[i].name))
			continue;
		f->r->details->effort = levels[i].effort;
		return 0;
	}
	return err_set(f->err, E_INVALID, "think must be true, false, low, medium, high or max");
}

/* What is empty asks for nothing. */
static int read_unknown(struct front *f, const struct json *v)
{
	bool says = v->type == JSON_BOOL ? v->boolean : v->type == JSON_STRING ? v->str.n > 0 : v->first != NULL;

	return says ? details_unknown(f, v->key) : 0;
}

static const struct detail_member chat_members[] = {
	{"model", CHAT_PARAMS, NULL},
	{"messages", CHAT_PARAMS, NULL},
	{"stream", CHAT_PARAMS, NULL},
	{"options", CHAT_PARAMS, read_options},
	{"tools", CHAT_PARAM_TOOLS, openai_read_tools},
	{"format", CHAT_PARAM_FORMAT, read_format},
	{"think", CHAT_PARAM_REASONING, read_think},
	{"logprobs", CHAT_PARAM_LOGPROBS, NULL},
	{"top_logprobs", CHAT_PARAM_TOP_LOGPROBS, NULL},
};

int ollama_chat_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err)
{
	struct front f = {.a = a, .r = r, .ret_param = ret_param, .err = err};
	struct details d = {.f = &f};
	int rc = details_walk(&f, chat_members, COUNT_OF(chat_members));

	for (size_t i = 0; i < r->n_messages && rc == 0; i++)
		if (r->messages[i].has_other || r->messages[i].role == CHAT_TOOL ||
		    r->messages[i].role == CHAT_ASSISTANT)
			rc = read_message(&d, &r->messages[i]);
	return rc;
}

/* --- generate --- */

static int read_images(struct front *f, const struct json *v)
{
	struct chat_message *m = &f->r->messages[f->r->n_messages - 1];
	struct parts list = {0};
	int rc;

	if (!v->first)
		return 0;
	rc = parts_put(f, &list, CHAT_PART_TEXT, (struct chat_part){.text = m->text});
	if (rc == 0)
		rc = add_images(f, v, SLICE_LIT("images"), &list);
	m->has_other = true;
	m->parts = list.p;
	m->n_parts = list.n;
	return rc;
}

static const struct detail_member generate_members[] = {
	{"model", CHAT_PARAMS, NULL},
	{"prompt", CHAT_PARAMS, NULL},
	{"system", CHAT_PARAMS, NULL},
	{"stream", CHAT_PARAMS, NULL},
	{"suffix", CHAT_PARAMS, read_unknown},
	{"template", CHAT_PARAMS, read_unknown},
	{"raw", CHAT_PARAMS, read_unknown},
	{"context", CHAT_PARAMS, read_unknown},
	{"images", CHAT_PARAMS, read_images},
	{"options", CHAT_PARAMS, read_options},
	{"format", CHAT_PARAM_FORMAT, read_format},
	{"think", CHAT_PARAM_REASONING, read_think},
	{"logprobs", CHAT_PARAM_LOGPROBS, NULL},
	{"top_logprobs", CHAT_PARAM_TOP_LOGPROBS, NULL},
};

int ollama_generate_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err)
{
	struct front f = {.a = a, .r = r, .ret_param = ret_param, .err = err};

	return details_walk(&f, generate_members, COUNT_OF(generate_members));
}
