/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes around the place where one model goes on for another: seam.h. */
#include "serving/gateway/seam.h"

#include <string.h>

#include "core/base/util.h"

/* Spaces of Unicode that are more than one byte. */
static const char *const wide_spaces[] = {
	"\xc2\x85",	"\xc2\xa0",	"\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83",
	"\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a",
	"\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
};

/* Bytes of white space at the end of the text. */
static size_t space_at_end(struct slice text)
{
	unsigned char c = text.n ? (unsigned char)text.p[text.n - 1] : 'x';

	if (c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f))
		return 1;
	for (size_t i = 0; c >= 0x80 && i < COUNT_OF(wide_spaces); i++)
		if (slice_ends(text, slice_from(wide_spaces[i])))
			return strlen(wide_spaces[i]);
	return 0;
}

struct slice seam_trim(struct slice text)
{
	size_t n;

	while ((n = space_at_end(text)) > 0)
		text.n -= n;
	return text;
}

static size_t common(struct slice a, struct slice b)
{
	size_t n = 0;

	while (n < a.n && n < b.n && a.p[n] == b.p[n])
		n++;
	return n;
}

/* The white space again: as much of it as is the same. */
static struct slice after_space(struct seam *s, struct slice text)
{
	size_t n = common(s->space, text);

	s->space = n < text.n ? (struct slice){NULL, 0} : slice_sub(s->space, n, s->space.n);
	return slice_sub(text, n, text.n);
}

/* What was held back, now that it is no repetition. */
static struct slice let_go(struct seam *s)
{
	struct slice held = slice_sub(s->begun, 0, s->repeated);

	s->begun = (struct slice){NULL, 0};
	s->repeated = 0;
	return after_space(s, held);
}

struct seam_text seam_take(struct seam *s, struct slice text)
{
	struct slice rest = slice_sub(s->begun, s->repeated, s->begun.n);
	struct seam_text ret = {{NULL, 0}, text};
	size_t n;

	if (rest.n) {
		n = common(rest, text);
		s->repeated += n;
		ret.text = slice_sub(text, n, text.n);
		if (n < rest.n && ret.text.n) {
			ret.held = let_go(s);
		} else if (n == rest.n) { /* it did say it again */
			s->begun = (struct slice){NULL, 0};
			s->repeated = 0;
		}
	}
	if (!s->begun.n)
		ret.text = after_space(s, ret.text);
	return ret;
}

struct slice seam_end(struct seam *s)
{
	return let_go(s);
}
