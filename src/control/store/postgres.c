/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL.  No state of a session is kept outside transactions, so that a pooler may stand between; time limits are
 * set inside each transaction, and we wait for no answer longer than a limit of our own.  Statements are prepared by
 * name only where nothing stands between us and the server (or the URL says prepare=on): poolers in transaction mode
 * mix such names up.
 *
 * A connection that was lost is made anew by the next call outside a transaction.  When the answer to a commit is lost,
 * nobody can say whether it happened: what is written must be such that writing it again changes nothing, or be read
 * again first.
 */
#include "control/store/postgres_internal.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>

#define SCRATCH_FIRST ((size_t)16384)
#define SCRATCH_MAX ((size_t)1 << 30)

#define TEXT_OF_(x) #x
#define TEXT_OF(x) TEXT_OF_(x)
/* A writer that dies inside a transaction holds nobody up for longer than a minute. */
#define BEGIN                                                                                                         \
	"begin; set local lock_timeout = " TEXT_OF(                                                                   \
		PG_LOCK_TIMEOUT_MS) "; "                                                                              \
				    "set local statement_timeout = " TEXT_OF(                                         \
					    PG_STATEMENT_TIMEOUT_MS) "; "                                             \
								     "set local idle_in_transaction_session_timeout " \
								     "= 60000"
/* The write lock: the number is ours alone ("muster" in ASCII). */
#define WRITE_LOCK "; select pg_advisory_xact_lock(120351215609202)"

/* Not that of the transaction's begin: a lease may be waited for. */
#define NOW_US "cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)"

static struct db_postgres *from_base(struct db *db)
{
	return CONTAINER_OF(db, struct db_postgres, base);
}

/* --- the connection --- */

void pg_disconnect(struct db_postgres *d)
{
	for (size_t i = 0; i < d->n_prepared; i++)
		free(d->prepared[i].sql);
	d->n_prepared = 0;
	PQfinish(d->conn);
	d->conn = NULL;
	d->listens = false;
}

/* Whether an idle connection was closed by the other side, without asking the server anything. */
static bool is_stale(struct db_postgres *d)
{
	struct pollfd p = {.fd = PQsocket(d->conn), .events = POLLIN};

	for (int i = 0; i < 16 && poll(&p, 1, 0) > 0; i++) { /* notices, parting words */
		if (!PQconsumeInput(d->conn))
			return true;
		(void)PQisBusy(d->conn); /* reads what came */
	}
	return PQstatus(d->conn) != CONNECTION_OK;
}

struct number_sink {
	struct pg_sink base;
	int64_t n;
};

static int take_number(struct pg_sink *s, const PGresult *r, struct err *err)
{
	struct number_sink *k = CONTAINER_OF(s, struct number_sink, base);

	if (PQntuples(r) != 1 || slice_to_i64(slice_from(PQgetvalue(r, 0, 0)), &k->n))
		return err_set(err, E_CORRUPT, "a value of the database cannot be read");
	return 0;
}

bool pg_is_direct(struct db_postgres *d)
{
	struct number_sink sink = {.base = {.take = take_number}};
	int rc = pg_call(d, "select pg_catalog.pg_backend_pid()", NULL, &sink.base, PG_ANSWER_TIMEOUT_MS, NULL);

	return !rc && sink.n == PQbackendPID(d->conn);
}

static int connect_first(struct db_postgres *d, struct err *err)
{
	int rc = pg_target_connect(&d->target, &d->conn, err);

	if (rc)
		return rc;
	d->names_statements = d->target.prepare == PG_ON || (d->target.prepare == PG_AUTO && pg_is_direct(d));
	return d->conn ? 0
		       : err_set(err, E_UNAVAILABLE, "the database %s is away: it closed the connection",
				 d->target.shown);
}

static int connect_again(struct db_postgres *d, struct err *err)
{
	if (d->in_transaction)
		return d->conn ? 0
			       : err_set(err, E_UNAVAILABLE,
					 "the connection to the database %s was lost inside a transaction",
					 d->target.shown);
	if (d->conn && is_stale(d))
		pg_disconnect(d);
	return d->conn ? 0 : connect_first(d, err);
}

static void postgres_close(struct db *db)
{
	struct db_postgres *d = from_base(db);

	pg_disconnect(d);
	pg_target_release(&d->target);
	arena_release(&d->scratch);
	free(d);
}

