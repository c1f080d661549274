/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry: what changes, what it leaves in the events, what is published, and that nothing happens by halves
 * whichever call of the database fails.
 */
#include "control/registry/registry.h"

#include <pthread.h>
#include <sys/stat.h>

#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/json/writer.h"
#include "store_fixture.h"

#define S(x) SLICE_LIT(x)

struct fixture {
	struct place place;
	struct store *store;
	struct registry *r;
	struct arena a;
	struct err err;
	char snapshot[96];
	char url[160];
	/* what the hooks saw, and what they are to do */
	int n_prepared, n_published, n_freed;
	bool refuse;
	uint64_t generation;
};

static const struct registry_who who = {{"ops", 3}, {"a reason", 8}};
static struct fixture *freed_for;

static void on_free(struct snapshot *s)
{
	(void)s;
	freed_for->n_freed++;
}

static int on_prepare(struct snapshot *s, void *arg, struct err *err)
{
	struct fixture *f = arg;

	if (f->refuse)
		return err_set(err, E_INVALID, "it does not compile");
	f->n_prepared++;
	freed_for = f;
	s->free_prepared = on_free;
	return 0;
}

static void on_publish(struct snapshot *s, void *arg)
{
	struct fixture *f = arg;

	CHECK(s->generation > f->generation);
	f->generation = s->generation;
	f->n_published++;
}

static int default_policy(struct arena *a, struct policy *ret, struct err *err)
{
	(void)a;
	(void)err;
	*ret = (struct policy){.name = S("default"), .block_on_error = true};
	return 0;
}

static void open_registry(struct fixture *f, const char *url)
{
	const struct registry_hooks hooks = {on_prepare, on_publish, f, default_policy};

	CHECK_INT(store_new(url, &f->store, &f->err), 0);
	CHECK_INT(registry_new(f->store, &hooks, f->snapshot, &f->r, &f->err), 0);
}

static void close_registry(struct fixture *f)
{
	registry_free(f->r);
	store_free(f->store);
	CHECK_INT(f->n_freed, f->n_prepared); /* no snapshot is left, none was freed twice */
}

static void setup_at(struct fixture *f, int fail_at)
{
	struct db *db;

	*f = (struct fixture){.r = NULL};
	place_make(&f->place);
	(void)snprintf(f->snapshot, sizeof(f->snapshot), "%s/snapshot.json", f->place.dir);
	arena_init(&f->a, 16384, (size_t)64 << 20);
	db = place_open(f->place.url);
	db_close(db);
	if (fail_at)
		(void)snprintf(f->url, sizeof(f->url), "fault:%d:%s", fail_at, f->place.url);
	else
		(void)snprintf(f->url, sizeof(f->url), "%s", f->place.url);
	open_registry(f, f->url);
}

static void setup(struct fixture *f)
{
	enum registry_origin origin = REGISTRY_EMPTY;

	setup_at(f, 0);
	CHECK_INT(registry_load(f->r, &origin, &f->err), 0);
	CHECK_INT(origin, REGISTRY_FROM_DATABASE);
}

static void teardown(struct fixture *f)
{
	close_registry(f);
	arena_release(&f->a);
	place_remove(&f->place);
}

static struct model model(const char *name, const char *version, const char *use_case)
{
	struct model m = {.name = slice_from(name),
			  .version = slice_from(version),
			  .use_case = slice_from(use_case),
			  .provider = S("ollama"),
			  .configuration = S(" { \"endpoint\" : \"http://127.0.0.1:1/generate\" } ")};

	return m;
}

static struct uuid add(struct fixture *f, const char *name, const char *version, const char *use_case)
{
	struct model m = model(name, version, use_case);

	CHECK_INT(registry_register(f->r, &m, &who, &f->err), 0);
	return m.id;
}

