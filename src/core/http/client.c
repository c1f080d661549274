/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to upstreams: their beginning, their timeouts and their end.
 *
 * What would break it: touching a call after one of its callbacks (it may have been cancelled and freed: compare
 * up->gen), or calling back from inside http_call_start (use up_fail_soon).
 */
#include "core/http/client_internal.h"

#include <assert.h>
#include <stdarg.h>

#define FREE_BUFFERS 32
#define QUIET_IDLE 8 /* idle connections of an origin that stay in quiet times */

void http_client_options_init(struct http_client_options *o)
{
	*o = (struct http_client_options){
		.max_idle_per_origin = 256,
		.max_connections = 8192,
		.idle_timeout_ms = 60000,
		.resolve_ttl_ms = 30000,
		.max_head_bytes = HTTP_MAX_HEAD_BYTES,
	};
}

int http_origin_init(struct http_origin *o, struct slice host, uint16_t port, bool tls, struct err *err)
{
	bool v6;

	if (!host.n || host.n >= sizeof(o->host) || memchr(host.p, 0, host.n))
		return err_set(err, E_INVALID, "a host name has 1 to %zu bytes", sizeof(o->host) - 1);
	if (!port)
		return err_set(err, E_INVALID, "port 0 of '" SLICE_FMT "' cannot be connected to", SLICE_ARG(host));
	for (size_t i = 0; i < host.n; i++)
		o->host[i] = (char)(host.p[i] >= 'A' && host.p[i] <= 'Z' ? host.p[i] | 0x20 : host.p[i]);
	o->host[host.n] = 0;
	o->port = port;
	o->tls = tls;
	v6 = strchr(o->host, ':') != NULL;
	snprintf(o->key, sizeof(o->key), "%s%s%s%s:%u", tls ? "https://" : "http://", v6 ? "[" : "", o->host,
		 v6 ? "]" : "", port);
	return 0;
}

const char *origin_name(const struct http_origin *o)
{
	return o->key + (o->tls ? 8 : 7);
}

const char *http_stage_name(enum http_stage s)
{
	static const char *const name[] = {
		[HTTP_STAGE_RESOLVE] = "resolve", [HTTP_STAGE_CONNECT] = "connect",	  [HTTP_STAGE_TLS] = "tls",
		[HTTP_STAGE_SEND] = "send",	  [HTTP_STAGE_FIRST_BYTE] = "first byte", [HTTP_STAGE_HEAD] = "head",
		[HTTP_STAGE_BODY] = "body",
	};

	return name[s];
}

/* --- connections --- */

void up_hold(struct up *u)
{
	u->holds++;
}

void up_put(struct up *u)
{
	if (!--u->holds && u->dead)
		free(u);
}

void up_deadline(struct up *u, int64_t at_ms)
{
	if (u->total_at_ms < at_ms)
		at_ms = u->total_at_ms;
	u->deadline_ms = at_ms;
	/* A timer that fires too early is set again: moving it for each call would cost more. */
	if (at_ms != INT64_MAX && (!timer_is_set(&u->timer) || u->timer.at_ms > at_ms)) {
		int64_t delay = at_ms - loop_now_ms(u->client->loop);

		timer_set(u->client->loop, &u->timer, delay > 0 ? delay : 1);
	}
}

void up_after(struct up *u, int64_t delay_ms)
{
	up_deadline(u, delay_ms > 0 ? loop_now_ms(u->client->loop) + delay_ms : INT64_MAX);
}

void up_await_first_byte(struct up *u)
{
	int64_t delay = u->call->timeouts.first_byte_ms;

	u->first_byte_at_ms = delay > 0 ? loop_now_ms(u->client->loop) + delay : INT64_MAX;
	up_deadline(u, u->first_byte_at_ms);
}

/* Informational answers are none. */
static bool has_begun_to_answer(const struct up *u)
{
	return u->got_byte && (u->state == UP_BODY || u->n_in || !u->n_heads);
}

