/* SPDX-License-Identifier: Apache-2.0 */
/* Embeddings of three protocols in both directions. */
#include "unit/protocol_util.h"

#include <sys/uio.h>

static const struct {
	const struct protocol *front;
	const char *body;
	const char *error; /* a part of the sentence; NULL: accepted */
	const char *prompt;
} requests[] = {
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":\"a\"}", NULL, "a"},
	{&protocol_openai_embeddings, "{\"input\":[\"a\",\"\",\"b\"],\"model\":\"m\"}", NULL, "a\n\nb"},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":[1,2]}", NULL, "[1,2]"},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":[[1],[2,3]]}", NULL, "[1]\n[2,3]"},
	{&protocol_openai_embeddings,
	 "{\"encoding_format\":\"base64\",\"dimensions\":3,\"model\":\"m\",\"input\":\"a\"}", NULL, "a"},
	{&protocol_openai_embeddings, "[]", "must be a JSON object", NULL},
	{&protocol_openai_embeddings, "{\"model\":\"m\"}", "input is missing", NULL},
	{&protocol_openai_embeddings, "{\"input\":\"a\"}", "model is missing", NULL},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":null}", "input is missing", NULL},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":{}}", "not an object", NULL},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":[]}", "at least one", NULL},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":[true]}", "not a boolean", NULL},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":[[]]}", "not a", NULL},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":[\"a\",[1]]}", "of one kind", NULL},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":\"a\",\"input\":\"b\"}", "twice", NULL},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":1}", "float or base64",
	 NULL},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":1.5}", "above 0", NULL},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":\"9\"}", "whole number", NULL},
	{&protocol_gemini_embed, "{\"content\":{\"parts\":[{\"text\":\"a\"},{\"text\":\"b\"}]}}", NULL, "a\nb"},
	{&protocol_gemini_embed, "{\"content\":{\"parts\":{\"text\":\"a\"}},\"output_dimensionality\":7}", NULL, "a"},
	{&protocol_gemini_embed, "{}", "content is missing", NULL},
	{&protocol_gemini_embed, "{\"content\":{\"parts\":[{\"text\":1}]}}", "which is a string", NULL},
	{&protocol_gemini_embed, "{\"content\":{\"parts\":[7]}}", "must hold parts", NULL},
	{&protocol_gemini_embed, "{\"content\":{\"parts\":[]},\"content\":{}}", "each member once", NULL},
	{&protocol_gemini_embed, "{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"model\":1}", "no string", NULL},
	{&protocol_gemini_embed_batch, "{\"requests\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"title\":\"t\"}]}",
	 NULL, "a"},
	{&protocol_gemini_embed_batch, "{\"requests\":{}}", "an array", NULL},
	{&protocol_gemini_embed_batch, "{\"requests\":[],\"requests\":[]}", "at least one", NULL},
	{&protocol_gemini_embed_batch, "{\"requests\":[{\"model\":\"m\"}]}", "has no content", NULL},
	{&protocol_gemini_embed_batch,
	 "{\"requests\":[{\"content\":{\"parts\":[]},\"outputDimensionality\":1},{\"content\":{\"parts\":[]}}]}",
	 "as many dimensions", NULL},
	{&protocol_gemini_embed_batch,
	 "{\"requests\":[{\"content\":{\"parts\":[]}},{\"content\":{\"parts\":[]},\"outputDimensionality\":1}]}",
	 "as many dimensions", NULL},
	{&protocol_ollama_embed, "{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"truncate\":true}", NULL, "a\nb"},
	{&protocol_ollama_embed, "{\"model\":\"m\",\"input\":[\"a\",1]}", "array of strings", NULL},
	{&protocol_ollama_embed, "{\"model\":\"m\",\"prompt\":\"a\"}", "input is missing", NULL},
	{&protocol_ollama_embeddings, "{\"model\":\"m\",\"prompt\":\"a\"}", NULL, "a"},
	{&protocol_ollama_embeddings, "{\"model\":\"m\",\"prompt\":[\"a\"]}", "must be a string", NULL},
	{&protocol_ollama_embeddings, "{\"model\":\"m\",\"input\":\"a\"}", "prompt is missing", NULL},
};

