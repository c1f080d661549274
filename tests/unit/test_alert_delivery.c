/* SPDX-License-Identifier: Apache-2.0 */
/* What a receiver is told, and when: once, again while it lasts, the end, and what happens when it does not listen. */
#include "control/alerts/delivery.h"
#include "t.h"

#define MINUTE INT64_C(60000)

static const struct delivery_rules rules = {.repeat_ms = 240 * MINUTE, .give_up_ms = 60 * MINUTE};

struct fixture {
	struct alert_delivery d;
	struct alert a;
	struct rng rng;
	struct alert_time now;
	bool silenced;
	enum alert_message message;
	int64_t at_ms;
};

static void start(struct fixture *x)
{
	*x = (struct fixture){.a = {.state = ALERT_FIRING}, .now = {1000000, 5}};
	rng_seed(&x->rng, 1);
}

/* Whether something is to be said now. */
static bool due(struct fixture *x)
{
	return delivery_next(&x->d, &rules, &x->a, x->silenced, &x->message, &x->at_ms) && x->at_ms <= x->now.mono_ms;
}

static void say(struct fixture *x)
{
	CHECK(due(x));
	delivery_done(&x->d, x->message, &x->now);
}

static bool fail(struct fixture *x, struct delivery_failure f)
{
	CHECK(due(x));
	return delivery_failed(&x->d, &rules, x->message, &f, &x->rng, x->now.mono_ms);
}

TEST(an_alert_is_said_once_again_after_its_time_and_at_its_end)
{
	struct fixture x;

	start(&x);
	CHECK(due(&x));
	CHECK_INT(x.message, ALERT_SAY_FIRING);
	say(&x);
	x.now.mono_ms += rules.repeat_ms - 1;
	CHECK(!due(&x));
	x.now.mono_ms++;
	CHECK(due(&x));
	CHECK_INT(x.message, ALERT_SAY_AGAIN);
	say(&x);
	CHECK(!due(&x));
	x.a.state = ALERT_RESOLVED;
	delivery_turn(&x.d);
	CHECK(due(&x));
	CHECK_INT(x.message, ALERT_SAY_RESOLVED);
	say(&x);
	x.now.mono_ms += 10 * rules.repeat_ms;
	CHECK(!due(&x));
	CHECK(x.d.over);
}

TEST(the_end_of_what_nobody_was_to_hear_of_is_not_said)
{
	struct fixture x;

	start(&x);
	x.a.state = ALERT_RESOLVED;
	CHECK(!due(&x));
	CHECK(x.d.over);
}

TEST(the_end_is_said_though_the_begin_could_not_be)
{
	struct fixture x;

	start(&x);
	CHECK(!fail(&x, (struct delivery_failure){.permanent = false}));
	CHECK(!due(&x));
	x.a.state = ALERT_RESOLVED;
	delivery_turn(&x.d);
	CHECK(due(&x));
	CHECK_INT(x.message, ALERT_SAY_RESOLVED);
}

TEST(silence_holds_the_begin_back_and_repeats_but_not_the_end_of_what_was_said)
{
	struct fixture x;

	start(&x);
	x.silenced = true;
	CHECK(!due(&x));
	x.silenced = false;
	say(&x);
	x.silenced = true;
	x.now.mono_ms += 2 * rules.repeat_ms;
	CHECK(!due(&x));
	x.a.state = ALERT_RESOLVED;
	CHECK(due(&x));
	CHECK_INT(x.message, ALERT_SAY_RESOLVED);
}

TEST(waits_double_up_to_their_bound_and_are_never_the_same_for_everybody)
{
	struct fixture x;
	int64_t most = DELIVERY_RETRY_MIN_MS;

	start(&x);
	for (unsigned n = 1; n < 40; n++) {
		int64_t low = INT64_MAX, high = 0;

		for (int i = 0; i < 200; i++) {
			int64_t ms = delivery_backoff_ms(n, &x.rng);

			low = ms < low ? ms : low;
			high = ms > high ? ms : high;
		}
		CHECK(low >= most / 2 && high <= most && high - low > most / 4);
		most = most * 2 > DELIVERY_RETRY_MAX_MS ? DELIVERY_RETRY_MAX_MS : most * 2;
	}
}

TEST(a_receiver_that_asks_for_time_gets_it_within_a_bound)
{
	struct fixture x;

	start(&x);
	CHECK(!fail(&x, (struct delivery_failure){.retry_after_ms = 30 * MINUTE}));
	CHECK_INT(x.d.next_ms, x.now.mono_ms + 30 * MINUTE);
	x.now.mono_ms = x.d.next_ms;
	CHECK(fail(&x, (struct delivery_failure){.retry_after_ms = 31 * MINUTE})); /* past the time of all attempts */
	start(&x);
	CHECK(!fail(&x, (struct delivery_failure){.retry_after_ms = 86400000}));
	CHECK_INT(x.d.next_ms, x.now.mono_ms + DELIVERY_RETRY_AFTER_MAX_MS);
}

