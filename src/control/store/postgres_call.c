/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call over the wire, with an end: libpq's own blocking calls would wait for ever on a server that is silent, so
 * the socket is never waited for without a limit.  A connection that did not answer in time is closed, since nothing
 * can be said about its state any more.
 */
#include "control/store/postgres_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/base/utf8.h"

#define LOOK_UP_MS 250 /* the process may be about to end: db_hurry() */

#define OID_TEXT 25
#define OID_FLOAT8 701
#define NUMBER_SIZE 40

/* --- parameters --- */

/*
 * PostgreSQL keeps neither NUL nor bytes that are no UTF-8 in a text; a record must not be refused for one of them, so
 * each becomes U+FFFD.
 */
static struct slice clean_text(struct arena *a, struct slice s)
{
	size_t n = 0, good;
	char *out;

	if (!s.n || (!memchr(s.p, '\0', s.n) && utf8_valid(s)))
		return s;
	out = arena_alloc(a, 3 * s.n);
	while (out && s.n) {
		good = utf8_valid_prefix((struct slice){s.p, strnlen(s.p, s.n)});
		memcpy(out + n, s.p, good);
		n += good;
		s = slice_sub(s, good, s.n);
		if (!s.n)
			break;
		n += utf8_encode(0xfffd, out + n);
		s = slice_sub(s, 1, s.n);
	}
	return (struct slice){out, n};
}

/* Numbers travel as text, which the server reads as whatever type the place has; texts as they are, without a copy. */
static int param_make(struct arena *a, const struct db_value *v, struct pg_params *p, int at)
{
	char *number = NULL;

	p->types[at] = 0;
	p->values[at] = NULL;
	p->lengths[at] = p->formats[at] = 0;
	if (v->type == DB_TEXT) {
		struct slice s = clean_text(a, v->s);

		p->types[at] = OID_TEXT;
		p->values[at] = s.n ? s.p : "";
		p->lengths[at] = (int)s.n;
		p->formats[at] = 1;
		return s.n > INT32_MAX || (s.n && !s.p) ? E_TOOBIG : 0;
	}
	if (v->type == DB_NULL)
		return 0;
	number = arena_alloc(a, NUMBER_SIZE);
	if (!number)
		return E_TOOBIG;
	if (v->type == DB_INT)
		(void)snprintf(number, NUMBER_SIZE, "%" PRId64, v->i); /* fits */
	else
		(void)snprintf(number, NUMBER_SIZE, "%.17g", v->d); /* fits */
	p->types[at] = v->type == DB_INT ? PG_OID_INT8 : OID_FLOAT8;
	p->values[at] = number;
	return 0;
}

int pg_params_make(struct db_postgres *d, struct db_args args, struct pg_params *ret, struct err *err)
{
	struct arena *a = &d->scratch;
	struct pg_params p = {.n = (int)args.n};

	arena_reset(a);
	if (args.n > UINT16_MAX)
		return err_set(err, E_TOOBIG, "%zu parameters are more than PostgreSQL takes", args.n);
	p.types = ARENA_ARRAY(a, Oid, args.n);
	p.values = ARENA_ARRAY(a, const char *, args.n);
	p.lengths = ARENA_ARRAY(a, int, args.n);
	p.formats = ARENA_ARRAY(a, int, args.n);
	if (!p.types || !p.values || !p.lengths || !p.formats)
		return err_set(err, E_TOOBIG, "too many parameters");
	for (size_t i = 0; i < args.n; i++) {
		if (param_make(a, &args.v[i], &p, (int)i))
			return err_set(err, E_TOOBIG, "a text is larger than PostgreSQL takes");
	}
	*ret = p;
	return 0;
}

/* --- errors --- */