static int postgres_open(const char *where, struct db **ret, struct err *err)
{
	struct db_postgres *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		abort();
	d->base = (struct db){.ops = &db_postgres_ops, .dialect = "postgres", .now_us = NOW_US};
	arena_init(&d->scratch, SCRATCH_FIRST, SCRATCH_MAX);
	rc = pg_target_parse(where, &d->target, err);
	if (!rc)
		rc = connect_first(d, err);
	if (rc)
		postgres_close(&d->base);
	else
		*ret = &d->base;
	return rc;
}

/* --- statements --- */

struct count_sink {
	struct pg_sink base;
	int64_t n;
};

static int take_count(struct pg_sink *s, const PGresult *r, struct err *err)
{
	struct count_sink *c = CONTAINER_OF(s, struct count_sink, base);
	PGresult *unsaid = (PGresult *)(uintptr_t)r; /* libpq's signature lacks the const */

	(void)err;
	if (slice_to_i64(slice_from(PQcmdTuples(unsaid)), &c->n))
		c->n = 0; /* a statement that counts nothing */
	return 0;
}

static int postgres_exec(struct db *db, const char *sql, struct db_args args, int64_t *ret_changes, struct err *err)
{
	struct db_postgres *d = from_base(db);
	struct count_sink sink = {.base = {.take = take_count}};
	struct pg_params params;
	int rc = connect_again(d, err);

	if (!rc)
		rc = pg_params_make(d, args, &params, err);
	if (!rc)
		rc = pg_call(d, sql, &params, &sink.base, PG_ANSWER_TIMEOUT_MS, err);
	if (!rc && ret_changes)
		*ret_changes = sink.n;
	return rc;
}

struct rows_sink {
	struct pg_sink base;
	struct arena *a;
	struct db_rows rows;
	size_t cap;
};

static int read_cell(const PGresult *r, int row, int column, struct arena *a, struct db_value *ret)
{
	struct slice s = {PQgetvalue(r, row, column), (size_t)PQgetlength(r, row, column)};

	if (PQgetisnull(r, row, column)) {
		*ret = (struct db_value){.type = DB_NULL};
		return 0;
	}
	switch (PQftype(r, column)) {
	case 16: /* bool */
		*ret = db_int(s.n && *s.p == 't');
		return 0;
	case 20: /* int8, int2, int4, oid */
	case 21:
	case 23:
	case 26:
		ret->type = DB_INT;
		return slice_to_i64(s, &ret->i);
	case 700: /* float4, float8, numeric */
	case 701:
	case 1700:
		ret->type = DB_DOUBLE;
		return slice_to_double(s, &ret->d);
	default:
		*ret = db_text(arena_slice(a, s));
		return ret->s.p ? 0 : E_TOOBIG;
	}
}

static int make_room(struct rows_sink *k)
{
	size_t need = (k->rows.n_rows + 1) * k->rows.n_columns, grown = max_size(2 * k->cap, 16 * k->rows.n_columns);
	struct db_value *cells;

	if (need <= k->cap)
		return 0;
	cells = ARENA_ARRAY(k->a, struct db_value, grown);
	if (!cells)
		return E_TOOBIG;
	if (k->rows.cells)
		memcpy(cells, k->rows.cells, k->rows.n_rows * k->rows.n_columns * sizeof(*cells));
	k->rows.cells = cells;
	k->cap = grown;
	return 0;
}

static int take_rows(struct pg_sink *s, const PGresult *r, struct err *err)
{
	struct rows_sink *k = CONTAINER_OF(s, struct rows_sink, base);

	k->rows.n_columns = (size_t)PQnfields(r);
	for (int row = 0; row < PQntuples(r); row++) {
		int rc = 0;

		if (k->rows.n_rows == DB_MAX_ROWS)
			return err_set(err, E_TOOBIG, "more than %d rows: ask for fewer", DB_MAX_ROWS);
		rc = make_room(k);
		for (size_t i = 0; i < k->rows.n_columns && !rc; i++)
			rc = read_cell(r, row, (int)i, k->a, &k->rows.cells[k->rows.n_rows * k->rows.n_columns + i]);
		if (rc == E_TOOBIG)
			return err_set(err, rc, "the rows are more than fit in memory: ask for fewer");
		if (rc)
			return err_set(err, E_CORRUPT, "a value of the database cannot be read");
		k->rows.n_rows++;
	}
	return 0;
}

static int query_once(struct db_postgres *d, struct arena *a, const char *sql, struct db_args args, struct db_rows *ret,
		      struct err *err)
{
	struct rows_sink sink = {.base = {.take = take_rows, .row_by_row = true}, .a = a};
	struct pg_params params;
	int rc = pg_params_make(d, args, &params, err);

