/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's responses: what is read of a request, and what callers get. */
#include "serving/protocol/protocol_internal.h"
#include "unit/protocol_util.h"

#define BODY(more) "{\"model\":\"m\",\"input\":\"hi\"," more "}"
#define INPUT(items) "{\"model\":\"m\",\"input\":" items "}"
#define CONTENT(parts) INPUT("[{\"role\":\"user\",\"content\":" parts "}]")

static const struct {
	const char *body;
	const char *param; /* NULL: accepted */
	const char *error;
} request_cases[] = {
	{"{\"model\":\"m\",\"input\":\"hi\"}", NULL, ""},
	{BODY("\"store\":true,\"background\":false,\"previous_response_id\":null,\"metadata\":{\"a\":\"b\"}"), NULL,
	 ""},
	{"{\"input\":\"hi\"}", "model", "model is missing"},
	{"{\"model\":\"m\"}", "input", "input is missing"},
	{"[]", NULL, NULL},
	{INPUT("{}"), "input", "a string or an array of items"},
	{INPUT("[]"), "input", "at least one"},
	{INPUT("[{\"type\":\"web_search_call\"}]"), "input", "at least one"},
	{INPUT("[7]"), "input[0]", "must be an item"},
	{INPUT("[{\"content\":\"x\"}]"), "input[0]", "a type or a role"},
	{INPUT("[{\"id\":\"msg_1\"}]"), "input[0]", "would have been kept"},
	{INPUT("[{\"type\":\"item_reference\",\"id\":\"msg_1\"}]"), "input[0]", "would have been kept"},
	{INPUT("[{\"role\":\"user\",\"role\":\"system\",\"content\":\"x\"}]"), "input[0]", "twice"},
	{INPUT("[{\"role\":\"tool\",\"content\":\"x\"}]"), "input[0].role", "must be user"},
	{CONTENT("7"), "input[0].content", "a string or an array of parts"},
	{CONTENT("[7]"), "input[0].content", "parts with a type"},
	{CONTENT("[{\"type\":\"input_text\"}]"), "input[0].content", "without text"},
	{CONTENT("[{\"type\":\"refusal\",\"text\":\"x\"}]"), "input[0].content", "without its words"},
	{CONTENT("[{\"type\":\"input_text\",\"text\":\"a\",\"text\":\"b\"}]"), "input[0].content", "twice"},
	{CONTENT("[]"), NULL, ""},
	{INPUT("[{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"\"}]"), "input[0]", "lacks its call_id"},
	{INPUT("[{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":{}}]"), "input[0]",
	 "arguments"},
	{INPUT("[{\"type\":\"function_call_output\",\"output\":\"x\"}]"), "input[0].call_id", "output of"},
	{INPUT("[{\"type\":\"function_call_output\",\"call_id\":\"c\"}]"), "input[0].output", "a string or"},
	{INPUT("[{\"type\":\"reasoning\",\"summary\":[{\"text\":\"a\",\"text\":\"b\"}]}]"), "input[0]", "twice"},
	{BODY("\"instructions\":[]"), "instructions", "a string"},
	{BODY("\"max_output_tokens\":0"), "max_output_tokens", "above 0"},
	{BODY("\"temperature\":3"), "temperature", "between 0 and 2"},
	{BODY("\"previous_response_id\":\"r\""), "previous_response_id", "no response is kept"},
	{BODY("\"conversation\":{\"id\":\"c\"}"), "conversation", "no response is kept"},
	{BODY("\"prompt\":{\"id\":\"p\"}"), "prompt", "no response is kept"},
	{BODY("\"background\":true"), "background", "must be false"},
	{BODY("\"store\":1"), "store", "true or false"},
	{BODY("\"metadata\":[]"), "metadata", "an object of strings"},
	{BODY("\"metadata\":{\"a\":1}"), "metadata", "strings only"},
	{BODY("\"stream\":1"), "stream", "true or false"},
	{BODY("\"input\":\"again\""), "input", "given twice"},
};

TEST(requests_are_accepted_or_refused_by_name)
{
	struct bench b;
	struct chat_request r;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(request_cases); i++) {
		bool bad = request_cases[i].param || !request_cases[i].error;
		int rc = bench_request(&b, &protocol_responses, request_cases[i].body, &r);

		CHECK_INT(rc, bad ? E_INVALID : 0);
		CHECK_STR(b.param ? b.param : "", request_cases[i].param ? request_cases[i].param : "");
		if (request_cases[i].error)
			CHECK_HAS(b.err.text, request_cases[i].error);
	}
	bench_done(&b);
}

