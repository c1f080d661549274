/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry, for the checks of what serves: the daemon's lists when one answers, the database's rows in the same
 * shape when none does.
 */
#include <stdio.h>

#include "app/cli/check_internal.h"
#include "control/store/entities.h"

#define PAGES_MAX 20
#define PAGE "1000"
#define DOCUMENT_MAX ((size_t)256 << 20)

struct items {
	const struct json **list;
	size_t n, max;
};

static bool items_add(struct check_run *k, struct items *t, const struct json *array)
{
	size_t n = array && array->type == JSON_ARRAY ? array->n_items : 0;

	if (t->n + n > t->max) {
		size_t max = 2 * (t->n + n);
		const struct json **grown = (const struct json **)arena_zarray(k->a, sizeof(void *), max);

		if (!grown)
			return false;
		for (size_t i = 0; i < t->n; i++)
			grown[i] = t->list[i];
		t->list = grown;
		t->max = max;
	}
	for (const struct json *v = n ? array->first : NULL; v; v = v->next)
		t->list[t->n++] = v;
	return true;
}

/* --- from the daemon --- */

static bool fetch_list(struct check_run *k, const char *start, struct items *ret)
{
	struct slice before = {0};

	snprintf(k->registry_error, sizeof(k->registry_error), "more than is looked through");
	for (int page = 0; page < PAGES_MAX; page++) {
		struct check_reply r;
		struct path p;

		path_init(k->c, &p, start);
		p.query = strchr(start, '?') != NULL;
		path_query(&p, "limit", PAGE);
		if (before.n)
			path_query_slice(&p, "before", before);
		check_ask(k, "GET", buf_cstr(&p.text), NULL, &r);
		if (!r.ok)
			snprintf(k->registry_error, sizeof(k->registry_error), "%s", r.error);
		if (!r.ok || !items_add(k, ret, json_get(r.root, "data")))
			return false;
		before = json_text(r.root, "next");
		if (!before.n)
			return true;
	}
	return false; /* then nothing is said of any of it */
}

/* --- from the database --- */

struct rows_read {
	struct use_case_row *use_cases;
	struct model *models; /* by use case, the current one first */
	size_t n_use_cases, n_models;
};

/* m: the current model, or NULL. */
static void write_use_case(struct json_writer *w, const struct check_run *k, const struct rows_read *rows,
			   struct slice name, const struct model *m)
{
	jw_object(w);
	jw_kstr(w, "use_case", name);
	for (size_t i = 0; i < rows->n_use_cases; i++) {
		if (slice_eq(rows->use_cases[i].name, name))
			jw_kraw(w, "settings", rows->use_cases[i].settings);
	}
	if (m) {
		jw_key(w, "current");
		model_write(w, m);
	}
	for (size_t i = 0; i < k->set.n_endpoints; i++) {
		if (slice_eq(k->set.endpoints[i].use_case, name))
			jw_kstr(w, "fallback_endpoint", k->set.endpoints[i].url);
	}
	jw_object_end(w);
}

static bool has_model(const struct rows_read *rows, struct slice use_case)
{
	for (size_t i = 0; i < rows->n_models; i++) {
		if (slice_eq(rows->models[i].use_case, use_case))
			return true;
	}
	return false;
}

static void write_use_cases(struct json_writer *w, const struct check_run *k, const struct rows_read *rows)
{
	jw_array(w);
	for (size_t i = 0; i < rows->n_models; i++) {
		const struct model *m = &rows->models[i];

		if (!i || !slice_eq(m->use_case, m[-1].use_case))
			write_use_case(w, k, rows, m->use_case, m->status == MODEL_CURRENT ? m : NULL);
	}
	for (size_t i = 0; i < k->set.n_endpoints; i++) {
		if (!has_model(rows, k->set.endpoints[i].use_case))
			write_use_case(w, k, rows, k->set.endpoints[i].use_case, NULL);
	}
	jw_array_end(w);
}

static bool parse_into(struct check_run *k, struct buf *b, struct items *ret)
{
	struct json_limits limits = {.max_depth = 128, .max_nodes = 4000000};
	struct json *root = NULL;

	return !buf_failed(b) && json_parse_copy(k->c->parser, k->a, buf_slice(b), &limits, &root, NULL) == 0 &&
	       items_add(k, ret, root);
}

static bool read_rows(struct check_run *k, struct items *ret_use_cases, struct items *ret_models)
{
	struct model_filter all = {.status = -1, .with_archived = true};
	struct rows_read rows = {0};
	struct json_writer w;
	struct buf b;

	if (!k->db || !k->level_known || store_model_list(k->db, k->a, &all, &rows.models, &rows.n_models, NULL) ||
	    store_use_case_list(k->db, k->a, &rows.use_cases, &rows.n_use_cases, NULL))
		return false;
	buf_init_arena(&b, k->a, DOCUMENT_MAX);
	jw_init(&w, &b);
	jw_array(&w);
	for (size_t i = 0; i < rows.n_models; i++)
		model_write(&w, &rows.models[i]);
	jw_array_end(&w);
	if (!parse_into(k, &b, ret_models))
		return false;
	buf_init_arena(&b, k->a, DOCUMENT_MAX);
	jw_init(&w, &b);
	write_use_cases(&w, k, &rows);
	return parse_into(k, &b, ret_use_cases);
}

/* Not one whose models were all archived: nobody asks for it any more. */
static bool is_alive(const struct check_run *k, const struct json *use_case)
{
	if (json_text(use_case, "fallback_endpoint").n)
		return true;
	for (size_t i = 0; i < k->n_models; i++) {
		if (slice_eq(json_text(k->models[i], "use_case"), json_text(use_case, "use_case")) &&
		    !slice_eq_str(json_text(k->models[i], "status"), "archived"))
			return true;
	}
	return false;
}

void check_read_registry(struct check_run *k)
{
	struct items use_cases = {0}, models = {0};

	if (k->reachable)
		k->has_registry = fetch_list(k, "/api/v1/use-cases", &use_cases) &&
				  fetch_list(k, "/api/v1/models?include_archived=true", &models);
	else
		k->has_registry = read_rows(k, &use_cases, &models);
	if (!k->has_registry)
		return;
	k->models = models.list;
	k->n_models = models.n;
	k->use_cases = use_cases.list;
	for (size_t i = 0; i < use_cases.n; i++) {
		if (is_alive(k, use_cases.list[i]))
			k->use_cases[k->n_use_cases++] = use_cases.list[i];
	}
}
