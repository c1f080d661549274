/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams in which nothing happens.  What is left of a settled exchange is mostly zeros: after a second without a byte
 * from the model it and its stream are packed, and whatever happens next to it, on either side, unpacks them first.
 *
 * What would break it: a callback that reaches the exchange past the two tables below, and a timer of its own that is
 * set while it rests.
 */
#include "core/base/sparse.h"
#include "serving/gateway/exchange.h"

#include <stdlib.h>

struct rest {
	struct http_call call; /* the exchange's, which goes on */
	struct gateway *g;
	struct http_exchange *http;
	const struct http_exchange_ops *ops; /* the exchange's */
	const struct http_call_ops *call_ops;
	uint64_t packed[]; /* the exchange, then its stream */
};

static struct exchange *wake(struct rest *r)
{
	struct exchange *e = slab_alloc(&r->g->settled);
	struct stream *s = slab_alloc(&r->g->streams);
	size_t n = sparse_unpack(e, sizeof(*e), r->packed);

	(void)sparse_unpack(s, sizeof(*s), (const char *)r->packed + n);
	e->stream = s;
	e->given_up.arg = e->pause.arg = s->flush.arg = e;
	uuid_format(&e->log_id, e->log_id_text);
	if (!e->request_id.p)
		e->request_id.p = e->log_id_text;
	e->call = r->call;
	e->call.ops = r->call_ops;
	e->call.user = e;
	http_call_moved(&e->call);
	r->http->user = e;
	r->http->ops = r->ops;
	free(r);
	settle_later(e);
	return e;
}

static int on_body(struct http_call *c, struct slice piece, bool last)
{
	struct exchange *e = wake(c->user);

	return e->call.ops->on_body(&e->call, piece, last);
}

static void on_done(struct http_call *c, int rc)
{
	struct exchange *e = wake(c->user);

	e->call.ops->on_done(&e->call, rc);
}

static const struct http_call_ops rest_call_ops = {.on_body = on_body, .on_done = on_done};

static void on_abort(struct http_exchange *x)
{
	wake(x->user);
	x->ops->on_abort(x);
}

static void on_drain(struct http_exchange *x)
{
	wake(x->user);
	x->ops->on_drain(x);
}

static void on_free(struct http_exchange *x)
{
	wake(x->user);
	x->ops->on_free(x);
}

static const struct http_exchange_ops rest_ops = {.on_abort = on_abort, .on_drain = on_drain, .on_free = on_free};

static void release_if_empty(struct buf *b)
{
	if (!b->n)
		buf_release(b);
}

/* Pointers to what goes, and what can be made again, are no part of it. */
static void strip(struct exchange *e)
{
	struct stream *s = e->stream;

	release_if_empty(&s->out);
	release_if_empty(&s->held);
	release_if_empty(s->lines ? &s->ndjson.pending : &s->sse.pending);
	s->flush.arg = e->given_up.arg = e->pause.arg = NULL;
	if (e->request_id.p == e->log_id_text)
		e->request_id.p = NULL;
	memset(e->log_id_text, 0, sizeof(e->log_id_text));
	e->call = (struct http_call){0};
	e->attempt = (struct json_writer){0}; /* it is closed */
	e->stream = NULL;
}

bool rest_is_due(const struct exchange *e)
{
	const struct stream *s = e->stream;

	return loop_now_ms(e->g->loop) - s->fed_ms >= REST_MS && !timer_is_set(&s->flush) &&
	       !timer_is_set(&e->given_up) && !timer_is_set(&e->pause);
}

void rest_begin(struct exchange *e)
{
	struct http_call call = e->call;
	struct stream *s = e->stream;
	struct rest *r;
	size_t n;

	strip(e);
	n = sparse_bytes(e, sizeof(*e)) + sparse_bytes(s, sizeof(*s));
	r = malloc(sizeof(*r) + n);
	if (!r)
		abort();
	n = sparse_pack(r->packed, e, sizeof(*e));
	(void)sparse_pack((char *)r->packed + n, s, sizeof(*s));
	r->g = e->g;
	r->http = e->http;
	r->ops = r->http->ops;
	r->call_ops = call.ops;
	r->call = call;
	r->call.ops = &rest_call_ops;
	r->call.user = r;
	http_call_moved(&r->call);
	r->http->user = r;
	r->http->ops = &rest_ops;
	slab_free(&r->g->streams, s);
	slab_free(&r->g->settled, e);
}
