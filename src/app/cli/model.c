/* SPDX-License-Identifier: Apache-2.0 */
/* muster model ...: what is registered, and every change of it. */
#include <stdlib.h>

#include "app/cli/cli_internal.h"

#define LIST_LIMIT "1000"
#define MODELS "/api/v1/models"

/* What a model's status sorts as within its use case. */
static int rank(struct slice status)
{
	static const char *const order[] = {"current", "testing", "candidate", "deprecated", "archived"};

	for (size_t i = 0; i < COUNT_OF(order); i++) {
		if (slice_eq_str(status, order[i]))
			return (int)i;
	}
	return (int)COUNT_OF(order);
}

static int compare_slices(struct slice a, struct slice b)
{
	int d = memcmp(a.p, b.p, min_size(a.n, b.n));

	return d ? d : (a.n > b.n) - (a.n < b.n);
}

static int by_use_case(const void *pa, const void *pb)
{
	const struct json *a = *(const struct json *const *)pa, *b = *(const struct json *const *)pb;
	int d = compare_slices(json_text(a, "use_case"), json_text(b, "use_case"));

	if (!d)
		d = rank(json_text(a, "status")) - rank(json_text(b, "status"));
	return d ? d : compare_slices(json_text(b, "model_id"), json_text(a, "model_id"));
}

static const struct column list_columns[] = {{"USE CASE", .min_width = 10}, {"MODEL", .min_width = 14}, {"STATUS"},
					     {"PROVIDER", .min_width = 8},  {"SHARE", .right = true},	{"SINCE"},
					     {"", .min_width = 10}};

static const struct json *deployment_of(const struct answer *deployments, struct slice use_case)
{
	for (const struct json *d = json_items(deployments, "data"); d; d = d->next)
		if (slice_eq(json_text(d, "use_case"), use_case))
			return d;
	return NULL;
}

/* How much of its use case a model serves, and how a deployment stands. */
static void share_cells(struct cli *c, struct cell *cell, const struct json *m, const struct json *d)
{
	int64_t share = json_integer(d, "share", 0);
	bool current = slice_eq_str(json_text(m, "status"), "current");

	if (d && slice_eq(json_text(d, "model_id"), json_text(m, "model_id"))) {
		cell[4].text = cli_printf(c, "%lld %%", (long long)share);
		cell[6].text = cli_printf(c, SLICE_FMT " " SLICE_FMT, SLICE_ARG(json_text(d, "strategy")),
					  SLICE_ARG(json_text(d, "state")));
	} else if (current) {
		cell[4].text = cli_printf(c, "%lld %%", (long long)(100 - share));
	}
}

static void list_row(struct cli *c, struct rows *r, const struct json *m, const struct answer *deployments,
		     bool repeated)
{
	struct cell *cell = rows_next(r);
	struct slice status = json_text(m, "status");

	if (!cell)
		return;
	cell[0].text = repeated ? SLICE_LIT("") : json_text(m, "use_case");
	cell[1].text = model_full_name(c, m);
	cell[2] = (struct cell){status, status_style(status)};
	cell[3].text = json_text(m, "provider");
	cell[5].text = cli_ago(c, json_time(m, "status_since"));
	share_cells(c, cell, m, deployment_of(deployments, json_text(m, "use_case")));
}

/* A use case that nothing current serves, and what answers instead. */
static void unserved_row(struct cli *c, struct rows *r, const struct json *u, bool repeated)
{
	struct cell *cell = rows_next(r);
	struct slice endpoint = json_text(u, "fallback_endpoint");

	if (!cell)
		return;
	cell[0].text = repeated ? SLICE_LIT("") : json_text(u, "use_case");
	cell[1].text = cell[2].text = cell[3].text = cell[4].text = cell[5].text = SLICE_LIT("-");
	cell[2].style = STYLE_WARN;
	cell[6].text =
		endpoint.n ? cli_printf(c, "fallback " SLICE_FMT, SLICE_ARG(endpoint)) : SLICE_LIT("fallback content");
}

