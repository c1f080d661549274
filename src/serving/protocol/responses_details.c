/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI's responses: what a request asks beside its input.  Tools are flat here, formats stand in `text`.  What only
 * OpenAI itself can do (its own tools, items of them, verbosity) is named as dropped; what changes nothing because
 * nothing is kept (store, include of encrypted reasoning) is not.
 */
#include "serving/protocol/responses_internal.h"

static struct slice object_in(const struct json *obj, const char *name)
{
	const struct json *v = json_get(obj, name);

	return v && v->type == JSON_OBJECT ? v->raw : (struct slice){NULL, 0};
}

/* "tools[].web_search": which of a kind only OpenAI knows. */
static int name_unknown(struct front *f, const char *before, struct slice type)
{
	struct slice name = slice_sub(type, 0, 40);

	return details_unknown(f, slice_from(arena_printf(f->a, "%s" SLICE_FMT, before, SLICE_ARG(name))));
}

static int read_items(struct front *f, const struct json *v)
{
	int rc = 0;

	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		if (!responses_knows_item(item))
			rc = name_unknown(f, "input[].", wire_text_in(item, "type"));
	return rc;
}

/* --- tools --- */

static int read_tool(struct front *f, const struct json *v, struct chat_tool *t)
{
	int rc = details_tool(f, v, t, "must name each function (tools[].name)");

	t->schema = object_in(v, "parameters");
	return rc;
}

static int read_tools(struct front *f, const struct json *v)
{
	struct chat_details *d = f->r->details;
	int rc = 0;

	if (v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "an array of tools");
	d->tools = ARENA_ARRAY(f->a, struct chat_tool, v->n_items + 1);
	if (!d->tools)
		return front_too_big(f);
	for (const struct json *t = v->first; t && rc == 0; t = t->next) {
		struct slice type = wire_text_in(t, "type");

		if (!type.n)
			rc = front_bad(f, "must have a type each (\"function\")");
		else if (slice_eq_str(type, "function"))
			rc = read_tool(f, t, &d->tools[d->n_tools++]);
		else
			rc = name_unknown(f, "tools[].", type);
	}
	if (!d->n_tools)
		details_unsay(f, CHAT_PARAM_TOOLS);
	return rc;
}

static int read_tool_choice(struct front *f, const struct json *v)
{
	struct chat_details *d = f->r->details;

	if (v->type != JSON_OBJECT)
		return openai_read_tool_choice(f, v);
	if (!slice_eq_str(wire_text_in(v, "type"), "function")) {
		details_unsay(f, CHAT_PARAM_TOOL_CHOICE);
		return name_unknown(f, "tool_choice.", wire_text_in(v, "type"));
	}
	d->tool_name = wire_text_in(v, "name");
	if (!d->tool_name.n)
		return front_bad(f, "of type function must have a name");
	d->tool_choice = CHAT_TOOLS_NAMED;
	return 0;
}

static int read_parallel(struct front *f, const struct json *v)
{
	if (v->type != JSON_BOOL)
		return front_wrong_type(f, v, "true or false");
	f->r->details->parallel = v->boolean;
	return 0;
}

/* --- formats, reasoning --- */

static int read_schema(struct front *f, const struct json *format)
{
	const struct json *strict = json_get(format, "strict");
	struct chat_details *d = f->r->details;

	d->format = CHAT_FORMAT_SCHEMA;
	d->schema_name = wire_text_in(format, "name");
	d->schema = object_in(format, "schema");
	d->schema_strict = strict && strict->type == JSON_BOOL && strict->boolean;
	if (!d->schema.n || !d->schema_name.n)
		return front_bad(f, "of type json_schema must have a name and a schema");
	return 0;
}

