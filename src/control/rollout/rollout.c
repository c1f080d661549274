/* SPDX-License-Identifier: Apache-2.0 */
/* Moves of deployments, and what each does to the models. */
#include "control/rollout/rollout.h"

#include <pthread.h>
#include <stdlib.h>

#include "control/rollout/rollout_internal.h"
#include "control/store/figures.h"

#define EVIDENCE_MAX ((size_t)8 << 10)

struct rollout *rollout_new(const struct rollout_options *o)
{
	struct rollout *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	r->o = *o;
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

void rollout_free(struct rollout *r)
{
	if (!r)
		return;
	while (r->marks) {
		struct mark *m = r->marks;

		r->marks = m->next;
		free(m);
	}
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* --- moves --- */

/* What the end of a deployment does to its model. */
static int settle(struct change *c, const struct deployment *d, struct err *err)
{
	struct model m = {0};
	int rc = store_model_get(c->db, c->a, &d->model_id, &m, err);

	if (rc)
		return rc;
	if (d->state == DEPLOY_SUCCEEDED)
		return change_current(c, &m, MODEL_DEPRECATED, err);
	return m.status == MODEL_TESTING ? change_status(c, &m, MODEL_CANDIDATE, err) : 0;
}

static int keep_checkpoint(struct change *c, const struct deployment *d, enum deploy_event event, struct err *err)
{
	struct uuid id = change_new_id(c);

	return event == DEPLOY_ROLLBACK ? change_checkpoint(c, d->use_case, &id, &d->id, err) : 0;
}

static void keep(struct move *m, const struct deployment *d)
{
	struct slice *const texts[] = {&m->ret->use_case, &m->ret->evidence, &m->ret->rollback_reason, &m->ret->actor,
				       &m->ret->reason};

	*m->ret = *d;
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		if (texts[i]->p)
			*texts[i] = arena_slice(m->a, *texts[i]);
}

static int evidence_json(struct change *c, const struct judgement *j, struct slice *ret)
{
	struct json_writer w;
	struct buf out;

	buf_init_arena(&out, c->a, EVIDENCE_MAX);
	jw_init(&w, &out);
	judgement_write(&w, j);
	*ret = buf_slice(&out);
	return buf_failed(&out) ? E_TOOBIG : 0;
}

static int apply_move(struct change *c, void *arg, struct err *err)
{
	struct move *m = arg;
	struct deployment d = {.epoch = 0};
	int rc = m->fence ? store_lease_guard(c->db, m->fence, err) : 0;

	if (rc || (rc = store_deployment_get(c->db, c->a, &m->id, &d, err)))
		return rc;
	if (m->epoch && d.epoch != m->epoch)
		return err_set(err, E_CONFLICT, "the deployment of " SLICE_FMT " was changed meanwhile",
			       SLICE_ARG(d.use_case));
	if (!deployment_can(&d, m->event))
		return deployment_move(&d, m->event, c->now_us, err); /* says why not */
	if (m->judgement && evidence_json(c, m->judgement, &d.evidence))
		return err_set(err, E_TOOBIG, "the evidence is too large");
	if (m->event == DEPLOY_ROLLBACK)
		d.rollback_reason = c->who.reason;
	rc = keep_checkpoint(c, &d, m->event, err);
	if (!rc)
		rc = change_deployment(c, &d, m->event, err);
	if (!rc && deploy_state_is_end(d.state))
		rc = settle(c, &d, err);
	if (!rc)
		keep(m, &d);
	return rc;
}

int rollout_move(struct rollout *r, struct move *m, const struct registry_who *who, struct err *err)
{
	int rc = registry_change(r->o.registry, who, apply_move, m, err);

	if (rc)
		return rc;
	if (m->ret->state == DEPLOY_PROGRESSING)
		rollout_begin_round(r, m->ret);
	return 0;
}

int rollout_tell(struct rollout *r, struct arena *a, struct deployment *d, enum deploy_event event,
		 const struct registry_who *who, struct err *err)
{
	struct move m = {.id = d->id, .event = event, .a = a, .ret = d};

	return rollout_move(r, &m, who, err);
}

/* --- starting --- */

struct start {
	const struct deployment *wanted;
	struct arena *a;
	struct deployment *ret;
	bool shared;
};

static int refuse_second(struct change *c, struct slice use_case, struct deployment *ret, struct err *err)
{
	char id[UUID_STR_SIZE];
	int rc = store_deployment_active(c->db, c->a, use_case, ret, err);

	if (rc == E_NOTFOUND)
		return 0;
	if (rc)
		return rc;
	return err_set(err, E_EXISTS,
		       "deployment %s of " SLICE_FMT " is under way: %s, %s, %u %%; promote or abort it first",
		       uuid_format(&ret->id, id), SLICE_ARG(use_case), deploy_strategy_name(ret->strategy),
		       deploy_state_name(ret->state), ret->share);
}

static int check_model(const struct model *m, struct slice use_case, struct err *err)
{
	if (!slice_eq(m->use_case, use_case))
		return err_set(err, E_INVALID,
			       SLICE_FMT "@" SLICE_FMT " is registered for " SLICE_FMT ", not for " SLICE_FMT,
			       SLICE_ARG(m->name), SLICE_ARG(m->version), SLICE_ARG(m->use_case), SLICE_ARG(use_case));
	if (m->status == MODEL_CURRENT || m->status == MODEL_ARCHIVED)
		return err_set(
			err, E_CONFLICT, SLICE_FMT "@" SLICE_FMT " is %s", SLICE_ARG(m->name), SLICE_ARG(m->version),
			m->status == MODEL_CURRENT ? "current already" : "archived: take it back with set-status");
	return 0;
}

static int find_previous(struct change *c, struct deployment *d, struct err *err)
{
	struct model m = {0};
	int rc = store_model_current(c->db, c->a, d->use_case, &m, err);

	if (!rc)
		d->previous_id = m.id;
	return rc == E_NOTFOUND ? 0 : rc;
}

static int apply_start(struct change *c, void *arg, struct err *err)
{
	struct start *s = arg;
	struct deployment d = *s->wanted;
	struct move m = {.a = s->a, .ret = s->ret};
	struct model model = {0};
	int rc;

	if ((rc = store_model_get(c->db, c->a, &d.model_id, &model, err)) ||
	    (rc = refuse_second(c, d.use_case, s->ret, err)) || (rc = check_model(&model, d.use_case, err)) ||
	    (rc = find_previous(c, &d, err)) || (s->shared && (rc = store_figures_forget(c->db, d.use_case, err))))
		return rc;
	d.state = DEPLOY_DRAFT;
	d.step = 0;
	d.epoch = 0;
	d.actor = c->who.actor;
	d.reason = c->who.reason;
	d.created_us = c->now_us;
	d.id = change_new_id(c);
	d.snapshot_id = change_new_id(c);
	if ((rc = change_checkpoint(c, d.use_case, &d.snapshot_id, &d.id, err)) ||
	    (rc = change_deployment(c, &d, DEPLOY_START, err)) || (rc = change_status(c, &model, MODEL_TESTING, err)))
		return rc;
	/* Without a time to be watched in, all at once means now. */
	if (d.strategy == DEPLOY_ALL_AT_ONCE && !d.plan.hold_ms &&
	    ((rc = change_deployment(c, &d, DEPLOY_PROMOTE, err)) || (rc = settle(c, &d, err))))
		return rc;
	keep(&m, &d);
	return 0;
}

int rollout_start(struct rollout *r, struct arena *a, const struct deployment *wanted, const struct registry_who *who,
		  struct deployment *ret, struct err *err)
{
	struct start s = {wanted, a, ret, r->o.shared};
	int rc = registry_change(r->o.registry, who, apply_start, &s, err);

	if (!rc && ret->state == DEPLOY_PROGRESSING)
		rollout_begin_round(r, ret);
	return rc;
}
