/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeding the incremental parsers an input in pieces, and writing down all that comes out, so that two ways to cut one
 * input can be compared as bytes.  Each piece is a copy of exactly its size, freed before the next: a read past it, or
 * a slice that is kept too long, is found by AddressSanitizer.  Shared by the unit tests and the fuzz targets.
 */
#pragma once
#include <stdlib.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/http/chunked.h"
#include "core/http/ndjson.h"
#include "core/http/sse.h"

/* The first piece has `first` bytes, all others `step`; 0 is "the rest". */
struct cut {
	size_t first, step;
};

typedef void transcribe_fn(struct slice in, struct cut cut, size_t max_bytes, struct buf *ret);

/* Takes the next piece off *in. Ends with an absent slice. */
static inline struct slice piece_take(struct slice *in, size_t n)
{
	struct slice piece = {NULL, n == 0 || n > in->n ? in->n : n};
	char *copy;

	if (in->n == 0)
		return (struct slice){NULL, 0};
	copy = malloc(piece.n);
	if (!copy)
		abort();
	memcpy(copy, in->p, piece.n);
	piece.p = copy;
	in->p += piece.n;
	in->n -= piece.n;
	return piece;
}

static inline void piece_free(struct slice piece)
{
	free((void *)(uintptr_t)piece.p);
}

static inline void note_slice(struct buf *out, const char *what, struct slice s)
{
	(void)buf_printf(out, "%s %s%zu:", what, s.p ? "" : "absent ", s.n); /* the callers check buf_failed() */
	(void)buf_add(out, s);
	(void)buf_addc(out, '\n');
}

static inline void note_event(struct buf *out, const struct sse_event *ev)
{
	note_slice(out, "name", ev->name);
	note_slice(out, "data", ev->data);
	note_slice(out, "raw", ev->raw);
}

static inline void transcribe_sse(struct slice in, struct cut cut, size_t max_bytes, struct buf *ret)
{
	struct sse s;
	struct sse_event ev;
	struct slice piece;
	size_t n = cut.first;
	int rc = 0;

	sse_init(&s, max_bytes);
	while (rc >= 0 && (piece = piece_take(&in, n)).p) {
		struct slice rest = piece;

		while ((rc = sse_next(&s, &rest, &ev)) > 0)
			note_event(ret, &ev);
		piece_free(piece);
		n = cut.step;
	}
	while (sse_finish(&s, &ev) > 0)
		note_event(ret, &ev);
	(void)buf_printf(ret, "end %d\n", rc);
	sse_release(&s);
}

static inline void transcribe_ndjson(struct slice in, struct cut cut, size_t max_bytes, struct buf *ret)
{
	struct ndjson s;
	struct slice piece, line, raw;
	size_t n = cut.first;
	int rc = 0;

	ndjson_init(&s, max_bytes);
	while (rc >= 0 && (piece = piece_take(&in, n)).p) {
		struct slice rest = piece;

		while ((rc = ndjson_next(&s, &rest, &line, &raw)) > 0) {
			note_slice(ret, "line", line);
			note_slice(ret, "raw", raw);
		}
		piece_free(piece);
		n = cut.step;
	}
	while (ndjson_finish(&s, &line) > 0)
		note_slice(ret, "last", line);
	(void)buf_printf(ret, "end %d\n", rc);
	ndjson_release(&s);
}

/* The payload, and how it ended; max_bytes is not used. */
static inline void transcribe_chunked(struct slice in, struct cut cut, size_t max_bytes, struct buf *ret)
{
	struct chunked c;
	struct slice piece, data;
	size_t n = cut.first, left = 0;
	int rc = 0;

	(void)max_bytes;
	chunked_init(&c);
	while (rc == 0 && (piece = piece_take(&in, n)).p) {
		struct slice rest = piece;

		while (rc == 0 && rest.n > 0) {
			rc = chunked_next(&c, &rest, &data, NULL);
			(void)buf_add(ret, data);
		}
		left = rest.n;
		piece_free(piece);
		n = cut.step;
	}
	(void)buf_printf(ret, "\nend %d, %zu bytes left\n", rc, rc > 0 ? in.n + left : 0);
}

/* Whether all ways to cut the input give what the whole gives: byte by byte, and in two at every position below
 * max_cut. */
static inline bool same_in_pieces(transcribe_fn *transcribe, struct slice in, size_t max_bytes, size_t max_cut)
{
	struct buf whole, parts;
	bool same;

	buf_init(&whole, 64 + 256 * (in.n + 1));
	buf_init(&parts, 64 + 256 * (in.n + 1));
	transcribe(in, (struct cut){0, 0}, max_bytes, &whole);
	transcribe(in, (struct cut){1, 1}, max_bytes, &parts);
	same = slice_eq(buf_slice(&whole), buf_slice(&parts));
	for (size_t at = 1; same && at < in.n && at < max_cut; at++) {
		buf_clear(&parts);
		transcribe(in, (struct cut){at, 0}, max_bytes, &parts);
		same = slice_eq(buf_slice(&whole), buf_slice(&parts));
	}
	same = same && !buf_failed(&whole);
	buf_release(&whole);
	buf_release(&parts);
	return same;
}
