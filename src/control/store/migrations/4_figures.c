/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 4: what each daemon has counted of a deployment.  round: the epoch of the deployment at which the step began,
 * so that a step that is resumed begins at nothing again.
 */
#include "control/store/migrations/migrations.h"

#define ARM(name)                                       \
	"	" name "_requests bigint not null,\n"   \
	"	" name "_errors bigint not null,\n"     \
	"	" name "_violations bigint not null,\n" \
	"	" name "_latency text not null,\n"

static const char shared_sql[] = "create table deployment_figures (\n"
				 "	deployment_id text not null,\n"
				 "	round bigint not null,\n"
				 "	instance text not null,\n"
				 "	step bigint not null,\n" ARM("candidate")
					 ARM("current") "	primary key (deployment_id, round, instance)\n"
							");\n";

const struct migration migration_4_figures = {.name = "figures of deployments", .sql = shared_sql};
