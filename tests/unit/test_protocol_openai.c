/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI chat completions in both directions. */
#include "unit/protocol_util.h"

#define M "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define BODY(more) "{\"model\":\"m\"," M "," more "}"
#define MESSAGES(list) "{\"model\":\"m\",\"messages\":[" list "]}"

static const struct {
	const char *body;
	const char *param; /* NULL: accepted */
	const char *error; /* a part of the sentence */
} request_cases[] = {
	{"{\"model\":\"m\"," M "}", NULL, ""},
	{"[]", "", "must be a JSON object"},
	{"\"x\"", "", "must be a JSON object"},
	{"{}", "model", "model is missing"},
	{"{" M "}", "model", "model is missing"},
	{"{\"model\":null," M "}", "model", "model is missing"},
	{"{\"model\":7," M "}", "model", "model must be a string, not a number"},
	{"{\"model\":[\"m\"]," M "}", "model", "not an array"},
	{"{\"model\":\"\"," M "}", "model", "must not be empty"},
	{"{\"model\":\"a\",\"model\":\"b\"," M "}", "model", "model is given twice"},
	{"{\"model\":\"m\"," M "," M "}", "messages", "messages is given twice"},
	{BODY("\"stream\":true,\"stream\":false"), "stream", "twice"},
	{BODY("\"unknown\":1,\"unknown\":2"), NULL, ""},
	{"{\"model\":\"m\"}", "messages", "messages is missing"},
	{"{\"model\":\"m\",\"messages\":null}", "messages", "messages is missing"},
	{"{\"model\":\"m\",\"messages\":[]}", "messages", "at least one"},
	{"{\"model\":\"m\",\"messages\":\"hi\"}", "messages", "must be an array of messages"},
	{MESSAGES("7"), "messages[0]", "must be an object"},
	{MESSAGES("{}"), "messages[0].role", "is missing"},
	{MESSAGES("{\"role\":\"user\",\"content\":\"a\"},{\"content\":\"b\"}"), "messages[1].role", "is missing"},
	{MESSAGES("{\"role\":1,\"content\":\"b\"}"), "messages[0].role", "must be a string"},
	{MESSAGES("{\"role\":\"boss\",\"content\":\"b\"}"), "messages[0].role", "must be system, developer, user"},
	{MESSAGES("{\"role\":\"user\",\"role\":\"system\",\"content\":\"b\"}"), "messages[0].role", "twice"},
	{MESSAGES("{\"role\":\"user\",\"content\":\"a\",\"content\":\"b\"}"), "messages[0].content", "twice"},
	{MESSAGES("{\"role\":\"user\"}"), "messages[0].content", "is missing"},
	{MESSAGES("{\"role\":\"assistant\"}"), NULL, ""},
	{MESSAGES("{\"role\":\"user\",\"content\":null}"), NULL, ""},
	{MESSAGES("{\"role\":\"user\",\"content\":5}"), "messages[0].content", "must be a string, null, or an array"},
	{MESSAGES("{\"role\":\"user\",\"content\":[]}"), NULL, ""},
	{MESSAGES("{\"role\":\"user\",\"content\":[\"x\"]}"), "messages[0].content[0]", "must be an object"},
	{MESSAGES("{\"role\":\"user\",\"content\":[{}]}"), "messages[0].content[0].type", "must be a string"},
	{MESSAGES("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}"), "messages[0].content[0].text",
	 "must be a string"},
	{MESSAGES("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"text\":\"b\"}]}"),
	 "messages[0].content[0]", "twice"},
	{MESSAGES("{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\"}]}"), "messages[0].content[0].refusal",
	 "string"},
	{MESSAGES("{\"role\":\"developer\",\"content\":\"a\"},{\"role\":\"tool\",\"content\":\"\"},{\"role\":"
		  "\"function\",\"content\":\"\"}"),
	 NULL, ""},
	{MESSAGES("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"type\":\"text\",\"text\":\"a\"}]}"),
	 "messages[0].content[0]", "twice"},
	{BODY("\"stream\":1"), "stream", "must be true or false, not a number"},
	{BODY("\"stream\":null"), NULL, ""},
	{BODY("\"max_tokens\":\"5\""), "max_tokens", "whole number"},
	{BODY("\"max_tokens\":0"), "max_tokens", "above 0"},
	{BODY("\"max_tokens\":1.5"), "max_tokens", "above 0"},
	{BODY("\"max_completion_tokens\":-1"), "max_completion_tokens", "above 0"},
	{BODY("\"temperature\":2"), NULL, ""},
	{BODY("\"temperature\":2.01"), "temperature", "between 0 and 2"},
	{BODY("\"temperature\":-0.1"), "temperature", "between 0 and 2"},
	{BODY("\"temperature\":\"hot\""), "temperature", "a number"},
	{BODY("\"top_p\":1.5"), "top_p", "between 0 and 1"},
	{BODY("\"top_p\":true"), "top_p", "a number, not a bool"},
	{BODY("\"seed\":1.5"), "seed", "whole number"},
	{BODY("\"seed\":-9"), NULL, ""},
	{BODY("\"n\":0"), "n", "from 1 to 128"},
	{BODY("\"n\":129"), "n", "from 1 to 128"},
	{BODY("\"n\":\"1\""), "n", "whole number"},
	{BODY("\"stop\":5"), "stop", "a string or an array"},
	{BODY("\"stop\":[\"a\",5]"), "stop", "strings only"},
	{BODY("\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\","
	      "\"15\",\"16\"]"),
	 NULL, ""},
	{BODY("\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\","
	      "\"15\",\"16\",\"17\"]"),
	 "stop", "at most 16"},
	{BODY("\"stream_options\":true"), "stream_options", "an object"},
	{BODY("\"stream_options\":{\"include_usage\":\"yes\"}"), "stream_options.include_usage", "true or false"},
	{BODY("\"stream_options\":{\"include_usage\":true,\"include_usage\":false}"), "stream_options", "twice"},
	{BODY("\"stream_options\":{}"), NULL, ""},
};

