/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several daemons on one database agree on: how often the registry was changed, and who may do what only one may.
 *
 * A lease runs by the clock of the database alone.  Each taking gives it a new epoch, the number of its fence: a holder
 * that was away for too long may still believe that it holds the lease, so whatever it writes has to begin its
 * transaction with store_lease_guard, which refuses an epoch that is over.
 */
#pragma once
#include "control/store/db.h"
#include "core/base/uuid.h"

#define STORE_REGISTRY_CHANNEL "muster_registry"

/* Inside the transaction of a change: counts it, and tells those who listen once it is committed. */
int store_registry_changed(struct db *db, int64_t *ret_n, struct err *err);
/* How many changes there were.  The same number: the same registry. */
int store_registry_changes(struct db *db, int64_t *ret_n, struct err *err);

struct lease {
	const char *name; /* a literal */
	struct uuid holder;
	int64_t epoch;
};

/*
 * Takes a lease that is free, expired, or the holder's own, for ttl_us; *ret_epoch is larger than any before.
 * E_CONFLICT: another holds it.
 */
int store_lease_take(struct db *db, const char *name, const struct uuid *holder, int64_t ttl_us, int64_t *ret_epoch,
		     struct err *err);
/* E_CONFLICT: another has taken it. */
int store_lease_renew(struct db *db, const struct lease *l, int64_t ttl_us, struct err *err);
/* Others may take it at once.  One that is lost already is fine. */
int store_lease_release(struct db *db, const struct lease *l, struct err *err);
/*
 * Inside a transaction, before anything is written on the strength of the lease: E_CONFLICT when it was taken by
 * another.  Nobody can take it until the transaction has ended.
 */
int store_lease_guard(struct db *db, const struct lease *l, struct err *err);
