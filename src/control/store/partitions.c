/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The days of model_historical_logs on PostgreSQL.  A partition is made on its own and attached then, which stops
 * nobody from writing; records of its day that came before it was there wait in the default partition and move along.
 * Names and bounds are numbers of ours: no text from elsewhere gets into these statements.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "control/store/partitions.h"
#include "control/store/store.h"
#include "control/store/store_internal.h"

#define DAY_US INT64_C(86400000000)
#define NAME_SIZE PARTITION_NAME_SIZE
#define DROP_LOCK_MS "500" /* who writes waits behind us for as long */
#define DAYS_MAX 366

bool partition_any(const struct db *db)
{
	return !strcmp(db->dialect, "postgres");
}

char *partition_name(int64_t day, char name[PARTITION_NAME_SIZE])
{
	time_t seconds = (time_t)(day * (DAY_US / 1000000));
	struct tm tm = {0};

	(void)gmtime_r(&seconds, &tm); /* a day of our clock: in range */
	(void)snprintf(name, NAME_SIZE, "model_historical_logs_%04d%02d%02d", tm.tm_year + 1900, tm.tm_mon + 1,
		       tm.tm_mday);
	return name;
}

/* The days from first to last whose partition is not there. */
static int find_missing(struct db *db, int64_t first, int64_t last, bool missing[DAYS_MAX + 1], struct err *err)
{
	char from[NAME_SIZE], to[NAME_SIZE], name[NAME_SIZE];
	const struct db_value args[] = {db_cstr(partition_name(first, from)), db_cstr(partition_name(last, to))};
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows = {0};
	size_t at = 0;
	int rc;

	arena_init(&a, 4096, (size_t)1 << 20);
	rc = db_query(db, &a,
		      "select relname from pg_catalog.pg_class where relname >= $1 and relname <= $2 and relkind = 'r' "
		      "and pg_catalog.pg_table_is_visible(oid) order by relname",
		      db_args(args, COUNT_OF(args)), &rows, err);
	for (int64_t day = first; !rc && day <= last; day++) {
		(void)partition_name(day, name);
		while (at < rows.n_rows && strcmp(db_cell(&rows, at, 0)->s.p, name) < 0)
			at++; /* something else of a name between */
		missing[day - first] = at == rows.n_rows || !slice_eq_str(db_cell(&rows, at, 0)->s, name);
	}
	return rc;
}

static void write_partition(struct buf *sql, int64_t day)
{
	int64_t from_us = day * DAY_US, to_us = from_us + DAY_US;
	char name[NAME_SIZE];

	(void)partition_name(day, name);
	(void)buf_printf(sql, /* a failure is found at the end */
			 "create table %s (like model_historical_logs including all);\n"
			 "with moved as (delete from model_historical_logs_default\n"
			 "	where created_us >= %" PRId64 " and created_us < %" PRId64 " returning *)\n"
			 "	insert into %s select * from moved;\n"
			 "alter table model_historical_logs attach partition %s for values from (%" PRId64
			 ") to (%" PRId64 ");\n",
			 name, from_us, to_us, name, name, from_us, to_us);
}

/* In a transaction.  Others may do the same at the same time: under the write lock it is looked again. */
static int make_missing(struct db *db, int64_t first, int64_t last, struct err *err)
{
	bool missing[DAYS_MAX + 1] = {false};
	CLEANUP(buf_release) struct buf sql;
	int rc = find_missing(db, first, last, missing, err);

	buf_init(&sql, (size_t)1 << 20);
	/* Writers wait while the default partition is looked through: not for long, and not in a queue behind us. */
	(void)buf_adds(&sql, "set local lock_timeout = 2000;\n"
			     "lock table model_historical_logs_default in access exclusive mode;\n");
	for (int64_t day = first; day <= last; day++) {
		if (missing[day - first])
			write_partition(&sql, day);
	}
	if (!rc && buf_failed(&sql))
		rc = err_set(err, E_TOOBIG, "too many partitions at once");
	return rc ? rc : db_script(db, buf_cstr(&sql), err);
}

int store_partitions_ensure(struct db *db, int64_t now_us, int days_ahead, struct err *err)
{
	int64_t first = now_us / DAY_US, last = first + days_ahead;
	bool missing[DAYS_MAX + 1] = {false};
	int rc;

	if (!partition_any(db))
		return 0;
	if (now_us < 0 || days_ahead < 0 || days_ahead > DAYS_MAX)
		return err_set(err, E_INVALID, "partitions can be made for at most %d days ahead", DAYS_MAX);
	rc = find_missing(db, first, last, missing, err);
	if (rc || !memchr(missing, true, sizeof(missing)))
		return rc;
	rc = db_begin(db, err);
	if (!rc)
		rc = make_missing(db, first, last, err);
	if (!rc)
		rc = db_commit(db, err);
	if (!rc)
		return 0;
	db_rollback(db);
	(void)err_prefix(err, "the partitions of model_historical_logs"); /* the code stays */
	return rc;
}

