/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the handlers share.  A handler returns the HTTP status of what it wrote.  Helpers that read the request return
 * 0, or the status of the error that they have written already: `if (status) return status;`.
 */
#pragma once
#include "control/admin/admin.h"
#include "control/store/budgets.h"
#include "core/http/router.h"
#include "core/json/writer.h"

#define API_ACTOR_MAX 128
#define API_REASON_MAX 1024
#define API_LIMIT_DEFAULT 50
#define API_FLUSH_LIMIT_MS 250

struct api_call {
	struct admin *admin;
	const struct api_request *req;
	struct api_reply *reply;
	struct arena arena;
	struct json_parser *parser;	      /* made when first needed */
	struct slice param[ROUTE_MAX_PARAMS]; /* decoded */
	struct slice query;		      /* checked: every name is known */
	const struct json *body;	      /* an object, or NULL when there is none */
	struct registry_who who;
	struct json_writer w; /* into reply->body */
	int64_t now_us;
};

typedef int api_fn(struct api_call *c);

struct api_route {
	api_fn *fn;
	const char *query; /* "a|b": names that the query may have; NULL: none */
	const char *body;  /* names of the body's members; NULL: no body is read; "*": the handler checks them */
	bool body_required;
};

/* reply.c */
int api_fail(struct api_call *c, int status, const char *param, const char *code, const char *fmt, ...)
	PRINTF_LIKE(5, 6);
int api_error(struct api_call *c, int rc, const char *param, const struct err *err);
void api_header(struct api_call *c, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
void api_list_begin(struct api_call *c);
/* last: id of the last item; used when has_more. */
void api_list_end(struct api_call *c, bool has_more, struct slice last);
void api_key_or_null(struct api_call *c, const char *key, struct slice s); /* null when empty */
void api_key_time(struct api_call *c, const char *key, int64_t at_us);

/* request.c */
/* The nearest of "a|b|c", or absent when nothing is near. */
struct slice api_nearest(const char *names, struct slice word);
bool api_one_of(const char *names, struct slice word);
int api_read_query(struct api_call *c, const char *names);
int api_read_body(struct api_call *c, const struct api_route *route);
int api_parse_json(struct api_call *c, struct slice text, struct json **ret, struct err *err);
struct slice api_query(struct api_call *c, const char *name); /* decoded; absent */
int api_query_bool(struct api_call *c, const char *name, bool *ret);
int api_query_time(struct api_call *c, const char *name, int64_t *ret_us);
int api_query_limit(struct api_call *c, size_t *ret);
int api_query_id(struct api_call *c, const char *name, struct slice *ret); /* a whole UUID, or absent */
int api_query_use_case(struct api_call *c, struct slice *ret);
int api_body_str(struct api_call *c, const char *name, size_t max, struct slice *ret);
int api_body_object(struct api_call *c, const char *name, const struct json **ret);
/* The body without `reason`, as JSON text in the arena. */
int api_body_rest(struct api_call *c, struct slice *ret);

/* resolve.c: each takes a connection and gives it back; none may be held while calling the registry */
int api_models(struct api_call *c, const struct model_filter *f, struct model **ret, size_t *ret_n);
int api_model_by_id(struct api_call *c, const struct uuid *id, struct model *ret);
/* {model}: id, prefix of an id, name@version, name. */
int api_model_resolve(struct api_call *c, struct slice ref, struct slice use_case, struct model *ret);
int api_write_model_by_id(struct api_call *c, const struct uuid *id, int status);

/* budgets.c */
/* How all budgets of keys ("key/") or use cases ("use_case/") stand. */
int api_budgets_read(struct api_call *c, struct slice prefix, struct budget_states *ret);
/* The member budgets, of the key or use case that is called id there. */
struct api_owner {
	struct slice prefix, id;
	const struct budgets *budgets;
};
void api_budgets_write(struct api_call *c, const struct budget_states *all, const struct api_owner *o);

/* the handlers */
api_fn api_models_list, api_models_create, api_model_get, api_model_patch, api_model_delete, api_model_promote,
	api_model_history;
api_fn api_use_cases_list, api_use_case_get, api_use_case_put, api_use_case_current;
api_fn api_events_list;
api_fn api_logs_list, api_log_get;
api_fn api_violations_list;
api_fn api_keys_list, api_key_create, api_key_get, api_key_patch, api_key_revoke;
api_fn api_policies_list, api_policy_get, api_policy_put;
api_fn api_rollback, api_snapshots_list;
api_fn api_review;
api_fn api_retention_get, api_retention_purge;
api_fn api_alerts_list, api_alerts_test, api_receivers_list, api_silences_list, api_silence_create, api_silence_delete;
api_fn api_deployments_list, api_deployments_create, api_deployment_get, api_deployment_pause, api_deployment_resume,
	api_deployment_promote, api_deployment_abort;
