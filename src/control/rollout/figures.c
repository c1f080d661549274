/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is judged: the counts of this process since the step began, and those that the other daemons wrote down.  The
 * marks between which is counted are in memory alone; a new process counts from 0 and has an id of its own, so what the
 * old one told stays, and nothing is there twice.
 */
#include <stdlib.h>
#include <string.h>

#include "control/rollout/rollout_internal.h"
#include "control/store/figures.h"
#include "core/base/clock.h"

#define FORGET_AFTER_US (60 * 1000000LL)
#define FIGURES_ARENA ((size_t)32 << 20)

static bool same(const struct uuid *a, const struct uuid *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

/* --- marks --- */

static struct mark *find_mark(struct rollout *r, const struct uuid *id)
{
	for (struct mark *m = r->marks; m; m = m->next)
		if (same(&m->id, id))
			return m;
	return NULL;
}

static void count_now(struct rollout *r, struct slice use_case, struct rollout_counts ret[ROLLOUT_N_ARMS])
{
	memset(ret, 0, ROLLOUT_N_ARMS * sizeof(*ret));
	if (r->o.count && !r->o.count(use_case, ret, r->o.arg))
		memset(ret, 0, ROLLOUT_N_ARMS * sizeof(*ret)); /* nothing seen: nothing is decided */
}

static struct mark *add_mark(struct rollout *r, const struct uuid *id, const struct rollout_counts now[ROLLOUT_N_ARMS])
{
	struct mark *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->id = *id;
	m->made_us = clock_wall_us();
	memcpy(m->at, now, sizeof(m->at));
	memcpy(m->last, now, sizeof(m->last));
	m->next = r->marks;
	r->marks = m;
	return m;
}

/* The round begins where the counters stood at `from`. */
static void turn(struct mark *m, int64_t round, const struct rollout_counts from[ROLLOUT_N_ARMS])
{
	struct rollout_counts current;

	rollout_counts_since(&from[ROLLOUT_CURRENT], &m->at[ROLLOUT_CURRENT], &current);
	rollout_counts_add(&m->earlier, &current);
	memmove(m->at, from, sizeof(m->at));
	memset(m->told, 0, sizeof(m->told));
	m->round = round;
}

/*
 * The mark of this round, with the lock held.  Another daemon began a later one: what was not told of the one before
 * is counted in it, for to lose it would be worse.
 */
static struct mark *mark_of(struct rollout *r, const struct uuid *id, int64_t round,
			    const struct rollout_counts now[ROLLOUT_N_ARMS])
{
	struct mark *m = find_mark(r, id);

	if (!m)
		m = add_mark(r, id, now); /* a step that began before this process: it is counted from here */
	if (!m->round)
		m->round = round;
	else if (round > m->round)
		turn(m, round, m->last);
	return m;
}

void rollout_see(struct rollout *r, const struct snapshot *s)
{
	for (size_t i = 0; i < s->n_deployments; i++) {
		const struct snapshot_deployment *d = &s->deployments[i];
		struct rollout_counts now[ROLLOUT_N_ARMS];

		count_now(r, d->use_case, now);
		pthread_mutex_lock(&r->lock);
		if (!find_mark(r, &d->id))
			(void)add_mark(r, &d->id, now);
		pthread_mutex_unlock(&r->lock);
	}
}

void rollout_begin_round(struct rollout *r, const struct deployment *d)
{
	struct rollout_counts now[ROLLOUT_N_ARMS];
	struct mark *m;

	count_now(r, d->use_case, now);
	pthread_mutex_lock(&r->lock);
	m = find_mark(r, &d->id);
	if (!m)
		m = add_mark(r, &d->id, now);
	if (!m->round)
		m->round = d->epoch;
	else if (d->epoch > m->round)
		turn(m, d->epoch, now);
	pthread_mutex_unlock(&r->lock);
}

static bool is_listed(const struct mark *m, const struct deployment *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (same(&m->id, &list[i].id))
			return true;
	return false;
}

void rollout_forget_others(struct rollout *r, const struct deployment *list, size_t n, int64_t now_us)
{
	struct mark **at = &r->marks, *m;

	pthread_mutex_lock(&r->lock);
	while ((m = *at)) {
		if (now_us - m->made_us < FORGET_AFTER_US ||
		    is_listed(m, list, n)) { /* one may be newer than the list */
			at = &m->next;
			continue;
		}
		*at = m->next;
		free(m);
	}
	pthread_mutex_unlock(&r->lock);
}

/* --- rounds --- */

struct others {
	struct figures_row *row;
	size_t n;
};

/* The database may be away: then there are none. */
static void read_others(struct rollout *r, struct db *db, struct arena *a, const struct deployment *d,
			struct others *ret)
{
	*ret = (struct others){NULL, 0};
	if (r->o.shared && db)
		(void)store_figures_list(db, a, &d->id, &ret->row, &ret->n, NULL);
}

/* The epoch says it while the step goes on; afterwards (it waits, or is paused) whoever was there knows. */
static int64_t round_of(struct rollout *r, const struct deployment *d, const struct others *o)
{
	const struct mark *m;
	int64_t round = 0;

	if (d->state == DEPLOY_PROGRESSING)
		return d->epoch;
	pthread_mutex_lock(&r->lock);
	m = find_mark(r, &d->id);
	if (m)
		round = m->round;
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < o->n; i++)
		if (o->row[i].step == d->step && o->row[i].round > round)
			round = o->row[i].round;
	return round ? round : d->epoch;
}

