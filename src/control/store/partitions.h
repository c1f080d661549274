/* SPDX-License-Identifier: Apache-2.0 */
/* The days of model_historical_logs, for the files beside.  All of it says "none" on a database that has none. */
#pragma once
#include "control/store/db.h"

#define PARTITION_NAME_SIZE 64
#define PARTITION_COUNTED_BYTES ((int64_t)1 << 28) /* rows of a larger one are not counted one by one */

struct partition_day {
	int64_t day;	     /* since 1970 */
	int64_t n_estimated; /* rows, as the planner believes; -1: it never looked */
	int64_t bytes;	     /* with indexes and long texts */
};

bool partition_any(const struct db *db);
char *partition_name(int64_t day, char name[PARTITION_NAME_SIZE]);
/* The oldest ones of days before `before`, at most max. */
int partition_days(struct db *db, int64_t before, struct partition_day *ret, size_t max, size_t *ret_n,
		   struct err *err);
/* How many there are up to a day, and the bytes of the whole log. */
int partition_total(struct db *db, int64_t last, int64_t *ret_n, int64_t *ret_bytes, struct err *err);
/* In a transaction that holds the write lock.  E_BUSY: the table could not be had within a moment;
 * E_NOTFOUND: another was faster. */
int partition_drop(struct db *db, int64_t day, struct err *err);
