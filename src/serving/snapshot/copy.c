/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of domain values that own nothing outside the arena: a slice forgotten here dangles once the source is gone.
 */
#include "serving/snapshot/snapshot_internal.h"

static int too_big(struct err *err)
{
	return err_set(err, E_TOOBIG, "the registry is too large for a snapshot of %zu MiB", SNAPSHOT_MAX_BYTES >> 20);
}

int snapshot_copy_slice(struct arena *a, struct slice from, struct slice *ret, struct err *err)
{
	*ret = (struct slice){NULL, 0};
	if (!from.p)
		return 0;
	*ret = arena_slice(a, from);
	return ret->p ? 0 : too_big(err);
}

static int copy_slices(struct arena *a, struct slice *at, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		int rc = snapshot_copy_slice(a, at[i], &at[i], err);

		if (rc)
			return rc;
	}
	return 0;
}

int snapshot_copy_model(struct arena *a, const struct model *from, struct model *ret, struct err *err)
{
	struct slice *const texts[] = {&ret->name,     &ret->version,	    &ret->use_case, &ret->model_type,
				       &ret->provider, &ret->configuration, &ret->metrics};

	*ret = *from;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		int rc = copy_slices(a, texts[i], 1, err);

		if (rc)
			return rc;
	}
	return 0;
}

int snapshot_copy_use_case(struct arena *a, const struct use_case *from, struct use_case *ret, struct err *err)
{
	int rc;

	*ret = *from;
	if ((rc = copy_slices(a, &ret->name, 1, err)) || (rc = copy_slices(a, ret->fallback, ret->n_fallback, err)) ||
	    (rc = copy_slices(a, &ret->fallback_content, 1, err)))
		return rc;
	return copy_slices(a, &ret->policy, 1, err);
}

static int copy_rule(struct arena *a, struct policy_rule *r, struct err *err)
{
	struct slice *values = ARENA_ARRAY(a, struct slice, r->n_values);
	int rc;

	if (!values)
		return too_big(err);
	for (size_t i = 0; i < r->n_values; i++)
		values[i] = r->values[i];
	r->values = values;
	if ((rc = copy_slices(a, values, r->n_values, err)) || (rc = copy_slices(a, &r->id, 1, err)) ||
	    (rc = copy_slices(a, &r->category, 1, err)))
		return rc;
	return copy_slices(a, &r->mask, 1, err);
}

int snapshot_copy_policy(struct arena *a, const struct policy *from, struct policy *ret, struct err *err)
{
	int rc;

	*ret = *from;
	ret->rules = ARENA_ARRAY(a, struct policy_rule, from->n_rules);
	if (!ret->rules)
		return too_big(err);
	if ((rc = copy_slices(a, &ret->name, 1, err)) || (rc = copy_slices(a, &ret->description, 1, err)))
		return rc;
	for (size_t i = 0; i < from->n_rules; i++) {
		ret->rules[i] = from->rules[i];
		rc = copy_rule(a, &ret->rules[i], err);
		if (rc)
			return rc;
	}
	return 0;
}

int snapshot_copy_key(struct arena *a, const struct key *from, struct key *ret, struct err *err)
{
	struct slice *names = ARENA_ARRAY(a, struct slice, from->n_use_cases + 1);
	int rc;

	if (!names)
		return too_big(err);
	*ret = *from;
	for (size_t i = 0; i < from->n_use_cases; i++)
		names[i] = from->use_cases[i];
	ret->use_cases = names;
	rc = copy_slices(a, names, from->n_use_cases, err);
	return rc ? rc : copy_slices(a, &ret->name, 1, err);
}
