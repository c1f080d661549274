/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that takes records from the spool to the database, in batches, exactly once: a batch is one transaction,
 * it is acknowledged after the commit, and a record that comes twice changes nothing there.  A second thread makes room
 * in the spool, whatever the database does.  A record that the database refuses for itself goes to
 * <spool>/rejected.ndjson and holds nobody up.
 */
#pragma once
#include "control/store/store.h"
#include "serving/spool/spool.h"

struct shipper;

#define SHIPPER_REJECTED_MAX                                                                     \
	((size_t)16 << 20) /* bytes of rejected.ndjson; past it refused records are only counted \
			    */

struct shipper_options {		    /* 0: the default */
	size_t batch_records;		    /* default 1024 */
	int64_t linger_ms;		    /* how long a batch waits for more; default 100 */
	int64_t retry_min_ms, retry_max_ms; /* backing off while the database is away; defaults 100, 5000 */
};

struct shipper_stats {
	struct counter batches, records, duplicates, failures;
	struct counter rejected;      /* records that the database refused for themselves */
	struct counter lag_us;	      /* age of the oldest record not shipped yet; 0: none */
	struct counter last_error_us; /* wall clock of the last failure; 0: none since the last success */
};

/* Takes over the reading side of the spool until shipper_stop. */
int shipper_start(struct spool *spool, struct store *store, const struct shipper_options *o, struct shipper **ret,
		  struct err *err);
/* Ships what is there until the spool is empty or limit_ms have passed, then ends and frees. 0, or E_TIMEOUT: the rest
 * stays in the spool. A call of the database that hangs is waited for. */
int shipper_stop(struct shipper *s, int64_t limit_ms);
/* Blocks until everything appended before the call is in the database, or limit_ms passed (E_TIMEOUT). Any thread but a
 * loop's. */
int shipper_flush(struct shipper *s, int64_t limit_ms);
const struct shipper_stats *shipper_stats(const struct shipper *s);
/* The text of the last failure, or "" when there was none since the last success. Copies into buf. */
void shipper_last_error(struct shipper *s, char *buf, size_t size);