TEST(a_wrong_request_is_refused_by_the_name_of_its_member)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(request_cases); i++) {
		const char *param = request_cases[i].param;
		struct chat_request r;
		int rc = bench_request(&b, &protocol_openai, request_cases[i].body, &r);

		if (rc != (param ? E_INVALID : 0))
			printf("# %s -> %s\n", request_cases[i].body, b.err.text);
		CHECK_INT(rc, param ? E_INVALID : 0);
		if (param) {
			CHECK_STR(b.param ? b.param : "", param);
			CHECK_HAS(b.err.text, request_cases[i].error);
		}
	}
	bench_done(&b);
}

TEST(a_request_is_understood_whole)
{
	struct bench b;
	struct chat_request r;

	bench_init(&b);
	CHECK_INT(
		bench_request(&b, &protocol_openai,
			      "{\"messages\":[{\"role\":\"system\",\"content\":\"be "
			      "kind\"},{\"role\":\"assistant\",\"tool_calls\":"
			      "[{\"function\":{\"name\":\"f\",\"arguments\":\"{1}\"}}]}, "
			      "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\\u00e9\"},{\"type\":"
			      "\"image_url\"},"
			      "{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"tool\",\"content\":\"t\"}],"
			      "\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_completion_tokens\":7,"
			      "\"max_tokens\":9,"
			      "\"temperature\":0.5,\"top_p\":1,\"seed\":3,\"n\":2,\"stop\":\"x\",\"model\" : \"npc\"}",
			      &r),
		0);
	CHECK_SLICE(&b, r.model, "npc");
	CHECK_SLICE(&b, r.model_raw, "\"npc\"");
	CHECK_INT((long long)r.n_messages, 4);
	CHECK_INT(r.messages[0].role, CHAT_SYSTEM);
	CHECK_INT(r.messages[3].role, CHAT_TOOL);
	CHECK(r.messages[1].has_other && r.messages[2].has_other && !r.messages[3].has_other);
	CHECK_SLICE(&b, r.messages[2].text, "a\xc3\xa9\nb");
	CHECK_SLICE(&b, r.prompt, "a\xc3\xa9\nb");
	CHECK_SLICE(&b, slice_sub(r.context, 0, 28), "[{\"role\":\"system\",\"content\":");
	CHECK(r.context.p[r.context.n - 1] == ']');
	CHECK(bench_json(&b, bench_cstr(&b, r.context))->n_items == 2);
	CHECK(r.stream && r.include_usage && r.has_max_tokens && r.has_seed && r.has_temperature && r.has_top_p);
	CHECK_INT(r.max_tokens, 7);
	CHECK_INT(r.seed, 3);
	CHECK_INT(r.n_choices, 2);
	CHECK_INT((long long)r.n_stop, 1);
	CHECK_INT((long long)r.n_judged, 4);
	CHECK_SLICE(&b, r.judged[0].text, "{1}");
	CHECK_SLICE(&b, r.judged[1].raw, "\"a\\u00e9\"");
	CHECK_SLICE(&b, r.judged[2].text, "b");
	CHECK_SLICE(&b, r.judged[3].text, "t");
	bench_done(&b);
}

