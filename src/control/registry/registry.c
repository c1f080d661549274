/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the database to what is served.  The order is everything: a snapshot is published only after what it shows is
 * committed, and nothing is committed that could not be made into a snapshot.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/registry/registry_internal.h"
#include "control/store/replicas.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/json/writer.h"

static const struct log logger = {.module = "registry"};

int registry_new(struct store *store, const struct registry_hooks *hooks, const char *snapshot_path,
		 struct registry **ret, struct err *err)
{
	pthread_condattr_t monotonic;
	struct registry *r;

	if (snapshot_path && !*snapshot_path)
		return err_set(err, E_INVALID, "the path of the snapshot is empty");
	r = calloc(1, sizeof(*r));
	if (!r || (snapshot_path && !(r->snapshot_path = strdup(snapshot_path))))
		abort();
	r->store = store;
	if (hooks)
		r->hooks = *hooks;
	pthread_mutex_init(&r->change_lock, NULL);
	pthread_mutex_init(&r->publish_lock, NULL);
	pthread_mutex_init(&r->save_lock, NULL);
	pthread_mutex_init(&r->view_lock, NULL);
	pthread_mutex_init(&r->record_lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&r->record_done, &monotonic);
	pthread_condattr_destroy(&monotonic);
	r->changes = -1;
	map_init(&r->slots);
	uuid_gen_init(&r->ids);
	*ret = r;
	return 0;
}

static void free_slots(struct map *slots)
{
	struct map_entry *e;

	for (size_t i = 0; map_next(slots, &i, &e);)
		free(e->value);
	map_release(slots);
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	rollback_join(r);
	snapshot_unref(r->published);
	free_slots(&r->slots);
	while (r->pending) {
		struct pending *p = r->pending;

		pending_remove(r, p);
		pending_free(p);
	}
	pthread_cond_destroy(&r->record_done);
	pthread_mutex_destroy(&r->record_lock);
	pthread_mutex_destroy(&r->save_lock);
	pthread_mutex_destroy(&r->publish_lock);
	pthread_mutex_destroy(&r->view_lock);
	pthread_mutex_destroy(&r->change_lock);
	free(r->snapshot_path);
	free(r);
}

static unsigned slot_of(struct slice use_case, void *arg)
{
	struct map *slots = arg;
	struct slot *slot = map_get(slots, use_case);

	if (slot)
		return slot->index;
	slot = malloc(sizeof(*slot) + use_case.n);
	if (!slot)
		abort();
	slot->index = (unsigned)slots->n;
	slot->n = use_case.n;
	memcpy(slot->name, use_case.p, use_case.n);
	(void)map_put(slots, (struct slice){slot->name, slot->n}, slot); /* it was not there */
	return slot->index;
}

/* Of a use case whose stored settings cannot be used: those that served last, or none, and then it does not serve. */
static int bad_use_case(struct registry *r, struct source *s, struct slice name, const struct err *why,
			struct use_case *ret, struct err *err)
{
	const struct snapshot *previous = source_previous(r, s);
	const struct snapshot_use_case *u = previous ? map_get(&previous->by_use_case, name) : NULL;
	const struct snapshot_left_out *l = u ? snapshot_left_out(previous, SNAPSHOT_BAD_USE_CASE, name) : NULL;
	struct snapshot_left_out what = {.kind = SNAPSHOT_BAD_USE_CASE, .name = name};
	bool usable = u && !(l && !l->replaced);

	*ret = usable ? u->settings : (struct use_case){.name = name};
	what.replaced = usable;
	what.text = slice_from(arena_printf(s->a, "the stored settings of use case " SLICE_FMT " cannot be used: %s",
					    SLICE_ARG(slice_sub(name, 0, 64)), why->text));
	return source_leave_out(s, &what, err);
}

static int read_use_cases(struct registry *r, struct db *db, struct json_parser *parser, struct source *s,
			  struct err *err)
{
	struct snapshot_source *src = &s->src;
	struct arena *a = s->a;
	struct use_case_row *rows = NULL;
	struct use_case *list;
	size_t n = 0;
	int rc = store_use_case_list(db, a, &rows, &n, err);

