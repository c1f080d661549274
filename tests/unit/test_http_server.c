/* SPDX-License-Identifier: Apache-2.0 */
/* The server, spoken to by plain blocking sockets. */
#include <fcntl.h>
#include <sys/resource.h>

#include "tests/unit/http_test.h"

static struct ht_answer a;

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST(path, length, body) "POST " path " HTTP/1.1\r\nHost: h\r\nContent-Length: " length "\r\n\r\n" body

static void check_answer(int fd, int status, const char *body)
{
	CHECK(ht_read(fd, &a, true));
	CHECK_INT(a.status, status);
	if (body)
		CHECK_STR(a.body, body);
}

static void check_closed(int fd)
{
	CHECK(ht_ended(fd));
	close(fd);
}

TEST(one_connection_serves_many_requests)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	int fd;

	ht_start(&h, &o);
	fd = ht_connect(h.port);
	for (int i = 0; i < 50; i++) {
		CHECK(ht_says(fd, i % 2 ? POST("/later", "5", "hello") : POST("/echo", "5", "hello")));
		check_answer(fd, 200, "hello");
		CHECK(!strstr(a.head, "Connection:") && strstr(a.head, "\r\nDate: ") && strstr(a.head, " GMT\r\n"));
	}
	CHECK_INT((long long)counter_get(&http_server_stats(h.server)->accepted), 1);
	CHECK_INT((long long)counter_get(&http_server_stats(h.server)->requests), 50);
	close(fd);
	ht_stop(&h);
	CHECK_INT(h.n_freed, 50);
	CHECK_INT(h.n_aborted, 0);
}

TEST(pipelined_requests_are_answered_in_their_order)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	char body[16];
	int fd;

	ht_start(&h, &o);
	fd = ht_connect(h.port);
	for (int i = 0; i < 8; i++) {
		snprintf(body, sizeof(body), "%d", i);
		CHECK(ht_says(fd, POST("/later", "1", "")) && ht_says(fd, body));
		CHECK(ht_says(fd, POST("/echo", "1", "")) && ht_says(fd, body));
	}
	for (int i = 0; i < 16; i++) {
		snprintf(body, sizeof(body), "%d", i / 2);
		check_answer(fd, 200, body);
	}
	close(fd);
	ht_stop(&h);
}

TEST(more_pipelined_requests_than_fit_the_buffer_wait_in_the_kernel)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	static char many[64 * 1024];
	size_t n = 0, count = 0;
	int fd;

	ht_start(&h, &o);
	fd = ht_connect(h.port);
	CHECK(ht_says(fd, GET("/hold")));
	CHECK(ht_wait(&h.on_held));
	while (n + 128 < sizeof(many)) {
		n += (size_t)snprintf(many + n, sizeof(many) - n, "%s", POST("/echo", "4", "many"));
		count++;
	}
	CHECK(ht_send(fd, many, n));
	loop_post(h.loop, ht_answer_held, &h);
	check_answer(fd, 200, "held");
	for (size_t i = 0; i < count; i++)
		check_answer(fd, 200, "many");
	close(fd);
	ht_stop(&h);
}

static const struct {
	const char *request;
	const char *body;
} split_cases[] = {
	{POST("/echo", "11", "hello world"), "hello world"},
	{"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: "
	 "1\r\n\r\n",
	 "hello world"},
	{GET("/echo"), ""},
};

TEST(a_request_may_be_split_at_every_byte)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	uint64_t sent = 0;
	int fd;

	ht_start(&h, &o);
	fd = ht_connect(h.port);
	for (size_t i = 0; i < COUNT_OF(split_cases); i++) {
		const char *r = split_cases[i].request;
		size_t n = strlen(r);

		for (size_t at = 1; at < n; at++) {
			CHECK(ht_send(fd, r, at));
			CHECK(ht_wait_counter(&http_server_stats(h.server)->received_bytes, sent + at));
			CHECK(ht_send(fd, r + at, n - at));
			sent += n;
			check_answer(fd, 200, split_cases[i].body);
		}
	}
	close(fd);
	ht_stop(&h);
}

#define CHUNKED(path) "POST " path " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

