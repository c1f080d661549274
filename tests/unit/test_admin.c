/* SPDX-License-Identifier: Apache-2.0 */
/* The REST API over a real SQLite file: what is asked, what comes back, and every refusal with its status, code and
 * words. */
#include "control/admin/admin.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/json/json.h"
#include "t.h"

struct fixture {
	char dir[64], url[128];
	struct store *store;
	struct registry *registry;
	struct rollout *rollout;
	struct alerts *alerts;
	struct admin admin;
};

struct answer {
	int status;
	char headers[512]; /* "name: value\n" */
	char *body;
};

static int endpoints(struct arena *a, struct admin_endpoint **ret, size_t *ret_n, void *arg)
{
	*ret = ARENA_ARRAY(a, struct admin_endpoint, 1);
	if (!*ret)
		return E_TOOBIG;
	(*ret)[0] = (struct admin_endpoint){SLICE_LIT("only_endpoint"), slice_from(arg)};
	*ret_n = 1;
	return 0;
}

static char endpoint_url[] = "http://localhost:8004/generate";

static void open_store(struct fixture *f, const char *prefix)
{
	struct err err = {0};

	snprintf(f->url, sizeof(f->url), "%ssqlite:%s/muster.db", prefix, f->dir);
	CHECK_INT(store_new(f->url, &f->store, &err), 0);
	CHECK_INT(registry_new(f->store, NULL, NULL, &f->registry, &err), 0);
	f->rollout = rollout_new(&(struct rollout_options){.registry = f->registry, .store = f->store});
	CHECK_INT(alerts_start(f->store, &(struct alerts_options){.ca_file = "", .timeout_ms = 1000}, &f->alerts, &err),
		  0);
	f->admin = (struct admin){.rollout = f->rollout,
				  .alerts = f->alerts,
				  .registry = f->registry,
				  .store = f->store,
				  .endpoints = endpoints,
				  .endpoints_arg = endpoint_url};
}

static void setup(struct fixture *f)
{
	enum registry_origin origin;
	struct err err = {0};
	struct db *db;

	log_setup(LOG_OFF, false);
	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/muster-admin-XXXXXX");
	CHECK(mkdtemp(f->dir) != NULL);
	open_store(f, "");
	CHECK_INT(store_acquire(f->store, &db, &err), 0);
	CHECK_INT(migrate_run(db, NULL, &err), 0);
	store_release(f->store, db);
	CHECK_INT(registry_load(f->registry, &origin, &err), 0);
	CHECK_STR(err.text, "");
}

static void close_store(struct fixture *f)
{
	rollout_free(f->rollout);
	alerts_free(f->alerts);
	registry_free(f->registry);
	store_free(f->store);
}

static void teardown(struct fixture *f)
{
	static const char *const files[] = {"muster.db", "muster.db-wal", "muster.db-shm"};
	char path[160];

	close_store(f);
	for (size_t i = 0; i < COUNT_OF(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, files[i]);
		unlink(path);
	}
	rmdir(f->dir);
}

static enum http_method method_of(const char *name)
{
	for (unsigned m = HTTP_GET; m < HTTP_OTHER; m++)
		if (!strcmp(http_method_name((enum http_method)m), name))
			return (enum http_method)m;
	return HTTP_OTHER;
}

/* Everything that comes back is JSON; everything that is refused has the shape of an error. */
static void check_shape(const struct answer *a)
{
	struct json_parser *p = json_parser_new();
	struct json *root = NULL;
	const struct json *e;
	struct err err = {0};
	struct arena arena;

	arena_init(&arena, 65536, 1 << 26);
	CHECK_INT(json_parse_copy(p, &arena, slice_from(a->body), NULL, &root, &err), 0);
	e = json_get(root, "error");
	CHECK((a->status >= 400) == (e != NULL && e->type == JSON_OBJECT));
	if (e && e->type == JSON_OBJECT) {
		const struct json *message = json_get(e, "message");

		CHECK(message && message->type == JSON_STRING && message->str.n > 10);
		CHECK(json_get(e, "type") && json_get(e, "type")->type == JSON_STRING);
		CHECK(json_get(e, "code") && json_get(e, "code")->type == JSON_STRING);
		CHECK(json_get(e, "param") != NULL);
	}
	json_parser_free(p);
	arena_release(&arena);
}

static struct answer call_as(struct fixture *f, const char *actor, const char *method, const char *target,
			     const char *body)
{
	struct slice query = slice_from(target), path;
	struct api_request req = {
		.method = method_of(method), .actor = slice_from(actor), .request_id = SLICE_LIT("r1")};
	struct api_reply reply;
	struct answer a = {0};

	(void)slice_split(&query, '?', &path); /* target is not absent */
	req.path = path;
	req.query = query;
	req.body = slice_from(body ? body : "");
	api_reply_init(&reply);
	CHECK_INT(admin_handle(&f->admin, &req, &reply), 0);
	CHECK_STR(reply.content_type, "application/json");
	a.status = reply.status;
	a.body = slice_dup(buf_slice(&reply.body));
	for (size_t i = 0; i < reply.n_headers; i++) {
		size_t at = strlen(a.headers);

		snprintf(a.headers + at, sizeof(a.headers) - at, SLICE_FMT ": " SLICE_FMT "\n",
			 SLICE_ARG(reply.header[i].name), SLICE_ARG(reply.header[i].value));
	}
	api_reply_release(&reply);
	check_shape(&a);
	return a;
}

