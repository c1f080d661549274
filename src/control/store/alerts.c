/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alerts and alert_silences.  An alert is written by the daemon that watches it, again and again while it fires; a
 * unique index has at most one firing for each fingerprint, so that what several daemons see is told once.
 */
#include "control/store/entities.h"
#include "control/store/store_internal.h"

#define COLUMNS                                                                                               \
	"id, rule, fingerprint, instance, use_case, alert_key, severity, state, summary, details, since_us, " \
	"fired_us, resolved_us, delivery, delivered_us, delivery_error, seen_us"
#define SILENCE_COLUMNS "id, rule, use_case, created_us, until_us, actor, reason"

static struct db_value text(struct slice s)
{
	return db_text(s.p ? s : SLICE_LIT(""));
}

static int insert(struct db *db, const struct alert_row *a, int64_t *ret_n, struct err *err)
{
	char id[UUID_STR_SIZE];
	const struct db_value args[] = {db_uuid(&a->id, id),	 text(a->rule),	      text(a->fingerprint),
					text(a->instance),	 text(a->use_case),   text(a->key),
					text(a->severity),	 text(a->state),      text(a->summary),
					text(a->details),	 db_int(a->since_us), db_int(a->fired_us),
					db_int(a->resolved_us),	 text(a->delivery),   db_int(a->delivered_us),
					text(a->delivery_error), db_int(a->seen_us)};

	return db_exec(db,
		       "insert into alerts (" COLUMNS
		       ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
		       "$14, $15, $16, $17) on conflict do nothing",
		       db_args(args, COUNT_OF(args)), ret_n, err);
}

static int update(struct db *db, const struct alert_row *a, int64_t *ret_n, struct err *err)
{
	char id[UUID_STR_SIZE];
	const struct db_value args[] = {text(a->severity),	 text(a->state),	  text(a->summary),
					text(a->details),	 db_int(a->resolved_us),  text(a->delivery),
					db_int(a->delivered_us), text(a->delivery_error), db_int(a->seen_us),
					db_uuid(&a->id, id)};

	return db_exec(db,
		       "update alerts set severity = $1, state = $2, summary = $3, details = $4, resolved_us = $5, "
		       "delivery = $6, delivered_us = $7, delivery_error = $8, seen_us = $9 where id = $10",
		       db_args(args, COUNT_OF(args)), ret_n, err);
}

int store_alert_put(struct db *db, const struct alert_row *a, bool *ret_kept, struct err *err)
{
	int64_t n = 0;
	int rc = update(db, a, &n, err);

	if (!rc && !n)
		rc = insert(db, a, &n, err);
	*ret_kept = n > 0;
	return rc;
}

static int read_alert(const struct db_rows *rows, size_t row, void *into, struct err *err)
{
	struct alert_row *ret = into;
	struct row r = {.rows = rows, .row = row};

	ret->id = row_uuid(&r);
	ret->rule = row_text(&r);
	ret->fingerprint = row_text(&r);
	ret->instance = row_text(&r);
	ret->use_case = row_text(&r);
	ret->key = row_text(&r);
	ret->severity = row_text(&r);
	ret->state = row_text(&r);
	ret->summary = row_text(&r);
	ret->details = row_text(&r);
	ret->since_us = row_int(&r);
	ret->fired_us = row_int(&r);
	ret->resolved_us = row_int(&r);
	ret->delivery = row_text(&r);
	ret->delivered_us = row_int(&r);
	ret->delivery_error = row_text(&r);
	ret->seen_us = row_int(&r);
	return row_end(&r, "alerts", err);
}

int store_alert_list(struct db *db, struct arena *a, const struct alert_filter *f, struct alert_row **ret,
		     size_t *ret_n, struct err *err)
{
	static const struct row_list how = {sizeof(struct alert_row), read_alert,
					    "the alerts are more than fit in memory: ask for fewer"};
	struct sql q = {.n = 0};
	struct row_array got = {NULL, 0};
	int rc;

	sql_add(&q, "select " COLUMNS " from alerts");
	sql_where_text(&q, "state = ", f->state);
	sql_where_text(&q, "rule = ", f->rule);
	sql_where_text(&q, "use_case = ", f->use_case);
	sql_where_text(&q, "instance = ", f->instance);
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

int store_alert_end_lost(struct db *db, int64_t seen_before_us, int64_t now_us, struct err *err)
{
	const struct db_value args[] = {db_int(now_us), db_int(seen_before_us)};

	return db_exec(db,
		       "update alerts set state = 'resolved', resolved_us = $1, delivery_error = 'its daemon is gone' "
		       "where state = 'firing' and seen_us < $2",
		       db_args(args, COUNT_OF(args)), NULL, err);
}

int store_alert_forget(struct db *db, int64_t resolved_before_us, struct err *err)
{
	const struct db_value args[] = {db_int(resolved_before_us)};

	return db_exec(db, "delete from alerts where state = 'resolved' and resolved_us < $1",
		       db_args(args, COUNT_OF(args)), NULL, err);
}

/* --- silences --- */

int store_silence_insert(struct db *db, const struct silence_row *s, struct err *err)
{
	char id[UUID_STR_SIZE];
	const struct db_value args[] = {db_uuid(&s->id, id), text(s->rule),  text(s->use_case), db_int(s->created_us),
					db_int(s->until_us), text(s->actor), text(s->reason)};

	return db_exec(db, "insert into alert_silences (" SILENCE_COLUMNS ") values ($1, $2, $3, $4, $5, $6, $7)",
		       db_args(args, COUNT_OF(args)), NULL, err);
}

static int read_silence(const struct db_rows *rows, size_t row, void *into, struct err *err)
{
	struct silence_row *ret = into;
	struct row r = {.rows = rows, .row = row};

	ret->id = row_uuid(&r);
	ret->rule = row_text(&r);
	ret->use_case = row_text(&r);
	ret->created_us = row_int(&r);
	ret->until_us = row_int(&r);
	ret->actor = row_text(&r);
	ret->reason = row_text(&r);
	return row_end(&r, "alert_silences", err);
}

int store_silence_list(struct db *db, struct arena *a, int64_t until_after_us, struct silence_row **ret, size_t *ret_n,
		       struct err *err)
{
	static const struct row_list how = {sizeof(struct silence_row), read_silence, "too many silences"};
	struct sql q = {.n = 0};
	struct row_array got = {NULL, 0};
	int rc;

	sql_add(&q, "select " SILENCE_COLUMNS " from alert_silences");
	sql_where(&q, "until_us > ", db_int(until_after_us));
	sql_add(&q, " order by id desc limit ");
	sql_arg(&q, db_int(STORE_PAGE_MAX));
	rc = sql_list(db, a, &q, &how, &got, err);
	if (rc)
		return rc;
	*ret = got.list;
	*ret_n = got.n;
	return 0;
}

int store_silence_delete(struct db *db, const struct uuid *id, struct err *err)
{
	char as_text[UUID_STR_SIZE];
	const struct db_value args[] = {db_uuid(id, as_text)};
	int64_t n = 0;
	int rc = db_exec(db, "delete from alert_silences where id = $1", db_args(args, COUNT_OF(args)), &n, err);

	return rc || n ? rc : err_set(err, E_NOTFOUND, "there is no silence %s", as_text);
}
