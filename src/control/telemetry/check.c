/* SPDX-License-Identifier: Apache-2.0 */
/* Findings and their two forms for programs.  What would break them: a name that changes, for somebody waits for it. */
#include "control/telemetry/check.h"

#include <assert.h>

#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/json/writer.h"

#define TEXT_MAX 2000

static const char *const state_names[CHECK_N_STATES] = {"pass", "warn", "fail", "skipped"};

static const char *const strict[] = {
	"API keys",	      "alerts configured", "daemon version",	"data directory",
	"database transport", "guarded use cases", "historical log on", "key files",
	"listen address",     "log level",	   "partitions ahead",	"spool space",
};

const char *check_state_name(enum check_state s)
{
	return state_names[s];
}

bool check_is_strict(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(strict); i++) {
		if (!strcmp(name, strict[i]))
			return true;
	}
	return false;
}

void check_report_init(struct check_report *r, struct arena *a, bool production)
{
	*r = (struct check_report){.arena = a, .production = production};
}

/* One line, whatever an error of others may hold. */
static struct slice one_line(struct check_report *r, struct buf *b)
{
	for (size_t i = 0; i < b->n; i++) {
		if ((unsigned char)b->p[i] < 0x20 || b->p[i] == 0x7f)
			b->p[i] = ' ';
	}
	while (b->n && b->p[b->n - 1] == ' ')
		b->n--;
	return arena_slice(r->arena, buf_slice(b));
}

void check_add(struct check_report *r, const char *name, enum check_state state, const char *advice, const char *fmt,
	       ...)
{
	bool raised = r->production && state == CHECK_WARN && check_is_strict(name);
	struct check *c = &r->item[r->n];
	CLEANUP(buf_release) struct buf b;
	va_list ap;

	assert(r->n < CHECK_MAX && (advice || state == CHECK_PASS));
	buf_init(&b, (size_t)1 << 20);
	va_start(ap, fmt);
	(void)buf_vprintf(&b, fmt, ap);
	va_end(ap);
	if (b.n > TEXT_MAX)
		b.n = TEXT_MAX;
	*c = (struct check){.name = name, .state = raised ? CHECK_FAIL : state};
	if (raised)
		(void)buf_adds(&b, " (a warning, but for --production)");
	c->evidence = one_line(r, &b);
	if (state != CHECK_PASS)
		c->advice = arena_slice(r->arena, slice_from(advice));
	r->count[c->state]++;
	r->n++;
}

bool check_ready(const struct check_report *r)
{
	return r->count[CHECK_FAIL] == 0;
}

void check_write_json(const struct check_report *r, struct buf *out)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kbool(&w, "ready", check_ready(r));
	jw_key(&w, "checks");
	jw_array(&w);
	for (size_t i = 0; i < r->n; i++) {
		const struct check *c = &r->item[i];

		jw_object(&w);
		jw_kcstr(&w, "name", c->name);
		jw_kcstr(&w, "state", check_state_name(c->state));
		jw_kstr(&w, "evidence", c->evidence);
		jw_key(&w, "advice");
		if (c->advice.n)
			jw_str(&w, c->advice);
		else
			jw_null(&w);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_key(&w, "counts");
	jw_object(&w);
	for (int s = 0; s < CHECK_N_STATES; s++)
		jw_ki64(&w, state_names[s], (int64_t)r->count[s]);
	jw_object_end(&w);
	jw_object_end(&w);
}

/* --- JUnit --- */

/* Failures of the buffer are looked at once, by the caller, at the end. */
static void add_xml(struct buf *out, struct slice s)
{
	while (s.n) {
		uint32_t cp = 0;
		size_t n = utf8_decode(s, &cp);
		bool is_char = n && cp >= 0x20 && cp != 0xfffe && cp != 0xffff;

		if (!is_char)
			(void)buf_adds(out, "\xef\xbf\xbd");
		else if (cp == '<' || cp == '>' || cp == '&' || cp == '"')
			(void)buf_printf(out, "&#%u;", (unsigned)cp);
		else
			(void)buf_append(out, s.p, n);
		s = slice_sub(s, n ? n : 1, s.n);
	}
}

static void add_result(struct buf *out, const struct check *c)
{
	static const char *const tags[CHECK_N_STATES] = {
		[CHECK_WARN] = "system-out", [CHECK_FAIL] = "failure", [CHECK_SKIPPED] = "skipped"};
	const char *tag = tags[c->state];

	if (c->state == CHECK_FAIL || c->state == CHECK_SKIPPED) {
		(void)buf_printf(out, "<%s message=\"", tag);
		add_xml(out, c->evidence);
		(void)buf_adds(out, "\">");
		add_xml(out, c->advice);
	} else {
		tag = "system-out";
		(void)buf_printf(out, "<%s>%s: ", tag, check_state_name(c->state));
		add_xml(out, c->evidence);
	}
	(void)buf_printf(out, "</%s>", tag);
}

void check_write_junit(const struct check_report *r, int64_t at_us, struct buf *out)
{
	char at[CLOCK_ISO_SIZE];

	(void)clock_iso(at_us, at);
	at[strlen("2026-11-23T14:30:00")] = 0; /* without fraction and zone, as the format has it */
	(void)buf_printf(out,
			 "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
			 "<testsuites><testsuite name=\"muster check\" tests=\"%zu\" failures=\"%zu\" errors=\"0\" "
			 "skipped=\"%zu\" timestamp=\"%s\">\n",
			 r->n, r->count[CHECK_FAIL], r->count[CHECK_SKIPPED], at);
	for (size_t i = 0; i < r->n; i++) {
		(void)buf_adds(out, "  <testcase classname=\"muster.check\" name=\"");
		add_xml(out, slice_from(r->item[i].name));
		(void)buf_adds(out, "\">");
		add_result(out, &r->item[i]);
		(void)buf_adds(out, "</testcase>\n");
	}
	(void)buf_adds(out, "</testsuite></testsuites>\n");
}
