/* SPDX-License-Identifier: Apache-2.0 */
/* A review over every backend: what is counted where, against sums worked out by hand. */
#include "control/telemetry/review.h"

#include "core/base/buf.h"
#include "pg_cluster.h"
#include "store_fixture.h"

#define S(x) SLICE_LIT(x)
#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)
#define UNTIL INT64_C(1763873420000000)
#define SINCE (UNTIL - 24 * HOUR)
#define BEFORE (SINCE - 24 * HOUR)

static const char *const backends[] = {
	"sqlite:%s",
	"fault:0:sqlite:%s",
	"postgres://muster@%P/postgres",
};

struct fixture {
	struct place place;
	char url[256];
	struct db *db;
	struct arena a;
	struct uuid_gen ids;
	struct err err;
	struct review r;
};

static bool open_at(struct fixture *f, const char *format)
{
	memset(f, 0, sizeof(*f));
	place_make(&f->place);
	if (!backend_url(format, f->place.file, f->url, sizeof(f->url))) {
		place_remove(&f->place);
		return false;
	}
	f->db = place_open(f->url);
	arena_init(&f->a, 65536, (size_t)128 << 20);
	uuid_gen_init(&f->ids);
	return true;
}

static void close_at(struct fixture *f)
{
	db_close(f->db);
	arena_release(&f->a);
	place_remove(&f->place);
}

#define EACH_BACKEND(f)                                    \
	for (size_t b_ = 0; b_ < COUNT_OF(backends); b_++) \
		for (bool there_ = open_at(&(f), backends[b_]); there_; there_ = false, close_at(&(f)))

static struct log_record record(struct fixture *f, int64_t at_us)
{
	return (struct log_record){.id = uuid_v7(&f->ids, at_us),
				   .created_us = at_us,
				   .model_id = S("m"),
				   .model_name = S("a@1"),
				   .use_case = S("u"),
				   .prompt_tokens = 10,
				   .completion_tokens = 20,
				   .latency_us = 100000,
				   .first_token_us = -1,
				   .http_status = 200};
}

static void put(struct fixture *f, struct log_record r)
{
	CHECK_INT(store_log_insert(f->db, &r, NULL, &f->err), 0);
}

static void put_hit(struct fixture *f, struct log_record r, const char *rule, enum guard_severity severity)
{
	r.guard_action = GUARD_FLAG;
	r.n_violations = 1;
	r.violations[0] = (struct record_violation){.policy = S("default"),
						    .rule = slice_from(rule),
						    .category = S("pii"),
						    .action = GUARD_FLAG,
						    .severity = severity,
						    .side = GUARD_OUTPUT};
	put(f, r);
}

static int compute_as(struct fixture *f, struct review_request q)
{
	q.now_us = q.now_us ? q.now_us : UNTIL;
	q.until_us = q.until_us ? q.until_us : UNTIL;
	q.window_us = q.window_us ? q.window_us : 24 * HOUR;
	return review_compute(f->db, &f->a, &q, &f->r, &f->err);
}

static const struct review *compute(struct fixture *f)
{
	CHECK_INT(compute_as(f, (struct review_request){.now_us = UNTIL}), 0);
	CHECK_STR(f->err.text, "");
	return &f->r;
}

static bool near(double got, double want)
{
	return got > want * (1 - REVIEW_LATENCY_ERROR) && got < want * (1 + REVIEW_LATENCY_ERROR);
}

TEST(a_period_in_which_nothing_happened_has_no_figures)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		const struct review *r = compute(&f);

		CHECK_INT(r->total.now.requests, 0);
		CHECK_INT(r->n_use_cases + r->n_models + r->n_rules + r->n_changes + r->deployments.n, 0);
		CHECK_INT(r->n_buckets, 24);
		CHECK(review_percentile_ms(r->total.now.latency, 95) < 0);
		CHECK_INT(r->n_findings, 0);
		for (size_t i = 0; i < REVIEW_N_TARGETS; i++) {
			CHECK_INT(r->targets[i].verdict, REVIEW_UNKNOWN);
			CHECK(!r->targets[i].measured);
		}
	}
}

