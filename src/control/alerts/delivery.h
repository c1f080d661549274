/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one receiver has been told about one alert, and what it is to be told next, and when.  Pure.
 */
#pragma once
#include "control/alerts/format.h"
#include "core/base/rand.h"

#define ALERT_ERROR_SIZE 320

#define DELIVERY_RETRY_MIN_MS INT64_C(1000)
#define DELIVERY_RETRY_MAX_MS INT64_C(300000)
#define DELIVERY_RETRY_AFTER_MAX_MS INT64_C(3600000) /* a receiver cannot ask for more time than that */

struct alert_delivery {
	bool wanted;		   /* it fired while the receiver was to hear of it */
	bool told;		   /* that it fires */
	bool over;		   /* nothing more is to be said */
	bool gave_up;		   /* the last message was not delivered, and is not tried any more */
	unsigned attempts;	   /* of the message that is under way */
	int64_t first_ms, next_ms; /* monotonic: its first attempt; not before */
	int64_t told_ms, told_us;  /* the last success */
	char error[ALERT_ERROR_SIZE];
};

struct delivery_rules {
	int64_t repeat_ms;  /* what still fires is told again after so long */
	int64_t give_up_ms; /* a message is tried for so long */
};

/* Whether something is to be said, what, and from when on. */
bool delivery_next(struct alert_delivery *d, const struct delivery_rules *r, const struct alert *a, bool silenced,
		   enum alert_message *ret_message, int64_t *ret_at_ms);
void delivery_done(struct alert_delivery *d, enum alert_message message, const struct alert_time *now);

/* The alert is over: what waited for its turn about it need not any more. */
void delivery_turn(struct alert_delivery *d);

struct delivery_failure {
	bool permanent;		/* asking again changes nothing */
	int64_t retry_after_ms; /* what the receiver asked for; 0: nothing */
};
/* True: given up. */
bool delivery_failed(struct alert_delivery *d, const struct delivery_rules *r, enum alert_message message,
		     const struct delivery_failure *f, struct rng *rng, int64_t now_ms);
/* How long to wait after so many failures in a row: doubling, bounded, and not the same for everybody. */
int64_t delivery_backoff_ms(unsigned failures, struct rng *rng);
