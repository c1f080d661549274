/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums of a review.  What would break it: a bucket that SQL and C number differently (a test goes through all), or
 * an id range that leaves records out: created_us may be earlier than the id says by as long as an application waits
 * with its report, and later by a minute at most.
 */
#include "control/store/review.h"

#include "control/store/store_internal.h"

#define SLACK_US INT64_C(60000000)
#define OCTAVE 32U /* buckets of a doubling */

/* review_latency_bucket() in the subset that the databases share, which has no logarithm. */
#define LATENCY_BUCKET                                                                                     \
	"case when x is null then -1 when x < 0 then 0 when x < 64 then x "                                \
	"when x < 128 then 32 + x / 2 when x < 256 then 64 + x / 4 when x < 512 then 96 + x / 8 "          \
	"when x < 1024 then 128 + x / 16 when x < 2048 then 160 + x / 32 when x < 4096 then 192 + x / 64 " \
	"when x < 8192 then 224 + x / 128 when x < 16384 then 256 + x / 256 "                              \
	"when x < 32768 then 288 + x / 512 when x < 65536 then 320 + x / 1024 "                            \
	"when x < 131072 then 352 + x / 2048 when x < 262144 then 384 + x / 4096 "                         \
	"when x < 524288 then 416 + x / 8192 when x < 1048576 then 448 + x / 16384 "                       \
	"when x < 2097152 then 480 + x / 32768 when x < 4194304 then 512 + x / 65536 "                     \
	"when x < 8388608 then 544 + x / 131072 when x < 16777216 then 576 + x / 262144 "                  \
	"when x < 33554432 then 608 + x / 524288 when x < 67108864 then 640 + x / 1048576 "                \
	"when x < 134217728 then 672 + x / 2097152 when x < 268435456 then 704 + x / 4194304 "             \
	"when x < 536870912 then 736 + x / 8388608 when x < 1073741824 then 768 + x / 16777216 "           \
	"when x < 2147483648 then 800 + x / 33554432 when x < 4294967296 then 832 + x / 67108864 "         \
	"else 895 end"

unsigned review_latency_bucket(int64_t us)
{
	unsigned doubling = 0;

	if (us < INT64_C(2) * OCTAVE)
		return us < 0 ? 0 : (unsigned)us;
	while (us >> doubling >= INT64_C(2) * OCTAVE)
		doubling++;
	return (unsigned)min_size((size_t)OCTAVE * doubling + (size_t)(us >> doubling), REVIEW_LATENCY_BUCKETS - 1);
}

double review_latency_us(unsigned bucket)
{
	unsigned doubling = bucket < 2 * OCTAVE ? 0 : bucket / OCTAVE - 1;

	if (!doubling)
		return bucket;
	return ((double)(bucket - OCTAVE * doubling) + 0.5) * (double)(UINT64_C(1) << doubling);
}

static int64_t span_end(const struct review_span *s)
{
	return s->start_us + (int64_t)s->n_buckets * s->bucket_us;
}

struct id_range {
	char from[UUID_STR_SIZE], to[UUID_STR_SIZE]; /* ids: the second is past it */
};

/*
 * "select <bucket of the span>, <use case>, <model>, <columns> from (<the piece's rows, with x> ) group by 1, 2, 3,
 * <groups>": statements of one kind have one text.
 */
static void select_piece(struct sql *q, const struct review_piece *p, const char *columns)
{
	sql_add(q, "select (created_us - ");
	sql_arg(q, db_int(p->span.start_us));
	sql_add(q, ") / ");
	sql_arg(q, db_int(p->span.bucket_us));
	sql_add(q, p->by_name ? ", use_case, model_name, " : ", null, null, ");
	sql_add(q, columns);
	sql_add(q, " from (select created_us, use_case, model_name, status, prompt_tokens, completion_tokens, "
		   "tokens_estimated, fallback, guard_action, guard_skipped, cost_nano, cost_currency, ");
}

