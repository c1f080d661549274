/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/v1/alerts: what fires and what did, tests of the receivers, silences.  The list is the database's; when that is
 * away it is what this daemon has in memory, for that is just when somebody looks.
 */
#include "control/admin/admin_internal.h"
#include "control/alerts/rules.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"

#define SILENCE_MAX_MS (INT64_C(90) * 24 * 3600 * 1000)

static const struct log admin_log = {.module = "admin"};

static bool is_away(int rc)
{
	return rc == E_UNAVAILABLE || rc == E_BUSY || rc == E_IO || rc == E_TIMEOUT;
}

/* --- list --- */

static void key_time_or_null(struct api_call *c, const char *key, int64_t at_us)
{
	if (at_us)
		api_key_time(c, key, at_us);
	else
		jw_kcstr(&c->w, key, NULL);
}

static void write_alert(struct api_call *c, const struct alert_row *a)
{
	char id[UUID_STR_SIZE];
	struct json_writer *w = &c->w;
	bool firing = slice_eq_str(a->state, "firing");

	jw_object(w);
	jw_kcstr(w, "alert_id", uuid_format(&a->id, id));
	jw_kstr(w, "rule", a->rule);
	jw_kstr(w, "severity", a->severity);
	jw_kstr(w, "state", a->state);
	api_key_or_null(c, "use_case", a->use_case);
	api_key_or_null(c, "instance", a->instance);
	jw_kstr(w, "fingerprint", a->fingerprint);
	jw_kstr(w, "summary", a->summary);
	jw_kraw(w, "details", a->details);
	key_time_or_null(c, "since", a->since_us);
	key_time_or_null(c, "fired_at", a->fired_us);
	key_time_or_null(c, "resolved_at", a->resolved_us);
	jw_kbool(w, "silenced", firing && alerts_is_silenced(c->admin->alerts, a->rule, a->use_case, c->now_us));
	jw_key(w, "delivery");
	jw_object(w);
	jw_kstr(w, "state", a->delivery);
	key_time_or_null(c, "last_at", a->delivered_us);
	api_key_or_null(c, "error", a->delivery_error);
	jw_object_end(w);
	jw_object_end(w);
}

static int read_filter(struct api_call *c, struct alert_filter *f)
{
	enum alert_rule rule;
	struct err err = {0};

	f->state = api_query(c, "state");
	f->rule = api_query(c, "rule");
	if (f->state.p && !api_one_of("firing|resolved", f->state))
		return api_fail(c, 400, "state", "invalid_value", "state is firing or resolved, not '" SLICE_FMT "'",
				SLICE_ARG(utf8_truncate(f->state, 80)));
	if (f->rule.p && alert_rule_parse(f->rule, &rule, &err))
		return api_error(c, E_INVALID, "rule", &err);
	return api_query_use_case(c, &f->use_case);
}

static int read_rows(struct api_call *c, const struct alert_filter *f, struct alert_row **ret, size_t *ret_n,
		     struct err *err)
{
	struct db *db = NULL;
	int rc = store_acquire(c->admin->store, &db, err);

	if (!rc)
		rc = store_alert_list(db, &c->arena, f, ret, ret_n, err);
	store_release(c->admin->store, db);
	return is_away(rc) ? alerts_in_memory(c->admin->alerts, &c->arena, f, ret, ret_n, err) : rc;
}

int api_alerts_list(struct api_call *c)
{
	struct alert_filter f = {.limit = 0};
	struct alert_row *list = NULL;
	char last[UUID_STR_SIZE] = "";
	size_t n = 0, limit = 0;
	struct err err = {0};
	int status, rc;

	if ((status = read_filter(c, &f)) || (status = api_query_limit(c, &limit)) ||
	    (status = api_query_id(c, "before", &f.before_id)))
		return status;
	f.limit = min_size(limit + 1, STORE_PAGE_MAX);
	rc = read_rows(c, &f, &list, &n, &err);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	api_list_begin(c);
	for (size_t i = 0; i < n && i < limit; i++) {
		write_alert(c, &list[i]);
		uuid_format(&list[i].id, last);
	}
	api_list_end(c, n > limit || n == STORE_PAGE_MAX, slice_from(last));
	return 200;
}

