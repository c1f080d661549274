/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a report, and how a terminal gets it. */
#include "app/cli/report.h"

#include <math.h>
#include <stdio.h>

#include "core/base/clock.h"

struct report_section *report_add(struct report *r, const char *title, const char *none)
{
	struct report_section *s = &r->sections[r->n];

	if (r->n == REPORT_MAX_SECTIONS)
		return NULL;
	r->n++;
	*s = (struct report_section){.title = title, .none = none};
	return s;
}

char *report_count(double n, char text[REPORT_NUMBER_SIZE])
{
	char plain[REPORT_NUMBER_SIZE];
	int len = snprintf(plain, sizeof(plain), "%.0f", fabs(n) < 1e15 ? n : 1e15), at = 0;

	for (int i = 0; i < len; i++) {
		text[at++] = plain[i];
		if (i + 1 < len && (len - i - 1) % 3 == 0 && plain[i] != '-')
			text[at++] = ',';
	}
	text[at] = '\0';
	return text;
}

char *report_ms(double ms, char text[REPORT_NUMBER_SIZE])
{
	if (ms < 10)
		(void)snprintf(text, REPORT_NUMBER_SIZE, "%.2g ms", ms);
	else if (ms < 1000)
		(void)snprintf(text, REPORT_NUMBER_SIZE, "%.0f ms", ms);
	else
		(void)snprintf(text, REPORT_NUMBER_SIZE, "%.*f s", ms < 10000 ? 2 : 1, ms < 1e12 ? ms / 1000 : 1e9);
	return text;
}

char *report_percent(double share, char text[REPORT_NUMBER_SIZE])
{
	double p = 100 * share;

	(void)snprintf(text, REPORT_NUMBER_SIZE, p > 0 && p < 1 ? "%.2f %%" : "%.1f %%", p < 1e9 ? p : 1e9);
	return text;
}

char *report_money(double v, char text[REPORT_NUMBER_SIZE])
{
	double cents = round((v < 1e12 ? v : 1e12) * 100), scale = 100;
	char whole[REPORT_NUMBER_SIZE];
	int decimals = 2;

	for (; v > 0 && v * scale < 9.5 && decimals < 9; decimals++)
		scale *= 10;
	if (v < 1)
		(void)snprintf(text, REPORT_NUMBER_SIZE, "%.*f", decimals, v);
	else
		(void)snprintf(text, REPORT_NUMBER_SIZE, "%.30s.%02d", report_count(floor(cents / 100), whole),
			       (int)fmod(cents, 100));
	return text;
}

double report_peak(const struct report_chart *c, size_t *ret_at)
{
	double peak = 0;

	*ret_at = 0;
	for (size_t i = 0; i < c->n; i++) {
		if (c->values[i] > peak) {
			peak = c->values[i];
			*ret_at = i;
		}
	}
	return peak;
}

char *report_value(const struct report_chart *c, double v, char text[REPORT_NUMBER_SIZE])
{
	return *c->unit ? report_ms(v, text) : report_count(v, text);
}

char *report_utc(int64_t at_us, char text[REPORT_NUMBER_SIZE])
{
	char iso[CLOCK_ISO_SIZE];

	clock_iso(at_us, iso);
	(void)snprintf(text, REPORT_NUMBER_SIZE, "%.10s %.5s", iso, iso + 11);
	return text;
}

void report_sparkline(struct buf *b, const struct report_chart *c, bool utf8)
{
	static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char ascii[] = "_.-=+*%#";
	size_t at;
	double peak = report_peak(c, &at);

	for (size_t i = 0; i < c->n; i++) {
		double v = c->values[i];
		size_t level = v > 0 ? (size_t)(v / peak * 7 + 0.5) : 0;

		if (isnan(v))
			buf_addc(b, ' ');
		else if (utf8)
			buf_adds(b, blocks[min_size(level, 7)]);
		else
			buf_addc(b, ascii[min_size(level, 7)]);
	}
}

/* --- the terminal --- */

static void put_head(struct out *o, const char *title)
{
	out_printf(o, "\n");
	out_styled(o, STYLE_BOLD, slice_from(title));
	out_printf(o, "\n");
}

