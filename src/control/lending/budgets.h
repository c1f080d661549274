/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Budgets that daemons share: what each may spend is lent to it in a transaction that has the budget, and all loans and
 * what was settled together are never more than the budget.  A daemon that is alone is lent all that is left; among
 * several each has a part that shrinks with what is left, asks for more before it is used up, and gives back what
 * another is short of.  A daemon without the database goes on with what it holds.
 *
 * A daemon that died cannot be told from one that only we cannot hear: what it was lent counts as spent until the
 * period is over, unless its successor on the same data directory knows better (budget_lender_settle).
 *
 * One lender per process; calls come one after the other, from any thread but a loop's.
 */
#pragma once
#include "control/store/budgets.h"
#include "control/store/store.h"
#include "serving/resilience/budget.h"

struct budget_lender;

struct budget_lender *budget_lender_new(struct store *store, const struct uuid *self);
void budget_lender_free(struct budget_lender *l);

struct budget_moment {
	int64_t now_us; /* wall clock: it says which period it is */
	int64_t others; /* daemons; -1: not known */
};
/* One round over all accounts that there are.  An error says why the database did not do it. */
int budget_lender_round(struct budget_lender *l, struct budget_account *const *list, size_t n,
			const struct budget_moment *m, struct err *err);
/* These are spent from no more: what is left of their loans goes back. */
int budget_lender_end(struct budget_lender *l, struct budget_account *const *list, size_t n, struct err *err);

/* What a dead daemon had spent of a loan; it says what is counted as spent, for whoever knows no better: loan->lent. */
typedef int64_t budget_spent_fn(const struct budget_loan *loan, void *arg);
/* dead NULL: all daemons but this one are: nobody else can use the database. */
int budget_lender_settle(struct budget_lender *l, const struct uuid *dead, budget_spent_fn *spent, void *arg,
			 struct err *err);
