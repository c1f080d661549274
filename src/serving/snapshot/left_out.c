/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a snapshot goes without.  What would break it: an entry that is forgotten here while a use case rested on it,
 * which would then be served as if it had never asked for it.
 */
#include "serving/snapshot/snapshot_internal.h"

static const char *const kinds[SNAPSHOT_N_FAULTS] = {
	[SNAPSHOT_NO_FAULT] = "",
	[SNAPSHOT_BAD_MODEL] = "model",
	[SNAPSHOT_BAD_POLICY] = "policy",
	[SNAPSHOT_BAD_USE_CASE] = "use_case",
};

const char *snapshot_fault_name(enum snapshot_fault_kind kind)
{
	return kinds[kind];
}

int snapshot_fault_parse(struct slice text, enum snapshot_fault_kind *ret)
{
	for (int i = SNAPSHOT_NO_FAULT + 1; i < SNAPSHOT_N_FAULTS; i++)
		if (slice_eq_str(text, kinds[i])) {
			*ret = (enum snapshot_fault_kind)i;
			return 0;
		}
	return E_INVALID;
}

void snapshot_blame(struct snapshot_fault *f, enum snapshot_fault_kind kind, struct slice name)
{
	if (!f)
		return;
	f->kind = kind;
	(void)snprintf(f->name, sizeof(f->name), SLICE_FMT, SLICE_ARG(name));
}

int snapshot_copy_left_out(struct snapshot *s, const struct snapshot_source *src, struct err *err)
{
	int rc = 0;

	s->left_out = ARENA_ARRAY(&s->arena, struct snapshot_left_out, src->n_left_out);
	if (!s->left_out)
		return err_set(err, E_TOOBIG, "too much had to be left out");
	for (size_t i = 0; i < src->n_left_out && !rc; i++) {
		struct snapshot_left_out *l = &s->left_out[s->n_left_out++];

		*l = src->left_out[i];
		rc = snapshot_copy_slice(&s->arena, l->name, &l->name, err);
		if (!rc)
			rc = snapshot_copy_slice(&s->arena, l->use_case, &l->use_case, err);
		if (!rc)
			rc = snapshot_copy_slice(&s->arena, l->text, &l->text, err);
	}
	return rc;
}

const struct snapshot_left_out *snapshot_left_out(const struct snapshot *s, enum snapshot_fault_kind kind,
						  struct slice name)
{
	for (size_t i = 0; i < s->n_left_out; i++)
		if (s->left_out[i].kind == kind && slice_eq(s->left_out[i].name, name))
			return &s->left_out[i];
	return NULL;
}

bool snapshot_is_unguarded(const struct snapshot *s, const struct snapshot_use_case *u)
{
	const struct snapshot_left_out *l;

	if (u)
		return u->unguarded;
	l = snapshot_left_out(s, SNAPSHOT_BAD_POLICY, SLICE_LIT("default"));
	return l && !l->replaced;
}
