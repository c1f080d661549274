/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of many streams.  As the model, it begins a stream for each request and says more when told; as the caller,
 * it opens streams and watches every one of them to its end.  What would break it: an answer whose marks ("[DONE]", an
 * event) are cut by something else than the end of a read; each connection remembers the tail of what it has seen.
 *
 *   streams model PORT             "ready"; lines on stdin: event (one to each), end; answers "said N"
 *   streams caller PORT N BODY     opens N; lines on stdin: wait K (until all have seen K events), done (until all
 *                                  have ended); answers "seen N", and at the end "whole N cut N refused N"
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 65536
#define AT_ONCE 128 /* that have asked and have not seen anything */
#define PATIENCE_MS 60000
#define MARK "\"content\":\""

struct stream {
	int used, asked, whole, counted;
	unsigned events;
	size_t n_tail;
	char tail[32];
};

static struct stream streams[MAX_FD];
static int epoll;

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(int fd, unsigned events, int how)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	if (epoll_ctl(epoll, how, fd, &e))
		fail("epoll_ctl");
}

static struct sockaddr_in address(const char *port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				    .sin_port = htons((unsigned short)atoi(port))};
}

static void say(const char *word, unsigned n)
{
	printf("%s %u\n", word, n);
	fflush(stdout);
}

static int line(char *buf, size_t size)
{
	size_t n = 0;

	while (n + 1 < size && read(0, buf + n, 1) == 1 && buf[n] != '\n')
		n++;
	buf[n] = 0;
	return n > 0;
}

/* --- the model --- */

static void send_text(int fd, const char *text)
{
	size_t n = strlen(text);

	if (send(fd, text, n, MSG_NOSIGNAL) != (ssize_t)n)
		streams[fd].used = 0; /* nobody listens, or it does not read */
}

static void send_event(int fd, const char *delta, const char *finish)
{
	char event[512], chunk[600];
	int n = snprintf(
		event, sizeof(event),
		"data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\","
		"\"choices\":[{\"index\":0,\"delta\":{%s},\"finish_reason\":%s}]}\n\n",
		delta, finish);

	snprintf(chunk, sizeof(chunk), "%x\r\n%s\r\n", (unsigned)n, event);
	send_text(fd, chunk);
}

static void answer(int fd)
{
	char in[16384];
	ssize_t n = recv(fd, in, sizeof(in), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		streams[fd].used = 0;
		close(fd);
		return;
	}
	if (streams[fd].used || !memmem(in, (size_t)n, "\"messages\"", 10))
		return; /* the body comes later */
	streams[fd].used = 1;
	send_text(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
	send_event(fd, "\"role\":\"assistant\",\"content\":\"The ship \"", "null");
}

static void tell_all(int is_end)
{
	unsigned n = 0;

	for (int fd = 0; fd < MAX_FD; fd++) {
		if (!streams[fd].used)
			continue;
		send_event(fd, "\"content\":\"sails on. \"", "null");
		if (is_end) {
			send_event(fd, "", "\"stop\"");
			send_text(fd, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
		}
		n += (unsigned)streams[fd].used;
		if (is_end)
			streams[fd].used = 0;
	}
	say("said", n);
}

static void model(const char *port)
{
	struct sockaddr_in addr = address(port);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 4096))
		fail("model");
	watch(listener, EPOLLIN, EPOLL_CTL_ADD);
	watch(0, EPOLLIN, EPOLL_CTL_ADD);
	say("ready", 0);
	for (;;) {
		struct epoll_event events[256];
		int n = epoll_wait(epoll, events, 256, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			char word[32];

			if (fd == 0 && !line(word, sizeof(word)))
				exit(0);
			if (fd == 0) {
				tell_all(!strcmp(word, "end"));
			} else if (fd != listener) {
				answer(fd);
			} else {
				while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
					setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
					watch(fd, EPOLLIN, EPOLL_CTL_ADD);
				}
			}
		}
	}
}

/* --- the caller --- */

static struct {
	struct sockaddr_in where;
	char request[65536];
	size_t n_request;
	unsigned wanted, opened, waiting, ended, whole, cut, refused;
} it;

