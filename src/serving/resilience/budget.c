/* SPDX-License-Identifier: Apache-2.0 */
/* Reserving and settling: see budget.h.  What would break it: making room before the cost is counted. */
#include "serving/resilience/budget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serving/resilience/budget_book.h"

/* Longer than any request can be under way: nobody stands on a term that ended so long ago. */
#define KEPT_US (INT64_C(48) * 3600 * 1000000)

struct budget_account *budget_account_new(const char *name)
{
	struct budget_account *a = calloc(1, sizeof(*a));

	if (!a)
		abort();
	atomic_init(&a->refs, 1);
	(void)snprintf(a->name, sizeof(a->name), "%s", name); /* names are shorter: who makes them asserts it */
	return a;
}

struct budget_account *budget_account_ref(struct budget_account *a)
{
	atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
	return a;
}

static void free_term(struct budget_term *t)
{
	if (t->counts != &t->own)
		budget_book_leave(t->counts);
	free(t);
}

void budget_account_unref(struct budget_account *a)
{
	struct budget_term *t, *older;

	if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (t = atomic_load(&a->newest); t; t = older) {
		older = atomic_load(&t->older);
		free_term(t);
	}
	free(a);
}

struct budget_term *budget_term_at(struct budget_account *a, int64_t now_us)
{
	struct budget_term *t = atomic_load_explicit(&a->newest, memory_order_acquire);

	while (t && t->start_us > now_us)
		t = atomic_load_explicit(&t->older, memory_order_acquire);
	return t && now_us < t->end_us ? t : NULL;
}

static int64_t read_of(_Atomic int64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static void add_to(_Atomic int64_t *v, int64_t n)
{
	atomic_fetch_add_explicit(v, n, memory_order_relaxed);
}

static void note_asked(struct budget_account *a, int64_t n)
{
	int64_t largest = read_of(&a->largest);

	add_to(&a->asked, n);
	while (n > largest && !atomic_compare_exchange_weak_explicit(&a->largest, &largest, n, memory_order_relaxed,
								     memory_order_relaxed))
		;
}

static enum budget_answer refuse(struct budget_account *a, struct budget_term *t, int64_t n)
{
	int64_t limit = read_of(&a->limit), spent = t ? read_of(&t->counts->spent) + read_of(&t->others) : 0;

	atomic_store_explicit(&a->refused, true, memory_order_relaxed);
	atomic_fetch_add_explicit(&a->refusals, 1, memory_order_relaxed);
	if (n <= limit && spent <= limit - n)
		return BUDGET_ELSEWHERE;
	if (t)
		atomic_store_explicit(&t->fell_short, true, memory_order_relaxed);
	return BUDGET_SPENT;
}

/* had: what the same request has reserved already. */
static enum budget_answer take(struct budget_account *a, struct budget_term *t, int64_t n, int64_t had)
{
	int64_t there = t ? read_of(&t->available) : 0;

	note_asked(a, n);
	do {
		if (!t || there < n)
			return refuse(a, t, n + had);
	} while (!atomic_compare_exchange_weak_explicit(&t->available, &there, there - n, memory_order_acquire,
							memory_order_relaxed));
	add_to(&t->counts->reserved, n);
	return there - n < read_of(&t->low) ? BUDGET_GRANTED_LOW : BUDGET_GRANTED;
}

enum budget_answer budget_reserve(struct budget_account *a, int64_t n, int64_t now_us, struct budget_hold *ret)
{
	struct budget_term *t = budget_term_at(a, now_us);
	enum budget_answer answer = take(a, t, n, 0);

	*ret = (struct budget_hold){.account = a};
	if (answer == BUDGET_GRANTED || answer == BUDGET_GRANTED_LOW) {
		ret->term = t;
		ret->reserved = n;
	}
	return answer;
}

enum budget_answer budget_extend(struct budget_hold *h, int64_t n)
{
	enum budget_answer answer = take(h->account, h->term, n, h->reserved);

	if (answer == BUDGET_GRANTED || answer == BUDGET_GRANTED_LOW)
		h->reserved += n;
	return answer;
}

/* Spent first: whoever reads meanwhile sees too much spent, never too little. */
void budget_settle(struct budget_hold *h, int64_t cost)
{
	struct budget_term *t = h->term;

	if (!t)
		return;
	h->term = NULL;
	add_to(&t->counts->spent, cost);
	atomic_fetch_add_explicit(&t->available, h->reserved - cost, memory_order_release);
	atomic_fetch_sub_explicit(&t->counts->reserved, h->reserved, memory_order_release);
}

/* --- the lender --- */

struct budget_term *budget_term_open(struct budget_account *a, int64_t at_us)
{
	struct budget_term *t = budget_term_at(a, at_us), *newest = atomic_load(&a->newest);

	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		abort();
	budget_period_bounds(a->period, at_us, &t->start_us, &t->end_us);
	t->counts = budget_book_place(a->book, slice_from(a->name), t->start_us);
	t->counts = t->counts ? t->counts : &t->own;
	if (newest && newest->start_us > t->start_us) { /* a clock was set back */
		while (atomic_load(&newest->older) && atomic_load(&newest->older)->start_us > t->start_us)
			newest = atomic_load(&newest->older);
		atomic_store(&t->older, atomic_load(&newest->older));
		atomic_store_explicit(&newest->older, t, memory_order_release);
		return t;
	}
	atomic_store(&t->older, newest);
	atomic_store_explicit(&a->newest, t, memory_order_release);
	return t;
}

void budget_account_tidy(struct budget_account *a, int64_t now_us)
{
	struct budget_term *t = atomic_load(&a->newest), *older;

	while (t && (older = atomic_load(&t->older))) {
		if (older->end_us < now_us - KEPT_US && !older->has_loan && !read_of(&older->counts->reserved)) {
			atomic_store(&t->older, atomic_load(&older->older));
			free_term(older);
		} else {
			t = older;
		}
	}
}

void budget_give(struct budget_term *t, int64_t n)
{
	atomic_fetch_add_explicit(&t->available, n, memory_order_release);
}

int64_t budget_take_back(struct budget_term *t, int64_t n)
{
	int64_t there = read_of(&t->available), part;

	do {
		part = there < n ? there : n;
		if (part <= 0)
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(&t->available, &there, there - part, memory_order_acquire,
							memory_order_relaxed));
	return part;
}