TEST(the_first_message_has_no_context_and_without_a_user_the_last_is_the_prompt)
{
	struct bench b;
	struct chat_request r;

	bench_init(&b);
	CHECK_INT(bench_request(&b, &protocol_openai, BODY("\"x\":1"), &r), 0);
	CHECK(!r.context.p && !r.stream && !r.has_max_tokens && r.n_choices == 1);
	CHECK_SLICE(&b, r.prompt, "hi");
	CHECK_INT(bench_request(&b, &protocol_openai, MESSAGES("{\"role\":\"assistant\",\"content\":\"a\"}"), &r), 0);
	CHECK_SLICE(&b, r.prompt, "a");
	CHECK(!r.context.p);
	bench_done(&b);
}

TEST(a_part_of_an_unknown_type_is_judged_when_it_has_text)
{
	struct bench b;
	struct chat_request r;

	bench_init(&b);
	CHECK_INT(bench_request(
			  &b, &protocol_openai,
			  MESSAGES("{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"sly\"}]}"), &r),
		  0);
	CHECK_SLICE(&b, r.prompt, "sly");
	CHECK_INT((long long)r.n_judged, 1);
	bench_done(&b);
}

TEST(a_request_past_the_arena_is_too_big)
{
	struct bench b;
	struct chat_request r;
	struct arena small;
	struct slice text;
	struct json *root;
	const char *param;

	bench_init(&b);
	arena_init(&small, 64, 128);
	text = bench_text(&b, MESSAGES("{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"a\"},"
				       "{\"role\":\"user\",\"content\":\"a\"}"));
	CHECK_INT(json_parse(b.jp, &b.a, text, NULL, &root, NULL), 0);
	CHECK_INT(protocol_openai.decode_request(&small, root, text, &r, &param, &b.err), E_TOOBIG);
	arena_release(&small);
	bench_done(&b);
}

/* --- upstream --- */

static const struct {
	const char *body, *text, *raw, *refusal;
	enum chat_finish finish;
	int n_judged;
	int64_t total;
} answer_cases[] = {
	{" {\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"a\\nb\"},"
	 "\"finish_reason\":\"stop\"}],"
	 "\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3,\"total_tokens\":5}}",
	 "a\nb", "\"a\\nb\"", "", CHAT_FINISH_STOP, 1, 5},
	{"{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"no\"},\"finish_reason\":\"content_filter\"}]}", "",
	 "", "no", CHAT_FINISH_CONTENT_FILTER, 1, 0},
	{"{\"choices\":[{\"message\":{\"content\":\"\",\"tool_calls\":[{\"function\":{\"arguments\":\"{}\"}}]},"
	 "\"finish_reason\":"
	 "\"tool_calls\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}}",
	 "", "", "", CHAT_FINISH_TOOL_CALLS, 1, 5},
	{"{\"choices\":[{\"index\":1,\"message\":{\"content\":\"second\"}},{\"index\":0,\"message\":{\"content\":"
	 "\"first\",\"reasoning\":"
	 "\"why\",\"vendor\":{\"deep\":[\"words\"]}},\"finish_reason\":\"length\"}]}",
	 "first", "\"first\"", "", CHAT_FINISH_LENGTH, 4, 0},
	{"{\"choices\":[{\"message\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":"
	 "\"hm\"}]},{\"type\":"
	 "\"text\",\"text\":\"a\"}]}}]}",
	 "a", "\"a\"", "", CHAT_FINISH_NONE, 2, 0},
	{"{\"choices\":[{\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":"
	 "\"b\"}]}}]}",
	 "ab", "", "", CHAT_FINISH_NONE, 2, 0},
	{"{\"choices\":[{\"message\":{\"content\":null,\"audio\":{\"transcript\":\"said\"}}}],\"usage\":null}", "", "",
	 "", CHAT_FINISH_NONE, 1, 0},
	{"{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"end_turn\"}],\"usage\":{\"total_tokens\":-"
	 "4}}",
	 "x", "\"x\"", "", CHAT_FINISH_STOP, 1, 0},
};

