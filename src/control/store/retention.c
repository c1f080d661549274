/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of retention.  What makes it safe to stop anywhere: a step removes, moves the mark and notes what its event
 * will say in one transaction.  What would break it: a step without store_lease_guard, for two leaders would remove by
 * two configurations; and a row removed because of its created_us alone, for an application may state any.
 */
#include "control/store/retention.h"

#include <inttypes.h>
#include <stdio.h>

#include "control/store/entities.h"
#include "control/store/partitions.h"
#include "control/store/store_internal.h"
#include "control/store/texts.h"
#include "core/base/clock.h"
#include "core/json/writer.h"

#define EVENT_MAX ((size_t)4096)
#define RECORDS "records"
#define TEXTS "texts"

static int begin(struct db *db, const struct retention_who *who, bool alone, struct err *err)
{
	int rc = alone ? db_begin(db, err) : db_begin_append(db, err);

	return rc || !who->lease ? rc : store_lease_guard(db, who->lease, err);
}

/* Ends the transaction one way or the other. */
static int end(struct db *db, int rc, struct err *err)
{
	if (!rc)
		rc = db_commit(db, err);
	if (rc)
		db_rollback(db);
	return rc;
}

/* --- events --- */

struct tale { /* what an event tells */
	const char *what, *partition;
	struct slice actor, reason;
	struct retention_removed removed;
};

static void write_tale(struct json_writer *w, const struct tale *t)
{
	char at[CLOCK_ISO_SIZE];

	jw_object(w);
	jw_kcstr(w, "what", t->what);
	jw_ki64(w, "records", t->removed.records);
	jw_ki64(w, "violations", t->removed.violations);
	if (t->removed.to_us) {
		jw_kcstr(w, "from", clock_iso(t->removed.from_us, at));
		jw_kcstr(w, "to", clock_iso(t->removed.to_us, at));
	}
	if (t->partition) {
		jw_kcstr(w, "partition", t->partition);
		jw_ki64(w, "bytes", t->removed.bytes);
	}
	jw_object_end(w);
}

static int tell(struct db *db, const struct tale *t, int64_t now_us, struct err *err)
{
	CLEANUP(buf_release) struct buf text;
	struct json_writer w;
	struct registry_event e = {.id = uuid_v7_now(),
				   .at_us = now_us,
				   .kind = SLICE_LIT("history.dropped"),
				   .subject = SLICE_LIT("model_historical_logs"),
				   .actor = t->actor,
				   .reason = t->reason};

	buf_init(&text, EVENT_MAX);
	jw_init(&w, &text);
	write_tale(&w, t);
	if (buf_failed(&text))
		return err_set(err, E_TOOBIG, "the event of a retention is too long");
	e.after = buf_slice(&text);
	return store_event_append(db, &e, err);
}

/* What is noted under a name, and the lock on it. */
static int read_note(struct db *db, struct arena *a, const char *name, struct tale *ret, int64_t *ret_arrival,
		     struct err *err)
{
	const struct db_value arg = db_cstr(name);
	struct row r = {.rows = NULL};
	struct db_rows rows = {0};
	int rc = db_query(db, a,
			  "update log_retention set arrival = arrival where name = $1 returning arrival, n_records, "
			  "n_violations, from_us, to_us, actor, reason",
			  db_args(&arg, 1), &rows, err);

	if (!rc && rows.n_rows != 1)
		rc = err_set(err, E_CORRUPT, "log_retention has %zu rows of '%s', not one", rows.n_rows, name);
	if (rc)
		return rc;
	r.rows = &rows;
	*ret_arrival = row_int(&r);
	*ret = (struct tale){.what = name};
	ret->removed.records = row_int(&r);
	ret->removed.violations = row_int(&r);
	ret->removed.from_us = row_int(&r);
	ret->removed.to_us = row_int(&r);
	ret->actor = row_text(&r);
	ret->reason = row_text(&r);
	return r.rc ? err_set(err, r.rc, "a row of log_retention cannot be read") : 0;
}

