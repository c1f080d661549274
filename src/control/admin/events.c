/* SPDX-License-Identifier: Apache-2.0 */
/* /api/v1/events and the history of one model: who changed what, when, why, from what, to what. */
#include "control/admin/admin_internal.h"

static void write_event(struct api_call *c, const struct registry_event *e)
{
	char id[UUID_STR_SIZE];
	struct json_writer *w = &c->w;

	jw_object(w);
	jw_kcstr(w, "event_id", uuid_format(&e->id, id));
	api_key_time(c, "at", e->at_us);
	jw_kstr(w, "kind", e->kind);
	jw_kstr(w, "subject", e->subject);
	api_key_or_null(c, "use_case", e->use_case);
	jw_kstr(w, "actor", e->actor);
	jw_kstr(w, "reason", e->reason);
	jw_kraw(w, "before", e->before);
	jw_kraw(w, "after", e->after);
	jw_object_end(w);
}

/* The store gives at most a page: a full page of the largest size is taken to have more behind it. */
static int write_events(struct api_call *c, struct event_filter *f)
{
	struct registry_event *list = NULL;
	char last[UUID_STR_SIZE] = "";
	struct err err = {0};
	size_t n = 0, limit = 0;
	struct db *db;
	int status, rc;

	if ((status = api_query_limit(c, &limit)) || (status = api_query_id(c, "before", &f->before_id)))
		return status;
	f->limit = min_size(limit + 1, STORE_PAGE_MAX);
	rc = store_acquire(c->admin->store, &db, &err);
	if (rc == 0) {
		rc = store_event_list(db, &c->arena, f, &list, &n, &err);
		store_release(c->admin->store, db);
	}
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	api_list_begin(c);
	for (size_t i = 0; i < n && i < limit; i++) {
		write_event(c, &list[i]);
		uuid_format(&list[i].id, last);
	}
	api_list_end(c, n > limit || n == STORE_PAGE_MAX, slice_from(last));
	return 200;
}

int api_events_list(struct api_call *c)
{
	struct event_filter f = {0};
	int status;

	f.subject = api_query(c, "subject");
	f.kind = api_query(c, "kind");
	if ((status = api_query_use_case(c, &f.use_case)) || (status = api_query_time(c, "until", &f.until_us)))
		return status;
	return write_events(c, &f);
}

int api_model_history(struct api_call *c)
{
	struct event_filter f = {0};
	char id[UUID_STR_SIZE];
	struct slice use_case;
	struct model m;
	int status;

	if ((status = api_query_use_case(c, &use_case)) || (status = api_model_resolve(c, c->param[0], use_case, &m)))
		return status;
	f.subject = slice_from(uuid_format(&m.id, id));
	return write_events(c, &f);
}
