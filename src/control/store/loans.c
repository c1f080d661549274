/* SPDX-License-Identifier: Apache-2.0 */
/* Each call is one statement or two. */
#include "control/store/loans.h"

#include "control/store/store_internal.h"

#define GONE_US (INT64_C(86400) * 1000000)

static int exec(struct db *db, const struct sql *q, struct err *err)
{
	return db_exec(db, q->text, db_args(q->args, q->n_args), NULL, err);
}

/* --- replicas --- */

int store_replica_beat(struct db *db, const struct uuid *self, int64_t ttl_us, struct err *err)
{
	char id[UUID_STR_SIZE];
	struct sql q = {.n = 0};

	sql_add(&q, "insert into replicas (instance, expires_us) values (");
	sql_arg(&q, db_uuid(self, id));
	sql_add(&q, ", ");
	sql_add(&q, db->now_us);
	sql_add(&q, " + ");
	sql_arg(&q, db_int(ttl_us));
	sql_add(&q, ") on conflict (instance) do update set expires_us = excluded.expires_us");
	return exec(db, &q, err);
}

int store_replica_others(struct db *db, const struct uuid *self, int64_t *ret_n, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	char id[UUID_STR_SIZE];
	struct sql q = {.n = 0};
	struct db_rows rows;
	int rc;

	arena_init(&a, 1024, 65536);
	sql_add(&q, "select count(*) from replicas");
	sql_where(&q, "instance <> ", db_uuid(self, id));
	sql_add(&q, " and expires_us > ");
	sql_add(&q, db->now_us);
	rc = sql_query(db, &a, &q, &rows, err);
	if (!rc)
		*ret_n = db_cell(&rows, 0, 0)->i;
	return rc;
}

int store_replica_leave(struct db *db, const struct uuid *self, struct err *err)
{
	char id[UUID_STR_SIZE];
	struct sql q = {.n = 0};

	sql_add(&q, "delete from replicas");
	sql_where(&q, "instance = ", db_uuid(self, id));
	return exec(db, &q, err);
}

static int sweep(struct db *db, const char *text, const char *and_text, struct err *err)
{
	struct sql q = {.n = 0};

	sql_add(&q, text);
	sql_add(&q, db->now_us);
	sql_add(&q, " - ");
	sql_arg(&q, db_int(GONE_US));
	sql_add(&q, and_text);
	return exec(db, &q, err);
}

int store_loans_sweep(struct db *db, struct err *err)
{
	int rc = sweep(db, "delete from replicas where expires_us < ", "", err);

	if (!rc)
		rc = db_exec(db, "delete from loans where instance not in (select instance from replicas)",
			     db_args(NULL, 0), NULL, err);
	return rc ? rc
		  : sweep(db, "delete from loan_pools where state < ",
			  " and not exists (select 1 from loans l where l.kind = loan_pools.kind and l.subject = "
			  "loan_pools.subject)",
			  err);
}

/* --- loans --- */

int store_loan_list(struct db *db, struct arena *a, const struct uuid *self, struct loan_row **ret, size_t *ret_n,
		    struct err *err)
{
	struct loan_row *list;
	char id[UUID_STR_SIZE];
	struct sql q = {.n = 0};
	struct db_rows rows;
	int rc;

	sql_add(&q, "select l.kind, l.subject, l.instance, l.amount, l.wanted, "
		    "case when exists (select 1 from replicas r where r.instance = l.instance and r.expires_us > ");
	sql_add(&q, db->now_us);
	sql_add(&q, ") then 1 else 0 end from loans m join loans l on l.kind = m.kind and l.subject = m.subject");
	sql_where(&q, "m.instance = ", db_uuid(self, id));
	sql_add(&q, " order by l.kind, l.subject, l.instance limit ");
	sql_arg(&q, db_int(STORE_LOANS_MAX));
	rc = sql_query(db, a, &q, &rows, err);
	if (rc)
		return rc;
	list = ARENA_ARRAY(a, struct loan_row, rows.n_rows);
	if (!list)
		return err_set(err, E_TOOBIG, "too many loans");
	for (size_t i = 0; i < rows.n_rows; i++) {
		struct row r = {.rows = &rows, .row = i};

		list[i].kind = row_text(&r);
		list[i].subject = row_text(&r);
		list[i].instance = row_uuid(&r);
		list[i].amount = row_int(&r);
		list[i].wanted = row_int(&r);
		list[i].alive = row_int(&r) != 0;
		rc = row_end(&r, "loans", err);
		if (rc)
			return rc;
	}
	*ret = list;
	*ret_n = rows.n_rows;
	return 0;
}

