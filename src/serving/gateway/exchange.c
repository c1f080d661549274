/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a request.  An exchange walks through the table of steps below; a step that has to wait for an upstream
 * returns WAIT, and the callback that ends the waiting calls exchange_run() again.  Everything an exchange allocates
 * lives in its arena, which the server takes back when the answer has been sent.
 *
 *   authenticate -> decode -> route -> once -> shed -> guard input -> budget -> attempt -> answer
 *                                                                               ^    |
 *                                                                               +----+  next candidate
 */
#include "serving/gateway/exchange.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/utf8.h"
#include "serving/gateway/gemini_path.h"

#define UNJUDGED_MAX ((size_t)512) /* few enough that a list of hits has room for what they can hold */
#define TURN_BYTES ((size_t)64 * 1024)
#define TURN_MAX_BYTES ((size_t)64 * 1024 * 1024)
#define ANSWER_SLACK 64

static enum next authenticate(struct exchange *e)
{
	e->step = STEP_DECODE;
	return NEXT; /* admit() has refused who may not */
}

static enum next done(struct exchange *e)
{
	(void)e;
	return FINISHED;
}

static const struct step {
	const char *name;
	enum next (*run)(struct exchange *e);
} steps[] = {
	[STEP_AUTHENTICATE] = {"authenticate", authenticate},
	[STEP_DECODE] = {"decode", exchange_decode},
	[STEP_ROUTE] = {"route", exchange_route},
	[STEP_LOADED] = {"loaded", ollama_loaded},
	[STEP_ONCE] = {"once", exchange_once},
	[STEP_SHED] = {"shed", shed_enter},
	[STEP_GUARD_INPUT] = {"guard input", exchange_guard_input},
	[STEP_BUDGET] = {"budget", spend_reserve},
	[STEP_ATTEMPT] = {"attempt", exchange_attempt},
	[STEP_ANSWER] = {"answer", exchange_answer},
	[STEP_DONE] = {"done", done},
};

void exchange_run(struct exchange *e)
{
	while (steps[e->step].run(e) == NEXT)
		;
}

/* --- the caller's side --- */

static void on_abort(struct http_exchange *x)
{
	struct exchange *e = x->user;
	const char *why = x->stopped ? "the daemon was stopped" : "the caller went away";

	timer_cancel(e->g->loop, &e->given_up);
	timer_cancel(e->g->loop, &e->pause);
	failover_settle(e, OUTCOME_REFUSED);
	if (e->call_active) {
		e->call_active = false;
		http_call_cancel(&e->call);
		attempt_note(e, CALL_NOT_COUNTED, why);
	}
	if (e->stats && !x->stopped)
		counter_add(&e->stats->disconnects, 1);
	exchange_say(e, "%s", why);
	record_exchange(e, x->stopped ? RECORD_SHUTDOWN : RECORD_CLIENT_DISCONNECT, x->stopped ? 503 : 499);
	e->step = STEP_DONE;
	http_stream_cut(x);
}

static void on_drain(struct http_exchange *x)
{
	struct exchange *e = x->user;

	if (e->call_active)
		http_call_resume(&e->call);
}

static void on_free(struct http_exchange *x)
{
	exchange_release(x->user);
}

static const struct http_exchange_ops exchange_ops = {.on_abort = on_abort, .on_drain = on_drain, .on_free = on_free};

struct exchange *exchange_new(struct gateway *g, struct http_exchange *x, const struct protocol *front)
{
	struct exchange *e = arena_alloc(&x->arena, sizeof(*e));

