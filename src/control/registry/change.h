/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing what serves what, for those who add kinds of changes (deployments): everything runs in registry_change(),
 * which is one transaction, its events, and the publication of what follows.
 */
#pragma once
#include "control/registry/registry.h"

#define CHANGE_MAX_MOVES 4

/* Everything that one change works with; lives from begin to commit. */
struct change {
	struct registry *r;
	struct db *db;
	struct arena *a;
	struct json_parser *parser;
	struct registry_who who;
	int64_t now_us;
	bool changed; /* set by what changes something: else nothing is committed or published */
	/* Moves of deployments, to be counted when they are committed. */
	struct change_move {
		enum deploy_strategy strategy;
		enum deploy_event event;
		enum deploy_state to;
	} move[CHANGE_MAX_MOVES];
	size_t n_moves;
};

/*
 * begin, apply, build and prepare the snapshot of what is about to be true, commit, publish.  When any step before the
 * commit fails, nothing has happened; after the commit nothing can fail any more.  Rollbacks that wait to be recorded
 * are recorded first: what happened first stands first in the history.
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
struct uuid change_new_id(struct change *c);

/* A model's status with its event; the same status again changes nothing.  The rest of `before` has to be the row. */
int change_status(struct change *c, const struct model *before, enum model_status status, struct err *err);
/* The model becomes current, whoever was (E_NOTFOUND is fine) gets the status given. */
int change_current(struct change *c, const struct model *to, enum model_status left, struct err *err);
/* The model as JSON, for an event. */
int change_model_text(struct change *c, const struct model *m, struct slice *ret, struct err *err);
/* The state of a deployment, written where its epoch is the one before, with an event "deployment.<event>". */
int change_deployment(struct change *c, struct deployment *d, enum deploy_event event, struct err *err);
/* Keeps how the use case is served now as a row of model_snapshots with this id. */
int change_checkpoint(struct change *c, struct slice use_case, const struct uuid *id, const struct uuid *deployment,
		      struct err *err);
/* One deployment as the API, the events and the checkpoints show it, into an open object. */
struct json_writer;
void deployment_write_members(struct json_writer *w, const struct deployment *d);
