/* SPDX-License-Identifier: Apache-2.0 */
/* Deployments in the daemon: what the loops have counted, and the clock that moves them, as jobs of the control loop.
 */
#include "app/daemon/daemon.h"
#include "core/base/clock.h"

#define TICK_MS 1000

static void add_arm(const struct gateway_arm_stats *s, struct rollout_counts *into)
{
	into->requests += counter_get(&s->requests);
	into->errors += counter_get(&s->errors);
	into->violations += counter_get(&s->violations);
	latency_add(&s->latency, into->latency);
}

static bool slot_of(struct daemon *d, struct slice use_case, unsigned *ret)
{
	struct snapshot *s = registry_snapshot(d->registry);
	const struct snapshot_use_case *u = s ? snapshot_use_case(s, use_case) : NULL;
	bool found = u && u->slot < GATEWAY_SLOTS - 1; /* the last is shared by all that come after it */

	if (found)
		*ret = u->slot;
	snapshot_unref(s);
	return found;
}

/* Any job thread. */
static bool count(struct slice use_case, struct rollout_counts ret[ROLLOUT_N_ARMS], void *arg)
{
	struct daemon *d = arg;
	unsigned slot = 0;

	if (!slot_of(d, use_case, &slot))
		return false;
	for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++) {
		const struct gateway_use_case_stats *s = &gateway_stats(d->loops[i].gateway)->use_case[slot];

		add_arm(&s->arm[ARM_CURRENT], &ret[ROLLOUT_CURRENT]);
		add_arm(&s->arm[ARM_CANDIDATE], &ret[ROLLOUT_CANDIDATE]);
	}
	return true;
}

int daemon_make_rollout(struct daemon *d, struct err *err)
{
	const struct rollout_options o = {.registry = d->registry,
					  .store = d->store,
					  .shared = store_is_shared(d->store),
					  .instance = d->instance,
					  .count = count,
					  .arg = d};

	(void)err;
	d->rollout = rollout_new(&o);
	return 0;
}

static void tick(void *arg)
{
	struct daemon *d = arg;
	struct err err = {0};

	if (rollout_tick(d->rollout, d->rollout_leads ? &d->rollout_lease : NULL, &d->rollout_next_us, &err) &&
	    strcmp(d->rollout_problem, err.text) != 0)
		log_warn(&d->log, "deployments cannot move: %s", err.text);
	(void)snprintf(d->rollout_problem, sizeof(d->rollout_problem), "%.199s", err.text);
}

static void ticked(void *arg)
{
	struct daemon *d = arg;
	int64_t delay_ms = TICK_MS;

	d->n_calls--;
	memcpy(d->rollout_shown, d->rollout_problem, sizeof(d->rollout_shown));
	if (d->rollout_next_us) /* short holds end in time */
		delay_ms = (d->rollout_next_us - clock_wall_us()) / 1000 + 1;
	delay_ms = delay_ms < LOOP_TICK_MS ? LOOP_TICK_MS : delay_ms > TICK_MS ? TICK_MS : delay_ms;
	if (!d->stopping)
		timer_set(d->control, &d->rollout_timer, delay_ms);
	daemon_drained_check(d);
}

static void on_timer(void *arg)
{
	struct daemon *d = arg;
	struct snapshot *s = registry_snapshot(d->registry);
	bool any = s && s->n_deployments;

	snapshot_unref(s);
	if (d->stopping)
		return;
	if (!any) {
		d->rollout_shown[0] = '\0';
		timer_set(d->control, &d->rollout_timer, TICK_MS);
		return;
	}
	d->rollout_leads = daemon_leads(d, &d->rollout_lease);
	d->n_calls++;
	job_submit(d->control, tick, ticked, d);
}

void daemon_watch_rollout(struct daemon *d)
{
	timer_init(&d->rollout_timer, on_timer, d);
	on_timer(d);
}
