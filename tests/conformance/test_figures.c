/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several daemons judge one deployment: what each has counted is summed up, once, whoever ended or began meanwhile.
 * The counters are the test's own.
 */
#include "control/rollout/rollout.h"
#include "control/store/figures.h"
#include "pg_cluster.h"
#include "store_fixture.h"

#define S(x) SLICE_LIT(x)

static const struct registry_who who = {{"ops", 3}, {"", 0}};
static const char *const backends[] = {"sqlite:%s", "postgres://muster@%P/postgres", "postgres://muster@%B/postgres"};

struct side {
	struct rollout *r;
	struct rollout_counts counts[ROLLOUT_N_ARMS];
};

struct fixture {
	struct place place;
	char url[256];
	struct store *store;
	struct registry *registry;
	struct side one, two;
	struct arena a;
	struct deployment d;
	struct lease lease;
	struct err err;
};

static bool count(struct slice use_case, struct rollout_counts ret[ROLLOUT_N_ARMS], void *arg)
{
	struct side *s = arg;

	memcpy(ret, s->counts, sizeof(s->counts));
	return slice_eq_str(use_case, "u");
}

static void begin(struct fixture *f, struct side *s)
{
	*s = (struct side){.r = rollout_new(&(struct rollout_options){.registry = f->registry,
								      .store = f->store,
								      .shared = true,
								      .instance = uuid_v7_now(),
								      .count = count,
								      .arg = s})};
}

/* The process ends and another takes its place. */
static void restart(struct fixture *f, struct side *s)
{
	rollout_free(s->r);
	begin(f, s);
}

static struct uuid add_model(struct fixture *f, const char *name, enum model_status status)
{
	struct model m = {.name = slice_from(name),
			  .version = S("1"),
			  .use_case = S("u"),
			  .provider = S("ollama"),
			  .status = status,
			  .configuration = S("{\"endpoint\":\"http://127.0.0.1:1/generate\"}")};

	CHECK_INT(registry_register(f->registry, &m, &who, &f->err), 0);
	return m.id;
}

static bool setup(struct fixture *f, const char *format)
{
	struct deployment wanted = {.use_case = S("u"), .strategy = DEPLOY_CANARY};
	enum registry_origin origin;

	*f = (struct fixture){.err = {0}};
	place_make(&f->place);
	if (!backend_url(format, f->place.file, f->url, sizeof(f->url))) {
		place_remove(&f->place);
		return false;
	}
	arena_init(&f->a, 16384, (size_t)16 << 20);
	CHECK_INT(store_new(f->url, &f->store, NULL), 0);
	store_migrate_first(f->store);
	CHECK_INT(registry_new(f->store, NULL, NULL, &f->registry, NULL), 0);
	CHECK_INT(registry_load(f->registry, &origin, NULL), 0);
	(void)add_model(f, "old", MODEL_CURRENT);
	wanted.model_id = add_model(f, "new", MODEL_CANDIDATE);
	begin(f, &f->one);
	begin(f, &f->two);
	CHECK_INT(deploy_plan_parse(wanted.strategy, NULL, &wanted.plan, NULL), 0);
	wanted.plan.thresholds.min_samples = 100;
	CHECK_INT(rollout_start(f->one.r, &f->a, &wanted, &who, &f->d, &f->err), 0);
	return true;
}

static void teardown(struct fixture *f)
{
	rollout_free(f->one.r);
	rollout_free(f->two.r);
	registry_free(f->registry);
	store_free(f->store);
	arena_release(&f->a);
	place_remove(&f->place);
}

#define EACH_BACKEND(f)                                    \
	for (size_t b_ = 0; b_ < COUNT_OF(backends); b_++) \
		for (bool there_ = setup(&(f), backends[b_]); there_; there_ = false, teardown(&(f)))

static void tick(struct fixture *f, struct side *s, bool leads)
{
	int64_t next;

	CHECK_INT(rollout_tick(s->r, leads ? &f->lease : NULL, &next, &f->err), 0);
}

static struct judgement seen_by(struct fixture *f, struct side *s)
{
	struct judgement j = {.samples = 0};
	struct db *db = NULL;

	CHECK_INT(store_acquire(f->store, &db, NULL), 0);
	rollout_judge(s->r, db, &f->d, &j);
	store_release(f->store, db);
	return j;
}

static struct deployment read_again(struct fixture *f)
{
	struct deployment d = {.epoch = 0};
	struct db *db = NULL;

	CHECK_INT(store_acquire(f->store, &db, NULL), 0);
	CHECK_INT(store_deployment_get(db, &f->a, &f->d.id, &d, &f->err), 0);
	store_release(f->store, db);
	return d;
}

static void serve(struct side *s, uint64_t n, uint64_t n_errors)
{
	s->counts[ROLLOUT_CANDIDATE].requests += n;
	s->counts[ROLLOUT_CANDIDATE].errors += n_errors;
	s->counts[ROLLOUT_CANDIDATE].latency[20] += n - n_errors;
	s->counts[ROLLOUT_CURRENT].requests += 2 * n;
	s->counts[ROLLOUT_CURRENT].latency[30] += 2 * n;
}

