/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a deployment: every transition there is, every one there is not, and what plans may say. */
#include "domain/deployment.h"

#include "core/json/writer.h"
#include "t.h"

#define S(x) SLICE_LIT(x)
#define NOW INT64_C(1000000000)
#define NO (-1)

/* By state and event: what follows at the first and at the last step, or NO. */
static const struct {
	int first, last;
} wanted[DEPLOY_N_STATES][DEPLOY_N_EVENTS] = {
	[DEPLOY_DRAFT] = {[DEPLOY_START] = {DEPLOY_PROGRESSING, DEPLOY_PROGRESSING},
			  [DEPLOY_ADVANCE] = {NO, NO},
			  [DEPLOY_COMPLETE] = {NO, NO},
			  [DEPLOY_STARVE] = {NO, NO},
			  [DEPLOY_PAUSE] = {NO, NO},
			  [DEPLOY_RESUME] = {NO, NO},
			  [DEPLOY_PROMOTE] = {NO, NO},
			  [DEPLOY_ABORT] = {NO, NO},
			  [DEPLOY_ROLLBACK] = {NO, NO},
			  [DEPLOY_TIMEOUT] = {NO, NO}},
	[DEPLOY_PROGRESSING] = {[DEPLOY_START] = {NO, NO},
				[DEPLOY_ADVANCE] = {DEPLOY_PROGRESSING, NO},
				[DEPLOY_COMPLETE] = {NO, DEPLOY_SUCCEEDED},
				[DEPLOY_STARVE] = {DEPLOY_WAITING, DEPLOY_WAITING},
				[DEPLOY_PAUSE] = {DEPLOY_PAUSED, DEPLOY_PAUSED},
				[DEPLOY_RESUME] = {NO, NO},
				[DEPLOY_PROMOTE] = {DEPLOY_SUCCEEDED, DEPLOY_SUCCEEDED},
				[DEPLOY_ABORT] = {DEPLOY_ABORTED, DEPLOY_ABORTED},
				[DEPLOY_ROLLBACK] = {DEPLOY_ROLLED_BACK, DEPLOY_ROLLED_BACK},
				[DEPLOY_TIMEOUT] = {NO, NO}},
	[DEPLOY_WAITING] = {[DEPLOY_START] = {NO, NO},
			    [DEPLOY_ADVANCE] = {DEPLOY_PROGRESSING, NO},
			    [DEPLOY_COMPLETE] = {NO, DEPLOY_SUCCEEDED},
			    [DEPLOY_STARVE] = {NO, NO},
			    [DEPLOY_PAUSE] = {DEPLOY_PAUSED, DEPLOY_PAUSED},
			    [DEPLOY_RESUME] = {NO, NO},
			    [DEPLOY_PROMOTE] = {DEPLOY_SUCCEEDED, DEPLOY_SUCCEEDED},
			    [DEPLOY_ABORT] = {DEPLOY_ABORTED, DEPLOY_ABORTED},
			    [DEPLOY_ROLLBACK] = {DEPLOY_ROLLED_BACK, DEPLOY_ROLLED_BACK},
			    [DEPLOY_TIMEOUT] = {DEPLOY_PAUSED, DEPLOY_PAUSED}},
	[DEPLOY_PAUSED] = {[DEPLOY_START] = {NO, NO},
			   [DEPLOY_ADVANCE] = {NO, NO},
			   [DEPLOY_COMPLETE] = {NO, NO},
			   [DEPLOY_STARVE] = {NO, NO},
			   [DEPLOY_PAUSE] = {NO, NO},
			   [DEPLOY_RESUME] = {DEPLOY_PROGRESSING, DEPLOY_PROGRESSING},
			   [DEPLOY_PROMOTE] = {DEPLOY_SUCCEEDED, DEPLOY_SUCCEEDED},
			   [DEPLOY_ABORT] = {DEPLOY_ABORTED, DEPLOY_ABORTED},
			   [DEPLOY_ROLLBACK] = {DEPLOY_ROLLED_BACK, DEPLOY_ROLLED_BACK},
			   [DEPLOY_TIMEOUT] = {DEPLOY_ABORTED, DEPLOY_ABORTED}},
};

static struct deployment in_state(enum deploy_state state, unsigned step)
{
	struct deployment d = {.use_case = S("u"), .state = state, .step = step, .share = 10, .epoch = 7};

	(void)deploy_plan_parse(DEPLOY_CANARY, NULL, &d.plan, NULL); /* the default is fine */
	return d;
}

