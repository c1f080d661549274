/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A round: read how all budgets stand of which we have a loan, and move what has to move, each move in a transaction of
 * its own.  What is given back is taken from the loops before the transaction, and what is taken is given to them after
 * it; so a commit of which nothing is heard never lets anything be spent twice.  The next round finds out what the row
 * says, and goes by that.
 */
#include "control/lending/budgets.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/arena.h"

#define ARENA_MAX ((size_t)32 << 20)
#define MOVES_MAX 256		   /* in one round: the rest waits for the next */
#define AHEAD_US INT64_C(60000000) /* so long before a period begins it is lent */
#define SWEEP_EVERY_US INT64_C(3600000000)
#define KEPT_US (INT64_C(400) * 24 * 3600 * 1000000) /* of periods that are over */

struct budget_lender {
	struct store *store;
	struct uuid self;
	char self_text[UUID_STR_SIZE];
	pthread_mutex_t lock; /* of a round */
	int64_t swept_us;
};

struct budget_lender *budget_lender_new(struct store *store, const struct uuid *self)
{
	struct budget_lender *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	l->store = store;
	l->self = *self;
	uuid_format(self, l->self_text);
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

void budget_lender_free(struct budget_lender *l)
{
	if (!l)
		return;
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* One period of one budget in one round. */
struct turn {
	struct budget_lender *l;
	struct db *db;
	struct budget_account *a;
	struct budget_term *t;
	const struct budget_standing *at; /* NULL: we have no loan */
	int64_t others;
	bool refused;
	bool is_now; /* not of a period that is still to come */
	size_t *moves;
};

static int64_t read_of(_Atomic int64_t *v)
{
	return atomic_load_explicit(v, memory_order_acquire);
}

static struct budget_loan loan_of(const struct turn *t)
{
	return (struct budget_loan){.budget = slice_from(t->a->name),
				    .start_us = t->t->start_us,
				    .instance = t->l->self,
				    .lent = t->t->lent,
				    .spent = read_of(&t->t->counts->spent),
				    .wanted = t->t->told_wanted};
}

static bool others_want(const struct turn *t)
{
	return t->at && t->at->others_wanted > 0;
}

static bool is_alone(const struct turn *t)
{
	return t->others == 0 && !others_want(t);
}

static int order_of(struct slice a, struct slice b)
{
	int c = memcmp(a.p, b.p, min_size(a.n, b.n));

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* It refused a request for which it holds too little. */
static bool is_short(const struct turn *t)
{
	return t->is_now && t->refused && read_of(&t->t->available) < t->a->need;
}

/* What it should hold when so much is left to lend. */
static int64_t target(const struct turn *t, int64_t room)
{
	int64_t available = read_of(&t->t->available), all = available + room,
		parties = t->others < 1 ? 2 : t->others + 1, part, wish;

	if (is_alone(t))
		return all;
	part = all / (2 * parties);
	wish = t->is_now ? 2 * t->a->demand + t->a->need : 0;
	part = part > wish ? part : wish;
	return part < all ? part : all;
}

/* How much of what it holds another gets, who is short of it. */
static int64_t to_give(const struct turn *t)
{
	int64_t available = read_of(&t->t->available), need = t->a->need;

	if (is_short(t)) /* both are: the first has it all */
		return order_of(t->at->first_wanting, slice_from(t->l->self_text)) < 0 ? available : 0;
	if (!t->a->demand)
		return available / 4 <= t->at->others_wanted ? available : available / 4 * 3;
	return available / 2 >= need ? available / 2 : available < need ? available : 0;
}

/* --- moves --- */

/* What the row says is right: a move of which nothing was heard, or one that did not happen. */
static void go_by(struct turn *t, int64_t lent, bool has_loan)
{
	budget_give(t->t, lent - t->t->lent);
	t->t->lent = lent;
	t->t->has_loan = has_loan;
}

static int64_t to_take(const struct turn *t, int64_t room)
{
	int64_t available = read_of(&t->t->available), wish;

	if (available < 0) /* it was spent, whether it was lent or not */
		return -available > room ? -available
		       : room > 0	 ? min_i64(room, target(t, room) - available)
					 : -available;
	if (room <= 0)
		return 0;
	wish = target(t, room) - available;
	if (is_short(t) && others_want(t) && available + room < t->a->need)
		return 0; /* it would do for none of us: the first has it all */
	return wish < 0 ? 0 : min_i64(wish, room);
}

static int move_locked(struct turn *t, int64_t give, int64_t *ret_take, struct err *err)
{
	struct budget_loan loan = loan_of(t);
	struct budget_pool pool;
	int rc = store_budget_hold(t->db, &loan, &pool, err);

	if (rc)
		return rc;
	if (!give)
		*ret_take = to_take(t, atomic_load(&t->a->limit) - pool.gone);
	loan.lent = pool.lent - give + *ret_take;
	loan.wanted = 0;
	return store_budget_put(t->db, &loan, err);
}

static int move(struct turn *t, int64_t give, struct err *err)
{
	int64_t take = 0, told = read_of(&t->t->counts->spent);
	int rc;

	++*t->moves;
	rc = db_begin_append(t->db, err);
	if (!rc)
		rc = move_locked(t, give, &take, err);
	if (!rc)
		rc = db_commit(t->db, err);
	if (rc) {
		db_rollback(t->db);
		return rc;
	}
	t->t->has_loan = true;
	t->t->told_spent = told;
	t->t->told_wanted = 0;
	t->t->lent += take;
	budget_give(t->t, take);
	return 0;
}

static int give_back(struct turn *t, int64_t n, struct err *err)
{
	int64_t part = budget_take_back(t->t, n);

	if (part <= 0)
		return 0;
	t->t->lent -= part; /* when that fails, the next round finds that it is ours again */
	return move(t, part, err);
}

static int tell(struct turn *t, struct err *err)
{
	struct budget_loan loan = loan_of(t);
	int rc;

	loan.wanted = is_short(t) ? t->a->need : 0;
	if (!t->t->has_loan || (loan.spent == t->t->told_spent && loan.wanted == t->t->told_wanted))
		return 0;
	++*t->moves;
	rc = store_budget_tell(t->db, &loan, err);
	if (!rc) {
		t->t->told_spent = loan.spent;
		t->t->told_wanted = loan.wanted;
	}
	return rc;
}

static int work_on(struct turn *t, struct err *err)
{
	int64_t limit = atomic_load(&t->a->limit), room = t->at ? limit - t->at->gone : limit, available, low;
	int rc = 0;

	if (t->at || t->t->has_loan) {
		go_by(t, t->at ? t->at->own_lent : 0, t->at != NULL);
		atomic_store_explicit(&t->t->others, t->at ? t->at->others_spent : 0, memory_order_relaxed);
	}
	low = is_alone(t) ? 0 : target(t, room > 0 ? room : 0) / 2;
	atomic_store_explicit(&t->t->low, low, memory_order_relaxed);
	if (*t->moves >= MOVES_MAX)
		return 0;
	available = read_of(&t->t->available);
	if (t->at && room < 0 && available > 0)
		rc = give_back(t, -room, err); /* the budget is smaller than it was */
	else if (others_want(t) && room < t->at->others_wanted && available > 0 && to_give(t) > 0)
		rc = give_back(t, to_give(t), err);
	else if (!t->t->has_loan || available < 0 ||
		 (room > 0 && (is_alone(t) || available < low || is_short(t)) && to_take(t, room) > 0))
		rc = move(t, 0, err);
	return rc ? rc : tell(t, err);
}

/* --- a round --- */

struct standings {
	struct budget_standing *list;
	size_t n;
};

static int compare(const struct budget_standing *s, struct slice budget, int64_t start_us)
{
	int c = order_of(s->budget, budget);

	return c ? c : (s->start_us > start_us) - (s->start_us < start_us);
}

/* They are not in the order of their bytes in every database: sorted here. */
static int by_name(const void *a, const void *b)
{
	const struct budget_standing *y = b;

	return compare(a, y->budget, y->start_us);
}

static const struct budget_standing *find(const struct standings *s, const char *name, int64_t start_us)
{
	size_t from = 0, to = s->n;

	while (from < to) {
		size_t at = from + (to - from) / 2;
		int c = compare(&s->list[at], slice_from(name), start_us);

		if (!c)
			return &s->list[at];
		if (c < 0)
			from = at + 1;
		else
			to = at;
	}
	return NULL;
}

/* Gives back what is left, and says what was spent.  What is reserved still counts as spent. */
static int end_term(struct budget_lender *l, struct db *db, struct budget_account *a, struct budget_term *t,
		    struct err *err)
{
	struct budget_loan loan = {.budget = slice_from(a->name), .start_us = t->start_us, .instance = l->self};
	int64_t rest = budget_take_back(t, INT64_MAX), spent = read_of(&t->counts->spent);
	int rc = db_begin_append(db, err);

	if (!rc)
		rc = store_budget_end(db, &loan, spent + read_of(&t->counts->reserved), err);
	if (!rc)
		rc = db_commit(db, err);
	if (rc) {
		db_rollback(db);
		budget_give(t, rest);
		return rc;
	}
	atomic_fetch_sub(&t->counts->spent, spent); /* not before: what is in the book has to cover the loan */
	t->has_loan = false;
	t->lent = t->told_spent = t->told_wanted = 0;
	return 0;
}

static int end_old(struct turn *t, int64_t now_us, struct err *err)
{
	int rc = 0;

	for (struct budget_term *old = atomic_load(&t->a->newest); old && !rc; old = atomic_load(&old->older)) {
		if (now_us < old->end_us || !old->has_loan || read_of(&old->counts->reserved) || *t->moves >= MOVES_MAX)
			continue;
		++*t->moves;
		rc = end_term(t->l, t->db, t->a, old, err);
	}
	budget_account_tidy(t->a, now_us);
	return rc;
}

/* Quick to grow, slow to fall. */
static void note_demand(struct budget_account *a, bool *ret_refused)
{
	int64_t asked = atomic_exchange(&a->asked, 0), largest = atomic_exchange(&a->largest, 0);
	int64_t demand = a->demand - a->demand / 4 - (a->demand > 0), need = a->need - a->need / 16 - (a->need > 0);

	*ret_refused = atomic_exchange(&a->refused, false);
	a->demand = asked > demand ? min_i64(asked, BUDGET_MAX / 4) : demand;
	a->need = largest > need ? min_i64(largest, BUDGET_MAX / 4) : need;
}

static int work_on_account(struct turn *t, const struct standings *s, int64_t now_us, struct err *err)
{
	struct budget_term *now = budget_term_open(t->a, now_us);
	int rc;

	note_demand(t->a, &t->refused);
	t->t = now;
	t->is_now = true;
	t->at = find(s, t->a->name, now->start_us);
	rc = work_on(t, err);
	if (!rc && now->end_us != INT64_MAX && now->end_us - now_us <= AHEAD_US) {
		t->t = budget_term_open(t->a, now->end_us);
		t->is_now = false;
		t->at = find(s, t->a->name, t->t->start_us);
		rc = work_on(t, err);
	}
	return rc ? rc : end_old(t, now_us, err);
}

static int round_on(struct budget_lender *l, struct db *db, struct budget_account *const *list, size_t n,
		    const struct budget_moment *m, struct err *err)
{
	CLEANUP(arena_release) struct arena arena;
	struct standings s = {NULL, 0};
	size_t moves = 0;
	int rc = 0;

	if (m->now_us - l->swept_us > SWEEP_EVERY_US) {
		rc = store_budgets_sweep(db, m->now_us - KEPT_US, err);
		l->swept_us = rc ? l->swept_us : m->now_us;
	}
	arena_init(&arena, 16384, ARENA_MAX);
	if (rc || (rc = store_budget_standings(db, &arena, &l->self, &s.list, &s.n, err)))
		return rc;
	if (s.n)
		qsort(s.list, s.n, sizeof(*s.list), by_name);
	for (size_t i = 0; i < n && !rc; i++) {
		struct turn t = {.l = l, .db = db, .a = list[i], .others = m->others, .moves = &moves};

		rc = work_on_account(&t, &s, m->now_us, err);
	}
	return rc;
}

int budget_lender_round(struct budget_lender *l, struct budget_account *const *list, size_t n,
			const struct budget_moment *m, struct err *err)
{
	struct db *db = NULL;
	int rc = 0;

	if (!n)
		return 0;
	pthread_mutex_lock(&l->lock);
	rc = store_acquire(l->store, &db, err);
	if (!rc)
		rc = round_on(l, db, list, n, m, err);
	store_release(l->store, db);
	pthread_mutex_unlock(&l->lock);
	return rc;
}

static int end_all(struct budget_lender *l, struct db *db, struct budget_account *const *list, size_t n,
		   struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		for (struct budget_term *t = atomic_load(&list[i]->newest); t && !rc; t = atomic_load(&t->older))
			if (t->has_loan)
				rc = end_term(l, db, list[i], t, err);
	return rc;
}

int budget_lender_end(struct budget_lender *l, struct budget_account *const *list, size_t n, struct err *err)
{
	struct db *db = NULL;
	int rc;

	if (!n)
		return 0;
	pthread_mutex_lock(&l->lock);
	rc = store_acquire(l->store, &db, err);
	if (!rc)
		rc = end_all(l, db, list, n, err);
	store_release(l->store, db);
	pthread_mutex_unlock(&l->lock);
	return rc;
}

/* --- the dead --- */

static int settle_one(struct db *db, const struct budget_loan *loan, int64_t spent, struct err *err)
{
	int rc = db_begin_append(db, err);

	if (!rc)
		rc = store_budget_end(db, loan, spent, err);
	if (!rc)
		rc = db_commit(db, err);
	if (rc)
		db_rollback(db);
	return rc;
}

int budget_lender_settle(struct budget_lender *l, const struct uuid *dead, budget_spent_fn *spent, void *arg,
			 struct err *err)
{
	CLEANUP(arena_release) struct arena arena;
	struct budget_loans loans = {NULL, 0};
	struct db *db = NULL;
	int rc;

	arena_init(&arena, 16384, ARENA_MAX);
	pthread_mutex_lock(&l->lock);
	rc = store_acquire(l->store, &db, err);
	if (!rc)
		rc = store_budget_loans(db, &arena, dead, &l->self, &loans, err);
	for (size_t i = 0; i < loans.n && !rc; i++)
		rc = settle_one(db, &loans.list[i], spent(&loans.list[i], arg), err);
	store_release(l->store, db);
	pthread_mutex_unlock(&l->lock);
	return rc;
}
