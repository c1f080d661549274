/* SPDX-License-Identifier: Apache-2.0 */
/* Splicing: what is replaced is replaced, and every other byte is the caller's. */
#include <sys/uio.h>

#include "unit/protocol_util.h"

#define M "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static const struct {
	const char *body;
	const char *parameters; /* or NULL */
	bool stream;
	const char *want;
} cases[] = {
	{"{\"model\":\"a\"," M "}", NULL, false, "{\"model\":\"up\\\"\"," M "}"},
	{" { " M " , \"temperature\":1.0e0, \"model\" :\t\"a\\u0062\" } \n", NULL, false,
	 " { " M " , \"temperature\":1.0e0, \"model\" :\t\"up\\\"\" } \n"},
	{"{\"model\":\"a\"," M ",\"x\":{\"model\":\"a\"}}", NULL, false,
	 "{\"model\":\"up\\\"\"," M ",\"x\":{\"model\":\"a\"}}"},
	{"{\"model\":\"a\"," M "}", "{\"temperature\":0.50,\"top_k\":4,\"k\\\"\":[1 ,2]}", false,
	 "{\"model\":\"up\\\"\"," M ",\"temperature\":0.50,\"top_k\":4,\"k\\\"\":[1 ,2]}"},
	{"{\"model\":\"a\"," M ",\"temperature\":1,\"max_completion_tokens\":5}",
	 "{\"temperature\":0.5,\"max_tokens\":9,\"model\":\"evil\"}", false,
	 "{\"model\":\"up\\\"\"," M ",\"temperature\":1,\"max_completion_tokens\":5}"},
	{"{\"model\":\"a\"," M ",\"user\":null }", "{\"user\":\"u\"}", false,
	 "{\"model\":\"up\\\"\"," M ",\"user\":null }"},
	/* streams are asked for usage */
	{"{\"model\":\"a\"," M ",\"stream\":true}", NULL, true,
	 "{\"model\":\"up\\\"\"," M ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
	{"{\"model\":\"a\"," M ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", NULL, true,
	 "{\"model\":\"up\\\"\"," M ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
	{"{\"model\":\"a\"," M ",\"stream_options\":{\"include_usage\": false},\"stream\":true}", NULL, true,
	 "{\"model\":\"up\\\"\"," M ",\"stream_options\":{\"include_usage\": true},\"stream\":true}"},
	{"{\"model\":\"a\"," M ",\"stream_options\":{\"x\":1},\"stream\":true}", NULL, true,
	 "{\"model\":\"up\\\"\"," M ",\"stream_options\":{\"include_usage\":true,\"x\":1},\"stream\":true}"},
	{"{\"model\":\"a\"," M ",\"stream_options\":{},\"stream\":true}", NULL, true,
	 "{\"model\":\"up\\\"\"," M ",\"stream_options\":{\"include_usage\":true},\"stream\":true}"},
	{"{\"model\":\"a\"," M ",\"stream_options\":null,\"stream\":true}", NULL, true,
	 "{\"model\":\"up\\\"\"," M ",\"stream_options\":{\"include_usage\":true},\"stream\":true}"},
	/* the upstream streams or not as we need it */
	{"{\"model\":\"a\"," M ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", NULL, false,
	 "{\"model\":\"up\\\"\"," M ",\"stream\":false,\"stream_options\":null}"},
	{"{\"model\":\"a\"," M "}", NULL, true,
	 "{\"model\":\"up\\\"\"," M ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
	{"{\"stream\":false,\"model\":\"a\"," M "}", NULL, true,
	 "{\"stream\":true,\"model\":\"up\\\"\"," M ",\"stream_options\":{\"include_usage\":true}}"},
	{"{\"stream\":null,\"model\":\"a\"," M "}", NULL, false, "{\"stream\":null,\"model\":\"up\\\"\"," M "}"},
};

static const char *joined(struct bench *b, const struct iovec *v, int n)
{
	buf_clear(&b->out);
	for (int i = 0; i < n; i++)
		buf_append(&b->out, v[i].iov_base, v[i].iov_len);
	return buf_cstr(&b->out);
}

TEST(a_request_keeps_every_byte_but_what_is_ours)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct upstream_params p = {.model = SLICE_LIT("up\""), .stream = cases[i].stream};
		struct iovec v[PROTOCOL_SPLICE_PIECES];
		struct chat_request r;
		int n;

		if (cases[i].parameters)
			p.parameters = bench_json(&b, cases[i].parameters);
		CHECK_INT(bench_request(&b, &protocol_openai, cases[i].body, &r), 0);
		n = protocol_splice_request(&b.a, &r, &p, &protocol_openai, v, COUNT_OF(v));
		CHECK(n > 0);
		CHECK_STR(joined(&b, v, n), cases[i].want);
		CHECK_INT(protocol_splice_request(&b.a, &r, &p, &protocol_openai, v, 1), E_TOOBIG);
	}
	bench_done(&b);
}

static const struct {
	const struct protocol *protocol;
	const char *body;
	enum prefill_style style;
	int64_t left;
	const char *want; /* NULL: it cannot be said */
} beginnings[] = {
	{&protocol_openai, "{\"model\":\"a\"," M "}", PREFILL_LAST, 0,
	 "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
	 "{\"role\":\"assistant\",\"content\":\"a\\\"b\"}]}"},
	{&protocol_openai, "{\"model\":\"a\"," M "}", PREFILL_PREFIX, 0,
	 "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
	 "{\"role\":\"assistant\",\"content\":\"a\\\"b\",\"prefix\":true}]}"},
	{&protocol_openai, "{\"max_tokens\":9,\"model\":\"a\"," M ",\"max_completion_tokens\": 9 }", PREFILL_CONTINUE,
	 4,
	 "{\"max_tokens\":4,\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
	 "{\"role\":\"assistant\",\"content\":\"a\\\"b\"}],\"max_completion_tokens\": 4 ,"
	 "\"continue_final_message\":true,\"add_generation_prompt\":false}"},
	{&protocol_openai, "{\"add_generation_prompt\":true,\"continue_final_message\":0,\"model\":\"a\"," M "}",
	 PREFILL_CONTINUE, 4,
	 "{\"add_generation_prompt\":false,\"continue_final_message\":true,\"model\":\"up\","
	 "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"a\\\"b\"}]}"},
	{&protocol_anthropic, "{\"model\":\"a\",\"max_tokens\":9," M "}", PREFILL_LAST, 1,
	 "{\"model\":\"up\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
	 "{\"role\":\"assistant\",\"content\":\"a\\\"b\"}]}"},
	{&protocol_gemini,
	 "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]} ],\"generation_config\":{\"max_output_tokens\":9}}",
	 PREFILL_LAST, 4,
	 "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]} ,{\"role\":\"model\",\"parts\":[{\"text\":\"a\\\"b\"}]}],"
	 "\"generation_config\":{\"max_output_tokens\":4}}"},
	{&protocol_generate, "{\"layer\":\"a\",\"prompt\":\"p\"}", PREFILL_LAST, 0, NULL},
};

TEST(an_answer_that_has_begun_is_the_last_message)
{
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < COUNT_OF(beginnings); i++) {
		struct upstream_params p = {.model = SLICE_LIT("up"),
					    .prefill = SLICE_LIT("a\"b"),
					    .prefill_style = beginnings[i].style,
					    .max_tokens = beginnings[i].left};
		struct iovec v[PROTOCOL_SPLICE_PIECES];
		struct chat_request r;
		int n;

		CHECK_INT(bench_request(&b, beginnings[i].protocol, beginnings[i].body, &r), 0);
		n = protocol_splice_request(&b.a, &r, &p, beginnings[i].protocol, v, COUNT_OF(v));
		if (beginnings[i].want)
			CHECK_STR(joined(&b, v, n), beginnings[i].want);
		else
			CHECK(n < 0);
	}
	bench_done(&b);
}

