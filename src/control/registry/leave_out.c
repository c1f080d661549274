/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An entry of the database that cannot be used is left out of what is served, so that all others are.  Of policies and
 * settings the version that served last stays; where there is none, nothing is served that would have needed it.
 */
#include "control/registry/registry_internal.h"
#include "core/base/log.h"

static const struct log logger = {.module = "registry"};

const struct snapshot *source_previous(struct registry *r, struct source *s)
{
	if (!s->previous && !s->looked) {
		s->looked = true;
		s->previous = registry_snapshot(r);
		if (!s->previous && r->snapshot_path) /* the start: what lies on disk served last */
			(void)snapshot_load(r->snapshot_path, NULL, NULL, &s->previous, NULL);
	}
	return s->previous;
}

void source_release(struct source *s)
{
	snapshot_unref(s->previous);
	s->previous = NULL;
}

int source_leave_out(struct source *s, const struct snapshot_left_out *what, struct err *err)
{
	struct snapshot_left_out *l = &s->left_out[s->src.n_left_out];

	if (s->src.n_left_out == REGISTRY_MAX_LEFT_OUT)
		return err_set(err, E_INVALID, "more than %d entries of the registry cannot be used: " SLICE_FMT,
			       REGISTRY_MAX_LEFT_OUT, SLICE_ARG(what->text));
	*l = (struct snapshot_left_out){.kind = what->kind,
					.replaced = what->replaced,
					.is_current = what->is_current,
					.name = arena_slice(s->a, what->name),
					.use_case = arena_slice(s->a, what->use_case),
					.text = arena_slice(s->a, what->text)};
	if (!l->name.p || !l->text.p)
		return err_set(err, E_TOOBIG, "the registry is too large");
	s->src.left_out = s->left_out;
	s->src.n_left_out++;
	return 0;
}

static struct snapshot_left_out *noted(struct source *s, enum snapshot_fault_kind kind, struct slice name)
{
	for (size_t i = 0; i < s->src.n_left_out; i++)
		if (s->left_out[i].kind == kind && slice_eq(s->left_out[i].name, name))
			return &s->left_out[i];
	return NULL;
}

static int leave_model(struct source *s, struct slice id, const struct err *why, struct err *err)
{
	for (size_t i = 0; i < s->src.n_models; i++) {
		char text[UUID_STR_SIZE];
		struct snapshot_left_out what = {.kind = SNAPSHOT_BAD_MODEL, .name = id, .text = slice_from(why->text)};

		if (!slice_eq_str(id, uuid_format(&s->models[i].id, text)))
			continue;
		what.use_case = s->models[i].use_case;
		what.is_current = s->models[i].status == MODEL_CURRENT;
		memmove(&s->models[i], &s->models[i + 1], (--s->src.n_models - i) * sizeof(s->models[0]));
		return source_leave_out(s, &what, err);
	}
	return E_NOTFOUND;
}

const struct policy *source_previous_policy(struct registry *r, struct source *s, struct slice name)
{
	const struct snapshot *previous = source_previous(r, s);

	for (size_t i = 0; previous && i < previous->n_policies; i++)
		if (slice_eq(previous->policies[i].policy.name, name))
			return &previous->policies[i].policy;
	return NULL;
}

static int leave_policy(struct registry *r, struct source *s, struct slice name, const struct err *why, struct err *err)
{
	struct snapshot_left_out what = {.kind = SNAPSHOT_BAD_POLICY, .name = name, .text = slice_from(why->text)};
	struct snapshot_left_out *before = noted(s, SNAPSHOT_BAD_POLICY, name);
	const struct policy *previous = before ? NULL : source_previous_policy(r, s, name);
	size_t i = 0;

	while (i < s->src.n_policies && !slice_eq(s->policies[i].name, name))
		i++;
	if (i == s->src.n_policies && before && !before->replaced)
		return E_NOTFOUND; /* it is out already: that is not what is wrong */
	what.replaced = previous && i < s->src.n_policies;
	if (what.replaced)
		s->policies[i] = *previous;
	else if (i < s->src.n_policies)
		memmove(&s->policies[i], &s->policies[i + 1], (--s->src.n_policies - i) * sizeof(s->policies[0]));
	if (!before)
		return source_leave_out(s, &what, err);
	before->replaced = false;
	return 0;
}

int source_mend(struct registry *r, struct source *s, const struct snapshot_fault *fault, const struct err *why)
{
	struct slice name = slice_from(fault->name);
	struct err ignored = {0};

	switch (fault->kind) {
	case SNAPSHOT_BAD_MODEL:
		return leave_model(s, name, why, &ignored);
	case SNAPSHOT_BAD_POLICY:
		return leave_policy(r, s, name, why, &ignored);
	case SNAPSHOT_BAD_USE_CASE: /* left out when it is read */
	case SNAPSHOT_NO_FAULT:
	case SNAPSHOT_N_FAULTS:
		break;
	}
	return E_NOTFOUND;
}

static bool is_known(const struct snapshot *served, const struct snapshot_left_out *l)
{
	const struct snapshot_left_out *known = served ? snapshot_left_out(served, l->kind, l->name) : NULL;

	return known && slice_eq(known->text, l->text) && (known->is_current || !l->is_current);
}

int registry_check_left_out(struct registry *r, const struct snapshot *s, struct err *err)
{
	struct snapshot *served = registry_snapshot(r);
	int rc = 0;

	for (size_t i = 0; i < s->n_left_out && !rc; i++)
		if (!is_known(served, &s->left_out[i]))
			rc = err_set(err, E_INVALID, SLICE_FMT, SLICE_ARG(s->left_out[i].text));
	snapshot_unref(served);
	return rc;
}

void registry_tell_left_out(const struct snapshot *before, const struct snapshot *now)
{
	for (size_t i = 0; i < now->n_left_out; i++)
		if (!is_known(before, &now->left_out[i]))
			log_error(&logger, "%s: " SLICE_FMT,
				  now->left_out[i].replaced ? "the version before it stays" : "left out",
				  SLICE_ARG(now->left_out[i].text));
}
