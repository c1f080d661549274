/* SPDX-License-Identifier: Apache-2.0 */
/* An open-addressing hash map from bytes to a pointer.  Keys are borrowed: whoever puts one keeps it alive. */
#pragma once
#include "core/base/slice.h"

struct map_entry {
	struct slice key;
	void *value;
	uint64_t hash;
};

struct map {
	struct map_entry *entries;
	size_t n, cap;
};

void map_init(struct map *m);
void map_release(struct map *m);
/* NULL when absent. */
void *map_get(const struct map *m, struct slice key);
/* Returns the value that stood there before, or NULL.  value must not be NULL. */
void *map_put(struct map *m, struct slice key, void *value);
void *map_del(struct map *m, struct slice key);
/* for (size_t i = 0; map_next(m, &i, &e);) ... : any order */
bool map_next(const struct map *m, size_t *i, struct map_entry **ret);
