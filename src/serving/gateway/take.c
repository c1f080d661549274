/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes of a streamed answer: events go to the guardrails by the channel that their text belongs to, the exchange
 * learns from them how the answer stands, and they wait (hold.c) until they may leave.
 *
 * What would break it: text that a channel was fed and that is in no event, or the other way round.
 */
#include "serving/gateway/exchange.h"

#include <stdlib.h>

#include "serving/gateway/resume.h"

#define ANSWER_ID_MAX 256

struct channel *take_add_channel(struct stream *s, unsigned id)
{
	struct channel *c;

	if (s->n_channels == CHANNELS_MAX)
		return NULL;
	if (s->n_channels <= 1 || s->n_channels % 4 == 0) { /* most have one; then grown by four */
		size_t n = s->n_channels ? s->n_channels / 4 * 4 + 4 : 1;

		c = realloc(s->channel, n * sizeof(*c));
		if (!c)
			abort();
		s->channel = c;
	}
	c = &s->channel[s->n_channels++];
	*c = (struct channel){.id = id};
	return c;
}

/* Where a channel of the codec is kept; NULL when there are too many. */
static struct channel *channel_of(struct stream *s, unsigned id)
{
	for (size_t i = 0; i < s->n_channels; i++)
		if (s->channel[i].id == id)
			return &s->channel[i];
	return take_add_channel(s, id);
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

/* What is found in the next piece goes behind what was found before and has not left. */
static struct guard_result *recall_hits(const struct exchange *e, const struct channel *c)
{
	struct guard_result *r = &e->g->found;

