/* SPDX-License-Identifier: Apache-2.0 */
/* Anthropic's messages in both directions. */
#include "serving/protocol/protocol_internal.h"
#include "unit/protocol_util.h"

#define M "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define BODY(more) "{\"model\":\"m\"," M "," more "}"
#define CONTENT(blocks) "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":" blocks "}]}"

static const struct {
	const char *body;
	const char *param; /* NULL: accepted */
	const char *error;
} request_cases[] = {
	{"{\"model\":\"m\"," M "}", NULL, ""},
	{BODY("\"max_tokens\":9,\"stream\":true,\"system\":\"s\",\"unknown\":{}"), NULL, ""},
	{"{" M "}", "model", "model is missing"},
	{"{\"model\":\"m\"}", "messages", "messages is missing"},
	{"{\"model\":\"m\",\"messages\":[]}", "messages", "at least one"},
	{"{\"model\":\"m\",\"messages\":\"hi\"}", "messages", "must be an array of messages"},
	{"{\"model\":\"m\",\"messages\":[7]}", "messages[0]", "must be an object"},
	{"{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}", "messages[0].content", "is missing"},
	{"{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "messages[0].role",
	 "must be user or assistant"},
	{"{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}]}", "messages[0].role", "must be user or assistant"},
	{"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"content\":\"b\"}]}", "messages[0]",
	 "gives a member twice"},
	{CONTENT("7"), "messages[0].content", "must be a string or an array"},
	{CONTENT("[7]"), "messages[0].content", "must be a block"},
	{CONTENT("[{}]"), "messages[0].content", "must have a type"},
	{CONTENT("[{\"type\":\"text\"}]"), "messages[0].content", "a text block without a text"},
	{CONTENT("[{\"type\":\"text\",\"text\":\"a\",\"text\":\"b\"}]"), "messages[0].content", "twice"},
	{CONTENT("[]"), NULL, ""},
	{BODY("\"system\":7"), "system", "a string or an array"},
	{BODY("\"system\":[7]"), "system", "must be a block"},
	{BODY("\"max_tokens\":0"), "max_tokens", "above 0"},
	{BODY("\"temperature\":3"), "temperature", "between 0 and 2"},
	{BODY("\"top_p\":3"), "top_p", "between 0 and 1"},
	{BODY("\"stop_sequences\":\"x\""), "stop_sequences", "an array of strings"},
	{BODY("\"stop_sequences\":[1]"), "stop_sequences", "strings only"},
	{BODY("\"stop_sequences\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\","
	      "\"14\",\"15\",\"16\",\"17\"]"),
	 "stop_sequences", "at most 16"},
};

TEST(requests_are_accepted_or_refused_by_name)
{
	struct bench b;
	struct chat_request r;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(request_cases); i++) {
		int rc = bench_request(&b, &protocol_anthropic, request_cases[i].body, &r);

		CHECK_INT(rc, request_cases[i].param ? E_INVALID : 0);
		CHECK_STR(b.param ? b.param : "", request_cases[i].param ? request_cases[i].param : "");
		CHECK_HAS(b.err.text, request_cases[i].error);
	}
	bench_done(&b);
}

#define TALK                                                                                                       \
	"{\"model\":\"m\",\"max_tokens\":50,\"system\":[{\"type\":\"text\",\"text\":\"be\","                       \
	"\"cache_control\":{\"type\":\"ephemeral\"}},{\"type\":\"text\",\"text\":\"dry\"}],\"messages\":["         \
	"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"look\"},{\"type\":\"image\",\"source\":"    \
	"{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"AAAA\"}}]},"                                 \
	"{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"sig\"},"  \
	"{\"type\":\"text\",\"text\":\"calling\"},{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"f\",\"input\":"  \
	"{\"city\":\"Rome\"}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t1\"," \
	"\"is_error\":true,\"content\":[{\"type\":\"text\",\"text\":\"rain\"}]}]},"                                \
	"{\"role\":\"user\",\"content\":\"so?\"}],\"stop_sequences\":[\"END\"],\"top_k\":5,\"tools\":["            \
	"{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"}}],\"tool_choice\":"          \
	"{\"type\":\"any\",\"disable_parallel_tool_use\":true},\"metadata\":{\"user_id\":\"u\"},\"odd\":1}"

