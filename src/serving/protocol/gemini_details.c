/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemini's generateContent: what only a translation reads of a request.  Calls need no ids there, and results name the
 * function: call_ids.
 */
#include "serving/protocol/gemini_internal.h"

struct details {
	struct front *f;
	struct call_ids calls; /* of the last model's content */
};

struct slice gemini_result_text(const struct json *response)
{
	static const char *const names[] = {"result", "output", "error"};

	if (response->type == JSON_STRING)
		return response->str;
	for (size_t i = 0; i < COUNT_OF(names) && response->n_items == 1; i++)
		if (wire_is_string(json_get(response, names[i])))
			return json_get(response, names[i])->str;
	return response->raw;
}

static int read_call(struct details *d, const struct json *call, struct slice signature, struct parts *list)
{
	const struct json *args = json_get(call, "args");
	struct chat_part p = {.id = gemini_text(call, "id"),
			      .name = gemini_text(call, "name"),
			      .opaque = signature,
			      .label = SLICE_LIT("contents[].functionCall")};

	if (!p.name.n) {
		*d->f->ret_param = "contents";
		return err_set(d->f->err, E_INVALID, "a functionCall in contents must have a name");
	}
	if (args && args->type == JSON_OBJECT)
		p.text = args->raw;
	p.id = call_ids_add(d->f->a, &d->calls, p.id, p.name);
	return parts_put(d->f, list, CHAT_PART_TOOL_CALL, p);
}

static int read_result(struct details *d, const struct json *result, struct parts *list)
{
	const struct json *response = json_get(result, "response");
	struct chat_part p = {.name = gemini_text(result, "name"), .label = SLICE_LIT("contents[].functionResponse")};

	if (!p.name.n) {
		*d->f->ret_param = "contents";
		return err_set(d->f->err, E_INVALID, "a functionResponse in contents must have a name");
	}
	p.id = gemini_text(result, "id");
	if (!p.id.n)
		p.id = call_ids_of_result(&d->calls, p.name);
	if (response) {
		p.text = gemini_result_text(response);
		p.is_error = response->n_items == 1 && json_get(response, "error");
	}
	return parts_put(d->f, list, CHAT_PART_TOOL_RESULT, p);
}

static int read_data(struct details *d, const struct json *data, struct parts *list)
{
	struct chat_part p = {.label = SLICE_LIT("contents[].inlineData"),
			      .media_type = gemini_text(data, "mimeType"),
			      .data = gemini_text(data, "data")};
	bool image = slice_starts(p.media_type, SLICE_LIT("image/")) && p.data.n;

	return parts_put(d->f, list, image ? CHAT_PART_IMAGE : CHAT_PART_OTHER, p);
}

static int read_file(struct details *d, const struct json *file, struct parts *list)
{
	struct chat_part p = {.label = SLICE_LIT("contents[].fileData"), .url = gemini_text(file, "fileUri")};
	bool image = slice_starts(gemini_text(file, "mimeType"), SLICE_LIT("image/")) &&
		     slice_starts(p.url, SLICE_LIT("http"));

	return parts_put(d->f, list, image ? CHAT_PART_IMAGE : CHAT_PART_OTHER, p);
}

static int read_text(struct details *d, const struct json *part, struct slice signature, struct parts *list)
{
	const struct json *thought = json_get(part, "thought");
	struct chat_part p = {.text = json_get(part, "text")->str};
	int rc;

	if (thought && thought->type == JSON_BOOL && thought->boolean) {
		p.opaque = signature;
		p.label = SLICE_LIT("contents[].thought");
		return parts_put(d->f, list, CHAT_PART_REASONING, p);
	}
	rc = p.text.n ? parts_put(d->f, list, CHAT_PART_TEXT, p) : 0;
	if (rc < 0 || !signature.n)
		return rc;
	p = (struct chat_part){.opaque = signature, .label = SLICE_LIT("contents[].thoughtSignature")};
	return parts_put(d->f, list, CHAT_PART_REASONING, p);
}

static int read_part(struct details *d, const struct json *part, struct parts *list)
{
	const struct json *call = gemini_get(part, "functionCall"), *result = gemini_get(part, "functionResponse");
	const struct json *data = gemini_get(part, "inlineData"), *file = gemini_get(part, "fileData");
	struct slice signature = gemini_text(part, "thoughtSignature");

	if (call)
		return read_call(d, call, signature, list);
	if (result)
		return read_result(d, result, list);
	if (wire_is_string(json_get(part, "text")))
		return read_text(d, part, signature, list);
	if (data)
		return read_data(d, data, list);
	if (file)
		return read_file(d, file, list);
	return parts_put(d->f, list, CHAT_PART_OTHER, (struct chat_part){.label = SLICE_LIT("contents[].parts")});
}

static int read_message(struct details *d, struct chat_message *m)
{
	const struct json *parts = json_get(m->node, "parts");
	struct parts list = {0};
	int rc = 0;

	if (m->role == CHAT_ASSISTANT)
		d->calls.n = 0;
	for (const struct json *p = gemini_items(parts); p && rc == 0; p = gemini_next(parts, p))
		rc = read_part(d, p, &list);
	m->parts = list.p;
	m->n_parts = list.n;
	return rc;
}

