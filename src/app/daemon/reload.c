/* SPDX-License-Identifier: Apache-2.0 */
/* From the configuration to what the gateway reads; and SIGHUP: all or nothing. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/daemon/daemon.h"
#include "core/http/tls.h"

#define KEY_FILE_MAX ((size_t)256 * 1024)
#define KEYS_MAX 1000
#define KEY_LENGTH_MIN 16

static int read_file(const char *path, struct buf *out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	char *p;

	if (fd < 0)
		return err_set(err, E_IO, "auth.key_file %s cannot be read", path);
	do {
		p = buf_reserve(out, 4096);
		n = p ? read(fd, p, 4096) : -1;
		if (n > 0)
			out->n += (size_t)n;
	} while (n > 0);
	(void)close(fd); /* only read from */
	return n < 0 ? err_set(err, E_TOOBIG, "auth.key_file %s is longer than %zu bytes or cannot be read", path,
			       KEY_FILE_MAX)
		     : 0;
}

/* One key per line: "name:key", or the key alone; '#' begins a comment. */
static int parse_keys(struct slice text, struct gateway_key *keys, size_t *ret_n, struct err *err)
{
	struct slice line;
	size_t n = 0, at = 0;

	while (slice_split(&text, '\n', &line)) {
		ptrdiff_t colon;

		at++;
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		line = slice_trim(line);
		if (!line.n || line.p[0] == '#')
			continue;
		if (n == KEYS_MAX)
			return err_set(err, E_TOOBIG, "auth.key_file: more than %d keys", KEYS_MAX);
		colon = slice_chr(line, ':');
		keys[n].name = colon > 0 ? slice_sub(line, 0, (size_t)colon) : SLICE_LIT("key");
		keys[n].secret = colon > 0 ? slice_sub(line, (size_t)colon + 1, line.n) : line;
		if (keys[n].secret.n < KEY_LENGTH_MIN)
			return err_set(err, E_INVALID, "auth.key_file, line %zu: a key needs at least %d characters",
				       at, KEY_LENGTH_MIN);
		n++;
	}
	*ret_n = n;
	return n ? 0 : err_set(err, E_INVALID, "auth.key_file holds no key: write one per line, NAME:KEY");
}

static int make_with_keys(const struct config *c, struct gateway_settings_source *src, struct gateway_settings **ret,
			  struct err *err)
{
	struct gateway_key keys[KEYS_MAX];
	struct buf text;
	int rc;

	if (!c->auth_key_file[0])
		return gateway_settings_new(src, ret, err);
	buf_init(&text, KEY_FILE_MAX);
	rc = read_file(c->auth_key_file, &text, err);
	if (!rc)
		rc = parse_keys(buf_slice(&text), keys, &src->n_keys, err);
	src->keys = keys;
	if (!rc)
		rc = gateway_settings_new(src, ret, err);
	src->keys = NULL;
	if (text.n)
		explicit_bzero(text.p, text.n);
	buf_release(&text);
	return rc;
}

int daemon_make_settings(struct daemon *d, const struct config *c, struct gateway_settings **ret, struct err *err)
{
	struct gateway_endpoint endpoints[CONFIG_MAX_ENDPOINTS];
	struct gateway_settings_source src = {
		.timeouts = {c->timeouts_connect_ms, c->timeouts_first_byte_ms, c->timeouts_between_ms,
			     c->timeouts_total_ms},
		.fallback_content = slice_from(c->fallback_content),
		.endpoints = endpoints,
		.guardrails = c->guardrails_enabled,
		.history = c->history_enabled,
		.tls = d->client_tls,
		.asks_for_keys = config_open_address(c) != NULL,
		.max_exchanges = c->limits_exchanges,
		.idempotency_window_ms = c->limits_idempotency_window_ms,
	};

	for (size_t i = 0; i < c->fallback_endpoints.n && i < CONFIG_MAX_ENDPOINTS; i++)
		endpoints[src.n_endpoints++] =
			(struct gateway_endpoint){slice_from(c->fallback_endpoints.item[i].use_case),
						  slice_from(c->fallback_endpoints.item[i].url)};
	return make_with_keys(c, &src, ret, err);
}

