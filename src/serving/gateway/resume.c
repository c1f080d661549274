/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going on where an answer broke off.  The text so far is the last message of the next request, and what comes back is
 * fed to the same channel of the same stream: the guardrails judge one text, and nothing that waits for them is lost.
 * The caller's protocol sees one answer, with the ids and the name that it began with.
 *
 * Only text can be gone on with: reasoning, calls of tools and refusals have no form in which another model would take
 * them back half done, and a grammar (a JSON schema) would begin again.
 *
 * What would break it: text that the guardrails have been fed but that is in no event, so that the stream and the
 * beginning differ; a second answer (respond_*) to a caller who has a part of the first.
 */
#include "serving/gateway/resume.h"

#include "serving/gateway/target.h"

bool resume_is_on(const struct exchange *e)
{
	return e->stream && e->stream->n_resumed > 0;
}

/* Members that make some servers follow a grammar. */
static bool has_grammar(const struct json *root)
{
	static const char *const names[] = {"guided_json",    "guided_regex", "guided_choice",
					    "guided_grammar", "grammar",      "structured_outputs"};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (json_get(root, names[i]))
			return true;
	return false;
}

/* What the caller asked for, as far as it can be gone on with. */
static bool fits(struct exchange *e)
{
	struct chat_request *r = &e->request;
	const char *param = NULL;

	if (r->n_choices > 1 || !r->n_messages || r->messages[r->n_messages - 1].role == CHAT_ASSISTANT ||
	    has_grammar(r->root) || protocol_complete(e->front, &e->http->arena, r, &param, NULL))
		return false;
	return !r->details || (r->details->format != CHAT_FORMAT_JSON && r->details->format != CHAT_FORMAT_SCHEMA &&
			       !r->details->said[CHAT_PARAM_LOGPROBS].name.n);
}

bool resume_is_possible(const struct exchange *e)
{
	const struct stream *s = e->stream;

	return e->use_case && e->use_case->settings.answer_mode == ANSWER_RESUME && s->begun && !s->stopped &&
	       !s->finish_seen && !s->beyond_text && !s->text_over && !s->text_cut && !buf_failed(&s->held) &&
	       !buf_failed(&s->out) && s->n_resumed < RESUMES_MAX && !failover_deadline_passed(e);
}

/* All text so far, as the caller gets it; absent: it is not all there. */
static struct slice text_so_far(struct exchange *e)
{
	struct stream *s = e->stream;
	struct buf all;
	uint64_t waits;

	buf_init_arena(&all, &e->http->arena, s->text.n + s->held.n * 8 + 4096);
	buf_reserve(&all, s->text.n + 1);
	buf_add(&all, buf_slice(&s->text));
	waits = hold_waiting(e, &all);
	if (buf_failed(&all) || s->channel[0].left + waits != s->channel[0].fed)
		return (struct slice){NULL, 0};
	return all.n ? buf_slice(&all) : SLICE_LIT("");
}

static void add_usage(struct chat_usage *sum, const struct chat_usage *u)
{
	sum->known |= u->known;
	sum->estimated |= u->estimated;
	sum->prompt_tokens += u->prompt_tokens;
	sum->completion_tokens += u->completion_tokens;
	sum->total_tokens += u->total_tokens;
	sum->cached_tokens += u->cached_tokens;
	sum->cache_write_tokens += u->cache_write_tokens;
	sum->reasoning_tokens += u->reasoning_tokens;
}

/* What the model has taken that broke off. */
static void keep_spent(struct exchange *e)
{
	const struct targets *t = exchange_served_by(e)->targets;
	struct chat_usage *u = &e->answer.usage;

	if (!resume_said(e) && !u->known)
		return;
	exchange_complete_usage(e, resume_said(e));
	e->spent_cost = resume_cost(e, price_cost(&t->price, u->prompt_tokens, u->cached_tokens, u->completion_tokens));
	add_usage(&e->spent, u);
	e->usage_is_kept = e->waste_is_new = true; /* and the next attempt is reserved for anew */
}

