/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's completions of texts in both directions. */
#include "unit/protocol_util.h"

#define BODY(more) "{\"model\":\"m\",\"prompt\":\"a\"," more "}"

static const struct {
	const char *body;
	const char *param; /* NULL: accepted */
	const char *error;
} request_cases[] = {
	{"{\"model\":\"m\",\"prompt\":\"a\"}", NULL, ""},
	{"{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}", NULL, ""},
	{"{\"model\":\"m\",\"prompt\":[1,2]}", NULL, ""},
	{"{\"model\":\"m\",\"prompt\":[[1],[2]]}", NULL, ""},
	{"[]", "", "must be a JSON object"},
	{"{\"prompt\":\"a\"}", "model", "model is missing"},
	{"{\"model\":\"m\"}", "prompt", "prompt is missing"},
	{"{\"model\":\"m\",\"prompt\":null}", "prompt", "prompt is missing"},
	{"{\"model\":\"m\",\"prompt\":7}", "prompt", "a string or an array, not a number"},
	{"{\"model\":\"m\",\"prompt\":[]}", "prompt", "at least one"},
	{"{\"model\":\"m\",\"prompt\":[\"a\",1]}", "prompt", "one kind only"},
	{"{\"model\":\"m\",\"prompt\":[\"a\",[1]]}", "prompt", "one kind only"},
	{"{\"model\":\"m\",\"prompt\":[[\"a\"]]}", "prompt", "numbers of tokens"},
	{"{\"model\":\"m\",\"prompt\":\"a\",\"prompt\":\"b\"}", "prompt", "twice"},
	{BODY("\"suffix\":7"), "suffix", "must be a string"},
	{BODY("\"suffix\":\"a\",\"suffix\":\"b\""), "suffix", "twice"},
	{BODY("\"max_tokens\":0"), NULL, ""},
	{BODY("\"max_tokens\":-1"), "max_tokens", "above 0"},
	{BODY("\"n\":129"), "n", "from 1 to 128"},
	{BODY("\"stream\":1"), "stream", "true or false"},
	{BODY("\"stream_options\":[]"), "stream_options", "an object"},
	{BODY("\"stop\":[1]"), "stop", "strings only"},
};

TEST(a_request_is_read_or_refused_by_name)
{
	for (size_t i = 0; i < COUNT_OF(request_cases); i++) {
		struct chat_request r;
		struct bench b;
		int rc;

		bench_init(&b);
		rc = bench_request(&b, &protocol_openai_completions, request_cases[i].body, &r);
		CHECK_INT(rc, request_cases[i].param ? E_INVALID : 0);
		if (request_cases[i].param) {
			CHECK_STR(b.param ? b.param : "", request_cases[i].param);
			CHECK_HAS(b.err.text, request_cases[i].error);
		}
		bench_done(&b);
	}
}

TEST(prompts_and_suffix_are_judged_where_they_stand)
{
	struct chat_request r;
	struct bench b;

	bench_init(&b);
	CHECK_INT(bench_request(&b, &protocol_openai_completions,
				"{\"suffix\":\"s\",\"model\":\"m\",\"prompt\":[\"a\",\"\",\"b\"]}", &r),
		  0);
	CHECK_INT((long long)r.n_judged, 3);
	CHECK_SLICE(&b, r.judged[0].text, "s");
	CHECK_SLICE(&b, r.judged[2].raw, "\"b\"");
	CHECK_SLICE(&b, r.prompt, "a\n\nb");
	CHECK_INT((long long)r.n_messages, 3);
	CHECK(!r.tokens_only);
	CHECK_INT(bench_request(&b, &protocol_openai_completions, "{\"model\":\"m\",\"prompt\":[ 1,2]}", &r), 0);
	CHECK_SLICE(&b, r.prompt, "[ 1,2]");
	CHECK(r.tokens_only && r.n_messages == 1 && r.n_judged == 0);
	bench_done(&b);
}