	if (!e)
		return NULL;
	memset(e, 0, sizeof(*e));
	e->g = g;
	e->http = x;
	e->front = front;
	e->snapshot = snapshot_ref(g->snapshot);
	e->settings = gateway_settings_ref(g->settings);
	e->start_ms = loop_now_ms(g->loop);
	e->start_us = loop_wall_us(g->loop);
	e->log_id = uuid_v7(&g->ids, e->start_us);
	uuid_format(&e->log_id, e->log_id_text);
	e->request_id = respond_callers_request_id(&x->head);
	if (!e->request_id.n)
		e->request_id = slice_from(e->log_id_text);
	e->first_token_ms = -1;
	e->error_status = 502;
	e->error_text = "";
	e->retry_after_ms = -1;
	buf_init_arena(&e->attempts, &x->arena, ATTEMPTS_JSON_MAX);
	x->user = e;
	x->ops = &exchange_ops;
	return e;
}

void exchange_say(struct exchange *e, const char *fmt, ...)
{
	char text[500];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* a longer one is cut */
	va_end(ap);
	e->error_text = arena_strndup(&e->http->arena, text, strlen(text));
	if (!e->error_text)
		e->error_text = "no memory is left for this request";
}

struct dropped_params *exchange_dropped(struct exchange *e)
{
	if (!e->dropped)
		e->dropped = ARENA_NEW(&e->http->arena, struct dropped_params);
	return e->dropped;
}

void exchange_release(struct exchange *e)
{
	if (e->stream)
		stream_release(e);
	timer_cancel(e->g->loop, &e->given_up);
	timer_cancel(e->g->loop, &e->pause);
	failover_settle(e, OUTCOME_REFUSED);
	shed_leave(e);
	spend_release(e);
	once_release(e);
	if (e->array)
		array_release(e->array);
	buf_release(&e->body);
	http_call_release(&e->call);
	snapshot_unref(e->snapshot);
	gateway_settings_unref(e->settings);
	if (e->settled)
		slab_free(&e->g->settled, e);
}

const struct candidate *exchange_served_by(const struct exchange *e)
{
	return e->i_candidate < e->n_candidates ? &e->candidate[e->i_candidate] : NULL;
}

/* --- the gateway of a loop --- */

struct gateway *gateway_new(const struct gateway_options *o)
{
	struct gateway *g = calloc(1, sizeof(*g));
	uint64_t seed;

	if (!g)
		abort();
	g->loop = o->loop;
	g->spool = o->spool;
	g->once = o->once;
	g->cache = o->cache;
	g->budgets = o->budgets;
	g->writer = o->writer;
	g->control = o->control;
	g->control_arg = o->control_arg;
	g->client = http_client_new(o->loop, &o->client);
	g->scratch = guard_scratch_new();
	g->json = json_parser_new();
	arena_init(&g->turn, TURN_BYTES, TURN_MAX_BYTES);
	buf_init(&g->unjudged, UNJUDGED_MAX);
	slab_init(&g->streams, sizeof(struct stream));
	slab_init(&g->settled, sizeof(struct exchange));
	uuid_gen_init(&g->ids);
	rand_bytes(&seed, sizeof(seed));
	rng_seed(&g->rng, seed);
	return g;
}

void gateway_free(struct gateway *g)
{
	if (!g)
		return;
	http_client_free(g->client);
	guard_scratch_free(g->scratch);
	json_parser_free(g->json);
	arena_release(&g->turn);
	buf_release(&g->unjudged);
	slab_trim(&g->streams);
	slab_trim(&g->settled);
	snapshot_unref(g->snapshot);
	gateway_settings_unref(g->settings);
	free(g);
}

void gateway_give_back(struct gateway *g)
{
	http_client_give_back(g->client);
	arena_release(&g->turn); /* nothing is in it between callbacks */
	buf_release(&g->unjudged);
	slab_trim(&g->streams);
	slab_trim(&g->settled);
}

void gateway_set_snapshot(struct gateway *g, struct snapshot *s)
{
	struct snapshot *old = g->snapshot;

	g->snapshot = snapshot_ref(s);
	counter_set(&g->stats.generation, s->generation);
	if (old)
		snapshot_unref(old);
}

