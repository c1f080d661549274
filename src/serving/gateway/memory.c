/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered between snapshots: see memory.h. */
#include "serving/gateway/memory.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/base/map.h"
#include "serving/gateway/gateway.h"

struct gateway_memory {
	pthread_mutex_t lock; /* snapshots may be prepared on several job threads; no loop takes it */
	struct map upstreams, routes;
	_Atomic uint32_t in_flight; /* of all routes */
};

struct gateway_memory *gateway_memory_new(void)
{
	struct gateway_memory *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	pthread_mutex_init(&m->lock, NULL);
	map_init(&m->upstreams);
	map_init(&m->routes);
	return m;
}

void memory_unref(void *remembered)
{
	struct remembered *r = remembered;

	if (r && atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1)
		free(r);
}

static void release(struct map *m)
{
	struct map_entry *e;

	for (size_t i = 0; map_next(m, &i, &e);)
		memory_unref(e->value);
	map_release(m);
}

void gateway_memory_free(struct gateway_memory *m)
{
	if (!m)
		return;
	release(&m->upstreams);
	release(&m->routes);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static struct remembered *make(const char *key, size_t size)
{
	struct remembered *r = calloc(1, size);

	if (!r)
		abort();
	snprintf(r->key, sizeof(r->key), "%s", key);
	atomic_init(&r->refs, 1);
	return r;
}

static void *find_or_make(struct gateway_memory *m, struct map *in, const char *key, size_t size)
{
	struct remembered *r;

	pthread_mutex_lock(&m->lock);
	r = map_get(in, slice_from(key));
	if (!r) {
		r = make(key, size);
		(void)map_put(in, slice_from(r->key), r); /* it was not there */
	}
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	pthread_mutex_unlock(&m->lock);
	return r;
}

struct upstream_memory *memory_of_upstream(struct gateway_memory *m, const char *key)
{
	size_t size = sizeof(struct upstream_memory);

	return m ? find_or_make(m, &m->upstreams, key, size) : (void *)make(key, size);
}

struct route_memory *memory_of_route(struct gateway_memory *m, const char *key)
{
	size_t size = sizeof(struct route_memory);
	struct route_memory *r = m ? find_or_make(m, &m->routes, key, size) : (void *)make(key, size);

	if (m && !r->daemon)
		r->daemon = &m->in_flight;
	return r;
}

/* One that only the memory holds, or NULL. */
static struct remembered *find_unused(const struct map *in)
{
	struct map_entry *e;

	for (size_t i = 0; map_next(in, &i, &e);) {
		struct remembered *r = e->value;

		if (atomic_load_explicit(&r->refs, memory_order_acquire) == 1)
			return r;
	}
	return NULL;
}

static void tidy(struct map *in)
{
	struct remembered *unused;

	while ((unused = find_unused(in))) {
		(void)map_del(in, slice_from(unused->key)); /* it is the one that was found */
		memory_unref(unused);
	}
}

void memory_tidy(struct gateway_memory *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	tidy(&m->upstreams);
	tidy(&m->routes);
	pthread_mutex_unlock(&m->lock);
}

/* --- on loops --- */

static bool swap(_Atomic uint64_t *at, uint64_t *was, uint64_t now)
{
	return *was == now ||
	       atomic_compare_exchange_weak_explicit(at, was, now, memory_order_relaxed, memory_order_relaxed);
}

enum breaker_pass upstream_admit(struct upstream_memory *u, int64_t now_ms, uint32_t random)
{
	uint64_t was = u ? atomic_load_explicit(&u->breaker, memory_order_relaxed) : 0;
	enum breaker_pass pass = BREAKER_LET_THROUGH;
	struct breaker_state s;

	if (!was)
		return pass;
	do {
		s.bits = was;
		pass = breaker_admit(&s, now_ms, random);
	} while (!swap(&u->breaker, &was, s.bits));
	return pass;
}

void upstream_fault(struct upstream_memory *u, enum breaker_pass as, int64_t now_ms)
{
	uint64_t was = u ? atomic_load_explicit(&u->breaker, memory_order_relaxed) : 0;
	struct breaker_state s;
	bool opened;

	if (!u)
		return;
	do {
		s.bits = was;
		opened = breaker_fault(&s, as, now_ms);
	} while (!swap(&u->breaker, &was, s.bits));
	if (opened)
		atomic_fetch_add_explicit(&u->opened, 1, memory_order_relaxed);
}

/* One that is well, and on which nothing is counted, stays as it is. */
static void tell(struct upstream_memory *u, void (*move)(struct breaker_state *s, enum breaker_pass as, int64_t now_ms),
		 enum breaker_pass as, int64_t now_ms)
{
	uint64_t was = u ? atomic_load_explicit(&u->breaker, memory_order_relaxed) : 0;
	struct breaker_state s;

	if (!was)
		return;
	do {
		s.bits = was;
		move(&s, as, now_ms);
	} while (!swap(&u->breaker, &was, s.bits));
}

void upstream_good(struct upstream_memory *u, enum breaker_pass as, int64_t now_ms)
{
	tell(u, breaker_good, as, now_ms);
}

void upstream_untold(struct upstream_memory *u, enum breaker_pass as, int64_t now_ms)
{
	tell(u, breaker_untold, as, now_ms);
}

void upstream_rest(struct upstream_memory *u, int64_t now_ms, int64_t for_ms)
{
	if (u && for_ms > 0)
		atomic_store_explicit(&u->resting_until_ms, now_ms + for_ms, memory_order_relaxed);
}

bool upstream_is_resting(const struct upstream_memory *u, int64_t now_ms)
{
	return u && now_ms < atomic_load_explicit(&u->resting_until_ms, memory_order_relaxed);
}

int64_t upstream_wait_ms(const struct upstream_memory *u, int64_t now_ms)
{
	struct breaker_state s = {u ? atomic_load_explicit(&u->breaker, memory_order_relaxed) : 0};
	int64_t rest = u ? atomic_load_explicit(&u->resting_until_ms, memory_order_relaxed) - now_ms : 0;
	int64_t wait = breaker_wait_ms(s, now_ms);

	return rest > wait ? rest : wait;
}

void route_deposit(struct route_memory *r, int64_t now_ms)
{
	uint64_t was = r ? atomic_load_explicit(&r->retries, memory_order_relaxed) : 0;
	struct retry_budget b;

	if (!r)
		return;
	do {
		b.bits = was;
		retry_deposit(&b, now_ms);
	} while (!swap(&r->retries, &was, b.bits));
}

bool route_withdraw(struct route_memory *r, int64_t now_ms)
{
	uint64_t was = r ? atomic_load_explicit(&r->retries, memory_order_relaxed) : 0;
	struct retry_budget b;
	bool there;

	if (!r)
		return false;
	do {
		b.bits = was;
		there = retry_withdraw(&b, now_ms);
	} while (!swap(&r->retries, &was, b.bits));
	return there;
}