static int write_note(struct db *db, const struct tale *t, int64_t arrival, struct err *err)
{
	const struct db_value args[] = {db_int(arrival),
					db_int(t->removed.records),
					db_int(t->removed.violations),
					db_int(t->removed.from_us),
					db_int(t->removed.to_us),
					db_text(t->actor.p ? t->actor : SLICE_LIT("")),
					db_text(t->reason.p ? t->reason : SLICE_LIT("")),
					db_cstr(t->what)};

	return db_exec(
		db,
		"update log_retention set arrival = $1, n_records = $2, n_violations = $3, from_us = $4, to_us = "
		"$5, actor = $6, reason = $7 where name = $8",
		db_args(args, COUNT_OF(args)), NULL, err);
}

static bool is_told(const struct tale *t)
{
	return !t->removed.records && !t->removed.violations;
}

static void join(struct retention_removed *into, const struct retention_removed *r)
{
	into->records += r->records;
	into->violations += r->violations;
	if (!r->to_us)
		return;
	if (!into->to_us || r->from_us < into->from_us)
		into->from_us = r->from_us;
	if (r->to_us > into->to_us)
		into->to_us = r->to_us;
}

/* Adds what was removed to what is noted.  What another removed, or for another reason, gets its event now. */
static int note(struct db *db, const struct retention_who *who, struct tale *noted, int64_t arrival,
		const struct retention_removed *removed, struct err *err)
{
	bool same = slice_eq(noted->actor, who->actor) && slice_eq(noted->reason, who->reason);
	int rc = 0;

	if (!same && !is_told(noted))
		rc = tell(db, noted, who->now_us, err);
	if (!same)
		noted->removed = (struct retention_removed){0};
	noted->actor = who->actor;
	noted->reason = who->reason;
	join(&noted->removed, removed);
	return rc ? rc : write_note(db, noted, arrival, err);
}

static int report_one(struct db *db, struct arena *a, const char *name, int64_t now_us, struct err *err)
{
	int64_t arrival = 0;
	struct tale t;
	int rc = read_note(db, a, name, &t, &arrival, err);

	if (rc || is_told(&t))
		return rc;
	rc = tell(db, &t, now_us, err);
	t.removed = (struct retention_removed){0};
	return rc ? rc : write_note(db, &t, arrival, err);
}

int store_retention_report(struct db *db, const struct retention_who *who, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	int rc = begin(db, who, false, err);

	arena_init(&a, 4096, (size_t)1 << 20);
	if (!rc)
		rc = report_one(db, &a, RECORDS, who->now_us, err);
	if (!rc)
		rc = report_one(db, &a, TEXTS, who->now_us, err);
	return end(db, rc, err);
}

/* --- days --- */

/* Everything in it, for the event; of a large one the planner's number will do. */
static int count_day(struct db *db, struct partition_day *p, struct err *err)
{
	const struct db_value args[] = {db_int(p->day * RETENTION_DAY_US), db_int((p->day + 1) * RETENTION_DAY_US)};
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows = {0};
	int rc;

	if (p->bytes > PARTITION_COUNTED_BYTES && p->n_estimated >= 0)
		return 0;
	arena_init(&a, 1024, 65536);
	rc = db_query(db, &a, "select count(*) from model_historical_logs where created_us >= $1 and created_us < $2",
		      db_args(args, COUNT_OF(args)), &rows, err);
	if (!rc)
		p->n_estimated = db_cell(&rows, 0, 0)->i;
	return rc;
}

int store_retention_drop_day(struct db *db, const struct retention_who *who, int64_t before_us,
			     struct retention_removed *ret, struct err *err)
{
	char name[PARTITION_NAME_SIZE];
	struct partition_day days[2];
	struct tale t = {.what = RECORDS, .partition = name, .actor = who->actor, .reason = who->reason};
	size_t n = 0;
	int rc = partition_days(db, before_us / RETENTION_DAY_US, days, COUNT_OF(days), &n, err);

