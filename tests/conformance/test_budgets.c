/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daemons that share a budget: whatever they spend, in whatever order, whichever of them dies and whichever call fails,
 * all of them together spend no more than it; and what is left is not left lying with who does not need it.
 */
#include "control/lending/budgets.h"
#include "control/store/loans.h"

#include "core/base/clock.h"
#include "pg_cluster.h"
#include "store_fixture.h"

#define LIMIT INT64_C(10000)
#define MOST 100 /* that a request reserves */
#define COST 90	 /* and then costs */
#define DAY_US INT64_C(86400000000)
#define NOW INT64_C(1795089600000000) /* noon of a day */
#define N_SIDES 3
#define NAME "key/x/USD/day"

static const char *const backends[] = {"sqlite:%s", "postgres://muster@%P/postgres", "postgres://muster@%B/postgres"};

struct side { /* a daemon */
	struct store *store;
	struct budget_lender *lender;
	struct budget_account *a;
	struct uuid self;
	int64_t spent;
};

struct fixture {
	struct place place;
	char url[256];
	struct side side[N_SIDES];
	int64_t now_us, others;
	struct err err;
};

static void begin(struct side *s, const char *url)
{
	*s = (struct side){.self = uuid_v7_now(), .a = budget_account_new(NAME)};
	s->a->period = BUDGET_DAY;
	atomic_store(&s->a->limit, LIMIT);
	CHECK_INT(store_new(url, &s->store, NULL), 0);
	s->lender = budget_lender_new(s->store, &s->self);
}

static void end(struct side *s)
{
	budget_account_unref(s->a);
	budget_lender_free(s->lender);
	store_free(s->store);
}

static bool setup(struct fixture *f, const char *format)
{
	struct db *db;

	*f = (struct fixture){.now_us = NOW, .others = N_SIDES - 1};
	place_make(&f->place);
	if (!backend_url(format, f->place.file, f->url, sizeof(f->url))) {
		place_remove(&f->place);
		return false;
	}
	db = place_open(f->url);
	CHECK_INT(db_script(db, "delete from replicas; delete from budgets; delete from budget_loans", NULL), 0);
	for (size_t i = 0; i < N_SIDES; i++) {
		begin(&f->side[i], f->url);
		CHECK_INT(store_replica_beat(db, &f->side[i].self, INT64_C(600000000), NULL), 0);
	}
	db_close(db);
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

static int64_t ask(struct fixture *f, struct side *s, int n)
{
	int64_t got = 0;

	for (int i = 0; i < n; i++) {
		struct budget_hold h;

		if (budget_reserve(s->a, MOST, f->now_us, &h) > BUDGET_GRANTED_LOW)
			continue;
		budget_settle(&h, COST);
		got++;
	}
	s->spent += got * COST;
	return got;
}

static int go(struct fixture *f, struct side *s)
{
	const struct budget_moment m = {f->now_us, f->others};

	return budget_lender_round(s->lender, &s->a, 1, &m, &f->err);
}

static void rounds(struct fixture *f, size_t n_sides, int n)
{
	for (int k = 0; k < n; k++)
		for (size_t i = 0; i < n_sides; i++)
			CHECK_INT(go(f, &f->side[i]), 0);
}

static int64_t number(struct fixture *f, const char *sql)
{
	CLEANUP(arena_release) struct arena a;
	struct db *db = place_open(f->url);
	struct db_rows rows = {0};
	int64_t n = -1;

	arena_init(&a, 1024, 65536);
	if (!db_query(db, &a, sql, db_args(NULL, 0), &rows, NULL))
		n = db_cell(&rows, 0, 0)->i;
	db_close(db);
	return n;
}

static int64_t gone(struct fixture *f)
{
	return number(f, "select cast((select coalesce(sum(settled), 0) from budgets) + "
			 "(select coalesce(sum(lent), 0) from budget_loans) as bigint)");
}

static int64_t available(const struct side *s, int64_t at_us)
{
	struct budget_term *t = budget_term_at(s->a, at_us);

	return t ? atomic_load(&t->available) : 0;
}

static int64_t spent(const struct fixture *f)
{
	int64_t sum = 0;

	for (size_t i = 0; i < N_SIDES; i++)
		sum += f->side[i].spent;
	return sum;
}

TEST(one_alone_is_lent_all_of_it)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct side *s = &f.side[0];

		f.others = 0;
		rounds(&f, 1, 1);
		CHECK_INT(available(s, NOW), LIMIT);
		CHECK_INT(ask(&f, s, 1000), (LIMIT - MOST) / COST + 1);
		CHECK_INT(gone(&f), LIMIT);
		rounds(&f, 1, 2);
		CHECK_INT(ask(&f, s, 10), 0);
		atomic_store(&s->a->limit, LIMIT + MOST); /* it is raised, and lowered */
		rounds(&f, 1, 1);
		CHECK_INT(ask(&f, s, 10), 1);
		atomic_store(&s->a->limit, LIMIT);
		rounds(&f, 1, 2);
		CHECK_INT(ask(&f, s, 10), 0);
	}
}

