/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/v1/logs and /api/v1/guardrails/violations.  What was answered a moment ago may still be in the spool: the
 * shipper gets a moment to bring it over first, so that who just called sees the call.
 */
#include "control/admin/admin_internal.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"

static void flush(struct api_call *c)
{
	if (c->admin->shipper)
		(void)shipper_flush(c->admin->shipper,
				    API_FLUSH_LIMIT_MS); /* late is fine: then it is not listed yet */
}

static void key_ms(struct json_writer *w, const char *key, int64_t us)
{
	jw_key(w, key);
	if (us < 0)
		jw_null(w);
	else
		jw_double(w, (double)us / 1000);
}

static void key_count(struct json_writer *w, const char *key, int64_t n)
{
	jw_key(w, key);
	if (n < 0)
		jw_null(w);
	else
		jw_i64(w, n);
}

static void key_text(struct json_writer *w, const char *key, struct slice s)
{
	jw_key(w, key);
	if (s.p)
		jw_str(w, s);
	else
		jw_null(w);
}

static void write_hit(struct json_writer *w, const struct record_violation *v)
{
	jw_kstr(w, "policy", v->policy);
	jw_kstr(w, "rule", v->rule);
	jw_kstr(w, "category", v->category);
	jw_kcstr(w, "severity", guard_severity_name(v->severity));
	jw_kcstr(w, "action", guard_action_name(v->action));
	jw_kcstr(w, "side", guard_side_name(v->side));
	jw_ki64(w, "start", v->start);
	jw_ki64(w, "length", v->length);
}

static void write_guardrail(struct json_writer *w, const struct log_record *r, bool with_violations)
{
	jw_key(w, "guardrail");
	jw_object(w);
	jw_kcstr(w, "action", guard_action_name(r->guard_action));
	jw_kbool(w, "skipped", r->guard_skipped);
	if (with_violations) {
		jw_key(w, "violations");
		jw_array(w);
		for (size_t i = 0; i < r->n_violations; i++) {
			jw_object(w);
			write_hit(w, &r->violations[i]);
			jw_object_end(w);
		}
		jw_array_end(w);
	}
	jw_object_end(w);
}

static void write_cost(struct json_writer *w, const struct money *m)
{
	char text[MONEY_SIZE];

	jw_key(w, "cost");
	if (money_known(m))
		jw_raw(w, slice_from(money_format(m->nano, text)));
	else
		jw_null(w);
	jw_kcstr(w, "currency", money_known(m) ? m->currency : NULL);
}

static void write_numbers(struct json_writer *w, const struct log_record *r)
{
	jw_key(w, "usage");
	jw_object(w);
	key_count(w, "prompt_tokens", r->prompt_tokens);
	key_count(w, "completion_tokens", r->completion_tokens);
	jw_kbool(w, "estimated", r->tokens_estimated);
	jw_object_end(w);
	write_cost(w, &r->cost);
	key_ms(w, "latency_ms", r->latency_us);
	key_ms(w, "first_token_ms", r->first_token_us);
}

/* whole: one record was asked for, with its violations. */
static void write_log(struct api_call *c, const struct log_record *r, bool with_text, bool whole)
{
	struct json_writer *w = &c->w;
	char id[UUID_STR_SIZE], at[CLOCK_ISO_SIZE];

	jw_object(w);
	jw_kcstr(w, "log_id", uuid_format(&r->id, id));
	api_key_time(c, "created_at", r->created_us);
	jw_kcstr(w, "source", record_source_name(r->source));
	api_key_or_null(c, "request_id", r->request_id);
	api_key_or_null(c, "model_id", r->model_id);
	api_key_or_null(c, "model_name", r->model_name);
	api_key_or_null(c, "use_case", r->use_case);
	api_key_or_null(c, "provider", r->provider);
	api_key_or_null(c, "caller", r->caller);
	jw_kcstr(w, "status", record_status_name(r->status));
	key_count(w, "http_status", r->http_status > 0 ? r->http_status : -1);
	jw_kcstr(w, "fallback", record_fallback_name(r->fallback));
	jw_kbool(w, "stream", r->stream);
	jw_kbool(w, "cached", r->cached);
	api_key_or_null(c, "finish_reason", r->finish_reason);
	api_key_or_null(c, "error", r->error);
	if (with_text) {
		key_text(w, "prompt", r->prompt);
		jw_kraw(w, "context", r->context);
		key_text(w, "output", r->output);
		jw_kraw(w, "tool_calls", r->tool_calls);
	}
	if (with_text || r->content_removed_us) {
		jw_key(w, "content_removed_at");
		if (r->content_removed_us)
			jw_cstr(w, clock_iso(r->content_removed_us, at));
		else
			jw_null(w);
	}
	if (r->content_error.p)
		jw_kstr(w, "content_error", r->content_error);
	jw_kraw(w, "parameters", r->parameters);
	jw_kraw(w, "attempts", r->attempts);
	write_numbers(w, r);
	write_guardrail(w, r, whole);
	jw_object_end(w);
}

