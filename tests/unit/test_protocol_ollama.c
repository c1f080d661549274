/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's /api/chat and /api/generate: callers, upstreams, and what goes through from one to the other. */
#include <sys/uio.h>

#include "unit/protocol_util.h"

TEST(both_calls_are_of_one_protocol)
{
	CHECK(protocol_ollama.streams_unasked && protocol_ollama_generate.streams_unasked);
	CHECK(protocol_for(&protocol_ollama, &protocol_ollama_generate) == &protocol_ollama_generate);
	CHECK(protocol_for(&protocol_openai, &protocol_ollama_generate) == &protocol_openai);
	CHECK_INT(protocol_ollama.framing, FRAMING_NDJSON);
}

/* --- requests to upstreams --- */

/* Names of what was dropped, with spaces. */
static const char *translated(struct bench *b, const struct protocol *from, const struct protocol *to, const char *body,
			      const struct upstream_params *p)
{
	struct dropped_params dropped = {.n = 0};
	struct chat_request r;
	struct buf names;

	buf_clear(&b->out);
	buf_init_arena(&names, &b->a, 4096);
	CHECK_INT(bench_complete(b, from, body, &r), 0);
	CHECK_STR(b->err.text, "");
	CHECK_INT(to->encode_request(&b->out, &r, p, &dropped), 0);
	for (size_t i = 0; i < dropped.n; i++)
		buf_printf(&names, "%s" SLICE_FMT, i ? " " : "", SLICE_ARG(dropped.name[i]));
	CHECK(bench_json(b, buf_cstr(&b->out)) != NULL);
	return buf_cstr(&names);
}

#define OPENAI(more) "{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" more "}"
#define HI "{\"model\":\"llama3\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true"
#define TOOLS "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"

static const struct {
	const char *body, *upstream, *dropped, *model;
} request_cases[] = {
	{OPENAI(""), HI ",\"options\":{}}", "", NULL},
	{OPENAI(",\"max_tokens\":5,\"temperature\":0.5,\"top_p\":1,\"top_k\":7,\"min_p\":0.1,\"seed\":3,\"stop\":["
		"\"a\","
		"\"b\"],\"frequency_penalty\":1,\"presence_penalty\":0.5"),
	 HI ",\"options\":{\"num_predict\":5,\"temperature\":0.5,\"top_p\":1,\"seed\":3,\"stop\":[\"a\",\"b\"],\"top_"
	    "k\":7,"
	    "\"min_p\":0.1,\"frequency_penalty\":1,\"presence_penalty\":0.5}}",
	 "", NULL},
	{OPENAI(",\"response_format\":{\"type\":\"json_object\"}"), HI ",\"format\":\"json\",\"options\":{}}", "",
	 NULL},
	{OPENAI(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"a\":1}}"
		"}"),
	 HI ",\"format\":{\"a\":1},\"options\":{}}", "", NULL},
	{OPENAI("," TOOLS ",\"tool_choice\":\"auto\",\"parallel_tool_calls\":true"), HI "," TOOLS ",\"options\":{}}",
	 "", NULL},
	{OPENAI("," TOOLS ",\"tool_choice\":\"none\""), HI ",\"options\":{}}", "", NULL},
	{OPENAI("," TOOLS ",\"tool_choice\":\"required\",\"parallel_tool_calls\":false"),
	 HI "," TOOLS ",\"options\":{}}", "tool_choice parallel_tool_calls", NULL},
	{OPENAI(",\"reasoning_effort\":\"low\""), HI ",\"think\":true,\"options\":{}}", "", NULL},
	{OPENAI(",\"reasoning_effort\":\"none\""), HI ",\"think\":false,\"options\":{}}", "", NULL},
	{OPENAI(",\"reasoning_effort\":\"minimal\""),
	 "{\"model\":\"gpt-oss:20b\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true,\"think\":"
	 "\"low\","
	 "\"options\":{}}",
	 "", "gpt-oss:20b"},
	{OPENAI(",\"reasoning\":{\"max_tokens\":9000}"),
	 "{\"model\":\"gpt-oss\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true,\"think\":"
	 "\"medium\","
	 "\"options\":{}}",
	 "", "gpt-oss"},
	{OPENAI(",\"user\":\"u\",\"n\":2,\"logprobs\":true,\"odd\":1"), HI ",\"options\":{}}", "odd n user logprobs",
	 NULL},
	{"{\"model\":\"x\",\"messages\":[{\"role\":\"developer\",\"content\":\"s\"},{\"role\":\"user\",\"content\":[{"
	 "\"type\":"
	 "\"text\",\"text\":\"a\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
	 "png;base64,AAAA\"}},{\"type\":"
	 "\"image_url\",\"image_url\":{\"url\":\"http://x/"
	 "y.png\"}},{\"type\":\"text\",\"text\":\"b\"},{\"type\":\"odd\"}]}]}",
	 "{\"model\":\"llama3\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":"
	 "\"a\\nb\",\"images\":[\"AAAA\"]}],\"stream\":true,\"options\":{}}",
	 "messages[].image_url messages[].content", NULL},
	{"{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":\"assistant\",\"content\":"
	 "null,"
	 "\"reasoning_content\":\"hm\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":"
	 "\"{\\\"a\\\":1}\"}},{\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":\"half\"}}]},{\"role\":"
	 "\"tool\","
	 "\"tool_call_id\":\"c2\",\"content\":\"42\"},{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"}]}",
	 "{\"model\":\"llama3\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":\"assistant\","
	 "\"content\":\"\","
	 "\"thinking\":\"hm\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}},{"
	 "\"id\":"
	 "\"c2\",\"function\":{\"name\":\"g\",\"arguments\":{\"arguments\":\"half\"}}}]},{\"role\":\"tool\","
	 "\"content\":\"42\","
	 "\"tool_name\":\"g\",\"tool_call_id\":\"c2\"},{\"role\":\"assistant\",\"content\":\"no\"}],\"stream\":true,"
	 "\"options\":{}}",
	 "", NULL},
};

