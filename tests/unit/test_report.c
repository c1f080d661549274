/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports in their three forms, against files in tests/unit/report (REPORT_WRITE=1 writes them anew), and words of
 * others that try to be more than words.
 */
#include "app/cli/report.h"

#include <math.h>
#include <stdlib.h>

#include "t.h"

#define S(x) SLICE_LIT(x)
#define T0 INT64_C(1763856000000000) /* 2025-11-23 00:00 */
#define HOUR INT64_C(3600000000)
#define EVIL "<script>alert(\"1\")</script> | `x` & 'y' _z_ a_b $1$ [u](v)\x1b[31m\n\xff"

static const double requests[] = {10, 0, 1234, 600}, latency[] = {120, NAN, 800, 2500};

static void fill(struct report *r)
{
	static const struct report_column columns[] = {{"USE CASE", .min_width = 10},
						       {"REQUESTS", true},
						       {"ERRORS", true, .drop = 1},
						       {"P95", true, .drop = 2}};
	static const struct cell cells[] = {
		{S("foundation_layer"), STYLE_PLAIN},
		{S("1,844"), STYLE_PLAIN},
		{S("0.11 %"), STYLE_GOOD},
		{S("412 ms"), STYLE_PLAIN},
		{S(EVIL), STYLE_BAD},
		{S("1"), STYLE_PLAIN},
		{S("100.0 %"), STYLE_BAD},
		{S("-"), STYLE_DIM},
	};
	static const struct report_item items[] = {
		{STYLE_BAD, "bad", S(EVIL), S("errors: 3 of 10"), S("muster log list --use-case 'a `b` ``c``'")},
		{STYLE_DIM, "note", S(""), S("nothing asked it"), S("muster health")},
	};
	struct report_section *s;

	*r = (struct report){.title = S("a <review>"), .subtitle = S("from here to there")};
	s = report_add(r, "Traffic", NULL);
	s->note = S("5 > 4 & \"so\"");
	s->table = (struct report_table){columns, COUNT_OF(columns), 2, cells};
	s->charts[s->n_charts++] = (struct report_chart){"requests", "", requests, 4, T0, HOUR, false, false};
	s->charts[s->n_charts++] = (struct report_chart){"latency p95", "ms", latency, 4, T0, HOUR, true, false};
	s = report_add(r, "Things to look at", "Nothing.");
	s->items = items;
	s->n_items = COUNT_OF(items);
	report_add(r, "Deployments", "None.");
}

static void compare(const char *path, struct slice got)
{
	FILE *f = fopen(path, getenv("REPORT_WRITE") ? "w" : "r");
	char want[32768] = "";
	size_t n;

	CHECK(f != NULL);
	if (!f)
		return;
	if (getenv("REPORT_WRITE")) {
		CHECK(fwrite(got.p, 1, got.n, f) == got.n);
	} else {
		n = fread(want, 1, sizeof(want), f);
		CHECK(slice_eq(got, (struct slice){want, n}));
		if (!slice_eq(got, (struct slice){want, n}))
			printf("# %s differs; it is\n" SLICE_FMT, path, SLICE_ARG(got));
	}
	CHECK_INT(fclose(f), 0);
}

/* What a terminal of that many columns gets; colour: with its sequences. */
static char *terminal(size_t columns, bool colour, bool utf8)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	struct out o = {.to = f, .terminal = true, .colour = colour, .columns = columns};
	struct report r;

	fill(&r);
	report_terminal(&o, &r, utf8);
	CHECK_INT(fclose(f), 0);
	return text;
}

TEST(a_terminal_gets_tables_lists_and_sparklines)
{
	char *text = terminal(80, false, true);

	compare("tests/unit/report/report.txt", slice_from(text));
	CHECK(!strchr(text, '\033'));
	free(text);
}

TEST(a_terminal_without_utf_8_gets_sparklines_of_ascii)
{
	char *text = terminal(80, false, false);

	CHECK(strstr(text, "requests      __#=  most 1,234\n") != NULL);
	CHECK(strstr(text, "latency p95   _ -#  most 2.50 s\n") != NULL);
	free(text);
}

TEST(colour_is_put_around_words_and_ends_behind_them)
{
	char *text = terminal(80, true, true);

	CHECK(strstr(text, "\033[32m0.11 %\033[0m") != NULL);
	CHECK(strstr(text, "\033[31mbad\033[0m") != NULL);
	CHECK(!strstr(text, "\x1b[31m\n"));
	free(text);
}

TEST(a_narrow_terminal_goes_without_the_columns_that_matter_least)
{
	char *wide = terminal(80, false, true), *narrow = terminal(36, false, true), *least = terminal(26, false, true);

	CHECK(strstr(wide, "P95\n") && strstr(wide, "ERRORS"));
	CHECK(!strstr(narrow, "P95\n") && strstr(narrow, "ERRORS"));
	CHECK(!strstr(least, "P95\n") && !strstr(least, "ERRORS") && strstr(least, "REQUESTS"));
	free(wide);
	free(narrow);
	free(least);
}

TEST(markdown_has_tables_and_no_word_of_others_that_means_something)
{
	struct report r;
	struct buf b;

	buf_init(&b, 65536);
	fill(&r);
	report_markdown(&b, &r);
	CHECK(!buf_failed(&b));
	compare("tests/unit/report/report.md", buf_slice(&b));
	CHECK(slice_find(buf_slice(&b), S("<script")) < 0);
	buf_release(&b);
}