static void end_piece(struct sql *q, const struct review_piece *p, struct id_range *ids)
{
	const struct review_span *s = &p->span;
	int64_t from = p->n ? s->start_us + (int64_t)(p->n - 1) * s->bucket_us : s->start_us - SLACK_US;
	int64_t to = p->n > s->n_buckets ? span_end(s) + REVIEW_LATE_US : s->start_us + (int64_t)p->n * s->bucket_us;

	sql_add(q, " as x from model_historical_logs");
	sql_where(q, "id >= ", db_text(sql_id_floor(from, ids->from)));
	sql_where(q, "id < ", db_text(sql_id_floor(to, ids->to)));
	sql_where(q, "created_us >= ", db_int(s->start_us));
	sql_where(q, "created_us < ", db_int(span_end(s)));
	sql_where_text(q, "use_case = ", s->use_case);
}

static int query_rows(struct db *db, struct arena *a, struct sql *q, size_t limit, struct db_rows *ret, struct err *err)
{
	int rc;

	sql_add(q, " limit ");
	sql_arg(q, db_int((int64_t)limit + 1));
	rc = sql_query(db, a, q, ret, err);
	if (!rc && ret->n_rows > limit)
		return err_set(err, E_TOOBIG, "the review has more than %zu sums in one piece", limit);
	return rc;
}

static size_t read_bucket(struct row *r, const struct review_span *s)
{
	int64_t v = row_int(r);

	if (v < 0 || v >= (int64_t)s->n_buckets)
		r->rc = E_CORRUPT;
	return r->rc ? 0 : (size_t)v;
}

static int read_latency(struct row *r)
{
	int64_t v = row_int(r);

	if (v < -1 || v >= REVIEW_LATENCY_BUCKETS)
		r->rc = E_CORRUPT;
	return r->rc ? -1 : (int)v;
}

/* Units and billionths are summed apart: no sum is too large for the database. */
#define UNITS "cast(coalesce(sum(cost_nano / 1000000000), 0) as bigint)"
#define BILLIONTHS "cast(coalesce(sum(cost_nano % 1000000000), 0) as bigint)"
#define OF_ESTIMATED(what) "cast(coalesce(sum(case when tokens_estimated = 0 then 0 else " what " end), 0) as bigint)"

static int64_t read_nano(struct row *r)
{
	int64_t units = row_int(r), rest = row_int(r);

	units += rest / MONEY_ONE;
	if (units < 0 || rest < 0)
		r->rc = E_CORRUPT;
	return units >= INT64_MAX / MONEY_ONE ? INT64_MAX : units * MONEY_ONE + rest % MONEY_ONE;
}

static void read_cost(struct row *r, struct review_log_row *ret)
{
	struct slice currency = row_text(r);

	ret->cost = (struct money){.nano = read_nano(r)};
	ret->estimated_nano = read_nano(r);
	if (currency.p && !currency_read(currency, ret->cost.currency))
		r->rc = E_CORRUPT;
}

static int read_log_row(const struct db_rows *rows, size_t row, const struct review_span *span,
			struct review_log_row *ret, struct err *err)
{
	struct row r = {.rows = rows, .row = row};

	ret->bucket = read_bucket(&r, span);
	ret->use_case = row_text(&r);
	ret->model = row_text(&r);
	if (record_status_parse(row_text(&r), &ret->status))
		r.rc = E_CORRUPT;
	ret->latency = read_latency(&r);
	read_cost(&r, ret);
	ret->n = row_int(&r);
	ret->prompt_tokens = row_int(&r);
	ret->completion_tokens = row_int(&r);
	ret->estimated = row_int(&r);
	ret->fallbacks = row_int(&r);
	ret->flagged = row_int(&r);
	ret->unchecked = row_int(&r);
	return r.rc ? err_set(err, r.rc, "the sums of model_historical_logs cannot be read") : 0;
}

int store_review_logs(struct db *db, struct arena *a, const struct review_piece *p, struct review_log_rows *ret,
		      struct err *err)
{
	struct review_log_rows found;
	struct sql q = {.n = 0};
	struct id_range ids;
	struct db_rows rows;
	int rc;

