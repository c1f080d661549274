/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving requests: bytes into the connection's buffer, head, body, hand-over to the handler, and refusals.
 *
 * What would break it: moving the bytes of a head once the handler has seen it (its slices point there).  That is why a
 * body that does not fit beside its head gets memory of its own.
 */
#include "core/http/server_internal.h"

#include <assert.h>

#define SMALL_BYTES ((size_t)4096) /* head and body */
#define SMALL_ROOM ((size_t)64)	   /* to hear that the client leaves, and for the first bytes of what comes too early */
#define CHUNKED_ROOM_MIN ((size_t)2048) /* less than this for raw chunks: the body moves out of the buffer */

static void take_buffer(struct conn *c)
{
	if (c->in)
		return;
	c->in = bufpool_get(c->is_large ? &c->server->large_bufs : &c->server->bufs);
	c->in_cap = c->is_large ? CONN_LARGE_BYTES : CONN_BUF_BYTES;
}

/* A head larger than the buffer: no slice points into it yet. */
static void grow_buffer(struct conn *c)
{
	size_t cap = c->in_cap * 2;
	char *p = malloc(cap + HTTP_BODY_PADDING);

	if (!p)
		abort();
	memcpy(p, c->in, c->n_in);
	conn_free_buffer(c, c->in, c->in_cap);
	c->in = p;
	c->in_cap = cap;
}

static void big_reserve(struct conn *c, size_t n)
{
	size_t cap = c->big_cap ? c->big_cap : (size_t)CONN_BUF_BYTES;

	if (c->big && n <= c->big_cap)
		return;
	while (cap < n)
		cap *= 2;
	c->big = realloc(c->big, cap + HTTP_BODY_PADDING);
	if (!c->big)
		abort();
	c->big_cap = cap;
}

static char *body_start(const struct conn *c)
{
	return c->big ? c->big : c->in + c->x->pub.head.head_bytes;
}

/* --- refusals --- */

static void head_clear(struct http_head *h)
{
	h->method = HTTP_OTHER;
	h->method_name = h->target = h->path = h->query = h->reason = h->content_coding = (struct slice){NULL, 0};
	h->status = h->refuse_status = 0;
	h->minor = 1;
	h->n_headers = 0;
	h->content_length = -1;
	h->chunked = h->keep_alive = h->expect_continue = false;
	h->head_bytes = 0;
}

void conn_refuse(struct conn *c, int status, const char *why)
{
	struct exchange *x = c->x;
	struct http_server *s = c->server;

	counter_add(&s->stats.refused, 1);
	if (c->state == CONN_IDLE || c->state == CONN_HEAD)
		head_clear(&x->pub.head);
	c->state = CONN_BUSY;
	c->close_after = true;
	c->linger = true;
	conn_after(c, 0);
	conn_hold(c);
	s->handler.on_refused(&x->pub, status, why, s->handler.arg);
	if (c->x == x && !x->pub.sent_head)
		http_reply(&x->pub, status, NULL, 0, (struct slice){"", 0});
	assert(c->x != x || x->finished);
	conn_put(c);
}

/* --- the way of a request: each step returns true when the next one can be taken at once --- */

/* The connection's buffer goes back to the pool: a small request moves to memory of its own size, where it may stay for
 * as long as its answer is a stream. */
static void move_small(struct conn *c)
{
	size_t cap = c->n_in + SMALL_ROOM;
	char *p;

	if (!c->n_body || c->in_cap < CONN_BUF_BYTES || c->n_in > SMALL_BYTES || c->next_at < c->n_in)
		return;
	p = malloc(cap + HTTP_BODY_PADDING);
	if (!p)
		abort();
	memcpy(p, c->in, c->n_in);
	http_head_move(&c->x->pub.head, c->in, p);
	conn_free_buffer(c, c->in, c->in_cap);
	c->in = p;
	c->in_cap = cap;
}

static bool dispatch(struct conn *c)
{
	struct http_server *s = c->server;
	struct exchange *x = c->x;
	size_t all = x->pub.head.head_bytes + c->n_body;

	move_small(c);
	c->is_large = all > CONN_BUF_BYTES && all <= CONN_LARGE_BYTES; /* its next request is probably like it */
	x->pub.body = (struct slice){body_start(c), c->n_body};
	x->pub.is_head_request = x->pub.head.method == HTTP_HEAD;
	c->close_after = !x->pub.head.keep_alive;
	c->state = CONN_BUSY;
	conn_after(c, 0);
	counter_add(&s->stats.requests, 1);
	s->handler.on_request(&x->pub, s->handler.arg);
	return !c->dead && c->sock && c->state == CONN_IDLE;
}

