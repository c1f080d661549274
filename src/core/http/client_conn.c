/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting to an upstream and sending the request.
 *
 * What would break it: calling back from here when http_call_start() may be on the stack; failures before the answer
 * are therefore told on the next turn (up_fail_soon).
 */
#include "core/http/client_internal.h"

#include <errno.h>

#define SEND_MAX_IOV 16
#define SEND_TOGETHER 8

void up_watch(struct up *u)
{
	int mask = u->read_off ? 0 : UV_READABLE;

	if (!u->sock || u->broken)
		return;
	if ((u->state >= UP_ANSWER && u->sent < u->to_send && !u->send_broken && !u->waits_to_send) ||
	    u->sock->read_wants_write)
		mask |= UV_WRITABLE;
	sock_watch(u->sock, mask);
}

/* --- the request --- */

static void up_send(struct up *u)
{
	struct http_call *call = u->call;
	struct iovec iov[SEND_MAX_IOV];
	size_t before = u->sent;

	while (u->sent < u->to_send) {
		int n = iov_skip(iov, SEND_MAX_IOV, call->request, call->n_request, u->sent);
		ssize_t r = sock_sendv(u->sock, iov, n);

		if (r < 0) {
			/* The other side may have answered before it closed: reading says what happened. */
			u->send_broken = true;
			up_read_soon(u);
			break;
		}
		u->sent += (size_t)r;
		if ((size_t)r < iov_total(iov, n))
			break;
	}
	if (u->sent == u->to_send && call->stage == HTTP_STAGE_SEND)
		call->stage = HTTP_STAGE_FIRST_BYTE;
	if (u->sent != before && !u->got_byte)
		up_await_first_byte(u);
	up_watch(u);
}

void up_send_waiting(void *client)
{
	struct http_client *c = client;
	struct up *u = c->to_send;

	c->to_send = NULL;
	c->to_send_tail = &c->to_send;
	c->n_to_send = 0;
	while (u) {
		struct up *next = u->next_to_send;
		bool in_call = !u->dead && u->sock && (u->state == UP_ANSWER || u->state == UP_BODY);

		u->waits_to_send = false;
		if (in_call && u->sent < u->to_send && !u->send_broken)
			up_send(u);
		up_put(u);
		u = next;
	}
}

/*
 * The requests of a turn leave together at its end, or when there are some of them: an upstream on this machine is
 * woken once for all, not once for each, and the next requests are read while what reads is warm.
 */
static void send_at_turn_end(struct up *u)
{
	struct http_client *c = u->client;

	if (u->waits_to_send)
		return;
	u->waits_to_send = true;
	u->next_to_send = NULL;
	up_hold(u);
	*c->to_send_tail = u;
	c->to_send_tail = &u->next_to_send;
	if (++c->n_to_send >= SEND_TOGETHER)
		up_send_waiting(c);
	else
		loop_at_turn_end(c->loop, &c->turn_end);
}

void up_begin_request(struct up *u)
{
	struct http_call *call = u->call;

	u->state = UP_ANSWER;
	call->stage = HTTP_STAGE_SEND;
	u->sent = 0;
	u->to_send = iov_total(call->request, call->n_request);
	u->send_broken = false;
	u->at = u->n_in = u->seen = 0;
	u->n_heads = 0;
	u->got_byte = u->whole = u->keep_alive = u->kept = false;
	u->got_bytes = 0;
	up_await_first_byte(u);
	send_at_turn_end(u);
}

void up_replace(struct up *u)
{
	struct http_client *c = u->client;
	struct up *fresh = up_new(c, u->pool);
	int64_t total_at = u->total_at_ms;
	struct http_call *call = up_detach(u);

	counter_add(&c->stats.replaced, 1);
	up_close(u);
	up_attach(fresh, call);
	fresh->total_at_ms = total_at;
	up_connect(fresh);
}

/* --- connecting --- */

static void handshake(struct up *u)
{
	struct http_call *call = u->call;
	struct err err;
	int mask = 0;
	int rc = tls_handshake(u->sock->ssl, &mask, &err);

	if (rc == E_AGAIN)
		sock_watch(u->sock, mask);
	else if (rc)
		up_fail_soon(u, rc, "TLS with %s failed: %s", origin_name(call->origin), err.text);
	else
		up_begin_request(u);
}

static void connected(struct up *u)
{
	struct http_call *call = u->call;

	counter_add(&u->client->stats.connects, 1);
	free(u->addrs); /* there may be thousands of connections, for hours */
	u->addrs = NULL;
	if (!call->origin->tls) {
		up_begin_request(u);
		return;
	}
	call->stage = HTTP_STAGE_TLS;
	u->state = UP_HANDSHAKE;
	up_deadline(u, u->connect_at_ms);
	u->sock->ssl = tls_open(u->client->options.tls, u->sock->fd, call->origin->host);
	if (!u->sock->ssl)
		up_fail_soon(u, E_UNAVAILABLE, "TLS with %s failed: its name cannot be verified",
			     origin_name(call->origin));
	else
		handshake(u);
}

