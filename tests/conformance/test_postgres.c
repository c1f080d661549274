/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What PostgreSQL alone does: URLs and their passwords, its error codes, a server that ends under us, texts it cannot
 * keep, and the partitions of the log.
 */
#include "control/store/entities.h"
#include "control/store/store.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "pg_cluster.h"
#include "store_fixture.h"

#define URL "postgres://muster@%P/postgres"
#define DAY_US INT64_C(86400000000)

struct fixture {
	char url[256];
	struct db *db;
	struct arena arena;
	struct err err;
};

/* False: there is no server to be had here. */
static bool setup(struct fixture *f, const char *format)
{
	*f = (struct fixture){.db = NULL};
	if (!backend_url(format, NULL, f->url, sizeof(f->url)))
		return false;
	arena_init(&f->arena, 4096, (size_t)16 << 20);
	CHECK_INT(db_open(f->url, &f->db, &f->err), 0);
	return true;
}

static void teardown(struct fixture *f)
{
	db_close(f->db);
	arena_release(&f->arena);
}

static int run(struct fixture *f, const char *sql)
{
	f->err = (struct err){0};
	return db_exec(f->db, sql, db_args(NULL, 0), NULL, &f->err);
}

static int64_t number(struct fixture *f, const char *sql)
{
	struct db_rows rows = {0};
	int rc = db_query(f->db, &f->arena, sql, db_args(NULL, 0), &rows, &f->err);

	CHECK_INT(rc, 0);
	return !rc && rows.n_rows ? db_cell(&rows, 0, 0)->i : -1;
}

/* --- URLs --- */

static const struct {
	const char *url;
	const char *shown;
} shown_cases[] = {
	{"postgres://u:hunter2@h:5443/d?sslmode=require&password=hunter2", "postgres://u@h:5443/d"},
	{"postgres://u:hun/t@er2@h/d", "postgres://u@h/d"},
	{"postgres://:hunter2@h/d", "postgres://h/d"},
	{"postgres://h/d", "postgres://h/d"},
	{"postgresql://u@[::1]:1/d", "postgresql://u@[::1]:1/d"},
	{"fault:3:postgres://u:hunter2@h/d", "fault:3:postgres://u@h/d"},
	{"sqlite:var/m@h.db", "sqlite:var/m@h.db"},
};

TEST(what_is_shown_of_a_url_holds_no_password)
{
	for (size_t i = 0; i < COUNT_OF(shown_cases); i++) {
		char *shown = db_url_shown(shown_cases[i].url);
		struct store *s = NULL;

		CHECK_STR(shown, shown_cases[i].shown);
		CHECK_INT(store_new(shown_cases[i].url, &s, NULL), 0);
		CHECK_STR(store_description(s), shown_cases[i].shown);
		store_free(s);
		free(shown);
	}
}

static const struct {
	const char *url;
	int rc;
} url_cases[] = {
	{"postgres:", E_INVALID},
	{"postgres:u:hunter2@h/d", E_INVALID},
	{"postgres://u:hun/ter2@h/d", E_INVALID},
	{"postgres://u:hunter2@h:port/d", E_INVALID},
	{"postgres://u:hunter2@h:99999/d", E_UNAVAILABLE},
	{"postgres://u:hunter2%zz@h/d", E_INVALID},
	{"postgres://u:hunter2@h/d?colour=hunter2", E_INVALID},
	{"postgres://u:hunter2@h/d?prepare=hunter2", E_INVALID},
	{"postgres://u:hunter2@h/d?listen=hunter2", E_INVALID},
	{"postgres://u:hunter2@h/d?password_file=%zz", E_INVALID},
	{"postgres://u:hunter2@h/d?sslmode=hunter2", E_INVALID},
	{"postgres://u:hunter2@127.0.0.1:1/d", E_UNAVAILABLE},
	{"postgres://u:hunter2@%2Fnowhere/d", E_UNAVAILABLE},
	{"postgres://u@127.0.0.1:1/d?password_file=/nowhere/hunter", E_UNAVAILABLE},
	{"postgres://u:hunter2@127.0.0.1:1/d?sslrootcert=/nowhere&sslmode=verify-full", E_UNAVAILABLE},
};

