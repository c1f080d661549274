/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: every verb but `serve`.  Returns the exit status: 0 it worked, 1 it failed, 2 it was used wrongly.
 * Most verbs talk to a daemon over HTTP; `migrate` works on the database itself.
 */
#pragma once
#include "core/base/err.h"
#include "domain/policy.h"

#define CLI_VERSION "0.1.0"

/*
 * What the verbs that work without a daemon need from whoever reads the configuration, which this module may not:
 * app/daemon/cli_host.c has it.
 */
struct cli_host {
	/* The URL of the database that `muster serve` with the same --config, --data and --database.url (NULL: not
	 * given) would open, malloc'd.  0 or a negative E_*. */
	int (*database_url)(const char *config_file, const char *data, const char *url, char **ret, struct err *err);
	/* The guardrail policy of a database that has none of its own. */
	int (*default_policy)(struct arena *a, struct policy *ret, struct err *err);
};
extern const struct cli_host cli_host;

int cli_main(int argc, char **argv);