TEST(what_all_replicas_counted_is_summed_up)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct judgement j;

		tick(&f, &f.two, false);
		serve(&f.one, 30, 1);
		serve(&f.two, 40, 0);
		tick(&f, &f.two, false);
		tick(&f, &f.two, false); /* said again, it counts once */
		j = seen_by(&f, &f.one);
		CHECK_INT(j.samples, 70);
		CHECK_INT(j.current_samples, 140);
		CHECK_INT(j.row[0].count, 1);
		CHECK_INT(j.row[1].count, 69); /* answers that were timed */
		CHECK_INT(j.n_replicas, 2);
		j = seen_by(&f, &f.two);
		CHECK_INT(j.samples, 40); /* the first has not said anything yet */
		CHECK_INT(j.n_replicas, 1);
		tick(&f, &f.one, true);
		CHECK_INT(seen_by(&f, &f.two).samples, 70);
		CHECK_INT(read_again(&f).state, DEPLOY_PROGRESSING);
	}
}

TEST(what_fails_on_one_alone_is_taken_back_with_the_sum_as_the_reason)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct deployment d;

		tick(&f, &f.two, false);
		serve(&f.one, 100, 2);
		serve(&f.two, 20, 4);
		tick(&f, &f.one, true);
		CHECK_INT(read_again(&f).state, DEPLOY_PROGRESSING);
		tick(&f, &f.two, false); /* 6 of 120: exactly the limit */
		serve(&f.two, 0, 1);
		tick(&f, &f.two, false);
		d = read_again(&f);
		CHECK_INT(d.state, DEPLOY_ROLLED_BACK);
		CHECK(slice_eq_str(d.rollback_reason, "error rate 5.83 % (7 of 120 requests), limit 5.00 %"));
	}
}

TEST(a_replica_that_died_keeps_what_it_told_and_its_successor_begins_at_nothing)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct judgement j;

		tick(&f, &f.two, false);
		serve(&f.two, 50, 2);
		tick(&f, &f.two, false);
		restart(&f, &f.two);
		tick(&f, &f.two, false);
		CHECK_INT(seen_by(&f, &f.one).samples, 50);
		serve(&f.two, 10, 0);
		tick(&f, &f.two, false);
		j = seen_by(&f, &f.one);
		CHECK_INT(j.samples, 60);
		CHECK_INT(j.row[0].count, 2);
		CHECK_INT(seen_by(&f, &f.two).samples, 60); /* what it told itself before is another's now */
		CHECK_INT(j.n_replicas, 3);
	}
}

TEST(a_step_that_is_resumed_begins_at_nothing_on_every_replica)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct judgement j;

		tick(&f, &f.two, false);
		serve(&f.two, 40, 0);
		serve(&f.one, 10, 0);
		tick(&f, &f.two, false);
		CHECK_INT(rollout_tell(f.one.r, &f.a, &f.d, DEPLOY_PAUSE, &who, &f.err), 0);
		CHECK_INT(seen_by(&f, &f.one).samples, 50); /* until then they count on */
		CHECK_INT(rollout_tell(f.one.r, &f.a, &f.d, DEPLOY_RESUME, &who, &f.err), 0);
		CHECK_INT(seen_by(&f, &f.one).samples, 0);
		serve(&f.two, 7, 0); /* it has not noticed */
		tick(&f, &f.two, false);
		j = seen_by(&f, &f.one);
		CHECK_INT(j.samples, 7);
		CHECK_INT(j.current_samples, 20 + 94); /* since the deployment began */
	}
}

TEST(figures_of_deployments_that_are_over_go_when_the_next_one_starts)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct deployment next = f.d, ret = {.epoch = 0};
		struct figures_row *rows = NULL;
		struct db *db = NULL;
		size_t n = 0;

		serve(&f.one, 5, 0);
		tick(&f, &f.one, true);
		CHECK_INT(rollout_tell(f.one.r, &f.a, &f.d, DEPLOY_ABORT, &who, &f.err), 0);
		CHECK_INT(store_acquire(f.store, &db, NULL), 0);
		CHECK_INT(store_figures_list(db, &f.a, &f.d.id, &rows, &n, &f.err), 0);
		CHECK(n == 1 && rows[0].arm[FIGURES_CANDIDATE].requests == 5);
		store_release(f.store, db);
		CHECK_INT(rollout_start(f.one.r, &f.a, &next, &who, &ret, &f.err), 0);
		CHECK_INT(store_acquire(f.store, &db, NULL), 0);
		CHECK_INT(store_figures_list(db, &f.a, &f.d.id, &rows, &n, &f.err), 0);
		CHECK_INT(n, 0);
		store_release(f.store, db);
	}
}

TEST(without_an_answer_of_the_database_a_replica_judges_what_it_has)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct judgement j = {.samples = 0};

		serve(&f.two, 9, 0);
		tick(&f, &f.two, false);
		serve(&f.one, 3, 0);
		rollout_judge(f.one.r, NULL, &f.d, &j);
		CHECK_INT(j.samples, 3);
		CHECK_INT(j.n_replicas, 1);
	}
}
