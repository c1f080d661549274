/* SPDX-License-Identifier: Apache-2.0 */
/* /api/v1/generate towards callers, POST /generate towards models. */
#include "unit/protocol_util.h"

static const struct {
	const char *body;
	const char *param; /* NULL: accepted */
	const char *error;
} request_cases[] = {
	{"{\"layer\":\"foundation\",\"prompt\":\"hi\"}", NULL, ""},
	{"{\"use_case\":\"npc_dialogue\",\"prompt\":\"hi\",\"context\":{},\"max_tokens\":5,\"temperature\":1.5,"
	 "\"stream\":true}",
	 NULL, ""},
	{"{\"model\":\"tiny@1.0\",\"prompt\":\"hi\"}", NULL, ""},
	{"{\"layer\":\"foundation\",\"use_case\":\"foundation_layer\",\"prompt\":\"hi\"}", NULL, ""},
	{"{\"layer\":\"foundation\",\"use_case\":\"npc\",\"prompt\":\"hi\"}", "layer",
	 "is use case 'foundation_layer', but use_case says 'npc'"},
	{"{\"prompt\":\"hi\"}", "use_case", "layer, use_case or model"},
	{"{\"layer\":null,\"prompt\":\"hi\"}", "use_case", "layer, use_case or model"},
	{"{\"layer\":5,\"prompt\":\"hi\"}", "layer", "must be a string"},
	{"{\"layer\":\"\",\"prompt\":\"hi\"}", "layer", "1 to 64"},
	{"{\"use_case\":\"12345678901234567890123456789012345678901234567890123456789012345\",\"prompt\":\"hi\"}",
	 "use_case", "1 to 64"},
	{"{\"use_case\":\"1234567890123456789012345678901234567890123456789012345678901234\",\"prompt\":\"hi\"}", NULL,
	 ""},
	{"{\"layer\":\"a\",\"layer\":\"b\",\"prompt\":\"hi\"}", "layer", "twice"},
	{"{\"layer\":\"a\"}", "prompt", "is missing"},
	{"{\"layer\":\"a\",\"prompt\":\"\"}", "prompt", "must not be empty"},
	{"{\"layer\":\"a\",\"prompt\":[]}", "prompt", "must be a string"},
	{"{\"layer\":\"a\",\"prompt\":\"hi\",\"prompt\":\"ho\"}", "prompt", "twice"},
	{"{\"layer\":\"a\",\"prompt\":\"hi\",\"context\":[]}", "context", "must be an object"},
	{"{\"layer\":\"a\",\"prompt\":\"hi\",\"context\":null}", NULL, ""},
	{"{\"layer\":\"a\",\"prompt\":\"hi\",\"max_tokens\":0}", "max_tokens", "above 0"},
	{"{\"layer\":\"a\",\"prompt\":\"hi\",\"temperature\":3}", "temperature", "between 0 and 2"},
	{"{\"layer\":\"a\",\"prompt\":\"hi\",\"stream\":\"yes\"}", "stream", "true or false"},
	{"{\"layer\":\"a\",\"prompt\":\"hi\",\"colour\":\"red\"}", NULL, ""},
	{"[]", "", "must be a JSON object"},
};

TEST(a_wrong_request_is_refused_by_the_name_of_its_member)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(request_cases); i++) {
		const char *param = request_cases[i].param;
		struct chat_request r;
		int rc = bench_request(&b, &protocol_generate, request_cases[i].body, &r);

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

/* context, the messages it comes to as "role:text|", and how many texts are judged beside the prompt */
static const struct {
	const char *context, *messages;
	int n_judged;
} context_cases[] = {
	{"null", "user:hi|", 0},
	{"{}", "user:hi|", 0},
	{"{\"mood\": \"calm\",\"n\":[1,\"two\"]}", "system:Context: {\"mood\":\"calm\",\"n\":[1,\"two\"]}|user:hi|", 2},
	{"{\"messages\":[{\"role\":\"assistant\",\"content\":\"yes?\"}]}", "assistant:yes?|user:hi|", 2},
	{"{\"messages\":[{\"role\":\"system\",\"content\":\"s\"}],\"mood\":\"calm\"}",
	 "system:Context: {\"mood\":\"calm\"}|system:s|user:hi|", 3},
	{"{\"messages\":[{\"role\":\"boss\",\"content\":\"s\"}]}",
	 "system:Context: {\"messages\":[{\"role\":\"boss\",\"content\":\"s\"}]}|user:hi|", 2},
	{"{\"messages\":[]}", "system:Context: {\"messages\":[]}|user:hi|", 0},
};

TEST(a_context_reaches_a_chat_model_and_is_judged)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(context_cases); i++) {
		char *body = arena_printf(&b.a, "{\"layer\":\"a\",\"context\":%s,\"prompt\":\"hi\"}",
					  context_cases[i].context);
		struct chat_request r;

		buf_clear(&b.out);
		CHECK_INT(bench_request(&b, &protocol_generate, body, &r), 0);
		for (size_t k = 0; k < r.n_messages; k++)
			buf_printf(&b.out, "%s:" SLICE_FMT "|", chat_role_name(r.messages[k].role),
				   SLICE_ARG(r.messages[k].text));
		CHECK_STR(buf_cstr(&b.out), context_cases[i].messages);
		CHECK_INT((long long)r.n_judged, context_cases[i].n_judged + 1);
		CHECK_SLICE(&b, r.judged[r.n_judged - 1].raw, "\"hi\"");
		CHECK_SLICE(&b, r.use_case, "a_layer");
		CHECK_SLICE(&b, r.context, i == 0 ? "{}" : context_cases[i].context);
	}
	bench_done(&b);
}

