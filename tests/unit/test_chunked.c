/* SPDX-License-Identifier: Apache-2.0 */
/* The chunked decoder: payloads, refusals, limits, and every way to cut the bytes. */
#include "tests/pieces.h"

#include "t.h"

static const struct {
	const char *in, *payload;
	int rc;		  /* of the whole input: 1 done, 0 more needed, E_* refused */
	const char *rest; /* when done: what follows */
} cases[] = {
	{"0\r\n\r\n", "", 1, ""},
	{"5\r\nhello\r\n0\r\n\r\n", "hello", 1, ""},
	{"5\r\nhello\r\n0\r\n\r\nGET /", "hello", 1, "GET /"},
	{"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc", 1, ""},
	{"a\r\n0123456789\r\nA\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", "0123456789\r\n\r\n\r\n\r\n\r\n", 1, ""},
	{"0005\r\nhello\r\n000\r\n\r\n", "hello", 1, ""},
	{"5;name=value;x=\"y z\"\r\nhello\r\n0;last\r\n\r\n", "hello", 1, ""},
	{"5 \t;n\r\nhello\r\n0\r\n\r\n", "hello", 1, ""},
	{"0\r\nTrailer: a\r\nOther:\tb\xe9\r\n\r\nX", "", 1, "X"},
	{"", "", 0, NULL},
	{"5", "", 0, NULL},
	{"5\r\nhel", "hel", 0, NULL},
	{"5\r\nhello\r\n", "hello", 0, NULL},
	{"5\r\nhello\r\n0\r\n", "hello", 0, NULL},
	{"5\r\nhello\r\n0\r\n\r", "hello", 0, NULL},
	{"\r\n", "", E_INVALID, NULL},
	{";x\r\n", "", E_INVALID, NULL},
	{" 5\r\nhello\r\n", "", E_INVALID, NULL},
	{"5 \r\nhello\r\n", "", E_INVALID, NULL},
	{"g\r\n", "", E_INVALID, NULL},
	{"0x5\r\nhello", "", E_INVALID, NULL},
	{"-1\r\n", "", E_INVALID, NULL},
	{"+5\r\nhello\r\n", "", E_INVALID, NULL},
	{"5_0\r\n", "", E_INVALID, NULL},
	{"5\nhello\r\n", "", E_INVALID, NULL},
	{"5\rhello\r\n", "", E_INVALID, NULL},
	{"5;a\nhello", "", E_INVALID, NULL},
	{"5;a\x01\r\n", "", E_INVALID, NULL},
	{"5;a\x7f\r\n", "", E_INVALID, NULL},
	{"5\r\nhelloX", "hello", E_INVALID, NULL},
	{"5\r\nhello\n", "hello", E_INVALID, NULL},
	{"5\r\nhello\rX", "hello", E_INVALID, NULL},
	{"0\r\n\n", "", E_INVALID, NULL},
	{"0\r\n\rX", "", E_INVALID, NULL},
	{"0\r\nA: b\n\r\n", "", E_INVALID, NULL},
	{"0\r\nA: b\rX", "", E_INVALID, NULL},
	{"0\r\n folded\r\n\r\n", "", E_INVALID, NULL},
	{"0\r\nA: \x02\r\n\r\n", "", E_INVALID, NULL},
	{"10000000001\r\n", "", E_TOOBIG, NULL},
	{"fffffffffffffffffffffff\r\n", "", E_TOOBIG, NULL},
};

/* Decodes all of in; *ret_rest is what was not taken. */
static int decode(struct slice in, struct buf *payload, struct slice *ret_rest, struct err *err)
{
	struct chunked c;
	int rc = 0;

	chunked_init(&c);
	while (rc == 0 && in.n > 0) {
		struct slice data;

		rc = chunked_next(&c, &in, &data, err);
		(void)buf_add(payload, data);
	}
	*ret_rest = in;
	return rc;
}

TEST(payload_end_and_refusals_are_as_the_table_says)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf payload;
		struct slice rest;
		struct err err = {0};
		int rc;

		buf_init(&payload, 1000);
		rc = decode(slice_from(cases[i].in), &payload, &rest, &err);
		if (rc != cases[i].rc)
			printf("# case %zu: %s\n", i, err.text);
		CHECK_INT(rc, cases[i].rc);
		CHECK_STR(buf_cstr(&payload), cases[i].payload);
		CHECK((rc < 0) == (err.text[0] != '\0'));
		if (rc == 1)
			CHECK(slice_eq_str(rest, cases[i].rest));
		buf_release(&payload);
	}
}

