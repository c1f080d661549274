/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load over HTTP/1.1 on loopback, which remembers every single answer: when it was asked for, how long it took (at a
 * fixed rate: since it was due), its status, the id of its log record and the model that it names. Connections that
 * break are made anew, for as long as it takes. One thread, one epoll. What would break it: an answer without
 * Content-Length that is not chunked.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX ((size_t)4 << 20)
#define AGAIN_US 20000 /* until a refused connection is tried again */
#define LATE_US 1000000

struct connection {
	int fd; /* -1: none */
	bool connecting, busy;
	char *in;
	size_t n_in, sent;
	int64_t due_us, sent_us, begun_us, seen_us; /* begun: when it was due, or sent; seen: the first byte */
	struct connection *next;
};

struct answers {
	uint32_t *latency_us;
	size_t n, size;
};

static struct {
	int epoll, port, n_connections;
	double seconds, rate;
	const char *method, *path, *body, *out, *header;
	char *request;
	size_t n_request;
	struct connection *list;
	struct answers answers;
	uint64_t n_status[6], n_cut, n_refused;
	FILE *file;
} it = {.n_connections = 1, .seconds = 1, .method = "GET", .path = "/", .header = ""};

static volatile sig_atomic_t is_over;

static void on_signal(int number)
{
	(void)number;
	is_over = 1;
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* --- connections --- */

static void watch(struct connection *c, uint32_t events, int how)
{
	struct epoll_event e = {.events = events, .data.ptr = c};

	if (epoll_ctl(it.epoll, how, c->fd, &e))
		fail("epoll_ctl");
}

static void disconnect(struct connection *c)
{
	if (c->busy)
		it.n_cut++;
	else
		it.n_refused++;
	close(c->fd);
	c->fd = -1;
	c->busy = c->connecting = false;
	c->due_us = now_us() + AGAIN_US;
}

static void begin_connect(struct connection *c)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)it.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		fail("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->connecting = true;
	if (connect(c->fd, (struct sockaddr *)&a, sizeof(a)) && errno != EINPROGRESS) {
		disconnect(c);
		return;
	}
	watch(c, EPOLLOUT, EPOLL_CTL_ADD);
}

