/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that sends.  All receivers at once, on one libcurl multi handle, each one message at a time: one that
 * hangs delays no other, and nobody waits for this thread but who asked for a test.  What would break it: an error text
 * that holds a URL or a key, and a call that blocks.
 */
#include <stdio.h>
#include <stdlib.h>

#include "control/alerts/alerts_internal.h"
#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/base/libcurl.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/base/version.h"

#define DOCUMENT_MAX ((size_t)64 << 10)
#define REPLY_KEPT 200
#define REPLY_MAX ((size_t)1 << 20)
#define IDLE_MS 60000
#define SECRET_MIN 6 /* shorter parts of a URL's path are words, not secrets */

static const struct log logger = {.module = "alerts"};

struct transfer {
	struct transfer *next;
	CURL *easy;
	struct curl_slist *headers;
	struct buf body;
	char receiver[ALERT_NAME_SIZE];
	struct uuid alert;
	enum alert_message message;
	size_t test; /* index of its result, for ALERT_SAY_TEST */
	int64_t began_us;
	size_t n_received, n_reply;
	char reply[REPLY_KEPT];
	char why[CURL_ERROR_SIZE];
};

/* --- beginning --- */

static size_t on_reply(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t keep = min_size(size * n, REPLY_KEPT - t->n_reply);

	memcpy(t->reply + t->n_reply, p, keep);
	t->n_reply += keep;
	t->n_received += size * n;
	return t->n_received > REPLY_MAX ? 0 : size * n;
}

static void add_header(struct transfer *t, const char *fmt, const char *value)
{
	struct curl_slist *longer;
	char *text = NULL;

	if (asprintf(&text, "%s%s", fmt, value) < 0)
		abort();
	longer = curl_slist_append(t->headers, text);
	if (!longer)
		abort();
	t->headers = longer;
	explicit_bzero(text, strlen(text));
	free(text);
}

static void add_headers(struct transfer *t, const struct receiver *r)
{
	char signature[65];

	add_header(t, "Content-Type: application/json", "");
	add_header(t, "Expect:", "");
	if (*r->authorization)
		add_header(t, "Authorization: ", r->authorization);
	if (*r->signing_key) {
		hmac_sha256_hex(slice_from(r->signing_key), buf_slice(&t->body), signature);
		add_header(t, "x-muster-signature: sha256=", signature);
	}
}

/* What is here is reached directly, whatever proxy the environment names. */
static void set_proxy(CURL *easy)
{
	const char *more = getenv("no_proxy"); /* NOLINT(concurrency-mt-unsafe): nobody sets any */
	char list[1024];

	if (!more)
		more = getenv("NO_PROXY"); /* NOLINT(concurrency-mt-unsafe) */
	(void)snprintf(list, sizeof(list), "localhost,127.0.0.1,::1%s%.900s", more ? "," : "", more ? more : "");
	curl_easy_setopt(easy, CURLOPT_NOPROXY, list);
}

static void set_easy(const struct alerts *a, const struct receiver *r, struct transfer *t)
{
	CURL *c = t->easy;

	curl_easy_setopt(c, CURLOPT_URL, r->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L); /* a resolver that hangs is not waited for */
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)a->timeout_ms);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)a->timeout_ms);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "muster/" MUSTER_VERSION);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, t->headers);
	curl_easy_setopt(c, CURLOPT_POST, 1L);
	curl_easy_setopt(c, CURLOPT_POSTFIELDS, t->body.p);
	curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)t->body.n);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_reply);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->why);
	curl_easy_setopt(c, CURLOPT_PRIVATE, t);
	if (*a->ca_file) /* beside the system's, which libcurl knows as a directory */
		curl_easy_setopt(c, CURLOPT_CAINFO, a->ca_file);
	set_proxy(c);
}

static void free_transfer(struct alerts *a, struct transfer *t)
{
	struct transfer **at = &a->transfers;

	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
	curl_multi_remove_handle(a->multi, t->easy);
	curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->headers);
	buf_release(&t->body);
	free(t);
}

