/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What retention removes, what it leaves, and that no failure in between makes it repeat or hide anything: over every
 * backend.  Time is a parameter: records are made with old ids, as if they had come then.
 */
#include "control/history/retention.h"
#include "control/store/entities.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/base/clock.h"
#include "pg_cluster.h"
#include "store_fixture.h"

#define S(x) SLICE_LIT(x)
#define DAY RETENTION_DAY_US
#define NOW (20000 * DAY + 5 * 3600 * INT64_C(1000000)) /* 2024-10-04T05:00Z */

static const char *const backends[] = {
	"sqlite:%s",
	"sqlite::memory:",
	"postgres://muster@%P/postgres",
	"postgres://muster@%P/postgres?prepare=off",
	"postgres://muster@%B/postgres",
};

struct fixture {
	struct place place;
	char url[256];
	struct db *db;
	struct arena a;
	struct uuid_gen ids;
	struct err err;
	bool partitioned;
};

static bool open_at(struct fixture *f, const char *format)
{
	*f = (struct fixture){.db = NULL};
	place_make(&f->place);
	if (!backend_url(format, f->place.file, f->url, sizeof(f->url))) {
		place_remove(&f->place);
		return false;
	}
	f->db = place_open(f->url);
	f->partitioned = !strcmp(f->db->dialect, "postgres");
	arena_init(&f->a, 16384, (size_t)64 << 20);
	for (int64_t day = -10; day <= 0; day++) /* as if it had run since then */
		CHECK_INT(store_partitions_ensure(f->db, NOW + day * DAY, 0, &f->err), 0);
	return true;
}

static void close_at(struct fixture *f)
{
	db_close(f->db);
	arena_release(&f->a);
	place_remove(&f->place);
}

#define EACH_BACKEND(f)                                    \
	for (size_t b_ = 0; b_ < COUNT_OF(backends); b_++) \
		for (bool there_ = open_at(&(f), backends[b_]); there_; there_ = false, close_at(&(f)))

static struct log_record add_at(struct fixture *f, int64_t came_us, int64_t created_us, const char *caller)
{
	struct uuid_gen ids;
	struct log_record r = {.created_us = created_us,
			       .use_case = S("u"),
			       .model_id = S("m"),
			       .caller = slice_from(caller),
			       .prompt = S("a prompt"),
			       .output = S("an answer"),
			       .context = S("{}"),
			       .tool_calls = S("[]"),
			       .prompt_tokens = 3,
			       .completion_tokens = 4,
			       .latency_us = 5,
			       .n_violations = 1};

	uuid_gen_init(&ids); /* each record its own: one generator never goes back */
	r.id = uuid_v7(&ids, came_us);
	r.violations[0] = (struct record_violation){.policy = S("default"),
						    .rule = S("pii.card"),
						    .category = S("pii"),
						    .action = GUARD_FLAG,
						    .severity = GUARD_LOW,
						    .side = GUARD_OUTPUT};
	CHECK_INT(store_log_insert(f->db, &r, NULL, &f->err), 0);
	return r;
}

static struct log_record add(struct fixture *f, int64_t days_ago)
{
	return add_at(f, NOW - days_ago * DAY, NOW - days_ago * DAY, "a");
}

static int64_t number(struct fixture *f, const char *sql)
{
	struct db_rows rows = {0};

	CHECK_INT(db_query(f->db, &f->a, sql, db_args(NULL, 0), &rows, &f->err), 0);
	return rows.n_rows ? db_cell(&rows, 0, 0)->i : -1;
}

static int64_t n_records(struct fixture *f)
{
	return number(f, "select count(*) from model_historical_logs");
}

static int64_t n_violations(struct fixture *f)
{
	return number(f, "select count(*) from guardrails_violations");
}

static const struct retention_who who = {.actor = SLICE_LIT("tester"), .reason = SLICE_LIT("a test"), .now_us = NOW};