TEST(usage_is_added_only_when_nobody_asked_and_the_upstream_lets_us)
{
	struct upstream_params p = {.model = SLICE_LIT("up"), .stream = true};
	struct iovec v[PROTOCOL_SPLICE_PIECES];
	struct chat_request r;
	struct bench b;
	int n;

	bench_init(&b);
	CHECK_INT(bench_request(&b, &protocol_openai, "{\"model\":\"a\"," M ",\"stream\":true}", &r), 0);
	CHECK(protocol_adds_usage(&r, &p, &protocol_openai));
	CHECK(!protocol_adds_usage(&r, &p, &protocol_ollama));
	p.leave_usage = true;
	CHECK(!protocol_adds_usage(&r, &p, &protocol_openai));
	n = protocol_splice_request(&b.a, &r, &p, &protocol_openai, v, COUNT_OF(v));
	CHECK_STR(joined(&b, v, n), "{\"model\":\"up\"," M ",\"stream\":true}");
	p.leave_usage = false;
	r.include_usage = true;
	CHECK(!protocol_adds_usage(&r, &p, &protocol_openai));
	p.stream = r.include_usage = false;
	CHECK(!protocol_adds_usage(&r, &p, &protocol_openai));
	bench_done(&b);
}

TEST(generate_keeps_its_members_and_never_streams_upstream)
{
	struct upstream_params p = {.model = SLICE_LIT("up")};
	struct iovec v[PROTOCOL_SPLICE_PIECES];
	struct chat_request r;
	struct bench b;
	int n;

	bench_init(&b);
	p.parameters = bench_json(&b, "{\"max_tokens\":9}");
	CHECK_INT(bench_request(&b, &protocol_generate,
				"{\"layer\":\"a\", \"prompt\":\"p\",\"stream\":true,\"mood\":\"odd\"}", &r),
		  0);
	n = protocol_splice_request(&b.a, &r, &p, &protocol_generate, v, COUNT_OF(v));
	CHECK_STR(joined(&b, v, n),
		  "{\"layer\":\"a\", \"prompt\":\"p\",\"stream\":false,\"mood\":\"odd\",\"max_tokens\":9}");
	bench_done(&b);
}

