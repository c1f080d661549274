/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSTGRES_HOST and its companions, as one URL.  Every part is percent-encoded, so that no character of a password can
 * move into a part of the URL that is shown to people.
 */
#include <stdio.h>

#include "app/daemon/config_internal.h"

static struct slice env_get(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (char *const *e = env; *e; e++) {
		if (!strncmp(*e, name, n) && (*e)[n] == '=')
			return slice_from(*e + n + 1);
	}
	return (struct slice){NULL, 0};
}

/* keep: characters that may stand as they are, beside letters and digits. */
static void add_encoded(struct buf *out, struct slice s, const char *keep)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			     (c && strchr(keep, c));

		if (plain)
			(void)buf_addc(out, c); /* a failure is found at the end, here and below */
		else
			(void)buf_printf(out, "%%%02X", (unsigned char)c);
	}
}

static void add_host(struct buf *out, struct slice host)
{
	bool is_v6 = slice_chr(host, ':') >= 0 && host.p[0] != '/' && host.p[0] != '[';

	(void)buf_adds(out, is_v6 ? "[" : "");
	add_encoded(out, host, is_v6 || host.p[0] == '[' ? ":[]." : ".-_,");
	(void)buf_adds(out, is_v6 ? "]" : "");
}

static void add_option(struct buf *out, const char *name, struct slice value)
{
	if (!value.n)
		return;
	(void)buf_printf(out, "%c%s=", memchr(out->p, '?', out->n) ? '&' : '?', name);
	add_encoded(out, value, ".-_/");
}

int conf_postgres_url(char *const *env, struct buf *out, struct err *err)
{
	struct slice host = env_get(env, "POSTGRES_HOST"), port = env_get(env, "POSTGRES_PORT"),
		     user = env_get(env, "POSTGRES_USER"), password = env_get(env, "POSTGRES_PASSWORD"),
		     file = env_get(env, "POSTGRES_PASSWORD_FILE");
	uint64_t number;

	if (!host.n)
		return E_NOTFOUND;
	if (port.n && (slice_to_u64(port, &number) || !number || number > 65535))
		return err_set(err, E_INVALID, "POSTGRES_PORT: '" SLICE_FMT "' is no port",
			       SLICE_ARG(slice_sub(port, 0, 80)));
	if (password.n && file.n)
		return err_set(err, E_INVALID, "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set: keep one");
	(void)buf_adds(out, "postgres://"); /* a failure is found at the end, here and below */
	add_encoded(out, user, ".-_");
	if (password.n) {
		(void)buf_addc(out, ':');
		add_encoded(out, password, ".-_");
	}
	(void)buf_adds(out, user.n || password.n ? "@" : "");
	add_host(out, host);
	if (port.n)
		(void)buf_printf(out, ":" SLICE_FMT, SLICE_ARG(port));
	(void)buf_addc(out, '/');
	add_encoded(out, env_get(env, "POSTGRES_DB"), ".-_");
	add_option(out, "password_file", file);
	add_option(out, "sslmode", env_get(env, "POSTGRES_SSLMODE"));
	add_option(out, "sslrootcert", env_get(env, "POSTGRES_SSLROOTCERT"));
	return buf_failed(out) ? err_set(err, E_TOOBIG, "the POSTGRES_ variables are too long") : 0;
}
