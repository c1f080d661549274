/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing past U+10FFFF. */
#pragma once
#include "core/base/slice.h"

bool utf8_valid(struct slice s);
/* Offset of the first wrong byte, or s.n. */
size_t utf8_valid_prefix(struct slice s);
/* Decodes one code point; returns its length in bytes, or 0 if s is empty, wrong or cut. */
size_t utf8_decode(struct slice s, uint32_t *ret_cp);
size_t utf8_encode(uint32_t cp, char out[4]); /* 0 if cp is no scalar value */
/* The longest prefix of at most max bytes that ends between characters. */
struct slice utf8_truncate(struct slice s, size_t max);
/* How many bytes at the end are an incomplete character (0 to 3). */
size_t utf8_partial_tail(struct slice s);
