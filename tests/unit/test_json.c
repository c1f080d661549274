/* SPDX-License-Identifier: Apache-2.0 */
/* Reading JSON: what is accepted, what is refused and where, exact places, limits at the limit and one past it. */
#include "core/json/json.h"

#include <malloc.h>
#include <math.h>

#include "core/base/buf.h"
#include "t.h"

/* A parser, an arena and the text with its padding. */
struct fixture {
	struct json_parser *parser;
	struct arena arena;
	struct json *root;
	struct err err;
};

static void setup(struct fixture *f)
{
	*f = (struct fixture){.parser = json_parser_new()};
	arena_init(&f->arena, 4096, (size_t)64 << 20);
}

static void teardown(struct fixture *f)
{
	arena_release(&f->arena);
	json_parser_free(f->parser);
}

static int parse(struct fixture *f, struct slice text)
{
	arena_reset(&f->arena);
	f->err = (struct err){0, ""};
	return json_parse_copy(f->parser, &f->arena, text, NULL, &f->root, &f->err);
}

static const char *const valid_cases[] = {
	"null",
	"true",
	"false",
	"0",
	"-0",
	"-1.5e+10",
	"1E5",
	"0.0",
	"\"\"",
	"[]",
	"{}",
	"[[],{},[[]]]",
	"{\"\":{\"a\":[1,2.5,null]},\"b\":\"\xf0\x9f\x98\x80\"}",
	"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",
	"\"\\uD83D\\uDE00\"",
	"\"[1,2,{\\\"x\\\":\"",
	"{\"a\":1,\"a\":2}",
	"\"\x7f\"",
};

TEST(valid_texts_are_accepted_with_any_white_space_around)
{
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < COUNT_OF(valid_cases); i++) {
		char spaced[200];

		CHECK_INT(parse(&f, slice_from(valid_cases[i])), 0);
		CHECK(slice_eq_str(f.root->raw, valid_cases[i]));
		snprintf(spaced, sizeof(spaced), " \t\r\n%s\n\r\t ", valid_cases[i]);
		CHECK_INT(parse(&f, slice_from(spaced)), 0);
		CHECK(slice_eq_str(f.root->raw, valid_cases[i]));
	}
	teardown(&f);
}

static const struct {
	const char *text, *where;
} invalid_cases[] = {
	{"", "at byte 0:"},
	{" \n ", "at byte 3:"},
	{"tru", "at byte 0:"},
	{"True", "at byte 0:"},
	{"nullx", "at byte 0:"},
	{"null null", "at byte 5:"},
	{"nan", "at byte 0:"},
	{"Infinity", "at byte 0:"},
	{"01", "at byte 0:"},
	{"-01", "at byte 0:"},
	{"-", "at byte 0:"},
	{"+1", "at byte 0:"},
	{".5", "at byte 0:"},
	{"1.", "at byte 0:"},
	{"1.e1", "at byte 0:"},
	{"1e", "at byte 0:"},
	{"1e+", "at byte 0:"},
	{"0x10", "at byte 0:"},
	{"1_000", "at byte 0:"},
	{"12\"a\"", "at byte 0:"},
	{"[1e400]", "at byte 1:"},
	{"[-1e400]", "at byte 1:"},
	{"[", "at byte 1:"},
	{"[1", "at byte 2:"},
	{"[1,", "at byte 3:"},
	{"[1,]", "at byte 3:"},
	{"[,1]", "at byte 1:"},
	{"[1 2]", "at byte 3:"},
	{"[1}", "at byte 2:"},
	{"]", "at byte 0:"},
	{"{", "at byte 1:"},
	{"{\"a\"", "at byte 4:"},
	{"{\"a\":", "at byte 5:"},
	{"{\"a\":1", "at byte 6:"},
	{"{\"a\":1,}", "at byte 7:"},
	{"{\"a\" 1}", "at byte 5:"},
	{"{\"a\":1 \"b\":2}", "at byte 7:"},
	{"{a:1}", "at byte 1:"},
	{"{1:1}", "at byte 1:"},
	{"{'a':1}", "at byte 1:"},
	{"{\"a\":1]", "at byte 6:"},
	{"{}{}", "at byte 2:"},
	{"[] x", "at byte 3:"},
	{"\"abc", "at byte 0:"},
	{"[\"a\", \"b\\\"", "at byte 6:"},
	{"\"a\"b", "at byte 3:"},
	{"\"a\"\"b\"", "at byte 3:"},
	{"\"a\tb\"", "at byte 2:"},
	{"[\"x\", \"a\nb\"]", "at byte 8:"},
	{"\"\\x41\"", "at byte 1:"},
	{"\"ab\\u00g0\"", "at byte 3:"},
	{"\"\\u004\"", "at byte 1:"},
	{"\"\\ud800\"", "at byte 1:"},
	{"\"\\udc00\"", "at byte 1:"},
	{"\"\\ud800x\"", "at byte 1:"},
	{"\"\\ud800\\n\"", "at byte 1:"},
	{"\"\\ud800\\u0041\"", "at byte 1:"},
	{"\"\\ud800\\ud800\"", "at byte 1:"},
	{"{\"k\\ud800\":1}", "at byte 3:"},
	{"\"\xff\"", "at byte 1:"},
	{"[\"ok\",\"\xc0\x80\"]", "at byte 7:"},
	{"\"\xed\xa0\x80\"", "at byte 1:"},
	{"[1] \xff", "at byte 4:"},
	{"\xef\xbb\xbf{}", "at byte 0:"},
	{"[1\f]", "at byte "},
	{"[1\x1a]", "at byte "},
	{"[1\xc2\xa0]", "at byte 1:"},
	{"/* c */ 1", "at byte 0:"},
	{"[1] // c", "at byte 4:"},
};