static void check_moved(const struct deployment *before, const struct deployment *d, enum deploy_event event)
{
	unsigned step = before->step + (event == DEPLOY_ADVANCE);

	CHECK_INT(d->epoch, before->epoch + 1);
	CHECK_INT(d->since_us, NOW);
	CHECK_INT(d->finished_us, deploy_state_is_end(d->state) ? NOW : 0);
	CHECK_INT(d->step, step);
	if (d->state == DEPLOY_PROGRESSING) {
		CHECK_INT(d->share, d->plan.steps[step]);
		CHECK_INT(d->holds_until_us, NOW + 300 * 1000000LL);
	} else {
		CHECK_INT(d->holds_until_us, 0);
		CHECK_INT(d->share, d->state == DEPLOY_SUCCEEDED    ? 100
				    : deploy_state_is_end(d->state) ? 0
								    : before->share);
	}
	CHECK((deployment_deadline_us(d) > NOW) == !deploy_state_is_end(d->state));
}

TEST(every_state_knows_what_each_event_does_and_refuses_the_others)
{
	for (int state = 0; state < DEPLOY_N_STATES; state++)
		for (int event = 0; event < DEPLOY_N_EVENTS; event++)
			for (int last = 0; last < 2; last++) {
				bool end = deploy_state_is_end((enum deploy_state)state);
				int to = end ? NO : last ? wanted[state][event].last : wanted[state][event].first;
				const struct deployment before = in_state((enum deploy_state)state, last ? 4 : 0);
				struct deployment d = before;
				char next[DEPLOY_NEXT_SIZE];
				struct err err = {0};
				int rc = deployment_move(&d, (enum deploy_event)event, NOW, &err);

				CHECK_INT(deployment_can(&before, (enum deploy_event)event), to != NO);
				CHECK_INT(rc, to == NO ? E_CONFLICT : 0);
				CHECK_INT(d.state, to == NO ? state : to);
				if (rc) {
					CHECK(!memcmp(&d, &before, sizeof(d)));
					CHECK(strstr(err.text, deploy_state_name((enum deploy_state)state)));
				} else {
					check_moved(&before, &d, (enum deploy_event)event);
				}
				CHECK(deployment_next(&d, next)[0] != 0);
			}
}

TEST(names_are_read_back)
{
	enum deploy_strategy strategy;
	enum deploy_state state;

	for (int i = 0; i < DEPLOY_N_STATES; i++)
		CHECK(!deploy_state_parse(slice_from(deploy_state_name((enum deploy_state)i)), &state) &&
		      (int)state == i);
	for (int i = 0; i < DEPLOY_N_STRATEGIES; i++)
		CHECK(!deploy_strategy_parse(slice_from(deploy_strategy_name((enum deploy_strategy)i)), &strategy,
					     NULL) &&
		      (int)strategy == i);
	CHECK_INT(deploy_state_parse(S("nowhere"), &state), E_INVALID);
	CHECK_INT(deploy_strategy_parse(S("shadow"), &strategy, NULL), E_INVALID);
	for (int i = 0; i < DEPLOY_N_EVENTS; i++)
		CHECK(deploy_event_name((enum deploy_event)i) != NULL);
}

