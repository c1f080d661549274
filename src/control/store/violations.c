/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guardrails_violations: one row per hit of a record.  Ids are derived from the record's, so that a record that is
 * shipped twice makes the same rows; they do not sort by time, which is why the pages here go by (created_us, id).
 */
#include "control/store/entities.h"
#include "control/store/store_internal.h"

#define COLUMNS                                                                                                    \
	"id, log_id, created_us, model_id, model_name, use_case, policy, rule, category, action, severity, side, " \
	"start_byte, "                                                                                             \
	"length_bytes"

int store_violations_insert(struct db *db, const struct log_record *r, struct err *err)
{
	char log_id[UUID_STR_SIZE], id[UUID_STR_SIZE];
	int rc = 0;

	for (size_t i = 0; i < r->n_violations && !rc; i++) {
		const struct record_violation *v = &r->violations[i];
		struct uuid u = uuid_derive(&r->id, (uint32_t)i);
		const struct db_value args[] = {
			db_uuid(&u, id),
			db_uuid(&r->id, log_id),
			db_int(r->created_us),
			db_text(r->model_id),
			db_text(r->model_name),
			db_text(r->use_case),
			db_text(v->policy),
			db_text(v->rule.p ? v->rule : SLICE_LIT("")),
			db_text(v->category),
			db_cstr(guard_action_name(v->action)),
			db_cstr(guard_severity_name(v->severity)),
			db_cstr(guard_side_name(v->side)),
			db_int(v->start),
			db_int(v->length),
		};

		rc = db_exec(
			db,
			"insert into guardrails_violations (" COLUMNS
			") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) on conflict do nothing",
			db_args(args, COUNT_OF(args)), NULL, err);
	}
	return rc;
}

static unsigned read_word(struct row *r, unsigned first, unsigned last, const char *(*name)(unsigned))
{
	struct slice s = row_text(r);

	for (unsigned i = first; i <= last; i++) {
		if (slice_eq_str(s, name(i)))
			return i;
	}
	r->rc = E_CORRUPT;
	return first;
}

static const char *action_name(unsigned i)
{
	return guard_action_name((enum guard_action)i);
}

static const char *severity_name(unsigned i)
{
	return guard_severity_name((enum guard_severity)i);
}

static const char *side_name(unsigned i)
{
	return guard_side_name((enum guard_side)i);
}

static int read_violation(const struct db_rows *rows, size_t row, struct violation_row *ret, struct err *err)
{
	struct row r = {.rows = rows, .row = row};

	ret->id = row_uuid(&r);
	ret->log_id = row_uuid(&r);
	ret->created_us = row_int(&r);
	ret->model_id = row_text(&r);
	ret->model_name = row_text(&r);
	ret->use_case = row_text(&r);
	ret->v.policy = row_text(&r);
	ret->v.rule = row_text(&r);
	ret->v.category = row_text(&r);
	ret->v.action = (enum guard_action)read_word(&r, GUARD_ALLOW, GUARD_BLOCK, action_name);
	ret->v.severity = (enum guard_severity)read_word(&r, GUARD_LOW, GUARD_CRITICAL, severity_name);
	ret->v.side = (enum guard_side)read_word(&r, GUARD_INPUT, GUARD_BOTH, side_name);
	ret->v.start = (uint32_t)row_int(&r);
	ret->v.length = (uint32_t)row_int(&r);
	return row_end(&r, "guardrails_violations", err);
}

static int read_violations(struct arena *a, const struct db_rows *rows, struct violation_row **ret, struct err *err)
{
	struct violation_row *list = ARENA_ARRAY(a, struct violation_row, rows->n_rows);
	int rc = 0;

	if (!list)
		return err_set(err, E_TOOBIG, "the violations are more than fit in memory: ask for fewer");
	for (size_t i = 0; i < rows->n_rows && !rc; i++)
		rc = read_violation(rows, i, &list[i], err);
	if (!rc)
		*ret = list;
	return rc;
}

int store_log_violations(struct db *db, struct arena *a, struct log_record *r, struct err *err)
{
	char id[UUID_STR_SIZE];
	const struct db_value args[] = {db_uuid(&r->id, id), db_int(RECORD_MAX_VIOLATIONS)};
	struct violation_row *list = NULL;
	struct db_rows rows;
	int rc;

	rc = db_query(db, a,
		      "select " COLUMNS
		      " from guardrails_violations where log_id = $1 order by side, start_byte, id limit $2",
		      db_args(args, COUNT_OF(args)), &rows, err);
	if (!rc)
		rc = read_violations(a, &rows, &list, err);
	if (rc)
		return rc;
	for (size_t i = 0; i < rows.n_rows; i++)
		r->violations[i] = list[i].v;
	r->n_violations = rows.n_rows;
	return 0;
}

int store_violation_list(struct db *db, struct arena *a, const struct violation_filter *f, struct violation_row **ret,
			 size_t *ret_n, struct err *err)
{
	struct sql q = {.n = 0};
	struct db_rows rows;
	int rc;

	sql_add(&q, "select " COLUMNS " from guardrails_violations");
	sql_where_text(&q, "use_case = ", f->use_case);
	sql_where_model(&q, f->model);
	sql_where_text(&q, "category = ", f->category);
	sql_where_text(&q, "severity = ", f->severity);
	sql_where_time(&q, "created_us >= ", f->since_us);
	sql_where_time(&q, "created_us <= ", f->until_us);
	if (f->before_id.p) {
		sql_where_text(&q, "(created_us, id) < (select created_us, id from guardrails_violations where id = ",
			       f->before_id);
		sql_add(&q, ")");
	}
	sql_add(&q, " order by created_us desc, id desc limit ");
	sql_arg(&q, db_int((int64_t)store_limit(f->limit)));
	rc = sql_query(db, a, &q, &rows, err);
	if (!rc)
		rc = read_violations(a, &rows, ret, err);
	if (!rc)
		*ret_n = rows.n_rows;
	return rc;
}
