/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing a backend by the beginning of its URL, and calling through it. */
#include "control/store/db.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "control/store/store_internal.h"

static const struct db_ops *const backends[] = {&db_sqlite_ops, &db_postgres_ops, &db_fault_ops};

/* *ret_rest: what stands behind its name. */
static const struct db_ops *find(const char *url, const char **ret_rest)
{
	for (size_t i = 0; i < COUNT_OF(backends); i++) {
		size_t n = strlen(backends[i]->name);

		*ret_rest = url + n + 1;
		if (!strncmp(url, backends[i]->name, n) && url[n] == ':')
			return backends[i];
	}
	*ret_rest = url + 11;
	return strncmp(url, "postgresql:", 11) ? NULL : &db_postgres_ops; /* libpq's other name */
}

bool db_url_is_shared(const char *url)
{
	const char *rest;
	const struct db_ops *ops = find(url, &rest);

	return ops && ops->shared;
}

int db_open(const char *url, struct db **ret, struct err *err)
{
	const char *rest;
	const struct db_ops *ops = find(url, &rest);

	if (ops)
		return ops->open(rest, ret, err);
	/* No more of it than the scheme: the rest may hold a password. */
	return err_set(err, E_INVALID,
		       "there is no storage backend for '%.*s': this muster knows sqlite:PATH "
		       "and postgres://USER@HOST:PORT/DATABASE",
		       (int)min_size(strcspn(url, ":"), 32), url);
}

void db_close(struct db *db)
{
	if (db)
		db->ops->close(db);
}

void db_rest(struct db *db)
{
	if (db->ops->rest)
		db->ops->rest(db);
}

int db_exec(struct db *db, const char *sql, struct db_args args, int64_t *ret_changes, struct err *err)
{
	return db->ops->exec(db, sql, args, ret_changes, err);
}

int db_query(struct db *db, struct arena *a, const char *sql, struct db_args args, struct db_rows *ret, struct err *err)
{
	return db->ops->query(db, a, sql, args, ret, err);
}

int db_begin(struct db *db, struct err *err)
{
	return db->ops->begin(db, err);
}

int db_begin_append(struct db *db, struct err *err)
{
	return db->ops->begin_append(db, err);
}

int db_commit(struct db *db, struct err *err)
{
	return db->ops->commit(db, err);
}

void db_rollback(struct db *db)
{
	db->ops->rollback(db);
}

int db_script(struct db *db, const char *sql, struct err *err)
{
	return db->ops->script(db, sql, err);
}

int db_has_table(struct db *db, const char *name, bool *ret, struct err *err)
{
	return db->ops->has_table(db, name, ret, err);
}

int db_notify(struct db *db, const char *channel, struct slice payload, struct err *err)
{
	return db->ops->notify ? db->ops->notify(db, channel, payload, err) : 0;
}

int db_listen(struct db *db, const char *channel, bool *ret_listens, struct err *err)
{
	*ret_listens = false;
	return db->ops->listen ? db->ops->listen(db, channel, ret_listens, err) : 0;
}

int db_wait(struct db *db, int wake_fd, int timeout_ms, struct err *err)
{
	struct pollfd p = {.fd = wake_fd, .events = POLLIN};

	if (db->ops->wait)
		return db->ops->wait(db, wake_fd, timeout_ms, err);
	(void)poll(&p, 1, timeout_ms); /* whatever came: the caller looks */
	return 0;
}

/* Whatever stands between "//" and the last @ is taken for user and password, also where a stricter reader would not.
 */
char *db_url_shown(const char *url)
{
	const char *rest = strstr(url, "//"), *at, *colon;
	struct slice user = {0}, head = slice_from(url);
	CLEANUP(buf_release) struct buf b = {0}; /* released on every way out */

	buf_init(&b, 16384);
	if (!rest)
		return slice_dup(head);
	rest += 2;
	head.n = (size_t)(rest - url);
	at = memrchr(rest, '@', strcspn(rest, "?"));
	if (at) {
		colon = memchr(rest, ':', (size_t)(at - rest));
		user = (struct slice){rest, (size_t)((colon ? colon : at) - rest)};
		rest = at + 1;
	}
	(void)buf_printf(&b, SLICE_FMT SLICE_FMT "%s%.*s", SLICE_ARG(head), SLICE_ARG(user), user.n ? "@" : "",
			 (int)strcspn(rest, "?"), rest); /* too long: nothing is shown */
	return slice_dup(buf_failed(&b) ? head : buf_slice(&b));
}
