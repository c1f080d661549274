/* SPDX-License-Identifier: Apache-2.0 */
/* The leader: a table of moves, and the questions to the database that lead to them. */
#include "control/rollout/leader.h"

#include <stdio.h>

#include "core/base/clock.h"

void leader_init(struct leader *l, const struct uuid *self)
{
	*l = (struct leader){.state = LEADER_FOLLOWS, .lease = {.name = "rollout", .holder = *self}};
}

/*
 * A leader that gets no answer goes on until its time is over, and asks for more of the same epoch then: as long as
 * nobody took the lease, nobody did anything in between.
 */
static const struct {
	enum leader_state from;
	enum leader_event on;
	enum leader_state to;
	bool extends;
} moves[] = {
	{LEADER_FOLLOWS, LEADER_GRANTED, LEADER_LEADS, true},	{LEADER_LEADS, LEADER_GRANTED, LEADER_LEADS, true},
	{LEADER_LEADS, LEADER_KEPT, LEADER_LEADS, true},	{LEADER_LEADS, LEADER_REFUSED, LEADER_FOLLOWS, false},
	{LEADER_LEADS, LEADER_RELEASED, LEADER_FOLLOWS, false},
};

bool leader_move(struct leader *l, const struct leader_answer *a)
{
	enum leader_state before = l->state;

	l->answered |= a->event != LEADER_SILENCE;
	(void)snprintf(l->problem, sizeof(l->problem), "%s", a->event == LEADER_SILENCE ? a->why : "");
	for (size_t i = 0; i < COUNT_OF(moves); i++) {
		if (moves[i].from != before || moves[i].on != a->event)
			continue;
		l->state = moves[i].to;
		l->until_ms = moves[i].extends ? a->asked_ms + LEADER_TTL_MS : 0;
		if (a->event == LEADER_GRANTED)
			l->lease.epoch = a->epoch;
		break;
	}
	return l->state != before;
}

bool leader_is(const struct leader *l, int64_t now_ms)
{
	return l->state == LEADER_LEADS && now_ms < l->until_ms;
}

static int ask(const struct leader *l, struct db *db, struct leader_answer *ret, struct err *err)
{
	int rc;

	if (l->state == LEADER_LEADS) {
		ret->event = LEADER_KEPT;
		rc = store_lease_renew(db, &l->lease, LEADER_TTL_MS * 1000, err);
	} else {
		ret->event = LEADER_GRANTED;
		rc = store_lease_take(db, l->lease.name, &l->lease.holder, LEADER_TTL_MS * 1000, &ret->epoch, err);
	}
	if (rc == E_CONFLICT)
		ret->event = LEADER_REFUSED;
	return rc == E_CONFLICT ? 0 : rc;
}

static void note_failure(struct leader_answer *a, const struct err *err)
{
	a->event = LEADER_SILENCE;
	(void)snprintf(a->why, sizeof(a->why), "%.199s", err->text); /* as much as people read */
}

void leader_ask(const struct leader *l, struct store *store, struct leader_answer *ret)
{
	struct err err = {0};
	struct db *db = NULL;
	int rc;

	*ret = (struct leader_answer){.asked_ms = clock_mono_ms()};
	rc = store_acquire(store, &db, &err);
	if (!rc)
		rc = ask(l, db, ret, &err);
	store_release(store, db);
	if (rc)
		note_failure(ret, &err);
}

void leader_release(const struct leader *l, struct store *store, struct leader_answer *ret)
{
	struct err err = {0};
	struct db *db = NULL;
	int rc = store_acquire(store, &db, &err);

	*ret = (struct leader_answer){.event = LEADER_RELEASED};
	if (!rc)
		rc = store_lease_release(db, &l->lease, &err);
	store_release(store, db);
	if (rc)
		note_failure(ret, &err);
}
