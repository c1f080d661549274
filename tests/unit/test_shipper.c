/* SPDX-License-Identifier: Apache-2.0 */
/* From the spool into a real SQLite: all of it, once, in whatever way the database fails on the way. */
#include "control/history/shipper.h"

#include <pthread.h>
#include <signal.h>

#include "control/store/entities.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "tests/t.h"
#include "tests/unit/spool_fixture.h"

#define LIMIT_MS 60000

struct ship {
	struct fixture f;
	char path[100], url[160];
	struct db *db; /* to look at it from outside */
	struct store *store;
	struct shipper *shipper;
};

static const struct shipper_options quick = {.batch_records = 8, .linger_ms = 1, .retry_min_ms = 1, .retry_max_ms = 4};

static const struct shipper_options large = {.linger_ms = 1, .retry_min_ms = 1, .retry_max_ms = 4};

static void ship_init(struct ship *s, const char *url_prefix, bool migrated)
{
	log_setup(LOG_OFF, false);
	memset(s, 0, sizeof(*s));
	fixture_init(&s->f);
	snprintf(s->path, sizeof(s->path), "%s/muster.db", s->f.dir);
	snprintf(s->url, sizeof(s->url), "sqlite:%s", s->path);
	CHECK_INT(db_open(s->url, &s->db, &s->f.err), 0);
	if (migrated)
		CHECK_INT(migrate_run(s->db, &(int){0}, &s->f.err), 0);
	snprintf(s->url, sizeof(s->url), "%ssqlite:%s", url_prefix, s->path);
	CHECK_INT(store_new(s->url, &s->store, &s->f.err), 0);
	CHECK_INT(fixture_open(&s->f, 2, 0), 0);
}

static void ship_start(struct ship *s, const struct shipper_options *o)
{
	CHECK_INT(shipper_start(s->f.spool, s->store, o, &s->shipper, &s->f.err), 0);
}

static void ship_release(struct ship *s)
{
	CHECK_INT(shipper_stop(s->shipper, 1000), 0);
	store_free(s->store);
	db_close(s->db);
	fixture_release(&s->f);
}

static int64_t row_count(struct ship *s)
{
	int64_t n = -1;

	CHECK_INT(store_log_count(s->db, &n, NULL), 0);
	return n;
}

static void append(struct ship *s, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		struct log_record r = fixture_record(i % 2, i);

		CHECK_INT(spool_append(s->f.spool, i % 2, &r), 0);
	}
}

TEST(what_was_appended_is_in_the_database_after_a_flush)
{
	struct ship s;

	ship_init(&s, "", true);
	ship_start(&s, &quick);
	append(&s, 0, 100);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(row_count(&s), 100);
	append(&s, 100, 101);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(row_count(&s), 101);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0); /* with nothing to do */
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->records), 101);
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->duplicates), 0);
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->failures), 0);
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->lag_us), 0);
	CHECK_INT(counter_get(&spool_stats(s.f.spool)->shipped), 101);
	CHECK_INT(counter_get(&spool_stats(s.f.spool)->pending_bytes), 0);
	ship_release(&s);
}

TEST(a_record_arrives_without_a_flush)
{
	struct ship s;

	ship_init(&s, "", true);
	ship_start(&s, &quick);
	append(&s, 0, 1);
	for (int64_t until_ms = clock_mono_ms() + LIMIT_MS; row_count(&s) == 0 && clock_mono_ms() < until_ms;)
		;
	CHECK_INT(row_count(&s), 1);
	ship_release(&s);
}

TEST(a_batch_is_full_at_its_bytes_too)
{
	static char text[900 << 10];
	struct ship s;

	memset(text, 'x', sizeof(text));
	ship_init(&s, "", true);
	for (uint64_t i = 0; i < 23; i++) {
		struct log_record r = fixture_record(0, i);

		r.output = (struct slice){text, i < 22 ? sizeof(text) : 1};
		CHECK_INT(spool_append(s.f.spool, 0, &r), 0);
		CHECK_INT(spool_prepare(s.f.spool, &s.f.err), 0);
	}
	ship_start(&s, &large);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(row_count(&s), 23);
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->batches), 3); /* of 10, 10 and 3 */
	ship_release(&s);
}

