/* SPDX-License-Identifier: Apache-2.0 */
/* The C client against a server on a thread that reads one request and answers with given bytes. */
#include "t.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients/c/muster.h"
#include "core/base/util.h"

#define REQUEST_MAX 65536

struct server {
	int listener;
	pthread_t thread;
	const char *answer; /* NULL: none, until the client leaves */
	size_t n_answer;
	size_t piece; /* bytes per write; 0: all at once */
	char request[REQUEST_MAX];
	size_t n;
};

/* Until the head and as much body as it announces are there, or the client leaves. */
static void read_request(struct server *s, int fd)
{
	while (s->n < REQUEST_MAX - 1) {
		ssize_t got = read(fd, s->request + s->n, REQUEST_MAX - 1 - s->n);
		char *body, *length;

		if (got <= 0)
			return;
		s->n += (size_t)got;
		s->request[s->n] = 0;
		body = strstr(s->request, "\r\n\r\n");
		length = strcasestr(s->request, "content-length:");
		if (body && s->n >= (size_t)(body + 4 - s->request) + (length ? strtoul(length + 15, NULL, 10) : 0))
			return;
	}
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->listener, NULL, NULL);
	char sink[256];
	size_t sent = 0;

	if (fd < 0)
		return NULL;
	read_request(s, fd);
	while (s->answer && sent < s->n_answer) {
		size_t n = s->piece ? min_size(s->piece, s->n_answer - sent) : s->n_answer - sent;
		ssize_t put = send(fd, s->answer + sent, n, MSG_NOSIGNAL);

		if (put <= 0)
			break;
		sent += (size_t)put;
	}
	if (s->answer)
		shutdown(fd, SHUT_WR);
	while (read(fd, sink, sizeof(sink)) > 0)
		;
	close(fd);
	return NULL;
}

/* Listens and opens a client to it. */
static struct muster *start(struct server *s, const char *answer, const struct muster_options *more)
{
	struct muster_options o = more ? *more : (struct muster_options){0};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	struct muster *m = NULL;
	struct muster_error e;
	static char url[64];

	s->answer = answer;
	s->n_answer = s->n_answer ? s->n_answer : answer ? strlen(answer) : 0;
	s->listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(s->listener, (struct sockaddr *)&at, n) || listen(s->listener, 4) ||
	    getsockname(s->listener, (struct sockaddr *)&at, &n))
		abort();
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(at.sin_port));
	o.url = url;
	CHECK_INT(muster_open(&o, &m, &e), 0);
	if (!m)
		abort();
	pthread_create(&s->thread, NULL, serve, s);
	return m;
}

static void stop(struct server *s, struct muster *m)
{
	muster_close(m);
	shutdown(s->listener, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listener);
}

#define OK_JSON "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
#define STREAM "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

TEST(a_prompt_goes_out_as_json_and_its_answer_comes_back)
{
	static struct server s;
	double temperature = 0.5;
	struct muster *m =
		start(&s,
		      OK_JSON "Content-Length: 23\r\nX-Muster-Model: tiny@1.0\r\nx-muster-model-id: 0198\r\n"
			      "x-muster-log-id: 0199\r\nx-muster-guardrail: allow\r\nx-request-id: r1\r\n\r\n"
			      "{\"text\":\"a \\u00e4\\n b\"}",
		      &(struct muster_options){.api_key = "secret", .actor = "me@here"});
	struct muster_prompt p = {.layer = "foundation",
				  .prompt = "say \"hi\"\n\x01 \xff \xc3\xa4",
				  .context = "{\"a\":1}",
				  .max_tokens = 7,
				  .temperature = &temperature};
	struct muster_answer a;
	struct muster_error e;
	char text[64];

	CHECK_INT(muster_generate(m, &p, &a, &e), 0);
	CHECK_INT(a.status, 200);
	CHECK_STR(a.model, "tiny@1.0");
	CHECK_STR(a.model_id, "0198");
	CHECK_STR(a.log_id, "0199");
	CHECK_STR(a.guardrail, "allow");
	CHECK_STR(a.request_id, "r1");
	CHECK_STR(a.fallback, "");
	CHECK_INT(muster_json_text(a.body, a.size, "text", text, sizeof(text)), 7);
	CHECK_STR(text, "a ä\n b");
	muster_answer_release(&a);
	muster_answer_release(&a);
	stop(&s, m);
	CHECK(!strncmp(s.request, "POST /api/v1/generate HTTP/1.1\r\n", 31));
	CHECK(strstr(s.request, "\r\nAuthorization: Bearer secret\r\n") != NULL);
	CHECK(strstr(s.request, "\r\nx-muster-actor: me@here\r\n") != NULL);
	CHECK(strstr(s.request, "\r\nContent-Type: application/json\r\n") != NULL);
	CHECK(strstr(s.request, "Expect") == NULL);
	CHECK(strstr(s.request,
		     "\r\n\r\n{\"layer\":\"foundation\",\"prompt\":\"say \\\"hi\\\"\\u000a\\u0001 "
		     "\xef\xbf\xbd \xc3\xa4\",\"context\":{\"a\":1},\"max_tokens\":7,\"temperature\":0.5}") != NULL);
}

