/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, addresses, query strings and percent-decoding. */
#include "core/http/url.h"

#include "t.h"

static const struct {
	const char *in;
	bool tls;
	const char *host;
	int port;
	const char *path, *authority;
} good_urls[] = {
	{"http://localhost", false, "localhost", 80, "", "localhost"},
	{"http://localhost/", false, "localhost", 80, "/", "localhost"},
	{"HTTPS://api.openai.com/v1/chat/completions", true, "api.openai.com", 443, "/v1/chat/completions",
	 "api.openai.com"},
	{"http://127.0.0.1:11434/api/chat?x=1&y=/", false, "127.0.0.1", 11434, "/api/chat?x=1&y=/", "127.0.0.1:11434"},
	{"https://[::1]:8443/a", true, "::1", 8443, "/a", "[::1]:8443"},
	{"http://[2001:db8::1]", false, "2001:db8::1", 80, "", "[2001:db8::1]"},
	{"http://my_host-1.example:65535", false, "my_host-1.example", 65535, "", "my_host-1.example:65535"},
	{"http://h:1/a@b:c", false, "h", 1, "/a@b:c", "h:1"},
};

TEST(urls_are_taken_apart)
{
	for (size_t i = 0; i < COUNT_OF(good_urls); i++) {
		struct url u;

		CHECK_INT(url_parse(slice_from(good_urls[i].in), &u, NULL), 0);
		CHECK_INT(u.tls, good_urls[i].tls);
		CHECK(slice_eq_str(u.host, good_urls[i].host));
		CHECK_INT(u.port, good_urls[i].port);
		CHECK(u.path.p && slice_eq_str(u.path, good_urls[i].path));
		CHECK(slice_eq_str(u.authority, good_urls[i].authority));
	}
}

static const struct {
	const char *in, *says;
} bad_urls[] = {
	{"", "http://"},
	{"localhost:8080", "'localhost:8080'"},
	{"ftp://host/", "'ftp://host/'"},
	{"http:/host", "http://"},
	{"http://", "host"},
	{"https:///path", "host"},
	{"http://:80/", "host"},
	{"http://h:/", "port"},
	{"http://h:0/", "port"},
	{"http://h:65536/", "port"},
	{"http://h:99999999999/", "port"},
	{"http://h:8o/", "port"},
	{"http://h:+80/", "port"},
	{"http://a:b:80/", "port"},
	{"http://::1/", "host"},
	{"http://[::1/", "host"},
	{"http://[::1]80/", "host"},
	{"http://[localhost]/", "host"},
	{"http://[]/", "host"},
	{"http://h?x=1", "'/'"},
	{"http://h/#top", "fragment"},
	{"http://h#top", "'/'"},
	{"http://h/a b", "space"},
	{"http://h/a\r\nX: y", "control"},
	{"http://h/\xc3\xa4", "ASCII"},
	{"http://h\xc3\xa4/", "ASCII"},
	{"http://a!b/", "host"},
	{"http://a%2eb/", "host"},
};

TEST(a_url_that_is_wrong_is_refused_with_a_reason)
{
	for (size_t i = 0; i < COUNT_OF(bad_urls); i++) {
		struct url u;
		struct err err = {0};

		CHECK_INT(url_parse(slice_from(bad_urls[i].in), &u, &err), E_INVALID);
		if (!strstr(err.text, bad_urls[i].says))
			printf("# case %zu '%s' says: %s\n", i, bad_urls[i].in, err.text);
		CHECK(strstr(err.text, bad_urls[i].says));
	}
}

TEST(a_url_with_user_information_is_refused_and_not_repeated)
{
	static const char *const in[] = {"http://user:secret@host/", "https://secret@host", "htp://user:secret@host/",
					 "http://user:secret@host/#x", "http://user:secret@"};

	for (size_t i = 0; i < COUNT_OF(in); i++) {
		struct url u;
		struct err err = {0};

		CHECK_INT(url_parse(slice_from(in[i]), &u, &err), E_INVALID);
		CHECK(!strstr(err.text, "secret"));
	}
}

TEST(a_host_name_at_the_limit_passes_and_one_byte_more_does_not)
{
	for (size_t n = 255; n <= 256; n++) {
		char in[300] = "http://";
		struct url u;

		memset(in + 7, 'h', n);
		CHECK_INT(url_parse((struct slice){in, 7 + n}, &u, NULL), n == 255 ? 0 : E_INVALID);
	}
}

static const struct {
	const char *in;
	int rc;
	const char *host;
	int port;
} addresses[] = {
	{"127.0.0.1:8080", 0, "127.0.0.1", 8080},
	{"[::1]:8080", 0, "::1", 8080},
	{":8080", 0, "", 8080},
	{"localhost:0", 0, "localhost", 0},
	{"0.0.0.0:65535", 0, "0.0.0.0", 65535},
	{"", E_INVALID, NULL, 0},
	{"8080", E_INVALID, NULL, 0},
	{"localhost", E_INVALID, NULL, 0},
	{"localhost:", E_INVALID, NULL, 0},
	{"localhost:65536", E_INVALID, NULL, 0},
	{"localhost:http", E_INVALID, NULL, 0},
	{"localhost:-1", E_INVALID, NULL, 0},
	{"::1:8080", E_INVALID, NULL, 0},
	{"[::1]", E_INVALID, NULL, 0},
	{"[::1]8080", E_INVALID, NULL, 0},
	{"[nothex]:1", E_INVALID, NULL, 0},
	{"a b:80", E_INVALID, NULL, 0},
	{"http://h:80", E_INVALID, NULL, 0},
	{"a/b:80", E_INVALID, NULL, 0},
};

