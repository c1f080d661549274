/* SPDX-License-Identifier: Apache-2.0 */
/* model_snapshots: how a use case was served at a moment, taken before it is changed.  Written once, never changed. */
#include "control/store/entities.h"
#include "control/store/store_internal.h"

#define COLUMNS "id, created_us, use_case, model_id, deployment_id, actor, reason, document"

int store_checkpoint_insert(struct db *db, const struct checkpoint_row *s, struct err *err)
{
	char id[UUID_STR_SIZE], model[UUID_STR_SIZE], deployment[UUID_STR_SIZE];
	const struct db_value args[] = {
		db_uuid(&s->id, id),
		db_int(s->created_us),
		db_text(s->use_case),
		db_uuid_or_null(&s->model_id, model),
		db_uuid_or_null(&s->deployment_id, deployment),
		db_text(s->actor.p ? s->actor : SLICE_LIT("")),
		db_text(s->reason.p ? s->reason : SLICE_LIT("")),
		db_text(s->document),
	};

	return db_exec(db, "insert into model_snapshots (" COLUMNS ") values ($1, $2, $3, $4, $5, $6, $7, $8)",
		       db_args(args, COUNT_OF(args)), NULL, err);
}

static int read_row(const struct db_rows *rows, size_t row, void *into, struct err *err)
{
	struct checkpoint_row *ret = into;
	struct row r = {.rows = rows, .row = row};

	ret->id = row_uuid(&r);
	ret->created_us = row_int(&r);
	ret->use_case = row_text(&r);
	ret->model_id = row_uuid_or_nil(&r);
	ret->deployment_id = row_uuid_or_nil(&r);
	ret->actor = row_text(&r);
	ret->reason = row_text(&r);
	ret->document = row_text(&r);
	return row_end(&r, "model_snapshots", err);
}

int store_checkpoint_get(struct db *db, struct arena *a, const struct uuid *id, struct checkpoint_row *ret,
			 struct err *err)
{
	char text[UUID_STR_SIZE];
	const struct db_value arg = db_uuid(id, text);
	struct db_rows rows;
	int rc = db_query(db, a, "select " COLUMNS " from model_snapshots where id = $1", db_args(&arg, 1), &rows, err);

	if (rc)
		return rc;
	if (rows.n_rows == 0)
		return err_set(err, E_NOTFOUND, "there is no snapshot with the id %s", text);
	return read_row(&rows, 0, ret, err);
}

int store_checkpoint_list(struct db *db, struct arena *a, const struct checkpoint_filter *f,
			  struct checkpoint_row **ret, size_t *ret_n, struct err *err)
{
	static const struct row_list how = {sizeof(struct checkpoint_row), read_row,
					    "too many snapshots: ask for fewer"};
	struct sql q = {.n = 0};
	struct row_array got = {NULL, 0};
	int rc;

	sql_add(&q, "select " COLUMNS " from model_snapshots");
	sql_where_text(&q, "use_case = ", f->use_case);
	sql_where_text(&q, "id < ", f->before_id);
	sql_add(&q, " order by id desc limit ");
	sql_arg(&q, db_int((int64_t)store_limit(f->limit)));
	rc = sql_list(db, a, &q, &how, &got, err);
	if (rc)
		return rc;
	*ret = got.list;
	*ret_n = got.n;
	return 0;
}
