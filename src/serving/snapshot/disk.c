/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot on disk: {"format": 1, "crc32c": "xxxxxxxx", "snapshot": {...}}, the checksum over the bytes of the inner
 * object. It is what serves when the database is away at start, so it is either whole or refused: written beside,
 * synced, renamed.
 */
#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/base/file.h"
#include "core/json/writer.h"
#include "serving/snapshot/snapshot_internal.h"

#define FORMAT 1

static void write_deployment(struct json_writer *w, const struct snapshot_deployment *d)
{
	char id[UUID_STR_SIZE];

	jw_object(w);
	jw_kcstr(w, "deployment_id", uuid_format(&d->id, id));
	jw_kstr(w, "use_case", d->use_case);
	jw_kcstr(w, "model_id", uuid_format(&d->model_id, id));
	jw_ki64(w, "share", d->share);
	jw_object_end(w);
}

static void write_left_out(struct json_writer *w, const struct snapshot_left_out *l)
{
	jw_object(w);
	jw_kcstr(w, "kind", snapshot_fault_name(l->kind));
	jw_kbool(w, "replaced", l->replaced);
	jw_kbool(w, "current", l->is_current);
	jw_kstr(w, "name", l->name);
	jw_kstr(w, "use_case", l->use_case);
	jw_kstr(w, "text", l->text);
	jw_object_end(w);
}

static void write_body(struct json_writer *w, const struct snapshot *s)
{
	char at[CLOCK_ISO_SIZE];

	jw_object(w);
	jw_kcstr(w, "built_at", clock_iso(s->built_us, at));
	jw_key(w, "models");
	jw_array(w);
	for (size_t i = 0; i < s->n_models; i++)
		model_write(w, &s->models[i].model);
	jw_array_end(w);
	jw_key(w, "use_cases");
	jw_array(w);
	for (size_t i = 0; i < s->n_use_cases; i++)
		use_case_write(w, &s->use_cases[i].settings);
	jw_array_end(w);
	jw_key(w, "policies");
	jw_array(w);
	for (size_t i = 0; i < s->n_policies; i++)
		policy_write(w, &s->policies[i].policy);
	jw_array_end(w);
	jw_key(w, "deployments");
	jw_array(w);
	for (size_t i = 0; i < s->n_deployments; i++)
		write_deployment(w, &s->deployments[i]);
	jw_array_end(w);
	jw_key(w, "left_out");
	jw_array(w);
	for (size_t i = 0; i < s->n_left_out; i++)
		write_left_out(w, &s->left_out[i]);
	jw_array_end(w);
	jw_kbool(w, "asks_for_keys", s->asks_for_keys);
	jw_key(w, "keys");
	jw_array(w);
	for (size_t i = 0; i < s->n_keys; i++)
		key_write_stored(w, &s->keys[i].key);
	jw_array_end(w);
	jw_object_end(w);
}

static int write_document(const struct snapshot *s, struct buf *out, struct err *err)
{
	CLEANUP(buf_release) struct buf body;
	struct json_writer w;

	buf_init(&body, SNAPSHOT_MAX_BYTES);
	jw_init(&w, &body);
	write_body(&w, s);
	(void)buf_printf(out, "{\"format\":%d,\"crc32c\":\"%08x\",\"snapshot\":", FORMAT, crc32c(0, body.p, body.n));
	(void)buf_add(out, buf_slice(&body));
	(void)buf_adds(out, "}\n");
	if (buf_failed(&body) || buf_failed(out))
		return err_set(err, E_TOOBIG, "the snapshot is past %zu MiB: it cannot be saved",
			       SNAPSHOT_MAX_BYTES >> 20);
	return 0;
}

int snapshot_save(const struct snapshot *s, const char *path, struct err *err)
{
	CLEANUP(buf_release) struct buf out;
	int rc;

	buf_init(&out, SNAPSHOT_MAX_BYTES);
	rc = write_document(s, &out, err);
	return rc ? rc : file_replace(path, buf_slice(&out), err);
}