TEST(a_url_that_leads_nowhere_is_an_error_without_its_password)
{
	for (size_t i = 0; i < COUNT_OF(url_cases); i++) {
		struct db *db = NULL;
		struct err err = {0};

		CHECK_INT(db_open(url_cases[i].url, &db, &err), url_cases[i].rc);
		CHECK(err.text[0] && !db);
		CHECK(!strstr(err.text, "hunter2") && !strstr(err.text, "ter2"));
		CHECK(!strchr(err.text, '\n'));
	}
}

/* A port where somebody listens and never answers. */
static int listen_silently(struct sockaddr_in *at)
{
	socklen_t n = sizeof(*at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)at, n) && !listen(fd, 8));
	CHECK(!getsockname(fd, (struct sockaddr *)at, &n));
	return fd;
}

TEST(a_server_that_is_silent_is_asked_once_by_all_who_need_it)
{
	struct sockaddr_in at;
	int fd = listen_silently(&at);
	struct err first = {0}, second = {0};
	struct store *s = NULL;
	struct db *db = NULL;
	int64_t begin_ms = clock_mono_ms(), then_ms;
	char url[128];

	(void)snprintf(url, sizeof(url), "postgres://u@127.0.0.1:%u/d", ntohs(at.sin_port));
	CHECK_INT(store_new(url, &s, NULL), 0);
	CHECK_INT(store_acquire(s, &db, &first), E_UNAVAILABLE);
	then_ms = clock_mono_ms();
	CHECK(then_ms - begin_ms >= 4000 && then_ms - begin_ms < 12000);
	CHECK_INT(store_acquire(s, &db, &second), E_UNAVAILABLE);
	CHECK(clock_mono_ms() - then_ms < 1000);
	CHECK_STR(second.text, first.text);
	CHECK(strstr(first.text, "timeout"));
	store_free(s);
	close(fd);
}

TEST(a_password_is_asked_for_and_read_from_a_file_each_time)
{
	const struct pg_cluster *c = pg_cluster();
	struct db *db = NULL;
	struct place p;
	char url[256];
	FILE *file;

	place_make(&p);
	(void)snprintf(url, sizeof(url), "postgres://secret:it%%27s%%20%%231%%2F2%%403@127.0.0.1:%d/postgres", c->port);
	CHECK(!c->port || !db_open(url, &db, NULL));
	db_close(db);
	(void)snprintf(url, sizeof(url), "postgres://secret@127.0.0.1:%d/postgres?password_file=%s", c->port, p.file);
	CHECK(!c->port || db_open(url, &db, NULL) == E_UNAVAILABLE);
	file = fopen(p.file, "w");
	CHECK(file && fputs("it's #1/2@3\n", file) >= 0 && !fclose(file));
	db = NULL;
	CHECK(!c->port || !db_open(url, &db, NULL));
	db_close(db);
	place_remove(&p);
}

/* --- errors --- */

static const struct {
	const char *state;
	int rc;
} state_cases[] = {
	{"23505", E_EXISTS},	  {"23514", E_INVALID},	    {"23502", E_INVALID},     {"22001", E_INVALID},
	{"22021", E_INVALID},	  {"42P01", E_INVALID},	    {"42501", E_IO},	      {"25006", E_UNAVAILABLE},
	{"40001", E_BUSY},	  {"40P01", E_BUSY},	    {"55P03", E_BUSY},	      {"57014", E_BUSY},
	{"53100", E_IO},	  {"53200", E_IO},	    {"53300", E_UNAVAILABLE}, {"54000", E_TOOBIG},
	{"57P01", E_UNAVAILABLE}, {"57P03", E_UNAVAILABLE}, {"08006", E_UNAVAILABLE}, {"XX001", E_CORRUPT},
	{"P0001", E_IO},	  {"XX000", E_IO},
};

