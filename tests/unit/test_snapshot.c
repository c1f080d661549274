/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: chains, names, the ready answer, what is refused, references on several threads, and the way to disk and
 * back. */
#include "serving/snapshot/snapshot.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t.h"

#define S(x) SLICE_LIT(x)

static struct model model(const char *name, const char *version, const char *use_case, enum model_status status)
{
	static uint8_t n;
	struct model m = {.name = slice_from(name),
			  .version = slice_from(version),
			  .use_case = slice_from(use_case),
			  .model_type = S("self_hosted"),
			  .provider = S("ollama"),
			  .configuration =
				  S("{\"endpoint\":\"http://127.0.0.1:1/generate\",\"timeouts\":{\"total_ms\":7}}"),
			  .metrics = S("{}"),
			  .status = status};

	n++;
	m.id.b[0] = 1;
	m.id.b[15] = n;
	m.created_us = m.updated_us = m.status_since_us = 1763873420000000 + n;
	return m;
}

static struct slice rule_values[] = {S("bomb"), S("poison")};
static struct policy_rule rules[] = {{.id = S("weapons"),
				      .category = S("harm"),
				      .kind = GUARD_LITERAL,
				      .action = GUARD_BLOCK,
				      .severity = GUARD_HIGH,
				      .side = GUARD_BOTH,
				      .values = rule_values,
				      .n_values = 2}};
static const struct policy policies[] = {
	{.name = S("default"), .description = S("the usual"), .rules = rules, .n_rules = 1, .block_on_error = true},
	{.name = S("strict"), .rules = rules, .n_rules = 1},
};

struct fixture {
	struct model models[8];
	struct use_case use_cases[4];
	struct snapshot_source src;
	struct snapshot *s;
	struct err err;
};

/* u1: a@1 current, a@2 testing, b@1 deprecated, x@1 archived.  u2: a@1 candidate.  u3: settings alone. */
static void setup(struct fixture *f)
{
	*f = (struct fixture){.s = NULL};
	f->models[0] = model("a", "1", "u1_layer", MODEL_CURRENT);
	f->models[1] = model("a", "2", "u1_layer", MODEL_TESTING);
	f->models[2] = model("b", "1", "u1_layer", MODEL_DEPRECATED);
	f->models[3] = model("x", "1", "u1_layer", MODEL_ARCHIVED);
	f->models[4] = model("a", "1", "u2_layer", MODEL_CANDIDATE);
	f->use_cases[0] = (struct use_case){.name = S("u1_layer"),
					    .fallback = {S("b@1"), S("x@1"), S("a@1"), S("a@2")},
					    .n_fallback = 4,
					    .policy = S("strict"),
					    .fallback_content = S("later"),
					    .log = LOG_METADATA,
					    .total_timeout_ms = 5};
	f->use_cases[1] = (struct use_case){.name = S("u3_layer"), .policy = S("none")};
	f->src = (struct snapshot_source){f->models, 5, f->use_cases, 2, policies, COUNT_OF(policies)};
}

static int build(struct fixture *f)
{
	f->err = (struct err){0};
	return snapshot_build(&f->src, NULL, NULL, &f->s, &f->err);
}

static void check_contents(const struct snapshot *s)
{
	const struct snapshot_use_case *u = snapshot_use_case(s, S("u1_layer"));

	CHECK_INT(s->n_models, 4);
	CHECK_INT(s->n_use_cases, 3);
	CHECK(u && u->current);
	if (!u || !u->current)
		return;
	CHECK(slice_eq_str(u->current->full_name, "a@1"));
	CHECK_INT(u->current->config.total_timeout_ms, 7);
	CHECK_INT(u->n_chain, 3);
	CHECK(u->chain[0] == u->current);
	CHECK(slice_eq_str(u->chain[1]->full_name, "b@1"));
	CHECK(slice_eq_str(u->chain[2]->full_name, "a@2"));
	CHECK(u->policy && slice_eq_str(u->policy->policy.name, "strict"));
	CHECK(slice_eq_str(u->policy->policy.rules[0].values[1], "poison"));
	CHECK(slice_eq_str(u->settings.fallback_content, "later"));
	CHECK_INT(u->settings.log, LOG_METADATA);
	CHECK(slice_starts(u->current_json, S("{\"model_id\":\"01000000-")));
	CHECK(slice_find(u->current_json, S("\"status\":\"current\"")) > 0);
}

