/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: making, changing and revoking them, each with its event.  No event and no error holds the text of a key. */
#include "control/registry/change.h"
#include "core/json/writer.h"

#define KEYS_MAX 10000
#define KEY_JSON_MAX 32768

static int describe(struct change *c, const struct key *k, struct slice *ret, struct err *err)
{
	struct json_writer w;
	struct buf out;

	buf_init_arena(&out, c->a, KEY_JSON_MAX);
	jw_init(&w, &out);
	key_write(&w, k, c->now_us);
	*ret = buf_slice(&out);
	return buf_failed(&out) ? err_set(err, E_TOOBIG, "the key names too many use cases") : 0;
}

static bool has_admin(const struct key *list, size_t n, int64_t now_us)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].role == KEY_ADMIN && !list[i].revoked_us && !key_expired(&list[i], now_us))
			return true;
	}
	return false;
}

static size_t count_in_use(const struct key *list, size_t n)
{
	size_t in_use = 0;

	for (size_t i = 0; i < n; i++)
		in_use += !list[i].revoked_us;
	return in_use;
}

static int check_others(struct change *c, const struct key_wish *wish, struct err *err)
{
	struct key *list = NULL;
	size_t n = 0;
	int rc = store_key_list(c->db, c->a, &list, &n, err);

	if (rc)
		return rc;
	if (count_in_use(list, n) >= KEYS_MAX)
		return err_set(err, E_TOOBIG, "%d keys are in use, which is all there may be: revoke some", KEYS_MAX);
	for (size_t i = 0; i < n; i++) {
		if (!list[i].revoked_us && slice_eq(list[i].name, wish->key.name))
			return err_set(err, E_EXISTS,
				       "a key called '" SLICE_FMT "' is in use: revoke it, or take another name",
				       SLICE_ARG(wish->key.name));
	}
	if (wish->key.role != KEY_ADMIN && !wish->may_be_any && !has_admin(list, n, c->now_us))
		return err_set(err, E_CONFLICT,
			       "make a key of role admin first: once there is a key, nobody without one can make or "
			       "revoke others");
	return 0;
}

static int apply_create(struct change *c, void *arg, struct err *err)
{
	struct key_wish *wish = arg;
	struct key *k = &wish->key;
	char id[UUID_STR_SIZE];
	struct registry_event e = {.kind = SLICE_LIT("key.created")};
	int rc;

	k->id = change_new_id(c);
	k->created_us = c->now_us;
	k->revoked_us = 0;
	if ((rc = key_check(k, c->now_us, err)) || (rc = check_others(c, wish, err)) ||
	    (rc = describe(c, k, &e.after, err)) || (rc = store_key_insert(c->db, c->a, k, err)))
		return rc;
	e.subject = slice_from(uuid_format(&k->id, id));
	return change_event(c, &e, err);
}

int registry_create_key(struct registry *r, struct key_wish *wish, const struct registry_who *who,
			char ret_text[KEY_TEXT_SIZE], struct err *err)
{
	char text[KEY_TEXT_SIZE];
	int rc;

	key_make(text, wish->key.digest);
	rc = registry_change(r, who, apply_create, wish, err);
	if (!rc)
		memcpy(ret_text, text, sizeof(text));
	explicit_bzero(text, sizeof(text));
	return rc;
}

struct revocation {
	struct slice id_or_name;
	struct uuid id;
};

static int find(struct change *c, struct slice id_or_name, struct key *ret, struct err *err)
{
	struct key *list = NULL;
	struct uuid id;
	size_t n = 0;
	bool by_id = !uuid_parse(id_or_name.p, id_or_name.n, &id);
	int rc = store_key_list(c->db, c->a, &list, &n, err);

	for (size_t i = 0; !rc && i < n; i++) {
		if (by_id ? !memcmp(&id, &list[i].id, sizeof(id))
			  : !list[i].revoked_us && slice_eq(list[i].name, id_or_name)) {
			*ret = list[i];
			return 0;
		}
	}
	return rc ? rc
		  : err_set(err, E_NOTFOUND, "No key in use is '" SLICE_FMT "'. See: muster key list.",
			    SLICE_ARG(slice_sub(id_or_name, 0, 64)));
}

/* Revoking what is revoked changes nothing. */
static int apply_revoke(struct change *c, void *arg, struct err *err)
{
	struct registry_event e = {.kind = SLICE_LIT("key.revoked")};
	struct revocation *what = arg;
	char id[UUID_STR_SIZE];
	struct key k = {.role = KEY_CLIENT};
	int rc = find(c, what->id_or_name, &k, err);

	if (rc)
		return rc;
	what->id = k.id;
	if (k.revoked_us)
		return 0;
	rc = describe(c, &k, &e.before, err);
	k.revoked_us = c->now_us;
	if (rc || (rc = describe(c, &k, &e.after, err)) || (rc = store_key_revoke(c->db, &k.id, c->now_us, err)))
		return rc;
	e.subject = slice_from(uuid_format(&k.id, id));
	return change_event(c, &e, err);
}

int registry_revoke_key(struct registry *r, struct slice id_or_name, const struct registry_who *who,
			struct uuid *ret_id, struct err *err)
{
	struct revocation what = {.id_or_name = id_or_name};
	int rc = registry_change(r, who, apply_revoke, &what, err);

	if (!rc)
		*ret_id = what.id;
	return rc;
}

struct spending {
	struct slice id_or_name;
	const struct key_change *change;
	struct uuid id;
};

static int read_change(const struct key_change *c, struct key *k, struct err *err)
{
	int rc = 0;

	if (c->budget)
		rc = budget_parse(*c->budget, BUDGET_MONEY, &k->budgets.of[BUDGET_MONEY], err);
	if (!rc && c->token_budget)
		rc = budget_parse(*c->token_budget, BUDGET_TOKENS, &k->budgets.of[BUDGET_TOKENS], err);
	if (!rc && c->translation)
		rc = key_translation_parse(*c->translation, &k->translate_strictly, err);
	return rc;
}

static int apply_spending(struct change *c, void *arg, struct err *err)
{
	struct registry_event e = {.kind = SLICE_LIT("key.changed")};
	struct spending *what = arg;
	char id[UUID_STR_SIZE];
	struct key k = {.role = KEY_CLIENT};
	int rc = find(c, what->id_or_name, &k, err);

	if (rc)
		return rc;
	if (k.revoked_us)
		return err_set(err, E_CONFLICT, "The key '" SLICE_FMT "' was revoked: make another", SLICE_ARG(k.name));
	what->id = k.id;
	if ((rc = describe(c, &k, &e.before, err)) || (rc = read_change(what->change, &k, err)) ||
	    (rc = describe(c, &k, &e.after, err)) || (rc = store_key_set_spending(c->db, &k, err)))
		return rc;
	e.subject = slice_from(uuid_format(&k.id, id));
	return change_event(c, &e, err);
}

int registry_change_key(struct registry *r, struct slice id_or_name, const struct key_change *what,
			const struct registry_who *who, struct uuid *ret_id, struct err *err)
{
	struct spending s = {.id_or_name = id_or_name, .change = what};
	int rc = registry_change(r, who, apply_spending, &s, err);

	if (!rc)
		*ret_id = s.id;
	return rc;
}
