/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a caller's body member by member.  What is read here is what Muster routes by and judges: accepting a member
 * twice, or guessing at a wrong type, would let a caller show the guardrails one thing and the model another.
 */
#include "serving/protocol/protocol_internal.h"

static const struct front_member *find_member(const struct front_member *table, size_t n, struct slice key)
{
	for (size_t i = 0; i < n; i++) {
		if (slice_eq_str(key, table[i].name))
			return &table[i];
	}
	return NULL;
}

int front_walk(struct front *f, const struct json *root, const struct front_member *table, size_t n)
{
	uint32_t seen = 0;

	if (!root || root->type != JSON_OBJECT)
		return err_set(f->err, E_INVALID, "the body must be a JSON object, not %s%s",
			       !root			  ? ""
			       : root->type == JSON_ARRAY ? "an "
							  : "a ",
			       root ? json_type_name(root->type) : "nothing");
	for (const struct json *v = root->first; v; v = v->next) {
		const struct front_member *m = find_member(table, n, v->key);
		int rc;

		if (!m)
			continue;
		*f->ret_param = m->name;
		if (seen & (1u << (m - table)))
			return err_set(f->err, E_INVALID, "%s is given twice: name it once", m->name);
		seen |= 1u << (m - table);
		if (v->type != JSON_NULL && (rc = m->read(f, v)) < 0)
			return rc;
	}
	*f->ret_param = NULL;
	return 0;
}

int front_wrong_type(struct front *f, const struct json *v, const char *wanted)
{
	return err_set(f->err, E_INVALID, "%s must be %s, not %s %s", *f->ret_param, wanted,
		       v->type == JSON_ARRAY || v->type == JSON_OBJECT ? "an" : "a", json_type_name(v->type));
}

int front_bad(struct front *f, const char *what)
{
	return err_set(f->err, E_INVALID, "%s %s", *f->ret_param, what);
}

int front_too_big(struct front *f)
{
	return err_set(f->err, E_TOOBIG, "the request holds more than an exchange may keep: send less at once");
}

int front_judge(struct front *f, const struct json *string)
{
	if (!wire_has_text(string))
		return 0;
	return texts_add(f->a, &f->judged, string->str, string->raw) < 0 ? front_too_big(f) : 0;
}

int front_judge_all(struct front *f, const struct json *v)
{
	int rc = front_judge(f, v);

	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		rc = front_judge_all(f, item);
	return rc;
}

int front_model(struct front *f, const struct json *v)
{
	if (v->type != JSON_STRING)
		return front_wrong_type(f, v, "a string");
	if (!v->str.n)
		return err_set(f->err, E_INVALID, "model must not be empty: name a use case or a registered model");
	f->r->model = v->str;
	f->r->model_raw = v->raw;
	return 0;
}

int front_stream(struct front *f, const struct json *v)
{
	if (v->type != JSON_BOOL)
		return front_wrong_type(f, v, "true or false");
	f->r->stream = v->boolean;
	return 0;
}

bool front_whole(const struct json *v, int64_t *ret)
{
	if (v->is_integer) {
		*ret = v->integer;
		return true;
	}
	if (v->type != JSON_NUMBER || !(v->number >= -9e15 && v->number <= 9e15))
		return false;
	*ret = (int64_t)v->number;
	return !(v->number < (double)*ret || v->number > (double)*ret);
}

int front_max_tokens(struct front *f, const struct json *v)
{
	int64_t n = 0;
	bool newer = !strcmp(*f->ret_param, "max_completion_tokens");

	if (v->type != JSON_NUMBER)
		return front_wrong_type(f, v, "a whole number");
	if (!front_whole(v, &n) || n < 1)
		return err_set(f->err, E_INVALID, "%s must be a whole number above 0", *f->ret_param);
	/* max_tokens is the old name: the new one wins, whatever their order */
	if (newer || !f->has_max_completion_tokens)
		f->r->max_tokens = n;
	f->has_max_completion_tokens |= newer;
	f->r->has_max_tokens = true;
	return 0;
}

int front_temperature(struct front *f, const struct json *v)
{
	if (v->type != JSON_NUMBER)
		return front_wrong_type(f, v, "a number");
	if (!(v->number >= 0 && v->number <= 2))
		return err_set(f->err, E_INVALID, "temperature must be between 0 and 2");
	f->r->temperature = v->number;
	f->r->has_temperature = true;
	return 0;
}

int front_top_p(struct front *f, const struct json *v)
{
	if (v->type != JSON_NUMBER)
		return front_wrong_type(f, v, "a number");
	if (!(v->number >= 0 && v->number <= 1))
		return err_set(f->err, E_INVALID, "top_p must be between 0 and 1");
	f->r->top_p = v->number;
	f->r->has_top_p = true;
	return 0;
}

int front_seed(struct front *f, const struct json *v)
{
	if (v->type != JSON_NUMBER)
		return front_wrong_type(f, v, "a whole number");
	if (!front_whole(v, &f->r->seed))
		return front_bad(f, "must be a whole number of at most 64 bits");
	f->r->has_seed = true;
	return 0;
}

int front_make_stop(struct front *f, size_t n)
{
	f->r->n_stop = 0;
	f->r->stop = ARENA_ARRAY(f->a, struct slice, n + 1);
	return f->r->stop ? 0 : err_set(f->err, E_TOOBIG, "the request is too large");
}

int front_stop(struct front *f, const struct json *v)
{
	if (v->type == JSON_STRING) {
		if (front_make_stop(f, 1))
			return E_TOOBIG;
		f->r->stop[0] = v->str;
		f->r->n_stop = 1;
		return 0;
	}
	if (v->type != JSON_ARRAY)
		return front_wrong_type(f, v, "a string or an array of strings");
	if (v->n_items > CHAT_MAX_STOP)
		return err_set(f->err, E_INVALID, "stop must hold at most %d strings", CHAT_MAX_STOP);
	if (front_make_stop(f, v->n_items))
		return E_TOOBIG;
	for (const struct json *s = v->first; s; s = s->next) {
		if (s->type != JSON_STRING)
			return err_set(f->err, E_INVALID, "stop must hold strings only, not a %s",
				       json_type_name(s->type));
		f->r->stop[f->r->n_stop++] = s->str;
	}
	return 0;
}
