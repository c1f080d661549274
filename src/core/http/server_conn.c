/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection's life: states, deadlines, the coming and going of its exchange, and its end.
 *
 * What would break it: using a connection after a callback of the handler without having held it (conn_hold), since the
 * handler may finish the exchange inside of any callback, and with it the connection.
 *
 * A FIN from the client while its exchange runs counts as the client having gone, as a reset does: that is how callers
 * that lost interest look, and the upstream's work is to be stopped.  A client that shuts its sending side down right
 * after the request is still answered when the answer is there in the same turn of the loop.
 */
#include "core/http/server_internal.h"

#include <assert.h>
#include <unistd.h>

#define EXCHANGE_ARENA_BYTES ((size_t)16 * 1024 - 64)
#define FREE_EXCHANGES (ADDRESS_SANITIZED ? 0u : 128u)

void conn_link(struct conn *c, struct conn **list)
{
	c->next = *list;
	c->prev = list;
	if (c->next)
		c->next->prev = &c->next;
	*list = c;
}

void conn_unlink(struct conn *c)
{
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
}

void conn_watch(struct conn *c)
{
	int mask = c->paused ? UV_DISCONNECT : UV_READABLE;

	if (!c->sock)
		return;
	if (c->blocked || c->sock->read_wants_write)
		mask |= UV_WRITABLE;
	sock_watch(c->sock, mask);
}

void conn_deadline(struct conn *c, int64_t at_ms)
{
	c->deadline_ms = at_ms;
	/* A timer that fires too early is set again by conn_timer: moving it for each request would cost more. */
	if (at_ms != INT64_MAX && !c->soon && (!timer_is_set(&c->timer) || c->timer.at_ms > at_ms))
		timer_set(c->server->loop, &c->timer, at_ms - loop_now_ms(c->server->loop));
}

void conn_after(struct conn *c, int64_t delay_ms)
{
	conn_deadline(c, delay_ms > 0 ? loop_now_ms(c->server->loop) + delay_ms : INT64_MAX);
}

static void go_on_soon(struct conn *c)
{
	c->soon = true;
	timer_set(c->server->loop, &c->timer, 0);
}

void conn_free_buffer(struct conn *c, char *buf, size_t cap)
{
	if (buf && cap == CONN_BUF_BYTES)
		bufpool_put(&c->server->bufs, buf);
	else if (buf && cap == CONN_LARGE_BYTES)
		bufpool_put(&c->server->large_bufs, buf);
	else
		free(buf);
}

void conn_drop_input(struct conn *c)
{
	conn_free_buffer(c, c->in, c->in_cap);
	c->in = NULL;
	c->in_cap = c->n_in = c->next_at = c->seen = 0;
}

static void drop_body(struct conn *c)
{
	free(c->big);
	c->big = NULL;
	c->big_cap = c->n_body = 0;
}

/* --- exchanges --- */

static struct exchange *exchange_new(struct http_server *s)
{
	struct exchange *x = calloc(1, sizeof(*x));

	if (!x)
		abort();
	arena_init(&x->pub.arena, EXCHANGE_ARENA_BYTES, s->options.arena_max_bytes);
	x->pub.server = s;
	x->pub.loop = s->loop;
	return x;
}

void conn_open_exchange(struct conn *c)
{
	struct http_server *s = c->server;
	struct exchange *x = s->free_x;

	if (x) {
		s->free_x = x->next;
		s->n_free_x--;
	} else {
		x = exchange_new(s);
	}
	x->conn = c;
	x->finished = x->chunked = x->bodyless = x->above_mark = false;
	x->pub.body = x->pub.end = (struct slice){NULL, 0};
	x->pub.user = NULL;
	x->pub.head.header = s->headers;
	x->pub.ops = NULL;
	x->pub.peer = (struct slice){c->peer, c->n_peer};
	x->pub.start_ms = loop_now_ms(s->loop);
	x->pub.aborted = x->pub.stopped = x->pub.sent_head = x->pub.is_head_request = false;
	c->x = x;
}