TEST(each_period_begins_with_its_first_microsecond_and_ends_before_the_next)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		const int64_t at[] = {BEFORE - 1, BEFORE, SINCE - 1, SINCE, UNTIL - 1, UNTIL, UNTIL + 1};
		const struct review *r;

		for (size_t i = 0; i < COUNT_OF(at); i++)
			put(&f, record(&f, at[i]));
		r = compute(&f);
		CHECK_INT(r->total.before.requests, 2);
		CHECK_INT(r->total.now.requests, 2);
		CHECK_INT(r->buckets[0].requests, 1);
		CHECK_INT(r->buckets[23].requests, 1);
	}
}

TEST(a_record_counts_when_it_was_made_whenever_it_came)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		static const struct {
			int64_t came, made;
			int now, before;
		} cases[] = {
			{UNTIL + HOUR, UNTIL - HOUR, 1, 0},	 /* reported late */
			{UNTIL + 23 * HOUR, SINCE - HOUR, 0, 1}, /* very late */
			{UNTIL + 25 * HOUR, UNTIL - HOUR, 0, 0}, /* later than is looked */
			{SINCE + HOUR, BEFORE + HOUR, 0, 1},
			{SINCE - 30 * SECOND, SINCE + SECOND, 1, 0}, /* a clock that goes ahead */
			{BEFORE - 30 * SECOND, BEFORE + SECOND, 0, 1},
			{SINCE + HOUR, BEFORE - HOUR, 0, 0},
		};
		int now = 0, before = 0;

		for (size_t i = 0; i < COUNT_OF(cases); i++) {
			struct log_record l;
			const struct review *r;

			uuid_gen_init(&f.ids); /* one generator never goes back in time */
			l = record(&f, cases[i].came);
			l.created_us = cases[i].made;
			put(&f, l);
			now += cases[i].now;
			before += cases[i].before;
			r = compute(&f);
			CHECK_INT(r->total.now.requests, now);
			CHECK_INT(r->total.before.requests, before);
		}
	}
}

TEST(a_series_has_a_bucket_for_every_hour_also_where_nothing_came)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		const struct review *r;

		for (int hour = 0; hour < 24; hour++) {
			struct log_record l = record(&f, SINCE + hour * HOUR + 10 * SECOND);

			l.status = hour % 2 ? RECORD_ERROR : RECORD_OK;
			l.latency_us = 1000 * (hour + 1);
			if (hour != 5 && hour != 6)
				put(&f, l);
		}
		put_hit(&f, record(&f, SINCE + 7 * HOUR), "r", GUARD_LOW);
		r = compute(&f);
		for (int hour = 0; hour < 24; hour++) {
			const struct review_bucket *b = &r->buckets[hour];
			bool gap = hour == 5 || hour == 6;

			CHECK_INT(b->requests, gap ? 0 : hour == 7 ? 2 : 1);
			CHECK_INT(b->errors, gap ? 0 : hour % 2);
			CHECK_INT(b->violations, hour == 7);
			if (gap)
				CHECK(review_percentile_ms(b->latency, 95) < 0);
			else
				CHECK(near(review_percentile_ms(b->latency, 95), hour == 7 ? 100 : hour + 1));
		}
	}
}

TEST(rates_tokens_and_groups_are_the_sums_of_their_records)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		const struct review_group *g;
		const struct review *r;

		for (int i = 0; i < RECORD_N_STATUSES; i++) {
			struct log_record l = record(&f, SINCE + (i + 1) * HOUR);

			l.status = (enum record_status)i;
			l.fallback = i == 1 ? RECORD_FALLBACK_MODEL : RECORD_FALLBACK_NONE;
			l.tokens_estimated = i == 2;
			l.guard_skipped = i == 3;
			l.prompt_tokens = i == 4 ? -1 : 10;
			l.first_token_us = i == 0 ? 5000 : -1;
			put(&f, l);
		}
		for (int i = 0; i < 3; i++) {
			struct log_record l = record(&f, SINCE + HOUR);

			l.use_case = S("v");
			l.model_name = i ? S("b@2") : (struct slice){0};
			put(&f, l);
		}
		r = compute(&f);
		CHECK_INT(r->total.now.requests, RECORD_N_STATUSES + 3);
		CHECK_INT(r->n_use_cases, 2);
		CHECK_INT(r->n_models, 3);
		g = &r->use_cases[0];
		CHECK(slice_eq_str(g->use_case, "u"));
		CHECK_INT(g->now.requests, RECORD_N_STATUSES);
		for (int i = 0; i < RECORD_N_STATUSES; i++)
			CHECK_INT(g->now.by_status[i], 1);
		CHECK_INT(review_errors(&g->now), 3);
		CHECK_INT(g->now.fallbacks, 1);
		CHECK_INT(g->now.estimated, 1);
		CHECK_INT(g->now.unchecked, 1);
		CHECK_INT(g->now.prompt_tokens, 10 * (RECORD_N_STATUSES - 1));
		CHECK_INT(g->now.completion_tokens, 20 * RECORD_N_STATUSES);
		CHECK(near(review_percentile_ms(g->now.first_token, 50), 5));
		CHECK(near(review_percentile_ms(g->now.latency, 50), 100));
		CHECK(review_percentile_ms(r->use_cases[1].now.first_token, 50) < 0);
		CHECK(slice_eq_str(r->models[1].model, "b@2"));
		CHECK_INT(r->models[1].now.requests, 2);
		CHECK(!r->models[2].model.n);
	}
}