TEST(every_word_of_a_caller_is_judged_and_the_prompt_is_the_users_last)
{
	static const char *const words[] = {"look", "hm", "calling", "Rome", "rain", "so?"};
	struct bench b;
	struct chat_request r;

	bench_init(&b);
	CHECK_INT(bench_request(&b, &protocol_anthropic, TALK, &r), 0);
	CHECK_INT((long long)r.n_judged, COUNT_OF(words));
	for (size_t i = 0; i < r.n_judged && i < COUNT_OF(words); i++)
		CHECK_SLICE(&b, r.judged[i].text, words[i]);
	CHECK_SLICE(&b, r.prompt, "so?");
	CHECK_INT((long long)r.n_messages, 5);
	CHECK_INT(r.messages[0].role, CHAT_SYSTEM);
	CHECK_SLICE(&b, r.messages[0].text, "be\ndry");
	CHECK_INT(r.messages[3].role, CHAT_TOOL);
	CHECK_SLICE(&b, r.messages[3].text, "rain");
	CHECK(slice_starts(r.context, SLICE_LIT("[{\"role\":\"system\",\"content\":[{\"type\":\"text\"")));
	CHECK(bench_json(&b, bench_cstr(&b, r.context)) != NULL);
	bench_done(&b);
}

static const char *translated(struct bench *b, const struct protocol *from, const struct protocol *to, const char *body,
			      struct upstream_params p, const char **ret_dropped)
{
	struct dropped_params dropped = {.n = 0};
	struct chat_request r;
	struct buf names;

	p.model = SLICE_LIT("up");
	buf_clear(&b->out);
	buf_init_arena(&names, &b->a, 4096);
	CHECK_INT(bench_complete(b, from, body, &r), 0);
	CHECK_INT(to->encode_request(&b->out, &r, &p, &dropped), 0);
	for (size_t i = 0; i < dropped.n; i++)
		buf_printf(&names, "%s" SLICE_FMT, i ? " " : "", SLICE_ARG(dropped.name[i]));
	*ret_dropped = buf_cstr(&names);
	CHECK(bench_json(b, buf_cstr(&b->out)) != NULL);
	return buf_cstr(&b->out);
}

TEST(a_conversation_with_tools_goes_to_openai)
{
	struct upstream_params p = {.stream = true, .leave_usage = true};
	const char *dropped;
	struct bench b;

	bench_init(&b);
	CHECK_STR(translated(&b, &protocol_anthropic, &protocol_openai, TALK, p, &dropped),
		  "{\"model\":\"up\",\"messages\":[{\"role\":\"system\",\"content\":\"be\\ndry\"},{\"role\":\"user\","
		  "\"content\":[{\"type\":\"text\",\"text\":\"look\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"
		  "\"data:image/png;base64,AAAA\"}}]},{\"role\":\"assistant\",\"content\":\"calling\",\"tool_calls\":["
		  "{\"id\":\"t1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"city\\\":"
		  "\\\"Rome\\\"}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"t1\",\"content\":\"rain\"},{\"role\":"
		  "\"user\",\"content\":\"so?\"}],\"stream\":true,\"max_tokens\":50,\"stop\":[\"END\"],\"tools\":["
		  "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":"
		  "\"object\"}}}],\"tool_choice\":\"required\",\"parallel_tool_calls\":false,\"user\":\"u\"}");
	CHECK_STR(dropped, "cache_control odd top_k messages[].thinking");
	bench_done(&b);
}

