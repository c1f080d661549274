/* SPDX-License-Identifier: Apache-2.0 */
/* What is needed on a bad day: the snapshot on disk, deployments, alerts, a backup of the registry. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "app/cli/check_internal.h"
#include "control/store/entities.h"

#define SNAPSHOT_MAX ((size_t)256 << 20)
#define STALE_US 5000000
#define DAY_S (24 * 3600)

/* --- snapshot.json: what is served when the database is away at start --- */

/* When the registry changed last; 0: not known. */
static int64_t last_change_us(struct check_run *k)
{
	struct event_filter f = {.limit = 1};
	struct registry_event *e;
	struct check_reply r;
	size_t n = 0;

	if (k->reachable) {
		check_ask(k, "GET", "/api/v1/events?limit=1", NULL, &r);
		return r.ok && r.root
			       ? json_time(json_get(r.root, "data") ? json_get(r.root, "data")->first : NULL, "at")
			       : 0;
	}
	if (k->db && k->level_known && !store_event_list(k->db, k->a, &f, &e, &n, NULL) && n)
		return e->at_us;
	return 0;
}

static bool parses(struct check_run *k, const char *path)
{
	struct json_limits limits = {.max_depth = 128, .max_nodes = 4000000};
	struct json *root = NULL;
	struct slice text;

	return cli_read_file(k->c, path, SNAPSHOT_MAX, &text) == 0 &&
	       json_parse_copy(k->c->parser, k->a, text, &limits, &root, NULL) == 0 && root->type == JSON_OBJECT;
}

static void check_snapshot(struct check_run *k)
{
	static const char name[] = "snapshot on disk";
	const char *path;
	int64_t changed_us, written_us;
	struct stat st;

	if (check_needs_files(k, name))
		return;
	path = arena_printf(k->a, "%s/snapshot.json", k->set.data);
	if (!path || stat(path, &st)) {
		check_say(k, name, CHECK_FAIL, "muster serve writes it whenever the registry changes", "%s: %s", path,
			  strerror(errno));
		return;
	}
	written_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
	changed_us = last_change_us(k);
	if (!parses(k, path))
		check_say(k, name, CHECK_FAIL, "remove it, and restart the daemon: it writes a new one",
			  "%s cannot be read", path);
	else if (!changed_us)
		check_say(k, name, CHECK_SKIPPED, "see the checks of the daemon and of the database",
			  "when the registry changed last is not known");
	else if (written_us + STALE_US < changed_us)
		check_say(k, name, CHECK_FAIL, "see: muster health; is the disk of the data directory full?",
			  "older than the last change of the registry, by %s",
			  check_span(k, (double)(changed_us - written_us) / 1e6));
	else
		check_say(k, name, CHECK_PASS, NULL, "%s, written after the last change",
			  check_size(k, (double)st.st_size));
}

/* --- deployments, alerts --- */

static void check_deployments(struct check_run *k)
{
	static const char name[] = "deployments", path[] = "/api/v1/deployments?active=true";
	const struct json *list;
	struct check_reply r;

	if (check_needs_daemon(k, name))
		return;
	check_ask(k, "GET", path, NULL, &r);
	list = json_get(r.root, "data");
	if (r.status == 404)
		check_say(k, name, CHECK_SKIPPED, "change models with: muster model promote", "this daemon has none");
	else if (!r.ok || !list || list->type != JSON_ARRAY)
		check_say(k, name, CHECK_FAIL, "see: muster health", "%s: %s", path, r.ok ? "no list" : r.error);
	else
		check_say(k, name, CHECK_PASS, NULL, "%u under way", list->n_items);
}

/* A canary of a model that is nowhere: everything is read and looked up, and nothing can begin. */
static void check_dry_run(struct check_run *k)
{
	static const char name[] = "deployment dry run";
	static const char body[] = "{\"model\":\"muster-check@0\",\"strategy\":\"canary\",\"steps\":[10,100],"
				   "\"hold\":\"1m\",\"reason\":\"muster check: cannot begin\"}";
	struct slice code;
	struct check_reply r;

	if (check_needs_daemon(k, name))
		return;
	check_ask(k, "GET", "/api/v1/deployments?limit=1", NULL, &r);
	if (r.status == 404) {
		check_say(k, name, CHECK_SKIPPED, "change models with: muster model promote", "this daemon has none");
		return;
	}
	check_ask(k, "POST", "/api/v1/deployments", body, &r);
	code = json_text(json_get(r.root, "error"), "code");
	if (r.status == 404 && slice_eq_str(code, "model_not_found"))
		check_say(k, name, CHECK_PASS, NULL,
			  "a canary of a model that is not registered was read, and refused");
	else
		check_say(k, name, CHECK_FAIL, "see: muster health, and the rights of the key in MUSTER_API_KEY",
			  "one that cannot begin was answered %d: %s", r.status, r.ok ? "done" : r.error);
}

static void check_alerts(struct check_run *k)
{
	check_say(k, "alerts", CHECK_SKIPPED, "watch /metrics with Prometheus and an Alertmanager",
		  "this version sends none by itself");
}

/* --- backups --- */

static bool newest_file(const char *directory, time_t *ret_at, off_t *ret_size)
{
	DIR *d = opendir(directory);
	bool found = false;
	struct stat st;

	if (!d)
		return false;
	for (const struct dirent *e; (e = readdir(d));) {
		if (fstatat(dirfd(d), e->d_name, &st, 0) || !S_ISREG(st.st_mode))
			continue;
		if (!found || st.st_mtime > *ret_at) {
			*ret_at = st.st_mtime;
			*ret_size = st.st_size;
		}
		found = true;
	}
	closedir(d);
	errno = found ? 0 : ENOENT;
	return found;
}

static void check_backup(struct check_run *k)
{
	static const char name[] = "backup of the registry";
	const char *directory = args_get(&k->c->args, "backup");
	off_t size = 0;
	time_t at = 0;
	double age;

	if (!directory) {
		check_say(k, name, CHECK_SKIPPED, "check again with --backup DIR, where your backups are",
			  "where they are was not said");
		return;
	}
	if (!newest_file(directory, &at, &size)) {
		check_say(k, name, CHECK_FAIL, "pg_dump, or sqlite3 muster.db '.backup FILE', each day",
			  "no file in %s: %s", directory, strerror(errno));
		return;
	}
	age = (double)k->c->now_us / 1e6 - (double)at;
	check_say(k, name,
		  !size || age > 7 * DAY_S ? CHECK_FAIL
		  : age > 1.5 * DAY_S	   ? CHECK_WARN
					   : CHECK_PASS,
		  "look at what makes them", "the newest of %s is %s old, %s", directory,
		  check_span(k, age > 0 ? age : 0), check_size(k, (double)size));
}

void check_operations(struct check_run *k)
{
	check_snapshot(k);
	check_deployments(k);
	check_dry_run(k);
	check_alerts(k);
	check_backup(k);
}