static void add_one(struct sql *q, const struct loan_row *row, char id[UUID_STR_SIZE])
{
	sql_where(q, "kind = ", db_text(row->kind));
	sql_where(q, "subject = ", db_text(row->subject));
	sql_where(q, "instance = ", db_uuid(&row->instance, id));
}

int store_loan_want(struct db *db, const struct loan_row *row, struct err *err)
{
	char id[UUID_STR_SIZE];
	struct sql q = {.n = 0};

	sql_add(&q, "update loans set wanted = ");
	sql_arg(&q, db_int(row->wanted));
	add_one(&q, row, id);
	return exec(db, &q, err);
}

int store_loan_put(struct db *db, const struct loan_row *row, struct err *err)
{
	char id[UUID_STR_SIZE];
	const struct db_value args[] = {
		db_text(row->kind),  db_text(row->subject), db_uuid(&row->instance, id),
		db_int(row->amount), db_int(row->wanted),
	};

	return db_exec(db,
		       "insert into loans (kind, subject, instance, amount, wanted) values ($1, $2, $3, $4, $5) "
		       "on conflict (kind, subject, instance) do update set amount = excluded.amount, "
		       "wanted = excluded.wanted",
		       db_args(args, COUNT_OF(args)), NULL, err);
}

int store_loan_end(struct db *db, const struct loan_row *row, int64_t *ret_amount, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	char id[UUID_STR_SIZE];
	struct sql q = {.n = 0};
	struct db_rows rows;
	int rc;

	arena_init(&a, 1024, 65536);
	sql_add(&q, "delete from loans");
	add_one(&q, row, id);
	sql_add(&q, " returning amount");
	rc = sql_query(db, &a, &q, &rows, err);
	if (!rc)
		*ret_amount = rows.n_rows ? db_cell(&rows, 0, 0)->i : 0;
	return rc;
}

/* --- pools --- */

static int two_numbers(struct db *db, const struct sql *q, int64_t *ret_first, int64_t *ret_second, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows;
	int rc;

	arena_init(&a, 1024, 65536);
	rc = sql_query(db, &a, q, &rows, err);
	if (rc)
		return rc;
	if (rows.n_rows != 1)
		return err_set(err, E_CORRUPT, "loan_pools gave %zu rows, not one", rows.n_rows);
	*ret_first = db_cell(&rows, 0, 0)->i;
	*ret_second = db_cell(&rows, 0, 1)->i;
	return 0;
}

/* Writing the row holds it; what is read after that is what the last who held it has left. */
int store_pool_hold(struct db *db, struct pool_row *pool, struct err *err)
{
	struct sql q = {.n = 0}, sum = {.n = 0};
	int64_t unused = 0;
	int rc;

	sql_add(&q, "insert into loan_pools (kind, subject, state) values (");
	sql_arg(&q, db_text(pool->kind));
	sql_add(&q, ", ");
	sql_arg(&q, db_text(pool->subject));
	sql_add(&q, ", 0) on conflict (kind, subject) do update set state = loan_pools.state returning state, ");
	sql_add(&q, db->now_us);
	rc = two_numbers(db, &q, &pool->state, &pool->now_us, err);
	if (rc)
		return rc;
	sql_add(&sum, "select cast(coalesce(sum(amount), 0) as bigint), count(*) from loans");
	sql_where(&sum, "kind = ", db_text(pool->kind));
	sql_where(&sum, "subject = ", db_text(pool->subject));
	return two_numbers(db, &sum, &pool->lent, &unused, err);
}

int store_pool_set(struct db *db, const struct pool_row *pool, struct err *err)
{
	struct sql q = {.n = 0};

	sql_add(&q, "update loan_pools set state = ");
	sql_arg(&q, db_int(pool->state));
	sql_where(&q, "kind = ", db_text(pool->kind));
	sql_where(&q, "subject = ", db_text(pool->subject));
	return exec(db, &q, err);
}
