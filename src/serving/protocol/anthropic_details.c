/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anthropic's messages: what only a translation reads of a request.  What marks a place for its cache means nothing
 * elsewhere and changes no answer, but is named all the same.
 */
#include "serving/protocol/anthropic_internal.h"

static struct slice raw_in(const struct json *obj, const char *name)
{
	const struct json *v = json_get(obj, name);

	return v && v->type == JSON_OBJECT ? v->raw : (struct slice){NULL, 0};
}

static bool bool_in(const struct json *obj, const char *name)
{
	const struct json *v = json_get(obj, name);

	return v && v->type == JSON_BOOL && v->boolean;
}

static int note_cache(struct front *f, const struct json *block)
{
	const struct json *v = json_get(block, "cache_control");

	return v && v->type != JSON_NULL ? details_unknown(f, SLICE_LIT("cache_control")) : 0;
}

/* --- messages --- */

static int add_other(struct front *f, struct parts *list, const struct json *block)
{
	struct slice type = slice_sub(wire_text_in(block, "type"), 0, 48);
	struct chat_part p = {.label = slice_from(arena_printf(f->a, "messages[]." SLICE_FMT, SLICE_ARG(type)))};

	return parts_put(f, list, CHAT_PART_OTHER, p);
}

static int read_image(struct front *f, const struct json *block, struct parts *list)
{
	const struct json *source = json_get(block, "source");
	struct chat_part p = {.label = SLICE_LIT("messages[].image"),
			      .url = wire_text_in(source, "url"),
			      .media_type = wire_text_in(source, "media_type"),
			      .data = wire_text_in(source, "data")};

	if (!p.url.n && (!p.media_type.n || !p.data.n))
		return add_other(f, list, block); /* a file of the provider's */
	return parts_put(f, list, CHAT_PART_IMAGE, p);
}

/* A document that is plain text is text. */
static int read_document(struct front *f, const struct json *block, struct parts *list)
{
	const struct json *source = json_get(block, "source");
	struct slice type = wire_text_in(source, "type");

	if (!slice_eq_str(type, "text"))
		return add_other(f, list, block);
	return parts_put(f, list, CHAT_PART_TEXT, (struct chat_part){.text = wire_text_in(source, "data")});
}

static int read_thinking(struct front *f, const struct json *block, struct parts *list)
{
	struct chat_part p = {.label = SLICE_LIT("messages[].thinking"),
			      .text = wire_text_in(block, "thinking"),
			      .opaque = wire_text_in(block, "signature")};

	if (slice_eq_str(wire_text_in(block, "type"), "redacted_thinking")) {
		p.redacted = true;
		p.opaque = wire_text_in(block, "data");
	}
	return parts_put(f, list, CHAT_PART_REASONING, p);
}

static int read_call(struct front *f, const struct json *block, struct parts *list)
{
	struct chat_part p = {.label = SLICE_LIT("messages[].tool_use"),
			      .id = wire_text_in(block, "id"),
			      .name = wire_text_in(block, "name"),
			      .text = raw_in(block, "input")};

	if (!p.name.n) {
		*f->ret_param = "messages";
		return err_set(f->err, E_INVALID, "a tool_use block in messages must have a name");
	}
	return parts_put(f, list, CHAT_PART_TOOL_CALL, p);
}

static int read_plain(struct front *f, const struct json *block, struct parts *list)
{
	struct slice type = wire_text_in(block, "type");

	if (slice_eq_str(type, "text"))
		return parts_put(f, list, CHAT_PART_TEXT, (struct chat_part){.text = wire_text_in(block, "text")});
	if (slice_eq_str(type, "image"))
		return read_image(f, block, list);
	if (slice_eq_str(type, "document"))
		return read_document(f, block, list);
	return add_other(f, list, block);
}

static int join_texts(struct front *f, const struct parts *parts, struct slice *ret)
{
	struct texts list = {0};

	for (size_t i = 0; i < parts->n; i++)
		if (parts->p[i].kind == CHAT_PART_TEXT &&
		    texts_add(f->a, &list, parts->p[i].text, parts->p[i].text) < 0)
			return front_too_big(f);
	*ret = SLICE_LIT("");
	return list.n && texts_join(f->a, &list, ret) < 0 ? front_too_big(f) : 0;
}