TEST(stopping_ships_what_is_left)
{
	struct ship s;

	ship_init(&s, "", true);
	append(&s, 0, 1000);
	ship_start(&s, &quick);
	CHECK_INT(shipper_stop(s.shipper, LIMIT_MS), 0);
	s.shipper = NULL;
	CHECK_INT(row_count(&s), 1000);
	ship_release(&s);
}

TEST(an_earlier_runs_records_are_shipped_and_repeated_ones_ignored)
{
	struct ship s;
	char ack[100];

	ship_init(&s, "", true);
	append(&s, 0, 20);
	ship_start(&s, &quick);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(shipper_stop(s.shipper, LIMIT_MS), 0);
	s.shipper = NULL;
	append(&s, 20, 30);
	fixture_close(&s.f);
	snprintf(ack, sizeof(ack), "%s/ack", s.f.dir);
	CHECK_INT(unlink(ack), 0);
	CHECK_INT(fixture_open(&s.f, 1, 0), 0);
	ship_start(&s, &quick);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(row_count(&s), 30);
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->records), 30);
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->duplicates), 20);
	ship_release(&s);
}

TEST(whatever_call_of_the_database_fails_every_record_is_there_once)
{
	for (unsigned n = 1; n <= 40; n++) {
		struct ship s;
		char prefix[32];

		snprintf(prefix, sizeof(prefix), "fault:%u:", n);
		ship_init(&s, prefix, true);
		append(&s, 0, 20);
		ship_start(&s, &quick);
		CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
		append(&s, 20, 40);
		CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
		CHECK_INT(row_count(&s), 40);
		CHECK_INT(counter_get(&shipper_stats(s.shipper)->records), 40);
		CHECK_INT(counter_get(&shipper_stats(s.shipper)->rejected), 0);
		CHECK(counter_get(&shipper_stats(s.shipper)->failures) <= 1);
		CHECK_INT(counter_get(&shipper_stats(s.shipper)->last_error_us), 0);
		ship_release(&s);
	}
}

TEST(without_a_usable_database_records_wait_and_the_failure_is_told)
{
	struct ship s;
	char text[200] = "";

	ship_init(&s, "", false); /* no tables yet */
	append(&s, 0, 50);
	ship_start(&s, &quick);
	CHECK_INT(shipper_flush(s.shipper, 50), E_TIMEOUT);
	shipper_last_error(s.shipper, text, sizeof(text));
	CHECK(strstr(text, "model_historical_logs"));
	CHECK(counter_get(&shipper_stats(s.shipper)->failures) > 0);
	CHECK(counter_get(&shipper_stats(s.shipper)->lag_us) > 0);
	CHECK(counter_get(&shipper_stats(s.shipper)->last_error_us) > 0);
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->rejected), 0);
	CHECK_INT(migrate_run(s.db, &(int){0}, &s.f.err), 0);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(row_count(&s), 50);
	shipper_last_error(s.shipper, text, sizeof(text));
	CHECK_STR(text, "");
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->lag_us), 0);
	ship_release(&s);
}

TEST(stopping_without_a_database_keeps_the_records)
{
	struct ship s;

	ship_init(&s, "", false);
	append(&s, 0, 50);
	ship_start(&s, &quick);
	CHECK_INT(shipper_stop(s.shipper, 30), E_TIMEOUT);
	s.shipper = NULL;
	CHECK_INT(migrate_run(s.db, &(int){0}, &s.f.err), 0);
	fixture_close(&s.f);
	CHECK_INT(fixture_open(&s.f, 2, 0), 0);
	ship_start(&s, &quick);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(row_count(&s), 50);
	ship_release(&s);
}

TEST(segments_are_prepared_while_the_database_is_away)
{
	struct ship s;

	ship_init(&s, "", false);
	ship_start(&s, &large);
	for (uint64_t i = 0; i < 40000;) { /* about 8 segments; a record that finds no room yet comes again */
		if (fixture_append(&s.f, 0, i) == 0)
			i++;
	}
	CHECK_INT(migrate_run(s.db, &(int){0}, &s.f.err), 0);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(row_count(&s), 40000);
	ship_release(&s);
}

