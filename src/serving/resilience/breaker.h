/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A circuit breaker: whether an endpoint is asked at all, by how it answered lately.
 *
 *   closed    everybody is let through.  A fault counts two, a good answer takes one away; at BREAKER_LIMIT it opens:
 * after five faults in a row, or when for some time more than one in three is a fault. open      nobody, for 5 s the
 * first time and twice as long each time after it, up to a minute. probing   one request is on its way to find out; all
 * others are refused until it has come back. ramping   after a good probe: a tenth of the requests, growing evenly to
 * all of them within BREAKER_RAMP_MS.
 *
 * Its whole state is one number, so that those who share it can swap it atomically; 0 is closed and without a fault,
 * and a good answer to that changes nothing.  Pure: now is any monotonic clock in milliseconds, at most 2^44.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define BREAKER_LIMIT 10
#define BREAKER_FAULT 2
#define BREAKER_OPEN_MS 5000
#define BREAKER_OPEN_MAX_MS 60000
#define BREAKER_PROBE_MS \
	60000 /* a probe that nobody has heard of for so long is given up, and another one let through */
#define BREAKER_RAMP_MS 10000

struct breaker_state {
	uint64_t bits;
};

enum breaker_mode { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_PROBING, BREAKER_RAMPING };
enum breaker_pass { BREAKER_REFUSED, BREAKER_LET_THROUGH, BREAKER_IS_PROBE };

enum breaker_mode breaker_mode(struct breaker_state s);
const char *breaker_mode_name(enum breaker_mode m); /* "closed", "open", "probing", "ramping" */
/* random: any number, evenly spread; decides who passes while it is ramping. */
enum breaker_pass breaker_admit(struct breaker_state *s, int64_t now_ms, uint32_t random);
/* How a request that was let through ended; as: what breaker_admit said of it.  True when this has opened the breaker.
 */
bool breaker_fault(struct breaker_state *s, enum breaker_pass as, int64_t now_ms);
void breaker_good(struct breaker_state *s, enum breaker_pass as, int64_t now_ms);
/* It ended without telling anything: its caller left, or was refused for what it asked. */
void breaker_untold(struct breaker_state *s, enum breaker_pass as, int64_t now_ms);
/* Milliseconds until somebody may pass again; 0: now. */
int64_t breaker_wait_ms(struct breaker_state s, int64_t now_ms);
