/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of a streamed answer that wait for the guardrails.  An event leaves when all of its text is decided.  Texts of
 * one channel leave in order, and what ends something (a finish, usage, the terminator) leaves after everything before
 * it; beside that an event may overtake those of other channels, because the last word of a channel that is over
 * (reasoning, before the content begins) stays undecided to the end of the stream.
 *
 * What would break it: sending past a channel's `safe`.
 */
#include "core/base/utf8.h"
#include "serving/gateway/exchange.h"

#define MASKED_MAX ((size_t)2 * STREAM_EVENT_MAX)
#define ESCAPED_MAX ((size_t)4 * STREAM_EVENT_MAX)

/* A text of a waiting event: its copy stands behind the entry's bytes. */
struct held_text {
	unsigned channel; /* index into the stream's */
	enum chat_event_type type;
	uint64_t start, end;		    /* in its channel */
	size_t offset, n;		    /* of the copy, from the entry's beginning */
	size_t raw_offset, n_raw;	    /* of its token in the entry's bytes */
	size_t logprobs_offset, n_logprobs; /* they repeat the text */
};

/* What the log wants of a payload beside its texts: where a call of a tool begins, and arguments that are no text. */
struct held_call {
	bool begins;
	unsigned channel;	  /* as the codec numbers it */
	size_t offset;		  /* of the copies, from the entry's beginning: */
	size_t n_id, n;		  /* of the id, and behind it of the name or the arguments */
	size_t raw_offset, n_raw; /* of the arguments in the entry's bytes */
};

/* One waiting event: this, its texts, its calls, then its bytes (same protocol), then copies of what its slices point
 * to. */
struct held {
	size_t size; /* of the whole entry: stays when the text is split */
	size_t n_texts, n_calls, n_bytes;
	unsigned types; /* same protocol: a bit for each type of event in the payload */
	bool says, ends, may_split;
	bool passes;		 /* it leaves as it came */
	bool split;		 /* part of its text has left */
	struct chat_event event; /* same protocol: the first of the payload, without its slices */
};

static struct held_text *texts_of(struct held *h)
{
	return (struct held_text *)(void *)(h + 1);
}

static struct held_call *calls_of(struct held *h)
{
	return (struct held_call *)(void *)(texts_of(h) + h->n_texts);
}

static char *bytes_of(struct held *h)
{
	return (char *)(calls_of(h) + h->n_calls);
}

/* --- what comes --- */

static bool says_something(const struct chat_event *event)
{
	return event->type != CHAT_EVENT_NONE && event->type != CHAT_EVENT_START &&
	       event->type != CHAT_EVENT_PART_START && event->type != CHAT_EVENT_PART_END &&
	       event->type != CHAT_EVENT_USAGE;
}

static bool ends_something(const struct chat_event *event)
{
	return event->type == CHAT_EVENT_FINISH || event->type == CHAT_EVENT_USAGE || event->type == CHAT_EVENT_END;
}

/* The offset of a part within whole; *ret_n is 0 when it is none of it. */
static size_t offset_in(struct slice whole, struct slice part, size_t *ret_n)
{
	bool inside = part.p && part.p >= whole.p && part.p + part.n <= whole.p + whole.n;

	*ret_n = inside ? part.n : 0;
	return inside ? (size_t)(part.p - whole.p) : 0;
}

/* What a payload is, all of its events taken together. */
struct summary {
	unsigned types; /* a bit for each */
	bool says, ends;
	struct chat_event first; /* without its slices */
};

static struct summary summary_of(const struct chat_events *events)
{
	struct summary all = {0};

	for (size_t i = 0; i < events->n; i++) {
		all.types |= 1u << events->e[i].type;
		all.says |= says_something(&events->e[i]);
		all.ends |= ends_something(&events->e[i]);
	}
	if (events->n)
		all.first = (struct chat_event){.channel = events->e[0].channel,
						.index = events->e[0].index,
						.part = events->e[0].part,
						.finish = events->e[0].finish};
	return all;
}

static struct held *reserve(struct exchange *e, size_t n_texts, size_t n_calls, size_t n_bytes)
{
	struct buf *held = &e->stream->held;
	size_t n = n_texts * sizeof(struct held_text) + n_calls * sizeof(struct held_call) + n_bytes;
	size_t size = (sizeof(struct held) + n + 15) & ~(size_t)15;
	struct held *h = (struct held *)(void *)buf_reserve(held, size);