static struct slice refusal_of(const struct chat_answer *answer)
{
	for (size_t i = 0; i < answer->n_parts; i++)
		if (answer->parts[i].kind == CHAT_PART_REFUSAL)
			return answer->parts[i].text;
	return SLICE_LIT("");
}

TEST(an_answer_is_read_with_every_text_that_is_to_be_judged)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(answer_cases); i++) {
		struct slice body = bench_text(&b, answer_cases[i].body);
		struct chat_answer answer;

		CHECK_INT(protocol_openai.decode_answer(&b.a, b.jp, body, &answer, &b.err), 0);
		CHECK_SLICE(&b, answer.text, answer_cases[i].text);
		CHECK_SLICE(&b, answer.text_raw, answer_cases[i].raw);
		CHECK(!answer.text_raw.p || (answer.text_raw.p > body.p && answer.text_raw.p < body.p + body.n));
		CHECK_SLICE(&b, refusal_of(&answer), answer_cases[i].refusal);
		CHECK_INT(answer.finish, answer_cases[i].finish);
		CHECK_INT((long long)answer.n_judged, answer_cases[i].n_judged);
		CHECK_INT(answer.usage.total_tokens, answer_cases[i].total);
		for (size_t k = 1; k < answer.n_judged; k++)
			CHECK(answer.judged[k].raw.p > answer.judged[k - 1].raw.p);
	}
	bench_done(&b);
}

static const struct {
	const char *body, *error;
} bad_answers[] = {
	{"", ""},
	{"<html>", ""},
	{"[]", "has no choices"},
	{"{}", "has no choices"},
	{"{\"choices\":{}}", "has no choices"},
	{"{\"choices\":[]}", "has no choices"},
	{"{\"error\":{\"message\":\"overloaded\"}}", "overloaded"},
	{"{\"error\":\"plain\"}", "plain"},
	{"{\"choices\":[{\"message\":{\"content\":\"half\"},\"finish_reason\":\"error\"}]}", "broke its answer off"},
};

TEST(what_is_no_answer_is_never_taken_for_one)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(bad_answers); i++) {
		struct chat_answer answer;

		b.err.text[0] = 0;
		CHECK_INT(protocol_openai.decode_answer(&b.a, b.jp, slice_from(bad_answers[i].body), &answer, &b.err),
			  E_INVALID);
		CHECK_HAS(b.err.text, bad_answers[i].error);
	}
	bench_done(&b);
}

#define DELTA(d) "{\"choices\":[{\"index\":0,\"delta\":{" d "},\"finish_reason\":null}],\"usage\":null}"

#define CALL(i, more) DELTA("\"tool_calls\":[{\"index\":" #i "," more "}]")
#define FINISH(why) "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" why "\"}]}"

