/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server's files share: server.c (listening, accepting, draining), server_conn.c (a connection's life),
 * server_read.c (requests), server_send.c (answers).
 */
#pragma once
#include "core/base/buf.h"
#include "core/http/chunked.h"
#include "core/http/server.h"
#include "core/http/sock_internal.h"

#define CONN_BUF_BYTES ((size_t)16 * 1024)
#define CONN_LARGE_BYTES ((size_t)64 * 1024) /* for whoever sends bodies that the other has no room for */
/* What comes behind a refusal is read and thrown away, or a caller that sends on would be reset before it has read the
 * answer: as long as there are never so many milliseconds of silence, and at most so long, and so much. */
#define CONN_LINGER_BYTES ((size_t)64 * 1024 * 1024)
#define CONN_LINGER_MS 1000
#define CONN_LINGER_MAX_MS 30000

enum conn_state {
	CONN_HANDSHAKE, /* TLS */
	CONN_IDLE,	/* between requests */
	CONN_HEAD,	/* a part of a head is there */
	CONN_BODY,	/* the head is whole, the body is not */
	CONN_BUSY,	/* an exchange is being answered */
	CONN_LINGER,	/* answered and shut down; the rest of a refused request is read and thrown away */
};

struct exchange {
	struct http_exchange pub; /* first */
	struct conn *conn;
	struct exchange *next; /* in the free list */
	bool finished;	       /* the answer is complete: what is left sits in the queue */
	bool chunked;
	bool bodyless;	 /* an answer to HEAD, or of a status that has no body */
	bool above_mark; /* on_drain is due */
};

/* Bytes that the socket did not take, or that wait for company (the head of a stream). */
struct sendq {
	char *p;
	size_t at, n, cap;
};

struct conn {
	struct http_server *server;
	struct sock *sock; /* NULL: the client has gone, and an exchange is still unfinished */
	struct conn *next, **prev;
	struct timer timer;
	int64_t deadline_ms; /* of the state; the timer may fire earlier */
	enum conn_state state;
	struct exchange *x;
	/* in: head, then body unless that is in big, then what the client sent too early. */
	char *in;
	size_t in_cap, n_in;
	size_t seen;	/* bytes that the head parser has searched */
	size_t next_at; /* where the next request begins in `in` */
	char *big;	/* a body that `in` has no room for */
	size_t big_cap;
	size_t n_body;
	struct chunked chunked;
	struct sendq out;
	bool blocked; /* the socket was full */
	bool close_after;
	bool linger;	 /* close_after, with input that was not read */
	bool soon;	 /* the timer stands for "go on next turn" */
	bool in_process; /* conn_process runs: it takes the next request itself */
	bool paused;	 /* no room to read */
	bool is_large;	 /* the last body would have fitted into a large buffer alone */
	bool dead;	 /* freed when holds is 0 */
	unsigned holds;
	size_t linger_left;
	int64_t linger_until_ms;
	size_t n_peer;
	char peer[SOCK_ADDR_TEXT];
};

struct listener {
	struct http_server *server;
	struct listener *next;
	struct sock *sock;
	struct timer pause; /* after EMFILE */
};

struct http_server {
	struct loop *loop;
	struct http_server_options options;
	struct http_handler handler;
	struct http_server_stats stats;
	struct listener *listeners;
	struct conn *conns;	 /* with a socket */
	struct conn *gone;	 /* without: their exchanges go on */
	size_t n_conns;		 /* both */
	struct exchange *free_x; /* with warm arenas */
	unsigned n_free_x;
	struct bufpool bufs, large_bufs;
	struct http_header headers[HTTP_MAX_HEADERS]; /* of the head that is parsed just now */
	bool draining;
	struct timer drain_timer;
	loop_fn *on_drained;
	void *drained_arg;
	int64_t date_s; /* second for which date is right */
	char date[40];	/* "Date: ...\r\n" */
	size_t n_date;
};

/* server.c */
void server_conn_ended(struct http_server *s); /* a connection has gone: the drain may be over */
void conn_hold(struct conn *c);
void conn_put(struct conn *c); /* frees it when it is dead and nobody else holds it */

/* server_conn.c */
struct conn *conn_new(struct http_server *s, int fd, const struct sockaddr *peer);
void conn_link(struct conn *c, struct conn **list);
void conn_unlink(struct conn *c);
void conn_watch(struct conn *c); /* after blocked or paused has changed */
void conn_deadline(struct conn *c, int64_t at_ms);
void conn_after(struct conn *c, int64_t delay_ms); /* a deadline from now; <= 0: none */
void conn_close(struct conn *c);		   /* no exchange may be open */
/* The client has gone.  now: its exchange may hear of it before this returns; otherwise on the next turn. */
void conn_gone(struct conn *c, bool now, bool reset);
void conn_drop_input(struct conn *c);
void conn_free_buffer(struct conn *c, char *buf, size_t cap); /* what an input of cap bytes stood in */
void conn_open_exchange(struct conn *c);
void conn_exchange_complete(struct conn *c); /* answered and sent: next request, or the end */
void conn_exchange_finished(struct conn *c); /* answered; complete as soon as it is sent */

/* server_read.c */
void conn_read(struct conn *c);
void conn_process(struct conn *c);
void conn_refuse(struct conn *c, int status, const char *why);

/* server_send.c */
/* Sends what waits and iov[1..n-1] (iov[0] is overwritten); queues what the socket does not take. */
void conn_send(struct conn *c, struct iovec *iov, int n);
void conn_flush(struct conn *c); /* the socket can be written again */
void sendq_release(struct sendq *q);
static inline size_t sendq_pending(const struct sendq *q)
{
	return q->n - q->at;
}
