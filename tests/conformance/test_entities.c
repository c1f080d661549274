/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every entity over every backend: rows in and out, filters, pages, and inserts that may come twice.  A new backend is
 * one more row in `backends`; the last test fails every call there is, one after the other.
 */
#include "control/store/entities.h"
#include "control/store/replicas.h"

#include <pthread.h>

#include "core/base/clock.h"
#include "pg_cluster.h"
#include "store_fixture.h"

#define S(x) SLICE_LIT(x)
#define T0 INT64_C(1763873420000000)
#define SECOND INT64_C(1000000)

static const char *const backends[] = {
	"sqlite:%s",
	"sqlite::memory:",
	"fault:0:sqlite:%s",
	"postgres://muster@%P/postgres",
	"postgres://muster@%P/postgres?prepare=off",
	"postgres://muster@%B/postgres",
	"fault:0:postgres://muster@%P/postgres",
};

struct fixture {
	struct place place;
	char url[256];
	struct db *db;
	struct arena a;
	struct uuid_gen ids;
	struct err err;
};

/* False: that backend is not to be had here. */
static bool open_at(struct fixture *f, const char *format)
{
	*f = (struct fixture){.db = NULL};
	place_make(&f->place);
	if (!backend_url(format, f->place.file, f->url, sizeof(f->url))) {
		place_remove(&f->place);
		return false;
	}
	f->db = place_open(f->url);
	arena_init(&f->a, 16384, (size_t)64 << 20);
	uuid_gen_init(&f->ids);
	return true;
}

static void close_at(struct fixture *f)
{
	db_close(f->db);
	arena_release(&f->a);
	place_remove(&f->place);
}

/* Runs what follows once for each backend. */
#define EACH_BACKEND(f)                                    \
	for (size_t b_ = 0; b_ < COUNT_OF(backends); b_++) \
		for (bool there_ = open_at(&(f), backends[b_]); there_; there_ = false, close_at(&(f)))

static struct model model(struct fixture *f, const char *name, const char *version, const char *use_case)
{
	struct model m = {.id = uuid_v7(&f->ids, T0),
			  .name = slice_from(name),
			  .version = slice_from(version),
			  .use_case = slice_from(use_case),
			  .provider = S("ollama"),
			  .configuration = S("{\"endpoint\":\"http://h/\"}"),
			  .created_us = T0,
			  .updated_us = T0,
			  .status_since_us = T0};

	return m;
}

static struct model put(struct fixture *f, struct model m)
{
	CHECK_INT(store_model_insert(f->db, &m, &f->err), 0);
	return m;
}

TEST(a_model_comes_back_as_it_was_stored)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct model m = model(&f, "a", "1", "u"), back = {0};

		m.model_type = S("api");
		m.metrics = S("{\"p95\":1}");
		m.status = MODEL_TESTING;
		m.updated_us = T0 + 1;
		m.status_since_us = T0 + 2;
		put(&f, m);
		CHECK_INT(store_model_get(f.db, &f.a, &m.id, &back, &f.err), 0);
		CHECK(!memcmp(&back.id, &m.id, sizeof(m.id)));
		CHECK(slice_eq(back.name, m.name) && slice_eq(back.version, m.version) &&
		      slice_eq(back.use_case, m.use_case));
		CHECK(slice_eq(back.model_type, m.model_type) && slice_eq(back.provider, m.provider));
		CHECK(slice_eq(back.configuration, m.configuration) && slice_eq(back.metrics, m.metrics));
		CHECK_INT(back.status, MODEL_TESTING);
		CHECK_INT(back.created_us, T0);
		CHECK_INT(back.updated_us, T0 + 1);
		CHECK_INT(back.status_since_us, T0 + 2);
	}
}

TEST(a_model_that_is_not_there_is_not_found)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct uuid id = uuid_v7(&f.ids, T0);
		struct model m;

		CHECK_INT(store_model_get(f.db, &f.a, &id, &m, &f.err), E_NOTFOUND);
		CHECK_INT(store_model_current(f.db, &f.a, S("u"), &m, &f.err), E_NOTFOUND);
		CHECK_INT(store_model_set_status(f.db, &id, MODEL_TESTING, T0, &f.err), E_NOTFOUND);
		CHECK_INT(store_model_set_configuration(f.db, &id, S("{}"), T0, &f.err), E_NOTFOUND);
		CHECK_INT(store_model_set_metrics(f.db, &id, S("{}"), T0, &f.err), E_NOTFOUND);
	}
}

TEST(name_version_and_use_case_are_unique_together)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct model again = model(&f, "a", "1", "u");

		put(&f, model(&f, "a", "1", "u"));
		CHECK_INT(store_model_insert(f.db, &again, &f.err), E_EXISTS);
		put(&f, model(&f, "a", "2", "u"));
		put(&f, model(&f, "a", "1", "other"));
	}
}

TEST(a_use_case_has_one_current_model_at_most)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct model first = put(&f, model(&f, "a", "1", "u")), second = put(&f, model(&f, "a", "2", "u")), m;

		CHECK_INT(store_model_set_status(f.db, &first.id, MODEL_CURRENT, T0 + 5, &f.err), 0);
		CHECK_INT(store_model_set_status(f.db, &second.id, MODEL_CURRENT, T0 + 5, &f.err), E_EXISTS);
		CHECK_INT(store_model_current(f.db, &f.a, S("u"), &m, &f.err), 0);
		CHECK(slice_eq_str(m.version, "1"));
		CHECK_INT(m.status_since_us, T0 + 5);
		CHECK_INT(store_model_set_status(f.db, &first.id, MODEL_DEPRECATED, T0 + 6, &f.err), 0);
		CHECK_INT(store_model_set_status(f.db, &second.id, MODEL_CURRENT, T0 + 6, &f.err), 0);
		CHECK_INT(store_model_current(f.db, &f.a, S("u"), &m, &f.err), 0);
		CHECK(slice_eq_str(m.version, "2"));
	}
}

TEST(a_status_that_is_none_is_refused_by_the_database)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		put(&f, model(&f, "a", "1", "u"));
		CHECK_INT(db_exec(f.db, "update model_registry set status = 'live'", db_args(NULL, 0), NULL, &f.err),
			  E_INVALID);
	}
}

TEST(configuration_and_metrics_change_alone)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct model m = put(&f, model(&f, "a", "1", "u")), back;

		CHECK_INT(store_model_set_configuration(f.db, &m.id, S("{\"x\":1}"), T0 + 1, &f.err), 0);
		CHECK_INT(store_model_set_metrics(f.db, &m.id, S("{\"y\":2}"), T0 + 2, &f.err), 0);
		CHECK_INT(store_model_get(f.db, &f.a, &m.id, &back, &f.err), 0);
		CHECK(slice_eq_str(back.configuration, "{\"x\":1}") && slice_eq_str(back.metrics, "{\"y\":2}"));
		CHECK_INT(back.updated_us, T0 + 2);
		CHECK_INT(back.status_since_us, T0);
	}
}