static const struct {
	const char *body;
	const char *param;
	const char *error;
} detail_cases[] = {
	{BODY("\"tools\":{}"), "tools", "an array of tools"},
	{BODY("\"tools\":[{\"name\":\"f\"}]"), "tools", "a type"},
	{BODY("\"tools\":[{\"type\":\"function\"}]"), "tools", "name each function"},
	{BODY("\"tool_choice\":\"perhaps\""), "tool_choice", "auto"},
	{BODY("\"tool_choice\":{\"type\":\"function\"}"), "tool_choice", "a name"},
	{BODY("\"parallel_tool_calls\":1"), "parallel_tool_calls", "true or false"},
	{BODY("\"text\":1"), "text", "an object"},
	{BODY("\"text\":{\"format\":{\"type\":\"xml\"}}"), "text.format", "json_schema"},
	{BODY("\"text\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}}"), "text.format", "a name and a schema"},
	{BODY("\"reasoning\":\"high\""), "reasoning", "an object"},
	{BODY("\"reasoning\":{\"effort\":\"wild\"}"), "reasoning.effort", "minimal"},
	{BODY("\"reasoning\":{\"effort\":1}"), "reasoning.effort", "a string"},
	{BODY("\"include\":\"x\""), "include", "an array"},
	{BODY("\"include\":[1]"), "include", "strings only"},
	{BODY("\"truncation\":1"), "truncation", "a string"},
	{BODY("\"user\":1"), "user", "a string"},
	{BODY("\"tools\":[],\"tools\":[]"), "tools", "given twice"},
};

TEST(what_a_translation_cannot_understand_is_refused_by_name)
{
	struct bench b;
	struct chat_request r;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(detail_cases); i++) {
		CHECK_INT(bench_complete(&b, &protocol_responses, detail_cases[i].body, &r), E_INVALID);
		CHECK_STR(b.param ? b.param : "", detail_cases[i].param);
		CHECK_HAS(b.err.text, detail_cases[i].error);
	}
	bench_done(&b);
}

