/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness: a seeded generator for decisions that tests repeat, and the kernel's for ids and secrets. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct rng { /* xoshiro256** (Blackman and Vigna, 2018) */
	uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed); /* splitmix64 fills the state */
uint64_t rng_u64(struct rng *r);
double rng_unit(struct rng *r);		       /* [0, 1) */
uint64_t rng_below(struct rng *r, uint64_t n); /* [0, n), n > 0, without bias */
void rand_bytes(void *p, size_t n);	       /* getrandom(2); aborts if the kernel has none */