static bool same(const struct uuid *a, const struct uuid *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static size_t events(struct fixture *f, struct event_filter filter, struct registry_event **ret)
{
	struct db *db = NULL;
	size_t n = 0;

	filter.limit = STORE_PAGE_MAX;
	CHECK_INT(db_open(f->place.url, &db, &f->err), 0);
	CHECK_INT(store_event_list(db, &f->a, &filter, ret, &n, &f->err), 0);
	db_close(db);
	return n;
}

static size_t n_events(struct fixture *f)
{
	struct registry_event *list;

	return events(f, (struct event_filter){.limit = 0}, &list);
}

/* Name of the model that the published snapshot has as current; "" when none. */
static const char *current(struct fixture *f, const char *use_case)
{
	static char name[128];
	struct snapshot *s = registry_snapshot(f->r);
	const struct snapshot_use_case *u = s ? snapshot_use_case(s, slice_from(use_case)) : NULL;

	name[0] = '\0';
	if (u && u->current)
		(void)snprintf(name, sizeof(name), SLICE_FMT, SLICE_ARG(u->current->full_name));
	snapshot_unref(s);
	return name;
}

TEST(a_registered_model_is_published_with_its_event)
{
	struct registry_event *list;
	struct model m = model("a", "1", "u_layer");
	struct snapshot *s;
	struct fixture f;
	int n;

	setup(&f);
	n = f.n_published;
	CHECK_INT(registry_register(f.r, &m, &who, &f.err), 0);
	CHECK(!uuid_is_nil(&m.id) && m.created_us > 0 && m.status_since_us == m.created_us);
	CHECK(slice_starts(m.configuration, S(" {"))); /* the caller's own, not something that is gone */
	CHECK_INT(f.n_published, n + 1);
	s = registry_snapshot(f.r);
	CHECK(snapshot_model(s, S("a@1")) != NULL);
	CHECK(slice_eq_str(snapshot_model(s, S("a@1"))->config.endpoint, "http://127.0.0.1:1/generate"));
	snapshot_unref(s);
	CHECK_INT(events(&f, (struct event_filter){.use_case = S("u_layer")}, &list), 1);
	CHECK(slice_eq_str(list[0].kind, "model.registered"));
	CHECK(slice_eq_str(list[0].actor, "ops") && slice_eq_str(list[0].reason, "a reason"));
	CHECK(!list[0].before.p);
	CHECK(slice_find(list[0].after, S("\"configuration\":{\"endpoint\":\"http://127.0.0.1:1/generate\"}")) > 0);
	teardown(&f);
}

TEST(a_second_registration_names_the_first)
{
	struct model again = model("a", "1", "u");
	struct uuid first;
	struct fixture f;
	char id[UUID_STR_SIZE];

	setup(&f);
	first = add(&f, "a", "1", "u");
	CHECK_INT(registry_register(f.r, &again, &who, &f.err), E_EXISTS);
	CHECK(same(&again.id, &first));
	CHECK(strstr(f.err.text, uuid_format(&first, id)) && strstr(f.err.text, "a@1"));
	CHECK_INT(n_events(&f), 1);
	teardown(&f);
}

static void no_name(struct model *m)
{
	m->name = S("");
}

static void bad_use_case(struct model *m)
{
	m->use_case = S("Not Good");
}

static void no_provider(struct model *m)
{
	m->provider = (struct slice){NULL, 0};
}

static void secret(struct model *m)
{
	m->configuration = S("{\"api_key\":\"sk-hunter2\"}");
}

static void not_json(struct model *m)
{
	m->configuration = S("{\"endpoint\":");
}

static void not_object(struct model *m)
{
	m->configuration = S("[]");
}

static void bad_metrics(struct model *m)
{
	m->metrics = S("7");
}

static void long_type(struct model *m)
{
	static const char text[65] = "x";

	m->model_type = (struct slice){text, sizeof(text)};
}

static const struct {
	void (*spoil)(struct model *m);
	const char *says;
} refused_models[] = {
	{no_name, "model_name"},
	{bad_use_case, "use_case"},
	{no_provider, "provider"},
	{secret, "api_key_env"},
	{not_json, "configuration"},
	{not_object, "configuration"},
	{bad_metrics, "performance_metrics"},
	{long_type, "model_type"},
};

TEST(what_is_wrong_is_refused_by_name_and_changes_nothing)
{
	struct fixture f;
	int n;

	setup(&f);
	n = f.n_published;
	for (size_t i = 0; i < COUNT_OF(refused_models); i++) {
		struct model m = model("a", "1", "u");

		f.err = (struct err){0};
		refused_models[i].spoil(&m);
		CHECK_INT(registry_register(f.r, &m, &who, &f.err), E_INVALID);
		CHECK(strstr(f.err.text, refused_models[i].says));
		CHECK(uuid_is_nil(&m.id));
	}
	CHECK_INT(f.n_published, n);
	CHECK_INT(n_events(&f), 0);
	teardown(&f);
}

TEST(a_configuration_of_64_kib_is_taken_and_one_byte_more_is_not)
{
	size_t n = (size_t)64 << 10;
	char *text = malloc(n + 1);
	struct model m = model("a", "1", "u");
	struct fixture f;

	setup(&f);
	memset(text, ' ', n + 1);
	text[0] = '{';
	text[n - 1] = '}';
	m.configuration = (struct slice){text, n};
	CHECK_INT(registry_register(f.r, &m, &who, &f.err), 0);
	text[n - 1] = ' ';
	text[n] = '}';
	m = model("a", "2", "u");
	m.configuration = (struct slice){text, n + 1};
	CHECK_INT(registry_register(f.r, &m, &who, &f.err), E_TOOBIG);
	free(text);
	teardown(&f);
}

TEST(promoting_one_demotes_the_other_with_an_event_each)
{
	struct uuid a, b, demoted;
	struct registry_event *list;
	struct fixture f;

	setup(&f);
	a = add(&f, "a", "1", "u");
	b = add(&f, "b", "1", "u");
	CHECK_INT(registry_set_status(f.r, &a, MODEL_CURRENT, &who, &demoted, &f.err), 0);
	CHECK(uuid_is_nil(&demoted));
	CHECK_STR(current(&f, "u"), "a@1");
	CHECK_INT(registry_set_status(f.r, &b, MODEL_CURRENT, &who, &demoted, &f.err), 0);
	CHECK(same(&demoted, &a));
	CHECK_STR(current(&f, "u"), "b@1");
	CHECK_INT(events(&f, (struct event_filter){.kind = S("model.status")}, &list), 3);
	CHECK(slice_find(list[0].after, S("\"status\":\"current\"")) > 0);
	CHECK(slice_find(list[0].before, S("\"status\":\"candidate\"")) > 0);
	CHECK(slice_find(list[1].after, S("\"status\":\"deprecated\"")) > 0);
	CHECK(slice_find(list[1].before, S("\"status\":\"current\"")) > 0);
	CHECK_INT(list[0].at_us, list[1].at_us);
	teardown(&f);
}

TEST(the_same_status_again_changes_nothing)
{
	struct uuid a, demoted;
	struct fixture f;
	int n;

	setup(&f);
	a = add(&f, "a", "1", "u");
	CHECK_INT(registry_set_status(f.r, &a, MODEL_CURRENT, &who, NULL, &f.err), 0);
	n = f.n_published;
	CHECK_INT(registry_set_status(f.r, &a, MODEL_CURRENT, &who, &demoted, &f.err), 0);
	CHECK(uuid_is_nil(&demoted));
	CHECK_INT(n_events(&f), 2);
	CHECK_INT(f.n_published, n);
	teardown(&f);
}

TEST(a_model_registered_as_current_demotes_the_other)
{
	struct model b = model("b", "1", "u");
	struct uuid a;
	struct fixture f;

	setup(&f);
	a = add(&f, "a", "1", "u");
	CHECK_INT(registry_set_status(f.r, &a, MODEL_CURRENT, &who, NULL, &f.err), 0);
	b.status = MODEL_CURRENT;
	CHECK_INT(registry_register(f.r, &b, &who, &f.err), 0);
	CHECK_STR(current(&f, "u"), "b@1");
	teardown(&f);
}

TEST(archiving_the_current_model_leaves_none)
{
	struct snapshot *s;
	struct uuid a;
	struct fixture f;

	setup(&f);
	a = add(&f, "a", "1", "u");
	add(&f, "b", "1", "u");
	CHECK_INT(registry_put_use_case(f.r, S("u"), S("{\"fallback\":[\"b@1\"]}"), &who, &f.err), 0);
	CHECK_INT(registry_set_status(f.r, &a, MODEL_CURRENT, &who, NULL, &f.err), 0);
	CHECK_INT(registry_set_status(f.r, &a, MODEL_ARCHIVED, &who, NULL, &f.err), 0);
	CHECK_STR(current(&f, "u"), "");
	s = registry_snapshot(f.r);
	CHECK(snapshot_use_case(s, S("u"))->n_chain == 1);
	CHECK(!snapshot_model(s, S("a@1")));
	snapshot_unref(s);
	teardown(&f);
}

TEST(what_is_not_there_is_not_found)
{
	struct uuid nobody = uuid_v7_now();
	struct fixture f;

	setup(&f);
	CHECK_INT(registry_set_status(f.r, &nobody, MODEL_CURRENT, &who, NULL, &f.err), E_NOTFOUND);
	CHECK_INT(registry_set_configuration(f.r, &nobody, S("{}"), &who, &f.err), E_NOTFOUND);
	CHECK_INT(registry_set_metrics(f.r, &nobody, S("{}"), &who, &f.err), E_NOTFOUND);
	teardown(&f);
}

TEST(configuration_and_metrics_change_with_events)
{
	struct registry_event *list;
	struct snapshot *s;
	struct uuid a;
	struct fixture f;

	setup(&f);
	a = add(&f, "a", "1", "u");
	CHECK_INT(registry_set_configuration(f.r, &a, S("{\"endpoint\":\"https://h/\"}"), &who, &f.err), 0);
	CHECK_INT(registry_set_configuration(f.r, &a, S("{ \"endpoint\": \"https://h/\" }"), &who, &f.err),
		  0); /* the same */
	CHECK_INT(registry_set_configuration(f.r, &a, S("{\"token\":\"x\"}"), &who, &f.err), E_INVALID);
	CHECK_INT(registry_set_metrics(f.r, &a, S("{\"p95_ms\":12.50}"), &who, &f.err), 0);
	CHECK_INT(events(&f, (struct event_filter){.limit = 0}, &list), 3);
	CHECK(slice_eq_str(list[0].kind, "model.metrics") && slice_find(list[0].after, S("{\"p95_ms\":12.50}")) > 0);
	CHECK(slice_eq_str(list[1].kind, "model.configuration"));
	s = registry_snapshot(f.r);
	CHECK(slice_eq_str(snapshot_model(s, S("a"))->config.endpoint, "https://h/"));
	snapshot_unref(s);
	teardown(&f);
}

static const struct {
	const char *settings, *says;
} refused_settings[] = {
	{"[]", "object"},
	{"{", "settings"},
	{"{\"fallback\":[\"ghost@1\"]}", "'ghost@1' is not registered"},
	{"{\"fallbak\":[]}", "did you mean 'fallback'"},
	{"{\"policy\":\"ghost\"}", "'ghost'"},
	{"{\"log\":\"maybe\"}", "log"},
};

TEST(settings_that_cannot_be_served_are_refused_and_change_nothing)
{
	struct fixture f;
	int n;

	setup(&f);
	n = f.n_published;
	for (size_t i = 0; i < COUNT_OF(refused_settings); i++) {
		CHECK_INT(registry_put_use_case(f.r, S("u"), slice_from(refused_settings[i].settings), &who, &f.err),
			  E_INVALID);
		CHECK(strstr(f.err.text, refused_settings[i].says));
	}
	CHECK_INT(registry_put_use_case(f.r, S("Not Good"), S("{}"), &who, &f.err), E_INVALID);
	CHECK_INT(f.n_published, n);
	CHECK_INT(n_events(&f), 0);
	teardown(&f);
}

TEST(settings_are_replaced_with_what_was_there_before_in_the_event)
{
	struct registry_event *list;
	struct snapshot *s;
	struct fixture f;

	setup(&f);
	CHECK_INT(registry_put_use_case(f.r, S("u"), S("{\"fallback_content\":\"one\"}"), &who, &f.err), 0);
	CHECK_INT(registry_put_use_case(f.r, S("u"), S("{\"fallback_content\":\"two\",\"policy\":\"none\"}"), &who,
					&f.err),
		  0);
	CHECK_INT(registry_put_use_case(f.r, S("u"), S("{\"policy\":\"none\",\"fallback_content\":\"two\"}"), &who,
					&f.err),
		  0);
	CHECK_INT(events(&f, (struct event_filter){.subject = S("u")}, &list), 2);
	CHECK(slice_find(list[0].before, S("\"one\"")) > 0 && slice_find(list[0].after, S("\"two\"")) > 0);
	CHECK(!list[1].before.p);
	s = registry_snapshot(f.r);
	CHECK(slice_eq_str(snapshot_use_case(s, S("u"))->settings.fallback_content, "two"));
	CHECK(snapshot_use_case(s, S("u"))->settings.created_us > 0);
	CHECK(!snapshot_use_case(s, S("u"))->policy);
	snapshot_unref(s);
	teardown(&f);
}

#define RULES                                                                                                  \
	"\"rules\":[{\"id\":\"r1\",\"category\":\"c\",\"kind\":\"literal\",\"action\":\"block\",\"severity\":" \
	"\"high\","                                                                                            \
	"\"side\":\"both\",\"values\":[\"bomb\"]}]"

TEST(a_policy_is_saved_with_its_name)
{
	struct registry_event *list;
	struct snapshot *s;
	struct fixture f;

	setup(&f);
	CHECK_INT(registry_put_policy(f.r, S("strict"), S("{" RULES "}"), &who, &f.err), 0);
	CHECK_INT(registry_put_policy(f.r, S("strict"), S("{\"name\":\"strict\"," RULES "}"), &who, &f.err),
		  0); /* the same */
	CHECK_INT(registry_put_use_case(f.r, S("u"), S("{\"policy\":\"strict\"}"), &who, &f.err), 0);
	CHECK_INT(events(&f, (struct event_filter){.kind = S("policy.saved")}, &list), 1);
	s = registry_snapshot(f.r);
	CHECK_INT(s->n_policies, 2); /* and the built-in one */
	CHECK(slice_eq_str(snapshot_use_case(s, S("u"))->policy->policy.name, "strict"));
	CHECK_INT(snapshot_use_case(s, S("u"))->policy->policy.n_rules, 1);
	snapshot_unref(s);
	teardown(&f);
}

TEST(a_policy_of_ones_own_replaces_the_built_in_default)
{
	struct snapshot *s;
	struct fixture f;

	setup(&f);
	add(&f, "a", "1", "u");
	CHECK_INT(registry_put_policy(f.r, S("default"), S("{" RULES "}"), &who, &f.err), 0);
	s = registry_snapshot(f.r);
	CHECK_INT(s->n_policies, 1);
	CHECK_INT(snapshot_use_case(s, S("u"))->policy->policy.n_rules, 1);
	snapshot_unref(s);
	teardown(&f);
}

static const struct {
	const char *name, *document;
} refused_policies[] = {
	{"none", "{" RULES "}"}, {"No Good", "{" RULES "}"},	  {"p", "{\"name\":\"q\"," RULES "}"},
	{"p", "{\"rules\":7}"},	 {"p", "{\"name\":7," RULES "}"}, {"p", "nonsense"},
};

TEST(a_policy_that_cannot_be_is_refused)
{
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < COUNT_OF(refused_policies); i++)
		CHECK_INT(registry_put_policy(f.r, slice_from(refused_policies[i].name),
					      slice_from(refused_policies[i].document), &who, &f.err),
			  E_INVALID);
	CHECK_INT(n_events(&f), 0);
	teardown(&f);
}

