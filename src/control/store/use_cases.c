/* SPDX-License-Identifier: Apache-2.0 */
/* use_cases: a name and its settings as JSON.  The document is read by domain/use_case.h, not here. */
#include "control/store/entities.h"
#include "control/store/store_internal.h"

int store_use_case_put(struct db *db, const struct use_case_row *u, struct err *err)
{
	const struct db_value args[] = {db_text(u->name), db_text(u->settings), db_int(u->created_us),
					db_int(u->updated_us)};

	return db_exec(
		db,
		"insert into use_cases (name, settings, created_us, updated_us) values ($1, $2, $3, $4) "
		"on conflict (name) do update set settings = excluded.settings, updated_us = excluded.updated_us",
		db_args(args, COUNT_OF(args)), NULL, err);
}

static int read_use_case(const struct db_rows *rows, size_t row, struct use_case_row *ret, struct err *err)
{
	struct row r = {.rows = rows, .row = row};

	ret->name = row_text(&r);
	ret->settings = row_text(&r);
	ret->created_us = row_int(&r);
	ret->updated_us = row_int(&r);
	return row_end(&r, "use_cases", err);
}

int store_use_case_get(struct db *db, struct arena *a, struct slice name, struct use_case_row *ret, struct err *err)
{
	const struct db_value arg = db_text(name);
	struct db_rows rows;
	int rc = db_query(db, a, "select name, settings, created_us, updated_us from use_cases where name = $1",
			  db_args(&arg, 1), &rows, err);

	if (rc)
		return rc;
	if (rows.n_rows == 0)
		return err_set(err, E_NOTFOUND, "there are no settings for use case " SLICE_FMT,
			       SLICE_ARG(slice_sub(name, 0, 64)));
	return read_use_case(&rows, 0, ret, err);
}

int store_use_case_list(struct db *db, struct arena *a, struct use_case_row **ret, size_t *ret_n, struct err *err)
{
	struct use_case_row *list;
	struct db_rows rows;
	int rc = db_query(db, a, "select name, settings, created_us, updated_us from use_cases order by name",
			  db_args(NULL, 0), &rows, err);

	if (rc)
		return rc;
	list = ARENA_ARRAY(a, struct use_case_row, rows.n_rows);
	if (!list)
		return err_set(err, E_TOOBIG, "too many use cases");
	for (size_t i = 0; i < rows.n_rows && !rc; i++)
		rc = read_use_case(&rows, i, &list[i], err);
	if (rc)
		return rc;
	*ret = list;
	*ret_n = rows.n_rows;
	return 0;
}
