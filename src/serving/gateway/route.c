/* SPDX-License-Identifier: Apache-2.0 */
/* Which models may serve a request, in which order. */
#include "serving/gateway/exchange.h"

#include "core/base/utf8.h"
#include "serving/gateway/prepared.h"
#include "serving/gateway/target.h"

/* Without memory for them there are none. */
static void make_room(struct exchange *e, size_t n)
{
	e->candidate = ARENA_ARRAY(&e->http->arena, struct candidate, n);
	e->max_candidates = e->candidate ? n : 0;
}

static void add_model(struct exchange *e, const struct snapshot_model *m, enum record_fallback kind)
{
	if (e->n_candidates == e->max_candidates || !m->target)
		return;
	for (size_t i = 0; i < e->n_candidates; i++)
		if (e->candidate[i].targets == m->target) /* a deployment's may be in the chain too */
			return;
	e->candidate[e->n_candidates++] = (struct candidate){.targets = m->target,
							     .target = ((const struct targets *)m->target)->list,
							     .full_name = m->full_name,
							     .name = m->model.name,
							     .id = m->id_text,
							     .provider = m->model.provider,
							     .kind = kind};
}

static void add_endpoint(struct exchange *e)
{
	const struct settings_endpoint *endpoint = settings_endpoint(e->settings, e->use_case_name);

	if (e->front->embeds && e->use_case) /* its vectors would be of another model */
		return;
	if (!endpoint || e->n_candidates == e->max_candidates)
		return;
	e->candidate[e->n_candidates++] = (struct candidate){.targets = &endpoint->targets,
							     .target = &endpoint->target,
							     .full_name = endpoint->url,
							     .name = endpoint->url,
							     .provider = SLICE_LIT("endpoint"),
							     .kind = RECORD_FALLBACK_ENDPOINT};
}

static enum next refuse_unknown(struct exchange *e, struct slice wanted)
{
	struct slice near = access_is_limited(&e->caller) ? (struct slice){0} : snapshot_nearest(e->snapshot, wanted);
	struct slice shown = utf8_truncate(e->request.layer.n ? e->request.layer : wanted, USE_CASE_MAX);
	struct api_error error = {.status = 404,
				  .type = "invalid_request_error",
				  .param = e->request.layer.p	   ? "layer"
					   : e->request.use_case.p ? "use_case"
								   : "model",
				  .code = "model_not_found"};
	const char *text;

	if (near.n)
		text = arena_printf(&e->http->arena,
				    "No use case, layer or model is called '" SLICE_FMT "'. Did you mean '" SLICE_FMT
				    "'?",
				    SLICE_ARG(shown), SLICE_ARG(near));
	else
		text = arena_printf(&e->http->arena,
				    "No use case, layer or model is called '" SLICE_FMT
				    "'. See GET /v1/models, or register one: muster model register --help.",
				    SLICE_ARG(shown));
	error.message = slice_from(text ? text : "No such use case, layer or model.");
	exchange_say(e, SLICE_FMT, SLICE_ARG(error.message));
	return respond_error(e, &error);
}

/* A use case that only the configuration file knows: no models yet, a hardcoded endpoint. */
static bool route_configured(struct exchange *e, struct slice name)
{
	if (!settings_endpoint(e->settings, name))
		return false;
	e->use_case_name = name;
	e->log = LOG_FULL;
	return true;
}

static bool find_use_case(struct exchange *e, struct slice wanted)
{
	const struct snapshot_use_case *u = snapshot_use_case(e->snapshot, wanted);
	char layer[USE_CASE_MAX + 8];

	if (u) {
		e->use_case = u;
		e->use_case_name = u->settings.name;
		e->log = u->settings.log;
		e->log_required = u->settings.log_required;
		return true;
	}
	if (wanted.n > USE_CASE_MAX)
		return false;
	return route_configured(e, wanted) ||
	       route_configured(e, arena_slice(&e->http->arena, use_case_of_layer(wanted, layer)));
}

static void choose_policy(struct exchange *e)
{
	const struct snapshot_policy *p = e->use_case ? e->use_case->policy : NULL;

	if (!e->use_case && e->snapshot->n_policies)
		for (size_t i = 0; i < e->snapshot->n_policies && !p; i++)
			if (slice_eq_str(e->snapshot->policies[i].policy.name, "default"))
				p = &e->snapshot->policies[i];
	e->policy = p && e->settings->guardrails ? prepared_guard(p->compiled) : NULL;
	if (e->policy)
		e->policy_digest = slice_from(((const struct prepared_policy *)p->compiled)->digest);
}

/* What callers are told apart by: those who say nothing are new with each request. */
static struct slice sticky_key(const struct exchange *e)
{
	const struct json *user = json_get(e->root, "user");
	struct slice said = http_header(&e->http->head, "x-muster-sticky");

