/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 8: what an answer has cost, in billionths of a unit of its currency.  Both are NULL where no price was known,
 * so that sums and averages in SQL are right.  They stand behind the texts: SQLite walks through those to read them.
 */
#include "control/store/migrations/migrations.h"

static const char shared_sql[] = "alter table model_historical_logs add column cost_nano bigint;\n"
				 "alter table model_historical_logs add column cost_currency text;\n";

const struct migration migration_8_costs = {.name = "costs", .sql = shared_sql};
