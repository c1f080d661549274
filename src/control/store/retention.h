/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing what the historical log no longer has to keep, in steps of which each is one short transaction: a day's
 * partition, or a bounded number of rows.  A step says whether there is more; between two, others write.
 *
 * Age is that of the id, which holds when Muster got the record; a day's partition goes by created_us, which is the
 * same moment unless an application stated another.  Rows are walked in the order in which they arrived and the walk
 * ends at the first that is young: nothing goes early, whatever order daemons ship in.
 */
#pragma once
#include "control/store/replicas.h"

#define RETENTION_DAY_US INT64_C(86400000000)

struct retention_who {
	const struct lease *lease; /* of the leader; NULL: an operator's wish */
	struct slice actor, reason;
	int64_t now_us;
};

struct retention_removed {
	int64_t records, violations; /* of records: those removed, or those whose texts were */
	int64_t from_us, to_us;	     /* created between; 0: none was */
	int64_t bytes;		     /* of a day's partition */
	int64_t arrival;	     /* the last row that was looked at */
	bool more;
};

/* E_CONFLICT from each: the lease was lost. */

/*
 * PostgreSQL: the oldest day that ended at before_us or earlier is detached and dropped, with its event.  E_BUSY:
 * somebody holds the table for longer than a moment; nobody who writes was held up for longer than that.  Nothing on
 * other databases.
 */
int store_retention_drop_day(struct db *db, const struct retention_who *who, int64_t before_us,
			     struct retention_removed *ret, struct err *err);
/* Rows in no day of their own: all of a database without partitions; strays and latecomers on one with. */
int store_retention_drop_rows(struct db *db, const struct retention_who *who, int64_t before_us, size_t limit,
			      struct retention_removed *ret, struct err *err);
/* Violations whose record went with its day. */
int store_retention_drop_violations(struct db *db, const struct retention_who *who, int64_t before_us, size_t limit,
				    struct retention_removed *ret, struct err *err);
/* Prompt, context, output and tool calls; goes on where the last step ended. */
int store_retention_drop_texts(struct db *db, const struct retention_who *who, int64_t before_us, size_t limit,
			       struct retention_removed *ret, struct err *err);

struct retention_erasure {
	struct slice caller;
	int64_t before_us; /* only older ones; 0: all */
	bool texts_only;
	int64_t after_arrival; /* ret->arrival of the step before */
};
int store_retention_erase(struct db *db, const struct retention_who *who, const struct retention_erasure *e,
			  size_t limit, struct retention_removed *ret, struct err *err);

/* An event for what earlier steps removed and no event tells of yet. */
int store_retention_report(struct db *db, const struct retention_who *who, struct err *err);

struct retention_facts {
	int64_t oldest_us;	 /* created_us of the oldest record by id; 0: there is none */
	int64_t oldest_texts_us; /* of the oldest record whose texts no retention has looked at; 0: there is none */
	int64_t n_days, oldest_day_us; /* partitions that take records of the past and of today */
	int64_t bytes;		       /* of the log, with its indexes; of SQLite the whole file */
	int64_t free_bytes;	       /* of those, what is used again before the file grows */
	bool partitioned;
};
int store_retention_inspect(struct db *db, int64_t now_us, struct retention_facts *ret, struct err *err);
