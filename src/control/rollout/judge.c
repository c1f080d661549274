/* SPDX-License-Identifier: Apache-2.0 */
/* The rules.  What passes a limit even if every missing sample were good has failed already; all else waits for enough.
 */
#include "control/rollout/judge.h"

#include <stdio.h>

#include "core/json/writer.h"

static const char *const verdict_names[] = {[VERDICT_NONE] = "not_judged",
					    [VERDICT_PASS] = "pass",
					    [VERDICT_INCONCLUSIVE] = "inconclusive",
					    [VERDICT_FAIL] = "fail"};

const char *verdict_name(enum verdict v)
{
	return verdict_names[v];
}

static uint64_t since(uint64_t now, uint64_t before)
{
	return now >= before ? now - before : now;
}

void rollout_counts_since(const struct rollout_counts *now, const struct rollout_counts *before,
			  struct rollout_counts *ret)
{
	ret->requests = since(now->requests, before->requests);
	ret->errors = since(now->errors, before->errors);
	ret->violations = since(now->violations, before->violations);
	for (size_t i = 0; i < LATENCY_BUCKETS; i++)
		ret->latency[i] = since(now->latency[i], before->latency[i]);
}

void rollout_counts_add(struct rollout_counts *to, const struct rollout_counts *more)
{
	to->requests += more->requests;
	to->errors += more->errors;
	to->violations += more->violations;
	for (size_t i = 0; i < LATENCY_BUCKETS; i++)
		to->latency[i] += more->latency[i];
}

static double rate(uint64_t n, uint64_t of)
{
	return of ? (double)n / (double)of : -1;
}

static void judge_rate(struct judgement *j, const char *metric, double limit, uint64_t n, double current)
{
	struct judged *r = &j->row[j->n++];
	double least =
		(double)n / (double)(j->samples > (uint64_t)j->min_samples ? j->samples : (uint64_t)j->min_samples);

	*r = (struct judged){.metric = metric,
			     .candidate = rate(n, j->samples),
			     .current = current,
			     .limit = limit,
			     .count = n,
			     .verdict = VERDICT_PASS};
	if (limit < 0)
		r->verdict = VERDICT_NONE;
	else if (least > limit)
		r->verdict = VERDICT_FAIL;
	else if (j->samples < (uint64_t)j->min_samples)
		r->verdict = VERDICT_INCONCLUSIVE;
}

static uint64_t total(const uint64_t *counts)
{
	uint64_t n = 0;

	for (size_t i = 0; i < LATENCY_BUCKETS; i++)
		n += counts[i];
	return n;
}

static void judge_p95(struct judgement *j, const struct deploy_thresholds *t, const struct rollout_counts *candidate,
		      const struct rollout_counts *current)
{
	struct judged *r = &j->row[j->n++];
	double now = latency_quantile_ms(candidate->latency, 0.95), was = latency_quantile_ms(current->latency, 0.95);
	bool known_before = j->current_samples >= (uint64_t)j->min_samples && was > 0;
	bool has_ratio = t->latency_p95_ratio >= 0, enough;

	*r = (struct judged){.metric = "latency_p95_ms",
			     .candidate = now,
			     .current = was,
			     .limit = t->latency_p95_ms,
			     .count = total(candidate->latency),
			     .verdict = VERDICT_PASS};
	if (has_ratio && known_before && (r->limit < 0 || t->latency_p95_ratio * was < r->limit))
		r->limit = t->latency_p95_ratio * was;
	enough = j->samples >= (uint64_t)j->min_samples && now >= 0;
	if (t->latency_p95_ms < 0 && !has_ratio)
		r->verdict = VERDICT_NONE;
	else if (enough && r->limit >= 0 && now > r->limit)
		r->verdict = VERDICT_FAIL;
	else if (!enough || (has_ratio && !known_before))
		r->verdict = VERDICT_INCONCLUSIVE;
}

void judge(const struct deploy_thresholds *t, const struct rollout_counts *candidate,
	   const struct rollout_counts *current, struct judgement *ret)
{
	*ret = (struct judgement){.samples = candidate->requests,
				  .current_samples = current->requests,
				  .min_samples = t->min_samples,
				  .n_replicas = 1,
				  .verdict = VERDICT_PASS};
	judge_rate(ret, "error_rate", t->error_rate, candidate->errors, rate(current->errors, current->requests));
	judge_p95(ret, t, candidate, current);
	judge_rate(ret, "violation_rate", t->violation_rate, candidate->violations,
		   rate(current->violations, current->requests));
	if (ret->samples < (uint64_t)t->min_samples)
		ret->verdict = VERDICT_INCONCLUSIVE;
	for (size_t i = 0; i < ret->n; i++)
		if (ret->row[i].verdict > ret->verdict)
			ret->verdict = ret->row[i].verdict;
}

static void number(struct json_writer *w, const char *key, double v)
{
	jw_key(w, key);
	if (v < 0)
		jw_null(w);
	else
		jw_double(w, v);
}

void judgement_write(struct json_writer *w, const struct judgement *j)
{
	jw_object(w);
	jw_kcstr(w, "verdict", verdict_names[j->verdict]);
	jw_ki64(w, "samples", (int64_t)j->samples);
	jw_ki64(w, "current_samples", (int64_t)j->current_samples);
	jw_ki64(w, "min_samples", j->min_samples);
	jw_ki64(w, "replicas", (int64_t)j->n_replicas);
	jw_key(w, "metrics");
	jw_array(w);
	for (size_t i = 0; i < j->n; i++) {
		const struct judged *r = &j->row[i];

		jw_object(w);
		jw_kcstr(w, "metric", r->metric);
		number(w, "candidate", r->candidate);
		number(w, "current", r->current);
		number(w, "limit", r->limit);
		jw_ki64(w, "count", (int64_t)r->count);
		jw_kcstr(w, "verdict", verdict_names[r->verdict]);
		jw_object_end(w);
	}
	jw_array_end(w);
	jw_object_end(w);
}

char *judgement_text(const struct judgement *j, char buf[JUDGEMENT_TEXT])
{
	const struct judged *r = &j->row[0];

	for (size_t i = 0; i < j->n; i++) {
		r = &j->row[i];
		if (r->verdict == VERDICT_FAIL)
			break;
	}
	if (r->verdict != VERDICT_FAIL)
		(void)snprintf(buf, JUDGEMENT_TEXT, "%s: %llu of %lld requests that are asked for",
			       verdict_names[j->verdict], (unsigned long long)j->samples, (long long)j->min_samples);
	else if (r == &j->row[1])
		(void)snprintf(buf, JUDGEMENT_TEXT, "latency p95 %.0f ms (%llu answers), limit %.0f ms", r->candidate,
			       (unsigned long long)r->count, r->limit);
	else
		(void)snprintf(buf, JUDGEMENT_TEXT, "%s %.2f %% (%llu of %llu requests), limit %.2f %%",
			       r == &j->row[0] ? "error rate" : "guardrail violations", r->candidate * 100,
			       (unsigned long long)r->count, (unsigned long long)j->samples, r->limit * 100);
	return buf; /* all fit */
}
