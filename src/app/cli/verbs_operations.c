/* SPDX-License-Identifier: Apache-2.0 */
/* Deployments, rollbacks, reviews, alerts and keys. Rows of the table of verbs (verbs.c). */
#include "app/cli/verbs.h"

#define ALERT_RULES                                                                                        \
	"registry_unavailable|logging_failures|critical_violation|deployment_failed|performance_degraded|" \
	"budget_nearly_spent|budget_spent"
#define DATABASE_BESIDE                                                                                   \
	{"config", OPTION_FILE, OPTIONAL, "FILE", "The stopped daemon's configuration file."},            \
		{"data", OPTION_FILE, OPTIONAL, "DIR", "The stopped daemon's data directory."},           \
	{                                                                                                 \
		"database-url", OPTION_TEXT, OPTIONAL, "URL", "The database of a daemon that is stopped." \
	}

static const struct option why_options[] = {WHY("The reason: it stays in the history.")};
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
/* What a key may spend, and how it is translated. */
#define SPENDING_OPTIONS                                                                                             \
	{"budget", OPTION_TEXT, OPTIONAL, "AMOUNT/PERIOD",                                                           \
	 "Money that it may spend in an hour, day, month (UTC) or in total: 50/month, \"50 EUR/month\", 500/total. " \
	 "Past "                                                                                                     \
	 "it requests are refused with 429. \"\": no budget."},                                                      \
		{"token-budget", OPTION_TEXT, OPTIONAL, "N/PERIOD",                                                  \
		 "The same in tokens, of prompts and answers: 2000000/day."},                                        \
	{                                                                                                            \
		"translation", OPTION_CHOICE, OPTIONAL, "MODE",                                                      \
			"strict: a request that a model of another protocol cannot get whole is refused, whatever "  \
			"the use "                                                                                   \
			"case says. Default lenient.",                                                               \
			"lenient|strict"                                                                             \
	}

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
	SPENDING_OPTIONS,
	WHY_NEEDED,
	DATABASE_BESIDE,
};
static const struct option key_set_options[] = {SPENDING_OPTIONS, WHY_NEEDED, DATABASE_BESIDE};
static const struct option key_list_options[] = {
	{"all", OPTION_FLAG, OPTIONAL, NULL, "Revoked ones too."},
	DATABASE_BESIDE,
};
static const struct option key_revoke_options[] = {WHY_NEEDED, DATABASE_BESIDE};

const struct verb verb_deploy_start = {
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
const struct verb verb_deploy_status = {"deploy status",
					"",
					0,
					0,
					"Deployments, newest first.",
					NULL,
					"muster deploy status --active",
					OPTIONS(deploy_status_options),
					deploy_status_run};
const struct verb verb_deploy_watch = {"deploy watch",
				       "[DEPLOYMENT]",
				       0,
				       1,
				       "Follow a deployment to its end.",
				       "DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or "
				       "the use case. The exit status is 1 when it did not succeed.",
				       "muster deploy watch foundation_layer",
				       .run = deploy_watch_run};
const struct verb verb_deploy_show = {
	"deploy show",
	"DEPLOYMENT",
	1,
	1,
	"All about one deployment, and what it was decided on.",
	"DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or a use case: its deployment under "
	"way, or its last.",
	"muster deploy show 0198b2a4",
	.run = deploy_show_run};
const struct verb verb_deploy_pause = {
	"deploy pause",
	"DEPLOYMENT",
	1,
	1,
	"Keep the share as it is.",
	"DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or the use case.",
	"muster deploy pause foundation_layer --why \"a look first\"",
	OPTIONS(why_options),
	deploy_pause_run};
const struct verb verb_deploy_resume = {
	"deploy resume",
	"DEPLOYMENT",
	1,
	1,
	"Go on with the same step.",
	"DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or the use case.",
	"muster deploy resume foundation_layer --why \"looks good\"",
	OPTIONS(why_options),
	deploy_resume_run};
const struct verb verb_deploy_promote = {
	"deploy promote",
	"DEPLOYMENT",
	1,
	1,
	"Make the new model current now.",
	"DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or the use case.",
	"muster deploy promote foundation_layer --why \"seen enough\"",
	OPTIONS(why_options),
	deploy_promote_run};
const struct verb verb_deploy_abort = {
	"deploy abort",
	"DEPLOYMENT",
	1,
	1,
	"Give all traffic back to the current model.",
	"DEPLOYMENT is an id, a unique beginning of one (6 characters or more), or the use case.",
	"muster deploy abort foundation_layer --why \"wrong version\"",
	OPTIONS(why_options),
	deploy_abort_run};
const struct verb verb_rollback = {
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
const struct verb verb_review = {
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
const struct verb verb_alert_list = {"alert list",
				     "",
				     0,
				     0,
				     "Alerts, newest first: what fires, what did, and whether it was delivered.",
				     "While the database is away: what the daemon that answers has in memory.",
				     "muster alert list --state firing",
				     OPTIONS(alert_list_options),
				     alert_list_run};
const struct verb verb_alert_test = {
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
const struct verb verb_alert_silence_add = {
	"alert silence add",
	"",
	0,
	0,
	"Deliver no alerts of a rule or a use case for a while.",
	"They still fire and are listed. With both, only what is of that rule and that use case.",
	"muster alert silence add --use-case npc_dialogue --for 2h --why \"known, fixed tonight\"",
	OPTIONS(silence_add_options),
	alert_silence_add_run};
const struct verb verb_alert_silence_list = {"alert silence list",
					     "",
					     0,
					     0,
					     "What is silenced, until when, by whom and why.",
					     NULL,
					     "muster alert silence list",
					     .run = alert_silence_list_run};
const struct verb verb_alert_silence_remove = {"alert silence remove",
					       "SILENCE",
					       1,
					       1,
					       "End a silence now.",
					       "SILENCE is its id: muster alert silence list shows it.",
					       "muster alert silence remove 0198b2a4-6d1e-7c55-8f00-1b2c3d4e5f60",
					       OPTIONS(why_options),
					       alert_silence_remove_run};
const struct verb verb_key_create = {"key create",
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
const struct verb verb_key_set = {"key set",
				  "KEY",
				  1,
				  1,
				  "Change what a key may spend, or how strictly it is translated.",
				  "KEY is its name or its id. What is not given stays as it is; what was spent in the "
				  "period stays spent. While the daemon is stopped, --data, --config or --database-url "
				  "say where its database is.",
				  "muster key set npc-service --budget 50/month --why \"agreed with finance\"",
				  OPTIONS(key_set_options),
				  key_set_run};
const struct verb verb_key_list = {"key list",
				   "",
				   0,
				   0,
				   "API keys: who holds them, and what they may do.",
				   NULL,
				   "muster key list --all",
				   OPTIONS(key_list_options),
				   key_list_run};
const struct verb verb_key_show = {"key show",
				   "KEY",
				   1,
				   1,
				   "All about one key, but the key itself.",
				   "KEY is its name or its id.",
				   "muster key show npc-service",
				   .run = key_show_run};
const struct verb verb_key_revoke = {"key revoke",
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
