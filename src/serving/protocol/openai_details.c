/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI chat completions: what only a translation reads of a request, the parts of its messages and everything about
 * tools, formats and reasoning.  A thing that is understood wrongly here would be sent on wrongly, so that what does
 * not have the documented shape is refused by name; what is merely unknown is named as dropped.
 */
#include "serving/protocol/protocol_internal.h"

static struct slice raw_object_in(const struct json *obj, const char *name)
{
	const struct json *v = json_get(obj, name);

	return v && v->type == JSON_OBJECT ? v->raw : (struct slice){NULL, 0};
}

/* --- messages --- */

static int read_image(struct front *f, const struct json *part, struct parts *list)
{
	const struct json *image = json_get(part, "image_url");
	struct chat_part p = {.label = SLICE_LIT("messages[].image_url")};
	struct slice url = wire_is_string(image) ? image->str : wire_text_in(image, "url");

	if (!url.n) {
		*f->ret_param = "messages";
		return err_set(f->err, E_INVALID, "an image_url part must have image_url.url");
	}
	if (!part_data_url(url, &p))
		p.url = url;
	return parts_put(f, list, CHAT_PART_IMAGE, p);
}

/* Types of parts that only this protocol has. */
static const struct {
	const char *type;
	struct slice label;
} others[] = {
	{"input_audio", {"messages[].input_audio", 22}},
	{"file", {"messages[].file", 15}},
};

static int read_other(struct front *f, const struct json *part, struct parts *list)
{
	struct slice type = wire_text_in(part, "type"), text = wire_text_in(part, "text");
	struct chat_part p = {.label = SLICE_LIT("messages[].content")};

	for (size_t i = 0; i < COUNT_OF(others); i++)
		if (slice_eq_str(type, others[i].type))
			p.label = others[i].label;
	if (text.n) /* it was judged as text, and is text */
		return parts_put(f, list, CHAT_PART_TEXT, (struct chat_part){.text = text});
	return parts_put(f, list, CHAT_PART_OTHER, p);
}

static int read_content(struct front *f, const struct json *content, struct parts *list)
{
	int rc = 0;

	if (wire_has_text(content))
		return parts_put(f, list, CHAT_PART_TEXT, (struct chat_part){.text = content->str});
	if (!content || content->type != JSON_ARRAY)
		return 0;
	for (const struct json *part = content->first; part && rc == 0; part = part->next) {
		struct slice type = wire_text_in(part, "type");

		if (slice_eq_str(type, "text"))
			rc = parts_put(f, list, CHAT_PART_TEXT, (struct chat_part){.text = wire_text_in(part, "text")});
		else if (slice_eq_str(type, "refusal"))
			rc = parts_put(f, list, CHAT_PART_REFUSAL,
				       (struct chat_part){.text = wire_text_in(part, "refusal")});
		else if (slice_eq_str(type, "image_url"))
			rc = read_image(f, part, list);
		else
			rc = read_other(f, part, list);
	}
	return rc;
}

/* openai_answer.c's write_signature wrote it. */
static struct slice signature_of(const struct json *call)
{
	return wire_text_in(json_get(json_get(call, "extra_content"), "google"), "thought_signature");
}

/* outer: what has the call's id.  NULL: it has none, and its name stands for it. */
static int read_call(struct front *f, const struct json *call, const struct json *outer, struct parts *list)
{
	struct chat_part p = {.id = wire_text_in(outer ? outer : call, outer ? "id" : "name"),
			      .name = wire_text_in(call, "name"),
			      .opaque = signature_of(outer),
			      .label = SLICE_LIT("messages[].tool_calls")};

	if (!p.name.n) {
		*f->ret_param = "messages";
		return err_set(f->err, E_INVALID, "a tool call in messages must have function.name");
	}
	p.text = wire_text_in(call, "arguments");
	return parts_put(f, list, CHAT_PART_TOOL_CALL, p);
}

