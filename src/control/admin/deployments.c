/* SPDX-License-Identifier: Apache-2.0 */
/* /api/v1/deployments: what is checked here is the request; what may happen when is domain/deployment.c's table. */
#include "control/admin/admin_internal.h"
#include "control/registry/change.h"
#include "core/base/utf8.h"

#define STRATEGY_MAX 64

static void write_name(struct api_call *c, struct db *db, const char *key, const struct uuid *id)
{
	struct model m = {0};

	if (uuid_is_nil(id) || store_model_get(db, &c->arena, id, &m, NULL)) {
		jw_kcstr(&c->w, key, NULL);
		return;
	}
	jw_kcstr(&c->w, key, arena_printf(&c->arena, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(m.name), SLICE_ARG(m.version)));
}

static void write_one(struct api_call *c, struct db *db, const struct deployment *d)
{
	struct judgement now;

	jw_object(&c->w);
	deployment_write_members(&c->w, d);
	write_name(c, db, "model", &d->model_id);
	write_name(c, db, "previous_model", &d->previous_id);
	jw_key(&c->w, "now");
	if (deploy_state_is_end(d->state)) {
		jw_null(&c->w);
	} else {
		rollout_judge(c->admin->rollout, db, d, &now);
		judgement_write(&c->w, &now);
	}
	jw_object_end(&c->w);
}

/* The answer about one; a connection that cannot be had costs the names only when nothing else was written. */
static int answer_one(struct api_call *c, const struct deployment *d, int status)
{
	struct err err = {0};
	struct db *db;
	int rc = store_acquire(c->admin->store, &db, &err);

	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	write_one(c, db, d);
	store_release(c->admin->store, db);
	return status;
}

static int list(struct api_call *c, const struct deployment_filter *f, struct deployment **ret, size_t *ret_n)
{
	struct err err = {0};
	struct db *db;
	int rc = store_acquire(c->admin->store, &db, &err);

	if (rc == 0) {
		rc = store_deployment_list(db, &c->arena, f, ret, ret_n, &err);
		store_release(c->admin->store, db);
	}
	return rc < 0 ? api_error(c, rc, NULL, &err) : 0;
}

static bool is_id_prefix(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!strchr("0123456789abcdef-", s.p[i]) || !s.p[i])
			return false;
	return s.n >= 6 && s.n < UUID_STR_SIZE;
}

/* {deployment}: an id, a unique beginning of one, or a use case: its deployment under way or, for reading, its last. */
static int resolve(struct api_call *c, bool reading, struct deployment *ret)
{
	struct slice ref = c->param[0];
	struct deployment_filter by_id = {.id_prefix = ref, .limit = 2};
	char layer[USE_CASE_MAX + 8];
	const struct slice use_cases[] = {ref, use_case_of_layer(ref, layer)};
	struct deployment_filter by_use_case = {.active = true, .limit = 1};
	struct deployment *found = NULL;
	size_t n = 0;
	int status = is_id_prefix(ref) ? list(c, &by_id, &found, &n) : 0;

	for (size_t i = 0; !status && !n && i < (reading ? 4 : 2); i++) {
		by_use_case.use_case = use_cases[i % 2];
		by_use_case.active = i < 2;
		if (by_use_case.use_case.p)
			status = list(c, &by_use_case, &found, &n);
	}
	if (status)
		return status;
	if (n > 1)
		return api_fail(c, 409, "deployment", "ambiguous_deployment",
				"'" SLICE_FMT "' begins several ids: write more of it", SLICE_ARG(ref));
	if (!n)
		return api_fail(c, 404, "deployment", "deployment_not_found",
				"'" SLICE_FMT "' is no deployment, and no use case with one%s",
				SLICE_ARG(utf8_truncate(ref, 100)), reading ? "" : " under way");
	*ret = found[0];
	return 0;
}

