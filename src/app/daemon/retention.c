/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When retention runs: on the daemon that leads, at its start or when the configuration changes, then once an hour;
 * soon again when it left work, a while later when it failed.  It never has more than one job.
 */
#include "app/daemon/daemon.h"
#include "core/base/clock.h"

#define LOOK_MS 1000
#define EVERY_MS INT64_C(3600000)
#define AGAIN_MS INT64_C(60000)
#define BUSY_AGAIN_MS INT64_C(5000)

void daemon_set_retention(struct daemon *d)
{
	const struct retention_rule rule = {d->config.history_retention_ms * 1000,
					    d->config.history_content_retention_ms * 1000};

	retention_set(d->retention, &rule);
	d->retention_due_ms = 0;
}

static void run(void *arg)
{
	struct daemon *d = arg;
	struct err err = {0};
	int rc = retention_run(d->retention, &d->retention_lease, &d->retention_more, &err); /* it says why not */
	int64_t delay_ms = rc == E_BUSY ? BUSY_AGAIN_MS : rc ? AGAIN_MS : d->retention_more ? 0 : EVERY_MS;

	d->retention_next_ms = clock_mono_ms() + delay_ms;
}

static void ran(void *arg)
{
	struct daemon *d = arg;

	d->retention_runs = false;
	if (d->retention_due_ms) /* else it was set anew meanwhile */
		d->retention_due_ms = d->retention_next_ms;
	d->n_calls--;
	daemon_drained_check(d);
}

static void on_timer(void *arg)
{
	struct daemon *d = arg;

	if (d->stopping)
		return;
	timer_set(d->control, &d->retention_timer, LOOK_MS);
	if (d->retention_runs || clock_mono_ms() < d->retention_due_ms || !daemon_leads(d, &d->retention_lease))
		return;
	d->retention_runs = true;
	d->retention_due_ms = 1;
	d->n_calls++;
	job_submit(d->control, run, ran, d);
}

void daemon_watch_retention(struct daemon *d)
{
	daemon_set_retention(d);
	timer_init(&d->retention_timer, on_timer, d);
	on_timer(d);
}
