/* SPDX-License-Identifier: Apache-2.0 */
/* Rates of keys, shared by the loops: see limits.h for why. */
#include "serving/gateway/limits.h"

#include <pthread.h>
#include <stdlib.h>

#include "serving/gateway/gateway.h"
#include "serving/resilience/share.h"

#define NS_PER_MS 1000000

struct gateway_limits {
	pthread_mutex_t lock; /* snapshots may be prepared on several job threads; no loop takes it */
	struct map by_id;     /* bytes of the id -> struct key_limits, with a reference */
	unsigned divisor;     /* of what a new key begins with; 0: it has the whole */
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

static void limit_init(const struct gateway_limits *l, struct key_limit *k, int64_t per_minute)
{
	int64_t part = l && l->divisor ? per_minute / l->divisor : GATEWAY_WHOLE;

	k->per_minute = per_minute;
	atomic_init(&k->share, part ? part : 1);
}

static struct key_limits *find_or_make(struct gateway_limits *l, const struct key *key)
{
	const struct uuid *id = &key->id;
	struct key_limits *k = l ? map_get(&l->by_id, bytes_of(id)) : NULL;

	if (k) {
		atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
		return k;
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		abort();
	k->id = *id;
	limit_init(l, &k->requests, key->requests_per_minute);
	limit_init(l, &k->tokens, key->tokens_per_minute);
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
		s->keys[i].limits = find_or_make(l, &s->keys[i].key);
	while (l && (unused = find_unused(l))) {
		(void)map_del(&l->by_id, bytes_of(&unused->id)); /* it is the one that was found */
		limits_unref(unused);
	}
	if (l)
		pthread_mutex_unlock(&l->lock);
}

/* --- what is lent --- */

#define NS_PER_US 1000

void gateway_limits_begin_with(struct gateway_limits *l, unsigned divisor)
{
	pthread_mutex_lock(&l->lock);
	l->divisor = divisor;
	pthread_mutex_unlock(&l->lock);
}

static struct key_limit *limit_of(const struct gateway_rate *r)
{
	return r->is_tokens ? &r->of->tokens : &r->of->requests;
}

static int64_t missing_ns(const struct key_limit *k, int64_t now_ns)
{
	int64_t at = atomic_load_explicit(&k->full_at_ns, memory_order_relaxed);

	return at > now_ns ? at - now_ns : 0;
}

int64_t gateway_rate_missing_us(const struct gateway_rate *r, int64_t now_ms)
{
	return (missing_ns(limit_of(r), now_ms * NS_PER_MS) + NS_PER_US - 1) / NS_PER_US;
}

static bool list_one(struct gateway_rate *r, struct key_limits *of, bool is_tokens, int64_t now_ms)
{
	struct key_limit *k = is_tokens ? &of->tokens : &of->requests;

	if (!k->per_minute)
		return false;
	*r = (struct gateway_rate){.of = of, .is_tokens = is_tokens, .per_minute = k->per_minute};
	uuid_format(&of->id, r->key);
	r->share = atomic_load_explicit(&k->share, memory_order_relaxed);
	r->asked = atomic_exchange_explicit(&k->asked, 0, memory_order_relaxed);
	r->refused = atomic_exchange_explicit(&k->refused, false, memory_order_relaxed);
	r->missing_us = gateway_rate_missing_us(r, now_ms);
	atomic_fetch_add_explicit(&of->refs, 1, memory_order_relaxed);
	return true;
}

struct gateway_rate *gateway_rates_list(struct gateway_limits *l, int64_t now_ms, size_t *ret_n)
{
	struct gateway_rate *list;
	struct map_entry *e;
	size_t n = 0;

