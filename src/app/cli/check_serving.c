/* SPDX-License-Identifier: Apache-2.0 */
/* What serves each use case, what serves when that does not, and whether they answer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/cli/check_internal.h"
#include "domain/model.h"

#define PROBES_MAX 64
#define PROBE_PROMPT "muster check: is anybody there?" /* how the historical log tells it from a caller's */

static bool needs_registry(struct check_run *k, const char *name)
{
	if (k->has_registry)
		return false;
	check_say(k, name, CHECK_SKIPPED, "see the checks of the daemon and of the database",
		  "the registry could not be read");
	return true;
}

static const struct json *current_of(const struct json *use_case)
{
	const struct json *m = json_get(use_case, "current");

	return m && m->type == JSON_OBJECT ? m : NULL;
}

static void check_use_cases(struct check_run *k)
{
	static const char name[] = "use cases";

	if (k->reachable && !k->has_registry)
		check_say(k, name, CHECK_FAIL, "see: muster health, and MUSTER_API_KEY",
			  "the daemon does not list them: %s", k->registry_error);
	else if (needs_registry(k, name))
		return;
	else if (!k->n_use_cases)
		check_say(k, name, CHECK_FAIL, "muster model register --help", "there are none");
	else
		check_say(k, name, CHECK_PASS, NULL, "%zu, with %zu models", k->n_use_cases, k->n_models);
}

static void check_current(struct check_run *k)
{
	static const char name[] = "current model";
	const char *first = NULL;
	struct check_list l;

	if (needs_registry(k, name))
		return;
	check_list_init(k, &l);
	for (size_t i = 0; i < k->n_use_cases; i++) {
		struct slice u = json_text(k->use_cases[i], "use_case");

		if (current_of(k->use_cases[i]))
			continue;
		first = first ? first : arena_printf(k->a, SLICE_FMT, SLICE_ARG(u));
		check_list_add(&l, SLICE_FMT " has none", SLICE_ARG(u));
	}
	if (l.n)
		check_say(k, name, CHECK_FAIL,
			  arena_printf(k->a, "muster model promote NAME@VERSION --use-case %s --why ...", first), "%s",
			  check_list_text(&l));
	else if (!k->n_use_cases)
		check_say(k, name, CHECK_SKIPPED, "see the check 'use cases'", "there is no use case");
	else
		check_say(k, name, CHECK_PASS, NULL, "each of %zu use cases has one", k->n_use_cases);
}

/* --- keys --- */

/* The environment of the daemon: its own when it runs here, ours when none runs.  Absent: cannot be read. */
static struct slice read_environment(struct check_run *k, long pid)
{
	char path[64];
	struct slice text;

	snprintf(path, sizeof(path), "/proc/%ld/environ", pid);
	if (access(path, R_OK) || cli_read_file(k->c, path, (size_t)4 << 20, &text))
		return (struct slice){0};
	return text.n ? text : SLICE_LIT("");
}

static bool has_variable(struct check_run *k, struct slice environment, struct slice name)
{
	struct slice rest = environment, entry;
	const char *value;

	if (!k->pid) {
		value = getenv(arena_printf(k->a, SLICE_FMT, SLICE_ARG(name)));
		return value && *value;
	}
	while (slice_split(&rest, 0, &entry)) {
		if (entry.n > name.n + 1 && slice_starts(entry, name) && entry.p[name.n] == '=')
			return true;
	}
	return false;
}

static void judge_key(struct check_run *k, const struct json *model, struct slice environment, struct check_list *bad,
		      size_t *n_keys)
{
	const struct json *configuration = json_get(model, "configuration");
	struct slice file = json_text(configuration, "api_key_file"), variable = {0};
	struct slice model_name = model_full_name(k->c, model);
	bool needed = false;
	struct err err;

	if (check_host.model_key(json_text(model, "provider"), configuration, &variable, &needed, &err)) {
		check_list_add(bad, SLICE_FMT ": %s", SLICE_ARG(model_name), err.text);
		return;
	}
	*n_keys += needed || file.n;
	if (file.n && access(arena_printf(k->a, SLICE_FMT, SLICE_ARG(file)), R_OK))
		check_list_add(bad, SLICE_FMT ": " SLICE_FMT ": %s", SLICE_ARG(model_name), SLICE_ARG(file),
			       strerror(errno));
	else if (needed && !has_variable(k, environment, variable))
		check_list_add(bad, SLICE_FMT ": " SLICE_FMT " is not set", SLICE_ARG(model_name), SLICE_ARG(variable));
}

