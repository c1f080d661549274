/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding the chunked transfer coding, piece by piece, without copying.  Strict: no bare LF, sizes up to 2^40,
 * extensions and trailers skipped within limits. */
#pragma once
#include "core/base/err.h"
#include "core/base/slice.h"

#define CHUNKED_MAX_CHUNK_BYTES ((uint64_t)1 << 40)
#define CHUNKED_MAX_LINE_BYTES 1024    /* a size with its extensions, line end included */
#define CHUNKED_MAX_TRAILER_BYTES 8192 /* all trailers, the blank line included */

struct chunked {
	int state;
	uint64_t left;	     /* bytes of the current chunk still to come */
	unsigned line_bytes; /* of the current size line or trailer section */
};

void chunked_init(struct chunked *c);
/*
 * Takes from *in; sets *ret_data to the next run of payload (a part of *in; empty if none yet) and moves *in past what
 * was used. 0: call again while in->n > 0.  1: the last chunk and its trailer are done; *in is what follows. E_INVALID,
 * E_TOOBIG: refused. After 1 or a refusal, further calls take nothing and return the same.
 */
int chunked_next(struct chunked *c, struct slice *in, struct slice *ret_data, struct err *err);
