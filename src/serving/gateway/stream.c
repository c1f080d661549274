/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streamed answers.  Events are cut from what the upstream sends, their texts are fed to the guardrails, and an event
 * leaves when every byte of its text is decided: events that are not wait in `held` (hold.c).  An event that stays
 * undecided for SPLIT_MS is split: the part that is decided leaves, in an event of its own.  Nothing has been sent to
 * the caller before the first event that says something leaves: until then another model can still take over.
 *
 * What would break it: ending a stream as if it were complete when the upstream did not say so, or looking at the
 * candidate that serves after fallback content has taken its place.
 */
#include "serving/gateway/exchange.h"

#include <stdlib.h>

#include "serving/gateway/resume.h"

#define KEPT_MAX ((size_t)1024) /* of what is empty */
#define HELD_TOGETHER ((size_t)8 * 1024)
#define HELD_MAX ((size_t)4 * 1024 * 1024)
#define OUT_MAX ((size_t)8 * 1024 * 1024)
/* A whole answer as a stream, or at the end of one: escapes can make it six times as long. */
#define WHOLE_MAX ((size_t)128 * 1024 * 1024)
#define SPLIT_MS 40
/* After the terminator the upstream has this long to end its answer, so that the connection can be used again. */
#define LINGER_MS 24
/* After finish_reason the terminator may take this long: some servers never send it. */
#define FINISH_WAIT_MS 2000

static void init_cutter(struct stream *s, const struct protocol *back)
{
	s->lines = back && back->framing == FRAMING_NDJSON;
	if (s->lines)
		ndjson_init(&s->ndjson, STREAM_EVENT_MAX);
	else
		sse_init(&s->sse, STREAM_EVENT_MAX);
}

static void release_cutter(struct stream *s)
{
	if (s->lines)
		ndjson_release(&s->ndjson);
	else
		sse_release(&s->sse);
}

void stream_release(struct exchange *e)
{
	struct stream *s = e->stream;

	if (!s)
		return;
	timer_cancel(e->g->loop, &s->flush);
	for (size_t i = 0; i < s->n_channels; i++)
		guard_stream_free(s->channel[i].guard);
	free(s->channel);
	encode_state_release(&s->encode);
	release_cutter(s);
	buf_release(&s->held);
	buf_release(&s->out);
	buf_release(&s->text);
	calls_release(&s->calls);
	slab_free(&e->g->streams, s);
	e->stream = NULL;
}

static void on_flush_timer(void *arg);

static struct stream *stream_new(struct exchange *e)
{
	struct stream *s = slab_alloc(&e->g->streams);

	memset(s, 0, sizeof(*s));
	init_cutter(s, e->back);
	buf_init(&s->held, HELD_MAX);
	buf_init(&s->out, e->front->repeats ? WHOLE_MAX : OUT_MAX);
	buf_init(&s->text, LOG_TEXT_MAX);
	timer_init(&s->flush, on_flush_timer, e);
	take_add_channel(s, 0);
	return s;
}

void stream_rewind(struct exchange *e)
{
	struct stream *s = e->stream;

	release_cutter(s);
	init_cutter(s, NULL); /* what for, stream_begin knows */
	s->decode = (struct decode_state){0};
	s->repeat.n_before = 0;
	s->has_answer = false;
	e->answer = (struct chat_answer){0};
}

int stream_begin(struct exchange *e)
{
	const struct protocol *back = e->back;

	if (e->stream) { /* another goes on with it */
		release_cutter(e->stream);
		init_cutter(e->stream, back);
		return 0;
	}
	e->stream = stream_new(e);
	e->stream->same_protocol = back == e->front;
	e->stream->usage_injected = e->usage_asked;
	e->answer = (struct chat_answer){0};
	if (e->policy && guard_policy_has(e->policy, GUARD_OUTPUT) && !e->output_hits) {
		e->output_hits = arena_alloc(&e->http->arena, sizeof(*e->output_hits));
		if (!e->output_hits)
			return E_TOOBIG;
	}
	if (e->output_hits)
		*e->output_hits = (struct hit_list){0};
	return 0;
}

/* --- what leaves --- */

static bool waits_for_the_whole(const struct exchange *e)
{
	return e->use_case && e->use_case->settings.answer_mode == ANSWER_BUFFER;
}

