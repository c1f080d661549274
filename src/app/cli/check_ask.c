/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the groups of `muster check` share: asking without printing, finding the daemon, and words.  What would break
 * it: taking the files of one daemon for those of another, and so passing what was never looked at.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "app/cli/check_internal.h"
#include "core/base/clock.h"

#define LIST_SHOWN 5
#define PROBE_TIMEOUT_MS 15000

/* --- asking --- */

static void take(struct check_run *k, struct muster_answer *a, const struct muster_error *e, int rc,
		 struct check_reply *ret)
{
	struct json_limits limits = {.max_depth = 128, .max_nodes = 4000000};
	struct json *root = NULL;

	ret->ok = rc == 0;
	ret->status = a->status ? a->status : e->http_status;
	ret->text = arena_slice(k->a, (struct slice){a->body, a->size});
	if (!ret->ok)
		snprintf(ret->error, sizeof(ret->error), "%.*s", (int)sizeof(ret->error) - 1, e->text);
	if (ret->text.n && (ret->text.p[0] == '{' || ret->text.p[0] == '[') &&
	    json_parse_copy(k->c->parser, k->a, ret->text, &limits, &root, NULL) == 0)
		ret->root = root;
	muster_answer_release(a);
}

static void ask(struct check_run *k, struct muster *client, const struct muster_request *r, struct check_reply *ret)
{
	int64_t began_us = clock_mono_us();
	struct muster_answer a = {0};
	struct muster_error e = {0};
	int rc = muster_send(client, r, &a, &e);

	*ret = (struct check_reply){.took_us = clock_mono_us() - began_us};
	take(k, &a, &e, rc, ret);
}

void check_ask(struct check_run *k, const char *method, const char *path, const char *json, struct check_reply *ret)
{
	const struct muster_request r = {.method = method, .path = path, .json = json};

	ask(k, k->c->client, &r, ret);
}

void check_ask_other(struct check_run *k, const char *url, const char *json, struct check_reply *ret)
{
	const char *host = strstr(url, "://"), *path = host ? strchr(host + 3, '/') : NULL;
	struct muster_options o = {.api_key = "", .timeout_ms = PROBE_TIMEOUT_MS};
	struct muster_request r = {.method = "POST", .path = path ? path : "/", .json = json};
	struct muster_error e = {0};
	struct muster *other = NULL;

	*ret = (struct check_reply){0};
	o.url = path ? arena_strndup(k->a, url, (size_t)(path - url)) : url;
	if (muster_open(&o, &other, &e) < 0)
		snprintf(ret->error, sizeof(ret->error), "%.*s", (int)sizeof(ret->error) - 1, e.text);
	else
		ask(k, other, &r, ret);
	muster_close(other);
}

