/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call to one upstream.  What comes back decides: an answer goes on to
 * answer.c or stream.c; a failure that another model might not share moves to
 * the next candidate; a request that was refused for what it says is passed to
 * the caller.  Nothing has been sent to the caller when the next candidate is
 * tried.
 */
#include "serving/gateway/exchange.h"

#include <sys/uio.h>

#include "core/base/utf8.h"
#include "serving/gateway/refusal.h"
#include "serving/gateway/resume.h"

#define REQUEST_MAX ((size_t)64 * 1024 * 1024)
#define SAID_MAX 200

static int64_t first_set(int64_t a, int64_t b, int64_t c)
{
	return a ? a : b ? b : c;
}

/* What is left of the caller's time bounds all of it. */
static int64_t total_of(const struct exchange *e, int64_t total_ms)
{
	int64_t left = e->deadline_ms ? e->deadline_ms - loop_now_ms(e->g->loop) : 0;

	return e->deadline_ms && (!total_ms || left < total_ms) ? (left > 0 ? left : 1) : total_ms;
}

static struct http_timeouts timeouts_of(const struct exchange *e, const struct target *t)
{
	static const struct use_case none;
	const struct use_case *u = e->use_case ? &e->use_case->settings : &none;
	const struct http_timeouts *d = &e->settings->timeouts;

	return (struct http_timeouts){
		.connect_ms = first_set(t->timeouts.connect_ms, u->connect_timeout_ms, d->connect_ms),
		.first_byte_ms = first_set(t->timeouts.first_byte_ms, u->first_byte_timeout_ms, d->first_byte_ms),
		.between_ms = first_set(t->timeouts.between_ms, u->between_timeout_ms, d->between_ms),
		.total_ms = total_of(e, first_set(t->timeouts.total_ms, u->total_timeout_ms, d->total_ms)),
	};
}

/* Of several attempts in one answer each has its own part. */
static void note_usage(const struct exchange *e, struct json_writer *w)
{
	const struct chat_usage *u = &e->answer.usage;

	if (!u->known || !e->stream || !e->use_case || e->use_case->settings.answer_mode != ANSWER_RESUME)
		return;
	jw_key(w, "usage");
	jw_object(w);
	jw_ki64(w, "prompt_tokens", u->prompt_tokens);
	jw_ki64(w, "completion_tokens", u->completion_tokens);
	jw_kbool(w, "estimated", u->estimated);
	jw_object_end(w);
}

static void note_cost(struct exchange *e)
{
	const struct candidate *c = exchange_served_by(e);
	const struct chat_usage *u = &e->answer.usage;
	struct json_writer *w = &e->attempt;
	char text[MONEY_SIZE];
	struct money cost;

	if (!c || !u->known || e->counts)
		return;
	cost = price_cost(&c->targets->price, u->prompt_tokens, u->cached_tokens, u->completion_tokens);
	if (!money_known(&cost))
		return;
	jw_kraw(w, "cost", slice_from(money_format(cost.nano, text)));
	jw_kcstr(w, "currency", cost.currency);
	if (u->estimated)
		jw_kbool(w, "estimated", true);
}

/* What does not fit is left out. */
void attempt_close(struct exchange *e)
{
	if (!e->attempt_open)
		return;
	e->attempt_open = false;
	note_cost(e);
	jw_object_end(&e->attempt);
	if (!buf_failed(&e->attempts) && e->attempts.n + 2 <= ATTEMPTS_JSON_MAX)
		return;
	e->attempts.n = e->attempt_at;
	e->attempts.failed = false;
}

/* {"model":..., "result":..., "ms":...} for the log; open until it is known what it cost. */
void attempt_note(struct exchange *e, enum call_end end, const char *result)
{
	const struct candidate *c = exchange_served_by(e);
	struct json_writer *w = &e->attempt;

	if (!c)
		return;
	measure_call(e, end);
	if (e->log == LOG_NONE)
		return;
	attempt_close(e);
	e->attempt_at = e->attempts.n;
	e->attempt_open = true;
	buf_addc(&e->attempts, e->attempt_at ? ',' : '[');
	jw_init(w, &e->attempts);
	jw_object(w);
	jw_kstr(w, "model", c->full_name);
	if (c->arm != ARM_NONE)
		jw_kcstr(w, "arm", c->arm == ARM_CANDIDATE ? "candidate" : "current");
	jw_kcstr(w, "result", result);
	if (e->upstream_said.n && e->attempt_at < ATTEMPTS_JSON_MAX / 2) /* attempts are worth more than words */
		jw_kstr(w, "said", e->upstream_said);
	e->upstream_said = (struct slice){NULL, 0};
	jw_ki64(w, "ms", loop_now_ms(e->g->loop) - e->attempt_ms);
	if (resume_is_on(e))
		jw_kbool(w, "resumed", true);
	note_usage(e, w);
}

