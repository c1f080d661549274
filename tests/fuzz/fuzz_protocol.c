/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every decoder on arbitrary bytes.  The first byte chooses the protocol and the side, the rest is the body.  What is
 * decoded is also used: spliced, translated and encoded, and every place that it names must lie inside the body.
 */
#include <assert.h>
#include <sys/uio.h>

#include "serving/protocol/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct protocol *const protocols[] = {
	&protocol_openai, &protocol_ollama,	     &protocol_generate,  &protocol_anthropic,
	&protocol_gemini, &protocol_ollama_generate, &protocol_responses, &protocol_openai_completions};
static const struct protocol *const embeddings[] = {&protocol_openai_embeddings,  &protocol_gemini_embed,
						    &protocol_gemini_embed_batch, &protocol_ollama_embed,
						    &protocol_ollama_embeddings,  &protocol_openai_embeddings,
						    &protocol_openai_embeddings,  &protocol_openai_embeddings};
_Static_assert(COUNT_OF(protocols) == COUNT_OF(embeddings), "a number names one of each");

static const struct answer_meta meta = {.answer_id = {"id", 2}, .model = {"m", 1}, .include_usage = true};

static struct arena arena;
static struct json_parser *parser;
static struct buf out;

static void inside(struct slice body, struct slice raw)
{
	assert(!raw.p || (raw.p >= body.p && raw.p + raw.n <= body.p + body.n));
}

static void judged_inside(struct slice body, const struct chat_text *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		inside(body, t[i].raw);
		assert(t[i].raw.n >= 2 && t[i].raw.p[0] == '"' && t[i].raw.p[t[i].raw.n - 1] == '"');
		assert(i == 0 || t[i].raw.p >= t[i - 1].raw.p + t[i - 1].raw.n);
	}
}

static void parses(struct slice text)
{
	struct json *root;
	int rc = json_parse_copy(parser, &arena, text, NULL, &root, NULL);

	assert(rc == 0 || rc == E_TOOBIG);
}

/* An answer that repeats what was asked is JSON, on one line. */
static void repeat_request(const struct chat_request *r)
{
	const struct chat_answer said = {.text = SLICE_LIT("hi"), .finish = CHAT_FINISH_STOP};
	struct answer_meta m = meta;

	m.request = r;
	buf_clear(&out);
	if (protocol_responses.encode_answer(&out, &said, &m) < 0)
		return;
	assert(slice_chr(buf_slice(&out), '\n') < 0 && slice_chr(buf_slice(&out), '\r') < 0);
	parses(buf_slice(&out));
}

static void use_request(const struct protocol *p, struct chat_request *r)
{
	const char *param;
	struct upstream_params params = {.model = {"up", 2}, .stream = r->n_messages % 2 == 0, .parameters = r->root};
	struct iovec v[PROTOCOL_SPLICE_PIECES];
	int n = protocol_splice_request(&arena, r, &params, p, v, PROTOCOL_SPLICE_PIECES);

	assert(n > 0 || n == E_TOOBIG);
	buf_clear(&out);
	for (int i = 0; i < n; i++)
		buf_append(&out, v[i].iov_base, v[i].iov_len);
	if (n > 0 && !buf_failed(&out))
		parses(buf_slice(&out));
	repeat_request(r);
	if (r->loads) /* no model is asked */
		return;
	if (protocol_complete(p, &arena, r, &param, NULL) < 0)
		return;
	for (size_t i = 0; i < COUNT_OF(protocols); i++) { /* there are as many of both */
		const struct protocol *back = r->embed ? embeddings[i] : protocols[i];
		struct dropped_params dropped = {.n = 0};

		buf_clear(&out);
		if (back->encode_request && back->encode_request(&out, r, &params, &dropped) == 0)
			parses(buf_slice(&out));
	}
}

