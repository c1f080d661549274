/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemini's generateContent: what every request is read for.  The path names the model and whether it streams; who reads
 * the path puts both into the request.  Every string in a content is judged but those that name things.
 */
#include "serving/protocol/gemini_internal.h"

#define MAX_CHOICES 8

static int bad(struct front *f, const char *at, const char *what)
{
	*f->ret_param = at ? at : "contents";
	return err_set(f->err, E_INVALID, "%s %s", *f->ret_param, what);
}

/* Strings that name things, and those that are no words. */
static bool is_label(const struct json *v)
{
	static const char *const labels[] = {"thoughtSignature", "mimeType", "data", "fileUri", "name", "id", "role",
					     "language",	 "outcome"};

	for (size_t i = 0; i < COUNT_OF(labels); i++)
		if (gemini_is(v->key, labels[i]))
			return true;
	return false;
}

int gemini_judge(struct front *f, const struct json *v, bool labels)
{
	int rc = 0;

	if (v->type == JSON_STRING)
		return labels || !is_label(v) ? front_judge(f, v) : 0;
	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		rc = gemini_judge(f, item, labels || gemini_is(v->key, "args") || gemini_is(v->key, "response"));
	return rc;
}

/* Texts of parts, one a line. */
struct words {
	struct front *f;
	struct texts list;
	bool judge, all_results;
};

static int add_word(struct words *w, const struct json *string)
{
	if (!string || !wire_has_text(string))
		return 0;
	return texts_add(w->f->a, &w->list, string->str, string->raw) < 0 ? front_too_big(w->f) : 0;
}

static int read_part(struct words *w, const struct json *part, const char *at)
{
	const struct json *thought = json_get(part, "thought"), *result = gemini_get(part, "functionResponse");
	const struct json *text = json_get(part, "text");
	int rc = 0;

	if (part->type != JSON_OBJECT)
		return bad(w->f, at, "must hold parts: objects with a text, inlineData, functionCall, ...");
	if (json_duplicate(part, "text") || json_duplicate(part, "functionResponse"))
		return bad(w->f, at, "gives a member twice");
	if (text && text->type != JSON_STRING && text->type != JSON_NULL)
		return bad(w->f, at, "has a text that is no string");
	w->all_results &= result != NULL;
	if (result && json_get(result, "response")) {
		struct slice raw = json_get(result, "response")->raw;

		rc = texts_add(w->f->a, &w->list, gemini_result_text(json_get(result, "response")), raw);
	} else if (!thought || thought->type != JSON_BOOL || !thought->boolean) {
		rc = add_word(w, text);
	}
	if (rc < 0)
		return front_too_big(w->f);
	return w->judge ? gemini_judge(w->f, part, false) : 0;
}

/* A list, or what would be its only item. */
const struct json *gemini_items(const struct json *v)
{
	return !v || v->type == JSON_NULL ? NULL : v->type == JSON_ARRAY ? v->first : v;
}

const struct json *gemini_next(const struct json *list, const struct json *item)
{
	return list->type == JSON_ARRAY ? item->next : NULL;
}

static int read_parts(struct words *w, const struct json *content, const char *at, struct slice *ret)
{
	const struct json *parts = json_get(content, "parts");
	int rc = 0;

	if (json_duplicate(content, "parts") || json_duplicate(content, "role"))
		return bad(w->f, at, "gives a member twice");
	for (const struct json *p = gemini_items(parts); p && rc == 0; p = gemini_next(parts, p))
		rc = read_part(w, p, at);
	if (rc < 0)
		return rc;
	*ret = w->list.n ? w->list.t[0].text : SLICE_LIT("");
	if (w->list.n > 1 && texts_join(w->f->a, &w->list, ret) < 0)
		return front_too_big(w->f);
	return 0;
}

static int read_content(struct front *f, size_t i, const struct json *node, struct chat_message *m)
{
	struct slice role = gemini_text(node, "role");
	const char *at = arena_printf(f->a, "contents[%zu]", i);
	struct words w = {.f = f, .judge = true, .all_results = true};
	int rc;

	*m = (struct chat_message){.role = CHAT_USER, .text = SLICE_LIT(""), .node = node, .has_other = true};
	if (node->type != JSON_OBJECT)
		return bad(f, at, "must be an object with parts");
	if (slice_eq_str(role, "model"))
		m->role = CHAT_ASSISTANT;
	else if (role.n && !slice_eq_str(role, "user") && !slice_eq_str(role, "function") &&
		 !slice_eq_str(role, "tool"))
		return bad(f, at, "must have the role user or model");
	rc = read_parts(&w, node, at, &m->text);
	if (rc == 0 && m->role == CHAT_USER && w.list.n && w.all_results)
		m->role = CHAT_TOOL;
	return rc;
}

