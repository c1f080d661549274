/* SPDX-License-Identifier: Apache-2.0 */
/* Slabs: what is handed out is aligned, its own, and used again; blocks go when nothing is in them. */
#include "core/base/slab.h"

#include <stdint.h>

#include "core/base/rand.h"
#include "core/base/util.h"
#include "t.h"

#define MANY 1000

TEST(things_come_and_go_in_any_order)
{
	static const size_t sizes[] = {1, 16, 776, 1500, 4096};
	static unsigned char *held[MANY];
	struct slab s;
	struct rng rng;

	rng_seed(&rng, 3);
	for (size_t k = 0; k < COUNT_OF(sizes); k++) {
		size_t wrong = 0, n = sizes[k] < 8 ? sizes[k] : 8;

		slab_init(&s, sizes[k]);
		for (size_t turn = 0; turn < 20000; turn++) {
			size_t i = rng_below(&rng, MANY);

			if (held[i]) { /* as it was left: nobody else had it */
				wrong += held[i][0] != (unsigned char)i || held[i][sizes[k] - 1] != (unsigned char)i;
				slab_free(&s, held[i]);
				held[i] = NULL;
				continue;
			}
			held[i] = slab_alloc(&s);
			wrong += (uintptr_t)held[i] % 16 != 0;
			memset(held[i], (int)i, n);
			held[i][sizes[k] - 1] = (unsigned char)i;
		}
		for (size_t i = 0; i < MANY; i++) {
			slab_free(&s, held[i]);
			held[i] = NULL;
		}
		CHECK_INT(wrong, 0);
		slab_trim(&s);
		CHECK(!s.open && !s.spare);
	}
	slab_free(&s, NULL);
}
