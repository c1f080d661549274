/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads.  The shipper sleeps until something was appended, waits a little for more, takes a batch to the
 * database, acknowledges.  Exactly once rests on the order in ship_batch: the positions move only after the commit, and
 * store_log_insert ignores what is there already.  The keeper makes room in the spool: apart, since a call of the
 * database may take as long as it likes.
 */
#include "control/history/shipper.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/history/rejected.h"
#include "control/store/entities.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/sched.h"

#define RECHECK_MS 1000
#define SETTLE_MS 10000
#define LOOK_MS 10
#define RECORD_BYTES 256u	    /* of a record in the spool, without its texts: at least */
#define AT_ONCE ((size_t)256 << 10) /* so much is checked before others are let in: some 30 us */
#define CHUNK 32u		    /* records for one call of the store */
/* A batch is full then too: what it has read stays resident until it is committed. */
#define BATCH_BYTES ((size_t)8 << 20)
#define ERROR_SIZE sizeof(((struct err *)NULL)->text)

struct shipper {
	struct spool *spool;
	struct store *store;
	struct shipper_options o;
	struct shipper_stats stats;
	pthread_t thread, keeper;
	int control_fd; /* eventfd: somebody wants a flush, or the end */
	int keeper_fd;	/* eventfd: the keeper has to end */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	uint64_t flush_wanted, flush_done; /* numbers of calls */
	int64_t stop_at_ms;		   /* 0: run on */
	bool ended;
	char ship_error[ERROR_SIZE], room_error[ERROR_SIZE]; /* "": none since the last success */
	/* the shipping thread's own */
	uint64_t marked_for; /* the flush that the spool's mark answers; 0: none */
	size_t one_by_one;   /* so many records still go alone, since a batch held a bad one */
	size_t full_bytes;   /* with so many in the spool, of records like the last ones, a batch is full */
	int64_t backoff_ms;
	bool failing;
	struct log_writer *writer;
	struct log_record record[CHUNK]; /* those at hand: too large for a stack */
};

static const struct log logger = {.module = "shipper"};

struct batch {
	struct spool_cursor last[SPOOL_MAX_WRITERS]; /* by writer; sequence 0: none */
	size_t n, n_bytes, n_duplicates;
	int64_t oldest_us;
};

static bool is_full(const struct batch *b, size_t limit)
{
	return b->n >= limit || b->n_bytes >= BATCH_BYTES;
}

/* --- failures --- */

/* which: s->ship_error or s->room_error */
static void error_set(struct shipper *s, char which[ERROR_SIZE], const char *text)
{
	pthread_mutex_lock(&s->lock);
	(void)snprintf(which, ERROR_SIZE, "%s", text);
	if (*text)
		counter_set(&s->stats.last_error_us, (uint64_t)clock_wall_us());
	else if (!*s->ship_error && !*s->room_error)
		counter_set(&s->stats.last_error_us, 0);
	pthread_mutex_unlock(&s->lock);
}

static void note_failure(struct shipper *s, const struct batch *b, const struct err *err)
{
	int64_t age_us = clock_wall_us() - b->oldest_us;

	counter_add(&s->stats.failures, 1);
	counter_set(&s->stats.lag_us, age_us > 0 ? (uint64_t)age_us : 0);
	error_set(s, s->ship_error, err->text);
	if (!s->failing)
		log_warn(&logger, "records wait in the spool: %s", err->text);
	s->failing = true;
}

static void note_success(struct shipper *s, const struct batch *b, bool is_last)
{
	int64_t age_us = clock_wall_us() - b->oldest_us;

	s->full_bytes = min_size(BATCH_BYTES, s->o.batch_records * (b->n_bytes / b->n + RECORD_BYTES));
	counter_add(&s->stats.batches, 1);
	counter_add(&s->stats.records, b->n);
	counter_add(&s->stats.duplicates, b->n_duplicates);
	counter_set(&s->stats.lag_us, is_last || age_us < 0 ? 0 : (uint64_t)age_us);
	s->backoff_ms = 0;
	if (!s->failing)
		return;
	s->failing = false;
	log_info(&logger, "the database takes records again");
	error_set(s, s->ship_error, "");
}

/* --- batches --- */

/* The record refused is at fault, and would be refused for ever. */
static bool is_records_fault(int rc)
{
	return rc == E_INVALID || rc == E_TOOBIG || rc == E_EXISTS || rc == E_CONFLICT;
}

static int read_one(struct shipper *s, struct batch *b, struct log_record *ret)
{
	struct spool_cursor c;
	int rc = spool_read(s->spool, ret, &c);

	if (rc < 0)
		return rc;
	b->last[c.writer] = c;
	if (!b->n || ret->created_us < b->oldest_us)
		b->oldest_us = ret->created_us;
	b->n++;
	b->n_bytes += ret->prompt.n + ret->context.n + ret->output.n + ret->tool_calls.n;
	return 0;
}

