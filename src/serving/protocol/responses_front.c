/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI's responses: what every request is read for.  Input is a text or a list of items.  What the assistant said
 * comes as several items (reasoning, messages, calls), which are one message here, since models of other protocols want
 * calls and the words before them together.  Nothing is kept between two requests: whatever refers to something that
 * was kept is refused by name.
 */
#include "serving/protocol/responses_internal.h"

/* What is being read: the message that the assistant's items belong to, or one of anybody else. */
struct reading {
	struct front *f;
	struct chat_message *m; /* NULL: none is open */
	struct parts parts;
	struct texts words;
	size_t i; /* the item's place in the input */
};

static int bad(struct reading *r, const char *member, const char *what)
{
	char *at = arena_printf(r->f->a, "input[%zu]%s", r->i, member);

	*r->f->ret_param = at ? at : "input";
	return err_set(r->f->err, E_INVALID, "%s %s", *r->f->ret_param, what);
}

/* --- messages --- */

static int close_message(struct reading *r)
{
	struct chat_message *m = r->m;

	r->m = NULL;
	if (!m)
		return 0;
	m->parts = r->parts.p;
	m->n_parts = r->parts.n;
	if (r->words.n && texts_join(r->f->a, &r->words, &m->text) < 0)
		return front_too_big(r->f);
	return 0;
}

static int open_message(struct reading *r, enum chat_role role, const struct json *node)
{
	int rc;

	if (r->m && role == CHAT_ASSISTANT && r->m->role == role)
		return 0;
	rc = close_message(r);
	r->parts = (struct parts){0};
	r->words = (struct texts){0};
	r->m = &r->f->r->messages[1 + r->f->r->n_messages++];
	*r->m = (struct chat_message){.role = role, .text = SLICE_LIT(""), .node = node};
	return rc;
}

static int add_part(struct reading *r, enum chat_part_kind kind, struct chat_part part)
{
	r->m->has_other |= kind != CHAT_PART_TEXT;
	return parts_put(r->f, &r->parts, kind, part);
}

/* A string that people read, or that the model wrote. */
static int add_words(struct reading *r, enum chat_part_kind kind, const struct json *string)
{
	int rc = r->m->role == CHAT_SYSTEM ? 0 : front_judge(r->f, string);

	if (rc == 0)
		rc = add_part(r, kind, (struct chat_part){.text = string->str});
	if (rc == 0 && kind == CHAT_PART_TEXT && string->str.n &&
	    texts_add(r->f->a, &r->words, string->str, string->raw) < 0)
		return front_too_big(r->f);
	return rc;
}

static struct slice label_of(struct reading *r, const char *before, const struct json *part)
{
	struct slice type = slice_sub(wire_text_in(part, "type"), 0, 40);

	return slice_from(arena_printf(r->f->a, "%s" SLICE_FMT, before, SLICE_ARG(type)));
}

static int add_image(struct reading *r, const struct json *part)
{
	struct chat_part p = {.label = SLICE_LIT("input[].input_image")};
	struct slice url = wire_text_in(part, "image_url");

	if (!url.n) /* a file that was kept */
		return add_part(r, CHAT_PART_OTHER, p);
	if (!part_data_url(url, &p))
		p.url = url;
	return add_part(r, CHAT_PART_IMAGE, p);
}

static int add_content(struct reading *r, const struct json *part)
{
	const struct json *type = json_get(part, "type");
	bool refusal = wire_is_string(type) && slice_eq_str(type->str, "refusal");
	const struct json *text = json_get(part, refusal ? "refusal" : "text");

	if (!wire_is_string(type))
		return bad(r, ".content", "must hold parts with a type (\"input_text\", \"input_image\", ...)");
	if (json_duplicate(part, "type") || json_duplicate(part, "text") || json_duplicate(part, "refusal") ||
	    json_duplicate(part, "image_url"))
		return bad(r, ".content", "gives a member twice");
	if (wire_is_string(text)) /* a type that we do not know may well be text to the model */
		return add_words(r, refusal ? CHAT_PART_REFUSAL : CHAT_PART_TEXT, text);
	if (refusal || slice_ends(type->str, SLICE_LIT("text")))
		return bad(r, ".content", refusal ? "has a refusal without its words" : "has a text part without text");
	if (slice_eq_str(type->str, "input_image"))
		return add_image(r, part);
	return add_part(r, CHAT_PART_OTHER, (struct chat_part){.label = label_of(r, "input[].", part)});
}

