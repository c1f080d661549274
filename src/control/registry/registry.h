/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model registry: the only place where what serves what is changed.  Every change is one transaction that also
 * appends to registry_events; then a new snapshot is built and published.  All calls block and may come from any thread
 * but a loop's.
 */
#pragma once
#include "control/store/entities.h"
#include "control/store/store.h"
#include "core/base/metric.h"
#include "serving/snapshot/snapshot.h"

struct registry;

#define REGISTRY_MAX_LEFT_OUT 64 /* more entries that cannot be used stop the build */

struct registry_hooks {
	/* Makes a snapshot ready for requests (the gateway compiles endpoints and policies). */
	int (*prepare)(struct snapshot *s, void *arg, struct err *err);
	/* Hands it to every loop; returns when all have it, or after a second. Borrowed: takes its own references. */
	void (*publish)(struct snapshot *s, void *arg);
	void *arg;
	/* The policy "default" for a store that has none (guard_default_policy): parsed into the arena.  NULL: there is
	 * none then. */
	int (*default_policy)(struct arena *a, struct policy *ret, struct err *err);
	/* Whether a model may be registered with this configuration, or get it; NULL: any that can be read. */
	int (*admit)(const struct model_config *config, void *arg, struct err *err);
};

/* snapshot_path: where the last published snapshot is kept on disk; NULL: nowhere. */
int registry_new(struct store *store, const struct registry_hooks *hooks, const char *snapshot_path,
		 struct registry **ret, struct err *err);
void registry_free(struct registry *r);

enum registry_origin { REGISTRY_FROM_DATABASE, REGISTRY_FROM_DISK, REGISTRY_EMPTY };
/* Builds and publishes the first snapshot: from the database; when that is away or damaged from disk; else empty. What
 * the database holds and cannot be served is left out (snapshot->left_out); it fails only when that is too much.
 * registry_problem says why it was not the database. */
int registry_load(struct registry *r, enum registry_origin *ret_origin, struct err *err);
/*
 * Another process may have changed the registry: builds from the database again and publishes, unless nothing was
 * changed since.  db is only asked how many changes there were.  It is not saved on disk: see registry_is_unsaved.
 */
int registry_catch_up(struct registry *r, struct db *db, struct err *err);
/* Whether something newer is published than lies on disk: then registry_save, which waits for the disk. */
bool registry_is_unsaved(struct registry *r);
void registry_save(struct registry *r);
/* Builds from the database again and publishes. */
int registry_refresh(struct registry *r, struct err *err);
struct snapshot *
registry_snapshot(struct registry *r); /* the last published, with a reference for the caller; or NULL */
/* What is wrong although the registry works: the database could not be read at the last load or refresh, the snapshot
 * could not be saved.  One sentence, or "": copies into buf. */
void registry_problem(struct registry *r, char *buf, size_t size);

/* What this process has done to deployments; several add up. Any thread. */
enum deploy_result {
	DEPLOY_RESULT_SUCCEEDED,
	DEPLOY_RESULT_FAILED, /* nobody decided */
	DEPLOY_RESULT_ABORTED,
	DEPLOY_RESULT_ROLLED_BACK,
	DEPLOY_N_RESULTS,
};
const char *deploy_result_name(enum deploy_result r);
struct registry_stats {
	struct counter started[DEPLOY_N_STRATEGIES];
	struct counter ended[DEPLOY_N_STRATEGIES][DEPLOY_N_RESULTS];
};
const struct registry_stats *registry_stats(const struct registry *r);
/* The deployment that ended last, whoever did it, as far as this process has seen. */
struct registry_last_deployment {
	struct uuid id; /* nil: none has */
	char use_case[USE_CASE_MAX + 1];
	enum deploy_state state;
	int64_t finished_us;
};
void registry_last_deployment(struct registry *r, struct registry_last_deployment *ret);

struct registry_who {
	struct slice actor;  /* "cli@host", name of a key */
	struct slice reason; /* why; may be empty */
};

/* Fills m->id, times and status (candidate unless set). E_EXISTS names the model that is there: its id is in m->id
 * then. */
int registry_register(struct registry *r, struct model *m, const struct registry_who *who, struct err *err);
/*
 * Promoting to current demotes the other to deprecated in the same transaction (with an event of its own); *ret_demoted
 * (may be NULL) is its id or nil.  The same status again changes nothing and appends nothing.  E_NOTFOUND.
 */
int registry_set_status(struct registry *r, const struct uuid *id, enum model_status status,
			const struct registry_who *who, struct uuid *ret_demoted, struct err *err);
int registry_set_configuration(struct registry *r, const struct uuid *id, struct slice json,
			       const struct registry_who *who, struct err *err);
int registry_set_metrics(struct registry *r, const struct uuid *id, struct slice json, const struct registry_who *who,
			 struct err *err);
/* settings: a JSON object as domain/use_case.h reads it; replaces what was there. */
int registry_put_use_case(struct registry *r, struct slice name, struct slice settings, const struct registry_who *who,
			  struct err *err);
/* document: as domain/policy.h reads it; `name` may be left out of it.  A policy that does not compile is refused. */
int registry_put_policy(struct registry *r, struct slice name, struct slice document, const struct registry_who *who,
			struct err *err);

/*
 * Makes an API key: fills k->id, digest and created_us, and *ret_text, which is kept nowhere.  The first has to be an
 * admin's, unless may_be_any says that there is an admin besides: nobody could make or revoke another one.  E_EXISTS:
 * one in use has that name.
 */
struct key_wish {
	struct key key; /* name, role, use_cases, limits, expires_us */
	bool may_be_any;
};
int registry_create_key(struct registry *r, struct key_wish *wish, const struct registry_who *who,
			char ret_text[KEY_TEXT_SIZE], struct err *err);
/* By id, or the name of one in use.  *ret_id says which it was. From the publication on it opens nothing. */
/* What of a key is to change; NULL: it stays.  "" takes a budget away. */
struct key_change {
	const struct slice *budget, *token_budget, *translation;
};
int registry_change_key(struct registry *r, struct slice id_or_name, const struct key_change *what,
			const struct registry_who *who, struct uuid *ret_id, struct err *err);
int registry_revoke_key(struct registry *r, struct slice id_or_name, const struct registry_who *who,
			struct uuid *ret_id, struct err *err);

/* What was current for a use case at a time, from the events: fills *ret from the `after` of the event that made it so
 * (the model as registered, status as it was then).  E_NOTFOUND: nothing was. *ret_since_us: since when. */
int registry_current_at(struct registry *r, struct arena *a, struct slice use_case, int64_t at_us, struct model *ret,
			int64_t *ret_since_us, struct err *err);

/* One model as a JSON object: the shape that the API, the events and the snapshot on disk all use. */
struct json_writer;
void registry_write_model(struct json_writer *w, const struct model *m);