static const struct {
	struct model_filter f;
	const char *found; /* versions, in order */
} model_cases[] = {
	{{.status = -1},
	 "6 4 5 3 1 7"}, /* current, testing, candidates (newest first), deprecated; then the next use case */
	{{.status = -1, .with_archived = true}, "6 4 5 3 1 2 7"},
	{{.status = MODEL_ARCHIVED}, "2"},
	{{.status = MODEL_CURRENT}, "6"},
	{{.status = -1, .use_case = {"v", 1}}, "7"},
	{{.status = -1, .provider = {"vllm", 4}}, "7"},
	{{.status = -1, .name = {"a", 1}, .version = {"3", 1}}, "3"},
	{{.status = -1, .use_case = {"none", 4}}, ""},
};

TEST(models_are_listed_by_what_is_asked_for)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		static const enum model_status statuses[] = {MODEL_DEPRECATED, MODEL_ARCHIVED,	MODEL_CANDIDATE,
							     MODEL_TESTING,    MODEL_CANDIDATE, MODEL_CURRENT,
							     MODEL_CANDIDATE};

		for (size_t i = 0; i < COUNT_OF(statuses); i++) {
			char *version = arena_printf(&f.a, "%zu", i + 1);
			struct model m = model(&f, "a", version, i == 6 ? "v" : "u");

			m.status = statuses[i];
			m.created_us = T0 + (int64_t)i;
			m.provider = i == 6 ? S("vllm") : S("ollama");
			put(&f, m);
		}
		for (size_t i = 0; i < COUNT_OF(model_cases); i++) {
			struct model *list = NULL;
			char found[64] = "";
			size_t n = 0, at = 0;

			CHECK_INT(store_model_list(f.db, &f.a, &model_cases[i].f, &list, &n, &f.err), 0);
			for (size_t k = 0; k < n; k++)
				at += (size_t)snprintf(found + at, sizeof(found) - at, "%s" SLICE_FMT, k ? " " : "",
						       SLICE_ARG(list[k].version));
			CHECK_STR(found, model_cases[i].found);
		}
	}
}

TEST(settings_and_policies_are_replaced_and_keep_their_birthday)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct use_case_row u = {S("u"), S("{\"a\":1}"), T0, T0}, back = {0}, *list = NULL;
		struct policy_row p = {S("p"), S("{\"b\":1}"), T0, T0}, *policies = NULL;
		size_t n = 0;

		CHECK_INT(store_use_case_get(f.db, &f.a, S("u"), &back, &f.err), E_NOTFOUND);
		CHECK_INT(store_use_case_put(f.db, &u, &f.err), 0);
		CHECK_INT(store_policy_put(f.db, &p, &f.err), 0);
		u.settings = p.document = S("{}");
		u.created_us = u.updated_us = p.created_us = p.updated_us = T0 + 9;
		CHECK_INT(store_use_case_put(f.db, &u, &f.err), 0);
		CHECK_INT(store_policy_put(f.db, &p, &f.err), 0);
		CHECK_INT(store_use_case_get(f.db, &f.a, S("u"), &back, &f.err), 0);
		CHECK(slice_eq_str(back.settings, "{}") && back.created_us == T0 && back.updated_us == T0 + 9);
		CHECK_INT(store_use_case_list(f.db, &f.a, &list, &n, &f.err), 0);
		CHECK(n == 1 && slice_eq_str(list[0].name, "u"));
		CHECK_INT(store_policy_list(f.db, &f.a, &policies, &n, &f.err), 0);
		CHECK(n == 1 && slice_eq_str(policies[0].document, "{}") && policies[0].created_us == T0);
		CHECK_INT(store_policy_delete(f.db, S("p"), &f.err), 0);
		CHECK_INT(store_policy_delete(f.db, S("p"), &f.err), E_NOTFOUND);
		CHECK_INT(store_policy_list(f.db, &f.a, &policies, &n, &f.err), 0);
		CHECK_INT(n, 0);
	}
}

static struct key key(struct fixture *f, const char *name, char digit)
{
	static const struct slice use_cases[] = {S("a_case"), S("b-case")};
	struct key k = {.id = uuid_v7(&f->ids, T0),
			.name = slice_from(name),
			.role = KEY_CLIENT,
			.use_cases = use_cases,
			.n_use_cases = COUNT_OF(use_cases),
			.requests_per_minute = 5,
			.tokens_per_minute = 7,
			.budgets = {{{50 * MONEY_ONE, "EUR", BUDGET_MONTH}, {.amount = 9, .period = BUDGET_TOTAL}}},
			.translate_strictly = true,
			.created_us = T0,
			.expires_us = T0 + 1};

	memset(k.digest, digit, KEY_DIGEST_SIZE - 1);
	return k;
}

TEST(a_key_comes_back_as_it_was_stored_and_is_revoked_once)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct key a = key(&f, "a", 'a'), b = key(&f, "b", 'b'), *list = NULL;
		size_t n = 0;

		b.role = KEY_ADMIN;
		b.n_use_cases = 0;
		CHECK_INT(store_key_list(f.db, &f.a, &list, &n, &f.err), 0);
		CHECK_INT(n, 0);
		CHECK_INT(store_key_insert(f.db, &f.a, &a, &f.err), 0);
		CHECK_INT(store_key_insert(f.db, &f.a, &b, &f.err), 0);
		CHECK_INT(store_key_list(f.db, &f.a, &list, &n, &f.err), 0);
		CHECK_INT(n, 2);
		CHECK(!memcmp(&list[0].id, &a.id, sizeof(a.id)) && slice_eq(list[0].name, a.name));
		CHECK_STR(list[0].digest, a.digest);
		CHECK_INT(list[0].role, KEY_CLIENT);
		CHECK(list[0].n_use_cases == 2 && slice_eq_str(list[0].use_cases[1], "b-case"));
		CHECK(list[0].requests_per_minute == 5 && list[0].tokens_per_minute == 7);
		CHECK(list[0].created_us == T0 && list[0].expires_us == T0 + 1 && !list[0].revoked_us);
		CHECK(list[1].role == KEY_ADMIN && list[1].n_use_cases == 0);
		CHECK(list[0].budgets.of[BUDGET_MONEY].amount == 50 * MONEY_ONE && list[0].translate_strictly);
		CHECK_STR(list[0].budgets.of[BUDGET_MONEY].currency, "EUR");
		CHECK(list[0].budgets.of[BUDGET_TOKENS].amount == 9 &&
		      list[0].budgets.of[BUDGET_TOKENS].period == BUDGET_TOTAL);
		a.budgets = (struct budgets){0};
		a.translate_strictly = false;
		CHECK_INT(store_key_set_spending(f.db, &a, &f.err), 0);
		CHECK_INT(store_key_list(f.db, &f.a, &list, &n, &f.err), 0);
		CHECK(!list[0].budgets.of[BUDGET_MONEY].amount && !list[0].budgets.of[BUDGET_TOKENS].amount &&
		      !list[0].translate_strictly && list[1].budgets.of[BUDGET_MONEY].amount);
		CHECK_INT(store_key_revoke(f.db, &a.id, T0 + 9, &f.err), 0);
		CHECK_INT(store_key_revoke(f.db, &a.id, T0 + 10, &f.err), E_NOTFOUND);
		CHECK_INT(store_key_set_spending(f.db, &a, &f.err), E_NOTFOUND);
		CHECK_INT(store_key_list(f.db, &f.a, &list, &n, &f.err), 0);
		CHECK(n == 2 && list[0].revoked_us == T0 + 9 && !list[1].revoked_us);
	}
}