	guard_result_init(r);
	if (c->hits.n_hits)
		memcpy(r->hit, c->hits.hit, c->hits.n_hits * sizeof(*r->hit));
	r->n_hits = c->hits.n_hits;
	return r;
}

/* The exchange notes new hits; those whose text has left are forgotten here, so that a long answer can have any number.
 */
static void note_hits(struct exchange *e, struct channel *c, struct guard_result *r)
{
	struct arena *a = &e->http->arena;
	struct hit_list *all = e->output_hits;
	size_t kept = 0;

	for (size_t i = c->hits.n_hits; i < r->n_hits; i++) {
		r->hit[i].start += c->base;
		r->hit[i].end += c->base;
		all->overflow |= !hits_add(a, all, r->hit[i]);
	}
	if (r->failed && !all->failed)
		counter_add(&e->g->stats.guard_failures, 1);
	all->failed |= r->failed;
	if (r->action > all->action)
		all->action = r->action;
	c->hits.overflow |= r->overflow;
	for (size_t i = 0; i < r->n_hits; i++)
		if (r->hit[i].end > c->left)
			keep_hit(r, &kept, r->hit[i]);
	if (hits_set(a, &c->hits, r->hit, kept))
		return;
	all->failed = true; /* what is to be masked is not known any more */
	all->action = GUARD_BLOCK;
	c->safe = c->left;
}

static int open_guard(struct exchange *e, struct channel *c)
{
	c->guard = guard_stream_new(e->policy, e->g->scratch, GUARD_OUTPUT);
	if (!c->guard)
		return err_set(http_call_err(&e->call), E_TOOBIG, "its answer is too large to be judged");
	c->base = c->fed;
	return 0;
}

static void judge_text(struct exchange *e, struct channel *c, struct slice text)
{
	struct guard_result *r = recall_hits(e, c);
	uint64_t safe = 0;

	guard_stream_feed(c->guard, text, r, &safe);
	c->safe = c->base + safe;
	note_hits(e, c, r);
}

bool take_waits(const struct exchange *e)
{
	return e->g->unjudged.n > 0;
}

bool take_goes_on(const struct exchange *e, const struct chat_events *events)
{
	const struct channel *c = &e->stream->channel[e->g->unjudged_channel];

	return events->n == 1 && events->e[0].type == CHAT_EVENT_TEXT && events->e[0].channel == c->id;
}

void take_judge(struct exchange *e)
{
	struct gateway *g = e->g;

	if (!take_waits(e))
		return;
	judge_text(e, &e->stream->channel[g->unjudged_channel], buf_slice(&g->unjudged));
	buf_clear(&g->unjudged);
}

/* A channel that is over: all of it is decided.  Should it go on, that is another text. */
static void close_channel(struct exchange *e, struct channel *c)
{
	struct guard_result *r;
	uint64_t safe = 0;

	take_judge(e);
	if (!c) /* too many: it has no text, or that would have failed */
		return;
	if (!c->guard) {
		c->safe = c->fed;
		return;
	}
	r = recall_hits(e, c);
	guard_stream_end(c->guard, r, &safe);
	c->safe = c->base + safe;
	note_hits(e, c, r);
	if (c->safe < c->fed)
		return; /* what must not leave stays in front of whatever follows */
	guard_stream_free(c->guard);
	c->guard = NULL;
}

static int take_text(struct exchange *e, struct channel *c, struct slice text)
{
	size_t place = (size_t)(c - e->stream->channel);

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
	if (place != e->g->unjudged_channel || e->g->unjudged.n + text.n > e->g->unjudged.max)
		take_judge(e);
	e->g->unjudged_channel = place;
	if (buf_add(&e->g->unjudged, text)) { /* it is too long to wait */
		buf_clear(&e->g->unjudged);
		judge_text(e, c, text);
	}
	return 0;
}

/* Whether it is neither text nor something that stands around it. */
static bool is_beyond_text(const struct chat_event *event)
{
	return event->type == CHAT_EVENT_REASONING || event->type == CHAT_EVENT_REFUSAL ||
	       event->type == CHAT_EVENT_TOOL_START || event->type == CHAT_EVENT_TOOL_ARGS ||
	       (event->type == CHAT_EVENT_OTHER && event->text.n);
}

static void take_start(struct exchange *e, const struct chat_event *event)
{
	struct stream *s = e->stream;

	if (s->id.n || s->model.n || event->id.n > ANSWER_ID_MAX || resume_is_on(e))
		return;
	s->id = arena_slice(&e->http->arena, event->id);
	if (!s->same_protocol) /* the caller sees our name for it */
		return;
	s->model = arena_slice(&e->http->arena, event->name);
	s->created_s = event->created_s;
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
		return err_set(http_call_err(&e->call), E_IO, "the model gave up: " SLICE_FMT,
			       (int)min_size(event->text.n, 300), event->text.p ? event->text.p : "");
	if (event->type == CHAT_EVENT_FINISH) {
		s->finish_seen = true;
		if (!s->finish_ms)
			s->finish_ms = loop_now_ms(e->g->loop);
		if (event->finish)
			e->answer.finish = event->finish;
		if (event->stop_sequence.n)
			e->answer.stop_sequence = arena_slice(&e->http->arena, event->stop_sequence);
	}
	if (event->type == CHAT_EVENT_START)
		take_start(e, event);
	s->beyond_text |= is_beyond_text(event) && resume_carries(e, event);
	s->text_over |= event->type == CHAT_EVENT_PART_END && event->channel == CHAT_CHANNEL_TEXT;
	if (event->usage.known)
		e->answer.usage = event->usage;
	s->has_answer |= is_answer(event->type);
	if (event->type == CHAT_EVENT_END && !s->has_answer)
		return err_set(http_call_err(&e->call), E_INVALID, "it ended its stream with nothing in it");
	s->ended |= event->type == CHAT_EVENT_END;
	return 0;
}

/* The text of an event into its channel; *ret says where. */
static int place_text(struct exchange *e, const struct chat_event *event, struct hold_place *ret)
{
	struct channel *c = channel_of(e->stream, event->channel);

	if (!c)
		return err_set(http_call_err(&e->call), E_TOOBIG, "its answer interleaves more than %d texts",
			       CHANNELS_MAX);
	*ret = (struct hold_place){event, (unsigned)(c - e->stream->channel), c->fed};
	return take_text(e, c, event->text);
}

/* Where the answer is judged, tokens that repeat all of it do not leave: an empty list and spaces take their place. */
static int blank_tokens(struct exchange *e, const struct chat_events *events, struct slice *raw)
{
	static const struct slice blank = {"[]", 2};
	struct slice tokens = {NULL, 0};
	char *copy, *at;

	for (size_t i = 0; i < events->n; i++)
		if (events->e[i].type == CHAT_EVENT_FINISH)
			tokens = events->e[i].logprobs_raw;
	if (!e->output_hits || tokens.n < blank.n)
		return 0;
	copy = arena_strndup(&e->g->turn, raw->p, raw->n);
	if (!copy)
		return err_set(http_call_err(&e->call), E_TOOBIG, "an event of its answer holds too much");
	for (size_t i = 0; i < events->n; i++) {
		events->e[i].text_raw = slice_moved(events->e[i].text_raw, *raw, copy);
		events->e[i].logprobs_raw = slice_moved(events->e[i].logprobs_raw, *raw, copy);
	}
	at = copy + (tokens.p - raw->p);
	memset(at, ' ', tokens.n);
	memcpy(at, blank.p, blank.n);
	raw->p = copy;
	return 0;
}

/* A payload that leaves as it came. */
static int take_payload(struct exchange *e, const struct chat_events *events, struct slice raw)
{
	struct stream *s = e->stream;
	struct hold_place *at = ARENA_ARRAY(&e->g->turn, struct hold_place, events->n + 1);
	size_t n = 0;
	int rc = blank_tokens(e, events, &raw);

	if (!at)
		return err_set(http_call_err(&e->call), E_TOOBIG, "an event of its answer holds too much");
	for (size_t i = 0; i < events->n && !rc; i++) /* first: of a payload with an error in it nothing leaves */
		rc = take_result(e, &events->e[i]);
	for (size_t i = 0; i < events->n && !rc; i++) {
		const struct chat_event *event = &events->e[i];

		if (event->text.n && event->text_raw.p)
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

bool take_is_carried(const struct exchange *e, const struct chat_event *event)
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

static int take_carried(struct exchange *e, const struct chat_event *event)
{
	struct hold_place at;
	int rc;

	if (event->type == CHAT_EVENT_PART_END && !(e->front->joins_texts && event->channel == CHAT_CHANNEL_TEXT))
		close_channel(e, channel_of(e->stream, event->channel));
	if (event->type == CHAT_EVENT_TOOL_START && e->first_token_ms < 0)
		e->first_token_ms = loop_now_ms(e->g->loop) - e->start_ms;
	if (!event->text.n)
		return hold_event(e, event, NULL);
	rc = place_text(e, event, &at);
	return rc ? rc : hold_event(e, event, &at);
}

/* Text of a model that goes on with another's: what of it is new. */
static int take_continued(struct exchange *e, const struct chat_event *event)
{
	struct seam *seam = &e->stream->seam;
	bool is_text = event->type == CHAT_EVENT_TEXT;
	struct chat_event part = *event;
	struct seam_text text = {{NULL, 0}, event->text};
	int rc = 0;

	if (is_text)
		text = seam_take(seam, event->text);
	else
		text.held = seam_end(seam); /* before whatever this is */
	part.type = CHAT_EVENT_TEXT;
	part.channel = CHAT_CHANNEL_TEXT;
	part.text = text.held;
	if (part.text.n)
		rc = take_carried(e, &part);
	part = *event;
	part.text = text.text;
	return rc || (is_text && !part.text.n) ? rc : take_carried(e, &part);
}

int take_event(struct exchange *e, const struct chat_event *event)
{
	int rc = take_result(e, event);

	if (rc || !take_is_carried(e, event))
		return rc;
	if (!resume_is_on(e))
		return take_carried(e, event);
	return resume_carries(e, event) ? take_continued(e, event) : 0;
}

int take_events(struct exchange *e, const struct chat_events *events, struct slice raw)
{
	static const struct chat_event finish = {.type = CHAT_EVENT_FINISH, .finish = CHAT_FINISH_STOP};
	int rc = 0;

	if (e->stream->same_protocol)
		return take_payload(e, events, raw);
	for (size_t i = 0; i < events->n && !rc; i++) {
		if (events->e[i].type == CHAT_EVENT_END && !e->stream->finish_seen &&
		    e->stream->has_answer) /* it ends, and does not say why */
			rc = take_event(e, &finish);
		if (!rc)
			rc = take_event(e, &events->e[i]);
	}
	return rc;
}

void take_end(struct exchange *e)
{
	for (size_t i = 0; i < e->stream->n_channels; i++)
		close_channel(e, &e->stream->channel[i]);
}
