/* SPDX-License-Identifier: Apache-2.0 */
/* The generator: the published sequence, bounds, and that seeds repeat. */
#include "core/base/rand.h"

#include "t.h"

TEST(splitmix_and_xoshiro_give_the_published_numbers)
{
	struct rng r;

	rng_seed(&r, 0); /* the first outputs of splitmix64 seeded with 0 */
	CHECK(r.s[0] == 0xe220a8397b1dcdafU && r.s[1] == 0x6e789e6aa1b965f4U);
	CHECK(r.s[2] == 0x06c45d188009454fU && r.s[3] == 0xf88bb8a8724c81ecU);
	r = (struct rng){{1, 2, 3, 4}};
	CHECK(rng_u64(&r) == 11520);
	CHECK(rng_u64(&r) == 0);
	CHECK(rng_u64(&r) == 1509978240);
}

TEST(the_same_seed_gives_the_same_numbers)
{
	struct rng a, b;

	rng_seed(&a, 42);
	rng_seed(&b, 42);
	for (int i = 0; i < 100; i++)
		CHECK(rng_u64(&a) == rng_u64(&b));
}

TEST(below_stays_below_and_reaches_every_number)
{
	unsigned seen[7] = {0};
	struct rng r;

	rng_seed(&r, 3);
	for (int i = 0; i < 7000; i++) {
		uint64_t v = rng_below(&r, 7);

		CHECK(v < 7);
		seen[v % 7]++;
	}
	for (int i = 0; i < 7; i++)
		CHECK(seen[i] > 850 && seen[i] < 1150);
	CHECK_INT(rng_below(&r, 1), 0);
	CHECK(rng_below(&r, UINT64_MAX) < UINT64_MAX);
}

TEST(unit_is_at_least_zero_and_below_one)
{
	double sum = 0;
	struct rng r;

	rng_seed(&r, 9);
	for (int i = 0; i < 10000; i++) {
		double v = rng_unit(&r);

		CHECK(v >= 0 && v < 1);
		sum += v;
	}
	CHECK(sum > 4800 && sum < 5200);
}

TEST(the_kernel_gives_other_bytes_each_time)
{
	unsigned char a[512] = {0}, b[512] = {0};

	rand_bytes(a, sizeof(a));
	rand_bytes(b, sizeof(b));
	CHECK(memcmp(a, b, sizeof(a)) != 0);
	rand_bytes(a, 0);
}
