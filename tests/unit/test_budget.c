/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets as people write them, their periods, and accounts that several loops spend from at once. */
#include "serving/resilience/budget.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/util.h"
#include "serving/resilience/budget_book.h"
#include "t.h"

static const struct {
	const char *text;
	enum budget_unit unit;
	int64_t amount;
	const char *currency;
	enum budget_period period;
	const char *again; /* as it is written back */
} good[] = {
	{"50/month", BUDGET_MONEY, 50 * MONEY_ONE, "USD", BUDGET_MONTH, "50 USD/month"},
	{"50 EUR/month", BUDGET_MONEY, 50 * MONEY_ONE, "EUR", BUDGET_MONTH, "50 EUR/month"},
	{" 0.000000001 / hour ", BUDGET_MONEY, 1, "USD", BUDGET_HOUR, "0.000000001 USD/hour"},
	{"1000000000/total", BUDGET_MONEY, BUDGET_MAX, "USD", BUDGET_TOTAL, "1000000000 USD/total"},
	{"2000000/day", BUDGET_TOKENS, 2000000, "", BUDGET_DAY, "2000000/day"},
	{"1/total", BUDGET_TOKENS, 1, "", BUDGET_TOTAL, "1/total"},
	{"", BUDGET_TOKENS, 0, "", BUDGET_HOUR, ""},
};

TEST(a_budget_is_read_and_written_back)
{
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		char text[BUDGET_TEXT];
		struct budget b, again;

		CHECK_INT(budget_parse(slice_from(good[i].text), good[i].unit, &b, NULL), 0);
		CHECK_INT(b.amount, good[i].amount);
		CHECK_STR(b.currency, good[i].currency);
		CHECK_INT(b.period, good[i].period);
		CHECK_STR(budget_format(&b, good[i].unit, text), good[i].again);
		CHECK_INT(budget_parse(slice_from(text), good[i].unit, &again, NULL), 0);
		CHECK(again.amount == b.amount && again.period == b.period && !strcmp(again.currency, b.currency));
	}
}

static const struct {
	const char *text;
	enum budget_unit unit;
} bad[] = {
	{"50", BUDGET_MONEY},
	{"/day", BUDGET_MONEY},
	{"50/week", BUDGET_MONEY},
	{"50/", BUDGET_MONEY},
	{"0/day", BUDGET_MONEY},
	{"-1/day", BUDGET_MONEY},
	{"50 usd/day", BUDGET_MONEY},
	{"50 EURO/day", BUDGET_MONEY},
	{"x/day", BUDGET_MONEY},
	{"1e99/day", BUDGET_MONEY},
	{"1.0000000001/day", BUDGET_MONEY},
	{"1000000001/day", BUDGET_MONEY},
	{"1.5/day", BUDGET_TOKENS},
	{"1 USD/day", BUDGET_TOKENS},
	{"99999999999999999999/day", BUDGET_TOKENS},
};

TEST(what_is_no_budget_is_refused_with_words)
{
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct budget b = {.amount = 7};
		struct err err = {0};

		CHECK_INT(budget_parse(slice_from(bad[i].text), bad[i].unit, &b, &err), E_INVALID);
		CHECK(strstr(err.text, bad[i].unit == BUDGET_MONEY ? "50/month" : "2000000/day") != NULL);
		CHECK_INT(b.amount, 7);
	}
}

