/* SPDX-License-Identifier: Apache-2.0 */
/* /api/v1/models: what is checked here is the request; what may change, and in which transaction, is the registry's. */
#include "control/admin/admin_internal.h"
#include "core/base/clock.h"
#include "serving/provider/provider.h"

#define MODEL_TYPE_MAX 64
#define PROVIDER_MAX 64

int api_models_list(struct api_call *c)
{
	struct model_filter f = {.status = -1};
	struct model *list = NULL;
	char last[UUID_STR_SIZE] = "", id[UUID_STR_SIZE];
	struct slice status_name, before;
	struct err err = {0};
	enum model_status s;
	size_t n = 0, limit = 0, i = 0, n_written = 0;
	int status;

	status_name = api_query(c, "status");
	if (status_name.p && model_status_parse(status_name, &s, &err) < 0)
		return api_error(c, E_INVALID, "status", &err);
	f.status = status_name.p ? (int)s : -1;
	f.provider = api_query(c, "provider");
	f.name = api_query(c, "name");
	if ((status = api_query_use_case(c, &f.use_case)) ||
	    (status = api_query_bool(c, "include_archived", &f.with_archived)) ||
	    (status = api_query_limit(c, &limit)) || (status = api_query_id(c, "before", &before)) ||
	    (status = api_models(c, &f, &list, &n)))
		return status;
	while (before.p && i < n && !slice_eq_str(before, uuid_format(&list[i++].id, id)))
		;
	api_list_begin(c);
	for (; i < n && n_written < limit; i++, n_written++) {
		registry_write_model(&c->w, &list[i]);
		uuid_format(&list[i].id, last);
	}
	api_list_end(c, i < n, slice_from(last));
	return 200;
}

/* A name that has its own rule. */
static int body_name(struct api_call *c, const char *name, int (*check)(struct slice, struct err *), struct slice *ret)
{
	struct err err = {0};
	int status;

	*ret = (struct slice){0};
	status = api_body_str(c, name, SIZE_MAX, ret);
	if (status)
		return status;
	if (!ret->n)
		return api_fail(c, 400, name, "missing_member", "%s is missing", name);
	return check(*ret, &err) < 0 ? api_error(c, E_INVALID, name, &err) : 0;
}

/* Whether a model with this configuration could be called at all. */
static int check_configuration(struct api_call *c, struct slice provider, const struct json *configuration)
{
	struct provider_target target;
	struct model_config config = {0};
	struct err err = {0};
	int rc;

	rc = model_config_parse(configuration, &config, &err);
	if (rc == 0)
		rc = provider_resolve(provider, &config, &target, &err);
	return rc < 0 ? api_fail(c, 400, "configuration", "invalid_value", "%s", err.text) : 0;
}

static int read_status(struct api_call *c, bool *ret_given, enum model_status *ret)
{
	struct slice text = {0};
	struct err err = {0};
	int status;

	status = api_body_str(c, "status", SIZE_MAX, &text);
	*ret_given = text.p != NULL;
	if (status || !text.p)
		return status;
	return model_status_parse(text, ret, &err) < 0 ? api_error(c, E_INVALID, "status", &err) : 0;
}

static int provider_check(struct slice s, struct err *err)
{
	return s.n > PROVIDER_MAX ? err_set(err, E_INVALID, "provider is longer than %d bytes", PROVIDER_MAX) : 0;
}

static int read_model(struct api_call *c, struct model *m)
{
	const struct json *configuration, *metrics;
	int status;

	if ((status = body_name(c, "model_name", model_name_check, &m->name)) ||
	    (status = body_name(c, "version", model_version_check, &m->version)) ||
	    (status = body_name(c, "use_case", use_case_check, &m->use_case)) ||
	    (status = body_name(c, "provider", provider_check, &m->provider)) ||
	    (status = api_body_str(c, "model_type", MODEL_TYPE_MAX, &m->model_type)) ||
	    (status = api_body_object(c, "configuration", &configuration)) ||
	    (status = api_body_object(c, "performance_metrics", &metrics)) ||
	    (status = check_configuration(c, m->provider, configuration)))
		return status;
	m->configuration = configuration ? configuration->raw : SLICE_LIT("{}");
	m->metrics = metrics ? metrics->raw : SLICE_LIT("{}");
	return 0;
}

static int exists(struct api_call *c, const struct model *m)
{
	char id[UUID_STR_SIZE], since[CLOCK_ISO_SIZE];
	struct model first;
	int status;

	status = api_model_by_id(c, &m->id, &first);
	if (status)
		return status;
	return api_fail(c, 409, "version", "model_exists",
			SLICE_FMT "@" SLICE_FMT " is registered for " SLICE_FMT
				  " already: id %s, %s since %s; register another version, or PATCH "
				  "that one",
			SLICE_ARG(first.name), SLICE_ARG(first.version), SLICE_ARG(first.use_case),
			uuid_format(&first.id, id), model_status_name(first.status),
			clock_iso(first.status_since_us, since));
}

