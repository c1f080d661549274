/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to upstreams from one loop: keep-alive pools (last in, first out, per origin), name resolution off the loop,
 * TLS with certificates and host names verified, timeouts for every stage.  A pooled connection that the upstream
 * closed is replaced and the request sent again, once, when no byte of an answer had come; the caller does not notice.
 */
#pragma once
#include <sys/uio.h>

#include "core/base/metric.h"
#include "core/http/head.h"
#include "core/loop/loop.h"

struct http_client;
struct tls_context;

/* Where to connect.  Immutable; lives as long as any call or client that uses it (its owner is a snapshot: the client
 * keys its pools by the text of `key`, which it copies). */
struct http_origin {
	char host[256]; /* name or address, no brackets */
	uint16_t port;
	bool tls;
	char key[272]; /* "http://host:port" */
};
int http_origin_init(struct http_origin *o, struct slice host, uint16_t port, bool tls, struct err *err);

struct http_timeouts {
	int64_t connect_ms;    /* resolve, connect and TLS handshake together */
	int64_t first_byte_ms; /* from the request being sent to the first byte of the answer */
	int64_t between_ms;    /* silence inside the answer */
	int64_t total_ms;      /* everything */
};

/* Where a call failed: for logs, and to decide on a retry. */
enum http_stage {
	HTTP_STAGE_RESOLVE,
	HTTP_STAGE_CONNECT,
	HTTP_STAGE_TLS,
	HTTP_STAGE_SEND,
	HTTP_STAGE_FIRST_BYTE,
	HTTP_STAGE_HEAD,
	HTTP_STAGE_BODY
};
const char *http_stage_name(enum http_stage s);

struct http_call;
struct http_call_ops {
	/* The head of the final answer (1xx are swallowed).  Its slices live until this returns. A negative return
	 * cancels. */
	int (*on_head)(struct http_call *c, const struct http_head *head);
	/*
	 * A decoded piece of the body, valid until this returns, followed by HTTP_CALL_PADDING readable bytes when
	 * `last` is set and it is the first piece (the usual small answer: head and body in one segment).  last: the
	 * answer is complete with it. A negative return cancels.
	 * An empty body, and one whose end comes alone (last chunk, close), has no piece that is last: on_done tells.
	 */
	int (*on_body)(struct http_call *c, struct slice piece, bool last);
	/* Exactly once, last of all, never from inside http_call_start: 0, or E_* with c->stage and c->err set.  After
	 * a cancel it is not called. The call's memory is the caller's again.  A body that ends early is E_CLOSED
	 * (never 0). */
	void (*on_done)(struct http_call *c, int rc);
};
#define HTTP_CALL_PADDING 64

struct http_call {
	/* the caller's, before http_call_start */
	const struct http_call_ops *ops;
	void *user;
	const struct http_origin *origin;
	const struct iovec *request; /* head and body, ready to send; lives until on_done or cancel */
	int n_request;
	struct http_timeouts timeouts;
	bool head_request; /* the answer has no body */
	/* results */
	enum http_stage stage;
	struct err *err;       /* why it failed; NULL: nobody has said.  Until http_call_release */
	bool reused;	       /* went over a pooled connection */
	int64_t first_byte_ms; /* loop clock; 0 before */
	/* the client's */
	void *impl;
};

struct http_client_options {
	unsigned max_idle_per_origin; /* default 256 */
	unsigned max_connections;     /* of this loop, all origins; E_BUSY past it; default 8192 */
	int64_t idle_timeout_ms;      /* default 60 s */
	int64_t resolve_ttl_ms;	      /* how long an address is kept; default 30 s */
	size_t max_head_bytes;	      /* default HTTP_MAX_HEAD_BYTES */
	struct tls_context *tls;      /* for https origins; NULL refuses them */
};
void http_client_options_init(struct http_client_options *o);

struct http_client_stats {
	struct counter connects, connect_errors, reused, replaced, open, idle;
};

struct http_client *http_client_new(struct loop *l, const struct http_client_options *o);
void http_client_free(struct http_client *c);	   /* no call may be in flight */
void http_client_give_back(struct http_client *c); /* buffers kept for the next answers, most idle connections */
const struct http_client_stats *http_client_stats(const struct http_client *c);
/* Room to say why a call failed, the client's words or the caller's; and what was said, or "". */
struct err *http_call_err(struct http_call *call);
const char *http_call_why(const struct http_call *call);
void http_call_release(struct http_call *call); /* one that does not run; may be repeated */
void http_call_start(struct http_client *c, struct http_call *call);
/* No callback comes after this.  Its connection is closed unless the answer was whole. */
void http_call_cancel(struct http_call *call);
/* The whole request has left: its memory is the caller's again, for no other connection will be given it. */
bool http_call_is_sent(const struct http_call *call);
/* The call stands in another place now: *call is a copy of what was started.  In a callback of the call, too. */
void http_call_moved(struct http_call *call);
/* Back-pressure: stops reading (the between timeout stops too), and goes on. */
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);
