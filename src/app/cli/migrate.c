/* SPDX-License-Identifier: Apache-2.0 */
/* muster migrate: the schema of the database, without a daemon. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/cli/cli_internal.h"
#include "control/store/store.h"

int cli_database_url(struct cli *c, bool must_exist, char **ret_url)
{
	const char *config = args_get(&c->args, "config"), *data = args_get(&c->args, "data");
	const char *url = args_get(&c->args, "database-url"), *file;
	char *found = NULL;
	struct err err;

	if (c->host->database_url(config, data, url, &found, &err))
		return cli_fail(c, NULL, "%s", err.text);
	file = found + strlen("sqlite:");
	if (must_exist && !strncmp(found, "sqlite:", 7) && strcmp(file, ":memory:") != 0 && access(file, R_OK)) {
		cli_fail(c, "say where: --data DIR, or --database-url sqlite:FILE", "cannot read %s: %s", file,
			 strerror(errno));
		free(found);
		return EXIT_FAILED;
	}
	*ret_url = found;
	return 0;
}

/* The database, opened.  must_exist: a file that is not there is not made. */
static int open_database(struct cli *c, bool must_exist, struct db **ret_db, char **ret_url)
{
	char *found = NULL;
	struct err err;
	int rc = cli_database_url(c, must_exist, &found);

	if (rc || !found)
		return EXIT_FAILED;
	if (db_open(found, ret_db, &err)) {
		cli_fail(c, "say where: --data DIR, --database-url sqlite:FILE, or POSTGRES_HOST", "%s", err.text);
		free(found);
		return EXIT_FAILED;
	}
	*ret_url = db_url_shown(found);
	free(found);
	return 0;
}

static void print_json(struct cli *c, const char *url, int level)
{
	struct json_writer w;
	struct buf b;

	body_init(c, &b, &w);
	jw_kcstr(&w, "database", url);
	jw_ki64(&w, "level", level);
	jw_ki64(&w, "target", migrate_target());
	body_end(&w);
	out_printf(&c->out, "%s\n", buf_cstr(&b));
}

static void print_sql(struct cli *c, struct db *db, int level)
{
	for (; level < migrate_target(); level++) {
		const char *sql = migrate_sql(level + 1), *more = migrate_dialect_sql(level + 1, db->dialect);

		out_printf(&c->out, "-- level %d\n%s\n", level + 1, sql ? sql : "");
		if (more)
			out_printf(&c->out, "%s\n", more);
	}
}

static int dry_run(struct cli *c, struct db *db, const char *url)
{
	struct err err;
	int level = 0;

	if (migrate_level(db, &level, &err))
		return cli_fail(c, NULL, "%s", err.text);
	if (c->json)
		print_json(c, url, level);
	else if (level >= migrate_target())
		out_printf(&c->out, "-- nothing to do: level %d of %d\n", level, migrate_target());
	else
		print_sql(c, db, level);
	return EXIT_WORKED;
}

static int migrate(struct cli *c, struct db *db, const char *url)
{
	struct err err;
	int from = 0;

	if (migrate_run(db, &from, &err))
		return cli_fail(c, err.code == E_CONFLICT ? "use the muster that made it, or a newer one" : NULL, "%s",
				err.text);
	if (c->json)
		print_json(c, url, migrate_target());
	else if (from == migrate_target())
		out_printf(&c->out, "%s is at level %d: nothing to do\n", url, from);
	else
		out_printf(&c->out, "%s: level %d -> %d\n", url, from, migrate_target());
	return EXIT_WORKED;
}

int migrate_verb_run(struct cli *c)
{
	bool dry = args_has(&c->args, "dry-run");
	struct db *db = NULL;
	char *url = NULL;
	int rc = open_database(c, dry, &db, &url);

	if (rc || !db)
		return EXIT_FAILED;
	rc = dry ? dry_run(c, db, url) : migrate(c, db, url);
	db_close(db);
	free(url);
	return rc;
}

int migrate_status_run(struct cli *c)
{
	struct db *db = NULL;
	struct err err;
	int level = 0, rc;
	char *url = NULL;

	rc = open_database(c, true, &db, &url);
	if (rc || !db)
		return EXIT_FAILED;
	if (migrate_level(db, &level, &err))
		rc = cli_fail(c, NULL, "%s", err.text);
	else if (c->json)
		print_json(c, url, level);
	else
		out_printf(&c->out, "%s: level %d of %d%s\n", url, level, migrate_target(),
			   level < migrate_target()   ? "   (muster migrate brings it there)"
			   : level > migrate_target() ? "   (newer than this muster)"
						      : "");
	db_close(db);
	free(url);
	return rc;
}
