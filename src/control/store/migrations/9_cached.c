/* SPDX-License-Identifier: Apache-2.0 */
/* Level 9: whether an earlier answer served, and no model was asked; NULL: no.  SQLite stores no bytes for that. */
#include "control/store/migrations/migrations.h"

static const char shared_sql[] = "alter table model_historical_logs add column cached bigint;\n";

const struct migration migration_9_cached = {.name = "cached", .sql = shared_sql};
