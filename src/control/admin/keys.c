/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/v1/keys.  The answer that makes a key is the only place where its text ever is; what is read later says
 * everything about a key but that.
 */
#include "control/admin/admin_internal.h"
#include "core/base/clock.h"

static int read_keys(struct api_call *c, struct key **ret, size_t *ret_n)
{
	struct err err = {0};
	struct db *db;
	int rc = store_acquire(c->admin->store, &db, &err);

	if (rc == 0) {
		rc = store_key_list(db, &c->arena, ret, ret_n, &err);
		store_release(c->admin->store, db);
	}
	return rc < 0 ? api_error(c, rc, NULL, &err) : 0;
}

#define PREFIX SLICE_LIT("key/")

static void write_one(struct api_call *c, const struct key *k, const char *text, const struct budget_states *budgets)
{
	char id[UUID_STR_SIZE];
	const struct api_owner owner = {PREFIX, slice_from(uuid_format(&k->id, id)), &k->budgets};

	key_write_open(&c->w, k, text, c->now_us);
	api_budgets_write(c, budgets, &owner);
	jw_object_end(&c->w);
}

/* Newest first. */
int api_keys_list(struct api_call *c)
{
	size_t n = 0, limit = 0, n_written = 0;
	struct slice before = {0}, last = {0};
	char id[UUID_STR_SIZE], last_id[UUID_STR_SIZE];
	struct budget_states budgets;
	struct key *list = NULL;
	bool all = false, more = false;
	int status;

	if ((status = api_query_limit(c, &limit)) || (status = api_query_id(c, "before", &before)) ||
	    (status = api_query_bool(c, "all", &all)) || (status = read_keys(c, &list, &n)) ||
	    (status = api_budgets_read(c, PREFIX, &budgets)))
		return status;
	api_list_begin(c);
	while (n-- && !more) {
		if ((before.p && strcmp(uuid_format(&list[n].id, id), before.p) >= 0) || (!all && list[n].revoked_us))
			continue;
		more = n_written == limit;
		if (more)
			break;
		write_one(c, &list[n], NULL, &budgets);
		last = slice_from(uuid_format(&list[n].id, last_id));
		n_written++;
	}
	api_list_end(c, more, last);
	return 200;
}

static bool is_key(const struct key *k, struct slice id_or_name)
{
	char id[UUID_STR_SIZE];

	return slice_eq_str(id_or_name, uuid_format(&k->id, id)) || (!k->revoked_us && slice_eq(k->name, id_or_name));
}

static int write_key(struct api_call *c, struct slice id_or_name)
{
	struct key *list = NULL;
	struct budget_states budgets;
	size_t n = 0;
	int status = read_keys(c, &list, &n);

	if (status || (status = api_budgets_read(c, PREFIX, &budgets)))
		return status;
	for (size_t i = 0; i < n; i++) {
		if (is_key(&list[i], id_or_name)) {
			write_one(c, &list[i], NULL, &budgets);
			return 200;
		}
	}
	return api_fail(c, 404, "key", "key_not_found",
			"No key in use is called '" SLICE_FMT "'. GET /api/v1/keys?all=true lists all there were.",
			SLICE_ARG(id_or_name));
}

int api_key_get(struct api_call *c)
{
	return write_key(c, c->param[0]);
}

static int read_use_cases(struct api_call *c, struct key *k)
{
	const struct json *list = json_get(c->body, "use_cases");
	struct slice *names;
	size_t n = 0;

	if (!list || list->type == JSON_NULL)
		return 0;
	if (list->type != JSON_ARRAY || list->n_items > KEY_MAX_USE_CASES)
		return api_fail(c, 400, "use_cases", "invalid_type", "use_cases is an array of at most %d names",
				KEY_MAX_USE_CASES);
	names = ARENA_ARRAY(&c->arena, struct slice, list->n_items + 1);
	for (const struct json *v = list->first; names && v; v = v->next) {
		if (v->type != JSON_STRING)
			return api_fail(c, 400, "use_cases", "invalid_type", "use_cases holds names, not a %s",
					json_type_name(v->type));
		names[n++] = v->str;
	}
	k->use_cases = names;
	k->n_use_cases = n;
	return 0;
}

/* "90d" from now, or a time. */
static int read_expiry(struct api_call *c, struct key *k)
{
	struct slice s = {0};
	int64_t ms;
	int status = api_body_str(c, "expires", 64, &s);

	if (status || !s.n)
		return status;
	if (clock_parse_duration_ms(s, &ms) == 0) {
		k->expires_us = ms > KEY_MAX_LIFE_US / 1000 ? INT64_MAX : c->now_us + ms * 1000;
		return 0;
	}
	if (clock_parse(s, c->now_us, &k->expires_us) == 0)
		return 0;
	return api_fail(c, 400, "expires", "invalid_value",
			"expires is how long the key lives, such as 90d, or a time such as 2026-12-31T00:00:00Z");
}

