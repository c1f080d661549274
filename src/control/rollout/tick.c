/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What deployments do by themselves.  Bad is acted on in any state, at once; good only when the time of a step is over
 * and enough was seen; too little is waited for, and then a person has to decide.
 */
#include <stdio.h>

#include "control/rollout/rollout_internal.h"
#include "core/base/clock.h"
#include "core/base/log.h"

#define TICK_ARENA ((size_t)64 << 20)
#define REASON_MAX 320

static const struct log logger = {.module = "rollout"};

struct decision {
	bool act;
	enum deploy_event event;
	char reason[REASON_MAX];
};

static void decide(struct decision *d, enum deploy_event event, const char *reason, const char *detail)
{
	d->act = true;
	d->event = event;
	(void)snprintf(d->reason, sizeof(d->reason), "%s%s%s", reason, *detail ? ": " : "", detail);
}

/* Somebody may have promoted, archived or demoted the model by hand meanwhile. */
static bool overtaken(const struct model *m, struct decision *ret)
{
	if (m->status == MODEL_TESTING)
		return false;
	if (m->status == MODEL_CURRENT)
		decide(ret, DEPLOY_PROMOTE, "its model was made current by hand", "");
	else
		decide(ret, DEPLOY_ABORT, "its model was taken away by hand", model_status_name(m->status));
	return true;
}

static void judge_one(const struct deployment *d, const struct judgement *j, int64_t now_us, struct decision *ret)
{
	bool over = now_us >= deployment_deadline_us(d);
	char text[JUDGEMENT_TEXT];

	judgement_text(j, text);
	if (j->verdict == VERDICT_FAIL) {
		decide(ret, DEPLOY_ROLLBACK, text, "");
		return;
	}
	if (d->state == DEPLOY_PROGRESSING && !over)
		return;
	if (d->state != DEPLOY_PAUSED && j->verdict == VERDICT_PASS) {
		bool more = deployment_can(d, DEPLOY_ADVANCE);

		decide(ret, more ? DEPLOY_ADVANCE : DEPLOY_COMPLETE, "the step has passed", "");
	} else if (d->state == DEPLOY_PROGRESSING) {
		decide(ret, DEPLOY_STARVE, "the hold is over and too little was seen", text);
	} else if (over) {
		decide(ret, DEPLOY_TIMEOUT,
		       d->state == DEPLOY_WAITING ? "too little was seen for too long" : "nobody decided", text);
	}
}

static void tell(const struct deployment *d, const struct decision *what)
{
	char id[UUID_STR_SIZE];

	uuid_format(&d->id, id);
	if (d->state == DEPLOY_ROLLED_BACK || d->state == DEPLOY_ABORTED)
		log_error(&logger, "deployment %s of " SLICE_FMT " is %s: %s", id, SLICE_ARG(d->use_case),
			  deploy_state_name(d->state), what->reason);
	else
		log_info(&logger, "deployment %s of " SLICE_FMT " is %s at %u %%: %s", id, SLICE_ARG(d->use_case),
			 deploy_state_name(d->state), d->share, what->reason);
}

static int tick_one(struct rollout *r, struct arena *a, const struct deployment *d, const struct lease *lease,
		    struct err *err)
{
	struct decision what = {.act = false};
	struct deployment after = *d;
	struct judgement j;
	struct move m = {.id = d->id, .epoch = d->epoch, .judgement = &j, .a = a, .ret = &after};
	struct registry_who who = {.actor = SLICE_LIT("muster")};
	struct model model = {0};
	struct db *db = NULL;
	int rc = store_acquire(r->o.store, &db, err);

	if (rc)
		return rc;
	rc = store_model_get(db, a, &d->model_id, &model, err);
	if (!rc)
		rc = rollout_report(r, db, d, err);
	if (!rc)
		rollout_judge(r, db, d, &j);
	store_release(r->o.store, db);
	if (rc)
		return rc;
	if (!overtaken(&model, &what))
		judge_one(d, &j, clock_wall_us(), &what);
	if (!what.act || (!lease && what.event != DEPLOY_ROLLBACK))
		return 0;
	m.fence = what.event == DEPLOY_ROLLBACK || !lease->epoch ? NULL : lease;
	m.event = what.event;
	who.reason = slice_from(what.reason);
	rc = rollout_move(r, &m, &who, err);
	if (rc == E_CONFLICT)
		return 0; /* somebody was faster: the next tick sees what they did */
	if (!rc)
		tell(&after, &what);
	return rc;
}

static int read_active(struct rollout *r, struct arena *a, struct deployment **ret, size_t *ret_n, struct err *err)
{
	const struct deployment_filter active = {.active = true, .limit = STORE_PAGE_MAX};
	struct db *db = NULL;
	int rc = store_acquire(r->o.store, &db, err);

	if (rc)
		return rc;
	rc = store_deployment_list(db, a, &active, ret, ret_n, err);
	store_release(r->o.store, db);
	return rc;
}

int rollout_tick(struct rollout *r, const struct lease *lease, int64_t *ret_next_us, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct deployment *list = NULL;
	size_t n = 0;
	int rc;

	arena_init(&a, 16384, TICK_ARENA);
	*ret_next_us = 0;
	rc = read_active(r, &a, &list, &n, err);
	if (rc)
		return rc;
	rollout_forget_others(r, list, n, clock_wall_us());
	for (size_t i = 0; i < n; i++) { /* one that fails keeps no other from moving */
		int failed = tick_one(r, &a, &list[i], lease, err);

		rc = rc ? rc : failed;
	}
	if (rc || (rc = read_active(r, &a, &list, &n, err)))
		return rc;
	for (size_t i = 0; i < n; i++) {
		int64_t at = deployment_deadline_us(&list[i]);

		if (list[i].state == DEPLOY_PROGRESSING && (!*ret_next_us || at < *ret_next_us))
			*ret_next_us = at;
	}
	return 0;
}
