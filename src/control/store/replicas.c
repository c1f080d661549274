/* SPDX-License-Identifier: Apache-2.0 */
/* registry_changes and leases: each call is one statement, so that two who ask at once cannot both be told yes. */
#include "control/store/replicas.h"

#include <stdio.h>

#include "control/store/store_internal.h"

/* --- registry_changes --- */

static int read_number(struct db *db, const struct sql *q, int64_t *ret, size_t *ret_n, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows = {0};
	int rc;

	arena_init(&a, 1024, 65536);
	rc = sql_query(db, &a, q, &rows, err);
	if (rc)
		return rc;
	*ret_n = rows.n_rows;
	if (rows.n_rows)
		*ret = db_cell(&rows, 0, 0)->i;
	return 0;
}

static int read_changes(struct db *db, const char *text, int64_t *ret, struct err *err)
{
	struct sql q = {.n = 0};
	size_t n = 0;
	int rc;

	sql_add(&q, text);
	rc = read_number(db, &q, ret, &n, err);
	if (!rc && n != 1)
		rc = err_set(err, E_CORRUPT, "registry_changes has %zu rows, not one", n);
	return rc;
}

int store_registry_changes(struct db *db, int64_t *ret_n, struct err *err)
{
	return read_changes(db, "select n from registry_changes", ret_n, err);
}

int store_registry_changed(struct db *db, int64_t *ret_n, struct err *err)
{
	char text[24];
	int rc = read_changes(db, "update registry_changes set n = n + 1 returning n", ret_n, err);

	(void)snprintf(text, sizeof(text), "%lld", (long long)*ret_n); /* fits */
	return rc ? rc : db_notify(db, STORE_REGISTRY_CHANNEL, slice_from(text), err);
}

/* --- leases --- */

static void add_end(struct sql *q, const struct db *db, int64_t ttl_us)
{
	sql_add(q, db->now_us);
	sql_add(q, " + ");
	sql_arg(q, db_int(ttl_us));
}

static void add_held(struct sql *q, const struct lease *l, char holder[UUID_STR_SIZE])
{
	sql_where(q, "name = ", db_cstr(l->name));
	sql_where(q, "holder = ", db_uuid(&l->holder, holder));
	sql_where(q, "epoch = ", db_int(l->epoch));
}

int store_lease_take(struct db *db, const char *name, const struct uuid *holder, int64_t ttl_us, int64_t *ret_epoch,
		     struct err *err)
{
	struct sql q = {.n = 0};
	char id[UUID_STR_SIZE];
	size_t n = 0;
	int rc;

	sql_add(&q, "insert into leases (name, holder, epoch, expires_us) values (");
	sql_arg(&q, db_cstr(name));
	sql_add(&q, ", ");
	sql_arg(&q, db_uuid(holder, id));
	sql_add(&q, ", 1, ");
	add_end(&q, db, ttl_us);
	sql_add(&q, ") on conflict (name) do update set holder = excluded.holder, epoch = leases.epoch + 1, "
		    "expires_us = excluded.expires_us where leases.holder = excluded.holder or leases.expires_us <= ");
	sql_add(&q, db->now_us);
	sql_add(&q, " returning epoch");
	rc = read_number(db, &q, ret_epoch, &n, err);
	return rc || n ? rc : err_set(err, E_CONFLICT, "the lease %s is held by another daemon", name);
}

static int lost(const struct lease *l, struct err *err)
{
	return err_set(err, E_CONFLICT, "the lease %s was taken by another daemon: epoch %lld is over", l->name,
		       (long long)l->epoch);
}

static int change(struct db *db, const struct sql *q, const struct lease *l, struct err *err)
{
	int64_t n = 0;
	int rc = db_exec(db, q->text, db_args(q->args, q->n_args), &n, err);

	return rc || n ? rc : lost(l, err);
}

/* An expired one that nobody has taken is as good as before. */
int store_lease_renew(struct db *db, const struct lease *l, int64_t ttl_us, struct err *err)
{
	struct sql q = {.n = 0};
	char id[UUID_STR_SIZE];

	sql_add(&q, "update leases set expires_us = ");
	add_end(&q, db, ttl_us);
	add_held(&q, l, id);
	return change(db, &q, l, err);
}

int store_lease_release(struct db *db, const struct lease *l, struct err *err)
{
	struct sql q = {.n = 0};
	char id[UUID_STR_SIZE];
	int rc;

	sql_add(&q, "update leases set expires_us = 0");
	add_held(&q, l, id);
	rc = change(db, &q, l, err);
	return rc == E_CONFLICT ? 0 : rc;
}

/* Writing the row holds it: who wants to take the lease waits for the end of the transaction. */
int store_lease_guard(struct db *db, const struct lease *l, struct err *err)
{
	struct sql q = {.n = 0};
	char id[UUID_STR_SIZE];

	sql_add(&q, "update leases set holder = holder");
	add_held(&q, l, id);
	return change(db, &q, l, err);
}
