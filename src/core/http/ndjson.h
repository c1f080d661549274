/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting a stream into lines (newline-delimited JSON).  Blank lines are skipped; CR before LF is dropped. */
#pragma once
#include "core/base/buf.h"

struct ndjson {
	struct buf pending;
	size_t used;
};

void ndjson_init(struct ndjson *s, size_t max_line_bytes);
void ndjson_release(struct ndjson *s);
/* 1: *ret_line is the next line without its end, *ret_raw with it; both live until the next call.  0: all taken.  E_TOOBIG. */
int ndjson_next(struct ndjson *s, struct slice *in, struct slice *ret_line, struct slice *ret_raw);
int ndjson_finish(struct ndjson *s, struct slice *ret_line); /* a last line without its end: 1, or 0 */
