/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks are aligned to their size, so that a thing's address says which block it is in.  A block with room is in the
 * list; one that is full is in none.  AddressSanitizer sees each thing for itself.
 *
 * What would break it: freeing into another slab than the one it came from.
 */
#include "core/base/slab.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/util.h"

#define BLOCK ((size_t)64 * 1024)
#define ALIGN 16
#define SIZE_MAX_BYTES ((size_t)4096)

struct slab_block {
	struct slab_block *next, **prev; /* prev NULL: it is full, or the spare */
	void *free;			 /* freed ones, each with the next in its first bytes */
	unsigned n_used, n_made;	 /* in use; ever handed out */
	_Alignas(ALIGN) char data[];
};

void slab_init(struct slab *s, size_t size)
{
	assert(size && size <= SIZE_MAX_BYTES);
	*s = (struct slab){.size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1)};
}

static unsigned room_of(const struct slab *s)
{
	return (unsigned)((BLOCK - sizeof(struct slab_block)) / s->size);
}

static void link_block(struct slab *s, struct slab_block *b)
{
	b->next = s->open;
	b->prev = &s->open;
	if (b->next)
		b->next->prev = &b->next;
	s->open = b;
}

static void unlink_block(struct slab_block *b)
{
	*b->prev = b->next;
	if (b->next)
		b->next->prev = b->prev;
	b->prev = NULL;
}

/* Twice the size holds an aligned one; what is around it goes again. */
static struct slab_block *map_block(void)
{
	char *p = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (p == MAP_FAILED)
		abort();
	before = -(uintptr_t)p & (BLOCK - 1);
	if (before)
		munmap(p, before);
	if (before < BLOCK)
		munmap(p + before + BLOCK, BLOCK - before);
	return (struct slab_block *)(void *)(p + before);
}

static void open_block(struct slab *s)
{
	struct slab_block *b = s->spare;

	s->spare = NULL;
	if (!b)
		b = map_block();
	*b = (struct slab_block){0};
	link_block(s, b);
}

void *slab_alloc(struct slab *s)
{
	struct slab_block *b;
	void *p;

	if (ADDRESS_SANITIZED) {
		p = malloc(s->size);
		if (!p)
			abort();
		return p;
	}
	if (!s->open)
		open_block(s);
	b = s->open;
	p = b->free;
	if (p)
		memcpy(&b->free, p, sizeof(b->free));
	else
		p = b->data + b->n_made++ * s->size;
	if (++b->n_used == room_of(s))
		unlink_block(b);
	return p;
}

void slab_free(struct slab *s, void *p)
{
	struct slab_block *b = (struct slab_block *)((uintptr_t)p & ~(uintptr_t)(BLOCK - 1));

	if (ADDRESS_SANITIZED || !p) {
		free(p);
		return;
	}
	memcpy(p, &b->free, sizeof(b->free));
	b->free = p;
	if (!b->prev)
		link_block(s, b);
	if (--b->n_used)
		return;
	unlink_block(b);
	if (s->spare)
		munmap(b, BLOCK);
	else
		s->spare = b;
}

void slab_trim(struct slab *s)
{
	if (s->spare)
		munmap(s->spare, BLOCK);
	s->spare = NULL;
}
