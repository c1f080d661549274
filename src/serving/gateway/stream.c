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
/* A whole answer as a stream, or at the end of one: escapes can make it six times as long. */
#define WHOLE_MAX ((size_t)128 * 1024 * 1024)
#define ANSWER_ID_MAX 256
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
	for (size_t i = 0; i < s->n_channels; i++)
		guard_stream_free(s->channel[i].guard);
	free(s->channel);
	encode_state_release(&s->encode);
	sse_release(&s->sse);
	ndjson_release(&s->ndjson);
	buf_release(&s->held);
	buf_release(&s->out);
	buf_release(&s->text);
	free(s);
	e->stream = NULL;
}

static void on_flush_timer(void *arg);

static struct channel *add_channel(struct stream *s, unsigned id)
{
	struct channel *c;

	if (s->n_channels == CHANNELS_MAX)
		return NULL;
	if (s->n_channels % 4 == 0) { /* grown by four */
		c = realloc(s->channel, (s->n_channels + 4) * sizeof(*c));
		if (!c)
			abort();
		s->channel = c;
	}
	c = &s->channel[s->n_channels++];
	*c = (struct channel){.id = id};
	return c;
}

static struct stream *stream_new(struct exchange *e)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	sse_init(&s->sse, STREAM_EVENT_MAX);
	ndjson_init(&s->ndjson, STREAM_EVENT_MAX);
	buf_init(&s->held, HELD_MAX);
	buf_init(&s->out, e->front->repeats ? WHOLE_MAX : OUT_MAX);
	buf_init(&s->text, LOG_TEXT_MAX);
	timer_init(&s->flush, on_flush_timer, e);
	add_channel(s, 0);
	return s;
}

int stream_begin(struct exchange *e)
{
	const struct protocol *back = e->back;

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
	}
	respond_write(e, buf_slice(&s->out));
	buf_clear(&s->out);
	if (e->call_active && http_pending(e->http) > HTTP_SEND_MARK)
		http_call_pause(&e->call);
}

