/* SPDX-License-Identifier: Apache-2.0 */
/* muster log ...: the historical log. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/cli/cli_internal.h"

#define LOGS "/api/v1/logs"
#define POLL_MS 1000
#define COST 8 /* its column */

/* The last one is there when a price is known. */
static const struct column columns[] = {{"WHEN"},
					{"LOG", .min_width = 18},
					{"USE CASE", .min_width = 10},
					{"MODEL", .min_width = 10},
					{"STATUS"},
					{"TOKENS", .right = true},
					{"MS", .right = true},
					{"", .min_width = 8},
					{"COST", .right = true}};

static void filters(struct cli *c, struct path *p)
{
	path_option(c, p, "use-case", "use_case");
	path_option(c, p, "model", "model");
	path_option(c, p, "status", "status");
	path_option(c, p, "since", "since");
	path_option(c, p, "until", "until");
	if (args_has(&c->args, "text"))
		path_query(p, "text", "true");
}

/* What is worth a word: a fallback, a guardrail that did something, an application's record. */
static struct slice note(struct cli *c, const struct json *l)
{
	const struct json *guard = json_get(l, "guardrail"), *cached = json_get(l, "cached");
	struct slice fallback = json_text(l, "fallback"), action = json_text(guard, "action");
	bool has_fallback = fallback.n && !slice_eq_str(fallback, "none"),
	     acted = action.n && !slice_eq_str(action, "allow");
	const char *source = slice_eq_str(json_text(l, "source"), "application") ? "reported" : "";

	if (has_fallback && acted)
		return cli_printf(c, "fallback, " SLICE_FMT, SLICE_ARG(action));
	if (has_fallback) /* which one, the model says: none is the fallback content */
		return SLICE_LIT("fallback");
	if (cached && cached->type == JSON_BOOL && cached->boolean)
		return acted ? cli_printf(c, "cached, " SLICE_FMT, SLICE_ARG(action)) : SLICE_LIT("cached");
	return acted ? action : slice_from(source);
}

static bool has_cost(const struct json *l)
{
	const struct json *v = json_get(l, "cost");

	return v && v->type == JSON_NUMBER;
}

static struct slice cost(struct cli *c, const struct json *l)
{
	return has_cost(l) ? cli_printf(c, SLICE_FMT " " SLICE_FMT, SLICE_ARG(json_get(l, "cost")->raw),
					SLICE_ARG(json_text(l, "currency")))
			   : SLICE_LIT("");
}

static void row(struct cli *c, struct cell *cell, const struct json *l, struct slice when)
{
	const struct json *usage = json_get(l, "usage");
	int64_t tokens = json_integer(usage, "completion_tokens", -1), ms = json_integer(l, "latency_ms", -1);
	struct slice status = json_text(l, "status"), model = json_text(l, "model_name");

	cell[0].text = when;
	cell[1].text = short_id(c, json_text(l, "log_id"));
	cell[2].text = json_text(l, "use_case");
	cell[3].text = model.n ? model : short_id(c, json_text(l, "model_id"));
	if (!cell[3].text.n)
		cell[3].text = SLICE_LIT("-");
	cell[4] = (struct cell){status, status_style(status)};
	cell[5].text = tokens < 0 ? SLICE_LIT("-") : cli_printf(c, "%lld", (long long)tokens);
	cell[6].text = ms < 0 ? SLICE_LIT("-") : cli_printf(c, "%lld", (long long)ms);
	cell[7].text = note(c, l);
}

/* A line for each: what it calls, with which arguments. */
static void print_calls(struct cli *c, const struct json *calls)
{
	if (!calls || calls->type != JSON_ARRAY || !calls->first)
		return;
	out_styled(&c->out, STYLE_DIM, SLICE_LIT("tool calls"));
	out_printf(&c->out, "\n");
	for (const struct json *v = calls->first; v; v = v->next) {
		int64_t omitted = json_integer(v, "omitted_bytes", 0);

		out_text(&c->out, json_text(v, "name"));
		out_printf(&c->out, " ");
		out_text(&c->out, json_text(v, "arguments"));
		if (omitted)
			out_printf(&c->out, " (%lld bytes more were left out)", (long long)omitted);
		if (json_text(v, "id").n) {
			out_printf(&c->out, "  ");
			out_styled(&c->out, STYLE_DIM, json_text(v, "id"));
		}
		out_printf(&c->out, "\n");
	}
}