TEST(a_request_is_read_or_refused_by_name)
{
	for (size_t i = 0; i < COUNT_OF(requests); i++) {
		struct chat_request r;
		struct bench b;
		int rc;

		bench_init(&b);
		rc = bench_request(&b, requests[i].front, requests[i].body, &r);
		CHECK_INT(rc, requests[i].error ? E_INVALID : 0);
		if (requests[i].error)
			CHECK_HAS(b.err.text, requests[i].error);
		else
			CHECK_SLICE(&b, r.prompt, requests[i].prompt);
		CHECK(rc < 0 || (r.embed && r.embed->n > 0 && r.n_messages == 0));
		bench_done(&b);
	}
}

static const struct {
	const struct protocol *front;
	const char *body, *openai, *gemini, *ollama, *dropped;
} translations[] = {
	{&protocol_ollama_embed, "{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"dimensions\":4,\"truncate\":false}",
	 "{\"model\":\"up\",\"input\":[\"a\",\"b\"],\"encoding_format\":\"float\",\"dimensions\":4}",
	 "{\"requests\":[{\"model\":\"models/"
	 "up\",\"content\":{\"parts\":[{\"text\":\"a\"}]},\"outputDimensionality\":4},"
	 "{\"model\":\"models/up\",\"content\":{\"parts\":[{\"text\":\"b\"}]},\"outputDimensionality\":4}]}",
	 "{\"model\":\"up\",\"input\":[\"a\",\"b\"],\"dimensions\":4}", "truncate"},
	{&protocol_gemini_embed, "{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"taskType\":\"X\",\"title\":\"t\"}",
	 "{\"model\":\"up\",\"input\":[\"a\"],\"encoding_format\":\"float\"}",
	 "{\"requests\":[{\"model\":\"models/up\",\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}",
	 "{\"model\":\"up\",\"input\":[\"a\"]}", "taskType,title"},
	{&protocol_openai_embeddings, "{\"model\":\"m\",\"input\":\"a\",\"user\":\"u\",\"encoding_format\":\"base64\"}",
	 "{\"model\":\"up\",\"input\":[\"a\"],\"encoding_format\":\"float\"}",
	 "{\"requests\":[{\"model\":\"models/up\",\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}",
	 "{\"model\":\"up\",\"input\":[\"a\"]}", "user"},
};

static void check_encoded(struct bench *b, const struct protocol *back, const struct chat_request *r, const char *want,
			  const char *dropped)
{
	struct upstream_params p = {.model = SLICE_LIT("up")};
	struct dropped_params d = {.n = 0};
	struct buf names;

	buf_clear(&b->out);
	CHECK_INT(back->encode_request(&b->out, r, &p, &d), 0);
	CHECK_STR(buf_cstr(&b->out), want);
	buf_init_arena(&names, &b->a, 256);
	for (size_t i = 0; i < d.n; i++)
		buf_printf(&names, "%s" SLICE_FMT, i ? "," : "", SLICE_ARG(d.name[i]));
	CHECK_STR(buf_cstr(&names), dropped);
}

TEST(a_request_is_written_for_each_model)
{
	for (size_t i = 0; i < COUNT_OF(translations); i++) {
		struct chat_request r;
		struct bench b;

		bench_init(&b);
		CHECK_INT(bench_complete(&b, translations[i].front, translations[i].body, &r), 0);
		check_encoded(&b, &protocol_openai_embeddings, &r, translations[i].openai, translations[i].dropped);
		check_encoded(&b, &protocol_gemini_embed_batch, &r, translations[i].gemini, translations[i].dropped);
		check_encoded(&b, &protocol_ollama_embed, &r, translations[i].ollama, translations[i].dropped);
		bench_done(&b);
	}
}