static void send_out(struct exchange *e)
{
	struct stream *s = e->stream;

	if (!s->out.n || !(s->begun || s->says_something) || (waits_for_the_whole(e) && !s->ended))
		return;
	if (!s->begun) {
		s->begun = true;
		if (e->output_hits)
			exchange_take_action(e, e->output_hits->action);
		respond_begin(e, slice_from(e->front->stream_type));
		settle_later(e);
	}
	respond_write(e, buf_slice(&s->out));
	buf_clear(&s->out);
	if (e->call_active && http_pending(e->http) > HTTP_SEND_MARK)
		http_call_pause(&e->call);
}

void stream_meta(const struct exchange *e, struct answer_meta *m)
{
	const struct stream *s = e->stream;

	respond_meta(e, m);
	if (s->id.n)
		m->answer_id = s->id;
	if (s->model.n)
		m->model = s->model;
	if (s->created_s)
		m->created_s = s->created_s;
}

void stream_encode(struct exchange *e, const struct chat_event *event)
{
	struct chat_event whole = *event;
	struct answer_meta m;

	stream_meta(e, &m);
	if (event->type == CHAT_EVENT_END) { /* some protocols tell there how it all went */
		exchange_complete_usage(e, resume_said(e));
		whole.finish = e->answer.finish ? e->answer.finish : CHAT_FINISH_STOP;
		whole.stop_sequence = e->answer.stop_sequence;
		whole.usage = resume_usage(e);
	} else if (!e->stream->encode.begun) {
		m.prompt_tokens = exchange_estimate_prompt(e);
	}
	e->front->encode_event(&e->stream->encode, &e->stream->out, &whole, &m);
}

/* The answer has begun, and cannot go on. */
static void encode_failure(struct exchange *e, const struct api_error *error)
{
	struct stream *s = e->stream;
	struct answer_meta m;

	stream_meta(e, &m);
	if (e->front->encode_failure)
		e->front->encode_failure(&s->encode, &s->out, error, &m);
	else
		e->front->encode_stream_error(&s->out, error);
}

/* The only choice is finished; of several, the others may be under way. */
static bool lacks_only_its_end(const struct exchange *e)
{
	return e->stream->finish_seen && !e->stream->ended && e->request.n_choices <= 1;
}

/* Everything that is decided leaves `held`. */
static void release_decided(struct exchange *e)
{
	struct stream *s = e->stream;

	hold_release(e, false);
	if (s->held.n && !timer_is_set(&s->flush))
		timer_set(e->g->loop, &s->flush, SPLIT_MS);
	else if (!s->held.n && lacks_only_its_end(e))
		timer_set(e->g->loop, &s->flush, FINISH_WAIT_MS);
	else if (!s->held.n && !s->ended)
		timer_cancel(e->g->loop, &s->flush);
}

/* Nothing has left yet: the fallback content takes the place of all of it. */
static void put_fallback_content(struct exchange *e)
{
	struct stream *s = e->stream;
	struct chat_event text = {.type = CHAT_EVENT_TEXT, .text = answer_fallback_text(e)};

	attempt_note(e, CALL_OK, "stopped by guardrails");
	buf_clear(&s->out);
	buf_clear(&s->text);
	s->text_cut = false;
	calls_release(&s->calls);
	s->id = s->model = (struct slice){0};
	encode_state_release(&s->encode);
	e->answer.text = text.text;
	spend_note_waste(e);
	e->i_candidate = e->n_candidates;
	e->have_answer = true;
	stream_encode(e, &text);
}

/* Guardrails ended the stream: what is decided leaves, then an honest end. */
static void stop_stream(struct exchange *e)
{
	struct stream *s = e->stream;
	bool replace = e->output_hits->action == GUARD_FALLBACK && !s->begun;
	struct chat_event finish = {.type = CHAT_EVENT_FINISH, .finish = CHAT_FINISH_CONTENT_FILTER};
	struct chat_event end = {.type = CHAT_EVENT_END};

	if (e->output_hits->action < GUARD_FALLBACK) /* more to mask than could be */
		e->output_hits->action = GUARD_BLOCK;
	if (!replace)
		hold_release(e, true);
	s->held.n = 0;
	s->stopped = true;
	s->same_protocol = false;
	if (replace) {
		put_fallback_content(e);
		finish.finish = CHAT_FINISH_STOP;
	}
	e->answer.finish = finish.finish;
	stream_encode(e, &finish);
	stream_encode(e, &end);
	exchange_say(e, "ended by guardrail rule '" SLICE_FMT "'",
		     SLICE_ARG(exchange_blocking_rule(e, e->output_hits)));
	s->ended = true;
}