TEST(items_of_the_assistant_are_one_message)
{
	struct bench b;
	struct chat_request r;

	bench_init(&b);
	CHECK_INT(bench_complete(
			  &b, &protocol_responses,
			  "{\"model\":\"m\",\"instructions\":\"s\",\"input\":[{\"role\":\"user\",\"content\":\"u1\"}, "
			  "{\"type\":\"reasoning\",\"summary\":[{\"text\":\"a\"},{\"text\":\"b\"}],"
			  "\"encrypted_content\":\"sig\"},"
			  "{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"redacted:xyz\"},"
			  "{\"type\":\"reasoning\",\"summary\":[]},"
			  "{\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"t1\"},"
			  "{\"type\":\"output_text\",\"text\":\"t2\"},{\"type\":\"refusal\",\"refusal\":\"no\"}]},"
			  "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"},"
			  "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":[{\"type\":\"input_text\","
			  "\"text\":\"o\"},{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,AA\"},"
			  "{\"type\":\"input_file\"}]} , {\"role\":\"user\",\"content\":\"u2\"}]}",
			  &r),
		  0);
	CHECK_INT(r.n_messages, 5);
	CHECK_INT(r.messages[0].role, CHAT_SYSTEM);
	CHECK_INT(r.messages[2].role, CHAT_ASSISTANT);
	CHECK_SLICE(&b, r.messages[2].text, "t1\nt2");
	CHECK_INT(r.messages[2].n_parts, 6);
	CHECK_SLICE(&b, r.messages[2].parts[0].text, "a\nb");
	CHECK_SLICE(&b, r.messages[2].parts[0].opaque, "sig");
	CHECK(r.messages[2].parts[1].redacted);
	CHECK_SLICE(&b, r.messages[2].parts[1].opaque, "xyz");
	CHECK_INT(r.messages[2].parts[5].kind, CHAT_PART_TOOL_CALL);
	CHECK_INT(r.messages[3].n_parts, 1);
	CHECK_SLICE(&b, r.messages[3].parts[0].text, "o");
	CHECK_INT(r.messages[3].parts[0].n_parts, 3);
	CHECK_INT(r.messages[3].parts[0].parts[2].kind, CHAT_PART_OTHER);
	CHECK_SLICE(&b, r.messages[3].parts[0].parts[2].label, "input[].input_file");
	CHECK_INT(r.n_judged, 9);
	CHECK_SLICE(&b, r.prompt, "u2");
	CHECK_HAS(bench_cstr(&b, r.context), "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\"");
	CHECK_INT(r.context.p[r.context.n - 2], '}');
	bench_done(&b);
}

TEST(what_no_other_protocol_knows_is_named)
{
	struct dropped_params dropped = {.n = 0};
	struct bench b;
	struct chat_request r;
	struct buf names;

	bench_init(&b);
	buf_init_arena(&names, &b.a, 4096);
	CHECK_INT(
		bench_complete(&b, &protocol_responses,
			       "{\"model\":\"m\",\"store\":true,\"metadata\":{},\"service_tier\":\"flex\","
			       "\"tools\":[{\"type\":\"web_search\"},{\"type\":\"a b\"}],\"truncation\":\"auto\","
			       "\"include\":[\"x.y\",\"reasoning.encrypted_content\"],\"text\":{\"verbosity\":\"low\"},"
			       "\"tool_choice\":{\"type\":\"mcp\",\"name\":\"n\"},\"reasoning\":{\"summary\":\"auto\"},"
			       "\"input\":[{\"role\":\"user\",\"content\":\"x\"},{\"type\":\"mcp_call\"}]}",
			       &r),
		0);
	CHECK_INT(protocol_openai.encode_request(&b.out, &r, &(struct upstream_params){.model = {"up", 2}}, &dropped),
		  0);
	for (size_t i = 0; i < dropped.n; i++)
		buf_printf(&names, SLICE_FMT " ", SLICE_ARG(dropped.name[i]));
	CHECK_STR(buf_cstr(&names), "service_tier tools[].web_search other truncation include.x.y text.verbosity "
				    "tool_choice.mcp input[].mcp_call ");
	CHECK_STR(buf_cstr(&b.out), "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}");
	bench_done(&b);
}

/* --- callers --- */

static const struct answer_meta meta = {
	.answer_id = {"up1", 3}, .log_id = {"l1", 2}, .created_s = 7, .latency_ms = 2500, .model = {"m@1", 3}};

/* What comes out: the events' types without "response.", with the number of the item and what it says. */
static const char *sent(struct bench *b, const struct chat_event *e, size_t n)
{
	struct encode_state s = {0};
	struct slice text, line;
	struct buf types;
	int64_t number = 0;

	buf_clear(&b->out);
	buf_init_arena(&types, &b->a, 65536);
	for (size_t i = 0; i < n; i++)
		CHECK_INT(protocol_responses.encode_event(&s, &b->out, &e[i], &meta), 0);
	encode_state_release(&s);
	text = buf_slice(&b->out);
	while (slice_split(&text, '\n', &line)) {
		const struct json *v, *index, *delta;
		struct slice type;

		if (!slice_starts(line, SLICE_LIT("data: ")))
			continue;
		v = bench_json(b, bench_cstr(b, slice_sub(line, 6, line.n)));
		type = json_get(v, "type")->str;
		type = slice_sub(type, slice_starts(type, SLICE_LIT("response.")) ? 9 : 0, type.n);
		index = json_get(v, "output_index");
		delta = json_get(v, "delta");
		CHECK_INT(json_get(v, "sequence_number")->integer, number++);
		buf_printf(&types, "%s" SLICE_FMT, types.n ? " " : "", SLICE_ARG(type));
		if (index)
			buf_printf(&types, ":%lld", (long long)index->integer);
		if (delta)
			buf_printf(&types, ":" SLICE_FMT, SLICE_ARG(delta->str));
	}
	return buf_cstr(&types);
}
#define SENT(b, ...)                                        \
	sent((b), (const struct chat_event[]){__VA_ARGS__}, \
	     sizeof((const struct chat_event[]){__VA_ARGS__}) / sizeof(struct chat_event))
#define E(kind) .type = CHAT_EVENT_##kind
#define T(words) .text = SLICE_LIT(words)
#define CALL(i, n) E(TOOL_START), .channel = CHAT_CHANNEL_CALL + (i), .index = (i), .name = SLICE_LIT(n)
#define ARGS(i, words) E(TOOL_ARGS), .channel = CHAT_CHANNEL_CALL + (i), .index = (i), T(words)

#define BEGUN "created in_progress "
#define OPENED(i) "output_item.added:" i " "
#define TEXT_OPENED(i) OPENED(i) "content_part.added:" i " "
#define TEXT_CLOSED(i) "output_text.done:" i " content_part.done:" i " output_item.done:" i
#define CALL_CLOSED(i) "function_call_arguments.done:" i " output_item.done:" i

TEST(items_begin_and_end_one_after_the_other)
{
	struct bench b;

	bench_init(&b);
	CHECK_STR(
		SENT(&b, {E(TEXT), T("")}, {E(TEXT), T("a")}, {E(PART_END)}, {E(TEXT), T("b")}, {E(FINISH)}, {E(END)}),
		BEGUN TEXT_OPENED("0") "output_text.delta:0:a output_text.delta:0:b " TEXT_CLOSED("0") " completed");
	CHECK_STR(SENT(&b, {E(REASONING), T("hm"), .channel = 1}, {E(REASONING), .opaque = SLICE_LIT("s")},
		       {E(REASONING), T("x"), .channel = 1}, {E(REASONING), .redacted = true, .opaque = SLICE_LIT("d")},
		       {E(REFUSAL), T("no"), .channel = 2}, {E(FINISH), .finish = CHAT_FINISH_LENGTH}, {E(END)}),
		  BEGUN OPENED(
			  "0") "reasoning_summary_part.added:0 reasoning_summary_text.delta:0:hm "
			       "reasoning_summary_text.done:0 reasoning_summary_part.done:0 output_item.done:0 " OPENED(
				       "1") "reasoning_summary_part.added:1 reasoning_summary_text.delta:1:x "
					    "reasoning_summary_text.done:1 reasoning_summary_part.done:1 "
					    "output_item.done:1 " OPENED("2") "output_item.done:2 " TEXT_OPENED(
						    "3") "refusal.delta:3:no refusal.done:3 "
							 "content_part.done:3 output_item.done:3 incomplete");
	CHECK_STR(SENT(&b, {E(NONE)}, {E(START)}, {E(OTHER)}, {E(USAGE)}, {E(PART_END)}, {E(ERROR)}), "");
	CHECK_STR(SENT(&b, {E(END)}), BEGUN TEXT_OPENED("0") TEXT_CLOSED("0") " completed");
	CHECK_INT(protocol_responses.encode_event(&(struct encode_state){0}, NULL, &(struct chat_event){E(TEXT)}, NULL),
		  0);
	bench_done(&b);
}

TEST(a_call_ends_when_its_arguments_are_whole)
{
	struct bench b;

	bench_init(&b);
	CHECK_STR(SENT(&b, {CALL(0, "f")}, {ARGS(0, "{\"a\"")}, {CALL(1, "g")}, {ARGS(1, "{}")}, {ARGS(0, ":1}")},
		       {E(PART_END), .channel = CHAT_CHANNEL_CALL}, {E(TEXT), T("t")}, {ARGS(1, " \n")},
		       {E(FINISH), .finish = CHAT_FINISH_TOOL_CALLS}, {E(END)}),
		  BEGUN OPENED("0") "function_call_arguments.delta:0:{\"a\" " OPENED(
			  "1") "function_call_arguments.delta:"
			       "1:{} "
			       "function_call_arguments.delta:"
			       "0::1} " CALL_CLOSED("0") " " CALL_CLOSED("1") " " TEXT_OPENED(
				       "2") "output_text."
					    "delta:2:"
					    "t " TEXT_CLOSED("2") " completed");
	CHECK_STR(SENT(&b, {CALL(0, "f")}, {E(PART_END), .channel = CHAT_CHANNEL_CALL}, {E(END)}),
		  BEGUN OPENED("0") "function_call_arguments.delta:0:{} " CALL_CLOSED("0") " completed");
	CHECK_STR(SENT(&b, {CALL(0, "f"), .opaque = SLICE_LIT("s")}, {ARGS(0, "{}")}, {E(END)}),
		  BEGUN OPENED("0") "output_item.done:0 " OPENED("1") "function_call_arguments.delta:1:{} " CALL_CLOSED(
			  "1") " completed");
	bench_done(&b);
}

static int say(struct encode_state *s, struct bench *b, struct chat_event e)
{
	buf_clear(&b->out);
	return protocol_responses.encode_event(s, &b->out, &e, &meta);
}

TEST(an_answer_that_cannot_be_told_at_its_end_fails)
{
	static char words[1 << 20];
	struct encode_state s = {0};
	struct bench b;

	bench_init(&b);
	b.out.max = 64u << 20;
	memset(words, 'x', sizeof(words));
	for (int i = 0; i < 4; i++)
		CHECK_INT(say(&s, &b, (struct chat_event){E(TEXT), .text = {words, sizeof(words)}}), 0);
	CHECK_INT(say(&s, &b, (struct chat_event){E(TEXT), T("x")}), E_TOOBIG);
	encode_state_release(&s);
	for (int i = 0; i < 1024; i++) /* items */
		CHECK_INT(say(&s, &b, (struct chat_event){E(REASONING), .redacted = true, .opaque = SLICE_LIT("d")}),
			  0);
	CHECK_INT(say(&s, &b, (struct chat_event){E(TEXT), T("x")}), E_TOOBIG);
	CHECK_INT(say(&s, &b, (struct chat_event){CALL(0, "f")}), E_TOOBIG);
	CHECK_INT(say(&s, &b, (struct chat_event){E(REASONING), T("x")}), E_TOOBIG);
	CHECK_INT(say(&s, &b, (struct chat_event){CALL(0, "f"), .opaque = SLICE_LIT("d")}), E_TOOBIG);
	encode_state_release(&s);
	CHECK_INT(say(&s, &b, (struct chat_event){CALL(0, "f")}), 0);
	CHECK_INT(say(&s, &b, (struct chat_event){ARGS(0, "{}")}), 0);
	CHECK_INT(say(&s, &b, (struct chat_event){E(TEXT), T("x")}), 0);
	CHECK_INT(say(&s, &b, (struct chat_event){ARGS(0, "{}")}), E_TOOBIG); /* the call has been told */
	CHECK_INT(say(&s, &b, (struct chat_event){ARGS(7, "{}")}), E_TOOBIG); /* of no call */
	encode_state_release(&s);
	bench_done(&b);
}

TEST(a_failure_is_an_error_and_an_end)
{
	const struct api_error e = {
		.status = 502, .message = SLICE_LIT("gone"), .type = "upstream_error", .code = "cut"};
	struct encode_state s = {0};
	struct bench b;

	bench_init(&b);
	CHECK_INT(say(&s, &b, (struct chat_event){E(TEXT), T("half")}), 0);
	buf_clear(&b.out);
	CHECK_INT(protocol_responses.encode_failure(&s, &b.out, &e, &meta), 0);
	CHECK_HAS(
		buf_cstr(&b.out),
		"event: error\ndata: {\"type\":\"error\",\"sequence_number\":5,\"code\":\"cut\",\"message\":\"gone\","
		"\"param\":null,\"error\":{\"type\":\"upstream_error\",\"code\":\"cut\",\"message\":\"gone\","
		"\"param\":null}}\n\nevent: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":6,"
		"\"response\":{\"id\":\"resp_l1\",\"object\":\"response\",\"created_at\":7,\"status\":\"failed\","
		"\"error\":{\"code\":\"server_error\",\"message\":\"gone\"},\"incomplete_details\":null");
	CHECK_HAS(buf_cstr(&b.out),
		  "\"text\":\"half\",\"annotations\":[],\"logprobs\":[]}],\"status\":\"incomplete\"}]}}\n\n");
	encode_state_release(&s);
	buf_clear(&b.out);
	CHECK_INT(protocol_responses.encode_stream_error(&b.out, &e), 0);
	CHECK_HAS(buf_cstr(&b.out), "\"type\":\"error\",\"sequence_number\":0");
	buf_clear(&b.out);
	CHECK_INT(protocol_responses.encode_error(&b.out, &e), 0);
	CHECK_STR(buf_cstr(&b.out),
		  "{\"error\":{\"message\":\"gone\",\"type\":\"upstream_error\",\"param\":null,\"code\":\"cut\"}}");
	bench_done(&b);
}

TEST(an_answer_comes_out_complete)
{
	struct chat_part parts[] = {
		{.kind = CHAT_PART_REASONING, .text = SLICE_LIT("hm"), .opaque = SLICE_LIT("sig")},
		{.kind = CHAT_PART_REASONING, .redacted = true, .text = SLICE_LIT(""), .opaque = SLICE_LIT("xyz")},
		{.kind = CHAT_PART_TEXT, .text = SLICE_LIT("h")},
		{.kind = CHAT_PART_TEXT, .text = SLICE_LIT("i")},
		{.kind = CHAT_PART_TOOL_CALL, .name = SLICE_LIT("f"), .text = SLICE_LIT("")},
	};
	struct chat_answer answer = {.parts = parts,
				     .n_parts = COUNT_OF(parts),
				     .finish = CHAT_FINISH_TOOL_CALLS,
				     .usage = {true, false, 9, 2, 11, .cached_tokens = 4, .reasoning_tokens = 1}};
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_responses.encode_answer(&b.out, &answer, &meta), 0);
	CHECK_STR(
		buf_cstr(&b.out),
		"{\"id\":\"resp_l1\",\"object\":\"response\",\"created_at\":7,\"status\":\"completed\",\"completed_"
		"at\":9,"
		"\"error\":null,\"incomplete_details\":null,\"background\":false,\"store\":false,"
		"\"previous_response_id\":null,\"model\":\"m@1\",\"instructions\":null,\"max_output_tokens\":null,"
		"\"metadata\":{},\"parallel_tool_calls\":true,\"temperature\":null,\"top_p\":null,"
		"\"text\":{\"format\":{\"type\":\"text\"}},\"reasoning\":{\"effort\":null,\"summary\":null},\"tools\":["
		"],"
		"\"tool_choice\":\"auto\",\"truncation\":\"disabled\",\"output\":[{\"id\":\"rs_l1_0\","
		"\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"hm\"}],"
		"\"encrypted_content\":\"sig\",\"status\":\"completed\"},{\"id\":\"rs_l1_1\",\"type\":\"reasoning\","
		"\"summary\":[],\"encrypted_content\":\"redacted:xyz\",\"status\":\"completed\"},{\"id\":\"msg_l1_2\","
		"\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"hi\","
		"\"annotations\":[],\"logprobs\":[]}],\"status\":\"completed\"},{\"id\":\"fc_l1_3\","
		"\"type\":\"function_call\",\"call_id\":\"call_up1_0\",\"name\":\"f\",\"arguments\":\"{}\","
		"\"status\":\"completed\"}],\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":"
		"4,"
		"\"cache_write_tokens\":0},\"output_tokens\":2,\"output_tokens_details\":{\"reasoning_tokens\":1},"
		"\"total_tokens\":11}}");
	bench_done(&b);
}

