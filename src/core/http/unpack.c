/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of requests that came packed: gzip (RFC 1952) and zstd (RFC 8878), which clients use for long conversations.
 *
 * What would break it: room made by what the packed bytes say of themselves.  A few of them can claim, and hold,
 * gigabytes: no more than the server takes of a plain body is ever made.
 */
#define ZLIB_CONST /* what it reads it does not write */
#include <zlib.h>
#include <zstd.h>

#include "core/http/server_internal.h"

#define ROOM_FIRST ((size_t)16 * 1024)
#define ZSTD_WINDOW_LOG 23 /* 8 MiB: what its levels up to 19 need. The decoder makes that much at once. */

/* Room for what comes out, in the arena, padded as all bodies are. */
struct room {
	struct arena *arena;
	char *p;
	size_t n, cap, max;
};

/* Makes more of it.  E_TOOBIG when there is as much as there may be: one byte past max, which tells that it is past. */
static int room_grow(struct room *r)
{
	size_t cap = min_size(r->cap ? r->cap * 2 : ROOM_FIRST, r->max + 1);
	char *p;

	if (cap == r->cap)
		return E_TOOBIG;
	if (r->p && arena_extend(r->arena, r->p, r->cap + HTTP_BODY_PADDING, cap + HTTP_BODY_PADDING)) {
		r->cap = cap;
		return 0;
	}
	p = arena_alloc(r->arena, cap + HTTP_BODY_PADDING);
	if (!p)
		return E_TOOBIG;
	if (r->n)
		memcpy(p, r->p, r->n);
	r->p = p;
	r->cap = cap;
	return 0;
}

/* Room for at least one byte, or a reason why not. */
static int room_ready(struct room *r)
{
	return r->n < r->cap ? 0 : room_grow(r);
}

static int corrupt(struct err *err, const char *coding)
{
	return err_set(err, E_INVALID, "the body is not whole %s, as Content-Encoding says it is", coding);
}

/* Members that follow each other are one body (RFC 1952, 2.2). */
static int gzip_members(z_stream *z, struct room *r, struct err *err)
{
	for (;;) {
		int rc = room_ready(r), got;

		if (rc)
			return rc;
		z->next_out = (unsigned char *)r->p + r->n;
		z->avail_out = (unsigned)(r->cap - r->n);
		got = inflate(z, Z_NO_FLUSH);
		r->n = r->cap - z->avail_out;
		if (got == Z_STREAM_END && !z->avail_in)
			return 0;
		if (got == Z_STREAM_END ? inflateReset(z) != Z_OK : got != Z_OK)
			return corrupt(err, "gzip");
	}
}

static int unpack_gzip(struct slice in, struct room *r, struct err *err)
{
	z_stream z = {.next_in = (const unsigned char *)in.p, .avail_in = (unsigned)in.n};
	int rc;

	if (in.n > UINT_MAX || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) /* 16: gzip, nothing else */
		return E_TOOBIG;
	rc = gzip_members(&z, r, err);
	(void)inflateEnd(&z);
	return rc;
}

static int zstd_frames(ZSTD_DCtx *z, struct slice bytes, struct room *r, struct err *err)
{
	ZSTD_inBuffer in = {bytes.p, bytes.n, 0};
	size_t more = 1; /* 0: a frame has ended */

	while (in.pos < in.size || more) {
		ZSTD_outBuffer out;
		size_t from = in.pos;
		int rc = room_ready(r);

		if (rc)
			return rc;
		out = (ZSTD_outBuffer){r->p, r->cap, r->n};
		more = ZSTD_decompressStream(z, &out, &in);
		if (ZSTD_isError(more) || (more && in.pos == from && out.pos == r->n))
			return corrupt(err, "zstd");
		r->n = out.pos;
	}
	return 0;
}

static int unpack_zstd(struct slice in, struct room *r, struct err *err)
{
	ZSTD_DCtx *z = ZSTD_createDCtx();
	int rc = E_TOOBIG;

	if (z && !ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG)))
		rc = zstd_frames(z, in, r, err);
	ZSTD_freeDCtx(z);
	return rc;
}

int http_unpack_body(struct http_exchange *x, struct err *err)
{
	struct slice coding = x->head.content_coding;
	struct room room = {.arena = &x->arena, .max = x->server->options.max_body_bytes};
	int rc;

	if (!coding.n || !x->body.n || slice_eq_nocase(coding, SLICE_LIT("identity")))
		return 0;
	if (slice_eq_nocase(coding, SLICE_LIT("gzip")) || slice_eq_nocase(coding, SLICE_LIT("x-gzip")))
		rc = unpack_gzip(x->body, &room, err);
	else if (slice_eq_nocase(coding, SLICE_LIT("zstd")))
		rc = unpack_zstd(x->body, &room, err);
	else
		return err_set(err, E_UNSUPPORTED, "Content-Encoding is neither gzip nor zstd: send the body as it is");
	if (!rc && room.n > room.max)
		rc = E_TOOBIG;
	if (rc == E_TOOBIG)
		return err_set(err, E_TOOBIG, "the body, unpacked, is larger than the server takes");
	if (rc)
		return rc;
	x->body = (struct slice){room.p, room.n};
	return 0;
}
