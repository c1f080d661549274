/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daemons that share one limit: whatever they ask for, in whatever order, all of them together get no more than it and
 * the advances, and not much less.  Time stands still for their buckets, so that what they get is what they held.
 */
#include "control/lending/lending.h"

#include "core/base/clock.h"
#include "pg_cluster.h"
#include "serving/resilience/rate_limit.h"
#include "store_fixture.h"

#define LIMIT 60
#define ADVANCE 3
#define NOW_NS INT64_C(1000000000000)
#define N_SIDES 3

static const char *const backends[] = {"sqlite:%s", "postgres://muster@%P/postgres", "postgres://muster@%B/postgres"};

/* A daemon with one key. */
struct side {
	struct store *store;
	struct lender *lender;
	struct lending_account account;
	struct rate_state bucket;
	struct uuid self;
	int64_t got, now_ms;
};

struct fixture {
	struct place place;
	char url[256];
	struct side side[N_SIDES];
	struct err err;
};

static int64_t spends_at(const struct side *s)
{
	return s->account.share < 0 ? s->account.limit : s->account.share;
}

static void on_set(const struct lending_account *a, int64_t share, void *arg)
{
	struct side *s = arg;

	(void)a;
	s->account.share = share;
}

static int64_t on_missing(const struct lending_account *a, void *arg)
{
	struct side *s = arg;

	(void)a;
	return s->bucket.full_at_ns > NOW_NS ? (s->bucket.full_at_ns - NOW_NS + 999) / 1000 : 0;
}

static void on_join(const struct lending_account *a, int64_t share, struct share_part more, void *arg)
{
	struct side *s = arg;
	int64_t owed = spends_at(s) * on_missing(a, arg) + more.amount * more.missing;

	if (share)
		s->bucket.full_at_ns = NOW_NS + (owed + share - 1) / share * 1000;
	s->account.share = share;
}

static void begin(struct side *s, const char *url)
{
	struct lending_hooks hooks = {on_set, on_join, on_missing, s};

	*s = (struct side){.self = uuid_v7_now(), .now_ms = 1000000};
	s->account = (struct lending_account){
		.kind = SLICE_LIT("requests"), .subject = SLICE_LIT("key"), .limit = LIMIT, .share = LENDING_WHOLE};
	CHECK_INT(store_new(url, &s->store, NULL), 0);
	s->lender = lender_new(s->store, &s->self, &hooks);
}

static void end(struct side *s)
{
	lender_free(s->lender);
	store_free(s->store);
}

static bool setup(struct fixture *f, const char *format)
{
	struct db *db;

	*f = (struct fixture){.err = {0}};
	place_make(&f->place);
	if (!backend_url(format, f->place.file, f->url, sizeof(f->url))) {
		place_remove(&f->place);
		return false;
	}
	db = place_open(f->url);
	CHECK_INT(db_script(db, "delete from replicas; delete from loans; delete from loan_pools", NULL), 0);
	db_close(db);
	for (size_t i = 0; i < N_SIDES; i++)
		begin(&f->side[i], f->url);
	return true;
}

static void teardown(struct fixture *f)
{
	for (size_t i = 0; i < N_SIDES; i++)
		end(&f->side[i]);
	place_remove(&f->place);
}

#define EACH_BACKEND(f)                                    \
	for (size_t b_ = 0; b_ < COUNT_OF(backends); b_++) \
		for (bool there_ = setup(&(f), backends[b_]); there_; there_ = false, teardown(&(f)))

/* n requests; how many passed. */
static int64_t ask(struct side *s, int n)
{
	int64_t got = 0;

	for (int i = 0; i < n; i++) {
		bool passed = spends_at(s) > 0 && rate_take(&s->bucket, spends_at(s), 1, NOW_NS);

		s->account.asked++;
		s->account.refused |= !passed;
		got += passed;
	}
	s->got += got;
	return got;
}

static int go(struct side *s, struct err *err)
{
	struct lending_account a = s->account;
	int rc;

	a.missing_us = on_missing(&a, s);
	s->account.asked = 0;
	s->account.refused = false;
	s->now_ms += 1000;
	rc = lender_round(s->lender, &a, 1, s->now_ms, err);
	return rc;
}