static void print_texts(struct cli *c, const struct json *l)
{
	static const char *const members[] = {"prompt", "context", "output"};

	for (size_t i = 0; i < COUNT_OF(members); i++) {
		struct slice text = json_line(json_get(l, members[i]));

		if (!text.n || slice_eq_str(text, "null") || slice_eq_str(text, "{}"))
			continue;
		out_styled(&c->out, STYLE_DIM, slice_from(members[i]));
		out_printf(&c->out, "\n");
		out_text(&c->out, text);
		out_printf(&c->out, "%s", text.p[text.n - 1] == '\n' ? "" : "\n");
	}
	print_calls(c, json_get(l, "tool_calls"));
}

int log_list_run(struct cli *c)
{
	const struct json *list;
	bool priced = false;
	size_t n_columns;
	struct answer a;
	struct rows r;
	struct path p;
	int rc;

	path_init(c, &p, LOGS);
	filters(c, &p);
	path_option(c, &p, "limit", "limit");
	path_option(c, &p, "before", "before");
	rc = cli_get(c, &p, &a);
	if (rc)
		return rc;
	if (c->json)
		return cli_print_json(c, &a);
	list = json_get(a.root, "data");
	for (const struct json *l = json_items(&a, "data"); l; l = l->next)
		priced |= has_cost(l);
	n_columns = COUNT_OF(columns) - !priced;
	if (!rows_init(c, &r, n_columns, list ? list->n_items : 0))
		return cli_fail(c, NULL, "the list is too long");
	for (const struct json *l = json_items(&a, "data"); l; l = l->next) {
		struct cell *cell = rows_next(&r);

		row(c, cell, l, cli_ago(c, json_time(l, "created_at")));
		if (priced)
			cell[COST].text = cost(c, l);
	}
	if (!r.n_rows)
		out_printf(&c->err, "no record matches\n");
	else
		out_table(&c->out, columns, n_columns, r.cells, r.n_rows);
	cli_more(c, &a);
	return EXIT_WORKED;
}

static void print_record(struct cli *c, const struct json *record)
{
	static const char *const members[][2] = {{"log_id", "log"},
						 {"request_id", "request"},
						 {"use_case", "use case"},
						 {"model_name", "model"},
						 {"model_id", "model id"},
						 {"provider", "provider"},
						 {"caller", "caller"},
						 {"source", "source"},
						 {"status", "status"},
						 {"http_status", "http status"},
						 {"error", "error"},
						 {"fallback", "fallback"},
						 {"finish_reason", "finish"},
						 {"usage", "usage"},
						 {"latency_ms", "latency ms"},
						 {"first_token_ms", "first token ms"},
						 {"stream", "stream"},
						 {"cached", "cached"},
						 {"parameters", "parameters"},
						 {"attempts", "attempts"},
						 {"guardrail", "guardrail"}};
	struct facts f = {.n = 0};

	facts_add(&f, "when", cli_local(c, json_time(record, "created_at")), STYLE_PLAIN);
	for (size_t i = 0; i < COUNT_OF(members); i++)
		facts_member(c, &f, record, members[i][0], members[i][1]);
	if (has_cost(record))
		facts_add(&f, "cost", cost(c, record), STYLE_PLAIN);
	facts_print(c, &f);
	if (json_time(record, "content_removed_at"))
		out_printf(&c->out,
			   "prompt, context, output and tool calls were removed by retention, on " SLICE_FMT "\n",
			   SLICE_ARG(cli_local(c, json_time(record, "content_removed_at"))));
	if (json_text(record, "content_error").n)
		out_printf(&c->out, SLICE_FMT "\n", SLICE_ARG(json_text(record, "content_error")));
	print_texts(c, record);
}

int log_show_run(struct cli *c)
{
	return cli_show(c, LOGS, print_record);
}

/* --- tail --- */

