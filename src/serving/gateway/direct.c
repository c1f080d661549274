/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What applications ask at request rate and the snapshot alone can answer: which models there are (models.c), which one
 * is current, what the guardrails say of a text; and the log records that they hand in, which go through the spool like
 * our own.
 */
#include "serving/gateway/exchange.h"
#include "serving/gateway/models.h"

#include "core/base/clock.h"
#include "core/http/router.h"
#include "core/http/url.h"
#include "serving/gateway/log_id.h"
#include "serving/gateway/prepared.h"

#define ANSWER_MAX ((size_t)16 * 1024 * 1024)
#define CHECK_MAX_TEXTS 256

typedef void direct_fn(struct gateway *g, struct http_exchange *x, const struct route_match *m,
		       const struct gateway_caller *caller);

struct direct {
	direct_fn *fn;
};

static void reply_json(struct http_exchange *x, int status, struct slice body)
{
	struct http_header h[2] = {{SLICE_LIT("Content-Type"), SLICE_LIT("application/json")},
				   {SLICE_LIT("x-request-id"), respond_request_id(x)}};

	http_reply(x, status, h, h[1].value.n ? 2 : 1, body);
}

void direct_reply(struct http_exchange *x, int status, const struct buf *body)
{
	if (!buf_failed(body)) {
		reply_json(x, status, buf_slice(body));
		return;
	}
	respond_plain_error(x, &(struct api_error){.status = 503,
						   .message = SLICE_LIT("The answer does not fit into this request's "
									"memory: ask for less at once."),
						   .type = "server_error"});
}

void direct_refuse(struct http_exchange *x, int status, const char *param, const char *code, const char *text)
{
	respond_plain_error(x, &(struct api_error){.status = status,
						   .message = slice_from(text ? text : "The request is not valid."),
						   .type = "invalid_request_error",
						   .param = param,
						   .code = code});
}

bool direct_allowed(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller,
		    struct slice use_case)
{
	if (access_allows(caller, use_case))
		return true;
	counter_add(&g->stats.forbidden, 1);
	respond_plain_error(x,
			    &(struct api_error){.status = 403,
						.message = slice_from(admit_use_case_text(&x->arena, caller, use_case)),
						.type = "permission_error",
						.code = "use_case_not_allowed"});
	return false;
}

/* --- GET /api/v1/use-cases/{use_case}/current --- */

static void answer_current(struct gateway *g, struct http_exchange *x, const struct route_match *m,
			   const struct gateway_caller *caller)
{
	struct slice name = url_decode(&x->arena, m->param[0], false);
	const struct snapshot_use_case *u = snapshot_use_case(g->snapshot, name);
	struct slice near;

	if (!direct_allowed(g, x, caller, u ? u->settings.name : name))
		return;
	if (u && u->current_json.n) {
		reply_json(x, 200, u->current_json);
		return;
	}
	if (u) {
		direct_refuse(
			x, 404, "use_case", "no_current_model",
			arena_printf(&x->arena,
				     "Use case '" SLICE_FMT
				     "' has no current model: muster model promote NAME@VERSION --use-case " SLICE_FMT
				     " --why ...",
				     SLICE_ARG(name), SLICE_ARG(name)));
		return;
	}
	near = snapshot_nearest(g->snapshot, name);
	direct_refuse(x, 404, "use_case", "use_case_not_found",
		      near.n ? arena_printf(&x->arena,
					    "No use case is called '" SLICE_FMT "'. Did you mean '" SLICE_FMT "'?",
					    SLICE_ARG(name), SLICE_ARG(near))
			     : arena_printf(&x->arena, "No use case is called '" SLICE_FMT "'.", SLICE_ARG(name)));
}

/* Its time is promised, so it is measured: the one place here that reads a clock. */
static void show_current(struct gateway *g, struct http_exchange *x, const struct route_match *m,
			 const struct gateway_caller *caller)
{
	int64_t began = clock_mono_us();

	answer_current(g, x, m, caller);
	counter_add(&g->stats.current_lookups, 1);
	histogram_observe(&g->stats.lookup, &histogram_lookups, (uint64_t)(clock_mono_us() - began));
}

