/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bump allocator.  Every chunk begins with its header, 16-byte aligned; [at, end) is the free part of the newest
 * chunk.  What breaks it: using memory after the reset, or one arena from two threads.
 */
#include "core/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "core/base/copy.h"

#define ALIGN ARENA_ALIGN
#define FIRST_MIN 256
#define PAGE ((size_t)4096)
#define PAGED_MIN (3 * PAGE)
#define CHUNK_MAX ((size_t)256 * 1024)

struct arena_chunk {
	struct arena_chunk *next; /* older to newer; the first one stays */
	size_t size;		  /* of data[] */
	_Alignas(ALIGN) char data[];
};

void arena_init(struct arena *a, size_t first_size, size_t max_bytes)
{
	*a = (struct arena){.first_size = max_size(first_size, FIRST_MIN),
			    .max_bytes = min_size(max_bytes, SIZE_MAX / 4)};
}

static void free_chunks(struct arena_chunk *c)
{
	while (c) {
		struct arena_chunk *next = c->next;

		free(c);
		c = next;
	}
}

void arena_release(struct arena *a)
{
	free_chunks(a->first);
	arena_init(a, a->first_size, a->max_bytes);
}

static bool is_renewed(const struct arena *a)
{
	return a->first && (a->first->size < a->first_size || a->first->size > a->first_size + PAGE);
}

void arena_reset(struct arena *a)
{
	if (!a->first)
		return;
	if (UNLIKELY(is_renewed(a))) {
		arena_release(a);
		return;
	}
	if (a->first->next) {
		free_chunks(a->first->next);
		a->first->next = NULL;
	}
	a->cur = a->first;
	a->at = a->first->data;
	a->end = a->first->data + a->first->size;
	a->used_bytes = 0;
}

/* A first chunk that begins with a page: whoever uses little of it has as few pages in memory as can be. */
static struct arena_chunk *paged_chunk(size_t *size)
{
	size_t whole = (sizeof(struct arena_chunk) + *size + PAGE - 1) / PAGE * PAGE;

	*size = whole - sizeof(struct arena_chunk);
	return aligned_alloc(PAGE, whole);
}

static void add_chunk_of(struct arena *a, size_t size)
{
	struct arena_chunk *c = !a->cur && size >= PAGED_MIN ? paged_chunk(&size) : malloc(sizeof(*c) + size);

	if (!c)
		abort();
	c->next = NULL;
	c->size = size;
	if (a->cur)
		a->cur->next = c;
	else
		a->first = c;
	a->cur = c;
	a->at = c->data;
	a->end = c->data + size;
}

static void add_chunk(struct arena *a, size_t need)
{
	size_t size = a->cur ? min_size(2 * a->cur->size, CHUNK_MAX) : a->first_size;

	if (is_renewed(a) && a->cur == a->first) /* what it was given was to be all */
		size = FIRST_MIN;
	add_chunk_of(a, max_size(size, need));
}

void arena_renew(struct arena *a, size_t n, struct arena *ret_old)
{
	*ret_old = *a;
	arena_init(a, a->first_size, a->max_bytes);
	add_chunk_of(a, n);
}

void *arena_alloc_slowly(struct arena *a, size_t n)
{
	char *p;

	if (n > a->max_bytes - a->used_bytes)
		return NULL;
	add_chunk(a, n);
	p = a->at;
	a->at = p + n;
	a->used_bytes += n;
	return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
	void *p = arena_alloc(a, n);

	return p ? memset(p, 0, n) : NULL;
}

void *arena_zarray(struct arena *a, size_t size, size_t n)
{
	size_t bytes;

	return __builtin_mul_overflow(size, n, &bytes) ? NULL : arena_zalloc(a, bytes);
}

bool arena_extend(struct arena *a, const void *p, size_t old_n, size_t new_n)
{
	size_t more = new_n - old_n;

	if ((const char *)p + old_n != a->at || more > (size_t)(a->end - a->at) || more > a->max_bytes - a->used_bytes)
		return false;
	a->at += more;
	a->used_bytes += more;
	return true;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *p = n < SIZE_MAX ? arena_bump(a, n + 1, 0) : NULL;

	if (!p)
		return NULL;
	copy_bytes(p, s, n);
	p[n] = '\0';
	return p;
}

struct slice arena_slice(struct arena *a, struct slice s)
{
	char *p = arena_strndup(a, s.p, s.n);

	return (struct slice){p, p ? s.n : 0};
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	size_t room = a->at ? (size_t)(a->end - a->at) : 0;
	char *p;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(a->at, room, fmt, ap); /* mostly it fits, and stands where it has to */
	va_end(ap);
	if (n < 0)
		return NULL;
	p = arena_bump(a, (size_t)n + 1, 0);
	if (!p || (size_t)n < room)
		return p;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}
