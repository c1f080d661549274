/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Budgets: between the accounts that the loops spend from and the lender, as jobs of the control loop.  Rounds come
 * twice a second while there are budgets, at once when an account runs low, and before a snapshot is published that has
 * a new budget, so that whoever made it can spend from it.
 */
#include <stdlib.h>

#include "app/daemon/daemon.h"
#include "core/base/clock.h"
#include "serving/resilience/budget.h"
#include "serving/resilience/budget_book.h"

#define ROUND_MS 500
#define APART_MS 50 /* rounds that loops ask for */

/* --- those who held something before, and died --- */

#define PAST_MAX 64 /* of them at once: the others in the next round */

static int64_t gone_by_book(const struct budget_loan *loan, void *book)
{
	int64_t gone = budget_book_gone(book, loan->budget, loan->start_us);

	return gone < 0 ? loan->lent : gone;
}

static int64_t all_of_it(const struct budget_loan *loan, void *arg)
{
	(void)arg;
	return loan->lent;
}

static void book_directory(const struct daemon *d, char path[4096])
{
	(void)snprintf(path, 4096, "%.4000s/budgets", d->config.data);
}

/* false: the database did not do it, or there are more. */
static bool settle_past(struct daemon *d, struct err *err)
{
	struct budget_book_past list[PAST_MAX];
	char directory[4096];
	size_t n, n_failed = 0;

	book_directory(d, directory);
	n = budget_book_list_past(directory, list, PAST_MAX);
	for (size_t i = 0; i < n; i++) {
		struct budget_book *book = NULL;
		struct err why = {0};
		int rc = budget_book_open_past(directory, &list[i], &book, &why);

		if (rc == E_CORRUPT)
			log_warn(&d->log, "budgets: %s: what its process was lent counts as spent", why.text);
		if (rc)
			continue;
		rc = budget_lender_settle(d->budget_lender, &list[i].instance, gone_by_book, book, err);
		budget_book_close(book, !rc);
		n_failed += rc != 0;
	}
	if (n_failed || n == PAST_MAX)
		return false;
	/* Where nobody else can use the database, whoever else has a loan is dead. */
	return store_is_shared(d->store) || !budget_lender_settle(d->budget_lender, NULL, all_of_it, NULL, err);
}

/* --- rounds --- */

void daemon_round_budgets(struct daemon *d)
{
	struct budget_moment m = {.now_us = clock_wall_us(), .others = d->lender ? lender_others(d->lender) : 0};
	struct gateway_budget_list l;
	struct err err = {0};
	int rc;

	pthread_mutex_lock(&d->budgets_lock);
	gateway_budgets_heard(d->prepare.budgets);
	gateway_budgets_list(d->prepare.budgets, &l);
	if (d->budgets_owed)
		d->budgets_owed = !settle_past(d, &err);
	rc = budget_lender_round(d->budget_lender, l.list, l.n_used, &m, &err);
	if (!rc)
		rc = budget_lender_end(d->budget_lender, l.list + l.n_used, l.n - l.n_used, &err);
	for (size_t i = l.n_used; i < l.n && !rc; i++)
		gateway_budgets_forget(d->prepare.budgets, l.list[i]);
	gateway_budgets_list_release(&l);
	if (rc && strcmp(d->budgets_problem, err.text) != 0)
		log_warn(&d->log, "budgets: nothing more can be lent, what is held is spent: %s", err.text);
	(void)snprintf(d->budgets_problem, sizeof(d->budgets_problem), "%.199s", err.text);
	pthread_mutex_unlock(&d->budgets_lock);
}

void daemon_lend_budgets(struct daemon *d, const struct snapshot *s)
{
	bool has_new = gateway_budgets_see(d->prepare.budgets, s);

	/* Who publishes may have the only connection to a database in memory: then it takes until the next round. */
	if (has_new && d->running && !strstr(store_description(d->store), ":memory:"))
		daemon_round_budgets(d);
}

/* --- on the control loop --- */

static void round_job(void *arg)
{
	daemon_round_budgets(arg);
}

static void round_done(void *arg)
{
	struct daemon *d = arg;

	d->n_calls--;
	d->budgets_run = false;
	if (!d->stopping)
		timer_set(d->control, &d->budgets_timer, d->budgets_asked ? APART_MS : ROUND_MS);
	daemon_drained_check(d);
}

static void on_timer(void *arg)
{
	struct daemon *d = arg;

	if (d->stopping || d->budgets_run)
		return;
	d->budgets_run = true;
	d->budgets_asked = false;
	d->budgets_ms = clock_mono_ms();
	d->n_calls++;
	job_submit(d->control, round_job, round_done, d);
}

static void on_asked(void *arg)
{
	struct daemon *d = arg;
	int64_t wait_ms = d->budgets_ms + APART_MS - clock_mono_ms();

	d->budgets_asked = true;
	if (!d->stopping && !d->budgets_run)
		timer_set(d->control, &d->budgets_timer, wait_ms > 0 ? wait_ms : 0);
}

/* --- on a loop: an account runs low --- */

static void on_ask(void *arg)
{
	struct daemon *d = arg;

	loop_post(d->control, on_asked, d);
}

