/* SPDX-License-Identifier: Apache-2.0 */
/* /api/v1/retention: how long the historical log is kept, what is in it, and removing what an operator names. */
#include "control/admin/admin_internal.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"

static void key_seconds(struct api_call *c, const char *key, int64_t us)
{
	jw_key(&c->w, key);
	if (us)
		jw_i64(&c->w, us / 1000000);
	else
		jw_null(&c->w);
}

static void key_when(struct api_call *c, const char *key, int64_t at_us)
{
	if (at_us) {
		api_key_time(c, key, at_us);
	} else {
		jw_key(&c->w, key);
		jw_null(&c->w);
	}
}

/* A day goes when its last moment is past the retention. */
static int64_t next_drop_us(const struct retention_status *s, const struct retention_facts *f)
{
	int64_t oldest_us = f->partitioned ? f->oldest_day_us : f->oldest_us;

	if (!s->rule.records_us || !oldest_us)
		return 0;
	return oldest_us + (f->partitioned ? RETENTION_DAY_US : 0) + s->rule.records_us;
}

int api_retention_get(struct api_call *c)
{
	struct retention_facts f = {0};
	struct retention_status s;
	struct err err = {0};
	struct db *db = NULL;
	int rc = store_acquire(c->admin->store, &db, &err);

	if (rc == 0) {
		rc = store_retention_inspect(db, c->now_us, &f, &err);
		store_release(c->admin->store, db);
	}
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	retention_status(c->admin->retention, &s);
	jw_object(&c->w);
	key_seconds(c, "retention_s", s.rule.records_us);
	key_seconds(c, "content_retention_s", s.rule.texts_us);
	key_when(c, "oldest_record_at", f.oldest_us);
	key_when(c, "oldest_content_at", f.oldest_texts_us);
	jw_key(&c->w, "partitions");
	if (f.partitioned)
		jw_i64(&c->w, f.n_days);
	else
		jw_null(&c->w);
	key_when(c, "oldest_partition_at", f.oldest_day_us);
	jw_ki64(&c->w, "bytes", f.bytes);
	jw_ki64(&c->w, "free_bytes", f.free_bytes);
	key_when(c, "next_drop_at", next_drop_us(&s, &f));
	key_when(c, "last_run_at", s.last_run_us);
	key_when(c, "last_failure_at", s.last_failure_us);
	api_key_or_null(c, "problem", slice_from(s.problem));
	jw_kbool(&c->w, "more", s.more);
	jw_object_end(&c->w);
	return 200;
}

static int read_purge(struct api_call *c, struct retention_purge *p)
{
	const struct json *after = json_get(c->body, "after"), *content = json_get(c->body, "content_only");
	struct slice older = {0};
	int status;

	if ((status = api_body_str(c, "older_than", 64, &older)) ||
	    (status = api_body_str(c, "caller", 256, &p->caller)))
		return status;
	if (!older.n && !p->caller.n)
		return api_fail(c, 400, "older_than", "missing_member",
				"say what is to go: older_than, caller, or both");
	if (older.n && (clock_parse(older, c->now_us, &p->before_us) || p->before_us <= 0))
		return api_fail(c, 400, "older_than", "invalid_value",
				"'" SLICE_FMT "' is no age: say 30d, 12h, or a time such as 2026-11-23T04:50:20Z",
				SLICE_ARG(utf8_truncate(older, 80)));
	if (p->before_us > c->now_us)
		return api_fail(c, 400, "older_than", "invalid_value", "older_than is in the future");
	if (!c->who.reason.n)
		return api_fail(c, 400, "reason", "missing_member", "reason is missing: it stays in the history");
	if (content && content->type != JSON_BOOL && content->type != JSON_NULL)
		return api_fail(c, 400, "content_only", "invalid_type", "content_only is true or false");
	if (after && after->type != JSON_NULL &&
	    (json_get_i64(c->body, "after", &p->after_arrival, NULL) || p->after_arrival < 0))
		return api_fail(c, 400, "after", "invalid_value",
				"after is a number: the `after` of the answer before this one");
	p->texts_only = content && content->type == JSON_BOOL && content->boolean;
	if (!p->caller.n)
		p->caller = (struct slice){0};
	return 0;
}

int api_retention_purge(struct api_call *c)
{
	struct retention_purge p = {.actor = c->who.actor};
	struct retention_removed n = {0};
	struct err err = {0};
	int status = read_purge(c, &p), rc;

	if (status)
		return status;
	p.reason = c->who.reason;
	rc = retention_purge(c->admin->retention, &p, &n, &err);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	jw_object(&c->w);
	jw_ki64(&c->w, "records", n.records);
	jw_ki64(&c->w, "violations", n.violations);
	jw_kbool(&c->w, "content_only", p.texts_only);
	jw_kbool(&c->w, "more", n.more);
	jw_ki64(&c->w, "after", n.arrival);
	jw_object_end(&c->w);
	return 200;
}