static const struct {
	const char *payloads[8];
	const char *events;
} event_cases[] = {
	{{"[DONE]"}, "end"},
	{{" [DONE] "}, "end"},
	{{DELTA("\"role\":\"assistant\",\"content\":\"\"")}, ""},
	{{DELTA("\"role\":\"assistant\""), DELTA(""), "{}", "{\"choices\":[],\"prompt_filter_results\":[]}"}, ""},
	{{DELTA("\"content\":\"h\\\"i\"")}, "text 'h\"i'"},
	{{DELTA("\"content\":null,\"reasoning_content\":\"\"")}, ""},
	{{DELTA("\"reasoning_content\":\"hm\""), DELTA("\"reasoning\":\"m\""), DELTA("\"content\":\"so\""),
	  FINISH("stop"), "[DONE]"},
	 "reason 1 'hm'; reason 1 'm'; over 1; text 'so'; over; finish stop; end"},
	{{DELTA("\"refusal\":\"no\""), FINISH("stop")}, "refusal 2 'no'; over 2; finish stop"},
	{{CALL(0, "\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}"),
	  CALL(0, "\"function\":{\"arguments\":\"{x\"}"), CALL(0, "\"function\":{\"arguments\":\"}\"}"),
	  FINISH("tool_calls")},
	 "call 5 id=c name=f; args 5 '{x'; args 5 '}'; over 5; finish tool_calls"},
	{{CALL(1, "\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}"),
	  CALL(2, "\"id\":\"d\",\"function\":{\"name\":\"g\"}"), CALL(1, "\"function\":{\"arguments\":\" \"}")},
	 "call 6 id=c name=f; args 6 '{}'; over 6; call 7 id=d name=g; args 6 ' '"},
	{{DELTA("\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"a\"}},"
		"{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"b\"}}]")},
	 "call 5 id=a name=f; args 5 'a'; over 5; call 6 id=b name=f; args 6 'b'"},
	{{DELTA("\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"a\"}}]"),
	  DELTA("\"tool_calls\":[{\"function\":{\"arguments\":\"b\"}}]"),
	  DELTA("\"tool_calls\":[{\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"c\"}}]")},
	 "call 5 id=a name=f; args 5 'a'; args 5 'b'; over 5; call 6 id=b name=g; args 6 'c'"},
	{{DELTA("\"function_call\":{\"name\":\"f\",\"arguments\":\"{\"}"),
	  DELTA("\"function_call\":{\"arguments\":\"}\"}"), FINISH("function_call")},
	 "call 5 name=f; args 5 '{'; args 5 '}'; over 5; finish tool_calls"},
	{{DELTA("\"content\":\"t\",\"reasoning\":\"r\"")}, "text 't'; over; reason 1 'r'"},
	{{DELTA("\"content\":[{\"type\":\"text\",\"text\":\"2+\"},{\"type\":\"text\",\"text\":\"2\"}]")},
	 "text '2+'; text '2'"},
	{{DELTA("\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]}]")},
	 "reason 1 'hm'"},
	{{DELTA("\"vendor\":{\"a\":\"x\",\"b\":[\"y\"]}")}, "other 1048576 'x'; other 1048577 'y'"},
	{{"{\"choices\":[{\"index\":2,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}"}, "other 128 'x'"},
	/* as some servers have it: arguments that are no text, one index for all, a name that comes late */
	{{CALL(0, "\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":\"x\"}}"), FINISH("stop")},
	 "call 5 id=c name=f; args 5 '{\"a\":\"x\"}'; other 1048576 'x'; over 5; finish tool_calls"},
	{{CALL(0, "\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}"),
	  CALL(0, "\"id\":\"d\",\"function\":{\"name\":\"g\",\"arguments\":\"{\"}"),
	  CALL(0, "\"function\":{\"arguments\":\"}\"}")},
	 "call 5 id=c name=f; args 5 '{}'; over 5; call 6 id=d name=g; args 6 '{'; args 6 '}'"},
	{{CALL(0, "\"id\":\"c\""), CALL(0, "\"function\":{\"name\":\"f\"}"),
	  CALL(0, "\"function\":{\"arguments\":\"{}\"}")},
	 "call 5 name=f; args 5 '{}'"},
	{{DELTA("\"reasoning\":\"hm\",\"reasoning_content\":\"hm\"")}, "other 4 'hm'; reason 1 'hm'"},
	{{DELTA("\"content\":{\"a\":\"x\"}")}, "other 1048576 'x'"},
	{{"{\"choices\":[\"x\"],\"note\":\"y\",\"id\":{\"z\":\"z\"},\"usage\":{\"z\":\"z\"}}"},
	 "other 4194304 'x'; other 4194305 'y'; other 4194306 'z'"},
	{{FINISH("tool_calls")}, "finish stop"},
	{{FINISH("stop")}, "finish stop"},
	{{FINISH("error")}, "error 'the upstream broke its answer off'"},
	{{"{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}"}, "usage 1+2"},
	{{"{\"error\":{\"message\":\"gone\",\"code\":500}}"}, "error 'gone'"},
	{{"{\"error\":\"gone\"}"}, "error 'gone'"},
	{{"{\"object\":\"error\",\"message\":\"gone\"}"}, "error 'gone'"},
};