TEST(addresses_are_host_and_port)
{
	for (size_t i = 0; i < COUNT_OF(addresses); i++) {
		struct slice host = {NULL, 0};
		struct err err = {0};
		uint16_t port = 0;

		CHECK_INT(addr_parse(slice_from(addresses[i].in), &host, &port, &err), addresses[i].rc);
		if (addresses[i].rc == 0) {
			CHECK(slice_eq_str(host, addresses[i].host));
			CHECK_INT(port, addresses[i].port);
		} else {
			CHECK(strstr(err.text, "address"));
		}
	}
}

static const struct {
	const char *host;
	bool loopback;
} loopbacks[] = {
	{"127.0.0.1", true}, {"127.255.1.2", true}, {"::1", true},	     {"0:0:0:0:0:0:0:1", true},
	{"LocalHost", true}, {"128.0.0.1", false},  {"127.0.0", false},	     {"", false},
	{"::", false},	     {"0.0.0.0", false},    {"127.evil.com", false}, {"localhost.x", false},
	{"::1%lo", false},
};

TEST(loopback_is_recognised_by_number_and_not_by_spelling)
{
	for (size_t i = 0; i < COUNT_OF(loopbacks); i++)
		CHECK_INT(addr_is_loopback(slice_from(loopbacks[i].host)), loopbacks[i].loopback);
}

static const struct {
	const char *in;
	bool plus;
	const char *out; /* NULL: absent */
} escapes[] = {
	{"", false, ""},
	{"plain", false, "plain"},
	{"a%20b", false, "a b"},
	{"a+b", false, "a+b"},
	{"a+b", true, "a b"},
	{"a%2Bb", true, "a+b"},
	{"%c3%A4", false, "\xc3\xa4"},
	{"%2f%2F", false, "//"},
	{"%25%32%30", false, "%20"},
	{"%", false, NULL},
	{"%4", false, NULL},
	{"a%4", false, NULL},
	{"%g0", false, NULL},
	{"%0g", false, NULL},
	{"%-1", false, NULL},
	{"%00", false, NULL},
	{"a%00b", true, NULL},
};

TEST(percent_escapes_are_decoded_or_refused)
{
	struct arena a;

	arena_init(&a, 1024, 1 << 20);
	for (size_t i = 0; i < COUNT_OF(escapes); i++) {
		struct slice got = url_decode(&a, slice_from(escapes[i].in), escapes[i].plus);

		CHECK_INT(got.p != NULL, escapes[i].out != NULL);
		if (escapes[i].out)
			CHECK(slice_eq_str(got, escapes[i].out));
	}
	CHECK(!url_decode(&a, (struct slice){"a\0b", 3}, false).p);
	CHECK(!url_decode(&a, (struct slice){NULL, 0}, false).p);
	arena_release(&a);
}

TEST(decoding_past_the_maximum_of_the_arena_is_absent)
{
	struct arena a;

	arena_init(&a, 16, 16);
	CHECK(!url_decode(&a, SLICE_LIT("a%20bcdefghijklmnopqrstuvwxyz"), false).p);
	CHECK(url_decode(&a, SLICE_LIT("abcdefghijklmnopqrstuvwxyz"), false).p);
	arena_release(&a);
}

static const struct {
	const char *query, *name, *value; /* NULL: absent */
} queries[] = {
	{"a=1&b=2", "a", "1"},
	{"a=1&b=2", "b", "2"},
	{"a=1&b=2", "c", NULL},
	{"a=1&a=2", "a", "1"},
	{"ab=1&a=2", "a", "2"},
	{"a", "a", ""},
	{"a=", "a", ""},
	{"b&a", "a", ""},
	{"a=x=y", "a", "x=y"},
	{"a=x+y%26z", "a", "x y&z"},
	{"use%5Fcase=npc", "use_case", "npc"},
	{"%zz=1&a=2", "a", "2"},
	{"a=%zz", "a", NULL},
	{"", "a", NULL},
	{"&&a=1", "a", "1"},
};

TEST(query_parameters_are_found_by_their_decoded_names)
{
	struct arena a;

	arena_init(&a, 1024, 1 << 20);
	for (size_t i = 0; i < COUNT_OF(queries); i++) {
		struct slice got = query_get(&a, slice_from(queries[i].query), queries[i].name);

		CHECK_INT(got.p != NULL, queries[i].value != NULL);
		if (queries[i].value)
			CHECK(slice_eq_str(got, queries[i].value));
	}
	CHECK(!query_get(&a, (struct slice){NULL, 0}, "a").p);
	arena_release(&a);
}
