/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers: heads, whole bodies, streams, and the queue of what a slow client has not taken.
 *
 * What would break it: a header value with a line end in it (another answer could be smuggled in: such headers are left
 * out), and sending around bytes that wait in the queue.
 */
#include "core/http/server_internal.h"

#include <assert.h>

#define SEND_MAX_IOV 64
#define HEAD_STACK_BYTES 2048
#define HEAD_FIXED_BYTES 192 /* status line, Date, Content-Length, Connection */

void sendq_release(struct sendq *q)
{
	free(q->p);
	*q = (struct sendq){0};
}

static void sendq_append(struct sendq *q, const void *p, size_t n)
{
	if (!n)
		return;
	if (q->at && q->n + n > q->cap) {
		memmove(q->p, q->p + q->at, q->n - q->at);
		q->n -= q->at;
		q->at = 0;
	}
	if (q->n + n > q->cap) {
		size_t cap = q->cap ? q->cap : 1024;

		while (cap < q->n + n)
			cap *= 2;
		q->p = realloc(q->p, cap);
		if (!q->p)
			abort();
		q->cap = cap;
	}
	memcpy(q->p + q->n, p, n);
	q->n += n;
}

static void sendq_consume(struct sendq *q, size_t n)
{
	q->at += n;
	if (q->at == q->n)
		q->at = q->n = 0;
}

/* --- sending --- */

/* What a send left over goes to the queue.  Its bound is on what piles up: one answer, or one piece, is as large as its
 * maker allows, and who reads it slowly gets it all the same. */
static void queue_rest(struct conn *c, const struct iovec *iov, int n, size_t skip)
{
	struct http_server *s = c->server;

	if (sendq_pending(&c->out) > s->options.max_send_bytes) {
		counter_add(&s->stats.send_queue_full, 1);
		conn_gone(c, false, true);
		return;
	}
	for (int i = 0; i < n; i++) {
		size_t part = min_size(skip, iov[i].iov_len);

		sendq_append(&c->out, (char *)iov[i].iov_base + part, iov[i].iov_len - part);
		skip -= part;
	}
	if (c->x && sendq_pending(&c->out) > HTTP_SEND_MARK)
		c->x->above_mark = true;
	if (!c->blocked) {
		c->blocked = true;
		conn_watch(c);
		if (c->state == CONN_BUSY)
			conn_after(c, s->options.send_timeout_ms);
	}
}

void conn_send(struct conn *c, struct iovec *iov, int n)
{
	size_t pending = sendq_pending(&c->out), total;
	size_t sent = 0;

	if (!c->sock)
		return;
	total = iov_total(iov + 1, n - 1);
	if (!c->blocked) {
		ssize_t r;

		iov[0] = iov_of(c->out.p + c->out.at, pending);
		if (!pending && !total)
			return;
		r = pending ? sock_sendv(c->sock, iov, n) : sock_sendv(c->sock, iov + 1, n - 1);
		if (r < 0) {
			conn_gone(c, false, false);
			return;
		}
		counter_add(&c->server->stats.sent_bytes, (size_t)r);
		sent = (size_t)r;
	}
	if (LIKELY(sent == pending + total)) {
		if (c->out.p) /* a stream needs it for its head, and then for a slow reader */
			sendq_release(&c->out);
		return;
	}
	if (pending) {
		size_t from_queue = min_size(sent, pending);

		sendq_consume(&c->out, from_queue);
		sent -= from_queue;
	}
	queue_rest(c, iov + 1, n - 1, sent);
}

static void flushed(struct conn *c)
{
	struct exchange *x = c->x;

	if (!x || c->state != CONN_BUSY)
		return;
	if (x->above_mark && sendq_pending(&c->out) < HTTP_SEND_MARK / 2) {
		x->above_mark = false;
		if (!x->finished && x->pub.ops && x->pub.ops->on_drain)
			x->pub.ops->on_drain(&x->pub);
	}
	if (!c->dead && c->x == x && x->finished && c->sock && !sendq_pending(&c->out))
		conn_exchange_complete(c);
}

/* Called with the connection held. */
void conn_flush(struct conn *c)
{
	struct iovec iov = iov_of(c->out.p + c->out.at, sendq_pending(&c->out));
	ssize_t r;

	if (!iov.iov_len) {
		c->blocked = false;
		conn_watch(c);
		return;
	}
	r = sock_sendv(c->sock, &iov, 1);
	if (r < 0) {
		conn_gone(c, true, false);
		return;
	}
	if (!r)
		return;
	counter_add(&c->server->stats.sent_bytes, (size_t)r);
	sendq_consume(&c->out, (size_t)r);
	if (!sendq_pending(&c->out)) {
		c->blocked = false;
		conn_watch(c);
	}
	if (c->state == CONN_BUSY)
		conn_after(c, c->blocked ? c->server->options.send_timeout_ms : 0);
	flushed(c);
}

