/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libuv loop on a thread, with posting between threads and jobs for blocking work.
 *
 * What would break it: touching anything but `posts` and `wake` from another thread.  Posted calls are pushed on a
 * stack with one atomic operation and taken all at once, so that neither side ever waits; the stack is turned round
 * before it is run.
 */
#include "core/loop/loop_internal.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/sched.h"

static void run_posts(struct loop *l)
{
	struct posted *newest = atomic_exchange_explicit(&l->posts, NULL, memory_order_acquire);
	struct posted *oldest = NULL;

	while (newest) {
		struct posted *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct posted *p = oldest;

		oldest = p->next;
		p->fn(p->arg);
		free(p);
	}
}

static void on_wake(uv_async_t *handle)
{
	run_posts(handle->data);
}

/* --- the end of a turn --- */

static void on_prepare(uv_prepare_t *handle)
{
	struct loop *l = handle->data;

	while (l->turn_ends) {
		struct loop_turn_end *t = l->turn_ends;

		loop_turn_end_cancel(t);
		t->fn(t->arg);
	}
}

void loop_at_turn_end(struct loop *l, struct loop_turn_end *t)
{
	if (t->prev)
		return;
	t->next = l->turn_ends;
	t->prev = &l->turn_ends;
	if (t->next)
		t->next->prev = &t->next;
	l->turn_ends = t;
}

void loop_turn_end_cancel(struct loop_turn_end *t)
{
	if (!t->prev)
		return;
	*t->prev = t->next;
	if (t->next)
		t->next->prev = t->prev;
	t->next = NULL;
	t->prev = NULL;
}

int loop_new(const char *name, struct loop **ret_loop, struct err *err)
{
	struct loop *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		abort();
	/* OpenSSL writes to sockets with write(2), which raises SIGPIPE when the other side is gone. */
	signal(SIGPIPE, SIG_IGN);
	snprintf(l->name, sizeof(l->name), "%s", name);
	rc = uv_loop_init(&l->uv);
	if (rc) {
		free(l);
		return err_set(err, E_IO, "cannot make the event loop '%s': %s", name, uv_strerror(rc));
	}
	rc = uv_async_init(&l->uv, &l->wake, on_wake);
	if (rc) {
		uv_loop_close(&l->uv);
		free(l);
		return err_set(err, E_IO, "cannot make the event loop '%s': %s", name, uv_strerror(rc));
	}
	l->wake.data = l;
	l->wall = &l->wall_read;
	l->wall_read.at_ms = -1;
	rc = wheel_init(l);
	assert(!rc); /* fills in structs only */
	uv_prepare_init(&l->uv, &l->prepare);
	uv_prepare_start(&l->prepare, on_prepare);
	l->prepare.data = l;
	*ret_loop = l;
	return 0;
}

void loop_free(struct loop *l)
{
	struct posted *p;

	if (!l)
		return;
	assert(!l->started && !l->running);
	uv_close((uv_handle_t *)&l->wake, NULL);
	uv_close((uv_handle_t *)&l->tick, NULL);
	uv_close((uv_handle_t *)&l->idle, NULL);
	uv_close((uv_handle_t *)&l->prepare, NULL);
	/* Handles that were closed by their owners go in this turn; jobs that still run are waited for. */
	uv_run(&l->uv, UV_RUN_DEFAULT);
	if (uv_loop_close(&l->uv))
		assert(!"a handle was left open");
	p = atomic_load_explicit(&l->posts, memory_order_acquire);
	while (p) {
		struct posted *next = p->next;

		free(p);
		p = next;
	}
	free(l);
}

void loop_run(struct loop *l)
{
	l->running = true;
	uv_run(&l->uv, UV_RUN_DEFAULT);
	l->running = false;
}

static void *loop_main(void *arg)
{
	struct loop *l = arg;
	char name[16]; /* the kernel takes no more */

	snprintf(name, sizeof(name), "%.15s", l->name);
	pthread_setname_np(pthread_self(), name);
	sched_answers();
	loop_run(l);
	return NULL;
}

int loop_start(struct loop *l, struct err *err)
{
	sigset_t all, before;
	int rc;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&l->thread, NULL, loop_main, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return err_set(err, E_IO, "cannot start the thread '%s': %s", l->name, strerror(rc));
	l->started = true;
	return 0;
}

void loop_join(struct loop *l)
{
	if (!l->started)
		return;
	pthread_join(l->thread, NULL);
	l->started = false;
}

static void stop_here(void *arg)
{
	struct loop *l = arg;

	uv_stop(&l->uv);
}

void loop_stop(struct loop *l)
{
	loop_post(l, stop_here, l);
}

uv_loop_t *loop_uv(struct loop *l)
{
	return &l->uv;
}

const char *loop_name(const struct loop *l)
{
	return l->name;
}

int64_t loop_now_ms(const struct loop *l)
{
	return (int64_t)uv_now(&l->uv);
}

int64_t loop_wall_us(const struct loop *l)
{
	struct wall *w = l->wall;
	int64_t now = loop_now_ms(l);

	if (w->at_ms != now) {
		w->at_ms = now;
		w->us = clock_wall_us();
	}
	return w->us;
}

void loop_post(struct loop *l, loop_fn *fn, void *arg)
{
	struct posted *p = malloc(sizeof(*p));
	struct posted *old;

	if (!p)
		abort();
	p->fn = fn;
	p->arg = arg;
	old = atomic_load_explicit(&l->posts, memory_order_relaxed);
	do
		p->next = old;
	while (!atomic_compare_exchange_weak_explicit(&l->posts, &old, p, memory_order_release, memory_order_relaxed));
	/* Whoever finds the stack empty wakes the loop; it takes everything that is there by then. */
	if (!old)
		uv_async_send(&l->wake);
}

struct job {
	uv_work_t req;
	loop_fn *work, *done;
	void *arg;
};

static void job_work(uv_work_t *req)
{
	struct job *j = CONTAINER_OF(req, struct job, req);

	j->work(j->arg);
}

static void job_done(uv_work_t *req, int status)
{
	struct job *j = CONTAINER_OF(req, struct job, req);

	(void)status; /* jobs are never cancelled */
	if (j->done)
		j->done(j->arg);
	free(j);
}

void job_submit(struct loop *l, loop_fn *work, loop_fn *done, void *arg)
{
	struct job *j = malloc(sizeof(*j));
	int rc;

	if (!j)
		abort();
	*j = (struct job){.work = work, .done = done, .arg = arg};
	rc = uv_queue_work(&l->uv, &j->req, job_work, job_done);
	assert(!rc); /* fails only without a callback */
	(void)rc;
}