static size_t count_keys(struct daemon *d)
{
	struct snapshot *s = registry_snapshot(d->registry);
	size_t n = s ? s->n_keys : 0;

	snapshot_unref(s);
	return n;
}

int daemon_check_keys(struct daemon *d, const struct config *c, struct err *err)
{
	const char *address = config_open_address(c);
	char problem[200];

	if (!address || *c->auth_key_file || count_keys(d))
		return 0;
	registry_problem(d->registry, problem, sizeof(problem));
	if (problem[0])
		return err_set(
			err, E_DENIED,
			"refusing to listen on %.100s without keys: none can be read from the database (%s); set "
			"auth.key_file, or listen on 127.0.0.1",
			address, problem);
	return err_set(
		err, E_DENIED,
		"refusing to listen on %.100s without keys: anyone could call your models; make one with: "
		"muster key create --name ops --role admin%s%.100s --data %.100s --why ... (or set auth.key_file, "
		"or listen on 127.0.0.1)",
		address, d->config_path ? " --config " : "", d->config_path ? d->config_path : "", c->data);
}

static void refresh(void *arg)
{
	struct daemon *d = arg;
	struct err err = {0};

	/* Keys of upstreams are read again with it. */
	if (registry_refresh(d->registry, &err))
		log_warn(&d->log, "reload: the registry could not be read again: %s", err.text);
}

static void refreshed(void *arg)
{
	struct daemon *d = arg;

	d->n_calls--;
	daemon_drained_check(d);
}

static void mend(void *arg)
{
	struct daemon *d = arg;
	struct err err = {0};

	if (!registry_refresh(d->registry, &err)) /* else /health says why not */
		log_info(&d->log, "the registry is read from the database again");
}

static void save(void *arg)
{
	struct daemon *d = arg;

	registry_save(d->registry);
}

static void mended(void *arg)
{
	struct daemon *d = arg;

	d->mending = false;
	refreshed(d);
}

void daemon_mend(struct daemon *d)
{
	char problem[200];

	registry_problem(d->registry, problem, sizeof(problem));
	if (d->mending || d->stopping || !(problem[0] || registry_is_unsaved(d->registry)))
		return;
	d->mending = true;
	d->n_calls++;
	job_submit(d->control, problem[0] ? mend : save, mended, d);
}

/* The same files may hold another certificate now. */
static int read_certificate(const struct config *c, struct tls_context **ret, struct err *err)
{
	return c->tls_cert_file[0] ? tls_server_new(c->tls_cert_file, c->tls_key_file, ret, err) : 0;
}

void daemon_reload(struct daemon *d)
{
	struct gateway_settings *settings = NULL, *old = d->settings;
	struct config_notes notes = {0};
	struct tls_context *tls = NULL;
	struct config fresh;
	struct err err = {0};

	if (config_reload(&d->config, d->config_path, &fresh, &notes, &err)) {
		log_error(&d->log, "reload refused, everything stays as it was: %s", err.text);
		return;
	}
	if (daemon_check_keys(d, &fresh, &err) || daemon_make_settings(d, &fresh, &settings, &err) ||
	    read_certificate(&fresh, &tls, &err) || daemon_check_alerts(d, &fresh, &err)) {
		log_error(&d->log, "reload refused, everything stays as it was: %s", err.text);
		gateway_settings_unref(settings);
		tls_context_free(tls);
		config_release(&fresh);
		return;
	}
	config_release(&d->config);
	d->config = fresh;
	pthread_mutex_lock(&d->settings_lock);
	d->settings = settings;
	pthread_mutex_unlock(&d->settings_lock);
	log_setup((enum log_level)fresh.log_level, fresh.log_format == CONFIG_LOG_JSON);
	daemon_set_retention(d);
	daemon_publish_settings(d, settings, tls);
	daemon_configure_alerts(d);
	tls_context_free(tls);
	gateway_settings_unref(old);
	for (size_t i = 0; i < notes.n; i++)
		log_warn(&d->log, "reload: %s has changed, but needs a restart", notes.key[i]);
	d->n_calls++;
	job_submit(d->control, refresh, refreshed, d);
	log_info(&d->log, "reloaded");
}
