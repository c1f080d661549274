/* SPDX-License-Identifier: Apache-2.0 */
/* muster health, muster version. */
#include <time.h>

#include "app/cli/cli_internal.h"
#include "core/base/clock.h"

#define WAIT_STEP_MS 50
#define FIGURES_MAX ((size_t)4096)
#define EVIDENCE_INDENT 16

static const struct column part_columns[] = {{"PART"}, {"STATE"}, {"SINCE"}, {"DETAIL", .min_width = 20}};

static void print_parts(struct cli *c, const struct json *parts)
{
	struct rows r;

	if (!parts || parts->type != JSON_OBJECT || !rows_init(c, &r, COUNT_OF(part_columns), parts->n_items))
		return;
	for (const struct json *v = parts->first; v; v = v->next) {
		struct cell *cell = rows_next(&r);
		struct slice state = json_text(v, "state");

		cell[0].text = v->key;
		cell[1] = (struct cell){state, status_style(state)};
		cell[2].text = cli_ago(c, json_time(v, "since"));
		cell[3].text = json_text(v, "detail");
	}
	out_table(&c->out, part_columns, COUNT_OF(part_columns), r.cells, r.n_rows);
}

/* "with_current_model": 4 -> "with current model 4"; a time is told as how long ago it was. */
static void add_figure(struct cli *c, struct buf *b, const struct json *f)
{
	struct slice text = f->type == JSON_STRING ? f->str : f->raw;
	int64_t at_us = 0;

	if (f->type == JSON_NULL)
		return;
	if (f->type == JSON_STRING && text.n > 10 && text.p[4] == '-' && !clock_parse(text, c->now_us, &at_us))
		text = cli_ago(c, at_us);
	if (b->n)
		buf_adds(b, ", ");
	for (size_t i = 0; i < f->key.n; i++)
		buf_addc(b, (char)(f->key.p[i] == '_' ? ' ' : f->key.p[i]));
	buf_addc(b, ' ');
	buf_add(b, text);
}

static void print_evidence(struct cli *c, const struct json *part)
{
	const struct json *evidence = json_get(part, "evidence");
	struct buf b;

	if (!evidence || evidence->type != JSON_OBJECT)
		return;
	buf_init_arena(&b, &c->arena, FIGURES_MAX);
	for (const struct json *f = evidence->first; f; f = f->next)
		add_figure(c, &b, f);
	if (!b.n || buf_failed(&b))
		return;
	out_text(&c->out, part->key);
	out_pad(&c->out, part->key.n < EVIDENCE_INDENT ? EVIDENCE_INDENT - part->key.n : 1);
	out_wrapped(&c->out, buf_cstr(&b), EVIDENCE_INDENT, c->out.columns ? c->out.columns : SIZE_MAX);
}

static void print_all_evidence(struct cli *c, const struct json *parts)
{
	if (!parts || parts->type != JSON_OBJECT)
		return;
	out_printf(&c->out, "\n");
	for (const struct json *v = parts->first; v; v = v->next)
		print_evidence(c, v);
}

/* A daemon that is not well answers too, with 503: that answer is the news. */
static int ask(struct cli *c, struct muster_answer *raw, struct muster_error *e)
{
	const struct muster_request r = {.method = "GET", .path = "/health"};
	int rc = muster_send(c->client, &r, raw, e);

	return rc < 0 && (e->result != MUSTER_E_REFUSED || e->http_status != 503) ? -1 : 0;
}

/* Asks until all is well, or the time is over. */
static int ask_until_ok(struct cli *c, struct muster_answer *raw, struct muster_error *e)
{
	int64_t until_ms = clock_mono_ms() + args_duration_ms(&c->args, "wait", 0);
	const struct timespec step = {0, WAIT_STEP_MS * 1000000L};

	for (;;) {
		int rc = ask(c, raw, e);

		if ((!rc && strstr(raw->body, "\"status\":\"ok\"")) || clock_mono_ms() >= until_ms)
			return rc;
		muster_answer_release(raw);
		(void)nanosleep(&step, NULL); /* interrupted: asked sooner */
	}
}

static bool is_well(struct cli *c, struct slice status)
{
	return slice_eq_str(status, "ok") || (slice_eq_str(status, "degraded") && !args_has(&c->args, "wait"));
}

int health_run(struct cli *c)
{
	struct muster_answer raw = {0};
	struct muster_error e;
	struct slice status;
	struct answer a;
	int rc = cli_connect(c);

	if (rc)
		return rc;
	if (ask_until_ok(c, &raw, &e))
		return cli_refused(c, &raw, &e);
	rc = cli_take_answer(c, &raw, &a);
	if (rc)
		return rc;
	status = json_text(a.root, "status");
	rc = is_well(c, status) ? EXIT_WORKED : EXIT_FAILED;
	if (c->json) {
		cli_print_json(c, &a);
		return rc;
	}
	out_styled(&c->out, status_style(status), status);
	out_printf(&c->out, "   muster " SLICE_FMT "   %s   up " SLICE_FMT "\n",
		   SLICE_ARG(json_text(a.root, "version")), muster_url(c->client),
		   SLICE_ARG(cli_ago(c, c->now_us - json_integer(a.root, "uptime_s", 0) * 1000000)));
	print_parts(c, json_get(a.root, "parts"));
	print_all_evidence(c, json_get(a.root, "parts"));
	return rc;
}

int version_run(struct cli *c)
{
	struct json_writer w;
	struct buf b;

	if (!c->json) {
		out_printf(&c->out, "muster " CLI_VERSION "\n");
		return EXIT_WORKED;
	}
	body_init(c, &b, &w);
	jw_kcstr(&w, "version", CLI_VERSION);
	body_end(&w);
	out_printf(&c->out, "%s\n", buf_cstr(&b));
	return EXIT_WORKED;
}
