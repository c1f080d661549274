/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every storage backend has to do alike.  A new backend is one more row in `backends`; the fault backend runs as
 * one that never fails, and by itself below, failing every call there is.
 */
#include "control/store/db.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "core/base/buf.h"
#include "pg_cluster.h"
#include "store_fixture.h"

struct backend {
	const char *name;
	const char *format; /* of the URL: see backend_url */
	bool shared;	    /* a second connection sees the same database */
};

static const struct backend backends[] = {
	{"sqlite", "sqlite:%s", true},
	{"sqlite in memory", "sqlite::memory:", false},
	{"fault that never comes", "fault:0:sqlite:%s", true},
	{"postgres", "postgres://muster@%P/postgres", true},
	{"postgres, unprepared", "postgresql://muster@%P/postgres?prepare=off", true},
	{"postgres behind a pooler", "postgres://muster@%B/postgres", true},
	{"fault that never comes, of postgres", "fault:0:postgres://muster@%P/postgres", true},
};

struct fixture {
	struct place place;
	const struct backend *backend;
	char url[256];
	struct db *db;
	struct arena arena;
	struct err err;
};

static struct db *connect(struct fixture *f)
{
	struct db *db = NULL;

	CHECK_INT(db_open(f->url, &db, &f->err), 0);
	return db;
}

static int run(struct fixture *f, struct db *db, const char *sql)
{
	f->err = (struct err){0};
	return db_exec(db, sql, db_args(NULL, 0), NULL, &f->err);
}

/* False: that backend is not to be had here. */
static bool setup(struct fixture *f, size_t i)
{
	*f = (struct fixture){.backend = &backends[i]};
	place_make(&f->place);
	if (!backend_url(backends[i].format, f->place.file, f->url, sizeof(f->url))) {
		place_remove(&f->place);
		return false;
	}
	arena_init(&f->arena, 4096, (size_t)16 << 20);
	f->db = connect(f);
	CHECK_INT(run(f, f->db,
		      "create table t (id bigint not null primary key, s text, d double precision, check (id < 1000))"),
		  0);
	return true;
}

static void teardown(struct fixture *f)
{
	db_close(f->db);
	arena_release(&f->arena);
	place_remove(&f->place);
}

static int64_t count(struct fixture *f, struct db *db)
{
	struct db_rows rows;

	CHECK_INT(db_query(db, &f->arena, "select count(*) from t", db_args(NULL, 0), &rows, &f->err), 0);
	return db_cell(&rows, 0, 0)->i;
}

static int insert(struct db *db, int64_t id, struct db_value s, struct db_value d, struct err *err)
{
	const struct db_value args[] = {db_int(id), s, d};

	return db_exec(db, "insert into t (id, s, d) values ($1, $2, $3)", db_args(args, COUNT_OF(args)), NULL, err);
}

static const struct db_value null = {.type = DB_NULL};

static const struct {
	struct db_value s, d;
} value_cases[] = {
	{{.type = DB_NULL}, {.type = DB_NULL}},
	{{.type = DB_TEXT, .s = {"", 0}}, {.type = DB_DOUBLE, .d = 0.5}},
	{{.type = DB_TEXT, .s = {"it's $1; -- \"x\"", 15}}, {.type = DB_DOUBLE, .d = -1e300}},
	{{.type = DB_TEXT, .s = {"na\xc3\xafve \xe2\x82\xac \xf0\x9f\xa6\x86", 15}}, {.type = DB_DOUBLE, .d = 0.1}},
	{{.type = DB_TEXT, .s = {"line\nline\ttab", 13}}, {.type = DB_DOUBLE, .d = 1.0 / 3}},
};

TEST(values_come_back_as_they_went_in)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		struct db_rows rows;
		struct fixture f;

		if (!setup(&f, b))
			continue;
		for (size_t i = 0; i < COUNT_OF(value_cases); i++)
			CHECK_INT(insert(f.db, (int64_t)i, value_cases[i].s, value_cases[i].d, &f.err), 0);
		CHECK_INT(
			db_query(f.db, &f.arena, "select s, d, id from t order by id", db_args(NULL, 0), &rows, &f.err),
			0);
		CHECK_INT(rows.n_rows, COUNT_OF(value_cases));
		CHECK_INT(rows.n_columns, 3);
		for (size_t i = 0; i < rows.n_rows; i++) {
			CHECK_INT(db_cell(&rows, i, 0)->type, value_cases[i].s.type);
			CHECK(slice_eq(db_cell(&rows, i, 0)->s, value_cases[i].s.s));
			CHECK_INT(db_cell(&rows, i, 1)->type, value_cases[i].d.type);
			CHECK(db_cell(&rows, i, 1)->d == value_cases[i].d.d);
			CHECK_INT(db_cell(&rows, i, 2)->i, i);
		}
		teardown(&f);
	}
}

