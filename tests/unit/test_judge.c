/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts: from counts and limits, with too few, with enough, at the limit and one past it. */
#include "control/rollout/judge.h"

#include <math.h>

#include "core/json/writer.h"
#include "t.h"

#define OFF (-1.0)

static const struct {
	double error_rate, violation_rate;
	int64_t min_samples;
	uint64_t requests, errors, violations;
	enum verdict error, violation, all;
} rates[] = {
	{0.05, 0.01, 100, 0, 0, 0, VERDICT_INCONCLUSIVE, VERDICT_INCONCLUSIVE, VERDICT_INCONCLUSIVE},
	{0.05, 0.01, 100, 99, 0, 0, VERDICT_INCONCLUSIVE, VERDICT_INCONCLUSIVE, VERDICT_INCONCLUSIVE},
	{0.05, 0.01, 100, 100, 0, 0, VERDICT_PASS, VERDICT_PASS, VERDICT_PASS},
	{0.05, 0.01, 100, 100, 5, 1, VERDICT_PASS, VERDICT_PASS, VERDICT_PASS},
	{0.05, 0.01, 100, 100, 6, 1, VERDICT_FAIL, VERDICT_PASS, VERDICT_FAIL},
	{0.05, 0.01, 100, 100, 0, 2, VERDICT_PASS, VERDICT_FAIL, VERDICT_FAIL},
	/* as soon as the missing samples could not mend it */
	{0.05, 0.01, 100, 5, 5, 0, VERDICT_INCONCLUSIVE, VERDICT_INCONCLUSIVE, VERDICT_INCONCLUSIVE},
	{0.05, 0.01, 100, 6, 6, 0, VERDICT_FAIL, VERDICT_INCONCLUSIVE, VERDICT_FAIL},
	{0.05, 0.01, 100, 2, 0, 2, VERDICT_INCONCLUSIVE, VERDICT_FAIL, VERDICT_FAIL},
	{0, 0, 100, 1, 1, 0, VERDICT_FAIL, VERDICT_INCONCLUSIVE, VERDICT_FAIL},
	{1, 1, 1, 10, 10, 10, VERDICT_PASS, VERDICT_PASS, VERDICT_PASS},
	/* not judged: still never good with too few */
	{OFF, OFF, 100, 99, 99, 99, VERDICT_NONE, VERDICT_NONE, VERDICT_INCONCLUSIVE},
	{OFF, OFF, 100, 100, 100, 100, VERDICT_NONE, VERDICT_NONE, VERDICT_PASS},
	{0.05, 0.01, 100, 1000000, 50000, 10000, VERDICT_PASS, VERDICT_PASS, VERDICT_PASS},
	{0.05, 0.01, 100, 1000000, 50001, 10000, VERDICT_FAIL, VERDICT_PASS, VERDICT_FAIL},
};

TEST(rates_pass_up_to_the_limit_and_fail_past_it)
{
	for (size_t i = 0; i < COUNT_OF(rates); i++) {
		const struct deploy_thresholds t = {.error_rate = rates[i].error_rate,
						    .violation_rate = rates[i].violation_rate,
						    .latency_p95_ms = OFF,
						    .latency_p95_ratio = OFF,
						    .min_samples = rates[i].min_samples};
		const struct rollout_counts candidate = {rates[i].requests, rates[i].errors, rates[i].violations, {0}};
		const struct rollout_counts current = {0};
		char text[JUDGEMENT_TEXT];
		struct judgement j;

		judge(&t, &candidate, &current, &j);
		CHECK_INT(j.row[0].verdict, rates[i].error);
		CHECK_INT(j.row[2].verdict, rates[i].violation);
		CHECK_INT(j.verdict, rates[i].all);
		CHECK(judgement_text(&j, text)[0] != 0);
		CHECK(j.verdict != VERDICT_FAIL || strstr(text, "limit"));
	}
}

static struct rollout_counts timed(uint64_t n, uint64_t us)
{
	struct rollout_counts c = {.requests = n};
	struct latency_sketch s = {0};

