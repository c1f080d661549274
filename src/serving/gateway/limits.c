/* SPDX-License-Identifier: Apache-2.0 */
/* Rates of keys, shared by the loops: see limits.h for why. */
#include "serving/gateway/limits.h"

#include <pthread.h>
#include <stdlib.h>

#include "serving/gateway/gateway.h"

#define NS_PER_MS 1000000

struct gateway_limits {
	pthread_mutex_t lock; /* snapshots may be prepared on several job threads; no loop takes it */
	struct map by_id;     /* bytes of the id -> struct key_limits, with a reference */
};

struct gateway_limits *gateway_limits_new(void)
{
	struct gateway_limits *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	pthread_mutex_init(&l->lock, NULL);
	map_init(&l->by_id);
	return l;
}

void limits_unref(struct key_limits *k)
{
	if (k && atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) == 1)
		free(k);
}

void gateway_limits_free(struct gateway_limits *l)
{
	struct map_entry *e;

	if (!l)
		return;
	for (size_t i = 0; map_next(&l->by_id, &i, &e);)
		limits_unref(e->value);
	map_release(&l->by_id);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static struct slice bytes_of(const struct uuid *id)
{
	return (struct slice){(const char *)id->b, sizeof(id->b)};
}

static struct key_limits *find_or_make(struct gateway_limits *l, const struct uuid *id)
{
	struct key_limits *k = l ? map_get(&l->by_id, bytes_of(id)) : NULL;

	if (k) {
		atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
		return k;
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		abort();
	k->id = *id;
	atomic_init(&k->refs, l ? 2 : 1); /* the registry's, and the caller's */
	if (l)
		(void)map_put(&l->by_id, bytes_of(&k->id), k); /* it was not there */
	return k;
}

/* One that only the registry holds, or NULL. */
static struct key_limits *find_unused(struct gateway_limits *l)
{
	struct map_entry *e;

	for (size_t i = 0; map_next(&l->by_id, &i, &e);) {
		struct key_limits *k = e->value;

		if (atomic_load_explicit(&k->refs, memory_order_acquire) == 1)
			return k;
	}
	return NULL;
}

void limits_prepare(struct gateway_limits *l, struct snapshot *s)
{
	struct key_limits *unused;

	if (l)
		pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < s->n_keys; i++)
		s->keys[i].limits = find_or_make(l, &s->keys[i].key.id);
	while (l && (unused = find_unused(l))) {
		(void)map_del(&l->by_id, bytes_of(&unused->id)); /* it is the one that was found */
		limits_unref(unused);
	}
	if (l)
		pthread_mutex_unlock(&l->lock);
}

/* --- on loops --- */

static bool take(_Atomic int64_t *at, int64_t per_minute, int64_t now_ns)
{
	int64_t was = atomic_load_explicit(at, memory_order_relaxed);
	struct rate_state s;

	do {
		s.full_at_ns = was;
		if (!rate_take(&s, per_minute, 1, now_ns))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(at, &was, s.full_at_ns, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

static struct rate_state state_of(const _Atomic int64_t *at)
{
	return (struct rate_state){atomic_load_explicit(at, memory_order_relaxed)};
}

struct limit_verdict limits_take(const struct snapshot_key *k, int64_t now_ms)
{
	struct limit_verdict v = {LIMITED_BY_NOTHING, 0};
	int64_t now_ns = now_ms * NS_PER_MS;
	struct key_limits *l = k ? k->limits : NULL;

	if (!l)
		return v;
	if (k->key.tokens_per_minute &&
	    !rate_remaining(state_of(&l->tokens_full_at_ns), k->key.tokens_per_minute, now_ns))
		v = (struct limit_verdict){LIMITED_BY_TOKENS, rate_wait_ms(state_of(&l->tokens_full_at_ns),
									   k->key.tokens_per_minute, 1, now_ns)};
	else if (k->key.requests_per_minute && !take(&l->requests_full_at_ns, k->key.requests_per_minute, now_ns))
		v = (struct limit_verdict){LIMITED_BY_REQUESTS, rate_wait_ms(state_of(&l->requests_full_at_ns),
									     k->key.requests_per_minute, 1, now_ns)};
	return v;
}

void limits_charge_tokens(const struct snapshot_key *k, int64_t n, int64_t now_ms)
{
	struct key_limits *l = k && k->key.tokens_per_minute && n > 0 ? k->limits : NULL;
	struct rate_state s;
	int64_t was;

	if (!l)
		return;
	was = atomic_load_explicit(&l->tokens_full_at_ns, memory_order_relaxed);
	do {
		s.full_at_ns = was;
		rate_charge(&s, k->key.tokens_per_minute, n, now_ms * NS_PER_MS);
	} while (!atomic_compare_exchange_weak_explicit(&l->tokens_full_at_ns, &was, s.full_at_ns, memory_order_relaxed,
							memory_order_relaxed));
}

/* "20ms", "7s", "1m30s" */
static const char *duration(struct arena *a, int64_t ms)
{
	int64_t s = (ms + 999) / 1000;

	if (ms < 1000)
		return arena_printf(a, "%lldms", (long long)ms);
	if (s < 60)
		return arena_printf(a, "%llds", (long long)s);
	return arena_printf(a, "%lldm%llds", (long long)(s / 60), (long long)(s % 60));
}

struct limit_names {
	struct slice limit, remaining, reset;
};

static size_t put(struct http_header *h, const struct limit_names *names, int64_t per_minute, struct rate_state s,
		  int64_t now_ns, struct arena *a)
{
	h[0] = (struct http_header){names->limit, slice_from(arena_printf(a, "%lld", (long long)per_minute))};
	h[1] = (struct http_header){
		names->remaining,
		slice_from(arena_printf(a, "%lld", (long long)rate_remaining(s, per_minute, now_ns)))};
	h[2] = (struct http_header){names->reset, slice_from(duration(a, rate_reset_ms(s, now_ns)))};
	return h[0].value.n && h[1].value.n && h[2].value.n ? 3 : 0;
}

size_t limits_headers(const struct snapshot_key *k, int64_t now_ms, struct arena *a,
		      struct http_header h[LIMIT_HEADERS])
{
	static const struct limit_names requests = {SLICE_LIT("x-ratelimit-limit-requests"),
						    SLICE_LIT("x-ratelimit-remaining-requests"),
						    SLICE_LIT("x-ratelimit-reset-requests")};
	static const struct limit_names tokens = {SLICE_LIT("x-ratelimit-limit-tokens"),
						  SLICE_LIT("x-ratelimit-remaining-tokens"),
						  SLICE_LIT("x-ratelimit-reset-tokens")};
	struct key_limits *l = k ? k->limits : NULL;
	int64_t now_ns = now_ms * NS_PER_MS;
	size_t n = 0;

	if (l && k->key.requests_per_minute)
		n += put(h, &requests, k->key.requests_per_minute, state_of(&l->requests_full_at_ns), now_ns, a);
	if (l && k->key.tokens_per_minute)
		n += put(h + n, &tokens, k->key.tokens_per_minute, state_of(&l->tokens_full_at_ns), now_ns, a);
	return n;
}
