/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From rows to a snapshot.  Everything a request could ask is worked out here, once: which model serves, in which order
 * the others follow, what answers GET .../current.  A source that does not hold together gives an error that names the
 * row, and no snapshot: what is being served stays.
 */
#include <stdlib.h>

#include "core/base/digest.h"
#include "core/json/writer.h"
#include "serving/snapshot/snapshot_internal.h"

#define CURRENT_JSON_MAX ((size_t)4 << 20)

struct build {
	const struct snapshot_source *src;
	unsigned (*slot_of)(struct slice use_case, void *arg);
	void *arg;
	struct json_parser *parser;
	struct snapshot *s;
};

static int too_big(struct err *err)
{
	return err_set(err, E_TOOBIG, "the registry is too large for a snapshot of %zu MiB", SNAPSHOT_MAX_BYTES >> 20);
}

static int add_policies(struct build *b, struct err *err)
{
	struct snapshot *s = b->s;

	s->policies = ARENA_ARRAY(&s->arena, struct snapshot_policy, b->src->n_policies);
	if (!s->policies)
		return too_big(err);
	for (size_t i = 0; i < b->src->n_policies; i++) {
		int rc = snapshot_copy_policy(&s->arena, &b->src->policies[i], &s->policies[i].policy, err);

		if (rc)
			return rc;
		s->n_policies++;
	}
	return 0;
}

static struct snapshot_policy *find_policy(struct snapshot *s, struct slice name)
{
	for (size_t i = 0; i < s->n_policies; i++) {
		if (slice_eq(s->policies[i].policy.name, name))
			return &s->policies[i];
	}
	return NULL;
}

static int read_config(struct build *b, struct snapshot_model *m, struct err *err)
{
	struct json *root = NULL;
	struct err why = {0};
	int rc = 0;

	if (m->model.configuration.n)
		rc = json_parse_copy(b->parser, &b->s->arena, m->model.configuration, NULL, &root, &why);
	if (!rc)
		rc = model_config_parse(root, &m->config, &why);
	if (rc)
		return err_set(err, rc, "model " SLICE_FMT " of " SLICE_FMT ": %s", SLICE_ARG(m->full_name),
			       SLICE_ARG(m->model.use_case), why.text);
	return 0;
}

static int add_model(struct build *b, const struct model *from, struct err *err)
{
	struct snapshot *s = b->s;
	struct snapshot_model *m = &s->models[s->n_models];
	char id[UUID_STR_SIZE];
	int rc = snapshot_copy_model(&s->arena, from, &m->model, err);

	if (rc)
		return rc;
	m->id_text = arena_slice(&s->arena, slice_from(uuid_format(&from->id, id)));
	m->full_name = slice_from(
		arena_printf(&s->arena, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(from->name), SLICE_ARG(from->version)));
	if (!m->id_text.p || !m->full_name.p)
		return too_big(err);
	rc = read_config(b, m, err);
	if (rc) {
		snapshot_blame(b->src->fault, SNAPSHOT_BAD_MODEL, m->id_text);
		return rc;
	}
	s->n_models++;
	return 0;
}

/* Which of two models a bare name means: current before testing before others, then the newest. */
static bool is_better(const struct snapshot_model *a, const struct snapshot_model *b)
{
	static const int rank[MODEL_N_STATUSES] = {[MODEL_CURRENT] = 2, [MODEL_TESTING] = 1};
	const struct model *x = &a->model, *y = &b->model;

	if (rank[x->status] != rank[y->status])
		return rank[x->status] > rank[y->status];
	if (x->created_us != y->created_us)
		return x->created_us > y->created_us;
	return memcmp(x->id.b, y->id.b, sizeof(x->id.b)) > 0;
}

static void name_model(struct map *by_model, struct slice key, struct snapshot_model *m)
{
	const struct snapshot_model *other = map_get(by_model, key);

	if (!other || is_better(m, other))
		(void)map_put(by_model, key, m); /* what stood there lives in the arena */
}

static int add_models(struct build *b, struct err *err)
{
	struct snapshot *s = b->s;

	s->models = ARENA_ARRAY(&s->arena, struct snapshot_model, b->src->n_models);
	if (!s->models)
		return too_big(err);
	for (size_t i = 0; i < b->src->n_models; i++) {
		int rc = b->src->models[i].status == MODEL_ARCHIVED ? 0 : add_model(b, &b->src->models[i], err);

		if (rc)
			return rc;
	}
	for (size_t i = 0; i < s->n_models; i++) {
		struct snapshot_model *m = &s->models[i];

		name_model(&s->by_model, m->full_name, m);
		name_model(&s->by_model, m->model.name, m);
		(void)map_put(&s->by_model_id, m->id_text, m);
	}
	return 0;
}