static void rounds(struct fixture *f, size_t n_sides, int n)
{
	for (int k = 0; k < n; k++)
		for (size_t i = 0; i < n_sides; i++)
			CHECK_INT(go(&f->side[i], &f->err), 0);
}

static int64_t lent(struct fixture *f)
{
	CLEANUP(arena_release) struct arena a;
	struct db *db = place_open(f->url);
	struct db_rows rows = {0};
	int64_t n = -1;

	arena_init(&a, 1024, 65536);
	if (!db_query(db, &a, "select cast(coalesce(sum(amount), 0) as bigint) from loans", db_args(NULL, 0), &rows,
		      NULL))
		n = db_cell(&rows, 0, 0)->i;
	db_close(db);
	return n;
}

static void script(struct fixture *f, const char *sql)
{
	struct db *db = place_open(f->url);

	CHECK_INT(db_script(db, sql, NULL), 0);
	db_close(db);
}

TEST(one_alone_has_all_of_it_at_once_and_borrows_nothing)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct side *s = &f.side[0];

		CHECK_INT(ask(s, LIMIT + 5), LIMIT); /* before the database has said anything */
		rounds(&f, 1, 4);
		CHECK_INT(s->account.share, LENDING_WHOLE);
		CHECK_INT(ask(s, 5), 0);
		CHECK_INT(lent(&f), 0);
	}
}

TEST(of_two_the_one_that_is_used_gets_nearly_all)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		rounds(&f, 2, 4);
		CHECK_INT(ask(&f.side[0], 100), ADVANCE);
		rounds(&f, 2, 1);
		CHECK_INT(ask(&f.side[0], 100), LIMIT - ADVANCE);
		CHECK_INT(f.side[0].account.share, LIMIT);
		CHECK_INT(f.side[1].account.share, ADVANCE);
		CHECK_INT(lent(&f), LIMIT);
	}
}

TEST(all_at_once_get_no_more_than_the_limit_and_the_advances_and_equal_parts)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		int64_t sum = 0, shares = 0;

		rounds(&f, N_SIDES, 4);
		for (int k = 0; k < 12; k++) {
			for (size_t i = 0; i < N_SIDES; i++)
				(void)ask(&f.side[i], 50);
			rounds(&f, N_SIDES, 1);
			CHECK(lent(&f) <= LIMIT);
		}
		for (size_t i = 0; i < N_SIDES; i++) {
			sum += f.side[i].got;
			shares += f.side[i].account.share;
			CHECK_INT(f.side[i].account.share, LIMIT / N_SIDES);
		}
		CHECK_INT(shares, LIMIT);
		CHECK(sum >= LIMIT && sum <= LIMIT + N_SIDES * ADVANCE);
	}
}

TEST(the_part_of_one_that_is_quiet_goes_to_the_one_that_is_short)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		rounds(&f, 2, 4);
		(void)ask(&f.side[0], 2); /* the first to ask has all, and needs little of it */
		rounds(&f, 2, 1);
		CHECK_INT(f.side[0].account.share, LIMIT);
		for (int k = 0; k < 4; k++) {
			(void)ask(&f.side[1], 100);
			rounds(&f, 2, 1);
		}
		CHECK(f.side[1].account.share >= LIMIT / 2);
		for (int k = 0; k < 60; k++) { /* what was asked long ago counts less */
			(void)ask(&f.side[1], 100);
			rounds(&f, 2, 1);
		}
		CHECK(f.side[1].account.share >= LIMIT - 4 && f.side[0].account.share >= 1);
		CHECK(f.side[0].got + f.side[1].got >= LIMIT - 6);
		CHECK(f.side[0].got + f.side[1].got <= LIMIT + ADVANCE);
	}
}

