/* SPDX-License-Identifier: Apache-2.0 */
/* How budgets stand, as members of keys and use cases: what all daemons have said to have spent, half a second ago. */
#include "control/admin/admin_internal.h"
#include "core/base/clock.h"

int api_budgets_read(struct api_call *c, struct slice prefix, struct budget_states *ret)
{
	int64_t start_us[STORE_BUDGET_STARTS], end_us;
	struct err err = {0};
	struct db *db;
	int rc = store_acquire(c->admin->store, &db, &err);

	*ret = (struct budget_states){.n = 0};
	for (unsigned p = BUDGET_HOUR; p <= BUDGET_TOTAL; p++)
		budget_period_bounds((enum budget_period)p, c->now_us, &start_us[p], &end_us);
	if (rc == 0) {
		rc = store_budget_states(db, &c->arena, prefix, start_us, ret, &err);
		store_release(c->admin->store, db);
	}
	return rc < 0 ? api_error(c, rc, NULL, &err) : 0;
}

static const struct budget_state *find(const struct budget_states *all, struct slice name, int64_t start_us)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->list[i].start_us == start_us && slice_eq(all->list[i].budget, name))
			return &all->list[i];
	return NULL;
}

static void write_amount(struct api_call *c, const char *name, int64_t amount, enum budget_unit unit)
{
	char text[MONEY_SIZE];

	jw_key(&c->w, name);
	jw_raw(&c->w, slice_from(budget_amount(amount, unit, text)));
}

static void write_one(struct api_call *c, const struct budget *b, enum budget_unit unit, const struct budget_state *s)
{
	static const struct budget_state nothing;
	int64_t start_us, end_us, left;

	budget_period_bounds(b->period, c->now_us, &start_us, &end_us);
	s = s ? s : &nothing;
	left = b->amount > s->spent ? b->amount - s->spent : 0;
	jw_object(&c->w);
	jw_kcstr(&c->w, "unit", unit == BUDGET_MONEY ? "money" : "tokens");
	jw_kcstr(&c->w, "currency", unit == BUDGET_MONEY ? b->currency : NULL);
	jw_kcstr(&c->w, "period", budget_period_name(b->period));
	write_amount(c, "amount", b->amount, unit);
	write_amount(c, "spent", s->spent, unit);
	write_amount(c, "held", s->held, unit);
	write_amount(c, "left", left, unit);
	if (end_us == INT64_MAX)
		api_key_or_null(c, "renews_at", (struct slice){0});
	else
		api_key_time(c, "renews_at", end_us);
	jw_object_end(&c->w);
}

void api_budgets_write(struct api_call *c, const struct budget_states *all, const struct api_owner *o)
{
	jw_key(&c->w, "budgets");
	jw_array(&c->w);
	for (unsigned u = 0; u < BUDGET_N_UNITS; u++) {
		const struct budget *one = &o->budgets->of[u];
		int64_t start_us, end_us;
		const char *name;

		if (!one->amount)
			continue;
		budget_period_bounds(one->period, c->now_us, &start_us, &end_us);
		name = arena_printf(&c->arena, SLICE_FMT SLICE_FMT "/%s/%s", SLICE_ARG(o->prefix), SLICE_ARG(o->id),
				    budget_unit_name(one, (enum budget_unit)u), budget_period_name(one->period));
		write_one(c, one, (enum budget_unit)u, find(all, slice_from(name), start_us));
	}
	jw_array_end(&c->w);
}
