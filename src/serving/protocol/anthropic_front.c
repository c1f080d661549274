/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anthropic's messages: what every request is read for.  Content is a string or a list of blocks, and any string of a
 * block may be words: all are judged but for names, signatures and encoded data, which stand in one table below.
 */
#include "serving/protocol/anthropic_internal.h"

static int bad(struct front *f, const char *at, const char *what)
{
	*f->ret_param = at ? at : "messages";
	return err_set(f->err, E_INVALID, "%s %s", *f->ret_param, what);
}

static int bad_message(struct front *f, size_t i, const char *member, const char *what)
{
	return bad(f, arena_printf(f->a, "messages[%zu]%s", i, member), what);
}

static bool is_block(const struct json *block, const char *type)
{
	const struct json *v = json_get(block, "type");

	return wire_is_string(v) && slice_eq_str(v->str, type);
}

/* Strings of a block that are no words. */
static bool is_label(const struct json *v)
{
	static const char *const labels[] = {
		"type",
		"id",
		"tool_use_id",
		"name",
		"signature",
		"ttl",
		"media_type",
		"encrypted_content",
		"encrypted_index",
		"file_id",
	};

	for (size_t i = 0; i < COUNT_OF(labels); i++)
		if (slice_eq_str(v->key, labels[i]))
			return true;
	return false;
}

static int judge_strings(struct front *f, const struct json *v, bool labels)
{
	bool encoded = is_block(v, "base64") || is_block(v, "redacted_thinking");
	int rc = 0;

	if (v->type == JSON_STRING && (labels || !is_label(v)))
		rc = front_judge(f, v);
	for (const struct json *item = v->first; item && rc == 0; item = item->next) {
		if (encoded && KEY_IS(item, "data"))
			continue;
		/* what a tool is called with is the model's own to name */
		rc = judge_strings(f, item, labels || KEY_IS(item, "input"));
	}
	return rc;
}

/* Texts of blocks, one a line. */
struct words {
	struct front *f;
	struct texts list;
	bool judge;
};

static int add_word(struct words *w, const struct json *string)
{
	if (!wire_has_text(string))
		return 0;
	return texts_add(w->f->a, &w->list, string->str, string->raw) < 0 ? front_too_big(w->f) : 0;
}

/* What stands in a block for people to read. */
static int add_block_words(struct words *w, const struct json *block)
{
	const struct json *content = json_get(block, "content");
	int rc = 0;

	if (is_block(block, "text"))
		return add_word(w, json_get(block, "text"));
	if (!is_block(block, "tool_result") || !content)
		return 0;
	if (content->type == JSON_STRING)
		return add_word(w, content);
	for (const struct json *v = content->first; v && rc == 0; v = v->next)
		if (is_block(v, "text"))
			rc = add_word(w, json_get(v, "text"));
	return rc;
}

static int check_block(struct front *f, const struct json *block, const char *at)
{
	if (block->type != JSON_OBJECT)
		return bad(f, at, "must be a block: an object with a type");
	if (!wire_is_string(json_get(block, "type")))
		return bad(f, at, "must have a type (\"text\", \"image\", ...)");
	if (json_duplicate(block, "type") || json_duplicate(block, "text") || json_duplicate(block, "content"))
		return bad(f, at, "gives a member twice");
	if (is_block(block, "text") && !wire_is_string(json_get(block, "text")))
		return bad(f, at, "is a text block without a text");
	return 0;
}

static int read_blocks(struct words *w, const struct json *content, const char *at, struct slice *ret)
{
	int rc = 0;

	for (const struct json *block = content->first; block && rc == 0; block = block->next) {
		rc = check_block(w->f, block, at);
		if (rc == 0)
			rc = add_block_words(w, block);
		if (rc == 0 && w->judge)
			rc = judge_strings(w->f, block, false);
	}
	if (rc < 0)
		return rc;
	if (w->list.n == 1)
		*ret = w->list.t[0].text;
	else if (w->list.n > 1 && texts_join(w->f->a, &w->list, ret) < 0)
		return front_too_big(w->f);
	return 0;
}

static bool is_all_results(const struct json *content)
{
	for (const struct json *block = content->first; block; block = block->next)
		if (!is_block(block, "tool_result"))
			return false;
	return content->first != NULL;
}

static int read_content(struct front *f, size_t i, const struct json *content, struct chat_message *m)
{
	struct words w = {.f = f, .judge = m->role != CHAT_SYSTEM};

	if (content->type == JSON_STRING) {
		m->text = content->str;
		return w.judge ? front_judge(f, content) : 0;
	}
	if (content->type != JSON_ARRAY)
		return bad_message(f, i, ".content", "must be a string or an array of blocks");
	m->has_other = true;
	if (m->role == CHAT_USER && is_all_results(content))
		m->role = CHAT_TOOL;
	return read_blocks(&w, content, arena_printf(f->a, "messages[%zu].content", i), &m->text);
}