	if (!h) {
		err_set(http_call_err(&e->call), E_TOOBIG, "more than %zu bytes of its answer wait for the guardrails",
			held->max);
		return NULL;
	}
	*h = (struct held){.size = size, .n_texts = n_texts, .n_calls = n_calls};
	held->n += size;
	return h;
}

/* A copy behind what the entry has: its offset. */
static size_t keep(struct held *h, size_t *at, struct slice s)
{
	size_t offset = *at;

	if (s.n)
		memcpy((char *)h + offset, s.p, s.n);
	*at += s.n;
	return offset;
}

static void keep_held_text(struct held *h, struct held_text *t, const struct hold_place *at, size_t *end)
{
	struct slice text = at->event->text;

	*t = (struct held_text){.channel = at->channel,
				.type = at->event->type,
				.start = at->start,
				.end = at->start + text.n,
				.n = text.n};
	t->offset = keep(h, end, text);
}

/* Calls are rare: nothing is looked for where a payload has none. */
static bool has_calls(const struct exchange *e, unsigned types)
{
	return types & (1u << CHAT_EVENT_TOOL_START | 1u << CHAT_EVENT_TOOL_ARGS) && e->log == LOG_FULL;
}

/* The log has to be told of it beside the texts of its payload. */
static bool is_call(const struct chat_event *event)
{
	return event->type == CHAT_EVENT_TOOL_START || (event->type == CHAT_EVENT_TOOL_ARGS && !event->text_raw.p);
}

static void keep_call(struct held *h, struct held_call *c, struct slice raw, const struct chat_event *event,
		      size_t *end)
{
	bool begins = event->type == CHAT_EVENT_TOOL_START;
	struct slice text = begins ? event->name : event->text;

	*c = (struct held_call){.begins = begins, .channel = event->channel, .n_id = event->id.n, .n = text.n};
	c->offset = keep(h, end, event->id);
	keep(h, end, text);
	c->raw_offset = offset_in(raw, event->args_raw, &c->n_raw);
}

int hold_payload(struct exchange *e, const struct chat_events *events, struct slice raw, const struct hold_place *at,
		 size_t n)
{
	struct summary all = summary_of(events);
	size_t n_bytes = raw.n, n_calls = 0, end;
	bool calls = has_calls(e, all.types);
	struct held *h;

	for (size_t i = 0; i < n; i++)
		n_bytes += at[i].event->text.n;
	for (size_t i = 0; calls && i < events->n; i++) {
		if (!is_call(&events->e[i]))
			continue;
		n_bytes += events->e[i].id.n + events->e[i].name.n + events->e[i].text.n;
		n_calls++;
	}
	h = reserve(e, n, n_calls, n_bytes);
	if (!h)
		return E_TOOBIG;
	h->n_bytes = raw.n;
	end = (size_t)(bytes_of(h) - (char *)h);
	keep(h, &end, raw);
	for (size_t i = 0; i < n; i++) {
		struct held_text *t = &texts_of(h)[i];

		keep_held_text(h, t, &at[i], &end);
		t->raw_offset = offset_in(raw, at[i].event->text_raw, &t->n_raw);
		t->logprobs_offset = offset_in(raw, at[i].event->logprobs_raw, &t->n_logprobs);
	}
	n_calls = 0;
	for (size_t i = 0; calls && i < events->n; i++)
		if (is_call(&events->e[i]))
			keep_call(h, &calls_of(h)[n_calls++], raw, &events->e[i], &end);
	h->passes = true;
	h->types = all.types;
	h->says = all.says;
	h->ends = all.ends;
	h->event = all.first;
	h->may_split = n == 1 && events->n == (h->types & 1u << CHAT_EVENT_START ? 2u : 1u);
	return 0;
}

