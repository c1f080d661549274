/* SPDX-License-Identifier: Apache-2.0 */
/* The circuit breaker, transition by transition. */
#include "serving/resilience/breaker.h"

#include "core/base/util.h"
#include "t.h"

#define NOW INT64_C(1000000)

static struct breaker_state opened(int64_t now_ms)
{
	struct breaker_state s = {0};

	for (int i = 0; i < BREAKER_LIMIT / BREAKER_FAULT; i++)
		(void)breaker_fault(&s, BREAKER_LET_THROUGH, now_ms); /* the mode is looked at */
	return s;
}

TEST(five_faults_in_a_row_open_it_and_four_do_not)
{
	struct breaker_state s = {0};

	for (int i = 0; i < 4; i++) {
		CHECK(!breaker_fault(&s, BREAKER_LET_THROUGH, NOW));
		CHECK_INT(breaker_admit(&s, NOW, 0), BREAKER_LET_THROUGH);
	}
	CHECK(breaker_fault(&s, BREAKER_LET_THROUGH, NOW));
	CHECK_INT(breaker_mode(s), BREAKER_OPEN);
	CHECK_INT(breaker_admit(&s, NOW, 0), BREAKER_REFUSED);
	CHECK_INT(breaker_wait_ms(s, NOW), BREAKER_OPEN_MS);
}

/* One fault in `of`: does it open within a thousand requests? */
static const struct {
	int of;
	bool opens;
} shares[] = {{1, true}, {2, true}, {3, false}, {4, false}, {10, false}};

TEST(it_opens_when_more_than_one_in_three_is_a_fault)
{
	for (size_t i = 0; i < COUNT_OF(shares); i++) {
		struct breaker_state s = {0};

		for (int k = 0; k < 1000 && breaker_mode(s) == BREAKER_CLOSED; k++) {
			if (k % shares[i].of == 0)
				(void)breaker_fault(&s, BREAKER_LET_THROUGH, NOW); /* the mode is looked at */
			else
				breaker_good(&s, BREAKER_LET_THROUGH, NOW);
		}
		CHECK_INT(breaker_mode(s), shares[i].opens ? BREAKER_OPEN : BREAKER_CLOSED);
	}
}

TEST(a_good_answer_to_one_that_is_well_changes_nothing)
{
	struct breaker_state s = {0};

	breaker_good(&s, BREAKER_LET_THROUGH, NOW);
	CHECK_INT(s.bits, 0);
}

TEST(after_its_time_one_probe_is_let_through_and_no_second)
{
	struct breaker_state s = opened(NOW);

	CHECK_INT(breaker_admit(&s, NOW + BREAKER_OPEN_MS - 1, 0), BREAKER_REFUSED);
	CHECK_INT(breaker_admit(&s, NOW + BREAKER_OPEN_MS, 0), BREAKER_IS_PROBE);
	CHECK_INT(breaker_mode(s), BREAKER_PROBING);
	for (int i = 0; i < 100; i++)
		CHECK_INT(breaker_admit(&s, NOW + BREAKER_OPEN_MS + i, (uint32_t)i), BREAKER_REFUSED);
}

TEST(a_probe_that_never_comes_back_is_followed_by_another)
{
	struct breaker_state s = opened(NOW);
	int64_t at = NOW + BREAKER_OPEN_MS;

	CHECK_INT(breaker_admit(&s, at, 0), BREAKER_IS_PROBE);
	CHECK_INT(breaker_admit(&s, at + BREAKER_PROBE_MS - 1, 0), BREAKER_REFUSED);
	CHECK_INT(breaker_admit(&s, at + BREAKER_PROBE_MS, 0), BREAKER_IS_PROBE);
}

TEST(a_probe_that_tells_nothing_lets_the_next_one_through_at_once)
{
	struct breaker_state s = opened(NOW);
	int64_t at = NOW + BREAKER_OPEN_MS;

	CHECK_INT(breaker_admit(&s, at, 0), BREAKER_IS_PROBE);
	breaker_untold(&s, BREAKER_LET_THROUGH, at); /* another's end: no matter */
	CHECK_INT(breaker_admit(&s, at, 0), BREAKER_REFUSED);
	breaker_untold(&s, BREAKER_IS_PROBE, at + 7);
	CHECK_INT(breaker_admit(&s, at + 7, 0), BREAKER_IS_PROBE);
}

