/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the alerts, second by second: what fires, what comes back, what is over, and what there is no room for.
 */
#include "control/alerts/rules.h"
#include "t.h"

#define S(x) SLICE_LIT(x)
#define WALL INT64_C(1763873420000000)
#define SECOND 1000

struct fixture {
	struct alert_rules r;
	struct alert_figures f;
	struct alert_settings s;
	struct alert_hits hits[3];
	struct alert_traffic *traffic;
	struct alert_deployment deployments[2];
	struct alert_budget budgets[2];
};

static const struct alert_settings defaults = {
	.rule = {[ALERT_REGISTRY_UNAVAILABLE] = {true, 30 * SECOND, ALERT_WARNING},
		 [ALERT_LOGGING_FAILURES] = {true, 0, ALERT_WARNING},
		 [ALERT_CRITICAL_VIOLATION] = {true, 0, ALERT_CRITICAL},
		 [ALERT_DEPLOYMENT_FAILED] = {true, 0, ALERT_CRITICAL},
		 [ALERT_PERFORMANCE_DEGRADED] = {true, 2 * SECOND, ALERT_WARNING},
		 [ALERT_BUDGET_NEARLY_SPENT] = {true, 0, ALERT_WARNING},
		 [ALERT_BUDGET_SPENT] = {true, 0, ALERT_CRITICAL}},
	.resolve_after_ms = 10 * SECOND,
	.logging = {5, 60 * SECOND, 20},
	.violation = {60 * SECOND},
	.deployment = {3600 * SECOND},
	.performance = {10 * SECOND, 60 * SECOND, 50, 200, 250, 200, 5},
	.budget = {80, 100},
	.instance = "host:1",
};

static void start(struct fixture *x)
{
	memset(x, 0, sizeof(*x));
	x->s = defaults;
	x->traffic = calloc(2, sizeof(*x->traffic));
	x->f.traffic = x->traffic;
	x->f.hits = x->hits;
	x->f.deployments = x->deployments;
	x->f.budgets = x->budgets;
	x->f.now = (struct alert_time){1000000, WALL};
	x->f.database_ok_ms = x->f.now.mono_ms;
	alert_rules_init(&x->r, &x->s);
}

static void end(struct fixture *x)
{
	alert_rules_release(&x->r);
	free(x->traffic);
}

static void tick(struct fixture *x, int64_t seconds)
{
	for (int64_t i = 0; i < seconds; i++) {
		x->f.now.mono_ms += SECOND;
		x->f.now.wall_us += SECOND * 1000;
		if (!x->f.database_away)
			x->f.database_ok_ms = x->f.now.mono_ms;
		alert_rules_tick(&x->r, &x->f);
	}
}

static size_t count(const struct fixture *x, enum alert_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < ALERTS_MAX; i++)
		n += x->r.alert[i].state == state;
	return n;
}

/* The first in that state. */
__attribute__((noinline)) static const struct alert *in(const struct fixture *x, enum alert_state state)
{
	static const struct alert none = {.summary = "(none)", .details = "(none)"};

	for (size_t i = 0; i < ALERTS_MAX; i++)
		if (x->r.alert[i].state == state)
			return &x->r.alert[i];
	return &none;
}

TEST(names_are_read_as_they_are_written)
{
	enum alert_severity severity;
	enum alert_rule rule;
	struct err err = {0};

	for (int i = 0; i < ALERT_N_RULES; i++) {
		CHECK_INT(alert_rule_parse(slice_from(alert_rule_name((enum alert_rule)i)), &rule, &err), 0);
		CHECK_INT(rule, i);
	}
	for (int i = ALERT_INFO; i <= ALERT_CRITICAL; i++) {
		CHECK_INT(
			alert_severity_parse(slice_from(alert_severity_name((enum alert_severity)i)), &severity, &err),
			0);
		CHECK_INT(severity, i);
	}
	CHECK_INT(alert_rule_parse(S("no_such"), &rule, &err), E_INVALID);
	CHECK(strstr(err.text, "registry_unavailable") != NULL);
	CHECK_INT(alert_severity_parse(S("bad"), &severity, &err), E_INVALID);
}

