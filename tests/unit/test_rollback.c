/* SPDX-License-Identifier: Apache-2.0 */
/* Rollbacks: where they go, that they serve without the database, and that each is recorded once whatever fails. */
#include "control/registry/rollback.h"

#include <pthread.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "store_fixture.h"

#define S(x) SLICE_LIT(x)

struct fixture {
	struct place place;
	struct store *store;
	struct registry *r;
	struct arena a;
	struct err err;
	struct rollback_result result;
	char snapshot[96], pending[128];
};

static const struct registry_who who = {{"ops", 3}, {"it was bad", 10}};

static void open_at(struct fixture *f, const char *url)
{
	enum registry_origin origin;

	f->err = (struct err){0};
	CHECK_INT(store_new(url, &f->store, &f->err), 0);
	CHECK_INT(registry_new(f->store, NULL, f->snapshot, &f->r, &f->err), 0);
	CHECK_INT(registry_load(f->r, &origin, &f->err), 0);
}

static void close_registry(struct fixture *f)
{
	registry_free(f->r);
	store_free(f->store);
}

static void setup(struct fixture *f)
{
	*f = (struct fixture){.r = NULL};
	place_make(&f->place);
	(void)snprintf(f->snapshot, sizeof(f->snapshot), "%s/snapshot.json", f->place.dir);
	(void)snprintf(f->pending, sizeof(f->pending), "%s.rollbacks", f->snapshot);
	arena_init(&f->a, 16384, (size_t)64 << 20);
	db_close(place_open(f->place.url));
	open_at(f, f->place.url);
}

static void teardown(struct fixture *f)
{
	close_registry(f);
	arena_release(&f->a);
	place_remove(&f->place);
}

static struct uuid add(struct fixture *f, const char *name, enum model_status status)
{
	struct model m = {.name = slice_from(name),
			  .version = S("1"),
			  .use_case = S("u_layer"),
			  .provider = S("ollama"),
			  .configuration = S("{\"endpoint\":\"http://127.0.0.1:1/generate\"}")};

	CHECK_INT(registry_register(f->r, &m, &who, &f->err), 0);
	CHECK_INT(registry_set_status(f->r, &m.id, status, &who, NULL, &f->err), 0);
	return m.id;
}

static const char *current(struct fixture *f)
{
	static char name[128];
	struct snapshot *s = registry_snapshot(f->r);
	const struct snapshot_use_case *u = s ? snapshot_use_case(s, S("u")) : NULL;

	name[0] = '\0';
	if (u && u->current)
		(void)snprintf(name, sizeof(name), SLICE_FMT, SLICE_ARG(u->current->full_name));
	snapshot_unref(s);
	return name;
}

static int back(struct fixture *f, const char *to)
{
	const struct rollback what = {.use_case = S("u"), .to = slice_from(to)};

	f->err = (struct err){0};
	return registry_rollback(f->r, &f->a, &what, &who, &f->result, &f->err);
}

/* Rows of a query on the database itself. */
static size_t count(struct fixture *f, const char *sql)
{
	struct db *db = NULL;
	struct db_rows rows = {0};

	CHECK_INT(db_open(f->place.url, &db, &f->err), 0);
	CHECK_INT(db_query(db, &f->a, sql, db_args(NULL, 0), &rows, &f->err), 0);
	db_close(db);
	return rows.n_rows;
}

#define RECORDED "select id from registry_events where kind = 'use_case.rollback'"

TEST(without_a_target_it_goes_to_the_one_before_and_on_and_never_forth)
{
	struct fixture f;

	setup(&f);
	add(&f, "a", MODEL_CURRENT);
	add(&f, "b", MODEL_CURRENT);
	add(&f, "c", MODEL_CURRENT);
	CHECK_STR(current(&f), "c@1");
	CHECK_INT(back(&f, NULL), 0);
	CHECK_STR(current(&f), "b@1");
	CHECK(f.result.recorded && slice_eq_str(f.result.from, "c@1") && slice_eq_str(f.result.to, "b@1"));
	CHECK(slice_eq_str(f.result.use_case, "u_layer"));
	CHECK_INT(back(&f, NULL), 0);
	CHECK_STR(current(&f), "a@1");
	CHECK_INT(back(&f, NULL), E_NOTFOUND);
	CHECK(strstr(f.err.text, "u_layer"));
	CHECK_STR(current(&f), "a@1");
	CHECK_INT(count(&f, RECORDED), 2);
	CHECK_INT(count(&f, "select id from model_snapshots"), 2);
	CHECK_INT(count(&f, "select id from model_registry where status = 'candidate'"), 2);
	CHECK(access(f.pending, F_OK) != 0);
	teardown(&f);
}

