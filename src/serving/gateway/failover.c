/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is asked, and who is asked next.
 *
 * An endpoint whose breaker is open is passed over; one that has said when to come again is passed over as long as
 * somebody else may serve.  After a failure another endpoint of the same model is asked, then the next model of the
 * chain; only the last of all is asked once more itself, after a wait, out of the use case's retry budget, and only
 * when that may help: never one that was silent.
 *
 * What would break it: a way out of an exchange that settles nothing.  An endpoint that is probed would stay shut until
 * the probe is given up.
 */
#include "core/base/digest.h"
#include "serving/gateway/exchange.h"
#include "serving/gateway/resume.h"
#include "serving/gateway/target.h"

#define RETRIES_DEFAULT 1
#define WAIT_MAX_MS \
	5000 /* a caller is not kept waiting for longer than this for an upstream that asks to be left alone */
#define PREFIX_BYTES 1024
#define PREFIX_SLACK 4 /* requests more than the other: then the prefix counts no more */

static int64_t now_of(const struct exchange *e)
{
	return loop_now_ms(e->g->loop);
}

static struct candidate *turn_of(struct exchange *e)
{
	return &e->candidate[e->i_candidate];
}

static bool is_last(const struct exchange *e)
{
	return e->i_candidate + 1 >= e->n_candidates;
}

bool failover_deadline_passed(const struct exchange *e)
{
	return e->deadline_ms && now_of(e) >= e->deadline_ms;
}

/* --- how it ended --- */

void failover_settle(struct exchange *e, enum outcome outcome)
{
	struct upstream_memory *u = e->upstream;
	int64_t now = now_of(e);

	if (!u)
		return;
	e->upstream = NULL;
	if (e->counted_in)
		atomic_fetch_sub_explicit(&u->in_flight, 1, memory_order_relaxed);
	e->counted_in = false;
	if (outcome != OUTCOME_GOOD && e->retry_after_ms > 0)
		upstream_rest(u, now, e->retry_after_ms);
	if (!e->judged)
		return;
	switch (outcome) {
	case OUTCOME_GOOD:
		upstream_good(u, e->pass, now);
		break;
	case OUTCOME_FAULT:
	case OUTCOME_BROKEN:
	case OUTCOME_SILENT:
		upstream_fault(u, e->pass, now);
		break;
	case OUTCOME_BUSY:
	case OUTCOME_REFUSED:
	case OUTCOME_DEADLINE:
		upstream_untold(u, e->pass, now);
		break;
	}
}

/* --- which endpoint --- */

static uint32_t in_flight(const struct target *t)
{
	return t->memory ? atomic_load_explicit(&t->memory->in_flight, memory_order_relaxed) : 0;
}

/* The power of two choices (Mitzenmacher, 2001), of two or more: nearly as even as looking at all of them.  Never one
 * twice, or of two endpoints the one that is stuck would be chosen a quarter of the time. */
static size_t less_busy(struct exchange *e, const struct targets *t, const size_t *open, size_t n)
{
	size_t i = rng_below(&e->g->rng, n), k = rng_below(&e->g->rng, n - 1);
	size_t a = open[i], b = open[k < i ? k : k + 1];

	return in_flight(&t->list[b]) < in_flight(&t->list[a]) ? b : a;
}

/* Callers who begin alike come to the same endpoint, which has that beginning in its cache. */
static size_t by_prefix(struct exchange *e, const struct targets *t, const size_t *open, size_t n)
{
	struct slice prefix = slice_sub(e->request.context.n ? e->request.context : e->request.prompt, 0, PREFIX_BYTES);
	size_t best = open[0], other = less_busy(e, t, open, n);
	uint64_t weight = 0;

	for (size_t i = 0; i < n; i++) { /* rendezvous hashing: when one is away only its own callers move */
		uint64_t w = hash64(prefix, open[i]);

		if (i == 0 || w > weight) {
			weight = w;
			best = open[i];
		}
	}
	return in_flight(&t->list[best]) > in_flight(&t->list[other]) + PREFIX_SLACK ? other : best;
}

