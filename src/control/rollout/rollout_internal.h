/* SPDX-License-Identifier: Apache-2.0 */
/* Between moves and ticks of deployments. */
#pragma once
#include <pthread.h>

#include "control/rollout/rollout.h"
#include "core/json/writer.h"

/* Where the counters stood: the candidate's when its step began, the current model's when the deployment did. */
struct mark {
	struct mark *next;
	struct uuid id;
	int64_t made_us;
	struct rollout_counts candidate, current;
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

/* Forgets the marks of deployments that are not in the list: a rollback by hand has ended them. */
void rollout_forget_others(struct rollout *r, const struct deployment *list, size_t n, int64_t now_us);
/* The only way in which a deployment's state changes but for a rollback by hand (control/registry/rollback.c). */
int rollout_move(struct rollout *r, struct move *m, const struct registry_who *who, struct err *err);