TEST(broken_texts_are_refused_and_the_error_says_where)
{
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < COUNT_OF(invalid_cases); i++) {
		CHECK_INT(parse(&f, slice_from(invalid_cases[i].text)), E_INVALID);
		if (strncmp(f.err.text, invalid_cases[i].where, strlen(invalid_cases[i].where)))
			printf("# %s: %s\n", invalid_cases[i].text, f.err.text);
		CHECK(!strncmp(f.err.text, invalid_cases[i].where, strlen(invalid_cases[i].where)));
		CHECK_INT(parse(&f, slice_from("[1]")), 0); /* the parser is none the worse */
	}
	CHECK_INT(parse(&f, (struct slice){NULL, 0}), E_INVALID);
	CHECK_INT(parse(&f, (struct slice){"[1]\0", 4}), E_INVALID);
	CHECK_INT(parse(&f, (struct slice){"\"a\0b\"", 5}), E_INVALID);
	teardown(&f);
}

TEST(what_follows_the_text_does_not_matter)
{
	char text[16 + JSON_PADDING];
	struct fixture f;

	setup(&f);
	for (int c = 0; c < 256; c++) {
		memset(text, c, sizeof(text));
		memcpy(text, "[12]", 4);
		CHECK_INT(json_parse(f.parser, &f.arena, (struct slice){text, 4}, NULL, &f.root, &f.err), 0);
		memcpy(text, "12", 2);
		CHECK_INT(json_parse(f.parser, &f.arena, (struct slice){text, 2}, NULL, &f.root, &f.err), 0);
		CHECK_INT(f.root->integer, 12);
		memcpy(text, "tru", 3);
		CHECK_INT(json_parse(f.parser, &f.arena, (struct slice){text, 3}, NULL, &f.root, &f.err), E_INVALID);
	}
	teardown(&f);
}

TEST(every_value_knows_its_exact_bytes)
{
	const char *text = " { \"a\" : [ 1 , \"x y\" , { } ] , \"b\\n\" :true,\"c\": -1.50 } ";
	const struct json *a, *item;
	struct fixture f;

	setup(&f);
	CHECK_INT(parse(&f, slice_from(text)), 0);
	CHECK_INT(f.root->n_items, 3);
	CHECK(!f.root->key.p && !f.root->next);
	a = f.root->first;
	CHECK(slice_eq_str(a->key, "a") && slice_eq_str(a->raw, "[ 1 , \"x y\" , { } ]"));
	CHECK_INT(a->n_items, 3);
	item = a->first;
	CHECK(slice_eq_str(item->raw, "1") && !item->key.p);
	item = item->next;
	CHECK(slice_eq_str(item->raw, "\"x y\"") && slice_eq_str(item->str, "x y"));
	CHECK(item->str.p == item->raw.p + 1); /* borrowed */
	item = item->next;
	CHECK(slice_eq_str(item->raw, "{ }") && item->type == JSON_OBJECT && item->n_items == 0 && !item->next);
	CHECK(slice_eq_str(a->next->key, "b\n") && slice_eq_str(a->next->raw, "true"));
	CHECK(slice_eq_str(a->next->next->raw, "-1.50"));
	teardown(&f);
}