static int add_contents(struct reading *r, const struct json *content, const char *member)
{
	int rc = 0;

	if (wire_is_string(content))
		return add_words(r, CHAT_PART_TEXT, content);
	if (!content || content->type != JSON_ARRAY)
		return bad(r, member, "must be a string or an array of parts");
	for (const struct json *part = content->first; part && rc == 0; part = part->next)
		rc = add_content(r, part);
	return rc;
}

/* --- items --- */

static int read_message(struct reading *r, const struct json *item)
{
	static const struct {
		const char *name;
		enum chat_role role;
	} roles[] = {{"user", CHAT_USER},
		     {"assistant", CHAT_ASSISTANT},
		     {"system", CHAT_SYSTEM},
		     {"developer", CHAT_SYSTEM}};
	struct slice role = wire_text_in(item, "role");

	for (size_t k = 0; k < COUNT_OF(roles); k++) {
		int rc;

		if (!slice_eq_str(role, roles[k].name))
			continue;
		rc = open_message(r, roles[k].role, item);
		return rc < 0 ? rc : add_contents(r, json_get(item, "content"), ".content");
	}
	return bad(r, ".role", "must be user, assistant, system or developer");
}

static int read_call(struct reading *r, const struct json *item)
{
	const struct json *arguments = json_get(item, "arguments");
	struct chat_part p = {.id = wire_text_in(item, "call_id"),
			      .name = wire_text_in(item, "name"),
			      .label = SLICE_LIT("input[].function_call")};
	int rc = open_message(r, CHAT_ASSISTANT, item);

	if (rc < 0)
		return rc;
	if (!p.name.n || !p.id.n || !wire_is_string(arguments))
		return bad(r, "", "is a function_call that lacks its call_id, its name or its arguments");
	p.text = arguments->str;
	rc = front_judge(r->f, arguments);
	return rc < 0 ? rc : add_part(r, CHAT_PART_TOOL_CALL, p);
}

/* All its text is one text; what is more than text stands in its parts. */
static int read_result(struct reading *r, const struct json *item)
{
	struct chat_part p = {.id = wire_text_in(item, "call_id"), .label = SLICE_LIT("input[].function_call_output")};
	struct parts inner;
	int rc = open_message(r, CHAT_TOOL, item);

	if (rc < 0)
		return rc;
	if (!p.id.n)
		return bad(r, ".call_id", "must name the call that this is the output of");
	rc = add_contents(r, json_get(item, "output"), ".output");
	if (rc < 0)
		return rc;
	inner = r->parts;
	r->parts = (struct parts){0};
	if (r->words.n && texts_join(r->f->a, &r->words, &p.text) < 0)
		return front_too_big(r->f);
	if (r->m->has_other) {
		p.parts = inner.p;
		p.n_parts = inner.n;
	}
	return add_part(r, CHAT_PART_TOOL_RESULT, p);
}

/* The texts of a list, judged, one a line. */
static int read_thoughts(struct reading *r, const struct json *list, struct slice *ret)
{
	struct texts words = {0};
	int rc = 0;

	for (const struct json *v = list ? list->first : NULL; v && rc == 0; v = v->next) {
		const struct json *text = json_get(v, "text");

		if (json_duplicate(v, "text"))
			return bad(r, "", "gives a member twice");
		if (!wire_has_text(text))
			continue;
		rc = front_judge(r->f, text);
		if (rc == 0 && texts_add(r->f->a, &words, text->str, text->raw) < 0)
			rc = front_too_big(r->f);
	}
	*ret = SLICE_LIT("");
	return rc == 0 && words.n && texts_join(r->f->a, &words, ret) < 0 ? front_too_big(r->f) : rc;
}

