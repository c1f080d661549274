/* SPDX-License-Identifier: Apache-2.0 */
/* What no single key can know: that pairs are complete, that addresses and URLs can be used. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/daemon/config_internal.h"
#include "core/http/url.h"
#include "domain/model.h"

#define RETENTION_LEAST_MS INT64_C(3600000)

/* Puts "listen (from muster.yaml:3): " in front. */
static int blame(const struct config *c, const char *key, int rc, struct err *err)
{
	char origin[CONFIG_ORIGIN_SIZE];

	if (rc < 0)
		(void)err_prefix(err, "%s (%s)", key, config_origin_text(c, key, origin));
	return rc;
}

static int check_listen(const struct config *c, const char *key, const char *address, struct err *err)
{
	struct slice host;
	uint16_t port;
	int rc;

	rc = addr_parse(slice_from(address), &host, &port, err);
	return rc < 0 ? blame(c, key, rc, err) : 0;
}

static int check_file(const struct config *c, const char *key, const char *path, struct err *err)
{
	int fd;

	if (!*path)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return blame(c, key, err_set(err, E_INVALID, "cannot read %.300s: %s", path, strerror(errno)), err);
	close(fd);
	return 0;
}

static int check_files(const struct config *c, struct err *err)
{
	const struct {
		const char *key, *path;
	} files[] = {
		{"tls.ca_file", c->tls_ca_file},
		{"tls.cert_file", c->tls_cert_file},
		{"tls.key_file", c->tls_key_file},
		{"auth.key_file", c->auth_key_file},
	};

	if (*c->tls_cert_file && !*c->tls_key_file)
		return err_set(err, E_INVALID, "tls.cert_file is set, but tls.key_file is not: set both, or neither");
	if (*c->tls_key_file && !*c->tls_cert_file)
		return err_set(err, E_INVALID, "tls.key_file is set, but tls.cert_file is not: set both, or neither");
	for (size_t i = 0; i < COUNT_OF(files); i++) {
		int rc = check_file(c, files[i].key, files[i].path, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_endpoints(const struct config *c, struct err *err)
{
	for (size_t i = 0; i < c->fallback_endpoints.n; i++) {
		const struct config_endpoint *e = &c->fallback_endpoints.item[i];
		struct url url;
		int rc;

		rc = use_case_check(slice_from(e->use_case), err);
		if (rc == 0)
			rc = url_parse(slice_from(e->url), &url, err);
		if (rc < 0)
			return blame(c, "fallback.endpoints", rc, err);
	}
	return 0;
}

/* "30m" may be meant as months, and would empty the log. */
static int check_retention(const struct config *c, struct err *err)
{
	const struct {
		const char *key;
		int64_t ms;
	} each[] = {{"history.retention", c->history_retention_ms},
		    {"history.content_retention", c->history_content_retention_ms}};

	for (size_t i = 0; i < COUNT_OF(each); i++) {
		if (each[i].ms && each[i].ms < RETENTION_LEAST_MS)
			return blame(c, each[i].key,
				     err_set(err, E_INVALID,
					     "it is less than an hour: say how many hours or days, as in 30d"),
				     err);
	}
	if (c->history_retention_ms && c->history_content_retention_ms > c->history_retention_ms)
		return blame(c, "history.content_retention",
			     err_set(err, E_INVALID,
				     "texts cannot be kept for longer than their record (history.retention): make it "
				     "smaller, or 0"),
			     err);
	return 0;
}

int config_check(const struct config *c, struct err *err)
{
	int rc;

	rc = check_listen(c, "listen", c->listen, err);
	if (rc == 0 && *c->control_listen)
		rc = check_listen(c, "control_listen", c->control_listen, err);
	if (rc == 0 && strcmp(c->listen, c->control_listen) == 0 && !slice_ends(slice_from(c->listen), SLICE_LIT(":0")))
		rc = err_set(err, E_INVALID,
			     "listen and control_listen are both %.200s: leave control_listen empty, or give it its "
			     "own port",
			     c->listen);
	if (rc == 0 && !*c->data)
		rc = err_set(err, E_INVALID, "data is empty: name the directory where Muster may keep its files");
	if (rc == 0)
		rc = check_retention(c, err);
	if (rc == 0)
		rc = check_files(c, err);
	if (rc == 0)
		rc = check_endpoints(c, err);
	if (rc == 0)
		rc = conf_receivers_check(c, err);
	if (rc == 0 && c->alerts.performance_baseline_ms > 24 * c->alerts.performance_window_ms)
		rc = err_set(err, E_INVALID,
			     "alerts.performance_degraded.baseline is more than 24 times alerts.performance_degraded"
			     ".window: make the window longer");
	return rc;
}

static bool is_open(const char *address)
{
	struct slice host;
	uint16_t port;

	return *address && (addr_parse(slice_from(address), &host, &port, NULL) || !addr_is_loopback(host));
}

const char *config_open_address(const struct config *c)
{
	return is_open(c->listen) ? c->listen : is_open(c->control_listen) ? c->control_listen : NULL;
}

static char *below_data(const struct config *c, const char *prefix, const char *name)
{
	char *s = NULL;

	if (asprintf(&s, "%s%s/%s", prefix, c->data, name) < 0)
		abort();
	return s;
}

char *config_spool_directory(const struct config *c)
{
	return *c->spool_directory ? slice_dup(slice_from(c->spool_directory)) : below_data(c, "", "spool");
}

char *config_database_url(const struct config *c)
{
	return *c->database_url ? slice_dup(slice_from(c->database_url)) : below_data(c, "sqlite:", "muster.db");
}
