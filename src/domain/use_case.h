/* SPDX-License-Identifier: Apache-2.0 */
/* What traffic is routed by, and how each is to be served. */
#pragma once
#include "domain/budget.h"
#include "domain/model.h"

#define USE_CASE_MAX_FALLBACKS 8

enum log_mode {
	LOG_FULL,     /* prompt, context, output and tool calls are kept */
	LOG_METADATA, /* everything but the texts */
	LOG_NONE,     /* nothing */
};

/* What is done when a streamed answer breaks off. */
enum answer_mode {
	ANSWER_ERROR,  /* what came has left; an error of the caller's protocol follows */
	ANSWER_BUFFER, /* nothing leaves before the answer is whole: another model may take over up to its end */
	ANSWER_RESUME, /* another model goes on where it broke off, if it can; else as ANSWER_ERROR */
};
#define USE_CASE_MAX_RETRIES 5
#define USE_CASE_MAX_CONCURRENCY 1000000

#define USE_CASE_MAX_CACHE_S 604800 /* a week */

/* Whose answers a request may get: those of its own key, or of everybody who may call the use case. */
enum cache_scope { CACHE_KEY, CACHE_USE_CASE };

/* Who is refused first when there is too much to do. */
enum priority { PRIORITY_NORMAL, PRIORITY_LOW, PRIORITY_HIGH };

struct use_case {
	struct slice name;
	struct slice fallback[USE_CASE_MAX_FALLBACKS]; /* "name@version", tried in order after the current model */
	size_t n_fallback;
	struct slice fallback_content; /* what is answered when nothing serves; absent: the configuration file's */
	struct slice policy;	       /* name of the guardrail policy; absent: "default"; "none": no checks */
	enum log_mode log;
	enum answer_mode answer_mode;
	bool has_retries;
	unsigned retries;	 /* of one request, at a model that failed it */
	bool translate_strictly; /* what a model of another protocol could not get is refused */
	bool log_required;	 /* what cannot be recorded is not answered */
	enum priority priority;
	int64_t max_concurrency; /* requests under way at once, in one daemon; 0: any number */
	int64_t cache_ttl_s;	 /* how long an answer serves the same request again; 0: it does not */
	enum cache_scope cache_scope;
	struct budgets budgets;
	int64_t connect_timeout_ms, first_byte_timeout_ms, between_timeout_ms,
		total_timeout_ms; /* 0: the configuration file's */
	int64_t created_us, updated_us;
};

/*
 * The settings as a JSON object, every member optional:
 * {"fallback": ["name@version", ...], "fallback_content": "text", "policy": "name", "log": "full" | "metadata" |
 * "none", "log_durability": "best_effort" | "required", "timeouts": {"connect_ms", "first_byte_ms", "between_ms",
 * "total_ms"}, "translation": "lenient" | "strict", "retries": 0 to 5 (default 1), "answer_mode": "error" | "buffer" |
 * "resume",
 * "priority": "low" | "normal" | "high", "max_concurrency": 0, "cache": null |
 * {"ttl_s": 1 to 604800, "scope": "key" | "use_case"}, "budget": null | "50/month", "token_budget": null |
 * "2000000/day"} and use_case, created_at, updated_at, which
 * use_case_write adds (use_case has to be the name).  This is what PUT /api/v1/use-cases/{use_case} takes and the store
 * keeps.
 */
int use_case_parse(struct arena *a, struct slice name, const struct json *settings, struct use_case *ret,
		   struct err *err);
struct json_writer;
void use_case_write(struct json_writer *w, const struct use_case *u); /* one object, every setting */
/* E_INVALID when settings hold a member that use_case_parse does not know; it names the nearest.  For what people
 * write: what is stored may come from a newer binary, and is read without this. */
int use_case_settings_check(const struct json *settings, struct err *err);
const char *log_mode_name(enum log_mode m);
const char *answer_mode_name(enum answer_mode m);
const char *priority_name(enum priority p);
/* "foundation" and "foundation_layer" both give the use case foundation_layer: writes into ret (USE_CASE_MAX + 1 bytes
 * or more). */
struct slice use_case_of_layer(struct slice layer, char ret[USE_CASE_MAX + 8]);
