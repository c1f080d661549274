/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket that holds a minute's worth and fills evenly.  Its whole state is one number, the time at which it
 * will be full again: what is missing is how far away that is.  So the state can be swapped atomically by those who
 * share it, and a bucket that nobody uses needs no upkeep.
 *
 * Pure: now is a parameter, any monotonic clock in nanoseconds.  A state of 0 is a full bucket.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define RATE_MAX_PER_MINUTE 1000000000
#define RATE_DEBT_MAX_NS INT64_C(3600000000000) /* one huge answer shuts nobody out for longer than an hour */

struct rate_state {
	int64_t full_at_ns;
};

/* Takes n if they are there; otherwise changes nothing and returns false.  per_minute is 1 to RATE_MAX_PER_MINUTE. */
bool rate_take(struct rate_state *s, int64_t per_minute, int64_t n, int64_t now_ns);
/* Takes n whether they are there or not: what is owed has to come back before anything is there again. */
void rate_charge(struct rate_state *s, int64_t per_minute, int64_t n, int64_t now_ns);
/* How many are there; 0 when something is owed. */
int64_t rate_remaining(struct rate_state s, int64_t per_minute, int64_t now_ns);
/* Milliseconds, rounded up, until n are there (0: they are), and until all are. */
int64_t rate_wait_ms(struct rate_state s, int64_t per_minute, int64_t n, int64_t now_ns);
int64_t rate_reset_ms(struct rate_state s, int64_t now_ns);
