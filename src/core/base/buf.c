/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The growing buffer.  One byte more than cap is always there, so that buf_cstr() needs no room.  What breaks it:
 * keeping a pointer into it over an append.
 */
#include "core/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#define CAP_MIN 63

void buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){.max = max_bytes < SIZE_MAX / 4 ? max_bytes : SIZE_MAX / 4};
}

void buf_init_arena(struct buf *b, struct arena *a, size_t max_bytes)
{
	buf_init(b, max_bytes);
	b->arena = a;
}

void buf_release(struct buf *b)
{
	if (!b->arena)
		free(b->p);
	*b = (struct buf){.max = b->max, .arena = b->arena};
}

void buf_clear(struct buf *b)
{
	b->n = 0;
	b->failed = false;
}

static char *move_to_arena(struct buf *b, size_t cap)
{
	char *p;

	if (b->p && arena_extend(b->arena, b->p, b->cap + 1, cap + 1))
		return b->p;
	p = arena_alloc(b->arena, cap + 1);
	if (p && b->p)
		memcpy(p, b->p, b->n);
	return p;
}

char *buf_grow(struct buf *b, size_t n)
{
	size_t cap;
	char *p;

	if (b->failed || n > b->max - b->n) {
		b->failed = true;
		return NULL;
	}
	cap = min_size(max_size(max_size(b->n + n, 2 * b->cap + 1), CAP_MIN), b->max);
	if (b->arena) {
		p = move_to_arena(b, cap);
		if (!p && cap > b->n + n) {
			cap = b->n + n;
			p = move_to_arena(b, cap);
		}
		if (!p) {
			b->failed = true;
			return NULL;
		}
	} else {
		p = realloc(b->p, cap + 1);
		if (!p)
			abort();
	}
	b->p = p;
	b->cap = cap;
	return b->p + b->n;
}

int buf_addu(struct buf *b, uint64_t v)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
				    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";
	char digits[20];
	size_t at = sizeof(digits);

	while (v >= 100) {
		at -= 2;
		memcpy(digits + at, pairs + 2 * (v % 100), 2);
		v /= 100;
	}
	if (v >= 10) {
		at -= 2;
		memcpy(digits + at, pairs + 2 * v, 2);
	} else {
		digits[--at] = (char)('0' + v);
	}
	return buf_append(b, digits + at, sizeof(digits) - at);
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	char *to;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0) {
		b->failed = true;
		return E_TOOBIG;
	}
	to = buf_reserve(b, (size_t)n);
	if (!to)
		return E_TOOBIG;
	vsnprintf(to, (size_t)n + 1, fmt, ap);
	b->n += (size_t)n;
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return rc;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->n) {
		b->n = 0;
		return;
	}
	if (n)
		memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

const char *buf_cstr(struct buf *b)
{
	if (b->failed || !b->p)
		return "";
	b->p[b->n] = '\0';
	return b->p;
}
