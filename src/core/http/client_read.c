/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading answers.  Bytes are handed on from the receive buffer they came in; the buffer goes back to its list as soon
 * as it is empty.
 *
 * What would break it: going on after a callback without looking whether the connection still belongs to the same call
 * (u->gen), and counting an answer as whole that ended early.
 */
#include "core/http/client_internal.h"

#define HEADS_MAX 16 /* 1xx answers before the final one */

/* What a callback left behind: true when the call is still on this connection. */
static bool still_ours(struct up *u, unsigned gen, int rc)
{
	if (u->dead || u->gen != gen)
		return false;
	if (rc >= 0)
		return true;
	http_call_cancel(u->call);
	return false;
}

static void frame(struct up *u, const struct http_head *h)
{
	u->keep_alive = h->keep_alive;
	u->left = 0;
	if (u->call->head_request || h->status == 204 || h->status == 304) {
		u->framing = UP_NO_BODY;
	} else if (h->chunked) {
		u->framing = UP_CHUNKED;
		chunked_init(&u->chunked);
	} else if (h->content_length >= 0) {
		u->framing = UP_COUNTED;
		u->left = (uint64_t)h->content_length;
	} else {
		u->framing = UP_UNTIL_CLOSE;
	}
}

/* The final head.  Returns true when there may be a body to go on with. */
static bool take_head(struct up *u, const struct http_head *h)
{
	struct http_call *call = u->call;
	unsigned gen = u->gen;

	frame(u, h);
	u->at += h->head_bytes;
	u->state = UP_BODY;
	call->stage = HTTP_STAGE_BODY;
	call->first_byte_ms = u->n_heads > 1 ? loop_now_ms(u->client->loop) : call->first_byte_ms;
	u->whole = u->framing == UP_NO_BODY || (u->framing == UP_COUNTED && !u->left);
	if (!still_ours(u, gen, call->ops->on_head ? call->ops->on_head(call, h) : 0))
		return false;
	if (!u->whole)
		return true;
	up_complete(u);
	return false;
}

static void bad_head(struct up *u, int rc, const struct err *err)
{
	const char *name = origin_name(u->call->origin);

	if (rc == E_TOOBIG)
		up_fail(u, E_INVALID, "%s sent a head that is too large: %s", name, err->text);
	else
		up_fail(u, E_INVALID, "%s did not answer in HTTP/1.1: %s", name, err->text);
}

static bool step_head(struct up *u)
{
	HTTP_HEAD(head);

	while (u->n_heads < HEADS_MAX) {
		struct slice in = {u->in + u->at, u->n_in - u->at};
		struct err err;
		int rc = http_parse_response(in, u->seen, &head, &err);

		if (rc == E_AGAIN && in.n >= u->client->options.max_head_bytes) {
			rc = E_TOOBIG;
			err_set(&err, rc, "more than %zu bytes", u->client->options.max_head_bytes);
		}
		if (rc == E_AGAIN) {
			u->seen = in.n;
			return false;
		}
		if (rc == 0 && head.status == 101)
			rc = err_set(&err, E_INVALID, "it wants to switch protocols");
		if (rc) {
			bad_head(u, rc, &err);
			return false;
		}
		u->seen = 0;
		u->n_heads++;
		if (head.status >= 200)
			return take_head(u, &head);
		u->at += head.head_bytes;
		if (u->at == u->n_in) { /* that was no answer yet */
			up_deadline(u, u->first_byte_at_ms);
			return false;
		}
	}
	up_fail(u, E_INVALID, "%s sent more than %d informational answers", origin_name(u->call->origin), HEADS_MAX);
	return false;
}

/* Joins the payload of all chunks that have come, in place. 1: the last chunk was among them. */
static int join_chunks(struct up *u, struct slice *ret_piece, struct err *err)
{
	struct slice in = {u->in + u->at, u->n_in - u->at};
	char *to = NULL;
	size_t n = 0;
	int rc = 0;

	while (in.n && !rc) {
		struct slice data = {NULL, 0};

		rc = chunked_next(&u->chunked, &in, &data, err);
		if (!data.n)
			continue;
		if (!to)
			to = u->in + (data.p - u->in);
		else
			memmove(to + n, data.p, data.n);
		n += data.n;
	}
	u->at = u->n_in - in.n;
	*ret_piece = (struct slice){to, n};
	return rc;
}