static int read_contents(struct front *f, const struct json *v)
{
	size_t i = 0;

	if (v->type != JSON_ARRAY && v->type != JSON_OBJECT)
		return front_wrong_type(f, v, "an array of contents");
	if (!v->first)
		return err_set(f->err, E_INVALID, "contents must hold at least one content");
	/* the first place is for the system instruction, which stands beside them */
	f->r->messages = ARENA_ARRAY(f->a, struct chat_message, (size_t)v->n_items + 2);
	if (!f->r->messages)
		return front_too_big(f);
	for (const struct json *node = gemini_items(v); node; node = gemini_next(v, node), i++) {
		int rc = read_content(f, i, node, &f->r->messages[i + 1]);

		if (rc < 0)
			return rc;
	}
	f->r->n_messages = i;
	return 0;
}

/* --- generationConfig --- */

static int read_candidates(struct front *f, const struct json *v)
{
	if (v->type != JSON_NUMBER || !v->is_integer || v->integer < 1 || v->integer > MAX_CHOICES)
		return err_set(f->err, E_INVALID, "candidateCount must be a whole number from 1 to %d", MAX_CHOICES);
	f->r->n_choices = v->integer;
	return 0;
}

static int read_stops(struct front *f, const struct json *v)
{
	if (v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "an array of strings");
	if (v->n_items > CHAT_MAX_STOP)
		return err_set(f->err, E_INVALID, "stopSequences must hold at most %d strings", CHAT_MAX_STOP);
	if (front_make_stop(f, v->n_items))
		return E_TOOBIG;
	for (const struct json *s = v->first; s; s = s->next) {
		if (s->type != JSON_STRING)
			return err_set(f->err, E_INVALID, "stopSequences must hold strings only, not a %s",
				       json_type_name(s->type));
		f->r->stop[f->r->n_stop++] = s->str;
	}
	return 0;
}

static const struct front_member options[] = {
	{"maxOutputTokens", front_max_tokens},
	{"max_output_tokens", front_max_tokens},
	{"temperature", front_temperature},
	{"topP", front_top_p},
	{"top_p", front_top_p},
	{"seed", front_seed},
	{"stopSequences", read_stops},
	{"stop_sequences", read_stops},
	{"candidateCount", read_candidates},
	{"candidate_count", read_candidates},
};
_Static_assert(COUNT_OF(options) <= FRONT_MAX_MEMBERS, "front_walk keeps one bit for each");

static int read_options(struct front *f, const struct json *v)
{
	if (v->type != JSON_OBJECT)
		return front_wrong_type(f, v, "an object");
	return front_walk(f, v, options, COUNT_OF(options));
}

static int check_system(struct front *f, const struct json *v)
{
	return v->type == JSON_OBJECT ? 0 : front_wrong_type(f, v, "a content: an object with parts");
}

static const struct front_member members[] = {
	{"contents", read_contents},	    {"systemInstruction", check_system}, {"system_instruction", check_system},
	{"generationConfig", read_options}, {"generation_config", read_options},
};
_Static_assert(COUNT_OF(members) <= FRONT_MAX_MEMBERS, "front_walk keeps one bit for each");

/* The system instruction as the first message, or its empty place taken away. */
static int place_system(struct front *f, const struct json *system)
{
	struct words w = {.f = f};
	struct chat_request *r = f->r;
	struct slice text = SLICE_LIT("");
	int rc = system ? read_parts(&w, system, "systemInstruction", &text) : 0;

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

int gemini_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
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
	if (!r.messages) {
		*ret_param = "contents";
		return err_set(err, E_INVALID, "contents is missing: send an array with at least one content");
	}
	system = gemini_get(root, "systemInstruction");
	rc = place_system(&f, system && system->type == JSON_OBJECT ? system : NULL);
	if (rc == 0)
		rc = messages_set_prompt_beside(&f, system);
	if (rc < 0)
		return rc;
	r.judged = f.judged.t;
	r.n_judged = f.judged.n;
	*ret = r;
	return 0;
}
