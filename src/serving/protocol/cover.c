/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The net below the codecs.  They know where a model's words stand; servers that speak like a protocol put words where
 * it has none, and of other types than it says.  Callers of the same protocol get these as they came, so each string of
 * a payload that is in no event, and no label, becomes an event with a text to judge.
 *
 * What would break it: events whose raws are not in the order of the payload.
 */
#include "serving/protocol/protocol_internal.h"

#define CHANNEL_COVERED (1u << 22)
#define COVERED_CHANNELS 8 /* more strings share them, which can only find more in them */

/* Members whose strings name things. */
static const char *const labels[] = {
	"id",
	"object",
	"created",
	"created_at",
	"model",
	"role",
	"type",
	"name",
	"call_id",
	"finish_reason",
	"finishReason",
	"native_finish_reason",
	"stop_reason",
	"stop_sequence",
	"done_reason",
	"system_fingerprint",
	"service_tier",
	"provider",
	"remote_model",
	"remote_host",
	"signature",
	"thoughtSignature",
	"thought_signature",
	"encrypted_content",
	"data",
	"mimeType",
	"media_type",
	"format",
	"language",
	"outcome",
	"jsonPath",
	"json_path",
	"responseId",
	"modelVersion",
	"trafficType",
	"obfuscation",
	"p", /* padding, of Cloudflare's */
};

/* Members with nothing but labels and numbers in them, or with what repeats the texts. */
static const char *const closed[] = {
	"usage",
	"usageMetadata",
	"x_groq",
	"logprobs",
	"prompt_logprobs",
	"logprobsResult",
	"safetyRatings",
	"prompt_filter_results",
	"content_filter_results",
	"content_filter_offsets",
	"promptFeedback",
	"error",
};

static bool is_one_of(struct slice key, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (slice_eq_str(key, names[i]))
			return true;
	return false;
}

struct cover {
	struct arena *a;
	const struct wire_doc *doc;
	const struct chat_events *events;
	size_t next; /* the first event whose raw may lie behind what was seen */
	struct chat_events found;
	size_t *before; /* of each that was found: the event that it stands before */
	size_t cap;
};

static int keep(struct cover *c, const struct json *string, struct slice raw)
{
	struct chat_event *e;

	if (c->found.n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 8;
		size_t *before = ARENA_ARRAY(c->a, size_t, cap);

		if (!before)
			return E_TOOBIG;
		if (c->found.n)
			memcpy(before, c->before, c->found.n * sizeof(*before));
		c->before = before;
		c->cap = cap;
	}
	c->before[c->found.n] = c->next;
	e = events_add(c->a, &c->found, CHAT_EVENT_OTHER);
	if (!e)
		return E_TOOBIG;
	e->channel = CHANNEL_COVERED + (unsigned)((c->found.n - 1) % COVERED_CHANNELS);
	e->text = string->str;
	e->text_raw = raw;
	return 0;
}

static int look_at(struct cover *c, const struct json *string)
{
	struct slice raw = wire_raw(c->doc, string);

	for (; c->next < c->events->n; c->next++) {
		struct slice at = c->events->e[c->next].text_raw;

		if (at.p && at.p + at.n > raw.p)
			return at.p <= raw.p ? 0 : keep(c, string, raw);
	}
	return keep(c, string, raw);
}

static int walk(struct cover *c, const struct json *v)
{
	int rc = wire_has_text(v) && !is_one_of(v->key, labels, COUNT_OF(labels)) ? look_at(c, v) : 0;

	if (!v->first || (v->key.n && is_one_of(v->key, closed, COUNT_OF(closed))))
		return rc;
	for (const struct json *item = v->first; item && rc == 0; item = item->next)
		if (item->first || item->type == JSON_STRING)
			rc = walk(c, item);
	return rc;
}

int events_cover(struct arena *a, const struct wire_doc *doc, struct chat_events *list)
{
	struct cover c = {.a = a, .doc = doc, .events = list};
	struct chat_events all = {0};
	size_t k = 0;
	int rc = walk(&c, doc->root);

	if (rc < 0 || !c.found.n)
		return rc;
	for (size_t i = 0; i <= list->n && rc == 0; i++) {
		for (; k < c.found.n && c.before[k] == i && rc == 0; k++)
			rc = events_say(a, &all, &c.found.e[k]);
		if (i < list->n && rc == 0)
			rc = events_say(a, &all, &list->e[i]);
	}
	*list = all;
	return rc;
}
