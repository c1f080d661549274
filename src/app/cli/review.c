/* SPDX-License-Identifier: Apache-2.0 */
/* muster review: what /api/v1/review says, as a report for people. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "app/cli/cli_internal.h"
#include "app/cli/report.h"

#define REPORT_MAX ((size_t)16 << 20)

struct review_view {
	struct cli *c;
	const struct json *root;
	struct report report;
	bool utc; /* times for whoever reads the file; else of this place */
};

static double number(const struct json *obj, const char *name)
{
	const struct json *v = json_get(obj, name);

	return v && v->type == JSON_NUMBER ? v->number : (double)NAN;
}

static struct slice count(struct cli *c, double v)
{
	char text[REPORT_NUMBER_SIZE];

	return isnan(v) ? SLICE_LIT("-") : cli_printf(c, "%s", report_count(v, text));
}

static struct slice percent(struct cli *c, double v)
{
	char text[REPORT_NUMBER_SIZE];

	return isnan(v) ? SLICE_LIT("-") : cli_printf(c, "%s", report_percent(v, text));
}

static struct slice ms(struct cli *c, double v)
{
	char text[REPORT_NUMBER_SIZE];

	return isnan(v) ? SLICE_LIT("-") : cli_printf(c, "%s", report_ms(v, text));
}

static struct slice moment(const struct review_view *v, int64_t at_us)
{
	char text[REPORT_NUMBER_SIZE];
	struct slice local;

	if (!at_us)
		return SLICE_LIT("-");
	if (v->utc)
		return cli_printf(v->c, "%s", report_utc(at_us, text));
	local = cli_local(v->c, at_us);
	return slice_sub(local, 0, 16);
}

static struct slice or_dash(struct slice s)
{
	return s.n ? s : SLICE_LIT("-");
}

static const struct json *list(const struct json *obj, const char *name)
{
	const struct json *v = json_get(obj, name);

	return v && v->type == JSON_ARRAY ? v : NULL;
}

/* Rows of a section, one for each item of the list. */
static bool table(struct review_view *v, struct report_section *s, const struct report_column *columns, size_t n,
		  size_t max, struct rows *ret)
{
	s->table.columns = columns;
	s->table.n_columns = n;
	return rows_init(v->c, ret, n, max);
}

static void close_table(struct report_section *s, const struct rows *r)
{
	s->table.cells = r->cells;
	s->table.n_rows = r->n_rows;
}

/* --- targets --- */

static const struct {
	const char *target, *words;
} target_words[] = {
	{"current_model_lookup", "lookup of a current model"},
	{"historical_logging", "records kept in the log"},
	{"guardrail_violations", "checked records with a violation"},
	{"deployments", "deployments that succeeded"},
};

static void add_target(struct review_view *v, struct rows *r, const struct json *t)
{
	struct slice name = json_text(t, "target"), verdict = json_text(t, "verdict");
	bool is_ms = slice_eq_str(json_text(t, "unit"), "ms"), below = slice_eq_str(json_text(t, "wanted"), "below");
	double limit = number(t, "limit"), figure = number(t, "figure");
	struct cell *cell = rows_next(r);
	struct slice wanted = is_ms ? ms(v->c, limit) : percent(v->c, limit);

	for (size_t i = 0; i < COUNT_OF(target_words); i++)
		if (slice_eq_str(name, target_words[i].target))
			name = slice_from(target_words[i].words);
	cell[0].text = name;
	cell[1].text = cli_printf(v->c, "%s " SLICE_FMT, below ? "<" : ">", SLICE_ARG(wanted));
	cell[2].text = is_ms ? ms(v->c, figure) : percent(v->c, figure);
	if (slice_eq_str(verdict, "met"))
		cell[3] = (struct cell){SLICE_LIT("met"), STYLE_GOOD};
	else if (slice_eq_str(verdict, "not_met"))
		cell[3] = (struct cell){SLICE_LIT("NOT MET"), STYLE_BAD};
	else
		cell[3] = (struct cell){SLICE_LIT("unknown"), STYLE_WARN};
	cell[4].text = json_text(t, "detail");
}

