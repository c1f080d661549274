/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of options, and how a text becomes a value.  docs/CONFIG.md, etc/muster.yaml and the man page follow this
 * table: a test compares them.
 */
#include "app/daemon/config_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

const struct conf_key config_keys[CONFIG_N_KEYS] = {
#define KEY(key, kind, field) .name = (key), .type = (kind), .offset = offsetof(struct config, field)
	{KEY("listen", CONF_ADDR, listen), "127.0.0.1:8080",
	 "Where the gateway and the control API answer. Beyond loopback it needs a key (muster key create, or "
	 "auth.key_file). Port 0 takes any free "
	 "one."},
	{KEY("control_listen", CONF_ADDR, control_listen), "",
	 "A second address that only the control loop serves: health, metrics, control API. Empty: none; they are on "
	 "listen too."},
	{KEY("data", CONF_STR, data), "./var",
	 "Directory for what Muster keeps: the database, the spool, the last snapshot. Made when it is missing."},
	{KEY("loops", CONF_INT, loops), "0", "Threads that serve requests. 0: one for each CPU.", .max = 256},
	{KEY("log.level", CONF_ENUM, log_level), "info", "The least severe line that is written to stderr.",
	 .reload = true, .choices = "debug|info|warn|error|off"},
	{KEY("log.format", CONF_ENUM, log_format), "logfmt", "How a line is written.", .reload = true,
	 .choices = "logfmt|json"},
	{KEY("limits.body_bytes", CONF_BYTES, limits_body_bytes), "32MiB",
	 "Largest request body; a larger one gets 413. Images and documents travel in it, in base64.", .min = KIB,
	 .max = GIB},
	{KEY("limits.connections", CONF_INT, limits_connections), "16384",
	 "Open client connections of one loop; one more gets 503.", .min = 1, .max = 1000000},
	{KEY("limits.exchanges", CONF_INT, limits_exchanges), "32768",
	 "Inference requests under way at once in this daemon; one more gets 503. Use cases of low priority may fill "
	 "half of "
	 "it, of normal priority four fifths, of high priority all. 0: any number.",
	 .reload = true, .max = 1000000},
	{KEY("limits.idempotency_window", CONF_MSEC, limits_idempotency_window_ms), "10m",
	 "How long the answer to a request with an Idempotency-Key is kept for those that repeat it. 0: the header is "
	 "not "
	 "looked at.",
	 .reload = true, .max = DAY},
	{KEY("limits.header_timeout", CONF_MSEC, limits_header_timeout_ms), "10s",
	 "Time from the first byte of a request to the end of its headers.", .min = 10, .max = HOUR},
	{KEY("limits.body_timeout", CONF_MSEC, limits_body_timeout_ms), "30s",
	 "Longest silence while a request body arrives.", .min = 10, .max = HOUR},
	{KEY("limits.idle_timeout", CONF_MSEC, limits_idle_timeout_ms), "75s",
	 "How long an idle client connection is kept.", .min = 10, .max = DAY},
	{KEY("limits.send_timeout", CONF_MSEC, limits_send_timeout_ms), "60s",
	 "How long a client may take nothing of its answer before it is cut off.", .min = 10, .max = DAY},
	{KEY("timeouts.connect", CONF_MSEC, timeouts_connect_ms), "5s",
	 "Time to resolve, connect to and shake hands with a model's endpoint. A use case or a model may say "
	 "otherwise.",
	 .reload = true, .min = 1, .max = HOUR},
	{KEY("timeouts.first_byte", CONF_MSEC, timeouts_first_byte_ms), "60s",
	 "Time a model has to begin its answer. A use case or a model may say otherwise.", .reload = true, .min = 1,
	 .max = DAY},
	{KEY("timeouts.between", CONF_MSEC, timeouts_between_ms), "60s",
	 "Longest silence inside a model's answer. A use case or a model may say otherwise.", .reload = true, .min = 1,
	 .max = DAY},
	{KEY("timeouts.total", CONF_MSEC, timeouts_total_ms), "10m",
	 "Time for all of one model's answer. A use case or a model may say otherwise.", .reload = true, .min = 1,
	 .max = DAY},
	{KEY("fallback.endpoints", CONF_ENDPOINTS, fallback_endpoints), "",
	 "For each use case the URL that serves when no model of it can. Works without database and registry.",
	 .reload = true},
	{KEY("fallback.content", CONF_STR, fallback_content),
	 "I cannot answer right now. Please try again in a moment.",
	 "What is answered when neither a model nor a fallback endpoint can.", .reload = true},
	{KEY("guardrails.enabled", CONF_BOOL, guardrails_enabled), "true",
	 "Whether prompts and answers are judged. Off, every answer says x-muster-guardrail: skipped.", .reload = true},
	{KEY("history.enabled", CONF_BOOL, history_enabled), "true",
	 "Whether every exchange is written to the historical log.", .reload = true},
	{KEY("history.retention", CONF_MSEC, history_retention_ms), "0",
	 "How long log records are kept, from an hour on; 0: for ever. What is older is removed within the hour, by "
	 "the "
	 "daemon that leads: on PostgreSQL whole days, once their last moment is past it; on SQLite row by row.",
	 .reload = true, .max = 36500 * DAY},
	{KEY("history.content_retention", CONF_MSEC, history_content_retention_ms), "0",
	 "How long prompt, context, output and tool calls of a log record are kept, from an hour on and at most "
	 "history.retention; "
	 "0: as long as the record. What remains says who, when, which model, tokens, times, status and violations.",
	 .reload = true, .max = 36500 * DAY},
	{KEY("spool.directory", CONF_STR, spool_directory), "",
	 "Directory of records on their way to the database. Empty: spool below data."},
	{KEY("spool.max_bytes", CONF_BYTES, spool_max_bytes), "4GiB",
	 "Most that may wait for a database that is away. Past it records are lost, and counted; use cases whose "
	 "log_durability is required refuse.",
	 .min = MIB, .max = 1024 * GIB},
	{KEY("shutdown.limit", CONF_MSEC, shutdown_limit_ms), "30s",
	 "How long exchanges that have begun may go on after SIGTERM.", .max = HOUR},
	{KEY("tls.ca_file", CONF_STR, tls_ca_file), "",
	 "PEM file of more authorities to trust when calling models, beside the system's."},
	{KEY("tls.cert_file", CONF_STR, tls_cert_file), "",
	 "PEM file with the certificate chain to serve https with. Needs tls.key_file. Read again on SIGHUP: new "
	 "connections get what it holds then."},
	{KEY("tls.key_file", CONF_STR, tls_key_file), "", "PEM file with the private key of tls.cert_file."},
	{KEY("auth.key_file", CONF_STR, auth_key_file), "",
	 "File of keys beside those that muster key create makes: one a line, \"name:key\" or \"key\"; # begins a "
	 "comment. They may do everything. Read again on SIGHUP."},
	{KEY("secrets.env_allow", CONF_STR, secrets_env_allow), "",
	 "Environment variables that configuration.api_key_env of a model may name, beside MUSTER_SECRET_* and the "
	 "usual "
	 "ones of providers (OPENAI_API_KEY, ...): names with a space or comma between them; NAME_* is all that begin "
	 "so. "
	 "Muster's own (MUSTER_*, POSTGRES_*, PG*) never."},
	{KEY("secrets.directory", CONF_STR, secrets_directory), "",
	 "Directory that configuration.api_key_file of a model has to lie in. Empty: /run/secrets, and the credentials "
	 "directory of systemd."},
	{KEY("database.url", CONF_STR, database_url), "",
	 "The database: sqlite:PATH, or postgres://USER@HOST:PORT/DATABASE?OPTIONS with libpq's options (sslmode, "
	 "sslrootcert, target_session_attrs, ...), password_file=PATH, prepare=on|off (prepared statements) and "
	 "listen=on|off (hearing at once what other daemons change, instead of asking twice a second); by itself it "
	 "does without both behind a pooler. "
	 "POSTGRES_HOST and its companions say the same in parts. Empty: sqlite:muster.db below data."},
	{KEY("alerts.receivers", CONF_RECEIVERS, alerts.receivers), "",
	 "Where alerts go: for each name its url (or url_file, url_env: it is a secret), format (json, slack, "
	 "alertmanager), min_severity, authorization_file and signing_key_file.",
	 .reload = true},
	{KEY("alerts.instance", CONF_STR, alerts.instance), "",
	 "How this daemon calls itself in alerts. Empty: the name of the host and the port of listen.", .reload = true},
	{KEY("alerts.repeat", CONF_MSEC, alerts.repeat_ms), "4h", "What still fires is told again after so long.",
	 .reload = true, .min = SECOND, .max = 30 * DAY},
	{KEY("alerts.resend", CONF_MSEC, alerts.resend_ms), "1m",
	 "The same for an Alertmanager, which takes to be over what it does not hear of: it is told that an alert "
	 "fires for four times as long.",
	 .reload = true, .min = SECOND, .max = DAY},
	{KEY("alerts.resolve_after", CONF_MSEC, alerts.resolve_after_ms), "30s",
	 "How long an alert has to be over before it is told so; what comes back within that time is the same alert.",
	 .reload = true, .max = DAY},
	{KEY("alerts.timeout", CONF_MSEC, alerts.timeout_ms), "10s", "Time that a receiver has for its answer.",
	 .reload = true, .min = 100, .max = 5 * MINUTE},
	{KEY("alerts.give_up", CONF_MSEC, alerts.give_up_ms), "1h",
	 "How long a message is tried again before it is given up, and counted.", .reload = true, .max = 7 * DAY},
	{KEY("alerts.registry_unavailable.enabled", CONF_BOOL, alerts.registry.enabled), "true",
	 "Whether it is an alert that the database of the registry does not answer.", .reload = true},
	{KEY("alerts.registry_unavailable.for", CONF_MSEC, alerts.registry.for_ms), "30s",
	 "How long that has to hold before it fires.", .reload = true, .max = DAY},
	{KEY("alerts.registry_unavailable.severity", CONF_ENUM, alerts.registry.severity), "warning", "How bad it is.",
	 .reload = true, .choices = "info|warning|critical"},
	{KEY("alerts.logging_failures.enabled", CONF_BOOL, alerts.logging.enabled), "true",
	 "Whether it is an alert that log records are lost or refused.", .reload = true},
	{KEY("alerts.logging_failures.for", CONF_MSEC, alerts.logging.for_ms), "0",
	 "How long that has to hold before it fires.", .reload = true, .max = DAY},
	{KEY("alerts.logging_failures.severity", CONF_ENUM, alerts.logging.severity), "warning", "How bad it is.",
	 .reload = true, .choices = "info|warning|critical"},
	{KEY("alerts.logging_failures.percent", CONF_INT, alerts.logging_percent), "5", "More of them than that.",
	 .reload = true, .max = 100},
	{KEY("alerts.logging_failures.window", CONF_MSEC, alerts.logging_window_ms), "5m", "Of the records of so long.",
	 .reload = true, .min = SECOND, .max = DAY},
	{KEY("alerts.logging_failures.min_count", CONF_INT, alerts.logging_min_count), "20",
	 "Fewer records than that are not judged.", .reload = true, .min = 1, .max = 1000000000},
	{KEY("alerts.critical_violation.enabled", CONF_BOOL, alerts.violation.enabled), "true",
	 "Whether it is an alert that a guardrail rule of severity critical was hit: one for each use case and rule.",
	 .reload = true},
	{KEY("alerts.critical_violation.for", CONF_MSEC, alerts.violation.for_ms), "0",
	 "How long that has to hold before it fires.", .reload = true, .max = DAY},
	{KEY("alerts.critical_violation.severity", CONF_ENUM, alerts.violation.severity), "critical", "How bad it is.",
	 .reload = true, .choices = "info|warning|critical"},
	{KEY("alerts.critical_violation.window", CONF_MSEC, alerts.violation_window_ms), "10m",
	 "It is over when there was no more hit for so long.", .reload = true, .min = SECOND, .max = 7 * DAY},
	{KEY("alerts.deployment_failed.enabled", CONF_BOOL, alerts.deployment.enabled), "true",
	 "Whether it is an alert that a deployment was rolled back, or aborted by itself.", .reload = true},
	{KEY("alerts.deployment_failed.for", CONF_MSEC, alerts.deployment.for_ms), "0",
	 "How long that has to hold before it fires.", .reload = true, .max = DAY},
	{KEY("alerts.deployment_failed.severity", CONF_ENUM, alerts.deployment.severity), "critical", "How bad it is.",
	 .reload = true, .choices = "info|warning|critical"},
	{KEY("alerts.deployment_failed.window", CONF_MSEC, alerts.deployment_window_ms), "1h",
	 "It is over after so long, or when a later deployment of the use case has ended.", .reload = true,
	 .min = SECOND, .max = 30 * DAY},
	{KEY("alerts.performance_degraded.enabled", CONF_BOOL, alerts.performance.enabled), "true",
	 "Whether it is an alert that a use case is much worse than it was.", .reload = true},
	{KEY("alerts.performance_degraded.for", CONF_MSEC, alerts.performance.for_ms), "1m",
	 "How long that has to hold before it fires.", .reload = true, .max = DAY},
	{KEY("alerts.performance_degraded.severity", CONF_ENUM, alerts.performance.severity), "warning",
	 "How bad it is.", .reload = true, .choices = "info|warning|critical"},
	{KEY("alerts.performance_degraded.window", CONF_MSEC, alerts.performance_window_ms), "5m",
	 "What is judged: the last so long.", .reload = true, .min = SECOND, .max = DAY},
	{KEY("alerts.performance_degraded.baseline", CONF_MSEC, alerts.performance_baseline_ms), "1h",
	 "What it is compared with: so long before that. At most 24 windows.", .reload = true, .min = SECOND,
	 .max = 7 * DAY},
	{KEY("alerts.performance_degraded.min_count", CONF_INT, alerts.performance_min_count), "50",
	 "Fewer requests than that in either are not judged.", .reload = true, .min = 1, .max = 1000000000},
	{KEY("alerts.performance_degraded.latency_ratio", CONF_INT, alerts.latency_ratio), "200",
	 "Slow: the 95th percentile of good answers is above so many percent of what it was. Both have to be passed.",
	 .reload = true, .min = 100, .max = 100000},
	{KEY("alerts.performance_degraded.latency_floor", CONF_MSEC, alerts.latency_floor_ms), "250ms",
	 "And it is more than so much above what it was.", .reload = true, .max = HOUR},
	{KEY("alerts.performance_degraded.error_ratio", CONF_INT, alerts.error_ratio), "200",
	 "Failing: the share of requests that failed, or that something else than the current model had to answer, is "
	 "above "
	 "so many percent of what it was. Both have to be passed.",
	 .reload = true, .min = 100, .max = 100000},
	{KEY("alerts.performance_degraded.error_floor", CONF_INT, alerts.error_floor), "5",
	 "And it is more than so many percent of all requests.", .reload = true, .max = 100},
	{KEY("alerts.budget_nearly_spent.enabled", CONF_BOOL, alerts.budget_nearly.enabled), "true",
	 "Whether it is an alert that most of a budget of a key or of a use case is spent.", .reload = true},
	{KEY("alerts.budget_nearly_spent.for", CONF_MSEC, alerts.budget_nearly.for_ms), "0",
	 "How long that has to hold before it fires.", .reload = true, .max = DAY},
	{KEY("alerts.budget_nearly_spent.severity", CONF_ENUM, alerts.budget_nearly.severity), "warning",
	 "How bad it is.", .reload = true, .choices = "info|warning|critical"},
	{KEY("alerts.budget_nearly_spent.percent", CONF_INT, alerts.budget_nearly_percent), "80",
	 "So much of the budget of this period, or more. It is over when the next period begins.", .reload = true,
	 .min = 1, .max = 100},
	{KEY("alerts.budget_spent.enabled", CONF_BOOL, alerts.budget_spent.enabled), "true",
	 "Whether it is an alert that a budget of a key or of a use case is spent.", .reload = true},
	{KEY("alerts.budget_spent.for", CONF_MSEC, alerts.budget_spent.for_ms), "0",
	 "How long that has to hold before it fires.", .reload = true, .max = DAY},
	{KEY("alerts.budget_spent.severity", CONF_ENUM, alerts.budget_spent.severity), "critical", "How bad it is.",
	 .reload = true, .choices = "info|warning|critical"},
	{KEY("alerts.budget_spent.percent", CONF_INT, alerts.budget_spent_percent), "100",
	 "So much of the budget of this period, or more; or alerts.budget_nearly_spent.percent, when a request was "
	 "refused because what is left does not cover it.",
	 .reload = true, .min = 1, .max = 100},
#undef KEY
};

