/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 1: registry, use cases, policies, events, the historical log, violations, snapshots and deployments.
 *
 * model_historical_logs is written at request rate, so it has the fewest indexes that its reads can live with: ids are
 * UUIDv7 made by Muster, so the order of ids is the order of time, and (use_case, id) and (model_id, id) give "the
 * newest of these" without a sort.  Its large texts stand last, so that reading the rest of a row never walks through
 * them.  model_id has no foreign key: a record is never refused because a model is gone.  None of its columns is
 * `not null` or has a check: with a constraint that can stop a statement between two rows, SQLite keeps a copy of each
 * page that an insert of many rows touches, which costs more than the insert.  arrival is the order in which records
 * came in: that of ids is the order in which exchanges began, and who follows the log by it would pass over a long one.
 */
#include "control/store/migrations/migrations.h"

#define LOG_COLUMNS                    \
	"	id text,\n"                  \
	"	created_us bigint,\n"        \
	"	source text,\n"              \
	"	status text,\n"              \
	"	use_case text,\n"            \
	"	model_id text,\n"            \
	"	model_name text,\n"          \
	"	provider text,\n"            \
	"	caller text,\n"              \
	"	request_id text,\n"          \
	"	prompt_tokens bigint,\n"     \
	"	completion_tokens bigint,\n" \
	"	tokens_estimated bigint,\n"  \
	"	latency_us bigint,\n"        \
	"	first_token_us bigint,\n"    \
	"	http_status bigint,\n"       \
	"	fallback text,\n"            \
	"	stream bigint,\n"            \
	"	guard_action text,\n"        \
	"	guard_skipped bigint,\n"     \
	"	finish_reason text,\n"       \
	"	error text,\n"               \
	"	parameters text,\n"          \
	"	attempts text,\n"            \
	"	context text,\n"             \
	"	prompt text,\n"              \
	"	output text,\n"

#define LOG_INDEXES                                                                                 \
	"create index model_historical_logs_by_use_case on model_historical_logs (use_case, id);\n" \
	"create index model_historical_logs_by_model on model_historical_logs (model_id, id);\n"

static const char shared_sql[] =
	"create table schema_migrations (\n"
	"	level bigint not null primary key,\n"
	"	name text not null,\n"
	"	applied_us bigint not null\n"
	");\n"
	"\n"
	"create table model_registry (\n"
	"	id text not null primary key,\n"
	"	model_name text not null,\n"
	"	version text not null,\n"
	"	use_case text not null,\n"
	"	model_type text,\n"
	"	provider text not null,\n"
	"	configuration text not null,\n"
	"	performance_metrics text,\n"
	"	status text not null check (status in ('candidate', 'testing', 'current', 'deprecated', 'archived')),\n"
	"	created_us bigint not null,\n"
	"	updated_us bigint not null,\n"
	"	status_since_us bigint not null,\n"
	"	unique (model_name, version, use_case)\n"
	");\n"
	"create unique index model_registry_one_current on model_registry (use_case) where status = 'current';\n"
	"create index model_registry_by_use_case on model_registry (use_case, status);\n"
	"\n"
	"create table use_cases (\n"
	"	name text not null primary key,\n"
	"	settings text not null,\n"
	"	created_us bigint not null,\n"
	"	updated_us bigint not null\n"
	");\n"
	"\n"
	"create table guardrail_policies (\n"
	"	name text not null primary key,\n"
	"	document text not null,\n"
	"	created_us bigint not null,\n"
	"	updated_us bigint not null\n"
	");\n"
	"\n"
	"create table registry_events (\n"
	"	id text not null primary key,\n"
	"	at_us bigint not null,\n"
	"	kind text not null,\n"
	"	subject text not null,\n"
	"	use_case text,\n"
	"	actor text not null,\n"
	"	reason text not null,\n"
	"	before_json text,\n"
	"	after_json text\n"
	");\n"
	"create index registry_events_by_use_case on registry_events (use_case, id);\n"
	"create index registry_events_by_subject on registry_events (subject, id);\n"
	"\n"
	"create table guardrails_violations (\n"
	"	id text not null primary key,\n"
	"	log_id text not null,\n"
	"	created_us bigint not null,\n"
	"	model_id text,\n"
	"	model_name text,\n"
	"	use_case text,\n"
	"	policy text,\n"
	"	rule text not null,\n"
	"	category text,\n"
	"	action text not null,\n"
	"	severity text not null,\n"
	"	side text not null,\n"
	"	start_byte bigint not null,\n"
	"	length_bytes bigint not null\n"
	");\n"
	"create index guardrails_violations_by_log on guardrails_violations (log_id);\n"
	"create index guardrails_violations_by_time on guardrails_violations (created_us, id);\n"
	"create index guardrails_violations_by_use_case on guardrails_violations (use_case, created_us, id);\n"
	"\n"
	"create table model_snapshots (\n"
	"	id text not null primary key,\n"
	"	created_us bigint not null,\n"
	"	use_case text not null,\n"
	"	model_id text,\n"
	"	deployment_id text,\n"
	"	actor text not null,\n"
	"	reason text not null,\n"
	"	document text not null\n"
	");\n"
	"create index model_snapshots_by_use_case on model_snapshots (use_case, id);\n"
	"\n"
	"create table model_deployments (\n"
	"	id text not null primary key,\n"
	"	use_case text not null,\n"
	"	model_id text not null,\n"
	"	previous_model_id text,\n"
	"	snapshot_id text,\n"
	"	strategy text not null check (strategy in ('all_at_once', 'blue_green', 'canary', 'shadow')),\n"
	"	state text not null,\n"
	"	step bigint not null,\n"
	"	share_percent bigint not null,\n"
	"	since_us bigint not null,\n"
	"	holds_until_us bigint not null,\n"
	"	settings text not null,\n"
	"	evidence text,\n"
	"	rollback_reason text,\n"
	"	actor text not null,\n"
	"	reason text not null,\n"
	"	epoch bigint not null,\n"
	"	created_us bigint not null,\n"
	"	updated_us bigint not null,\n"
	"	finished_us bigint\n"
	");\n"
	"create unique index model_deployments_one_active on model_deployments (use_case) where finished_us is null;\n"
	"create index model_deployments_by_use_case on model_deployments (use_case, id);\n";