static size_t column_width(const struct report_table *t, size_t column)
{
	size_t width = text_width(slice_from(t->columns[column].title));

	for (size_t i = 0; i < t->n_rows; i++)
		width = max_size(width, text_width(t->cells[i * t->n_columns + column].text));
	return t->columns[column].min_width ? min_size(width, t->columns[column].min_width) : width;
}

/* Which columns the terminal has room for. */
static size_t choose(const struct report_table *t, size_t limit, size_t ret[TABLE_MAX_COLUMNS])
{
	bool in[TABLE_MAX_COLUMNS];
	size_t n = min_size(t->n_columns, TABLE_MAX_COLUMNS), n_in = 0;

	memset(in, true, sizeof(in));
	for (;;) {
		size_t width = 0, worst = n;

		for (size_t i = 0; i < n; i++) {
			if (!in[i])
				continue;
			width += column_width(t, i) + 2;
			if (t->columns[i].drop && (worst == n || t->columns[i].drop > t->columns[worst].drop))
				worst = i;
		}
		if (!limit || width <= limit + 2 || worst == n)
			break;
		in[worst] = false;
	}
	for (size_t i = 0; i < n; i++)
		if (in[i])
			ret[n_in++] = i;
	return n_in;
}

static void put_table(struct out *o, const struct report_table *t)
{
	struct column columns[TABLE_MAX_COLUMNS];
	size_t chosen[TABLE_MAX_COLUMNS], n = choose(t, o->columns, chosen);
	CLEANUP(arena_release) struct arena a;
	struct cell *cells;

	arena_init(&a, 4096, (size_t)16 << 20);
	cells = ARENA_ARRAY(&a, struct cell, n * t->n_rows + 1);
	if (!cells)
		return; /* tables are bounded: never */
	for (size_t i = 0; i < n; i++) {
		const struct report_column *c = &t->columns[chosen[i]];

		columns[i] = (struct column){c->title, c->right, c->min_width};
		for (size_t row = 0; row < t->n_rows; row++)
			cells[row * n + i] = t->cells[row * t->n_columns + chosen[i]];
	}
	out_table(o, columns, n, cells, t->n_rows);
}

static void put_items(struct out *o, const struct report_section *s)
{
	for (size_t i = 0; i < s->n_items; i++) {
		const struct report_item *it = &s->items[i];

		out_printf(o, "  ");
		out_styled(o, it->style, slice_from(it->mark));
		out_pad(o, 6 - min_size(6, strlen(it->mark)));
		if (it->about.n) {
			out_styled(o, STYLE_BOLD, it->about);
			out_printf(o, "  ");
		}
		out_styled(o, STYLE_PLAIN, it->text);
		out_printf(o, "\n        -> ");
		out_styled(o, STYLE_PLAIN, it->command);
		out_printf(o, "\n");
	}
}

static void put_charts(struct out *o, const struct report_section *s, bool utf8)
{
	for (size_t i = 0; i < s->n_charts; i++) {
		const struct report_chart *c = &s->charts[i];
		char text[REPORT_NUMBER_SIZE];
		struct buf b;
		size_t at;
		double peak = report_peak(c, &at);

		buf_init(&b, 4096);
		report_sparkline(&b, c, utf8);
		out_printf(o, "%-12s  ", c->title);
		out_styled(o, c->alarm && peak > 0 ? STYLE_WARN : STYLE_PLAIN, buf_slice(&b));
		out_printf(o, "  most %s\n", report_value(c, peak, text));
		buf_release(&b);
	}
}

void report_terminal(struct out *o, const struct report *r, bool utf8)
{
	out_styled(o, STYLE_BOLD, r->title);
	out_printf(o, "\n");
	out_styled(o, STYLE_DIM, r->subtitle);
	out_printf(o, "\n");
	for (size_t i = 0; i < r->n; i++) {
		const struct report_section *s = &r->sections[i];

		put_head(o, s->title);
		if (s->note.n) {
			out_styled(o, STYLE_PLAIN, s->note);
			out_printf(o, "\n");
		}
		put_charts(o, s, utf8);
		if (s->table.n_rows)
			put_table(o, &s->table);
		put_items(o, s);
		if (!s->table.n_rows && !s->n_items && s->none)
			out_printf(o, "%s\n", s->none);
	}
}
