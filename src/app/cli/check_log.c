/* SPDX-License-Identifier: Apache-2.0 */
/* The historical log: a record goes in, comes out again, and there is room for those to come. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/cli/check_internal.h"
#include "control/store/entities.h"
#include "core/base/clock.h"

#define SHIPPED_WITHIN_US 5000000
#define POLL_NS 20000000L
#define SKEW_US 2000000
#define LAG_WARN_S 5
#define LAG_FAIL_S 30
#define SEGMENT_BYTES 16777216.0
#define SOON_S 3600

/* --- a record, there and back --- */

struct journey {
	struct slice id;	   /* absent: it was not taken */
	int64_t sent_us, taken_us; /* by our clock */
	bool back;
	int64_t created_us; /* by the daemon's clock, once it is back */
};

static void send_record(struct check_run *k, struct journey *j)
{
	static const char name[] = "log record written";
	struct check_reply r;
	struct json_writer w;
	struct buf b;

	body_init(k->c, &b, &w);
	jw_kcstr(&w, "model_id", "muster-check");
	jw_kcstr(&w, "use_case", "muster_check");
	jw_kcstr(&w, "prompt", "muster check");
	jw_kraw(&w, "context", SLICE_LIT("{}"));
	jw_kcstr(&w, "output", "ok");
	body_end(&w);
	j->sent_us = clock_wall_us();
	check_ask(k, "POST", "/api/v1/logs", buf_cstr(&b), &r);
	j->taken_us = clock_wall_us();
	j->id = json_text(r.root, "log_id");
	if (!r.ok || !j->id.n) {
		j->id = (struct slice){0};
		check_say(k, name, CHECK_FAIL, "see: muster health; is the disk of spool.directory full?", "%s",
			  r.ok ? "it has no id" : r.error);
		return;
	}
	check_say(k, name, CHECK_PASS, NULL, SLICE_FMT ", %s", SLICE_ARG(j->id), check_ms(k, r.took_us));
}

static bool needs_record(struct check_run *k, const char *name, bool there)
{
	if (there)
		return false;
	check_say(k, name, CHECK_SKIPPED, "see the checks of the log record", "there is no record to look at");
	return true;
}

static void read_back(struct check_run *k, struct journey *j)
{
	static const char name[] = "log record read back";
	const struct timespec pause = {.tv_nsec = POLL_NS};
	const char *path = arena_printf(k->a, "/api/v1/logs/" SLICE_FMT, SLICE_ARG(j->id));
	int64_t began_us = clock_mono_us();
	struct check_reply r;

	if (needs_record(k, name, j->id.n > 0))
		return;
	do {
		check_ask(k, "GET", path, NULL, &r);
		if (r.ok || (r.status != 404 && r.status != 503))
			break;
		(void)nanosleep(&pause, NULL); /* shorter is fine */
	} while (clock_mono_us() - began_us < SHIPPED_WITHIN_US);
	j->back = r.ok && slice_eq_str(json_text(r.root, "output"), "ok");
	j->created_us = json_time(r.root, "created_at");
	if (j->back)
		check_say(k, name, CHECK_PASS, NULL, "shipped and read after %s",
			  check_ms(k, clock_mono_us() - began_us));
	else if (r.ok)
		check_say(k, name, CHECK_FAIL, "muster log show ID, with the id above", "it is not what was written");
	else
		check_say(k, name, CHECK_FAIL, "see: muster health; is the database there?", "not after %d s: %s",
			  SHIPPED_WITHIN_US / 1000000, r.error);
}

/* The database that was looked at above is the one that the daemon writes to. */
static void check_same_database(struct check_run *k, const struct journey *j)
{
	static const char name[] = "database in use";
	struct log_record *r = ARENA_NEW(k->a, struct log_record);
	struct err err = {0};

	if (check_needs_daemon(k, name) || check_needs_database(k, name) || needs_record(k, name, j->back))
		return;
	if (!k->level_known)
		check_say(k, name, CHECK_SKIPPED, "see the check 'schema'", "the schema is not this muster's");
	else if (!r || store_log_get(k->db, k->a, j->id, r, &err))
		check_say(k, name, CHECK_FAIL, "check with the daemon's own --config, --data or POSTGRES_HOST",
			  "the daemon's record is not in the database that was looked at here: %s", err.text);
	else
		check_say(k, name, CHECK_PASS, NULL, "the daemon's record is in it");
}

static void check_daemon_clock(struct check_run *k, const struct journey *j)
{
	static const char name[] = "daemon clock";
	int64_t off_us = 0;

	if (check_needs_daemon(k, name) || needs_record(k, name, j->back && j->created_us))
		return;
	if (j->created_us < j->sent_us)
		off_us = j->sent_us - j->created_us;
	else if (j->created_us > j->taken_us)
		off_us = j->created_us - j->taken_us;
	check_say(k, name, off_us > SKEW_US ? CHECK_FAIL : CHECK_PASS,
		  "synchronise both hosts: chrony, systemd-timesyncd", "%s from this host's", check_ms(k, off_us));
}

/* Times are UTC wherever it runs: the record's time says so, read as UTC. */
static void check_time_zone(struct check_run *k, const struct journey *j)
{
	static const char name[] = "time zone";
	time_t now = (time_t)(j->sent_us / 1000000);
	struct tm here = {0};
	int64_t off_us = j->created_us - j->sent_us;

	if (check_needs_daemon(k, name) || needs_record(k, name, j->back && j->created_us))
		return;
	(void)localtime_r(&now, &here); /* for its zone alone */
	off_us = off_us < 0 ? -off_us : off_us;
	check_say(k, name, off_us > INT64_C(840000000) ? CHECK_FAIL : CHECK_PASS, "see the check 'daemon clock'",
		  "times are kept in UTC, here it is %s", here.tm_zone ? here.tm_zone : "?");
}

