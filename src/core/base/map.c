/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear probing at a load of at most 3/4; deletion shifts the rest of the run back, so there are no tombstones.  An
 * entry without a value is free.  The hash is seeded with a constant: put no keys in here that strangers choose freely.
 */
#include "core/base/map.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/digest.h"

#define CAP_MIN 16
#define SEED 0x6d75737465720001U

void map_init(struct map *m)
{
	*m = (struct map){NULL, 0, 0};
}

void map_release(struct map *m)
{
	free(m->entries);
	map_init(m);
}

/* The entry of that key, or the free one where it would go. */
static struct map_entry *lookup(const struct map *m, struct slice key, uint64_t hash)
{
	size_t i = hash & (m->cap - 1);

	while (m->entries[i].value && (m->entries[i].hash != hash || !slice_eq(m->entries[i].key, key)))
		i = (i + 1) & (m->cap - 1);
	return &m->entries[i];
}

void *map_get(const struct map *m, struct slice key)
{
	return m->cap ? lookup(m, key, hash64(key, SEED))->value : NULL;
}

static void grow(struct map *m)
{
	struct map bigger = {NULL, m->n, m->cap ? 2 * m->cap : CAP_MIN};

	bigger.entries = calloc(bigger.cap, sizeof(*bigger.entries));
	if (!bigger.entries)
		abort();
	for (size_t i = 0; i < m->cap; i++)
		if (m->entries[i].value)
			*lookup(&bigger, m->entries[i].key, m->entries[i].hash) = m->entries[i];
	free(m->entries);
	*m = bigger;
}

void *map_put(struct map *m, struct slice key, void *value)
{
	uint64_t hash = hash64(key, SEED);
	struct map_entry *e;
	void *old;

	assert(value);
	if (4 * (m->n + 1) > 3 * m->cap)
		grow(m);
	e = lookup(m, key, hash);
	old = e->value;
	if (!old)
		m->n++;
	*e = (struct map_entry){key, value, hash};
	return old;
}

void *map_del(struct map *m, struct slice key)
{
	size_t mask = m->cap - 1, hole, i;
	struct map_entry *e;
	void *old;

	if (!m->cap)
		return NULL;
	e = lookup(m, key, hash64(key, SEED));
	old = e->value;
	if (!old)
		return NULL;
	hole = (size_t)(e - m->entries);
	for (i = (hole + 1) & mask; m->entries[i].value; i = (i + 1) & mask) {
		size_t home = m->entries[i].hash & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			m->entries[hole] = m->entries[i];
			hole = i;
		}
	}
	m->entries[hole] = (struct map_entry){{NULL, 0}, NULL, 0};
	m->n--;
	return old;
}

bool map_next(const struct map *m, size_t *i, struct map_entry **ret)
{
	while (*i < m->cap) {
		struct map_entry *e = &m->entries[(*i)++];

		if (e->value) {
			*ret = e;
			return true;
		}
	}
	return false;
}
