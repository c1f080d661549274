/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets and waits of retries: see retry.h. */
#include "serving/resilience/retry.h"

#include <string.h>
#include <time.h>

#include "core/base/util.h"

#define FULL (INT64_C(1000) * RETRY_BUDGET_MAX)
#define START 1000
#define TIME_BITS 44

/* What is missing from START is kept (so that 0 is a new budget), in thousandths of a retry; beside it the time up to
 * which what comes back by itself has been counted. */
struct parts {
	int64_t there, at_ms;
};

static struct parts unpack(struct retry_budget b, int64_t now_ms)
{
	struct parts p = {(int64_t)(b.bits >> TIME_BITS), (int64_t)(b.bits & ((UINT64_C(1) << TIME_BITS) - 1))};
	int64_t since;

	if (!b.bits)
		return (struct parts){START, now_ms};
	since = now_ms - p.at_ms;
	if (since > 0 && p.there < START) { /* enough to begin with; more has to be paid in */
		p.there += since >= RETRY_REFILL_MS ? 1000 : since * 1000 / RETRY_REFILL_MS;
		p.there = p.there > START ? START : p.there;
	}
	p.at_ms = now_ms;
	return p;
}

static struct retry_budget pack(struct parts p)
{
	return (struct retry_budget){(uint64_t)p.there << TIME_BITS |
				     ((uint64_t)p.at_ms & ((UINT64_C(1) << TIME_BITS) - 1))};
}

void retry_deposit(struct retry_budget *b, int64_t now_ms)
{
	struct parts p = unpack(*b, now_ms);

	if (p.there == FULL)
		return; /* nothing changes: those who share it need not write */
	p.there += INT64_C(10) * RETRY_BUDGET_PERCENT;
	p.there = p.there > FULL ? FULL : p.there;
	*b = pack(p);
}

bool retry_withdraw(struct retry_budget *b, int64_t now_ms)
{
	struct parts p = unpack(*b, now_ms);

	if (p.there < 1000)
		return false;
	p.there -= 1000;
	*b = pack(p);
	return true;
}

int64_t retry_backoff_ms(unsigned n, uint32_t random)
{
	int64_t ms = RETRY_BACKOFF_MS;

	for (unsigned i = 1; i < n && ms < RETRY_BACKOFF_MAX_MS; i++)
		ms *= 2;
	if (ms > RETRY_BACKOFF_MAX_MS)
		ms = RETRY_BACKOFF_MAX_MS;
	return ms / 2 + random % (uint32_t)(ms / 2 + 1);
}

/* Digits, perhaps with a fraction; scale: milliseconds of one. -1: something else. */
static int64_t read_number(struct slice s, int64_t scale)
{
	int64_t n = 0;
	size_t i = 0;

	s = slice_trim(s);
	for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
		n = n > RETRY_AFTER_MAX_MS ? n : n * 10 + (s.p[i] - '0');
	if (!i)
		return -1;
	n *= scale;
	if (i < s.n && s.p[i] == '.')
		for (i++; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
			scale /= 10;
			n += scale * (s.p[i] - '0');
		}
	return i == s.n ? n : -1;
}

/* As RFC 9110 section 5.6.7 wants dates sent, and the two older forms in which they have to be understood. */
static bool read_tm(const char *text, struct tm *ret)
{
	static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
					    "%a %b %e %H:%M:%S %Y"};

	for (size_t i = 0; i < COUNT_OF(forms); i++) {
		const char *end;

		memset(ret, 0, sizeof(*ret));
		end = strptime(text, forms[i], ret);
		if (end && !*end)
			return true;
	}
	return false;
}

static int64_t read_date(struct slice s, int64_t wall_us)
{
	char text[40];
	struct tm tm;
	int64_t ms;

	s = slice_trim(s);
	if (!s.n || s.n >= sizeof(text))
		return -1;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	if (!read_tm(text, &tm))
		return -1;
	ms = (int64_t)timegm(&tm) * 1000 - wall_us / 1000;
	return ms > 0 ? ms : 0;
}

int64_t retry_after_ms(struct slice after_ms, struct slice after, int64_t wall_us)
{
	int64_t ms = read_number(after_ms, 1);

	if (ms < 0)
		ms = read_number(after, 1000);
	if (ms < 0)
		ms = read_date(after, wall_us);
	return ms > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : ms;
}
