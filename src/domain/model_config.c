/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model's `configuration` says.  The registry keeps configurations for ever, in events and backups: a secret in
 * one can never be taken back, so this is the place that refuses them.
 */
#include "domain/model.h"

#include "domain/timeouts.h"

static const char *const secret_members[] = {"api_key",	     "apikey",	   "api-key",	   "token",
					     "access_token", "auth_token", "bearer",	   "bearer_token",
					     "secret",	     "password",   "authorization"};
static const char *const secret_headers[] = {"authorization", "proxy-authorization", "x-api-key",
					     "api-key",	      "x-goog-api-key",	     "cookie"};

/* What the gateway writes itself: a second one would change where a request ends or goes. */
static const char *const own_headers[] = {"host", "content-length", "transfer-encoding", "connection",
					  "te",	  "trailer",	    "upgrade",		 "expect"};

static bool is_one_of(struct slice s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (slice_eq_nocase(s, slice_from(list[i])))
			return true;
	}
	return false;
}

static int secrets_refuse(const struct json *root, struct err *err)
{
	for (const struct json *v = root->first; v; v = v->next) {
		if (is_one_of(v->key, secret_members, COUNT_OF(secret_members)))
			return err_set(
				err, E_INVALID,
				"configuration." SLICE_FMT
				" would store a secret in the registry: name the environment variable that holds it in "
				"api_key_env, or its file in api_key_file",
				SLICE_ARG(v->key));
	}
	return 0;
}

static bool is_header_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool has_control(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
	}
	return false;
}

static int header_check(const struct json *v, struct err *err)
{
	struct slice shown = slice_sub(v->key, 0, 64);

	if (v->key.n == 0)
		return err_set(err, E_INVALID, "configuration.headers holds a header without a name");
	for (size_t i = 0; i < v->key.n; i++) {
		if (!is_header_name_char(v->key.p[i]))
			return err_set(err, E_INVALID, "configuration.headers: '" SLICE_FMT "' is not a header name",
				       SLICE_ARG(shown));
	}
	if (is_one_of(v->key, secret_headers, COUNT_OF(secret_headers)))
		return err_set(err, E_INVALID,
			       "configuration.headers." SLICE_FMT
			       " would store a secret in the registry: name the environment variable that holds it in "
			       "api_key_env, or its file in api_key_file",
			       SLICE_ARG(shown));
	if (is_one_of(v->key, own_headers, COUNT_OF(own_headers)))
		return err_set(err, E_INVALID, "configuration.headers." SLICE_FMT " is the gateway's own: leave it out",
			       SLICE_ARG(shown));
	if (v->type != JSON_STRING || has_control(v->str))
		return err_set(err, E_INVALID,
			       "configuration.headers." SLICE_FMT " has to be a string without control characters",
			       SLICE_ARG(shown));
	return 0;
}

static int headers_check(const struct json *headers, struct err *err)
{
	if (!headers)
		return 0;
	for (const struct json *v = headers->first; v; v = v->next) {
		int rc = header_check(v, err);

		if (rc)
			return rc;
	}
	return 0;
}

static int endpoint_check(struct slice url, struct err *err)
{
	struct slice rest;
	size_t host = 0;

	if (!url.p)
		return 0;
	if (slice_starts(url, SLICE_LIT("http://")))
		rest = slice_sub(url, 7, url.n);
	else if (slice_starts(url, SLICE_LIT("https://")))
		rest = slice_sub(url, 8, url.n);
	else
		return err_set(err, E_INVALID,
			       "configuration.endpoint '" SLICE_FMT "' has to begin with http:// or https://",
			       SLICE_ARG(slice_sub(url, 0, 128)));
	if (has_control(url) || slice_chr(url, ' ') >= 0)
		return err_set(err, E_INVALID, "configuration.endpoint holds spaces or control characters");
	while (host < rest.n && !strchr("/?#", rest.p[host]))
		host++;
	if (host == 0)
		return err_set(err, E_INVALID, "configuration.endpoint names no host");
	if (slice_chr(slice_sub(rest, 0, host), '@') >= 0)
		return err_set(
			err, E_INVALID,
			"configuration.endpoint holds a user or password: name the environment variable that holds the "
			"key in api_key_env, or its file in api_key_file");
	return 0;
}

static int text_get(const struct json *root, const char *name, struct slice *ret, struct err *err)
{
	struct slice s = {NULL, 0};
	struct err why = {0};

	if (json_get_str(root, name, &s, &why))
		return err_set(err, E_INVALID, "configuration: %s", why.text);
	if (s.p && (s.n == 0 || has_control(s)))
		return err_set(err, E_INVALID,
			       "configuration.%s has to be text without control characters, or left out", name);
	if (s.p)
		*ret = s;
	return 0;
}

static int object_get(const struct json *root, const char *name, const struct json **ret, struct err *err)
{
	const struct json *v = json_get(root, name);

	if (!v || v->type == JSON_NULL)
		return 0;
	if (v->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "configuration.%s has to be an object, not a %s", name,
			       json_type_name(v->type));
	*ret = v;
	return 0;
}

