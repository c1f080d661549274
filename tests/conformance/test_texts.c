/* SPDX-License-Identifier: Apache-2.0 */
/* Long texts beside an embedded database: they come back, are gone when they were removed, and what is lost is said. */
#include "control/store/texts.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "control/store/entities.h"
#include "control/store/retention.h"
#include "core/base/clock.h"
#include "store_fixture.h"

#define S(x) SLICE_LIT(x)
#define T0 INT64_C(1763873420000000)
#define LONG 40000u

struct fixture {
	struct place place;
	char dir[100];
	struct db *db;
	struct log_writer *w;
	struct arena a;
	struct uuid_gen ids;
	struct err err;
};

static void open_one(struct fixture *f)
{
	*f = (struct fixture){.db = NULL};
	place_make(&f->place);
	(void)snprintf(f->dir, sizeof(f->dir), "%s-texts", f->place.file);
	f->db = place_open(f->place.url);
	f->w = log_writer_new();
	arena_init(&f->a, 16384, (size_t)64 << 20);
	uuid_gen_init(&f->ids);
}

/* How many files there are; path: of the last one by name. */
static size_t files(const struct fixture *f, char path[200])
{
	DIR *d = opendir(f->dir);
	char last[64] = "";
	size_t n = 0;

	for (struct dirent *e; d && (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		if (strcmp(e->d_name, last) > 0)
			(void)snprintf(last, sizeof(last), "%.60s", e->d_name);
	}
	if (d)
		(void)closedir(d);
	if (path)
		(void)snprintf(path, 200, "%s/%s", f->dir, last);
	return n;
}

static void close_one(struct fixture *f)
{
	char path[200];

	log_writer_free(f->w);
	db_close(f->db);
	while (files(f, path))
		CHECK_INT(unlink(path), 0);
	(void)rmdir(f->dir);
	arena_release(&f->a);
	place_remove(&f->place);
}

/* Its letters are its own: what of it is left in a file can be told. */
static struct slice text(struct fixture *f, char letter, size_t n)
{
	char *p = arena_alloc(&f->a, n + 1);

	CHECK(p != NULL);
	memset(p, letter, n);
	return (struct slice){p, n};
}

static struct log_record record(struct fixture *f, char letter, size_t n)
{
	struct log_record r = {.id = uuid_v7(&f->ids, T0),
			       .created_us = T0,
			       .use_case = S("u"),
			       .caller = S("a"),
			       .output = S("an answer"),
			       .prompt_tokens = (int64_t)n};

	r.prompt = text(f, letter, n);
	return r;
}

static int insert(struct fixture *f, struct db *db, struct log_writer *w, const struct log_record *list, size_t n)
{
	size_t n_inserted = 0;
	int rc = db_begin_append(db, &f->err);

	if (!rc)
		rc = store_log_insert_many(db, w, list, n, &n_inserted, &f->err);
	if (!rc)
		rc = db_commit(db, &f->err);
	if (rc)
		db_rollback(db);
	return rc;
}

static void put(struct fixture *f, const struct log_record *list, size_t n)
{
	CHECK_INT(insert(f, f->db, f->w, list, n), 0);
}

static struct log_record get(struct fixture *f, const struct log_record *r)
{
	struct log_record back = {0};
	char id[UUID_STR_SIZE];

	CHECK_INT(store_log_get(f->db, &f->a, slice_from(uuid_format(&r->id, id)), &back, &f->err), 0);
	return back;
}

static bool same(struct slice a, struct slice b)
{
	return !a.p == !b.p && slice_eq(a, b);
}

static bool is_whole(struct fixture *f, const struct log_record *r)
{
	struct log_record back = get(f, r);

	return same(back.prompt, r->prompt) && same(back.context, r->context) && same(back.output, r->output) &&
	       same(back.tool_calls, r->tool_calls) && !back.content_error.p;
}

static int64_t number(struct fixture *f, const char *sql)
{
	struct db_rows rows = {0};

	CHECK_INT(db_query(f->db, &f->a, sql, db_args(NULL, 0), &rows, &f->err), 0);
	return rows.n_rows ? db_cell(&rows, 0, 0)->i : -1;
}

static int64_t n_elsewhere(struct fixture *f)
{
	return number(f, "select count(*) from model_historical_logs where texts is not null and prompt is null");
}

/* How often the letter is in any file. */
static size_t n_left(const struct fixture *f, char letter)
{
	char path[200], block[4096];
	size_t n = 0;
	ssize_t got;
	int fd;

	CHECK(files(f, path) <= 1);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (got = read(fd, block, sizeof(block))) > 0) {
		for (ssize_t i = 0; i < got; i++)
			n += block[i] == letter;
	}
	if (fd >= 0)
		(void)close(fd);
	return n;
}

