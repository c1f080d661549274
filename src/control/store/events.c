/* SPDX-License-Identifier: Apache-2.0 */
/* registry_events: appended and read, nothing else.  Ids are UUIDv7, so their order is the order of what happened. */
#include "control/store/entities.h"
#include "control/store/store_internal.h"

#define CLOCK_SLACK_US INT64_C(60000000)

int store_event_append(struct db *db, const struct registry_event *e, struct err *err)
{
	char id[UUID_STR_SIZE];
	const struct db_value args[] = {
		db_uuid(&e->id, id),
		db_int(e->at_us),
		db_text(e->kind),
		db_text(e->subject),
		db_text(e->use_case),
		db_text(e->actor.p ? e->actor : SLICE_LIT("")),
		db_text(e->reason.p ? e->reason : SLICE_LIT("")),
		db_text(e->before),
		db_text(e->after),
	};

	return db_exec(db,
		       "insert into registry_events (id, at_us, kind, subject, use_case, actor, reason, before_json, "
		       "after_json) "
		       "values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		       db_args(args, COUNT_OF(args)), NULL, err);
}

static int read_event(const struct db_rows *rows, size_t row, void *into, struct err *err)
{
	struct registry_event *ret = into;
	struct row r = {.rows = rows, .row = row};

	ret->id = row_uuid(&r);
	ret->at_us = row_int(&r);
	ret->kind = row_text(&r);
	ret->subject = row_text(&r);
	ret->use_case = row_text(&r);
	ret->actor = row_text(&r);
	ret->reason = row_text(&r);
	ret->before = row_text(&r);
	ret->after = row_text(&r);
	return row_end(&r, "registry_events", err);
}

int store_event_list(struct db *db, struct arena *a, const struct event_filter *f, struct registry_event **ret,
		     size_t *ret_n, struct err *err)
{
	char floor[UUID_STR_SIZE];
	static const struct row_list how = {sizeof(struct registry_event), read_event,
					    "the events are more than fit in memory: ask for fewer"};
	struct sql q = {.n = 0};
	struct row_array got = {NULL, 0};
	int rc;

	sql_add(&q, "select id, at_us, kind, subject, use_case, actor, reason, before_json, after_json from "
		    "registry_events");
	sql_where_text(&q, "subject = ", f->subject);
	sql_where_text(&q, "use_case = ", f->use_case);
	sql_where_text(&q, "kind = ", f->kind);
	if (f->since_us > CLOCK_SLACK_US)
		sql_where_text(&q, "id >= ", sql_id_floor(f->since_us - CLOCK_SLACK_US, floor));
	sql_where_time(&q, "at_us >= ", f->since_us);
	sql_where_time(&q, "at_us <= ", f->until_us);
	sql_where_text(&q, "id < ", f->before_id);
	sql_add(&q, " order by id desc limit ");
	sql_arg(&q, db_int((int64_t)store_limit(f->limit)));
	rc = sql_list(db, a, &q, &how, &got, err);
	if (rc)
		return rc;
	*ret = got.list;
	*ret_n = got.n;
	return 0;
}
