/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting, and then one question: how many changes were there?  A notification is only a reason to ask at once, so any
 * number of them is one refresh, a lost one costs seconds, and our own changes cost nothing more than the question.
 * Everything goes over a connection of its own, which also shows that it still lives.
 */
#include "control/registry/listener.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/store/replicas.h"
#include "core/base/log.h"

#define NET_MS 5000 /* a notification was lost */
#define POLL_MS 500 /* there are none */
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 2000

static const struct log logger = {.module = "listener"};

struct listener {
	struct registry *registry;
	struct store *store;
	pthread_t thread;
	int wake; /* readable once the thread has to end */
	atomic_bool stopping;
	pthread_mutex_t lock; /* guards: */
	char problem[sizeof(((struct err *)0)->text)];

	/* the thread's own */
	struct db *db; /* NULL: not connected */
	bool listens;
	int retry_ms;
};

static void pause_for(struct listener *l, int ms)
{
	struct pollfd p = {.fd = l->wake, .events = POLLIN};

	(void)poll(&p, 1, ms); /* the caller looks whether it has to end */
}

static void note(struct listener *l, const char *text)
{
	bool changed;

	pthread_mutex_lock(&l->lock);
	changed = !*l->problem != !*text;
	(void)snprintf(l->problem, sizeof(l->problem), "%s", text); /* both are as long as an error can be */
	pthread_mutex_unlock(&l->lock);
	if (changed && *text)
		log_warn(&logger, "changes by other daemons are not seen: %s", text);
	else if (changed)
		log_info(&logger, "changes by other daemons are seen again");
}

static int connect_to(struct listener *l, struct err *err)
{
	int rc = store_open_own(l->store, &l->db, err);

	if (!rc)
		rc = db_listen(l->db, STORE_REGISTRY_CHANNEL, &l->listens, err);
	if (!rc)
		log_debug(&logger, l->listens ? "listening" : "asking every %d ms", POLL_MS);
	return rc;
}

static int wait_for_news(struct listener *l, struct err *err)
{
	if (l->listens)
		return db_wait(l->db, l->wake, NET_MS, err);
	pause_for(l, POLL_MS);
	return 0;
}

/* Whatever was missed while there was no connection is found by the first question on it. */
static int turn(struct listener *l, struct err *err)
{
	int rc = l->db ? wait_for_news(l, err) : connect_to(l, err);

	return rc || l->stopping ? rc : registry_catch_up(l->registry, l->db, err);
}

static void *run(void *arg)
{
	struct listener *l = arg;

	while (!l->stopping) {
		struct err err = {0};

		if (!turn(l, &err)) {
			l->retry_ms = RETRY_FIRST_MS;
			note(l, "");
			continue;
		}
		note(l, err.text);
		db_close(l->db);
		l->db = NULL;
		pause_for(l, l->retry_ms);
		l->retry_ms = l->retry_ms * 2 < RETRY_MAX_MS ? l->retry_ms * 2 : RETRY_MAX_MS;
	}
	db_close(l->db);
	return NULL;
}

static void listener_free(struct listener *l)
{
	if (l->wake >= 0)
		(void)close(l->wake); /* only ever waited on */
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int listener_start(struct registry *r, struct store *store, struct listener **ret, struct err *err)
{
	struct listener *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		abort();
	l->registry = r;
	l->store = store;
	l->retry_ms = RETRY_FIRST_MS;
	pthread_mutex_init(&l->lock, NULL);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = l->wake < 0 ? errno : pthread_create(&l->thread, NULL, run, l);
	if (rc) {
		listener_free(l);
		return err_set(err, E_IO, "cannot start the thread that follows the registry: %s", strerror(rc));
	}
	(void)pthread_setname_np(l->thread, "listener"); /* for people who look */
	*ret = l;
	return 0;
}

void listener_stop(struct listener *l)
{
	const uint64_t one = 1;

	if (!l)
		return;
	l->stopping = true;
	if (write(l->wake, &one, sizeof(one)) < 0) /* it looks by itself within seconds */
		log_warn(&logger, "cannot be woken: %s", strerror(errno));
	(void)pthread_join(l->thread, NULL); /* made by us */
	listener_free(l);
}

void listener_problem(struct listener *l, char *buf, size_t size)
{
	pthread_mutex_lock(&l->lock);
	(void)snprintf(buf, size, "%s", l->problem); /* cut to what the caller has room for */
	pthread_mutex_unlock(&l->lock);
}
