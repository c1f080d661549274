/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the PostgreSQL backend: where it connects to, and one call over the wire. */
#pragma once
#include <libpq-fe.h>

#include "control/store/store_internal.h"

#define PG_CONNECT_TIMEOUT_S "4" /* nobody can interrupt it: a stop waits for it */
#define PG_HURRIED_CONNECT_S "3"
#define PG_LOCK_TIMEOUT_MS 5000
#define PG_STATEMENT_TIMEOUT_MS 15000 /* the server's own, in transactions; we wait a little longer */
#define PG_ANSWER_TIMEOUT_MS (PG_STATEMENT_TIMEOUT_MS + 3000)
#define PG_SCRIPT_TIMEOUT_MS INT64_C(1800000)
#define PG_PREPARED_MAX 64
#define PG_OID_INT8 20

/* libpq.c, before any call of libpq: E_UNSUPPORTED when it is not installed. */
int libpq_load(struct err *err) MUST_CHECK;

/* What a URL says. */
struct pg_target {
	char *shown; /* without password and options: for people */
	PQconninfoOption *options;
	char *password_file;					   /* NULL: none; read again for each connection */
	enum pg_choice { PG_AUTO, PG_ON, PG_OFF } prepare, listen; /* auto: not behind a pooler */
};

/* where: what stands behind "postgres:".  No error repeats a part of it that may hold a password. */
int pg_target_parse(const char *where, struct pg_target *ret, struct err *err);
void pg_target_release(struct pg_target *t);
/* E_UNAVAILABLE, whatever the reason: an operator can mend it while we wait. */
int pg_target_connect(const struct pg_target *t, PGconn **ret, struct err *err);

struct pg_prepared {
	char *sql;
	uint64_t hash;
};

struct db_postgres {
	struct db base;
	struct pg_target target;
	PGconn *conn; /* NULL: not connected */
	bool in_transaction;
	bool listens;	       /* conn does */
	bool names_statements; /* conn does: it is as the target says, or nothing stands between */
	struct pg_prepared prepared[PG_PREPARED_MAX]; /* known to conn as "m0", "m1", ... */
	size_t n_prepared;
	struct arena scratch; /* the parameters of the call at hand */
};

void pg_disconnect(struct db_postgres *d);
/* Whether the server itself is at the other end: a pooler hands out process numbers of its own, so that it can pass on
 * who wants to cancel what. */
bool pg_is_direct(struct db_postgres *d);
/* postgres_listen.c */
int postgres_notify(struct db *db, const char *channel, struct slice payload, struct err *err);
int postgres_listen(struct db *db, const char *channel, bool *ret_listens, struct err *err);
int postgres_wait(struct db *db, int wake_fd, int timeout_ms, struct err *err);

/* The values of $1..$n as the wire wants them; what they point at lives in d->scratch or at the caller's. */
struct pg_params {
	int n;
	Oid *types;
	const char **values;
	int *lengths, *formats;
};
/* E_TOOBIG */
int pg_params_make(struct db_postgres *d, struct db_args args, struct pg_params *ret, struct err *err);

/* What is done with each result of a call; an error ends the call, after the rest of the results has been thrown away.
 */
struct pg_sink {
	int (*take)(struct pg_sink *s, const PGresult *r, struct err *err);
	bool row_by_row;
};

/* One statement with parameters, or (params NULL) several without. The connection has to be there; it is closed when
 * the server did not answer within limit_ms. */
int pg_call(struct db_postgres *d, const char *sql, const struct pg_params *params, struct pg_sink *sink,
	    int64_t limit_ms, struct err *err);

/* Codes and words of a failed result; r NULL: of the connection. */
int pg_failed(const struct db_postgres *d, const PGresult *r, struct err *err);
/* s in one line: runs of white space become one space. */
char *pg_one_line(const char *s, char *buf, size_t size);