/* Reads behind the first n of s->record; returns how many are there then. */
static size_t read_chunk(struct shipper *s, struct batch *b, size_t n, size_t limit)
{
	size_t n_bytes = b->n_bytes;

	while (n < CHUNK && !is_full(b, limit) && read_one(s, b, &s->record[n]) == 0) {
		n++;
		if (b->n_bytes - n_bytes < AT_ONCE)
			continue;
		sched_let_others();
		n_bytes = b->n_bytes;
	}
	return n;
}

/* One transaction of up to `limit` records; the first one was read. */
static int insert_all(struct shipper *s, struct db *db, struct batch *b, size_t limit, struct err *err)
{
	size_t n = 1, n_inserted = 0;
	int rc = store_log_begin(db, s->writer, err);

	while (!rc) {
		n = read_chunk(s, b, n, limit);
		if (!n)
			return store_log_commit(db, s->writer, err);
		rc = store_log_insert_many(db, s->writer, s->record, n, &n_inserted, err);
		if (!rc)
			b->n_duplicates += n - n_inserted;
		n = 0;
		sched_let_others();
	}
	store_log_rollback(db, s->writer);
	return rc;
}

static void acknowledge(struct shipper *s, const struct batch *b)
{
	struct spool_cursor cursors[SPOOL_MAX_WRITERS];
	struct err err = {0};
	size_t n = 0;

	for (size_t i = 0; i < SPOOL_MAX_WRITERS; i++) {
		if (b->last[i].sequence)
			cursors[n++] = b->last[i];
	}
	/* The records are in the database: at worst they come again after a restart, and change nothing there. */
	if (spool_ack(s->spool, cursors, n, &err) < 0)
		log_warn(&logger, "%s", err.text);
}

/* Does the database work at all?  A wrong schema must not look like wrong records. */
static bool database_answers(struct db *db)
{
	static const struct log_filter newest = {.limit = 1, .with_text = true}; /* all columns */
	struct log_record *found;
	struct arena a;
	size_t n;
	int rc;

	arena_init(&a, 4096, (size_t)64 << 20);
	rc = store_log_list(db, &a, &newest, &found, &n, NULL);
	arena_release(&a);
	return rc == 0;
}

/* The record at hand, which went alone, is refused. */
static void reject(struct shipper *s, const struct batch *b, const char *why)
{
	struct err err = {0};
	char id[UUID_STR_SIZE];

	counter_add(&s->stats.rejected, 1);
	log_limited(&logger, LOG_ERROR, clock_mono_ms(), "the database refuses record %s: %s",
		    uuid_format(&s->record->id, id), why);
	if (rejected_write(spool_directory(s->spool), s->record, why, SHIPPER_REJECTED_MAX, &err) < 0)
		log_limited(&logger, LOG_ERROR, clock_mono_ms(), "record %s is dropped: %s",
			    uuid_format(&s->record->id, id), err.text);
	acknowledge(s, b);
}

/* 0: some were shipped, and *ret_more says that there may be more; E_AGAIN: there is nothing; else what went wrong. */
static int ship_batch(struct shipper *s, bool *ret_more)
{
	size_t limit = s->one_by_one ? 1 : s->o.batch_records;
	struct batch b = {0};
	struct err err = {0};
	struct db *db = NULL;
	int rc = read_one(s, &b, s->record);

	if (rc < 0) {
		counter_set(&s->stats.lag_us, 0);
		return rc;
	}
	rc = store_acquire(s->store, &db, &err);
	if (!rc)
		rc = insert_all(s, db, &b, limit, &err);
	*ret_more = is_full(&b, limit);
	if (!rc) {
		acknowledge(s, &b);
		note_success(s, &b, !*ret_more);
	} else if (is_records_fault(rc) && db && limit == 1 && database_answers(db)) {
		reject(s, &b, err.text);
		rc = 0;
	} else {
		spool_rewind(s->spool);
		note_failure(s, &b, &err);
		if (is_records_fault(rc) && limit > 1 && db) {
			s->one_by_one = b.n;
			*ret_more = true;
			rc = 0; /* at once, with each record alone */
		}
	}
	if (limit == 1 && !rc && s->one_by_one)
		s->one_by_one--;
	store_release(s->store, db);
	return rc;
}

/* --- waiting --- */

static void drain(int fd)
{
	uint64_t n;

	(void)!read(fd, &n, sizeof(n)); /* EAGAIN: nothing was there */
}

/* Until the time has passed, or somebody's word: then it is false. */
static bool pause_for(struct shipper *s, int64_t ms)
{
	struct pollfd p = {.fd = s->control_fd, .events = POLLIN};

	if (ms <= 0 || poll(&p, 1, (int)ms) <= 0)
		return true;
	drain(s->control_fd);
	return false;
}