TEST(requests_are_translated_and_what_is_lost_is_named)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(request_cases); i++) {
		const char *model = request_cases[i].model ? request_cases[i].model : "llama3";
		struct upstream_params p = {.model = slice_from(model), .stream = true};

		CHECK_STR(translated(&b, &protocol_openai, &protocol_ollama, request_cases[i].body, &p),
			  request_cases[i].dropped);
		CHECK_STR(buf_cstr(&b.out), request_cases[i].upstream);
	}
	bench_done(&b);
}

TEST(the_models_defaults_stand_where_they_belong)
{
	struct upstream_params p = {.model = SLICE_LIT("llama3")};
	struct bench b;

	bench_init(&b);
	p.parameters = bench_json(&b, "{\"temperature\":0.1,\"max_tokens\":4,\"keep_alive\":\"5m\",\"format\":\"json\","
				      "\"options\":{\"num_ctx\":8},\"stream\":true,\"model\":\"no\"}");
	CHECK_STR(translated(&b, &protocol_openai, &protocol_ollama, OPENAI(",\"temperature\":0.5"), &p), "");
	CHECK_STR(buf_cstr(&b.out),
		  "{\"model\":\"llama3\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":false,"
		  "\"keep_alive\":\"5m\",\"format\":\"json\",\"options\":{\"temperature\":0.5,\"num_predict\":4,\"num_"
		  "ctx\":8}}");
	bench_done(&b);
}

