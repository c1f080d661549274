/* SPDX-License-Identifier: Apache-2.0 */
/* Log records as bytes: what goes in comes out, and no bytes at all do harm. */
#include "serving/spool/record.h"
#include "tests/t.h"

static struct log_record full_record(void)
{
	struct log_record r = {
		.id = {{1, 2, 3}},
		.created_us = 1700000000123456,
		.source = RECORD_APPLICATION,
		.request_id = SLICE_LIT("req-1"),
		.model_id = SLICE_LIT("0190d8a0-0000-7000-8000-000000000000"),
		.model_name = SLICE_LIT("tiny@1.0"),
		.use_case = SLICE_LIT("foundation_layer"),
		.provider = SLICE_LIT("ollama"),
		.caller = SLICE_LIT("anonymous"),
		.prompt = SLICE_LIT("a prompt\0with a NUL"),
		.context = SLICE_LIT("{}"),
		.output = SLICE_LIT(""),
		.tool_calls = SLICE_LIT("[{\"id\":null,\"name\":\"f\",\"arguments\":\"{}\"}]"),
		.parameters = SLICE_LIT("{\"max_tokens\":5}"),
		.error = SLICE_LIT("it took too long"),
		.prompt_tokens = 7,
		.completion_tokens = -1,
		.tokens_estimated = true,
		.cached = true,
		.cost = {"EUR", 1234567890123},
		.latency_us = 123456789012,
		.first_token_us = -1,
		.http_status = 504,
		.status = RECORD_TIMEOUT,
		.fallback = RECORD_FALLBACK_CONTENT,
		.stream = true,
		.guard_action = GUARD_MASK,
		.n_violations = 2,
	};

	r.violations[0] = (struct record_violation){
		SLICE_LIT("default"), SLICE_LIT("card"), SLICE_LIT("pii"), GUARD_MASK, GUARD_HIGH, GUARD_OUTPUT, 3, 16};
	r.violations[1] = (struct record_violation){
		SLICE_LIT("default"), SLICE_LIT("words"), {NULL, 0}, GUARD_FLAG, GUARD_LOW, GUARD_INPUT, 0, 4};
	return r;
}

/* malloc'd to the byte, so that the sanitizer sees every step too far. */
static char *encode(const struct log_record *r, size_t *ret_n)
{
	char *p = malloc(record_size(r));

	*ret_n = record_size(r);
	record_encode(r, p);
	return p;
}

static int decode_copy(const char *p, size_t n, struct log_record *ret)
{
	char *copy = malloc(n ? n : 1);
	int rc;

	memcpy(copy, p, n);
	rc = record_decode((struct slice){copy, n}, ret);
	free(copy);
	return rc;
}

static void check_strings(const struct log_record *a, const struct log_record *b)
{
	CHECK(slice_eq(a->request_id, b->request_id));
	CHECK(slice_eq(a->model_id, b->model_id));
	CHECK(slice_eq(a->model_name, b->model_name));
	CHECK(slice_eq(a->use_case, b->use_case));
	CHECK(slice_eq(a->provider, b->provider));
	CHECK(slice_eq(a->caller, b->caller));
	CHECK(slice_eq(a->prompt, b->prompt));
	CHECK(slice_eq(a->context, b->context));
	CHECK(slice_eq(a->output, b->output));
	CHECK(slice_eq(a->parameters, b->parameters));
	CHECK(slice_eq(a->finish_reason, b->finish_reason));
	CHECK(slice_eq(a->error, b->error));
	CHECK(slice_eq(a->attempts, b->attempts));
}

TEST(what_is_encoded_is_decoded)
{
	struct log_record r = full_record(), got;
	size_t n;
	char *p = encode(&r, &n);

	CHECK_INT(record_decode((struct slice){p, n}, &got), 0);
	CHECK(!memcmp(&r.id, &got.id, sizeof(r.id)));
	CHECK_INT(got.created_us, r.created_us);
	CHECK_INT(got.source, r.source);
	CHECK_INT(got.prompt_tokens, 7);
	CHECK_INT(got.completion_tokens, -1);
	CHECK(got.tokens_estimated && got.stream && !got.guard_skipped);
	CHECK(got.cached);
	CHECK_INT(got.cost.nano, 1234567890123);
	CHECK_STR(got.cost.currency, "EUR");
	CHECK_INT(got.latency_us, r.latency_us);
	CHECK_INT(got.first_token_us, -1);
	CHECK_INT(got.http_status, 504);
	CHECK_INT(got.status, RECORD_TIMEOUT);
	CHECK_INT(got.fallback, RECORD_FALLBACK_CONTENT);
	CHECK_INT(got.guard_action, GUARD_MASK);
	check_strings(&r, &got);
	CHECK(slice_eq(got.tool_calls, r.tool_calls));
	CHECK_INT(got.n_violations, 2);
	CHECK(slice_eq_str(got.violations[0].category, "pii"));
	CHECK(slice_eq_str(got.violations[1].rule, "words"));
	CHECK_INT(got.violations[0].severity, GUARD_HIGH);
	CHECK_INT(got.violations[0].side, GUARD_OUTPUT);
	CHECK_INT(got.violations[0].start, 3);
	CHECK_INT(got.violations[0].length, 16);
	CHECK(!got.violations[1].category.p);
	free(p);
}

#define COST_BYTES 16

static size_t calls_bytes(const struct log_record *r)
{
	return sizeof(uint32_t) + r->tool_calls.n;
}

TEST(a_cost_that_is_not_known_stays_so)
{
	struct log_record r = full_record(), got = {.cost = {"USD", 5}};
	size_t n;
	char *p;

	r.cost = (struct money){.nano = 0};
	p = encode(&r, &n);
	CHECK_INT(decode_copy(p, n, &got), 0);
	CHECK(!money_known(&got.cost) && got.cost.nano == 0);
	free(p);
}

