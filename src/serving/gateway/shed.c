/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests are under way at once: of a use case (its max_concurrency), and of this daemon (limits.exchanges),
 * where those of low priority may fill half, those of normal priority four fifths, and only those of high priority all
 * of it.  What is too much is refused at once: a queue would only make everybody wait for what nobody can do any more.
 *
 * What would break it: an exchange that is counted in and not out.  exchange_release() is the one place where it is.
 */
#include "serving/gateway/exchange.h"

static const unsigned percent_of[] = {[PRIORITY_LOW] = 50, [PRIORITY_NORMAL] = 80, [PRIORITY_HIGH] = 100};
static const char *const daemon_takes[] = {
	[PRIORITY_LOW] = "for use cases of low priority this daemon takes",
	[PRIORITY_NORMAL] = "for use cases of normal priority this daemon takes",
	[PRIORITY_HIGH] = "this daemon takes",
};

/* Counts in, unless as many as `most` (0: any number) are there. */
static bool enter(_Atomic uint32_t *n, uint64_t most)
{
	uint32_t was = atomic_fetch_add_explicit(n, 1, memory_order_relaxed);

	if (!most || was < most)
		return true;
	atomic_fetch_sub_explicit(n, 1, memory_order_relaxed);
	return false;
}

static void leave(_Atomic uint32_t **n)
{
	if (*n)
		atomic_fetch_sub_explicit(*n, 1, memory_order_relaxed);
	*n = NULL;
}

/* what: of which so many may be there at once */
static enum next refuse(struct exchange *e, const char *what, int64_t most)
{
	struct api_error error = {.status = 503, .type = "overloaded_error", .code = "overloaded"};

	counter_add(&e->g->stats.shed, 1);
	exchange_say(e, "Too many requests are under way: %s %lld at once. Try again in a second.", what,
		     (long long)most);
	error.message = slice_from(e->error_text);
	e->upstream_retry_after = SLICE_LIT("1");
	e->n_candidates = 0; /* none of them was asked */
	return respond_error(e, &error);
}

enum next shed_enter(struct exchange *e)
{
	struct route_memory *r = e->use_case ? e->use_case->memory : NULL;
	const struct use_case *u = e->use_case ? &e->use_case->settings : NULL;
	int64_t all = e->settings->max_exchanges;
	int64_t most;

	e->step = STEP_GUARD_INPUT;
	if (!r)
		return NEXT;
	if (all && r->daemon) {
		most = all * percent_of[u->priority] / 100;
		if (!enter(r->daemon, (uint64_t)(most ? most : 1)))
			return refuse(e, daemon_takes[u->priority], most ? most : 1);
		e->inside_daemon = r->daemon;
	}
	if (u->max_concurrency) {
		if (!enter(&r->in_flight, (uint64_t)u->max_concurrency)) {
			leave(&e->inside_daemon);
			return refuse(e, "this use case takes", u->max_concurrency);
		}
		e->inside_route = &r->in_flight;
	}
	return NEXT;
}

void shed_leave(struct exchange *e)
{
	leave(&e->inside_daemon);
	leave(&e->inside_route);
}
