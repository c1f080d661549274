/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server of one loop: its listeners, its options, and its end.
 *
 * What would break it: calling anything here from another thread once the loop runs (the counters are the exception),
 * and a way out of the accept loop that neither takes a connection nor stops watching: it would spin.
 */
#include "core/http/server_internal.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/http/tls.h"

#define ACCEPTS_PER_WAKE 16
#define ACCEPT_PAUSE_MS 100
#define OVER_LIMIT_MAX 256 /* connections past the maximum that may hear their 503 at one time */
#define FREE_BUFFERS 256
#define FREE_LARGE_BUFFERS 32

void http_server_options_init(struct http_server_options *o)
{
	*o = (struct http_server_options){
		.max_body_bytes = 8 << 20,
		.max_send_bytes = 4 << 20,
		.arena_max_bytes = 64 << 20,
		.max_connections = 16384,
		.header_timeout_ms = 10000,
		.body_timeout_ms = 30000,
		.idle_timeout_ms = 75000,
		.send_timeout_ms = 60000,
	};
}

void conn_hold(struct conn *c)
{
	c->holds++;
}

void conn_put(struct conn *c)
{
	if (!--c->holds && c->dead)
		free(c);
}

/* Called by connections that end; the callback comes from the loop, never from inside of a handler. */
void server_conn_ended(struct http_server *s)
{
	if (s->draining && !s->n_conns && s->on_drained)
		timer_set(s->loop, &s->drain_timer, 0);
}

static void end_all(struct http_server *s)
{
	while (s->conns) {
		if (s->conns->x)
			s->conns->x->pub.stopped = true;
		conn_gone(s->conns, true, true); /* moves it to another list, or ends it */
	}
}

static void on_drain_timer(void *arg)
{
	struct http_server *s = arg;
	loop_fn *fn = s->on_drained;

	end_all(s);
	timer_cancel(s->loop, &s->drain_timer);
	s->on_drained = NULL;
	if (fn)
		fn(s->drained_arg);
}

int http_server_new(struct loop *l, const struct http_server_options *o, const struct http_handler *h,
		    struct http_server **ret, struct err *err)
{
	struct http_server *s;

	if (!o->max_connections || !o->max_send_bytes)
		return err_set(err, E_INVALID, "a server needs room for at least one connection and one answer");
	s = calloc(1, sizeof(*s));
	if (!s)
		abort();
	s->loop = l;
	s->options = *o;
	if (o->tls)
		(void)tls_context_ref(o->tls); /* it is s->options.tls */
	s->handler = *h;
	s->bufs = (struct bufpool){.size = CONN_BUF_BYTES + HTTP_BODY_PADDING, .max = FREE_BUFFERS};
	s->large_bufs = (struct bufpool){.size = CONN_LARGE_BYTES + HTTP_BODY_PADDING, .max = FREE_LARGE_BUFFERS};
	s->date_s = -1;
	timer_init(&s->drain_timer, on_drain_timer, s);
	*ret = s;
	return 0;
}

static void pause_accepting(struct listener *ln, int e)
{
	static const struct log log = {.module = "http"};
	static _Thread_local struct log_limit limit;
	struct loop *loop = ln->server->loop;

	if (log_limit_pass(&limit, loop_now_ms(loop)))
		log_warn(&log, "cannot accept connections for %d ms: %s; raise the limit of open files",
			 ACCEPT_PAUSE_MS, strerror(e));
	sock_watch(ln->sock, 0);
	timer_set(loop, &ln->pause, ACCEPT_PAUSE_MS);
}

static void accepted(struct http_server *s, int fd, const struct sockaddr *peer)
{
	struct conn *c;

	counter_add(&s->stats.accepted, 1);
	if (s->n_conns >= (size_t)s->options.max_connections + OVER_LIMIT_MAX ||
	    (s->options.tls && s->n_conns >= s->options.max_connections)) {
		counter_add(&s->stats.refused, 1);
		close(fd);
		return;
	}
	sock_nodelay(fd);
	c = conn_new(s, fd, peer);
	if (!c)
		return;
	if (s->n_conns > s->options.max_connections) {
		conn_open_exchange(c);
		conn_refuse(c, 503, "too many connections are open");
	}
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct listener *ln = poll->data;

	(void)status; /* accept4 tells the same */
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_WAKE && ln->sock; i++) {
		struct sockaddr_storage peer;
		socklen_t n = sizeof(peer);
		int fd = accept4(ln->sock->fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			accepted(ln->server, fd, (struct sockaddr *)&peer);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(ln, errno);
		if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO)
			break;
	}
}

static void resume_accepting(void *arg)
{
	struct listener *ln = arg;

	sock_watch(ln->sock, UV_READABLE);
}

/* A port with a listener of another program: SO_REUSEPORT would share it without a word. */
static int probe_port(const struct addrinfo *ai, struct err *err)
{
	char text[SOCK_ADDR_TEXT];
	int fd, e = sock_listen(ai->ai_addr, ai->ai_addrlen, false, &fd);

	if (!e) {
		close(fd);
		return 0;
	}
	if (e != EADDRINUSE)
		return 0; /* the real attempt says what is wrong */
	sock_addr_text(ai->ai_addr, text);
	return err_set(err, E_BUSY, "%s is in use: stop the other program, or choose another address with --listen",
		       text);
}

static int listen_failed(const struct addrinfo *ai, int e, struct err *err)
{
	char text[SOCK_ADDR_TEXT];

	sock_addr_text(ai->ai_addr, text);
	if (e == EADDRINUSE)
		return err_set(err, E_BUSY,
			       "%s is in use: stop the other program, or choose another address with --listen", text);
	if (e == EACCES)
		return err_set(err, E_DENIED, "not allowed to listen on %s: choose a port above 1023 with --listen",
			       text);
	return err_set(err, E_IO, "cannot listen on %s: %s", text, strerror(e));
}