static int read_file(const char *path, struct buf *out, struct err *err)
{
	int rc = file_read(path, out, JSON_PADDING, err);

	if (rc == E_NOTFOUND)
		return err_set(err, rc, "there is no snapshot at %s", path);
	if (rc == E_TOOBIG)
		return err_set(err, E_CORRUPT, "%s is past %zu MiB: it is no snapshot", path, SNAPSHOT_MAX_BYTES >> 20);
	return rc;
}

struct load {
	struct arena *a;
	struct snapshot_source src;
	int64_t built_us;
};

static const struct json *list_of(const struct json *body, const char *name, size_t *ret_n)
{
	const struct json *list = json_get(body, name);

	*ret_n = list && list->type == JSON_ARRAY ? list->n_items : 0;
	return *ret_n ? list->first : NULL;
}

static int load_models(struct load *l, const struct json *body, struct err *err)
{
	const struct json *v = list_of(body, "models", &l->src.n_models);
	struct model *at = ARENA_ARRAY(l->a, struct model, l->src.n_models);

	if (!at)
		return err_set(err, E_TOOBIG, "too many models");
	l->src.models = at;
	for (; v; v = v->next, at++) {
		int rc = model_parse(v, at, err);

		if (rc)
			return rc;
	}
	return 0;
}