TEST(what_would_have_another_vector_is_not_translated)
{
	struct chat_request r;
	struct bench b;

	bench_init(&b);
	CHECK_INT(bench_complete(&b, &protocol_openai_embeddings, "{\"model\":\"m\",\"input\":[1,2]}", &r), E_INVALID);
	CHECK_STR(b.param, "input");
	CHECK_INT(bench_complete(&b, &protocol_gemini_embed,
				 "{\"content\":{\"parts\":[{\"text\":\"a\"},{\"inlineData\":{}}]}}", &r),
		  E_INVALID);
	bench_done(&b);
}

#define OPENAI "{\"data\":[{\"index\":1,\"embedding\":[ 2.50 ,-1e3]},{\"embedding\":\"AACAPwAAAIA=\",\"index\":0}],"

static const struct {
	const struct protocol *back;
	const char *body;
	const char *error;
	size_t n, dimensions;
	int64_t tokens; /* -1: not known */
} answers[] = {
	{&protocol_openai_embeddings, OPENAI "\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}", NULL, 2, 2, 5},
	{&protocol_openai_embeddings, OPENAI "\"usage\":{\"total_tokens\":4}} \n", NULL, 2, 2, 4},
	{&protocol_openai_embeddings, OPENAI "\"usage\":null}", NULL, 2, 2, -1},
	{&protocol_openai_embeddings, "{\"data\":[{\"embedding\":\"AACAPw\\u003d\\u003d\"}]}", NULL, 1, 1, -1},
	{&protocol_openai_embeddings, "{\"data\":[{\"embedding\":\"AACAPw==\"}]}", NULL, 1, 1, -1},
	{&protocol_openai_embeddings, "{\"data\":[]}", "no vectors", 0, 0, 0},
	{&protocol_openai_embeddings, "{\"error\":{\"message\":\"too long\"}}", "reports: too long", 0, 0, 0},
	{&protocol_openai_embeddings, "{\"data\":[{\"embedding\":[1,]}]}", "cannot be read", 0, 0, 0},
	{&protocol_openai_embeddings, "{\"data\":[{\"embedding\":[1 2]}]}", "cannot be read", 0, 0, 0},
	{&protocol_openai_embeddings, "{\"data\":[{\"embedding\":[NaN]}]}", "cannot be read", 0, 0, 0},
	{&protocol_openai_embeddings, "{\"data\":[{\"embedding\":[[1]]}]}", "array of numbers", 0, 0, 0},
	{&protocol_openai_embeddings, "{\"data\":[{\"embedding\":[1],\"index\":1}]}", "numbered", 0, 0, 0},
	{&protocol_openai_embeddings, "{\"data\":[{\"embedding\":[1],\"index\":-1}]}", "index", 0, 0, 0},
	{&protocol_openai_embeddings, "{\"data\":[{\"embedding\":\"AACA\"}]}", "32-bit floats", 0, 0, 0},
	{&protocol_openai_embeddings, "{\"data\":{}}", "no array", 0, 0, 0},
	{&protocol_openai_embeddings, "{\"data\":[{\"embedding\":[1]}]", "no whole", 0, 0, 0},
	{&protocol_openai_embeddings, "{\"data\":[{\"embedding\":[1]}],\"x\":tru}", "no whole", 0, 0, 0},
	{&protocol_gemini_embed, "{\"embedding\":{\"values\":[1,2,3]}}", NULL, 1, 3, -1},
	{&protocol_gemini_embed, "{\"embedding\":{}}", "no vector", 0, 0, 0},
	{&protocol_gemini_embed_batch,
	 "{\"embeddings\":[{\"values\":[1]},{\"values\":[2]}],\"usageMetadata\":{\"promptTokenCount\":9}}", NULL, 2, 1,
	 9},
	{&protocol_ollama_embed, "{\"model\":\"m\",\"embeddings\":[[1,2]],\"prompt_eval_count\":3}", NULL, 1, 2, 3},
	{&protocol_ollama_embed, "{\"embeddings\":[]}", "no vectors", 0, 0, 0},
	{&protocol_ollama_embed, "{\"error\":\"model not found\"}", "model not found", 0, 0, 0},
	{&protocol_ollama_embeddings, "{\"embedding\":[1.5,2]}", NULL, 1, 2, -1},
	{&protocol_ollama_embeddings, "{\"embedding\":[1],\"embedding\":[2]}", "two vectors", 0, 0, 0},
};

