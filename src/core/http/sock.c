/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets under server and client.
 *
 * What would break it: freeing a struct sock before libuv has let go of its handle (sock_close leaves that to the close
 * callback), and offering OpenSSL other bytes than those it refused for now (both callers send strictly from the front
 * of what waits).
 */
#include "core/http/sock_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <unistd.h>

#include "core/base/util.h"

#define TLS_RECORD_BYTES (16 * 1024)
#define SMALL_BYTES ((size_t)4096)

struct sock *sock_new(uv_loop_t *uv, int fd, uv_poll_cb cb, void *owner)
{
	struct sock *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		abort();
	rc = uv_poll_init(uv, &s->poll, fd);
	if (rc) {
		close(fd);
		free(s);
		errno = -rc;
		return NULL;
	}
	s->fd = fd;
	s->cb = cb;
	s->poll.data = owner;
	return s;
}

void sock_watch(struct sock *s, int mask)
{
	if (s->mask == mask)
		return;
	s->mask = mask;
	if (mask)
		uv_poll_start(&s->poll, mask, s->cb);
	else
		uv_poll_stop(&s->poll);
}

static void on_closed(uv_handle_t *h)
{
	free(CONTAINER_OF(h, struct sock, poll));
}

void sock_close(struct sock *s)
{
	if (s->ssl) {
		if (SSL_is_init_finished(s->ssl))
			SSL_shutdown(s->ssl);
		SSL_free(s->ssl);
		s->ssl = NULL;
		ERR_clear_error();
	}
	uv_close((uv_handle_t *)&s->poll, on_closed);
	close(s->fd);
	s->fd = -1;
}

void sock_reset(struct sock *s)
{
	struct linger hard = {.l_onoff = 1, .l_linger = 0};

	setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	if (s->ssl) {
		SSL_free(s->ssl); /* without close_notify: it was not whole */
		s->ssl = NULL;
	}
	sock_close(s);
}

static ssize_t tls_error(struct sock *s, int n)
{
	int e = SSL_get_error(s->ssl, n);

	if (e == SSL_ERROR_WANT_READ)
		return E_AGAIN;
	if (e == SSL_ERROR_WANT_WRITE) {
		s->read_wants_write = true;
		return E_AGAIN;
	}
	if (e == SSL_ERROR_ZERO_RETURN)
		return 0;
	s->error = e == SSL_ERROR_SYSCALL ? errno : 0;
	ERR_clear_error();
	return E_CLOSED;
}

static ssize_t tls_recv(struct sock *s, char *p, size_t n)
{
	size_t got = 0;

	s->more = false;
	s->read_wants_write = false;
	while (got < n) {
		int want = (int)min_size(n - got, 1 << 30);
		ssize_t rc;
		int r;

		ERR_clear_error();
		r = SSL_read(s->ssl, p + got, want);
		if (r > 0) {
			got += (size_t)r;
			continue;
		}
		rc = tls_error(s, r);
		if (!got)
			return rc;
		s->more = rc != E_AGAIN; /* the end is told by the next call */
		return (ssize_t)got;
	}
	s->more = true;
	return (ssize_t)got;
}

ssize_t sock_recv(struct sock *s, void *p, size_t n)
{
	ssize_t r;

	if (s->ssl)
		return tls_recv(s, p, n);
	do
		r = recv(s->fd, p, n, 0);
	while (r < 0 && errno == EINTR);
	if (LIKELY(r >= 0))
		return r;
	if (errno == EAGAIN)
		return E_AGAIN;
	s->error = errno;
	return E_CLOSED;
}

/* Up to one record's worth, gathered. */
static size_t gather(char *to, size_t cap, const struct iovec *iov, int n)
{
	size_t used = 0;

	for (int i = 0; i < n && used < cap; i++) {
		size_t part = min_size(iov[i].iov_len, cap - used);

		if (part)
			memcpy(to + used, iov[i].iov_base, part);
		used += part;
	}
	return used;
}

