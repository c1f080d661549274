/* SPDX-License-Identifier: Apache-2.0 */
/* Models: names, statuses, configurations (no secret gets in), and the written form that comes back the same. */
#include "domain/model.h"

#include "core/base/clock.h"
#include "core/json/writer.h"
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

TEST(every_status_has_a_name_that_parses_back)
{
	for (unsigned i = 0; i < MODEL_N_STATUSES; i++) {
		enum model_status s = MODEL_N_STATUSES;

		CHECK_INT(model_status_parse(slice_from(model_status_name((enum model_status)i)), &s, NULL), 0);
		CHECK_INT(s, i);
	}
}

TEST(an_unknown_status_is_refused_with_the_list)
{
	static const char *const words[] = {"", "Current", "live", "current "};

	for (size_t i = 0; i < COUNT_OF(words); i++) {
		enum model_status s;
		struct err err = {0};

		CHECK_INT(model_status_parse(slice_from(words[i]), &s, &err), E_INVALID);
		CHECK(strstr(err.text, "deprecated or archived"));
	}
}

static const struct {
	const char *in;
	int name, version, use_case;
} name_cases[] = {
	{"", E_INVALID, E_INVALID, E_INVALID},
	{"a", 0, 0, 0},
	{"foundation-v1", 0, 0, 0},
	{"meta-llama/Llama-3.1:8b", 0, 0, E_INVALID},
	{"foundation_layer", 0, 0, 0},
	{"Foundation", 0, 0, E_INVALID},
	{"a b", E_INVALID, E_INVALID, E_INVALID},
	{"a@1", E_INVALID, E_INVALID, E_INVALID},
	{"h\xc3\xa9", E_INVALID, E_INVALID, E_INVALID},
	{"a\nb", E_INVALID, E_INVALID, E_INVALID},
	{"a'b", E_INVALID, E_INVALID, E_INVALID},
};

TEST(names_hold_only_what_is_allowed)
{
	for (size_t i = 0; i < COUNT_OF(name_cases); i++) {
		struct slice s = slice_from(name_cases[i].in);

		CHECK_INT(model_name_check(s, NULL), name_cases[i].name);
		CHECK_INT(model_version_check(s, NULL), name_cases[i].version);
		CHECK_INT(use_case_check(s, NULL), name_cases[i].use_case);
	}
}

TEST(names_hold_no_nul_byte)
{
	CHECK_INT(model_name_check(SLICE_LIT("a\0b"), NULL), E_INVALID);
	CHECK_INT(use_case_check(SLICE_LIT("a\0b"), NULL), E_INVALID);
}

TEST(names_may_be_as_long_as_their_limit_and_no_longer)
{
	char text[MODEL_NAME_MAX + 1];

	memset(text, 'a', sizeof(text));
	CHECK_INT(model_name_check((struct slice){text, MODEL_NAME_MAX}, NULL), 0);
	CHECK_INT(model_name_check((struct slice){text, MODEL_NAME_MAX + 1}, NULL), E_INVALID);
	CHECK_INT(model_version_check((struct slice){text, MODEL_VERSION_MAX}, NULL), 0);
	CHECK_INT(model_version_check((struct slice){text, MODEL_VERSION_MAX + 1}, NULL), E_INVALID);
	CHECK_INT(use_case_check((struct slice){text, USE_CASE_MAX}, NULL), 0);
	CHECK_INT(use_case_check((struct slice){text, USE_CASE_MAX + 1}, NULL), E_INVALID);
}

static const struct {
	const char *ref, *name, *version; /* version NULL: absent */
} ref_cases[] = {
	{"a@1.0", "a", "1.0"}, {"a", "a", NULL}, {"a@", "a", ""},
	{"@1", "", "1"},       {"", "", NULL},	 {"a@1@2", "a", "1@2"},
};

TEST(a_reference_is_a_name_and_perhaps_a_version)
{
	for (size_t i = 0; i < COUNT_OF(ref_cases); i++) {
		struct slice name, version;

		model_ref_split(slice_from(ref_cases[i].ref), &name, &version);
		CHECK(slice_eq_str(name, ref_cases[i].name));
		CHECK_INT(version.p != NULL, ref_cases[i].version != NULL);
		CHECK(!ref_cases[i].version || slice_eq_str(version, ref_cases[i].version));
	}
}