/* --- receivers: how they do, and never where they are --- */

static void write_receiver(struct api_call *c, const struct alert_receiver_status *r)
{
	jw_object(&c->w);
	jw_kcstr(&c->w, "name", r->name);
	jw_kcstr(&c->w, "format", alert_format_name(r->format));
	jw_kcstr(&c->w, "min_severity", alert_severity_name(r->min_severity));
	jw_kcstr(&c->w, "state", r->failures ? "failing" : "ok");
	jw_ki64(&c->w, "delivered", (int64_t)r->n_delivered);
	jw_ki64(&c->w, "failed", (int64_t)r->n_failed);
	jw_ki64(&c->w, "gave_up", (int64_t)r->n_gave_up);
	key_time_or_null(c, "last_delivered_at", r->last_ok_us);
	key_time_or_null(c, "last_failed_at", r->last_error_us);
	jw_kcstr(&c->w, "error", *r->error ? r->error : NULL);
	jw_object_end(&c->w);
}

int api_receivers_list(struct api_call *c)
{
	struct alerts_status s;

	alerts_status(c->admin->alerts, &s);
	api_list_begin(c);
	for (size_t i = 0; i < s.n_receivers; i++)
		write_receiver(c, &s.receiver[i]);
	api_list_end(c, false, SLICE_LIT(""));
	return 200;
}

/* --- events: each change here has its own transaction --- */

static struct registry_event event_of(struct api_call *c, const char *kind, struct slice subject)
{
	return (struct registry_event){.id = uuid_v7_now(),
				       .at_us = c->now_us,
				       .kind = slice_from(kind),
				       .subject = subject,
				       .actor = c->who.actor,
				       .reason = c->who.reason};
}

typedef int change_fn(struct api_call *c, struct db *db, void *arg, struct err *err);

static int change(struct api_call *c, change_fn *apply, void *arg, struct err *err)
{
	struct db *db = NULL;
	int rc = store_acquire(c->admin->store, &db, err);

	if (rc)
		return rc;
	rc = db_begin(db, err);
	if (!rc)
		rc = apply(c, db, arg, err);
	if (!rc)
		rc = db_commit(db, err);
	if (rc)
		db_rollback(db);
	store_release(c->admin->store, db);
	return rc;
}

/* --- test --- */

static void write_result(struct json_writer *w, const struct alert_test_result *r)
{
	jw_object(w);
	jw_kcstr(w, "receiver", r->receiver);
	jw_kcstr(w, "format", alert_format_name(r->format));
	jw_kbool(w, "delivered", r->delivered);
	jw_key(w, "http_status");
	if (r->status)
		jw_i64(w, r->status);
	else
		jw_null(w);
	jw_kdouble(w, "took_ms", (double)r->took_us / 1e3);
	jw_kcstr(w, "error", *r->error ? r->error : NULL);
	jw_object_end(w);
}

static int append_tested(struct api_call *c, struct db *db, void *arg, struct err *err)
{
	const struct registry_event *e = arg;

	(void)c;
	return store_event_append(db, e, err);
}

static int fail_test(struct api_call *c, int rc, const struct err *err)
{
	if (rc == E_NOTFOUND)
		return api_fail(c, 404, "receiver", "receiver_not_found", "%s", err->text);
	if (rc == E_BUSY) {
		api_header(c, "retry-after", "1");
		return api_fail(c, 503, NULL, "test_under_way", "%s", err->text);
	}
	return api_error(c, rc, NULL, err);
}

