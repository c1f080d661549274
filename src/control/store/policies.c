/* SPDX-License-Identifier: Apache-2.0 */
/* guardrail_policies: a name and its document as JSON.  The document is read by domain/policy.h, not here. */
#include "control/store/entities.h"
#include "control/store/store_internal.h"

int store_policy_put(struct db *db, const struct policy_row *p, struct err *err)
{
	const struct db_value args[] = {db_text(p->name), db_text(p->document), db_int(p->created_us),
					db_int(p->updated_us)};

	return db_exec(
		db,
		"insert into guardrail_policies (name, document, created_us, updated_us) values ($1, $2, $3, $4) "
		"on conflict (name) do update set document = excluded.document, updated_us = excluded.updated_us",
		db_args(args, COUNT_OF(args)), NULL, err);
}

int store_policy_list(struct db *db, struct arena *a, struct policy_row **ret, size_t *ret_n, struct err *err)
{
	struct policy_row *list;
	struct db_rows rows;
	int rc = db_query(db, a, "select name, document, created_us, updated_us from guardrail_policies order by name",
			  db_args(NULL, 0), &rows, err);

	if (rc)
		return rc;
	list = ARENA_ARRAY(a, struct policy_row, rows.n_rows);
	if (!list)
		return err_set(err, E_TOOBIG, "too many guardrail policies");
	for (size_t i = 0; i < rows.n_rows; i++) {
		struct row r = {.rows = &rows, .row = i};

		list[i].name = row_text(&r);
		list[i].document = row_text(&r);
		list[i].created_us = row_int(&r);
		list[i].updated_us = row_int(&r);
		rc = row_end(&r, "guardrail_policies", err);
		if (rc)
			return rc;
	}
	*ret = list;
	*ret_n = rows.n_rows;
	return 0;
}

int store_policy_delete(struct db *db, struct slice name, struct err *err)
{
	const struct db_value arg = db_text(name);
	int64_t n_changed = 0;
	int rc = db_exec(db, "delete from guardrail_policies where name = $1", db_args(&arg, 1), &n_changed, err);

	if (!rc && n_changed == 0)
		return err_set(err, E_NOTFOUND, "there is no guardrail policy " SLICE_FMT,
			       SLICE_ARG(slice_sub(name, 0, 64)));
	return rc;
}
