/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered of upstreams and use cases from one snapshot to the next, shared by all loops: how an endpoint
 * answered lately, how many requests it has, how many retries a use case may still make.  Owned by the snapshots that
 * name them, and kept by the memory.
 *
 * All of it is atomic numbers: a request reads and swaps them without a lock, and as long as all is well it only counts
 * itself in and out.
 */
#pragma once
#include <stdatomic.h>

#include "core/base/slice.h"
#include "serving/resilience/breaker.h"
#include "serving/resilience/retry.h"

struct remembered { /* first member of what follows */
	_Atomic unsigned refs;
	char key[65];
};

/* One endpoint of one model, as it is configured: another configuration begins anew. */
struct upstream_memory {
	struct remembered head;
	_Atomic uint64_t breaker;	  /* struct breaker_state */
	_Atomic int64_t resting_until_ms; /* it said when to come again; 0: it did not */
	_Atomic uint32_t in_flight;	  /* of all loops */
	_Atomic uint64_t opened;	  /* how often its breaker has */
};

struct route_memory { /* of a use case */
	struct remembered head;
	_Atomic uint64_t retries; /* struct retry_budget */
	_Atomic uint32_t in_flight;
	_Atomic uint32_t *daemon; /* requests under way in all use cases; NULL: not counted */
};

struct gateway_memory; /* made in gateway.h */

/* Control plane, any thread.  What is remembered under that key (at most 64 characters), or something new; with a
 * reference.  m NULL: always new. */
struct upstream_memory *memory_of_upstream(struct gateway_memory *m, const char *key);
struct route_memory *memory_of_route(struct gateway_memory *m, const char *key);
void memory_unref(void *remembered); /* NULL is fine */
/* Forgets what no snapshot names any more. */
void memory_tidy(struct gateway_memory *m);

/* On loops.  All take NULL, which remembers nothing: everybody passes. */
enum breaker_pass upstream_admit(struct upstream_memory *u, int64_t now_ms, uint32_t random);
void upstream_fault(struct upstream_memory *u, enum breaker_pass as, int64_t now_ms);
void upstream_good(struct upstream_memory *u, enum breaker_pass as, int64_t now_ms);
void upstream_untold(struct upstream_memory *u, enum breaker_pass as, int64_t now_ms);
/* It wants to be left alone for so long. */
void upstream_rest(struct upstream_memory *u, int64_t now_ms, int64_t for_ms);
bool upstream_is_resting(const struct upstream_memory *u, int64_t now_ms);
/* Milliseconds until it may be asked again; 0: now. */
int64_t upstream_wait_ms(const struct upstream_memory *u, int64_t now_ms);

void route_deposit(struct route_memory *r, int64_t now_ms);
bool route_withdraw(struct route_memory *r, int64_t now_ms); /* NULL: never */