/* --- heads --- */

static char *put(char *to, const char *p, size_t n)
{
	memcpy(to, p, n);
	return to + n;
}

static char *put_slice(char *to, struct slice s)
{
	return s.n ? put(to, s.p, s.n) : to;
}

#define PUT(to, literal) put((to), (literal), sizeof(literal) - 1)

static char *put_number(char *to, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		*to++ = digits[--n];
	return to;
}

/* The Date header, written once a second. */
static struct slice date_header(struct http_server *s)
{
	static const char day[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char month[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					"Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	int64_t now = loop_wall_us(s->loop) / 1000000;

	if (s->date_s != now) {
		time_t t = now;
		struct tm tm;
		int n;

		gmtime_r(&t, &tm);
		n = snprintf(s->date, sizeof(s->date), "Date: %s, %02u %s %04u %02u:%02u:%02u GMT\r\n",
			     day[tm.tm_wday % 7], (unsigned)tm.tm_mday % 100, month[tm.tm_mon % 12],
			     (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
			     (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
		s->n_date = min_size((size_t)n, sizeof(s->date) - 1);
		s->date_s = now;
	}
	return (struct slice){s->date, s->n_date};
}

static bool name_allowed(struct slice name)
{
	if (!http_is_name(name))
		return false;
	switch (name.n) { /* what the server writes itself */
	case 4:
		return !slice_eq_nocase(name, SLICE_LIT("date"));
	case 10:
		return !slice_eq_nocase(name, SLICE_LIT("connection"));
	case 14:
		return !slice_eq_nocase(name, SLICE_LIT("content-length"));
	case 17:
		return !slice_eq_nocase(name, SLICE_LIT("transfer-encoding"));
	default:
		return true;
	}
}

struct answer {
	int status;
	const struct http_header *headers;
	size_t n_headers;
	size_t body_bytes;
	bool stream;
};

static size_t head_size(const struct answer *a)
{
	size_t n = HEAD_FIXED_BYTES + strlen(http_reason(a->status));

	for (size_t i = 0; i < a->n_headers; i++)
		n += a->headers[i].name.n + a->headers[i].value.n + 4;
	return n;
}

/* Writes the head at p, which has head_size() bytes; returns its end. */
static char *head_write(struct conn *c, const struct answer *a, char *p)
{
	struct exchange *x = c->x;

	p = PUT(p, "HTTP/1.1 ");
	p = put_number(p, (unsigned)a->status);
	p = PUT(p, " ");
	p = put_slice(p, slice_from(http_reason(a->status)));
	p = PUT(p, "\r\n");
	p = put_slice(p, date_header(c->server));
	for (size_t i = 0; i < a->n_headers; i++) {
		const struct http_header *h = &a->headers[i];

		if (!name_allowed(h->name) || !http_is_value(h->value))
			continue;
		p = put_slice(p, h->name);
		p = PUT(p, ": ");
		p = put_slice(p, h->value);
		p = PUT(p, "\r\n");
	}
	if (a->stream) {
		if (x->chunked)
			p = PUT(p, "Transfer-Encoding: chunked\r\n");
	} else if (a->status >= 200 && a->status != 204 && a->status != 304) {
		p = PUT(p, "Content-Length: ");
		p = put_number(p, a->body_bytes);
		p = PUT(p, "\r\n");
	}
	if (c->close_after)
		p = PUT(p, "Connection: close\r\n");
	else if (!x->pub.head.minor)
		p = PUT(p, "Connection: keep-alive\r\n");
	return PUT(p, "\r\n");
}

static struct exchange *from_pub(struct http_exchange *pub)
{
	return CONTAINER_OF(pub, struct exchange, pub);
}

static bool status_has_body(int status)
{
	return status >= 200 && status != 204 && status != 304;
}

/* --- answers --- */

/* first and last may be empty.  More pieces than fit one sendmsg go in several. */
static void send_pieces(struct conn *c, struct slice first, const struct iovec *piece, int n, struct slice last)
{
	struct iovec iov[SEND_MAX_IOV]; /* [0] is for what waits in the queue */
	int used = 1;

	if (first.n)
		iov[used++] = iov_of(first.p, first.n);
	for (int i = 0; i < n; i++) {
		if (used == SEND_MAX_IOV - 1) {
			conn_send(c, iov, used);
			used = 1;
		}
		if (piece[i].iov_len)
			iov[used++] = piece[i];
	}
	if (last.n)
		iov[used++] = iov_of(last.p, last.n);
	conn_send(c, iov, used);
}

void http_replyv(struct http_exchange *pub, int status, const struct http_header *headers, size_t n_headers,
		 const struct iovec *body, int n_body)
{
	struct exchange *x = from_pub(pub);
	struct conn *c = x->conn;
	struct answer a = {status, headers, n_headers, iov_total(body, n_body), false};
	char stack[HEAD_STACK_BYTES], *head = stack;
	size_t size = head_size(&a);
	bool with_body = !pub->is_head_request && status_has_body(status);

	assert(!pub->sent_head);
	pub->sent_head = true;
	if (c->sock) {
		if (c->server->draining)
			c->close_after = true;
		if (size > sizeof(stack) && !(head = malloc(size)))
			abort();
		size = (size_t)(head_write(c, &a, head) - head);
		send_pieces(c, (struct slice){head, size}, body, with_body ? n_body : 0, (struct slice){NULL, 0});
		if (head != stack)
			free(head);
	}
	conn_exchange_finished(c);
}

void http_reply(struct http_exchange *x, int status, const struct http_header *headers, size_t n_headers,
		struct slice body)
{
	struct iovec iov = iov_of(body.p, body.n);

	http_replyv(x, status, headers, n_headers, &iov, body.n ? 1 : 0);
}

void http_stream_begin(struct http_exchange *pub, int status, const struct http_header *headers, size_t n_headers)
{
	struct exchange *x = from_pub(pub);
	struct conn *c = x->conn;
	struct answer a = {status, headers, n_headers, 0, true};
	char stack[HEAD_STACK_BYTES], *head = stack;
	size_t size = head_size(&a);

	assert(!pub->sent_head);
	pub->sent_head = true;
	if (!c->sock)
		return;
	x->bodyless = pub->is_head_request || !status_has_body(status);
	x->chunked = pub->head.minor > 0 && status_has_body(status);
	if (c->server->draining || (!x->chunked && !x->bodyless))
		c->close_after = true;
	if (size > sizeof(stack) && !(head = malloc(size)))
		abort();
	size = (size_t)(head_write(c, &a, head) - head);
	sendq_append(&c->out, head, size); /* leaves with the first piece */
	if (head != stack)
		free(head);
}

/* "1a2b\r\n"; nothing for an empty piece, which would end the stream. */
static struct slice chunk_head(size_t n, char buf[20])
{
	static const char digit[] = "0123456789abcdef";
	size_t at = 18;

	if (!n)
		return (struct slice){NULL, 0};
	buf[18] = '\r';
	buf[19] = '\n';
	for (; n; n >>= 4)
		buf[--at] = digit[n & 15];
	return (struct slice){buf + at, 20 - at};
}

static void stream_send(struct exchange *x, const struct iovec *piece, int n_pieces, bool last)
{
	struct conn *c = x->conn;
	size_t total = iov_total(piece, n_pieces);
	struct slice before = {NULL, 0}, after = {NULL, 0};
	char buf[20];

	if (x->chunked && !x->bodyless) {
		before = chunk_head(total, buf);
		after = !last ? SLICE_LIT("\r\n") : x->pub.end.n ? x->pub.end : SLICE_LIT("\r\n0\r\n\r\n");
		if (!total)
			after = slice_sub(after, 2, last ? after.n : 0);
	}
	if (!total || x->bodyless)
		n_pieces = 0;
	send_pieces(c, before, piece, n_pieces, after);
}

void http_stream_write(struct http_exchange *pub, const struct iovec *piece, int n_pieces)
{
	struct exchange *x = from_pub(pub);

	assert(pub->sent_head && !x->finished);
	stream_send(x, piece, n_pieces, false);
}

void http_stream_trailers(struct http_exchange *pub, struct slice lines)
{
	pub->end = slice_from(arena_printf(&pub->arena, "\r\n0\r\n" SLICE_FMT "\r\n", SLICE_ARG(lines)));
}

void http_stream_end(struct http_exchange *pub, const struct iovec *piece, int n_pieces)
{
	struct exchange *x = from_pub(pub);

	assert(pub->sent_head && !x->finished);
	stream_send(x, piece, n_pieces, true);
	conn_exchange_finished(x->conn);
}

void http_stream_cut(struct http_exchange *pub)
{
	struct exchange *x = from_pub(pub);
	struct conn *c = x->conn;

	x->finished = true; /* nobody has to be told of an abort */
	if (c->sock)
		conn_gone(c, false, true);
	else
		conn_exchange_complete(c);
}

size_t http_pending(const struct http_exchange *pub)
{
	return sendq_pending(&from_pub((struct http_exchange *)(uintptr_t)pub)->conn->out);
}
