/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be done to a model.  `current` moves only in change_status below: the one that leaves and the one that
 * comes are in one transaction, each with its event, the one that leaves first (the unique index would not have it the
 * other way round).
 */
#include "control/registry/registry_internal.h"
#include "core/json/writer.h"

#define CONFIGURATION_MAX ((size_t)64 << 10)
#define MODEL_JSON_MAX ((size_t)1 << 20)
#define PROVIDER_MAX 64

void registry_write_model(struct json_writer *w, const struct model *m)
{
	model_write(w, m);
}

int change_model_text(struct change *c, const struct model *m, struct slice *ret, struct err *err)
{
	CLEANUP(buf_release) struct buf out;
	struct json_writer w;

	buf_init(&out, MODEL_JSON_MAX);
	jw_init(&w, &out);
	model_write(&w, m);
	*ret = buf_failed(&out) ? (struct slice){NULL, 0} : arena_slice(c->a, buf_slice(&out));
	return ret->p ? 0 : err_set(err, E_TOOBIG, "the model is too large");
}

/* before NULL: it was not there. */
static int model_event(struct change *c, const char *kind, const struct model *before, const struct model *after,
		       struct err *err)
{
	char id[UUID_STR_SIZE];
	struct registry_event e = {.kind = slice_from(kind),
				   .subject = slice_from(uuid_format(&after->id, id)),
				   .use_case = after->use_case};
	int rc = before ? change_model_text(c, before, &e.before, err) : 0;

	if (!rc)
		rc = change_model_text(c, after, &e.after, err);
	return rc ? rc : change_event(c, &e, err);
}

int change_status(struct change *c, const struct model *before, enum model_status status, struct err *err)
{
	struct model after = *before;
	int rc = 0;

	if (before->status == status)
		return 0;
	rc = store_model_set_status(c->db, &before->id, status, c->now_us, err);
	after.status = status;
	after.updated_us = after.status_since_us = c->now_us;
	return rc ? rc : model_event(c, "model.status", before, &after, err);
}

/* Whoever is current for the use case leaves; *ret_left stays nil when nobody was. */
static int leave_current(struct change *c, struct slice use_case, enum model_status status, struct uuid *ret_left,
			 struct err *err)
{
	struct model old = {0};
	int rc = store_model_current(c->db, c->a, use_case, &old, err);

	if (rc == E_NOTFOUND)
		return 0;
	if (!rc)
		rc = change_status(c, &old, status, err);
	if (!rc)
		*ret_left = old.id;
	return rc;
}

static int demote_current(struct change *c, struct slice use_case, struct uuid *ret_demoted, struct err *err)
{
	return leave_current(c, use_case, MODEL_DEPRECATED, ret_demoted, err);
}

int change_current(struct change *c, const struct model *to, enum model_status left, struct err *err)
{
	struct uuid left_id = {{0}};
	int rc;

	if (to->status == MODEL_CURRENT)
		return 0;
	rc = leave_current(c, to->use_case, left, &left_id, err);
	return rc ? rc : change_status(c, to, MODEL_CURRENT, err);
}

static int check_names(const struct model *m, struct err *err)
{
	struct err why = {0};
	int rc;

	if ((rc = model_name_check(m->name, err)) || (rc = model_version_check(m->version, err)) ||
	    (rc = use_case_check(m->use_case, err)))
		return rc;
	if (m->provider.n > PROVIDER_MAX || model_name_check(m->provider, &why))
		return err_set(err, E_INVALID, "provider is missing or is no name: say ollama, vllm, openai, sim, ...");
	if (m->model_type.n > PROVIDER_MAX)
		return err_set(err, E_INVALID, "model_type is %zu bytes long: at most %d are taken", m->model_type.n,
			       PROVIDER_MAX);
	return 0;
}

static int read_configuration(struct change *c, struct slice text, struct slice *ret, struct err *err)
{
	struct model_config config;
	struct object o = {NULL};
	int rc = change_object(c, "configuration", text, CONFIGURATION_MAX, &o, err);

	*ret = o.text;
	if (!rc)
		rc = model_config_parse(o.root, &config, err);
	return rc || !c->r->hooks.admit ? rc : c->r->hooks.admit(&config, c->r->hooks.arg, err);
}

static int read_metrics(struct change *c, struct slice text, struct slice *ret, struct err *err)
{
	struct object o = {NULL};
	int rc = change_object(c, "performance_metrics", text, CONFIGURATION_MAX, &o, err);

	*ret = o.text;
	return rc;
}

