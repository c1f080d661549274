/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes, and the way of a request through it: path, query, body, handler.  docs/api/openapi.yaml
 * describes the same table. */
#include "control/admin/admin.h"

#include <stdio.h>

#include "control/admin/admin_internal.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/http/url.h"

#define ARENA_FIRST ((size_t)32 << 10)
#define ARENA_MAX ((size_t)128 << 20)

static const struct log admin_log = {.module = "admin"};

#define PAGE "limit|before"
#define WHEN "since|until"

static const struct api_route models_list = {api_models_list, "use_case|status|provider|name|include_archived|" PAGE};
static const struct api_route models_create = {
	.fn = api_models_create,
	.body = "model_name|version|use_case|provider|model_type|configuration|performance_metrics|status|reason",
	.body_required = true,
};
static const struct api_route model_get = {api_model_get, "use_case"};
static const struct api_route model_patch = {api_model_patch, "use_case",
					     "status|configuration|performance_metrics|reason", true};
static const struct api_route model_delete = {api_model_delete, "use_case|reason"};
static const struct api_route model_promote = {api_model_promote, "use_case", "use_case|reason"};
static const struct api_route model_history = {api_model_history, "use_case|" PAGE};
static const struct api_route use_cases_list = {api_use_cases_list, PAGE};
static const struct api_route use_case_get = {api_use_case_get};
static const struct api_route use_case_put = {api_use_case_put, NULL, "*", true};
static const struct api_route use_case_current = {api_use_case_current, "at"};
static const struct api_route events_list = {api_events_list, "use_case|subject|kind|until|" PAGE};
static const struct api_route logs_list = {api_logs_list, "use_case|model|status|after|text|" WHEN "|" PAGE};
static const struct api_route log_get = {api_log_get};
static const struct api_route policies_list = {api_policies_list, PAGE};
static const struct api_route policy_get = {api_policy_get};
static const struct api_route policy_put = {api_policy_put, NULL, "*", true};
static const struct api_route keys_list = {api_keys_list, "all|" PAGE};
static const struct api_route key_create = {
	.fn = api_key_create,
	.body = "name|role|use_cases|expires|requests_per_minute|tokens_per_minute|budget|token_budget|translation|"
		"reason",
	.body_required = true,
};
static const struct api_route key_get = {api_key_get};
static const struct api_route key_patch = {
	.fn = api_key_patch, .body = "budget|token_budget|translation|reason", .body_required = true};
static const struct api_route key_revoke = {api_key_revoke, "reason"};
static const struct api_route violations_list = {api_violations_list,
						 "use_case|model|category|severity|" WHEN "|" PAGE};
static const struct api_route deployments_list = {api_deployments_list, "use_case|active|" PAGE};
static const struct api_route deployments_create = {
	.fn = api_deployments_create,
	.body = "use_case|model|strategy|steps|hold|max_wait|max_pause|thresholds|reason",
	.body_required = true,
};
static const struct api_route deployment_get = {api_deployment_get};
static const struct api_route deployment_pause = {.fn = api_deployment_pause, .body = "reason"};
static const struct api_route deployment_resume = {.fn = api_deployment_resume, .body = "reason"};
static const struct api_route deployment_promote = {.fn = api_deployment_promote, .body = "reason"};
static const struct api_route deployment_abort = {.fn = api_deployment_abort, .body = "reason"};
static const struct api_route rollback = {
	.fn = api_rollback, .body = "use_case|to_model|snapshot_id|reason", .body_required = true};
static const struct api_route snapshots_list = {api_snapshots_list, "use_case|" PAGE};
static const struct api_route review = {api_review, "window|until|use_case"};

static const struct api_route retention_get = {api_retention_get};
static const struct api_route retention_purge_route = {
	.fn = api_retention_purge, .body = "older_than|caller|content_only|after|reason", .body_required = true};
static const struct api_route alert_list = {api_alerts_list, "state|rule|use_case|" PAGE};
static const struct api_route alert_test = {.fn = api_alerts_test, .body = "receiver|reason"};
static const struct api_route receivers_list = {api_receivers_list};
static const struct api_route silences_list = {api_silences_list};
static const struct api_route silence_create = {
	.fn = api_silence_create, .body = "rule|use_case|for|reason", .body_required = true};
