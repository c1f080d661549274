/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces that the verbs print with: times, names, ids, lines of facts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/cli/cli_internal.h"
#include "core/base/clock.h"

#define SHORT_ID 18

struct slice cli_printf(struct cli *c, const char *fmt, ...)
{
	struct buf b;
	va_list ap;

	buf_init_arena(&b, &c->arena, CLI_MAX_BODY / 16);
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	return buf_failed(&b) ? SLICE_LIT("") : (struct slice){buf_cstr(&b), b.n};
}

struct slice cli_ago(struct cli *c, int64_t at_us)
{
	char text[CLOCK_ISO_SIZE];

	return at_us ? cli_printf(c, "%s", clock_ago(c->now_us - at_us, text)) : SLICE_LIT("-");
}

struct slice cli_local(struct cli *c, int64_t at_us)
{
	time_t s = (time_t)(at_us / 1000000);
	struct tm tm;
	char text[40];

	if (!at_us || !localtime_r(&s, &tm) || !strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm))
		return SLICE_LIT("-");
	return cli_printf(c, "%s", text);
}

struct slice model_full_name(struct cli *c, const struct json *model)
{
	struct slice name = json_text(model, "model_name"), version = json_text(model, "version");

	return cli_printf(c, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(name), SLICE_ARG(version));
}

enum style status_style(struct slice status)
{
	static const struct {
		const char *status;
		enum style style;
	} known[] = {
		{"current", STYLE_GOOD}, {"ok", STYLE_GOOD},	    {"ready", STYLE_GOOD},    {"live", STYLE_GOOD},
		{"allow", STYLE_GOOD},	 {"testing", STYLE_WARN},   {"degraded", STYLE_WARN}, {"flag", STYLE_WARN},
		{"mask", STYLE_WARN},	 {"truncated", STYLE_WARN}, {"medium", STYLE_WARN},   {"fallback", STYLE_WARN},
		{"error", STYLE_BAD},	 {"blocked", STYLE_BAD},    {"failed", STYLE_BAD},    {"block", STYLE_BAD},
		{"timeout", STYLE_BAD},	 {"not ready", STYLE_BAD},  {"high", STYLE_BAD},      {"critical", STYLE_BAD},
		{"archived", STYLE_DIM}, {"deprecated", STYLE_DIM},
	};

	for (size_t i = 0; i < COUNT_OF(known); i++) {
		if (slice_eq_str(status, known[i].status))
			return known[i].style;
	}
	return STYLE_PLAIN;
}

struct slice short_id(struct cli *c, struct slice id)
{
	return c->out.columns && id.n == 36 ? slice_sub(id, 0, SHORT_ID) : id;
}

void facts_add(struct facts *f, const char *name, struct slice value, enum style style)
{
	if (f->n + 2 > COUNT_OF(f->cells))
		return;
	f->cells[f->n++] = (struct cell){slice_from(name), STYLE_DIM};
	f->cells[f->n++] = (struct cell){value, style};
}

void facts_member(struct cli *c, struct facts *f, const struct json *obj, const char *member, const char *name)
{
	const struct json *v = json_get(obj, member);

	(void)c;
	if (v && v->type != JSON_NULL && (v->type != JSON_STRING || v->str.n))
		facts_add(f, name, json_line(v), STYLE_PLAIN);
}

void facts_print(struct cli *c, struct facts *f)
{
	static const struct column columns[2] = {{NULL}, {NULL}};

	out_table(&c->out, columns, 2, f->cells, f->n / 2);
}

void cli_more(struct cli *c, const struct answer *a)
{
	const struct json *more = json_get(a->root, "has_more");
	struct slice next = json_text(a->root, "next");

	if (!more || more->type != JSON_BOOL || !more->boolean || !next.n)
		return;
	out_flush(&c->out);
	out_printf(&c->err, "more: --before " SLICE_FMT "   (or a larger --limit)\n", SLICE_ARG(next));
}

bool rows_init(struct cli *c, struct rows *r, size_t n_columns, size_t max)
{
	*r = (struct rows){.n_columns = n_columns, .max = max};
	r->cells = ARENA_ARRAY(&c->arena, struct cell, n_columns * (max ? max : 1));
	return r->cells != NULL;
}

struct cell *rows_next(struct rows *r)
{
	return r->n_rows < r->max ? &r->cells[r->n_columns * r->n_rows++] : NULL;
}

int cli_list(struct cli *c, struct path *p, const struct listing *l, struct answer *ret)
{
	struct answer a = {0};
	struct rows r;
	const struct json *list;
	int rc = cli_get(c, p, &a);

	if (ret)
		*ret = a;
	if (rc)
		return rc;
	if (c->json)
		return cli_print_json(c, &a);
	list = json_get(a.root, "data");
	if (!rows_init(c, &r, l->n_columns, list ? list->n_items : 0))
		return cli_fail(c, NULL, "the list is too long");
	for (const struct json *item = json_items(&a, "data"); item; item = item->next)
		l->fill(c, item, rows_next(&r));
	if (!r.n_rows)
		out_printf(&c->err, "%s\n", l->none);
	else
		out_table(&c->out, l->columns, l->n_columns, r.cells, r.n_rows);
	cli_more(c, &a);
	return EXIT_WORKED;
}
