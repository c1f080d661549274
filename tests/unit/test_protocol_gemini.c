/* SPDX-License-Identifier: Apache-2.0 */
/* Gemini's upstreams: requests of other protocols as they take them, and what they answer. */
#include <sys/uio.h>

#include "serving/protocol/gemini_internal.h"
#include "unit/protocol_util.h"

TEST(members_have_two_names)
{
	CHECK(gemini_is(SLICE_LIT("toolConfig"), "toolConfig"));
	CHECK(gemini_is(SLICE_LIT("tool_config"), "toolConfig"));
	CHECK(!gemini_is(SLICE_LIT("tool_Config"), "toolConfig"));
	CHECK(!gemini_is(SLICE_LIT("toolconfig"), "toolConfig"));
	CHECK(!gemini_is(SLICE_LIT("tool_"), "toolConfig"));
	CHECK(!gemini_is(SLICE_LIT("tool"), "toolConfig"));
	CHECK(!gemini_is(SLICE_LIT("toolConfigs"), "toolConfig"));
	CHECK(!gemini_is((struct slice){NULL, 0}, "toolConfig"));
}

/* --- requests --- */

#define OPENAI(more) "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" more "}"
#define HI "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]"
#define CONFIG(c) "{" HI ",\"generationConfig\":{" c "}}"

static const struct {
	const char *body;
	const char *parameters; /* the model's, or NULL */
	const char *upstream;
	const char *dropped;
} request_cases[] = {
	{OPENAI(""), NULL, CONFIG(""), ""},
	{OPENAI(",\"max_tokens\":9,\"temperature\":0.5,\"top_p\":0.25,\"seed\":3,\"stop\":[\"a\",\"b\"],"
		"\"presence_penalty\":1,\"frequency_penalty\":0.5"),
	 NULL,
	 CONFIG("\"maxOutputTokens\":9,\"temperature\":0.5,\"topP\":0.25,\"seed\":3,\"frequencyPenalty\":0.5,"
		"\"presencePenalty\":1,\"stopSequences\":[\"a\",\"b\"]"),
	 ""},
	{OPENAI(",\"max_tokens\":9"), "{\"max_tokens\":5,\"top_k\":7,\"safetySettings\":[],\"topP\":1}",
	 "{" HI ",\"generationConfig\":{\"maxOutputTokens\":9,\"topK\":7,\"topP\":1},\"safetySettings\":[]}", ""},
	{OPENAI(",\"top_p\":0.5"), "{\"topP\":1,\"model\":\"x\",\"contents\":1}", CONFIG("\"topP\":0.5"), ""},
	{OPENAI(",\"response_format\":{\"type\":\"json_object\"}"), NULL,
	 CONFIG("\"responseMimeType\":\"application/json\""), ""},
	{OPENAI(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":"
		"{\"type\":\"object\"}}}"),
	 NULL, CONFIG("\"responseMimeType\":\"application/json\",\"responseJsonSchema\":{\"type\":\"object\"}"), ""},
	{OPENAI(",\"reasoning_effort\":\"low\""), NULL,
	 CONFIG("\"thinkingConfig\":{\"thinkingBudget\":1024,\"includeThoughts\":true}"), ""},
	{OPENAI(",\"reasoning_effort\":\"none\""), NULL, CONFIG("\"thinkingConfig\":{\"thinkingBudget\":0}"), ""},
	{OPENAI(",\"logit_bias\":{\"1\":2},\"parallel_tool_calls\":false,\"user\":\"u\",\"odd\":1"), NULL, CONFIG(""),
	 "odd parallel_tool_calls user logit_bias"},
	{OPENAI(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":"
		"{\"type\":\"object\"}}}],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"),
	 NULL,
	 "{" HI ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"d\","
	 "\"parametersJsonSchema\":{\"type\":\"object\"}}]}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":"
	 "\"ANY\",\"allowedFunctionNames\":[\"f\"]}},\"generationConfig\":{}}",
	 ""},
	{"{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be\"},{\"role\":\"user\",\"content\":["
	 "{\"type\":\"text\",\"text\":\"look\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,"
	 "AAAA\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://x/y.png\"}}]}]}",
	 NULL,
	 "{\"systemInstruction\":{\"parts\":[{\"text\":\"be\"}]},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":"
	 "\"look\"},{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AAAA\"}}]}],\"generationConfig\":{}}",
	 "messages[].image_url"},
};

