/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a rate: cut, put together, and fairly divided. */
#include "serving/resilience/share.h"

#include "core/base/err.h"
#include "core/base/slice.h"
#include "t.h"

TEST(parts_that_are_put_together_hold_what_they_held)
{
	static const struct {
		struct share_part a, b;
		int64_t missing;
	} cases[] = {
		{{30, 0}, {30, 0}, 0},
		{{30, 60}, {30, 0}, 30},
		{{60, 30}, {0, 1000}, 30},
		{{0, 1000}, {60, 30}, 30},
		{{0, 7}, {0, 9}, 7},
		{{1, 61}, {59, 0}, 2},	   /* up */
		{{10, 600}, {10, 0}, 300}, /* what is owed too */
		{{1000000000, INT64_C(3600000000000)}, {1000000000, INT64_C(3600000000000)}, INT64_C(3600000000000)},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_INT(share_blend(cases[i].a, cases[i].b), cases[i].missing);
}

TEST(nobody_has_more_than_it_wants_while_another_is_short)
{
	static const struct {
		int64_t limit, wanted[4];
		size_t n;
		int64_t fair[4];
	} cases[] = {
		{60, {100}, 1, {60}},
		{60, {10}, 1, {10}},
		{60, {100, 100}, 2, {30, 30}},
		{60, {10, 6000}, 2, {10, 50}},
		{60, {10, 20, 6000}, 3, {10, 20, 30}},
		{60, {25, 25, 25, 1000}, 4, {15, 15, 15, 15}},
		{60, {0, 0}, 2, {0, 0}},
		{2, {9, 9, 9}, 3, {0, 0, 0}}, /* less than one for each: first come */
		{7, {9, 9, 9}, 3, {2, 2, 2}},
		{1000000000, {1000000000, 1000000000, 5}, 3, {499999997, 499999997, 5}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t k = 0; k < cases[i].n; k++)
			CHECK_INT(share_fair(cases[i].limit, cases[i].wanted, cases[i].n, k), cases[i].fair[k]);
}
