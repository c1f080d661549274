/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deployments: starting them, what people tell them, and what they do by themselves.  Each move is one transaction of
 * the registry (the row, the models' status, the events, the snapshot that serves it), so a daemon that is killed goes
 * on where the row says.  All calls block and may come from any thread but a loop's.
 */
#pragma once
#include "control/registry/change.h"
#include "control/rollout/judge.h"
#include "control/store/replicas.h"

struct rollout;

struct rollout_options {
	struct registry *registry;
	struct store *store;
	/* Several daemons write into the database, each with an id of its own: their figures are summed up there. */
	bool shared;
	struct uuid instance;
	/* What all loops of this daemon have counted for the use case; false: it is not counted by itself. */
	bool (*count)(struct slice use_case, struct rollout_counts ret[ROLLOUT_N_ARMS], void *arg);
	void *arg;
};

struct rollout *rollout_new(const struct rollout_options *o);
void rollout_free(struct rollout *r);

/*
 * wanted: use_case, model_id, strategy and plan.  *ret lives in the arena.  E_EXISTS names the one that is under way,
 * whose id is in *ret then; E_CONFLICT: the model is current already or archived; E_INVALID: it is another use case's;
 * E_NOTFOUND.
 */
int rollout_start(struct rollout *r, struct arena *a, const struct deployment *wanted, const struct registry_who *who,
		  struct deployment *ret, struct err *err);
/* DEPLOY_PAUSE, RESUME, PROMOTE, ABORT, for the deployment with d's id; *d is as it is afterwards, in the arena.
 * E_CONFLICT: not in this state. */
int rollout_tell(struct rollout *r, struct arena *a, struct deployment *d, enum deploy_event event,
		 const struct registry_who *who, struct err *err);
/* A snapshot is about to be published: what is counted from here on belongs to the deployments that are new in it. */
void rollout_see(struct rollout *r, const struct snapshot *s);
/*
 * Tells the other daemons what this one has counted, judges all that are under way, and moves those whose time has
 * come.  lease: the leader's, whose epoch fences what is
 * written (epoch 0: there is nobody to fence off); NULL: another daemon leads, and this one only takes back what fails.
 * *ret_next_us: when the next one ends a state.
 */
int rollout_tick(struct rollout *r, const struct lease *lease, int64_t *ret_next_us, struct err *err);
/*
 * How the new model does in this step, now: by what this daemon has counted, and what the others said when they last
 * did.  db: NULL, or one that does not answer: by its own alone.
 */
void rollout_judge(struct rollout *r, struct db *db, const struct deployment *d, struct judgement *ret);
