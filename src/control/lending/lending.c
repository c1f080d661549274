/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A round: say that we are there, read the loans of all subjects that we have one of, and move what has to move, each
 * move in a transaction of its own that holds the pool.  Before a part is given back it is no longer spent from; only
 * after it was taken it is.  So a commit of which nothing is heard costs a part of the rate for a round, and never
 * lets anything be spent twice.
 */
#include "control/lending/lending.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/map.h"

#define MINUTE_US INT64_C(60000000)
#define MINUTE_MS INT64_C(60000)
#define BEAT_MS 2000
#define MOVES_MAX 64 /* in one round: the rest waits for the next */
#define LOANS_ARENA ((size_t)32 << 20)
#define PARTIES_MAX 256

/* What is remembered of an account from round to round. */
struct memory {
	int64_t demand;	 /* units a minute */
	int64_t wanted;	 /* as the row says */
	int64_t used_ms; /* when it was last asked, or not full */
	int64_t amount;	 /* of our loan, after the last round */
	bool has_loan;
	uint64_t round; /* when it was last seen */
	size_t n;
	char name[LENDING_NAME_MAX + 1];
};

struct lender {
	struct store *store;
	struct uuid self;
	struct lending_hooks hooks;
	pthread_mutex_t lock; /* of a round */
	struct map accounts;  /* "kind/subject" -> struct memory */
	uint64_t round;
	atomic_llong others; /* -1: not known yet; anybody reads it */
	int64_t since_ms, beat_ms, last_ms, heard_ms;
	bool left, swept;
};

