/* SPDX-License-Identifier: Apache-2.0 */
/* The settings as the gateway keeps them: everything in one arena, reference counted. */
#pragma once
#include <stdatomic.h>

#include "core/base/map.h"
#include "serving/gateway/gateway.h"
#include "serving/gateway/target.h"

struct settings_endpoint {
	struct slice use_case, url;
	struct target target;
	struct targets targets; /* it alone */
};

struct settings_key {
	struct slice name;
	char digest[65]; /* SHA-256 of the secret */
};

struct gateway_settings {
	_Atomic unsigned refs;
	struct arena arena;
	struct http_timeouts timeouts;
	struct slice fallback_content;
	struct settings_endpoint *endpoints;
	size_t n_endpoints;
	struct settings_key *keys;
	size_t n_keys;
	struct map by_digest; /* of keys */
	bool asks_for_keys;   /* even where there are none: nobody may do anything then */
	bool guardrails, history;
	int64_t max_exchanges, idempotency_window_ms;
	size_t max_answer_bytes;
};

const struct settings_endpoint *settings_endpoint(const struct gateway_settings *s, struct slice use_case);
const struct settings_key *settings_key(const struct gateway_settings *s, const char digest[65]); /* or NULL */
