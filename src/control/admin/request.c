/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading requests: a parameter or member that nobody knows is refused with the nearest that is known, for a filter
 * that is misspelt and ignored would answer another question than the one asked.
 */
#include "control/admin/admin_internal.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/base/uuid.h"
#include "core/http/url.h"

struct slice api_nearest(const char *names, struct slice word)
{
	struct slice rest = slice_from(names), name, best = {0};
	unsigned best_distance = (unsigned)(word.n / 3 + 2);

	while (slice_split(&rest, '|', &name)) {
		unsigned d = slice_distance(word, name);

		if (d < best_distance) {
			best = name;
			best_distance = d;
		}
	}
	return best;
}

bool api_one_of(const char *names, struct slice word)
{
	struct slice rest = slice_from(names), name;

	while (slice_split(&rest, '|', &name))
		if (slice_eq(name, word))
			return true;
	return false;
}

static int unknown(struct api_call *c, const char *what, const char *names, struct slice word)
{
	struct slice near = names ? api_nearest(names, word) : (struct slice){0};
	struct slice shown = utf8_truncate(word, 100);
	char *param = arena_printf(&c->arena, SLICE_FMT, SLICE_ARG(shown));

	if (near.n)
		return api_fail(c, 400, param, "unknown_parameter",
				"unknown %s '" SLICE_FMT "': did you mean '" SLICE_FMT "'?", what, SLICE_ARG(shown),
				SLICE_ARG(near));
	if (!names)
		return api_fail(c, 400, param, "unknown_parameter", "unknown %s '" SLICE_FMT "': none is taken here",
				what, SLICE_ARG(shown));
	return api_fail(c, 400, param, "unknown_parameter", "unknown %s '" SLICE_FMT "': there are %s", what,
			SLICE_ARG(shown), names);
}

int api_read_query(struct api_call *c, const char *names)
{
	struct slice rest = c->req->query, pair, name;

	c->query = c->req->query;
	while (slice_split(&rest, '&', &pair)) {
		struct slice value;

		if (!pair.n)
			continue;
		value = pair;
		(void)slice_split(&value, '=', &name); /* pair is not absent */
		name = url_decode(&c->arena, name, true);
		if (!name.p || !utf8_valid(name))
			return api_fail(c, 400, NULL, "invalid_query", "the query is not percent-encoded UTF-8");
		if (!names || !api_one_of(names, name))
			return unknown(c, "parameter", names, name);
		value = value.p ? url_decode(&c->arena, value, true) : SLICE_LIT("");
		if (!value.p || !utf8_valid(value))
			return api_fail(c, 400, arena_printf(&c->arena, SLICE_FMT, SLICE_ARG(name)), "invalid_query",
					"'" SLICE_FMT "' is not percent-encoded UTF-8", SLICE_ARG(name));
		if (value.n > API_REASON_MAX)
			return api_fail(c, 400, arena_printf(&c->arena, SLICE_FMT, SLICE_ARG(name)), "too_long",
					"'" SLICE_FMT "' is longer than %d bytes", SLICE_ARG(name), API_REASON_MAX);
	}
	return 0;
}

int api_parse_json(struct api_call *c, struct slice text, struct json **ret, struct err *err)
{
	if (!c->parser)
		c->parser = json_parser_new();
	return json_parse_copy(c->parser, &c->arena, text, NULL, ret, err);
}

static int check_members(struct api_call *c, const char *names)
{
	for (const struct json *m = c->body->first; m; m = m->next) {
		struct slice shown = utf8_truncate(m->key, 100);
		char *name;

		if (strcmp(names, "*") != 0 && !api_one_of(names, m->key))
			return unknown(c, "member", names, m->key);
		name = arena_printf(&c->arena, SLICE_FMT, SLICE_ARG(shown));
		if (name && json_duplicate(c->body, name))
			return api_fail(c, 400, name, "duplicate_member", "'%s' is there twice", name);
	}
	return 0;
}

int api_read_body(struct api_call *c, const struct api_route *route)
{
	struct json *root = NULL;
	struct err err = {0};
	int rc;

	if (!route->body)
		return 0;
	if (!slice_trim(c->req->body).n)
		return route->body_required ? api_fail(c, 400, NULL, "body_missing", "a body is wanted: a JSON object")
					    : 0;
	rc = api_parse_json(c, c->req->body, &root, &err);
	if (rc < 0)
		return api_fail(c, 400, NULL, rc == E_TOOBIG ? "too_large" : "invalid_json",
				"the body is not JSON that can be read: %s", err.text);
	if (root->type != JSON_OBJECT)
		return api_fail(c, 400, NULL, "invalid_type", "the body has to be a JSON object, not a %s",
				json_type_name(root->type));
	c->body = root;
	rc = check_members(c, route->body);
	return rc ? rc : api_body_str(c, "reason", API_REASON_MAX, &c->who.reason);
}

