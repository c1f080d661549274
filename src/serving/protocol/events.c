/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of events, and whole answers as such a list and back.  An answer that a decoder reads is the same events that a
 * stream of it would be, so that one walk over a message serves both.
 */
#include "serving/protocol/protocol_internal.h"

/* Place for one more: nothing stands in it. */
static struct chat_event *reserve(struct arena *a, struct chat_events *list)
{
	struct chat_event *e;

	if (list->n == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 4;

		if (cap > CHAT_EVENTS_MAX || !(e = arena_alloc(a, cap * sizeof(*e))))
			return NULL;
		if (list->n)
			memcpy(e, list->e, list->n * sizeof(*e));
		list->e = e;
		list->cap = cap;
	}
	return &list->e[list->n++];
}

struct chat_event *events_add(struct arena *a, struct chat_events *list, enum chat_event_type type)
{
	struct chat_event *e = reserve(a, list);

	if (e)
		*e = (struct chat_event){.type = type};
	return e;
}

int events_say(struct arena *a, struct chat_events *list, const struct chat_event *event)
{
	struct chat_event *e = reserve(a, list);

	if (!e)
		return E_TOOBIG;
	*e = *event;
	return 0;
}

void encode_state_release(struct encode_state *s)
{
	buf_release(&s->gathered);
	responses_items_free(s->items);
	*s = (struct encode_state){0};
}

/* --- an answer of events --- */

static bool has_words(const struct chat_event *e)
{
	return e->text.n && e->text_raw.p;
}

static int list_judged(struct arena *a, const struct chat_events *list, struct chat_answer *ret)
{
	struct texts judged = {0};

	for (size_t i = 0; i < list->n; i++) {
		if (has_words(&list->e[i]) && texts_add(a, &judged, list->e[i].text, list->e[i].text_raw) < 0)
			return E_TOOBIG;
	}
	ret->judged = judged.t;
	ret->n_judged = judged.n;
	return 0;
}

/* All text of the first choice as one, and its place when it has a single one. */
static int join_text(struct arena *a, const struct chat_events *list, struct chat_answer *ret)
{
	struct slice before;
	char *to;

	ret->text = SLICE_LIT("");
	for (size_t i = 0; i < list->n; i++) {
		const struct chat_event *e = &list->e[i];

		if (e->type != CHAT_EVENT_TEXT)
			continue;
		if (!ret->text.n) {
			ret->text = e->text;
			ret->text_raw = e->text_raw;
			continue;
		}
		before = ret->text;
		to = arena_alloc(a, before.n + e->text.n + 1);
		if (!to)
			return E_TOOBIG;
		memcpy(to, before.p, before.n);
		if (e->text.n)
			memcpy(to + before.n, e->text.p, e->text.n);
		ret->text = (struct slice){to, before.n + e->text.n};
		ret->text_raw = (struct slice){NULL, 0};
	}
	return 0;
}

/* Whether a new part begins with this event; a call's arguments belong to the call before them. */
static bool part_of(const struct chat_event *e, struct chat_part *ret)
{
	*ret = (struct chat_part){.text = e->text.p ? e->text : SLICE_LIT("")};
	switch (e->type) {
	case CHAT_EVENT_TEXT:
		ret->kind = CHAT_PART_TEXT;
		return e->text.n > 0;
	case CHAT_EVENT_REASONING:
		ret->kind = CHAT_PART_REASONING;
		ret->opaque = e->opaque;
		ret->redacted = e->redacted;
		return true;
	case CHAT_EVENT_REFUSAL:
		ret->kind = CHAT_PART_REFUSAL;
		return e->text.n > 0;
	case CHAT_EVENT_TOOL_START:
		ret->kind = CHAT_PART_TOOL_CALL;
		ret->id = e->id;
		ret->name = e->name;
		ret->opaque = e->opaque;
		return true;
	case CHAT_EVENT_NONE:
	case CHAT_EVENT_START:
	case CHAT_EVENT_PART_START:
	case CHAT_EVENT_TOOL_ARGS:
	case CHAT_EVENT_PART_END:
	case CHAT_EVENT_OTHER:
	case CHAT_EVENT_FINISH:
	case CHAT_EVENT_USAGE:
	case CHAT_EVENT_ERROR:
	case CHAT_EVENT_END:
		break;
	}
	return false;
}

