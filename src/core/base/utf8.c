/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8, one character at a time behind a fast run over ASCII.  The table of RFC 3629 section 4 is in sequence(). */
#include "core/base/utf8.h"

/* What may follow a lead byte: how long the character is, and the bounds of its second byte (all others: 80..BF). */
struct sequence {
	unsigned char len, low, high;
};

static struct sequence sequence(unsigned char lead)
{
	if (lead < 0x80)
		return (struct sequence){1, 0, 0};
	if (lead < 0xc2 || lead > 0xf4)
		return (struct sequence){0, 0, 0};
	if (lead < 0xe0)
		return (struct sequence){2, 0x80, 0xbf};
	if (lead < 0xf0)
		return (struct sequence){3, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf};
	return (struct sequence){4, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf};
}

static bool is_tail(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* Length of the character at the front, 0 if it is wrong or cut. */
static size_t char_len(struct slice s)
{
	struct sequence seq = sequence((unsigned char)s.p[0]);

	if (seq.len <= 1)
		return seq.len;
	if (s.n < seq.len || (unsigned char)s.p[1] < seq.low || (unsigned char)s.p[1] > seq.high)
		return 0;
	for (size_t i = 2; i < seq.len; i++)
		if (!is_tail(s.p[i]))
			return 0;
	return seq.len;
}

size_t utf8_valid_prefix(struct slice s)
{
	size_t at = 0;

	while (at < s.n) {
		uint64_t word;
		size_t n;

		while (s.n - at >= sizeof(word)) {
			memcpy(&word, s.p + at, sizeof(word));
			if (word & 0x8080808080808080U)
				break;
			at += sizeof(word);
		}
		if (at == s.n)
			break;
		n = char_len((struct slice){s.p + at, s.n - at});
		if (n == 0)
			return at;
		at += n;
	}
	return s.n;
}

bool utf8_valid(struct slice s)
{
	return utf8_valid_prefix(s) == s.n;
}

size_t utf8_decode(struct slice s, uint32_t *ret_cp)
{
	static const unsigned char lead_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	size_t n = s.n ? char_len(s) : 0;
	uint32_t cp;

	if (n == 0)
		return 0;
	cp = (unsigned char)s.p[0] & lead_mask[n];
	for (size_t i = 1; i < n; i++)
		cp = cp << 6 | ((unsigned char)s.p[i] & 0x3f);
	*ret_cp = cp;
	return n;
}

static char tail(uint32_t cp, unsigned shift)
{
	return (char)(0x80 | (cp >> shift & 0x3f));
}

size_t utf8_encode(uint32_t cp, char out[4])
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xc0 | cp >> 6);
		out[1] = tail(cp, 0);
		return 2;
	}
	if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return 0;
	if (cp < 0x10000) {
		out[0] = (char)(0xe0 | cp >> 12);
		out[1] = tail(cp, 6);
		out[2] = tail(cp, 0);
		return 3;
	}
	out[0] = (char)(0xf0 | cp >> 18);
	out[1] = tail(cp, 12);
	out[2] = tail(cp, 6);
	out[3] = tail(cp, 0);
	return 4;
}

struct slice utf8_truncate(struct slice s, size_t max)
{
	size_t n = max;

	if (s.n <= max)
		return s;
	while (n > 0 && max - n < 3 && is_tail(s.p[n]))
		n--;
	if (is_tail(s.p[n])) /* no text in UTF-8: any cut is as good */
		n = max;
	return (struct slice){s.p, n};
}

size_t utf8_partial_tail(struct slice s)
{
	for (size_t n = 1; n <= 3 && n <= s.n; n++) {
		const char *p = s.p + s.n - n;
		struct sequence seq;

		if (is_tail(*p))
			continue;
		seq = sequence((unsigned char)*p);
		if (seq.len <= n)
			return 0;
		if (n > 1 && ((unsigned char)p[1] < seq.low || (unsigned char)p[1] > seq.high))
			return 0;
		return n;
	}
	return 0;
}