/* Sends a body of n bytes, all at once or in chunks of `piece`. */
static void send_body(int fd, size_t n, size_t piece)
{
	char *body = malloc(n + 1);
	char line[128];

	for (size_t i = 0; i < n; i++)
		body[i] = (char)('a' + i % 26);
	if (!piece) {
		snprintf(line, sizeof(line), "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", n);
		ht_says(fd, line);
		ht_send(fd, body, n);
	} else {
		ht_says(fd, CHUNKED("/echo"));
		for (size_t at = 0; at < n; at += piece) {
			size_t part = n - at < piece ? n - at : piece;

			snprintf(line, sizeof(line), "%zx\r\n", part);
			if (!ht_says(fd, line) || !ht_send(fd, body + at, part) || !ht_says(fd, "\r\n"))
				break;
		}
		ht_says(fd, "0\r\n\r\n");
	}
	free(body);
}

static const struct {
	size_t n, piece;
	int status;
} body_cases[] = {
	{100000, 0, 200},     {100001, 0, 413}, {100000, 7, 200},     {100001, 7, 413}, {100000, 50000, 200},
	{100001, 50000, 413}, {16000, 0, 200},	{16384, 0, 200},      {16385, 0, 200},	{20000, 3000, 200},
	{1, 1, 200},	      {0, 0, 200},	{100000, 99999, 200}, {200000, 0, 413}, {400000, 65536, 413},
};

TEST(bodies_are_taken_up_to_the_limit_and_refused_one_past_it)
{
	struct http_server_options o = ht_options();
	struct ht_server h;

	o.max_body_bytes = 100000;
	ht_start(&h, &o);
	for (size_t i = 0; i < COUNT_OF(body_cases); i++) {
		int fd = ht_connect(h.port);

		send_body(fd, body_cases[i].n, body_cases[i].piece);
		check_answer(fd, body_cases[i].status, NULL);
		if (body_cases[i].status == 200) {
			CHECK_INT((long long)a.n_body, (long long)body_cases[i].n);
			for (size_t k = 0; k < a.n_body; k++)
				if (a.body[k] != (char)('a' + k % 26)) {
					CHECK(!"the body is the same");
					break;
				}
			CHECK(ht_says(fd, POST("/echo", "2", "ok")));
			check_answer(fd, 200, "ok");
			close(fd);
		} else {
			CHECK(strstr(a.head, "Connection: close") != NULL);
			check_closed(fd);
		}
	}
	ht_stop(&h);
}

TEST(a_client_that_goes_on_sending_a_refused_body_still_sees_the_answer)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	static char more[200 * 1024];
	int fd;

	o.max_body_bytes = 1000;
	ht_start(&h, &o);
	fd = ht_connect(h.port);
	CHECK(ht_says(fd, POST("/echo", "200000", "")));
	CHECK(ht_wait_counter(&http_server_stats(h.server)->refused, 1));
	CHECK(ht_send(fd, more, 200000));
	check_answer(fd, 413, "the body is larger than the server takes");
	check_closed(fd);
	ht_stop(&h);
}

static size_t head_of(char *buf, size_t size, size_t filler)
{
	size_t n =
		(size_t)snprintf(buf, size, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX-Long: ");

	memset(buf + n, 'x', filler);
	n += filler;
	return n + (size_t)snprintf(buf + n, size - n, "\r\n\r\n6\r\nlonger\r\n0\r\n\r\n");
}

TEST(long_heads_are_taken_up_to_the_limit)
{
	static const struct {
		size_t filler;
		int status;
	} cases[] = {{16000, 200}, {16384, 200}, {30000, 200}, {33000, 431}, {100000, 431}};
	struct http_server_options o = ht_options();
	struct ht_server h;
	static char request[120000];

	ht_start(&h, &o);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int fd = ht_connect(h.port);

		ht_send(fd, request, head_of(request, sizeof(request), cases[i].filler));
		check_answer(fd, cases[i].status, cases[i].status == 200 ? "longer" : NULL);
		close(fd);
	}
	ht_stop(&h);
}