static bool must_stop(const struct exchange *e)
{
	const struct hit_list *r = e->output_hits;

	if (!r || e->stream->stopped)
		return false;
	/* More matches at once than can be listed: not all could be replaced. */
	for (size_t i = 0; i < e->stream->n_channels; i++)
		if (e->stream->channel[i].hits.overflow && r->action == GUARD_MASK)
			return true;
	return r->action >= GUARD_FALLBACK;
}

/* Of an event that ends it, perhaps an error: where a whole answer would be. */
static void keep_payload(struct exchange *e, struct slice payload)
{
	buf_clear(&e->body);
	if (payload.n <= ERROR_BODY_MAX)
		buf_append(&e->body, payload.p, payload.n);
}

/* What has come is judged, and leaves as far as it may. */
static int settle(struct exchange *e)
{
	take_judge(e);
	if (must_stop(e)) {
		stop_stream(e);
		return 0;
	}
	release_decided(e);
	return buf_failed(&e->stream->out)
		       ? err_set(http_call_err(&e->call), E_TOOBIG, "too much of its answer leaves at once")
		       : 0;
}

/* Text that goes on is judged with what comes behind it (settle_rest). */
static int decode_block(struct exchange *e, struct slice payload, struct slice raw)
{
	const struct protocol *back = e->back;
	struct chat_events events = {0};
	struct err err;
	int rc;

	arena_reset(&e->g->turn);
	err.text[0] = 0;
	if (payload.p) {
		rc = protocol_decode_event(back, &e->stream->decode, &e->stream->repeat,
					   &(struct event_source){payload, &e->g->turn, &e->http->arena, e->g->json},
					   &events, &err);
		if (rc)
			return err.text[0] ? err_set(http_call_err(&e->call), rc, "%s", err.text) : rc;
	}
	if (take_waits(e) && (e->stream->held.n > HELD_TOGETHER || !take_goes_on(e, &events))) {
		rc = settle(e);
		if (rc || e->stream->ended)
			return rc;
	}
	rc = take_events(e, &events, raw);
	if (rc)
		keep_payload(e, payload);
	return rc || take_waits(e) ? rc : settle(e);
}

/* After the last block of what came. */
static int settle_rest(struct exchange *e, int rc)
{
	if (!take_waits(e))
		return rc;
	if (!rc && !e->stream->ended)
		return settle(e);
	take_judge(e); /* what ends the stream, or breaks it off, decides what leaves */
	return rc;
}

static int feed_sse(struct exchange *e, struct slice piece)
{
	struct sse_event block;
	int rc;

	while (!e->stream->ended && (rc = sse_next(&e->stream->sse, &piece, &block)) != 0) {
		if (rc < 0)
			return err_set(http_call_err(&e->call), rc, "it sent an event longer than %zu bytes",
				       STREAM_EVENT_MAX);
		rc = decode_block(e, block.data, block.raw);
		if (rc)
			return rc;
	}
	return 0;
}

static int feed_ndjson(struct exchange *e, struct slice piece)
{
	struct slice line, raw;
	int rc;

	while (!e->stream->ended && (rc = ndjson_next(&e->stream->ndjson, &piece, &line, &raw)) != 0) {
		if (rc < 0)
			return err_set(http_call_err(&e->call), rc, "it sent a line longer than %zu bytes",
				       STREAM_EVENT_MAX);
		rc = decode_block(e, line, raw);
		if (rc)
			return rc;
	}
	return 0;
}

/* The log, which is required, took no record: what was to leave does not, and the end says so. */
static void end_unlogged(struct exchange *e)
{
	struct api_error error = respond_unlogged_error();

	buf_clear(&e->stream->out);
	encode_failure(e, &error);
}