void stream_encode(struct exchange *e, const struct chat_event *event)
{
	struct chat_event whole = *event;
	struct answer_meta m;

	respond_meta(e, &m);
	if (e->stream->id.n) /* what we add to a stream belongs to it */
		m.answer_id = e->stream->id;
	if (event->type == CHAT_EVENT_END) { /* some protocols tell there how it all went */
		exchange_complete_usage(e, (size_t)e->stream->channel[0].fed);
		whole.finish = e->answer.finish ? e->answer.finish : CHAT_FINISH_STOP;
		whole.stop_sequence = e->answer.stop_sequence;
		whole.usage = e->answer.usage;
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

	respond_meta(e, &m);
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

/* --- what comes --- */

/* Where a channel of the codec is kept; NULL when there are too many. */
static struct channel *channel_of(struct stream *s, unsigned id)
{
	for (size_t i = 0; i < s->n_channels; i++)
		if (s->channel[i].id == id)
			return &s->channel[i];
	return add_channel(s, id);
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
		r->hit[c->n_told].start += c->base;
		r->hit[c->n_told].end += c->base;
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

static int open_guard(struct exchange *e, struct channel *c)
{
	if (!c->hits) {
		c->hits = arena_alloc(&e->http->arena, sizeof(*c->hits));
		if (c->hits)
			guard_result_init(c->hits);
	}
	c->guard = guard_stream_new(e->policy, e->g->scratch, GUARD_OUTPUT);
	if (!c->hits || !c->guard)
		return err_set(&e->call.err, E_TOOBIG, "its answer is too large to be judged");
	c->base = c->fed;
	return 0;
}

/* A channel that is over: all of it is decided.  Should it go on, that is another text. */
static void close_channel(struct exchange *e, struct channel *c)
{
	uint64_t safe = 0;

	if (!c) /* too many: it has no text, or that would have failed */
		return;
	if (!c->guard) {
		c->safe = c->fed;
		return;
	}
	guard_stream_end(c->guard, c->hits, &safe);
	c->safe = c->base + safe;
	note_hits(e, c);
	if (c->safe < c->fed)
		return; /* what must not leave stays in front of whatever follows */
	guard_stream_free(c->guard);
	c->guard = NULL;
}

static int take_text(struct exchange *e, struct channel *c, struct slice text)
{
	uint64_t safe = 0;

	if (!text.n)
		return 0;
	if (e->first_token_ms < 0)
		e->first_token_ms = loop_now_ms(e->g->loop) - e->start_ms;
	if (!e->output_hits) {
		c->fed += text.n;
		c->safe = c->fed;
		return 0;
	}
	if (!c->guard && open_guard(e, c))
		return E_TOOBIG;
	c->fed += text.n;
	guard_stream_feed(c->guard, text, c->hits, &safe);
	c->safe = c->base + safe;
	note_hits(e, c);
	return 0;
}

static bool is_answer(enum chat_event_type type)
{
	return type != CHAT_EVENT_NONE && type != CHAT_EVENT_START && type != CHAT_EVENT_PART_START &&
	       type != CHAT_EVENT_PART_END && type != CHAT_EVENT_USAGE && type != CHAT_EVENT_END;
}

/* What the exchange learns from an event.  An error: the upstream gave up. */
static int take_result(struct exchange *e, const struct chat_event *event)
{
	struct stream *s = e->stream;

	if (event->type == CHAT_EVENT_ERROR)
		return err_set(&e->call.err, E_IO, "the model gave up: " SLICE_FMT, (int)min_size(event->text.n, 300),
			       event->text.p ? event->text.p : "");
	if (event->type == CHAT_EVENT_FINISH) {
		s->finish_seen = true;
		if (!s->finish_ms)
			s->finish_ms = loop_now_ms(e->g->loop);
		if (event->finish)
			e->answer.finish = event->finish;
		if (event->stop_sequence.n)
			e->answer.stop_sequence = arena_slice(&e->http->arena, event->stop_sequence);
	}
	if (event->type == CHAT_EVENT_START && !s->id.n && event->id.n <= ANSWER_ID_MAX)
		s->id = arena_slice(&e->http->arena, event->id);
	if (event->usage.known)
		e->answer.usage = event->usage;
	s->has_answer |= is_answer(event->type);
	if (event->type == CHAT_EVENT_END && !s->has_answer)
		return err_set(&e->call.err, E_INVALID, "it ended its stream with nothing in it");
	s->ended |= event->type == CHAT_EVENT_END;
	return 0;
}

/* The text of an event into its channel; *ret says where. */
static int place_text(struct exchange *e, const struct chat_event *event, struct hold_place *ret)
{
	struct channel *c = channel_of(e->stream, event->channel);

	if (!c)
		return err_set(&e->call.err, E_TOOBIG, "its answer interleaves more than %d texts", CHANNELS_MAX);
	*ret = (struct hold_place){event, (unsigned)(c - e->stream->channel), c->fed};
	return take_text(e, c, event->text);
}

/* A payload that leaves as it came. */
static int take_payload(struct exchange *e, const struct chat_events *events, struct slice raw)
{
	struct stream *s = e->stream;
	struct hold_place *at = ARENA_ARRAY(&e->g->turn, struct hold_place, events->n + 1);
	size_t n = 0;
	int rc = 0;

	if (!at)
		return err_set(&e->call.err, E_TOOBIG, "an event of its answer holds too much");
	for (size_t i = 0; i < events->n && !rc; i++) {
		const struct chat_event *event = &events->e[i];

		rc = take_result(e, event);
		if (!rc && event->text.n && event->text_raw.p)
			rc = place_text(e, event, &at[n++]);
		if (!rc && event->type == CHAT_EVENT_PART_END && e->front->ordered)
			close_channel(e, channel_of(s, event->channel));
	}
	if (rc || (s->usage_injected && events->n == 1 && events->e[0].type == CHAT_EVENT_USAGE))
		return rc;
	if (!e->output_hits && !s->held.n) { /* nobody judges it, and nothing is before it */
		hold_pass(e, events, raw, at, n);
		return 0;
	}
	return hold_payload(e, events, raw, at, n);
}

/* Whether a caller of another protocol gets this event. */
static bool is_carried(const struct exchange *e, const struct chat_event *event)
{
	unsigned parts = e->front->answer_parts;

	switch (event->type) {
	case CHAT_EVENT_NONE:
	case CHAT_EVENT_START:
	case CHAT_EVENT_PART_START:
	case CHAT_EVENT_OTHER:
	case CHAT_EVENT_USAGE: /* told at the end */
	case CHAT_EVENT_ERROR:
		return false;
	case CHAT_EVENT_TEXT:
		return parts & 1u << CHAT_PART_TEXT;
	case CHAT_EVENT_REASONING:
		return parts & 1u << CHAT_PART_REASONING;
	case CHAT_EVENT_REFUSAL:
		return parts & 1u << CHAT_PART_REFUSAL;
	case CHAT_EVENT_TOOL_START:
	case CHAT_EVENT_TOOL_ARGS:
		return parts & 1u << CHAT_PART_TOOL_CALL;
	case CHAT_EVENT_PART_END:
	case CHAT_EVENT_FINISH:
	case CHAT_EVENT_END:
		break;
	}
	return true;
}

static int take_event(struct exchange *e, const struct chat_event *event)
{
	struct hold_place at;
	int rc = take_result(e, event);

	if (rc || !is_carried(e, event))
		return rc;
	if (event->type == CHAT_EVENT_PART_END)
		close_channel(e, channel_of(e->stream, event->channel));
	if (event->type == CHAT_EVENT_TOOL_START && e->first_token_ms < 0)
		e->first_token_ms = loop_now_ms(e->g->loop) - e->start_ms;
	if (!event->text.n)
		return hold_event(e, event, NULL);
	rc = place_text(e, event, &at);
	return rc ? rc : hold_event(e, event, &at);
}

static int take_events(struct exchange *e, const struct chat_events *events, struct slice raw)
{
	int rc = 0;

	if (e->stream->same_protocol)
		return take_payload(e, events, raw);
	for (size_t i = 0; i < events->n && !rc; i++)
		rc = take_event(e, &events->e[i]);
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
	s->text_cut = false;
	s->id = (struct slice){0};
	encode_state_release(&s->encode);
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
	for (size_t i = 0; i < e->stream->n_channels; i++)
		if (e->stream->channel[i].hits && e->stream->channel[i].hits->overflow && r->action == GUARD_MASK)
			return true;
	return r->action >= GUARD_FALLBACK;
}

static int decode_block(struct exchange *e, struct slice payload, struct slice raw)
{
	const struct protocol *back = e->back;
	struct chat_events events = {0};
	int rc;

	arena_reset(&e->g->turn);
	if (payload.p) {
		rc = protocol_decode_event(back, &e->stream->decode, &e->stream->repeat,
					   &(struct event_source){payload, &e->g->turn, &e->http->arena, e->g->json},
					   &events, &e->call.err);
		if (rc)
			return rc;
	}
	rc = take_events(e, &events, raw);
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
	for (size_t i = 0; i < e->stream->n_channels; i++)
		close_channel(e, &e->stream->channel[i]);
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
	back = e->back;
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
	e->broke_off = true;
	encode_failure(e, &error);
	counter_add(&e->g->stats.upstream_errors, 1);
	failover_settle(e, failover_deadline_passed(e) ? OUTCOME_DEADLINE : OUTCOME_FAULT);
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

/* What came without the end of an event, or of a line; it leaves with one, since more may follow. */
static int feed_rest(struct exchange *e)
{
	bool lines = e->back->framing == FRAMING_NDJSON;
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
	attempt_failed(e, rc == E_TIMEOUT ? OUTCOME_SILENT : OUTCOME_FAULT,
		       e->call.err.text[0] ? e->call.err.text : "it closed the stream before its end");
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
		if (is_carried(e, &events.e[i]))
			stream_encode(e, &events.e[i]);
	e->stream->ended = true;
	end_answer(e);
	return FINISHED;
}