static void send_more(struct connection *c)
{
	bool was_whole = c->sent == 0;
	ssize_t n = send(c->fd, it.request + c->sent, it.n_request - c->sent, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		disconnect(c);
		return;
	}
	c->sent += n > 0 ? (size_t)n : 0;
	if (c->sent < it.n_request || !was_whole)
		watch(c, c->sent < it.n_request ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

static void begin_request(struct connection *c, int64_t now)
{
	c->begun_us = it.rate > 0 && now - c->due_us < LATE_US && c->due_us ? c->due_us : now;
	c->sent_us = now;
	c->busy = true;
	c->n_in = c->sent = 0;
	c->seen_us = 0;
	send_more(c);
}

/* --- answers --- */

/* The value behind `name`, up to a byte of `ends`. */
static int find(const char *text, size_t n, const char *name, const char *ends, const char **ret)
{
	const char *at = memmem(text, n, name, strlen(name));

	if (!at)
		return 0;
	at += strlen(name);
	*ret = at;
	return (int)strcspn(at, ends);
}

static void remember(struct connection *c, size_t n_head, int64_t now)
{
	const char *id = "", *model = "";
	int status = atoi(c->in + 9), n_id, n_model;
	int64_t latency_us = now - c->begun_us;
	struct answers *a = &it.answers;

	it.n_status[status / 100 < 6 ? status / 100 : 0]++;
	if (a->n == a->size) {
		a->size = a->size ? 2 * a->size : 65536;
		a->latency_us = realloc(a->latency_us, a->size * sizeof(*a->latency_us));
		if (!a->latency_us)
			fail("memory");
	}
	a->latency_us[a->n++] = (uint32_t)latency_us;
	if (!it.file)
		return;
	n_id = find(c->in, n_head, "x-muster-log-id: ", "\r", &id);
	if (!n_id)
		n_id = find(c->in + n_head, c->n_in - n_head, "\"log_id\":\"", "\"", &id);
	n_model = find(c->in, n_head, "x-muster-model: ", "\r", &model);
	fprintf(it.file, "%lld %lld %lld %d %.*s %.*s\n", (long long)c->sent_us, (long long)latency_us,
		(long long)(c->seen_us - c->begun_us), status, n_id ? n_id : 1, n_id ? id : "-", n_model ? n_model : 1,
		n_model ? model : "-");
}

/* The size of the head when the answer is whole, else 0. */
static size_t whole(struct connection *c)
{
	const char *end, *value;
	size_t n_head;

	c->in[c->n_in] = '\0';
	end = strstr(c->in, "\r\n\r\n");
	if (!end)
		return 0;
	n_head = (size_t)(end - c->in) + 4;
	if (find(c->in, n_head, "Content-Length: ", "\r", &value) ||
	    find(c->in, n_head, "content-length: ", "\r", &value))
		return c->n_in >= n_head + strtoull(value, NULL, 10) ? n_head : 0;
	return c->n_in >= n_head + 5 && !memcmp(c->in + c->n_in - 5, "0\r\n\r\n", 5) ? n_head : 0;
}

static void receive(struct connection *c)
{
	ssize_t n = recv(c->fd, c->in + c->n_in, ANSWER_MAX - c->n_in - 1, 0);
	int64_t now = now_us();
	size_t n_head;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		disconnect(c);
		return;
	}
	c->n_in += (size_t)n;
	if (!c->seen_us)
		c->seen_us = now;
	n_head = whole(c);
	if (!n_head)
		return;
	remember(c, n_head, now);
	c->busy = false;
	if (it.rate > 0) {
		c->due_us += (int64_t)(1e6 * it.n_connections / it.rate);
		if (c->due_us + LATE_US < now)
			c->due_us = now;
	} else if (!is_over) {
		begin_request(c, now);
	}
}

static void on_event(struct connection *c, uint32_t events)
{
	if (c->fd < 0)
		return;
	if (c->connecting) {
		int failure = 0;
		socklen_t size = sizeof(failure);

		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failure, &size);
		if (failure || (events & (EPOLLERR | EPOLLHUP))) {
			disconnect(c);
			return;
		}
		c->connecting = false;
		watch(c, EPOLLIN, EPOLL_CTL_MOD);
		if (it.rate <= 0)
			begin_request(c, now_us());
		return;
	}
	if ((events & EPOLLOUT) && c->sent < it.n_request)
		send_more(c);
	if (c->fd >= 0 && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
		receive(c);
}

/* What is due, and how long nothing will be. */
static int64_t tend(int64_t now)
{
	int64_t next = now + 100000;

	for (int i = 0; i < it.n_connections; i++) {
		struct connection *c = &it.list[i];

		if (c->fd < 0 && c->due_us <= now)
			begin_connect(c);
		else if (c->fd >= 0 && !c->connecting && !c->busy && it.rate > 0 && c->due_us <= now)
			begin_request(c, now);
		if ((c->fd < 0 || (it.rate > 0 && !c->busy && !c->connecting)) && c->due_us < next)
			next = c->due_us;
	}
	return next > now ? next - now : 0;
}

static bool any_busy(void)
{
	for (int i = 0; i < it.n_connections; i++)
		if (it.list[i].busy)
			return true;
	return false;
}

/* --- telling --- */

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t at(double share)
{
	const struct answers *a = &it.answers;
	size_t i = (size_t)(share * (double)a->n);

	return a->n ? a->latency_us[i < a->n ? i : a->n - 1] : 0;
}

static void tell(double seconds)
{
	qsort(it.answers.latency_us, it.answers.n, sizeof(uint32_t), by_size);
	printf("{\"answers\": %zu, \"ok\": %llu, \"status_4xx\": %llu, \"status_5xx\": %llu, \"cut\": %llu, "
	       "\"refused\": "
	       "%llu, \"seconds\": %.3f, \"p50_us\": %u, \"p90_us\": %u, \"p99_us\": %u, \"p999_us\": %u, \"max_us\": "
	       "%u}\n",
	       it.answers.n, (unsigned long long)it.n_status[2], (unsigned long long)it.n_status[4],
	       (unsigned long long)it.n_status[5], (unsigned long long)it.n_cut, (unsigned long long)it.n_refused,
	       seconds, at(0.5), at(0.9), at(0.99), at(0.999), at(1));
}

static char *slurp(const char *path, size_t *ret_n)
{
	FILE *f = fopen(path, "rb");
	char *text = malloc(ANSWER_MAX);

	if (!f || !text)
		fail(path);
	*ret_n = fread(text, 1, ANSWER_MAX, f);
	fclose(f);
	return text;
}

static void make_request(void)
{
	size_t n = 0;
	char *body = it.body ? slurp(it.body, &n) : NULL;
	int n_head;

	it.request = malloc(n + 8192);
	if (!it.request)
		fail("memory");
	n_head = snprintf(it.request, 8192, "%s %s HTTP/1.1\r\nHost: muster\r\n%s%s", it.method, it.path, it.header,
			  *it.header ? "\r\n" : "");
	n_head += snprintf(it.request + n_head, 8192 - (size_t)n_head,
			   body ? "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n" : "\r\n", n);
	if (n)
		memcpy(it.request + n_head, body, n);
	it.n_request = (size_t)n_head + n;
	free(body);
}

static void options(int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "c:d:r:m:p:b:o:h:")) != -1) {
		switch (o) {
		case 'c':
			it.n_connections = atoi(optarg);
			break;
		case 'd':
			it.seconds = atof(optarg);
			break;
		case 'r':
			it.rate = atof(optarg);
			break;
		case 'm':
			it.method = optarg;
			break;
		case 'p':
			it.path = optarg;
			break;
		case 'b':
			it.body = optarg;
			break;
		case 'o':
			it.out = optarg;
			break;
		case 'h':
			it.header = optarg;
			break;
		default:
			optind = argc;
		}
	}
	if (optind != argc - 1 || it.n_connections < 1 || it.n_connections > 20000) {
		fprintf(stderr,
			"usage: load [-c CONNECTIONS] [-d SECONDS] [-r REQUESTS_A_SECOND] [-m METHOD] [-p PATH]\n"
			"            [-b FILE_OF_BODY] [-h HEADER] [-o FILE_OF_ANSWERS] PORT\n");
		exit(2);
	}
	it.port = atoi(argv[optind]);
}

