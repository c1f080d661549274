/* SPDX-License-Identifier: Apache-2.0 */
/* The head parser: what it takes, what it refuses and why, its limits, and heads that arrive in pieces. */
#include "core/http/head.h"

#include "t.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define OK "HTTP/1.1 200 OK\r\n"

struct refusal {
	const char *in;
	int rc, status;
	const char *says;
};

static const struct refusal bad_requests[] = {
	{"GET / HTTP/1.1\nHost: a\n\n", E_INVALID, 400, "bare line feed"},
	{GET "A: b\n\r\n", E_INVALID, 400, "bare line feed"},
	{GET "\n", E_INVALID, 400, "bare line feed"},
	{GET "A: b\rc\r\n\r\n", E_INVALID, 400, "carriage return"},
	{GET "\rX", E_INVALID, 400, "carriage return"},
	{GET " folded: b\r\n\r\n", E_INVALID, 400, "folding"},
	{GET "A: b\r\n\tc\r\n\r\n", E_INVALID, 400, "folding"},
	{GET "A : b\r\n\r\n", E_INVALID, 400, "before its colon"},
	{GET "A\t: b\r\n\r\n", E_INVALID, 400, "before its colon"},
	{GET ": b\r\n\r\n", E_INVALID, 400, "no name"},
	{GET "A\r\n\r\n", E_INVALID, 400, "no colon"},
	{GET "A(: b\r\n\r\n", E_INVALID, 400, "0x28"},
	{GET "\x80: b\r\n\r\n", E_INVALID, 400, "0x80"},
	{GET "A: b\x01"
	     "c\r\n\r\n",
	 E_INVALID, 400, "0x01"},
	{GET "A: b\x7f\r\n\r\n", E_INVALID, 400, "0x7f"},
	{GET "A: a value that is longer than sixteen\x02 bytes\r\n\r\n", E_INVALID, 400, "0x02"},
	{GET "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", E_INVALID, 400, "both"},
	{GET "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", E_INVALID, 400, "both"},
	{GET "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", E_INVALID, 400, "more than one"},
	{GET "Content-Length: 1\r\ncontent-LENGTH: 2\r\n\r\n", E_INVALID, 400, "more than one"},
	{GET "Content-Length: 1, 1\r\n\r\n", E_INVALID, 400, "decimal"},
	{GET "Content-Length: -1\r\n\r\n", E_INVALID, 400, "decimal"},
	{GET "Content-Length: +1\r\n\r\n", E_INVALID, 400, "decimal"},
	{GET "Content-Length: 0x1\r\n\r\n", E_INVALID, 400, "decimal"},
	{GET "Content-Length: 1 2\r\n\r\n", E_INVALID, 400, "decimal"},
	{GET "Content-Length:\r\n\r\n", E_INVALID, 400, "digits"},
	{GET "Content-Length: 1000000000000000000\r\n\r\n", E_INVALID, 400, "digits"},
	{GET "Content-Length: 1\t\r\n\r\n", E_INVALID, 400, "tab"},
	{GET "Content-Length: 1 \t \r\n\r\n", E_INVALID, 400, "tab"},
	{GET "Transfer-Encoding: chunked\t\r\n\r\n", E_INVALID, 400, "tab"},
	{GET "Transfer-Encoding: gzip\r\n\r\n", E_UNSUPPORTED, 501, "coding"},
	{GET "Transfer-Encoding: gzip, chunked\r\n\r\n", E_UNSUPPORTED, 501, "coding"},
	{GET "Transfer-Encoding: chunked, chunked\r\n\r\n", E_UNSUPPORTED, 501, "coding"},
	{GET "Transfer-Encoding: identity\r\n\r\n", E_UNSUPPORTED, 501, "coding"},
	{GET "Transfer-Encoding: xchunked\r\n\r\n", E_UNSUPPORTED, 501, "coding"},
	{GET "Transfer-Encoding:\r\n\r\n", E_INVALID, 400, "empty"},
	{GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", E_INVALID, 400, "more than one"},
	{"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", E_INVALID, 400, "HTTP/1.0"},
	{"GET / HTTP/1.1\r\n\r\n", E_INVALID, 400, "Host"},
	{GET "host: b\r\n\r\n", E_INVALID, 400, "more than one Host"},
	{"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", E_INVALID, 400, "more than one Host"},
	{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", E_INVALID, 400, "host name"},
	{"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", E_INVALID, 400, "host name"},
	{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", E_INVALID, 400, "host name"},
	{"GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "begins with '/'"},
	{"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "begins with '/'"},
	{"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "names no host"},
	{"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "names no host"},
	{"GET http://?a HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "names no host"},
	{"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "names no host"},
	{"CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "begins with '/'"},
	{"GET http://a/ HTTP/1.1\r\n\r\n", E_INVALID, 400, "needs a Host"},
	{"GET * HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "begins with '/'"},
	{"OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "begins with '/'"},
	{"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "begins with '/'"},
	{"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "begins with '/'"},
	{"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "0x23"},
	{"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "0x01"},
	{"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "0x7f"},
	{"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "0xc3"},
	{"GET /?\t HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "0x09"},
	{"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "version"},
	{"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "version"},
	{"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", E_INVALID, 400, "0x20"},
	{"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "method"},
	{" GET / HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "method"},
	{"GET /\r\n\r\n", E_INVALID, 400, "version"},
	{"GET\r\n\r\n", E_INVALID, 400, "method"},
	{"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "method"},
	{"\x16\x03\x01\x02", E_INVALID, 400, "method"},
	{"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "method"},
	{"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "blank lines"},
	{"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "carriage return"},
	{"GET / http/1.1\r\nHost: a\r\n\r\n", E_INVALID, 400, "version"},
	{"GET / HTTP/11\r\nHost: a\r\n\r\n", E_INVALID, 400, "version"},
	{"GET / HTTP/1.2\r\nHost: a\r\n\r\n", E_UNSUPPORTED, 505, "HTTP/1.2"},
	{"GET / HTTP/2.0\r\nHost: a\r\n\r\n", E_UNSUPPORTED, 505, "HTTP/2.0"},
	{GET "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n", E_INVALID, 400,
	 "more than one Content-Encoding"},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", E_UNSUPPORTED, 505, "HTTP/2.0"},
};

static const struct refusal bad_responses[] = {
	{"HTTP/1.1 200 OK\nA: b\n\n", E_INVALID, 400, "bare line feed"},
	{"HTTP/1.1200 OK\r\n\r\n", E_INVALID, 400, "space"},
	{"HTTP/1.1  200 OK\r\n\r\n", E_INVALID, 400, "three digits"},
	{"HTTP/1.1 20 OK\r\n\r\n", E_INVALID, 400, "three digits"},
	{"HTTP/1.1 2000 OK\r\n\r\n", E_INVALID, 400, "0x30"},
	{"HTTP/1.1 099 OK\r\n\r\n", E_INVALID, 400, "below 100"},
	{"HTTP/1.1 200 O\x01K\r\n\r\n", E_INVALID, 400, "0x01"},
	{"HTTP/2.0 200 OK\r\n\r\n", E_UNSUPPORTED, 505, "HTTP/2.0"},
	{"\r\nHTTP/1.1 200 OK\r\n\r\n", E_INVALID, 400, "version"},
	{"ICY 200 OK\r\n\r\n", E_INVALID, 400, "version"},
	{OK " A: b\r\n\r\n", E_INVALID, 400, "folding"},
	{OK "A : b\r\n\r\n", E_INVALID, 400, "before its colon"},
	{OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", E_INVALID, 400, "more than one"},
	{OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", E_INVALID, 400, "both"},
	{OK "Transfer-Encoding: gzip\r\n\r\n", E_UNSUPPORTED, 501, "coding"},
};

typedef int parse_fn(struct slice in, size_t seen, struct http_head *ret, struct err *err);

static struct slice copy_exactly(struct slice s)
{
	char *p = malloc(s.n ? s.n : 1);

	memcpy(p, s.p, s.n);
	return (struct slice){p, s.n};
}

static void free_copy(struct slice s)
{
	free((char *)(uintptr_t)s.p);
}

static int parse_str(parse_fn *parse, const char *in, struct http_head *h, struct err *err)
{
	return parse(slice_from(in), 0, h, err);
}

/* Every byte in a call of its own, each in memory of exactly that size; the answer of the call that settles it. */
static int parse_dripping(parse_fn *parse, struct slice in, struct http_head *h, size_t *ret_given)
{
	int rc = E_AGAIN;

	for (size_t n = 1; n <= in.n && rc == E_AGAIN; n++) {
		struct slice part = copy_exactly((struct slice){in.p, n});

		*ret_given = n;
		rc = parse(part, n - 1, h, NULL);
		free_copy(part);
	}
	return rc;
}

static void check_refusals(parse_fn *parse, const struct refusal *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		HTTP_HEAD(h);
		struct err err = {0};
		size_t given;
		int rc = parse_str(parse, t[i].in, &h, &err);

		if (rc != t[i].rc || h.refuse_status != t[i].status || !strstr(err.text, t[i].says))
			printf("# case %zu: %s\n#   rc %d status %d, says: %s\n", i, t[i].in, rc, h.refuse_status,
			       err.text);
		CHECK_INT(rc, t[i].rc);
		CHECK_INT(h.refuse_status, t[i].status);
		CHECK(strstr(err.text, t[i].says));
		/* Byte by byte the fault may show only at the blank line, but it never passes. */
		rc = parse_dripping(parse, slice_from(t[i].in), &h, &given);
		CHECK(rc == t[i].rc || (rc == E_AGAIN && given == strlen(t[i].in)));
		if (strstr(t[i].in, "\r\n\r\n"))
			CHECK_INT(rc, t[i].rc);
	}
}

static const struct {
	const char *target, *path, *query; /* NULL: absent */
} absolutes[] = {
	{"http://a/v1/models", "/v1/models", NULL},
	{"HTTPS://a.example:8443/v1?x=/y", "/v1", "x=/y"},
	{"http://[::1]:80/", "/", NULL},
	{"http://a", "/", NULL},
	{"http://a?x", "/", "x"},
	{"http://a//b", "//b", NULL},
};

TEST(a_target_may_name_a_host_in_front_of_its_path)
{
	for (size_t i = 0; i < sizeof(absolutes) / sizeof(absolutes[0]); i++) {
		HTTP_HEAD(h);
		char text[256];

		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: other\r\n\r\n", absolutes[i].target);
		CHECK_INT(http_parse_request(slice_from(text), 0, &h, NULL), 0);
		CHECK(slice_eq_str(h.target, absolutes[i].target));
		CHECK(slice_eq_str(h.path, absolutes[i].path));
		CHECK(absolutes[i].query ? slice_eq_str(h.query, absolutes[i].query) : !h.query.p);
	}
}

TEST(a_request_that_is_wrong_is_refused_with_a_reason)
{
	check_refusals(http_parse_request, bad_requests, COUNT_OF(bad_requests));
}

TEST(an_answer_that_is_wrong_is_refused_with_a_reason)
{
	check_refusals(http_parse_response, bad_responses, COUNT_OF(bad_responses));
}

TEST(a_nul_byte_is_refused_everywhere)
{
	static const char text[] = GET "A: b\r\n\r\n";

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		char in[sizeof(text)];
		HTTP_HEAD(h);

		memcpy(in, text, sizeof(text));
		in[i] = '\0';
		CHECK_INT(http_parse_request((struct slice){in, sizeof(text) - 1}, 0, &h, NULL), E_INVALID);
	}
}

TEST(a_request_is_read_into_its_parts)
{
	static const char in[] = "POST /v1/chat/completions?beta=1?x HTTP/1.1\r\n"
				 "Host: 127.0.0.1:8080\r\n"
				 "Content-Type:application/json\r\n"
				 "X-Empty:  \t \r\n"
				 "X-Padded: \t a  b \t\r\n"
				 "X-Latin: gr\xfc\xdf\te, a value of more than sixteen bytes\r\n"
				 "CONTENT-length: 0012\r\n"
				 "Expect: 100-Continue\r\n"
				 "\r\nbody";
	HTTP_HEAD(h);

	CHECK_INT(parse_str(http_parse_request, in, &h, NULL), 0);
	CHECK_INT(h.method, HTTP_POST);
	CHECK(slice_eq_str(h.method_name, "POST"));
	CHECK(slice_eq_str(h.target, "/v1/chat/completions?beta=1?x"));
	CHECK(slice_eq_str(h.path, "/v1/chat/completions"));
	CHECK(slice_eq_str(h.query, "beta=1?x"));
	CHECK_INT(h.minor, 1);
	CHECK_INT(h.n_headers, 7);
	CHECK(slice_eq_str(h.header[1].name, "Content-Type"));
	CHECK(slice_eq_str(http_header(&h, "content-type"), "application/json"));
	CHECK(http_header(&h, "x-empty").p && http_header(&h, "x-empty").n == 0);
	CHECK(slice_eq_str(http_header(&h, "x-padded"), "a  b"));
	CHECK(slice_eq_str(http_header(&h, "x-latin"), "gr\xfc\xdf\te, a value of more than sixteen bytes"));
	CHECK(http_header(&h, "x-none").p == NULL);
	CHECK_INT(h.content_length, 12);
	CHECK(!h.chunked);
	CHECK(h.keep_alive);
	CHECK(h.expect_continue);
	CHECK_INT(h.head_bytes, sizeof(in) - 1 - 4);
	CHECK_INT(h.refuse_status, 0);
}

TEST(an_absent_query_differs_from_an_empty_one)
{
	HTTP_HEAD(h);

	CHECK_INT(parse_str(http_parse_request, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", &h, NULL), 0);
	CHECK(!h.query.p && slice_eq_str(h.path, "/a"));
	CHECK_INT(parse_str(http_parse_request, "GET /a? HTTP/1.1\r\nHost: a\r\n\r\n", &h, NULL), 0);
	CHECK(h.query.p && h.query.n == 0 && slice_eq_str(h.path, "/a") && slice_eq_str(h.target, "/a?"));
}

static const struct {
	const char *line;
	enum http_method method;
} methods[] = {
	{"GET", HTTP_GET},     {"HEAD", HTTP_HEAD},	{"POST", HTTP_POST},	   {"PUT", HTTP_PUT},
	{"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS}, {"get", HTTP_OTHER},
	{"PURGE", HTTP_OTHER}, {"X-!#", HTTP_OTHER},
};

TEST(methods_are_recognised_by_their_exact_names)
{
	for (size_t i = 0; i < COUNT_OF(methods); i++) {
		HTTP_HEAD(h);
		char in[100];

		snprintf(in, sizeof(in), "%s / HTTP/1.1\r\nHost: a\r\n\r\n", methods[i].line);
		CHECK_INT(parse_str(http_parse_request, in, &h, NULL), 0);
		CHECK_INT(h.method, methods[i].method);
		CHECK(slice_eq_str(h.method_name, methods[i].line));
		if (h.method != HTTP_OTHER)
			CHECK_STR(http_method_name(h.method), methods[i].line);
	}
	CHECK_STR(http_method_name(HTTP_OTHER), "");
}

static const struct {
	const char *version, *headers;
	bool keep_alive;
} connections[] = {
	{"1.1", "", true},
	{"1.0", "", false},
	{"1.1", "Connection: close\r\n", false},
	{"1.0", "Connection: Keep-Alive\r\n", true},
	{"1.0", "Connection: keep-alive, close\r\n", false},
	{"1.1", "Connection: Upgrade ,CLOSE\r\n", false},
	{"1.1", "Connection: upgrade\r\nConnection: close\r\n", false},
	{"1.1", "Connection: closed, x-close\r\n", true},
	{"1.1", "Connection:\r\n", true},
};

TEST(keep_alive_follows_version_and_connection)
{
	for (size_t i = 0; i < COUNT_OF(connections); i++) {
		HTTP_HEAD(h);
		char in[200];

		snprintf(in, sizeof(in), "GET / HTTP/%s\r\nHost: a\r\n%s\r\n", connections[i].version,
			 connections[i].headers);
		CHECK_INT(parse_str(http_parse_request, in, &h, NULL), 0);
		CHECK_INT(h.keep_alive, connections[i].keep_alive);
		snprintf(in, sizeof(in), "HTTP/%s 200 OK\r\n%s\r\n", connections[i].version, connections[i].headers);
		CHECK_INT(parse_str(http_parse_response, in, &h, NULL), 0);
		CHECK_INT(h.keep_alive, connections[i].keep_alive);
	}
}

TEST(requests_at_the_edge_of_the_rules_pass)
{
	static const char *const good[] = {
		"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost:\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET //a%00\"<>\\^`{|}~?? HTTP/1.1\r\nHost: a\r\n\r\n",
		GET "Content-Length: 999999999999999999\r\n\r\n",
		GET "Transfer-Encoding: CHUNKED \r\n\r\n",
		GET "!#$%&'*+-.^_`|~09azAZ: any\r\n\r\n",
	};

	for (size_t i = 0; i < COUNT_OF(good); i++) {
		HTTP_HEAD(h);
		size_t given;

		CHECK_INT(parse_str(http_parse_request, good[i], &h, NULL), 0);
		CHECK_INT(h.head_bytes, strlen(good[i]));
		CHECK_INT(parse_dripping(http_parse_request, slice_from(good[i]), &h, &given), 0);
		CHECK_INT(given, strlen(good[i]));
		CHECK_INT(h.head_bytes, given);
	}
}

TEST(an_answer_is_read_into_its_parts)
{
	HTTP_HEAD(h);

	CHECK_INT(parse_str(http_parse_response,
			    "HTTP/1.1 429 Too Many\tRequests\r\nRetry-After: 3\r\nTransfer-Encoding: chunked\r\n\r\n5",
			    &h, NULL),
		  0);
	CHECK_INT(h.status, 429);
	CHECK(slice_eq_str(h.reason, "Too Many\tRequests"));
	CHECK(h.chunked && h.content_length == -1);
	CHECK(slice_eq_str(http_header(&h, "retry-after"), "3"));
	CHECK_INT(parse_str(http_parse_response, "HTTP/1.0 200\r\n\r\n", &h, NULL), 0);
	CHECK(h.status == 200 && h.reason.n == 0 && h.minor == 0 && !h.chunked && h.content_length == -1);
	CHECK_INT(parse_str(http_parse_response, "HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n", &h, NULL), 0);
	CHECK(h.status == 999 && h.reason.n == 0 && h.content_length == 0);
	CHECK_INT(parse_str(http_parse_response, "HTTP/1.1 200 OK\r\nHost: a b\r\nHost: c\r\n\r\n", &h, NULL), 0);
}

/* GET with a header that makes the whole head n bytes long. */
static char *head_of(size_t n)
{
	static const char start[] = GET "X: ", end[] = "\r\n\r\n";
	char *p = malloc(n);

	memset(p, 'x', n);
	memcpy(p, start, sizeof(start) - 1);
	memcpy(p + n - 4, end, 4);
	return p;
}

TEST(a_head_at_the_limit_of_bytes_passes_and_one_past_it_does_not)
{
	for (size_t n = HTTP_MAX_HEAD_BYTES - 1; n <= HTTP_MAX_HEAD_BYTES + 2; n++) {
		struct slice in = {head_of(n), n};
		int want = n <= HTTP_MAX_HEAD_BYTES ? 0 : E_TOOBIG;
		HTTP_HEAD(h);
		size_t given;

		CHECK_INT(http_parse_request(in, 0, &h, NULL), want);
		CHECK_INT(h.refuse_status, want ? 431 : 0);
		CHECK(slice_eq_str(h.path, "/"));
		CHECK_INT(http_parse_request(in, n - 1 < HTTP_MAX_HEAD_BYTES ? n - 1 : 20000, &h, NULL), want);
		CHECK_INT(parse_dripping(http_parse_request, in, &h, &given), want);
		CHECK_INT(given, want ? HTTP_MAX_HEAD_BYTES : n);
		free_copy(in);
	}
}

TEST(as_many_headers_as_the_limit_pass_and_one_more_does_not)
{
	for (int n = HTTP_MAX_HEADERS; n <= HTTP_MAX_HEADERS + 1; n++) {
		char in[8192];
		HTTP_HEAD(h);
		size_t len = (size_t)snprintf(in, sizeof(in), "HTTP/1.1 200 OK\r\n");

		for (int i = 0; i < n; i++)
			len += (size_t)snprintf(in + len, sizeof(in) - len, "x-%d: %d\r\n", i, i);
		len += (size_t)snprintf(in + len, sizeof(in) - len, "\r\n");
		CHECK_INT(http_parse_response((struct slice){in, len}, 0, &h, NULL),
			  n <= HTTP_MAX_HEADERS ? 0 : E_TOOBIG);
		CHECK_INT(h.n_headers, HTTP_MAX_HEADERS);
		CHECK_INT(h.refuse_status, n <= HTTP_MAX_HEADERS ? 0 : 431);
	}
}

static bool same_slice(struct slice a, const char *a_base, struct slice b, const char *b_base)
{
	if (!a.p || !b.p)
		return a.p == b.p;
	return a.n == b.n && a.p - a_base == b.p - b_base;
}

TEST(a_head_cut_in_two_anywhere_reads_as_in_one_piece)
{
	static const char text[] = "\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n"
				   "A: b\r\n\r\nabc";
	struct slice in = SLICE_LIT(text);
	HTTP_HEAD(whole);
	HTTP_HEAD(h);

	CHECK_INT(http_parse_request(in, 0, &whole, NULL), 0);
	for (size_t cut = 0; cut < in.n; cut++) {
		struct slice part = copy_exactly((struct slice){in.p, cut});
		int rc = http_parse_request(part, 0, &h, NULL);

		CHECK_INT(rc, cut < whole.head_bytes ? E_AGAIN : 0);
		free_copy(part);
		if (rc == 0)
			continue;
		CHECK_INT(http_parse_request(in, cut, &h, NULL), 0);
		CHECK_INT(h.head_bytes, whole.head_bytes);
		CHECK_INT(h.n_headers, whole.n_headers);
		CHECK_INT(h.content_length, whole.content_length);
		CHECK(same_slice(h.path, in.p, whole.path, in.p) && same_slice(h.query, in.p, whole.query, in.p));
		for (size_t i = 0; i < h.n_headers; i++)
			CHECK(same_slice(h.header[i].value, in.p, whole.header[i].value, in.p));
	}
}

TEST(reasons_are_known_for_what_we_send)
{
	CHECK_STR(http_reason(200), "OK");
	CHECK_STR(http_reason(404), "Not Found");
	CHECK_STR(http_reason(431), "Request Header Fields Too Large");
	CHECK_STR(http_reason(299), "");
	CHECK_STR(http_reason(-1), "");
	CHECK_STR(http_reason(1000), "");
}
