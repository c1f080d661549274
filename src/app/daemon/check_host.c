/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's knowledge that `muster check` asks for: read in the same order, by the same code, as a start does. */
#include "app/cli/check.h"

#include <ctype.h>
#include <stdlib.h>

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

static int load(struct config *c, const struct check_where *where, struct err *err)
{
	int rc = where->config_file ? config_load_file(c, where->config_file, err) : 0;

	if (!rc)
		rc = config_load_env(c, environ, err);
	if (!rc && where->data)
		rc = config_set(c, "data", where->data, err);
	if (!rc && where->database_url)
		rc = config_set(c, "database.url", where->database_url, err);
	return rc;
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
	struct config c;
	int rc;

	config_init(&c);
	rc = load(&c, where, err);
	if (!rc) {
		*ret = (struct check_settings){
			.source = where->config_file ? copy(a, where->config_file) : "defaults and environment",
			.chosen = where->config_file || is_chosen(&c, "data") || is_chosen(&c, "database.url"),
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

		if (!strncmp(environ[*at], prefix, sizeof(prefix) - 1) && !is_known(name, strcspn(name, "=")))
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
