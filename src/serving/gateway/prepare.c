/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling what requests need of a snapshot, in the control plane, before it is published. */
#include "serving/gateway/exchange.h"

static void free_prepared(struct snapshot *s)
{
	for (size_t i = 0; i < s->n_policies; i++)
		guard_policy_free(s->policies[i].compiled);
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
	int rc;

	s->free_prepared = free_prepared;
	for (size_t i = 0; i < s->n_policies; i++) {
		struct guard_policy *compiled = NULL;

		rc = guard_policy_compile(&s->policies[i].policy, &compiled, err);
		if (rc) {
			err_prefix(err, "policy " SLICE_FMT, SLICE_ARG(s->policies[i].policy.name));
			return rc;
		}
		s->policies[i].compiled = compiled;
	}
	return prepare_models(s, prepare_arg, err);
}