TEST(results_beside_words_come_first_with_their_images)
{
	struct upstream_params p = {.model = SLICE_LIT("m")};
	struct bench b;

	bench_init(&b);
	CHECK_STR(translated(&b, &protocol_anthropic, &protocol_ollama,
			     "{\"model\":\"x\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{"
			     "\"role\":"
			     "\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":"
			     "\"s\"},{\"type\":"
			     "\"redacted_thinking\",\"data\":\"d\"},{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\","
			     "\"input\":{}}]},"
			     "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c\","
			     "\"content\":[{\"type\":"
			     "\"text\",\"text\":\"42\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_"
			     "type\":\"image/png\","
			     "\"data\":\"AAAA\"}}]},{\"type\":\"text\",\"text\":\"and?\"}]}]}",
			     &p),
		  "messages[].thinking");
	CHECK_HAS(buf_cstr(&b.out),
		  "{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\",\"tool_calls\":[{\"id\":\"c\","
		  "\"function\":{"
		  "\"name\":\"f\",\"arguments\":{}}}]},{\"role\":\"tool\",\"content\":\"42\",\"tool_name\":\"f\","
		  "\"tool_call_id\":\"c\",\"images\":[\"AAAA\"]},{\"role\":\"user\",\"content\":\"and?\"}]");
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
	 "call 5 name=f; args 5 '{\"city\":\"Rome\"}'; over 5; other 1048576 'f'; other 1048577 'Rome'; "
	 "call 6 name=g; args 6 '{}'; over 6; other 1048576 'g'; finish tool_calls; end"},
	{{"{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"eval_count\":2}"},
	 "finish stop; usage 0+2; end"},
	{{"{\"message\":{\"content\":\"end\"},\"done\":true,\"eval_count\":2}"},
	 "text 'end'; finish stop; usage 0+2; end"},
	{{"{\"done\":true,\"done_reason\":\"length\",\"eval_count\":2}"}, "finish length; usage 0+2; end"},
	{{"{\"error\":\"boom\"}"}, "error 'boom'"},
	{{"{\"error\":{}}"}, "error '{}'"},
	{{"{\"message\":{},\"done\":true,\"done_reason\":\"error\"}"}, "error 'the upstream broke its answer off'"},
	{{"{}"}, ""},
	{{"{\"message\":{\"content\":\"Hi\",\"later\":{\"words\":\"odd\"}},\"done\":false,\"also\":[\"this\"]}"},
	 "text 'Hi'; other 1048576 'odd'; other 1048577 'this'"},
	{{"{\"model\":\"m\",\"created_at\":\"t\",\"response\":\"\",\"thinking\":\"hm\",\"done\":false}",
	  "{\"response\":\"Hi\",\"done\":true,\"done_reason\":\"stop\",\"context\":[1,2],\"eval_count\":2}"},
	 "begin name=m; reason 1 'hm'; text 'Hi'; finish stop; usage 0+2; end"},
	{{"{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"done\":true}"},
	 "call 5 name=f; args 5 '{}'; over 5; other 1048576 'f'; other 1048577 '{}'; finish tool_calls; end"},
	{{"{\"message\":{\"tool_calls\":[{\"id\":\"c9\",\"function\":{\"index\":0,\"name\":\"f\"}}]},\"done\":true}"},
	 "call 5 id=c9 name=f; over 5; other 1048576 'c9'; other 1048577 'f'; finish tool_calls; end"},
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

TEST(logprobs_repeat_the_text_that_they_stand_beside)
{
	struct chat_events list = {0};
	struct decode_state state = {0};
	struct chat_answer answer;
	struct slice body;
	struct bench b;

	bench_init(&b);
	body = bench_text(&b, "{\"message\":{\"content\":\"Hi\"},\"logprobs\":[{\"token\":\"Hi\"}],\"done\":true}");
	CHECK_INT(protocol_ollama.decode_event(&state, &b.a, b.jp, body, &list, &b.err), 0);
	CHECK_SLICE(&b, list.e[0].logprobs_raw, "[{\"token\":\"Hi\"}]");
	CHECK_INT(protocol_ollama.decode_answer(&b.a, b.jp, body, &answer, &b.err), 0);
	CHECK_SLICE(&b, answer.logprobs_raw, "[{\"token\":\"Hi\"}]");
	CHECK_INT((long long)answer.n_judged, 1);
	bench_done(&b);
}

