/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private PostgreSQL (tools/pg-cluster) for a test program, started by the first test that asks, gone when the
 * program ends in whatever way: it lives as long as a pipe of ours is open.  Without the server's programs, tests that
 * need it say so and are skipped.
 */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/store/db.h"
#include "t.h"

struct pg_cluster {
	bool asked;
	int port, pool; /* 0: there is none */
	int to;
	FILE *from;
	char why[200], dir[64];
};

static inline void pg_cluster_start(struct pg_cluster *c)
{
	int in[2], out[2];

	CHECK(!pipe(in) && !pipe(out));
	if (fork() == 0) {
		char path[] = "tools/pg-cluster";
		char *argv[] = {path, NULL};

		dup2(in[0], 0);
		dup2(out[1], 1);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		execv(path, argv);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	c->to = in[1];
	c->from = fdopen(out[0], "r");
}

static inline const struct pg_cluster *pg_cluster(void)
{
	static struct pg_cluster c;
	char line[256] = "", *at;

	if (c.asked)
		return &c;
	c.asked = true;
	pg_cluster_start(&c);
	if (!fgets(line, sizeof(line), c.from))
		(void)snprintf(line, sizeof(line), "tools/pg-cluster said nothing\n");
	line[strcspn(line, "\n")] = '\0';
	if (!strncmp(line, "ready ", 6)) {
		c.port = (int)strtol(line + 6, &at, 10);
		c.pool = (int)strtol(at, &at, 10);
		(void)snprintf(c.dir, sizeof(c.dir), "%.60s", at + 1);
		if (!c.pool)
			printf("# skipped behind a pooler: pgbouncer is not installed\n");
	} else if (!strncmp(line, "absent ", 7)) {
		(void)snprintf(c.why, sizeof(c.why), "%.150s", line + 7);
		printf("# skipped: %s\n", c.why);
	} else {
		t_failed = 1;
		printf("# the private PostgreSQL: %s\n", line);
	}
	return &c;
}

/* kill, start, ...: until it is done. */
static inline void pg_cluster_do(const struct pg_cluster *c, const char *what)
{
	char line[256] = "";

	CHECK(dprintf(c->to, "%s\n", what) > 0);
	CHECK(fgets(line, sizeof(line), c->from) && !strcmp(line, "done\n"));
}

/* An empty database: whatever an earlier test left is dropped. */
static inline void pg_cluster_empty(const struct pg_cluster *c)
{
	struct err err = {0};
	struct db *db = NULL;
	char url[128];

	(void)snprintf(url, sizeof(url), "postgres://muster@127.0.0.1:%d/postgres", c->port);
	if (db_open(url, &db, &err) || db_script(db, "drop schema public cascade; create schema public", &err)) {
		t_failed = 1;
		printf("# %s: %s\n", url, err.text);
	}
	db_close(db);
}

/*
 * Fills in a URL of a test's table of backends: %s becomes file, and %P (a PostgreSQL of our own), %B (a PgBouncer in
 * front of it) an address with port.  False: there is none, skip it.  The database behind %P and %B is emptied.
 */
static inline bool backend_url(const char *format, const char *file, char *url, size_t size)
{
	const char *mark = strchr(format, '%');
	const struct pg_cluster *c;
	int port;

	if (!mark || mark[1] == 's') {
		(void)snprintf(url, size, "%.*s%s%s", (int)strcspn(format, "%"), format, mark ? file : "",
			       mark ? mark + 2 : "");
		return true;
	}
	c = pg_cluster();
	port = mark[1] == 'P' ? c->port : c->pool;
	if (!port)
		return false;
	pg_cluster_empty(c);
	(void)snprintf(url, size, "%.*s127.0.0.1:%d%s", (int)(mark - format), format, port, mark + 2);
	return true;
}
