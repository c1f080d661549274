/* SPDX-License-Identifier: Apache-2.0 */
/* Health: what makes the whole ok, degraded or failed, and what makes it ready. */
#include "control/telemetry/health.h"

#include "t.h"

static void all_well(struct health *h)
{
	health_init(h, "0.1.0", 1000000);
	for (int i = 0; i < HEALTH_N_PARTS; i++)
		health_set(h, (enum health_part)i, HEALTH_OK, 2000000, "fine");
	h->snapshot_loaded = h->spool_open = true;
	h->n_use_cases = 4;
	h->n_usable = 4;
}

static const struct {
	enum health_part part;
	enum health_state state, overall;
	int status;
} wholes[] = {
	{HEALTH_REGISTRY, HEALTH_OK, HEALTH_OK, 200},
	{HEALTH_REGISTRY, HEALTH_DEGRADED, HEALTH_DEGRADED, 200},
	{HEALTH_GATEWAY, HEALTH_FAILED, HEALTH_FAILED, 503},
	{HEALTH_HISTORICAL_LOG, HEALTH_FAILED, HEALTH_FAILED, 503},
	{HEALTH_GUARDRAILS, HEALTH_FAILED, HEALTH_FAILED, 503},
	{HEALTH_DATABASE, HEALTH_DEGRADED, HEALTH_DEGRADED, 200},
	{HEALTH_DATABASE, HEALTH_FAILED, HEALTH_DEGRADED, 200},
};

TEST(the_whole_is_as_bad_as_its_worst_part_but_the_database_only_degrades_it)
{
	for (size_t i = 0; i < COUNT_OF(wholes); i++) {
		struct health h;
		struct buf out;

		all_well(&h);
		health_set(&h, wholes[i].part, wholes[i].state, 3000000, "x");
		buf_init(&out, 4096);
		CHECK_INT(health_overall(&h), wholes[i].overall);
		CHECK_INT(health_write(&h, 4000000, &out), wholes[i].status);
		CHECK(health_ready(&h));
		buf_release(&out);
	}
}

TEST(health_is_written_with_state_since_and_detail)
{
	struct health h;
	struct buf out;

	all_well(&h);
	health_set(&h, HEALTH_DATABASE, HEALTH_FAILED, 3000000, "cannot open \"%s\"", "x.db");
	health_set(&h, HEALTH_DATABASE, HEALTH_FAILED, 9000000, "still cannot");
	buf_init(&out, 4096);
	CHECK_INT(health_write(&h, 61000000, &out), 200);
	CHECK_STR(buf_cstr(&out),
		  "{\"status\":\"degraded\",\"version\":\"0.1.0\",\"uptime_s\":60,\"parts\":{"
		  "\"registry\":{\"state\":\"ok\",\"since\":\"1970-01-01T00:00:02.000000Z\",\"detail\":\"fine\","
		  "\"evidence\":{}},"
		  "\"historical_log\":{\"state\":\"ok\",\"since\":\"1970-01-01T00:00:02.000000Z\",\"detail\":\"fine\","
		  "\"evidence\":{}},"
		  "\"guardrails\":{\"state\":\"ok\",\"since\":\"1970-01-01T00:00:02.000000Z\",\"detail\":\"fine\","
		  "\"evidence\":{}},"
		  "\"deployments\":{\"state\":\"ok\",\"since\":\"1970-01-01T00:00:02.000000Z\",\"detail\":\"fine\","
		  "\"evidence\":{}},"
		  "\"gateway\":{\"state\":\"ok\",\"since\":\"1970-01-01T00:00:02.000000Z\",\"detail\":\"fine\","
		  "\"evidence\":{}},"
		  "\"database\":{\"state\":\"failed\",\"since\":\"1970-01-01T00:00:03.000000Z\",\"detail\":\"still "
		  "cannot\",\"evidence\":{}},"
		  "\"leader\":{\"state\":\"ok\",\"since\":\"1970-01-01T00:00:02.000000Z\",\"detail\":\"fine\","
		  "\"evidence\":{}},"
		  "\"retention\":{\"state\":\"ok\",\"since\":\"1970-01-01T00:00:02.000000Z\",\"detail\":\"fine\","
		  "\"evidence\":{}},"
		  "\"alerts\":{\"state\":\"ok\",\"since\":\"1970-01-01T00:00:02.000000Z\",\"detail\":\"fine\","
		  "\"evidence\":{}}}}");
	buf_release(&out);
}

