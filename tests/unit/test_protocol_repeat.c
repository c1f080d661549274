/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that are read by comparing them with the one before say what the codec would have said, byte for byte; and a
 * payload that only looks alike goes to the codec.
 */
#include "protocol_util.h"

#define OPENAI(text)                                                                              \
	"{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text \
	"\"},\"finish_reason\":null}]}"
#define ANTHROPIC(text) \
	"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"" text "\"}}"
#define OLLAMA(text) "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"" text "\"},\"done\":false}"
#define THINKS(text) "{\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"" text "\"}}]}"
#define GEMINI(text) \
	"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"" text "\"}],\"role\":\"model\"},\"index\":0}]}"
#define MAX_PAYLOADS 12

/* One stream, read twice: by the codec, and with its repeats.  The state and every event have to be the same. */
struct both {
	struct bench b;
	const struct protocol *p;
	struct decode_state plain, state;
	struct event_repeat repeat;
};

static void check_slice(struct slice have, struct slice want, struct slice payload)
{
	CHECK(slice_eq(have, want));
	CHECK(!have.p == !want.p);
	CHECK(!have.p || (have.p >= payload.p && have.p + have.n <= payload.p + payload.n));
}

static void check_same(const struct chat_event *have, const struct chat_event *want, struct slice payload)
{
	CHECK_INT(have->type, want->type);
	CHECK_INT(have->channel, want->channel);
	CHECK_INT(have->index, want->index);
	CHECK_INT(have->part, want->part);
	CHECK_INT(have->finish, want->finish);
	CHECK(slice_eq(have->text, want->text));
	check_slice(have->text_raw, want->text_raw, payload);
	check_slice(have->logprobs_raw, want->logprobs_raw, payload);
}

static int feed(struct both *t, const char *text)
{
	struct chat_events want = {0}, have = {0};
	struct slice payload = bench_text(&t->b, text);
	struct event_source from = {payload, &t->b.a, &t->b.a, t->b.jp};
	int rc = t->p->decode_event(&t->plain, &t->b.a, t->b.jp, payload, &want, &t->b.err);

	CHECK_INT(protocol_decode_event(t->p, &t->state, &t->repeat, &from, &have, &t->b.err), rc);
	CHECK_INT(have.n, want.n);
	for (size_t i = 0; i < have.n && i < want.n; i++)
		check_same(&have.e[i], &want.e[i], payload);
	CHECK_STR(bench_events(&t->b, &have), bench_events(&t->b, &want));
	CHECK(memcmp((const char *)&t->state, (const char *)&t->plain, sizeof(t->state)) == 0);
	return rc;
}

static int refuse(struct decode_state *s, struct arena *a, struct json_parser *jp, struct slice payload,
		  struct chat_events *ret, struct err *err)
{
	(void)s, (void)a, (void)jp, (void)payload, (void)ret, (void)err;
	return E_INVALID;
}

/* Whether this would be said without the codec. */
static bool is_repeat(struct both *t, const char *text)
{
	struct protocol deaf = *t->p;
	struct event_repeat repeat = t->repeat;
	struct decode_state state = t->state;
	struct chat_events events = {0};
	struct event_source from = {bench_text(&t->b, text), &t->b.a, &t->b.a, NULL};

	deaf.decode_event = refuse;
	return protocol_decode_event(&deaf, &state, &repeat, &from, &events, NULL) == 0;
}

TEST(texts_repeat_in_every_protocol)
{
	static const struct {
		const struct protocol *p;
		const char *payloads[MAX_PAYLOADS], *again;
	} rows[] = {
		{&protocol_openai, {OPENAI("one"), OPENAI(" two"), OPENAI(" three")}, OPENAI(" four")},
		{&protocol_openai, {OPENAI("one"), OPENAI(" two")}, OPENAI("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")},
		{&protocol_openai, {THINKS("well"), THINKS(", so")}, THINKS(" it is")},
		{&protocol_openai, {THINKS("well"), OPENAI("a"), OPENAI("b")}, OPENAI("c")},
		{&protocol_anthropic,
		 {"{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
		  ANTHROPIC("one"), ANTHROPIC(" two")},
		 ANTHROPIC(" three")},
		{&protocol_ollama, {OLLAMA("one"), OLLAMA(" two")}, OLLAMA(" three")},
		{&protocol_gemini, {GEMINI("one"), GEMINI(" two")}, GEMINI(" three")},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct both t = {.p = rows[i].p};

		bench_init(&t.b);
		for (size_t k = 0; rows[i].payloads[k]; k++)
			CHECK_INT(feed(&t, rows[i].payloads[k]), 0);
		CHECK(is_repeat(&t, rows[i].again));
		CHECK_INT(feed(&t, rows[i].again), 0);
		bench_done(&t.b);
	}
}

TEST(what_only_looks_alike_goes_to_the_codec)
{
	static const char *const rows[] = {
		OPENAI(""),
		OPENAI("a\\nb"),
		OPENAI("\\u00e4"),
		OPENAI("a\",\"refusal\":\"no"),
		OPENAI("a\"},\"finish_reason\":\"stop\",\"x\":{\"y\":\""),
		OPENAI("a\tb"),
		OPENAI("a\x7f\x1f"),
		OPENAI("\xc3"),
		OPENAI("\xed\xa0\x80"),
		OPENAI("\xff"),
		"{\"id\":\"c2\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":null}]}",
		"{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
		("{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},"
		 "\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}"),
		"{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"",
		"[DONE]",
		"",
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct both t = {.p = &protocol_openai};

		bench_init(&t.b);
		CHECK_INT(feed(&t, OPENAI("one")), 0);
		CHECK_INT(feed(&t, OPENAI(" two")), 0);
		CHECK(is_repeat(&t, OPENAI(" three")));
		(void)feed(&t, rows[i]); /* the same as the codec, whatever that says */
		(void)feed(&t, OPENAI(" four"));
		(void)feed(&t, OPENAI(" five"));
		bench_done(&t.b);
	}
}

TEST(a_part_that_begins_ends_the_repeat)
{
	struct both t = {.p = &protocol_openai};

	bench_init(&t.b);
	CHECK_INT(feed(&t, THINKS("well")), 0);
	CHECK_INT(feed(&t, THINKS(" so")), 0);
	CHECK(is_repeat(&t, THINKS(" be it")));
	CHECK_INT(feed(&t, OPENAI("answer")), 0);
	CHECK(!is_repeat(&t, THINKS(" again")));
	CHECK_INT(feed(&t, THINKS(" again")), 0);
	CHECK_INT(feed(&t, OPENAI("more")), 0);
	bench_done(&t.b);
}

TEST(more_around_a_text_than_is_kept_is_decoded_each_time)
{
	char text[1200];
	struct both t = {.p = &protocol_openai};

	bench_init(&t.b);
	for (int i = 0; i < 3; i++) {
		(void)snprintf(text, sizeof(text), "{\"id\":\"%0900d\",\"choices\":[{\"delta\":{\"content\":\"%d\"}}]}",
			       1, i);
		CHECK_INT(feed(&t, text), 0);
		CHECK_INT(t.repeat.n_before, 0);
	}
	bench_done(&t.b);
}
