/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a URL to a connection.  Options of ours are taken out of the URL, the rest is libpq's: hosts, sslmode,
 * sslrootcert, target_session_attrs, ...  No sentence that libpq says about a URL is passed on, since it may quote a
 * password from it.
 */
#include "control/store/postgres_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"

#define PASSWORD_MAX 1024
#define HOW_TO_SAY "say postgres://USER@HOST:PORT/DATABASE, each part percent-encoded"

char *pg_one_line(const char *s, char *buf, size_t size)
{
	size_t n = 0;

	for (; *s && n + 1 < size; s++) {
		bool is_space = *s == '\n' || *s == '\t' || *s == ' ' || *s == '\r';

		if (!is_space)
			buf[n++] = *s;
		else if (n && buf[n - 1] != ' ')
			buf[n++] = ' ';
	}
	while (n && buf[n - 1] == ' ')
		n--;
	buf[n] = '\0';
	return buf;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int percent_decode(struct slice s, char **ret)
{
	char *out = malloc(s.n + 1);
	size_t n = 0;

	if (!out)
		abort();
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '%') {
			out[n++] = s.p[i];
			continue;
		}
		if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0) {
			free(out);
			return E_INVALID;
		}
		out[n++] = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
		i += 2;
	}
	out[n] = '\0';
	*ret = out;
	return 0;
}

static int take_choice(const struct pg_target *t, const char *name, struct slice v, enum pg_choice *ret,
		       struct err *err)
{
	if (!slice_eq_str(v, "auto") && !slice_eq_str(v, "on") && !slice_eq_str(v, "off"))
		return err_set(err, E_INVALID, "%s: %s is auto, on or off", t->shown, name);
	*ret = slice_eq_str(v, "on") ? PG_ON : slice_eq_str(v, "off") ? PG_OFF : PG_AUTO;
	return 0;
}

/* One "name=value" of the query: ours, or appended for libpq. */
static int take_option(struct pg_target *t, struct slice option, struct buf *rest, struct err *err)
{
	if (slice_starts(option, SLICE_LIT("prepare=")))
		return take_choice(t, "prepare", slice_sub(option, 8, option.n), &t->prepare, err);
	if (slice_starts(option, SLICE_LIT("listen=")))
		return take_choice(t, "listen", slice_sub(option, 7, option.n), &t->listen, err);
	if (slice_starts(option, SLICE_LIT("password_file="))) {
		free(t->password_file);
		t->password_file = NULL;
		if (percent_decode(slice_sub(option, 14, option.n), &t->password_file))
			return err_set(err, E_INVALID, "%s: password_file is not percent-encoded well", t->shown);
		return 0;
	}
	(void)buf_addc(rest, memchr(rest->p, '?', rest->n) ? '&' : '?'); /* a failure is found at the end */
	(void)buf_add(rest, option);
	return 0;
}

static const char *option_value(const struct pg_target *t, const char *name)
{
	for (const PQconninfoOption *o = t->options; o && o->keyword; o++) {
		if (!strcmp(o->keyword, name))
			return o->val;
	}
	return NULL;
}

static bool is_ssl_mode(const char *s)
{
	static const char *const modes[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};

	for (size_t i = 0; i < COUNT_OF(modes); i++) {
		if (!strcmp(s, modes[i]))
			return true;
	}
	return false;
}

/* A slash in a password ends the part of the URL where passwords stand: what follows would be shown to everybody. */
static int check(const struct pg_target *t, const char *where, struct err *err)
{
	size_t n = strcspn(where, "?");
	const char *slash = memchr(where + 2, '/', n - 2), *at = memrchr(where, '@', n);
	const char *port = option_value(t, "port"), *mode = option_value(t, "sslmode");

	if (slash && at && at > slash)
		return err_set(err, E_INVALID, "the URL of the database has an @ behind a /: " HOW_TO_SAY);
	if (mode && !is_ssl_mode(mode))
		return err_set(err, E_INVALID,
			       "%s: sslmode is disable, allow, prefer, require, verify-ca or verify-full", t->shown);
	if (port && port[strspn(port, "0123456789,")])
		return err_set(err, E_INVALID, "the URL of the database has a port that is no number: " HOW_TO_SAY);
	return 0;
}

int pg_target_parse(const char *where, struct pg_target *ret, struct err *err)
{
	CLEANUP(buf_release) struct buf url = {0};
	struct pg_target t = {.shown = NULL};
	struct slice query = {0}, option;
	int rc = 0;

	if (strncmp(where, "//", 2) != 0)
		return err_set(err, E_INVALID, "postgres: names no server: " HOW_TO_SAY);
	buf_init(&url, 16384);
	(void)buf_printf(&url, "postgres:%s", where); /* a failure is found at the end */
	if (!buf_failed(&url))
		t.shown = db_url_shown(buf_cstr(&url));
	url.n = strcspn(buf_cstr(&url), "?");
	if (where[strcspn(where, "?")])
		query = slice_from(where + strcspn(where, "?") + 1);
	while (!rc && t.shown && slice_split(&query, '&', &option))
		rc = option.n ? take_option(&t, option, &url, err) : 0;
	if (!rc && buf_failed(&url))
		rc = err_set(err, E_TOOBIG, "the URL of the database is too long");
	if (!rc)
		rc = libpq_load(err);
	if (!rc && !(t.options = PQconninfoParse(buf_cstr(&url), NULL)))
		rc = err_set(err, E_INVALID,
			     "%s: this URL, or an option of it, is not one that libpq knows; " HOW_TO_SAY, t.shown);
	if (!rc)
		rc = check(&t, where, err);
	if (rc)
		pg_target_release(&t);
	else
		*ret = t;
	return rc;
}