	for (uint64_t i = 0; i < n; i++)
		latency_observe_us(&s, us);
	latency_add(&s, c.latency);
	return c;
}

static const struct {
	double limit_ms, ratio;
	uint64_t n, us, n_current, us_current;
	enum verdict verdict;
} latencies[] = {
	{OFF, OFF, 100, 900000, 100, 1000, VERDICT_NONE},
	{500, OFF, 100, 100000, 0, 0, VERDICT_PASS},
	{500, OFF, 100, 700000, 0, 0, VERDICT_FAIL},
	{500, OFF, 99, 700000, 0, 0, VERDICT_INCONCLUSIVE},
	{OFF, 2, 100, 100000, 100, 100000, VERDICT_PASS},
	{OFF, 2, 100, 300000, 100, 100000, VERDICT_FAIL},
	{OFF, 2, 100, 300000, 99, 100000, VERDICT_INCONCLUSIVE}, /* to what? */
	{OFF, 2, 100, 300000, 0, 0, VERDICT_INCONCLUSIVE},
	{500, 2, 100, 700000, 0, 0, VERDICT_FAIL}, /* one limit is enough */
	{500, 2, 100, 300000, 100, 100000, VERDICT_FAIL},
	{500, 9, 100, 700000, 100, 100000, VERDICT_FAIL},
	{500, 9, 100, 300000, 100, 100000, VERDICT_PASS},
};

TEST(latency_is_judged_by_its_own_limit_and_by_the_current_models)
{
	for (size_t i = 0; i < COUNT_OF(latencies); i++) {
		const struct deploy_thresholds t = {.error_rate = OFF,
						    .violation_rate = OFF,
						    .latency_p95_ms = latencies[i].limit_ms,
						    .latency_p95_ratio = latencies[i].ratio,
						    .min_samples = 100};
		struct rollout_counts candidate = timed(latencies[i].n, latencies[i].us);
		struct rollout_counts current = timed(latencies[i].n_current, latencies[i].us_current);
		struct judgement j;

		judge(&t, &candidate, &current, &j);
		CHECK_INT(j.row[1].verdict, latencies[i].verdict);
	}
}

TEST(all_errors_and_no_answer_leave_latency_open)
{
	const struct deploy_thresholds t = {.error_rate = 1,
					    .violation_rate = OFF,
					    .latency_p95_ms = 10,
					    .latency_p95_ratio = OFF,
					    .min_samples = 1};
	const struct rollout_counts candidate = {10, 10, 0, {0}}, current = {0};
	struct judgement j;

	judge(&t, &candidate, &current, &j);
	CHECK_INT(j.row[1].verdict, VERDICT_INCONCLUSIVE);
	CHECK_INT(j.verdict, VERDICT_INCONCLUSIVE);
}

TEST(the_reason_has_values_counts_and_limits)
{
	const struct deploy_thresholds t = {.error_rate = 0.05,
					    .violation_rate = 0.0022,
					    .latency_p95_ms = 20,
					    .latency_p95_ratio = OFF,
					    .min_samples = 50};
	struct rollout_counts c = {50, 6, 0, {0}}, none = {0};
	char text[JUDGEMENT_TEXT];
	struct judgement j;

	judge(&t, &c, &none, &j);
	CHECK_STR(judgement_text(&j, text), "error rate 12.00 % (6 of 50 requests), limit 5.00 %");
	c = (struct rollout_counts){4120, 0, 13, {0}};
	judge(&t, &c, &none, &j);
	CHECK_STR(judgement_text(&j, text), "guardrail violations 0.32 % (13 of 4120 requests), limit 0.22 %");
	c = timed(60, 40000);
	judge(&t, &c, &none, &j);
	CHECK(strstr(judgement_text(&j, text), "latency p95 4") && strstr(text, "ms (60 answers), limit 20 ms"));
	c = timed(7, 1000);
	judge(&t, &c, &none, &j);
	CHECK_STR(judgement_text(&j, text), "inconclusive: 7 of 50 requests that are asked for");
}

