/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of every change, and what changes share: compact JSON and events. */
#include "control/registry/registry_internal.h"
#include "control/store/replicas.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/json/writer.h"

static const struct log logger = {.module = "registry"};

static void count_moves(const struct change *c)
{
	struct registry_stats *s = &c->r->stats;

	for (size_t i = 0; i < c->n_moves; i++) {
		const struct change_move *m = &c->move[i];

		if (m->event == DEPLOY_START)
			counter_add(&s->started[m->strategy], 1);
		if (m->to == DEPLOY_SUCCEEDED)
			counter_add(&s->ended[m->strategy][DEPLOY_RESULT_SUCCEEDED], 1);
		else if (m->to == DEPLOY_ROLLED_BACK)
			counter_add(&s->ended[m->strategy][DEPLOY_RESULT_ROLLED_BACK], 1);
		else if (m->to == DEPLOY_ABORTED)
			counter_add(&s->ended[m->strategy][m->event == DEPLOY_TIMEOUT ? DEPLOY_RESULT_FAILED
										      : DEPLOY_RESULT_ABORTED],
				    1);
	}
}

static int run(struct change *c, int (*apply)(struct change *c, void *arg, struct err *err), void *arg, struct err *err)
{
	struct snapshot *s = NULL;
	int64_t n = 0;
	int rc = db_begin(c->db, err);

	if (!rc)
		rc = apply(c, arg, err);
	if (!rc && c->changed)
		rc = registry_candidate(c->r, c->db, c->a, &s, err);
	if (!rc && c->changed)
		rc = registry_check_left_out(c->r, s, err);
	if (!rc && c->changed)
		rc = store_registry_changed(c->db, &n, err);
	if (!rc && c->changed)
		rc = db_commit(c->db, err);
	if (rc || !c->changed) {
		db_rollback(c->db);
		snapshot_unref(s);
		return rc;
	}
	count_moves(c);
	registry_publish_locked(c->r, s);
	c->r->changes = n;
	return 0;
}

static int run_change(struct registry *r, const struct registry_who *who,
		      int (*apply)(struct change *c, void *arg, struct err *err), void *arg, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct change c = {.r = r, .a = &a, .who = *who};
	int rc;

	arena_init(&a, 16384, REGISTRY_MAX_BYTES);
	rc = store_acquire(r->store, &c.db, err);
	if (rc)
		return rc;
	c.parser = json_parser_new();
	c.now_us = clock_wall_us();
	rc = run(&c, apply, arg, err);
	json_parser_free(c.parser);
	store_release(r->store, c.db);
	return rc;
}

static struct pending *first_pending(struct registry *r)
{
	struct pending *p;

	pthread_mutex_lock(&r->publish_lock);
	p = r->pending;
	pthread_mutex_unlock(&r->publish_lock);
	return p;
}

static void drop_pending(struct registry *r, struct pending *p)
{
	struct err why = {0};

	pthread_mutex_lock(&r->publish_lock);
	pending_remove(r, p);
	if (pending_save(r, &why)) /* recorded again at the next start, it changes nothing */
		log_warn(&logger, "the list of rollbacks to record is old: %s", why.text);
	pthread_mutex_unlock(&r->publish_lock);
	pending_free(p);
}

/* One that the database refuses for itself (its model was archived meanwhile) is given up: the database is right. */
int registry_record_pending_locked(struct registry *r, struct err *refused, struct err *err)
{
	struct pending *p;
	bool given_up = false;

	while ((p = first_pending(r))) {
		const struct registry_who who = {p->actor, p->reason};
		struct err why = {0};
		int rc = run_change(r, &who, rollback_record, p, &why);

		if (registry_is_away(rc))
			return err_set(err, rc, "%s", why.text);
		if (rc) {
			log_error(&logger, "the rollback of " SLICE_FMT " cannot be recorded and is given up: %s",
				  SLICE_ARG(p->use_case), why.text);
			(void)err_set(refused, rc, "%s", why.text); /* for whoever listens */
			given_up = true;
		} else {
			log_debug(&logger, "the rollback of " SLICE_FMT " is recorded", SLICE_ARG(p->use_case));
		}
		drop_pending(r, p);
	}
	return given_up ? registry_reload_locked(r, err) : 0;
}

int registry_change(struct registry *r, const struct registry_who *who,
		    int (*apply)(struct change *c, void *arg, struct err *err), void *arg, struct err *err)
{
	int rc;

	pthread_mutex_lock(&r->change_lock);
	rc = registry_record_pending_locked(r, NULL, err);
	if (!rc)
		rc = run_change(r, who, apply, arg, err);
	pthread_mutex_unlock(&r->change_lock);
	return rc;
}

/* The reader bounds the depth, so this ends. */
static void write_compact(struct json_writer *w, const struct json *v) // NOLINT(misc-no-recursion)
{
	if (v->type != JSON_OBJECT && v->type != JSON_ARRAY) {
		jw_raw(w, v->raw); /* numbers and strings as they were written */
		return;
	}
	if (v->type == JSON_OBJECT)
		jw_object(w);
	else
		jw_array(w);
	for (const struct json *item = v->first; item; item = item->next) {
		if (v->type == JSON_OBJECT)
			jw_key_slice(w, item->key);
		write_compact(w, item);
	}
	if (v->type == JSON_OBJECT)
		jw_object_end(w);
	else
		jw_array_end(w);
}

static int compact(struct arena *a, const struct json *root, size_t max_bytes, struct slice *ret)
{
	CLEANUP(buf_release) struct buf out;
	struct json_writer w;

	buf_init(&out, 2 * max_bytes);
	jw_init(&w, &out);
	write_compact(&w, root);
	*ret = buf_failed(&out) ? (struct slice){NULL, 0} : arena_slice(a, buf_slice(&out));
	return ret->p ? 0 : E_TOOBIG;
}

int change_object(struct change *c, const char *what, struct slice text, size_t max_bytes, struct object *ret,
		  struct err *err)
{
	static const struct json_limits limits = {.max_depth = 32};
	struct json *root = NULL;
	struct err why = {0};
	int rc;

	if (text.n > max_bytes)
		return err_set(err, E_TOOBIG, "%s is %zu bytes long: at most %zu are taken", what, text.n, max_bytes);
	rc = json_parse_copy(c->parser, c->a, slice_trim(text).n ? text : SLICE_LIT("{}"), &limits, &root, &why);
	if (rc)
		return err_set(err, rc, "%s: %s", what, why.text);
	if (root->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "%s has to be an object, not a %s", what, json_type_name(root->type));
	if (compact(c->a, root, max_bytes, &ret->text))
		return err_set(err, E_TOOBIG, "%s is too large", what);
	ret->root = root;
	return 0;
}

struct uuid change_new_id(struct change *c)
{
	return uuid_v7(&c->r->ids, c->now_us);
}

int change_event(struct change *c, const struct registry_event *what, struct err *err)
{
	struct registry_event e = *what;

	e.id = change_new_id(c);
	e.at_us = c->now_us;
	e.actor = c->who.actor.n ? c->who.actor : SLICE_LIT("unknown");
	e.reason = c->who.reason;
	c->changed = true;
	return store_event_append(c->db, &e, err);
}
