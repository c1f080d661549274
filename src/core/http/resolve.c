/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses: numeric ones at once, others on libuv's thread pool, with a bounded cache.
 *
 * What would break it: freeing an entry whose lookup still runs.  An entry of a client that has gone lives until its
 * lookup ends.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>

#include "core/http/client_internal.h"

#define RESOLVE_FAILURE_TTL_MS 1000

struct name {
	struct http_client *client; /* NULL: it has gone */
	struct up_addrs addrs;
	int64_t expires_ms;
	int error; /* of uv_getaddrinfo; 0: addrs hold */
	bool running;
	struct up *waiting;
	uv_getaddrinfo_t req;
	char host[];
};

static void name_drop(struct name *n)
{
	map_del(&n->client->names, slice_from(n->host));
	n->client = NULL;
	if (!n->running)
		free(n);
}

static void take_addresses(struct name *n, const struct addrinfo *res)
{
	n->addrs.n = 0;
	for (; res && n->addrs.n < RESOLVE_MAX_ADDRS; res = res->ai_next)
		if ((res->ai_family == AF_INET || res->ai_family == AF_INET6) &&
		    res->ai_addrlen <= sizeof(union up_addr))
			memcpy(&n->addrs.addr[n->addrs.n++], res->ai_addr, res->ai_addrlen);
}

static void set_port(struct up *u)
{
	for (int i = 0; i < u->addrs->n; i++) {
		union up_addr *a = &u->addrs->addr[i];

		if (a->any.sa_family == AF_INET6)
			a->v6.sin6_port = htons(u->call->origin->port);
		else
			a->v4.sin_port = htons(u->call->origin->port);
	}
}

static void wait_link(struct up *u, struct name *n)
{
	u->next = n->waiting;
	u->prev = &n->waiting;
	if (u->next)
		u->next->prev = &u->next;
	n->waiting = u;
}

void resolve_cancel(struct up *u)
{
	if (!u->prev)
		return;
	*u->prev = u->next;
	if (u->next)
		u->next->prev = u->prev;
	u->prev = NULL;
	u->next = NULL;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct name *n = CONTAINER_OF(req, struct name, req);
	struct http_client *c = n->client;
	struct up *u;

	n->running = false;
	take_addresses(n, status ? NULL : res);
	uv_freeaddrinfo(res);
	if (!c) {
		free(n);
		return;
	}
	n->error = status ? status : (n->addrs.n ? 0 : UV_EAI_NODATA);
	n->expires_ms = loop_now_ms(c->loop) + (n->error ? RESOLVE_FAILURE_TTL_MS : c->options.resolve_ttl_ms);
	while ((u = n->waiting)) {
		resolve_cancel(u);
		*u->addrs = n->addrs;
		set_port(u);
		up_resolved(u, n->error ? E_UNAVAILABLE : 0, n->error ? uv_strerror(n->error) : NULL);
	}
}

/* Makes room for one more name: expired ones go first. */
static bool names_make_room(struct http_client *c)
{
	struct map_entry *e;
	struct name *victim = NULL;
	int64_t now = loop_now_ms(c->loop);

	if (c->names.n < RESOLVE_MAX_NAMES)
		return true;
	for (size_t i = 0; map_next(&c->names, &i, &e);) {
		struct name *n = e->value;

		if (!n->running && (!victim || n->expires_ms < now))
			victim = n;
	}
	if (!victim)
		return false;
	name_drop(victim);
	return true;
}

static bool numeric(struct up *u)
{
	union up_addr *a = &u->addrs->addr[0];
	const char *host = u->call->origin->host;

	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1)
		a->v4.sin_family = AF_INET;
	else if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1)
		a->v6.sin6_family = AF_INET6;
	else
		return false;
	u->addrs->n = 1;
	set_port(u);
	return true;
}

static struct name *name_new(struct http_client *c, const char *host)
{
	size_t size = strlen(host) + 1;
	struct name *n = calloc(1, sizeof(*n) + size);

	if (!n)
		abort();
	memcpy(n->host, host, size);
	n->client = c;
	map_put(&c->names, slice_from(n->host), n);
	return n;
}

int resolve_start(struct up *u, const char **ret_why)
{
	static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct http_client *c = u->client;
	const char *host = u->call->origin->host;
	struct name *n;
	int rc;

	if (numeric(u))
		return 0;
	n = map_get(&c->names, slice_from(host));
	if (n && !n->running && n->expires_ms > loop_now_ms(c->loop)) {
		if (n->error) {
			*ret_why = uv_strerror(n->error);
			return E_UNAVAILABLE;
		}
		*u->addrs = n->addrs;
		set_port(u);
		return 0;
	}
	if (!n) {
		if (!names_make_room(c)) {
			*ret_why = "too many names are being looked up";
			return E_UNAVAILABLE;
		}
		n = name_new(c, host);
	}
	if (!n->running) {
		rc = uv_getaddrinfo(loop_uv(c->loop), &n->req, on_resolved, n->host, NULL, &hints);
		if (rc) {
			name_drop(n);
			*ret_why = uv_strerror(rc);
			return E_UNAVAILABLE;
		}
		n->running = true;
	}
	wait_link(u, n);
	return E_AGAIN;
}

void resolve_forget(struct http_client *c, const char *host)
{
	struct name *n = map_get(&c->names, slice_from(host));

	if (n && !n->running)
		name_drop(n);
}

void resolve_release(struct http_client *c)
{
	struct map_entry *e;

	for (size_t i = 0; map_next(&c->names, &i, &e);) {
		struct name *n = e->value;

		assert(!n->waiting);
		n->client = NULL;
		if (!n->running)
			free(n);
	}
	map_release(&c->names);
}
