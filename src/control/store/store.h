/* SPDX-License-Identifier: Apache-2.0 */
/* A few connections to one database, shared by the threads of the control plane. */
#pragma once
#include "control/store/db.h"

struct store;

#define STORE_MAX_CONNECTIONS 4

/* Opens nothing yet. */
int store_new(const char *url, struct store **ret, struct err *err);
void store_free(struct store *s);
/* Before the first connection goes out the database is brought to our schema (migrate_run), whenever it is first there.
 */
void store_migrate_first(struct store *s);
/* "sqlite:var/muster.db": without any password. */
const char *store_description(const struct store *s);
/* Any thread; blocks while all connections are out. Give each back with store_release. */
int store_acquire(struct store *s, struct db **ret, struct err *err);
void store_release(struct store *s, struct db *db);
void store_rest(struct store *s); /* any thread: idle connections give back what they keep for later */
/* One outside the pool, for whoever keeps it: db_close it. */
int store_open_own(struct store *s, struct db **ret, struct err *err);
/* Whether other processes may change what is in it. */
bool store_is_shared(const struct store *s);

/* --- migrations: numbered, only ever adding --- */
int migrate_level(struct db *db, int *ret_level, struct err *err); /* 0: an empty database */
int migrate_target(void);					   /* the level of this binary */
/* Brings the database to migrate_target(). E_CONFLICT: it is newer than this binary, the error names both levels. Safe
 * when several run at once. */
int migrate_run(struct db *db, int *ret_from, struct err *err);
/*
 * The daily partitions of model_historical_logs, from the day of now_us to days_ahead later; nothing on a database that
 * has none.  migrate_run does it, and every store that migrates does it again each day; without them records go to the
 * default partition, which is right but slow to drop.
 */
int store_partitions_ensure(struct db *db, int64_t now_us, int days_ahead, struct err *err);
#define STORE_PARTITIONS_AHEAD 7

const char *migrate_sql(int level); /* the SQL of one step, for --dry-run; NULL past the last */
/* What the step does besides where the dialects differ (db->dialect); NULL: nothing. */
const char *migrate_dialect_sql(int level, const char *dialect);