TEST(costs_are_summed_by_currency_and_say_how_much_of_them_is_estimated)
{
	static const struct {
		const char *currency;
		int64_t nano;
		bool estimated;
	} given[] = {{"USD", 1500000000, false}, {"EUR", 7, true},  {"USD", 500000001, true}, {"", 0, false},
		     {"GBP", 1, false},		 {"JPY", 2, false}, {"CHF", 3, false}};
	struct fixture f;

	EACH_BACKEND(f)
	{
		const struct review_counts *c;

		for (size_t i = 0; i < COUNT_OF(given); i++) {
			struct log_record l = record(&f, SINCE + HOUR + (int64_t)i * 1000);

			snprintf(l.cost.currency, sizeof(l.cost.currency), "%s", given[i].currency);
			l.cost.nano = given[i].nano;
			l.tokens_estimated = given[i].estimated;
			l.latency_us = 1000 + (int64_t)i * 1000; /* each is a sum of its own, in this order */
			put(&f, l);
		}
		c = &compute(&f)->models[0].now;
		CHECK_INT(c->priced, 6);
		CHECK_INT(c->n_costs, REVIEW_MAX_CURRENCIES);
		for (size_t i = 0; i < c->n_costs; i++) {
			bool usd = !strcmp(c->costs[i].sum.currency, "USD");

			if (!usd && strcmp(c->costs[i].sum.currency, "EUR") != 0)
				continue;
			CHECK_INT(c->costs[i].sum.nano, usd ? 2000000001 : 7);
			CHECK_INT(c->costs[i].estimated_nano, usd ? 500000001 : 7);
			CHECK_INT(c->costs[i].requests, usd ? 2 : 1);
		}
		CHECK_INT(f.r.total.now.priced, 6);
		CHECK_INT(f.r.total.before.priced, 0);
		CHECK_INT((long long)f.r.use_cases[0].before.n_costs, 0);
	}
}

TEST(a_cost_that_is_more_than_can_be_counted_is_as_much_as_can)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		for (int i = 0; i < 3; i++) {
			struct log_record l = record(&f, SINCE + HOUR);

			l.cost = (struct money){"USD", INT64_MAX};
			put(&f, l);
		}
		CHECK(compute(&f)->total.now.costs[0].sum.nano == INT64_MAX);
		CHECK_INT(f.r.total.now.costs[0].requests, 3);
	}
}

TEST(one_use_case_alone_is_counted_when_it_is_asked_for)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct log_record other = record(&f, SINCE + HOUR);

		other.use_case = S("v'; drop table model_historical_logs; --");
		put(&f, record(&f, SINCE + HOUR));
		put_hit(&f, record(&f, SINCE + HOUR), "r", GUARD_LOW);
		put_hit(&f, other, "s", GUARD_CRITICAL);
		CHECK_INT(compute_as(&f, (struct review_request){.use_case = S("u")}), 0);
		CHECK_INT(f.r.total.now.requests, 2);
		CHECK_INT(f.r.total.now.violations, 1);
		CHECK_INT(f.r.by_severity[GUARD_CRITICAL], 0);
		CHECK_INT(f.r.n_rules, 1);
		CHECK_INT(compute_as(&f, (struct review_request){.use_case = other.use_case}), 0);
		CHECK_INT(f.r.total.now.requests, 1);
		CHECK_INT(f.r.by_severity[GUARD_CRITICAL], 1);
	}
}

