/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing snapshots and settings to the loops.  Each swaps its own pointer; publishing returns when all have, so that
 * an answer to whoever changed something means that the change serves.
 */
#include <errno.h>
#include <stdlib.h>

#include "app/daemon/daemon.h"

#define PUBLISH_WAIT_MS 1000

struct publication {
	pthread_mutex_t lock;
	pthread_cond_t all_done;
	size_t n_waiting;	   /* loops that have not swapped yet */
	unsigned refs;		   /* loops, and the one that waits */
	struct snapshot *snapshot; /* one of these two */
	struct gateway_settings *settings;
};

struct delivery {
	struct publication *p;
	struct data_loop *to;
};

static void publication_unref_locked(struct publication *p)
{
	unsigned left = --p->refs;

	pthread_mutex_unlock(&p->lock);
	if (left)
		return;
	snapshot_unref(p->snapshot);
	gateway_settings_unref(p->settings);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->all_done);
	free(p);
}

static void apply(struct data_loop *l, struct snapshot *s, struct gateway_settings *settings)
{
	if (s)
		gateway_set_snapshot(l->gateway, s);
	if (settings)
		gateway_set_settings(l->gateway, settings);
}

static void on_delivery(void *arg)
{
	struct delivery *delivery = arg;
	struct publication *p = delivery->p;

	if (delivery->to->gateway)
		apply(delivery->to, p->snapshot, p->settings);
	free(delivery);
	pthread_mutex_lock(&p->lock);
	if (--p->n_waiting == 0)
		pthread_cond_signal(&p->all_done);
	publication_unref_locked(p);
}

static struct publication *publication_new(struct snapshot *s, struct gateway_settings *settings, size_t n)
{
	struct publication *p = calloc(1, sizeof(*p));
	pthread_condattr_t attr;

	if (!p)
		abort();
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->all_done, &attr);
	pthread_condattr_destroy(&attr);
	p->snapshot = s ? snapshot_ref(s) : NULL;
	p->settings = settings ? gateway_settings_ref(settings) : NULL;
	p->n_waiting = n;
	p->refs = (unsigned)n + 1;
	return p;
}

/* wait: false on the control loop, which may itself have to swap. */
static void publish_running(struct daemon *d, struct snapshot *s, struct gateway_settings *settings, bool wait)
{
	size_t n = d->n_loops + d->has_control_listener;
	struct publication *p = publication_new(s, settings, n);
	struct timespec until;

	for (size_t i = 0; i < n; i++) {
		struct delivery *delivery = calloc(1, sizeof(*delivery));

		if (!delivery)
			abort();
		*delivery = (struct delivery){p, &d->loops[i]};
		loop_post(d->loops[i].loop, on_delivery, delivery);
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PUBLISH_WAIT_MS / 1000;
	pthread_mutex_lock(&p->lock);
	while (wait && p->n_waiting)
		if (pthread_cond_timedwait(&p->all_done, &p->lock, &until) == ETIMEDOUT)
			break;
	publication_unref_locked(p);
}

static void publish(struct daemon *d, struct snapshot *s, struct gateway_settings *settings, bool wait)
{
	if (d->running) {
		publish_running(d, s, settings, wait);
		return;
	}
	for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++)
		if (d->loops[i].gateway)
			apply(&d->loops[i], s, settings);
}

void daemon_publish(struct snapshot *s, void *daemon)
{
	publish(daemon, s, NULL, true);
}

void daemon_publish_settings(struct daemon *d, struct gateway_settings *s)
{
	publish(d, NULL, s, false);
}