static size_t list_open(struct exchange *e, const struct candidate *c, bool resting_too,
			size_t open[MODEL_MAX_ENDPOINTS])
{
	size_t n = 0;

	for (size_t i = 0; i < c->targets->n; i++)
		if (!(c->tried >> i & 1) &&
		    (resting_too || !upstream_is_resting(c->targets->list[i].memory, now_of(e))))
			open[n++] = i;
	return n;
}

/* Lets the request through to one of those that are open; -1: to none. */
static int admit_one(struct exchange *e, const struct candidate *c, size_t *open, size_t n)
{
	while (n) {
		size_t at = n == 1				    ? open[0]
			    : c->targets->balance == BALANCE_PREFIX ? by_prefix(e, c->targets, open, n)
								    : less_busy(e, c->targets, open, n);
		size_t i = 0;

		e->pass = BREAKER_LET_THROUGH;
		if (!c->targets->no_breaker)
			e->pass = upstream_admit(c->targets->list[at].memory, now_of(e), (uint32_t)rng_u64(&e->g->rng));
		if (e->pass != BREAKER_REFUSED)
			return (int)at;
		while (open[i] != at)
			i++;
		open[i] = open[--n];
	}
	return -1;
}

static bool choose_endpoint(struct exchange *e, struct candidate *c)
{
	size_t open[MODEL_MAX_ENDPOINTS];
	int at = admit_one(e, c, open, list_open(e, c, false, open));

	if (at < 0 && is_last(e)) /* better an upstream that wants to rest than none */
		at = admit_one(e, c, open, list_open(e, c, true, open));
	if (at < 0)
		return false;
	c->target = &c->targets->list[at];
	e->upstream = c->target->memory;
	e->judged = !c->targets->no_breaker;
	e->counted_in = e->upstream && c->targets->n > 1;
	if (e->counted_in)
		atomic_fetch_add_explicit(&e->upstream->in_flight, 1, memory_order_relaxed);
	return true;
}

/* --- which model --- */

/* All of its endpoints are shut, or want to be left alone: the log says so, as of an attempt. */
static void pass_over(struct exchange *e)
{
	struct candidate *c = turn_of(e);
	int64_t wait = INT64_MAX;
	bool rests = false;
	char why[128];

	for (size_t i = 0; i < c->targets->n; i++) {
		const struct upstream_memory *u = c->targets->list[i].memory;

		wait = min_i64(wait, upstream_wait_ms(u, now_of(e)));
		rests |= upstream_is_resting(u, now_of(e));
	}
	e->attempt_ms = now_of(e);
	snprintf(why, sizeof(why), "not asked: it %s, and is tried again in %lld s",
		 rests ? "asked to be left alone (Retry-After)" : "failed lately", (long long)((wait + 999) / 1000));
	attempt_note(e, CALL_NOT_COUNTED, why);
	if (!e->error_text[0])
		exchange_say(e, SLICE_FMT " was %s", (int)min_size(c->full_name.n, 200), c->full_name.p, why);
	if (!e->n_attempts) {
		e->error_status = 503;
		c->wait = wait + 1;
	}
	e->arm_failed |= e->i_candidate == 0;
	e->i_candidate++;
}

struct slice failover_retry_after(struct exchange *e)
{
	int64_t last = 0, least = WAIT_UNSAID;
	bool all = true;

	for (size_t i = 0; i < e->n_candidates; i++) {
		if (!e->candidate[i].wait)
			continue;
		last = e->candidate[i].wait;
		all &= last != WAIT_NONE;
		least = min_i64(least, last);
	}
	if (all)
		last = least;
	if (last <= 0 || last == WAIT_UNSAID)
		return (struct slice){NULL, 0};
	return slice_from(arena_printf(&e->http->arena, "%lld", (long long)((last - 1 + 999) / 1000)));
}