/* For the next request, unless enough wait for one. */
static void keep_exchange(struct http_server *s, struct exchange *x)
{
	if (s->n_free_x + 1 <= FREE_EXCHANGES) {
		arena_reset(&x->pub.arena);
		x->next = s->free_x;
		s->free_x = x;
		s->n_free_x++;
		return;
	}
	arena_release(&x->pub.arena);
	free(x);
}

static void exchange_end(struct conn *c)
{
	struct http_server *s = c->server;
	struct exchange *x = c->x;

	if (x->pub.ops && x->pub.ops->on_free)
		x->pub.ops->on_free(&x->pub);
	c->x = NULL;
	counter_add(&s->stats.ended, 1);
	keep_exchange(s, x);
}

void http_forget_request(struct http_exchange *pub, struct arena *old)
{
	struct exchange *x = CONTAINER_OF(pub, struct exchange, pub), *spare;
	struct conn *c = x->conn;

	if (c->n_in == c->next_at) /* nothing of a next request is there */
		conn_drop_input(c);
	drop_body(c);
	pub->head = (struct http_head){.minor = pub->head.minor};
	pub->body = (struct slice){NULL, 0};
	if (c->server->n_free_x + 1 > FREE_EXCHANGES) {
		arena_release(old);
		return;
	}
	spare = exchange_new(c->server);
	spare->pub.arena = *old;
	keep_exchange(c->server, spare);
}

static void linger(struct conn *c)
{
	if (c->sock->ssl && SSL_is_init_finished(c->sock->ssl))
		SSL_shutdown(c->sock->ssl);
	shutdown(c->sock->fd, SHUT_WR);
	conn_drop_input(c);
	c->state = CONN_LINGER;
	c->linger_left = CONN_LINGER_BYTES;
	c->linger_until_ms = loop_now_ms(c->server->loop) + CONN_LINGER_MAX_MS;
	c->paused = false;
	conn_watch(c);
	conn_after(c, CONN_LINGER_MS);
}

/* Makes room for the next request and keeps what has come of it. */
static void next_request(struct conn *c)
{
	size_t rest = c->n_in - c->next_at;

	if (rest) {
		char *from = c->in, *to = from;

		if (c->in_cap < CONN_BUF_BYTES) { /* what a small request stood in: no room for another */
			to = bufpool_get(&c->server->bufs);
			c->in_cap = CONN_BUF_BYTES;
		}
		memmove(to, from + c->next_at, rest);
		if (to != from)
			free(from);
		c->in = to;
		c->n_in = rest;
		c->next_at = c->seen = 0;
	} else if (c->in) {
		conn_drop_input(c);
	}
	c->state = CONN_IDLE;
	conn_after(c, c->server->options.idle_timeout_ms);
	if (c->paused) {
		c->paused = false;
		conn_watch(c);
	}
	if ((rest || c->sock->more) && !c->in_process)
		go_on_soon(c);
}

void conn_exchange_complete(struct conn *c)
{
	exchange_end(c);
	drop_body(c);
	if (c->sock) {
		sendq_release(&c->out);
		if (!c->close_after && !c->server->draining) {
			next_request(c);
			return;
		}
		if (c->linger || c->paused || c->n_in > c->next_at) {
			linger(c);
			return;
		}
	}
	conn_close(c);
}

void conn_exchange_finished(struct conn *c)
{
	c->x->finished = true;
	if (!c->sock || !sendq_pending(&c->out))
		conn_exchange_complete(c);
}

/* --- the end --- */

void conn_close(struct conn *c)
{
	struct http_server *s = c->server;

	assert(!c->x);
	conn_hold(c);
	timer_cancel(s->loop, &c->timer);
	if (c->sock)
		sock_close(c->sock);
	c->sock = NULL;
	conn_drop_input(c);
	drop_body(c);
	sendq_release(&c->out);
	conn_unlink(c);
	s->n_conns--;
	counter_set(&s->stats.open, s->n_conns);
	c->dead = true;
	conn_put(c);
	server_conn_ended(s);
}

static void tell_abort(struct conn *c)
{
	struct http_exchange *x = &c->x->pub;

	if (x->ops && x->ops->on_abort)
		x->ops->on_abort(x);
}

