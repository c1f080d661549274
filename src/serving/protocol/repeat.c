/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of a stream that differ from the one before only in their text, which are most of them: they are read by
 * comparing bytes.  The pattern is a payload that was decoded to one event with one text and left the codec's state as
 * it was: then what stands around the text says the same again.
 *
 * What would break it: a text taken as it stands though a parser would decode it or refuse it, so everything but plain
 * UTF-8 without quotes, escapes and control characters goes to the codec; a pattern that outlives a change of the
 * codec's state, so whatever the codec decodes replaces it; a codec that looks at what a text says.
 */
#include "core/base/utf8.h"
#include "serving/protocol/protocol.h"

#include <string.h>

#define REPEAT_BYTES 384 /* around the text */
#define ROOM_STEP 64

/* It says the same in a string of JSON and outside. */
static bool is_plain(struct slice text)
{
	unsigned char all = 0;
	bool plain = true;

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		all |= c;
		plain &= c >= 0x20 && c != '"' && c != '\\';
	}
	return plain && (all < 0x80 || utf8_valid(text));
}

/* The payload again with another text. */
static bool repeats(const struct event_repeat *r, struct slice payload, struct slice *ret_text)
{
	if (!r->n_before || payload.n <= r->n_before + r->n_after || memcmp(payload.p, r->bytes, r->n_before) != 0 ||
	    memcmp(payload.p + payload.n - r->n_after, r->bytes + r->n_before, r->n_after) != 0)
		return false;
	*ret_text = (struct slice){payload.p + r->n_before, payload.n - r->n_before - r->n_after};
	return is_plain(*ret_text);
}

/* Nothing but a text, which is a string of the payload. */
static bool is_text_alone(const struct chat_event *e, struct slice payload)
{
	struct slice raw = e->text_raw;

	return (e->type == CHAT_EVENT_TEXT || e->type == CHAT_EVENT_REASONING) && e->text.n && raw.p &&
	       raw.p >= payload.p && raw.p + raw.n <= payload.p + payload.n && raw.n >= 2 && raw.p[0] == '"' &&
	       !e->logprobs_raw.p && !e->id.n && !e->name.n && !e->opaque.n && !e->stop_sequence.n && !e->usage.known &&
	       !e->finish && !e->redacted;
}

static void learn(struct event_repeat *r, struct arena *keep, const struct chat_event *e, struct slice payload)
{
	size_t before = (size_t)(e->text_raw.p - payload.p) + 1; /* with the quote */
	size_t after = payload.n - before - e->text_raw.n + 2;

	if (before + after > REPEAT_BYTES)
		return;
	if (r->room < before + after) {
		size_t room = (before + after + ROOM_STEP - 1) / ROOM_STEP * ROOM_STEP;

		r->bytes = arena_alloc(keep, room);
		r->room = r->bytes ? (uint16_t)room : 0;
	}
	if (!r->bytes)
		return;
	memcpy(r->bytes, payload.p, before);
	memcpy(r->bytes + before, payload.p + payload.n - after, after);
	r->n_before = (uint16_t)before;
	r->n_after = (uint16_t)after;
	r->type = e->type;
	r->channel = e->channel;
	r->index = e->index;
	r->part = e->part;
}

static int say_again(const struct event_repeat *r, struct arena *a, struct slice text, struct chat_events *ret)
{
	struct chat_event *e = arena_alloc(a, sizeof(*e));

	if (!e)
		return E_TOOBIG;
	*e = (struct chat_event){.type = r->type,
				 .channel = r->channel,
				 .index = r->index,
				 .part = r->part,
				 .text = text,
				 .text_raw = {text.p - 1, text.n + 2}};
	*ret = (struct chat_events){e, 1, 1};
	return 0;
}

int protocol_decode_event(const struct protocol *p, struct decode_state *s, struct event_repeat *r,
			  const struct event_source *from, struct chat_events *ret, struct err *err)
{
	struct decode_state before = *s;
	struct slice text;
	int rc;

	if (repeats(r, from->payload, &text))
		return say_again(r, from->turn, text, ret);
	r->n_before = 0;
	rc = p->decode_event(s, from->turn, from->json, from->payload, ret, err);
	if (rc == 0 && ret->n == 1 && is_text_alone(&ret->e[0], from->payload) &&
	    memcmp((const char *)&before, (const char *)s, sizeof(before)) == 0)
		learn(r, from->keep, &ret->e[0], from->payload);
	return rc;
}