TEST(the_database_numbers_latencies_as_the_program_does)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct review_piece piece = {
			.span = {.start_us = SINCE, .bucket_us = HOUR, .n_buckets = 24}, .n = 2, .by_name = true};
		struct review_log_rows rows = {.n = 0};
		size_t n_seen = 0;

		CHECK_INT(db_begin(f.db, &f.err), 0);
		for (int i = 0; i < 34; i++) {
			for (int64_t d = -1; d <= 1; d++) {
				struct log_record l = record(&f, SINCE + HOUR);

				l.latency_us = (INT64_C(1) << i) + d;
				l.prompt_tokens = l.latency_us;
				put(&f, l);
			}
		}
		CHECK_INT(db_commit(f.db, &f.err), 0);
		CHECK_INT(store_review_logs(f.db, &f.a, &piece, &rows, &f.err), 0);
		for (size_t i = 0; i < rows.n; i++) {
			const struct review_log_row *r = &rows.list[i];

			n_seen += (size_t)r->n;
			CHECK_INT(r->latency, review_latency_bucket(r->prompt_tokens / r->n));
		}
		CHECK_INT(n_seen, 34 * 3);
	}
}

TEST(a_bucket_holds_what_its_middle_says)
{
	for (int64_t us = 1; us < INT64_C(4200000000); us += us / 97 + 1) {
		double middle = review_latency_us(review_latency_bucket(us));

		CHECK(near(middle, (double)us));
	}
	CHECK_INT(review_latency_bucket(-1), 0);
	CHECK_INT(review_latency_bucket(INT64_MAX), REVIEW_LATENCY_BUCKETS - 1);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

TEST(percentiles_are_those_of_a_sorted_list_but_for_the_stated_error)
{
	static const unsigned percents[] = {1, 50, 90, 95, 99};
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct log_writer *w = log_writer_new();
		struct log_record list[499];
		int64_t us[COUNT_OF(list)];
		uint64_t x = 88172645463325252U;
		size_t n = 0;

		for (size_t i = 0; i < COUNT_OF(list); i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			us[i] = (int64_t)((x >> 20) % 1000 * ((x >> 40) % 1000) * ((x >> 50) % 100) / 10) + 1;
			list[i] = record(&f, SINCE + (int64_t)i * 150 * SECOND);
			list[i].latency_us = us[i];
		}
		CHECK_INT(db_begin(f.db, &f.err), 0);
		CHECK_INT(store_log_insert_many(f.db, w, list, COUNT_OF(list), &n, &f.err), 0);
		CHECK_INT(db_commit(f.db, &f.err), 0);
		log_writer_free(w);
		qsort(us, COUNT_OF(us), sizeof(us[0]), by_value);
		compute(&f);
		for (size_t i = 0; i < COUNT_OF(percents); i++) {
			double exact = (double)us[(COUNT_OF(us) * percents[i] + 99) / 100 - 1] / 1000;

			CHECK(near(review_percentile_ms(f.r.total.now.latency, percents[i]), exact));
		}
	}
}