static void run(int64_t end_us)
{
	struct epoll_event events[256];
	int64_t now = now_us();

	while ((!is_over && now < end_us) || (any_busy() && now < end_us + 5000000)) {
		int64_t wait_us = 10000;
		struct timespec wait;
		int n;

		if (now >= end_us)
			is_over = 1;
		if (!is_over) {
			wait_us = tend(now);
			if (wait_us > end_us - now)
				wait_us = end_us - now;
		} else if (end_us > now) {
			end_us = now;
		}
		wait = (struct timespec){.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
		n = epoll_pwait2(it.epoll, events, 256, &wait, NULL);
		for (int i = 0; i < n; i++)
			on_event(events[i].data.ptr, events[i].events);
		now = now_us();
	}
}

int main(int argc, char **argv)
{
	struct sigaction ends = {.sa_handler = on_signal};
	int64_t begun = now_us(), ended;

	options(argc, argv);
	make_request();
	sigaction(SIGTERM, &ends, NULL);
	sigaction(SIGINT, &ends, NULL);
	it.epoll = epoll_create1(EPOLL_CLOEXEC);
	it.list = calloc((size_t)it.n_connections, sizeof(*it.list));
	if (it.epoll < 0 || !it.list)
		fail("epoll");
	for (int i = 0; i < it.n_connections; i++) {
		it.list[i].fd = -1;
		it.list[i].in = malloc(ANSWER_MAX); /* untouched pages cost nothing */
		if (!it.list[i].in)
			fail("memory");
		if (it.rate > 0) /* spread over the time that one round of all takes */
			it.list[i].due_us = begun + (int64_t)(1e6 * i / it.rate);
	}
	if (it.out && !(it.file = fopen(it.out, "w")))
		fail(it.out);
	run(begun + (int64_t)(it.seconds * 1e6));
	ended = now_us();
	if (it.file && fclose(it.file))
		fail(it.out);
	tell((double)(ended - begun) / 1e6);
	return 0;
}
