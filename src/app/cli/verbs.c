/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of verbs.  Help, the man page and shell completion are printed from it: a verb or an option that is not
 * here does not exist.
 */
#include "app/cli/cli_internal.h"

#define STATUSES "candidate|testing|current|deprecated|archived"
#define RECORD_STATUSES "ok|error|blocked|truncated|client_disconnect|timeout"
#define SEVERITIES "low|medium|high|critical"

#define ALERT_RULES "registry_unavailable|logging_failures|critical_violation|deployment_failed|performance_degraded"

#define OPTIONS(o) .options = (o), .n_options = COUNT_OF(o)

static const struct option health_options[] = {
	{"wait", OPTION_DURATION, OPTIONAL, "DURATION",
	 "Wait until all is ok, at most that long: for a daemon that has just been started, or a database that comes "
	 "back."},
};
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

#define USE_CASE_FILTER                                                                     \
	{                                                                                   \
		"use-case", OPTION_USE_CASE, OPTIONAL, "USE_CASE", "Only of this use case." \
	}
#define MODEL_USE_CASE                                                       \
	{                                                                    \
		"use-case", OPTION_USE_CASE, OPTIONAL, "USE_CASE",           \
			"Of which use case, when MODEL alone names several." \
	}
#define WHY(doc)                                          \
	{                                                 \
		"why", OPTION_TEXT, OPTIONAL, "TEXT", doc \
	}
#define WHY_NEEDED                                                                                     \
	{                                                                                              \
		"why", OPTION_TEXT, REQUIRED, "TEXT", "The reason: it stays in the history. Required." \
	}
#define BEFORE                                                                                        \
	{                                                                                             \
		"before", OPTION_TEXT, OPTIONAL, "ID", "Only what is older than this: the next page." \
	}
#define LIMIT(doc)                                          \
	{                                                   \
		"limit", OPTION_INTEGER, OPTIONAL, "N", doc \
	}
#define SINCE                                                                            \
	{                                                                                \
		"since", OPTION_TIME, OPTIONAL, "TIME",                                  \
			"Only from then on: 2026-11-23T14:30:00Z, or 15m, 24h, 7d back." \
	}
#define UNTIL                                                              \
	{                                                                  \
		"until", OPTION_TIME, OPTIONAL, "TIME", "Only up to then." \
	}