/* --- dropping --- */

/* What somebody else attached, or under other bounds, is not ours: it has another name or text. */
static bool is_day(struct slice name, struct slice bound, int64_t *ret_day)
{
	char want[NAME_SIZE], bounds[128];
	struct slice from = slice_sub(bound, sizeof("FOR VALUES FROM ('") - 1, bound.n);
	ptrdiff_t quote = slice_chr(from, '\'');
	int64_t from_us = 0;

	from = slice_sub(from, 0, quote < 0 ? 0 : (size_t)quote);
	if (slice_to_i64(from, &from_us) || from_us < 0 || from_us % DAY_US)
		return false;
	*ret_day = from_us / DAY_US;
	(void)snprintf(bounds, sizeof(bounds), "FOR VALUES FROM ('%" PRId64 "') TO ('%" PRId64 "')", from_us,
		       from_us + DAY_US);
	return slice_eq_str(name, partition_name(*ret_day, want)) && slice_eq_str(bound, bounds);
}

int partition_days(struct db *db, int64_t before, struct partition_day *ret, size_t max, size_t *ret_n, struct err *err)
{
	char name[NAME_SIZE];
	const struct db_value arg = db_cstr(partition_name(before, name));
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows = {0};
	int rc;

	arena_init(&a, 16384, (size_t)4 << 20);
	*ret_n = 0;
	if (!partition_any(db))
		return 0;
	rc = db_query(
		db, &a,
		"select cast(c.relname as text), pg_catalog.pg_get_expr(c.relpartbound, c.oid), "
		"cast(c.reltuples as bigint), pg_catalog.pg_total_relation_size(c.oid) "
		"from pg_catalog.pg_class c join pg_catalog.pg_inherits i on i.inhrelid = c.oid where i.inhparent "
		"= cast('model_historical_logs' as regclass) and c.relname < $1 order by c.relname limit 1000",
		db_args(&arg, 1), &rows, err);
	for (size_t i = 0; !rc && i < rows.n_rows && *ret_n < max; i++) {
		struct partition_day d = {.n_estimated = db_cell(&rows, i, 2)->i, .bytes = db_cell(&rows, i, 3)->i};

		if (is_day(db_cell(&rows, i, 0)->s, db_cell(&rows, i, 1)->s, &d.day))
			ret[(*ret_n)++] = d;
	}
	return rc;
}

int partition_total(struct db *db, int64_t last, int64_t *ret_n, int64_t *ret_bytes, struct err *err)
{
	char name[NAME_SIZE];
	const struct db_value arg = db_cstr(partition_name(last, name));
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows = {0};
	int rc;

	arena_init(&a, 4096, (size_t)1 << 20);
	rc = db_query(
		db, &a,
		"select count(*) filter (where c.relname <= $1), "
		"cast(coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)), 0) as bigint) "
		"from pg_catalog.pg_class c join pg_catalog.pg_inherits i on i.inhrelid = c.oid where i.inhparent "
		"= cast('model_historical_logs' as regclass)",
		db_args(&arg, 1), &rows, err);
	if (rc)
		return rc;
	*ret_n = db_cell(&rows, 0, 0)->i;
	*ret_bytes = db_cell(&rows, 0, 1)->i;
	return 0;
}

/*
 * Not "detach concurrently": PostgreSQL refuses that beside a default partition, which latecomers need.  The lock is on
 * the parent first, as in every insert, so that nobody waits in a circle.
 */
int partition_drop(struct db *db, int64_t day, struct err *err)
{
	CLEANUP(buf_release) struct buf sql;
	bool missing[DAYS_MAX + 1] = {false};
	char name[NAME_SIZE];
	int rc;

	buf_init(&sql, 4096);
	rc = find_missing(db, day, day, missing, err);
	if (rc)
		return rc;
	if (missing[0])
		return err_set(err, E_NOTFOUND, "somebody else has dropped the partition");
	(void)partition_name(day, name);
	(void)buf_printf(&sql, /* fits */
			 "set local lock_timeout = " DROP_LOCK_MS ";\n"
			 "lock table only model_historical_logs in access exclusive mode;\n"
			 "alter table model_historical_logs detach partition %s;\n"
			 "drop table %s;\n",
			 name, name);
	rc = db_script(db, buf_cstr(&sql), err);
	return rc != E_BUSY
		       ? rc
		       : err_set(err, rc,
				 "model_historical_logs is in use: its oldest day is dropped when it can be had for "
				 "a moment");
}
