/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing JSON into a struct buf: commas and escapes are its business.  Nesting
 * is bounded (64; deeper is our own mistake and asserts).  Bytes that are not
 * UTF-8 come out as U+FFFD.  Failure (the buffer is full) is the buffer's:
 * check buf_failed() once at the end.
 */
#pragma once
#include "core/base/buf.h"

struct json_writer {
	struct buf *out;
	uint64_t has_item; /* a bit per level: something stands there already */
	unsigned depth;
	bool after_key;
};

void jw_init(struct json_writer *w, struct buf *out);
void jw_object(struct json_writer *w);
void jw_object_end(struct json_writer *w);
void jw_array(struct json_writer *w);
void jw_array_end(struct json_writer *w);
void jw_key(struct json_writer *w, const char *key); /* a literal of ours: not escaped */
void jw_key_slice(struct json_writer *w, struct slice key);
void jw_str(struct json_writer *w, struct slice s);
void jw_cstr(struct json_writer *w, const char *s); /* null when s is NULL */
void jw_i64(struct json_writer *w, int64_t v);
void jw_double(struct json_writer *w,
	       double v); /* shortest form that reads back the same; null for NaN and infinities */
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
void jw_raw(struct json_writer *w, struct slice json); /* a value that is JSON already */
/* key and value in one call */
void jw_kstr(struct json_writer *w, const char *key, struct slice s);
void jw_kcstr(struct json_writer *w, const char *key, const char *s);
void jw_ki64(struct json_writer *w, const char *key, int64_t v);
void jw_kdouble(struct json_writer *w, const char *key, double v);
void jw_kbool(struct json_writer *w, const char *key, bool v);
void jw_kraw(struct json_writer *w, const char *key, struct slice json); /* null when json.n is 0 */
/* Appends the escaped body of a string, without quotes. */
int json_escape(struct buf *out, struct slice s);