TEST(what_does_not_compile_is_not_committed)
{
	struct model m = model("a", "1", "u");
	struct fixture f;
	int n;

	setup(&f);
	n = f.n_published;
	f.refuse = true;
	CHECK_INT(registry_put_policy(f.r, S("p"), S("{" RULES "}"), &who, &f.err), E_INVALID);
	CHECK(strstr(f.err.text, "does not compile"));
	CHECK_INT(registry_register(f.r, &m, &who, &f.err), E_INVALID);
	f.refuse = false;
	CHECK_INT(f.n_published, n);
	CHECK_INT(n_events(&f), 0);
	CHECK_INT(registry_refresh(f.r, &f.err), 0);
	teardown(&f);
}

TEST(slots_stay_when_other_use_cases_come)
{
	struct snapshot *s;
	struct fixture f;
	unsigned slot;

	setup(&f);
	add(&f, "a", "1", "m_layer");
	s = registry_snapshot(f.r);
	slot = snapshot_use_case(s, S("m"))->slot;
	snapshot_unref(s);
	add(&f, "a", "1", "a_layer");
	s = registry_snapshot(f.r);
	CHECK_INT(snapshot_use_case(s, S("m"))->slot, slot);
	CHECK(snapshot_use_case(s, S("a"))->slot != slot);
	snapshot_unref(s);
	teardown(&f);
}

