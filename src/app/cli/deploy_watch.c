/* SPDX-License-Identifier: Apache-2.0 */
/*
 * muster deploy watch: one deployment until its end.  On a terminal the same lines are drawn again; elsewhere there is
 * a line for each change, or with --json a document.
 */
#include <time.h>

#include "app/cli/deploy.h"
#include "core/base/clock.h"

#define EVERY_MS 1000
#define BAR 30

struct watch {
	char id[64];
	size_t n_lines; /* drawn last, on a terminal */
	char last[200];
};

static void wait_a_little(void)
{
	const struct timespec t = {EVERY_MS / 1000, (EVERY_MS % 1000) * 1000000L};

	(void)nanosleep(&t, NULL); /* interrupted: looked at sooner */
}

/* The one that is named, or the only one under way. */
static int find(struct cli *c, struct watch *w)
{
	const struct json *first;
	struct answer a;
	struct path p;
	int rc;

	path_init(c, &p, "/api/v1/deployments");
	if (c->args.n_operands)
		path_add(&p, "/", c->args.operands[0]);
	else
		path_query(&p, "active", "true");
	rc = cli_get(c, &p, &a);
	if (rc)
		return rc;
	first = c->args.n_operands ? a.root : json_items(&a, "data");
	if (!first)
		return cli_fail(c, "start one: muster deploy start --help", "no deployment is under way");
	if (!c->args.n_operands && first->next)
		return cli_usage(c, "muster deploy status --active", "several deployments are under way: say which");
	(void)snprintf(w->id, sizeof(w->id), SLICE_FMT, SLICE_ARG(slice_sub(json_text(first, "deployment_id"), 0, 63)));
	return 0;
}

static struct slice left_of(struct cli *c, int64_t until_us)
{
	int64_t left = (until_us - clock_wall_us() + 999999) / 1000000;

	return left > 0 ? cli_printf(c, "%lld:%02lld left", (long long)(left / 60), (long long)(left % 60))
			: SLICE_LIT("due");
}

static struct slice bar(struct cli *c, int64_t share)
{
	int64_t full = share * BAR / 100;
	struct buf b;

	buf_init_arena(&b, &c->arena, (size_t)BAR * 4);
	for (int64_t i = 0; i < BAR; i++)
		buf_adds(&b, i < full ? "█" : "░");
	return buf_slice(&b);
}

static struct slice step_text(struct cli *c, const struct json *d)
{
	int64_t until = json_time(d, "deadline");
	struct slice at = cli_local(c, until);

	if (json_time(d, "finished_at"))
		return json_text(d, "state");
	return cli_printf(c, "step %lld of %lld, " SLICE_FMT " until " SLICE_FMT " (" SLICE_FMT ")",
			  (long long)json_integer(d, "step", 0), (long long)deploy_n_steps(d),
			  SLICE_ARG(slice_eq_str(json_text(d, "state"), "progressing") ? SLICE_LIT("holds")
										       : json_text(d, "state")),
			  SLICE_ARG(slice_sub(at, at.n > 8 ? at.n - 8 : 0, 8)), SLICE_ARG(left_of(c, until)));
}

static void draw(struct cli *c, struct watch *w, const struct json *d)
{
	const struct json *now = json_get(d, "now");
	struct slice from = json_text(d, "previous_model");

	if (w->n_lines)
		out_printf(&c->out, "\033[%zuA\033[J", w->n_lines);
	out_printf(&c->out, "\033[?7l"); /* a line that is too long is cut: it is one line to go back over */
	out_text(&c->out, json_text(d, "use_case"));
	out_printf(&c->out,
		   "   " SLICE_FMT " -> " SLICE_FMT "   " SLICE_FMT "   " SLICE_FMT "   started " SLICE_FMT " ago\n\n",
		   SLICE_ARG(from.n ? from : SLICE_LIT("none")), SLICE_ARG(json_text(d, "model")),
		   SLICE_ARG(json_text(d, "strategy")), SLICE_ARG(slice_sub(json_text(d, "deployment_id"), 0, 8)),
		   SLICE_ARG(cli_ago(c, json_time(d, "created_at"))));
	out_printf(&c->out, "  share   " SLICE_FMT "  " SLICE_FMT "    ",
		   SLICE_ARG(bar(c, json_integer(d, "share", 0))), SLICE_ARG(deploy_share(c, d)));
	out_styled(&c->out, deploy_style(json_text(d, "state")), step_text(c, d));
	out_printf(&c->out, "\n");
	w->n_lines = 3;
	if (!now || now->type != JSON_OBJECT)
		now = json_get(d, "evidence");
	w->n_lines += deploy_print_judgement(c, now);
	out_printf(&c->out, "  %lld requests of this step, %lld are asked for; " SLICE_FMT "\n",
		   (long long)json_integer(now, "samples", 0), (long long)json_integer(now, "min_samples", 0),
		   SLICE_ARG(json_text(d, "next")));
	out_printf(&c->out, "\033[?7h");
	w->n_lines++;
}

/* A line when something else than the clock has changed. */
static void tell(struct cli *c, struct watch *w, const struct json *d)
{
	char text[sizeof(w->last)];
	struct slice when = cli_local(c, clock_wall_us());

	(void)snprintf(text, sizeof(text), SLICE_FMT "  %lld %%  step %lld of %lld  " SLICE_FMT,
		       SLICE_ARG(json_text(d, "state")), (long long)json_integer(d, "share", 0),
		       (long long)json_integer(d, "step", 0), (long long)deploy_n_steps(d),
		       SLICE_ARG(json_text(json_get(d, "now"), "verdict")));
	if (!strcmp(text, w->last))
		return;
	memcpy(w->last, text, sizeof(text));
	if (c->json) {
		out_raw(&c->out, d->raw);
		out_printf(&c->out, "\n");
		return;
	}
	out_printf(&c->out, SLICE_FMT "  ", SLICE_ARG(slice_sub(when, when.n > 8 ? when.n - 8 : 0, 8)));
	out_text(&c->out, json_text(d, "use_case"));
	out_printf(&c->out, "  %s  " SLICE_FMT "\n", text, SLICE_ARG(json_text(d, "next")));
}

static int finished(struct cli *c, const struct json *d)
{
	struct slice why = json_text(d, "rollback_reason");
	bool good = slice_eq_str(json_text(d, "state"), "succeeded");

	if (!c->json && why.n) {
		out_printf(&c->out, "rolled back: ");
		out_text(&c->out, why);
		out_printf(&c->out, "\n        evidence: muster deploy show " SLICE_FMT "\n",
			   SLICE_ARG(json_text(d, "deployment_id")));
	}
	return good ? EXIT_WORKED : EXIT_FAILED;
}

int deploy_watch_run(struct cli *c)
{
	struct watch w = {.n_lines = 0};
	struct answer a;
	struct path p;
	int rc = find(c, &w);

	while (!rc) {
		c->now_us = clock_wall_us();
		path_init(c, &p, "/api/v1/deployments");
		path_add(&p, "/", w.id);
		rc = cli_get(c, &p, &a);
		if (rc)
			return rc;
		if (c->out.terminal && !c->json)
			draw(c, &w, a.root);
		else
			tell(c, &w, a.root);
		if (json_time(a.root, "finished_at"))
			return finished(c, a.root);
		out_flush(&c->out);
		cli_forget(c);
		wait_a_little();
	}
	return rc;
}
