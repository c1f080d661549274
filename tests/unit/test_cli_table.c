/* SPDX-License-Identifier: Apache-2.0 */
/* What people see: tables that fit, widths in characters, and texts of others that cannot touch the terminal. */
#include "t.h"

#include "app/cli/out.h"

static char *printed;
static size_t n_printed;

static struct out begin(void)
{
	return (struct out){.to = open_memstream(&printed, &n_printed)};
}

static void check_printed(struct out *o, const char *want)
{
	fclose(o->to);
	CHECK_STR(printed, want);
	free(printed);
	printed = NULL;
}

#define TEXT(s)                           \
	{                                 \
		SLICE_LIT(s), STYLE_PLAIN \
	}

static const struct column columns[] = {{"NAME", .min_width = 6}, {"N", .right = true}, {"NOTE", .min_width = 4}};
static const struct cell cells[] = {TEXT("short"), TEXT("1"), TEXT("x"), TEXT("a name that is long"),
				    TEXT("1234"),  TEXT("")};

TEST(columns_are_as_wide_as_what_stands_in_them)
{
	struct out o = begin();

	out_table(&o, columns, 3, cells, 2);
	check_printed(&o, "NAME                    N  NOTE\n"
			  "short                   1  x\n"
			  "a name that is long  1234\n");
}

TEST(a_table_that_is_too_wide_gives_where_it_may)
{
	struct out o = begin();

	o.columns = 24;
	out_table(&o, columns, 3, cells, 2);
	check_printed(&o, "NAME             N  NOTE\n"
			  "short            1  x\n"
			  "a name that…  1234\n");
	o = begin();
	o.columns = 10; /* less than all minimums: they hold */
	out_table(&o, columns, 3, cells, 2);
	check_printed(&o, "NAME       N  NOTE\n"
			  "short      1  x\n"
			  "a nam…  1234\n");
}

TEST(a_table_without_titles_and_one_without_rows_print_no_more_than_there_is)
{
	static const struct column untitled[] = {{NULL}, {NULL}};
	static const struct cell facts[] = {TEXT("a"), TEXT("1"), TEXT("long"), TEXT("2")};
	struct out o = begin();

	out_table(&o, untitled, 2, facts, 2);
	check_printed(&o, "a     1\nlong  2\n");
	o = begin();
	out_table(&o, columns, 3, NULL, 0);
	check_printed(&o, "NAME  N  NOTE\n");
}

static const struct {
	const char *text;
	size_t width;
} widths[] = {
	{"", 0}, {"abc", 3}, {"äöü", 3}, {"日本", 2}, {"…", 1}, {"\xff\xfe", 2}, {"a\xe2\x80", 3}, {"😀", 1},
};

TEST(width_counts_characters_not_bytes)
{
	for (size_t i = 0; i < COUNT_OF(widths); i++)
		CHECK_INT(text_width(slice_from(widths[i].text)), widths[i].width);
}

TEST(cells_are_cut_between_characters)
{
	static const struct column one[] = {{"X", .min_width = 3}};
	static const struct cell cell[] = {TEXT("äöüäöü")};
	struct out o = begin();

	o.columns = 4;
	out_table(&o, one, 1, cell, 1);
	check_printed(&o, "X\näöü…\n");
}

static const struct {
	const char *text, *want;
} harmless[] = {
	{"plain\n\ttext", "plain\n\ttext"},
	{"a\033[31mred", "a\xef\xbf\xbd[31mred"},
	{"a\rb", "a\xef\xbf\xbd"
		 "b"},
	{"bell\a", "bell\xef\xbf\xbd"},
	{"\x7f", "\xef\xbf\xbd"},
	{"\xc2\x9b"
	 "31m",
	 "\xef\xbf\xbd"
	 "31m"},
	{"\xff", "\xef\xbf\xbd"},
	{"ümläut", "ümläut"},
};

TEST(texts_of_others_cannot_move_the_cursor_of_a_terminal)
{
	for (size_t i = 0; i < COUNT_OF(harmless); i++) {
		struct out o = begin();

		o.terminal = true;
		out_text(&o, slice_from(harmless[i].text));
		check_printed(&o, harmless[i].want);
	}
}

TEST(programs_get_the_bytes_as_they_are)
{
	struct out o = begin();

	out_text(&o, SLICE_LIT("a\033[31m\xff\r\n"));
	check_printed(&o, "a\033[31m\xff\r\n");
}

TEST(a_cell_is_one_line)
{
	static const struct column one[] = {{NULL}};
	static const struct cell cell[] = {TEXT("a\nb\tc")};
	struct out o = begin();

	out_table(&o, one, 1, cell, 1);
	check_printed(&o, "a b c\n");
}

TEST(colour_is_for_terminals_that_want_it)
{
	struct out o = begin();

	out_styled(&o, STYLE_BAD, SLICE_LIT("x"));
	o.colour = true;
	out_styled(&o, STYLE_BAD, SLICE_LIT("y"));
	out_styled(&o, STYLE_PLAIN, SLICE_LIT("z"));
	check_printed(&o, "x\033[31my\033[0mz");
}

TEST(no_color_and_columns_are_honoured)
{
	FILE *f = tmpfile();
	struct out o;

	setenv("COLUMNS", "72", 1);
	out_init(&o, f);
	CHECK_INT(o.columns, 72);
	CHECK(!o.terminal && !o.colour);
	setenv("COLUMNS", "seven", 1);
	out_init(&o, f);
	CHECK_INT(o.columns, 0); /* no terminal, no limit */
	unsetenv("COLUMNS");
	fclose(f);
}

TEST(words_wrap_at_the_width)
{
	struct out o = begin();

	out_wrapped(&o, "one two three four", 2, 10);
	check_printed(&o, "one two\n  three\n  four\n");
}

TEST(a_full_disk_is_noticed)
{
	FILE *f = fopen("/dev/full", "w");
	struct out o = {.to = f};

	if (!f)
		return;
	out_printf(&o, "x");
	CHECK(!out_finish(&o));
	fclose(f);
}
