/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of verbs.  Help, the man page and shell completion are printed from it: a verb or an option that is not
 * here does not exist.  The verbs stand in this file and in verbs_registry.c, verbs_serving.c and verbs_operations.c.
 */
#include "app/cli/verbs.h"

static const struct option always[] = {
	{"help", OPTION_FLAG, OPTIONAL, NULL, "Show what this command does and takes."},
};
static const struct option common[] = {
	{"json", OPTION_FLAG, OPTIONAL, NULL,
	 "Print the answer of the API: one JSON document. Times are UTC, ids whole."},
	{"url", OPTION_TEXT, OPTIONAL, "URL",
	 "Where the daemon answers. Default: MUSTER_URL, else http://127.0.0.1:8080."},
	{"api-key-file", OPTION_FILE, OPTIONAL, "FILE",
	 "File whose first line is the API key. Default: the key in MUSTER_API_KEY. No option takes the key itself: "
	 "everyone on the machine would see it."},
	{"timeout", OPTION_DURATION, OPTIONAL, "DURATION", "Longest time for one call. Default 10m."},
};
#define CONFIGURATION_OPTIONS                                                                         \
	{"config", OPTION_FILE, OPTIONAL, "FILE", "The daemon's configuration file. Default: none."}, \
		{"data", OPTION_FILE, OPTIONAL, "DIR",                                                \
		 "The daemon's data directory. Default: MUSTER_DATA, else ./var."},                   \
	{                                                                                             \
		"database-url", OPTION_TEXT, OPTIONAL, "URL",                                         \
			"The database itself. Default: MUSTER_DATABASE_URL or POSTGRES_HOST, else "   \
			"sqlite:DIR/muster.db."                                                       \
	}
#define DATABASE_OPTIONS                                                        \
	CONFIGURATION_OPTIONS,                                                  \
	{                                                                       \
		"json", OPTION_FLAG, OPTIONAL, NULL, "Print one JSON document." \
	}

static const struct option health_options[] = {
	{"wait", OPTION_DURATION, OPTIONAL, "DURATION",
	 "Wait until all is ok, at most that long: for a daemon that has just been started, or a database that comes "
	 "back."},
};
static const struct option migrate_options[] = {
	{"dry-run", OPTION_FLAG, OPTIONAL, NULL, "Print the SQL that would run, and change nothing."},
	DATABASE_OPTIONS,
};
static const struct option migrate_status_options[] = {DATABASE_OPTIONS};
static const struct option version_options[] = {
	{"json", OPTION_FLAG, OPTIONAL, NULL, "Print one JSON document."},
};
static const struct option readiness_options[] = {
	{"production", OPTION_FLAG, OPTIONAL, NULL, "A few warnings are failures then; they say so."},
	{"no-probe", OPTION_FLAG, OPTIONAL, NULL, "Ask no model and no hardcoded endpoint."},
	{"junit", OPTION_FILE, OPTIONAL, "FILE", "Write the report there too, as JUnit XML."},
	{"backup", OPTION_FILE, OPTIONAL, "DIR", "Where backups of the registry are kept."},
	CONFIGURATION_OPTIONS,
};
static const struct option help_options[] = {
	{"man", OPTION_FLAG, OPTIONAL, NULL, "Print the man page, in roff."},
};
static const struct option serve_options[] = {
	{"config", OPTION_FILE, OPTIONAL, "FILE", "Configuration file. Default: none."},
	{"listen", OPTION_TEXT, OPTIONAL, "ADDR:PORT", "Where it answers. Default 127.0.0.1:8080."},
	{"data", OPTION_FILE, OPTIONAL, "DIR", "What it keeps. Default ./var."},
	{"demo", OPTION_FLAG, OPTIONAL, NULL, "With four use cases and a simulated model for each."},
	{"dump-config", OPTION_FLAG, OPTIONAL, NULL,
	 "Print every option with its value and where that came from, and end."},
	{"dump-options", OPTION_FLAG, OPTIONAL, NULL, "Print every option there is, and end."},
};

