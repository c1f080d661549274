/* SPDX-License-Identifier: Apache-2.0 */
/* model_registry: rows in and out.  The unique indexes of the table are the rule; nothing here decides what may change.
 */
#include "control/store/entities.h"
#include "control/store/store_internal.h"

#define COLUMNS                                                                                                 \
	"id, model_name, version, use_case, model_type, provider, configuration, performance_metrics, status, " \
	"created_us, "                                                                                          \
	"updated_us, status_since_us"

int store_model_insert(struct db *db, const struct model *m, struct err *err)
{
	char id[UUID_STR_SIZE];
	const struct db_value args[] = {
		db_uuid(&m->id, id),
		db_text(m->name),
		db_text(m->version),
		db_text(m->use_case),
		db_text(m->model_type),
		db_text(m->provider),
		db_text(m->configuration.n ? m->configuration : SLICE_LIT("{}")),
		db_text(m->metrics.n ? m->metrics : SLICE_LIT("{}")),
		db_cstr(model_status_name(m->status)),
		db_int(m->created_us),
		db_int(m->updated_us),
		db_int(m->status_since_us),
	};

	return db_exec(db,
		       "insert into model_registry (" COLUMNS
		       ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
		       db_args(args, COUNT_OF(args)), NULL, err);
}

static int read_model(const struct db_rows *rows, size_t row, void *into, struct err *err)
{
	struct model *ret = into;
	struct row r = {.rows = rows, .row = row};
	struct model m = {0};

	m.id = row_uuid(&r);
	m.name = row_text(&r);
	m.version = row_text(&r);
	m.use_case = row_text(&r);
	m.model_type = row_text(&r);
	m.provider = row_text(&r);
	m.configuration = row_text(&r);
	m.metrics = row_text(&r);
	if (model_status_parse(row_text(&r), &m.status, NULL))
		r.rc = E_CORRUPT;
	m.created_us = row_int(&r);
	m.updated_us = row_int(&r);
	m.status_since_us = row_int(&r);
	*ret = m;
	return row_end(&r, "model_registry", err);
}

int store_model_get(struct db *db, struct arena *a, const struct uuid *id, struct model *ret, struct err *err)
{
	char text[UUID_STR_SIZE];
	const struct db_value arg = db_uuid(id, text);
	struct db_rows rows;
	int rc = db_query(db, a, "select " COLUMNS " from model_registry where id = $1", db_args(&arg, 1), &rows, err);

	if (rc)
		return rc;
	if (rows.n_rows == 0)
		return err_set(err, E_NOTFOUND, "there is no model with the id %s", text);
	return read_model(&rows, 0, ret, err);
}

int store_model_list(struct db *db, struct arena *a, const struct model_filter *f, struct model **ret, size_t *ret_n,
		     struct err *err)
{
	struct sql q = {.n = 0};
	static const struct row_list how = {sizeof(struct model), read_model, "too many models: ask for one use case"};
	struct row_array got = {NULL, 0};
	int rc;

	sql_add(&q, "select " COLUMNS " from model_registry");
	sql_where_text(&q, "use_case = ", f->use_case);
	sql_where_text(&q, "provider = ", f->provider);
	sql_where_text(&q, "model_name = ", f->name);
	sql_where_text(&q, "version = ", f->version);
	if (f->status >= 0)
		sql_where(&q, "status = ", db_cstr(model_status_name((enum model_status)f->status)));
	else if (!f->with_archived)
		sql_where(&q, "status <> ", db_cstr(model_status_name(MODEL_ARCHIVED)));
	sql_add(&q,
		" order by use_case, case status when 'current' then 0 when 'testing' then 1 when 'candidate' then 2 "
		"when 'deprecated' then 3 else 4 end, created_us desc, id desc");
	rc = sql_list(db, a, &q, &how, &got, err);
	if (rc)
		return rc;
	*ret = got.list;
	*ret_n = got.n;
	return 0;
}

int store_model_current(struct db *db, struct arena *a, struct slice use_case, struct model *ret, struct err *err)
{
	const struct db_value arg = db_text(use_case);
	struct db_rows rows;
	int rc = db_query(db, a, "select " COLUMNS " from model_registry where use_case = $1 and status = 'current'",
			  db_args(&arg, 1), &rows, err);

	if (rc)
		return rc;
	if (rows.n_rows == 0)
		return err_set(err, E_NOTFOUND, "no model is current for " SLICE_FMT,
			       SLICE_ARG(slice_sub(use_case, 0, 64)));
	return read_model(&rows, 0, ret, err);
}

static int update(struct db *db, const char *sql, const struct db_value args[3], struct err *err)
{
	int64_t n_changed = 0;
	int rc = db_exec(db, sql, db_args(args, 3), &n_changed, err);

	if (!rc && n_changed == 0)
		return err_set(err, E_NOTFOUND, "there is no model with the id " SLICE_FMT, SLICE_ARG(args[2].s));
	return rc;
}

int store_model_set_status(struct db *db, const struct uuid *id, enum model_status status, int64_t now_us,
			   struct err *err)
{
	char text[UUID_STR_SIZE];
	const struct db_value args[] = {db_cstr(model_status_name(status)), db_int(now_us), db_int(now_us),
					db_uuid(id, text)};
	int64_t n_changed = 0;
	int rc = db_exec(db,
			 "update model_registry set status = $1, updated_us = $2, status_since_us = $3 where id = $4",
			 db_args(args, COUNT_OF(args)), &n_changed, err);

	if (!rc && n_changed == 0)
		return err_set(err, E_NOTFOUND, "there is no model with the id %s", text);
	return rc;
}

int store_model_set_configuration(struct db *db, const struct uuid *id, struct slice json, int64_t now_us,
				  struct err *err)
{
	char text[UUID_STR_SIZE];
	const struct db_value args[] = {db_text(json), db_int(now_us), db_uuid(id, text)};

	return update(db, "update model_registry set configuration = $1, updated_us = $2 where id = $3", args, err);
}

int store_model_set_metrics(struct db *db, const struct uuid *id, struct slice json, int64_t now_us, struct err *err)
{
	char text[UUID_STR_SIZE];
	const struct db_value args[] = {db_text(json), db_int(now_us), db_uuid(id, text)};

	return update(db, "update model_registry set performance_metrics = $1, updated_us = $2 where id = $3", args,
		      err);
}