/* Version 1 ended with the violations. */
TEST(a_record_of_version_1_is_read_and_has_no_cost)
{
	struct log_record r = full_record(), got = {.cost = {"USD", 5}};
	size_t n;
	char *p = encode(&r, &n);

	p[0] = 1;
	CHECK_INT(decode_copy(p, n, &got), E_CORRUPT);
	CHECK_INT(record_decode((struct slice){p, n - COST_BYTES - calls_bytes(&r)}, &got), 0);
	CHECK(!got.tool_calls.p);
	CHECK(!money_known(&got.cost));
	CHECK_INT(got.cost.nano, 0);
	check_strings(&r, &got);
	CHECK(slice_eq_str(got.violations[1].rule, "words"));
	free(p);
}

/* Version 2 ended with the cost. */
TEST(a_record_of_version_2_is_read_and_has_no_calls_of_tools)
{
	struct log_record r = full_record(), got = {.tool_calls = SLICE_LIT("x")};
	size_t n;
	char *p = encode(&r, &n);

	p[0] = 2;
	CHECK_INT(decode_copy(p, n, &got), E_CORRUPT);
	CHECK_INT(record_decode((struct slice){p, n - calls_bytes(&r)}, &got), 0);
	CHECK(!got.tool_calls.p);
	CHECK_INT(got.cost.nano, 1234567890123);
	check_strings(&r, &got);
	free(p);
}

TEST(a_currency_that_is_none_is_corrupt)
{
	static const char *const bad[] = {"eur", "E", "EU", "EURO"};

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct log_record r = full_record(), got;
		size_t n;
		char *p = encode(&r, &n);

		memcpy(p + n - calls_bytes(&r) - 8, bad[i], strlen(bad[i]) + 1);
		CHECK_INT(decode_copy(p, n, &got), E_CORRUPT);
		free(p);
	}
}

TEST(absent_and_empty_stay_apart)
{
	struct log_record r = full_record(), got;
	size_t n;
	char *p = encode(&r, &n);

	CHECK_INT(record_decode((struct slice){p, n}, &got), 0);
	CHECK(got.output.p && got.output.n == 0);
	CHECK(!got.finish_reason.p);
	free(p);
}

TEST(a_record_cut_or_grown_at_any_place_is_corrupt)
{
	struct log_record r = full_record(), got;
	size_t n;
	char *p = encode(&r, &n), *longer = calloc(1, n + 1);

	for (size_t i = 0; i < n; i++)
		CHECK_INT(decode_copy(p, i, &got), E_CORRUPT);
	memcpy(longer, p, n);
	CHECK_INT(decode_copy(longer, n + 1, &got), E_CORRUPT);
	free(longer);
	free(p);
}

TEST(any_changed_byte_is_safe)
{
	struct log_record r = full_record(), got;
	size_t n;
	char *p = encode(&r, &n);

	for (size_t i = 0; i < n; i++) {
		for (int bit = 0; bit < 8; bit++) {
			p[i] = (char)(p[i] ^ (1 << bit));
			(void)decode_copy(p, n, &got); /* the sanitizers judge */
			p[i] = (char)(p[i] ^ (1 << bit));
		}
	}
	free(p);
}

/* Offsets in the fixed part. */
static const struct {
	size_t offset;
	uint8_t value;
} bad_bytes[] = {
	{0, 0},				/* no version */
	{0, RECORD_FORMAT_VERSION + 1}, /* a newer one */
	{1, RECORD_APPLICATION + 1},
	{2, RECORD_N_STATUSES},
	{3, RECORD_FALLBACK_CONTENT + 1},
	{4, GUARD_BLOCK + 1},
	{5, 16} /* unknown flag */,
	{6, RECORD_MAX_VIOLATIONS + 1},
	{7, 1},
};

TEST(values_out_of_range_are_corrupt)
{
	for (size_t i = 0; i < COUNT_OF(bad_bytes); i++) {
		struct log_record r = full_record(), got;
		size_t n;
		char *p = encode(&r, &n);

		p[bad_bytes[i].offset] = (char)bad_bytes[i].value;
		CHECK_INT(record_decode((struct slice){p, n}, &got), E_CORRUPT);
		free(p);
	}
}

TEST(a_violation_out_of_range_is_corrupt)
{
	for (int field = 0; field < 3; field++) {
		struct log_record r = full_record(), got;
		size_t n;
		char *p;

		if (field == 0)
			r.violations[1].action = (enum guard_action)(GUARD_BLOCK + 1);
		else if (field == 1)
			r.violations[1].severity = (enum guard_severity)(GUARD_CRITICAL + 1);
		else
			r.violations[1].side = (enum guard_side)0;
		p = encode(&r, &n);
		CHECK_INT(record_decode((struct slice){p, n}, &got), E_CORRUPT);
		free(p);
	}
}

TEST(violations_are_kept_up_to_their_limit)
{
	struct log_record r = full_record(), got;
	size_t n;
	char *p;

	for (size_t i = 0; i < RECORD_MAX_VIOLATIONS; i++)
		r.violations[i] = r.violations[0];
	for (size_t count = RECORD_MAX_VIOLATIONS; count <= RECORD_MAX_VIOLATIONS + 1; count++) {
		r.n_violations = count;
		p = encode(&r, &n);
		CHECK_INT(record_decode((struct slice){p, n}, &got), 0);
		CHECK_INT(got.n_violations, RECORD_MAX_VIOLATIONS);
		free(p);
	}
}