static struct answer call(struct fixture *f, const char *method, const char *target, const char *body)
{
	return call_as(f, "tester", method, target, body);
}

struct row {
	const char *method, *target, *body;
	int status;
	const char *want; /* in the body or headers; a leading '!' says that it is not there */
	char save;	  /* keeps the first model_id under this letter: $A in later rows */
};

static char saved[26][UUID_STR_SIZE];

static char *expand(const char *s, char *out, size_t size)
{
	size_t n = 0;

	for (; s && *s && n + UUID_STR_SIZE < size; s++) {
		if (s[0] == '$' && s[1] >= 'A' && s[1] <= 'Z')
			n += (size_t)snprintf(out + n, size - n, "%s", saved[*++s - 'A']);
		else
			out[n++] = *s;
	}
	out[n] = '\0';
	return out;
}

static void save_id(const struct row *r, const char *body)
{
	const char *id = strstr(body, "\"model_id\":\"");

	CHECK(id != NULL);
	if (id)
		snprintf(saved[r->save - 'A'], UUID_STR_SIZE, "%s", id + 12);
}

static void run_row(struct fixture *f, const struct row *r, size_t i)
{
	char target[512], body[2048], want[512];
	struct answer a =
		call(f, r->method, expand(r->target, target, sizeof(target)), expand(r->body, body, sizeof(body)));
	bool negative = r->want && *r->want == '!';
	bool found = true;

	CHECK_INT(a.status, r->status);
	if (r->want) {
		expand(r->want + negative, want, sizeof(want));
		found = strstr(a.body, want) || strstr(a.headers, want);
		CHECK(found != negative);
	}
	if (a.status != r->status || found == negative)
		printf("# row %zu: %s %s: %d %s %s\n", i, r->method, target, a.status, a.headers, a.body);
	if (r->save && a.status < 300)
		save_id(r, a.body);
	free(a.body);
}

static void run_rows(struct fixture *f, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		run_row(f, &rows[i], i);
}

#define TINY(version)                                                   \
	"{\"model_name\":\"tiny\",\"version\":\"" version               \
	"\",\"use_case\":\"foundation_layer\",\"provider\":\"ollama\"," \
	"\"configuration\":{\"endpoint\":\"http://127.0.0.1:4511\"},\"reason\":\"first\"}"
#define OTHER(use_case) \
	"{\"model_name\":\"other\",\"version\":\"1\",\"use_case\":\"" use_case "\",\"provider\":\"sim\"}"