static int load_use_cases(struct load *l, const struct json *body, struct err *err)
{
	const struct json *v = list_of(body, "use_cases", &l->src.n_use_cases);
	struct use_case *at = ARENA_ARRAY(l->a, struct use_case, l->src.n_use_cases);

	if (!at)
		return err_set(err, E_TOOBIG, "too many use cases");
	l->src.use_cases = at;
	for (; v; v = v->next, at++) {
		struct slice name = {NULL, 0};
		int rc = json_get_str(v, "use_case", &name, err);

		if (!rc)
			rc = use_case_parse(l->a, name, v, at, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int load_policies(struct load *l, const struct json *body, struct err *err)
{
	const struct json *v = list_of(body, "policies", &l->src.n_policies);
	struct policy *at = ARENA_ARRAY(l->a, struct policy, l->src.n_policies);

	if (!at)
		return err_set(err, E_TOOBIG, "too many policies");
	l->src.policies = at;
	for (; v; v = v->next, at++) {
		int rc = policy_parse(l->a, v, at, err);

		if (rc)
			return rc;
	}
	return 0;
}

static int read_id(const struct json *v, const char *name, struct uuid *ret, struct err *err)
{
	struct slice text = {NULL, 0};
	int rc = json_get_str(v, name, &text, err);

	if (!rc && uuid_parse(text.p, text.n, ret))
		rc = err_set(err, E_INVALID, "%s is not a UUID", name);
	return rc;
}

static int load_deployments(struct load *l, const struct json *body, struct err *err)
{
	const struct json *v = list_of(body, "deployments", &l->src.n_deployments);
	struct snapshot_deployment *at = ARENA_ARRAY(l->a, struct snapshot_deployment, l->src.n_deployments);

	if (!at)
		return err_set(err, E_TOOBIG, "too many deployments");
	l->src.deployments = at;
	for (; v; v = v->next, at++) {
		int64_t share = -1;
		int rc;

		if ((rc = read_id(v, "deployment_id", &at->id, err)) ||
		    (rc = read_id(v, "model_id", &at->model_id, err)) ||
		    (rc = json_get_str(v, "use_case", &at->use_case, err)) ||
		    (rc = json_get_i64(v, "share", &share, err)))
			return rc;
		if (share < 0 || share > 100)
			return err_set(err, E_INVALID, "share is not a percentage");
		at->share = (unsigned)share;
	}
	return 0;
}

static int load_left_out(struct load *l, const struct json *body, struct err *err)
{
	const struct json *v = list_of(body, "left_out", &l->src.n_left_out);
	struct snapshot_left_out *at = ARENA_ARRAY(l->a, struct snapshot_left_out, l->src.n_left_out);

	if (!at)
		return err_set(err, E_TOOBIG, "too much is left out");
	l->src.left_out = at;
	for (; v; v = v->next, at++) {
		struct slice kind = {NULL, 0};
		int rc;

		if ((rc = json_get_str(v, "kind", &kind, err)) ||
		    (rc = json_get_bool(v, "replaced", &at->replaced, err)) ||
		    (rc = json_get_bool(v, "current", &at->is_current, err)) ||
		    (rc = json_get_str(v, "name", &at->name, err)) ||
		    (rc = json_get_str(v, "use_case", &at->use_case, err)) ||
		    (rc = json_get_str(v, "text", &at->text, err)))
			return rc;
		if (snapshot_fault_parse(kind, &at->kind))
			return err_set(err, E_INVALID, "what is left out is of no known kind");
	}
	return 0;
}

static int load_keys(struct load *l, const struct json *body, struct err *err)
{
	const struct json *v = list_of(body, "keys", &l->src.n_keys);
	struct key *at = ARENA_ARRAY(l->a, struct key, l->src.n_keys);

	if (!at)
		return err_set(err, E_TOOBIG, "too many API keys");
	l->src.keys = at;
	for (; v; v = v->next, at++) {
		int rc = key_parse(l->a, v, at, err);

		if (rc)
			return rc;
	}
	return json_get_bool(body, "asks_for_keys", &l->src.asks_for_keys, err);
}

static int check_document(const struct json *root, const struct json **ret_body, struct err *err)
{
	const struct json *body = json_get(root, "snapshot");
	int64_t format = 0;
	struct slice sum = {NULL, 0};
	char want[9];

	if (json_get_i64(root, "format", &format, NULL) || json_get_str(root, "crc32c", &sum, NULL) || !body ||
	    body->type != JSON_OBJECT)
		return err_set(err, E_CORRUPT, "it is no snapshot");
	if (format != FORMAT)
		return err_set(err, E_CORRUPT, "it has format %lld, this muster reads %d", (long long)format, FORMAT);
	(void)snprintf(want, sizeof(want), "%08x", crc32c(0, body->raw.p, body->raw.n)); /* always eight digits */
	if (!slice_eq_str(sum, want))
		return err_set(err, E_CORRUPT, "its checksum is wrong");
	*ret_body = body;
	return 0;
}

static int load_document(struct load *l, struct slice text, struct err *err)
{
	static const struct json_limits limits = {.max_nodes = 20000000};
	struct json_parser *parser = json_parser_new();
	const struct json *body = NULL;
	struct slice built = {NULL, 0};
	struct json *root = NULL;
	int rc;

	rc = json_parse(parser, l->a, text, &limits, &root, err);
	json_parser_free(parser);
	if (rc || (rc = check_document(root, &body, err)) || (rc = load_models(l, body, err)) ||
	    (rc = load_use_cases(l, body, err)) || (rc = load_policies(l, body, err)) ||
	    (rc = load_deployments(l, body, err)) || (rc = load_left_out(l, body, err)) ||
	    (rc = load_keys(l, body, err)))
		return rc;
	if (!json_get_str(body, "built_at", &built, NULL) && built.p)
		(void)clock_parse(built, 0, &l->built_us); /* for people only: 0 is fine */
	return 0;
}

int snapshot_load(const char *path, unsigned (*slot_of)(struct slice use_case, void *arg), void *arg,
		  struct snapshot **ret, struct err *err)
{
	CLEANUP(buf_release) struct buf text;
	CLEANUP(arena_release) struct arena a;
	struct load l = {.a = &a};
	struct err why = {0};
	int rc;

	arena_init(&a, 16384, SNAPSHOT_MAX_BYTES);
	buf_init(&text, SNAPSHOT_MAX_BYTES);
	rc = read_file(path, &text, err);
	if (rc)
		return rc;
	rc = load_document(&l, buf_slice(&text), &why);
	if (!rc)
		rc = snapshot_build(&l.src, slot_of, arg, ret, &why);
	if (rc)
		return err_set(err, E_CORRUPT, "the snapshot %s cannot be used: %s", path, why.text);
	(*ret)->built_us = l.built_us;
	return 0;
}