static void run_sql(struct fixture *f, const char *sql)
{
	CHECK_INT(db_exec(f->db, sql, db_args(NULL, 0), NULL, &f->err), 0);
}

TEST(texts_of_any_length_come_back_and_the_long_ones_are_not_in_the_rows)
{
	static const size_t lengths[] = {0, 10, TEXTS_MIN - 10, TEXTS_MIN - 9, 4096, LONG, 1 << 20, (3 << 20) + 1};
	struct log_filter all = {.limit = 100, .with_text = true};
	struct log_record r[69], *list = NULL;
	struct fixture f;
	size_t n = 0;

	open_one(&f);
	for (size_t i = 0; i < COUNT_OF(r); i++) {
		r[i] = record(&f, (char)('A' + i % 26), i < 40 ? lengths[i % COUNT_OF(lengths)] : i * 100);
		r[i].context = i % 3 ? (struct slice){0} : S("{\"a\":1}");
		r[i].output = i % 5 ? r[i].output : (struct slice){0};
		r[i].tool_calls = i % 4 ? (struct slice){0} : text(&f, '[', i * 9);
	}
	put(&f, r, COUNT_OF(r));
	for (size_t i = 0; i < COUNT_OF(r); i++)
		CHECK(is_whole(&f, &r[i]));
	CHECK_INT(store_log_list(f.db, &f.a, &all, &list, &n, &f.err), 0);
	CHECK_INT((long long)n, COUNT_OF(r));
	for (size_t i = 0; i < n; i++)
		CHECK_INT((long long)list[i].prompt.n, list[i].prompt_tokens);
	CHECK_INT(n_elsewhere(&f),
		  number(&f, "select count(*) from model_historical_logs where length(prompt) is null"));
	CHECK_INT(number(&f, "select max(length(prompt)) < 2048 from model_historical_logs"), 1);
	all.with_text = false;
	CHECK_INT(store_log_list(f.db, &f.a, &all, &list, &n, &f.err), 0);
	CHECK(n == COUNT_OF(r) && !list[0].prompt.p && !list[0].content_error.p);
	close_one(&f);
}

TEST(more_text_than_fits_in_memory_is_told)
{
	struct log_filter all = {.limit = 100, .with_text = true};
	struct log_record r[2], *list = NULL;
	struct fixture f;
	struct arena small;
	size_t n = 0;

	open_one(&f);
	for (size_t i = 0; i < COUNT_OF(r); i++)
		r[i] = record(&f, 'x', LONG);
	put(&f, r, COUNT_OF(r));
	arena_init(&small, 4096, LONG + 8192);
	CHECK_INT(store_log_list(f.db, &small, &all, &list, &n, &f.err), E_TOOBIG);
	CHECK(strstr(f.err.text, "ask for fewer") != NULL);
	arena_release(&small);
	close_one(&f);
}

TEST(a_database_in_memory_keeps_its_texts_in_the_rows)
{
	struct log_record r;
	struct fixture f;

	open_one(&f);
	db_close(f.db);
	f.db = place_open("sqlite::memory:");
	r = record(&f, 'x', LONG);
	put(&f, &r, 1);
	CHECK_INT(n_elsewhere(&f), 0);
	CHECK(is_whole(&f, &r));
	close_one(&f);
}

