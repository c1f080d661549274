/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_historical_logs.  The insert runs at request rate, in the shipper's batches: prepared statements, no copy of
 * any text. What is unknown (-1 in the record) is NULL here, so that averages in SQL are right.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/store/entities.h"
#include "control/store/store_internal.h"
#include "control/store/texts.h"

#define META                                                                                               \
	"id, created_us, source, status, use_case, model_id, model_name, provider, caller, request_id, "   \
	"prompt_tokens, "                                                                                  \
	"completion_tokens, tokens_estimated, latency_us, first_token_us, http_status, fallback, stream, " \
	"guard_action, "                                                                                   \
	"guard_skipped, finish_reason, error, cost_nano, cost_currency, cached, parameters, attempts"
#define TEXTS "context, prompt, output, tool_calls, texts"
#define REMOVED "content_removed_us from model_historical_logs"
#define PREFIX_MIN 6
#define CLOCK_SLACK_US INT64_C(60000000)

static struct db_value known(int64_t v)
{
	return v < 0 ? (struct db_value){.type = DB_NULL} : db_int(v);
}

/* --- writing --- */

#define N_COLUMNS 32u
#define ROWS_AT_ONCE ((size_t)32)
#define INSERT "insert into model_historical_logs (" META ", " TEXTS ") values "
#define UNLESS_THERE " on conflict do nothing"
#define PARAMETER_SIZE sizeof("($1024, ")

/*
 * One statement for many rows costs half of many statements: it keeps its cursors at the end of the table and of each
 * index, where the next row goes too.
 */
struct log_writer {
	char sql[sizeof(INSERT UNLESS_THERE) + ROWS_AT_ONCE * N_COLUMNS * PARAMETER_SIZE];
	struct db_value args[ROWS_AT_ONCE * N_COLUMNS];
	char ids[ROWS_AT_ONCE][UUID_STR_SIZE];
	char refs[ROWS_AT_ONCE][TEXTS_REF_SIZE];
	struct texts_writer texts;
};
_Static_assert(ROWS_AT_ONCE == TEXTS_CHUNK, "the texts of a chunk are written at once");

struct log_writer *log_writer_new(void)
{
	struct log_writer *w = calloc(1, sizeof(*w));
	size_t n;

	if (!w)
		abort();
	n = (size_t)snprintf(w->sql, sizeof(w->sql), "%s", INSERT); /* all of these fit */
	for (size_t i = 0; i < ROWS_AT_ONCE * N_COLUMNS; i++)
		n += (size_t)snprintf(w->sql + n, sizeof(w->sql) - n, "%s$%zu%s", i % N_COLUMNS ? "" : "(", i + 1,
				      (i + 1) % N_COLUMNS		 ? ", "
				      : i + 1 < ROWS_AT_ONCE * N_COLUMNS ? "), "
									 : ")");
	(void)snprintf(w->sql + n, sizeof(w->sql) - n, "%s", UNLESS_THERE);
	return w;
}

void log_writer_free(struct log_writer *w)
{
	if (w)
		texts_writer_release(&w->texts);
	free(w);
}

void log_writer_rest(struct log_writer *w)
{
	texts_writer_rest(&w->texts);
}

/* ref: to the texts, which stand elsewhere then; "": they go into the row. */
static void fill_args(const struct log_record *r, const char *ref, char id[UUID_STR_SIZE],
		      struct db_value args[N_COLUMNS])
{
	const struct db_value none = {.type = DB_NULL};
	const struct db_value values[N_COLUMNS] = {
		db_uuid(&r->id, id),
		db_int(r->created_us),
		db_cstr(record_source_name(r->source)),
		db_cstr(record_status_name(r->status)),
		db_text(r->use_case),
		db_text(r->model_id),
		db_text(r->model_name),
		db_text(r->provider),
		db_text(r->caller),
		db_text(r->request_id),
		known(r->prompt_tokens),
		known(r->completion_tokens),
		db_int(r->tokens_estimated),
		known(r->latency_us),
		known(r->first_token_us),
		db_int(r->http_status),
		db_cstr(record_fallback_name(r->fallback)),
		db_int(r->stream),
		db_cstr(guard_action_name(r->guard_action)),
		db_int(r->guard_skipped),
		db_text(r->finish_reason),
		db_text(r->error),
		money_known(&r->cost) ? db_int(r->cost.nano) : none,
		money_known(&r->cost) ? db_cstr(r->cost.currency) : none,
		r->cached ? db_int(1) : none,
		db_text(r->parameters),
		db_text(r->attempts),
		*ref ? none : db_text(r->context),
		*ref ? none : db_text(r->prompt),
		*ref ? none : db_text(r->output),
		*ref ? none : db_text(r->tool_calls),
		*ref ? db_cstr(ref) : none,
	};

