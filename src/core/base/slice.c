/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searching, splitting and reading numbers from borrowed bytes.  Nothing here looks past s.n: what breaks it is a
 * slice whose memory is gone.
 */
#include "core/base/slice.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/err.h"

static unsigned char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : (unsigned char)c;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

bool slice_has_nocase(struct slice s, struct slice part)
{
	for (size_t i = 0; i + part.n <= s.n; i++)
		if (slice_eq_nocase((struct slice){s.p + i, part.n}, part))
			return true;
	return false;
}

bool slice_starts(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || !memcmp(s.p, prefix.p, prefix.n));
}

bool slice_ends(struct slice s, struct slice suffix)
{
	return s.n >= suffix.n && (suffix.n == 0 || !memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n));
}

ptrdiff_t slice_find(struct slice haystack, struct slice needle)
{
	const char *at;

	if (needle.n == 0)
		return 0;
	if (haystack.n < needle.n)
		return -1;
	at = memmem(haystack.p, haystack.n, needle.p, needle.n);
	return at ? at - haystack.p : -1;
}

ptrdiff_t slice_chr(struct slice s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

	return at ? at - s.p : -1;
}

struct slice slice_trim(struct slice s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

struct slice slice_sub(struct slice s, size_t from, size_t n)
{
	if (!s.p)
		return s;
	if (from > s.n)
		from = s.n;
	if (n > s.n - from)
		n = s.n - from;
	return (struct slice){s.p + from, n};
}

struct slice slice_moved(struct slice part, struct slice whole, const char *copy)
{
	bool inside = part.p && part.p >= whole.p && part.p + part.n <= whole.p + whole.n;

	return inside ? (struct slice){copy + (part.p - whole.p), part.n} : part;
}

bool slice_split(struct slice *s, char sep, struct slice *ret_head)
{
	ptrdiff_t at;

	if (!s->p)
		return false;
	at = slice_chr(*s, sep);
	if (at < 0) {
		*ret_head = *s;
		*s = (struct slice){NULL, 0};
		return true;
	}
	*ret_head = (struct slice){s->p, (size_t)at};
	s->p += at + 1;
	s->n -= (size_t)at + 1;
	return true;
}

int slice_to_u64(struct slice s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n == 0)
		return E_INVALID;
	for (size_t i = 0; i < s.n; i++) {
		if (!is_digit(s.p[i]) || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
			return E_INVALID;
	}
	*ret = v;
	return 0;
}

int slice_to_i64(struct slice s, int64_t *ret)
{
	bool negative = s.n > 0 && s.p[0] == '-';
	uint64_t v;

	if (negative)
		s = slice_sub(s, 1, s.n);
	if (slice_to_u64(s, &v) || v > (uint64_t)INT64_MAX + negative)
		return E_INVALID;
	*ret = negative ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

static size_t skip_digits(const char *p)
{
	size_t n = 0;

	while (is_digit(p[n]))
		n++;
	return n;
}

/* Optional sign, digits with at most one point among them, optional exponent: no "inf", no hexadecimal. */
static bool is_decimal(const char *p)
{
	size_t n_digits, n;

	p += *p == '-' || *p == '+';
	n_digits = skip_digits(p);
	p += n_digits;
	if (*p == '.') {
		n = skip_digits(++p);
		n_digits += n;
		p += n;
	}
	if (n_digits == 0)
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '-' || *p == '+';
		n = skip_digits(p);
		if (n == 0)
			return false;
		p += n;
	}
	return *p == '\0';
}

int slice_to_double(struct slice s, double *ret)
{
	char text[128];
	double v;

	if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
		return E_INVALID;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	if (!is_decimal(text))
		return E_INVALID;
	v = strtod(text, NULL);
	if (!isfinite(v))
		return E_INVALID;
	*ret = v;
	return 0;
}

char *slice_dup(struct slice s)
{
	char *p = malloc(s.n + 1);

	if (!p)
		abort();
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

unsigned slice_distance(struct slice a, struct slice b)
{
	enum { MAX = 64 };
	unsigned row[MAX + 1];

	a = slice_sub(a, 0, MAX);
	b = slice_sub(b, 0, MAX);
	for (size_t j = 0; j <= b.n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 0; i < a.n; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i + 1;
		for (size_t j = 0; j < b.n; j++) {
			unsigned best = diagonal + (a.p[i] != b.p[j]);

			diagonal = row[j + 1];
			if (diagonal + 1 < best)
				best = diagonal + 1;
			if (row[j] + 1 < best)
				best = row[j] + 1;
			row[j + 1] = best;
		}
	}
	return row[b.n];
}
