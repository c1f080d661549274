/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model behind the bench: answers every POST with the same chat completion, or with the same SSE stream when the
 * body asks for one, over keep-alive connections.  One thread, epoll, no parsing beyond what framing needs: it must
 * cost much less than what is measured in front of it.  Trusts its callers; not for use outside the bench.
 *
 *   upstream PORT        prints "ready" once it listens on 127.0.0.1:PORT
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FD 4096
#define MAX_REQUEST (1024 * 1024)

static const char text[] =
	"Once upon a time, in a small house near the forest, there lived a girl named Lily. She loved to walk under "
	"the "
	"tall trees and to listen to the birds. One morning she found a little red box on the path. She opened it, and "
	"inside there was a shiny key. Lily smiled and ran home to show it to her mother.";

struct conn {
	char *data;
	size_t len, size;
};

static struct conn conns[MAX_FD];
static char whole[4096], stream[65536];
static size_t whole_len, stream_len;

static void make_answers(void)
{
	char body[2048];
	int n = snprintf(
		body, sizeof(body),
		"{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"tiny\","
		"\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
		"\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":250,\"completion_tokens\":70,"
		"\"total_tokens\":320}}",
		text);
	char *p = stream;

	whole_len = (size_t)snprintf(
		whole, sizeof(whole),
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n, body);
	p += sprintf(p, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (const char *word = text; *word;) {
		size_t len = strcspn(word, " ") + 1;
		char event[512];

		if (len > strlen(word))
			len = strlen(word);
		n = snprintf(event, sizeof(event),
			     "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
			     "\"model\":\"tiny\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%.*s\"},"
			     "\"finish_reason\":null}]}\n\n",
			     (int)len, word);
		p += sprintf(p, "%x\r\n%s\r\n", (unsigned)n, event);
		word += len;
	}
	n = snprintf(body, sizeof(body),
		     "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
		     "\"model\":\"tiny\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
		     "data: [DONE]\n\n");
	p += sprintf(p, "%x\r\n%s\r\n0\r\n\r\n", (unsigned)n, body);
	stream_len = (size_t)(p - stream);
}

static void drop(int fd)
{
	conns[fd].len = 0;
	close(fd);
}

static int send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			usleep(100);
			continue;
		}
		if (n <= 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Bytes of the first request in c, 0 when it is not all there. */
static size_t request_size(const struct conn *c, const char **ret_body)
{
	const char *end = memmem(c->data, c->len, "\r\n\r\n", 4);
	size_t length = 0, head;

	if (!end)
		return 0;
	head = (size_t)(end - c->data) + 4;
	for (const char *p = c->data; p < end;) {
		const char *eol = memchr(p, '\n', (size_t)(end - p) + 2);

		if (!strncasecmp(p, "content-length:", 15))
			length = strtoul(p + 15, NULL, 10);
		p = eol + 1;
	}
	*ret_body = c->data + head;
	return c->len >= head + length ? head + length : 0;
}

static void on_readable(int fd)
{
	struct conn *c = &conns[fd];
	const char *body = NULL;
	size_t used;
	ssize_t n;

	if (c->len == c->size) {
		c->size = c->size ? c->size * 2 : 65536;
		c->data = c->size > MAX_REQUEST ? NULL : realloc(c->data, c->size);
		if (!c->data)
			exit(1);
	}
	n = recv(fd, c->data + c->len, c->size - c->len, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		drop(fd);
		return;
	}
	c->len += (size_t)n;
	while ((used = request_size(c, &body))) {
		size_t body_len = used - (size_t)(body - c->data);
		int streams = memmem(body, body_len, "\"stream\":true", 13) != NULL;

		if (send_all(fd, streams ? stream : whole, streams ? stream_len : whole_len) < 0) {
			drop(fd);
			return;
		}
		c->len -= used;
		memmove(c->data, c->data + used, c->len);
	}
}

static int listen_on(const char *port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	addr.sin_port = htons((unsigned short)atoi(port));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1024) < 0) {
		perror("upstream");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	int listener = listen_on(argc > 1 ? argv[1] : "4510"), epoll = epoll_create1(0), on = 1;
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};

	make_answers();
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct epoll_event events[256];
		int n = epoll_wait(epoll, events, 256, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd != listener) {
				on_readable(fd);
				continue;
			}
			while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
				if (fd >= MAX_FD) {
					close(fd);
					continue;
				}
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
				event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
				epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
			}
		}
	}
}