TEST(an_answer_is_read_or_refused)
{
	for (size_t i = 0; i < COUNT_OF(answers); i++) {
		struct chat_answer a;
		struct bench b;
		int rc;

		bench_init(&b);
		rc = answers[i].back->decode_answer(&b.a, b.jp, bench_text(&b, answers[i].body), &a, &b.err);
		CHECK_INT(rc, answers[i].error ? E_INVALID : 0);
		if (answers[i].error)
			CHECK_HAS(b.err.text, answers[i].error);
		if (rc == 0 && !answers[i].error) {
			CHECK_INT((long long)a.n_vectors, (long long)answers[i].n);
			CHECK_INT((long long)a.vectors[0].n, (long long)answers[i].dimensions);
			CHECK_INT(a.usage.known ? a.usage.prompt_tokens : -1, answers[i].tokens);
			CHECK_INT(a.usage.completion_tokens, 0);
		}
		bench_done(&b);
	}
}

TEST(vectors_are_written_as_the_caller_wants_them)
{
	struct answer_meta m = {.model = SLICE_LIT("m@1"), .latency_ms = 2};
	struct chat_answer a;
	struct bench b;

	bench_init(&b);
	CHECK_INT(protocol_openai_embeddings.decode_answer(
			  &b.a, b.jp, bench_text(&b, OPENAI "\"usage\":{\"prompt_tokens\":5}}"), &a, &b.err),
		  0);
	CHECK_INT(protocol_openai_embeddings.encode_answer(&b.out, &a, &m), 0);
	CHECK_STR(buf_cstr(&b.out),
		  "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[1,-0.0]},"
		  "{\"object\":\"embedding\",\"index\":1,\"embedding\":[ 2.50 ,-1e3]}],\"model\":\"m@1\","
		  "\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}");
	buf_clear(&b.out);
	m.base64 = true;
	CHECK_INT(protocol_openai_embeddings.encode_answer(&b.out, &a, &m), 0);
	CHECK_HAS(buf_cstr(&b.out), "\"embedding\":\"AACAPwAAAIA=\"");
	CHECK_HAS(buf_cstr(&b.out), "\"embedding\":\"AAAgQAAAesQ=\"");
	buf_clear(&b.out);
	CHECK_INT(protocol_gemini_embed.encode_answer(&b.out, &a, &m), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"embedding\":{\"values\":[1,-0.0]}}");
	buf_clear(&b.out);
	CHECK_INT(protocol_gemini_embed_batch.encode_answer(&b.out, &a, &m), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"embeddings\":[{\"values\":[1,-0.0]},{\"values\":[ 2.50 ,-1e3]}]}");
	buf_clear(&b.out);
	CHECK_INT(protocol_ollama_embed.encode_answer(&b.out, &a, &m), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"model\":\"m@1\",\"embeddings\":[[1,-0.0],[ 2.50 ,-1e3]],"
				    "\"total_duration\":2000000,\"load_duration\":0,\"prompt_eval_count\":5}");
	buf_clear(&b.out);
	CHECK_INT(protocol_ollama_embeddings.encode_answer(&b.out, &a, &m), 0);
	CHECK_STR(buf_cstr(&b.out), "{\"embedding\":[1,-0.0]}");
	bench_done(&b);
}

static const char *const no_floats[] = {"1e39", "-1e400"};

TEST(a_number_that_no_float_holds_is_not_made_one)
{
	for (size_t i = 0; i < COUNT_OF(no_floats); i++) {
		struct answer_meta m = {.base64 = true};
		struct chat_answer a;
		struct bench b;

		bench_init(&b);
		CHECK_INT(protocol_ollama_embeddings.decode_answer(
				  &b.a, b.jp, slice_from(arena_printf(&b.a, "{\"embedding\":[%s]}", no_floats[i])), &a,
				  &b.err),
			  0);
		CHECK_INT(protocol_openai_embeddings.encode_answer(&b.out, &a, &m), E_INVALID);
		bench_done(&b);
	}
}