TEST(evidence_is_written_by_its_kind_and_null_where_nothing_is_known)
{
	struct health h;
	struct buf out;

	all_well(&h);
	health_count(&h, HEALTH_GATEWAY, "gone", 1);
	health_set(&h, HEALTH_GATEWAY, HEALTH_OK, 2000000, "new evidence only");
	health_count(&h, HEALTH_GATEWAY, "n", 7);
	health_ms(&h, HEALTH_GATEWAY, "ms", 0.25);
	health_ms(&h, HEALTH_GATEWAY, "no_ms", -1);
	health_time(&h, HEALTH_GATEWAY, "at", 3000000);
	health_time(&h, HEALTH_GATEWAY, "never", 0);
	health_text(&h, HEALTH_GATEWAY, "text", "a \"b\"");
	health_text(&h, HEALTH_GATEWAY, "no_text", "");
	buf_init(&out, 8192);
	CHECK_INT(health_write(&h, 4000000, &out), 200);
	CHECK(strstr(buf_cstr(&out),
		     "\"detail\":\"new evidence only\",\"evidence\":{\"n\":7,\"ms\":0.25,\"no_ms\":null,"
		     "\"at\":\"1970-01-01T00:00:03.000000Z\",\"never\":null,\"text\":\"a \\\"b\\\"\","
		     "\"no_text\":null}}") != NULL);
	buf_release(&out);
}

TEST(more_figures_than_there_is_room_for_are_left_out)
{
	struct health h;

	all_well(&h);
	for (unsigned i = 0; i < HEALTH_MAX_FIGURES + 1; i++)
		health_count(&h, HEALTH_GATEWAY, "n", i);
	CHECK_INT(h.part[HEALTH_GATEWAY].n_figures, HEALTH_MAX_FIGURES);
}

TEST(parts_that_have_said_nothing_are_starting)
{
	struct health h;

	health_init(&h, "0.1.0", 1000000);
	CHECK_INT(health_overall(&h), HEALTH_FAILED);
	CHECK_STR(h.part[HEALTH_GATEWAY].detail, "starting");
	CHECK(!health_ready(&h));
}

static const struct {
	bool snapshot, spool, stopping;
	size_t use_cases, usable;
	int status;
	const char *want;
} readiness[] = {
	{true, true, false, 4, 4, 200, "{\"status\":\"ready\",\"reasons\":[]}"},
	{true, true, false, 4, 1, 200, "\"ready\""},
	{true, true, false, 0, 0, 200, "\"ready\""},
	{true, true, false, 4, 0, 503, "none of 4 use cases has a model or fallback that can serve"},
	{false, true, false, 0, 0, 503, "\"not ready\",\"reasons\":[\"no snapshot of the registry is loaded yet\"]"},
	{true, false, false, 4, 4, 503, "the spool takes no records"},
	{true, true, true, 4, 4, 503, "stopping"},
};

TEST(ready_means_that_requests_can_be_served_and_recorded)
{
	for (size_t i = 0; i < COUNT_OF(readiness); i++) {
		struct health h;
		struct buf out;

		all_well(&h);
		h.snapshot_loaded = readiness[i].snapshot;
		h.spool_open = readiness[i].spool;
		h.stopping = readiness[i].stopping;
		h.n_use_cases = readiness[i].use_cases;
		h.n_usable = readiness[i].usable;
		buf_init(&out, 4096);
		CHECK_INT(health_write_ready(&h, &out), readiness[i].status);
		CHECK(strstr(buf_cstr(&out), readiness[i].want) != NULL);
		buf_release(&out);
	}
}

TEST(live_is_live)
{
	struct buf out;

	buf_init(&out, 4096);
	CHECK_INT(health_write_live(&out), 200);
	CHECK_STR(buf_cstr(&out), "{\"status\":\"live\"}");
	buf_release(&out);
}