	memcpy(args, values, sizeof(values));
}

static int insert_one(struct db *db, const struct log_record *r, const char *ref, bool *ret_inserted, struct err *err)
{
	struct db_value args[N_COLUMNS];
	char id[UUID_STR_SIZE];
	int64_t n_changed = 0;
	int rc;

	fill_args(r, ref, id, args);
	rc = db_exec(db,
		     INSERT "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, "
			    "$20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)" UNLESS_THERE,
		     db_args(args, COUNT_OF(args)), &n_changed, err);
	if (!rc && n_changed && r->n_violations)
		rc = store_violations_insert(db, r, err);
	if (!rc && ret_inserted)
		*ret_inserted = n_changed > 0;
	return rc;
}

int store_log_insert(struct db *db, const struct log_record *r, bool *ret_inserted, struct err *err)
{
	return insert_one(db, r, "", ret_inserted, err);
}

static int insert_full(struct db *db, struct log_writer *w, const struct log_record *list, size_t *n_inserted,
		       struct err *err)
{
	int64_t n_changed = 0;
	int rc;

	for (size_t i = 0; i < ROWS_AT_ONCE; i++)
		fill_args(&list[i], w->refs[i], w->ids[i], &w->args[i * N_COLUMNS]);
	rc = db_exec(db, w->sql, db_args(w->args, COUNT_OF(w->args)), &n_changed, err);
	for (size_t i = 0; i < ROWS_AT_ONCE && !rc && n_changed; i++) {
		if (list[i].n_violations) /* those of a record that was there are there too */
			rc = store_violations_insert(db, &list[i], err);
	}
	*n_inserted += (size_t)n_changed;
	return rc;
}

int store_log_insert_many(struct db *db, struct log_writer *w, const struct log_record *list, size_t n,
			  size_t *ret_inserted, struct err *err)
{
	size_t n_inserted = 0, at = 0;
	bool is_new = false;
	int rc = 0;

	for (; n - at >= ROWS_AT_ONCE && !rc; at += ROWS_AT_ONCE) {
		rc = texts_write(db, &w->texts, &list[at], ROWS_AT_ONCE, w->refs, err);
		if (!rc)
			rc = insert_full(db, w, &list[at], &n_inserted, err);
	}
	if (!rc)
		rc = texts_write(db, &w->texts, &list[at], n - at, w->refs, err);
	for (size_t i = 0; i < n - at && !rc; i++) {
		rc = insert_one(db, &list[at + i], w->refs[i], &is_new, err);
		n_inserted += is_new;
	}
	if (!rc)
		*ret_inserted = n_inserted;
	return rc;
}

int store_log_begin(struct db *db, struct log_writer *w, struct err *err)
{
	texts_hold(&w->texts);
	return db_begin_append(db, err);
}

int store_log_commit(struct db *db, struct log_writer *w, struct err *err)
{
	int rc = texts_settle(db, &w->texts, err);

	if (!rc)
		return db_commit(db, err);
	db_rollback(db);
	return rc;
}

void store_log_rollback(struct db *db, struct log_writer *w)
{
	texts_drop(&w->texts);
	db_rollback(db);
}

/* --- reading --- */

static enum record_status read_status(struct row *r)
{
	enum record_status s = RECORD_OK;

	if (record_status_parse(row_text(r), &s))
		r->rc = E_CORRUPT;
	return s;
}

static enum record_source read_source(struct row *r)
{
	struct slice s = row_text(r);

	if (slice_eq_str(s, record_source_name(RECORD_APPLICATION)))
		return RECORD_APPLICATION;
	if (!slice_eq_str(s, record_source_name(RECORD_GATEWAY)))
		r->rc = E_CORRUPT;
	return RECORD_GATEWAY;
}