bool check_metric(const struct check_run *k, const char *name, double *ret)
{
	struct slice rest = k->metrics, line, want = slice_from(name);
	bool found = false;
	double v;

	*ret = 0;
	while (slice_split(&rest, '\n', &line)) {
		if (!slice_starts(line, want) || line.n <= want.n || (line.p[want.n] != ' ' && line.p[want.n] != '{'))
			continue;
		for (size_t at = line.n; at > want.n; at--) {
			if (line.p[at - 1] != ' ')
				continue;
			if (slice_to_double(slice_sub(line, at, line.n), &v) == 0) {
				*ret += v;
				found = true;
			}
			break;
		}
	}
	return found;
}

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
		if (sscanf(line, "%*s FLOCK %*s %*s %ld %*[^:]:%*[^:]:%llu", &holder, &inode) == 2 && /* NOLINT */
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
	if (!at || sscanf(at + 1, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
			  &ticks) != 1) /* NOLINT(cert-err34-c): the kernel's own number */
		return 0;
	if (clock_gettime(CLOCK_BOOTTIME, &boot) || clock_gettime(CLOCK_REALTIME, &now))
		return 0;
	return (double)(now.tv_sec - boot.tv_sec) + (double)(now.tv_nsec - boot.tv_nsec) / 1e9 +
	       (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

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
			started < seen + 10;
	if (!k->files_ours)
		k->pid = 0;
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
}

void check_find_daemon(struct check_run *k)
{
	ask_daemon(k);
	if (!k->has_settings)
		return;
	find_files(k);
	find_database(k);
	k->not_ours = arena_printf(k->a, "%s is not the configuration of the daemon at %s", k->set.source,
				   muster_url(k->c->client));
}

/* --- what cannot be looked at --- */

bool check_needs_daemon(struct check_run *k, const char *name)
{
	if (k->reachable)
		return false;
	check_say(k, name, CHECK_SKIPPED, "start it: muster serve, and check again", "the daemon could not be asked");
	return true;
}

bool check_needs_files(struct check_run *k, const char *name)
{
	if (k->has_settings && k->files_ours)
		return false;
	if (!k->has_settings)
		check_say(k, name, CHECK_SKIPPED, "see the check 'configuration'", "the configuration cannot be read");
	else
		check_say(k, name, CHECK_SKIPPED, "run this where the daemon runs, with its --config and --data", "%s",
			  k->not_ours);
	return true;
}

bool check_needs_database(struct check_run *k, const char *name)
{
	if (k->db)
		return false;
	if (!k->has_settings)
		check_say(k, name, CHECK_SKIPPED, "see the check 'configuration'", "the configuration cannot be read");
	else if (!k->database_ours)
		check_say(k, name, CHECK_SKIPPED, "run this with the daemon's --config, --data or POSTGRES_HOST", "%s",
			  k->not_ours);
	else
		check_say(k, name, CHECK_SKIPPED, "see the check 'database reachable'", "the database is not open");
	return true;
}

/* --- words --- */

void check_list_init(struct check_run *k, struct check_list *l)
{
	*l = (struct check_list){0};
	buf_init_arena(&l->text, k->a, 65536);
}

void check_list_add(struct check_list *l, const char *fmt, ...)
{
	va_list ap;

	if (l->n++ >= LIST_SHOWN)
		return;
	(void)buf_adds(&l->text, l->text.n ? "; " : ""); /* too long: an empty text, with its count */
	va_start(ap, fmt);
	(void)buf_vprintf(&l->text, fmt, ap);
	va_end(ap);
}

const char *check_list_text(struct check_list *l)
{
	if (l->n > LIST_SHOWN)
		(void)buf_printf(&l->text, " and %zu more", l->n - LIST_SHOWN);
	l->n = min_size(l->n, LIST_SHOWN); /* said once */
	return buf_cstr(&l->text);
}

const char *check_ms(struct check_run *k, int64_t us)
{
	const char *s = arena_printf(k->a, us < 100000 ? "%.1f ms" : "%.0f ms", (double)us / 1000);

	return s ? s : "";
}

const char *check_size(struct check_run *k, double bytes)
{
	static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB"};
	size_t i = 0;
	const char *s;

	for (; bytes >= 1000 && i + 1 < COUNT_OF(units); i++)
		bytes /= 1000;
	s = arena_printf(k->a, i && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, units[i]);
	return s ? s : "";
}

const char *check_span(struct check_run *k, double seconds)
{
	const char *s = seconds < 120	   ? arena_printf(k->a, "%.0f s", seconds)
			: seconds < 7200   ? arena_printf(k->a, "%.0f minutes", seconds / 60)
			: seconds < 172800 ? arena_printf(k->a, "%.0f hours", seconds / 3600)
					   : arena_printf(k->a, "%.0f days", seconds / 86400);

	return s ? s : "";
}

bool check_free_bytes(const char *directory, int64_t *ret_free)
{
	struct statvfs v;

	if (statvfs(directory, &v))
		return false;
	*ret_free = (int64_t)v.f_bavail * (int64_t)v.f_frsize;
	return true;
}
