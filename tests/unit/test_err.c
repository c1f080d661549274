/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: the sentence, its prefix, and nobody listening. */
#include "core/base/err.h"

#include "t.h"

TEST(set_fills_and_returns_the_code)
{
	struct err e = {0};

	CHECK_INT(err_set(&e, E_IO, "no %s", "disk"), E_IO);
	CHECK_INT(e.code, E_IO);
	CHECK_STR(e.text, "no disk");
	CHECK_INT(err_set(NULL, E_BUSY, "nobody %s", "listens"), E_BUSY);
}

TEST(a_sentence_has_no_line_break_and_an_end)
{
	char longer[2000];
	struct err e = {0};

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	err_set(&e, E_INVALID, "a\nb\r%s", longer);
	CHECK(!strncmp(e.text, "a b x", 5));
	CHECK_INT(strlen(e.text), sizeof(e.text) - 1);
	err_prefix(&e, "%s", longer);
	CHECK_INT(strlen(e.text), sizeof(e.text) - 1);
}

TEST(prefix_goes_in_front_and_may_quote_the_old_text)
{
	struct err e = {0};

	err_set(&e, E_IO, "gone");
	CHECK_INT(err_prefix(&e, "file %d", 3), E_IO);
	CHECK_STR(e.text, "file 3: gone");
	err_set(&e, E_IO, "again: %s", e.text);
	CHECK_STR(e.text, "again: file 3: gone");
	CHECK_INT(err_prefix(NULL, "x"), 0);
}

TEST(every_code_has_a_name)
{
	for (int code = 0; code >= E_UNSUPPORTED; code--)
		CHECK(strcmp(err_name(code), "unknown error") != 0);
	CHECK_STR(err_name(E_NOTFOUND), "not found");
	CHECK_STR(err_name(-999), "unknown error");
	CHECK_STR(err_name(5), "unknown error");
}