TEST(a_chain_is_the_current_model_then_the_fallbacks_that_may_serve_each_once)
{
	struct fixture f;

	setup(&f);
	CHECK_INT(build(&f), 0);
	check_contents(f.s);
	snapshot_unref(f.s);
}

TEST(a_use_case_without_current_model_still_has_its_fallbacks)
{
	const struct snapshot_use_case *u;
	struct fixture f;

	setup(&f);
	f.models[0].status = MODEL_ARCHIVED;
	CHECK_INT(build(&f), 0);
	u = snapshot_use_case(f.s, S("u1_layer"));
	CHECK(u && !u->current && !u->current_json.p);
	CHECK(u && u->n_chain == 3 && slice_eq_str(u->chain[0]->full_name, "b@1"));
	/* a@1 of this use case is archived: the one of another serves */
	CHECK(u && slice_eq_str(u->chain[1]->model.use_case, "u2_layer"));
	snapshot_unref(f.s);
}

TEST(layers_find_their_use_case)
{
	struct fixture f;

	setup(&f);
	CHECK_INT(build(&f), 0);
	CHECK(snapshot_use_case(f.s, S("u1")) == snapshot_use_case(f.s, S("u1_layer")));
	CHECK(snapshot_use_case(f.s, S("u2")) != NULL);
	CHECK(!snapshot_use_case(f.s, S("u4")));
	CHECK(!snapshot_use_case(f.s, S("")));
	CHECK(!snapshot_use_case(f.s, S("u1_layer\0")));
	snapshot_unref(f.s);
}

TEST(a_name_means_the_model_that_serves)
{
	const struct snapshot_model *m;
	struct fixture f;

	setup(&f);
	CHECK_INT(build(&f), 0);
	m = snapshot_model(f.s, S("a"));
	CHECK(m && m->model.status == MODEL_CURRENT);
	m = snapshot_model(f.s, S("a@1"));
	CHECK(m && slice_eq_str(m->model.use_case, "u1_layer"));
	m = snapshot_model(f.s, S("a@2"));
	CHECK(m && m->model.status == MODEL_TESTING);
	CHECK(!snapshot_model(f.s, S("x@1")));
	CHECK(!snapshot_model(f.s, S("a@3")));
	CHECK(!snapshot_model(f.s, S("")));
	snapshot_unref(f.s);
}

TEST(among_equals_the_newest_is_meant)
{
	struct fixture f;

	setup(&f);
	f.models[0].status = f.models[1].status = MODEL_DEPRECATED;
	f.src.n_models = 2;
	CHECK_INT(build(&f), 0);
	CHECK(slice_eq_str(snapshot_model(f.s, S("a"))->full_name, "a@2"));
	snapshot_unref(f.s);
}

TEST(ids_find_models_in_either_case)
{
	const struct snapshot_model *m;
	char upper[UUID_STR_SIZE];
	struct fixture f;

	setup(&f);
	f.models[1].id.b[3] = 0xab;
	CHECK_INT(build(&f), 0);
	m = snapshot_model(f.s, S("a@2"));
	for (size_t i = 0; i < m->id_text.n; i++)
		upper[i] = (char)(m->id_text.p[i] >= 'a' ? m->id_text.p[i] - 32 : m->id_text.p[i]);
	CHECK(snapshot_model(f.s, m->id_text) == m);
	CHECK(snapshot_model(f.s, (struct slice){upper, m->id_text.n}) == m);
	CHECK(!snapshot_model(f.s, S("01000000-0000-0000-0000-0000000000ff")));
	snapshot_unref(f.s);
}

