/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded database.  WAL with synchronous=NORMAL: a committed batch survives kill -9 of any process; a power cut
 * may take the last commits, never the consistency of the file.  The shipper acknowledges after the commit, so after a
 * power cut the records of the last moments (those not yet checkpointed) can be missing here although the spool let go
 * of them; who cannot have that runs PostgreSQL.  Page cache and mappings are kept small: idle memory counts, and the
 * hot path never reads here.
 *
 * What breaks it: one connection used by two threads at a time (there is no mutex inside), or a copy of the file
 * without its -wal beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/store/store_internal.h"
#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/base/sched.h"

#define BUSY_TIMEOUT_MS 5000
#define STATEMENTS_MAX 64
#define STEPS_AT_ONCE 1000 /* of SQLite's machine: some 40 us */

struct statement {
	sqlite3_stmt *stmt;
	const char *sql; /* where the caller's text stood: a first guess, never trusted alone */
	uint64_t hash;
	uint64_t used; /* tick of the last use: the oldest gives way */
};

struct db_sqlite {
	struct db base;
	sqlite3 *conn;
	char *path, *texts_dir;
	struct statement statements[STATEMENTS_MAX];
	size_t n_statements;
	uint64_t tick;
};

/* To the millisecond: that is what SQLite knows. */
#define NOW_US "cast((julianday('now') - 2440587.5) * 86400000 as integer) * 1000"

static struct db_sqlite *from_base(struct db *db)
{
	return CONTAINER_OF(db, struct db_sqlite, base);
}

static int code_of(int extended)
{
	if (extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY)
		return E_EXISTS;
	switch (extended & 0xff) {
	case SQLITE_CONSTRAINT:
	case SQLITE_ERROR:
	case SQLITE_MISMATCH:
	case SQLITE_RANGE:
	case SQLITE_MISUSE:
		return E_INVALID;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return E_BUSY;
	case SQLITE_TOOBIG:
		return E_TOOBIG;
	case SQLITE_NOTADB:
	case SQLITE_CORRUPT:
		return E_CORRUPT;
	case SQLITE_CANTOPEN:
		return E_UNAVAILABLE;
	default:
		return E_IO;
	}
}

static int failed(struct db_sqlite *d, struct err *err)
{
	int extended = sqlite3_extended_errcode(d->conn), code = code_of(extended);
	const char *what = sqlite3_errmsg(d->conn);

	/* A file that was opened while it could only be read stays so for this connection; one that was lost stays
	 * lost. */
	if (code == E_IO || code == E_CORRUPT || code == E_UNAVAILABLE)
		d->base.spent = true;
	if (code == E_BUSY)
		return err_set(err, code, "the database %s is held by another process for more than %d s", d->path,
			       BUSY_TIMEOUT_MS / 1000);
	if (code == E_CORRUPT)
		return err_set(err, code, "%s is no usable database (%s): restore it, or move it away to begin anew",
			       d->path, what);
	if ((extended & 0xff) == SQLITE_FULL)
		return err_set(err, code, "the disk of the database %s is full: free some space", d->path);
	if ((extended & 0xff) == SQLITE_READONLY)
		return err_set(err, code, "the database %s cannot be written: look at its owner and mode", d->path);
	return err_set(err, code, "database %s: %s", d->path, what);
}

