/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's knowledge that `muster check` asks for: read in the same order, by the same code, as a start does. */
#include "app/cli/check.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/daemon/config.h"
#include "serving/guardrail/guard.h"
#include "serving/provider/provider.h"

extern char **environ;

static const char *copy(struct arena *a, const char *s)
{
	const char *kept = arena_strndup(a, s, strlen(s));

	return kept ? kept : "";
}

static const char *copy_and_free(struct arena *a, char *s)
{
	const char *kept = copy(a, s ? s : "");

	free(s);
	return kept;
}

static bool is_chosen(const struct config *c, const char *key)
{
	char origin[CONFIG_ORIGIN_SIZE];

	return strcmp(config_origin_text(c, key, origin), "default") != 0;
}

/* --- a daemon that runs --- */

#define PROCESS_FILE_MAX ((size_t)4 << 20)
#define PROCESS_WORDS_MAX 8192

/* "/proc/PID/WHAT", whose words end with NUL; the list ends with NULL.  E_DENIED when it cannot be read. */
static int read_words(struct arena *a, long pid, const char *what, char ***ret, struct err *err)
{
	char path[64], piece[4096];
	size_t n_words = 0, n;
	struct buf b;
	char **words;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%ld/%s", pid, what); /* fits */
	f = fopen(path, "re");
	buf_init_arena(&b, a, PROCESS_FILE_MAX);
	while (f && (n = fread(piece, 1, sizeof(piece), f)) > 0)
		(void)buf_append(&b, piece, n); /* looked at below */
	if (f)
		fclose(f);
	words = ARENA_ARRAY(a, char *, PROCESS_WORDS_MAX + 1);
	if (!f || !words || buf_failed(&b) || buf_addc(&b, 0))
		return err_set(err, E_DENIED, "%s cannot be read", path);
	for (size_t at = 0; at + 1 < b.n && n_words < PROCESS_WORDS_MAX; at += strlen(b.p + at) + 1)
		words[n_words++] = b.p + at;
	*ret = words;
	return 0;
}

/* The flags of `muster serve ...`, as serve.c reads them; *ret_file is its --config. */
static int take_flags(char **argv, struct config *c, const char **ret_file, struct err *err)
{
	if (!argv || !argv[0] || !argv[1] || strcmp(argv[1], "serve") != 0)
		return err_set(err, E_DENIED, "its command line is not that of muster serve");
	for (size_t i = 2; argv[i]; i++) {
		const char *value = strchr(argv[i], '=');
		bool is_bool = false, known;
		char key[128];
		int rc;

		if (strncmp(argv[i], "--", 2) != 0)
			continue;
		(void)snprintf(key, sizeof(key), "%.*s", value ? (int)(value - argv[i] - 2) : 120, argv[i] + 2);
		known = config_has(key, &is_bool);
		if (!known && strcmp(key, "config") != 0)
			continue; /* --demo */
		if (value)
			value++;
		else if (argv[i + 1] && (!is_bool || argv[i + 1][0] != '-'))
			value = argv[++i];
		if (!known)
			*ret_file = value;
		rc = known && c ? config_set(c, key, value ? value : "true", err) : 0;
		if (rc)
			return rc;
	}
	return 0;
}

/* A path as the process sees it, from where it stands. */
static const char *from_there(struct arena *a, long pid, const char *path)
{
	char link[64], cwd[4096];
	ssize_t n;

	if (!path || !*path || *path == '/')
		return path;
	(void)snprintf(link, sizeof(link), "/proc/%ld/cwd", pid); /* fits */
	n = readlink(link, cwd, sizeof(cwd) - 1);
	if (n <= 0)
		return path;
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	return arena_printf(a, "%.*s/%s", (int)n, cwd, path);
}

static int move_paths(struct arena *a, long pid, struct config *c, struct err *err)
{
	static const char prefix[] = "sqlite:";
	const struct {
		const char *key, *value;
	} paths[] = {{"data", c->data},
		     {"spool.directory", c->spool_directory},
		     {"tls.ca_file", c->tls_ca_file},
		     {"tls.cert_file", c->tls_cert_file},
		     {"tls.key_file", c->tls_key_file},
		     {"auth.key_file", c->auth_key_file}};
	const char *file =
		strncmp(c->database_url, prefix, sizeof(prefix) - 1) ? NULL : c->database_url + sizeof(prefix) - 1;
	int rc = file ? config_set(c, "database.url", arena_printf(a, "%s%s", prefix, from_there(a, pid, file)), err)
		      : 0;

	for (size_t i = 0; !rc && i < COUNT_OF(paths); i++) {
		const char *there = from_there(a, pid, paths[i].value);

		if (there != paths[i].value)
			rc = config_set(c, paths[i].key, there ? there : "", err);
	}
	return rc;
}

static int load_process(struct arena *a, struct config *c, long pid, const char **ret_file, struct err *err)
{
	char **argv = NULL, **environment = NULL;
	int rc = read_words(a, pid, "cmdline", &argv, err);

	if (!rc)
		rc = read_words(a, pid, "environ", &environment, err);
	if (!rc)
		rc = take_flags(argv, NULL, ret_file, err);
	*ret_file = rc ? NULL : from_there(a, pid, *ret_file);
	if (!rc && *ret_file)
		rc = config_load_file(c, *ret_file, err);
	if (!rc)
		rc = config_load_env(c, environment, err);
	if (!rc)
		rc = take_flags(argv, c, ret_file, err);
	return rc ? rc : move_paths(a, pid, c, err);
}

