/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which daemon answers, and whether the files that are configured here are its own.  What would break it: taking the
 * files of one daemon for those of another, and so passing what was never looked at.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/cli/check_internal.h"
#include "core/http/url.h"

/* --- whose files --- */

/* The process that holds the spool's lock, by the kernel's word and by what stands in the file; or 0. */
static long lock_holder(const char *spool)
{
	char path[4096], line[256], pid[32] = "";
	long found = 0, in_file;
	struct stat st;
	FILE *f;

	snprintf(path, sizeof(path), "%s/lock", spool);
	f = fopen(path, "re");
	if (!f)
		return 0;
	in_file = fgets(pid, sizeof(pid), f) ? strtol(pid, NULL, 10) : 0;
	if (fstat(fileno(f), &st))
		in_file = 0;
	fclose(f);
	f = in_file > 0 ? fopen("/proc/locks", "re") : NULL;
	while (f && !found && fgets(line, sizeof(line), f)) {
		unsigned long long inode = 0;
		long holder = 0;

		/* "1: FLOCK  ADVISORY  WRITE 1234 08:01:131 0 EOF" */
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
		if (sscanf(line, "%*s FLOCK %*s %*s %ld %*[^:]:%*[^:]:%llu", &holder, &inode) == 2 &&
		    holder == in_file && inode == (unsigned long long)st.st_ino)
			found = holder;
	}
	if (f)
		fclose(f);
	return found;
}

/* When the process began, seconds since 1970; 0: it cannot be seen. */
static double process_start(long pid)
{
	char path[64], text[1024], *at;
	unsigned long long ticks = 0;
	struct timespec boot, now;
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	f = fopen(path, "re");
	if (f) {
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = 0;
	at = strrchr(text, ')'); /* its name may hold anything */
	for (int field = 2; at && field < 22; field++) {
		at = strchr(at, ' ');
		at += at != NULL;
	}
	if (!at)
		return 0;
	ticks = strtoull(at, NULL, 10);
	if (clock_gettime(CLOCK_BOOTTIME, &boot) || clock_gettime(CLOCK_REALTIME, &now))
		return 0;
	return (double)(now.tv_sec - boot.tv_sec) + (double)(now.tv_nsec - boot.tv_nsec) / 1e9 +
	       (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* --- where it listens --- */

#define SOCKETS_MAX 64

/* The inodes of sockets that listen on the port, in the network of the process. */
static size_t listeners(long pid, const char *table, unsigned port, unsigned long *inodes, size_t n)
{
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/net/%s", pid, table);
	f = fopen(path, "re");
	while (f && n < SOCKETS_MAX && fgets(line, sizeof(line), f)) {
		unsigned local = 0, state = 0;
		unsigned long inode = 0;

		/* "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0  1234 ..." */
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
		if (sscanf(line, "%*s %*[^:]:%x %*s %x %*s %*s %*s %*s %*s %lu", &local, &state, &inode) == 3 &&
		    local == port && state == 0x0a)
			inodes[n++] = inode;
	}
	if (f)
		fclose(f);
	return n;
}

/* Whether the process has one of the sockets: 1, 0, or -1 when its files cannot be seen. */
static int holds_socket(long pid, const unsigned long *inodes, size_t n)
{
	char path[64], link[64];
	int found = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%ld/fd", pid);
	d = opendir(path);
	if (!d)
		return -1;
	for (const struct dirent *e; !found && (e = readdir(d));) {
		ssize_t size = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
		unsigned long inode = 0;

		link[size > 0 ? size : 0] = 0;
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's own number */
		if (sscanf(link, "socket:[%lu]", &inode) != 1)
			continue;
		for (size_t i = 0; i < n; i++)
			found |= inodes[i] == inode;
	}
	closedir(d);
	return found;
}

/* Nothing is known of a daemon behind another host's name, or of another user's process: then its start has to do. */
static bool may_listen(struct check_run *k)
{
	unsigned long inodes[SOCKETS_MAX];
	struct url url;
	size_t n;

	if (url_parse(slice_from(muster_url(k->c->client)), &url, NULL) || !addr_is_loopback(url.host))
		return true;
	n = listeners(k->pid, "tcp", url.port, inodes, 0);
	n = listeners(k->pid, "tcp6", url.port, inodes, n);
	return holds_socket(k->pid, inodes, n) != 0;
}

/* --- all together --- */

static void find_files(struct check_run *k)
{
	double started = 0, seen;

	k->pid = lock_holder(k->set.spool_directory);
	if (!k->reachable) {
		k->files_ours = true;
		return;
	}
	seen = k->pid ? process_start(k->pid) : 0;
	k->files_ours = seen > 0 && check_metric(k, "process_start_time_seconds", &started) && started > seen - 3 &&
			started < seen + 10 && may_listen(k);
	if (!k->files_ours)
		k->pid = 0;
}

/* What runs was perhaps started with flags, or in another environment: that counts. */
static void read_process(struct check_run *k)
{
	struct check_where where = {.pid = k->pid};
	struct check_settings started;

	if (!k->pid || !k->reachable || check_host.settings(k->a, &where, &started, NULL))
		return;
	started.database_url = args_has(&k->c->args, "database-url") ? k->set.database_url : started.database_url;
	k->set = started;
	k->as_started = true;
}

static void find_database(struct check_run *k)
{
	const struct json *part = json_get(json_get(k->health, "parts"), "database");
	struct slice says = json_text(part, "detail");
	char *shown = db_url_shown(k->set.database_url);

	bool is_file = store_url_file(k->set.database_url) != NULL;

	/* Healthy, it names its database; a file of that name is the same one only where its other files are, and may
	 * there be named in several ways. */
	if (!k->reachable)
		k->database_ours = true;
	else if (!slice_eq_str(json_text(part, "state"), "ok"))
		k->database_ours = k->files_ours;
	else
		k->database_ours =
			is_file ? k->files_ours && slice_starts(says, SLICE_LIT("sqlite:")) : slice_eq_str(says, shown);
	free(shown);
}

static const struct json *fetch(struct check_run *k, const char *path)
{
	struct check_reply r;

	check_ask(k, "GET", path, NULL, &r);
	return r.root;
}

static void ask_daemon(struct check_run *k)
{
	struct check_reply r;

	check_ask(k, "GET", "/health/live", NULL, &r);
	k->took_us = r.took_us;
	k->reachable = r.ok;
	snprintf(k->unreachable, sizeof(k->unreachable), "%s", r.error);
	if (!r.ok)
		return;
	k->health = fetch(k, "/health");
	k->version = fetch(k, "/version");
	check_ask(k, "GET", "/metrics", NULL, &r);
	k->metrics = r.ok ? r.text : (struct slice){0};
	snprintf(k->metrics_error, sizeof(k->metrics_error), "%s", r.error);
}

static const char *why_not_ours(struct check_run *k)
{
	const char *url = muster_url(k->c->client), *s;

	if (!k->metrics.n)
		s = arena_printf(k->a, "which process answers cannot be told without its metrics: %s",
				 k->metrics_error);
	else if (access(k->set.spool_directory, R_OK | X_OK) && errno == EACCES)
		s = arena_printf(k->a, "whether the daemon at %s keeps its files in %s cannot be seen by this user",
				 url, k->set.data);
	else
		s = arena_printf(k->a, "%s is not the configuration of the daemon at %s", k->set.source, url);
	return s ? s : "";
}

void check_find_daemon(struct check_run *k)
{
	ask_daemon(k);
	if (!k->has_settings)
		return;
	find_files(k);
	read_process(k);
	find_database(k);
	k->not_ours = why_not_ours(k);
}
