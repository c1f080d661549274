/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/v1/review.  It reads for seconds where there are millions of records, and holds a job thread and a connection
 * of the pool meanwhile: one at a time.
 */
#include "control/admin/admin_internal.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"

#define RETRY_AFTER_S 5
#define SLACK_US INT64_C(60000000) /* the clock of who asks may go a little ahead */

static int read_window(struct api_call *c, struct review_request *q)
{
	struct slice window = api_query(c, "window");
	struct err err = {0};
	int64_t ms = INT64_C(24) * 3600 * 1000, bucket_us = 0;

	if (window.p && clock_parse_duration_ms(window, &ms))
		return api_fail(c, 400, "window", "invalid_value",
				"window is a duration, as 24h or 7d, not '" SLICE_FMT "'",
				SLICE_ARG(utf8_truncate(window, 80)));
	q->window_us = ms < REVIEW_WINDOW_MAX_US / 1000 + 1 ? ms * 1000 : REVIEW_WINDOW_MAX_US + 1;
	if (review_bucket_us(q->window_us, &bucket_us, &err))
		return api_error(c, E_INVALID, "window", &err);
	return 0;
}

static int read_request(struct api_call *c, struct review_request *q)
{
	int status;

	*q = (struct review_request){.now_us = c->now_us, .until_us = c->now_us};
	if ((status = read_window(c, q)) || (status = api_query_time(c, "until", &q->until_us)))
		return status;
	q->use_case = api_query(c, "use_case"); /* any: applications report under names of their own */
	if (q->until_us > c->now_us + SLACK_US || q->until_us < 2 * q->window_us + SLACK_US)
		return api_fail(c, 400, "until", "invalid_value", "until has to be a time in the past");
	return 0;
}

static int answer(struct api_call *c, const struct review_request *q)
{
	struct review *r = ARENA_NEW(&c->arena, struct review);
	struct err err = {0};
	struct db *db;
	int rc;

	if (!r)
		return api_error(c, E_TOOBIG, NULL, &err);
	rc = store_acquire(c->admin->store, &db, &err);
	if (rc == 0) {
		rc = review_compute(db, &c->arena, q, r, &err);
		store_release(c->admin->store, db);
	}
	if (rc < 0)
		return api_error(c, rc, NULL, &err);
	review_write(&c->w, r);
	return 200;
}

int api_review(struct api_call *c)
{
	struct review_figures figures = {.since_us = 0};
	struct review_request q;
	int status = read_request(c, &q);

	if (status)
		return status;
	if (atomic_exchange(&c->admin->reviewing, true)) {
		api_header(c, "retry-after", "%d", RETRY_AFTER_S);
		return api_fail(c, 429, NULL, "review_under_way",
				"another review is being made: ask again in %d seconds", RETRY_AFTER_S);
	}
	if (c->admin->shipper)
		(void)shipper_flush(c->admin->shipper, API_FLUSH_LIMIT_MS); /* late is fine: then it is not counted */
	if (c->admin->figures) {
		c->admin->figures(&figures, c->admin->figures_arg);
		q.figures = &figures;
	}
	status = answer(c, &q);
	atomic_store(&c->admin->reviewing, false);
	return status;
}
