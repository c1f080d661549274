/* SPDX-License-Identifier: Apache-2.0 */
/* Use cases: settings in and out, layers' short names, and the words of records. */
#include "domain/use_case.h"

#include "core/json/writer.h"
#include "domain/record.h"
#include "t.h"

struct fixture {
	struct json_parser *parser;
	struct arena arena;
	struct err err;
};

static void setup(struct fixture *f)
{
	*f = (struct fixture){.parser = json_parser_new()};
	arena_init(&f->arena, 4096, (size_t)16 << 20);
}

static void teardown(struct fixture *f)
{
	arena_release(&f->arena);
	json_parser_free(f->parser);
}

static struct json *parse(struct fixture *f, const char *text)
{
	struct json *root = NULL;

	CHECK_INT(json_parse_copy(f->parser, &f->arena, slice_from(text), NULL, &root, &f->err), 0);
	return root;
}

static void write(struct buf *out, const struct use_case *u)
{
	struct json_writer w;

	buf_clear(out);
	jw_init(&w, out);
	use_case_write(&w, u);
	CHECK(!buf_failed(out));
}

TEST(settings_are_read)
{
	struct use_case u;
	struct fixture f;

	setup(&f);
	CHECK_INT(
		use_case_parse(
			&f.arena, SLICE_LIT("npc"),
			parse(&f, "{\"fallback\":[\"a@1\",\"b\"],\"fallback_content\":\"later\",\"policy\":\"strict\","
				  "\"log\":\"metadata\",\"log_durability\":\"required\",\"translation\":\"strict\","
				  "\"budget\":\"50 EUR/month\",\"token_budget\":\"7/day\","
				  "\"timeouts\":{\"total_ms\":9}}"),
			&u, &f.err),
		0);
	CHECK(slice_eq_str(u.name, "npc"));
	CHECK_INT(u.n_fallback, 2);
	CHECK(slice_eq_str(u.fallback[0], "a@1") && slice_eq_str(u.fallback[1], "b"));
	CHECK(slice_eq_str(u.fallback_content, "later"));
	CHECK(slice_eq_str(u.policy, "strict"));
	CHECK_INT(u.log, LOG_METADATA);
	CHECK_INT(u.total_timeout_ms, 9);
	CHECK(u.translate_strictly);
	CHECK(u.budgets.of[BUDGET_MONEY].amount == 50 * MONEY_ONE && u.budgets.of[BUDGET_TOKENS].amount == 7);
	teardown(&f);
}

TEST(no_settings_are_the_defaults)
{
	static const char *const texts[] = {"{}", "{\"fallback\":null,\"policy\":null,\"log\":null,\"timeouts\":null}"};
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct use_case u;

		CHECK_INT(use_case_parse(&f.arena, SLICE_LIT("u"), parse(&f, texts[i]), &u, NULL), 0);
		CHECK(!u.policy.p && !u.fallback_content.p);
		CHECK_INT(u.n_fallback, 0);
		CHECK_INT(u.log, LOG_FULL);
	}
	CHECK_INT(use_case_parse(&f.arena, SLICE_LIT("u"), NULL, &(struct use_case){0}, NULL), 0);
	teardown(&f);
}

static const struct {
	const char *in, *says;
} refused_cases[] = {
	{"[]", "object"},
	{"{\"fallback\":\"a@1\"}", "array"},
	{"{\"fallback\":[1]}", "strings"},
	{"{\"fallback\":[\"a b\"]}", "a b"},
	{"{\"fallback\":[\"a@\"]}", "a@"},
	{"{\"fallback\":[\"a@1\",\"a@1\"]}", "twice"},
	{"{\"fallback\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}", "more than 8"},
	{"{\"fallback_content\":7}", "fallback_content"},
	{"{\"policy\":\"No Such\"}", "policy"},
	{"{\"policy\":7}", "policy"},
	{"{\"log\":\"some\"}", "full, metadata or none"},
	{"{\"log_durability\":\"sure\"}", "best_effort or required"},
	{"{\"log_durability\":true}", "log_durability"},
	{"{\"translation\":\"free\"}", "translation has to be lenient or strict"},
	{"{\"translation\":1}", "translation"},
	{"{\"cache\":60}", "cache has to be an object"},
	{"{\"cache\":{}}", "cache.ttl_s has to be from 1 to 604800"},
	{"{\"cache\":{\"ttl_s\":604801}}", "cache.ttl_s has to be from 1 to 604800"},
	{"{\"cache\":{\"ttl_s\":\"5m\"}}", "cache: "},
	{"{\"cache\":{\"ttl_s\":5,\"scope\":\"all\"}}", "cache.scope has to be key or use_case, not 'all'"},
	{"{\"timeouts\":{\"all\":1}}", "all"},
	{"{\"use_case\":\"other\"}", "other"},
	{"{\"created_at\":\"soon\"}", "created_at"},
};

TEST(wrong_settings_are_refused_by_name)
{
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < COUNT_OF(refused_cases); i++) {
		struct use_case u;
		struct err err = {0};

		CHECK_INT(use_case_parse(&f.arena, SLICE_LIT("u"), parse(&f, refused_cases[i].in), &u, &err),
			  E_INVALID);
		if (!strstr(err.text, refused_cases[i].says))
			printf("# %s: %s\n", refused_cases[i].in, err.text);
		CHECK(strstr(err.text, refused_cases[i].says));
	}
	CHECK_INT(use_case_parse(&f.arena, SLICE_LIT("Upper"), NULL, &(struct use_case){0}, NULL), E_INVALID);
	teardown(&f);
}