	if (rc)
		return rc;
	list = ARENA_ARRAY(a, struct use_case, n);
	if (!list)
		return err_set(err, E_TOOBIG, "too many use cases");
	for (size_t i = 0; i < n; i++) {
		struct json *root = NULL;
		struct err why = {0};

		if (json_parse_copy(parser, a, rows[i].settings, NULL, &root, &why) ||
		    use_case_parse(a, rows[i].name, root, &list[i], &why)) {
			rc = bad_use_case(r, s, rows[i].name, &why, &list[i], err);
			if (rc)
				return rc;
		}
		list[i].created_us = rows[i].created_us;
		list[i].updated_us = rows[i].updated_us;
	}
	src->use_cases = list;
	src->n_use_cases = n;
	return 0;
}

/* One that is there and cannot be used is not replaced by the built-in one: that is not what was asked for. */
static int add_default_policy(struct registry *r, struct source *s, size_t *n, struct err *err)
{
	int rc;

	for (size_t i = 0; i < *n; i++) {
		if (slice_eq_str(s->policies[i].name, "default"))
			return 0;
	}
	for (size_t i = 0; i < s->src.n_left_out; i++) {
		if (s->left_out[i].kind == SNAPSHOT_BAD_POLICY && slice_eq_str(s->left_out[i].name, "default"))
			return 0;
	}
	if (!r->hooks.default_policy)
		return 0;
	rc = r->hooks.default_policy(s->a, &s->policies[*n], err);
	if (!rc)
		++*n;
	return rc;
}

/* The version that served last stays, if there is one. */
static int bad_policy(struct registry *r, struct source *s, struct slice name, const struct err *why, size_t *n,
		      struct err *err)
{
	const struct policy *previous = source_previous_policy(r, s, name);
	struct snapshot_left_out what = {.kind = SNAPSHOT_BAD_POLICY, .name = name, .replaced = previous != NULL};

	if (previous)
		s->policies[(*n)++] = *previous;
	what.text = slice_from(arena_printf(s->a, "the stored guardrail policy " SLICE_FMT " cannot be used: %s",
					    SLICE_ARG(slice_sub(name, 0, 64)), why->text));
	return source_leave_out(s, &what, err);
}

static int read_policies(struct registry *r, struct db *db, struct json_parser *parser, struct source *s,
			 struct err *err)
{
	struct policy_row *rows = NULL;
	size_t n_rows = 0, n = 0;
	int rc = db ? store_policy_list(db, s->a, &rows, &n_rows, err) : 0;

	if (rc)
		return rc;
	s->policies = ARENA_ARRAY(s->a, struct policy, n_rows + 1);
	if (!s->policies)
		return err_set(err, E_TOOBIG, "too many guardrail policies");
	for (size_t i = 0; i < n_rows && !rc; i++) {
		struct json *root = NULL;
		struct err why = {0};

		if (json_parse_copy(parser, s->a, rows[i].document, NULL, &root, &why) ||
		    policy_parse(s->a, root, &s->policies[n], &why))
			rc = bad_policy(r, s, rows[i].name, &why, &n, err);
		else
			n++;
	}
	if (!rc)
		rc = add_default_policy(r, s, &n, err);
	s->src.policies = s->policies;
	s->src.n_policies = n;
	return rc;
}

static int read_deployments(struct db *db, struct arena *a, struct source *ret, struct err *err)
{
	const struct deployment_filter active = {.active = true, .limit = STORE_PAGE_MAX};
	struct deployment *rows = NULL;
	size_t n = 0;
	int rc = store_deployment_list(db, a, &active, &rows, &n, err);

	if (rc)
		return rc;
	ret->deployments = ARENA_ARRAY(a, struct snapshot_deployment, n);
	if (!ret->deployments)
		return err_set(err, E_TOOBIG, "too many deployments");
	for (size_t i = 0; i < n; i++)
		ret->deployments[i] = (struct snapshot_deployment){.id = rows[i].id,
								   .use_case = rows[i].use_case,
								   .model_id = rows[i].model_id,
								   .share = rows[i].share};
	ret->src.deployments = ret->deployments;
	ret->src.n_deployments = n;
	return 0;
}

