/* SPDX-License-Identifier: Apache-2.0 */
/*
 * budgets and budget_loans: what was spent of each budget in each period, and which daemon may spend how much of it.
 * What lends or gives back runs in a transaction that has the budget (store_budget_hold): nobody else lends of it until
 * that ends.  A daemon changes no row of budget_loans but its own, and that of one before it that is known to be dead.
 */
#pragma once
#include "control/store/db.h"
#include "core/base/uuid.h"

/* One daemon's part of one budget in one period. */
struct budget_loan {
	struct slice budget;
	int64_t start_us;
	struct uuid instance;
	int64_t lent, spent, wanted; /* wanted: by one request that found too little; 0: none did */
};

struct budget_pool {
	int64_t gone; /* settled, or lent to anybody */
	int64_t lent; /* to the instance that was asked for, of that */
	bool has_loan;
};
int store_budget_hold(struct db *db, const struct budget_loan *whose, struct budget_pool *ret, struct err *err);
int store_budget_put(struct db *db, const struct budget_loan *loan, struct err *err);
/* Takes the loan away, and counts what was spent of it; nothing when there is none any more. */
int store_budget_end(struct db *db, const struct budget_loan *loan, int64_t spent, struct err *err);
/* Says how it stands with the loan (spent, wanted), without a transaction. */
int store_budget_tell(struct db *db, const struct budget_loan *loan, struct err *err);

/* A budget in a period, of which this daemon has a loan. */
struct budget_standing {
	struct slice budget;
	int64_t start_us;
	int64_t gone;	       /* settled, or lent to anybody */
	int64_t own_lent;      /* as its row says */
	int64_t others_spent;  /* and settled; those that have gone are taken to have spent all they were lent */
	int64_t others_wanted; /* the most that one of them wants */
	struct slice first_wanting;
};
#define STORE_BUDGETS_MAX 50000
int store_budget_standings(struct db *db, struct arena *a, const struct uuid *self, struct budget_standing **ret,
			   size_t *ret_n, struct err *err);

/* How it stands, for people. */
struct budget_state {
	struct slice budget;
	int64_t start_us;
	int64_t spent; /* with all that daemons were lent that have gone */
	int64_t held;  /* by daemons: lent, and not spent yet */
};
/* Of all budgets whose name begins with the prefix ("key/"), in the periods that begin at these moments. */
#define STORE_BUDGET_STARTS 4
struct budget_states {
	struct budget_state *list;
	size_t n;
};
int store_budget_states(struct db *db, struct arena *a, struct slice prefix,
			const int64_t start_us[STORE_BUDGET_STARTS], struct budget_states *ret, struct err *err);

/* The loans of one daemon; instance NULL: of all but self. */
struct budget_loans {
	struct budget_loan *list;
	size_t n;
};
int store_budget_loans(struct db *db, struct arena *a, const struct uuid *instance, const struct uuid *self,
		       struct budget_loans *ret, struct err *err);
/* Forgets periods that began before: totals stay. */
int store_budgets_sweep(struct db *db, int64_t before_us, struct err *err);