static const struct verb serve = {"serve",
				  "",
				  0,
				  0,
				  "Run the daemon.",
				  "Every key of muster.yaml is an option too: muster serve --dump-options lists them.",
				  "muster serve --demo",
				  OPTIONS(serve_options),
				  NULL,
				  .local = true};
static const struct verb health = {"health",
				   "",
				   0,
				   0,
				   "How the daemon and its parts are.",
				   "The exit status is 1 when any part has failed; with --wait, when not all of "
				   "them are ok in time.",
				   "muster health --wait 30s",
				   OPTIONS(health_options),
				   health_run};
static const struct verb check = {
	"check",
	"",
	0,
	0,
	"Whether all is ready: configuration, database, daemon, models, log, guardrails.",
	"Works beside a stopped daemon too. What could not be done is skipped, never passed. It leaves behind one "
	"record "
	"in the historical log, of use case muster_check, and without --no-probe one for each model that it asks. "
	"The exit status is 0 when nothing failed, else 1. Each call may take 60 s unless --timeout says otherwise.",
	"muster check --production --config muster.yaml",
	OPTIONS(readiness_options),
	check_run_verb};
static const struct verb migrate = {
	"migrate",
	"",
	0,
	0,
	"Bring the database to the level of this program.",
	"Works on the database itself; the daemon does the same when it starts. Migrations only add.",
	"muster migrate --dry-run",
	OPTIONS(migrate_options),
	migrate_verb_run,
	.local = true};
static const struct verb migrate_status = {"migrate status",
					   "",
					   0,
					   0,
					   "The level of the database, and of this program.",
					   NULL,
					   "muster migrate status",
					   OPTIONS(migrate_status_options),
					   migrate_status_run,
					   .local = true};
static const struct verb version = {"version",
				    "",
				    0,
				    0,
				    "The version of this program.",
				    NULL,
				    "muster version",
				    OPTIONS(version_options),
				    version_run,
				    .local = true};
static const struct verb completion = {
	"completion",
	"SHELL",
	1,
	1,
	"Print completions for bash, zsh or fish.",
	"bash: muster completion bash > /etc/bash_completion.d/muster; zsh: muster completion zsh > a "
	"directory of fpath, as _muster; fish: muster completion fish > "
	"~/.config/fish/completions/muster.fish.",
	"muster completion bash",
	.run = completion_run,
	.local = true};
static const struct verb help = {
	"help",	  "[VERB...]",	0, 3, "Show help.", NULL, "muster help model register", OPTIONS(help_options),
	help_run, .local = true};
static const struct verb complete = {"__complete",	  "WHAT",	 1, 1, "Names for completion.", NULL, "",
				     .run = complete_run, .hidden = true};

static const struct verb *const verbs[] = {
	&serve,
	&health,
	&check,
	&verb_model_list,
	&verb_model_show,
	&verb_model_register,
	&verb_model_promote,
	&verb_model_set_status,
	&verb_model_set_config,
	&verb_model_set_metrics,
	&verb_model_rm,
	&verb_model_history,
	&verb_use_case_list,
	&verb_use_case_show,
	&verb_use_case_set,
	&verb_use_case_history,
	&verb_current,
	&verb_generate,
	&verb_log_list,
	&verb_log_tail,
	&verb_log_show,
	&verb_log_retention,
	&verb_log_purge,
	&verb_guardrail_check,
	&verb_policy_list,
	&verb_policy_show,
	&verb_policy_set,
	&verb_violations,
	&verb_deploy_start,
	&verb_deploy_status,
	&verb_deploy_watch,
	&verb_deploy_show,
	&verb_deploy_pause,
	&verb_deploy_resume,
	&verb_deploy_promote,
	&verb_deploy_abort,
	&verb_rollback,
	&verb_review,
	&verb_alert_list,
	&verb_alert_test,
	&verb_alert_silence_add,
	&verb_alert_silence_list,
	&verb_alert_silence_remove,
	&verb_key_create,
	&verb_key_set,
	&verb_key_list,
	&verb_key_show,
	&verb_key_revoke,
	&migrate,
	&migrate_status,
	&version,
	&completion,
	&help,
	&complete,
};

const struct verb_table cli_verbs = {verbs, COUNT_OF(verbs), common, COUNT_OF(common), always, COUNT_OF(always)};