/* Under the lock. */
static struct transfer *begin(struct alerts *a, struct receiver *r, const struct alert *alert,
			      enum alert_message message)
{
	const struct alert_time now = alert_now();
	struct alert_document d = {.alert = alert,
				   .message = message,
				   .receiver = r->status.name,
				   .instance = a->rules.settings.instance,
				   .now_us = now.wall_us,
				   .ends_us = now.wall_us + 4 * a->resend_ms * 1000};
	struct transfer *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->easy = curl_easy_init();
	if (!t->easy)
		abort();
	buf_init(&t->body, DOCUMENT_MAX);
	(void)alert_document_write(r->status.format, &d, &t->body); /* texts are bounded: it fits */
	(void)buf_cstr(&t->body);
	memcpy(t->receiver, r->status.name, sizeof(t->receiver));
	t->alert = alert->id;
	t->message = message;
	t->began_us = clock_mono_us();
	add_headers(t, r);
	set_easy(a, r, t);
	t->next = a->transfers;
	a->transfers = t;
	curl_multi_add_handle(a->multi, t->easy);
	return t;
}

/* --- what is due --- */

struct due {
	size_t alert;
	enum alert_message message;
	int64_t at_ms; /* INT64_MAX: nothing */
};

/* Under the lock: what this receiver is to be told first. */
static struct due find_due(struct alerts *a, size_t receiver, int64_t now_us)
{
	const struct receiver *r = &a->receiver[receiver];
	struct due best = {.at_ms = INT64_MAX};

	for (size_t i = 0; i < ALERTS_MAX; i++) {
		const struct alert *alert = &a->rules.alert[i];
		struct alert_slot *s = &a->slot[i];
		struct due d = {.alert = i};

		if (alert->state < ALERT_FIRING || !s->fresh || memcmp(&s->id, &alert->id, sizeof(s->id)) != 0 ||
		    !alerts_is_for(alert, r))
			continue;
		if (delivery_next(&s->to[receiver], alerts_rules_of(a, r), alert,
				  alerts_silenced_locked(a, alert_rule_name(alert->rule), alert->use_case, now_us),
				  &d.message, &d.at_ms) &&
		    d.at_ms < best.at_ms)
			best = d;
	}
	if (best.at_ms != INT64_MAX && best.at_ms < r->not_before_ms)
		best.at_ms = r->not_before_ms;
	return best;
}

/* Under the lock.  When to look again. */
static int64_t start_due(struct alerts *a)
{
	const struct alert_time now = alert_now();
	int64_t wait_ms = IDLE_MS;

	for (size_t i = 0; i < a->n_receivers; i++) {
		struct due d;

		if (a->receiver[i].busy)
			continue;
		d = find_due(a, i, now.wall_us);
		if (d.at_ms <= now.mono_ms) {
			a->receiver[i].busy = true;
			(void)begin(a, &a->receiver[i], &a->rules.alert[d.alert], d.message); /* in the list */
		} else if (d.at_ms != INT64_MAX && d.at_ms - now.mono_ms < wait_ms) {
			wait_ms = d.at_ms - now.mono_ms;
		}
	}
	return wait_ms;
}

/* Under the lock. */
static void start_test(struct alerts *a)
{
	struct alert alert = {.rule = ALERT_REGISTRY_UNAVAILABLE, .severity = ALERT_INFO, .details = "{}"};
	struct alert_test *test = &a->test;

	if (test->state != TEST_ASKED)
		return;
	test->state = TEST_UNDER_WAY;
	alert.id = uuid_v7_now();
	alert.since_us = alert.fired_us = clock_wall_us();
	alert_say(&alert, "This is a test of Muster's alerts: nothing is wrong");
	alert_fingerprint(&a->rules.settings, &alert, alert.fingerprint);
	for (size_t i = 0; i < a->n_receivers; i++) {
		struct receiver *r = &a->receiver[i];
		struct alert_test_result *result = &test->result[test->n];

		if (*test->receiver && strcmp(test->receiver, r->status.name) != 0)
			continue;
		result->format = r->status.format;
		memcpy(result->receiver, r->status.name, sizeof(result->receiver));
		begin(a, r, &alert, ALERT_SAY_TEST)->test = test->n++;
	}
	if (!test->n) { /* a reload took them away just now */
		test->state = TEST_ANSWERED;
		pthread_cond_broadcast(&a->answered);
	}
}

