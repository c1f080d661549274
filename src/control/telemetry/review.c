/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting the log for a review, and the order of its parts.  Both periods are read in one pass, piece by piece; what
 * does not fit the tables of names still counts in the totals.
 */
#include "control/telemetry/review.h"

#include <stdlib.h>

#include "control/telemetry/review_internal.h"
#include "core/base/clock.h"

#define SECOND_US INT64_C(1000000)
#define HOUR_US (3600 * SECOND_US)
#define SCRATCH_MAX ((size_t)64 << 20)

int review_bucket_us(int64_t window_us, int64_t *ret, struct err *err)
{
	static const struct {
		int64_t up_to_us, bucket_us;
		const char *name;
	} sizes[] = {
		{2 * HOUR_US, 300 * SECOND_US, "5 minutes"},
		{6 * HOUR_US, 900 * SECOND_US, "15 minutes"},
		{48 * HOUR_US, HOUR_US, "1 hour"},
		{INT64_C(8) * 24 * HOUR_US, 6 * HOUR_US, "6 hours"},
		{REVIEW_WINDOW_MAX_US, 24 * HOUR_US, "1 day"},
	};

	if (window_us < REVIEW_WINDOW_MIN_US || window_us > REVIEW_WINDOW_MAX_US)
		return err_set(err, E_INVALID, "the window of a review is from 10m to 31d: 24h, 7d");
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		if (window_us > sizes[i].up_to_us)
			continue;
		if (window_us % sizes[i].bucket_us)
			return err_set(err, E_INVALID,
				       "a window of that length is cut into pieces of %s: make it a multiple of that",
				       sizes[i].name);
		*ret = sizes[i].bucket_us;
		return 0;
	}
	return err_set(err, E_INVALID, "the window is too long");
}

double review_share(int64_t part, int64_t whole)
{
	return whole > 0 ? (double)part / (double)whole : 0;
}

int64_t review_errors(const struct review_counts *c)
{
	return c->by_status[RECORD_ERROR] + c->by_status[RECORD_TIMEOUT] + c->by_status[RECORD_TRUNCATED];
}

double review_percentile_ms(const uint32_t *buckets, unsigned percent)
{
	uint64_t total = 0, seen = 0, rank;

	for (size_t i = 0; buckets && i < REVIEW_LATENCY_BUCKETS; i++)
		total += buckets[i];
	if (!total)
		return -1;
	rank = (total * percent + 99) / 100;
	for (unsigned i = 0; i < REVIEW_LATENCY_BUCKETS; i++) {
		seen += buckets[i];
		if (seen >= rank)
			return review_latency_us(i) / 1000;
	}
	return -1;
}

/* --- groups --- */

static struct review_group *group_of(struct review_group *list, size_t *n, size_t max, struct slice use_case,
				     struct slice model)
{
	for (size_t i = *n; i-- > 0;)
		if (slice_eq(list[i].use_case, use_case) && slice_eq(list[i].model, model))
			return &list[i];
	if (*n == max)
		return NULL;
	list[*n] = (struct review_group){.use_case = use_case, .model = model};
	return &list[(*n)++];
}

struct review_group *review_use_case(struct review *r, struct slice use_case)
{
	return group_of(r->use_cases, &r->n_use_cases, REVIEW_MAX_USE_CASES, use_case, (struct slice){0});
}

struct review_group *review_model(struct review *r, struct slice use_case, struct slice model)
{
	return group_of(r->models, &r->n_models, REVIEW_MAX_MODELS, use_case, model);
}

struct counting {
	struct db *db;
	struct arena *a;      /* of the result */
	struct arena scratch; /* of a piece */
	struct review *r;
	struct review_span span;
};

static int add_latency(struct arena *a, uint32_t **buckets, int latency, int64_t n)
{
	if (latency < 0)
		return 0;
	if (!*buckets)
		*buckets = ARENA_ARRAY(a, uint32_t, REVIEW_LATENCY_BUCKETS);
	if (!*buckets)
		return E_TOOBIG;
	(*buckets)[latency] += (uint32_t)n;
	return 0;
}

