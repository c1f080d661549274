/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the daemons on one database does what only one may do.  It holds the lease "rollout" and renews it every
 * third of its time; when it dies, another has the lease within LEADER_TTL_MS and a third.
 *
 * leader_is() says what a daemon may believe: that nobody else has the lease as long as it was promised, by its own
 * monotonic clock, counted from before it asked.  Belief is not enough to write: a daemon that was stopped between
 * looking and writing believes too long.  So every transaction that acts for the leader begins with
 * store_lease_guard(db, &lease), with the lease as it was when the work began (leader_lease): an epoch that is over
 * is refused, and nobody can take the lease while the transaction lasts.  Inside registry_change() that is the first
 * call of `apply`, with c->db.
 */
#pragma once
#include "control/store/replicas.h"
#include "control/store/store.h"

#define LEADER_TTL_MS INT64_C(6000)
#define LEADER_EVERY_MS (LEADER_TTL_MS / 3)

enum leader_state { LEADER_FOLLOWS, LEADER_LEADS };
enum leader_event {
	LEADER_GRANTED,	 /* the lease is ours, with a new epoch */
	LEADER_KEPT,	 /* it was renewed */
	LEADER_REFUSED,	 /* another has it */
	LEADER_SILENCE,	 /* the database did not say */
	LEADER_RELEASED, /* given back */
};

struct leader_answer {
	enum leader_event event;
	int64_t asked_ms; /* monotonic, before it was asked */
	int64_t epoch;	  /* of LEADER_GRANTED */
	char why[200];	  /* of LEADER_SILENCE: a sentence */
};

struct leader {
	enum leader_state state;
	struct lease lease; /* epoch: of the last time it was ours; 0: it never was */
	int64_t until_ms;   /* monotonic: how long nobody else can have it */
	bool answered;	    /* the database has said who has it, at least once */
	char problem[200];  /* why the database did not say, or "" */
};

void leader_init(struct leader *l, const struct uuid *self);
/* The only place where the state moves.  True: it did. */
bool leader_move(struct leader *l, const struct leader_answer *a);
bool leader_is(const struct leader *l, int64_t now_ms);
/* Blocks. What to ask follows from the state: for the lease, or for more of it. */
void leader_ask(const struct leader *l, struct store *store, struct leader_answer *ret);
/* Blocks. Gives the lease back: another has it at the next time it asks. */
void leader_release(const struct leader *l, struct store *store, struct leader_answer *ret);
