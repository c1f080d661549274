/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files of the alerts.  The lock guards everything but what belongs to the sending thread; it is held for
 * moments, never while anything blocks.
 */
#pragma once
#include <curl/curl.h>
#include <pthread.h>

#include "control/alerts/alerts.h"
#include "control/alerts/rules.h"

struct receiver {
	char *url, *authorization, *signing_key; /* owned, secret */
	struct alert_receiver_status status;
	int64_t not_before_ms;
	bool busy; /* something is on its way to it */
};

/* What else is known of an alert: beside rules.alert, by the same index. */
struct alert_slot {
	struct uuid id; /* of the alert that it is about */
	enum alert_state state;
	uint64_t version, recorded; /* of alert and deliveries together; as the database has it */
	uint64_t changes;	    /* of deliveries */
	int64_t recorded_ms;	    /* monotonic; 0: never */
	bool fresh;		    /* of all daemons, and nobody else's: may be told */
	struct alert_delivery to[ALERT_RECEIVERS_MAX];
};

struct alert_silence {
	struct uuid id;
	char rule[ALERT_NAME_SIZE], use_case[ALERT_NAME_SIZE];
	int64_t until_us;
};

enum test_state { TEST_NONE, TEST_ASKED, TEST_UNDER_WAY, TEST_ANSWERED };

struct alert_test {
	enum test_state state;
	char receiver[ALERT_NAME_SIZE]; /* "": all */
	size_t n, n_answered;
	struct alert_test_result result[ALERT_RECEIVERS_MAX];
};

struct alerts {
	struct store *store;
	pthread_mutex_t lock;
	pthread_cond_t answered; /* of a test */
	bool stopping;

	struct delivery_rules rules_json, rules_alertmanager; /* repeat of most, and of Alertmanager */
	int64_t timeout_ms, resend_ms;
	char *ca_file;
	struct alert_rules rules;
	struct alert_slot *slot; /* ALERTS_MAX */
	struct receiver receiver[ALERT_RECEIVERS_MAX];
	size_t n_receivers;
	struct alert_silence silence[ALERT_SILENCES_MAX];
	size_t n_silences;
	struct alert_deployment deployment[ALERT_DEPLOYMENTS_MAX];
	size_t n_deployments;
	struct alert_test test;

	/* the sync job's, but for what is said */
	bool adopted, leads, dirty;
	int64_t synced_ms, housekept_ms, failed_ms; /* monotonic; failed: since the last success, else 0 */
	char problem[200];

	/* the sending thread's */
	pthread_t thread;
	_Atomic bool has_thread; /* since there was a receiver; multi is there then */
	CURLM *multi;
	struct transfer *transfers;
	struct rng rng;
};

struct alert_time alert_now(void);
/* All under the lock. */
bool alerts_silenced_locked(const struct alerts *a, const char *rule, const char *use_case, int64_t now_us);
const struct delivery_rules *alerts_rules_of(const struct alerts *a, const struct receiver *r);
bool alerts_is_for(const struct alert *alert, const struct receiver *r);
/* record.c: one alert as a row; texts in the arena. */
int alerts_row_locked(struct alerts *a, size_t i, struct arena *arena, struct alert_row *ret);
/* send.c */
int alerts_send_start(struct alerts *a, struct err *err); /* once, and before there is a receiver to send to */
void alerts_send_end(struct alerts *a);			  /* waits for the thread */
void alerts_wake(struct alerts *a);
