/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 3: what several daemons on one database need.  registry_changes counts the changes, in the transaction of each:
 * a daemon whose snapshot was built at another count has something to read.  (The newest event would not do: its id
 * holds the clock of whoever made it.)  A lease is never deleted, so its epoch only grows.
 */
#include "control/store/migrations/migrations.h"

static const char shared_sql[] = "create table registry_changes (\n"
				 "	id bigint not null primary key check (id = 1),\n"
				 "	n bigint not null\n"
				 ");\n"
				 "insert into registry_changes (id, n) values (1, 0);\n"
				 "\n"
				 "create table leases (\n"
				 "	name text not null primary key,\n"
				 "	holder text not null,\n"
				 "	epoch bigint not null,\n"
				 "	expires_us bigint not null\n"
				 ");\n";

const struct migration migration_3_replicas = {.name = "replicas", .sql = shared_sql};