/*
 * Few full batches cost less than many small ones, and what is not read holds pages of the spool: until a batch is
 * full, linger_ms have passed, or somebody's word.  After LOOK_MS it is known how fast records come.
 */
static void gather(struct shipper *s)
{
	int64_t start_ms = clock_mono_ms(), left_ms = s->o.linger_ms, ms = LOOK_MS;
	size_t n_bytes = spool_unread(s->spool);

	while (n_bytes < s->full_bytes && left_ms > 0 && pause_for(s, ms < left_ms ? ms : left_ms)) {
		int64_t passed_ms = clock_mono_ms() - start_ms;

		left_ms = s->o.linger_ms - passed_ms;
		n_bytes = spool_unread(s->spool);
		ms = (int64_t)(s->full_bytes - min_size(n_bytes, s->full_bytes)) * passed_ms / ((int64_t)n_bytes + 1);
		ms = ms < LOOK_MS ? LOOK_MS : ms;
	}
}

static bool somebody_waits(struct shipper *s)
{
	bool waits;

	pthread_mutex_lock(&s->lock);
	waits = s->flush_done < s->flush_wanted || s->stop_at_ms;
	pthread_mutex_unlock(&s->lock);
	return waits;
}

/* The spool was armed and found empty: until an append or somebody's word. */
static void sleep_until_woken(struct shipper *s)
{
	struct pollfd p[] = {{.fd = s->control_fd, .events = POLLIN},
			     {.fd = spool_wake_fd(s->spool), .events = POLLIN}};
	int n;

	log_writer_rest(s->writer);
	n = poll(p, COUNT_OF(p), somebody_waits(s) ? RECHECK_MS : -1);

	spool_wake_hush(s->spool);
	if (p[0].revents)
		drain(s->control_fd);
	else if (n > 0 && !somebody_waits(s))
		gather(s);
}

static void back_off(struct shipper *s)
{
	int64_t ms = s->backoff_ms ? 2 * s->backoff_ms : s->o.retry_min_ms, left_ms;

	s->backoff_ms = ms < s->o.retry_max_ms ? ms : s->o.retry_max_ms;
	ms = s->backoff_ms;
	pthread_mutex_lock(&s->lock);
	left_ms = s->stop_at_ms ? s->stop_at_ms - clock_mono_ms() : ms;
	pthread_mutex_unlock(&s->lock);
	spool_wake_hush(s->spool);
	(void)pause_for(s, left_ms < ms ? left_ms : ms); /* either way, it is tried again */
}

/* Answers flushes whose mark is reached; true when the thread has to end.  rc: of the last batch. */
static bool answer(struct shipper *s, int rc)
{
	bool done;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		if (!s->marked_for && s->flush_wanted > s->flush_done) {
			spool_mark(s->spool);
			s->marked_for = s->flush_wanted;
		}
		if (!s->marked_for || !spool_mark_reached(s->spool))
			break;
		s->flush_done = s->marked_for;
		s->marked_for = 0;
		pthread_cond_broadcast(&s->changed);
	}
	done = s->stop_at_ms &&
	       (!s->marked_for || clock_mono_ms() >= s->stop_at_ms || (rc == E_UNAVAILABLE && db_gave_up()));
	pthread_mutex_unlock(&s->lock);
	return done;
}

