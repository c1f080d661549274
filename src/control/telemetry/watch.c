/* SPDX-License-Identifier: Apache-2.0 */
/* What would break it: a loss that keeps a part failed for ever, or one that nobody hears of. */
#include "control/telemetry/watch.h"

#include <stdio.h>

#include "core/base/clock.h"

typedef unsigned long long count;

static void note(struct watch *w, uint64_t bad, int64_t now_us)
{
	if (bad > w->seen)
		w->last_us = now_us;
	w->seen = bad;
}

/* --- the historical log --- */

static void judge_log(struct health *h, const struct watch_log *now, const uint64_t grown[3], int64_t now_us)
{
	uint64_t written = grown[0], lost = grown[1], refused = grown[2], all = written + lost;
	uint64_t waiting =
		now->written > now->shipped ? now->written - now->shipped : 0; /* an earlier run's ship too */
	enum health_part part = HEALTH_HISTORICAL_LOG;

	if (now->off)
		health_set(h, part, HEALTH_OK, now_us, "switched off (history.enabled)");
	else if (lost)
		health_set(h, part, (double)lost > WATCH_LOSS_FAILED * (double)all ? HEALTH_FAILED : HEALTH_DEGRADED,
			   now_us,
			   "%llu of %llu records of the last minute could not be kept: see spool.max_bytes and "
			   "the disk",
			   (count)lost, (count)all);
	else if (refused)
		health_set(h, part, HEALTH_DEGRADED, now_us,
			   "the database refused %llu records in the last minute: they are in rejected.ndjson of the "
			   "spool",
			   (count)refused);
	else if (now->error[0])
		health_set(h, part, HEALTH_DEGRADED, now_us, "records wait in the spool: %s", now->error);
	else if (now->lag_us > WATCH_LAG_DEGRADED_US)
		health_set(h, part, HEALTH_DEGRADED, now_us, "%llu records wait, the oldest for %llu s", (count)waiting,
			   (count)(now->lag_us / 1000000));
	else if (now->lost)
		health_set(h, part, HEALTH_OK, now_us, "%llu records written; %llu were lost, none of them lately",
			   (count)now->written, (count)now->lost);
	else
		health_set(h, part, HEALTH_OK, now_us, "%llu records written, none lost", (count)now->written);
}

void watch_log(struct watch *w, struct health *h, const struct watch_log *now, int64_t now_us)
{
	const uint64_t values[] = {now->written, now->lost, now->rejected};
	uint64_t grown[COUNT_OF(values)];

	window_grown(&w->window, &(struct window_now){now_us, WATCH_SPAN_US, values, COUNT_OF(values)}, grown);
	note(w, now->lost + now->rejected, now_us);
	judge_log(h, now, grown, now_us);
	health_count(h, HEALTH_HISTORICAL_LOG, "written", now->written);
	health_count(h, HEALTH_HISTORICAL_LOG, "lost", now->lost);
	health_count(h, HEALTH_HISTORICAL_LOG, "rejected", now->rejected);
	health_count(h, HEALTH_HISTORICAL_LOG, "shipped", now->shipped);
	health_count(h, HEALTH_HISTORICAL_LOG, "pending_bytes", now->pending_bytes);
	health_ms(h, HEALTH_HISTORICAL_LOG, "lag_ms", (double)now->lag_us / 1000.0);
	health_time(h, HEALTH_HISTORICAL_LOG, "last_loss", w->last_us);
}

/* --- guardrails --- */

void watch_guardrails(struct watch *w, struct health *h, const struct watch_guardrails *now, int64_t now_us)
{
	const uint64_t values[] = {now->failures};
	enum health_part part = HEALTH_GUARDRAILS;
	uint64_t failed = 0;

	window_grown(&w->window, &(struct window_now){now_us, WATCH_SPAN_US, values, 1}, &failed);
	note(w, now->failures, now_us);
	if (now->off)
		health_set(h, part, HEALTH_DEGRADED, now_us, "switched off (guardrails.enabled): nothing is checked");
	else if (failed)
		health_set(h, part, HEALTH_DEGRADED, now_us, "%llu checks of the last minute failed themselves",
			   (count)failed);
	else if (now->failures)
		health_set(h, part, HEALTH_OK, now_us,
			   "on: %llu texts judged; %llu checks failed themselves, none of them lately",
			   (count)now->judged, (count)now->failures);
	else
		health_set(h, part, HEALTH_OK, now_us, "on: %llu texts judged, %llu with a hit", (count)now->judged,
			   (count)now->violating);
	health_count(h, part, "texts", now->judged);
	health_count(h, part, "violating", now->violating);
	health_count(h, part, "critical", now->critical);
	health_count(h, part, "failures", now->failures);
	health_time(h, part, "last_failure", w->last_us);
}

double watch_quantile_ms(struct window *w, const struct histogram_bounds *b, const uint64_t *buckets, double q,
			 int64_t now_us)
{
	uint64_t grown[HISTOGRAM_BUCKETS + 1];
	double at;

	window_grown(w, &(struct window_now){now_us, WATCH_SPAN_US, buckets, COUNT_OF(grown)}, grown);
	at = histogram_quantile(b, grown, q);
	return at < 0 ? at : at * 1000;
}