TEST(what_a_dead_one_had_is_lent_again_as_if_it_were_spent)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		rounds(&f, 2, 4);
		for (int k = 0; k < 6; k++) {
			(void)ask(&f.side[0], 50);
			(void)ask(&f.side[1], 50);
			rounds(&f, 2, 1);
		}
		CHECK_INT(f.side[0].account.share, LIMIT / 2);
		script(&f, "update replicas set expires_us = 0");
		f.side[1].now_ms += 20000; /* it says again that it is there; the other does not */
		for (int k = 0; k < 3; k++) {
			(void)ask(&f.side[1], 50);
			CHECK_INT(go(&f.side[1], &f.err), 0);
		}
		CHECK_INT(f.side[1].account.share, LIMIT);
		CHECK(ask(&f.side[1], 50) <= 1);
		CHECK_INT(lent(&f), LIMIT);
	}
}

TEST(who_leaves_gives_back_what_it_has_not_spent)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct lending_account *a = &f.side[0].account;

		rounds(&f, 2, 4);
		CHECK_INT(ask(&f.side[0], 3), ADVANCE);
		rounds(&f, 2, 1);
		CHECK_INT(a->share, LIMIT);
		CHECK_INT(lender_leave(f.side[0].lender, a, 1, &f.err), 0);
		CHECK_INT(a->share, ADVANCE);
		CHECK_INT(lent(&f), 0);
		CHECK_INT(go(&f.side[0], &f.err), 0); /* too late: nothing happens */
		CHECK_INT(lent(&f), 0);
		(void)ask(&f.side[1], ADVANCE);
		CHECK_INT(go(&f.side[1], &f.err), 0);
		CHECK_INT(ask(&f.side[1], 100), LIMIT - 2 * ADVANCE); /* alone again; and what is spent is spent */
		CHECK_INT(go(&f.side[2], &f.err), 0);
		CHECK_INT(f.side[2].account.share, ADVANCE);
	}
}

TEST(what_nobody_asks_about_is_given_back)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		rounds(&f, 2, 4);
		CHECK_INT(ask(&f.side[0], 1), 1);
		rounds(&f, 2, 1);
		CHECK_INT(f.side[0].account.share, LIMIT);
		f.side[0].bucket.full_at_ns = 0; /* a minute later */
		for (int k = 0; k < (int)(LENDING_IDLE_MS / 1000) + 2; k++)
			CHECK_INT(go(&f.side[0], &f.err), 0);
		CHECK_INT(f.side[0].account.share, ADVANCE);
		CHECK_INT(lent(&f), 0);
	}
}

/* Whatever call of one of them fails, and however often, nobody gets what another has. */
TEST(no_failure_of_the_database_lends_anything_twice)
{
	for (int n = 1; n < 60; n++) {
		struct fixture f;
		char url[300];

		CHECK(setup(&f, "sqlite:%s"));
		end(&f.side[1]);
		(void)snprintf(url, sizeof(url), "fault:%d:%s", n, f.url);
		begin(&f.side[1], url);
		for (int k = 0; k < 14; k++) {
			if (k > 3)
				for (size_t i = 0; i < 2; i++)
					(void)ask(&f.side[i], 50);
			CHECK_INT(go(&f.side[0], &f.err), 0);
			(void)go(&f.side[1], &f.err); /* one of them fails */
			CHECK(lent(&f) <= LIMIT);
		}
		CHECK_INT(f.side[0].account.share + f.side[1].account.share, LIMIT);
		CHECK(f.side[0].got + f.side[1].got <= LIMIT + 2 * ADVANCE);
		teardown(&f);
	}
}

TEST(without_the_database_each_goes_on_with_its_part)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct side *one = &f.side[0], *two = &f.side[1];

		rounds(&f, 2, 4);
		(void)ask(one, 10);
		CHECK_INT(go(one, &f.err), 0);
		script(&f, "alter table replicas rename to replicas_away");
		for (int k = 0; k < 3; k++) {
			CHECK(go(one, &f.err) != 0);
			CHECK(go(two, &f.err) != 0);
		}
		CHECK_INT(one->account.share, LIMIT);
		CHECK_INT(two->account.share, LIMIT / 2); /* it had none: an equal part */
		CHECK_INT(ask(two, 100), LIMIT / 2);
		script(&f, "alter table replicas_away rename to replicas");
		rounds(&f, 2, 4);
		CHECK_INT(one->account.share + two->account.share, LIMIT);
	}
}