/* --- tools --- */

static void write_schema(struct json_writer *w, const struct json *v);

static void write_schemas(struct json_writer *w, const struct json *v)
{
	if (v->type == JSON_ARRAY) {
		jw_array(w);
		for (const struct json *m = v->first; m; m = m->next)
			write_schema(w, m);
		jw_array_end(w);
		return;
	}
	jw_object(w);
	for (const struct json *m = v->first; m; m = m->next) {
		jw_key_slice(w, m->key);
		write_schema(w, m);
	}
	jw_object_end(w);
}

static void write_lower(struct json_writer *w, struct slice s)
{
	static const char small[] = "abcdefghijklmnopqrstuvwxyz";
	char lower[32];
	size_t n = min_size(s.n, sizeof(lower));

	for (size_t i = 0; i < n; i++) {
		lower[i] = s.p[i];
		if (s.p[i] >= 'A' && s.p[i] <= 'Z')
			lower[i] = small[s.p[i] - 'A'];
	}
	jw_str(w, (struct slice){lower, n});
}

/* Types are in capitals there ("STRING"), and everywhere else they are not. */
static void write_schema(struct json_writer *w, const struct json *v)
{
	if (v->type != JSON_OBJECT) {
		jw_raw(w, v->raw);
		return;
	}
	jw_object(w);
	for (const struct json *m = v->first; m; m = m->next) {
		jw_key_slice(w, m->key);
		if (KEY_IS(m, "type") && m->type == JSON_STRING)
			write_lower(w, m->str);
		else if (KEY_IS(m, "properties") || gemini_is(m->key, "anyOf"))
			write_schemas(w, m);
		else if (KEY_IS(m, "items"))
			write_schema(w, m);
		else
			jw_raw(w, m->raw);
	}
	jw_object_end(w);
}

/* A schema in either form as JSON Schema; absent when there is none. */
static int schema_of(struct front *f, const struct json *obj, const char *name, const char *json_name,
		     struct slice *ret)
{
	const struct json *own = gemini_get(obj, name), *json = gemini_get(obj, json_name);
	struct json_writer w;
	struct buf b;

	*ret = json && json->type == JSON_OBJECT ? json->raw : (struct slice){NULL, 0};
	if (ret->n || !own || own->type != JSON_OBJECT)
		return 0;
	buf_init_arena(&b, f->a, own->raw.n * 6 + 64);
	jw_init(&w, &b);
	write_schema(&w, own);
	*ret = buf_slice(&b);
	return buf_failed(&b) ? front_too_big(f) : 0;
}

static int read_declaration(struct front *f, const struct json *v, struct chat_tool *t)
{
	t->name = gemini_text(v, "name");
	t->description = gemini_text(v, "description");
	if (!t->name.n)
		return err_set(f->err, E_INVALID, "tools must name each function (functionDeclarations[].name)");
	return schema_of(f, v, "parameters", "parametersJsonSchema", &t->schema);
}

static int read_tools(struct front *f, const struct json *v)
{
	struct chat_details *d = f->r->details;
	size_t n = 0;
	int rc = 0;

	for (const struct json *t = gemini_items(v); t; t = gemini_next(v, t)) {
		const struct json *list = gemini_get(t, "functionDeclarations");

		n += list ? list->n_items : 0;
		for (const struct json *m = t->type == JSON_OBJECT ? t->first : NULL; m && rc == 0; m = m->next)
			if (m != list) /* a tool that the provider runs itself */
				rc = details_unknown(f, SLICE_LIT("tools"));
	}
	d->tools = ARENA_ARRAY(f->a, struct chat_tool, n + 1);
	if (!d->tools)
		return front_too_big(f);
	for (const struct json *t = gemini_items(v); t && rc == 0; t = gemini_next(v, t)) {
		const struct json *list = gemini_get(t, "functionDeclarations");

		for (const struct json *fn = list ? list->first : NULL; fn && d->n_tools < n && rc == 0; fn = fn->next)
			rc = read_declaration(f, fn, &d->tools[d->n_tools++]);
	}
	if (!d->n_tools)
		details_unsay(f, CHAT_PARAM_TOOLS);
	return rc;
}

static int read_tool_config(struct front *f, const struct json *v)
{
	struct chat_details *d = f->r->details;
	const struct json *config = gemini_get(v, "functionCallingConfig");
	const struct json *names = gemini_get(config, "allowedFunctionNames");
	struct slice mode = gemini_text(config, "mode");

	d->tool_choice = slice_eq_nocase(mode, SLICE_LIT("ANY"))    ? CHAT_TOOLS_REQUIRED
			 : slice_eq_nocase(mode, SLICE_LIT("NONE")) ? CHAT_TOOLS_NONE
								    : CHAT_TOOLS_AUTO;
	if (d->tool_choice == CHAT_TOOLS_REQUIRED && names && names->n_items == 1 && wire_has_text(names->first)) {
		d->tool_choice = CHAT_TOOLS_NAMED;
		d->tool_name = names->first->str;
	} else if (names && names->n_items) {
		return details_unknown(f, SLICE_LIT("allowedFunctionNames"));
	}
	return 0;
}

