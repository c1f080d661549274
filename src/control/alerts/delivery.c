/* SPDX-License-Identifier: Apache-2.0 */
/* When what is said.  What would break it: something said twice within its time, or never. */
#include "control/alerts/delivery.h"

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

bool delivery_next(struct alert_delivery *d, const struct delivery_rules *r, const struct alert *a, bool silenced,
		   enum alert_message *ret_message, int64_t *ret_at_ms)
{
	if (d->over || (silenced && !d->told))
		return false;
	if (a->state == ALERT_RESOLVED) {
		d->over = !d->wanted;
		*ret_message = ALERT_SAY_RESOLVED;
		*ret_at_ms = d->next_ms;
		return d->wanted;
	}
	if (a->state != ALERT_FIRING || silenced)
		return false;
	d->wanted = true;
	*ret_message = d->told ? ALERT_SAY_AGAIN : ALERT_SAY_FIRING;
	*ret_at_ms = d->told ? later(d->next_ms, d->told_ms + r->repeat_ms) : d->next_ms;
	return true;
}

static void end_message(struct alert_delivery *d)
{
	d->attempts = 0;
	d->first_ms = 0;
	d->next_ms = 0;
}

void delivery_turn(struct alert_delivery *d)
{
	end_message(d);
}

void delivery_done(struct alert_delivery *d, enum alert_message message, const struct alert_time *now)
{
	end_message(d);
	d->told = true;
	d->told_ms = now->mono_ms;
	d->told_us = now->wall_us;
	d->over = message == ALERT_SAY_RESOLVED;
	d->gave_up = false;
	d->error[0] = 0;
}

int64_t delivery_backoff_ms(unsigned failures, struct rng *rng)
{
	unsigned doublings = failures ? failures - 1 : 0;
	int64_t ms = doublings > 16 ? DELIVERY_RETRY_MAX_MS : DELIVERY_RETRY_MIN_MS << doublings;

	if (ms > DELIVERY_RETRY_MAX_MS)
		ms = DELIVERY_RETRY_MAX_MS;
	return ms / 2 + (int64_t)rng_below(rng, (uint64_t)(ms / 2) + 1);
}

bool delivery_failed(struct alert_delivery *d, const struct delivery_rules *r, enum alert_message message,
		     const struct delivery_failure *f, struct rng *rng, int64_t now_ms)
{
	int64_t wait;

	d->attempts++;
	if (!d->first_ms)
		d->first_ms = now_ms;
	wait = later(delivery_backoff_ms(d->attempts, rng),
		     f->retry_after_ms > DELIVERY_RETRY_AFTER_MAX_MS ? DELIVERY_RETRY_AFTER_MAX_MS : f->retry_after_ms);
	if (!f->permanent && now_ms + wait - d->first_ms <= r->give_up_ms) {
		d->next_ms = now_ms + wait;
		return false;
	}
	end_message(d);
	d->gave_up = true;
	d->over = message == ALERT_SAY_RESOLVED;
	d->next_ms = now_ms + r->repeat_ms; /* what still fires is told then */
	return true;
}
