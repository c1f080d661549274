/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a readiness check: what counts as ready, and its two forms for programs. */
#include "control/telemetry/check.h"

#include "core/json/json.h"
#include "t.h"

static struct arena arena;
static struct check_report report;

static void begin(bool production)
{
	arena_release(&arena);
	arena_init(&arena, 4096, (size_t)1 << 22);
	check_report_init(&report, &arena, production);
}

static const struct {
	const char *name;
	enum check_state said;
	bool production;
	enum check_state kept;
	bool ready;
} states[] = {
	{"schema", CHECK_PASS, false, CHECK_PASS, true},      {"schema", CHECK_WARN, false, CHECK_WARN, true},
	{"schema", CHECK_WARN, true, CHECK_WARN, true}, /* not one of the marked */
	{"schema", CHECK_SKIPPED, true, CHECK_SKIPPED, true}, {"schema", CHECK_FAIL, false, CHECK_FAIL, false},
	{"log level", CHECK_WARN, false, CHECK_WARN, true},   {"log level", CHECK_WARN, true, CHECK_FAIL, false},
	{"log level", CHECK_PASS, true, CHECK_PASS, true},    {"log level", CHECK_SKIPPED, true, CHECK_SKIPPED, true},
};

TEST(a_failure_is_not_ready_and_in_production_a_marked_warning_is_one)
{
	for (size_t i = 0; i < COUNT_OF(states); i++) {
		begin(states[i].production);
		check_add(&report, states[i].name, states[i].said, "do this", "saw %d", 7);
		CHECK_INT(report.n, 1);
		CHECK_INT(report.item[0].state, states[i].kept);
		CHECK_INT(report.count[states[i].kept], 1);
		CHECK_INT(check_ready(&report), states[i].ready);
		CHECK(slice_starts(report.item[0].evidence, SLICE_LIT("saw 7")));
		CHECK_INT(slice_find(report.item[0].evidence, SLICE_LIT("--production")) >= 0,
			  states[i].said != states[i].kept);
		CHECK_INT(report.item[0].advice.n > 0, states[i].kept != CHECK_PASS);
	}
}

static const struct {
	const char *said, *kept;
} texts[] = {
	{"two\nlines", "two lines"},
	{"tab\tand bell\a.", "tab and bell ."},
	{"an end\n\n", "an end"},
	{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
};

TEST(evidence_is_one_line)
{
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		begin(false);
		check_add(&report, "schema", CHECK_PASS, NULL, "%s", texts[i].said);
		CHECK(slice_eq_str(report.item[0].evidence, texts[i].kept));
	}
}

TEST(evidence_has_a_limit)
{
	char text[5000];

	memset(text, 'x', sizeof(text));
	begin(false);
	check_add(&report, "schema", CHECK_FAIL, "do this", "%.*s", (int)sizeof(text), text);
	CHECK_INT(report.item[0].evidence.n, 2000);
}

static void add_one_of_each(void)
{
	begin(false);
	check_add(&report, "schema", CHECK_PASS, NULL, "level 1");
	check_add(&report, "log level", CHECK_WARN, "say info", "debug");
	check_add(&report, "metrics", CHECK_FAIL, "a & b", "<\"x\"> \xff");
	check_add(&report, "alerts", CHECK_SKIPPED, "later", "none");
}

TEST(the_json_has_every_check_and_the_counts)
{
	struct json_parser *parser = json_parser_new();
	const struct json *check;
	struct json *root = NULL;
	struct err err = {0};
	struct buf b;
	int n = 0;

	add_one_of_each();
	buf_init_arena(&b, &arena, 1 << 20);
	check_write_json(&report, &b);
	CHECK_INT(json_parse_copy(parser, &arena, buf_slice(&b), NULL, &root, &err), 0);
	CHECK_INT(json_get(root, "ready")->boolean, false);
	for (int s = 0; s < CHECK_N_STATES; s++)
		CHECK_INT(json_get(json_get(root, "counts"), check_state_name((enum check_state)s))->integer, 1);
	for (check = json_get(root, "checks")->first; check; check = check->next, n++) {
		CHECK(slice_eq_str(json_get(check, "state")->str, check_state_name((enum check_state)n)));
		CHECK_INT(json_get(check, "advice")->type, n ? JSON_STRING : JSON_NULL);
	}
	CHECK_INT(n, 4);
	json_parser_free(parser);
}

TEST(the_junit_report_escapes_what_others_wrote)
{
	struct buf b;

	add_one_of_each();
	buf_init_arena(&b, &arena, 1 << 20);
	check_write_junit(&report, 0, &b);
	CHECK_STR(buf_cstr(&b),
		  "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		  "<testsuites><testsuite name=\"muster check\" tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"1\" "
		  "timestamp=\"1970-01-01T00:00:00\">\n"
		  "  <testcase classname=\"muster.check\" name=\"schema\"><system-out>pass: level "
		  "1</system-out></testcase>\n"
		  "  <testcase classname=\"muster.check\" name=\"log level\"><system-out>warn: "
		  "debug</system-out></testcase>\n"
		  "  <testcase classname=\"muster.check\" name=\"metrics\"><failure message=\"&#60;&#34;x&#34;&#62; "
		  "\xef\xbf\xbd\">a &#38; b</failure></testcase>\n"
		  "  <testcase classname=\"muster.check\" name=\"alerts\"><skipped message=\"none\">later</skipped>"
		  "</testcase>\n"
		  "</testsuite></testsuites>\n");
	arena_release(&arena);
}