TEST(a_message_is_given_up_after_its_time_and_said_with_the_next_repeat)
{
	struct fixture x;
	int64_t begin;
	int n = 0;

	start(&x);
	begin = x.now.mono_ms;
	while (!fail(&x, (struct delivery_failure){.permanent = false}) && n++ < 1000)
		x.now.mono_ms = x.d.next_ms;
	CHECK(n > 10 && n < 60);
	CHECK(x.now.mono_ms - begin <= rules.give_up_ms);
	CHECK(x.d.gave_up && !x.d.over);
	CHECK(!due(&x));
	x.now.mono_ms += rules.repeat_ms;
	CHECK(due(&x));
	CHECK_INT(x.message, ALERT_SAY_FIRING);
	say(&x);
	CHECK(!x.d.gave_up);
}

TEST(what_is_refused_for_good_is_given_up_at_once)
{
	struct fixture x;

	start(&x);
	CHECK(fail(&x, (struct delivery_failure){.permanent = true}));
	CHECK(x.d.gave_up && !x.d.over);
	x.a.state = ALERT_RESOLVED;
	delivery_turn(&x.d);
	CHECK(fail(&x, (struct delivery_failure){.permanent = true}));
	CHECK(x.d.over);
	CHECK(!due(&x));
}

/* --- documents --- */

static const char *document(enum alert_format f, enum alert_message message, struct buf *out)
{
	const struct alert a = {.rule = ALERT_CRITICAL_VIOLATION,
				.severity = ALERT_CRITICAL,
				.use_case = "u",
				.key = "r\"1",
				.summary = "a <b> & \"c\"",
				.details = "{\"n\":1}",
				.fingerprint = "f",
				.since_us = 1000000,
				.fired_us = 2000000,
				.resolved_us = message == ALERT_SAY_RESOLVED ? 3000000 : 0};
	const struct alert_document d = {&a, message, "ops", "h:1", 4000000, 5000000};

	buf_clear(out);
	CHECK_INT(alert_document_write(f, &d, out), 0);
	return buf_cstr(out);
}

TEST(documents_are_written_as_each_receiver_reads_them)
{
	struct buf b;

	buf_init(&b, 8192);
	CHECK_STR(document(ALERT_JSON, ALERT_SAY_RESOLVED, &b),
		  "{\"status\":\"resolved\",\"repeated\":false,\"receiver\":\"ops\","
		  "\"sent_at\":\"1970-01-01T00:00:04.000000Z\",\"alert\":{"
		  "\"alert_id\":\"00000000-0000-0000-0000-000000000000\",\"rule\":\"critical_violation\","
		  "\"severity\":\"critical\",\"use_case\":\"u\",\"instance\":\"h:1\",\"fingerprint\":\"f\","
		  "\"summary\":\"a <b> & \\\"c\\\"\",\"details\":{\"n\":1},"
		  "\"since\":\"1970-01-01T00:00:01.000000Z\",\"fired_at\":\"1970-01-01T00:00:02.000000Z\","
		  "\"resolved_at\":\"1970-01-01T00:00:03.000000Z\"}}");
	CHECK(strstr(document(ALERT_SLACK, ALERT_SAY_AGAIN, &b),
		     "{\"text\":\"*STILL FIRING* a &lt;b&gt; &amp; "
		     "\\\"c\\\"\",\"attachments\":[{\"color\":\"danger\"") != NULL);
	CHECK_STR(document(ALERT_ALERTMANAGER, ALERT_SAY_FIRING, &b),
		  "[{\"labels\":{\"alertname\":\"critical_violation\",\"severity\":\"critical\",\"service\":\"muster\","
		  "\"instance\":\"h:1\",\"use_case\":\"u\",\"key\":\"r\\\"1\"},\"annotations\":{"
		  "\"summary\":\"a <b> & \\\"c\\\"\",\"details\":\"{\\\"n\\\":1}\"},"
		  "\"startsAt\":\"1970-01-01T00:00:01.000000Z\",\"endsAt\":\"1970-01-01T00:00:05.000000Z\"}]");
	CHECK(strstr(document(ALERT_ALERTMANAGER, ALERT_SAY_RESOLVED, &b),
		     "\"endsAt\":\"1970-01-01T00:00:03.000000Z\"") != NULL);
	buf_release(&b);
}

TEST(a_document_that_does_not_fit_is_an_error)
{
	const struct alert a = {.summary = "s", .details = "{}"};
	const struct alert_document d = {&a, ALERT_SAY_FIRING, "ops", "h:1", 0, 0};
	struct buf b;

	for (int f = 0; f < ALERT_N_FORMATS; f++) {
		buf_init(&b, 20);
		CHECK_INT(alert_document_write((enum alert_format)f, &d, &b), E_TOOBIG);
		buf_release(&b);
	}
}