static void *run(void *arg)
{
	struct shipper *s = arg;
	bool armed = false, more;
	int rc;

	sched_works_behind();
	for (;;) {
		more = false;
		rc = ship_batch(s, &more);
		if (answer(s, rc))
			break;
		if (rc < 0 && rc != E_AGAIN) {
			armed = false;
			back_off(s);
		} else if (rc == E_AGAIN && armed) {
			armed = false;
			sleep_until_woken(s);
		} else {
			if (!rc && !s->one_by_one && !somebody_waits(s))
				gather(s);
			if (more)
				continue;
			armed = true; /* look once more, then sleep */
			spool_wake_clear(s->spool);
		}
	}
	spool_rewind(s->spool);
	pthread_mutex_lock(&s->lock);
	s->ended = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* --- the keeper --- */

/* Returns whether there is room now; says so once when that changes. */
static bool make_room(struct shipper *s, bool had_room)
{
	struct err err = {0};

	if (spool_prepare(s->spool, &err) < 0) {
		error_set(s, s->room_error, err.text);
		if (had_room)
			log_error(&logger, "%s", err.text);
		return false;
	}
	if (!had_room) {
		error_set(s, s->room_error, "");
		log_info(&logger, "the spool has room again, %llu records were lost",
			 (unsigned long long)counter_get(&spool_stats(s->spool)->lost));
	}
	return true;
}

static void *keep(void *arg)
{
	struct shipper *s = arg;
	struct pollfd p[] = {{.fd = s->keeper_fd, .events = POLLIN}, {.fd = spool_room_fd(s->spool), .events = POLLIN}};
	bool has_room = true;

	while (!p[0].revents) {
		has_room = make_room(s, has_room);
		if (poll(p, COUNT_OF(p), has_room ? SETTLE_MS : RECHECK_MS) || !has_room)
			continue;	/* whatever it says, look again */
		spool_settle(s->spool); /* nothing was to be done: nobody is busy */
		(void)poll(p, COUNT_OF(p), -1);
	}
	return NULL;
}

/* --- the others' side --- */

static void options_fill(struct shipper_options *o)
{
	o->batch_records = o->batch_records ? o->batch_records : 1024;
	o->linger_ms = o->linger_ms ? o->linger_ms : 100;
	o->retry_min_ms = o->retry_min_ms ? o->retry_min_ms : 100;
	o->retry_max_ms = o->retry_max_ms ? o->retry_max_ms : 5000;
}

static void shipper_free(struct shipper *s)
{
	if (s->control_fd >= 0)
		close(s->control_fd);
	if (s->keeper_fd >= 0)
		close(s->keeper_fd);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	log_writer_free(s->writer);
	free(s);
}

static void tell(int event_fd)
{
	uint64_t one = 1;

	(void)!write(event_fd, &one, sizeof(one)); /* fails only when it is readable anyway */
}

static void keeper_stop(struct shipper *s)
{
	tell(s->keeper_fd);
	pthread_join(s->keeper, NULL);
}

/* Signals belong to the main thread. */
static int threads_start(struct shipper *s)
{
	sigset_t all, old;
	int failure;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	failure = pthread_create(&s->keeper, NULL, keep, s);
	if (!failure) {
		failure = pthread_create(&s->thread, NULL, run, s);
		if (failure)
			keeper_stop(s);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!failure) { /* names are for people only */
		(void)pthread_setname_np(s->keeper, "spool-keeper");
		(void)pthread_setname_np(s->thread, "shipper");
	}
	return failure;
}

int shipper_start(struct spool *spool, struct store *store, const struct shipper_options *o, struct shipper **ret,
		  struct err *err)
{
	struct shipper *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	int failure;

	if (!s)
		abort();
	s->spool = spool;
	s->store = store;
	if (o)
		s->o = *o;
	options_fill(&s->o);
	s->full_bytes = BATCH_BYTES;
	s->writer = log_writer_new();
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &attr);
	pthread_condattr_destroy(&attr);
	s->control_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	s->keeper_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	failure = s->control_fd < 0 || s->keeper_fd < 0 ? errno : threads_start(s);
	if (failure) {
		shipper_free(s);
		return err_set(err, E_IO, "cannot start the shipper: %s", strerror(failure));
	}
	*ret = s;
	return 0;
}

/* Under the lock; true when flush `number` was answered in time. */
static bool wait_locked(struct shipper *s, uint64_t number, int64_t limit_ms)
{
	int64_t until_us = clock_mono_us() + limit_ms * 1000;
	struct timespec at = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};

	while (s->flush_done < number && !s->ended) {
		if (pthread_cond_timedwait(&s->changed, &s->lock, &at) == ETIMEDOUT)
			break;
	}
	return s->flush_done >= number;
}

int shipper_flush(struct shipper *s, int64_t limit_ms)
{
	bool reached;

	pthread_mutex_lock(&s->lock);
	s->flush_wanted++;
	tell(s->control_fd);
	reached = wait_locked(s, s->flush_wanted, limit_ms);
	pthread_mutex_unlock(&s->lock);
	return reached ? 0 : E_TIMEOUT;
}

int shipper_stop(struct shipper *s, int64_t limit_ms)
{
	bool reached;

	if (!s)
		return 0;
	pthread_mutex_lock(&s->lock);
	s->flush_wanted++;
	s->stop_at_ms = clock_mono_ms() + (limit_ms > 0 ? limit_ms : 1);
	pthread_mutex_unlock(&s->lock);
	tell(s->control_fd);
	pthread_join(s->thread, NULL);
	keeper_stop(s);
	reached = s->flush_done >= s->flush_wanted;
	shipper_free(s);
	return reached ? 0 : E_TIMEOUT;
}

const struct shipper_stats *shipper_stats(const struct shipper *s)
{
	return &s->stats;
}

void shipper_last_error(struct shipper *s, char *buf, size_t size)
{
	pthread_mutex_lock(&s->lock);
	(void)snprintf(buf, size, "%s", *s->room_error ? s->room_error : s->ship_error);
	pthread_mutex_unlock(&s->lock);
}
