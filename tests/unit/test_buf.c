/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers: growth up to the maximum, the failure that stays, heap and arena alike. */
#include "core/base/buf.h"

#include "core/base/copy.h"
#include "core/base/err.h"
#include "core/base/rand.h"
#include "t.h"

static void fill_to_the_limit(struct buf *b)
{
	for (int i = 0; i < 100; i++)
		CHECK_INT(buf_addc(b, 'x'), 0);
	CHECK_INT(buf_addc(b, 'y'), E_TOOBIG);
	CHECK(buf_failed(b));
	CHECK_INT(b->n, 100);
	CHECK_INT(buf_append(b, "", 0), E_TOOBIG);
	CHECK(buf_reserve(b, 0) == NULL);
	CHECK_INT(buf_addu(b, 1), E_TOOBIG);
	CHECK_INT(buf_printf(b, "%d", 1), E_TOOBIG);
	CHECK_STR(buf_cstr(b), "");
	buf_clear(b);
	CHECK(!buf_failed(b));
	CHECK_INT(buf_adds(b, "again"), 0);
	CHECK_STR(buf_cstr(b), "again");
}

TEST(copies_of_every_length_are_whole_and_touch_nothing_else)
{
	char from[COPY_LONG + 300], to[COPY_LONG + 400];

	rand_bytes(from, sizeof(from));
	for (size_t n = 0; n + 16 < sizeof(from); n += n < COPY_LONG - 2 ? 97 : 1) {
		memset(to, 0x5a, sizeof(to));
		copy_bytes(to + 3 + n % 16, from + n % 16, n);
		CHECK(!memcmp(to + 3 + n % 16, from + n % 16, n));
		CHECK(to[2 + n % 16] == 0x5a && to[3 + n % 16 + n] == 0x5a);
	}
	copy_bytes(NULL, NULL, 0);
}

TEST(a_full_buffer_stays_failed_until_it_is_cleared)
{
	struct arena a;
	struct buf b;

	buf_init(&b, 100);
	fill_to_the_limit(&b);
	buf_release(&b);
	CHECK(!b.p && b.max == 100);

	arena_init(&a, 256, 4096);
	buf_init_arena(&b, &a, 100);
	fill_to_the_limit(&b);
	buf_release(&b);
	arena_release(&a);
}

TEST(the_terminator_needs_no_room)
{
	struct buf b;

	buf_init(&b, 3);
	CHECK_STR(buf_cstr(&b), "");
	CHECK_INT(buf_adds(&b, "abc"), 0);
	CHECK_STR(buf_cstr(&b), "abc");
	CHECK(slice_eq_str(buf_slice(&b), "abc"));
	buf_release(&b);
}

TEST(an_arena_buffer_grows_in_place_and_fails_with_the_arena)
{
	struct arena a;
	struct buf b;
	char *p;

	arena_init(&a, 4096, 1000);
	buf_init_arena(&b, &a, 100000);
	CHECK_INT(buf_adds(&b, "x"), 0);
	p = b.p;
	for (int i = 0; i < 500; i++)
		CHECK_INT(buf_addc(&b, 'x'), 0);
	CHECK(b.p == p);
	CHECK_INT(buf_append(&b, p, 400), 0);
	while (!buf_addc(&b, 'x'))
		CHECK(b.n < 1001);
	CHECK(buf_failed(&b));
	arena_release(&a);
}

static const struct {
	uint64_t v;
	const char *text;
} decimal_cases[] = {
	{0, "0"},
	{9, "9"},
	{10, "10"},
	{99, "99"},
	{100, "100"},
	{12345, "12345"},
	{UINT64_MAX, "18446744073709551615"},
};

TEST(numbers_are_written_in_decimal)
{
	struct buf b;

	buf_init(&b, 100);
	for (size_t i = 0; i < COUNT_OF(decimal_cases); i++) {
		buf_clear(&b);
		CHECK_INT(buf_addu(&b, decimal_cases[i].v), 0);
		CHECK_STR(buf_cstr(&b), decimal_cases[i].text);
	}
	buf_release(&b);
}

TEST(printf_appends)
{
	struct buf b;

	buf_init(&b, 10);
	CHECK_INT(buf_printf(&b, "%s=%d;", "n", 42), 0);
	CHECK_INT(buf_printf(&b, "%s", "1234"), 0);
	CHECK_STR(buf_cstr(&b), "n=42;1234");
	CHECK_INT(buf_printf(&b, "%s", "12"), E_TOOBIG);
	buf_release(&b);
}

TEST(reserve_gives_room_and_consume_takes_from_the_front)
{
	struct buf b;
	char *p;

	buf_init(&b, 1000);
	p = buf_reserve(&b, 5);
	memcpy(p, "hello", 5);
	b.n += 5;
	CHECK(buf_reserve(&b, 996) == NULL);
	buf_clear(&b);
	CHECK_INT(buf_add(&b, SLICE_LIT("hello")), 0);
	buf_consume(&b, 2);
	CHECK_STR(buf_cstr(&b), "llo");
	buf_consume(&b, 0);
	buf_consume(&b, 99);
	CHECK_INT(b.n, 0);
	buf_release(&b);
}