struct slice api_query(struct api_call *c, const char *name)
{
	struct slice value = query_get(&c->arena, c->query, name);

	return value.n ? value : (struct slice){0}; /* "?status=" asks for nothing */
}

int api_query_bool(struct api_call *c, const char *name, bool *ret)
{
	struct slice s = api_query(c, name);

	if (!s.p)
		return 0;
	if (!api_one_of("true|false|1|0", s))
		return api_fail(c, 400, name, "invalid_value", "%s is true or false, not '" SLICE_FMT "'", name,
				SLICE_ARG(utf8_truncate(s, 80)));
	*ret = s.p[0] == 't' || s.p[0] == '1';
	return 0;
}

int api_query_time(struct api_call *c, const char *name, int64_t *ret_us)
{
	struct slice s = api_query(c, name);

	if (!s.p || clock_parse(s, c->now_us, ret_us) == 0)
		return 0;
	return api_fail(c, 400, name, "invalid_value",
			"%s is no time: '" SLICE_FMT
			"'; write 2026-01-31T12:00:00Z, seconds since 1970, or 15m, 24h, 7d back from now",
			name, SLICE_ARG(utf8_truncate(s, 80)));
}

int api_query_limit(struct api_call *c, size_t *ret)
{
	struct slice s = api_query(c, "limit");
	uint64_t v = API_LIMIT_DEFAULT;

	if (s.p && (slice_to_u64(s, &v) < 0 || v < 1 || v > STORE_PAGE_MAX))
		return api_fail(c, 400, "limit", "invalid_value", "limit is a number from 1 to %d, not '" SLICE_FMT "'",
				STORE_PAGE_MAX, SLICE_ARG(utf8_truncate(s, 80)));
	*ret = (size_t)v;
	return 0;
}

int api_query_id(struct api_call *c, const char *name, struct slice *ret)
{
	struct slice s = api_query(c, name);
	struct uuid id;

	if (s.p && uuid_parse(s.p, s.n, &id) < 0)
		return api_fail(c, 400, name, "invalid_value",
				"%s is no id: '" SLICE_FMT "'; take the one that `next` gave", name,
				SLICE_ARG(utf8_truncate(s, 80)));
	if (s.p) { /* ids are stored in lower case */
		char *text = arena_alloc(&c->arena, UUID_STR_SIZE);

		s = text ? slice_from(uuid_format(&id, text)) : s;
	}
	*ret = s;
	return 0;
}

int api_query_use_case(struct api_call *c, struct slice *ret)
{
	struct err err = {0};

	*ret = api_query(c, "use_case");
	if (ret->p && use_case_check(*ret, &err) < 0)
		return api_error(c, E_INVALID, "use_case", &err);
	return 0;
}

int api_body_str(struct api_call *c, const char *name, size_t max, struct slice *ret)
{
	struct slice s = {0};
	struct err err = {0};
	int rc;

	rc = json_get_str(c->body, name, &s, &err);
	if (rc < 0)
		return api_fail(c, 400, name, "invalid_type", "%s", err.text);
	if (s.n > max)
		return api_fail(c, 400, name, "too_long", "%s is longer than %zu bytes", name, max);
	if (s.n && memchr(s.p, '\0', s.n))
		return api_fail(c, 400, name, "invalid_value", "%s holds a NUL character", name);
	if (s.p)
		*ret = s;
	return 0;
}

int api_body_object(struct api_call *c, const char *name, const struct json **ret)
{
	const struct json *v = json_get(c->body, name);

	*ret = NULL;
	if (!v || v->type == JSON_NULL)
		return 0;
	if (v->type != JSON_OBJECT)
		return api_fail(c, 400, name, "invalid_type", "%s has to be an object, not a %s", name,
				json_type_name(v->type));
	*ret = v;
	return 0;
}

int api_body_rest(struct api_call *c, struct slice *ret)
{
	struct json_writer w;
	struct buf out;

	buf_init_arena(&out, &c->arena, c->req->body.n + 1024);
	jw_init(&w, &out);
	jw_object(&w);
	for (const struct json *m = c->body->first; m; m = m->next) {
		if (slice_eq_str(m->key, "reason"))
			continue;
		jw_key_slice(&w, m->key);
		jw_raw(&w, m->raw);
	}
	jw_object_end(&w);
	if (buf_failed(&out))
		return api_fail(c, 400, NULL, "too_large", "the body is too large");
	*ret = buf_slice(&out);
	return 0;
}