static const struct {
	const char *said, *meant; /* NULL: nothing close */
} nearest_cases[] = {
	{"u1_laier", "u1_layer"}, {"a@9", "a@1"}, {"completely_else", NULL}, {"", NULL}, {"zz", NULL},
};

TEST(a_mistyped_name_has_a_nearest_one)
{
	struct fixture f;

	setup(&f);
	CHECK_INT(build(&f), 0);
	for (size_t i = 0; i < COUNT_OF(nearest_cases); i++) {
		struct slice n = snapshot_nearest(f.s, slice_from(nearest_cases[i].said));

		CHECK_INT(n.p != NULL, nearest_cases[i].meant != NULL);
		CHECK(!nearest_cases[i].meant || slice_eq_str(n, nearest_cases[i].meant));
	}
	snapshot_unref(f.s);
}

TEST(policies_are_the_named_one_the_default_or_none)
{
	struct fixture f;

	setup(&f);
	CHECK_INT(build(&f), 0);
	CHECK(slice_eq_str(snapshot_use_case(f.s, S("u2"))->policy->policy.name, "default"));
	CHECK(!snapshot_use_case(f.s, S("u3"))->policy);
	snapshot_unref(f.s);
}

TEST(nothing_at_all_is_a_snapshot_too)
{
	const struct snapshot_source none = {0};
	struct snapshot *s = NULL;

	CHECK_INT(snapshot_build(&none, NULL, NULL, &s, NULL), 0);
	CHECK(!snapshot_use_case(s, S("u1")) && !snapshot_model(s, S("a")) && !snapshot_nearest(s, S("a")).p);
	snapshot_unref(s);
	snapshot_unref(NULL);
}

static void two_currents(struct fixture *f)
{
	f->models[1].status = MODEL_CURRENT;
}

static void unknown_policy(struct fixture *f)
{
	f->use_cases[1].policy = S("nowhere");
}

static void bad_json(struct fixture *f)
{
	f->models[2].configuration = S("{");
}

static void stored_secret(struct fixture *f)
{
	f->models[2].configuration = S("{\"api_key\":\"sk\"}");
}

static void same_use_case_twice(struct fixture *f)
{
	f->use_cases[1].name = S("u1_layer");
}

static const struct {
	void (*spoil)(struct fixture *f);
	const char *says;
} refused_cases[] = {
	{two_currents, "two current models"}, {unknown_policy, "u3_layer names guardrail policy 'nowhere'"},
	{bad_json, "b@1 of u1_layer"},	      {stored_secret, "api_key_env"},
	{same_use_case_twice, "twice"},
};

TEST(rows_that_do_not_hold_together_are_named)
{
	for (size_t i = 0; i < COUNT_OF(refused_cases); i++) {
		struct fixture f;

		setup(&f);
		refused_cases[i].spoil(&f);
		CHECK_INT(build(&f), E_INVALID);
		CHECK(strstr(f.err.text, refused_cases[i].says));
		CHECK(!f.s);
	}
}

static unsigned ten_more(struct slice use_case, void *arg)
{
	(void)arg;
	return 10 + (unsigned)use_case.p[1];
}

TEST(slots_are_what_the_owner_says)
{
	struct fixture f;

	setup(&f);
	CHECK_INT(snapshot_build(&f.src, ten_more, NULL, &f.s, NULL), 0);
	CHECK_INT(snapshot_use_case(f.s, S("u2"))->slot, 10 + '2');
	snapshot_unref(f.s);
}

static unsigned n_freed;

static void count_freed(struct snapshot *s)
{
	(void)s;
	n_freed++;
}

static void *use(void *arg)
{
	struct snapshot *s = arg;

	for (int i = 0; i < 2000; i++) {
		struct snapshot *mine = snapshot_ref(s);

		CHECK(snapshot_model(mine, S("a")) != NULL);
		snapshot_unref(mine);
	}
	snapshot_unref(s);
	return NULL;
}