/* --- the past --- */

/* A time between two events. */
static int64_t tick(void)
{
	int64_t at = clock_wall_us(), now;

	while ((now = clock_wall_us()) < at + 2)
		;
	return at + 1;
}

TEST(what_was_current_then_can_be_told)
{
	struct uuid a, b;
	int64_t at[6], since = 0;
	static const char *const names[] = {NULL, NULL, "a", "a", "b", NULL};
	struct fixture f;

	setup(&f);
	at[0] = tick();
	a = add(&f, "a", "1", "u");
	b = add(&f, "b", "1", "u");
	at[1] = tick();
	CHECK_INT(registry_set_status(f.r, &a, MODEL_CURRENT, &who, NULL, &f.err), 0);
	at[2] = tick();
	CHECK_INT(registry_set_configuration(f.r, &a, S("{\"endpoint\":\"https://changed/\"}"), &who, &f.err), 0);
	CHECK_INT(registry_set_metrics(f.r, &b, S("{\"x\":1}"), &who, &f.err), 0);
	at[3] = tick();
	CHECK_INT(registry_set_status(f.r, &b, MODEL_CURRENT, &who, NULL, &f.err), 0);
	at[4] = tick();
	CHECK_INT(registry_set_status(f.r, &b, MODEL_ARCHIVED, &who, NULL, &f.err), 0);
	at[5] = tick();
	for (size_t i = 0; i < COUNT_OF(at); i++) {
		struct model m = {0};
		int rc = registry_current_at(f.r, &f.a, S("u"), at[i], &m, &since, &f.err);

		CHECK_INT(rc, names[i] ? 0 : E_NOTFOUND);
		CHECK(!names[i] || slice_eq_str(m.name, names[i]));
		CHECK(!names[i] || since < at[i]);
		CHECK(i != 3 || slice_find(m.configuration, S("https://changed/")) > 0);
		CHECK(i != 3 || since < at[2]); /* the configuration changed, what was current did not */
		CHECK(i != 2 || slice_find(m.configuration, S("https://changed/")) < 0);
	}
	CHECK_INT(registry_current_at(f.r, &f.a, S("elsewhere"), at[4], &(struct model){0}, NULL, &f.err), E_NOTFOUND);
	teardown(&f);
}