TEST(ollama_keeps_its_defaults_in_options)
{
	static const struct {
		const char *body, *want;
	} rows[] = {
		{"{\"model\":\"a\"}",
		 "{\"model\":\"up\",\"stream\":false,\"keep_alive\":1,\"options\":{\"num_predict\":9,\"top_k\":2}}"},
		{"{\"model\":\"a\",\"stream\":false,\"options\":{\"top_k\":1}}",
		 "{\"model\":\"up\",\"stream\":false,\"options\":{\"top_k\":1,\"num_predict\":9},\"keep_alive\":1}"},
		{"{\"options\":{ },\"model\":\"a\",\"keep_alive\":0,\"stream\":true}",
		 "{\"options\":{ \"num_predict\":9,\"top_k\":2},\"model\":\"up\",\"keep_alive\":0,\"stream\":false}"},
	};
	struct upstream_params p = {.model = SLICE_LIT("up")};
	struct iovec v[PROTOCOL_SPLICE_PIECES];
	struct bench b;

	bench_init(&b);
	p.parameters = bench_json(&b, "{\"max_tokens\":9,\"keep_alive\":1,\"top_k\":2}");
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const struct json *root = bench_json(&b, rows[i].body);
		struct chat_request r = {.root = root, .body = root->raw};
		int n;

		r.model_raw = json_get(root, "model")->raw;
		n = protocol_splice_request(&b.a, &r, &p, &protocol_ollama, v, COUNT_OF(v));
		CHECK_STR(joined(&b, v, n), rows[i].want);
	}
	bench_done(&b);
}

TEST(a_place_outside_the_body_is_refused)
{
	struct upstream_params p = {.model = SLICE_LIT("up")};
	struct iovec v[PROTOCOL_SPLICE_PIECES];
	struct chat_request r;
	struct bench b;

	bench_init(&b);
	CHECK_INT(bench_request(&b, &protocol_openai, "{\"model\":\"a\"," M "}", &r), 0);
	r.model_raw = SLICE_LIT("\"a\"");
	CHECK_INT(protocol_splice_request(&b.a, &r, &p, &protocol_openai, v, COUNT_OF(v)), E_INVALID);
	r.root = NULL;
	CHECK_INT(protocol_splice_request(&b.a, &r, &p, &protocol_openai, v, COUNT_OF(v)), E_INVALID);
	CHECK_INT(protocol_splice_text(&b.out, r.body, SLICE_LIT("x"), SLICE_LIT("y")), E_INVALID);
	CHECK_INT(protocol_splice_text(&b.out, r.body, (struct slice){NULL, 0}, SLICE_LIT("y")), E_INVALID);
	bench_done(&b);
}