static enum record_fallback read_fallback(struct row *r)
{
	struct slice s = row_text(r);

	for (unsigned i = RECORD_FALLBACK_NONE; i <= RECORD_FALLBACK_CONTENT; i++) {
		if (slice_eq_str(s, record_fallback_name((enum record_fallback)i)))
			return (enum record_fallback)i;
	}
	r->rc = E_CORRUPT;
	return RECORD_FALLBACK_NONE;
}

static enum guard_action read_action(struct row *r)
{
	struct slice s = row_text(r);

	for (unsigned i = GUARD_ALLOW; i <= GUARD_BLOCK; i++) {
		if (slice_eq_str(s, guard_action_name((enum guard_action)i)))
			return (enum guard_action)i;
	}
	r->rc = E_CORRUPT;
	return GUARD_ALLOW;
}

static struct money read_cost(struct row *r)
{
	struct money m = {.nano = row_int_or(r, 0)};
	struct slice currency = row_text(r);

	if (currency.p && !currency_read(currency, m.currency))
		r->rc = E_CORRUPT;
	return m;
}

static int read_log(struct db *db, struct arena *a, const struct db_rows *rows, size_t row, struct log_record *ret,
		    struct err *err)
{
	struct row r = {.rows = rows, .row = row};
	struct slice texts;

	ret->id = row_uuid(&r);
	ret->created_us = row_int(&r);
	ret->source = read_source(&r);
	ret->status = read_status(&r);
	ret->use_case = row_text(&r);
	ret->model_id = row_text(&r);
	ret->model_name = row_text(&r);
	ret->provider = row_text(&r);
	ret->caller = row_text(&r);
	ret->request_id = row_text(&r);
	ret->prompt_tokens = row_int_or(&r, -1);
	ret->completion_tokens = row_int_or(&r, -1);
	ret->tokens_estimated = row_int(&r) != 0;
	ret->latency_us = row_int_or(&r, -1);
	ret->first_token_us = row_int_or(&r, -1);
	ret->http_status = (int)row_int(&r);
	ret->fallback = read_fallback(&r);
	ret->stream = row_int(&r) != 0;
	ret->guard_action = read_action(&r);
	ret->guard_skipped = row_int(&r) != 0;
	ret->finish_reason = row_text(&r);
	ret->error = row_text(&r);
	ret->cost = read_cost(&r);
	ret->cached = row_int_or(&r, 0) != 0;
	ret->parameters = row_text(&r);
	ret->attempts = row_text(&r);
	ret->context = row_text(&r);
	ret->prompt = row_text(&r);
	ret->output = row_text(&r);
	ret->tool_calls = row_text(&r);
	texts = row_text(&r);
	ret->content_error = (struct slice){0};
	ret->content_removed_us = row_int_or(&r, 0);
	if (texts.p && !r.rc && texts_read(db, a, texts, ret))
		return err_set(err, E_TOOBIG, "the texts are more than fit in memory: ask for fewer records");
	return row_end(&r, "model_historical_logs", err);
}

int store_log_list(struct db *db, struct arena *a, const struct log_filter *f, struct log_record **ret, size_t *ret_n,
		   struct err *err)
{
	char floor[UUID_STR_SIZE];
	struct log_record *list;
	struct sql q = {.n = 0};
	struct db_rows rows;
	int rc;

	sql_add(&q, f->with_text ? "select " META ", " TEXTS ", " REMOVED
				 : "select " META ", null, null, null, null, null, " REMOVED);
	sql_where_text(&q, "use_case = ", f->use_case);
	sql_where_model(&q, f->model);
	sql_where_text(&q, "status = ", f->status);
	if (f->since_us > CLOCK_SLACK_US)
		sql_where_text(&q, "id >= ", sql_id_floor(f->since_us - CLOCK_SLACK_US, floor));
	sql_where_time(&q, "created_us >= ", f->since_us);
	sql_where_time(&q, "created_us <= ", f->until_us);
	sql_where_text(&q, "id < ", f->before_id);
	if (f->after_id.p) { /* an id that is not there comes before all */
		sql_where_text(&q, "arrival > (select coalesce(max(arrival), 0) from model_historical_logs where id = ",
			       f->after_id);
		sql_add(&q, ")");
	}
	sql_add(&q, f->after_id.p ? " order by arrival limit " : " order by id desc limit ");
	sql_arg(&q, db_int((int64_t)store_limit(f->limit)));
	rc = sql_query(db, a, &q, &rows, err);
	if (rc)
		return rc;
	list = ARENA_ARRAY(a, struct log_record, rows.n_rows);
	if (!list)
		return err_set(err, E_TOOBIG, "the records are more than fit in memory: ask for fewer");
	for (size_t i = 0; i < rows.n_rows && !rc; i++)
		rc = read_log(db, a, &rows, i, &list[i], err);
	if (rc)
		return rc;
	*ret = list;
	*ret_n = rows.n_rows;
	return 0;
}