TEST(the_past_is_found_behind_many_other_events)
{
	struct uuid a, b;
	struct model m = {0};
	struct fixture f;

	setup(&f);
	a = add(&f, "a", "1", "u");
	b = add(&f, "b", "1", "u");
	CHECK_INT(registry_set_status(f.r, &a, MODEL_CURRENT, &who, NULL, &f.err), 0);
	for (int i = 0; i < 210; i++)
		CHECK_INT(registry_set_status(f.r, &b, i % 2 ? MODEL_CANDIDATE : MODEL_TESTING, &who, NULL, &f.err), 0);
	CHECK_INT(registry_current_at(f.r, &f.a, S("u"), clock_wall_us(), &m, NULL, &f.err), 0);
	CHECK(slice_eq_str(m.name, "a"));
	teardown(&f);
}

/* --- beginning without a database --- */

TEST(without_a_database_the_snapshot_on_disk_serves_and_without_one_nothing_does)
{
	enum registry_origin origin = REGISTRY_FROM_DATABASE;
	char problem[200];
	struct uuid a;
	struct fixture f;

	setup(&f);
	a = add(&f, "a", "1", "u");
	CHECK_INT(registry_set_status(f.r, &a, MODEL_CURRENT, &who, NULL, &f.err), 0);
	registry_problem(f.r, problem, sizeof(problem));
	CHECK_STR(problem, "");
	close_registry(&f);
	f.generation = 0;
	open_registry(&f, "sqlite:/proc/no/such/place");
	CHECK_INT(registry_load(f.r, &origin, &f.err), 0);
	CHECK_INT(origin, REGISTRY_FROM_DISK);
	CHECK_STR(current(&f, "u"), "a@1");
	registry_problem(f.r, problem, sizeof(problem));
	CHECK(strstr(problem, "/proc/no"));
	CHECK_INT(registry_refresh(f.r, &f.err), E_UNAVAILABLE);
	CHECK_INT(registry_set_status(f.r, &a, MODEL_ARCHIVED, &who, NULL, &f.err), E_UNAVAILABLE);
	CHECK_STR(current(&f, "u"), "a@1");
	close_registry(&f);
	CHECK_INT(unlink(f.snapshot), 0);
	f.generation = 0;
	open_registry(&f, "sqlite:/proc/no/such/place");
	CHECK_INT(registry_load(f.r, &origin, &f.err), 0);
	CHECK_INT(origin, REGISTRY_EMPTY);
	CHECK_STR(current(&f, "u"), "");
	teardown(&f);
}

TEST(a_damaged_snapshot_is_as_good_as_none_and_is_told)
{
	enum registry_origin origin = REGISTRY_FROM_DATABASE;
	char problem[500];
	struct fixture f;
	FILE *file;

	setup(&f);
	close_registry(&f);
	file = fopen(f.snapshot, "w");
	CHECK(file && fputs("{}", file) >= 0 && !fclose(file));
	f.generation = 0;
	open_registry(&f, "sqlite:/proc/no/such/place");
	CHECK_INT(registry_load(f.r, &origin, &f.err), 0);
	CHECK_INT(origin, REGISTRY_EMPTY);
	registry_problem(f.r, problem, sizeof(problem));
	CHECK(strstr(problem, "/proc/no") && strstr(problem, "it is no snapshot"));
	teardown(&f);
}

TEST(a_snapshot_that_cannot_be_saved_is_told_and_stops_nothing)
{
	char problem[500];
	struct fixture f;

	setup(&f);
	CHECK_INT(unlink(f.snapshot), 0);
	CHECK_INT(mkdir(f.snapshot, 0700), 0);
	add(&f, "a", "1", "u");
	registry_problem(f.r, problem, sizeof(problem));
	CHECK(strstr(problem, f.snapshot));
	CHECK_INT(rmdir(f.snapshot), 0);
	teardown(&f);
}

/* --- entries that cannot be used --- */

static void spoil(struct fixture *f, const char *sql)
{
	struct db *db = NULL;

	CHECK_INT(db_open(f->place.url, &db, &f->err), 0);
	CHECK_INT(db_exec(db, sql, db_args(NULL, 0), NULL, &f->err), 0);
	db_close(db);
}

static void start_again(struct fixture *f)
{
	enum registry_origin origin = REGISTRY_EMPTY;

	registry_free(f->r);
	store_free(f->store);
	f->generation = 0; /* it counts anew */
	open_registry(f, f->url);
	CHECK_INT(registry_load(f->r, &origin, &f->err), 0);
	CHECK_INT(origin, REGISTRY_FROM_DATABASE);
}

static bool says(const struct snapshot_left_out *l, const char *word)
{
	char text[600];

	(void)snprintf(text, sizeof(text), SLICE_FMT, SLICE_ARG(l->text));
	return strstr(text, word) != NULL;
}

