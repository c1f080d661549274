/* SPDX-License-Identifier: Apache-2.0 */
/* What applications see: answers, the historical log, guardrails. Rows of the table of verbs (verbs.c). */
#include "app/cli/verbs.h"

#define RECORD_STATUSES "ok|error|blocked|truncated|client_disconnect|timeout|shutdown"
#define SEVERITIES "low|medium|high|critical"
#define SINCE                                                                            \
	{                                                                                \
		"since", OPTION_TIME, OPTIONAL, "TIME",                                  \
			"Only from then on: 2026-11-23T14:30:00Z, or 15m, 24h, 7d back." \
	}
#define UNTIL                                                              \
	{                                                                  \
		"until", OPTION_TIME, OPTIONAL, "TIME", "Only up to then." \
	}

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
	{"text", OPTION_FLAG, OPTIONAL, NULL, "With prompt, context, output and tool calls (in --json)."},
	LIMIT("At most so many. Default 50, at most 1000."),
	BEFORE,
};
static const struct option log_purge_options[] = {
	{"older-than", OPTION_TIME, OPTIONAL, "AGE",
	 "What came before then: 90d, 12h, or a time. PostgreSQL drops whole days, those that had ended by then."},
	{"caller", OPTION_TEXT, OPTIONAL, "NAME", "Only records of this caller: the name of its key."},
	{"content-only", OPTION_FLAG, OPTIONAL, NULL,
	 "Remove prompt, context, output and tool calls alone; the rest of each record stays, and says when they "
	 "went."},
	WHY_NEEDED,
	{"yes", OPTION_FLAG, OPTIONAL, NULL, "Really. Without it nothing is removed."},
};
static const struct option log_tail_options[] = {
	USE_CASE_FILTER,
	{"model", OPTION_MODEL, OPTIONAL, "MODEL", "Only of this model."},
	{"status", OPTION_CHOICE, OPTIONAL, "STATUS", "Only with this result.", RECORD_STATUSES},
	{"text", OPTION_FLAG, OPTIONAL, NULL, "With prompt, context, output and tool calls."},
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

const struct verb verb_generate = {
	"generate",
	"USE_CASE PROMPT...",
	1,
	ARGS_MAX_OPERANDS,
	"Ask a model.",
	"USE_CASE may be a layer: foundation is foundation_layer. A PROMPT of - is read from standard input.",
	"muster generate foundation \"Once upon a time\"",
	OPTIONS(generate_options),
	generate_run};
const struct verb verb_log_list = {"log list",
				   "",
				   0,
				   0,
				   "The historical log, newest first.",
				   NULL,
				   "muster log list --use-case foundation_layer --since 1h",
				   OPTIONS(log_list_options),
				   log_list_run};
const struct verb verb_log_tail = {"log tail",
				   "",
				   0,
				   0,
				   "Follow the historical log, until interrupted.",
				   "With --json one record per line.",
				   "muster log tail --status error",
				   OPTIONS(log_tail_options),
				   log_tail_run};
const struct verb verb_log_show = {"log show",
				   "LOG",
				   1,
				   1,
				   "All about one record, texts included.",
				   "LOG is its id or a unique beginning of it.",
				   "muster log show 01938f2a-7c1e-7b40",
				   .run = log_show_run};
const struct verb verb_log_retention = {
	"log retention",
	"",
	0,
	0,
	"How long the historical log is kept, its size, and what goes next.",
	"history.retention and history.content_retention of the configuration say how long.",
	"muster log retention",
	.run = log_retention_run};
const struct verb verb_log_purge = {"log purge",
				    "",
				    0,
				    0,
				    "Remove records of the historical log, or their texts, for good.",
				    "Needs the role admin. What was removed, by whom and why, is an event: kind "
				    "history.dropped.",
				    "muster log purge --older-than 90d --why \"contract ended\" --yes",
				    OPTIONS(log_purge_options),
				    log_purge_run};
const struct verb verb_guardrail_check = {
	"guardrail check",
	"TEXT...",
	1,
	ARGS_MAX_OPERANDS,
	"Judge texts.",
	"A single TEXT of - is read from standard input. The exit status is 0 when all are compliant, 1 when not.",
	"muster guardrail check \"my card is 4111 1111 1111 1111\"",
	OPTIONS(check_options),
	guardrail_check_run};
const struct verb verb_policy_list = {
	"guardrail policy list", "", 0, 0, "Guardrail policies.", NULL, "muster guardrail policy list",
	.run = policy_list_run};
const struct verb verb_policy_show = {"guardrail policy show",
				      "POLICY",
				      1,
				      1,
				      "The rules of a policy.",
				      NULL,
				      "muster guardrail policy show default --json",
				      .run = policy_show_run};
const struct verb verb_policy_set = {"guardrail policy set",
				     "FILE",
				     1,
				     1,
				     "Make or replace a policy.",
				     "FILE holds the policy as JSON, its name included; - is standard input.",
				     "muster guardrail policy set strict.json --why \"after the audit\"",
				     OPTIONS(why_options),
				     policy_set_run};
const struct verb verb_violations = {"guardrail violations",
				     "",
				     0,
				     0,
				     "What guardrails found, newest first.",
				     NULL,
				     "muster guardrail violations --severity high --since 24h",
				     OPTIONS(violation_options),
				     guardrail_violations_run};
