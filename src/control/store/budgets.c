/* SPDX-License-Identifier: Apache-2.0 */
/* Each call is one statement or two.  Sums are cast: PostgreSQL would make them numeric. */
#include "control/store/budgets.h"

#include "control/store/store_internal.h"

#define QUERY_ARENA 65536

static int exec(struct db *db, const struct sql *q, struct err *err)
{
	return db_exec(db, q->text, db_args(q->args, q->n_args), NULL, err);
}

static void where_budget(struct sql *q, const struct budget_loan *of)
{
	sql_where(q, "budget = ", db_text(of->budget));
	sql_where(q, "start_us = ", db_int(of->start_us));
}

/* Writing the row holds it until the transaction ends. */
static int hold_row(struct db *db, const struct budget_loan *of, int64_t more, struct err *err)
{
	struct sql q = {.n = 0};

	sql_add(&q, "insert into budgets (budget, start_us, settled) values (");
	sql_arg(&q, db_text(of->budget));
	sql_add(&q, ", ");
	sql_arg(&q, db_int(of->start_us));
	sql_add(&q, ", ");
	sql_arg(&q, db_int(more));
	sql_add(&q, ") on conflict (budget, start_us) do update set settled = budgets.settled + excluded.settled");
	return exec(db, &q, err);
}

int store_budget_hold(struct db *db, const struct budget_loan *whose, struct budget_pool *ret, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	char id[UUID_STR_SIZE];
	struct sql q = {.n = 0};
	struct db_rows rows;
	struct row r = {.rows = &rows};
	int rc;

	arena_init(&a, 1024, QUERY_ARENA);
	rc = hold_row(db, whose, 0, err);
	if (rc)
		return rc;
	sql_add(&q, "select cast(coalesce((select sum(settled) from budgets");
	where_budget(&q, whose);
	q.has_where = false;
	sql_add(&q, "), 0) + coalesce(sum(lent), 0) as bigint), cast(coalesce(sum(case when instance = ");
	sql_arg(&q, db_uuid(&whose->instance, id));
	sql_add(&q, " then lent end), 0) as bigint), count(case when instance = ");
	sql_arg(&q, db_uuid(&whose->instance, id));
	sql_add(&q, " then 1 end) from budget_loans");
	where_budget(&q, whose);
	rc = sql_query(db, &a, &q, &rows, err);
	if (rc)
		return rc;
	ret->gone = row_int(&r);
	ret->lent = row_int(&r);
	ret->has_loan = row_int(&r) != 0;
	return row_end(&r, "budget_loans", err);
}

int store_budget_put(struct db *db, const struct budget_loan *loan, struct err *err)
{
	char id[UUID_STR_SIZE];
	const struct db_value args[] = {db_text(loan->budget), db_int(loan->start_us), db_uuid(&loan->instance, id),
					db_int(loan->lent),    db_int(loan->spent),    db_int(loan->wanted)};

	return db_exec(db,
		       "insert into budget_loans (budget, start_us, instance, lent, spent, wanted) "
		       "values ($1, $2, $3, $4, $5, $6) on conflict (budget, start_us, instance) do update set "
		       "lent = excluded.lent, spent = excluded.spent, wanted = excluded.wanted",
		       db_args(args, COUNT_OF(args)), NULL, err);
}

int store_budget_end(struct db *db, const struct budget_loan *loan, int64_t spent, struct err *err)
{
	char id[UUID_STR_SIZE];
	struct sql q = {.n = 0};
	int64_t n_changed = 0;
	int rc;

	sql_add(&q, "delete from budget_loans");
	where_budget(&q, loan);
	sql_where(&q, "instance = ", db_uuid(&loan->instance, id));
	rc = db_exec(db, q.text, db_args(q.args, q.n_args), &n_changed, err);
	return rc || !n_changed ? rc : hold_row(db, loan, spent, err);
}

int store_budget_tell(struct db *db, const struct budget_loan *loan, struct err *err)
{
	char id[UUID_STR_SIZE];
	struct sql q = {.n = 0};

	sql_add(&q, "update budget_loans set spent = ");
	sql_arg(&q, db_int(loan->spent));
	sql_add(&q, ", wanted = ");
	sql_arg(&q, db_int(loan->wanted));
	where_budget(&q, loan);
	sql_where(&q, "instance = ", db_uuid(&loan->instance, id));
	return exec(db, &q, err);
}

/* --- lists --- */

/* Whether the daemon of a loan is there.  Where no other can be, nobody says that it is. */
static void add_is_there(struct sql *q, const struct db *db)
{
	if (!db->ops->shared) {
		sql_add(q, "1 = 1");
		return;
	}
	sql_add(q, "exists (select 1 from replicas r where r.instance = l.instance and r.expires_us > ");
	sql_add(q, db->now_us);
	sql_add(q, ")");
}

/* What a loan counts as spent: all of it when its daemon is not there. */
static void add_spent(struct sql *q, const struct db *db)
{
	sql_add(q, "case when ");
	add_is_there(q, db);
	sql_add(q, " then l.spent else l.lent end");
}

static int read_standing(const struct db_rows *rows, size_t row, void *ret, struct err *err)
{
	struct row r = {.rows = rows, .row = row};
	struct budget_standing *s = ret;

	s->budget = row_text(&r);
	s->start_us = row_int(&r);
	s->gone = row_int(&r);
	s->own_lent = row_int(&r);
	s->others_spent = row_int(&r);
	s->others_wanted = row_int(&r);
	s->first_wanting = row_text(&r);
	return row_end(&r, "budget_loans", err);
}

