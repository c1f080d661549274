/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A non-blocking stream socket that is watched by a loop, plain or TLS, for server and client alike; and a bounded list
 * of receive buffers.
 */
#pragma once
#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

#include "core/base/err.h"

struct tls_context;

struct sock {
	uv_poll_t poll; /* poll.data is the owner */
	uv_poll_cb cb;
	int fd;
	int mask; /* what the poll watches now */
	SSL *ssl; /* NULL: plain */
	/* TLS: bytes, or an end, may wait inside of OpenSSL, for which no poll wakes us: call sock_recv again. */
	bool more;
	bool read_wants_write; /* TLS: reading goes on when the socket can be written */
	int error;	       /* errno of the last E_CLOSED; 0 when the other side just ended it */
};

#define SOCK_ADDR_TEXT 64

/* Takes fd (non-blocking already). NULL with errno set, fd closed, when the loop cannot watch it. */
struct sock *sock_new(uv_loop_t *uv, int fd, uv_poll_cb cb, void *owner);
void sock_watch(struct sock *s, int mask); /* does nothing when the mask is the same */
/* The fd is closed at once (TLS: after a close_notify, if the socket takes it); no callback comes any more. */
void sock_close(struct sock *s);
void sock_reset(struct sock *s); /* the same, but the other side sees a reset */
/* >0 bytes; 0 the other side ended it cleanly; E_AGAIN; E_CLOSED: reset, or an end without TLS's close_notify. */
ssize_t sock_recv(struct sock *s, void *p, size_t n);
/* >=0 bytes taken (0: the socket is full); E_CLOSED.  TLS: bytes not taken must be offered again, unchanged, first. */
ssize_t sock_sendv(struct sock *s, const struct iovec *iov, int n);

int sock_listen(const struct sockaddr *addr, socklen_t n, bool share, int *ret_fd); /* 0 or an errno */
int sock_connect(const struct sockaddr *addr, socklen_t n, int *ret_fd);	    /* 0 or an errno; connects later */
void sock_nodelay(int fd);
size_t sock_addr_text(const struct sockaddr *addr,
		      char ret[SOCK_ADDR_TEXT]); /* "127.0.0.1:80", "[::1]:80"; its length */

/* iov without its first `skip` bytes, at most cap pieces: returns how many. */
int iov_skip(struct iovec *ret, int cap, const struct iovec *iov, int n, size_t skip);
size_t iov_total(const struct iovec *iov, int n);
static inline struct iovec iov_of(const void *p, size_t n)
{
	return (struct iovec){(void *)(uintptr_t)p, n};
}

/* Receive buffers of one size; the list keeps at most `max` that are not in use. */
struct bufpool {
	void *free;
	size_t size;
	unsigned n, max;
};
char *bufpool_get(struct bufpool *p);
void bufpool_put(struct bufpool *p, char *buf);
void bufpool_release(struct bufpool *p);

/* tls.c.  host: whose certificate it must be (NULL: we are the server). */
SSL *tls_open(struct tls_context *t, int fd, const char *host);
/* 0 done; E_AGAIN with *ret_mask what to wait for; E_UNAVAILABLE with the reason in words. */
int tls_handshake(SSL *ssl, int *ret_mask, struct err *err);
