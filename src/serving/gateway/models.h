/* SPDX-License-Identifier: Apache-2.0 */
/* What callers may name as a model: use cases, and registered models behind them. */
#pragma once
#include "serving/snapshot/snapshot.h"

struct models_entry {
	struct slice id, owner, version;
	struct slice mark; /* tells it from all others, also from a model of the same name */
	struct slice use_case;
	int64_t created_us, context_tokens;
	const struct snapshot_model *model; /* that serves now; NULL: a use case has none */
};

size_t models_count(const struct snapshot *s);
struct models_entry models_at(const struct snapshot *s, size_t i);
struct protocol;
/* Whether a call of front's to it has somebody who can answer. */
bool models_answers(const struct models_entry *e, const struct protocol *front);
/* False: there is none of that name. */
bool models_find(const struct snapshot *s, struct slice name, struct models_entry *ret);
/* The name behind /v1/models/ or /v1beta/models/, which may have slashes; as it stands in the path. */
bool models_named_by(struct slice path, struct slice *ret);
