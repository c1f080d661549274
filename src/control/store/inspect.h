/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator wants to know of a database that no request needs.  All of it reads, or leaves nothing behind. */
#pragma once
#include "control/store/db.h"

struct store_facts {
	struct slice version;	/* "PostgreSQL 15.8", "SQLite 3.40.1" */
	struct slice transport; /* "TLSv1.3", "in the clear from 10.0.0.7", "unix socket"; absent: a file */
	bool exposed;		/* it goes over a network in the clear */
	int64_t size_bytes;
	int64_t now_us; /* by its own clock; 0: it has none, this host's is used */
};
/* Texts live in the arena. */
int store_inspect(struct db *db, struct arena *a, struct store_facts *ret, struct err *err);

struct store_partitions {
	bool any;	  /* this database has them */
	int days_ahead;	  /* whole days after today; -1: not even today's */
	int64_t n_strays; /* records from today on outside all days, counted up to 1,000: latecomers are none */
};
int store_inspect_partitions(struct db *db, struct arena *a, int64_t now_us, struct store_partitions *ret,
			     struct err *err);

/* Writes, changes and deletes in the tables that Muster does so in, and takes all of it back. */
int store_try_writing(struct db *db, int64_t now_us, struct err *err);

/* The file that the URL names, or NULL when it names a server or memory. */
const char *store_url_file(const char *url);
