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

/* A real test to each receiver: nothing else says whether anybody would hear of an alert. */
static void check_delivery(struct check_run *k, const struct check_reply *r)
{
	static const char name[] = "alerts delivered";
	const struct json *list = json_get(r->root, "data");
	struct check_list bad, good;

	if (!r->ok || !list || list->type != JSON_ARRAY) {
		check_say(k, name, CHECK_FAIL, "see: muster health, and the rights of the key in MUSTER_API_KEY",
			  "a test could not be sent: %s", r->ok ? "no list" : r->error);
		return;
	}
	check_list_init(k, &bad);
	check_list_init(k, &good);
	for (const struct json *t = list->first; t; t = t->next) {
		const struct json *delivered = json_get(t, "delivered");
		struct slice receiver = json_text(t, "receiver"), error = json_text(t, "error");

		if (delivered && delivered->type == JSON_BOOL && delivered->boolean)
			check_list_add(&good, SLICE_FMT " (" SLICE_FMT ")", SLICE_ARG(receiver),
				       SLICE_ARG(json_text(t, "format")));
		else
			check_list_add(&bad, SLICE_FMT ": " SLICE_FMT, SLICE_ARG(receiver), SLICE_ARG(error));
	}
	if (bad.n)
		check_say(k, name, CHECK_FAIL, "mend alerts.receivers, and see: muster alert test",
			  "a test did not arrive: %s", check_list_text(&bad));
	else
		check_say(k, name, CHECK_PASS, NULL, "a test was taken by %s", check_list_text(&good));
}

static bool has_receivers(struct check_run *k, const char *name, const char *next, const char *advice)
{
	const struct json *list;
	struct check_reply r;

	check_ask(k, "GET", "/api/v1/alerts/receivers", NULL, &r);
	list = json_get(r.root, "data");
	if (!r.ok || !list || list->type != JSON_ARRAY) {
		check_say(k, name, CHECK_SKIPPED, "see: muster health, and the rights of the key in MUSTER_API_KEY",
			  "not to be seen: %s", r.ok ? "no list" : r.error);
		check_say(k, next, CHECK_SKIPPED, "see: muster health, and the rights of the key in MUSTER_API_KEY",
			  "whether there are receivers is not known");
		return false;
	}
	if (!list->n_items) {
		check_say(k, name, CHECK_WARN, advice, "nobody is told of an alert: there is no receiver");
		check_say(k, next, CHECK_SKIPPED, advice, "there is no receiver");
		return false;
	}
	check_say(k, name, CHECK_PASS, NULL, "%u receiver%s", list->n_items, list->n_items == 1 ? "" : "s");
	return true;
}

static void check_alerts(struct check_run *k)
{
	static const char configured[] = "alerts configured", delivered[] = "alerts delivered";
	struct check_reply r;

	if (check_needs_daemon(k, configured)) {
		(void)check_needs_daemon(k, delivered); /* says why there, too */
		return;
	}
	if (!has_receivers(k, configured, delivered,
			   "name a receiver in alerts.receivers of muster.yaml: docs/ALERTS.md"))
		return;
	if (args_has(&k->c->args, "no-probe")) {
		check_say(k, delivered, CHECK_SKIPPED, "check again without --no-probe, or: muster alert test",
			  "not tried (--no-probe)");
		return;
	}
	check_ask(k, "POST", "/api/v1/alerts/test", "{\"reason\":\"muster check\"}", &r);
	check_delivery(k, &r);
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
		check_say(k, name, CHECK_FAIL,
			  "pg_dump, or sqlite3 muster.db '.backup FILE' and the folder muster.db-texts, each day",
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
