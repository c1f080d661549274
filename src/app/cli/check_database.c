/* SPDX-License-Identifier: Apache-2.0 */
/* The database, asked directly: it answers beside a stopped daemon too. */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/cli/check_internal.h"
#include "control/store/retention.h"
#include "control/store/store.h"
#include "core/base/clock.h"

#define ROUNDS 5
#define SLOW_US 20000
#define TOO_SLOW_US 500000
#define SKEW_US 2000000
#define PARTITIONS_WANTED 2
#define RETENTION_LATE_US RETENTION_DAY_US
#define FREE_LEAST ((int64_t)1 << 30)

/* Opens it, when it is the daemon's and there. */
static void check_reachable(struct check_run *k)
{
	static const char name[] = "database reachable";
	const char *file;
	int64_t began_us;
	struct err err;
	char *shown;
	int rc;

	if (!k->has_settings || !k->database_ours) {
		(void)check_needs_database(k, name); /* skipped, and says why */
		return;
	}
	shown = db_url_shown(k->set.database_url);
	file = store_url_file(k->set.database_url);
	began_us = clock_mono_us();
	if (file && access(file, R_OK)) { /* opening would make it */
		check_say(k, name, CHECK_FAIL, "muster migrate makes it; or say where: --data DIR", "%s: %s", file,
			  strerror(errno));
	} else {
		rc = db_open(k->set.database_url, &k->db, &err);
		if (!rc)
			rc = store_inspect(k->db, k->a, &k->facts, &err);
		if (rc) {
			check_say(k, name, CHECK_FAIL, "start it, or correct POSTGRES_HOST or database.url", "%s: %s",
				  shown, err.text);
			db_close(k->db);
			k->db = NULL;
		} else {
			check_say(k, name, CHECK_PASS, NULL, SLICE_FMT " at %s, %s", SLICE_ARG(k->facts.version), shown,
				  check_ms(k, clock_mono_us() - began_us));
		}
	}
	free(shown);
}

