/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runs of retention: which steps, in which order, for how long.  Days first, for that is where the space is; what
 * hangs on them then.  A step that cannot have the table is tried again after a pause; between two steps there is a
 * pause as long as the step was, or writers of SQLite would find it taken again and again.
 */
#include "control/history/retention.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/log.h"

#define RUN_MS 1000
#define BATCH ((size_t)1000)
#define ERASE_BATCH ((size_t)4000)
#define PAUSE_MAX_MS 200
#define BUSY_TRIES 3

struct retention {
	struct store *store;
	atomic_bool stopped;
	pthread_mutex_t lock; /* guards what follows */
	struct retention_status status;
};

static const struct log logger = {.module = "retention"};

struct retention *retention_new(struct store *store)
{
	struct retention *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	r->store = store;
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

void retention_free(struct retention *r)
{
	if (!r)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void retention_set(struct retention *r, const struct retention_rule *rule)
{
	pthread_mutex_lock(&r->lock);
	r->status.rule = *rule;
	pthread_mutex_unlock(&r->lock);
}

void retention_stop(struct retention *r)
{
	r->stopped = true;
}

void retention_status(struct retention *r, struct retention_status *ret)
{
	pthread_mutex_lock(&r->lock);
	*ret = r->status;
	pthread_mutex_unlock(&r->lock);
}

/* --- one run --- */

struct run {
	struct retention *r;
	struct db *db;
	const struct retention_who *who;
	int64_t until_ms;
	bool more; /* time was over first */
};

typedef int step_fn(struct db *db, const struct retention_who *who, int64_t before_us, size_t limit,
		    struct retention_removed *ret, struct err *err);

static int drop_day(struct db *db, const struct retention_who *who, int64_t before_us, size_t limit,
		    struct retention_removed *ret, struct err *err)
{
	(void)limit; /* a day is dropped whole */
	return store_retention_drop_day(db, who, before_us, ret, err);
}

static const struct step {
	step_fn *fn;
	bool texts;	 /* it removes texts alone */
	bool partitions; /* each time one */
	const char *what;
} steps[] = {
	{drop_day, false, true, "the day of the log"},
	{store_retention_drop_rows, false, false, "log records"},
	{store_retention_drop_violations, false, false, "violations"},
	{store_retention_drop_texts, true, false, "texts of log records"},
};

static void count(struct retention *r, const struct step *s, const struct retention_removed *n)
{
	pthread_mutex_lock(&r->lock);
	*(s->texts ? &r->status.texts : &r->status.records) += (uint64_t)n->records;
	r->status.violations += (uint64_t)n->violations;
	r->status.partitions += s->partitions && n->to_us;
	pthread_mutex_unlock(&r->lock);
}

static void rest(int64_t ms)
{
	struct timespec t = {0, (ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS) * 1000000};

	(void)nanosleep(&t, NULL); /* a signal ends it early: no harm */
}

static bool is_over(const struct run *run)
{
	return run->r->stopped || clock_mono_ms() >= run->until_ms;
}

static int try_step(struct run *run, const struct step *s, int64_t before_us, struct retention_removed *ret,
		    struct err *err)
{
	int rc = E_BUSY;

	for (int i = 0; rc == E_BUSY && i < BUSY_TRIES && !run->r->stopped; i++) {
		if (i)
			rest(PAUSE_MAX_MS);
		rc = s->fn(run->db, run->who, before_us, BATCH, ret, err);
	}
	return rc;
}

/* Until there is nothing more of it, or time is over. */
static int run_step(struct run *run, const struct step *s, int64_t before_us, struct retention_removed *total,
		    struct err *err)
{
	struct retention_removed n = {.more = true};

	while (n.more) {
		int64_t began_ms = clock_mono_ms();
		int rc;

		if (is_over(run)) {
			run->more = true;
			return 0;
		}
		n = (struct retention_removed){0};
		rc = try_step(run, s, before_us, &n, err);
		if (rc)
			return rc;
		count(run->r, s, &n);
		total->records += n.records;
		total->violations += n.violations;
		if (s->partitions && n.to_us) {
			char at[CLOCK_ISO_SIZE];

			log_info(&logger, "dropped %s %.10s: %lld records, %lld MiB", s->what, clock_iso(n.from_us, at),
				 (long long)n.records, (long long)(n.bytes >> 20));
		}
		if (n.more)
			rest(clock_mono_ms() - began_ms);
	}
	return 0;
}

/* The first step that fails does not keep the others from their work.  before_us: of records, of texts; 0: they stay.
 */
static int run_steps(struct run *run, const int64_t before_us[2], struct retention_removed *total, struct err *err)
{
	struct err why = {0};
	int first = 0;

	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		const struct step *s = &steps[i];
		struct retention_removed n = {0};
		int rc;

		if (!before_us[s->texts])
			continue;
		rc = run_step(run, s, before_us[s->texts], &n, &why);
		total->records += n.records;
		total->violations += n.violations;
		if ((n.records || n.violations) && !s->partitions)
			log_info(&logger, "removed %lld %s", (long long)(n.records ? n.records : n.violations),
				 s->what);
		if (rc && !first)
			first = err_set(err, rc, "%s", why.text);
		if (rc == E_CONFLICT || rc == E_UNAVAILABLE)
			break;
	}
	return first;
}

static int work(struct retention *r, const struct retention_who *who, const int64_t before_us[2],
		struct retention_removed *ret, struct err *err)
{
	struct run run = {.r = r, .who = who, .until_ms = clock_mono_ms() + RUN_MS};
	int rc = store_acquire(r->store, &run.db, err);

