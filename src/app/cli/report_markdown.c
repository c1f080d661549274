/* SPDX-License-Identifier: Apache-2.0 */
/* A report as Markdown with tables.  Every character of others that could mean something there is escaped. */
#include "app/cli/report.h"
#include "core/base/utf8.h"

static bool is_word(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* An underscore between letters means nothing: names stay readable. */
static bool means_something(uint32_t cp, char before, struct slice rest)
{
	if (cp == '_')
		return !is_word(before) || rest.n < 2 || !is_word(rest.p[1]);
	return cp < 0x80 && strchr("\\`*[]|~$", (int)cp);
}

void report_markdown_text(struct buf *b, struct slice s)
{
	char before = ' ';

	while (s.n) {
		uint32_t cp = 0;
		size_t n = utf8_decode(s, &cp);

		if (n && (cp == '\n' || cp == '\r' || cp == '\t')) {
			buf_addc(b, ' ');
		} else if (!n || cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) {
			buf_adds(b, "\xef\xbf\xbd");
		} else if (cp == '<') { /* HTML has no escape by backslash everywhere */
			buf_adds(b, "&lt;");
		} else if (cp == '>') {
			buf_adds(b, "&gt;");
		} else if (cp == '&') {
			buf_adds(b, "&amp;");
		} else {
			if (means_something(cp, before, s))
				buf_addc(b, '\\');
			buf_append(b, s.p, n);
		}
		before = s.p[0];
		s = slice_sub(s, n ? n : 1, s.n);
	}
}

/* A fence longer than any run of backticks in it. */
static void add_code(struct buf *b, struct slice s)
{
	size_t run = 0, longest = 0;

	for (size_t i = 0; i < s.n; i++) {
		run = s.p[i] == '`' ? run + 1 : 0;
		longest = max_size(longest, run);
	}
	for (size_t i = 0; i <= longest; i++)
		buf_addc(b, '`');
	if (longest)
		buf_addc(b, ' ');
	for (size_t i = 0; i < s.n; i++)
		buf_append(b, (unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f ? " " : &s.p[i], 1);
	if (longest)
		buf_addc(b, ' ');
	for (size_t i = 0; i <= longest; i++)
		buf_addc(b, '`');
}

static void add_table(struct buf *b, const struct report_table *t)
{
	buf_addc(b, '\n');
	for (size_t i = 0; i < t->n_columns; i++) {
		buf_adds(b, i ? " | " : "| ");
		buf_adds(b, t->columns[i].title);
	}
	buf_adds(b, " |\n");
	for (size_t i = 0; i < t->n_columns; i++)
		buf_adds(b, t->columns[i].right ? "| ---: " : "| --- ");
	buf_adds(b, "|\n");
	for (size_t row = 0; row < t->n_rows; row++) {
		for (size_t i = 0; i < t->n_columns; i++) {
			buf_adds(b, i ? " | " : "| ");
			report_markdown_text(b, t->cells[row * t->n_columns + i].text);
		}
		buf_adds(b, " |\n");
	}
}

static void add_items(struct buf *b, const struct report_section *s)
{
	buf_addc(b, '\n');
	for (size_t i = 0; i < s->n_items; i++) {
		const struct report_item *it = &s->items[i];

		buf_printf(b, "- **%s** ", it->mark);
		report_markdown_text(b, it->about);
		buf_adds(b, it->about.n ? ": " : "");
		report_markdown_text(b, it->text);
		buf_adds(b, ": ");
		add_code(b, it->command);
		buf_addc(b, '\n');
	}
}

static void add_charts(struct buf *b, const struct report_section *s)
{
	buf_adds(b, "\n```text\n");
	for (size_t i = 0; i < s->n_charts; i++) {
		const struct report_chart *c = &s->charts[i];
		char text[REPORT_NUMBER_SIZE];
		size_t at;
		double peak = report_peak(c, &at);

		buf_printf(b, "%-12s  ", c->title);
		report_sparkline(b, c, true);
		buf_printf(b, "  most %s\n", report_value(c, peak, text));
	}
	buf_adds(b, "```\n");
}

void report_markdown(struct buf *b, const struct report *r)
{
	buf_adds(b, "# ");
	report_markdown_text(b, r->title);
	buf_adds(b, "\n\n");
	report_markdown_text(b, r->subtitle);
	buf_addc(b, '\n');
	for (size_t i = 0; i < r->n; i++) {
		const struct report_section *s = &r->sections[i];

		buf_printf(b, "\n## %s\n", s->title);
		if (s->note.n) {
			buf_addc(b, '\n');
			report_markdown_text(b, s->note);
			buf_addc(b, '\n');
		}
		if (s->n_charts)
			add_charts(b, s);
		if (s->table.n_rows)
			add_table(b, &s->table);
		if (s->n_items)
			add_items(b, s);
		if (!s->table.n_rows && !s->n_items && s->none)
			buf_printf(b, "\n%s\n", s->none);
	}
}
