/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Printing for people.  What would break it: a text of others that reaches a terminal with its control characters, and
 * a table wider than the terminal.
 */
#include "app/cli/out.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/base/utf8.h"

#define GAP 2
#define COLUMNS_MIN 40
#define COLUMNS_MAX 1000

static const char *const styles[] = {[STYLE_PLAIN] = "",	[STYLE_BOLD] = "\033[1m",  [STYLE_DIM] = "\033[2m",
				     [STYLE_GOOD] = "\033[32m", [STYLE_WARN] = "\033[33m", [STYLE_BAD] = "\033[31m"};

static size_t find_columns(bool terminal)
{
	const char *env = getenv("COLUMNS");
	struct winsize size = {0};
	uint64_t v = 0;

	if (env && slice_to_u64(slice_from(env), &v) == 0 && v >= COLUMNS_MIN && v <= COLUMNS_MAX)
		return (size_t)v;
	if (!terminal)
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= COLUMNS_MIN)
		return size.ws_col;
	return 80;
}

void out_init(struct out *o, FILE *to)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	*o = (struct out){.to = to, .terminal = isatty(fileno(to))};
	o->colour = o->terminal && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
	o->columns = find_columns(o->terminal);
}

void out_flush(struct out *o)
{
	fflush(o->to);
}

bool out_finish(struct out *o)
{
	return fflush(o->to) == 0 && !ferror(o->to);
}

void out_printf(struct out *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(o->to, fmt, ap);
	va_end(ap);
}

void out_raw(struct out *o, struct slice s)
{
	if (s.n)
		fwrite(s.p, 1, s.n, o->to);
}

/* Writes s without what moves the cursor: C0 but tab and newline (those too when one_line), DEL, C1, bytes that are no
 * UTF-8. */
static void put_harmless(FILE *to, struct slice s, bool one_line)
{
	while (s.n) {
		uint32_t cp = 0;
		size_t n = utf8_decode(s, &cp);
		bool white = cp == '\n' || cp == '\t' || cp == '\r';

		if (n == 0) {
			fputs("\xef\xbf\xbd", to);
			n = 1;
		} else if (white && one_line) {
			fputc(' ', to);
		} else if ((cp < 0x20 && (!white || cp == '\r')) || (cp >= 0x7f && cp < 0xa0)) {
			fputs("\xef\xbf\xbd", to);
		} else {
			fwrite(s.p, 1, n, to);
		}
		s = slice_sub(s, n, s.n - n);
	}
}

void out_text(struct out *o, struct slice s)
{
	if (o->terminal)
		put_harmless(o->to, s, false);
	else
		out_raw(o, s);
}

void out_styled(struct out *o, enum style style, struct slice s)
{
	if (o->colour && style != STYLE_PLAIN)
		fputs(styles[style], o->to);
	put_harmless(o->to, s, true);
	if (o->colour && style != STYLE_PLAIN)
		fputs("\033[0m", o->to);
}

void out_pad(struct out *o, size_t n)
{
	fprintf(o->to, "%*s", (int)min_size(n, COLUMNS_MAX), "");
}

size_t text_width(struct slice s)
{
	size_t width = 0;

	for (; s.n; width++) {
		uint32_t cp;
		size_t n = utf8_decode(s, &cp);

		s = slice_sub(s, n ? n : 1, s.n);
	}
	return width;
}

void out_wrapped(struct out *o, const char *text, size_t indent, size_t width)
{
	struct slice rest = slice_from(text), word;
	size_t at = indent;
	bool first = true;

	while (slice_split(&rest, ' ', &word)) {
		size_t n = text_width(word);

		if (!first && at + 1 + n > width) {
			fputc('\n', o->to);
			out_pad(o, indent);
			at = indent;
			first = true;
		}
		if (!first)
			fputc(' ', o->to);
		fwrite(word.p, 1, word.n, o->to);
		at += n + !first;
		first = false;
	}
	fputc('\n', o->to);
}

/* --- tables --- */

static struct slice first_characters(struct slice s, size_t width)
{
	size_t used = 0;

	for (; width && used < s.n; width--) {
		uint32_t cp;
		size_t n = utf8_decode(slice_sub(s, used, s.n), &cp);

		used += n ? n : 1;
	}
	return slice_sub(s, 0, used);
}

/* Takes columns from the widest that may give any, until the table fits or none may. */
static void fit(const struct column *columns, size_t n, size_t *widths, size_t limit)
{
	size_t total = GAP * (n - 1);

	for (size_t i = 0; i < n; i++)
		total += widths[i];
	while (limit && total > limit) {
		size_t widest = n;

		for (size_t i = 0; i < n; i++) {
			if (columns[i].min_width && widths[i] > columns[i].min_width &&
			    (widest == n || widths[i] > widths[widest]))
				widest = i;
		}
		if (widest == n)
			break;
		widths[widest]--;
		total--;
	}
}

static void put_cell(struct out *o, const struct column *column, const struct cell *cell, size_t width, bool last)
{
	size_t have = text_width(cell->text);
	bool cut = have > width;
	struct slice shown = cut ? first_characters(cell->text, width ? width - 1 : 0) : cell->text;
	size_t pad = cut ? 0 : width - have;

	if (column->right)
		out_pad(o, pad);
	out_styled(o, cell->style, shown);
	if (cut)
		fputs("…", o->to);
	if (!column->right && !last)
		out_pad(o, pad);
	if (!last)
		out_pad(o, GAP);
}

void out_table(struct out *o, const struct column *columns, size_t n_columns, const struct cell *cells, size_t n_rows)
{
	size_t widths[TABLE_MAX_COLUMNS] = {0}, n = min_size(n_columns, TABLE_MAX_COLUMNS), last;
	bool titles = columns[0].title != NULL;

	for (size_t i = 0; i < n; i++) {
		widths[i] = titles ? text_width(slice_from(columns[i].title)) : 0;
		for (size_t r = 0; r < n_rows; r++)
			widths[i] = max_size(widths[i], text_width(cells[r * n_columns + i].text));
	}
	fit(columns, n, widths, o->columns);
	last = n - 1;
	while (titles && last > 0 && !*columns[last].title)
		last--;
	for (size_t i = 0; titles && i <= last; i++) {
		struct cell title = {slice_from(columns[i].title), STYLE_BOLD};

		put_cell(o, &columns[i], &title, widths[i], i == last);
	}
	if (titles)
		fputc('\n', o->to);
	for (size_t r = 0; r < n_rows; r++) {
		last = n - 1;
		while (last > 0 && !cells[r * n_columns + last].text.n)
			last--;
		for (size_t i = 0; i <= last; i++)
			put_cell(o, &columns[i], &cells[r * n_columns + i], widths[i], i == last);
		fputc('\n', o->to);
	}
}