static int read_wish(struct api_call *c, struct key *k)
{
	struct slice role = {0};
	struct err err = {0};
	int status;

	if ((status = api_body_str(c, "name", 256, &k->name)) || (status = api_body_str(c, "role", 64, &role)) ||
	    (status = read_use_cases(c, k)) || (status = read_expiry(c, k)))
		return status;
	if (!k->name.n || !role.n)
		return api_fail(c, 400, k->name.n ? "role" : "name", "missing_member",
				"%s is required: a key has a name (who holds it) and a role (admin, operator, client)",
				k->name.n ? "role" : "name");
	if (key_role_parse(role, &k->role, &err))
		return api_fail(c, 400, "role", "invalid_value", "%s", err.text);
	if (json_get_i64(c->body, "requests_per_minute", &k->requests_per_minute, &err))
		return api_fail(c, 400, "requests_per_minute", "invalid_type", "%s", err.text);
	if (json_get_i64(c->body, "tokens_per_minute", &k->tokens_per_minute, &err))
		return api_fail(c, 400, "tokens_per_minute", "invalid_type", "%s", err.text);
	if (key_parse_spending(c->body, k, &err))
		return api_fail(c, 400, NULL, "invalid_value", "%s", err.text);
	return 0;
}

int api_key_create(struct api_call *c)
{
	/* Who came here with a key of its own is an admin: the registry need not look for one. */
	struct key_wish wish = {.may_be_any = c->req->by_key};
	const struct budget_states nothing = {.n = 0}; /* was spent yet */
	char text[KEY_TEXT_SIZE], id[UUID_STR_SIZE];
	struct err err = {0};
	int status = read_wish(c, &wish.key), rc;

	if (status)
		return status;
	rc = registry_create_key(c->admin->registry, &wish, &c->who, text, &err);
	if (rc == E_EXISTS)
		return api_fail(c, 409, "name", "key_exists", "%s", err.text);
	if (rc == E_CONFLICT)
		return api_fail(c, 409, "role", "no_admin_key", "%s", err.text);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	api_header(c, "location", "/api/v1/keys/%s", uuid_format(&wish.key.id, id));
	api_header(c, "cache-control", "no-store");
	write_one(c, &wish.key, text, &nothing);
	explicit_bzero(text, sizeof(text));
	return 201;
}

/* NULL: it is not there; null takes it away, as "" does. */
static int read_change(struct api_call *c, const char *name, struct slice *text, const struct slice **ret)
{
	const struct json *v = json_get(c->body, name);
	int status = api_body_str(c, name, 64, text);

	if (status || !v)
		return status;
	if (!text->p)
		*text = SLICE_LIT("");
	*ret = text;
	return 0;
}

int api_key_patch(struct api_call *c)
{
	struct slice budget = {0}, token_budget = {0}, translation = {0};
	struct key_change change = {NULL};
	struct err err = {0};
	struct uuid id;
	char text[UUID_STR_SIZE];
	int status, rc;

	if ((status = read_change(c, "budget", &budget, &change.budget)) ||
	    (status = read_change(c, "token_budget", &token_budget, &change.token_budget)) ||
	    (status = read_change(c, "translation", &translation, &change.translation)))
		return status;
	if (!change.budget && !change.token_budget && !change.translation)
		return api_fail(c, 400, NULL, "missing_member",
				"what of a key can be changed is budget, token_budget and translation: give one");
	rc = registry_change_key(c->admin->registry, c->param[0], &change, &c->who, &id, &err);
	if (rc == E_NOTFOUND)
		return api_fail(c, 404, "key", "key_not_found", "%s", err.text);
	if (rc == E_CONFLICT)
		return api_fail(c, 409, "key", "key_revoked", "%s", err.text);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	return write_key(c, slice_from(uuid_format(&id, text)));
}

int api_key_revoke(struct api_call *c)
{
	struct slice reason = api_query(c, "reason");
	char text[UUID_STR_SIZE];
	struct err err = {0};
	struct uuid id;
	int rc;

	if (reason.n > API_REASON_MAX)
		return api_fail(c, 400, "reason", "too_long", "reason is longer than %d bytes", API_REASON_MAX);
	if (reason.p)
		c->who.reason = reason;
	rc = registry_revoke_key(c->admin->registry, c->param[0], &c->who, &id, &err);
	if (rc == E_NOTFOUND)
		return api_fail(c, 404, "key", "key_not_found", "%s", err.text);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	return write_key(c, slice_from(uuid_format(&id, text)));
}