static void open_one(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0)
		fail("socket");
	if (connect(fd, (struct sockaddr *)&it.where, sizeof(it.where)) && errno != EINPROGRESS)
		fail("connect");
	streams[fd] = (struct stream){.used = 1};
	it.opened++;
	it.waiting++;
	watch(fd, EPOLLOUT, EPOLL_CTL_ADD);
}

static void end_one(int fd)
{
	struct stream *s = &streams[fd];

	it.waiting -= !s->counted;
	it.whole += (unsigned)s->whole;
	it.cut += !s->whole;
	it.ended++;
	s->used = 0;
	close(fd);
}

/* What was there before counts with what came: a mark may be cut in two. */
static void look(struct stream *s, const char *data, size_t n)
{
	static char all[sizeof(s->tail) + 65536];
	size_t keep = strlen(MARK) - 1;
	char *p = all, *end;

	memcpy(all, s->tail, s->n_tail);
	memcpy(all + s->n_tail, data, n);
	n += s->n_tail;
	end = all + n;
	if (memmem(all, n, "[DONE]", 6))
		s->whole = 1;
	while ((p = memmem(p, (size_t)(end - p), MARK, strlen(MARK)))) {
		p += strlen(MARK);
		s->events++;
	}
	s->n_tail = n < keep ? n : keep;
	memcpy(s->tail, end - s->n_tail, s->n_tail);
}

static void hear(int fd)
{
	static char in[65536];
	struct stream *s = &streams[fd];
	ssize_t n = recv(fd, in, sizeof(in), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		end_one(fd);
		return;
	}
	if (!s->counted) {
		s->counted = 1;
		it.waiting--;
		it.refused += strncmp(in, "HTTP/1.1 200", 12) != 0;
	}
	look(s, in, (size_t)n);
	if (s->whole)
		end_one(fd);
}

static void turn(int wait_ms)
{
	struct epoll_event events[512];
	int n = epoll_wait(epoll, events, 512, wait_ms);

	for (int i = 0; i < n; i++) {
		int fd = events[i].data.fd;

		if (streams[fd].asked) {
			hear(fd);
			continue;
		}
		streams[fd].asked = 1;
		if (send(fd, it.request, it.n_request, MSG_NOSIGNAL) != (ssize_t)it.n_request)
			end_one(fd);
		else
			watch(fd, EPOLLIN, EPOLL_CTL_MOD);
	}
}

static unsigned count_seen(unsigned events)
{
	unsigned n = 0;

	for (int fd = 0; fd < MAX_FD; fd++)
		n += streams[fd].used && streams[fd].events >= events;
	return n;
}

static void caller(const char *port, unsigned n, const char *body)
{
	char word[32];

	it.where = address(port);
	it.n_request = (size_t)snprintf(it.request, sizeof(it.request),
					"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\n"
					"Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
					strlen(body), body);
	while (it.opened < n) {
		while (it.opened < n && it.waiting < AT_ONCE)
			open_one();
		turn(1000);
	}
	while (line(word, sizeof(word))) {
		unsigned events = !strncmp(word, "wait ", 5) ? (unsigned)atoi(word + 5) : 0;
		long until = now_ms() + PATIENCE_MS;

		while (now_ms() < until && (events ? count_seen(events) + it.ended < n : it.ended < n))
			turn(100);
		if (events) {
			say("seen", count_seen(events));
		} else {
			printf("whole %u cut %u refused %u\n", it.whole, it.cut + (n - it.ended), it.refused);
			fflush(stdout);
		}
	}
}

int main(int argc, char **argv)
{
	struct rlimit l;

	if (!getrlimit(RLIMIT_NOFILE, &l)) {
		l.rlim_cur = l.rlim_max < MAX_FD ? l.rlim_max : MAX_FD;
		setrlimit(RLIMIT_NOFILE, &l);
	}
	epoll = epoll_create1(0);
	if (argc == 3 && !strcmp(argv[1], "model"))
		model(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "caller"))
		caller(argv[2], (unsigned)atoi(argv[3]), argv[4]);
	return argc < 3;
}
