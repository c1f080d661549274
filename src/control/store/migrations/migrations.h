/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of the schema, in order.  A step that has shipped never changes: what is wrong in it, a later one mends. */
#pragma once

struct migration_dialect {
	const char *dialect, *sql;
};

#define MIGRATION_MAX_DIALECTS 2

struct migration {
	const char *name;
	const char *sql;				       /* what all dialects share */
	struct migration_dialect only[MIGRATION_MAX_DIALECTS]; /* runs after it */
};

extern const struct migration migration_1_foundation;
extern const struct migration migration_2_api_keys;
extern const struct migration migration_3_replicas;
extern const struct migration migration_4_figures;
extern const struct migration migration_5_loans;
extern const struct migration migration_6_retention;
extern const struct migration migration_7_alerts;
extern const struct migration migration_8_costs;
extern const struct migration migration_9_cached;
extern const struct migration migration_10_texts;
extern const struct migration migration_11_budgets;
extern const struct migration migration_12_tool_calls;