static void forget_attempt(struct exchange *e)
{
	if (!e->stream || !e->stream->begun) { /* what has begun stays the caller's answer */
		stream_release(e);
		e->first_token_ms = -1;
	}
	e->upstream_is_stream = false;
	buf_clear(&e->body);
	if (e->dropped)
		e->dropped->n = 0;
}

/* As what it is counted. */
static enum call_end end_of(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_GOOD:
		return CALL_OK;
	case OUTCOME_SILENT:
	case OUTCOME_DEADLINE:
		return CALL_TIMEOUT;
	case OUTCOME_REFUSED:
		return CALL_NOT_COUNTED;
	case OUTCOME_FAULT:
	case OUTCOME_BROKEN:
	case OUTCOME_BUSY:
		return CALL_FAILED;
	}
	return CALL_FAILED;
}

/* Whether it wants to be left alone, and for how long. */
static int64_t wait_of(const struct exchange *e, enum outcome outcome)
{
	int status = e->upstream_status;

	if (outcome == OUTCOME_DEADLINE || (status != 429 && status != 503 && status != 529))
		return WAIT_NONE;
	return e->retry_after_ms < 0 || e->retry_after_ms == INT64_MAX ? WAIT_UNSAID : e->retry_after_ms + 1;
}

void attempt_failed(struct exchange *e, enum outcome outcome, const char *why)
{
	if (failover_deadline_passed(e)) { /* what came too late for the caller may be nobody's fault */
		outcome = OUTCOME_DEADLINE;
		why = "the caller's time (x-request-timeout-ms) was over";
		e->error_status = 504;
	}
	e->candidate[e->i_candidate].wait = wait_of(e, outcome);
	counter_add(&e->g->stats.upstream_errors, 1);
	failover_settle(e, outcome);
	attempt_note(e, end_of(outcome), why);
	spend_note_waste(e);
	exchange_say(e, "%s", why);
	forget_attempt(e);
	failover_go_on(e, outcome);
}

static const char *upstream_name(struct exchange *e)
{
	const char *s = arena_printf(&e->http->arena, SLICE_FMT, SLICE_ARG(e->candidate[e->i_candidate].full_name));

	return s ? s : "the model";
}

/* Others of the 2xx have nothing to say, or only a part of it. */
static bool is_answer(int status)
{
	return status >= 200 && status <= 203;
}

/* Some servers tell with a 500 that a request is too long: what they mean is 400. */
static void mend_status(struct exchange *e)
{
	if (e->upstream_status == 500 && refusal_is_too_long(buf_slice(&e->body)))
		e->upstream_status = 400;
}

/* Some upstreams say in the body how long they want to be left alone. */
static void read_retry_after(struct exchange *e)
{
	const struct protocol *p = e->back;
	int64_t ms;

	if (e->retry_after_ms >= 0 || !p->error_retry_ms)
		return;
	ms = p->error_retry_ms(&e->http->arena, e->g->json, buf_slice(&e->body));
	if (ms < 0)
		return;
	e->retry_after_ms = ms;
}

/* An upstream's error may quote anything: it is judged as an answer is. */
static bool may_tell_refusal(struct exchange *e, struct slice body, struct slice message)
{
	struct json *root = NULL;

	if (!exchange_may_tell(e, message))
		return false;
	if (json_parse_copy(e->g->json, &e->http->arena, body, NULL, &root, NULL))
		return !message.n; /* then none of it is told */
	return exchange_may_tell_all(e, root);
}

static void withhold_error(struct exchange *e)
{
	exchange_say(e, "the model's error was withheld by a guardrail");
}

/* What it says of its failure, for the log: it may quote the prompt, and where keys are refused the key. */
static void keep_its_words(struct exchange *e)
{
	const struct protocol *p = e->back;
	int status = e->upstream_status;
	struct slice said;

	if (e->log != LOG_FULL || !p->decode_error || status == 401 || status == 403 || status == 407)
		return;
	said = p->decode_error(&e->http->arena, e->g->json, buf_slice(&e->body));
	e->upstream_said = utf8_truncate(said, SAID_MAX);
}