static const char *dropped_of(struct bench *b, const struct protocol *back, const char *body)
{
	struct upstream_params p = {.model = SLICE_LIT("up"), .stream = true};
	struct dropped_params d = {.n = 0};
	struct chat_request r;
	struct buf names;

	buf_clear(&b->out);
	CHECK_INT(bench_complete(b, &protocol_openai_completions, body, &r), 0);
	CHECK_INT(back->encode_request(&b->out, &r, &p, &d), 0);
	buf_init_arena(&names, &b->a, 512);
	for (size_t i = 0; i < d.n; i++)
		buf_printf(&names, "%s" SLICE_FMT, i ? "," : "", SLICE_ARG(d.name[i]));
	return buf_cstr(&names);
}

TEST(what_a_chat_cannot_carry_is_named_and_what_is_so_anyway_is_not)
{
	struct bench b;

	bench_init(&b);
	CHECK_STR(dropped_of(&b, &protocol_openai, BODY("\"suffix\":\"s\",\"echo\":true,\"best_of\":2,\"logprobs\":1")),
		  "suffix,echo,best_of,logprobs");
	CHECK_STR(dropped_of(
			  &b, &protocol_openai,
			  BODY("\"suffix\":\"\",\"echo\":false,\"best_of\":1,\"n\":1,\"user\":\"u\",\"max_tokens\":5")),
		  "");
	CHECK_STR(buf_cstr(&b.out), "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
				    "\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_tokens\":5,"
				    "\"user\":\"u\"}");
	bench_done(&b);
}

static const char *const untranslatable[] = {"{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}",
					     "{\"model\":\"m\",\"prompt\":[1]}", "{\"model\":\"m\",\"prompt\":[[1]]}"};

TEST(what_a_chat_would_answer_otherwise_is_refused)
{
	for (size_t i = 0; i < COUNT_OF(untranslatable); i++) {
		struct chat_request r;
		struct bench b;

		bench_init(&b);
		CHECK_INT(bench_complete(&b, &protocol_openai_completions, untranslatable[i], &r), E_INVALID);
		CHECK_STR(b.param, "prompt");
		bench_done(&b);
	}
}

TEST(a_chat_is_one_prompt)
{
	struct upstream_params p = {.model = SLICE_LIT("up")};
	struct dropped_params d = {.n = 0};
	struct chat_request r;
	struct bench b;

	bench_init(&b);
	CHECK_INT(bench_complete(
			  &b, &protocol_openai,
			  "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\","
			  "\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\","
			  "\"content\":\"c\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
			  "\"seed\":7}",
			  &r),
		  0);
	CHECK_INT(protocol_openai_completions.encode_request(&b.out, &r, &p, &d), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"model\":\"up\",\"prompt\":\"s\\n\\nUser: a\\n\\nAssistant: b\\n\\nUser: "
				    "c\\n\\nAssistant:\",\"seed\":7}");
	CHECK_INT((long long)d.n, 1);
	CHECK_SLICE(&b, d.name[0], "tools");
	bench_done(&b);
}

TEST(an_answer_is_read_with_every_choice)
{
	struct chat_answer a;
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_openai_completions.decode_answer(
			  &b.a, b.jp,
			  bench_text(&b, "{\"id\":\"c\",\"choices\":[{\"text\":\"hi\",\"index\":0,\"logprobs\":{},"
					 "\"finish_reason\":\"length\"},{\"text\":\"ho\",\"index\":1,\"logprobs\":{}}],"
					 "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}"),
			  &a, &b.err),
		  0);
	CHECK_SLICE(&b, a.text, "hi");
	CHECK_INT(a.finish, CHAT_FINISH_LENGTH);
	CHECK_INT((long long)a.n_judged, 2);
	CHECK_SLICE(&b, a.judged[1].text, "ho");
	CHECK_SLICE(&b, a.logprobs_raw, "{}");
	CHECK_INT((long long)a.n_other_logprobs, 1);
	CHECK_INT(a.usage.completion_tokens, 2);
	CHECK_INT(protocol_openai_completions.decode_answer(&b.a, b.jp, SLICE_LIT("{\"object\":\"x\"}"), &a, &b.err),
		  E_INVALID);
	CHECK_HAS(b.err.text, "no completion");
	bench_done(&b);
}