static const char *translated(struct bench *b, const struct protocol *from, const char *body, const char *model,
			      const char *parameters, const char **ret_dropped)
{
	struct upstream_params p = {.model = slice_from(model),
				    .parameters = parameters ? bench_json(b, parameters) : NULL};
	struct dropped_params dropped = {.n = 0};
	struct chat_request r;
	struct buf names;

	buf_clear(&b->out);
	buf_init_arena(&names, &b->a, 4096);
	CHECK_INT(bench_request(b, from, body, &r), 0);
	CHECK_INT(protocol_complete(from, &b->a, &r, &b->param, &b->err), 0);
	CHECK_INT(protocol_gemini.encode_request(&b->out, &r, &p, &dropped), 0);
	for (size_t i = 0; i < dropped.n; i++)
		buf_printf(&names, "%s" SLICE_FMT, i ? " " : "", SLICE_ARG(dropped.name[i]));
	*ret_dropped = buf_cstr(&names);
	CHECK(bench_json(b, buf_cstr(&b->out)) != NULL);
	return buf_cstr(&b->out);
}

TEST(requests_are_translated_and_what_is_lost_is_named)
{
	const char *dropped;
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(request_cases); i++) {
		CHECK_STR(translated(&b, &protocol_openai, request_cases[i].body, "gemini-2.5-pro",
				     request_cases[i].parameters, &dropped),
			  request_cases[i].upstream);
		CHECK_STR(dropped, request_cases[i].dropped);
	}
	bench_done(&b);
}

#define CALLS                                                                                                        \
	"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":\"assistant\",\"content\":" \
	"null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"      \
	"\"{\\\"a\\\":1}\"}%s},{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":"     \
	"\"\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"{\\\"x\\\":2}\"},{\"role\":\"tool\","     \
	"\"tool_call_id\":\"c2\",\"content\":\"plain\"}]}"

static const struct {
	const char *model, *signature, *wanted;
} signature_cases[] = {
	{"gemini-2.5-pro", "", ""},
	{"gemini-2.5-pro", ",\"extra_content\":{\"google\":{\"thought_signature\":\"sig\"}}",
	 ",\"thoughtSignature\":\"sig\""},
	{"gemini-3-pro", "", ",\"thoughtSignature\":\"skip_thought_signature_validator\""},
	{"gemini-3-pro", ",\"extra_content\":{\"google\":{\"thought_signature\":\"sig\"}}",
	 ",\"thoughtSignature\":\"sig\""},
};

TEST(calls_go_back_with_their_signatures_and_results_by_name)
{
	const char *dropped;
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(signature_cases); i++) {
		char *body = arena_printf(&b.a, CALLS, signature_cases[i].signature);
		char *want = arena_printf(
			&b.a,
			"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"go\"}]},{\"role\":\"model\","
			"\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":1}}%s},{\"functionCall\":"
			"{\"name\":\"g\",\"args\":{}}}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"name\":"
			"\"f\",\"response\":{\"x\":2}}},{\"functionResponse\":{\"name\":\"g\",\"response\":{\"result\":"
			"\"plain\"}}}]}],\"generationConfig\":{}}",
			signature_cases[i].wanted);

		CHECK_STR(translated(&b, &protocol_openai, body, signature_cases[i].model, NULL, &dropped), want);
	}
	/* Anthropic's clients send it in the thought before the call */
	CHECK_HAS(
		translated(&b, &protocol_anthropic,
			   "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"assistant\",\"content\":["
			   "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"s1\"},{\"type\":\"thinking\","
			   "\"thinking\":\"\",\"signature\":\"s2\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\","
			   "\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
			   "\"t\",\"is_error\":true,\"content\":\"no\"}]}]}",
			   "gemini-3-pro", NULL, &dropped),
		"\"parts\":[{\"text\":\"hm\",\"thought\":true,\"thoughtSignature\":\"s1\"},{\"functionCall\":{\"name\":"
		"\"f\",\"args\":{}},\"thoughtSignature\":\"s2\"}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":"
		"{\"name\":\"f\",\"response\":{\"error\":\"no\"}}}]}]");
	bench_done(&b);
}

/* --- answers --- */

#define PARTS(parts) "{\"candidates\":[{\"content\":{\"parts\":[" parts "],\"role\":\"model\"}}]}"
#define PART(part) PARTS("{" part "}")
#define REASON(reason) "{\"candidates\":[{\"finishReason\":\"" reason "\",\"index\":0}]}"
#define PIECE(piece, more) PART("\"functionCall\":{\"partialArgs\":[{" piece "}]" more "}")