TEST(tokens_repeat_the_whole_answer)
{
	struct chat_events list = {0};
	struct decode_state state = {0};
	struct chat_answer answer;
	struct slice body;
	struct bench b;

	bench_init(&b);
	body = bench_text(&b, "{\"response\":\"Hi\",\"context\":[1, 2],\"done\":true}");
	CHECK_INT(protocol_ollama_generate.decode_event(&state, &b.a, b.jp, body, &list, &b.err), 0);
	CHECK_STR(bench_events(&b, &list), "text 'Hi'; finish stop; end");
	CHECK(!list.e[0].logprobs_raw.p);
	CHECK_SLICE(&b, list.e[1].logprobs_raw, "[1, 2]");
	CHECK_INT(protocol_ollama_generate.decode_answer(&b.a, b.jp, body, &answer, &b.err), 0);
	CHECK_INT((long long)answer.n_other_logprobs, 1);
	CHECK_SLICE(&b, answer.other_logprobs[0], "[1, 2]");
	bench_done(&b);
}

/* --- callers --- */

static const struct {
	const struct protocol *p;
	const char *body, *prompt, *context;
	bool stream, loads;
	int n_judged;
} front_cases[] = {
	{&protocol_ollama, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", "hi", "", true,
	 false, 1},
	{&protocol_ollama,
	 "{\"model\":\"m\",\"stream\":false,\"messages\":[{\"role\":\"user\",\"images\":[\"AAAA\"]}]}", "", "", false,
	 false, 0},
	{&protocol_ollama, "{\"model\":\"m\"}", "", "", true, true, 0},
	{&protocol_ollama, "{\"model\":\"m\",\"messages\":[],\"keep_alive\":0}", "", "", true, true, 0},
	{&protocol_ollama,
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"t\",\"tool_calls\":[{"
	 "\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[\"deep\"]}}}]},{\"role\":\"tool\",\"content\":\"r\"}]}",
	 "r",
	 "[{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"t\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
	 "\"arguments\":{\"a\":[\"deep\"]}}}]}]",
	 true, false, 3},
	{&protocol_ollama_generate, "{\"model\":\"m\",\"prompt\":\"hi\"}", "hi", "", true, false, 1},
	{&protocol_ollama_generate, "{\"model\":\"m\",\"prompt\":\"\",\"system\":\"s\"}", "", "", true, true, 0},
	{&protocol_ollama_generate,
	 "{\"model\":\"m\",\"prompt\":\"hi\",\"system\":\"s\",\"suffix\":\"x\",\"template\":\"t\",\"images\":[\"AAAA\"]"
	 ","
	 "\"stream\":false}",
	 "hi", "[{\"role\":\"system\",\"content\":\"s\"}]", false, false, 3},
};

TEST(a_callers_request_is_read)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(front_cases); i++) {
		struct chat_request r = {0};

		CHECK_INT(bench_request(&b, front_cases[i].p, front_cases[i].body, &r), 0);
		CHECK_SLICE(&b, r.model, "m");
		CHECK_SLICE(&b, r.prompt, front_cases[i].prompt);
		CHECK_SLICE(&b, r.context, front_cases[i].context);
		CHECK(r.stream == front_cases[i].stream && r.loads == front_cases[i].loads);
		CHECK(r.loads == !r.n_messages);
		CHECK_INT((long long)r.n_judged, front_cases[i].n_judged);
	}
	bench_done(&b);
}

TEST(what_is_no_limit_is_none)
{
	struct chat_request r;
	struct bench b;

	bench_init(&b);
	CHECK_INT(
		bench_request(
			&b, &protocol_ollama_generate,
			"{\"model\":\"m\",\"prompt\":\"p\",\"options\":{\"num_predict\":-1,\"seed\":-1,\"stop\":\"a\","
			"\"temperature\":0.5,\"top_p\":null},\"context\":[1]}",
			&r),
		0);
	CHECK(!r.has_max_tokens && r.has_seed && r.seed == -1 && r.has_temperature && !r.has_top_p && r.has_tokens);
	CHECK_INT((long long)r.n_stop, 1);
	bench_done(&b);
}