static int read_log_filter(struct api_call *c, struct log_filter *f)
{
	enum record_status s;
	int status;

	f->model = api_query(c, "model");
	f->status = api_query(c, "status");
	if (f->status.p && record_status_parse(f->status, &s) < 0)
		return api_fail(
			c, 400, "status", "invalid_value",
			"'" SLICE_FMT
			"' is no status: say ok, error, blocked, truncated, client_disconnect, timeout or shutdown",
			SLICE_ARG(utf8_truncate(f->status, 80)));
	if ((status = api_query_use_case(c, &f->use_case)) || (status = api_query_time(c, "since", &f->since_us)) ||
	    (status = api_query_time(c, "until", &f->until_us)) ||
	    (status = api_query_id(c, "before", &f->before_id)) || (status = api_query_id(c, "after", &f->after_id)) ||
	    (status = api_query_bool(c, "text", &f->with_text)))
		return status;
	if (f->before_id.p && f->after_id.p)
		return api_fail(c, 400, "after", "invalid_value", "before and after cannot go together");
	return 0;
}

int api_logs_list(struct api_call *c)
{
	struct log_record *list = NULL;
	struct log_filter f = {0};
	char last[UUID_STR_SIZE] = "";
	struct err err = {0};
	size_t n = 0, limit = 0;
	struct db *db;
	int status, rc;

	if ((status = read_log_filter(c, &f)) || (status = api_query_limit(c, &limit)))
		return status;
	f.limit = min_size(limit + 1, STORE_PAGE_MAX);
	flush(c);
	rc = store_acquire(c->admin->store, &db, &err);
	if (rc == 0) {
		rc = store_log_list(db, &c->arena, &f, &list, &n, &err);
		store_release(c->admin->store, db);
	}
	if (rc < 0)
		return api_error(c, rc, rc == E_TOOBIG ? "limit" : NULL, &err);
	api_list_begin(c);
	for (size_t i = 0; i < n && i < limit; i++) {
		write_log(c, &list[i], f.with_text, false);
		uuid_format(&list[i].id, last);
	}
	api_list_end(c, n > limit || n == STORE_PAGE_MAX, slice_from(last));
	return 200;
}

int api_log_get(struct api_call *c)
{
	struct log_record *r = arena_zalloc(&c->arena, sizeof(*r));
	struct err err = {0};
	struct db *db;
	int rc;

	if (!r)
		return api_error(c, E_TOOBIG, NULL, &err);
	flush(c);
	rc = store_acquire(c->admin->store, &db, &err);
	if (rc == 0) {
		rc = store_log_get(db, &c->arena, c->param[0], r, &err);
		store_release(c->admin->store, db);
	}
	if (rc == E_NOTFOUND)
		return api_fail(c, 404, "log_id", "log_not_found", "%s", err.text);
	if (rc == E_CONFLICT)
		return api_fail(c, 409, "log_id", "ambiguous_log", "%s", err.text);
	if (rc < 0)
		return api_error(c, rc, "log_id", &err);
	write_log(c, r, true, true);
	return 200;
}

static void write_violation(struct api_call *c, const struct violation_row *v)
{
	char id[UUID_STR_SIZE];

	jw_object(&c->w);
	jw_kcstr(&c->w, "violation_id", uuid_format(&v->id, id));
	jw_kcstr(&c->w, "log_id", uuid_format(&v->log_id, id));
	api_key_time(c, "created_at", v->created_us);
	api_key_or_null(c, "model_id", v->model_id);
	api_key_or_null(c, "model_name", v->model_name);
	api_key_or_null(c, "use_case", v->use_case);
	write_hit(&c->w, &v->v);
	jw_object_end(&c->w);
}

static int read_violation_filter(struct api_call *c, struct violation_filter *f)
{
	int status;

	f->model = api_query(c, "model");
	f->category = api_query(c, "category");
	f->severity = api_query(c, "severity");
	if (f->severity.p && !api_one_of("low|medium|high|critical", f->severity))
		return api_fail(c, 400, "severity", "invalid_value",
				"'" SLICE_FMT "' is no severity: say low, medium, high or critical",
				SLICE_ARG(utf8_truncate(f->severity, 80)));
	if ((status = api_query_use_case(c, &f->use_case)) || (status = api_query_time(c, "since", &f->since_us)) ||
	    (status = api_query_time(c, "until", &f->until_us)) || (status = api_query_id(c, "before", &f->before_id)))
		return status;
	return 0;
}

int api_violations_list(struct api_call *c)
{
	struct violation_row *list = NULL;
	struct violation_filter f = {0};
	char last[UUID_STR_SIZE] = "";
	struct err err = {0};
	size_t n = 0, limit = 0;
	struct db *db;
	int status, rc;

	if ((status = read_violation_filter(c, &f)) || (status = api_query_limit(c, &limit)))
		return status;
	f.limit = min_size(limit + 1, STORE_PAGE_MAX);
	flush(c);
	rc = store_acquire(c->admin->store, &db, &err);
	if (rc == 0) {
		rc = store_violation_list(db, &c->arena, &f, &list, &n, &err);
		store_release(c->admin->store, db);
	}
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	api_list_begin(c);
	for (size_t i = 0; i < n && i < limit; i++) {
		write_violation(c, &list[i]);
		uuid_format(&list[i].id, last);
	}
	api_list_end(c, n > limit || n == STORE_PAGE_MAX, slice_from(last));
	return 200;
}
