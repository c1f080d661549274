/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of its own with a database in it, for tests of what stands on the store. */
#pragma once
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "control/store/store.h"
#include "t.h"

struct place {
	char dir[32];
	char url[128]; /* sqlite:DIR/muster.db */
	char file[64]; /* DIR/muster.db */
};

static inline void place_make(struct place *p)
{
	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/test_store.XXXXXX");
	CHECK(mkdtemp(p->dir) != NULL);
	(void)snprintf(p->file, sizeof(p->file), "%s/muster.db", p->dir);
	(void)snprintf(p->url, sizeof(p->url), "sqlite:%s", p->file);
}

static inline void place_clear(const struct place *p)
{
	DIR *d = opendir(p->dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char path[PATH_MAX];

		(void)snprintf(path, sizeof(path), "%s/%s", p->dir, e->d_name);
		(void)unlink(path); /* not "." and ".." */
	}
	if (d)
		(void)closedir(d);
}

static inline void place_remove(const struct place *p)
{
	place_clear(p);
	CHECK_INT(rmdir(p->dir), 0);
}

/* Opens url and brings it to the level of this binary. */
static inline struct db *place_open(const char *url)
{
	struct db *db = NULL;
	struct err err = {0};

	if (db_open(url, &db, &err) || migrate_run(db, NULL, &err)) {
		t_failed = 1;
		printf("# %s: %s\n", url, err.text);
	}
	return db;
}