_Static_assert(COUNT_OF(config_keys) == CONFIG_N_KEYS, "struct config has an origin for every key");

static void *field_of(const struct config *c, const struct conf_key *k)
{
	return (void *)((uintptr_t)c + k->offset);
}

int conf_find(struct slice name)
{
	for (int i = 0; i < CONFIG_N_KEYS; i++)
		if (slice_eq_str(name, config_keys[i].name))
			return i;
	return -1;
}

/* The nearest so far; what is equally near and came first stays. */
struct nearest {
	struct slice best;
	unsigned distance;
};

static void consider(struct nearest *n, struct slice known, unsigned distance)
{
	if (distance > n->distance || (n->best.p && distance == n->distance))
		return;
	n->best = known;
	n->distance = distance;
}

void conf_nearest(struct slice name, char *ret, size_t size)
{
	struct nearest n = {.distance = (unsigned)(name.n / 3 + 1)};

	for (int i = 0; i < CONFIG_N_KEYS; i++) {
		struct slice key = slice_from(config_keys[i].name);
		const char *dot = strrchr(key.p, '.');
		bool lacks_section = dot && slice_eq_str(name, dot + 1);

		consider(&n, key, lacks_section ? 1 : slice_distance(name, key));
		for (size_t k = 0; k < key.n; k++)
			if (key.p[k] == '.') /* a section */
				consider(&n, slice_sub(key, 0, k), slice_distance(name, slice_sub(key, 0, k)));
	}
	if (n.best.p)
		snprintf(ret, size, ": did you mean '" SLICE_FMT "'?", SLICE_ARG(n.best));
	else
		snprintf(ret, size, "; `muster serve --dump-options` lists all keys");
}