int store_budget_standings(struct db *db, struct arena *a, const struct uuid *self, struct budget_standing **ret,
			   size_t *ret_n, struct err *err)
{
	static const struct row_list how = {sizeof(struct budget_standing), read_standing, "too many budgets"};
	struct row_array list = {NULL, 0};
	char id[UUID_STR_SIZE];
	struct db_value who = db_uuid(self, id);
	struct sql q = {.n = 0};
	int rc;

	sql_add(&q, "select m.budget, m.start_us, cast(b.settled + sum(l.lent) as bigint), m.lent, "
		    "cast(b.settled + coalesce(sum(case when l.instance <> ");
	sql_arg(&q, who);
	sql_add(&q, " then ");
	add_spent(&q, db);
	sql_add(&q, " end), 0) as bigint), coalesce(max(case when l.instance <> ");
	sql_arg(&q, who);
	sql_add(&q, " and ");
	add_is_there(&q, db);
	sql_add(&q, " then l.wanted end), 0), min(case when l.wanted > 0 and l.instance <> ");
	sql_arg(&q, who);
	sql_add(&q, " and ");
	add_is_there(&q, db);
	sql_add(&q, " then l.instance end) from budget_loans m join budget_loans l "
		    "on l.budget = m.budget and l.start_us = m.start_us join budgets b on b.budget = m.budget and "
		    "b.start_us = m.start_us");
	sql_where(&q, "m.instance = ", who);
	sql_add(&q, " group by m.budget, m.start_us, b.settled, m.lent order by m.budget, m.start_us limit ");
	sql_arg(&q, db_int(STORE_BUDGETS_MAX));
	rc = sql_list(db, a, &q, &how, &list, err);
	*ret = list.list;
	*ret_n = list.n;
	return rc;
}

static int read_state(const struct db_rows *rows, size_t row, void *ret, struct err *err)
{
	struct row r = {.rows = rows, .row = row};
	struct budget_state *s = ret;
	int64_t lent;

	s->budget = row_text(&r);
	s->start_us = row_int(&r);
	lent = row_int(&r);
	s->spent = row_int(&r);
	s->held = lent > s->spent ? lent - s->spent : 0;
	return row_end(&r, "budgets", err);
}

int store_budget_states(struct db *db, struct arena *a, struct slice prefix,
			const int64_t start_us[STORE_BUDGET_STARTS], struct budget_states *ret, struct err *err)
{
	static const struct row_list how = {sizeof(struct budget_state), read_state, "too many budgets"};
	struct row_array list = {NULL, 0};
	struct sql q = {.n = 0};
	int rc;

	sql_add(&q, "select b.budget, b.start_us, cast(b.settled + coalesce(sum(l.lent), 0) as bigint), "
		    "cast(b.settled + coalesce(sum(");
	add_spent(&q, db);
	sql_add(&q, "), 0) as bigint) from budgets b left join budget_loans l on l.budget = b.budget and l.start_us = "
		    "b.start_us where b.start_us in (");
	for (size_t i = 0; i < STORE_BUDGET_STARTS; i++) {
		sql_add(&q, i ? ", " : "");
		sql_arg(&q, db_int(start_us[i]));
	}
	sql_add(&q, ") and substr(b.budget, 1, length(");
	sql_arg(&q, db_text(prefix));
	sql_add(&q, ")) = ");
	sql_arg(&q, db_text(prefix));
	sql_add(&q, " group by b.budget, b.start_us, b.settled limit ");
	sql_arg(&q, db_int(STORE_BUDGETS_MAX));
	rc = sql_list(db, a, &q, &how, &list, err);
	*ret = (struct budget_states){list.list, list.n};
	return rc;
}

static int read_loan(const struct db_rows *rows, size_t row, void *ret, struct err *err)
{
	struct row r = {.rows = rows, .row = row};
	struct budget_loan *l = ret;

	l->budget = row_text(&r);
	l->start_us = row_int(&r);
	l->instance = row_uuid(&r);
	l->lent = row_int(&r);
	l->spent = row_int(&r);
	l->wanted = row_int(&r);
	return row_end(&r, "budget_loans", err);
}

int store_budget_loans(struct db *db, struct arena *a, const struct uuid *instance, const struct uuid *self,
		       struct budget_loans *ret, struct err *err)
{
	static const struct row_list how = {sizeof(struct budget_loan), read_loan, "too many budgets"};
	struct row_array list = {NULL, 0};
	char id[UUID_STR_SIZE];
	struct sql q = {.n = 0};
	int rc;

	sql_add(&q, "select budget, start_us, instance, lent, spent, wanted from budget_loans");
	sql_where(&q, instance ? "instance = " : "instance <> ", db_uuid(instance ? instance : self, id));
	sql_add(&q, " order by budget, start_us, instance limit ");
	sql_arg(&q, db_int(STORE_BUDGETS_MAX));
	rc = sql_list(db, a, &q, &how, &list, err);
	*ret = (struct budget_loans){list.list, list.n};
	return rc;
}

static int sweep(struct db *db, const char *text, int64_t before_us, struct err *err)
{
	const struct db_value arg = db_int(before_us);

	return db_exec(db, text, db_args(&arg, 1), NULL, err);
}

int store_budgets_sweep(struct db *db, int64_t before_us, struct err *err)
{
	int rc = sweep(db, "delete from budget_loans where start_us > 0 and start_us < $1", before_us, err);

	return rc ? rc : sweep(db, "delete from budgets where start_us > 0 and start_us < $1", before_us, err);
}