TEST(violations_are_told_by_severity_category_and_rule_with_records_to_look_at)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		const struct review *r;
		char id[UUID_STR_SIZE];
		struct log_record last;

		for (int i = 0; i < 5; i++)
			put_hit(&f, record(&f, SINCE + (i + 1) * HOUR), "email", GUARD_MEDIUM);
		last = record(&f, SINCE + 9 * HOUR);
		put_hit(&f, last, "email", GUARD_MEDIUM);
		put_hit(&f, record(&f, SINCE + HOUR), "secret", GUARD_CRITICAL);
		put_hit(&f, record(&f, SINCE - HOUR), "secret", GUARD_CRITICAL);
		put_hit(&f, record(&f, SINCE - HOUR), "gone", GUARD_LOW);
		r = compute(&f);
		CHECK_INT(r->total.now.violations, 7);
		CHECK_INT(r->total.before.violations, 2);
		CHECK_INT(r->total.now.flagged, 7);
		CHECK_INT(r->by_severity[GUARD_MEDIUM], 6);
		CHECK_INT(r->by_severity[GUARD_CRITICAL], 1);
		CHECK_INT(r->by_severity_before[GUARD_CRITICAL], 1);
		CHECK_INT(r->n_categories, 1);
		CHECK_INT(r->categories[0].n, 7);
		CHECK_INT(r->categories[0].n_before, 2);
		CHECK_INT(r->n_rules, 3);
		CHECK(slice_eq_str(r->rules[0].rule, "email"));
		CHECK_INT(r->rules[0].n, 6);
		CHECK_INT(r->rules[0].samples.n, REVIEW_SAMPLES);
		CHECK(slice_eq_str(r->rules[0].samples.ids[0], uuid_format(&last.id, id)));
		CHECK(slice_eq_str(r->rules[2].rule, "gone"));
		CHECK_INT(r->rules[2].n, 0);
		CHECK_INT(r->rules[2].samples.n, 0);
		CHECK_INT(r->use_cases[0].now.violations, 7);
		CHECK_INT(r->models[0].before.violations, 2);
		CHECK_INT(r->targets[REVIEW_VIOLATIONS].verdict, REVIEW_NOT_MET);
		CHECK(r->targets[REVIEW_VIOLATIONS].figure == 1.0);
	}
}

static void put_deployment(struct fixture *f, const struct model *m, enum deploy_state state, int64_t from, int64_t to)
{
	struct deployment d = {.id = uuid_v7(&f->ids, from),
			       .use_case = m->use_case,
			       .model_id = m->id,
			       .strategy = DEPLOY_CANARY,
			       .state = state,
			       .rollback_reason = state == DEPLOY_ROLLED_BACK ? S("errors 9 %") : (struct slice){0},
			       .actor = S("ops"),
			       .reason = S("why"),
			       .created_us = from,
			       .updated_us = from,
			       .since_us = from};

	CHECK_INT(deploy_plan_parse(d.strategy, NULL, &d.plan, &f->err), 0);
	CHECK_INT(store_deployment_insert(f->db, &d, &f->err), 0);
	if (!to)
		return;
	d.epoch++;
	d.finished_us = to;
	CHECK_INT(store_deployment_update(f->db, &d, &f->err), 0);
}

static struct model put_model(struct fixture *f, enum model_status status, int64_t since)
{
	struct model m = {.id = uuid_v7(&f->ids, BEFORE),
			  .name = S("new"),
			  .version = S("2"),
			  .use_case = S("u"),
			  .provider = S("sim"),
			  .configuration = S("{}"),
			  .status = status,
			  .created_us = BEFORE,
			  .updated_us = BEFORE,
			  .status_since_us = since};

	CHECK_INT(store_model_insert(f->db, &m, &f->err), 0);
	return m;
}

TEST(deployments_count_in_the_period_in_which_they_finished)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct model m = put_model(&f, MODEL_TESTING, BEFORE);
		const struct review *r;

		put_deployment(&f, &m, DEPLOY_SUCCEEDED, BEFORE, BEFORE + HOUR);
		put_deployment(&f, &m, DEPLOY_ROLLED_BACK, SINCE - HOUR, SINCE + HOUR);
		put_deployment(&f, &m, DEPLOY_SUCCEEDED, SINCE + 2 * HOUR, SINCE + 3 * HOUR);
		put_deployment(&f, &m, DEPLOY_ABORTED, SINCE + 4 * HOUR, SINCE + 5 * HOUR);
		put_deployment(&f, &m, DEPLOY_PROGRESSING, SINCE + 6 * HOUR, 0);
		r = compute(&f);
		CHECK_INT(r->deployments.n, 4);
		CHECK_INT(r->deployments.finished, 3);
		CHECK_INT(r->deployments.succeeded, 1);
		CHECK_INT(r->deployments_before.finished, 1);
		CHECK_INT(r->deployments_before.succeeded, 1);
		CHECK(slice_eq_str(r->deployments.models[0], "new@2"));
		CHECK_INT(r->targets[REVIEW_DEPLOYMENTS].verdict, REVIEW_NOT_MET);
		CHECK_INT(r->n_findings, 3); /* the target, and two that failed */
		CHECK_STR(r->findings[1].kind, "deployment_failed");
		CHECK(slice_find(r->findings[2].text, S("new@2 was rolled back: errors 9 %")) >= 0);
	}
}