/* All steps until there is nothing more; returns how many records went. */
static int64_t drop_records(struct fixture *f, int64_t before_us, size_t limit)
{
	struct retention_removed n = {.more = true};
	int64_t total = 0;

	while (n.more) {
		CHECK_INT(store_retention_drop_day(f->db, &who, before_us, &n, &f->err), 0);
		total += n.records;
	}
	for (n.more = true; n.more;) {
		CHECK_INT(store_retention_drop_rows(f->db, &who, before_us, limit, &n, &f->err), 0);
		total += n.records;
	}
	for (n.more = true; n.more;)
		CHECK_INT(store_retention_drop_violations(f->db, &who, before_us, limit, &n, &f->err), 0);
	return total;
}

static struct registry_event *events(struct fixture *f, size_t *ret_n)
{
	const struct event_filter of = {.kind = S("history.dropped")};
	struct registry_event *list = NULL;

	*ret_n = 0;
	CHECK_INT(store_event_list(f->db, &f->a, &of, &list, ret_n, &f->err), 0);
	return list;
}

TEST(records_past_their_retention_go_and_the_others_stay)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		for (int64_t day = 7; day >= 0; day--) {
			add(&f, day);
			add(&f, day);
		}
		CHECK_INT(drop_records(&f, NOW - 5 * DAY + 3600 * INT64_C(1000000), 3), f.partitioned ? 4 : 6);
		/* The day that has not ended at that moment stays whole where days are dropped. */
		CHECK_INT(n_records(&f), f.partitioned ? 12 : 10);
		CHECK_INT(n_violations(&f), n_records(&f));
		CHECK_INT(drop_records(&f, NOW - 5 * DAY + 3600 * INT64_C(1000000), 3), 0);
	}
}

TEST(each_removal_is_an_event_with_period_and_counts)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct registry_event *list;
		size_t n;

		add(&f, 8);
		add(&f, 0);
		drop_records(&f, NOW - 3 * DAY, 100);
		CHECK_INT(store_retention_report(f.db, &who, &f.err), 0);
		CHECK_INT(store_retention_report(f.db, &who, &f.err), 0); /* nothing new: no event */
		list = events(&f, &n);
		CHECK(n > 0);
		for (size_t i = 0; i < n; i++) {
			CHECK(slice_eq_str(list[i].actor, "tester") && slice_eq_str(list[i].reason, "a test"));
			CHECK(slice_eq_str(list[i].subject, "model_historical_logs"));
		}
		/* PostgreSQL: one of each day that was dropped, and one of the violations. */
		CHECK_INT(n, f.partitioned ? 8 : 1);
		if (!f.partitioned)
			CHECK(slice_find(list[0].after,
					 S("\"records\":1,\"violations\":1,\"from\":\"2024-09-26T05:00:00")) >= 0);
	}
}

TEST(texts_go_alone_and_the_record_says_when)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct log_record old[5], young = {0}, back = {0}, bare = {.created_us = NOW - 9 * DAY};
		struct retention_removed n = {.more = true};
		char id[UUID_STR_SIZE];
		size_t n_steps = 0;

		bare.id = uuid_v7(&f.ids, NOW - 9 * DAY);
		CHECK_INT(store_log_insert(f.db, &bare, NULL, &f.err), 0);
		for (size_t i = 0; i < COUNT_OF(old); i++)
			old[i] = add(&f, 9 - (int64_t)i);
		young = add(&f, 0);
		for (; n.more; n_steps++)
			CHECK_INT(store_retention_drop_texts(f.db, &who, NOW - 4 * DAY, 2, &n, &f.err), 0);
		CHECK_INT(n_steps, 4);
		for (size_t i = 0; i < COUNT_OF(old); i++) {
			CHECK_INT(store_log_get(f.db, &f.a, slice_from(uuid_format(&old[i].id, id)), &back, &f.err), 0);
			CHECK(!back.prompt.p && !back.output.p && !back.context.p && !back.tool_calls.p);
			CHECK_INT(back.content_removed_us, NOW);
			CHECK_INT(back.prompt_tokens, 3);
			CHECK_INT(back.n_violations, 1);
		}
		CHECK_INT(store_log_get(f.db, &f.a, slice_from(uuid_format(&young.id, id)), &back, &f.err), 0);
		CHECK(slice_eq_str(back.prompt, "a prompt"));
		CHECK_INT(back.content_removed_us, 0);
		CHECK_INT(store_log_get(f.db, &f.a, slice_from(uuid_format(&bare.id, id)), &back, &f.err), 0);
		CHECK_INT(back.content_removed_us, 0); /* it had none */
		/* What comes late has its turn too. */
		old[0] = add_at(&f, NOW - 3 * DAY, NOW - 9 * DAY, "a");
		CHECK_INT(store_retention_drop_texts(f.db, &who, NOW, 100, &n, &f.err), 0);
		CHECK_INT(n.records, 0); /* it waits behind one that is young */
		CHECK_INT(store_retention_drop_texts(f.db, &who, NOW + DAY, 100, &n, &f.err), 0);
		CHECK_INT(n.records, 2);
	}
}