#define OPENAI_TALK                                                                                                   \
	"{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s1\"},{\"role\":\"user\",\"content\":["    \
	"{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y.png\"}},"    \
	"{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,BB\"}}]},"                            \
	"{\"role\":\"developer\",\"content\":\"s2\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["       \
	"{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},"        \
	"{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"oops\"}}]},"               \
	"{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"one\"},{\"role\":\"tool\",\"tool_call_id\":\"c2\"," \
	"\"content\":\"two\"},{\"role\":\"user\",\"content\":\"b\"}],\"stop\":\"x\",\"temperature\":1.5,"             \
	"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":"         \
	"\"object\"}}},\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":{\"type\":"  \
	"\"function\",\"function\":{\"name\":\"f\"}},\"parallel_tool_calls\":false,\"user\":\"u\",\"logprobs\":true}"

TEST(a_conversation_with_tools_comes_from_openai)
{
	struct upstream_params p = {.stream = true};
	const char *dropped;
	struct bench b;

	bench_init(&b);
	CHECK_STR(
		translated(&b, &protocol_openai, &protocol_anthropic, OPENAI_TALK, p, &dropped),
		"{\"model\":\"up\",\"system\":[{\"type\":\"text\",\"text\":\"s1\"},{\"type\":\"text\",\"text\":\"s2\"}]"
		","
		"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image\","
		"\"source\":{\"type\":\"url\",\"url\":\"https://x/y.png\"}},{\"type\":\"image\",\"source\":{\"type\":"
		"\"base64\",\"media_type\":\"image/png\",\"data\":\"BB\"}}]},{\"role\":\"assistant\",\"content\":["
		"{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{\"a\":1}},{\"type\":\"tool_use\","
		"\"id\":\"c2\",\"name\":\"f\",\"input\":{\"arguments\":\"oops\"}}]},{\"role\":\"user\",\"content\":["
		"{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":\"one\"},{\"type\":\"tool_result\","
		"\"tool_use_id\":\"c2\",\"content\":\"two\"},{\"type\":\"text\",\"text\":\"b\"}]}],\"max_tokens\":4096,"
		"\"stream\":true,\"temperature\":1,\"stop_sequences\":[\"x\"],\"tools\":[{\"name\":\"f\","
		"\"input_schema\":{\"type\":\"object\"}}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\","
		"\"disable_parallel_tool_use\":true},\"output_config\":{\"format\":{\"type\":\"json_schema\","
		"\"schema\":"
		"{\"type\":\"object\"}}},\"metadata\":{\"user_id\":\"u\"}}");
	CHECK_STR(dropped, "temperature logprobs");
	bench_done(&b);
}

static const struct {
	const char *more, *parameters; /* of the model */
	const char *lengths, *dropped;
} length_cases[] = {
	{"\"n\":1", NULL, "\"max_tokens\":4096}", ""},
	{"\"max_completion_tokens\":7", NULL, "\"max_tokens\":7}", ""},
	{"\"n\":1", "{\"max_tokens\":99,\"top_k\":3}", "\"max_tokens\":99,\"top_k\":3}", ""},
	{"\"max_tokens\":7", "{\"max_tokens\":99}", "\"max_tokens\":7}", ""},
	{"\"reasoning_effort\":\"high\"", NULL,
	 "\"max_tokens\":20480,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":16384}}", ""},
	{"\"reasoning_effort\":\"high\",\"max_tokens\":4000,\"temperature\":0.5", NULL,
	 "\"max_tokens\":4000,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}}", "temperature"},
	{"\"reasoning_effort\":\"low\",\"max_tokens\":100", NULL, "\"max_tokens\":100}", "reasoning_effort"},
	{"\"reasoning_effort\":\"none\"", NULL, "\"max_tokens\":4096}", ""},
	{"\"response_format\":{\"type\":\"json_object\"}", NULL, "\"max_tokens\":4096}", "response_format"},
	{"\"n\":3", NULL, "\"max_tokens\":4096}", "n"},
};

TEST(an_answer_always_has_a_limit_and_reasoning_a_part_of_it)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(length_cases); i++) {
		struct upstream_params p = {.stream = false};
		const char *dropped, *body = arena_printf(&b.a, BODY("%s"), length_cases[i].more);

		if (length_cases[i].parameters)
			p.parameters = bench_json(&b, length_cases[i].parameters);
		CHECK_HAS(translated(&b, &protocol_openai, &protocol_anthropic, body, p, &dropped),
			  length_cases[i].lengths);
		CHECK_STR(dropped, length_cases[i].dropped);
	}
	bench_done(&b);
}

static const struct {
	const char *body;
	bool is_object;
} object_cases[] = {
	{"{}", true},
	{" {\"a\" : [1, -2.5e+3, {\"b\":null}], \"c\":\"\\u00e9\\n\"} ", true},
	{"{\"a\":[[],{},[{}]]}", true},
	{"", false},
	{"[]", false},
	{"{", false},
	{"{\"a\"}", false},
	{"{\"a\":}", false},
	{"{\"a\":1,}", false},
	{"{\"a\":[1,]}", false},
	{"{\"a\":01}", false},
	{"{\"a\":1.}", false},
	{"{\"a\":\"\\x\"}", false},
	{"{\"a\":\"\n\"}", false},
	{"{\"a\":1} x", false},
	{"{\"a\":tru}", false},
	{"{\"a\":\"\xff\"}", false},
	{"{\"a\":[1}", false},
};