static int read_last_deployment(struct registry *r, struct db *db, struct arena *a, struct err *err)
{
	const struct deployment_filter ended = {.ended = true, .limit = 1};
	struct registry_last_deployment *last = &r->read_last;
	struct deployment *rows = NULL;
	size_t n = 0;
	int rc = store_deployment_list(db, a, &ended, &rows, &n, err);

	if (rc || !n)
		return rc;
	*last = (struct registry_last_deployment){
		.id = rows->id, .state = rows->state, .finished_us = rows->finished_us};
	(void)snprintf(last->use_case, sizeof(last->use_case), SLICE_FMT, SLICE_ARG(rows->use_case));
	return 0;
}

/*
 * db NULL: an empty store.  No transaction is needed, and none is taken, for it would hold the write lock: what refers
 * (use cases) is read before the policies it refers to, a fallback that is not there yet is only left out of the
 * chain, and so is the candidate of a deployment.
 */
static int read_source(struct registry *r, struct db *db, struct arena *a, struct source *ret, struct err *err)
{
	const struct model_filter all = {.status = -1};
	struct json_parser *parser = json_parser_new();
	struct key *keys = NULL;
	int rc = 0;

	if (db)
		rc = read_deployments(db, a, ret, err);
	if (!rc && db)
		rc = read_last_deployment(r, db, a, err);
	if (!rc && db)
		rc = store_model_list(db, a, &all, &ret->models, &ret->src.n_models, err);
	ret->src.models = ret->models;
	if (!rc && db)
		rc = read_use_cases(r, db, parser, ret, err);
	if (!rc)
		rc = read_policies(r, db, parser, ret, err);
	if (!rc && db)
		rc = store_key_list(db, a, &keys, &ret->src.n_keys, err);
	ret->src.keys = keys;
	json_parser_free(parser);
	return rc;
}

static int prepare_locked(struct registry *r, struct snapshot *s, struct err *err)
{
	s->generation = ++r->generation;
	return r->hooks.prepare ? r->hooks.prepare(s, r->hooks.arg, err) : 0;
}

static int build_once_locked(struct registry *r, struct source *from, struct snapshot **ret, struct err *err)
{
	struct snapshot *s = NULL;
	int rc = snapshot_build(&from->src, slot_of, &r->slots, &s, err);

	if (rc)
		return rc;
	s->built_us = clock_wall_us();
	rc = prepare_locked(r, s, err);
	if (!rc) {
		*ret = s;
		return 0;
	}
	*from->src.fault = s->fault;
	snapshot_unref(s);
	return rc;
}

/* Again without each entry that is at fault, of which there is a bounded number. */
static int build_locked(struct registry *r, struct source *from, struct snapshot **ret, struct err *err)
{
	struct snapshot_fault fault;
	struct err why;
	int rc;

	pending_apply(r->pending, from);
	from->src.fault = &fault;
	do {
		fault.kind = SNAPSHOT_NO_FAULT;
		why = (struct err){0};
		rc = build_once_locked(r, from, ret, &why);
	} while (rc && !source_mend(r, from, &fault, &why));
	if (rc)
		(void)err_set(err, rc, "%s", why.text); /* rc says it */
	return rc;
}

int registry_candidate(struct registry *r, struct db *db, struct arena *a, struct snapshot **ret, struct err *err)
{
	struct source src = {.a = a};
	int rc = read_source(r, db, a, &src, err);

	if (!rc) {
		pthread_mutex_lock(&r->publish_lock);
		rc = build_locked(r, &src, ret, err);
		pthread_mutex_unlock(&r->publish_lock);
	}
	source_release(&src);
	return rc;
}

static void set_problem(struct registry *r, const char *text)
{
	pthread_mutex_lock(&r->view_lock);
	(void)snprintf(r->problem, sizeof(r->problem), "%s", text); /* both are as long as an error can be */
	pthread_mutex_unlock(&r->view_lock);
}

