/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts and silences over every backend: a row that is written again, one alert for one thing whoever saw it, filters,
 * pages, what is forgotten, and every call that fails.
 */
#include "control/store/entities.h"
#include "pg_cluster.h"
#include "store_fixture.h"

#define S(x) SLICE_LIT(x)
#define T0 INT64_C(1763873420000000)
#define SECOND INT64_C(1000000)

static const char *const backends[] = {
	"sqlite:%s",
	"sqlite::memory:",
	"fault:0:sqlite:%s",
	"postgres://muster@%P/postgres",
	"postgres://muster@%B/postgres",
	"fault:0:postgres://muster@%P/postgres",
};

struct fixture {
	struct place place;
	char url[256];
	struct db *db;
	struct arena a;
	struct uuid_gen ids;
	struct err err;
};

/* False: that backend is not to be had here. */
static bool open_at(struct fixture *f, const char *format)
{
	*f = (struct fixture){.db = NULL};
	place_make(&f->place);
	if (!backend_url(format, f->place.file, f->url, sizeof(f->url))) {
		place_remove(&f->place);
		return false;
	}
	f->db = place_open(f->url);
	arena_init(&f->a, 16384, (size_t)64 << 20);
	uuid_gen_init(&f->ids);
	return true;
}

static void close_at(struct fixture *f)
{
	db_close(f->db);
	arena_release(&f->a);
	place_remove(&f->place);
}

/* Runs what follows once for each backend. */
#define EACH_BACKEND(f)                                    \
	for (size_t b_ = 0; b_ < COUNT_OF(backends); b_++) \
		for (bool there_ = open_at(&(f), backends[b_]); there_; there_ = false, close_at(&(f)))

static struct alert_row alert(struct fixture *f, const char *fingerprint, int64_t at_us)
{
	return (struct alert_row){.id = uuid_v7(&f->ids, at_us),
				  .rule = S("critical_violation"),
				  .fingerprint = slice_from(fingerprint),
				  .instance = S("host:1"),
				  .use_case = S("u"),
				  .key = S("self_harm"),
				  .severity = S("critical"),
				  .state = S("firing"),
				  .summary = S("a 'summary'"),
				  .details = S("{\"hits\":1}"),
				  .since_us = at_us,
				  .fired_us = at_us + 1,
				  .delivery = S("pending"),
				  .seen_us = at_us + 2};
}

static bool put(struct fixture *f, const struct alert_row *a)
{
	bool kept = false;

	CHECK_INT(store_alert_put(f->db, a, &kept, &f->err), 0);
	return kept;
}

static size_t list(struct fixture *f, const struct alert_filter *filter, struct alert_row **ret)
{
	size_t n = 0;

	CHECK_INT(store_alert_list(f->db, &f->a, filter, ret, &n, &f->err), 0);
	return n;
}

TEST(an_alert_comes_back_as_it_was_written_last)
{
	static const struct alert_filter all = {.limit = 10};
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct alert_row a = alert(&f, "x", T0), *back = NULL;

		CHECK(put(&f, &a));
		CHECK_INT(list(&f, &all, &back), 1);
		CHECK(!memcmp(&back->id, &a.id, sizeof(a.id)));
		CHECK(slice_eq(back->rule, a.rule) && slice_eq(back->fingerprint, a.fingerprint) &&
		      slice_eq(back->instance, a.instance) && slice_eq(back->use_case, a.use_case) &&
		      slice_eq(back->key, a.key) && slice_eq(back->summary, a.summary));
		CHECK_INT(back->since_us, T0);
		CHECK_INT(back->fired_us, T0 + 1);
		CHECK_INT(back->resolved_us, 0);
		CHECK_INT(back->delivery_error.n, 0);
		a.state = S("resolved");
		a.summary = S("another");
		a.details = S("{}");
		a.severity = S("info");
		a.resolved_us = T0 + 5;
		a.delivery = S("failed");
		a.delivery_error = S("ops: answered 500");
		a.delivered_us = T0 + 6;
		a.seen_us = T0 + 7;
		CHECK(put(&f, &a));
		CHECK_INT(list(&f, &all, &back), 1);
		CHECK(slice_eq(back->state, a.state) && slice_eq(back->summary, a.summary) &&
		      slice_eq(back->details, a.details) && slice_eq(back->severity, a.severity) &&
		      slice_eq(back->delivery, a.delivery) && slice_eq(back->delivery_error, a.delivery_error));
		CHECK_INT(back->resolved_us, T0 + 5);
		CHECK_INT(back->delivered_us, T0 + 6);
		CHECK_INT(back->seen_us, T0 + 7);
	}
}

TEST(of_one_thing_one_alert_fires_whoever_saw_it)
{
	static const struct alert_filter all = {.limit = 10};
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct alert_row first = alert(&f, "x", T0), second = alert(&f, "x", T0 + 1), *back = NULL;

		CHECK(put(&f, &first));
		CHECK(!put(&f, &second));
		CHECK(put(&f, &first));
		first.state = S("resolved");
		CHECK(put(&f, &first));
		CHECK(put(&f, &second));
		CHECK_INT(list(&f, &all, &back), 2);
		CHECK(!memcmp(&back[0].id, &second.id, sizeof(second.id)));
	}
}

TEST(a_state_or_severity_that_is_none_is_refused_by_the_database)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct alert_row a = alert(&f, "x", T0);
		bool kept = false;

		a.state = S("odd");
		CHECK_INT(store_alert_put(f.db, &a, &kept, &f.err), E_INVALID);
		a.state = S("firing");
		a.severity = S("odd");
		CHECK_INT(store_alert_put(f.db, &a, &kept, &f.err), E_INVALID);
	}
}