static int read_calls(struct front *f, const struct json *message, struct parts *list)
{
	const struct json *calls = json_get(message, "tool_calls"), *old = json_get(message, "function_call");
	int rc = 0;

	for (const struct json *v = calls ? calls->first : NULL; v && rc == 0; v = v->next) {
		const struct json *function = json_get(v, "function");

		if (function)
			rc = read_call(f, function, v, list);
		else
			rc = parts_put(f, list, CHAT_PART_OTHER,
				       (struct chat_part){.label = SLICE_LIT("messages[].tool_calls")});
	}
	if (rc == 0 && old && old->type == JSON_OBJECT)
		rc = read_call(f, old, NULL, list);
	return rc;
}

/* The result of a tool: one part, which has the others when there is more than text. */
static int make_result(struct front *f, struct chat_message *m, struct parts *content)
{
	struct chat_part *p = ARENA_NEW(f->a, struct chat_part);
	bool more = false;

	if (!p)
		return front_too_big(f);
	for (size_t i = 0; i < content->n; i++)
		more |= content->p[i].kind != CHAT_PART_TEXT;
	*p = (struct chat_part){.kind = CHAT_PART_TOOL_RESULT,
				.text = m->text,
				.id = wire_text_in(m->node, "tool_call_id"),
				.name = wire_text_in(m->node, "name"),
				.label = SLICE_LIT("messages[].tool")};
	if (!p->id.n)
		p->id = p->name;
	if (more) {
		p->parts = content->p;
		p->n_parts = content->n;
	}
	m->parts = p;
	m->n_parts = 1;
	return 0;
}

static int read_assistant(struct front *f, const struct json *node, struct parts *list)
{
	struct slice reasoning = wire_text_in(node, "reasoning_content"), refusal = wire_text_in(node, "refusal");
	int rc = 0;

	if (!reasoning.n)
		reasoning = wire_text_in(node, "reasoning");
	if (reasoning.n)
		rc = parts_put(
			f, list, CHAT_PART_REASONING,
			(struct chat_part){.text = reasoning, .label = SLICE_LIT("messages[].reasoning_content")});
	if (rc == 0)
		rc = read_content(f, json_get(node, "content"), list);
	if (rc == 0 && refusal.n)
		rc = parts_put(f, list, CHAT_PART_REFUSAL, (struct chat_part){.text = refusal});
	if (rc == 0)
		rc = read_calls(f, node, list);
	if (rc == 0 && json_get(node, "audio") && json_get(node, "audio")->type != JSON_NULL)
		rc = parts_put(f, list, CHAT_PART_OTHER, (struct chat_part){.label = SLICE_LIT("messages[].audio")});
	return rc;
}

static int read_message(struct front *f, struct chat_message *m)
{
	struct parts list = {0};
	const struct json *images = json_get(m->node, "images");
	int rc = m->role == CHAT_ASSISTANT ? read_assistant(f, m->node, &list)
					   : read_content(f, json_get(m->node, "content"), &list);

	if (rc == 0 && images && images->type == JSON_ARRAY && images->first)
		rc = parts_put(f, &list, CHAT_PART_OTHER, (struct chat_part){.label = SLICE_LIT("messages[].images")});
	if (rc < 0)
		return rc;
	if (m->role == CHAT_TOOL)
		return make_result(f, m, &list);
	m->parts = list.p;
	m->n_parts = list.n;
	return 0;
}

static bool is_known(struct slice key, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (slice_eq_str(key, names[i]))
			return true;
	return false;
}

static int name_unknown(struct front *f, const struct json *obj, const char *const *known, size_t n, const char *where)
{
	int rc = 0;

	for (const struct json *v = obj->first; v && rc == 0; v = v->next)
		if (v->type != JSON_NULL && !is_known(v->key, known, n))
			rc = details_unknown(f, slice_from(arena_printf(f->a, "%s" SLICE_FMT, where,
									SLICE_ARG(slice_sub(v->key, 0, 40)))));
	return rc;
}

