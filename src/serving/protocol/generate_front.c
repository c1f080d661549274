/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /api/v1/generate, the side that callers see: a prompt for a layer, a use case or a model.  Applications read
 * `success`, `text` and `tokens_used`; those three never change their meaning.
 *
 * A context that is not empty reaches a chat model as messages before the prompt: its member `messages`, when that is
 * an array of messages, stands as it is, and everything else as one system message of JSON.
 */
#include "domain/use_case.h"
#include "serving/protocol/generate_internal.h"

static int read_name(struct front *f, const struct json *v, struct slice *ret)
{
	if (v->type != JSON_STRING)
		return front_wrong_type(f, v, "a string");
	if (!v->str.n || v->str.n > USE_CASE_MAX)
		return err_set(f->err, E_INVALID, "%s must have 1 to %d characters", *f->ret_param, USE_CASE_MAX);
	*ret = v->str;
	return 0;
}

static int read_layer(struct front *f, const struct json *v)
{
	return read_name(f, v, &f->r->layer);
}

static int read_use_case(struct front *f, const struct json *v)
{
	return read_name(f, v, &f->r->use_case);
}

static int read_prompt(struct front *f, const struct json *v)
{
	if (v->type != JSON_STRING)
		return front_wrong_type(f, v, "a string");
	if (!v->str.n)
		return err_set(f->err, E_INVALID, "prompt must not be empty");
	f->r->prompt = v->str;
	return front_judge(f, v);
}

static int read_context(struct front *f, const struct json *v)
{
	if (v->type != JSON_OBJECT)
		return front_wrong_type(f, v, "an object");
	f->r->context = v->raw;
	return front_judge_all(f, v);
}

static const struct front_member members[] = {
	{"layer", read_layer},
	{"use_case", read_use_case},
	{"model", front_model},
	{"prompt", read_prompt},
	{"context", read_context},
	{"max_tokens", front_max_tokens},
	{"temperature", front_temperature},
	{"stream", front_stream},
};
_Static_assert(COUNT_OF(members) <= FRONT_MAX_MEMBERS, "front_walk keeps one bit for each");

/* layer and use_case name one use case; model may stand alone. */
static int settle_target(struct front *f)
{
	struct chat_request *r = f->r;
	struct slice of_layer;
	char *space;

	if (!r->layer.p && !r->use_case.p) {
		*f->ret_param = "use_case";
		return r->model.p ? 0 : err_set(f->err, E_INVALID, "name what is to answer: layer, use_case or model");
	}
	if (!r->layer.p)
		return 0;
	*f->ret_param = "layer";
	space = arena_alloc(f->a, USE_CASE_MAX + 8);
	if (!space)
		return front_too_big(f);
	of_layer = use_case_of_layer(r->layer, space);
	if (r->use_case.p && !slice_eq(r->use_case, of_layer))
		return err_set(f->err, E_INVALID,
			       "layer '" SLICE_FMT "' is use case '" SLICE_FMT "', but use_case says '" SLICE_FMT
			       "': give one of them",
			       SLICE_ARG(r->layer), SLICE_ARG(of_layer), SLICE_ARG(r->use_case));
	r->use_case = of_layer;
	return 0;
}

/* The context without its messages, as the text of a system message. */
static int context_text(struct front *f, const struct json *context, bool without_messages, struct slice *ret)
{
	struct json_writer w;
	struct buf b;

	buf_init_arena(&b, f->a, context->raw.n + (size_t)context->n_items * 8 + 64);
	buf_adds(&b, "Context: ");
	jw_init(&w, &b);
	jw_object(&w);
	for (const struct json *v = context->first; v; v = v->next) {
		if (without_messages && KEY_IS(v, "messages"))
			continue;
		jw_key_slice(&w, v->key);
		jw_raw(&w, v->raw);
	}
	jw_object_end(&w);
	*ret = buf_slice(&b);
	return buf_failed(&b) ? E_TOOBIG : 0;
}

/* The messages of the context, or none when it has none that are well formed. */
static const struct json *context_messages(struct front *f, const struct json *context, struct chat_request *ret)
{
	const struct json *v = json_get(context, "messages");
	const char *param = "messages";
	struct front quiet = {.a = f->a, .r = ret, .ret_param = &param};

	if (!v || v->type != JSON_ARRAY || !v->first || json_duplicate(context, "messages"))
		return NULL;
	return messages_read(&quiet, v) == 0 ? v : NULL;
}

static int make_messages(struct front *f, const struct json *context)
{
	struct chat_request before = {0};
	struct chat_request *r = f->r;
	const struct json *earlier = context ? context_messages(f, context, &before) : NULL;
	uint32_t n_rest = context ? context->n_items - (earlier ? 1 : 0) : 0;
	struct chat_message *m = ARENA_ARRAY(f->a, struct chat_message, (earlier ? before.n_messages : 0) + 2);
	struct slice text;

	if (!m)
		return front_too_big(f);
	r->messages = m;
	if (n_rest) {
		if (context_text(f, context, earlier != NULL, &text) < 0)
			return front_too_big(f);
		*m++ = (struct chat_message){.role = CHAT_SYSTEM, .text = text};
	}
	if (earlier) {
		memcpy(m, before.messages, before.n_messages * sizeof(*m));
		m += before.n_messages;
	}
	*m++ = (struct chat_message){.role = CHAT_USER, .text = r->prompt};
	r->n_messages = (size_t)(m - r->messages);
	return 0;
}

