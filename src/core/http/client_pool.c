/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idle connections, per origin, last in first out: the warmest is used, and what the load no longer needs grows old and
 * is closed.
 *
 * What would break it: a connection in an idle list that is not in state UP_IDLE, or one that still has bytes to read.
 */
#include "core/http/client_internal.h"

struct pool *pool_get(struct http_client *c, const struct http_origin *o)
{
	struct slice key = slice_from(o->key);
	struct pool *p = map_get(&c->pools, key);

	if (p)
		return p;
	p = calloc(1, sizeof(*p) + key.n + 1);
	if (!p)
		abort();
	p->client = c;
	memcpy(p->key, key.p, key.n + 1);
	map_put(&c->pools, (struct slice){p->key, key.n}, p);
	return p;
}

/* A connection has let go of it. */
void pool_unref(struct pool *p)
{
	if (--p->n_ups)
		return;
	map_del(&p->client->pools, slice_from(p->key));
	free(p);
}

static void count_idle(struct up *u, int by)
{
	struct http_client *c = u->client;

	u->pool->n_idle += (unsigned)by;
	c->n_idle += (unsigned)by;
	counter_set(&c->stats.idle, c->n_idle);
}

void pool_remove(struct up *u)
{
	*u->prev = u->next;
	if (u->next)
		u->next->prev = u->prev;
	u->prev = NULL;
	u->next = NULL;
	count_idle(u, -1);
}

struct up *pool_take(struct pool *p)
{
	struct up *u = p->idle;

	if (u)
		pool_remove(u);
	return u;
}

bool pool_put(struct up *u)
{
	struct pool *p = u->pool;

	if (p->n_idle >= u->client->options.max_idle_per_origin)
		return false;
	u->next = p->idle;
	u->prev = &p->idle;
	if (u->next)
		u->next->prev = &u->next;
	p->idle = u;
	count_idle(u, 1);
	return true;
}

bool pool_evict(struct http_client *c)
{
	struct map_entry *e;

	if (!c->n_idle)
		return false;
	for (size_t i = 0; map_next(&c->pools, &i, &e);) {
		struct pool *p = e->value;

		if (p->idle) {
			up_close(p->idle);
			return true;
		}
	}
	return false;
}

void pool_close_idle(struct http_client *c)
{
	while (pool_evict(c))
		;
}

void pool_thin_out(struct http_client *c, unsigned keep)
{
	struct map_entry *e;

	for (size_t i = 0; map_next(&c->pools, &i, &e);) {
		struct pool *p = e->value;
		struct up *last = p->idle, *older;

		for (unsigned n = 1; last && n < keep; n++)
			last = last->next;
		while (last && (older = last->next))
			up_close(older); /* the pool stays: the last belongs to it */
	}
}
