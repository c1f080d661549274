/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648, section 4): with padding, without line breaks. */
#pragma once
#include "core/base/buf.h"

int base64_encode(struct buf *out, const void *p, size_t n); /* 0 or E_TOOBIG */
/* How many bytes a text comes to, or -1: it is none.  Bits that no byte has must be 0. */
ptrdiff_t base64_decoded_size(struct slice text);
/* Appends them.  0, E_TOOBIG, or E_INVALID with nothing appended. */
int base64_decode(struct buf *out, struct slice text);
