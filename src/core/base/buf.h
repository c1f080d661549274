/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer that cannot be made without its maximum.  After the
 * first E_TOOBIG it stays failed (buf_failed), so that a writer may append many
 * things and check once.  The bytes are heap memory, or an arena's when it was
 * made with buf_init_arena (then release does nothing).
 */
#pragma once
#include <stdarg.h>

#include "core/base/arena.h"
#include "core/base/copy.h"
#include "core/base/err.h"
#include "core/base/slice.h"

struct buf {
	char *p;
	size_t n, cap, max;
	struct arena *arena;
	bool failed;
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_init_arena(struct buf *b, struct arena *a, size_t max_bytes);
void buf_release(struct buf *b);
void buf_clear(struct buf *b);		 /* keeps the memory; forgets a failure */
char *buf_grow(struct buf *b, size_t n); /* what buf_reserve() does when there is no room yet */

/* Room for n more bytes at b->p + b->n, which the caller fills and adds to b->n.  NULL past the maximum. */
static inline char *buf_reserve(struct buf *b, size_t n)
{
	if (UNLIKELY(n > b->cap - b->n || b->failed || !b->p))
		return buf_grow(b, n);
	return b->p + b->n;
}

/* All return 0 or E_TOOBIG. */
static inline int buf_append(struct buf *b, const void *p, size_t n)
{
	char *to = buf_reserve(b, n);

	if (UNLIKELY(!to))
		return E_TOOBIG;
	copy_bytes(to, p, n);
	b->n += n;
	return 0;
}

static inline int buf_add(struct buf *b, struct slice s)
{
	return buf_append(b, s.p, s.n);
}

static inline int buf_adds(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

static inline int buf_addc(struct buf *b, char c)
{
	return buf_append(b, &c, 1);
}

int buf_addu(struct buf *b, uint64_t v); /* decimal, fast */
int buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
void buf_consume(struct buf *b, size_t n); /* drops n bytes from the front */
const char *buf_cstr(struct buf *b);	   /* terminates (the NUL is not counted); "" if failed */

static inline struct slice buf_slice(const struct buf *b)
{
	return (struct slice){b->p, b->n};
}

static inline bool buf_failed(const struct buf *b)
{
	return b->failed;
}
