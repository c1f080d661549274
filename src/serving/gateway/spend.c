/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request may cost: reserved before a model is asked, from the budgets of its key and its use case, and settled
 * with what it did cost when its record is written, however it ended.
 *
 * What would break it: an estimate below what a model charges.  So a byte of the request counts as a token, and an
 * answer is taken to be as long as it may be.
 */
#include "serving/gateway/exchange.h"

#include "core/base/clock.h"
#include "serving/gateway/budgets.h"
#include "serving/gateway/resume.h"
#include "serving/gateway/target.h"

#define OUTPUT_UNSAID 32768 /* tokens of an answer, where neither request nor model bounds it */
#define PREAMBLE 1024	    /* tokens that providers put before what the caller sent */
#define MEDIA_LEAST 1024    /* bytes: shorter values are counted as text */
#define MEDIA_DIVISOR 8	    /* bytes of encoded media to a token */
#define LINK_TOKENS 8192    /* of an image that is behind a link */
#define WHEN_MAX 128
#define TOKENS_MAX INT64_C(1000000000000)

/* --- the estimate --- */

static bool is_media_member(struct slice key)
{
	static const char *const names[] = {"data", "url", "image_url", "file_data", "file_uri", "fileUri"};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (slice_eq_str(key, names[i]))
			return true;
	return false;
}

static int64_t media_tokens(const struct json *v)
{
	if (slice_starts(v->str, SLICE_LIT("http")) || slice_starts(v->str, SLICE_LIT("gs:")))
		return LINK_TOKENS;
	return v->str.n > MEDIA_LEAST ? (int64_t)(v->str.n / MEDIA_DIVISOR) - (int64_t)v->raw.n : 0;
}

/* What values that hold media count for, beside a token for each of their bytes. */
static int64_t correct_for_media(const struct json *v, bool of_images)
{
	int64_t sum = 0;

	if (v->type == JSON_STRING)
		return of_images || is_media_member(v->key) ? media_tokens(v) : 0;
	for (const struct json *item = v->first; item; item = item->next)
		sum += correct_for_media(item, v->type == JSON_ARRAY && slice_eq_str(v->key, "images"));
	return sum;
}

static int64_t most_input(const struct exchange *e)
{
	return (int64_t)e->request.body.n + PREAMBLE + correct_for_media(e->root, false);
}

/* The model's own default for what the caller leaves out. */
static int64_t default_output(const struct target *t)
{
	static const char *const names[] = {"max_tokens", "max_completion_tokens", "num_predict", "maxOutputTokens",
					    "max_output_tokens"};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		const struct json *v = json_get(t->parameters, names[i]);

		if (v && v->type == JSON_NUMBER && v->is_integer && v->integer > 0)
			return v->integer;
	}
	return 0;
}

static int64_t most_output(const struct exchange *e, const struct candidate *c)
{
	int64_t window = c->targets->context_tokens, n = e->request.has_max_tokens ? e->request.max_tokens : 0;

	if (e->front->embeds)
		return 0;
	if (n <= 0)
		n = default_output(&c->targets->list[0]);
	if (n <= 0 || (window && n > window))
		n = window ? window : n > 0 ? n : OUTPUT_UNSAID;
	n = min_i64(n, TOKENS_MAX);
	return e->request.n_choices > 1 ? min_i64(n * min_i64(e->request.n_choices, 1024), TOKENS_MAX) : n;
}

static int64_t estimate(const struct exchange *e, const struct budget_account *a)
{
	int64_t input = most_input(e), most = 0;

	for (size_t i = 0; i < e->n_candidates; i++) {
		const struct candidate *c = &e->candidate[i];
		struct price p = c->targets->price;
		int64_t output = most_output(e, c), n = input + output;

		if (p.cached_input > p.input) /* whichever of them it will be */
			p.input = p.cached_input;
		if (a->unit == BUDGET_MONEY)
			n = price_cost(&p, input, 0, output).nano; /* 0 where there is no price */
		most = n > most ? n : most;
	}
	return min_i64(most, BUDGET_MAX);
}

/* --- refusing --- */

static const char *amount(struct exchange *e, const struct budget_account *a, int64_t n)
{
	char text[MONEY_SIZE];
	const char *s = arena_printf(&e->http->arena, "%s %s", budget_amount(n, a->unit, text),
				     a->unit == BUDGET_MONEY ? a->currency : "tokens");

	return s ? s : "?";
}

