/* SPDX-License-Identifier: Apache-2.0 */
/* What the protocol tests share: an arena and a parser per test, and a text as a decoder gets it. */
#pragma once
#include "core/base/arena.h"
#include "serving/protocol/protocol.h"
#include "t.h"

struct bench {
	struct arena a;
	struct json_parser *jp;
	struct err err;
	const char *param;
	struct buf out;
};

static inline void bench_init(struct bench *b)
{
	*b = (struct bench){0};
	arena_init(&b->a, 64 * 1024, 16u << 20);
	b->jp = json_parser_new();
	buf_init(&b->out, 1u << 20);
}

static inline void bench_done(struct bench *b)
{
	buf_release(&b->out);
	json_parser_free(b->jp);
	arena_release(&b->a);
}

/* The text with padding after it, in the arena. */
static inline struct slice bench_text(struct bench *b, const char *text)
{
	size_t n = strlen(text);
	char *p = arena_zalloc(&b->a, n + JSON_PADDING);

	if (!p)
		return (struct slice){NULL, 0};
	memcpy(p, text, n);
	return (struct slice){p, n};
}

static inline const struct json *bench_json(struct bench *b, const char *text)
{
	struct json *root = NULL;

	CHECK_INT(json_parse(b->jp, &b->a, bench_text(b, text), NULL, &root, NULL), 0);
	return root;
}

static inline int bench_request(struct bench *b, const struct protocol *p, const char *body, struct chat_request *ret)
{
	struct slice text = bench_text(b, body);
	struct json *root = NULL;
	int rc = json_parse(b->jp, &b->a, text, NULL, &root, &b->err);

	b->param = NULL;
	b->err.text[0] = 0;
	return rc < 0 ? rc : p->decode_request(&b->a, root, text, ret, &b->param, &b->err);
}

static inline const char *bench_cstr(struct bench *b, struct slice s)
{
	const char *p = arena_strndup(&b->a, s.p ? s.p : "", s.n);

	return p ? p : "";
}

/* Events as text: "text 0 'hi'; start 5 #0 id=c name=f; finish stop; end". */
static inline const char *bench_events(struct bench *b, const struct chat_events *list)
{
	static const char *const names[] = {
		[CHAT_EVENT_NONE] = "none",	  [CHAT_EVENT_START] = "begin",	     [CHAT_EVENT_PART_START] = "part",
		[CHAT_EVENT_TEXT] = "text",	  [CHAT_EVENT_REASONING] = "reason", [CHAT_EVENT_REFUSAL] = "refusal",
		[CHAT_EVENT_TOOL_START] = "call", [CHAT_EVENT_TOOL_ARGS] = "args",   [CHAT_EVENT_PART_END] = "over",
		[CHAT_EVENT_OTHER] = "other",	  [CHAT_EVENT_FINISH] = "finish",    [CHAT_EVENT_USAGE] = "usage",
		[CHAT_EVENT_ERROR] = "error",	  [CHAT_EVENT_END] = "end",
	};
	struct buf t;

	buf_init_arena(&t, &b->a, 65536);
	for (size_t i = 0; i < list->n; i++) {
		const struct chat_event *e = &list->e[i];

		buf_printf(&t, "%s%s", i ? "; " : "", names[e->type]);
		if (e->channel)
			buf_printf(&t, " %u", e->channel);
		if (e->text.n)
			buf_printf(&t, " '" SLICE_FMT "'", SLICE_ARG(e->text));
		if (e->id.n)
			buf_printf(&t, " id=" SLICE_FMT, SLICE_ARG(e->id));
		if (e->name.n)
			buf_printf(&t, " name=" SLICE_FMT, SLICE_ARG(e->name));
		if (e->opaque.n)
			buf_printf(&t, " %s=" SLICE_FMT, e->redacted ? "data" : "signature", SLICE_ARG(e->opaque));
		if (e->type == CHAT_EVENT_FINISH)
			buf_printf(&t, " %s", chat_finish_name(e->finish));
		if (e->stop_sequence.n)
			buf_printf(&t, " at=" SLICE_FMT, SLICE_ARG(e->stop_sequence));
		if (e->type == CHAT_EVENT_USAGE)
			buf_printf(&t, " %lld+%lld", (long long)e->usage.prompt_tokens,
				   (long long)e->usage.completion_tokens);
	}
	return buf_cstr(&t);
}

/* The events of the payloads (NULL at the end) of one stream. */
static inline const char *bench_stream(struct bench *b, const struct protocol *p, const char *const *payloads)
{
	struct decode_state s = {0};
	struct chat_events list = {0};

	for (size_t i = 0; payloads[i]; i++) {
		size_t from = list.n;
		struct slice payload = bench_text(b, payloads[i]);
		const char *at = payload.p;

		CHECK_INT(p->decode_event(&s, &b->a, b->jp, payload, &list, &b->err), 0);
		for (; from < list.n; from++) { /* where they say, in order */
			struct slice raw = list.e[from].text_raw;

			CHECK(!raw.p || (raw.p >= at && raw.p + raw.n <= payload.p + payload.n));
			at = raw.p ? raw.p + raw.n : at;
		}
	}
	return bench_events(b, &list);
}

static inline int bench_event_fails(struct bench *b, const struct protocol *p, const char *payload)
{
	struct decode_state s = {0};
	struct chat_events list = {0};

	return p->decode_event(&s, &b->a, b->jp, slice_from(payload), &list, &b->err);
}

/* A complete request, as upstreams of other protocols get it. */
static inline int bench_complete(struct bench *b, const struct protocol *p, const char *body, struct chat_request *ret)
{
	int rc = bench_request(b, p, body, ret);

	return rc < 0 ? rc : protocol_complete(p, &b->a, ret, &b->param, &b->err);
}

#define CHECK_SLICE(b, got, want) CHECK_STR(bench_cstr((b), (got)), (want))
#define CHECK_HAS(text, part)                                                                 \
	do {                                                                                  \
		const char *t_ = (text), *p_ = (part);                                        \
		if (!strstr(t_, p_)) {                                                        \
			t_failed = 1;                                                         \
			printf("# %s:%d: \"%s\" lacks \"%s\"\n", __FILE__, __LINE__, t_, p_); \
		}                                                                             \
	} while (0)