TEST(a_database_that_is_away_fires_after_its_time_and_is_over_after_its_time)
{
	struct fixture x;

	start(&x);
	tick(&x, 5);
	x.f.database_away = true;
	x.f.database_problem = S("it said \"no\"");
	tick(&x, 29);
	CHECK_INT(count(&x, ALERT_PENDING), 1);
	CHECK_INT(count(&x, ALERT_FIRING), 0);
	tick(&x, 1);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	CHECK_STR(in(&x, ALERT_FIRING)->summary,
		  "The model registry is unavailable: the database has not answered for 30 s");
	CHECK_STR(in(&x, ALERT_FIRING)->details, "{\"away_s\":30,\"problem\":\"it said \\\"no\\\"\"}");
	CHECK_INT(in(&x, ALERT_FIRING)->since_us, WALL + 5 * SECOND * 1000);
	CHECK_INT(in(&x, ALERT_FIRING)->fired_us, WALL + 35 * SECOND * 1000);
	CHECK_INT(in(&x, ALERT_FIRING)->severity, ALERT_WARNING);
	tick(&x, 60);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	x.f.database_away = false;
	tick(&x, 10);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	tick(&x, 1);
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	CHECK_INT(in(&x, ALERT_RESOLVED)->resolved_us, x.f.now.wall_us);
	tick(&x, 60);
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	end(&x);
}

TEST(what_ends_before_its_time_was_never_an_alert)
{
	struct fixture x;

	start(&x);
	tick(&x, 1);
	x.f.database_away = true;
	tick(&x, 29);
	x.f.database_away = false;
	tick(&x, 1);
	CHECK_INT(count(&x, ALERT_FREE), ALERTS_MAX);
	end(&x);
}

TEST(what_comes_back_soon_is_the_same_alert)
{
	struct fixture x;
	struct uuid id;

	start(&x);
	x.f.database_away = true;
	tick(&x, 31);
	id = in(&x, ALERT_FIRING)->id;
	x.f.database_away = false;
	tick(&x, 9);
	x.f.database_away = true;
	tick(&x, 9);
	x.f.database_away = false;
	tick(&x, 9);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	CHECK(!memcmp(&in(&x, ALERT_FIRING)->id, &id, sizeof(id)));
	tick(&x, 3);
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	x.f.database_away = true;
	tick(&x, 31);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	CHECK(memcmp(&in(&x, ALERT_FIRING)->id, &id, sizeof(id)) != 0);
	CHECK_STR(in(&x, ALERT_FIRING)->fingerprint, in(&x, ALERT_RESOLVED)->fingerprint);
	end(&x);
}

TEST(a_rule_that_is_switched_off_notes_nothing_and_ends_what_it_had)
{
	struct fixture x;

	start(&x);
	x.f.database_away = true;
	tick(&x, 31);
	x.s.rule[ALERT_REGISTRY_UNAVAILABLE].enabled = false;
	alert_rules_configure(&x.r, &x.s);
	tick(&x, 11);
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	end(&x);
}

/* --- logging --- */

static const struct {
	uint64_t records, failed;
	bool fires;
} log_cases[] = {
	{100, 5, false},		  /* 5 % is not more than 5 % */
	{100, 6, true},	 {19, 19, false}, /* too few to judge */
	{20, 2, true},	 {20, 1, false},  {0, 0, false},
};

TEST(log_records_that_are_lost_fire_past_a_share_of_enough)
{
	for (size_t i = 0; i < COUNT_OF(log_cases); i++) {
		struct fixture x;

		start(&x);
		tick(&x, 1);
		x.f.log_records += log_cases[i].records;
		x.f.log_failed += log_cases[i].failed;
		tick(&x, 1);
		CHECK_INT(count(&x, ALERT_FIRING), log_cases[i].fires);
		end(&x);
	}
}

TEST(lost_log_records_are_forgotten_with_their_window)
{
	struct fixture x;

	start(&x);
	tick(&x, 1);
	x.f.log_records = 100;
	x.f.log_failed = 20;
	tick(&x, 1);
	CHECK_STR(in(&x, ALERT_FIRING)->summary,
		  "Historical logging fails: 20.0 % of the log records of the last 1m were lost or refused");
	for (int i = 0; i < 30; i++) { /* 100 a second, none lost: 20 of 420 are below four fifths of 5 % */
		x.f.log_records += 100;
		tick(&x, 1);
	}
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	end(&x);
}

