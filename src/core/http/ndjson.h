/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting a stream into lines (newline-delimited JSON).  Blank lines are skipped; CR before LF is dropped.
 * The result does not depend on how the stream was cut into pieces.
 */
#pragma once
#include "core/base/buf.h"

struct ndjson {
	struct buf pending; /* blank lines and the beginning of a line */
	size_t used;	    /* bytes of pending that the line handed out before takes */
	size_t line_start;  /* in pending: where the line begins that is not whole yet */
	size_t max_line_bytes;
	bool failed; /* a line was too big */
};

/* max_line_bytes: of a line with its end and the blank lines before it. */
void ndjson_init(struct ndjson *s, size_t max_line_bytes);
void ndjson_release(struct ndjson *s);
/*
 * 1: *ret_line is the next line without its end, *ret_raw every byte since the line before, end included; both live
 * until the next call (and as long as the bytes of *in: a line that came whole is not copied).  0: all taken. E_TOOBIG:
 * a line past the maximum; every further call says the same.
 */
int ndjson_next(struct ndjson *s, struct slice *in, struct slice *ret_line, struct slice *ret_raw);
int ndjson_finish(struct ndjson *s, struct slice *ret_line); /* a last line without its end: 1, or 0 */
