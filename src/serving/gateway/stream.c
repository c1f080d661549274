/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streamed answers.  Events are cut from what the upstream sends, their texts are fed to the guardrails, and an event
 * leaves when every byte of its text is decided: events that are not wait in `held`, in order.  An event that stays
 * undecided for SPLIT_MS is split: the part that is decided leaves, in an event of its own.  Nothing has been sent to
 * the caller before the first event leaves: until then another model can still take over.
 *
 * What would break it: sending from `held` past a channel's `safe`, or ending a stream as if it were complete when the
 * upstream did not say so.
 */
#include "serving/gateway/exchange.h"

#include <stdlib.h>

#include "core/base/utf8.h"

#define EVENT_MAX (1024u * 1024)
#define HELD_MAX (4u * 1024 * 1024)
#define OUT_MAX (8u * 1024 * 1024)
#define SPLIT_MS 40
/* After the terminator the upstream has this long to end its answer, so that the connection can be used again. */
#define LINGER_MS 24
/* After finish_reason the terminator may take this long: some servers never send it. */
#define FINISH_WAIT_MS 2000

/* One waiting event: this, then its bytes (same protocol) and its text. */
struct held {
	struct chat_event event; /* slices are not valid: they are rebuilt from the offsets */
	unsigned channel;	 /* index into the stream's */
	uint64_t start, end;	 /* of its text in its channel */
	size_t n_bytes, n_text;
	size_t raw_offset, n_raw;	    /* of the text's token in its bytes */
	size_t logprobs_offset, n_logprobs; /* they repeat the text */
	bool split;			    /* part of its text has left */
	size_t size;			    /* of the whole entry: stays when the text is split */
};

void stream_release(struct exchange *e)
{
	struct stream *s = e->stream;

	if (!s)
		return;
	timer_cancel(e->g->loop, &s->flush);
	for (size_t i = 0; i < CHANNELS_MAX; i++)
		guard_stream_free(s->channel[i].guard);
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
	sse_init(&s->sse, EVENT_MAX);
	ndjson_init(&s->ndjson, EVENT_MAX);
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

	if (!s->out.n)
		return;
	if (!s->begun) {
		s->begun = true;
		http_stream_begin(e->http, 200, h, respond_headers(e, h, slice_from(e->front->stream_type)));
	}
	http_stream_write(e->http, &piece, 1);
	buf_clear(&s->out);
	if (e->call_active && http_pending(e->http) > HTTP_SEND_MARK)
		http_call_pause(&e->call);
}

static void encode(struct exchange *e, const struct chat_event *event)
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

/* The part of a channel's text that begins at start, as it may leave: mask hits replaced. */
static int masked_part(struct exchange *e, const struct guard_result *r, struct slice text, uint64_t start,
		       struct buf *out)
{
	uint64_t at = start, end = start + text.n;

	for (size_t i = 0; i < r->n_hits && at < end; i++) {
		const struct guard_hit *hit = &r->hit[i];
		struct guard_rule_info rule = guard_rule(e->policy, hit->rule);

		if (rule.action != GUARD_MASK || hit->end <= at || hit->start >= end)
			continue;
		if (hit->start > at)
			buf_append(out, text.p + (at - start), (size_t)(hit->start - at));
		if (hit->start >= at && hit->start >= start)
			buf_add(out, rule.mask);
		at = hit->end;
	}
	if (at < end)
		buf_append(out, text.p + (at - start), (size_t)(end - at));
	return buf_failed(out) ? E_TOOBIG : 0;
}

static bool has_mask_in(const struct exchange *e, uint64_t start, uint64_t end, const struct guard_result *r)
{
	if (!r)
		return false;
	for (size_t i = 0; i < r->n_hits; i++)
		if (guard_rule(e->policy, r->hit[i].rule).action == GUARD_MASK && r->hit[i].start < end &&
		    r->hit[i].end > start)
			return true;
	return false;
}

/* The event's own bytes with another text in them. An event whose text has no single place cannot be mended: it is left
 * out. */