int hold_event(struct exchange *e, const struct chat_event *event, const struct hold_place *at)
{
	size_t n = event->text.n + event->id.n + event->name.n + event->opaque.n + event->stop_sequence.n, end;
	struct held *h = reserve(e, at ? 1 : 0, 0, n);

	if (!h)
		return E_TOOBIG;
	h->event = *event;
	h->says = says_something(event);
	h->ends = ends_something(event);
	h->may_split = at && !event->opaque.n;
	end = (size_t)(bytes_of(h) - (char *)h);
	keep(h, &end, event->id);
	keep(h, &end, event->name);
	keep(h, &end, event->opaque);
	keep(h, &end, event->stop_sequence);
	if (at)
		keep_held_text(h, texts_of(h), at, &end);
	return 0;
}

/* The event with its slices, without its text. */
static struct chat_event event_of(struct held *h)
{
	struct chat_event e = h->event;
	const char *at = bytes_of(h);

	e.id.p = at;
	at += e.id.n;
	e.name.p = at;
	at += e.name.n;
	e.opaque.p = at;
	at += e.opaque.n;
	e.stop_sequence.p = at;
	e.text = e.text_raw = e.logprobs_raw = (struct slice){NULL, 0};
	return e;
}

/* --- what leaves --- */

static bool is_masked_in(const struct exchange *e, const struct guard_hit *hit, uint64_t start, uint64_t end)
{
	return guard_rule(e->policy, hit->rule).action == GUARD_MASK && hit->start < end && hit->end > start;
}

static bool has_mask_in(const struct exchange *e, uint64_t start, uint64_t end, const struct hit_list *r)
{
	for (size_t i = 0; i < r->n_hits; i++)
		if (is_masked_in(e, &r->hit[i], start, end))
			return true;
	return false;
}

/* The part of a channel's text that begins at start, as it may leave: mask hits replaced. */
static struct slice masked_part(struct exchange *e, const struct hit_list *r, struct slice text, uint64_t start)
{
	uint64_t at = start, end = start + text.n;
	struct buf out;

	buf_init_arena(&out, &e->g->turn, MASKED_MAX);
	for (size_t i = 0; i < r->n_hits && at < end; i++) {
		const struct guard_hit *hit = &r->hit[i];

		if (!is_masked_in(e, hit, at, end))
			continue;
		if (hit->start > at)
			buf_append(&out, text.p + (at - start), (size_t)(hit->start - at));
		if (hit->start >= at)
			buf_add(&out, guard_rule(e->policy, hit->rule).mask);
		at = hit->end;
	}
	if (at < end)
		buf_append(&out, text.p + (at - start), (size_t)(end - at));
	return out.n && !buf_failed(&out) ? buf_slice(&out) : SLICE_LIT("");
}

static struct slice text_of(struct held *h, const struct held_text *t)
{
	return (struct slice){(const char *)h + t->offset, t->n};
}

/* The text as it may leave. */
static struct slice fit_text(struct exchange *e, struct held *h, const struct held_text *t, bool *ret_changed)
{
	const struct hit_list *hits = &e->stream->channel[t->channel].hits;

	if (!has_mask_in(e, t->start, t->start + t->n, hits))
		return text_of(h, t);
	*ret_changed = true;
	return masked_part(e, hits, text_of(h, t), t->start);
}

static struct slice json_text(struct exchange *e, struct slice text)
{
	struct buf json;

	buf_init_arena(&json, &e->g->turn, ESCAPED_MAX);
	buf_addc(&json, '"');
	json_escape(&json, text);
	buf_addc(&json, '"');
	return buf_failed(&json) ? (struct slice){NULL, 0} : buf_slice(&json);
}

static bool add_splice(struct splice *list, size_t *n, struct slice raw, struct slice json)
{
	for (size_t i = 0; i < *n; i++)
		if (list[i].raw.p == raw.p)
			return true; /* logprobs of a choice with two texts */
	if (*n == PROTOCOL_MAX_SPLICES || !json.p)
		return false;
	list[(*n)++] = (struct splice){raw, json};
	return true;
}

/* What has to be replaced in the event's own bytes; false: they cannot be mended. */
static bool find_splices(struct exchange *e, struct held *h, struct splice splices[PROTOCOL_MAX_SPLICES], size_t *ret_n)
{
	const char *bytes = bytes_of(h);
	size_t n = 0;

	for (size_t i = 0; i < h->n_texts; i++) {
		const struct held_text *t = &texts_of(h)[i];
		bool changed = h->split;
		struct slice text = fit_text(e, h, t, &changed);

		if (!changed)
			continue;
		if (!t->n_raw ||
		    !add_splice(splices, &n, (struct slice){bytes + t->raw_offset, t->n_raw}, json_text(e, text)))
			return false;
		if (t->n_logprobs && !add_splice(splices, &n, (struct slice){bytes + t->logprobs_offset, t->n_logprobs},
						 SLICE_LIT("null")))
			return false;
	}
	*ret_n = n;
	return true;
}

