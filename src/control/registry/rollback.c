/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rollbacks.  The order for one to a model: decide from the snapshot that is served; write the intention to disk; serve
 * it; record it.  What is recorded twice (a crash between) changes nothing, for its checkpoint is there already.
 */
#include "control/registry/rollback.h"

#include <stdio.h>

#include "control/registry/registry_internal.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/json/writer.h"

#define PENDING_MAX 64
#define RECORD_WAIT_S 2

static const struct log logger = {.module = "rollback"};

/* --- deciding: with the publish lock held, from what is published --- */

struct decision {
	const struct snapshot_use_case *use_case;
	const struct snapshot_model *to; /* NULL: what is current stays */
};

static bool is_of(const struct snapshot_model *m, const struct snapshot_use_case *u)
{
	return slice_eq(m->model.use_case, u->settings.name);
}

static bool is_meant(const struct snapshot_model *m, struct slice ref)
{
	struct slice begin = slice_sub(m->id_text, 0, ref.n);

	return slice_eq(m->full_name, ref) || slice_eq(m->model.name, ref) ||
	       (ref.n >= 6 && slice_eq_nocase(begin, ref));
}

static int find_named(const struct snapshot *s, const struct snapshot_use_case *u, struct slice ref,
		      const struct snapshot_model **ret, struct err *err)
{
	const struct snapshot_model *found = NULL;

	for (size_t i = 0; i < s->n_models; i++) {
		const struct snapshot_model *m = &s->models[i];

		if (!is_of(m, u) || !is_meant(m, ref))
			continue;
		if (found)
			return err_set(
				err, E_CONFLICT, "'" SLICE_FMT "' names " SLICE_FMT " and " SLICE_FMT ": say which",
				SLICE_ARG(slice_sub(ref, 0, 64)), SLICE_ARG(found->full_name), SLICE_ARG(m->full_name));
		found = m;
	}
	if (!found)
		return err_set(err, E_NOTFOUND, "no model of " SLICE_FMT " that may serve is called '" SLICE_FMT "'",
			       SLICE_ARG(u->settings.name), SLICE_ARG(slice_sub(ref, 0, 64)));
	*ret = found;
	return 0;
}

/* A model that is taken back becomes a candidate again, so those that are deprecated were replaced by a better one. */
static int find_previous(const struct snapshot *s, const struct snapshot_use_case *u, const struct snapshot_model **ret,
			 struct err *err)
{
	const struct snapshot_model *best = NULL;

	for (size_t i = 0; i < s->n_models; i++) {
		const struct snapshot_model *m = &s->models[i];

		if (is_of(m, u) && m->model.status == MODEL_DEPRECATED &&
		    (!best || m->model.status_since_us > best->model.status_since_us))
			best = m;
	}
	if (!best)
		return err_set(err, E_NOTFOUND, "nothing was current for " SLICE_FMT " before: say which model serves",
			       SLICE_ARG(u->settings.name));
	*ret = best;
	return 0;
}

static int decide(const struct snapshot *s, const struct rollback *what, struct decision *d, struct err *err)
{
	int rc = 0;

	d->use_case = s ? snapshot_use_case(s, what->use_case) : NULL;
	if (!d->use_case)
		return err_set(err, E_NOTFOUND, "no use case is called '" SLICE_FMT "'",
			       SLICE_ARG(slice_sub(what->use_case, 0, 64)));
	if (what->to.n)
		rc = find_named(s, d->use_case, what->to, &d->to, err);
	else if (!d->use_case->candidate)
		rc = find_previous(s, d->use_case, &d->to, err);
	if (!rc && d->to && d->to == d->use_case->current) {
		if (!d->use_case->candidate)
			return err_set(err, E_CONFLICT, SLICE_FMT " is current for " SLICE_FMT " already",
				       SLICE_ARG(d->to->full_name), SLICE_ARG(d->use_case->settings.name));
		d->to = NULL;
	}
	return rc;
}