static int code_of(const char *state)
{
	static const struct {
		const char *prefix;
		int code;
	} codes[] = {
		{"23505", E_EXISTS},	  /* unique_violation */
		{"23", E_INVALID},	  /* other constraints */
		{"22", E_INVALID},	  /* data */
		{"42501", E_IO},	  /* rights: the records are not at fault */
		{"42", E_INVALID},	  /* syntax, unknown names */
		{"08P01", E_INVALID},	  /* wrong number of parameters; the connection lives on */
		{"0A", E_INVALID},	  /* not supported */
		{"25006", E_UNAVAILABLE}, /* a standby */
		{"25", E_INVALID},	  /* transaction state */
		{"26", E_INVALID},	  /* no such prepared statement */
		{"40", E_BUSY},		  /* serialization, deadlock */
		{"55P03", E_BUSY},	  /* lock_timeout */
		{"57014", E_BUSY},	  /* statement_timeout */
		{"57", E_UNAVAILABLE},	  /* shutting down, starting up */
		{"53300", E_UNAVAILABLE}, /* too many connections */
		{"08", E_UNAVAILABLE},	  /* connection */
		{"54", E_TOOBIG},	  /* program limits */
		{"XX001", E_CORRUPT},	  /* damaged pages */
		{"XX002", E_CORRUPT},
	};

	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		if (!strncmp(state, codes[i].prefix, strlen(codes[i].prefix)))
			return codes[i].code;
	}
	return E_IO;
}

/* The detail of an error is never repeated: it quotes rows, and prompts are in rows. */
int pg_failed(const struct db_postgres *d, const PGresult *r, struct err *err)
{
	const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
	const char *severity = r ? PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED) : NULL;
	const char *message = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	bool is_lost = PQstatus(d->conn) != CONNECTION_OK || (severity && strcmp(severity, "ERROR") != 0);
	int code = is_lost || !state ? E_UNAVAILABLE : code_of(state);
	char text[400];

	(void)pg_one_line(message ? message : PQerrorMessage(d->conn), text, sizeof(text));
	if (code == E_UNAVAILABLE)
		return err_set(err, code, "the database %s is away: %s", d->target.shown,
			       *text ? text : "the connection was lost");
	if (state && !strcmp(state, "55P03"))
		return err_set(err, code, "the database %s is held by someone else for more than %d s: %s",
			       d->target.shown, PG_LOCK_TIMEOUT_MS / 1000, text);
	if (state && !strcmp(state, "53100"))
		return err_set(err, code, "the disk of the database %s is full: free some space", d->target.shown);
	return err_set(err, code, "database %s: %s", d->target.shown, text);
}

/* --- sending and waiting --- */

static int too_late(const struct db_postgres *d, struct err *err)
{
	return err_set(err, E_UNAVAILABLE, "the database %s is away: it does not answer", d->target.shown);
}

/* Until the socket can be used, or the time is over. */
static int wait_for(struct db_postgres *d, short events, int64_t until_ms, struct err *err)
{
	struct pollfd p = {.fd = PQsocket(d->conn), .events = events};
	int64_t began_ms = clock_mono_ms(), left_ms;

	do {
		int n;

		left_ms = db_patience(began_ms, until_ms) - clock_mono_ms();
		n = poll(&p, 1, left_ms <= 0 ? 0 : (int)(left_ms < LOOK_UP_MS ? left_ms : LOOK_UP_MS));
		if (n > 0 || (n < 0 && errno == EINTR))
			return 0;
	} while (left_ms > 0);
	db_waited_in_vain();
	return too_late(d, err);
}

static int flush(struct db_postgres *d, int64_t until_ms, struct err *err)
{
	int n;

	while ((n = PQflush(d->conn)) > 0) {
		int rc = wait_for(d, POLLIN | POLLOUT, until_ms, err);

		if (rc)
			return rc;
		if (!PQconsumeInput(d->conn)) /* the server may be waiting for us to read */
			return pg_failed(d, NULL, err);
	}
	return n < 0 ? pg_failed(d, NULL, err) : 0;
}

static int next_result(struct db_postgres *d, int64_t until_ms, PGresult **ret, struct err *err)
{
	while (PQisBusy(d->conn)) {
		int rc = wait_for(d, POLLIN, until_ms, err);

		if (rc)
			return rc;
		if (!PQconsumeInput(d->conn))
			return pg_failed(d, NULL, err);
	}
	*ret = PQgetResult(d->conn);
	return 0;
}

