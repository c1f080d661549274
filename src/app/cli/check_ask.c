/* SPDX-License-Identifier: Apache-2.0 */
/* What the groups of `muster check` share: asking without printing, what is said of what cannot be asked, and words. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

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

/* --- what cannot be looked at --- */

bool check_needs_daemon(struct check_run *k, const char *name)
{
	if (k->reachable)
		return false;
	check_say(k, name, CHECK_SKIPPED, "start it: muster serve, and check again", "the daemon could not be asked");
	return true;
}

static const char not_ours[] = "not known to be the daemon's";

bool check_needs_files(struct check_run *k, const char *name)
{
	if (k->has_settings && k->files_ours)
		return false;
	if (!k->has_settings)
		check_say(k, name, CHECK_SKIPPED, "see the check 'configuration'", "the configuration cannot be read");
	else
		check_say(k, name, CHECK_SKIPPED, "see the check 'configuration in use'", "%s", not_ours);
	return true;
}

bool check_needs_setting(struct check_run *k, const char *name)
{
	if (check_needs_files(k, name))
		return true;
	if (k->as_started || !k->reachable)
		return false;
	check_say(k, name, CHECK_SKIPPED, "run this as the user of the daemon, or as root",
		  "the flags and the environment of process %ld cannot be read", k->pid);
	return true;
}

bool check_needs_database(struct check_run *k, const char *name)
{
	if (k->db)
		return false;
	if (!k->has_settings)
		check_say(k, name, CHECK_SKIPPED, "see the check 'configuration'", "the configuration cannot be read");
	else if (!k->database_ours)
		check_say(k, name, CHECK_SKIPPED, "see the check 'configuration in use'", "%s", not_ours);
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