static int next_piece(struct up *u, struct slice *ret_piece, struct err *err)
{
	struct slice in = {u->in + u->at, u->n_in - u->at};

	if (u->framing == UP_CHUNKED)
		return join_chunks(u, ret_piece, err);
	if (u->framing == UP_COUNTED && in.n > u->left)
		in.n = u->left;
	u->at += in.n;
	u->left -= u->framing == UP_COUNTED ? in.n : 0;
	*ret_piece = in;
	return u->framing == UP_COUNTED && !u->left;
}

static void step_body(struct up *u)
{
	struct http_call *call = u->call; /* until it is called: it may move then */
	unsigned gen = u->gen;
	struct slice piece;
	struct err err;
	int rc = next_piece(u, &piece, &err);

	u->got_bytes += piece.n;
	u->whole = rc == 1;
	if (piece.n && !still_ours(u, gen, call->ops->on_body ? call->ops->on_body(call, piece, rc == 1) : 0))
		return;
	if (rc == 1)
		up_complete(u);
	else if (rc < 0)
		up_fail(u, E_INVALID, "%s sent a broken chunk: %s", origin_name(u->call->origin), err.text);
}

static void process(struct up *u)
{
	unsigned gen = u->gen;

	if (!u->got_byte) {
		u->got_byte = true;
		u->call->first_byte_ms = loop_now_ms(u->client->loop);
		u->call->stage = HTTP_STAGE_HEAD;
	}
	up_after(u, u->call->timeouts.between_ms);
	if (u->state == UP_ANSWER && !step_head(u))
		return;
	if (u->gen == gen && u->state == UP_BODY && !u->paused && u->at < u->n_in)
		step_body(u);
}

/* The connection has ended. clean: by FIN (and close_notify). */
static void ended(struct up *u, bool clean)
{
	const char *name = origin_name(u->call->origin);
	const char *how = clean ? "closed" : u->sock->error ? "reset" : "broke off";

	if (u->state == UP_BODY) {
		if (u->framing == UP_UNTIL_CLOSE && clean)
			up_complete(u);
		else
			up_fail(u, E_CLOSED, "%s %s the connection in the middle of its answer, after %llu bytes", name,
				how, (unsigned long long)u->got_bytes);
	} else if (u->got_byte) {
		up_fail(u, E_CLOSED, "%s %s the connection inside the head of its answer", name, how);
	} else if (u->from_pool) {
		up_replace(u);
	} else {
		up_fail(u, E_CLOSED, "%s %s the connection before an answer", name, how);
	}
}

/* One recv; false when there is nothing more to do now. */
static bool read_once(struct up *u)
{
	ssize_t n;

	if (!u->in)
		u->in = bufpool_get(&u->client->bufs);
	n = sock_recv(u->sock, u->in + u->n_in, UP_BUF_BYTES - u->n_in);
	if (n > 0) {
		u->n_in += (size_t)n;
		process(u);
	} else if (n != E_AGAIN || u->broken) {
		ended(u, n == 0);
		return false;
	} else {
		if (u->sock->read_wants_write)
			up_watch(u);
		return false;
	}
	return !u->dead && u->call && u->sock && u->state >= UP_ANSWER && !u->paused && (u->sock->more || u->broken);
}

/* Takes what has been handed on out of the buffer. */
static void tidy(struct up *u)
{
	if (u->dead || !u->in)
		return;
	if (u->at == u->n_in) {
		bufpool_put(&u->client->bufs, u->in);
		u->in = NULL;
		u->at = u->n_in = 0;
	} else if (u->at) {
		memmove(u->in, u->in + u->at, u->n_in - u->at);
		u->n_in -= u->at;
		u->at = 0;
	}
}

void up_read(struct up *u)
{
	unsigned gen = u->gen;
	bool again = true;

	if (u->state == UP_IDLE) {
		up_close(u);
		return;
	}
	if (u->paused) {
		u->read_off = true; /* resume turns it on again */
		up_watch(u);
		return;
	}
	up_hold(u);
	if (u->kept) {
		u->kept = false;
		process(u);
		tidy(u);
		again = !u->dead && u->gen == gen && u->sock && !u->paused && (u->sock->more || u->broken);
	}
	while (again) {
		again = read_once(u);
		tidy(u);
		if (u->gen != gen)
			break;
	}
	up_put(u);
}