static const struct answer_meta meta = {
	.answer_id = {"id", 2},
	.model = {"tiny@1.0", 8},
	.model_id = {"0190", 4},
	.model_name = {"tiny", 4},
	.layer = {"foundation", 10},
	.use_case = {"foundation_layer", 16},
	.log_id = {"0191", 4},
	.latency_ms = 12,
};

#define FACTS                                                                                                         \
	"\"tokens_used\":3,\"layer\":\"foundation\",\"use_case\":\"foundation_layer\",\"model_id\":\"0190\",\"model_" \
	"name\":\"tiny\","                                                                                            \
	"\"latency_ms\":12,\"log_id\":\"0191\",\"fallback_used\":false,\"finish_reason\":\"stop\",\"usage\":{"        \
	"\"prompt_tokens\":1,"                                                                                        \
	"\"completion_tokens\":2,\"total_tokens\":3}}"

TEST(an_answer_and_the_end_of_a_stream_tell_the_same_facts)
{
	struct chat_part refusal = {.kind = CHAT_PART_REFUSAL, .text = SLICE_LIT("I will not")};
	struct chat_answer answer = {.text = SLICE_LIT("Once"), .usage = {true, false, 1, 2, 3}};
	struct chat_event e = {.type = CHAT_EVENT_TEXT, .text = SLICE_LIT("On\"ce")};
	struct encode_state state = {0};
	struct answer_meta bare = {.fallback_used = true};
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_generate.encode_answer(&b.out, &answer, &meta), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"success\":true,\"text\":\"Once\"," FACTS);
	buf_clear(&b.out);
	CHECK_INT(protocol_generate.encode_event(&state, &b.out, &e, &meta), 0);
	e.type = CHAT_EVENT_FINISH;
	CHECK_INT(protocol_generate.encode_event(&state, &b.out, &e, &meta), 0);
	e = (struct chat_event){.type = CHAT_EVENT_END, .finish = CHAT_FINISH_STOP, .usage = {true, false, 1, 2, 3}};
	CHECK_INT(protocol_generate.encode_event(&state, &b.out, &e, &meta), 0);
	CHECK_STR(buf_cstr(&b.out),
		  "data: {\"text\":\"On\\\"ce\"}\n\ndata: {\"done\":true,\"success\":true," FACTS "\n\n");
	buf_clear(&b.out);
	answer = (struct chat_answer){.parts = &refusal, .n_parts = 1};
	CHECK_INT(protocol_generate.encode_answer(&b.out, &answer, &bare), 0);
	CHECK_HAS(buf_cstr(&b.out), "\"text\":\"I will not\",\"tokens_used\":0,\"layer\":null");
	CHECK_HAS(buf_cstr(&b.out), "\"fallback_used\":true");
	bench_done(&b);
}

TEST(errors_say_that_it_failed)
{
	struct api_error e = {.message = SLICE_LIT("no"), .type = "server_error", .code = "c"};
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_generate.encode_error(&b.out, &e), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"success\":false,\"error\":{\"message\":\"no\",\"type\":\"server_error\","
				    "\"param\":null,\"code\":\"c\"}}");
	buf_clear(&b.out);
	CHECK_INT(protocol_generate.encode_stream_error(&b.out, &e), 0);
	CHECK_HAS(buf_cstr(&b.out), "data: {\"success\":false,");
	CHECK_HAS(buf_cstr(&b.out), "}\n\n");
	bench_done(&b);
}

