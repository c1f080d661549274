/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 11: budgets.  A key says what it may spend as people write it ("50 USD/month"), and whether it wants less than
 * all of its request to reach a model.  budgets.settled is what was spent of a budget in the period that begins at
 * start_us, by daemons that have left; a row of budget_loans is what one that has not was lent of it, and what it says
 * to have spent of that.
 */
#include "control/store/migrations/migrations.h"

static const char shared_sql[] = "alter table api_keys add column budget text;\n"
				 "alter table api_keys add column token_budget text;\n"
				 "alter table api_keys add column translation text;\n"
				 "create table budgets (\n"
				 "	budget text not null,\n"
				 "	start_us bigint not null,\n"
				 "	settled bigint not null,\n"
				 "	primary key (budget, start_us)\n"
				 ");\n"
				 "create table budget_loans (\n"
				 "	budget text not null,\n"
				 "	start_us bigint not null,\n"
				 "	instance text not null,\n"
				 "	lent bigint not null,\n"
				 "	spent bigint not null,\n"
				 "	wanted bigint not null,\n"
				 "	primary key (budget, start_us, instance)\n"
				 ");\n"
				 "create index budget_loans_by_instance on budget_loans (instance);\n";

const struct migration migration_11_budgets = {.name = "budgets", .sql = shared_sql};