TEST(each_event_is_what_it_is)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(event_cases); i++)
		CHECK_STR(bench_stream(&b, &protocol_openai, event_cases[i].payloads), event_cases[i].events);
	CHECK_INT(bench_event_fails(&b, &protocol_openai, "{\"choices\":"), E_INVALID);
	CHECK_INT(bench_event_fails(&b, &protocol_openai, "[1]"), E_INVALID);
	CHECK_INT(bench_event_fails(&b, &protocol_openai, ""), E_INVALID);
	bench_done(&b);
}

TEST(the_message_of_an_error_is_found_in_every_shape)
{
	static const char *const bodies[] = {
		"{\"error\":{\"message\":\"why\"}}",
		"{\"error\":\"why\"}",
		"{\"message\":\"why\"}",
		"{\"detail\":\"why\"}",
	};
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(bodies); i++)
		CHECK_SLICE(&b, protocol_openai.decode_error(&b.a, b.jp, slice_from(bodies[i])), "why");
	CHECK(!protocol_openai.decode_error(&b.a, b.jp, SLICE_LIT("<html>")).p);
	CHECK(!protocol_openai.decode_error(&b.a, b.jp, SLICE_LIT("{}")).p);
	bench_done(&b);
}

/* --- what goes out --- */

static const struct answer_meta meta = {
	.answer_id = {"chatcmpl-1", 10},
	.created_s = 5,
	.model = {"m@1", 3},
	.include_usage = true,
};

TEST(an_answer_comes_out_complete)
{
	struct chat_part parts[] = {
		{.kind = CHAT_PART_REASONING, .text = SLICE_LIT("hm")},
		{.kind = CHAT_PART_REFUSAL, .text = SLICE_LIT("no")},
		{.kind = CHAT_PART_TOOL_CALL,
		 .id = SLICE_LIT("c"),
		 .name = SLICE_LIT("f"),
		 .text = SLICE_LIT("{\"a\":1}")},
		{.kind = CHAT_PART_TOOL_CALL, .name = SLICE_LIT("g")},
	};
	struct chat_answer answer = {
		.text = SLICE_LIT("h\"i"), .finish = CHAT_FINISH_LENGTH, .usage = {true, false, 1, 2, 3}};
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_openai.encode_answer(&b.out, &answer, &meta), 0);
	CHECK_STR(buf_cstr(&b.out),
		  "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":5,\"model\":\"m@1\",\"choices\":[{"
		  "\"index\":0,"
		  "\"message\":{\"role\":\"assistant\",\"content\":\"h\\\"i\",\"refusal\":null},\"logprobs\":null,"
		  "\"finish_reason\":"
		  "\"length\"}],\"system_fingerprint\":\"muster\","
		  "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}");
	answer = (struct chat_answer){.id = SLICE_LIT("own"), .parts = parts, .n_parts = COUNT_OF(parts)};
	buf_clear(&b.out);
	CHECK_INT(protocol_openai.encode_answer(&b.out, &answer, &meta), 0);
	CHECK_HAS(buf_cstr(&b.out), "{\"id\":\"own\"");
	CHECK_HAS(buf_cstr(&b.out),
		  "\"content\":null,\"refusal\":\"no\",\"reasoning_content\":\"hm\",\"tool_calls\":[{\"id\":\"c\","
		  "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},{\"id\":"
		  "\"call_chatcmpl-1_1\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]");
	CHECK_HAS(buf_cstr(&b.out), "\"finish_reason\":\"stop\"");
	bench_done(&b);
}