static const struct {
	const char *to;
	int rc;
	const char *current;
} targets[] = {
	{"first@1", 0, "first@1"},	  {"fir", E_NOTFOUND, "third@1"},  {"first", 0, "first@1"},
	{"third", E_CONFLICT, "third@1"}, {"gone", E_NOTFOUND, "third@1"}, {"archived@1", E_NOTFOUND, "third@1"},
	{"second@1", 0, "second@1"},
};

TEST(a_target_is_a_model_that_may_serve)
{
	for (size_t i = 0; i < COUNT_OF(targets); i++) {
		struct fixture f;

		setup(&f);
		add(&f, "archived", MODEL_ARCHIVED);
		add(&f, "first", MODEL_CURRENT);
		add(&f, "second", MODEL_CANDIDATE);
		add(&f, "third", MODEL_CURRENT);
		CHECK_INT(back(&f, targets[i].to), targets[i].rc);
		CHECK_STR(current(&f), targets[i].current);
		teardown(&f);
	}
}

TEST(an_id_or_its_beginning_is_a_target_unless_it_means_several)
{
	char id[UUID_STR_SIZE];
	struct uuid a;
	struct fixture f;

	setup(&f);
	a = add(&f, "a", MODEL_CURRENT);
	add(&f, "b", MODEL_CURRENT);
	uuid_format(&a, id);
	id[6] = 0;
	CHECK_INT(back(&f, id), E_CONFLICT); /* both began in the same minutes */
	CHECK_INT(back(&f, uuid_format(&a, id)), 0);
	CHECK_STR(current(&f), "a@1");
	teardown(&f);
}

TEST(without_the_database_it_serves_at_once_and_is_recorded_later_once)
{
	CLEANUP(buf_release) struct buf kept;
	struct fixture f;

	setup(&f);
	add(&f, "a", MODEL_CURRENT);
	add(&f, "b", MODEL_CURRENT);
	close_registry(&f);
	open_at(&f, "sqlite:/proc/no/such/place");
	CHECK_STR(current(&f), "b@1");
	CHECK_INT(back(&f, NULL), 0);
	CHECK_STR(current(&f), "a@1");
	CHECK(!f.result.recorded && f.result.why_not[0]);
	CHECK_INT(back(&f, NULL), E_NOTFOUND); /* the same rule as with a database */
	CHECK_INT(access(f.pending, F_OK), 0);
	buf_init(&kept, 1 << 20);
	CHECK_INT(file_read(f.pending, &kept, 0, &f.err), 0);
	close_registry(&f);
	open_at(&f, "sqlite:/proc/no/such/place"); /* another start without it */
	CHECK_STR(current(&f), "a@1");
	close_registry(&f);
	CHECK_INT(count(&f, RECORDED), 0);
	open_at(&f, f.place.url);
	CHECK_STR(current(&f), "a@1");
	CHECK_INT(count(&f, RECORDED), 1);
	CHECK(access(f.pending, F_OK) != 0);
	close_registry(&f);
	CHECK_INT(file_replace(f.pending, buf_slice(&kept), &f.err), 0); /* a crash before the file went */
	open_at(&f, f.place.url);
	CHECK_INT(count(&f, RECORDED), 1);
	CHECK_INT(count(&f, "select id from registry_events where actor = 'ops' and reason = 'it was bad' and kind = "
			    "'use_case.rollback'"),
		  1);
	CHECK_STR(current(&f), "a@1");
	teardown(&f);
}

