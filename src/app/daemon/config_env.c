/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sources around the file: environment and reload; and telling where a value came from.  A reload that changed a
 * key which only a restart can change would leave the daemon half one configuration and half another: it keeps the old
 * value and says so.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/daemon/config_internal.h"
#include "control/store/db.h"
#include "core/base/log.h"

#define ENV_NAME_SIZE 64

/* log.level -> MUSTER_LOG_LEVEL */
static char *env_name(const struct conf_key *k, char buf[ENV_NAME_SIZE])
{
	snprintf(buf, ENV_NAME_SIZE, "MUSTER_%s", k->name);
	for (char *p = buf; *p; p++) {
		if (*p == '.')
			*p = '_';
		else if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
	}
	return buf;
}

/* MUSTER_DATABASE_URL says it more directly and wins. */
static int load_postgres(struct config *c, char *const *env, struct err *err)
{
	struct config_origin origin = {.from = CONFIG_ENV, .variable = "POSTGRES_HOST"};
	int key = conf_find(SLICE_LIT("database.url")), rc;
	CLEANUP(buf_release) struct buf url = {0};

	if (c->origin[key].from >= CONFIG_ENV)
		return 0;
	buf_init(&url, CONFIG_MAX_VALUE_BYTES);
	rc = conf_postgres_url(env, &url, err);
	return rc == E_NOTFOUND ? 0 : rc ? rc : conf_assign(c, key, buf_slice(&url), origin, err);
}

int config_load_env(struct config *c, char *const *env, struct err *err)
{
	char name[ENV_NAME_SIZE];

	for (int i = 0; i < CONFIG_N_KEYS; i++) {
		size_t n = strlen(env_name(&config_keys[i], name));

		for (char *const *e = env; *e; e++) {
			int rc;

			if (strncmp(*e, name, n) != 0 || (*e)[n] != '=')
				continue;
			rc = conf_assign(c, i, slice_from(*e + n + 1), (struct config_origin){.from = CONFIG_ENV}, err);
			if (rc < 0) {
				(void)err_prefix(err, "%s", name);
				return rc;
			}
			break; /* the first of that name, as getenv(3) takes it */
		}
	}
	return load_postgres(c, env, err);
}

char *config_origin_text(const struct config *c, const char *key, char buf[CONFIG_ORIGIN_SIZE])
{
	int i = conf_find(slice_from(key));
	char name[ENV_NAME_SIZE];

	snprintf(buf, CONFIG_ORIGIN_SIZE, "default");
	if (i < 0)
		return buf;
	switch (c->origin[i].from) {
	case CONFIG_DEFAULT:
		break;
	case CONFIG_FILE:
		snprintf(buf, CONFIG_ORIGIN_SIZE, "from %.255s:%d", c->path, c->origin[i].line);
		break;
	case CONFIG_ENV:
		snprintf(buf, CONFIG_ORIGIN_SIZE, "from %s",
			 c->origin[i].variable ? c->origin[i].variable : env_name(&config_keys[i], name));
		break;
	case CONFIG_FLAG:
		snprintf(buf, CONFIG_ORIGIN_SIZE, "from --%s", config_keys[i].name);
		break;
	}
	return buf;
}

int config_reload(const struct config *old, const char *path, struct config *ret_new, struct config_notes *notes,
		  struct err *err)
{
	struct config fresh;
	int rc = 0;

	config_init(&fresh);
	notes->n = 0;
	if (path)
		rc = config_load_file(&fresh, path, err);
	for (int i = 0; i < CONFIG_N_KEYS; i++)
		if (old->origin[i].from > CONFIG_FILE)
			conf_copy(&fresh, old, i);
	if (rc == 0)
		rc = config_check(&fresh, err);
	if (rc < 0) {
		config_release(&fresh);
		return rc;
	}
	for (int i = 0; i < CONFIG_N_KEYS; i++) {
		struct config_origin origin = fresh.origin[i];

		if (config_keys[i].reload || conf_equal(&fresh, old, i))
			continue;
		notes->key[notes->n++] = config_keys[i].name;
		conf_copy(&fresh, old, i);
		fresh.origin[i] = origin; /* the line that asks for it now */
	}
	*ret_new = fresh;
	return 0;
}

static const char *type_word(const struct conf_key *k)
{
	switch (k->type) {
	case CONF_STR:
		return "text";
	case CONF_ADDR:
		return "address:port";
	case CONF_INT:
		return "whole number";
	case CONF_BOOL:
		return "true or false";
	case CONF_MSEC:
		return "duration (ms, s, m, h, d)";
	case CONF_BYTES:
		return "size (KiB, MiB, GiB)";
	case CONF_ENUM:
		return k->choices;
	case CONF_ENDPOINTS:
		return "use case: URL";
	case CONF_RECEIVERS:
		return "name: url, format, ...";
	}
	return "";
}

