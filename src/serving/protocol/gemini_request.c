/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of another protocol as Gemini's upstreams take it.  The model and whether it streams stand in the path, so
 * nothing here says either.  Results of tools go by the name of their function; a call goes back with the signature
 * that came with it, without which newer models refuse the conversation.
 */
#include "core/base/utf8.h"
#include "serving/protocol/gemini_internal.h"

#define CARRIES                                                                                                        \
	(CHAT_CARRIES(CHAT_PARAM_MAX_TOKENS) | CHAT_CARRIES(CHAT_PARAM_TEMPERATURE) | CHAT_CARRIES(CHAT_PARAM_TOP_P) | \
	 CHAT_CARRIES(CHAT_PARAM_TOP_K) | CHAT_CARRIES(CHAT_PARAM_SEED) | CHAT_CARRIES(CHAT_PARAM_STOP) |              \
	 CHAT_CARRIES(CHAT_PARAM_FREQUENCY_PENALTY) | CHAT_CARRIES(CHAT_PARAM_PRESENCE_PENALTY) |                      \
	 CHAT_CARRIES(CHAT_PARAM_TOOLS) | CHAT_CARRIES(CHAT_PARAM_TOOL_CHOICE) | CHAT_CARRIES(CHAT_PARAM_FORMAT) |     \
	 CHAT_CARRIES(CHAT_PARAM_REASONING))
#define PARTS                                                                                                     \
	(1u << CHAT_PART_TEXT | 1u << CHAT_PART_REASONING | 1u << CHAT_PART_REFUSAL | 1u << CHAT_PART_TOOL_CALL | \
	 1u << CHAT_PART_TOOL_RESULT | 1u << CHAT_PART_IMAGE)

/* In place of the signature of a call that another model made: models that ask for one take this. */
#define NO_SIGNATURE "skip_thought_signature_validator"

/* --- contents --- */

struct writer {
	struct json_writer w;
	const struct chat_request *r;
	struct dropped_params *dropped;
	bool wants_signatures;
};

static void write_text(struct writer *w, struct slice text)
{
	if (!text.n)
		return;
	jw_object(&w->w);
	jw_kstr(&w->w, "text", text);
	jw_object_end(&w->w);
}

static void write_image(struct writer *w, const struct chat_part *p)
{
	if (!p->data.n) {
		dropped_part(w->dropped, p); /* an address is not fetched there */
		return;
	}
	jw_object(&w->w);
	jw_key(&w->w, "inlineData");
	jw_object(&w->w);
	jw_kstr(&w->w, "mimeType", p->media_type);
	jw_kstr(&w->w, "data", p->data);
	jw_object_end(&w->w);
	jw_object_end(&w->w);
}

static void write_result(struct writer *w, const struct chat_part *p)
{
	jw_object(&w->w);
	jw_key(&w->w, "functionResponse");
	jw_object(&w->w);
	jw_kstr(&w->w, "name", request_name_of_call(w->r, p));
	jw_key(&w->w, "response");
	if (!p->is_error && wire_is_object(p->text)) {
		jw_raw(&w->w, p->text);
	} else {
		jw_object(&w->w);
		jw_kstr(&w->w, p->is_error ? "error" : "result", p->text);
		jw_object_end(&w->w);
	}
	jw_object_end(&w->w);
	jw_object_end(&w->w);
	for (size_t i = 0; i < p->n_parts; i++) {
		if (p->parts[i].kind == CHAT_PART_IMAGE)
			write_image(w, &p->parts[i]);
		else if (p->parts[i].kind != CHAT_PART_TEXT)
			dropped_part(w->dropped, &p->parts[i]);
	}
}

/* before: the part in front of it, whose signature is the call's when the call has none. */
static void write_call(struct writer *w, const struct chat_part *p, const struct chat_part *before)
{
	struct slice signature = p->opaque;

	if (!signature.n && before && before->kind == CHAT_PART_REASONING && !before->text.n)
		signature = before->opaque;
	if (!signature.n && w->wants_signatures && !(before && before->kind == CHAT_PART_TOOL_CALL))
		signature = SLICE_LIT(NO_SIGNATURE); /* of parallel calls the first alone has one */
	jw_object(&w->w);
	jw_key(&w->w, "functionCall");
	jw_object(&w->w);
	jw_kstr(&w->w, "name", p->name);
	jw_key(&w->w, "args");
	wire_write_object(&w->w, p->text);
	jw_object_end(&w->w);
	if (signature.n)
		jw_kstr(&w->w, "thoughtSignature", signature);
	jw_object_end(&w->w);
}

