/* SPDX-License-Identifier: Apache-2.0 */
/* Writing JSON: commas, escapes, numbers, and that what is written reads back. */
#include "core/json/writer.h"

#include <float.h>
#include <math.h>

#include "core/base/err.h"
#include "core/json/json.h"
#include "t.h"

static const struct {
	const char *in, *out;
} escape_cases[] = {
	{"", ""},
	{"plain", "plain"},
	{"a plain text that is longer than eight bytes", "a plain text that is longer than eight bytes"},
	{"\"", "\\\""},
	{"a\\b", "a\\\\b"},
	{"1234567\n89", "1234567\\n89"},
	{"12345678\x1f", "12345678\\u001f"},
	{"\b\f\n\r\t\v\x01", "\\b\\f\\n\\r\\t\\u000b\\u0001"},
	{"/\x7f", "/\x7f"},
	{"\xc3\xa4 \xf0\x9f\x98\x80 \xe2\x82\xac", "\xc3\xa4 \xf0\x9f\x98\x80 \xe2\x82\xac"},
	{"a\xff\xfe\"", "a\xef\xbf\xbd\xef\xbf\xbd\\\""},
	{"cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd"},
};

TEST(strings_are_escaped_and_wrong_bytes_replaced)
{
	struct buf b;

	buf_init(&b, 1000);
	for (size_t i = 0; i < COUNT_OF(escape_cases); i++) {
		buf_clear(&b);
		CHECK_INT(json_escape(&b, slice_from(escape_cases[i].in)), 0);
		CHECK_STR(buf_cstr(&b), escape_cases[i].out);
	}
	buf_release(&b);
}

TEST(every_byte_at_every_place_reads_back)
{
	struct json_parser *p = json_parser_new();
	struct arena a;
	struct buf b;

	arena_init(&a, 4096, 1 << 20);
	buf_init(&b, 1000);
	for (int c = 0; c < 128; c++) {
		for (size_t at = 0; at < 17; at++) {
			struct json_writer w;
			struct json *root;
			char text[17];

			memset(text, 'x', sizeof(text));
			text[at] = (char)c;
			buf_clear(&b);
			jw_init(&w, &b);
			jw_str(&w, (struct slice){text, sizeof(text)});
			arena_reset(&a);
			CHECK_INT(json_parse_copy(p, &a, buf_slice(&b), NULL, &root, NULL), 0);
			CHECK(slice_eq(root->str, (struct slice){text, sizeof(text)}));
		}
	}
	buf_release(&b);
	arena_release(&a);
	json_parser_free(p);
}

TEST(commas_stand_between_items_only)
{
	struct json_writer w;
	struct buf b;

	buf_init(&b, 1000);
	jw_init(&w, &b);
	jw_object(&w);
	jw_key(&w, "empty");
	jw_array(&w);
	jw_array_end(&w);
	jw_key_slice(&w, SLICE_LIT("q\""));
	jw_object(&w);
	jw_object_end(&w);
	jw_key(&w, "list");
	jw_array(&w);
	jw_i64(&w, -1);
	jw_array(&w);
	jw_null(&w);
	jw_array_end(&w);
	jw_object(&w);
	jw_kbool(&w, "b", false);
	jw_object_end(&w);
	jw_raw(&w, SLICE_LIT("{\"r\": 1}"));
	jw_cstr(&w, NULL);
	jw_array_end(&w);
	jw_kstr(&w, "s", SLICE_LIT("x"));
	jw_kcstr(&w, "c", "y");
	jw_kcstr(&w, "n", NULL);
	jw_ki64(&w, "i", 5);
	jw_kdouble(&w, "d", 0.5);
	jw_kraw(&w, "raw", SLICE_LIT("[1]"));
	jw_kraw(&w, "none", (struct slice){NULL, 0});
	jw_object_end(&w);
	CHECK_STR(buf_cstr(&b),
		  "{\"empty\":[],\"q\\\"\":{},\"list\":[-1,[null],{\"b\":false},{\"r\": 1},null],\"s\":\"x\","
		  "\"c\":\"y\",\"n\":null,\"i\":5,\"d\":0.5,\"raw\":[1],\"none\":null}");
	CHECK_INT(w.depth, 0);
	buf_release(&b);
}

TEST(nesting_reaches_its_limit)
{
	struct json_writer w;
	struct buf b;

	buf_init(&b, 1000);
	jw_init(&w, &b);
	for (int i = 0; i < 64; i++)
		jw_array(&w);
	jw_bool(&w, true);
	jw_bool(&w, true);
	for (int i = 0; i < 64; i++)
		jw_array_end(&w);
	CHECK_INT(b.n, 64 + 9 + 64);
	buf_release(&b);
}

static const struct {
	double v;
	const char *text;
} double_cases[] = {
	{0, "0"},
	{-0.0, "-0"},
	{1, "1"},
	{0.1, "0.1"},
	{-2.5, "-2.5"},
	{1e21, "1e+21"},
	{1.0 / 3, "0.3333333333333333"},
	{5e-324, "5e-324"},
	{DBL_MAX, "1.7976931348623157e+308"},
	{NAN, "null"},
	{INFINITY, "null"},
	{-INFINITY, "null"},
};

TEST(doubles_are_written_shortest)
{
	struct buf b;

	buf_init(&b, 1000);
	for (size_t i = 0; i < COUNT_OF(double_cases); i++) {
		struct json_writer w;

		buf_clear(&b);
		jw_init(&w, &b);
		jw_double(&w, double_cases[i].v);
		CHECK_STR(buf_cstr(&b), double_cases[i].text);
	}
	buf_release(&b);
}

TEST(all_doubles_of_two_decimals_are_written_as_people_write_them)
{
	struct json_writer w;
	struct buf b;

	buf_init(&b, 64);
	for (int i = 1; i < 120000; i++) { /* past where the short way ends */
		char want[32];

		snprintf(want, sizeof(want), "%.6g", i / 100.0);
		buf_clear(&b);
		jw_init(&w, &b);
		jw_double(&w, i / 100.0);
		if (strcmp(buf_cstr(&b), want))
			CHECK_STR(buf_cstr(&b), want);
	}
	buf_release(&b);
}

static const struct {
	int64_t v;
	const char *text;
} integer_cases[] = {{0, "0"}, {INT64_MAX, "9223372036854775807"}, {INT64_MIN, "-9223372036854775808"}};

TEST(integers_are_written_whole)
{
	struct buf b;

	buf_init(&b, 1000);
	for (size_t i = 0; i < COUNT_OF(integer_cases); i++) {
		struct json_writer w;

		buf_clear(&b);
		jw_init(&w, &b);
		jw_i64(&w, integer_cases[i].v);
		CHECK_STR(buf_cstr(&b), integer_cases[i].text);
	}
	buf_release(&b);
}

TEST(a_full_buffer_is_seen_at_the_end)
{
	for (size_t max = 0; max < 30; max++) {
		struct json_writer w;
		struct buf b;

		buf_init(&b, max);
		jw_init(&w, &b);
		jw_object(&w);
		jw_kstr(&w, "name", SLICE_LIT("a\nb\xff"));
		jw_object_end(&w);
		CHECK_INT(buf_failed(&b), max < 18);
		CHECK(b.n <= max);
		buf_release(&b);
	}
}