TEST(what_was_asked_is_repeated_on_one_line)
{
	struct chat_answer answer = {.text = SLICE_LIT(""), .finish = CHAT_FINISH_CONTENT_FILTER};
	struct answer_meta m = meta;
	struct chat_request r;
	struct bench b;

	bench_init(&b);
	CHECK_INT(bench_request(
			  &b, &protocol_responses,
			  "{\"model\":\"m\",\"input\":\"x\",\"instructions\":\"s\",\"metadata\":{\n\"a\":\r\n\"\\n\"},"
			  "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\n}},{\"type\":\"mcp\"},7],"
			  "\"tool_choice\":\"any\",\"user\":\"u\",\"reasoning\":{\"effort\":\"low\"},\"top_p\":0.5,"
			  "\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"description\":\"d\","
			  "\"schema\":{},\"strict\":true}}}",
			  &r),
		  0);
	m.request = &r;
	CHECK_INT(protocol_responses.encode_answer(&b.out, &answer, &m), 0);
	CHECK(slice_chr(buf_slice(&b.out), '\n') < 0 && slice_chr(buf_slice(&b.out), '\r') < 0);
	CHECK_HAS(buf_cstr(&b.out), "\"status\":\"incomplete\",\"error\":null,\"incomplete_details\":{\"reason\":"
				    "\"content_filter\"}");
	CHECK_HAS(buf_cstr(&b.out),
		  "\"instructions\":\"s\",\"max_output_tokens\":null,\"metadata\":{ \"a\":  \"\\n\"}");
	CHECK_HAS(buf_cstr(&b.out), "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":null,"
				    "\"parameters\":{ },\"strict\":null}],\"tool_choice\":\"required\"");
	CHECK_HAS(buf_cstr(&b.out),
		  "\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"description\":\"d\",\"schema\":{},"
		  "\"strict\":true}");
	CHECK_HAS(buf_cstr(&b.out), "\"reasoning\":{\"effort\":\"low\",\"summary\":null}");
	CHECK_HAS(buf_cstr(&b.out), "\"user\":\"u\"");
	bench_done(&b);
}