int api_alerts_test(struct api_call *c)
{
	struct alert_test_result result[ALERT_RECEIVERS_MAX];
	struct slice receiver = {0};
	struct registry_event e;
	struct err err = {0};
	size_t n = 0;
	bool recorded;
	int status, rc;

	if (c->body && (status = api_body_str(c, "receiver", ALERT_NAME_SIZE - 1, &receiver)))
		return status;
	rc = alerts_test(c->admin->alerts, receiver, result, &n, &err);
	if (rc)
		return fail_test(c, rc, &err);
	e = event_of(c, "alert.tested", receiver.n ? receiver : SLICE_LIT("all"));
	recorded = !change(c, append_tested, &e, &err);
	if (!recorded) /* it is most wanted when the database is away */
		log_warn(&admin_log, "a test of the alerts stands not in the history: %s", err.text);
	jw_object(&c->w);
	jw_kcstr(&c->w, "object", "list");
	jw_key(&c->w, "data");
	jw_array(&c->w);
	for (size_t i = 0; i < n; i++)
		write_result(&c->w, &result[i]);
	jw_array_end(&c->w);
	jw_kbool(&c->w, "recorded", recorded);
	jw_object_end(&c->w);
	return 200;
}

/* --- silences --- */

static void write_silence(struct api_call *c, struct json_writer *w, const struct silence_row *s)
{
	char id[UUID_STR_SIZE], at[CLOCK_ISO_SIZE];

	(void)c;
	jw_object(w);
	jw_kcstr(w, "silence_id", uuid_format(&s->id, id));
	jw_key(w, "rule");
	if (s->rule.n)
		jw_str(w, s->rule);
	else
		jw_null(w);
	jw_key(w, "use_case");
	if (s->use_case.n)
		jw_str(w, s->use_case);
	else
		jw_null(w);
	jw_kcstr(w, "created_at", clock_iso(s->created_us, at));
	jw_kcstr(w, "until", clock_iso(s->until_us, at));
	jw_kstr(w, "actor", s->actor);
	jw_kstr(w, "reason", s->reason);
	jw_object_end(w);
}

static struct slice silence_json(struct api_call *c, const struct silence_row *s)
{
	struct json_writer w;
	struct buf out;

	buf_init_arena(&out, &c->arena, 16384);
	jw_init(&w, &out);
	write_silence(c, &w, s);
	return buf_slice(&out);
}

static int read_silences(struct api_call *c, struct db *db, struct silence_row **ret, size_t *ret_n, struct err *err)
{
	return store_silence_list(db, &c->arena, c->now_us, ret, ret_n, err);
}

/* What was changed holds here at once; other daemons read it within seconds. */
static void take_silences(struct api_call *c)
{
	struct silence_row *list = NULL;
	struct db *db = NULL;
	size_t n = 0;

	if (!store_acquire(c->admin->store, &db, NULL) && !read_silences(c, db, &list, &n, NULL))
		alerts_take_silences(c->admin->alerts, list, n);
	store_release(c->admin->store, db);
}

int api_silences_list(struct api_call *c)
{
	struct silence_row *list = NULL;
	struct err err = {0};
	struct db *db = NULL;
	size_t n = 0;
	int rc = store_acquire(c->admin->store, &db, &err);

	if (!rc)
		rc = read_silences(c, db, &list, &n, &err);
	store_release(c->admin->store, db);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	api_list_begin(c);
	for (size_t i = 0; i < n; i++)
		write_silence(c, &c->w, &list[i]);
	api_list_end(c, false, SLICE_LIT(""));
	return 200;
}

/* for: a duration. */
static int read_until(struct api_call *c, int64_t *ret_us)
{
	struct slice text = {0};
	int64_t ms = 0;
	int status = api_body_str(c, "for", 64, &text);

	if (status)
		return status;
	if (!text.n || clock_parse_duration_ms(text, &ms) || ms <= 0 || ms > SILENCE_MAX_MS)
		return api_fail(c, 400, "for", "invalid_value", "for is how long, up to 90 days: 30m, 2h, 7d");
	*ret_us = c->now_us + ms * 1000;
	return 0;
}

