/* SPDX-License-Identifier: Apache-2.0 */
/* One run of `muster check`: what was found out, and the groups of checks in the order they are printed. */
#pragma once
#include "app/cli/check.h"
#include "app/cli/cli_internal.h"
#include "control/store/inspect.h"
#include "control/telemetry/check.h"

struct check_run {
	struct cli *c;
	struct arena *a; /* the command's */
	struct check_report report;

	bool has_settings;
	struct check_settings set;
	bool as_started; /* set is what the running daemon was started with, not only what is configured here */

	/* The daemon, when it answers. */
	bool reachable;
	int64_t took_us;
	char unreachable[512];
	const struct json *version, *health; /* NULL: could not be had */
	struct slice metrics;
	char metrics_error[400]; /* why there are none */
	int keyless_status;	 /* what it answers who shows no key; 0: not asked, or no answer */
	char keyless_error[400];

	/* The registry: as the daemon tells it, or read from the database when none answers. */
	bool has_registry;
	char registry_error[400];		 /* why the daemon did not tell */
	const struct json **use_cases, **models; /* use cases with a model that is not archived, or an endpoint */
	size_t n_use_cases, n_models;

	/*
	 * Whether the configuration read here is that of the daemon that answers: its files, its database.  Both are
	 * true when none answers, for then there is nothing else that could be meant.
	 */
	bool files_ours, database_ours;
	const char *not_ours; /* why they are not known to be */
	long pid;	      /* of the daemon, when its files are ours; or 0 */

	struct db *db; /* NULL: not open */
	bool level_known;
	struct store_facts facts;
};

/* --- asking the daemon: never prints --- */
struct check_reply {
	bool ok;    /* 2xx */
	int status; /* 0: no answer */
	struct slice text;
	const struct json *root; /* NULL: not JSON */
	int64_t took_us;
	char error[400]; /* when not ok */
};
void check_ask(struct check_run *k, const char *method, const char *path, const char *json, struct check_reply *ret);
/* The same of another server, without our key. */
void check_ask_other(struct check_run *k, const char *url, const char *json, struct check_reply *ret);
/* The sum of a metric's samples; false when there is none. */
bool check_metric(const struct check_run *k, const char *name, double *ret);

/* --- saying --- */
#define check_say(k, name, state, advice, ...) check_add(&(k)->report, name, state, advice, __VA_ARGS__)
/* A check that needs the daemon, the daemon's files, or the database: true, and skipped, when they cannot be had. */
bool check_needs_daemon(struct check_run *k, const char *name);
bool check_needs_files(struct check_run *k, const char *name);
bool check_needs_database(struct check_run *k, const char *name);
/* The same for a setting that a flag of the running daemon could have changed. */
bool check_needs_setting(struct check_run *k, const char *name);

/* "a; b; c and 4 more": what several of something are told in one line. */
struct check_list {
	struct buf text;
	size_t n;
};
void check_list_init(struct check_run *k, struct check_list *l);
void check_list_add(struct check_list *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *check_list_text(struct check_list *l);
const char *check_ms(struct check_run *k, int64_t us);	   /* "0.8 ms" */
const char *check_size(struct check_run *k, double bytes); /* "3.1 GB" */
const char *check_span(struct check_run *k, double seconds);

bool check_free_bytes(const char *directory, int64_t *ret_free);

/* --- groups --- */
void check_find_daemon(struct check_run *k); /* fills what is known of it; adds nothing */
void check_configuration(struct check_run *k);
void check_access(struct check_run *k);
void check_process(struct check_run *k);
void check_database(struct check_run *k);
void check_daemon(struct check_run *k);
void check_read_registry(struct check_run *k); /* once the database was looked at; adds nothing */
void check_serving(struct check_run *k);
void check_log(struct check_run *k);
void check_spool(struct check_run *k);
void check_guardrails(struct check_run *k);
void check_operations(struct check_run *k);