TEST(several_that_spend_at_once_spend_nearly_all_and_no_more)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		for (int k = 0; k < 60; k++) {
			for (size_t i = 0; i < N_SIDES; i++)
				(void)ask(&f, &f.side[i], 3);
			rounds(&f, N_SIDES, 1);
			CHECK(gone(&f) <= LIMIT);
			CHECK(spent(&f) <= LIMIT);
		}
		CHECK(spent(&f) > LIMIT - MOST);
		for (size_t i = 0; i < N_SIDES; i++)
			CHECK(f.side[i].spent > LIMIT / 6);
	}
}

TEST(what_one_does_not_need_another_spends)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		f.others = 0; /* it was alone, and has all */
		rounds(&f, 1, 1);
		CHECK_INT(available(&f.side[0], NOW), LIMIT);
		f.others = N_SIDES - 1;
		for (int k = 0; k < 60; k++) {
			(void)ask(&f, &f.side[1], 10);
			rounds(&f, N_SIDES, 1);
		}
		CHECK_INT(f.side[1].spent, LIMIT - LIMIT % COST);
		CHECK_INT(f.side[0].spent, 0);
	}
}

TEST(who_holds_too_little_for_one_leaves_it_to_another)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		atomic_store(&f.side[0].a->limit, MOST + MOST / 2);
		atomic_store(&f.side[1].a->limit, MOST + MOST / 2);
		f.others = 1;
		for (int k = 0; k < 20; k++) {
			(void)ask(&f, &f.side[0], 1);
			(void)ask(&f, &f.side[1], 1);
			rounds(&f, 2, 1);
		}
		CHECK_INT(spent(&f), COST);
	}
}

TEST(who_leaves_gives_back_all_but_what_it_spent)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		f.others = 0;
		rounds(&f, 1, 1);
		CHECK_INT(ask(&f, &f.side[0], 10), 10);
		CHECK_INT(budget_lender_end(f.side[0].lender, &f.side[0].a, 1, &f.err), 0);
		CHECK_INT(budget_lender_end(f.side[0].lender, &f.side[0].a, 1, &f.err), 0);
		CHECK_INT(gone(&f), 10 * COST);
		CHECK_INT(ask(&f, &f.side[0], 1), 0);
		CHECK_INT(go(&f, &f.side[1]), 0);
		CHECK_INT(available(&f.side[1], NOW), LIMIT - 10 * COST);
		CHECK_INT(ask(&f, &f.side[1], 1000), (LIMIT - 10 * COST - MOST) / COST + 1);
	}
}

static int64_t all_of_it(const struct budget_loan *loan, void *arg)
{
	(void)arg;
	return loan->lent;
}

static int64_t as_told(const struct budget_loan *loan, void *arg)
{
	(void)arg;
	return loan->spent;
}

TEST(what_a_dead_one_was_lent_is_spent_unless_somebody_knows_better)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		f.others = 0;
		rounds(&f, 1, 1);
		CHECK_INT(ask(&f, &f.side[0], 10), 10);
		rounds(&f, 1, 1); /* says so */
		CHECK_INT(go(&f, &f.side[1]), 0);
		CHECK_INT(available(&f.side[1], NOW), 0);
		CHECK_INT(budget_lender_settle(f.side[1].lender, &f.side[0].self, as_told, NULL, &f.err), 0);
		CHECK_INT(go(&f, &f.side[1]), 0);
		CHECK_INT(available(&f.side[1], NOW), LIMIT - 10 * COST);
		CHECK_INT(budget_lender_settle(f.side[2].lender, NULL, all_of_it, NULL, &f.err), 0);
		CHECK_INT(gone(&f), LIMIT);
		CHECK_INT(go(&f, &f.side[2]), 0);
		CHECK_INT(available(&f.side[2], NOW), 0);
	}
}

