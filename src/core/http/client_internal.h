/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the client's files share: client.c (calls and their timeouts), client_conn.c (connecting, sending),
 * client_read.c (answers), client_pool.c (idle connections), resolve.c (names).
 */
#pragma once
#include <netinet/in.h>

#include "core/base/map.h"
#include "core/http/chunked.h"
#include "core/http/client.h"
#include "core/http/sock_internal.h"

#define UP_BUF_BYTES ((size_t)64 * 1024)
#define RESOLVE_MAX_ADDRS 8
#define RESOLVE_MAX_NAMES 256

union up_addr {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct up_addrs {
	union up_addr addr[RESOLVE_MAX_ADDRS];
	int n;
};

enum up_state {
	UP_RESOLVE,   /* waits for the addresses of a name */
	UP_CONNECT,   /* to one address after the other */
	UP_HANDSHAKE, /* TLS */
	UP_ANSWER,    /* sends the request, waits for the head of the answer */
	UP_BODY,      /* the head has been handed on */
	UP_IDLE,      /* in its pool */
	UP_FAILED,    /* on_done comes on the next turn */
};

enum up_framing { UP_NO_BODY, UP_COUNTED, UP_CHUNKED, UP_UNTIL_CLOSE };

/* A connection to an upstream, with the call that has it. */
struct up {
	struct http_client *client;
	struct pool *pool;
	struct http_call *call; /* NULL: idle, or cancelled */
	unsigned gen;		/* another number after each change of call */
	enum up_state state;
	struct sock *sock;
	struct up *next, **prev; /* in the pool's idle list, or waiting for a name */
	struct timer timer, soon;
	int64_t deadline_ms; /* of the stage; the timer may fire earlier */
	int64_t total_at_ms;
	int64_t connect_at_ms; /* end of resolve, connect and handshake */
	int64_t first_byte_at_ms;
	struct up_addrs *addrs; /* until it is connected */
	int at_addr;
	/* the request */
	size_t sent, to_send;
	struct up *next_to_send; /* in the client's list */
	bool waits_to_send;
	bool send_broken; /* the other side takes no more; its answer may still be read */
	/* the answer */
	char *in;
	size_t at, n_in, seen;
	unsigned n_heads; /* informational ones among them */
	enum up_framing framing;
	uint64_t left;	    /* UP_COUNTED */
	uint64_t got_bytes; /* of the body as it came */
	struct chunked chunked;
	bool from_pool;
	bool got_byte;
	bool keep_alive;
	bool whole;  /* the last byte of the answer has been handed on */
	bool paused; /* by the caller */
	bool kept;   /* bytes came before the pause that have not been handed on */
	bool read_off;
	bool broken;  /* libuv has stopped watching: read until the error shows */
	bool counted; /* in client->n_open */
	bool dead;
	unsigned holds;
	int fail_rc; /* UP_FAILED */
};

struct pool {
	struct http_client *client;
	struct up *idle; /* newest first */
	unsigned n_idle;
	unsigned n_ups; /* all that point here */
	char key[];
};

struct http_client {
	struct loop *loop;
	struct http_client_options options;
	struct http_client_stats stats;
	struct map pools; /* by origin key */
	struct map names; /* resolve.c */
	struct bufpool bufs;
	unsigned n_open, n_idle;
	struct up *to_send, **to_send_tail; /* requests that leave at the end of this turn, each held */
	unsigned n_to_send;
	struct loop_turn_end turn_end;
};

/* client.c */
const char *origin_name(const struct http_origin *o); /* "host:port" */
void up_hold(struct up *u);
void up_put(struct up *u);
struct up *up_new(struct http_client *c, struct pool *pool);
void up_attach(struct up *u, struct http_call *call);
struct http_call *up_detach(struct up *u);
void up_close(struct up *u); /* the call must be detached */
/* The end of the stage: the earlier of this and the call's total. */
void up_deadline(struct up *u, int64_t at_ms);
void up_after(struct up *u, int64_t delay_ms); /* from now; <= 0: none */
void up_await_first_byte(struct up *u);
/* Ends the call now, or (soon) on the next turn of the loop. */
void up_fail(struct up *u, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
void up_fail_soon(struct up *u, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
void up_complete(struct up *u); /* the answer is whole */
void up_release(struct up *u);	/* detached: to its pool if it can be used again, or closed */
void up_read_soon(struct up *u);

/* client_conn.c */
void up_connect(struct up *u); /* a fresh connection for u->call */
void up_resolved(struct up *u, int rc, const char *why);
void up_next_address(struct up *u, const char *why);
void up_begin_request(struct up *u);
void up_send_waiting(void *client); /* a loop_fn: what waits for the end of the turn leaves */
void up_watch(struct up *u);
void up_replace(struct up *u); /* a stale connection: the request goes out again on a fresh one */

/* client_read.c */
void up_read(struct up *u);

/* client_pool.c */
struct pool *pool_get(struct http_client *c, const struct http_origin *o);
void pool_unref(struct pool *p);
struct up *pool_take(struct pool *p);	/* the newest idle connection, or NULL */
bool pool_put(struct up *u);		/* false: full */
void pool_remove(struct up *u);		/* from the idle list */
bool pool_evict(struct http_client *c); /* closes one idle connection of any origin */
void pool_close_idle(struct http_client *c);
void pool_thin_out(struct http_client *c, unsigned keep); /* idle connections of an origin: the newest stay */

/* resolve.c */
/* 0: u->addrs is filled.  E_AGAIN: up_resolved() will be called.  E_UNAVAILABLE with *ret_why. */
int resolve_start(struct up *u, const char **ret_why);
void resolve_cancel(struct up *u);
void resolve_forget(struct http_client *c, const char *host); /* its addresses did not answer */
void resolve_release(struct http_client *c);
