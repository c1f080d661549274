/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of another protocol as an OpenAI-compatible upstream takes it.  Results of tools are messages of their own
 * there, right behind the message that called them; reasoning of earlier turns has no place.
 */
#include "serving/protocol/protocol_internal.h"

#define CARRIES                                                                                                        \
	(CHAT_CARRIES(CHAT_PARAM_MAX_TOKENS) | CHAT_CARRIES(CHAT_PARAM_TEMPERATURE) | CHAT_CARRIES(CHAT_PARAM_TOP_P) | \
	 CHAT_CARRIES(CHAT_PARAM_SEED) | CHAT_CARRIES(CHAT_PARAM_STOP) | CHAT_CARRIES(CHAT_PARAM_FREQUENCY_PENALTY) |  \
	 CHAT_CARRIES(CHAT_PARAM_PRESENCE_PENALTY) | CHAT_CARRIES(CHAT_PARAM_TOOLS) |                                  \
	 CHAT_CARRIES(CHAT_PARAM_TOOL_CHOICE) | CHAT_CARRIES(CHAT_PARAM_PARALLEL) | CHAT_CARRIES(CHAT_PARAM_FORMAT) |  \
	 CHAT_CARRIES(CHAT_PARAM_REASONING) | CHAT_CARRIES(CHAT_PARAM_USER))
#define PARTS                                                                                                       \
	(1u << CHAT_PART_TEXT | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_CALL | 1u << CHAT_PART_TOOL_RESULT | \
	 1u << CHAT_PART_IMAGE)

static const char *const ours[] = {"model", "messages", "stream", "stream_options", NULL};

/* --- messages --- */

static void write_image(struct json_writer *w, const struct chat_part *p)
{
	jw_object(w);
	jw_kcstr(w, "type", "image_url");
	jw_key(w, "image_url");
	jw_object(w);
	jw_key(w, "url");
	if (p->url.n) {
		jw_str(w, p->url);
	} else {
		struct buf url;

		buf_init(&url, w->out->max);
		buf_adds(&url, "data:");
		buf_add(&url, p->media_type);
		buf_adds(&url, ";base64,");
		buf_add(&url, p->data);
		jw_str(w, buf_slice(&url));
		w->out->failed |= buf_failed(&url);
		buf_release(&url);
	}
	jw_object_end(w);
	jw_object_end(w);
}

static void write_content_part(struct json_writer *w, const struct chat_part *p)
{
	if (p->kind == CHAT_PART_IMAGE) {
		write_image(w, p);
		return;
	}
	if (p->kind != CHAT_PART_TEXT || !p->text.n)
		return;
	jw_object(w);
	jw_kcstr(w, "type", "text");
	jw_kstr(w, "text", p->text);
	jw_object_end(w);
}

static size_t count_kind(const struct chat_message *m, enum chat_part_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_parts; i++)
		n += m->parts[i].kind == kind;
	return n;
}

/* A result is text there: the images that came with results are shown behind the last of them. */
static void write_result_images(struct json_writer *w, const struct chat_message *m)
{
	for (size_t i = 0; i < m->n_parts; i++)
		for (size_t k = 0; k < m->parts[i].n_parts; k++)
			if (m->parts[i].parts[k].kind == CHAT_PART_IMAGE)
				write_image(w, &m->parts[i].parts[k]);
}

static size_t count_result_images(const struct chat_message *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_parts; i++)
		for (size_t k = 0; k < m->parts[i].n_parts; k++)
			n += m->parts[i].parts[k].kind == CHAT_PART_IMAGE;
	return n;
}

/* Its text without that of results, which are messages of their own. */
static void write_own_text(struct json_writer *w, const struct chat_message *m)
{
	struct buf text;

	buf_init(&text, w->out->max);
	for (size_t i = 0; i < m->n_parts; i++) {
		if (m->parts[i].kind != CHAT_PART_TEXT || !m->parts[i].text.n)
			continue;
		if (buf_slice(&text).n)
			buf_addc(&text, '\n');
		buf_add(&text, m->parts[i].text);
	}
	jw_str(w, buf_slice(&text));
	w->out->failed |= buf_failed(&text);
	buf_release(&text);
}

/* Text as a string; with images, parts. */
static void write_content(struct json_writer *w, const struct chat_message *m, bool null_if_empty)
{
	jw_key(w, "content");
	if (count_kind(m, CHAT_PART_IMAGE)) {
		jw_array(w);
		for (size_t i = 0; i < m->n_parts; i++)
			write_content_part(w, &m->parts[i]);
		jw_array_end(w);
	} else if (null_if_empty && !m->text.n) {
		jw_null(w);
	} else if (count_kind(m, CHAT_PART_TOOL_RESULT)) {
		write_own_text(w, m);
	} else {
		jw_str(w, m->text);
	}
}

