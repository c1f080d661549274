/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the new model is good enough, from counts and the deployment's thresholds.  Too few requests are neither good
 * nor bad.  Pure: no clock, no state.
 */
#pragma once
#include "domain/deployment.h"
#include "serving/stats/latency.h"

enum { ROLLOUT_CURRENT, ROLLOUT_CANDIDATE, ROLLOUT_N_ARMS };

struct rollout_counts {
	uint64_t requests, errors, violations;
	uint64_t latency[LATENCY_BUCKETS]; /* of good answers */
};

void rollout_counts_add(struct rollout_counts *to, const struct rollout_counts *more);
/* now - before, member by member; a number that went back (a new process) counts from 0. */
void rollout_counts_since(const struct rollout_counts *now, const struct rollout_counts *before,
			  struct rollout_counts *ret);

enum verdict { VERDICT_NONE /* not judged */, VERDICT_PASS, VERDICT_INCONCLUSIVE, VERDICT_FAIL };

struct judged {
	const char *metric;
	enum verdict verdict;
	double candidate, current; /* rates, or milliseconds; negative: unknown */
	double limit;		   /* negative: none */
	uint64_t count;		   /* of requests that are errors, violations; for latency those that were timed */
};

#define JUDGED_MAX 4

struct judgement {
	enum verdict verdict; /* the worst of them; never a pass with fewer samples than asked for */
	uint64_t samples, current_samples;
	int64_t min_samples;
	size_t n_replicas; /* whose figures these are */
	struct judged row[JUDGED_MAX];
	size_t n;
};

void judge(const struct deploy_thresholds *t, const struct rollout_counts *candidate,
	   const struct rollout_counts *current, struct judgement *ret);
const char *verdict_name(enum verdict v);
struct json_writer;
void judgement_write(struct json_writer *w, const struct judgement *j);
/* The first failure in words: "error rate 12.0 % (6 of 50 requests), limit 5.0 %"; terminated. */
#define JUDGEMENT_TEXT 160
char *judgement_text(const struct judgement *j, char buf[JUDGEMENT_TEXT]);
