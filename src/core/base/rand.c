/* SPDX-License-Identifier: Apache-2.0 */
/* xoshiro256** and splitmix64 (Blackman and Vigna, public domain algorithms), and getrandom(2). */
#include "core/base/rand.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/types.h>

static uint64_t rotl(uint64_t x, unsigned k)
{
	return (x << k) | (x >> (64 - k));
}

void rng_seed(struct rng *r, uint64_t seed)
{
	for (size_t i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15U;

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
		r->s[i] = z ^ (z >> 31);
	}
}

uint64_t rng_u64(struct rng *r)
{
	uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

double rng_unit(struct rng *r)
{
	return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

/* Multiply and keep the high half; the few low halves that would favour some results are drawn again (Lemire, 2019). */
uint64_t rng_below(struct rng *r, uint64_t n)
{
	unsigned __int128 product = (unsigned __int128)rng_u64(r) * n;

	if ((uint64_t)product < n) {
		uint64_t threshold = -n % n;

		while ((uint64_t)product < threshold)
			product = (unsigned __int128)rng_u64(r) * n;
	}
	return (uint64_t)(product >> 64);
}

void rand_bytes(void *p, size_t n)
{
	char *to = p;

	while (n) {
		ssize_t got = getrandom(to, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			abort();
		to += got;
		n -= (size_t)got;
	}
}