TEST(a_latecomer_for_a_day_that_is_gone_is_kept_as_long_as_what_it_came_with)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct log_record late = {0}, back = {0};
		char id[UUID_STR_SIZE];

		add(&f, 9);
		add(&f, 1);
		drop_records(&f, NOW - 5 * DAY, 100);
		late = add_at(&f, NOW, NOW - 9 * DAY, "a");
		CHECK_INT(drop_records(&f, NOW - 5 * DAY, 100), 0);
		CHECK_INT(store_log_get(f.db, &f.a, slice_from(uuid_format(&late.id, id)), &back, &f.err), 0);
		CHECK_INT(back.n_violations, 1);
		add(&f, 0);
		/* Days later it goes, with its violations. */
		CHECK_INT(store_partitions_ensure(f.db, NOW + 6 * DAY, 0, &f.err), 0);
		add(&f, -6);
		drop_records(&f, NOW + DAY, 100);
		CHECK_INT(store_log_get(f.db, &f.a, slice_from(uuid_format(&late.id, id)), &back, &f.err), E_NOTFOUND);
		CHECK_INT(n_records(&f), 1);
		CHECK_INT(n_violations(&f), 1);
	}
}

TEST(what_is_young_is_never_removed_whatever_stands_behind_it)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct retention_removed n;

		add_at(&f, NOW, NOW, "a");
		add_at(&f, NOW - 9 * DAY, NOW - 9 * DAY, "a"); /* a daemon that was away ships it now */
		CHECK_INT(store_retention_drop_texts(f.db, &who, NOW - 5 * DAY, 100, &n, &f.err), 0);
		CHECK_INT(n.records, 0);
		CHECK_INT(number(&f, "select count(*) from model_historical_logs where content_removed_us is null"), 2);
	}
}

TEST(one_callers_records_or_texts_are_erased)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct retention_erasure e = {.caller = S("b"), .texts_only = true};
		struct retention_removed n = {0};
		int64_t total = 0;

		for (int64_t i = 0; i < 10; i++)
			add_at(&f, NOW - i * DAY, NOW - i * DAY, i % 2 ? "b" : "a");
		CHECK_INT(store_retention_erase(f.db, &who, &e, 100, &n, &f.err), 0);
		CHECK_INT(n.records, 5);
		CHECK_INT(number(&f, "select count(*) from model_historical_logs where prompt is null"), 5);
		e.texts_only = false;
		for (n.more = true; n.more; e.after_arrival = n.arrival) {
			CHECK_INT(store_retention_erase(f.db, &who, &e, 3, &n, &f.err), 0);
			total += n.records;
		}
		CHECK_INT(total, 5);
		CHECK_INT(number(&f, "select count(*) from model_historical_logs where caller = 'b'"), 0);
		CHECK_INT(n_records(&f), 5);
		CHECK_INT(n_violations(&f), 5);
	}
}