/* --- bodies --- */

const struct json *direct_body(struct gateway *g, struct http_exchange *x)
{
	struct json *root = NULL;
	struct err err = {0};

	if (!x->body.n) {
		direct_refuse(x, 400, NULL, NULL, "The request has no body: send a JSON object.");
		return NULL;
	}
	if (json_parse(g->json, &x->arena, x->body, NULL, &root, &err)) {
		direct_refuse(x, 400, NULL, NULL, arena_printf(&x->arena, "The body is not valid JSON: %s.", err.text));
		return NULL;
	}
	if (root->type != JSON_OBJECT) {
		direct_refuse(x, 400, NULL, NULL, "The body must be a JSON object.");
		return NULL;
	}
	return root;
}

/* A text member. False after having refused. */
static bool text_member(struct http_exchange *x, const struct json *root, const char *name, struct slice *ret)
{
	struct err err = {0};

	if (!json_get_str(root, name, ret, &err))
		return true;
	direct_refuse(x, 400, name, NULL, arena_printf(&x->arena, "%s.", err.text));
	return false;
}

/* --- POST /api/v1/guardrails/check --- */

struct check {
	struct slice model_id, use_case, policy, side;
	const struct json *outputs;
	const struct guard_policy *compiled;
	const char *policy_name;
};

static bool read_check(struct gateway *g, struct http_exchange *x, struct check *c)
{
	const struct json *root = direct_body(g, x);

	*c = (struct check){0};
	if (!root)
		return false;
	if (!text_member(x, root, "model_id", &c->model_id) || !text_member(x, root, "use_case", &c->use_case) ||
	    !text_member(x, root, "policy", &c->policy) || !text_member(x, root, "side", &c->side))
		return false;
	c->outputs = json_get(root, "outputs");
	if (!c->outputs || c->outputs->type != JSON_ARRAY || c->outputs->n_items > CHECK_MAX_TEXTS) {
		direct_refuse(x, 400, "outputs", NULL, "outputs must be an array of at most 256 texts.");
		return false;
	}
	for (const struct json *o = c->outputs->first; o; o = o->next)
		if (o->type != JSON_STRING) {
			direct_refuse(x, 400, "outputs", NULL, "every item of outputs must be a string.");
			return false;
		}
	if (c->side.p && !slice_eq_str(c->side, "input") && !slice_eq_str(c->side, "output")) {
		direct_refuse(x, 400, "side", NULL, "side must be 'input' or 'output'.");
		return false;
	}
	return true;
}

/* NULL: none, or one that is not known. */
static const struct snapshot_use_case *asked_for(const struct gateway *g, const struct check *c)
{
	const struct snapshot_model *model = c->model_id.n ? snapshot_model(g->snapshot, c->model_id) : NULL;

	if (c->use_case.n)
		return snapshot_use_case(g->snapshot, c->use_case);
	return model ? snapshot_use_case(g->snapshot, model->model.use_case) : NULL;
}

static const struct snapshot_policy *find_policy(const struct gateway *g, const struct check *c)
{
	const struct snapshot_use_case *u = asked_for(g, c);
	struct slice name = c->policy.n ? c->policy : SLICE_LIT("default");

	if (!c->policy.n && u)
		return u->policy;
	for (size_t i = 0; i < g->snapshot->n_policies; i++)
		if (slice_eq(g->snapshot->policies[i].policy.name, name))
			return &g->snapshot->policies[i];
	return NULL;
}

static void write_hit(struct json_writer *w, const struct guard_policy *p, size_t index, const struct guard_hit *hit,
		      enum guard_side side)
{
	struct guard_rule_info rule = guard_rule(p, hit->rule);