/* It cannot go on with what another began. */
static void leave_out(struct exchange *e)
{
	e->attempt_ms = now_of(e);
	if (turn_of(e)->tried == 0)
		attempt_note(e, CALL_NOT_COUNTED, "not asked: it is not configured to go on with an answer (prefill)");
	e->arm_failed |= e->i_candidate == 0;
	e->i_candidate++;
}

static void on_pause(void *arg)
{
	exchange_run(arg);
}

enum next failover_choose(struct exchange *e)
{
	int64_t pause = e->pause_ms;

	if (pause) {
		e->pause_ms = 0;
		timer_init(&e->pause, on_pause, e);
		timer_set(e->g->loop, &e->pause, pause);
		return WAIT;
	}
	if (failover_deadline_passed(e))
		e->i_candidate = e->n_candidates;
	while (e->i_candidate < e->n_candidates) {
		if (!resume_accepts(e, turn_of(e)->target))
			leave_out(e);
		else if (choose_endpoint(e, turn_of(e)))
			break;
		else
			pass_over(e);
	}
	return e->i_candidate < e->n_candidates ? NEXT : FINISHED;
}

static unsigned retries_of(const struct exchange *e)
{
	return e->use_case && e->use_case->settings.has_retries ? e->use_case->settings.retries : RETRIES_DEFAULT;
}

/* How long to wait before the last of all is asked again; -1: not at all. */
static int64_t wait_before_repeat(struct exchange *e, enum outcome outcome)
{
	int64_t wait = retry_backoff_ms(e->n_repeats + 1, (uint32_t)rng_u64(&e->g->rng));

	if (outcome != OUTCOME_FAULT && outcome != OUTCOME_BUSY)
		return -1;
	if (e->retry_after_ms > wait)
		wait = e->retry_after_ms;
	if (wait > WAIT_MAX_MS || (e->deadline_ms && now_of(e) + wait >= e->deadline_ms))
		return -1;
	return wait;
}

/* The last of all once more, after a wait. */
static bool repeat(struct exchange *e, enum outcome outcome)
{
	struct route_memory *route = e->use_case ? e->use_case->memory : NULL;
	int64_t wait = wait_before_repeat(e, outcome);

	if (!is_last(e) || wait < 0 || e->n_repeats >= retries_of(e) || !resume_accepts(e, turn_of(e)->target))
		return false;
	if (!route_withdraw(route, now_of(e))) {
		counter_add(&e->g->stats.retries_denied, 1);
		return false;
	}
	counter_add(&e->g->stats.retries, 1);
	turn_of(e)->tried = 0;
	e->n_repeats++;
	e->pause_ms = wait;
	return true;
}

/* What another endpoint of the same model might do better. */
static bool has_another(struct exchange *e, enum outcome outcome)
{
	size_t open[MODEL_MAX_ENDPOINTS];

	return outcome != OUTCOME_REFUSED && list_open(e, turn_of(e), false, open) > 0;
}

void failover_go_on(struct exchange *e, enum outcome outcome)
{
	struct candidate *c = turn_of(e);

	c->tried |= UINT32_C(1) << (c->target - c->targets->list);
	if (outcome == OUTCOME_DEADLINE) {
		e->i_candidate = e->n_candidates;
	} else if (!has_another(e, outcome) && !repeat(e, outcome)) {
		e->arm_failed |= e->i_candidate == 0;
		e->i_candidate++;
	}
	e->step = STEP_ATTEMPT;
}

bool failover_to_larger(struct exchange *e)
{
	int64_t here = turn_of(e)->targets->context_tokens;

	for (size_t i = e->i_candidate + 1; i < e->n_candidates; i++) {
		if (e->candidate[i].targets->context_tokens <= here)
			continue;
		e->arm_failed |= e->i_candidate == 0;
		e->i_candidate = i;
		e->step = STEP_ATTEMPT;
		return true;
	}
	return false;
}
