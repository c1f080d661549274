/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of the table of verbs: options that several verbs take, and the verbs of the files beside verbs.c. */
#pragma once
#include "app/cli/cli_internal.h"

#define OPTIONS(o) .options = (o), .n_options = COUNT_OF(o)
#define USE_CASE_FILTER                                                                     \
	{                                                                                   \
		"use-case", OPTION_USE_CASE, OPTIONAL, "USE_CASE", "Only of this use case." \
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

/* verbs_registry.c */
extern const struct verb verb_model_list, verb_model_show, verb_model_register, verb_model_promote,
	verb_model_set_status, verb_model_set_config, verb_model_set_metrics, verb_model_rm, verb_model_history,
	verb_use_case_list, verb_use_case_show, verb_use_case_set, verb_use_case_history, verb_current;
/* verbs_serving.c */
extern const struct verb verb_generate, verb_log_list, verb_log_tail, verb_log_show, verb_log_retention, verb_log_purge,
	verb_guardrail_check, verb_policy_list, verb_policy_show, verb_policy_set, verb_violations;
/* verbs_operations.c */
extern const struct verb verb_deploy_start, verb_deploy_status, verb_deploy_watch, verb_deploy_show, verb_deploy_pause,
	verb_deploy_resume, verb_deploy_promote, verb_deploy_abort, verb_rollback, verb_review, verb_alert_list,
	verb_alert_test, verb_alert_silence_add, verb_alert_silence_list, verb_alert_silence_remove, verb_key_create,
	verb_key_set, verb_key_list, verb_key_show, verb_key_revoke;
