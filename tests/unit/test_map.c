/* SPDX-License-Identifier: Apache-2.0 */
/* The map against a plain array that does the same. */
#include "core/base/map.h"

#include <stdio.h>

#include "core/base/rand.h"
#include "core/base/util.h"
#include "t.h"

TEST(an_empty_map_has_nothing)
{
	struct map m;
	struct map_entry *e;
	size_t i = 0;

	map_init(&m);
	CHECK(!map_get(&m, SLICE_LIT("a")));
	CHECK(!map_del(&m, SLICE_LIT("a")));
	CHECK(!map_next(&m, &i, &e));
	map_release(&m);
}

TEST(put_returns_what_stood_there)
{
	int one = 1, two = 2;
	struct map m;

	map_init(&m);
	CHECK(!map_put(&m, SLICE_LIT("k"), &one));
	CHECK(map_put(&m, SLICE_LIT("k"), &two) == &one);
	CHECK(map_get(&m, SLICE_LIT("k")) == &two);
	CHECK_INT(m.n, 1);
	CHECK(!map_put(&m, SLICE_LIT(""), &one));
	CHECK(map_get(&m, (struct slice){NULL, 0}) == &one);
	CHECK(map_del(&m, SLICE_LIT("k")) == &two);
	CHECK(!map_get(&m, SLICE_LIT("k")));
	CHECK_INT(m.n, 1);
	map_release(&m);
}

#define N_KEYS 500

TEST(random_puts_and_deletes_agree_with_an_array)
{
	static char names[N_KEYS][8];
	static void *model[N_KEYS];
	struct map_entry *e;
	struct rng rng;
	struct map m;
	size_t n = 0, i = 0, seen = 0;

	map_init(&m);
	rng_seed(&rng, 1);
	for (size_t k = 0; k < N_KEYS; k++)
		snprintf(names[k], sizeof(names[k]), "k%zu", k);
	for (int step = 0; step < 20000; step++) {
		size_t k = rng_below(&rng, N_KEYS);
		struct slice key = slice_from(names[k]);

		CHECK(map_get(&m, key) == model[k]);
		if (rng_u64(&rng) & 1) {
			CHECK(map_put(&m, key, &names[step % N_KEYS]) == model[k]);
			model[k] = &names[step % N_KEYS];
		} else {
			CHECK(map_del(&m, key) == model[k]);
			model[k] = NULL;
		}
	}
	for (size_t k = 0; k < N_KEYS; k++) {
		n += model[k] != NULL;
		CHECK(map_get(&m, slice_from(names[k])) == model[k]);
	}
	CHECK_INT(m.n, n);
	while (map_next(&m, &i, &e))
		seen++;
	CHECK_INT(seen, n);
	map_release(&m);
}