static const struct {
	const char *request;
	int status;
} refused_cases[] = {
	{"GARBAGE\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
	{"GET / HTTP/1.1\nHost: a\n\n", 400},
	{"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
	{"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
	{CHUNKED("/echo") "zz\r\n", 400},
	{CHUNKED("/echo") "3\r\nabcd\r\n", 400},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
};

TEST(what_is_not_a_request_is_refused_and_the_connection_closed)
{
	struct http_server_options o = ht_options();
	struct ht_server h;

	ht_start(&h, &o);
	for (size_t i = 0; i < COUNT_OF(refused_cases); i++) {
		int fd = ht_connect(h.port);

		CHECK(ht_says(fd, refused_cases[i].request));
		check_answer(fd, refused_cases[i].status, NULL);
		CHECK(a.n_body > 0);
		check_closed(fd);
	}
	CHECK_INT((long long)counter_get(&http_server_stats(h.server)->refused), (long long)COUNT_OF(refused_cases));
	ht_stop(&h);
	CHECK_INT(h.n_freed, 0);
}

TEST(a_client_that_waits_for_100_is_told_to_go_on_unless_the_body_is_too_large)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	int fd;

	o.max_body_bytes = 100;
	ht_start(&h, &o);
	fd = ht_connect(h.port);
	CHECK(ht_says(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
	check_answer(fd, 100, NULL);
	CHECK(ht_says(fd, "body"));
	check_answer(fd, 200, "body");
	CHECK(ht_says(fd,
		      "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"));
	check_answer(fd, 100, NULL);
	CHECK(ht_says(fd, "4\r\nbody\r\n0\r\n\r\n"));
	check_answer(fd, 200, "body");
	CHECK(ht_says(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n"));
	check_answer(fd, 413, NULL);
	check_closed(fd);
	ht_stop(&h);
}

TEST(slow_senders_hear_408_and_idle_connections_are_closed_silently)
{
	static const struct {
		const char *sent;
		int status; /* 0: closed without a word */
	} cases[] = {{"GET / HT", 408}, {POST("/echo", "10", "abc"), 408}, {CHUNKED("/echo") "5\r\nab", 408}, {"", 0}};
	struct http_server_options o = ht_options();
	struct ht_server h;

	o.header_timeout_ms = 40;
	o.body_timeout_ms = 40;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int fd;

		o.idle_timeout_ms = cases[i].status ? HT_WAIT_MS : 40;
		ht_start(&h, &o);
		fd = ht_connect(h.port);
		CHECK(ht_says(fd, cases[i].sent));
		if (cases[i].status)
			check_answer(fd, cases[i].status, NULL);
		check_closed(fd);
		ht_stop(&h);
	}
}

TEST(a_client_that_leaves_during_its_exchange_is_told_of_once)
{
	static const char *const how[] = {"close", "reset", "half"};
	struct http_server_options o = ht_options();
	struct ht_server h;

	ht_start(&h, &o);
	for (int i = 0; i < 3; i++) {
		struct linger hard = {1, 0};
		int fd = ht_connect(h.port);

		CHECK(ht_says(fd, GET("/hold")));
		CHECK(ht_wait(&h.on_held));
		if (!strcmp(how[i], "reset"))
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		if (!strcmp(how[i], "half"))
			shutdown(fd, SHUT_WR);
		else
			close(fd);
		CHECK(ht_wait(&h.on_aborted));
		CHECK(ht_wait(&h.on_freed));
		CHECK_INT(h.n_aborted, i + 1);
		if (!strcmp(how[i], "half"))
			check_closed(fd);
	}
	ht_stop(&h);
	CHECK_INT(h.n_aborted, 3);
	CHECK_INT(h.n_freed, 3);
}

TEST(a_client_that_has_shut_down_its_side_is_answered_when_the_answer_is_there_at_once)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	int fd;

	ht_start(&h, &o);
	fd = ht_connect(h.port);
	CHECK(ht_says(fd, POST("/echo", "2", "ok")));
	shutdown(fd, SHUT_WR);
	check_answer(fd, 200, "ok");
	check_closed(fd);
	ht_stop(&h);
}

TEST(a_slow_reader_holds_the_writer_at_the_mark_and_gets_everything)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	static char buf[65536];
	size_t total = 24u << 20, got = 0;
	ssize_t r;
	int fd;

	o.max_send_bytes = HTTP_SEND_MARK + 65536 + 64;
	ht_start(&h, &o);
	h.flood_left = total;
	fd = ht_connect(h.port);
	CHECK(ht_says(fd, "GET /flood HTTP/1.0\r\n\r\n"));
	CHECK(ht_wait(&h.on_marked));
	while ((r = recv(fd, buf, sizeof(buf), 0)) > 0)
		got += (size_t)r;
	CHECK(got > total && got < total + 1000);
	CHECK(h.n_drains > 0);
	close(fd);
	CHECK_INT((long long)counter_get(&http_server_stats(h.server)->send_queue_full), 0);
	ht_stop(&h);
	CHECK_INT(h.n_aborted, 0);
}

TEST(a_writer_past_the_bound_cuts_the_client)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	int fd;

	o.max_send_bytes = 65536 * 2;
	ht_start(&h, &o);
	fd = ht_connect(h.port);
	CHECK(ht_says(fd, GET("/firehose")));
	CHECK(ht_wait(&h.on_aborted));
	CHECK_INT((long long)counter_get(&http_server_stats(h.server)->send_queue_full), 1);
	CHECK(!ht_read(fd, &a, true));
	close(fd);
	ht_stop(&h);
	CHECK_INT(h.n_aborted, 1);
	CHECK_INT(h.n_freed, 1);
}

TEST(a_reader_that_takes_nothing_is_given_up)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	int fd;

	o.send_timeout_ms = 40;
	ht_start(&h, &o);
	h.flood_left = 64u << 20;
	fd = ht_connect(h.port);
	CHECK(ht_says(fd, GET("/flood")));
	CHECK(ht_wait(&h.on_aborted));
	CHECK(ht_wait(&h.on_freed));
	close(fd);
	ht_stop(&h);
}

TEST(streams_end_and_are_cut_visibly)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	int fd;

	ht_start(&h, &o);
	fd = ht_connect(h.port);
	CHECK(ht_says(fd, GET("/stream")));
	check_answer(fd, 200, "one,two,end");
	CHECK(strstr(a.head, "Transfer-Encoding: chunked") != NULL);
	CHECK(ht_says(fd, GET("/pieces")));
	check_answer(fd, 200, NULL);
	CHECK_INT((long long)a.n_body, 400);
	CHECK(ht_says(fd, "HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n"));
	CHECK(ht_read(fd, &a, false));
	CHECK(ht_says(fd, GET("/cut")));
	CHECK(!ht_read(fd, &a, true));
	CHECK(ht_ended(fd));
	close(fd);

	fd = ht_connect(h.port);
	CHECK(ht_says(fd, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
	check_answer(fd, 200, "one,two,end");
	CHECK(strstr(a.head, "Connection: close") && !strstr(a.head, "chunked"));
	check_closed(fd);

	fd = ht_connect(h.port);
	CHECK(ht_says(fd, "GET /cut HTTP/1.0\r\n\r\n"));
	ht_read(fd, &a, true);
	CHECK(recv(fd, a.body, 1, 0) <= 0);
	close(fd);
	ht_stop(&h);
	CHECK_INT(h.n_aborted, 0);
}

TEST(head_requests_get_the_head_of_the_answer_only)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	int fd;

	ht_start(&h, &o);
	fd = ht_connect(h.port);
	CHECK(ht_says(fd, "HEAD /missing HTTP/1.1\r\nHost: h\r\n\r\n"));
	CHECK(ht_read(fd, &a, false));
	CHECK_INT(a.status, 404);
	CHECK(strstr(a.head, "Content-Length: 12\r\n") != NULL);
	CHECK(ht_says(fd, POST("/echo", "2", "ok")));
	check_answer(fd, 200, "ok");
	close(fd);
	ht_stop(&h);
}

TEST(headers_that_could_smuggle_another_answer_are_left_out)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	int fd;

	ht_start(&h, &o);
	fd = ht_connect(h.port);
	CHECK(ht_says(fd, GET("/smuggle")));
	check_answer(fd, 200, "ok");
	CHECK(!strstr(a.head, "x-evil") && !strstr(a.head, "x-a") && !strstr(a.head, "x b") && !strstr(a.head, "999"));
	CHECK(strstr(a.head, "x-good: tab\tfine\r\n") != NULL);
	close(fd);
	ht_stop(&h);
}