TEST(a_configuration_is_read)
{
	struct model_config c;
	struct fixture f;

	setup(&f);
	CHECK_INT(model_config_parse(
			  parse(&f, "{\"endpoint\":\"https://h:8443/v1/messages?x=a@b\",\"protocol\":\"anthropic\","
				    "\"upstream_model\":\"m\",\"api_key_env\":\"KEY\",\"api_key_file\":\"/run/key\","
				    "\"headers\":{\"x-team\":\"blue\"},\"parameters\":{\"temperature\":0.5},"
				    "\"sim\":{\"text\":\"hi\"},\"vendor\":{\"in\":1},\"price\":{\"input\":0.15,"
				    "\"output\":0.6,\"cached_input\":0.075},\"timeouts\":{\"connect_ms\":1,"
				    "\"first_byte_ms\":2,\"between_ms\":3,\"total_ms\":4}}"),
			  &c, &f.err),
		  0);
	CHECK(slice_eq_str(c.endpoint, "https://h:8443/v1/messages?x=a@b"));
	CHECK(slice_eq_str(c.protocol, "anthropic"));
	CHECK(slice_eq_str(c.upstream_model, "m"));
	CHECK(slice_eq_str(c.api_key_env, "KEY"));
	CHECK(slice_eq_str(c.api_key_file, "/run/key"));
	CHECK(c.headers && c.headers->n_items == 1);
	CHECK(c.parameters && json_get(c.parameters, "temperature"));
	CHECK(c.sim && json_get(c.sim, "text"));
	CHECK_INT(c.connect_timeout_ms, 1);
	CHECK_INT(c.first_byte_timeout_ms, 2);
	CHECK_INT(c.between_timeout_ms, 3);
	CHECK_INT(c.total_timeout_ms, 4);
	CHECK_INT(c.price.input, 150000000);
	CHECK_INT(c.price.output, 600000000);
	CHECK_INT(c.price.cached_input, 75000000);
	CHECK_STR(c.price.currency, "USD");
	teardown(&f);
}

TEST(an_empty_configuration_leaves_everything_to_others)
{
	static const char *const texts[] = {"{}", "null", "{\"endpoint\":null,\"headers\":null,\"timeouts\":null}"};
	struct model_config c;
	struct fixture f;

	setup(&f);
	CHECK_INT(model_config_parse(NULL, &c, NULL), 0);
	CHECK(!c.endpoint.p);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		CHECK_INT(model_config_parse(parse(&f, texts[i]), &c, NULL), 0);
		CHECK(!c.endpoint.p && !c.headers && c.total_timeout_ms == 0);
	}
	teardown(&f);
}

static const struct {
	const char *in, *says;
} refused_configs[] = {
	{"[]", "object"},
	{"\"x\"", "object"},
	{"{\"api_key\":\"sk-1\"}", "api_key_env"},
	{"{\"API_KEY\":\"sk-1\"}", "api_key_env"},
	{"{\"apikey\":\"sk-1\"}", "api_key_file"},
	{"{\"token\":\"t\"}", "api_key_env"},
	{"{\"password\":\"t\"}", "api_key_env"},
	{"{\"secret\":null}", "api_key_env"},
	{"{\"authorization\":\"Bearer x\"}", "api_key_env"},
	{"{\"headers\":{\"Authorization\":\"Bearer x\"}}", "api_key_env"},
	{"{\"headers\":{\"x-api-key\":\"x\"}}", "api_key_env"},
	{"{\"headers\":{\"API-Key\":\"x\"}}", "api_key_env"},
	{"{\"headers\":{\"x\":1}}", "headers.x"},
	{"{\"headers\":{\"x\":\"a\\r\\nevil: 1\"}}", "control"},
	{"{\"headers\":{\"x y\":\"a\"}}", "not a header name"},
	{"{\"headers\":{\"\":\"a\"}}", "without a name"},
	{"{\"headers\":[]}", "headers"},
	{"{\"parameters\":1}", "parameters"},
	{"{\"sim\":\"x\"}", "sim"},
	{"{\"endpoint\":1}", "endpoint"},
	{"{\"endpoint\":\"\"}", "endpoint"},
	{"{\"endpoint\":\"localhost:8001/generate\"}", "http://"},
	{"{\"endpoint\":\"ftp://h/\"}", "http://"},
	{"{\"endpoint\":\"http:///x\"}", "no host"},
	{"{\"endpoint\":\"http://user:pw@h/\"}", "user or password"},
	{"{\"endpoint\":\"http://h/a b\"}", "spaces"},
	{"{\"endpoint\":\"http://h/a\\nb\"}", "control"},
	{"{\"timeouts\":[]}", "timeouts"},
	{"{\"timeouts\":{\"total\":1}}", "total_ms"},
	{"{\"timeouts\":{\"total_ms\":-1}}", "total_ms"},
	{"{\"timeouts\":{\"total_ms\":1.5}}", "total_ms"},
	{"{\"timeouts\":{\"total_ms\":86400001}}", "total_ms"},
	{"{\"timeouts\":{\"total_ms\":\"1\"}}", "total_ms"},
};