static void splice_event(struct exchange *e, const struct held *h, struct slice text)
{
	const char *bytes = (const char *)(h + 1);
	struct splice splices[2];
	struct buf json;

	if (!h->n_raw)
		return;
	buf_init_arena(&json, &e->g->turn, EVENT_MAX * 4);
	buf_addc(&json, '"');
	json_escape(&json, text);
	buf_addc(&json, '"');
	splices[0] = (struct splice){{bytes + h->raw_offset, h->n_raw}, buf_slice(&json)};
	splices[1] =
		(struct splice){{h->n_logprobs ? bytes + h->logprobs_offset : NULL, h->n_logprobs}, SLICE_LIT("null")};
	protocol_splice(&e->stream->out, (struct slice){bytes, h->n_bytes}, splices, COUNT_OF(splices));
}

/* Puts one event, or the first n bytes of its text, into `out`. */
static void release_event(struct exchange *e, const struct held *h, size_t n)
{
	struct stream *s = e->stream;
	const char *bytes = (const char *)(h + 1);
	struct slice text = {bytes + h->n_bytes, n};
	struct chat_event event = h->event;
	struct channel *c = &s->channel[h->channel];
	struct buf masked;
	bool changed = h->split || n < h->n_text;

	buf_init_arena(&masked, &e->g->turn, EVENT_MAX * 2);
	if (has_mask_in(e, h->start, h->start + n, c->hits)) {
		masked_part(e, c->hits, text, h->start, &masked);
		text = masked.n ? buf_slice(&masked) : SLICE_LIT("");
		changed = true;
	}
	if (n)
		c->left = h->start + n;
	if (!s->same_protocol) {
		event.text = text;
		encode(e, &event);
		return;
	}
	s->first_sent = true;
	if (changed)
		splice_event(e, h, text);
	else
		buf_append(&s->out, bytes, h->n_bytes);
}

static void drop_first(struct stream *s, const struct held *h)
{
	buf_consume(&s->held, h->size);
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

	while (s->held.n) {
		struct held *h = (struct held *)(void *)s->held.p;

		if (h->n_text && h->end > s->channel[h->channel].safe)
			break;
		release_event(e, h, h->n_text);
		drop_first(s, h);
	}
	if (s->held.n && !timer_is_set(&s->flush))
		timer_set(e->g->loop, &s->flush, SPLIT_MS);
	else if (!s->held.n && lacks_only_its_end(e))
		timer_set(e->g->loop, &s->flush, FINISH_WAIT_MS);
	else if (!s->held.n && !s->ended)
		timer_cancel(e->g->loop, &s->flush);
}

/* The decided part of the first event that waits leaves in an event of its own. */
static void split_first(struct exchange *e)
{
	struct stream *s = e->stream;
	struct held *h = (struct held *)(void *)s->held.p;
	char *text;
	size_t n;

	if (!s->held.n || h->event.type != CHAT_EVENT_TEXT || h->event.finish ||
	    s->channel[h->channel].safe <= h->start)
		return;
	n = (size_t)(s->channel[h->channel].safe - h->start);
	text = (char *)(h + 1) + h->n_bytes;
	if (n >= h->n_text)
		return;
	n -= utf8_partial_tail((struct slice){text, n});
	if (!n)
		return;
	release_event(e, h, n);
	h->split = true;
	h->start += n;
	memmove(text, text + n, h->n_text - n);
	h->n_text -= n;
}

/* --- what comes --- */

/* Where an event's text stands. */
struct place {
	unsigned channel;
	uint64_t start;
};

/* The offset of a part within whole; *ret_n is 0 when it is none of it. */
static size_t offset_in(struct slice whole, struct slice part, size_t *ret_n)
{
	bool inside = part.p && part.p >= whole.p && part.p + part.n <= whole.p + whole.n;

	*ret_n = inside ? part.n : 0;
	return inside ? (size_t)(part.p - whole.p) : 0;
}

