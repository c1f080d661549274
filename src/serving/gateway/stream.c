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

#define HELD_MAX ((size_t)4 * 1024 * 1024)
#define OUT_MAX ((size_t)8 * 1024 * 1024)
/* A whole answer as a stream: escapes can make it six times as long. */
#define WHOLE_MAX ((size_t)128 * 1024 * 1024)
#define SPLIT_MS 40
/* After the terminator the upstream has this long to end its answer, so that the connection can be used again. */
#define LINGER_MS 24
/* After finish_reason the terminator may take this long: some servers never send it. */
#define FINISH_WAIT_MS 2000

void stream_release(struct exchange *e)
{
	struct stream *s = e->stream;

	if (!s)
		return;
	timer_cancel(e->g->loop, &s->flush);
	for (size_t i = 0; i < CHANNELS_MAX; i++)
		guard_stream_free(s->channel[i].guard);
	for (size_t i = 0; i < ASIDES_MAX; i++)
		guard_stream_free(s->aside[i].guard);
	sse_release(&s->sse);
	ndjson_release(&s->ndjson);
	buf_release(&s->held);
	buf_release(&s->out);
	buf_release(&s->text);
	free(s);
	e->stream = NULL;
}

static void on_flush_timer(void *arg);

static struct stream *stream_new(struct exchange *e)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	sse_init(&s->sse, STREAM_EVENT_MAX);
	ndjson_init(&s->ndjson, STREAM_EVENT_MAX);
	buf_init(&s->held, HELD_MAX);
	buf_init(&s->out, OUT_MAX);
	buf_init(&s->text, LOG_TEXT_MAX);
	timer_init(&s->flush, on_flush_timer, e);
	return s;
}

int stream_begin(struct exchange *e)
{
	const struct protocol *back = exchange_served_by(e)->target->protocol;

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
		guard_result_init(e->output_hits);
	return 0;
}

/* --- what leaves --- */

static void send_out(struct exchange *e)
{
	struct stream *s = e->stream;
	struct http_header h[RESPOND_MAX_HEADERS];
	struct iovec piece = {s->out.p, s->out.n};

	if (!s->out.n || !(s->begun || s->says_something))
		return;
	if (!s->begun) {
		s->begun = true;
		if (e->output_hits)
			exchange_take_action(e, e->output_hits->action);
		http_stream_begin(e->http, 200, h, respond_headers(e, h, slice_from(e->front->stream_type)));
	}
	http_stream_write(e->http, &piece, 1);
	buf_clear(&s->out);
	if (e->call_active && http_pending(e->http) > HTTP_SEND_MARK)
		http_call_pause(&e->call);
}

