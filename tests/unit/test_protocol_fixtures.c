/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded traffic of real providers (../shared/fixtures) through the decoders.  What a stream's text comes to is
 * compared with what a scan for the content members finds, which knows nothing of the decoders.  Without the recordings
 * every test says so.
 */
#include <glob.h>

#include "unit/protocol_util.h"

#define ROOT "../shared/fixtures/"
#define FILE_MAX (1u << 20)

static bool absent(void)
{
	glob_t g;
	int rc = glob(ROOT "*", 0, NULL, &g);

	if (rc == 0)
		globfree(&g);
	else
		printf("# skipped: " ROOT " is not there\n");
	return rc != 0;
}

static struct slice read_file(struct bench *b, const char *path)
{
	char *p = arena_alloc(&b->a, FILE_MAX + JSON_PADDING);
	FILE *f = fopen(path, "rb");
	size_t n;

	CHECK(p && f);
	if (!p || !f)
		exit(1);
	n = fread(p, 1, FILE_MAX, f);
	CHECK(n > 0 && n < FILE_MAX);
	(void)fclose(f); /* only read from */
	memset(p + n, 0, JSON_PADDING);
	return (struct slice){p, n};
}

/* The raw words of the first content member after `from` in a text, without quotes. */
static struct slice scan_content(struct slice text, const char *from)
{
	ptrdiff_t at = slice_find(text, slice_from(from)), n;

	if (at < 0)
		return SLICE_LIT("");
	text = slice_sub(text, (size_t)at, text.n);
	at = slice_find(text, SLICE_LIT("\"content\":"));
	if (at < 0)
		return SLICE_LIT("");
	text = slice_sub(text, (size_t)at + 10, text.n);
	while (text.n && *text.p == ' ')
		text = slice_sub(text, 1, text.n);
	if (!text.n || *text.p != '"')
		return SLICE_LIT("");
	for (n = 1; (size_t)n < text.n && text.p[n] != '"'; n++)
		n += text.p[n] == '\\';
	return slice_sub(text, 1, (size_t)n - 1);
}

static void add_raw(struct buf *to, struct slice raw)
{
	if (raw.n >= 2 && *raw.p == '"')
		buf_append(to, raw.p + 1, raw.n - 2);
}

struct seen {
	unsigned text, calls, error, end;
	enum chat_finish finish;
	bool usage_known;
};

static void see(struct seen *s, const struct chat_event *e)
{
	s->text += e->type == CHAT_EVENT_TEXT;
	s->calls += e->type == CHAT_EVENT_TOOL_START;
	s->error += e->type == CHAT_EVENT_ERROR;
	s->end += e->type == CHAT_EVENT_END;
	if (e->finish != CHAT_FINISH_NONE)
		s->finish = e->finish;
	s->usage_known |= e->usage.known;
}

/* Every line of a recorded stream.  Lines of SSE begin with "data: "; lines of *.chunks.txt are payloads. */
static struct seen run_stream(const struct protocol *p, const char *path, const char *before_content)
{
	struct decode_state state = {0};
	struct seen seen = {0};
	struct buf ours, theirs;
	struct slice text, line;
	struct bench b;

	bench_init(&b);
	buf_init(&ours, FILE_MAX);
	buf_init(&theirs, FILE_MAX);
	text = read_file(&b, path);
	while (slice_split(&text, '\n', &line)) {
		struct chat_events events = {0};

		line = slice_trim(line);
		if (slice_starts(line, SLICE_LIT("data: ")))
			line = slice_sub(line, 6, line.n);
		if (!line.n)
			continue;
		CHECK_INT(p->decode_event(&state, &b.a, b.jp, line, &events, &b.err), 0);
		for (size_t i = 0; i < events.n; i++) {
			see(&seen, &events.e[i]);
			if (events.e[i].channel == CHAT_CHANNEL_TEXT && events.e[i].type == CHAT_EVENT_TEXT)
				add_raw(&ours, events.e[i].text_raw);
		}
		buf_add(&theirs, scan_content(line, before_content));
	}
	if (!strstr(path, "mistral-reasoning")) /* its content is an array, which the scan does not understand */
		CHECK_STR(buf_cstr(&ours), buf_cstr(&theirs));
	else
		CHECK_STR(buf_cstr(&ours), "2 + 2 = 4");
	CHECK_INT(seen.error, 0);
	CHECK(seen.finish != CHAT_FINISH_NONE);
	buf_release(&ours);
	buf_release(&theirs);
	bench_done(&b);
	return seen;
}