TEST(a_share_of_lost_records_between_the_limits_keeps_firing)
{
	struct fixture x;

	start(&x);
	tick(&x, 1);
	for (int i = 0; i < 100; i++) { /* 6 % */
		x.f.log_records += 100;
		x.f.log_failed += 6;
		tick(&x, 1);
	}
	for (int i = 0; i < 100; i++) { /* 4.5 % */
		x.f.log_records += 200;
		x.f.log_failed += 9;
		tick(&x, 1);
	}
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	for (int i = 0; i < 100; i++) { /* 3.5 % */
		x.f.log_records += 200;
		x.f.log_failed += 7;
		tick(&x, 1);
	}
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	end(&x);
}

/* --- violations --- */

TEST(critical_hits_are_one_alert_for_each_use_case_and_rule)
{
	struct fixture x;

	start(&x);
	x.hits[0] = (struct alert_hits){S("npc"), S("self_harm"), 0};
	x.hits[1] = (struct alert_hits){S("npc"), S("weapons"), 0};
	x.hits[2] = (struct alert_hits){S("chat"), S("self_harm"), 0};
	x.f.n_hits = 3;
	tick(&x, 5);
	CHECK_INT(count(&x, ALERT_FIRING), 0);
	x.hits[0].n = 1;
	tick(&x, 1);
	CHECK_STR(in(&x, ALERT_FIRING)->summary, "Critical guardrail violation in npc: rule self_harm was hit 1 time");
	x.hits[0].n = 3;
	tick(&x, 1);
	CHECK_STR(in(&x, ALERT_FIRING)->summary, "Critical guardrail violation in npc: rule self_harm was hit 3 times");
	CHECK_STR(in(&x, ALERT_FIRING)->details, "{\"rule\":\"self_harm\",\"hits\":3}");
	CHECK_INT(in(&x, ALERT_FIRING)->severity, ALERT_CRITICAL);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	x.hits[1].n = x.hits[2].n = 7;
	tick(&x, 1);
	CHECK_INT(count(&x, ALERT_FIRING), 3);
	tick(&x, 72);
	CHECK_INT(count(&x, ALERT_RESOLVED), 3);
	end(&x);
}

TEST(more_than_fits_is_dropped_and_counted)
{
	static char names[ALERTS_MAX + 1][16];
	static struct alert_hits hits[ALERTS_MAX + 1];
	struct fixture x;

	start(&x);
	for (int i = 0; i < ALERTS_MAX + 1; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "u%d", i);
		hits[i] = (struct alert_hits){slice_from(names[i]), S("r"), 1};
	}
	x.f.hits = hits;
	x.f.n_hits = ALERTS_MAX;
	tick(&x, 1);
	CHECK_INT(count(&x, ALERT_FIRING), ALERTS_MAX);
	CHECK_INT(x.r.n_dropped, 0);
	x.f.database_away = true; /* one more thing */
	tick(&x, 1);
	CHECK_INT(count(&x, ALERT_FIRING), ALERTS_MAX);
	CHECK(x.r.n_dropped > 0);
	x.f.n_hits = 0;
	x.f.database_away = false;
	tick(&x, 11);
	CHECK_INT(count(&x, ALERT_RESOLVED), ALERTS_MAX);
	x.f.database_away = true; /* what is over makes room, though nobody has recorded it */
	tick(&x, 31);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	CHECK_INT(count(&x, ALERT_RESOLVED), ALERTS_MAX - 1);
	end(&x);
}

/* --- deployments --- */

TEST(a_failed_deployment_is_the_leaders_alert_for_its_time)
{
	struct fixture x;

	start(&x);
	x.deployments[0] = (struct alert_deployment){.id = {{1}},
						     .use_case = "u",
						     .how = "rolled back",
						     .reason = "error rate 12.0 %, limit 5.0 %",
						     .ended_us = WALL};
	x.f.n_deployments = 1;
	tick(&x, 2);
	CHECK_INT(count(&x, ALERT_FREE), ALERTS_MAX);
	x.f.leads = true;
	tick(&x, 1);
	CHECK_STR(in(&x, ALERT_FIRING)->summary, "The deployment of u was rolled back: error rate 12.0 %, limit 5.0 %");
	CHECK(in(&x, ALERT_FIRING)->shared);
	CHECK_INT(in(&x, ALERT_FIRING)->since_us, WALL);
	tick(&x, 3600 - 3);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	tick(&x, 12);
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	end(&x);
}