TEST(an_entry_that_cannot_be_used_is_left_out_by_name_and_the_others_serve)
{
	static const struct {
		const char *sql, *says;
		enum snapshot_fault_kind kind;
		bool unguarded; /* use case u then */
	} cases[] = {
		{"insert into use_cases values ('u', '{\"log\":7}', 0, 0)", "use case u", SNAPSHOT_BAD_USE_CASE, true},
		{"insert into guardrail_policies values ('p', '[', 0, 0)", "guardrail policy p", SNAPSHOT_BAD_POLICY,
		 false},
		{"insert into guardrail_policies values ('default', '[', 0, 0)", "guardrail policy default",
		 SNAPSHOT_BAD_POLICY, true},
		{"insert into use_cases values ('u', '{\"policy\":\"gone\"}', 0, 0)", "gone", SNAPSHOT_BAD_POLICY,
		 true},
		{"update model_registry set configuration = '{' where use_case = 'u'", "a@1 of u", SNAPSHOT_BAD_MODEL,
		 false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct snapshot_use_case *u;
		struct snapshot *s;
		struct fixture f;

		setup(&f);
		add(&f, "a", "1", "u");
		add(&f, "b", "1", "v");
		CHECK_INT(unlink(f.snapshot), 0);
		spoil(&f, cases[i].sql);
		start_again(&f);
		s = registry_snapshot(f.r);
		CHECK_INT(s->n_left_out, 1);
		CHECK_INT(s->left_out[0].kind, cases[i].kind);
		CHECK(!s->left_out[0].replaced && says(&s->left_out[0], cases[i].says));
		u = snapshot_use_case(s, S("u"));
		CHECK(u && u->unguarded == cases[i].unguarded);
		CHECK(snapshot_model(s, S("b@1")) != NULL);
		CHECK(!snapshot_model(s, S("a@1")) == (cases[i].kind == SNAPSHOT_BAD_MODEL));
		snapshot_unref(s);
		teardown(&f);
	}
}

static const struct snapshot_left_out *only_left_out(struct snapshot *s)
{
	CHECK_INT(s->n_left_out, 1);
	return s->n_left_out ? &s->left_out[0] : NULL;
}

TEST(of_a_policy_and_of_settings_the_version_that_served_last_stays)
{
	const char *sql[] = {"update guardrail_policies set document = '['", "update use_cases set settings = '['"};

	for (size_t i = 0; i < COUNT_OF(sql); i++) {
		const struct snapshot_use_case *u;
		struct snapshot *s;
		struct fixture f;

		setup(&f);
		CHECK_INT(registry_put_policy(f.r, S("p"), S("{" RULES "}"), &who, &f.err), 0);
		CHECK_INT(registry_put_use_case(f.r, S("u"), S("{\"policy\":\"p\"}"), &who, &f.err), 0);
		spoil(&f, sql[i]);
		for (int again = 0; again < 3; again++) { /* from what is published, and from what lies on disk */
			if (again == 1)
				start_again(&f);
			else
				CHECK_INT(registry_refresh(f.r, &f.err), 0);
			s = registry_snapshot(f.r);
			CHECK(only_left_out(s)->replaced);
			u = snapshot_use_case(s, S("u"));
			CHECK(u && u->policy && u->policy->policy.n_rules > 0 && !u->unguarded);
			snapshot_unref(s);
		}
		teardown(&f);
	}
}

TEST(what_is_left_out_is_known_without_a_database_too)
{
	enum registry_origin origin = REGISTRY_EMPTY;
	struct snapshot *s;
	struct fixture f;

	setup(&f);
	CHECK_INT(registry_put_use_case(f.r, S("u"), S("{}"), &who, &f.err), 0);
	CHECK_INT(unlink(f.snapshot), 0);
	spoil(&f, "insert into guardrail_policies values ('default', '[', 0, 0)");
	start_again(&f);
	registry_free(f.r);
	store_free(f.store);
	f.generation = 0;
	open_registry(&f, "sqlite:/proc/no/such/muster.db");
	CHECK_INT(registry_load(f.r, &origin, &f.err), 0);
	CHECK_INT(origin, REGISTRY_FROM_DISK);
	s = registry_snapshot(f.r);
	CHECK(!only_left_out(s)->replaced);
	CHECK(snapshot_use_case(s, S("u"))->unguarded); /* it does not serve unjudged */
	CHECK(snapshot_is_unguarded(s, NULL));
	snapshot_unref(s);
	teardown(&f);
}

TEST(beside_a_bad_entry_changes_go_on_but_none_may_make_it_worse)
{
	struct snapshot *s;
	struct uuid a;
	struct fixture f;

	setup(&f);
	a = add(&f, "a", "1", "u");
	spoil(&f, "update model_registry set configuration = '{'");
	CHECK_INT(registry_refresh(f.r, &f.err), 0);
	(void)add(&f, "b", "1", "v"); /* another one */
	s = registry_snapshot(f.r);
	CHECK_INT(only_left_out(s)->kind, SNAPSHOT_BAD_MODEL);
	snapshot_unref(s);
	f.err = (struct err){0};
	CHECK_INT(registry_set_status(f.r, &a, MODEL_CURRENT, &who, NULL, &f.err), E_INVALID);
	CHECK(strstr(f.err.text, "a@1 of u") != NULL);
	CHECK_INT(registry_set_configuration(f.r, &a, S("{}"), &who, &f.err), 0); /* mended */
	s = registry_snapshot(f.r);
	CHECK_INT(s->n_left_out, 0);
	CHECK(snapshot_model(s, S("a@1")) != NULL);
	snapshot_unref(s);
	teardown(&f);
}

TEST(more_bad_entries_than_can_be_left_out_are_an_error)
{
	char sql[200];

	for (int n = REGISTRY_MAX_LEFT_OUT; n <= REGISTRY_MAX_LEFT_OUT + 1; n++) {
		enum registry_origin origin;
		struct fixture f;

		setup_at(&f, 0);
		for (int i = 0; i < n; i++) {
			(void)snprintf(sql, sizeof(sql), "insert into guardrail_policies values ('p%d', '[', 0, 0)", i);
			spoil(&f, sql);
		}
		CHECK_INT(registry_load(f.r, &origin, &f.err), n == REGISTRY_MAX_LEFT_OUT ? 0 : E_INVALID);
		if (n > REGISTRY_MAX_LEFT_OUT)
			CHECK(strstr(f.err.text, "more than 64 entries") != NULL);
		teardown(&f);
	}
}

/* --- keys --- */

static int create_key(struct fixture *f, const char *name, enum key_role role, char text[KEY_TEXT_SIZE])
{
	struct key_wish wish = {.key = {.name = slice_from(name), .role = role}};

	return registry_create_key(f->r, &wish, &who, text, &f->err);
}

static const struct snapshot_key *key_of(struct snapshot *s, const char *text)
{
	char digest[KEY_DIGEST_SIZE];

	sha256_hex(slice_from(text), digest);
	return snapshot_key(s, digest);
}

TEST(a_key_is_published_under_its_digest_until_it_is_revoked)
{
	char ops[KEY_TEXT_SIZE], app[KEY_TEXT_SIZE];
	struct snapshot *s;
	struct uuid id;
	struct fixture f;

	setup_at(&f, 0);
	CHECK_INT(create_key(&f, "app", KEY_CLIENT, app), E_CONFLICT); /* nobody could take it back */
	CHECK_INT(create_key(&f, "ops", KEY_ADMIN, ops), 0);
	CHECK_INT(create_key(&f, "app", KEY_CLIENT, app), 0);
	CHECK_INT(create_key(&f, "app", KEY_CLIENT, app), E_EXISTS);
	CHECK_INT(create_key(&f, "a b", KEY_ADMIN, app), E_INVALID);
	s = registry_snapshot(f.r);
	CHECK(s->asks_for_keys && s->n_keys == 2);
	CHECK(key_of(s, ops) && key_of(s, ops)->key.role == KEY_ADMIN);
	CHECK(key_of(s, app) && slice_eq_str(key_of(s, app)->key.name, "app"));
	CHECK(!key_of(s, "mk_"));
	snapshot_unref(s);
	CHECK_INT(registry_revoke_key(f.r, S("app"), &who, &id, &f.err), 0);
	CHECK_INT(registry_revoke_key(f.r, S("app"), &who, &id, &f.err), E_NOTFOUND);
	CHECK_INT(registry_revoke_key(f.r, S("ops"), &who, &id, &f.err), 0);
	s = registry_snapshot(f.r);
	CHECK(s->asks_for_keys && s->n_keys == 0 && !key_of(s, app) && !key_of(s, ops));
	snapshot_unref(s);
	CHECK_INT(n_events(&f), 4);
	teardown(&f);
}

/* --- every call of the database fails once --- */

static int do_everything(struct fixture *f, int step, const struct uuid *ids)
{
	struct model m = model("c", "1", "u");

	switch (step) {
	case 0:
		return registry_register(f->r, &m, &who, &f->err);
	case 1:
		return registry_set_status(f->r, &ids[1], MODEL_CURRENT, &who, NULL, &f->err);
	case 2:
		return registry_set_configuration(f->r, &ids[1], S("{\"endpoint\":\"http://other/\"}"), &who, &f->err);
	case 3:
		return registry_set_metrics(f->r, &ids[1], S("{\"x\":1}"), &who, &f->err);
	case 4:
		return registry_put_use_case(f->r, S("u"), S("{\"fallback\":[\"a@1\"]}"), &who, &f->err);
	case 5: {
		struct key_wish wish = {.key = {.name = S("ops"), .role = KEY_ADMIN}};
		char text[KEY_TEXT_SIZE];

		return registry_create_key(f->r, &wish, &who, text, &f->err);
	}
	default:
		return registry_put_policy(f->r, S("p"), S("{" RULES "}"), &who, &f->err);
	}
}

static const size_t events_of_step[] = {1, 2, 1, 1, 1, 1, 1};

/* The store as one text: all that a change may touch. */
static const char *everything(struct fixture *f)
{
	static const char sql[] =
		"select id || status || configuration || performance_metrics || updated_us from model_registry union "
		"all "
		"select name || settings || updated_us from use_cases union all "
		"select name || document from guardrail_policies union all "
		"select name || digest || revoked_us from api_keys union all select id from registry_events order by 1";
	struct db_rows rows = {0};
	struct db *db = NULL;
	struct buf out;

	buf_init_arena(&out, &f->a, (size_t)1 << 20);
	CHECK_INT(db_open(f->place.url, &db, &f->err), 0);
	CHECK_INT(db_query(db, &f->a, sql, db_args(NULL, 0), &rows, &f->err), 0);
	for (size_t i = 0; i < rows.n_rows; i++)
		CHECK_INT(buf_add(&out, db_cell(&rows, i, 0)->s), 0);
	db_close(db);
	return buf_cstr(&out);
}

TEST(a_change_happens_wholly_with_its_events_or_not_at_all_whichever_call_fails)
{
	for (int step = 0; step < (int)COUNT_OF(events_of_step); step++) {
		bool failed = true;

		for (int at = 1; failed && at < 60; at++) {
			struct uuid ids[2];
			const char *before;
			size_t n;
			struct fixture f;
			int published;

			setup_at(&f, 0);
			ids[0] = add(&f, "a", "1", "u");
			ids[1] = add(&f, "b", "1", "u");
			CHECK_INT(registry_set_status(f.r, &ids[0], MODEL_CURRENT, &who, NULL, &f.err), 0);
			close_registry(&f);
			(void)snprintf(f.url, sizeof(f.url), "fault:%d:%s", at, f.place.url);
			f.generation = 0;
			open_registry(&f, f.url);
			before = everything(&f);
			n = n_events(&f);
			published = f.n_published;
			failed = do_everything(&f, step, ids) != 0;
			if (failed) {
				CHECK_STR(everything(&f), before);
				CHECK_INT(f.n_published, published);
				CHECK_INT(do_everything(&f, step, ids), 0);
			}
			CHECK_INT(n_events(&f), n + events_of_step[step]);
			CHECK_INT(f.n_published, published + 1);
			teardown(&f);
		}
		CHECK(!failed);
	}
}

TEST(a_load_with_any_call_failing_serves_from_disk)
{
	enum registry_origin origin = REGISTRY_FROM_DISK;

	for (int at = 1; origin == REGISTRY_FROM_DISK && at < 20; at++) {
		struct uuid a;
		struct fixture f;

		setup_at(&f, 0);
		a = add(&f, "a", "1", "u");
		CHECK_INT(registry_set_status(f.r, &a, MODEL_CURRENT, &who, NULL, &f.err), 0);
		close_registry(&f);
		(void)snprintf(f.url, sizeof(f.url), "fault:%d:%s", at, f.place.url);
		f.generation = 0;
		open_registry(&f, f.url);
		CHECK_INT(registry_load(f.r, &origin, &f.err), 0);
		CHECK_STR(current(&f, "u"), "a@1");
		teardown(&f);
	}
	CHECK_INT(origin, REGISTRY_FROM_DATABASE);
}

/* --- threads --- */

struct promoter {
	struct fixture *f;
	struct uuid id;
};

static void *promote(void *arg)
{
	const struct promoter *p = arg;

	for (int i = 0; i < 25; i++) {
		struct err err = {0};
		struct snapshot *s;

		CHECK_INT(registry_set_status(p->f->r, &p->id, MODEL_CURRENT, &who, NULL, &err), 0);
		s = registry_snapshot(p->f->r);
		CHECK(snapshot_use_case(s, S("u"))->current != NULL);
		snapshot_unref(s);
	}
	return NULL;
}

TEST(threads_that_promote_against_each_other_leave_one_current_and_every_step_in_the_events)
{
	static const char *const names[] = {"a", "b", "c", "d"};
	struct promoter p[4];
	struct registry_event *list;
	struct fixture f;
	pthread_t t[4];
	size_t n, n_current = 0;

	setup(&f);
	for (size_t i = 0; i < COUNT_OF(p); i++)
		p[i] = (struct promoter){&f, add(&f, names[i], "1", "u")};
	for (size_t i = 0; i < COUNT_OF(p); i++)
		CHECK_INT(pthread_create(&t[i], NULL, promote, &p[i]), 0);
	for (size_t i = 0; i < COUNT_OF(p); i++)
		CHECK_INT(pthread_join(t[i], NULL), 0);
	CHECK(current(&f, "u")[0] != '\0');
	n = events(&f, (struct event_filter){.kind = S("model.status")}, &list);
	for (size_t i = n; i-- > 0;) { /* oldest first: each promotion follows the demotion of the one before */
		bool up = slice_find(list[i].after, S("\"status\":\"current\"")) > 0;

		n_current += up ? 1 : (size_t)-1;
		CHECK(n_current <= 1);
	}
	CHECK_INT(n_current, 1);
	teardown(&f);
}

struct borrower {
	struct store *store;
};

static void *borrow(void *arg)
{
	const struct borrower *b = arg;

	for (int i = 0; i < 50; i++) {
		struct db *db = NULL;
		struct err err = {0};

		CHECK_INT(store_acquire(b->store, &db, &err), 0);
		CHECK_INT(db_begin(db, &err), 0);
		CHECK_INT(db_exec(db, "update counts set n = n + 1", db_args(NULL, 0), NULL, &err), 0);
		if (i % 2)
			CHECK_INT(db_commit(db, &err), 0);
		store_release(b->store, db); /* what was left open is rolled back */
	}
	return NULL;
}

TEST(more_threads_than_connections_share_the_store)
{
	struct borrower b;
	struct db_rows rows;
	struct db *db = NULL;
	struct fixture f;
	pthread_t t[2 * STORE_MAX_CONNECTIONS];

	setup(&f);
	b.store = f.store;
	CHECK_INT(store_acquire(f.store, &db, &f.err), 0);
	CHECK_INT(db_script(db, "create table counts (n bigint); insert into counts values (0)", &f.err), 0);
	store_release(f.store, db);
	for (size_t i = 0; i < COUNT_OF(t); i++)
		CHECK_INT(pthread_create(&t[i], NULL, borrow, &b), 0);
	for (size_t i = 0; i < COUNT_OF(t); i++)
		CHECK_INT(pthread_join(t[i], NULL), 0);
	CHECK_INT(store_acquire(f.store, &db, &f.err), 0);
	CHECK_INT(db_query(db, &f.a, "select n from counts", db_args(NULL, 0), &rows, &f.err), 0);
	CHECK_INT(db_cell(&rows, 0, 0)->i, 25 * COUNT_OF(t));
	store_release(f.store, db);
	teardown(&f);
}

TEST(a_store_in_memory_keeps_to_its_one_connection)
{
	struct store *s = NULL;
	struct db *db = NULL;
	struct err err = {0};

	CHECK_INT(store_new("sqlite::memory:", &s, &err), 0);
	CHECK_STR(store_description(s), "sqlite::memory:");
	CHECK_INT(store_acquire(s, &db, &err), 0);
	CHECK_INT(db_script(db, "create table x (v bigint)", &err), 0);
	store_release(s, db);
	CHECK_INT(store_acquire(s, &db, &err), 0);
	CHECK_INT(db_exec(db, "insert into x values (1)", db_args(NULL, 0), NULL, &err), 0);
	store_release(s, db);
	store_release(s, NULL);
	store_free(s);
	store_free(NULL);
	CHECK_INT(store_new("nothing", &s, &err), E_INVALID);
}