/* Members of messages and their parts that nobody else has a place for: who of several users speaks, and the like. */
static int name_unknown_members(struct front *f, const struct chat_message *m)
{
	static const char *const of_message[] = {"role",	  "content", "tool_calls",	  "tool_call_id",
						 "function_call", "refusal", "reasoning",	  "thinking",
						 "audio",	  "images",  "reasoning_content", "name"};
	static const char *const of_part[] = {"type",	     "text", "refusal", "image_url",
					      "input_audio", "file", "thinking"};
	const struct json *content = json_get(m->node, "content");
	size_t n = COUNT_OF(of_message) - (m->role != CHAT_TOOL); /* a name is a function's there */
	int rc = name_unknown(f, m->node, of_message, n, "messages[].");

	if (!content || content->type != JSON_ARRAY)
		return rc;
	for (const struct json *part = content->first; part && rc == 0; part = part->next)
		if (part->type == JSON_OBJECT)
			rc = name_unknown(f, part, of_part, COUNT_OF(of_part), "messages[].content[].");
	return rc;
}

int openai_message_parts(struct front *f, struct chat_message *messages, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		/* nothing but text is all there already */
		if (messages[i].node &&
		    (messages[i].has_other || messages[i].role == CHAT_TOOL || messages[i].role == CHAT_ASSISTANT))
			rc = read_message(f, &messages[i]);
		if (rc == 0 && messages[i].node)
			rc = name_unknown_members(f, &messages[i]);
	}
	return rc;
}

/* --- tools --- */

static int read_tool(struct front *f, const struct json *function, struct chat_tool *t)
{
	int rc = details_tool(f, function, t, "must name each function (tools[].function.name)");

	t->schema = raw_object_in(function, "parameters");
	return rc;
}

int openai_read_tools(struct front *f, const struct json *v)
{
	struct chat_details *d = f->r->details;
	bool old = !strcmp(*f->ret_param, "functions");
	int rc = 0;

	if (v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "an array of tools");
	d->tools = ARENA_ARRAY(f->a, struct chat_tool, v->n_items + 1);
	if (!d->tools)
		return front_too_big(f);
	for (const struct json *t = v->first; t && rc == 0; t = t->next) {
		const struct json *function = old ? t : json_get(t, "function");

		if (function)
			rc = read_tool(f, function, &d->tools[d->n_tools++]);
		else /* one that only this provider can run */
			rc = details_unknown(f, SLICE_LIT("tools[].type"));
	}
	if (!d->n_tools)
		details_unsay(f, CHAT_PARAM_TOOLS);
	return rc;
}

int openai_read_tool_choice(struct front *f, const struct json *v)
{
	static const struct {
		const char *name;
		enum chat_tool_choice choice;
	} names[] = {
		{"auto", CHAT_TOOLS_AUTO},
		{"none", CHAT_TOOLS_NONE},
		{"required", CHAT_TOOLS_REQUIRED},
		{"any", CHAT_TOOLS_REQUIRED},
	};
	struct chat_details *d = f->r->details;
	const struct json *function = json_get(v, "function");

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		if (v->type == JSON_STRING && slice_eq_str(v->str, names[i].name)) {
			d->tool_choice = names[i].choice;
			return 0;
		}
	}
	d->tool_name = wire_text_in(function ? function : v, "name");
	if (d->tool_name.n) {
		d->tool_choice = CHAT_TOOLS_NAMED;
		return 0;
	}
	if (v->type != JSON_OBJECT)
		return front_bad(f, "must be auto, none, required, or name a function");
	details_unsay(f, CHAT_PARAM_TOOL_CHOICE);
	return details_unknown(f, slice_from(*f->ret_param));
}

static int read_parallel(struct front *f, const struct json *v)
{
	if (v->type != JSON_BOOL)
		return front_wrong_type(f, v, "true or false");
	f->r->details->parallel = v->boolean;
	return 0;
}

/* --- the rest --- */

static int read_format(struct front *f, const struct json *v)
{
	struct chat_details *d = f->r->details;
	struct slice type = wire_text_in(v, "type");
	const struct json *schema = json_get(v, "json_schema"), *strict = json_get(schema, "strict");

	if (slice_eq_str(type, "text")) {
		d->format = CHAT_FORMAT_TEXT;
		details_unsay(f, CHAT_PARAM_FORMAT); /* as everywhere */
	} else if (slice_eq_str(type, "json_object")) {
		d->format = CHAT_FORMAT_JSON;
	} else if (slice_eq_str(type, "json_schema")) {
		d->format = CHAT_FORMAT_SCHEMA;
		d->schema_name = wire_text_in(schema, "name");
		d->schema = raw_object_in(schema, "schema");
		d->schema_strict = strict && strict->type == JSON_BOOL && strict->boolean;
		if (!d->schema.n)
			return front_bad(f, "of type json_schema must have json_schema.schema");
	} else {
		return front_bad(f, "must have the type text, json_object or json_schema");
	}
	return 0;
}

