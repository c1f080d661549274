/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.1 server of one loop.  It reads a request whole (head and body, both bounded), hands it to the handler,
 * and sends what the handler answers.  One exchange at a time per connection; pipelined requests wait their turn.  A
 * connection owns one receive buffer, given back when it is idle.
 *
 * Speed: at most one recv and one sendmsg per request when the request arrives in one piece and the answer fits the
 * socket. TCP_NODELAY is set.  Nothing is copied unless the socket is full.
 */
#pragma once
#include <sys/uio.h>

#include "core/base/arena.h"
#include "core/base/metric.h"
#include "core/http/head.h"
#include "core/loop/loop.h"

struct http_server;
struct http_exchange;
struct tls_context; /* tls.h */

/* This many readable bytes follow every request body (json.h asks for them). */
#define HTTP_BODY_PADDING 64

struct http_server_options {
	size_t max_body_bytes;	   /* 413 past it; default 8 MiB */
	size_t max_send_bytes;	   /* when more waits for a slow reader, one more piece cuts it off; default 4 MiB */
	size_t arena_max_bytes;	   /* of one exchange; default 64 MiB */
	unsigned max_connections;  /* of this loop; one more gets 503 and is closed; default 16384 */
	int64_t header_timeout_ms; /* from the first byte of a request to its blank line; 408; default 10 s */
	int64_t body_timeout_ms;   /* without a byte of the body arriving; 408; default 30 s */
	int64_t idle_timeout_ms;   /* between requests; closed silently; default 75 s */
	int64_t send_timeout_ms;   /* a reader that takes nothing; closed; default 60 s */
	struct tls_context *tls;   /* NULL: plain. The server takes a reference */
};
void http_server_options_init(struct http_server_options *o);

/* Callbacks of an exchange that outlives the handler's return. */
struct http_exchange_ops {
	/*
	 * The client went away: called once, at most, never after the answer is finished, and never from inside of a
	 * call of the handler into the server; the exchange lives until it is finished.  A FIN counts as well: a client
	 * must not shut down its sending side while it waits.
	 */
	void (*on_abort)(struct http_exchange *x);
	void (*on_drain)(struct http_exchange *x); /* http_pending() fell below half of the mark again */
	void (*on_free)(struct http_exchange *x);  /* everything was sent, or dropped: the arena goes after this */
};

/* What a handler sees of a request.  Everything lives until the answer is finished. */
struct http_exchange {
	struct http_head head;
	struct slice body;  /* whole, padded */
	struct arena arena; /* for anything that belongs to this exchange */
	struct loop *loop;
	struct http_server *server;
	void *user;			     /* the handler's */
	const struct http_exchange_ops *ops; /* set by the handler when it does not answer at once */
	struct slice peer;		     /* address of the client, "127.0.0.1:51234" */
	int64_t start_ms;		     /* when the first byte came (loop clock) */
	bool aborted;			     /* the client has gone: answers are swallowed */
	bool stopped;			     /* with aborted: the server has ended it, not the client */
	bool sent_head;			     /* http_reply or http_stream_begin has been called */
	bool is_head_request;		     /* server's: the body is left out */
	struct slice end;		     /* server's: of a stream that has trailers */
};

struct http_handler {
	void (*on_request)(struct http_exchange *x, void *arg);
	/*
	 * A request that the server itself refuses (400, 408, 413, 431, 501, 505, 503): the handler writes the body in
	 * the caller's protocol (x->head may be empty; x->head.path is set when the head was whole).  Must call
	 * http_reply before returning. The connection closes afterwards.
	 */
	void (*on_refused)(struct http_exchange *x, int status, const char *why, void *arg);
	void *arg;
};

struct http_server_stats {
	struct counter accepted, open, requests, refused, aborted, received_bytes, sent_bytes, send_queue_full;
	struct counter ended; /* exchanges, however they did */
};

int http_server_new(struct loop *l, const struct http_server_options *o, const struct http_handler *h,
		    struct http_server **ret, struct err *err);
/*
 * Listens on host:port (port 0: any free one, *ret_port says which).  share: SO_REUSEPORT, for one socket per loop; the
 * first listener of a daemon is opened with share_check, which fails when another process listens there already. Any
 * number of addresses per server.  Call on the loop's thread or before it runs.  An empty host means all interfaces; a
 * name with several addresses (localhost) is listened on at each.
 */
struct http_listen {
	struct slice host;
	uint16_t port;
	bool share;
	bool share_check;
};
int http_server_listen(struct http_server *s, const struct http_listen *where, uint16_t *ret_port, struct err *err);
/* On the loop's thread: another certificate for connections from now on. Those that are there stay. */
void http_server_set_tls(struct http_server *s, struct tls_context *tls);
/*
 * Stops accepting, closes idle connections, marks the others to close after their answer.  on_drained is called on the
 * loop when no connection is left, or after limit_ms, when what is left has been cut off.
 */
void http_server_drain(struct http_server *s, int64_t limit_ms, loop_fn *on_drained, void *arg);
void http_server_free(struct http_server *s);	   /* after draining */
void http_server_give_back(struct http_server *s); /* on the loop's thread: what it keeps for the next requests */
const struct http_server_stats *http_server_stats(const struct http_server *s); /* any thread */

/*
 * Replaces a body that came packed, gzip or zstd by its Content-Encoding, by what is in it; done when it is not packed.
 * Left to the handler, so that only callers whom it knows make the server work.  E_UNSUPPORTED: another coding (415);
 * E_TOOBIG: more in it than max_body_bytes (413); E_INVALID: damaged (400).
 */
int http_unpack_body(struct http_exchange *x, struct err *err);

/* --- answering: on the loop's thread --- */

/* A whole answer.  Content-Length, Date and Connection are the server's; the other headers are the caller's. Bytes are
 * sent or copied before it returns. Finishes the exchange. */
void http_reply(struct http_exchange *x, int status, const struct http_header *headers, size_t n_headers,
		struct slice body);
/* The same with the body in pieces. */
void http_replyv(struct http_exchange *x, int status, const struct http_header *headers, size_t n_headers,
		 const struct iovec *body, int n_body);
/*
 * A streamed answer (chunked for HTTP/1.1; until close for 1.0).  The head leaves together with the first piece.
 * http_stream_write: each call is one chunk and one sendmsg when the socket takes it.
 */
void http_stream_begin(struct http_exchange *x, int status, const struct http_header *headers, size_t n_headers);
void http_stream_write(struct http_exchange *x, const struct iovec *piece, int n_pieces);
/* Fields that stand behind the body, where that is possible: lines "name: value\r\n", before the end. */
void http_stream_trailers(struct http_exchange *x, struct slice lines);
/* Ends it cleanly, with a last piece (n_pieces may be 0) in the same send. Finishes the exchange. */
void http_stream_end(struct http_exchange *x, const struct iovec *piece, int n_pieces);
/* Ends it so that the client sees it was cut: the connection is reset without the last chunk. Finishes the exchange. */
void http_stream_cut(struct http_exchange *x);
/*
 * Of a stream that goes on for long: nobody needs head and body of its request any more, nor what its arena held before
 * it was renewed (arena_renew).
 */
void http_forget_request(struct http_exchange *x, struct arena *old);
/* Bytes that wait in our queue for the client: above HTTP_SEND_MARK stop reading upstream until on_drain. */
#define HTTP_SEND_MARK ((size_t)256 * 1024)
size_t http_pending(const struct http_exchange *x);