static const struct row life[] = {
	{"GET", "/api/v1/models", NULL, 200, "{\"object\":\"list\",\"data\":[],\"has_more\":false,\"next\":null}"},
	{"GET", "/api/v1/use-cases", NULL, 200, "\"use_case\":\"only_endpoint\""},
	{"POST", "/api/v1/models", TINY("1.0"), 201, "\"status\":\"candidate\"", 'A'},
	{"GET", "/api/v1/models/$A", NULL, 200, "\"model_name\":\"tiny\""},
	{"GET", "/api/v1/models/tiny", NULL, 200, "$A"},
	{"GET", "/api/v1/models/tiny%401.0", NULL, 200, "$A"},
	{"GET", "/api/v1/models/tiny@1.0?use_case=foundation_layer", NULL, 200, "$A"},
	{"HEAD", "/api/v1/models/tiny", NULL, 200, "$A"},
	{"POST", "/api/v1/models", TINY("1.0"), 409, "id $A, candidate since 20"},
	{"POST", "/api/v1/models", TINY("1.0"), 409, "\"code\":\"model_exists\""},
	{"POST", "/api/v1/models", TINY("2.0"), 201, "location: /api/v1/models/", 'B'},
	{"GET", "/api/v1/models/tiny", NULL, 409, "tiny@1.0 for foundation_layer ($A)"},
	{"GET", "/api/v1/models/tiny", NULL, 409, "\"code\":\"ambiguous_model\""},
	{"POST", "/api/v1/models/tiny@1.0/promote", "{\"reason\":\"first real model\"}", 200, "\"demoted\":null"},
	{"POST", "/api/v1/models/tiny@1.0/promote", NULL, 200, "\"status\":\"current\""},
	{"GET", "/api/v1/use-cases/foundation_layer/current", NULL, 200, "$A"},
	{"POST", "/api/v1/models/$B/promote", "{\"use_case\":\"foundation_layer\"}", 200, "\"demoted\":\"$A\""},
	{"GET", "/api/v1/models/$A", NULL, 200, "\"status\":\"deprecated\""},
	{"GET", "/api/v1/models?status=current", NULL, 200, "$B"},
	{"GET", "/api/v1/models?status=current", NULL, 200, "!$A"},
	{"GET", "/api/v1/models?name=tiny&provider=ollama&use_case=foundation_layer", NULL, 200, "$A"},
	{"GET", "/api/v1/models?provider=openai", NULL, 200, "\"data\":[]"},
	{"GET", "/api/v1/models?limit=1", NULL, 200, "\"has_more\":true,\"next\":\"$B\""},
	{"GET", "/api/v1/models?limit=1&before=$B", NULL, 200, "$A"},
	{"GET", "/api/v1/models?limit=1&before=$A", NULL, 200, "\"data\":[],\"has_more\":false"},
	{"PATCH", "/api/v1/models/$A",
	 "{\"configuration\":{\"endpoint\":\"http://"
	 "127.0.0.1:9\"},\"performance_metrics\":{\"p95\":3.5},\"status\":\"testing\","
	 "\"reason\":\"try again\"}",
	 200, "\"performance_metrics\":{\"p95\":3.5}"},
	{"GET", "/api/v1/models/$A/history", NULL, 200, "\"kind\":\"model.configuration\""},
	{"GET", "/api/v1/models/$A/history", NULL, 200, "\"kind\":\"model.metrics\""},
	{"GET", "/api/v1/models/$A/history?limit=1", NULL, 200, "\"reason\":\"try again\""},
	{"GET", "/api/v1/models/$A/history?limit=1", NULL, 200, "\"has_more\":true"},
	{"GET", "/api/v1/events?subject=$A&kind=model.registered", NULL, 200,
	 "\"actor\":\"tester\",\"reason\":\"first\",\"before\":null"},
	{"GET", "/api/v1/events?use_case=foundation_layer&until=1h", NULL, 200, "\"data\":[]"},
	{"GET", "/api/v1/events?kind=nothing", NULL, 200, "\"data\":[]"},
	{"GET", "/api/v1/use-cases/foundation_layer", NULL, 200, "\"candidates\":[{\"model_id\":\"$A\""},
	{"GET", "/api/v1/use-cases/foundation", NULL, 200, "\"use_case\":\"foundation_layer\""},
	{"PUT", "/api/v1/use-cases/foundation_layer",
	 "{\"fallback\":[\"tiny@1.0\"],\"policy\":\"none\",\"reason\":\"why not\"}", 200,
	 "\"fallback\":[\"tiny@1.0\"]"},
	{"GET", "/api/v1/events?subject=foundation_layer", NULL, 200, "\"reason\":\"why not\""},
	{"PUT", "/api/v1/use-cases/brand_new", "{}", 200, "\"current\":null"},
	{"GET", "/api/v1/use-cases/only_endpoint", NULL, 200,
	 "\"fallback_endpoint\":\"http://localhost:8004/generate\""},
	{"GET", "/api/v1/use-cases?limit=1", NULL, 200, "\"has_more\":true,\"next\":\"brand_new\""},
	{"GET", "/api/v1/use-cases?limit=1&before=brand_new", NULL, 200, "\"next\":\"foundation_layer\""},
	{"DELETE", "/api/v1/models/$B?reason=too%20slow", NULL, 200, "\"status\":\"archived\""},
	{"GET", "/api/v1/models", NULL, 200, "!$B"},
	{"GET", "/api/v1/models?include_archived=true", NULL, 200, "$B"},
	{"GET", "/api/v1/models/$B/history?limit=1", NULL, 200, "\"reason\":\"too slow\""},
	{"GET", "/api/v1/models/tiny", NULL, 200, "$A"},
	{"GET", "/api/v1/models/tiny@2.0", NULL, 200, "$B"},
	{"GET", "/api/v1/use-cases/foundation_layer/current", NULL, 404, "\"code\":\"no_current_model\""},
	{"POST", "/api/v1/models", OTHER("a_layer"), 201, NULL, 'C'},
	{"POST", "/api/v1/models", OTHER("b_layer"), 201, NULL, 'D'},
	{"GET", "/api/v1/models/other@1", NULL, 409, "other@1 for b_layer ($D)"},
	{"GET", "/api/v1/models/other@1?use_case=b_layer", NULL, 200, "$D"},
	{"POST", "/api/v1/models/other/promote", "{\"use_case\":\"a_layer\"}", 200, "$C"},
	{"POST", "/api/v1/models/$C/promote", "{\"use_case\":\"b_layer\"}", 409, "\"code\":\"wrong_use_case\""},
	{"POST", "/api/v1/models",
	 "{\"model_name\":\"meta/"
	 "llama-3:8b\",\"version\":\"1\",\"use_case\":\"a_layer\",\"provider\":\"sim\",\"status\":\"current\"}",
	 201, "\"status\":\"current\"", 'E'},
	{"GET", "/api/v1/models/meta%2Fllama-3:8b", NULL, 200, "$E"},
	{"GET", "/api/v1/models/$C", NULL, 200, "\"status\":\"deprecated\""},
};

TEST(a_model_lives_its_life)
{
	struct fixture f;

	setup(&f);
	run_rows(&f, life, COUNT_OF(life));
	teardown(&f);
}

