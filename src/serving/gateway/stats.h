/* SPDX-License-Identifier: Apache-2.0 */
/* What one loop counted. One writer, many readers. */
#pragma once
#include "core/base/metric.h"
#include "domain/record.h"
#include "serving/stats/latency.h"

/* Use cases and models get slots; what comes after the last slot but one is counted together in the last. */
#define GATEWAY_SLOTS 128
#define GATEWAY_MODEL_SLOTS 256
/* What the last is called: no use case can have that name, and no model (they have an @). */
#define GATEWAY_OTHER "_OTHER"

enum gateway_operation { OPERATION_CHAT, OPERATION_TEXT_COMPLETION, OPERATION_EMBEDDINGS, GATEWAY_N_OPERATIONS };
/* How a call to a model ended. */
enum call_end { CALL_OK, CALL_TIMEOUT, CALL_FAILED, GATEWAY_N_CALL_ENDS, CALL_NOT_COUNTED = GATEWAY_N_CALL_ENDS };

/* Of a deployment: who was to serve the request first; none is under way. */
enum gateway_arm { ARM_NONE, ARM_CURRENT, ARM_CANDIDATE, GATEWAY_N_ARMS };

/* Requests of callers that left, and those that no model was asked, are in none of these. */
struct gateway_arm_stats {
	struct counter requests;
	struct counter errors;	       /* it failed, was cut short, or something else had to answer */
	struct counter violations;     /* requests with a guardrail hit in its answer */
	struct latency_sketch latency; /* of good answers */
};

#define GATEWAY_CURRENCIES 3 /* of one use case: models may differ; costs in a fourth are in the log alone */
struct gateway_cost_stats {
	struct counter currency; /* its letters, the first in the lowest byte; 0: the place is free */
	struct counter nano;
};

struct gateway_use_case_stats {
	struct counter requests;
	struct counter answered;		  /* by the current model */
	struct counter fallback[3];		  /* by the next model, the hardcoded endpoint, fallback content */
	struct counter errors;			  /* answered with an error */
	struct counter disconnects;		  /* the caller left first */
	struct counter truncated;		  /* answers that ended early, and were marked so */
	struct counter guard[5];		  /* by enum guard_action: what was done */
	struct counter texts[2][GUARD_N_ACTIONS]; /* that were judged: input, output; by enum guard_action */
	struct counter violating[4];		  /* those with a hit, by their worst: enum guard_severity */
	struct counter input_tokens, output_tokens;
	struct counter cache_hits, cache_misses;
	struct gateway_cost_stats cost[GATEWAY_CURRENCIES];
	struct histogram duration[GATEWAY_N_OPERATIONS][RECORD_N_STATUSES]; /* whole exchanges */
	struct histogram first_token[GATEWAY_N_OPERATIONS];		    /* of good answers */
	struct gateway_arm_stats arm[GATEWAY_N_ARMS]; /* all three together: every request that a model was asked */
};

struct gateway_model_stats {
	struct histogram duration[GATEWAY_N_CALL_ENDS]; /* of calls */
	struct histogram first_chunk;			/* of streams */
	struct histogram tokens[2];			/* of one call: input, output */
};

/* Guardrail hits of severity critical, by use case and rule. */
#define GATEWAY_CRITICAL 64
#define GATEWAY_NAME_SIZE 65 /* longer names are cut */

struct gateway_critical_stats {
	char use_case[GATEWAY_NAME_SIZE], rule[GATEWAY_NAME_SIZE]; /* written before it counts among n_critical */
	struct counter hits;
};

struct gateway_stats {
	struct counter generation;	   /* of the snapshot in use */
	struct counter violations[4];	   /* by enum guard_severity */
	struct counter guard_failures;	   /* checks that failed themselves */
	struct counter upstream_errors;	   /* attempts that failed */
	struct counter retries;		   /* attempts at a model that had failed the same request before */
	struct counter resumes;		   /* answers that broke off, and another attempt went on with */
	struct counter replays;		   /* requests that got the answer of an earlier one */
	struct counter shed;		   /* requests refused because too many were under way */
	struct counter retries_denied;	   /* for lack of budget */
	struct counter unauthorized;	   /* no valid key */
	struct counter forbidden;	   /* one that may not do this */
	struct counter rate_limited;	   /* one that has used up its minute */
	struct counter budget_exceeded;	   /* requests for which a budget has too little left */
	struct counter budget_unavailable; /* and for which the rest of it was reserved or lent elsewhere */
	struct counter current_lookups, checks, app_logs;
	struct histogram lookup;     /* of a current model, over HTTP: until its answer is written */
	struct counter log_refusals; /* answers withheld because the log, which is required, could not take them */
	struct counter n_critical;   /* read it with gateway_n_critical */
	struct gateway_critical_stats critical[GATEWAY_CRITICAL]; /* the last one: all for which there was no room */
	struct gateway_use_case_stats use_case[GATEWAY_SLOTS];
	struct gateway_model_stats model[GATEWAY_MODEL_SLOTS];
};

/* So many entries of critical are whole. */
static inline size_t gateway_n_critical(const struct gateway_stats *s)
{
	return atomic_load_explicit(&s->n_critical.v, memory_order_acquire);
}
