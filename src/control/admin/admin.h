/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The REST API of the control plane.  admin_handle() blocks on the database: it runs on a job thread, never on a
 * loop's, and several may run at once.  It knows nothing of connections: bytes in, bytes out.
 */
#pragma once
#include <stdatomic.h>

#include "control/alerts/alerts.h"
#include "control/history/retention.h"
#include "control/history/shipper.h"
#include "control/registry/registry.h"
#include "control/rollout/rollout.h"
#include "control/telemetry/review.h"
#include "core/base/buf.h"
#include "core/http/head.h"

struct admin_endpoint { /* fallback.endpoints of the configuration */
	struct slice use_case, url;
};

struct admin {
	struct registry *registry;
	struct store *store;
	struct shipper *shipper; /* NULL: the historical log is off */
	struct rollout *rollout;
	struct retention *retention;
	struct alerts *alerts;
	/* Copies what is configured now into the arena. NULL: none are. Any job thread. */
	int (*endpoints)(struct arena *a, struct admin_endpoint **ret, size_t *ret_n, void *arg);
	void *endpoints_arg;
	/* What this daemon counted since it started. NULL: nothing did. Any job thread. */
	void (*figures)(struct review_figures *ret, void *arg);
	void *figures_arg;
	atomic_bool reviewing; /* a review is being made */
};

/* Slices live until admin_handle returns. */
struct api_request {
	enum http_method method;
	struct slice path, query; /* as they came: percent-encoded */
	struct slice body;
	struct slice actor;	 /* who: name of the key, x-muster-actor, or empty: "anonymous" */
	bool by_key;		 /* it had to show one; else no key is asked for, and everybody may do everything */
	enum key_role role;	 /* of the key; whether it may call this at all was decided before */
	struct slice request_id; /* for log lines */
};

#define API_MAX_HEADERS 4
#define API_MAX_BODY ((size_t)64 << 20)

struct api_reply { /* not to be copied: headers point into text */
	int status;
	struct buf body;
	const char *content_type;
	struct http_header header[API_MAX_HEADERS]; /* beside Content-Type */
	size_t n_headers;
	char text[API_MAX_HEADERS][96];
};

void api_reply_init(struct api_reply *r);
void api_reply_release(struct api_reply *r);

/* Whether a request is one for admin_handle: its path is in the table, whatever the method. */
bool admin_serves(struct slice path);
/* Always answers: 0. */
int admin_handle(struct admin *a, const struct api_request *req, struct api_reply *reply);