static const struct api_route silence_delete = {api_silence_delete, "reason"};

static const struct route routes[] = {
	{HTTP_GET, "/api/v1/models", &models_list},
	{HTTP_POST, "/api/v1/models", &models_create},
	{HTTP_GET, "/api/v1/models/{model}", &model_get},
	{HTTP_PATCH, "/api/v1/models/{model}", &model_patch},
	{HTTP_DELETE, "/api/v1/models/{model}", &model_delete},
	{HTTP_POST, "/api/v1/models/{model}/promote", &model_promote},
	{HTTP_GET, "/api/v1/models/{model}/history", &model_history},
	{HTTP_GET, "/api/v1/use-cases", &use_cases_list},
	{HTTP_GET, "/api/v1/use-cases/{use_case}", &use_case_get},
	{HTTP_PUT, "/api/v1/use-cases/{use_case}", &use_case_put},
	{HTTP_GET, "/api/v1/use-cases/{use_case}/current", &use_case_current},
	{HTTP_GET, "/api/v1/events", &events_list},
	{HTTP_GET, "/api/v1/logs", &logs_list},
	{HTTP_GET, "/api/v1/logs/{log}", &log_get},
	{HTTP_GET, "/api/v1/guardrails/policies", &policies_list},
	{HTTP_GET, "/api/v1/guardrails/policies/{name}", &policy_get},
	{HTTP_PUT, "/api/v1/guardrails/policies/{name}", &policy_put},
	{HTTP_GET, "/api/v1/guardrails/violations", &violations_list},
	{HTTP_GET, "/api/v1/deployments", &deployments_list},
	{HTTP_POST, "/api/v1/deployments", &deployments_create},
	{HTTP_GET, "/api/v1/deployments/{deployment}", &deployment_get},
	{HTTP_POST, "/api/v1/deployments/{deployment}/pause", &deployment_pause},
	{HTTP_POST, "/api/v1/deployments/{deployment}/resume", &deployment_resume},
	{HTTP_POST, "/api/v1/deployments/{deployment}/promote", &deployment_promote},
	{HTTP_POST, "/api/v1/deployments/{deployment}/abort", &deployment_abort},
	{HTTP_POST, "/api/v1/rollback", &rollback},
	{HTTP_GET, "/api/v1/snapshots", &snapshots_list},
	{HTTP_GET, "/api/v1/review", &review},
	{HTTP_GET, "/api/v1/retention", &retention_get},
	{HTTP_POST, "/api/v1/retention/purge", &retention_purge_route},
	{HTTP_GET, "/api/v1/alerts", &alert_list},
	{HTTP_GET, "/api/v1/alerts/receivers", &receivers_list},
	{HTTP_POST, "/api/v1/alerts/test", &alert_test},
	{HTTP_GET, "/api/v1/alerts/silences", &silences_list},
	{HTTP_POST, "/api/v1/alerts/silences", &silence_create},
	{HTTP_DELETE, "/api/v1/alerts/silences/{silence}", &silence_delete},
	{HTTP_GET, "/api/v1/keys", &keys_list},
	{HTTP_POST, "/api/v1/keys", &key_create},
	{HTTP_GET, "/api/v1/keys/{key}", &key_get},
	{HTTP_PATCH, "/api/v1/keys/{key}", &key_patch},
	{HTTP_DELETE, "/api/v1/keys/{key}", &key_revoke},
};

void api_reply_init(struct api_reply *r)
{
	*r = (struct api_reply){.content_type = "application/json"};
	buf_init(&r->body, API_MAX_BODY);
}

void api_reply_release(struct api_reply *r)
{
	buf_release(&r->body);
}

bool admin_serves(struct slice path)
{
	struct http_head head = {.method = HTTP_GET, .path = path};
	struct route_match match;

	return route_find(routes, COUNT_OF(routes), &head, &match) != E_NOTFOUND;
}

