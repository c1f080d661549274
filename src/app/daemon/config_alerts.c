/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alerts.receivers: names with a few keys each, from the file, or in short form from a flag or the environment.  URLs
 * are secrets (who has a Slack webhook's can write there): no error repeats one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/daemon/config_internal.h"
#include "control/alerts/format.h"
#include "core/base/utf8.h"
#include "core/http/url.h"

#define KEYS "url, url_file, url_env, format, min_severity, authorization_file, signing_key_file"

static char *empty(void)
{
	return slice_dup(SLICE_LIT(""));
}

static void wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

static bool is_name(struct slice name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
		      c == '-'))
			return false;
	}
	return name.n > 0 && name.n <= 64;
}

int conf_receiver_add(struct config_receivers *r, struct slice name, struct err *err)
{
	struct config_receiver *item;

	if (!is_name(name))
		return err_set(err, E_INVALID, "a receiver's name is 1 to 64 letters, digits, _ or -");
	if (r->n >= CONFIG_MAX_RECEIVERS)
		return err_set(err, E_TOOBIG, "more than %d receivers", CONFIG_MAX_RECEIVERS);
	for (size_t i = 0; i < r->n; i++)
		if (slice_eq_str(name, r->item[i].name))
			return err_set(err, E_INVALID, "'" SLICE_FMT "' is there twice", SLICE_ARG(name));
	item = realloc(r->item, (r->n + 1) * sizeof(*item));
	if (!item)
		abort();
	item[r->n++] = (struct config_receiver){.name = slice_dup(name),
						.url = empty(),
						.url_file = empty(),
						.url_env = empty(),
						.authorization_file = empty(),
						.signing_key_file = empty(),
						.min_severity = ALERT_INFO};
	r->item = item;
	return 0;
}

static int set_format(struct config_receiver *r, struct slice value, struct err *err)
{
	for (int i = 0; i < ALERT_N_FORMATS; i++) {
		if (slice_eq_str(value, alert_format_name((enum alert_format)i))) {
			r->format = i;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "format is json, slack or alertmanager");
}

static int set_severity(struct config_receiver *r, struct slice value, struct err *err)
{
	static const char *const names[] = {"info", "warning", "critical"};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		if (slice_eq_str(value, names[i])) {
			r->min_severity = (int64_t)i;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "min_severity is info, warning or critical");
}

int conf_receiver_set(struct config_receiver *r, struct slice key, struct slice value, struct err *err)
{
	const struct {
		const char *name;
		char **field;
	} texts[] = {{"url", &r->url},
		     {"url_file", &r->url_file},
		     {"url_env", &r->url_env},
		     {"authorization_file", &r->authorization_file},
		     {"signing_key_file", &r->signing_key_file}};

	if (value.n > CONFIG_MAX_VALUE_BYTES || (value.n && memchr(value.p, '\0', value.n)) || !utf8_valid(value))
		return err_set(err, E_INVALID, "a value is too long, holds a NUL byte or is not UTF-8");
	if (slice_eq_str(key, "format"))
		return set_format(r, value, err);
	if (slice_eq_str(key, "min_severity"))
		return set_severity(r, value, err);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		if (!slice_eq_str(key, texts[i].name))
			continue;
		if (**texts[i].field)
			return err_set(err, E_INVALID, "%s is there twice", texts[i].name);
		free(*texts[i].field);
		*texts[i].field = slice_dup(value);
		return 0;
	}
	return err_set(err, E_INVALID, "there is no key of that name: there are " KEYS);
}

/* NAME=FORMAT:URL or NAME=FORMAT:@FILE */
static int add_short(struct config_receivers *r, struct slice item, struct err *err)
{
	struct slice name, format;
	int rc;

	if (slice_chr(item, '=') <= 0 || slice_chr(item, ':') <= slice_chr(item, '='))
		return err_set(err, E_INVALID, "NAME=FORMAT:URL or NAME=FORMAT:@FILE is wanted");
	(void)slice_split(&item, '=', &name); /* there is one: found above */
	(void)slice_split(&item, ':', &format);
	rc = conf_receiver_add(r, slice_trim(name), err);
	if (!rc)
		rc = conf_receiver_set(&r->item[r->n - 1], SLICE_LIT("format"), slice_trim(format), err);
	if (rc)
		return rc;
	if (slice_starts(item, SLICE_LIT("@")))
		return conf_receiver_set(&r->item[r->n - 1], SLICE_LIT("url_file"), slice_sub(item, 1, item.n), err);
	return conf_receiver_set(&r->item[r->n - 1], SLICE_LIT("url"), item, err);
}

