/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clocks, and times as text.  The calendar is the proleptic Gregorian one, computed with integers ("civil from days",
 * Howard Hinnant, chrono-Compatible Low-Level Date Algorithms): no time zone, no locale, no leap seconds.
 */
#include "core/base/clock.h"

#include <stdio.h>
#include <time.h>

#include "core/base/err.h"
#include "core/base/util.h"

#define US_PER_S INT64_C(1000000)
#define S_PER_DAY INT64_C(86400)
#define ISO_FIRST_US (INT64_C(-62167219200) * US_PER_S)			 /* 0000-01-01 */
#define ISO_LAST_US (INT64_C(253402300799) * US_PER_S + INT64_C(999999)) /* 9999-12-31 */

static int64_t read_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
	return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_mono_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

int64_t clock_wall_us(void)
{
	return read_us(CLOCK_REALTIME);
}

static char *put_digits(char *p, unsigned v, unsigned width)
{
	for (unsigned i = width; i-- > 0; v /= 10)
		p[i] = (char)('0' + v % 10);
	return p + width;
}

struct civil {
	int64_t year;
	unsigned month, day;
};

/* Years begin in March here, so that the leap day is the last one of a year; an era is 400 years. */
static struct civil civil_from_days(int64_t days)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;
	unsigned month = mp < 10 ? mp + 3 : mp - 9;

	return (struct civil){(int64_t)yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) / 5 + 1};
}