	if (!user) /* where Anthropic's callers say it */
		user = json_get(json_get(e->root, "metadata"), "user_id");
	if (user && user->type == JSON_STRING && user->str.n)
		return user->str;
	return said.n ? said : e->request_id;
}

/* Callers who compare vectors get them all from the current model until another is that. */
static bool is_of_another_space(const struct exchange *e, const struct snapshot_use_case *u)
{
	return e->front->embeds && u->current && u->current->target && u->candidate->target &&
	       !vectors_same_space(u->current->target, u->candidate->target);
}

/* While a deployment is under way: its model in front for its share of the callers, the current one behind it. */
static void split(struct exchange *e)
{
	const struct snapshot_use_case *u = e->use_case;

	if (!u->candidate)
		return;
	e->arm = ARM_CURRENT;
	if (!snapshot_splits_off(u, sticky_key(e)) || is_of_another_space(e, u))
		return;
	add_model(e, u->candidate, RECORD_FALLBACK_NONE);
	if (!e->n_candidates)
		return;
	e->arm = ARM_CANDIDATE;
	e->candidate[0].arm = ARM_CANDIDATE;
}

static void list_candidates(struct exchange *e)
{
	const struct snapshot_use_case *u = e->use_case;
	size_t n = (u ? u->n_chain + (u->candidate != NULL) : 0) +
		   (settings_endpoint(e->settings, e->use_case_name) != NULL);

	make_room(e, min_size(n, CANDIDATES_MAX));
	if (u)
		split(e);
	for (size_t i = 0; u && i < u->n_chain; i++) {
		bool is_first = u->chain[i] == u->current && e->arm != ARM_CANDIDATE;
		size_t at = e->n_candidates;

		add_model(e, u->chain[i], is_first ? RECORD_FALLBACK_NONE : RECORD_FALLBACK_MODEL);
		if (e->n_candidates > at && u->chain[i] == u->current && e->arm != ARM_NONE)
			e->candidate[at].arm = ARM_CURRENT;
	}
	add_endpoint(e);
}

static enum next refuse_use_case(struct exchange *e)
{
	const char *text = admit_use_case_text(&e->http->arena, &e->caller, e->use_case_name);
	struct api_error error = {
		.status = 403, .message = slice_from(text), .type = "permission_error", .code = "use_case_not_allowed"};

	exchange_say(e, "%s", text);
	counter_add(&e->g->stats.forbidden, 1);
	e->n_candidates = 0;		      /* none of them has answered */
	e->use_case_name = (struct slice){0}; /* and nothing of it goes into the log of a use case it may not see */
	return respond_error(e, &error);
}

/* As far as can be told before there is a record: one that the answer makes larger may still not fit. */
static bool lacks_log(const struct exchange *e)
{
	return e->log_required && !spool_has_room(e->g->spool, e->g->writer, 2 * e->http->body.n + LOG_ROOM_MIN);
}

/* What it asks of guardrails cannot be had: fallback content serves, or an error, and no model. */
static void refuse_unguarded(struct exchange *e)
{
	if (!e->settings->guardrails || !snapshot_is_unguarded(e->snapshot, e->use_case))
		return;
	e->n_candidates = 0;
	e->error_status = 503;
	exchange_say(e, "the guardrails of " SLICE_FMT " cannot be used, and nothing leaves unjudged: see /health",
		     SLICE_ARG(e->use_case_name));
}

enum next exchange_route(struct exchange *e)
{
	struct slice wanted = e->request.use_case.n ? e->request.use_case : e->request.model;
	const struct snapshot_model *m;

	/* A layer that is none may be a use case all the same: people say "layer" for what they call. */
	if (find_use_case(e, wanted) || (e->request.layer.n && find_use_case(e, e->request.layer))) {
		list_candidates(e);
	} else {
		m = e->request.use_case.n ? NULL : snapshot_model(e->snapshot, wanted);
		if (!m)
			return refuse_unknown(e, wanted);
		e->use_case = snapshot_use_case(e->snapshot, m->model.use_case);
		e->use_case_name = m->model.use_case;
		e->log = e->use_case ? e->use_case->settings.log : LOG_FULL;
		e->log_required = e->use_case && e->use_case->settings.log_required;
		e->pinned = true;
		make_room(e, 1);
		add_model(e, m, RECORD_FALLBACK_NONE);
	}
	if (!e->settings->history || e->counts)
		e->log = LOG_NONE;
	e->log_required &= e->log != LOG_NONE;
	if (!access_allows(&e->caller, e->use_case_name))
		return refuse_use_case(e);
	choose_policy(e);
	refuse_unguarded(e);
	e->stats = measure_use_case(e->g, e->use_case);
	counter_add(&e->stats->requests, 1);
	if (vectors_route(e) != NEXT)
		return FINISHED;
	if (lacks_log(e)) /* before it costs a model's time */
		return respond_unlogged(e);
	e->step = e->request.loads ? STEP_LOADED : STEP_ONCE;
	return NEXT;
}