static const struct {
	const struct protocol *p;
	const char *body, *param, *error;
} bad_requests[] = {
	{&protocol_ollama, "{\"messages\":[]}", "model", "model is missing"},
	{&protocol_ollama, "{\"model\":\"m\",\"messages\":7}", "messages", "must be an array"},
	{&protocol_ollama, "{\"model\":\"m\",\"messages\":[{\"role\":\"judge\",\"content\":\"\"}]}", "messages[0].role",
	 "must be"},
	{&protocol_ollama, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}", "messages[0].content", "is missing"},
	{&protocol_ollama,
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}", "messages",
	 "must be a string"},
	{&protocol_ollama, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\",\"images\":[7]}]}",
	 "images", "base64"},
	{&protocol_ollama,
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{}}]}]}", "messages",
	 "must have function.name"},
	{&protocol_ollama, "{\"model\":\"m\",\"stream\":\"yes\"}", "stream", "true or false"},
	{&protocol_ollama, "{\"model\":\"m\",\"options\":[]}", "options", "an object"},
	{&protocol_ollama, "{\"model\":\"m\",\"options\":{\"num_predict\":1.5}}", "num_predict", "a whole number"},
	{&protocol_ollama, "{\"model\":\"m\",\"options\":{\"seed\":\"x\"}}", "seed", "a whole number"},
	{&protocol_ollama, "{\"model\":\"m\",\"options\":{\"stop\":[1]}}", "stop", "strings only"},
	{&protocol_ollama, "{\"model\":\"m\",\"options\":{\"top_p\":1,\"top_p\":2}}", "top_p", "given twice"},
	{&protocol_ollama,
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"options\":{\"top_k\":\"x\"}}", "top_k",
	 "a number"},
	{&protocol_ollama, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"format\":\"xml\"}",
	 "format", "json, or a schema"},
	{&protocol_ollama, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"think\":\"deep\"}",
	 "think", "must be true"},
	{&protocol_ollama_generate, "{\"prompt\":\"x\"}", "model", "model is missing"},
	{&protocol_ollama_generate, "{\"model\":\"m\",\"prompt\":[]}", "prompt", "a string"},
	{&protocol_ollama_generate, "{\"model\":\"m\",\"suffix\":1}", "suffix", "a string"},
	{&protocol_ollama_generate, "{\"model\":\"m\",\"system\":1}", "system", "a string"},
	{&protocol_ollama_generate, "{\"model\":\"m\",\"raw\":1}", "raw", "true or false"},
	{&protocol_ollama_generate, "{\"model\":\"m\",\"images\":\"x\"}", "images", "an array"},
	{&protocol_ollama_generate, "{\"model\":\"m\",\"images\":[1]}", "images", "in base64"},
	{&protocol_ollama_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"images\":[\"\"]}", "images", "in base64"},
	{&protocol_ollama_generate, "{\"model\":\"m\",\"context\":\"x\"}", "context", "an array"},
};

TEST(what_cannot_be_understood_is_refused_by_name)
{
	struct chat_request r;
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(bad_requests); i++) {
		CHECK_INT(bench_complete(&b, bad_requests[i].p, bad_requests[i].body, &r), E_INVALID);
		CHECK_STR(b.param ? b.param : "", bad_requests[i].param);
		CHECK_HAS(b.err.text, bad_requests[i].error);
	}
	bench_done(&b);
}

#define TO(messages) "{\"model\":\"up\",\"messages\":" messages