TEST(a_leader_whose_time_is_over_removes_nothing)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct lease lease = {.name = "rollout", .holder = uuid_v7_now()};
		struct retention_who stale = who;
		struct retention_removed n;
		struct uuid other = uuid_v7_now();

		add(&f, 9);
		CHECK_INT(store_lease_take(f.db, lease.name, &lease.holder, 0, &lease.epoch, &f.err), 0);
		CHECK_INT(store_lease_take(f.db, lease.name, &other, 1000000, &(int64_t){0}, &f.err), 0);
		stale.lease = &lease;
		if (f.partitioned)
			CHECK_INT(store_retention_drop_day(f.db, &stale, NOW, &n, &f.err), E_CONFLICT);
		CHECK_INT(store_retention_drop_rows(f.db, &stale, NOW, 10, &n, &f.err), E_CONFLICT);
		CHECK_INT(store_retention_drop_texts(f.db, &stale, NOW, 10, &n, &f.err), E_CONFLICT);
		CHECK_INT(store_retention_report(f.db, &stale, &f.err), E_CONFLICT);
		CHECK_INT(n_records(&f), 1);
		CHECK_INT(number(&f, "select count(*) from model_historical_logs where prompt is null"), 0);
	}
}

TEST(what_is_kept_can_be_asked)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct retention_facts facts = {0};
		struct retention_removed n;

		CHECK_INT(store_retention_inspect(f.db, NOW, &facts, &f.err), 0);
		CHECK_INT(facts.oldest_us, 0);
		CHECK_INT(facts.oldest_texts_us, 0);
		add(&f, 9);
		add(&f, 2);
		CHECK_INT(store_retention_drop_texts(f.db, &who, NOW - 4 * DAY, 100, &n, &f.err), 0);
		CHECK_INT(store_retention_inspect(f.db, NOW, &facts, &f.err), 0);
		CHECK_INT(facts.oldest_us, NOW - 9 * DAY);
		CHECK_INT(facts.oldest_texts_us, NOW - 2 * DAY);
		CHECK_INT(facts.n_days, f.partitioned ? 11 : 0);
		CHECK_INT(facts.oldest_day_us, f.partitioned ? NOW / DAY * DAY - 10 * DAY : 0);
		CHECK(facts.bytes > 0);
	}
}

/* --- failures --- */

/* Everything that retention does, on a connection that fails at call n.  True: nothing failed. */
static bool all_of_it(struct fixture *f, unsigned n)
{
	struct retention_erasure e = {.caller = S("b")};
	struct retention_removed r = {.more = true};
	struct err err = {0};
	struct db *db = NULL;
	char url[300];
	int rc;

	(void)snprintf(url, sizeof(url), "fault:%u:%s", n, f->url);
	rc = db_open(url, &db, &err);
	while (!rc && r.more)
		rc = store_retention_drop_day(db, &who, NOW - 5 * DAY, &r, &err);
	for (r.more = true; !rc && r.more;)
		rc = store_retention_drop_rows(db, &who, NOW - 5 * DAY, 2, &r, &err);
	for (r.more = true; !rc && r.more;)
		rc = store_retention_drop_violations(db, &who, NOW - 5 * DAY, 2, &r, &err);
	for (r.more = true; !rc && r.more;)
		rc = store_retention_drop_texts(db, &who, NOW - 2 * DAY, 2, &r, &err);
	if (!rc)
		rc = store_retention_erase(db, &who, &e, 100, &r, &err);
	if (!rc)
		rc = store_retention_report(db, &who, &err);
	if (rc)
		CHECK(err.code == rc && err.text[0]);
	db_close(db);
	return rc == 0;
}

TEST(after_the_failure_of_any_call_it_goes_on_where_it_was_and_tells_of_everything_once)
{
	static const char *const files[] = {"sqlite:%s", "postgres://muster@%P/postgres"};
	struct fixture f;

	for (size_t b = 0; b < COUNT_OF(files); b++) {
		struct registry_event *list;
		int64_t records = 0;
		unsigned fail_at = 1;
		size_t n;

		if (!open_at(&f, files[b]))
			continue;
		for (int64_t day = 9; day >= 0; day--)
			add_at(&f, NOW - day * DAY, NOW - day * DAY, day == 1 ? "b" : "a");
		while (!all_of_it(&f, fail_at) && fail_at < 500)
			fail_at++;
		CHECK(fail_at > 20 && fail_at < 500);
		CHECK_INT(n_records(&f), 5);
		CHECK_INT(number(&f, "select count(*) from model_historical_logs where content_removed_us is not null"),
			  3);
		list = events(&f, &n);
		for (size_t i = 0; i < n; i++) {
			ptrdiff_t at = slice_find(list[i].after, S("\"records\":"));
			struct slice rest = slice_sub(list[i].after, (size_t)at + 10, list[i].after.n);
			int64_t one = 0;

			if (slice_find(list[i].after, S("\"what\":\"records\"")) < 0)
				continue;
			CHECK_INT(slice_to_i64(slice_sub(rest, 0, (size_t)slice_chr(rest, ',')), &one), 0);
			records += one;
		}
		CHECK_INT(records, 10 - n_records(&f));
		close_at(&f);
	}
}