/* More endpoints of the same model. */
static int endpoints_get(const struct json *root, struct model_config *c, struct err *err)
{
	const struct json *list = json_get(root, "endpoints");
	size_t n = 0;
	int rc;

	if (!list || list->type == JSON_NULL)
		return 0;
	if (list->type != JSON_ARRAY)
		return err_set(err, E_INVALID, "configuration.endpoints has to be an array of URLs, not a %s",
			       json_type_name(list->type));
	for (const struct json *v = list->first; v; v = v->next, n++) {
		if (v->type != JSON_STRING || !v->str.n)
			return err_set(err, E_INVALID, "configuration.endpoints has to hold URLs, not a %s",
				       v->type == JSON_STRING ? "text that is empty" : json_type_name(v->type));
		if (n == MODEL_MAX_ENDPOINTS - 1)
			return err_set(err, E_INVALID, "configuration.endpoints names more than %d beside endpoint",
				       MODEL_MAX_ENDPOINTS - 1);
		rc = endpoint_check(v->str, err);
		if (rc)
			return rc;
	}
	if (n && !c->endpoint.n)
		return err_set(err, E_INVALID,
			       "configuration.endpoints needs configuration.endpoint too: it is the first of them");
	c->endpoints = n ? list : NULL;
	return 0;
}

static int balance_get(const struct json *root, struct model_config *c, struct err *err)
{
	struct slice s = {NULL, 0};
	int rc = text_get(root, "balance", &s, err);

	if (rc || !s.p)
		return rc;
	c->balance = slice_eq_str(s, "prefix") ? BALANCE_PREFIX : BALANCE_LEAST_OUTSTANDING;
	if (c->balance == BALANCE_LEAST_OUTSTANDING && !slice_eq_str(s, "least_outstanding"))
		return err_set(err, E_INVALID,
			       "configuration.balance has to be least_outstanding or prefix, not '" SLICE_FMT "'",
			       SLICE_ARG(slice_sub(s, 0, 64)));
	return 0;
}

/* *ret stays when it does not say. */
static int bool_get(const struct json *root, const char *name, bool *ret, struct err *err)
{
	const struct json *v = json_get(root, name);

	if (!v || v->type == JSON_NULL)
		return 0;
	if (v->type != JSON_BOOL)
		return err_set(err, E_INVALID, "configuration.%s has to be true or false, not a %s", name,
			       json_type_name(v->type));
	*ret = v->boolean;
	return 0;
}

static int breaker_get(const struct json *root, struct model_config *c, struct err *err)
{
	bool breaker = true;
	int rc = bool_get(root, "circuit_breaker", &breaker, err);

	c->no_circuit_breaker = !breaker;
	return rc;
}

static int context_get(const struct json *root, struct model_config *c, struct err *err)
{
	struct err why = {0};

	if (json_get_i64(root, "context_tokens", &c->context_tokens, &why))
		return err_set(err, E_INVALID, "configuration: %s", why.text);
	if (c->context_tokens < 0 || c->context_tokens > INT64_C(1000000000))
		return err_set(err, E_INVALID, "configuration.context_tokens has to be from 1 to 1000000000");
	return 0;
}

static int price_get(const struct json *root, struct model_config *c, struct err *err)
{
	int rc = price_parse(json_get(root, "price"), &c->price, err);

	if (rc)
		(void)err_prefix(err, "configuration"); /* the code stays */
	return rc;
}

static int members_get(const struct json *root, struct model_config *c, struct err *err)
{
	int rc;

	if ((rc = text_get(root, "endpoint", &c->endpoint, err)) ||
	    (rc = text_get(root, "protocol", &c->protocol, err)) ||
	    (rc = text_get(root, "upstream_model", &c->upstream_model, err)) ||
	    (rc = text_get(root, "api_key_env", &c->api_key_env, err)) ||
	    (rc = text_get(root, "api_key_file", &c->api_key_file, err)) ||
	    (rc = object_get(root, "headers", &c->headers, err)) ||
	    (rc = object_get(root, "parameters", &c->parameters, err)) ||
	    (rc = object_get(root, "sim", &c->sim, err)) || (rc = balance_get(root, c, err)) ||
	    (rc = breaker_get(root, c, err)) || (rc = bool_get(root, "prefill", &c->prefill, err)))
		return rc;
	rc = context_get(root, c, err);
	return rc ? rc : price_get(root, c, err);
}

int model_config_parse(const struct json *root, struct model_config *ret, struct err *err)
{
	struct model_config c = {0};
	struct timeouts t = {0};
	int rc;

	if (!root || root->type == JSON_NULL) {
		*ret = c;
		return 0;
	}
	if (root->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "configuration has to be an object, not a %s",
			       json_type_name(root->type));
	if ((rc = secrets_refuse(root, err)) || (rc = members_get(root, &c, err)) ||
	    (rc = endpoint_check(c.endpoint, err)) || (rc = endpoints_get(root, &c, err)) ||
	    (rc = headers_check(c.headers, err)))
		return rc;
	rc = timeouts_parse(json_get(root, "timeouts"), &t, err);
	if (rc) {
		(void)err_prefix(err, "configuration"); /* the code stays */
		return rc;
	}
	c.connect_timeout_ms = t.connect_ms;
	c.first_byte_timeout_ms = t.first_byte_ms;
	c.between_timeout_ms = t.between_ms;
	c.total_timeout_ms = t.total_ms;
	*ret = c;
	return 0;
}
