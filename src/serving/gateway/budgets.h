/* SPDX-License-Identifier: Apache-2.0 */
/* The accounts that a snapshot's keys and use cases spend from. */
#pragma once
#include "serving/resilience/budget.h"
#include "serving/snapshot/snapshot.h"

/* By unit; NULL: none. */
struct budget_set {
	struct budget_account *of[BUDGET_N_UNITS];
};

struct gateway_budgets; /* made in gateway.h */

/* Control plane: finds or makes them.  b NULL: there are none. */
int budgets_prepare(struct gateway_budgets *b, struct snapshot *s, struct err *err);
void budgets_release(struct snapshot *s);
/* On loops: the lender is asked for more; b may be NULL. */
void budgets_ask(struct gateway_budgets *b);
