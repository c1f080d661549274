/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon among others on the same database: it follows what they change. */
#include "app/daemon/daemon.h"

int daemon_follow(struct daemon *d, struct err *err)
{
	return store_is_shared(d->store) ? listener_start(d->registry, d->store, &d->listener, err) : 0;
}

static void leave(void *arg)
{
	struct daemon *d = arg;

	listener_stop(d->listener);
	d->listener = NULL;
}

static void left(void *arg)
{
	struct daemon *d = arg;

	d->n_calls--;
	daemon_drained_check(d);
}

/* While the loops still take what is published. */
void daemon_leave(struct daemon *d)
{
	d->n_calls++;
	job_submit(d->control, leave, left, d);
}
