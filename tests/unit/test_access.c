/* SPDX-License-Identifier: Apache-2.0 */
/* Roles and keys: who may make which request, and who is behind a key. */
#include "serving/gateway/access.h"

#include "core/base/digest.h"
#include "serving/gateway/limits.h"
#include "serving/gateway/settings.h"
#include "t.h"

static const struct {
	enum http_method method;
	const char *path;
	enum key_role least;
} role_cases[] = {
	{HTTP_POST, "/v1/chat/completions", KEY_CLIENT},
	{HTTP_POST, "/api/v1/generate", KEY_CLIENT},
	{HTTP_GET, "/v1/models", KEY_CLIENT},
	{HTTP_HEAD, "/v1/models", KEY_CLIENT},
	{HTTP_GET, "/v1/models/tiny@1.0", KEY_CLIENT},
	{HTTP_GET, "/v1/models/a/b", KEY_CLIENT},
	{HTTP_DELETE, "/v1/models", KEY_CLIENT}, /* there is no such method: 404 */
	{HTTP_GET, "/api/v1/use-cases/foundation_layer/current", KEY_CLIENT},
	{HTTP_POST, "/api/v1/guardrails/check", KEY_CLIENT},
	{HTTP_POST, "/api/v1/logs", KEY_CLIENT},
	{HTTP_GET, "/api/v1/models", KEY_CLIENT},
	{HTTP_GET, "/api/v1/models/tiny", KEY_CLIENT},
	{HTTP_GET, "/version", KEY_CLIENT},

	{HTTP_GET, "/metrics", KEY_OPERATOR},
	{HTTP_GET, "/api/v1/logs", KEY_OPERATOR},
	{HTTP_GET, "/api/v1/logs/0123", KEY_OPERATOR},
	{HTTP_GET, "/api/v1/events", KEY_OPERATOR},
	{HTTP_GET, "/api/v1/models/tiny/history", KEY_OPERATOR},
	{HTTP_GET, "/api/v1/use-cases", KEY_OPERATOR},
	{HTTP_GET, "/api/v1/use-cases/foundation_layer", KEY_OPERATOR},
	{HTTP_GET, "/api/v1/guardrails/policies", KEY_OPERATOR},
	{HTTP_GET, "/api/v1/guardrails/violations", KEY_OPERATOR},
	{HTTP_GET, "/api/v1/deployments", KEY_OPERATOR},
	{HTTP_GET, "/api/v1/retention", KEY_OPERATOR},
	{HTTP_POST, "/api/v1/models/tiny/promote", KEY_OPERATOR},
	{HTTP_PATCH, "/api/v1/models/tiny", KEY_OPERATOR},
	{HTTP_DELETE, "/api/v1/models/tiny", KEY_OPERATOR},
	{HTTP_POST, "/api/v1/rollback", KEY_OPERATOR},
	{HTTP_POST, "/api/v1/deployments", KEY_OPERATOR},
	{HTTP_POST, "/api/v1/deployments/0123/pause", KEY_OPERATOR},

	{HTTP_POST, "/api/v1/models", KEY_ADMIN},
	{HTTP_PUT, "/api/v1/use-cases/foundation_layer", KEY_ADMIN},
	{HTTP_PUT, "/api/v1/guardrails/policies/default", KEY_ADMIN},
	{HTTP_GET, "/api/v1/keys", KEY_ADMIN},
	{HTTP_HEAD, "/api/v1/keys", KEY_ADMIN},
	{HTTP_GET, "/api/v1/keys/ops", KEY_ADMIN},
	{HTTP_POST, "/api/v1/keys", KEY_ADMIN},
	{HTTP_DELETE, "/api/v1/keys/ops", KEY_ADMIN},
	{HTTP_POST, "/api/v1/retention/purge", KEY_ADMIN},
	/* what nobody thought of */
	{HTTP_GET, "/api/v1/something-new", KEY_OPERATOR},
	{HTTP_POST, "/api/v1/something-new", KEY_ADMIN},
	{HTTP_OPTIONS, "/api/v1/models", KEY_ADMIN},
	{HTTP_OTHER, "/api/v1/models", KEY_ADMIN},
	{HTTP_POST, "/api/v1/keys/", KEY_ADMIN},
};