static bool step_idle(struct conn *c)
{
	size_t skip = 0;

	/* An empty line before a request is ignored (RFC 9112, 2.2). */
	if (c->n_in >= 2 && c->in[0] == '\r' && c->in[1] == '\n')
		skip = 2;
	if (skip) {
		memmove(c->in, c->in + skip, c->n_in - skip);
		c->n_in -= skip;
	}
	if (!c->n_in)
		return false;
	conn_open_exchange(c);
	c->state = CONN_HEAD;
	c->seen = 0;
	conn_after(c, c->server->options.header_timeout_ms);
	return true;
}

static void send_continue(struct conn *c)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct iovec iov[2];

	iov[1] = iov_of(text, sizeof(text) - 1);
	conn_send(c, iov, 2);
}

/* The head is whole: finds out where the body will lie. */
static bool begin_body(struct conn *c)
{
	struct http_head *h = &c->x->pub.head;
	size_t got = c->n_in - h->head_bytes;
	size_t want = h->content_length > 0 ? (size_t)h->content_length : 0;

	c->next_at = h->head_bytes;
	c->n_body = 0;
	if (h->content_length > 0 && (uint64_t)h->content_length > c->server->options.max_body_bytes) {
		c->state = CONN_BODY;
		conn_refuse(c, 413, "the body is larger than the server takes");
		return false;
	}
	if (h->chunked) {
		chunked_init(&c->chunked);
	} else if (want <= got) {
		c->n_body = want;
		c->next_at = h->head_bytes + want;
		return dispatch(c);
	} else if (want > c->in_cap - h->head_bytes) {
		big_reserve(c, want);
		memcpy(c->big, c->in + h->head_bytes, got);
		c->n_body = got;
		c->n_in = h->head_bytes;
	}
	c->state = CONN_BODY;
	conn_after(c, c->server->options.body_timeout_ms);
	if (h->expect_continue && h->minor > 0 && !got) {
		send_continue(c);
		return !c->dead && c->sock && h->chunked;
	}
	return h->chunked;
}

/* The head is whole: its headers go where they live as long as the exchange. */
static bool keep_headers(struct conn *c)
{
	struct http_head *h = &c->x->pub.head;
	struct http_header *own = arena_alloc(&c->x->pub.arena, (h->n_headers + 1) * sizeof(*own));

	if (!own) {
		conn_refuse(c, 431, "the head of the request is too large");
		return false;
	}
	memcpy(own, h->header, h->n_headers * sizeof(*own));
	h->header = own;
	return true;
}

static bool step_head(struct conn *c)
{
	struct err err;
	struct http_head *h = &c->x->pub.head;
	int rc = http_parse_request((struct slice){c->in, c->n_in}, c->seen, h, &err);

	if (rc == 0 && h->chunked && c->in_cap - h->head_bytes < 2 * CHUNKED_ROOM_MIN) {
		grow_buffer(c); /* room to read chunks into; the slices are found anew */
		rc = http_parse_request((struct slice){c->in, c->n_in}, 0, h, &err);
	}
	if (rc == 0 && !keep_headers(c))
		return false;
	if (rc == 0)
		return begin_body(c);
	if (rc != E_AGAIN) {
		conn_refuse(c, h->refuse_status ? h->refuse_status : 400, err.text);
		return false;
	}
	c->seen = c->n_in;
	if (c->n_in == c->in_cap)
		grow_buffer(c);
	return false;
}

static bool step_body_counted(struct conn *c)
{
	const struct http_head *h = &c->x->pub.head;
	size_t want = (size_t)h->content_length;

	if (!c->big) {
		c->n_body = min_size(c->n_in - h->head_bytes, want);
		c->next_at = h->head_bytes + c->n_body;
	}
	return c->n_body == want ? dispatch(c) : false;
}

/* Adds a piece of a chunked body to what is there: in place, or to the memory of a larger body. */
static bool body_add(struct conn *c, struct slice data)
{
	if (data.n > c->server->options.max_body_bytes - c->n_body)
		return false;
	if (c->big)
		big_reserve(c, c->n_body + data.n);
	memmove(body_start(c) + c->n_body, data.p, data.n);
	c->n_body += data.n;
	return true;
}