static int read_format(struct front *f, const struct json *format)
{
	struct chat_details *d = f->r->details;
	struct slice type = wire_text_in(format, "type");

	*f->ret_param = "text.format";
	if (slice_eq_str(type, "text")) {
		d->format = CHAT_FORMAT_TEXT;
		return 0;
	}
	d->said[CHAT_PARAM_FORMAT] = (struct chat_said){SLICE_LIT("text.format"), format};
	if (slice_eq_str(type, "json_schema"))
		return read_schema(f, format);
	d->format = CHAT_FORMAT_JSON;
	return slice_eq_str(type, "json_object") ? 0
						 : front_bad(f, "must have the type text, json_object or json_schema");
}

static int read_text(struct front *f, const struct json *v)
{
	const struct json *format = json_get(v, "format");
	struct slice verbosity = wire_text_in(v, "verbosity");
	int rc = 0;

	if (v->type != JSON_OBJECT)
		return front_wrong_type(f, v, "an object");
	if (verbosity.n && !slice_eq_str(verbosity, "medium")) /* which is as everywhere */
		rc = details_unknown(f, SLICE_LIT("text.verbosity"));
	return rc == 0 && format && format->type != JSON_NULL ? read_format(f, format) : rc;
}

/* A summary is what is told of reasoning anyway. */
static int read_reasoning(struct front *f, const struct json *v)
{
	const struct json *effort = json_get(v, "effort");

	if (v->type != JSON_OBJECT)
		return front_wrong_type(f, v, "an object");
	if (!effort || effort->type == JSON_NULL) {
		details_unsay(f, CHAT_PARAM_REASONING);
		return 0;
	}
	*f->ret_param = "reasoning.effort";
	f->r->details->said[CHAT_PARAM_REASONING].name = SLICE_LIT("reasoning.effort");
	return openai_read_effort(f, effort);
}

static int read_include(struct front *f, const struct json *v)
{
	int rc = 0;

	if (v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "an array of strings");
	for (const struct json *one = v->first; one && rc == 0; one = one->next) {
		if (one->type != JSON_STRING)
			return front_bad(f, "must hold strings only");
		if (!slice_eq_str(one->str, "reasoning.encrypted_content"))
			rc = name_unknown(f, "include.", one->str);
	}
	return rc;
}

static int read_truncation(struct front *f, const struct json *v)
{
	if (v->type != JSON_STRING)
		return front_wrong_type(f, v, "a string");
	return slice_eq_str(v->str, "disabled") ? 0 : details_unknown(f, SLICE_LIT("truncation"));
}

static int read_user(struct front *f, const struct json *v)
{
	if (v->type != JSON_STRING)
		return front_wrong_type(f, v, "a string");
	f->r->details->user = v->str;
	return 0;
}

static const struct detail_member members[] = {
	{"model", CHAT_PARAMS, NULL},
	{"input", CHAT_PARAMS, read_items},
	{"instructions", CHAT_PARAMS, NULL},
	{"stream", CHAT_PARAMS, NULL},
	{"stream_options", CHAT_PARAMS, NULL},
	{"store", CHAT_PARAMS, NULL},
	{"metadata", CHAT_PARAMS, NULL},
	{"background", CHAT_PARAMS, NULL},
	{"include", CHAT_PARAMS, read_include},
	{"truncation", CHAT_PARAMS, read_truncation},
	{"max_output_tokens", CHAT_PARAM_MAX_TOKENS, NULL},
	{"temperature", CHAT_PARAM_TEMPERATURE, NULL},
	{"top_p", CHAT_PARAM_TOP_P, NULL},
	{"top_logprobs", CHAT_PARAM_TOP_LOGPROBS, NULL},
	{"user", CHAT_PARAM_USER, read_user},
	{"tools", CHAT_PARAM_TOOLS, read_tools},
	{"tool_choice", CHAT_PARAM_TOOL_CHOICE, read_tool_choice},
	{"parallel_tool_calls", CHAT_PARAM_PARALLEL, read_parallel},
	{"text", CHAT_PARAMS, read_text},
	{"reasoning", CHAT_PARAM_REASONING, read_reasoning},
};

int responses_decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err)
{
	struct front f = {.a = a, .r = r, .ret_param = ret_param, .err = err};

	return details_walk(&f, members, COUNT_OF(members));
}