TEST(what_a_rollback_or_a_kill_left_is_overwritten)
{
	struct log_record kept, gone, next;
	struct fixture f;
	size_t n_inserted;

	open_one(&f);
	kept = record(&f, 'K', LONG);
	gone = record(&f, 'G', 3 * LONG);
	next = record(&f, 'N', LONG);
	put(&f, &kept, 1);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(db_begin_append(f.db, &f.err), 0);
		CHECK_INT(store_log_insert_many(f.db, f.w, &gone, 1, &n_inserted, &f.err), 0);
		db_rollback(f.db);
	}
	CHECK_INT((long long)n_left(&f, 'G'), 3 * LONG);
	log_writer_free(f.w);
	f.w = log_writer_new(); /* as after a kill */
	put(&f, &next, 1);
	CHECK_INT((long long)n_left(&f, 'G'), 0);
	CHECK(is_whole(&f, &kept) && is_whole(&f, &next));
	/* A record that is there already: its texts stay where they were. */
	put(&f, &next, 1);
	put(&f, &gone, 1);
	CHECK(is_whole(&f, &kept) && is_whole(&f, &next) && is_whole(&f, &gone));
	CHECK_INT((long long)n_left(&f, 'N'), LONG);
	close_one(&f);
}

TEST(short_ones_stand_side_by_side_and_what_was_erased_between_them_stays_so)
{
	static const struct retention_who who = {.actor = S("op"), .reason = S("why"), .now_us = T0 + 1};
	const struct retention_erasure texts = {.caller = S("b"), .texts_only = true};
	struct retention_removed n = {0};
	struct log_record r[20];
	struct stat st = {0};
	struct fixture f;
	char path[200];

	open_one(&f);
	for (size_t i = 0; i < COUNT_OF(r); i++) {
		r[i] = record(&f, (char)('A' + i), 2300);
		r[i].caller = i == 3 ? S("b") : S("a");
		if (i == 5)
			CHECK_INT(store_retention_erase(f.db, &who, &texts, 100, &n, &f.err), 0);
		put(&f, &r[i], 1);
	}
	for (size_t i = 0; i < COUNT_OF(r); i++) {
		CHECK_INT((long long)n_left(&f, (char)('A' + i)), i == 3 ? 0 : 2300);
		CHECK(i == 3 || is_whole(&f, &r[i]));
	}
	CHECK_INT((long long)files(&f, path), 1);
	CHECK(!stat(path, &st) && st.st_size == 49152); /* 20 times 2309 bytes, in blocks */
	close_one(&f);
}

/* In parts, as the shipper does it. */
static int insert_batch(struct fixture *f, const struct log_record *list, size_t n, size_t n_at_once, size_t *ret_n)
{
	size_t n_inserted = 0;
	int rc = store_log_begin(f->db, f->w, &f->err);

	for (size_t at = 0; at < n && !rc; at += n_at_once) {
		rc = store_log_insert_many(f->db, f->w, &list[at], n_at_once, &n_inserted, &f->err);
		*ret_n += n_inserted;
	}
	return rc;
}

TEST(a_batch_is_whole_after_its_commit_and_nothing_after_its_rollback)
{
	enum { N = 32, TIMES = 4 };
	struct log_record *r = calloc((size_t)N * TIMES, sizeof(*r)), next;
	struct fixture f;
	size_t n = 0;

	CHECK(r != NULL);
	open_one(&f);
	for (size_t i = 0; r && i < (size_t)N * TIMES; i++) /* more than go to the file at once */
		r[i] = record(&f, (char)('a' + i % 26), i % 5 ? 100 + 100 * (i % N) : LONG);
	for (int round = 0; round < 3; round++) {
		CHECK_INT(insert_batch(&f, r, (size_t)N * (TIMES - 1), N, &n), 0);
		store_log_rollback(f.db, f.w);
		CHECK_INT(number(&f, "select count(*) from model_historical_logs"), 0);
	}
	for (int round = 0; round < 2; round++) { /* the second time they are there already */
		n = 0;
		CHECK_INT(insert_batch(&f, r, (size_t)N * TIMES, N, &n), 0);
		CHECK_INT(store_log_commit(f.db, f.w, &f.err), 0);
		CHECK_INT((long long)n, round ? 0 : (long long)N * TIMES);
		next = record(&f, 'N', LONG);
		put(&f, &next, 1);
		CHECK(is_whole(&f, &next));
		for (size_t i = 0; i < (size_t)N * TIMES; i++)
			CHECK(is_whole(&f, &r[i]));
	}
	/* Of many, short ones too stand beside their rows; not the shortest, and not a single one. */
	CHECK_INT(number(&f, "select count(*) from model_historical_logs where texts is null"),
		  number(&f, "select count(*) from model_historical_logs where prompt_tokens <= 500"));
	next = record(&f, 'S', 1000);
	n = 0;
	CHECK_INT(insert_batch(&f, &next, 1, 1, &n), 0);
	CHECK_INT(store_log_commit(f.db, f.w, &f.err), 0);
	CHECK(is_whole(&f, &next) && n_left(&f, 'S') == 0);
	free(r);
	close_one(&f);
}