void conn_gone(struct conn *c, bool now, bool reset)
{
	struct http_server *s = c->server;

	if (reset)
		sock_reset(c->sock);
	else
		sock_close(c->sock);
	c->sock = NULL;
	sendq_release(&c->out);
	c->blocked = false;
	timer_cancel(s->loop, &c->timer);
	c->soon = false;
	c->deadline_ms = INT64_MAX;
	if (!c->x || c->state != CONN_BUSY || c->x->finished) {
		if (c->x)
			exchange_end(c);
		conn_close(c);
		return;
	}
	c->x->pub.aborted = true;
	if (!c->linger) /* of refusals nobody waits for the answer */
		counter_add(&s->stats.aborted, 1);
	conn_unlink(c);
	conn_link(c, &s->gone);
	if (now)
		tell_abort(c);
	else
		go_on_soon(c);
}

/* --- events --- */

static void timed_out(struct conn *c)
{
	switch (c->state) {
	case CONN_HEAD:
		conn_refuse(c, 408, "the head of the request did not arrive in time");
		return;
	case CONN_BODY:
		conn_refuse(c, 408, "the body of the request did not arrive in time");
		return;
	case CONN_BUSY:
		conn_gone(c, true, true); /* takes nothing of its answer */
		return;
	case CONN_HANDSHAKE:
	case CONN_IDLE:
	case CONN_LINGER:
		conn_close(c);
		return;
	}
}

static void on_timer(void *arg)
{
	struct conn *c = arg;
	int64_t now = loop_now_ms(c->server->loop);

	conn_hold(c);
	if (c->soon) {
		c->soon = false;
		conn_deadline(c, c->deadline_ms);
		if (!c->sock) {
			tell_abort(c);
		} else {
			conn_process(c);
			if (!c->dead && c->sock && c->sock->more)
				conn_read(c);
		}
	} else if (c->deadline_ms <= now) {
		timed_out(c);
	} else {
		conn_deadline(c, c->deadline_ms);
	}
	conn_put(c);
}

static void handshake(struct conn *c)
{
	struct err err;
	int mask = UV_READABLE;
	int rc = tls_handshake(c->sock->ssl, &mask, &err);

	if (rc == E_AGAIN) {
		sock_watch(c->sock, mask);
	} else if (rc) {
		conn_close(c);
	} else {
		c->state = CONN_IDLE;
		conn_watch(c);
		conn_after(c, c->server->options.idle_timeout_ms);
		conn_read(c);
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct conn *c = poll->data;

	conn_hold(c);
	if (status < 0) { /* libuv has stopped watching: reset by the client */
		conn_gone(c, true, false);
	} else if (c->state == CONN_HANDSHAKE) {
		handshake(c);
	} else {
		if (events & UV_WRITABLE) {
			conn_flush(c);
			if (!c->dead && c->sock && c->sock->read_wants_write)
				events |= UV_READABLE;
		}
		if (!c->dead && c->sock && c->paused && events & UV_DISCONNECT)
			conn_gone(c, true, false);
		if (!c->dead && c->sock && events & UV_READABLE)
			conn_read(c);
	}
	conn_put(c);
}

struct conn *conn_new(struct http_server *s, int fd, const struct sockaddr *peer)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->server = s;
	c->sock = sock_new(loop_uv(s->loop), fd, on_poll, c);
	if (!c->sock) {
		free(c);
		return NULL;
	}
	c->n_peer = sock_addr_text(peer, c->peer);
	timer_init(&c->timer, on_timer, c);
	c->deadline_ms = INT64_MAX;
	c->state = CONN_IDLE;
	if (s->options.tls) {
		c->sock->ssl = tls_open(s->options.tls, fd, NULL);
		if (!c->sock->ssl) {
			sock_close(c->sock);
			free(c);
			return NULL;
		}
		c->state = CONN_HANDSHAKE;
	}
	conn_link(c, &s->conns);
	s->n_conns++;
	counter_set(&s->stats.open, s->n_conns);
	conn_watch(c);
	conn_after(c, c->state == CONN_IDLE ? s->options.idle_timeout_ms : s->options.header_timeout_ms);
	return c;
}