/* The upstream said that this was all: decide the rest, record, and only then let the end leave. */
static void conclude(struct exchange *e)
{
	struct stream *s = e->stream;
	struct chat_event end = {.type = CHAT_EVENT_END};
	bool terminated = s->ended;

	s->ended = true;
	if (!s->stopped) {
		take_end(e);
		if (must_stop(e))
			stop_stream(e);
		else
			release_decided(e);
	}
	if (!s->stopped && !terminated)
		stream_encode(e, &end);
	e->have_answer = true;
	if (e->output_hits)
		exchange_take_action(e, e->output_hits->action);
	failover_settle(e, OUTCOME_GOOD);
	attempt_note(e, CALL_OK, s->stopped ? "stopped by guardrails" : "ok");
	record_exchange(e, s->stopped ? RECORD_BLOCKED : RECORD_OK, 200);
	if (e->is_unlogged)
		end_unlogged(e);
}

static void end_answer(struct exchange *e)
{
	struct stream *s = e->stream;

	timer_cancel(e->g->loop, &s->flush);
	if (e->call_active) {
		e->call_active = false;
		http_call_cancel(&e->call);
	}
	if (e->is_unlogged && !s->begun) {
		(void)respond_unlogged(e);
		return;
	}
	if (!s->begun)
		respond_begin(e, slice_from(e->front->stream_type));
	s->begun = true;
	e->step = STEP_DONE;
	resume_tell(e);
	respond_end(e, buf_slice(&s->out));
}

static void on_flush_timer(void *arg)
{
	struct exchange *e = arg;

	if (e->stream->ended) {
		end_answer(e);
		return;
	}
	arena_reset(&e->g->turn);
	if (lacks_only_its_end(e) && loop_now_ms(e->g->loop) - e->stream->finish_ms >= FINISH_WAIT_MS) {
		conclude(e);
		end_answer(e);
		return;
	}
	hold_release(e, true);
	send_out(e);
	if (lacks_only_its_end(e)) /* else nothing changes before more comes */
		timer_set(e->g->loop, &e->stream->flush, e->stream->held.n ? SPLIT_MS : FINISH_WAIT_MS);
}

/* What a burst needed is not kept for as long as the stream is. */
static void give_back(struct buf *b)
{
	if (!b->n && b->cap > KEPT_MAX)
		buf_release(b);
}

int stream_feed(struct exchange *e, struct slice piece)
{
	struct stream *s = e->stream;
	int rc;

	if (s->ended) /* nobody serves any more when fallback content does */
		return 0;
	s->fed_ms = loop_now_ms(e->g->loop);
	rc = settle_rest(e, s->lines ? feed_ndjson(e, piece) : feed_sse(e, piece));
	if (rc)
		return rc;
	if (s->ended) {
		conclude(e);
		timer_set(e->g->loop, &s->flush, s->stopped ? 0 : LINGER_MS);
		return 0;
	}
	send_out(e);
	give_back(&s->held);
	give_back(&s->out);
	return 0;
}

/* The answer broke off, and part of it has left: the caller is told in its protocol. */
static void truncated(struct exchange *e, bool late, const char *why)
{
	struct stream *s = e->stream;
	struct api_error error = {.status = late ? 504 : 502, .type = "upstream_error", .code = "stream_truncated"};
	char text[600];

	snprintf(text, sizeof(text), "The answer broke off: %.500s.", why);
	if (!exchange_may_tell(e, slice_from(text)))
		snprintf(text, sizeof(text), "The answer broke off; the model's error was withheld by a guardrail.");
	exchange_say(e, "%.480s", text);
	take_end(e);
	if (must_stop(e)) {
		conclude(e);
		end_answer(e);
		return;
	}
	release_decided(e);
	if (buf_failed(&s->out)) /* half an event is in it */
		buf_clear(&s->out);
	error.message = slice_from(text);
	e->broke_off = true;
	encode_failure(e, &error);
	if (!s->given_up) {
		counter_add(&e->g->stats.upstream_errors, 1);
		failover_settle(e, failover_deadline_passed(e) ? OUTCOME_DEADLINE : OUTCOME_FAULT);
		attempt_note(e, late ? CALL_TIMEOUT : CALL_FAILED, text);
	}
	if (e->output_hits)
		exchange_take_action(e, e->output_hits->action);
	record_exchange(e, late ? RECORD_TIMEOUT : RECORD_TRUNCATED, 200);
	end_answer(e);
}

