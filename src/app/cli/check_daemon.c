/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon, asked over HTTP: whether it answers, as which version, how its parts are. */
#include <ctype.h>

#include "app/cli/check_internal.h"
#include "control/store/store.h"
#include "core/base/version.h"

static void check_answers(struct check_run *k)
{
	static const char name[] = "daemon reachable";

	if (k->reachable)
		check_say(k, name, CHECK_PASS, NULL, "%s, %s", muster_url(k->c->client), check_ms(k, k->took_us));
	else if (k->pid)
		check_say(k, name, CHECK_FAIL, "say where it listens: --url URL", "process %ld holds %s, but %s",
			  k->pid, k->set.data, k->unreachable);
	else
		check_say(k, name, CHECK_FAIL, "start it: muster serve; or say --url URL", "%s", k->unreachable);
}

static void check_version(struct check_run *k)
{
	static const char name[] = "daemon version";
	struct slice version = json_text(k->version, "version");
	long long level = (long long)json_integer(k->version, "schema_level", -1);

	if (check_needs_daemon(k, name))
		return;
	if (!version.n)
		check_say(k, name, CHECK_FAIL, "is this a muster daemon, and has it taken the key? see MUSTER_API_KEY",
			  "it does not say");
	else if (!slice_eq_str(version, MUSTER_VERSION) || level != migrate_target())
		check_say(k, name, CHECK_WARN, "install one version, and restart the daemon",
			  "the daemon is " SLICE_FMT " (schema %lld), this program is " MUSTER_VERSION " (schema %d)",
			  SLICE_ARG(version), level, migrate_target());
	else
		check_say(k, name, CHECK_PASS, NULL, SLICE_FMT ", as this program", SLICE_ARG(version));
}

static void check_ready_to_serve(struct check_run *k)
{
	static const char name[] = "daemon ready";
	const struct json *reasons;
	struct check_reply r;
	struct check_list l;

	if (check_needs_daemon(k, name))
		return;
	check_ask(k, "GET", "/health/ready", NULL, &r);
	if (r.ok) {
		check_say(k, name, CHECK_PASS, NULL, "it takes traffic");
		return;
	}
	check_list_init(k, &l);
	reasons = json_get(r.root, "reasons");
	for (const struct json *v = reasons ? reasons->first : NULL; v; v = v->next)
		check_list_add(&l, SLICE_FMT, SLICE_ARG(json_line(v)));
	check_say(k, name, CHECK_FAIL, "see: muster health", "%s", l.n ? check_list_text(&l) : r.error);
}

static void check_part(struct check_run *k, const struct json *part)
{
	struct slice state = json_text(part, "state"), detail = json_text(part, "detail");
	char *name = arena_printf(k->a, "health of " SLICE_FMT, SLICE_ARG(part->key));

	for (char *p = name; p && *p; p++)
		*p = (char)(*p == '_' ? ' ' : *p);
	check_say(k, name ? name : "health",
		  slice_eq_str(state, "ok")	    ? CHECK_PASS
		  : slice_eq_str(state, "degraded") ? CHECK_WARN
						    : CHECK_FAIL,
		  "see: muster health", SLICE_FMT " for " SLICE_FMT ": " SLICE_FMT, SLICE_ARG(state),
		  SLICE_ARG(cli_ago(k->c, json_time(part, "since"))), SLICE_ARG(detail));
}

static void check_health(struct check_run *k)
{
	const struct json *parts = json_get(k->health, "parts");
	size_t n = 0;

	if (check_needs_daemon(k, "health"))
		return;
	if (!parts || parts->type != JSON_OBJECT) {
		check_say(k, "health", CHECK_FAIL, "is this a muster daemon? see MUSTER_URL", "it does not tell");
		return;
	}
	for (const struct json *v = parts->first; v && n < 16; v = v->next, n++)
		check_part(k, v);
}

/* "name 1" or "name{label="value",...} 1": that is all a scraper needs to take it. */
static bool is_sample(struct slice line)
{
	size_t at = 0;
	double v;

	while (at < line.n && (isalnum((unsigned char)line.p[at]) || line.p[at] == '_' || line.p[at] == ':'))
		at++;
	if (!at || isdigit((unsigned char)line.p[0]))
		return false;
	if (at < line.n && line.p[at] == '{') {
		bool quoted = false;

		for (at++; at < line.n && (quoted || line.p[at] != '}'); at++) {
			if (quoted && line.p[at] == '\\')
				at++;
			else if (line.p[at] == '"')
				quoted = !quoted;
		}
		at++;
	}
	if (at + 1 >= line.n || line.p[at] != ' ')
		return false;
	line = slice_sub(line, at + 1, line.n);
	return slice_eq_str(line, "+Inf") || slice_eq_str(line, "-Inf") || slice_eq_str(line, "NaN") ||
	       slice_to_double(line, &v) == 0;
}

static void check_metrics(struct check_run *k)
{
	static const char name[] = "metrics";
	struct slice rest = k->metrics, line;
	size_t n = 0;

	if (check_needs_daemon(k, name))
		return;
	while (slice_split(&rest, '\n', &line)) {
		if (!line.n || line.p[0] == '#')
			continue;
		if (!is_sample(line)) {
			check_say(k, name, CHECK_FAIL, "look at it: GET /metrics", "this is no sample: %.*s",
				  (int)min_size(line.n, 100), line.p);
			return;
		}
		n++;
	}
	if (n)
		check_say(k, name, CHECK_PASS, NULL, "%zu samples", n);
	else
		check_say(k, name, CHECK_FAIL, "look at it: GET /metrics; see MUSTER_API_KEY", "no samples: %s",
			  k->metrics_error);
}

void check_daemon(struct check_run *k)
{
	check_answers(k);
	check_version(k);
	check_ready_to_serve(k);
	check_health(k);
	check_metrics(k);
}