static void add_targets(struct review_view *v)
{
	static const struct report_column columns[] = {
		{"TARGET"}, {"WANTED", true}, {"FIGURE", true}, {"VERDICT"}, {"OF WHAT", .min_width = 20}};
	struct report_section *s = report_add(&v->report, "Targets", NULL);
	const struct json *targets = list(v->root, "targets");
	struct rows r;

	if (!s || !table(v, s, columns, COUNT_OF(columns), targets ? targets->n_items : 0, &r))
		return;
	for (const struct json *t = targets ? targets->first : NULL; t; t = t->next)
		add_target(v, &r, t);
	close_table(s, &r);
}

/* --- things to look at --- */

static void add_findings(struct review_view *v)
{
	struct report_section *s = report_add(&v->report, "Things to look at", "Nothing.");
	const struct json *findings = list(v->root, "findings");
	struct report_item *items;

	if (!s || !findings)
		return;
	items = ARENA_ARRAY(&v->c->arena, struct report_item, findings->n_items + 1u);
	if (!items)
		return;
	for (const struct json *f = findings->first; f; f = f->next) {
		struct slice weight = json_text(f, "weight");
		bool bad = slice_eq_str(weight, "bad"), warn = slice_eq_str(weight, "warn");

		items[s->n_items++] = (struct report_item){
			.style = bad	? STYLE_BAD
				 : warn ? STYLE_WARN
					: STYLE_DIM,
			.mark = bad    ? "bad"
				: warn ? "warn"
				       : "note",
			.about = json_text(f, "use_case"),
			.text = json_text(f, "text"),
			.command = json_text(f, "command"),
		};
	}
	s->items = items;
}

/* --- traffic --- */

enum form { COUNT, SHARE, MILLISECONDS, MONEY };

static const struct {
	const char *words, *inner, *name;
	enum form form;
} figures[] = {
	{"requests", NULL, "requests", COUNT},
	{"succeeded", NULL, "success_rate", SHARE},
	{"errors", NULL, "error_rate", SHARE},
	{"answered by a fallback", NULL, "fallback_rate", SHARE},
	{"blocked by guardrails", NULL, "blocked_rate", SHARE},
	{"with a violation, of those checked", NULL, "violation_rate", SHARE},
	{"latency p50", "latency_ms", "p50", MILLISECONDS},
	{"latency p95", "latency_ms", "p95", MILLISECONDS},
	{"latency p99", "latency_ms", "p99", MILLISECONDS},
	{"first token p50", "first_token_ms", "p50", MILLISECONDS},
	{"first token p95", "first_token_ms", "p95", MILLISECONDS},
	{"tokens in", NULL, "prompt_tokens", COUNT},
	{"tokens out", NULL, "completion_tokens", COUNT},
	{"requests with estimated tokens", NULL, "estimated_share", SHARE},
	{"cost", NULL, "costs", MONEY},
};

/* "1.25 USD (8.0 % estimated) + 3.00 EUR"; "-": none is known. */
static struct slice costs(struct cli *c, const struct json *counts)
{
	const struct json *all = list(counts, "costs");
	struct slice line = SLICE_LIT("");

	for (const struct json *v = all ? all->first : NULL; v; v = v->next) {
		double cost = number(v, "cost"), estimated = number(v, "estimated_share");
		struct slice share = percent(c, estimated), currency = json_text(v, "currency");
		char text[REPORT_NUMBER_SIZE];

		line = cli_printf(c, SLICE_FMT "%s%s " SLICE_FMT, SLICE_ARG(line), line.n ? " + " : "",
				  report_money(cost, text), SLICE_ARG(currency));
		if (estimated > 0)
			line = cli_printf(c, SLICE_FMT " (" SLICE_FMT " estimated)", SLICE_ARG(line), SLICE_ARG(share));
	}
	return or_dash(line);
}

static struct slice figure_of(struct cli *c, const struct json *counts, size_t i)
{
	double v = number(figures[i].inner ? json_get(counts, figures[i].inner) : counts, figures[i].name);

	switch (figures[i].form) {
	case SHARE:
		return percent(c, v);
	case MILLISECONDS:
		return ms(c, v);
	case MONEY:
		return costs(c, counts);
	case COUNT:
		break;
	}
	return count(c, v);
}

static void add_chart(struct review_view *v, struct report_section *s, struct report_chart chart, const char *member)
{
	const struct json *series = json_get(v->root, "series"), *buckets = list(series, "buckets");
	double *values;

	if (!buckets || !buckets->n_items || s->n_charts == REPORT_MAX_CHARTS)
		return;
	values = ARENA_ARRAY(&v->c->arena, double, buckets->n_items);
	if (!values)
		return;
	for (const struct json *b = buckets->first; b; b = b->next)
		values[chart.n++] = number(b, member);
	chart.values = values;
	chart.start_us = json_time(buckets->first, "at");
	chart.step_us = json_integer(series, "bucket_s", 3600) * 1000000;
	s->charts[s->n_charts++] = chart;
}