static const struct {
	enum budget_period period;
	const char *at, *start, *end;
} periods[] = {
	{BUDGET_HOUR, "2026-11-23T11:59:59.999999Z", "2026-11-23T11:00:00Z", "2026-11-23T12:00:00Z"},
	{BUDGET_HOUR, "2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z"},
	{BUDGET_DAY, "2026-12-31T23:59:59Z", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"},
	{BUDGET_MONTH, "2026-11-30T23:59:59Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
	{BUDGET_MONTH, "2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
	{BUDGET_MONTH, "2027-01-31T12:00:00Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"},
	{BUDGET_MONTH, "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
	{BUDGET_MONTH, "2100-02-28T12:00:00Z", "2100-02-01T00:00:00Z", "2100-03-01T00:00:00Z"},
	{BUDGET_MONTH, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-02-01T00:00:00Z"},
};

static int64_t time_of(const char *text)
{
	int64_t at = -1;

	CHECK_INT(clock_parse(slice_from(text), 0, &at), 0);
	return at;
}

TEST(periods_are_those_of_the_calendar)
{
	int64_t start, end;

	for (size_t i = 0; i < COUNT_OF(periods); i++) {
		budget_period_bounds(periods[i].period, time_of(periods[i].at), &start, &end);
		CHECK_INT(start, time_of(periods[i].start));
		CHECK_INT(end, time_of(periods[i].end));
	}
	budget_period_bounds(BUDGET_TOTAL, time_of("2026-11-23T12:00:00Z"), &start, &end);
	CHECK(start == 0 && end == INT64_MAX);
}

TEST(each_month_ends_where_the_next_begins)
{
	int64_t at = 0, start, end;

	for (int i = 0; i < 12 * 400; i++) { /* a whole cycle of the calendar */
		budget_period_bounds(BUDGET_MONTH, at, &start, &end);
		CHECK(start == at && end > at);
		budget_period_bounds(BUDGET_MONTH, end - 1, &start, &at);
		CHECK(at == end && start < at);
	}
	CHECK_INT(at, time_of("2370-01-01T00:00:00Z"));
}

/* --- accounts --- */

#define NOW INT64_C(1795000000000000)

static struct budget_account *account(int64_t limit, int64_t lent)
{
	struct budget_account *a = budget_account_new("key/x/USD/day");

	a->period = BUDGET_DAY;
	atomic_store(&a->limit, limit);
	if (lent)
		budget_give(budget_term_open(a, NOW), lent);
	return a;
}

TEST(what_is_reserved_is_not_there_and_comes_back_but_for_its_cost)
{
	struct budget_account *a = account(100, 100);
	struct budget_term *t = budget_term_at(a, NOW);
	struct budget_hold one, two;

	CHECK_INT(budget_reserve(a, 60, NOW, &one), BUDGET_GRANTED);
	CHECK_INT(budget_reserve(a, 41, NOW, &two), BUDGET_ELSEWHERE);
	CHECK_INT(budget_reserve(a, 40, NOW, &two), BUDGET_GRANTED);
	CHECK(atomic_load(&t->available) == 0 && atomic_load(&t->counts->reserved) == 100);
	budget_settle(&one, 10);
	budget_settle(&one, 10); /* no effect */
	CHECK(atomic_load(&t->available) == 50 && atomic_load(&t->counts->spent) == 10 &&
	      atomic_load(&t->counts->reserved) == 40);
	budget_settle(&two, 0);
	CHECK_INT(budget_reserve(a, 91, NOW, &one), BUDGET_SPENT);
	CHECK_INT(budget_reserve(a, 90, NOW, &one), BUDGET_GRANTED);
	budget_settle(&one, 95); /* more than it said */
	CHECK_INT(atomic_load(&t->available), -5);
	CHECK_INT(budget_reserve(a, 1, NOW, &one), BUDGET_SPENT);
	CHECK(atomic_load(&a->refusals) == 3 && atomic_load(&a->largest) == 91);
	budget_account_unref(a);
}

TEST(what_a_request_needs_more_counts_with_what_it_has)
{
	struct budget_account *a = account(100, 100);
	struct budget_hold h;

	CHECK_INT(budget_reserve(a, 60, NOW, &h), BUDGET_GRANTED);
	CHECK_INT(budget_extend(&h, 41), BUDGET_SPENT);
	CHECK_INT(budget_extend(&h, 40), BUDGET_GRANTED);
	budget_settle(&h, 100);
	CHECK_INT(atomic_load(&budget_term_at(a, NOW)->available), 0);
	budget_account_unref(a);
}

TEST(a_period_of_which_nothing_was_lent_grants_nothing)
{
	struct budget_account *a = account(100, 0);
	struct budget_hold h;
	int64_t day = INT64_C(86400000000);

	CHECK_INT(budget_reserve(a, 1, NOW, &h), BUDGET_ELSEWHERE);
	budget_settle(&h, 1);
	budget_give(budget_term_open(a, NOW), 10);
	CHECK_INT(budget_reserve(a, 1, NOW + day, &h), BUDGET_ELSEWHERE);
	budget_give(budget_term_open(a, NOW + day), 5); /* ahead of it */
	CHECK_INT(budget_reserve(a, 6, NOW, &h), BUDGET_GRANTED);
	budget_settle(&h, 6);
	CHECK_INT(budget_reserve(a, 5, NOW + day, &h), BUDGET_GRANTED);
	budget_account_tidy(a, NOW + 30 * day);
	budget_settle(&h, 5);
	CHECK(budget_term_at(a, NOW) == NULL && budget_term_at(a, NOW + day) != NULL);
	CHECK(budget_term_open(a, NOW) && budget_term_at(a, NOW + day)); /* a clock that was set back */
	CHECK(budget_term_open(a, NOW + day) == budget_term_at(a, NOW + day));
	budget_account_unref(a);
}

TEST(who_has_little_left_is_told)
{
	struct budget_account *a = account(100, 50);
	struct budget_hold h;

	atomic_store(&budget_term_at(a, NOW)->low, 20);
	CHECK_INT(budget_reserve(a, 30, NOW, &h), BUDGET_GRANTED);
	CHECK_INT(budget_reserve(a, 1, NOW, &h), BUDGET_GRANTED_LOW);
	CHECK_INT(budget_take_back(budget_term_at(a, NOW), 5), 5);
	CHECK_INT(budget_take_back(budget_term_at(a, NOW), 500), 14);
	CHECK_INT(budget_take_back(budget_term_at(a, NOW), 500), 0);
	budget_account_unref(a);
}

/* --- at once --- */

#define THREADS 4
#define ROUNDS 20000
#define LENT INT64_C(1000000)

struct spender {
	struct budget_account *a;
	int64_t spent;
	unsigned seed;
};

static void *spend(void *arg)
{
	struct spender *s = arg;

	for (int i = 0; i < ROUNDS; i++) {
		int64_t most = 1 + (s->seed = s->seed * 1103515245 + 12345) / 65536 % 97, cost = most - most / 3;
		struct budget_hold h;

		if (budget_reserve(s->a, most, NOW, &h) > BUDGET_GRANTED_LOW)
			continue;
		s->spent += cost;
		budget_settle(&h, cost);
	}
	return NULL;
}

TEST(spenders_at_once_never_spend_more_than_was_lent)
{
	struct budget_account *a = account(LENT, LENT);
	struct budget_term *t = budget_term_at(a, NOW);
	struct spender s[THREADS];
	pthread_t thread[THREADS];
	int64_t spent = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		s[i] = (struct spender){a, 0, i + 1};
		CHECK_INT(pthread_create(&thread[i], NULL, spend, &s[i]), 0);
	}
	for (int i = 0; i < ROUNDS; i++) { /* the lender takes and gives meanwhile */
		int64_t part = budget_take_back(t, 1000);

		budget_give(t, part);
		(void)budget_term_open(a, NOW + (i % 3) * INT64_C(86400000000));
		budget_account_tidy(a, NOW);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		CHECK_INT(pthread_join(thread[i], NULL), 0);
		spent += s[i].spent;
	}
	CHECK(spent <= LENT);
	CHECK_INT(atomic_load(&t->counts->spent), spent);
	CHECK_INT(atomic_load(&t->available), LENT - spent);
	CHECK_INT(atomic_load(&t->counts->reserved), 0);
	budget_account_unref(a);
}

/* --- the book --- */

struct shelf {
	char directory[64];
};

static void shelf_make(struct shelf *s)
{
	(void)snprintf(s->directory, sizeof(s->directory), "/tmp/test_budget.XXXXXX");
	CHECK(mkdtemp(s->directory) != NULL);
}

static void shelf_remove(const struct shelf *s)
{
	struct budget_book_past past[4];

	CHECK_INT(budget_book_list_past(s->directory, past, 4), 0);
	CHECK_INT(rmdir(s->directory), 0);
}

/* Spends in a process of its own, and is killed in the middle of it. */
static void die_spending(const struct shelf *s)
{
	struct uuid self = uuid_v7_now();
	int ready[2], status;
	char c;
	pid_t pid;

	CHECK_INT(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		struct budget_account *a = account(100, 0);
		struct budget_hold h;

		if (budget_book_open(s->directory, &self, &a->book, NULL))
			_exit(1);
		budget_give(budget_term_open(a, NOW), 100);
		(void)budget_reserve(a, 30, NOW, &h);
		budget_settle(&h, 20);
		(void)budget_reserve(a, 7, NOW, &h);
		(void)!write(ready[1], "x", 1);
		for (;;)
			(void)pause();
	}
	CHECK_INT(read(ready[0], &c, 1), 1);
	CHECK_INT(kill(pid, SIGKILL), 0);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	(void)close(ready[0]); /* no more is said */
	(void)close(ready[1]);
}

TEST(what_was_spent_is_known_when_its_process_was_killed)
{
	struct budget_book_past past[4];
	struct budget_book *book = NULL;
	int64_t start, end;
	struct shelf s;

	shelf_make(&s);
	die_spending(&s);
	budget_period_bounds(BUDGET_DAY, NOW, &start, &end);
	CHECK_INT(budget_book_list_past(s.directory, past, 4), 1);
	CHECK_INT(budget_book_open_past(s.directory, &past[0], &book, NULL), 0);
	CHECK_INT(budget_book_gone(book, SLICE_LIT("key/x/USD/day"), start), 27);
	CHECK_INT(budget_book_gone(book, SLICE_LIT("key/x/USD/day"), end), -1);
	CHECK_INT(budget_book_gone(book, SLICE_LIT("key/y/USD/day"), start), -1);
	budget_book_close(book, false);
	CHECK_INT(budget_book_open_past(s.directory, &past[0], &book, NULL), 0);
	budget_book_close(book, true);
	shelf_remove(&s);
}

TEST(the_book_of_one_that_lives_is_not_read_and_a_damaged_one_not_believed)
{
	struct uuid self = uuid_v7_now();
	struct budget_book_past past[4];
	struct budget_book *own = NULL, *other = NULL;
	char path[256];
	struct err err = {0};
	struct shelf s;
	int fd;

	shelf_make(&s);
	CHECK_INT(budget_book_open(s.directory, &self, &own, NULL), 0);
	CHECK_INT(budget_book_list_past(s.directory, past, 4), 1);
	CHECK_INT(budget_book_open_past(s.directory, &past[0], &other, NULL), E_NOTFOUND);
	budget_book_close(own, false);
	(void)snprintf(path, sizeof(path), "%s/%s", s.directory, past[0].file);
	fd = open(path, O_WRONLY);
	CHECK_INT(pwrite(fd, "another start", 13, 8), 13); /* of the machine */
	(void)close(fd);
	CHECK_INT(budget_book_open_past(s.directory, &past[0], &other, &err), E_CORRUPT);
	CHECK(strstr(err.text, "another start of the machine") != NULL);
	shelf_remove(&s);
	CHECK_INT(budget_book_list_past("/dev/null/else", past, 4), 0);
	CHECK_INT(budget_book_open("/dev/null/else", &self, &own, &err), E_IO);
}

TEST(what_has_no_room_in_the_book_is_counted_all_the_same)
{
	struct uuid self = uuid_v7_now();
	struct budget_account *a = account(100, 0);
	struct budget_counts *one = NULL;
	struct budget_hold h;
	struct shelf s;

	shelf_make(&s);
	CHECK_INT(budget_book_open(s.directory, &self, &a->book, NULL), 0);
	for (size_t i = 0; i < BUDGET_BOOK_ENTRIES; i++)
		CHECK((one = budget_book_place(a->book, SLICE_LIT("x"), (int64_t)i)) != NULL);
	CHECK(budget_book_place(a->book, SLICE_LIT("x"), 1) == NULL);
	budget_give(budget_term_open(a, NOW), 10);
	CHECK_INT(budget_reserve(a, 10, NOW, &h), BUDGET_GRANTED);
	budget_settle(&h, 10);
	CHECK(budget_term_at(a, NOW)->counts == &budget_term_at(a, NOW)->own);
	budget_book_leave(one);
	CHECK(budget_book_place(a->book, SLICE_LIT("x"), 1) == one);
	budget_book_close(a->book, true);
	budget_account_unref(a);
	shelf_remove(&s);
}
