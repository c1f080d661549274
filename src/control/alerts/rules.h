/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules: settings and figures in, alerts and their transitions out.  Pure but for ids: time is a figure.  One
 * owner; nothing here locks.
 */
#pragma once
#include "control/alerts/alert.h"
#include "core/base/buf.h"

struct alert_traffic_past; /* of one use case: performance.c */

#define ALERT_LOG_STEPS 32
#define ALERT_HITS_MAX 256
#define ALERT_TRAFFIC_MAX 128

struct alert_hits_past {
	char use_case[ALERT_NAME_SIZE], rule[ALERT_NAME_SIZE];
	uint64_t n, first_n; /* as of the last tick; when the alert began */
	int64_t last_ms;     /* when it grew; 0: not within the window */
	int64_t since_ms, since_us;
};

struct alert_rules {
	struct alert_settings settings;
	struct uuid_gen ids;
	struct alert *alert; /* ALERTS_MAX; those that are ALERT_FREE are none */
	uint64_t n_dropped;  /* found no room */
	uint64_t n_moves;    /* grows with every transition */

	struct {
		struct alert_log_step {
			int64_t at_ms;
			uint64_t records, failed;
		} step[ALERT_LOG_STEPS]; /* the oldest first */
		size_t n;
	} log;
	struct alert_hits_past *hits; /* ALERT_HITS_MAX */
	size_t n_hits;
	struct alert_traffic_past *traffic[ALERT_TRAFFIC_MAX];
	size_t n_traffic;
};

void alert_rules_init(struct alert_rules *r, const struct alert_settings *s);
void alert_rules_release(struct alert_rules *r);
/* What is known is kept, but for a past whose windows have changed. */
void alert_rules_configure(struct alert_rules *r, const struct alert_settings *s);
/* Judges, and moves states. */
void alert_rules_tick(struct alert_rules *r, const struct alert_figures *f);
/*
 * An alert that an earlier run of this daemon, or an earlier leader, has left firing: goes on here.  *src: id, rule,
 * use case, key, texts and times of the wall clock.  False: it fires here already, under its first id from now on,
 * or (*ret is not set) there is no room.
 */
bool alert_rules_adopt(struct alert_rules *r, const struct alert *src, int64_t now_ms, struct alert **ret);
/* Those of all daemons are another leader's now. */
void alert_rules_forget_shared(struct alert_rules *r);
void alert_fingerprint(const struct alert_settings *s, const struct alert *a, char ret[ALERT_FINGERPRINT_SIZE]);

/* --- between the files of the rules --- */

struct alert_what { /* a thing that a rule has found */
	enum alert_rule rule;
	struct slice use_case, key;
};
/* The alert of that thing, pending or firing, or NULL. */
struct alert *alert_find(struct alert_rules *r, const struct alert_what *what);
/* It holds, since then: made when there is none.  NULL: there is no room. The texts are the caller's to write. */
struct alert *alert_note(struct alert_rules *r, const struct alert_what *what, const struct alert_figures *f,
			 const struct alert_time *since);
void alert_say(struct alert *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* performance.c */
void alert_judge_performance(struct alert_rules *r, const struct alert_figures *f);
void alert_performance_forget(struct alert_rules *r);
/* budgets.c */
void alert_judge_budgets_nearly_spent(struct alert_rules *r, const struct alert_figures *f);
void alert_judge_budgets_spent(struct alert_rules *r, const struct alert_figures *f);
struct json_writer;
/* Details: members are written between the two; what does not fit leaves them as they were. */
void alert_details_begin(struct json_writer *w, struct buf *b);
void alert_details_end(struct json_writer *w, struct buf *b, struct alert *a);