static int load(struct arena *a, struct config *c, const struct check_where *where, const char **ret_file,
		struct err *err)
{
	int rc;

	*ret_file = where->config_file;
	if (where->pid) {
		*ret_file = NULL;
		return load_process(a, c, where->pid, ret_file, err);
	}
	rc = where->config_file ? config_load_file(c, where->config_file, err) : 0;
	if (!rc)
		rc = config_load_env(c, environ, err);
	if (!rc && where->data)
		rc = config_set(c, "data", where->data, err);
	if (!rc && where->database_url)
		rc = config_set(c, "database.url", where->database_url, err);
	return rc;
}

static const char *source_of(struct arena *a, const struct check_where *where, const char *file)
{
	const char *s = !where->pid ? file
			: file	    ? arena_printf(a, "%s, environment and flags of process %ld", file, where->pid)
				    : arena_printf(a, "environment and flags of process %ld", where->pid);

	return s ? copy(a, s) : "defaults and environment";
}

static void copy_endpoints(struct arena *a, const struct config *c, struct check_settings *ret)
{
	ret->endpoints = ARENA_ARRAY(a, struct check_endpoint, c->fallback_endpoints.n + 1);
	for (size_t i = 0; ret->endpoints && i < c->fallback_endpoints.n; i++) {
		const struct config_endpoint *e = &c->fallback_endpoints.item[i];

		ret->endpoints[ret->n_endpoints++] =
			(struct check_endpoint){slice_from(copy(a, e->use_case)), slice_from(copy(a, e->url))};
	}
}

static int settings(struct arena *a, const struct check_where *where, struct check_settings *ret, struct err *err)
{
	static const char *const levels[] = {"debug", "info", "warn", "error", "off"};
	const char *file;
	struct config c;
	int rc;

	config_init(&c);
	rc = load(a, &c, where, &file, err);
	if (!rc) {
		*ret = (struct check_settings){
			.source = source_of(a, where, file),
			.chosen = file || is_chosen(&c, "data") || is_chosen(&c, "database.url"),
			.listen = copy(a, c.listen),
			.control_listen = copy(a, c.control_listen),
			.data = copy(a, c.data),
			.spool_directory = copy_and_free(a, config_spool_directory(&c)),
			.database_url = copy_and_free(a, config_database_url(&c)),
			.tls_cert_file = copy(a, c.tls_cert_file),
			.tls_key_file = copy(a, c.tls_key_file),
			.auth_key_file = copy(a, c.auth_key_file),
			.log_level = levels[min_size((size_t)c.log_level, COUNT_OF(levels) - 1)],
			.guardrails_enabled = c.guardrails_enabled,
			.history_enabled = c.history_enabled,
			.retention_us = c.history_retention_ms * 1000,
			.content_retention_us = c.history_content_retention_ms * 1000,
			.spool_max_bytes = c.spool_max_bytes,
			.connections = c.limits_connections,
		};
		copy_endpoints(a, &c, ret);
		(void)config_check(&c, &ret->problem); /* what it finds is the answer */
	}
	config_release(&c);
	return rc;
}

/* --- the environment --- */

static bool is_known(const char *name, size_t n)
{
	/* Of the clients and the scripts around the binary. */
	static const char *const others[] = {"URL", "API_KEY", "ACTOR", "CA_FILE", "BIN", "TEST_LIMIT"};
	char key[80];
	bool is_bool;

	for (size_t i = 0; i < COUNT_OF(others); i++) {
		if (n == strlen(others[i]) && !strncmp(name, others[i], n))
			return true;
	}
	if (n >= sizeof(key))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (islower((unsigned char)name[i]))
			return false;
		key[i] = (char)tolower((unsigned char)name[i]);
	}
	key[n] = 0;
	return config_has(key, &is_bool);
}

static const char *unknown_variable(size_t *at)
{
	static const char prefix[] = "MUSTER_";

	for (; environ[*at]; (*at)++) {
		const char *name = environ[*at] + sizeof(prefix) - 1;

		if (!strncmp(environ[*at], prefix, sizeof(prefix) - 1) && strncmp(name, "SECRET_", 7) != 0 &&
		    !is_known(name, strcspn(name, "=")))
			return environ[(*at)++];
	}
	return NULL;
}

/* --- what serving makes of the registry --- */

static int policy_compiles(struct arena *a, const struct json *document, struct err *err)
{
	struct guard_policy *compiled = NULL;
	struct policy policy;
	int rc = policy_parse(a, document, &policy, err);

	if (!rc)
		rc = guard_policy_compile(&policy, &compiled, err);
	guard_policy_free(compiled);
	return rc;
}

static int model_key(struct slice provider, const struct json *configuration, struct slice *ret_variable,
		     bool *ret_needed, struct err *err)
{
	struct model_config config;
	struct provider_target t;
	int rc = model_config_parse(configuration, &config, err);

	if (!rc)
		rc = provider_resolve(provider, &config, &t, err);
	if (rc)
		return rc;
	*ret_variable = config.api_key_file.n  ? SLICE_LIT("")
			: config.api_key_env.n ? config.api_key_env
					       : slice_from(t.api_key_env);
	*ret_needed = ret_variable->n && (config.api_key_env.n || t.auth == PROVIDER_AUTH_BEARER);
	return 0;
}

const struct check_host check_host = {settings, unknown_variable, policy_compiles, model_key};