	select_piece(&q, p,
		     "status, " LATENCY_BUCKET ", cost_currency, " UNITS ", " BILLIONTHS
		     ", " OF_ESTIMATED("cost_nano / 1000000000") ", " OF_ESTIMATED(
			     "cost_nano % 1000000000") ", count(*), cast(sum(coalesce(prompt_tokens, 0)) as bigint), "
						       "cast(sum(coalesce(completion_tokens, 0)) as bigint), "
						       "cast(sum(tokens_estimated) as bigint), "
						       "sum(case when fallback = 'none' then 0 else 1 end), "
						       "sum(case when guard_action = 'allow' then 0 else 1 end), "
						       "cast(sum(guard_skipped) as bigint)");
	sql_add(&q, "latency_us");
	end_piece(&q, p, &ids);
	sql_add(&q, ") log group by 1, 2, 3, 4, 5, 6");
	rc = query_rows(db, a, &q, REVIEW_MAX_ROWS, &rows, err);
	if (rc)
		return rc;
	found = (struct review_log_rows){ARENA_ARRAY(a, struct review_log_row, rows.n_rows), rows.n_rows};
	if (!found.list)
		return err_set(err, E_TOOBIG, "the sums of the review are more than fit in memory");
	for (size_t i = 0; i < found.n && !rc; i++)
		rc = read_log_row(&rows, i, &p->span, &found.list[i], err);
	if (!rc)
		*ret = found;
	return rc;
}

static int read_first_row(const struct db_rows *rows, size_t row, const struct review_span *span,
			  struct review_first_row *ret, struct err *err)
{
	struct row r = {.rows = rows, .row = row};

	ret->bucket = read_bucket(&r, span);
	ret->use_case = row_text(&r);
	ret->model = row_text(&r);
	ret->latency = read_latency(&r);
	ret->n = row_int(&r);
	return r.rc ? err_set(err, r.rc, "the sums of model_historical_logs cannot be read") : 0;
}

int store_review_first_tokens(struct db *db, struct arena *a, const struct review_piece *p,
			      struct review_first_rows *ret, struct err *err)
{
	struct review_first_rows found;
	struct sql q = {.n = 0};
	struct id_range ids;
	struct db_rows rows;
	int rc;

	select_piece(&q, p, LATENCY_BUCKET ", count(*)");
	sql_add(&q, "first_token_us");
	end_piece(&q, p, &ids);
	sql_add(&q, " and first_token_us is not null) log group by 1, 2, 3, 4");
	rc = query_rows(db, a, &q, REVIEW_MAX_ROWS, &rows, err);
	if (rc)
		return rc;
	found = (struct review_first_rows){ARENA_ARRAY(a, struct review_first_row, rows.n_rows), rows.n_rows};
	if (!found.list)
		return err_set(err, E_TOOBIG, "the sums of the review are more than fit in memory");
	for (size_t i = 0; i < found.n && !rc; i++)
		rc = read_first_row(&rows, i, &p->span, &found.list[i], err);
	if (!rc)
		*ret = found;
	return rc;
}

/* --- violations --- */

static void where_span(struct sql *q, const struct review_span *s)
{
	sql_where(q, "created_us >= ", db_int(s->start_us));
	sql_where(q, "created_us < ", db_int(span_end(s)));
	sql_where_text(q, "use_case = ", s->use_case);
}

static enum guard_severity read_severity(struct row *r)
{
	struct slice s = row_text(r);

	for (unsigned i = GUARD_LOW; i <= GUARD_CRITICAL; i++)
		if (slice_eq_str(s, guard_severity_name((enum guard_severity)i)))
			return (enum guard_severity)i;
	r->rc = E_CORRUPT;
	return GUARD_LOW;
}

static enum guard_action read_action(struct row *r)
{
	struct slice s = row_text(r);

	for (unsigned i = GUARD_ALLOW; i <= GUARD_BLOCK; i++)
		if (slice_eq_str(s, guard_action_name((enum guard_action)i)))
			return (enum guard_action)i;
	r->rc = E_CORRUPT;
	return GUARD_ALLOW;
}

int store_review_violation_series(struct db *db, struct arena *a, const struct review_span *span,
				  struct review_violation_count **ret, size_t *ret_n, struct err *err)
{
	struct review_violation_count *list;
	struct sql q = {.n = 0};
	struct db_rows rows;
	int rc;