static void run_answer(const struct protocol *p, const char *path)
{
	struct chat_answer answer;
	struct slice body, want;
	struct bench b;

	bench_init(&b);
	body = read_file(&b, path);
	b.err.text[0] = 0;
	if (slice_find(body, SLICE_LIT("\"error\":")) >= 0) {
		CHECK_INT(p->decode_answer(&b.a, b.jp, body, &answer, &b.err), E_INVALID);
		CHECK_HAS(b.err.text, "the upstream reports: ");
		CHECK(p->decode_error(&b.a, b.jp, body).n > 10);
		bench_done(&b);
		return;
	}
	CHECK_INT(p->decode_answer(&b.a, b.jp, body, &answer, &b.err), 0);
	want = scan_content(body, "\"message\":");
	CHECK_SLICE(&b, slice_sub(answer.text_raw, 1, answer.text_raw.n > 1 ? answer.text_raw.n - 2 : 0),
		    bench_cstr(&b, want));
	CHECK(answer.finish != CHAT_FINISH_NONE && answer.usage.known && answer.usage.total_tokens > 0 &&
	      answer.model.n);
	CHECK_INT((long long)answer.n_choices, 1);
	/* masking it puts exactly the mask there */
	if (answer.text_raw.p) {
		CHECK_INT(protocol_splice_text(&b.out, body, answer.text_raw, SLICE_LIT("masked")), 0);
		CHECK_INT(p->decode_answer(&b.a, b.jp, buf_slice(&b.out), &answer, &b.err), 0);
		CHECK_SLICE(&b, answer.text, "masked");
	}
	bench_done(&b);
}

/* Runs over all files of a pattern; returns how many. */
static size_t each(const char *pattern, void (*run)(const char *path))
{
	size_t n;
	glob_t g;

	if (glob(pattern, 0, NULL, &g))
		return 0;
	n = g.gl_pathc;
	for (size_t i = 0; i < n; i++) {
		int before = t_failed;

		t_failed = 0;
		run(g.gl_pathv[i]);
		if (t_failed)
			printf("# in %s\n", g.gl_pathv[i]);
		t_failed |= before;
	}
	globfree(&g);
	return n;
}

static void openai_answer(const char *path)
{
	run_answer(&protocol_openai, path);
}

static void openai_stream(const char *path)
{
	struct seen s = run_stream(&protocol_openai, path, "\"delta\":");

	if (strstr(path, "tool-call"))
		CHECK(s.calls > 0 && s.finish == CHAT_FINISH_TOOL_CALLS);
}

static void openai_wire(const char *path)
{
	CHECK_INT(run_stream(&protocol_openai, path, "\"delta\":").end, 1);
}

static void ollama_answer(const char *path)
{
	run_answer(&protocol_ollama, path);
}

static void ollama_stream(const char *path)
{
	struct seen s = run_stream(&protocol_ollama, path, "\"message\":");

	CHECK(s.end == 1 && s.usage_known && s.text > 5);
}

/* The recorded request of a caller. */
static void openai_request(const char *path)
{
	struct bench b;
	struct json *root;
	struct chat_request r;
	const struct json *body;
	/* two were recorded for being refused */
	const char *wrong = strstr(path, "no-messages")	  ? "messages"
			    : strstr(path, "bad-request") ? "max_tokens"
							  : NULL;

	bench_init(&b);
	CHECK_INT(json_parse(b.jp, &b.a, read_file(&b, path), NULL, &root, &b.err), 0);
	body = json_get(json_get(root, "request"), "body");
	CHECK_INT(protocol_openai.decode_request(&b.a, body, body->raw, &r, &b.param, &b.err), wrong ? E_INVALID : 0);
	if (wrong)
		CHECK_STR(b.param, wrong);
	else
		CHECK(r.prompt.n > 0 && r.model.n > 0 && (r.n_judged > 0 || r.messages[0].role == CHAT_SYSTEM));
	bench_done(&b);
}

TEST(answers_of_openai_and_its_kin_are_read)
{
	if (absent())
		return;
	CHECK(each(ROOT "openai/openai-text.json", openai_answer) == 1);
	CHECK(each(ROOT "openai-compatible/*.json", openai_answer) >= 4);
	CHECK(each(ROOT "wire-openai-envoy/chat*.body.json", openai_answer) >= 15);
	CHECK(each(ROOT "wire-openai-envoy/azure-chat*.body.json", openai_answer) == 1);
}

