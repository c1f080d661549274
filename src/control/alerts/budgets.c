/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Budgets of keys and use cases: one alert when most of one is spent, another when all of it is; both are over when the
 * next period begins, or when the budget is raised.  What would break it: a figure that is not known yet taken for 0.
 */
#include <stdio.h>

#include "control/alerts/rules.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/json/writer.h"

#define WHEN_SIZE 80

struct text {
	char amount[MONEY_SIZE], spent[MONEY_SIZE], when[WHEN_SIZE];
	const char *unit;
	int64_t end_us;
};

static void describe(const struct alert_budget *b, int64_t now_us, struct text *ret)
{
	char at[CLOCK_ISO_SIZE];
	int64_t start_us;

	budget_amount(b->amount, b->unit, ret->amount);
	budget_amount(b->spent, b->unit, ret->spent);
	ret->unit = b->unit == BUDGET_MONEY ? b->currency : "tokens";
	budget_period_bounds(b->period, now_us, &start_us, &ret->end_us);
	if (ret->end_us == INT64_MAX)
		(void)snprintf(ret->when, sizeof(ret->when), "in total; it is not renewed");
	else
		(void)snprintf(ret->when, sizeof(ret->when), "this %s; it is renewed at %.16sZ",
			       budget_period_name(b->period), clock_iso(ret->end_us, at));
}

static void tell(struct alert *a, const struct alert_budget *b, double percent, const struct text *t)
{
	const char *of = b->is_keys ? "key" : "use case", *kind = b->unit == BUDGET_MONEY ? "budget" : "token budget";
	char end[CLOCK_ISO_SIZE];
	struct json_writer w;
	struct buf out;

	alert_say(a, "The %s of %s %s %s: %s of %s %s (%.0f %%) %s", kind, of, b->whose,
		  a->rule == ALERT_BUDGET_NEARLY_SPENT ? "is nearly spent"
		  : percent < 99.5		       ? "covers no more what is asked of it"
						       : "is spent",
		  t->spent, t->amount, t->unit, percent, t->when);
	alert_details_begin(&w, &out);
	jw_kcstr(&w, "of", b->is_keys ? "key" : "use_case");
	jw_kcstr(&w, "name", b->whose);
	jw_kcstr(&w, "unit", t->unit);
	jw_kcstr(&w, "period", budget_period_name(b->period));
	jw_kraw(&w, "amount", slice_from(t->amount));
	jw_kraw(&w, "spent", slice_from(t->spent));
	jw_kdouble(&w, "percent", percent);
	jw_kcstr(&w, "renews_at", t->end_us == INT64_MAX ? NULL : clock_iso(t->end_us, end));
	alert_details_end(&w, &out, a);
}

/* What is left covers no more what is asked of it: as good as spent, where most of it is. */
static bool falls_short(const struct alert_rules *r, const struct alert_budget *b, enum alert_rule rule, double percent)
{
	return rule == ALERT_BUDGET_SPENT && b->fell_short && percent >= (double)r->settings.budget.nearly_percent;
}

static void judge_one(struct alert_rules *r, const struct alert_figures *f, const struct alert_budget *b,
		      enum alert_rule rule)
{
	int64_t limit =
		rule == ALERT_BUDGET_SPENT ? r->settings.budget.spent_percent : r->settings.budget.nearly_percent;
	double percent = b->amount > 0 ? 100.0 * (double)b->spent / (double)b->amount : 0;
	struct alert_what what = {.rule = rule, .use_case = SLICE_LIT("")};
	char key[ALERT_NAME_SIZE];
	struct alert *a;
	struct text t;

	if (b->is_known && percent < (double)limit && !falls_short(r, b, rule, percent))
		return;
	what.key = utf8_truncate(slice_from(b->account), ALERT_NAME_SIZE - 1);
	if (!b->is_keys) {
		what.use_case = utf8_truncate(slice_from(b->whose), ALERT_NAME_SIZE - 1);
		(void)snprintf(key, sizeof(key), "%s/%s", b->unit == BUDGET_MONEY ? b->currency : "tokens",
			       budget_period_name(b->period)); /* short words */
		what.key = slice_from(key);
	}
	if (!b->is_known) { /* what fired before goes on */
		a = alert_find(r, &what);
		if (a)
			a->holds = true;
		return;
	}
	a = alert_note(r, &what, f, &f->now);
	if (!a)
		return;
	describe(b, f->now.wall_us, &t);
	tell(a, b, percent, &t);
}

static void judge_all(struct alert_rules *r, const struct alert_figures *f, enum alert_rule rule)
{
	for (size_t i = 0; f->leads && i < f->n_budgets; i++)
		judge_one(r, f, &f->budgets[i], rule);
}

void alert_judge_budgets_nearly_spent(struct alert_rules *r, const struct alert_figures *f)
{
	judge_all(r, f, ALERT_BUDGET_NEARLY_SPENT);
}

void alert_judge_budgets_spent(struct alert_rules *r, const struct alert_figures *f)
{
	judge_all(r, f, ALERT_BUDGET_SPENT);
}
