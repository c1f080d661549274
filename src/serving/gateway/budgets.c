/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which account is whose.  A name says all that an account rests on (whose, in what, in which period), so that one that
 * is found under its name may always be spent from; only its amount changes, when a snapshot is published.
 */
#include "serving/gateway/budgets.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "serving/gateway/gateway.h"

struct gateway_budgets {
	pthread_mutex_t lock; /* snapshots may be prepared on several job threads; no loop takes it */
	struct map by_name;   /* -> struct budget_account, with a reference */
	struct budget_book *book;
	void (*ask)(void *arg);
	void *arg;
	_Atomic bool asked;
};

struct gateway_budgets *gateway_budgets_new(struct budget_book *book, void (*ask)(void *arg), void *arg)
{
	struct gateway_budgets *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	pthread_mutex_init(&b->lock, NULL);
	map_init(&b->by_name);
	b->book = book;
	b->ask = ask;
	b->arg = arg;
	return b;
}

void gateway_budgets_free(struct gateway_budgets *b)
{
	struct map_entry *e;

	if (!b)
		return;
	for (size_t i = 0; map_next(&b->by_name, &i, &e);)
		budget_account_unref(e->value);
	map_release(&b->by_name);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* --- snapshots --- */

struct owner {
	bool is_key;
	struct slice id, name; /* in the account's name; as people call it */
	const struct budgets *budgets;
};

static struct budget_account *make(struct gateway_budgets *b, const struct owner *o, enum budget_unit unit,
				   const char *name)
{
	const struct budget *budget = &o->budgets->of[unit];
	struct budget_account *a = budget_account_new(name);

	(void)snprintf(a->whose, sizeof(a->whose), SLICE_FMT, SLICE_ARG(o->name)); /* names are shorter */
	a->book = b->book;
	a->is_keys = o->is_key;
	a->unit = unit;
	a->period = budget->period;
	memcpy(a->currency, budget->currency, sizeof(a->currency));
	atomic_init(&a->limit, budget->amount);
	(void)map_put(&b->by_name, slice_from(a->name), a); /* it was not there */
	return a;
}

/* Under the lock. */
static struct budget_account *find_or_make(struct gateway_budgets *b, const struct owner *o, enum budget_unit unit)
{
	const struct budget *budget = &o->budgets->of[unit];
	struct budget_account *a;
	char name[BUDGET_NAME_MAX];
	int n = snprintf(name, sizeof(name), "%s/" SLICE_FMT "/%s/%s", o->is_key ? "key" : "use_case", SLICE_ARG(o->id),
			 budget_unit_name(budget, unit), budget_period_name(budget->period));

	assert(n > 0 && (size_t)n < sizeof(name)); /* names of use cases are bounded */
	a = map_get(&b->by_name, (struct slice){name, (size_t)n});
	return budget_account_ref(a ? a : make(b, o, unit, name));
}

static int prepare_owner(struct gateway_budgets *b, struct arena *arena, const struct owner *o, void **ret,
			 struct err *err)
{
	struct budget_set *set;

	*ret = NULL;
	if (!o->budgets->of[BUDGET_MONEY].amount && !o->budgets->of[BUDGET_TOKENS].amount)
		return 0;
	set = ARENA_NEW(arena, struct budget_set);
	if (!set)
		return err_set(err, E_TOOBIG, "the registry is too large for a snapshot");
	for (unsigned u = 0; u < BUDGET_N_UNITS; u++)
		set->of[u] = o->budgets->of[u].amount ? find_or_make(b, o, (enum budget_unit)u) : NULL;
	*ret = set;
	return 0;
}

int budgets_prepare(struct gateway_budgets *b, struct snapshot *s, struct err *err)
{
	char id[UUID_STR_SIZE];
	int rc = 0;

	if (!b)
		return 0;
	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < s->n_keys && !rc; i++) {
		const struct key *k = &s->keys[i].key;
		const struct owner o = {true, slice_from(uuid_format(&k->id, id)), k->name, &k->budgets};

		rc = prepare_owner(b, &s->arena, &o, &s->keys[i].budgets, err);
	}
	for (size_t i = 0; i < s->n_use_cases && !rc; i++) {
		const struct use_case *u = &s->use_cases[i].settings;
		const struct owner o = {false, u->name, u->name, &u->budgets};

		rc = prepare_owner(b, &s->arena, &o, &s->use_cases[i].budgets, err);
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

static void release(const struct budget_set *set)
{
	for (unsigned u = 0; set && u < BUDGET_N_UNITS; u++)
		budget_account_unref(set->of[u]);
}

void budgets_release(struct snapshot *s)
{
	for (size_t i = 0; i < s->n_keys; i++)
		release(s->keys[i].budgets);
	for (size_t i = 0; i < s->n_use_cases; i++)
		release(s->use_cases[i].budgets);
}

static bool see(const struct budget_set *set, const struct budgets *now)
{
	bool is_new = false;

	for (unsigned u = 0; set && u < BUDGET_N_UNITS; u++) {
		if (!set->of[u])
			continue;
		is_new |= atomic_exchange(&set->of[u]->limit, now->of[u].amount) != now->of[u].amount ||
			  !set->of[u]->is_known;
		set->of[u]->is_known = true;
	}
	return is_new;
}

bool gateway_budgets_see(struct gateway_budgets *b, const struct snapshot *s)
{
	bool is_new = false;

	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < s->n_keys; i++)
		is_new |= see(s->keys[i].budgets, &s->keys[i].key.budgets);
	for (size_t i = 0; i < s->n_use_cases; i++)
		is_new |= see(s->use_cases[i].budgets, &s->use_cases[i].settings.budgets);
	pthread_mutex_unlock(&b->lock);
	return is_new;
}

/* --- the lender --- */

void gateway_budgets_list(struct gateway_budgets *b, struct gateway_budget_list *ret)
{
	struct map_entry *e;

	pthread_mutex_lock(&b->lock);
	*ret = (struct gateway_budget_list){.list = calloc(b->by_name.n + 1, sizeof(struct budget_account *))};
	if (!ret->list)
		abort();
	for (int used = 1; used >= 0; used--) {
		for (size_t i = 0; map_next(&b->by_name, &i, &e);) {
			struct budget_account *a = e->value;
			unsigned refs = atomic_load_explicit(&a->refs, memory_order_acquire);

			/* One that lost its last snapshot between the two turns is in neither: the next list has it. */
			if (ret->n < b->by_name.n && (used ? refs > 1 : refs == 1))
				ret->list[ret->n++] = budget_account_ref(a);
		}
		if (used)
			ret->n_used = ret->n;
	}
	pthread_mutex_unlock(&b->lock);
}

void gateway_budgets_list_release(struct gateway_budget_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		budget_account_unref(l->list[i]);
	free(l->list);
}

/* One that a snapshot has taken up again meanwhile stays. */
void gateway_budgets_forget(struct gateway_budgets *b, struct budget_account *a)
{
	pthread_mutex_lock(&b->lock);
	if (atomic_load_explicit(&a->refs, memory_order_acquire) == 2) { /* ours, and the list's */
		(void)map_del(&b->by_name, slice_from(a->name));	 /* it is this one */
		budget_account_unref(a);
	}
	pthread_mutex_unlock(&b->lock);
}

void gateway_budgets_heard(struct gateway_budgets *b)
{
	atomic_store(&b->asked, false);
}

void budgets_ask(struct gateway_budgets *b)
{
	if (b && b->ask && !atomic_exchange_explicit(&b->asked, true, memory_order_acq_rel))
		b->ask(b->arg);
}
