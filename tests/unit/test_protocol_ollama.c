/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's chat protocol, as an upstream. */
#include "unit/protocol_util.h"

TEST(it_has_no_front)
{
	CHECK(!protocol_ollama.decode_request && !protocol_ollama.encode_answer && !protocol_ollama.encode_event);
	CHECK_INT(protocol_ollama.framing, FRAMING_NDJSON);
}

TEST(a_request_is_translated_with_its_options)
{
	struct bench b;
	struct chat_request r;
	struct dropped_params dropped = {.n = 0};
	struct upstream_params p = {.model = SLICE_LIT("llama3"), .stream = true};

	bench_init(&b);
	p.parameters = bench_json(
		&b,
		"{\"temperature\":0.1,\"top_k\":4,\"keep_alive\":\"5m\",\"options\":{\"num_ctx\":8},\"stream\":false}");
	CHECK_INT(
		bench_request(
			&b, &protocol_openai,
			"{\"model\":\"x\",\"messages\":[{\"role\":\"developer\",\"content\":\"s\"},{\"role\":\"user\","
			"\"content\":"
			"[{\"type\":\"text\",\"text\":\"hi\"},{\"type\":\"image_url\",\"image_url\":{}},{\"type\":"
			"\"odd\\r\"}]},"
			"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{}]}],\"max_tokens\":5,"
			"\"temperature\":0.5,\"top_p\":1,"
			"\"seed\":3,\"stop\":[\"a\",\"b\"],\"n\":1,\"tools\":[],\"response_format\":{},\"user\":null}",
			&r),
		0);
	CHECK_INT(protocol_ollama.encode_request(&b.out, &r, &p, &dropped), 0);
	CHECK_STR(buf_cstr(&b.out),
		  "{\"model\":\"llama3\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\","
		  "\"content\":\"hi\"},"
		  "{\"role\":\"assistant\",\"content\":\"\"}],\"stream\":true,\"keep_alive\":\"5m\",\"options\":{\"num_"
		  "predict\":5,"
		  "\"temperature\":0.5,\"top_p\":1,\"seed\":3,\"stop\":[\"a\",\"b\"],\"top_k\":4,\"num_ctx\":8}}");
	CHECK_INT((long long)dropped.n, 5);
	CHECK_SLICE(&b, dropped.name[0], "tools");
	CHECK_SLICE(&b, dropped.name[1], "response_format");
	CHECK_SLICE(&b, dropped.name[2], "messages[].image_url");
	CHECK_SLICE(&b, dropped.name[3], "messages[].content");
	CHECK_SLICE(&b, dropped.name[4], "messages[].tool_calls");
	bench_done(&b);
}

TEST(more_names_than_fit_are_left_out)
{
	struct bench b;
	struct chat_request r;
	struct dropped_params dropped = {.n = 0};
	struct upstream_params p = {.model = SLICE_LIT("m")};

	bench_init(&b);
	buf_adds(&b.out, "{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]");
	for (int i = 0; i < DROPPED_MAX + 1; i++)
		buf_printf(&b.out, ",\"p%d\":1", i);
	buf_adds(&b.out, "}");
	CHECK_INT(bench_request(&b, &protocol_openai, buf_cstr(&b.out), &r), 0);
	buf_clear(&b.out);
	CHECK_INT(protocol_ollama.encode_request(&b.out, &r, &p, &dropped), 0);
	CHECK_HAS(buf_cstr(&b.out), "\"stream\":false,\"options\":{}}");
	CHECK_INT((long long)dropped.n, DROPPED_MAX);
	bench_done(&b);
}

TEST(an_answer_is_read)
{
	struct bench b;
	struct chat_answer answer;
	struct slice body;

	bench_init(&b);
	body = bench_text(&b, "{\"model\":\"llama3\",\"message\":{\"role\":\"assistant\",\"content\":\"a\\nb\","
			      "\"thinking\":\"hm\"},\"done\":true,"
			      "\"done_reason\":\"length\",\"prompt_eval_count\":4,\"eval_count\":6}");
	CHECK_INT(protocol_ollama.decode_answer(&b.a, b.jp, body, &answer, &b.err), 0);
	CHECK_SLICE(&b, answer.text, "a\nb");
	CHECK_SLICE(&b, answer.text_raw, "\"a\\nb\"");
	CHECK_SLICE(&b, answer.model, "llama3");
	CHECK_INT(answer.finish, CHAT_FINISH_LENGTH);
	CHECK(answer.usage.known && answer.usage.prompt_tokens == 4 && answer.usage.total_tokens == 10);
	CHECK_INT((long long)answer.n_judged, 2);
	bench_done(&b);
}

