/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the registry: its state, and the frame that every change runs in. */
#pragma once
#include <pthread.h>

#include "control/registry/registry.h"
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
	uint64_t generation;
	struct map slots;    /* use case -> struct slot */
	struct uuid_gen ids; /* of events: one generator, so that their order is the order of the changes */

	pthread_mutex_t view_lock; /* never held over anything slow. Guards: */
	struct snapshot *published;
	char problem[sizeof(((struct err *)0)->text)];
};

/* Everything that one change works with; lives from begin to commit. */
struct change {
	struct registry *r;
	struct db *db;
	struct arena *a;
	struct json_parser *parser;
	struct registry_who who;
	int64_t now_us;
	bool changed; /* set by what changes something: else nothing is committed or published */
};

/*
 * begin, apply, build and prepare the snapshot of what is about to be true, commit, publish.  When any step before the
 * commit fails, nothing has happened; after the commit nothing can fail any more.
 */
int registry_change(struct registry *r, const struct registry_who *who,
		    int (*apply)(struct change *c, void *arg, struct err *err), void *arg, struct err *err);
struct object {
	const struct json *root;
	struct slice text; /* without white space between its tokens */
};
/* Reads a JSON object into the change's arena.  E_INVALID and E_TOOBIG name `what`. */
int change_object(struct change *c, const char *what, struct slice text, size_t max_bytes, struct object *ret,
		  struct err *err);
int change_event(struct change *c, const struct registry_event *what,
		 struct err *err); /* fills in id, time, who and why */

/* With the change lock held. */
int registry_candidate(struct registry *r, struct db *db, struct arena *a, struct snapshot **ret, struct err *err);
void registry_publish_locked(struct registry *r, struct snapshot *s); /* takes the reference */