static int set_effort(struct front *f, struct slice name)
{
	static const struct {
		const char *name;
		enum chat_effort effort;
	} efforts[] = {
		{"none", CHAT_EFFORT_NONE},	{"minimal", CHAT_EFFORT_MINIMAL}, {"low", CHAT_EFFORT_LOW},
		{"medium", CHAT_EFFORT_MEDIUM}, {"high", CHAT_EFFORT_HIGH},	  {"xhigh", CHAT_EFFORT_MAX},
		{"max", CHAT_EFFORT_MAX},
	};

	for (size_t i = 0; i < COUNT_OF(efforts); i++) {
		if (slice_eq_str(name, efforts[i].name)) {
			f->r->details->effort = efforts[i].effort;
			return 0;
		}
	}
	return front_bad(f, "must be none, minimal, low, medium, high or xhigh");
}

int openai_read_effort(struct front *f, const struct json *v)
{
	return v->type == JSON_STRING ? set_effort(f, v->str) : front_wrong_type(f, v, "a string");
}

/* {"effort", "max_tokens"}: as OpenRouter has it. */
static int read_reasoning(struct front *f, const struct json *v)
{
	struct slice effort = wire_text_in(v, "effort");

	f->r->details->reasoning_budget = wire_count(json_get(v, "max_tokens"));
	return effort.n ? set_effort(f, effort) : 0;
}

static int read_user(struct front *f, const struct json *v)
{
	if (v->type != JSON_STRING)
		return front_wrong_type(f, v, "a string");
	f->r->details->user = v->str;
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
	{"stream_options", CHAT_PARAMS, NULL},
	{"max_tokens", CHAT_PARAM_MAX_TOKENS, NULL},
	{"max_completion_tokens", CHAT_PARAM_MAX_TOKENS, NULL},
	{"temperature", CHAT_PARAM_TEMPERATURE, NULL},
	{"top_p", CHAT_PARAM_TOP_P, NULL},
	{"top_k", CHAT_PARAM_TOP_K, read_number},
	{"min_p", CHAT_PARAM_MIN_P, read_number},
	{"seed", CHAT_PARAM_SEED, NULL},
	{"stop", CHAT_PARAM_STOP, NULL},
	{"frequency_penalty", CHAT_PARAM_FREQUENCY_PENALTY, read_number},
	{"presence_penalty", CHAT_PARAM_PRESENCE_PENALTY, read_number},
	{"n", CHAT_PARAM_CHOICES, NULL},
	{"tools", CHAT_PARAM_TOOLS, openai_read_tools},
	{"functions", CHAT_PARAM_TOOLS, openai_read_tools},
	{"tool_choice", CHAT_PARAM_TOOL_CHOICE, openai_read_tool_choice},
	{"function_call", CHAT_PARAM_TOOL_CHOICE, openai_read_tool_choice},
	{"parallel_tool_calls", CHAT_PARAM_PARALLEL, read_parallel},
	{"response_format", CHAT_PARAM_FORMAT, read_format},
	{"reasoning_effort", CHAT_PARAM_REASONING, openai_read_effort},
	{"reasoning", CHAT_PARAM_REASONING, read_reasoning},
	{"user", CHAT_PARAM_USER, read_user},
	{"logprobs", CHAT_PARAM_LOGPROBS, NULL},
	{"top_logprobs", CHAT_PARAM_TOP_LOGPROBS, NULL},
	{"logit_bias", CHAT_PARAM_LOGIT_BIAS, NULL},
};

int openai_decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err)
{
	struct front f = {.a = a, .r = r, .ret_param = ret_param, .err = err};
	int rc = details_walk(&f, members, COUNT_OF(members));

	return rc < 0 ? rc : openai_message_parts(&f, r->messages, r->n_messages);
}