static void publish_locked(struct registry *r, struct snapshot *s)
{
	struct snapshot *old;

	registry_tell_left_out(r->published, s); /* the publish lock is held: it stays */

	pthread_mutex_lock(&r->view_lock);
	old = r->published;
	r->published = s;
	pthread_mutex_unlock(&r->view_lock);
	if (r->hooks.publish)
		r->hooks.publish(s, r->hooks.arg);
	snapshot_unref(old);
}

/* The rows that a snapshot was built from, and what is pending over them. */
static int rebuild_from_locked(struct registry *r, const struct snapshot *s, struct snapshot **ret, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct source src = {.a = &a,
			     .src = {.n_models = s->n_models,
				     .n_use_cases = s->n_use_cases,
				     .n_policies = s->n_policies,
				     .n_deployments = s->n_deployments,
				     .n_keys = s->n_keys,
				     .asks_for_keys = s->asks_for_keys}};
	struct use_case *use_cases;
	struct key *keys;
	int rc = 0;

	arena_init(&a, 16384, REGISTRY_MAX_BYTES);
	src.src.models = src.models = ARENA_ARRAY(&a, struct model, s->n_models);
	src.src.deployments = src.deployments = ARENA_ARRAY(&a, struct snapshot_deployment, s->n_deployments);
	src.src.use_cases = use_cases = ARENA_ARRAY(&a, struct use_case, s->n_use_cases);
	src.src.policies = src.policies = ARENA_ARRAY(&a, struct policy, s->n_policies);
	src.src.keys = keys = ARENA_ARRAY(&a, struct key, s->n_keys);
	if (!src.models || !src.deployments || !use_cases || !src.policies || !keys)
		return err_set(err, E_TOOBIG, "the registry is too large");
	for (size_t i = 0; i < s->n_models; i++)
		src.models[i] = s->models[i].model;
	for (size_t i = 0; i < s->n_deployments; i++)
		src.deployments[i] = s->deployments[i];
	for (size_t i = 0; i < s->n_use_cases; i++)
		use_cases[i] = s->use_cases[i].settings;
	for (size_t i = 0; i < s->n_policies; i++)
		src.policies[i] = s->policies[i].policy;
	for (size_t i = 0; i < s->n_keys; i++)
		keys[i] = s->keys[i].key;
	for (size_t i = 0; i < s->n_left_out && !rc; i++)
		rc = source_leave_out(&src, &s->left_out[i], err);
	if (!rc)
		rc = build_locked(r, &src, ret, err);
	source_release(&src);
	return rc;
}

int registry_rebuild_locked(struct registry *r, struct err *err)
{
	struct snapshot *s = NULL;
	int rc = rebuild_from_locked(r, r->published, &s, err);

	if (!rc)
		publish_locked(r, s);
	return rc;
}

void registry_save(struct registry *r)
{
	struct err why = {0};
	struct snapshot *s;

	pthread_mutex_lock(&r->save_lock);
	s = registry_snapshot(r);
	r->saved = s ? s->generation : 0; /* a failure is a problem, and that tries again */
	if (s && r->snapshot_path && snapshot_save(s, r->snapshot_path, &why))
		(void)err_prefix(&why, "the snapshot for a start without database is old");
	snapshot_unref(s);
	pthread_mutex_unlock(&r->save_lock);
	set_problem(r, why.text);
}

bool registry_is_unsaved(struct registry *r)
{
	bool unsaved;

	pthread_mutex_lock(&r->view_lock);
	unsaved = r->published && r->published->generation > r->saved;
	pthread_mutex_unlock(&r->view_lock);
	return unsaved;
}

/* A rollback that came while this snapshot was on its way lies over it. */
static void publish_over_locked(struct registry *r, struct snapshot *s)
{
	struct snapshot *newer = NULL;
	struct err why = {0};

	pthread_mutex_lock(&r->publish_lock);
	if (s->generation < r->pending_since && !rebuild_from_locked(r, s, &newer, &why)) {
		snapshot_unref(s);
		s = newer;
	}
	publish_locked(r, s);
	pthread_mutex_unlock(&r->publish_lock);
	pthread_mutex_lock(&r->view_lock);
	r->last_deployment = r->read_last;
	pthread_mutex_unlock(&r->view_lock);
}