void conf_endpoints_release(struct config_endpoints *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->item[i].use_case);
		free(e->item[i].url);
	}
	free(e->item);
	*e = (struct config_endpoints){0};
}

int conf_endpoint_add(struct config_endpoints *e, struct slice use_case, struct slice url, struct err *err)
{
	struct config_endpoint *item;

	if (e->n >= CONFIG_MAX_ENDPOINTS)
		return err_set(err, E_TOOBIG, "more than %d endpoints", CONFIG_MAX_ENDPOINTS);
	for (size_t i = 0; i < e->n; i++)
		if (slice_eq_str(use_case, e->item[i].use_case))
			return err_set(err, E_INVALID, "use case '" SLICE_FMT "' is there twice", SLICE_ARG(use_case));
	item = realloc(e->item, (e->n + 1) * sizeof(*item));
	if (!item)
		abort();
	item[e->n] = (struct config_endpoint){slice_dup(use_case), slice_dup(url)};
	e->item = item;
	e->n++;
	return 0;
}

static void endpoints_copy(struct config_endpoints *to, const struct config_endpoints *from)
{
	struct config_endpoints copy = {0};

	for (size_t i = 0; i < from->n; i++) {
		const struct config_endpoint *e = &from->item[i];

		(void)conf_endpoint_add(&copy, slice_from(e->use_case), slice_from(e->url), NULL); /* fitted before */
	}
	conf_endpoints_release(to);
	*to = copy;
}

