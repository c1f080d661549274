/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 6: what retention needs.  content_removed_us stands behind the texts of a record and is NULL until they are
 * removed, so that reading the rest of a row still never walks through them.  log_retention says how far the removal
 * of texts has come (arrival), and what was removed that no event tells of yet: both are written in the transaction
 * that removes, so that whoever goes on after a crash neither repeats nor hides anything.
 */
#include "control/store/migrations/migrations.h"

static const char shared_sql[] = "alter table model_historical_logs add column content_removed_us bigint;\n"
				 "\n"
				 "create table log_retention (\n"
				 "	name text not null primary key check (name in ('records', 'texts')),\n"
				 "	arrival bigint not null,\n"
				 "	n_records bigint not null,\n"
				 "	n_violations bigint not null,\n"
				 "	from_us bigint not null,\n"
				 "	to_us bigint not null,\n"
				 "	actor text not null,\n"
				 "	reason text not null\n"
				 ");\n"
				 "insert into log_retention values ('records', 0, 0, 0, 0, 0, '', '');\n"
				 "insert into log_retention values ('texts', 0, 0, 0, 0, 0, '', '');\n";

const struct migration migration_6_retention = {.name = "retention", .sql = shared_sql};