static const struct {
	const char *answer;
	int result, status;
	const char *code, *text;
} failures[] = {
	{"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"
	 "{\"error\":{\"message\":\"no \\\"x\\\"\",\"type\":\"t\",\"code\":\"model_not_found\"}}",
	 MUSTER_E_REFUSED, 404, "model_not_found", "no \"x\""},
	{"HTTP/1.1 400 Bad\r\nContent-Length: "
	 "56\r\n\r\n{\"success\":false,\"error\":{\"message\":\"bad\",\"code\":null}}\n\n",
	 MUSTER_E_REFUSED, 400, "", "bad"},
	{"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", MUSTER_E_REFUSED, 502, "",
	 "HTTP status 502 and no reason"},
	{"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", MUSTER_E_REFUSED, 302, "",
	 "HTTP status 302"},
	{OK_JSON "Content-Length: 100\r\n\r\n{\"text\":", MUSTER_E_BROKEN, 0, "",
	 "broke before the answer was complete"},
	{"", MUSTER_E_BROKEN, 0, "", "broke before"},
	{"SSH-2.0-OpenSSH\r\n", MUSTER_E_BROKEN, 0, "", "broke before"},
};

TEST(an_answer_that_is_an_error_or_none_says_why)
{
	for (size_t i = 0; i < COUNT_OF(failures); i++) {
		static struct server s;
		struct muster *m;
		struct muster_answer a;
		struct muster_error e;

		s = (struct server){0};
		m = start(&s, failures[i].answer, NULL);
		CHECK_INT(muster_current(m, "foundation_layer", &a, &e), failures[i].result);
		CHECK_INT(e.result, failures[i].result);
		CHECK_INT(e.http_status, failures[i].status);
		CHECK_STR(e.code, failures[i].code);
		if (!strstr(e.text, failures[i].text))
			CHECK_STR(e.text, failures[i].text);
		muster_answer_release(&a);
		stop(&s, m);
	}
}

TEST(a_daemon_that_is_not_there_is_unreachable)
{
	static struct server s;
	struct muster_answer a;
	struct muster_error e;
	struct muster *m = start(&s, "", NULL);
	char want[128];

	snprintf(want, sizeof(want), "cannot reach %s: connection refused", muster_url(m));
	shutdown(s.listener, SHUT_RDWR);
	pthread_join(s.thread, NULL);
	close(s.listener);
	CHECK_INT(muster_model_list(m, NULL, NULL, &a, &e), MUSTER_E_UNREACHABLE);
	CHECK_STR(e.text, want);
	CHECK_INT(e.http_status, 0);
	muster_answer_release(&a);
	muster_close(m);
}

TEST(a_daemon_that_says_nothing_is_given_up)
{
	static struct server s;
	struct muster_answer a;
	struct muster_error e;
	struct muster *m = start(&s, NULL, &(struct muster_options){.timeout_ms = 60});

	CHECK_INT(muster_model_show(m, "tiny", &a, &e), MUSTER_E_TIMEOUT);
	CHECK(strstr(e.text, "did not answer within 60 ms") != NULL);
	muster_answer_release(&a);
	stop(&s, m);
}

