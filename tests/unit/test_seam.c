/* SPDX-License-Identifier: Apache-2.0 */
/* Where one model goes on for another: nothing twice, nothing missing, however the texts are cut. */
#include "serving/gateway/seam.h"

#include "t.h"

static const struct {
	const char *text, *trimmed;
} trims[] = {
	{"", ""},
	{"One", "One"},
	{"One ", "One"},
	{" One\t\r\n \n", " One"},
	{" \n", ""},
	{"One\xc2\xa0\xe3\x80\x80 ", "One"},
	{"One\xe2\x80\x89", "One"},
	{"\xc3\xa0", "\xc3\xa0"}, /* its last byte is that of a no-break space */
	{"\xe4\xb8\x80", "\xe4\xb8\x80"},
	{"One\x1f", "One"},
};

TEST(white_space_at_the_end_of_a_beginning_is_taken_off)
{
	for (size_t i = 0; i < sizeof(trims) / sizeof(trims[0]); i++)
		CHECK(slice_eq_str(seam_trim(slice_from(trims[i].text)), trims[i].trimmed));
}

static const struct {
	const char *begun, *space, *says, *is_new;
} seams[] = {
	{"", "", "two", "two"},
	{"", " ", "two", "two"},
	{"", " ", " two", "two"},
	{"", " ", "  two", " two"},
	{"", "\n\n", "\ntwo", "two"},
	{"", "\n\n", "\n\n\ntwo", "\ntwo"},
	{"", " ", "\ntwo", "\ntwo"},
	{"", "\xc2\xa0", "\xc2\xa0two", "two"},
	{"", " ", "", ""},
	{"", " ", " ", ""},
	{"One", "", "One two", " two"},
	{"One", " ", "One two", "two"},
	{"One", " ", " two", "two"},
	{"One", " ", "two", "two"},
	{"One", "", "Once more", "Once more"},
	{"One", " ", "Once more", "Once more"},
	{"One", "", "On", "On"},
	{"One", "", "OneOne", "One"},
	{"a b", " ", "a b a b", "a b"},
};

/* What is new when the model's text comes in pieces of so many bytes. */
static size_t feed(struct seam s, struct slice says, size_t piece, char *out)
{
	struct seam_text t;
	size_t n = 0;

	for (size_t at = 0; at < says.n; at += piece) {
		t = seam_take(&s, slice_sub(says, at, piece));
		memcpy(out + n, t.held.n ? t.held.p : "", t.held.n);
		n += t.held.n;
		memcpy(out + n, t.text.n ? t.text.p : "", t.text.n);
		n += t.text.n;
	}
	t.held = seam_end(&s);
	memcpy(out + n, t.held.n ? t.held.p : "", t.held.n);
	return n + t.held.n;
}

TEST(what_has_left_already_is_dropped_and_nothing_else)
{
	for (size_t i = 0; i < sizeof(seams) / sizeof(seams[0]); i++) {
		for (size_t piece = 1; piece < 12; piece++) {
			struct seam s = {.begun = slice_from(seams[i].begun), .space = slice_from(seams[i].space)};
			char out[64];
			size_t n = feed(s, slice_from(seams[i].says), piece, out);

			if (!slice_eq_str((struct slice){out, n}, seams[i].is_new))
				printf("# row %zu in pieces of %zu: '%.*s'\n", i, piece, (int)n, out);
			CHECK(slice_eq_str((struct slice){out, n}, seams[i].is_new));
		}
	}
}