static bool is_signature_of(const struct chat_part *p, const struct chat_part *next)
{
	return !p->text.n && next && next->kind == CHAT_PART_TOOL_CALL && !next->opaque.n;
}

static void write_reasoning(struct writer *w, const struct chat_part *p, const struct chat_part *next)
{
	if (!p->opaque.n || p->redacted) {
		dropped_part(w->dropped, p);
		return;
	}
	if (is_signature_of(p, next))
		return; /* the call has it */
	jw_object(&w->w);
	jw_kstr(&w->w, "text", p->text);
	if (p->text.n)
		jw_kbool(&w->w, "thought", true);
	jw_kstr(&w->w, "thoughtSignature", p->opaque);
	jw_object_end(&w->w);
}

static void write_part(struct writer *w, const struct chat_message *m, size_t i)
{
	const struct chat_part *p = &m->parts[i];

	switch (p->kind) {
	case CHAT_PART_TEXT:
	case CHAT_PART_REFUSAL:
		write_text(w, p->text);
		break;
	case CHAT_PART_REASONING:
		write_reasoning(w, p, i + 1 < m->n_parts ? p + 1 : NULL);
		break;
	case CHAT_PART_TOOL_CALL:
		write_call(w, p, i ? p - 1 : NULL);
		break;
	case CHAT_PART_TOOL_RESULT:
		write_result(w, p);
		break;
	case CHAT_PART_IMAGE:
		write_image(w, p);
		break;
	case CHAT_PART_OTHER: /* dropped_of_request names it */
		break;
	}
}

/* Parts that are written, in a message that nothing else would be left of. */
static bool says_something(const struct chat_message *m)
{
	for (size_t i = 0; i < m->n_parts; i++) {
		const struct chat_part *p = &m->parts[i];

		switch (p->kind) {
		case CHAT_PART_TEXT:
		case CHAT_PART_REFUSAL:
			if (p->text.n)
				return true;
			break;
		case CHAT_PART_REASONING:
			if (p->opaque.n && !p->redacted)
				return true;
			break;
		case CHAT_PART_IMAGE:
			if (p->data.n)
				return true;
			break;
		case CHAT_PART_TOOL_CALL:
		case CHAT_PART_TOOL_RESULT:
			return true;
		case CHAT_PART_OTHER:
			break;
		}
	}
	return !m->parts && m->text.n;
}

static void write_message(struct writer *w, const struct chat_message *m)
{
	if (!m->parts)
		write_text(w, m->text);
	for (size_t i = 0; i < m->n_parts; i++)
		write_part(w, m, i);
}

/* Messages of one side are one content. */
static void write_contents(struct writer *w)
{
	const struct chat_message *open = NULL;

	jw_key(&w->w, "contents");
	jw_array(&w->w);
	for (size_t i = 0; i < w->r->n_messages; i++) {
		const struct chat_message *m = &w->r->messages[i];

		if (request_role(w->r, i) == CHAT_SYSTEM)
			continue;
		if (!says_something(m)) {
			for (size_t k = 0; k < m->n_parts; k++)
				if (m->parts[k].kind == CHAT_PART_IMAGE || m->parts[k].kind == CHAT_PART_REASONING)
					dropped_part(w->dropped, &m->parts[k]);
			continue;
		}
		if (open && (open->role == CHAT_ASSISTANT) != (m->role == CHAT_ASSISTANT)) {
			jw_array_end(&w->w);
			jw_object_end(&w->w);
			open = NULL;
		}
		if (!open) {
			jw_object(&w->w);
			jw_kcstr(&w->w, "role", m->role == CHAT_ASSISTANT ? "model" : "user");
			jw_key(&w->w, "parts");
			jw_array(&w->w);
			open = m;
		}
		write_message(w, m);
	}
	if (open) {
		jw_array_end(&w->w);
		jw_object_end(&w->w);
	}
	jw_array_end(&w->w);
}