/* Widths are fixed: rows come one by one. */
static void tail_print(struct cli *c, const struct json *l)
{
	static const size_t widths[] = {8, 18, 18, 18, 8, 6, 6, 8};
	struct cell cell[COUNT_OF(columns)] = {{{0}, STYLE_PLAIN}};
	size_t n = COUNT_OF(columns) - !has_cost(l);
	struct slice when = cli_local(c, json_time(l, "created_at"));

	if (c->json) {
		out_raw(&c->out, l->raw);
		out_printf(&c->out, "\n");
		return;
	}
	row(c, cell, l, slice_sub(when, when.n > 8 ? when.n - 8 : 0, 8));
	cell[COST].text = cost(c, l);
	for (size_t i = 0; i < n; i++) {
		size_t width = i + 1 < n ? widths[i] : 0, have = text_width(cell[i].text);
		size_t pad = have < width ? width - have : 0;

		if (columns[i].right)
			out_pad(&c->out, pad);
		out_styled(&c->out, cell[i].style, cell[i].text);
		out_pad(&c->out, (columns[i].right ? 0 : pad) + (i + 1 < n ? 2 : 0));
	}
	out_printf(&c->out, "\n");
	if (args_has(&c->args, "text"))
		print_texts(c, l);
}

/*
 * The newest record by id is where following begins, and others of the first page may have come into the database
 * behind it: those were printed.
 */
struct tail {
	char after[64];
	char (*printed)[64]; /* the first page */
	size_t n_printed;
};

static bool was_printed(const struct tail *t, struct slice id)
{
	for (size_t i = 0; i < t->n_printed; i++) {
		if (slice_eq_str(id, t->printed[i]))
			return true;
	}
	return false;
}

/* Prints what came after the record t->after, and moves it on.  ret_n: how many. */
static int tail_step(struct cli *c, struct tail *t, size_t *ret_n)
{
	struct answer a;
	struct path p;
	int rc;

	*ret_n = 0;
	path_init(c, &p, LOGS);
	filters(c, &p);
	path_query(&p, "limit", "200");
	path_query(&p, "after", t->after);
	rc = cli_get(c, &p, &a);
	if (rc)
		return rc;
	for (const struct json *l = json_items(&a, "data"); l; l = l->next) {
		struct slice id = json_text(l, "log_id");

		if (!was_printed(t, id))
			tail_print(c, l);
		if (id.n && id.n < sizeof(t->after)) {
			snprintf(t->after, sizeof(t->after), SLICE_FMT, SLICE_ARG(id));
			++*ret_n;
		}
	}
	out_flush(&c->out);
	return 0;
}

/* The newest records, oldest first; leaves the newest id in t->after. */
static int tail_start(struct cli *c, struct tail *t)
{
	const struct json *list, **items;
	struct answer a;
	struct path p;
	size_t n = 0;
	int rc;

	path_init(c, &p, LOGS);
	filters(c, &p);
	path_query(&p, "limit", args_has(&c->args, "limit") ? args_get(&c->args, "limit") : "10");
	rc = cli_get(c, &p, &a);
	if (rc)
		return rc;
	list = json_get(a.root, "data");
	items = ARENA_ARRAY(&c->arena, const struct json *, (list ? list->n_items : 0) + 1u);
	for (const struct json *l = json_items(&a, "data"); items && l; l = l->next)
		items[n++] = l;
	t->printed = calloc(n + 1, sizeof(*t->printed));
	if (!t->printed)
		abort();
	for (t->n_printed = 0; t->n_printed < n; t->n_printed++)
		snprintf(t->printed[t->n_printed], sizeof(t->printed[0]), SLICE_FMT,
			 SLICE_ARG(slice_sub(json_text(items[t->n_printed], "log_id"), 0, 63)));
	if (n)
		memcpy(t->after, t->printed[0], sizeof(t->after));
	while (n)
		tail_print(c, items[--n]);
	out_flush(&c->out);
	return 0;
}

int log_tail_run(struct cli *c)
{
	static const struct timespec pause = {POLL_MS / 1000, (POLL_MS % 1000) * 1000000L};
	struct tail t = {.after = "00000000-0000-0000-0000-000000000000"};
	int rc = tail_start(c, &t);
	size_t n;

	while (rc == 0 && !ferror(c->out.to)) {
		cli_forget(c);
		rc = tail_step(c, &t, &n);
		if (rc == 0 && n == 0)
			nanosleep(&pause, NULL);
	}
	free(t.printed);
	return rc ? rc : EXIT_FAILED;
}