	*ret = (struct retention_removed){0};
	if (rc || !n)
		return rc;
	(void)partition_name(days[0].day, name);
	rc = count_day(db, &days[0], err);
	if (rc)
		return rc;
	t.removed = (struct retention_removed){.records = days[0].n_estimated,
					       .from_us = days[0].day * RETENTION_DAY_US,
					       .to_us = (days[0].day + 1) * RETENTION_DAY_US,
					       .bytes = days[0].bytes,
					       .more = n > 1};
	rc = begin(db, who, true, err);
	if (!rc)
		rc = partition_drop(db, days[0].day, err);
	if (!rc)
		rc = tell(db, &t, who->now_us, err);
	rc = end(db, rc, err);
	ret->more = t.removed.more;
	if (!rc)
		*ret = t.removed;
	return rc == E_NOTFOUND ? 0 : rc; /* another was faster, and told of it */
}

/* --- rows --- */

struct span {	       /* rows next to each other in the order of arrival */
	int64_t after; /* given: where to begin */
	size_t limit;
	int64_t last, from_us, to_us;
	size_t n;
	bool more;
	bool had_files; /* texts of theirs were erased from files */
};

static bool is_old(const struct db_value *id, struct slice young)
{
	return id->s.n == young.n && memcmp(id->s.p, young.p, young.n) < 0;
}

/* The old ones among the rows after an arrival, up to the first that is young. */
static int find_span(struct db *db, struct arena *a, int64_t before_us, struct span *s, struct err *err)
{
	const struct db_value args[] = {db_int(s->after), db_int((int64_t)s->limit)};
	char floor[UUID_STR_SIZE];
	struct slice young = sql_id_floor(before_us, floor);
	struct db_rows rows = {0};
	int rc = db_query(db, a,
			  "select arrival, id, created_us from model_historical_logs where arrival > $1 order by "
			  "arrival limit $2",
			  db_args(args, COUNT_OF(args)), &rows, err);

	s->last = s->after;
	for (; !rc && s->n < rows.n_rows; s->n++) {
		int64_t at_us = db_cell(&rows, s->n, 2)->i;

		if (before_us && !is_old(db_cell(&rows, s->n, 1), young))
			break;
		s->last = db_cell(&rows, s->n, 0)->i;
		s->from_us = !s->n || at_us < s->from_us ? at_us : s->from_us;
		s->to_us = !s->n || at_us > s->to_us ? at_us : s->to_us;
	}
	s->more = s->n == s->limit;
	return rc;
}

/* The bounds of time leave out the days that none of them is in. */
static void where_span(struct sql *q, const struct span *s)
{
	sql_where(q, "arrival > ", db_int(s->after));
	sql_where(q, "arrival <= ", db_int(s->last));
	sql_where(q, "created_us >= ", db_int(s->from_us));
	sql_where(q, "created_us <= ", db_int(s->to_us));
}

static int exec(struct db *db, const struct sql *q, int64_t *ret_n, struct err *err)
{
	return db_exec(db, q->text, db_args(q->args, q->n_args), ret_n, err);
}

/* What is not in the rows goes first: that it is gone is never said of a text that is still there. */
static int erase_texts(struct db *db, struct span *s, struct slice caller, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct sql q = {.n = 0};
	struct db_rows refs = {0};
	int rc;

	arena_init(&a, 65536, (size_t)16 << 20);
	if (!db->texts_dir)
		return 0;
	sql_add(&q, "select texts from model_historical_logs");
	where_span(&q, s);
	sql_where_text(&q, "caller = ", caller);
	rc = sql_query(db, &a, &q, &refs, err);
	for (size_t i = 0; i < refs.n_rows && !s->had_files; i++)
		s->had_files = db_cell(&refs, i, 0)->type == DB_TEXT;
	return rc ? rc : texts_erase(db, &refs, err);
}

