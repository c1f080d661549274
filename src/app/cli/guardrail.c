/* SPDX-License-Identifier: Apache-2.0 */
/* muster guardrail ...: checking texts, policies, what was found. */
#include <string.h>

#include "app/cli/cli_internal.h"

#define POLICIES "/api/v1/guardrails/policies"

/* The matched bytes of a checked text. */
static struct slice matched(struct cli *c, const struct json *violation)
{
	int64_t index = json_integer(violation, "index", -1), start = json_integer(violation, "start", -1);
	int64_t length = json_integer(violation, "length", 0);
	struct slice text;

	if (index < 0 || (uint64_t)index >= c->args.n_operands || start < 0 || length <= 0)
		return SLICE_LIT("");
	text = slice_from(c->args.operands[index]);
	return (uint64_t)start <= text.n ? slice_sub(text, (size_t)start, (size_t)length) : SLICE_LIT("");
}

static const struct column check_columns[] = {
	{"TEXT", .right = true},   {"RULE", .min_width = 10}, {"CATEGORY", .min_width = 8}, {"SEVERITY"}, {"ACTION"},
	{"MATCH", .min_width = 10}};

static void print_violations(struct cli *c, const struct answer *a)
{
	const struct json *list = json_get(a->root, "violations");
	struct rows r;

	if (!list || !list->n_items || !rows_init(c, &r, COUNT_OF(check_columns), list->n_items))
		return;
	for (const struct json *v = json_items(a, "violations"); v; v = v->next) {
		struct cell *cell = rows_next(&r);
		struct slice severity = json_text(v, "severity"), action = json_text(v, "action");

		cell[0].text = cli_printf(c, "%lld", (long long)json_integer(v, "index", 0) + 1);
		cell[1].text = json_text(v, "rule");
		cell[2].text = json_text(v, "category");
		cell[3] = (struct cell){severity, status_style(severity)};
		cell[4] = (struct cell){action, status_style(action)};
		cell[5].text = matched(c, v);
	}
	out_table(&c->out, check_columns, COUNT_OF(check_columns), r.cells, r.n_rows);
}

static void print_outputs(struct cli *c, const struct answer *a)
{
	for (const struct json *o = json_items(a, "outputs"); o; o = o->next) {
		const struct json *text = json_get(o, "text");

		if (!slice_eq_str(json_text(o, "action"), "mask") || !text || text->type != JSON_STRING)
			continue;
		out_printf(&c->out, "masked %lld: ", (long long)json_integer(o, "index", 0) + 1);
		out_text(&c->out, text->str);
		out_printf(&c->out, "\n");
	}
}

/* "-" alone is standard input. */
static int read_texts(struct cli *c)
{
	struct slice text;
	int rc;

	if (c->args.n_operands != 1 || strcmp(c->args.operands[0], "-") != 0)
		return 0;
	rc = cli_read_file(c, "-", CLI_MAX_BODY / 8, &text);
	if (rc)
		return rc;
	if (strlen(text.p) != text.n)
		return cli_fail(c, "a text to check is text", "standard input holds a zero byte");
	c->args.operands[0] = text.p;
	return 0;
}

/* The exit status says it too: 0 compliant, 1 not. */
int guardrail_check_run(struct cli *c)
{
	struct muster_check check = {.policy = args_get(&c->args, "policy"),
				     .use_case = args_get(&c->args, "use-case"),
				     .side = args_get(&c->args, "side"),
				     .texts = c->args.operands,
				     .n_texts = c->args.n_operands};
	const struct json *compliant;
	struct muster_answer raw = {0};
	struct muster_error e;
	struct slice action;
	struct answer a;
	bool good;
	int rc = read_texts(c);

	if (!rc)
		rc = cli_connect(c);
	if (rc)
		return rc;
	if (muster_guardrails_check(c->client, &check, &raw, &e) < 0)
		return cli_refused(c, &raw, &e);
	rc = cli_take_answer(c, &raw, &a);
	if (rc)
		return rc;
	compliant = json_get(a.root, "compliant");
	good = compliant && compliant->type == JSON_BOOL && compliant->boolean;
	if (c->json)
		return cli_print_json(c, &a) ? EXIT_FAILED : good ? EXIT_WORKED : EXIT_FAILED;
	action = json_text(a.root, "action");
	out_styled(&c->out, good ? STYLE_GOOD : STYLE_BAD, good ? SLICE_LIT("compliant") : SLICE_LIT("not compliant"));
	out_printf(&c->out, "   policy " SLICE_FMT "   action " SLICE_FMT "\n", SLICE_ARG(json_text(a.root, "policy")),
		   SLICE_ARG(action));
	print_violations(c, &a);
	print_outputs(c, &a);
	return good ? EXIT_WORKED : EXIT_FAILED;
}

static const struct column violation_columns[] = {{"WHEN"},
						  {"LOG", .min_width = 18},
						  {"USE CASE", .min_width = 8},
						  {"RULE", .min_width = 8},
						  {"SEVERITY"},
						  {"ACTION"},
						  {"SIDE"}};

static void fill_violation(struct cli *c, const struct json *v, struct cell *cell)
{
	struct slice severity = json_text(v, "severity"), action = json_text(v, "action");

	cell[0].text = cli_ago(c, json_time(v, "created_at"));
	cell[1].text = short_id(c, json_text(v, "log_id"));
	cell[2].text = json_text(v, "use_case");
	cell[3].text = json_text(v, "rule");
	cell[4] = (struct cell){severity, status_style(severity)};
	cell[5] = (struct cell){action, status_style(action)};
	cell[6].text = json_text(v, "side");
}

