/* SPDX-License-Identifier: Apache-2.0 */
/* What the entities share: the backends, queries put together from fixed texts and parameters, and reading cells. */
#pragma once
#include "control/store/db.h"
#include "core/base/buf.h"
#include "core/base/uuid.h"

extern const struct db_ops db_sqlite_ops;
extern const struct db_ops db_postgres_ops;
extern const struct db_ops db_fault_ops;

/* hurry.c, for backends that wait for a server: until when something is waited for that began then and may take until
 * until_ms; and what they say when it was in vain. */
bool db_is_hurried(void);
int64_t db_patience(int64_t began_ms, int64_t until_ms);
void db_waited_in_vain(void);

#define SQL_MAX_ARGS 16

/*
 * A statement: texts of ours, and parameters numbered in order of appearance.  No value ever becomes text.  Too long or
 * too many parameters is our own mistake: asserted.
 */
struct sql {
	char text[3072];
	size_t n;
	struct db_value args[SQL_MAX_ARGS];
	size_t n_args;
	bool has_where;
};

void sql_add(struct sql *q, const char *text);
void sql_arg(struct sql *q, struct db_value v);				   /* appends $n */
void sql_where(struct sql *q, const char *condition, struct db_value v);   /* " where|and <condition>$n" */
void sql_where_text(struct sql *q, const char *condition, struct slice s); /* nothing when s is absent */
void sql_where_time(struct sql *q, const char *condition, int64_t at_us);  /* nothing when 0 */
int sql_query(struct db *db, struct arena *a, const struct sql *q, struct db_rows *ret, struct err *err);

struct slice sql_id_floor(int64_t at_us, char text[UUID_STR_SIZE]); /* the smallest id of a moment */

size_t store_limit(size_t limit); /* 0: 100; never past STORE_PAGE_MAX */

/* Reading one row: next cell each.  A cell of another type is E_CORRUPT, kept in r->rc. */
struct row {
	const struct db_rows *rows;
	size_t row, column;
	int rc;
};
struct slice row_text(struct row *r); /* absent for NULL */
int64_t row_int(struct row *r);
int64_t row_int_or(struct row *r, int64_t if_null);
struct uuid row_uuid(struct row *r);
struct uuid row_uuid_or_nil(struct row *r);			      /* nil for NULL */
int row_end(const struct row *r, const char *table, struct err *err); /* r->rc, with words */

/* All rows of a query, each read by `read` into an array of things of that size, in the arena.  many: said when they do
 * not fit there. */
struct row_list {
	size_t size;
	int (*read)(const struct db_rows *rows, size_t row, void *ret, struct err *err);
	const char *many;
};
struct row_array {
	void *list;
	size_t n;
};
int sql_list(struct db *db, struct arena *a, const struct sql *q, const struct row_list *how, struct row_array *ret,
	     struct err *err);

/* A UUID as a parameter: text has to live until the call is over. */
static inline struct db_value db_uuid(const struct uuid *u, char text[UUID_STR_SIZE])
{
	return db_text((struct slice){uuid_format(u, text), UUID_STR_SIZE - 1});
}

/* The same; NULL when it is nil. */
static inline struct db_value db_uuid_or_null(const struct uuid *u, char text[UUID_STR_SIZE])
{
	return uuid_is_nil(u) ? (struct db_value){.type = DB_NULL} : db_uuid(u, text);
}

static inline struct db_value db_cstr(const char *s)
{
	return db_text(slice_from(s));
}

/* " where|and (model_id = .. or model_name = .. or the name of model_name is ..)"; nothing when absent. */
void sql_where_model(struct sql *q, struct slice model);
/* The violations of one record, at most RECORD_MAX_VIOLATIONS. */
struct log_record;
int store_log_violations(struct db *db, struct arena *a, struct log_record *r, struct err *err);
int store_violations_insert(struct db *db, const struct log_record *r, struct err *err);