static void check_history_on(struct check_run *k)
{
	static const char name[] = "historical log on";
	const struct json *part = json_get(json_get(k->health, "parts"), "historical_log");

	if (check_needs_daemon(k, name))
		return;
	if (!part)
		check_say(k, name, CHECK_SKIPPED, "see the check 'health'", "the daemon does not tell");
	else if (slice_starts(json_text(part, "detail"), SLICE_LIT("switched off")))
		check_say(k, name, CHECK_WARN, "history.enabled: true", SLICE_FMT,
			  SLICE_ARG(json_text(part, "detail")));
	else
		check_say(k, name, CHECK_PASS, NULL, "exchanges are recorded");
}

void check_log(struct check_run *k)
{
	struct journey j = {0};

	check_history_on(k);
	if (!check_needs_daemon(k, "log record written"))
		send_record(k, &j);
	if (k->reachable)
		read_back(k, &j);
	else
		(void)check_needs_daemon(k, "log record read back"); /* skipped, and says why */
	check_same_database(k, &j);
	check_daemon_clock(k, &j);
	check_time_zone(k, &j);
}

/* --- the spool --- */

static void check_spool_rights(struct check_run *k)
{
	static const char name[] = "spool rights";
	const char *directory = k->set.spool_directory;
	struct stat st;

	if (check_needs_files(k, name))
		return;
	if (stat(directory, &st))
		check_say(k, name, CHECK_FAIL, "muster serve makes it; or correct spool.directory", "%s: %s", directory,
			  strerror(errno));
	else if (access(directory, R_OK | W_OK | X_OK))
		check_say(k, name, CHECK_FAIL, "run this as the user of the daemon, or give that user the directory",
			  "%s: %s", directory, strerror(errno));
	else if (st.st_mode & (S_IWOTH | S_IROTH))
		check_say(k, name, CHECK_WARN, arena_printf(k->a, "chmod 700 %s", directory),
			  "%s holds prompts, and others may look into it (mode %03o)", directory, st.st_mode & 0777u);
	else
		check_say(k, name, CHECK_PASS, NULL, "%s, mode %03o", directory, st.st_mode & 0777u);
}

/* How long records could wait for a database that is away. */
static void check_spool_space(struct check_run *k)
{
	static const char name[] = "spool space";
	double pending = 0, bytes = 0, uptime = 0, room, rate;
	int64_t free_bytes;
	enum check_state state;

	if (check_needs_files(k, name))
		return;
	if (!check_free_bytes(k->set.spool_directory, &free_bytes)) {
		check_say(k, name, CHECK_SKIPPED, "see the check 'spool rights'", "%s: %s", k->set.spool_directory,
			  strerror(errno));
		return;
	}
	(void)check_metric(k, "muster_spool_pending_bytes", &pending); /* 0 when no daemon runs */
	(void)check_metric(k, "muster_log_bytes_total", &bytes);
	(void)check_metric(k, "muster_uptime_seconds", &uptime);
	room = (double)k->set.spool_max_bytes - pending;
	if ((double)free_bytes < room)
		room = (double)free_bytes;
	rate = uptime > 1 ? bytes / uptime : 0;
	state = room < SEGMENT_BYTES ? CHECK_FAIL : rate > 0 && room / rate < SOON_S ? CHECK_WARN : CHECK_PASS;
	check_say(k, name, state, "muster.yaml: spool.directory on a larger disk, or a larger spool.max_bytes",
		  "%s free, %s", check_size(k, room),
		  rate > 0 ? arena_printf(k->a, "%s at the rate since its start when the database is away",
					  check_span(k, room / rate))
			   : "and no rate to measure it by");
}

static void check_lost(struct check_run *k)
{
	static const char name[] = "log records lost";
	double lost, rejected = 0, written = 0;

	if (check_needs_daemon(k, name))
		return;
	if (!check_metric(k, "muster_log_records_lost_total", &lost)) {
		check_say(k, name, CHECK_SKIPPED, "see the check 'metrics'", "the daemon does not say");
		return;
	}
	(void)check_metric(k, "muster_log_records_rejected_total", &rejected);
	(void)check_metric(k, "muster_log_records_total", &written);
	if (lost > 0)
		check_say(k, name, CHECK_FAIL, "free space for spool.directory, or raise spool.max_bytes",
			  "%.0f since the start, %.0f written", lost, written);
	else if (rejected > 0)
		check_say(k, name, CHECK_WARN, "look at the log of the daemon", "%.0f were refused by the database",
			  rejected);
	else
		check_say(k, name, CHECK_PASS, NULL, "none of %.0f", written);
}

static void check_lag(struct check_run *k)
{
	static const char name[] = "log lag";
	double lag, pending = 0;

	if (check_needs_daemon(k, name))
		return;
	if (!check_metric(k, "muster_log_lag_seconds", &lag)) {
		check_say(k, name, CHECK_SKIPPED, "see the check 'metrics'", "the daemon does not say");
		return;
	}
	(void)check_metric(k, "muster_spool_pending_bytes", &pending);
	check_say(k, name,
		  lag > LAG_FAIL_S   ? CHECK_FAIL
		  : lag > LAG_WARN_S ? CHECK_WARN
				     : CHECK_PASS,
		  "is the database away, or slower than the records come?", "%.1f s, %s wait", lag,
		  check_size(k, pending));
}

void check_spool(struct check_run *k)
{
	check_spool_rights(k);
	check_spool_space(k);
	check_lost(k);
	check_lag(k);
}
