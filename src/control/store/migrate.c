/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing a database to the level of this binary.  Each step is one transaction with its row in schema_migrations, and
 * the level is read again inside it: two that migrate at once take turns at the write lock, and the second finds
 * nothing to do.
 */
#include "control/store/migrations/migrations.h"
#include "control/store/store.h"
#include "control/store/store_internal.h"
#include "core/base/clock.h"

static const struct migration *const steps[] = {
	&migration_1_foundation, &migration_2_api_keys,	 &migration_3_replicas, &migration_4_figures,
	&migration_5_loans,	 &migration_6_retention, &migration_7_alerts,	&migration_8_costs,
	&migration_9_cached,	 &migration_10_texts,	 &migration_11_budgets, &migration_12_tool_calls};

int migrate_target(void)
{
	return (int)COUNT_OF(steps);
}

const char *migrate_sql(int level)
{
	return level >= 1 && level <= migrate_target() ? steps[level - 1]->sql : NULL;
}

const char *migrate_dialect_sql(int level, const char *dialect)
{
	const struct migration *m = level >= 1 && level <= migrate_target() ? steps[level - 1] : NULL;

	for (size_t i = 0; m && i < MIGRATION_MAX_DIALECTS && m->only[i].dialect; i++) {
		if (!strcmp(m->only[i].dialect, dialect))
			return m->only[i].sql;
	}
	return NULL;
}

static int read_level(struct db *db, struct arena *a, int *ret_level, struct err *err)
{
	struct db_rows rows;
	int rc = db_query(db, a, "select max(level) from schema_migrations", db_args(NULL, 0), &rows, err);

	if (rc)
		return rc;
	*ret_level = db_cell(&rows, 0, 0)->type == DB_INT ? (int)db_cell(&rows, 0, 0)->i : 0;
	return 0;
}

int migrate_level(struct db *db, int *ret_level, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	bool there = false;
	int level = 0, rc;

	arena_init(&a, 1024, 65536);
	rc = db_has_table(db, "schema_migrations", &there, err);
	if (!rc && there)
		rc = read_level(db, &a, &level, err);
	if (!rc)
		*ret_level = level;
	return rc;
}

static int apply(struct db *db, int level, struct err *err)
{
	const char *dialect_sql = migrate_dialect_sql(level, db->dialect);
	struct db_value args[] = {db_int(level), db_cstr(steps[level - 1]->name), db_int(clock_wall_us())};
	int rc = db_script(db, steps[level - 1]->sql, err);

	if (!rc && dialect_sql)
		rc = db_script(db, dialect_sql, err);
	if (!rc)
		rc = db_exec(db, "insert into schema_migrations (level, name, applied_us) values ($1, $2, $3)",
			     db_args(args, COUNT_OF(args)), NULL, err);
	if (rc)
		(void)err_prefix(err, "schema level %d (%s)", level, steps[level - 1]->name); /* the code stays */
	return rc;
}

static int check_level(int level, struct err *err)
{
	if (level <= migrate_target())
		return 0;
	return err_set(err, E_CONFLICT,
		       "this database is at level %d, this muster knows up to %d: install a newer muster", level,
		       migrate_target());
}

/* One step, unless someone else has done it meanwhile. *ret_level: where the database is now. */
static int step(struct db *db, int *ret_level, struct err *err)
{
	int level = 0, rc = db_begin(db, err);

	if (rc)
		return rc;
	rc = migrate_level(db, &level, err);
	if (!rc)
		rc = check_level(level, err);
	if (!rc && level < migrate_target())
		rc = apply(db, ++level, err);
	if (!rc)
		rc = db_commit(db, err);
	if (rc)
		db_rollback(db);
	else
		*ret_level = level;
	return rc;
}

int migrate_run(struct db *db, int *ret_from, struct err *err)
{
	int level = 0, from, rc = migrate_level(db, &level, err);

	if (!rc)
		rc = check_level(level, err);
	from = level;
	while (!rc && level < migrate_target())
		rc = step(db, &level, err);
	if (!rc)
		rc = store_partitions_ensure(db, clock_wall_us(), STORE_PARTITIONS_AHEAD, err);
	if (!rc && ret_from)
		*ret_from = from;
	return rc;
}