static int read_result(struct front *f, const struct json *block, struct parts *list)
{
	const struct json *content = json_get(block, "content");
	struct chat_part p = {.label = SLICE_LIT("messages[].tool_result"),
			      .id = wire_text_in(block, "tool_use_id"),
			      .is_error = bool_in(block, "is_error")};
	struct parts inner = {0};
	int rc = 0;

	if (!p.id.n) {
		*f->ret_param = "messages";
		return err_set(f->err, E_INVALID, "a tool_result block in messages must have a tool_use_id");
	}
	if (wire_is_string(content)) {
		p.text = content->str;
		return parts_put(f, list, CHAT_PART_TOOL_RESULT, p);
	}
	for (const struct json *v = content ? content->first : NULL; v && rc == 0; v = v->next)
		rc = read_plain(f, v, &inner);
	if (rc == 0)
		rc = join_texts(f, &inner, &p.text);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < inner.n; i++)
		if (inner.p[i].kind != CHAT_PART_TEXT) {
			p.parts = inner.p;
			p.n_parts = inner.n;
		}
	return parts_put(f, list, CHAT_PART_TOOL_RESULT, p);
}

static int read_block(struct front *f, const struct json *block, struct parts *list)
{
	struct slice type = wire_text_in(block, "type");
	int rc = note_cache(f, block);

	if (rc < 0)
		return rc;
	if (slice_eq_str(type, "tool_use"))
		return read_call(f, block, list);
	if (slice_eq_str(type, "tool_result"))
		return read_result(f, block, list);
	if (slice_eq_str(type, "thinking") || slice_eq_str(type, "redacted_thinking"))
		return read_thinking(f, block, list);
	return read_plain(f, block, list);
}

static int read_message(struct front *f, struct chat_message *m)
{
	const struct json *content = json_get(m->node, "content");
	struct parts list = {0};
	int rc = 0;

	if (!content || content->type != JSON_ARRAY)
		return 0; /* its text is all there is */
	for (const struct json *block = content->first; block && rc == 0; block = block->next)
		rc = read_block(f, block, &list);
	m->parts = list.p;
	m->n_parts = list.n;
	return rc;
}

/* --- the rest --- */

static int read_system(struct front *f, const struct json *v)
{
	int rc = 0;

	for (const struct json *block = v->first; block && rc == 0; block = block->next)
		rc = note_cache(f, block);
	return rc;
}

static int read_tool(struct front *f, const struct json *v, struct chat_tool *t)
{
	int rc = details_tool(f, v, t, "must name each tool (tools[].name)");

	t->schema = raw_in(v, "input_schema");
	return rc < 0 ? rc : note_cache(f, v);
}

/* A tool that the provider runs itself has a type of its own ("web_search_..."). */
static bool is_custom(const struct json *v)
{
	struct slice type = wire_text_in(v, "type");

	return !type.n || slice_eq_str(type, "custom");
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
	for (const struct json *t = v->first; t && rc == 0; t = t->next)
		rc = is_custom(t) ? read_tool(f, t, &d->tools[d->n_tools++])
				  : details_unknown(f, SLICE_LIT("tools[].type"));
	if (!d->n_tools)
		details_unsay(f, CHAT_PARAM_TOOLS);
	return rc;
}

static int read_tool_choice(struct front *f, const struct json *v)
{
	static const struct {
		const char *type;
		enum chat_tool_choice choice;
	} types[] = {
		{"auto", CHAT_TOOLS_AUTO},
		{"any", CHAT_TOOLS_REQUIRED},
		{"tool", CHAT_TOOLS_NAMED},
		{"none", CHAT_TOOLS_NONE},
	};
	struct chat_details *d = f->r->details;
	const struct json *one = json_get(v, "disable_parallel_tool_use");

	for (size_t i = 0; i < COUNT_OF(types); i++)
		if (slice_eq_str(wire_text_in(v, "type"), types[i].type))
			d->tool_choice = types[i].choice;
	d->tool_name = wire_text_in(v, "name");
	if (d->tool_choice == CHAT_TOOLS_UNSAID || (d->tool_choice == CHAT_TOOLS_NAMED && !d->tool_name.n))
		return front_bad(f, "must have the type auto, any, none, or tool with a name");
	if (one && one->type == JSON_BOOL) {
		d->said[CHAT_PARAM_PARALLEL] =
			(struct chat_said){SLICE_LIT("tool_choice.disable_parallel_tool_use"), one};
		d->parallel = !one->boolean;
	}
	return 0;
}