static const struct {
	const struct protocol *p;
	const char *body, *upstream, *dropped;
} to_openai[] = {
	{&protocol_ollama,
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"look\",\"images\":[\"/9j/"
	 "A\"]}],\"think\":\"high\","
	 "\"format\":{\"a\":1},\"keep_alive\":\"5m\",\"options\":{\"num_predict\":7,\"num_ctx\":8,\"top_k\":1,"
	 "\"presence_penalty\":0.5}," TOOLS "}",
	 TO("[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"look\"},{\"type\":\"image_url\",\"image_"
	    "url\":{"
	    "\"url\":\"data:image/jpeg;base64,/9j/A\"}}]}],\"max_tokens\":7,\"presence_penalty\":0.5," TOOLS
	    ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\",\"schema\":{\"a\":1}}}"
	    ","
	    "\"reasoning_effort\":\"high\"}"),
	 "keep_alive num_ctx top_k"},
	{&protocol_ollama,
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":\"assistant\",\"content\":"
	 "\"\","
	 "\"thinking\":\"t\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}},{\"id\":\"own\","
	 "\"function\":{\"name\":\"g\",\"arguments\":{}}}]},{\"role\":\"tool\",\"content\":\"of "
	 "g\",\"tool_name\":\"g\"},"
	 "{\"role\":\"tool\",\"content\":\"of f\"}],\"format\":\"\",\"tools\":[],\"options\":{}}",
	 TO("[{\"role\":\"user\",\"content\":\"go\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
	    "\"call_0\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},{\"id\":"
	    "\"own\","
	    "\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
	    "\"tool_call_id\":\"own\",\"content\":\"of g\"},{\"role\":\"tool\",\"tool_call_id\":\"call_0\",\"content\":"
	    "\"of f\"}]}"),
	 "messages[].thinking"},
	{&protocol_ollama_generate,
	 "{\"model\":\"m\",\"prompt\":\"go\",\"system\":\"s\",\"format\":\"json\",\"think\":true,\"images\":["
	 "\"UklGRA\"],"
	 "\"suffix\":\"\",\"raw\":false,\"context\":[],\"template\":\"\"}",
	 TO("[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
	    "\"go\"},"
	    "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
	    "webp;base64,UklGRA\"}}]}],\"response_format\":{"
	    "\"type\":\"json_object\"},\"reasoning_effort\":\"medium\"}"),
	 ""},
	{&protocol_ollama_generate,
	 "{\"model\":\"m\",\"prompt\":\"go\",\"suffix\":\"x\",\"raw\":true,\"context\":[1],\"template\":\"t\","
	 "\"think\":false}",
	 TO("[{\"role\":\"user\",\"content\":\"go\"}],\"reasoning_effort\":\"none\"}"), "suffix raw context template"},
};

TEST(a_callers_request_goes_to_models_of_other_protocols)
{
	struct upstream_params p = {.model = SLICE_LIT("up")};
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(to_openai); i++) {
		CHECK_STR(translated(&b, to_openai[i].p, &protocol_openai, to_openai[i].body, &p),
			  to_openai[i].dropped);
		CHECK_STR(buf_cstr(&b.out), to_openai[i].upstream);
	}
	bench_done(&b);
}

TEST(a_request_of_the_same_protocol_leaves_as_it_came)
{
	struct upstream_params p = {.model = SLICE_LIT("up"), .stream = true};
	struct iovec v[PROTOCOL_SPLICE_PIECES];
	struct chat_request r;
	struct bench b;
	int n;

	bench_init(&b);
	p.parameters =
		bench_json(&b, "{\"max_tokens\":5,\"keep_alive\":\"1m\",\"options\":{\"num_ctx\":8,\"top_k\":3}}");
	CHECK_INT(bench_request(&b, &protocol_ollama_generate,
				"{ \"model\":\"m\", \"prompt\":\"x\",\"options\" : {\"top_k\":1}, \"odd\":1.50 }", &r),
		  0);
	n = protocol_splice_request(&b.a, &r, &p, &protocol_ollama_generate, v, PROTOCOL_SPLICE_PIECES);
	for (int i = 0; i < n; i++)
		buf_append(&b.out, v[i].iov_base, v[i].iov_len);
	CHECK_STR(buf_cstr(&b.out), "{ \"model\":\"up\", \"prompt\":\"x\",\"options\" : {\"top_k\":1,\"num_predict\":5,"
				    "\"num_ctx\":8}, \"odd\":1.50 ,\"keep_alive\":\"1m\"}");
	bench_done(&b);
}

