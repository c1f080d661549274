/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left of each key's rates.  Owned by the snapshots that hold the key, and kept from one to the next by the
 * registry of limits.
 *
 * A bucket is one atomic number that all loops share: a caller's connections are spread over the loops, and a share per
 * loop would refuse the one that sits on a single connection long before its limit.  A request takes from it with one
 * compare-and-swap; only requests with the same key at the same instant ever meet there.
 */
#pragma once
#include <stdatomic.h>

#include "core/http/head.h"
#include "serving/resilience/rate_limit.h"
#include "serving/snapshot/snapshot.h"

struct key_limit {
	_Atomic int64_t full_at_ns;
	_Atomic int64_t share; /* how much of the rate this daemon may spend; GATEWAY_WHOLE: all */
	_Atomic int64_t asked; /* since gateway_rates_list took it */
	_Atomic bool refused;  /* the same */
	int64_t per_minute;    /* 0: no limit */
};

struct key_limits {
	_Atomic unsigned refs;
	struct uuid id; /* of the key */
	struct key_limit requests, tokens;
};

struct gateway_limits; /* made in gateway.h */

/* Control plane: gives every key of the snapshot what was left of it in the one before (l NULL: full buckets), and
 * forgets keys that no snapshot holds any more. */
void limits_prepare(struct gateway_limits *l, struct snapshot *s);
void limits_unref(struct key_limits *k);

/* On loops. A key without limits, or no key (NULL), always passes. */
enum limited_by { LIMITED_BY_NOTHING, LIMITED_BY_REQUESTS, LIMITED_BY_TOKENS };
struct limit_verdict {
	enum limited_by by;
	int64_t wait_ms; /* until a request passes again */
};
struct limit_verdict limits_take(const struct snapshot_key *k, int64_t now_ms);
void limits_charge_tokens(const struct snapshot_key *k, int64_t n, int64_t now_ms);

/* x-ratelimit-*, as OpenAI names them: at most LIMIT_HEADERS, texts in the arena. Returns how many. */
#define LIMIT_HEADERS 6
size_t limits_headers(const struct snapshot_key *k, int64_t now_ms, struct arena *a,
		      struct http_header h[LIMIT_HEADERS]);