/* Reasoning and the signature that comes behind it are one part. */
static bool is_signature_of(const struct chat_event *e, const struct chat_part *last)
{
	return e->type == CHAT_EVENT_REASONING && !e->redacted && !e->text.n && last->kind == CHAT_PART_REASONING &&
	       !last->opaque.n;
}

bool answer_calls(const struct chat_answer *answer)
{
	for (size_t i = 0; i < answer->n_parts; i++)
		if (answer->parts[i].kind == CHAT_PART_TOOL_CALL)
			return true;
	return false;
}

int answer_of_events(struct arena *a, const struct chat_events *list, struct chat_answer *ret)
{
	struct chat_part *parts = ARENA_ARRAY(a, struct chat_part, list->n + 1);
	size_t n = 0;

	if (!parts || list_judged(a, list, ret) < 0 || join_text(a, list, ret) < 0)
		return E_TOOBIG;
	for (size_t i = 0; i < list->n; i++) {
		const struct chat_event *e = &list->e[i];

		if (n && is_signature_of(e, &parts[n - 1]))
			parts[n - 1].opaque = e->opaque;
		else if (part_of(e, &parts[n]))
			n++;
		else if (e->type == CHAT_EVENT_TOOL_ARGS && n && parts[n - 1].kind == CHAT_PART_TOOL_CALL)
			parts[n - 1].text = e->text;
	}
	ret->parts = parts;
	ret->n_parts = n;
	return 0;
}

/* --- events of an answer --- */

static int say_part(struct arena *a, const struct chat_part *p, unsigned call, struct chat_events *ret)
{
	struct chat_event e = {.text = p->text,
			       .opaque = p->kind == CHAT_PART_REASONING ? p->opaque : (struct slice){NULL, 0},
			       .redacted = p->redacted};
	int rc;

	switch (p->kind) {
	case CHAT_PART_TEXT:
		e.type = CHAT_EVENT_TEXT;
		break;
	case CHAT_PART_REASONING:
		e.type = CHAT_EVENT_REASONING;
		e.channel = CHAT_CHANNEL_REASONING;
		break;
	case CHAT_PART_REFUSAL:
		e.type = CHAT_EVENT_REFUSAL;
		e.channel = CHAT_CHANNEL_REFUSAL;
		break;
	case CHAT_PART_TOOL_CALL:
		e.type = CHAT_EVENT_TOOL_ARGS;
		e.channel = CHAT_CHANNEL_CALL + call;
		e.index = call;
		rc = events_say(a, ret,
				&(struct chat_event){.type = CHAT_EVENT_TOOL_START,
						     .channel = e.channel,
						     .index = call,
						     .id = p->id,
						     .name = p->name,
						     .opaque = p->opaque});
		if (rc < 0)
			return rc;
		break;
	case CHAT_PART_TOOL_RESULT:
	case CHAT_PART_IMAGE:
	case CHAT_PART_OTHER:
		return 0;
	}
	rc = e.type == CHAT_EVENT_TOOL_ARGS && !e.text.n ? 0 : events_say(a, ret, &e);
	if (rc < 0)
		return rc;
	return events_say(a, ret,
			  &(struct chat_event){.type = CHAT_EVENT_PART_END, .channel = e.channel, .index = e.index});
}

int protocol_answer_events(struct arena *a, const struct chat_answer *answer, struct chat_events *ret)
{
	const struct chat_part whole = {.kind = CHAT_PART_TEXT, .text = answer->text};
	const struct chat_part *parts = answer->n_parts ? answer->parts : &whole;
	size_t n = answer->n_parts ? answer->n_parts : 1;
	struct chat_event finish = {.type = CHAT_EVENT_FINISH,
				    .finish = answer->finish ? answer->finish : CHAT_FINISH_STOP,
				    .stop_sequence = answer->stop_sequence,
				    .usage = answer->usage};
	unsigned calls = 0;
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = say_part(a, &parts[i], calls, ret);
		calls += parts[i].kind == CHAT_PART_TOOL_CALL;
	}
	if (rc == 0)
		rc = events_say(a, ret, &finish);
	finish.type = CHAT_EVENT_END;
	return rc == 0 ? events_say(a, ret, &finish) : rc;
}