/* --- answers --- */

#define AT "{\"model\":\"m@1\",\"created_at\":\"1970-01-01T00:00:07.000000Z\","
#define TOOK                                                                                                        \
	"\"total_duration\":3000000,\"load_duration\":0,\"prompt_eval_count\":4,\"prompt_eval_duration\":0,\"eval_" \
	"count\":6,\"eval_duration\":3000000}"

static const struct answer_meta meta = {.model = {"m@1", 3}, .created_s = 7, .latency_ms = 3};
static const struct chat_usage usage = {.known = true, .prompt_tokens = 4, .completion_tokens = 6, .total_tokens = 10};

TEST(a_whole_answer_is_an_object)
{
	struct chat_part parts[] = {
		{.kind = CHAT_PART_REASONING, .text = SLICE_LIT("hm"), .opaque = SLICE_LIT("sig")},
		{.kind = CHAT_PART_TEXT, .text = SLICE_LIT("Hi")},
		{.kind = CHAT_PART_TOOL_CALL,
		 .id = SLICE_LIT("c"),
		 .name = SLICE_LIT("f"),
		 .text = SLICE_LIT("{\"a\":1}")},
		{.kind = CHAT_PART_TOOL_CALL, .name = SLICE_LIT("g"), .text = SLICE_LIT("")},
	};
	struct chat_answer answer = {.text = SLICE_LIT("Hi"),
				     .parts = parts,
				     .n_parts = 4,
				     .finish = CHAT_FINISH_TOOL_CALLS,
				     .usage = usage};
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_ollama.encode_answer(&b.out, &answer, &meta), 0);
	CHECK_STR(buf_cstr(&b.out), AT
		  "\"message\":{\"role\":\"assistant\",\"content\":\"Hi\",\"thinking\":\"hm\",\"tool_calls\":[{\"id\":"
		  "\"c\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}},{\"function\":{\"name\":\"g\","
		  "\"arguments\":"
		  "{}}}]},\"done\":true,\"done_reason\":\"stop\"," TOOK);
	buf_clear(&b.out);
	CHECK_INT(protocol_ollama_generate.encode_answer(&b.out, &answer, &meta), 0);
	CHECK_STR(buf_cstr(&b.out),
		  AT "\"response\":\"Hi\",\"thinking\":\"hm\",\"done\":true,\"done_reason\":\"stop\"," TOOK);
	buf_clear(&b.out);
	parts[0] = (struct chat_part){.kind = CHAT_PART_REFUSAL, .text = SLICE_LIT("no")};
	answer.n_parts = 1;
	answer.finish = CHAT_FINISH_REFUSAL;
	CHECK_INT(protocol_ollama.encode_answer(&b.out, &answer, &meta), 0);
	CHECK_HAS(buf_cstr(&b.out), "\"content\":\"no\"},\"done\":true,\"done_reason\":\"content_filter\"");
	buf_clear(&b.out);
	answer = (struct chat_answer){.text = SLICE_LIT("plain"), .finish = CHAT_FINISH_LENGTH};
	CHECK_INT(protocol_ollama_generate.encode_answer(&b.out, &answer, &meta), 0);
	CHECK_HAS(buf_cstr(&b.out), "\"response\":\"plain\",\"done\":true,\"done_reason\":\"length\"");
	bench_done(&b);
}

#define SAYS(what) AT "\"message\":{\"role\":\"assistant\"," what "},\"done\":false}\n"