static int hold(struct exchange *e, const struct chat_event *event, struct slice raw, struct place at)
{
	struct stream *s = e->stream;
	struct held h = {.event = *event,
			 .channel = at.channel,
			 .start = at.start,
			 .end = at.start + event->text.n,
			 .n_text = event->text.n};
	char *p;

	if (s->same_protocol) {
		h.n_bytes = raw.n;
		h.raw_offset = offset_in(raw, event->text_raw, &h.n_raw);
		h.logprobs_offset = offset_in(raw, event->logprobs_raw, &h.n_logprobs);
	}
	h.size = (sizeof(h) + h.n_bytes + h.n_text + 15) & ~(size_t)15;
	p = buf_reserve(&s->held, h.size);
	if (!p)
		return err_set(&e->call.err, E_TOOBIG, "more than %u bytes of its answer wait for the guardrails",
			       HELD_MAX);
	memcpy(p, &h, sizeof(h));
	if (h.n_bytes)
		memcpy(p + sizeof(h), raw.p, h.n_bytes);
	if (h.n_text)
		memcpy(p + sizeof(h) + h.n_bytes, event->text.p, h.n_text);
	s->held.n += h.size;
	return 0;
}

static void keep_text(struct exchange *e, const struct chat_event *event)
{
	struct stream *s = e->stream;

	if (e->first_token_ms < 0 && event->text.n)
		e->first_token_ms = loop_now_ms(e->g->loop) - e->start_ms;
	if (event->channel || e->log == LOG_NONE || e->log == LOG_METADATA || s->text_cut)
		return;
	if (buf_add(&s->text, event->text))
		s->text_cut = true;
}

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
			r->hit[kept++] = r->hit[i];
	r->n_hits = c->n_told = kept;
}

static int open_guard(struct exchange *e, struct channel *c)
{
	c->hits = arena_alloc(&e->http->arena, sizeof(*c->hits));
	c->guard = guard_stream_new(e->policy, e->g->scratch, GUARD_OUTPUT);
	if (!c->hits || !c->guard)
		return err_set(&e->call.err, E_TOOBIG, "its answer is too large to be judged");
	guard_result_init(c->hits);
	return 0;
}

/* Texts that stand beside the first one in one event are judged whole, each by itself. */
static void judge_others(struct exchange *e, const struct chat_event *event)
{
	struct guard_result r;

	for (size_t i = 0; i < event->n_judged; i++) {
		if (event->judged[i].raw.p && event->judged[i].raw.p == event->text_raw.p)
			continue;
		guard_result_init(&r);
		guard_check(e->policy, e->g->scratch, GUARD_OUTPUT, event->judged[i].text, &r);
		/* They cannot be mended one by one. */
		if (r.action == GUARD_MASK)
			r.action = GUARD_BLOCK;
		if (r.action > e->output_hits->action)
			e->output_hits->action = r.action;
		for (size_t k = 0; k < r.n_hits && e->output_hits->n_hits < GUARD_MAX_HITS; k++)
			e->output_hits->hit[e->output_hits->n_hits++] = r.hit[k];
	}
}