static const struct {
	const char *text;
	bool is_integer;
	int64_t integer;
	double number;
} number_cases[] = {
	{"0", true, 0, 0},
	{"-0", true, 0, -0.0},
	{"9223372036854775807", true, INT64_MAX, 9223372036854775807.0},
	{"9223372036854775808", false, 0, 9223372036854775808.0},
	{"-9223372036854775808", true, INT64_MIN, -9223372036854775808.0},
	{"-9223372036854775809", false, 0, -9223372036854775809.0},
	{"18446744073709551616", false, 0, 18446744073709551616.0},
	{"123456789012345678901234567890", false, 0, 123456789012345678901234567890.0},
	{"1.0", false, 0, 1},
	{"1e2", false, 0, 100},
	{"0.1", false, 0, 0.1},
	{"1.7976931348623157e308", false, 0, 1.7976931348623157e308},
	{"5e-324", false, 0, 5e-324},
	{"-1e-999", false, 0, -0.0},
	{"2.2250738585072011e-308", false, 0, 2.2250738585072011e-308},
};

TEST(numbers_are_exact)
{
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < COUNT_OF(number_cases); i++) {
		CHECK_INT(parse(&f, slice_from(number_cases[i].text)), 0);
		CHECK_INT(f.root->type, JSON_NUMBER);
		CHECK_INT(f.root->is_integer, number_cases[i].is_integer);
		CHECK_INT(f.root->integer, number_cases[i].integer);
		CHECK(f.root->number == number_cases[i].number);
		CHECK_INT(!!signbit(f.root->number), !!signbit(number_cases[i].number));
	}
	teardown(&f);
}

static const struct {
	const char *text, *decoded;
	size_t n;
} string_cases[] = {
	{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
	{"\"a\\u0041\\u00e4\\u20AC\\ud83d\\ude00z\"", "aA\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z", 12},
	{"\"x\\u0000y\"", "x\0y", 3},
	{"\"\\\\\\\\\"", "\\\\", 2},
	{"\"\\\\u0041\"", "\\u0041", 6},
	{"\"end\\n\"", "end\n", 4},
};

TEST(escapes_are_decoded)
{
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < COUNT_OF(string_cases); i++) {
		CHECK_INT(parse(&f, slice_from(string_cases[i].text)), 0);
		CHECK(slice_eq(f.root->str, (struct slice){string_cases[i].decoded, string_cases[i].n}));
		CHECK(slice_eq_str(f.root->raw, string_cases[i].text));
	}
	teardown(&f);
}

TEST(depth_is_bounded)
{
	static const struct {
		uint32_t limit, depth;
		int rc;
	} cases[] = {{0, 64, 0},
		     {0, 65, E_TOOBIG},
		     {3, 3, 0},
		     {3, 4, E_TOOBIG},
		     {1u << 30, JSON_DEPTH_MAX, 0},
		     {1u << 30, JSON_DEPTH_MAX + 1, E_TOOBIG}};
	static char text[4 * JSON_DEPTH_MAX];
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct json_limits limits = {cases[i].limit, 0};
		size_t n = cases[i].depth;

		memset(text, '[', n);
		memset(text + n, ']', n);
		CHECK_INT(json_parse_copy(f.parser, &f.arena, (struct slice){text, 2 * n}, &limits, &f.root, &f.err),
			  cases[i].rc);
	}
	memset(text, '[', sizeof(text));
	CHECK_INT(parse(&f, (struct slice){text, sizeof(text)}), E_TOOBIG);
	teardown(&f);
}

TEST(the_number_of_values_is_bounded)
{
	struct json_limits limits = {0, 4};
	struct fixture f;

	setup(&f);
	CHECK_INT(json_parse_copy(f.parser, &f.arena, slice_from("[1,2,3]"), &limits, &f.root, &f.err), 0);
	CHECK_INT(json_parse_copy(f.parser, &f.arena, slice_from("[1,2,3,4]"), &limits, &f.root, &f.err), E_TOOBIG);
	CHECK_STR(f.err.text, "at byte 7: more than 4 values");
	teardown(&f);
}

TEST(a_full_arena_is_too_big)
{
	static const char text[] = "{\"a\":[1,2,3,\"long\\nenough to need room of its own\"]}";
	struct json_parser *p = json_parser_new();
	struct json *root;
	int ok = 0;

	for (size_t max = 0; max < 2000; max += 8) {
		struct arena a;
		struct err err = {0};
		int rc;

		arena_init(&a, 256, max);
		rc = json_parse_copy(p, &a, slice_from(text), NULL, &root, &err);
		CHECK(rc == 0 || (rc == E_TOOBIG && err.text[0]));
		CHECK(!ok || rc == 0);
		ok += rc == 0;
		arena_release(&a);
	}
	CHECK(ok > 0);
	json_parser_free(p);
	json_parser_free(NULL);
}

