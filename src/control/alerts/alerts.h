/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts of one daemon: judged by the control loop (alerts_tick, which never blocks), sent by a thread of their own,
 * recorded by jobs (alerts_sync, which blocks on the database).  With the database away they fire and are sent all the
 * same, and are recorded when it is back.  URLs and keys of receivers go nowhere but to the receiver.
 */
#pragma once
#include "control/alerts/delivery.h"
#include "control/store/entities.h"
#include "control/store/store.h"
#include "core/base/metric.h"

#define ALERT_RECEIVERS_MAX 16
#define ALERT_SILENCES_MAX 256
#define ALERT_DEPLOYMENTS_MAX 64

struct alerts;

struct alert_receiver {
	const char *name, *url;
	enum alert_format format;
	enum alert_severity min_severity;
	const char *authorization; /* the value of that header; "": none */
	const char *signing_key;   /* of x-muster-signature; "": none */
};

struct alerts_options {
	struct alert_settings rules;
	int64_t repeat_ms, resend_ms, timeout_ms, give_up_ms; /* resend: of Alertmanager, which forgets */
	const char *ca_file;				      /* "": the system's authorities alone */
	const struct alert_receiver *receivers;
	size_t n_receivers; /* at most ALERT_RECEIVERS_MAX */
};

/* Copies the options. */
int alerts_start(struct store *store, const struct alerts_options *o, struct alerts **ret, struct err *err);
/* Any thread: a test that waits comes back, nothing is sent any more. */
void alerts_stop(struct alerts *a);
/* NULL is fine. No call may be under way. */
void alerts_free(struct alerts *a);
/* New options: what a receiver of the same name was told stays known.  On failure everything is as it was. */
int alerts_configure(struct alerts *a, const struct alerts_options *o, struct err *err);

/* --- control loop --- */
/* f without what comes from the database: deployments are filled in here. */
void alerts_tick(struct alerts *a, struct alert_figures *f);
/* Whether a job should call alerts_sync now. */
bool alerts_wants_sync(struct alerts *a, int64_t now_ms);

/* --- a job --- */
/* Blocks.  Records what has changed, and reads silences and, when it leads, how deployments ended. */
void alerts_sync(struct alerts *a, bool leads);

/* --- any thread --- */

struct alert_receiver_status {
	char name[ALERT_NAME_SIZE];
	enum alert_format format;
	enum alert_severity min_severity;
	uint64_t n_delivered, n_failed, n_gave_up;
	unsigned failures; /* in a row, now */
	int64_t last_ok_us, last_error_us;
	char error[ALERT_ERROR_SIZE]; /* of the last failure, when it came after the last success */
};

struct alerts_status {
	size_t n_receivers;
	struct alert_receiver_status receiver[ALERT_RECEIVERS_MAX];
	size_t n_firing[ALERT_N_RULES], n_silenced;
	uint64_t n_dropped;
	char problem[200]; /* why they cannot be recorded, or "" */
};
void alerts_status(struct alerts *a, struct alerts_status *ret);

/* What is in memory, as rows in the arena, the newest first: for when the database cannot be asked. */
int alerts_in_memory(struct alerts *a, struct arena *arena, const struct alert_filter *f, struct alert_row **ret,
		     size_t *ret_n, struct err *err);
/* Whether a silence that is known here covers it now. */
bool alerts_is_silenced(struct alerts *a, struct slice rule, struct slice use_case, int64_t now_us);
/* Silences as they are in the database, after a change of them. */
void alerts_take_silences(struct alerts *a, const struct silence_row *list, size_t n);

struct alert_test_result {
	char receiver[ALERT_NAME_SIZE];
	enum alert_format format;
	bool delivered;
	long status; /* 0: no answer */
	int64_t took_us;
	char error[ALERT_ERROR_SIZE];
};
/*
 * Blocks until every receiver, or the one named, has answered a test or its time is over.  E_NOTFOUND: no such
 * receiver, or none at all; E_BUSY: another test is under way; E_CLOSED: the daemon stops.
 */
int alerts_test(struct alerts *a, struct slice receiver, struct alert_test_result ret[ALERT_RECEIVERS_MAX],
		size_t *ret_n, struct err *err);