static int read_silence(struct api_call *c, struct silence_row *s)
{
	enum alert_rule rule;
	struct err err = {0};
	int status;

	if ((status = api_body_str(c, "rule", ALERT_NAME_SIZE - 1, &s->rule)) ||
	    (status = api_body_str(c, "use_case", USE_CASE_MAX, &s->use_case)) ||
	    (status = read_until(c, &s->until_us)))
		return status;
	if (!s->rule.n && !s->use_case.n)
		return api_fail(c, 400, "rule", "missing", "rule or use_case says what is silenced, or both");
	if (s->rule.n && alert_rule_parse(s->rule, &rule, &err))
		return api_error(c, E_INVALID, "rule", &err);
	if (s->use_case.n && use_case_check(s->use_case, &err))
		return api_error(c, E_INVALID, "use_case", &err);
	return c->who.reason.n ? 0 : api_fail(c, 400, "reason", "missing", "reason says why: it is wanted here");
}

static int insert_silence(struct api_call *c, struct db *db, void *arg, struct err *err)
{
	struct silence_row *s = arg, *list = NULL;
	struct registry_event e;
	char id[UUID_STR_SIZE];
	size_t n = 0;
	int rc = read_silences(c, db, &list, &n, err);

	if (!rc && n >= ALERT_SILENCES_MAX)
		rc = err_set(err, E_TOOBIG, "there are %d silences: remove one first", ALERT_SILENCES_MAX);
	if (!rc)
		rc = store_silence_insert(db, s, err);
	if (rc)
		return rc;
	e = event_of(c, "alert.silenced", slice_from(uuid_format(&s->id, id)));
	e.use_case = s->use_case.n ? s->use_case : (struct slice){0};
	e.after = silence_json(c, s);
	return store_event_append(db, &e, err);
}

int api_silence_create(struct api_call *c)
{
	struct silence_row s = {.id = uuid_v7_now(), .created_us = c->now_us};
	struct err err = {0};
	int status = read_silence(c, &s), rc;

	if (status)
		return status;
	s.actor = c->who.actor;
	s.reason = c->who.reason;
	rc = change(c, insert_silence, &s, &err);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	take_silences(c);
	write_silence(c, &c->w, &s);
	return 201;
}

struct removal {
	struct uuid id;
	struct silence_row found;
};

static int delete_silence(struct api_call *c, struct db *db, void *arg, struct err *err)
{
	struct removal *r = arg;
	struct silence_row *list = NULL;
	struct registry_event e;
	char id[UUID_STR_SIZE];
	size_t n = 0, i = 0;
	int rc = read_silences(c, db, &list, &n, err);

	if (rc)
		return rc;
	while (i < n && memcmp(&list[i].id, &r->id, sizeof(r->id)) != 0)
		i++;
	uuid_format(&r->id, id);
	if (i == n)
		return err_set(err, E_NOTFOUND, "no silence %s is in force", id);
	r->found = list[i];
	rc = store_silence_delete(db, &r->id, err);
	if (rc)
		return rc;
	e = event_of(c, "alert.unsilenced", slice_from(id));
	e.use_case = list[i].use_case.n ? list[i].use_case : (struct slice){0};
	e.before = silence_json(c, &list[i]);
	return store_event_append(db, &e, err);
}

int api_silence_delete(struct api_call *c)
{
	struct slice reason = api_query(c, "reason");
	struct removal r = {.id = {{0}}};
	struct err err = {0};
	int rc;

	if (reason.p)
		c->who.reason = reason;
	if (uuid_parse(c->param[0].p, c->param[0].n, &r.id))
		return api_fail(c, 404, "silence", "silence_not_found", "there is no silence of that id");
	rc = change(c, delete_silence, &r, &err);
	if (rc == E_NOTFOUND)
		return api_fail(c, 404, "silence", "silence_not_found", "%s", err.text);
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	take_silences(c);
	write_silence(c, &c->w, &r.found);
	return 200;
}
