/* SPDX-License-Identifier: Apache-2.0 */
/* The client, against an upstream that is a script: a thread that accepts, reads requests and writes what the table
 * says. */
#include <pthread.h>

#include "core/http/client.h"
#include "tests/unit/http_test.h"

/* --- the upstream --- */

enum op {
	OP_END,
	OP_ACCEPT,
	OP_REQUEST, /* reads one whole request */
	OP_SAY,	    /* text */
	OP_DRIP,    /* text, a byte at a time */
	OP_CLOSE,
	OP_RESET,
	OP_WAIT_END, /* until the client has closed */
	OP_POST,     /* tells the test */
	OP_WAIT,     /* for the test */
};

struct step {
	enum op op;
	const char *text;
};

struct upstream {
	const struct step *steps;
	int listener;
	uint16_t port;
	pthread_t thread;
	sem_t told, go_on;
	atomic_int n_requests;
	bool failed;
};

static bool read_request(int fd)
{
	HTTP_HEAD(head);
	char buf[8192];
	size_t n = 0;

	while (n < sizeof(buf)) {
		if (!ht_read_exactly(fd, buf + n, 1))
			return false;
		n++;
		if (!http_parse_request((struct slice){buf, n}, 0, &head, NULL))
			break;
	}
	for (int64_t left = head.content_length; left > 0; left--)
		if (!ht_read_exactly(fd, buf, 1))
			return false;
	return true;
}

