/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs and addresses as people write them in configurations, and the percent-encoding of request targets.
 * What would break it: quoting in an error a URL that carries a password, or letting a byte through that would split
 * the request line or the Host that is made from it.
 */
#include "core/http/url.h"

#include <arpa/inet.h>

enum { MAX_HOST_BYTES = 255 };
static const struct slice absent = {NULL, 0};

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_host_name(struct slice host)
{
	if (host.n == 0 || host.n > MAX_HOST_BYTES)
		return false;
	for (size_t i = 0; i < host.n; i++) {
		if (!is_alnum(host.p[i]) && host.p[i] != '.' && host.p[i] != '-' && host.p[i] != '_')
			return false;
	}
	return true;
}

/* The binary form of an IP address; family is AF_INET or AF_INET6. */
static bool is_ip(int family, struct slice host, void *ret)
{
	char text[INET6_ADDRSTRLEN];

	if (host.n == 0 || host.n >= sizeof(text) || memchr(host.p, '\0', host.n))
		return false;
	memcpy(text, host.p, host.n);
	text[host.n] = '\0';
	return inet_pton(family, text, ret) == 1;
}

static int parse_port(struct slice s, uint64_t min, uint16_t *ret_port)
{
	uint64_t port;

	if (s.n > 5 || slice_to_u64(s, &port) < 0 || port < min || port > UINT16_MAX)
		return E_INVALID;
	*ret_port = (uint16_t)port;
	return 0;
}

/* "host", "host:port", "[v6]", "[v6]:port" into its parts; *ret_port is absent when there is no colon for it. */
static bool split_authority(struct slice s, struct slice *ret_host, struct slice *ret_port)
{
	ptrdiff_t at;

	*ret_port = absent;
	if (s.n > 0 && s.p[0] == '[') {
		struct in6_addr ip;

		at = slice_chr(s, ']');
		if (at < 0)
			return false;
		*ret_host = slice_sub(s, 1, (size_t)at - 1);
		s = slice_sub(s, (size_t)at + 1, s.n);
		if (s.n > 0 && s.p[0] != ':')
			return false;
		if (s.n > 0)
			*ret_port = slice_sub(s, 1, s.n);
		return is_ip(AF_INET6, *ret_host, &ip);
	}
	at = slice_chr(s, ':');
	*ret_host = at < 0 ? s : slice_sub(s, 0, (size_t)at);
	if (at >= 0)
		*ret_port = slice_sub(s, (size_t)at + 1, s.n);
	return true;
}

static bool take_scheme(struct slice *s, bool *ret_tls)
{
	static const struct slice schemes[] = {{"http://", 7}, {"https://", 8}};

	for (size_t i = 0; i < COUNT_OF(schemes); i++) {
		if (slice_eq_nocase(slice_sub(*s, 0, schemes[i].n), schemes[i])) {
			*s = slice_sub(*s, schemes[i].n, s->n);
			*ret_tls = i == 1;
			return true;
		}
	}
	return false;
}

static size_t authority_length(struct slice s)
{
	size_t n = 0;

	while (n < s.n && s.p[n] != '/' && s.p[n] != '?' && s.p[n] != '#')
		n++;
	return n;
}

static int check_path(struct slice all, struct slice path, struct err *err)
{
	if (path.n > 0 && path.p[0] != '/')
		return err_set(err, E_INVALID, "the URL '" SLICE_FMT "' needs a '/' after its host", SLICE_ARG(all));
	for (size_t i = 0; i < path.n; i++) {
		if (path.p[i] == '#')
			return err_set(err, E_INVALID, "the URL '" SLICE_FMT "' must have no fragment ('#')",
				       SLICE_ARG(all));
	}
	return 0;
}

static bool is_visible(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
			return false;
	}
	return true;
}