static void body_move_out(struct conn *c)
{
	size_t head_bytes = c->x->pub.head.head_bytes;
	char *from = c->in + head_bytes;

	big_reserve(c, c->n_body);
	memcpy(c->big, from, c->n_body);
	c->n_in = c->next_at = head_bytes;
}

/* next_at stands where the raw bytes begin. */
static bool step_body_chunked(struct conn *c)
{
	struct slice raw = {c->in + c->next_at, c->n_in - c->next_at};
	struct err err;
	int rc = 0;

	while (raw.n && !rc) {
		struct slice data = {NULL, 0};

		rc = chunked_next(&c->chunked, &raw, &data, &err);
		if (data.n && !body_add(c, data)) {
			conn_refuse(c, 413, "the body is larger than the server takes");
			return false;
		}
	}
	if (rc < 0) {
		conn_refuse(c, 400, err.text);
		return false;
	}
	c->next_at = c->n_in - raw.n;
	if (rc == 1)
		return dispatch(c);
	/* All of it was used: the next bytes go right behind the body. */
	c->n_in = c->next_at = c->x->pub.head.head_bytes + (c->big ? 0 : c->n_body);
	if (c->in_cap - c->n_in < CHUNKED_ROOM_MIN && !c->big)
		body_move_out(c);
	return false;
}

static bool step(struct conn *c)
{
	switch (c->state) {
	case CONN_IDLE:
		return step_idle(c);
	case CONN_HEAD:
		return step_head(c);
	case CONN_BODY:
		return c->x->pub.head.chunked ? step_body_chunked(c) : step_body_counted(c);
	case CONN_HANDSHAKE:
	case CONN_BUSY:
	case CONN_LINGER:
		return false;
	}
	return false;
}

void conn_process(struct conn *c)
{
	if (c->in_process)
		return;
	conn_hold(c);
	c->in_process = true;
	while (!c->dead && c->sock && step(c))
		;
	c->in_process = false;
	conn_put(c);
}

/* --- receiving --- */

static void read_linger(struct conn *c)
{
	char waste[16384];
	ssize_t n = sock_recv(c->sock, waste, sizeof(waste));
	int64_t left_ms = c->linger_until_ms - loop_now_ms(c->server->loop);

	if (n == E_AGAIN)
		return;
	if (n <= 0 || (size_t)n >= c->linger_left || left_ms <= 0) {
		conn_close(c);
		return;
	}
	c->linger_left -= (size_t)n;
	conn_after(c, left_ms < CONN_LINGER_MS ? left_ms : CONN_LINGER_MS);
}

/* Where the next bytes go. */
static char *read_room(struct conn *c, size_t *ret_n)
{
	take_buffer(c);
	if (c->state == CONN_BODY && c->big && !c->x->pub.head.chunked) {
		*ret_n = (size_t)c->x->pub.head.content_length - c->n_body;
		return c->big + c->n_body;
	}
	*ret_n = c->in_cap - c->n_in;
	return c->in + c->n_in;
}

static void got_bytes(struct conn *c, size_t n)
{
	bool into_big = c->state == CONN_BODY && c->big && !c->x->pub.head.chunked;

	counter_add(&c->server->stats.received_bytes, n);
	if (into_big)
		c->n_body += n;
	else
		c->n_in += n;
	if (c->state == CONN_BODY)
		conn_after(c, c->server->options.body_timeout_ms);
}

/* One recv; false when there is nothing more to read now. */
static bool read_once(struct conn *c)
{
	size_t room;
	char *to = read_room(c, &room);
	ssize_t n;

	if (!room) {
		/* Too many early requests: they wait in the kernel until the exchange is over. */
		c->paused = true;
		conn_watch(c);
		return false;
	}
	n = sock_recv(c->sock, to, room);
	if (n > 0) {
		got_bytes(c, (size_t)n);
		conn_process(c);
		return !c->dead && c->sock && c->sock->more && c->state != CONN_LINGER;
	}
	if (n != E_AGAIN) {
		conn_gone(c, true, false);
		return false;
	}
	conn_watch(c); /* TLS may want to write first */
	return false;
}

void conn_read(struct conn *c)
{
	if (c->state == CONN_LINGER) {
		read_linger(c);
		return;
	}
	conn_hold(c);
	while (read_once(c))
		;
	if (!c->dead && c->sock && (c->state == CONN_IDLE || c->state == CONN_BUSY) && c->in && !c->n_in)
		conn_drop_input(c);
	conn_put(c);
}
