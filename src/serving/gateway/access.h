/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what.  The table of roles names the requests that a client or an operator may make: whatever is not in it
 * takes an operator to read and an admin to do, so that an endpoint that somebody adds is never open by omission.
 */
#pragma once
#include "core/http/head.h"
#include "serving/snapshot/snapshot.h"

struct gateway_settings;

/* Which probe of an orchestrator asks here: /health/live and /health/ready, and the names that others have for them. */
enum health_probe { PROBE_NONE, PROBE_LIVE, PROBE_READY };
enum health_probe access_health_probe(struct slice path);

/* Nobody is asked for a key here. */
bool access_is_open(struct slice path);
enum key_role access_least_role(enum http_method method, struct slice path);

struct gateway_caller {
	struct slice name; /* of the key; "anonymous" where none is asked for. Lives as long as snapshot and settings */
	enum key_role role;
	bool by_key;
	const struct snapshot_key *key; /* NULL: none, or one of auth.key_file, which have no limits */
};

enum access_problem { ACCESS_FINE, ACCESS_NO_KEY, ACCESS_UNKNOWN_KEY, ACCESS_EXPIRED_KEY };
/* Hashes what was presented once, and looks it up. On ACCESS_EXPIRED_KEY *ret says whose it was. */
enum access_problem access_authenticate(const struct snapshot *s, const struct gateway_settings *settings,
					const struct http_head *head, int64_t now_us, struct gateway_caller *ret);

static inline bool access_allows(const struct gateway_caller *c, struct slice use_case)
{
	return !c->key || key_allows(&c->key->key, use_case);
}

/* Whether the caller may ask for some use cases only. */
static inline bool access_is_limited(const struct gateway_caller *c)
{
	return c->key && c->key->key.n_use_cases;
}

/* What a control call asks about is among the caller's use cases: the few that a client may make say which. */
bool access_allows_control(const struct gateway_caller *c, const struct snapshot *s, const struct http_head *head,
			   struct arena *a);