static const struct row refusals[] = {
	{"POST", "/api/v1/models", TINY("1.0"), 201, NULL, 'A'},
	/* paths and methods */
	{"GET", "/api/v1/modls", NULL, 404, "\"code\":\"no_such_path\""},
	{"PUT", "/api/v1/models", NULL, 405, "allow: GET, HEAD, POST"},
	{"POST", "/api/v1/models/x", NULL, 405, "allow: GET, HEAD, PATCH, DELETE"},
	{"POST", "/api/v1/logs", "{}", 405, "allow: GET, HEAD"},
	{"GET", "/api/v1/models/%zz", NULL, 400, "percent-encoded UTF-8"},
	{"GET", "/api/v1/models/%ff", NULL, 400, "percent-encoded UTF-8"},
	{"GET", "/api/v1/models/%00", NULL, 400, "percent-encoded UTF-8"},
	/* queries */
	{"GET", "/api/v1/models?use_cse=a", NULL, 400, "unknown parameter 'use_cse': did you mean 'use_case'?"},
	{"GET", "/api/v1/models?zzzzzzzzzzz=a", NULL, 400, "there are use_case|status|"},
	{"GET", "/api/v1/use-cases/a?x=1", NULL, 400, "none is taken here"},
	{"GET", "/api/v1/models?status=%ff", NULL, 400, "'status' is not percent-encoded UTF-8"},
	{"GET", "/api/v1/models?%zz=1", NULL, 400, "the query is not percent-encoded UTF-8"},
	{"GET", "/api/v1/models?status=great", NULL, 400, "'great' is not a status: say candidate, testing"},
	{"GET", "/api/v1/models?include_archived=maybe", NULL, 400, "include_archived is true or false"},
	{"GET", "/api/v1/models?limit=0", NULL, 400, "limit is a number from 1 to 1000"},
	{"GET", "/api/v1/models?limit=1000", NULL, 200, NULL},
	{"GET", "/api/v1/models?limit=1001", NULL, 400, "\"param\":\"limit\""},
	{"GET", "/api/v1/models?limit=ten", NULL, 400, "limit is a number"},
	{"GET", "/api/v1/models?before=x", NULL, 400, "before is no id: 'x'"},
	{"GET", "/api/v1/models?use_case=Not%20One", NULL, 400, "\"param\":\"use_case\""},
	{"GET", "/api/v1/events?until=yesterday", NULL, 400, "until is no time: 'yesterday'"},
	{"GET", "/api/v1/models?status=&limit=", NULL, 200, "$A"},
	{"GET", "/api/v1/review?window=1y", NULL, 400, "window is a duration"},
	{"GET", "/api/v1/review?window=9m", NULL, 400, "from 10m to 31d"},
	{"GET", "/api/v1/review?window=49h", NULL, 400, "pieces of 6 hours"},
	{"GET", "/api/v1/review?window=99999999999999999d", NULL, 400, "\"param\":\"window\""},
	{"GET", "/api/v1/review?until=0", NULL, 400, "until has to be a time in the past"},
	{"GET", "/api/v1/review?until=2999-01-01T00:00:00Z", NULL, 400, "\"param\":\"until\""},
	{"GET", "/api/v1/review?windwo=24h", NULL, 400, "did you mean 'window'?"},
	{"GET", "/api/v1/review?window=7d&use_case=none_such", NULL, 200, "\"requests\":0"},
	/* bodies */
	{"POST", "/api/v1/models", NULL, 400, "\"code\":\"body_missing\""},
	{"POST", "/api/v1/models", "{\"a\":", 400, "\"code\":\"invalid_json\""},
	{"POST", "/api/v1/models", "[1]", 400, "the body has to be a JSON object, not a array"},
	{"POST", "/api/v1/models", "{\"modelname\":\"x\"}", 400,
	 "unknown member 'modelname': did you mean 'model_name'?"},
	{"POST", "/api/v1/models", "{\"version\":\"1\",\"version\":\"2\"}", 400, "'version' is there twice"},
	{"POST", "/api/v1/models", "{\"model_name\":\"\xff\"}", 400, "\"code\":\"invalid_json\""},
	{"POST", "/api/v1/models", "{}", 400, "model_name is missing"},
	{"POST", "/api/v1/models", "{\"model_name\":7}", 400, "\"param\":\"model_name\",\"code\":\"invalid_type\""},
	{"POST", "/api/v1/models", "{\"model_name\":\"a b\"}", 400, "\"param\":\"model_name\""},
	{"POST", "/api/v1/models", "{\"model_name\":\"a\",\"version\":\"1\",\"use_case\":\"UP\"}", 400,
	 "\"param\":\"use_case\""},
	{"POST", "/api/v1/models", "{\"model_name\":\"a\",\"version\":\"1\",\"use_case\":\"u\"}", 400,
	 "provider is missing"},
	{"POST", "/api/v1/models",
	 "{\"model_name\":\"a\",\"version\":\"1\",\"use_case\":\"u\",\"provider\":\"sim\",\"configuration\":[]}", 400,
	 "configuration has to be an object, not a array"},
	{"POST", "/api/v1/models",
	 "{\"model_name\":\"a\",\"version\":\"1\",\"use_case\":\"u\",\"provider\":\"openai\",\"configuration\":{\"api_"
	 "key\":\"sk-1\"}}",
	 400, "\"param\":\"configuration\""},
	{"POST", "/api/v1/models",
	 "{\"model_name\":\"a\",\"version\":\"1\",\"use_case\":\"u\",\"provider\":\"nobody\"}", 400,
	 "\"param\":\"configuration\""},
	{"POST", "/api/v1/models",
	 "{\"model_name\":\"a\",\"version\":\"1\",\"use_case\":\"u\",\"provider\":\"sim\",\"status\":\"great\"}", 400,
	 "\"param\":\"status\""},
	{"GET", "/api/v1/models?name=a", NULL, 200, "\"data\":[]"},
	{"PATCH", "/api/v1/models/tiny", "{}", 400, "nothing to change"},
	{"PATCH", "/api/v1/models/tiny", "{\"reason\":\"x\"}", 400, "nothing to change"},
	{"PATCH", "/api/v1/models/tiny", "{\"status\":1}", 400, "\"param\":\"status\""},
	{"PATCH", "/api/v1/models/tiny", "{\"configuration\":\"x\"}", 400, "\"param\":\"configuration\""},
	{"PATCH", "/api/v1/models/tiny", "{\"configuration\":{\"endpoint\":7}}", 400, "\"param\":\"configuration\""},
	{"PATCH", "/api/v1/models/tiny", "{\"performance_metrics\":{\"a\":1},\"status\":\"nonsense\"}", 400,
	 "\"param\":\"status\""},
	{"GET", "/api/v1/models/tiny", NULL, 200, "\"performance_metrics\":{}"},
	/* names */
	{"GET", "/api/v1/models/tni", NULL, 404, "Did you mean 'tiny@1.0'?"},
	{"GET", "/api/v1/models/tiny@1.1", NULL, 404, "\"code\":\"model_not_found\""},
	{"GET", "/api/v1/models/completely-else", NULL, 404, "GET /api/v1/models lists all"},
	{"GET", "/api/v1/models/00000000-0000-7000-8000-000000000000", NULL, 404, "\"code\":\"model_not_found\""},
	{"GET", "/api/v1/models/ffffff", NULL, 404, "\"code\":\"model_not_found\""},
	{"PATCH", "/api/v1/models/nope", "{\"status\":\"testing\"}", 404, NULL},
	{"DELETE", "/api/v1/models/nope", NULL, 404, NULL},
	{"POST", "/api/v1/models/nope/promote", NULL, 404, NULL},
	{"GET", "/api/v1/models/nope/history", NULL, 404, NULL},
	{"GET", "/api/v1/use-cases/fondation_layer", NULL, 404, "Did you mean 'foundation_layer'?"},
	{"GET", "/api/v1/use-cases/fondation_layer/current", NULL, 404, "\"code\":\"use_case_not_found\""},
	{"GET", "/api/v1/use-cases/foundation_layer/current?at=never", NULL, 400, "\"param\":\"at\""},
	{"GET", "/api/v1/use-cases/foundation_layer/current?at=1h", NULL, 404, "\"code\":\"no_current_model\""},
	{"PUT", "/api/v1/use-cases/Bad", "{}", 400, "\"param\":\"use_case\""},
	{"PUT", "/api/v1/use-cases/a", "{\"falback\":[]}", 400, "did you mean 'fallback'?"},
	{"PUT", "/api/v1/use-cases/a", "{\"policy\":7}", 400, "policy"},
	{"PUT", "/api/v1/use-cases/a", "{\"reason\":7}", 400, "\"param\":\"reason\""},
	{"PUT", "/api/v1/use-cases/a", NULL, 400, "\"code\":\"body_missing\""},
	/* logs */
	{"GET", "/api/v1/logs", NULL, 200, "\"data\":[]"},
	{"GET", "/api/v1/logs?status=fine", NULL, 400, "'fine' is no status: say ok, error"},
	{"GET", "/api/v1/logs?before=$A&after=$A", NULL, 400, "before and after cannot go together"},
	{"GET", "/api/v1/logs?text=perhaps", NULL, 400, "text is true or false"},
	{"GET", "/api/v1/logs/00000000-0000-7000-8000-000000000000", NULL, 404, "\"code\":\"log_not_found\""},
	{"GET", "/api/v1/logs/abcdef", NULL, 404, "\"code\":\"log_not_found\""},
	{"GET", "/api/v1/guardrails/violations?severity=huge", NULL, 400,
	 "'huge' is no severity: say low, medium, high or critical"},
	{"GET", "/api/v1/guardrails/violations?sverity=high", NULL, 400, "did you mean 'severity'?"},
};

