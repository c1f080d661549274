/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams that go on for long.  There may be ten thousand of them, and most of what an exchange has is needed only
 * until its answer begins: the request as it came and as it was parsed, what went upstream, who else could have served.
 * A while after its answer has begun an exchange moves to a block of its own, with what the rest of the answer and its
 * record need, and everything else is given back.
 *
 * What would break it: a pointer into the arena, into the bytes of the request or to the exchange itself that is not
 * moved here; and something that still needs the request, to try again or to repeat it.  Such streams stay as they are.
 */
#include "serving/gateway/exchange.h"

#define SETTLE_MS (ADDRESS_SANITIZED ? 0 : 200)
#define TEXTS_MAX 16
#define SLACK_BYTES ((size_t)64 * 1024)

/* What moves: texts, and how much memory all of it takes. */
struct move {
	size_t bytes;
	struct slice *text[TEXTS_MAX];
	size_t n_texts;
};

static bool may_be_resumed(const struct exchange *e)
{
	return e->use_case && e->use_case->settings.answer_mode == ANSWER_RESUME;
}

/* What the log wants of a request is not longer than all of it, twice. */
static bool fits(const struct exchange *e)
{
	return e->http->body.n < (e->http->arena.max_bytes - SLACK_BYTES) / 2;
}

/* Nobody tries again, and nothing of the request will be said again. */
static bool is_on_its_way(const struct exchange *e)
{
	const struct stream *s = e->stream;

	return e->call_active && !e->attempt_open && s && s->begun && !s->ended && !e->array && !e->front->repeats &&
	       !e->request.embed && !may_be_resumed(e) && exchange_served_by(e) && fits(e);
}

static void *copy(struct arena *a, const void *from, size_t n)
{
	void *to = from && n ? arena_alloc(a, n) : NULL;

	return to ? memcpy(to, from, n) : NULL;
}

static void add_text(struct move *m, struct slice *text)
{
	if (!text->n)
		return;
	m->bytes += text->n + 1;
	m->text[m->n_texts++] = text;
}