int api_deployments_list(struct api_call *c)
{
	struct deployment_filter f = {.limit = 0};
	struct deployment *found = NULL;
	char last[UUID_STR_SIZE] = "";
	size_t n = 0, limit = 0;
	struct err err = {0};
	struct db *db;
	int status, rc;

	if ((status = api_query_use_case(c, &f.use_case)) || (status = api_query_bool(c, "active", &f.active)) ||
	    (status = api_query_limit(c, &limit)) || (status = api_query_id(c, "before", &f.before_id)))
		return status;
	f.limit = min_size(limit + 1, STORE_PAGE_MAX);
	status = list(c, &f, &found, &n);
	if (status)
		return status;
	rc = store_acquire(c->admin->store, &db, &err);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	api_list_begin(c);
	for (size_t i = 0; i < n && i < limit; i++) {
		write_one(c, db, &found[i]);
		uuid_format(&found[i].id, last);
	}
	store_release(c->admin->store, db);
	api_list_end(c, n > limit || n == STORE_PAGE_MAX, slice_from(last));
	return 200;
}

int api_deployment_get(struct api_call *c)
{
	struct deployment d = {.epoch = 0};
	int status = resolve(c, true, &d);

	return status ? status : answer_one(c, &d, 200);
}

static int read_start(struct api_call *c, struct deployment *d)
{
	struct slice strategy = {0}, model = {0};
	struct err err = {0};
	struct model m;
	int status;

	if ((status = api_body_str(c, "use_case", USE_CASE_MAX, &d->use_case)) ||
	    (status = api_body_str(c, "model", 256, &model)) ||
	    (status = api_body_str(c, "strategy", STRATEGY_MAX, &strategy)))
		return status;
	if (!model.n)
		return api_fail(c, 400, "model", "missing_member", "model is missing");
	if (!strategy.n)
		return api_fail(c, 400, "strategy", "missing_member",
				"strategy is missing: all_at_once, blue_green or canary");
	if (deploy_strategy_parse(strategy, &d->strategy, &err) < 0)
		return api_error(c, E_INVALID, "strategy", &err);
	if (deploy_plan_parse(d->strategy, c->body, &d->plan, &err) < 0)
		return api_error(c, E_INVALID, NULL, &err);
	status = api_model_resolve(c, model, d->use_case, &m);
	if (status)
		return status;
	d->model_id = m.id;
	if (!d->use_case.n)
		d->use_case = m.use_case;
	return 0;
}

int api_deployments_create(struct api_call *c)
{
	struct deployment wanted = {.epoch = 0}, made = {.epoch = 0};
	char id[UUID_STR_SIZE];
	struct err err = {0};
	int status = read_start(c, &wanted), rc;

	if (status)
		return status;
	rc = rollout_start(c->admin->rollout, &c->arena, &wanted, &c->who, &made, &err);
	if (rc == E_EXISTS)
		return api_fail(c, 409, "use_case", "deployment_under_way", "%s",
				err.text[0] ? err.text : "a deployment is under way");
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	api_header(c, "location", "/api/v1/deployments/%s", uuid_format(&made.id, id));
	return answer_one(c, &made, 201);
}

static int tell(struct api_call *c, enum deploy_event event)
{
	struct deployment d = {.epoch = 0};
	struct err err = {0};
	int status = resolve(c, false, &d), rc;

	if (status)
		return status;
	rc = rollout_tell(c->admin->rollout, &c->arena, &d, event, &c->who, &err);
	if (rc == E_CONFLICT)
		return api_fail(c, 409, "deployment", "wrong_state", "%s", err.text);
	return rc < 0 ? api_error(c, rc, NULL, &err) : answer_one(c, &d, 200);
}

int api_deployment_pause(struct api_call *c)
{
	return tell(c, DEPLOY_PAUSE);
}

int api_deployment_resume(struct api_call *c)
{
	return tell(c, DEPLOY_RESUME);
}

int api_deployment_promote(struct api_call *c)
{
	return tell(c, DEPLOY_PROMOTE);
}

int api_deployment_abort(struct api_call *c)
{
	return tell(c, DEPLOY_ABORT);
}
