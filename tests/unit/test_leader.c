/* SPDX-License-Identifier: Apache-2.0 */
/* The leader: its moves as a table, and two of them that want one lease of a real database. */
#include "control/rollout/leader.h"

#include "store_fixture.h"

#define UNTIL 5000 /* of one who leads, in the table */
#define ASKED 4000

static const struct {
	enum leader_state from;
	enum leader_event on;
	enum leader_state to;
	int64_t until_ms, epoch;
} moves[] = {
	{LEADER_FOLLOWS, LEADER_GRANTED, LEADER_LEADS, ASKED + LEADER_TTL_MS, 8},
	{LEADER_FOLLOWS, LEADER_REFUSED, LEADER_FOLLOWS, UNTIL, 7},
	{LEADER_FOLLOWS, LEADER_SILENCE, LEADER_FOLLOWS, UNTIL, 7},
	{LEADER_FOLLOWS, LEADER_KEPT, LEADER_FOLLOWS, UNTIL, 7},
	{LEADER_FOLLOWS, LEADER_RELEASED, LEADER_FOLLOWS, UNTIL, 7},
	{LEADER_LEADS, LEADER_GRANTED, LEADER_LEADS, ASKED + LEADER_TTL_MS, 8},
	{LEADER_LEADS, LEADER_KEPT, LEADER_LEADS, ASKED + LEADER_TTL_MS, 7},
	{LEADER_LEADS, LEADER_REFUSED, LEADER_FOLLOWS, 0, 7},
	{LEADER_LEADS, LEADER_SILENCE, LEADER_LEADS, UNTIL, 7},
	{LEADER_LEADS, LEADER_RELEASED, LEADER_FOLLOWS, 0, 7},
};

TEST(every_answer_moves_the_leader_as_the_table_says)
{
	for (size_t i = 0; i < COUNT_OF(moves); i++) {
		struct leader l = {.state = moves[i].from, .until_ms = UNTIL, .lease = {.epoch = 7}};
		const struct leader_answer a = {.event = moves[i].on, .asked_ms = ASKED, .epoch = 8, .why = "x"};

		CHECK(leader_move(&l, &a) == (moves[i].from != moves[i].to));
		CHECK_INT(l.state, moves[i].to);
		CHECK_INT(l.until_ms, moves[i].until_ms);
		CHECK_INT(l.lease.epoch, moves[i].epoch);
		CHECK_STR(l.problem, moves[i].on == LEADER_SILENCE ? "x" : "");
		CHECK(l.answered == (moves[i].on != LEADER_SILENCE));
	}
}

static const struct {
	enum leader_state state;
	int64_t now_ms;
	bool is;
} beliefs[] = {
	{LEADER_LEADS, 0, true},	  {LEADER_LEADS, UNTIL - 1, true}, {LEADER_LEADS, UNTIL, false},
	{LEADER_LEADS, UNTIL + 1, false}, {LEADER_FOLLOWS, 0, false},
};

TEST(a_leader_believes_it_only_until_its_time_is_over)
{
	for (size_t i = 0; i < COUNT_OF(beliefs); i++) {
		const struct leader l = {.state = beliefs[i].state, .until_ms = UNTIL};

		CHECK(leader_is(&l, beliefs[i].now_ms) == beliefs[i].is);
	}
}

struct fixture {
	struct place place;
	struct store *store;
	struct leader one, two;
	struct leader_answer a;
};

static void setup(struct fixture *f)
{
	struct uuid first = uuid_v7_now(), second = uuid_v7_now();

	*f = (struct fixture){.store = NULL};
	place_make(&f->place);
	CHECK_INT(store_new(f->place.url, &f->store, NULL), 0);
	store_migrate_first(f->store);
	leader_init(&f->one, &first);
	leader_init(&f->two, &second);
}

static void teardown(struct fixture *f)
{
	store_free(f->store);
	place_remove(&f->place);
}

static enum leader_event ask(struct fixture *f, struct leader *l)
{
	leader_ask(l, f->store, &f->a);
	(void)leader_move(l, &f->a); /* the tests look at the state */
	return f->a.event;
}

static enum leader_event release(struct fixture *f, struct leader *l)
{
	leader_release(l, f->store, &f->a);
	(void)leader_move(l, &f->a);
	return f->a.event;
}

TEST(one_of_two_leads_until_it_gives_the_lease_back)
{
	struct fixture f;

	setup(&f);
	CHECK_INT(ask(&f, &f.one), LEADER_GRANTED);
	CHECK_INT(ask(&f, &f.two), LEADER_REFUSED);
	CHECK_INT(ask(&f, &f.one), LEADER_KEPT);
	CHECK(f.one.state == LEADER_LEADS && f.two.state == LEADER_FOLLOWS);
	CHECK(leader_is(&f.one, f.a.asked_ms) && !leader_is(&f.two, f.a.asked_ms));
	CHECK_INT(release(&f, &f.one), LEADER_RELEASED);
	CHECK_INT(ask(&f, &f.two), LEADER_GRANTED);
	CHECK_INT(f.two.lease.epoch, f.one.lease.epoch + 1);
	CHECK_INT(ask(&f, &f.one), LEADER_REFUSED);
	teardown(&f);
}

TEST(a_leader_that_was_replaced_hears_of_it_when_it_asks)
{
	struct fixture f;

	setup(&f);
	CHECK_INT(ask(&f, &f.one), LEADER_GRANTED);
	leader_release(&f.one, f.store, &f.a); /* as if its time were over */
	CHECK_INT(ask(&f, &f.two), LEADER_GRANTED);
	CHECK_INT(ask(&f, &f.one), LEADER_REFUSED);
	CHECK_INT(f.one.state, LEADER_FOLLOWS);
	CHECK_INT(release(&f, &f.one), LEADER_RELEASED);
	CHECK_INT(ask(&f, &f.two), LEADER_KEPT);
	teardown(&f);
}

TEST(a_database_that_is_away_is_silence_with_a_reason)
{
	struct fixture f;
	struct store *gone = NULL;

	setup(&f);
	CHECK_INT(store_new("sqlite:/nowhere/muster.db", &gone, NULL), 0);
	CHECK_INT(ask(&f, &f.one), LEADER_GRANTED);
	leader_ask(&f.one, gone, &f.a);
	CHECK(!leader_move(&f.one, &f.a) && f.a.event == LEADER_SILENCE);
	CHECK(f.one.state == LEADER_LEADS && strstr(f.one.problem, "/nowhere"));
	leader_release(&f.one, gone, &f.a);
	CHECK_INT(f.a.event, LEADER_SILENCE);
	CHECK_INT(ask(&f, &f.one), LEADER_KEPT);
	CHECK_STR(f.one.problem, "");
	store_free(gone);
	teardown(&f);
}
