/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiling what requests need of a snapshot, in the control plane, before it is published.  A policy takes long to
 * compile and seldom changes: snapshots share what was compiled from the same document.  What would break it: taking
 * two policies for the same that are not, so documents are compared whole.
 */
#include "serving/gateway/exchange.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/json/writer.h"

#define DOCUMENT_MAX (64u * 1024 * 1024)

/* One compiled policy, for as long as a snapshot holds it. */
struct shared_policy {
	struct shared_policy *next;
	struct guard_policy *compiled;
	struct buf document;
	size_t refs;
};

/* Snapshots are built on job threads, and the last to let go of one may be any loop: the lock guards list and counts,
 * never a compilation. */
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct shared_policy *shared;

static void release_policy(struct guard_policy *compiled)
{
	struct shared_policy *gone = NULL;

	pthread_mutex_lock(&shared_lock);
	for (struct shared_policy **at = &shared; compiled && *at; at = &(*at)->next) {
		if ((*at)->compiled != compiled)
			continue;
		if (--(*at)->refs == 0) {
			gone = *at;
			*at = gone->next;
		}
		break;
	}
	pthread_mutex_unlock(&shared_lock);
	if (!gone)
		return;
	guard_policy_free(gone->compiled);
	buf_release(&gone->document);
	free(gone);
}

static struct guard_policy *find_policy(struct slice document)
{
	struct guard_policy *found = NULL;

	pthread_mutex_lock(&shared_lock);
	for (struct shared_policy *p = shared; p && !found; p = p->next) {
		if (slice_eq(buf_slice(&p->document), document)) {
			p->refs++;
			found = p->compiled;
		}
	}
	pthread_mutex_unlock(&shared_lock);
	return found;
}

static void add_policy(struct guard_policy *compiled, struct buf document)
{
	struct shared_policy *p = malloc(sizeof(*p));

	if (!p)
		abort();
	*p = (struct shared_policy){.compiled = compiled, .document = document, .refs = 1};
	pthread_mutex_lock(&shared_lock);
	p->next = shared;
	shared = p;
	pthread_mutex_unlock(&shared_lock);
}

/* The document goes along with what is compiled from it. */
static int compile_new(const struct policy *source, struct buf *document, struct guard_policy **ret, struct err *err)
{
	int rc = guard_policy_compile(source, ret, err);

	if (rc)
		return rc;
	add_policy(*ret, *document);
	*document = (struct buf){0};
	return 0;
}

static int compile(const struct policy *source, struct guard_policy **ret, struct err *err)
{
	struct json_writer w;
	struct buf document;
	int rc = 0;

	buf_init(&document, DOCUMENT_MAX);
	jw_init(&w, &document);
	policy_write(&w, source);
	if (buf_failed(&document))
		rc = err_set(err, E_TOOBIG, "it is too large");
	else
		*ret = find_policy(buf_slice(&document));
	if (!rc && !*ret)
		rc = compile_new(source, &document, ret, err);
	buf_release(&document);
	return rc;
}

static void free_prepared(struct snapshot *s)
{
	for (size_t i = 0; i < s->n_policies; i++)
		release_policy(s->policies[i].compiled);
}

static int prepare_models(struct snapshot *s, const struct gateway_prepare_arg *arg, struct err *err)
{
	for (size_t i = 0; i < s->n_models; i++) {
		struct snapshot_model *m = &s->models[i];
		struct target *t = ARENA_NEW(&s->arena, struct target);
		int rc;

		if (!t)
			return err_set(err, E_TOOBIG, "the registry is too large for a snapshot");
		rc = target_init(&s->arena, t, m->model.provider, &m->config, m->model.name, arg, err);
		if (rc) {
			err_prefix(err, "model " SLICE_FMT, SLICE_ARG(m->full_name));
			return rc;
		}
		m->target = t;
	}
	return 0;
}

int gateway_prepare(struct snapshot *s, void *prepare_arg, struct err *err)
{
	s->free_prepared = free_prepared;
	for (size_t i = 0; i < s->n_policies; i++) {
		struct guard_policy *compiled = NULL;
		int rc = compile(&s->policies[i].policy, &compiled, err);

		if (rc) {
			err_prefix(err, "policy " SLICE_FMT, SLICE_ARG(s->policies[i].policy.name));
			return rc;
		}
		s->policies[i].compiled = compiled;
	}
	return prepare_models(s, prepare_arg, err);
}