/* 0, or what is wrong with the result itself. */
static int judge(const struct db_postgres *d, const PGresult *r, struct err *err)
{
	ExecStatusType status = PQresultStatus(r);

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE)
		return 0;
	if (status == PGRES_EMPTY_QUERY)
		return err_set(err, E_INVALID, "there is no statement in it");
	if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH)
		return err_set(err, E_UNAVAILABLE, "copy is not used here");
	return pg_failed(d, r, err);
}

/* All results of what was sent; the first error stays. */
static int take_results(struct db_postgres *d, int64_t until_ms, struct pg_sink *sink, struct err *err)
{
	PGresult *r = NULL;
	int first = 0;

	for (;;) {
		int rc = next_result(d, until_ms, &r, first ? NULL : err);

		if (rc || !r)
			return rc ? rc : first;
		rc = judge(d, r, first ? NULL : err);
		if (!rc && !first && sink)
			rc = sink->take(sink, r, err);
		PQclear(r);
		if (!first)
			first = rc;
		if (rc == E_UNAVAILABLE)
			return rc;
	}
}

/* --- prepared statements --- */

static int find_prepared(const struct db_postgres *d, const char *sql, uint64_t hash)
{
	for (size_t i = 0; i < d->n_prepared; i++) {
		if (d->prepared[i].hash == hash && !strcmp(d->prepared[i].sql, sql))
			return (int)i;
	}
	return -1;
}

/* *ret_name is "" when the text goes without a name: they are not wanted, or all places are taken. */
static int prepare(struct db_postgres *d, const char *sql, const struct pg_params *p, char ret_name[16],
		   struct err *err)
{
	uint64_t hash = d->names_statements ? hash64(slice_from(sql), 0) : 0;
	int64_t until_ms = clock_mono_ms() + PG_ANSWER_TIMEOUT_MS;
	int at = d->names_statements ? find_prepared(d, sql, hash) : -1, rc;

	ret_name[0] = '\0';
	if (!d->names_statements || (at < 0 && d->n_prepared == PG_PREPARED_MAX))
		return 0;
	(void)snprintf(ret_name, 16, "m%d", at >= 0 ? at : (int)d->n_prepared); /* fits */
	if (at >= 0)
		return 0;
	if (!PQsendPrepare(d->conn, ret_name, sql, p->n, p->types))
		return pg_failed(d, NULL, err);
	rc = flush(d, until_ms, err);
	if (!rc)
		rc = take_results(d, until_ms, NULL, err);
	if (rc)
		return rc;
	d->prepared[d->n_prepared].sql = strdup(sql);
	d->prepared[d->n_prepared].hash = hash;
	if (!d->prepared[d->n_prepared++].sql)
		abort();
	return 0;
}

static int send_params(struct db_postgres *d, const char *sql, const struct pg_params *p, struct err *err)
{
	char name[16];
	int rc = prepare(d, sql, p, name, err), sent;

	if (rc)
		return rc;
	if (*name)
		sent = PQsendQueryPrepared(d->conn, name, p->n, p->values, p->lengths, p->formats, 0);
	else
		sent = PQsendQueryParams(d->conn, sql, p->n, p->types, p->values, p->lengths, p->formats, 0);
	return sent ? 0 : pg_failed(d, NULL, err);
}

int pg_call(struct db_postgres *d, const char *sql, const struct pg_params *params, struct pg_sink *sink,
	    int64_t limit_ms, struct err *err)
{
	int64_t until_ms = clock_mono_ms() + limit_ms;
	int rc = params ? send_params(d, sql, params, err) : 0;

	if (!rc && !params && !PQsendQuery(d->conn, sql))
		rc = pg_failed(d, NULL, err);
	if (!rc && sink && sink->row_by_row)
		(void)PQsetSingleRowMode(d->conn); /* without it the rows come at once, no worse */
	if (!rc)
		rc = flush(d, until_ms, err);
	if (!rc)
		rc = take_results(d, until_ms, sink, err);
	if (rc == E_UNAVAILABLE || PQstatus(d->conn) != CONNECTION_OK)
		pg_disconnect(d);
	return rc;
}