TEST(what_is_wrong_is_refused_with_status_code_and_words)
{
	struct fixture f;

	setup(&f);
	run_rows(&f, refusals, COUNT_OF(refusals));
	teardown(&f);
}

static const struct row policies[] = {
	{"GET", "/api/v1/guardrails/policies", NULL, 200, "\"name\":\"default\""},
	{"GET", "/api/v1/guardrails/policies/default", NULL, 200, "\"rules\":[{"},
	{"GET", "/api/v1/guardrails/policies/defalt", NULL, 404, "Did you mean 'default'?"},
	{"PUT", "/api/v1/guardrails/policies/strict",
	 "{\"description\":\"d\",\"reason\":\"audit\",\"rules\":[{\"id\":\"r1\",\"kind\":\"literal\",\"action\":"
	 "\"block\",\"values\":[\"secret "
	 "plan\"]}]}",
	 200, "\"name\":\"strict\""},
	{"GET", "/api/v1/guardrails/policies/strict", NULL, 200, "\"values\":[\"secret plan\"]"},
	{"GET", "/api/v1/guardrails/policies?limit=1", NULL, 200, "\"has_more\":true,\"next\":\"default\""},
	{"GET", "/api/v1/guardrails/policies?limit=1&before=default", NULL, 200, "\"name\":\"strict\""},
	{"GET", "/api/v1/events?subject=strict", NULL, 200, "\"reason\":\"audit\""},
	{"PUT", "/api/v1/guardrails/policies/default", "{\"rules\":[]}", 200, "\"rules\":[]"},
	{"GET", "/api/v1/guardrails/policies/default", NULL, 200, "\"rules\":[]"},
	{"PUT", "/api/v1/guardrails/policies/none", "{}", 400, "to check nothing"},
	{"PUT", "/api/v1/guardrails/policies/Bad.Name", "{}", 400, "\"param\":\"name\""},
	{"PUT", "/api/v1/guardrails/policies/a", "{\"name\":\"b\"}", 400,
	 "the document is called 'b', the path says 'a'"},
	{"PUT", "/api/v1/guardrails/policies/a", "{\"rles\":[]}", 400, "rles"},
	{"PUT", "/api/v1/guardrails/policies/a",
	 "{\"rules\":[{\"id\":\"r1\",\"kind\":\"pattern\",\"action\":\"block\",\"values\":[\"(\"]}]}", 400, "r1"},
	{"GET", "/api/v1/guardrails/policies/a", NULL, 404, "\"code\":\"policy_not_found\""},
};