enum next stream_give_up(struct exchange *e)
{
	const char *why = e->error_text;

	e->i_candidate = e->stream->i_served; /* that of whom the text is */
	e->stream->given_up = true;
	arena_reset(&e->g->turn);
	truncated(e, e->error_status == 504, why);
	return FINISHED;
}

enum next stream_join(struct exchange *e, const struct chat_answer *answer)
{
	struct chat_events events = {0};
	int rc = protocol_answer_events(&e->http->arena, answer, &events);

	arena_reset(&e->g->turn);
	for (size_t i = 0; i < events.n && rc >= 0; i++)
		rc = take_event(e, &events.e[i]);
	take_judge(e);
	if (rc < 0) { /* a part of it is in the stream: nobody can go on from there */
		attempt_failed(e, OUTCOME_REFUSED,
			       http_call_why(&e->call)[0] ? http_call_why(&e->call) : "its answer is too large");
		e->i_candidate = e->n_candidates;
		return NEXT;
	}
	if (must_stop(e))
		stop_stream(e);
	conclude(e);
	end_answer(e);
	return FINISHED;
}

/* What came without the end of an event, or of a line; it leaves with one, since more may follow. */
static int feed_rest(struct exchange *e)
{
	bool lines = e->stream->lines;
	struct sse_event block = {0};
	struct slice line;
	struct buf raw;
	int rc = lines ? ndjson_finish(&e->stream->ndjson, &line) : sse_finish(&e->stream->sse, &block);

	if (rc != 1)
		return 0;
	if (lines)
		block.data = block.raw = line;
	buf_init(&raw, STREAM_EVENT_MAX + 2);
	buf_add(&raw, block.raw);
	buf_adds(&raw, lines ? "\n" : "\n\n");
	rc = settle_rest(e, decode_block(e, slice_moved(block.data, block.raw, raw.p), buf_slice(&raw)));
	buf_release(&raw);
	return rc;
}

/* Another goes on with it, or the caller is told. */
static void break_off(struct exchange *e, int rc)
{
	if (resume_is_possible(e)) {
		hold_release(e, true);
		send_out(e);
		if (resume_begin(e, rc)) {
			exchange_run(e);
			return;
		}
	}
	truncated(e, rc == E_TIMEOUT,
		  http_call_why(&e->call)[0] ? http_call_why(&e->call)
					     : "the upstream closed the stream before its end");
}

void stream_finish(struct exchange *e, int rc)
{
	struct stream *s = e->stream;
	enum next next;

	if (s->ended) {
		end_answer(e);
		return;
	}
	arena_reset(&e->g->turn);
	if (!rc)
		rc = feed_rest(e);
	if ((!rc && s->ended) || ((!rc || rc == E_CLOSED || rc == E_TIMEOUT) && lacks_only_its_end(e))) {
		conclude(e);
		end_answer(e);
		return;
	}
	if (s->begun) {
		break_off(e, rc);
		return;
	}
	if (rc && attempt_error_inside(e, http_call_why(&e->call), &next)) {
		if (next == NEXT)
			exchange_run(e);
		return;
	}
	e->error_status = rc == E_TIMEOUT ? 504 : 502;
	attempt_failed(e, rc == E_TIMEOUT ? OUTCOME_SILENT : OUTCOME_FAULT,
		       http_call_why(&e->call)[0] ? http_call_why(&e->call) : "it closed the stream before its end");
	exchange_run(e);
}

/* --- a whole answer for a caller that asked for a stream --- */

enum next stream_whole(struct exchange *e, const struct chat_answer *answer)
{
	struct chat_events events = {0};

	if (protocol_answer_events(&e->http->arena, answer, &events) < 0)
		return respond_error(e, &(struct api_error){.status = 502,
							    .message = SLICE_LIT("The answer is too large."),
							    .type = "upstream_error"});
	if (e->stream)
		stream_release(e);
	e->stream = stream_new(e);
	e->stream->out.max = WHOLE_MAX;
	for (size_t i = 0; i < events.n; i++)
		if (take_is_carried(e, &events.e[i]))
			stream_encode(e, &events.e[i]);
	e->stream->ended = true;
	end_answer(e);
	return FINISHED;
}