int generate_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			    const char **ret_param, struct err *err)
{
	struct chat_request r = {.root = root, .body = body, .n_choices = 1};
	struct front f = {.a = a, .r = &r, .ret_param = ret_param, .err = err};
	const struct json *context;
	int rc;

	*ret_param = NULL;
	rc = front_walk(&f, root, members, COUNT_OF(members));
	if (rc < 0)
		return rc;
	if (!r.prompt.p) {
		*ret_param = "prompt";
		return err_set(err, E_INVALID, "prompt is missing: send the text to answer");
	}
	rc = settle_target(&f);
	if (rc < 0)
		return rc;
	*ret_param = NULL;
	context = json_get(root, "context");
	rc = make_messages(&f, context && context->type == JSON_OBJECT ? context : NULL);
	if (rc < 0)
		return rc;
	if (!r.context.p)
		r.context = SLICE_LIT("{}");
	r.judged = f.judged.t;
	r.n_judged = f.judged.n;
	*ret = r;
	return 0;
}

static const struct detail_member details[] = {
	{"layer", CHAT_PARAMS, NULL},
	{"use_case", CHAT_PARAMS, NULL},
	{"model", CHAT_PARAMS, NULL},
	{"prompt", CHAT_PARAMS, NULL},
	{"context", CHAT_PARAMS, NULL},
	{"stream", CHAT_PARAMS, NULL},
	{"max_tokens", CHAT_PARAM_MAX_TOKENS, NULL},
	{"temperature", CHAT_PARAM_TEMPERATURE, NULL},
};

/* Messages of the context are in OpenAI's form. */
int generate_decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err)
{
	struct front f = {.a = a, .r = r, .ret_param = ret_param, .err = err};
	int rc = details_walk(&f, details, COUNT_OF(details));

	return rc < 0 ? rc : openai_message_parts(&f, r->messages, r->n_messages);
}

static void write_optional(struct json_writer *w, const char *key, struct slice s)
{
	jw_key(w, key);
	if (s.p)
		jw_str(w, s);
	else
		jw_null(w);
}

/* What the whole answer and the last event of a stream both tell. */
static void write_facts(struct json_writer *w, enum chat_finish finish, const struct chat_usage *usage,
			const struct answer_meta *m)
{
	jw_ki64(w, "tokens_used", usage->known ? usage->total_tokens : 0);
	write_optional(w, "layer", m->layer);
	write_optional(w, "use_case", m->use_case);
	write_optional(w, "model_id", m->model_id);
	write_optional(w, "model_name", m->model_name);
	jw_ki64(w, "latency_ms", m->latency_ms);
	write_optional(w, "log_id", m->log_id);
	jw_kbool(w, "fallback_used", m->fallback_used);
	jw_kcstr(w, "finish_reason", chat_finish_name(finish == CHAT_FINISH_NONE ? CHAT_FINISH_STOP : finish));
	jw_key(w, "usage");
	wire_write_usage(w, usage);
}

static bool succeeded(enum chat_finish finish)
{
	return finish != CHAT_FINISH_CONTENT_FILTER && finish != CHAT_FINISH_REFUSAL;
}

/* A model that refuses says so in words: those are the text here. */
static struct slice words_of(const struct chat_answer *answer)
{
	for (size_t i = 0; !answer->text.n && i < answer->n_parts; i++)
		if (answer->parts[i].kind == CHAT_PART_REFUSAL)
			return answer->parts[i].text;
	return answer->text.p ? answer->text : SLICE_LIT("");
}

int generate_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kbool(&w, "success", succeeded(answer->finish));
	jw_kstr(&w, "text", words_of(answer));
	write_facts(&w, answer->finish, &answer->usage, m);
	jw_object_end(&w);
	return buf_failed(out) ? E_TOOBIG : 0;
}

/* A model that refuses says so in words: those are the text here. */
int generate_encode_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			  const struct answer_meta *m)
{
	struct json_writer w;

	s->begun = true;
	if (!out || (e->type != CHAT_EVENT_TEXT && e->type != CHAT_EVENT_REFUSAL && e->type != CHAT_EVENT_END))
		return 0;
	buf_adds(out, "data: ");
	jw_init(&w, out);
	jw_object(&w);
	if (e->type != CHAT_EVENT_END) {
		jw_kstr(&w, "text", e->text);
	} else {
		jw_kbool(&w, "done", true);
		jw_kbool(&w, "success", succeeded(e->finish));
		write_facts(&w, e->finish, &e->usage, m);
	}
	jw_object_end(&w);
	return buf_adds(out, "\n\n");
}

int generate_encode_error(struct buf *out, const struct api_error *e)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kbool(&w, "success", false);
	jw_key(&w, "error");
	jw_object(&w);
	jw_kstr(&w, "message", e->message);
	jw_kcstr(&w, "type", e->type);
	jw_kcstr(&w, "param", e->param);
	jw_kcstr(&w, "code", e->code);
	jw_object_end(&w);
	jw_object_end(&w);
	return buf_failed(out) ? E_TOOBIG : 0;
}

int generate_encode_stream_error(struct buf *out, const struct api_error *e)
{
	buf_adds(out, "data: ");
	generate_encode_error(out, e);
	return buf_adds(out, "\n\n");
}