/* Lower case; E_NOTFOUND for what cannot be part of an id. */
static int prefix_check(struct slice id, char text[UUID_STR_SIZE], struct err *err)
{
	if (id.n < PREFIX_MIN)
		return err_set(err, E_INVALID, "give at least the first %d characters of the id of a log record",
			       PREFIX_MIN);
	for (size_t i = 0; i < id.n && i < UUID_STR_SIZE; i++) {
		text[i] = (char)(id.p[i] >= 'A' && id.p[i] <= 'F' ? id.p[i] + ('a' - 'A') : id.p[i]);
		if (i == UUID_STR_SIZE - 1 || !strchr("0123456789abcdef-", text[i]) || !text[i])
			return err_set(err, E_NOTFOUND, "there is no log record with the id " SLICE_FMT,
				       SLICE_ARG(slice_sub(id, 0, 64)));
	}
	text[id.n] = '\0';
	return 0;
}

/* Every id that begins with prefix is at least prefix, and less than it with a character behind that no id holds. */
static int resolve(struct db *db, struct arena *a, struct slice prefix, struct db_value *ret_id, struct err *err)
{
	const char *past = arena_printf(a, SLICE_FMT "g", SLICE_ARG(prefix));
	const struct db_value args[] = {db_text(prefix), db_cstr(past)};
	struct db_rows rows;
	int rc;

	rc = db_query(db, a, "select id from model_historical_logs where id >= $1 and id < $2 order by id limit 1001",
		      db_args(args, COUNT_OF(args)), &rows, err);
	if (rc)
		return rc;
	if (rows.n_rows == 0)
		return err_set(err, E_NOTFOUND, "there is no log record with the id " SLICE_FMT, SLICE_ARG(prefix));
	if (rows.n_rows > 1)
		return err_set(err, E_CONFLICT,
			       "%s%zu log records have ids that begin with " SLICE_FMT ": give more of it",
			       rows.n_rows > 1000 ? "more than " : "", min_size(rows.n_rows, 1000), SLICE_ARG(prefix));
	*ret_id = *db_cell(&rows, 0, 0);
	return 0;
}

int store_log_get(struct db *db, struct arena *a, struct slice id, struct log_record *ret, struct err *err)
{
	char text[UUID_STR_SIZE];
	struct db_value whole = {.type = DB_NULL};
	struct log_record r = {0};
	struct db_rows rows;
	int rc = prefix_check(id, text, err);

	if (!rc)
		rc = resolve(db, a, (struct slice){text, id.n}, &whole, err);
	if (!rc)
		rc = db_query(db, a, "select " META ", " TEXTS ", " REMOVED " where id = $1", db_args(&whole, 1), &rows,
			      err);
	if (rc)
		return rc;
	if (rows.n_rows == 0) /* gone since */
		return err_set(err, E_NOTFOUND, "there is no log record with the id " SLICE_FMT, SLICE_ARG(whole.s));
	rc = read_log(db, a, &rows, 0, &r, err);
	if (!rc)
		rc = store_log_violations(db, a, &r, err);
	if (!rc)
		*ret = r;
	return rc;
}

int store_log_count(struct db *db, int64_t *ret, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct db_rows rows;
	int rc;

	arena_init(&a, 1024, 65536);
	rc = db_query(db, &a, "select count(*) from model_historical_logs", db_args(NULL, 0), &rows, err);
	if (!rc)
		*ret = db_cell(&rows, 0, 0)->i;
	return rc;
}