static int refuse_double(struct change *c, struct model *m, struct err *err)
{
	const struct model_filter same = {
		.use_case = m->use_case, .name = m->name, .version = m->version, .status = -1, .with_archived = true};
	struct model *there = NULL;
	char id[UUID_STR_SIZE];
	size_t n = 0;
	int rc = store_model_list(c->db, c->a, &same, &there, &n, err);

	if (rc || n == 0)
		return rc;
	m->id = there->id;
	return err_set(err, E_EXISTS,
		       "model " SLICE_FMT "@" SLICE_FMT " is registered for " SLICE_FMT " already: it is %s, %s",
		       SLICE_ARG(m->name), SLICE_ARG(m->version), SLICE_ARG(m->use_case), uuid_format(&there->id, id),
		       model_status_name(there->status));
}

static int apply_register(struct change *c, void *arg, struct err *err)
{
	struct model *m = arg, stored = *m;
	struct uuid demoted = {{0}};
	int rc;

	if ((rc = check_names(m, err)) || (rc = read_configuration(c, m->configuration, &stored.configuration, err)) ||
	    (rc = read_metrics(c, m->metrics, &stored.metrics, err)) || (rc = refuse_double(c, m, err)))
		return rc;
	stored.id = uuid_v7(&c->r->ids, c->now_us);
	stored.created_us = stored.updated_us = stored.status_since_us = c->now_us;
	if (stored.status == MODEL_CURRENT && (rc = demote_current(c, m->use_case, &demoted, err)))
		return rc;
	if ((rc = store_model_insert(c->db, &stored, err)) ||
	    (rc = model_event(c, "model.registered", NULL, &stored, err)))
		return rc;
	m->id = stored.id;
	m->created_us = m->updated_us = m->status_since_us = c->now_us;
	return 0;
}

int registry_register(struct registry *r, struct model *m, const struct registry_who *who, struct err *err)
{
	return registry_change(r, who, apply_register, m, err);
}

struct status_change {
	const struct uuid *id;
	enum model_status status;
	struct uuid demoted;
};

static int apply_status(struct change *c, void *arg, struct err *err)
{
	struct status_change *s = arg;
	struct model before = {0};
	int rc = store_model_get(c->db, c->a, s->id, &before, err);

	if (rc || before.status == s->status)
		return rc;
	if (s->status == MODEL_CURRENT && (rc = demote_current(c, before.use_case, &s->demoted, err)))
		return rc;
	return change_status(c, &before, s->status, err);
}

int registry_set_status(struct registry *r, const struct uuid *id, enum model_status status,
			const struct registry_who *who, struct uuid *ret_demoted, struct err *err)
{
	struct status_change s = {.id = id, .status = status};
	int rc = registry_change(r, who, apply_status, &s, err);

	if (!rc && ret_demoted)
		*ret_demoted = s.demoted;
	return rc;
}

struct text_change {
	const struct uuid *id;
	struct slice json;
};

static int apply_configuration(struct change *c, void *arg, struct err *err)
{
	const struct text_change *t = arg;
	struct model before = {0}, after;
	int rc = store_model_get(c->db, c->a, t->id, &before, err);

	if (rc)
		return rc;
	after = before;
	after.updated_us = c->now_us;
	rc = read_configuration(c, t->json, &after.configuration, err);
	if (rc || slice_eq(before.configuration, after.configuration))
		return rc;
	rc = store_model_set_configuration(c->db, t->id, after.configuration, c->now_us, err);
	return rc ? rc : model_event(c, "model.configuration", &before, &after, err);
}

int registry_set_configuration(struct registry *r, const struct uuid *id, struct slice json,
			       const struct registry_who *who, struct err *err)
{
	struct text_change t = {id, json};

	return registry_change(r, who, apply_configuration, &t, err);
}

static int apply_metrics(struct change *c, void *arg, struct err *err)
{
	const struct text_change *t = arg;
	struct model before = {0}, after;
	int rc = store_model_get(c->db, c->a, t->id, &before, err);

	if (rc)
		return rc;
	after = before;
	after.updated_us = c->now_us;
	rc = read_metrics(c, t->json, &after.metrics, err);
	if (rc || slice_eq(before.metrics, after.metrics))
		return rc;
	rc = store_model_set_metrics(c->db, t->id, after.metrics, c->now_us, err);
	return rc ? rc : model_event(c, "model.metrics", &before, &after, err);
}

int registry_set_metrics(struct registry *r, const struct uuid *id, struct slice json, const struct registry_who *who,
			 struct err *err)
{
	struct text_change t = {id, json};

	return registry_change(r, who, apply_metrics, &t, err);
}