	*ret = (struct retention_removed){0};
	if (!rc)
		rc = store_retention_report(run.db, who, err); /* of a run that was killed */
	if (!rc)
		rc = run_steps(&run, before_us, ret, err);
	if (!rc)
		rc = store_retention_report(run.db, who, err);
	ret->more = run.more;
	store_release(r->store, run.db);
	return rc;
}

static void note_run(struct retention *r, int rc, bool more, const struct err *err)
{
	int64_t now_us = clock_wall_us();
	bool is_news;

	pthread_mutex_lock(&r->lock);
	r->status.runs++;
	r->status.more = more;
	is_news = rc && strcmp(r->status.problem, err->text) != 0;
	(void)snprintf(r->status.problem, sizeof(r->status.problem), "%.239s", rc ? err->text : "");
	if (rc) {
		r->status.failures++;
		r->status.last_failure_us = now_us;
	} else {
		r->status.last_run_us = now_us;
	}
	pthread_mutex_unlock(&r->lock);
	if (is_news)
		log_warn(&logger, "what is past its retention stays for now: %s", err->text);
}

static void describe(const struct retention_rule *rule, char *text, size_t size)
{
	(void)snprintf(text, size, "records are kept for %lld h, texts for %lld h (0: as long as their record)",
		       (long long)(rule->records_us / 3600000000), (long long)(rule->texts_us / 3600000000));
}

int retention_run(struct retention *r, const struct lease *lease, bool *ret_more, struct err *err)
{
	struct retention_who who = {.lease = lease, .actor = SLICE_LIT("retention"), .now_us = clock_wall_us()};
	struct retention_status s;
	struct retention_removed n;
	struct err why = {0};
	int64_t before_us[2];
	char reason[120];
	int rc;

	*ret_more = false;
	retention_status(r, &s);
	if (r->stopped || (!s.rule.records_us && !s.rule.texts_us))
		return 0;
	describe(&s.rule, reason, sizeof(reason));
	who.reason = slice_from(reason);
	before_us[0] = s.rule.records_us ? who.now_us - s.rule.records_us : 0;
	before_us[1] = s.rule.texts_us ? who.now_us - s.rule.texts_us : 0;
	rc = work(r, &who, before_us, &n, &why);
	note_run(r, rc, n.more, &why);
	*ret_more = n.more && !rc;
	return rc ? err_set(err, rc, "%s", why.text) : 0;
}

/* --- an operator's wish --- */

static int erase(struct retention *r, const struct retention_who *who, const struct retention_purge *p,
		 struct retention_removed *ret, struct err *err)
{
	struct retention_erasure e = {p->caller, p->before_us, p->texts_only, p->after_arrival};
	static const struct step rows = {.what = "rows"}, texts = {.texts = true, .what = "texts"};
	struct run run = {.r = r, .until_ms = clock_mono_ms() + RUN_MS};
	struct retention_removed n = {.more = true};
	int rc = store_acquire(r->store, &run.db, err);

	*ret = (struct retention_removed){.arrival = p->after_arrival};
	if (!rc)
		rc = store_retention_report(run.db, who, err);
	while (!rc && n.more && !is_over(&run)) {
		int64_t began_ms = clock_mono_ms();

		rc = store_retention_erase(run.db, who, &e, ERASE_BATCH, &n, err);
		if (rc)
			break;
		count(r, p->texts_only ? &texts : &rows, &n);
		ret->records += n.records;
		ret->violations += n.violations;
		ret->arrival = e.after_arrival = n.arrival;
		if (n.more)
			rest(clock_mono_ms() - began_ms);
	}
	ret->more = n.more;
	if (!rc)
		rc = store_retention_report(run.db, who, err);
	store_release(r->store, run.db);
	return rc;
}

int retention_purge(struct retention *r, const struct retention_purge *p, struct retention_removed *ret,
		    struct err *err)
{
	struct retention_who who = {.actor = p->actor, .reason = p->reason, .now_us = clock_wall_us()};
	const int64_t before_us[2] = {p->texts_only ? 0 : p->before_us, p->texts_only ? p->before_us : 0};

	if (p->caller.p)
		return erase(r, &who, p, ret, err);
	return work(r, &who, before_us, ret, err);
}
