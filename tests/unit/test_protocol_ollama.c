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
		bench_complete(
			&b, &protocol_openai,
			"{\"model\":\"x\",\"messages\":[{\"role\":\"developer\",\"content\":\"s\"},{\"role\":\"user\","
			"\"content\":"
			"[{\"type\":\"text\",\"text\":\"hi\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://"
			"x/y.png\"}},{\"type\":"
			"\"odd\\r\"}]},"
			"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":"
			"\"f\"}}]}],\"max_tokens\":5,"
			"\"temperature\":0.5,\"top_p\":1,"
			"\"seed\":3,\"stop\":[\"a\",\"b\"],\"n\":1,\"tools\":[{\"function\":{\"name\":\"f\"}}],"
			"\"response_format\":{\"type\":\"json_object\"},\"user\":null}",
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
	CHECK_INT(bench_complete(&b, &protocol_openai, buf_cstr(&b.out), &r), 0);
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
	const char *lines[4];
	const char *events;
} event_cases[] = {
	{{"{\"message\":{\"role\":\"assistant\",\"content\":\"Why\"},\"done\":false}"}, "text 'Why'"},
	{{"{\"message\":{\"content\":\"\"},\"done\":false}"}, ""},
	{{"{\"message\":{\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}"}, "reason 1 'hm'"},
	{{"{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"city\":\"Rome\"}}}]},\"done\":"
	  "false}",
	  "{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"g\",\"arguments\":{}}}]},\"done\":false}",
	  "{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}"},
	 "call 5 name=f; args 5 '{\"city\":\"Rome\"}'; over 5; other 1048579 'f'; other 1048580 'Rome'; "
	 "call 6 name=g; args 6 '{}'; over 6; other 1048584 'g'; finish tool_calls; end"},
	{{"{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"eval_count\":2}"},
	 "finish stop; usage 0+2; end"},
	{{"{\"message\":{\"content\":\"end\"},\"done\":true,\"eval_count\":2}"},
	 "text 'end'; finish stop; usage 0+2; end"},
	{{"{\"done\":true,\"done_reason\":\"length\",\"eval_count\":2}"}, "finish length; usage 0+2; end"},
	{{"{\"error\":\"boom\"}"}, "error 'boom'"},
	{{"{\"error\":{}}"}, "error '{}'"},
	{{"{\"message\":{},\"done\":true,\"done_reason\":\"error\"}"}, "error 'the upstream broke its answer off'"},
	{{"{}"}, ""},
};

TEST(each_line_is_what_it_is)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(event_cases); i++)
		CHECK_STR(bench_stream(&b, &protocol_ollama, event_cases[i].lines), event_cases[i].events);
	CHECK_INT(bench_event_fails(&b, &protocol_ollama, "[]"), E_INVALID);
	CHECK_INT(bench_event_fails(&b, &protocol_ollama, "{\"mess"), E_INVALID);
	CHECK_SLICE(&b, protocol_ollama.decode_error(&b.a, b.jp, SLICE_LIT("{\"error\":\"no\"}")), "no");
	bench_done(&b);
}