static int read_role(struct front *f, size_t i, const struct json *v, enum chat_role *ret)
{
	static const struct {
		const char *name;
		enum chat_role role;
	} roles[] = {{"user", CHAT_USER}, {"assistant", CHAT_ASSISTANT}, {"system", CHAT_SYSTEM}};

	for (size_t k = 0; wire_is_string(v) && k < COUNT_OF(roles); k++) {
		if (slice_eq_str(v->str, roles[k].name)) {
			*ret = roles[k].role;
			return 0;
		}
	}
	return bad_message(f, i, ".role", "must be user or assistant");
}

static int read_message(struct front *f, size_t i, const struct json *node, struct chat_message *m)
{
	const struct json *content = json_get(node, "content");
	int rc;

	*m = (struct chat_message){.text = SLICE_LIT(""), .node = node};
	if (node->type != JSON_OBJECT)
		return bad_message(f, i, "", "must be an object with role and content");
	if (json_duplicate(node, "role") || json_duplicate(node, "content"))
		return bad_message(f, i, "", "gives a member twice");
	if (!content)
		return bad_message(f, i, ".content", "is missing");
	rc = read_role(f, i, json_get(node, "role"), &m->role);
	return rc < 0 ? rc : read_content(f, i, content, m);
}

static int read_messages(struct front *f, const struct json *v)
{
	size_t i = 0;

	if (v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "an array of messages");
	if (!v->first)
		return err_set(f->err, E_INVALID, "messages must hold at least one message");
	/* the first place is for the system prompt, which stands beside them */
	f->r->messages = ARENA_ARRAY(f->a, struct chat_message, (size_t)v->n_items + 1);
	if (!f->r->messages)
		return front_too_big(f);
	for (const struct json *node = v->first; node; node = node->next, i++) {
		int rc = read_message(f, i, node, &f->r->messages[i + 1]);

		if (rc < 0)
			return rc;
	}
	f->r->n_messages = i;
	return 0;
}

static int check_system(struct front *f, const struct json *v)
{
	return v->type == JSON_STRING || v->type == JSON_ARRAY
		       ? 0
		       : front_wrong_type(f, v, "a string or an array of text blocks");
}

static int read_stops(struct front *f, const struct json *v)
{
	if (v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "an array of strings");
	if (v->n_items > CHAT_MAX_STOP)
		return err_set(f->err, E_INVALID, "stop_sequences must hold at most %d strings", CHAT_MAX_STOP);
	if (front_make_stop(f, v->n_items))
		return E_TOOBIG;
	for (const struct json *s = v->first; s; s = s->next) {
		if (s->type != JSON_STRING)
			return err_set(f->err, E_INVALID, "stop_sequences must hold strings only, not a %s",
				       json_type_name(s->type));
		f->r->stop[f->r->n_stop++] = s->str;
	}
	return 0;
}

static const struct front_member members[] = {
	{"model", front_model},	  {"messages", read_messages},	    {"system", check_system},
	{"stream", front_stream}, {"max_tokens", front_max_tokens}, {"temperature", front_temperature},
	{"top_p", front_top_p},	  {"stop_sequences", read_stops},
};
_Static_assert(COUNT_OF(members) <= FRONT_MAX_MEMBERS, "front_walk keeps one bit for each");

/* The system prompt as the first message, or its empty place taken away. */
static int place_system(struct front *f, const struct json *system)
{
	struct chat_request *r = f->r;
	struct words w = {.f = f};
	struct slice text = SLICE_LIT("");
	int rc = 0;

	if (system && system->type == JSON_STRING)
		text = system->str;
	else if (system && system->type == JSON_ARRAY)
		rc = read_blocks(&w, system, "system", &text);
	if (rc < 0)
		return rc;
	if (!text.n) {
		r->messages++;
		return 0;
	}
	r->messages[0] = (struct chat_message){.role = CHAT_SYSTEM, .text = text};
	r->n_messages++;
	return 0;
}

int anthropic_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			     const char **ret_param, struct err *err)
{
	struct chat_request r = {.root = root, .body = body, .n_choices = 1, .include_usage = true};
	struct front f = {.a = a, .r = &r, .ret_param = ret_param, .err = err};
	const struct json *system;
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
		*ret_param = "messages";
		return err_set(err, E_INVALID, "messages is missing: send an array with at least one message");
	}
	system = json_get(root, "system");
	rc = place_system(&f, system);
	if (rc == 0)
		rc = messages_set_prompt_beside(&f, system);
	if (rc < 0)
		return rc;
	r.judged = f.judged.t;
	r.n_judged = f.judged.n;
	*ret = r;
	return 0;
}