static int remove_texts(struct db *db, struct span *s, struct slice caller, int64_t now_us, int64_t *ret_n,
			struct err *err)
{
	struct sql q = {.n = 0};
	int rc = erase_texts(db, s, caller, err);

	if (rc)
		return rc;
	sql_add(&q, "update model_historical_logs set context = null, prompt = null, output = null, tool_calls = null, "
		    "texts = "
		    "null, content_removed_us = ");
	sql_arg(&q, db_int(now_us));
	where_span(&q, s);
	sql_where_text(&q, "caller = ", caller);
	sql_add(&q, " and (prompt is not null or output is not null or context is not null or tool_calls is not "
		    "null or texts is not null)");
	return exec(db, &q, ret_n, err);
}

static int remove_rows(struct db *db, struct span *s, struct slice caller, struct retention_removed *ret,
		       struct err *err)
{
	struct sql violations = {.n = 0}, rows = {.n = 0};
	int rc = erase_texts(db, s, caller, err);

	if (rc)
		return rc;
	sql_add(&violations, "delete from guardrails_violations where log_id in (select id from model_historical_logs");
	where_span(&violations, s);
	sql_where_text(&violations, "caller = ", caller);
	sql_add(&violations, ")");
	rc = exec(db, &violations, &ret->violations, err);
	sql_add(&rows, "delete from model_historical_logs");
	where_span(&rows, s);
	sql_where_text(&rows, "caller = ", caller);
	return rc ? rc : exec(db, &rows, &ret->records, err);
}

static void remember(struct retention_removed *r, const struct span *s)
{
	r->arrival = s->last;
	r->more = s->more;
	if (r->records) {
		r->from_us = s->from_us;
		r->to_us = s->to_us;
	}
}

int store_retention_drop_texts(struct db *db, const struct retention_who *who, int64_t before_us, size_t limit,
			       struct retention_removed *ret, struct err *err)
{
	struct retention_removed removed = {0};
	CLEANUP(arena_release) struct arena a;
	struct span s = {.limit = limit};
	struct tale noted;
	int rc = begin(db, who, false, err);

	arena_init(&a, 65536, (size_t)16 << 20);
	if (!rc)
		rc = read_note(db, &a, TEXTS, &noted, &s.after, err);
	if (!rc)
		rc = find_span(db, &a, before_us, &s, err);
	if (!rc && s.n)
		rc = remove_texts(db, &s, (struct slice){0}, who->now_us, &removed.records, err);
	remember(&removed, &s);
	if (!rc && s.n)
		rc = note(db, who, &noted, s.last, &removed, err);
	rc = end(db, rc, err);
	if (!rc && s.had_files)
		(void)texts_sweep(db, NULL); /* the next removal does what this one could not */
	if (!rc)
		*ret = removed;
	return rc;
}

/* What lies in no day, and arrived before anything that is young: a latecomer stays as long as what it came with. */
static int remove_strays(struct db *db, int64_t before_us, size_t limit, struct retention_removed *ret, struct err *err)
{
	char floor[UUID_STR_SIZE];
	const struct db_value args[] = {db_text(sql_id_floor(before_us, floor)), db_int(before_us),
					db_int((int64_t)limit)};
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows = {0};
	int rc;

	arena_init(&a, 4096, (size_t)1 << 20);
	rc = db_query(db, &a,
		      "with old as (select id, created_us from model_historical_logs_default where id < $1 and arrival "
		      "< coalesce((select min(arrival) from model_historical_logs where created_us >= $2), "
		      "9223372036854775807) order by arrival limit $3), "
		      "v as (delete from guardrails_violations where log_id in (select id from old) returning 1), "
		      "gone as (delete from model_historical_logs_default d using old where d.id = old.id and "
		      "d.created_us = old.created_us returning d.created_us) "
		      "select count(*), cast(coalesce(min(created_us), 0) as bigint), cast(coalesce(max(created_us), "
		      "0) as bigint), (select count(*) from v) from gone",
		      db_args(args, COUNT_OF(args)), &rows, err);
	if (rc)
		return rc;
	*ret = (struct retention_removed){.records = db_cell(&rows, 0, 0)->i,
					  .from_us = db_cell(&rows, 0, 1)->i,
					  .to_us = db_cell(&rows, 0, 2)->i,
					  .violations = db_cell(&rows, 0, 3)->i};
	ret->more = ret->records == (int64_t)limit;
	return 0;
}

