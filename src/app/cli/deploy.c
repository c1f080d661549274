/* SPDX-License-Identifier: Apache-2.0 */
/* muster deploy ...: moving a use case from one model to the next. deploy_watch.c has the view that follows one. */
#include "app/cli/deploy.h"

#include "core/base/clock.h"

#define DEPLOYMENTS "/api/v1/deployments"

struct slice deploy_share(struct cli *c, const struct json *d)
{
	return cli_printf(c, "%lld %%", (long long)json_integer(d, "share", 0));
}

int64_t deploy_n_steps(const struct json *d)
{
	const struct json *steps = json_get(json_get(d, "plan"), "steps");

	return steps && steps->type == JSON_ARRAY ? (int64_t)steps->n_items : 0;
}

enum style deploy_style(struct slice word)
{
	static const struct {
		const char *word;
		enum style style;
	} known[] = {{"succeeded", STYLE_GOOD}, {"progressing", STYLE_GOOD}, {"pass", STYLE_GOOD},
		     {"waiting", STYLE_WARN},	{"paused", STYLE_WARN},	     {"inconclusive", STYLE_WARN},
		     {"aborted", STYLE_BAD},	{"rolled_back", STYLE_BAD},  {"fail", STYLE_BAD}};

	for (size_t i = 0; i < COUNT_OF(known); i++)
		if (slice_eq_str(word, known[i].word))
			return known[i].style;
	return STYLE_PLAIN;
}

/* --- start --- */

/* "10,25,100": a list of numbers, which the daemon judges. */
static int write_steps(struct cli *c, struct json_writer *w)
{
	struct slice rest = slice_from(args_get(&c->args, "steps")), word;

	if (!rest.p)
		return 0;
	jw_key(w, "steps");
	jw_array(w);
	while (slice_split(&rest, ',', &word)) {
		uint64_t v;

		if (slice_to_u64(slice_trim(word), &v) || v > 100)
			return cli_usage(c, "write percentages: --steps 10,25,50,75,100",
					 "--steps: '" SLICE_FMT "' is no percentage",
					 SLICE_ARG(slice_sub(word, 0, 40)));
		jw_i64(w, (int64_t)v);
	}
	jw_array_end(w);
	return 0;
}

static void write_durations(struct cli *c, struct json_writer *w)
{
	static const char *const names[][2] = {{"hold", "hold"}, {"max-wait", "max_wait"}, {"max-pause", "max_pause"}};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (args_has(&c->args, names[i][0]))
			jw_ki64(w, names[i][1], args_duration_ms(&c->args, names[i][0], 0));
}

/* Rates are percentages to people. */
static void write_thresholds(struct cli *c, struct json_writer *w)
{
	static const struct {
		const char *option, *name;
		double scale;
	} numbers[] = {{"max-error-rate", "error_rate", 0.01},
		       {"max-violation-rate", "violation_rate", 0.01},
		       {"max-latency-ratio", "latency_p95_ratio", 1}};

	jw_key(w, "thresholds");
	jw_object(w);
	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		if (args_has(&c->args, numbers[i].option))
			jw_kdouble(w, numbers[i].name, args_number(&c->args, numbers[i].option, 0) * numbers[i].scale);
	if (args_has(&c->args, "max-latency"))
		jw_ki64(w, "latency_p95_ms", args_duration_ms(&c->args, "max-latency", 0));
	if (args_has(&c->args, "min-samples"))
		jw_ki64(w, "min_samples", args_integer(&c->args, "min-samples", 0));
	jw_object_end(w);
}

static void print_started(struct cli *c, const struct json *d)
{
	struct slice use_case = json_text(d, "use_case"), model = json_text(d, "model");

	out_text(&c->out, model);
	if (slice_eq_str(json_text(d, "state"), "succeeded")) {
		out_printf(&c->out, " is current for " SLICE_FMT "\n", SLICE_ARG(use_case));
		out_printf(&c->out, "        back: muster rollback " SLICE_FMT " --why \"...\"\n", SLICE_ARG(use_case));
		return;
	}
	out_printf(&c->out, " serves " SLICE_FMT " of " SLICE_FMT ", then " SLICE_FMT "\n",
		   SLICE_ARG(deploy_share(c, d)), SLICE_ARG(use_case), SLICE_ARG(json_text(d, "next")));
	out_printf(&c->out,
		   "        watch: muster deploy watch " SLICE_FMT "\n        back: muster rollback " SLICE_FMT
		   " --why \"...\"\n",
		   SLICE_ARG(use_case), SLICE_ARG(use_case));
}