/* --- telling --- */

static int arm_row(struct arena *a, const struct rollout_counts *c, struct figures_arm *ret)
{
	struct buf text;

	buf_init_arena(&text, a, LATENCY_TEXT_MAX);
	latency_write(c->latency, &text);
	*ret = (struct figures_arm){(int64_t)c->requests, (int64_t)c->errors, (int64_t)c->violations,
				    text.n ? buf_slice(&text) : SLICE_LIT("")};
	return buf_failed(&text) ? E_TOOBIG : 0;
}

static int write_figures(struct db *db, struct arena *a, struct figures_row *row,
			 const struct rollout_counts own[ROLLOUT_N_ARMS], struct err *err)
{
	if (arm_row(a, &own[ROLLOUT_CURRENT], &row->arm[FIGURES_CURRENT]) ||
	    arm_row(a, &own[ROLLOUT_CANDIDATE], &row->arm[FIGURES_CANDIDATE]))
		return err_set(err, E_TOOBIG, "the figures of a deployment are too large");
	return store_figures_put(db, row, err);
}

int rollout_report(struct rollout *r, struct db *db, const struct deployment *d, struct err *err)
{
	struct figures_row row = {.deployment = d->id, .instance = r->o.instance, .step = d->step};
	struct rollout_counts now[ROLLOUT_N_ARMS], own[ROLLOUT_N_ARMS];
	CLEANUP(arena_release) struct arena a;
	struct others others;
	struct mark *m;
	int64_t round;
	bool more;
	int rc;

	arena_init(&a, 16384, FIGURES_ARENA);
	read_others(r, db, &a, d, &others);
	round = round_of(r, d, &others);
	count_now(r, d->use_case, now);
	pthread_mutex_lock(&r->lock);
	m = mark_of(r, &d->id, round, now);
	if (!r->o.shared) /* there is nobody to tell */
		memcpy(m->last, now, sizeof(now));
	for (size_t i = 0; i < ROLLOUT_N_ARMS; i++)
		rollout_counts_since(&now[i], &m->at[i], &own[i]);
	more = r->o.shared && m->round == round && memcmp(own, m->told, sizeof(own)) != 0;
	pthread_mutex_unlock(&r->lock);
	row.round = round;
	rc = more ? write_figures(db, &a, &row, own, err) : 0;
	if (rc || !more)
		return rc;
	pthread_mutex_lock(&r->lock);
	m = find_mark(r, &d->id);
	if (m && m->round == round) {
		memcpy(m->told, own, sizeof(own));
		memcpy(m->last, now, sizeof(now));
	}
	pthread_mutex_unlock(&r->lock);
	return 0;
}

/* --- judging --- */

static void add_arm(const struct figures_arm *a, struct rollout_counts *to)
{
	to->requests += (uint64_t)a->requests;
	to->errors += (uint64_t)a->errors;
	to->violations += (uint64_t)a->violations;
	(void)latency_read(a->latency, to->latency); /* what is no sketch counts as no answer: nothing passes by it */
}

/* How many other processes said anything. */
static size_t add_others(const struct rollout *r, const struct others *o, int64_t round,
			 struct rollout_counts sum[ROLLOUT_N_ARMS])
{
	size_t n = 0;

	for (size_t i = 0; i < o->n; i++) {
		const struct figures_row *row = &o->row[i];
		bool first = !same(&row->instance, &r->o.instance);

		if (!first)
			continue;
		if (row->round == round)
			add_arm(&row->arm[FIGURES_CANDIDATE], &sum[ROLLOUT_CANDIDATE]);
		add_arm(&row->arm[FIGURES_CURRENT], &sum[ROLLOUT_CURRENT]);
		for (size_t k = 0; k < i && first; k++)
			first = !same(&o->row[k].instance, &row->instance);
		n += first;
	}
	return n;
}

void rollout_judge(struct rollout *r, struct db *db, const struct deployment *d, struct judgement *ret)
{
	struct rollout_counts now[ROLLOUT_N_ARMS], sum[ROLLOUT_N_ARMS];
	CLEANUP(arena_release) struct arena a;
	const struct mark *m;
	struct others others;
	int64_t round;
	size_t n;

	arena_init(&a, 16384, FIGURES_ARENA);
	read_others(r, db, &a, d, &others);
	round = round_of(r, d, &others);
	count_now(r, d->use_case, now);
	pthread_mutex_lock(&r->lock);
	m = mark_of(r, &d->id, round, now);
	for (size_t i = 0; i < ROLLOUT_N_ARMS; i++)
		rollout_counts_since(&now[i], &m->at[i], &sum[i]);
	rollout_counts_add(&sum[ROLLOUT_CURRENT], &m->earlier);
	pthread_mutex_unlock(&r->lock);
	n = add_others(r, &others, round, sum);
	judge(&d->plan.thresholds, &sum[ROLLOUT_CANDIDATE], &sum[ROLLOUT_CURRENT], ret);
	ret->n_replicas = n + 1;
}