/* For the log: arguments that are no texts, with what was replaced in them; n 0: nothing was. */
static void tell_arguments(struct exchange *e, struct held *h, const struct splice *splices, size_t n)
{
	struct splice inside[PROTOCOL_MAX_SPLICES];

	for (size_t i = 0; i < h->n_calls; i++) {
		const struct held_call *c = &calls_of(h)[i];
		struct slice raw = {bytes_of(h) + c->raw_offset, c->n_raw};
		size_t n_inside = 0;
		struct buf out;

		if (c->begins)
			continue;
		if (!n) {
			calls_add(e, c->channel, (struct slice){(const char *)h + c->offset + c->n_id, c->n});
			continue;
		}
		for (size_t k = 0; k < n; k++)
			if (splices[k].raw.p >= raw.p && splices[k].raw.p < raw.p + raw.n)
				inside[n_inside++] = splices[k];
		buf_init_arena(&out, &e->g->turn, ESCAPED_MAX);
		if (!c->n_raw || protocol_splice(&out, raw, inside, n_inside))
			calls_omit(e, c->channel, c->n); /* they are in no one piece */
		else
			calls_add(e, c->channel, buf_slice(&out));
	}
}

static void tell_begins(struct exchange *e, struct held *h)
{
	for (size_t i = 0; i < h->n_calls; i++) {
		const struct held_call *c = &calls_of(h)[i];
		struct slice id = {(const char *)h + c->offset, c->n_id};

		if (c->begins)
			calls_begin(e, c->channel, id, (struct slice){id.p + id.n, c->n}, true);
	}
}

/* The event's own bytes with other texts in them.  An event that cannot be mended is left out. */
static void splice_payload(struct exchange *e, struct held *h)
{
	struct splice splices[PROTOCOL_MAX_SPLICES];
	size_t n = 0;

	if (!find_splices(e, h, splices, &n))
		return;
	tell_arguments(e, h, splices, n);
	protocol_splice(&e->stream->out, (struct slice){bytes_of(h), h->n_bytes}, splices, n);
}

static bool may_be_resumed(const struct exchange *e)
{
	return e->use_case && e->use_case->settings.answer_mode == ANSWER_RESUME;
}

/* The log has what the caller gets, and so has a model that goes on.  channel: as the codec numbers it. */
static void keep_text(struct exchange *e, enum chat_event_type type, unsigned channel, struct slice text)
{
	struct stream *s = e->stream;

	if (type == CHAT_EVENT_TOOL_ARGS)
		calls_add(e, channel, text);
	if (type != CHAT_EVENT_TEXT || s->text_cut ||
	    ((e->log == LOG_NONE || e->log == LOG_METADATA) && !may_be_resumed(e)))
		return;
	if (buf_add(&s->text, text))
		s->text_cut = true;
}

/* What has left as it came, for the codec to know.  types: a bit for each type of event in the payload. */
static void tell_encoder(struct exchange *e, unsigned types, struct chat_event event)
{
	for (; types; types &= types - 1) {
		event.type = (enum chat_event_type)__builtin_ctz(types);
		(void)e->front->encode_event(&e->stream->encode, NULL, &event, NULL); /* writes nothing */
	}
	e->stream->encode.begun = true;
}

/* Puts one event into `out`. */
static void release_event(struct exchange *e, struct held *h)
{
	struct stream *s = e->stream;
	struct chat_event event;
	struct slice text = {NULL, 0};
	bool changed = h->split;

	tell_begins(e, h);
	for (size_t i = 0; i < h->n_texts; i++) {
		const struct held_text *t = &texts_of(h)[i];

		text = fit_text(e, h, t, &changed);
		if (t->n)
			s->channel[t->channel].left = t->start + t->n;
		keep_text(e, t->type, s->channel[t->channel].id, text);
	}
	s->says_something |= h->says;
	if (!h->passes) {
		event = event_of(h);
		event.text = text;
		if (event.type == CHAT_EVENT_TOOL_START)
			calls_begin(e, event.channel, event.id, event.name, false);
		stream_encode(e, &event);
		return;
	}
	if (changed) {
		splice_payload(e, h);
	} else {
		tell_arguments(e, h, NULL, 0);
		buf_append(&s->out, bytes_of(h), h->n_bytes);
	}
	tell_encoder(e, h->types, h->event);
}