	if (!rc)
		rc = pg_call(d, sql, &params, &sink.base, PG_ANSWER_TIMEOUT_MS, err);
	if (!rc)
		*ret = sink.rows;
	return rc;
}

/* Reading twice does no harm: a connection that turns out to be dead is tried once more. */
static int postgres_query(struct db *db, struct arena *a, const char *sql, struct db_args args, struct db_rows *ret,
			  struct err *err)
{
	struct db_postgres *d = from_base(db);
	bool was_connected = d->conn && !d->in_transaction;
	int rc = connect_again(d, err);

	if (rc)
		return rc;
	rc = query_once(d, a, sql, args, ret, err);
	if (rc == E_UNAVAILABLE && was_connected && !connect_again(d, err))
		rc = query_once(d, a, sql, args, ret, err);
	return rc;
}

/* --- transactions --- */

static void postgres_rollback(struct db *db)
{
	struct db_postgres *d = from_base(db);

	if (d->in_transaction && d->conn && pg_call(d, "rollback", NULL, NULL, PG_ANSWER_TIMEOUT_MS, NULL))
		pg_disconnect(d); /* the server rolls back what has no connection */
	d->in_transaction = false;
}

static int begin(struct db_postgres *d, const char *sql, struct err *err)
{
	bool was_connected = d->conn;
	int rc;

	if (d->in_transaction)
		return err_set(err, E_INVALID, "a transaction has begun already");
	rc = connect_again(d, err);
	if (rc)
		return rc;
	rc = pg_call(d, sql, NULL, NULL, PG_ANSWER_TIMEOUT_MS, err);
	if (rc == E_UNAVAILABLE && was_connected && !connect_again(d, err))
		rc = pg_call(d, sql, NULL, NULL, PG_ANSWER_TIMEOUT_MS, err);
	d->in_transaction = true;
	if (rc)
		postgres_rollback(&d->base);
	return rc;
}

static int postgres_begin(struct db *db, struct err *err)
{
	return begin(from_base(db), BEGIN WRITE_LOCK, err);
}

static int postgres_begin_append(struct db *db, struct err *err)
{
	return begin(from_base(db), BEGIN, err);
}

static int postgres_commit(struct db *db, struct err *err)
{
	struct db_postgres *d = from_base(db);
	int rc;

	if (!d->in_transaction)
		return err_set(err, E_INVALID, "there is no transaction to commit");
	if (d->conn && PQtransactionStatus(d->conn) == PQTRANS_INERROR)
		rc = err_set(err, E_INVALID, "the transaction has failed before: it is rolled back");
	else
		rc = connect_again(d, err);
	if (!rc)
		rc = pg_call(d, "commit", NULL, NULL, PG_ANSWER_TIMEOUT_MS, err);
	if (rc)
		postgres_rollback(db);
	d->in_transaction = false;
	return rc;
}

/* Migrations may take their time. */
static int postgres_script(struct db *db, const char *sql, struct err *err)
{
	struct db_postgres *d = from_base(db);
	int rc = connect_again(d, err);

	if (!rc && d->in_transaction)
		rc = pg_call(d, "set local statement_timeout = 0", NULL, NULL, PG_ANSWER_TIMEOUT_MS, err);
	return rc ? rc : pg_call(d, sql, NULL, NULL, PG_SCRIPT_TIMEOUT_MS, err);
}

/* From the catalog's rows: to_regclass() may answer from before the write lock was waited for. */
static int postgres_has_table(struct db *db, const char *name, bool *ret, struct err *err)
{
	const struct db_value arg = db_cstr(name);
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows = {0};
	int rc;

	arena_init(&a, 1024, 65536);
	rc = postgres_query(db, &a,
			    "select 1 from pg_catalog.pg_class where relname = $1 and relkind in ('r', 'p') "
			    "and pg_catalog.pg_table_is_visible(oid)",
			    db_args(&arg, 1), &rows, err);
	if (!rc)
		*ret = rows.n_rows > 0;
	return rc;
}

const struct db_ops db_postgres_ops = {
	.name = "postgres",
	.shared = true,
	.open = postgres_open,
	.close = postgres_close,
	.exec = postgres_exec,
	.query = postgres_query,
	.begin = postgres_begin,
	.begin_append = postgres_begin_append,
	.commit = postgres_commit,
	.rollback = postgres_rollback,
	.script = postgres_script,
	.has_table = postgres_has_table,
	.notify = postgres_notify,
	.listen = postgres_listen,
	.wait = postgres_wait,
};
