/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of server, client and TLS share: a server on a loop of its own whose paths do what their names say,
 * and blocking sockets for the other side.  Every blocking call ends after 10 s, so that a fault shows as a failed
 * check.
 */
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/http/chunked.h"
#include "core/http/server.h"
#include "tests/t.h"

#define HT_WAIT_MS 10000
#define HT_UNUSED __attribute__((unused))

/* --- the server side --- */

struct ht_server {
	struct loop *loop;
	struct http_server *server;
	uint16_t port;
	struct http_exchange *held; /* by /hold */
	sem_t on_held, on_aborted, on_freed, on_marked, on_drained;
	atomic_int n_aborted, n_freed, n_drains;
	size_t flood_left;
};

static HT_UNUSED bool ht_wait(sem_t *s)
{
	struct timespec until;
	int rc;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += HT_WAIT_MS / 1000;
	do
		rc = sem_timedwait(s, &until);
	while (rc && errno == EINTR);
	return !rc;
}

static HT_UNUSED bool ht_wait_counter(const struct counter *c, uint64_t at_least)
{
	int64_t until = clock_mono_ms() + HT_WAIT_MS;

	while (counter_get(c) < at_least && clock_mono_ms() < until)
		sched_yield();
	return counter_get(c) >= at_least;
}

static void ht_on_abort(struct http_exchange *x)
{
	struct ht_server *h = x->user;

	atomic_fetch_add(&h->n_aborted, 1);
	h->held = NULL;
	if (!x->sent_head)
		http_reply(x, 500, NULL, 0, SLICE_LIT("swallowed"));
	else
		http_stream_cut(x);
	sem_post(&h->on_aborted);
}

static void ht_on_free(struct http_exchange *x)
{
	struct ht_server *h = x->user;

	atomic_fetch_add(&h->n_freed, 1);
	sem_post(&h->on_freed);
}

/* Writes until the mark, goes on from on_drain. */
static void ht_flood(struct http_exchange *x)
{
	static char piece[32 * 1024];
	struct ht_server *h = x->user;

	while (h->flood_left && http_pending(x) <= HTTP_SEND_MARK && !x->aborted) {
		size_t n = h->flood_left < sizeof(piece) ? h->flood_left : sizeof(piece);
		struct iovec iov = {piece, n};

		h->flood_left -= n;
		http_stream_write(x, &iov, 1);
	}
	if (x->aborted)
		return;
	if (!h->flood_left)
		http_stream_end(x, NULL, 0);
	else
		sem_post(&h->on_marked);
}

static void ht_on_drain(struct http_exchange *x)
{
	struct ht_server *h = x->user;

	atomic_fetch_add(&h->n_drains, 1);
	ht_flood(x);
}

static const struct http_exchange_ops ht_ops = {ht_on_abort, ht_on_drain, ht_on_free};

static void ht_answer_later(void *arg)
{
	struct http_exchange *x = arg;

	http_reply(x, 200, NULL, 0, x->body);
}

static void ht_stream(struct http_exchange *x)
{
	char one[] = "one,", two[] = "two,", end[] = "end";
	struct iovec iov[2] = {{one, 4}, {two, 4}}, last = {end, 3};

	http_stream_begin(x, 200, NULL, 0);
	http_stream_write(x, iov, 2);
	http_stream_write(x, NULL, 0);
	http_stream_end(x, &last, 1);
}

static void ht_pieces(struct http_exchange *x)
{
	char byte[] = "p";
	struct iovec iov[200];

	for (size_t i = 0; i < COUNT_OF(iov); i++)
		iov[i] = (struct iovec){byte, 1};
	http_stream_begin(x, 200, NULL, 0);
	http_stream_write(x, iov, COUNT_OF(iov));
	http_stream_end(x, iov, COUNT_OF(iov));
}

static void ht_firehose(struct http_exchange *x)
{
	static char piece[64 * 1024];
	struct iovec iov = {piece, sizeof(piece)};

	http_stream_begin(x, 200, NULL, 0);
	for (int i = 0; i < 512 && !x->aborted; i++)
		http_stream_write(x, &iov, 1);
}

#define HT_BYTE_PLACES 19 /* past two words of eight */