static void check_model_keys(struct check_run *k)
{
	static const char name[] = "keys of models";
	struct slice environment = {0};
	struct check_list bad;
	size_t n_keys = 0;

	if (needs_registry(k, name) || check_needs_files(k, name))
		return;
	environment = k->pid ? read_environment(k, k->pid) : SLICE_LIT("");
	if (!environment.p) {
		check_say(k, name, CHECK_SKIPPED, "run this as the user of the daemon",
			  "the environment of process %ld cannot be read", k->pid);
		return;
	}
	check_list_init(k, &bad);
	for (size_t i = 0; i < k->n_models; i++) {
		if (!slice_eq_str(json_text(k->models[i], "status"), "archived"))
			judge_key(k, k->models[i], environment, &bad, &n_keys);
	}
	if (bad.n)
		check_say(k, name, k->pid ? CHECK_FAIL : CHECK_WARN,
			  "set it where the daemon starts, and restart it; or configuration.api_key_file", "%s%s",
			  check_list_text(&bad), k->pid ? "" : " in this environment");
	else if (n_keys)
		check_say(k, name, CHECK_PASS, NULL, "%zu, each there", n_keys);
	else if (!k->n_models)
		check_say(k, name, CHECK_SKIPPED, "see the check 'use cases'", "there is no model");
	else
		check_say(k, name, CHECK_PASS, NULL, "no model asks for one");
}

/* --- what answers --- */

static bool no_probe(struct check_run *k, const char *name)
{
	if (!args_has(&k->c->args, "no-probe"))
		return false;
	check_say(k, name, CHECK_SKIPPED, "check again without --no-probe", "nothing was asked (--no-probe)");
	return true;
}

/* Asks the current model itself, whoever else has a share of the traffic, for one token; adds to *bad what went wrong.
 */
static void probe(struct check_run *k, const struct json *use_case, struct check_list *bad, int64_t *worst_us)
{
	const struct json *model = current_of(use_case), *fell_back;
	struct slice u = json_text(use_case, "use_case");
	struct check_reply r;
	struct json_writer w;
	struct buf b;

	body_init(k->c, &b, &w);
	jw_kstr(&w, "model", json_text(model, "model_id"));
	jw_kcstr(&w, "prompt", PROBE_PROMPT);
	jw_ki64(&w, "max_tokens", 1);
	body_end(&w);
	check_ask(k, "POST", "/api/v1/generate", buf_cstr(&b), &r);
	fell_back = json_get(r.root, "fallback_used");
	if (!r.ok)
		check_list_add(bad, SLICE_FMT ": %s", SLICE_ARG(u), r.error);
	else if (!fell_back || fell_back->type != JSON_BOOL || fell_back->boolean)
		check_list_add(bad, SLICE_FMT ": " SLICE_FMT " did not answer, a fallback did", SLICE_ARG(u),
			       SLICE_ARG(model_full_name(k->c, model)));
	else if (r.took_us > *worst_us)
		*worst_us = r.took_us;
}

static void check_probes(struct check_run *k)
{
	static const char name[] = "models answer";
	int64_t worst_us = 0;
	struct check_list bad;
	size_t n = 0, n_left = 0;

	if (check_needs_daemon(k, name) || needs_registry(k, name) || no_probe(k, name))
		return;
	check_list_init(k, &bad);
	for (size_t i = 0; i < k->n_use_cases; i++) {
		if (!current_of(k->use_cases[i]))
			continue;
		if (n == PROBES_MAX) {
			n_left++;
			continue;
		}
		n++;
		probe(k, k->use_cases[i], &bad, &worst_us);
	}
	if (bad.n)
		check_say(k, name, CHECK_FAIL, "muster generate USE_CASE \"Hello\", and muster log list --status error",
			  "%s", check_list_text(&bad));
	else if (!n)
		check_say(k, name, CHECK_SKIPPED, "see the check 'current model'", "there is none to ask");
	else if (n_left)
		check_say(k, name, CHECK_WARN, "ask the others with muster generate", "%zu answer, %zu were not asked",
			  n, n_left);
	else
		check_say(k, name, CHECK_PASS, NULL, "%zu of %zu, the slowest within %s", n, n, check_ms(k, worst_us));
}

