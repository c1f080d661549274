/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A report as one HTML file.  What would break it: a word of others that is not written by report_html_text, and
 * anything that would be loaded from elsewhere (the policy in its head would refuse it).
 */
#include "app/cli/report.h"
#include "core/base/utf8.h"

static const char head[] =
	"<!DOCTYPE html>\n"
	"<html lang=\"en\">\n"
	"<head>\n"
	"<meta charset=\"utf-8\">\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	"<meta name=\"color-scheme\" content=\"light dark\">\n"
	"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
	"<style>\n"
	":root { --ink: #1b1f24; --dim: #5b6470; --paper: #ffffff; --line: #d5dae0; --bar: #2f6fb5; --good: #19703a;\n"
	"  --warn: #8a5a00; --bad: #b3261e; }\n"
	"@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --dim: #9aa4af; --paper: #14171b;\n"
	"  --line: #343a42; --bar: #6ea8e6; --good: #6fcf8f; --warn: #e0b050; --bad: #ff8a80; } }\n"
	"body { color: var(--ink); background: var(--paper); font: 15px/1.45 system-ui, sans-serif; margin: 2rem "
	"auto;\n"
	"  max-width: 62rem; padding: 0 1rem; }\n"
	"h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }\n"
	"p { margin: .3rem 0; } .dim { color: var(--dim); }\n"
	".wide { overflow-x: auto; }\n"
	"table { border-collapse: collapse; font-variant-numeric: tabular-nums; }\n"
	"th, td { text-align: left; vertical-align: top; padding: .25rem .9rem .25rem 0;\n"
	"  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }\n"
	"th { color: var(--dim); font-weight: 600; white-space: nowrap; } .r { text-align: right; white-space: nowrap; "
	"}\n"
	".good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }\n"
	"ul { list-style: none; padding: 0; } li { margin: .5rem 0; }\n"
	"code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }\n"
	"svg { width: 100%; height: auto; max-width: 46rem; display: block; margin: .8rem 0; }\n"
	"svg text { fill: var(--dim); font: 11px system-ui, sans-serif; } svg .t { fill: var(--ink); font-weight: 600; "
	"}\n"
	"svg .g { stroke: var(--line); } svg .b { fill: var(--bar); } svg .a { fill: var(--bad); }\n"
	"svg .l { stroke: var(--bar); fill: none; stroke-width: 2; }\n"
	"@media print { body { margin: 0; max-width: none; } section, svg, tr { break-inside: avoid; } }\n"
	"</style>\n";

void report_html_text(struct buf *b, struct slice s)
{
	while (s.n) {
		uint32_t cp = 0;
		size_t n = utf8_decode(s, &cp);

		if (n && (cp == '\n' || cp == '\r' || cp == '\t'))
			buf_addc(b, ' ');
		else if (!n || cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0xfffe || cp == 0xffff)
			buf_adds(b, "\xef\xbf\xbd");
		else if (cp == '<')
			buf_adds(b, "&lt;");
		else if (cp == '>')
			buf_adds(b, "&gt;");
		else if (cp == '&')
			buf_adds(b, "&amp;");
		else if (cp == '"')
			buf_adds(b, "&quot;");
		else if (cp == '\'')
			buf_adds(b, "&#39;");
		else
			buf_append(b, s.p, n);
		s = slice_sub(s, n ? n : 1, s.n);
	}
}

static const char *class_of(enum style style)
{
	switch (style) {
	case STYLE_GOOD:
		return "good";
	case STYLE_WARN:
		return "warn";
	case STYLE_BAD:
		return "bad";
	case STYLE_DIM:
		return "dim";
	case STYLE_PLAIN:
	case STYLE_BOLD:
		break;
	}
	return "";
}

static void add_table(struct buf *b, const struct report_section *s)
{
	const struct report_table *t = &s->table;

	buf_printf(b, "<div class=\"wide\"><table aria-label=\"%s\">\n<thead><tr>", s->title);
	for (size_t i = 0; i < t->n_columns; i++)
		buf_printf(b, "<th scope=\"col\"%s>%s</th>", t->columns[i].right ? " class=\"r\"" : "",
			   t->columns[i].title);
	buf_adds(b, "</tr></thead>\n<tbody>\n");
	for (size_t row = 0; row < t->n_rows; row++) {
		buf_adds(b, "<tr>");
		for (size_t i = 0; i < t->n_columns; i++) {
			const struct cell *c = &t->cells[row * t->n_columns + i];
			const char *class = class_of(c->style), *right = t->columns[i].right ? "r" : "";

			if (*class || *right)
				buf_printf(b, "<td class=\"%s%s%s\">", right, *class && *right ? " " : "", class);
			else
				buf_adds(b, "<td>");
			report_html_text(b, c->text);
			buf_adds(b, "</td>");
		}
		buf_adds(b, "</tr>\n");
	}
	buf_adds(b, "</tbody></table></div>\n");
}

static void add_items(struct buf *b, const struct report_section *s)
{
	buf_adds(b, "<ul>\n");
	for (size_t i = 0; i < s->n_items; i++) {
		const struct report_item *it = &s->items[i];

		buf_printf(b, "<li><b class=\"%s\">%s</b> ", class_of(it->style), it->mark);
		if (it->about.n) {
			buf_adds(b, "<b>");
			report_html_text(b, it->about);
			buf_adds(b, "</b>: ");
		}
		report_html_text(b, it->text);
		buf_adds(b, "<br><code>");
		report_html_text(b, it->command);
		buf_adds(b, "</code></li>\n");
	}
	buf_adds(b, "</ul>\n");
}

static void add_section(struct buf *b, const struct report_section *s, size_t number)
{
	buf_printf(b, "<section>\n<h2>%s</h2>\n", s->title);
	if (s->note.n) {
		buf_adds(b, "<p>");
		report_html_text(b, s->note);
		buf_adds(b, "</p>\n");
	}
	for (size_t i = 0; i < s->n_charts; i++) {
		char id[48];

		(void)snprintf(id, sizeof(id), "c%zu-%zu", number, i);
		report_svg(b, &s->charts[i], id);
	}
	if (s->table.n_rows)
		add_table(b, s);
	if (s->n_items)
		add_items(b, s);
	if (!s->table.n_rows && !s->n_items && s->none)
		buf_printf(b, "<p class=\"dim\">%s</p>\n", s->none);
	buf_adds(b, "</section>\n");
}

void report_html(struct buf *b, const struct report *r)
{
	buf_adds(b, head);
	buf_adds(b, "<title>");
	report_html_text(b, r->title);
	buf_adds(b, "</title>\n</head>\n<body>\n<h1>");
	report_html_text(b, r->title);
	buf_adds(b, "</h1>\n<p class=\"dim\">");
	report_html_text(b, r->subtitle);
	buf_adds(b, "</p>\n");
	for (size_t i = 0; i < r->n; i++)
		add_section(b, &r->sections[i], i);
	buf_adds(b, "</body>\n</html>\n");
}