#define TOP      \
	"data: " \
	"{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"m@1\",\"choices\":["

/* What the encoder makes of events. */
static const char *encoded(struct bench *b, const struct answer_meta *m, const struct chat_event *e, size_t n)
{
	struct encode_state s = {0};

	buf_clear(&b->out);
	for (size_t i = 0; i < n; i++)
		CHECK_INT(protocol_openai.encode_event(&s, &b->out, &e[i], m), 0);
	encode_state_release(&s);
	return buf_cstr(&b->out);
}
#define ENCODED(b, m, ...)                                          \
	encoded((b), (m), (const struct chat_event[]){__VA_ARGS__}, \
		sizeof((const struct chat_event[]){__VA_ARGS__}) / sizeof(struct chat_event))

TEST(a_stream_has_its_role_first_its_finish_and_usage_last)
{
	const struct chat_event text = {.type = CHAT_EVENT_TEXT, .text = SLICE_LIT("hi")};
	const struct chat_event finish = {.type = CHAT_EVENT_FINISH, .finish = CHAT_FINISH_STOP};
	const struct chat_event end = {.type = CHAT_EVENT_END, .usage = {true, false, 1, 2, 3}};
	struct answer_meta quiet = meta;
	struct bench b;

	bench_init(&b);
	quiet.include_usage = false;
	CHECK_STR(ENCODED(&b, &meta, text, text, finish, end), TOP
		  "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hi\"},\"logprobs\":null,\"finish_"
		  "reason\":null}]}\n\n" TOP "{\"index\":0,\"delta\":{\"content\":\"hi\"},\"logprobs\":"
		  "null,\"finish_reason\":null}]}\n\n" TOP
		  "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n" TOP
		  "],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\ndata: [DONE]\n\n");
	CHECK_STR(ENCODED(&b, &quiet, {.type = CHAT_EVENT_NONE}, {.type = CHAT_EVENT_OTHER}, {.type = CHAT_EVENT_USAGE},
			  {.type = CHAT_EVENT_PART_END}),
		  "");
	CHECK_STR(ENCODED(&b, &quiet, finish, end),
		  TOP "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":"
		      "null,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
	bench_done(&b);
}

TEST(calls_of_tools_are_numbered_and_named_in_their_first_chunk)
{
	struct answer_meta quiet = meta;
	struct bench b;

	bench_init(&b);
	quiet.include_usage = false;
	CHECK_STR(
		ENCODED(&b, &quiet, {.type = CHAT_EVENT_REASONING, .text = SLICE_LIT("hm")},
			{.type = CHAT_EVENT_REASONING, .opaque = SLICE_LIT("sig")},
			{.type = CHAT_EVENT_TOOL_START, .index = 3, .id = SLICE_LIT("c"), .name = SLICE_LIT("f")},
			{.type = CHAT_EVENT_TOOL_ARGS, .index = 3, .text = SLICE_LIT("{}")},
			{.type = CHAT_EVENT_TOOL_START, .index = 4, .name = SLICE_LIT("g")},
			{.type = CHAT_EVENT_FINISH, .finish = CHAT_FINISH_TOOL_CALLS}),
		TOP
		"{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\"},"
		"\"logprobs\":null,\"finish_reason\":null}]}\n\n" TOP
		"{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":"
		"{\"name\":\"f\",\"arguments\":\"\"}}]},\"logprobs\":null,\"finish_reason\":null}]}\n\n" TOP
		"{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]},"
		"\"logprobs\":null,\"finish_reason\":null}]}\n\n" TOP
		"{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"call_chatcmpl-1_1\",\"type\":"
		"\"function\","
		"\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]},\"logprobs\":null,\"finish_reason\":null}]}"
		"\n\n" TOP "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}]}\n\n");
	bench_done(&b);
}

TEST(errors_have_four_members_alone_and_in_a_stream)
{
	struct api_error e = {.message = SLICE_LIT("no"), .type = "invalid_request_error", .param = "model"};
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_openai.encode_error(&b.out, &e), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\",\"param\":"
				    "\"model\",\"code\":null}}");
	buf_clear(&b.out);
	e.code = "model_not_found";
	CHECK_INT(protocol_openai.encode_stream_error(&b.out, &e), 0);
	CHECK_STR(
		buf_cstr(&b.out),
		"data: {\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\",\"param\":\"model\",\"code\":"
		"\"model_not_found\"}}\n\n");
	bench_done(&b);
}

