/* SPDX-License-Identifier: Apache-2.0 */
/* Copying by ordinary loads and stores.  What would break it: a compiler that finds a memcpy in the loop. */
#include "core/base/copy.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifdef __SSE2__
#define STEP (4 * sizeof(__m128i))

static size_t copy_steps(char *to, const char *from, size_t n)
{
	size_t at = 0;

	for (; n - at >= STEP; at += STEP) {
		const __m128i *in = (const __m128i *)(const void *)(from + at);
		__m128i *out = (__m128i *)(void *)(to + at);
		__m128i a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1);
		__m128i c = _mm_loadu_si128(in + 2), d = _mm_loadu_si128(in + 3);

		_mm_storeu_si128(out, a);
		_mm_storeu_si128(out + 1, b);
		_mm_storeu_si128(out + 2, c);
		_mm_storeu_si128(out + 3, d);
	}
	return at;
}
#else
static size_t copy_steps(char *to, const char *from, size_t n)
{
	(void)to, (void)from, (void)n;
	return 0;
}
#endif

void copy_long(void *to, const void *from, size_t n)
{
	size_t done = copy_steps(to, from, n);

	memcpy((char *)to + done, (const char *)from + done, n - done);
}