TEST(of_keys_in_use_names_are_unique_and_digests_for_ever)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct key a = key(&f, "a", 'a'), same_name = key(&f, "a", 'b'), same_digest = key(&f, "c", 'a');

		CHECK_INT(store_key_insert(f.db, &f.a, &a, &f.err), 0);
		CHECK_INT(store_key_insert(f.db, &f.a, &same_name, &f.err), E_EXISTS);
		CHECK_INT(store_key_insert(f.db, &f.a, &same_digest, &f.err), E_EXISTS);
		CHECK_INT(store_key_revoke(f.db, &a.id, T0, &f.err), 0);
		CHECK_INT(store_key_insert(f.db, &f.a, &same_name, &f.err), 0);
		CHECK_INT(store_key_insert(f.db, &f.a, &same_digest, &f.err), E_EXISTS);
	}
}

static struct uuid event(struct fixture *f, int64_t at_us, const char *kind, const char *subject, const char *use_case)
{
	struct registry_event e = {.id = uuid_v7(&f->ids, at_us),
				   .at_us = at_us,
				   .kind = slice_from(kind),
				   .subject = slice_from(subject),
				   .use_case = slice_from(use_case),
				   .actor = S("ops"),
				   .reason = S("because"),
				   .after = S("{}")};

	CHECK_INT(store_event_append(f->db, &e, &f->err), 0);
	return e.id;
}

TEST(events_are_read_newest_first_in_pages)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct registry_event *list = NULL;
		struct event_filter all = {.limit = 3};
		char last[UUID_STR_SIZE];
		size_t n = 0;

		for (int i = 0; i < 5; i++)
			event(&f, T0 + i * SECOND, "model.status", "m", "u");
		CHECK_INT(store_event_list(f.db, &f.a, &all, &list, &n, &f.err), 0);
		CHECK(n == 3 && list[0].at_us == T0 + 4 * SECOND && list[2].at_us == T0 + 2 * SECOND);
		CHECK(slice_eq_str(list[0].actor, "ops") && slice_eq_str(list[0].reason, "because"));
		CHECK(!list[0].before.p && slice_eq_str(list[0].after, "{}"));
		all.before_id = slice_from(uuid_format(&list[2].id, last));
		CHECK_INT(store_event_list(f.db, &f.a, &all, &list, &n, &f.err), 0);
		CHECK(n == 2 && list[0].at_us == T0 + SECOND && list[1].at_us == T0);
	}
}

static const struct {
	struct event_filter f;
	size_t n;
} event_cases[] = {
	{{.subject = {"m1", 2}}, 2},
	{{.use_case = {"u", 1}}, 2},
	{{.kind = {"policy.saved", 12}}, 1},
	{{.until_us = T0 + SECOND}, 2},
	{{.subject = {"m1", 2}, .until_us = T0}, 1},
	{{.limit = STORE_PAGE_MAX + 1}, 3},
};

TEST(events_are_filtered)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		event(&f, T0, "model.registered", "m1", "u");
		event(&f, T0 + SECOND, "model.status", "m1", "u");
		event(&f, T0 + 2 * SECOND, "policy.saved", "p", NULL);
		for (size_t i = 0; i < COUNT_OF(event_cases); i++) {
			struct registry_event *list = NULL;
			size_t n = 99;

			CHECK_INT(store_event_list(f.db, &f.a, &event_cases[i].f, &list, &n, &f.err), 0);
			CHECK_INT(n, event_cases[i].n);
		}
	}
}

TEST(events_cannot_be_rewritten)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		event(&f, T0, "model.status", "m", "u");
		CHECK_INT(db_exec(f.db, "update registry_events set actor = 'nobody'", db_args(NULL, 0), NULL, &f.err),
			  E_INVALID);
		CHECK(strstr(f.err.text, "append-only"));
		CHECK_INT(db_exec(f.db, "delete from registry_events", db_args(NULL, 0), NULL, &f.err), E_INVALID);
	}
}

/* --- logs --- */

static struct log_record record(struct fixture *f, int64_t at_us)
{
	struct log_record r = {.id = uuid_v7(&f->ids, at_us),
			       .created_us = at_us,
			       .request_id = S("req-1"),
			       .model_id = S("0198b2aa-0000-7000-8000-000000000001"),
			       .model_name = S("a@1"),
			       .use_case = S("u"),
			       .provider = S("ollama"),
			       .caller = S("anonymous"),
			       .prompt = S("Once upon"),
			       .context = S("{\"zone\":1}"),
			       .output = S("a time"),
			       .tool_calls = S("[{\"name\":\"f\"}]"),
			       .parameters = S("{\"max_tokens\":5}"),
			       .finish_reason = S("stop"),
			       .attempts = S("[]"),
			       .prompt_tokens = 2,
			       .completion_tokens = -1,
			       .tokens_estimated = true,
			       .cached = true,
			       .cost = {"EUR", INT64_C(1234567890123)},
			       .latency_us = 1234,
			       .first_token_us = -1,
			       .http_status = 200,
			       .status = RECORD_TRUNCATED,
			       .fallback = RECORD_FALLBACK_ENDPOINT,
			       .stream = true,
			       .guard_action = GUARD_MASK};

	return r;
}

static struct log_record add(struct fixture *f, struct log_record r)
{
	bool inserted = false;

	CHECK_INT(store_log_insert(f->db, &r, &inserted, &f->err), 0);
	CHECK(inserted);
	return r;
}

static void with_violations(struct log_record *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		r->violations[i] = (struct record_violation){.policy = S("default"),
							     .rule = S("pii.card"),
							     .category = i % 2 ? S("pii") : S("secrets"),
							     .action = GUARD_MASK,
							     .severity = i % 2 ? GUARD_HIGH : GUARD_LOW,
							     .side = GUARD_OUTPUT,
							     .start = (uint32_t)i * 10,
							     .length = 7};
	r->n_violations = n;
}