/* Models and use cases without a current one, merged by name. */
static int print_list(struct cli *c, const struct json **models, size_t n, const struct json *use_case,
		      const struct answer *deployments)
{
	size_t n_use_cases = 0;
	struct slice last = {0};
	struct rows r;

	for (const struct json *u = use_case; u; u = u->next)
		n_use_cases++;
	if (!rows_init(c, &r, COUNT_OF(list_columns), n + n_use_cases))
		return cli_fail(c, NULL, "the list is too long");
	for (size_t i = 0; i <= n; i++) {
		struct slice here = i < n ? json_text(models[i], "use_case") : (struct slice){0};

		for (; use_case && (i == n || compare_slices(json_text(use_case, "use_case"), here) <= 0);
		     use_case = use_case->next) {
			const struct json *current = json_get(use_case, "current");

			if (current && current->type == JSON_OBJECT)
				continue;
			last = json_text(use_case, "use_case");
			unserved_row(c, &r, use_case, false);
		}
		if (i < n)
			list_row(c, &r, models[i], deployments, slice_eq(here, last));
		last = here;
	}
	out_table(&c->out, list_columns, COUNT_OF(list_columns), r.cells, r.n_rows);
	return EXIT_WORKED;
}

static int list_people(struct cli *c, const struct answer *a)
{
	static const char *const filters[] = {"use-case", "status", "provider", "name", "limit", "before"};
	const struct json *list = json_get(a->root, "data"), **models;
	struct answer use_cases = {0}, deployments = {0};
	bool filtered = false;
	struct path p;
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < COUNT_OF(filters); i++)
		filtered |= args_has(&c->args, filters[i]);
	models = ARENA_ARRAY(&c->arena, const struct json *, (list ? list->n_items : 0) + 1u);
	if (!models)
		return cli_fail(c, NULL, "the list is too long");
	for (const struct json *m = json_items(a, "data"); m; m = m->next)
		models[n++] = m;
	if (!n && filtered) {
		out_printf(&c->err, "no model matches\n");
		return EXIT_WORKED;
	}
	if (!n) {
		out_printf(&c->err, "no model is registered yet\n        muster model register --help   shows how\n");
		return EXIT_WORKED;
	}
	qsort(models, n, sizeof(const struct json *), by_use_case);
	if (!filtered) {
		path_init(c, &p, "/api/v1/use-cases?limit=" LIST_LIMIT);
		rc = cli_get(c, &p, &use_cases);
		if (rc)
			return rc;
	}
	path_init(c, &p, "/api/v1/deployments?active=true&limit=" LIST_LIMIT);
	rc = cli_get(c, &p, &deployments);
	if (rc)
		return rc;
	rc = print_list(c, models, n, json_items(&use_cases, "data"), &deployments);
	cli_more(c, a);
	return rc;
}

int model_list_run(struct cli *c)
{
	struct answer a;
	struct path p;
	int rc;

	path_init(c, &p, MODELS);
	path_option(c, &p, "use-case", "use_case");
	path_option(c, &p, "status", "status");
	path_option(c, &p, "provider", "provider");
	path_option(c, &p, "name", "name");
	path_option(c, &p, "before", "before");
	path_query(&p, "limit", args_has(&c->args, "limit") ? args_get(&c->args, "limit") : LIST_LIMIT);
	if (args_has(&c->args, "all"))
		path_query(&p, "include_archived", "true");
	rc = cli_get(c, &p, &a);
	if (rc)
		return rc;
	return c->json ? cli_print_json(c, &a) : list_people(c, &a);
}

void model_print(struct cli *c, const struct json *m)
{
	static const char *const members[][2] = {
		{"model_id", "id"},	{"use_case", "use case"},	    {"provider", "provider"},
		{"model_type", "type"}, {"configuration", "configuration"}, {"performance_metrics", "metrics"}};
	struct slice status = json_text(m, "status");
	struct facts f = {.n = 0};

	facts_add(&f, "model", model_full_name(c, m), STYLE_BOLD);
	facts_add(&f, "status",
		  cli_printf(c, SLICE_FMT ", for " SLICE_FMT, SLICE_ARG(status),
			     SLICE_ARG(cli_ago(c, json_time(m, "status_since")))),
		  status_style(status));
	for (size_t i = 0; i < COUNT_OF(members); i++)
		facts_member(c, &f, m, members[i][0], members[i][1]);
	facts_add(&f, "registered", cli_local(c, json_time(m, "created_at")), STYLE_PLAIN);
	facts_add(&f, "updated", cli_local(c, json_time(m, "updated_at")), STYLE_PLAIN);
	facts_print(c, &f);
}

/* /api/v1/models/{model}after?use_case= */
static void model_path(struct cli *c, struct path *p, const char *after)
{
	path_init(c, p, MODELS);
	path_add(p, "/", c->args.operands[0]);
	buf_adds(&p->text, after);
	path_option(c, p, "use-case", "use_case");
}

