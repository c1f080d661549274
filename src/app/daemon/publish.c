/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing snapshots and settings to the loops.  Each swaps its own pointer; publishing returns when all have, so that
 * an answer to whoever changed something means that the change serves.
 */
#include <errno.h>
#include <stdlib.h>

#include "app/daemon/daemon.h"
#include "core/http/tls.h"

#define PUBLISH_WAIT_MS 1000

/* What is new; absent: as it is. */
struct news {
	struct snapshot *snapshot;
	struct gateway_settings *settings;
	struct tls_context *tls;
};

struct publication {
	pthread_mutex_t lock;
	pthread_cond_t all_done;
	size_t n_waiting; /* loops that have not swapped yet */
	unsigned refs;	  /* loops, and the one that waits */
	struct news news; /* with references of its own */
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
	snapshot_unref(p->news.snapshot);
	gateway_settings_unref(p->news.settings);
	tls_context_free(p->news.tls);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->all_done);
	free(p);
}

static void apply(struct data_loop *l, const struct news *news)
{
	if (news->snapshot)
		gateway_set_snapshot(l->gateway, news->snapshot);
	if (news->settings)
		gateway_set_settings(l->gateway, news->settings);
	if (news->tls)
		http_server_set_tls(l->server, news->tls);
}

static void on_delivery(void *arg)
{
	struct delivery *delivery = arg;
	struct publication *p = delivery->p;

	if (delivery->to->gateway)
		apply(delivery->to, &p->news);
	free(delivery);
	pthread_mutex_lock(&p->lock);
	if (--p->n_waiting == 0)
		pthread_cond_signal(&p->all_done);
	publication_unref_locked(p);
}

static struct publication *publication_new(const struct news *news, size_t n)
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
	p->news.snapshot = news->snapshot ? snapshot_ref(news->snapshot) : NULL;
	p->news.settings = news->settings ? gateway_settings_ref(news->settings) : NULL;
	p->news.tls = news->tls ? tls_context_ref(news->tls) : NULL;
	p->n_waiting = n;
	p->refs = (unsigned)n + 1;
	return p;
}

/* wait: false on the control loop, which may itself have to swap. */
static void publish_running(struct daemon *d, const struct news *news, bool wait)
{
	size_t n = d->n_loops + d->has_control_listener;
	struct publication *p = publication_new(news, n);
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

static void publish(struct daemon *d, const struct news *news, bool wait)
{
	if (d->running) {
		publish_running(d, news, wait);
		return;
	}
	for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++)
		if (d->loops[i].gateway)
			apply(&d->loops[i], news);
}

void daemon_publish(struct snapshot *s, void *daemon)
{
	struct daemon *d = daemon;

	if (d->rollout)
		rollout_see(d->rollout, s);
	daemon_lend_budgets(d, s);
	publish(d, &(struct news){.snapshot = s}, true);
}

void daemon_publish_settings(struct daemon *d, struct gateway_settings *s, struct tls_context *tls)
{
	publish(d, &(struct news){.settings = s, .tls = tls}, false);
}