static struct pending *pending_of(const struct decision *d, const struct registry_who *who)
{
	struct pending *p = pending_new();

	p->id = uuid_v7_now();
	p->at_us = clock_wall_us();
	p->use_case = arena_slice(&p->arena, d->use_case->settings.name);
	p->actor = arena_slice(&p->arena, who->actor.n ? who->actor : SLICE_LIT("unknown"));
	p->reason = arena_slice(&p->arena, who->reason.p ? who->reason : SLICE_LIT(""));
	if (d->to)
		p->to = d->to->model.id;
	if (d->use_case->current)
		p->from = d->use_case->current->model.id;
	if (d->use_case->candidate) {
		p->deployment = d->use_case->deployment_id;
		p->candidate = d->use_case->candidate->model.id;
	}
	return p;
}

static void tell(struct arena *a, const struct decision *d, const struct pending *p, struct rollback_result *ret)
{
	const struct snapshot_model *from = d->use_case->current, *to = d->to;

	if (!to) { /* the deployment ends, what is current stays */
		to = from;
		from = d->use_case->candidate;
	}
	*ret = (struct rollback_result){
		.use_case = arena_slice(a, p->use_case), .checkpoint_id = p->id, .deployment_id = p->deployment};
	if (from) {
		ret->from = arena_slice(a, from->full_name);
		ret->from_id = from->model.id;
	}
	if (to) {
		ret->to = arena_slice(a, to->full_name);
		ret->to_id = to->model.id;
	}
}

/* Serves it. The intention is on disk before; a disk that fails must not keep a bad model serving. */
static int act_locked(struct registry *r, struct pending *p, struct err *err)
{
	struct err why = {0};
	int rc;

	if (r->n_pending >= PENDING_MAX)
		return err_set(err, E_BUSY, "%d rollbacks wait to be recorded: the database has to come back first",
			       PENDING_MAX);
	pending_add(r, p);
	if (pending_save(r, &why))
		log_error(&logger, "a crash before the database is back would forget this rollback: %s", why.text);
	rc = registry_rebuild_locked(r, err);
	if (!rc) {
		r->pending_since = r->generation;
		return 0;
	}
	pending_remove(r, p);
	(void)pending_save(r, NULL); /* what is left there would be refused when it is recorded */
	return rc;
}

static int act(struct registry *r, struct arena *a, const struct rollback *what, const struct registry_who *who,
	       struct rollback_result *ret, struct err *err)
{
	struct decision d = {.to = NULL};
	struct pending *p;
	int rc;

	pthread_mutex_lock(&r->publish_lock);
	rc = decide(r->published, what, &d, err);
	if (!rc && d.use_case) {
		p = pending_of(&d, who);
		tell(a, &d, p, ret);
		rc = act_locked(r, p, err);
		if (rc)
			pending_free(p);
	}
	pthread_mutex_unlock(&r->publish_lock);
	return rc;
}

/* --- recording --- */

static int end_deployment(struct change *c, const struct uuid *id, struct err *err)
{
	struct deployment d = {.epoch = 0};
	struct model candidate = {0};
	int rc;

	if (uuid_is_nil(id))
		return 0;
	rc = store_deployment_get(c->db, c->a, id, &d, err);
	if (rc || !deployment_can(&d, DEPLOY_ROLLBACK)) /* it has ended meanwhile */
		return rc == E_NOTFOUND ? 0 : rc;
	d.rollback_reason =
		slice_from(arena_printf(c->a, "rolled back by " SLICE_FMT "%s" SLICE_FMT, SLICE_ARG(c->who.actor),
					c->who.reason.n ? ": " : "", SLICE_ARG(c->who.reason)));
	rc = change_deployment(c, &d, DEPLOY_ROLLBACK, err);
	if (!rc)
		rc = store_model_get(c->db, c->a, &d.model_id, &candidate, err);
	if (!rc && candidate.status == MODEL_TESTING)
		rc = change_status(c, &candidate, MODEL_CANDIDATE, err);
	return rc;
}