int deploy_start_run(struct cli *c)
{
	struct json_writer w;
	struct path p;
	struct buf body;
	int rc;

	body_init(c, &body, &w);
	body_option(c, &w, "use-case", "use_case");
	body_option(c, &w, "model", "model");
	body_option(c, &w, "strategy", "strategy");
	body_option(c, &w, "why", "reason");
	rc = write_steps(c, &w);
	if (rc)
		return rc;
	write_durations(c, &w);
	write_thresholds(c, &w);
	body_end(&w);
	path_init(c, &p, DEPLOYMENTS);
	return cli_call(c, "POST", &p, &body, print_started);
}

/* --- pause, resume, promote, abort --- */

static void print_state(struct cli *c, const struct json *d)
{
	out_text(&c->out, json_text(d, "use_case"));
	out_printf(&c->out, ": " SLICE_FMT " at " SLICE_FMT "   ", SLICE_ARG(json_text(d, "state")),
		   SLICE_ARG(deploy_share(c, d)));
	out_text(&c->out, json_text(d, "next"));
	out_printf(&c->out, "\n");
}

static int tell(struct cli *c, const char *what)
{
	struct json_writer w;
	struct path p;
	struct buf body;

	body_init(c, &body, &w);
	body_option(c, &w, "why", "reason");
	body_end(&w);
	path_init(c, &p, DEPLOYMENTS);
	path_add(&p, "/", c->args.operands[0]);
	path_add(&p, "/", what);
	return cli_call(c, "POST", &p, &body, print_state);
}

int deploy_pause_run(struct cli *c)
{
	return tell(c, "pause");
}

int deploy_resume_run(struct cli *c)
{
	return tell(c, "resume");
}

int deploy_promote_run(struct cli *c)
{
	return tell(c, "promote");
}

int deploy_abort_run(struct cli *c)
{
	return tell(c, "abort");
}

/* --- status and show --- */

static const struct column columns[] = {{"USE CASE", .min_width = 10},
					{"FROM", .min_width = 10},
					{"TO", .min_width = 10},
					{"STRATEGY"},
					{"STATE"},
					{"SHARE", .right = true},
					{"SINCE"},
					{"", .min_width = 12}};

static void status_row(struct cli *c, struct rows *r, const struct json *d)
{
	struct cell *cell = rows_next(r);
	struct slice state = json_text(d, "state"), from = json_text(d, "previous_model");
	struct slice why = json_text(d, "rollback_reason");

	if (!cell)
		return;
	cell[0].text = json_text(d, "use_case");
	cell[1].text = from.n ? from : SLICE_LIT("-");
	cell[2].text = json_text(d, "model");
	cell[3].text = json_text(d, "strategy");
	cell[4] = (struct cell){state, deploy_style(state)};
	cell[5].text = deploy_share(c, d);
	cell[6].text = cli_ago(c, json_time(d, "since"));
	cell[7].text = why.n ? why : json_time(d, "finished_at") ? SLICE_LIT("") : json_text(d, "next");
}

int deploy_status_run(struct cli *c)
{
	struct answer a;
	struct path p;
	struct rows r;
	int rc;

	path_init(c, &p, DEPLOYMENTS);
	path_option(c, &p, "use-case", "use_case");
	path_option(c, &p, "before", "before");
	path_query(&p, "limit", args_has(&c->args, "limit") ? args_get(&c->args, "limit") : "20");
	if (args_has(&c->args, "active"))
		path_query(&p, "active", "true");
	rc = cli_get(c, &p, &a);
	if (rc)
		return rc;
	if (c->json)
		return cli_print_json(c, &a);
	if (!json_items(&a, "data")) {
		out_printf(&c->err, "no deployment%s\n        muster deploy start --help   shows how\n",
			   args_has(&c->args, "active") ? " is under way" : " yet");
		return EXIT_WORKED;
	}
	if (!rows_init(c, &r, COUNT_OF(columns), json_get(a.root, "data")->n_items))
		return cli_fail(c, NULL, "the list is too long");
	for (const struct json *d = json_items(&a, "data"); d; d = d->next)
		status_row(c, &r, d);
	out_table(&c->out, columns, COUNT_OF(columns), r.cells, r.n_rows);
	cli_more(c, &a);
	return EXIT_WORKED;
}

