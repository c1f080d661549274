/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/v1/use-cases.  A use case exists when something says so: its settings, a model that is registered for it, or a
 * fallback endpoint in the configuration.
 */
#include <stdlib.h>

#include "control/admin/admin_internal.h"
#include "core/base/utf8.h"

struct world { /* all that is known, in the call's arena */
	struct use_case_row *rows;
	struct model *models;
	struct admin_endpoint *endpoints;
	struct slice *names; /* sorted, each once */
	size_t n_rows, n_models, n_endpoints, n_names;
	struct budget_states budgets;
};

#define PREFIX SLICE_LIT("use_case/")

static int compare_names(const void *a, const void *b)
{
	const struct slice *x = a, *y = b;
	int d = memcmp(x->p, y->p, min_size(x->n, y->n));

	return d ? d : (x->n > y->n) - (x->n < y->n);
}

static int collect_names(struct world *w, struct arena *a)
{
	size_t n = 0, n_unique = 0;

	w->names = ARENA_ARRAY(a, struct slice, w->n_rows + w->n_models + w->n_endpoints + 1);
	if (!w->names)
		return E_TOOBIG;
	for (size_t i = 0; i < w->n_rows; i++)
		w->names[n++] = w->rows[i].name;
	for (size_t i = 0; i < w->n_models; i++)
		w->names[n++] = w->models[i].use_case;
	for (size_t i = 0; i < w->n_endpoints; i++)
		w->names[n++] = w->endpoints[i].use_case;
	qsort(w->names, n, sizeof(*w->names), compare_names);
	for (size_t i = 0; i < n; i++)
		if (!n_unique || !slice_eq(w->names[n_unique - 1], w->names[i]))
			w->names[n_unique++] = w->names[i];
	w->n_names = n_unique;
	return 0;
}

static int read_world(struct api_call *c, struct world *ret)
{
	const struct model_filter all = {.status = -1, .with_archived = true};
	struct admin *a = c->admin;
	struct err err = {0};
	struct db *db;
	int rc;

	*ret = (struct world){0};
	rc = store_acquire(a->store, &db, &err);
	if (rc == 0) {
		rc = store_use_case_list(db, &c->arena, &ret->rows, &ret->n_rows, &err);
		if (rc == 0)
			rc = store_model_list(db, &c->arena, &all, &ret->models, &ret->n_models, &err);
		store_release(a->store, db);
	}
	if (rc == 0 && a->endpoints)
		rc = a->endpoints(&c->arena, &ret->endpoints, &ret->n_endpoints, a->endpoints_arg);
	if (rc == 0)
		rc = collect_names(ret, &c->arena);
	return rc < 0 ? api_error(c, rc, NULL, &err) : api_budgets_read(c, PREFIX, &ret->budgets);
}

/* What is stored, or the defaults. */
static int write_settings(struct api_call *c, const struct world *world, struct slice name)
{
	const struct use_case_row *row = NULL;
	struct json *root = NULL;
	struct use_case u;
	struct err err = {0};
	int rc = 0;

	for (size_t i = 0; i < world->n_rows; i++)
		if (slice_eq(world->rows[i].name, name))
			row = &world->rows[i];
	if (row)
		rc = api_parse_json(c, row->settings, &root, &err);
	if (rc == 0)
		rc = use_case_parse(&c->arena, name, root, &u, &err);
	if (rc < 0)
		return api_fail(c, 500, NULL, "corrupt_settings",
				"the settings stored for " SLICE_FMT " cannot be read: %s", SLICE_ARG(name), err.text);
	u.created_us = row ? row->created_us : 0;
	u.updated_us = row ? row->updated_us : 0;
	jw_key(&c->w, "settings");
	use_case_write(&c->w, &u);
	api_budgets_write(c, &world->budgets, &(struct api_owner){PREFIX, name, &u.budgets});
	return 0;
}

static int write_use_case(struct api_call *c, const struct world *world, struct slice name)
{
	const struct model *current = NULL;
	struct slice url = {0};
	int status;

	jw_object(&c->w);
	jw_kstr(&c->w, "use_case", name);
	status = write_settings(c, world, name);
	if (status)
		return status;
	jw_key(&c->w, "candidates");
	jw_array(&c->w);
	for (size_t i = 0; i < world->n_models; i++) {
		const struct model *m = &world->models[i];

		if (!slice_eq(m->use_case, name))
			continue;
		if (m->status == MODEL_CURRENT)
			current = m;
		else if (m->status == MODEL_CANDIDATE || m->status == MODEL_TESTING)
			registry_write_model(&c->w, m);
	}
	jw_array_end(&c->w);
	jw_key(&c->w, "current");
	if (current)
		registry_write_model(&c->w, current);
	else
		jw_null(&c->w);
	for (size_t i = 0; i < world->n_endpoints; i++)
		if (slice_eq(world->endpoints[i].use_case, name))
			url = world->endpoints[i].url;
	api_key_or_null(c, "fallback_endpoint", url);
	jw_object_end(&c->w);
	return 0;
}