/* One side of the event: the model by id and name, null when there was none; and how it was served before, unless that
 * is not said (NULL). */
static int side_text(struct change *c, const struct uuid *model, const struct uuid *checkpoint, struct slice *ret,
		     struct err *err)
{
	struct model m = {.created_us = 0};
	char text[UUID_STR_SIZE];
	struct json_writer w;
	struct buf out;
	int rc = uuid_is_nil(model) ? E_NOTFOUND : store_model_get(c->db, c->a, model, &m, err);

	if (rc && rc != E_NOTFOUND)
		return rc;
	buf_init_arena(&out, c->a, 4096);
	jw_init(&w, &out);
	jw_object(&w);
	jw_kcstr(&w, "model_id", uuid_is_nil(model) ? NULL : uuid_format(model, text));
	if (!rc) {
		jw_kstr(&w, "model_name", m.name);
		jw_kstr(&w, "version", m.version);
	}
	if (checkpoint)
		jw_kcstr(&w, "snapshot_id", uuid_format(checkpoint, text));
	jw_object_end(&w);
	*ret = buf_slice(&out);
	return buf_failed(&out) ? err_set(err, E_TOOBIG, "the event of the rollback is too large") : 0;
}

static int rollback_event(struct change *c, struct slice use_case, const struct uuid *from, const struct uuid *to,
			  const struct uuid *checkpoint, struct err *err)
{
	struct registry_event e = {.kind = SLICE_LIT("use_case.rollback"), .subject = use_case, .use_case = use_case};
	int rc = side_text(c, from, NULL, &e.before, err);

	if (!rc)
		rc = side_text(c, to, checkpoint, &e.after, err);
	return rc ? rc : change_event(c, &e, err);
}

int rollback_record(struct change *c, void *pending, struct err *err)
{
	const struct pending *p = pending;
	struct checkpoint_row there = {.created_us = 0};
	struct model to = {0};
	int rc = store_checkpoint_get(c->db, c->a, &p->id, &there, err);

	if (rc != E_NOTFOUND)
		return rc; /* 0: it is recorded */
	c->now_us = p->at_us;
	if ((rc = change_checkpoint(c, p->use_case, &p->id, NULL, err)) ||
	    (rc = end_deployment(c, &p->deployment, err)))
		return rc;
	if (!uuid_is_nil(&p->to) && ((rc = store_model_get(c->db, c->a, &p->to, &to, err)) ||
				     (rc = change_current(c, &to, MODEL_CANDIDATE, err))))
		return rc;
	return rollback_event(c, p->use_case, uuid_is_nil(&p->to) ? &p->candidate : &p->from,
			      uuid_is_nil(&p->to) ? &p->from : &p->to, &p->id, err);
}

static void record_all(struct registry *r, struct err *refused, struct err *failed)
{
	*refused = *failed = (struct err){0};
	pthread_mutex_lock(&r->change_lock);
	(void)registry_record_pending_locked(r, refused, failed); /* failed says it */
	pthread_mutex_unlock(&r->change_lock);
}

static void *run_recorder(void *arg)
{
	struct err refused, failed;
	struct registry *r = arg;

	record_all(r, &refused, &failed);
	pthread_mutex_lock(&r->record_lock);
	r->record_refused = refused;
	r->record_failed = failed;
	r->recording = false;
	pthread_cond_broadcast(&r->record_done);
	pthread_mutex_unlock(&r->record_lock);
	return NULL;
}

void rollback_join(struct registry *r)
{
	if (r->has_recorder)
		(void)pthread_join(r->recorder, NULL); /* it was started, by us */
	r->has_recorder = false;
}

static bool is_pending(struct registry *r, const struct uuid *id)
{
	bool found = false;

	pthread_mutex_lock(&r->publish_lock);
	for (const struct pending *p = r->pending; p; p = p->next)
		found |= !memcmp(&p->id, id, sizeof(*id));
	pthread_mutex_unlock(&r->publish_lock);
	return found;
}