TEST(a_record_comes_back_whole)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct log_record r = record(&f, T0), back = {0};
		char id[UUID_STR_SIZE];

		with_violations(&r, 3);
		add(&f, r);
		CHECK_INT(store_log_get(f.db, &f.a, slice_from(uuid_format(&r.id, id)), &back, &f.err), 0);
		CHECK(!memcmp(&back.id, &r.id, sizeof(r.id)));
		CHECK_INT(back.created_us, T0);
		CHECK_INT(back.source, RECORD_GATEWAY);
		CHECK(slice_eq(back.request_id, r.request_id) && slice_eq(back.model_id, r.model_id));
		CHECK(slice_eq(back.model_name, r.model_name) && slice_eq(back.use_case, r.use_case));
		CHECK(slice_eq(back.provider, r.provider) && slice_eq(back.caller, r.caller));
		CHECK(slice_eq(back.prompt, r.prompt) && slice_eq(back.context, r.context) &&
		      slice_eq(back.output, r.output) && slice_eq(back.tool_calls, r.tool_calls));
		CHECK(slice_eq(back.parameters, r.parameters) && slice_eq(back.finish_reason, r.finish_reason));
		CHECK(!back.error.p && slice_eq(back.attempts, r.attempts));
		CHECK_INT(back.prompt_tokens, 2);
		CHECK_INT(back.completion_tokens, -1);
		CHECK(back.cached);
		CHECK_INT(back.cost.nano, INT64_C(1234567890123));
		CHECK_STR(back.cost.currency, "EUR");
		CHECK(back.tokens_estimated && back.stream && !back.guard_skipped);
		CHECK_INT(back.latency_us, 1234);
		CHECK_INT(back.first_token_us, -1);
		CHECK_INT(back.http_status, 200);
		CHECK_INT(back.status, RECORD_TRUNCATED);
		CHECK_INT(back.fallback, RECORD_FALLBACK_ENDPOINT);
		CHECK_INT(back.guard_action, GUARD_MASK);
		CHECK_INT(back.n_violations, 3);
		CHECK(slice_eq_str(back.violations[1].category, "pii") && back.violations[1].start == 10);
		CHECK_INT(back.violations[1].severity, GUARD_HIGH);
		CHECK_INT(back.violations[1].side, GUARD_OUTPUT);
		CHECK_INT(back.violations[1].action, GUARD_MASK);
	}
}

TEST(a_record_of_an_application_needs_next_to_nothing)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct log_record r = {.id = uuid_v7(&f.ids, T0),
				       .source = RECORD_APPLICATION,
				       .model_id = S("my model!")},
				  back = {0};
		char id[UUID_STR_SIZE];

		add(&f, r);
		CHECK_INT(store_log_get(f.db, &f.a, slice_from(uuid_format(&r.id, id)), &back, &f.err), 0);
		CHECK_INT(back.source, RECORD_APPLICATION);
		CHECK(slice_eq_str(back.model_id, "my model!") && !back.use_case.p && !back.prompt.p);
	}
}

TEST(a_record_that_comes_twice_is_there_once)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct log_record r = record(&f, T0);
		struct violation_filter all = {.limit = 0};
		struct violation_row *list = NULL;
		bool inserted = true;
		int64_t n_logs = 0;
		size_t n = 0;

		with_violations(&r, RECORD_MAX_VIOLATIONS);
		add(&f, r);
		r.output = S("something else");
		CHECK_INT(store_log_insert(f.db, &r, &inserted, &f.err), 0);
		CHECK(!inserted);
		CHECK_INT(store_log_count(f.db, &n_logs, &f.err), 0);
		CHECK_INT(n_logs, 1);
		CHECK_INT(store_violation_list(f.db, &f.a, &all, &list, &n, &f.err), 0);
		CHECK_INT(n, RECORD_MAX_VIOLATIONS);
	}
}

TEST(many_records_at_once_are_stored_as_one_by_one)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct log_writer *w = log_writer_new();
		struct log_record list[69], back = {0};
		struct log_filter all = {.limit = 100, .with_text = true};
		struct log_record *found = NULL;
		char id[UUID_STR_SIZE];
		size_t n_inserted = 99, n = 0;

		for (size_t i = 0; i < COUNT_OF(list); i++) {
			list[i] = record(&f, T0 + (int64_t)i * SECOND);
			list[i].prompt_tokens = (int64_t)i;
			with_violations(&list[i], i % 3);
		}
		list[7].id = list[2].id; /* twice in one statement */
		list[7].created_us = list[2].created_us;
		list[7].created_us = list[2].created_us;
		list[4].error = S("late");
		add(&f, list[17]);
		CHECK_INT(store_log_insert_many(f.db, w, list, 0, &n_inserted, &f.err), 0);
		CHECK_INT((long long)n_inserted, 0);
		CHECK_INT(store_log_insert_many(f.db, w, list, COUNT_OF(list), &n_inserted, &f.err), 0);
		CHECK_INT((long long)n_inserted, COUNT_OF(list) - 2);
		CHECK_INT(store_log_insert_many(f.db, w, list, COUNT_OF(list), &n_inserted, &f.err), 0);
		CHECK_INT((long long)n_inserted, 0);
		CHECK_INT(store_log_list(f.db, &f.a, &all, &found, &n, &f.err), 0);
		CHECK_INT((long long)n, COUNT_OF(list) - 1);
		for (size_t i = 0; i < COUNT_OF(list); i++) {
			if (i == 7)
				continue;
			CHECK_INT(store_log_get(f.db, &f.a, slice_from(uuid_format(&list[i].id, id)), &back, &f.err),
				  0);
			CHECK_INT(back.created_us, list[i].created_us);
			CHECK_INT(back.prompt_tokens, (long long)i);
			CHECK_INT(back.completion_tokens, -1);
			CHECK(slice_eq(back.output, S("a time")) && slice_eq(back.tool_calls, list[i].tool_calls));
			CHECK(i == 4 ? slice_eq(back.error, S("late")) : !back.error.p);
			if (i != 2) /* which has those of number 7 too */
				CHECK_INT((long long)back.n_violations, (long long)(i % 3));
		}
		log_writer_free(w);
	}
}

/* Five records, a second apart; r0 is the oldest. */
static void five(struct fixture *f, char ids[5][UUID_STR_SIZE])
{
	for (int i = 0; i < 5; i++) {
		struct log_record r = record(f, T0 + i * SECOND);

		r.latency_us = i;
		r.status = i == 1 ? RECORD_ERROR : RECORD_OK;
		r.use_case = i == 2 ? S("v") : S("u");
		r.model_name = i == 3 ? S("ab@2") : S("a@1");
		r.model_id = i == 3 ? S("plain") : r.model_id;
		add(f, r);
		uuid_format(&r.id, ids[i]);
	}
}

static void found(struct fixture *f, const struct log_filter *filter, char *ret, size_t size)
{
	struct log_record *list = NULL;
	size_t n = 0, at = 0;

	ret[0] = '\0';
	CHECK_INT(store_log_list(f->db, &f->a, filter, &list, &n, &f->err), 0);
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(ret + at, size - at, "%d", (int)list[i].latency_us);
}

static const struct {
	struct log_filter f;
	const char *found;
} log_cases[] = {
	{{.limit = 0}, "43210"},
	{{.limit = 2}, "43"},
	{{.limit = STORE_PAGE_MAX + 1}, "43210"},
	{{.use_case = {"v", 1}}, "2"},
	{{.use_case = {"w", 1}}, ""},
	{{.status = {"error", 5}}, "1"},
	{{.model = {"0198b2aa-0000-7000-8000-000000000001", 36}}, "4210"},
	{{.model = {"plain", 5}}, "3"},
	{{.model = {"a", 1}}, "4210"},
	{{.model = {"a@1", 3}}, "4210"},
	{{.model = {"ab", 2}}, "3"},
	{{.model = {"%", 1}}, ""},
	{{.since_us = T0 + 2 * SECOND}, "432"},
	{{.until_us = T0 + 2 * SECOND}, "210"},
	{{.since_us = T0 + SECOND, .until_us = T0 + 3 * SECOND, .use_case = {"u", 1}}, "31"},
	{{.since_us = T0 + 3600 * SECOND}, ""},
};