TEST(each_state_of_the_server_has_its_code)
{
	struct fixture f;

	if (!setup(&f, URL))
		return;
	for (size_t i = 0; i < COUNT_OF(state_cases); i++) {
		char sql[256];

		(void)snprintf(
			sql, sizeof(sql),
			"do $$ begin raise exception 'what happened' using errcode = '%s', detail = 'a prompt'; end $$",
			state_cases[i].state);
		CHECK_INT(run(&f, sql), state_cases[i].rc);
		CHECK_INT(f.err.code, state_cases[i].rc);
		CHECK(!strstr(f.err.text, "a prompt"));
		CHECK(strcmp(state_cases[i].state, "53100") ? strstr(f.err.text, "what happened") != NULL
							    : strstr(f.err.text, "full") != NULL);
		CHECK_INT(number(&f, "select 7"), 7);
	}
	teardown(&f);
}

TEST(a_row_that_is_refused_is_not_quoted)
{
	struct fixture f;

	if (!setup(&f, URL))
		return;
	CHECK_INT(run(&f, "create table t (prompt text check (length(prompt) < 3))"), 0);
	CHECK_INT(run(&f, "insert into t values ('a secret of somebody')"), E_INVALID);
	CHECK(!strstr(f.err.text, "secret"));
	teardown(&f);
}

TEST(a_lock_that_somebody_holds_is_waited_for_five_seconds)
{
	struct db *other = NULL;
	int64_t begin_ms;
	struct fixture f;

	if (!setup(&f, URL))
		return;
	CHECK_INT(db_open(f.url, &other, &f.err), 0);
	CHECK_INT(db_begin(f.db, &f.err), 0);
	CHECK_INT(db_begin_append(other, &f.err), 0); /* needs no lock */
	CHECK_INT(db_commit(other, &f.err), 0);
	begin_ms = clock_mono_ms();
	CHECK_INT(db_begin(other, &f.err), E_BUSY);
	CHECK(clock_mono_ms() - begin_ms >= 4900 && strstr(f.err.text, "held by someone else"));
	CHECK_INT(db_commit(f.db, &f.err), 0);
	CHECK_INT(db_begin(other, &f.err), 0);
	db_close(other); /* rolls back */
	CHECK_INT(db_begin(f.db, &f.err), 0);
	teardown(&f);
}

/* --- a server that ends --- */

static const char *const both[] = {URL, URL "?prepare=off"};

TEST(a_connection_is_made_anew_after_the_server_was_restarted)
{
	for (size_t i = 0; i < COUNT_OF(both); i++) {
		struct fixture f;

		if (!setup(&f, both[i]))
			return;
		for (int round = 0; round < 2; round++) {
			const char *how = round ? "stop" : "kill";

			CHECK_INT(number(&f, "select 1"), 1);
			pg_cluster_do(pg_cluster(), how);
			CHECK_INT(run(&f, "select 1"), E_UNAVAILABLE);
			CHECK_INT(db_begin(f.db, &f.err), E_UNAVAILABLE);
			db_rollback(f.db);
			pg_cluster_do(pg_cluster(), "start");
			CHECK_INT(number(&f, "select 1"), 1);
			pg_cluster_do(pg_cluster(), how);
			pg_cluster_do(pg_cluster(), "start");
			CHECK_INT(round ? run(&f, "select 1") : db_begin(f.db, &f.err),
				  0); /* without an error between */
			db_rollback(f.db);
		}
		teardown(&f);
	}
}