TEST(arguments_are_an_object_or_stand_in_one)
{
	struct json_writer w;
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(object_cases); i++) {
		CHECK_INT(wire_is_object(slice_from(object_cases[i].body)), object_cases[i].is_object);
		buf_clear(&b.out);
		jw_init(&w, &b.out);
		wire_write_object(&w, slice_from(object_cases[i].body));
		CHECK(bench_json(&b, buf_cstr(&b.out)) != NULL);
	}
	buf_clear(&b.out);
	buf_adds(&b.out, "{\"a\":");
	for (int i = 0; i < 70; i++)
		buf_addc(&b.out, '[');
	for (int i = 0; i < 70; i++)
		buf_addc(&b.out, ']');
	buf_addc(&b.out, '}');
	CHECK(!wire_is_object(buf_slice(&b.out)));
	bench_done(&b);
}

/* --- upstream --- */

#define START "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}"
#define OPEN(i, block) "{\"type\":\"content_block_start\",\"index\":" #i ",\"content_block\":{" block "}}"
#define DELTA(i, delta) "{\"type\":\"content_block_delta\",\"index\":" #i ",\"delta\":{" delta "}}"
#define STOP(i) "{\"type\":\"content_block_stop\",\"index\":" #i "}"
#define END(reason)                                                                                                 \
	"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" reason "\",\"stop_sequence\":null},\"usage\":{" \
	"\"output_tokens\":9}}"

static const struct {
	const char *payloads[12];
	const char *events;
} event_cases[] = {
	{{START, "{\"type\":\"ping\"}", OPEN(0, "\"type\":\"text\",\"text\":\"\""),
	  DELTA(0, "\"type\":\"text_delta\",\"text\":\"Hi\""), STOP(0), END("end_turn"), "{\"type\":\"message_stop\"}"},
	 "begin; part; text 'Hi'; over; finish stop; usage 7+9; end"},
	{{START, OPEN(0, "\"type\":\"thinking\",\"thinking\":\"\""),
	  DELTA(0, "\"type\":\"thinking_delta\",\"thinking\":\"hm\""),
	  DELTA(0, "\"type\":\"signature_delta\",\"signature\":\"s\""), STOP(0),
	  OPEN(1, "\"type\":\"redacted_thinking\",\"data\":\"xx\""), STOP(1)},
	 "begin; part 1; reason 1 'hm'; reason 1 signature=s; over 1; part 1048577; reason 1 data=xx; over 1"},
	{{OPEN(0, "\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}"),
	  DELTA(0, "\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\"\""),
	  DELTA(0, "\"type\":\"input_json_delta\",\"partial_json\":\":1}\""), STOP(0),
	  OPEN(1, "\"type\":\"tool_use\",\"id\":\"u\",\"name\":\"g\",\"input\":{\"x\":\"y\"}"), STOP(1),
	  END("tool_use")},
	 "call 5 id=t name=f; args 5 '{\"a\"'; args 5 ':1}'; over 5; call 6 id=u name=g; args 6 '{\"x\":\"y\"}'; "
	 "other 2097153 'y'; over 6; finish tool_calls; usage 0+9"},
	{{OPEN(0, "\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{}"),
	  DELTA(0, "\"type\":\"input_json_delta\",\"partial_json\":\"{}\""), STOP(0),
	  OPEN(1, "\"type\":\"web_search_tool_result\",\"content\":[{\"title\":\"T\",\"encrypted_content\":\"E\"}]")},
	 "part 1048576; other 1048576 '{}'; over 1048576; part 1048577; other 2097155 'T'"},
	{{"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"END\"}}"},
	 "finish stop_sequence at=END"},
	{{"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\",\"stop_details\":{\"explanation\":\"no\"}"
	  "}}"},
	 "refusal 2 'no'; finish refusal"},
	{{"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"pause_turn\"}}"}, "finish pause"},
	{{"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}"}, "error 'busy'"},
	{{START, START, OPEN(0, "\"type\":\"text\",\"text\":\"\""), START},
	 "begin; begin; part; error 'the upstream began its answer a second time'"},
	{{"{\"type\":\"of_the_future\",\"words\":\"w\"}", "{}"}, "other 2097153 'w'"},
	{{STOP(0), DELTA(3, "\"type\":\"text_delta\",\"text\":\"\""), "{\"type\":\"content_block_start\"}"}, ""},
};

TEST(each_event_is_what_it_is)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(event_cases); i++)
		CHECK_STR(bench_stream(&b, &protocol_anthropic, event_cases[i].payloads), event_cases[i].events);
	CHECK_INT(bench_event_fails(&b, &protocol_anthropic, "{\"type\":"), E_INVALID);
	CHECK_INT(bench_event_fails(&b, &protocol_anthropic, "[1]"), E_INVALID);
	CHECK_INT(bench_event_fails(&b, &protocol_anthropic, ""), E_INVALID);
	bench_done(&b);
}

