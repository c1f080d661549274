/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prices in exact arithmetic.  What would break it: a double anywhere.  A JSON number is read from its text for that
 * reason, and a cost is summed in 128 bits before it is rounded.
 */
#include "domain/price.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/json/json.h"

#define DECIMALS 9
#define PER_TOKENS 1000000U
#define EXPONENT_MAX 30

__extension__ typedef unsigned __int128 wide;

/* A number's digits without its point: the value is digits * 10^-n_decimals. */
struct digits {
	int64_t value;
	int n_decimals;
	bool negative, any;
};

static int add_digit(struct digits *d, char c)
{
	d->any = true;
	if (__builtin_mul_overflow(d->value, 10, &d->value) || __builtin_add_overflow(d->value, c - '0', &d->value))
		return E_TOOBIG;
	return 0;
}

/* The exponent behind an 'e'. */
static int read_exponent(struct slice s, int *ret)
{
	bool negative = s.n && s.p[0] == '-';
	int v = 0;

	if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
		s = slice_sub(s, 1, s.n);
	if (!s.n)
		return E_INVALID;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return E_INVALID;
		v = v > EXPONENT_MAX ? v : v * 10 + (s.p[i] - '0');
	}
	*ret = negative ? -v : v;
	return 0;
}

static int read_digits(struct slice s, struct digits *d)
{
	int exponent = 0, rc = 0;
	bool point = false;
	size_t i = 0;

	if (s.n && s.p[0] == '-') {
		d->negative = true;
		i++;
	}
	for (; i < s.n && !rc; i++) {
		if (s.p[i] == 'e' || s.p[i] == 'E') {
			rc = read_exponent(slice_sub(s, i + 1, s.n), &exponent);
			break;
		}
		if (s.p[i] == '.' && !point) {
			point = true;
			continue;
		}
		if (s.p[i] < '0' || s.p[i] > '9')
			return E_INVALID;
		rc = add_digit(d, s.p[i]);
		d->n_decimals += point;
	}
	d->n_decimals -= exponent;
	return rc ? rc : d->any ? 0 : E_INVALID;
}

int money_read(struct slice s, int64_t *ret)
{
	struct digits d = {0};
	int rc = read_digits(s, &d);

	if (rc)
		return rc;
	for (; d.n_decimals > DECIMALS && d.value; d.n_decimals--) {
		if (d.value % 10)
			return E_INVALID;
		d.value /= 10;
	}
	for (; d.n_decimals < DECIMALS && d.value; d.n_decimals++)
		if (__builtin_mul_overflow(d.value, 10, &d.value))
			return E_TOOBIG;
	*ret = d.negative ? -d.value : d.value;
	return 0;
}

const char *money_format(int64_t nano, char out[MONEY_SIZE])
{
	uint64_t n = nano < 0 ? 0 - (uint64_t)nano : (uint64_t)nano;
	int len = snprintf(out, MONEY_SIZE, "%s%" PRIu64 ".%09" PRIu64, nano < 0 ? "-" : "", n / MONEY_ONE,
			   n % MONEY_ONE);

	while (out[len - 1] == '0')
		len--;
	if (out[len - 1] == '.')
		len--;
	out[len] = '\0';
	return out;
}

bool currency_read(struct slice s, char ret[CURRENCY_SIZE])
{
	if (s.n != CURRENCY_SIZE - 1)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 'A' || s.p[i] > 'Z')
			return false;
	memcpy(ret, s.p, s.n);
	ret[s.n] = '\0';
	return true;
}

static bool is_given(const struct json *v)
{
	return v && v->type != JSON_NULL;
}

static int amount_get(const struct json *price, const char *name, int64_t *ret, struct err *err)
{
	const struct json *v = json_get(price, name);
	int64_t amount = 0;
	int rc;

	if (!is_given(v))
		return err_set(err, E_INVALID,
			       "price.%s is missing: say what a million tokens cost, or leave the price out", name);
	if (v->type != JSON_NUMBER)
		return err_set(err, E_INVALID, "price.%s has to be a number, not a %s", name, json_type_name(v->type));
	rc = money_read(v->raw, &amount);
	if (rc == E_INVALID)
		return err_set(err, E_INVALID, "price.%s has more than nine decimals", name);
	if (rc || amount < 0 || amount > PRICE_MAX)
		return err_set(err, E_INVALID, "price.%s has to be from 0 to 1000000 for a million tokens", name);
	*ret = amount;
	return 0;
}

static int currency_get(const struct json *price, char ret[CURRENCY_SIZE], struct err *err)
{
	const struct json *v = json_get(price, "currency");

	if (!is_given(v)) {
		memcpy(ret, "USD", CURRENCY_SIZE);
		return 0;
	}
	if (v->type != JSON_STRING || !currency_read(v->str, ret))
		return err_set(err, E_INVALID, "price.currency has to be three capital letters, as in USD or EUR");
	return 0;
}

static int members_refuse(const struct json *price, struct err *err)
{
	static const char *const known[] = {"input", "output", "cached_input", "currency"};

	for (const struct json *v = price->first; v; v = v->next) {
		size_t i = 0;

		while (i < COUNT_OF(known) && !slice_eq_str(v->key, known[i]))
			i++;
		if (i == COUNT_OF(known))
			return err_set(err, E_INVALID,
				       "price." SLICE_FMT
				       " is not known: a price has input, output, cached_input and currency",
				       SLICE_ARG(slice_sub(v->key, 0, 64)));
	}
	return 0;
}

int price_parse(const struct json *v, struct price *ret, struct err *err)
{
	struct price p = {.input = 0};
	int rc;

	if (!is_given(v)) {
		*ret = p;
		return 0;
	}
	if (v->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "price has to be an object, not a %s", json_type_name(v->type));
	if ((rc = members_refuse(v, err)) || (rc = amount_get(v, "input", &p.input, err)) ||
	    (rc = amount_get(v, "output", &p.output, err)) || (rc = currency_get(v, p.currency, err)))
		return rc;
	p.cached_input = p.input;
	if (is_given(json_get(v, "cached_input")) && (rc = amount_get(v, "cached_input", &p.cached_input, err)))
		return rc;
	*ret = p;
	return 0;
}

static wide part(int64_t tokens, int64_t price)
{
	return tokens > 0 && price > 0 ? (wide)tokens * (wide)price : 0;
}

struct money price_cost(const struct price *p, int64_t prompt_tokens, int64_t cached_tokens, int64_t completion_tokens)
{
	int64_t cached = cached_tokens > prompt_tokens ? prompt_tokens : cached_tokens;
	struct money m = {.nano = 0};
	wide sum;

	if (!p->currency[0])
		return m;
	if (cached < 0)
		cached = 0;
	sum = part(prompt_tokens - cached, p->input) + part(cached, p->cached_input) +
	      part(completion_tokens, p->output) + PER_TOKENS / 2;
	sum /= PER_TOKENS;
	m.nano = sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
	memcpy(m.currency, p->currency, sizeof(m.currency));
	return m;
}
