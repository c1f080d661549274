/* SPDX-License-Identifier: Apache-2.0 */
/* What is packed comes back, whatever its size and wherever its words stand. */
#include "core/base/sparse.h"

#include <stdint.h>
#include <stdlib.h>

#include "core/base/rand.h"
#include "t.h"

#define WORDS 200

TEST(what_is_packed_comes_back)
{
	struct rng rng;

	rng_seed(&rng, 7);
	for (size_t words = 0; words <= WORDS; words++) {
		for (unsigned share = 0; share <= 4; share++) {
			uint64_t p[WORDS], back[WORDS], n = 0;
			size_t bytes;
			void *packed;

			for (size_t i = 0; i < words; i++) {
				p[i] = rng_below(&rng, 4) < share ? rng_u64(&rng) | 1 : 0;
				n += p[i] != 0;
			}
			bytes = sparse_bytes(p, words * 8);
			CHECK_INT(bytes, 8 * ((words + 63) / 64 + n));
			packed = malloc(bytes ? bytes : 1); /* no more: what writes past it is found */
			CHECK_INT(sparse_pack(packed, p, words * 8), bytes);
			memset(back, 0xee, sizeof(back));
			CHECK_INT(sparse_unpack(back, words * 8, packed), bytes);
			CHECK(!memcmp(p, back, words * 8));
			CHECK(words == WORDS || back[words] == UINT64_C(0xeeeeeeeeeeeeeeee));
			free(packed);
		}
	}
}
