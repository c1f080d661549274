/* SPDX-License-Identifier: Apache-2.0 */
/* Hits of guardrails, kept for as long as an exchange lives.  Most have none, so there is room only for those there
 * are. */
#include "serving/gateway/exchange.h"

#define ROOM_FIRST 4

static bool reserve(struct arena *a, struct hit_list *l, size_t n)
{
	size_t room = l->room ? l->room : ROOM_FIRST;
	struct guard_hit *grown;

	if (n <= l->room)
		return true;
	while (room < n)
		room *= 2;
	grown = ARENA_ARRAY(a, struct guard_hit, room);
	if (!grown)
		return false;
	if (l->n_hits)
		memcpy(grown, l->hit, l->n_hits * sizeof(*grown));
	l->hit = grown;
	l->room = (uint16_t)room;
	return true;
}

bool hits_add(struct arena *a, struct hit_list *l, struct guard_hit hit)
{
	if (l->n_hits == GUARD_MAX_HITS || !reserve(a, l, l->n_hits + (size_t)1))
		return false;
	l->hit[l->n_hits++] = hit;
	return true;
}

bool hits_set(struct arena *a, struct hit_list *l, const struct guard_hit *hit, size_t n)
{
	l->n_hits = 0;
	if (!reserve(a, l, n))
		return false;
	if (n)
		memcpy(l->hit, hit, n * sizeof(*hit));
	l->n_hits = (uint16_t)n;
	return true;
}