TEST(policies_are_compiled_before_they_are_stored)
{
	struct fixture f;

	setup(&f);
	run_rows(&f, policies, COUNT_OF(policies));
	teardown(&f);
}

static void insert_log(struct fixture *f, struct log_record *r, const char *prompt)
{
	struct err err = {0};
	struct db *db;
	bool inserted;

	r->id = uuid_v7_now();
	r->created_us = clock_wall_us();
	r->model_id = SLICE_LIT("m-1");
	r->model_name = SLICE_LIT("tiny@1.0");
	r->use_case = SLICE_LIT("foundation_layer");
	r->provider = SLICE_LIT("ollama");
	r->caller = SLICE_LIT("anonymous");
	r->prompt = slice_from(prompt);
	r->context = SLICE_LIT("{\"player\":1}");
	r->output = SLICE_LIT("an answer");
	r->parameters = SLICE_LIT("{\"max_tokens\":5}");
	r->attempts = SLICE_LIT("[]");
	r->prompt_tokens = 3;
	r->completion_tokens = -1;
	r->latency_us = 12345;
	r->first_token_us = -1;
	r->http_status = 200;
	CHECK_INT(store_acquire(f->store, &db, &err), 0);
	CHECK_INT(store_log_insert(db, r, &inserted, &err), 0);
	store_release(f->store, db);
}

TEST(logs_and_violations_are_listed_paged_and_shown)
{
	static struct log_record r[3];
	struct fixture f;
	const struct row rows[] = {
		{"GET", "/api/v1/logs?limit=1", NULL, 200, "\"has_more\":true,\"next\":\"$Z\""},
		{"GET", "/api/v1/logs?limit=1", NULL, 200, "!prompt\":"},
		{"GET", "/api/v1/logs?text=true&limit=1", NULL, 200,
		 "\"prompt\":\"third\",\"context\":{\"player\":1},\"output\":\"an answer\""},
		{"GET", "/api/v1/logs?limit=1&before=$Z", NULL, 200, "$Y"},
		{"GET", "/api/v1/logs?limit=1&after=$X", NULL, 200, "$Y"},
		{"GET", "/api/v1/logs?use_case=foundation_layer&model=tiny@1.0&status=ok&since=1h", NULL, 200, "$X"},
		{"GET", "/api/v1/logs?until=1h", NULL, 200, "\"data\":[]"},
		{"GET", "/api/v1/logs?model=nobody", NULL, 200, "\"data\":[]"},
		{"GET", "/api/v1/logs?status=blocked", NULL, 200, "$Y"},
		{"GET", "/api/v1/logs/$Y", NULL, 200, "\"latency_ms\":12.345,\"first_token_ms\":null"},
		{"GET", "/api/v1/logs/$Y", NULL, 200,
		 "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":null,\"estimated\":false}"},
		{"GET", "/api/v1/logs/$Y", NULL, 200, "\"violations\":[{\"policy\":\"default\",\"rule\":\"card\""},
		{"GET", "/api/v1/logs/$Y", NULL, 200, "\"prompt\":\"second\""},
		{"GET", "/api/v1/logs/0", NULL, 400, "\"param\":\"log_id\""},
		{"GET", "/api/v1/guardrails/violations", NULL, 200, "\"log_id\":\"$Y\""},
		{"GET", "/api/v1/guardrails/violations?severity=high&category=pii&model=tiny@1.0", NULL, 200,
		 "\"category\":\"pii\",\"severity\":\"high\",\"action\":\"block\",\"side\":\"output\",\"start\":4,"
		 "\"length\":16"},
		{"GET", "/api/v1/guardrails/violations?severity=low", NULL, 200, "\"data\":[]"},
		{"GET", "/api/v1/guardrails/violations?since=1h&use_case=none_such", NULL, 200, "\"data\":[]"},
	};

	setup(&f);
	memset(r, 0, sizeof(r));
	r[1].status = RECORD_BLOCKED;
	r[1].guard_action = GUARD_BLOCK;
	r[1].n_violations = 1;
	r[1].violations[0] = (struct record_violation){
		.policy = SLICE_LIT("default"),
		.rule = SLICE_LIT("card"),
		.category = SLICE_LIT("pii"),
		.action = GUARD_BLOCK,
		.severity = GUARD_HIGH,
		.side = GUARD_OUTPUT,
		.start = 4,
		.length = 16,
	};
	insert_log(&f, &r[0], "first");
	insert_log(&f, &r[1], "second");
	insert_log(&f, &r[2], "third");
	for (int i = 0; i < 3; i++)
		uuid_format(&r[i].id, saved['X' - 'A' + i]);
	run_rows(&f, rows, COUNT_OF(rows));
	teardown(&f);
}

