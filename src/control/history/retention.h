/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping the historical log no longer than history.retention and history.content_retention say.  A run is work of a
 * second at most, in short transactions between which others write; when it leaves more, it wants to be called again
 * soon.  All calls block: job threads only.  What is done now, and how it went, any thread may ask.
 */
#pragma once
#include "control/store/retention.h"
#include "control/store/store.h"

struct retention;

struct retention_rule { /* 0: for ever */
	int64_t records_us, texts_us;
};

struct retention_status {
	struct retention_rule rule;
	uint64_t runs, failures, records, violations, texts, partitions; /* since the start, of this daemon */
	int64_t last_run_us; /* of this daemon, one that went well; 0: none did */
	int64_t last_failure_us;
	bool more;	   /* the last run ended before its work did */
	char problem[240]; /* of the last run; "": it went well */
};

struct retention *retention_new(struct store *store);
void retention_free(struct retention *r);
/* Any thread; the next run goes by it. */
void retention_set(struct retention *r, const struct retention_rule *rule);
/* No run begins any more, and one that is under way ends after the step at hand. */
void retention_stop(struct retention *r);
void retention_status(struct retention *r, struct retention_status *ret);

/* For the leader, with its lease.  *ret_more: call again soon. */
int retention_run(struct retention *r, const struct lease *lease, bool *ret_more, struct err *err);

struct retention_purge {
	int64_t before_us;   /* what is older goes; 0: whatever its age (with a caller only) */
	struct slice caller; /* absent: everybody's */
	bool texts_only;
	int64_t after_arrival; /* with a caller: where the call before ended */
	struct slice actor, reason;
};
/* An operator's wish, as much of it as a run does.  ret->more: again, with ret->arrival. */
int retention_purge(struct retention *r, const struct retention_purge *p, struct retention_removed *ret,
		    struct err *err);