/* --- what serves when a model does not --- */

static const struct json *find_model(const struct check_run *k, struct slice use_case, struct slice ref)
{
	struct slice name, version;

	model_ref_split(ref, &name, &version);
	for (size_t i = 0; i < k->n_models; i++) {
		const struct json *m = k->models[i];

		if (slice_eq(json_text(m, "model_name"), name) && slice_eq(json_text(m, "version"), version) &&
		    slice_eq(json_text(m, "use_case"), use_case))
			return m;
	}
	return NULL;
}

static void judge_chain(const struct check_run *k, const struct json *use_case, struct check_list *bad, size_t *n)
{
	const struct json *chain = json_get(json_get(use_case, "settings"), "fallback");
	struct slice u = json_text(use_case, "use_case");

	for (const struct json *v = chain && chain->type == JSON_ARRAY ? chain->first : NULL; v; v = v->next) {
		const struct json *m = find_model(k, u, v->str);

		++*n;
		if (!m)
			check_list_add(bad, SLICE_FMT ": " SLICE_FMT " is not registered", SLICE_ARG(u),
				       SLICE_ARG(v->str));
		else if (slice_eq_str(json_text(m, "status"), "archived"))
			check_list_add(bad, SLICE_FMT ": " SLICE_FMT " is archived", SLICE_ARG(u), SLICE_ARG(v->str));
	}
}

static void check_chains(struct check_run *k)
{
	static const char name[] = "fallback models";
	struct check_list bad;
	size_t n = 0;

	if (needs_registry(k, name))
		return;
	check_list_init(k, &bad);
	for (size_t i = 0; i < k->n_use_cases; i++)
		judge_chain(k, k->use_cases[i], &bad, &n);
	if (bad.n)
		check_say(k, name, CHECK_FAIL, "muster use-case set USE_CASE --fallback NAME@VERSION,...", "%s",
			  check_list_text(&bad));
	else if (n)
		check_say(k, name, CHECK_PASS, NULL, "%zu, each registered", n);
	else
		check_say(k, name, CHECK_SKIPPED, "muster use-case set USE_CASE --fallback NAME@VERSION,...",
			  "no use case has any");
}

static void judge_endpoint(struct check_run *k, const struct json *use_case, struct check_list *bad, size_t *n)
{
	/* A body that every protocol finds its prompt in. */
	static const char body[] =
		"{\"prompt\":\"" PROBE_PROMPT "\",\"model\":\"default\",\"max_tokens\":1,"
		"\"stream\":false,\"messages\":[{\"role\":\"user\",\"content\":\"" PROBE_PROMPT "\"}]}";
	struct slice url = json_text(use_case, "fallback_endpoint");
	struct check_reply r;

	if (!url.n)
		return;
	++*n;
	check_ask_other(k, arena_printf(k->a, SLICE_FMT, SLICE_ARG(url)), body, &r);
	if (!r.ok)
		check_list_add(bad, SLICE_FMT ": " SLICE_FMT ": %s", SLICE_ARG(json_text(use_case, "use_case")),
			       SLICE_ARG(url), r.error);
}

static void check_endpoints(struct check_run *k)
{
	static const char name[] = "hardcoded endpoints";
	struct check_list bad;
	size_t n = 0;

	if (needs_registry(k, name) || no_probe(k, name))
		return;
	check_list_init(k, &bad);
	for (size_t i = 0; i < k->n_use_cases; i++)
		judge_endpoint(k, k->use_cases[i], &bad, &n);
	if (bad.n)
		check_say(k, name, CHECK_FAIL, "start it, or correct fallback.endpoints", "%s", check_list_text(&bad));
	else if (n)
		check_say(k, name, CHECK_PASS, NULL, "%zu, each answers", n);
	else
		check_say(k, name, CHECK_SKIPPED, "fallback.endpoints: {USE_CASE: URL} in muster.yaml",
			  "none is configured");
}

void check_serving(struct check_run *k)
{
	check_read_registry(k);
	check_use_cases(k);
	check_current(k);
	check_model_keys(k);
	check_probes(k);
	check_chains(k);
	check_endpoints(k);
}
