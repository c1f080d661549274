/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a use case is served at a moment, as one document: the model, its configuration, the settings, the guardrail
 * policy, and who got how much of the traffic.  Taken inside the transaction that is about to change it.
 */
#include "control/registry/registry_internal.h"
#include "core/base/clock.h"
#include "core/json/writer.h"

#define DOCUMENT_MAX ((size_t)32 << 20)

static void time_or_null(struct json_writer *w, const char *key, int64_t at_us)
{
	char text[CLOCK_ISO_SIZE];

	jw_kcstr(w, key, at_us ? clock_iso(at_us, text) : NULL);
}

static void id_or_null(struct json_writer *w, const char *key, const struct uuid *id)
{
	char text[UUID_STR_SIZE];

	jw_kcstr(w, key, uuid_is_nil(id) ? NULL : uuid_format(id, text));
}

static void text_or_null(struct json_writer *w, const char *key, struct slice s)
{
	if (s.n) {
		jw_kstr(w, key, s);
		return;
	}
	jw_key(w, key);
	jw_null(w);
}

void deployment_write_members(struct json_writer *w, const struct deployment *d)
{
	char next[DEPLOY_NEXT_SIZE];

	id_or_null(w, "deployment_id", &d->id);
	jw_kstr(w, "use_case", d->use_case);
	id_or_null(w, "model_id", &d->model_id);
	id_or_null(w, "previous_model_id", &d->previous_id);
	id_or_null(w, "snapshot_id", &d->snapshot_id);
	jw_kcstr(w, "strategy", deploy_strategy_name(d->strategy));
	jw_kcstr(w, "state", deploy_state_name(d->state));
	jw_ki64(w, "step", d->step + 1);
	jw_ki64(w, "share", d->share);
	time_or_null(w, "since", d->since_us);
	time_or_null(w, "holds_until", d->holds_until_us);
	time_or_null(w, "deadline", deployment_deadline_us(d));
	jw_kcstr(w, "next", deployment_next(d, next));
	jw_key(w, "plan");
	deploy_plan_write(w, &d->plan);
	text_or_null(w, "rollback_reason", d->rollback_reason);
	jw_kraw(w, "evidence", d->evidence);
	jw_kstr(w, "actor", d->actor);
	jw_kstr(w, "reason", d->reason);
	time_or_null(w, "created_at", d->created_us);
	time_or_null(w, "updated_at", d->updated_us);
	time_or_null(w, "finished_at", d->finished_us);
}

static void deployment_write(struct json_writer *w, const struct deployment *d)
{
	jw_object(w);
	deployment_write_members(w, d);
	jw_object_end(w);
}

static int deployment_json(struct change *c, const struct deployment *d, struct slice *ret, struct err *err)
{
	CLEANUP(buf_release) struct buf out;
	struct json_writer w;

	buf_init(&out, DOCUMENT_MAX);
	jw_init(&w, &out);
	deployment_write(&w, d);
	*ret = buf_failed(&out) ? (struct slice){NULL, 0} : arena_slice(c->a, buf_slice(&out));
	return ret->p ? 0 : err_set(err, E_TOOBIG, "the deployment is too large");
}

int change_deployment(struct change *c, struct deployment *d, enum deploy_event event, struct err *err)
{
	char id[UUID_STR_SIZE], kind[40];
	struct registry_event e = {.subject = slice_from(uuid_format(&d->id, id)), .use_case = d->use_case};
	int rc;

	(void)snprintf(kind, sizeof(kind), "deployment.%s", deploy_event_name(event)); /* fits */
	e.kind = slice_from(kind);
	if (d->state != DEPLOY_DRAFT && (rc = deployment_json(c, d, &e.before, err)))
		return rc;
	rc = deployment_move(d, event, c->now_us, err);
	if (rc)
		return rc;
	rc = d->epoch == 1 ? store_deployment_insert(c->db, d, err) : store_deployment_update(c->db, d, err);
	if (!rc)
		rc = deployment_json(c, d, &e.after, err);
	if (!rc && c->n_moves < CHANGE_MAX_MOVES)
		c->move[c->n_moves++] = (struct change_move){d->strategy, event, d->state};
	return rc ? rc : change_event(c, &e, err);
}

struct checkpoint {
	struct model model;
	struct use_case_row settings;
	struct deployment deployment;
	struct slice policy_name, policy; /* document, absent for the built-in one */
	bool has_model, has_settings, has_deployment;
};

static int found(int rc, bool *ret_has)
{
	*ret_has = rc == 0;
	return rc == E_NOTFOUND ? 0 : rc;
}

static int read_policy(struct change *c, struct checkpoint *k, struct err *err)
{
	struct policy_row *rows = NULL;
	struct json *root = NULL;
	size_t n = 0;
	int rc = 0;

	k->policy_name = SLICE_LIT("default");
	if (k->has_settings)
		rc = json_parse_copy(c->parser, c->a, k->settings.settings, NULL, &root, err);
	if (rc || (rc = json_get_str(root, "policy", &k->policy_name, err)) ||
	    (rc = store_policy_list(c->db, c->a, &rows, &n, err)))
		return rc;
	for (size_t i = 0; i < n; i++)
		if (slice_eq(rows[i].name, k->policy_name))
			k->policy = rows[i].document;
	return 0;
}

static int read_now(struct change *c, struct slice use_case, struct checkpoint *k, struct err *err)
{
	int rc;

	if ((rc = found(store_model_current(c->db, c->a, use_case, &k->model, err), &k->has_model)) ||
	    (rc = found(store_use_case_get(c->db, c->a, use_case, &k->settings, err), &k->has_settings)) ||
	    (rc = found(store_deployment_active(c->db, c->a, use_case, &k->deployment, err), &k->has_deployment)))
		return rc;
	return read_policy(c, k, err);
}

static void write_now(struct json_writer *w, struct slice use_case, const struct checkpoint *k)
{
	jw_object(w);
	jw_kstr(w, "use_case", use_case);
	jw_key(w, "model");
	if (k->has_model)
		model_write(w, &k->model);
	else
		jw_null(w);
	jw_kraw(w, "settings", k->has_settings ? k->settings.settings : SLICE_LIT("{}"));
	jw_key(w, "policy");
	jw_object(w);
	jw_kstr(w, "name", k->policy_name);
	jw_kraw(w, "document", k->policy);
	jw_object_end(w);
	jw_key(w, "traffic");
	if (k->has_deployment)
		deployment_write(w, &k->deployment);
	else
		jw_null(w);
	jw_object_end(w);
}

int change_checkpoint(struct change *c, struct slice use_case, const struct uuid *id, const struct uuid *deployment,
		      struct err *err)
{
	CLEANUP(buf_release) struct buf out = {0};
	struct checkpoint_row row = {.id = *id,
				     .created_us = c->now_us,
				     .use_case = use_case,
				     .actor = c->who.actor,
				     .reason = c->who.reason};
	struct checkpoint k = {.has_model = false};
	struct json_writer w;
	int rc = read_now(c, use_case, &k, err);

	buf_init(&out, DOCUMENT_MAX);
	if (rc)
		return rc;
	jw_init(&w, &out);
	write_now(&w, use_case, &k);
	if (buf_failed(&out))
		return err_set(err, E_TOOBIG, "how " SLICE_FMT " is served is too large to be kept",
			       SLICE_ARG(use_case));
	if (k.has_model)
		row.model_id = k.model.id;
	if (deployment)
		row.deployment_id = *deployment;
	row.document = buf_slice(&out);
	c->changed = true;
	return store_checkpoint_insert(c->db, &row, err);
}
