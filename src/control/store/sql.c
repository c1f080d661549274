/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries with optional conditions, and reading what comes back.  Conditions are put together rather than written as
 * "($1 is null or use_case = $1)", because no planner takes an index for that.
 */
#include <assert.h>
#include <stdio.h>

#include "control/store/entities.h"
#include "control/store/store_internal.h"

void sql_add(struct sql *q, const char *text)
{
	size_t n = strlen(text);

	assert(q->n + n < sizeof(q->text));
	memcpy(q->text + q->n, text, n + 1);
	q->n += n;
}

void sql_arg(struct sql *q, struct db_value v)
{
	char number[24];

	assert(q->n_args < SQL_MAX_ARGS);
	q->args[q->n_args++] = v;
	(void)snprintf(number, sizeof(number), "$%zu", q->n_args); /* always fits */
	sql_add(q, number);
}

void sql_where(struct sql *q, const char *condition, struct db_value v)
{
	sql_add(q, q->has_where ? " and " : " where ");
	q->has_where = true;
	sql_add(q, condition);
	sql_arg(q, v);
}

void sql_where_text(struct sql *q, const char *condition, struct slice s)
{
	if (s.p)
		sql_where(q, condition, db_text(s));
}

void sql_where_time(struct sql *q, const char *condition, int64_t at_us)
{
	if (at_us)
		sql_where(q, condition, db_int(at_us));
}

int sql_query(struct db *db, struct arena *a, const struct sql *q, struct db_rows *ret, struct err *err)
{
	return db_query(db, a, q->text, db_args(q->args, q->n_args), ret, err);
}

struct slice sql_id_floor(int64_t at_us, char text[UUID_STR_SIZE])
{
	uint64_t ms = at_us > 0 ? (uint64_t)at_us / 1000 : 0;
	int n = snprintf(text, UUID_STR_SIZE, "%08llx-%04llx-0000-0000-000000000000",
			 (unsigned long long)(ms >> 16) & 0xffffffff, (unsigned long long)ms & 0xffff);

	return (struct slice){text, (size_t)n};
}

size_t store_limit(size_t limit)
{
	return limit ? min_size(limit, STORE_PAGE_MAX) : 100;
}

static const struct db_value *next_cell(struct row *r)
{
	assert(r->column < r->rows->n_columns);
	return db_cell(r->rows, r->row, r->column++);
}

struct slice row_text(struct row *r)
{
	const struct db_value *v = next_cell(r);

	if (v->type != DB_TEXT && v->type != DB_NULL)
		r->rc = E_CORRUPT;
	return v->type == DB_TEXT ? v->s : (struct slice){NULL, 0};
}

int64_t row_int_or(struct row *r, int64_t if_null)
{
	const struct db_value *v = next_cell(r);

	if (v->type == DB_NULL)
		return if_null;
	if (v->type != DB_INT)
		r->rc = E_CORRUPT;
	return v->type == DB_INT ? v->i : 0;
}

int64_t row_int(struct row *r)
{
	return row_int_or(r, 0);
}

struct uuid row_uuid(struct row *r)
{
	struct slice s = row_text(r);
	struct uuid u = {{0}};

	if (!s.p || uuid_parse(s.p, s.n, &u))
		r->rc = E_CORRUPT;
	return u;
}

struct uuid row_uuid_or_nil(struct row *r)
{
	const struct db_value *v = db_cell(r->rows, r->row, r->column);

	if (v->type != DB_NULL)
		return row_uuid(r);
	r->column++;
	return (struct uuid){{0}};
}

int row_end(const struct row *r, const char *table, struct err *err)
{
	const struct db_value *id = db_cell(r->rows, r->row, 0);

	if (!r->rc)
		return 0;
	return err_set(err, r->rc, "a row of %s cannot be read: its first column is '" SLICE_FMT "'", table,
		       SLICE_ARG(slice_sub(id->type == DB_TEXT ? id->s : SLICE_LIT("?"), 0, 64)));
}

void sql_where_model(struct sql *q, struct slice model)
{
	struct uuid id;

	if (!model.p)
		return;
	if (!uuid_parse(model.p, model.n, &id)) { /* the index answers this one */
		sql_where(q, "model_id = ", db_text(model));
		return;
	}
	sql_where(q, "(model_id = ", db_text(model));
	sql_add(q, " or model_name = ");
	sql_arg(q, db_text(model));
	if (slice_chr(model, '@') < 0) {
		sql_add(q, " or substr(model_name, 1, length(");
		sql_arg(q, db_text(model));
		sql_add(q, ") + 1) = ");
		sql_arg(q, db_text(model));
		sql_add(q, " || '@'");
	}
	sql_add(q, ")");
}

int sql_list(struct db *db, struct arena *a, const struct sql *q, const struct row_list *how, struct row_array *ret,
	     struct err *err)
{
	struct db_rows rows;
	char *list;
	int rc = sql_query(db, a, q, &rows, err);

	if (rc)
		return rc;
	list = arena_zarray(a, how->size, rows.n_rows);
	if (!list)
		return err_set(err, E_TOOBIG, "%s", how->many);
	for (size_t i = 0; i < rows.n_rows && !rc; i++)
		rc = how->read(&rows, i, list + i * how->size, err);
	if (rc)
		return rc;
	*ret = (struct row_array){list, rows.n_rows};
	return 0;
}