TEST(two_writers_take_turns_without_harm)
{
	struct log_record r[12];
	struct log_writer *other = log_writer_new();
	struct fixture f;

	open_one(&f);
	for (size_t i = 0; i < COUNT_OF(r); i++) {
		r[i] = record(&f, (char)('A' + i), i % 2 ? LONG + i * 1000 : 2100);
		CHECK_INT(insert(&f, f.db, i % 3 ? f.w : other, &r[i], 1), 0);
	}
	for (size_t i = 0; i < COUNT_OF(r); i++)
		CHECK(is_whole(&f, &r[i]));
	log_writer_free(other);
	close_one(&f);
}

TEST(a_file_that_is_full_gets_a_successor)
{
	struct log_record first, second;
	struct fixture f;
	char path[200];

	open_one(&f);
	first = record(&f, 'x', LONG);
	second = record(&f, 'y', LONG);
	put(&f, &first, 1);
	run_sql(&f, "update model_historical_logs set texts = replace(texts, '.00000000.', '.04000000.')");
	put(&f, &second, 1);
	CHECK_INT((long long)files(&f, path), 2);
	CHECK(strstr(path, "00000002.txt") != NULL);
	CHECK(is_whole(&f, &second));
	CHECK(strstr(get(&f, &first).content_error.p, "shorter than it was") != NULL);
	close_one(&f);
}

TEST(texts_that_are_lost_or_damaged_are_told_of_and_the_record_stays)
{
	struct log_record r, back;
	struct fixture f;
	char path[200];
	int fd;

	open_one(&f);
	r = record(&f, 'x', LONG);
	put(&f, &r, 1);
	CHECK_INT((long long)files(&f, path), 1);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK_INT(pwrite(fd, "?", 1, 777), 1);
	back = get(&f, &r);
	CHECK(back.content_error.p && strstr(back.content_error.p, "not what was written") && !back.prompt.p);
	CHECK(back.content_error.p && strstr(back.content_error.p, path));
	CHECK_INT(back.prompt_tokens, LONG);
	CHECK_INT(pwrite(fd, "x", 1, 777), 1);
	CHECK(is_whole(&f, &r));
	CHECK_INT(ftruncate(fd, 100), 0);
	(void)close(fd);
	back = get(&f, &r);
	CHECK(back.content_error.p && strstr(back.content_error.p, "shorter than it was"));
	CHECK_INT(unlink(path), 0);
	back = get(&f, &r);
	CHECK(back.content_error.p && strstr(back.content_error.p, "No such file"));
	for (size_t i = 0; i < 4; i++) {
		static const char *const bad[] = {"''", "'00000001.00000000.00000000.1.1'", "'x'",
						  "'00000000.00000000.00000000.1.1.1'"};
		char sql[100];

		(void)snprintf(sql, sizeof(sql), "update model_historical_logs set texts = %s", bad[i]);
		run_sql(&f, sql);
		back = get(&f, &r);
		CHECK(back.content_error.p && strstr(back.content_error.p, "cannot be read"));
	}
	close_one(&f);
}