static int64_t add_nano(int64_t a, int64_t b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

static void add_cost(struct review_counts *c, const struct review_log_row *row)
{
	size_t i = 0;

	if (!money_known(&row->cost))
		return;
	c->priced += row->n;
	while (i < c->n_costs && strcmp(c->costs[i].sum.currency, row->cost.currency) != 0)
		i++;
	if (i == REVIEW_MAX_CURRENCIES)
		return;
	if (i == c->n_costs) {
		c->n_costs++;
		memcpy(c->costs[i].sum.currency, row->cost.currency, CURRENCY_SIZE);
	}
	c->costs[i].sum.nano = add_nano(c->costs[i].sum.nano, row->cost.nano);
	c->costs[i].estimated_nano = add_nano(c->costs[i].estimated_nano, row->estimated_nano);
	c->costs[i].requests += row->n;
}

static int add_counts(struct arena *a, struct review_counts *c, const struct review_log_row *row)
{
	c->requests += row->n;
	c->by_status[row->status] += row->n;
	c->prompt_tokens += row->prompt_tokens;
	c->completion_tokens += row->completion_tokens;
	c->estimated += row->estimated;
	c->fallbacks += row->fallbacks;
	c->flagged += row->flagged;
	c->unchecked += row->unchecked;
	add_cost(c, row);
	return add_latency(a, &c->latency, row->latency, row->n);
}

static struct slice kept(struct arena *a, struct slice s)
{
	return s.p ? arena_slice(a, s) : s;
}

/* The use case and the model of a row, kept; NULL where the table is full or names were not asked for. */
static void find_groups(struct counting *c, bool by_name, struct slice use_case, struct slice model,
			struct review_group *ret[2])
{
	struct review *r = c->r;

	ret[0] = ret[1] = NULL;
	if (by_name) {
		ret[0] = review_use_case(r, use_case);
		ret[1] = review_model(r, use_case, model);
	}
	r->groups_left_off |= !ret[0] || !ret[1];
	for (size_t i = 0; i < 2; i++) { /* a new group borrows from the scratch arena: past it, it has its own */
		if (!ret[i] || ret[i]->now.requests || ret[i]->before.requests)
			continue;
		ret[i]->use_case = kept(c->a, ret[i]->use_case);
		ret[i]->model = kept(c->a, ret[i]->model);
	}
}

static int add_row(struct counting *c, const struct review_log_row *row, bool by_name)
{
	struct review *r = c->r;
	bool now = row->bucket >= r->n_buckets;
	struct review_group *groups[2];
	struct review_bucket *b;
	int rc;

	find_groups(c, by_name, row->use_case, row->model, groups);
	rc = add_counts(c->a, now ? &r->total.now : &r->total.before, row);
	for (size_t i = 0; i < COUNT_OF(groups) && !rc; i++)
		if (groups[i])
			rc = add_counts(c->a, now ? &groups[i]->now : &groups[i]->before, row);
	if (rc || !now)
		return rc;
	b = &r->buckets[row->bucket - r->n_buckets];
	b->requests += row->n;
	if (row->status == RECORD_ERROR || row->status == RECORD_TIMEOUT || row->status == RECORD_TRUNCATED)
		b->errors += row->n;
	return add_latency(c->a, &b->latency, row->latency, row->n);
}

static int add_first(struct counting *c, const struct review_first_row *row, bool by_name)
{
	struct review *r = c->r;
	bool now = row->bucket >= r->n_buckets;
	struct review_group *groups[2];
	int rc;

	find_groups(c, by_name, row->use_case, row->model, groups);
	rc = add_latency(c->a, now ? &r->total.now.first_token : &r->total.before.first_token, row->latency, row->n);
	for (size_t i = 0; i < COUNT_OF(groups) && !rc; i++)
		if (groups[i])
			rc = add_latency(c->a, now ? &groups[i]->now.first_token : &groups[i]->before.first_token,
					 row->latency, row->n);
	return rc;
}

/* --- pieces --- */

struct piece_rows {
	struct review_log_rows logs;
	struct review_first_rows firsts;
};

static int read_piece(struct counting *c, const struct review_piece *p, struct piece_rows *ret, struct err *err)
{
	int rc;

	arena_reset(&c->scratch);
	*ret = (struct piece_rows){.logs = {.n = 0}};
	rc = store_review_logs(c->db, &c->scratch, p, &ret->logs, err);
	if (!rc && ret->logs.n)
		rc = store_review_first_tokens(c->db, &c->scratch, p, &ret->firsts, err);
	return rc;
}

/* With more names than one piece should have, it is counted without them. */
static int count_piece(struct counting *c, size_t n, struct err *err)
{
	struct review_piece p = {.span = c->span, .n = n, .by_name = true};
	struct err named = {.text = ""};
	struct piece_rows rows;
	int rc = read_piece(c, &p, &rows, &named);

	if (rc == E_TOOBIG) {
		p.by_name = false;
		rc = read_piece(c, &p, &rows, err);
	} else if (rc) {
		return err_set(err, rc, "%s", named.text);
	}
	if (rc)
		return rc;
	for (size_t i = 0; i < rows.logs.n && !rc; i++)
		rc = add_row(c, &rows.logs.list[i], p.by_name);
	for (size_t i = 0; i < rows.firsts.n && !rc; i++)
		rc = add_first(c, &rows.firsts.list[i], p.by_name);
	return rc ? err_set(err, rc, "the sums of the review are more than fit in memory") : 0;
}

static int count_pieces(struct counting *c, struct err *err)
{
	int64_t until_ms = clock_mono_ms() + REVIEW_LIMIT_MS;

	for (size_t piece = 0; piece <= c->span.n_buckets + 1; piece++) {
		int rc = count_piece(c, piece, err);

		if (rc)
			return rc;
		if (clock_mono_ms() > until_ms)
			return err_set(err, E_BUSY,
				       "the review took longer than %d s: ask for a shorter window or for one use case",
				       REVIEW_LIMIT_MS / 1000);
	}
	return 0;
}

int review_count_log(struct db *db, struct arena *a, struct review *r, struct err *err)
{
	struct counting c = {.db = db,
			     .a = a,
			     .r = r,
			     .span = {.start_us = r->before_us,
				      .bucket_us = r->bucket_us,
				      .n_buckets = 2 * r->n_buckets,
				      .use_case = r->request.use_case}};
	int rc;

	arena_init(&c.scratch, 65536, SCRATCH_MAX);
	rc = count_pieces(&c, err);
	arena_release(&c.scratch);
	return rc;
}

static int by_requests(const void *x, const void *y)
{
	const struct review_group *a = x, *b = y;
	int order;

	if (a->now.requests != b->now.requests)
		return a->now.requests < b->now.requests ? 1 : -1;
	if (a->before.requests != b->before.requests)
		return a->before.requests < b->before.requests ? 1 : -1;
	order = memcmp(a->use_case.p ? a->use_case.p : "", b->use_case.p ? b->use_case.p : "",
		       min_size(a->use_case.n, b->use_case.n));
	if (order || a->use_case.n != b->use_case.n)
		return order ? order : a->use_case.n < b->use_case.n ? -1 : 1;
	order = memcmp(a->model.p ? a->model.p : "", b->model.p ? b->model.p : "", min_size(a->model.n, b->model.n));
	return order ? order : (a->model.n > b->model.n) - (a->model.n < b->model.n);
}

static int begin(struct arena *a, const struct review_request *q, struct review *r, struct err *err)
{
	int rc = review_bucket_us(q->window_us, &r->bucket_us, err);

	if (rc)
		return rc;
	r->request = *q;
	r->until_us = q->until_us;
	r->since_us = q->until_us - q->window_us;
	r->before_us = r->since_us - q->window_us;
	r->n_buckets = (size_t)(q->window_us / r->bucket_us);
	if (r->before_us < 0)
		return err_set(err, E_INVALID, "until is before there were any records");
	r->buckets = ARENA_ARRAY(a, struct review_bucket, r->n_buckets);
	r->use_cases = ARENA_ARRAY(a, struct review_group, REVIEW_MAX_USE_CASES);
	r->models = ARENA_ARRAY(a, struct review_group, REVIEW_MAX_MODELS);
	return r->buckets && r->use_cases && r->models
		       ? 0
		       : err_set(err, E_TOOBIG, "the review is more than fits in memory");
}

int review_compute(struct db *db, struct arena *a, const struct review_request *q, struct review *ret, struct err *err)
{
	const struct model_filter all = {.use_case = q->use_case, .status = -1};
	struct review *r = ret;
	struct model *models = NULL;
	size_t n_models = 0;
	int rc;

	*r = (struct review){.n_buckets = 0};
	if ((rc = begin(a, q, r, err)) || (rc = review_count_log(db, a, r, err)) ||
	    (rc = review_count_violations(db, a, r, err)) || (rc = review_list_deployments(db, a, r, err)) ||
	    (rc = review_list_changes(db, a, r, err)) || (rc = store_model_list(db, a, &all, &models, &n_models, err)))
		return rc;
	qsort(r->use_cases, r->n_use_cases, sizeof(*r->use_cases), by_requests);
	qsort(r->models, r->n_models, sizeof(*r->models), by_requests);
	review_judge_targets(a, r);
	return review_find(a, r, models, n_models, err);
}
