/* SPDX-License-Identifier: Apache-2.0 */
/* muster rollback: through the daemon, or on the database itself when that has stopped. */
#include <stdlib.h>

#include "app/cli/cli_internal.h"
#include "control/registry/rollback.h"
#include "control/store/store.h"

static int print_result(struct cli *c, const struct json *r)
{
	const struct json *recorded = json_get(r, "recorded"), *ms = json_get(r, "applied_ms");
	struct slice from = json_text(r, "from"), to = json_text(r, "to"), use_case = json_text(r, "use_case");

	out_text(&c->out, use_case);
	out_printf(&c->out, ": ");
	out_text(&c->out, to.n ? to : SLICE_LIT("no model"));
	out_printf(&c->out, " serves again%s" SLICE_FMT "   applied in %.0f ms\n", from.n ? ", instead of " : "",
		   SLICE_ARG(from), ms ? ms->number : 0);
	if (json_text(r, "deployment_id").n)
		out_printf(&c->out, "        the deployment has ended: muster deploy show " SLICE_FMT "\n",
			   SLICE_ARG(json_text(r, "deployment_id")));
	if (json_text(r, "policy").n)
		out_printf(
			&c->out,
			"        its guardrail policy reads otherwise now: the use case has one of its own, " SLICE_FMT
			", that says what was said then\n",
			SLICE_ARG(json_text(r, "policy")));
	if (recorded && recorded->type == JSON_BOOL && !recorded->boolean)
		out_printf(&c->out,
			   "        not in the database yet: it is recorded when that is back (muster health)\n");
	if (from.n && to.n && !json_text(r, "deployment_id").n)
		out_printf(&c->out,
			   "        undo: muster rollback " SLICE_FMT " --snapshot " SLICE_FMT " --why \"...\"\n",
			   SLICE_ARG(use_case), SLICE_ARG(json_text(r, "snapshot_id")));
	return EXIT_WORKED;
}

static int by_daemon(struct cli *c)
{
	struct json_writer w;
	struct answer a;
	struct path p;
	struct buf body;
	int rc;

	body_init(c, &body, &w);
	jw_kcstr(&w, "use_case", c->args.operands[0]);
	body_option(c, &w, "to", "to_model");
	body_option(c, &w, "snapshot", "snapshot_id");
	body_option(c, &w, "why", "reason");
	body_end(&w);
	path_init(c, &p, "/api/v1/rollback");
	rc = cli_send(c, "POST", &p, &body, &a);
	if (rc)
		return rc;
	return c->json ? cli_print_json(c, &a) : print_result(c, a.root);
}

/* --- without a daemon --- */

static void write_result(struct json_writer *w, const struct rollback_result *r)
{
	char id[UUID_STR_SIZE];

	jw_kstr(w, "use_case", r->use_case);
	jw_key(w, "from");
	jw_cstr(w, r->from.n ? r->from.p : NULL);
	jw_key(w, "to");
	jw_cstr(w, r->to.n ? r->to.p : NULL);
	jw_kcstr(w, "snapshot_id", uuid_format(&r->checkpoint_id, id));
	jw_kcstr(w, "deployment_id", uuid_is_nil(&r->deployment_id) ? NULL : uuid_format(&r->deployment_id, id));
	jw_key(w, "policy");
	jw_cstr(w, r->policy.n ? r->policy.p : NULL);
	jw_kdouble(w, "applied_ms", (double)r->applied_us / 1000.0);
	jw_kbool(w, "recorded", r->recorded);
}

static int print_direct(struct cli *c, const struct rollback_result *r)
{
	struct json *root = NULL;
	struct json_writer w;
	struct buf body;
	struct err err;

	body_init(c, &body, &w);
	write_result(&w, r);
	body_end(&w);
	if (c->json) {
		out_printf(&c->out, "%s\n", buf_cstr(&body));
		return EXIT_WORKED;
	}
	if (json_parse_copy(c->parser, &c->arena, buf_slice(&body), NULL, &root, &err))
		return cli_fail(c, NULL, "%s", err.text);
	return print_result(c, root);
}

static int direct(struct cli *c, struct store *store, struct err *err)
{
	const struct registry_hooks hooks = {.default_policy = c->host->default_policy};
	const char *to = args_get(&c->args, "to"), *checkpoint = args_get(&c->args, "snapshot");
	struct rollback what = {.use_case = slice_from(c->args.operands[0]), .to = slice_from(to)};
	struct registry_who who = {cli_actor(c), slice_from(args_get(&c->args, "why"))};
	struct rollback_result result = {.recorded = false};
	enum registry_origin origin;
	struct registry *r;
	struct uuid id;
	int rc;

	if (checkpoint) {
		if (uuid_parse(checkpoint, strlen(checkpoint), &id))
			return err_set(err, E_INVALID, "'%.64s' is no id of a snapshot", checkpoint);
		what.checkpoint = &id;
	}
	rc = registry_new(store, &hooks, NULL, &r, err);
	if (rc)
		return rc;
	rc = registry_load(r, &origin, err);
	if (!rc && origin != REGISTRY_FROM_DATABASE) {
		char problem[400];

		registry_problem(r, problem, sizeof(problem));
		rc = err_set(err, E_UNAVAILABLE, "the database cannot be read: %s", problem);
	}
	if (!rc)
		rc = registry_rollback(r, &c->arena, &what, &who, &result, err);
	if (!rc)
		(void)print_direct(c, &result);
	registry_free(r);
	return rc;
}

static int on_database(struct cli *c)
{
	struct store *store = NULL;
	struct err err = {0};
	char *url = NULL;
	int rc = cli_database_url(c, true, &url);

	if (rc)
		return rc;
	rc = store_new(url, &store, &err);
	free(url);
	if (!rc) {
		store_migrate_first(store);
		rc = direct(c, store, &err);
	}
	store_free(store);
	if (rc == E_NOTFOUND)
		return cli_fail(c, "see: muster model list, and say --to MODEL", "%s", err.text);
	return rc ? cli_fail(c, NULL, "%s", err.text) : EXIT_WORKED;
}

int rollback_run(struct cli *c)
{
	bool beside = args_has(&c->args, "data") || args_has(&c->args, "config") || args_has(&c->args, "database-url");

	if (args_has(&c->args, "to") && args_has(&c->args, "snapshot"))
		return cli_usage(c, NULL, "--to and --snapshot exclude each other");
	return beside ? on_database(c) : by_daemon(c);
}
