/* SPDX-License-Identifier: Apache-2.0 */
/* api_keys: made once, revoked once, never deleted; only what they may spend is changed. */
#include "control/store/entities.h"
#include "control/store/store_internal.h"

#define COLUMNS                                                                                               \
	"id, name, role, digest, use_cases, requests_per_minute, tokens_per_minute, created_us, expires_us, " \
	"revoked_us, budget, token_budget, translation"

static struct db_value text_or_null(const char *s)
{
	return db_text((struct slice){*s ? s : NULL, strlen(s)});
}

int store_key_insert(struct db *db, struct arena *a, const struct key *k, struct err *err)
{
	char id[UUID_STR_SIZE], texts[BUDGET_N_UNITS][BUDGET_TEXT];
	const char *money = budget_format(&k->budgets.of[BUDGET_MONEY], BUDGET_MONEY, texts[BUDGET_MONEY]);
	const char *tokens = budget_format(&k->budgets.of[BUDGET_TOKENS], BUDGET_TOKENS, texts[BUDGET_TOKENS]);
	struct db_value args[] = {db_uuid(&k->id, id),		db_text(k->name),	db_cstr(key_role_name(k->role)),
				  db_cstr(k->digest),		db_text(SLICE_LIT("")), db_int(k->requests_per_minute),
				  db_int(k->tokens_per_minute), db_int(k->created_us),	db_int(k->expires_us),
				  db_int(k->revoked_us),	text_or_null(money),	text_or_null(tokens),
				  db_cstr(key_translation(k))};
	struct buf names;

	buf_init_arena(&names, a, 16384);
	for (size_t i = 0; i < k->n_use_cases; i++) {
		if (i)
			(void)buf_addc(&names, ' ');
		(void)buf_add(&names, k->use_cases[i]);
	}
	if (buf_failed(&names))
		return err_set(err, E_TOOBIG, "the key names too many use cases");
	if (names.n)
		args[4] = db_text(buf_slice(&names));
	return db_exec(db,
		       "insert into api_keys (" COLUMNS
		       ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
		       db_args(args, COUNT_OF(args)), NULL, err);
}

static int read_use_cases(struct arena *a, struct slice text, struct key *ret)
{
	struct slice *names = ARENA_ARRAY(a, struct slice, KEY_MAX_USE_CASES);
	struct slice name;
	size_t n = 0;

	if (!names)
		return E_TOOBIG;
	while (text.n && slice_split(&text, ' ', &name)) {
		if (n == KEY_MAX_USE_CASES)
			return E_CORRUPT;
		names[n++] = name;
	}
	ret->use_cases = names;
	ret->n_use_cases = n;
	return 0;
}

static int read_key(struct arena *a, const struct db_rows *rows, size_t row, struct key *ret, struct err *err)
{
	struct row r = {.rows = rows, .row = row};
	struct slice role, digest, use_cases;

	ret->id = row_uuid(&r);
	ret->name = row_text(&r);
	role = row_text(&r);
	digest = row_text(&r);
	use_cases = row_text(&r);
	ret->requests_per_minute = row_int(&r);
	ret->tokens_per_minute = row_int(&r);
	ret->created_us = row_int(&r);
	ret->expires_us = row_int(&r);
	ret->revoked_us = row_int(&r);
	for (unsigned u = 0; u < BUDGET_N_UNITS; u++)
		if (budget_parse(row_text(&r), (enum budget_unit)u, &ret->budgets.of[u], NULL))
			r.rc = E_CORRUPT;
	if (key_translation_parse(row_text(&r), &ret->translate_strictly, NULL))
		r.rc = E_CORRUPT;
	if (!r.rc && (key_role_parse(role, &ret->role, NULL) || digest.n != KEY_DIGEST_SIZE - 1))
		r.rc = E_CORRUPT;
	if (!r.rc)
		memcpy(ret->digest, digest.p, KEY_DIGEST_SIZE - 1);
	if (!r.rc && use_cases.n)
		r.rc = read_use_cases(a, use_cases, ret);
	return row_end(&r, "api_keys", err);
}

int store_key_list(struct db *db, struct arena *a, struct key **ret, size_t *ret_n, struct err *err)
{
	struct db_rows rows;
	struct key *list;
	int rc = db_query(db, a, "select " COLUMNS " from api_keys order by id", db_args(NULL, 0), &rows, err);

	if (rc)
		return rc;
	list = ARENA_ARRAY(a, struct key, rows.n_rows);
	if (!list)
		return err_set(err, E_TOOBIG, "too many API keys");
	for (size_t i = 0; i < rows.n_rows && !rc; i++)
		rc = read_key(a, &rows, i, &list[i], err);
	if (rc)
		return rc;
	*ret = list;
	*ret_n = rows.n_rows;
	return 0;
}

int store_key_revoke(struct db *db, const struct uuid *id, int64_t now_us, struct err *err)
{
	char text[UUID_STR_SIZE];
	const struct db_value args[] = {db_int(now_us), db_uuid(id, text)};
	int64_t n_changed = 0;
	int rc = db_exec(db, "update api_keys set revoked_us = $1 where id = $2 and revoked_us = 0",
			 db_args(args, COUNT_OF(args)), &n_changed, err);

	if (!rc && n_changed == 0)
		return err_set(err, E_NOTFOUND, "there is no key %s in use", text);
	return rc;
}

int store_key_set_spending(struct db *db, const struct key *k, struct err *err)
{
	char id[UUID_STR_SIZE], texts[BUDGET_N_UNITS][BUDGET_TEXT];
	const char *money = budget_format(&k->budgets.of[BUDGET_MONEY], BUDGET_MONEY, texts[BUDGET_MONEY]);
	const char *tokens = budget_format(&k->budgets.of[BUDGET_TOKENS], BUDGET_TOKENS, texts[BUDGET_TOKENS]);
	const struct db_value args[] = {text_or_null(money), text_or_null(tokens), db_cstr(key_translation(k)),
					db_uuid(&k->id, id)};
	int64_t n_changed = 0;
	int rc = db_exec(db,
			 "update api_keys set budget = $1, token_budget = $2, translation = $3 "
			 "where id = $4 and revoked_us = 0",
			 db_args(args, COUNT_OF(args)), &n_changed, err);

	if (!rc && n_changed == 0)
		return err_set(err, E_NOTFOUND, "there is no key %s in use", id);
	return rc;
}