TEST(html_is_one_file_in_which_words_stay_words)
{
	struct report r;
	struct buf b;

	buf_init(&b, 65536);
	fill(&r);
	report_html(&b, &r);
	CHECK(!buf_failed(&b));
	compare("tests/unit/report/report.html", buf_slice(&b));
	CHECK(slice_find(buf_slice(&b), S("<script")) < 0);
	CHECK(slice_find(buf_slice(&b), S("http:")) < 0);
	buf_release(&b);
}

static const struct {
	const char *in, *html, *markdown;
} escapes[] = {
	{"plain", "plain", "plain"},
	{"<a href='x'>\"&amp;", "&lt;a href=&#39;x&#39;&gt;&quot;&amp;amp;", "&lt;a href='x'&gt;\"&amp;amp;"},
	{"a|b", "a|b", "a\\|b"},
	{"`c` *d* [e]", "`c` *d* [e]", "\\`c\\` \\*d\\* \\[e\\]"},
	{"foundation_layer _x_", "foundation_layer _x_", "foundation_layer \\_x\\_"},
	{"back\\slash ~~no~~ $5", "back\\slash ~~no~~ $5", "back\\\\slash \\~\\~no\\~\\~ \\$5"},
	{"two\nlines\ttab", "two lines tab", "two lines tab"},
	{"esc\033[1m del\177 \302\205", "esc\xef\xbf\xbd[1m del\xef\xbf\xbd \xef\xbf\xbd",
	 "esc\xef\xbf\xbd\\[1m del\xef\xbf\xbd \xef\xbf\xbd"},
	{"bad\xff\xc3", "bad\xef\xbf\xbd\xef\xbf\xbd", "bad\xef\xbf\xbd\xef\xbf\xbd"},
	{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
	 "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
	{"\xef\xbf\xbe", "\xef\xbf\xbd", "\xef\xbf\xbe"}, /* no character of XML */
};

static const struct {
	double in;
	const char *money;
} amounts[] = {
	{0, "0.00"},
	{0.0000000014, "0.000000001"},
	{0.0000028, "0.0000028"},
	{0.0123, "0.012"},
	{0.5, "0.50"},
	{0.996, "1.00"},
	{1, "1.00"},
	{12.345, "12.35"},
	{999.999, "1,000.00"},
	{1234567.1, "1,234,567.10"},
	{1e300, "1,000,000,000,000.00"},
};

TEST(money_has_two_decimals_and_where_it_is_little_two_figures)
{
	char text[REPORT_NUMBER_SIZE];

	for (size_t i = 0; i < COUNT_OF(amounts); i++)
		CHECK_STR(report_money(amounts[i].in, text), amounts[i].money);
}

TEST(what_means_something_in_a_form_is_escaped_there)
{
	for (size_t i = 0; i < COUNT_OF(escapes); i++) {
		struct buf b;

		buf_init(&b, 4096);
		report_html_text(&b, slice_from(escapes[i].in));
		CHECK_STR(buf_cstr(&b), escapes[i].html);
		buf_clear(&b);
		report_markdown_text(&b, slice_from(escapes[i].in));
		CHECK_STR(buf_cstr(&b), escapes[i].markdown);
		buf_release(&b);
	}
}

static const struct {
	double in;
	const char *count, *ms, *percent;
} numbers[] = {
	{0, "0", "0 ms", "0.0 %"},
	{0.0004, "0", "0.0004 ms", "0.04 %"},
	{0.5, "0", "0.5 ms", "50.0 %"},
	{1, "1", "1 ms", "100.0 %"},
	{999, "999", "999 ms", "99900.0 %"},
	{1000, "1,000", "1.00 s", "100000.0 %"},
	{1234567, "1,234,567", "1234.6 s", "123456700.0 %"},
	{1e300, "1,000,000,000,000,000", "1000000000.0 s", "1000000000.0 %"},
};

TEST(numbers_are_written_for_people)
{
	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		char text[REPORT_NUMBER_SIZE];

		CHECK_STR(report_count(numbers[i].in, text), numbers[i].count);
		CHECK_STR(report_ms(numbers[i].in, text), numbers[i].ms);
		CHECK_STR(report_percent(numbers[i].in, text), numbers[i].percent);
	}
}

TEST(a_chart_without_any_figure_is_drawn_empty)
{
	static const double none[] = {NAN, NAN}, zero[] = {0, 0};
	const struct report_chart charts[] = {
		{"a", "ms", none, 2, T0, HOUR, true, false},
		{"b", "", zero, 2, T0, HOUR, false, true},
		{"c", "", NULL, 0, T0, HOUR, false, false},
	};

	for (size_t i = 0; i < COUNT_OF(charts); i++) {
		struct buf b;

		buf_init(&b, 65536);
		report_svg(&b, &charts[i], "x");
		CHECK(slice_find(buf_slice(&b), S("nan")) < 0 && slice_find(buf_slice(&b), S("inf")) < 0);
		CHECK(slice_find(buf_slice(&b), S("<rect")) < 0 && slice_find(buf_slice(&b), S("<circle")) < 0);
		buf_clear(&b);
		report_sparkline(&b, &charts[i], true);
		CHECK_STR(buf_cstr(&b), i == 0 ? "  " : i == 1 ? "▁▁" : "");
		buf_release(&b);
	}
}

TEST(a_report_has_room_for_so_many_sections)
{
	struct report r = {.n = 0};

	for (int i = 0; i < REPORT_MAX_SECTIONS; i++)
		CHECK(report_add(&r, "s", NULL) != NULL);
	CHECK(report_add(&r, "s", NULL) == NULL);
}
