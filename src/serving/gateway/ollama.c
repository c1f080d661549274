/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Ollama's clients ask beside chats: which models there are (tags), which serve now (ps), what one of them can do
 * (show), which version of the API this is, and whether a model is there before they ask it something.  Models are the
 * registry's, so the calls that fetch, make or delete one are refused, saying how it is done here.
 *
 * What would break it: taking /api/v1/, which is Muster's own, for Ollama's.
 */
#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/base/version.h"
#include "core/http/router.h"
#include "serving/gateway/exchange.h"
#include "serving/gateway/models.h"

#define ANSWER_MAX ((size_t)16 * 1024 * 1024)
/* The version of Ollama whose API is spoken: clients ask it to know what they may send. */
#define API_VERSION "0.12.0"
/* No model here is unloaded: it "expires" when nobody waits for it. */
#define EXPIRES_NEVER "2999-12-31T00:00:00Z"

typedef void ollama_fn(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller);

struct call {
	ollama_fn *fn;
};

bool ollama_is_path(struct slice path)
{
	return slice_starts(path, SLICE_LIT("/api/")) && !slice_starts(path, SLICE_LIT("/api/v1/")) &&
	       !slice_eq_str(path, "/api/v1");
}

static void write_details(struct json_writer *w, const struct models_entry *e)
{
	struct slice family = e->model ? e->model->model.provider : SLICE_LIT("");

	jw_key(w, "details");
	jw_object(w);
	jw_kcstr(w, "parent_model", "");
	jw_kcstr(w, "format", "");
	jw_kstr(w, "family", family);
	jw_key(w, "families");
	jw_array(w);
	jw_str(w, family);
	jw_array_end(w);
	jw_kcstr(w, "parameter_size", "");
	jw_kcstr(w, "quantization_level", "");
	jw_object_end(w);
}

/* What tags and ps both say of a model.  Its digest changes when another one serves under the name. */
static void write_model(struct json_writer *w, const struct models_entry *e)
{
	char digest[65];

	sha256_hex(e->model ? e->model->id_text : e->mark, digest);
	jw_kstr(w, "name", e->id);
	jw_kstr(w, "model", e->id);
	jw_ki64(w, "size", 0);
	jw_kcstr(w, "digest", digest);
	write_details(w, e);
}

static void write_time(struct json_writer *w, const char *key, int64_t us)
{
	char at[CLOCK_ISO_SIZE];

	jw_kcstr(w, key, clock_iso(us, at));
}

