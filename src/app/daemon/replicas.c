/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon among others on the same database: it follows what they change, and one of them leads.  The state of the
 * leader is the control loop's; a job reads it while it asks, and nobody writes it meanwhile.
 */
#include "app/daemon/daemon.h"
#include "core/base/clock.h"

int daemon_follow(struct daemon *d, struct err *err)
{
	leader_init(&d->leader, &d->instance);
	return store_is_shared(d->store) ? listener_start(d->registry, d->store, &d->listener, err) : 0;
}

bool daemon_leads(const struct daemon *d, struct lease *ret_lease)
{
	if (ret_lease)
		*ret_lease = d->leader.lease;
	return leader_is(&d->leader, clock_mono_ms());
}

/* --- leaving: while the loops still take what is published --- */

static void home(struct daemon *d)
{
	d->n_calls--;
	daemon_drained_check(d);
}

static void give_back(void *arg)
{
	struct daemon *d = arg;

	leader_release(&d->leader, d->store, &d->leader_answer);
}

static void gave_back(void *arg)
{
	struct daemon *d = arg;

	(void)leader_move(&d->leader, &d->leader_answer); /* nobody asks any more */
	d->leader_asks = false;
	home(d);
}

/* A job that asks may be under way: then it is done after that. */
static void end_lead(struct daemon *d)
{
	if (d->leader.state != LEADER_LEADS || d->leader_asks)
		return;
	d->leader_asks = true;
	d->n_calls++;
	job_submit(d->control, give_back, gave_back, d);
}

static void leave(void *arg)
{
	struct daemon *d = arg;

	listener_stop(d->leaving);
	daemon_end_lending(d);
	if (registry_is_unsaved(d->registry))
		registry_save(d->registry);
}

static void left(void *arg)
{
	struct daemon *d = arg;

	d->leaving = NULL;
	end_lead(d);
	home(d);
}

void daemon_leave(struct daemon *d)
{
	d->leaving = d->listener; /* /health is asked meanwhile */
	d->listener = NULL;
	d->n_calls++;
	job_submit(d->control, leave, left, d);
}

/* --- leading --- */

static void ask(void *arg)
{
	struct daemon *d = arg;

	leader_ask(&d->leader, d->store, &d->leader_answer);
}

static void asked(void *arg)
{
	struct daemon *d = arg;
	bool moved = leader_move(&d->leader, &d->leader_answer);

	d->leader_asks = false;
	if (!d->leader.problem[0])
		d->database_ok_ms = clock_mono_ms();
	if (moved && d->leader.state == LEADER_LEADS)
		log_info(&d->log, "this daemon leads, epoch %lld", (long long)d->leader.lease.epoch);
	else if (moved)
		log_info(&d->log, "another daemon leads");
	if (d->stopping)
		end_lead(d);
	else
		timer_set(d->control, &d->leader_timer, LEADER_EVERY_MS);
	home(d);
}

static void on_timer(void *arg)
{
	struct daemon *d = arg;

	if (d->stopping)
		return;
	d->leader_asks = true;
	d->n_calls++;
	job_submit(d->control, ask, asked, d);
}

void daemon_watch_leader(struct daemon *d)
{
	timer_init(&d->leader_timer, on_timer, d);
	on_timer(d);
}