/*
 * It serves already; whoever asked for it is not to wait for a database that takes its time to be away, and perhaps ask
 * again.  A thread of its own records, and is waited for only so long.
 */
static void record_in_time(struct registry *r, struct err *refused, struct err *failed)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RECORD_WAIT_S;
	pthread_mutex_lock(&r->record_lock);
	if (!r->recording) {
		rollback_join(r);
		r->recording = r->has_recorder = !pthread_create(&r->recorder, NULL, run_recorder, r);
		if (!r->recording)
			(void)err_set(&r->record_failed, E_BUSY, "no thread can be started");
	}
	while (r->recording && !pthread_cond_timedwait(&r->record_done, &r->record_lock, &until))
		;
	*refused = r->record_refused;
	*failed = r->record_failed;
	if (r->recording)
		*failed = (struct err){E_BUSY, "the database does not answer in time"};
	pthread_mutex_unlock(&r->record_lock);
}

static void note_unrecorded(struct registry *r, struct rollback_result *ret, const struct err *why)
{
	(void)snprintf(ret->why_not, sizeof(ret->why_not), "%s", why->text); /* cut to what people read */
	log_warn(&logger, "the rollback of " SLICE_FMT " serves, and will be recorded when the database is back: %s",
		 SLICE_ARG(ret->use_case), why->text);
	pthread_mutex_lock(&r->view_lock);
	(void)snprintf(r->problem, sizeof(r->problem), "a rollback waits to be recorded: %.400s", why->text);
	pthread_mutex_unlock(&r->view_lock);
}

/* --- to a checkpoint --- */

struct restore {
	const struct rollback *what;
	struct arena *a;
	struct rollback_result *result;
};

static int restore_settings(struct change *c, struct slice use_case, struct slice settings, struct err *err)
{
	struct use_case_row old = {0};
	struct use_case_row row = {
		.name = use_case, .settings = settings, .created_us = c->now_us, .updated_us = c->now_us};
	struct registry_event e = {.kind = SLICE_LIT("use_case.settings"), .subject = use_case, .use_case = use_case};
	int rc = store_use_case_get(c->db, c->a, use_case, &old, err);

	if (rc && rc != E_NOTFOUND)
		return rc;
	if (slice_eq(old.settings, row.settings) || (!old.settings.p && slice_eq_str(settings, "{}")))
		return 0;
	e.before = old.settings;
	e.after = row.settings;
	rc = store_use_case_put(c->db, &row, err);
	return rc ? rc : change_event(c, &e, err);
}

static int restore_model(struct change *c, struct slice use_case, const struct model *kept, struct model *ret_now,
			 struct err *err)
{
	struct registry_event e = {.kind = SLICE_LIT("model.configuration"), .use_case = use_case};
	char id[UUID_STR_SIZE];
	int rc = store_model_get(c->db, c->a, &kept->id, ret_now, err);

	if (rc)
		return rc;
	if (!slice_eq(ret_now->configuration, kept->configuration)) {
		e.subject = slice_from(uuid_format(&kept->id, id));
		rc = change_model_text(c, ret_now, &e.before, err);
		if (!rc)
			rc = store_model_set_configuration(c->db, &kept->id, kept->configuration, c->now_us, err);
		ret_now->configuration = kept->configuration;
		ret_now->updated_us = c->now_us;
		if (!rc)
			rc = change_model_text(c, ret_now, &e.after, err);
		if (!rc)
			rc = change_event(c, &e, err);
	}
	return rc ? rc : change_current(c, ret_now, MODEL_CANDIDATE, err);
}

