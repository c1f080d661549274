/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines.  One event is one line whatever is in it: control bytes, quotes and broken UTF-8 are escaped on the way
 * into a fixed line, which goes out with one write(2).  A line that does not fit ends in "...".
 */
#include "core/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/err.h"
#include "core/base/utf8.h"

#define LINES_PER_SECOND 10
#define TAIL_SIZE 16 /* kept free for: " ... " } newline */

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

static _Atomic int log_level = LOG_INFO;
static atomic_bool log_json;

struct line {
	char text[LOG_LINE_MAX];
	size_t n;
	bool full;
};

void log_setup(enum log_level level, bool json)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
	atomic_store_explicit(&log_json, json, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *ret)
{
	for (size_t i = 0; i < COUNT_OF(level_names); i++) {
		if (!strcmp(name, level_names[i])) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return E_INVALID;
}

bool log_enabled(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed) && level != LOG_OFF;
}

static void put(struct line *l, const char *p, size_t n)
{
	if (l->full || n > sizeof(l->text) - TAIL_SIZE - l->n) {
		l->full = true;
		return;
	}
	memcpy(l->text + l->n, p, n);
	l->n += n;
}

static void puts_line(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

/* One character of a quoted value, escaped where it has to be. */
static size_t put_char(struct line *l, struct slice rest)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char c = (unsigned char)rest.p[0];
	uint32_t cp;
	size_t n;

	if (c == '"' || c == '\\') {
		put(l, (const char[]){'\\', (char)c}, 2);
		return 1;
	}
	if (c == '\n' || c == '\t' || c == '\r') {
		puts_line(l, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
		return 1;
	}
	if (c < 0x20 || c == 0x7f) {
		put(l, (const char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
		return 1;
	}
	n = utf8_decode(rest, &cp);
	if (n == 0) {
		puts_line(l, "\xef\xbf\xbd");
		return 1;
	}
	if (cp >= 0x80 && cp < 0xa0) { /* the C1 control characters, which terminals obey too */
		put(l, (const char[]){'\\', 'u', '0', '0', hex[cp >> 4], hex[cp & 15]}, 6);
		return n;
	}
	put(l, rest.p, n);
	return n;
}

static void put_quoted(struct line *l, const char *s)
{
	struct slice rest = slice_from(s);

	l->text[l->n++] = '"';
	while (rest.n && !l->full) {
		size_t n = put_char(l, rest);

		rest.p += n;
		rest.n -= n;
	}
	if (l->full) {
		memcpy(l->text + l->n, "...", 3);
		l->n += 3;
	}
	l->text[l->n++] = '"';
}

static bool is_bare(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (*s <= ' ' || *s == '"' || *s == '=' || *s == '\\' || *s == 0x7f)
			return false;
	return true;
}

static void put_field(struct line *l, const char *name, const char *value, bool json)
{
	size_t start = l->n;

	if (l->full)
		return;
	if (json) {
		puts_line(l, l->n ? ",\"" : "{\"");
		puts_line(l, name);
		puts_line(l, "\":");
	} else {
		puts_line(l, l->n ? " " : "");
		puts_line(l, name);
		puts_line(l, "=");
	}
	if (l->full) {
		l->n = start;
		return;
	}
	if (!json && is_bare(value) && strcmp(name, "msg") != 0)
		puts_line(l, value);
	else
		put_quoted(l, value);
}

void log_write(const struct log *l, enum log_level level, const char *fmt, ...)
{
	bool json = atomic_load_explicit(&log_json, memory_order_relaxed);
	char msg[LOG_LINE_MAX], ts[CLOCK_ISO_SIZE];
	struct line line;
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	if (vsnprintf(msg, sizeof(msg), fmt, ap) < 0)
		msg[0] = '\0';
	va_end(ap);
	line.n = 0;
	line.full = false;
	put_field(&line, "ts", clock_iso(clock_wall_us(), ts), json);
	put_field(&line, "level", level_names[level], json);
	if (l && l->module)
		put_field(&line, "module", l->module, json);
	if (l && l->id)
		put_field(&line, "id", l->id, json);
	put_field(&line, "msg", msg, json);
	if (json)
		line.text[line.n++] = '}';
	line.text[line.n++] = '\n';
	if (write(STDERR_FILENO, line.text, line.n) < 0)
		return; /* stderr is gone or full: there is nobody to tell */
}

/*
 * A site may be shared between loops, so its numbers are read and written whole; two loops at once may let a line too
 * many through, which does no harm.
 */
bool log_limit_pass(struct log_limit *limit, int64_t now_ms)
{
	int64_t start = __atomic_load_n(&limit->window_start_ms, __ATOMIC_RELAXED);
	unsigned n = __atomic_load_n(&limit->n, __ATOMIC_RELAXED);

	if (n == 0 || now_ms - start >= 1000 || now_ms < start) {
		__atomic_store_n(&limit->window_start_ms, now_ms, __ATOMIC_RELAXED);
		n = 0;
	}
	if (n >= LINES_PER_SECOND) {
		__atomic_fetch_add(&limit->n_dropped, 1, __ATOMIC_RELAXED);
		return false;
	}
	__atomic_store_n(&limit->n, n + 1, __ATOMIC_RELAXED);
	return true;
}
