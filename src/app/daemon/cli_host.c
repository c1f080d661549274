/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command line needs to know of the configuration: where the database of a daemon is that is started with the
 * same file, environment and flags.  Read in the same order as `muster serve` does.
 */
#include "app/cli/cli.h"
#include "app/daemon/config.h"
#include "serving/guardrail/guard.h"

extern char **environ;

static int database_url(const char *config_file, const char *data, const char *url, char **ret, struct err *err)
{
	struct config c;
	int rc = 0;

	config_init(&c);
	if (config_file)
		rc = config_load_file(&c, config_file, err);
	if (!rc)
		rc = config_load_env(&c, environ, err);
	if (!rc && data)
		rc = config_set(&c, "data", data, err);
	if (!rc && url)
		rc = config_set(&c, "database.url", url, err);
	if (!rc) {
		*ret = config_database_url(&c);
		rc = *ret ? 0 : err_set(err, E_INVALID, "the place of the database is too long");
	}
	config_release(&c);
	return rc;
}

const struct cli_host cli_host = {database_url, guard_default_policy};