TEST(an_answer_may_have_as_many_bytes_as_allowed_and_not_one_more)
{
	for (size_t limit = 9; limit <= 10; limit++) {
		static struct server s;
		struct muster_answer a;
		struct muster_error e;
		struct muster *m;

		s = (struct server){0};
		m = start(&s, OK_JSON "Content-Length: 10\r\n\r\n{\"a\":\"bc\"}",
			  &(struct muster_options){.max_answer_bytes = limit});
		CHECK_INT(muster_model_show(m, "tiny", &a, &e), limit == 10 ? 0 : MUSTER_E_TOO_BIG);
		muster_answer_release(&a);
		stop(&s, m);
	}
}

/* --- streams --- */

struct events {
	char text[512];
	size_t n_events, stop_after, n_bytes;
};

static int on_event(void *context, const char *json, size_t size)
{
	struct events *ev = context;
	size_t n = strlen(ev->text);

	ev->n_bytes += size;
	snprintf(ev->text + n, sizeof(ev->text) - n, "%s|", json);
	return ++ev->n_events == ev->stop_after;
}

static const struct {
	const char *answer;
	size_t stop_after;
	int result;
	const char *events, *text;
} streams[] = {
	{STREAM "data: {\"text\":\"a\"}\n\ndata: {\"text\":\"b\"}\n\ndata: {\"done\":true}\n\n", 0, 0,
	 "{\"text\":\"a\"}|{\"text\":\"b\"}|{\"done\":true}|", ""},
	{STREAM ": hello\r\nevent: x\r\ndata:{\"text\":\"a\"}\r\n\r\ndata: {\"done\": true}\r\n\r\n", 0, 0,
	 "{\"text\":\"a\"}|{\"done\": true}|", ""},
	{STREAM "data: {\"text\":\ndata: \"a\"}\n\ndata: {\"done\":true}\n\n", 0, 0,
	 "{\"text\":\n\"a\"}|{\"done\":true}|", ""},
	{STREAM "data: {\"choices\":[]}\n\ndata: [DONE]\n\n", 0, 0, "{\"choices\":[]}|", ""},
	{STREAM "data: {\"text\":\"a\"}\n\n", 0, MUSTER_E_BROKEN, "{\"text\":\"a\"}|", "ended early"},
	{STREAM, 0, MUSTER_E_BROKEN, "", "ended early"},
	{STREAM
	 "data: {\"text\":\"a\"}\n\ndata: {\"success\":false,\"error\":{\"message\":\"it broke\",\"code\":\"x\"}}\n\n",
	 0, MUSTER_E_REFUSED, "{\"text\":\"a\"}|", "it broke"},
	{STREAM "data: {\"text\":\"a\"}\n\ndata: {\"text\":\"b\"}\n\n", 1, MUSTER_E_CANCELLED, "{\"text\":\"a\"}|",
	 "cancelled"},
	{"HTTP/1.1 429 Too Many\r\nContent-Type: application/json\r\nContent-Length: "
	 "29\r\n\r\n{\"error\":{\"message\":\"slower\"}}",
	 0, MUSTER_E_REFUSED, "", "slower"},
};

TEST(a_stream_gives_its_events_whole_wherever_it_is_cut)
{
	for (size_t i = 0; i < COUNT_OF(streams); i++) {
		for (size_t piece = 0; piece < 8; piece += 1 + 6 * (piece == 1)) {
			static struct server s;
			struct events ev = {.stop_after = streams[i].stop_after};
			struct muster_prompt p = {.use_case = "u", .prompt = "hi"};
			struct muster_answer a;
			struct muster_error e = {.text = ""};
			struct muster *m;

			s = (struct server){.piece = piece};
			m = start(&s, streams[i].answer, NULL);
			CHECK_INT(muster_generate_stream(m, &p, on_event, &ev, &a, &e), streams[i].result);
			CHECK_STR(ev.text, streams[i].events);
			if (!strstr(e.text, streams[i].text))
				CHECK_STR(e.text, streams[i].text);
			muster_answer_release(&a);
			stop(&s, m);
			CHECK(strstr(s.request, "{\"use_case\":\"u\",\"prompt\":\"hi\",\"stream\":true}") != NULL);
		}
	}
}