	sql_add(&q, "select (created_us - ");
	sql_arg(&q, db_int(span->start_us));
	sql_add(&q, ") / ");
	sql_arg(&q, db_int(span->bucket_us));
	sql_add(&q, ", severity, count(*) from guardrails_violations");
	where_span(&q, span);
	sql_add(&q, " group by 1, 2");
	rc = query_rows(db, a, &q, span->n_buckets * (GUARD_CRITICAL + 1), &rows, err);
	if (rc)
		return rc;
	list = ARENA_ARRAY(a, struct review_violation_count, rows.n_rows);
	if (!list)
		return err_set(err, E_TOOBIG, "the sums of the review are more than fit in memory");
	for (size_t i = 0; i < rows.n_rows && !rc; i++) {
		struct row r = {.rows = &rows, .row = i};

		list[i].bucket = read_bucket(&r, span);
		list[i].severity = read_severity(&r);
		list[i].n = row_int(&r);
		if (r.rc)
			rc = err_set(err, r.rc, "the sums of guardrails_violations cannot be read");
	}
	if (rc)
		return rc;
	*ret = list;
	*ret_n = rows.n_rows;
	return 0;
}

static int read_violation_row(const struct db_rows *rows, size_t row, struct review_violation_row *ret, struct err *err)
{
	struct row r = {.rows = rows, .row = row};

	ret->use_case = row_text(&r);
	ret->model = row_text(&r);
	ret->policy = row_text(&r);
	ret->rule = row_text(&r);
	ret->category = row_text(&r);
	ret->severity = read_severity(&r);
	ret->action = read_action(&r);
	ret->n = row_int(&r);
	ret->n_before = row_int(&r) - ret->n;
	return r.rc ? err_set(err, r.rc, "the sums of guardrails_violations cannot be read") : 0;
}

int store_review_violations(struct db *db, struct arena *a, const struct review_span *span, int64_t middle_us,
			    struct review_violation_rows *ret, struct err *err)
{
	struct review_violation_rows found;
	struct sql q = {.n = 0};
	struct db_rows rows;
	int rc;

	sql_add(&q, "select use_case, model_name, policy, rule, category, severity, action, "
		    "sum(case when created_us < ");
	sql_arg(&q, db_int(middle_us));
	sql_add(&q, " then 0 else 1 end), count(*) from guardrails_violations");
	where_span(&q, span);
	sql_add(&q, " group by 1, 2, 3, 4, 5, 6, 7 order by 8 desc, 9 desc, rule, use_case, model_name, category, "
		    "severity, action, policy limit ");
	sql_arg(&q, db_int(REVIEW_MAX_VIOLATION_ROWS));
	rc = sql_query(db, a, &q, &rows, err);
	if (rc)
		return rc;
	found = (struct review_violation_rows){ARENA_ARRAY(a, struct review_violation_row, rows.n_rows), rows.n_rows};
	if (!found.list)
		return err_set(err, E_TOOBIG, "the sums of the review are more than fit in memory");
	for (size_t i = 0; i < found.n && !rc; i++)
		rc = read_violation_row(&rows, i, &found.list[i], err);
	if (!rc)
		*ret = found;
	return rc;
}

/* One record may hit a rule many times: a few more rows are read than are wanted. */
int store_review_samples(struct db *db, struct arena *a, const struct review_span *span, struct slice rule,
			 struct review_samples *ret, struct err *err)
{
	struct review_samples found = {.n = 0};
	struct sql q = {.n = 0};
	struct db_rows rows;
	int rc;

	sql_add(&q, "select log_id from guardrails_violations");
	where_span(&q, span);
	sql_where_text(&q, "rule = ", rule);
	sql_add(&q, " order by created_us desc, id desc limit ");
	sql_arg(&q, db_int(RECORD_MAX_VIOLATIONS));
	rc = sql_query(db, a, &q, &rows, err);
	for (size_t i = 0; !rc && i < rows.n_rows && found.n < REVIEW_SAMPLES; i++) {
		const struct db_value *v = db_cell(&rows, i, 0);

		if (v->type == DB_TEXT && (!found.n || !slice_eq(v->s, found.ids[found.n - 1])))
			found.ids[found.n++] = v->s;
	}
	if (!rc)
		*ret = found;
	return rc;
}
