/* SPDX-License-Identifier: Apache-2.0 */
/* From the caller's bytes to a chat request. */
#include "serving/gateway/exchange.h"

static enum next refuse(struct exchange *e, const char *text, const char *param)
{
	struct api_error error = {.status = 400, .type = "invalid_request_error", .param = param};

	error.message = slice_from(text);
	snprintf(e->error_text, sizeof(e->error_text), "%s", text);
	return respond_error(e, &error);
}

enum next exchange_decode(struct exchange *e)
{
	struct http_exchange *x = e->http;
	const char *param = NULL;
	struct err err = {0};
	int rc;

	if (!x->body.n)
		return refuse(e, "The request has no body: send a JSON object.", NULL);
	rc = json_parse(e->g->json, &x->arena, x->body, NULL, &e->root, &err);
	if (rc) {
		char text[600];

		snprintf(text, sizeof(text), "The body is not valid JSON: %s.", err.text);
		return refuse(e, text, NULL);
	}
	rc = e->front->decode_request(&x->arena, e->root, x->body, &e->request, &param, &err);
	if (rc)
		return refuse(e, err.text, param);
	e->step = STEP_ROUTE;
	return NEXT;
}

enum next exchange_complete_request(struct exchange *e)
{
	const char *param = NULL;
	struct err err = {0};
	int rc = protocol_complete(e->front, &e->http->arena, &e->request, &param, &err);

	return rc ? refuse(e, err.text[0] ? err.text : err_name(rc), param) : NEXT;
}
