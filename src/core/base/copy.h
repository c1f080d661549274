/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memcpy for what may be long.  The C library leaves copies of 8 KB and more to the processor's own instruction (rep
 * movsb), which takes twelve times as long on some (AMD Zen 3 and 4) when the target begins 1 to 15 bytes behind the
 * source, counted modulo 4096: 9.6 us for 33 KB instead of 0.8.
 */
#pragma once
#include <stddef.h>
#include <string.h>

#define COPY_LONG 2048u

/* Of at least COPY_LONG bytes. */
void copy_long(void *to, const void *from, size_t n);

/* They must not overlap.  Of nothing, either may be NULL. */
static inline void copy_bytes(void *to, const void *from, size_t n)
{
	if (n >= COPY_LONG)
		copy_long(to, from, n);
	else if (n)
		memcpy(to, from, n);
}
