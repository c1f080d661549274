/* SPDX-License-Identifier: Apache-2.0 */
/* Between moves and ticks of deployments. */
#pragma once
#include <pthread.h>

#include "control/rollout/rollout.h"
#include "core/json/writer.h"

/*
 * Where the counters of this process stood.  A step begins in a round: the epoch that the deployment had then.  (A step
 * that is resumed begins again, at nothing.)
 */
struct mark {
	struct mark *next;
	struct uuid id;
	int64_t made_us;
	int64_t round;				    /* 0: seen in a snapshot, which does not say */
	struct rollout_counts at[ROLLOUT_N_ARMS];   /* when the round began */
	struct rollout_counts last[ROLLOUT_N_ARMS]; /* when the others were told */
	struct rollout_counts told[ROLLOUT_N_ARMS]; /* what they were told of this round */
	struct rollout_counts earlier;		    /* the current model's, in the rounds before */
};

struct rollout {
	struct rollout_options o;
	pthread_mutex_t lock; /* of the marks: admin calls and ticks come from several threads */
	struct mark *marks;
};

struct move {
	struct uuid id;
	enum deploy_event event;
	int64_t epoch;			   /* the row that this was decided on; 0: whatever it is */
	const struct lease *fence;	   /* of the leader that decided it; NULL: no leader is needed for it */
	const struct judgement *judgement; /* what it was decided on, kept as evidence; or NULL */
	struct arena *a;		   /* of *ret */
	struct deployment *ret;
};

/* figures.c */
/* The daemon moved d into a step: the counters as they are now begin it. */
void rollout_begin_round(struct rollout *r, const struct deployment *d);
/* Writes what this daemon has counted of the round, when it is more than it has told. */
int rollout_report(struct rollout *r, struct db *db, const struct deployment *d, struct err *err);
/* Forgets the marks of deployments that are not in the list: a rollback by hand has ended them. */
void rollout_forget_others(struct rollout *r, const struct deployment *list, size_t n, int64_t now_us);
/* The only way in which a deployment's state changes but for a rollback by hand (control/registry/rollback.c). */
int rollout_move(struct rollout *r, struct move *m, const struct registry_who *who, struct err *err);
