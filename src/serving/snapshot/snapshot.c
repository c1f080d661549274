/* SPDX-License-Identifier: Apache-2.0 */
/* Lifetime and lookups.  Requests on every loop read a snapshot at once: nothing here may write to it but the reference
 * count. */
#include "serving/snapshot/snapshot.h"

#include <stdlib.h>

#include "core/base/digest.h"

struct snapshot *snapshot_ref(struct snapshot *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void snapshot_unref(struct snapshot *s)
{
	/* Whoever drops the last reference has to see what the others did before they dropped theirs. */
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (s->free_prepared)
		s->free_prepared(s);
	map_release(&s->by_use_case);
	map_release(&s->by_model);
	map_release(&s->by_model_id);
	map_release(&s->by_key_digest);
	arena_release(&s->arena);
	free(s);
}

const struct snapshot_use_case *snapshot_use_case(const struct snapshot *s, struct slice name)
{
	char text[USE_CASE_MAX + 8];
	const struct snapshot_use_case *u = map_get(&s->by_use_case, name);

	if (u)
		return u;
	name = use_case_of_layer(name, text);
	return name.p ? map_get(&s->by_use_case, name) : NULL;
}

const struct snapshot_model *snapshot_model(const struct snapshot *s, struct slice name_or_id)
{
	char text[UUID_STR_SIZE];
	struct uuid id;

	if (name_or_id.n == UUID_STR_SIZE - 1 && !uuid_parse(name_or_id.p, name_or_id.n, &id)) {
		const struct snapshot_model *m = map_get(&s->by_model_id, slice_from(uuid_format(&id, text)));

		if (m)
			return m;
	}
	return map_get(&s->by_model, name_or_id);
}

bool snapshot_splits_off(const struct snapshot_use_case *u, struct slice key)
{
	/* hash64 of a short key is even in its upper bits: they say in which of 10,000 parts the caller is. */
	return u->candidate && ((hash64(key, u->split_seed) >> 32) * 10000) >> 32 < (uint64_t)u->share * 100;
}

const struct snapshot_key *snapshot_key(const struct snapshot *s, const char digest[KEY_DIGEST_SIZE])
{
	return map_get(&s->by_key_digest, (struct slice){digest, KEY_DIGEST_SIZE - 1});
}

struct nearest {
	struct slice wanted, name;
	unsigned distance;
};

static void nearest_try(struct nearest *n, struct slice name)
{
	unsigned d = slice_distance(n->wanted, name);

	if (d < n->distance) {
		n->distance = d;
		n->name = name;
	}
}

struct slice snapshot_nearest(const struct snapshot *s, struct slice name)
{
	struct nearest n = {.wanted = name};

	n.distance = (unsigned)min_size(name.n / 3, 3) + 1; /* a third of it mistyped, three letters at most */
	for (size_t i = 0; i < s->n_use_cases; i++)
		nearest_try(&n, s->use_cases[i].settings.name);
	for (size_t i = 0; i < s->n_models; i++) {
		nearest_try(&n, s->models[i].full_name);
		nearest_try(&n, s->models[i].model.name);
	}
	return n.name;
}
