/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list that only grows.  Its writers take the lock; readers see the first n entries, which never change.
 * What would break it: naming the last place, which is everybody's.
 */
#include "serving/gateway/series.h"

#include "serving/protocol/protocol.h"

#include <pthread.h>
#include <stdlib.h>

struct entry {
	struct gateway_series_labels labels;
	char *text; /* what the labels point into */
};

struct gateway_series {
	pthread_mutex_t lock;
	_Atomic unsigned n;
	struct counter folded;
	struct entry entry[GATEWAY_MODEL_SLOTS - 1];
};

enum gateway_operation gateway_operation_of(const struct protocol *p)
{
	if (p->embeds)
		return OPERATION_EMBEDDINGS;
	return p->completes_text ? OPERATION_TEXT_COMPLETION : OPERATION_CHAT;
}

struct gateway_series *gateway_series_new(void)
{
	struct gateway_series *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void gateway_series_free(struct gateway_series *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n; i++)
		free(s->entry[i].text);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static bool same(const struct gateway_series_labels *a, const struct gateway_series_labels *b)
{
	return a->operation == b->operation && slice_eq(a->use_case, b->use_case) && slice_eq(a->model, b->model) &&
	       slice_eq(a->provider, b->provider) && slice_eq(a->request_model, b->request_model);
}

static struct slice put(char **at, struct slice s)
{
	struct slice copy = {*at, s.n};

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

static void name(struct entry *e, const struct gateway_series_labels *l)
{
	char *at = malloc(l->use_case.n + l->model.n + l->provider.n + l->request_model.n + 1);

	if (!at)
		abort();
	e->text = at;
	e->labels.operation = l->operation;
	e->labels.use_case = put(&at, l->use_case);
	e->labels.model = put(&at, l->model);
	e->labels.provider = put(&at, l->provider);
	e->labels.request_model = put(&at, l->request_model);
}

static unsigned slot_locked(struct gateway_series *s, const struct gateway_series_labels *labels)
{
	unsigned n = atomic_load_explicit(&s->n, memory_order_relaxed);

	for (unsigned i = 0; i < n; i++)
		if (same(&s->entry[i].labels, labels))
			return i;
	if (n == GATEWAY_MODEL_SLOTS - 1) {
		counter_add(&s->folded, 1);
		return n;
	}
	name(&s->entry[n], labels);
	atomic_store_explicit(&s->n, n + 1, memory_order_release);
	return n;
}

unsigned gateway_series_slot(struct gateway_series *s, const struct gateway_series_labels *labels)
{
	unsigned slot;

	if (!s)
		return GATEWAY_MODEL_SLOTS - 1;
	pthread_mutex_lock(&s->lock);
	slot = slot_locked(s, labels);
	pthread_mutex_unlock(&s->lock);
	return slot;
}

unsigned gateway_series_count(const struct gateway_series *s)
{
	return atomic_load_explicit(&s->n, memory_order_acquire);
}

const struct gateway_series_labels *gateway_series_at(const struct gateway_series *s, unsigned slot)
{
	return &s->entry[slot].labels;
}

uint64_t gateway_series_folded(const struct gateway_series *s)
{
	return counter_get(&s->folded);
}