TEST(the_last_of_several_threads_frees_it_once)
{
	pthread_t t[4];
	struct fixture f;

	setup(&f);
	n_freed = 0;
	CHECK_INT(build(&f), 0);
	f.s->free_prepared = count_freed;
	for (size_t i = 0; i < COUNT_OF(t); i++)
		CHECK_INT(pthread_create(&t[i], NULL, use, snapshot_ref(f.s)), 0);
	snapshot_unref(f.s);
	for (size_t i = 0; i < COUNT_OF(t); i++)
		CHECK_INT(pthread_join(t[i], NULL), 0);
	CHECK_INT(n_freed, 1);
}

/* --- on disk --- */

struct disk {
	char dir[32], path[64];
};

static void disk_setup(struct disk *d)
{
	(void)snprintf(d->dir, sizeof(d->dir), "/tmp/test_snapshot.XXXXXX");
	CHECK(mkdtemp(d->dir) != NULL);
	(void)snprintf(d->path, sizeof(d->path), "%s/snapshot.json", d->dir);
}

static void disk_teardown(struct disk *d)
{
	(void)unlink(d->path);
	CHECK_INT(rmdir(d->dir), 0); /* nothing else was left behind */
}

static size_t read_all(const char *path, char *to, size_t size)
{
	FILE *file = fopen(path, "r");
	size_t n = file ? fread(to, 1, size, file) : 0;

	CHECK(file != NULL);
	if (file)
		CHECK_INT(fclose(file), 0);
	return n;
}

static void write_all(const char *path, const char *from, size_t n)
{
	FILE *file = fopen(path, "w");

	CHECK(file != NULL);
	if (!file)
		return;
	CHECK_INT(fwrite(from, 1, n, file), n);
	CHECK_INT(fclose(file), 0);
}

TEST(what_was_saved_loads_as_it_was_built)
{
	struct snapshot *back = NULL;
	struct stat st;
	struct disk d;
	struct fixture f;

	setup(&f);
	disk_setup(&d);
	CHECK_INT(build(&f), 0);
	f.s->built_us = 1763873420123456;
	CHECK_INT(snapshot_save(f.s, d.path, &f.err), 0);
	CHECK_INT(snapshot_save(f.s, d.path, &f.err), 0); /* over the old one */
	CHECK(!stat(d.path, &st) && (st.st_mode & 0777) == 0600);
	CHECK_INT(snapshot_load(d.path, NULL, NULL, &back, &f.err), 0);
	CHECK_STR(f.err.text, "");
	if (back) {
		check_contents(back);
		CHECK_INT(back->built_us, f.s->built_us);
		CHECK(slice_eq(snapshot_use_case(back, S("u1"))->current_json,
			       snapshot_use_case(f.s, S("u1"))->current_json));
	}
	snapshot_unref(back);
	snapshot_unref(f.s);
	disk_teardown(&d);
}

