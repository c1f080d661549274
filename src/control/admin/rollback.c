/* SPDX-License-Identifier: Apache-2.0 */
/* /api/v1/rollback and /api/v1/snapshots: taking a use case back, and what there is to take it back to. */
#include "control/registry/rollback.h"
#include "control/admin/admin_internal.h"
#include "control/registry/change.h"

static void key_id(struct api_call *c, const char *key, const struct uuid *id)
{
	char text[UUID_STR_SIZE];

	jw_kcstr(&c->w, key, uuid_is_nil(id) ? NULL : uuid_format(id, text));
}

static void write_result(struct api_call *c, const struct rollback_result *r)
{
	jw_object(&c->w);
	jw_kstr(&c->w, "use_case", r->use_case);
	api_key_or_null(c, "from", r->from);
	key_id(c, "from_id", &r->from_id);
	api_key_or_null(c, "to", r->to);
	key_id(c, "to_id", &r->to_id);
	key_id(c, "snapshot_id", &r->checkpoint_id);
	key_id(c, "deployment_id", &r->deployment_id);
	api_key_or_null(c, "policy", r->policy);
	jw_kdouble(&c->w, "applied_ms", (double)r->applied_us / 1000.0);
	jw_kbool(&c->w, "recorded", r->recorded);
	api_key_or_null(c, "not_recorded_because", slice_from(r->why_not));
	jw_object_end(&c->w);
}

static int refused(struct api_call *c, int rc, const struct rollback *what, const struct err *err)
{
	if (rc == E_NOTFOUND)
		return api_fail(c, 404, NULL, what->checkpoint ? "snapshot_not_found" : "nothing_to_roll_back_to", "%s",
				err->text);
	if (rc == E_CONFLICT)
		return api_fail(c, 409, NULL, "cannot_roll_back", "%s", err->text);
	return api_error(c, rc, NULL, err);
}

int api_rollback(struct api_call *c)
{
	struct slice checkpoint = {0};
	struct rollback what = {.checkpoint = NULL};
	struct rollback_result result = {.recorded = false};
	struct err err = {0};
	struct uuid id;
	int status, rc;

	if ((status = api_body_str(c, "use_case", USE_CASE_MAX, &what.use_case)) ||
	    (status = api_body_str(c, "to_model", 256, &what.to)) ||
	    (status = api_body_str(c, "snapshot_id", 64, &checkpoint)))
		return status;
	if (!what.use_case.n)
		return api_fail(c, 400, "use_case", "missing_member", "use_case is missing");
	if (what.to.n && checkpoint.n)
		return api_fail(c, 400, "snapshot_id", "invalid_value", "give to_model or snapshot_id, not both");
	if (checkpoint.n && uuid_parse(checkpoint.p, checkpoint.n, &id))
		return api_fail(c, 400, "snapshot_id", "invalid_value",
				"snapshot_id is no id: GET /api/v1/snapshots lists them");
	if (checkpoint.n)
		what.checkpoint = &id;
	rc = registry_rollback(c->admin->registry, &c->arena, &what, &c->who, &result, &err);
	if (rc)
		return refused(c, rc, &what, &err);
	write_result(c, &result);
	return result.recorded ? 200 : 202;
}

int api_snapshots_list(struct api_call *c)
{
	struct checkpoint_filter f = {.limit = 0};
	struct checkpoint_row *list = NULL;
	char last[UUID_STR_SIZE] = "";
	size_t n = 0, limit = 0;
	struct err err = {0};
	struct db *db;
	int status, rc;

	if ((status = api_query_use_case(c, &f.use_case)) || (status = api_query_limit(c, &limit)) ||
	    (status = api_query_id(c, "before", &f.before_id)))
		return status;
	f.limit = min_size(limit + 1, STORE_PAGE_MAX);
	rc = store_acquire(c->admin->store, &db, &err);
	if (rc == 0) {
		rc = store_checkpoint_list(db, &c->arena, &f, &list, &n, &err);
		store_release(c->admin->store, db);
	}
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	api_list_begin(c);
	for (size_t i = 0; i < n && i < limit; i++) {
		uuid_format(&list[i].id, last);
		jw_object(&c->w);
		jw_kcstr(&c->w, "snapshot_id", last);
		api_key_time(c, "created_at", list[i].created_us);
		jw_kstr(&c->w, "use_case", list[i].use_case);
		key_id(c, "model_id", &list[i].model_id);
		key_id(c, "deployment_id", &list[i].deployment_id);
		jw_kstr(&c->w, "actor", list[i].actor);
		jw_kstr(&c->w, "reason", list[i].reason);
		jw_kraw(&c->w, "document", list[i].document);
		jw_object_end(&c->w);
	}
	api_list_end(c, n > limit || n == STORE_PAGE_MAX, slice_from(last));
	return 200;
}