/* "a=URL,b=URL": for flags and environment. */
static int split_endpoints(struct config_endpoints *e, struct slice value, struct err *err)
{
	struct slice item, use_case;
	int rc = 0;

	while (rc == 0 && value.n && slice_split(&value, ',', &item)) {
		item = slice_trim(item);
		if (slice_chr(item, '=') <= 0)
			return err_set(err, E_INVALID, "'" SLICE_FMT "' is no USE_CASE=URL", SLICE_ARG(item));
		(void)slice_split(&item, '=', &use_case); /* there is one: found above */
		rc = conf_endpoint_add(e, slice_trim(use_case), slice_trim(item), err);
	}
	return rc;
}

static int parse_endpoints(struct config_endpoints *field, struct slice value, struct err *err)
{
	struct config_endpoints parsed = {0};
	int rc = split_endpoints(&parsed, value, err);

	if (rc == 0)
		endpoints_copy(field, &parsed);
	conf_endpoints_release(&parsed);
	return rc;
}

static int parse_str(char **field, struct slice value, struct err *err)
{
	if (value.n > CONFIG_MAX_VALUE_BYTES)
		return err_set(err, E_TOOBIG, "longer than %d bytes", CONFIG_MAX_VALUE_BYTES);
	if (value.n && memchr(value.p, '\0', value.n))
		return err_set(err, E_INVALID, "holds a NUL byte");
	if (!utf8_valid(value))
		return err_set(err, E_INVALID, "is not UTF-8");
	free(*field);
	*field = slice_dup(value);
	return 0;
}