static const struct option model_list_options[] = {
	USE_CASE_FILTER,
	{"status", OPTION_CHOICE, OPTIONAL, "STATUS", "Only in this status.", STATUSES},
	{"provider", OPTION_TEXT, OPTIONAL, "PROVIDER", "Only of this provider."},
	{"name", OPTION_TEXT, OPTIONAL, "NAME", "Only of this name."},
	{"all", OPTION_FLAG, OPTIONAL, NULL, "Archived ones too."},
	LIMIT("At most so many. Default 1000, the most."),
	BEFORE,
};
static const struct option model_options[] = {MODEL_USE_CASE};
static const struct option register_options[] = {
	{"name", OPTION_TEXT, REQUIRED, "NAME", "What it is called. Required."},
	{"version", OPTION_TEXT, REQUIRED, "VERSION", "Its version. Required."},
	{"use-case", OPTION_USE_CASE, REQUIRED, "USE_CASE", "What it is to serve. Required."},
	{"provider", OPTION_TEXT, REQUIRED, "PROVIDER",
	 "ollama, vllm, openai, ... or sim, which is built in. Required."},
	{"endpoint", OPTION_TEXT, OPTIONAL, "URL",
	 "Where it answers. Its path may say the protocol. Default: the provider's."},
	{"upstream-model", OPTION_TEXT, OPTIONAL, "NAME", "What the endpoint calls it. Default: NAME."},
	{"protocol", OPTION_CHOICE, OPTIONAL, "PROTOCOL",
	 "What the endpoint speaks. Default: as its path or the provider says.", "openai|ollama|generate"},
	{"type", OPTION_TEXT, OPTIONAL, "TEXT", "Kind of model, kept as it is: self_hosted, api, ..."},
	{"api-key-env", OPTION_TEXT, OPTIONAL, "NAME",
	 "Environment variable of the daemon that holds the endpoint's key."},
	{"model-api-key-file", OPTION_FILE, OPTIONAL, "FILE",
	 "File, readable by the daemon, that holds the endpoint's key."},
	{"parameters", OPTION_JSON, OPTIONAL, "JSON", "Defaults for what callers leave out: {\"max_tokens\": 256}."},
	{"sim", OPTION_JSON, OPTIONAL, "JSON",
	 "Behaviour of a simulated model: {\"text\", \"latency_ms\", \"tokens_per_s\", ...}."},
	{"config", OPTION_JSON, OPTIONAL, "JSON", "The whole configuration, or @FILE. Options above win over it."},
	{"metrics", OPTION_JSON, OPTIONAL, "JSON", "What is known of its performance."},
	{"status", OPTION_CHOICE, OPTIONAL, "STATUS", "Its first status. Default candidate.", STATUSES},
	WHY("The reason: it stays in the history."),
};
static const struct option promote_options[] = {MODEL_USE_CASE, WHY_NEEDED};
static const struct option change_options[] = {MODEL_USE_CASE, WHY("The reason: it stays in the history.")};
static const struct option history_options[] = {
	{"use-case", OPTION_USE_CASE, OPTIONAL, "USE_CASE", "Of this use case: all that happened there."},
	{"at", OPTION_TIME, OPTIONAL, "TIME",
	 "What was current then (with --use-case): 2026-11-23T14:30:00Z, or 15m, 24h, 7d back."},
	LIMIT("At most so many. Default 50, at most 1000."),
	BEFORE,
};
static const struct option use_case_history_options[] = {
	{"at", OPTION_TIME, OPTIONAL, "TIME", "What was current then: 2026-11-23T14:30:00Z, or 15m, 24h, 7d back."},
	LIMIT("At most so many. Default 50, at most 1000."),
	BEFORE,
};
static const struct option use_case_set_options[] = {
	{"fallback", OPTION_TEXT, OPTIONAL, "A@1,B@2",
	 "Models to try, in order, when the current one fails. \"\": none."},
	{"fallback-content", OPTION_TEXT, OPTIONAL, "TEXT",
	 "What is answered when nothing serves. \"\": the configuration file's."},
	{"policy", OPTION_TEXT, OPTIONAL, "POLICY", "Guardrail policy; none: no checks. \"\": default."},
	{"log", OPTION_CHOICE, OPTIONAL, "MODE",
	 "What the historical log keeps: everything, all but the texts, or nothing. Default full.",
	 "full|metadata|none"},
	{"retries", OPTION_INTEGER, OPTIONAL, "N",
	 "How often the last model of the chain is asked again after a fault, 0 to 5. Default 1."},
	{"priority", OPTION_CHOICE, OPTIONAL, "PRIORITY",
	 "Who is refused first when too much is under way. Default normal.", "low|normal|high"},
	{"max-concurrency", OPTION_INTEGER, OPTIONAL, "N",
	 "Requests under way at once in one daemon; one more gets 503. 0: any number. Default 0."},
	{"answer-mode", OPTION_CHOICE, OPTIONAL, "MODE",
	 "When a stream breaks off: an error in the caller's protocol, or nothing leaves before it is whole. Default "
	 "error.",
	 "error|buffer"},
	{"log-durability", OPTION_CHOICE, OPTIONAL, "MODE",
	 "When the log has no room: answer all the same, or refuse. Default best_effort.", "best_effort|required"},
	{"translation", OPTION_CHOICE, OPTIONAL, "MODE",
	 "What a model of another protocol cannot get: leave it out and name it, or refuse the request. Default "
	 "lenient.",
	 "lenient|strict"},
	{"cache-ttl", OPTION_DURATION, OPTIONAL, "DURATION",
	 "How long an answer serves the same request again. 0: it does not. Default 0."},
	{"cache-scope", OPTION_CHOICE, OPTIONAL, "SCOPE",
	 "Whose answers a request may get: those of its key, or of all callers. Default key.", "key|use_case"},
	{"connect-timeout", OPTION_DURATION, OPTIONAL, "DURATION",
	 "Time to connect to a model. 0: the configuration file's."},
	{"first-byte-timeout", OPTION_DURATION, OPTIONAL, "DURATION",
	 "Time a model has to begin its answer. 0: the configuration file's."},
	{"between-timeout", OPTION_DURATION, OPTIONAL, "DURATION",
	 "Longest silence inside an answer. 0: the configuration file's."},
	{"total-timeout", OPTION_DURATION, OPTIONAL, "DURATION",
	 "Time for all of one model's answer. 0: the configuration file's."},
	WHY("The reason: it stays in the history."),
};
static const struct option current_options[] = {
	{"at", OPTION_TIME, OPTIONAL, "TIME",
	 "What was current then: 2026-11-23T14:30:00Z, or 15m, 24h, 7d back. Default: now."},
};
static const struct option generate_options[] = {
	{"stream", OPTION_FLAG, OPTIONAL, NULL,
	 "Print the answer as it comes: the default on a terminal. With --json: an event per line."},
	{"no-stream", OPTION_FLAG, OPTIONAL, NULL, "Print it when it is whole: the default elsewhere."},
	{"max-tokens", OPTION_INTEGER, OPTIONAL, "N", "Longest answer, in tokens. Default: the model's."},
	{"temperature", OPTION_NUMBER, OPTIONAL, "T", "Randomness, 0 to 2. Default: the model's."},
	{"context", OPTION_JSON, OPTIONAL, "JSON", "What the model is told besides, or @FILE."},
	{"model", OPTION_MODEL, OPTIONAL, "MODEL",
	 "Ask this model, whatever is current; then the words are all prompt."},
};
static const struct option log_list_options[] = {
	USE_CASE_FILTER,
	{"model", OPTION_MODEL, OPTIONAL, "MODEL", "Only of this model."},
	{"status", OPTION_CHOICE, OPTIONAL, "STATUS", "Only with this result.", RECORD_STATUSES},
	SINCE,
	UNTIL,
	{"text", OPTION_FLAG, OPTIONAL, NULL, "With prompt, context and output (in --json)."},
	LIMIT("At most so many. Default 50, at most 1000."),
	BEFORE,
};
static const struct option log_purge_options[] = {
	{"older-than", OPTION_TIME, OPTIONAL, "AGE",
	 "What came before then: 90d, 12h, or a time. PostgreSQL drops whole days, those that had ended by then."},
	{"caller", OPTION_TEXT, OPTIONAL, "NAME", "Only records of this caller: the name of its key."},
	{"content-only", OPTION_FLAG, OPTIONAL, NULL,
	 "Remove prompt, context and output alone; the rest of each record stays, and says when they went."},
	WHY_NEEDED,
	{"yes", OPTION_FLAG, OPTIONAL, NULL, "Really. Without it nothing is removed."},
};
static const struct option log_tail_options[] = {
	USE_CASE_FILTER,
	{"model", OPTION_MODEL, OPTIONAL, "MODEL", "Only of this model."},
	{"status", OPTION_CHOICE, OPTIONAL, "STATUS", "Only with this result.", RECORD_STATUSES},
	{"text", OPTION_FLAG, OPTIONAL, NULL, "With prompt, context and output."},
	LIMIT("Begin with the last so many. Default 10."),
};
static const struct option check_options[] = {
	{"side", OPTION_CHOICE, OPTIONAL, "SIDE", "As what a caller sends or what a model answers. Default output.",
	 "input|output"},
	{"policy", OPTION_TEXT, OPTIONAL, "POLICY", "With this policy. Default: the use case's, else default."},
	{"use-case", OPTION_USE_CASE, OPTIONAL, "USE_CASE", "With the policy of this use case."},
};
static const struct option why_options[] = {WHY("The reason: it stays in the history.")};
static const struct option violation_options[] = {
	USE_CASE_FILTER,
	{"model", OPTION_MODEL, OPTIONAL, "MODEL", "Only of this model."},
	{"category", OPTION_TEXT, OPTIONAL, "CATEGORY", "Only of this category."},
	{"severity", OPTION_CHOICE, OPTIONAL, "SEVERITY", "Only of this severity.", SEVERITIES},
	SINCE,
	UNTIL,
	LIMIT("At most so many. Default 50, at most 1000."),
	BEFORE,
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
static const struct option deploy_start_options[] = {
	{"use-case", OPTION_USE_CASE, REQUIRED, "USE_CASE", "Whose traffic moves. Required."},
	{"model", OPTION_MODEL, REQUIRED, "MODEL", "Where it moves to. Required."},
	{"strategy", OPTION_CHOICE, REQUIRED, "STRATEGY",
	 "all_at_once: current at once, with --hold watched first. blue_green: all traffic at once, the model before "
	 "stands by until the hold is over. canary: step by step. Required.",
	 "all_at_once|blue_green|canary"},
	{"steps", OPTION_TEXT, OPTIONAL, "10,25,100", "Shares of a canary in percent. Default 10,25,50,75,100."},
	{"hold", OPTION_DURATION, OPTIONAL, "DURATION", "Time of each step. Default 5m; all_at_once: 0."},
	{"max-wait", OPTION_DURATION, OPTIONAL, "DURATION",
	 "Longest time to wait for enough requests after a hold; then it pauses. Default 1h."},
	{"max-pause", OPTION_DURATION, OPTIONAL, "DURATION", "Longest pause; then it is aborted. Default 24h."},
	{"max-error-rate", OPTION_NUMBER, OPTIONAL, "PERCENT", "Rolled back past it. Default 5."},
	{"max-latency", OPTION_DURATION, OPTIONAL, "DURATION",
	 "Rolled back when the 95th percentile of whole answers is past it. Default: not judged."},
	{"max-latency-ratio", OPTION_NUMBER, OPTIONAL, "N",
	 "The same, as a multiple of the current model's. Default: not judged."},
	{"max-violation-rate", OPTION_NUMBER, OPTIONAL, "PERCENT",
	 "Rolled back when more answers than that hit a guardrail. Default 1."},
	{"min-samples", OPTION_INTEGER, OPTIONAL, "N", "Fewer requests in a step promote nothing. Default 50."},
	WHY("The reason: it stays in the history."),
};
static const struct option deploy_status_options[] = {
	USE_CASE_FILTER,
	{"active", OPTION_FLAG, OPTIONAL, NULL, "Only those that are under way."},
	LIMIT("At most so many. Default 20, at most 1000."),
	BEFORE,
};
#define DATABASE_BESIDE                                                                                   \
	{"config", OPTION_FILE, OPTIONAL, "FILE", "The stopped daemon's configuration file."},            \
		{"data", OPTION_FILE, OPTIONAL, "DIR", "The stopped daemon's data directory."},           \
	{                                                                                                 \
		"database-url", OPTION_TEXT, OPTIONAL, "URL", "The database of a daemon that is stopped." \
	}
static const struct option review_options[] = {
	{"window", OPTION_DURATION, OPTIONAL, "DURATION", "How long: 24h, 7d, or any from 10m to 31d. Default 24h."},
	USE_CASE_FILTER,
	{"until", OPTION_TIME, OPTIONAL, "TIME", "Where the window ends. Default now."},
	{"format", OPTION_CHOICE, OPTIONAL, "FORMAT",
	 "Default: as the ending of FILE says (.md, .html), else terminal.", "terminal|markdown|html"},
	{"output", OPTION_FILE, OPTIONAL, "FILE", "Write it there. Default: standard output."},
};
static const struct option rollback_options[] = {
	{"to", OPTION_MODEL, OPTIONAL, "MODEL",
	 "The model to serve. Default: the one before; while a deployment is under way, the current one."},
	{"snapshot", OPTION_TEXT, OPTIONAL, "ID",
	 "Model, configuration and settings as they were then: muster deploy show, or GET /api/v1/snapshots."},
	WHY_NEEDED,
	DATABASE_BESIDE,
};
static const struct option alert_list_options[] = {
	{"state", OPTION_CHOICE, OPTIONAL, "STATE", "Only those that fire, or only those that are over.",
	 "firing|resolved"},
	{"rule", OPTION_CHOICE, OPTIONAL, "RULE", "Only of this rule.", ALERT_RULES},
	USE_CASE_FILTER,
	LIMIT("At most so many. Default 50, at most 1000."),
	BEFORE,
};
static const struct option silence_add_options[] = {
	{"rule", OPTION_CHOICE, OPTIONAL, "RULE", "Alerts of this rule. Default: of any.", ALERT_RULES},
	{"use-case", OPTION_USE_CASE, OPTIONAL, "USE_CASE", "Alerts of this use case. Default: of any."},
	{"for", OPTION_DURATION, REQUIRED, "DURATION", "How long: 30m, 2h, 7d; at most 90d. Required."},
	WHY_NEEDED,
};
static const struct option key_create_options[] = {
	{"name", OPTION_TEXT, REQUIRED, "NAME",
	 "Who holds it: what it does stands in the history under this. Required."},
	{"role", OPTION_CHOICE, REQUIRED, "ROLE",
	 "client: inference, guardrail checks, log records. operator: also reads everything, promotes, rolls back and "
	 "deploys. admin: everything. Required.",
	 "admin|operator|client"},
	{"use-case", OPTION_USE_CASE, OPTIONAL, "USE_CASE", "A client may ask for this one only. Default: all.", NULL,
	 true},
	{"expires", OPTION_DURATION, OPTIONAL, "DURATION", "How long it lives: 90d. Default: until it is revoked."},
	{"requests-per-minute", OPTION_INTEGER, OPTIONAL, "N", "More are refused with 429. Default 0: no limit."},
	{"tokens-per-minute", OPTION_INTEGER, OPTIONAL, "N",
	 "Of prompts and answers; once they are used up, requests are refused with 429. Default 0: no limit."},
	WHY_NEEDED,
	DATABASE_BESIDE,
};
static const struct option key_list_options[] = {
	{"all", OPTION_FLAG, OPTIONAL, NULL, "Revoked ones too."},
	DATABASE_BESIDE,
};
static const struct option key_revoke_options[] = {WHY_NEEDED, DATABASE_BESIDE};
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
static const struct verb model_list = {"model list",
				       "",
				       0,
				       0,
				       "What is registered, by use case.",
				       NULL,
				       "muster model list --use-case foundation_layer",
				       OPTIONS(model_list_options),
				       model_list_run};
static const struct verb model_show = {
	"model show",
	"MODEL",
	1,
	1,
	"All about one model.",
	"MODEL is name@version, a name that is unique, an id or a unique beginning of one (6 characters or more).",
	"muster model show tiny@1.0",
	OPTIONS(model_options),
	model_show_run};
static const struct verb model_register = {
	"model register",
	"",
	0,
	0,
	"Register a model.",
	"It serves nothing before it is promoted, unless --status current says so. Keys of endpoints are never given "
	"here: "
	"name the variable or the file that holds one.",
	"muster model register --name tiny --version 1.0 --use-case foundation_layer --provider ollama "
	"--endpoint http://127.0.0.1:11434 --upstream-model stories260K",
	OPTIONS(register_options),
	model_register_run};
static const struct verb model_promote = {
	"model promote",
	"MODEL",
	1,
	1,
	"Make a model the current one of its use case.",
	"The one before it becomes deprecated in the same step.",
	"muster model promote tiny@1.0 --use-case foundation_layer --why \"first real model\"",
	OPTIONS(promote_options),
	model_promote_run};
static const struct verb model_set_status = {"model set-status",
					     "MODEL STATUS",
					     2,
					     2,
					     "Change a model's status.",
					     "STATUS is candidate, testing, current, deprecated or archived.",
					     "muster model set-status tiny@1.0 testing --why \"ready for a trial\"",
					     OPTIONS(promote_options),
					     model_set_status_run};
static const struct verb model_set_config = {
	"model set-config",
	"MODEL JSON",
	2,
	2,
	"Replace a model's configuration.",
	"JSON is an object, @FILE, or - for standard input.",
	"muster model set-config tiny@1.0 '{\"endpoint\": \"http://127.0.0.1:11434\"}' --why \"moved\"",
	OPTIONS(change_options),
	model_set_config_run};
static const struct verb model_set_metrics = {"model set-metrics",
					      "MODEL JSON",
					      2,
					      2,
					      "Replace a model's performance metrics.",
					      "JSON is an object, @FILE, or - for standard input.",
					      "muster model set-metrics tiny@1.0 '{\"accuracy\": 0.91}'",
					      OPTIONS(change_options),
					      model_set_metrics_run};
static const struct verb model_rm = {
	"model rm",
	"MODEL",
	1,
	1,
	"Archive a model.",
	"Nothing is deleted: it serves no more, its history stays, and set-status takes it back.",
	"muster model rm tiny@1.0 --why \"replaced by 2.0\"",
	OPTIONS(promote_options),
	model_rm_run};
static const struct verb model_history = {"model history",
					  "[MODEL]",
					  0,
					  1,
					  "Who changed what, when and why.",
					  "Without MODEL and --use-case: every change, of policies and keys too.",
					  "muster model history --use-case foundation_layer --at 24h",
					  OPTIONS(history_options),
					  model_history_run};
static const struct verb use_case_list = {"use-case list",
					  "",
					  0,
					  0,
					  "Use cases, what serves them, and their settings.",
					  NULL,
					  "muster use-case list",
					  .run = use_case_list_run};
static const struct verb use_case_show = {"use-case show",
					  "USE_CASE",
					  1,
					  1,
					  "All about one use case.",
					  NULL,
					  "muster use-case show foundation_layer",
					  .run = use_case_show_run};
static const struct verb use_case_set = {
	"use-case set",
	"USE_CASE",
	1,
	1,
	"Change settings of a use case.",
	"Settings that are not given stay as they are.",
	"muster use-case set foundation_layer --fallback tiny@1.0 --first-byte-timeout 30s --why \"slow mornings\"",
	OPTIONS(use_case_set_options),
	use_case_set_run};
static const struct verb use_case_history = {"use-case history",
					     "USE_CASE",
					     1,
					     1,
					     "Who changed what, when and why.",
					     NULL,
					     "muster use-case history foundation_layer",
					     OPTIONS(use_case_history_options),
					     use_case_history_run};
static const struct verb current = {"current",
				    "USE_CASE",
				    1,
				    1,
				    "The model that serves a use case.",
				    NULL,
				    "muster current foundation_layer",
				    OPTIONS(current_options),
				    current_run};
static const struct verb generate = {
	"generate",
	"USE_CASE PROMPT...",
	1,
	ARGS_MAX_OPERANDS,
	"Ask a model.",
	"USE_CASE may be a layer: foundation is foundation_layer. A PROMPT of - is read from standard input.",
	"muster generate foundation \"Once upon a time\"",
	OPTIONS(generate_options),
	generate_run};
static const struct verb log_list = {"log list",
				     "",
				     0,
				     0,
				     "The historical log, newest first.",
				     NULL,
				     "muster log list --use-case foundation_layer --since 1h",
				     OPTIONS(log_list_options),
				     log_list_run};
static const struct verb log_tail = {"log tail",
				     "",
				     0,
				     0,
				     "Follow the historical log, until interrupted.",
				     "With --json one record per line.",
				     "muster log tail --status error",
				     OPTIONS(log_tail_options),
				     log_tail_run};
static const struct verb log_show = {"log show",
				     "LOG",
				     1,
				     1,
				     "All about one record, texts included.",
				     "LOG is its id or a unique beginning of it.",
				     "muster log show 01938f2a-7c1e-7b40",
				     .run = log_show_run};
static const struct verb log_retention = {
	"log retention",
	"",
	0,
	0,
	"How long the historical log is kept, its size, and what goes next.",
	"history.retention and history.content_retention of the configuration say how long.",
	"muster log retention",
	.run = log_retention_run};
static const struct verb log_purge = {"log purge",
				      "",
				      0,
				      0,
				      "Remove records of the historical log, or their texts, for good.",
				      "Needs the role admin. What was removed, by whom and why, is an event: kind "
				      "history.dropped.",
				      "muster log purge --older-than 90d --why \"contract ended\" --yes",
				      OPTIONS(log_purge_options),
				      log_purge_run};
static const struct verb guardrail_check = {
	"guardrail check",
	"TEXT...",
	1,
	ARGS_MAX_OPERANDS,
	"Judge texts.",
	"A single TEXT of - is read from standard input. The exit status is 0 when all are compliant, 1 when not.",
	"muster guardrail check \"my card is 4111 1111 1111 1111\"",
	OPTIONS(check_options),
	guardrail_check_run};
static const struct verb policy_list = {
	"guardrail policy list", "", 0, 0, "Guardrail policies.", NULL, "muster guardrail policy list",
	.run = policy_list_run};
static const struct verb policy_show = {"guardrail policy show",
					"POLICY",
					1,
					1,
					"The rules of a policy.",
					NULL,
					"muster guardrail policy show default --json",
					.run = policy_show_run};
static const struct verb policy_set = {"guardrail policy set",
				       "FILE",
				       1,
				       1,
				       "Make or replace a policy.",
				       "FILE holds the policy as JSON, its name included; - is standard input.",
				       "muster guardrail policy set strict.json --why \"after the audit\"",
				       OPTIONS(why_options),
				       policy_set_run};
static const struct verb violations = {"guardrail violations",
				       "",
				       0,
				       0,
				       "What guardrails found, newest first.",
				       NULL,
				       "muster guardrail violations --severity high --since 24h",
				       OPTIONS(violation_options),
				       guardrail_violations_run};
static const struct verb deploy_start = {
	"deploy start",
	"",
	0,
	0,
	"Move a use case to another model, watched.",
	"A request that fails on the new model is answered by the current one. Past a limit it is rolled back by "
	"itself; with too few requests nothing is promoted.",
	"muster deploy start --use-case foundation_layer --model tiny@2.0 --strategy canary --why faster",
	OPTIONS(deploy_start_options),
	deploy_start_run};
static const struct verb deploy_status = {"deploy status",
					  "",
					  0,
					  0,
					  "Deployments, newest first.",
					  NULL,
					  "muster deploy status --active",
					  OPTIONS(deploy_status_options),
					  deploy_status_run};
static const struct verb deploy_watch = {"deploy watch",
					 "[DEPLOYMENT]",
					 0,
					 1,
					 "Follow a deployment to its end.",
					 "DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or "
					 "the use case. The exit status is 1 when it did not succeed.",
					 "muster deploy watch foundation_layer",
					 .run = deploy_watch_run};
static const struct verb deploy_show = {
	"deploy show",
	"DEPLOYMENT",
	1,
	1,
	"All about one deployment, and what it was decided on.",
	"DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or a use case: its deployment under "
	"way, or its last.",
	"muster deploy show 0198b2a4",
	.run = deploy_show_run};
static const struct verb deploy_pause = {
	"deploy pause",
	"DEPLOYMENT",
	1,
	1,
	"Keep the share as it is.",
	"DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or the use case.",
	"muster deploy pause foundation_layer --why \"a look first\"",
	OPTIONS(why_options),
	deploy_pause_run};
static const struct verb deploy_resume = {
	"deploy resume",
	"DEPLOYMENT",
	1,
	1,
	"Go on with the same step.",
	"DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or the use case.",
	"muster deploy resume foundation_layer --why \"looks good\"",
	OPTIONS(why_options),
	deploy_resume_run};
static const struct verb deploy_promote = {
	"deploy promote",
	"DEPLOYMENT",
	1,
	1,
	"Make the new model current now.",
	"DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or the use case.",
	"muster deploy promote foundation_layer --why \"seen enough\"",
	OPTIONS(why_options),
	deploy_promote_run};
static const struct verb deploy_abort = {
	"deploy abort",
	"DEPLOYMENT",
	1,
	1,
	"Give all traffic back to the current model.",
	"DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or the use case.",
	"muster deploy abort foundation_layer --why \"wrong version\"",
	OPTIONS(why_options),
	deploy_abort_run};
static const struct verb rollback = {
	"rollback",
	"USE_CASE",
	1,
	1,
	"Take a use case back to the model before, at once.",
	"Ends a deployment that is under way. Works while the database is away, too: it is recorded later. When the "
	"daemon is stopped, --data, --config or --database-url say where its database is.",
	"muster rollback foundation_layer --why \"answers in the wrong language\"",
	OPTIONS(rollback_options),
	rollback_run};
static const struct verb review = {
	"review",
	"",
	0,
	0,
	"What happened in the last day or week.",
	"Requests, errors, latencies, violations, deployments, what was changed and by whom, against the same time "
	"before; the targets of operation; and what is worth a look, with the command that shows more. A target is "
	"met only when it was measured for all of the window.",
	"muster review --window 7d --output review.html",
	OPTIONS(review_options),
	review_run};
static const struct verb alert_list = {"alert list",
				       "",
				       0,
				       0,
				       "Alerts, newest first: what fires, what did, and whether it was delivered.",
				       "While the database is away: what the daemon that answers has in memory.",
				       "muster alert list --state firing",
				       OPTIONS(alert_list_options),
				       alert_list_run};
static const struct verb alert_test = {
	"alert test",
	"[RECEIVER]",
	0,
	1,
	"Send a test to every receiver, or to one, and say what each answered.",
	"Receivers are those of alerts.receivers in muster.yaml. The exit status is 1 when "
	"one did not take it.",
	"muster alert test",
	OPTIONS(why_options),
	alert_test_run};
static const struct verb alert_silence_add = {
	"alert silence add",
	"",
	0,
	0,
	"Deliver no alerts of a rule or a use case for a while.",
	"They still fire and are listed. With both, only what is of that rule and that use case.",
	"muster alert silence add --use-case npc_dialogue --for 2h --why \"known, fixed tonight\"",
	OPTIONS(silence_add_options),
	alert_silence_add_run};
static const struct verb alert_silence_list = {"alert silence list",
					       "",
					       0,
					       0,
					       "What is silenced, until when, by whom and why.",
					       NULL,
					       "muster alert silence list",
					       .run = alert_silence_list_run};
static const struct verb alert_silence_remove = {"alert silence remove",
						 "SILENCE",
						 1,
						 1,
						 "End a silence now.",
						 "SILENCE is its id: muster alert silence list shows it.",
						 "muster alert silence remove 0198b2a4-6d1e-7c55-8f00-1b2c3d4e5f60",
						 OPTIONS(why_options),
						 alert_silence_remove_run};
static const struct verb key_create = {"key create",
				       "",
				       0,
				       0,
				       "Make an API key, and print it once.",
				       "Standard output gets the key alone; what is kept of it is a hash. From the "
				       "first key on, everything but /health "
				       "asks for one; the first has to be an admin's. While the daemon is stopped, "
				       "--data, --config or --database-url say "
				       "where its database is.",
				       "muster key create --name npc-service --role client --use-case npc_dialogue "
				       "--expires 90d --why \"new service\"",
				       OPTIONS(key_create_options),
				       key_create_run};
static const struct verb key_list = {"key list",
				     "",
				     0,
				     0,
				     "API keys: who holds them, and what they may do.",
				     NULL,
				     "muster key list --all",
				     OPTIONS(key_list_options),
				     key_list_run};
static const struct verb key_show = {"key show",
				     "KEY",
				     1,
				     1,
				     "All about one key, but the key itself.",
				     "KEY is its name or its id.",
				     "muster key show npc-service",
				     .run = key_show_run};
static const struct verb key_revoke = {"key revoke",
				       "KEY",
				       1,
				       1,
				       "Take a key back: it opens nothing from then on.",
				       "KEY is its name or its id. Requests that are under way finish. While the "
				       "daemon is stopped, --data, --config or "
				       "--database-url say where its database is.",
				       "muster key revoke npc-service --why \"found in a repository\"",
				       OPTIONS(key_revoke_options),
				       key_revoke_run};
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
	&model_list,
	&model_show,
	&model_register,
	&model_promote,
	&model_set_status,
	&model_set_config,
	&model_set_metrics,
	&model_rm,
	&model_history,
	&use_case_list,
	&use_case_show,
	&use_case_set,
	&use_case_history,
	&current,
	&generate,
	&log_list,
	&log_tail,
	&log_show,
	&log_retention,
	&log_purge,
	&guardrail_check,
	&policy_list,
	&policy_show,
	&policy_set,
	&violations,
	&deploy_start,
	&deploy_status,
	&deploy_watch,
	&deploy_show,
	&deploy_pause,
	&deploy_resume,
	&deploy_promote,
	&deploy_abort,
	&rollback,
	&review,
	&alert_list,
	&alert_test,
	&alert_silence_add,
	&alert_silence_list,
	&alert_silence_remove,
	&key_create,
	&key_list,
	&key_show,
	&key_revoke,
	&migrate,
	&migrate_status,
	&version,
	&completion,
	&help,
	&complete,
};

const struct verb_table cli_verbs = {verbs, COUNT_OF(verbs), common, COUNT_OF(common), always, COUNT_OF(always)};
