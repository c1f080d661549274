/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replicas, loans and their pools.  Times are the database's own.  What changes a loan runs in a transaction that has
 * the pool (store_pool_hold): nobody else can change a loan of that subject until it ends, and the amounts that are
 * read in it are those that hold.
 */
#pragma once
#include "control/store/db.h"
#include "core/base/uuid.h"

/* This process is there for ttl_us more. */
int store_replica_beat(struct db *db, const struct uuid *self, int64_t ttl_us, struct err *err);
int store_replica_others(struct db *db, const struct uuid *self, int64_t *ret_n, struct err *err);
int store_replica_leave(struct db *db, const struct uuid *self, struct err *err);
/* Forgets replicas that have been gone for a day, and what they had; and pools that nobody asked for so long. */
int store_loans_sweep(struct db *db, struct err *err);

struct loan_row {
	struct slice kind, subject;
	struct uuid instance;
	int64_t amount, wanted;
	bool alive; /* its borrower is there */
};

/* All loans of the subjects of which this process has one. */
#define STORE_LOANS_MAX 50000
int store_loan_list(struct db *db, struct arena *a, const struct uuid *self, struct loan_row **ret, size_t *ret_n,
		    struct err *err);
/* Says what the borrower wants, without a transaction. */
int store_loan_want(struct db *db, const struct loan_row *row, struct err *err);

struct pool_row {
	struct slice kind, subject;
	int64_t state;	/* 0 when it is new */
	int64_t now_us; /* by the clock of the database */
	int64_t lent;	/* to all, those that are gone too */
};

/* kind and subject are given. */
int store_pool_hold(struct db *db, struct pool_row *pool, struct err *err);
int store_pool_set(struct db *db, const struct pool_row *pool, struct err *err);
int store_loan_put(struct db *db, const struct loan_row *row, struct err *err);
/* *ret_amount: what it was; 0 when there was none. */
int store_loan_end(struct db *db, const struct loan_row *row, int64_t *ret_amount, struct err *err);