union any_addr {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static uint16_t bound_port(int fd)
{
	union any_addr addr = {.any.sa_family = AF_UNSPEC};
	socklen_t n = sizeof(addr);

	if (getsockname(fd, &addr.any, &n))
		return 0;
	return ntohs(addr.any.sa_family == AF_INET6 ? addr.v6.sin6_port : addr.v4.sin_port);
}

static int listen_on(struct http_server *s, const struct http_listen *where, const struct addrinfo *ai,
		     uint16_t *ret_port, struct err *err)
{
	struct listener *ln;
	int fd = -1, rc;

	if (where->share_check && where->port && (rc = probe_port(ai, err)))
		return rc;
	rc = sock_listen(ai->ai_addr, ai->ai_addrlen, where->share, &fd);
	if (rc)
		return listen_failed(ai, rc, err);
	ln = calloc(1, sizeof(*ln));
	if (!ln)
		abort();
	ln->server = s;
	ln->sock = sock_new(loop_uv(s->loop), fd, on_connection, ln);
	if (!ln->sock) {
		free(ln);
		return listen_failed(ai, errno, err);
	}
	timer_init(&ln->pause, resume_accepting, ln);
	ln->next = s->listeners;
	s->listeners = ln;
	sock_watch(ln->sock, UV_READABLE);
	*ret_port = bound_port(fd);
	return 0;
}

static void set_port(struct addrinfo *ai, uint16_t port)
{
	union any_addr *a = (void *)ai->ai_addr;

	if (ai->ai_family == AF_INET6)
		a->v6.sin6_port = htons(port);
	else
		a->v4.sin_port = htons(port);
}

/* Some hosts files give one address twice. */
static bool listed_before(const struct addrinfo *list, const struct addrinfo *ai)
{
	for (; list != ai; list = list->ai_next)
		if (list->ai_addrlen == ai->ai_addrlen && !memcmp(list->ai_addr, ai->ai_addr, ai->ai_addrlen))
			return true;
	return false;
}

/* Every address of a name (127.0.0.1 and ::1 of localhost), on one port.  One that the machine does not have is passed
 * over. */
static int listen_all(struct http_server *s, const struct http_listen *where, struct addrinfo *list, uint16_t *ret_port,
		      struct err *err)
{
	struct err failed = {0};
	uint16_t port = where->port;
	bool any = false;

	for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		struct err e;
		int rc;

		if ((ai->ai_family != AF_INET && ai->ai_family != AF_INET6) || listed_before(list, ai))
			continue;
		set_port(ai, port);
		rc = listen_on(s, where, ai, &port, &e);
		any = any || !rc;
		set_port(ai, port);
		if (rc == E_BUSY && where->port)
			return err_set(err, rc, "%s", e.text);
		if (rc && !failed.code)
			failed = e;
	}
	if (!any)
		return err_set(err, failed.code ? failed.code : E_IO, "%s",
			       failed.code ? failed.text : "no address to listen on");
	if (ret_port)
		*ret_port = port;
	return 0;
}

int http_server_listen(struct http_server *s, const struct http_listen *where, uint16_t *ret_port, struct err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
	char host[256];
	int rc;

	if (where->host.n >= sizeof(host))
		return err_set(err, E_INVALID, "the address to listen on is longer than %zu bytes", sizeof(host) - 1);
	snprintf(host, sizeof(host), SLICE_FMT, SLICE_ARG(where->host));
	rc = getaddrinfo(host[0] ? host : NULL, host[0] ? NULL : "0", &hints, &list);
	if (rc)
		return err_set(err, E_INVALID, "cannot listen on '%s': %s", host, gai_strerror(rc));
	rc = listen_all(s, where, list, ret_port, err);
	freeaddrinfo(list);
	return rc;
}

static void close_listeners(struct http_server *s)
{
	struct listener *ln;

	while ((ln = s->listeners)) {
		s->listeners = ln->next;
		timer_cancel(s->loop, &ln->pause);
		sock_close(ln->sock);
		free(ln);
	}
}

void http_server_drain(struct http_server *s, int64_t limit_ms, loop_fn *on_drained, void *arg)
{
	struct conn *c, *next;

	close_listeners(s);
	s->draining = true;
	s->on_drained = on_drained;
	s->drained_arg = arg;
	timer_set(s->loop, &s->drain_timer, limit_ms);
	for (c = s->conns; c; c = next) {
		next = c->next;
		if (c->state == CONN_IDLE || c->state == CONN_HANDSHAKE)
			conn_close(c);
	}
	server_conn_ended(s);
}

void http_server_set_tls(struct http_server *s, struct tls_context *tls)
{
	struct tls_context *old = s->options.tls;

	s->options.tls = tls_context_ref(tls);
	tls_context_free(old);
}

void http_server_give_back(struct http_server *s)
{
	struct exchange *x;

	while ((x = s->free_x)) {
		s->free_x = x->next;
		arena_release(&x->pub.arena);
		free(x);
	}
	s->n_free_x = 0;
	bufpool_release(&s->bufs);
	bufpool_release(&s->large_bufs);
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	close_listeners(s);
	tls_context_free(s->options.tls);
	s->on_drained = NULL;
	end_all(s);
	/* Handlers that did not finish on their on_abort lose their exchanges here. */
	while (s->gone)
		conn_exchange_complete(s->gone);
	timer_cancel(s->loop, &s->drain_timer);
	http_server_give_back(s);
	free(s);
}

const struct http_server_stats *http_server_stats(const struct http_server *s)
{
	return &s->stats;
}