TEST(integers_have_all_64_bits)
{
	static const int64_t wanted[] = {0, -1, INT32_MAX, (int64_t)INT32_MAX + 1, INT64_MAX, INT64_MIN};

	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		struct fixture f;

		if (!setup(&f, b))
			continue;
		CHECK_INT(run(&f, f.db, "create table n (v bigint)"), 0);
		for (size_t i = 0; i < COUNT_OF(wanted); i++) {
			const struct db_value arg = db_int(wanted[i]);
			struct db_rows rows;

			CHECK_INT(db_exec(f.db, "insert into n (v) values ($1)", db_args(&arg, 1), NULL, &f.err), 0);
			CHECK_INT(db_query(f.db, &f.arena, "select v from n where v = $1", db_args(&arg, 1), &rows,
					   &f.err),
				  0);
			CHECK_INT(rows.n_rows, 1);
			CHECK_INT(db_cell(&rows, 0, 0)->i, wanted[i]);
		}
		teardown(&f);
	}
}

TEST(a_text_of_a_mebibyte_is_kept)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		size_t n = (size_t)1 << 20;
		char *big = malloc(n);
		struct db_rows rows;
		struct fixture f;

		if (!setup(&f, b))
			continue;
		for (size_t i = 0; i < n; i++)
			big[i] = (char)('a' + i % 26);
		CHECK_INT(insert(f.db, 1, db_text((struct slice){big, n}), null, &f.err), 0);
		CHECK_INT(db_query(f.db, &f.arena, "select s from t", db_args(NULL, 0), &rows, &f.err), 0);
		CHECK(slice_eq(db_cell(&rows, 0, 0)->s, (struct slice){big, n}));
		free(big);
		teardown(&f);
	}
}

TEST(rows_that_do_not_fit_the_arena_are_too_big_and_the_connection_goes_on)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		struct arena small;
		struct db_rows rows;
		struct fixture f;

		if (!setup(&f, b))
			continue;
		arena_init(&small, 256, 2048);
		for (int64_t i = 0; i < 100; i++)
			CHECK_INT(insert(f.db, i, db_text(SLICE_LIT("0123456789")), null, &f.err), 0);
		CHECK_INT(db_query(f.db, &small, "select id, s from t", db_args(NULL, 0), &rows, &f.err), E_TOOBIG);
		CHECK_INT(count(&f, f.db), 100);
		arena_release(&small);
		teardown(&f);
	}
}

TEST(more_rows_than_the_limit_are_too_many)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		static const char many[] =
			"with recursive n (i) as (select 1 union all select i + 1 from n where i < $1) select i from n";
		struct db_value arg = db_int(DB_MAX_ROWS);
		struct db_rows rows;
		struct fixture f;

		if (!setup(&f, b))
			continue;
		CHECK_INT(db_query(f.db, &f.arena, many, db_args(&arg, 1), &rows, &f.err), 0);
		CHECK_INT(rows.n_rows, DB_MAX_ROWS);
		arena_reset(&f.arena);
		arg = db_int(DB_MAX_ROWS + 1);
		CHECK_INT(db_query(f.db, &f.arena, many, db_args(&arg, 1), &rows, &f.err), E_TOOBIG);
		teardown(&f);
	}
}

static const struct {
	const char *sql;
	int rc;
} error_cases[] = {
	{"insert into t (id) values (1)", E_EXISTS},
	{"insert into t (id) values (1000)", E_INVALID},
	{"insert into t (id) values (null)", E_INVALID},
	{"selec 1", E_INVALID},
	{"select * from nowhere", E_INVALID},
	{"", E_INVALID},
	{"insert into t (id) values ($1)", E_INVALID},
};

TEST(errors_have_their_codes_and_words)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		struct fixture f;

		if (!setup(&f, b))
			continue;
		CHECK_INT(run(&f, f.db, "insert into t (id) values (1)"), 0);
		for (size_t i = 0; i < COUNT_OF(error_cases); i++) {
			CHECK_INT(run(&f, f.db, error_cases[i].sql), error_cases[i].rc);
			CHECK(f.err.text[0] != '\0');
		}
		CHECK_INT(count(&f, f.db), 1);
		teardown(&f);
	}
}