static void write_calls(struct json_writer *w, const struct chat_message *m)
{
	if (!count_kind(m, CHAT_PART_TOOL_CALL))
		return;
	jw_key(w, "tool_calls");
	jw_array(w);
	for (size_t i = 0; i < m->n_parts; i++) {
		const struct chat_part *p = &m->parts[i];

		if (p->kind != CHAT_PART_TOOL_CALL)
			continue;
		jw_object(w);
		jw_kstr(w, "id", p->id);
		jw_kcstr(w, "type", "function");
		jw_key(w, "function");
		jw_object(w);
		jw_kstr(w, "name", p->name);
		jw_kstr(w, "arguments", p->text.n ? p->text : SLICE_LIT("{}"));
		jw_object_end(w);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void write_result(struct json_writer *w, const struct chat_part *p, struct dropped_params *dropped)
{
	jw_object(w);
	jw_kcstr(w, "role", "tool");
	jw_kstr(w, "tool_call_id", p->id);
	jw_kstr(w, "content", p->text);
	jw_object_end(w);
	for (size_t i = 0; i < p->n_parts; i++)
		if (p->parts[i].kind != CHAT_PART_TEXT && p->parts[i].kind != CHAT_PART_IMAGE)
			dropped_part(dropped, &p->parts[i]);
}

/* Results first: they answer the calls of the message before. */
static void write_results(struct json_writer *w, const struct chat_message *m, struct dropped_params *dropped)
{
	for (size_t i = 0; i < m->n_parts; i++)
		if (m->parts[i].kind == CHAT_PART_TOOL_RESULT)
			write_result(w, &m->parts[i], dropped);
}

static bool is_results_alone(const struct chat_message *m)
{
	size_t n = count_kind(m, CHAT_PART_TOOL_RESULT);

	return n && (n == m->n_parts || m->role == CHAT_TOOL);
}

/* begins: it is the answer's beginning, and the upstream wants to be told so in the message. */
static void write_message(struct json_writer *w, const struct chat_message *m, bool begins,
			  struct dropped_params *dropped)
{
	write_results(w, m, dropped);
	if (is_results_alone(m))
		return;
	jw_object(w);
	jw_kcstr(w, "role", chat_role_name(m->role));
	write_content(w, m, count_kind(m, CHAT_PART_TOOL_CALL) > 0);
	write_calls(w, m);
	if (begins)
		jw_kbool(w, "prefix", true);
	jw_object_end(w);
}

/* The images of results up to the last: nothing may stand between results. */
static void write_images_of_results(struct json_writer *w, const struct chat_request *r, size_t last)
{
	size_t first = last, n = count_result_images(&r->messages[last]);

	if (last + 1 < r->n_messages && count_kind(&r->messages[last + 1], CHAT_PART_TOOL_RESULT))
		return;
	while (first && is_results_alone(&r->messages[first - 1]))
		n += count_result_images(&r->messages[--first]);
	if (!n || !count_kind(&r->messages[last], CHAT_PART_TOOL_RESULT))
		return;
	jw_object(w);
	jw_kcstr(w, "role", "user");
	jw_key(w, "content");
	jw_array(w);
	for (size_t i = first; i <= last; i++)
		write_result_images(w, &r->messages[i]);
	jw_array_end(w);
	jw_object_end(w);
}

static void write_messages(struct json_writer *w, const struct chat_request *r, const struct upstream_params *p,
			   struct dropped_params *dropped)
{
	bool begun = p->prefill.n > 0;

	jw_key(w, "messages");
	jw_array(w);
	for (size_t i = 0; i < r->n_messages; i++) {
		write_message(w, &r->messages[i], begun && i + 1 == r->n_messages && p->prefill_style == PREFILL_PREFIX,
			      dropped);
		write_images_of_results(w, r, i);
	}
	jw_array_end(w);
	if (begun && p->prefill_style == PREFILL_CONTINUE) {
		jw_kbool(w, "continue_final_message", true);
		jw_kbool(w, "add_generation_prompt", false);
	}
}

/* --- tools, formats, reasoning --- */

void openai_write_tools(struct json_writer *w, const struct chat_details *d)
{
	if (!d->n_tools)
		return;
	jw_key(w, "tools");
	jw_array(w);
	for (size_t i = 0; i < d->n_tools; i++) {
		const struct chat_tool *t = &d->tools[i];

		jw_object(w);
		jw_kcstr(w, "type", "function");
		jw_key(w, "function");
		jw_object(w);
		jw_kstr(w, "name", t->name);
		if (t->description.p)
			jw_kstr(w, "description", t->description);
		if (t->schema.n)
			jw_kraw(w, "parameters", t->schema);
		if (t->has_strict)
			jw_kbool(w, "strict", t->strict);
		jw_object_end(w);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void write_tool_choice(struct json_writer *w, const struct chat_request *r)
{
	const struct chat_details *d = request_details(r);

	if (!d->n_tools)
		return;
	switch (d->tool_choice) {
	case CHAT_TOOLS_UNSAID:
		break;
	case CHAT_TOOLS_AUTO:
		jw_kcstr(w, "tool_choice", "auto");
		break;
	case CHAT_TOOLS_NONE:
		jw_kcstr(w, "tool_choice", "none");
		break;
	case CHAT_TOOLS_REQUIRED:
		jw_kcstr(w, "tool_choice", "required");
		break;
	case CHAT_TOOLS_NAMED:
		jw_key(w, "tool_choice");
		jw_object(w);
		jw_kcstr(w, "type", "function");
		jw_key(w, "function");
		jw_object(w);
		jw_kstr(w, "name", d->tool_name);
		jw_object_end(w);
		jw_object_end(w);
		break;
	}
	if (request_says(r, CHAT_PARAM_PARALLEL))
		jw_kbool(w, "parallel_tool_calls", d->parallel);
}

static void write_format(struct json_writer *w, const struct chat_details *d)
{
	if (d->format != CHAT_FORMAT_JSON && d->format != CHAT_FORMAT_SCHEMA)
		return;
	jw_key(w, "response_format");
	jw_object(w);
	jw_kcstr(w, "type", d->format == CHAT_FORMAT_JSON ? "json_object" : "json_schema");
	if (d->format == CHAT_FORMAT_SCHEMA) {
		jw_key(w, "json_schema");
		jw_object(w);
		jw_kstr(w, "name", d->schema_name.n ? d->schema_name : SLICE_LIT("answer"));
		jw_kraw(w, "schema", d->schema);
		if (d->schema_strict)
			jw_kbool(w, "strict", true);
		jw_object_end(w);
	}
	jw_object_end(w);
}

static const char *effort_name(const struct chat_details *d)
{
	switch (d->effort) {
	case CHAT_EFFORT_UNSAID:
		break;
	case CHAT_EFFORT_NONE:
		return "none";
	case CHAT_EFFORT_MINIMAL:
		return "minimal";
	case CHAT_EFFORT_LOW:
		return "low";
	case CHAT_EFFORT_MEDIUM:
		return "medium";
	case CHAT_EFFORT_HIGH:
		return "high";
	case CHAT_EFFORT_MAX:
		return "xhigh";
	}
	/* a number of tokens has no place here: what it comes to */
	return !d->reasoning_budget	      ? NULL
	       : d->reasoning_budget <= 2048  ? "low"
	       : d->reasoning_budget <= 16384 ? "medium"
					      : "high";
}

void openai_write_stream(struct json_writer *w, const struct upstream_params *p)
{
	if (!p->stream)
		return;
	jw_kbool(w, "stream", true);
	if (p->leave_usage)
		return;
	jw_key(w, "stream_options");
	jw_object(w);
	jw_kbool(w, "include_usage", true);
	jw_object_end(w);
}

int openai_encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped)
{
	const struct chat_details *d = request_details(r);
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kstr(&w, "model", p->model);
	write_messages(&w, r, p, dropped);
	openai_write_stream(&w, p);
	request_write_parameters(&w, r, p->newer_limit ? "max_completion_tokens" : "max_tokens");
	request_write_said(&w, r, CHAT_PARAM_FREQUENCY_PENALTY, "frequency_penalty");
	request_write_said(&w, r, CHAT_PARAM_PRESENCE_PENALTY, "presence_penalty");
	openai_write_tools(&w, d);
	write_tool_choice(&w, r);
	write_format(&w, d);
	if (effort_name(d))
		jw_kcstr(&w, "reasoning_effort", effort_name(d));
	if (d->user.n)
		jw_kstr(&w, "user", d->user);
	request_write_defaults(&w, r, p->parameters, ours);
	jw_object_end(&w);
	dropped_of_request(r, CARRIES, PARTS, dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}
