/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages: {"role", "content"} objects as OpenAI and Ollama write them.  All text of a message has to end up in its
 * `text`, because that is what the guardrails judge and the log keeps.
 */
#include "serving/protocol/protocol_internal.h"

static const struct {
	const char *name;
	enum chat_role role;
} roles[] = {
	{"user", CHAT_USER},	    {"assistant", CHAT_ASSISTANT}, {"system", CHAT_SYSTEM},
	{"developer", CHAT_SYSTEM}, {"tool", CHAT_TOOL},	   {"function", CHAT_TOOL},
};

/* Names the place and says what is wrong with it. */
static int bad(struct front *f, size_t i, const char *member, const char *what)
{
	char *at = arena_printf(f->a, "messages[%zu]%s", i, member);

	*f->ret_param = at ? at : "messages";
	return err_set(f->err, E_INVALID, "%s %s", *f->ret_param, what);
}

static int bad_part(struct front *f, size_t i, size_t part, const char *member, const char *what)
{
	char *at = arena_printf(f->a, "messages[%zu].content[%zu]%s", i, part, member);

	*f->ret_param = at ? at : "messages";
	return err_set(f->err, E_INVALID, "%s %s", *f->ret_param, what);
}

static int read_role(struct front *f, size_t i, const struct json *v, enum chat_role *ret)
{
	if (v->type != JSON_STRING)
		return bad(f, i, ".role", "must be a string");
	for (size_t k = 0; k < COUNT_OF(roles); k++) {
		if (slice_eq_str(v->str, roles[k].name)) {
			*ret = roles[k].role;
			return 0;
		}
	}
	return bad(f, i, ".role", "must be system, developer, user, assistant, tool or function");
}

/* The member that holds the text of a part, or NULL.  A type that we do not know may well be text to the model. */
static const struct json *part_text(const struct json *part)
{
	const struct json *type = json_get(part, "type");
	const struct json *text =
		json_get(part, wire_is_string(type) && slice_eq_str(type->str, "refusal") ? "refusal" : "text");

	return wire_is_string(text) ? text : NULL;
}

static int check_part(struct front *f, size_t i, size_t k, const struct json *part)
{
	const struct json *type = json_get(part, "type");

	if (part->type != JSON_OBJECT)
		return bad_part(f, i, k, "", "must be an object with a type");
	if (!wire_is_string(type))
		return bad_part(f, i, k, ".type", "must be a string (\"text\", \"image_url\", ...)");
	if (json_duplicate(part, "type") || json_duplicate(part, "text") || json_duplicate(part, "refusal"))
		return bad_part(f, i, k, "", "gives a member twice");
	if (part_text(part))
		return 0;
	if (slice_eq_str(type->str, "text"))
		return bad_part(f, i, k, ".text", "must be a string");
	if (slice_eq_str(type->str, "refusal"))
		return bad_part(f, i, k, ".refusal", "must be a string");
	return 0;
}

/* The texts of parts that have been checked, joined by newlines. */
static int join_parts(struct front *f, const struct json *content, size_t n_bytes, struct chat_message *m)
{
	char *to = arena_alloc(f->a, n_bytes);
	size_t n = 0, n_texts = 0;

	if (!to)
		return front_too_big(f);
	for (const struct json *part = content->first; part; part = part->next) {
		const struct json *text = part_text(part);

		if (!text)
			continue;
		if (n_texts++)
			to[n++] = '\n';
		if (text->str.n)
			memcpy(to + n, text->str.p, text->str.n);
		n += text->str.n;
	}
	m->text = (struct slice){to, n};
	return 0;
}

static int read_parts(struct front *f, size_t i, const struct json *content, struct chat_message *m)
{
	size_t n_texts = 0, n_bytes = 0, k = 0;

	for (const struct json *part = content->first; part; part = part->next) {
		int rc = check_part(f, i, k++, part);
		const struct json *text;

		if (rc < 0)
			return rc;
		text = part_text(part);
		if (!text) {
			m->has_other = true;
			continue;
		}
		if (m->role != CHAT_SYSTEM && (rc = front_judge(f, text)) < 0)
			return rc;
		if (n_texts++ == 0)
			m->text = text->str;
		n_bytes += text->str.n + 1;
	}
	return n_texts > 1 ? join_parts(f, content, n_bytes, m) : 0;
}

static int read_content(struct front *f, size_t i, const struct json *v, struct chat_message *m)
{
	if (v->type == JSON_ARRAY)
		return read_parts(f, i, v, m);
	if (v->type == JSON_NULL)
		return 0;
	if (v->type != JSON_STRING)
		return bad(f, i, ".content", "must be a string, null, or an array of parts");
	m->text = v->str;
	return m->role == CHAT_SYSTEM ? 0 : front_judge(f, v);
}

/* A function that was called: its arguments are words too. */
static int read_function(struct front *f, const struct json *function)
{
	int rc = 0;

	for (const struct json *v = function->first; v && rc == 0; v = v->next) {
		if (KEY_IS(v, "arguments")) /* a text, or an object as Ollama has it */
			rc = front_judge_all(f, v);
	}
	return rc;
}