	pthread_mutex_lock(&l->lock);
	list = calloc(2 * l->by_id.n + 1, sizeof(*list));
	if (!list)
		abort();
	for (size_t i = 0; map_next(&l->by_id, &i, &e);)
		for (int tokens = 0; tokens < 2; tokens++)
			n += list_one(&list[n], e->value, tokens, now_ms);
	pthread_mutex_unlock(&l->lock);
	*ret_n = n;
	return list;
}

void gateway_rates_free(struct gateway_rate *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		limits_unref(list[i].of);
	free(list);
}

void gateway_rate_set(const struct gateway_rate *r, int64_t share)
{
	atomic_store_explicit(&limit_of(r)->share, share, memory_order_relaxed);
}

/* Of a share of 0 nothing can be taken, but what was under way is charged: at one a minute. */
static int64_t rate_of(const struct key_limit *k)
{
	int64_t share = atomic_load_explicit(&k->share, memory_order_relaxed);

	return share < 0 || share > k->per_minute ? k->per_minute : share > 0 ? share : 1;
}

static bool has_none(const struct key_limit *k)
{
	return atomic_load_explicit(&k->share, memory_order_relaxed) == 0;
}

/* Loops go on taking meanwhile: what they take between the two stores is counted at the old rate. */
void gateway_rate_join(const struct gateway_rate *r, int64_t share, struct share_part more, int64_t now_ms)
{
	struct key_limit *k = limit_of(r);
	int64_t now_ns = now_ms * NS_PER_MS, was = atomic_load_explicit(&k->full_at_ns, memory_order_relaxed), after;

	do {
		int64_t missing = was > now_ns ? was - now_ns : 0;
		__int128 owed = (__int128)rate_of(k) * missing + (__int128)more.amount * more.missing * NS_PER_US;

		owed = share > 0 ? (owed + share - 1) / share : missing;
		after = now_ns + (owed > RATE_DEBT_MAX_NS ? RATE_DEBT_MAX_NS : (int64_t)owed);
	} while (!atomic_compare_exchange_weak_explicit(&k->full_at_ns, &was, after, memory_order_relaxed,
							memory_order_relaxed));
	gateway_rate_set(r, share);
}

/* --- on loops --- */

#define ASK_AGAIN_MS 1000 /* of a share that is none: another round of lending is over then */

static bool take(struct key_limit *k, int64_t now_ns)
{
	int64_t was = atomic_load_explicit(&k->full_at_ns, memory_order_relaxed);
	struct rate_state s;

	do {
		s.full_at_ns = was;
		if (!rate_take(&s, rate_of(k), 1, now_ns))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&k->full_at_ns, &was, s.full_at_ns, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

static struct rate_state state_of(const struct key_limit *k)
{
	return (struct rate_state){atomic_load_explicit(&k->full_at_ns, memory_order_relaxed)};
}

static struct limit_verdict refuse(struct key_limit *k, enum limited_by by, int64_t now_ns)
{
	int64_t wait_ms = has_none(k) ? ASK_AGAIN_MS : rate_wait_ms(state_of(k), rate_of(k), 1, now_ns);

	atomic_store_explicit(&k->refused, true, memory_order_relaxed);
	return (struct limit_verdict){by, wait_ms};
}

static void note_asked(struct key_limit *k, int64_t n)
{
	atomic_fetch_add_explicit(&k->asked, n, memory_order_relaxed);
}

struct limit_verdict limits_take(const struct snapshot_key *k, int64_t now_ms)
{
	struct limit_verdict v = {LIMITED_BY_NOTHING, 0};
	int64_t now_ns = now_ms * NS_PER_MS;
	struct key_limits *l = k ? k->limits : NULL;

	if (!l)
		return v;
	if (l->requests.per_minute)
		note_asked(&l->requests, 1);
	if (l->tokens.per_minute &&
	    (has_none(&l->tokens) || !rate_remaining(state_of(&l->tokens), rate_of(&l->tokens), now_ns)))
		return refuse(&l->tokens, LIMITED_BY_TOKENS, now_ns);
	if (l->requests.per_minute && (has_none(&l->requests) || !take(&l->requests, now_ns)))
		return refuse(&l->requests, LIMITED_BY_REQUESTS, now_ns);
	return v;
}

void limits_charge_tokens(const struct snapshot_key *k, int64_t n, int64_t now_ms)
{
	struct key_limits *of = k && n > 0 ? k->limits : NULL;
	struct key_limit *l = of && of->tokens.per_minute ? &of->tokens : NULL;
	struct rate_state s;
	int64_t was;

	if (!l)
		return;
	note_asked(l, n > l->per_minute ? l->per_minute : n);
	was = atomic_load_explicit(&l->full_at_ns, memory_order_relaxed);
	do {
		s.full_at_ns = was;
		rate_charge(&s, rate_of(l), n, now_ms * NS_PER_MS);
	} while (!atomic_compare_exchange_weak_explicit(&l->full_at_ns, &was, s.full_at_ns, memory_order_relaxed,
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

static size_t put(struct http_header *h, const struct limit_names *names, const struct key_limit *k, int64_t now_ns,
		  struct arena *a)
{
	int64_t left = has_none(k) ? 0 : rate_remaining(state_of(k), rate_of(k), now_ns);

	h[0] = (struct http_header){names->limit, slice_from(arena_printf(a, "%lld", (long long)k->per_minute))};
	h[1] = (struct http_header){names->remaining, slice_from(arena_printf(a, "%lld", (long long)left))};
	h[2] = (struct http_header){names->reset, slice_from(duration(a, rate_reset_ms(state_of(k), now_ns)))};
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

	if (l && l->requests.per_minute)
		n += put(h, &requests, &l->requests, now_ns, a);
	if (l && l->tokens.per_minute)
		n += put(h + n, &tokens, &l->tokens, now_ns, a);
	return n;
}