static size_t padded(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

/* Of the request what the rest of the answer, and the record, say of it. */
static struct chat_request request_left(const struct exchange *e)
{
	const struct chat_request *q = &e->request;
	bool logs_texts = e->log != LOG_NONE && e->log != LOG_METADATA;

	return (struct chat_request){.layer = q->layer,
				     .prompt = logs_texts ? q->prompt : (struct slice){0},
				     .context = logs_texts ? q->context : (struct slice){0},
				     .stream = q->stream,
				     .include_usage = q->include_usage,
				     .has_max_tokens = q->has_max_tokens,
				     .has_temperature = q->has_temperature,
				     .has_top_p = q->has_top_p,
				     .has_seed = q->has_seed,
				     .max_tokens = q->max_tokens,
				     .seed = q->seed,
				     .temperature = q->temperature,
				     .top_p = q->top_p,
				     .n_choices = q->n_choices};
}

static void list_texts(struct exchange *e, struct slice *error, struct move *m)
{
	struct stream *s = e->stream;

	add_text(m, error);
	if (e->request_id.p != e->log_id_text)
		add_text(m, &e->request_id);
	if (!e->use_case) /* else it is the snapshot's */
		add_text(m, &e->use_case_name);
	add_text(m, &e->request.layer);
	add_text(m, &e->request.prompt);
	add_text(m, &e->request.context);
	add_text(m, &e->answer.stop_sequence);
	add_text(m, &s->id);
	add_text(m, &s->model);
}

static size_t bytes_of_hits(const struct hit_list *l)
{
	return padded(l->n_hits * sizeof(*l->hit));
}

static void list_things(const struct exchange *e, struct move *m)
{
	const struct stream *s = e->stream;

	m->bytes += padded(sizeof(*e->candidate));
	m->bytes += padded(e->n_holds * sizeof(*e->hold));
	m->bytes += padded((size_t)s->repeat.n_before + s->repeat.n_after);
	if (e->attempts.n)
		m->bytes += padded(e->attempts.n + 64);
	if (e->input_hits)
		m->bytes += padded(sizeof(*e->input_hits)) + bytes_of_hits(e->input_hits);
	if (e->output_hits)
		m->bytes += padded(sizeof(*e->output_hits)) + bytes_of_hits(e->output_hits);
	for (size_t i = 0; i < s->n_channels; i++)
		m->bytes += bytes_of_hits(&s->channel[i].hits);
}

static void move_hits(struct hit_list *l, struct arena *a)
{
	l->hit = copy(a, l->hit, l->n_hits * sizeof(*l->hit));
	l->room = l->n_hits;
}

static struct hit_list *moved_list(struct hit_list *l, struct arena *a)
{
	l = copy(a, l, sizeof(*l));
	if (l)
		move_hits(l, a);
	return l;
}

static void move_attempts(struct exchange *e, struct arena *a)
{
	struct slice said = buf_slice(&e->attempts);

	buf_init_arena(&e->attempts, a, ATTEMPTS_JSON_MAX);
	if (said.n) /* as long as it was before, so it fits */
		(void)buf_add(&e->attempts, said);
}

static void move_stream(struct exchange *e, struct arena *a)
{
	struct stream *s = e->stream;
	struct event_repeat *r = &s->repeat;

	r->room = (uint16_t)(r->n_before + r->n_after);
	r->bytes = copy(a, r->bytes, r->room);
	for (size_t i = 0; i < s->n_channels; i++)
		move_hits(&s->channel[i].hits, a);
	s->flush.arg = e;
}

static void move_call(struct exchange *e)
{
	e->call.user = e;
	e->call.request = e->request_iov = NULL;
	e->call.n_request = 0;
	http_call_moved(&e->call);
}

/* Everything in *e that points to what is left behind.  The texts have been moved. */
static void move_rest(struct exchange *e, struct arena *a, const struct exchange *old)
{
	if (old->request_id.p == old->log_id_text)
		e->request_id.p = e->log_id_text;
	e->candidate = copy(a, exchange_served_by(old), sizeof(*e->candidate));
	e->n_candidates = e->max_candidates = 1;
	e->i_candidate = 0;
	e->hold = copy(a, e->hold, e->n_holds * sizeof(*e->hold));
	e->input_hits = moved_list(e->input_hits, a);
	e->output_hits = moved_list(e->output_hits, a);
	e->dropped = NULL; /* the head of the answer has said it */
	e->root = NULL;
	e->path_model = e->upstream_retry_after = e->upstream_said = (struct slice){0};
	buf_init_arena(&e->body, a, e->body.max);
	move_attempts(e, a);
	move_stream(e, a);
	move_call(e);
	e->given_up.arg = e->pause.arg = e;
	e->http->user = e;
}

static struct exchange *settle(struct exchange *e)
{
	struct http_exchange *x = e->http;
	struct slice error = slice_from(e->error_text);
	struct move m = {.bytes = 16}; /* between texts and things */
	struct exchange *moved;
	struct arena old;

	e->prompt_tokens = exchange_estimate_prompt(e);
	e->settled = true;
	e->request = request_left(e);
	list_texts(e, &error, &m);
	list_things(e, &m);
	moved = slab_alloc(&e->g->settled);
	arena_renew(&x->arena, m.bytes, &old);
	for (size_t i = 0; i < m.n_texts; i++)
		*m.text[i] = arena_slice(&x->arena, *m.text[i]);
	e->error_text = error.n ? error.p : "";
	*moved = *e;
	move_rest(moved, &x->arena, e);
	http_forget_request(x, &old);
	return moved;
}

static void on_settle(void *arg)
{
	struct exchange *e = arg;

	if (!is_on_its_way(e))
		return;
	if (e->settled && rest_is_due(e)) {
		rest_begin(e);
		return;
	}
	/* A model may answer before it has read all of the request. */
	if (!e->settled && http_call_is_sent(&e->call))
		e = settle(e);
	timer_set(e->g->loop, &e->pause, e->settled ? REST_MS : SETTLE_MS);
}

void settle_later(struct exchange *e)
{
	if (!is_on_its_way(e))
		return;
	timer_init(&e->pause, on_settle, e);
	timer_set(e->g->loop, &e->pause, e->settled ? REST_MS : SETTLE_MS);
}