TEST(every_request_has_a_least_role_and_what_is_unknown_the_highest)
{
	for (size_t i = 0; i < COUNT_OF(role_cases); i++)
		if (access_least_role(role_cases[i].method, slice_from(role_cases[i].path)) != role_cases[i].least)
			CHECK_STR(role_cases[i].path, "another role");
}

TEST(health_alone_is_open)
{
	CHECK(access_is_open(SLICE_LIT("/health")) && access_is_open(SLICE_LIT("/health/live")));
	CHECK(access_is_open(SLICE_LIT("/health/ready")) && access_is_open(SLICE_LIT("/")));
	CHECK(!access_is_open(SLICE_LIT("/metrics")) && !access_is_open(SLICE_LIT("/v1/models")));
	CHECK(!access_is_open(SLICE_LIT("/healthy")) && !access_is_open(SLICE_LIT("/health/../v1/models")));
	CHECK(!access_is_open(SLICE_LIT("")));
}

/* --- who --- */

static const struct slice only_npc[] = {{"npc_dialogue", 12}};
static struct key keys[] = {
	{.name = {"ops", 3}, .role = KEY_ADMIN},
	{.name = {"npc", 3},
	 .role = KEY_CLIENT,
	 .use_cases = only_npc,
	 .n_use_cases = 1,
	 .requests_per_minute = 2,
	 .tokens_per_minute = 10},
	{.name = {"old", 3}, .role = KEY_OPERATOR, .expires_us = 1000},
	{.name = {"gone", 4}, .role = KEY_ADMIN, .revoked_us = 1},
};
static const char *const texts[] = {"mk_ops", "mk_npc", "mk_old", "mk_gone"};

static struct snapshot *snapshot_with(size_t n_keys, bool asks)
{
	struct snapshot_source src = {.keys = keys, .n_keys = n_keys, .asks_for_keys = asks};
	struct snapshot *s = NULL;
	struct err err = {0};

	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		sha256_hex(slice_from(texts[i]), keys[i].digest);
		keys[i].id.b[15] = (unsigned char)(i + 1);
	}
	CHECK_INT(snapshot_build(&src, NULL, NULL, &s, &err), 0);
	return s;
}

static struct gateway_settings *settings_with(size_t n_keys, bool asks)
{
	static const struct gateway_key of_file[] = {{{"file", 4}, {"secret-of-the-file", 18}}};
	struct gateway_settings_source src = {.keys = of_file, .n_keys = n_keys, .asks_for_keys = asks};
	struct gateway_settings *s = NULL;
	struct err err = {0};

	CHECK_INT(gateway_settings_new(&src, &s, &err), 0);
	return s;
}

static enum access_problem ask(struct snapshot *s, struct gateway_settings *settings, const char *header,
			       const char *value, struct gateway_caller *ret)
{
	struct http_header room = {slice_from(header ? header : ""), slice_from(value ? value : "")};
	struct http_head head = {
		.method = HTTP_GET, .path = SLICE_LIT("/v1/models"), .header = &room, .n_headers = header != NULL};

	return access_authenticate(s, settings, &head, 1000, ret);
}

static const struct {
	const char *header, *value;
	enum access_problem problem;
	const char *name;
	enum key_role role;
} who_cases[] = {
	{"Authorization", "Bearer mk_ops", ACCESS_FINE, "ops", KEY_ADMIN},
	{"authorization", "bearer   mk_ops ", ACCESS_FINE, "ops", KEY_ADMIN},
	{"x-api-key", "mk_npc", ACCESS_FINE, "npc", KEY_CLIENT},
	{"Authorization", "Bearer secret-of-the-file", ACCESS_FINE, "file", KEY_ADMIN},
	{"Authorization", "Bearer mk_old", ACCESS_EXPIRED_KEY, "old", KEY_OPERATOR},
	{"Authorization", "Bearer mk_gone", ACCESS_UNKNOWN_KEY, "anonymous", KEY_CLIENT},
	{"Authorization", "Bearer mk_op", ACCESS_UNKNOWN_KEY, "anonymous", KEY_CLIENT},
	{"Authorization", "Basic mk_ops", ACCESS_NO_KEY, "anonymous", KEY_CLIENT},
	{"Authorization", "mk_ops", ACCESS_NO_KEY, "anonymous", KEY_CLIENT},
	{"Authorization", "Bearer ", ACCESS_NO_KEY, "anonymous", KEY_CLIENT},
	{"x-api-key", "", ACCESS_NO_KEY, "anonymous", KEY_CLIENT},
	{NULL, NULL, ACCESS_NO_KEY, "anonymous", KEY_CLIENT},
};

