/* SPDX-License-Identifier: Apache-2.0 */
/* The router: which route a method and a path find, with which parameters, and what it says when they find none. */
#include "core/http/router.h"

#include "core/base/util.h"
#include "t.h"

#define BIT(m) (1U << HTTP_##m)

/* The order is against the rules of precedence on purpose. */
static const struct route table[] = {
	{HTTP_GET, "/api/v1/models/{id}", "show"},
	{HTTP_PATCH, "/api/v1/models/{id}", "change"},
	{HTTP_GET, "/api/v1/models/current", "current"},
	{HTTP_GET, "/api/v1/models", "list"},
	{HTTP_POST, "/api/v1/models", "register"},
	{HTTP_GET, "/api/v1/{kind}/special", "special"},
	{HTTP_GET, "/api/v1/models/{id}/history", "history"},
	{HTTP_GET, "/api/v1/use-cases/{use_case}/models/{id}", "two"},
	{HTTP_GET, "/four/{a}/{b}/{c}/{d}", "four"},
	{HTTP_GET, "/both", "both get"},
	{HTTP_HEAD, "/both", "both head"},
	{HTTP_GET, "/param/{x}", "param get"},
	{HTTP_HEAD, "/param/{x}", "param head"},
	{HTTP_GET, "/", "root"},
	{HTTP_GET, "/console/", "console"},
};

static const struct {
	enum http_method method;
	const char *path;
	int rc;
	const char *target;
	const char *params; /* each followed by ';' */
	unsigned allowed;   /* on E_DENIED */
} cases[] = {
	{HTTP_GET, "/api/v1/models", 0, "list", "", 0},
	{HTTP_POST, "/api/v1/models", 0, "register", "", 0},
	{HTTP_GET, "/api/v1/models/abc", 0, "show", "abc;", 0},
	{HTTP_GET, "/api/v1/models/a%2Fb", 0, "show", "a%2Fb;", 0},
	{HTTP_GET, "/api/v1/models/current", 0, "current", "", 0},
	{HTTP_PATCH, "/api/v1/models/current", 0, "change", "current;", 0},
	{HTTP_GET, "/api/v1/models/currents", 0, "show", "currents;", 0},
	{HTTP_GET, "/api/v1/models/special", 0, "show", "special;", 0},
	{HTTP_GET, "/api/v1/other/special", 0, "special", "other;", 0},
	{HTTP_GET, "/api/v1/models/a/history", 0, "history", "a;", 0},
	{HTTP_GET, "/api/v1/use-cases/u/models/m", 0, "two", "u;m;", 0},
	{HTTP_GET, "/four/1/2/3/4", 0, "four", "1;2;3;4;", 0},
	{HTTP_GET, "/", 0, "root", "", 0},
	{HTTP_GET, "/console/", 0, "console", "", 0},
	{HTTP_HEAD, "/api/v1/models", 0, "list", "", 0},
	{HTTP_HEAD, "/both", 0, "both head", "", 0},
	{HTTP_GET, "/both", 0, "both get", "", 0},
	{HTTP_HEAD, "/param/1", 0, "param head", "1;", 0},
	{HTTP_GET, "/param/1", 0, "param get", "1;", 0},
	{HTTP_GET, "/api/v1/models/", E_NOTFOUND, NULL, "", 0},
	{HTTP_GET, "/api/v1/models/a/", E_NOTFOUND, NULL, "", 0},
	{HTTP_GET, "/api/v1/models//history", E_NOTFOUND, NULL, "", 0},
	{HTTP_GET, "/console", E_NOTFOUND, NULL, "", 0},
	{HTTP_GET, "/api/v1/model", E_NOTFOUND, NULL, "", 0},
	{HTTP_GET, "/api/v1/modelss", E_NOTFOUND, NULL, "", 0},
	{HTTP_GET, "/API/v1/models", E_NOTFOUND, NULL, "", 0},
	{HTTP_GET, "/four/1/2/3", E_NOTFOUND, NULL, "", 0},
	{HTTP_GET, "/four/1/2/3/4/5", E_NOTFOUND, NULL, "", 0},
	{HTTP_OPTIONS, "*", E_NOTFOUND, NULL, "", 0},
	{HTTP_GET, "", E_NOTFOUND, NULL, "", 0},
	{HTTP_DELETE, "/api/v1/models", E_DENIED, NULL, "", BIT(GET) | BIT(HEAD) | BIT(POST)},
	{HTTP_POST, "/api/v1/models/current", E_DENIED, NULL, "", BIT(GET) | BIT(HEAD) | BIT(PATCH)},
	{HTTP_OTHER, "/both", E_DENIED, NULL, "", BIT(GET) | BIT(HEAD)},
};

TEST(methods_and_paths_find_the_routes_of_the_table)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct http_head head = {.method = cases[i].method, .path = slice_from(cases[i].path)};
		struct route_match m;
		char params[100] = "";
		size_t n = 0;

		CHECK_INT(route_find(table, COUNT_OF(table), &head, &m), cases[i].rc);
		for (size_t k = 0; k < m.n_params; k++)
			n += (size_t)snprintf(params + n, sizeof(params) - n, SLICE_FMT ";", SLICE_ARG(m.param[k]));
		CHECK_STR(params, cases[i].params);
		CHECK_STR(m.route ? (const char *)m.route->target : "none", cases[i].target ? cases[i].target : "none");
		if (cases[i].rc == E_DENIED)
			CHECK_INT(m.allowed, cases[i].allowed);
	}
}

TEST(an_empty_table_finds_nothing)
{
	struct http_head head = {.method = HTTP_GET, .path = SLICE_LIT("/")};
	struct route_match m;

	CHECK_INT(route_find(table, 0, &head, &m), E_NOTFOUND);
}