int url_parse(struct slice s, struct url *ret, struct err *err)
{
	struct slice rest = s, port;
	struct url u;
	int rc;

	if (!is_visible(s))
		return err_set(err, E_INVALID, "a URL holds a space, a control byte or a byte that is not ASCII");
	if (!take_scheme(&rest, &u.tls))
		return err_set(err, E_INVALID, "the URL '" SLICE_FMT "' does not begin with http:// or https://",
			       slice_chr(s, '@') < 0 ? (int)min_size(s.n, 200) : 0, s.p);
	u.authority = slice_sub(rest, 0, authority_length(rest));
	u.path = slice_sub(rest, u.authority.n, rest.n);
	if (slice_chr(u.authority, '@') >= 0)
		return err_set(err, E_INVALID,
			       "a URL must not hold user information ('user:password@'); give the key apart");
	s = slice_sub(s, 0, min_size(s.n, 200));
	rc = check_path(s, u.path, err);
	if (rc < 0)
		return rc;
	if (!split_authority(u.authority, &u.host, &port) ||
	    (!slice_starts(u.authority, SLICE_LIT("[")) && !is_host_name(u.host)))
		return err_set(err, E_INVALID, "the URL '" SLICE_FMT "' has no valid host", SLICE_ARG(s));
	u.port = u.tls ? 443 : 80;
	if (port.p && parse_port(port, 1, &u.port) < 0)
		return err_set(err, E_INVALID,
			       "the URL '" SLICE_FMT "' has a port that is not a number from 1 to 65535", SLICE_ARG(s));
	*ret = u;
	return 0;
}

int addr_parse(struct slice s, struct slice *ret_host, uint16_t *ret_port, struct err *err)
{
	struct slice quoted = slice_sub(s, 0, 200), host, port_text;
	uint16_t port;

	if (!is_visible(s) || !split_authority(s, &host, &port_text) || !port_text.p)
		return err_set(err, E_INVALID,
			       "the address '" SLICE_FMT "' is not host:port, such as 127.0.0.1:8080 or [::1]:8080",
			       SLICE_ARG(quoted));
	if (host.n > 0 && s.p[0] != '[' && !is_host_name(host))
		return err_set(err, E_INVALID, "the address '" SLICE_FMT "' has no valid host", SLICE_ARG(quoted));
	if (parse_port(port_text, 0, &port) < 0)
		return err_set(err, E_INVALID,
			       "the address '" SLICE_FMT "' has a port that is not a number from 0 to 65535",
			       SLICE_ARG(quoted));
	*ret_host = host;
	*ret_port = port;
	return 0;
}

bool addr_is_loopback(struct slice host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (slice_eq_nocase(host, SLICE_LIT("localhost")))
		return true;
	if (is_ip(AF_INET, host, &v4))
		return ntohl(v4.s_addr) >> 24 == 127;
	return is_ip(AF_INET6, host, &v6) && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* Writes the decoded bytes to out, which has room for s.n, and returns how many, or -1. */
static ptrdiff_t decode(struct slice s, bool plus_is_space, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '+' && plus_is_space) {
			c = ' ';
		} else if (c == '%') {
			int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1,
			    low = high < 0 ? -1 : hex_digit(s.p[i + 2]);

			if (low < 0)
				return -1;
			c = (char)(high * 16 + low);
			i += 2;
		}
		if (c == '\0')
			return -1;
		out[n++] = c;
	}
	return (ptrdiff_t)n;
}

struct slice url_decode(struct arena *a, struct slice s, bool plus_is_space)
{
	ptrdiff_t n;
	char *p;

	if (!s.p || memchr(s.p, '\0', s.n))
		return absent;
	if (slice_chr(s, '%') < 0 && !(plus_is_space && slice_chr(s, '+') >= 0))
		return s;
	p = arena_strndup(a, s.p, s.n);
	if (!p)
		return absent;
	n = decode(s, plus_is_space, p);
	return n < 0 ? absent : (struct slice){p, (size_t)n};
}

struct slice query_get(struct arena *a, struct slice query, const char *name)
{
	struct slice pair;

	while (slice_split(&query, '&', &pair)) {
		ptrdiff_t eq = slice_chr(pair, '=');
		struct slice key = eq < 0 ? pair : slice_sub(pair, 0, (size_t)eq);

		if (slice_eq_str(url_decode(a, key, true), name))
			return url_decode(a, slice_sub(pair, eq < 0 ? pair.n : (size_t)eq + 1, pair.n), true);
	}
	return absent;
}
