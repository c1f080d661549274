/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: every rule of RFC 3629 has a row, and every code point goes there and back. */
#include "core/base/utf8.h"

#include "core/base/util.h"
#include "t.h"

static const struct {
	const char *in;
	int prefix; /* -1: all of it */
} valid_cases[] = {
	{"", -1},
	{"plain ascii, longer than a word", -1},
	{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", -1},
	{"\xed\x9f\xbf\xee\x80\x80", -1}, /* on both sides of the surrogates */
	{"\xf4\x8f\xbf\xbf", -1},
	{"12345678\xff", 8},
	{"a\x80", 1},		 /* a tail alone */
	{"\xc0\x80", 0},	 /* overlong */
	{"\xc1\xbf", 0},	 /* overlong */
	{"\xe0\x9f\xbf", 0},	 /* overlong */
	{"\xf0\x8f\xbf\xbf", 0}, /* overlong */
	{"\xed\xa0\x80", 0},	 /* surrogate */
	{"\xf4\x90\x80\x80", 0}, /* past U+10FFFF */
	{"\xf5\x80\x80\x80", 0},
	{"ab\xc3", 2}, /* cut */
	{"ab\xe2\x82", 2},
	{"ab\xf0\x9f\x98", 2},
	{"\xe2\x28\xa1", 0},
	{"\xe2\x82\x28", 0},
	{"\xf0\x9f\x98\x28", 0},
};

TEST(valid_prefix_ends_at_the_first_wrong_byte)
{
	for (size_t i = 0; i < COUNT_OF(valid_cases); i++) {
		struct slice s = slice_from(valid_cases[i].in);
		size_t want = valid_cases[i].prefix < 0 ? s.n : (size_t)valid_cases[i].prefix;

		CHECK_INT(utf8_valid_prefix(s), want);
		CHECK_INT(utf8_valid(s), want == s.n);
	}
}

TEST(every_code_point_goes_there_and_back)
{
	for (uint32_t cp = 0; cp <= 0x110000; cp++) {
		uint32_t back = 0;
		char text[4];
		size_t n = utf8_encode(cp, text);

		if ((cp >= 0xd800 && cp <= 0xdfff) || cp > 0x10ffff) {
			CHECK_INT(n, 0);
			continue;
		}
		CHECK_INT(utf8_decode((struct slice){text, n}, &back), n);
		CHECK_INT(back, cp);
		CHECK_INT(utf8_decode((struct slice){text, n - 1}, &back), 0);
	}
}

static const struct {
	const char *in;
	size_t max;
	const char *out;
} truncate_cases[] = {
	{"abc", 3, "abc"},
	{"abc", 2, "ab"},
	{"abc", 0, ""},
	{"a\xc3\xa4z", 2, "a"},
	{"a\xc3\xa4z", 3, "a\xc3\xa4"},
	{"\xf0\x9f\x98\x80", 3, ""},
	{"\xf0\x9f\x98\x80", 1, ""},
	{"\x80\x80\x80\x80\x80\x80", 5, "\x80\x80\x80\x80\x80"},
};

TEST(truncate_ends_between_characters)
{
	for (size_t i = 0; i < COUNT_OF(truncate_cases); i++)
		CHECK(slice_eq_str(utf8_truncate(slice_from(truncate_cases[i].in), truncate_cases[i].max),
				   truncate_cases[i].out));
}

static const struct {
	const char *in;
	size_t n;
} tail_cases[] = {
	{"", 0},	  {"abc", 0},		{"\xc3\xa4", 0},      {"a\xc3", 1},	   {"a\xe2", 1},
	{"a\xe2\x82", 2}, {"a\xe2\x82\xac", 0}, {"a\xf0\x9f\x98", 3}, {"a\xf0", 1},	   {"\x80\x80\x80", 0},
	{"\xff", 0},	  {"a\xed\xa0", 0},	{"a\xe0\x80", 0},     {"\xc3\xa4\x80", 0}, {"a\xc3z", 0},
};

TEST(partial_tail_counts_what_more_bytes_could_complete)
{
	for (size_t i = 0; i < COUNT_OF(tail_cases); i++)
		CHECK_INT(utf8_partial_tail(slice_from(tail_cases[i].in)), tail_cases[i].n);
}
