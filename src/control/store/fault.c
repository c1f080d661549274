/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database that fails once: call N of a connection gives E_IO and does nothing (a commit rolls back, as the contract
 * says). Tests open it with N = 1, 2, ... until nothing fails any more; so every path that a broken database can open
 * has been walked.
 */
#include <stdlib.h>
#include <string.h>

#include "control/store/store_internal.h"
#include "core/base/slice.h"

struct db_fault {
	struct db base;
	struct db *inner;
	uint64_t n_calls, fail_at;
};

static struct db_fault *from_base(struct db *db)
{
	return CONTAINER_OF(db, struct db_fault, base);
}

static int count(struct db_fault *d, struct err *err)
{
	if (++d->n_calls != d->fail_at)
		return 0;
	return err_set(err, E_IO, "call %llu of the database failed, as it was told to",
		       (unsigned long long)d->fail_at);
}

static int fault_open(const char *where, struct db **ret, struct err *err)
{
	struct slice rest = slice_from(where), number;
	struct db_fault *d;
	uint64_t fail_at;
	int rc;

	if (!slice_split(&rest, ':', &number) || !rest.p || slice_to_u64(number, &fail_at))
		return err_set(err, E_INVALID,
			       "fault: wants the number of a call and a URL, as in fault:3:sqlite:PATH");
	d = calloc(1, sizeof(*d));
	if (!d)
		abort();
	rc = db_open(rest.p, &d->inner, err);
	if (rc) {
		free(d);
		return rc;
	}
	d->base = (struct db){.ops = &db_fault_ops,
			      .dialect = d->inner->dialect,
			      .now_us = d->inner->now_us,
			      .texts_dir = d->inner->texts_dir};
	d->fail_at = fail_at;
	*ret = &d->base;
	return 0;
}

static void fault_close(struct db *db)
{
	struct db_fault *d = from_base(db);

	db_close(d->inner);
	free(d);
}

static int fault_exec(struct db *db, const char *sql, struct db_args args, int64_t *ret_changes, struct err *err)
{
	struct db_fault *d = from_base(db);
	int rc = count(d, err);

	return rc ? rc : db_exec(d->inner, sql, args, ret_changes, err);
}

static int fault_query(struct db *db, struct arena *a, const char *sql, struct db_args args, struct db_rows *ret,
		       struct err *err)
{
	struct db_fault *d = from_base(db);
	int rc = count(d, err);

	return rc ? rc : db_query(d->inner, a, sql, args, ret, err);
}

static int fault_begin(struct db *db, struct err *err)
{
	struct db_fault *d = from_base(db);
	int rc = count(d, err);

	return rc ? rc : db_begin(d->inner, err);
}

static int fault_begin_append(struct db *db, struct err *err)
{
	struct db_fault *d = from_base(db);
	int rc = count(d, err);

	return rc ? rc : db_begin_append(d->inner, err);
}

static int fault_commit(struct db *db, struct err *err)
{
	struct db_fault *d = from_base(db);
	int rc = count(d, err);

	if (rc) {
		db_rollback(d->inner);
		return rc;
	}
	return db_commit(d->inner, err);
}

static void fault_rollback(struct db *db)
{
	db_rollback(from_base(db)->inner);
}

static int fault_script(struct db *db, const char *sql, struct err *err)
{
	struct db_fault *d = from_base(db);
	int rc = count(d, err);

	return rc ? rc : db_script(d->inner, sql, err);
}

static int fault_has_table(struct db *db, const char *name, bool *ret, struct err *err)
{
	struct db_fault *d = from_base(db);
	int rc = count(d, err);

	return rc ? rc : db_has_table(d->inner, name, ret, err);
}

static int fault_notify(struct db *db, const char *channel, struct slice payload, struct err *err)
{
	struct db_fault *d = from_base(db);
	int rc = count(d, err);

	return rc ? rc : db_notify(d->inner, channel, payload, err);
}

static int fault_listen(struct db *db, const char *channel, bool *ret_listens, struct err *err)
{
	struct db_fault *d = from_base(db);
	int rc = count(d, err);

	return rc ? rc : db_listen(d->inner, channel, ret_listens, err);
}

static int fault_wait(struct db *db, int wake_fd, int timeout_ms, struct err *err)
{
	struct db_fault *d = from_base(db);
	int rc = count(d, err);

	return rc ? rc : db_wait(d->inner, wake_fd, timeout_ms, err);
}

const struct db_ops db_fault_ops = {
	.name = "fault",
	.open = fault_open,
	.close = fault_close,
	.exec = fault_exec,
	.query = fault_query,
	.begin = fault_begin,
	.begin_append = fault_begin_append,
	.commit = fault_commit,
	.rollback = fault_rollback,
	.script = fault_script,
	.has_table = fault_has_table,
	.notify = fault_notify,
	.listen = fault_listen,
	.wait = fault_wait,
};