static int read_reasoning(struct reading *r, const struct json *item)
{
	static const struct slice mark = {RESPONSES_REDACTED, sizeof(RESPONSES_REDACTED) - 1};
	struct chat_part p = {.opaque = wire_text_in(item, "encrypted_content"),
			      .label = SLICE_LIT("input[].reasoning")};
	struct slice summary = SLICE_LIT(""), content = SLICE_LIT("");
	int rc = open_message(r, CHAT_ASSISTANT, item);

	for (const struct json *v = item->first; v && rc == 0; v = v->next) { /* as they stand: texts are judged so */
		if (KEY_IS(v, "summary"))
			rc = read_thoughts(r, v, &summary);
		else if (KEY_IS(v, "content"))
			rc = read_thoughts(r, v, &content);
	}
	if (rc < 0)
		return rc;
	p.text = content.n ? content : summary;
	if (slice_starts(p.opaque, mark)) {
		p.redacted = true;
		p.opaque = slice_sub(p.opaque, mark.n, p.opaque.n);
	}
	return p.text.n || p.opaque.n ? add_part(r, CHAT_PART_REASONING, p) : 0;
}

static const struct item_kind {
	const char *type;
	int (*read)(struct reading *r, const struct json *item);
} kinds[] = {
	{"message", read_message},
	{"function_call", read_call},
	{"function_call_output", read_result},
	{"reasoning", read_reasoning},
};

/* A message may go without its type. */
static const struct item_kind *kind_of(const struct json *item)
{
	struct slice type = wire_text_in(item, "type");

	for (size_t i = 0; i < COUNT_OF(kinds); i++)
		if (slice_eq_str(type, kinds[i].type))
			return &kinds[i];
	return !type.n && json_get(item, "role") ? &kinds[0] : NULL;
}

bool responses_knows_item(const struct json *item)
{
	return kind_of(item) != NULL;
}

static bool refers(const struct json *item)
{
	struct slice type = wire_text_in(item, "type");

	return slice_eq_str(type, "item_reference") || (!type.n && json_get(item, "id"));
}

static int read_item(struct reading *r, const struct json *item)
{
	static const char *const once[] = {"type",	"role",	   "content", "call_id", "name",
					   "arguments", "summary", "id",      "output",	 "encrypted_content"};
	const struct item_kind *kind;

	if (item->type != JSON_OBJECT)
		return bad(r, "", "must be an item: an object with a type or a role");
	for (size_t i = 0; i < COUNT_OF(once); i++)
		if (json_duplicate(item, once[i]))
			return bad(r, "", "gives a member twice");
	kind = kind_of(item);
	if (kind)
		return kind->read(r, item);
	if (refers(item))
		return bad(r, "",
			   "refers to an item that would have been kept, and nothing is: send the item itself, as "
			   "clients do "
			   "with store false");
	return wire_text_in(item, "type").n ? 0 /* one that only OpenAI runs: decode_details names it */
					    : bad(r, "", "must have a type or a role");
}

static int read_input(struct front *f, const struct json *v)
{
	struct reading r = {.f = f};
	int rc = 0;

	if (v->type != JSON_STRING && v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "a string or an array of items");
	/* the first place is for the instructions, which stand beside it */
	f->r->messages = ARENA_ARRAY(f->a, struct chat_message, (size_t)v->n_items + 2);
	if (!f->r->messages)
		return front_too_big(f);
	if (v->type == JSON_STRING) {
		f->r->messages[1] = (struct chat_message){.role = CHAT_USER, .text = v->str, .node = v};
		f->r->n_messages = 1;
		return front_judge(f, v);
	}
	for (const struct json *item = v->first; item && rc == 0; item = item->next, r.i++)
		rc = read_item(&r, item);
	if (rc == 0)
		rc = close_message(&r);
	if (rc == 0 && !f->r->n_messages)
		return err_set(f->err, E_INVALID, "input must hold at least one message or other item of a chat");
	return rc;
}