static int read_calls(struct front *f, const struct json *calls)
{
	int rc = 0;

	for (const struct json *call = calls->first; call && rc == 0; call = call->next) {
		for (const struct json *v = call->first; v && rc == 0; v = v->next) {
			if (KEY_IS(v, "function"))
				rc = read_function(f, v);
		}
	}
	return rc;
}

static int read_member(struct front *f, size_t i, const struct json *v, struct chat_message *m)
{
	if (KEY_IS(v, "content"))
		return read_content(f, i, v, m);
	if (v->type == JSON_NULL)
		return 0;
	if (KEY_IS(v, "tool_calls")) {
		m->has_other = true;
		return read_calls(f, v);
	}
	if (KEY_IS(v, "function_call")) {
		m->has_other = true;
		return read_function(f, v);
	}
	if (KEY_IS(v, "audio") || KEY_IS(v, "images"))
		m->has_other = true;
	else if (KEY_IS(v, "refusal") || KEY_IS(v, "reasoning_content") || KEY_IS(v, "reasoning") ||
		 KEY_IS(v, "thinking"))
		return front_judge(f, v);
	return 0;
}

static int read_message(struct front *f, size_t i, const struct json *node, struct chat_message *m)
{
	const struct json *role = NULL, *content = NULL;
	int rc;

	if (node->type != JSON_OBJECT)
		return bad(f, i, "", "must be an object with role and content");
	*m = (struct chat_message){.text = SLICE_LIT(""), .node = node};
	for (const struct json *v = node->first; v; v = v->next) {
		const struct json **seen = KEY_IS(v, "role") ? &role : KEY_IS(v, "content") ? &content : NULL;

		if (!seen)
			continue;
		if (*seen)
			return bad(f, i, seen == &role ? ".role" : ".content", "is given twice");
		*seen = v;
	}
	if (!role)
		return bad(f, i, ".role", "is missing");
	if ((rc = read_role(f, i, role, &m->role)) < 0)
		return rc;
	if (!content && m->role != CHAT_ASSISTANT && !json_get(node, "images"))
		return bad(f, i, ".content", "is missing");
	for (const struct json *v = node->first; v && rc == 0; v = v->next)
		rc = read_member(f, i, v, m);
	return rc;
}

int messages_read(struct front *f, const struct json *v)
{
	size_t i = 0;

	if (v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "an array of messages");
	if (!v->first)
		return err_set(f->err, E_INVALID, "messages must hold at least one message");
	f->r->messages = ARENA_ARRAY(f->a, struct chat_message, v->n_items);
	if (!f->r->messages)
		return front_too_big(f);
	for (const struct json *node = v->first; node; node = node->next, i++) {
		int rc = read_message(f, i, node, &f->r->messages[i]);

		if (rc < 0)
			return rc;
	}
	f->r->n_messages = i;
	return 0;
}

size_t messages_prompt_index(const struct chat_request *r)
{
	for (size_t i = r->n_messages; i > 0; i--) {
		if (r->messages[i - 1].role == CHAT_USER)
			return i - 1;
	}
	return r->n_messages - 1;
}

int messages_set_prompt(struct front *f)
{
	struct chat_request *r = f->r;
	size_t at = messages_prompt_index(r), n;
	const char *from;
	char *to;

	r->prompt = r->messages[at].text;
	if (at == 0)
		return 0;
	from = r->messages[0].node->raw.p;
	n = (size_t)(r->messages[at - 1].node->raw.p + r->messages[at - 1].node->raw.n - from);
	to = arena_alloc(f->a, n + 2);
	if (!to)
		return front_too_big(f);
	to[0] = '[';
	memcpy(to + 1, from, n);
	to[n + 1] = ']';
	r->context = (struct slice){to, n + 2};
	return 0;
}

int messages_set_prompt_beside(struct front *f, const struct json *system)
{
	struct chat_request *r = f->r;
	size_t at = messages_prompt_index(r), first = r->messages[0].node ? 0 : 1;
	bool has_system = first && system;
	struct slice before = {NULL, 0};
	struct buf b;

	r->prompt = r->messages[at].text;
	if (at > first) {
		before.p = r->messages[first].node->raw.p;
		before.n = (size_t)(r->messages[at].node->raw.p - before.p);
	}
	while (before.n && before.p[before.n - 1] != '}') /* the comma between them */
		before.n--;
	if (!has_system && !before.n)
		return 0;
	buf_init_arena(&b, f->a, r->body.n + 64);
	buf_addc(&b, '[');
	if (has_system) {
		buf_adds(&b, "{\"role\":\"system\",\"content\":");
		buf_add(&b, system->raw);
		buf_adds(&b, before.n ? "}," : "}");
	}
	buf_add(&b, before);
	buf_addc(&b, ']');
	r->context = buf_slice(&b);
	return buf_failed(&b) ? front_too_big(f) : 0;
}

void messages_write(struct json_writer *w, const struct chat_message *messages, size_t n)
{
	jw_array(w);
	for (size_t i = 0; i < n; i++) {
		jw_object(w);
		jw_kcstr(w, "role", chat_role_name(messages[i].role));
		jw_kstr(w, "content", messages[i].text);
		jw_object_end(w);
	}
	jw_array_end(w);
}