TEST(records_are_filtered_newest_first)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		char ids[5][UUID_STR_SIZE], got[64];

		five(&f, ids);
		for (size_t i = 0; i < COUNT_OF(log_cases); i++) {
			found(&f, &log_cases[i].f, got, sizeof(got));
			CHECK_STR(got, log_cases[i].found);
		}
	}
}

TEST(records_are_paged_towards_older_and_tailed_towards_newer)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		char ids[5][UUID_STR_SIZE], got[64];

		five(&f, ids);
		found(&f, &(struct log_filter){.before_id = slice_from(ids[3]), .limit = 2}, got, sizeof(got));
		CHECK_STR(got, "21");
		found(&f, &(struct log_filter){.before_id = slice_from(ids[0])}, got, sizeof(got));
		CHECK_STR(got, "");
		found(&f, &(struct log_filter){.after_id = slice_from(ids[1]), .limit = 2}, got, sizeof(got));
		CHECK_STR(got, "23");
		found(&f, &(struct log_filter){.after_id = slice_from(ids[4])}, got, sizeof(got));
		CHECK_STR(got, "");
	}
}

TEST(texts_come_only_when_asked_for)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct log_filter with = {.with_text = true}, without = {.with_text = false};
		struct log_record *list = NULL;
		size_t n = 0;

		add(&f, record(&f, T0));
		CHECK_INT(store_log_list(f.db, &f.a, &with, &list, &n, &f.err), 0);
		CHECK(n == 1 && slice_eq_str(list[0].prompt, "Once upon") && slice_eq_str(list[0].output, "a time"));
		CHECK(slice_eq_str(list[0].tool_calls, "[{\"name\":\"f\"}]"));
		CHECK_INT(store_log_list(f.db, &f.a, &without, &list, &n, &f.err), 0);
		CHECK(n == 1 && !list[0].prompt.p && !list[0].output.p && !list[0].context.p);
		CHECK(!list[0].tool_calls.p);
	}
}

TEST(a_record_is_found_by_a_prefix_of_its_id)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		char ids[5][UUID_STR_SIZE];
		struct log_record r = {0};

		five(&f, ids);
		CHECK_INT(store_log_get(f.db, &f.a, (struct slice){ids[2], 18}, &r, &f.err), 0);
		CHECK_INT(r.latency_us, 2);
		for (char *c = ids[2]; *c; c++)
			*c = (char)(*c >= 'a' && *c <= 'f' ? *c - 32 : *c);
		CHECK_INT(store_log_get(f.db, &f.a, slice_from(ids[2]), &r, &f.err), 0);
		CHECK_INT(store_log_get(f.db, &f.a, (struct slice){ids[2], 6}, &r, &f.err), E_CONFLICT);
		CHECK(strstr(f.err.text, "5 log records"));
		CHECK_INT(store_log_get(f.db, &f.a, (struct slice){ids[2], 5}, &r, &f.err), E_INVALID);
		CHECK_INT(store_log_get(f.db, &f.a, S("ffffff"), &r, &f.err), E_NOTFOUND);
		CHECK_INT(store_log_get(f.db, &f.a, S("0' or 1=1"), &r, &f.err), E_NOTFOUND);
		CHECK_INT(store_log_get(f.db, &f.a, S("0198b2aa-0000-7000-8000-0000000000010"), &r, &f.err),
			  E_NOTFOUND);
		CHECK_INT(store_log_get(f.db, &f.a, S(""), &r, &f.err), E_INVALID);
	}
}

TEST(violations_are_filtered_and_paged)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		static const struct {
			struct violation_filter f;
			size_t n;
		} cases[] = {
			{{.limit = 0}, 8},
			{{.limit = 3}, 3},
			{{.use_case = {"u", 1}}, 8},
			{{.use_case = {"w", 1}}, 0},
			{{.category = {"pii", 3}}, 4},
			{{.severity = {"low", 3}}, 4},
			{{.model = {"a", 1}}, 8},
			{{.model = {"b", 1}}, 0},
			{{.since_us = T0 + SECOND}, 4},
			{{.until_us = T0}, 4},
		};
		struct violation_filter page = {.limit = 3};
		size_t n = 0, n_all = 0;
		char last[UUID_STR_SIZE];
		struct violation_row *list = NULL;

		for (int i = 0; i < 2; i++) {
			struct log_record r = record(&f, T0 + i * SECOND);

			with_violations(&r, 4);
			add(&f, r);
		}
		for (size_t i = 0; i < COUNT_OF(cases); i++) {
			CHECK_INT(store_violation_list(f.db, &f.a, &cases[i].f, &list, &n, &f.err), 0);
			CHECK_INT(n, cases[i].n);
		}
		for (int i = 0; i < 3; i++) {
			CHECK_INT(store_violation_list(f.db, &f.a, &page, &list, &n, &f.err), 0);
			n_all += n;
			if (n)
				page.before_id = slice_from(uuid_format(&list[n - 1].id, last));
		}
		CHECK_INT(n_all, 8);
		CHECK(n == 2 && list[1].created_us == T0 && slice_eq_str(list[1].v.rule, "pii.card"));
	}
}

/* --- what replicas agree on --- */

TEST(changes_of_the_registry_are_counted_and_given_up_with_their_transaction)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		int64_t n = -1, before = -1;

		CHECK_INT(store_registry_changes(f.db, &before, &f.err), 0);
		CHECK_INT(db_begin(f.db, &f.err), 0);
		CHECK_INT(store_registry_changed(f.db, &n, &f.err), 0);
		CHECK_INT(n, before + 1);
		db_rollback(f.db);
		CHECK_INT(store_registry_changes(f.db, &n, &f.err), 0);
		CHECK_INT(n, before);
		CHECK_INT(db_begin(f.db, &f.err), 0);
		CHECK_INT(store_registry_changed(f.db, &n, &f.err), 0);
		CHECK_INT(db_commit(f.db, &f.err), 0);
		CHECK_INT(store_registry_changes(f.db, &n, &f.err), 0);
		CHECK_INT(n, before + 1);
		CHECK_INT(db_exec(f.db, "delete from registry_changes", db_args(NULL, 0), NULL, &f.err), 0);
		CHECK_INT(store_registry_changes(f.db, &n, &f.err), E_CORRUPT);
		CHECK_INT(store_registry_changed(f.db, &n, &f.err), E_CORRUPT);
	}
}

#define LONG (3600 * SECOND)