/* The byte of this number (?65) at each place of a header's value, and of another's name. */
static void ht_bytes(struct http_exchange *x)
{
	static char value[HT_BYTE_PLACES][HT_BYTE_PLACES], name[HT_BYTE_PLACES][HT_BYTE_PLACES + 4];
	struct http_header h[2 * HT_BYTE_PLACES];
	static char names[HT_BYTE_PLACES][16];
	uint64_t byte = 0;
	size_t n = 0;

	(void)slice_to_u64(x->head.query, &byte);
	for (size_t i = 0; i < HT_BYTE_PLACES; i++) {
		memset(value[i], 'v', HT_BYTE_PLACES);
		memset(name[i], 'n', HT_BYTE_PLACES);
		value[i][i] = name[i][i] = (char)byte;
		snprintf(names[i], sizeof(names[i]), "x-%zu", i);
		/* as long as it takes to have the byte in it */
		h[n++] = (struct http_header){slice_from(names[i]), {value[i], i + 1}};
		h[n++] = (struct http_header){{name[i], i + 1}, SLICE_LIT("one")};
	}
	http_reply(x, 200, h, n, (struct slice){"", 0});
}

static void ht_on_request(struct http_exchange *x, void *arg)
{
	struct ht_server *h = arg;
	struct slice path = x->head.path;

	x->user = h;
	x->ops = &ht_ops;
	if (slice_eq_str(path, "/echo")) {
		struct http_header ct = {SLICE_LIT("content-type"), SLICE_LIT("text/plain")};

		http_reply(x, 200, &ct, 1, x->body);
	} else if (slice_eq_str(path, "/later")) {
		loop_post(x->loop, ht_answer_later, x);
	} else if (slice_eq_str(path, "/hold")) {
		h->held = x;
		sem_post(&h->on_held);
	} else if (slice_eq_str(path, "/stream")) {
		ht_stream(x);
	} else if (slice_eq_str(path, "/pieces")) {
		ht_pieces(x);
	} else if (slice_eq_str(path, "/flood")) {
		http_stream_begin(x, 200, NULL, 0);
		ht_flood(x);
	} else if (slice_eq_str(path, "/firehose")) {
		ht_firehose(x);
	} else if (slice_eq_str(path, "/cut")) {
		char part[] = "part";
		struct iovec iov = {part, 4};

		http_stream_begin(x, 200, NULL, 0);
		http_stream_write(x, &iov, 1);
		http_stream_cut(x);
	} else if (slice_eq_str(path, "/byte")) {
		ht_bytes(x);
	} else if (slice_eq_str(path, "/smuggle")) {
		struct http_header bad[] = {{SLICE_LIT("x-a"), SLICE_LIT("1\r\nx-evil: 1")},
					    {SLICE_LIT("x b"), SLICE_LIT("1")},
					    {SLICE_LIT("Content-Length"), SLICE_LIT("999")},
					    {SLICE_LIT("x-good"), SLICE_LIT("tab\tfine")}};

		http_reply(x, 200, bad, COUNT_OF(bad), SLICE_LIT("ok"));
	} else {
		http_reply(x, 404, NULL, 0, SLICE_LIT("no such path"));
	}
}

static void ht_on_refused(struct http_exchange *x, int status, const char *why, void *arg)
{
	(void)arg;
	http_reply(x, status, NULL, 0, slice_from(why));
}

static HT_UNUSED void ht_start(struct ht_server *h, const struct http_server_options *o)
{
	struct http_handler handler = {ht_on_request, ht_on_refused, h};
	struct http_listen where = {.host = SLICE_LIT("127.0.0.1")};
	struct err err = {0};

	*h = (struct ht_server){0};
	sem_init(&h->on_held, 0, 0);
	sem_init(&h->on_aborted, 0, 0);
	sem_init(&h->on_freed, 0, 0);
	sem_init(&h->on_marked, 0, 0);
	sem_init(&h->on_drained, 0, 0);
	if (loop_new("server", &h->loop, &err) || http_server_new(h->loop, o, &handler, &h->server, &err) ||
	    http_server_listen(h->server, &where, &h->port, &err) || loop_start(h->loop, &err)) {
		printf("Bail out! %s\n", err.text);
		exit(1);
	}
}

static void ht_drained(void *arg)
{
	struct ht_server *h = arg;

	sem_post(&h->on_drained);
}