struct lender *lender_new(struct store *store, const struct uuid *self, const struct lending_hooks *hooks)
{
	struct lender *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	l->store = store;
	l->self = *self;
	l->hooks = *hooks;
	l->others = -1;
	map_init(&l->accounts);
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

void lender_free(struct lender *l)
{
	struct map_entry *e;

	if (!l)
		return;
	for (size_t i = 0; map_next(&l->accounts, &i, &e);)
		free(e->value);
	map_release(&l->accounts);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int64_t lending_advance(int64_t limit)
{
	return limit > 16 ? limit / 16 : 1;
}

int64_t lender_others(const struct lender *l)
{
	return l->others;
}

/* --- one account in one round --- */

struct turn {
	struct lender *l;
	struct db *db;
	const struct lending_account *a;
	struct memory *m;
	int64_t now_ms;
	int64_t others_wanted[PARTIES_MAX]; /* of those that are there and have a loan */
	size_t n_others;
	bool others_short;
	bool has_dead;
	int64_t lent_others;
	size_t moves; /* that were made in this round */
};

static struct memory *memory_of(struct lender *l, const struct lending_account *a)
{
	char name[LENDING_NAME_MAX + 1];
	size_t n = a->kind.n + 1 + a->subject.n;
	struct memory *m;

	if (n > LENDING_NAME_MAX)
		return NULL;
	memcpy(name, a->kind.p, a->kind.n);
	name[a->kind.n] = '/';
	memcpy(name + a->kind.n + 1, a->subject.p, a->subject.n);
	m = map_get(&l->accounts, (struct slice){name, n});
	if (m)
		return m;
	m = calloc(1, sizeof(*m));
	if (!m)
		abort();
	memcpy(m->name, name, n);
	m->n = n;
	(void)map_put(&l->accounts, (struct slice){m->name, m->n}, m); /* it was not there */
	return m;
}

static struct loan_row loan_of(const struct turn *t)
{
	return (struct loan_row){.kind = t->a->kind,
				 .subject = t->a->subject,
				 .instance = t->l->self,
				 .amount = t->m->amount,
				 .wanted = t->m->wanted};
}

static int64_t spends_at(const struct lending_account *a)
{
	return a->share < 0 || a->share > a->limit ? a->limit : a->share;
}

/* Quick to grow, slow to fall: a minute's pause is not the end of a need. */
static void note_demand(struct turn *t, int64_t elapsed_ms)
{
	struct memory *m = t->m;
	int64_t now = elapsed_ms > 0 ? t->a->asked * MINUTE_MS / elapsed_ms : 0,
		slow = m->demand ? m->demand - m->demand / 16 - 1 : 0;

	m->demand = now > slow ? now : slow;
	if (t->a->refused && m->demand <= 2 * spends_at(t->a)) /* what was refused may not say how much it was */
		m->demand = 2 * spends_at(t->a) + 1;
	if (m->demand > t->a->limit)
		m->demand = t->a->limit;
	if (t->a->asked || t->a->missing_us > 0)
		m->used_ms = t->now_ms;
}

static int64_t free_of(const struct turn *t, const struct pool_row *pool)
{
	return t->a->limit > pool->lent ? t->a->limit - pool->lent : 0;
}

static int64_t missing_of(const struct pool_row *pool)
{
	return pool->state > pool->now_us ? pool->state - pool->now_us : 0;
}

/* A part goes back into the pool; the row of the loan has to be written already, or is gone. */
static int return_part(struct turn *t, struct pool_row *pool, struct share_part part, struct err *err)
{
	struct share_part rest = {free_of(t, pool), missing_of(pool)};

	pool->state = pool->now_us + share_blend(rest, part);
	return store_pool_set(t->db, pool, err);
}

struct wish {
	int64_t amount; /* that the loan is to have; -1: no loan any more */
	struct share_part got;
};

static int move_locked(struct turn *t, struct wish *w, struct err *err)
{
	struct pool_row pool = {.kind = t->a->kind, .subject = t->a->subject};
	struct loan_row row = loan_of(t);
	int64_t had = t->m->has_loan ? t->m->amount : 0, to = w->amount < 0 ? 0 : w->amount, most, unused;
	int rc = store_pool_hold(t->db, &pool, err);

	if (rc)
		return rc;
	most = had + free_of(t, &pool);
	row.amount = to > most ? most : to;
	w->got = (struct share_part){row.amount - had, missing_of(&pool)};
	rc = w->amount < 0 ? store_loan_end(t->db, &row, &unused, err) : store_loan_put(t->db, &row, err);
	if (rc || row.amount >= had)
		return rc;
	return return_part(t, &pool,
			   (struct share_part){had - row.amount, t->l->hooks.missing_us(t->a, t->l->hooks.arg)}, err);
}

static int move(struct turn *t, struct wish *w, struct err *err)
{
	int rc = db_begin_append(t->db, err);

	if (!rc)
		rc = move_locked(t, w, err);
	if (!rc)
		rc = db_commit(t->db, err);
	if (rc)
		db_rollback(t->db);
	t->moves++;
	return rc;
}

/* What those had who died is lent again as if they had spent it all. */
static int reclaim(struct turn *t, const struct loan_row *dead, struct err *err)
{
	struct pool_row pool = {.kind = t->a->kind, .subject = t->a->subject};
	int64_t amount = 0;
	int rc = db_begin_append(t->db, err);

	if (!rc)
		rc = store_pool_hold(t->db, &pool, err);
	if (!rc)
		rc = store_loan_end(t->db, dead, &amount, err); /* 0: another was faster */
	if (!rc && amount)
		rc = return_part(t, &pool, (struct share_part){amount, MINUTE_US}, err);
	if (!rc)
		rc = db_commit(t->db, err);
	if (rc)
		db_rollback(t->db);
	t->moves++;
	return rc;
}

/* --- what to move --- */

static int64_t least(const struct turn *t)
{
	int64_t share = t->a->limit / (16 * (int64_t)(t->n_others + 1));

	return t->a->limit >= 16 && !share ? 1 : share;
}

static int64_t fair(const struct turn *t)
{
	int64_t wanted[PARTIES_MAX + 1], least_one = least(t), got;

	for (size_t i = 0; i < t->n_others; i++)
		wanted[i] = t->others_wanted[i] > least_one ? t->others_wanted[i] : least_one;
	wanted[t->n_others] = t->m->demand > least_one ? t->m->demand : least_one;
	got = share_fair(t->a->limit, wanted, t->n_others + 1, t->n_others);
	return got;
}

/* How much this daemon should have; what it has is t->m->amount. */
static int64_t target(const struct turn *t)
{
	int64_t has = t->m->has_loan ? t->m->amount : 0, is_fair;
	bool is_short = t->a->refused || !t->m->has_loan || t->m->demand > has;

	if (!t->others_short)
		return is_short || !t->n_others ? t->a->limit : has; /* all that nobody has */
	is_fair = fair(t);
	if (is_short)
		return is_fair ? is_fair : has ? has : 1; /* less than one for each: who has it keeps it */
	return is_fair < has ? is_fair : has;
}

static int give(struct turn *t, int64_t amount, struct err *err)
{
	struct wish w = {.amount = amount};
	int rc;

	t->l->hooks.set(t->a, amount < 0 ? 0 : amount, t->l->hooks.arg);
	rc = move(t, &w, err);
	if (!rc) {
		t->m->amount = amount < 0 ? 0 : amount;
		t->m->has_loan = amount >= 0;
	}
	return rc;
}

static int take(struct turn *t, int64_t amount, struct err *err)
{
	struct wish w = {.amount = amount};
	bool is_first = !t->m->has_loan;
	int rc = move(t, &w, err);

	if (rc)
		return rc;
	t->m->amount = (is_first ? 0 : t->m->amount) + w.got.amount;
	t->m->has_loan = true;
	if (is_first || w.got.amount)
		t->l->hooks.join(t->a, t->m->amount, w.got, t->l->hooks.arg);
	return 0;
}

/* Others are to know who is short, and how much it would use. */
static int say_want(struct turn *t, struct err *err)
{
	struct loan_row row = loan_of(t);
	struct memory *m = t->m;
	int64_t wanted = t->a->refused && m->demand <= m->amount ? m->amount + 1 : m->demand, far;

	far = (wanted > m->wanted ? wanted - m->wanted : m->wanted - wanted) * 4;
	if ((wanted > m->amount) == (m->wanted > m->amount) && far <= wanted)
		return 0;
	row.wanted = m->wanted = wanted;
	return store_loan_want(t->db, &row, err);
}

/* Nobody asked for long, and the bucket is full: others may have all of it. */
static int move_idle(struct turn *t, struct err *err)
{
	int rc = give(t, -1, err);

	if (!rc)
		t->l->hooks.set(t->a, t->l->others ? lending_advance(t->a->limit) : LENDING_WHOLE, t->l->hooks.arg);
	return rc;
}

/* A subject of which this daemon has no loan: an advance, or all where there is nobody else. */
static int without_loan(struct turn *t, struct err *err)
{
	int64_t advance = t->l->others ? lending_advance(t->a->limit) : LENDING_WHOLE;
	bool used = t->a->asked || t->a->missing_us > 0;
	bool settled = t->now_ms - t->l->since_ms >= LENDING_SETTLE_MS;

	if (t->a->share == advance && advance == LENDING_WHOLE)
		return 0;
	if (used && settled && t->moves < MOVES_MAX)
		return take(t, target(t), err);
	if (t->a->share != advance && !used)
		t->l->hooks.set(t->a, advance, t->l->hooks.arg);
	return 0;
}

static int with_loan(struct turn *t, struct err *err)
{
	struct memory *m = t->m;
	int64_t to, has = spends_at(t->a);
	int rc;

	if (t->moves >= MOVES_MAX)
		return 0;
	/* A move of which nothing was heard: what the row says is right, and of what is more the bucket is empty. */
	if (has > m->amount)
		t->l->hooks.set(t->a, m->amount, t->l->hooks.arg);
	else if (has < m->amount)
		t->l->hooks.join(t->a, m->amount, (struct share_part){m->amount - has, MINUTE_US}, t->l->hooks.arg);
	if (t->now_ms - m->used_ms > LENDING_IDLE_MS)
		return move_idle(t, err);
	to = target(t);
	rc = to < m->amount						  ? give(t, to, err)
	     : to > m->amount && m->amount + t->lent_others < t->a->limit ? take(t, to, err)
									  : 0;
	return rc ? rc : say_want(t, err);
}

/* --- a round --- */

struct rows {
	struct loan_row *row;
	size_t n;
};

static bool same(const struct uuid *a, const struct uuid *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

/* The rows are ordered by kind and subject. */
static size_t first_of(const struct rows *rows, const struct lending_account *a)
{
	size_t from = 0, to = rows->n;

	while (from < to) {
		size_t at = from + (to - from) / 2;
		const struct loan_row *r = &rows->row[at];
		size_t n = r->kind.n < a->kind.n ? r->kind.n : a->kind.n;
		int c = memcmp(r->kind.p, a->kind.p, n);

		c = c ? c : (r->kind.n > a->kind.n) - (r->kind.n < a->kind.n);
		n = r->subject.n < a->subject.n ? r->subject.n : a->subject.n;
		c = c ? c : memcmp(r->subject.p, a->subject.p, n);
		c = c ? c : (r->subject.n > a->subject.n) - (r->subject.n < a->subject.n);
		if (c < 0)
			from = at + 1;
		else
			to = at;
	}
	return from;
}

static int look(struct turn *t, const struct rows *rows, struct err *err)
{
	const struct lending_account *a = t->a;

	t->m->has_loan = false;
	for (size_t i = first_of(rows, a); i < rows->n; i++) {
		const struct loan_row *r = &rows->row[i];
		int rc = 0;

		if (!slice_eq(r->kind, a->kind) || !slice_eq(r->subject, a->subject))
			break;
		if (same(&r->instance, &t->l->self)) {
			t->m->has_loan = true;
			t->m->amount = r->amount;
			t->m->wanted = r->wanted;
		} else if (!r->alive && t->moves < MOVES_MAX) {
			rc = reclaim(t, r, err);
		} else {
			t->lent_others += r->amount;
			t->others_short |= r->wanted > r->amount && r->alive;
			if (r->alive && t->n_others < PARTIES_MAX)
				t->others_wanted[t->n_others++] = r->wanted;
		}
		if (rc)
			return rc;
	}
	return 0;
}

static int beat(struct lender *l, struct db *db, int64_t now_ms, struct err *err)
{
	int64_t n = 0;
	int rc = 0;

	if (!l->beat_ms || now_ms - l->beat_ms >= BEAT_MS) {
		rc = store_replica_beat(db, &l->self, LENDING_TTL_US, err);
		if (!rc && (!l->since_ms || now_ms - l->beat_ms > LENDING_TTL_US / 1000))
			l->since_ms = now_ms; /* nobody knew of us */
		if (!rc)
			l->beat_ms = now_ms;
	}
	if (!rc && !l->swept) {
		rc = store_loans_sweep(db, err);
		l->swept = !rc;
	}
	if (!rc)
		rc = store_replica_others(db, &l->self, &n, err);
	if (!rc)
		l->others = n;
	return rc;
}

/* Subjects that there are no more. */
static void forget(struct lender *l)
{
	struct map_entry *e;

	for (size_t i = 0; map_next(&l->accounts, &i, &e);) {
		struct memory *m = e->value;

		if (m->round == l->round)
			continue;
		(void)map_del(&l->accounts, (struct slice){m->name, m->n});
		free(m);
		i = 0;
	}
}

static int round_on(struct lender *l, struct db *db, const struct lending_account *list, size_t n, int64_t now_ms,
		    struct err *err)
{
	CLEANUP(arena_release) struct arena arena;
	struct rows rows = {NULL, 0};
	size_t moves = 0;
	int rc = beat(l, db, now_ms, err);

	arena_init(&arena, 16384, LOANS_ARENA);
	if (rc || !n || (rc = store_loan_list(db, &arena, &l->self, &rows.row, &rows.n, err)))
		return rc;
	for (size_t i = 0; i < n && !rc; i++) {
		struct turn t = {.l = l, .db = db, .a = &list[i], .now_ms = now_ms, .moves = moves};

		t.m = memory_of(l, t.a);
		if (!t.m)
			return err_set(err, E_TOOBIG, "the name of a limit is longer than %d", LENDING_NAME_MAX);
		t.m->round = l->round;
		note_demand(&t, l->last_ms ? now_ms - l->last_ms : 0);
		rc = look(&t, &rows, err);
		if (!rc)
			rc = t.m->has_loan ? with_loan(&t, err) : without_loan(&t, err);
		moves = t.moves;
	}
	return rc;
}

/* The database says nothing: who has a loan goes on with it, who has none takes an equal part. */
static void go_on_alone(struct lender *l, const struct lending_account *list, size_t n)
{
	for (size_t i = 0; l->others > 0 && i < n; i++) {
		const struct memory *m = memory_of(l, &list[i]);
		int64_t part = list[i].limit / (l->others + 1);

		if (!m || m->has_loan)
			continue;
		if (list[i].share >= 0 && list[i].share < part)
			l->hooks.join(&list[i], part, (struct share_part){part - list[i].share, 0}, l->hooks.arg);
	}
}

int lender_round(struct lender *l, const struct lending_account *list, size_t n, int64_t now_ms, struct err *err)
{
	struct db *db = NULL;
	int rc = 0;

	pthread_mutex_lock(&l->lock);
	if (!l->left) {
		l->round++;
		rc = store_acquire(l->store, &db, err);
		if (!rc)
			rc = round_on(l, db, list, n, now_ms, err);
		store_release(l->store, db);
		if (!rc) {
			l->heard_ms = now_ms;
			forget(l);
		} else if (now_ms - l->heard_ms > LENDING_SETTLE_MS) {
			go_on_alone(l, list, n);
		}
		l->last_ms = now_ms;
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}

static int give_all(struct lender *l, struct db *db, const struct lending_account *list, size_t n, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++) {
		struct turn t = {.l = l, .db = db, .a = &list[i]};

		t.m = memory_of(l, t.a);
		if (!t.m || !t.m->has_loan)
			continue;
		rc = give(&t, -1, err);
		l->hooks.set(t.a, lending_advance(t.a->limit), l->hooks.arg); /* for what comes on the way out */
	}
	return rc ? rc : store_replica_leave(db, &l->self, err);
}

int lender_leave(struct lender *l, const struct lending_account *list, size_t n, struct err *err)
{
	struct db *db = NULL;
	int rc;

	pthread_mutex_lock(&l->lock);
	l->left = true;
	rc = store_acquire(l->store, &db, err);
	if (!rc)
		rc = give_all(l, db, list, n, err);
	store_release(l->store, db);
	pthread_mutex_unlock(&l->lock);
	return rc;
}
