/* SPDX-License-Identifier: Apache-2.0 */
/* Guardrails: on, compiled, and doing what they are for. */
#include "app/cli/check_internal.h"
#include "control/store/entities.h"

#define CLEAN "The weather is fine today."
#define PLANTED "My card number is 4111 1111 1111 1111." /* the number that card networks give for tests */

static void check_on(struct check_run *k)
{
	static const char name[] = "guardrails on";
	const struct json *part = json_get(json_get(k->health, "parts"), "guardrails");
	struct slice detail = json_text(part, "detail");

	if (!k->reachable && k->has_settings) {
		check_say(k, name, k->set.guardrails_enabled ? CHECK_PASS : CHECK_FAIL, "guardrails.enabled: true",
			  "guardrails.enabled is %s", k->set.guardrails_enabled ? "true" : "false");
		return;
	}
	if (check_needs_daemon(k, name))
		return;
	if (!part)
		check_say(k, name, CHECK_SKIPPED, "see the check 'health'", "the daemon does not tell");
	else if (slice_starts(detail, SLICE_LIT("switched off")))
		check_say(k, name, CHECK_FAIL, "guardrails.enabled: true", SLICE_FMT, SLICE_ARG(detail));
	else
		check_say(k, name, CHECK_PASS, NULL, SLICE_FMT, SLICE_ARG(detail));
}

static void check_guarded(struct check_run *k)
{
	static const char name[] = "guarded use cases";
	struct check_list l;

	if (!k->has_registry) {
		check_say(k, name, CHECK_SKIPPED, "see the checks of the daemon and of the database",
			  "the registry could not be read");
		return;
	}
	check_list_init(k, &l);
	for (size_t i = 0; i < k->n_use_cases; i++) {
		if (slice_eq_str(json_text(json_get(k->use_cases[i], "settings"), "policy"), "none"))
			check_list_add(&l, SLICE_FMT " has the policy none",
				       SLICE_ARG(json_text(k->use_cases[i], "use_case")));
	}
	if (l.n)
		check_say(k, name, CHECK_WARN, "muster use-case set USE_CASE --policy default --why ...", "%s",
			  check_list_text(&l));
	else if (!k->n_use_cases)
		check_say(k, name, CHECK_SKIPPED, "see the check 'use cases'", "there is no use case");
	else
		check_say(k, name, CHECK_PASS, NULL, "none of %zu has the policy none", k->n_use_cases);
}

/* --- policies --- */

static void judge_policy(struct check_run *k, const struct json *document, struct check_list *bad, size_t *n)
{
	struct err err = {0};

	++*n;
	if (check_host.policy_compiles(k->a, document, &err))
		check_list_add(bad, SLICE_FMT ": %s", SLICE_ARG(json_text(document, "name")), err.text);
}

static bool policies_of_daemon(struct check_run *k, struct check_list *bad, size_t *n)
{
	struct check_reply r;
	const struct json *list;

	check_ask(k, "GET", "/api/v1/guardrails/policies?limit=1000", NULL, &r);
	list = json_get(r.root, "data");
	if (!r.ok || !list || list->type != JSON_ARRAY)
		return false;
	for (const struct json *v = list->first; v; v = v->next)
		judge_policy(k, v, bad, n);
	return true;
}

static bool policies_of_database(struct check_run *k, struct check_list *bad, size_t *n)
{
	struct policy_row *rows;
	size_t n_rows;

	if (!k->db || !k->level_known || store_policy_list(k->db, k->a, &rows, &n_rows, NULL))
		return false;
	for (size_t i = 0; i < n_rows; i++) {
		struct json *root = NULL;
		struct err err = {0};

		if (json_parse_copy(k->c->parser, k->a, rows[i].document, NULL, &root, &err)) {
			++*n;
			check_list_add(bad, SLICE_FMT ": %s", SLICE_ARG(rows[i].name), err.text);
		} else {
			judge_policy(k, root, bad, n);
		}
	}
	return true;
}

/* A use case whose policy is not there has none that could be compiled. */
static void find_missing(struct check_run *k, struct check_list *bad)
{
	for (size_t i = 0; i < k->n_use_cases; i++) {
		struct slice policy = json_text(json_get(k->use_cases[i], "settings"), "policy");
		struct check_reply r;
		struct path p;

		if (!policy.n || slice_eq_str(policy, "none") || !k->reachable)
			continue;
		path_init(k->c, &p, "/api/v1/guardrails/policies/");
		path_add(&p, "", arena_printf(k->a, SLICE_FMT, SLICE_ARG(policy)));
		check_ask(k, "GET", buf_cstr(&p.text), NULL, &r);
		if (r.status == 404)
			check_list_add(bad, SLICE_FMT ": there is no policy " SLICE_FMT,
				       SLICE_ARG(json_text(k->use_cases[i], "use_case")), SLICE_ARG(policy));
	}
}

static void check_policies(struct check_run *k)
{
	static const char name[] = "policies compile";
	struct check_list bad;
	size_t n = 0;
	bool known;

	check_list_init(k, &bad);
	known = k->reachable ? policies_of_daemon(k, &bad, &n) : policies_of_database(k, &bad, &n);
	if (!known) {
		check_say(k, name, CHECK_SKIPPED, "see the checks of the daemon and of the database",
			  "the policies could not be read");
		return;
	}
	find_missing(k, &bad);
	if (bad.n)
		check_say(k, name, CHECK_FAIL, "muster guardrail policy set FILE --why ...", "%s",
			  check_list_text(&bad));
	else if (!n)
		check_say(k, name, CHECK_SKIPPED, "nothing: the daemon then has its built-in policy", "none is stored");
	else
		check_say(k, name, CHECK_PASS, NULL, "%zu", n);
}

/* --- what they do --- */

static void check_text(struct check_run *k, const char *name, const char *text, bool compliant)
{
	const struct json *verdict;
	struct check_reply r;
	struct json_writer w;
	struct buf b;

	if (check_needs_daemon(k, name))
		return;
	body_init(k->c, &b, &w);
	jw_key(&w, "outputs");
	jw_array(&w);
	jw_cstr(&w, text);
	jw_array_end(&w);
	body_end(&w);
	check_ask(k, "POST", "/api/v1/guardrails/check", buf_cstr(&b), &r);
	verdict = json_get(r.root, "compliant");
	if (!r.ok || !verdict || verdict->type != JSON_BOOL)
		check_say(k, name, CHECK_FAIL, "see: muster health", "%s", r.ok ? "no verdict came" : r.error);
	else
		check_say(k, name, verdict->boolean == compliant ? CHECK_PASS : CHECK_FAIL,
			  "muster guardrail policy show default", "policy " SLICE_FMT ": " SLICE_FMT,
			  SLICE_ARG(json_text(r.root, "policy")), SLICE_ARG(json_text(r.root, "action")));
}

void check_guardrails(struct check_run *k)
{
	check_on(k);
	check_guarded(k);
	check_policies(k);
	check_text(k, "planted violation caught", PLANTED, false);
	check_text(k, "clean text passes", CLEAN, true);
}