static int remove_old_rows(struct db *db, struct arena *a, int64_t before_us, struct span *s,
			   struct retention_removed *ret, struct err *err)
{
	int rc = find_span(db, a, before_us, s, err);

	if (!rc && s->n)
		rc = remove_rows(db, s, (struct slice){0}, ret, err);
	remember(ret, s);
	return rc;
}

int store_retention_drop_rows(struct db *db, const struct retention_who *who, int64_t before_us, size_t limit,
			      struct retention_removed *ret, struct err *err)
{
	struct retention_removed removed = {0};
	CLEANUP(arena_release) struct arena a;
	struct span s = {.limit = limit};
	int64_t arrival = 0;
	struct tale noted;
	int rc = begin(db, who, false, err);

	arena_init(&a, 65536, (size_t)16 << 20);
	if (!rc)
		rc = read_note(db, &a, RECORDS, &noted, &arrival, err);
	if (!rc)
		rc = partition_any(db) ? remove_strays(db, before_us, limit, &removed, err)
				       : remove_old_rows(db, &a, before_us, &s, &removed, err);
	if (!rc && removed.records)
		rc = note(db, who, &noted, arrival, &removed, err);
	rc = end(db, rc, err);
	if (!rc && s.had_files)
		(void)texts_sweep(db, NULL); /* the next removal does what this one could not */
	if (!rc)
		*ret = removed;
	return rc;
}

/* Days are dropped before their violations are: those of a day that is still there are its own. */
static int first_day_us(struct db *db, int64_t before_us, int64_t *ret, struct err *err)
{
	struct partition_day first;
	size_t n = 0;
	int rc = partition_days(db, before_us / RETENTION_DAY_US, &first, 1, &n, err);

	*ret = n ? first.day * RETENTION_DAY_US : before_us / RETENTION_DAY_US * RETENTION_DAY_US;
	return rc;
}

int store_retention_drop_violations(struct db *db, const struct retention_who *who, int64_t before_us, size_t limit,
				    struct retention_removed *ret, struct err *err)
{
	struct db_value args[] = {{.type = DB_NULL}, db_int((int64_t)limit)};
	struct retention_removed removed = {0};
	CLEANUP(arena_release) struct arena a;
	int64_t arrival = 0, until_us = 0;
	struct tale noted;
	int rc;

	arena_init(&a, 4096, (size_t)1 << 20);
	*ret = removed;
	if (!partition_any(db)) /* they go with their records */
		return 0;
	rc = first_day_us(db, before_us, &until_us, err);
	args[0] = db_int(until_us);
	if (!rc)
		rc = begin(db, who, false, err);
	if (!rc)
		rc = read_note(db, &a, RECORDS, &noted, &arrival, err);
	if (!rc)
		rc = db_exec(db,
			     "delete from guardrails_violations where id in (select id from guardrails_violations v "
			     "where v.created_us < $1 and not exists (select 1 from model_historical_logs_default l "
			     "where l.id = v.log_id) order by v.created_us, v.id limit $2)",
			     db_args(args, COUNT_OF(args)), &removed.violations, err);
	removed.more = removed.violations == (int64_t)limit;
	if (!rc && removed.violations)
		rc = note(db, who, &noted, arrival, &removed, err);
	rc = end(db, rc, err);
	if (!rc)
		*ret = removed;
	return rc;
}

