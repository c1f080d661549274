/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: what is read, what is refused and how, and writing what was read. */
#include "domain/policy.h"

#include "core/json/writer.h"
#include "t.h"

static int parse(struct arena *a, const char *text, struct policy *ret, struct err *err)
{
	struct json_parser *parser = json_parser_new();
	struct json *root = NULL;
	int rc = json_parse_copy(parser, a, slice_from(text), NULL, &root, err);

	if (!rc)
		rc = policy_parse(a, root, ret, err);
	json_parser_free(parser);
	return rc;
}

#define RULE(members) "{\"name\":\"p\",\"rules\":[{" members "}]}"
#define OK_RULE "\"id\":\"x\",\"kind\":\"literal\",\"action\":\"flag\",\"values\":[\"a\"]"

static const struct {
	const char *text;
	const char *says; /* NULL: it is fine */
} parse_cases[] = {
	{RULE(OK_RULE), NULL},
	{"{\"name\":\"p\"}", NULL},
	{"{\"name\":\"p\",\"rules\":[]}", NULL},
	{"[]", "a policy must be an object"},
	{"{}", "name must be 1 to 64 characters"},
	{"{\"name\":\"P\"}", "name must be 1 to 64 characters of a-z, 0-9, '_', '.', '-'"},
	{"{\"name\":7}", "name"},
	{"{\"name\":\"p\",\"rule\":[]}", "there is no member 'rule'; the nearest is 'rules'"},
	{"{\"name\":\"p\",\"name\":\"q\"}", "name is given twice"},
	{"{\"name\":\"p\",\"on_error\":\"ignore\"}", "on_error must be one of block, allow"},
	{"{\"name\":\"p\",\"rules\":{}}", "rules must be an array, not object"},
	{"{\"name\":\"p\",\"rules\":[1]}", "rules[0] must be an object, not number"},
	{RULE("\"id\":\"X y\""), "rules[0]: id must be 1 to 64 characters"},
	{RULE("\"kind\":\"literal\""), "rules[0]: id must be"},
	{RULE("\"id\":\"x\",\"action\":\"flag\",\"values\":[\"a\"]"), "rule 'x': kind is missing"},
	{RULE("\"id\":\"x\",\"kind\":\"literal\",\"values\":[\"a\"]"), "rule 'x': action is missing"},
	{RULE("\"id\":\"x\",\"kind\":\"literal\",\"action\":\"flag\""), "rule 'x': values is missing"},
	{RULE("\"id\":\"x\",\"kind\":\"literal\",\"action\":\"burn\",\"values\":[\"a\"]"),
	 "rule 'x': action must be one of flag, mask, fallback, block"},
	{RULE("\"id\":\"x\",\"kind\":\"literal\",\"action\":\"allow\",\"values\":[\"a\"]"),
	 "rule 'x': action must be one of flag, mask, fallback, block"},
	{RULE("\"id\":\"x\",\"kind\":\"word\",\"action\":\"flag\",\"values\":[\"a\"]"),
	 "rule 'x': kind must be one of literal, pattern, pii"},
	{RULE(OK_RULE ",\"severity\":\"huge\""), "rule 'x': severity must be one of low, medium, high, critical"},
	{RULE(OK_RULE ",\"side\":\"left\""), "rule 'x': side must be one of input, output, both"},
	{RULE(OK_RULE ",\"masc\":\"#\""), "rule 'x': there is no member 'masc'; the nearest is 'mask'"},
	{RULE(OK_RULE ",\"anywhere\":1"), "rule 'x': "},
	{RULE(OK_RULE ",\"mask\":[]"), "rule 'x': "},
	{RULE("\"id\":\"x\",\"kind\":\"pattern\",\"action\":\"flag\",\"anywhere\":true,\"values\":[\"a\"]"),
	 "rule 'x': anywhere is for literals only"},
	{RULE("\"id\":\"x\",\"kind\":\"literal\",\"action\":\"flag\",\"values\":[]"),
	 "rule 'x': values must be an array with at least one string"},
	{RULE("\"id\":\"x\",\"kind\":\"literal\",\"action\":\"flag\",\"values\":\"a\""),
	 "rule 'x': values must be an array"},
	{RULE("\"id\":\"x\",\"kind\":\"literal\",\"action\":\"flag\",\"values\":[\"a\",3]"),
	 "rule 'x': values[1] must be a string, not number"},
	{RULE("\"id\":\"x\",\"kind\":\"literal\",\"action\":\"flag\",\"values\":[\" \\t\"]"),
	 "rule 'x': values[0] is empty"},
	{RULE("\"id\":\"x\",\"kind\":\"pattern\",\"action\":\"flag\",\"values\":[\"a\\u0000\"]"), "NUL"},
	{RULE("\"id\":\"x\",\"kind\":\"pii\",\"action\":\"flag\",\"values\":[\"card\",\"passport\"]"),
	 "rule 'x': values[1] must be one of card, email, iban, ssn, phone"},
	{"{\"name\":\"p\",\"rules\":[{" OK_RULE "},{" OK_RULE "}]}", "rule 'x': the id is used twice"},
};

