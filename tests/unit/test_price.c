/* SPDX-License-Identifier: Apache-2.0 */
/* Prices and costs: what is written comes out exactly, and nothing runs over. */
#include "core/json/json.h"
#include "domain/price.h"
#include "tests/t.h"

#define HUGE_TOKENS INT64_C(9000000000000000000)

static const struct {
	const char *text;
	int rc;
	int64_t nano;
} amounts[] = {
	{"0", 0, 0},
	{"0.0", 0, 0},
	{"-0", 0, 0},
	{"0.15", 0, 150000000},
	{"2.5", 0, 2500000000},
	{"15", 0, 15000000000},
	{"1e-9", 0, 1},
	{"0.000000001", 0, 1},
	{"0.0000000010", 0, 1},
	{"10e-10", 0, 1},
	{"1.5E+2", 0, 150000000000},
	{"-0.5", 0, -500000000},
	{"0e999999999999", 0, 0},
	{"9223372036.854775807", 0, INT64_MAX},
	{"9223372036.854775808", E_TOOBIG, 0},
	{"9223372037", E_TOOBIG, 0},
	{"1e30", E_TOOBIG, 0},
	{"1e99999999999999", E_TOOBIG, 0},
	{"99999999999999999999", E_TOOBIG, 0},
	{"0.0000000001", E_INVALID, 0},
	{"1e-99999999999999", E_INVALID, 0},
	{"1.0000000001", E_INVALID, 0},
	{"", E_INVALID, 0},
	{"-", E_INVALID, 0},
	{".", E_INVALID, 0},
	{"1.2.3", E_INVALID, 0},
	{"1e", E_INVALID, 0},
	{"1e+", E_INVALID, 0},
	{"1ex", E_INVALID, 0},
	{"nan", E_INVALID, 0},
	{"0x10", E_INVALID, 0},
};

TEST(an_amount_is_read_from_its_text)
{
	for (size_t i = 0; i < COUNT_OF(amounts); i++) {
		int64_t nano = 0;

		CHECK_INT(money_read(slice_from(amounts[i].text), &nano), amounts[i].rc);
		CHECK_INT(nano, amounts[i].nano);
	}
}

static const struct {
	int64_t nano;
	const char *text;
} shown[] = {
	{0, "0"},
	{1, "0.000000001"},
	{1500, "0.0000015"},
	{1000000000, "1"},
	{10000000000, "10"},
	{-2500000000, "-2.5"},
	{INT64_MAX, "9223372036.854775807"},
	{INT64_MIN, "-9223372036.854775808"},
};

TEST(an_amount_is_shown_with_the_decimals_that_it_needs)
{
	for (size_t i = 0; i < COUNT_OF(shown); i++) {
		char text[MONEY_SIZE];
		int64_t back = 0;

		CHECK_STR(money_format(shown[i].nano, text), shown[i].text);
		if (shown[i].nano != INT64_MIN) {
			CHECK_INT(money_read(slice_from(text), &back), 0);
			CHECK_INT(back, shown[i].nano);
		}
	}
}

static const struct {
	struct price price;
	int64_t prompt, cached, completion, nano;
} costs[] = {
	{{"USD", 150000000, 600000000, 75000000}, 1000000, 0, 1000000, 750000000},
	{{"USD", 150000000, 600000000, 75000000}, 7, 0, 3, 2850},
	{{"USD", 150000000, 600000000, 75000000}, 1000, 400, 0, 120000}, /* 600 at 150 and 400 at 75 */
	{{"USD", 150000000, 600000000, 75000000}, 100, 900, 0, 7500},	 /* no more were cached than came */
	{{"USD", 150000000, 600000000, 75000000}, 100, -1, -1, 15000},	 /* unknown counts */
	{{"USD", 150000000, 600000000, 75000000}, -1, -1, -1, 0},
	{{"USD", 0, 0, 0}, 1000, 0, 1000, 0},	  /* free of charge is known */
	{{"USD", 1, 1, 1}, 499999, 0, 0, 0},	  /* rounded to the nearest, ... */
	{{"USD", 1, 1, 1}, 500000, 0, 0, 1},	  /* half up, ... */
	{{"USD", 1, 1, 1}, 250000, 0, 250000, 1}, /* and once: not each part */
	{{"USD", PRICE_MAX, PRICE_MAX, PRICE_MAX}, 9000000, 0, 0, INT64_C(9000000) * MONEY_ONE},
	{{"USD", PRICE_MAX, PRICE_MAX, PRICE_MAX}, HUGE_TOKENS, 0, HUGE_TOKENS, INT64_MAX},
	{{"USD", PRICE_MAX, PRICE_MAX, PRICE_MAX}, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX},
};