	jw_object(w);
	jw_ki64(w, "index", (int64_t)index);
	jw_kstr(w, "rule", rule.id);
	jw_kstr(w, "category", rule.category);
	jw_kcstr(w, "severity", guard_severity_name(rule.severity));
	jw_kcstr(w, "action", guard_action_name(rule.action));
	jw_kcstr(w, "side", guard_side_name(side));
	jw_ki64(w, "start", (int64_t)hit->start);
	jw_ki64(w, "length", (int64_t)(hit->end - hit->start));
	jw_object_end(w);
}

static void write_output(struct http_exchange *x, struct json_writer *w, const struct guard_policy *p,
			 const struct guard_result *r, struct slice text)
{
	struct buf masked;

	jw_kcstr(w, "action", guard_action_name(r->action));
	jw_key(w, "text");
	if (r->action >= GUARD_FALLBACK || (r->overflow && r->action == GUARD_MASK)) {
		jw_null(w);
		return;
	}
	buf_init_arena(&masked, &x->arena, ANSWER_MAX);
	if (r->action == GUARD_MASK && !guard_mask(p, r, 0, text, &masked))
		text = buf_slice(&masked);
	jw_str(w, text);
}

struct judged_text {
	struct slice text;
	struct guard_result result;
};

static struct judged_text *judge_outputs(struct gateway *g, struct http_exchange *x, const struct check *c,
					 enum guard_side side)
{
	struct judged_text *t = ARENA_ARRAY(&x->arena, struct judged_text, c->outputs->n_items + 1);
	size_t i = 0;

	for (const struct json *o = c->outputs->first; t && o; o = o->next, i++) {
		t[i].text = o->str;
		guard_result_init(&t[i].result);
		guard_check(c->compiled, g->scratch, side, o->str, &t[i].result);
		if (t[i].result.failed)
			counter_add(&g->stats.guard_failures, 1);
		measure_text(measure_use_case(g, asked_for(g, c)), c->compiled, side, &t[i].result);
	}
	return t;
}

static void answer_check(struct http_exchange *x, const struct check *c, const struct judged_text *t,
			 enum guard_side side)
{
	enum guard_action action = GUARD_ALLOW;
	bool compliant = true;
	struct json_writer w;
	struct buf out;