TEST(another_deployment_that_ended_takes_the_place_of_the_one_that_failed)
{
	struct fixture x;

	start(&x);
	x.f.leads = true;
	x.deployments[0] = (struct alert_deployment){.id = {{1}}, .use_case = "u", .how = "aborted", .ended_us = WALL};
	x.f.n_deployments = 1;
	tick(&x, 1);
	CHECK_STR(in(&x, ALERT_FIRING)->summary, "The deployment of u was aborted");
	x.f.n_deployments = 0;
	tick(&x, 11);
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	x.f.n_deployments = 1;
	x.deployments[0].id = (struct uuid){{2}};
	tick(&x, 1);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	CHECK(strcmp(in(&x, ALERT_FIRING)->fingerprint, in(&x, ALERT_RESOLVED)->fingerprint) != 0);
	alert_rules_forget_shared(&x.r);
	CHECK_INT(count(&x, ALERT_FREE), ALERTS_MAX);
	end(&x);
}

/* --- performance --- */

enum { FAST = 60, SLOW = 100 }; /* buckets of the sketch */

static void serve(struct fixture *x, int64_t seconds, uint64_t per_second, uint64_t errors, size_t bucket)
{
	for (int64_t i = 0; i < seconds; i++) {
		x->traffic[0].requests += per_second;
		x->traffic[0].errors += errors;
		x->traffic[0].latency[bucket] += per_second - errors;
		tick(x, 1);
	}
}

static void start_serving(struct fixture *x)
{
	start(x);
	x->traffic[0].use_case = S("u");
	x->f.n_traffic = 1;
	tick(x, 1);
}

TEST(a_use_case_that_becomes_slow_fires_and_is_over_when_it_is_fast_again)
{
	struct fixture x;

	start_serving(&x);
	serve(&x, 80, 20, 0, FAST);
	CHECK_INT(count(&x, ALERT_FREE), ALERTS_MAX);
	serve(&x, 12, 20, 0, SLOW);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	CHECK_STR(in(&x, ALERT_FIRING)->use_case, "u");
	CHECK(strstr(in(&x, ALERT_FIRING)->summary, "u is degraded: p95 latency ") != NULL);
	serve(&x, 300, 20, 0, SLOW); /* longer than the baseline: it is not taken for the measure */
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	serve(&x, 30, 20, 0, FAST);
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	end(&x);
}

TEST(a_use_case_that_fails_fires_and_says_how_much)
{
	struct fixture x;

	start_serving(&x);
	serve(&x, 80, 20, 0, FAST);
	serve(&x, 30, 20, 10, FAST);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	CHECK(strstr(in(&x, ALERT_FIRING)->summary, "u is degraded: error rate 50.0 %, was 0.0 %") != NULL);
	serve(&x, 30, 20, 0, FAST);
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	end(&x);
}

TEST(what_was_always_bad_or_is_not_much_worse_or_hardly_asked_is_no_alert)
{
	static const struct {
		uint64_t rate_before, errors_before, rate, errors;
		size_t before, now;
	} cases[] = {
		{20, 10, 20, 10, FAST, FAST},				      /* it was so */
		{20, 0, 20, 1, FAST, FAST},				      /* 5 % is not more than 5 % */
		{20, 4, 20, 7, FAST, FAST},				      /* not twice as many */
		{20, 0, 20, 0, SLOW, SLOW},   {20, 0, 20, 0, FAST, FAST + 6}, /* less than twice as slow */
		{20, 0, 20, 0, 8, 24},					      /* four times as slow, and still fast */
		{4, 0, 4, 4, FAST, SLOW},				      /* 40 in a window are too few */
		{0, 0, 20, 20, FAST, SLOW},				      /* there is no past */
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct fixture x;

		start_serving(&x);
		serve(&x, 80, cases[i].rate_before, cases[i].errors_before, cases[i].before);
		serve(&x, 12, cases[i].rate, cases[i].errors, cases[i].now);
		CHECK_INT(count(&x, ALERT_FIRING), 0);
		end(&x);
	}
}