TEST(a_lease_has_one_holder_and_each_taking_a_new_epoch)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct lease one = {"work", uuid_v7(&f.ids, T0), 0}, two = {"work", uuid_v7(&f.ids, T0), 0};
		struct lease other = {"else", two.holder, 0};

		CHECK_INT(store_lease_take(f.db, "work", &one.holder, LONG, &one.epoch, &f.err), 0);
		CHECK_INT(one.epoch, 1);
		CHECK_INT(store_lease_take(f.db, "work", &two.holder, LONG, &two.epoch, &f.err), E_CONFLICT);
		CHECK(!two.epoch && strstr(f.err.text, "held by another"));
		CHECK_INT(store_lease_take(f.db, "else", &other.holder, LONG, &other.epoch, &f.err), 0);
		CHECK_INT(store_lease_renew(f.db, &one, LONG, &f.err), 0);
		CHECK_INT(store_lease_renew(f.db, &two, LONG, &f.err), E_CONFLICT);
		CHECK_INT(store_lease_take(f.db, "work", &one.holder, LONG, &one.epoch, &f.err), 0); /* its own, anew */
		CHECK_INT(one.epoch, 2);
		CHECK_INT(store_lease_release(f.db, &two, &f.err), 0); /* not its: nothing */
		CHECK_INT(store_lease_take(f.db, "work", &two.holder, LONG, &two.epoch, &f.err), E_CONFLICT);
		CHECK_INT(store_lease_release(f.db, &one, &f.err), 0);
		CHECK_INT(store_lease_take(f.db, "work", &two.holder, LONG, &two.epoch, &f.err), 0);
		CHECK_INT(two.epoch, 3);
		CHECK_INT(store_lease_renew(f.db, &one, LONG, &f.err), E_CONFLICT);
	}
}

TEST(an_expired_lease_is_anybodys_and_its_holders_while_nobody_took_it)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct lease one = {"work", uuid_v7(&f.ids, T0), 0}, two = {"work", uuid_v7(&f.ids, T0), 0};

		CHECK_INT(store_lease_take(f.db, "work", &one.holder, -SECOND, &one.epoch, &f.err), 0);
		CHECK_INT(store_lease_renew(f.db, &one, LONG, &f.err), 0);
		CHECK_INT(store_lease_take(f.db, "work", &two.holder, LONG, &two.epoch, &f.err), E_CONFLICT);
		CHECK_INT(store_lease_renew(f.db, &one, -SECOND, &f.err), 0);
		CHECK_INT(store_lease_take(f.db, "work", &two.holder, LONG, &two.epoch, &f.err), 0);
		CHECK_INT(two.epoch, 2);
		CHECK_INT(store_lease_renew(f.db, &one, LONG, &f.err), E_CONFLICT);
		CHECK(strstr(f.err.text, "epoch 1 is over"));
	}
}

/* A write that acts on the strength of a lease. */
static int write_guarded(struct fixture *f, const struct lease *l, const char *name)
{
	struct model m = model(f, name, "1", "u");
	int rc = db_begin(f->db, &f->err);

	if (!rc)
		rc = store_lease_guard(f->db, l, &f->err);
	if (!rc)
		rc = store_model_insert(f->db, &m, &f->err);
	if (!rc)
		rc = db_commit(f->db, &f->err);
	if (rc)
		db_rollback(f->db);
	return rc;
}

TEST(a_write_with_an_epoch_that_is_over_changes_nothing)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct lease one = {"work", uuid_v7(&f.ids, T0), 0}, two = {"work", uuid_v7(&f.ids, T0), 0}, old;
		const struct model_filter all = {.status = -1};
		struct model *list;
		size_t n = 0;

		CHECK_INT(write_guarded(&f, &one, "never"), E_CONFLICT);
		CHECK_INT(store_lease_take(f.db, "work", &one.holder, -SECOND, &one.epoch, &f.err), 0);
		CHECK_INT(write_guarded(&f, &one, "a"), 0); /* expired, and nobody took it */
		CHECK_INT(store_lease_take(f.db, "work", &two.holder, LONG, &two.epoch, &f.err), 0);
		CHECK_INT(write_guarded(&f, &one, "b"), E_CONFLICT);
		CHECK_INT(write_guarded(&f, &two, "c"), 0);
		old = two;
		CHECK_INT(store_lease_take(f.db, "work", &two.holder, LONG, &two.epoch, &f.err), 0);
		CHECK_INT(write_guarded(&f, &old, "d"), E_CONFLICT); /* its own, of before */
		CHECK_INT(store_model_list(f.db, &f.a, &all, &list, &n, &f.err), 0);
		CHECK_INT(n, 2);
	}
}

struct taker {
	const char *url;
	struct uuid holder;
	int n_granted, n_failed;
};

static void *take_once(void *arg)
{
	struct taker *t = arg;
	struct db *db = NULL;
	int64_t epoch = 0;
	int rc = db_open(t->url, &db, NULL);

	if (!rc)
		rc = store_lease_take(db, "work", &t->holder, LONG, &epoch, NULL);
	t->n_granted = !rc && epoch == 1;
	t->n_failed = rc && rc != E_CONFLICT;
	db_close(db);
	return NULL;
}

TEST(of_many_who_ask_at_once_one_gets_the_lease)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct taker takers[6];
		pthread_t t[COUNT_OF(takers)];
		int n = 0, n_failed = 0;

		if (strstr(f.url, ":memory:"))
			continue; /* each connection has its own */
		for (size_t i = 0; i < COUNT_OF(takers); i++) {
			takers[i] = (struct taker){.url = f.url, .holder = uuid_v7(&f.ids, T0)};
			CHECK_INT(pthread_create(&t[i], NULL, take_once, &takers[i]), 0);
		}
		for (size_t i = 0; i < COUNT_OF(takers); i++) {
			CHECK_INT(pthread_join(t[i], NULL), 0);
			n += takers[i].n_granted;
			n_failed += takers[i].n_failed;
		}
		CHECK_INT(n, 1);
		CHECK_INT(n_failed, 0);
	}
}

/* --- migrations --- */

TEST(migrating_twice_changes_nothing)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		int level = -1, from = -1;

		CHECK_INT(migrate_level(f.db, &level, &f.err), 0);
		CHECK_INT(level, migrate_target());
		CHECK_INT(migrate_run(f.db, &from, &f.err), 0);
		CHECK_INT(from, migrate_target());
	}
}

/* --- deployments and checkpoints --- */