TEST(usage_counts_what_was_cached)
{
	struct bench b;
	struct chat_answer answer;

	bench_init(&b);
	CHECK_INT(
		protocol_anthropic.decode_answer(
			&b.a, b.jp,
			bench_text(
				&b,
				"{\"id\":\"i\",\"model\":\"c\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"h\","
				"\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
				"\"text\":\"b\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":"
				"{\"x\":\"y\"}}],\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"S\","
				"\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":2,"
				"\"cache_creation_input_tokens\":1,\"output_tokens\":4}}"),
			&answer, &b.err),
		0);
	CHECK_INT(answer.usage.prompt_tokens, 8);
	CHECK_INT(answer.usage.cached_tokens, 2);
	CHECK_INT(answer.usage.total_tokens, 12);
	CHECK_SLICE(&b, answer.text, "ab");
	CHECK_SLICE(&b, answer.stop_sequence, "S");
	CHECK_INT((long long)answer.n_judged, 5); /* the stop sequence is words too */
	CHECK_INT((long long)answer.n_parts, 4);
	CHECK_SLICE(&b, answer.parts[0].opaque, "s");
	CHECK_SLICE(&b, answer.parts[3].text, "{\"x\":\"y\"}");
	bench_done(&b);
}

static const struct {
	const char *body, *error;
} bad_answers[] = {
	{"", ""},
	{"[]", "no content"},
	{"{}", "no content"},
	{"{\"content\":\"x\"}", "no content"},
	{"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}", "busy"},
	{"{\"content\":[],\"stop_reason\":\"error\"}", "broke its answer off"},
};

TEST(what_is_no_answer_is_never_taken_for_one)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(bad_answers); i++) {
		struct chat_answer answer;

		b.err.text[0] = 0;
		CHECK_INT(
			protocol_anthropic.decode_answer(&b.a, b.jp, slice_from(bad_answers[i].body), &answer, &b.err),
			E_INVALID);
		CHECK_HAS(b.err.text, bad_answers[i].error);
	}
	bench_done(&b);
}

/* --- callers --- */

static const struct answer_meta meta = {.answer_id = {"id1", 3}, .model = {"m@1", 3}, .prompt_tokens = 6};

/* The types of the events that come out, and of their blocks and deltas. */
static const char *sent(struct bench *b, const struct chat_event *e, size_t n)
{
	struct encode_state s = {0};
	struct slice text, line;
	struct buf types;

	buf_clear(&b->out);
	buf_init_arena(&types, &b->a, 8192);
	for (size_t i = 0; i < n; i++)
		CHECK_INT(protocol_anthropic.encode_event(&s, &b->out, &e[i], &meta), 0);
	encode_state_release(&s);
	text = buf_slice(&b->out);
	while (slice_split(&text, '\n', &line)) {
		const struct json *v, *inner, *index;

		if (!slice_starts(line, SLICE_LIT("data: ")))
			continue;
		v = bench_json(b, bench_cstr(b, slice_sub(line, 6, line.n)));
		inner = json_get(v, "content_block") ? json_get(v, "content_block") : json_get(v, "delta");
		index = json_get(v, "index");
		buf_printf(&types, "%s" SLICE_FMT, types.n ? " " : "", SLICE_ARG(json_get(v, "type")->str));
		if (index)
			buf_printf(&types, ":%lld", (long long)index->integer);
		if (json_get(inner, "type"))
			buf_printf(&types, ":" SLICE_FMT, SLICE_ARG(json_get(inner, "type")->str));
	}
	return buf_cstr(&types);
}
#define SENT(b, ...)                                        \
	sent((b), (const struct chat_event[]){__VA_ARGS__}, \
	     sizeof((const struct chat_event[]){__VA_ARGS__}) / sizeof(struct chat_event))
#define E(kind) .type = CHAT_EVENT_##kind
#define T(words) .text = SLICE_LIT(words)