/* --- ending --- */

/* Whether a part of the URL's path, or a key, stands in what the receiver said. */
static bool tells_secret(const struct receiver *r, struct slice said)
{
	const char *parts = "/?&=:@";
	struct slice url = slice_from(r->url);
	size_t from = 0;

	if ((*r->authorization && slice_find(said, slice_from(r->authorization)) >= 0) ||
	    (*r->signing_key && slice_find(said, slice_from(r->signing_key)) >= 0))
		return true;
	for (size_t i = 0; i <= url.n; i++) {
		if (i < url.n && !strchr(parts, url.p[i]))
			continue;
		if (i - from >= SECRET_MIN && slice_find(said, slice_sub(url, from, i - from)) >= 0)
			return true;
		from = i + 1;
	}
	return false;
}

static void describe(const struct receiver *r, const struct transfer *t, CURLcode code, long status,
		     char ret[ALERT_ERROR_SIZE])
{
	bool is_tls = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR;
	struct slice said = utf8_truncate((struct slice){t->reply, t->n_reply}, REPLY_KEPT);

	if (code != CURLE_OK) {
		(void)snprintf(ret, ALERT_ERROR_SIZE, "no answer: %s",
			       is_tls && *t->why ? t->why : curl_easy_strerror(code));
		return;
	}
	if (!r || !said.n || !utf8_valid(said) || tells_secret(r, said))
		said = SLICE_LIT("");
	(void)snprintf(ret, ALERT_ERROR_SIZE, "answered %ld%s" SLICE_FMT, status, said.n ? ": " : "", SLICE_ARG(said));
	for (char *p = ret; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
}

struct outcome {
	bool delivered;
	long status;
	struct delivery_failure failure;
	char error[ALERT_ERROR_SIZE];
};

static void judge_outcome(const struct receiver *r, const struct transfer *t, CURLcode code, struct outcome *ret)
{
	curl_off_t after_s = 0;

	*ret = (struct outcome){.status = 0};
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &ret->status);
	curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &after_s);
	ret->delivered = code == CURLE_OK && ret->status >= 200 && ret->status < 300;
	if (ret->delivered)
		return;
	describe(r, t, code, ret->status, ret->error);
	ret->failure.retry_after_ms = after_s > 0 ? (after_s < 86400 ? after_s : 86400) * 1000 : 0;
	ret->failure.permanent = code == CURLE_OK && ret->status != 408 && ret->status != 429 && ret->status < 500;
}

static void end_test(struct alerts *a, const struct transfer *t, const struct outcome *o)
{
	struct alert_test_result *result = &a->test.result[t->test];

	result->delivered = o->delivered;
	result->status = o->status;
	result->took_us = clock_mono_us() - t->began_us;
	memcpy(result->error, o->error, sizeof(result->error));
	if (++a->test.n_answered < a->test.n)
		return;
	a->test.state = TEST_ANSWERED;
	pthread_cond_broadcast(&a->answered);
}

/* What the receiver as a whole is thought to be like. */
static void note_receiver(struct alerts *a, struct receiver *r, const struct outcome *o)
{
	const struct alert_time now = alert_now();
	struct alert_receiver_status *s = &r->status;

	if (o->delivered) {
		if (s->failures)
			log_info(&logger, "receiver %s takes alerts again", s->name);
		s->n_delivered++;
		s->failures = 0;
		s->last_ok_us = now.wall_us;
		s->error[0] = 0;
		r->not_before_ms = 0;
		return;
	}
	s->n_failed++;
	if (!s->failures++)
		log_warn(&logger, "receiver %s does not take alerts: %s", s->name, o->error);
	s->last_error_us = now.wall_us;
	memcpy(s->error, o->error, sizeof(s->error));
	if (!o->failure.permanent)
		r->not_before_ms = now.mono_ms + delivery_backoff_ms(s->failures, &a->rng);
}