static bool same_id(const struct uuid *a, const struct uuid *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

static struct deployment deployment(struct fixture *f, const char *use_case, int64_t at_us)
{
	struct deployment d = {.id = uuid_v7(&f->ids, at_us),
			       .use_case = slice_from(use_case),
			       .model_id = uuid_v7(&f->ids, at_us),
			       .strategy = DEPLOY_CANARY,
			       .actor = S("ops"),
			       .reason = S("why"),
			       .created_us = at_us};

	CHECK_INT(deploy_plan_parse(d.strategy, NULL, &d.plan, NULL), 0);
	CHECK_INT(deployment_move(&d, DEPLOY_START, at_us, &f->err), 0);
	return d;
}

TEST(a_deployment_comes_back_as_it_was_written)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct deployment d = deployment(&f, "u", T0), got = {.epoch = 0};

		CHECK_INT(store_deployment_insert(f.db, &d, &f.err), 0);
		CHECK_INT(store_deployment_get(f.db, &f.a, &d.id, &got, &f.err), 0);
		CHECK(same_id(&got.model_id, &d.model_id) && uuid_is_nil(&got.previous_id) && !got.evidence.p);
		CHECK(got.state == DEPLOY_PROGRESSING && got.share == 10 && got.step == 0 && got.epoch == 1);
		CHECK(got.since_us == T0 && got.holds_until_us == d.holds_until_us && !got.finished_us);
		CHECK(!memcmp(&got.plan, &d.plan, sizeof(d.plan)));
		CHECK(slice_eq(got.actor, d.actor) && slice_eq(got.reason, d.reason) &&
		      slice_eq(got.use_case, d.use_case));
		CHECK_INT(deployment_move(&got, DEPLOY_ROLLBACK, T0 + SECOND, &f.err), 0);
		got.rollback_reason = S("error rate 9 %");
		got.evidence = S("{\"a\":1}");
		CHECK_INT(store_deployment_update(f.db, &got, &f.err), 0);
		CHECK_INT(store_deployment_update(f.db, &got, &f.err), E_CONFLICT); /* the row has moved on */
		CHECK_INT(store_deployment_get(f.db, &f.a, &d.id, &got, &f.err), 0);
		CHECK(got.state == DEPLOY_ROLLED_BACK && got.share == 0 && got.finished_us == T0 + SECOND &&
		      got.epoch == 2);
		CHECK(slice_eq_str(got.rollback_reason, "error rate 9 %") && slice_eq_str(got.evidence, "{\"a\":1}"));
		d.id = uuid_v7(&f.ids, T0);
		CHECK_INT(store_deployment_get(f.db, &f.a, &d.id, &got, &f.err), E_NOTFOUND);
	}
}

TEST(a_use_case_has_one_deployment_under_way_and_lists_go_from_new_to_old)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct deployment_filter filter = {.use_case = S("u")};
		struct deployment d[3], *list = NULL, got = {.epoch = 0};
		char id[UUID_STR_SIZE];
		size_t n = 0;

		d[0] = deployment(&f, "u", T0);
		d[1] = deployment(&f, "u", T0 + SECOND);
		d[2] = deployment(&f, "v", T0 + 2 * SECOND);
		CHECK_INT(store_deployment_active(f.db, &f.a, S("u"), &got, &f.err), E_NOTFOUND);
		CHECK_INT(store_deployment_insert(f.db, &d[0], &f.err), 0);
		CHECK_INT(store_deployment_insert(f.db, &d[1], &f.err), E_EXISTS);
		CHECK_INT(deployment_move(&d[0], DEPLOY_ABORT, T0, &f.err), 0);
		CHECK_INT(store_deployment_update(f.db, &d[0], &f.err), 0);
		CHECK_INT(store_deployment_insert(f.db, &d[1], &f.err), 0);
		CHECK_INT(store_deployment_insert(f.db, &d[2], &f.err), 0);
		CHECK_INT(store_deployment_active(f.db, &f.a, S("u"), &got, &f.err), 0);
		CHECK(same_id(&got.id, &d[1].id));
		CHECK_INT(store_deployment_list(f.db, &f.a, &filter, &list, &n, &f.err), 0);
		CHECK(n == 2 && same_id(&list[0].id, &d[1].id) && same_id(&list[1].id, &d[0].id));
		filter = (struct deployment_filter){.active = true, .limit = 1};
		CHECK_INT(store_deployment_list(f.db, &f.a, &filter, &list, &n, &f.err), 0);
		CHECK(n == 1 && same_id(&list[0].id, &d[2].id));
		filter = (struct deployment_filter){.active = true, .before_id = slice_from(uuid_format(&d[2].id, id))};
		CHECK_INT(store_deployment_list(f.db, &f.a, &filter, &list, &n, &f.err), 0);
		CHECK(n == 1 && same_id(&list[0].id, &d[1].id));
		filter = (struct deployment_filter){.id_prefix = {uuid_format(&d[1].id, id), 30}};
		CHECK_INT(store_deployment_list(f.db, &f.a, &filter, &list, &n, &f.err), 0);
		CHECK(n == 1 && same_id(&list[0].id, &d[1].id));
	}
}

TEST(checkpoints_are_kept_by_use_case_newest_first)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		struct checkpoint_filter filter = {.use_case = S("u"), .limit = 2};
		struct checkpoint_row row = {.use_case = S("u"), .actor = S("ops"), .document = S("{}")}, *list = NULL,
				      got;
		struct uuid id[3];
		char text[UUID_STR_SIZE];
		size_t n = 0;

		for (int i = 0; i < 3; i++) {
			row.id = id[i] = uuid_v7(&f.ids, T0 + i * SECOND);
			row.created_us = T0 + i * SECOND;
			row.deployment_id = i ? id[0] : (struct uuid){{0}};
			CHECK_INT(store_checkpoint_insert(f.db, &row, &f.err), 0);
		}
		CHECK_INT(store_checkpoint_insert(f.db, &row, &f.err), E_EXISTS);
		CHECK_INT(store_checkpoint_list(f.db, &f.a, &filter, &list, &n, &f.err), 0);
		CHECK(n == 2 && same_id(&list[0].id, &id[2]) && same_id(&list[1].id, &id[1]));
		filter.before_id = slice_from(uuid_format(&id[1], text));
		CHECK_INT(store_checkpoint_list(f.db, &f.a, &filter, &list, &n, &f.err), 0);
		CHECK(n == 1 && same_id(&list[0].id, &id[0]) && uuid_is_nil(&list[0].deployment_id));
		CHECK_INT(store_checkpoint_get(f.db, &f.a, &id[1], &got, &f.err), 0);
		CHECK(same_id(&got.deployment_id, &id[0]) && uuid_is_nil(&got.model_id) &&
		      got.created_us == T0 + SECOND);
		CHECK(slice_eq_str(got.document, "{}") && slice_eq_str(got.actor, "ops") &&
		      slice_eq_str(got.reason, ""));
		id[0] = uuid_v7(&f.ids, T0);
		CHECK_INT(store_checkpoint_get(f.db, &f.a, &id[0], &got, &f.err), E_NOTFOUND);
	}
}

TEST(a_database_of_a_newer_muster_is_refused_with_both_levels)
{
	struct fixture f;

	EACH_BACKEND(f)
	{
		CHECK_INT(db_exec(f.db,
				  "insert into schema_migrations (level, name, applied_us) values (99, 'future', 0)",
				  db_args(NULL, 0), NULL, &f.err),
			  0);
		CHECK_INT(migrate_run(f.db, NULL, &f.err), E_CONFLICT);
		CHECK(strstr(f.err.text, "at level 99") && strstr(f.err.text, "install a newer muster"));
	}
}