static int read_thinking_mode(struct front *f, const struct json *v)
{
	struct chat_details *d = f->r->details;
	struct slice type = wire_text_in(v, "type");

	if (slice_eq_str(type, "disabled")) {
		d->effort = CHAT_EFFORT_NONE;
		details_unsay(f, CHAT_PARAM_REASONING);
		return 0;
	}
	d->reasoning_budget = wire_count(json_get(v, "budget_tokens"));
	if (!d->reasoning_budget && d->effort == CHAT_EFFORT_UNSAID)
		d->effort = CHAT_EFFORT_MEDIUM; /* as much as the model likes */
	return 0;
}

static int read_format(struct front *f, const struct json *format, const char *name)
{
	struct chat_details *d = f->r->details;

	if (!format || format->type != JSON_OBJECT)
		return 0;
	d->schema = raw_in(format, "schema");
	if (!slice_eq_str(wire_text_in(format, "type"), "json_schema") || !d->schema.n)
		return front_bad(f, "must have a format of type json_schema with a schema");
	d->format = CHAT_FORMAT_SCHEMA;
	d->schema_strict = true;
	d->said[CHAT_PARAM_FORMAT] = (struct chat_said){slice_from(name), format};
	return 0;
}

static int read_output_config(struct front *f, const struct json *v)
{
	static const struct {
		const char *name;
		enum chat_effort effort;
	} efforts[] = {
		{"low", CHAT_EFFORT_LOW},   {"medium", CHAT_EFFORT_MEDIUM}, {"high", CHAT_EFFORT_HIGH},
		{"xhigh", CHAT_EFFORT_MAX}, {"max", CHAT_EFFORT_MAX},
	};
	struct chat_details *d = f->r->details;
	struct slice effort = wire_text_in(v, "effort");

	for (size_t i = 0; i < COUNT_OF(efforts); i++) {
		if (!slice_eq_str(effort, efforts[i].name))
			continue;
		d->effort = efforts[i].effort;
		d->said[CHAT_PARAM_REASONING] = (struct chat_said){SLICE_LIT("output_config.effort"), v};
	}
	return read_format(f, json_get(v, "format"), "output_config.format");
}

static int read_output_format(struct front *f, const struct json *v)
{
	return read_format(f, v, "output_format");
}

static int read_metadata(struct front *f, const struct json *v)
{
	f->r->details->user = wire_text_in(v, "user_id");
	return 0;
}

static int read_number(struct front *f, const struct json *v)
{
	return v->type == JSON_NUMBER ? 0 : front_wrong_type(f, v, "a number");
}

static const struct detail_member members[] = {
	{"model", CHAT_PARAMS, NULL},
	{"messages", CHAT_PARAMS, NULL},
	{"stream", CHAT_PARAMS, NULL},
	{"system", CHAT_PARAMS, read_system},
	{"max_tokens", CHAT_PARAM_MAX_TOKENS, NULL},
	{"temperature", CHAT_PARAM_TEMPERATURE, NULL},
	{"top_p", CHAT_PARAM_TOP_P, NULL},
	{"top_k", CHAT_PARAM_TOP_K, read_number},
	{"stop_sequences", CHAT_PARAM_STOP, NULL},
	{"tools", CHAT_PARAM_TOOLS, read_tools},
	{"tool_choice", CHAT_PARAM_TOOL_CHOICE, read_tool_choice},
	{"thinking", CHAT_PARAM_REASONING, read_thinking_mode},
	{"output_config", CHAT_PARAMS, read_output_config},
	{"output_format", CHAT_PARAMS, read_output_format},
	{"metadata", CHAT_PARAM_USER, read_metadata},
};

int anthropic_decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err)
{
	struct front f = {.a = a, .r = r, .ret_param = ret_param, .err = err};
	int rc = details_walk(&f, members, COUNT_OF(members));

	for (size_t i = 0; i < r->n_messages && rc == 0; i++)
		if (r->messages[i].node)
			rc = read_message(&f, &r->messages[i]);
	return rc;
}