TEST(alerts_are_filtered_and_paged_newest_first)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct alert_row rows[4] = {alert(&f, "a", T0), alert(&f, "b", T0 + SECOND),
					    alert(&f, "c", T0 + 2 * SECOND), alert(&f, "d", T0 + 3 * SECOND)},
				 *back = NULL;
		char id[UUID_STR_SIZE];
		struct alert_filter page = {.limit = 2};

		rows[1].rule = S("logging_failures");
		rows[2].use_case = S("");
		rows[3].state = S("resolved");
		rows[3].instance = S("");
		for (size_t i = 0; i < COUNT_OF(rows); i++)
			CHECK(put(&f, &rows[i]));
		CHECK_INT(list(&f, &(struct alert_filter){.state = S("firing")}, &back), 3);
		CHECK_INT(list(&f, &(struct alert_filter){.rule = S("logging_failures")}, &back), 1);
		CHECK_INT(list(&f, &(struct alert_filter){.use_case = S("u")}, &back), 3);
		CHECK_INT(list(&f, &(struct alert_filter){.instance = S("")}, &back), 1);
		CHECK_INT(list(&f, &page, &back), 2);
		CHECK(!memcmp(&back[0].id, &rows[3].id, sizeof(rows[3].id)));
		page.before_id = slice_from(uuid_format(&back[1].id, id));
		CHECK_INT(list(&f, &page, &back), 2);
		CHECK(!memcmp(&back[0].id, &rows[1].id, sizeof(rows[1].id)));
	}
}

TEST(alerts_of_a_daemon_that_is_gone_end_and_old_ones_are_forgotten)
{
	static const struct alert_filter all = {.limit = 10}, firing = {.state = SLICE_LIT("firing")};
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct alert_row lost = alert(&f, "a", T0), watched = alert(&f, "b", T0 + SECOND), *back = NULL;

		CHECK(put(&f, &lost));
		CHECK(put(&f, &watched));
		CHECK_INT(store_alert_end_lost(f.db, T0 + SECOND, T0 + 9, &f.err), 0);
		CHECK_INT(list(&f, &firing, &back), 1);
		CHECK(!memcmp(&back->id, &watched.id, sizeof(watched.id)));
		CHECK_INT(store_alert_forget(f.db, T0 + 9, &f.err), 0);
		CHECK_INT(list(&f, &all, &back), 2);
		CHECK_INT(store_alert_forget(f.db, T0 + 10, &f.err), 0);
		CHECK_INT(list(&f, &all, &back), 1);
	}
}

TEST(silences_are_listed_while_they_last_and_removed_once)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct silence_row a = {.id = uuid_v7(&f.ids, T0),
					.rule = S("logging_failures"),
					.created_us = T0,
					.until_us = T0 + SECOND,
					.actor = S("ops"),
					.reason = S("it's \"known\"")},
				   b = a, *back = NULL;
		size_t n = 0;

		b.id = uuid_v7(&f.ids, T0 + 1);
		b.rule = S("");
		b.use_case = S("u");
		b.until_us = T0 + 2 * SECOND;
		CHECK_INT(store_silence_insert(f.db, &a, &f.err), 0);
		CHECK_INT(store_silence_insert(f.db, &b, &f.err), 0);
		CHECK_INT(store_silence_list(f.db, &f.a, T0, &back, &n, &f.err), 0);
		CHECK_INT(n, 2);
		CHECK(slice_eq(back[0].use_case, b.use_case) && !back[0].rule.n);
		CHECK(slice_eq(back[1].rule, a.rule) && slice_eq(back[1].reason, a.reason) &&
		      slice_eq(back[1].actor, a.actor));
		CHECK_INT(back[1].created_us, T0);
		CHECK_INT(store_silence_list(f.db, &f.a, T0 + SECOND, &back, &n, &f.err), 0);
		CHECK_INT(n, 1);
		CHECK_INT(store_silence_delete(f.db, &b.id, &f.err), 0);
		CHECK_INT(store_silence_delete(f.db, &b.id, &f.err), E_NOTFOUND);
	}
}

/* Each call fails at its place, says so, and the next works. */
TEST(every_call_reports_its_failure)
{
	struct fixture f;

	open_at(&f, "sqlite:%s");
	for (int at = 1; at <= 7; at++) {
		struct alert_row a = alert(&f, "x", T0 + at), *rows;
		struct silence_row s = {.id = a.id, .until_us = T0}, *silences;
		struct alert_filter all = {.limit = 1};
		struct db *db = NULL;
		int n_failed = 0;
		bool kept;
		char url[256];
		size_t n;

		(void)snprintf(url, sizeof(url), "fault:%d:%s", at, f.place.url);
		CHECK_INT(db_open(url, &db, &f.err), 0);
		n_failed += store_alert_put(db, &a, &kept, &f.err) == E_IO; /* two calls, when it is new */
		n_failed += store_alert_list(db, &f.a, &all, &rows, &n, &f.err) == E_IO;
		n_failed += store_alert_end_lost(db, T0, T0, &f.err) == E_IO;
		n_failed += store_alert_forget(db, T0, &f.err) == E_IO;
		n_failed += store_silence_insert(db, &s, &f.err) == E_IO;
		n_failed += store_silence_list(db, &f.a, 0, &silences, &n, &f.err) == E_IO;
		CHECK_INT(n_failed, 1);
		db_close(db);
	}
	close_at(&f);
}
