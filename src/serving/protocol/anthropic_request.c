/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of another protocol as Anthropic's upstreams take it.  System prompts stand beside the messages; messages
 * of one side are one message; results of tools stand at the beginning of the message that follows their calls; texts
 * are never empty; max_tokens is always there.
 */
#include "serving/protocol/anthropic_internal.h"

#define CARRIES                                                                                                        \
	(CHAT_CARRIES(CHAT_PARAM_MAX_TOKENS) | CHAT_CARRIES(CHAT_PARAM_TEMPERATURE) | CHAT_CARRIES(CHAT_PARAM_TOP_P) | \
	 CHAT_CARRIES(CHAT_PARAM_TOP_K) | CHAT_CARRIES(CHAT_PARAM_STOP) | CHAT_CARRIES(CHAT_PARAM_TOOLS) |             \
	 CHAT_CARRIES(CHAT_PARAM_TOOL_CHOICE) | CHAT_CARRIES(CHAT_PARAM_PARALLEL) |                                    \
	 CHAT_CARRIES(CHAT_PARAM_REASONING) | CHAT_CARRIES(CHAT_PARAM_USER))
#define PARTS                                                                                                     \
	(1u << CHAT_PART_TEXT | 1u << CHAT_PART_REASONING | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_CALL | \
	 1u << CHAT_PART_TOOL_RESULT | 1u << CHAT_PART_IMAGE)

/* When neither the caller nor the model's configuration says how long an answer may be. */
#define DEFAULT_MAX_TOKENS 4096
#define LEAST_BUDGET 1024 /* of reasoning: less is refused */

static const char *const ours[] = {"model", "messages", "system", "stream", "max_tokens", "max_completion_tokens",
				   NULL};

/* --- messages --- */

static void write_text(struct json_writer *w, struct slice text)
{
	if (!text.n)
		return;
	jw_object(w);
	jw_kcstr(w, "type", "text");
	jw_kstr(w, "text", text);
	jw_object_end(w);
}

static void write_image(struct json_writer *w, const struct chat_part *p)
{
	jw_object(w);
	jw_kcstr(w, "type", "image");
	jw_key(w, "source");
	jw_object(w);
	jw_kcstr(w, "type", p->url.n ? "url" : "base64");
	if (p->url.n) {
		jw_kstr(w, "url", p->url);
	} else {
		jw_kstr(w, "media_type", p->media_type);
		jw_kstr(w, "data", p->data);
	}
	jw_object_end(w);
	jw_object_end(w);
}

static void write_result(struct json_writer *w, const struct chat_part *p, struct dropped_params *dropped)
{
	jw_object(w);
	jw_kcstr(w, "type", "tool_result");
	jw_kstr(w, "tool_use_id", p->id);
	if (!p->n_parts) {
		jw_kstr(w, "content", p->text);
	} else {
		jw_key(w, "content");
		jw_array(w);
		for (size_t i = 0; i < p->n_parts; i++) {
			if (p->parts[i].kind == CHAT_PART_IMAGE)
				write_image(w, &p->parts[i]);
			else if (p->parts[i].kind == CHAT_PART_TEXT)
				write_text(w, p->parts[i].text);
			else
				dropped_part(dropped, &p->parts[i]);
		}
		jw_array_end(w);
	}
	if (p->is_error)
		jw_kbool(w, "is_error", true);
	jw_object_end(w);
}

static void write_call(struct json_writer *w, const struct chat_part *p)
{
	jw_object(w);
	jw_kcstr(w, "type", "tool_use");
	jw_kstr(w, "id", p->id);
	jw_kstr(w, "name", p->name);
	jw_key(w, "input");
	wire_write_object(w, p->text);
	jw_object_end(w);
}

/* Reasoning is only taken back with the signature that was given with it. */
static void write_reasoning(struct json_writer *w, const struct chat_part *p, struct dropped_params *dropped)
{
	if (!p->opaque.n) {
		dropped_part(dropped, p);
		return;
	}
	jw_object(w);
	jw_kcstr(w, "type", p->redacted ? "redacted_thinking" : "thinking");
	if (p->redacted) {
		jw_kstr(w, "data", p->opaque);
	} else {
		jw_kstr(w, "thinking", p->text);
		jw_kstr(w, "signature", p->opaque);
	}
	jw_object_end(w);
}

static void write_part(struct json_writer *w, const struct chat_part *p, struct dropped_params *dropped)
{
	switch (p->kind) {
	case CHAT_PART_TEXT:
	case CHAT_PART_REFUSAL:
		write_text(w, p->text);
		break;
	case CHAT_PART_REASONING:
		write_reasoning(w, p, dropped);
		break;
	case CHAT_PART_TOOL_CALL:
		write_call(w, p);
		break;
	case CHAT_PART_TOOL_RESULT:
		write_result(w, p, dropped);
		break;
	case CHAT_PART_IMAGE:
		write_image(w, p);
		break;
	case CHAT_PART_OTHER: /* dropped_of_request names it */
		break;
	}
}