/* When it begins anew; a total never does. */
static void say_when(struct exchange *e, struct budget_account *a, char out[WHEN_MAX])
{
	int64_t start, end, now = loop_wall_us(e->g->loop);
	char at[CLOCK_ISO_SIZE];

	budget_period_bounds(a->period, now, &start, &end);
	if (end == INT64_MAX) {
		(void)snprintf(out, WHEN_MAX, "It is not renewed: an admin can raise it");
		return;
	}
	e->upstream_retry_after =
		slice_from(arena_printf(&e->http->arena, "%lld", (long long)((end - now + 999999) / 1000000)));
	(void)snprintf(out, WHEN_MAX, "It is renewed at %.19sZ", clock_iso(end, at));
}

static void explain(struct exchange *e, struct budget_account *a, int64_t wanted, bool is_spent)
{
	struct budget_term *t = budget_term_at(a, loop_wall_us(e->g->loop));
	int64_t spent = t ? atomic_load(&t->counts->spent) + atomic_load(&t->others) : 0,
		limit = atomic_load(&a->limit);
	const char *per = a->period == BUDGET_TOTAL ? "in total" : budget_period_name(a->period);
	char when[WHEN_MAX] = "The rest is reserved for requests under way, lent to other daemons, or cannot be lent "
			      "now: try again in a second";

	if (is_spent)
		say_when(e, a, when);
	else
		e->upstream_retry_after = SLICE_LIT("1");
	exchange_say(e,
		     "The %s of %s '%s' does not cover this request: of %s %s%s, %s are spent, and it may take up to "
		     "%s. %s.",
		     a->unit == BUDGET_MONEY ? "budget" : "token budget", a->is_keys ? "key" : "use case", a->whose,
		     amount(e, a, limit), a->period == BUDGET_TOTAL ? "" : "a ", per, amount(e, a, spent),
		     amount(e, a, wanted), when);
}

static enum next refuse(struct exchange *e, struct budget_account *a, int64_t wanted, enum budget_answer why)
{
	bool is_spent = why == BUDGET_SPENT;
	struct api_error error = {.status = 429,
				  .type = "insufficient_quota",
				  .code = is_spent ? "budget_exceeded" : "budget_unavailable"};

	if (!is_spent)
		budgets_ask(e->g->budgets);
	counter_add(is_spent ? &e->g->stats.budget_exceeded : &e->g->stats.budget_unavailable, 1);
	explain(e, a, wanted, is_spent);
	error.message = slice_from(e->error_text);
	e->i_candidate = e->n_candidates; /* none of them answers */
	return respond_error(e, &error);
}

/* --- reserving --- */

static bool collect(struct exchange *e)
{
	const struct budget_set *sets[] = {e->caller.key ? e->caller.key->budgets : NULL,
					   e->use_case ? e->use_case->budgets : NULL};

	e->hold = ARENA_ARRAY(&e->http->arena, struct budget_hold, HOLDS_MAX);
	if (!e->hold)
		return false;
	for (size_t s = 0; s < COUNT_OF(sets); s++)
		for (unsigned u = 0; sets[s] && u < BUDGET_N_UNITS; u++)
			if (sets[s]->of[u])
				e->hold[e->n_holds++] = (struct budget_hold){.account = sets[s]->of[u]};
	return true;
}

/* What a model costs in another currency cannot be held against a budget: it is not asked. */
static void drop_uncountable(struct exchange *e, const struct budget_account *a)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n_candidates; i++) {
		const struct candidate *c = &e->candidate[i];
		const char *currency = c->targets->price.currency;

		if (!currency[0] || !memcmp(currency, a->currency, CURRENCY_SIZE)) {
			e->candidate[n++] = *c;
			continue;
		}
		exchange_say(e, SLICE_FMT " is priced in %s, and the budget of %s '%s' is in %s",
			     SLICE_ARG(slice_sub(c->full_name, 0, 200)), currency, a->is_keys ? "key" : "use case",
			     a->whose, a->currency);
	}
	if (!n && e->n_candidates)
		e->error_status = 503;
	e->n_candidates = n;
}

static void give_up(struct exchange *e)
{
	for (size_t i = 0; i < e->n_holds; i++)
		budget_settle(&e->hold[i], 0);
}

enum next spend_reserve(struct exchange *e)
{
	int64_t now = loop_wall_us(e->g->loop), wanted;
	enum budget_answer answer;
	bool low = false;

	e->step = STEP_ATTEMPT;
	if (e->counts || (!(e->caller.key && e->caller.key->budgets) && !(e->use_case && e->use_case->budgets)))
		return NEXT;
	if (!collect(e))
		return respond_error(e, &(struct api_error){.status = 503,
							    .message = SLICE_LIT("Out of memory for this request."),
							    .type = "server_error"});
	for (size_t i = 0; i < e->n_holds; i++)
		if (e->hold[i].account->unit == BUDGET_MONEY)
			drop_uncountable(e, e->hold[i].account);
	for (size_t i = 0; i < e->n_holds && e->n_candidates; i++) {
		struct budget_account *a = e->hold[i].account;

		wanted = estimate(e, a);
		answer = budget_reserve(a, wanted, now, &e->hold[i]);
		low |= answer == BUDGET_GRANTED_LOW;
		if (answer != BUDGET_GRANTED && answer != BUDGET_GRANTED_LOW) {
			give_up(e);
			return refuse(e, a, wanted, answer);
		}
	}
	if (low)
		budgets_ask(e->g->budgets);
	return NEXT;
}