void stream_encode(struct exchange *e, const struct chat_event *event)
{
	struct chat_event whole = *event;
	struct answer_meta m;

	respond_meta(e, &m);
	if (event->type == CHAT_EVENT_END) { /* some protocols tell there how it all went */
		exchange_complete_usage(e, (size_t)e->stream->channel[0].fed);
		whole.finish = e->answer.finish ? e->answer.finish : CHAT_FINISH_STOP;
		whole.usage = e->answer.usage;
	}
	e->front->encode_event(&e->stream->out, &whole, &m, !e->stream->first_sent);
	e->stream->first_sent = true;
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

/* --- what comes --- */

/* Where a channel of the codec is kept; NULL when there are too many. */
static struct channel *channel_of(struct stream *s, unsigned id)
{
	for (size_t i = 0; i < CHANNELS_MAX; i++) {
		struct channel *c = &s->channel[i];

		if (!c->used) {
			/* The first place is the content's, which may come later. */
			if (!i && id)
				continue;
			c->used = true;
			c->id = id;
		}
		if (c->id == id)
			return c;
	}
	return NULL;
}

/* By start, the longest first: a match that is certain late may begin before, or around, one that was certain early. */
static void keep_hit(struct guard_result *r, size_t *n, struct guard_hit hit)
{
	size_t at = *n;

	for (; at; at--) {
		const struct guard_hit *before = &r->hit[at - 1];

		if (before->start < hit.start || (before->start == hit.start && before->end >= hit.end))
			break;
		r->hit[at] = *before;
	}
	r->hit[at] = hit;
	++*n;
}

/* The exchange notes new hits; those whose text has left are forgotten here, so that a long answer can have any number.
 */
static void note_hits(struct exchange *e, struct channel *c)
{
	struct guard_result *all = e->output_hits, *r = c->hits;
	size_t kept = 0;

	for (; c->n_told < r->n_hits; c->n_told++) {
		if (all->n_hits < GUARD_MAX_HITS)
			all->hit[all->n_hits++] = r->hit[c->n_told];
		else
			all->overflow = true;
	}
	if (r->failed && !all->failed)
		counter_add(&e->g->stats.guard_failures, 1);
	all->failed |= r->failed;
	if (r->action > all->action)
		all->action = r->action;
	for (size_t i = 0; i < r->n_hits; i++)
		if (r->hit[i].end > c->left)
			keep_hit(r, &kept, r->hit[i]);
	r->n_hits = c->n_told = kept;
}

static int open_guard(struct exchange *e, struct guard_stream **ret, struct guard_result **hits)
{
	if (!*hits)
		*hits = arena_alloc(&e->http->arena, sizeof(**hits));
	*ret = guard_stream_new(e->policy, e->g->scratch, GUARD_OUTPUT);
	if (!*hits || !*ret)
		return err_set(&e->call.err, E_TOOBIG, "its answer is too large to be judged");
	guard_result_init(*hits);
	return 0;
}

/* Hits in a text beside the first one: it cannot be mended by itself, so that what it holds stops the stream. */
static void note_aside(struct exchange *e, struct aside *a, uint64_t safe)
{
	struct guard_result *all = e->output_hits, *r = a->hits;
	enum guard_action action = r->action == GUARD_MASK || r->overflow ? GUARD_BLOCK : r->action;

	for (size_t i = 0; i < r->n_hits; i++) {
		if (all->n_hits < GUARD_MAX_HITS)
			all->hit[all->n_hits++] = r->hit[i];
		if (guard_rule(e->policy, r->hit[i].rule).action >= GUARD_MASK)
			safe = min_size(safe, r->hit[i].start);
	}
	r->n_hits = 0;
	if (!a->stuck)
		a->safe = a->base + safe;
	a->stuck |= action >= GUARD_FALLBACK;
	if (r->failed && !all->failed)
		counter_add(&e->g->stats.guard_failures, 1);
	all->failed |= r->failed;
	if (action > all->action)
		all->action = action;
}

static int feed_aside(struct exchange *e, struct aside *a, struct slice text)
{
	uint64_t safe = 0;

	if (!a->guard) {
		int rc = open_guard(e, &a->guard, &a->hits);

		if (rc)
			return rc;
		a->base = a->fed;
	}
	a->fed += text.n;
	guard_stream_feed(a->guard, text, a->hits, &safe);
	note_aside(e, a, safe);
	return 0;
}

static void end_aside(struct exchange *e, struct aside *a)
{
	uint64_t safe = 0;

	if (!a->guard)
		return;
	guard_stream_end(a->guard, a->hits, &safe);
	note_aside(e, a, safe);
	guard_stream_free(a->guard);
	a->guard = NULL;
}

/*
 * Texts that stand beside the first one in one event.  Each continues the one that stood in its place in the event
 * before; where none stands any more it is over.
 */
static int judge_others(struct exchange *e, const struct chat_event *event)
{
	size_t n = event->n_judged > 1 ? event->n_judged : 0;
	int rc = 0;

	if (n > ASIDES_MAX)
		return err_set(&e->call.err, E_TOOBIG, "one event of its answer holds more than %d texts", ASIDES_MAX);
	for (size_t i = 0; i < ASIDES_MAX && !rc; i++) {
		if (i >= n)
			end_aside(e, &e->stream->aside[i]);
		else if (!event->judged[i].raw.p || event->judged[i].raw.p != event->text_raw.p)
			rc = feed_aside(e, &e->stream->aside[i], event->judged[i].text);
	}
	return rc;
}

static int judge_event(struct exchange *e, struct channel *c, struct chat_event *event)
{
	int rc = judge_others(e, event);

	/* Without a text of its own an event repeats there those that are judged already. */
	if (event->n_judged > 1 && !event->text_raw.p)
		event->text = (struct slice){0};
	if (rc || !event->text.n)
		return rc;
	if (!c->guard)
		rc = open_guard(e, &c->guard, &c->hits);
	if (rc)
		return rc;
	c->fed += event->text.n;
	guard_stream_feed(c->guard, event->text, c->hits, &c->safe);
	note_hits(e, c);
	return 0;
}

static void take_result(struct exchange *e, const struct chat_event *event)
{
	if (event->finish)
		e->answer.finish = event->finish;
	if (event->finish || event->type == CHAT_EVENT_FINISH)
		e->stream->finish_seen = true;
	if (e->stream->finish_seen && !e->stream->finish_ms)
		e->stream->finish_ms = loop_now_ms(e->g->loop);
	if (event->usage.known)
		e->answer.usage = event->usage;
}

/* Whether the caller gets this event at all. */
static bool is_for_caller(const struct exchange *e, const struct chat_event *event)
{
	const struct stream *s = e->stream;

	if (s->same_protocol)
		return !(event->type == CHAT_EVENT_USAGE && s->usage_injected);
	return event->type != CHAT_EVENT_NONE && event->type != CHAT_EVENT_OTHER &&
	       !(event->type == CHAT_EVENT_USAGE && !e->request.include_usage);
}

static int take_text(struct exchange *e, struct channel *c, struct chat_event *event)
{
	if (!event->text.n)
		return 0;
	if (e->first_token_ms < 0)
		e->first_token_ms = loop_now_ms(e->g->loop) - e->start_ms;
	if (e->output_hits)
		return judge_event(e, c, event);
	c->fed += event->text.n;
	c->safe = c->fed;
	return 0;
}

static int take_event(struct exchange *e, struct chat_event *event, struct slice raw)
{
	struct stream *s = e->stream;
	struct chat_event end = {.type = CHAT_EVENT_END};
	struct channel *c = channel_of(s, event->channel);
	uint64_t start;
	int rc;

	if (!c)
		return err_set(&e->call.err, E_TOOBIG, "its answer interleaves more than %d texts", CHANNELS_MAX);
	take_result(e, event);
	if (event->type == CHAT_EVENT_ERROR)
		return err_set(&e->call.err, E_IO, "the model gave up: " SLICE_FMT, (int)min_size(event->text.n, 300),
			       event->text.p ? event->text.p : "");
	if (event->type == CHAT_EVENT_END || event->end)
		s->ended = true;
	start = c->fed;
	rc = take_text(e, c, event);
	if (!rc && is_for_caller(e, event))
		rc = hold_event(e, event, raw, (struct hold_place){(unsigned)(c - s->channel), start});
	if (!rc && event->end && event->type != CHAT_EVENT_END && !s->same_protocol)
		rc = hold_event(e, &end, (struct slice){0}, (struct hold_place){0});
	return rc;
}

/* Nothing has left yet: the fallback content takes the place of all of it. */
static void put_fallback_content(struct exchange *e)
{
	struct stream *s = e->stream;
	struct chat_event text = {.type = CHAT_EVENT_TEXT, .text = answer_fallback_text(e)};

	attempt_note(e, CALL_OK, "stopped by guardrails");
	buf_clear(&s->out);
	buf_clear(&s->text);
	s->first_sent = s->text_cut = false;
	e->answer.text = text.text;
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
	snprintf(e->error_text, sizeof(e->error_text), "ended by guardrail rule '" SLICE_FMT "'",
		 SLICE_ARG(exchange_blocking_rule(e, e->output_hits)));
	s->ended = true;
}

static bool must_stop(const struct exchange *e)
{
	const struct guard_result *r = e->output_hits;

	if (!r || e->stream->stopped)
		return false;
	/* More matches at once than can be listed: not all could be replaced. */
	for (size_t i = 0; i < CHANNELS_MAX; i++)
		if (e->stream->channel[i].hits && e->stream->channel[i].hits->overflow && r->action == GUARD_MASK)
			return true;
	return r->action >= GUARD_FALLBACK;
}

static int decode_block(struct exchange *e, struct slice payload, struct slice raw)
{
	const struct protocol *back = exchange_served_by(e)->target->protocol;
	struct chat_event event = {0};
	int rc;

	arena_reset(&e->g->turn);
	if (payload.p) {
		rc = back->decode_event(&e->g->turn, e->g->json, payload, &event, &e->call.err);
		if (rc)
			return rc;
	}
	rc = take_event(e, &event, raw);
	if (rc)
		return rc;
	if (must_stop(e)) {
		stop_stream(e);
		return 0;
	}
	release_decided(e);
	return buf_failed(&e->stream->out) ? err_set(&e->call.err, E_TOOBIG, "too much of its answer leaves at once")
					   : 0;
}

static int feed_sse(struct exchange *e, struct slice piece)
{
	struct sse_event block;
	int rc;

	while (!e->stream->ended && (rc = sse_next(&e->stream->sse, &piece, &block)) != 0) {
		if (rc < 0)
			return err_set(&e->call.err, rc, "it sent an event longer than %zu bytes", STREAM_EVENT_MAX);
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
			return err_set(&e->call.err, rc, "it sent a line longer than %zu bytes", STREAM_EVENT_MAX);
		rc = decode_block(e, line, raw);
		if (rc)
			return rc;
	}
	return 0;
}

static void finish_channels(struct exchange *e)
{
	for (size_t i = 0; i < CHANNELS_MAX; i++) {
		struct channel *c = &e->stream->channel[i];

		if (c->guard) {
			guard_stream_end(c->guard, c->hits, &c->safe);
			note_hits(e, c);
		} else {
			c->safe = c->fed;
		}
	}
	for (size_t i = 0; i < ASIDES_MAX; i++)
		end_aside(e, &e->stream->aside[i]);
}

/* The upstream said that this was all: decide the rest, record, and only then let the end leave. */
static void conclude(struct exchange *e)
{
	struct stream *s = e->stream;
	struct chat_event end = {.type = CHAT_EVENT_END};
	bool terminated = s->ended;

	s->ended = true;
	if (!s->stopped) {
		finish_channels(e);
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
	attempt_note(e, CALL_OK, s->stopped ? "stopped by guardrails" : "ok");
	record_exchange(e, s->stopped ? RECORD_BLOCKED : RECORD_OK, 200);
}

static void end_answer(struct exchange *e)
{
	struct stream *s = e->stream;
	struct http_header h[RESPOND_MAX_HEADERS];
	struct iovec piece = {s->out.p, s->out.n};

	timer_cancel(e->g->loop, &s->flush);
	if (e->call_active) {
		e->call_active = false;
		http_call_cancel(&e->call);
	}
	if (!s->begun)
		http_stream_begin(e->http, 200, h, respond_headers(e, h, slice_from(e->front->stream_type)));
	s->begun = true;
	e->step = STEP_DONE;
	http_stream_end(e->http, &piece, s->out.n ? 1 : 0);
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
	if (e->stream->held.n)
		timer_set(e->g->loop, &e->stream->flush, SPLIT_MS);
	else if (lacks_only_its_end(e))
		timer_set(e->g->loop, &e->stream->flush, FINISH_WAIT_MS);
}

int stream_feed(struct exchange *e, struct slice piece)
{
	struct stream *s = e->stream;
	const struct protocol *back;
	int rc;

	if (s->ended) /* nobody serves any more when fallback content does */
		return 0;
	back = exchange_served_by(e)->target->protocol;
	rc = back->framing == FRAMING_NDJSON ? feed_ndjson(e, piece) : feed_sse(e, piece);
	if (rc)
		return rc;
	if (s->ended) {
		conclude(e);
		timer_set(e->g->loop, &s->flush, s->stopped ? 0 : LINGER_MS);
		return 0;
	}
	send_out(e);
	return 0;
}

/* The answer broke off, and part of it has left: the caller is told in its protocol. */
static void truncated(struct exchange *e, int rc)
{
	struct stream *s = e->stream;
	struct api_error error = {
		.status = rc == E_TIMEOUT ? 504 : 502, .type = "upstream_error", .code = "stream_truncated"};
	char text[600];

	snprintf(text, sizeof(text), "The answer broke off: %s.",
		 e->call.err.text[0] ? e->call.err.text : "the upstream closed the stream before its end");
	if (!exchange_may_tell(e, slice_from(text)))
		snprintf(text, sizeof(text), "The answer broke off; the model's error was withheld by a guardrail.");
	snprintf(e->error_text, sizeof(e->error_text), "%.480s", text);
	finish_channels(e);
	if (must_stop(e)) {
		conclude(e);
		end_answer(e);
		return;
	}
	release_decided(e);
	if (buf_failed(&s->out)) /* half an event is in it */
		buf_clear(&s->out);
	error.message = slice_from(text);
	e->front->encode_stream_error(&s->out, &error);
	counter_add(&e->g->stats.upstream_errors, 1);
	attempt_note(e, rc == E_TIMEOUT ? CALL_TIMEOUT : CALL_FAILED, text);
	if (e->output_hits)
		exchange_take_action(e, e->output_hits->action);
	record_exchange(e, rc == E_TIMEOUT ? RECORD_TIMEOUT : RECORD_TRUNCATED, 200);
	end_answer(e);
}

/* A part of whole, in a copy of it. */
static struct slice moved(struct slice part, struct slice whole, const char *copy)
{
	bool inside = part.p && part.p >= whole.p && part.p + part.n <= whole.p + whole.n;

	return inside ? (struct slice){copy + (part.p - whole.p), part.n} : part;
}

/* What came without the blank line that ends an event; it leaves with one, since more follows. */
static int feed_rest(struct exchange *e)
{
	struct sse_event block;
	struct slice line;
	struct buf raw;
	int rc;

	if (exchange_served_by(e)->target->protocol->framing == FRAMING_NDJSON)
		return ndjson_finish(&e->stream->ndjson, &line) == 1 ? decode_block(e, line, line) : 0;
	if (sse_finish(&e->stream->sse, &block) != 1)
		return 0;
	buf_init(&raw, STREAM_EVENT_MAX + 2);
	buf_add(&raw, block.raw);
	buf_adds(&raw, "\n\n");
	rc = decode_block(e, moved(block.data, block.raw, raw.p), buf_slice(&raw));
	buf_release(&raw);
	return rc;
}

void stream_finish(struct exchange *e, int rc)
{
	struct stream *s = e->stream;

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
		truncated(e, rc);
		return;
	}
	e->error_status = rc == E_TIMEOUT ? 504 : 502;
	attempt_failed(e, rc == E_TIMEOUT ? CALL_TIMEOUT : CALL_FAILED,
		       e->call.err.text[0] ? e->call.err.text : "it closed the stream before its end");
	exchange_run(e);
}

/* --- a whole answer for a caller that asked for a stream --- */

enum next stream_whole(struct exchange *e, const struct chat_answer *answer)
{
	struct chat_event events[] = {
		{.type = CHAT_EVENT_TEXT, .text = answer->text},
		{.type = CHAT_EVENT_FINISH,
		 .finish = answer->finish ? answer->finish : CHAT_FINISH_STOP,
		 .usage = answer->usage},
		{.type = CHAT_EVENT_USAGE, .usage = answer->usage},
		{.type = CHAT_EVENT_END},
	};

	if (answer->tool_calls.n && e->dropped.n < DROPPED_MAX)
		e->dropped.name[e->dropped.n++] = SLICE_LIT("tool_calls");
	if (e->stream)
		stream_release(e);
	e->stream = stream_new(e);
	e->stream->out.max = WHOLE_MAX;
	for (size_t i = 0; i < COUNT_OF(events); i++) {
		if (events[i].type == CHAT_EVENT_USAGE && !e->request.include_usage)
			continue;
		stream_encode(e, &events[i]);
	}
	e->stream->ended = true;
	end_answer(e);
	return FINISHED;
}