static void pass_calls(struct exchange *e, const struct chat_events *events)
{
	for (size_t i = 0; i < events->n; i++) {
		const struct chat_event *event = &events->e[i];

		if (event->type == CHAT_EVENT_TOOL_START)
			calls_begin(e, event->channel, event->id, event->name, true);
		else if (event->type == CHAT_EVENT_TOOL_ARGS)
			calls_add(e, event->channel, event->text);
	}
}

void hold_pass(struct exchange *e, const struct chat_events *events, struct slice raw, const struct hold_place *at,
	       size_t n)
{
	struct summary all = summary_of(events);
	struct stream *s = e->stream;

	for (size_t i = 0; i < n; i++) {
		struct slice text = at[i].event->text;

		s->channel[at[i].channel].left = at[i].start + text.n;
		if (at[i].event->type == CHAT_EVENT_TEXT)
			keep_text(e, CHAT_EVENT_TEXT, at[i].event->channel, text);
	}
	if (has_calls(e, all.types))
		pass_calls(e, events);
	s->says_something |= all.says;
	buf_add(&s->out, raw);
	tell_encoder(e, all.types, all.first);
}

/* The decided part of an event leaves in an event of its own.  Not so where something else stands in it: that would be
 * there twice. */
static void split_event(struct exchange *e, struct held *h)
{
	struct held_text *t = texts_of(h);
	uint64_t safe = h->n_texts ? e->stream->channel[t->channel].safe : 0;
	size_t all = t->n, n;

	if (!h->may_split || h->n_texts != 1 || safe <= t->start)
		return;
	n = (size_t)(safe - t->start);
	if (n >= t->n)
		return;
	n -= utf8_partial_tail((struct slice){text_of(h, t).p, n});
	if (!n)
		return;
	h->split = true;
	t->n = n;
	release_event(e, h);
	t->start += n;
	t->offset += n;
	t->n = all - n;
}

static bool is_decided(const struct stream *s, struct held *h)
{
	for (size_t i = 0; i < h->n_texts; i++) {
		const struct held_text *t = &texts_of(h)[i];

		if (t->n && t->end > s->channel[t->channel].safe)
			return false;
	}
	return true;
}

static uint64_t channels_of(struct held *h)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < h->n_texts; i++)
		bits |= texts_of(h)[i].n ? UINT64_C(1) << texts_of(h)[i].channel : 0;
	return bits;
}

void hold_release(struct exchange *e, bool split)
{
	struct stream *s = e->stream;
	uint64_t waiting = 0; /* a bit for each channel */
	size_t kept = 0, size;

	for (size_t at = 0; at < s->held.n; at += size) {
		struct held *h = (struct held *)(void *)(s->held.p + at);
		uint64_t bits = channels_of(h);
		bool behind = bits & waiting || (kept && (h->ends || e->front->ordered));

		size = h->size;
		if (!behind && is_decided(s, h)) {
			release_event(e, h);
			continue;
		}
		if (split && !behind)
			split_event(e, h);
		waiting |= bits;
		if (kept != at)
			memmove(s->held.p + kept, h, size);
		kept += size;
	}
	s->held.n = kept;
}

uint64_t hold_waiting(struct exchange *e, struct buf *out)
{
	struct stream *s = e->stream;
	uint64_t bytes = 0;
	size_t size;

	for (size_t at = 0; at < s->held.n; at += size) {
		struct held *h = (struct held *)(void *)(s->held.p + at);

		size = h->size;
		for (size_t i = 0; i < h->n_texts; i++) {
			const struct held_text *t = &texts_of(h)[i];
			bool changed;

			if (t->type != CHAT_EVENT_TEXT)
				continue;
			buf_add(out, fit_text(e, h, t, &changed));
			bytes += t->n;
		}
	}
	return bytes;
}