	for (size_t i = 0; i < c->outputs->n_items; i++) {
		compliant &= !t[i].result.n_hits && !t[i].result.failed;
		if (t[i].result.action > action)
			action = t[i].result.action;
	}
	buf_init_arena(&out, &x->arena, ANSWER_MAX);
	jw_init(&w, &out);
	jw_object(&w);
	jw_kbool(&w, "compliant", compliant);
	jw_kcstr(&w, "action", guard_action_name(action));
	jw_kcstr(&w, "policy", guard_policy_name(c->compiled));
	jw_key(&w, "violations");
	jw_array(&w);
	for (size_t i = 0; i < c->outputs->n_items; i++)
		for (size_t k = 0; k < t[i].result.n_hits; k++)
			write_hit(&w, c->compiled, i, &t[i].result.hit[k], side);
	jw_array_end(&w);
	jw_key(&w, "outputs");
	jw_array(&w);
	for (size_t i = 0; i < c->outputs->n_items; i++) {
		jw_object(&w);
		jw_ki64(&w, "index", (int64_t)i);
		write_output(x, &w, c->compiled, &t[i].result, t[i].text);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	direct_reply(x, 200, &out);
}

/* Naming no use case asks about none. */
static bool check_allowed(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller,
			  const struct check *c)
{
	const struct snapshot_use_case *u = c->use_case.n ? snapshot_use_case(g->snapshot, c->use_case) : NULL;
	const struct snapshot_model *model = c->model_id.n ? snapshot_model(g->snapshot, c->model_id) : NULL;

	if (c->use_case.n && !direct_allowed(g, x, caller, u ? u->settings.name : c->use_case))
		return false;
	return !model || direct_allowed(g, x, caller, model->model.use_case);
}

static void check_outputs(struct gateway *g, struct http_exchange *x, const struct route_match *m,
			  const struct gateway_caller *caller)
{
	const struct snapshot_policy *policy;
	const struct judged_text *t;
	enum guard_side side;
	struct check c;

	(void)m;
	if (!read_check(g, x, &c) || !check_allowed(g, x, caller, &c))
		return;
	counter_add(&g->stats.checks, 1);
	policy = find_policy(g, &c);
	if (!policy || !policy->compiled) {
		direct_refuse(x, 404, "policy", "policy_not_found",
			      "No guardrail policy applies: name one that GET /api/v1/guardrails/policies lists.");
		return;
	}
	c.compiled = prepared_guard(policy->compiled);
	side = slice_eq_str(c.side, "input") ? GUARD_INPUT : GUARD_OUTPUT;
	t = judge_outputs(g, x, &c, side);
	if (!t) {
		direct_refuse(x, 413, "outputs", NULL, "The texts are too large to be checked at once.");
		return;
	}
	answer_check(x, &c, t, side);
}

/* --- POST /v1/moderations --- */

/* What clients of OpenAI's look for in every result, whether or not a policy has rules for it. */
static const char *const moderation_categories[] = {
	"harassment",
	"harassment/threatening",
	"hate",
	"hate/threatening",
	"illicit",
	"illicit/violent",
	"self-harm",
	"self-harm/intent",
	"self-harm/instructions",
	"sexual",
	"sexual/minors",
	"violence",
	"violence/graphic",
};

static const struct guard_policy *moderation_policy(struct gateway *g, struct http_exchange *x, struct slice model,
						    const struct gateway_caller *caller)
{
	const struct snapshot_use_case *u = model.n ? snapshot_use_case(g->snapshot, model) : NULL;
	struct check c = {.use_case = u ? model : SLICE_LIT("")};
	const struct snapshot_policy *policy;

	if (u && !direct_allowed(g, x, caller, u->settings.name))
		return NULL;
	policy = find_policy(g, &c);
	if (policy && policy->compiled)
		return prepared_guard(policy->compiled);
	direct_refuse(x, 404, "model", "policy_not_found",
		      "No guardrail policy applies: name a use case that has one, or make the policy 'default'.");
	return NULL;
}

/* A rule of either side counts: who asks does not say where the text is from. */
static void moderate(struct gateway *g, const struct guard_policy *policy, struct slice text, struct guard_result *r)
{
	guard_check(policy, g->scratch, GUARD_INPUT, text, r);
	guard_check(policy, g->scratch, GUARD_OUTPUT, text, r);
	if (r->failed)
		counter_add(&g->stats.guard_failures, 1);
}

/* input: a text, texts that have a result each, or parts of one text.  The number of results, or 0 after having
 * refused. */
static size_t moderate_input(struct gateway *g, struct http_exchange *x, const struct json *input,
			     const struct guard_policy *policy, struct guard_result **ret)
{
	bool list = input && input->type == JSON_ARRAY && input->first;
	bool parts = list && input->first->type == JSON_OBJECT;
	size_t n = list && !parts ? input->n_items : 1, i = 0;

	if ((!list && (!input || input->type != JSON_STRING)) || (list && input->n_items > CHECK_MAX_TEXTS)) {
		direct_refuse(x, 400, "input", NULL,
			      "input must be a text, or an array of at most 256 texts or parts.");
		return 0;
	}
	*ret = ARENA_ARRAY(&x->arena, struct guard_result, n);
	if (!*ret) {
		direct_refuse(x, 413, "input", NULL, "The texts are too large to be checked at once.");
		return 0;
	}
	for (size_t k = 0; k < n; k++)
		guard_result_init(&(*ret)[k]);
	if (!list)
		moderate(g, policy, input->str, *ret);
	for (const struct json *v = list ? input->first : NULL; v; v = v->next) {
		const struct json *text = parts ? json_get(v, "text") : v;

		if ((parts && v->type != JSON_OBJECT) || (text && text->type != JSON_STRING)) {
			direct_refuse(x, 400, "input", NULL,
				      "every item of input must be a text, or every one a part.");
			return 0;
		}
		if (text)
			moderate(g, policy, text->str, &(*ret)[i]);
		i += !parts;
	}
	return n;
}

static bool has_category(const struct guard_policy *p, const struct guard_result *r, size_t n_hits, struct slice name)
{
	for (size_t i = 0; i < n_hits; i++)
		if (slice_eq(guard_rule(p, r->hit[i].rule).category, name))
			return true;
	return false;
}

static bool is_moderation_category(struct slice name)
{
	for (size_t i = 0; i < COUNT_OF(moderation_categories); i++)
		if (slice_eq_str(name, moderation_categories[i]))
			return true;
	return false;
}

enum category_fact { CATEGORY_HIT, CATEGORY_SCORE, CATEGORY_INPUTS };

static void write_category_fact(struct json_writer *w, enum category_fact fact, bool hit)
{
	switch (fact) {
	case CATEGORY_HIT:
		jw_bool(w, hit);
		break;
	case CATEGORY_SCORE:
		jw_i64(w, hit);
		break;
	case CATEGORY_INPUTS: /* images are not judged */
		jw_raw(w, SLICE_LIT("[\"text\"]"));
		break;
	}
}

/* Every category of theirs, and those of ours that were hit. */
static void write_categories(struct json_writer *w, const struct guard_policy *p, const struct guard_result *r,
			     enum category_fact fact)
{
	jw_object(w);
	for (size_t i = 0; i < COUNT_OF(moderation_categories); i++) {
		jw_key(w, moderation_categories[i]);
		write_category_fact(w, fact, has_category(p, r, r->n_hits, slice_from(moderation_categories[i])));
	}
	for (size_t i = 0; i < r->n_hits; i++) {
		struct slice name = guard_rule(p, r->hit[i].rule).category;

		if (!name.n || is_moderation_category(name) || has_category(p, r, i, name))
			continue;
		jw_key_slice(w, name);
		write_category_fact(w, fact, true);
	}
	jw_object_end(w);
}

static void moderations(struct gateway *g, struct http_exchange *x, const struct route_match *m,
			const struct gateway_caller *caller)
{
	const struct json *root = direct_body(g, x);
	const struct guard_policy *policy;
	struct guard_result *results;
	struct slice model = {NULL, 0};
	struct json_writer w;
	struct buf out;
	size_t n;

	(void)m;
	if (!root || !text_member(x, root, "model", &model) || !(policy = moderation_policy(g, x, model, caller)))
		return;
	n = moderate_input(g, x, json_get(root, "input"), policy, &results);
	if (!n)
		return;
	buf_init_arena(&out, &x->arena, ANSWER_MAX);
	jw_init(&w, &out);
	jw_object(&w);
	jw_kstr(&w, "id", slice_from(arena_printf(&x->arena, "modr-" SLICE_FMT, SLICE_ARG(respond_request_id(x)))));
	jw_kcstr(&w, "model", guard_policy_name(policy));
	jw_key(&w, "results");
	jw_array(&w);
	for (size_t i = 0; i < n; i++) {
		jw_object(&w);
		jw_kbool(&w, "flagged", results[i].n_hits || results[i].overflow || results[i].failed);
		jw_key(&w, "categories");
		write_categories(&w, policy, &results[i], CATEGORY_HIT);
		jw_key(&w, "category_scores");
		write_categories(&w, policy, &results[i], CATEGORY_SCORE);
		jw_key(&w, "category_applied_input_types");
		write_categories(&w, policy, &results[i], CATEGORY_INPUTS);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	direct_reply(x, 200, &out);
}

/* --- POST /api/v1/logs --- */

static bool read_numbers(struct http_exchange *x, const struct json *root, struct log_record *r, struct slice *ret_at)
{
	double latency_ms = -1;
	struct err err = {0};
	struct slice at = {0};

	r->prompt_tokens = r->completion_tokens = r->first_token_us = -1;
	if (json_get_i64(root, "prompt_tokens", &r->prompt_tokens, &err) ||
	    json_get_i64(root, "completion_tokens", &r->completion_tokens, &err) ||
	    json_get_double(root, "latency_ms", &latency_ms, &err) || json_get_str(root, "created_at", &at, &err)) {
		direct_refuse(x, 400, NULL, NULL, arena_printf(&x->arena, "%s.", err.text));
		return false;
	}
	*ret_at = at;
	r->latency_us = latency_ms < 0 || latency_ms > 1e12 ? -1 : (int64_t)(latency_ms * 1000);
	if (r->prompt_tokens < -1 || r->completion_tokens < -1) {
		direct_refuse(x, 400, r->prompt_tokens < -1 ? "prompt_tokens" : "completion_tokens", NULL,
			      "a number of tokens cannot be negative.");
		return false;
	}
	if (at.p && clock_parse(at, r->created_us, &r->created_us)) {
		direct_refuse(x, 400, "created_at", NULL, "created_at must be a time such as 2026-11-23T04:50:20Z.");
		return false;
	}
	return true;
}

static bool read_json_member(struct http_exchange *x, const struct json *root, const char *name, struct slice *ret)
{
	const struct json *v = json_get(root, name);

	if (!v || v->type == JSON_NULL)
		return true;
	if (v->type != JSON_OBJECT && v->type != JSON_ARRAY) {
		direct_refuse(x, 400, name, NULL, arena_printf(&x->arena, "%s must be a JSON object.", name));
		return false;
	}
	*ret = v->raw;
	return true;
}

static bool read_calls(struct http_exchange *x, const struct json *root, struct slice *ret)
{
	const struct json *v = json_get(root, "tool_calls");

	if (!v || v->type == JSON_NULL)
		return true;
	if (!calls_are_told(v)) {
		direct_refuse(
			x, 400, "tool_calls", NULL,
			"tool_calls must be an array of objects with id (text or null), name (text) and arguments "
			"(JSON as text).");
		return false;
	}
	if (v->first)
		*ret = v->raw;
	return true;
}

static bool read_log(struct http_exchange *x, const struct json *root, struct log_record *r, struct log_name *name)
{
	struct slice status = {0}, output = {0};

	if (!text_member(x, root, "model_id", &r->model_id) || !text_member(x, root, "model_name", &r->model_name) ||
	    !text_member(x, root, "use_case", &r->use_case) || !text_member(x, root, "prompt", &r->prompt) ||
	    !text_member(x, root, "output", &output) || !text_member(x, root, "generated_output", &output) ||
	    !text_member(x, root, "status", &status) || !text_member(x, root, "error", &r->error) ||
	    !read_json_member(x, root, "context", &r->context) || !read_calls(x, root, &r->tool_calls) ||
	    !read_json_member(x, root, "parameters", &r->parameters) || !read_numbers(x, root, r, &name->created_at) ||
	    !text_member(x, root, "id", &name->id))
		return false;
	r->output = output;
	if (!r->model_id.n || r->model_id.n > 256) {
		direct_refuse(x, 400, "model_id", NULL,
			      "model_id is required: a registered model's id, or any name of up to 256 bytes.");
		return false;
	}
	if (!r->use_case.n || r->use_case.n > 256) {
		direct_refuse(x, 400, "use_case", NULL, "use_case is required, of up to 256 bytes.");
		return false;
	}
	if (status.p && record_status_parse(status, &r->status)) {
		direct_refuse(
			x, 400, "status", NULL,
			"status must be one of ok, error, blocked, truncated, client_disconnect, timeout, shutdown.");
		return false;
	}
	return true;
}

/* False after having refused: it has a name that cannot be. */
static bool name_log(struct gateway *g, struct http_exchange *x, struct log_name *name, struct log_record *r)
{
	const char *param = NULL;
	struct err err = {0};

	name->key = http_header(&x->head, "idempotency-key");
	name->caller = r->caller;
	if (!log_id_take(name, loop_wall_us(g->loop), r, &param, &err))
		return true;
	direct_refuse(x, 400, param, "invalid_id", arena_printf(&x->arena, "%s.", err.text));
	return false;
}

static void answer_log(struct http_exchange *x, int status, const struct log_record *r)
{
	char id[UUID_STR_SIZE];
	struct json_writer w;
	struct buf out;

	buf_init_arena(&out, &x->arena, 256);
	jw_init(&w, &out);
	jw_object(&w);
	jw_kcstr(&w, "log_id", uuid_format(&r->id, id));
	jw_object_end(&w);
	reply_json(x, status, buf_slice(&out));
}

static void take_log(struct gateway *g, struct http_exchange *x, const struct route_match *m,
		     const struct gateway_caller *caller)
{
	const struct json *root = direct_body(g, x);
	struct log_record r = {.source = RECORD_APPLICATION, .guard_skipped = true};
	struct log_name name = {.id = {NULL, 0}};
	int rc;

	(void)m;
	if (!root)
		return;
	r.created_us = loop_wall_us(g->loop);
	r.id = uuid_v7(&g->ids, r.created_us);
	r.caller = caller->name;
	r.request_id = respond_request_id(x);
	if (!read_log(x, root, &r, &name) || !direct_allowed(g, x, caller, r.use_case) || !name_log(g, x, &name, &r))
		return;
	if ((name.id.p || name.key.p) && spool_remembers(g->spool, &r.id)) {
		answer_log(x, 200, &r);
		return;
	}
	rc = spool_append(g->spool, g->writer, &r);
	if (rc == E_TOOBIG) {
		direct_refuse(x, 413, NULL, "record_too_large",
			      "The record is larger than the log can take: 16 MiB of texts in all.");
		return;
	}
	if (rc) {
		respond_plain_error(
			x,
			&(struct api_error){
				.status = 503,
				.message = SLICE_LIT("The log cannot take a record now: its disk is full. Try again."),
				.type = "server_error",
				.code = "log_unavailable"});
		return;
	}
	counter_add(&g->stats.app_logs, 1);
	if (name.id.p || name.key.p)
		spool_remember(g->spool, &r.id);
	answer_log(x, 201, &r);
}

/* --- the table --- */

static const struct direct list_models_d = {models_list}, show_model_d = {models_show}, show_current_d = {show_current},
			   check_d = {check_outputs}, moderations_d = {moderations}, take_log_d = {take_log};

static const struct route routes[] = {
	{HTTP_GET, "/v1/models", &list_models_d},
	{HTTP_GET, "/v1/models/{id}", &show_model_d},
	{HTTP_GET, "/v1beta/models", &list_models_d},
	{HTTP_GET, "/v1beta/models/{id}", &show_model_d},
	{HTTP_GET, "/api/v1/use-cases/{use_case}/current", &show_current_d},
	{HTTP_POST, "/api/v1/guardrails/check", &check_d},
	{HTTP_POST, "/v1/moderations", &moderations_d},
	{HTTP_POST, "/api/v1/logs", &take_log_d},
};

bool direct_handle(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller)
{
	struct route_match m;
	const struct direct *d;
	int rc = route_find(routes, COUNT_OF(routes), &x->head, &m);

	if (rc && models_named_by(x->head.path, &m.param[0])) {
		if (x->head.method == HTTP_POST && slice_chr(m.param[0], ':') >= 0)
			return false; /* a call of Gemini's that there is not */
		m.allowed = 1U << HTTP_GET | 1U << HTTP_HEAD;
		rc = E_DENIED;
		if (x->head.method == HTTP_GET || x->head.method == HTTP_HEAD) {
			models_show(g, x, &m, caller);
			return true;
		}
	}
	if (rc == E_DENIED && !slice_starts(x->head.path, SLICE_LIT("/api/"))) { /* there the control plane has more */
		respond_method_refused(x, m.allowed);
		return true;
	}
	if (rc)
		return false;
	d = m.route->target;
	if (d->fn == show_current && query_get(&x->arena, x->head.query, "at").p)
		return false; /* the past is the control plane's */
	d->fn(g, x, &m, caller);
	return true;
}
