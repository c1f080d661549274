/* SPDX-License-Identifier: Apache-2.0 */
/* muster alert: what fires, whether anybody would hear of it, and what is silenced. */
#include "app/cli/cli_internal.h"

#define ALERTS "/api/v1/alerts"
#define SILENCES ALERTS "/silences"

static enum style severity_style(struct slice severity)
{
	return slice_eq_str(severity, "critical")  ? STYLE_BAD
	       : slice_eq_str(severity, "warning") ? STYLE_WARN
						   : STYLE_PLAIN;
}

static struct slice or_dash(struct slice s)
{
	return s.n ? s : SLICE_LIT("-");
}

/* --- list --- */

static const struct column columns[] = {{"RULE", .min_width = 12},
					{"SEVERITY"},
					{"STATE"},
					{"SINCE", .right = true},
					{"USE CASE", .min_width = 8},
					{"DELIVERY"},
					{"SUMMARY", .min_width = 24}};

static void fill_row(struct cli *c, const struct json *a, struct cell *cell)
{
	struct slice state = json_text(a, "state"), severity = json_text(a, "severity");
	const struct json *silenced = json_get(a, "silenced");
	bool firing = slice_eq_str(state, "firing"), is_silenced = silenced && silenced->boolean;
	struct slice delivery = json_text(json_get(a, "delivery"), "state");

	cell[0] = (struct cell){json_text(a, "rule"), STYLE_BOLD};
	cell[1] = (struct cell){severity, firing ? severity_style(severity) : STYLE_PLAIN};
	cell[2] = (struct cell){is_silenced ? SLICE_LIT("silenced") : state, firing ? STYLE_PLAIN : STYLE_DIM};
	cell[3].text = cli_ago(c, json_time(a, "since"));
	cell[4].text = or_dash(json_text(a, "use_case"));
	cell[5] = (struct cell){delivery, slice_eq_str(delivery, "failed") ? STYLE_BAD : STYLE_PLAIN};
	cell[6].text = json_text(a, "summary");
}

static void print_failures(struct cli *c, const struct json *list)
{
	for (const struct json *a = list ? list->first : NULL; a; a = a->next) {
		struct slice error = json_text(json_get(a, "delivery"), "error");

		if (!error.n)
			continue;
		out_printf(&c->out, "\n" SLICE_FMT ": not delivered to ", SLICE_ARG(json_text(a, "rule")));
		out_text(&c->out, error);
	}
	out_printf(&c->out, "\n");
}

static bool any_failure(const struct json *list)
{
	for (const struct json *a = list ? list->first : NULL; a; a = a->next)
		if (json_text(json_get(a, "delivery"), "error").n)
			return true;
	return false;
}

int alert_list_run(struct cli *c)
{
	static const char *const options[][2] = {{"state", "state"},
						 {"rule", "rule"},
						 {"use-case", "use_case"},
						 {"limit", "limit"},
						 {"before", "before"}};
	struct listing listing = {columns, COUNT_OF(columns), fill_row,
				  c->args.n_given ? "no alert matches" : "no alert"};
	struct answer a;
	struct path p;
	int rc;

	path_init(c, &p, ALERTS);
	for (size_t i = 0; i < COUNT_OF(options); i++)
		path_option(c, &p, options[i][0], options[i][1]);
	rc = cli_list(c, &p, &listing, &a);
	if (!rc && !c->json && any_failure(json_get(a.root, "data")))
		print_failures(c, json_get(a.root, "data"));
	return rc;
}

/* --- test --- */

static const struct column test_columns[] = {
	{"RECEIVER", .min_width = 8}, {"FORMAT"}, {"RESULT"}, {"TOOK", .right = true}, {"ERROR", .min_width = 16}};