TEST(a_masked_event_is_the_same_event_with_another_text)
{
	struct splice many[PROTOCOL_MAX_SPLICES + 1];
	struct decode_state state = {0};
	struct chat_events events = {0};
	struct chat_event e;
	struct slice payload;
	struct bench b;

	bench_init(&b);
	payload = bench_text(
		&b,
		"  {\"choices\":[{\"delta\":{\"content\" : \"card 4111\"},\"logprobs\":{\"content\":[]}}],\"x\":1e3}");
	CHECK_INT(protocol_openai.decode_event(&state, &b.a, b.jp, payload, &events, &b.err), 0);
	CHECK_INT((long long)events.n, 1);
	e = events.e[0];
	CHECK_INT(protocol_splice_text(&b.out, payload, e.text_raw, SLICE_LIT("card \"[card]\"\n")), 0);
	CHECK_STR(buf_cstr(&b.out), "  {\"choices\":[{\"delta\":{\"content\" : \"card "
				    "\\\"[card]\\\"\\n\"},\"logprobs\":{\"content\":[]}}],\"x\":1e3}");
	buf_clear(&b.out);
	CHECK_INT(protocol_splice(&b.out, payload,
				  (struct splice[]){{e.logprobs_raw, SLICE_LIT("null")},
						    {{NULL, 0}, {NULL, 0}},
						    {e.text_raw, SLICE_LIT("\"m\"")}},
				  3),
		  0);
	CHECK_STR(buf_cstr(&b.out), "  {\"choices\":[{\"delta\":{\"content\" : \"m\"},\"logprobs\":null}],\"x\":1e3}");
	CHECK_INT(protocol_splice(&b.out, payload,
				  (struct splice[]){{e.text_raw, SLICE_LIT("1")}, {e.text_raw, SLICE_LIT("2")}}, 2),
		  E_INVALID);
	CHECK_INT(protocol_splice(&b.out, payload, (struct splice[]){{SLICE_LIT("far"), SLICE_LIT("1")}}, 1),
		  E_INVALID);
	for (size_t i = 0; i < COUNT_OF(many); i++)
		many[i] = (struct splice){slice_sub(payload, i, 1), SLICE_LIT("")};
	buf_clear(&b.out);
	CHECK_INT(protocol_splice(&b.out, payload, many, COUNT_OF(many)), 0); /* any number, in order */
	CHECK_INT((long long)b.out.n, (long long)(payload.n - COUNT_OF(many)));
	many[0] = (struct splice){slice_sub(payload, payload.n - 1, 1), SLICE_LIT("")};
	CHECK_INT(protocol_splice(&b.out, payload, many, COUNT_OF(many) - 1), 0);
	CHECK_INT(protocol_splice(&b.out, payload, many, COUNT_OF(many)), E_TOOBIG);
	bench_done(&b);
}

TEST(protocols_are_found_by_name_and_by_path)
{
	CHECK(protocol_find(SLICE_LIT("openai")) == &protocol_openai &&
	      protocol_find(SLICE_LIT("generate")) == &protocol_generate);
	CHECK(!protocol_find(SLICE_LIT("soap")) && !protocol_find(SLICE_LIT("")));
	CHECK(protocol_of_path(SLICE_LIT("/openai/v1/chat/completions?v=1")) == &protocol_openai);
	CHECK(protocol_of_path(SLICE_LIT("/api/chat/")) == &protocol_ollama);
	CHECK(protocol_of_path(SLICE_LIT("/generate")) == &protocol_generate &&
	      protocol_of_path(SLICE_LIT("/a/generate")) == &protocol_generate);
	CHECK(!protocol_of_path(SLICE_LIT("/v1/regenerate")) && !protocol_of_path(SLICE_LIT("/")) &&
	      !protocol_of_path(SLICE_LIT("")));
}
