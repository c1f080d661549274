/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One alert, its rules' settings, and the figures that rules judge.  Names of rules and severities are a promise: they
 * stand in the configuration, in what is delivered and in the Prometheus rules beside them.
 */
#pragma once
#include "core/base/err.h"
#include "core/base/slice.h"
#include "core/base/uuid.h"
#include "domain/budget.h"
#include "serving/stats/latency.h"

#define ALERTS_MAX 256 /* firing, or over and not recorded yet; one more is counted and dropped */
#define ALERT_NAME_SIZE 65
#define ALERT_INSTANCE_SIZE 256
#define ALERT_FINGERPRINT_SIZE 33
#define ALERT_SUMMARY_SIZE 320
#define ALERT_DETAILS_SIZE 640

enum alert_rule {
	ALERT_REGISTRY_UNAVAILABLE,
	ALERT_LOGGING_FAILURES,
	ALERT_CRITICAL_VIOLATION,
	ALERT_DEPLOYMENT_FAILED,
	ALERT_PERFORMANCE_DEGRADED,
	ALERT_BUDGET_NEARLY_SPENT,
	ALERT_BUDGET_SPENT,
	ALERT_N_RULES,
};

enum alert_severity { ALERT_INFO, ALERT_WARNING, ALERT_CRITICAL };

enum alert_state {
	ALERT_FREE,
	ALERT_PENDING, /* it holds, and not for long enough yet */
	ALERT_FIRING,
	ALERT_RESOLVED,
	ALERT_N_STATES,
};

const char *alert_rule_name(enum alert_rule r);
int alert_rule_parse(struct slice s, enum alert_rule *ret, struct err *err);
const char *alert_severity_name(enum alert_severity s);
int alert_severity_parse(struct slice s, enum alert_severity *ret, struct err *err);
const char *alert_state_name(enum alert_state s);

/* --- settings --- */

struct alert_rule_settings {
	bool enabled;
	int64_t for_ms;
	enum alert_severity severity;
};

struct alert_settings {
	struct alert_rule_settings rule[ALERT_N_RULES];
	int64_t resolve_after_ms; /* it has to be over for so long */
	struct {
		int64_t percent, window_ms, min_count;
	} logging;
	struct {
		int64_t window_ms;
	} violation, deployment;
	struct {
		int64_t window_ms, baseline_ms, min_count;
		int64_t latency_ratio, latency_floor_ms; /* percent of the baseline; at least so much above it */
		int64_t error_ratio, error_floor;	 /* percent of the baseline's share; percent of requests */
	} performance;
	struct {
		int64_t nearly_percent, spent_percent;
	} budget;
	char instance[ALERT_INSTANCE_SIZE]; /* which daemon this is */
};

/* --- figures: borrowed for one tick --- */

struct alert_time {
	int64_t mono_ms; /* what durations are measured by */
	int64_t wall_us; /* what people read */
};

struct alert_hits { /* of guardrail rules of severity critical, since the start */
	struct slice use_case, rule;
	uint64_t n;
};

struct alert_traffic { /* since the start; of requests that a model was asked */
	struct slice use_case;
	uint64_t requests, errors;
	uint64_t latency[LATENCY_BUCKETS]; /* of good answers */
};

struct alert_deployment { /* that ended badly, and is the newest of its use case that has ended */
	struct uuid id;
	char use_case[ALERT_NAME_SIZE];
	char how[24]; /* "rolled back", "aborted" */
	char reason[200];
	int64_t ended_us;
};

struct alert_budget {
	const char *account, *whose; /* "key/ID/USD/month"; the name of its key or use case */
	bool is_keys;
	enum budget_unit unit;
	enum budget_period period;
	const char *currency;  /* of money */
	int64_t amount, spent; /* in this period, by all daemons */
	bool is_known;	       /* else nobody has said yet what was spent */
	bool fell_short;       /* a request was refused because so much was not left */
};

struct alert_figures {
	struct alert_time now;
	bool database_away;
	int64_t database_ok_ms;		  /* monotonic: when it answered last; the start, when it never did */
	struct slice database_problem;	  /* what it said; may be empty */
	uint64_t log_records, log_failed; /* written, and lost or refused, since the start */
	const struct alert_hits *hits;
	size_t n_hits;
	const struct alert_traffic *traffic;
	size_t n_traffic;
	/* Of the leader alone. */
	bool leads;
	const struct alert_budget *budgets;
	size_t n_budgets;
	const struct alert_deployment *deployments;
	size_t n_deployments;
};

/* --- one alert --- */

struct alert {
	struct uuid id;
	enum alert_state state;
	enum alert_rule rule;
	enum alert_severity severity;
	bool shared;				  /* about what all daemons share: the leader's */
	bool holds;				  /* as of this tick */
	char fingerprint[ALERT_FINGERPRINT_SIZE]; /* of rule, instance, use case and key: the same thing, the same one
						   */
	char use_case[ALERT_NAME_SIZE];		  /* "": of none */
	char key[ALERT_NAME_SIZE];		  /* what else tells it from others: rule id, deployment id */
	char summary[ALERT_SUMMARY_SIZE];
	char details[ALERT_DETAILS_SIZE]; /* JSON object */
	int64_t since_ms, over_since_ms;  /* monotonic: since it holds; since it does not, 0: it does */
	int64_t since_us, fired_us, resolved_us;
	uint64_t version; /* grows with each change that is worth recording */
};
