/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two registries on one database, as two daemons have them: what one changes the other finds by asking how many changes
 * there were, and the thread that asks.
 */
#include <pthread.h>

#include "control/registry/listener.h"
#include "control/store/replicas.h"
#include "pg_cluster.h"
#include "store_fixture.h"

#define S(x) SLICE_LIT(x)
#define LIMIT_S 20

static const struct registry_who who = {{"ops", 3}, {"", 0}};

struct side {
	struct store *store;
	struct registry *r;
	pthread_mutex_t lock; /* guards: */
	int n_published;
	size_t n_models;
	pthread_cond_t published;
};

struct fixture {
	struct place place;
	char url[256];
	struct side one, two;
	struct err err;
};

static void on_publish(struct snapshot *s, void *arg)
{
	struct side *side = arg;

	pthread_mutex_lock(&side->lock);
	side->n_published++;
	side->n_models = s->n_models;
	pthread_cond_signal(&side->published);
	pthread_mutex_unlock(&side->lock);
}

static void open_side(struct side *s, const char *url)
{
	const struct registry_hooks hooks = {.publish = on_publish, .arg = s};
	enum registry_origin origin;

	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->published, NULL);
	CHECK_INT(store_new(url, &s->store, NULL), 0);
	store_migrate_first(s->store);
	CHECK_INT(registry_new(s->store, &hooks, NULL, &s->r, NULL), 0);
	CHECK_INT(registry_load(s->r, &origin, NULL), 0);
	CHECK_INT(origin, REGISTRY_FROM_DATABASE);
	CHECK_INT(s->n_published, 1);
}

static void close_side(struct side *s)
{
	registry_free(s->r);
	store_free(s->store);
	pthread_cond_destroy(&s->published);
	pthread_mutex_destroy(&s->lock);
}

static bool setup(struct fixture *f, const char *format)
{
	*f = (struct fixture){.err = {0}};
	place_make(&f->place);
	if (!backend_url(format, f->place.file, f->url, sizeof(f->url))) {
		place_remove(&f->place);
		return false;
	}
	open_side(&f->one, f->url);
	open_side(&f->two, f->url);
	return true;
}

static void teardown(struct fixture *f)
{
	close_side(&f->one);
	close_side(&f->two);
	place_remove(&f->place);
}

static void add(struct side *s, const char *name)
{
	struct model m = {.name = slice_from(name),
			  .version = S("1"),
			  .use_case = S("u"),
			  .provider = S("ollama"),
			  .configuration = S("{\"endpoint\":\"http://127.0.0.1:1/generate\"}")};

	CHECK_INT(registry_register(s->r, &m, &who, NULL), 0);
}

static const char *const backends[] = {"sqlite:%s", "postgres://muster@%P/postgres",
				       "postgres://muster@%P/postgres?listen=off", "postgres://muster@%B/postgres"};

TEST(only_what_another_changed_is_published_again)
{
	for (size_t i = 0; i < COUNT_OF(backends); i++) {
		struct db *db = NULL;
		struct fixture f;

		if (!setup(&f, backends[i]))
			continue;
		CHECK_INT(store_acquire(f.two.store, &db, NULL), 0);
		CHECK_INT(registry_catch_up(f.two.r, db, &f.err), 0);
		CHECK_INT(f.two.n_published, 1);
		add(&f.two, "own");
		CHECK_INT(registry_catch_up(f.two.r, db, &f.err), 0);
		CHECK_INT(f.two.n_published, 2);
		for (int k = 0; k < 3; k++) {
			const char *const names[] = {"a", "b", "c"};

			add(&f.one, names[k]);
		}
		CHECK_INT(registry_catch_up(f.two.r, db, &f.err), 0); /* three changes, once */
		CHECK_INT(f.two.n_published, 3);
		CHECK_INT(f.two.n_models, 4);
		CHECK_INT(registry_catch_up(f.two.r, db, &f.err), 0);
		CHECK_INT(f.two.n_published, 3);
		store_release(f.two.store, db);
		teardown(&f);
	}
}

TEST(catching_up_without_the_question_answered_is_an_error_and_publishes_nothing)
{
	struct db *db = NULL;
	struct fixture f;
	char url[300];

	CHECK(setup(&f, "sqlite:%s"));
	(void)snprintf(url, sizeof(url), "fault:1:%s", f.url);
	CHECK_INT(db_open(url, &db, NULL), 0);
	add(&f.one, "a");
	CHECK_INT(registry_catch_up(f.two.r, db, &f.err), E_IO);
	CHECK_INT(f.two.n_published, 1);
	CHECK_INT(registry_catch_up(f.two.r, db, &f.err), 0);
	CHECK_INT(f.two.n_published, 2);
	db_close(db);
	teardown(&f);
}