/* --- what was measured --- */

static struct slice value(struct cli *c, const struct json *row, const char *member)
{
	const struct json *v = json_get(row, member);
	bool is_time = slice_eq_str(json_text(row, "metric"), "latency_p95_ms");

	if (!v || v->type != JSON_NUMBER)
		return SLICE_LIT("-");
	return is_time ? cli_printf(c, "%.0f ms", v->number) : cli_printf(c, "%.2f %%", v->number * 100);
}

size_t deploy_print_judgement(struct cli *c, const struct json *judgement)
{
	static const struct column heads[] = {{"  "},
					      {"current", .right = true},
					      {"candidate", .right = true},
					      {"limit", .right = true},
					      {"verdict"}};
	static const char *const names[][2] = {{"error_rate", "  error rate"},
					       {"latency_p95_ms", "  latency p95"},
					       {"violation_rate", "  guardrail violations"}};
	const struct json *metrics = json_get(judgement, "metrics");
	struct rows r;

	if (!metrics || metrics->type != JSON_ARRAY || !rows_init(c, &r, COUNT_OF(heads), metrics->n_items))
		return 0;
	for (const struct json *m = metrics->first; m; m = m->next) {
		struct cell *cell = rows_next(&r);
		struct slice verdict = json_text(m, "verdict");

		if (!cell)
			break;
		cell[0].text = json_text(m, "metric");
		for (size_t i = 0; i < COUNT_OF(names); i++)
			if (slice_eq_str(cell[0].text, names[i][0]))
				cell[0].text = slice_from(names[i][1]);
		cell[1].text = value(c, m, "current");
		cell[2].text = value(c, m, "candidate");
		cell[3].text = value(c, m, "limit");
		cell[4] = (struct cell){slice_eq_str(verdict, "not_judged") ? SLICE_LIT("-") : verdict,
					deploy_style(verdict)};
	}
	out_table(&c->out, heads, COUNT_OF(heads), r.cells, r.n_rows);
	return r.n_rows + 1;
}

static void print_deployment(struct cli *c, const struct json *d)
{
	static const char *const members[][2] = {{"deployment_id", "id"},
						 {"strategy", "strategy"},
						 {"rollback_reason", "rolled back for"},
						 {"snapshot_id", "snapshot"},
						 {"actor", "started by"},
						 {"reason", "reason"},
						 {"plan", "plan"}};
	struct slice state = json_text(d, "state"), from = json_text(d, "previous_model");
	const struct json *evidence = json_get(d, "evidence"), *now = json_get(d, "now");
	struct facts f = {.n = 0};

	facts_add(&f, "use case", json_text(d, "use_case"), STYLE_BOLD);
	facts_add(&f, "models",
		  cli_printf(c, SLICE_FMT " -> " SLICE_FMT, SLICE_ARG(from.n ? from : SLICE_LIT("none")),
			     SLICE_ARG(json_text(d, "model"))),
		  STYLE_PLAIN);
	facts_add(&f, "state",
		  cli_printf(c, SLICE_FMT " for " SLICE_FMT ", step %lld of %lld, " SLICE_FMT, SLICE_ARG(state),
			     SLICE_ARG(cli_ago(c, json_time(d, "since"))), (long long)json_integer(d, "step", 0),
			     (long long)deploy_n_steps(d), SLICE_ARG(deploy_share(c, d))),
		  deploy_style(state));
	facts_add(&f, "next", json_text(d, "next"), STYLE_PLAIN);
	for (size_t i = 0; i < COUNT_OF(members); i++)
		facts_member(c, &f, d, members[i][0], members[i][1]);
	facts_add(&f, "started", cli_local(c, json_time(d, "created_at")), STYLE_PLAIN);
	if (json_time(d, "finished_at"))
		facts_add(&f, "finished", cli_local(c, json_time(d, "finished_at")), STYLE_PLAIN);
	facts_print(c, &f);
	if (now && now->type == JSON_OBJECT)
		evidence = now;
	if (evidence && evidence->type == JSON_OBJECT) {
		out_printf(&c->out, "\n%s, over %lld requests\n",
			   evidence == now ? "this step" : "what it was decided on",
			   (long long)json_integer(evidence, "samples", 0));
		(void)deploy_print_judgement(c, evidence);
	}
}

int deploy_show_run(struct cli *c)
{
	return cli_show(c, DEPLOYMENTS, print_deployment);
}