TEST(every_way_to_cut_the_bytes_gives_the_same)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK(same_in_pieces(transcribe_chunked, slice_from(cases[i].in), 0, SIZE_MAX));
}

TEST(a_chunk_of_the_largest_size_passes_and_one_more_byte_does_not)
{
	struct slice in = SLICE_LIT("10000000000\r\nx"), data;
	struct chunked c;

	chunked_init(&c);
	CHECK_INT(chunked_next(&c, &in, &data, NULL), 0);
	CHECK_INT(data.n, 1);
	CHECK(c.left == CHUNKED_MAX_CHUNK_BYTES - 1);
	in = SLICE_LIT("10000000001\r\n");
	chunked_init(&c);
	CHECK_INT(chunked_next(&c, &in, &data, NULL), E_TOOBIG);
}

/* start, then fill until the text with its end has n bytes. */
static struct slice filled(struct buf *b, const char *start, const char *end, size_t n)
{
	buf_clear(b);
	(void)buf_adds(b, start);
	while (b->n + strlen(end) < n)
		(void)buf_addc(b, 'x');
	(void)buf_adds(b, end);
	return buf_slice(b);
}

TEST(lines_and_trailers_pass_at_their_limits_and_not_one_past_them)
{
	struct buf b, payload;
	struct slice rest;

	buf_init(&b, 20000);
	buf_init(&payload, 100);
	for (size_t over = 0; over <= 1; over++) {
		struct slice in = filled(&b, "5;", "\r\n", CHUNKED_MAX_LINE_BYTES + over);

		CHECK_INT(decode(in, &payload, &rest, NULL), over ? E_TOOBIG : 0);
		CHECK(same_in_pieces(transcribe_chunked, in, 0, 0));
		in = filled(&b, "0\r\nA: ", "\r\n\r\n", 3 + CHUNKED_MAX_TRAILER_BYTES + over);
		CHECK_INT(decode(in, &payload, &rest, NULL), over ? E_TOOBIG : 1);
		CHECK(same_in_pieces(transcribe_chunked, in, 0, 0));
	}
	buf_clear(&b);
	for (size_t i = 0; i <= CHUNKED_MAX_LINE_BYTES; i++)
		(void)buf_addc(&b, '0');
	CHECK_INT(decode(buf_slice(&b), &payload, &rest, NULL), E_TOOBIG);
	buf_release(&b);
	buf_release(&payload);
}

TEST(after_the_end_or_a_refusal_nothing_more_is_taken)
{
	struct slice in = SLICE_LIT("0\r\n\r\n"), data;
	struct chunked c;

	chunked_init(&c);
	CHECK_INT(chunked_next(&c, &in, &data, NULL), 1);
	in = SLICE_LIT("5\r\n");
	CHECK_INT(chunked_next(&c, &in, &data, NULL), 1);
	CHECK(in.n == 3 && data.n == 0);
	chunked_init(&c);
	in = SLICE_LIT("x");
	CHECK_INT(chunked_next(&c, &in, &data, NULL), E_INVALID);
	in = SLICE_LIT("5\r\nhello\r\n");
	CHECK_INT(chunked_next(&c, &in, &data, NULL), E_INVALID);
	CHECK(in.n == 10 && data.n == 0);
	chunked_init(&c);
	in = SLICE_LIT("fffffffffff");
	CHECK_INT(chunked_next(&c, &in, &data, NULL), E_TOOBIG);
	CHECK_INT(chunked_next(&c, &in, &data, NULL), E_TOOBIG);
}

TEST(payload_is_handed_out_where_it_stands)
{
	struct slice in = SLICE_LIT("5\r\nhello\r\n0\r\n\r\n"), data;
	const char *start = in.p;
	struct chunked c;

	chunked_init(&c);
	CHECK_INT(chunked_next(&c, &in, &data, NULL), 0);
	CHECK(data.p == start + 3 && data.n == 5);
}
