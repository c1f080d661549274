/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the registry: its state, and the frame that every change runs in. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "control/registry/change.h"
#include "core/base/map.h"

#define REGISTRY_MAX_BYTES ((size_t)512 << 20) /* of the arena that one change may use */

struct slot { /* a use case's place in the metrics: never given back, so that a series means one use case for ever */
	unsigned index;
	size_t n;
	char name[];
};

struct registry {
	struct store *store;
	struct registry_hooks hooks;
	char *snapshot_path;

	pthread_mutex_t change_lock; /* one change at a time; held over the database and the publication. Guards: */
	struct uuid_gen ids;	     /* of events: one generator, so that their order is the order of the changes */
	/* What is published was built from the database at this count, or later; -1: not from it. Read without the
	 * lock. */
	atomic_llong changes;

	/* Taken after the change lock, or alone: a rollback does not wait for the database.  Held while a snapshot is
	 * built and handed to the loops. Guards: */
	pthread_mutex_t publish_lock;
	uint64_t generation;
	struct map slots; /* use case -> struct slot */
	struct pending *pending;
	size_t n_pending;
	uint64_t pending_since; /* the generation before which snapshots lack the newest pending rollback */

	pthread_mutex_t save_lock; /* of the file */
	atomic_ullong saved;	   /* the generation that lies in it, or was tried to */

	pthread_mutex_t record_lock; /* never held over anything slow. Guards: */
	pthread_cond_t record_done;
	pthread_t recorder;
	bool has_recorder; /* was started and not joined */
	bool recording;
	struct err record_refused, record_failed;

	struct registry_stats stats;		   /* written with the change lock held */
	struct registry_last_deployment read_last; /* with the last source that was read, under the change lock */

	pthread_mutex_t view_lock; /* never held over anything slow. Guards: */
	struct snapshot *published;
	struct registry_last_deployment last_deployment;
	char problem[sizeof(((struct err *)0)->text)];
};

/*
 * A rollback that serves already and is not in the database yet.  It lies over whatever is read from there.
 */
struct pending {
	struct pending *next;
	struct arena arena;
	struct uuid id; /* of the checkpoint that recording it takes: recorded twice changes nothing */
	int64_t at_us;
	struct slice use_case, actor, reason;
	struct uuid to, from;	/* nil: what is current stays */
	struct uuid deployment; /* that ends; nil: none */
	struct uuid candidate;	/* of it */
};

/* What a snapshot is built from, before it is fixed. */
struct source {
	struct model *models;
	struct snapshot_deployment *deployments;
	struct policy *policies;    /* with room for one more */
	struct snapshot_source src; /* points at the same */
	struct arena *a;	    /* of what is added */
	struct snapshot *previous;  /* what served before; looked for when it is needed */
	bool looked;
	struct snapshot_left_out left_out[REGISTRY_MAX_LEFT_OUT];
};

/* leave_out.c */
const struct snapshot *source_previous(struct registry *r, struct source *s); /* borrowed; NULL: there is none */
const struct policy *source_previous_policy(struct registry *r, struct source *s, struct slice name);
void source_release(struct source *s);
int source_leave_out(struct source *s, const struct snapshot_left_out *what, struct err *err);
/* The source without the entry at fault.  E_NOTFOUND: nothing is to be left out. */
int source_mend(struct registry *r, struct source *s, const struct snapshot_fault *fault, const struct err *why);
/* A change may go without what is left out already; what it spoils itself is refused. */
int registry_check_left_out(struct registry *r, const struct snapshot *s, struct err *err);
void registry_tell_left_out(const struct snapshot *before, const struct snapshot *now);

/* pending.c: with the publish lock held */
void pending_apply(const struct pending *list, struct source *s);
int pending_save(struct registry *r, struct err *err);
/* What an earlier run of the process left. */
int pending_load(struct registry *r, struct err *err);
struct pending *pending_new(void);
void pending_free(struct pending *p);
void pending_add(struct registry *r, struct pending *p); /* last */
void pending_remove(struct registry *r, struct pending *p);

/* rollback.c: the change that records one */
/* The policy that a checkpoint kept, when today's of that name reads otherwise: as one of the use case's own, which
 * *settings names then, and *ret_name; absent: nothing had to be done. */
int restore_policy(struct change *c, const struct checkpoint_row *kept, const struct json *policy,
		   struct slice *settings, struct slice *ret_name, struct err *err);
int rollback_record(struct change *c, void *pending, struct err *err);

/* The thread that records, if there is one, has ended. */
void rollback_join(struct registry *r);

/* With the change lock held. */
/* What the database refuses for itself is given up, and *refused (may be NULL) says why. */
int registry_record_pending_locked(struct registry *r, struct err *refused, struct err *err);
int registry_reload_locked(struct registry *r, struct err *err); /* from the database, published */
/* With the publish lock held: from what is published, with what is pending over it. */
int registry_rebuild_locked(struct registry *r, struct err *err);
bool registry_is_away(int rc); /* whether the database may answer later */
/* With the change lock held. */
int registry_candidate(struct registry *r, struct db *db, struct arena *a, struct snapshot **ret, struct err *err);
void registry_publish_locked(struct registry *r, struct snapshot *s); /* takes the reference */