/* What was published is committed: when it cannot be saved as well, that is worth a word, not an error. */
void registry_publish_locked(struct registry *r, struct snapshot *s)
{
	publish_over_locked(r, s);
	registry_save(r);
}

/* The count is read before the rows: what is changed between the two is read twice, never missed. */
static int from_database(struct registry *r, struct snapshot **ret, int64_t *ret_changes, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct db *db = NULL;
	int rc;

	arena_init(&a, 16384, REGISTRY_MAX_BYTES);
	rc = store_acquire(r->store, &db, err);
	if (!rc)
		rc = store_registry_changes(db, ret_changes, err);
	if (!rc)
		rc = registry_candidate(r, db, &a, ret, err);
	store_release(r->store, db);
	return rc;
}

bool registry_is_away(int rc)
{
	return rc == E_UNAVAILABLE || rc == E_BUSY || rc == E_IO || rc == E_TIMEOUT || rc == E_CLOSED;
}

static bool is_away(int rc)
{
	return registry_is_away(rc) || rc == E_CORRUPT;
}

static int reload_locked(struct registry *r, struct err *err)
{
	struct snapshot *s = NULL;
	int64_t n = 0;
	int rc = from_database(r, &s, &n, err);

	if (rc)
		return rc;
	publish_over_locked(r, s);
	r->changes = n;
	return 0;
}

int registry_reload_locked(struct registry *r, struct err *err)
{
	int rc = reload_locked(r, err);

	if (!rc)
		registry_save(r);
	return rc;
}

static int from_disk(struct registry *r, struct snapshot **ret, struct err *err)
{
	struct snapshot *s = NULL;
	int rc;

	if (!r->snapshot_path)
		return err_set(err, E_NOTFOUND, "no snapshot is kept on disk");
	pthread_mutex_lock(&r->publish_lock);
	rc = snapshot_load(r->snapshot_path, slot_of, &r->slots, &s, err);
	if (!rc)
		rc = rebuild_from_locked(r, s, ret, err); /* with what is pending */
	if (!rc)
		(*ret)->built_us = s->built_us;
	snapshot_unref(s);
	pthread_mutex_unlock(&r->publish_lock);
	return rc;
}

static int from_nothing(struct registry *r, struct snapshot **ret, struct err *err)
{
	CLEANUP(arena_release) struct arena a;

	arena_init(&a, 16384, REGISTRY_MAX_BYTES);
	return registry_candidate(r, NULL, &a, ret, err);
}

static int load_without_database(struct registry *r, const struct err *why_not, enum registry_origin *ret_origin,
				 struct err *err)
{
	enum registry_origin origin = REGISTRY_FROM_DISK;
	struct err why = {0}, both = *why_not;
	struct snapshot *s = NULL;
	int rc = from_disk(r, &s, &why);

	if (rc && rc != E_NOTFOUND)
		(void)err_set(&both, why_not->code, "%.240s; %.240s", why_not->text, why.text);
	if (rc) {
		origin = REGISTRY_EMPTY;
		rc = from_nothing(r, &s, err);
	}
	if (rc)
		return rc;
	pthread_mutex_lock(&r->publish_lock);
	r->saved = r->generation; /* what lies on disk stays as it is: it is the best that is known */
	publish_locked(r, s);
	pthread_mutex_unlock(&r->publish_lock);
	set_problem(r, both.text);
	*ret_origin = origin;
	return 0;
}

/*
 * An empty database where there was a registry: somebody removed it, or it is another one.  What was known goes beside,
 * before the new snapshot takes its place.
 */