TEST(counts_are_taken_since_a_mark_and_from_zero_in_a_new_process)
{
	struct rollout_counts before = timed(5, 1000), now = timed(8, 1000), d;

	before.errors = 3;
	now.errors = 1; /* it counts from 0 again */
	rollout_counts_since(&now, &before, &d);
	CHECK_INT(d.requests, 3);
	CHECK_INT(d.errors, 1);
	CHECK_INT(d.latency[0], 3);
}

static const struct {
	uint64_t us;
} observed[] = {{0},	{1},	 {1023},    {1024},	{1151},	      {1152},	    {2047},
		{2048}, {99999}, {1000000}, {60000000}, {1073741823}, {1073741824}, {UINT64_MAX}};

TEST(a_latency_is_found_again_within_an_eighth)
{
	for (size_t i = 0; i < COUNT_OF(observed); i++) {
		struct latency_sketch s = {0};
		uint64_t counts[LATENCY_BUCKETS] = {0};
		double ms, want = (double)observed[i].us / 1000.0;

		latency_observe_us(&s, observed[i].us);
		latency_add(&s, counts);
		ms = latency_quantile_ms(counts, 0.95);
		if (observed[i].us < 1024)
			CHECK(ms >= 0 && ms <= 1.024);
		else if (observed[i].us < 1073741824)
			CHECK(fabs(ms - want) <= want / 8);
		else
			CHECK(ms > 900000);
	}
}

TEST(quantiles_of_an_even_spread_are_where_they_belong)
{
	struct latency_sketch s = {0};
	uint64_t counts[LATENCY_BUCKETS] = {0};

	CHECK(latency_quantile_ms(counts, 0.5) < 0);
	for (uint64_t us = 1000; us <= 1000000; us += 1000)
		latency_observe_us(&s, us);
	latency_add(&s, counts);
	CHECK(fabs(latency_quantile_ms(counts, 0.95) - 950) < 20);
	CHECK(fabs(latency_quantile_ms(counts, 0.5) - 500) < 15);
}

TEST(a_judgement_is_written_with_null_for_what_is_unknown)
{
	const struct deploy_thresholds t = {OFF, OFF, OFF, OFF, 5};
	const struct rollout_counts none = {0};
	struct json_writer w;
	struct judgement j;
	struct buf out;

	judge(&t, &none, &none, &j);
	buf_init(&out, 4096);
	jw_init(&w, &out);
	judgement_write(&w, &j);
	CHECK(strstr(buf_cstr(&out),
		     "\"verdict\":\"inconclusive\",\"samples\":0,\"current_samples\":0,\"min_samples\":5"));
	CHECK(strstr(buf_cstr(&out),
		     "{\"metric\":\"error_rate\",\"candidate\":null,\"current\":null,\"limit\":null,\"count\":"
		     "0,\"verdict\":\"not_judged\"}"));
	buf_release(&out);
}

TEST(latencies_are_written_and_added_up)
{
	static const struct {
		const char *text;
		int rc;
	} texts[] = {
		{"", 0},
		{"0:1", 0},
		{"160:5 3:2", 0},
		{"161:1", E_INVALID},
		{"1:", E_INVALID},
		{":1", E_INVALID},
		{"1", E_INVALID},

		{"1:-2", E_INVALID},
		{"3:4 x:1", E_INVALID},
		{"0:18446744073709551615 0:1", E_INVALID},
	};
	uint64_t counts[LATENCY_BUCKETS] = {0}, back[LATENCY_BUCKETS] = {0};
	CLEANUP(buf_release) struct buf out;

	buf_init(&out, LATENCY_TEXT_MAX);
	for (size_t i = 0; i < LATENCY_BUCKETS; i++)
		counts[i] = i % 3 ? UINT64_MAX - i : 0;
	latency_write(counts, &out);
	CHECK(!buf_failed(&out));
	CHECK_INT(latency_read(buf_slice(&out), back), 0);
	CHECK(!memcmp(counts, back, sizeof(counts)));
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		uint64_t into[LATENCY_BUCKETS] = {7, 0};

		CHECK_INT(latency_read(slice_from(texts[i].text), into), texts[i].rc);
		CHECK(!texts[i].rc || (into[0] == 7 && into[3] == 0));
	}
}