static void write_system(struct writer *w)
{
	bool any = false;

	for (size_t i = 0; i < w->r->n_messages; i++) {
		if (request_role(w->r, i) != CHAT_SYSTEM || !w->r->messages[i].text.n)
			continue;
		if (!any) {
			jw_key(&w->w, "systemInstruction");
			jw_object(&w->w);
			jw_key(&w->w, "parts");
			jw_array(&w->w);
		}
		any = true;
		write_text(w, w->r->messages[i].text);
	}
	if (any) {
		jw_array_end(&w->w);
		jw_object_end(&w->w);
	}
}

/* --- tools --- */

static void write_tools(struct json_writer *w, const struct chat_details *d, struct dropped_params *dropped)
{
	if (!d->n_tools)
		return;
	jw_key(w, "tools");
	jw_array(w);
	jw_object(w);
	jw_key(w, "functionDeclarations");
	jw_array(w);
	for (size_t i = 0; i < d->n_tools; i++) {
		const struct chat_tool *t = &d->tools[i];

		jw_object(w);
		jw_kstr(w, "name", t->name);
		if (t->description.n)
			jw_kstr(w, "description", t->description);
		if (t->schema.n)
			jw_kraw(w, "parametersJsonSchema", t->schema);
		if (t->strict)
			dropped_add(dropped, SLICE_LIT("tools[].strict"));
		jw_object_end(w);
	}
	jw_array_end(w);
	jw_object_end(w);
	jw_array_end(w);
}

static void write_tool_choice(struct json_writer *w, const struct chat_details *d)
{
	static const char *const modes[] = {[CHAT_TOOLS_UNSAID] = "AUTO",
					    [CHAT_TOOLS_AUTO] = "AUTO",
					    [CHAT_TOOLS_NONE] = "NONE",
					    [CHAT_TOOLS_REQUIRED] = "ANY",
					    [CHAT_TOOLS_NAMED] = "ANY"};

	if (!d->n_tools || d->tool_choice == CHAT_TOOLS_UNSAID)
		return;
	jw_key(w, "toolConfig");
	jw_object(w);
	jw_key(w, "functionCallingConfig");
	jw_object(w);
	jw_kcstr(w, "mode", modes[d->tool_choice]);
	if (d->tool_choice == CHAT_TOOLS_NAMED) {
		jw_key(w, "allowedFunctionNames");
		jw_array(w);
		jw_str(w, d->tool_name);
		jw_array_end(w);
	}
	jw_object_end(w);
	jw_object_end(w);
}

/* --- generationConfig --- */

/* Names of parameters in other protocols and here. */
static const struct {
	const char *name, *ours;
} option_names[] = {
	{"max_tokens", "maxOutputTokens"},
	{"max_completion_tokens", "maxOutputTokens"},
	{"num_predict", "maxOutputTokens"},
	{"top_p", "topP"},
	{"top_k", "topK"},
	{"stop", "stopSequences"},
	{"stop_sequences", "stopSequences"},
	{"frequency_penalty", "frequencyPenalty"},
	{"presence_penalty", "presencePenalty"},
};

static const char *const root_names[] = {"safetySettings", "cachedContent", "labels", "toolConfig", "tools"};

struct slice gemini_option_name(struct slice parameter)
{
	for (size_t i = 0; i < COUNT_OF(root_names); i++)
		if (slice_eq_str(parameter, root_names[i]))
			return (struct slice){NULL, 0};
	for (size_t i = 0; i < COUNT_OF(option_names); i++)
		if (slice_eq_str(parameter, option_names[i].name))
			return slice_from(option_names[i].ours);
	return parameter;
}

/* Whether the request says what a default of the model's is about, under any of its names. */
static bool is_said(const struct chat_request *r, struct slice parameter)
{
	static const struct {
		const char *ours;
		enum chat_param param;
	} others[] = {
		{"responseMimeType", CHAT_PARAM_FORMAT},
		{"responseSchema", CHAT_PARAM_FORMAT},
		{"responseJsonSchema", CHAT_PARAM_FORMAT},
		{"thinkingConfig", CHAT_PARAM_REASONING},
		{"tools", CHAT_PARAM_TOOLS},
		{"toolConfig", CHAT_PARAM_TOOL_CHOICE},
	};

	if (request_names(r, parameter))
		return true;
	for (size_t i = 0; i < COUNT_OF(option_names); i++)
		if (slice_eq_str(parameter, option_names[i].ours) && request_names(r, slice_from(option_names[i].name)))
			return true;
	for (size_t i = 0; i < COUNT_OF(others); i++)
		if (slice_eq_str(parameter, others[i].ours) && request_says(r, others[i].param))
			return true;
	return false;
}

