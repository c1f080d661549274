/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of the bucket.  The time that n take to come back is rounded down, by less than a nanosecond: so a
 * full bucket gives exactly a minute's worth, and one more has to wait.
 */
#include "serving/resilience/rate_limit.h"

#define MINUTE_NS INT64_C(60000000000)
#define NS_PER_MS 1000000

static int64_t time_of(int64_t n, int64_t per_minute)
{
	__int128 t = ((__int128)n * (__int128)MINUTE_NS) / per_minute;

	return t > RATE_DEBT_MAX_NS ? RATE_DEBT_MAX_NS : (int64_t)t;
}

static int64_t missing_ns(struct rate_state s, int64_t now_ns)
{
	return s.full_at_ns > now_ns ? s.full_at_ns - now_ns : 0;
}

bool rate_take(struct rate_state *s, int64_t per_minute, int64_t n, int64_t now_ns)
{
	int64_t after = missing_ns(*s, now_ns) + time_of(n, per_minute);

	if (after > MINUTE_NS)
		return false;
	s->full_at_ns = now_ns + after;
	return true;
}

void rate_charge(struct rate_state *s, int64_t per_minute, int64_t n, int64_t now_ns)
{
	int64_t after = missing_ns(*s, now_ns) + time_of(n, per_minute);

	s->full_at_ns = now_ns + (after > RATE_DEBT_MAX_NS ? RATE_DEBT_MAX_NS : after);
}

int64_t rate_remaining(struct rate_state s, int64_t per_minute, int64_t now_ns)
{
	int64_t there = MINUTE_NS - missing_ns(s, now_ns);
	int64_t n = there > 0 ? (int64_t)((__int128)there * per_minute / MINUTE_NS) : 0;

	/* What was rounded down going in may be one short coming out, or one over: what rate_take says is right. */
	return n < per_minute && there > 0 && time_of(n + 1, per_minute) <= there ? n + 1 : n;
}

static int64_t up_to_ms(int64_t ns)
{
	return (ns + NS_PER_MS - 1) / NS_PER_MS;
}

int64_t rate_wait_ms(struct rate_state s, int64_t per_minute, int64_t n, int64_t now_ns)
{
	int64_t over = missing_ns(s, now_ns) + time_of(n, per_minute) - MINUTE_NS;

	return over > 0 ? up_to_ms(over) : 0;
}

int64_t rate_reset_ms(struct rate_state s, int64_t now_ns)
{
	return up_to_ms(missing_ns(s, now_ns));
}
