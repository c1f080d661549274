/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool of connections.  The newest idle one goes out first, so that a quiet daemon uses one.  A connection that
 * comes back inside a transaction is rolled back: half a change never waits for the next borrower to commit it.
 */
#include "control/store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"

#define SLOW_MS 1000
#define AWAY_MS 3000
#define PARTITIONS_EVERY_US INT64_C(3600000000)

struct store {
	char *url, *shown;
	size_t max;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t returned;
	struct db *idle[STORE_MAX_CONNECTIONS];
	size_t n_idle, n_open;
	int64_t away_until_ms; /* no use in asking before then */
	struct err away;
	atomic_bool has_to_migrate;
	bool keeps_partitions;
	atomic_llong partitions_at_us; /* when somebody last saw to them */
};

int store_new(const char *url, struct store **ret, struct err *err)
{
	static const char memory[] = ":memory:";
	size_t n = strlen(url);
	struct store *s;

	if (!strchr(url, ':'))
		return err_set(err, E_INVALID,
			       "'%s' names no storage: say sqlite:PATH or postgres://USER@HOST:PORT/DATABASE", url);
	s = calloc(1, sizeof(*s));
	if (!s || !(s->url = strdup(url)))
		abort();
	s->shown = db_url_shown(url);
	/* A database in memory belongs to its connection: a second one would see another database. */
	s->max = n >= sizeof(memory) && !strcmp(url + n - (sizeof(memory) - 1), memory) ? 1 : STORE_MAX_CONNECTIONS;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->returned, NULL);
	*ret = s;
	return 0;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_idle; i++)
		db_close(s->idle[i]);
	pthread_cond_destroy(&s->returned);
	pthread_mutex_destroy(&s->lock);
	free(s->shown);
	free(s->url);
	free(s);
}

void store_migrate_first(struct store *s)
{
	s->has_to_migrate = s->keeps_partitions = true;
}

const char *store_description(const struct store *s)
{
	return s->shown;
}

/* An idle connection, or NULL: the caller may open one. */
static struct db *take_idle(struct store *s)
{
	struct db *db = NULL;

	pthread_mutex_lock(&s->lock);
	while (!s->n_idle && s->n_open == s->max)
		pthread_cond_wait(&s->returned, &s->lock);
	if (s->n_idle)
		db = s->idle[--s->n_idle];
	else
		s->n_open++;
	pthread_mutex_unlock(&s->lock);
	return db;
}

static void give_up_place(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	s->n_open--;
	pthread_cond_signal(&s->returned);
	pthread_mutex_unlock(&s->lock);
}

/* A failure costs nothing: records go to the default partition, and the next hour tries again. */
static void keep_partitions(struct store *s, struct db *db)
{
	long long now_us = clock_wall_us(), last_us = s->partitions_at_us;

	if (!s->keeps_partitions || now_us - last_us < PARTITIONS_EVERY_US)
		return;
	if (atomic_compare_exchange_strong(&s->partitions_at_us, &last_us, now_us)) /* one of us */
		(void)store_partitions_ensure(db, now_us, STORE_PARTITIONS_AHEAD, NULL);
}

/* A server that says nothing costs seconds to find out: for a while that answer stands for everybody. */
static bool is_away(struct store *s, struct err *err)
{
	bool away;

	pthread_mutex_lock(&s->lock);
	away = clock_mono_ms() < s->away_until_ms;
	if (away)
		(void)err_set(err, s->away.code, "%s", s->away.text);
	pthread_mutex_unlock(&s->lock);
	return away;
}

static int open_one(struct store *s, struct db **ret, struct err *err)
{
	int64_t begin_ms = clock_mono_ms();
	struct err why = {0};
	int rc = is_away(s, err) ? E_UNAVAILABLE : db_open(s->url, ret, &why);

	if (!rc || !why.code)
		return rc;
	if (rc == E_UNAVAILABLE && clock_mono_ms() - begin_ms > SLOW_MS) {
		pthread_mutex_lock(&s->lock);
		s->away_until_ms = clock_mono_ms() + AWAY_MS;
		s->away = why;
		pthread_mutex_unlock(&s->lock);
	}
	return err_set(err, rc, "%s", why.text);
}

/* Two threads may: the second finds it done. */
static int migrate_once(struct store *s, struct db *db, struct err *err)
{
	int from, rc = s->has_to_migrate ? migrate_run(db, &from, err) : 0;

	if (!rc)
		s->has_to_migrate = false;
	return rc;
}

int store_open_own(struct store *s, struct db **ret, struct err *err)
{
	struct db *db = NULL;
	int rc = open_one(s, &db, err);

	if (!rc)
		rc = migrate_once(s, db, err);
	if (rc)
		db_close(db);
	else
		*ret = db;
	return rc;
}

bool store_is_shared(const struct store *s)
{
	return db_url_is_shared(s->url);
}

int store_acquire(struct store *s, struct db **ret, struct err *err)
{
	struct db *db = take_idle(s);
	int rc = db ? 0 : open_one(s, &db, err);

	if (rc) {
		give_up_place(s);
		return rc;
	}
	rc = migrate_once(s, db, err);
	if (rc) {
		store_release(s, db);
		return rc;
	}
	keep_partitions(s, db);
	*ret = db;
	return 0;
}

void store_release(struct store *s, struct db *db)
{
	if (!db)
		return;
	db_rollback(db);
	if (db->spent) {
		db_close(db);
		give_up_place(s);
		return;
	}
	pthread_mutex_lock(&s->lock);
	s->idle[s->n_idle++] = db;
	pthread_cond_signal(&s->returned);
	pthread_mutex_unlock(&s->lock);
}

void store_rest(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_idle; i++)
		db_rest(s->idle[i]);
	pthread_mutex_unlock(&s->lock);
}
