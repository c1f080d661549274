/* SPDX-License-Identifier: Apache-2.0 */
/* One durable record: an exchange that Muster served, or one that an application reports. */
#pragma once
#include "core/base/uuid.h"
#include "domain/policy.h"
#include "domain/price.h"

enum record_status {
	RECORD_OK,
	RECORD_ERROR,		  /* no answer, or an upstream's error passed on */
	RECORD_BLOCKED,		  /* guardrails refused it */
	RECORD_TRUNCATED,	  /* the answer ended early, and the caller was told */
	RECORD_CLIENT_DISCONNECT, /* the caller left; tokens so far */
	RECORD_TIMEOUT,
	RECORD_SHUTDOWN, /* the daemon was stopped before the answer had ended */
	RECORD_N_STATUSES,
};

enum record_fallback { /* what served, when the current model did not */
		       RECORD_FALLBACK_NONE,
		       RECORD_FALLBACK_MODEL,	 /* the next model of the chain */
		       RECORD_FALLBACK_ENDPOINT, /* the hardcoded endpoint of the configuration file */
		       RECORD_FALLBACK_CONTENT,	 /* fallback content */
};

enum record_source { RECORD_GATEWAY, RECORD_APPLICATION };

#define RECORD_MAX_VIOLATIONS 32

struct record_violation {
	struct slice policy, rule, category;
	enum guard_action action;
	enum guard_severity severity;
	enum guard_side side;
	uint32_t start, length; /* bytes in the prompt or the output, as they came */
};

struct log_record {
	struct uuid id;
	int64_t created_us; /* when the request began */
	enum record_source source;
	struct slice request_id;
	struct slice model_id;	 /* text: a UUID, or whatever an application says */
	struct slice model_name; /* name@version */
	struct slice use_case;
	struct slice provider;
	struct slice caller; /* name of the key, or "anonymous" */
	struct slice prompt, context /* JSON */, output;
	struct slice tool_calls; /* JSON array of {id, name, arguments}; absent: the answer has none */
	struct slice parameters; /* JSON: max_tokens, temperature, ... */
	struct slice finish_reason;
	struct slice error;			  /* one sentence, when status is not ok */
	struct slice attempts;			  /* JSON array: every upstream try, with its model, result and time */
	int64_t prompt_tokens, completion_tokens; /* -1: unknown */
	bool tokens_estimated;
	struct money cost;		    /* of these tokens, at the price of the model that served */
	int64_t latency_us, first_token_us; /* -1: unknown */
	int http_status;
	enum record_status status;
	enum record_fallback fallback;
	bool stream;
	bool cached;			/* an earlier answer served: no model was asked */
	enum guard_action guard_action; /* the strongest that was taken */
	bool guard_skipped;		/* nothing was checked */
	struct record_violation violations[RECORD_MAX_VIOLATIONS];
	size_t n_violations;
	/* Of records that were read: */
	int64_t content_removed_us; /* when retention took the texts; 0: it did not */
	struct slice content_error; /* one sentence: why the texts, which ought to be there, are not */
};

const char *record_status_name(enum record_status s);
int record_status_parse(struct slice s, enum record_status *ret);
const char *record_fallback_name(enum record_fallback f);
const char *record_source_name(enum record_source s);
