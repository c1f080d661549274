/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rates of keys that several daemons share: between what the gateway spends and what the lender lends, as jobs of the
 * control loop.  Where nobody else can be, there is no lender, and every rate is this daemon's alone.
 */
#include <stdlib.h>

#include "app/daemon/daemon.h"
#include "core/base/clock.h"

#define ROUND_MS 500
#define ADVANCE_DIVISOR 16 /* as lending_advance */

struct list {
	struct gateway_rate *rate;
	struct lending_account *account;
	size_t n;
};

static void list_init(struct daemon *d, struct list *l)
{
	l->rate = gateway_rates_list(d->prepare.limits, clock_mono_ms(), &l->n);
	l->account = calloc(l->n + 1, sizeof(*l->account));
	if (!l->account)
		abort();
	for (size_t i = 0; i < l->n; i++) {
		struct gateway_rate *r = &l->rate[i];

		l->account[i] = (struct lending_account){.kind = r->is_tokens ? SLICE_LIT("key.tokens")
									      : SLICE_LIT("key.requests"),
							 .subject = slice_from(r->key),
							 .limit = r->per_minute,
							 .share = r->share,
							 .missing_us = r->missing_us,
							 .asked = r->asked,
							 .refused = r->refused,
							 .ref = r};
	}
}

static void list_release(struct list *l)
{
	gateway_rates_free(l->rate, l->n);
	free(l->account);
}

static void on_set(const struct lending_account *a, int64_t share, void *arg)
{
	(void)arg;
	gateway_rate_set(a->ref, share);
}

static void on_join(const struct lending_account *a, int64_t share, struct share_part more, void *arg)
{
	(void)arg;
	gateway_rate_join(a->ref, share, more, clock_mono_ms());
}

static int64_t on_missing(const struct lending_account *a, void *arg)
{
	(void)arg;
	return gateway_rate_missing_us(a->ref, clock_mono_ms());
}

static void go_round(struct daemon *d)
{
	struct err err = {0};
	struct list l;

	list_init(d, &l);
	if (lender_round(d->lender, l.account, l.n, clock_mono_ms(), &err) && strcmp(d->lending_problem, err.text) != 0)
		log_warn(&d->log, "rates of keys cannot be shared out anew: %s", err.text);
	(void)snprintf(d->lending_problem, sizeof(d->lending_problem), "%.199s", err.text);
	gateway_limits_begin_with(d->prepare.limits, lender_others(d->lender) > 0 ? ADVANCE_DIVISOR : 0);
	list_release(&l);
}

/* The first round is over before the first request: the others are to know of this daemon. */
int daemon_make_lending(struct daemon *d, struct err *err)
{
	const struct lending_hooks hooks = {.set = on_set, .join = on_join, .missing_us = on_missing};

	(void)err;
	if (!store_is_shared(d->store))
		return 0;
	d->lender = lender_new(d->store, &d->instance, &hooks);
	go_round(d);
	return 0;
}

static void round_job(void *arg)
{
	go_round(arg);
}

static void round_done(void *arg)
{
	struct daemon *d = arg;

	d->n_calls--;
	if (!d->stopping)
		timer_set(d->control, &d->lending_timer, ROUND_MS);
	daemon_drained_check(d);
}

static void on_timer(void *arg)
{
	struct daemon *d = arg;

	if (d->stopping)
		return;
	d->n_calls++;
	job_submit(d->control, round_job, round_done, d);
}

void daemon_watch_lending(struct daemon *d)
{
	timer_init(&d->lending_timer, on_timer, d);
	if (d->lender)
		timer_set(d->control, &d->lending_timer, ROUND_MS);
}

void daemon_end_lending(struct daemon *d)
{
	struct err err = {0};
	struct list l;

	if (!d->lender)
		return;
	list_init(d, &l);
	if (lender_leave(d->lender, l.account, l.n, &err))
		log_debug(&d->log, "rates of keys were not given back: %s", err.text); /* they expire */
	list_release(&l);
}