static void request(const struct protocol *p, struct slice body)
{
	struct chat_request r;
	struct json *root;
	const char *param;
	struct err err;

	if (!p->decode_request || json_parse(parser, &arena, body, NULL, &root, &err) < 0)
		return;
	if (p->decode_request(&arena, root, body, &r, &param, &err) < 0)
		return;
	assert(r.embed ? r.embed->n > 0 : r.n_messages > 0 || r.loads);
	inside(body, r.model_raw);
	judged_inside(body, r.judged, r.n_judged);
	use_request(p, &r);
}

static void encode_all(const struct chat_events *events)
{
	for (size_t i = 0; i < COUNT_OF(protocols); i++) {
		struct encode_state s = {0};

		buf_clear(&out);
		for (size_t k = 0; k < events->n && protocols[i]->encode_event; k++)
			(void)protocols[i]->encode_event(&s, &out, &events->e[k], &meta); /* may be full */
		encode_state_release(&s);
	}
}

static void answer(const struct protocol *p, struct slice body)
{
	struct chat_answer a;
	struct err err;

	if (!p->decode_answer)
		return;
	(void)p->decode_error(&arena, parser, body);
	if (p->decode_answer(&arena, parser, body, &a, &err) < 0)
		return;
	inside(body, a.text_raw);
	inside(body, a.logprobs_raw);
	judged_inside(body, a.judged, a.n_judged);
	buf_clear(&out);
	if (a.text_raw.p && protocol_splice_text(&out, body, a.text_raw, SLICE_LIT("\"m\n")) == 0)
		parses(buf_slice(&out));
	for (size_t i = 0; i < COUNT_OF(embeddings) && p->embeds; i++) {
		struct answer_meta m = meta;

		m.base64 = a.n_vectors % 2 == 0;
		buf_clear(&out);
		if (embeddings[i]->encode_answer(&out, &a, &m) == 0)
			parses(buf_slice(&out));
	}
	buf_clear(&out);
	for (size_t i = 0; i < COUNT_OF(protocols); i++) {
		struct chat_events events = {0};

		buf_clear(&out);
		if (protocols[i]->encode_answer && protocols[i]->encode_answer(&out, &a, &meta) == 0)
			parses(buf_slice(&out));
		if (protocol_answer_events(&arena, &a, &events) == 0)
			encode_all(&events);
	}
}

static void events_inside(struct slice payload, const struct chat_events *events, size_t from)
{
	const char *end = payload.p;

	for (size_t i = from; i < events->n; i++) {
		const struct chat_event *e = &events->e[i];

		inside(payload, e->text_raw);
		inside(payload, e->logprobs_raw);
		if (!e->text_raw.p)
			continue;
		assert(e->text_raw.n >= 2 && e->text_raw.p[0] == '"' && e->text_raw.p >= end);
		end = e->text_raw.p + e->text_raw.n;
	}
}

/* Lines of the body as the payloads of one stream. */
static void stream(const struct protocol *p, struct slice body)
{
	struct chat_events events = {0};
	struct decode_state s = {0};
	struct slice line;

	while (p->decode_event && slice_split(&body, '\n', &line)) {
		size_t from = events.n;

		if (p->decode_event(&s, &arena, parser, line, &events, NULL) < 0)
			break;
		events_inside(line, &events, from);
	}
	encode_all(&events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct protocol *p;
	struct slice body;
	char *copy;

	if (!parser) {
		parser = json_parser_new();
		arena_init(&arena, 64 * 1024, 8u << 20);
		buf_init(&out, 4u << 20);
	}
	arena_reset(&arena);
	if (size < 1 || size > 64 * 1024)
		return 0;
	/* files of the corpus name them so */
	p = (data[0] & 32 ? embeddings
			  : protocols)[data[0] & 16 ? (4 + (data[0] & 3)) % COUNT_OF(protocols) : data[0] & 3];
	copy = arena_zalloc(&arena, size - 1 + JSON_PADDING);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	body = (struct slice){copy, size - 1};
	if (data[0] & 4)
		request(p, body);
	else if (data[0] & 8)
		answer(p, body);
	else
		stream(p, body);
	return 0;
}