void gateway_set_settings(struct gateway *g, struct gateway_settings *s)
{
	struct gateway_settings *old = g->settings;

	g->settings = gateway_settings_ref(s);
	gateway_settings_unref(old);
}

const struct gateway_stats *gateway_stats(const struct gateway *g)
{
	return &g->stats;
}

const struct http_client_stats *gateway_client_stats(const struct gateway *g)
{
	return http_client_stats(g->client);
}

/* Inference endpoints, and the protocol that each speaks. */
static const struct front {
	struct slice path;
	const struct protocol *protocol;
	bool counts;
} fronts[] = {
	{SLICE_LIT("/v1/chat/completions"), &protocol_openai, false},
	{SLICE_LIT("/v1/responses"), &protocol_responses, false},
	{SLICE_LIT("/api/v1/generate"), &protocol_generate, false},
	{SLICE_LIT("/v1/messages"), &protocol_anthropic, false},
	{SLICE_LIT("/v1/messages/count_tokens"), &protocol_anthropic, true},
	{SLICE_LIT("/api/chat"), &protocol_ollama, false},
	{SLICE_LIT("/api/generate"), &protocol_ollama_generate, false},
	{SLICE_LIT("/v1/completions"), &protocol_openai_completions, false},
	{SLICE_LIT("/v1/embeddings"), &protocol_openai_embeddings, false},
	{SLICE_LIT("/api/embed"), &protocol_ollama_embed, false},
	{SLICE_LIT("/api/embeddings"), &protocol_ollama_embeddings, false},
};

const struct protocol *gateway_front_of(struct slice path)
{
	for (size_t i = 0; i < COUNT_OF(fronts); i++)
		if (slice_eq(path, fronts[i].path))
			return fronts[i].protocol;
	if (gemini_path_read(path, NULL))
		return &protocol_gemini;
	if (ollama_is_path(path))
		return &protocol_ollama;
	return slice_starts(path, SLICE_LIT("/v1/messages/")) ? &protocol_anthropic : NULL;
}

/* What of a request its path says. */
struct asked {
	const struct protocol *front;
	struct slice model;
	bool stream, counts, array;
};

static void start_exchange(struct gateway *g, struct http_exchange *x, const struct asked *asked,
			   const struct gateway_caller *caller)
{
	struct exchange *e = exchange_new(g, x, asked->front);

	if (e && asked->array)
		e->array = array_new(&x->arena);
	if (!e || (asked->array && !e->array)) {
		respond_plain_error(x, &(struct api_error){.status = 503,
							   .message = SLICE_LIT("Out of memory for this request."),
							   .type = "server_error"});
		return;
	}
	e->caller = *caller;
	e->path_model = asked->model;
	e->path_stream = asked->stream;
	if (asked->counts)
		count_begin(e);
	exchange_run(e);
}

static void refuse_call(struct http_exchange *x, int status, const char *text)
{
	respond_plain_error(x, &(struct api_error){.status = status,
						   .message = slice_from(text),
						   .type = "invalid_request_error",
						   .code = status == 404 ? "no_such_path" : NULL});
}

/* /v1/responses/ID, with whatever method and whatever behind it */
static void refuse_kept_response(struct http_exchange *x)
{
	struct api_error error = {.status = 404,
				  .message =
					  SLICE_LIT("No response is kept here, so there is none of this id: send the "
						    "earlier items in input.  What was said is in the log, under "
						    "/api/v1/logs, by the id behind resp_."),
				  .type = "invalid_request_error",
				  .param = "id",
				  .code = "not_found"};

	respond_plain_error(x, &error);
}

static const struct protocol *gemini_front(struct slice call)
{
	if (slice_eq_str(call, "embedContent"))
		return &protocol_gemini_embed;
	return slice_eq_str(call, "batchEmbedContents") ? &protocol_gemini_embed_batch : &protocol_gemini;
}