TEST(streams_of_openai_and_its_kin_come_to_the_same_text)
{
	if (absent())
		return;
	CHECK(each(ROOT "openai/openai-text.chunks.txt", openai_stream) == 1);
	CHECK(each(ROOT "openai/azure*.chunks.txt", openai_stream) == 1);
	CHECK(each(ROOT "openai-compatible/*.chunks.txt", openai_stream) >= 6);
	CHECK(each(ROOT "openai-compatible/*.sse", openai_wire) >= 1);
	CHECK(each(ROOT "wire-openai-envoy/chat*.sse", openai_wire) >= 3);
}

TEST(requests_of_real_clients_are_understood)
{
	if (absent())
		return;
	CHECK(each(ROOT "wire-openai-envoy/*chat*.meta.json", openai_request) >= 18);
}

TEST(ollama_is_read_whole_and_streamed)
{
	if (absent())
		return;
	CHECK(each(ROOT "wire-ollama-openllmetry/*_chat_*.body.json", ollama_answer) >= 3);
	CHECK(each(ROOT "wire-ollama-openllmetry/*_chat_*.body.ndjson", ollama_stream) >= 2);
}

/* The grammar of their streams differs too much for the scan: what tests/integration replays is compared there. */
static void gemini_any(const char *path)
{
	bool whole = strstr(path, ".chunks") == NULL;
	struct decode_state state = {0};
	struct chat_events events = {0};
	struct chat_answer answer;
	struct slice text, line;
	struct seen seen = {0};
	struct bench b;

	bench_init(&b);
	text = read_file(&b, path);
	if (strstr(path, "429")) {
		CHECK_INT(protocol_gemini.error_retry_ms(&b.a, b.jp, text), 34400);
		CHECK_INT(protocol_gemini.decode_answer(&b.a, b.jp, text, &answer, &b.err), E_INVALID);
	} else if (whole) {
		CHECK_INT(protocol_gemini.decode_answer(&b.a, b.jp, text, &answer, &b.err), 0);
		CHECK(answer.finish != CHAT_FINISH_NONE && answer.usage.total_tokens > 0 && answer.model.n);
	}
	while (!whole && slice_split(&text, '\n', &line))
		if (line.n)
			CHECK_INT(protocol_gemini.decode_event(&state, &b.a, b.jp, line, &events, &b.err), 0);
	for (size_t i = 0; i < events.n; i++)
		see(&seen, &events.e[i]);
	CHECK(whole || (!seen.error && seen.usage_known && seen.finish != CHAT_FINISH_NONE));
	CHECK(whole || !strstr(path, "tool-call") || (seen.calls > 0 && seen.finish == CHAT_FINISH_TOOL_CALLS));
	bench_done(&b);
}

TEST(gemini_is_read_whole_and_streamed)
{
	if (absent())
		return;
	CHECK(each(ROOT "gemini/*.json", gemini_any) >= 6);
	CHECK(each(ROOT "gemini/*.chunks.txt", gemini_any) >= 7);
}

static void anthropic_any(const char *path)
{
	bool whole = strstr(path, ".chunks") == NULL, twice = strstr(path, "spliced") != NULL;
	struct decode_state state = {0};
	struct chat_events events = {0};
	struct chat_answer answer;
	struct slice text, line;
	struct seen seen = {0};
	struct bench b;

	bench_init(&b);
	text = read_file(&b, path);
	if (whole) {
		CHECK_INT(protocol_anthropic.decode_answer(&b.a, b.jp, text, &answer, &b.err), 0);
		CHECK(answer.finish != CHAT_FINISH_NONE && answer.usage.total_tokens > 0 && answer.model.n);
	}
	while (!whole && slice_split(&text, '\n', &line))
		if (line.n)
			CHECK_INT(protocol_anthropic.decode_event(&state, &b.a, b.jp, line, &events, &b.err), 0);
	for (size_t i = 0; i < events.n; i++)
		see(&seen, &events.e[i]);
	if (!whole) {
		CHECK_INT(seen.error, twice);
		CHECK(twice || (seen.end == 1 && seen.usage_known && seen.finish != CHAT_FINISH_NONE));
	}
	bench_done(&b);
}

TEST(anthropic_is_read_whole_and_streamed)
{
	if (absent())
		return;
	CHECK(each(ROOT "anthropic/*.json", anthropic_any) >= 7);
	CHECK(each(ROOT "anthropic/*.chunks.txt", anthropic_any) >= 10);
}
