/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/v1/guardrails/policies.  A policy is compiled before it is stored: what does not compile would leave requests
 * unguarded or refused at the next snapshot.
 */
#include "control/admin/admin_internal.h"
#include "serving/guardrail/guard.h"

#define DEFAULT_POLICY "default"

/* Stored policies, and the built-in default when no stored one takes its place. Sorted by name. */
static int read_policies(struct api_call *c, struct policy_row **ret, size_t *ret_n)
{
	struct policy_row *rows = NULL, *all;
	struct policy built_in;
	struct json_writer w;
	struct err err = {0};
	size_t n = 0, at = 0;
	struct buf text;
	struct db *db;
	int rc;

	rc = store_acquire(c->admin->store, &db, &err);
	if (rc == 0) {
		rc = store_policy_list(db, &c->arena, &rows, &n, &err);
		store_release(c->admin->store, db);
	}
	*ret = rows;
	*ret_n = n;
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (slice_eq_str(rows[i].name, DEFAULT_POLICY))
			return 0;
	if (rc == 0)
		rc = guard_default_policy(&c->arena, &built_in, &err);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	buf_init_arena(&text, &c->arena, API_MAX_BODY);
	jw_init(&w, &text);
	policy_write(&w, &built_in);
	all = ARENA_ARRAY(&c->arena, struct policy_row, n + 1);
	if (!all || buf_failed(&text))
		return api_error(c, E_TOOBIG, NULL, &err);
	while (at < n &&
	       memcmp(rows[at].name.p, DEFAULT_POLICY, min_size(rows[at].name.n, sizeof(DEFAULT_POLICY) - 1)) < 0)
		at++;
	if (n)
		memcpy(all, rows, at * sizeof(*all));
	all[at] = (struct policy_row){.name = SLICE_LIT(DEFAULT_POLICY), .document = buf_slice(&text)};
	if (n)
		memcpy(all + at + 1, rows + at, (n - at) * sizeof(*all));
	*ret = all;
	*ret_n = n + 1;
	return 0;
}

int api_policies_list(struct api_call *c)
{
	struct slice before = api_query(c, "before"), last = {0};
	struct policy_row *rows = NULL;
	size_t n = 0, limit = 0, i = 0, n_written = 0;
	int status;

	if ((status = api_query_limit(c, &limit)) || (status = read_policies(c, &rows, &n)))
		return status;
	while (before.p && i < n && !slice_eq(before, rows[i++].name))
		;
	api_list_begin(c);
	for (; i < n && n_written < limit; i++, n_written++) {
		jw_raw(&c->w, rows[i].document);
		last = rows[i].name;
	}
	api_list_end(c, i < n, last);
	return 200;
}

static int not_found(struct api_call *c, const struct policy_row *rows, size_t n)
{
	struct slice name = c->param[0], best = {0};
	unsigned best_distance = (unsigned)(name.n / 3 + 2);

	for (size_t i = 0; i < n; i++) {
		unsigned d = slice_distance(name, rows[i].name);

		if (d < best_distance) {
			best = rows[i].name;
			best_distance = d;
		}
	}
	if (best.n)
		return api_fail(c, 404, "name", "policy_not_found",
				"No guardrail policy is called '" SLICE_FMT "'. Did you mean '" SLICE_FMT "'?",
				SLICE_ARG(name), SLICE_ARG(best));
	return api_fail(c, 404, "name", "policy_not_found",
			"No guardrail policy is called '" SLICE_FMT "'. GET /api/v1/guardrails/policies lists all.",
			SLICE_ARG(name));
}

int api_policy_get(struct api_call *c)
{
	struct policy_row *rows = NULL;
	size_t n = 0;
	int status;

	status = read_policies(c, &rows, &n);
	if (status)
		return status;
	for (size_t i = 0; i < n; i++) {
		if (slice_eq(rows[i].name, c->param[0])) {
			jw_raw(&c->w, rows[i].document);
			return 200;
		}
	}
	return not_found(c, rows, n);
}

/* The name may stand in the document too, if it is the same. */
static int check_name(struct api_call *c, struct slice name)
{
	struct slice said = name;
	struct err err = {0};
	int status;

	if (use_case_check(name, &err) < 0)
		return api_fail(c, 400, "name", "invalid_value",
				"a policy's name is lower-case letters, digits, _ and -, at most %d bytes",
				USE_CASE_MAX);
	if (slice_eq_str(name, "none"))
		return api_fail(c, 400, "name", "invalid_value",
				"'none' is what a use case says to check nothing: take another name");
	status = api_body_str(c, "name", SIZE_MAX, &said);
	if (status)
		return status;
	if (!slice_eq(said, name))
		return api_fail(c, 400, "name", "invalid_value",
				"the document is called '" SLICE_FMT "', the path says '" SLICE_FMT "'",
				SLICE_ARG(slice_sub(said, 0, USE_CASE_MAX)), SLICE_ARG(name));
	return 0;
}

/* The body as a policy document: without reason, with its name first. */
static int read_document(struct api_call *c, struct policy *ret)
{
	struct json *root = NULL;
	struct json_writer w;
	struct err err = {0};
	struct buf text;
	int rc;

	buf_init_arena(&text, &c->arena, c->req->body.n + 1024);
	jw_init(&w, &text);
	jw_object(&w);
	jw_kstr(&w, "name", c->param[0]);
	for (const struct json *m = c->body->first; m; m = m->next) {
		if (slice_eq_str(m->key, "reason") || slice_eq_str(m->key, "name"))
			continue;
		jw_key_slice(&w, m->key);
		jw_raw(&w, m->raw);
	}
	jw_object_end(&w);
	if (buf_failed(&text))
		return api_error(c, E_TOOBIG, NULL, &err);
	rc = api_parse_json(c, buf_slice(&text), &root, &err);
	if (rc == 0)
		rc = policy_parse(&c->arena, root, ret, &err);
	return rc < 0 ? api_error(c, rc, "rules", &err) : 0;
}

int api_policy_put(struct api_call *c)
{
	struct guard_policy *compiled = NULL;
	struct policy policy;
	struct json_writer w;
	struct err err = {0};
	struct buf text;
	int status, rc;

	if ((status = check_name(c, c->param[0])) || (status = read_document(c, &policy)))
		return status;
	rc = guard_policy_compile(&policy, &compiled, &err);
	if (rc < 0)
		return api_error(c, rc, "rules", &err);
	guard_policy_free(compiled);
	buf_init_arena(&text, &c->arena, API_MAX_BODY);
	jw_init(&w, &text);
	policy_write(&w, &policy);
	if (buf_failed(&text))
		return api_error(c, E_TOOBIG, NULL, &err);
	rc = registry_put_policy(c->admin->registry, c->param[0], buf_slice(&text), &c->who, &err);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	jw_raw(&c->w, buf_slice(&text));
	return 200;
}