TEST(each_time_it_stays_open_twice_as_long_up_to_a_minute)
{
	static const int64_t lasts[] = {5000, 10000, 20000, 40000, 60000, 60000};
	struct breaker_state s = opened(NOW);
	int64_t now = NOW;

	for (size_t i = 0; i < COUNT_OF(lasts); i++) {
		CHECK_INT(breaker_wait_ms(s, now), lasts[i]);
		now += lasts[i];
		CHECK_INT(breaker_admit(&s, now, 0), BREAKER_IS_PROBE);
		CHECK(breaker_fault(&s, BREAKER_IS_PROBE, now));
	}
	for (int i = 0; i < 200; i++) { /* and the count of it does not run over */
		now += 60000;
		CHECK_INT(breaker_admit(&s, now, 0), BREAKER_IS_PROBE);
		CHECK(breaker_fault(&s, BREAKER_IS_PROBE, now));
		CHECK_INT(breaker_wait_ms(s, now), 60000);
	}
}

TEST(what_was_sent_before_it_opened_decides_nothing)
{
	struct breaker_state s = opened(NOW), before = s;

	breaker_good(&s, BREAKER_LET_THROUGH, NOW + 1);
	CHECK(!breaker_fault(&s, BREAKER_LET_THROUGH, NOW + 1));
	CHECK_INT(s.bits, before.bits);
	CHECK_INT(breaker_admit(&s, NOW + BREAKER_OPEN_MS, 0), BREAKER_IS_PROBE);
	before = s;
	breaker_good(&s, BREAKER_LET_THROUGH, NOW + BREAKER_OPEN_MS + 1);
	CHECK(!breaker_fault(&s, BREAKER_LET_THROUGH, NOW + BREAKER_OPEN_MS + 1));
	CHECK_INT(s.bits, before.bits);
}

static int passed_of_1000(struct breaker_state s, int64_t now_ms)
{
	int n = 0;

	for (uint32_t i = 0; i < 1000; i++)
		n += breaker_admit(&s, now_ms, i) == BREAKER_LET_THROUGH;
	return n;
}

static struct breaker_state ramping(int64_t *ret_since)
{
	struct breaker_state s = opened(NOW);

	*ret_since = NOW + BREAKER_OPEN_MS;
	(void)breaker_admit(&s, *ret_since, 0); /* the probe */
	breaker_good(&s, BREAKER_IS_PROBE, *ret_since);
	return s;
}

TEST(after_a_good_probe_traffic_comes_back_little_by_little)
{
	static const struct {
		int64_t after_ms;
		int of_1000;
	} rows[] = {{0, 100}, {500, 100}, {2000, 200}, {5000, 500}, {9000, 900}, {10000, 1000}, {99999, 1000}};
	int64_t since;
	struct breaker_state s = ramping(&since);

	CHECK_INT(breaker_mode(s), BREAKER_RAMPING);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		CHECK_INT(passed_of_1000(s, since + rows[i].after_ms), rows[i].of_1000);
	breaker_good(&s, BREAKER_LET_THROUGH, since + BREAKER_RAMP_MS - 1);
	CHECK_INT(breaker_mode(s), BREAKER_RAMPING);
	breaker_good(&s, BREAKER_LET_THROUGH, since + BREAKER_RAMP_MS);
	CHECK_INT(s.bits, 0); /* well again, and what was is forgotten */
}

TEST(while_ramping_it_opens_sooner_and_for_longer)
{
	int64_t since;
	struct breaker_state s = ramping(&since);

	CHECK(!breaker_fault(&s, BREAKER_LET_THROUGH, since + 10));
	CHECK(!breaker_fault(&s, BREAKER_LET_THROUGH, since + 20));
	CHECK(breaker_fault(&s, BREAKER_LET_THROUGH, since + 30));
	CHECK_INT(breaker_wait_ms(s, since + 30), 2 * BREAKER_OPEN_MS);
}

TEST(a_clock_that_stands_far_on_fits)
{
	struct breaker_state s = opened(INT64_C(1) << 44);

	CHECK_INT(breaker_wait_ms(s, INT64_C(1) << 44), BREAKER_OPEN_MS);
	CHECK_INT(breaker_admit(&s, (INT64_C(1) << 44) + BREAKER_OPEN_MS, 0), BREAKER_IS_PROBE);
}

TEST(every_mode_has_a_name)
{
	CHECK_STR(breaker_mode_name(BREAKER_CLOSED), "closed");
	CHECK_STR(breaker_mode_name(BREAKER_OPEN), "open");
	CHECK_STR(breaker_mode_name(BREAKER_PROBING), "probing");
	CHECK_STR(breaker_mode_name(BREAKER_RAMPING), "ramping");
}