static struct alert_delivery *find_delivery(struct alerts *a, const struct transfer *t, size_t receiver,
					    struct alert_slot **ret)
{
	for (size_t i = 0; i < ALERTS_MAX; i++) {
		if (a->rules.alert[i].state < ALERT_FIRING || memcmp(&a->slot[i].id, &t->alert, sizeof(t->alert)) != 0)
			continue;
		*ret = &a->slot[i];
		return &a->slot[i].to[receiver];
	}
	return NULL;
}

static void note_delivery(struct alerts *a, const struct transfer *t, size_t receiver, const struct outcome *o)
{
	const struct alert_time now = alert_now();
	struct receiver *r = &a->receiver[receiver];
	struct alert_slot *slot = NULL;
	struct alert_delivery *d = find_delivery(a, t, receiver, &slot);

	if (!d)
		return; /* it made room for another */
	slot->changes++;
	if (o->delivered) {
		delivery_done(d, t->message, &now);
		return;
	}
	memcpy(d->error, o->error, sizeof(d->error));
	if (!delivery_failed(d, alerts_rules_of(a, r), t->message, &o->failure, &a->rng, now.mono_ms))
		return;
	r->status.n_gave_up++;
	log_error(&logger, "an alert was not delivered to receiver %s, and is not tried any more: %s", r->status.name,
		  o->error);
}

/* Under the lock. */
static void end(struct alerts *a, struct transfer *t, CURLcode code)
{
	struct receiver *r = NULL;
	struct outcome o;

	for (size_t i = 0; i < a->n_receivers && !r; i++)
		if (!strcmp(a->receiver[i].status.name, t->receiver))
			r = &a->receiver[i];
	judge_outcome(r, t, code, &o);
	if (t->message == ALERT_SAY_TEST) {
		end_test(a, t, &o);
	} else if (r) {
		r->busy = false;
		note_receiver(a, r, &o);
		note_delivery(a, t, (size_t)(r - a->receiver), &o);
	}
	free_transfer(a, t);
}

/* --- the thread --- */

/* Whether any has ended: then there may be more to say. */
static bool end_all(struct alerts *a)
{
	const CURLMsg *m;
	bool any = false;
	int n;

	while ((m = curl_multi_info_read(a->multi, &n))) {
		struct transfer *t = NULL;
		CURLcode code = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
		pthread_mutex_lock(&a->lock);
		end(a, t, code);
		pthread_mutex_unlock(&a->lock);
		any = true;
	}
	return any;
}

static void *run(void *arg)
{
	struct alerts *a = arg;

	for (;;) {
		int64_t wait_ms;
		bool stopping;
		int n;

		pthread_mutex_lock(&a->lock);
		stopping = a->stopping;
		if (!stopping)
			start_test(a);
		wait_ms = stopping ? 0 : start_due(a);
		pthread_mutex_unlock(&a->lock);
		if (stopping)
			return NULL;
		curl_multi_perform(a->multi, &n);
		if (!end_all(a))
			curl_multi_poll(a->multi, NULL, 0, (int)wait_ms, NULL);
	}
}

void alerts_wake(struct alerts *a)
{
	if (a->has_thread)
		curl_multi_wakeup(a->multi);
}

int alerts_send_start(struct alerts *a, struct err *err)
{
	int rc = libcurl_load(err);

	if (rc)
		return rc;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(err, E_IO, "libcurl cannot start");
	if (!a->multi)
		a->multi = curl_multi_init();
	if (!a->multi)
		return err_set(err, E_IO, "libcurl cannot start");
	if (pthread_create(&a->thread, NULL, run, a))
		return err_set(err, E_IO, "no thread can be started for alerts");
	a->has_thread = true;
	return 0;
}

void alerts_send_end(struct alerts *a)
{
	if (a->has_thread) {
		alerts_stop(a);
		pthread_join(a->thread, NULL);
	}
	while (a->transfers)
		free_transfer(a, a->transfers);
	if (a->multi)
		curl_multi_cleanup(a->multi);
}