static const struct {
	const char *payloads[8];
	const char *events;
} event_cases[] = {
	{{PART("\"text\":\"Hi\""), REASON("STOP")}, "text 'Hi'; finish stop"},
	{{PART("\"thoughtSignature\":\"s\",\"text\":\"hm\",\"thought\":true"),
	  PART("\"text\":\"\",\"thoughtSignature\":\"t\"")},
	 "reason 1 'hm'; reason 1 signature=s; reason 1 signature=t"},
	{{PARTS("{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":\"b\"}},\"thoughtSignature\":\"s\"},{"
		"\"functionCall\":"
		"{\"id\":\"i\",\"name\":\"g\"}}"),
	  REASON("STOP")},
	 "call 5 name=f signature=s; args 5 '{\"a\":\"b\"}'; other 2097152 'b'; over 5; call 6 id=i name=g; over 6; "
	 "finish tool_calls"},
	{{PART("\"functionCall\":{\"name\":\"f\",\"willContinue\":true}"),
	  PIECE("\"jsonPath\":\"$.a\",\"stringValue\":\"x\\\"\",\"willContinue\":true", ",\"willContinue\":true"),
	  PIECE("\"jsonPath\":\"$.a\",\"stringValue\":\"y\"", ",\"willContinue\":true"),
	  PIECE("\"jsonPath\":\"$.n\",\"numberValue\":7},{\"jsonPath\":\"$.z\",\"nullValue\":null",
		",\"willContinue\":true"),
	  PART("\"functionCall\":{}"), PART("\"functionCall\":{}")},
	 "call 5 name=f; args 5 '{\"a\":\"x\\\"'; other 2097153 'x\"'; args 5 'y\"'; other 2097153 'y'; args 5 "
	 "',\"n\":7,\"z\":null'; args 5 '}'; over 5"},
	{{PART("\"functionCall\":{\"name\":\"f\",\"willContinue\":true}"),
	  PIECE("\"jsonPath\":\"$.a.b[0]\",\"stringValue\":\"x\"", ",\"willContinue\":true")},
	 "call 5 name=f; other 2097153 'x'; error 'the upstream's arguments of a call are in pieces that cannot be "
	 "joined'"},
	{{REASON("MAX_TOKENS")}, "finish length"},
	{{REASON("SAFETY")}, "finish content_filter"},
	{{REASON("PROHIBITED_CONTENT")}, "finish content_filter"},
	{{REASON("OTHER")}, "finish stop"},
	{{REASON("MALFORMED_FUNCTION_CALL")}, "error 'the upstream broke its answer off'"},
	{{"{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}"},
	 "refusal 2 'The prompt was blocked by the model's provider: SAFETY.'; finish content_filter"},
	{{"{\"promptFeedback\":{\"blockReason\":\"OTHER\",\"blockReasonMessage\":\"no\"}}"},
	 "refusal 2 'no'; finish content_filter"},
	{{"{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}"}, "error 'busy'"},
	{{"{\"usageMetadata\":{\"trafficType\":\"ON_DEMAND\"}}",
	  "{\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":3}}"},
	 "usage 5+5"},
	{{"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}},{\"index\":1,\"content\":{\"parts\":[{"
	  "\"text\":"
	  "\"b\"}]}}]}"},
	 "text 'a'; other 524289 'b'"},
	{{PARTS("{\"executableCode\":{\"language\":\"PYTHON\",\"code\":\"1+1\"}}")}, "other 2097153 '1+1'"},
};

TEST(each_event_is_what_it_is)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(event_cases); i++)
		CHECK_STR(bench_stream(&b, &protocol_gemini, event_cases[i].payloads), event_cases[i].events);
	CHECK_INT(bench_event_fails(&b, &protocol_gemini, "{\"candidates\":"), E_INVALID);
	CHECK_INT(bench_event_fails(&b, &protocol_gemini, "[1]"), E_INVALID);
	bench_done(&b);
}

static const struct {
	const char *body;
	const char *error; /* NULL: it is read */
} answer_cases[] = {
	{PART("\"text\":\"Hi\""), NULL},
	{"{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}", NULL},
	{"{}", "no candidates"},
	{"[]", "no candidates"},
	{"{\"candidates\":[]}", "no candidates"},
	{REASON("MALFORMED_FUNCTION_CALL"), "broke its answer off"},
	{"{\"error\":{\"message\":\"sorry\"}}", "the upstream reports: sorry"},
	{"{", ""},
};

