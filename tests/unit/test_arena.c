/* SPDX-License-Identifier: Apache-2.0 */
/* Arenas: alignment, chunks, the maximum, reuse after a reset. */
#include "core/base/arena.h"

#include "t.h"

TEST(allocations_are_aligned_and_do_not_overlap)
{
	struct arena a;
	char *last = NULL;

	arena_init(&a, 256, 1 << 20);
	for (size_t i = 0; i < 2000; i++) {
		char *p = arena_alloc(&a, i % 37);

		CHECK(p && (uintptr_t)p % 16 == 0);
		CHECK(i % 37 == 0 || p != last);
		memset(p, 0xee, i % 37);
		last = p;
		CHECK(arena_strndup(&a, "abc", i % 4) != NULL);
	}
	arena_release(&a);
	CHECK(!a.first && a.used_bytes == 0);
}

TEST(the_maximum_is_exact)
{
	struct arena a;

	arena_init(&a, 256, 1000);
	CHECK(arena_alloc(&a, 600) != NULL);
	CHECK(arena_alloc(&a, 401) == NULL);
	CHECK(arena_alloc(&a, SIZE_MAX) == NULL);
	CHECK(arena_alloc(&a, 400) != NULL);
	CHECK(arena_alloc(&a, 1) == NULL);
	CHECK(arena_zalloc(&a, 1) == NULL);
	CHECK(arena_strndup(&a, "x", 1) == NULL);
	CHECK(arena_slice(&a, SLICE_LIT("x")).p == NULL && arena_slice(&a, SLICE_LIT("x")).n == 0);
	CHECK(arena_printf(&a, "%d", 1) == NULL);
	CHECK(arena_strndup(&a, "x", SIZE_MAX) == NULL);
	CHECK(ARENA_ARRAY(&a, uint64_t, SIZE_MAX / 8 + 2) == NULL);
	arena_reset(&a);
	CHECK(arena_alloc(&a, 1000) != NULL);
	arena_release(&a);
}

TEST(a_reset_keeps_the_first_chunk_and_only_that)
{
	struct arena a;
	struct arena_chunk *first;
	void *p;

	arena_init(&a, 1024, 1 << 24);
	arena_reset(&a); /* before first use: nothing to do */
	p = arena_alloc(&a, 100);
	first = a.first;
	CHECK(arena_alloc(&a, 5 << 20) != NULL);
	CHECK(a.cur != first);
	arena_reset(&a);
	CHECK(a.first == first && a.cur == first && a.used_bytes == 0);
	CHECK(arena_alloc(&a, 100) == p);
	arena_release(&a);
}

TEST(zalloc_clears_reused_memory)
{
	struct arena a;
	char *p;

	arena_init(&a, 256, 1 << 20);
	p = arena_alloc(&a, 64);
	memset(p, 0xff, 64);
	arena_reset(&a);
	p = arena_zalloc(&a, 64);
	for (int i = 0; i < 64; i++)
		CHECK_INT(p[i], 0);
	arena_release(&a);
}

TEST(copies_are_terminated)
{
	struct arena a;
	struct slice s;

	arena_init(&a, 256, 1 << 20);
	CHECK_STR(arena_strndup(&a, "abcdef", 3), "abc");
	CHECK_STR(arena_strndup(&a, NULL, 0), "");
	CHECK_STR(arena_printf(&a, "%s-%d", "n", 7), "n-7");
	s = arena_slice(&a, SLICE_LIT("slice"));
	CHECK_STR(s.p, "slice");
	CHECK_INT(s.n, 5);
	arena_release(&a);
}

TEST(only_the_newest_allocation_extends_and_only_within_its_chunk)
{
	struct arena a;
	char *p, *q;

	arena_init(&a, 1024, 4096);
	p = arena_alloc(&a, 100);
	CHECK(arena_extend(&a, p, 100, 200));
	CHECK_INT(a.used_bytes, 200);
	q = arena_alloc(&a, 16);
	CHECK(!arena_extend(&a, p, 200, 300));
	CHECK(!arena_extend(&a, q, 16, 2000));
	CHECK(arena_extend(&a, q, 16, 17));
	arena_release(&a);
}

TEST(a_renewed_arena_leaves_what_it_held_to_another_and_keeps_no_odd_chunk)
{
	struct arena a, old;
	char *before, *after;

	arena_init(&a, 16 << 10, 1 << 24);
	before = arena_strndup(&a, "before", 6);
	arena_renew(&a, 40, &old);
	after = arena_strndup(&a, "after", 5);
	CHECK_STR(before, "before");
	CHECK(arena_alloc(&a, 1000) != NULL); /* more than it was made for */
	arena_reset(&old);
	CHECK(old.first != NULL); /* of the usual size */
	arena_release(&old);
	CHECK_STR(after, "after");
	arena_reset(&a);
	CHECK(!a.first && a.used_bytes == 0);
	CHECK(arena_alloc(&a, 1) != NULL && a.first != NULL);
	arena_renew(&a, 1 << 20, &old); /* as long as what somebody sent */
	arena_reset(&a);
	CHECK(!a.first);
	arena_release(&a);
	arena_release(&old);
}