/* The upstream's refusal, in the caller's protocol. Same protocol: its own bytes. */
static enum next pass_refusal(struct exchange *e)
{
	const struct protocol *p = e->back;
	struct http_header h[RESPOND_MAX_HEADERS];
	struct slice body = buf_slice(&e->body), message;
	struct api_error error = {
		.status = e->upstream_status, .type = "invalid_request_error", .code = "upstream_refused"};

	message = p->decode_error ? p->decode_error(&e->http->arena, e->g->json, body) : (struct slice){0};
	if (!may_tell_refusal(e, body, message)) {
		withhold_error(e);
		error.message = slice_from(e->error_text);
		return respond_error(e, &error);
	}
	exchange_say(e, "upstream answered %d: " SLICE_FMT, e->upstream_status, (int)min_size(message.n, 300),
		     message.p ? message.p : "");
	if (p == e->front && p->needs_model_splice && message.n) {
		counter_add(&e->stats->errors, 1);
		record_exchange(e, RECORD_ERROR, e->upstream_status);
		e->step = STEP_DONE;
		respond_send(e, e->upstream_status, h, respond_headers(e, h, SLICE_LIT("application/json")), body);
		return FINISHED;
	}
	error.message = message.n ? message : slice_from(e->error_text);
	return respond_error(e, &error);
}

/* A model that takes longer requests may take this one; whatever else it was refused for is passed to the caller. */
static enum next refused(struct exchange *e)
{
	bool too_long = e->upstream_status == 413 || refusal_is_too_long(buf_slice(&e->body));
	if (too_long && !e->pinned && failover_to_larger(e)) {
		forget_attempt(e);
		return NEXT;
	}
	return pass_refusal(e);
}

static bool is_own_fault(struct exchange *e)
{
	struct slice body = buf_slice(&e->body), message = {NULL, 0};

	if (e->upstream_status == 400 && e->back->decode_error)
		message = e->back->decode_error(&e->http->arena, e->g->json, body);
	return e->upstream_status == 400 && refusal_is_own_fault(body, message);
}

/* e->upstream_status and e->body say why not. */
static enum next not_answered(struct exchange *e, const char *why)
{
	enum outcome outcome;

	mend_status(e);
	outcome = is_own_fault(e) ? OUTCOME_BROKEN : refusal_outcome(e->upstream_status);
	if (outcome == OUTCOME_BUSY || outcome == OUTCOME_FAULT)
		read_retry_after(e);
	if (e->upstream_status == 403 && refusal_is_unsafe(buf_slice(&e->body)))
		outcome = OUTCOME_GOOD;
	if (outcome == OUTCOME_GOOD && !e->stream) {
		failover_settle(e, outcome);
		attempt_note(e, CALL_FAILED, why);
		return refused(e);
	}
	if (outcome == OUTCOME_GOOD) /* it would not go on with what another began: not the caller's matter */
		outcome = OUTCOME_REFUSED;
	e->error_status = e->upstream_status == 429 ? 429 : 502;
	attempt_failed(e, outcome, why);
	return NEXT;
}

bool attempt_error_inside(struct exchange *e, const char *why, enum next *ret)
{
	char copy[sizeof(((struct err *)0)->text)];
	int status = refusal_status_inside(e->g->json, &e->http->arena, buf_slice(&e->body));

	if (!status)
		return false;
	(void)snprintf(copy, sizeof(copy), "%s", why); /* the call's, as that of an error is */
	e->upstream_status = status;
	if (e->stream && !e->stream->begun)
		stream_release(e);
	e->upstream_is_stream = false;
	*ret = not_answered(e, copy);
	return true;
}

static enum next answer_arrived(struct exchange *e)
{
	char why[64];

	if (is_answer(e->upstream_status)) {
		e->step = STEP_ANSWER;
		return NEXT;
	}
	snprintf(why, sizeof(why), "http %d", e->upstream_status);
	keep_its_words(e);
	return not_answered(e, why);
}

/* --- callbacks of the call --- */

/* A negative return from a callback ends the call silently: what on_done would have done follows in the next turn of
 * the loop. */
static int give_up(struct exchange *e, int rc)
{
	if (rc >= 0)
		return rc;
	e->call_active = false;
	e->given_up_rc = rc;
	timer_set(e->g->loop, &e->given_up, 0);
	return rc;
}