static void up_timed_out(struct up *u)
{
	const struct http_call *call = u->call;
	const struct http_timeouts *t;
	const char *name;

	if (!call) { /* idle */
		up_close(u);
		return;
	}
	t = &call->timeouts;
	name = origin_name(call->origin);
	if (u->state != UP_FAILED && loop_now_ms(u->client->loop) >= u->total_at_ms) {
		up_fail(u, E_TIMEOUT, "%s did not finish within %lld ms", name, (long long)t->total_ms);
		return;
	}
	switch (u->state) {
	case UP_RESOLVE:
		up_fail(u, E_TIMEOUT, "the name %s was not resolved within %lld ms", call->origin->host,
			(long long)t->connect_ms);
		return;
	case UP_CONNECT:
		up_next_address(u, NULL);
		return;
	case UP_HANDSHAKE:
		up_fail(u, E_TIMEOUT, "%s did not finish the TLS handshake within %lld ms", name,
			(long long)t->connect_ms);
		return;
	case UP_ANSWER:
	case UP_BODY:
		if (has_begun_to_answer(u))
			up_fail(u, E_TIMEOUT, "%s was silent for %lld ms inside its answer", name,
				(long long)t->between_ms);
		else if (u->sent < u->to_send)
			up_fail(u, E_TIMEOUT, "%s did not take the request within %lld ms", name,
				(long long)t->first_byte_ms);
		else
			up_fail(u, E_TIMEOUT, "%s did not send a first byte within %lld ms", name,
				(long long)t->first_byte_ms);
		return;
	case UP_IDLE:
	case UP_FAILED:
		return;
	}
}

static void on_timer(void *arg)
{
	struct up *u = arg;

	if (u->deadline_ms > loop_now_ms(u->client->loop)) {
		up_deadline(u, u->deadline_ms);
		return;
	}
	up_hold(u);
	up_timed_out(u);
	up_put(u);
}

static void on_soon(void *arg)
{
	struct up *u = arg;

	up_hold(u);
	if (u->state == UP_FAILED) {
		int rc = u->fail_rc;
		struct http_call *call = up_detach(u);

		up_close(u);
		call->ops->on_done(call, rc);
	} else if (u->sock && u->state >= UP_ANSWER) {
		up_read(u);
	}
	up_put(u);
}

void up_read_soon(struct up *u)
{
	timer_set(u->client->loop, &u->soon, 0);
}

struct up *up_new(struct http_client *c, struct pool *pool)
{
	struct up *u = calloc(1, sizeof(*u));

	if (!u)
		abort();
	u->client = c;
	u->pool = pool;
	pool->n_ups++;
	u->total_at_ms = u->deadline_ms = INT64_MAX;
	timer_init(&u->timer, on_timer, u);
	timer_init(&u->soon, on_soon, u);
	return u;
}

void up_attach(struct up *u, struct http_call *call)
{
	u->gen++;
	u->call = call;
	call->impl = u;
}

struct http_call *up_detach(struct up *u)
{
	struct http_call *call = u->call;

	u->gen++;
	u->call = NULL;
	u->total_at_ms = INT64_MAX;
	if (call)
		call->impl = NULL;
	return call;
}

void up_close(struct up *u)
{
	struct http_client *c = u->client;

	assert(!u->call && !u->dead);
	if (u->state == UP_IDLE && u->prev)
		pool_remove(u);
	else if (u->state == UP_RESOLVE)
		resolve_cancel(u);
	timer_cancel(c->loop, &u->timer);
	timer_cancel(c->loop, &u->soon);
	if (u->sock)
		sock_close(u->sock);
	u->sock = NULL;
	if (u->in)
		bufpool_put(&c->bufs, u->in);
	u->in = NULL;
	free(u->addrs);
	u->addrs = NULL;
	if (u->counted) {
		c->n_open--;
		counter_set(&c->stats.open, c->n_open);
	}
	pool_unref(u->pool);
	u->pool = NULL;
	u->dead = true;
	if (!u->holds)
		free(u);
}

/* Can another call follow this one on the connection? */
static bool reusable(const struct up *u)
{
	return u->whole && u->keep_alive && u->sent == u->to_send && !u->send_broken && !u->broken &&
	       u->at == u->n_in && u->framing != UP_UNTIL_CLOSE && u->sock && !u->sock->more;
}

void up_release(struct up *u)
{
	if (!reusable(u) || !pool_put(u)) {
		u->state = UP_BODY; /* in no list */
		up_close(u);
		return;
	}
	u->state = UP_IDLE;
	u->paused = false;
	u->at = u->n_in = 0;
	if (u->read_off) {
		u->read_off = false;
		up_watch(u);
	}
	timer_cancel(u->client->loop, &u->soon);
	up_after(u, u->client->options.idle_timeout_ms);
}

void up_complete(struct up *u)
{
	struct http_call *call = up_detach(u);

	u->whole = true;
	up_release(u);
	call->ops->on_done(call, 0);
}

static void PRINTF_LIKE(3, 0) say_why(struct http_call *call, int rc, const char *fmt, va_list ap)
{
	struct err *err = http_call_err(call);

	err->code = rc;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
}

void up_fail(struct up *u, int rc, const char *fmt, ...)
{
	struct http_call *call = u->call;
	va_list ap;

	va_start(ap, fmt);
	say_why(call, rc, fmt, ap);
	va_end(ap);
	up_detach(u);
	up_close(u);
	call->ops->on_done(call, rc);
}

