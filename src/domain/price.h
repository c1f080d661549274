/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model costs, and what an answer has cost.  Money is a whole number of billionths of a unit of its currency:
 * nothing is rounded but the cost of one answer, once.
 */
#pragma once
#include "core/base/err.h"
#include "core/base/slice.h"

#define CURRENCY_SIZE 4				 /* three letters and a NUL */
#define MONEY_ONE INT64_C(1000000000)		 /* nano-units of one unit */
#define PRICE_MAX (INT64_C(1000000) * MONEY_ONE) /* of a million tokens */

/* Of a million tokens, in nano-units.  No currency: no price is known, and no price is not a price of 0. */
struct price {
	char currency[CURRENCY_SIZE];
	int64_t input, output;
	int64_t cached_input; /* of prompt tokens that the provider had cached */
};

/* No currency: it is not known. */
struct money {
	char currency[CURRENCY_SIZE];
	int64_t nano;
};

static inline bool money_known(const struct money *m)
{
	return m->currency[0] != '\0';
}

struct json;
/* {input, output, cached_input?, currency?}, or NULL: *ret is no price then.  E_INVALID names the member. */
int price_parse(const struct json *v, struct price *ret, struct err *err);

/* Counts below 0 are 0; cached tokens are part of the prompt's.  Rounded to the nearest, half up; at most INT64_MAX. */
struct money price_cost(const struct price *p, int64_t prompt_tokens, int64_t cached_tokens, int64_t completion_tokens);

/* Three capital letters.  False: it is none, and ret is left alone. */
bool currency_read(struct slice s, char ret[CURRENCY_SIZE]);

#define MONEY_SIZE 24
/* "0.0000015": as many decimals as it needs.  It is a JSON number.  Returns out. */
const char *money_format(int64_t nano, char out[MONEY_SIZE]);
/* A decimal number with at most nine decimals.  E_INVALID: it is none; E_TOOBIG: past what is counted. */
int money_read(struct slice s, int64_t *ret);