TEST(a_transaction_that_loses_its_server_is_over)
{
	struct fixture f;

	if (!setup(&f, URL))
		return;
	CHECK_INT(run(&f, "create table t (v bigint)"), 0);
	CHECK_INT(db_begin(f.db, &f.err), 0);
	CHECK_INT(run(&f, "insert into t values (1)"), 0);
	pg_cluster_do(pg_cluster(), "kill");
	pg_cluster_do(pg_cluster(), "start");
	CHECK_INT(run(&f, "insert into t values (2)"), E_UNAVAILABLE);
	CHECK_INT(run(&f, "insert into t values (3)"), E_UNAVAILABLE); /* not on its own */
	CHECK_INT(db_commit(f.db, &f.err), E_UNAVAILABLE);
	CHECK_INT(number(&f, "select count(*) from t"), 0);
	CHECK_INT(db_begin(f.db, &f.err), 0);
	CHECK_INT(run(&f, "insert into t values (4)"), 0);
	CHECK_INT(db_commit(f.db, &f.err), 0);
	CHECK_INT(number(&f, "select v from t"), 4);
	teardown(&f);
}

/* --- texts --- */

static const struct {
	struct slice in, out;
} text_cases[] = {
	{{"a\0b", 3},
	 {"a\xef\xbf\xbd"
	  "b",
	  5}},
	{{"\0", 1}, {"\xef\xbf\xbd", 3}},
	{{"\xff\xfe", 2}, {"\xef\xbf\xbd\xef\xbf\xbd", 6}},
	{{"ok \xc3", 4}, {"ok \xef\xbf\xbd", 6}},
	{{"\xed\xa0\x80", 3}, {"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 9}},
	{{"na\xc3\xafve", 6}, {"na\xc3\xafve", 6}},
	{{"", 0}, {"", 0}},
};

TEST(what_no_text_may_hold_is_replaced_byte_by_byte)
{
	for (size_t b = 0; b < COUNT_OF(both); b++) {
		struct fixture f;

		if (!setup(&f, both[b]))
			return;
		for (size_t i = 0; i < COUNT_OF(text_cases); i++) {
			const struct db_value arg = db_text(text_cases[i].in);
			struct db_rows rows = {0};

			CHECK_INT(db_query(f.db, &f.arena, "select $1", db_args(&arg, 1), &rows, &f.err), 0);
			CHECK(rows.n_rows == 1 && slice_eq(db_cell(&rows, 0, 0)->s, text_cases[i].out));
		}
		teardown(&f);
	}
}

TEST(a_parameter_that_was_null_at_first_takes_every_value_later)
{
	for (size_t b = 0; b < COUNT_OF(both); b++) {
		struct db_value args[] = {{.type = DB_NULL}, {.type = DB_NULL}, {.type = DB_NULL}};
		struct fixture f;

		if (!setup(&f, both[b]))
			return;
		CHECK_INT(run(&f, "create table t (i bigint, s text, d double precision)"), 0);
		for (int i = 0; i < 2; i++) {
			CHECK_INT(db_exec(f.db, "insert into t values ($1, $2, $3)", db_args(args, 3), NULL, &f.err),
				  0);
			args[0] = db_int(INT64_MIN);
			args[1] = db_text(SLICE_LIT("x"));
			args[2] = (struct db_value){.type = DB_DOUBLE, .d = 0.1};
		}
		CHECK_INT(number(&f, "select count(*) from t where i = -9223372036854775808 and s = 'x' and d = 0.1"),
			  1);
		teardown(&f);
	}
}

static const struct {
	const char *url;
	bool named;
} prepare_cases[] = {
	{URL, true},
	{URL "?prepare=auto", true},
	{URL "?prepare=off", false},
	{URL "?prepare=on", true},
	{"postgres://muster@%B/postgres", false},
	{"postgres://muster@%B/postgres?prepare=auto", false},
};

TEST(statements_have_names_only_where_no_pooler_stands_between)
{
	for (size_t i = 0; i < COUNT_OF(prepare_cases); i++) {
		struct fixture f;

		if (!setup(&f, prepare_cases[i].url))
			continue;
		CHECK_INT(number(&f, "select 1"), 1);
		CHECK_INT(number(&f, "select count(*) from pg_prepared_statements where name like 'm%'") > 0,
			  prepare_cases[i].named);
		teardown(&f);
	}
}

/* --- partitions --- */

static void add(struct fixture *f, struct uuid_gen *ids, int64_t at_us)
{
	struct log_record r = {.id = uuid_v7(ids, at_us), .created_us = at_us, .model_id = SLICE_LIT("m")};
	bool inserted = false;

	CHECK_INT(store_log_insert(f->db, &r, &inserted, &f->err), 0);
	CHECK(inserted);
	CHECK_INT(store_log_insert(f->db, &r, &inserted, &f->err), 0);
	CHECK(!inserted);
}

TEST(records_without_a_partition_wait_in_the_default_one)
{
	int64_t now_us = 20000 * DAY_US + 5, n = 0;
	struct uuid_gen ids;
	struct fixture f;

	if (!setup(&f, URL))
		return;
	uuid_gen_init(&ids);
	CHECK_INT(migrate_run(f.db, NULL, &f.err), 0);
	for (int64_t day = -1; day <= 3; day++)
		add(&f, &ids, now_us + day * DAY_US);
	add(&f, &ids, 0);
	CHECK_INT(number(&f, "select count(*) from model_historical_logs_default"), 6);
	CHECK_INT(store_partitions_ensure(f.db, now_us, 2, &f.err), 0);
	CHECK_INT(number(&f, "select count(*) from model_historical_logs_default"), 3);
	CHECK_INT(number(&f, "select count(*) from model_historical_logs_20241004"), 1);
	CHECK_INT(store_partitions_ensure(f.db, now_us, 2, &f.err), 0);
	CHECK_INT(store_partitions_ensure(f.db, now_us + DAY_US, 2, &f.err), 0);
	CHECK_INT(number(&f, "select count(*) from model_historical_logs_default"), 2);
	add(&f, &ids, now_us + 3 * DAY_US);
	CHECK_INT(number(&f, "select count(*) from model_historical_logs_20241007"), 2);
	CHECK_INT(store_log_count(f.db, &n, &f.err), 0);
	CHECK_INT(n, 7);
	CHECK_INT(store_partitions_ensure(f.db, now_us, -1, &f.err), E_INVALID);
	CHECK_INT(store_partitions_ensure(f.db, now_us, 366, &f.err), 0);
	CHECK_INT(store_partitions_ensure(f.db, now_us, 367, &f.err), E_INVALID);
	teardown(&f);
}

static void *ensure(void *arg)
{
	struct db *db = NULL;

	CHECK_INT(db_open(arg, &db, NULL), 0);
	CHECK_INT(store_partitions_ensure(db, 20000 * DAY_US, 3, NULL), 0);
	db_close(db);
	return NULL;
}

TEST(partitions_are_made_by_several_at_once)
{
	pthread_t t[4];
	struct fixture f;

	if (!setup(&f, URL))
		return;
	CHECK_INT(migrate_run(f.db, NULL, &f.err), 0);
	for (size_t i = 0; i < COUNT_OF(t); i++)
		CHECK_INT(pthread_create(&t[i], NULL, ensure, f.url), 0);
	for (size_t i = 0; i < COUNT_OF(t); i++)
		CHECK_INT(pthread_join(t[i], NULL), 0);
	CHECK_INT(number(&f, "select count(*) from pg_class where relname like 'model\\_historical\\_logs\\_2024____'"),
		  4);
	teardown(&f);
}

TEST(a_store_sees_to_the_partitions_itself)
{
	struct store *s = NULL;
	struct db *db = NULL;
	struct fixture f;

	if (!setup(&f, URL))
		return;
	CHECK_INT(store_new(f.url, &s, &f.err), 0);
	store_migrate_first(s);
	CHECK_INT(store_acquire(s, &db, &f.err), 0);
	store_release(s, db);
	CHECK_INT(number(&f, "select count(*) from pg_inherits where inhparent = 'model_historical_logs'::regclass"),
		  STORE_PARTITIONS_AHEAD + 2);
	store_free(s);
	teardown(&f);
}
