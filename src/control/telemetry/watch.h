/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /health says of the parts that can lose something: bad while it happens, well again afterwards, with what was
 * lost and when as evidence.  Pure: figures and the time in, a state out.
 */
#pragma once
#include "control/telemetry/health.h"
#include "core/base/metric.h"
#include "serving/stats/window.h"

#define WATCH_SPAN_US (60 * 1000000LL)	       /* what "lately" means */
#define WATCH_LOSS_FAILED 0.05		       /* a larger share of lost records is a failure */
#define WATCH_LAG_DEGRADED_US (30 * 1000000LL) /* records that wait longer */

struct watch {
	struct window window;
	uint64_t seen;	 /* of what is bad */
	int64_t last_us; /* when more of it was seen; 0: never */
};

struct watch_log {
	bool off;
	uint64_t written, lost, rejected, shipped, pending_bytes;
	int64_t lag_us;
	const char *error; /* why records cannot be shipped, or "" */
};
void watch_log(struct watch *w, struct health *h, const struct watch_log *now, int64_t now_us);

struct watch_guardrails {
	bool off;
	uint64_t judged, violating, critical, failures;
};
void watch_guardrails(struct watch *w, struct health *h, const struct watch_guardrails *now, int64_t now_us);

/* Quantile q of what was observed lately, in milliseconds; negative: nothing was.  buckets: since the start. */
double watch_quantile_ms(struct window *w, const struct histogram_bounds *b, const uint64_t *buckets, double q,
			 int64_t now_us);