static int pragma(struct db_sqlite *d, const char *sql, struct err *err)
{
	return sqlite3_exec(d->conn, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(d, err);
}

/* SQLite does not wait for its busy timeout while it changes the journal mode: two processes that start at once need
 * this. */
static int use_wal(struct db_sqlite *d, struct err *err)
{
	int64_t until_ms = clock_mono_ms() + BUSY_TIMEOUT_MS;

	while (sqlite3_exec(d->conn, "pragma journal_mode = wal", NULL, NULL, NULL) != SQLITE_OK) {
		if ((sqlite3_errcode(d->conn) & 0xff) != SQLITE_BUSY || clock_mono_ms() > until_ms)
			return failed(d, err);
		sqlite3_sleep(5);
	}
	return 0;
}

/* A thread that shares its core with a loop would keep it waiting for a whole statement, until the next tick. */
static int let_others(void *unused)
{
	(void)unused;
	sched_let_others();
	return 0; /* go on */
}

static int configure(struct db_sqlite *d, struct err *err)
{
	static const char *const pragmas[] = {
		"pragma synchronous = normal",
		"pragma foreign_keys = on",
		"pragma cache_size = -1000",
		"pragma mmap_size = 0",
		"pragma journal_size_limit = 16777216",
	};
	int rc;

	sqlite3_extended_result_codes(d->conn, 1);
	sqlite3_busy_timeout(d->conn, BUSY_TIMEOUT_MS);
	sqlite3_progress_handler(d->conn, STEPS_AT_ONCE, let_others, NULL);
	/* Log rows of a few KiB pack badly into 4 KiB pages: a third less CPU per row, measured. Only a new file takes
	 * it. */
	rc = pragma(d, "pragma page_size = 16384", err);
	rc = rc ? rc : use_wal(d, err);
	for (size_t i = 0; i < COUNT_OF(pragmas) && !rc; i++)
		rc = pragma(d, pragmas[i], err);
	return rc;
}

static int make_directories(const char *path, struct err *err)
{
	char *dir = strdup(path);
	int rc = 0;

	if (!dir)
		abort();
	for (char *slash = strchr(dir + 1, '/'); slash && !rc; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(dir, 0700) && errno != EEXIST)
			rc = err_set(err, E_UNAVAILABLE, "cannot create the directory %s: %s", dir, strerror(errno));
		*slash = '/';
	}
	free(dir);
	return rc;
}

/*
 * Prompts are in it: nobody else may read it.  SQLite gives its -wal and -shm the mode of the file.  A file that is
 * there is left alone: closing a descriptor of it would drop the locks that our other connections hold on it (POSIX
 * locks belong to the process), and whoever opens the database next would take its -wal from under them.
 */
static int make_file(const char *path, struct err *err)
{
	int rc = make_directories(path, err), fd;

	if (rc)
		return rc;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0 && errno != EEXIST)
		return err_set(err, E_UNAVAILABLE, "cannot open the database %s: %s", path, strerror(errno));
	if (fd >= 0)
		(void)close(fd); /* nothing was written */
	return 0;
}

static void sqlite_rest(struct db *db)
{
	(void)sqlite3_db_release_memory(from_base(db)->conn); /* always SQLITE_OK */
}

static void sqlite_close(struct db *db)
{
	struct db_sqlite *d = from_base(db);

	for (size_t i = 0; i < d->n_statements; i++)
		(void)sqlite3_finalize(d->statements[i].stmt); /* repeats an error that was reported */
	(void)sqlite3_close(d->conn);			       /* no statement is left, so it cannot refuse */
	free(d->path);
	free(d->texts_dir);
	free(d);
}