/* Use cases with a model that serves are what runs; tags lists every name that may be asked. */
static void list_models(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller, bool running)
{
	const struct snapshot *s = g->snapshot;
	struct json_writer w;
	struct buf out;

	buf_init_arena(&out, &x->arena, ANSWER_MAX);
	jw_init(&w, &out);
	jw_object(&w);
	jw_key(&w, "models");
	jw_array(&w);
	for (size_t i = 0; i < (running ? s->n_use_cases : models_count(s)); i++) {
		struct models_entry e = models_at(s, i);

		if (!access_allows(caller, e.use_case) || (running && !e.model))
			continue;
		jw_object(&w);
		write_model(&w, &e);
		if (running) {
			jw_kcstr(&w, "expires_at", EXPIRES_NEVER);
			jw_ki64(&w, "size_vram", 0);
			jw_ki64(&w, "context_length", e.context_tokens);
		} else {
			write_time(&w, "modified_at", e.created_us);
		}
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	direct_reply(x, 200, &out);
}

static void tags(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller)
{
	list_models(g, x, caller, false);
}

static void running(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller)
{
	list_models(g, x, caller, true);
}

static void version(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller)
{
	struct json_writer w;
	struct buf out;

	(void)g;
	(void)caller;
	buf_init_arena(&out, &x->arena, 256);
	jw_init(&w, &out);
	jw_object(&w);
	jw_kcstr(&w, "version", API_VERSION);
	jw_kcstr(&w, "muster", MUSTER_VERSION);
	jw_object_end(&w);
	direct_reply(x, 200, &out);
}

/* --- show --- */

/* "temperature 0.5" a line: the model's defaults. */
static struct slice parameters_of(struct arena *a, const struct json *parameters)
{
	struct buf b;

	buf_init_arena(&b, a, parameters ? parameters->raw.n + 64 : 64);
	for (const struct json *v = parameters ? parameters->first : NULL; v; v = v->next) {
		buf_add(&b, v->key);
		buf_addc(&b, ' ');
		buf_add(&b, v->type == JSON_STRING ? v->str : v->raw);
		if (v->next)
			buf_addc(&b, '\n');
	}
	return b.n ? buf_slice(&b) : SLICE_LIT("");
}

/* `capabilities` of its configuration, or NULL. */
static const struct json *configured_abilities(struct gateway *g, struct arena *a, const struct models_entry *e)
{
	struct json *root = NULL;
	const struct json *v;

	if (!e->model || json_parse_copy(g->json, a, e->model->model.configuration, NULL, &root, NULL))
		return NULL;
	v = json_get(root, "capabilities");
	return v && v->type == JSON_ARRAY ? v : NULL;
}

/* Clients send by themselves what a model is said to take, so that nothing is said which many do not: whether it sees
 * images or thinks stands in its configuration. */
static void write_abilities(struct json_writer *w, const struct models_entry *e, const struct json *configured)
{
	bool embeds = models_answers(e, &protocol_ollama_embed);

	jw_key(w, "capabilities");
	jw_array(w);
	for (const struct json *v = configured ? configured->first : NULL; v; v = v->next)
		if (v->type == JSON_STRING)
			jw_str(w, v->str);
	if (!configured && (models_answers(e, &protocol_ollama) || !embeds)) {
		jw_cstr(w, "completion");
		jw_cstr(w, "tools");
	}
	if (!configured && embeds)
		jw_cstr(w, "embedding");
	jw_array_end(w);
}

static void write_shown(struct gateway *g, struct json_writer *w, struct arena *a, const struct models_entry *e)
{
	jw_object(w);
	jw_kcstr(w, "modelfile", "");
	jw_kstr(w, "parameters", parameters_of(a, e->model ? e->model->config.parameters : NULL));
	jw_kcstr(w, "template", "");
	write_details(w, e);
	jw_key(w, "model_info");
	jw_object(w);
	jw_kcstr(w, "general.architecture", "muster");
	jw_kstr(w, "general.basename", e->model ? e->model->full_name : e->id);
	if (e->context_tokens)
		jw_ki64(w, "muster.context_length", e->context_tokens);
	jw_object_end(w);
	write_abilities(w, e, configured_abilities(g, a, e));
	write_time(w, "modified_at", e->created_us);
	jw_object_end(w);
}

/* "name" is what older clients call it. */
static struct slice asked_model(const struct json *root)
{
	const struct json *v = json_get(root, "model");

	if (!v)
		v = json_get(root, "name");
	return v && v->type == JSON_STRING ? v->str : (struct slice){NULL, 0};
}

static bool find_entry(const struct snapshot *s, struct slice name, struct models_entry *ret)
{
	struct slice tag = slice_from(protocol_ollama.default_tag);

	return models_find(s, name, ret) ||
	       (slice_ends(name, tag) && models_find(s, slice_sub(name, 0, name.n - tag.n), ret));
}

static void show(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller)
{
	const struct json *root = direct_body(g, x);
	struct models_entry e;
	struct json_writer w;
	struct slice name;
	struct buf out;

	if (!root)
		return;
	name = asked_model(root);
	if (!name.n) {
		direct_refuse(x, 400, "model", NULL, "model is missing: name a use case or a registered model.");
		return;
	}
	if (!find_entry(g->snapshot, name, &e)) {
		direct_refuse(x, 404, "model", "model_not_found",
			      arena_printf(&x->arena, "model '" SLICE_FMT "' not found: see GET /api/tags",
					   SLICE_ARG(slice_sub(name, 0, 256))));
		return;
	}
	if (!direct_allowed(g, x, caller, e.use_case))
		return;
	buf_init_arena(&out, &x->arena, ANSWER_MAX);
	jw_init(&w, &out);
	write_shown(g, &w, &x->arena, &e);
	direct_reply(x, 200, &out);
}

/* --- a request without words --- */

static bool asks_to_unload(const struct json *root)
{
	const struct json *v = json_get(root, "keep_alive");

	return v && ((v->type == JSON_NUMBER && v->number == 0) ||
		     (v->type == JSON_STRING && (slice_eq_str(v->str, "0") || slice_eq_str(v->str, "0s"))));
}

static enum next refuse_load(struct exchange *e)
{
	exchange_say(e, "use case '" SLICE_FMT "' has no current model and no fallback", SLICE_ARG(e->use_case_name));
	return respond_error(e, &(struct api_error){.status = 503,
						    .message = slice_from(e->error_text),
						    .type = "upstream_error",
						    .code = "no_model_available"});
}

enum next ollama_loaded(struct exchange *e)
{
	bool chat = e->front == &protocol_ollama;
	char at[CLOCK_ISO_SIZE];
	struct json_writer w;
	struct buf out;

	if (!e->n_candidates)
		return refuse_load(e);
	buf_init_arena(&out, &e->http->arena, e->request.model.n * 6 + 512);
	jw_init(&w, &out);
	jw_object(&w);
	jw_kstr(&w, "model", e->request.model);
	jw_kcstr(&w, "created_at", clock_iso(e->start_us, at));
	if (chat) {
		jw_key(&w, "message");
		jw_object(&w);
		jw_kcstr(&w, "role", "assistant");
		jw_kcstr(&w, "content", "");
		jw_object_end(&w);
	} else {
		jw_kcstr(&w, "response", "");
	}
	jw_kbool(&w, "done", true);
	jw_kcstr(&w, "done_reason", asks_to_unload(e->root) ? "unload" : "load");
	jw_object_end(&w);
	e->i_candidate = e->n_candidates; /* no model has said it */
	e->log = LOG_NONE;
	record_exchange(e, RECORD_OK, 200);
	return respond_whole(e, buf_slice(&out));
}

/* --- the table --- */

static const struct call tags_c = {tags}, running_c = {running}, version_c = {version}, show_c = {show};

static const struct route routes[] = {
	{HTTP_GET, "/api/tags", &tags_c},
	{HTTP_GET, "/api/ps", &running_c},
	{HTTP_GET, "/api/version", &version_c},
	{HTTP_POST, "/api/show", &show_c},
};

bool ollama_handle(struct gateway *g, struct http_exchange *x, const struct gateway_caller *caller)
{
	struct route_match m;
	int rc;

	if (!ollama_is_path(x->head.path))
		return false;
	rc = route_find(routes, COUNT_OF(routes), &x->head, &m);
	if (!rc)
		((const struct call *)m.route->target)->fn(g, x, caller);
	else if (rc == E_DENIED)
		respond_method_refused(x, m.allowed);
	if (rc != E_NOTFOUND)
		return true;
	direct_refuse(x, 404, NULL, "not_found",
		      "There is no such call here: Muster answers /api/chat, /api/generate, /api/embed, /api/tags, "
		      "/api/show, /api/ps and /api/version. Models are registered: muster model register --help.");
	return true;
}
