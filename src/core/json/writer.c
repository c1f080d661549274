/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON writer.  A bit per level remembers whether a comma is due.  The order of calls is ours to get right, so it
 * is asserted; the bytes written are anybody's, so they are escaped.
 */
#include "core/json/writer.h"

#include <assert.h>
#include <math.h>

#include "core/base/err.h"
#include "core/base/utf8.h"
#include "core/json/json_internal.h"

#define DEPTH_MAX 64
#define ONES 0x0101010101010101U
#define HIGHS 0x8080808080808080U

/* Not zero if one of the eight bytes needs an escape: a control character, a quote or a backslash. */
static uint64_t needs_escape(uint64_t word)
{
	uint64_t quote = word ^ (ONES * '"'), slash = word ^ (ONES * '\\');

	return (((word - ONES * 0x20) & ~word) | ((quote - ONES) & ~quote) | ((slash - ONES) & ~slash)) & HIGHS;
}

static bool is_special(char c)
{
	return (unsigned char)c < 0x20 || c == '"' || c == '\\';
}

static size_t plain_prefix(struct slice s)
{
	size_t n = 0;
	uint64_t word;

	for (; s.n - n >= sizeof(word); n += sizeof(word)) {
		memcpy(&word, s.p + n, sizeof(word));
		if (needs_escape(word))
			break;
	}
	while (n < s.n && !is_special(s.p[n]))
		n++;
	return n;
}

static void escape_char(struct buf *out, char c)
{
	static const char letters[] = "btn?fr", hex[] = "0123456789abcdef";
	unsigned char u = (unsigned char)c;

	if (u >= 0x20)
		buf_append(out, (const char[]){'\\', c}, 2);
	else if (u >= '\b' && u <= '\r' && u != '\v')
		buf_append(out, (const char[]){'\\', letters[u - '\b']}, 2);
	else
		buf_append(out, (const char[]){'\\', 'u', '0', '0', hex[u >> 4], hex[u & 15]}, 6);
}

/* s is UTF-8. */
static void escape_valid(struct buf *out, struct slice s)
{
	while (s.n) {
		size_t n = plain_prefix(s);

		buf_append(out, s.p, n);
		if (n < s.n)
			escape_char(out, s.p[n++]);
		s.p += n;
		s.n -= n;
	}
}

int json_escape(struct buf *out, struct slice s)
{
	while (s.n && !buf_failed(out)) {
		size_t n = utf8_valid_prefix(s);

		escape_valid(out, (struct slice){s.p, n});
		if (n < s.n) {
			buf_adds(out, "\xef\xbf\xbd");
			n++;
		}
		s.p += n;
		s.n -= n;
	}
	return buf_failed(out) ? E_TOOBIG : 0;
}

void jw_init(struct json_writer *w, struct buf *out)
{
	*w = (struct json_writer){.out = out};
}

/* The comma that is due before a key or an item. */
static void separate(struct json_writer *w)
{
	uint64_t bit;

	if (w->after_key) {
		w->after_key = false;
		return;
	}
	if (w->depth == 0)
		return;
	bit = UINT64_C(1) << (w->depth - 1);
	if (w->has_item & bit)
		buf_addc(w->out, ',');
	w->has_item |= bit;
}

static void begin(struct json_writer *w, char c)
{
	assert(w->depth < DEPTH_MAX);
	separate(w);
	buf_addc(w->out, c);
	w->has_item &= ~(UINT64_C(1) << w->depth);
	w->depth++;
}

static void end(struct json_writer *w, char c)
{
	assert(w->depth > 0 && !w->after_key);
	w->depth--;
	buf_addc(w->out, c);
}

void jw_object(struct json_writer *w)
{
	begin(w, '{');
}

void jw_object_end(struct json_writer *w)
{
	end(w, '}');
}

void jw_array(struct json_writer *w)
{
	begin(w, '[');
}

void jw_array_end(struct json_writer *w)
{
	end(w, ']');
}

void jw_key(struct json_writer *w, const char *key)
{
	assert(w->depth > 0 && !w->after_key);
	separate(w);
	w->after_key = true;
	buf_addc(w->out, '"');
	buf_adds(w->out, key);
	buf_append(w->out, "\":", 2);
}

static void put_string(struct json_writer *w, struct slice s)
{
	buf_addc(w->out, '"');
	json_escape(w->out, s);
	buf_addc(w->out, '"');
}

void jw_key_slice(struct json_writer *w, struct slice key)
{
	assert(w->depth > 0 && !w->after_key);
	separate(w);
	put_string(w, key);
	buf_addc(w->out, ':');
	w->after_key = true;
}

void jw_str(struct json_writer *w, struct slice s)
{
	separate(w);
	put_string(w, s);
}

void jw_cstr(struct json_writer *w, const char *s)
{
	if (s)
		jw_str(w, slice_from(s));
	else
		jw_null(w);
}

void jw_i64(struct json_writer *w, int64_t v)
{
	separate(w);
	if (v < 0)
		buf_addc(w->out, '-');
	buf_addu(w->out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void jw_double(struct json_writer *w, double v)
{
	char text[JSON_DOUBLE_SIZE];

	if (!isfinite(v)) {
		jw_null(w);
		return;
	}
	separate(w);
	buf_append(w->out, text, json_double_write(v, text));
}

void jw_bool(struct json_writer *w, bool v)
{
	separate(w);
	buf_adds(w->out, v ? "true" : "false");
}

void jw_null(struct json_writer *w)
{
	separate(w);
	buf_add(w->out, SLICE_LIT("null"));
}

void jw_raw(struct json_writer *w, struct slice json)
{
	separate(w);
	buf_add(w->out, json);
}

void jw_kstr(struct json_writer *w, const char *key, struct slice s)
{
	jw_key(w, key);
	jw_str(w, s);
}

void jw_kcstr(struct json_writer *w, const char *key, const char *s)
{
	jw_key(w, key);
	jw_cstr(w, s);
}

void jw_ki64(struct json_writer *w, const char *key, int64_t v)
{
	jw_key(w, key);
	jw_i64(w, v);
}

void jw_kdouble(struct json_writer *w, const char *key, double v)
{
	jw_key(w, key);
	jw_double(w, v);
}

void jw_kbool(struct json_writer *w, const char *key, bool v)
{
	jw_key(w, key);
	jw_bool(w, v);
}

void jw_kraw(struct json_writer *w, const char *key, struct slice json)
{
	jw_key(w, key);
	if (json.n)
		jw_raw(w, json);
	else
		jw_null(w);
}
