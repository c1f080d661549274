/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A review: what happened in a period, against the period of the same length before it.  Computed from the database
 * alone, but for what only a running daemon can measure (struct review_figures).  What was not measured is unknown,
 * never good.
 */
#pragma once
#include "control/store/review.h"
#include "core/json/writer.h"

#define REVIEW_WINDOW_MIN_US (INT64_C(600) * 1000000)
#define REVIEW_WINDOW_MAX_US (INT64_C(31) * 24 * 3600 * 1000000)
#define REVIEW_LIMIT_MS 120000 /* for the whole of it */
#define REVIEW_MAX_USE_CASES 128
#define REVIEW_MAX_MODELS 256
#define REVIEW_MAX_RULES 20
#define REVIEW_MAX_SAMPLED 5
#define REVIEW_MAX_CATEGORIES 32
#define REVIEW_MAX_DEPLOYMENTS 100
#define REVIEW_MAX_CHANGES 200
#define REVIEW_MAX_FINDINGS 64

/* What this daemon counted since it started. */
struct review_figures {
	int64_t since_us;
	uint64_t lookups;		  /* 0: none was measured */
	double lookup_p99_ms;		  /* at most */
	uint64_t records, lost, rejected; /* of the historical log */
};

struct review_request {
	int64_t now_us, until_us, window_us;
	struct slice use_case;		      /* absent: all */
	const struct review_figures *figures; /* NULL: there are none */
};

#define REVIEW_MAX_CURRENCIES 4

struct review_cost { /* in one currency */
	struct money sum;
	int64_t estimated_nano; /* of it, that of estimated tokens */
	int64_t requests;
};

struct review_counts {
	int64_t requests, by_status[RECORD_N_STATUSES];
	int64_t prompt_tokens, completion_tokens, estimated, fallbacks, flagged, unchecked, violations;
	int64_t priced; /* requests whose cost is known, in currencies that have no place here too */
	struct review_cost costs[REVIEW_MAX_CURRENCIES];
	size_t n_costs;
	uint32_t *latency, *first_token; /* [REVIEW_LATENCY_BUCKETS], the arena's; NULL: nothing was counted */
};

/* Nearest rank, in ms; negative when nothing was counted. percent: 1 to 99. */
double review_percentile_ms(const uint32_t *buckets, unsigned percent);
int64_t review_errors(const struct review_counts *c); /* error, timeout, truncated */

struct review_group {
	struct slice use_case, model; /* model absent: the use case, or not known */
	struct review_counts now, before;
};

struct review_bucket {
	int64_t requests, errors, violations;
	uint32_t *latency;
};

struct review_tally { /* of a category, or a severity */
	struct slice name;
	int64_t n, n_before;
};

struct review_rule {
	struct slice rule, policy, category;
	enum guard_severity severity;
	enum guard_action action;
	int64_t n, n_before;
	struct review_samples samples;
};

struct review_deployments {
	int64_t finished, succeeded;
	struct deployment *list; /* newest first */
	struct slice *models;	 /* name@version of each; absent: not in the registry */
	size_t n;
	bool more;
};

struct review_change {
	struct registry_event event; /* without before and after */
	struct slice name;	     /* of the subject, as far as the event tells */
	struct slice from, to;	     /* statuses, when they changed */
};

enum review_verdict { REVIEW_UNKNOWN, REVIEW_MET, REVIEW_NOT_MET };

enum review_target_id { REVIEW_LOOKUP, REVIEW_LOGGING, REVIEW_VIOLATIONS, REVIEW_DEPLOYMENTS, REVIEW_N_TARGETS };

struct review_target {
	enum review_verdict verdict;
	bool measured;
	double figure;	     /* ms, or a share of 1 */
	struct slice detail; /* of what, and since when */
};

enum review_weight { REVIEW_NOTE, REVIEW_WARN, REVIEW_BAD };

struct review_finding {
	const char *kind;
	enum review_weight weight;
	struct slice use_case; /* absent: none */
	struct slice text;     /* one sentence */
	struct slice command;  /* that shows more; words of others are quoted for the shell */
};

struct review {
	struct review_request request;
	int64_t before_us, since_us, until_us, bucket_us; /* before_us to since_us is the period before */
	size_t n_buckets;				  /* of one period */
	struct review_bucket *buckets;
	struct review_group total, *use_cases, *models;
	size_t n_use_cases, n_models;
	bool groups_left_off; /* there are more of them: the totals have them all */
	int64_t by_severity[GUARD_CRITICAL + 1], by_severity_before[GUARD_CRITICAL + 1];
	struct review_tally categories[REVIEW_MAX_CATEGORIES];
	struct review_rule rules[REVIEW_MAX_RULES];
	size_t n_categories, n_rules;
	bool rules_left_off;
	struct review_deployments deployments, deployments_before;
	struct review_change *changes; /* newest first */
	size_t n_changes;
	bool more_changes;
	struct review_target targets[REVIEW_N_TARGETS];
	struct review_finding findings[REVIEW_MAX_FINDINGS];
	size_t n_findings;
};

/* The length of a bucket for that window; E_INVALID says which windows there are. */
int review_bucket_us(int64_t window_us, int64_t *ret, struct err *err);
/* Blocks, statement by statement; everything lives in the arena.  E_BUSY: it took longer than REVIEW_LIMIT_MS. */
int review_compute(struct db *db, struct arena *a, const struct review_request *q, struct review *ret, struct err *err);
/* As /api/v1/review answers. */
void review_write(struct json_writer *w, const struct review *r);
