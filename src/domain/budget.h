/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much may be spent in a period: money in one currency, or tokens.  Periods are calendar ones, in UTC: an hour, a
 * day and a month begin when the clock says so, and a total never begins anew.  People write "50/month", "50 EUR/month"
 * and "2000000/day".
 */
#pragma once
#include "domain/price.h"

enum budget_unit { BUDGET_MONEY, BUDGET_TOKENS };
#define BUDGET_N_UNITS 2
enum budget_period { BUDGET_HOUR, BUDGET_DAY, BUDGET_MONTH, BUDGET_TOTAL };

#define BUDGET_MAX INT64_C(1000000000000000000) /* a thousand million units of money, or so many tokens */

struct budget {
	int64_t amount;		      /* nano-units, or tokens; 0: there is no budget */
	char currency[CURRENCY_SIZE]; /* of money */
	enum budget_period period;
};

/* What a key or a use case may spend, by unit. */
struct budgets {
	struct budget of[BUDGET_N_UNITS];
};

#define BUDGET_TEXT 64
/* "" is none.  E_INVALID says how it is written. */
int budget_parse(struct slice text, enum budget_unit unit, struct budget *ret, struct err *err);
/* What budget_parse reads back, with its currency; "" for none.  Returns out. */
const char *budget_format(const struct budget *b, enum budget_unit unit, char out[BUDGET_TEXT]);
/* Its amount alone: "50", "2000000". */
const char *budget_amount(int64_t amount, enum budget_unit unit, char out[MONEY_SIZE]);
const char *budget_period_name(enum budget_period p);
/* "USD" or "tokens" */
const char *budget_unit_name(const struct budget *b, enum budget_unit unit);

/* The period that a moment is in: from *ret_start_us to before *ret_end_us.  A total is from 0 to INT64_MAX. */
void budget_period_bounds(enum budget_period p, int64_t at_us, int64_t *ret_start_us, int64_t *ret_end_us);

struct json;
struct json_writer;
/* The members budget and token_budget of an object: null and "" are none. */
int budgets_parse(const struct json *root, struct budgets *ret, struct err *err);
/* The same two, null where there is none. */
void budgets_write(struct json_writer *w, const struct budgets *b);