static void ht_drain_now(void *arg)
{
	struct ht_server *h = arg;

	http_server_drain(h->server, 0, ht_drained, h);
}

static HT_UNUSED void ht_drain_long(void *arg)
{
	struct ht_server *h = arg;

	http_server_drain(h->server, HT_WAIT_MS, ht_drained, h);
}

static HT_UNUSED void ht_answer_held(void *arg)
{
	struct ht_server *h = arg;

	if (h->held)
		http_reply(h->held, 200, NULL, 0, SLICE_LIT("held"));
	h->held = NULL;
}

static HT_UNUSED void ht_end(struct ht_server *h)
{
	loop_stop(h->loop);
	loop_join(h->loop);
	CHECK_INT((long long)counter_get(&http_server_stats(h->server)->open), 0);
	http_server_free(h->server);
	loop_free(h->loop);
}

static HT_UNUSED void ht_stop(struct ht_server *h)
{
	loop_post(h->loop, ht_drain_now, h);
	CHECK(ht_wait(&h->on_drained));
	ht_end(h);
}

/* --- the other side --- */

struct ht_answer {
	int status;
	char head[40000];
	char body[1 << 20];
	size_t n_body;
	bool ended; /* the connection, after the body */
};

static HT_UNUSED void ht_limit_waiting(int fd)
{
	struct timeval tv = {.tv_sec = HT_WAIT_MS / 1000};
	int one = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static HT_UNUSED int ht_connect(uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ht_limit_waiting(fd);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		printf("# connect: %s\n", strerror(errno));
	return fd;
}

static HT_UNUSED bool ht_send(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL);

		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

static HT_UNUSED bool ht_says(int fd, const char *text)
{
	return ht_send(fd, text, strlen(text));
}

static bool ht_read_exactly(int fd, char *p, size_t n)
{
	while (n) {
		ssize_t r = recv(fd, p, n, 0);

		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

static bool ht_read_chunks(int fd, struct ht_answer *a)
{
	struct chunked c;
	char byte;

	chunked_init(&c);
	while (ht_read_exactly(fd, &byte, 1)) {
		struct slice in = {&byte, 1}, data = {NULL, 0};
		int rc = chunked_next(&c, &in, &data, NULL);

		if (data.n && a->n_body < sizeof(a->body) - 1)
			a->body[a->n_body++] = *data.p;
		if (rc)
			return rc == 1;
	}
	return false;
}

/* Reads one answer and no byte more. has_body: false for answers to HEAD. False when it is cut or none. */
static HT_UNUSED bool ht_read(int fd, struct ht_answer *a, bool has_body)
{
	HTTP_HEAD(head);
	size_t n = 0;
	ssize_t r;

	a->status = 0;
	a->n_body = 0;
	a->body[0] = 0;
	while (n < sizeof(a->head) - 1 && ht_read_exactly(fd, a->head + n, 1)) {
		n++;
		if (n >= 4 && !memcmp(a->head + n - 4, "\r\n\r\n", 4))
			break;
	}
	a->head[n] = 0;
	if (http_parse_response((struct slice){a->head, n}, 0, &head, NULL))
		return false;
	a->status = head.status;
	if (!has_body || head.status < 200 || head.status == 204)
		return true;
	if (head.chunked) {
		if (!ht_read_chunks(fd, a))
			return false;
	} else if (head.content_length >= 0) {
		if ((size_t)head.content_length >= sizeof(a->body) ||
		    !ht_read_exactly(fd, a->body, (size_t)head.content_length))
			return false;
		a->n_body = (size_t)head.content_length;
	} else {
		while (a->n_body < sizeof(a->body) - 1 &&
		       (r = recv(fd, a->body + a->n_body, sizeof(a->body) - 1 - a->n_body, 0)) > 0)
			a->n_body += (size_t)r;
	}
	a->body[a->n_body] = 0;
	return true;
}

/* The other side has closed, cleanly or by a reset, and nothing came before. */
static HT_UNUSED bool ht_ended(int fd)
{
	char byte;
	ssize_t r = recv(fd, &byte, 1, 0);

	return r == 0 || (r < 0 && errno == ECONNRESET);
}

static HT_UNUSED struct http_server_options ht_options(void)
{
	struct http_server_options o;

	http_server_options_init(&o);
	return o;
}