TEST(removed_texts_are_not_in_the_files_any_more)
{
	static const struct retention_who who = {.actor = S("op"), .reason = S("why"), .now_us = T0 + 1};
	const struct retention_erasure texts = {.caller = S("b"), .texts_only = true}, rows = {.caller = S("c")};
	struct retention_removed n = {0};
	struct log_record r[9], back;
	struct fixture f;

	open_one(&f);
	for (size_t i = 0; i < COUNT_OF(r); i++) {
		r[i] = record(&f, (char)('A' + i), LONG + 7 * i);
		r[i].caller = i == 2 || i == 3 || i == 6 ? S("b") : i == 5 ? S("c") : S("a");
	}
	put(&f, r, COUNT_OF(r));
	CHECK_INT(store_retention_erase(f.db, &who, &texts, 100, &n, &f.err), 0);
	CHECK_INT(n.records, 3);
	CHECK_INT(store_retention_erase(f.db, &who, &rows, 100, &n, &f.err), 0);
	CHECK_INT(n.records, 1);
	for (size_t i = 0; i < COUNT_OF(r); i++) {
		bool gone = i == 2 || i == 3 || i == 5 || i == 6;

		CHECK_INT((long long)n_left(&f, (char)('A' + i)), gone ? 0 : (long long)(LONG + 7 * i));
		if (!gone)
			CHECK(is_whole(&f, &r[i]));
	}
	back = get(&f, &r[2]);
	CHECK(!back.prompt.p && !back.content_error.p && back.content_removed_us == T0 + 1);
	CHECK(texts_bytes(f.db) > 0);
	/* The last one that is referred to may be gone too: the next goes where it stood. */
	CHECK_INT(store_retention_drop_texts(f.db, &who, T0 + 1000000, 100, &n, &f.err), 0);
	CHECK_INT(n.records, 5);
	CHECK_INT((long long)files(&f, NULL), 0);
	CHECK_INT(texts_bytes(f.db), 0);
	r[0] = record(&f, 'z', LONG);
	put(&f, &r[0], 1);
	CHECK(is_whole(&f, &r[0]));
	/* Rows that go take their texts along. */
	CHECK_INT(store_retention_drop_rows(f.db, &who, T0 + 1000000, 100, &n, &f.err), 0);
	CHECK_INT(n.records, 9);
	CHECK_INT((long long)files(&f, NULL), 0);
	close_one(&f);
}

TEST(a_sweep_leaves_what_rows_refer_to_and_a_missing_file_stops_no_removal)
{
	static const struct retention_who who = {.actor = S("op"), .reason = S("why"), .now_us = T0 + 1};
	struct retention_removed n = {0};
	struct log_record r[2];
	struct fixture f;
	char path[200];

	open_one(&f);
	for (size_t i = 0; i < COUNT_OF(r); i++)
		r[i] = record(&f, 'x', LONG);
	put(&f, r, COUNT_OF(r));
	CHECK_INT(texts_sweep(f.db, &f.err), 0);
	CHECK(is_whole(&f, &r[0]) && is_whole(&f, &r[1]));
	CHECK_INT((long long)files(&f, path), 1);
	CHECK_INT(unlink(path), 0);
	CHECK_INT(store_retention_drop_rows(f.db, &who, T0 + 1000000, 100, &n, &f.err), 0);
	CHECK_INT(n.records, 2);
	close_one(&f);
}

TEST(a_folder_that_cannot_be_had_is_named_and_nothing_is_inserted)
{
	struct log_record r;
	struct fixture f;
	int fd;

	open_one(&f);
	r = record(&f, 'x', LONG);
	fd = open(f.dir, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); /* a file where the folder should be */
	CHECK(fd >= 0);
	(void)close(fd);
	CHECK_INT(insert(&f, f.db, f.w, &r, 1), E_IO);
	CHECK(strstr(f.err.text, f.dir) != NULL);
	CHECK_INT(number(&f, "select count(*) from model_historical_logs"), 0);
	CHECK_INT(unlink(f.dir), 0);
	put(&f, &r, 1);
	CHECK(is_whole(&f, &r));
	close_one(&f);
}

TEST(whatever_call_fails_the_texts_are_there_once_the_batch_went_through)
{
	bool failed = true;

	for (int at = 1; failed && at < 100; at++) {
		struct log_record r[3];
		struct fixture f;
		struct db *db = NULL;
		char url[200];

		open_one(&f);
		for (size_t i = 0; i < COUNT_OF(r); i++)
			r[i] = record(&f, (char)('A' + i), LONG);
		(void)snprintf(url, sizeof(url), "fault:%d:%s", at, f.place.url);
		CHECK_INT(db_open(url, &db, &f.err), 0);
		failed = insert(&f, db, f.w, r, 2) != 0;
		if (failed)
			CHECK_INT(insert(&f, db, f.w, r, 2), 0);
		put(&f, &r[2], 1);
		for (size_t i = 0; i < COUNT_OF(r); i++)
			CHECK(is_whole(&f, &r[i]));
		db_close(db);
		close_one(&f);
	}
	CHECK(!failed);
}