static void add_traffic(struct review_view *v)
{
	static const struct report_column columns[] = {{"FIGURE"}, {"NOW", true}, {"BEFORE", true}};
	struct report_section *s = report_add(&v->report, "Traffic", NULL);
	const struct json *total = json_get(v->root, "total");
	struct rows r;

	if (!s || !table(v, s, columns, COUNT_OF(columns), COUNT_OF(figures), &r))
		return;
	for (size_t i = 0; i < COUNT_OF(figures); i++) {
		struct cell *cell = rows_next(&r);

		cell[0].text = slice_from(figures[i].words);
		cell[1].text = figure_of(v->c, json_get(total, "now"), i);
		cell[2].text = figure_of(v->c, json_get(total, "before"), i);
	}
	close_table(s, &r);
	add_chart(v, s, (struct report_chart){.title = "requests", .unit = ""}, "requests");
	add_chart(v, s, (struct report_chart){.title = "errors", .unit = "", .alarm = true}, "errors");
	add_chart(v, s, (struct report_chart){.title = "latency p95", .unit = "ms", .line = true}, "latency_p95_ms");
	add_chart(v, s, (struct report_chart){.title = "violations", .unit = "", .alarm = true}, "violations");
}

/* --- use cases and models --- */

static void add_group(struct review_view *v, struct rows *r, const struct json *g, bool models, bool priced)
{
	static const char *const shares[] = {"error_rate", "fallback_rate", "blocked_rate", "violation_rate"};
	const struct json *now = json_get(g, "now"), *latency = json_get(now, "latency_ms");
	struct cell *cell = rows_next(r);
	struct cli *c = v->c;

	*cell++ = (struct cell){or_dash(json_text(g, "use_case")), STYLE_PLAIN};
	if (models)
		*cell++ = (struct cell){or_dash(json_text(g, "model")), STYLE_PLAIN};
	cell++->text = count(c, number(now, "requests"));
	cell++->text = count(c, number(json_get(g, "before"), "requests"));
	for (size_t i = 0; i < COUNT_OF(shares); i++)
		cell++->text = percent(c, number(now, shares[i]));
	cell++->text = ms(c, number(latency, "p50"));
	cell++->text = ms(c, number(latency, "p95"));
	cell++->text = ms(c, number(latency, "p99"));
	cell++->text = ms(c, number(json_get(now, "first_token_ms"), "p95"));
	cell++->text = count(c, number(now, "prompt_tokens") + number(now, "completion_tokens"));
	if (priced)
		cell->text = costs(c, now);
}

#define GROUP_COLUMNS                                                                                                 \
	{"REQUESTS", true}, {"BEFORE", true, .drop = 4}, {"ERRORS", true}, {"FALLBACK", true, .drop = 5},             \
		{"BLOCKED", true, .drop = 6}, {"VIOLATIONS", true, .drop = 2}, {"P50", true, .drop = 3},              \
		{"P95", true}, {"P99", true, .drop = 7}, {"FIRST P95", true, .drop = 8}, {"TOKENS", true, .drop = 1}, \
	{                                                                                                             \
		"COST", true, .drop = 1                                                                               \
	}

static void add_groups(struct review_view *v, const char *title, const char *member, bool models)
{
	static const struct report_column with_models[] = {
		{"USE CASE", .min_width = 10}, {"MODEL", .min_width = 12}, GROUP_COLUMNS};
	static const struct report_column without[] = {{"USE CASE", .min_width = 10}, GROUP_COLUMNS};
	struct report_section *s = report_add(&v->report, title, "No request.");
	const struct json *groups = list(v->root, member), *left_off = json_get(v->root, "groups_left_off");
	bool priced = json_integer(json_get(json_get(v->root, "total"), "now"), "priced", 0) > 0;
	size_t n = (models ? COUNT_OF(with_models) : COUNT_OF(without)) - !priced; /* the last is the cost */
	struct rows r;

	if (!s || !table(v, s, models ? with_models : without, n, groups ? groups->n_items : 0, &r))
		return;
	for (const struct json *g = groups ? groups->first : NULL; g; g = g->next)
		add_group(v, &r, g, models, priced);
	if (left_off && left_off->boolean)
		s->note = SLICE_LIT("There are more than are listed; the totals have them all.");
	close_table(s, &r);
}