TEST(whichever_call_of_the_database_fails_it_serves_and_is_recorded_in_the_end)
{
	for (int n = 1; n < 60; n++) {
		char url[200];
		struct fixture f;
		int rc;

		setup(&f);
		add(&f, "a", MODEL_CURRENT);
		add(&f, "b", MODEL_CURRENT);
		close_registry(&f);
		(void)snprintf(url, sizeof(url), "fault:%d:%s", n, f.place.url);
		open_at(&f, url);
		rc = back(&f, NULL);
		CHECK_INT(rc, 0);
		CHECK_STR(current(&f), "a@1");
		CHECK_INT(count(&f, RECORDED), f.result.recorded ? 1 : 0);
		CHECK_INT(registry_refresh(f.r, &f.err) && registry_refresh(f.r, &f.err), 0);
		CHECK_INT(count(&f, RECORDED), 1);
		CHECK_STR(current(&f), "a@1");
		teardown(&f);
	}
}

TEST(what_the_database_has_for_itself_wins_over_a_rollback_that_it_refuses)
{
	struct uuid a, b;
	struct db *db = NULL;
	struct fixture f;

	setup(&f);
	a = add(&f, "a", MODEL_CURRENT);
	b = add(&f, "b", MODEL_CURRENT);
	close_registry(&f);
	open_at(&f, "sqlite:/proc/no/such/place");
	CHECK_INT(back(&f, NULL), 0);
	close_registry(&f);
	CHECK_INT(db_open(f.place.url, &db, &f.err), 0);
	CHECK_INT(db_exec(db, "delete from model_registry where model_name = 'a'", db_args(NULL, 0), NULL, &f.err), 0);
	db_close(db);
	open_at(&f, f.place.url);
	CHECK_STR(current(&f), "b@1");
	CHECK_INT(count(&f, RECORDED), 0);
	CHECK(access(f.pending, F_OK) != 0);
	(void)a;
	(void)b;
	teardown(&f);
}

TEST(a_snapshot_brings_back_model_configuration_and_settings)
{
	struct rollback to = {.use_case = S("u_layer")};
	struct uuid a, checkpoint;
	struct snapshot *s;
	struct fixture f;

	setup(&f);
	CHECK_INT(registry_put_use_case(f.r, S("u_layer"), S("{\"log\":\"metadata\"}"), &who, &f.err), 0);
	a = add(&f, "a", MODEL_CURRENT);
	add(&f, "b", MODEL_CANDIDATE);
	CHECK_INT(back(&f, "b"), 0);
	checkpoint = f.result.checkpoint_id;
	CHECK_INT(
		registry_set_configuration(f.r, &a, S("{\"endpoint\":\"http://127.0.0.1:2/generate\"}"), &who, &f.err),
		0);
	CHECK_INT(registry_put_use_case(f.r, S("u_layer"), S("{\"log\":\"none\"}"), &who, &f.err), 0);
	to.checkpoint = &checkpoint;
	CHECK_INT(registry_rollback(f.r, &f.a, &to, &who, &f.result, &f.err), 0);
	CHECK(f.result.recorded && slice_eq_str(f.result.from, "b@1") && slice_eq_str(f.result.to, "a@1"));
	CHECK_STR(current(&f), "a@1");
	s = registry_snapshot(f.r);
	CHECK(slice_eq_str(snapshot_use_case(s, S("u"))->current->config.endpoint, "http://127.0.0.1:1/generate"));
	CHECK_INT(snapshot_use_case(s, S("u"))->settings.log, LOG_METADATA);
	snapshot_unref(s);
	to.use_case = S("other");
	CHECK_INT(registry_rollback(f.r, &f.a, &to, &who, &f.result, &f.err), E_CONFLICT);
	checkpoint = uuid_v7_now();
	CHECK_INT(registry_rollback(f.r, &f.a, &to, &who, &f.result, &f.err), E_NOTFOUND);
	teardown(&f);
}

static struct slice policy_of(struct fixture *f, const char *use_case)
{
	struct snapshot *s = registry_snapshot(f->r);
	const struct snapshot_use_case *u = snapshot_use_case(s, slice_from(use_case));
	struct slice name = arena_slice(&f->a, u && u->policy ? u->policy->policy.name : S(""));

	snapshot_unref(s);
	return name;
}