static void put_event(struct fixture *f, const char *kind, int64_t at, struct slice before, struct slice after)
{
	struct registry_event e = {.id = uuid_v7(&f->ids, at),
				   .at_us = at,
				   .kind = slice_from(kind),
				   .subject = S("subject"),
				   .use_case = S("u"),
				   .actor = S("ops"),
				   .reason = S("because"),
				   .before = before,
				   .after = after};

	CHECK_INT(store_event_append(f->db, &e, &f->err), 0);
}

TEST(what_was_changed_says_from_what_to_what_and_nothing_else)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		const struct review *r;

		put_event(&f, "model.status", SINCE - 1, S("{}"), S("{}"));
		put_event(&f, "model.status", SINCE,
			  S("{\"model_name\":\"a\",\"version\":\"1\",\"status\":\"testing\"}"),
			  S("{\"model_name\":\"a\",\"version\":\"1\",\"status\":\"current\"}"));
		put_event(&f, "key.created", SINCE + HOUR, (struct slice){0}, S("{\"name\":\"npc\"}"));
		put_event(&f, "use_case.settings", UNTIL - 1, S("{\"status\":\"x\"}"), S("{\"status\":\"x\"}"));
		put_event(&f, "policy.saved", UNTIL, (struct slice){0}, S("not json"));
		r = compute(&f);
		CHECK_INT(r->n_changes, 3);
		CHECK(slice_eq_str(r->changes[0].event.kind, "use_case.settings"));
		CHECK(!r->changes[0].from.n && !r->changes[0].to.n);
		CHECK(slice_eq_str(r->changes[1].name, "npc"));
		CHECK(slice_eq_str(r->changes[2].name, "a@1"));
		CHECK(slice_eq_str(r->changes[2].from, "testing") && slice_eq_str(r->changes[2].to, "current"));
		CHECK(slice_eq_str(r->changes[2].event.actor, "ops"));
		CHECK(slice_eq_str(r->changes[2].event.reason, "because"));
	}
}

TEST(what_became_worse_is_named_with_the_command_that_shows_more)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		const char *const want[] = {"errors_doubled", "latency_worse", "fallbacks", "no_traffic"};
		const struct review *r;

		put_model(&f, MODEL_CURRENT, BEFORE);
		CHECK_INT(db_begin(f.db, &f.err), 0);
		for (int i = 0; i < 60; i++) {
			struct log_record l = record(&f, BEFORE + HOUR + i);

			put(&f, l);
			l = record(&f, SINCE + HOUR + i);
			l.latency_us = 200000;
			l.status = i < 12 ? RECORD_ERROR : RECORD_OK;
			l.fallback = i < 20 ? RECORD_FALLBACK_CONTENT : RECORD_FALLBACK_NONE;
			put(&f, l);
		}
		CHECK_INT(db_commit(f.db, &f.err), 0);
		r = compute(&f);
		CHECK_INT(r->n_findings, COUNT_OF(want));
		for (size_t i = 0; i < r->n_findings && i < COUNT_OF(want); i++) {
			CHECK_STR(r->findings[i].kind, want[i]);
			CHECK(slice_eq_str(r->findings[i].use_case, "u"));
		}
		CHECK(slice_eq_str(r->findings[0].text,
				   "errors: 12 of 60 requests (20.0 %), 0.0 % in the period before"));
		CHECK(slice_eq_str(r->findings[0].command, "muster log list --use-case u --status error --since "
							   "2025-11-22T04:50:20Z --until 2025-11-23T04:50:20Z"));
		CHECK(slice_eq_str(r->findings[3].text, "new@2 is current and answered nothing"));
	}
}

TEST(words_of_others_are_quoted_in_commands)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		CHECK_INT(db_begin(f.db, &f.err), 0);
		for (int i = 0; i < 10; i++) {
			struct log_record l = record(&f, SINCE + HOUR + i);

			l.use_case = S("it's; rm -rf /");
			l.status = RECORD_TIMEOUT;
			put(&f, l);
		}
		CHECK_INT(db_commit(f.db, &f.err), 0);
		compute(&f);
		CHECK_INT(f.r.n_findings, 1);
		CHECK(slice_find(f.r.findings[0].command, S(" --use-case 'it'\\''s; rm -rf /' --status ")) > 0);
	}
}

