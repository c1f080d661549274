/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 10: where the long texts of a record are, when they are not in the row (control/store/texts.h); NULL: they are.
 * The index finds the first and the last of them, and holds nothing for all other rows.
 */
#include "control/store/migrations/migrations.h"

static const char shared_sql[] = "alter table model_historical_logs add column texts text;\n";
static const char sqlite_sql[] = "create index model_historical_logs_by_texts on model_historical_logs (texts) where "
				 "texts is not null;\n";

const struct migration migration_10_texts = {.name = "texts", .sql = shared_sql, .only = {{"sqlite", sqlite_sql}}};