TEST(parsing_says_which_rule_and_member_is_wrong)
{
	for (size_t i = 0; i < COUNT_OF(parse_cases); i++) {
		struct policy p;
		struct err err = {0};
		struct arena a;
		int rc;

		arena_init(&a, 4096, 1u << 20);
		rc = parse(&a, parse_cases[i].text, &p, &err);
		CHECK_INT(rc, parse_cases[i].says ? E_INVALID : 0);
		CHECK(!parse_cases[i].says || strstr(err.text, parse_cases[i].says));
		if (parse_cases[i].says && !strstr(err.text, parse_cases[i].says))
			printf("# '%s' does not say '%s'\n", err.text, parse_cases[i].says);
		arena_release(&a);
	}
}

TEST(a_rule_that_says_little_has_the_mildest_meaning)
{
	struct policy p;
	struct arena a;

	arena_init(&a, 4096, 1u << 20);
	CHECK_INT(parse(&a, RULE(OK_RULE), &p, NULL), 0);
	CHECK(p.block_on_error);
	CHECK_INT(p.rules[0].side, GUARD_BOTH);
	CHECK_INT(p.rules[0].severity, GUARD_MEDIUM);
	CHECK(!p.rules[0].anywhere && !p.rules[0].mask.p);
	CHECK_INT(p.rules[0].n_values, 1);
	arena_release(&a);
}

/* Limits: `at` entries or bytes are fine, one more is not. */
static int parse_with(size_t n_rules, size_t n_values, size_t value_bytes, size_t id_bytes)
{
	CLEANUP(buf_release) struct buf text;
	struct policy p;
	struct arena a;
	int rc;

	buf_init(&text, 16u << 20);
	buf_adds(&text, "{\"name\":\"p\",\"rules\":[");
	for (size_t i = 0; i < n_rules; i++) {
		buf_printf(&text, "%s{\"id\":\"%0*zu\",\"kind\":\"literal\",\"action\":\"flag\",\"values\":[",
			   i ? "," : "", (int)id_bytes, i);
		for (size_t v = 0; v < n_values; v++)
			buf_printf(&text, "%s\"%0*zu\"", v ? "," : "", (int)value_bytes, v);
		buf_adds(&text, "]}");
	}
	buf_adds(&text, "]}");
	arena_init(&a, 4096, 64u << 20);
	rc = parse(&a, buf_cstr(&text), &p, NULL);
	arena_release(&a);
	return rc;
}