/* The history can be appended to and read; whoever wants to rewrite it has to drop these first, in sight of everybody.
 */
static const char sqlite_sql[] = "create table model_historical_logs (\n"
				 "	arrival integer primary key,\n" LOG_COLUMNS "	unique (id)\n"
				 ");\n" LOG_INDEXES "\n"
				 "create trigger registry_events_no_update before update on registry_events\n"
				 "begin\n"
				 "	select raise(abort, 'registry_events is append-only');\n"
				 "end;\n"
				 "create trigger registry_events_no_delete before delete on registry_events\n"
				 "begin\n"
				 "	select raise(abort, 'registry_events is append-only');\n"
				 "end;\n";

/*
 * The log is partitioned by day; partitions are made ahead (store_partitions_ensure), and what fits none of them is
 * kept in the default one.  created_us is part of the key because PostgreSQL wants it there; a record that comes twice
 * has the same one again.  Ids and names are compared byte by byte on every database: reads rest on the order of ids.
 */
static const char postgres_sql[] =
	"create sequence model_historical_logs_arrival;\n"
	"create table model_historical_logs (\n"
	"	arrival bigint not null default nextval('model_historical_logs_arrival'),\n" LOG_COLUMNS
	"	primary key (id, created_us)\n"
	") partition by range (created_us);\n"
	"alter table model_historical_logs alter id type text collate \"C\", alter use_case type text collate \"C\",\n"
	"	alter model_id type text collate \"C\", alter model_name type text collate \"C\";\n"
	"create table model_historical_logs_default partition of model_historical_logs default;\n" LOG_INDEXES
	"create index model_historical_logs_by_arrival on model_historical_logs (arrival);\n"
	"\n"
	"alter table model_registry alter id type text collate \"C\", alter model_name type text collate \"C\",\n"
	"	alter version type text collate \"C\", alter use_case type text collate \"C\";\n"
	"alter table use_cases alter name type text collate \"C\";\n"
	"alter table guardrail_policies alter name type text collate \"C\";\n"
	"alter table registry_events alter id type text collate \"C\", alter subject type text collate \"C\",\n"
	"	alter use_case type text collate \"C\";\n"
	"alter table guardrails_violations alter id type text collate \"C\", alter log_id type text collate \"C\",\n"
	"	alter use_case type text collate \"C\";\n"
	"alter table model_snapshots alter id type text collate \"C\", alter use_case type text collate \"C\";\n"
	"alter table model_deployments alter id type text collate \"C\", alter use_case type text collate \"C\";\n"
	"\n"
	"create function registry_events_refuse() returns trigger language plpgsql as $$\n"
	"begin\n"
	"	raise exception 'registry_events is append-only' using errcode = 'check_violation';\n"
	"end\n"
	"$$;\n"
	"create trigger registry_events_append_only before update or delete or truncate on registry_events\n"
	"	for each statement execute function registry_events_refuse();\n";

const struct migration migration_1_foundation = {
	.name = "foundation",
	.sql = shared_sql,
	.only = {{"sqlite", sqlite_sql}, {"postgres", postgres_sql}},
};
