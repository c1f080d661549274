/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling what requests need of a snapshot, in the control plane, before it is published. */
#include <pthread.h>
#include <stdlib.h>

#include "core/base/digest.h"
#include "core/json/writer.h"
#include "serving/gateway/budgets.h"
#include "serving/gateway/gateway.h"
#include "serving/gateway/limits.h"
#include "serving/gateway/memory.h"
#include "serving/gateway/prepared.h"
#include "serving/gateway/series.h"
#include "serving/gateway/target.h"

#define DOCUMENT_MAX ((size_t)64 << 20)
#define KEPT_MAX 32

struct gateway_policy_cache {
	pthread_mutex_t lock; /* publications may come from several job threads */
	struct prepared_policy *kept[KEPT_MAX];
	size_t next; /* the place that is given up next */
};

struct gateway_policy_cache *gateway_policy_cache_new(void)
{
	struct gateway_policy_cache *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

static void policy_unref(struct prepared_policy *p)
{
	if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return;
	guard_policy_free(p->guard);
	free(p);
}

static struct prepared_policy *policy_ref(struct prepared_policy *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

void gateway_policy_cache_free(struct gateway_policy_cache *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < KEPT_MAX; i++)
		policy_unref(c->kept[i]);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static struct prepared_policy *find_kept(struct gateway_policy_cache *c, const char *digest)
{
	struct prepared_policy *found = NULL;

	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < KEPT_MAX && !found; i++)
		if (c->kept[i] && !strcmp(c->kept[i]->digest, digest))
			found = policy_ref(c->kept[i]);
	pthread_mutex_unlock(&c->lock);
	return found;
}

static void keep(struct gateway_policy_cache *c, struct prepared_policy *p)
{
	pthread_mutex_lock(&c->lock);
	policy_unref(c->kept[c->next]);
	c->kept[c->next] = policy_ref(p);
	c->next = (c->next + 1) % KEPT_MAX;
	pthread_mutex_unlock(&c->lock);
}

static void digest_of(const struct policy *p, char digest[65])
{
	struct json_writer w;
	struct buf b;

	buf_init(&b, DOCUMENT_MAX);
	jw_init(&w, &b);
	policy_write(&w, p);
	sha256_hex(buf_slice(&b), digest);
	buf_release(&b);
}

static int prepare_policy(struct snapshot_policy *sp, struct gateway_policy_cache *cache, struct err *err)
{
	struct guard_policy *guard = NULL;
	struct prepared_policy *p;
	char digest[65];
	int rc;

	digest_of(&sp->policy, digest);
	sp->compiled = cache ? find_kept(cache, digest) : NULL;
	if (sp->compiled)
		return 0;
	rc = guard_policy_compile(&sp->policy, &guard, err);
	if (rc) {
		err_prefix(err, "policy " SLICE_FMT, SLICE_ARG(sp->policy.name));
		return rc;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		abort();
	p->refs = 1;
	p->guard = guard;
	memcpy(p->digest, digest, sizeof(digest));
	if (cache)
		keep(cache, p);
	sp->compiled = p;
	return 0;
}

static void free_prepared(struct snapshot *s)
{
	for (size_t i = 0; i < s->n_policies; i++)
		policy_unref(s->policies[i].compiled);
	for (size_t i = 0; i < s->n_keys; i++)
		limits_unref(s->keys[i].limits);
	budgets_release(s);
	for (size_t i = 0; i < s->n_use_cases; i++)
		memory_unref(s->use_cases[i].memory);
	for (size_t i = 0; i < s->n_models; i++) {
		const struct targets *t = s->models[i].target;

		for (size_t k = 0; t && k < t->n; k++)
			memory_unref(t->list[k].memory);
	}
}

/* What is remembered of an endpoint rests on all that its model is configured to be. */
static void remember(struct snapshot_model *m, struct target *t, size_t at, const struct gateway_prepare_arg *arg)
{
	char key[65], place[24];
	struct buf b;

	buf_init(&b, DOCUMENT_MAX);
	buf_add(&b, m->id_text);
	buf_add(&b, m->model.provider);
	buf_add(&b, m->model.configuration);
	snprintf(place, sizeof(place), " %zu", at);
	buf_adds(&b, place);
	sha256_hex(buf_slice(&b), key);
	buf_release(&b);
	t->memory = memory_of_upstream(arg->memory, key);
}

static struct slice otel_provider(struct slice name)
{
	const struct provider *p = provider_find(name);

	return p && p->otel_name ? slice_from(p->otel_name) : name;
}

static int prepare_model(struct snapshot *s, struct snapshot_model *m, const struct gateway_prepare_arg *arg,
			 struct err *err)
{
	struct targets *all = ARENA_NEW(&s->arena, struct targets);
	struct model_config config = m->config;
	const struct json *more = config.endpoints ? config.endpoints->first : NULL;
	size_t n = 1;
	int rc = 0;

	for (const struct json *v = more; v; v = v->next)
		n++;
	if (all)
		all->list = ARENA_ARRAY(&s->arena, struct target, n);
	if (!all || !all->list)
		return err_set(err, E_TOOBIG, "the registry is too large for a snapshot");
	all->balance = config.balance;
	all->no_breaker = config.no_circuit_breaker;
	all->context_tokens = config.context_tokens;
	all->price = config.price;
	m->target = all;
	for (; all->n < n; more = more->next) {
		rc = target_init(&s->arena, &all->list[all->n],
				 &(struct target_source){m->model.provider, &config, m->model.name, arg}, err);
		if (rc)
			break;
		remember(m, &all->list[all->n], all->n, arg);
		rc = target_count_in(&s->arena, &all->list[all->n], arg->series,
				     &(struct gateway_series_labels){m->model.use_case, m->full_name,
								     otel_provider(m->model.provider),
								     all->list[all->n].upstream_model, OPERATION_CHAT});
		if (rc) {
			rc = err_set(err, rc, "the registry is too large for a snapshot");
			break;
		}
		all->n++;
		if (!more)
			return 0;
		config.endpoint = more->str;
	}
	err_prefix(err, "model " SLICE_FMT, SLICE_ARG(m->full_name));
	return rc;
}

int gateway_prepare(struct snapshot *s, void *prepare_arg, struct err *err)
{
	const struct gateway_prepare_arg *arg = prepare_arg;
	int rc = 0;

	s->free_prepared = free_prepared;
	limits_prepare(arg->limits, s);
	rc = budgets_prepare(arg->budgets, s, err);
	for (size_t i = 0; i < s->n_use_cases; i++) {
		char key[65];

		sha256_hex(s->use_cases[i].settings.name, key);
		s->use_cases[i].memory = memory_of_route(arg->memory, key);
	}
	for (size_t i = 0; i < s->n_policies && !rc; i++) {
		rc = prepare_policy(&s->policies[i], arg->cache, err);
		if (rc)
			snapshot_blame(&s->fault, SNAPSHOT_BAD_POLICY, s->policies[i].policy.name);
	}
	for (size_t i = 0; i < s->n_models && !rc; i++) {
		rc = prepare_model(s, &s->models[i], arg, err);
		if (rc)
			snapshot_blame(&s->fault, SNAPSHOT_BAD_MODEL, s->models[i].id_text);
	}
	memory_tidy(arg->memory);
	return rc;
}
