/* SPDX-License-Identifier: Apache-2.0 */
/* Growing texts, and as much JSON as the client needs.  What would break it: reading past the end that was given. */
#include "muster_text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "muster.h"

/* --- text --- */

void muster_text_add(struct muster_text *t, const void *p, size_t n)
{
	size_t cap;
	char *grown;

	if (t->failed || n > t->max - t->n) {
		t->failed = true;
		return;
	}
	if (t->n + n + 1 > t->cap) {
		cap = 2 * (t->n + n) + 64;
		grown = realloc(t->p, cap);
		if (!grown) {
			t->failed = t->no_memory = true;
			return;
		}
		t->p = grown;
		t->cap = cap;
	}
	if (n)
		memcpy(t->p + t->n, p, n);
	t->n += n;
	t->p[t->n] = 0;
}

void muster_text_str(struct muster_text *t, const char *s)
{
	muster_text_add(t, s, strlen(s));
}

void muster_text_release(struct muster_text *t)
{
	free(t->p);
	*t = (struct muster_text){.max = t->max};
}

/* --- writing JSON --- */

/* Length of the UTF-8 character at s, or 0. The terminating NUL ends every wrong sequence. */
static size_t character(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : 4;

	if (n == 4 && (s[0] < 0xf0 || s[0] > 0xf4))
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

void muster_json_string(struct muster_text *t, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	char escape[8];

	muster_text_str(t, "\"");
	while (*p) {
		size_t n = character(p);

		if (n == 0) {
			muster_text_str(t, "\xef\xbf\xbd");
			p++;
			continue;
		}
		if (*p < 0x20 || *p == '"' || *p == '\\') {
			snprintf(escape, sizeof(escape), *p < 0x20 ? "\\u%04x" : "\\%c", *p);
			muster_text_str(t, escape);
		} else {
			muster_text_add(t, p, n);
		}
		p += n;
	}
	muster_text_str(t, "\"");
}

void muster_json_key(struct muster_text *t, const char *key)
{
	muster_text_str(t, t->n > 1 ? "," : "");
	muster_json_string(t, key);
	muster_text_str(t, ":");
}

/* A member of the outermost object; nothing when value is NULL. */
void muster_json_member(struct muster_text *t, const char *key, const char *value)
{
	if (!value)
		return;
	muster_json_key(t, key);
	muster_json_string(t, value);
}

/* --- reading JSON: enough to find one text; what is no JSON is not found, whatever it is --- */

struct cursor {
	const char *p, *end;
};

static void skip_space(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r'))
		c->p++;
}

static bool skip_string(struct cursor *c) /* at the opening quote; ends after the closing one */
{
	for (c->p++; c->p < c->end; c->p++) {
		if (*c->p == '\\')
			c->p++;
		else if (*c->p == '"')
			return c->p++, true;
	}
	return false;
}

static bool skip_value(struct cursor *c)
{
	int depth = 0;

	skip_space(c);
	while (c->p < c->end) {
		if (*c->p == '"') {
			if (!skip_string(c))
				return false;
		} else if (depth == 0 && strchr(",}] \t\r\n", *c->p)) {
			return true;
		} else {
			depth += *c->p == '{' || *c->p == '[' ? 1 : *c->p == '}' || *c->p == ']' ? -1 : 0;
			c->p++;
		}
		if (depth == 0 && strchr("\"}]", c->p[-1]))
			return true;
	}
	return depth == 0;
}

/* Moves c to the value of the member called name. */
static bool find_member(struct cursor *c, const char *name, size_t n)
{
	skip_space(c);
	if (c->p >= c->end || *c->p != '{')
		return false;
	for (c->p++;; c->p++) {
		const char *key;
		bool same;

		skip_space(c);
		key = c->p + 1;
		if (c->p >= c->end || *c->p != '"' || !skip_string(c))
			return false;
		same = (size_t)(c->p - 1 - key) == n && !memcmp(key, name, n);
		skip_space(c);
		if (c->p >= c->end || *c->p != ':')
			return false;
		c->p++;
		skip_space(c);
		if (same)
			return c->p < c->end;
		if (!skip_value(c))
			return false;
		skip_space(c);
		if (c->p >= c->end || *c->p != ',')
			return false;
	}
}

static unsigned hex4(const char *p, const char *end)
{
	unsigned v = 0;

	for (int i = 0; i < 4; i++, p++) {
		const char *digits = "0123456789abcdef", *at;

		if (p >= end || !*p || !(at = strchr(digits, *p | 0x20)))
			return 0xfffd;
		v = v << 4 | (unsigned)(at - digits);
	}
	return v;
}

static size_t put_character(unsigned cp, char out[4])
{
	if (cp < 0x80)
		return out[0] = (char)cp, 1;
	if (cp < 0x800)
		return out[0] = (char)(0xc0 | cp >> 6), out[1] = (char)(0x80 | (cp & 0x3f)), 2;
	if (cp < 0x10000) {
		out[0] = (char)(0xe0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}

/* Decodes the escape at *p, which stands on a backslash; leaves *p after it. */
static size_t decode_escape(const char **p, const char *end, char out[4])
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *at = NULL;
	char c = 0;
	unsigned cp;

	if (*p + 1 < end)
		c = (*p)[1];
	if (c)
		at = strchr(from, c);
	if (c != 'u') {
		out[0] = c;
		if (at)
			out[0] = to[at - from];
		*p += 2;
		return 1;
	}
	cp = hex4(*p + 2, end);
	*p = end - *p > 6 ? *p + 6 : end;
	if (cp >= 0xd800 && cp < 0xdc00 && *p + 1 < end && (*p)[0] == '\\' && (*p)[1] == 'u') {
		unsigned low = hex4(*p + 2, end);

		if (low >= 0xdc00 && low < 0xe000) {
			cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
			*p = end - *p > 6 ? *p + 6 : end;
		}
	}
	return put_character(cp >= 0xd800 && cp < 0xe000 ? 0xfffd : cp, out);
}

static long copy_string(const struct cursor *c, char *ret, size_t size) /* c: what stands between the quotes */
{
	const char *p = c->p;
	size_t used = 0;

	while (p < c->end) {
		char piece[4];
		size_t n;

		if (*p == '\\') {
			n = decode_escape(&p, c->end, piece);
		} else {
			n = character((const unsigned char *)p);
			n = n && (size_t)(c->end - p) >= n ? n : 1;
			memcpy(piece, p, n);
			p += n;
		}
		if (used + n >= size)
			break;
		memcpy(ret + used, piece, n);
		used += n;
	}
	ret[used] = 0;
	return (long)used;
}

long muster_json_text(const char *json, size_t json_size, const char *path, char *ret, size_t size)
{
	struct cursor c = {json, json + json_size}, value;
	size_t n;

	if (!json || size == 0)
		return -1;
	for (;; path += n + 1) {
		n = strcspn(path, ".");
		if (!find_member(&c, path, n))
			return -1;
		if (!path[n])
			break;
	}
	value = c;
	if (!skip_value(&c) || c.p > c.end)
		return -1;
	value.end = c.p;
	if (*value.p == '"') {
		value.p++;
		value.end--;
		return copy_string(&value, ret, size);
	}
	n = (size_t)(value.end - value.p);
	n = n < size ? n : size - 1;
	memcpy(ret, value.p, n);
	ret[n] = 0;
	return (long)n;
}

long muster_encode(const char *text, char *ret, size_t size)
{
	size_t used = 0;

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		bool plain =
			(*p >= '0' && *p <= '9') || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') || strchr("-._~@:", *p);

		if (used + (plain ? 1 : 3) + 1 > size)
			return -1;
		if (plain)
			ret[used++] = (char)*p;
		else
			used += (size_t)snprintf(ret + used, 4, "%%%02X", *p);
	}
	if (used >= size)
		return -1;
	ret[used] = 0;
	return (long)used;
}