int daemon_open_budgets(struct daemon *d, struct err *err)
{
	struct err why = {0};
	char directory[4096];

	(void)err;
	pthread_mutex_init(&d->budgets_lock, NULL);
	book_directory(d, directory);
	if (budget_book_open(directory, &d->instance, &d->budget_book, &why))
		log_warn(&d->log, "budgets: %s: if this process is killed, what it was lent counts as spent", why.text);
	d->prepare.budgets = gateway_budgets_new(d->budget_book, on_ask, d);
	d->budget_lender = budget_lender_new(d->store, &d->instance);
	d->budgets_owed = true;
	return 0;
}

void daemon_watch_budgets(struct daemon *d)
{
	timer_init(&d->budgets_timer, on_timer, d);
	timer_set(d->control, &d->budgets_timer, ROUND_MS);
}

void daemon_close_budgets(struct daemon *d)
{
	struct gateway_budget_list l;
	struct err err = {0};

	if (!d->budget_lender)
		return;
	gateway_budgets_list(d->prepare.budgets, &l);
	d->budgets_settled = !budget_lender_end(d->budget_lender, l.list, l.n, &err);
	if (!d->budgets_settled)
		log_warn(&d->log, "budgets: what is left of them was not given back: %s", err.text);
	gateway_budgets_list_release(&l);
	budget_lender_free(d->budget_lender);
	gateway_budgets_free(d->prepare.budgets);
	pthread_mutex_destroy(&d->budgets_lock);
}

void daemon_forget_budgets(struct daemon *d)
{
	budget_book_close(d->budget_book, d->budgets_settled);
}

/* --- what is told of them --- */

#define SHOWN_MAX 256 /* budgets with series of their own */

static double figure(const struct budget_account *a, int64_t n)
{
	return a->unit == BUDGET_MONEY ? (double)n / MONEY_ONE : (double)n;
}

struct figures {
	int64_t amount, spent, held;
};

static struct figures figures_of(struct budget_account *a, int64_t now_us)
{
	struct budget_term *t = budget_term_at(a, now_us);
	struct figures f = {.amount = atomic_load(&a->limit)};

	if (t) {
		f.spent = atomic_load(&t->counts->spent) + atomic_load(&t->others);
		f.held = atomic_load(&t->available) + atomic_load(&t->counts->reserved);
	}
	return f;
}

void daemon_count_budgets(struct daemon *d, int64_t now_us, struct daemon_budget_figures *ret)
{
	struct gateway_budget_list *l = &ret->accounts;

	gateway_budgets_list(d->prepare.budgets, l);
	ret->list = calloc(l->n_used + 1, sizeof(*ret->list));
	if (!ret->list)
		abort();
	for (ret->n = 0; ret->n < l->n_used; ret->n++) {
		struct budget_account *a = l->list[ret->n];
		struct budget_term *t = budget_term_at(a, now_us);
		struct figures f = figures_of(a, now_us);

		ret->list[ret->n] = (struct alert_budget){.account = a->name,
							  .whose = a->whose,
							  .is_keys = a->is_keys,
							  .unit = a->unit,
							  .period = a->period,
							  .currency = a->currency,
							  .amount = f.amount,
							  .spent = f.spent,
							  .is_known = t != NULL,
							  .fell_short = t && atomic_load(&t->fell_short)};
	}
}

void daemon_release_budgets(struct daemon_budget_figures *f)
{
	if (!f->list)
		return;
	free(f->list);
	gateway_budgets_list_release(&f->accounts);
}

static void write_family(struct prom_writer *w, const struct gateway_budget_list *l, size_t which)
{
	static const char *const families[][2] = {
		{"muster_budget_amount", "What may be spent in a period, by budget."},
		{"muster_budget_spent", "What was spent in this period, by all daemons as far as this one knows."},
		{"muster_budget_held", "What this daemon was lent and has not spent."},
	};
	int64_t now_us = clock_wall_us();

	prom_family(w, families[which][0], PROM_GAUGE, families[which][1]);
	for (size_t i = 0; i < l->n_used && i < SHOWN_MAX; i++) {
		struct budget_account *a = l->list[i];
		struct figures f = figures_of(a, now_us);
		struct prom_label labels[] = {
			{"of", slice_from(a->is_keys ? "key" : "use_case")},
			{"name", slice_from(a->whose)},
			{"unit", slice_from(a->unit == BUDGET_MONEY ? a->currency : "tokens")},
			{"period", slice_from(budget_period_name(a->period))},
		};

		prom_sample(w, labels, COUNT_OF(labels),
			    figure(a, which == 0   ? f.amount
				      : which == 1 ? f.spent
						   : f.held));
	}
}

void daemon_write_budgets(struct daemon *d, struct prom_writer *w)
{
	struct gateway_budget_list l;

	gateway_budgets_list(d->prepare.budgets, &l);
	prom_family(w, "muster_budgets", PROM_GAUGE, "Budgets that there are; the first 256 have series of their own.");
	prom_count(w, NULL, 0, l.n_used);
	for (size_t i = 0; i < 3; i++)
		write_family(w, &l, i);
	gateway_budgets_list_release(&l);
}
