/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Things of one size, of which there are thousands for a while.  They stand in blocks of their own, so that they leave
 * no holes among what stays; a block goes back to the kernel when nothing in it is used.  One thread; where the system
 * is out of memory it aborts.
 */
#pragma once
#include <stddef.h>

struct slab_block;

struct slab {
	size_t size;
	struct slab_block *open;  /* with room */
	struct slab_block *spare; /* one that is empty, or NULL */
};

void slab_init(struct slab *s, size_t size); /* up to 4 KiB */
void *slab_alloc(struct slab *s);	     /* 16-byte aligned, uninitialised */
void slab_free(struct slab *s, void *p);     /* NULL is fine */
void slab_trim(struct slab *s); /* gives back the block that is kept for the next; all, when nothing is used */