static const struct {
	struct review_figures f;
	int64_t now;
	enum review_verdict lookup, logging;
} figure_cases[] = {
	{{.since_us = SINCE, .lookups = 5, .lookup_p99_ms = 0.2, .records = 100}, UNTIL, REVIEW_MET, REVIEW_MET},
	{{.since_us = SINCE, .lookups = 5, .lookup_p99_ms = 100, .records = 95, .lost = 5},
	 UNTIL,
	 REVIEW_NOT_MET,
	 REVIEW_NOT_MET},
	{{.since_us = SINCE, .records = 100, .rejected = 6}, UNTIL, REVIEW_UNKNOWN, REVIEW_NOT_MET},
	{{.since_us = SINCE}, UNTIL, REVIEW_UNKNOWN, REVIEW_UNKNOWN},
	/* not up for all of it: good is not known, bad is */
	{{.since_us = SINCE + 1, .lookups = 5, .lookup_p99_ms = 1, .records = 1},
	 UNTIL,
	 REVIEW_UNKNOWN,
	 REVIEW_UNKNOWN},
	{{.since_us = SINCE + 1, .records = 1, .lost = 1}, UNTIL, REVIEW_UNKNOWN, REVIEW_NOT_MET},
	/* a period that is over */
	{{.since_us = SINCE, .lookups = 5, .lookup_p99_ms = 1, .records = 1, .lost = 1},
	 UNTIL + HOUR,
	 REVIEW_UNKNOWN,
	 REVIEW_UNKNOWN},
};

TEST(a_target_is_met_only_where_it_was_measured_all_the_time)
{
	struct fixture f;

	open_at(&f, "sqlite:%s");
	for (size_t i = 0; i < COUNT_OF(figure_cases); i++) {
		CHECK_INT(compute_as(&f, (struct review_request){.now_us = figure_cases[i].now,
								 .figures = &figure_cases[i].f}),
			  0);
		CHECK_INT(f.r.targets[REVIEW_LOOKUP].verdict, figure_cases[i].lookup);
		CHECK_INT(f.r.targets[REVIEW_LOGGING].verdict, figure_cases[i].logging);
	}
	close_at(&f);
}

static const struct {
	int64_t window, bucket; /* 0: refused */
} windows[] = {
	{600 * SECOND, 300 * SECOND},
	{599 * SECOND, 0},
	{601 * SECOND, 0},
	{2 * HOUR, 300 * SECOND},
	{3 * HOUR, 900 * SECOND},
	{24 * HOUR, HOUR},
	{48 * HOUR, HOUR},
	{24 * 7 * HOUR, 6 * HOUR},
	{24 * 30 * HOUR, 24 * HOUR},
	{49 * HOUR, 0},
	{24 * 31 * HOUR, 24 * HOUR},
	{24 * 32 * HOUR, 0},
	{-HOUR, 0},
};

TEST(a_window_is_cut_into_buckets_that_fit_it)
{
	struct err err = {0};

	for (size_t i = 0; i < COUNT_OF(windows); i++) {
		int64_t bucket = 0;

		CHECK_INT(review_bucket_us(windows[i].window, &bucket, &err), windows[i].bucket ? 0 : E_INVALID);
		CHECK_INT(bucket, windows[i].bucket);
	}
}

TEST(a_week_has_28_buckets)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		put(&f, record(&f, UNTIL - 7 * 24 * HOUR));
		put(&f, record(&f, UNTIL - 7 * 24 * HOUR - 1));
		put(&f, record(&f, UNTIL - 1));
		CHECK_INT(compute_as(&f, (struct review_request){.window_us = 7 * 24 * HOUR}), 0);
		CHECK_INT(f.r.n_buckets, 28);
		CHECK_INT(f.r.total.now.requests, 2);
		CHECK_INT(f.r.total.before.requests, 1);
		CHECK_INT(f.r.buckets[0].requests, 1);
		CHECK_INT(f.r.buckets[27].requests, 1);
	}
}

