/* SPDX-License-Identifier: Apache-2.0 */
/* Errors and lists as the API writes them.  An error replaces whatever was written before it. */
#include <stdarg.h>
#include <stdio.h>

#include "control/admin/admin_internal.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"

static const char *error_type(int status)
{
	return status >= 500 ? "server_error" : "invalid_request_error";
}

int api_fail(struct api_call *c, int status, const char *param, const char *code, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_clear(&c->reply->body);
	jw_init(&c->w, &c->reply->body);
	jw_object(&c->w);
	jw_key(&c->w, "error");
	jw_object(&c->w);
	jw_kstr(&c->w, "message", utf8_truncate(slice_from(text), sizeof(text)));
	jw_kcstr(&c->w, "type", error_type(status));
	jw_kcstr(&c->w, "param", param);
	jw_kcstr(&c->w, "code", code);
	jw_object_end(&c->w);
	jw_object_end(&c->w);
	return status;
}

static const struct {
	int rc, status;
	const char *code;
} statuses[] = {
	{E_INVALID, 400, "invalid_value"},
	{E_TOOBIG, 400, "too_large"},
	{E_UNSUPPORTED, 400, "unsupported"},
	{E_DENIED, 403, "denied"},
	{E_NOTFOUND, 404, "not_found"},
	{E_EXISTS, 409, "exists"},
	{E_CONFLICT, 409, "conflict"},
	{E_BUSY, 503, "database_busy"},
	{E_TIMEOUT, 503, "database_unavailable"},
	{E_IO, 503, "database_unavailable"},
	{E_CLOSED, 503, "database_unavailable"},
	{E_UNAVAILABLE, 503, "database_unavailable"},
};

int api_error(struct api_call *c, int rc, const char *param, const struct err *err)
{
	const char *text = err->text[0] ? err->text : err_name(rc);

	for (size_t i = 0; i < COUNT_OF(statuses); i++) {
		if (statuses[i].rc != rc)
			continue;
		if (statuses[i].status == 503)
			api_header(c, "retry-after", "1");
		return api_fail(c, statuses[i].status, param, statuses[i].code, "%s", text);
	}
	return api_fail(c, 500, param, "internal_error", "%s", text);
}

void api_header(struct api_call *c, const char *name, const char *fmt, ...)
{
	struct api_reply *r = c->reply;
	char *text = r->text[r->n_headers];
	va_list ap;

	if (r->n_headers == API_MAX_HEADERS)
		return; /* a route sets at most two */
	va_start(ap, fmt);
	vsnprintf(text, sizeof(r->text[0]), fmt, ap);
	va_end(ap);
	r->header[r->n_headers++] = (struct http_header){slice_from(name), slice_from(text)};
}

void api_list_begin(struct api_call *c)
{
	jw_object(&c->w);
	jw_kcstr(&c->w, "object", "list");
	jw_key(&c->w, "data");
	jw_array(&c->w);
}

void api_list_end(struct api_call *c, bool has_more, struct slice last)
{
	jw_array_end(&c->w);
	jw_kbool(&c->w, "has_more", has_more);
	jw_key(&c->w, "next");
	if (has_more)
		jw_str(&c->w, last);
	else
		jw_null(&c->w);
	jw_object_end(&c->w);
}

void api_key_or_null(struct api_call *c, const char *key, struct slice s)
{
	jw_key(&c->w, key);
	if (s.n)
		jw_str(&c->w, s);
	else
		jw_null(&c->w);
}

void api_key_time(struct api_call *c, const char *key, int64_t at_us)
{
	char text[CLOCK_ISO_SIZE];

	jw_kcstr(&c->w, key, clock_iso(at_us, text));
}