int model_show_run(struct cli *c)
{
	struct path p;

	model_path(c, &p, "");
	return cli_call(c, "GET", &p, NULL, model_print);
}

/* --- register --- */

/* --config, and what has an option of its own, which wins. */
static int write_configuration(struct cli *c, struct json_writer *w)
{
	static const char *const texts[][2] = {{"endpoint", "endpoint"},
					       {"upstream-model", "upstream_model"},
					       {"protocol", "protocol"},
					       {"api-key-env", "api_key_env"},
					       {"model-api-key-file", "api_key_file"}};
	static const char *const objects[] = {"parameters", "sim"};
	const struct json *config, *object;
	bool ours;
	int rc = cli_json_option(c, "config", &config);

	if (rc)
		return rc;
	jw_key(w, "configuration");
	jw_object(w);
	for (const struct json *v = config ? config->first : NULL; v; v = v->next) {
		ours = false;
		for (size_t i = 0; i < COUNT_OF(texts); i++)
			ours |= slice_eq_str(v->key, texts[i][1]) && args_has(&c->args, texts[i][0]);
		for (size_t i = 0; i < COUNT_OF(objects); i++)
			ours |= slice_eq_str(v->key, objects[i]) && args_has(&c->args, objects[i]);
		if (ours)
			continue;
		jw_key_slice(w, v->key);
		jw_raw(w, v->raw);
	}
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		body_option(c, w, texts[i][0], texts[i][1]);
	for (size_t i = 0; i < COUNT_OF(objects); i++) {
		rc = cli_json_option(c, objects[i], &object);
		if (rc)
			return rc;
		if (object)
			jw_kraw(w, objects[i], object->raw);
	}
	jw_object_end(w);
	return 0;
}

static void print_registered(struct cli *c, const struct json *m)
{
	struct slice status = json_text(m, "status");

	out_printf(&c->out, "registered ");
	out_text(&c->out, model_full_name(c, m));
	out_printf(&c->out, " for " SLICE_FMT " as " SLICE_FMT "   " SLICE_FMT "\n",
		   SLICE_ARG(json_text(m, "use_case")), SLICE_ARG(status), SLICE_ARG(json_text(m, "model_id")));
	if (!slice_eq_str(status, "current"))
		out_printf(&c->out,
			   "        muster model promote " SLICE_FMT " --use-case " SLICE_FMT
			   " --why \"...\"   puts it in front\n",
			   SLICE_ARG(model_full_name(c, m)), SLICE_ARG(json_text(m, "use_case")));
}

int model_register_run(struct cli *c)
{
	const struct json *metrics;
	struct json_writer w;
	struct path p;
	struct buf body;
	int rc;

	body_init(c, &body, &w);
	body_option(c, &w, "name", "model_name");
	body_option(c, &w, "version", "version");
	body_option(c, &w, "use-case", "use_case");
	body_option(c, &w, "provider", "provider");
	body_option(c, &w, "type", "model_type");
	body_option(c, &w, "status", "status");
	body_option(c, &w, "why", "reason");
	rc = write_configuration(c, &w);
	if (rc == 0)
		rc = cli_json_option(c, "metrics", &metrics);
	if (rc)
		return rc;
	if (metrics)
		jw_kraw(&w, "performance_metrics", metrics->raw);
	body_end(&w);
	path_init(c, &p, MODELS);
	return cli_call(c, "POST", &p, &body, print_registered);
}

/* --- changes --- */

/* What was current before, by name: one more call, and its id when that fails. */
static struct slice name_of(struct cli *c, struct slice id)
{
	struct muster_answer raw = {0};
	struct slice name = id;
	struct answer a;

	if (muster_model_show(c->client, cli_printf(c, SLICE_FMT, SLICE_ARG(id)).p, &raw, NULL) < 0) {
		muster_answer_release(&raw);
		return name;
	}
	if (cli_take_answer(c, &raw, &a) == 0 && json_text(a.root, "model_name").n)
		name = model_full_name(c, a.root);
	return name;
}

static void print_promoted(struct cli *c, const struct json *answer)
{
	const struct json *model = json_get(answer, "model"), *demoted = json_get(answer, "demoted");
	struct slice use_case = json_text(model, "use_case");

	out_text(&c->out, model_full_name(c, model));
	out_printf(&c->out, " is current for " SLICE_FMT "\n", SLICE_ARG(use_case));
	if (demoted && demoted->type == JSON_STRING) {
		struct slice before = name_of(c, demoted->str);

		out_printf(&c->out,
			   "        before it: " SLICE_FMT ", deprecated now\n"
			   "        back: muster model promote " SLICE_FMT " --use-case " SLICE_FMT " --why \"...\"\n",
			   SLICE_ARG(before), SLICE_ARG(before), SLICE_ARG(use_case));
	}
}

