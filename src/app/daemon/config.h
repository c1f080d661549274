/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator can set, from four places: flag over environment over muster.yaml over default.  One table
 * (config.c) holds name, type, default, limits and the sentence that documents each key; `muster serve --dump-options`
 * and docs/CONFIG.md are printed from it.  Secrets stand in files that values name; only database.url may hold a
 * password, and it is never shown.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

#define CONFIG_N_KEYS 76
#define CONFIG_MAX_FILE_BYTES 1048576
#define CONFIG_MAX_VALUE_BYTES 8192
#define CONFIG_MAX_ENDPOINTS 256
#define CONFIG_MAX_RECEIVERS 16

enum config_from { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENV, CONFIG_FLAG }; /* a later one wins */

struct config_origin {
	enum config_from from;
	int line;	      /* of the file */
	const char *variable; /* of the environment, when its name does not follow from the key's */
};

enum config_log_format { CONFIG_LOGFMT, CONFIG_LOG_JSON };

struct config_endpoints { /* fallback.endpoints */
	struct config_endpoint {
		char *use_case, *url;
	} * item;
	size_t n;
};

struct config_receivers { /* alerts.receivers */
	struct config_receiver {
		char *name;
		char *url, *url_file, *url_env; /* one of them says where; it is a secret */
		char *authorization_file, *signing_key_file;
		int64_t format, min_severity; /* enum alert_format, enum alert_severity */
	} * item;
	size_t n;
};

struct config_alert_rule {
	bool enabled;
	int64_t for_ms, severity; /* enum alert_severity */
};

struct config_alerts {
	struct config_receivers receivers;
	char *instance;
	int64_t repeat_ms, resend_ms, resolve_after_ms, timeout_ms, give_up_ms;
	struct config_alert_rule registry, logging, violation, deployment, performance, budget_nearly, budget_spent;
	int64_t logging_percent, logging_window_ms, logging_min_count;
	int64_t violation_window_ms, deployment_window_ms;
	int64_t performance_window_ms, performance_baseline_ms, performance_min_count;
	int64_t latency_ratio, latency_floor_ms, error_ratio, error_floor;
	int64_t budget_nearly_percent, budget_spent_percent;
};

/* Strings are owned and never NULL; "" is "not set". */
struct config {
	char *listen, *control_listen, *data;
	int64_t loops;
	int64_t log_level;  /* enum log_level */
	int64_t log_format; /* enum config_log_format */
	int64_t limits_body_bytes, limits_connections, limits_exchanges;
	int64_t limits_idempotency_window_ms;
	int64_t limits_header_timeout_ms, limits_body_timeout_ms, limits_idle_timeout_ms, limits_send_timeout_ms;
	int64_t timeouts_connect_ms, timeouts_first_byte_ms, timeouts_between_ms, timeouts_total_ms;
	struct config_endpoints fallback_endpoints;
	char *fallback_content;
	bool guardrails_enabled, history_enabled;
	int64_t history_retention_ms, history_content_retention_ms;
	char *spool_directory;
	int64_t spool_max_bytes;
	int64_t shutdown_limit_ms;
	char *tls_ca_file, *tls_cert_file, *tls_key_file;
	char *auth_key_file;
	char *secrets_env_allow, *secrets_directory;
	char *database_url;
	struct config_alerts alerts;
	char *path; /* the file that was read last; "" when none was */
	struct config_origin origin[CONFIG_N_KEYS];
};

void config_init(struct config *c); /* every key at its default */
void config_release(struct config *c);

/* Reads a file whole. E_INVALID and E_TOOBIG name file, line and key; E_NOTFOUND: no such file. What was read before an
 * error stays. */
int config_load_file(struct config *c, const char *path, struct err *err);
/* The same from memory; name stands for the file in errors. */
int config_load_text(struct config *c, const char *name, struct slice text, struct err *err);
/* MUSTER_LISTEN, MUSTER_LOG_LEVEL, ... and POSTGRES_HOST with its companions: environ, or a NULL-terminated array like
 * it. Other names are not ours. */
int config_load_env(struct config *c, char *const *env, struct err *err);
/* A flag.  In key '.', '-' and '_' are the same.  E_NOTFOUND: no such key, with the nearest one; E_INVALID: a wrong
 * value. */
int config_set(struct config *c, const char *key, const char *value, struct err *err);
/* Whether key (as a flag) is one of ours; *ret_is_bool: it may stand without a value. */
bool config_has(const char *key, bool *ret_is_bool);
/* What one key alone cannot know: pairs, addresses, URLs, files that must be readable.  Call after all sources. */
int config_check(const struct config *c, struct err *err);

/* The address beyond loopback that it listens on, or NULL: there everybody has to have a key. */
const char *config_open_address(const struct config *c);

/* Every option as text that is also Markdown: docs/CONFIG.md is this, byte for byte. */
int config_dump_options(struct buf *out);
/* Every option with its value and where that came from, a line each; the values of fallback.endpoints and
 * alerts.receivers are how many there are. */
int config_dump_values(const struct config *c, struct buf *out);

#define CONFIG_ORIGIN_SIZE 320
/* "default", "from muster.yaml:3", "from MUSTER_LISTEN", "from --listen"; returns buf. */
char *config_origin_text(const struct config *c, const char *key, char buf[CONFIG_ORIGIN_SIZE]);

/* Keys that a reload would change, but that need a restart. */
struct config_notes {
	size_t n;
	const char *key[CONFIG_N_KEYS];
};
/*
 * Reads path again (NULL: no file) into *ret_new: flags and environment as in old, reloadable keys as the file says
 * now, the others as in old and named in *notes when the file says something else.  All or nothing: on an error
 * *ret_new is not touched.
 */
int config_reload(const struct config *old, const char *path, struct config *ret_new, struct config_notes *notes,
		  struct err *err);

/* Where things are when their key is "": data/spool, sqlite:data/muster.db. malloc'd. */
char *config_spool_directory(const struct config *c);
char *config_database_url(const struct config *c);
