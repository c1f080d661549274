/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 2: API keys.  digest is the SHA-256 of the key, which itself is nowhere.  A revoked key stays, for the history
 * names it; its name may be given again.  use_cases: names with a space between them, empty for all.
 */
#include "control/store/migrations/migrations.h"

static const char shared_sql[] = "create table api_keys (\n"
				 "	id text not null primary key,\n"
				 "	name text not null,\n"
				 "	role text not null check (role in ('client', 'operator', 'admin')),\n"
				 "	digest text not null unique,\n"
				 "	use_cases text not null,\n"
				 "	requests_per_minute bigint not null,\n"
				 "	tokens_per_minute bigint not null,\n"
				 "	created_us bigint not null,\n"
				 "	expires_us bigint not null,\n"
				 "	revoked_us bigint not null\n"
				 ");\n"
				 "create unique index api_keys_one_in_use on api_keys (name) where revoked_us = 0;\n";

static const char postgres_sql[] =
	"alter table api_keys alter id type text collate \"C\", alter name type text collate \"C\";\n";

const struct migration migration_2_api_keys = {
	.name = "api keys",
	.sql = shared_sql,
	.only = {{"postgres", postgres_sql}},
};
