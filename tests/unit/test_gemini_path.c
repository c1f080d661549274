/* SPDX-License-Identifier: Apache-2.0 */
/* Which paths are Gemini's, and the array that a stream may leave as, however its events are cut. */
#include "serving/gateway/array.h"
#include "serving/gateway/gemini_path.h"
#include "tests/pieces.h"

#include "t.h"

static const struct {
	const char *path, *query;
	bool is_geminis;
	const char *model, *call;
	bool array;
} cases[] = {
	{"/v1beta/models/a:generateContent", "", true, "a", "generateContent", false},
	{"/v1beta/models/a:8b:streamGenerateContent", "", true, "a:8b", "streamGenerateContent", true},
	{"/v1beta/models/a:streamGenerateContent", "alt=sse", true, "a", "streamGenerateContent", false},
	{"/v1beta/models/a:streamGenerateContent", "key=k&alt=json", true, "a", "streamGenerateContent", true},
	{"/v1beta/models/a:streamGenerateContent", "%24alt=json;enum-encoding=int", true, "a", "streamGenerateContent",
	 true},
	{"/v1beta/models/a:streamGenerateContent", "alt=proto", true, "a", "streamGenerateContent", false},
	{"/v1beta/models/a:unheardOf", "", true, "a", "unheardOf", false},
	{"/v1beta/models/a", "", true, "", "a", false},
	{"/v1beta/models/:generateContent", "", true, "", "generateContent", false},
	{"/v1beta/models/", "", true, "", "", false},
	{"/v1beta/models", "", true, "", "", false},
	{"/v1beta/", "", true, "", "", false},
	{"/v1beta", "", false, "", "", false},
	{"/v1/models/a:countTokens", "", true, "a", "countTokens", false},
	{"/v1/models/a:streamGenerateContent", "", true, "a", "streamGenerateContent", true},
	{"/v1/models/a:8b", "", false, "a", "8b", false},
	{"/v1/models/:generateContent", "", false, "", "generateContent", false},
	{"/v1/models", "", false, "", "", false},
	{"/v1/chat/completions", "", false, "", "", false},
	{"/api/v1/models/a:generateContent", "", false, "", "", false},
	{"", "", false, "", "", false},
};

TEST(a_path_says_whose_it_is_and_what_it_asks)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct http_head head = {.path = slice_from(cases[i].path), .query = slice_from(cases[i].query)};
		struct gemini_path p = {{NULL, 0}, {NULL, 0}};
		struct arena a;

		arena_init(&a, 1024, 1024);
		CHECK(gemini_path_read(head.path, &p) == cases[i].is_geminis);
		CHECK(slice_eq_str(p.model, cases[i].model) && slice_eq_str(p.call, cases[i].call));
		CHECK(gemini_path_wants_array(&head, &a) == cases[i].array);
		arena_release(&a);
	}
}

static const struct {
	const char *in, *out;
} streams[] = {
	{"", "[]\n"},
	{": nothing\n\n", "[]\n"},
	{"data: {}\r\n\r\n", "[{}\n]\n"},
	{"data: {}\n\n: ping\n\nevent: x\ndata: {\"a\":1}\n\n", "[{}\n,\n{\"a\":1}\n]\n"},
	{"data: {\"a\":\ndata: 1}\n\ndata:[]", "[{\"a\":\n1}\n,\n[]\n]\n"},
	{"data: 1\r\rdata: 2\r\r", "[1\n,\n2\n]\n"},
};

static void transcribe_array(struct slice in, struct cut cut, size_t max_bytes, struct buf *ret)
{
	struct slice piece;
	struct array *s;
	struct arena a;

	arena_init(&a, 1024, max_bytes);
	s = array_new(&a);
	for (piece = piece_take(&in, cut.first); s && piece.p; piece = piece_take(&in, cut.step)) {
		(void)buf_add(ret, array_add(s, piece)); /* a short one shows */
		piece_free(piece);
	}
	if (s) {
		(void)buf_add(ret, array_end(s, (struct slice){NULL, 0}));
		CHECK(!array_failed(s));
		array_release(s);
	}
	arena_release(&a);
}

TEST(events_are_elements_however_they_are_cut)
{
	for (size_t i = 0; i < COUNT_OF(streams); i++) {
		struct slice in = slice_from(streams[i].in);
		struct buf out;

		buf_init(&out, 4096);
		transcribe_array(in, (struct cut){0, 0}, 4096, &out);
		CHECK_STR(buf_cstr(&out), streams[i].out);
		buf_release(&out);
		CHECK(same_in_pieces(transcribe_array, in, 4096, SIZE_MAX));
	}
}

TEST(an_array_needs_a_place_to_be_kept)
{
	struct arena a;

	arena_init(&a, 16, 16);
	CHECK(!array_new(&a));
	arena_release(&a);
}