TEST(strings_beside_the_vectors_are_judged_and_those_that_label_are_not)
{
	const char *body = "{\"object\":\"list\",\"note\":\"x\",\"data\":[{\"object\":\"embedding\",\"embedding\":[1],"
			   "\"say\":{\"a\":[\"y\"]}}],\"model\":\"m\"}";
	struct chat_answer a;
	struct slice text;
	struct bench b;

	bench_init(&b);
	text = bench_text(&b, body);
	CHECK_INT(protocol_openai_embeddings.decode_answer(&b.a, b.jp, text, &a, &b.err), 0);
	CHECK_INT((long long)a.n_judged, 2);
	CHECK_SLICE(&b, a.judged[0].text, "x");
	CHECK_SLICE(&b, a.judged[1].text, "y");
	CHECK(a.judged[0].raw.p == strstr(text.p, "\"x\"") && a.judged[1].raw.p == strstr(text.p, "\"y\""));
	CHECK_SLICE(&b, a.model, "m");
	bench_done(&b);
}

TEST(every_name_of_the_model_is_replaced_and_nothing_else)
{
	struct upstream_params p = {.model = SLICE_LIT("up"), .parameters = NULL};
	struct iovec v[PROTOCOL_SPLICE_PIECES];
	struct chat_request r;
	struct bench b;
	int n;

	for (size_t count = 1; count < 40; count += 19) {
		struct buf body, want;

		bench_init(&b);
		buf_init_arena(&body, &b.a, 65536);
		buf_init_arena(&want, &b.a, 65536);
		for (size_t i = 0; i < count; i++) {
			const char *rest = ",\"content\":{\"parts\":[{\"text\":\"a\"}]}, \"x\":1.0}";

			buf_printf(&body, "%s{\"model\" : \"models/me\"%s", i ? "," : "{\"requests\":[", rest);
			buf_printf(&want, "%s{\"model\" : \"models/up\"%s", i ? "," : "{\"requests\":[", rest);
		}
		buf_adds(&body, "],\"stream\":true}");
		buf_adds(&want, "],\"stream\":true}");
		CHECK_INT(bench_request(&b, &protocol_gemini_embed_batch, buf_cstr(&body), &r), 0);
		n = protocol_splice_request(&b.a, &r, &p, &protocol_gemini_embed_batch, v, COUNT_OF(v));
		CHECK(n > 0);
		for (int i = 0; i < n; i++)
			buf_append(&b.out, v[i].iov_base, v[i].iov_len);
		CHECK_STR(buf_cstr(&b.out), buf_cstr(&want));
		bench_done(&b);
	}
}

static const struct {
	const struct protocol *model, *front, *want;
} ways[] = {
	{&protocol_openai, &protocol_openai, &protocol_openai},
	{&protocol_openai, &protocol_anthropic, &protocol_openai},
	{&protocol_openai, &protocol_openai_embeddings, &protocol_openai_embeddings},
	{&protocol_openai, &protocol_ollama_embeddings, &protocol_openai_embeddings},
	{&protocol_gemini, &protocol_gemini_embed, &protocol_gemini_embed},
	{&protocol_gemini, &protocol_openai_embeddings, &protocol_gemini_embed_batch},
	{&protocol_ollama, &protocol_ollama_embeddings, &protocol_ollama_embeddings},
	{&protocol_ollama, &protocol_gemini_embed, &protocol_ollama_embed},
	{&protocol_anthropic, &protocol_openai_embeddings, NULL},
	{&protocol_generate, &protocol_openai_embeddings, NULL},
	{&protocol_openai_embeddings, &protocol_openai, NULL},
	{&protocol_openai_embeddings, &protocol_openai_embeddings, &protocol_openai_embeddings},
	{&protocol_openai_embeddings, &protocol_gemini_embed, &protocol_openai_embeddings},
};

TEST(a_model_is_spoken_to_as_it_can)
{
	for (size_t i = 0; i < COUNT_OF(ways); i++)
		CHECK(protocol_for(ways[i].model, ways[i].front) == ways[i].want);
}