TEST(a_large_text_is_read_and_a_small_one_after_it)
{
	struct fixture f;
	struct buf b;

	setup(&f);
	buf_init(&b, (size_t)16 << 20);
	buf_addc(&b, '[');
	for (int i = 0; i < 200000; i++)
		buf_printf(&b, "%s\"item %d\"", i ? "," : "", i);
	buf_addc(&b, ']');
	for (int round = 0; round < 2; round++) {
		CHECK_INT(parse(&f, buf_slice(&b)), 0);
		CHECK_INT(f.root->n_items, 200000);
		CHECK_INT(f.root->raw.n, b.n);
		CHECK_INT(parse(&f, slice_from("{\"a\":1}")), 0);
	}
	buf_release(&b);
	teardown(&f);
}

static size_t heap_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

TEST(scratch_memory_is_given_back_after_a_large_text)
{
	size_t n = (size_t)4 << 20, before;
	struct fixture f;
	char *text = malloc(n);

	memset(text, ' ', n);
	text[0] = '1';
	setup(&f);
	CHECK_INT(parse(&f, (struct slice){"1", 1}), 0);
	before = heap_bytes();
	CHECK_INT(parse(&f, (struct slice){text, n}), 0);
	CHECK(slice_eq_str(f.root->raw, "1"));
	arena_reset(&f.arena);
	CHECK(heap_bytes() < before + ((size_t)1 << 20));
	free(text);
	teardown(&f);
}

TEST(members_are_found_by_name_and_the_second_of_a_name_too)
{
	const struct json *a;
	struct fixture f;

	setup(&f);
	CHECK_INT(parse(&f, slice_from("{\"a\":1,\"b\":2,\"\\u0061\":3,\"a\":4}")), 0);
	a = json_get(f.root, "a");
	CHECK_INT(a->integer, 1);
	CHECK_INT(json_duplicate(f.root, "a")->integer, 3);
	CHECK(!json_duplicate(f.root, "b") && !json_duplicate(f.root, "c"));
	CHECK(!json_get(f.root, "c") && !json_get(NULL, "a") && !json_get(a, "a"));
	teardown(&f);
}

static const struct {
	const char *member;
	int str, i64, dbl, boolean;
} typed_cases[] = {
	{"s", 0, E_INVALID, E_INVALID, E_INVALID},
	{"i", E_INVALID, 0, 0, E_INVALID},
	{"d", E_INVALID, E_INVALID, 0, E_INVALID},
	{"b", E_INVALID, E_INVALID, E_INVALID, 0},
	{"o", E_INVALID, E_INVALID, E_INVALID, E_INVALID},
	{"null", 0, 0, 0, 0},
	{"absent", 0, 0, 0, 0},
};

TEST(typed_members_refuse_other_types_and_leave_the_value_alone)
{
	struct fixture f;

	setup(&f);
	CHECK_INT(parse(&f, slice_from("{\"s\":\"x\",\"i\":5,\"d\":5.5,\"b\":true,\"o\":{},\"null\":null}")), 0);
	for (size_t i = 0; i < COUNT_OF(typed_cases); i++) {
		const char *name = typed_cases[i].member;
		struct slice s = SLICE_LIT("?");
		int64_t v = -1;
		double d = -1;
		bool b = false;

		CHECK_INT(json_get_str(f.root, name, &s, &f.err), typed_cases[i].str);
		CHECK(slice_eq_str(s, *name == 's' ? "x" : "?"));
		CHECK_INT(json_get_i64(f.root, name, &v, &f.err), typed_cases[i].i64);
		CHECK_INT(v, *name == 'i' ? 5 : -1);
		CHECK_INT(json_get_double(f.root, name, &d, &f.err), typed_cases[i].dbl);
		CHECK(d == (*name == 'i' ? 5 : *name == 'd' ? 5.5 : -1));
		CHECK_INT(json_get_bool(f.root, name, &b, &f.err), typed_cases[i].boolean);
		CHECK_INT(b, *name == 'b');
	}
	json_get_i64(f.root, "s", &(int64_t){0}, &f.err);
	CHECK_STR(f.err.text, "'s' must be a number, not a string");
	json_get_i64(f.root, "d", &(int64_t){0}, &f.err);
	CHECK_STR(f.err.text, "'d' must be a whole number");
	CHECK_STR(json_type_name(JSON_OBJECT), "object");
	teardown(&f);
}