/* --- violations --- */

/* "critical 1 (0 before), ..." */
static struct slice tallies(struct cli *c, const struct json *items, const char *name)
{
	struct slice line = SLICE_LIT("");

	for (const struct json *t = items ? items->first : NULL; t; t = t->next) {
		int64_t n = json_integer(t, "n", 0), before = json_integer(t, "before", 0);
		struct slice word = or_dash(json_text(t, name));

		if (n || before)
			line = cli_printf(c, SLICE_FMT "%s" SLICE_FMT " %lld (%lld before)", SLICE_ARG(line),
					  line.n ? ", " : "", SLICE_ARG(word), (long long)n, (long long)before);
	}
	return line;
}

static void add_rule(struct review_view *v, struct rows *r, const struct json *rule)
{
	const struct json *ids = list(rule, "log_ids");
	struct slice severity = json_text(rule, "severity");
	struct cell *cell = rows_next(r);
	bool shortened = !v->utc && v->c->out.columns;

	cell[0] = (struct cell){severity, status_style(severity)};
	cell[1].text = or_dash(json_text(rule, "category"));
	cell[2].text = json_text(rule, "rule");
	cell[3].text = json_text(rule, "action");
	cell[4].text = count(v->c, number(rule, "n"));
	cell[5].text = count(v->c, number(rule, "before"));
	for (const struct json *id = ids ? ids->first : NULL; id; id = shortened ? NULL : id->next)
		cell[6].text =
			cli_printf(v->c, SLICE_FMT "%s" SLICE_FMT, SLICE_ARG(cell[6].text), cell[6].text.n ? " " : "",
				   SLICE_ARG(shortened ? short_id(v->c, id->str) : id->str));
}

static void add_violations(struct review_view *v)
{
	static const struct report_column columns[] = {{"SEVERITY"},
						       {"CATEGORY", .min_width = 8, .drop = 2},
						       {"RULE", .min_width = 10},
						       {"ACTION", .drop = 3},
						       {"NOW", true},
						       {"BEFORE", true},
						       {"LOG", .min_width = 18, .drop = 1}};
	const struct json *violations = json_get(v->root, "violations"), *rules = list(violations, "rules");
	struct report_section *s = report_add(&v->report, "Guardrail violations", "None.");
	struct slice by_category, by_severity;
	struct rows r;

	if (!s || !table(v, s, columns, COUNT_OF(columns), rules ? rules->n_items : 0, &r))
		return;
	for (const struct json *rule = rules ? rules->first : NULL; rule; rule = rule->next)
		add_rule(v, &r, rule);
	by_severity = tallies(v->c, list(violations, "by_severity"), "severity");
	by_category = tallies(v->c, list(violations, "by_category"), "category");
	if (by_severity.n)
		s->note = cli_printf(v->c, "By severity: " SLICE_FMT ". By category: " SLICE_FMT ".",
				     SLICE_ARG(by_severity), SLICE_ARG(by_category));
	close_table(s, &r);
}

/* --- deployments, changes, keys --- */

static struct slice duration(struct cli *c, double seconds)
{
	if (isnan(seconds))
		return SLICE_LIT("-");
	if (seconds < 60)
		return cli_printf(c, "%.1f s", seconds);
	return seconds < 3600 ? cli_printf(c, "%.0f min", seconds / 60) : cli_printf(c, "%.1f h", seconds / 3600);
}

static enum style state_style(struct slice state)
{
	if (slice_eq_str(state, "succeeded"))
		return STYLE_GOOD;
	return slice_eq_str(state, "aborted") || slice_eq_str(state, "rolled_back") ? STYLE_BAD : STYLE_WARN;
}

