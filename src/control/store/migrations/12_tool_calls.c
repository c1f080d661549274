/* SPDX-License-Identifier: Apache-2.0 */
/* Level 12: the calls of tools that an answer made, a JSON array; NULL: none, or they are where the column texts says.
 */
#include "control/store/migrations/migrations.h"

static const char shared_sql[] = "alter table model_historical_logs add column tool_calls text;\n";

const struct migration migration_12_tool_calls = {.name = "tool_calls", .sql = shared_sql};
