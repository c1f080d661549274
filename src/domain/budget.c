/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets as values.  What would break it: two daemons that disagree on when a period begins. */
#include "domain/budget.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/json/json.h"
#include "core/json/writer.h"

#define HOUR_US INT64_C(3600000000)
#define DAY_US (24 * HOUR_US)

static const char *const period_names[] = {
	[BUDGET_HOUR] = "hour", [BUDGET_DAY] = "day", [BUDGET_MONTH] = "month", [BUDGET_TOTAL] = "total"};
static const char *const members[] = {[BUDGET_MONEY] = "budget", [BUDGET_TOKENS] = "token_budget"};

const char *budget_period_name(enum budget_period p)
{
	return period_names[p];
}

const char *budget_unit_name(const struct budget *b, enum budget_unit unit)
{
	return unit == BUDGET_MONEY ? b->currency : "tokens";
}

/* --- periods --- */

static int64_t floor_to(int64_t at_us, int64_t step_us)
{
	int64_t rest = at_us % step_us;

	return at_us - (rest < 0 ? rest + step_us : rest);
}

/* Days since 1970 to year and month, and back to the first of one (the civil calendar, any year from 0 on). */
static void month_of(int64_t days, int64_t *ret_year, int64_t *ret_month)
{
	int64_t z = days + 719468, era = z / 146097, day = z - era * 146097;
	int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	int64_t m = (5 * (day - (365 * year + year / 4 - year / 100)) + 2) / 153;

	*ret_month = m < 10 ? m + 3 : m - 9;
	*ret_year = year + era * 400 + (*ret_month <= 2);
}

static int64_t first_of_month(int64_t year, int64_t month)
{
	int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
	int64_t day = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + day - 719468;
}

void budget_period_bounds(enum budget_period p, int64_t at_us, int64_t *ret_start_us, int64_t *ret_end_us)
{
	int64_t year, month;

	switch (p) {
	case BUDGET_HOUR:
	case BUDGET_DAY:
		*ret_start_us = floor_to(at_us, p == BUDGET_HOUR ? HOUR_US : DAY_US);
		*ret_end_us = *ret_start_us + (p == BUDGET_HOUR ? HOUR_US : DAY_US);
		return;
	case BUDGET_MONTH:
		month_of(floor_to(at_us, DAY_US) / DAY_US, &year, &month);
		*ret_start_us = first_of_month(year, month) * DAY_US;
		*ret_end_us = first_of_month(month == 12 ? year + 1 : year, month == 12 ? 1 : month + 1) * DAY_US;
		return;
	case BUDGET_TOTAL:
		*ret_start_us = 0;
		*ret_end_us = INT64_MAX;
		return;
	}
}

/* --- texts --- */

static int how_it_is_written(enum budget_unit unit, struct slice text, struct err *err)
{
	return err_set(err, E_INVALID, "%s is written as %s/hour, /day, /month or /total, not '" SLICE_FMT "'",
		       members[unit],
		       unit == BUDGET_MONEY ? "50/month or 50 EUR/month: an amount" : "2000000/day: a number",
		       SLICE_ARG(slice_sub(text, 0, 64)));
}

static int amount_parse(struct slice s, enum budget_unit unit, int64_t *ret)
{
	int rc = unit == BUDGET_MONEY ? money_read(s, ret) : slice_to_i64(s, ret);

	return rc ? rc : *ret < 1 || *ret > BUDGET_MAX ? E_INVALID : 0;
}

int budget_parse(struct slice text, enum budget_unit unit, struct budget *ret, struct err *err)
{
	struct budget b = {.period = BUDGET_HOUR};
	ptrdiff_t slash = slice_chr(text, '/'), space;
	struct slice amount, period;
	unsigned p = BUDGET_HOUR;

	if (!text.n) {
		*ret = b;
		return 0;
	}
	if (slash < 0)
		return how_it_is_written(unit, text, err);
	amount = slice_trim(slice_sub(text, 0, (size_t)slash));
	period = slice_trim(slice_sub(text, (size_t)slash + 1, text.n));
	while (p <= BUDGET_TOTAL && !slice_eq_str(period, period_names[p]))
		p++;
	space = slice_chr(amount, ' ');
	if (unit == BUDGET_MONEY)
		memcpy(b.currency, "USD", CURRENCY_SIZE);
	if (unit == BUDGET_MONEY && space > 0) {
		if (!currency_read(slice_trim(slice_sub(amount, (size_t)space, amount.n)), b.currency))
			return how_it_is_written(unit, text, err);
		amount = slice_sub(amount, 0, (size_t)space);
	}
	if (p > BUDGET_TOTAL || amount_parse(amount, unit, &b.amount))
		return how_it_is_written(unit, text, err);
	b.period = (enum budget_period)p;
	*ret = b;
	return 0;
}

const char *budget_amount(int64_t amount, enum budget_unit unit, char out[MONEY_SIZE])
{
	if (unit == BUDGET_MONEY)
		return money_format(amount, out);
	(void)snprintf(out, MONEY_SIZE, "%" PRId64, amount); /* nineteen digits and a sign at most */
	return out;
}

const char *budget_format(const struct budget *b, enum budget_unit unit, char out[BUDGET_TEXT])
{
	char amount[MONEY_SIZE];

	out[0] = '\0';
	if (b->amount)
		(void)snprintf(out, BUDGET_TEXT, "%s%s%s/%s", budget_amount(b->amount, unit, amount),
			       unit == BUDGET_MONEY ? " " : "", b->currency, period_names[b->period]);
	return out;
}

int budgets_parse(const struct json *root, struct budgets *ret, struct err *err)
{
	*ret = (struct budgets){0};
	for (unsigned u = 0; u < BUDGET_N_UNITS; u++) {
		struct slice text = {NULL, 0};
		int rc = json_get_str(root, members[u], &text, err);

		if (!rc)
			rc = budget_parse(text, (enum budget_unit)u, &ret->of[u], err);
		if (rc)
			return rc;
	}
	return 0;
}

void budgets_write(struct json_writer *w, const struct budgets *b)
{
	char text[BUDGET_TEXT];

	for (unsigned u = 0; u < BUDGET_N_UNITS; u++)
		jw_kcstr(w, members[u], b->of[u].amount ? budget_format(&b->of[u], (enum budget_unit)u, text) : NULL);
}