static bool upstream_step(struct upstream *u, const struct step *s, int *fd)
{
	struct linger hard = {1, 0};

	switch (s->op) {
	case OP_ACCEPT:
		*fd = accept(u->listener, NULL, NULL);
		ht_limit_waiting(*fd);
		return *fd >= 0;
	case OP_REQUEST:
		atomic_fetch_add(&u->n_requests, 1);
		return read_request(*fd);
	case OP_SAY:
		return ht_says(*fd, s->text);
	case OP_DRIP:
		for (const char *p = s->text; *p; p++)
			if (!ht_send(*fd, p, 1))
				return false;
		return true;
	case OP_RESET:
		setsockopt(*fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		return !close(*fd);
	case OP_CLOSE:
		return !close(*fd);
	case OP_WAIT_END:
		return ht_ended(*fd) && !close(*fd);
	case OP_POST:
		return !sem_post(&u->told);
	case OP_WAIT:
		return ht_wait(&u->go_on);
	case OP_END:
		break;
	}
	return false;
}

static void *upstream_main(void *arg)
{
	struct upstream *u = arg;
	int fd = -1;

	for (const struct step *s = u->steps; s->op != OP_END; s++)
		if (!upstream_step(u, s, &fd)) {
			printf("# upstream: step %d failed\n", (int)(s - u->steps));
			u->failed = true;
			break;
		}
	return NULL;
}

static int listen_somewhere(uint16_t *ret_port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ht_limit_waiting(fd);
	CHECK(!bind(fd, (struct sockaddr *)&addr, n) && !listen(fd, 16));
	getsockname(fd, (struct sockaddr *)&addr, &n);
	*ret_port = ntohs(addr.sin_port);
	return fd;
}

static void upstream_start(struct upstream *u, const struct step *steps)
{
	*u = (struct upstream){.steps = steps};
	sem_init(&u->told, 0, 0);
	sem_init(&u->go_on, 0, 0);
	u->listener = listen_somewhere(&u->port);
	pthread_create(&u->thread, NULL, upstream_main, u);
}

static void upstream_end(struct upstream *u)
{
	pthread_join(u->thread, NULL);
	close(u->listener);
	CHECK(!u->failed);
}

/* --- the calls --- */

struct side {
	struct loop *loop;
	struct http_client *client;
	struct http_origin origin;
};

struct call {
	struct http_call call; /* first */
	struct side *side;
	struct iovec request[2];
	int status;
	char body[1 << 20];
	size_t n_body;
	int n_heads, n_pieces, n_done, rc;
	bool last, started;
	int (*on_piece)(struct call *c);
};

static int on_head(struct http_call *hc, const struct http_head *h)
{
	struct call *c = hc->user;

	c->status = h->status;
	c->n_heads++;
	return 0;
}

static int on_body(struct http_call *hc, struct slice piece, bool last)
{
	struct call *c = hc->user;
	volatile char sum = 0;

	CHECK(c->n_heads == 1 && !c->n_done && !c->last && piece.n);
	if (last && !c->n_pieces)
		for (size_t i = 0; i < HTTP_CALL_PADDING; i++)
			sum = (char)(sum + piece.p[piece.n + i]); /* readable */
	if (c->n_body + piece.n < sizeof(c->body))
		memcpy(c->body + c->n_body, piece.p, piece.n);
	c->n_body += piece.n;
	c->n_pieces++;
	c->last = last;
	return c->on_piece ? c->on_piece(c) : 0;
}

static void on_done(struct http_call *hc, int rc)
{
	struct call *c = hc->user;

	CHECK(!c->started);
	c->n_done++;
	c->rc = rc;
	c->body[c->n_body < sizeof(c->body) ? c->n_body : sizeof(c->body) - 1] = 0;
	loop_stop(c->side->loop);
}

static const struct http_call_ops ops = {on_head, on_body, on_done};

static void side_init(struct side *s, uint16_t port, const struct http_client_options *o)
{
	struct http_client_options def;
	struct err err;

	http_client_options_init(&def);
	CHECK_INT(loop_new("client", &s->loop, &err), 0);
	s->client = http_client_new(s->loop, o ? o : &def);
	CHECK_INT(http_origin_init(&s->origin, SLICE_LIT("127.0.0.1"), port, false, &err), 0);
}

static void side_release(struct side *s)
{
	http_client_free(s->client);
	loop_free(s->loop);
}

static const char post[] = "POST /x HTTP/1.1\r\nHost: u\r\nContent-Length: 4\r\n\r\n";

static void prepare(struct side *s, struct call *c)
{
	http_call_release(&c->call);
	memset(c, 0, sizeof(*c));
	c->side = s;
	c->request[0] = (struct iovec){(void *)(uintptr_t)post, sizeof(post) - 1};
	c->request[1] = (struct iovec){(void *)(uintptr_t) "body", 4};
	c->call = (struct http_call){.ops = &ops,
				     .user = c,
				     .origin = &s->origin,
				     .request = c->request,
				     .n_request = 2,
				     .timeouts = {HT_WAIT_MS, HT_WAIT_MS, HT_WAIT_MS, HT_WAIT_MS}};
}

static void start(struct call *c)
{
	c->started = true;
	http_call_start(c->side->client, &c->call);
	c->started = false;
}

static void run(struct call *c)
{
	start(c);
	loop_run(c->side->loop);
	CHECK_INT(c->n_done, 1);
}

static struct call call;

static struct upstream up;
static struct side side;

static void begin(const struct step *steps)
{
	upstream_start(&up, steps);
	side_init(&side, up.port, NULL);
	prepare(&side, &call);
}

static void end(void)
{
	side_release(&side);
	upstream_end(&up);
}

/* --- answers, whole and not --- */

#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED_HEAD OK "Transfer-Encoding: chunked\r\n\r\n"

static const struct {
	const char *name;
	struct step then[4]; /* after accept and request */
	int rc;
	enum http_stage stage;
	int status;
	const char *body;
	int pooled;	   /* the connection afterwards */
	const char *error; /* a part of the text */
	bool head_request;
} answers[] = {
	{"counted", {{OP_SAY, OK "Content-Length: 5\r\n\r\nhello"}}, 0, HTTP_STAGE_BODY, 200, "hello", 1, "", false},
	{"counted, drip",
	 {{OP_DRIP, OK "Content-Length: 5\r\n\r\nhello"}},
	 0,
	 HTTP_STAGE_BODY,
	 200,
	 "hello",
	 1,
	 "",
	 false},
	{"empty", {{OP_SAY, OK "Content-Length: 0\r\n\r\n"}}, 0, HTTP_STAGE_BODY, 200, "", 1, "", false},
	{"chunked",
	 {{OP_SAY, CHUNKED_HEAD "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"}},
	 0,
	 HTTP_STAGE_BODY,
	 200,
	 "abcde",
	 1,
	 "",
	 false},
	{"chunked, drip",
	 {{OP_DRIP, CHUNKED_HEAD "3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: 1\r\n\r\n"}},
	 0,
	 HTTP_STAGE_BODY,
	 200,
	 "abcde",
	 1,
	 "",
	 false},
	{"until close",
	 {{OP_SAY, OK "\r\nto the end"}, {OP_CLOSE, ""}},
	 0,
	 HTTP_STAGE_BODY,
	 200,
	 "to the end",
	 0,
	 "",
	 false},
	{"1.0",
	 {{OP_SAY, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"}},
	 0,
	 HTTP_STAGE_BODY,
	 200,
	 "ok",
	 0,
	 "",
	 false},
	{"1.0 kept",
	 {{OP_SAY, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"}},
	 0,
	 HTTP_STAGE_BODY,
	 200,
	 "ok",
	 1,
	 "",
	 false},
	{"close",
	 {{OP_SAY, OK "Connection: close\r\nContent-Length: 2\r\n\r\nok"}},
	 0,
	 HTTP_STAGE_BODY,
	 200,
	 "ok",
	 0,
	 "",
	 false},
	{"204", {{OP_SAY, "HTTP/1.1 204 No Content\r\n\r\n"}}, 0, HTTP_STAGE_BODY, 204, "", 1, "", false},
	{"304",
	 {{OP_SAY, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"}},
	 0,
	 HTTP_STAGE_BODY,
	 304,
	 "",
	 1,
	 "",
	 false},
	{"HEAD", {{OP_SAY, OK "Content-Length: 9\r\n\r\n"}}, 0, HTTP_STAGE_BODY, 200, "", 1, "", true},
	{"1xx",
	 {{OP_SAY, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK
		   "Content-Length: 2\r\n\r\nok"}},
	 0,
	 HTTP_STAGE_BODY,
	 200,
	 "ok",
	 1,
	 "",
	 false},
	{"too many bytes", {{OP_SAY, OK "Content-Length: 2\r\n\r\nokXX"}}, 0, HTTP_STAGE_BODY, 200, "ok", 0, "", false},
	{"garbage",
	 {{OP_SAY, "SSH-2.0-OpenSSH\r\n\r\n"}},
	 E_INVALID,
	 HTTP_STAGE_HEAD,
	 0,
	 "",
	 0,
	 "did not answer in HTTP/1.1",
	 false},
	{"upgrade",
	 {{OP_SAY, "HTTP/1.1 101 Switching Protocols\r\n\r\n"}},
	 E_INVALID,
	 HTTP_STAGE_HEAD,
	 0,
	 "",
	 0,
	 "switch protocols",
	 false},
	{"half a head",
	 {{OP_SAY, OK "Content-Le"}, {OP_CLOSE, ""}},
	 E_CLOSED,
	 HTTP_STAGE_HEAD,
	 0,
	 "",
	 0,
	 "inside the head",
	 false},
	{"half a body",
	 {{OP_SAY, OK "Content-Length: 9\r\n\r\nhalf"}, {OP_CLOSE, ""}},
	 E_CLOSED,
	 HTTP_STAGE_BODY,
	 200,
	 "half",
	 0,
	 "closed the connection in the middle of its answer, after 4 bytes",
	 false},
	{"half a chunk",
	 {{OP_SAY, CHUNKED_HEAD "9\r\nhalf"}, {OP_CLOSE, ""}},
	 E_CLOSED,
	 HTTP_STAGE_BODY,
	 200,
	 "half",
	 0,
	 "after 4 bytes",
	 false},
	{"no last chunk",
	 {{OP_SAY, CHUNKED_HEAD "4\r\nhalf\r\n"}, {OP_CLOSE, ""}},
	 E_CLOSED,
	 HTTP_STAGE_BODY,
	 200,
	 "half",
	 0,
	 "closed",
	 false},
	{"a broken chunk",
	 {{OP_SAY, CHUNKED_HEAD "zz\r\nhalf\r\n"}},
	 E_INVALID,
	 HTTP_STAGE_BODY,
	 200,
	 "",
	 0,
	 "chunk",
	 false},
	{"closed at once",
	 {{OP_CLOSE, ""}},
	 E_CLOSED,
	 HTTP_STAGE_FIRST_BYTE,
	 0,
	 "",
	 0,
	 "closed the connection before an answer",
	 false},
	{"reset at once",
	 {{OP_RESET, ""}},
	 E_CLOSED,
	 HTTP_STAGE_FIRST_BYTE,
	 0,
	 "",
	 0,
	 "reset the connection before an answer",
	 false},
};

TEST(answers_whole_and_broken_are_told_apart)
{
	for (size_t i = 0; i < COUNT_OF(answers); i++) {
		struct step steps[8] = {{OP_ACCEPT, ""}, {OP_REQUEST, ""}};
		size_t n = 2;
		bool closed = false;

		for (size_t k = 0; k < 4 && answers[i].then[k].op; k++) {
			steps[n++] = answers[i].then[k];
			closed = answers[i].then[k].op == OP_CLOSE || answers[i].then[k].op == OP_RESET;
		}
		if (!closed)
			steps[n++] = (struct step){OP_WAIT_END, ""};
		begin(steps);
		call.call.head_request = answers[i].head_request;
		run(&call);
		CHECK_INT(call.rc, answers[i].rc);
		CHECK_INT(call.call.stage, answers[i].stage);
		CHECK_INT(call.status, answers[i].status);
		CHECK_STR(call.body, answers[i].body);
		CHECK(strstr(http_call_why(&call.call), answers[i].error) != NULL);
		CHECK_INT((long long)counter_get(&http_client_stats(side.client)->idle), answers[i].pooled);
		CHECK_INT((long long)counter_get(&http_client_stats(side.client)->open), answers[i].pooled);
		CHECK((call.call.first_byte_ms > 0) == (call.call.stage >= HTTP_STAGE_HEAD));
		end();
		if (t_failed) {
			printf("# in the case '%s': %s\n", answers[i].name, http_call_why(&call.call));
			break;
		}
	}
}

TEST(a_small_answer_comes_as_one_last_piece)
{
	static const struct step steps[] = {
		{OP_ACCEPT, ""},
		{OP_REQUEST, ""},
		{OP_SAY, OK "Content-Length: 5\r\n\r\nhello"},
		{OP_REQUEST, ""},
		{OP_SAY, CHUNKED_HEAD "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"},
		{OP_WAIT_END, ""},
		{OP_END, ""},
	};

	begin(steps);
	for (int i = 0; i < 2; i++) {
		prepare(&side, &call);
		run(&call);
		CHECK_INT(call.n_pieces, 1);
		CHECK(call.last);
		CHECK_INT(call.call.reused, i);
	}
	end();
}

TEST(connections_are_reused_last_in_first_out_and_bounded)
{
	static const struct step steps[] = {
		{OP_ACCEPT, ""},
		{OP_REQUEST, ""},
		{OP_SAY, OK "Content-Length: 1\r\n\r\n1"},
		{OP_REQUEST, ""},
		{OP_SAY, OK "Content-Length: 1\r\n\r\n2"},
		{OP_REQUEST, ""},
		{OP_SAY, OK "Content-Length: 1\r\n\r\n3"},
		{OP_WAIT_END, ""},
		{OP_END, ""},
	};

	begin(steps);
	for (int i = 0; i < 3; i++) {
		prepare(&side, &call);
		run(&call);
		CHECK_INT(call.rc, 0);
		CHECK_INT(call.body[0], '1' + i);
	}
	CHECK_INT((long long)counter_get(&http_client_stats(side.client)->connects), 1);
	CHECK_INT((long long)counter_get(&http_client_stats(side.client)->reused), 2);
	end();
}

static void stop_soon(void *arg)
{
	struct side *s = arg;

	loop_stop(s->loop);
}

TEST(an_idle_connection_that_the_upstream_closes_leaves_the_pool_at_once)
{
	static const struct step steps[] = {
		{OP_ACCEPT, ""},   {OP_REQUEST, ""}, {OP_SAY, OK "Content-Length: 1\r\n\r\n1"},
		{OP_WAIT, ""},	   {OP_CLOSE, ""},   {OP_POST, ""},
		{OP_ACCEPT, ""},   {OP_REQUEST, ""}, {OP_SAY, OK "Content-Length: 1\r\n\r\n2"},
		{OP_WAIT_END, ""}, {OP_END, ""},
	};

	begin(steps);
	run(&call);
	CHECK_INT((long long)counter_get(&http_client_stats(side.client)->idle), 1);
	sem_post(&up.go_on);
	CHECK(ht_wait(&up.told));
	for (int i = 0; i < 2; i++) { /* the first turn may be over before the poll */
		loop_post(side.loop, stop_soon, &side);
		loop_run(side.loop);
	}
	CHECK_INT((long long)counter_get(&http_client_stats(side.client)->idle), 0);
	prepare(&side, &call);
	run(&call);
	CHECK_STR(call.body, "2");
	CHECK(!call.call.reused);
	end();
}

static const struct {
	enum op how;
	enum op with_request;
} stale_cases[] = {{OP_CLOSE, OP_END}, {OP_RESET, OP_END}, {OP_CLOSE, OP_REQUEST}, {OP_RESET, OP_REQUEST}};

TEST(a_stale_pooled_connection_is_replaced_without_a_word)
{
	for (size_t i = 0; i < COUNT_OF(stale_cases); i++) {
		struct step steps[16] = {{OP_ACCEPT, ""}, {OP_REQUEST, ""}, {OP_SAY, OK "Content-Length: 1\r\n\r\n1"}};
		size_t n = 3;

		if (stale_cases[i].with_request)
			steps[n++] = (struct step){OP_REQUEST, ""};
		else
			steps[n++] = (struct step){OP_WAIT, ""};
		steps[n++] = (struct step){stale_cases[i].how, ""};
		steps[n++] = (struct step){OP_POST, ""};
		steps[n++] = (struct step){OP_ACCEPT, ""};
		steps[n++] = (struct step){OP_REQUEST, ""};
		steps[n++] = (struct step){OP_SAY, OK "Content-Length: 1\r\n\r\n2"};
		steps[n++] = (struct step){OP_WAIT_END, ""};
		begin(steps);
		run(&call);
		prepare(&side, &call);
		if (!stale_cases[i].with_request) {
			/* Closed while no turn of the loop could notice. */
			sem_post(&up.go_on);
			CHECK(ht_wait(&up.told));
		}
		run(&call);
		CHECK_INT(call.rc, 0);
		CHECK_STR(call.body, "2");
		CHECK(call.call.reused);
		CHECK_INT(call.n_heads, 1);
		CHECK_INT((long long)counter_get(&http_client_stats(side.client)->replaced), 1);
		CHECK_INT((long long)counter_get(&http_client_stats(side.client)->connects), 2);
		end();
	}
}

TEST(a_request_is_sent_again_once_only_and_not_after_a_byte_of_the_answer)
{
	static const struct step twice[] = {
		{OP_ACCEPT, ""},  {OP_REQUEST, ""}, {OP_SAY, OK "Content-Length: 1\r\n\r\n1"},
		{OP_REQUEST, ""}, {OP_CLOSE, ""},   {OP_ACCEPT, ""},
		{OP_REQUEST, ""}, {OP_CLOSE, ""},   {OP_END, ""},
	};
	static const struct step byte[] = {
		{OP_ACCEPT, ""},  {OP_REQUEST, ""}, {OP_SAY, OK "Content-Length: 1\r\n\r\n1"},
		{OP_REQUEST, ""}, {OP_SAY, "H"},    {OP_CLOSE, ""},
		{OP_END, ""},
	};
	static const struct step *const both[] = {twice, byte};

	for (int i = 0; i < 2; i++) {
		begin(both[i]);
		run(&call);
		prepare(&side, &call);
		run(&call);
		CHECK_INT(call.rc, E_CLOSED);
		CHECK_INT(call.call.stage, i ? HTTP_STAGE_HEAD : HTTP_STAGE_FIRST_BYTE);
		CHECK_INT((long long)counter_get(&http_client_stats(side.client)->replaced), !i);
		end();
	}
}

/* --- timeouts and refusals --- */

static const struct {
	struct step then[4];
	struct http_timeouts timeouts;
	enum http_stage stage;
	const char *error;
} timeout_cases[] = {
	{{{OP_REQUEST, ""}}, {0, 30, 0, 0}, HTTP_STAGE_FIRST_BYTE, " did not send a first byte within 30 ms"},
	{{{OP_REQUEST, ""}, {OP_SAY, "HTTP/1.1 2"}},
	 {0, 0, 30, 0},
	 HTTP_STAGE_HEAD,
	 " was silent for 30 ms inside its answer"},
	{{{OP_REQUEST, ""}, {OP_SAY, OK "Content-Length: 5\r\n\r\nhe"}},
	 {0, 0, 30, 0},
	 HTTP_STAGE_BODY,
	 " was silent for 30 ms inside its answer"},
	{{{OP_REQUEST, ""}, {OP_SAY, OK "Content-Length: 5\r\n\r\nhe"}},
	 {0, 5000, 5000, 500},
	 HTTP_STAGE_BODY,
	 " did not finish within 500 ms"},
	{{{OP_REQUEST, ""}}, {5000, 5000, 5000, 40}, HTTP_STAGE_FIRST_BYTE, " did not finish within 40 ms"},
};

TEST(each_timeout_names_the_stage_and_the_upstream)
{
	for (size_t i = 0; i < COUNT_OF(timeout_cases); i++) {
		struct step steps[8] = {{OP_ACCEPT, ""}};
		size_t n = 1;
		char want[128];

		for (size_t k = 0; k < 4 && timeout_cases[i].then[k].op; k++)
			steps[n++] = timeout_cases[i].then[k];
		steps[n++] = (struct step){OP_WAIT_END, ""};
		begin(steps);
		call.call.timeouts = timeout_cases[i].timeouts;
		run(&call);
		CHECK_INT(call.rc, E_TIMEOUT);
		CHECK_INT(call.call.err->code, E_TIMEOUT);
		CHECK_INT(call.call.stage, timeout_cases[i].stage);
		snprintf(want, sizeof(want), "127.0.0.1:%u%s", up.port, timeout_cases[i].error);
		CHECK_STR(http_call_why(&call.call), want);
		end();
	}
}

TEST(a_connection_that_is_never_accepted_times_out)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fill[8];
	char want[128];

	CHECK(!bind(listener, (struct sockaddr *)&addr, n) && !listen(listener, 0));
	getsockname(listener, (struct sockaddr *)&addr, &n);
	/* A full backlog: the kernel lets further attempts wait. */
	for (size_t i = 0; i < COUNT_OF(fill); i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(fill[i], (struct sockaddr *)&addr, sizeof(addr)); /* most stay in progress */
	}
	side_init(&side, ntohs(addr.sin_port), NULL);
	prepare(&side, &call);
	call.call.timeouts = (struct http_timeouts){.connect_ms = 40};
	run(&call);
	CHECK_INT(call.rc, E_TIMEOUT);
	CHECK_INT(call.call.stage, HTTP_STAGE_CONNECT);
	snprintf(want, sizeof(want), "127.0.0.1:%u did not accept a connection within 40 ms", ntohs(addr.sin_port));
	CHECK_STR(http_call_why(&call.call), want);
	side_release(&side);
	for (size_t i = 0; i < COUNT_OF(fill); i++)
		close(fill[i]);
	close(listener);
}

TEST(a_refused_connection_says_so)
{
	uint16_t port;
	char want[128];

	close(listen_somewhere(&port));
	side_init(&side, port, NULL);
	prepare(&side, &call);
	run(&call);
	CHECK_INT(call.rc, E_UNAVAILABLE);
	CHECK_INT(call.call.stage, HTTP_STAGE_CONNECT);
	snprintf(want, sizeof(want), "cannot connect to 127.0.0.1:%u: Connection refused", port);
	CHECK_STR(http_call_why(&call.call), want);
	CHECK_INT((long long)counter_get(&http_client_stats(side.client)->connect_errors), 1);
	CHECK_INT((long long)counter_get(&http_client_stats(side.client)->open), 0);
	side_release(&side);
}

TEST(names_are_resolved_and_those_that_cannot_be_say_so)
{
	static const struct step steps[] = {
		{OP_ACCEPT, ""},
		{OP_REQUEST, ""},
		{OP_SAY, OK "Connection: close\r\nContent-Length: 1\r\n\r\n1"},
		{OP_WAIT_END, ""},
		{OP_ACCEPT, ""},
		{OP_REQUEST, ""},
		{OP_SAY, OK "Content-Length: 1\r\n\r\n2"},
		{OP_WAIT_END, ""},
		{OP_END, ""},
	};
	struct err err;

	begin(steps);
	CHECK_INT(http_origin_init(&side.origin, SLICE_LIT("LocalHost"), up.port, false, &err), 0);
	for (int i = 0; i < 2; i++) { /* the second from the cache */
		prepare(&side, &call);
		run(&call);
		CHECK_INT(call.rc, 0);
		CHECK_INT(call.body[0], '1' + i);
	}
	CHECK_INT(http_origin_init(&side.origin, SLICE_LIT("no such name.invalid"), up.port, false, &err), 0);
	for (int i = 0; i < 2; i++) {
		prepare(&side, &call);
		run(&call);
		CHECK_INT(call.rc, E_UNAVAILABLE);
		CHECK_INT(call.call.stage, HTTP_STAGE_RESOLVE);
		CHECK(strstr(http_call_why(&call.call), "cannot resolve no such name.invalid: ") != NULL);
	}
	end();
}

TEST(limits_and_missing_tls_are_refused_on_the_next_turn)
{
	static const struct step steps[] = {{OP_ACCEPT, ""}, {OP_REQUEST, ""}, {OP_WAIT_END, ""}, {OP_END, ""}};
	struct http_client_options o;
	static struct call other;
	struct err err;

	http_client_options_init(&o);
	o.max_connections = 1;
	upstream_start(&up, steps);
	side_init(&side, up.port, &o);
	prepare(&side, &call);
	prepare(&side, &other);
	start(&other);
	run(&call);
	CHECK_INT(call.rc, E_BUSY);
	CHECK_STR(http_call_why(&call.call), "all 1 connections to upstreams are in use");
	http_call_cancel(&other.call);
	http_call_cancel(&other.call);
	CHECK_INT(http_origin_init(&side.origin, SLICE_LIT("127.0.0.1"), up.port, true, &err), 0);
	prepare(&side, &call);
	run(&call);
	CHECK_INT(call.rc, E_UNSUPPORTED);
	CHECK_INT(http_origin_init(&side.origin, SLICE_LIT(""), 1, true, &err), E_INVALID);
	CHECK_INT(http_origin_init(&side.origin, SLICE_LIT("h"), 0, true, &err), E_INVALID);
	CHECK_INT(http_origin_init(&side.origin, SLICE_LIT("::1"), 8080, false, &err), 0);
	CHECK_STR(side.origin.key, "http://[::1]:8080");
	side_release(&side);
	/* The cancelled call may have been refused before it connected: let the upstream go. */
	shutdown(up.listener, SHUT_RDWR);
	pthread_join(up.thread, NULL);
	close(up.listener);
}

/* --- early answers, pausing, cancelling --- */

TEST(an_answer_before_the_request_is_all_sent_is_taken_and_the_connection_dropped)
{
	static const struct step steps[] = {
		{OP_ACCEPT, ""}, {OP_SAY, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"},
		{OP_POST, ""},	 {OP_WAIT, ""},
		{OP_CLOSE, ""},	 {OP_END, ""}};
	static char big[32 << 20];

	begin(steps);
	call.request[1] = (struct iovec){big, sizeof(big)};
	run(&call);
	CHECK_INT(call.rc, 0);
	CHECK_INT(call.status, 413);
	CHECK_STR(call.body, "no");
	CHECK_INT((long long)counter_get(&http_client_stats(side.client)->idle), 0);
	sem_post(&up.go_on);
	end();
}

static int pause_it(struct call *c)
{
	http_call_pause(&c->call);
	if (c->n_pieces == 1)
		loop_stop(c->side->loop);
	return 0;
}

TEST(a_paused_call_reads_nothing_more_until_it_is_resumed)
{
	static const struct step steps[] = {
		{OP_ACCEPT, ""},   {OP_REQUEST, ""},  {OP_SAY, OK "Content-Length: 10\r\n\r\nhello"},
		{OP_WAIT, ""},	   {OP_SAY, "world"}, {OP_POST, ""},
		{OP_WAIT_END, ""}, {OP_END, ""},
	};

	begin(steps);
	call.on_piece = pause_it;
	call.call.timeouts.between_ms = 20; /* does not run while paused */
	start(&call);
	loop_run(side.loop);
	CHECK_INT((long long)call.n_body, 5);
	sem_post(&up.go_on);
	CHECK(ht_wait(&up.told));
	for (int i = 0; i < 3; i++) {
		loop_post(side.loop, stop_soon, &side);
		loop_run(side.loop);
	}
	CHECK_INT((long long)call.n_body, 5);
	call.on_piece = NULL;
	http_call_resume(&call.call);
	loop_run(side.loop);
	CHECK_INT(call.rc, 0);
	CHECK_STR(call.body, "helloworld");
	CHECK_INT((long long)counter_get(&http_client_stats(side.client)->idle), 1);
	end();
}

static int pause_and_resume(struct call *c)
{
	http_call_pause(&c->call);
	http_call_resume(&c->call);
	return 0;
}

TEST(pausing_and_resuming_inside_a_callback_changes_nothing)
{
	static const struct step steps[] = {
		{OP_ACCEPT, ""},   {OP_REQUEST, ""}, {OP_DRIP, CHUNKED_HEAD "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"},
		{OP_WAIT_END, ""}, {OP_END, ""},
	};

	begin(steps);
	call.on_piece = pause_and_resume;
	run(&call);
	CHECK_INT(call.rc, 0);
	CHECK_STR(call.body, "abcde");
	end();
}

static int cancel_it(struct call *c)
{
	loop_stop(c->side->loop);
	http_call_cancel(&c->call);
	return 0;
}

static int refuse_it(struct call *c)
{
	loop_stop(c->side->loop);
	return E_INVALID;
}

TEST(a_call_may_be_cancelled_from_its_callback_and_its_connection_lives_if_the_answer_was_whole)
{
	static const struct {
		int (*how)(struct call *c);
		const char *answer;
		int idle;
	} cases[] = {
		{cancel_it, OK "Content-Length: 2\r\n\r\nok", 1},
		{refuse_it, OK "Content-Length: 2\r\n\r\nok", 1},
		{cancel_it, OK "Content-Length: 3\r\n\r\nok", 0},
		{refuse_it, CHUNKED_HEAD "2\r\nok\r\n", 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct step steps[] = {
			{OP_ACCEPT, ""}, {OP_REQUEST, ""}, {OP_SAY, cases[i].answer}, {OP_WAIT_END, ""}, {OP_END, ""}};

		begin(steps);
		call.on_piece = cases[i].how;
		start(&call);
		loop_run(side.loop);
		CHECK_INT(call.n_done, 0);
		CHECK_INT((long long)counter_get(&http_client_stats(side.client)->idle), cases[i].idle);
		end();
	}
}

TEST(a_call_may_be_cancelled_at_any_stage)
{
	static const struct step steps[] = {
		{OP_ACCEPT, ""}, {OP_REQUEST, ""}, {OP_POST, ""}, {OP_WAIT_END, ""}, {OP_END, ""}};
	struct err err;

	begin(steps);
	CHECK_INT(http_origin_init(&side.origin, SLICE_LIT("localhost"), 1, false, &err), 0);
	start(&call);
	http_call_cancel(&call.call); /* while its name is looked up */
	CHECK_INT(http_origin_init(&side.origin, SLICE_LIT("127.0.0.1"), up.port, false, &err), 0);
	prepare(&side, &call);
	start(&call);
	while (sem_trywait(&up.told)) {
		loop_post(side.loop, stop_soon, &side);
		loop_run(side.loop);
	}
	http_call_cancel(&call.call); /* while it waits for the first byte */
	CHECK_INT(call.n_done, 0);
	end();
}

#define MANY 20

static struct call *many; /* of one turn */
static bool cancel_some;

static void start_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < MANY; i++) {
		prepare(&side, &many[i]);
		start(&many[i]);
	}
	for (int i = 0; cancel_some && i < MANY; i += 3) /* some have left, some wait for the end of the turn */
		http_call_cancel(&many[i].call);
}

TEST(requests_that_start_in_one_turn_leave_together_and_those_cancelled_do_not)
{
	struct http_server_options o = ht_options();
	struct ht_server h;

	many = calloc(MANY, sizeof(*many));
	ht_start(&h, &o);
	side_init(&side, h.port, NULL);
	for (int round = 0; round < 3; round++) { /* fresh connections, then those of the pool */
		int left = MANY;

		cancel_some = round == 2;
		loop_post(side.loop, start_many, NULL);
		while (left) {
			loop_run(side.loop); /* each answer stops it */
			left = 0;
			for (int i = 0; i < MANY; i++)
				left += !many[i].n_done && !(cancel_some && i % 3 == 0);
		}
		for (int i = 0; i < MANY; i++) {
			bool cancelled = cancel_some && i % 3 == 0;

			CHECK_INT(many[i].n_done, !cancelled);
			CHECK_INT(many[i].status, cancelled ? 0 : 404);
			CHECK_INT(many[i].rc, 0);
		}
	}
	CHECK_INT((long long)counter_get(&http_client_stats(side.client)->connects), MANY);
	side_release(&side);
	ht_stop(&h);
	free(many);
}

TEST(a_long_answer_comes_whole)
{
	struct http_server_options o = ht_options();
	static char body[900000];
	struct ht_server h;
	char head[128];

	ht_start(&h, &o);
	side_init(&side, h.port, NULL);
	prepare(&side, &call);
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)('a' + i % 23);
	snprintf(head, sizeof(head), "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", sizeof(body));
	call.request[0] = (struct iovec){head, strlen(head)};
	call.request[1] = (struct iovec){body, sizeof(body)};
	run(&call);
	CHECK_INT(call.rc, 0);
	CHECK_INT((long long)call.n_body, (long long)sizeof(body));
	CHECK(!memcmp(call.body, body, sizeof(body)));
	side_release(&side);
	ht_stop(&h);
}