static int add_use_case(struct build *b, const struct use_case *from, struct err *err)
{
	struct snapshot *s = b->s;
	struct snapshot_use_case *u = &s->use_cases[s->n_use_cases];
	int rc;

	if (map_get(&s->by_use_case, from->name))
		return err_set(err, E_INVALID, "use case " SLICE_FMT " is there twice", SLICE_ARG(from->name));
	rc = snapshot_copy_use_case(&s->arena, from, &u->settings, err);
	if (rc)
		return rc;
	u->slot = b->slot_of ? b->slot_of(u->settings.name, b->arg) : (unsigned)s->n_use_cases;
	(void)map_put(&s->by_use_case, u->settings.name, u);
	s->n_use_cases++;
	return 0;
}

static int add_use_cases(struct build *b, struct err *err)
{
	struct snapshot *s = b->s;

	s->use_cases =
		ARENA_ARRAY(&s->arena, struct snapshot_use_case, b->src->n_use_cases + s->n_models + s->n_left_out);
	if (!s->use_cases)
		return too_big(err);
	for (size_t i = 0; i < b->src->n_use_cases; i++) {
		int rc = add_use_case(b, &b->src->use_cases[i], err);

		if (rc)
			return rc;
	}
	for (size_t i = 0; i < s->n_models; i++) {
		struct use_case defaults = {.name = s->models[i].model.use_case};
		int rc = map_get(&s->by_use_case, defaults.name) ? 0 : add_use_case(b, &defaults, err);

		if (rc)
			return rc;
	}
	for (size_t i = 0; i < s->n_left_out; i++) { /* it is there, though its only model is not */
		struct use_case defaults = {.name = s->left_out[i].use_case};
		int rc = !defaults.name.n || map_get(&s->by_use_case, defaults.name) ? 0
										     : add_use_case(b, &defaults, err);

		if (rc)
			return rc;
	}
	return 0;
}

static int set_currents(struct snapshot *s, struct err *err)
{
	for (size_t i = 0; i < s->n_models; i++) {
		struct snapshot_model *m = &s->models[i];
		struct snapshot_use_case *u = map_get(&s->by_use_case, m->model.use_case);

		if (m->model.status != MODEL_CURRENT)
			continue;
		if (u->current)
			return err_set(err, E_INVALID,
				       "use case " SLICE_FMT " has two current models, " SLICE_FMT " and " SLICE_FMT,
				       SLICE_ARG(u->settings.name), SLICE_ARG(u->current->full_name),
				       SLICE_ARG(m->full_name));
		u->current = m;
	}
	return 0;
}

/* The model of that name, the use case's own before others'; NULL when it is archived or gone. */
static struct snapshot_model *resolve(struct snapshot *s, struct slice use_case, struct slice ref)
{
	struct snapshot_model *best = NULL;
	bool best_own = false;
	struct slice name, version;

	model_ref_split(ref, &name, &version);
	for (size_t i = 0; i < s->n_models; i++) {
		struct snapshot_model *m = &s->models[i];
		bool own = slice_eq(m->model.use_case, use_case);

		if (!slice_eq(m->model.name, name) || (version.p && !slice_eq(m->model.version, version)))
			continue;
		if (!best || (own && !best_own) || (own == best_own && is_better(m, best))) {
			best = m;
			best_own = own;
		}
	}
	return best;
}

static void add_to_chain(struct snapshot_use_case *u, struct snapshot_model *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < u->n_chain; i++) {
		if (u->chain[i] == m)
			return;
	}
	u->chain[u->n_chain++] = m;
}

static int write_current(struct snapshot *s, struct snapshot_use_case *u, struct err *err)
{
	CLEANUP(buf_release) struct buf out;
	struct json_writer w;

	buf_init(&out, CURRENT_JSON_MAX);
	jw_init(&w, &out);
	model_write(&w, &u->current->model);
	if (buf_failed(&out))
		return err_set(err, E_TOOBIG, "model " SLICE_FMT " is too large", SLICE_ARG(u->current->full_name));
	return snapshot_copy_slice(&s->arena, buf_slice(&out), &u->current_json, err);
}

/* Checks that were asked for are never skipped in silence. */
static int find_guard(struct build *b, struct snapshot_use_case *u, struct slice policy, struct err *err)
{
	const struct snapshot_left_out *l = snapshot_left_out(b->s, SNAPSHOT_BAD_POLICY, policy);

	u->policy = find_policy(b->s, policy);
	if (u->policy)
		return 0;
	u->unguarded = l != NULL;
	if (l || !u->settings.policy.p)
		return 0;
	snapshot_blame(b->src->fault, SNAPSHOT_BAD_POLICY, policy);
	return err_set(err, E_INVALID,
		       "use case " SLICE_FMT " names guardrail policy '" SLICE_FMT
		       "', which does not exist: save it first, or say none",
		       SLICE_ARG(u->settings.name), SLICE_ARG(policy));
}