TEST(a_cost_is_exact_and_does_not_run_over)
{
	for (size_t i = 0; i < COUNT_OF(costs); i++) {
		struct money m = price_cost(&costs[i].price, costs[i].prompt, costs[i].cached, costs[i].completion);

		CHECK(money_known(&m));
		CHECK_STR(m.currency, "USD");
		CHECK_INT(m.nano, costs[i].nano);
	}
}

TEST(without_a_price_the_cost_is_not_known)
{
	struct price none = {.input = 0};
	struct money m = price_cost(&none, 1000, 0, 1000);

	CHECK(!money_known(&m));
}

static const struct {
	const char *json, *wrong; /* wrong: what the error says */
} documents[] = {
	{"{\"input\":0.15,\"output\":0.6}", NULL},
	{"{\"input\":0,\"output\":0,\"currency\":null,\"cached_input\":null}", NULL},
	{"{\"input\":1000000,\"output\":1,\"cached_input\":0.000000001,\"currency\":\"EUR\"}", NULL},
	{"null", NULL},
	{"[]", "price has to be an object, not a array"},
	{"{}", "price.input is missing"},
	{"{\"input\":1}", "price.output is missing"},
	{"{\"input\":1,\"output\":null}", "price.output is missing"},
	{"{\"input\":\"1\",\"output\":1}", "price.input has to be a number, not a string"},
	{"{\"input\":-1,\"output\":1}", "price.input has to be from 0 to 1000000"},
	{"{\"input\":1,\"output\":1000000.000000001}", "price.output has to be from 0 to 1000000"},
	{"{\"input\":1e300,\"output\":1}", "price.input has to be from 0 to 1000000"},
	{"{\"input\":0.0000000001,\"output\":1}", "price.input has more than nine decimals"},
	{"{\"input\":1,\"output\":1,\"currency\":\"usd\"}", "price.currency has to be three capital letters"},
	{"{\"input\":1,\"output\":1,\"currency\":\"EURO\"}", "price.currency has to be three capital letters"},
	{"{\"input\":1,\"output\":1,\"currency\":7}", "price.currency has to be three capital letters"},
	{"{\"input\":1,\"output\":1,\"inptu\":1}", "price.inptu is not known"},
};

TEST(a_price_is_checked)
{
	struct json_parser *p = json_parser_new();

	for (size_t i = 0; i < COUNT_OF(documents); i++) {
		struct price price = {.input = -7};
		struct err err = {0};
		struct json *root;
		struct arena a;

		arena_init(&a, 1024, 65536);
		CHECK_INT(json_parse_copy(p, &a, slice_from(documents[i].json), NULL, &root, &err), 0);
		CHECK_INT(price_parse(root, &price, &err), documents[i].wrong ? E_INVALID : 0);
		CHECK(strstr(err.text, documents[i].wrong ? documents[i].wrong : ""));
		CHECK((price.input == -7) == (documents[i].wrong != NULL));
		arena_release(&a);
	}
	json_parser_free(p);
}

TEST(cached_tokens_cost_what_others_do_unless_it_is_said)
{
	struct json_parser *p = json_parser_new();
	struct price price = {.input = 0};
	struct err err = {0};
	struct json *root;
	struct arena a;

	arena_init(&a, 1024, 65536);
	CHECK_INT(json_parse_copy(p, &a, SLICE_LIT("{\"input\":2.5,\"output\":10}"), NULL, &root, &err), 0);
	CHECK_INT(price_parse(root, &price, &err), 0);
	CHECK_INT(price.cached_input, 2500000000);
	CHECK_INT(price.output, 10000000000);
	CHECK_STR(price.currency, "USD");
	arena_release(&a);
	json_parser_free(p);
}