static bool says_something(const struct chat_message *m)
{
	for (size_t i = 0; i < m->n_parts; i++) {
		const struct chat_part *p = &m->parts[i];

		if (p->kind == CHAT_PART_OTHER || (p->kind == CHAT_PART_REASONING && !p->opaque.n))
			continue;
		if (p->text.n || p->kind == CHAT_PART_TOOL_CALL || p->kind == CHAT_PART_TOOL_RESULT ||
		    p->kind == CHAT_PART_IMAGE || p->kind == CHAT_PART_REASONING)
			return true;
	}
	return !m->parts && m->text.n;
}

static void write_content(struct json_writer *w, const struct chat_message *m, struct dropped_params *dropped)
{
	if (!m->parts)
		write_text(w, m->text);
	for (size_t i = 0; i < m->n_parts; i++)
		write_part(w, &m->parts[i], dropped);
}

static enum chat_role side_of(const struct chat_message *m)
{
	return m->role == CHAT_ASSISTANT ? CHAT_ASSISTANT : CHAT_USER;
}

static void write_messages(struct json_writer *w, const struct chat_request *r, struct dropped_params *dropped)
{
	const struct chat_message *open = NULL;

	jw_key(w, "messages");
	jw_array(w);
	for (size_t i = 0; i < r->n_messages; i++) {
		const struct chat_message *m = &r->messages[i];

		if (request_role(r, i) == CHAT_SYSTEM || !says_something(m))
			continue;
		if (open && side_of(open) != side_of(m)) {
			jw_array_end(w);
			jw_object_end(w);
			open = NULL;
		}
		if (!open) {
			jw_object(w);
			jw_kcstr(w, "role", chat_role_name(side_of(m)));
			jw_key(w, "content");
			jw_array(w);
			open = m;
		}
		write_content(w, m, dropped);
	}
	if (open) {
		jw_array_end(w);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void write_system(struct json_writer *w, const struct chat_request *r)
{
	bool any = false;

	for (size_t i = 0; i < r->n_messages; i++) {
		if (request_role(r, i) != CHAT_SYSTEM || !r->messages[i].text.n)
			continue;
		if (!any) {
			jw_key(w, "system");
			jw_array(w);
		}
		any = true;
		write_text(w, r->messages[i].text);
	}
	if (any)
		jw_array_end(w);
}

/* --- tools --- */

static void write_tools(struct json_writer *w, const struct chat_details *d)
{
	if (!d->n_tools)
		return;
	jw_key(w, "tools");
	jw_array(w);
	for (size_t i = 0; i < d->n_tools; i++) {
		const struct chat_tool *t = &d->tools[i];

		jw_object(w);
		jw_kstr(w, "name", t->name);
		if (t->description.n)
			jw_kstr(w, "description", t->description);
		jw_kraw(w, "input_schema", t->schema.n ? t->schema : SLICE_LIT("{\"type\":\"object\"}"));
		if (t->strict)
			jw_kbool(w, "strict", true);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void write_tool_choice(struct json_writer *w, const struct chat_request *r, bool thinks,
			      struct dropped_params *dropped)
{
	static const char *const types[] = {[CHAT_TOOLS_UNSAID] = "auto",
					    [CHAT_TOOLS_AUTO] = "auto",
					    [CHAT_TOOLS_NONE] = "none",
					    [CHAT_TOOLS_REQUIRED] = "any",
					    [CHAT_TOOLS_NAMED] = "tool"};
	const struct chat_details *d = request_details(r);
	bool one = request_says(r, CHAT_PARAM_PARALLEL) && !d->parallel;
	enum chat_tool_choice choice = d->tool_choice;

	if (!d->n_tools || (choice == CHAT_TOOLS_UNSAID && !one))
		return;
	if (thinks && (choice == CHAT_TOOLS_REQUIRED || choice == CHAT_TOOLS_NAMED)) { /* refused together */
		dropped_param(dropped, r, CHAT_PARAM_TOOL_CHOICE);
		choice = CHAT_TOOLS_AUTO;
	}
	jw_key(w, "tool_choice");
	jw_object(w);
	jw_kcstr(w, "type", types[choice]);
	if (choice == CHAT_TOOLS_NAMED)
		jw_kstr(w, "name", d->tool_name);
	if (one && choice != CHAT_TOOLS_NONE)
		jw_kbool(w, "disable_parallel_tool_use", true);
	jw_object_end(w);
}

/* --- lengths, reasoning, sampling --- */

static int64_t budget_of(const struct chat_details *d)
{
	static const int64_t budgets[] = {
		[CHAT_EFFORT_UNSAID] = 0, [CHAT_EFFORT_NONE] = 0,      [CHAT_EFFORT_MINIMAL] = 1024,
		[CHAT_EFFORT_LOW] = 2048, [CHAT_EFFORT_MEDIUM] = 8192, [CHAT_EFFORT_HIGH] = 16384,
		[CHAT_EFFORT_MAX] = 32768};

	return d->reasoning_budget ? d->reasoning_budget : budgets[d->effort];
}

/* The budget is a part of max_tokens: of a limit that the caller set, at most half.  0: no reasoning. */
static int64_t write_lengths(struct json_writer *w, const struct chat_request *r, const struct json *parameters,
			     struct dropped_params *dropped)
{
	int64_t max = r->has_max_tokens ? r->max_tokens : wire_count(json_get(parameters, "max_tokens"));
	int64_t budget = budget_of(request_details(r));

	if (max && budget > max / 2)
		budget = max / 2;
	if (budget && budget < LEAST_BUDGET) {
		budget = 0;
		dropped_param(dropped, r, CHAT_PARAM_REASONING);
	}
	if (!max)
		max = DEFAULT_MAX_TOKENS + budget;
	jw_ki64(w, "max_tokens", max);
	if (!budget)
		return 0;
	jw_key(w, "thinking");
	jw_object(w);
	jw_kcstr(w, "type", "enabled");
	jw_ki64(w, "budget_tokens", budget);
	jw_object_end(w);
	return budget;
}

/* A model that reasons takes no sampling parameters; the highest temperature is 1. */
static void write_sampling(struct json_writer *w, const struct chat_request *r, bool thinks,
			   struct dropped_params *dropped)
{
	if (thinks) {
		dropped_param(dropped, r, CHAT_PARAM_TEMPERATURE);
		dropped_param(dropped, r, CHAT_PARAM_TOP_P);
		dropped_param(dropped, r, CHAT_PARAM_TOP_K);
	} else {
		if (r->has_temperature)
			jw_kdouble(w, "temperature", r->temperature > 1 ? 1 : r->temperature);
		if (r->has_temperature && r->temperature > 1)
			dropped_param(dropped, r, CHAT_PARAM_TEMPERATURE);
		if (r->has_top_p && !(r->has_temperature && r->top_p >= 1)) /* newer models take one of them alone */
			jw_kdouble(w, "top_p", r->top_p);
		request_write_said(w, r, CHAT_PARAM_TOP_K, "top_k");
	}
}

static bool is_blank(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!strchr(" \t\r\n", s.p[i]))
			return false;
	return true;
}

/* What is nothing but white space is refused there. */
static void write_stop(struct json_writer *w, const struct chat_request *r, struct dropped_params *dropped)
{
	bool any = false;

	for (size_t i = 0; i < r->n_stop; i++) {
		if (is_blank(r->stop[i])) {
			dropped_param(dropped, r, CHAT_PARAM_STOP);
			continue;
		}
		if (!any) {
			jw_key(w, "stop_sequences");
			jw_array(w);
		}
		any = true;
		jw_str(w, r->stop[i]);
	}
	if (any)
		jw_array_end(w);
}

static void write_format(struct json_writer *w, const struct chat_request *r, struct dropped_params *dropped)
{
	const struct chat_details *d = request_details(r);

	if (d->format != CHAT_FORMAT_SCHEMA) {
		dropped_param(dropped, r, CHAT_PARAM_FORMAT); /* JSON without a schema cannot be asked for */
		return;
	}
	jw_key(w, "output_config");
	jw_object(w);
	jw_key(w, "format");
	jw_object(w);
	jw_kcstr(w, "type", "json_schema");
	jw_kraw(w, "schema", d->schema);
	jw_object_end(w);
	jw_object_end(w);
}

static void write_user(struct json_writer *w, const struct chat_request *r, struct dropped_params *dropped)
{
	const struct chat_details *d = request_details(r);

	if (!d->user.n)
		return;
	if (d->user.n > 256) { /* refused there */
		dropped_param(dropped, r, CHAT_PARAM_USER);
		return;
	}
	jw_key(w, "metadata");
	jw_object(w);
	jw_kstr(w, "user_id", d->user);
	jw_object_end(w);
}

int anthropic_encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			     struct dropped_params *dropped)
{
	struct json_writer w;
	bool thinks;

	jw_init(&w, out);
	jw_object(&w);
	jw_kstr(&w, "model", p->model);
	write_system(&w, r);
	write_messages(&w, r, dropped);
	thinks = write_lengths(&w, r, p->parameters, dropped) > 0;
	if (p->stream)
		jw_kbool(&w, "stream", true);
	write_sampling(&w, r, thinks, dropped);
	write_stop(&w, r, dropped);
	write_tools(&w, request_details(r));
	write_tool_choice(&w, r, thinks, dropped);
	write_format(&w, r, dropped);
	write_user(&w, r, dropped);
	request_write_defaults(&w, r, p->parameters, ours);
	jw_object_end(&w);
	dropped_of_request(r, CARRIES | CHAT_CARRIES(CHAT_PARAM_FORMAT), PARTS, dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}