static int restore_document(struct change *c, struct restore *s, const struct checkpoint_row *kept, struct err *err)
{
	struct model was = {0}, now = {0}, before = {0};
	const struct json *model, *settings, *policy;
	struct slice text, own = {NULL, 0};
	struct json *root = NULL;
	struct err why = {0};
	int rc = json_parse_copy(c->parser, c->a, kept->document, NULL, &root, &why);

	model = json_get(root, "model");
	settings = json_get(root, "settings");
	policy = json_get(root, "policy");
	if (!rc && model && model->type == JSON_OBJECT)
		rc = model_parse(model, &was, &why);
	if (rc)
		return err_set(err, E_CORRUPT, "the snapshot cannot be read: %s", why.text);
	rc = store_model_current(c->db, c->a, kept->use_case, &before, err);
	if (rc && rc != E_NOTFOUND)
		return rc;
	rc = 0;
	text = settings && settings->type == JSON_OBJECT ? settings->raw : SLICE_LIT("{}");
	if (policy && policy->type == JSON_OBJECT)
		rc = restore_policy(c, kept, policy, &text, &own, err);
	if (!rc)
		rc = restore_settings(c, kept->use_case, text, err);
	if (!rc && was.name.n)
		rc = restore_model(c, kept->use_case, &was, &now, err);
	else if (!rc && before.name.n)
		rc = change_status(c, &before, MODEL_CANDIDATE, err);
	if (rc)
		return rc;
	s->result->policy = arena_slice(s->a, own);
	s->result->from_id = before.id;
	s->result->to_id = now.id;
	if (before.name.n)
		s->result->from = slice_from(
			arena_printf(s->a, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(before.name), SLICE_ARG(before.version)));
	if (now.name.n)
		s->result->to = slice_from(
			arena_printf(s->a, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(now.name), SLICE_ARG(now.version)));
	return 0;
}

static int apply_restore(struct change *c, void *arg, struct err *err)
{
	struct restore *s = arg;
	struct checkpoint_row kept = {.created_us = 0};
	struct deployment d = {.epoch = 0};
	int rc = store_checkpoint_get(c->db, c->a, s->what->checkpoint, &kept, err);

	if (rc)
		return rc;
	if (!slice_eq(kept.use_case, s->what->use_case))
		return err_set(err, E_CONFLICT, "that snapshot is of " SLICE_FMT ", not of " SLICE_FMT,
			       SLICE_ARG(kept.use_case), SLICE_ARG(slice_sub(s->what->use_case, 0, 64)));
	rc = store_deployment_active(c->db, c->a, kept.use_case, &d, err);
	if (rc && rc != E_NOTFOUND)
		return rc;
	*s->result = (struct rollback_result){.use_case = arena_slice(s->a, kept.use_case),
					      .checkpoint_id = change_new_id(c),
					      .deployment_id = d.id,
					      .recorded = true};
	if ((rc = change_checkpoint(c, kept.use_case, &s->result->checkpoint_id, NULL, err)) ||
	    (rc = end_deployment(c, &d.id, err)) || (rc = restore_document(c, s, &kept, err)))
		return rc;
	return rollback_event(c, kept.use_case, &s->result->from_id, &s->result->to_id, &s->result->checkpoint_id, err);
}

int registry_rollback(struct registry *r, struct arena *a, const struct rollback *what, const struct registry_who *who,
		      struct rollback_result *ret, struct err *err)
{
	struct restore restore = {what, a, ret};
	int64_t start_us = clock_mono_us();
	struct err why = {0}, refused = {0};
	int rc;

	if (what->checkpoint) {
		rc = registry_change(r, who, apply_restore, &restore, err);
		if (!rc)
			ret->applied_us = clock_mono_us() - start_us;
		return rc;
	}
	rc = act(r, a, what, who, ret, err);
	if (rc)
		return rc;
	ret->applied_us = clock_mono_us() - start_us;
	registry_save(r);
	if (r->snapshot_path)
		record_in_time(r, &refused, &why);
	else
		record_all(r, &refused, &why);
	ret->recorded = !is_pending(r, &ret->checkpoint_id);
	if (ret->recorded)
		return refused.code ? err_set(err, refused.code, "%s", refused.text) : 0;
	if (!r->snapshot_path) /* nobody will later: there is no daemon behind this */
		return err_set(err, why.code ? why.code : E_BUSY, "%s", why.text);
	note_unrecorded(r, ret, &why);
	return 0;
}