TEST(a_degraded_use_case_that_nobody_asks_any_more_is_over)
{
	struct fixture x;

	start_serving(&x);
	serve(&x, 80, 20, 0, FAST);
	serve(&x, 20, 20, 20, FAST);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	tick(&x, 25);
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	end(&x);
}

TEST(another_window_begins_another_past)
{
	struct fixture x;

	start_serving(&x);
	serve(&x, 80, 20, 0, FAST);
	x.s.performance.window_ms = 20 * SECOND;
	alert_rules_configure(&x.r, &x.s);
	CHECK_INT(x.r.n_traffic, 0);
	serve(&x, 20, 20, 20, FAST);
	CHECK_INT(count(&x, ALERT_FIRING), 0);
	end(&x);
}

/* --- taking up what was left --- */

TEST(an_alert_that_was_left_firing_goes_on_or_is_over)
{
	struct alert left = {.id = {{7}},
			     .rule = ALERT_REGISTRY_UNAVAILABLE,
			     .severity = ALERT_WARNING,
			     .since_us = 5,
			     .fired_us = 6,
			     .summary = "left",
			     .details = "{}"},
		     *taken = NULL;
	struct fixture x;

	start(&x);
	CHECK(alert_rules_adopt(&x.r, &left, x.f.now.mono_ms, &taken));
	CHECK(taken && taken->state == ALERT_FIRING);
	x.f.database_away = true;
	tick(&x, 60);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	CHECK(!memcmp(&in(&x, ALERT_FIRING)->id, &left.id, sizeof(left.id)));
	x.f.database_away = false;
	tick(&x, 12);
	CHECK_INT(count(&x, ALERT_RESOLVED), 1);
	end(&x);
}

TEST(an_alert_that_fires_already_gets_its_first_id)
{
	struct alert left = {.id = {{7}}, .rule = ALERT_REGISTRY_UNAVAILABLE, .since_us = 5, .fired_us = 6},
		     *taken = NULL;
	struct fixture x;

	start(&x);
	x.f.database_away = true;
	tick(&x, 31);
	CHECK(!alert_rules_adopt(&x.r, &left, x.f.now.mono_ms, &taken));
	CHECK(taken != NULL);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	CHECK(!memcmp(&in(&x, ALERT_FIRING)->id, &left.id, sizeof(left.id)));
	CHECK_INT(in(&x, ALERT_FIRING)->since_us, 5);
	end(&x);
}

/* --- budgets --- */

static void start_budgets(struct fixture *x)
{
	start(x);
	x->budgets[0] = (struct alert_budget){.account = "key/0190d8a0-0000-7000-8000-000000000000/USD/month",
					      .whose = "ops",
					      .is_keys = true,
					      .unit = BUDGET_MONEY,
					      .period = BUDGET_MONTH,
					      .currency = "USD",
					      .amount = 50 * MONEY_ONE,
					      .is_known = true};
	x->budgets[1] = (struct alert_budget){.account = "use_case/npc/tokens/total",
					      .whose = "npc",
					      .unit = BUDGET_TOKENS,
					      .period = BUDGET_TOTAL,
					      .currency = "",
					      .amount = 1000,
					      .is_known = true};
	x->f.n_budgets = 2;
	x->f.leads = true;
}

static const struct alert *of_rule(const struct fixture *x, enum alert_rule rule, enum alert_state state)
{
	static const struct alert none = {.summary = "(none)", .details = "(none)"};

	for (size_t i = 0; i < ALERTS_MAX; i++)
		if (x->r.alert[i].state == state && x->r.alert[i].rule == rule)
			return &x->r.alert[i];
	return &none;
}

static const struct {
	int64_t spent;
	bool fell_short, nearly, is_spent;
} budget_cases[] =
	{
		{0, false, false, false},  {799, false, false, false}, {800, false, true, false},
		{999, false, true, false}, {1000, false, true, true},  {1200, false, true, true},
		{799, true, false, false}, /* one request that was large is no alert */
		{800, true, true, true},
};

