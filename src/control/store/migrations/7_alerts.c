/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 7: alerts, and what silences them.  fingerprint says what an alert is about: of one thing at most one fires,
 * whichever daemon saw it.  instance is the daemon that watches it, empty for what is about all of them.  use_case is
 * empty for none, and so are rule and use_case of a silence that any matches.
 */
#include "control/store/migrations/migrations.h"

static const char shared_sql[] =
	"create table alerts (\n"
	"	id text not null primary key,\n"
	"	rule text not null,\n"
	"	fingerprint text not null,\n"
	"	instance text not null,\n"
	"	use_case text not null,\n"
	"	alert_key text not null,\n"
	"	severity text not null check (severity in ('info', 'warning', 'critical')),\n"
	"	state text not null check (state in ('firing', 'resolved')),\n"
	"	summary text not null,\n"
	"	details text not null,\n"
	"	since_us bigint not null,\n"
	"	fired_us bigint not null,\n"
	"	resolved_us bigint not null,\n"
	"	delivery text not null,\n"
	"	delivered_us bigint not null,\n"
	"	delivery_error text not null,\n"
	"	seen_us bigint not null\n"
	");\n"
	"create unique index alerts_one_firing on alerts (fingerprint) where state = 'firing';\n"
	"create index alerts_by_rule on alerts (rule, id);\n"
	"create index alerts_by_use_case on alerts (use_case, id);\n"
	"\n"
	"create table alert_silences (\n"
	"	id text not null primary key,\n"
	"	rule text not null,\n"
	"	use_case text not null,\n"
	"	created_us bigint not null,\n"
	"	until_us bigint not null,\n"
	"	actor text not null,\n"
	"	reason text not null\n"
	");\n";

static const char postgres_sql[] =
	"alter table alerts alter id type text collate \"C\", alter rule type text collate \"C\",\n"
	"	alter use_case type text collate \"C\", alter fingerprint type text collate \"C\";\n"
	"alter table alert_silences alter id type text collate \"C\";\n";

const struct migration migration_7_alerts = {
	.name = "alerts",
	.sql = shared_sql,
	.only = {{"postgres", postgres_sql}},
};
