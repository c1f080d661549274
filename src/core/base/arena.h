/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bump allocation with one lifetime.  Memory comes from chunks that double up
 * to 256 KiB; arena_reset() keeps the first chunk, so that a steady load
 * allocates nothing from the system.  An arena has a maximum: past it
 * allocation returns NULL, which callers turn into E_TOOBIG.  The system being
 * out of memory aborts.
 */
#pragma once
#include "core/base/slice.h"
#include "core/base/util.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *first, *cur;
	char *at, *end;	   /* free part of cur */
	size_t used_bytes; /* handed out since the last reset */
	size_t max_bytes;
	size_t first_size;
};

/* first_size: bytes of the chunk that stays (allocated on first use); max_bytes: all that may be handed out. */
void arena_init(struct arena *a, size_t first_size, size_t max_bytes);
void arena_release(struct arena *a);
void arena_reset(struct arena *a);
/*
 * Begins anew with a chunk of n bytes, for what is copied out of what the arena held before: that is *ret_old's from
 * now on.  This chunk is given back by the next reset.
 */
void arena_renew(struct arena *a, size_t n, struct arena *ret_old);
#define ARENA_ALIGN 16

void *arena_alloc_slowly(struct arena *a, size_t n) MUST_CHECK; /* in a new chunk */

/* n bytes behind pad bytes that are left out. */
static inline void *arena_bump(struct arena *a, size_t n, size_t pad)
{
	char *p;

	if (UNLIKELY(!a->at || n > a->max_bytes - a->used_bytes || n + pad > (size_t)(a->end - a->at)))
		return arena_alloc_slowly(a, n);
	p = a->at + pad;
	a->at = p + n;
	a->used_bytes += n;
	return p;
}

/* 16-byte aligned, uninitialised; NULL past the maximum. */
static inline void *arena_alloc(struct arena *a, size_t n) MUST_CHECK;
static inline void *arena_alloc(struct arena *a, size_t n)
{
	return arena_bump(a, n, -(uintptr_t)a->at & (ARENA_ALIGN - 1));
}

void *arena_zalloc(struct arena *a, size_t n) MUST_CHECK;
void *arena_zarray(struct arena *a, size_t size,
		   size_t n) MUST_CHECK; /* n things of that size; NULL if that overflows */
/*
 * Grows the newest allocation, [p, p + old_n), to new_n bytes where it stands.  False, and nothing done, when it is not
 * the newest, its chunk is full or the maximum is reached.  new_n >= old_n.
 */
bool arena_extend(struct arena *a, const void *p, size_t old_n, size_t new_n) MUST_CHECK;
/* Unaligned copy; the result is also NUL-terminated.  NULL past the maximum. */
char *arena_strndup(struct arena *a, const char *s, size_t n) MUST_CHECK;
struct slice arena_slice(struct arena *a, struct slice s); /* {NULL,0} past the maximum */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define ARENA_NEW(a, type) ((type *)arena_zalloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_zarray((a), sizeof(type), (n)))