static int parse_bool(bool *field, struct slice value, struct err *err)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

	for (size_t i = 0; i < COUNT_OF(words); i++) {
		if (slice_eq_nocase(value, slice_from(words[i]))) {
			*field = i & 1;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "'" SLICE_FMT "' is neither true nor false", SLICE_ARG(slice_sub(value, 0, 80)));
}

static int parse_enum(const struct conf_key *k, int64_t *field, struct slice value, struct err *err)
{
	struct slice rest = slice_from(k->choices), name;

	for (int64_t i = 0; slice_split(&rest, '|', &name); i++) {
		if (slice_eq(name, value)) {
			*field = i;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "'" SLICE_FMT "' is not one of %s", SLICE_ARG(slice_sub(value, 0, 80)),
		       k->choices);
}

static int parse_bytes(struct slice s, int64_t *ret, struct err *err)
{
	static const struct {
		const char *name;
		int64_t factor;
	} units[] = {{"KiB", KIB}, {"MiB", MIB}, {"GiB", GIB}, {"B", 1}};
	struct slice number = s;
	int64_t factor = 1;
	uint64_t n;

	for (size_t i = 0; i < COUNT_OF(units); i++) {
		if (slice_ends(s, slice_from(units[i].name))) {
			number.n -= strlen(units[i].name);
			factor = units[i].factor;
			break;
		}
	}
	number = slice_trim(number);
	if (slice_to_u64(number, &n) < 0 || n > (uint64_t)(INT64_MAX / factor))
		return err_set(err, E_INVALID, "'" SLICE_FMT "' is no size: write 64KiB, 8MiB or 4GiB",
			       SLICE_ARG(slice_sub(s, 0, 80)));
	*ret = (int64_t)n * factor;
	return 0;
}

static int parse_msec(struct slice s, int64_t *ret, struct err *err)
{
	struct slice shown = slice_sub(s, 0, 80);
	uint64_t bare;

	if (slice_to_u64(s, &bare) == 0 && bare != 0)
		return err_set(err, E_INVALID,
			       SLICE_FMT " of what? Write " SLICE_FMT "ms, " SLICE_FMT "s or " SLICE_FMT "m",
			       SLICE_ARG(shown), SLICE_ARG(shown), SLICE_ARG(shown), SLICE_ARG(shown));
	if (clock_parse_duration_ms(s, ret) < 0)
		return err_set(err, E_INVALID, "'" SLICE_FMT "' is no duration: write 250ms, 10s, 5m, 2h or 7d",
			       SLICE_ARG(shown));
	return 0;
}

/* The largest unit that divides it. */
static char *format_number(enum conf_type type, int64_t v, char *buf, size_t size)
{
	static const struct {
		enum conf_type type;
		const char *name;
		int64_t factor;
	} units[] = {
		{CONF_BYTES, "GiB", GIB}, {CONF_BYTES, "MiB", MIB}, {CONF_BYTES, "KiB", KIB}, {CONF_MSEC, "d", DAY},
		{CONF_MSEC, "h", HOUR},	  {CONF_MSEC, "m", MINUTE}, {CONF_MSEC, "s", SECOND}, {CONF_MSEC, "ms", 1},
	};

	for (size_t i = 0; i < COUNT_OF(units) && v; i++) {
		if (units[i].type == type && v % units[i].factor == 0) {
			snprintf(buf, size, "%" PRId64 "%s", v / units[i].factor, units[i].name);
			return buf;
		}
	}
	snprintf(buf, size, "%" PRId64, v);
	return buf;
}

static int parse_number(const struct conf_key *k, int64_t *field, struct slice value, struct err *err)
{
	char min[32], max[32];
	int64_t v = 0;
	int rc = 0;

	if (k->type == CONF_MSEC)
		rc = parse_msec(value, &v, err);
	else if (k->type == CONF_BYTES)
		rc = parse_bytes(value, &v, err);
	else if (slice_to_i64(value, &v) < 0)
		rc = err_set(err, E_INVALID, "'" SLICE_FMT "' is no whole number", SLICE_ARG(slice_sub(value, 0, 80)));
	if (rc < 0)
		return rc;
	if (v < k->min || v > k->max)
		return err_set(err, E_INVALID, SLICE_FMT " is outside %s to %s", SLICE_ARG(value),
			       format_number(k->type, k->min, min, sizeof(min)),
			       format_number(k->type, k->max, max, sizeof(max)));
	*field = v;
	return 0;
}

int conf_parse(struct config *c, const struct conf_key *k, struct slice value, struct err *err)
{
	void *field = field_of(c, k);

	switch (k->type) {
	case CONF_STR:
	case CONF_ADDR:
		return parse_str(field, value, err);
	case CONF_BOOL:
		return parse_bool(field, value, err);
	case CONF_INT:
	case CONF_MSEC:
	case CONF_BYTES:
		return parse_number(k, field, slice_trim(value), err);
	case CONF_ENUM:
		return parse_enum(k, field, value, err);
	case CONF_ENDPOINTS:
		return parse_endpoints(field, value, err);
	case CONF_RECEIVERS:
		return conf_receivers_parse(field, value, err);
	}
	return E_INVALID;
}

int conf_assign(struct config *c, int key, struct slice value, struct config_origin origin, struct err *err)
{
	const struct conf_key *k = &config_keys[key];
	CLEANUP(config_release) struct config scratch = {0};
	int rc;

	rc = conf_parse(&scratch, k, value, err);
	if (rc < 0 || c->origin[key].from > origin.from)
		return rc;
	scratch.origin[key] = origin;
	conf_copy(c, &scratch, key);
	return 0;
}

void conf_copy(struct config *to, const struct config *from, int key)
{
	const struct conf_key *k = &config_keys[key];
	void *dst = field_of(to, k);
	const void *src = field_of(from, k);

	to->origin[key] = from->origin[key];
	switch (k->type) {
	case CONF_STR:
	case CONF_ADDR:
		free(*(char **)dst);
		*(char **)dst = slice_dup(slice_from(*(char *const *)src));
		break;
	case CONF_BOOL:
		*(bool *)dst = *(const bool *)src;
		break;
	case CONF_INT:
	case CONF_MSEC:
	case CONF_BYTES:
	case CONF_ENUM:
		*(int64_t *)dst = *(const int64_t *)src;
		break;
	case CONF_ENDPOINTS:
		endpoints_copy(dst, src);
		break;
	case CONF_RECEIVERS:
		conf_receivers_copy(dst, src);
		break;
	}
}

static bool endpoints_equal(const struct config_endpoints *a, const struct config_endpoints *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->item[i].use_case, b->item[i].use_case) != 0 ||
		    strcmp(a->item[i].url, b->item[i].url) != 0)
			return false;
	return true;
}