int store_retention_erase(struct db *db, const struct retention_who *who, const struct retention_erasure *e,
			  size_t limit, struct retention_removed *ret, struct err *err)
{
	const char *name = e->texts_only ? TEXTS : RECORDS;
	struct retention_removed removed = {0};
	CLEANUP(arena_release) struct arena a;
	int64_t arrival = 0;
	struct tale noted;
	struct span s = {.after = e->after_arrival, .limit = limit};
	int rc = begin(db, who, false, err);

	arena_init(&a, 65536, (size_t)16 << 20);
	if (!rc)
		rc = read_note(db, &a, name, &noted, &arrival, err);
	if (!rc)
		rc = find_span(db, &a, e->before_us, &s, err);
	if (!rc && s.n)
		rc = e->texts_only ? remove_texts(db, &s, e->caller, who->now_us, &removed.records, err)
				   : remove_rows(db, &s, e->caller, &removed, err);
	remember(&removed, &s);
	if (!rc && removed.records)
		rc = note(db, who, &noted, arrival, &removed, err);
	rc = end(db, rc, err);
	if (!rc && s.had_files)
		(void)texts_sweep(db, NULL); /* the next removal does what this one could not */
	if (!rc)
		*ret = removed;
	return rc;
}

/* --- facts --- */

/* The first cell of the first row; 0 when there is none, or it is NULL. */
static int one_number(struct db *db, const char *sql, struct db_args args, int64_t *ret, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows = {0};
	int rc;

	arena_init(&a, 4096, 65536);
	rc = db_query(db, &a, sql, args, &rows, err);
	*ret = !rc && rows.n_rows && db_cell(&rows, 0, 0)->type == DB_INT ? db_cell(&rows, 0, 0)->i : 0;
	return rc;
}

static int inspect_days(struct db *db, int64_t now_us, struct retention_facts *ret, struct err *err)
{
	struct partition_day first;
	size_t n = 0;
	int rc = partition_days(db, now_us / RETENTION_DAY_US + 1, &first, 1, &n, err);

	if (rc)
		return rc;
	ret->oldest_day_us = n ? first.day * RETENTION_DAY_US : 0;
	return partition_total(db, now_us / RETENTION_DAY_US, &ret->n_days, &ret->bytes, err);
}

static int inspect_file(struct db *db, struct retention_facts *ret, struct err *err)
{
	int rc = one_number(db,
			    "select (select page_count from pragma_page_count) * (select page_size from "
			    "pragma_page_size)",
			    db_args(NULL, 0), &ret->bytes, err);

	ret->bytes += texts_bytes(db);
	return rc ? rc
		  : one_number(db,
			       "select (select freelist_count from pragma_freelist_count) * (select page_size from "
			       "pragma_page_size)",
			       db_args(NULL, 0), &ret->free_bytes, err);
}

int store_retention_inspect(struct db *db, int64_t now_us, struct retention_facts *ret, struct err *err)
{
	struct retention_facts f = {.partitioned = partition_any(db)};
	struct db_value mark = {.type = DB_INT};
	int rc = one_number(db, "select created_us from model_historical_logs order by id limit 1", db_args(NULL, 0),
			    &f.oldest_us, err);

	if (!rc)
		rc = one_number(db, "select arrival from log_retention where name = 'texts'", db_args(NULL, 0), &mark.i,
				err);
	if (!rc)
		rc = one_number(db,
				"select created_us from model_historical_logs where arrival > $1 order by arrival "
				"limit 1",
				db_args(&mark, 1), &f.oldest_texts_us, err);
	if (!rc)
		rc = f.partitioned ? inspect_days(db, now_us, &f, err) : inspect_file(db, &f, err);
	if (!rc)
		*ret = f;
	return rc;
}