TEST(blocks_come_one_after_the_other)
{
	struct bench b;

	bench_init(&b);
	CHECK_STR(SENT(&b, {E(TEXT), T("a")}, {E(TEXT), T("b")}, {E(PART_END)}, {E(FINISH)}, {E(END)}),
		  "message_start content_block_start:0:text content_block_delta:0:text_delta "
		  "content_block_delta:0:text_delta content_block_stop:0 message_delta message_stop");
	CHECK_STR(SENT(&b, {E(REASONING), T("hm")}, {E(REASONING), .opaque = SLICE_LIT("s")}, {E(TEXT), T("b")},
		       {E(TOOL_START), .index = 2, .name = SLICE_LIT("f")}, {E(TOOL_ARGS), .index = 2, T("{}")},
		       {E(TOOL_START), .index = 5, .name = SLICE_LIT("g")}, {E(TOOL_ARGS), .index = 2, T(" ")},
		       {E(END)}),
		  "message_start content_block_start:0:thinking content_block_delta:0:thinking_delta "
		  "content_block_delta:0:signature_delta content_block_stop:0 content_block_start:1:text "
		  "content_block_delta:1:text_delta content_block_stop:1 content_block_start:2:tool_use "
		  "content_block_delta:2:input_json_delta content_block_stop:2 content_block_start:3:tool_use "
		  "content_block_delta:2:input_json_delta content_block_stop:3 message_delta message_stop");
	CHECK_STR(
		SENT(&b, {E(REASONING), .redacted = true, .opaque = SLICE_LIT("x")}, {E(REFUSAL), T("no")}, {E(END)}),
		"message_start content_block_start:0:redacted_thinking content_block_stop:0 content_block_start:1:text "
		"content_block_delta:1:text_delta content_block_stop:1 message_delta message_stop");
	CHECK_STR(SENT(&b, {E(NONE)}, {E(OTHER)}, {E(USAGE)}, {E(PART_END)}), "");
	CHECK_STR(SENT(&b, {E(END)}), "message_start message_delta message_stop");
	bench_done(&b);
}

TEST(what_left_as_it_came_is_remembered)
{
	struct encode_state s = {0};
	struct bench b;

	bench_init(&b);
	protocol_anthropic.encode_event(&s, NULL, &(struct chat_event){E(START)}, NULL);
	protocol_anthropic.encode_event(&s, NULL, &(struct chat_event){E(PART_START), .index = 2}, NULL);
	protocol_anthropic.encode_event(&s, &b.out, &(struct chat_event){E(FINISH), .finish = CHAT_FINISH_REFUSAL},
					&meta);
	protocol_anthropic.encode_event(&s, &b.out, &(struct chat_event){E(END)}, &meta);
	CHECK_HAS(buf_cstr(&b.out),
		  "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}\n\nevent: "
		  "message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"");
	buf_clear(&b.out);
	s = (struct encode_state){0};
	protocol_anthropic.encode_event(&s, NULL, &(struct chat_event){E(FINISH)}, NULL);
	protocol_anthropic.encode_event(&s, &b.out, &(struct chat_event){E(END)}, &meta);
	CHECK_STR(buf_cstr(&b.out), "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
	bench_done(&b);
}

TEST(an_answer_comes_out_complete)
{
	struct chat_part parts[] = {
		{.kind = CHAT_PART_TEXT, .text = SLICE_LIT("hi")},
		{.kind = CHAT_PART_TOOL_CALL,
		 .id = SLICE_LIT("c"),
		 .name = SLICE_LIT("f"),
		 .text = SLICE_LIT("{\"a\":1}")},
	};
	struct chat_answer answer = {.parts = parts,
				     .n_parts = 2,
				     .finish = CHAT_FINISH_TOOL_CALLS,
				     .usage = {true, false, 9, 2, 11, .cached_tokens = 4}};
	struct api_error e = {.status = 429, .message = SLICE_LIT("slow"), .type = "x", .request_id = SLICE_LIT("r")};
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_anthropic.encode_answer(&b.out, &answer, &meta), 0);
	CHECK_STR(buf_cstr(&b.out),
		  "{\"id\":\"id1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m@1\",\"content\":[{"
		  "\"type\":\"text\","
		  "\"text\":\"hi\"},{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{\"a\":1}}],\"stop_"
		  "reason\":"
		  "\"tool_use\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":5,\"cache_creation_input_tokens\":0,"
		  "\"cache_read_input_tokens\":4,\"output_tokens\":2}}");
	buf_clear(&b.out);
	CHECK_INT(protocol_anthropic.encode_stream_error(&b.out, &e), 0);
	CHECK_STR(buf_cstr(&b.out), "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\","
				    "\"message\":\"slow\"},\"request_id\":\"r\"}\n\n");
	bench_done(&b);
}