bool resume_begin(struct exchange *e, int rc)
{
	struct stream *s = e->stream;
	struct slice begun;
	char why[sizeof(e->call.err->text)];

	if (!fits(e))
		return false;
	begun = text_so_far(e);
	if (!begun.p)
		return false;
	snprintf(why, sizeof(why), "%s",
		 http_call_why(&e->call)[0] ? http_call_why(&e->call) : "it closed the stream before its end");
	if (!s->model.n)
		s->model = exchange_served_by(e)->full_name;
	if (!s->id.n)
		s->id = slice_from(e->log_id_text);
	s->i_served = e->i_candidate;
	s->prefill = seam_trim(begun);
	s->seam = (struct seam){.space = slice_sub(begun, s->prefill.n, begun.n)};
	keep_spent(e);
	e->error_status = rc == E_TIMEOUT ? 504 : 502;
	attempt_failed(e, rc == E_TIMEOUT ? OUTCOME_SILENT : OUTCOME_FAULT, why);
	stream_rewind(e);
	s->seam_at = s->channel[0].fed;
	s->same_protocol = false;
	s->n_resumed++;
	s->resume_asked = false;
	return true;
}

void resume_note_attempt(struct exchange *e)
{
	if (!resume_is_on(e) || e->stream->resume_asked)
		return;
	e->stream->resume_asked = true;
	counter_add(&e->g->stats.resumes, 1);
}

bool resume_accepts(const struct exchange *e, const struct target *t)
{
	return !resume_is_on(e) || !e->stream->prefill.n || t->prefill;
}

/* For a translation: one message more, and no reasoning, which would come before what is there already. */
static bool add_beginning(struct exchange *e, struct chat_request *r)
{
	struct chat_message *m = ARENA_ARRAY(&e->http->arena, struct chat_message, r->n_messages + 1);
	struct chat_details *d = ARENA_NEW(&e->http->arena, struct chat_details);

	if (!m || !d)
		return false;
	memcpy(m, r->messages, r->n_messages * sizeof(*m));
	m[r->n_messages] = (struct chat_message){.role = CHAT_ASSISTANT, .text = e->stream->prefill};
	r->messages = m;
	r->n_messages++;
	if (!r->details)
		return true;
	*d = *r->details;
	d->effort = CHAT_EFFORT_UNSAID;
	d->reasoning_budget = 0;
	d->said[CHAT_PARAM_REASONING] = (struct chat_said){0};
	r->details = d;
	return true;
}

const struct chat_request *resume_request(struct exchange *e, const struct target *t, struct upstream_params *params,
					  struct chat_request *space)
{
	int64_t left = e->request.max_tokens - e->spent.completion_tokens;

	if (!resume_is_on(e))
		return &e->request;
	*space = e->request;
	if (space->has_max_tokens)
		space->max_tokens = params->max_tokens = left > 1 ? left : 1;
	params->prefill = e->stream->prefill;
	params->prefill_style = t->prefill_style;
	e->stream->seam.repeated = 0;
	e->stream->seam.begun = t->prefill_style == PREFILL_PREFIX ? e->stream->prefill : (struct slice){NULL, 0};
	if (params->prefill.n && e->back != e->front && !add_beginning(e, space))
		return NULL;
	return space;
}

bool resume_carries(const struct exchange *e, const struct chat_event *event)
{
	return !resume_is_on(e) || event->type != CHAT_EVENT_REASONING;
}

size_t resume_said(const struct exchange *e)
{
	return (size_t)(e->stream->channel[0].fed - e->stream->seam_at);
}

struct chat_usage resume_usage(const struct exchange *e)
{
	struct chat_usage sum = e->answer.usage;

	if (e->spent.known)
		add_usage(&sum, &e->spent);
	return sum;
}

/* A sum with something that is not known is not known. */
struct money resume_cost(const struct exchange *e, struct money last)
{
	struct money sum = last;

	if (!e->spent.known)
		return last;
	if (!e->answer.usage.known)
		return e->spent_cost;
	if (strcmp(last.currency, e->spent_cost.currency) != 0)
		return (struct money){0};
	sum.nano = last.nano > INT64_MAX - e->spent_cost.nano ? INT64_MAX : last.nano + e->spent_cost.nano;
	return sum;
}

void resume_tell(struct exchange *e)
{
	const struct candidate *c = exchange_served_by(e);
	const char *lines;

	if (!resume_is_on(e) || !c)
		return;
	lines = arena_printf(&e->http->arena,
			     "x-muster-attempts: %u\r\nx-muster-model: " SLICE_FMT "\r\nx-muster-resumed: %u\r\n",
			     e->n_attempts, SLICE_ARG(c->full_name), e->stream->n_resumed - !e->stream->resume_asked);
	if (lines)
		http_stream_trailers(e->http, slice_from(lines));
}