static int sqlite_open(const char *path, struct db **ret, struct err *err)
{
	struct db_sqlite *d;
	int rc = 0;

	if (!*path)
		return err_set(err, E_INVALID, "sqlite: needs a path, as in sqlite:var/muster.db");
	if (strcmp(path, ":memory:") != 0)
		rc = make_file(path, err);
	if (rc)
		return rc;
	d = calloc(1, sizeof(*d));
	if (!d || !(d->path = strdup(path)))
		abort();
	if (strcmp(path, ":memory:") != 0 && asprintf(&d->texts_dir, "%s-texts", path) < 0)
		abort();
	d->base = (struct db){.ops = &db_sqlite_ops, .dialect = "sqlite", .now_us = NOW_US, .texts_dir = d->texts_dir};
	if (sqlite3_open_v2(path, &d->conn, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		rc = d->conn ? failed(d, err) : err_set(err, E_IO, "cannot open the database %s: out of memory", path);
	else
		rc = configure(d, err);
	if (rc)
		sqlite_close(&d->base);
	else
		*ret = &d->base;
	return rc;
}

static struct statement *find_statement(struct db_sqlite *d, const char *sql, uint64_t *ret_hash)
{
	for (size_t i = 0; i < d->n_statements; i++) {
		if (d->statements[i].sql == sql && !strcmp(sqlite3_sql(d->statements[i].stmt), sql))
			return &d->statements[i];
	}
	*ret_hash = hash64(slice_from(sql), 0);
	for (size_t i = 0; i < d->n_statements; i++) {
		if (d->statements[i].hash == *ret_hash && !strcmp(sqlite3_sql(d->statements[i].stmt), sql))
			return &d->statements[i];
	}
	return NULL;
}

static struct statement *free_place(struct db_sqlite *d)
{
	struct statement *oldest = &d->statements[0];

	if (d->n_statements < STATEMENTS_MAX)
		return &d->statements[d->n_statements++];
	for (size_t i = 1; i < STATEMENTS_MAX; i++) {
		if (d->statements[i].used < oldest->used)
			oldest = &d->statements[i];
	}
	(void)sqlite3_finalize(oldest->stmt); /* repeats an error that was reported */
	return oldest;
}

static int prepare(struct db_sqlite *d, const char *sql, sqlite3_stmt **ret, struct err *err)
{
	uint64_t hash = 0;
	struct statement *s = find_statement(d, sql, &hash);
	sqlite3_stmt *stmt = NULL;

	if (!s) {
		if (sqlite3_prepare_v3(d->conn, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) != SQLITE_OK)
			return failed(d, err);
		if (!stmt)
			return err_set(err, E_INVALID, "there is no statement in '%s'", sql);
		s = free_place(d);
		*s = (struct statement){.stmt = stmt, .hash = hash};
	}
	s->sql = sql;
	s->used = ++d->tick;
	*ret = s->stmt;
	return 0;
}

static int bind_one(sqlite3_stmt *stmt, int at, const struct db_value *v)
{
	switch (v->type) {
	case DB_NULL:
		return sqlite3_bind_null(stmt, at);
	case DB_INT:
		return sqlite3_bind_int64(stmt, at, v->i);
	case DB_DOUBLE:
		return sqlite3_bind_double(stmt, at, v->d);
	case DB_TEXT: /* the caller's bytes live until the statement is reset, so nothing is copied */
		return sqlite3_bind_text64(stmt, at, v->s.p, v->s.n, SQLITE_STATIC, SQLITE_UTF8);
	}
	return SQLITE_MISUSE;
}

static int bind(struct db_sqlite *d, sqlite3_stmt *stmt, struct db_args args, struct err *err)
{
	if (sqlite3_bind_parameter_count(stmt) != (int)args.n)
		return err_set(err, E_INVALID, "%d parameters are wanted, %zu given, in: %.200s",
			       sqlite3_bind_parameter_count(stmt), args.n, sqlite3_sql(stmt));
	for (size_t i = 0; i < args.n; i++) {
		/* What is not bound is NULL: finish cleared it. */
		if (args.v[i].type != DB_NULL && bind_one(stmt, (int)i + 1, &args.v[i]) != SQLITE_OK)
			return failed(d, err);
	}
	return 0;
}

static void finish(sqlite3_stmt *stmt)
{
	(void)sqlite3_reset(stmt);	    /* repeats the error of the step */
	(void)sqlite3_clear_bindings(stmt); /* they point at the caller's bytes */
}

static int sqlite_exec(struct db *db, const char *sql, struct db_args args, int64_t *ret_changes, struct err *err)
{
	struct db_sqlite *d = from_base(db);
	sqlite3_stmt *stmt = NULL;
	int rc = prepare(d, sql, &stmt, err), step;

	if (rc)
		return rc;
	rc = bind(d, stmt, args, err);
	if (!rc) {
		do
			step = sqlite3_step(stmt);
		while (step == SQLITE_ROW);
		rc = step == SQLITE_DONE ? 0 : failed(d, err);
	}
	if (!rc && ret_changes)
		*ret_changes = sqlite3_changes64(d->conn);
	finish(stmt);
	return rc;
}

static int read_cell(sqlite3_stmt *stmt, int column, struct arena *a, struct db_value *ret)
{
	switch (sqlite3_column_type(stmt, column)) {
	case SQLITE_NULL:
		*ret = (struct db_value){.type = DB_NULL};
		return 0;
	case SQLITE_INTEGER:
		*ret = db_int(sqlite3_column_int64(stmt, column));
		return 0;
	case SQLITE_FLOAT:
		*ret = (struct db_value){.type = DB_DOUBLE, .d = sqlite3_column_double(stmt, column)};
		return 0;
	default: {
		const char *p = (const char *)sqlite3_column_text(stmt, column);
		struct slice s = arena_slice(a, (struct slice){p, (size_t)sqlite3_column_bytes(stmt, column)});

		*ret = (struct db_value){.type = DB_TEXT, .s = s};
		return s.p ? 0 : E_TOOBIG;
	}
	}
}

static int read_row(sqlite3_stmt *stmt, struct arena *a, struct db_rows *rows, size_t *cap)
{
	size_t need = (rows->n_rows + 1) * rows->n_columns;

	if (need > *cap) {
		size_t grown = max_size(2 * *cap, 16 * rows->n_columns);
		struct db_value *cells = ARENA_ARRAY(a, struct db_value, grown);

		if (!cells)
			return E_TOOBIG;
		if (rows->cells)
			memcpy(cells, rows->cells, rows->n_rows * rows->n_columns * sizeof(*cells));
		rows->cells = cells;
		*cap = grown;
	}
	for (size_t i = 0; i < rows->n_columns; i++) {
		int rc = read_cell(stmt, (int)i, a, &rows->cells[rows->n_rows * rows->n_columns + i]);

		if (rc)
			return rc;
	}
	rows->n_rows++;
	return 0;
}

static int read_rows(struct db_sqlite *d, sqlite3_stmt *stmt, struct arena *a, struct db_rows *ret, struct err *err)
{
	struct db_rows rows = {.n_columns = (size_t)sqlite3_column_count(stmt)};
	size_t cap = 0;
	int step;

	while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (rows.n_rows == DB_MAX_ROWS)
			return err_set(err, E_TOOBIG, "more than %d rows: ask for fewer", DB_MAX_ROWS);
		if (read_row(stmt, a, &rows, &cap))
			return err_set(err, E_TOOBIG, "the rows are more than fit in memory: ask for fewer");
	}
	if (step != SQLITE_DONE)
		return failed(d, err);
	*ret = rows;
	return 0;
}

static int sqlite_query(struct db *db, struct arena *a, const char *sql, struct db_args args, struct db_rows *ret,
			struct err *err)
{
	struct db_sqlite *d = from_base(db);
	sqlite3_stmt *stmt = NULL;
	int rc = prepare(d, sql, &stmt, err);

	if (rc)
		return rc;
	rc = bind(d, stmt, args, err);
	if (!rc)
		rc = read_rows(d, stmt, a, ret, err);
	finish(stmt);
	return rc;
}

static int sqlite_begin(struct db *db, struct err *err)
{
	return sqlite_exec(db, "begin immediate", db_args(NULL, 0), NULL, err);
}

static void sqlite_rollback(struct db *db)
{
	if (!sqlite3_get_autocommit(from_base(db)->conn))
		(void)sqlite_exec(db, "rollback", db_args(NULL, 0), NULL, NULL); /* a failed rollback has rolled back */
}

static int sqlite_commit(struct db *db, struct err *err)
{
	int rc = sqlite_exec(db, "commit", db_args(NULL, 0), NULL, err);

	if (rc)
		sqlite_rollback(db);
	return rc;
}

static int sqlite_script(struct db *db, const char *sql, struct err *err)
{
	return pragma(from_base(db), sql, err);
}

static int sqlite_has_table(struct db *db, const char *name, bool *ret, struct err *err)
{
	const struct db_value arg = db_cstr(name);
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows = {0};
	int rc;

	arena_init(&a, 1024, 65536);
	rc = sqlite_query(db, &a, "select 1 from sqlite_master where type = 'table' and name = $1", db_args(&arg, 1),
			  &rows, err);
	if (!rc)
		*ret = rows.n_rows > 0;
	return rc;
}

const struct db_ops db_sqlite_ops = {
	.name = "sqlite",
	.open = sqlite_open,
	.close = sqlite_close,
	.rest = sqlite_rest,
	.exec = sqlite_exec,
	.query = sqlite_query,
	.begin = sqlite_begin,
	.begin_append = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.script = sqlite_script,
	.has_table = sqlite_has_table,
};