int api_use_cases_list(struct api_call *c)
{
	struct slice before = api_query(c, "before"), last = {0};
	size_t limit = 0, i = 0, n_written = 0;
	struct world world;
	int status;

	if ((status = api_query_limit(c, &limit)) || (status = read_world(c, &world)))
		return status;
	while (before.p && i < world.n_names && compare_names(&world.names[i], &before) <= 0)
		i++;
	api_list_begin(c);
	for (; i < world.n_names && n_written < limit; i++, n_written++) {
		status = write_use_case(c, &world, world.names[i]);
		if (status)
			return status;
		last = world.names[i];
	}
	api_list_end(c, i < world.n_names, last);
	return 200;
}

static bool known(const struct world *w, struct slice name)
{
	for (size_t i = 0; i < w->n_names; i++)
		if (slice_eq(w->names[i], name))
			return true;
	return false;
}

static int not_found(struct api_call *c, const struct world *w, struct slice name)
{
	unsigned best_distance = (unsigned)(name.n / 3 + 2);
	struct slice best = {0};

	for (size_t i = 0; i < w->n_names; i++) {
		unsigned d = slice_distance(name, w->names[i]);

		if (d < best_distance) {
			best = w->names[i];
			best_distance = d;
		}
	}
	if (best.n)
		return api_fail(c, 404, "use_case", "use_case_not_found",
				"No use case is called '" SLICE_FMT "'. Did you mean '" SLICE_FMT "'?", SLICE_ARG(name),
				SLICE_ARG(best));
	return api_fail(c, 404, "use_case", "use_case_not_found",
			"No use case is called '" SLICE_FMT "'. Registering a model for it makes it one.",
			SLICE_ARG(name));
}

/* {use_case} of the path; a layer's short name will do. */
static int resolve(struct api_call *c, struct world *ret_world, struct slice *ret_name)
{
	struct slice name = c->param[0], by_layer;
	char text[USE_CASE_MAX + 8];
	int status = read_world(c, ret_world);

	if (status)
		return status;
	by_layer = use_case_of_layer(name, text);
	if (!known(ret_world, name) && by_layer.p && known(ret_world, by_layer))
		name = arena_slice(&c->arena, by_layer);
	if (!known(ret_world, name))
		return not_found(c, ret_world, name);
	*ret_name = name;
	return 0;
}

int api_use_case_get(struct api_call *c)
{
	struct slice name = {0};
	struct world world;
	int status;

	if ((status = resolve(c, &world, &name)) || (status = write_use_case(c, &world, name)))
		return status;
	return 200;
}

int api_use_case_put(struct api_call *c)
{
	struct slice name = c->param[0], settings;
	struct err err = {0};
	struct json *root = NULL;
	struct world world;
	struct use_case u;
	int status, rc;

	if (use_case_check(name, &err) < 0)
		return api_error(c, E_INVALID, "use_case", &err);
	status = api_body_rest(c, &settings);
	if (status)
		return status;
	rc = api_parse_json(c, settings, &root, &err);
	if (rc == 0)
		rc = use_case_settings_check(root, &err);
	if (rc == 0)
		rc = use_case_parse(&c->arena, name, root, &u, &err);
	if (rc == 0)
		rc = registry_put_use_case(c->admin->registry, name, settings, &c->who, &err);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	if ((status = read_world(c, &world)) || (status = write_use_case(c, &world, name)))
		return status;
	return 200;
}

static int current_now(struct api_call *c, struct slice name)
{
	struct err err = {0};
	struct model m;
	struct db *db;
	int rc;

	rc = store_acquire(c->admin->store, &db, &err);
	if (rc == 0) {
		rc = store_model_current(db, &c->arena, name, &m, &err);
		store_release(c->admin->store, db);
	}
	if (rc == E_NOTFOUND)
		return api_fail(c, 404, "use_case", "no_current_model", "%s", err.text);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	registry_write_model(&c->w, &m);
	return 200;
}

int api_use_case_current(struct api_call *c)
{
	struct err err = {0};
	struct world world;
	int64_t at_us = 0, since_us = 0;
	struct slice name = {0};
	struct model m;
	int status, rc;

	if ((status = api_query_time(c, "at", &at_us)) || (status = resolve(c, &world, &name)))
		return status;
	if (!api_query(c, "at").p)
		return current_now(c, name);
	rc = registry_current_at(c->admin->registry, &c->arena, name, at_us, &m, &since_us, &err);
	if (rc == E_NOTFOUND)
		return api_fail(c, 404, "use_case", "no_current_model", "%s", err.text);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	jw_object(&c->w);
	api_key_time(c, "at", at_us);
	api_key_time(c, "since", since_us);
	jw_key(&c->w, "model");
	registry_write_model(&c->w, &m);
	jw_object_end(&c->w);
	return 200;
}
