/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that runs a libuv loop, and the only doors into it: loop_post() from
 * any thread, timers and jobs from its own.  Nothing here blocks but
 * loop_join().
 */
#pragma once
#include <uv.h>

#include "core/base/err.h"

struct loop;
typedef void loop_fn(void *arg);

/* Also makes the process ignore SIGPIPE: a peer that went away is an error code here, never a signal. */
int loop_new(const char *name, struct loop **ret_loop, struct err *err);
/* The loop must have ended (loop_join, or loop_run returned).  What was posted after the stop is dropped. */
void loop_free(struct loop *l);
int loop_start(struct loop *l, struct err *err); /* runs it on a thread of its own, named after it */
void loop_join(struct loop *l);
void loop_run(struct loop *l);	/* runs it here, until loop_stop */
void loop_stop(struct loop *l); /* any thread: ends after what was posted before */
uv_loop_t *loop_uv(struct loop *l);
const char *loop_name(const struct loop *l);

/* Cached times of the loop, at most one clock read a millisecond.  Its own thread only. */
int64_t loop_now_ms(const struct loop *l);  /* monotonic */
int64_t loop_wall_us(const struct loop *l); /* microseconds since 1970 UTC */

/* Any thread.  Calls fn(arg) on the loop's thread; calls posted by one thread keep their order. Never fails, never
 * blocks. */
void loop_post(struct loop *l, loop_fn *fn, void *arg);

/*
 * Called once, when everything that has happened is dealt with and the loop is about to wait for more.  Its own thread
 * only; setting one that is set, or cancelling one that is not, does nothing.
 */
struct loop_turn_end {
	struct loop_turn_end *next, **prev; /* NULL when not set */
	loop_fn *fn;
	void *arg;
};
void loop_at_turn_end(struct loop *l, struct loop_turn_end *t);
void loop_turn_end_cancel(struct loop_turn_end *t);

/*
 * Timers sit in a coarse wheel (LOOP_TICK_MS): they fire at their time or up to two ticks late, never early.
 * Setting and cancelling cost a list operation.  An idle loop with no timer set does not wake.
 * A delay of 0 or less: on the next turn of the loop, after everything that is running now has returned.
 */
#define LOOP_TICK_MS 8
struct timer {
	struct timer *next, **prev; /* NULL when not set */
	int64_t at_ms;
	loop_fn *fn;
	void *arg;
};
void timer_init(struct timer *t, loop_fn *fn, void *arg);
void timer_set(struct loop *l, struct timer *t, int64_t delay_ms); /* moves it when it is set already */
void timer_cancel(struct loop *l, struct timer *t);		   /* fine when not set */
static inline int timer_is_set(const struct timer *t)
{
	return t->prev != NULL;
}

/*
 * Blocking work for a loop: work(arg) runs on one of LOOP_JOB_THREADS threads (libuv's pool), done(arg) afterwards on
 * the loop.
 */
#define LOOP_JOB_THREADS 4
void job_submit(struct loop *l, loop_fn *work, loop_fn *done, void *arg);
