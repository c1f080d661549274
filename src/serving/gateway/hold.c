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

/* One waiting event: this, then its bytes (same protocol) and its text. */
struct held {
	struct chat_event event; /* slices are not valid: they are rebuilt from the offsets */
	unsigned channel;	 /* index into the stream's */
	uint64_t start, end;	 /* of its text in its channel */
	size_t n_bytes, n_text;
	size_t raw_offset, n_raw;	    /* of the text's token in its bytes */
	size_t logprobs_offset, n_logprobs; /* they repeat the text */
	bool split;			    /* part of its text has left */
	bool has_asides;
	uint64_t aside_end[ASIDES_MAX]; /* of the texts beside it */
	size_t size;			/* of the whole entry: stays when the text is split */
};

/* --- what comes --- */

/* The offset of a part within whole; *ret_n is 0 when it is none of it. */
static size_t offset_in(struct slice whole, struct slice part, size_t *ret_n)
{
	bool inside = part.p && part.p >= whole.p && part.p + part.n <= whole.p + whole.n;

	*ret_n = inside ? part.n : 0;
	return inside ? (size_t)(part.p - whole.p) : 0;
}

int hold_event(struct exchange *e, const struct chat_event *event, struct slice raw, struct hold_place at)
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
	h.has_asides = e->output_hits && event->n_judged > 1;
	for (size_t i = 0; h.has_asides && i < ASIDES_MAX; i++)
		h.aside_end[i] = s->aside[i].fed;
	h.size = (sizeof(h) + h.n_bytes + h.n_text + 15) & ~(size_t)15;
	p = buf_reserve(&s->held, h.size);
	if (!p)
		return err_set(&e->call.err, E_TOOBIG, "more than %zu bytes of its answer wait for the guardrails",
			       s->held.max);
	memcpy(p, &h, sizeof(h));
	if (h.n_bytes)
		memcpy(p + sizeof(h), raw.p, h.n_bytes);
	if (h.n_text)
		memcpy(p + sizeof(h) + h.n_bytes, event->text.p, h.n_text);
	s->held.n += h.size;
	return 0;
}

/* --- what leaves --- */

static bool is_masked_in(const struct exchange *e, const struct guard_hit *hit, uint64_t start, uint64_t end)
{
	return guard_rule(e->policy, hit->rule).action == GUARD_MASK && hit->start < end && hit->end > start;
}

static bool has_mask_in(const struct exchange *e, uint64_t start, uint64_t end, const struct guard_result *r)
{
	for (size_t i = 0; r && i < r->n_hits; i++)
		if (is_masked_in(e, &r->hit[i], start, end))
			return true;
	return false;
}

/* The part of a channel's text that begins at start, as it may leave: mask hits replaced. */
static struct slice masked_part(struct exchange *e, const struct guard_result *r, struct slice text, uint64_t start)
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

/* The event's own bytes with another text in them. An event whose text has no single place cannot be mended: it is left
 * out. */
static void splice_event(struct exchange *e, const struct held *h, struct slice text)
{
	const char *bytes = (const char *)(h + 1);
	struct splice splices[2];
	struct buf json;

	if (!h->n_raw)
		return;
	buf_init_arena(&json, &e->g->turn, ESCAPED_MAX);
	buf_addc(&json, '"');
	json_escape(&json, text);
	buf_addc(&json, '"');
	splices[0] = (struct splice){{bytes + h->raw_offset, h->n_raw}, buf_slice(&json)};
	splices[1] =
		(struct splice){{h->n_logprobs ? bytes + h->logprobs_offset : NULL, h->n_logprobs}, SLICE_LIT("null")};
	if (!buf_failed(&json))
		protocol_splice(&e->stream->out, (struct slice){bytes, h->n_bytes}, splices, COUNT_OF(splices));
}

/* The log has what the caller gets. */
static void keep_text(struct exchange *e, const struct held *h, struct slice text)
{
	struct stream *s = e->stream;

	if (s->channel[h->channel].id || e->log == LOG_NONE || e->log == LOG_METADATA || s->text_cut)
		return;
	if (buf_add(&s->text, text))
		s->text_cut = true;
}

/* Puts one event, or the first n bytes of its text, into `out`. */
static void release_event(struct exchange *e, const struct held *h, size_t n)
{
	struct stream *s = e->stream;
	const char *bytes = (const char *)(h + 1);
	struct slice text = {bytes + h->n_bytes, n};
	struct chat_event event = h->event;
	struct channel *c = &s->channel[h->channel];
	bool changed = h->split || n < h->n_text;

	if (has_mask_in(e, h->start, h->start + n, c->hits)) {
		text = masked_part(e, c->hits, text, h->start);
		changed = true;
	}
	if (n) {
		c->left = h->start + n;
		keep_text(e, h, text);
	}
	s->says_something |= event.type != CHAT_EVENT_NONE;
	if (!s->same_protocol) {
		event.text = text;
		stream_encode(e, &event);
		return;
	}
	s->first_sent = true;
	if (changed)
		splice_event(e, h, text);
	else
		buf_append(&s->out, bytes, h->n_bytes);
}

/* The decided part of an event leaves in an event of its own.  Not so where something else stands in it: that would be
 * there twice. */
static void split_event(struct exchange *e, struct held *h)
{
	uint64_t safe = e->stream->channel[h->channel].safe;
	char *text = (char *)(h + 1) + h->n_bytes;
	size_t n;

	if (h->event.type != CHAT_EVENT_TEXT || h->event.finish || h->has_asides || safe <= h->start)
		return;
	n = (size_t)(safe - h->start);
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

static bool ends_something(const struct chat_event *event)
{
	return event->finish || event->end || event->type == CHAT_EVENT_FINISH || event->type == CHAT_EVENT_USAGE ||
	       event->type == CHAT_EVENT_END;
}

static bool is_decided(const struct stream *s, const struct held *h)
{
	if (h->n_text && h->end > s->channel[h->channel].safe)
		return false;
	for (size_t i = 0; h->has_asides && i < ASIDES_MAX; i++)
		if (h->aside_end[i] > s->aside[i].safe)
			return false;
	return true;
}

void hold_release(struct exchange *e, bool split)
{
	struct stream *s = e->stream;
	unsigned waiting = 0; /* a bit for each channel */
	size_t kept = 0, size;

	for (size_t at = 0; at < s->held.n; at += size) {
		struct held *h = (struct held *)(void *)(s->held.p + at);
		unsigned bit = 1u << h->channel;
		bool behind = h->n_text && waiting & bit;

		size = h->size;
		if (!behind && is_decided(s, h) && !(kept && ends_something(&h->event))) {
			release_event(e, h, h->n_text);
			continue;
		}
		if (split && !behind)
			split_event(e, h);
		waiting |= h->n_text ? bit : 0;
		if (kept != at)
			memmove(s->held.p + kept, h, size);
		kept += size;
	}
	s->held.n = kept;
}
