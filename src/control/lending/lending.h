/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits that several daemons share.  What a daemon may spend of one is lent to it: a row of loans, and all of them
 * together are never more than the limit.  Who is short says so; who has more than its fair part gives it back, with
 * what its bucket holds; and then the other takes it.  Nothing here is waited for by a request: between two rounds, and
 * while the database is away, a daemon goes on with the part that it has.
 *
 * A daemon that has asked for nothing of a subject yet has no loan of it, and spends a little in advance:
 * lending_advance().  That is the slack: at most this for each daemon that joins in, beyond the limit.  A daemon that
 * cannot reach the database keeps its part, and takes an equal part of what it has no loan of; so when it is the only
 * one that cannot, the others have that part too, once its row has expired.  And one that never had an answer knows of
 * nobody: it spends the whole.
 *
 * One lender per process; rounds come one after the other, from any thread but a loop's.
 */
#pragma once
#include "control/store/loans.h"
#include "control/store/store.h"
#include "serving/resilience/share.h"

#define LENDING_TTL_US INT64_C(10000000) /* who says nothing for so long has gone */
#define LENDING_SETTLE_MS INT64_C(2000)	 /* a new daemon takes nothing before: the others get to know of it */
#define LENDING_IDLE_MS INT64_C(120000)	 /* a subject that nobody asked about for so long is given back */
#define LENDING_WHOLE INT64_C(-1)	 /* all of the limit */

/* One limit of one subject, as the one who spends it sees it. */
struct lending_account {
	struct slice kind, subject; /* at most LENDING_NAME_MAX bytes together */
	int64_t limit;
	int64_t share;	    /* what it spends at now, or LENDING_WHOLE */
	int64_t missing_us; /* of its bucket; 0: full */
	int64_t asked;	    /* units, since the last round, with those that were refused */
	bool refused;	    /* something was */
	void *ref;	    /* the spender's own */
};
#define LENDING_NAME_MAX 127

struct lending_hooks {
	/* It spends at `share` from now on; its bucket misses what it missed. */
	void (*set)(const struct lending_account *a, int64_t share, void *arg);
	/*
	 * It spends at `share` from now on, and its bucket is the one that it had and `more` together.  The share may
	 * be less than both: what was spent stays spent.
	 */
	void (*join)(const struct lending_account *a, int64_t share, struct share_part more, void *arg);
	int64_t (*missing_us)(const struct lending_account *a, void *arg); /* now */
	void *arg;
};

struct lender;

struct lender *lender_new(struct store *store, const struct uuid *self, const struct lending_hooks *hooks);
void lender_free(struct lender *l);
/*
 * One round over all accounts that there are.  An error says why the database did not do it: shares stay as they are.
 */
int lender_round(struct lender *l, const struct lending_account *list, size_t n, int64_t now_ms, struct err *err);
/* Gives everything back; rounds change nothing any more. */
int lender_leave(struct lender *l, const struct lending_account *list, size_t n, struct err *err);
/* How many other daemons were there at the last round; -1: the database has not said yet. */
int64_t lender_others(const struct lender *l);
int64_t lending_advance(int64_t limit);