static int64_t days_from_civil(struct civil c)
{
	int64_t y = c.year - (c.month <= 2), era = (y >= 0 ? y : y - 399) / 400;
	unsigned yoe = (unsigned)(y - era * 400);
	unsigned doy = (153 * (c.month > 2 ? c.month - 3 : c.month + 9) + 2) / 5 + c.day - 1;

	return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

char *clock_iso(int64_t wall_us, char buf[CLOCK_ISO_SIZE])
{
	int64_t days, rest;
	struct civil c;
	char *p = buf;
	unsigned s;

	wall_us = wall_us < ISO_FIRST_US ? ISO_FIRST_US : wall_us > ISO_LAST_US ? ISO_LAST_US : wall_us;
	days = wall_us / (S_PER_DAY * US_PER_S);
	rest = wall_us % (S_PER_DAY * US_PER_S);
	if (rest < 0) {
		rest += S_PER_DAY * US_PER_S;
		days--;
	}
	c = civil_from_days(days);
	s = (unsigned)(rest / US_PER_S);
	p = put_digits(p, (unsigned)c.year, 4);
	*p++ = '-';
	p = put_digits(p, c.month, 2);
	*p++ = '-';
	p = put_digits(p, c.day, 2);
	*p++ = 'T';
	p = put_digits(p, s / 3600, 2);
	*p++ = ':';
	p = put_digits(p, s / 60 % 60, 2);
	*p++ = ':';
	p = put_digits(p, s % 60, 2);
	*p++ = '.';
	p = put_digits(p, (unsigned)(rest % US_PER_S), 6);
	*p++ = 'Z';
	*p = '\0';
	return buf;
}

/* Takes exactly width digits off the front. */
static bool take_digits(struct slice *s, size_t width, unsigned *ret)
{
	uint64_t v;

	if (s->n < width || slice_to_u64(slice_sub(*s, 0, width), &v))
		return false;
	*s = slice_sub(*s, width, s->n);
	*ret = (unsigned)v;
	return true;
}

static bool take_char(struct slice *s, char c)
{
	if (!s->n || s->p[0] != c)
		return false;
	*s = slice_sub(*s, 1, s->n);
	return true;
}

/* ".123456": any number of digits, those past the sixth dropped. */
static bool take_fraction(struct slice *s, int64_t *us)
{
	int64_t unit = US_PER_S / 10;
	size_t n = 0;

	if (!take_char(s, '.'))
		return true;
	for (; n < s->n && s->p[n] >= '0' && s->p[n] <= '9'; n++, unit /= 10)
		*us += unit * (s->p[n] - '0');
	*s = slice_sub(*s, n, s->n);
	return n > 0;
}

static bool take_zone(struct slice *s, int64_t *us)
{
	unsigned h, m;
	bool east = s->n && s->p[0] == '+';

	if (!s->n || take_char(s, 'Z') || take_char(s, 'z'))
		return true;
	if (!take_char(s, '+') && !take_char(s, '-'))
		return false;
	if (!take_digits(s, 2, &h) || !take_char(s, ':') || !take_digits(s, 2, &m) || h > 23 || m > 59)
		return false;
	*us += (int64_t)(h * 3600 + m * 60) * US_PER_S * (east ? -1 : 1);
	return true;
}

static bool take_time(struct slice *s, int64_t *us)
{
	unsigned h, m, sec = 0;

	if (!s->n)
		return true;
	if (!take_char(s, 'T') && !take_char(s, 't') && !take_char(s, ' '))
		return false;
	if (!take_digits(s, 2, &h) || !take_char(s, ':') || !take_digits(s, 2, &m) || h > 23 || m > 59)
		return false;
	if (take_char(s, ':')) {
		if (!take_digits(s, 2, &sec) || sec > 60 || !take_fraction(s, us))
			return false;
	}
	*us += (int64_t)(h * 3600 + m * 60 + sec) * US_PER_S;
	return take_zone(s, us);
}

static int parse_iso(struct slice s, int64_t *ret_wall_us)
{
	unsigned year, month, day;
	struct civil back;
	int64_t days, us = 0;

	if (!take_digits(&s, 4, &year) || !take_char(&s, '-') || !take_digits(&s, 2, &month) || !take_char(&s, '-') ||
	    !take_digits(&s, 2, &day) || month < 1 || month > 12 || day < 1 || day > 31)
		return E_INVALID;
	days = days_from_civil((struct civil){year, month, day});
	back = civil_from_days(days);
	if (back.month != month || !take_time(&s, &us) || s.n) /* the 30th of February comes back as another day */
		return E_INVALID;
	*ret_wall_us = days * S_PER_DAY * US_PER_S + us;
	return 0;
}

static int parse_seconds(struct slice s, int64_t *ret_wall_us)
{
	size_t n = 0;
	uint64_t whole;
	int64_t us = 0;

	while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
		n++;
	if (slice_to_u64(slice_sub(s, 0, n), &whole) || whole > (uint64_t)(ISO_LAST_US / US_PER_S))
		return E_INVALID;
	s = slice_sub(s, n, s.n);
	if (!take_fraction(&s, &us) || s.n)
		return E_INVALID;
	*ret_wall_us = (int64_t)whole * US_PER_S + us;
	return 0;
}

static const struct {
	const char *name;
	int64_t ms;
} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

/* A number and a unit; a bare number is not one. */
static int parse_unit(struct slice s, int64_t *ret_ms)
{
	int64_t v;
	size_t n = 0;

	while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
		n++;
	if (slice_to_i64(slice_sub(s, 0, n), &v))
		return E_INVALID;
	for (size_t i = 0; i < COUNT_OF(units); i++) {
		if (slice_eq_str(slice_sub(s, n, s.n), units[i].name)) {
			if (__builtin_mul_overflow(v, units[i].ms, &v))
				return E_INVALID;
			*ret_ms = v;
			return 0;
		}
	}
	return E_INVALID;
}

int clock_parse(struct slice s, int64_t now_wall_us, int64_t *ret_wall_us)
{
	int64_t ms, us;

	if (!parse_iso(s, ret_wall_us) || !parse_seconds(s, ret_wall_us))
		return 0;
	if (parse_unit(s, &ms) || __builtin_mul_overflow(ms, 1000, &us) || __builtin_sub_overflow(now_wall_us, us, &us))
		return E_INVALID;
	*ret_wall_us = us;
	return 0;
}

int clock_parse_duration_ms(struct slice s, int64_t *ret_ms)
{
	uint64_t v;

	if (slice_to_u64(s, &v))
		return parse_unit(s, ret_ms);
	if (v > INT64_MAX)
		return E_INVALID;
	*ret_ms = (int64_t)v;
	return 0;
}

char *clock_ago(int64_t delta_us, char buf[CLOCK_ISO_SIZE])
{
	int64_t s = delta_us / US_PER_S;

	if (s < 0)
		s = -s;
	if (s < 60)
		snprintf(buf, CLOCK_ISO_SIZE, "%d s", (int)s);
	else if (s < 3600)
		snprintf(buf, CLOCK_ISO_SIZE, "%d min", (int)(s / 60));
	else if (s < 2 * S_PER_DAY)
		snprintf(buf, CLOCK_ISO_SIZE, "%d h", (int)(s / 3600));
	else
		snprintf(buf, CLOCK_ISO_SIZE, "%lld days", (long long)(s / S_PER_DAY));
	return buf;
}