static bool is_type(struct slice header, struct slice type)
{
	return slice_eq_nocase(slice_sub(header, 0, type.n), type);
}

static int on_head(struct http_call *c, const struct http_head *head)
{
	struct exchange *e = c->user;
	struct slice type = http_header(head, "content-type");
	struct slice coding = http_header(head, "content-encoding");
	bool ok = is_answer(head->status);
	/* What cannot stream was not asked to, and has no decoder for it. */
	bool asked = e->request.stream && e->back->framing != FRAMING_NONE;

	e->upstream_status = head->status;
	if (!ok)
		e->retry_after_ms = retry_after_ms(http_header(head, "retry-after-ms"),
						   http_header(head, "retry-after"), loop_wall_us(e->g->loop));
	if (ok && coding.n && !slice_eq_nocase(coding, SLICE_LIT("identity")))
		return give_up(e, err_set(http_call_err(c), E_INVALID,
					  "it sent its answer in an encoding that was not asked for: '" SLICE_FMT "'",
					  (int)min_size(coding.n, 40), coding.p));
	buf_clear(&e->body);
	e->body_max = ok ? e->settings->max_answer_bytes : ERROR_BODY_MAX;
	e->upstream_is_stream = ok && (is_type(type, SLICE_LIT("text/event-stream")) ||
				       is_type(type, SLICE_LIT("application/x-ndjson")));
	if (!e->upstream_is_stream)
		return 0;
	if (!asked) {
		e->upstream_is_stream = false;
		return give_up(e, err_set(http_call_err(c), E_INVALID, "it sent a stream although none was asked for"));
	}
	return give_up(e, stream_begin(e));
}

static int on_body(struct http_call *c, struct slice piece, bool last)
{
	struct exchange *e = c->user;

	(void)last;
	if (e->upstream_is_stream)
		return give_up(e, stream_feed(e, piece));
	if (e->body.n + piece.n > e->body_max)
		return give_up(e,
			       err_set(http_call_err(c), E_TOOBIG, "its answer is longer than %zu bytes", e->body_max));
	buf_append(&e->body, piece.p, piece.n);
	if (buf_failed(&e->body) || !buf_reserve(&e->body, JSON_PADDING))
		return give_up(e, err_set(http_call_err(c), E_TOOBIG, "its answer does not fit in this exchange"));
	return 0;
}

/* Our own limits are no fault of an upstream. */
static enum outcome outcome_of_call(int rc)
{
	return rc == E_TIMEOUT ? OUTCOME_SILENT : rc == E_BUSY || rc == E_TOOBIG ? OUTCOME_REFUSED : OUTCOME_FAULT;
}

static void on_done(struct http_call *c, int rc)
{
	struct exchange *e = c->user;

	e->call_active = false;
	if (e->upstream_is_stream) {
		stream_finish(e, rc);
		return;
	}
	if (!rc) {
		if (answer_arrived(e) == NEXT)
			exchange_run(e);
		return;
	}
	e->error_status = rc == E_TIMEOUT ? 504 : 502;
	attempt_failed(e, outcome_of_call(rc), http_call_why(c)[0] ? http_call_why(c) : err_name(rc));
	exchange_run(e);
}

static void on_given_up(void *arg)
{
	struct exchange *e = arg;

	on_done(&e->call, e->given_up_rc);
}

static const struct http_call_ops call_ops = {.on_head = on_head, .on_body = on_body, .on_done = on_done};

/* --- the request --- */

/* Tokens cannot be judged, so what judges prompts gets no way past it: the model is asked with words alone. */
static bool hides_words(const struct exchange *e)
{
	return e->request.has_tokens && e->policy && guard_policy_has(e->policy, GUARD_INPUT);
}

/* Same protocol in and out: the caller's bytes. */
static bool leaves_as_it_came(const struct exchange *e)
{
	return e->back == e->front && e->back->needs_model_splice;
}

/* Headers that belong to the protocol: the caller's word counts when it speaks the same. */
static void add_pass_headers(struct exchange *e, struct buf *head)
{
	for (size_t i = 0; i < PROTOCOL_MAX_PASS && e->back->pass[i].name; i++) {
		const struct pass_header *h = &e->back->pass[i];
		struct slice value = {NULL, 0};

		if (e->back == e->front)
			value = http_header(&e->http->head, h->name);
		if (!value.n)
			value = slice_from(h->value);
		if (!value.n)
			continue;
		buf_adds(head, h->name);
		buf_adds(head, ": ");
		buf_add(head, value);
		buf_adds(head, "\r\n");
	}
}

