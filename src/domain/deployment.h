/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deployment: a use case on its way from its current model to another.  The states, what may happen in each and what
 * follows are one table in deployment.c, and deployment_move() is the only thing that changes `state`.  Every state
 * that is not an end has a time at which something happens by itself.
 */
#pragma once
#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/base/uuid.h"
#include "core/json/json.h"

enum deploy_strategy {
	DEPLOY_ALL_AT_ONCE, /* current at once; with a hold it is watched first */
	DEPLOY_BLUE_GREEN,  /* all traffic at once, the other model stands by until the hold is over */
	DEPLOY_CANARY,	    /* step by step */
	DEPLOY_N_STRATEGIES,
};

enum deploy_state {
	DEPLOY_DRAFT,	    /* not stored yet */
	DEPLOY_PROGRESSING, /* serves its share until the hold is over */
	DEPLOY_WAITING,	    /* the hold is over, and too little was seen to judge it */
	DEPLOY_PAUSED,	    /* keeps its share until somebody decides */
	DEPLOY_SUCCEEDED,   /* the model is current */
	DEPLOY_ABORTED,	    /* by a person, or because nobody decided */
	DEPLOY_ROLLED_BACK, /* by its thresholds, or by muster rollback */
	DEPLOY_N_STATES,
};

enum deploy_event {
	DEPLOY_START,
	DEPLOY_ADVANCE,	 /* the next step */
	DEPLOY_COMPLETE, /* the last step has passed */
	DEPLOY_STARVE,	 /* the hold is over without enough samples */
	DEPLOY_PAUSE,
	DEPLOY_RESUME,
	DEPLOY_PROMOTE, /* somebody decided that it is good */
	DEPLOY_ABORT,
	DEPLOY_ROLLBACK,
	DEPLOY_TIMEOUT, /* nothing happened for too long */
	DEPLOY_N_EVENTS,
};

#define DEPLOY_MAX_STEPS 20

/* What the new model must not pass.  A negative number: not judged. */
struct deploy_thresholds {
	double error_rate;	  /* of its requests, 0..1; a request that another model had to answer is an error */
	double latency_p95_ms;	  /* of whole answers */
	double latency_p95_ratio; /* to the current model's */
	double violation_rate;	  /* of its requests, 0..1: with a guardrail hit in its answer */
	int64_t min_samples;	  /* fewer requests in a step decide nothing good */
};

struct deploy_plan {
	unsigned steps[DEPLOY_MAX_STEPS]; /* percent, growing, the last is 100 */
	size_t n_steps;
	int64_t hold_ms;      /* of each step */
	int64_t max_wait_ms;  /* waiting for samples; then it pauses */
	int64_t max_pause_ms; /* then it is aborted */
	struct deploy_thresholds thresholds;
};

struct deployment {
	struct uuid id;
	struct slice use_case;
	struct uuid model_id;
	struct uuid previous_id; /* nil: nothing was current */
	struct uuid snapshot_id; /* of how it was before */
	enum deploy_strategy strategy;
	enum deploy_state state;
	struct deploy_plan plan;
	unsigned step;		/* index into plan.steps */
	unsigned share;		/* percent of callers that it serves now */
	int64_t since_us;	/* of the state or step */
	int64_t holds_until_us; /* while progressing; else 0 */
	struct slice evidence;	/* JSON: the last judgement; absent: none yet */
	struct slice rollback_reason;
	struct slice actor, reason;
	int64_t epoch; /* counts the writes: one that is based on an old row is refused */
	int64_t created_us, updated_us, finished_us;
};

const char *deploy_strategy_name(enum deploy_strategy s);
int deploy_strategy_parse(struct slice s, enum deploy_strategy *ret, struct err *err);
const char *deploy_state_name(enum deploy_state s);
int deploy_state_parse(struct slice s, enum deploy_state *ret);
const char *deploy_event_name(enum deploy_event e);
bool deploy_state_is_end(enum deploy_state s);

/*
 * Reads a plan: {"steps": [10, 100], "hold": "5m", "max_wait": "1h", "max_pause": "24h", "thresholds": {"error_rate",
 * "latency_p95_ms", "latency_p95_ratio", "violation_rate", "min_samples"}}; durations are texts or milliseconds, what
 * is left out gets the strategy's default, a threshold that is null is not judged.  Other members are ignored.
 * E_INVALID names the member.
 */
int deploy_plan_parse(enum deploy_strategy strategy, const struct json *root, struct deploy_plan *ret, struct err *err);
struct json_writer;
void deploy_plan_write(struct json_writer *w, const struct deploy_plan *p); /* an object, which parse reads */

/* E_CONFLICT, with what could be done instead, when the state does not know the event. */
int deployment_move(struct deployment *d, enum deploy_event event, int64_t now_us, struct err *err);
/* Whether it could: for what happens by itself. */
bool deployment_can(const struct deployment *d, enum deploy_event event);
/* When the state ends by itself, 0 for one that is an end. */
int64_t deployment_deadline_us(const struct deployment *d);
/* What happens then, or what there is left to do: "goes to 25 %", "becomes current", ...; terminated. */
#define DEPLOY_NEXT_SIZE 64
char *deployment_next(const struct deployment *d, char buf[DEPLOY_NEXT_SIZE]);