static int judge_event(struct exchange *e, struct channel *c, const struct chat_event *event)
{
	if (!c->guard) {
		int rc = open_guard(e, c);

		if (rc)
			return rc;
	}
	guard_stream_feed(c->guard, event->text, c->hits, &c->safe);
	note_hits(e, c);
	if (event->n_judged > 1)
		judge_others(e, event);
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

static int take_text(struct exchange *e, struct channel *c, const struct chat_event *event)
{
	int rc = 0;

	if (!event->text.n)
		return 0;
	keep_text(e, event);
	c->fed += event->text.n;
	if (e->output_hits)
		rc = judge_event(e, c, event);
	else
		c->safe = c->fed;
	return rc;
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
		rc = hold(e, event, raw, (struct place){(unsigned)(c - s->channel), start});
	if (!rc && event->end && event->type != CHAT_EVENT_END && !s->same_protocol)
		rc = hold(e, &end, (struct slice){0}, (struct place){0});
	return rc;
}

/* Whether the caller has, or is about to get, some of the answer: more than a role. */
static bool any_text_left(const struct stream *s)
{
	for (size_t i = 0; i < CHANNELS_MAX; i++)
		if (s->channel[i].left)
			return true;
	return false;
}

/* Guardrails ended the stream: what is decided leaves, then an honest end. */
static void stop_stream(struct exchange *e)
{
	struct stream *s = e->stream;
	struct chat_event finish = {.type = CHAT_EVENT_FINISH, .finish = CHAT_FINISH_CONTENT_FILTER};
	struct chat_event end = {.type = CHAT_EVENT_END};

	release_decided(e);
	split_first(e);
	s->held.n = 0;
	s->stopped = true;
	s->same_protocol = false;
	e->answer.finish = CHAT_FINISH_CONTENT_FILTER;
	if (e->output_hits->action == GUARD_FALLBACK && !any_text_left(s)) {
		struct chat_event text = {.type = CHAT_EVENT_TEXT, .text = answer_fallback_text(e)};

		e->i_candidate = e->n_candidates;
		e->have_answer = true;
		finish.finish = CHAT_FINISH_STOP;
		encode(e, &text);
	}
	encode(e, &finish);
	encode(e, &end);
	snprintf(e->error_text, sizeof(e->error_text), "ended by guardrail rule '" SLICE_FMT "'",
		 SLICE_ARG(exchange_blocking_rule(e, e->output_hits)));
	s->ended = true;
}

static bool must_stop(const struct exchange *e)
{
	const struct guard_result *r = e->output_hits;

	if (!r || e->stream->stopped)
		return false;
	for (size_t i = 0; i < CHANNELS_MAX;
	     i++) /* more matches at once than can be listed: not all could be replaced */
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
	return 0;
}

static int feed_sse(struct exchange *e, struct slice piece)
{
	struct sse_event block;
	int rc;

	while (!e->stream->ended && (rc = sse_next(&e->stream->sse, &piece, &block)) != 0) {
		if (rc < 0)
			return err_set(&e->call.err, rc, "it sent an event longer than %u bytes", EVENT_MAX);
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
			return err_set(&e->call.err, rc, "it sent a line longer than %u bytes", EVENT_MAX);
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
		encode(e, &end);
	e->have_answer = true;
	if (e->output_hits)
		exchange_take_action(e, e->output_hits->action);
	attempt_note(e, s->stopped ? "stopped by guardrails" : "ok");
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
	split_first(e);
	send_out(e);
	if (e->stream->held.n)
		timer_set(e->g->loop, &e->stream->flush, SPLIT_MS);
	else if (lacks_only_its_end(e))
		timer_set(e->g->loop, &e->stream->flush, FINISH_WAIT_MS);
}

int stream_feed(struct exchange *e, struct slice piece)
{
	struct stream *s = e->stream;
	const struct protocol *back = exchange_served_by(e)->target->protocol;
	int rc;

	if (s->ended)
		return 0;
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
	snprintf(e->error_text, sizeof(e->error_text), "%.480s", text);
	finish_channels(e);
	if (must_stop(e)) {
		conclude(e);
		end_answer(e);
		return;
	}
	release_decided(e);
	error.message = slice_from(text);
	e->front->encode_stream_error(&s->out, &error);
	counter_add(&e->g->stats.upstream_errors, 1);
	attempt_note(e, text);
	if (e->output_hits)
		exchange_take_action(e, e->output_hits->action);
	record_exchange(e, rc == E_TIMEOUT ? RECORD_TIMEOUT : RECORD_TRUNCATED, 200);
	end_answer(e);
}

static int feed_rest(struct exchange *e)
{
	struct sse_event block;
	struct slice line;

	if (exchange_served_by(e)->target->protocol->framing == FRAMING_NDJSON)
		return ndjson_finish(&e->stream->ndjson, &line) == 1 ? decode_block(e, line, line) : 0;
	return sse_finish(&e->stream->sse, &block) == 1 ? decode_block(e, block.data, block.raw) : 0;
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
	attempt_failed(e, e->call.err.text[0] ? e->call.err.text : "it closed the stream before its end");
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

	if (e->stream)
		stream_release(e);
	e->stream = stream_new(e);
	for (size_t i = 0; i < COUNT_OF(events); i++) {
		if (events[i].type == CHAT_EVENT_USAGE && !e->request.include_usage)
			continue;
		encode(e, &events[i]);
	}
	e->stream->ended = true;
	end_answer(e);
	return FINISHED;
}
