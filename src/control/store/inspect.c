/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about the database itself: where the dialects differ, both are here. */
#include "control/store/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "control/store/store.h"
#include "control/store/store_internal.h"
#include "control/store/texts.h"

#define DAY_US INT64_C(86400000000)
#define DAYS_LOOKED_AT 31
#define DAY_PREFIX "model_historical_logs_"

static bool is_postgres(const struct db *db)
{
	return !strcmp(db->dialect, "postgres");
}

static struct slice text_at(const struct db_rows *r, size_t row, size_t column)
{
	const struct db_value *v = db_cell(r, row, column);

	return v->type == DB_TEXT ? v->s : SLICE_LIT("");
}

static int64_t int_at(const struct db_rows *r, size_t row, size_t column)
{
	const struct db_value *v = db_cell(r, row, column);

	return v->type == DB_INT ? v->i : 0;
}

static int inspect_file(struct db *db, struct arena *a, struct store_facts *ret, struct err *err)
{
	struct db_rows r;
	int rc = db_query(db, a,
			  "select sqlite_version(), (select page_count from pragma_page_count) * "
			  "(select page_size from pragma_page_size)",
			  db_args(NULL, 0), &r, err);

	if (rc)
		return rc;
	*ret = (struct store_facts){
		.version = slice_from(arena_printf(a, "SQLite " SLICE_FMT, SLICE_ARG(text_at(&r, 0, 0)))),
		.size_bytes = int_at(&r, 0, 1) + texts_bytes(db)};
	return 0;
}

static int inspect_server(struct db *db, struct arena *a, struct store_facts *ret, struct err *err)
{
	struct slice tls, client;
	struct db_rows r;
	int rc = db_query(db, a,
			  "select current_setting('server_version'), "
			  "cast(pg_catalog.pg_database_size(current_database()) as bigint), "
			  "cast(extract(epoch from clock_timestamp()) * 1000000 as bigint), "
			  "coalesce((select s.version from pg_catalog.pg_stat_ssl s where s.pid = "
			  "pg_catalog.pg_backend_pid() and s.ssl), ''), "
			  "coalesce(host(inet_client_addr()), ''), coalesce(host(inet_server_addr()), '')",
			  db_args(NULL, 0), &r, err);

	if (rc)
		return rc;
	tls = text_at(&r, 0, 3);
	client = text_at(&r, 0, 4);
	*ret = (struct store_facts){
		.version = slice_from(arena_printf(a, "PostgreSQL " SLICE_FMT, SLICE_ARG(text_at(&r, 0, 0)))),
		.size_bytes = int_at(&r, 0, 1),
		.now_us = int_at(&r, 0, 2)};
	/* An address that is both ends' is this host's own. */
	ret->exposed = !tls.n && client.n && !slice_eq(client, text_at(&r, 0, 5));
	ret->transport = tls.n	     ? tls
			 : !client.n ? SLICE_LIT("unix socket")
				     : slice_from(arena_printf(a, "in the clear from " SLICE_FMT, SLICE_ARG(client)));
	return 0;
}

int store_inspect(struct db *db, struct arena *a, struct store_facts *ret, struct err *err)
{
	return is_postgres(db) ? inspect_server(db, a, ret, err) : inspect_file(db, a, ret, err);
}

static char *day_name(int64_t day, char name[64])
{
	time_t seconds = (time_t)(day * (DAY_US / 1000000));
	struct tm tm = {0};

	(void)gmtime_r(&seconds, &tm); /* a day of our clock: in range */
	(void)snprintf(name, 64, DAY_PREFIX "%04d%02d%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	return name;
}

int store_inspect_partitions(struct db *db, struct arena *a, int64_t now_us, struct store_partitions *ret,
			     struct err *err)
{
	char name[64];
	const struct db_value args[] = {db_cstr(day_name(now_us / DAY_US, name))};
	const struct db_value today = db_int(now_us / DAY_US * DAY_US);
	struct db_rows days, strays;
	size_t n = 0;
	int rc;

	*ret = (struct store_partitions){.any = is_postgres(db), .days_ahead = -1};
	if (!ret->any)
		return 0;
	/* A partition, not a table of such a name: one that was never attached takes no record. */
	rc = db_query(db, a,
		      "select c.relname from pg_catalog.pg_class c join pg_catalog.pg_inherits i on i.inhrelid = c.oid "
		      "where i.inhparent = cast('model_historical_logs' as regclass) and c.relname >= $1 "
		      "and c.relname <> 'model_historical_logs_default' order by c.relname limit 1000",
		      db_args(args, COUNT_OF(args)), &days, err);
	if (!rc)
		rc = db_query(db, a,
			      "select count(*) from (select 1 from model_historical_logs_default where created_us >= "
			      "$1 limit 1000) s",
			      db_args(&today, 1), &strays, err);
	if (rc)
		return rc;
	while (n < days.n_rows && n < DAYS_LOOKED_AT &&
	       slice_eq_str(text_at(&days, n, 0), day_name(now_us / DAY_US + (int64_t)n, name)))
		n++;
	ret->days_ahead = (int)n - 1;
	ret->n_strays = int_at(&strays, 0, 0);
	return 0;
}

/* --- rights --- */

static const char *const writes[] = {
	"insert into use_cases (name, settings, created_us, updated_us) values ($1, '{}', $2, $2)",
	"update use_cases set settings = '{}' where name = $1 and updated_us = $2",
	"delete from use_cases where name = $1 and updated_us = $2",
	"insert into registry_events (id, at_us, kind, subject, actor, reason) values ($1, $2, 'check', '-', '-', '-')",
	"insert into model_historical_logs (id, created_us) values ($1, $2)",
	"insert into guardrails_violations (id, log_id, created_us, rule, action, severity, side, start_byte, "
	"length_bytes) values ($1, '-', $2, '-', 'flag', 'low', 'input', 0, 0)",
	"insert into model_snapshots (id, created_us, use_case, actor, reason, document) values ($1, $2, "
	"'muster_check', "
	"'-', '-', '{}')",
	"insert into model_deployments (id, use_case, model_id, strategy, state, step, share_percent, since_us, "
	"holds_until_us, settings, actor, reason, epoch, created_us, updated_us, finished_us) values ($1, "
	"'muster_check', '-', 'canary', 'aborted', 0, 0, $2, $2, '{}', '-', '-', 0, $2, $2, $2)",
};

int store_try_writing(struct db *db, int64_t now_us, struct err *err)
{
	struct db_value args[2];
	char name[80];
	int rc = db_begin(db, err);

	(void)snprintf(name, sizeof(name), "muster-check-%" PRId64, now_us); /* fits */
	args[0] = db_cstr(name);
	args[1] = db_int(now_us);
	for (size_t i = 0; !rc && i < COUNT_OF(writes); i++)
		rc = db_exec(db, writes[i], db_args(args, COUNT_OF(args)), NULL, err);
	db_rollback(db);
	return rc;
}

const char *store_url_file(const char *url)
{
	static const char prefix[] = "sqlite:";

	if (strncmp(url, prefix, sizeof(prefix) - 1) != 0 || !strcmp(url + sizeof(prefix) - 1, ":memory:"))
		return NULL;
	return url + sizeof(prefix) - 1;
}
