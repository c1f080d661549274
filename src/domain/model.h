/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A registered model: what it is called, what it serves, how to reach it.
 * Slices borrow from whoever made the struct (a database result's arena, a
 * snapshot's, a request's).
 */
#pragma once
#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/base/uuid.h"
#include "core/json/json.h"
#include "domain/price.h"

enum model_status {
	MODEL_CANDIDATE,
	MODEL_TESTING,
	MODEL_CURRENT, /* at most one per use case: the database has a unique index */
	MODEL_DEPRECATED,
	MODEL_ARCHIVED,
	MODEL_N_STATUSES,
};

struct model {
	struct uuid id;
	struct slice name, version, use_case;
	struct slice model_type; /* "self_hosted", "api", ...: free text, kept */
	struct slice provider;
	struct slice configuration; /* JSON object */
	struct slice metrics;	    /* JSON object: performance metrics as last reported */
	enum model_status status;
	int64_t created_us, updated_us, status_since_us;
};

const char *model_status_name(enum model_status s);
/* 0, or E_INVALID with the list of statuses in the error. */
int model_status_parse(struct slice s, enum model_status *ret, struct err *err);

/* Limits of names, in bytes. */
#define MODEL_NAME_MAX 128
#define MODEL_VERSION_MAX 64
#define USE_CASE_MAX 64
/* name: letters, digits and . _ - : / ; version the same; use case: lower-case letters, digits, _ and -.  E_INVALID
 * with why. */
int model_name_check(struct slice name, struct err *err);
int model_version_check(struct slice version, struct err *err);
int use_case_check(struct slice use_case, struct err *err);

/* "name@version": version is absent when there is no '@'. */
void model_ref_split(struct slice ref, struct slice *ret_name, struct slice *ret_version);

enum model_balance {
	BALANCE_LEAST_OUTSTANDING, /* of two chosen at random, the one with fewer requests under way */
	BALANCE_PREFIX,		   /* the one that had this beginning of a prompt before, unless it is much busier */
};
#define MODEL_MAX_ENDPOINTS 16

/* What `configuration` says, checked.  Unknown members are kept in the registry and ignored here. */
struct model_config {
	struct slice endpoint;	       /* URL; may be absent for provider sim */
	struct slice protocol;	       /* absent: see DESIGN, the path of the endpoint or the provider decides */
	struct slice upstream_model;   /* name to send upstream; absent: the model's own name */
	struct slice api_key_env;      /* the environment variable that holds the key */
	struct slice api_key_file;     /* a file that holds it */
	const struct json *headers;    /* object of strings to send, or NULL */
	const struct json *parameters; /* defaults for what the caller leaves out: object, or NULL */
	const struct json *sim;	       /* for provider sim: object, or NULL */
	const struct json *endpoints;  /* array of URLs: the same model behind more endpoints, or NULL */
	enum model_balance balance;    /* how one of them is chosen */
	bool no_circuit_breaker;       /* it is asked however often it failed */
	bool prefill;		       /* it goes on from the beginning of an answer that it is given */
	int64_t context_tokens;	       /* how long prompt and answer together may be; 0: not said */
	struct price price;	       /* no currency: not said */
	int64_t connect_timeout_ms, first_byte_timeout_ms, between_timeout_ms, total_timeout_ms; /* 0: the use case's */
};

/*
 * Reads root (an object, or NULL for {}).  E_INVALID names the member.  A secret written into the configuration itself
 * ("api_key", "authorization" in headers, ...) is refused, with the way to do it (api_key_env, api_key_file).
 */
int model_config_parse(const struct json *root, struct model_config *ret, struct err *err);

/*
 * The shape of a model in the API, the events and the snapshot on disk: model_id, model_name, version, use_case,
 * model_type, provider, configuration, performance_metrics, status, created_at, updated_at, status_since.
 */
struct json_writer;
void model_write(struct json_writer *w, const struct model *m);
/* Reads what model_write wrote; slices borrow from root's text.  E_INVALID names the member. */
int model_parse(const struct json *root, struct model *ret, struct err *err);