TEST(a_full_buffer_is_too_big)
{
	struct chat_answer answer = {.text = SLICE_LIT("0123456789")};
	struct chat_event e = {.type = CHAT_EVENT_TEXT, .text = SLICE_LIT("0123456789")};
	struct encode_state state = {0};
	struct buf small;

	buf_init(&small, 40);
	CHECK_INT(protocol_openai.encode_answer(&small, &answer, &meta), E_TOOBIG);
	buf_clear(&small);
	CHECK_INT(protocol_openai.encode_event(&state, &small, &e, &meta), E_TOOBIG);
	buf_release(&small);
}

TEST(a_translated_request_carries_what_it_can_and_names_what_it_cannot)
{
	struct bench b;
	struct chat_request r;
	struct dropped_params dropped = {.n = 0};
	struct upstream_params p = {.model = SLICE_LIT("up"), .stream = true};

	bench_init(&b);
	p.parameters = bench_json(&b, "{\"temperature\":1,\"max_completion_tokens\":5,\"top_k\":4,\"model\":\"evil\"}");
	CHECK_INT(bench_complete(&b, &protocol_generate,
				 "{\"layer\":\"foundation\",\"prompt\":\"hi\",\"max_tokens\":9,\"colour\":\"red\","
				 "\"a\\r\\nb\":1,\"nothing\":null}",
				 &r),
		  0);
	CHECK_INT(protocol_openai.encode_request(&b.out, &r, &p, &dropped), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
				    "\"stream\":true,\"stream_options\":"
				    "{\"include_usage\":true},\"max_tokens\":9,\"temperature\":1,\"top_k\":4}");
	CHECK_INT((long long)dropped.n, 2);
	CHECK_SLICE(&b, dropped.name[0], "colour");
	CHECK_SLICE(&b, dropped.name[1], "other");
	buf_clear(&b.out);
	p.stream = false;
	p.parameters = NULL;
	CHECK_INT(protocol_openai.encode_request(&b.out, &r, &p, &dropped), 0);
	CHECK_STR(buf_cstr(&b.out),
		  "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":9}");
	bench_done(&b);
}

TEST(what_is_encoded_decodes_to_the_same)
{
	struct chat_answer answer = {.text = SLICE_LIT("x\xc3\xa9\n\"y"),
				     .finish = CHAT_FINISH_LENGTH,
				     .usage = {true, false, 1, 2, 3}},
			   back;
	struct chat_event e = {.type = CHAT_EVENT_TEXT, .text = SLICE_LIT("x\t\\y")};
	struct encode_state state = {.begun = true};
	struct bench b;
	struct slice line;

	bench_init(&b);
	protocol_openai.encode_answer(&b.out, &answer, &meta);
	CHECK_INT(protocol_openai.decode_answer(&b.a, b.jp, buf_slice(&b.out), &back, &b.err), 0);
	CHECK(slice_eq(answer.text, back.text) && back.finish == answer.finish && back.usage.total_tokens == 3);
	buf_clear(&b.out);
	protocol_openai.encode_event(&state, &b.out, &e, &meta);
	line = slice_sub(buf_slice(&b.out), 6, b.out.n - 8);
	CHECK_STR(bench_stream(&b, &protocol_openai, (const char *[]){bench_cstr(&b, line), NULL}),
		  "begin id=chatcmpl-1 name=m@1; text 'x\t\\y'");
	bench_done(&b);
}