TEST(what_was_current_can_be_asked_for_any_time)
{
	char target[128], iso[CLOCK_ISO_SIZE];
	struct answer a;
	struct fixture f;
	const struct row rows[] = {
		{"POST", "/api/v1/models", TINY("1.0"), 201, NULL, 'A'},
		{"POST", "/api/v1/models", TINY("2.0"), 201, NULL, 'B'},
		{"POST", "/api/v1/models/$A/promote", NULL, 200, NULL},
	};

	setup(&f);
	run_rows(&f, rows, COUNT_OF(rows));
	snprintf(target, sizeof(target), "/api/v1/use-cases/foundation_layer/current?at=%s",
		 clock_iso(clock_wall_us(), iso));
	free(call(&f, "POST", "/api/v1/models/tiny@2.0/promote", NULL).body);
	a = call(&f, "GET", target, NULL);
	CHECK_INT(a.status, 200);
	CHECK(strstr(a.body, saved[0]) != NULL);
	CHECK(strstr(a.body, "\"since\":\"20") != NULL);
	free(a.body);
	teardown(&f);
}

/* Long texts at their limit and one past it. */
TEST(reason_and_actor_are_bounded)
{
	char body[1200], actor[200];
	struct answer a;
	struct fixture f;

	setup(&f);
	free(call(&f, "POST", "/api/v1/models", TINY("1.0")).body);
	for (int past = 0; past < 2; past++) {
		snprintf(body, sizeof(body), "{\"reason\":\"%0*d\"}", 1024 + past, 1);
		a = call(&f, "POST", "/api/v1/models/tiny/promote", body);
		CHECK_INT(a.status, past ? 400 : 200);
		free(a.body);
		snprintf(actor, sizeof(actor), "%0*d", 128 + past, 1);
		a = call_as(&f, actor, "GET", "/api/v1/models", NULL);
		CHECK_INT(a.status, past ? 400 : 200);
		free(a.body);
	}
	a = call_as(&f, "\xff", "GET", "/api/v1/models", NULL);
	CHECK_INT(a.status, 400);
	free(a.body);
	a = call_as(&f, "", "DELETE", "/api/v1/models/tiny", NULL);
	CHECK_INT(a.status, 200);
	free(a.body);
	a = call(&f, "GET", "/api/v1/events?limit=1", NULL);
	CHECK(strstr(a.body, "\"actor\":\"anonymous\"") != NULL);
	free(a.body);
	teardown(&f);
}

TEST(a_prefix_of_an_id_will_do)
{
	char target[128];
	struct answer a;
	struct fixture f;
	const struct row rows[] = {{"POST", "/api/v1/models", TINY("1.0"), 201, NULL, 'A'}};

	setup(&f);
	run_rows(&f, rows, COUNT_OF(rows));
	for (int n = 5; n <= 36; n += 31) {
		snprintf(target, sizeof(target), "/api/v1/models/%.*s", n, saved[0]);
		a = call(&f, "GET", target, NULL);
		CHECK_INT(a.status, n < 6 ? 404 : 200);
		free(a.body);
	}
	snprintf(target, sizeof(target), "/api/v1/models/%.*s", 6, saved[0]);
	a = call(&f, "GET", target, NULL);
	CHECK_INT(a.status, 200);
	free(a.body);
	teardown(&f);
}

static const struct row every_route[] = {
	{"GET", "/api/v1/models"},
	{"POST", "/api/v1/models", TINY("3.0")},
	{"GET", "/api/v1/models/tiny@1.0"},
	{"PATCH", "/api/v1/models/tiny@1.0", "{\"performance_metrics\":{\"a\":1},\"status\":\"testing\"}"},
	{"POST", "/api/v1/models/tiny@1.0/promote"},
	{"GET", "/api/v1/models/tiny@1.0/history"},
	{"GET", "/api/v1/use-cases"},
	{"GET", "/api/v1/use-cases/foundation_layer"},
	{"PUT", "/api/v1/use-cases/foundation_layer", "{\"log\":\"metadata\"}"},
	{"GET", "/api/v1/use-cases/foundation_layer/current"},
	{"GET", "/api/v1/use-cases/foundation_layer/current?at=0s"},
	{"GET", "/api/v1/events"},
	{"GET", "/api/v1/logs"},
	{"GET", "/api/v1/logs/abcdef"},
	{"GET", "/api/v1/guardrails/policies"},
	{"PUT", "/api/v1/guardrails/policies/p", "{\"rules\":[]}"},
	{"GET", "/api/v1/guardrails/violations"},
	{"GET", "/api/v1/deployments"},
	{"POST", "/api/v1/deployments", "{\"model\":\"tiny@1.0\",\"strategy\":\"canary\"}"},
	{"GET", "/api/v1/deployments/foundation_layer"},
	{"POST", "/api/v1/deployments/foundation_layer/pause"},
	{"POST", "/api/v1/deployments/0198b2a4-6d1e-7c3a-9f00-2b6f6c1d8e11/abort"},
	{"GET", "/api/v1/snapshots"},
	{"GET", "/api/v1/alerts/silences"},
	{"POST", "/api/v1/alerts/silences", "{\"rule\":\"logging_failures\",\"for\":\"1h\",\"reason\":\"r\"}"},
	{"DELETE", "/api/v1/alerts/silences/0198b2a4-6d1e-7c3a-9f00-2b6f6c1d8e11"},
	{"GET", "/api/v1/review"},
	{"POST", "/api/v1/rollback",
	 "{\"use_case\":\"foundation_layer\",\"snapshot_id\":\"0198b2a4-6d1e-7c3a-9f00-2b6f6c1d8e11\"}"},
	{"DELETE", "/api/v1/models/tiny@1.0"},
};