/* With nothing in them; several connections see the same. */
static const char *const empty_backends[] = {"sqlite:%s", "postgres://muster@%P/postgres",
					     "postgres://muster@%B/postgres"};

TEST(an_empty_database_is_at_level_0_and_every_step_can_be_shown)
{
	CHECK(!migrate_sql(0) && !migrate_sql(migrate_target() + 1));
	for (int i = 1; i <= migrate_target(); i++)
		CHECK(migrate_sql(i) != NULL);
	CHECK(migrate_dialect_sql(1, "sqlite") && migrate_dialect_sql(1, "postgres") &&
	      !migrate_dialect_sql(1, "oracle") && !migrate_dialect_sql(0, "sqlite"));
	for (size_t i = 0; i < COUNT_OF(empty_backends); i++) {
		struct db *db = NULL;
		char url[256];
		int level = -1;
		struct place p;

		place_make(&p);
		if (backend_url(empty_backends[i], p.file, url, sizeof(url))) {
			CHECK_INT(db_open(url, &db, NULL), 0);
			CHECK_INT(migrate_level(db, &level, NULL), 0);
			CHECK_INT(level, 0);
			db_close(db);
		}
		place_remove(&p);
	}
}

static void *migrate(void *arg)
{
	db_close(place_open(arg)); /* a failure is the test's */
	return NULL;
}

TEST(several_may_migrate_at_once)
{
	for (size_t b = 0; b < COUNT_OF(empty_backends); b++) {
		struct db *db = NULL;
		bool there;
		pthread_t t[4];
		int level = 0;
		char url[256];
		struct place p;

		place_make(&p);
		there = backend_url(empty_backends[b], p.file, url, sizeof(url));
		for (size_t i = 0; there && i < COUNT_OF(t); i++)
			CHECK_INT(pthread_create(&t[i], NULL, migrate, url), 0);
		for (size_t i = 0; there && i < COUNT_OF(t); i++)
			CHECK_INT(pthread_join(t[i], NULL), 0);
		if (there) {
			CHECK_INT(db_open(url, &db, NULL), 0);
			CHECK_INT(migrate_level(db, &level, NULL), 0);
			CHECK_INT(level, migrate_target());
			db_close(db);
		}
		place_remove(&p);
	}
}

/* --- every call fails once --- */

/* A shipper's batch: two records with violations in one transaction. */
static int ship(struct fixture *f, const struct log_record *r, size_t n)
{
	int rc = db_begin_append(f->db, &f->err);

	for (size_t i = 0; i < n && !rc; i++)
		rc = store_log_insert(f->db, &r[i], NULL, &f->err);
	if (!rc)
		rc = db_commit(f->db, &f->err);
	if (rc)
		db_rollback(f->db);
	return rc;
}

static void survive_any_failure(const char *format)
{
	bool failed = true;

	for (int at = 1; failed && at < 100; at++) {
		struct fixture f = {.db = NULL};
		struct log_record r[2];
		int64_t n = -1;
		char url[300];

		failed = false;
		place_make(&f.place);
		arena_init(&f.a, 16384, (size_t)64 << 20);
		uuid_gen_init(&f.ids);
		if (!backend_url(format, f.place.file, f.url, sizeof(f.url))) {
			close_at(&f);
			return;
		}
		(void)snprintf(url, sizeof(url), "fault:%d:%s", at, f.url);
		CHECK_INT(db_open(url, &f.db, &f.err), 0);
		if (migrate_run(f.db, NULL, &f.err)) {
			failed = true;
			CHECK_INT(migrate_run(f.db, NULL, &f.err), 0);
		}
		for (size_t i = 0; i < COUNT_OF(r); i++) {
			r[i] = record(&f, T0);
			with_violations(&r[i], 2);
		}
		if (ship(&f, r, COUNT_OF(r))) {
			failed = true;
			CHECK_INT(store_log_count(f.db, &n, &f.err), 0);
			CHECK_INT(n, 0);
			CHECK_INT(ship(&f, r, COUNT_OF(r)), 0);
		}
		if (ship(&f, r, COUNT_OF(r))) { /* the same again: nothing new */
			failed = true;
			CHECK_INT(ship(&f, r, COUNT_OF(r)), 0);
		}
		if (store_log_count(f.db, &n, &f.err)) {
			failed = true;
			CHECK_INT(store_log_count(f.db, &n, &f.err), 0);
		}
		CHECK_INT(n, 2);
		close_at(&f);
	}
	CHECK(!failed);
}

TEST(a_migration_and_a_batch_survive_the_failure_of_any_call)
{
	survive_any_failure("sqlite:%s");
	survive_any_failure("postgres://muster@%P/postgres");
}

/* Each read fails at its call, says so, and works the next time. */
TEST(every_read_reports_the_failure_of_its_call)
{
	struct fixture f;

	open_at(&f, "sqlite:%s");
	for (int at = 1; at <= 13; at++) {
		struct deployment_filter df = {.limit = 1};
		struct checkpoint_filter cf = {.limit = 1};
		struct checkpoint_row *checkpoints;
		struct deployment *deployments;
		struct model_filter mf = {.status = -1};
		struct event_filter ef = {.limit = 1};
		struct log_filter lf = {.limit = 1};
		struct violation_filter vf = {.limit = 1};
		struct violation_row *violations;
		struct registry_event *events;
		struct use_case_row *use_cases;
		struct policy_row *policies;
		struct log_record *logs;
		struct model *models, m;
		struct uuid id = {{1}};
		struct key *keys;
		struct db *db = NULL;
		int n_failed = 0;
		char url[256];
		size_t n;

		(void)snprintf(url, sizeof(url), "fault:%d:%s", at, f.place.url);
		CHECK_INT(db_open(url, &db, &f.err), 0);
		n_failed += store_model_list(db, &f.a, &mf, &models, &n, &f.err) == E_IO;
		n_failed += store_model_current(db, &f.a, S("u"), &m, &f.err) == E_IO;
		n_failed += store_use_case_list(db, &f.a, &use_cases, &n, &f.err) == E_IO;
		n_failed += store_policy_list(db, &f.a, &policies, &n, &f.err) == E_IO;
		n_failed += store_event_list(db, &f.a, &ef, &events, &n, &f.err) == E_IO;
		n_failed += store_log_list(db, &f.a, &lf, &logs, &n, &f.err) == E_IO;
		n_failed += store_violation_list(db, &f.a, &vf, &violations, &n, &f.err) == E_IO;
		n_failed += store_deployment_list(db, &f.a, &df, &deployments, &n, &f.err) == E_IO;
		n_failed += store_checkpoint_list(db, &f.a, &cf, &checkpoints, &n, &f.err) == E_IO;
		n_failed += store_policy_delete(db, S("p"), &f.err) == E_IO;
		n_failed += store_key_list(db, &f.a, &keys, &n, &f.err) == E_IO;
		n_failed += store_key_revoke(db, &id, T0, &f.err) == E_IO;
		n_failed += store_key_set_spending(db, &(struct key){.id = id}, &f.err) == E_IO;
		CHECK_INT(n_failed, 1);
		db_close(db);
	}
	close_at(&f);
}