static int method_not_allowed(struct api_call *c, unsigned allowed)
{
	char list[ROUTE_ALLOWED_SIZE];

	route_allowed(allowed, list);
	api_header(c, "allow", "%s", list);
	return api_fail(c, 405, NULL, "method_not_allowed", "'" SLICE_FMT "' takes %s",
			SLICE_ARG(utf8_truncate(c->req->path, 200)), list);
}

static int decode_params(struct api_call *c, const struct route_match *match)
{
	for (size_t i = 0; i < match->n_params; i++) {
		c->param[i] = url_decode(&c->arena, match->param[i], false);
		if (!c->param[i].p || !utf8_valid(c->param[i]))
			return api_fail(c, 400, NULL, "invalid_path", "the path is not percent-encoded UTF-8");
		if (c->param[i].n > 256)
			return api_fail(c, 400, NULL, "invalid_path", "a part of the path is longer than 256 bytes");
	}
	return 0;
}

static int read_actor(struct api_call *c)
{
	c->who.actor = c->req->actor.n ? c->req->actor : SLICE_LIT("anonymous");
	c->who.reason = SLICE_LIT("");
	if (c->who.actor.n > API_ACTOR_MAX)
		return api_fail(c, 400, "x-muster-actor", "too_long", "x-muster-actor is longer than %d bytes",
				API_ACTOR_MAX);
	if (!utf8_valid(c->who.actor))
		return api_fail(c, 400, "x-muster-actor", "invalid_value", "x-muster-actor is not UTF-8");
	return 0;
}

static int dispatch(struct api_call *c)
{
	struct http_head head = {.method = c->req->method, .path = c->req->path};
	const struct api_route *route;
	struct route_match match;
	int rc, status;

	rc = route_find(routes, COUNT_OF(routes), &head, &match);
	if (rc == E_DENIED)
		return method_not_allowed(c, match.allowed);
	if (rc < 0)
		return api_fail(c, 404, NULL, "no_such_path", "nothing is at '" SLICE_FMT "': GET / says what there is",
				SLICE_ARG(slice_sub(c->req->path, 0, 200)));
	route = match.route->target;
	if ((status = read_actor(c)) || (status = decode_params(c, &match)) ||
	    (status = api_read_query(c, route->query)) || (status = api_read_body(c, route)))
		return status;
	return route->fn(c);
}

static bool changes(enum http_method m)
{
	return m != HTTP_GET && m != HTTP_HEAD;
}

/* A line for each change and each failure; what a reason says stays in the events. */
static void write_log(const struct api_call *c, int status)
{
	const struct api_request *r = c->req;

	if (status >= 500)
		log_error(&admin_log, "%s " SLICE_FMT " by " SLICE_FMT ": %d, request " SLICE_FMT,
			  http_method_name(r->method), SLICE_ARG(slice_sub(r->path, 0, 200)),
			  SLICE_ARG(slice_sub(r->actor, 0, API_ACTOR_MAX)), status, SLICE_ARG(r->request_id));
	else if (changes(r->method) && status < 300)
		log_info(&admin_log, "%s " SLICE_FMT " by " SLICE_FMT ": %d, request " SLICE_FMT,
			 http_method_name(r->method), SLICE_ARG(slice_sub(r->path, 0, 200)), SLICE_ARG(c->who.actor),
			 status, SLICE_ARG(r->request_id));
}

int admin_handle(struct admin *a, const struct api_request *req, struct api_reply *reply)
{
	struct api_call c = {.admin = a, .req = req, .reply = reply, .now_us = clock_wall_us()};

	arena_init(&c.arena, ARENA_FIRST, ARENA_MAX);
	jw_init(&c.w, &reply->body);
	reply->status = dispatch(&c);
	if (buf_failed(&reply->body))
		reply->status =
			api_fail(&c, 400, "limit", "answer_too_large",
				 "the answer is larger than %zu MiB: ask for fewer with limit", API_MAX_BODY >> 20);
	write_log(&c, reply->status);
	json_parser_free(c.parser);
	arena_release(&c.arena);
	return 0;
}