static const struct {
	const char *body, *error;
} bad_answers[] = {
	{"", ""},
	{"[]", "has no message"},
	{"{}", "has no message"},
	{"{\"message\":\"x\",\"done\":true}", "has no message"},
	{"{\"message\":{\"content\":\"half\"},\"done\":false}", "broke its answer off"},
	{"{\"message\":{\"content\":\"half\"}}", "broke its answer off"},
	{"{\"error\":\"model 'x' not found\"}", "model 'x' not found"},
};

TEST(what_is_no_whole_answer_is_refused)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(bad_answers); i++) {
		struct chat_answer answer;

		b.err.text[0] = 0;
		CHECK_INT(protocol_ollama.decode_answer(&b.a, b.jp, slice_from(bad_answers[i].body), &answer, &b.err),
			  E_INVALID);
		CHECK_HAS(b.err.text, bad_answers[i].error);
	}
	bench_done(&b);
}

static const struct {
	const char *line;
	enum chat_event_type type;
	const char *text;
	bool end;
	enum chat_finish finish;
	unsigned channel;
} event_cases[] = {
	{"{\"message\":{\"role\":\"assistant\",\"content\":\"Why\"},\"done\":false}", CHAT_EVENT_TEXT, "Why", false,
	 CHAT_FINISH_NONE, 0},
	{"{\"message\":{\"content\":\"\"},\"done\":false}", CHAT_EVENT_NONE, "", false, CHAT_FINISH_NONE, 0},
	{"{\"message\":{\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}", CHAT_EVENT_OTHER, "hm", false,
	 CHAT_FINISH_NONE, 1},
	{"{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"city\":\"Rome\"}}}]},\"done\":"
	 "false}",
	 CHAT_EVENT_OTHER, "f\nRome", false, CHAT_FINISH_NONE, 1},
	{"{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"eval_count\":2}", CHAT_EVENT_FINISH,
	 "", true, CHAT_FINISH_STOP, 0},
	{"{\"message\":{\"content\":\"end\"},\"done\":true,\"eval_count\":2}", CHAT_EVENT_TEXT, "end", true,
	 CHAT_FINISH_STOP, 0},
	{"{\"done\":true,\"done_reason\":\"length\",\"eval_count\":2}", CHAT_EVENT_FINISH, "", true, CHAT_FINISH_LENGTH,
	 0},
	{"{\"error\":\"boom\"}", CHAT_EVENT_ERROR, "boom", true, CHAT_FINISH_NONE, 0},
	{"{\"error\":{}}", CHAT_EVENT_ERROR, "{}", true, CHAT_FINISH_NONE, 0},
	{"{\"message\":{},\"done\":true,\"done_reason\":\"error\"}", CHAT_EVENT_ERROR,
	 "the upstream broke its answer off", true, CHAT_FINISH_NONE, 0},
	{"{}", CHAT_EVENT_NONE, "", false, CHAT_FINISH_NONE, 0},
};

TEST(each_line_is_what_it_is)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(event_cases); i++) {
		struct chat_event e;

		CHECK_INT(protocol_ollama.decode_event(&b.a, b.jp, slice_from(event_cases[i].line), &e, &b.err), 0);
		if (e.type != event_cases[i].type)
			printf("# %s\n", event_cases[i].line);
		CHECK_INT(e.type, event_cases[i].type);
		CHECK_SLICE(&b, e.text, event_cases[i].text);
		CHECK_INT(e.end, event_cases[i].end);
		CHECK_INT(e.finish, event_cases[i].finish);
		CHECK_INT(e.channel, event_cases[i].channel);
		CHECK_INT(e.usage.known, e.end && e.type != CHAT_EVENT_ERROR);
	}
	CHECK_INT(protocol_ollama.decode_event(&b.a, b.jp, SLICE_LIT("[]"), &(struct chat_event){0}, NULL), E_INVALID);
	CHECK_INT(protocol_ollama.decode_event(&b.a, b.jp, SLICE_LIT("{\"mess"), &(struct chat_event){0}, NULL),
		  E_INVALID);
	CHECK_SLICE(&b, protocol_ollama.decode_error(&b.a, b.jp, SLICE_LIT("{\"error\":\"no\"}")), "no");
	bench_done(&b);
}