TEST(eight_fallbacks_are_taken)
{
	struct use_case u;
	struct fixture f;

	setup(&f);
	CHECK_INT(use_case_parse(&f.arena, SLICE_LIT("u"),
				 parse(&f, "{\"fallback\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\"]}"), &u,
				 NULL),
		  0);
	CHECK_INT(u.n_fallback, USE_CASE_MAX_FALLBACKS);
	teardown(&f);
}

TEST(settings_too_large_for_the_arena_are_refused)
{
	struct arena small;
	struct use_case u;
	struct fixture f;

	setup(&f);
	arena_init(&small, 256, 16);
	CHECK_INT(use_case_parse(&small, SLICE_LIT("u"), parse(&f, "{\"fallback_content\":\"0123456789abcdef\"}"), &u,
				 NULL),
		  E_TOOBIG);
	arena_release(&small);
	teardown(&f);
}

TEST(a_setting_that_does_not_exist_is_named_with_its_nearest)
{
	struct fixture f;

	setup(&f);
	CHECK_INT(use_case_settings_check(parse(&f, "{\"fallbacks\":[]}"), &f.err), E_INVALID);
	CHECK(strstr(f.err.text, "'fallbacks': did you mean 'fallback'?"));
	CHECK_INT(use_case_settings_check(parse(&f, "{\"log\":\"full\",\"log\":\"none\"}"), &f.err), E_INVALID);
	CHECK_INT(use_case_settings_check(parse(&f, "{\"policy\":\"x\",\"use_case\":\"u\"}"), &f.err), 0);
	CHECK_INT(use_case_settings_check(NULL, &f.err), 0);
	teardown(&f);
}

TEST(what_is_written_reads_back_the_same)
{
	static const char *const texts[] = {
		"{}",
		"{\"cache\":{\"ttl_s\":300,\"scope\":\"use_case\"}}",
		"{\"cache\":{\"ttl_s\":1}}",
		"{\"fallback\":[\"a@1\"],\"fallback_content\":\"\",\"policy\":\"none\",\"log\":\"none\",\"timeouts\":"
		"{\"connect_ms\":1,\"first_byte_ms\":2,\"between_ms\":3,\"total_ms\":4},"
		"\"created_at\":\"2026-01-02T03:04:05.000006Z\",\"updated_at\":\"2026-01-02T03:04:05.000007Z\"}",
	};
	CLEANUP(buf_release) struct buf once, twice;
	struct fixture f;

	setup(&f);
	buf_init(&once, 65536);
	buf_init(&twice, 65536);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct use_case u, back;

		CHECK_INT(use_case_parse(&f.arena, SLICE_LIT("u"), parse(&f, texts[i]), &u, NULL), 0);
		write(&once, &u);
		CHECK_INT(use_case_parse(&f.arena, SLICE_LIT("u"), parse(&f, buf_cstr(&once)), &back, &f.err), 0);
		write(&twice, &back);
		CHECK_STR(buf_cstr(&twice), buf_cstr(&once));
		CHECK_INT(back.fallback_content.p != NULL, u.fallback_content.p != NULL);
		CHECK_INT(back.updated_us, u.updated_us);
	}
	teardown(&f);
}

static const struct {
	const char *layer, *use_case; /* NULL: none */
} layer_cases[] = {
	{"foundation", "foundation_layer"},
	{"foundation_layer", "foundation_layer"},
	{"_layer", "_layer"},
	{"a", "a_layer"},
	{"layer", "layer_layer"},
	{"", NULL},
};

TEST(a_layer_names_its_use_case)
{
	for (size_t i = 0; i < COUNT_OF(layer_cases); i++) {
		char text[USE_CASE_MAX + 8];
		struct slice s = use_case_of_layer(slice_from(layer_cases[i].layer), text);

		CHECK_INT(s.p != NULL, layer_cases[i].use_case != NULL);
		CHECK(!layer_cases[i].use_case || slice_eq_str(s, layer_cases[i].use_case));
	}
}

TEST(a_layer_of_any_length_stays_within_its_room)
{
	char text[USE_CASE_MAX + 8], layer[USE_CASE_MAX + 1];

	memset(layer, 'x', sizeof(layer));
	CHECK_INT(use_case_of_layer((struct slice){layer, USE_CASE_MAX}, text).n, USE_CASE_MAX + 6);
	CHECK(!use_case_of_layer((struct slice){layer, USE_CASE_MAX + 1}, text).p);
}

TEST(the_words_of_records_are_distinct_and_parse_back)
{
	for (unsigned i = 0; i < RECORD_N_STATUSES; i++) {
		enum record_status s = RECORD_N_STATUSES;

		CHECK_INT(record_status_parse(slice_from(record_status_name((enum record_status)i)), &s), 0);
		CHECK_INT(s, i);
	}
	CHECK_INT(record_status_parse(SLICE_LIT("fine"), &(enum record_status){0}), E_INVALID);
	CHECK_STR(record_fallback_name(RECORD_FALLBACK_NONE), "none");
	CHECK_STR(record_fallback_name(RECORD_FALLBACK_MODEL), "model");
	CHECK_STR(record_fallback_name(RECORD_FALLBACK_ENDPOINT), "endpoint");
	CHECK_STR(record_fallback_name(RECORD_FALLBACK_CONTENT), "content");
	CHECK_STR(record_source_name(RECORD_GATEWAY), "gateway");
	CHECK_STR(record_source_name(RECORD_APPLICATION), "application");
	CHECK_STR(log_mode_name(LOG_NONE), "none");
}
