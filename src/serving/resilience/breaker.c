/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transitions of the breaker.  What a request says that was let through before the breaker opened no longer counts:
 * only the probe decides while it is open, or old failures that come in late would keep it open for ever.
 */
#include "serving/resilience/breaker.h"

#include "core/base/util.h"

/* mode: 2 bits, score: 8, times it opened since it was last well: 6, a time: 48 */
struct parts {
	enum breaker_mode mode;
	unsigned score, trips;
	int64_t at_ms; /* open: until; probing: when the probe is given up; ramping: since */
};

#define TRIPS_MAX 63
#define TIME_MASK ((UINT64_C(1) << 48) - 1)

static struct parts unpack(struct breaker_state s)
{
	return (struct parts){.mode = (enum breaker_mode)(s.bits & 3),
			      .score = (unsigned)(s.bits >> 2 & 0xff),
			      .trips = (unsigned)(s.bits >> 10 & 0x3f),
			      .at_ms = (int64_t)(s.bits >> 16)};
}

static struct breaker_state pack(struct parts p)
{
	return (struct breaker_state){(uint64_t)p.mode | (uint64_t)p.score << 2 | (uint64_t)p.trips << 10 |
				      ((uint64_t)p.at_ms & TIME_MASK) << 16};
}

enum breaker_mode breaker_mode(struct breaker_state s)
{
	return unpack(s).mode;
}

const char *breaker_mode_name(enum breaker_mode m)
{
	static const char *const names[] = {"closed", "open", "probing", "ramping"};

	return names[m];
}

static int64_t open_ms(unsigned trips)
{
	int64_t ms = BREAKER_OPEN_MS;

	for (unsigned i = 1; i < trips && ms < BREAKER_OPEN_MAX_MS; i++)
		ms *= 2;
	return ms < BREAKER_OPEN_MAX_MS ? ms : BREAKER_OPEN_MAX_MS;
}

static void trip(struct parts *p, int64_t now_ms)
{
	p->trips += p->trips < TRIPS_MAX;
	p->mode = BREAKER_OPEN;
	p->score = 0;
	p->at_ms = now_ms + open_ms(p->trips);
}

/* One tenth at first, everybody at the end. */
static bool is_in_ramp(const struct parts *p, int64_t now_ms, uint32_t random)
{
	int64_t since = now_ms - p->at_ms;
	int64_t share = since <= 0 ? 0 : since >= BREAKER_RAMP_MS ? 1000 : since * 1000 / BREAKER_RAMP_MS;

	if (share < 100)
		share = 100;
	return random % 1000 < (uint32_t)share;
}

enum breaker_pass breaker_admit(struct breaker_state *s, int64_t now_ms, uint32_t random)
{
	struct parts p = unpack(*s);

	if (p.mode == BREAKER_CLOSED)
		return BREAKER_LET_THROUGH;
	if (p.mode == BREAKER_RAMPING)
		return is_in_ramp(&p, now_ms, random) ? BREAKER_LET_THROUGH : BREAKER_REFUSED;
	if (now_ms < p.at_ms)
		return BREAKER_REFUSED;
	p.mode = BREAKER_PROBING;
	p.at_ms = now_ms + BREAKER_PROBE_MS;
	*s = pack(p);
	return BREAKER_IS_PROBE;
}

bool breaker_fault(struct breaker_state *s, enum breaker_pass as, int64_t now_ms)
{
	struct parts p = unpack(*s);
	bool decides = as == BREAKER_IS_PROBE && p.mode == BREAKER_PROBING;

	if (p.mode == BREAKER_CLOSED || p.mode == BREAKER_RAMPING) {
		p.score += BREAKER_FAULT;
		decides = p.score >= (p.mode == BREAKER_CLOSED ? BREAKER_LIMIT : BREAKER_LIMIT / 2);
	} else if (!decides) {
		return false;
	}
	if (decides)
		trip(&p, now_ms);
	*s = pack(p);
	return decides;
}

void breaker_good(struct breaker_state *s, enum breaker_pass as, int64_t now_ms)
{
	struct parts p = unpack(*s);

	if (!s->bits || p.mode == BREAKER_OPEN)
		return;
	if (p.mode == BREAKER_PROBING) {
		if (as != BREAKER_IS_PROBE)
			return;
		p.mode = BREAKER_RAMPING;
		p.score = 0;
		p.at_ms = now_ms;
	} else if (p.score) {
		p.score--;
	}
	if (p.mode == BREAKER_RAMPING && now_ms - p.at_ms >= BREAKER_RAMP_MS)
		p = (struct parts){.mode = BREAKER_CLOSED, .score = p.score};
	*s = pack(p);
}

void breaker_untold(struct breaker_state *s, enum breaker_pass as, int64_t now_ms)
{
	struct parts p = unpack(*s);

	if (as != BREAKER_IS_PROBE || p.mode != BREAKER_PROBING)
		return;
	p.mode = BREAKER_OPEN;
	p.at_ms = now_ms; /* the next one may find out */
	*s = pack(p);
}

int64_t breaker_wait_ms(struct breaker_state s, int64_t now_ms)
{
	struct parts p = unpack(s);

	if ((p.mode != BREAKER_OPEN && p.mode != BREAKER_PROBING) || p.at_ms <= now_ms)
		return 0;
	/* A probe is most often back long before it would be given up. */
	return p.mode == BREAKER_PROBING && p.at_ms - now_ms > BREAKER_OPEN_MS ? BREAKER_OPEN_MS : p.at_ms - now_ms;
}