/* --- the rest --- */

static int check_instructions(struct front *f, const struct json *v)
{
	return v->type == JSON_STRING ? 0 : front_wrong_type(f, v, "a string");
}

static int refuse_kept(struct front *f, const struct json *v)
{
	(void)v;
	return err_set(
		f->err, E_INVALID,
		"%s refers to something that would have been kept, and no response is kept here: send the earlier "
		"items in input",
		*f->ret_param);
}

static int refuse_background(struct front *f, const struct json *v)
{
	if (v->type == JSON_BOOL && !v->boolean)
		return 0;
	return err_set(f->err, E_INVALID, "background must be false: an answer is given at once, and none is kept");
}

static int check_bool(struct front *f, const struct json *v)
{
	return v->type == JSON_BOOL ? 0 : front_wrong_type(f, v, "true or false");
}

/* It is given back with the answer. */
static int check_metadata(struct front *f, const struct json *v)
{
	if (v->type != JSON_OBJECT)
		return front_wrong_type(f, v, "an object of strings");
	for (const struct json *one = v->first; one; one = one->next)
		if (one->type != JSON_STRING)
			return err_set(f->err, E_INVALID, "metadata must hold strings only, not a %s",
				       json_type_name(one->type));
	return 0;
}

/* For its details, and to be repeated: so that both are the same, it may stand there once. */
static int leave(struct front *f, const struct json *v)
{
	(void)f;
	(void)v;
	return 0;
}

static const struct front_member members[] = {
	{"model", front_model},
	{"input", read_input},
	{"instructions", check_instructions},
	{"stream", front_stream},
	{"max_output_tokens", front_max_tokens},
	{"temperature", front_temperature},
	{"top_p", front_top_p},
	{"previous_response_id", refuse_kept},
	{"conversation", refuse_kept},
	{"prompt", refuse_kept},
	{"background", refuse_background},
	{"store", check_bool},
	{"metadata", check_metadata},
	{"tools", leave},
	{"tool_choice", leave},
	{"parallel_tool_calls", leave},
	{"text", leave},
	{"reasoning", leave},
	{"user", leave},
};
_Static_assert(COUNT_OF(members) <= FRONT_MAX_MEMBERS, "front_walk keeps one bit for each");

static void place_instructions(struct chat_request *r, const struct json *instructions)
{
	if (!wire_has_text(instructions)) {
		r->messages++;
		return;
	}
	r->messages[0] = (struct chat_message){.role = CHAT_SYSTEM, .text = instructions->str};
	r->n_messages++;
}

int responses_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			     const char **ret_param, struct err *err)
{
	struct chat_request r = {.root = root, .body = body, .n_choices = 1, .include_usage = true};
	struct front f = {.a = a, .r = &r, .ret_param = ret_param, .err = err};
	const struct json *instructions;
	int rc;

	*ret_param = NULL;
	rc = front_walk(&f, root, members, COUNT_OF(members));
	if (rc < 0)
		return rc;
	if (!r.model.p) {
		*ret_param = "model";
		return err_set(err, E_INVALID, "model is missing: name a use case or a registered model");
	}
	if (!r.messages) {
		*ret_param = "input";
		return err_set(err, E_INVALID, "input is missing: send a text, or an array with at least one item");
	}
	instructions = json_get(root, "instructions");
	place_instructions(&r, instructions);
	rc = messages_set_prompt_beside(&f, instructions);
	if (rc < 0)
		return rc;
	r.judged = f.judged.t;
	r.n_judged = f.judged.n;
	*ret = r;
	return 0;
}