static const struct {
	enum deploy_strategy strategy;
	const char *json, *member; /* NULL: it is taken */
} plans[] = {
	{DEPLOY_CANARY, "{}", NULL},
	{DEPLOY_CANARY, "{\"steps\":null,\"hold\":null,\"thresholds\":null}", NULL},
	{DEPLOY_CANARY, "{\"steps\":[1,2,100],\"hold\":0,\"max_wait\":\"30d\",\"max_pause\":\"1ms\"}", NULL},
	{DEPLOY_CANARY, "{\"steps\":[100]}", NULL},
	{DEPLOY_BLUE_GREEN, "{\"steps\":[100]}", NULL},
	{DEPLOY_CANARY, "{\"steps\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,100]}", NULL},
	{DEPLOY_CANARY, "{\"steps\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,100]}", "steps"},
	{DEPLOY_CANARY, "{\"steps\":[]}", "steps"},
	{DEPLOY_CANARY, "{\"steps\":[50]}", "100"},
	{DEPLOY_CANARY, "{\"steps\":[50,50,100]}", "steps"},
	{DEPLOY_CANARY, "{\"steps\":[50,101]}", "steps"},
	{DEPLOY_CANARY, "{\"steps\":[0,100]}", "steps"},
	{DEPLOY_CANARY, "{\"steps\":[-1,100]}", "steps"},
	{DEPLOY_CANARY, "{\"steps\":[0.5,100]}", "steps"},
	{DEPLOY_CANARY, "{\"steps\":[\"1\",100]}", "steps"},
	{DEPLOY_CANARY, "{\"steps\":{}}", "steps"},
	{DEPLOY_BLUE_GREEN, "{\"steps\":[50,100]}", "canary"},
	{DEPLOY_ALL_AT_ONCE, "{\"steps\":[50,100]}", "canary"},
	{DEPLOY_CANARY, "{\"hold\":\"soon\"}", "hold"},
	{DEPLOY_CANARY, "{\"hold\":-1}", "hold"},
	{DEPLOY_CANARY, "{\"hold\":1.5}", "hold"},
	{DEPLOY_CANARY, "{\"max_wait\":\"31d\"}", "max_wait"},
	{DEPLOY_CANARY, "{\"max_pause\":[]}", "max_pause"},
	{DEPLOY_CANARY, "{\"thresholds\":[]}", "thresholds"},
	{DEPLOY_CANARY, "{\"thresholds\":{\"error_rate\":1.01}}", "error_rate"},
	{DEPLOY_CANARY, "{\"thresholds\":{\"error_rate\":-0.1}}", "error_rate"},
	{DEPLOY_CANARY, "{\"thresholds\":{\"violation_rate\":\"1\"}}", "violation_rate"},
	{DEPLOY_CANARY, "{\"thresholds\":{\"latency_p95_ms\":1e10}}", "latency_p95_ms"},
	{DEPLOY_CANARY, "{\"thresholds\":{\"min_samples\":0}}", "min_samples"},
	{DEPLOY_CANARY, "{\"thresholds\":{\"min_sample\":5}}", "min_sample"},
};

static int read_plan(enum deploy_strategy strategy, const char *json, struct deploy_plan *ret, struct err *err)
{
	struct json_parser *parser = json_parser_new();
	struct json *root = NULL;
	struct arena a;
	int rc;

	arena_init(&a, 4096, 1 << 20);
	rc = json_parse_copy(parser, &a, slice_from(json), NULL, &root, err);
	if (!rc)
		rc = deploy_plan_parse(strategy, root, ret, err);
	json_parser_free(parser);
	arena_release(&a);
	return rc;
}

TEST(plans_are_taken_or_the_member_is_named)
{
	for (size_t i = 0; i < COUNT_OF(plans); i++) {
		struct deploy_plan plan;
		struct err err = {0};
		int rc = read_plan(plans[i].strategy, plans[i].json, &plan, &err);

		CHECK_INT(rc, plans[i].member ? E_INVALID : 0);
		CHECK(!plans[i].member || strstr(err.text, plans[i].member));
	}
}

TEST(a_plan_is_read_back_as_it_was_written)
{
	struct deploy_plan plan = {0}, again = {0};
	struct err err = {0};
	struct json_writer w;
	struct buf out;

	CHECK_INT(
		read_plan(DEPLOY_CANARY,
			  "{\"steps\":[5,100],\"hold\":\"90s\",\"max_wait\":7,\"thresholds\":{\"error_rate\":null,"
			  "\"latency_p95_ms\":250.5,\"latency_p95_ratio\":1.5,\"violation_rate\":0,\"min_samples\":3}}",
			  &plan, &err),
		0);
	CHECK(plan.n_steps == 2 && plan.hold_ms == 90000 && plan.max_wait_ms == 7 && plan.max_pause_ms == 86400000);
	CHECK(plan.thresholds.error_rate < 0 && plan.thresholds.violation_rate == 0);
	buf_init(&out, 4096);
	jw_init(&w, &out);
	deploy_plan_write(&w, &plan);
	CHECK_INT(read_plan(DEPLOY_CANARY, buf_cstr(&out), &again, &err), 0);
	CHECK(!memcmp(&plan, &again, sizeof(plan)));
	buf_release(&out);
}

TEST(each_strategy_has_its_default)
{
	struct deploy_plan plan;

	CHECK_INT(deploy_plan_parse(DEPLOY_CANARY, NULL, &plan, NULL), 0);
	CHECK(plan.n_steps == 5 && plan.steps[0] == 10 && plan.hold_ms == 300000);
	CHECK_INT(deploy_plan_parse(DEPLOY_BLUE_GREEN, NULL, &plan, NULL), 0);
	CHECK(plan.n_steps == 1 && plan.steps[0] == 100 && plan.hold_ms == 300000);
	CHECK_INT(deploy_plan_parse(DEPLOY_ALL_AT_ONCE, NULL, &plan, NULL), 0);
	CHECK(plan.n_steps == 1 && plan.steps[0] == 100 && plan.hold_ms == 0);
}
