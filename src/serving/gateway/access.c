/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and roles.  The text of a key is hashed and forgotten: it is never compared, kept or printed. */
#include "serving/gateway/access.h"

#include "core/base/digest.h"
#include "core/http/router.h"
#include "core/http/url.h"
#include "serving/gateway/gemini_path.h"
#include "serving/gateway/settings.h"

static const enum key_role of_client = KEY_CLIENT, of_operator = KEY_OPERATOR, of_admin = KEY_ADMIN;

static const struct route roles[] = {
	{HTTP_POST, "/api/v1/generate", &of_client},
	{HTTP_POST, "/api/embed", &of_client},
	{HTTP_POST, "/api/embeddings", &of_client},
	{HTTP_GET, "/api/v1/use-cases/{use_case}/current", &of_client},
	{HTTP_POST, "/api/v1/guardrails/check", &of_client},
	{HTTP_POST, "/api/v1/logs", &of_client},
	{HTTP_GET, "/api/v1/models", &of_client},
	{HTTP_GET, "/api/v1/models/{model}", &of_client},
	{HTTP_POST, "/api/chat", &of_client}, /* Ollama's */
	{HTTP_POST, "/api/generate", &of_client},
	{HTTP_POST, "/api/show", &of_client},
	{HTTP_GET, "/api/tags", &of_client},
	{HTTP_GET, "/api/ps", &of_client},
	{HTTP_GET, "/api/version", &of_client},
	{HTTP_GET, "/version", &of_client},
	{HTTP_PATCH, "/api/v1/models/{model}", &of_operator}, /* its status alone: the handler looks */
	{HTTP_DELETE, "/api/v1/models/{model}", &of_operator},
	{HTTP_POST, "/api/v1/models/{model}/promote", &of_operator},
	{HTTP_GET, "/api/v1/keys", &of_admin},
	{HTTP_GET, "/api/v1/keys/{key}", &of_admin},
};

/* Whatever is below these, with any method. */
static const struct {
	const char *path;
	enum key_role least;
} below[] = {
	{"/v1/", KEY_CLIENT}, /* the protocols of models: nothing else stands there */
	{"/v1beta/", KEY_CLIENT},
	{"/api/v1/deployments", KEY_OPERATOR},
	{"/api/v1/rollback", KEY_OPERATOR},
	{"/api/v1/alerts", KEY_OPERATOR},
};

enum health_probe access_health_probe(struct slice path)
{
	/* What orchestrators ask for by habit, beside our own. */
	static const struct {
		struct slice path;
		enum health_probe probe;
	} names[] = {
		{SLICE_LIT("/health/live"), PROBE_LIVE},
		{SLICE_LIT("/health/ready"), PROBE_READY},
		{SLICE_LIT("/livez"), PROBE_LIVE},
		{SLICE_LIT("/readyz"), PROBE_READY},
		{SLICE_LIT("/healthz"), PROBE_LIVE},
		{SLICE_LIT("/health/liveness"), PROBE_LIVE},
		{SLICE_LIT("/health/liveliness"), PROBE_LIVE},
		{SLICE_LIT("/health/readiness"), PROBE_READY},
	};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (slice_eq(path, names[i].path))
			return names[i].probe;
	return PROBE_NONE;
}

bool access_is_open(struct slice path)
{
	return slice_eq_str(path, "/") || slice_eq_str(path, "/health") || access_health_probe(path) != PROBE_NONE;
}

enum key_role access_least_role(enum http_method method, struct slice path)
{
	struct http_head head = {.method = method, .path = path};
	struct route_match m;

	if (!route_find(roles, COUNT_OF(roles), &head, &m))
		return *(const enum key_role *)m.route->target;
	for (size_t i = 0; i < COUNT_OF(below); i++) {
		if (slice_starts(path, slice_from(below[i].path)))
			return below[i].least;
	}
	return method == HTTP_GET || method == HTTP_HEAD ? KEY_OPERATOR : KEY_ADMIN;
}

static struct slice presented_key(const struct http_head *head)
{
	static const char *const headers[] = {"x-api-key", "x-goog-api-key"};
	struct slice auth = http_header(head, "authorization"), rest = head->query, one;
	bool is_gemini = gemini_path_read(head->path, NULL); /* whose clients may put it there */

	if (auth.n > 7 && slice_eq_nocase(slice_sub(auth, 0, 7), SLICE_LIT("Bearer ")))
		return slice_trim(slice_sub(auth, 7, auth.n));
	for (size_t i = 0; i < COUNT_OF(headers); i++) {
		struct slice key = http_header(head, headers[i]);

		if (key.n)
			return key;
	}
	while (is_gemini && slice_split(&rest, '&', &one)) /* keys have nothing that a query would escape */
		if (slice_starts(one, SLICE_LIT("key=")))
			return slice_sub(one, 4, one.n);
	return (struct slice){NULL, 0};
}

enum access_problem access_authenticate(const struct snapshot *s, const struct gateway_settings *settings,
					const struct http_head *head, int64_t now_us, struct gateway_caller *ret)
{
	const struct settings_key *of_file;
	const struct snapshot_key *k;
	char digest[KEY_DIGEST_SIZE];
	struct slice key;

	*ret = (struct gateway_caller){.name = SLICE_LIT("anonymous"), .role = KEY_ADMIN};
	if (!settings->n_keys && !settings->asks_for_keys && !s->asks_for_keys)
		return ACCESS_FINE;
	ret->role = KEY_CLIENT;
	key = presented_key(head);
	if (!key.n)
		return ACCESS_NO_KEY;
	sha256_hex(key, digest);
	k = snapshot_key(s, digest);
	if (k) {
		*ret = (struct gateway_caller){.name = k->key.name, .role = k->key.role, .by_key = true, .key = k};
		return key_expired(&k->key, now_us) ? ACCESS_EXPIRED_KEY : ACCESS_FINE;
	}
	of_file = settings_key(settings, digest);
	if (!of_file)
		return ACCESS_UNKNOWN_KEY;
	*ret = (struct gateway_caller){.name = of_file->name, .role = KEY_ADMIN, .by_key = true};
	return ACCESS_FINE;
}

/* ?use_case=, as the control plane reads it. */
static bool allows_asked(const struct gateway_caller *c, const struct http_head *head, struct arena *a)
{
	struct slice use_case = query_get(a, head->query, "use_case");

	return use_case.n && access_allows(c, use_case);
}

bool access_allows_control(const struct gateway_caller *c, const struct snapshot *s, const struct http_head *head,
			   struct arena *a)
{
	static const struct route asking[] = {
		{HTTP_GET, "/version", NULL},
		{HTTP_GET, "/api/v1/use-cases/{use_case}/current", NULL},
		{HTTP_GET, "/api/v1/models", NULL},
		{HTTP_GET, "/api/v1/models/{model}", NULL},
	};
	struct route_match m;
	struct slice name;
	struct uuid id;

	if (!access_is_limited(c))
		return true;
	if (route_find(asking, COUNT_OF(asking), head, &m))
		return true; /* there is nothing of that name and method: the answer says so */
	if (m.route == &asking[0])
		return true;
	name = m.n_params ? url_decode(a, m.param[0], false) : (struct slice){0};
	if (m.route == &asking[1])
		return access_allows(c, name);
	if (m.route == &asking[3] && name.p && !uuid_parse(name.p, name.n, &id)) { /* an id says more than ?use_case= */
		const struct snapshot_model *model = snapshot_model(s, name);

		return model && access_allows(c, model->model.use_case);
	}
	return allows_asked(c, head, a);
}