/* The nth call to the database fails: the answer is 503 with a time to come back, or one that needed no such call. */
TEST(a_database_that_fails_at_any_call_gives_503_with_retry_after)
{
	int n_unavailable = 0;

	for (size_t i = 0; i < COUNT_OF(every_route); i++) {
		for (int n = 1; n <= 8; n++) {
			const struct row *r = &every_route[i];
			char prefix[32];
			struct answer a;
			struct fixture f;

			setup(&f);
			free(call(&f, "POST", "/api/v1/models", TINY("1.0")).body);
			free(call(&f, "POST", "/api/v1/models/tiny/promote", NULL).body);
			close_store(&f);
			snprintf(prefix, sizeof(prefix), "fault:%d:", n);
			open_store(&f, prefix);
			a = call(&f, r->method, r->target, r->body);
			CHECK(a.status != 500);
			if (a.status == 503) {
				n_unavailable++;
				CHECK(strstr(a.headers, "retry-after: 1\n") != NULL);
			}
			if (n == 1)
				CHECK_INT(a.status, 503);
			if (a.status == 500 || (n == 1 && a.status != 503))
				printf("# %s %s with fault %d: %d %s\n", r->method, r->target, n, a.status, a.body);
			free(a.body);
			teardown(&f);
		}
	}
	CHECK(n_unavailable >= (int)COUNT_OF(every_route));
}

TEST(alerts_are_listed_whether_or_not_the_database_answers)
{
	struct fixture f;
	struct answer a;

	setup(&f);
	for (int i = 0; i < 2; i++) {
		a = call(&f, "GET", "/api/v1/alerts", NULL);
		CHECK_INT(a.status, 200);
		CHECK(strstr(a.body, "\"data\":[]") != NULL);
		free(a.body);
		close_store(&f);
		open_store(&f, "fault:1:");
	}
	a = call(&f, "POST", "/api/v1/alerts/test", "{}");
	CHECK_INT(a.status, 404);
	CHECK(strstr(a.body, "\"code\":\"receiver_not_found\"") != NULL);
	free(a.body);
	a = call(&f, "GET", "/api/v1/alerts?rule=none", NULL);
	CHECK_INT(a.status, 400);
	free(a.body);
	teardown(&f);
}

TEST(one_review_is_made_at_a_time_and_one_that_failed_is_over)
{
	struct fixture f;
	struct answer a;

	setup(&f);
	f.admin.reviewing = true;
	a = call(&f, "GET", "/api/v1/review", NULL);
	CHECK_INT(a.status, 429);
	CHECK(strstr(a.body, "\"code\":\"review_under_way\"") && strstr(a.headers, "retry-after: 5\n"));
	free(a.body);
	close_store(&f);
	open_store(&f, "fault:1:");
	for (int i = 0; i < 2; i++) {
		a = call(&f, "GET", "/api/v1/review", NULL);
		CHECK_INT(a.status, i ? 200 : 503);
		free(a.body);
	}
	CHECK(!f.admin.reviewing);
	teardown(&f);
}

struct worker {
	pthread_t thread;
	struct fixture *f;
	int bad;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < 10; i++) {
		struct answer a =
			call(w->f, "POST",
			     i & 1 ? "/api/v1/models/tiny@1.0/promote" : "/api/v1/models/tiny@2.0/promote", "{}");
		struct answer b = call(w->f, "GET", "/api/v1/use-cases/foundation_layer", NULL);

		w->bad += a.status != 200 || b.status != 200;
		free(a.body);
		free(b.body);
	}
	return NULL;
}

TEST(several_threads_at_once_neither_block_each_other_nor_leave_two_current)
{
	struct worker w[6];
	struct answer a;
	struct fixture f;
	const char *first;

	setup(&f);
	free(call(&f, "POST", "/api/v1/models", TINY("1.0")).body);
	free(call(&f, "POST", "/api/v1/models", TINY("2.0")).body);
	for (size_t i = 0; i < COUNT_OF(w); i++) {
		w[i] = (struct worker){.f = &f};
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	}
	for (size_t i = 0; i < COUNT_OF(w); i++) {
		pthread_join(w[i].thread, NULL);
		CHECK_INT(w[i].bad, 0);
	}
	a = call(&f, "GET", "/api/v1/models?status=current", NULL);
	first = strstr(a.body, "\"model_id\"");
	CHECK(first && !strstr(first + 1, "\"model_id\""));
	free(a.body);
	teardown(&f);
}

TEST(only_paths_of_the_table_are_served)
{
	CHECK(admin_serves(slice_from("/api/v1/models/x/promote")));
	CHECK(admin_serves(slice_from("/api/v1/logs")));
	CHECK(!admin_serves(slice_from("/v1/models")));
	CHECK(!admin_serves(slice_from("/api/v1/generate")));
	CHECK(!admin_serves(slice_from("/")));
}