TEST(a_configuration_that_is_wrong_or_holds_a_secret_is_refused_by_name)
{
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < COUNT_OF(refused_configs); i++) {
		struct model_config c;
		struct err err = {0};

		CHECK_INT(model_config_parse(parse(&f, refused_configs[i].in), &c, &err), E_INVALID);
		if (!strstr(err.text, refused_configs[i].says))
			printf("# %s: %s\n", refused_configs[i].in, err.text);
		CHECK(strstr(err.text, refused_configs[i].says));
	}
	teardown(&f);
}

TEST(an_error_about_a_secret_does_not_repeat_it)
{
	struct model_config c;
	struct fixture f;

	setup(&f);
	CHECK_INT(model_config_parse(parse(&f, "{\"endpoint\":\"http://user:hunter2@h/\"}"), &c, &f.err), E_INVALID);
	CHECK(!strstr(f.err.text, "hunter2"));
	CHECK_INT(model_config_parse(parse(&f, "{\"headers\":{\"x-api-key\":\"hunter2\"}}"), &c, &f.err), E_INVALID);
	CHECK(!strstr(f.err.text, "hunter2"));
	teardown(&f);
}

static void write(struct buf *out, const struct model *m)
{
	struct json_writer w;

	buf_clear(out);
	jw_init(&w, out);
	model_write(&w, m);
	CHECK(!buf_failed(out));
}

TEST(what_is_written_reads_back_the_same)
{
	struct model m = {.name = SLICE_LIT("a"),
			  .version = SLICE_LIT("1.0"),
			  .use_case = SLICE_LIT("u"),
			  .model_type = SLICE_LIT("self \"hosted\""),
			  .provider = SLICE_LIT("ollama"),
			  .configuration = SLICE_LIT("{\"endpoint\":\"http://h/\"}"),
			  .metrics = SLICE_LIT("{\"p95\":1.5}"),
			  .status = MODEL_TESTING,
			  .created_us = 1763873420123456,
			  .updated_us = 1763873420123457,
			  .status_since_us = 1763873420123458};
	CLEANUP(buf_release) struct buf out, again;
	struct model back;
	struct fixture f;

	setup(&f);
	m.id = uuid_v7_now();
	buf_init(&out, 65536);
	buf_init(&again, 65536);
	write(&out, &m);
	CHECK_INT(model_parse(parse(&f, buf_cstr(&out)), &back, &f.err), 0);
	write(&again, &back);
	CHECK_STR(buf_cstr(&again), buf_cstr(&out));
	CHECK(!memcmp(&back.id, &m.id, sizeof(m.id)));
	CHECK_INT(back.status_since_us, m.status_since_us);
	CHECK(slice_eq(back.configuration, m.configuration));
	CHECK(slice_eq(back.model_type, m.model_type));
	teardown(&f);
}

TEST(a_model_without_configuration_is_written_with_an_empty_one)
{
	struct model m = {.name = SLICE_LIT("a"), .version = SLICE_LIT("1"), .use_case = SLICE_LIT("u")};
	CLEANUP(buf_release) struct buf out;

	buf_init(&out, 65536);
	write(&out, &m);
	CHECK(strstr(buf_cstr(&out), "\"configuration\":{},\"performance_metrics\":{}"));
}

#define ID "\"model_id\":\"0198b2aa-0000-7000-8000-000000000001\""
#define NAMES "\"model_name\":\"a\",\"version\":\"1\",\"use_case\":\"u\""

static const char *const refused_models[] = {
	"{}",
	"[]",
	"{" ID "," NAMES "}",
	"{" NAMES ",\"status\":\"current\"}",
	"{\"model_id\":\"7\"," NAMES ",\"status\":\"current\"}",
	"{" ID ",\"version\":\"1\",\"use_case\":\"u\",\"status\":\"current\"}",
	"{" ID "," NAMES ",\"status\":\"current\",\"configuration\":[]}",
	"{" ID "," NAMES ",\"status\":\"current\",\"created_at\":\"soon\"}",
	"{" ID "," NAMES ",\"status\":\"current\",\"provider\":1}",
	"{" ID "," NAMES ",\"status\":1}",
};

TEST(a_model_that_does_not_hold_together_is_not_read)
{
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < COUNT_OF(refused_models); i++) {
		struct model m;
		struct err err = {0};

		CHECK_INT(model_parse(parse(&f, refused_models[i]), &m, &err), E_INVALID);
		CHECK(err.text[0]);
	}
	CHECK_INT(model_parse(NULL, &(struct model){0}, NULL), E_INVALID);
	teardown(&f);
}