/* --- beside those who write --- */

struct writing {
	const char *url;
	atomic_bool stop;
	int64_t n, slowest_us;
};

static void *write_on(void *arg)
{
	struct log_writer *w = log_writer_new();
	struct log_record list[32];
	struct writing *k = arg;
	struct uuid_gen ids;
	struct db *db = NULL;
	struct err err = {0};

	uuid_gen_init(&ids);
	CHECK_INT(db_open(k->url, &db, &err), 0);
	while (!k->stop) {
		int64_t began_us = clock_mono_us(), took_us;
		size_t n = 0;

		for (size_t i = 0; i < COUNT_OF(list); i++)
			list[i] = (struct log_record){.id = uuid_v7(&ids, NOW),
						      .created_us = NOW - (int64_t)(i % 10) * DAY,
						      .model_id = S("m")};
		CHECK_INT(db_begin_append(db, &err), 0);
		CHECK_INT(store_log_insert_many(db, w, list, COUNT_OF(list), &n, &err), 0);
		CHECK_INT(db_commit(db, &err), 0);
		took_us = clock_mono_us() - began_us;
		k->slowest_us = took_us > k->slowest_us ? took_us : k->slowest_us;
		k->n += (int64_t)n;
	}
	db_close(db);
	log_writer_free(w);
	return NULL;
}

TEST(days_are_dropped_while_others_write_into_them_and_nothing_fails)
{
	struct writing k = {.url = NULL};
	struct retention_removed n;
	int64_t dropped = 0, until_us;
	pthread_t thread;
	struct fixture f;

	if (!open_at(&f, "postgres://muster@%P/postgres"))
		return;
	k.url = f.url;
	CHECK_INT(pthread_create(&thread, NULL, write_on, &k), 0);
	for (int64_t day = 9; day > 1; day--) {
		int rc;

		while ((rc = store_retention_drop_day(f.db, &who, NOW - day * DAY, &n, &f.err)) == E_BUSY)
			; /* a writer had it for long, under load */
		CHECK_INT(rc, 0);
		dropped += n.to_us != 0;
	}
	/* However late the other begins. */
	until_us = clock_mono_us() + 20 * INT64_C(1000000);
	while (!number(&f, "select count(*) from model_historical_logs_default") && clock_mono_us() < until_us)
		;
	k.stop = true;
	CHECK_INT(pthread_join(thread, NULL), 0);
	CHECK_INT(dropped, 8);
	CHECK(k.n > 0 && k.slowest_us < 20 * INT64_C(1000000));
	/* What came for days that are gone is there. */
	CHECK(number(&f, "select count(*) from model_historical_logs_default") > 0);
	close_at(&f);
}

TEST(a_table_that_is_held_makes_it_give_up_within_a_moment)
{
	struct retention_removed n;
	struct db *other = NULL;
	struct fixture f;

	if (!open_at(&f, "postgres://muster@%P/postgres"))
		return;
	CHECK_INT(db_open(f.url, &other, &f.err), 0);
	CHECK_INT(db_begin_append(other, &f.err), 0);
	CHECK_INT(
		db_exec(other, "lock table model_historical_logs in access share mode", db_args(NULL, 0), NULL, &f.err),
		0);
	CHECK_INT(store_retention_drop_day(f.db, &who, NOW - 5 * DAY, &n, &f.err), E_BUSY);
	db_rollback(other);
	CHECK_INT(store_retention_drop_day(f.db, &who, NOW - 5 * DAY, &n, &f.err), 0);
	CHECK(n.to_us != 0 && n.more);
	db_close(other);
	close_at(&f);
}

