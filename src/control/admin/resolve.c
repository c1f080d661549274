/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what people write to the model they mean.  A connection is held only inside the functions here: the registry
 * takes its own, and a thread that held one while waiting for another could wait for ever.
 */
#include "control/admin/admin_internal.h"
#include "core/base/utf8.h"

int api_models(struct api_call *c, const struct model_filter *f, struct model **ret, size_t *ret_n)
{
	struct err err = {0};
	struct db *db;
	int rc;

	rc = store_acquire(c->admin->store, &db, &err);
	if (rc == 0) {
		rc = store_model_list(db, &c->arena, f, ret, ret_n, &err);
		store_release(c->admin->store, db);
	}
	return rc < 0 ? api_error(c, rc, NULL, &err) : 0;
}

int api_model_by_id(struct api_call *c, const struct uuid *id, struct model *ret)
{
	struct err err = {0};
	struct db *db;
	int rc;

	rc = store_acquire(c->admin->store, &db, &err);
	if (rc == 0) {
		rc = store_model_get(db, &c->arena, id, ret, &err);
		store_release(c->admin->store, db);
	}
	if (rc == E_NOTFOUND)
		return api_fail(c, 404, "model", "model_not_found", "%s", err.text);
	return rc < 0 ? api_error(c, rc, NULL, &err) : 0;
}

static bool is_id_prefix(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!strchr("0123456789abcdefABCDEF-", s.p[i]) || !s.p[i])
			return false;
	return s.n >= 6 && s.n < UUID_STR_SIZE;
}

static bool has_prefix(const struct model *m, struct slice prefix)
{
	char id[UUID_STR_SIZE];

	uuid_format(&m->id, id);
	return slice_eq_nocase((struct slice){id, prefix.n}, prefix);
}

static int ambiguous(struct api_call *c, struct slice ref, const struct model *list, size_t n)
{
	char id[UUID_STR_SIZE];
	struct buf names;

	buf_init_arena(&names, &c->arena, 700); /* as many as fit into a sentence */
	for (size_t i = 0; i < n && !buf_failed(&names); i++)
		(void)buf_printf(&names, "%s" SLICE_FMT "@" SLICE_FMT " for " SLICE_FMT " (%s)", i ? ", " : "",
				 SLICE_ARG(list[i].name), SLICE_ARG(list[i].version), SLICE_ARG(list[i].use_case),
				 uuid_format(&list[i].id, id));
	return api_fail(c, 409, "model", "ambiguous_model",
			"'" SLICE_FMT "' names %zu models: " SLICE_FMT "; say which by id", SLICE_ARG(ref), n,
			SLICE_ARG(utf8_truncate(buf_slice(&names), 700)));
}

/* Moves those that match to the front; those that are archived count only when no other does. */
static size_t keep_matches(struct model *list, size_t n, struct slice prefix)
{
	size_t n_kept = 0, n_live = 0;

	for (size_t i = 0; i < n; i++)
		if (!prefix.p || has_prefix(&list[i], prefix))
			list[n_kept++] = list[i];
	for (size_t i = 0; i < n_kept; i++)
		if (list[i].status != MODEL_ARCHIVED)
			list[n_live++] = list[i];
	return n_live ? n_live : n_kept;
}

static int not_found(struct api_call *c, struct slice ref, const struct model *list, size_t n)
{
	unsigned best_distance = (unsigned)(ref.n / 3 + 2);
	const char *best = NULL;

	for (size_t i = 0; list && i < n; i++) {
		const char *full = arena_printf(&c->arena, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(list[i].name),
						SLICE_ARG(list[i].version));
		unsigned by_name = slice_distance(ref, list[i].name);
		unsigned by_full = full ? slice_distance(ref, slice_from(full)) : by_name;

		if (full && (by_name < best_distance || by_full < best_distance)) {
			best_distance = by_name < by_full ? by_name : by_full;
			best = full;
		}
	}
	if (best)
		return api_fail(c, 404, "model", "model_not_found",
				"No model is called '" SLICE_FMT "'. Did you mean '%s'?", SLICE_ARG(ref), best);
	return api_fail(c, 404, "model", "model_not_found",
			"No model is called '" SLICE_FMT "'. GET /api/v1/models lists all.", SLICE_ARG(ref));
}

int api_model_resolve(struct api_call *c, struct slice ref, struct slice use_case, struct model *ret)
{
	struct model_filter f = {.use_case = use_case, .status = -1, .with_archived = true};
	struct model *list = NULL;
	size_t n = 0, n_matches;
	struct uuid id;
	int status;

	if (uuid_parse(ref.p, ref.n, &id) == 0)
		return api_model_by_id(c, &id, ret);
	model_ref_split(ref, &f.name, &f.version);
	status = api_models(c, &f, &list, &n);
	if (status)
		return status;
	n_matches = keep_matches(list, n, (struct slice){0});
	if (!n_matches) {
		f.name = f.version = (struct slice){0};
		status = api_models(c, &f, &list, &n);
		if (status)
			return status;
		n_matches = is_id_prefix(ref) ? keep_matches(list, n, ref) : 0;
	}
	if (!n_matches || !list)
		return not_found(c, ref, list, n);
	if (n_matches > 1)
		return ambiguous(c, ref, list, n_matches);
	*ret = list[0];
	return 0;
}

int api_write_model_by_id(struct api_call *c, const struct uuid *id, int status)
{
	struct model m;
	int failed = api_model_by_id(c, id, &m);

	if (failed)
		return failed;
	registry_write_model(&c->w, &m);
	return status;
}