TEST(answers_are_read_or_refused)
{
	struct chat_answer answer;
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(answer_cases); i++) {
		b.err.text[0] = 0;
		CHECK_INT(protocol_gemini.decode_answer(&b.a, b.jp, bench_text(&b, answer_cases[i].body), &answer,
							&b.err),
			  answer_cases[i].error ? E_INVALID : 0);
		CHECK_HAS(b.err.text, answer_cases[i].error ? answer_cases[i].error : "");
	}
	CHECK_INT(
		protocol_gemini.decode_answer(
			&b.a, b.jp,
			bench_text(&b,
				   "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hm\",\"thought\":true,"
				   "\"thoughtSignature\":\"s\"},{\"text\":\"a\"},{\"text\":\"b\"},{\"functionCall\":"
				   "{\"name\":\"f\",\"args\":{\"k\":1}},\"thoughtSignature\":\"t\"}]},"
				   "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":9,"
				   "\"cachedContentTokenCount\":4,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":3,"
				   "\"totalTokenCount\":14},\"modelVersion\":\"v\",\"responseId\":\"r\"}"),
			&answer, &b.err),
		0);
	CHECK_SLICE(&b, answer.text, "ab");
	CHECK_INT((long long)answer.n_parts, 4);
	CHECK_SLICE(&b, answer.parts[0].opaque, "s");
	CHECK_SLICE(&b, answer.parts[3].opaque, "t");
	CHECK_SLICE(&b, answer.parts[3].text, "{\"k\":1}");
	CHECK_INT(answer.finish, CHAT_FINISH_TOOL_CALLS);
	CHECK_INT(answer.usage.prompt_tokens, 9);
	CHECK_INT(answer.usage.completion_tokens, 5);
	CHECK_INT(answer.usage.cached_tokens, 4);
	CHECK_INT(answer.usage.reasoning_tokens, 3);
	CHECK_INT(answer.usage.total_tokens, 14);
	CHECK_SLICE(&b, answer.model, "v");
	CHECK_SLICE(&b, answer.id, "r");
	bench_done(&b);
}

static const struct {
	const char *body;
	int64_t ms;
} retry_cases[] = {
	{"{\"error\":{\"details\":[{\"violations\":[]},{\"retryDelay\":\"34.4s\"}]}}", 34400},
	{"{\"error\":{\"details\":[{\"retryDelay\":\"0s\"}]}}", 0},
	{"{\"error\":{\"details\":[{\"retryDelay\":\"-1s\"}]}}", -1},
	{"{\"error\":{\"details\":[{\"retryDelay\":\"s\"}]}}", -1},
	{"{\"error\":{\"details\":[{\"retryDelay\":7}]}}", -1},
	{"{\"error\":{\"message\":\"x\"}}", -1},
	{"no json", -1},
};

TEST(an_error_says_how_long_to_wait)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(retry_cases); i++)
		CHECK_INT(protocol_gemini.error_retry_ms(&b.a, b.jp, bench_text(&b, retry_cases[i].body)),
			  retry_cases[i].ms);
	bench_done(&b);
}

/* --- callers --- */

#define BODY(more) "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]" more "}"
#define ONE(part) "{\"contents\":[{\"role\":\"user\",\"parts\":[" part "]}]}"

static const struct {
	const char *body;
	const char *param; /* NULL: accepted */
	const char *error;
} front_cases[] = {
	{BODY(""), NULL, ""},
	{BODY(",\"system_instruction\":{\"parts\":{\"text\":\"s\"}},\"generation_config\":{\"top_p\":1},\"x\":1"), NULL,
	 ""},
	{"{\"contents\":{\"parts\":{\"text\":\"hi\"}}}", NULL, ""},
	{"[]", "", "must be a JSON object"},
	{"{}", "contents", "contents is missing"},
	{"{\"contents\":[]}", "contents", "at least one"},
	{"{\"contents\":\"hi\"}", "contents", "an array of contents"},
	{"{\"contents\":[7]}", "contents[0]", "an object with parts"},
	{"{\"contents\":[{\"role\":\"x\",\"parts\":[]}]}", "contents[0]", "user or model"},
	{"{\"contents\":[{\"parts\":[],\"parts\":[]}]}", "contents[0]", "twice"},
	{ONE("7"), "contents[0]", "must hold parts"},
	{ONE("{\"text\":7}"), "contents[0]", "no string"},
	{ONE("{\"text\":\"a\",\"text\":\"b\"}"), "contents[0]", "twice"},
	{BODY(",\"contents\":[]"), "contents", "twice"},
	{BODY(",\"systemInstruction\":7"), "systemInstruction", "an object with parts"},
	{BODY(",\"generationConfig\":7"), "generationConfig", "an object"},
	{BODY(",\"generationConfig\":{\"maxOutputTokens\":0}"), "maxOutputTokens", "above 0"},
	{BODY(",\"generationConfig\":{\"temperature\":3}"), "temperature", "between"},
	{BODY(",\"generationConfig\":{\"candidateCount\":9}"), "candidateCount", "from 1 to 8"},
	{BODY(",\"generationConfig\":{\"stopSequences\":[1]}"), "stopSequences", "strings only"},
	{BODY(",\"generationConfig\":{\"seed\":0.5}"), "seed", "a whole number"},
};