static size_t count_lines(const char *head, const char *with)
{
	size_t n = 0;

	for (const char *at = head; (at = strstr(at, with)); at++)
		n++;
	return n;
}

TEST(each_byte_is_looked_at_wherever_it_stands_in_a_header)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	char request[80];
	int fd;

	ht_start(&h, &o);
	fd = ht_connect(h.port);
	for (unsigned byte = 1; byte < 256; byte++) {
		bool in_value = (byte >= 0x20 && byte != 0x7f) || byte == '\t';
		bool in_name = strchr("!#$%&'*+-.^_`|~", (int)byte) || (byte >= '0' && byte <= '9') ||
			       ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');

		snprintf(request, sizeof(request), "GET /byte?%u HTTP/1.1\r\nHost: h\r\n\r\n", byte);
		CHECK(ht_says(fd, request));
		CHECK(ht_read(fd, &a, true));
		CHECK_INT((long long)count_lines(a.head, "\r\nx-"), in_value ? HT_BYTE_PLACES : 0);
		CHECK_INT((long long)count_lines(a.head, ": one\r\n"), in_name ? HT_BYTE_PLACES : 0);
	}
	close(fd);
	ht_stop(&h);
}

/* A connection reads into a larger buffer after a body that needed one; what comes next may be of any size. */
TEST(bodies_of_any_sizes_follow_each_other_on_one_connection)
{
	static const size_t sizes[] = {20000, 20000, 3,	    40000, 65400, 65536, 65537, 90000, 20000, 5,
				       5,     16300, 16384, 33000, 33000, 0,	 64000, 1,     1};
	struct http_server_options o = ht_options();
	struct ht_server h;
	int fd;

	ht_start(&h, &o);
	fd = ht_connect(h.port);
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		size_t k = 0;

		send_body(fd, sizes[i], i % 3 == 2 ? 5000 : 0);
		check_answer(fd, 200, NULL);
		CHECK_INT((long long)a.n_body, (long long)sizes[i]);
		while (k < a.n_body && a.body[k] == (char)('a' + k % 26))
			k++;
		CHECK_INT((long long)k, (long long)sizes[i]);
	}
	/* the next two are there before the first has been read */
	send_body(fd, 30000, 0);
	send_body(fd, 30000, 0);
	CHECK(ht_says(fd, POST("/later", "2", "ok")));
	for (int i = 0; i < 2; i++) {
		check_answer(fd, 200, NULL);
		CHECK_INT((long long)a.n_body, 30000);
	}
	check_answer(fd, 200, "ok");
	close(fd);
	ht_stop(&h);
}

