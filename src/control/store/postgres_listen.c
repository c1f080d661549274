/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifications.  Listening belongs to a session, so it works only where nothing stands between that keeps none: a
 * pooler in transaction mode would take the LISTEN and never deliver.  A connection that was lost and made anew does
 * not listen any more, and says so.
 */
#include "control/store/postgres_internal.h"

#include <poll.h>
#include <stdio.h>

#include "core/base/clock.h"

int postgres_notify(struct db *db, const char *channel, struct slice payload, struct err *err)
{
	const struct db_value args[] = {db_cstr(channel), db_text(payload)};

	return db_exec(db, "select pg_catalog.pg_notify($1, $2)", db_args(args, COUNT_OF(args)), NULL, err);
}

static struct db_postgres *from_base(struct db *db)
{
	return CONTAINER_OF(db, struct db_postgres, base);
}

static int listen_on(struct db_postgres *d, const char *channel, struct err *err)
{
	char *name = PQescapeIdentifier(d->conn, channel, strlen(channel)), sql[128];
	int rc = 0;

	if (!name || snprintf(sql, sizeof(sql), "listen %s", name) >= (int)sizeof(sql))
		rc = err_set(err, E_INVALID, "the name of a channel is too long");
	PQfreemem(name);
	return rc ? rc : pg_call(d, sql, NULL, NULL, PG_ANSWER_TIMEOUT_MS, err);
}

int postgres_listen(struct db *db, const char *channel, bool *ret_listens, struct err *err)
{
	struct db_postgres *d = from_base(db);
	int rc;

	if (d->target.listen == PG_OFF)
		return 0;
	rc = db_exec(db, "select 1", db_args(NULL, 0), NULL, err); /* connects, where it has to */
	if (rc || (d->target.listen == PG_AUTO && !pg_is_direct(d)))
		return rc;
	if (!d->conn)
		return err_set(err, E_UNAVAILABLE, "the database %s is away: it closed the connection",
			       d->target.shown);
	rc = listen_on(d, channel, err);
	d->listens = *ret_listens = !rc;
	return rc;
}

/* All there is, as one. */
static bool take_notifications(struct db_postgres *d)
{
	bool any = false;

	for (PGnotify *n; (n = PQnotifies(d->conn)); any = true)
		PQfreemem(n);
	return any;
}

int postgres_wait(struct db *db, int wake_fd, int timeout_ms, struct err *err)
{
	struct db_postgres *d = from_base(db);
	int64_t until_ms = clock_mono_ms() + timeout_ms;

	if (!d->conn || !d->listens)
		return err_set(err, E_UNAVAILABLE, "the connection to the database %s was lost", d->target.shown);
	while (!take_notifications(d)) {
		struct pollfd p[] = {{.fd = wake_fd, .events = POLLIN}, {.fd = PQsocket(d->conn), .events = POLLIN}};
		int64_t left_ms = until_ms - clock_mono_ms();

		if (left_ms <= 0 || poll(p, COUNT_OF(p), (int)left_ms) == 0 || p[0].revents)
			return 0;
		if (p[1].revents && !PQconsumeInput(d->conn)) {
			int rc = pg_failed(d, NULL, err);

			pg_disconnect(d);
			return rc;
		}
	}
	return 0;
}