static bool wait_for_models(struct side *s, size_t n)
{
	struct timespec until;
	bool there;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LIMIT_S;
	pthread_mutex_lock(&s->lock);
	while (s->n_models < n && !pthread_cond_timedwait(&s->published, &s->lock, &until))
		continue;
	there = s->n_models == n;
	pthread_mutex_unlock(&s->lock);
	return there;
}

TEST(the_listener_follows_what_another_changes)
{
	for (size_t i = 0; i < COUNT_OF(backends); i++) {
		struct listener *l = NULL;
		struct fixture f;
		char problem[100];

		if (!setup(&f, backends[i]))
			continue;
		CHECK_INT(listener_start(f.two.r, f.two.store, &l, &f.err), 0);
		add(&f.one, "a");
		CHECK(wait_for_models(&f.two, 1));
		add(&f.two, "b");
		add(&f.one, "c");
		CHECK(wait_for_models(&f.two, 3));
		listener_problem(l, problem, sizeof(problem));
		CHECK_STR(problem, "");
		listener_stop(l);
		teardown(&f);
	}
	listener_stop(NULL);
}

/* --- the seam under it --- */

static const struct {
	const char *url;
	bool listens;
} listen_cases[] = {
	{"sqlite:%s", false},
	{"fault:0:sqlite:%s", false},
	{"postgres://muster@%P/postgres", true},
	{"postgres://muster@%P/postgres?listen=on", true},
	{"postgres://muster@%P/postgres?listen=off", false},
	{"fault:0:postgres://muster@%P/postgres", true},
	{"postgres://muster@%B/postgres", false},
};

TEST(a_connection_listens_only_where_notifications_come_through)
{
	for (size_t i = 0; i < COUNT_OF(listen_cases); i++) {
		bool listens = !listen_cases[i].listens;
		struct db *db = NULL;
		struct place p;
		char url[256];
		int quiet[2];

		place_make(&p);
		if (backend_url(listen_cases[i].url, p.file, url, sizeof(url))) {
			CHECK(!pipe(quiet));
			CHECK_INT(db_open(url, &db, NULL), 0);
			CHECK_INT(db_listen(db, "a channel", &listens, NULL), 0);
			CHECK_INT(listens, listen_cases[i].listens);
			CHECK_INT(db_notify(db, "a channel", S("1"), NULL), 0);
			CHECK_INT(db_notify(db, "a channel", S("2"), NULL), 0);
			if (listens) {
				CHECK_INT(db_wait(db, quiet[0], 1000 * LIMIT_S, NULL), 0); /* or the test takes long */
				CHECK_INT(db_wait(db, quiet[0], 0, NULL), 0);
			}
			db_close(db);
			(void)close(quiet[0]);
			(void)close(quiet[1]);
		}
		place_remove(&p);
	}
}

TEST(a_connection_that_was_made_anew_says_that_it_does_not_listen)
{
	static const struct db_value none;
	bool listens = false;
	struct db *db = NULL;
	struct err err = {0};
	char url[256];

	if (!backend_url("postgres://muster@%P/postgres", "", url, sizeof(url)))
		return;
	CHECK_INT(db_open(url, &db, NULL), 0);
	CHECK_INT(db_listen(db, "c", &listens, NULL), 0);
	CHECK(listens);
	pg_cluster_do(pg_cluster(), "kill");
	CHECK_INT(db_wait(db, -1, 1000 * LIMIT_S, &err), E_UNAVAILABLE);
	CHECK(*err.text);
	pg_cluster_do(pg_cluster(), "start");
	CHECK_INT(db_exec(db, "select 1", db_args(&none, 0), NULL, NULL), 0);
	CHECK_INT(db_wait(db, -1, 0, &err), E_UNAVAILABLE);
	db_close(db);
}

static const struct {
	const char *url;
	bool shared;
} shared_cases[] = {
	{"sqlite:x", false}, {"postgres://h/d", true}, {"postgresql://h/d", true}, {"fault:1:sqlite:x", false},
	{"x", false},
};

TEST(a_server_is_shared_and_a_file_is_not)
{
	for (size_t i = 0; i < COUNT_OF(shared_cases); i++)
		CHECK_INT(db_url_is_shared(shared_cases[i].url), shared_cases[i].shared);
}