/* Others go on with what the shared policy says now. */
TEST(a_snapshot_brings_its_policy_back_for_its_use_case_alone)
{
	static const char *const strict =
		"{\"rules\":[{\"id\":\"r\",\"kind\":\"literal\",\"values\":[\"x\"],\"action\":\"block\"}]}";
	struct rollback to = {.use_case = S("u_layer")};
	struct uuid checkpoint;
	struct fixture f;
	struct slice own;

	setup(&f);
	CHECK_INT(registry_put_policy(f.r, S("shared"), slice_from(strict), &who, &f.err), 0);
	CHECK_INT(registry_put_use_case(f.r, S("u_layer"), S("{\"policy\":\"shared\"}"), &who, &f.err), 0);
	CHECK_INT(registry_put_use_case(f.r, S("other"), S("{\"policy\":\"shared\"}"), &who, &f.err), 0);
	add(&f, "a", MODEL_CURRENT);
	add(&f, "b", MODEL_CANDIDATE);
	CHECK_INT(back(&f, "b"), 0);
	checkpoint = f.result.checkpoint_id;
	to.checkpoint = &checkpoint;
	CHECK_INT(registry_rollback(f.r, &f.a, &to, &who, &f.result, &f.err), 0);
	CHECK(!f.result.policy.n); /* it says the same still */
	CHECK(slice_eq_str(policy_of(&f, "u_layer"), "shared"));
	CHECK_INT(registry_put_policy(f.r, S("shared"), S("{\"rules\":[]}"), &who, &f.err), 0);
	CHECK_INT(back(&f, "b"), 0);
	CHECK_INT(registry_rollback(f.r, &f.a, &to, &who, &f.result, &f.err), 0);
	own = policy_of(&f, "u_layer");
	CHECK(slice_starts(own, S("shared-")) && own.n == 15 && slice_eq(own, f.result.policy));
	CHECK(slice_eq_str(policy_of(&f, "other"), "shared"));
	CHECK_INT(count(&f, "select id from registry_events where kind = 'policy.saved'"), 3);
	CHECK_INT(back(&f, "b"), 0);
	CHECK_INT(registry_rollback(f.r, &f.a, &to, &who, &f.result, &f.err), 0); /* again: the same one */
	CHECK(slice_eq(policy_of(&f, "u_layer"), own));
	CHECK_INT(count(&f, "select id from registry_events where kind = 'policy.saved'"), 3);
	teardown(&f);
}

/* --- several at once --- */

struct worker {
	struct fixture *f;
	int which;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct registry_who me = {S("worker"), S("")};

	for (int i = 0; i < 25; i++) {
		const struct rollback what = {.use_case = S("u"), .to = w->which % 2 ? S("a@1") : S("b@1")};
		struct rollback_result result;
		struct err err = {0};
		struct arena a;

		arena_init(&a, 4096, 1 << 20);
		if (w->which < 2)
			(void)registry_rollback(w->f->r, &a, &what, &me, &result, &err); /* it may be so already */
		else if (w->which == 2)
			(void)registry_put_use_case(w->f->r, S("u_layer"),
						    i % 2 ? S("{\"log\":\"full\"}") : S("{\"log\":\"none\"}"), &me,
						    &err);
		else
			(void)registry_refresh(w->f->r, &err);
		arena_release(&a);
	}
	return NULL;
}

TEST(rollbacks_changes_and_refreshes_at_once_end_in_what_the_database_has)
{
	struct worker workers[4];
	pthread_t threads[4];
	struct fixture f;
	char served[128];

	setup(&f);
	add(&f, "a", MODEL_CURRENT);
	add(&f, "b", MODEL_CURRENT);
	for (int i = 0; i < 4; i++) {
		workers[i] = (struct worker){&f, i};
		CHECK_INT(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	(void)snprintf(served, sizeof(served), "%s", current(&f));
	CHECK_INT(registry_refresh(f.r, &f.err), 0);
	CHECK_STR(current(&f), served);
	CHECK_INT(count(&f, "select id from model_registry where status = 'current'"), 1);
	CHECK(access(f.pending, F_OK) != 0);
	teardown(&f);
}
