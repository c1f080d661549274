/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam to databases.  SQL is written once, in the entities' files, in the subset that SQLite and PostgreSQL share:
 * $1..$n in order of first appearance, `on conflict`, `returning`, BIGINT, TEXT, DOUBLE PRECISION; times are BIGINT
 * microseconds since 1970 UTC, ids canonical UUID text, JSON is TEXT.  One connection belongs to one thread at a time.
 * All calls block: none may run on a loop thread.
 */
#pragma once
#include "core/base/arena.h"
#include "core/base/err.h"

struct db;

enum db_type { DB_NULL, DB_INT, DB_DOUBLE, DB_TEXT };

struct db_value {
	enum db_type type;
	int64_t i;
	double d;
	struct slice s;
};

static inline struct db_value db_int(int64_t i)
{
	return (struct db_value){.type = DB_INT, .i = i};
}

static inline struct db_value db_text(struct slice s) /* an absent slice is NULL */
{
	return (struct db_value){.type = s.p ? DB_TEXT : DB_NULL, .s = s};
}

struct db_args { /* the values of $1..$n */
	const struct db_value *v;
	size_t n;
};

static inline struct db_args db_args(const struct db_value *v, size_t n)
{
	return (struct db_args){v, n};
}

struct db_rows {
	size_t n_rows, n_columns;
	struct db_value *cells; /* row by row, in the caller's arena */
};

static inline const struct db_value *db_cell(const struct db_rows *r, size_t row, size_t column)
{
	return &r->cells[row * r->n_columns + column];
}

/*
 * Errors of all calls: E_EXISTS a unique index refused it; E_INVALID a check refused it, or the SQL is wrong; E_BUSY
 * held by someone else past the waiting time (5 s); E_UNAVAILABLE the database cannot be reached (the connection
 * reconnects at the next call outside a transaction); E_IO anything else (disk full, ...).  After an error inside a
 * transaction only db_rollback is of use.  A commit that failed with E_UNAVAILABLE may have happened.
 */
struct db_ops {
	const char *name; /* "sqlite", "postgres", "fault" */
	bool shared;	  /* a server: other processes may change what is in it */
	int (*open)(const char *where, struct db **ret, struct err *err);
	void (*close)(struct db *db);
	/* Gives back memory that it keeps for later calls.  NULL: there is none to speak of. */
	void (*rest)(struct db *db);
	/* Runs one statement; *ret_changes (may be NULL): rows it touched. */
	int (*exec)(struct db *db, const char *sql, struct db_args args, int64_t *ret_changes, struct err *err);
	/* Runs one query; rows go to the arena. E_TOOBIG past max_rows. */
	int (*query)(struct db *db, struct arena *a, const char *sql, struct db_args args, struct db_rows *ret,
		     struct err *err);
	int (*begin)(struct db *db, struct err *err); /* a writing transaction: takes the write lock at once */
	/* One that only adds rows on which no other change rests: without the write lock, where the database can. */
	int (*begin_append)(struct db *db, struct err *err);
	int (*commit)(struct db *db, struct err *err); /* when it fails, everything is rolled back */
	void (*rollback)(struct db *db);	       /* fine without a transaction */
	/* Several statements separated by semicolons, for migrations. */
	int (*script)(struct db *db, const char *sql, struct err *err);
	int (*has_table)(struct db *db, const char *name, bool *ret, struct err *err);
	/* When the transaction is committed, everybody who listens to the channel hears of it: the three are NULL where
	 * no other process can be. */
	int (*notify)(struct db *db, const char *channel, struct slice payload, struct err *err);
	/* *ret_listens: from now on; false: something stands between that keeps no sessions, or listen=off. */
	int (*listen)(struct db *db, const char *channel, bool *ret_listens, struct err *err);
	int (*wait)(struct db *db, int wake_fd, int timeout_ms, struct err *err);
};

struct db { /* base of every implementation */
	const struct db_ops *ops;
	const char *dialect;   /* "sqlite", "postgres": whose SQL it takes where the two differ (migrations only) */
	const char *now_us;    /* SQL: microseconds since 1970 by the clock of the database, not ours */
	const char *texts_dir; /* where long texts of records are (texts.h); NULL: in their rows */
	bool spent;	       /* failed in a way that another connection may not: the pool closes it */
};

#define DB_MAX_ROWS 100000

/*
 * url: "sqlite:PATH" (":memory:" too), "postgres://USER@HOST:PORT/DATABASE?OPTIONS" (options of libpq, and
 * prepare=auto|on|off, listen=auto|on|off, password_file=PATH), "fault:N:URL" (fails the Nth call of the connection
 * opened under URL, counting from 1).
 */
int db_open(const char *url, struct db **ret, struct err *err);
void db_close(struct db *db);
void db_rest(struct db *db);
int db_exec(struct db *db, const char *sql, struct db_args args, int64_t *ret_changes, struct err *err);
int db_query(struct db *db, struct arena *a, const char *sql, struct db_args args, struct db_rows *ret,
	     struct err *err);
int db_begin(struct db *db, struct err *err);
int db_begin_append(struct db *db, struct err *err);
int db_commit(struct db *db, struct err *err);
void db_rollback(struct db *db);
int db_script(struct db *db, const char *sql, struct err *err);
int db_has_table(struct db *db, const char *name, bool *ret, struct err *err);
int db_notify(struct db *db, const char *channel, struct slice payload, struct err *err);
int db_listen(struct db *db, const char *channel, bool *ret_listens, struct err *err);
/*
 * Until somebody notified, wake_fd can be read, or the time is over; all that was notified until then is taken as one.
 * E_UNAVAILABLE: the connection was lost, or made anew meanwhile: something may have been missed.
 */
int db_wait(struct db *db, int wake_fd, int timeout_ms, struct err *err);
/*
 * The process is about to end: from now on a server that says nothing for DB_HURRY_MS is away, for calls that are under
 * way too; and once one has found that out, for all others at once.  Any thread.
 */
#define DB_HURRY_MS 3000
void db_hurry(void);
bool db_gave_up(void); /* one has found that out */
/* Whether other processes, on other machines, change what is in it. */
bool db_url_is_shared(const char *url);
/* What people may see of a URL: no password, no options. malloc'd. */
char *db_url_shown(const char *url);