static void keep_what_was_known(struct registry *r, const struct snapshot *fresh)
{
	struct snapshot *known = NULL;
	char aside[4200];

	if (fresh->n_models || fresh->n_left_out || !r->snapshot_path ||
	    snapshot_load(r->snapshot_path, slot_of, &r->slots, &known, NULL))
		return;
	(void)snprintf(aside, sizeof(aside), "%s.before", r->snapshot_path);
	if (known->n_models && !rename(r->snapshot_path, aside))
		log_warn(&logger, "the database holds no model, but %zu were served last: what was known is kept in %s",
			 known->n_models, aside);
	snapshot_unref(known);
}

int registry_load(struct registry *r, enum registry_origin *ret_origin, struct err *err)
{
	struct snapshot *s = NULL;
	struct err why = {0};
	int64_t n = 0;
	int rc;

	pthread_mutex_lock(&r->change_lock);
	pthread_mutex_lock(&r->publish_lock);
	if (pending_load(r, &why))
		log_error(&logger, "rollbacks of an earlier run are lost: %s", why.text);
	pthread_mutex_unlock(&r->publish_lock);
	rc = from_database(r, &s, &n, &why);
	if (!rc) {
		keep_what_was_known(r, s);
		registry_publish_locked(r, s);
		r->changes = n;
		*ret_origin = REGISTRY_FROM_DATABASE;
		if (registry_record_pending_locked(r, NULL, &why))
			set_problem(r, why.text); /* what it is makes the next refresh try again */
	} else if (is_away(rc)) {
		rc = load_without_database(r, &why, ret_origin, err);
	} else {
		(void)err_set(err, rc, "%s", why.text); /* rc says it */
	}
	pthread_mutex_unlock(&r->change_lock);
	return rc;
}

static int refresh_locked(struct registry *r, int (*reload)(struct registry *r, struct err *err), struct err *err)
{
	struct err why = {0};
	int rc = registry_record_pending_locked(r, NULL, &why);

	if (!rc)
		rc = reload(r, &why);
	if (rc)
		set_problem(r, why.text);
	return rc ? err_set(err, rc, "%s", why.text) : 0;
}

int registry_refresh(struct registry *r, struct err *err)
{
	int rc;

	pthread_mutex_lock(&r->change_lock);
	rc = refresh_locked(r, registry_reload_locked, err);
	pthread_mutex_unlock(&r->change_lock);
	return rc;
}

/*
 * Under the lock no change of our own is between its commit and its publication: so it is looked at again.  The next
 * change of others does not wait for the disk.
 */
int registry_catch_up(struct registry *r, struct db *db, struct err *err)
{
	int64_t n = 0;
	int rc = store_registry_changes(db, &n, err);

	if (rc || n == r->changes)
		return rc;
	pthread_mutex_lock(&r->change_lock);
	if (n != r->changes)
		rc = refresh_locked(r, reload_locked, err);
	pthread_mutex_unlock(&r->change_lock);
	return rc;
}

struct snapshot *registry_snapshot(struct registry *r)
{
	struct snapshot *s;

	pthread_mutex_lock(&r->view_lock);
	s = r->published ? snapshot_ref(r->published) : NULL;
	pthread_mutex_unlock(&r->view_lock);
	return s;
}

void registry_problem(struct registry *r, char *buf, size_t size)
{
	pthread_mutex_lock(&r->view_lock);
	(void)snprintf(buf, size, "%s", r->problem); /* cut to what the caller has room for */
	pthread_mutex_unlock(&r->view_lock);
}

const struct registry_stats *registry_stats(const struct registry *r)
{
	return &r->stats;
}

const char *deploy_result_name(enum deploy_result r)
{
	static const char *const names[DEPLOY_N_RESULTS] = {
		[DEPLOY_RESULT_SUCCEEDED] = "succeeded",
		[DEPLOY_RESULT_FAILED] = "failed",
		[DEPLOY_RESULT_ABORTED] = "aborted",
		[DEPLOY_RESULT_ROLLED_BACK] = "rolled_back",
	};

	return names[r];
}

void registry_last_deployment(struct registry *r, struct registry_last_deployment *ret)
{
	pthread_mutex_lock(&r->view_lock);
	*ret = r->last_deployment;
	pthread_mutex_unlock(&r->view_lock);
}