TEST(a_full_spool_is_told_and_takes_records_again_once_the_database_does)
{
	int64_t until_ms = clock_mono_ms() + LIMIT_MS;
	char text[200] = "";
	struct ship s;
	int rc;

	ship_init(&s, "", false);
	fixture_close(&s.f);
	CHECK_INT(fixture_open(&s.f, 1, 3 * FIXTURE_MIB), 0);
	ship_start(&s, &large);
	for (uint64_t i = 0; !strstr(text, "is full") && clock_mono_ms() < until_ms; i++) {
		(void)fixture_append(&s.f, 0, i); /* the last ones are lost, and counted */
		if (i % 100 == 0)
			shipper_last_error(s.shipper, text, sizeof(text));
	}
	CHECK(strstr(text, "is full"));
	CHECK_INT(migrate_run(s.db, &(int){0}, &s.f.err), 0);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(row_count(&s), (long long)counter_get(&spool_stats(s.f.spool)->records));
	do
		rc = fixture_append(&s.f, 0, 1000000);
	while (rc < 0 && clock_mono_ms() < until_ms);
	CHECK_INT(rc, 0);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(row_count(&s), (long long)counter_get(&spool_stats(s.f.spool)->records));
	ship_release(&s);
}

static size_t count_lines(const char *path, const char *needle)
{
	FILE *f = fopen(path, "r");
	char line[4096];
	size_t n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, needle) != NULL;
	if (f)
		fclose(f);
	return n;
}

TEST(a_record_that_the_database_refuses_is_set_aside_and_holds_nobody_up)
{
	static const char trigger[] = "create trigger picky before insert on model_historical_logs "
				      "when new.prompt_tokens % 10 = 3 begin select raise(abort, 'no threes'); end";
	struct ship s;
	char path[100];

	ship_init(&s, "", true);
	CHECK_INT(s.db->ops->script(s.db, trigger, &s.f.err), 0);
	append(&s, 0, 40);
	ship_start(&s, &quick);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(row_count(&s), 36);
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->records), 36);
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->rejected), 4);
	snprintf(path, sizeof(path), "%s/rejected.ndjson", s.f.dir);
	CHECK_INT((long long)count_lines(path, "no threes"), 4);
	CHECK_INT((long long)count_lines(path, "Once upon a time"), 4);
	CHECK_INT(counter_get(&spool_stats(s.f.spool)->pending_bytes), 0);
	CHECK_INT(truncate(path, SHIPPER_REJECTED_MAX), 0); /* at its limit it stays as it is */
	append(&s, 43, 44);
	CHECK_INT(shipper_flush(s.shipper, LIMIT_MS), 0);
	CHECK_INT(counter_get(&shipper_stats(s.shipper)->rejected), 5);
	CHECK_INT((long long)count_lines(path, "no threes"), 4);
	ship_release(&s);
}

/* --- threads --- */

#define N_EACH 3000

static struct ship shared;

static void *writer_run(void *arg)
{
	unsigned writer = *(const unsigned *)arg;

	for (uint64_t i = 0; i < N_EACH;)
		i += fixture_append(&shared.f, writer, i) == 0;
	return NULL;
}

static void *flusher_run(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20; i++)
		CHECK_INT(shipper_flush(shared.shipper, LIMIT_MS), 0);
	return NULL;
}

TEST(writers_and_flushes_run_beside_the_shipper)
{
	unsigned numbers[] = {0, 1};
	pthread_t writers[2], flusher;

	ship_init(&shared, "", true);
	ship_start(&shared, NULL);
	for (size_t i = 0; i < COUNT_OF(writers); i++)
		CHECK_INT(pthread_create(&writers[i], NULL, writer_run, &numbers[i]), 0);
	CHECK_INT(pthread_create(&flusher, NULL, flusher_run, NULL), 0);
	for (size_t i = 0; i < COUNT_OF(writers); i++)
		pthread_join(writers[i], NULL);
	pthread_join(flusher, NULL);
	CHECK_INT(shipper_flush(shared.shipper, LIMIT_MS), 0);
	CHECK_INT(row_count(&shared), 2 * N_EACH);
	ship_release(&shared);
}