void up_fail_soon(struct up *u, int rc, const char *fmt, ...)
{
	struct http_call *call = u->call;
	va_list ap;

	va_start(ap, fmt);
	say_why(call, rc, fmt, ap);
	va_end(ap);
	u->state = UP_FAILED;
	u->fail_rc = rc;
	timer_cancel(u->client->loop, &u->timer);
	if (u->sock)
		sock_close(u->sock);
	u->sock = NULL;
	timer_set(u->client->loop, &u->soon, 0);
}

/* --- the client --- */

struct http_client *http_client_new(struct loop *l, const struct http_client_options *o)
{
	struct http_client *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->loop = l;
	c->options = *o;
	c->options.max_head_bytes = min_size(o->max_head_bytes, HTTP_MAX_HEAD_BYTES);
	c->bufs = (struct bufpool){.size = UP_BUF_BYTES + HTTP_CALL_PADDING, .max = FREE_BUFFERS};
	map_init(&c->pools);
	map_init(&c->names);
	c->to_send_tail = &c->to_send;
	c->turn_end = (struct loop_turn_end){.fn = up_send_waiting, .arg = c};
	return c;
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	up_send_waiting(c);
	loop_turn_end_cancel(&c->turn_end);
	pool_close_idle(c);
	assert(!c->n_open && !c->pools.n);
	resolve_release(c);
	map_release(&c->pools);
	bufpool_release(&c->bufs);
	free(c);
}

void http_client_give_back(struct http_client *c)
{
	pool_thin_out(c, QUIET_IDLE);
	bufpool_release(&c->bufs);
}

const struct http_client_stats *http_client_stats(const struct http_client *c)
{
	return &c->stats;
}

struct err *http_call_err(struct http_call *call)
{
	if (!call->err && !(call->err = calloc(1, sizeof(*call->err))))
		abort();
	return call->err;
}

const char *http_call_why(const struct http_call *call)
{
	return call->err ? call->err->text : "";
}

void http_call_release(struct http_call *call)
{
	free(call->err);
	call->err = NULL;
}

void http_call_start(struct http_client *c, struct http_call *call)
{
	struct pool *pool = pool_get(c, call->origin);
	struct up *u = pool_take(pool);
	int64_t total_at = call->timeouts.total_ms > 0 ? loop_now_ms(c->loop) + call->timeouts.total_ms : INT64_MAX;

	call->first_byte_ms = 0;
	http_call_release(call);
	call->reused = u != NULL;
	if (u) {
		counter_add(&c->stats.reused, 1);
		up_attach(u, call);
		u->total_at_ms = total_at;
		u->from_pool = true;
		up_begin_request(u);
		return;
	}
	u = up_new(c, pool);
	up_attach(u, call);
	u->total_at_ms = total_at;
	call->stage = HTTP_STAGE_CONNECT;
	if (call->origin->tls && !c->options.tls)
		up_fail_soon(u, E_UNSUPPORTED, "%s needs TLS, which is not set up here", call->origin->key);
	else if (c->n_open >= c->options.max_connections && !pool_evict(c))
		up_fail_soon(u, E_BUSY, "all %u connections to upstreams are in use", c->options.max_connections);
	else
		up_connect(u);
}

void http_call_cancel(struct http_call *call)
{
	struct up *u = call->impl;

	if (!u)
		return;
	up_detach(u);
	if (u->whole)
		up_release(u);
	else
		up_close(u);
}

bool http_call_is_sent(const struct http_call *call)
{
	const struct up *u = call->impl;

	return u && u->state == UP_BODY && (u->sent == u->to_send || u->send_broken);
}

void http_call_moved(struct http_call *call)
{
	struct up *u = call->impl;

	if (u)
		u->call = call;
}

void http_call_pause(struct http_call *call)
{
	struct up *u = call->impl;

	if (!u || u->paused)
		return;
	u->paused = true;
	if (u->state >= UP_ANSWER && u->got_byte)
		up_after(u, 0);
}

void http_call_resume(struct http_call *call)
{
	struct up *u = call->impl;

	if (!u || !u->paused)
		return;
	u->paused = false;
	if (u->state < UP_ANSWER || !u->sock)
		return;
	if (u->got_byte)
		up_after(u, call->timeouts.between_ms);
	if (u->read_off) {
		u->read_off = false;
		up_watch(u);
	}
	/* Bytes that no poll will tell of. */
	u->kept = u->at < u->n_in;
	if (u->kept || u->sock->more || u->broken)
		up_read_soon(u);
}