TEST(a_stream_is_read)
{
	const char *const payloads[] = {
		"{\"id\":\"c\",\"choices\":[{\"text\":\"h\",\"index\":0,\"finish_reason\":null}]}",
		"{\"id\":\"c\",\"choices\":[{\"text\":\"x\",\"index\":1},{\"text\":\"i\",\"index\":0}]}",
		"{\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"stop\"}]}",
		"{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}",
		"[DONE]",
		NULL};
	struct bench b;

	bench_init(&b);
	CHECK_STR(bench_stream(&b, &protocol_openai_completions, payloads),
		  "begin id=c; text 'h'; other 64 'x'; text 'i'; over; finish stop; usage 1+2; end");
	bench_done(&b);
}

TEST(answers_and_streams_are_written)
{
	struct answer_meta m = {
		.answer_id = SLICE_LIT("c"), .created_s = 9, .model = SLICE_LIT("m@1"), .include_usage = true};
	struct chat_usage usage = {.known = true, .prompt_tokens = 1, .completion_tokens = 2, .total_tokens = 3};
	struct chat_part no = {.kind = CHAT_PART_REFUSAL, .text = SLICE_LIT("no")};
	struct chat_answer a = {.text = SLICE_LIT("hi"), .finish = CHAT_FINISH_LENGTH, .usage = usage};
	const struct chat_event events[] = {{.type = CHAT_EVENT_START},
					    {.type = CHAT_EVENT_REASONING, .text = SLICE_LIT("hm")},
					    {.type = CHAT_EVENT_TEXT, .text = SLICE_LIT("hi")},
					    {.type = CHAT_EVENT_FINISH, .finish = CHAT_FINISH_TOOL_CALLS},
					    {.type = CHAT_EVENT_END, .usage = usage}};
	struct encode_state s = {0};
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_openai_completions.encode_answer(&b.out, &a, &m), 0);
	CHECK_STR(
		buf_cstr(&b.out),
		"{\"id\":\"c\",\"object\":\"text_completion\",\"created\":9,\"model\":\"m@1\",\"system_fingerprint\":"
		"\"muster\",\"choices\":[{\"text\":\"hi\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"length\"}],"
		"\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}");
	a = (struct chat_answer){.finish = CHAT_FINISH_REFUSAL, .parts = &no, .n_parts = 1};
	buf_clear(&b.out);
	CHECK_INT(protocol_openai_completions.encode_answer(&b.out, &a, &m), 0);
	CHECK_HAS(buf_cstr(&b.out),
		  "\"text\":\"no\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"content_filter\"");
	buf_clear(&b.out);
	for (size_t i = 0; i < COUNT_OF(events); i++)
		CHECK_INT(protocol_openai_completions.encode_event(&s, &b.out, &events[i], &m), 0);
	CHECK(!strstr(buf_cstr(&b.out), "hm"));
	CHECK_HAS(buf_cstr(&b.out),
		  "\"choices\":[{\"text\":\"hi\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]}\n\n");
	CHECK_HAS(buf_cstr(&b.out), "{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n");
	CHECK_HAS(buf_cstr(&b.out), "\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,"
				    "\"total_tokens\":3}}\n\ndata: [DONE]\n\n");
	bench_done(&b);
}

static const struct {
	const struct protocol *model, *front, *want;
} ways[] = {
	{&protocol_openai, &protocol_openai_completions, &protocol_openai_completions},
	{&protocol_anthropic, &protocol_openai_completions, &protocol_anthropic},
	{&protocol_ollama, &protocol_openai_completions, &protocol_ollama},
	{&protocol_openai_completions, &protocol_openai, &protocol_openai_completions},
	{&protocol_openai_completions, &protocol_openai_completions, &protocol_openai_completions},
	{&protocol_openai_completions, &protocol_openai_embeddings, &protocol_openai_embeddings},
	{&protocol_openai_embeddings, &protocol_openai_completions, NULL},
};

TEST(a_model_is_spoken_to_as_it_can)
{
	for (size_t i = 0; i < COUNT_OF(ways); i++)
		CHECK(protocol_for(ways[i].model, ways[i].front) == ways[i].want);
}
