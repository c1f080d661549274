/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: one event is one line, whatever is in it. */
#include "core/base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include "core/base/err.h"
#include "t.h"

static const struct log gateway = {"gateway", "id 1"};

/* What log_write() sends to stderr. */
static char *capture(const struct log *l, enum log_level level, const char *msg)
{
	static char out[2 * LOG_LINE_MAX];
	int fds[2], old = dup(STDERR_FILENO);
	ssize_t n;

	CHECK_INT(pipe(fds), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	dup2(fds[1], STDERR_FILENO);
	log_write(l, level, "%s", msg);
	dup2(old, STDERR_FILENO);
	n = read(fds[0], out, sizeof(out) - 1);
	out[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	close(fds[1]);
	close(old);
	return out;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

static const struct {
	const char *msg, *logfmt, *json;
} line_cases[] = {
	{"plain words", "msg=\"plain words\"\n", "\"msg\":\"plain words\"}\n"},
	{"two\nlines\r\t", "msg=\"two\\nlines\\r\\t\"\n", "\"msg\":\"two\\nlines\\r\\t\"}\n"},
	{"\"q\" \\", "msg=\"\\\"q\\\" \\\\\"\n", "\"msg\":\"\\\"q\\\" \\\\\"}\n"},
	{"\x1b[31m\x7f", "msg=\"\\u001b[31m\\u007f\"\n", "\"msg\":\"\\u001b[31m\\u007f\"}\n"},
	{"\xc2\x9bm", "msg=\"\\u009bm\"\n", "\"msg\":\"\\u009bm\"}\n"},
	{"\xc3\xa4\xff", "msg=\"\xc3\xa4\xef\xbf\xbd\"\n", "\"msg\":\"\xc3\xa4\xef\xbf\xbd\"}\n"},
	{"", "msg=\"\"\n", "\"msg\":\"\"}\n"},
};

TEST(values_are_escaped_so_that_an_event_is_one_line)
{
	for (size_t i = 0; i < COUNT_OF(line_cases); i++) {
		char *line;

		log_setup(LOG_INFO, false);
		line = capture(&gateway, LOG_WARN, line_cases[i].msg);
		CHECK(ends_with(line, line_cases[i].logfmt));
		CHECK(!strncmp(line, "ts=", 3));
		CHECK(strstr(line, " level=warn module=gateway id=\"id 1\" msg=") != NULL);
		log_setup(LOG_INFO, true);
		line = capture(&gateway, LOG_WARN, line_cases[i].msg);
		CHECK(ends_with(line, line_cases[i].json));
		CHECK(strstr(line, "\",\"level\":\"warn\",\"module\":\"gateway\",\"id\":\"id 1\",\"msg\":") != NULL);
	}
	log_setup(LOG_INFO, false);
	CHECK(strstr(capture(NULL, LOG_ERROR, "x"), "Z level=error msg=\"x\"\n") != NULL);
}

TEST(a_long_line_is_cut_and_still_whole)
{
	static char msg[3 * LOG_LINE_MAX];
	struct log talkative = {msg, msg};

	memset(msg, '"', sizeof(msg) - 1);
	for (int json = 0; json <= 1; json++) {
		char *line;

		log_setup(LOG_INFO, json);
		line = capture(&gateway, LOG_INFO, msg);
		CHECK(strlen(line) <= LOG_LINE_MAX && strlen(line) > LOG_LINE_MAX - 40);
		CHECK(ends_with(line, json ? "...\"}\n" : "...\"\n"));
		line = capture(&talkative, LOG_INFO, msg);
		CHECK(strlen(line) <= LOG_LINE_MAX);
		CHECK(ends_with(line, json ? "...\"}\n" : "...\"\n"));
	}
	log_setup(LOG_INFO, false);
}

TEST(what_is_below_the_level_is_not_written)
{
	log_setup(LOG_WARN, false);
	CHECK(!log_enabled(LOG_INFO) && log_enabled(LOG_WARN) && !log_enabled(LOG_OFF));
	CHECK_STR(capture(&gateway, LOG_INFO, "x"), "");
	log_setup(LOG_OFF, false);
	CHECK(!log_enabled(LOG_ERROR) && !log_enabled(LOG_OFF));
	log_setup(LOG_INFO, false);
}

TEST(levels_are_parsed_by_name)
{
	enum log_level level = LOG_OFF;

	CHECK_INT(log_level_parse("debug", &level), 0);
	CHECK_INT(level, LOG_DEBUG);
	CHECK_INT(log_level_parse("loud", &level), E_INVALID);
	CHECK_INT(log_level_parse("", &level), E_INVALID);
	CHECK_INT(level, LOG_DEBUG);
}

TEST(a_limited_site_writes_its_lines)
{
	log_setup(LOG_OFF, false);
	for (int64_t now = 0; now < 20; now++)
		log_limited(&gateway, LOG_ERROR, now, "%s", "not shown");
	log_setup(LOG_INFO, false);
}

TEST(a_site_may_log_ten_lines_a_second)
{
	struct log_limit limit = {0};
	int n = 0;

	for (int64_t now = 5000; now < 5999; now += 9)
		n += log_limit_pass(&limit, now);
	CHECK_INT(n, 10);
	CHECK_INT(limit.n_dropped, 101);
	CHECK(log_limit_pass(&limit, 6000));
	CHECK(log_limit_pass(&limit, 10)); /* a clock that went back does not silence the site */
}