TEST(limits_hold_at_the_limit_and_one_past_it)
{
	CHECK_INT(parse_with(POLICY_MAX_RULES, 1, 1, 3), 0);
	CHECK_INT(parse_with(POLICY_MAX_RULES + 1, 1, 1, 3), E_INVALID);
	CHECK_INT(parse_with(1, POLICY_MAX_VALUES, 5, 3), 0);
	CHECK_INT(parse_with(1, POLICY_MAX_VALUES + 1, 5, 3), E_INVALID);
	CHECK_INT(parse_with(2, POLICY_MAX_VALUES / 2, 5, 3), 0);
	CHECK_INT(parse_with(2, POLICY_MAX_VALUES / 2 + 1, 5, 3), E_INVALID);
	CHECK_INT(parse_with(1, 1, POLICY_MAX_VALUE_BYTES, 3), 0);
	CHECK_INT(parse_with(1, 1, POLICY_MAX_VALUE_BYTES + 1, 3), E_INVALID);
	CHECK_INT(parse_with(1, 1, 1, 64), 0);
	CHECK_INT(parse_with(1, 1, 1, 65), E_INVALID);
}

TEST(a_full_arena_is_an_error_not_a_crash)
{
	for (size_t max = 0; max < 4000; max += 16) {
		struct json_parser *parser = json_parser_new();
		struct json *root = NULL;
		struct policy p;
		struct arena a, small;

		arena_init(&a, 4096, 1u << 20);
		arena_init(&small, 64, max);
		CHECK_INT(json_parse_copy(parser, &a, SLICE_LIT(RULE(OK_RULE ",\"mask\":\"#\"")), NULL, &root, NULL),
			  0);
		(void)policy_parse(&small, root, &p, NULL); /* any answer will do */
		arena_release(&small);
		arena_release(&a);
		json_parser_free(parser);
	}
}

TEST(what_is_written_reads_back_the_same)
{
	static const char text[] = "{\"name\":\"p.1\",\"description\":\"d\\\"\",\"on_error\":\"allow\",\"rules\":["
				   "{\"id\":\"a\",\"category\":\"c\",\"kind\":\"literal\",\"action\":\"mask\","
				   "\"severity\":\"critical\",\"side\":"
				   "\"input\",\"anywhere\":true,\"mask\":\"\",\"values\":[\"x\",\"\\u00e9 y\"]},"
				   "{\"id\":\"b\",\"category\":\"\",\"kind\":\"pattern\",\"action\":\"block\","
				   "\"severity\":\"low\",\"side\":"
				   "\"both\",\"values\":[\"a\\\\d{1,2}\"]},"
				   "{\"id\":\"c\",\"category\":\"pii\",\"kind\":\"pii\",\"action\":\"fallback\","
				   "\"severity\":\"high\",\"side\":"
				   "\"output\",\"mask\":\"###\",\"values\":[\"card\",\"email\"]}]}";
	CLEANUP(buf_release) struct buf first;
	CLEANUP(buf_release) struct buf second;
	struct policy p, again;
	struct json_writer w;
	struct arena a;

	buf_init(&first, 1u << 16);
	buf_init(&second, 1u << 16);
	arena_init(&a, 4096, 1u << 20);
	CHECK_INT(parse(&a, text, &p, NULL), 0);
	CHECK(!p.block_on_error && p.rules[0].mask.p && p.rules[0].mask.n == 0 && p.rules[0].anywhere);
	CHECK_INT(p.rules[2].action, GUARD_FALLBACK);
	jw_init(&w, &first);
	policy_write(&w, &p);
	CHECK_INT(parse(&a, buf_cstr(&first), &again, NULL), 0);
	jw_init(&w, &second);
	policy_write(&w, &again);
	CHECK_STR(buf_cstr(&second), buf_cstr(&first));
	CHECK(strstr(buf_cstr(&first), "\"mask\":\"\""));
	arena_release(&a);
}

TEST(names_are_those_of_the_api)
{
	CHECK_STR(guard_action_name(GUARD_ALLOW), "allow");
	CHECK_STR(guard_action_name(GUARD_BLOCK), "block");
	CHECK_STR(guard_severity_name(GUARD_CRITICAL), "critical");
	CHECK_STR(guard_side_name(GUARD_BOTH), "both");
	CHECK_STR(guard_side_name((enum guard_side)0), "unknown");
	CHECK_STR(guard_kind_name(GUARD_PII), "pii");
	CHECK_STR(guard_action_name((enum guard_action)9), "unknown");
}
