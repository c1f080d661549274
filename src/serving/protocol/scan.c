/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking JSON text without a tree: what a model wrote as the arguments of a tool, which is text until somebody looks,
 * and vectors, which are far more values than a tree should have.  What would break it: taking for whole what is not.
 */
#include "core/base/utf8.h"
#include "serving/protocol/protocol_internal.h"

#define OBJECT_DEPTH_MAX 64

static void skip_space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static bool take(struct scan *s, char c)
{
	skip_space(s);
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool scan_escape(struct scan *s)
{
	if (s->p == s->end)
		return false;
	if (*s->p++ != 'u')
		return slice_chr(SLICE_LIT("\"\\/bfnrt"), s->p[-1]) >= 0;
	for (int i = 0; i < 4; i++, s->p++)
		if (s->p == s->end || !is_hex(*s->p))
			return false;
	return true;
}

static bool scan_string(struct scan *s)
{
	if (!take(s, '"'))
		return false;
	while (s->p < s->end) {
		char c = *s->p++;

		if (c == '"')
			return true;
		if ((unsigned char)c < 0x20 || (c == '\\' && !scan_escape(s)))
			return false;
	}
	return false;
}

static bool scan_digits(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > from;
}

static bool scan_number(struct scan *s)
{
	const char *first;

	if (s->p < s->end && *s->p == '-')
		s->p++;
	first = s->p;
	if (!scan_digits(s) || (*first == '0' && s->p - first > 1))
		return false;
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!scan_digits(s))
			return false;
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		return scan_digits(s);
	}
	return true;
}

static bool scan_word(struct scan *s)
{
	static const char *const words[] = {"true", "false", "null"};

	for (size_t i = 0; i < COUNT_OF(words); i++) {
		size_t n = strlen(words[i]);

		if ((size_t)(s->end - s->p) >= n && !memcmp(s->p, words[i], n)) {
			s->p += n;
			return true;
		}
	}
	return scan_number(s);
}

/* A value; containers are counted on a stack of bits rather than by calls of itself. */
static bool scan_value(struct scan *s)
{
	uint64_t objects = 0; /* a bit for each level that is an object */
	unsigned depth = 0;

	for (;;) {
		bool opened = false;

		skip_space(s);
		if (s->p == s->end)
			return false;
		if (*s->p == '{' || *s->p == '[') {
			if (depth == OBJECT_DEPTH_MAX)
				return false;
			objects = objects << 1 | (*s->p++ == '{');
			depth++;
			opened = true;
		} else if (*s->p == '"' ? !scan_string(s) : !scan_word(s)) {
			return false;
		}
		for (;;) { /* what may follow: the end of containers, or another item */
			bool in_object = objects & 1;

			if (!depth)
				return true;
			if (take(s, in_object ? '}' : ']')) {
				objects >>= 1;
				depth--;
				opened = false;
				continue;
			}
			if (!opened && !take(s, ','))
				return false;
			if (in_object && (!scan_string(s) || !take(s, ':')))
				return false;
			break;
		}
	}
}

bool wire_is_object(struct slice text)
{
	struct scan s = {text.p, text.p + text.n};

	skip_space(&s);
	if (s.p == s.end || *s.p != '{' || !utf8_valid(text) || !scan_value(&s))
		return false;
	skip_space(&s);
	return s.p == s.end;
}

void wire_write_object(struct json_writer *w, struct slice text)
{
	if (wire_is_object(text)) {
		jw_raw(w, text);
		return;
	}
	jw_object(w);
	if (slice_trim(text).n)
		jw_kstr(w, "arguments", text);
	jw_object_end(w);
}

void wire_write_object_line(struct buf *out, struct slice text)
{
	size_t from = out->n;
	struct json_writer w;

	jw_init(&w, out);
	wire_write_object(&w, text);
	for (size_t i = from; i < out->n; i++) /* in strings they are escaped */
		if (out->p[i] == '\n' || out->p[i] == '\r')
			out->p[i] = ' ';
}

void wire_write_call(struct json_writer *w, struct slice head, const char *key, struct slice arguments)
{
	struct buf b;

	buf_init(&b, head.n + arguments.n * 6 + 64);
	buf_add(&b, head);
	buf_printf(&b, "\"%s\":", key);
	wire_write_object_line(&b, arguments);
	buf_adds(&b, "}}");
	if (buf_failed(&b))
		w->out->failed = true;
	else
		jw_raw(w, buf_slice(&b));
	buf_release(&b);
}

/* --- one level --- */

bool scan_enter(struct scan *s, char bracket)
{
	s->closing = bracket == '{' ? '}' : ']';
	s->fresh = true;
	return take(s, bracket);
}

/* Whether another item begins here: 1; 0: it is over; E_INVALID. */
static int next_item(struct scan *s)
{
	bool fresh = s->fresh;

	s->fresh = false;
	if (take(s, s->closing))
		return 0;
	return fresh || take(s, ',') ? 1 : E_INVALID;
}

int scan_item(struct scan *s, struct slice *ret)
{
	int rc = next_item(s);
	const char *from;

	if (rc <= 0)
		return rc;
	skip_space(s);
	from = s->p;
	if (!scan_value(s))
		return E_INVALID;
	*ret = (struct slice){from, (size_t)(s->p - from)};
	return 1;
}

int scan_member(struct scan *s, struct slice *ret_key, struct slice *ret)
{
	int rc = next_item(s);
	const char *from;

	if (rc <= 0)
		return rc;
	skip_space(s);
	from = s->p;
	if (!scan_string(s))
		return E_INVALID;
	*ret_key = (struct slice){from + 1, (size_t)(s->p - from) - 2};
	if (!take(s, ':'))
		return E_INVALID;
	skip_space(s);
	from = s->p;
	if (!scan_value(s))
		return E_INVALID;
	*ret = (struct slice){from, (size_t)(s->p - from)};
	return 1;
}

bool scan_is_over(struct scan *s)
{
	skip_space(s);
	return s->p == s->end;
}