int config_dump_options(struct buf *out)
{
	char name[ENV_NAME_SIZE];

	(void)buf_adds(out,
		       "# Configuration\n\n"
		       "A flag (`--log.level debug`) wins over the environment (`MUSTER_LOG_LEVEL=debug`), which wins "
		       "over the\n"
		       "file (`muster serve --config muster.yaml`), which wins over the default. In the file a dot is "
		       "a level:\n\n"
		       "    listen: 127.0.0.1:8080\n"
		       "    log:\n"
		       "      level: debug\n"
		       "    fallback:\n"
		       "      endpoints:\n"
		       "        foundation_layer: http://localhost:8001/generate\n\n"
		       "As a flag or in the environment fallback.endpoints is `USE_CASE=URL,USE_CASE=URL`, and\n"
		       "alerts.receivers is `NAME=FORMAT:URL,NAME=FORMAT:@FILE`. SIGHUP reads the file\n"
		       "again and changes the keys marked `reload`, all of them or, when anything is wrong, none.\n"
		       "This page is what `muster serve --dump-options` prints.\n\n"
		       "PostgreSQL can be named in parts: with `POSTGRES_HOST` set, it and `POSTGRES_PORT`, "
		       "`POSTGRES_DB`, `POSTGRES_USER`,\n"
		       "`POSTGRES_PASSWORD` or `POSTGRES_PASSWORD_FILE`, `POSTGRES_SSLMODE` and "
		       "`POSTGRES_SSLROOTCERT` are database.url,\n"
		       "unless `MUSTER_DATABASE_URL` or a flag says another.\n");
	for (int i = 0; i < CONFIG_N_KEYS; i++) {
		const struct conf_key *k = &config_keys[i];

		(void)buf_printf(out, "\n## %s\n\n%s; ", k->name, type_word(k));
		if (*k->def)
			(void)buf_printf(out, "default `%s`; ", k->def);
		else
			(void)buf_adds(out, "default empty; ");
		(void)buf_printf(out, "`%s`; %s\n\n%s\n", env_name(k, name), k->reload ? "reload" : "restart", k->doc);
	}
	return buf_failed(out) ? E_TOOBIG : 0; /* the appends above share one failure */
}

static void dump_value(const struct config *c, const struct conf_key *k, struct buf *out)
{
	const void *field = (const char *)c + k->offset;
	struct slice rest, name = {0};
	char *shown;

	switch (k->type) {
	case CONF_STR:
	case CONF_ADDR:
		shown = *(char *const *)field;
		shown = strcmp(k->name, "database.url") ? strdup(shown) : db_url_shown(shown); /* no password */
		if (!shown)
			abort();
		(void)buf_printf(out, "\"%s\"", shown);
		free(shown);
		break;
	case CONF_BOOL:
		(void)buf_adds(out, *(const bool *)field ? "true" : "false");
		break;
	case CONF_INT:
		(void)buf_printf(out, "%" PRId64, *(const int64_t *)field);
		break;
	case CONF_MSEC:
		(void)buf_printf(out, "%" PRId64 "ms", *(const int64_t *)field);
		break;
	case CONF_BYTES:
		(void)buf_printf(out, "%" PRId64 "B", *(const int64_t *)field);
		break;
	case CONF_ENUM:
		rest = slice_from(k->choices);
		for (int64_t i = 0; i <= *(const int64_t *)field; i++)
			(void)slice_split(&rest, '|', &name); /* the value is an index into the list */
		(void)buf_add(out, name);
		break;
	case CONF_ENDPOINTS:
		(void)buf_printf(out, "%zu", c->fallback_endpoints.n);
		break;
	case CONF_RECEIVERS:
		(void)buf_printf(out, "%zu", c->alerts.receivers.n); /* their URLs are secrets */
		break;
	}
}

int config_dump_values(const struct config *c, struct buf *out)
{
	char origin[CONFIG_ORIGIN_SIZE];

	for (int i = 0; i < CONFIG_N_KEYS; i++) {
		(void)buf_printf(out, "%s: ", config_keys[i].name);
		dump_value(c, &config_keys[i], out);
		(void)buf_printf(out, "   (%s)\n", config_origin_text(c, config_keys[i].name, origin));
	}
	return buf_failed(out) ? E_TOOBIG : 0; /* the appends above share one failure */
}