bool conf_equal(const struct config *a, const struct config *b, int key)
{
	const struct conf_key *k = &config_keys[key];
	const void *x = field_of(a, k), *y = field_of(b, k);

	switch (k->type) {
	case CONF_STR:
	case CONF_ADDR:
		return strcmp(*(char *const *)x, *(char *const *)y) == 0;
	case CONF_BOOL:
		return *(const bool *)x == *(const bool *)y;
	case CONF_INT:
	case CONF_MSEC:
	case CONF_BYTES:
	case CONF_ENUM:
		return *(const int64_t *)x == *(const int64_t *)y;
	case CONF_ENDPOINTS:
		return endpoints_equal(x, y);
	case CONF_RECEIVERS:
		return conf_receivers_equal(x, y);
	}
	return false;
}

void config_init(struct config *c)
{
	*c = (struct config){0};
	c->path = slice_dup(SLICE_LIT(""));
	for (int i = 0; i < CONFIG_N_KEYS; i++) {
		struct err err = {0};

		if (conf_parse(c, &config_keys[i], slice_from(config_keys[i].def), &err) < 0)
			abort(); /* the table is wrong: a test runs this */
	}
}

void config_release(struct config *c)
{
	for (int i = 0; i < CONFIG_N_KEYS; i++)
		if (config_keys[i].type == CONF_STR || config_keys[i].type == CONF_ADDR)
			free(*(char **)field_of(c, &config_keys[i]));
	conf_endpoints_release(&c->fallback_endpoints);
	conf_receivers_release(&c->alerts.receivers);
	free(c->path);
	*c = (struct config){0};
}

static int find_flag(const char *name)
{
	for (int i = 0; i < CONFIG_N_KEYS; i++) {
		const char *a = name, *b = config_keys[i].name;

		while (*a && *b && (*a == *b || (strchr(".-_", *a) && strchr(".-_", *b)))) {
			a++;
			b++;
		}
		if (!*a && !*b)
			return i;
	}
	return -1;
}

int config_set(struct config *c, const char *key, const char *value, struct err *err)
{
	char nearest[128];
	int i = find_flag(key), rc;

	if (i < 0) {
		conf_nearest(slice_from(key), nearest, sizeof(nearest));
		return err_set(err, E_NOTFOUND, "unknown option '--%.80s'%s", key, nearest);
	}
	rc = conf_assign(c, i, slice_from(value), (struct config_origin){.from = CONFIG_FLAG}, err);
	if (rc < 0)
		(void)err_prefix(err, "--%s", config_keys[i].name);
	return rc;
}

bool config_has(const char *key, bool *ret_is_bool)
{
	int i = find_flag(key);

	if (i >= 0 && ret_is_bool)
		*ret_is_bool = config_keys[i].type == CONF_BOOL;
	return i >= 0;
}