static void check_transport(struct check_run *k)
{
	static const char name[] = "database transport";

	if (check_needs_database(k, name))
		return;
	if (!k->facts.transport.n)
		check_say(k, name, CHECK_PASS, NULL, "a file of this host: no network");
	else
		check_say(k, name, k->facts.exposed ? CHECK_WARN : CHECK_PASS, "POSTGRES_SSLMODE=verify-full",
			  SLICE_FMT, SLICE_ARG(k->facts.transport));
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void check_latency(struct check_run *k)
{
	static const char name[] = "database latency";
	int64_t took_us[ROUNDS];
	struct db_rows rows;
	struct err err;

	if (check_needs_database(k, name))
		return;
	for (size_t i = 0; i < ROUNDS; i++) {
		int64_t began_us = clock_mono_us();

		if (db_query(k->db, k->a, "select 1", db_args(NULL, 0), &rows, &err)) {
			check_say(k, name, CHECK_FAIL, "look at the log of the database", "%s", err.text);
			return;
		}
		took_us[i] = clock_mono_us() - began_us;
	}
	qsort(took_us, ROUNDS, sizeof(took_us[0]), compare);
	check_say(k, name,
		  took_us[ROUNDS / 2] > TOO_SLOW_US ? CHECK_FAIL
		  : took_us[ROUNDS / 2] > SLOW_US   ? CHECK_WARN
						    : CHECK_PASS,
		  "look at its load, and at the way to it", "median of %d: %s", ROUNDS,
		  check_ms(k, took_us[ROUNDS / 2]));
}

static void check_schema(struct check_run *k)
{
	static const char name[] = "schema";
	int level = 0, target = migrate_target();
	struct err err;

	if (check_needs_database(k, name))
		return;
	if (migrate_level(k->db, &level, &err))
		check_say(k, name, CHECK_FAIL, "look at the rights of the user", "%s", err.text);
	else if (level > target)
		check_say(k, name, CHECK_FAIL, "install the muster that made it, or a newer one",
			  "level %d, and this muster knows up to %d", level, target);
	else if (level < target)
		check_say(k, name, CHECK_FAIL, "muster migrate", "level %d of %d", level, target);
	else
		check_say(k, name, CHECK_PASS, NULL, "level %d of %d", level, target);
	k->level_known = level == target;
}

/* What asks for tables has to know them. */
static bool needs_schema(struct check_run *k, const char *name)
{
	if (check_needs_database(k, name))
		return true;
	if (!k->level_known)
		check_say(k, name, CHECK_SKIPPED, "see the check 'schema'", "the schema is not this muster's");
	return !k->level_known;
}

static void check_rights(struct check_run *k)
{
	static const char name[] = "database rights";
	struct err err;

	if (needs_schema(k, name))
		return;
	if (store_try_writing(k->db, clock_wall_us(), &err))
		check_say(k, name, CHECK_FAIL, "give the user of the daemon select, insert, update and delete", "%s",
			  err.text);
	else
		check_say(k, name, CHECK_PASS, NULL, "inserted, changed and deleted, and rolled back");
}

static void check_partitions(struct check_run *k)
{
	static const char name[] = "partitions ahead";
	struct store_partitions p;
	struct err err;

	if (needs_schema(k, name))
		return;
	if (store_inspect_partitions(k->db, k->a, clock_wall_us(), &p, &err))
		check_say(k, name, CHECK_FAIL, "look at the log of the database", "%s", err.text);
	else if (!p.any)
		check_say(k, name, CHECK_SKIPPED, "nothing: partitions are PostgreSQL's", "this database has none");
	else if (p.days_ahead < PARTITIONS_WANTED || p.n_strays)
		check_say(k, name, CHECK_WARN, "muster migrate makes them, as the daemon does each day",
			  "%d days ahead, %lld%s records in none", p.days_ahead < 0 ? 0 : p.days_ahead,
			  (long long)p.n_strays, p.n_strays == 1000 ? " or more" : "");
	else
		check_say(k, name, CHECK_PASS, NULL, "%d days ahead", p.days_ahead);
}

/* For ever may be what is wanted on a workbench. */
static void check_retention(struct check_run *k)
{
	static const char name[] = "retention", advice[] = "history.retention: 90d, or what the law and the disk want";

	if (check_needs_setting(k, name))
		return;
	if (k->set.retention_us)
		check_say(k, name, CHECK_PASS, NULL, "records are kept for %s, texts for %s",
			  check_span(k, (double)k->set.retention_us / 1e6),
			  check_span(k, (double)(k->set.content_retention_us ? k->set.content_retention_us
									     : k->set.retention_us) /
						1e6));
	else
		check_say(k, name, k->report.production ? CHECK_WARN : CHECK_SKIPPED, advice,
			  "records are kept for ever: the database only grows");
}

/* How far past its time what should be gone is; a day of grace, for the leader may have been away. */
static int64_t late_us(const struct check_run *k, const struct retention_facts *f, bool *ret_texts)
{
	int64_t oldest_us = f->partitioned ? f->oldest_day_us : f->oldest_us, now_us = clock_wall_us(), late = 0;
	int64_t grace_us = RETENTION_LATE_US + (f->partitioned ? RETENTION_DAY_US : 0);

	*ret_texts = false;
	if (k->set.retention_us && oldest_us)
		late = now_us - oldest_us - k->set.retention_us - grace_us;
	if (late <= 0 && k->set.content_retention_us && f->oldest_texts_us) {
		late = now_us - f->oldest_texts_us - k->set.content_retention_us - RETENTION_LATE_US;
		*ret_texts = true;
	}
	return late;
}

static void check_retention_kept(struct check_run *k)
{
	static const char name[] = "retention kept";
	struct retention_facts f;
	bool texts = false;
	struct err err;
	int64_t late;

	if (needs_schema(k, name) || check_needs_setting(k, name))
		return;
	if (!k->set.retention_us && !k->set.content_retention_us) {
		check_say(k, name, CHECK_SKIPPED, "see the check 'retention'", "nothing has to go");
		return;
	}
	if (store_retention_inspect(k->db, clock_wall_us(), &f, &err)) {
		check_say(k, name, CHECK_FAIL, "look at the log of the database", "%s", err.text);
		return;
	}
	late = late_us(k, &f, &texts);
	if (late > 0)
		check_say(k, name, CHECK_FAIL, "see: muster log retention, and the log of the daemon that leads",
			  "%s should be gone since %s",
			  texts		  ? "texts"
			  : f.partitioned ? "partitions"
					  : "records",
			  check_span(k, (double)(late + RETENTION_LATE_US) / 1e6));
	else if (f.partitioned)
		check_say(k, name, CHECK_PASS, NULL, "%lld days, none is past it", (long long)f.n_days);
	else
		check_say(k, name, CHECK_PASS, NULL, "the oldest record is not past it");
}

static void check_clock(struct check_run *k)
{
	static const char name[] = "database clock";
	int64_t before_us, skew_us;
	struct err err;

	if (check_needs_database(k, name))
		return;
	before_us = clock_wall_us();
	if (store_inspect(k->db, k->a, &k->facts, &err)) {
		check_say(k, name, CHECK_FAIL, "look at the log of the database", "%s", err.text);
		return;
	}
	if (!k->facts.now_us) {
		check_say(k, name, CHECK_PASS, NULL, "a file: it has no clock but this host's");
		return;
	}
	skew_us = k->facts.now_us - (before_us + clock_wall_us()) / 2;
	skew_us = skew_us < 0 ? -skew_us : skew_us;
	check_say(k, name, skew_us > SKEW_US ? CHECK_FAIL : CHECK_PASS,
		  "synchronise both hosts: chrony, systemd-timesyncd", "%s from this host's", check_ms(k, skew_us));
}

static void check_size_and_room(struct check_run *k)
{
	static const char name[] = "database size";
	const char *file = k->has_settings ? store_url_file(k->set.database_url) : NULL;
	int64_t room = 0;
	char *copy;
	bool known;

	if (check_needs_database(k, name))
		return;
	if (!file) {
		check_say(k, name, CHECK_SKIPPED, "watch the free space of the disk of the server",
			  "%s there; how much is free on its disk cannot be seen from here",
			  check_size(k, (double)k->facts.size_bytes));
		return;
	}
	copy = arena_strndup(k->a, file, strlen(file));
	known = copy && check_free_bytes(dirname(copy), &room);
	if (!known)
		check_say(k, name, CHECK_SKIPPED, "look at it with df", "the free space of its disk is not known");
	else
		check_say(k, name,
			  room < FREE_LEAST / 8 ? CHECK_FAIL
			  : room < FREE_LEAST	? CHECK_WARN
						: CHECK_PASS,
			  "free space on its disk, or move it with --data", "%s, %s free beside it",
			  check_size(k, (double)k->facts.size_bytes), check_size(k, (double)room));
}

void check_database(struct check_run *k)
{
	check_reachable(k);
	check_transport(k);
	check_latency(k);
	check_schema(k);
	check_rights(k);
	check_partitions(k);
	check_retention(k);
	check_retention_kept(k);
	check_clock(k);
	check_size_and_room(k);
}
