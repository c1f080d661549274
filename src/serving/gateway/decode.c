/* SPDX-License-Identifier: Apache-2.0 */
/* From the caller's bytes to a chat request. */
#include "core/http/url.h"
#include "domain/timeouts.h"
#include "serving/gateway/exchange.h"

enum next exchange_refuse(struct exchange *e, const char *text, const char *param)
{
	struct api_error error = {.status = 400, .type = "invalid_request_error", .param = param};

	error.message = slice_from(text);
	exchange_say(e, "%s", text);
	return respond_error(e, &error);
}

/* How long the caller waits, from now. */
static bool read_deadline(struct exchange *e)
{
	struct slice s = http_header(&e->http->head, "x-request-timeout-ms");
	int64_t ms;

	if (!s.p)
		return true;
	if (slice_to_i64(s, &ms) || ms < 1 || ms > TIMEOUT_MAX_MS)
		return false;
	e->deadline_ms = e->start_ms + ms;
	return true;
}

/* What callers put behind a name, where it is none of it. */
static void drop_default_tag(struct exchange *e)
{
	struct slice *model = &e->request.model, tag = slice_from(e->front->default_tag);

	if (tag.n && slice_ends(*model, tag) && model->n > tag.n && !snapshot_use_case(e->snapshot, *model) &&
	    !snapshot_model(e->snapshot, *model))
		model->n -= tag.n;
}

int exchange_read_request(struct exchange *e, struct slice body, const char **ret_param, struct err *err)
{
	struct http_exchange *x = e->http;
	int rc = e->front->decode_request(&x->arena, e->root, body, &e->request, ret_param, err);

	if (rc)
		return rc;
	if (e->path_model.p) {
		e->request.model = url_decode(&x->arena, e->path_model, false);
		e->request.stream = e->path_stream;
		if (!e->request.model.n)
			return err_set(err, E_INVALID, "The model in the path is not written as a path may be.");
	}
	drop_default_tag(e);
	return 0;
}

enum next exchange_decode(struct exchange *e)
{
	struct http_exchange *x = e->http;
	const char *param = NULL;
	struct err err = {0};
	int rc;

	if (!read_deadline(e))
		return exchange_refuse(
			e, "The header x-request-timeout-ms has to be a number of milliseconds from 1 to 86400000.",
			"x-request-timeout-ms");
	if (!x->body.n)
		return exchange_refuse(e, "The request has no body: send a JSON object.", NULL);
	rc = json_parse(e->g->json, &x->arena, x->body, NULL, &e->root, &err);
	if (rc) {
		char text[600];

		snprintf(text, sizeof(text), "The body is not valid JSON: %s.", err.text);
		return exchange_refuse(e, text, NULL);
	}
	if (exchange_read_request(e, x->body, &param, &err))
		return exchange_refuse(e, err.text, param);
	e->step = STEP_ROUTE;
	return NEXT;
}