/* --- generationConfig --- */

static void read_thinking(struct chat_details *d, const struct json *v)
{
	static const struct {
		const char *name;
		enum chat_effort effort;
	} levels[] = {{"minimal", CHAT_EFFORT_MINIMAL},
		      {"low", CHAT_EFFORT_LOW},
		      {"medium", CHAT_EFFORT_MEDIUM},
		      {"high", CHAT_EFFORT_HIGH}};
	const struct json *budget = gemini_get(v, "thinkingBudget");
	struct slice level = gemini_text(v, "thinkingLevel");

	for (size_t i = 0; i < COUNT_OF(levels); i++)
		if (slice_eq_nocase(level, slice_from(levels[i].name)))
			d->effort = levels[i].effort;
	if (!budget || budget->type != JSON_NUMBER || !budget->is_integer)
		return;
	if (budget->integer > 0)
		d->reasoning_budget = budget->integer;
	else
		d->effort = budget->integer ? CHAT_EFFORT_MEDIUM : CHAT_EFFORT_NONE; /* -1: as much as it likes */
}

static const struct {
	const char *name;
	enum chat_param param;
} options[] = {
	{"maxOutputTokens", CHAT_PARAM_MAX_TOKENS},
	{"temperature", CHAT_PARAM_TEMPERATURE},
	{"topP", CHAT_PARAM_TOP_P},
	{"topK", CHAT_PARAM_TOP_K},
	{"seed", CHAT_PARAM_SEED},
	{"stopSequences", CHAT_PARAM_STOP},
	{"frequencyPenalty", CHAT_PARAM_FREQUENCY_PENALTY},
	{"presencePenalty", CHAT_PARAM_PRESENCE_PENALTY},
	{"candidateCount", CHAT_PARAM_CHOICES},
	{"responseMimeType", CHAT_PARAM_FORMAT},
	{"responseSchema", CHAT_PARAM_FORMAT},
	{"responseJsonSchema", CHAT_PARAM_FORMAT},
	{"thinkingConfig", CHAT_PARAM_REASONING},
};

static int read_format(struct front *f, const struct json *v)
{
	struct chat_details *d = f->r->details;
	int rc = schema_of(f, v, "responseSchema", "responseJsonSchema", &d->schema);

	if (d->schema.n)
		d->format = CHAT_FORMAT_SCHEMA;
	else if (slice_eq_str(gemini_text(v, "responseMimeType"), "application/json"))
		d->format = CHAT_FORMAT_JSON;
	else
		details_unsay(f, CHAT_PARAM_FORMAT);
	return rc;
}

static bool is_number(const struct json *v)
{
	return v->type == JSON_NUMBER;
}

static int read_option(struct front *f, const struct json *v)
{
	struct chat_details *d = f->r->details;

	for (size_t i = 0; i < COUNT_OF(options); i++) {
		enum chat_param param = options[i].param;

		if (!gemini_is(v->key, options[i].name))
			continue;
		*f->ret_param = options[i].name;
		if ((param == CHAT_PARAM_TOP_K || param == CHAT_PARAM_FREQUENCY_PENALTY ||
		     param == CHAT_PARAM_PRESENCE_PENALTY) &&
		    !is_number(v))
			return front_wrong_type(f, v, "a number");
		d->said[param] = (struct chat_said){v->key, v};
		if (param == CHAT_PARAM_REASONING)
			read_thinking(d, v);
		return 0;
	}
	return details_unknown(f, v->key);
}

static int read_options(struct front *f, const struct json *v)
{
	struct chat_details *d = f->r->details;
	int rc = 0;

	for (const struct json *m = v->first; m && rc == 0; m = m->next)
		if (m->type != JSON_NULL)
			rc = read_option(f, m);
	if (d->effort == CHAT_EFFORT_UNSAID && !d->reasoning_budget)
		details_unsay(f, CHAT_PARAM_REASONING);
	return rc < 0 ? rc : read_format(f, v);
}

static const struct detail_member members[] = {
	{"contents", CHAT_PARAMS, NULL},
	{"systemInstruction", CHAT_PARAMS, NULL},
	{"system_instruction", CHAT_PARAMS, NULL},
	{"generationConfig", CHAT_PARAMS, read_options},
	{"generation_config", CHAT_PARAMS, read_options},
	{"tools", CHAT_PARAM_TOOLS, read_tools},
	{"toolConfig", CHAT_PARAM_TOOL_CHOICE, read_tool_config},
	{"tool_config", CHAT_PARAM_TOOL_CHOICE, read_tool_config},
};

int gemini_decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err)
{
	struct front f = {.a = a, .r = r, .ret_param = ret_param, .err = err};
	struct details d = {.f = &f};
	int rc = details_walk(&f, members, COUNT_OF(members));

	for (size_t i = 0; i < r->n_messages && rc == 0; i++)
		if (r->messages[i].node)
			rc = read_message(&d, &r->messages[i]);
	return rc;
}
