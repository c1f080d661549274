/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which models there are: use cases and registered models, in the shape that callers of OpenAI's, Anthropic's or
 * Gemini's protocol look for.  What would break it: a page of Gemini's list that begins where another one, of a
 * snapshot with other entries, has ended without looking for it.
 */
#include "serving/gateway/models.h"
#include "core/base/clock.h"
#include "core/http/router.h"
#include "core/http/url.h"
#include "serving/gateway/exchange.h"
#include "serving/gateway/target.h"

#define ANSWER_MAX ((size_t)16 * 1024 * 1024)
#define PAGE_DEFAULT 50
#define PAGE_MAX 1000

enum shape { SHAPE_OPENAI, SHAPE_ANTHROPIC, SHAPE_GEMINI };

/* The path says it, or a header that only the clients of one protocol send. */
static enum shape shape_of(const struct http_exchange *x)
{
	if (slice_starts(x->head.path, SLICE_LIT("/v1beta/")) || http_header(&x->head, "x-goog-api-key").n)
		return SHAPE_GEMINI;
	return http_header(&x->head, "anthropic-version").n ? SHAPE_ANTHROPIC : SHAPE_OPENAI;
}

/* --- entries: use cases, then models --- */

static struct models_entry entry_of_model(const struct snapshot_model *m)
{
	return (struct models_entry){.id = m->full_name,
				     .owner = m->model.provider,
				     .version = m->model.version,
				     .mark = m->id_text,
				     .use_case = m->model.use_case,
				     .created_us = m->model.created_us,
				     .context_tokens = m->config.context_tokens,
				     .model = m};
}

static struct models_entry entry_of_use_case(const struct snapshot *s, const struct snapshot_use_case *u)
{
	const struct snapshot_model *now = u->current;

	return (struct models_entry){.id = u->settings.name,
				     .owner = SLICE_LIT("muster"),
				     .version = now ? now->full_name : SLICE_LIT("none"),
				     .mark = u->settings.name,
				     .use_case = u->settings.name,
				     .created_us = now ? now->model.created_us : s->built_us,
				     .context_tokens = now ? now->config.context_tokens : 0,
				     .model = now};
}

size_t models_count(const struct snapshot *s)
{
	return s->n_use_cases + s->n_models;
}

struct models_entry models_at(const struct snapshot *s, size_t i)
{
	return i < s->n_use_cases ? entry_of_use_case(s, &s->use_cases[i])
				  : entry_of_model(&s->models[i - s->n_use_cases]);
}

bool models_answers(const struct models_entry *e, const struct protocol *front)
{
	const struct targets *t = e->model ? e->model->target : NULL;

	return t && t->n && target_speaks(&t->list[0], front);
}

static void write_methods(struct json_writer *w, const struct models_entry *e)
{
	bool embeds = models_answers(e, &protocol_gemini_embed);

	jw_key(w, "supportedGenerationMethods");
	jw_array(w);
	if (models_answers(e, &protocol_gemini) || !embeds) {
		jw_cstr(w, "generateContent");
		jw_cstr(w, "countTokens");
	}
	if (embeds)
		jw_cstr(w, "embedContent");
	jw_array_end(w);
}

static void write_gemini(struct json_writer *w, struct arena *a, const struct models_entry *e)
{
	jw_kstr(w, "name", slice_from(arena_printf(a, "models/" SLICE_FMT, SLICE_ARG(e->id))));
	jw_kstr(w, "version", e->version);
	jw_kstr(w, "displayName", e->id);
	if (e->context_tokens)
		jw_ki64(w, "inputTokenLimit", e->context_tokens);
	write_methods(w, e);
}

static void write_entry(struct json_writer *w, struct arena *a, enum shape shape, const struct models_entry *e)
{
	char at[CLOCK_ISO_SIZE];

	jw_object(w);
	switch (shape) {
	case SHAPE_OPENAI:
		jw_kstr(w, "id", e->id);
		jw_kcstr(w, "object", "model");
		jw_ki64(w, "created", e->created_us / 1000000);
		jw_kstr(w, "owned_by", e->owner);
		break;
	case SHAPE_ANTHROPIC:
		jw_kstr(w, "id", e->id);
		jw_kcstr(w, "type", "model");
		jw_kstr(w, "display_name", e->id);
		jw_kcstr(w, "created_at", clock_iso(e->created_us, at));
		break;
	case SHAPE_GEMINI:
		write_gemini(w, a, e);
		break;
	}
	jw_object_end(w);
}

/* --- pages, of Gemini's list alone: the others have all of it at once --- */

struct page {
	size_t first, n;
	struct slice next; /* mark of the last entry, if more follow */
};

static bool page_size(struct http_exchange *x, size_t *ret)
{
	struct slice said = query_get(&x->arena, x->head.query, "pageSize");
	int64_t n = 0;

	*ret = PAGE_DEFAULT;
	if (!said.n)
		return true;
	if (slice_to_i64(said, &n) || n < 0) {
		direct_refuse(x, 400, "pageSize", NULL, "pageSize must be a whole number from 0 to 1000.");
		return false;
	}
	if (n)
		*ret = (size_t)(n < PAGE_MAX ? n : PAGE_MAX);
	return true;
}

