/* SPDX-License-Identifier: Apache-2.0 */
/* What would break it: taking a text that is cut off for a shorter one. */
#include "core/base/base64.h"

#include "core/base/err.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(struct buf *out, const void *p, size_t n)
{
	const unsigned char *b = p;
	char *to = buf_reserve(out, (n + 2) / 3 * 4);

	if (!to)
		return E_TOOBIG;
	for (; n >= 3; n -= 3, b += 3) {
		*to++ = alphabet[b[0] >> 2];
		*to++ = alphabet[(b[0] & 3) << 4 | b[1] >> 4];
		*to++ = alphabet[(b[1] & 15) << 2 | b[2] >> 6];
		*to++ = alphabet[b[2] & 63];
	}
	if (n) {
		*to++ = alphabet[b[0] >> 2];
		*to++ = alphabet[(b[0] & 3) << 4 | (n == 2 ? b[1] >> 4 : 0)];
		*to = '=';
		if (n == 2)
			*to = alphabet[(b[1] & 15) << 2];
		to++;
		*to++ = '=';
	}
	out->n = (size_t)(to - out->p);
	return 0;
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

ptrdiff_t base64_decoded_size(struct slice text)
{
	size_t n = text.n, pad;
	int last;

	if (n % 4)
		return -1;
	while (n && text.n - n < 2 && text.p[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++)
		if (value_of(text.p[i]) < 0)
			return -1;
	pad = text.n - n;
	last = n ? value_of(text.p[n - 1]) : 0;
	if ((pad == 1 && last & 3) || (pad == 2 && last & 15))
		return -1;
	return (ptrdiff_t)(text.n / 4 * 3 - pad);
}

int base64_decode(struct buf *out, struct slice text)
{
	ptrdiff_t size = base64_decoded_size(text);
	uint32_t bits = 0;
	char *to;

	if (size < 0)
		return E_INVALID;
	to = buf_reserve(out, (size_t)size);
	if (!to)
		return E_TOOBIG;
	for (size_t i = 0; size; i++) {
		int v = value_of(text.p[i]);

		bits = bits << 6 | (uint32_t)(v < 0 ? 0 : v);
		if (i % 4 != 3)
			continue;
		for (int shift = 16; shift >= 0 && size; shift -= 8, size--)
			*to++ = (char)(bits >> shift & 255);
	}
	out->n = (size_t)(to - out->p);
	return 0;
}
