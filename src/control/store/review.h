/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a review counts, out of model_historical_logs and guardrails_violations.  The database aggregates; what comes
 * back is bounded.  The log is read in pieces by id, one per bucket of the span, so that no statement runs long, no
 * read transaction stays open, and an index leads to each piece.
 */
#pragma once
#include "control/store/entities.h"

/*
 * Latencies are counted in buckets: one per microsecond below 64 us, then 32 for each doubling, up to 71 minutes.  A
 * percentile is the middle of the bucket in which it lies: at most 1.6 % off.
 */
#define REVIEW_LATENCY_BUCKETS 896
#define REVIEW_LATENCY_ERROR 0.016

unsigned review_latency_bucket(int64_t us); /* the same as the SQL's: negative counts as 0 */
double review_latency_us(unsigned bucket);  /* its middle */

/* Records that come in later than this after their created_us are not counted. */
#define REVIEW_LATE_US (INT64_C(24) * 3600 * 1000000)
#define REVIEW_MAX_ROWS 20000

struct review_span { /* [start_us, start_us + n_buckets * bucket_us) */
	int64_t start_us, bucket_us;
	size_t n_buckets;
	struct slice use_case; /* absent: all */
};

/* One of 0 to n_buckets + 1: every record of the span is in exactly one of them. */
struct review_piece {
	struct review_span span;
	size_t n;
	bool by_name; /* told apart by use case and model */
};

struct review_log_row { /* of one bucket, use case, model, status, latency and currency */
	size_t bucket;
	struct slice use_case, model; /* absent: not known, or not asked for */
	enum record_status status;
	int latency; /* bucket; -1: not known */
	int64_t n, prompt_tokens, completion_tokens, estimated, fallbacks, flagged, unchecked;
	struct money cost;	/* of all of them; not known: none of them has one */
	int64_t estimated_nano; /* of it, that of estimated tokens */
};

struct review_log_rows {
	struct review_log_row *list;
	size_t n;
};
/* E_TOOBIG: more than REVIEW_MAX_ROWS rows, which by_name alone can come to. */
int store_review_logs(struct db *db, struct arena *a, const struct review_piece *p, struct review_log_rows *ret,
		      struct err *err);

struct review_first_row {
	size_t bucket;
	struct slice use_case, model;
	int latency;
	int64_t n;
};
struct review_first_rows {
	struct review_first_row *list;
	size_t n;
};
/* The same for the time to the first token, of the records that have one. */
int store_review_first_tokens(struct db *db, struct arena *a, const struct review_piece *p,
			      struct review_first_rows *ret, struct err *err);

struct review_violation_count {
	size_t bucket;
	enum guard_severity severity;
	int64_t n;
};
int store_review_violation_series(struct db *db, struct arena *a, const struct review_span *span,
				  struct review_violation_count **ret, size_t *ret_n, struct err *err);

#define REVIEW_MAX_VIOLATION_ROWS 1000

struct review_violation_row {
	struct slice use_case, model, policy, rule, category;
	enum guard_severity severity;
	enum guard_action action;
	int64_t n, n_before; /* from middle_us on, and before it */
};
struct review_violation_rows {
	struct review_violation_row *list;
	size_t n;
};
/* The most frequent first, at most REVIEW_MAX_VIOLATION_ROWS; middle_us: where the period before ends. */
int store_review_violations(struct db *db, struct arena *a, const struct review_span *span, int64_t middle_us,
			    struct review_violation_rows *ret, struct err *err);

#define REVIEW_SAMPLES 3

struct review_samples { /* ids of the newest log records with a hit of a rule, each once */
	struct slice ids[REVIEW_SAMPLES];
	size_t n;
};
int store_review_samples(struct db *db, struct arena *a, const struct review_span *span, struct slice rule,
			 struct review_samples *ret, struct err *err);