TEST(an_event_has_its_limit)
{
	static char answer[MUSTER_MAX_EVENT_BYTES + 4096];

	for (size_t more = 0; more < 2; more++) {
		static struct server s;
		size_t head = strlen(STREAM), n = MUSTER_MAX_EVENT_BYTES + more;
		struct events ev = {0};
		struct muster_answer a;
		struct muster_error e;
		struct muster *m;

		/* the line with "data: " is what the limit holds for */
		memcpy(answer, STREAM, head);
		memset(answer + head, 'x', n);
		memcpy(answer + head, "data: ", 6);
		memcpy(answer + head + n, "\n\ndata: [DONE]\n\n", 17);
		s = (struct server){0};
		m = start(&s, answer, NULL);
		CHECK_INT(muster_chat(m, "{}", on_event, &ev, &a, &e), more ? MUSTER_E_TOO_BIG : 0);
		CHECK_INT(ev.n_bytes, more ? 0 : MUSTER_MAX_EVENT_BYTES - 6);
		muster_answer_release(&a);
		stop(&s, m);
	}
}

/* --- the registry's paths and bodies --- */

static int call_register(struct muster *m, struct muster_answer *a, struct muster_error *e)
{
	return muster_model_register(m, "{\"model_name\":\"x\"}", a, e);
}

static int call_promote(struct muster *m, struct muster_answer *a, struct muster_error *e)
{
	return muster_model_promote(m, "a/b@1", "u", "because", a, e);
}

static int call_status(struct muster *m, struct muster_answer *a, struct muster_error *e)
{
	return muster_model_set_status(m, "tiny@1.0", "testing", NULL, a, e);
}

static int call_list(struct muster *m, struct muster_answer *a, struct muster_error *e)
{
	return muster_model_list(m, "u&v", "current", a, e);
}

static int call_current(struct muster *m, struct muster_answer *a, struct muster_error *e)
{
	return muster_current(m, "ü x", a, e);
}

static int call_log(struct muster *m, struct muster_answer *a, struct muster_error *e)
{
	return muster_log(m, "{}", a, e);
}

static int call_check(struct muster *m, struct muster_answer *a, struct muster_error *e)
{
	static const char *const texts[] = {"a", "b\\"};

	return muster_guardrails_check(
		m, &(struct muster_check){.policy = "p", .side = "input", .texts = texts, .n_texts = 2}, a, e);
}

static const struct {
	int (*call)(struct muster *m, struct muster_answer *a, struct muster_error *e);
	const char *line, *body;
} calls[] = {
	{call_register, "POST /api/v1/models HTTP/1.1", "{\"model_name\":\"x\"}"},
	{call_promote, "POST /api/v1/models/a%2Fb@1/promote HTTP/1.1", "{\"use_case\":\"u\",\"reason\":\"because\"}"},
	{call_status, "PATCH /api/v1/models/tiny@1.0 HTTP/1.1", "{\"status\":\"testing\"}"},
	{call_list, "GET /api/v1/models?limit=1000&use_case=u%26v&status=current HTTP/1.1", ""},
	{call_current, "GET /api/v1/use-cases/%C3%BC%20x/current HTTP/1.1", ""},
	{call_log, "POST /api/v1/logs HTTP/1.1", "{}"},
	{call_check, "POST /api/v1/guardrails/check HTTP/1.1",
	 "{\"policy\":\"p\",\"side\":\"input\",\"outputs\":[\"a\",\"b\\\\\"]}"},
};

