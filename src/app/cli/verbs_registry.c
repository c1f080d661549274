/* SPDX-License-Identifier: Apache-2.0 */
/* Models, use cases, and what is current. Rows of the table of verbs (verbs.c). */
#include "app/cli/verbs.h"

#define STATUSES "candidate|testing|current|deprecated|archived"
#define MODEL_USE_CASE                                                       \
	{                                                                    \
		"use-case", OPTION_USE_CASE, OPTIONAL, "USE_CASE",           \
			"Of which use case, when MODEL alone names several." \
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
	 "What the endpoint speaks. Default: as its path or the provider says.",
	 "openai|anthropic|gemini|ollama|generate"},
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
	 "When a stream breaks off: an error in the caller's protocol; nothing leaves before it is whole; or a model "
	 "whose configuration says prefill goes on with it. Default error.",
	 "error|buffer|resume"},
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
	{"budget", OPTION_TEXT, OPTIONAL, "AMOUNT/PERIOD",
	 "Money that all its requests may spend in an hour, day, month (UTC) or in total: 50/month, \"50 EUR/month\". "
	 "Past "
	 "it they are refused with 429. \"\": no budget."},
	{"token-budget", OPTION_TEXT, OPTIONAL, "N/PERIOD", "The same in tokens, of prompts and answers: 2000000/day."},
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

const struct verb verb_model_list = {"model list",
				     "",
				     0,
				     0,
				     "What is registered, by use case.",
				     NULL,
				     "muster model list --use-case foundation_layer",
				     OPTIONS(model_list_options),
				     model_list_run};
const struct verb verb_model_show = {
	"model show",
	"MODEL",
	1,
	1,
	"All about one model.",
	"MODEL is name@version, a name that is unique, an id or a unique beginning of one (6 characters or more).",
	"muster model show tiny@1.0",
	OPTIONS(model_options),
	model_show_run};
const struct verb verb_model_register = {
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
const struct verb verb_model_promote = {
	"model promote",
	"MODEL",
	1,
	1,
	"Make a model the current one of its use case.",
	"The one before it becomes deprecated in the same step.",
	"muster model promote tiny@1.0 --use-case foundation_layer --why \"first real model\"",
	OPTIONS(promote_options),
	model_promote_run};
const struct verb verb_model_set_status = {"model set-status",
					   "MODEL STATUS",
					   2,
					   2,
					   "Change a model's status.",
					   "STATUS is candidate, testing, current, deprecated or archived.",
					   "muster model set-status tiny@1.0 testing --why \"ready for a trial\"",
					   OPTIONS(promote_options),
					   model_set_status_run};
const struct verb verb_model_set_config = {
	"model set-config",
	"MODEL JSON",
	2,
	2,
	"Replace a model's configuration.",
	"JSON is an object, @FILE, or - for standard input.",
	"muster model set-config tiny@1.0 '{\"endpoint\": \"http://127.0.0.1:11434\"}' --why \"moved\"",
	OPTIONS(change_options),
	model_set_config_run};
const struct verb verb_model_set_metrics = {"model set-metrics",
					    "MODEL JSON",
					    2,
					    2,
					    "Replace a model's performance metrics.",
					    "JSON is an object, @FILE, or - for standard input.",
					    "muster model set-metrics tiny@1.0 '{\"accuracy\": 0.91}'",
					    OPTIONS(change_options),
					    model_set_metrics_run};
const struct verb verb_model_rm = {
	"model rm",
	"MODEL",
	1,
	1,
	"Archive a model.",
	"Nothing is deleted: it serves no more, its history stays, and set-status takes it back.",
	"muster model rm tiny@1.0 --why \"replaced by 2.0\"",
	OPTIONS(promote_options),
	model_rm_run};
const struct verb verb_model_history = {"model history",
					"[MODEL]",
					0,
					1,
					"Who changed what, when and why.",
					"Without MODEL and --use-case: every change, of policies and keys too.",
					"muster model history --use-case foundation_layer --at 24h",
					OPTIONS(history_options),
					model_history_run};
const struct verb verb_use_case_list = {"use-case list",
					"",
					0,
					0,
					"Use cases, what serves them, and their settings.",
					NULL,
					"muster use-case list",
					.run = use_case_list_run};
const struct verb verb_use_case_show = {"use-case show",
					"USE_CASE",
					1,
					1,
					"All about one use case.",
					NULL,
					"muster use-case show foundation_layer",
					.run = use_case_show_run};
const struct verb verb_use_case_set = {
	"use-case set",
	"USE_CASE",
	1,
	1,
	"Change settings of a use case.",
	"Settings that are not given stay as they are.",
	"muster use-case set foundation_layer --fallback tiny@1.0 --first-byte-timeout 30s --why \"slow mornings\"",
	OPTIONS(use_case_set_options),
	use_case_set_run};
const struct verb verb_use_case_history = {"use-case history",
					   "USE_CASE",
					   1,
					   1,
					   "Who changed what, when and why.",
					   NULL,
					   "muster use-case history foundation_layer",
					   OPTIONS(use_case_history_options),
					   use_case_history_run};
const struct verb verb_current = {"current",
				  "USE_CASE",
				  1,
				  1,
				  "The model that serves a use case.",
				  NULL,
				  "muster current foundation_layer",
				  OPTIONS(current_options),
				  current_run};