int guardrail_violations_run(struct cli *c)
{
	static const char *const options[][2] = {
		{"use-case", "use_case"}, {"model", "model"}, {"category", "category"}, {"severity", "severity"},
		{"since", "since"},	  {"until", "until"}, {"limit", "limit"},	{"before", "before"}};
	static const struct listing listing = {violation_columns, COUNT_OF(violation_columns), fill_violation,
					       "no violation matches"};
	struct path p;

	path_init(c, &p, "/api/v1/guardrails/violations");
	for (size_t i = 0; i < COUNT_OF(options); i++)
		path_option(c, &p, options[i][0], options[i][1]);
	return cli_list(c, &p, &listing, NULL);
}

/* --- policies --- */

static const struct column policy_columns[] = {
	{"POLICY", .min_width = 8}, {"RULES", .right = true}, {"ON ERROR"}, {"DESCRIPTION", .min_width = 20}};

static void fill_policy(struct cli *c, const struct json *d, struct cell *cell)
{
	const struct json *rules = json_get(d, "rules");

	cell[0].text = json_text(d, "name");
	cell[1].text = cli_printf(c, "%u", rules ? rules->n_items : 0);
	cell[2].text = json_text(d, "on_error");
	cell[3].text = json_text(d, "description");
}

int policy_list_run(struct cli *c)
{
	static const struct listing listing = {policy_columns, COUNT_OF(policy_columns), fill_policy, "no policy"};
	struct path p;

	path_init(c, &p, POLICIES);
	return cli_list(c, &p, &listing, NULL);
}

static const struct column rule_columns[] = {
	{"RULE", .min_width = 8},   {"KIND"}, {"CATEGORY", .min_width = 8}, {"SIDE"}, {"ACTION"}, {"SEVERITY"},
	{"VALUES", .min_width = 10}};

static void print_policy(struct cli *c, const struct json *policy)
{
	const struct json *list = json_get(policy, "rules");
	struct slice description = json_text(policy, "description");
	struct rows r;

	out_styled(&c->out, STYLE_BOLD, json_text(policy, "name"));
	out_printf(&c->out, "   on error: " SLICE_FMT "\n", SLICE_ARG(json_text(policy, "on_error")));
	if (description.n) {
		out_text(&c->out, description);
		out_printf(&c->out, "\n");
	}
	if (!list || !rows_init(c, &r, COUNT_OF(rule_columns), list->n_items))
		return;
	for (const struct json *v = list->first; v; v = v->next) {
		const struct json *values = json_get(v, "values");
		struct cell *cell = rows_next(&r);
		struct slice severity = json_text(v, "severity"), action = json_text(v, "action");

		cell[0].text = json_text(v, "id");
		cell[1].text = json_text(v, "kind");
		cell[2].text = json_text(v, "category");
		cell[3].text = json_text(v, "side");
		cell[4] = (struct cell){action, status_style(action)};
		cell[5] = (struct cell){severity, status_style(severity)};
		cell[6].text = values && values->n_items == 1
				       ? json_line(values->first)
				       : cli_printf(c, "%u, such as " SLICE_FMT, values ? values->n_items : 0,
						    SLICE_ARG(json_line(values ? values->first : NULL)));
	}
	out_table(&c->out, rule_columns, COUNT_OF(rule_columns), r.cells, r.n_rows);
}

int policy_show_run(struct cli *c)
{
	return cli_show(c, POLICIES, print_policy);
}

int policy_set_run(struct cli *c)
{
	const char *file = c->args.operands[0];
	const struct json *rules;
	struct json_writer w;
	struct json *root;
	struct slice text, name;
	struct answer a;
	struct path p;
	struct buf body;
	struct err err;
	int rc = cli_read_file(c, file, CLI_MAX_BODY / 4, &text);

	if (rc)
		return rc;
	if (json_parse_copy(c->parser, &c->arena, text, NULL, &root, &err))
		return cli_fail(c, "muster guardrail policy show default --json   prints one that works",
				"%s is not JSON: %s", file, err.text);
	name = json_text(root, "name");
	if (!name.n)
		return cli_fail(c, "it begins with {\"name\": \"...\", \"rules\": [...]}",
				"%s does not say the policy's name", file);
	body_init(c, &body, &w);
	for (const struct json *v = root->first; v; v = v->next) {
		if (slice_eq_str(v->key, "reason") && args_has(&c->args, "why"))
			continue;
		jw_key_slice(&w, v->key);
		jw_raw(&w, v->raw);
	}
	body_option(c, &w, "why", "reason");
	body_end(&w);
	path_init(c, &p, POLICIES);
	path_add(&p, "/", cli_printf(c, SLICE_FMT, SLICE_ARG(name)).p);
	rc = cli_send(c, "PUT", &p, &body, &a);
	if (rc)
		return rc;
	if (c->json)
		return cli_print_json(c, &a);
	rules = json_get(root, "rules");
	out_printf(&c->out, "saved policy " SLICE_FMT ": %u rules\n", SLICE_ARG(name), rules ? rules->n_items : 0);
	return EXIT_WORKED;
}