TEST(a_statement_says_how_many_rows_it_touched)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		int64_t n = -1;
		struct fixture f;

		if (!setup(&f, b))
			continue;
		for (int64_t i = 0; i < 3; i++)
			CHECK_INT(insert(f.db, i, null, null, &f.err), 0);
		CHECK_INT(db_exec(f.db, "update t set s = 'x' where id > 0", db_args(NULL, 0), &n, &f.err), 0);
		CHECK_INT(n, 2);
		CHECK_INT(db_exec(f.db, "insert into t (id) values (1) on conflict do nothing", db_args(NULL, 0), &n,
				  &f.err),
			  0);
		CHECK_INT(n, 0);
		CHECK_INT(db_exec(f.db, "delete from t where id = 77", db_args(NULL, 0), &n, &f.err), 0);
		CHECK_INT(n, 0);
		teardown(&f);
	}
}

TEST(a_rollback_leaves_nothing_and_a_commit_everything)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		struct fixture f;

		if (!setup(&f, b))
			continue;
		CHECK_INT(db_begin(f.db, &f.err), 0);
		CHECK_INT(insert(f.db, 1, null, null, &f.err), 0);
		db_rollback(f.db);
		db_rollback(f.db); /* without a transaction: nothing */
		CHECK_INT(count(&f, f.db), 0);
		CHECK_INT(db_begin(f.db, &f.err), 0);
		CHECK_INT(insert(f.db, 1, null, null, &f.err), 0);
		CHECK_INT(insert(f.db, 2, null, null, &f.err), 0);
		CHECK_INT(db_commit(f.db, &f.err), 0);
		CHECK_INT(count(&f, f.db), 2);
		CHECK_INT(db_commit(f.db, &f.err), E_INVALID);
		teardown(&f);
	}
}

TEST(a_script_runs_all_its_statements_in_the_transaction_around_it)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		bool there = true;
		struct fixture f;

		if (!setup(&f, b))
			continue;
		CHECK_INT(db_begin(f.db, &f.err), 0);
		CHECK_INT(db_script(f.db, "create table a (v text);\ncreate table b (v text);\n", &f.err), 0);
		db_rollback(f.db);
		CHECK_INT(db_has_table(f.db, "b", &there, &f.err), 0);
		CHECK(!there);
		CHECK_INT(db_script(f.db, "create table a (v text); create table b (v text)", &f.err), 0);
		CHECK_INT(db_has_table(f.db, "b", &there, &f.err), 0);
		CHECK(there);
		CHECK_INT(db_script(f.db, "create table c (v text); nonsense", &f.err), E_INVALID);
		teardown(&f);
	}
}

TEST(an_error_inside_a_transaction_leaves_nothing_after_the_rollback)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		struct fixture f;

		if (!setup(&f, b))
			continue;
		for (int i = 0; i < 2; i++) {
			CHECK_INT((i ? db_begin_append : db_begin)(f.db, &f.err), 0);
			CHECK_INT(insert(f.db, 1, null, null, &f.err), 0);
			CHECK_INT(insert(f.db, 1, null, null, &f.err), E_EXISTS);
			db_rollback(f.db);
			CHECK_INT(count(&f, f.db), 0);
		}
		CHECK_INT(db_begin_append(f.db, &f.err), 0);
		CHECK_INT(insert(f.db, 1, null, null, &f.err), 0);
		CHECK_INT(db_commit(f.db, &f.err), 0);
		CHECK_INT(count(&f, f.db), 1);
		teardown(&f);
	}
}

/* More texts than a cache of statements can hold, each at the same place, and each used again. */
TEST(statements_are_told_apart_by_their_text)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		char sql[64];
		struct fixture f;

		if (!setup(&f, b))
			continue;
		for (int round = 0; round < 3; round++) {
			for (int i = 0; i < 150; i++) {
				struct db_rows rows;

				(void)snprintf(sql, sizeof(sql), "select %d", i);
				CHECK_INT(db_query(f.db, &f.arena, sql, db_args(NULL, 0), &rows, &f.err), 0);
				CHECK_INT(db_cell(&rows, 0, 0)->i, i);
			}
		}
		teardown(&f);
	}
}

TEST(another_connection_sees_only_what_was_committed)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		struct db *other;
		struct fixture f;

		if (!setup(&f, b))
			continue;
		if (backends[b].shared) {
			other = connect(&f);
			CHECK_INT(db_begin(f.db, &f.err), 0);
			CHECK_INT(insert(f.db, 1, null, null, &f.err), 0);
			CHECK_INT(count(&f, other), 0);
			CHECK_INT(db_commit(f.db, &f.err), 0);
			CHECK_INT(count(&f, other), 1);
			db_close(other);
		}
		teardown(&f);
	}
}

struct writer {
	struct db *db;
	int64_t first;
	_Atomic int n_failed;
};

static void *write_many(void *arg)
{
	struct writer *w = arg;

	for (int64_t i = 0; i < 100; i++) {
		struct err err = {0};

		if (db_begin(w->db, &err) || insert(w->db, w->first + i, db_text(SLICE_LIT("x")), null, &err) ||
		    db_commit(w->db, &err))
			w->n_failed++;
	}
	return NULL;
}