/* Registered first, given its status next: a promotion demotes another, and that is an event of its own. */
int api_models_create(struct api_call *c)
{
	enum model_status wanted = MODEL_CANDIDATE;
	struct model m = {0};
	char id[UUID_STR_SIZE];
	struct err err = {0};
	bool given;
	int status, rc;

	if ((status = read_model(c, &m)) || (status = read_status(c, &given, &wanted)))
		return status;
	rc = registry_register(c->admin->registry, &m, &c->who, &err);
	if (rc == E_EXISTS)
		return exists(c, &m);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	if (wanted != m.status) {
		rc = registry_set_status(c->admin->registry, &m.id, wanted, &c->who, NULL, &err);
		if (rc < 0) {
			(void)err_prefix(&err, "registered as candidate with id %s, but its status could not be set",
					 uuid_format(&m.id, id));
			return api_error(c, rc, "status", &err);
		}
	}
	api_header(c, "location", "/api/v1/models/%s", uuid_format(&m.id, id));
	return api_write_model_by_id(c, &m.id, 201);
}

static int resolve_path(struct api_call *c, struct model *ret)
{
	struct slice use_case;
	int status = api_query_use_case(c, &use_case);

	return status ? status : api_model_resolve(c, c->param[0], use_case, ret);
}

int api_model_get(struct api_call *c)
{
	struct model m;
	int status = resolve_path(c, &m);

	if (status)
		return status;
	registry_write_model(&c->w, &m);
	return 200;
}

/* Everything is checked before anything is changed. */
int api_model_patch(struct api_call *c)
{
	const struct json *configuration, *metrics;
	enum model_status wanted = MODEL_CANDIDATE;
	struct registry *r = c->admin->registry;
	struct err err = {0};
	struct model m;
	bool given;
	int status, rc = 0;

	if ((status = api_body_object(c, "configuration", &configuration)) ||
	    (status = api_body_object(c, "performance_metrics", &metrics)) ||
	    (status = read_status(c, &given, &wanted)) || (status = resolve_path(c, &m)))
		return status;
	if (!configuration && !metrics && !given)
		return api_fail(c, 400, NULL, "missing_member",
				"nothing to change: give status, configuration or performance_metrics");
	if ((configuration || metrics) && c->req->by_key && c->req->role < KEY_ADMIN)
		return api_fail(c, 403, configuration ? "configuration" : "performance_metrics", "role_not_allowed",
				"The key '" SLICE_FMT
				"' has the role %s: it may change the status, the rest takes admin.",
				SLICE_ARG(c->who.actor), key_role_name(c->req->role));
	if (configuration && (status = check_configuration(c, m.provider, configuration)))
		return status;
	if (configuration)
		rc = registry_set_configuration(r, &m.id, configuration->raw, &c->who, &err);
	if (rc == 0 && metrics)
		rc = registry_set_metrics(r, &m.id, metrics->raw, &c->who, &err);
	if (rc == 0 && given)
		rc = registry_set_status(r, &m.id, wanted, &c->who, NULL, &err);
	return rc < 0 ? api_error(c, rc, NULL, &err) : api_write_model_by_id(c, &m.id, 200);
}

int api_model_delete(struct api_call *c)
{
	struct err err = {0};
	struct slice reason;
	struct model m;
	int status, rc;

	status = resolve_path(c, &m);
	if (status)
		return status;
	reason = api_query(c, "reason");
	if (reason.p)
		c->who.reason = reason;
	rc = registry_set_status(c->admin->registry, &m.id, MODEL_ARCHIVED, &c->who, NULL, &err);
	return rc < 0 ? api_error(c, rc, NULL, &err) : api_write_model_by_id(c, &m.id, 200);
}

int api_model_promote(struct api_call *c)
{
	struct uuid demoted = {0};
	struct slice use_case = {0}, from_body = {0};
	char id[UUID_STR_SIZE];
	struct err err = {0};
	struct model m;
	int status, rc;

	if ((status = api_query_use_case(c, &use_case)) ||
	    (status = api_body_str(c, "use_case", USE_CASE_MAX, &from_body)))
		return status;
	if (from_body.n)
		use_case = from_body;
	status = api_model_resolve(c, c->param[0], use_case, &m);
	if (status)
		return status;
	if (use_case.n && !slice_eq(use_case, m.use_case)) /* an id says more than the narrowing */
		return api_fail(c, 409, "use_case", "wrong_use_case",
				"that model is registered for " SLICE_FMT ", not for " SLICE_FMT, SLICE_ARG(m.use_case),
				SLICE_ARG(use_case));
	rc = registry_set_status(c->admin->registry, &m.id, MODEL_CURRENT, &c->who, &demoted, &err);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	jw_object(&c->w);
	jw_key(&c->w, "model");
	status = api_write_model_by_id(c, &m.id, 200);
	if (status != 200)
		return status;
	jw_kcstr(&c->w, "demoted", uuid_is_nil(&demoted) ? NULL : uuid_format(&demoted, id));
	jw_object_end(&c->w);
	return 200;
}