static int finish_use_case(struct build *b, struct snapshot_use_case *u, struct err *err)
{
	struct snapshot *s = b->s;
	const struct snapshot_left_out *l = snapshot_left_out(s, SNAPSHOT_BAD_USE_CASE, u->settings.name);
	struct slice policy = u->settings.policy.p ? u->settings.policy : SLICE_LIT("default");
	int rc;

	add_to_chain(u, u->current);
	for (size_t i = 0; i < u->settings.n_fallback; i++)
		add_to_chain(u, resolve(s, u->settings.name, u->settings.fallback[i]));
	if (!slice_eq_str(policy, "none") && (rc = find_guard(b, u, policy, err)))
		return rc;
	if (l && !l->replaced) /* nobody knows what it asks for */
		u->unguarded = true;
	return u->current ? write_current(s, u, err) : 0;
}

static int add_deployment(struct snapshot *s, const struct snapshot_deployment *from, struct err *err)
{
	struct snapshot_deployment *d = &s->deployments[s->n_deployments];
	struct snapshot_use_case *u;
	struct snapshot_model *m;
	char id[UUID_STR_SIZE];
	int rc;

	*d = *from;
	rc = snapshot_copy_slice(&s->arena, from->use_case, &d->use_case, err);
	if (rc)
		return rc;
	s->n_deployments++;
	u = map_get(&s->by_use_case, d->use_case);
	m = map_get(&s->by_model_id, slice_from(uuid_format(&d->model_id, id)));
	if (!u || !m || !slice_eq(m->model.use_case, d->use_case))
		return 0;
	if (u->candidate)
		return err_set(err, E_INVALID, "use case " SLICE_FMT " has two deployments under way",
			       SLICE_ARG(d->use_case));
	u->candidate = m;
	u->deployment_id = d->id;
	u->share = d->share;
	u->split_seed = hash64((struct slice){(const char *)d->id.b, sizeof(d->id.b)}, 0);
	return 0;
}

static int add_deployments(struct build *b, struct err *err)
{
	struct snapshot *s = b->s;
	int rc = 0;

	s->deployments = ARENA_ARRAY(&s->arena, struct snapshot_deployment, b->src->n_deployments);
	if (!s->deployments)
		return too_big(err);
	for (size_t i = 0; i < b->src->n_deployments && !rc; i++)
		rc = add_deployment(s, &b->src->deployments[i], err);
	return rc;
}

static int add_keys(struct build *b, struct err *err)
{
	struct snapshot *s = b->s;

	s->asks_for_keys = b->src->asks_for_keys || b->src->n_keys > 0;
	s->keys = ARENA_ARRAY(&s->arena, struct snapshot_key, b->src->n_keys);
	if (!s->keys)
		return too_big(err);
	for (size_t i = 0; i < b->src->n_keys; i++) {
		struct snapshot_key *k = &s->keys[s->n_keys];
		int rc;

		if (b->src->keys[i].revoked_us)
			continue;
		rc = snapshot_copy_key(&s->arena, &b->src->keys[i], &k->key, err);
		if (rc)
			return rc;
		(void)map_put(&s->by_key_digest, (struct slice){k->key.digest, KEY_DIGEST_SIZE - 1},
			      k); /* digests are unique */
		s->n_keys++;
	}
	return 0;
}

static int build_all(struct build *b, struct err *err)
{
	int rc;

	if ((rc = snapshot_copy_left_out(b->s, b->src, err)) || (rc = add_policies(b, err)) ||
	    (rc = add_models(b, err)) || (rc = add_use_cases(b, err)) || (rc = set_currents(b->s, err)) ||
	    (rc = add_deployments(b, err)) || (rc = add_keys(b, err)))
		return rc;
	for (size_t i = 0; i < b->s->n_use_cases; i++) {
		rc = finish_use_case(b, &b->s->use_cases[i], err);
		if (rc)
			return rc;
	}
	return 0;
}

int snapshot_build(const struct snapshot_source *src, unsigned (*slot_of)(struct slice use_case, void *arg), void *arg,
		   struct snapshot **ret, struct err *err)
{
	struct build b = {.src = src, .slot_of = slot_of, .arg = arg};
	int rc;

	b.s = calloc(1, sizeof(*b.s));
	if (!b.s)
		abort();
	atomic_init(&b.s->refs, 1);
	arena_init(&b.s->arena, 16384, SNAPSHOT_MAX_BYTES);
	map_init(&b.s->by_use_case);
	map_init(&b.s->by_model);
	map_init(&b.s->by_model_id);
	map_init(&b.s->by_key_digest);
	b.parser = json_parser_new();
	rc = build_all(&b, err);
	json_parser_free(b.parser);
	if (rc)
		snapshot_unref(b.s);
	else
		*ret = b.s;
	return rc;
}