/* --- what it cost --- */

static void add_money(struct money *sum, const struct money *m)
{
	if (!money_known(m))
		return;
	if (!money_known(sum))
		memcpy(sum->currency, m->currency, sizeof(sum->currency));
	if (!memcmp(sum->currency, m->currency, sizeof(sum->currency)) && sum->nano <= INT64_MAX - m->nano)
		sum->nano += m->nano;
}

/* An attempt that is not what the caller gets had produced something: that is paid for all the same. */
void spend_note_waste(struct exchange *e)
{
	const struct candidate *c = exchange_served_by(e);
	const struct chat_usage *u = &e->answer.usage;
	struct money cost;

	if (e->usage_is_kept) {
		e->usage_is_kept = false;
		attempt_close(e);
		return;
	}
	if (e->stream && resume_said(e))
		exchange_complete_usage(e, resume_said(e));
	attempt_close(e);
	if (!c || !u->known)
		return;
	cost = price_cost(&c->targets->price, u->prompt_tokens, u->cached_tokens, u->completion_tokens);
	add_money(&e->wasted, &cost);
	e->wasted_tokens += u->prompt_tokens + u->completion_tokens;
	e->waste_is_new = true;
	e->answer.usage = (struct chat_usage){.known = false};
}

/* The record's cost is that of all attempts, in one currency: the answer's. */
void spend_add_waste(const struct exchange *e, struct money *cost)
{
	add_money(cost, &e->wasted);
}

/* Of an answer that another attempt goes on with, too. */
static int64_t used_up(const struct exchange *e, enum budget_unit unit)
{
	if (unit == BUDGET_MONEY)
		return e->wasted.nano + (money_known(&e->spent_cost) ? e->spent_cost.nano : 0);
	return e->wasted_tokens + e->spent.prompt_tokens + e->spent.completion_tokens;
}

/* A part of the answer has left: no model goes on, and the caller is told as of any other end. */
static bool end_begun(struct exchange *e, struct budget_hold *h, int64_t wanted, bool is_spent)
{
	counter_add(is_spent ? &e->g->stats.budget_exceeded : &e->g->stats.budget_unavailable, 1);
	explain(e, h->account, wanted, is_spent);
	e->i_candidate = e->n_candidates;
	return true;
}

/* As much more as attempts before have used up.  False: it has been refused. */
bool spend_covers_more(struct exchange *e)
{
	if (!e->waste_is_new)
		return true;
	e->waste_is_new = false;
	for (size_t i = 0; i < e->n_holds; i++) {
		struct budget_hold *h = &e->hold[i];
		int64_t wanted = estimate(e, h->account) + used_up(e, h->account->unit);
		enum budget_answer answer =
			wanted > h->reserved ? budget_extend(h, wanted - h->reserved) : BUDGET_GRANTED;

		if (answer != BUDGET_GRANTED && answer != BUDGET_GRANTED_LOW) {
			if (resume_is_on(e))
				return end_begun(e, h, wanted, answer == BUDGET_SPENT);
			(void)refuse(e, h->account, wanted, answer);
			return false;
		}
	}
	return true;
}

void spend_settle(struct exchange *e, const struct log_record *r)
{
	bool by_model = exchange_served_by(e) && !e->cached;
	int64_t in = by_model ? r->prompt_tokens : e->spent.prompt_tokens, /* the record's are with those */
		out = by_model ? r->completion_tokens : e->spent.completion_tokens, tokens;

	in = in > 0 ? min_i64(in, BUDGET_MAX) : 0;
	out = out > 0 ? min_i64(out, BUDGET_MAX) : 0;
	tokens = in + out + min_i64(e->wasted_tokens, BUDGET_MAX);

	for (size_t i = 0; i < e->n_holds; i++) {
		struct budget_hold *h = &e->hold[i];
		bool is_money = h->account->unit == BUDGET_MONEY;

		/* Models in another currency were not asked, so all of the record's cost is in this one, or 0. */
		budget_settle(h, is_money ? r->cost.nano : tokens);
	}
}

/* Of an exchange that ended without a record. */
void spend_release(struct exchange *e)
{
	for (size_t i = 0; i < e->n_holds; i++)
		budget_settle(&e->hold[i], e->n_attempts ? e->hold[i].reserved : 0);
}