int alert_test_run(struct cli *c)
{
	const struct json *list;
	bool all = true;
	struct json_writer w;
	struct answer a;
	struct path p;
	struct buf body;
	struct rows r;
	int rc;

	body_init(c, &body, &w);
	if (c->args.n_operands)
		jw_kcstr(&w, "receiver", c->args.operands[0]);
	body_option(c, &w, "why", "reason");
	body_end(&w);
	path_init(c, &p, ALERTS "/test");
	rc = cli_send(c, "POST", &p, &body, &a);
	if (rc)
		return rc;
	list = json_get(a.root, "data");
	if (!rows_init(c, &r, COUNT_OF(test_columns), list ? list->n_items : 0))
		return cli_fail(c, NULL, "the list is too long");
	for (const struct json *t = list ? list->first : NULL; t; t = t->next) {
		const struct json *took = json_get(t, "took_ms"), *delivered = json_get(t, "delivered");
		bool worked = delivered && delivered->boolean;
		struct cell *cell = rows_next(&r);

		all &= worked;
		cell[0] = (struct cell){json_text(t, "receiver"), STYLE_BOLD};
		cell[1].text = json_text(t, "format");
		cell[2] = (struct cell){worked ? SLICE_LIT("delivered") : SLICE_LIT("failed"),
					worked ? STYLE_GOOD : STYLE_BAD};
		cell[3].text = took ? cli_printf(c, "%.0f ms", took->number) : SLICE_LIT("-");
		cell[4].text = json_text(t, "error");
	}
	if (c->json)
		rc = cli_print_json(c, &a);
	else
		out_table(&c->out, test_columns, COUNT_OF(test_columns), r.cells, r.n_rows);
	return rc ? rc : all ? EXIT_WORKED : EXIT_FAILED;
}

/* --- silences --- */

static const struct column silence_columns[] = {{"ID"},	   {"RULE"}, {"USE CASE"},
						{"UNTIL"}, {"WHO"},  {"WHY", .min_width = 16}};

static void print_silenced(struct cli *c, const struct json *silence)
{
	out_printf(&c->out, "silenced until " SLICE_FMT "; end it with: muster alert silence remove " SLICE_FMT "\n",
		   SLICE_ARG(cli_local(c, json_time(silence, "until"))), SLICE_ARG(json_text(silence, "silence_id")));
}

int alert_silence_add_run(struct cli *c)
{
	struct json_writer w;
	struct path p;
	struct buf body;

	if (!args_has(&c->args, "rule") && !args_has(&c->args, "use-case"))
		return cli_usage(c, "muster alert silence add --rule RULE --for 2h --why \"...\"",
				 "say what is to be silenced: --rule, --use-case, or both");
	body_init(c, &body, &w);
	body_option(c, &w, "rule", "rule");
	body_option(c, &w, "use-case", "use_case");
	body_option(c, &w, "for", "for");
	body_option(c, &w, "why", "reason");
	body_end(&w);
	path_init(c, &p, SILENCES);
	return cli_call(c, "POST", &p, &body, print_silenced);
}

static void fill_silence(struct cli *c, const struct json *s, struct cell *cell)
{
	cell[0] = (struct cell){json_text(s, "silence_id"), STYLE_DIM};
	cell[1].text = or_dash(json_text(s, "rule"));
	cell[2].text = or_dash(json_text(s, "use_case"));
	cell[3].text = cli_local(c, json_time(s, "until"));
	cell[4].text = json_text(s, "actor");
	cell[5].text = json_text(s, "reason");
}

int alert_silence_list_run(struct cli *c)
{
	static const struct listing listing = {silence_columns, COUNT_OF(silence_columns), fill_silence,
					       "nothing is silenced"};
	struct path p;

	path_init(c, &p, SILENCES);
	return cli_list(c, &p, &listing, NULL);
}

static void print_unsilenced(struct cli *c, const struct json *answer)
{
	(void)answer;
	out_printf(&c->out, "not silenced any more\n");
}

int alert_silence_remove_run(struct cli *c)
{
	struct path p;

	path_init(c, &p, SILENCES);
	path_add(&p, "/", c->args.operands[0]);
	path_option(c, &p, "why", "reason");
	return cli_call(c, "DELETE", &p, NULL, print_unsilenced);
}