TEST(two_connections_write_at_once_and_take_turns)
{
	for (size_t b = 0; b < COUNT_OF(backends); b++) {
		struct writer w[2] = {{.first = 0}, {.first = 500}};
		pthread_t t[2];
		struct fixture f;

		if (!setup(&f, b))
			continue;
		for (size_t i = 0; i < 2 && backends[b].shared; i++) {
			w[i].db = connect(&f);
			CHECK_INT(pthread_create(&t[i], NULL, write_many, &w[i]), 0);
		}
		for (size_t i = 0; i < 2 && backends[b].shared; i++) {
			CHECK_INT(pthread_join(t[i], NULL), 0);
			CHECK_INT(w[i].n_failed, 0);
			db_close(w[i].db);
		}
		if (backends[b].shared)
			CHECK_INT(count(&f, f.db), 200);
		teardown(&f);
	}
}

/* --- URLs --- */

static const struct {
	const char *url;
	int rc;
} url_cases[] = {
	{"", E_INVALID},
	{"sqlite", E_INVALID},
	{"sqlite:", E_INVALID},
	{"oracle:x", E_INVALID},
	{"fault:", E_INVALID},
	{"fault:x:sqlite::memory:", E_INVALID},
	{"fault:1", E_INVALID},
	{"fault:1:nothing", E_INVALID},
	{"sqlite:/proc/no/db", E_UNAVAILABLE},
	{"sqlite:/", E_UNAVAILABLE},
};

TEST(a_url_that_leads_nowhere_is_an_error)
{
	for (size_t i = 0; i < COUNT_OF(url_cases); i++) {
		struct db *db = NULL;
		struct err err = {0};

		CHECK_INT(db_open(url_cases[i].url, &db, &err), url_cases[i].rc);
		CHECK(err.text[0] && !db);
	}
}

TEST(an_unknown_url_is_not_repeated_with_its_password)
{
	struct db *db = NULL;
	struct err err = {0};

	CHECK_INT(db_open("mysql://root:hunter2@h/", &db, &err), E_INVALID);
	CHECK(!strstr(err.text, "hunter2"));
}

/* --- the SQLite file --- */

TEST(sqlite_makes_its_directories_and_a_file_for_its_owner_alone)
{
	struct place p;
	char url[160], path[128];
	struct db *db = NULL;
	struct stat st;

	place_make(&p);
	(void)snprintf(path, sizeof(path), "%s/a/b/muster.db", p.dir);
	(void)snprintf(url, sizeof(url), "sqlite:%s", path);
	CHECK_INT(db_open(url, &db, NULL), 0);
	CHECK(!stat(path, &st) && (st.st_mode & 0777) == 0600);
	db_close(db);
	CHECK_INT(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/a/b", p.dir);
	CHECK_INT(rmdir(path), 0);
	(void)snprintf(path, sizeof(path), "%s/a", p.dir);
	CHECK_INT(rmdir(path), 0);
	place_remove(&p);
}

TEST(sqlite_names_a_file_that_is_no_database)
{
	struct place p;
	struct db *db = NULL;
	struct err err = {0};
	FILE *file;

	place_make(&p);
	file = fopen(p.file, "w");
	CHECK(file != NULL);
	for (int i = 0; file && i < 1000; i++)
		CHECK(fputs("this is no database\n", file) >= 0);
	CHECK(file && !fclose(file));
	CHECK_INT(db_open(p.url, &db, &err), E_CORRUPT);
	CHECK(strstr(err.text, p.file));
	place_remove(&p);
}

/* --- the fault backend --- */

TEST(every_call_can_be_made_to_fail_once_and_leaves_no_half_transaction)
{
	for (int at = 1; at <= 5; at++) {
		int n_failed = 0;
		char url[160];
		struct fixture f;
		struct db *db = NULL;

		CHECK(setup(&f, 0));
		(void)snprintf(url, sizeof(url), "fault:%d:%s", at, f.place.url);
		CHECK_INT(db_open(url, &db, &f.err), 0);
		for (int attempt = 0; attempt < 2; attempt++) {
			int rc = db_begin(db, &f.err);

			if (!rc)
				rc = insert(db, attempt * 10, null, null, &f.err);
			if (!rc)
				rc = insert(db, attempt * 10 + 1, null, null, &f.err);
			if (!rc)
				rc = db_commit(db, &f.err);
			if (rc) {
				db_rollback(db);
				n_failed++;
				CHECK_INT(rc, E_IO);
			}
			CHECK_INT(count(&f, f.db) % 2, 0);
		}
		CHECK_INT(n_failed, 1);
		CHECK_INT(count(&f, f.db), 2);
		db_close(db);
		teardown(&f);
	}
}
