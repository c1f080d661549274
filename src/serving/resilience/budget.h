/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this daemon may spend of a budget.  Of each period it has been lent so much, and what it was lent is always the
 * sum of what is available, what is reserved for requests under way, and what was spent.  A request takes its upper
 * estimate from what is available with one compare-and-swap, or is refused; what it did cost goes back afterwards.  So
 * whatever happens at once, no more is spent than was lent, but for a request that costs more than its estimate.
 *
 * Loops reserve and settle; one thread of the control plane at a time lends.  Terms are pushed in front by that thread
 * and taken away at the other end when nobody can stand there any more.  Pure: now is a parameter.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>

#include "domain/budget.h"

struct budget_counts {
	_Atomic int64_t reserved, spent;
};

/* One period of one budget. */
struct budget_term {
	int64_t start_us, end_us;
	_Atomic int64_t available;	   /* below 0: a request cost more than it had reserved */
	struct budget_counts *counts, own; /* own: where there is no book, or no place in it */
	_Atomic int64_t others;		   /* spent by other daemons, as of the last round of lending */
	_Atomic int64_t low;		   /* the loops ask for more when less is available */
	_Atomic bool fell_short;	   /* a request was refused because so much was not left */
	struct budget_term *_Atomic older;

	/* the lender's own */
	int64_t lent, told_spent, told_wanted;
	bool has_loan;
};

#define BUDGET_NAME_MAX 160

struct budget_book; /* budget_book.h */

struct budget_account {
	_Atomic unsigned refs;
	struct budget_book *book;   /* outlives it; or NULL */
	char name[BUDGET_NAME_MAX]; /* "key/ID/USD/month": in the database */
	char whose[80];		    /* as people call it: a key's name, a use case */
	bool is_keys;
	enum budget_unit unit;
	enum budget_period period;
	char currency[CURRENCY_SIZE]; /* of money */
	_Atomic int64_t limit;	      /* in a period */
	struct budget_term *_Atomic newest;
	_Atomic int64_t asked;	   /* since the lender looked, with what was refused */
	_Atomic int64_t largest;   /* of one request, the same */
	_Atomic bool refused;	   /* something was, the same */
	_Atomic uint64_t refusals; /* ever */

	/* the control plane's own */
	bool is_known;	      /* it was published: what it may spend has been asked for */
	int64_t demand, need; /* what is asked in a round, and by one request; they fall slowly */
};

struct budget_account *budget_account_new(const char *name);
struct budget_account *budget_account_ref(struct budget_account *a);
void budget_account_unref(struct budget_account *a); /* any thread */

/* The period that a moment is in; NULL: nothing of it has been lent. */
struct budget_term *budget_term_at(struct budget_account *a, int64_t now_us);

enum budget_answer {
	BUDGET_GRANTED,
	BUDGET_GRANTED_LOW, /* and more should be lent soon */
	BUDGET_SPENT,	    /* so much is not left in this period */
	BUDGET_ELSEWHERE,   /* it is left, but reserved or lent to others now */
};
/* What was reserved for one request. */
struct budget_hold {
	struct budget_account *account; /* borrowed */
	struct budget_term *term;	/* NULL: nothing is */
	int64_t reserved;
};
enum budget_answer budget_reserve(struct budget_account *a, int64_t n, int64_t now_us, struct budget_hold *ret);
/* So much more for the same request. */
enum budget_answer budget_extend(struct budget_hold *h, int64_t n);
/* It cost so much; a second time has no effect. */
void budget_settle(struct budget_hold *h, int64_t cost);

/* --- the lender --- */

/* Found or made, in its place.  Terms that ended long ago and of which nothing is reserved are forgotten. */
struct budget_term *budget_term_open(struct budget_account *a, int64_t at_us);
void budget_account_tidy(struct budget_account *a, int64_t now_us);
void budget_give(struct budget_term *t, int64_t n); /* more is available */
/* Up to n of what is available is taken away: how much it was. */
int64_t budget_take_back(struct budget_term *t, int64_t n);