static void add_deployments(struct review_view *v)
{
	static const struct report_column columns[] = {{"WHEN", .drop = 3},
						       {"USE CASE", .min_width = 10},
						       {"TO", .min_width = 8},
						       {"STRATEGY", .drop = 2},
						       {"STATE"},
						       {"TOOK", true},
						       {"BY", .min_width = 6, .drop = 1},
						       {"WHY", .min_width = 12}};
	const struct json *deployments = json_get(v->root, "deployments"), *items = list(deployments, "list");
	struct report_section *s = report_add(&v->report, "Deployments", "None.");
	struct rows r;

	if (!s || !table(v, s, columns, COUNT_OF(columns), items ? items->n_items : 0, &r))
		return;
	for (const struct json *d = items ? items->first : NULL; d; d = d->next) {
		struct slice state = json_text(d, "state"), rollback = json_text(d, "rollback_reason");
		struct cell *cell = rows_next(&r);

		cell[0].text = moment(v, json_time(d, "started_at"));
		cell[1].text = json_text(d, "use_case");
		cell[2].text = or_dash(json_text(d, "model"));
		cell[3].text = json_text(d, "strategy");
		cell[4] = (struct cell){state, state_style(state)};
		cell[5].text = duration(v->c, number(d, "duration_s"));
		cell[6].text = json_text(d, "actor");
		cell[7].text = rollback.n ? rollback : json_text(d, "reason");
	}
	if (json_integer(deployments, "finished", 0) + json_integer(deployments, "finished_before", 0))
		s->note =
			cli_printf(v->c, "Of %lld that finished, %lld succeeded; in the period before, of %lld, %lld.",
				   (long long)json_integer(deployments, "finished", 0),
				   (long long)json_integer(deployments, "succeeded", 0),
				   (long long)json_integer(deployments, "finished_before", 0),
				   (long long)json_integer(deployments, "succeeded_before", 0));
	close_table(s, &r);
}

static struct slice what_changed(struct cli *c, const struct json *e)
{
	struct slice name = json_text(e, "name"), from = json_text(e, "from"), to = json_text(e, "to");

	name = name.n ? name : short_id(c, json_text(e, "subject"));
	if (!from.n && !to.n)
		return name;
	return cli_printf(c, SLICE_FMT ": " SLICE_FMT " -> " SLICE_FMT, SLICE_ARG(name),
			  SLICE_ARG(from.n ? from : SLICE_LIT("new")), SLICE_ARG(or_dash(to)));
}

static void add_changes(struct review_view *v)
{
	static const struct report_column columns[] = {{"WHEN"},
						       {"WHO", .min_width = 8},
						       {"CHANGE", .min_width = 12},
						       {"USE CASE", .min_width = 8, .drop = 1},
						       {"WHAT", .min_width = 14},
						       {"WHY", .min_width = 10}};
	struct report_section *s = report_add(&v->report, "What changed, and by whom", "Nothing.");
	const struct json *changes = list(v->root, "changes"), *left_off = json_get(v->root, "changes_left_off");
	struct rows r;

	if (!s || !table(v, s, columns, COUNT_OF(columns), changes ? changes->n_items : 0, &r))
		return;
	for (const struct json *e = changes ? changes->first : NULL; e; e = e->next) {
		struct cell *cell = rows_next(&r);

		cell[0].text = moment(v, json_time(e, "at"));
		cell[1].text = json_text(e, "actor");
		cell[2].text = json_text(e, "kind");
		cell[3].text = json_text(e, "use_case");
		cell[4].text = what_changed(v->c, e);
		cell[5].text = json_text(e, "reason");
	}
	if (left_off && left_off->boolean)
		s->note = SLICE_LIT("The newest of them; all: muster use-case history, muster model history.");
	close_table(s, &r);
}

static void add_keys_of(struct review_view *v, struct rows *r, const struct json *keys, const char *what)
{
	for (const struct json *k = keys ? keys->first : NULL; k; k = k->next) {
		struct cell *cell = rows_next(r);

		cell[0].text = moment(v, json_time(k, "at"));
		cell[1].text = slice_from(what);
		cell[2].text = json_text(k, "name");
		cell[3].text = json_text(k, "actor");
		cell[4].text = json_text(k, "reason");
	}
}

static void add_keys(struct review_view *v)
{
	static const struct report_column columns[] = {
		{"WHEN"}, {"WHAT"}, {"KEY", .min_width = 8}, {"WHO", .min_width = 8}, {"WHY", .min_width = 10}};
	const struct json *keys = json_get(v->root, "keys"), *made = list(keys, "made"),
			  *revoked = list(keys, "revoked");
	struct report_section *s = report_add(&v->report, "API keys", "None made, none revoked.");
	struct rows r;

	if (!s || !table(v, s, columns, COUNT_OF(columns),
			 (made ? made->n_items : 0u) + (revoked ? revoked->n_items : 0u), &r))
		return;
	add_keys_of(v, &r, made, "made");
	add_keys_of(v, &r, revoked, "revoked");
	close_table(s, &r);
}