int conf_receivers_parse(struct config_receivers *field, struct slice value, struct err *err)
{
	struct config_receivers parsed = {0};
	struct slice item;
	int rc = 0;

	while (!rc && value.n && slice_split(&value, ',', &item))
		rc = add_short(&parsed, slice_trim(item), err);
	if (!rc)
		conf_receivers_copy(field, &parsed);
	conf_receivers_release(&parsed);
	return rc;
}

void conf_receivers_copy(struct config_receivers *to, const struct config_receivers *from)
{
	struct config_receivers copy = {0};

	if (from->n) {
		copy.item = calloc(from->n, sizeof(*copy.item));
		if (!copy.item)
			abort();
	}
	for (copy.n = 0; copy.n < from->n; copy.n++) {
		const struct config_receiver *f = &from->item[copy.n];

		copy.item[copy.n] =
			(struct config_receiver){.name = slice_dup(slice_from(f->name)),
						 .url = slice_dup(slice_from(f->url)),
						 .url_file = slice_dup(slice_from(f->url_file)),
						 .url_env = slice_dup(slice_from(f->url_env)),
						 .authorization_file = slice_dup(slice_from(f->authorization_file)),
						 .signing_key_file = slice_dup(slice_from(f->signing_key_file)),
						 .format = f->format,
						 .min_severity = f->min_severity};
	}
	conf_receivers_release(to);
	*to = copy;
}

bool conf_receivers_equal(const struct config_receivers *a, const struct config_receivers *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct config_receiver *x = &a->item[i], *y = &b->item[i];

		if (strcmp(x->name, y->name) != 0 || strcmp(x->url, y->url) != 0 ||
		    strcmp(x->url_file, y->url_file) != 0 || strcmp(x->url_env, y->url_env) != 0 ||
		    strcmp(x->authorization_file, y->authorization_file) != 0 ||
		    strcmp(x->signing_key_file, y->signing_key_file) != 0 || x->format != y->format ||
		    x->min_severity != y->min_severity)
			return false;
	}
	return true;
}

void conf_receivers_release(struct config_receivers *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->item[i].name);
		wipe(r->item[i].url);
		free(r->item[i].url_file);
		free(r->item[i].url_env);
		free(r->item[i].authorization_file);
		free(r->item[i].signing_key_file);
	}
	free(r->item);
	*r = (struct config_receivers){0};
}

/* --- checks --- */

static int check_readable(const struct config_receiver *r, const char *key, const char *path, struct err *err)
{
	int fd = *path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (*path && fd < 0)
		return err_set(err, E_INVALID, "alerts.receivers.%s.%s: cannot read %.300s: %s", r->name, key, path,
			       strerror(errno));
	if (fd >= 0)
		close(fd);
	return 0;
}

static int check_receiver(const struct config_receiver *r, struct err *err)
{
	int n = !!*r->url + !!*r->url_file + !!*r->url_env, rc;
	struct url url;

	if (n != 1)
		return err_set(err, E_INVALID, "alerts.receivers.%s: set one of url, url_file and url_env", r->name);
	if (*r->url && url_parse(slice_from(r->url), &url, NULL))
		return err_set(err, E_INVALID, "alerts.receivers.%s.url is no http:// or https:// URL", r->name);
	if ((rc = check_readable(r, "url_file", r->url_file, err)) ||
	    (rc = check_readable(r, "authorization_file", r->authorization_file, err)))
		return rc;
	return check_readable(r, "signing_key_file", r->signing_key_file, err);
}

int conf_receivers_check(const struct config *c, struct err *err)
{
	for (size_t i = 0; i < c->alerts.receivers.n; i++) {
		int rc = check_receiver(&c->alerts.receivers.item[i], err);

		if (rc)
			return rc;
	}
	return 0;
}