static const struct {
	const char *request;
	const char *connection; /* what the answer says; NULL: nothing */
	bool closes;
} keep_cases[] = {
	{"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n", NULL, false},
	{"GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "Connection: close", true},
	{"GET /echo HTTP/1.0\r\n\r\n", "Connection: close", true},
	{"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Connection: keep-alive", false},
	{"\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n", NULL, false},
};

TEST(connections_are_kept_or_closed_as_version_and_header_say)
{
	struct http_server_options o = ht_options();
	struct ht_server h;

	ht_start(&h, &o);
	for (size_t i = 0; i < COUNT_OF(keep_cases); i++) {
		int fd = ht_connect(h.port);

		CHECK(ht_says(fd, keep_cases[i].request));
		check_answer(fd, 200, "");
		if (keep_cases[i].connection)
			CHECK(strstr(a.head, keep_cases[i].connection) != NULL);
		else
			CHECK(!strstr(a.head, "Connection:"));
		if (keep_cases[i].closes) {
			CHECK(ht_ended(fd));
		} else {
			CHECK(ht_says(fd, POST("/echo", "2", "ok")));
			check_answer(fd, 200, "ok");
		}
		close(fd);
	}
	ht_stop(&h);
}

TEST(one_connection_past_the_maximum_hears_503)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	int fd[2], over;

	o.max_connections = 2;
	ht_start(&h, &o);
	for (int i = 0; i < 2; i++) {
		fd[i] = ht_connect(h.port);
		CHECK(ht_says(fd[i], POST("/echo", "2", "ok")));
		check_answer(fd[i], 200, "ok");
	}
	over = ht_connect(h.port);
	check_answer(over, 503, NULL);
	CHECK(ht_ended(over));
	close(over);
	CHECK(ht_says(fd[0], POST("/echo", "2", "ok")));
	check_answer(fd[0], 200, "ok");
	close(fd[0]);
	close(fd[1]);
	ht_stop(&h);
}

