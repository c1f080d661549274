/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of every change, and what changes share: compact JSON and events. */
#include "control/registry/registry_internal.h"
#include "core/base/clock.h"
#include "core/json/writer.h"

static int run(struct change *c, int (*apply)(struct change *c, void *arg, struct err *err), void *arg, struct err *err)
{
	struct snapshot *s = NULL;
	int rc = db_begin(c->db, err);

	if (!rc)
		rc = apply(c, arg, err);
	if (!rc && c->changed)
		rc = registry_candidate(c->r, c->db, c->a, &s, err);
	if (!rc && c->changed)
		rc = db_commit(c->db, err);
	if (rc || !c->changed) {
		db_rollback(c->db);
		snapshot_unref(s);
		return rc;
	}
	registry_publish_locked(c->r, s);
	return 0;
}

int registry_change(struct registry *r, const struct registry_who *who,
		    int (*apply)(struct change *c, void *arg, struct err *err), void *arg, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct change c = {.r = r, .a = &a, .who = *who};
	int rc;

	arena_init(&a, 16384, REGISTRY_MAX_BYTES);
	pthread_mutex_lock(&r->change_lock);
	rc = store_acquire(r->store, &c.db, err);
	if (!rc) {
		c.parser = json_parser_new();
		c.now_us = clock_wall_us();
		rc = run(&c, apply, arg, err);
		json_parser_free(c.parser);
		store_release(r->store, c.db);
	}
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

int change_event(struct change *c, const struct registry_event *what, struct err *err)
{
	struct registry_event e = *what;

	e.id = uuid_v7(&c->r->ids, c->now_us);
	e.at_us = c->now_us;
	e.actor = c->who.actor.n ? c->who.actor : SLICE_LIT("unknown");
	e.reason = c->who.reason;
	c->changed = true;
	return store_event_append(c->db, &e, err);
}