void pg_target_release(struct pg_target *t)
{
	PQconninfoFree(t->options);
	free(t->password_file);
	free(t->shown);
	*t = (struct pg_target){.shown = NULL};
}

static int read_password(const struct pg_target *t, char buf[PASSWORD_MAX], struct err *err)
{
	int fd = open(t->password_file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, PASSWORD_MAX - 1);
	int failure = errno;

	if (fd >= 0)
		(void)close(fd); /* only read from */
	if (n < 0)
		return err_set(err, E_UNAVAILABLE, "cannot read the password of the database from %s: %s",
			       t->password_file, strerror(failure));
	buf[n] = '\0';
	buf[strcspn(buf, "\r\n")] = '\0';
	return 0;
}

/* What we want unless the URL says otherwise.  A dead peer is noticed within a minute, a silent one by our own wait. */
static const char *const defaults[][2] = {
	{"connect_timeout", PG_CONNECT_TIMEOUT_S},
	{"application_name", "muster"},
	{"client_encoding", "UTF8"},
	{"keepalives_idle", "30"},
	{"keepalives_interval", "10"},
	{"keepalives_count", "3"},
	{"tcp_user_timeout", "20000"},
};

#define KEYWORDS_MAX 80
#define SILENT_MS 2000 /* to connect: what is refused takes no time */

static PGconn *connect_with(const struct pg_target *t, const char *password)
{
	const char *keywords[KEYWORDS_MAX + 1], *values[KEYWORDS_MAX + 1];
	size_t n = 0;

	for (const PQconninfoOption *o = t->options; o->keyword && n < KEYWORDS_MAX - COUNT_OF(defaults) - 2; o++) {
		if (!o->val)
			continue;
		keywords[n] = o->keyword;
		values[n++] = o->val;
	}
	for (size_t i = 0; i < COUNT_OF(defaults); i++) {
		if (option_value(t, defaults[i][0]))
			continue;
		keywords[n] = defaults[i][0];
		values[n++] = defaults[i][1];
	}
	if (password) {
		keywords[n] = "password";
		values[n++] = password;
	}
	if (db_is_hurried()) { /* the last word counts */
		keywords[n] = "connect_timeout";
		values[n++] = PG_HURRIED_CONNECT_S;
	}
	keywords[n] = values[n] = NULL;
	return PQconnectdbParams(keywords, values, 0);
}

static void ignore_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

/* "connection to server at ..., port 5443 failed: FATAL: ..." says again what the URL says, unless there are several.
 */
static const char *reason_of(const char *text)
{
	const char *reason = strncmp(text, "connection to server", 20) ? NULL : strstr(text, " failed: ");

	return reason && !strstr(reason + 1, " failed: ") ? reason + 9 : text;
}

int pg_target_connect(const struct pg_target *t, PGconn **ret, struct err *err)
{
	char password[PASSWORD_MAX], text[400];
	int64_t began_ms;
	const char *encoding;
	PGconn *conn;

	if (db_gave_up())
		return err_set(err, E_UNAVAILABLE, "the database %s is away: it does not answer", t->shown);
	if (t->password_file && read_password(t, password, err))
		return E_UNAVAILABLE;
	began_ms = clock_mono_ms();
	conn = connect_with(t, t->password_file ? password : NULL);
	if (!conn)
		abort();
	(void)PQsetNoticeProcessor(conn, ignore_notice, NULL); /* the default writes to stderr */
	encoding = PQparameterStatus(conn, "server_encoding");
	if (PQstatus(conn) != CONNECTION_OK) {
		if (clock_mono_ms() - began_ms > SILENT_MS)
			db_waited_in_vain();
		(void)err_set(err, E_UNAVAILABLE, "cannot reach the database %s: %s", t->shown,
			      reason_of(pg_one_line(PQerrorMessage(conn), text, sizeof(text))));
	} else if (encoding && strcmp(encoding, "UTF8") != 0) {
		(void)err_set(err, E_UNAVAILABLE,
			      "the database %s has the encoding %s: make it anew with encoding 'UTF8'", t->shown,
			      encoding);
	} else if (PQsetnonblocking(conn, 1)) {
		(void)err_set(err, E_UNAVAILABLE, "cannot talk to the database %s", t->shown);
	} else {
		*ret = conn;
		return 0;
	}
	PQfinish(conn);
	return E_UNAVAILABLE;
}
