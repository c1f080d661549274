/* SPDX-License-Identifier: Apache-2.0 */
/* Losses make a part ill while they happen, and not for ever. */
#include "control/telemetry/watch.h"

#include "t.h"

#define SECOND INT64_C(1000000)
#define START (1000 * SECOND)

TEST(a_window_tells_what_came_within_its_span)
{
	struct window w = {0};
	uint64_t value = 0, grown = 0;

	for (int64_t s = 0; s < 600; s++) { /* one a second */
		window_grown(&w, &(struct window_now){START + s * SECOND, 60 * SECOND, &value, 1}, &grown);
		CHECK((int64_t)grown <= 60 && (int64_t)grown >= (s < 30 ? s : 29));
		value++;
	}
	for (int64_t s = 600; s <= 660; s++)
		window_grown(&w, &(struct window_now){START + s * SECOND, 60 * SECOND, &value, 1}, &grown);
	CHECK_INT(grown, 0);
	value = 3; /* a counter that went back */
	window_grown(&w, &(struct window_now){START + 661 * SECOND, 60 * SECOND, &value, 1}, &grown);
	CHECK_INT(grown, 0);
}

struct world {
	struct watch watch;
	struct health health;
	struct watch_log log;
	struct watch_guardrails guard;
};

static void world_init(struct world *w)
{
	*w = (struct world){.log = {.error = ""}};
	health_init(&w->health, "0.1.0", START);
}

static const struct health_figure *figure(const struct world *w, enum health_part part, const char *name)
{
	const struct health_status *s = &w->health.part[part];
	static const struct health_figure none;

	for (size_t i = 0; i < s->n_figures; i++)
		if (!strcmp(s->figure[i].name, name))
			return &s->figure[i];
	CHECK(!"the figure is there");
	return &none;
}

static enum health_state log_at(struct world *w, int64_t second)
{
	watch_log(&w->watch, &w->health, &w->log, START + second * SECOND);
	return w->health.part[HEALTH_HISTORICAL_LOG].state;
}

TEST(the_log_is_failed_while_records_are_lost_and_well_afterwards)
{
	struct world w;
	const struct health_status *s = &w.health.part[HEALTH_HISTORICAL_LOG];
	int64_t second = 0;

	world_init(&w);
	w.log.written = 100;
	CHECK_INT(log_at(&w, 1), HEALTH_OK);
	CHECK_STR(s->detail, "100 records written, none lost");
	w.log.lost = 50;
	CHECK_INT(log_at(&w, 2), HEALTH_FAILED);
	CHECK_STR(s->detail,
		  "50 of 150 records of the last minute could not be kept: see spool.max_bytes and the disk");
	CHECK_INT(s->since_us, START + 2 * SECOND);
	for (second = 3; second < 120 && log_at(&w, second) != HEALTH_OK; second += 2)
		;
	CHECK(second > 30 && second <= 63);
	CHECK_STR(s->detail, "100 records written; 50 were lost, none of them lately");
	CHECK_INT(figure(&w, HEALTH_HISTORICAL_LOG, "lost")->number, 50);
	CHECK_INT(figure(&w, HEALTH_HISTORICAL_LOG, "last_loss")->number, START + 2 * SECOND);
	w.log.lost = 51; /* and again */
	CHECK_INT(log_at(&w, 200), HEALTH_FAILED);
	CHECK_INT(figure(&w, HEALTH_HISTORICAL_LOG, "last_loss")->number, START + 200 * SECOND);
}

static const struct {
	struct watch_log log;
	enum health_state state;
	const char *want;
} logs[] = {
	{{.off = true, .lost = 5, .error = ""}, HEALTH_OK, "switched off"},
	{{.written = 95, .lost = 5, .error = ""}, HEALTH_DEGRADED, "5 of 100 records"},
	{{.written = 94, .lost = 6, .error = ""}, HEALTH_FAILED, "6 of 100 records"},
	{{.written = 9, .rejected = 1, .error = ""}, HEALTH_DEGRADED, "refused 1 records"},
	{{.written = 9, .error = "no route"}, HEALTH_DEGRADED, "records wait in the spool: no route"},
	{{.written = 9, .shipped = 4, .lag_us = WATCH_LAG_DEGRADED_US, .error = ""}, HEALTH_OK, "9 records written"},
	{{.written = 9, .shipped = 4, .lag_us = 31 * SECOND, .error = ""},
	 HEALTH_DEGRADED,
	 "5 records wait, the oldest"},
	{{.shipped = 4, .lag_us = 31 * SECOND, .error = ""}, HEALTH_DEGRADED, "0 records wait"},
};

TEST(the_worst_of_the_log_is_said)
{
	for (size_t i = 0; i < COUNT_OF(logs); i++) {
		struct world w;

		world_init(&w);
		w.log = logs[i].log;
		CHECK_INT(log_at(&w, 1), logs[i].state);
		CHECK(strstr(w.health.part[HEALTH_HISTORICAL_LOG].detail, logs[i].want) != NULL);
	}
}

static enum health_state guard_at(struct world *w, int64_t second)
{
	watch_guardrails(&w->watch, &w->health, &w->guard, START + second * SECOND);
	return w->health.part[HEALTH_GUARDRAILS].state;
}

TEST(guardrails_are_degraded_while_checks_fail_and_well_afterwards)
{
	struct world w;
	const struct health_status *s = &w.health.part[HEALTH_GUARDRAILS];
	int64_t second = 0;

	world_init(&w);
	w.guard = (struct watch_guardrails){.judged = 9, .violating = 2, .critical = 1};
	CHECK_INT(guard_at(&w, 1), HEALTH_OK);
	CHECK_STR(s->detail, "on: 9 texts judged, 2 with a hit");
	CHECK_INT(figure(&w, HEALTH_GUARDRAILS, "last_failure")->number, 0);
	w.guard.failures = 3;
	CHECK_INT(guard_at(&w, 5), HEALTH_DEGRADED);
	CHECK_STR(s->detail, "3 checks of the last minute failed themselves");
	for (second = 6; second < 120 && guard_at(&w, second) != HEALTH_OK; second += 2)
		;
	CHECK(second > 30 && second <= 67);
	CHECK_STR(s->detail, "on: 9 texts judged; 3 checks failed themselves, none of them lately");
	CHECK_INT(figure(&w, HEALTH_GUARDRAILS, "last_failure")->number, START + 5 * SECOND);
	w.guard.off = true;
	CHECK_INT(guard_at(&w, 121), HEALTH_DEGRADED);
}

TEST(a_quantile_is_of_what_came_lately)
{
	struct window w = {0};
	uint64_t buckets[HISTOGRAM_BUCKETS + 1] = {0};

	CHECK(watch_quantile_ms(&w, &histogram_lookups, buckets, 0.99, START) < 0);
	buckets[6] = 10;
	CHECK(watch_quantile_ms(&w, &histogram_lookups, buckets, 0.99, START + SECOND) == 1);
	(void)watch_quantile_ms(&w, &histogram_lookups, buckets, 0.99, START + 31 * SECOND);
	(void)watch_quantile_ms(&w, &histogram_lookups, buckets, 0.99, START + 62 * SECOND);
	CHECK(watch_quantile_ms(&w, &histogram_lookups, buckets, 0.99, START + 63 * SECOND) < 0);
	buckets[0] = 1;
	CHECK(watch_quantile_ms(&w, &histogram_lookups, buckets, 0.99, START + 64 * SECOND) == 0.01);
}
