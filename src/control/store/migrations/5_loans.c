/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 5: what daemons on one database share out among them.  A daemon is there while its row in replicas has not
 * expired.  A loan is how much of a subject's limit (kind: which limit) one of them may spend; what nobody has is the
 * pool's, and loan_pools.state says how it stands.  wanted: more than amount when the borrower is short of it.
 */
#include "control/store/migrations/migrations.h"

static const char shared_sql[] = "create table replicas (\n"
				 "	instance text not null primary key,\n"
				 "	expires_us bigint not null\n"
				 ");\n"
				 "create table loan_pools (\n"
				 "	kind text not null,\n"
				 "	subject text not null,\n"
				 "	state bigint not null,\n"
				 "	primary key (kind, subject)\n"
				 ");\n"
				 "create table loans (\n"
				 "	kind text not null,\n"
				 "	subject text not null,\n"
				 "	instance text not null,\n"
				 "	amount bigint not null,\n"
				 "	wanted bigint not null,\n"
				 "	primary key (kind, subject, instance)\n"
				 ");\n"
				 "create index loans_by_instance on loans (instance);\n";

const struct migration migration_5_loans = {.name = "loans", .sql = shared_sql};