TEST(draining_closes_idle_connections_and_lets_exchanges_finish)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	int idle, busy;

	ht_start(&h, &o);
	idle = ht_connect(h.port);
	CHECK(ht_says(idle, POST("/echo", "2", "ok")));
	check_answer(idle, 200, "ok");
	busy = ht_connect(h.port);
	CHECK(ht_says(busy, GET("/hold")));
	CHECK(ht_wait(&h.on_held));
	loop_post(h.loop, ht_drain_long, &h);
	check_closed(idle);
	CHECK(sem_trywait(&h.on_drained) < 0);
	loop_post(h.loop, ht_answer_held, &h);
	check_answer(busy, 200, "held");
	CHECK(strstr(a.head, "Connection: close") != NULL);
	CHECK(ht_wait(&h.on_drained));
	check_closed(busy);
	ht_end(&h);
	CHECK_INT(h.n_aborted, 0);
}

TEST(what_is_left_at_the_drain_limit_is_cut_off)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	int busy;

	ht_start(&h, &o);
	busy = ht_connect(h.port);
	CHECK(ht_says(busy, GET("/hold")));
	CHECK(ht_wait(&h.on_held));
	ht_stop(&h); /* limit 0 */
	CHECK(ht_ended(busy));
	close(busy);
	CHECK_INT(h.n_aborted, 1);
	CHECK_INT(h.n_freed, 1);
}

TEST(a_port_in_use_is_said_so_and_loops_may_share_one)
{
	struct http_server_options o = ht_options();
	struct http_handler handler = {ht_on_request, ht_on_refused, NULL};
	struct http_listen where = {.host = SLICE_LIT("127.0.0.1"), .share = true, .share_check = true};
	struct http_server *first, *second;
	struct loop *l;
	struct ht_server other;
	struct err err = {0};
	uint16_t port, same;
	char want[128];

	ht_start(&other, &o);
	CHECK_INT(loop_new("l", &l, &err), 0);
	CHECK_INT(http_server_new(l, &o, &handler, &first, &err), 0);
	CHECK_INT(http_server_new(l, &o, &handler, &second, &err), 0);
	CHECK_INT(http_server_listen(first, &where, &port, &err), 0);
	where.port = port;
	where.share_check = false;
	CHECK_INT(http_server_listen(second, &where, &same, &err), 0);
	CHECK_INT(same, port);
	where.port = other.port;
	where.share_check = true;
	CHECK_INT(http_server_listen(first, &where, &port, &err), E_BUSY);
	snprintf(want, sizeof(want),
		 "127.0.0.1:%u is in use: stop the other program, or choose another address with --listen", other.port);
	CHECK_STR(err.text, want);
	where.share = where.share_check = false;
	CHECK_INT(http_server_listen(first, &where, &port, &err), E_BUSY);
	where.host = SLICE_LIT("localhost");
	where.port = 0;
	CHECK_INT(http_server_listen(first, &where, &port, &err), 0);
	close(ht_connect(port));
	where.host = SLICE_LIT("");
	CHECK_INT(http_server_listen(first, &where, &port, &err), 0);
	close(ht_connect(port));
	where.host = SLICE_LIT("not an address");
	CHECK_INT(http_server_listen(first, &where, &port, &err), E_INVALID);
	http_server_free(first);
	http_server_free(second);
	loop_free(l);
	ht_stop(&other);
}

TEST(without_file_descriptors_accepting_pauses_and_goes_on)
{
	struct http_server_options o = ht_options();
	struct rlimit before, few;
	struct ht_server h;
	int fd, top;

	ht_start(&h, &o);
	fd = ht_connect(h.port);
	CHECK(ht_says(fd, POST("/echo", "2", "ok")));
	check_answer(fd, 200, "ok");
	close(fd);
	while (counter_get(&http_server_stats(h.server)->open))
		sched_yield();
	getrlimit(RLIMIT_NOFILE, &before);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ht_limit_waiting(fd);
	top = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* the lowest free number */
	close(top);
	few = before;
	few.rlim_cur = (rlim_t)top;
	setrlimit(RLIMIT_NOFILE, &few);
	{
		struct sockaddr_in to = {
			.sin_family = AF_INET, .sin_port = htons(h.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

		CHECK_INT(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	}
	CHECK(ht_says(fd, POST("/echo", "4", "late")));
	setrlimit(RLIMIT_NOFILE, &before);
	check_answer(fd, 200, "late");
	close(fd);
	ht_stop(&h);
}