int model_promote_run(struct cli *c)
{
	struct json_writer w;
	struct path p;
	struct buf body;

	body_init(c, &body, &w);
	body_option(c, &w, "use-case", "use_case");
	body_option(c, &w, "why", "reason");
	body_end(&w);
	path_init(c, &p, MODELS);
	path_add(&p, "/", c->args.operands[0]);
	buf_adds(&p.text, "/promote");
	return cli_call(c, "POST", &p, &body, print_promoted);
}

/* PATCH with one member, which is JSON; prints what it is called and the model. */
static int patch(struct cli *c, const char *member, struct slice json, const char *called)
{
	struct json_writer w;
	struct answer a;
	struct path p;
	struct buf body;
	int rc;

	body_init(c, &body, &w);
	jw_kraw(&w, member, json);
	body_option(c, &w, "why", "reason");
	body_end(&w);
	model_path(c, &p, "");
	rc = cli_send(c, "PATCH", &p, &body, &a);
	if (rc)
		return rc;
	if (c->json)
		return cli_print_json(c, &a);
	out_text(&c->out, model_full_name(c, a.root));
	out_printf(&c->out, " (" SLICE_FMT "): %s ", SLICE_ARG(json_text(a.root, "use_case")), called);
	out_text(&c->out, json_line(json_get(a.root, member)));
	out_printf(&c->out, "\n");
	return EXIT_WORKED;
}

int model_set_status_run(struct cli *c)
{
	struct json_writer w;
	struct buf word;

	buf_init_arena(&word, &c->arena, CLI_MAX_PATH);
	jw_init(&w, &word);
	jw_cstr(&w, c->args.operands[1]);
	return patch(c, "status", buf_slice(&word), "status");
}

/* The JSON object that stands as the second operand: itself, @FILE, or - for stdin. */
static int json_operand(struct cli *c, const char *member, const char *called)
{
	const char *given = c->args.operands[1];
	struct slice text = slice_from(given);
	struct json *root;
	struct err err;
	int rc = 0;

	if (given[0] == '@' || !strcmp(given, "-"))
		rc = cli_read_file(c, given[0] == '@' ? given + 1 : given, CLI_MAX_BODY / 16, &text);
	if (rc)
		return rc;
	if (json_parse_copy(c->parser, &c->arena, text, NULL, &root, &err))
		return cli_usage(c, "quote it for the shell: '{\"key\": \"value\"}', or name a file: @FILE",
				 "the %s is not JSON: %s", called, err.text);
	return patch(c, member, root->raw, called);
}

int model_set_config_run(struct cli *c)
{
	return json_operand(c, "configuration", "configuration");
}

int model_set_metrics_run(struct cli *c)
{
	return json_operand(c, "performance_metrics", "metrics");
}

static void print_archived(struct cli *c, const struct json *m)
{
	struct slice name = model_full_name(c, m);

	out_printf(&c->out, SLICE_FMT " (" SLICE_FMT ") is archived: it serves nothing, and its history is kept\n",
		   SLICE_ARG(name), SLICE_ARG(json_text(m, "use_case")));
	out_printf(&c->out, "        back: muster model set-status " SLICE_FMT " candidate --why \"...\"\n",
		   SLICE_ARG(json_text(m, "model_id")));
}

int model_rm_run(struct cli *c)
{
	struct path p;

	model_path(c, &p, "");
	path_option(c, &p, "why", "reason");
	return cli_call(c, "DELETE", &p, NULL, print_archived);
}

int model_history_run(struct cli *c)
{
	const char *use_case = args_get(&c->args, "use-case"), *at = args_get(&c->args, "at");
	struct path p;

	if (at && !use_case)
		return cli_usage(c, "muster model history --use-case USE_CASE --at TIME",
				 "--at needs --use-case: what was current there");
	if (at)
		return current_at(c, use_case, at);
	if (c->args.n_operands) {
		model_path(c, &p, "/history");
	} else {
		path_init(c, &p, "/api/v1/events");
		path_query(&p, "use_case", use_case);
	}
	return events_print(c, &p);
}