/* /v1beta/models/MODEL:generateContent */
static void start_gemini(struct gateway *g, struct http_exchange *x, const struct gemini_path *path,
			 const struct gateway_caller *caller)
{
	struct asked asked = {.front = gemini_front(path->call), .model = path->model};
	enum gemini_alt alt = GEMINI_SSE;

	asked.stream = slice_eq_str(path->call, "streamGenerateContent");
	asked.counts = slice_eq_str(path->call, "countTokens");
	if (asked.stream)
		alt = gemini_path_alt(&x->head, &x->arena);
	asked.array = alt == GEMINI_ARRAY;
	if (!asked.model.n ||
	    (!asked.stream && !asked.counts && !asked.front->embeds && !slice_eq_str(path->call, "generateContent")))
		refuse_call(x, 404,
			    "There is no such call: POST /v1beta/models/MODEL:generateContent, :countTokens, "
			    ":streamGenerateContent, :embedContent or :batchEmbedContents, where MODEL is a use case, "
			    "a layer or a registered model.");
	else if (alt == GEMINI_NEITHER)
		refuse_call(x, 400,
			    "A stream is sent as server-sent events (?alt=sse) or as a JSON array (?alt=json, or "
			    "without it).");
	else
		start_exchange(g, x, &asked, caller);
}

/* False after having refused what it came packed in. */
static bool unpack(struct http_exchange *x)
{
	struct err err;
	int rc = x->head.content_coding.n ? http_unpack_body(x, &err) : 0;

	if (rc)
		gateway_on_refused(x, rc == E_UNSUPPORTED ? 415 : rc == E_TOOBIG ? 413 : 400, err.text, NULL);
	return !rc;
}

/* What stands below these is the protocols', and none of the control plane's. */
static bool is_of_protocols(struct slice path)
{
	return slice_starts(path, SLICE_LIT("/v1/")) || slice_starts(path, SLICE_LIT("/v1beta/"));
}

void gateway_on_request(struct http_exchange *x, void *gateway)
{
	struct gateway *g = gateway;
	struct gateway_caller caller;
	struct gemini_path path;

	if (!admit(g, x, &caller) || !unpack(x))
		return;
	for (size_t i = 0; i < COUNT_OF(fronts); i++) {
		if (!slice_eq(x->head.path, fronts[i].path))
			continue;
		if (x->head.method != HTTP_POST)
			respond_method_refused(x, 1U << HTTP_POST);
		else
			start_exchange(g, x, &(struct asked){.front = fronts[i].protocol, .counts = fronts[i].counts},
				       &caller);
		return;
	}
	if (gemini_path_read(x->head.path, &path) && (x->head.method == HTTP_POST || gemini_path_is_call(&path))) {
		if (x->head.method == HTTP_POST)
			start_gemini(g, x, &path, &caller);
		else
			respond_method_refused(x, 1U << HTTP_POST);
		return;
	}
	if (slice_starts(x->head.path, SLICE_LIT("/v1/responses/"))) {
		refuse_kept_response(x);
		return;
	}
	if (direct_handle(g, x, &caller) || ollama_handle(g, x, &caller))
		return;
	if (is_of_protocols(x->head.path))
		refuse_call(x, 404,
			    arena_printf(&x->arena, "nothing is at '" SLICE_FMT "': GET / says what there is",
					 SLICE_ARG(utf8_truncate(x->head.path, 200))));
	else
		g->control(x, &caller, g->control_arg);
}

void gateway_on_refused(struct http_exchange *x, int status, const char *why, void *gateway)
{
	const char *code = status == 413   ? "request_too_large"
			   : status == 431 ? "headers_too_large"
			   : status == 408 ? "request_timeout"
					   : NULL;

	(void)gateway;
	respond_plain_error(x, &(struct api_error){.status = status,
						   .message = slice_from(why),
						   .type = status >= 500 ? "server_error" : "invalid_request_error",
						   .code = code});
}
