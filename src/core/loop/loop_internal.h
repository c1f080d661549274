/* SPDX-License-Identifier: Apache-2.0 */
/* What loop.c and timer.c share. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/loop/loop.h"

/* Three wheels: 256 slots of one tick (2 s), 64 slots of 256 ticks (131 s), 64 slots of 16384 ticks (2.3 h). */
#define WHEEL_NEAR 256
#define WHEEL_FAR 64
#define WHEEL_SLOTS (WHEEL_NEAR + 2 * WHEEL_FAR)

struct wheel {
	struct timer *slot[WHEEL_SLOTS];
	uint64_t used[WHEEL_SLOTS / 64]; /* a bit per slot that holds a timer */
	int64_t cur;			 /* every tick up to this one has been fired */
	int64_t armed;			 /* tick for which the uv timer is set; INT64_MAX: it is not */
	size_t n;			 /* timers in the slots */
	struct timer *soon, **soon_tail; /* without delay: called on the next turn */
};

struct posted {
	struct posted *next;
	loop_fn *fn;
	void *arg;
};

struct wall {
	int64_t us;
	int64_t at_ms; /* loop time at which us was read */
};

struct loop {
	uv_loop_t uv;
	uv_async_t wake;
	uv_timer_t tick;
	uv_idle_t idle; /* runs while wheel.soon has something */
	uv_prepare_t prepare;
	struct loop_turn_end *turn_ends;
	struct wheel wheel;
	_Atomic(struct posted *) posts; /* newest first; pushed by any thread, taken whole by the loop */
	struct wall wall_read, *wall;	/* reached by pointer: reading a const loop's time refreshes it */
	pthread_t thread;
	bool started;
	bool running;
	char name[32];
};

int wheel_init(struct loop *l);