static ssize_t tls_sendv(struct sock *s, const struct iovec *iov, int n)
{
	char record[TLS_RECORD_BYTES];
	struct iovec rest[64];
	size_t sent = 0;

	for (;;) {
		int n_rest = iov_skip(rest, COUNT_OF(rest), iov, n, sent);
		size_t len = gather(record, sizeof(record), rest, n_rest);
		int r;

		if (!len)
			return (ssize_t)sent;
		ERR_clear_error();
		r = SSL_write(s->ssl, record, (int)len);
		if (r <= 0) {
			int e = SSL_get_error(s->ssl, r);

			if (e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ)
				return (ssize_t)sent;
			s->error = e == SSL_ERROR_SYSCALL ? errno : 0;
			ERR_clear_error();
			return E_CLOSED;
		}
		sent += (size_t)r;
	}
}

/* Few bytes are copied together: the kernel takes one piece faster than it reads a list of them. */
static ssize_t send_small(int fd, const struct iovec *iov, int n)
{
	char all[SMALL_BYTES];

	if (n == 1)
		return send(fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
	return send(fd, all, gather(all, sizeof(all), iov, n), MSG_NOSIGNAL);
}

ssize_t sock_sendv(struct sock *s, const struct iovec *iov, int n)
{
	struct msghdr msg = {.msg_iovlen = (size_t)n};
	bool is_small = n == 1 || iov_total(iov, n) <= SMALL_BYTES;
	ssize_t r;

	if (s->ssl)
		return tls_sendv(s, iov, n);
	msg.msg_iov = (struct iovec *)(uintptr_t)iov; /* the kernel does not write there */
	do
		r = is_small ? send_small(s->fd, iov, n) : sendmsg(s->fd, &msg, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	if (LIKELY(r >= 0))
		return r;
	if (errno == EAGAIN || errno == ENOBUFS)
		return 0;
	s->error = errno;
	return E_CLOSED;
}

static void set_option(int fd, int level, int name)
{
	int one = 1;

	setsockopt(fd, level, name, &one, sizeof(one));
}

void sock_nodelay(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY);
}

int sock_listen(const struct sockaddr *addr, socklen_t n, bool share, int *ret_fd)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int e;

	if (fd < 0)
		return errno;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR);
	if (share)
		set_option(fd, SOL_SOCKET, SO_REUSEPORT);
	if (addr->sa_family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	if (!bind(fd, addr, n) && !listen(fd, 4096)) {
		*ret_fd = fd;
		return 0;
	}
	e = errno;
	close(fd);
	return e;
}

int sock_connect(const struct sockaddr *addr, socklen_t n, int *ret_fd)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int e;

	if (fd < 0)
		return errno;
	sock_nodelay(fd);
	if (!connect(fd, addr, n) || errno == EINPROGRESS || errno == EINTR) {
		*ret_fd = fd;
		return 0;
	}
	e = errno;
	close(fd);
	return e;
}

size_t sock_addr_text(const struct sockaddr *addr, char ret[SOCK_ADDR_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "?";
	int n;

	if (addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const void *)addr;

		inet_ntop(AF_INET6, &a->sin6_addr, host, sizeof(host));
		n = snprintf(ret, SOCK_ADDR_TEXT, "[%s]:%u", host, ntohs(a->sin6_port));
	} else {
		const struct sockaddr_in *a = (const void *)addr;

		inet_ntop(AF_INET, &a->sin_addr, host, sizeof(host));
		n = snprintf(ret, SOCK_ADDR_TEXT, "%s:%u", host, ntohs(a->sin_port));
	}
	return (size_t)n;
}

int iov_skip(struct iovec *ret, int cap, const struct iovec *iov, int n, size_t skip)
{
	int used = 0;

	for (int i = 0; i < n && used < cap; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		ret[used++] = iov_of((char *)iov[i].iov_base + skip, iov[i].iov_len - skip);
		skip = 0;
	}
	return used;
}

size_t iov_total(const struct iovec *iov, int n)
{
	size_t total = 0;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	return total;
}

char *bufpool_get(struct bufpool *p)
{
	char *buf = p->free;

	if (buf) {
		memcpy(&p->free, buf, sizeof(p->free));
		p->n--;
		return buf;
	}
	buf = malloc(p->size);
	if (!buf)
		abort();
	return buf;
}

void bufpool_put(struct bufpool *p, char *buf)
{
	if (p->n >= p->max) {
		free(buf);
		return;
	}
	memcpy(buf, &p->free, sizeof(p->free));
	p->free = buf;
	p->n++;
}

void bufpool_release(struct bufpool *p)
{
	while (p->n)
		free(bufpool_get(p));
}