TEST(callers_are_accepted_or_refused_by_name)
{
	struct chat_request r;
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(front_cases); i++) {
		int rc = bench_request(&b, &protocol_gemini, front_cases[i].body, &r);

		CHECK_INT(rc, front_cases[i].param ? E_INVALID : 0);
		CHECK_STR(b.param ? b.param : "", front_cases[i].param ? front_cases[i].param : "");
		CHECK_HAS(b.err.text, front_cases[i].error);
	}
	bench_done(&b);
}

TEST(every_word_of_a_caller_is_judged)
{
	static const char *const words[] = {"a", "hm", "b", "c", "d", "e"};
	struct chat_request r;
	struct bench b;

	bench_init(&b);
	CHECK_INT(bench_request(&b, &protocol_gemini,
				"{\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]},\"contents\":[{\"parts\":[{"
				"\"text\":\"a\"},{"
				"\"inlineData\":{\"mimeType\":\"x\",\"data\":\"AAAA\"}}]},{\"role\":\"model\","
				"\"parts\":[{\"text\":"
				"\"hm\",\"thought\":true,\"thoughtSignature\":\"sig\"},{\"functionCall\":{\"name\":"
				"\"f\",\"args\":{"
				"\"name\":\"b\"}}}]},{\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":{"
				"\"id\":[\"c\"]}}},"
				"{\"executableCode\":{\"code\":\"d\"}},{\"text\":\"e\"}]}]}",
				&r),
		  0);
	CHECK_INT((long long)r.n_judged, COUNT_OF(words));
	for (size_t i = 0; i < r.n_judged && i < COUNT_OF(words); i++)
		CHECK_SLICE(&b, r.judged[i].text, words[i]);
	CHECK_INT((long long)r.n_messages, 4);
	CHECK_INT(r.messages[0].role, CHAT_SYSTEM);
	CHECK_SLICE(&b, r.prompt, "{\"id\":[\"c\"]}\ne");
	CHECK(bench_json(&b, bench_cstr(&b, r.context)) != NULL);
	bench_done(&b);
}

TEST(a_call_leaves_whole_and_not_twice)
{
	const struct answer_meta m = {.answer_id = {"r", 1}, .model = {"m", 1}};
	const struct chat_event events[] = {
		{.type = CHAT_EVENT_TOOL_START, .channel = 5, .name = {"f", 1}, .opaque = {"s", 1}},
		{.type = CHAT_EVENT_TOOL_ARGS, .channel = 5, .text = {"{\"a\":", 5}},
		{.type = CHAT_EVENT_TOOL_ARGS, .channel = 5, .text = {"\n1}", 3}},
		{.type = CHAT_EVENT_PART_END, .channel = 5},
		{.type = CHAT_EVENT_FINISH, .finish = CHAT_FINISH_TOOL_CALLS},
		{.type = CHAT_EVENT_END},
	};
	struct encode_state s = {0};
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(events); i++)
		CHECK_INT(protocol_gemini.encode_event(&s, &b.out, &events[i], &m), 0);
	CHECK_STR(
		buf_cstr(&b.out),
		"data: "
		"{\"candidates\":[{\"content\":{\"parts\":[{\"thoughtSignature\":\"s\",\"functionCall\":{\"name\":"
		"\"f\",\"args\":{\"a\": 1}}}],\"role\":\"model\"},\"index\":0}],\"modelVersion\":\"m\",\"responseId\":"
		"\"r\"}\r\n\r\ndata: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},"
		"\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":0,"
		"\"candidatesTokenCount\":0,\"totalTokenCount\":0},\"modelVersion\":\"m\",\"responseId\":\"r\"}"
		"\r\n\r\n");
	CHECK_INT(protocol_gemini.encode_event(&s, &b.out, &events[1], &m), E_TOOBIG); /* its call has left */
	encode_state_release(&s);
	bench_done(&b);
}
