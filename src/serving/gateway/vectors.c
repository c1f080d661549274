/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What embeddings need that chats do not.  They take the way of every exchange; but an answer in words is none, and a
 * vector of another model is worse than an error, for it lies in another space and nobody sees it.  So they fail over
 * only between endpoints, and between models that go by the same name upstream.
 */
#include "serving/gateway/exchange.h"
#include "serving/gateway/target.h"

static struct slice name_upstream(const struct targets *t)
{
	return t->list[0].upstream_model;
}

bool vectors_same_space(const struct targets *a, const struct targets *b)
{
	return slice_eq(name_upstream(a), name_upstream(b));
}

static enum next refuse(struct exchange *e)
{
	const struct candidate *c = &e->candidate[0];
	const char *text;

	if (e->front->embeds)
		text = arena_printf(&e->http->arena,
				    SLICE_FMT
				    " speaks %s, which has no embeddings: name a model of provider openai (or "
				    "one that is compatible), gemini or ollama.",
				    SLICE_ARG(c->full_name), c->target->protocol->name);
	else
		text = arena_printf(&e->http->arena,
				    SLICE_FMT " is registered for embeddings alone (%s): ask it for these, or name "
					      "another model.",
				    SLICE_ARG(c->full_name), c->target->protocol->name);
	e->n_candidates = 0; /* none of them was asked */
	return exchange_refuse(e, text ? text : "This model cannot give what is asked.", "model");
}

enum next vectors_route(struct exchange *e)
{
	size_t n = 1;

	if (!e->n_candidates)
		return NEXT;
	if (!target_speaks(e->candidate[0].target, e->front))
		return refuse(e);
	for (size_t i = 1; i < e->n_candidates; i++) {
		const struct candidate *c = &e->candidate[i];

		if (!target_speaks(c->target, e->front) ||
		    (e->front->embeds && !vectors_same_space(e->candidate[0].targets, c->targets)))
			continue;
		e->candidate[n++] = *c;
	}
	e->n_candidates = n;
	return NEXT;
}

size_t vectors_prompt_bytes(const struct exchange *e)
{
	const struct chat_embed *embed = e->request.embed;
	size_t bytes = 0;

	for (size_t i = 0; i < embed->n; i++) /* a token is taken for four bytes */
		bytes += embed->input[i].tokens ? (size_t)embed->input[i].tokens->n_items * 4 : embed->input[i].text.n;
	return bytes;
}

const char *vectors_wrong(const struct exchange *e)
{
	const char *text;

	if (!e->request.embed || e->answer.n_vectors == e->request.embed->n)
		return NULL;
	text = arena_printf(&e->http->arena, "its answer has %zu vectors for %zu texts", e->answer.n_vectors,
			    e->request.embed->n);
	return text ? text : "its answer has not a vector for each text";
}

void vectors_describe(struct exchange *e)
{
	const struct chat_answer *answer = &e->answer;

	if (!answer->n_vectors)
		return;
	e->answer.text = slice_from(arena_printf(&e->http->arena, "%zu %s of %zu dimensions", answer->n_vectors,
						 answer->n_vectors == 1 ? "vector" : "vectors", answer->vectors[0].n));
}

enum next vectors_withheld(struct exchange *e)
{
	struct api_error error = {.status = 502,
				  .message = SLICE_LIT("The answer was withheld by a guardrail."),
				  .type = "guardrail_violation",
				  .code = "content_filter"};

	exchange_say(e, SLICE_FMT, SLICE_ARG(error.message));
	record_exchange(e, RECORD_BLOCKED, error.status);
	return respond_error(e, &error);
}
