/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `muster check` needs from modules that the command line may not include: the configuration, the providers, the
 * compiler of policies.  app/daemon/check_host.c has it.
 */
#pragma once
#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/json/json.h"

struct check_endpoint {
	struct slice use_case, url;
};

struct check_settings {	    /* all in the arena, never NULL */
	const char *source; /* "muster.yaml", or "defaults and environment" */
	bool chosen;	    /* somebody said where data or database are: it is not the default that is looked at */
	const char *listen, *control_listen, *data, *spool_directory, *database_url;
	const char *tls_cert_file, *tls_key_file, *auth_key_file;
	const char *log_level;
	bool guardrails_enabled, history_enabled;
	int64_t retention_us, content_retention_us; /* 0: for ever */
	int64_t spool_max_bytes, connections;
	struct check_endpoint *endpoints;
	size_t n_endpoints;
	struct err problem; /* what a start would refuse it for; code 0: nothing */
};

struct check_where { /* as given on the command line; NULL: not given */
	const char *config_file, *data, *database_url;
	long pid; /* not 0: as that daemon was started, with its file, environment and flags; the others do not count */
};

struct check_host {
	/* As `muster serve` would read them.  An error names file, line and key; E_DENIED: the process is another
	 * user's. */
	int (*settings)(struct arena *a, const struct check_where *where, struct check_settings *ret, struct err *err);
	/* The next variable of ours after *at (begin with 0) that no program of ours reads; NULL at the end. */
	const char *(*unknown_variable)(size_t *at);
	/* Whether a stored policy compiles; the error names the rule. */
	int (*policy_compiles)(struct arena *a, const struct json *document, struct err *err);
	/* The environment variable that the model's key is taken from (absent: none), and whether it must be there. */
	int (*model_key)(struct slice provider, const struct json *configuration, struct slice *ret_variable,
			 bool *ret_needed, struct err *err);
};
extern const struct check_host check_host;