/* --- all of it --- */

static void add_title(struct review_view *v)
{
	const struct json *period = json_get(v->root, "period");
	int64_t window_s = json_integer(v->root, "window_s", 0);
	struct slice use_case = json_text(v->root, "use_case"), from = moment(v, json_time(period, "since")),
		     to = moment(v, json_time(period, "until"));
	struct slice window = window_s == 604800  ? SLICE_LIT("weekly review")
			      : window_s == 86400 ? SLICE_LIT("24-hour review")
						  : SLICE_LIT("review");

	v->report.title = cli_printf(v->c, "muster %.*s%s" SLICE_FMT, SLICE_ARG(window), use_case.n ? " of " : "",
				     SLICE_ARG(use_case));
	v->report.subtitle = cli_printf(
		v->c, SLICE_FMT " to " SLICE_FMT "%s, against as long before; percentiles are at most %.1f %% off",
		SLICE_ARG(from), SLICE_ARG(to), v->utc ? " UTC" : "", 100 * number(v->root, "percentile_error"));
}

static void build(struct review_view *v)
{
	add_title(v);
	add_targets(v);
	add_findings(v);
	add_traffic(v);
	add_groups(v, "Use cases", "use_cases", false);
	add_groups(v, "Models", "models", true);
	add_violations(v);
	add_deployments(v);
	add_changes(v);
	add_keys(v);
}

static bool speaks_utf8(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
	const char *value = NULL;

	for (size_t i = 0; i < COUNT_OF(names) && !(value && *value); i++)
		value = getenv(names[i]);
	return value && (strcasestr(value, "utf-8") || strcasestr(value, "utf8"));
}

static const char *format_of(struct cli *c, const char *file)
{
	const char *format = args_get(&c->args, "format");
	struct slice name = slice_from(file ? file : "");

	if (format)
		return format;
	if (slice_ends(name, SLICE_LIT(".html")) || slice_ends(name, SLICE_LIT(".htm")))
		return "html";
	return slice_ends(name, SLICE_LIT(".md")) ? "markdown" : "terminal";
}

static int put(struct cli *c, struct out *o, const struct answer *a, const char *format)
{
	struct review_view v = {.c = c, .root = a->root, .utc = strcmp(format, "terminal") != 0};
	int rc = EXIT_WORKED;
	struct buf b;

	if (c->json) {
		out_raw(o, slice_trim(a->text));
		out_printf(o, "\n");
		return EXIT_WORKED;
	}
	build(&v);
	if (!v.utc) {
		report_terminal(o, &v.report, speaks_utf8());
		return EXIT_WORKED;
	}
	buf_init(&b, REPORT_MAX);
	if (!strcmp(format, "html"))
		report_html(&b, &v.report);
	else
		report_markdown(&b, &v.report);
	if (!buf_failed(&b))
		out_raw(o, buf_slice(&b));
	else
		rc = cli_fail(c, "ask for one use case: --use-case USE_CASE", "the report is larger than %zu MiB",
			      REPORT_MAX >> 20);
	buf_release(&b);
	return rc;
}

static int put_file(struct cli *c, const struct answer *a, const char *path)
{
	FILE *f = fopen(path, "we");
	struct out o;
	int rc;

	if (!f)
		return cli_fail(c, NULL, "cannot write %s: %s", path, strerror(errno));
	o = (struct out){.to = f};
	rc = put(c, &o, a, format_of(c, path));
	if (!out_finish(&o) && !rc)
		rc = cli_fail(c, NULL, "cannot write %s: %s", path, strerror(errno));
	if (fclose(f) && !rc)
		rc = cli_fail(c, NULL, "cannot write %s: %s", path, strerror(errno));
	if (!rc)
		out_printf(&c->out, "written: %s\n", path);
	return rc;
}

int review_run(struct cli *c)
{
	const char *file = args_get(&c->args, "output");
	struct answer a;
	struct path p;
	int rc;

	path_init(c, &p, "/api/v1/review");
	path_option(c, &p, "window", "window");
	path_option(c, &p, "use-case", "use_case");
	path_option(c, &p, "until", "until");
	rc = cli_get(c, &p, &a);
	if (rc)
		return rc;
	return file && strcmp(file, "-") != 0 ? put_file(c, &a, file) : put(c, &c->out, &a, format_of(c, NULL));
}