TEST(a_budget_fires_when_most_and_when_all_of_it_is_spent)
{
	for (size_t i = 0; i < COUNT_OF(budget_cases); i++) {
		struct fixture x;

		start_budgets(&x);
		x.budgets[1].spent = budget_cases[i].spent;
		x.budgets[1].fell_short = budget_cases[i].fell_short;
		tick(&x, 1);
		CHECK_INT(of_rule(&x, ALERT_BUDGET_NEARLY_SPENT, ALERT_FIRING)->summary[0] != '(',
			  budget_cases[i].nearly);
		CHECK_INT(of_rule(&x, ALERT_BUDGET_SPENT, ALERT_FIRING)->summary[0] != '(', budget_cases[i].is_spent);
		end(&x);
	}
}

TEST(a_budget_alert_says_whose_it_is_and_when_it_is_renewed)
{
	struct fixture x;

	start_budgets(&x);
	x.budgets[0].spent = 41 * MONEY_ONE + MONEY_ONE / 2;
	x.budgets[1].spent = 1000;
	tick(&x, 1);
	CHECK_STR(of_rule(&x, ALERT_BUDGET_SPENT, ALERT_FIRING)->summary,
		  "The token budget of use case npc is spent: 1000 of 1000 tokens (100 %) in total; it is not renewed");
	CHECK_STR(of_rule(&x, ALERT_BUDGET_SPENT, ALERT_FIRING)->use_case, "npc");
	CHECK_STR(of_rule(&x, ALERT_BUDGET_SPENT, ALERT_FIRING)->key, "tokens/total");
	CHECK(of_rule(&x, ALERT_BUDGET_SPENT, ALERT_FIRING)->shared);
	x.budgets[1].spent = 0;
	tick(&x, 12);
	CHECK_INT(count(&x, ALERT_FIRING), 1);
	CHECK_STR(in(&x, ALERT_FIRING)->summary,
		  "The budget of key ops is nearly spent: 41.5 of 50 USD (83 %) this month; "
		  "it is renewed at 2025-12-01T00:00Z");
	CHECK_STR(in(&x, ALERT_FIRING)->use_case, "");
	CHECK_STR(in(&x, ALERT_FIRING)->details,
		  "{\"of\":\"key\",\"name\":\"ops\",\"unit\":\"USD\",\"period\":\"month\",\"amount\":50,"
		  "\"spent\":41.5,\"percent\":83,\"renews_at\":\"2025-12-01T00:00:00.000000Z\"}");
	x.budgets[0].spent = 49 * MONEY_ONE;
	x.budgets[0].fell_short = true;
	tick(&x, 1);
	CHECK_STR(of_rule(&x, ALERT_BUDGET_SPENT, ALERT_FIRING)->summary,
		  "The budget of key ops covers no more what is asked of it: 49 of 50 USD (98 %) this month; it is "
		  "renewed "
		  "at 2025-12-01T00:00Z");
	end(&x);
}

TEST(a_budget_alert_is_over_when_the_next_period_begins_or_it_is_raised_or_gone)
{
	for (int how = 0; how < 3; how++) {
		struct fixture x;

		start_budgets(&x);
		x.budgets[0].spent = 50 * MONEY_ONE;
		tick(&x, 5);
		CHECK_INT(count(&x, ALERT_FIRING), 2);
		if (how == 0)
			x.budgets[0].spent = 0;
		else if (how == 1)
			x.budgets[0].amount = 100 * MONEY_ONE;
		else
			x.f.n_budgets = 0;
		tick(&x, 11);
		CHECK_INT(count(&x, ALERT_RESOLVED), 2);
		CHECK_INT(count(&x, ALERT_FIRING), 0);
		end(&x);
	}
}

TEST(a_budget_of_which_nothing_is_known_ends_no_alert_and_begins_none)
{
	struct fixture x;

	start_budgets(&x);
	x.budgets[0].is_known = false;
	x.budgets[0].spent = 50 * MONEY_ONE;
	tick(&x, 5);
	CHECK_INT(count(&x, ALERT_FREE), ALERTS_MAX);
	x.budgets[0].is_known = true;
	tick(&x, 5);
	x.budgets[0].is_known = false;
	x.budgets[0].spent = 0;
	tick(&x, 60);
	CHECK_INT(count(&x, ALERT_FIRING), 2);
	x.f.leads = false; /* the new leader tells of it, and this one forgets it */
	alert_rules_forget_shared(&x.r);
	tick(&x, 60);
	CHECK_INT(count(&x, ALERT_FREE), ALERTS_MAX);
	end(&x);
}