TEST(a_partition_that_is_not_ours_is_left_alone)
{
	struct retention_removed n = {.more = true};
	struct fixture f;

	if (!open_at(&f, "postgres://muster@%P/postgres"))
		return;
	CHECK_INT(db_script(f.db,
			    "create table model_historical_logs_19990101 partition of model_historical_logs for values "
			    "from (1) to (5)",
			    &f.err),
		  0);
	while (n.more)
		CHECK_INT(store_retention_drop_day(f.db, &who, NOW, &n, &f.err), 0);
	CHECK_INT(number(&f, "select count(*) from pg_class where relname = 'model_historical_logs_19990101'"), 1);
	CHECK_INT(number(&f, "select count(*) from pg_class where relname = 'model_historical_logs_20241003'"), 0);
	CHECK_INT(number(&f, "select count(*) from pg_class where relname = 'model_historical_logs_20241004'"), 1);
	close_at(&f);
}

/* --- runs --- */

TEST(a_run_goes_by_its_rule_and_says_how_it_went)
{
	struct fixture f;

	for (size_t b = 0; b < COUNT_OF(backends); b += 2) { /* those that several connections see */
		int64_t now_us = clock_wall_us();
		struct retention_rule rule = {5 * DAY, DAY};
		struct retention_status s;
		struct store *store = NULL;
		struct retention *r;
		bool more = true;

		if (b == 2 ? !open_at(&f, "postgres://muster@%P/postgres") : b > 2 || !open_at(&f, backends[b]))
			continue;
		add_at(&f, now_us - 9 * DAY, now_us - 9 * DAY, "a");
		add_at(&f, now_us - 2 * DAY, now_us - 2 * DAY, "a");
		add_at(&f, now_us, now_us, "a");
		CHECK_INT(store_new(f.url, &store, &f.err), 0);
		r = retention_new(store);
		CHECK_INT(retention_run(r, NULL, &more, &f.err), 0); /* for ever: nothing */
		CHECK_INT(n_records(&f), 3);
		retention_set(r, &rule);
		for (more = true; more;)
			CHECK_INT(retention_run(r, NULL, &more, &f.err), 0);
		CHECK_INT(n_records(&f), 2);
		CHECK_INT(number(&f, "select count(*) from model_historical_logs where prompt is null"), 1);
		retention_status(r, &s);
		CHECK(s.records == 1 && s.texts == 1 && s.runs >= 1 && !s.failures && s.last_run_us >= now_us);
		retention_stop(r);
		CHECK_INT(retention_run(r, NULL, &more, &f.err), 0);
		retention_free(r);
		store_free(store);
		close_at(&f);
	}
}

TEST(an_operator_purges_what_is_older_or_a_callers)
{
	struct fixture f;

	if (!open_at(&f, "sqlite:%s"))
		return;
	struct store *store = NULL;
	struct retention_purge p = {.actor = S("ann"), .reason = S("asked to")};
	struct retention_removed n;
	struct registry_event *list;
	size_t n_events;
	struct retention *r;

	for (int64_t day = 9; day >= 0; day--)
		add_at(&f, NOW - day * DAY, NOW - day * DAY, day % 2 ? "b" : "a");
	CHECK_INT(store_new(f.url, &store, &f.err), 0);
	r = retention_new(store);
	p.before_us = NOW - 7 * DAY - 1;
	CHECK_INT(retention_purge(r, &p, &n, &f.err), 0);
	CHECK(n.records == 2 && n.violations == 2 && !n.more);
	p.texts_only = true;
	p.before_us = NOW - 5 * DAY - 1;
	CHECK_INT(retention_purge(r, &p, &n, &f.err), 0);
	CHECK_INT(n.records, 2);
	p = (struct retention_purge){.caller = S("b"), .actor = S("ann"), .reason = S("asked to")};
	CHECK_INT(retention_purge(r, &p, &n, &f.err), 0);
	CHECK_INT(n.records, 4);
	CHECK_INT(n_records(&f), 4);
	list = events(&f, &n_events);
	CHECK_INT(n_events, 3);
	for (size_t i = 0; i < n_events; i++)
		CHECK(slice_eq_str(list[i].actor, "ann") && slice_eq_str(list[i].reason, "asked to"));
	retention_free(r);
	store_free(store);
	close_at(&f);
}