/* False after having refused. */
static bool page_asked(const struct snapshot *s, struct http_exchange *x, struct page *ret)
{
	struct slice token = query_get(&x->arena, x->head.query, "pageToken");

	*ret = (struct page){0};
	if (!page_size(x, &ret->n))
		return false;
	if (!token.n)
		return true;
	while (ret->first < models_count(s))
		if (slice_eq(models_at(s, ret->first++).mark, token))
			return true;
	direct_refuse(x, 400, "pageToken", NULL,
		      "pageToken is none that this list gave, or the entry it stood for is gone: begin without it.");
	return false;
}

/* --- GET /v1/models, /v1beta/models --- */

struct listing {
	struct snapshot *snapshot;
	const struct gateway_caller *caller;
	struct arena *arena;
	enum shape shape;
	struct page page;
	struct slice first, last; /* ids that were written */
};

static void write_entries(struct json_writer *w, struct listing *l)
{
	struct slice mark = {NULL, 0};
	size_t n = 0;

	jw_array(w);
	for (size_t i = l->page.first; i < models_count(l->snapshot); i++) {
		struct models_entry e = models_at(l->snapshot, i);

		if (!access_allows(l->caller, e.use_case))
			continue;
		if (n++ == l->page.n) {
			l->page.next = mark;
			break;
		}
		write_entry(w, l->arena, l->shape, &e);
		mark = e.mark;
		l->first = l->first.n ? l->first : e.id;
		l->last = e.id;
	}
	jw_array_end(w);
}

static void write_id(struct json_writer *w, const char *key, struct slice id)
{
	jw_key(w, key);
	if (id.n)
		jw_str(w, id);
	else
		jw_null(w);
}

void models_list(struct gateway *g, struct http_exchange *x, const struct route_match *m,
		 const struct gateway_caller *caller)
{
	struct listing l = {.snapshot = g->snapshot, .caller = caller, .arena = &x->arena, .shape = shape_of(x)};
	struct json_writer w;
	struct buf out;

	(void)m;
	l.page.n = SIZE_MAX;
	if (l.shape == SHAPE_GEMINI && !page_asked(g->snapshot, x, &l.page))
		return;
	buf_init_arena(&out, &x->arena, ANSWER_MAX);
	jw_init(&w, &out);
	jw_object(&w);
	if (l.shape == SHAPE_OPENAI)
		jw_kcstr(&w, "object", "list");
	jw_key(&w, l.shape == SHAPE_GEMINI ? "models" : "data");
	write_entries(&w, &l);
	if (l.shape == SHAPE_ANTHROPIC) {
		jw_kbool(&w, "has_more", false);
		write_id(&w, "first_id", l.first);
		write_id(&w, "last_id", l.last);
	}
	if (l.page.next.n)
		jw_kstr(&w, "nextPageToken", l.page.next);
	jw_object_end(&w);
	direct_reply(x, 200, &out);
}

/* --- GET /v1/models/{id}, /v1beta/models/{id} --- */

bool models_find(const struct snapshot *s, struct slice name, struct models_entry *ret)
{
	const struct snapshot_use_case *u = snapshot_use_case(s, name);
	const struct snapshot_model *model = u ? u->current : snapshot_model(s, name);

	if (!u && !model)
		return false;
	*ret = u ? entry_of_use_case(s, u) : entry_of_model(model);
	ret->id = name;
	if (model)
		ret->owner = model->model.provider;
	return true;
}

bool models_named_by(struct slice path, struct slice *ret)
{
	static const struct slice below[] = {{"/v1/models/", 11}, {"/v1beta/models/", 15}};

	for (size_t i = 0; i < COUNT_OF(below); i++) {
		if (path.n <= below[i].n || !slice_starts(path, below[i]))
			continue;
		*ret = slice_sub(path, below[i].n, path.n);
		return true;
	}
	return false;
}

void models_show(struct gateway *g, struct http_exchange *x, const struct route_match *m,
		 const struct gateway_caller *caller)
{
	struct slice name = url_decode(&x->arena, m->param[0], false);
	struct json_writer w;
	struct models_entry e;
	struct buf out;

	if (!models_find(g->snapshot, name, &e)) {
		direct_refuse(x, 404, "model", "model_not_found",
			      arena_printf(&x->arena,
					   "No use case or model is called '" SLICE_FMT "'. See GET /v1/models.",
					   SLICE_ARG(name)));
		return;
	}
	if (!direct_allowed(g, x, caller, e.use_case))
		return;
	buf_init_arena(&out, &x->arena, ANSWER_MAX);
	jw_init(&w, &out);
	write_entry(&w, &x->arena, shape_of(x), &e);
	direct_reply(x, 200, &out);
}