TEST(a_key_says_who_it_is_and_anything_else_what_is_wrong)
{
	struct gateway_settings *settings = settings_with(1, false);
	struct snapshot *s = snapshot_with(COUNT_OF(keys), false);

	for (size_t i = 0; i < COUNT_OF(who_cases); i++) {
		struct gateway_caller c;

		CHECK_INT(ask(s, settings, who_cases[i].header, who_cases[i].value, &c), who_cases[i].problem);
		CHECK(slice_eq_str(c.name, who_cases[i].name));
		CHECK_INT(c.role, who_cases[i].role);
	}
	snapshot_unref(s);
	gateway_settings_unref(settings);
}

static const struct {
	size_t n_keys, n_of_file;
	bool snapshot_asks, settings_ask, open;
} open_cases[] = {
	{0, 0, false, false, true}, {1, 0, false, false, false}, {0, 1, false, false, false},
	{0, 0, true, false, false}, {0, 0, false, true, false},
};

TEST(nobody_is_asked_only_where_there_never_was_a_key)
{
	for (size_t i = 0; i < COUNT_OF(open_cases); i++) {
		struct gateway_settings *settings = settings_with(open_cases[i].n_of_file, open_cases[i].settings_ask);
		struct snapshot *s = snapshot_with(open_cases[i].n_keys, open_cases[i].snapshot_asks);
		struct gateway_caller c;

		CHECK_INT(ask(s, settings, NULL, NULL, &c), open_cases[i].open ? ACCESS_FINE : ACCESS_NO_KEY);
		CHECK_INT(c.role, open_cases[i].open ? KEY_ADMIN : KEY_CLIENT);
		CHECK(!c.by_key);
		snapshot_unref(s);
		gateway_settings_unref(settings);
	}
}

/* --- what is left --- */

TEST(rates_go_on_from_one_snapshot_to_the_next_and_end_with_the_key)
{
	struct gateway_limits *l = gateway_limits_new();
	struct gateway_prepare_arg arg = {.limits = l};
	struct snapshot *a = snapshot_with(2, false), *b = snapshot_with(2, false), *c = snapshot_with(1, false),
			*d = snapshot_with(2, false);
	struct err err = {0};

	CHECK_INT(gateway_prepare(a, &arg, &err), 0);
	CHECK_INT(limits_take(&a->keys[1], 1000).by, LIMITED_BY_NOTHING);
	CHECK_INT(gateway_prepare(b, &arg, &err), 0);
	snapshot_unref(a);
	CHECK_INT(limits_take(&b->keys[1], 1000).by, LIMITED_BY_NOTHING);
	CHECK_INT(limits_take(&b->keys[1], 1000).by, LIMITED_BY_REQUESTS);
	CHECK_INT(limits_take(&b->keys[1], 1000).wait_ms, 30000);
	CHECK_INT(limits_take(&b->keys[0], 1000).by, LIMITED_BY_NOTHING); /* has none */
	limits_charge_tokens(&b->keys[1], 11, 31000);
	CHECK_INT(limits_take(&b->keys[1], 31000).by, LIMITED_BY_TOKENS);
	snapshot_unref(b);
	CHECK_INT(gateway_prepare(c, &arg, &err), 0); /* the key has gone, and what was left of it */
	snapshot_unref(c);
	CHECK_INT(gateway_prepare(d, &arg, &err), 0);
	CHECK_INT(limits_take(&d->keys[1], 31000).by, LIMITED_BY_NOTHING);
	snapshot_unref(d);
	gateway_limits_free(l);
	CHECK_INT(limits_take(NULL, 0).by, LIMITED_BY_NOTHING);
}
