/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of libpq that we call, as calls through a table: with SQLite neither it nor Kerberos, LDAP and GnuTLS
 * behind it are in the process.  What would break it: a call of one before libpq_load() has said that it is there, and
 * a function used elsewhere that is not in the list (the link fails).
 */
#include "control/store/postgres_internal.h"
#include "core/base/late.h"

#define FUNCTIONS(X)            \
	X(PQbackendPID)         \
	X(PQclear)              \
	X(PQcmdTuples)          \
	X(PQconnectdbParams)    \
	X(PQconninfoFree)       \
	X(PQconninfoParse)      \
	X(PQconsumeInput)       \
	X(PQerrorMessage)       \
	X(PQescapeIdentifier)   \
	X(PQfinish)             \
	X(PQflush)              \
	X(PQfreemem)            \
	X(PQftype)              \
	X(PQgetResult)          \
	X(PQgetisnull)          \
	X(PQgetlength)          \
	X(PQgetvalue)           \
	X(PQisBusy)             \
	X(PQnfields)            \
	X(PQnotifies)           \
	X(PQntuples)            \
	X(PQparameterStatus)    \
	X(PQresultErrorField)   \
	X(PQresultStatus)       \
	X(PQsendPrepare)        \
	X(PQsendQuery)          \
	X(PQsendQueryParams)    \
	X(PQsendQueryPrepared)  \
	X(PQsetNoticeProcessor) \
	X(PQsetSingleRowMode)   \
	X(PQsetnonblocking)     \
	X(PQsocket)             \
	X(PQstatus)             \
	X(PQtransactionStatus)

#define NUMBER(f) F_##f,
#define ENTRY(f) {#f, NULL},
enum { FUNCTIONS(NUMBER) N_FUNCTIONS };

static struct late_function functions[] = {FUNCTIONS(ENTRY)};
static const char *const names[] = {"libpq.so.5", NULL};
static struct late_library library = {
	.names = names,
	.package = "libpq5",
	.functions = functions,
	.n = N_FUNCTIONS,
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

int libpq_load(struct err *err)
{
	return late_load(&library, err);
}

#define CALL(f) ((__typeof__(f) *)late_function(&library, F_##f))

int PQbackendPID(const PGconn *conn)
{
	return CALL(PQbackendPID)(conn);
}

void PQclear(PGresult *r)
{
	CALL(PQclear)(r);
}

char *PQcmdTuples(PGresult *r)
{
	return CALL(PQcmdTuples)(r);
}

PGconn *PQconnectdbParams(const char *const *keywords, const char *const *values, int expand_dbname)
{
	return CALL(PQconnectdbParams)(keywords, values, expand_dbname);
}

void PQconninfoFree(PQconninfoOption *options)
{
	if (options) /* without any, nothing was ever loaded */
		CALL(PQconninfoFree)(options);
}

PQconninfoOption *PQconninfoParse(const char *text, char **ret_error)
{
	return CALL(PQconninfoParse)(text, ret_error);
}

int PQconsumeInput(PGconn *conn)
{
	return CALL(PQconsumeInput)(conn);
}

char *PQerrorMessage(const PGconn *conn)
{
	return CALL(PQerrorMessage)(conn);
}

char *PQescapeIdentifier(PGconn *conn, const char *s, size_t n)
{
	return CALL(PQescapeIdentifier)(conn, s, n);
}

void PQfinish(PGconn *conn)
{
	CALL(PQfinish)(conn);
}

int PQflush(PGconn *conn)
{
	return CALL(PQflush)(conn);
}

void PQfreemem(void *p)
{
	CALL(PQfreemem)(p);
}

Oid PQftype(const PGresult *r, int column)
{
	return CALL(PQftype)(r, column);
}

PGresult *PQgetResult(PGconn *conn)
{
	return CALL(PQgetResult)(conn);
}

int PQgetisnull(const PGresult *r, int row, int column)
{
	return CALL(PQgetisnull)(r, row, column);
}

int PQgetlength(const PGresult *r, int row, int column)
{
	return CALL(PQgetlength)(r, row, column);
}

char *PQgetvalue(const PGresult *r, int row, int column)
{
	return CALL(PQgetvalue)(r, row, column);
}

int PQisBusy(PGconn *conn)
{
	return CALL(PQisBusy)(conn);
}

int PQnfields(const PGresult *r)
{
	return CALL(PQnfields)(r);
}

PGnotify *PQnotifies(PGconn *conn)
{
	return CALL(PQnotifies)(conn);
}

int PQntuples(const PGresult *r)
{
	return CALL(PQntuples)(r);
}

const char *PQparameterStatus(const PGconn *conn, const char *name)
{
	return CALL(PQparameterStatus)(conn, name);
}

char *PQresultErrorField(const PGresult *r, int field)
{
	return CALL(PQresultErrorField)(r, field);
}

ExecStatusType PQresultStatus(const PGresult *r)
{
	return CALL(PQresultStatus)(r);
}

int PQsendPrepare(PGconn *conn, const char *name, const char *sql, int n, const Oid *types)
{
	return CALL(PQsendPrepare)(conn, name, sql, n, types);
}

int PQsendQuery(PGconn *conn, const char *sql)
{
	return CALL(PQsendQuery)(conn, sql);
}

/* NOLINTNEXTLINE(readability-function-size): the signature is libpq's */
int PQsendQueryParams(PGconn *conn, const char *sql, int n, const Oid *types, const char *const *values,
		      const int *lengths, const int *formats, int result_format)
{
	return CALL(PQsendQueryParams)(conn, sql, n, types, values, lengths, formats, result_format);
}

/* NOLINTNEXTLINE(readability-function-size): the same */
int PQsendQueryPrepared(PGconn *conn, const char *name, int n, const char *const *values, const int *lengths,
			const int *formats, int result_format)
{
	return CALL(PQsendQueryPrepared)(conn, name, n, values, lengths, formats, result_format);
}

PQnoticeProcessor PQsetNoticeProcessor(PGconn *conn, PQnoticeProcessor take, void *arg)
{
	return CALL(PQsetNoticeProcessor)(conn, take, arg);
}

int PQsetSingleRowMode(PGconn *conn)
{
	return CALL(PQsetSingleRowMode)(conn);
}

int PQsetnonblocking(PGconn *conn, int arg)
{
	return CALL(PQsetnonblocking)(conn, arg);
}

int PQsocket(const PGconn *conn)
{
	return CALL(PQsocket)(conn);
}

ConnStatusType PQstatus(const PGconn *conn)
{
	return CALL(PQstatus)(conn);
}

PGTransactionStatusType PQtransactionStatus(const PGconn *conn)
{
	return CALL(PQtransactionStatus)(conn);
}
