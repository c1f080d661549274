/* SPDX-License-Identifier: Apache-2.0 */
/* The three documents: our own, an incoming webhook's of Slack, and POST /api/v2/alerts of Alertmanager. */
#include "control/alerts/format.h"

#include "core/base/clock.h"
#include "core/json/writer.h"

#define MARKUP_MAX ((size_t)8 * ALERT_SUMMARY_SIZE)

const char *alert_format_name(enum alert_format f)
{
	static const char *const names[ALERT_N_FORMATS] = {"json", "slack", "alertmanager"};

	return names[f];
}

static const char *status_of(const struct alert_document *d)
{
	switch (d->message) {
	case ALERT_SAY_FIRING:
	case ALERT_SAY_AGAIN:
		return "firing";
	case ALERT_SAY_RESOLVED:
		return "resolved";
	case ALERT_SAY_TEST:
		break;
	}
	return "test";
}

static const char *name_of(const struct alert_document *d)
{
	return d->message == ALERT_SAY_TEST ? "muster_test" : alert_rule_name(d->alert->rule);
}

static void key_time(struct json_writer *w, const char *key, int64_t at_us)
{
	char text[CLOCK_ISO_SIZE];

	jw_kcstr(w, key, at_us ? clock_iso(at_us, text) : NULL);
}

static void key_text(struct json_writer *w, const char *key, const char *s)
{
	jw_kcstr(w, key, *s ? s : NULL);
}

/* --- json --- */

static void write_json(struct json_writer *w, const struct alert_document *d)
{
	const struct alert *a = d->alert;
	char id[UUID_STR_SIZE];

	jw_object(w);
	jw_kcstr(w, "status", status_of(d));
	jw_kbool(w, "repeated", d->message == ALERT_SAY_AGAIN);
	jw_kcstr(w, "receiver", d->receiver);
	key_time(w, "sent_at", d->now_us);
	jw_key(w, "alert");
	jw_object(w);
	jw_kcstr(w, "alert_id", uuid_format(&a->id, id));
	jw_kcstr(w, "rule", name_of(d));
	jw_kcstr(w, "severity", alert_severity_name(a->severity));
	key_text(w, "use_case", a->use_case);
	jw_kcstr(w, "instance", d->instance);
	jw_kcstr(w, "fingerprint", a->fingerprint);
	jw_kcstr(w, "summary", a->summary);
	jw_kraw(w, "details", slice_from(a->details));
	key_time(w, "since", a->since_us);
	key_time(w, "fired_at", a->fired_us);
	key_time(w, "resolved_at", a->resolved_us);
	jw_object_end(w);
	jw_object_end(w);
}

/* --- slack: a text, and an attachment with a colour --- */

/* Slack's own markup begins with these three. */
static void add_markup(struct buf *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '&')
			(void)buf_adds(out, "&amp;");
		else if (*s == '<')
			(void)buf_adds(out, "&lt;");
		else if (*s == '>')
			(void)buf_adds(out, "&gt;");
		else
			(void)buf_addc(out, *s);
	}
}

static void write_field(struct json_writer *w, const char *title, const char *value)
{
	struct buf text;

	if (!*value)
		return;
	buf_init(&text, MARKUP_MAX);
	add_markup(&text, value);
	jw_object(w);
	jw_kcstr(w, "title", title);
	jw_kstr(w, "value", buf_slice(&text));
	jw_kbool(w, "short", true);
	jw_object_end(w);
	buf_release(&text);
}

static void write_slack(struct json_writer *w, const struct alert_document *d)
{
	static const char *const colours[] = {"#439fe0", "warning", "danger"};
	static const char *const heads[] = {"FIRING", "STILL FIRING", "RESOLVED", "TEST"};
	const struct alert *a = d->alert;
	struct buf text;

	buf_init(&text, MARKUP_MAX);
	(void)buf_printf(&text, "*%s* ", heads[d->message]); /* a failure is seen at the end, in the document */
	add_markup(&text, a->summary);
	jw_object(w);
	jw_kstr(w, "text", buf_slice(&text));
	buf_release(&text);
	jw_key(w, "attachments");
	jw_array(w);
	jw_object(w);
	jw_kcstr(w, "color", d->message == ALERT_SAY_RESOLVED ? "good" : colours[a->severity]);
	jw_kcstr(w, "fallback", a->summary);
	jw_key(w, "fields");
	jw_array(w);
	write_field(w, "Rule", name_of(d));
	write_field(w, "Severity", alert_severity_name(a->severity));
	write_field(w, "Use case", a->use_case);
	write_field(w, "Instance", d->instance);
	jw_array_end(w);
	jw_ki64(w, "ts", (a->resolved_us ? a->resolved_us : a->since_us) / 1000000);
	jw_object_end(w);
	jw_array_end(w);
	jw_object_end(w);
}

/* --- alertmanager: a list of one --- */

static void key_label(struct json_writer *w, const char *key, const char *value)
{
	if (*value)
		jw_kcstr(w, key, value); /* one that is empty is none */
}

/* What several daemons share has no instance: theirs is the same alert. */
static void write_alertmanager(struct json_writer *w, const struct alert_document *d)
{
	const struct alert *a = d->alert;
	bool over = d->message == ALERT_SAY_RESOLVED;

	jw_array(w);
	jw_object(w);
	jw_key(w, "labels");
	jw_object(w);
	jw_kcstr(w, "alertname", name_of(d));
	jw_kcstr(w, "severity", alert_severity_name(a->severity));
	jw_kcstr(w, "service", "muster");
	key_label(w, "instance", a->shared ? "" : d->instance);
	key_label(w, "use_case", a->use_case);
	key_label(w, "key", a->key);
	jw_object_end(w);
	jw_key(w, "annotations");
	jw_object(w);
	jw_kcstr(w, "summary", a->summary);
	jw_kcstr(w, "details", a->details);
	jw_object_end(w);
	key_time(w, "startsAt", a->since_us);
	key_time(w, "endsAt", over ? a->resolved_us : d->ends_us);
	jw_object_end(w);
	jw_array_end(w);
}

int alert_document_write(enum alert_format f, const struct alert_document *d, struct buf *out)
{
	static void (*const writers[ALERT_N_FORMATS])(struct json_writer *, const struct alert_document *) = {
		write_json, write_slack, write_alertmanager};
	struct json_writer w;

	jw_init(&w, out);
	writers[f](&w, d);
	return buf_failed(out) ? E_TOOBIG : 0;
}