static void on_connect_event(struct up *u)
{
	int e = 0;
	socklen_t n = sizeof(e);

	if (getsockopt(u->sock->fd, SOL_SOCKET, SO_ERROR, &e, &n))
		e = errno;
	if (e)
		up_next_address(u, strerror(e));
	else
		connected(u);
}

static void on_idle_event(struct up *u)
{
	char unasked;

	/* Nothing may come between two calls but TLS's own messages: an end, or bytes nobody asked for. */
	if (sock_recv(u->sock, &unasked, 1) != E_AGAIN || u->broken)
		up_close(u);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct up *u = poll->data;

	up_hold(u);
	if (status < 0) { /* libuv has stopped watching */
		u->broken = true;
		u->sock->mask = 0;
		events = UV_READABLE;
	}
	switch (u->state) {
	case UP_CONNECT:
		on_connect_event(u);
		break;
	case UP_HANDSHAKE:
		handshake(u);
		break;
	case UP_ANSWER:
	case UP_BODY:
		if (events & UV_WRITABLE && u->sent < u->to_send && !u->send_broken && !u->waits_to_send)
			up_send(u);
		if (u->sock && (events & UV_READABLE || u->sock->read_wants_write))
			up_read(u);
		break;
	case UP_IDLE:
		on_idle_event(u);
		break;
	case UP_RESOLVE:
	case UP_FAILED:
		break;
	}
	up_put(u);
}

/* An equal share of the time that is left, for each address that is left. */
static void address_deadline(struct up *u)
{
	int64_t now = loop_now_ms(u->client->loop);
	int left = u->addrs->n - u->at_addr + 1;

	if (u->connect_at_ms == INT64_MAX || left <= 1)
		up_deadline(u, u->connect_at_ms);
	else
		up_deadline(u, now + (u->connect_at_ms - now) / left);
}

static bool try_address(struct up *u, const union up_addr *a, const char **ret_why)
{
	socklen_t n = a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
	int fd, e = sock_connect(&a->any, n, &fd);

	if (e) {
		*ret_why = strerror(e);
		return false;
	}
	u->sock = sock_new(loop_uv(u->client->loop), fd, on_poll, u);
	if (!u->sock) {
		*ret_why = strerror(errno);
		return false;
	}
	sock_watch(u->sock, UV_WRITABLE);
	address_deadline(u);
	return true;
}

/* why: what became of the one before; NULL: no answer in time. */
void up_next_address(struct up *u, const char *why)
{
	struct http_call *call = u->call;
	const char *name = origin_name(call->origin);

	if (u->sock)
		sock_close(u->sock);
	u->sock = NULL;
	u->broken = false;
	while (u->at_addr < u->addrs->n && loop_now_ms(u->client->loop) < u->connect_at_ms)
		if (try_address(u, &u->addrs->addr[u->at_addr++], &why))
			return;
	counter_add(&u->client->stats.connect_errors, 1);
	resolve_forget(u->client, call->origin->host);
	if (why)
		up_fail_soon(u, E_UNAVAILABLE, "cannot connect to %s: %s", name, why);
	else
		up_fail_soon(u, E_TIMEOUT, "%s did not accept a connection within %lld ms", name,
			     (long long)call->timeouts.connect_ms);
}

void up_resolved(struct up *u, int rc, const char *why)
{
	struct http_call *call = u->call;

	if (rc) {
		counter_add(&u->client->stats.connect_errors, 1);
		up_fail_soon(u, rc, "cannot resolve %s: %s", call->origin->host, why);
		return;
	}
	call->stage = HTTP_STAGE_CONNECT;
	u->state = UP_CONNECT;
	u->at_addr = 0;
	up_next_address(u, "it has no address");
}

void up_connect(struct up *u)
{
	struct http_client *c = u->client;
	struct http_call *call = u->call;
	const char *why = NULL;
	int rc;

	u->counted = true;
	c->n_open++;
	counter_set(&c->stats.open, c->n_open);
	u->state = UP_RESOLVE;
	call->stage = HTTP_STAGE_RESOLVE;
	u->connect_at_ms = call->timeouts.connect_ms > 0 ? loop_now_ms(c->loop) + call->timeouts.connect_ms : INT64_MAX;
	up_deadline(u, u->connect_at_ms);
	u->addrs = calloc(1, sizeof(*u->addrs));
	if (!u->addrs)
		abort();
	rc = resolve_start(u, &why);
	if (rc != E_AGAIN)
		up_resolved(u, rc, why);
}