/* Where in the caller's trace this is (W3C Trace Context): as it came, since no span is made here. */
static void add_trace_headers(const struct exchange *e, struct buf *head)
{
	static const struct {
		const char *name;
		size_t max;
	} names[] = {{"traceparent", 128}, {"tracestate", 512}};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct slice value = http_header(&e->http->head, names[i].name);

		if (!value.n || value.n > names[i].max)
			continue;
		buf_adds(head, names[i].name);
		buf_adds(head, ": ");
		buf_add(head, value);
		buf_adds(head, "\r\n");
	}
}

static int encode_body(struct exchange *e, const struct target *t, struct iovec *iov, int max)
{
	const struct protocol *back = e->back;
	struct upstream_params params = {
		.model = t->upstream_model,
		.stream = e->request.stream && back->framing != FRAMING_NONE,
		.parameters = e->counts || back->embeds ? NULL : t->parameters,
		.newer_limit = t->newer_limit,
		.leave_usage = t->usage_unasked || (e->log == LOG_NONE && !e->n_holds && !e->request.include_usage)};
	struct chat_request space;
	const struct chat_request *r = resume_request(e, t, &params, &space);
	struct buf out;

	if (!r)
		return E_TOOBIG;
	e->usage_asked = back == e->front && protocol_adds_usage(r, &params, back);
	if (leaves_as_it_came(e))
		return protocol_splice_request(&e->http->arena, r, &params, back, iov, max);
	buf_init_arena(&out, &e->http->arena, REQUEST_MAX);
	if (!exchange_dropped(e) || back->encode_request(&out, r, &params, e->dropped) || buf_failed(&out))
		return E_TOOBIG;
	iov[0] = (struct iovec){out.p, out.n};
	return 1;
}

static int build_request(struct exchange *e, const struct target *t)
{
	struct iovec iov[PROTOCOL_SPLICE_PIECES + 2];
	int n = encode_body(e, t, iov + 1, (int)COUNT_OF(iov) - 1);
	size_t length = 0;
	struct buf head;

	if (n < 0)
		return n;
	for (int i = 1; i <= n; i++)
		length += iov[i].iov_len;
	buf_init_arena(&head, &e->http->arena, t->stream_head.n + HTTP_MAX_HEAD_BYTES);
	buf_reserve(&head, t->stream_head.n + 256);
	buf_add(&head,
		e->counts ? count_head(e, t->head) : target_head(&e->http->arena, t, e->back, e->request.stream));
	add_pass_headers(e, &head);
	add_trace_headers(e, &head);
	buf_adds(&head, "x-request-id: ");
	buf_add(&head, e->request_id);
	buf_adds(&head, "\r\nContent-Length: ");
	buf_addu(&head, length);
	buf_adds(&head, "\r\n\r\n");
	if (buf_failed(&head))
		return E_TOOBIG;
	iov[0] = (struct iovec){head.p, head.n};
	e->request_iov = ARENA_ARRAY(&e->http->arena, struct iovec, (size_t)n + 1);
	if (!e->request_iov)
		return E_TOOBIG;
	memcpy(e->request_iov, iov, ((size_t)n + 1) * sizeof(*iov));
	return n + 1;
}

static enum next nothing_left(struct exchange *e)
{
	struct api_error error = {.status = e->error_status, .type = "upstream_error", .code = "no_model_available"};
	const char *text;

	if (e->counts)
		return count_estimate(e);
	if (e->stream)
		return stream_give_up(e);
	if (!e->n_attempts && !e->error_text[0]) {
		exchange_say(e, "use case '" SLICE_FMT "' has no current model and no fallback",
			     SLICE_ARG(e->use_case_name));
		error.status = 503;
	}
	if (!e->pinned && !e->request.embed && answer_fallback_text(e).n)
		return answer_fallback_content(e, NULL);
	if (!exchange_may_tell(e, slice_from(e->error_text)))
		withhold_error(e);
	e->upstream_retry_after = failover_retry_after(e);
	text = arena_printf(&e->http->arena, "No model could answer for '" SLICE_FMT "': %s.",
			    SLICE_ARG(e->use_case_name), e->error_text);
	error.message = slice_from(text ? text : e->error_text);
	return respond_error(e, &error);
}