TEST(keys_are_saved_by_digest_and_load_as_they_were)
{
	static const struct slice use_cases[] = {S("u1"), S("u2")};
	struct key keys[] = {{.name = S("ops"), .role = KEY_ADMIN, .created_us = 1763873420123456},
			     {.name = S("app"),
			      .role = KEY_CLIENT,
			      .use_cases = use_cases,
			      .n_use_cases = 2,
			      .requests_per_minute = 60,
			      .tokens_per_minute = 1000,
			      .expires_us = 1763873420123457},
			     {.name = S("gone"), .role = KEY_ADMIN, .revoked_us = 1}};
	struct snapshot_source src = {.keys = keys, .n_keys = COUNT_OF(keys)};
	struct snapshot *s = NULL, *back = NULL;
	const struct snapshot_key *k;
	struct err err = {0};
	struct disk d;

	for (size_t i = 0; i < COUNT_OF(keys); i++)
		memset(keys[i].digest, 'a' + (int)i, KEY_DIGEST_SIZE - 1);
	disk_setup(&d);
	CHECK_INT(snapshot_build(&src, NULL, NULL, &s, &err), 0);
	CHECK(s->asks_for_keys && s->n_keys == 2 && !snapshot_key(s, keys[2].digest));
	CHECK_INT(snapshot_save(s, d.path, &err), 0);
	CHECK_INT(snapshot_load(d.path, NULL, NULL, &back, &err), 0);
	k = snapshot_key(back, keys[1].digest);
	CHECK(back->asks_for_keys && back->n_keys == 2 && k != NULL);
	if (k) {
		CHECK(slice_eq_str(k->key.name, "app") && k->key.role == KEY_CLIENT && !k->key.revoked_us);
		CHECK(k->key.requests_per_minute == 60 && k->key.tokens_per_minute == 1000);
		CHECK_INT(k->key.expires_us, keys[1].expires_us);
		CHECK(key_allows(&k->key, S("u2")) && !key_allows(&k->key, S("u3")));
		CHECK(key_allows(&snapshot_key(back, keys[0].digest)->key, S("u3")));
	}
	snapshot_unref(s);
	snapshot_unref(back);
	src = (struct snapshot_source){.asks_for_keys = true}; /* all are revoked: it stays closed */
	CHECK_INT(snapshot_build(&src, NULL, NULL, &s, &err), 0);
	CHECK_INT(snapshot_save(s, d.path, &err), 0);
	CHECK_INT(snapshot_load(d.path, NULL, NULL, &back, &err), 0);
	CHECK(back->asks_for_keys && back->n_keys == 0);
	snapshot_unref(s);
	snapshot_unref(back);
	disk_teardown(&d);
}

TEST(a_snapshot_that_is_not_there_is_not_found)
{
	struct snapshot *s = NULL;

	CHECK_INT(snapshot_load("/tmp/no/such/snapshot", NULL, NULL, &s, NULL), E_NOTFOUND);
}

TEST(a_file_with_any_byte_changed_or_cut_is_corrupt)
{
	static char whole[65536], spoilt[65536];
	struct disk d;
	struct fixture f;
	size_t n;

	setup(&f);
	disk_setup(&d);
	CHECK_INT(build(&f), 0);
	CHECK_INT(snapshot_save(f.s, d.path, &f.err), 0);
	snapshot_unref(f.s);
	n = read_all(d.path, whole, sizeof(whole));
	CHECK(n > 500 && n < sizeof(whole));
	for (size_t at = 0; at + 1 < n; at += 7) {
		struct snapshot *s = NULL;
		struct err err = {0};

		memcpy(spoilt, whole, n);
		spoilt[at] ^= 1;
		write_all(d.path, spoilt, n);
		CHECK_INT(snapshot_load(d.path, NULL, NULL, &s, &err), E_CORRUPT);
		CHECK(strstr(err.text, d.path));
		write_all(d.path, whole, at);
		CHECK_INT(snapshot_load(d.path, NULL, NULL, &s, NULL), E_CORRUPT);
	}
	disk_teardown(&d);
}

TEST(a_snapshot_that_cannot_be_written_says_so_and_leaves_the_old_one)
{
	struct disk d;
	struct fixture f;

	setup(&f);
	disk_setup(&d);
	CHECK_INT(build(&f), 0);
	CHECK_INT(snapshot_save(f.s, "/tmp/no/such/directory/snapshot", &f.err), E_IO);
	CHECK(strstr(f.err.text, "/tmp/no/such/directory/snapshot"));
	CHECK_INT(mkdir(d.path, 0700), 0); /* a directory stands where the file should */
	CHECK_INT(snapshot_save(f.s, d.path, &f.err), E_IO);
	CHECK_INT(rmdir(d.path), 0);
	snapshot_unref(f.s);
	disk_teardown(&d);
}