static const struct chat_event said[] = {
	{.type = CHAT_EVENT_START, .id = {"x", 1}},
	{.type = CHAT_EVENT_REASONING, .channel = CHAT_CHANNEL_REASONING, .text = {"hm", 2}},
	{.type = CHAT_EVENT_REASONING, .channel = CHAT_CHANNEL_REASONING, .opaque = {"sig", 3}},
	{.type = CHAT_EVENT_TEXT, .text = {"Hi\n", 3}},
	{.type = CHAT_EVENT_TOOL_START, .channel = 5, .name = {"f", 1}, .id = {"c", 1}},
	{.type = CHAT_EVENT_TOOL_ARGS, .channel = 5, .text = {"{\n\"a\":", 6}},
	{.type = CHAT_EVENT_TOOL_ARGS, .channel = 5, .text = {"1}", 2}},
	{.type = CHAT_EVENT_TOOL_START, .channel = 6, .index = 1, .name = {"g", 1}},
	{.type = CHAT_EVENT_PART_END, .channel = 6, .index = 1},
	{.type = CHAT_EVENT_FINISH, .finish = CHAT_FINISH_TOOL_CALLS},
};

TEST(a_stream_is_lines_with_whole_calls)
{
	struct chat_event end = {.type = CHAT_EVENT_END, .finish = CHAT_FINISH_TOOL_CALLS, .usage = usage};
	struct encode_state s = {0};
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(said); i++)
		CHECK_INT(protocol_ollama.encode_event(&s, &b.out, &said[i], &meta), 0);
	CHECK_INT(protocol_ollama.encode_event(&s, &b.out, &end, &meta), 0);
	CHECK_INT(protocol_ollama.encode_event(&s, &b.out, &end, &meta), 0); /* once */
	encode_state_release(&s);
	CHECK_STR(buf_cstr(&b.out),
		  SAYS("\"content\":\"\",\"thinking\":\"hm\"") SAYS("\"content\":\"Hi\\n\"") SAYS(
			  "\"content\":\"\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":{ "
			  "\"a\":1}}}]")
			  SAYS("\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"g\",\"arguments\":{}}}]") AT
		  "\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,"
		  "\"done_reason\":\"stop\"," TOOK "\n");
	bench_done(&b);
}

TEST(a_completion_streams_words_alone)
{
	struct chat_event end = {.type = CHAT_EVENT_END, .finish = CHAT_FINISH_STOP, .usage = usage};
	struct encode_state s = {0};
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < 4; i++)
		CHECK_INT(protocol_ollama_generate.encode_event(&s, &b.out, &said[i], &meta), 0);
	CHECK_INT(protocol_ollama_generate.encode_event(&s, &b.out, &end, &meta), 0);
	encode_state_release(&s);
	CHECK_STR(buf_cstr(&b.out), AT "\"response\":\"\",\"thinking\":\"hm\",\"done\":false}\n" AT
				       "\"response\":\"Hi\\n\",\"done\":false}\n" AT
				       "\"response\":\"\",\"done\":true,\"done_reason\":\"stop\"," TOOK "\n");
	bench_done(&b);
}

TEST(a_call_that_has_left_cannot_go_on)
{
	struct chat_event late = {.type = CHAT_EVENT_TOOL_ARGS, .channel = 5, .text = SLICE_LIT("{}")};
	struct encode_state s = {0};
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_ollama.encode_event(&s, &b.out, &late, &meta), E_TOOBIG);
	encode_state_release(&s);
	bench_done(&b);
}

TEST(what_left_as_it_came_is_known)
{
	struct chat_event end = {.type = CHAT_EVENT_END};
	struct encode_state s = {0};
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_ollama.encode_event(&s, NULL, &end, NULL), 0);
	CHECK_INT(protocol_ollama.encode_event(&s, &b.out, &end, &meta), 0);
	CHECK_INT((long long)b.out.n, 0); /* its end has left too */
	bench_done(&b);
}

TEST(an_error_is_a_sentence)
{
	struct api_error e = {.status = 404, .message = SLICE_LIT("no \"x\""), .type = "t"};
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_ollama.encode_error(&b.out, &e), 0);
	CHECK_INT(protocol_ollama_generate.encode_stream_error(&b.out, &e), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"error\":\"no \\\"x\\\"\"}{\"error\":\"no \\\"x\\\"\"}\n");
	bench_done(&b);
}