TEST(a_conversation_becomes_a_prompt_and_a_context)
{
	struct bench b;
	struct chat_request r;
	struct dropped_params dropped = {.n = 0};
	struct upstream_params p = {.model = SLICE_LIT("m")};

	bench_init(&b);
	p.parameters = bench_json(&b, "{\"temperature\":1,\"max_tokens\":3,\"style\":\"dry\",\"prompt\":\"evil\"}");
	CHECK_INT(bench_complete(
			  &b, &protocol_openai,
			  "{\"model\":\"x\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\","
			  "\"content\":\"hi\"},"
			  "{\"role\":\"assistant\",\"content\":\"a\"}],\"temperature\":0.5,\"seed\":4,\"stop\":\"x\"}",
			  &r),
		  0);
	CHECK_INT(protocol_generate.encode_request(&b.out, &r, &p, &dropped), 0);
	CHECK_STR(buf_cstr(&b.out),
		  "{\"prompt\":\"hi\",\"context\":{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":"
		  "\"assistant\",\"content\":\"a\"}]},\"temperature\":0.5,\"max_tokens\":3,\"style\":\"dry\"}");
	CHECK_INT((long long)dropped.n, 2);
	CHECK_SLICE(&b, dropped.name[0], "seed");
	CHECK_SLICE(&b, dropped.name[1], "stop");
	buf_clear(&b.out);
	p.parameters = NULL;
	CHECK_INT(bench_complete(&b, &protocol_openai,
				 "{\"model\":\"x\",\"messages\":[{\"role\":\"assistant\",\"content\":\"a\"}]}", &r),
		  0);
	CHECK_INT(protocol_generate.encode_request(&b.out, &r, &p, &dropped), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"prompt\":\"a\",\"context\":{}}");
	buf_clear(&b.out);
	CHECK_INT(
		bench_request(&b, &protocol_generate, "{\"layer\":\"x\",\"prompt\":\"p\",\"context\":{\"k\" : 1}}", &r),
		0);
	CHECK_INT(protocol_generate.encode_request(&b.out, &r, &p, &dropped), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"prompt\":\"p\",\"context\":{\"k\" : 1}}");
	bench_done(&b);
}

static const struct {
	const char *body, *text; /* text NULL: refused with error */
	const char *error;
	int64_t total;
} answer_cases[] = {
	{"{\"text\":\"a\\u0041\",\"tokens_used\":7}", "aA", "", 7},
	{"{\"response\":\"b\"}", "b", "", 0},
	{"{\"generated_text\":\"c\",\"tokens_used\":-1}", "c", "", 0},
	{"{\"text\":\"t\",\"response\":\"r\"}", "t", "", 0},
	{"{\"response\":\"r\",\"text\":\"t\"}", "t", "", 0},
	{"{\"success\":true,\"text\":\"\",\"error\":null,\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,"
	 "\"total_tokens\":3},"
	 "\"tokens_used\":9,\"finish_reason\":\"length\"}",
	 "", "", 3},
	{"{\"success\":false,\"text\":\"x\"}", NULL, "success is false", 0},
	{"{\"success\":false,\"error\":{\"message\":\"out of memory\"}}", NULL, "out of memory", 0},
	{"{\"text\":\"x\",\"error\":\"broken\"}", NULL, "broken", 0},
	{"{\"text\":\"x\",\"finish_reason\":\"error\"}", NULL, "broke its answer off", 0},
	{"{\"text\":5}", NULL, "has no text", 0},
	{"{}", NULL, "has no text", 0},
	{"[]", NULL, "has no text", 0},
	{"", NULL, "", 0},
};

TEST(an_answer_is_read_in_each_shape_that_models_give)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(answer_cases); i++) {
		struct slice body = bench_text(&b, answer_cases[i].body);
		struct chat_answer answer;
		int rc;

		b.err.text[0] = 0;
		rc = protocol_generate.decode_answer(&b.a, b.jp, body, &answer, &b.err);
		CHECK_INT(rc, answer_cases[i].text ? 0 : E_INVALID);
		CHECK_HAS(b.err.text, answer_cases[i].error);
		if (rc < 0 || !answer_cases[i].text)
			continue;
		CHECK_SLICE(&b, answer.text, answer_cases[i].text);
		CHECK_INT(answer.usage.total_tokens, answer_cases[i].total);
		CHECK_INT((long long)answer.n_judged, answer.text.n > 0);
	}
	bench_done(&b);
}

TEST(what_is_encoded_decodes_to_the_same)
{
	struct chat_answer answer = {.text = SLICE_LIT("x\n\"y"),
				     .finish = CHAT_FINISH_LENGTH,
				     .usage = {true, false, 1, 2, 3}},
			   back;
	struct bench b;

	bench_init(&b);
	protocol_generate.encode_answer(&b.out, &answer, &meta);
	CHECK_INT(protocol_generate.decode_answer(&b.a, b.jp, buf_slice(&b.out), &back, &b.err), 0);
	CHECK(slice_eq(answer.text, back.text) && back.finish == answer.finish && back.usage.total_tokens == 3);
	bench_done(&b);
}