TEST(a_period_is_lent_before_it_begins_and_settled_after_it_has_ended)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct side *s = &f.side[0];
		struct budget_hold late;

		f.others = 0;
		rounds(&f, 1, 1);
		CHECK_INT(available(s, NOW + DAY_US), 0);
		CHECK_INT(ask(&f, s, 5), 5);
		CHECK_INT(budget_reserve(s->a, MOST, f.now_us, &late), BUDGET_GRANTED);
		f.now_us = NOW + DAY_US / 2 - 30000000; /* half a minute before midnight */
		rounds(&f, 1, 1);
		CHECK_INT(available(s, NOW + DAY_US), LIMIT);
		f.now_us = NOW + DAY_US / 2;
		CHECK_INT(ask(&f, s, 1000), (LIMIT - MOST) / COST + 1);
		rounds(&f, 1, 1);
		CHECK_INT(number(&f, "select count(*) from budget_loans"),
			  2); /* one is not settled: a request is under way */
		budget_settle(&late, COST);
		rounds(&f, 1, 2);
		CHECK_INT(number(&f, "select count(*) from budget_loans"), 1);
		CHECK_INT(number(&f, "select settled from budgets order by start_us limit 1"), 6 * COST);
		f.now_us += 1000 * DAY_US;
		rounds(&f, 1, 1);
		CHECK_INT(number(&f, "select count(*) from budgets"), 1); /* older ones are forgotten */
	}
}

TEST(a_request_that_cost_more_than_it_reserved_is_counted)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct budget_hold h;

		f.others = 0;
		rounds(&f, 1, 1);
		CHECK_INT(budget_reserve(f.side[0].a, LIMIT, NOW, &h), BUDGET_GRANTED);
		budget_settle(&h, LIMIT + 77);
		rounds(&f, 1, 2);
		CHECK_INT(gone(&f), LIMIT + 77);
		CHECK_INT(available(&f.side[0], NOW), 0);
	}
}

TEST(people_see_what_was_spent_and_what_is_held)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		CLEANUP(arena_release) struct arena a;
		int64_t starts[STORE_BUDGET_STARTS] = {1, NOW - DAY_US / 2, 2, 0};
		struct budget_states s = {NULL, 0};
		struct db *db;

		arena_init(&a, 1024, 65536);
		f.others = 0;
		rounds(&f, 1, 1);
		CHECK_INT(ask(&f, &f.side[0], 10), 10);
		rounds(&f, 1, 1);
		db = place_open(f.url);
		CHECK_INT(store_budget_states(db, &a, SLICE_LIT("use_case/"), starts, &s, &f.err), 0);
		CHECK_INT(s.n, 0);
		CHECK_INT(store_budget_states(db, &a, SLICE_LIT("key/"), starts, &s, &f.err), 0);

		CHECK_INT(s.n, 1);
		CHECK(s.n && slice_eq_str(s.list[0].budget, NAME) && s.list[0].start_us == starts[1]);
		CHECK(s.n && s.list[0].spent == 10 * COST && s.list[0].held == LIMIT - 10 * COST);
		if (db->ops->shared) { /* its daemon has gone */
			CHECK_INT(db_script(db, "update replicas set expires_us = 0", NULL), 0);
			CHECK_INT(store_budget_states(db, &a, SLICE_LIT("key/"), starts, &s, &f.err), 0);
			CHECK_STR(f.err.text, "");
			CHECK(s.n && s.list[0].spent == LIMIT && s.list[0].held == 0);
		}
		db_close(db);
	}
}

/* Whatever call of one of them fails, nobody spends what another has. */
TEST(no_failure_of_the_database_lends_anything_twice)
{
	for (int n = 1; n < 70; n++) {
		struct fixture f;
		char url[300];

		CHECK(setup(&f, "sqlite:%s"));
		end(&f.side[1]);
		(void)snprintf(url, sizeof(url), "fault:%d:%s", n, f.url);
		begin(&f.side[1], url);
		f.others = 1;
		for (int k = 0; k < 30; k++) {
			(void)ask(&f, &f.side[0], 5);
			(void)ask(&f, &f.side[1], 5);
			CHECK_INT(go(&f, &f.side[0]), 0);
			(void)go(&f, &f.side[1]); /* one of them fails */
			CHECK(gone(&f) <= LIMIT && spent(&f) <= LIMIT);
		}
		CHECK(spent(&f) > LIMIT - 2 * MOST);
		(void)budget_lender_end(f.side[1].lender, &f.side[1].a, 1, &f.err);
		CHECK_INT(budget_lender_end(f.side[1].lender, &f.side[1].a, 1, &f.err), 0);
		CHECK_INT(budget_lender_end(f.side[0].lender, &f.side[0].a, 1, &f.err), 0);
		CHECK_INT(gone(&f), spent(&f));
		teardown(&f);
	}
}