TEST(every_call_has_its_method_path_and_body)
{
	for (size_t i = 0; i < COUNT_OF(calls); i++) {
		static struct server s;
		struct muster_answer a;
		struct muster_error e;
		struct muster *m;
		char *body;

		s = (struct server){0};
		m = start(&s, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", NULL);
		CHECK_INT(calls[i].call(m, &a, &e), 0);
		CHECK_STR(a.body ? a.body : "(none)", "{}");
		muster_answer_release(&a);
		stop(&s, m);
		body = strstr(s.request, "\r\n\r\n");
		CHECK(!strncmp(s.request, calls[i].line, strlen(calls[i].line)));
		CHECK_STR(body ? body + 4 : "(none)", calls[i].body);
	}
}

TEST(arguments_that_cannot_be_sent_are_refused_before_anything_is)
{
	static const char *const urls[] = {"ftp://x", "127.0.0.1:8080", "file:///etc/passwd"};
	static char name[600];
	struct muster *m = NULL;
	struct muster_answer a;
	struct muster_error e;

	for (size_t i = 0; i < COUNT_OF(urls); i++) {
		CHECK_INT(muster_open(&(struct muster_options){.url = urls[i]}, &m, &e), MUSTER_E_INVALID);
		CHECK(strstr(e.text, urls[i]) != NULL);
	}
	CHECK_INT(muster_open(&(struct muster_options){.api_key = "a\r\nX: y"}, &m, NULL), MUSTER_E_INVALID);
	CHECK_INT(muster_open(&(struct muster_options){.actor = "a\nb"}, &m, NULL), MUSTER_E_INVALID);
	CHECK(m == NULL);
	CHECK_INT(muster_open(&(struct muster_options){.url = "http://127.0.0.1:1"}, &m, NULL), 0);
	memset(name, 'x', sizeof(name) - 1);
	CHECK_INT(muster_model_show(m, name, &a, &e), MUSTER_E_INVALID);
	CHECK_INT(muster_model_show(m, "", &a, &e), MUSTER_E_INVALID);
	CHECK_INT(muster_model_promote(m, NULL, NULL, NULL, &a, &e), MUSTER_E_INVALID);
	CHECK_INT(muster_send(m, &(struct muster_request){.method = "GET", .path = "health"}, &a, &e),
		  MUSTER_E_INVALID);
	muster_close(m);
	muster_close(NULL);
}

/* --- texts --- */

static const struct {
	const char *json, *path;
	long n;
	const char *want;
} texts[] = {
	{"{\"a\":\"b\"}", "a", 1, "b"},
	{" { \"x\" : [1,{\"a\":2}] , \"a\" : \"b\" } ", "a", 1, "b"},
	{"{\"a\":{\"b\":{\"c\":\"d\"}}}", "a.b.c", 1, "d"},
	{"{\"a\":{\"b\":1}}", "a", 7, "{\"b\":1}"},
	{"{\"a\":12.5,\"b\":2}", "a", 4, "12.5"},
	{"{\"a\":true}", "a", 4, "true"},
	{"{\"a\":\"x\\\"y\\\\\"}", "a", 4, "x\"y\\"},
	{"{\"a\":\"\\u00e4\\ud83d\\ude00\\n\"}", "a", 7, "ä😀\n"},
	{"{\"a\":\"\\ud83d\"}", "a", 3, "\xef\xbf\xbd"},
	{"{\"a\":\"\\uzzzz\"}", "a", 3, "\xef\xbf\xbd"},
	{"{\"a\":\"\"}", "a", 0, ""},
	{"{\"b\":\"a\",\"a\":\"c\"}", "a", 1, "c"},
	{"{\"a\":\"b\"}", "b", -1, ""},
	{"{\"a\":\"b\"}", "a.b", -1, ""},
	{"{\"a\":\"b", "a", -1, ""},
	{"{\"a\":\"b\\", "a", -1, ""},
	{"{\"a\":{\"b\":1", "a", -1, ""},
	{"{\"a\"", "a", -1, ""},
	{"{\"a\":", "a", -1, ""},
	{"[1]", "a", -1, ""},
	{"", "a", -1, ""},
	{"{", "a", -1, ""},
	{"{\"a\":\"0123456789abcdefghijklmnopqrstuvwxyz\"}", "a", 15, "0123456789abcde"},
	{"{\"a\":\"0123456789abcdää\"}", "a", 14, "0123456789abcd"},
};

TEST(a_text_is_found_in_json_and_nothing_is_read_past_its_end)
{
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		size_t n = strlen(texts[i].json);
		char *exact = malloc(n ? n : 1), got[16] = "";

		memcpy(exact, texts[i].json, n);
		CHECK_INT(muster_json_text(exact, n, texts[i].path, got, sizeof(got)), texts[i].n);
		CHECK_STR(got, texts[i].want);
		free(exact);
	}
}

TEST(what_stands_in_a_path_is_encoded_or_refused)
{
	char to[10];

	CHECK_INT(muster_encode("a-b_c.~@:", to, sizeof(to)), 9);
	CHECK_INT(muster_encode("a-b_c.~@:x", to, sizeof(to)), -1);
	CHECK_INT(muster_encode("a@1.0", to, sizeof(to)), 5);
	CHECK_STR(to, "a@1.0");
	CHECK_INT(muster_encode("/?#", to, sizeof(to)), 9);
	CHECK_STR(to, "%2F%3F%23");
	CHECK_INT(muster_encode("/?#%", to, sizeof(to)), -1);
	CHECK_INT(muster_encode("", to, sizeof(to)), 0);
}