static bool is_strict(const struct exchange *e)
{
	return (e->use_case && e->use_case->settings.translate_strictly) ||
	       (e->caller.key && e->caller.key->key.translate_strictly);
}

/* The use case, or who asks, would rather not be answered than be answered to less than was asked. */
static enum next refuse_translation(struct exchange *e)
{
	bool by_use_case = e->use_case && e->use_case->settings.translate_strictly;
	struct slice first = e->dropped->name[0];
	const char *param = arena_strndup(&e->http->arena, first.p, first.n);
	const char *text;

	text = arena_printf(&e->http->arena,
			    "The model of '" SLICE_FMT "' speaks another protocol (%s), which cannot carry " SLICE_FMT
			    ", and the %s's translation is strict: leave it out, or set --translation lenient.",
			    SLICE_ARG(e->use_case_name), e->back->name, SLICE_ARG(respond_dropped(e)),
			    by_use_case ? "use case" : "key");
	failover_settle(e, OUTCOME_REFUSED);
	return exchange_refuse(e, text ? text : "The model's protocol cannot carry all of the request.", param);
}

/* The next attempt is of this model. */
static void begin_attempt(struct exchange *e, const struct target *t)
{
	e->back = target_speaks(t, e->front);
	if (e->front->of == t->protocol && (hides_words(e) || (resume_is_on(e) && !e->front->encode_request)))
		e->back = t->protocol; /* a call that has no place for the beginning of an answer */
	resume_note_attempt(e);
	attempt_close(e); /* what was not asked has no part in what comes */
	e->attempt_ms = loop_now_ms(e->g->loop);
	e->retry_after_ms = -1;
	e->upstream_status = 0;
	if (!e->n_attempts++ && e->use_case)
		route_deposit(e->use_case->memory, e->attempt_ms);
}

static enum next pass_over(struct exchange *e, const char *why)
{
	attempt_failed(e, OUTCOME_REFUSED, why);
	return NEXT;
}

/* Makes the request, of *ret_n parts.  WAIT: it can be sent. */
static enum next prepare_call(struct exchange *e, const struct target *t, int *ret_n)
{
	const char *param = NULL;
	struct err err = {0};
	bool loses;

	if (!e->back) /* one of its endpoints is for something else */
		return pass_over(e, "this endpoint of it cannot give what is asked");
	if (t->missing.n) {
		char why[560];

		snprintf(why, sizeof(why), "%s cannot be called: " SLICE_FMT, upstream_name(e), SLICE_ARG(t->missing));
		return pass_over(e, why);
	}
	if (!leaves_as_it_came(e) && protocol_complete(e->front, &e->http->arena, &e->request, &param, &err)) {
		failover_settle(e, OUTCOME_REFUSED);
		return exchange_refuse(e, err.text[0] ? err.text : "The request cannot be translated.", param);
	}
	*ret_n = build_request(e, t);
	if (*ret_n < 0)
		return pass_over(e, "the request is too large to be sent on");
	loses = is_strict(e) && e->dropped && e->dropped->n;
	if (loses && !e->stream)
		return refuse_translation(e);
	return loses ? pass_over(e, "its protocol cannot carry all of the request") : WAIT;
}

enum next exchange_attempt(struct exchange *e)
{
	const struct target *t;
	enum next next;
	int n;

	if (!spend_covers_more(e))
		return FINISHED;
	next = failover_choose(e);
	if (next != NEXT)
		return next == WAIT ? WAIT : nothing_left(e);
	t = exchange_served_by(e)->target;
	begin_attempt(e, t);
	if (e->counts && e->back != e->front) {
		failover_settle(e, OUTCOME_REFUSED);
		return count_estimate(e);
	}
	next = prepare_call(e, t, &n);
	if (next != WAIT)
		return next;
	if (!e->body.max)
		buf_init_arena(&e->body, &e->http->arena, e->settings->max_answer_bytes + JSON_PADDING);
	http_call_release(&e->call);
	e->call = (struct http_call){.ops = &call_ops,
				     .user = e,
				     .origin = &t->origin,
				     .request = e->request_iov,
				     .n_request = n,
				     .timeouts = timeouts_of(e, t)};
	e->call_active = true;
	timer_init(&e->given_up, on_given_up, e);
	http_call_start(e->g->client, &e->call);
	return WAIT;
}