static bool is_ours(struct slice parameter)
{
	static const char *const names[] = {"model",  "messages",	"contents", "systemInstruction",
					    "stream", "stream_options", "options",  "generationConfig"};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (slice_eq_str(parameter, names[i]))
			return true;
	return false;
}

static void write_defaults(struct json_writer *w, const struct chat_request *r, const struct json *parameters,
			   bool in_root)
{
	for (const struct json *v = parameters ? parameters->first : NULL; v; v = v->next) {
		struct slice name = gemini_option_name(v->key);

		if (is_ours(v->key) || (name.p == NULL) != in_root || is_said(r, v->key))
			continue;
		jw_key_slice(w, in_root ? v->key : name);
		jw_raw(w, v->raw);
	}
}

static void write_stops(struct json_writer *w, const struct chat_request *r)
{
	if (!r->n_stop)
		return;
	jw_key(w, "stopSequences");
	jw_array(w);
	for (size_t i = 0; i < r->n_stop; i++)
		jw_str(w, r->stop[i]);
	jw_array_end(w);
}

static void write_thinking(struct json_writer *w, const struct chat_details *d)
{
	static const int64_t budgets[] = {
		[CHAT_EFFORT_UNSAID] = 0, [CHAT_EFFORT_NONE] = 0,      [CHAT_EFFORT_MINIMAL] = 512,
		[CHAT_EFFORT_LOW] = 1024, [CHAT_EFFORT_MEDIUM] = 8192, [CHAT_EFFORT_HIGH] = 16384,
		[CHAT_EFFORT_MAX] = 24576};
	int64_t budget = d->reasoning_budget ? d->reasoning_budget : budgets[d->effort];

	if (!budget && d->effort != CHAT_EFFORT_NONE)
		return;
	jw_key(w, "thinkingConfig");
	jw_object(w);
	jw_ki64(w, "thinkingBudget", budget);
	if (budget)
		jw_kbool(w, "includeThoughts", true);
	jw_object_end(w);
}

static void write_format(struct json_writer *w, const struct chat_details *d)
{
	if (d->format != CHAT_FORMAT_JSON && d->format != CHAT_FORMAT_SCHEMA)
		return;
	jw_kcstr(w, "responseMimeType", "application/json");
	if (d->format == CHAT_FORMAT_SCHEMA && d->schema.n)
		jw_kraw(w, "responseJsonSchema", d->schema);
}

static void write_generation(struct json_writer *w, const struct chat_request *r, const struct json *parameters)
{
	jw_key(w, "generationConfig");
	jw_object(w);
	if (r->has_max_tokens)
		jw_ki64(w, "maxOutputTokens", r->max_tokens);
	if (r->has_temperature)
		jw_kdouble(w, "temperature", r->temperature);
	if (r->has_top_p)
		jw_kdouble(w, "topP", r->top_p);
	if (r->has_seed)
		jw_ki64(w, "seed", r->seed);
	request_write_said(w, r, CHAT_PARAM_TOP_K, "topK");
	request_write_said(w, r, CHAT_PARAM_FREQUENCY_PENALTY, "frequencyPenalty");
	request_write_said(w, r, CHAT_PARAM_PRESENCE_PENALTY, "presencePenalty");
	write_stops(w, r);
	write_format(w, request_details(r));
	write_thinking(w, request_details(r));
	write_defaults(w, r, parameters, false);
	jw_object_end(w);
}

int gemini_encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped)
{
	struct writer w = {
		.r = r, .dropped = dropped, .wants_signatures = slice_has_nocase(p->model, SLICE_LIT("gemini-3"))};

	jw_init(&w.w, out);
	jw_object(&w.w);
	write_system(&w);
	write_contents(&w);
	write_tools(&w.w, request_details(r), dropped);
	write_tool_choice(&w.w, request_details(r));
	write_generation(&w.w, r, p->parameters);
	write_defaults(&w.w, r, p->parameters, true);
	jw_object_end(&w.w);
	dropped_of_request(r, CARRIES, PARTS, dropped);
	return buf_failed(out) ? E_TOOBIG : 0;
}