/* So many names that one piece has too many rows: the totals are right all the same. */
TEST(more_names_than_there_is_room_for_count_in_the_totals)
{
	struct fixture f;
	struct log_writer *w = log_writer_new();
	static struct log_record list[32];
	static char names[32][32];
	size_t n = 0, total = 0;

	open_at(&f, "sqlite:%s");
	CHECK_INT(db_begin(f.db, &f.err), 0);
	for (int i = 0; total <= REVIEW_MAX_ROWS; i++) {
		for (int k = 0; k < 32; k++) {
			(void)snprintf(names[k], sizeof(names[k]), "model-%d-%d", i, k);
			list[k] = record(&f, SINCE + HOUR + i);
			list[k].model_name = slice_from(names[k]);
		}
		CHECK_INT(store_log_insert_many(f.db, w, list, 32, &n, &f.err), 0);
		total += n;
	}
	CHECK_INT(db_commit(f.db, &f.err), 0);
	put(&f, record(&f, SINCE + 5 * HOUR));
	compute(&f);
	CHECK_INT(f.r.total.now.requests, total + 1);
	CHECK(f.r.groups_left_off);
	CHECK_INT(f.r.n_models, 1);
	CHECK_INT(f.r.models[0].now.requests, 1);
	log_writer_free(w);
	close_at(&f);
}

TEST(a_few_hundred_names_fill_the_table_and_the_rest_counts_in_the_totals)
{
	struct fixture f;
	char name[32];

	open_at(&f, "sqlite:%s");
	CHECK_INT(db_begin(f.db, &f.err), 0);
	for (int i = 0; i < REVIEW_MAX_MODELS + 1; i++) {
		struct log_record l = record(&f, SINCE + HOUR);

		(void)snprintf(name, sizeof(name), "m%d", i);
		l.model_name = slice_from(name);
		put(&f, l);
	}
	CHECK_INT(db_commit(f.db, &f.err), 0);
	compute(&f);
	CHECK_INT(f.r.n_models, REVIEW_MAX_MODELS);
	CHECK(f.r.groups_left_off);
	CHECK_INT(f.r.total.now.requests, REVIEW_MAX_MODELS + 1);
	CHECK_INT(f.r.use_cases[0].now.requests, REVIEW_MAX_MODELS + 1);
	close_at(&f);
}

TEST(the_failure_of_any_call_is_the_failure_of_the_review)
{
	struct fixture f;
	bool failed = true;
	struct model m;

	open_at(&f, "sqlite:%s");
	m = put_model(&f, MODEL_TESTING, BEFORE);
	put_deployment(&f, &m, DEPLOY_SUCCEEDED, SINCE, SINCE + HOUR);
	put_hit(&f, record(&f, SINCE + HOUR), "r", GUARD_LOW);
	for (int at = 1; failed && at < 200; at++) {
		const struct review_request q = {.now_us = UNTIL, .until_us = UNTIL, .window_us = 24 * HOUR};
		struct db *db = NULL;
		char url[256];
		int rc;

		arena_reset(&f.a);
		(void)snprintf(url, sizeof(url), "fault:%d:%s", at, f.place.url);
		CHECK_INT(db_open(url, &db, &f.err), 0);
		rc = review_compute(db, &f.a, &q, &f.r, &f.err);
		failed = rc != 0;
		CHECK(rc == 0 || rc == E_IO);
		CHECK(at > 50 || failed);
		db_close(db);
	}
	CHECK(!failed);
	close_at(&f);
}

TEST(what_is_written_is_json_with_null_for_what_is_not_known)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct json_parser *p = json_parser_new();
		struct json_writer w;
		struct json *root = NULL;
		const struct json *total;
		struct buf out;

		put(&f, record(&f, SINCE + HOUR));
		compute(&f);
		buf_init(&out, (size_t)4 << 20);
		jw_init(&w, &out);
		review_write(&w, &f.r);
		CHECK_INT(json_parse_copy(p, &f.a, buf_slice(&out), NULL, &root, &f.err), 0);
		total = json_get(json_get(root, "total"), "now");
		CHECK_INT(json_get(total, "requests")->integer, 1);
		CHECK_INT(json_get(json_get(total, "first_token_ms"), "p95")->type, JSON_NULL);
		CHECK_INT(json_get(json_get(json_get(root, "total"), "before"), "error_rate")->type, JSON_NULL);
		CHECK_INT(json_get(json_get(root, "series"), "buckets")->n_items, 24);
		buf_release(&out);
		json_parser_free(p);
	}
}
