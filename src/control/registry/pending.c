/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rollbacks that serve and are not in the database yet: a list in memory, and the same list in a small file beside the
 * snapshot, written before the rollback acts.  A start reads it and goes on.
 */
#include <stdlib.h>

#include "control/registry/registry_internal.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/json/writer.h"

#define FILE_MAX ((size_t)1 << 20)
#define PATH_MAX_BYTES 4200
#define ARENA_MAX ((size_t)64 << 10)

struct pending *pending_new(void)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	arena_init(&p->arena, 1024, ARENA_MAX);
	return p;
}

void pending_free(struct pending *p)
{
	if (!p)
		return;
	arena_release(&p->arena);
	free(p);
}

void pending_add(struct registry *r, struct pending *p)
{
	struct pending **at = &r->pending;

	while (*at)
		at = &(*at)->next;
	*at = p;
	p->next = NULL;
	r->n_pending++;
}

void pending_remove(struct registry *r, struct pending *p)
{
	struct pending **at = &r->pending;

	while (*at && *at != p)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = p->next;
	r->n_pending--;
}

/* --- over what was read --- */

static bool same(const struct uuid *a, const struct uuid *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

static struct model *find_model(struct source *s, const struct uuid *id)
{
	for (size_t i = 0; i < s->src.n_models; i++)
		if (same(&s->models[i].id, id))
			return &s->models[i];
	return NULL;
}

static void set_status(struct model *m, enum model_status status, int64_t at_us)
{
	m->status = status;
	m->status_since_us = m->updated_us = at_us;
}

static void apply_one(const struct pending *p, struct source *s)
{
	struct model *to = find_model(s, &p->to), *candidate = find_model(s, &p->candidate);
	size_t n = 0;

	for (size_t i = 0; i < s->src.n_deployments; i++)
		if (!same(&s->deployments[i].id, &p->deployment))
			s->deployments[n++] = s->deployments[i];
	s->src.n_deployments = n;
	if (candidate && candidate->status == MODEL_TESTING)
		set_status(candidate, MODEL_CANDIDATE, p->at_us);
	if (!to || to->status == MODEL_CURRENT) /* gone, or recorded already */
		return;
	for (size_t i = 0; i < s->src.n_models; i++)
		if (s->models[i].status == MODEL_CURRENT && slice_eq(s->models[i].use_case, p->use_case))
			set_status(&s->models[i], MODEL_CANDIDATE, p->at_us);
	set_status(to, MODEL_CURRENT, p->at_us);
}

void pending_apply(const struct pending *list, struct source *s)
{
	for (; list; list = list->next)
		apply_one(list, s);
}

/* --- the file --- */

static int path_of(const struct registry *r, struct buf *path, struct err *err)
{
	if (buf_printf(path, "%s.rollbacks", r->snapshot_path))
		return err_set(err, E_TOOBIG, "the path of the snapshot is too long");
	return 0;
}

static const struct member {
	const char *name;
	size_t offset;
} ids[] = {{"id", offsetof(struct pending, id)},
	   {"to", offsetof(struct pending, to)},
	   {"from", offsetof(struct pending, from)},
	   {"deployment_id", offsetof(struct pending, deployment)},
	   {"candidate", offsetof(struct pending, candidate)}},
  texts[] = {{"use_case", offsetof(struct pending, use_case)},
	     {"actor", offsetof(struct pending, actor)},
	     {"reason", offsetof(struct pending, reason)}};

static void write_one(struct json_writer *w, const struct pending *p)
{
	char text[UUID_STR_SIZE];

	jw_object(w);
	for (size_t i = 0; i < COUNT_OF(ids); i++) {
		const struct uuid *u = (const void *)((const char *)p + ids[i].offset);

		jw_kcstr(w, ids[i].name, uuid_is_nil(u) ? NULL : uuid_format(u, text));
	}
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		jw_kstr(w, texts[i].name, *(const struct slice *)(const void *)((const char *)p + texts[i].offset));
	jw_ki64(w, "at_us", p->at_us);
	jw_object_end(w);
}

int pending_save(struct registry *r, struct err *err)
{
	CLEANUP(buf_release) struct buf path, out;
	struct json_writer w;
	int rc;

	buf_init(&path, PATH_MAX_BYTES);
	buf_init(&out, FILE_MAX);
	if (!r->snapshot_path)
		return 0;
	rc = path_of(r, &path, err);
	if (rc)
		return rc;
	if (!r->pending)
		return file_remove(buf_cstr(&path), err);
	jw_init(&w, &out);
	jw_array(&w);
	for (const struct pending *p = r->pending; p; p = p->next)
		write_one(&w, p);
	jw_array_end(&w);
	if (buf_failed(&out))
		return err_set(err, E_TOOBIG, "the list of rollbacks to record is too long");
	return file_replace(buf_cstr(&path), buf_slice(&out), err);
}

static int read_one(const struct json *v, struct pending *p, struct err *err)
{
	for (size_t i = 0; i < COUNT_OF(ids); i++) {
		struct slice s = {NULL, 0};
		int rc = json_get_str(v, ids[i].name, &s, err);

		if (!rc && s.p && uuid_parse(s.p, s.n, (void *)((char *)p + ids[i].offset)))
			rc = err_set(err, E_INVALID, "%s is not a UUID", ids[i].name);
		if (rc)
			return rc;
	}
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct slice s = SLICE_LIT("");
		int rc = json_get_str(v, texts[i].name, &s, err);

		if (rc)
			return rc;
		*(struct slice *)(void *)((char *)p + texts[i].offset) = arena_slice(&p->arena, s);
	}
	if (uuid_is_nil(&p->id) || !p->use_case.n)
		return err_set(err, E_INVALID, "id or use_case is missing");
	return json_get_i64(v, "at_us", &p->at_us, err);
}

static int read_list(struct registry *r, struct json_parser *parser, struct slice text, struct err *err)
{
	CLEANUP(arena_release) struct arena a;
	struct json *root = NULL;
	int rc;

	arena_init(&a, 4096, 8 * FILE_MAX);
	rc = json_parse_copy(parser, &a, text, NULL, &root, err);
	if (rc)
		return rc;
	for (const struct json *v = root->first; v; v = v->next) {
		struct pending *p = pending_new();

		rc = read_one(v, p, err);
		if (rc) {
			pending_free(p);
			return rc;
		}
		pending_add(r, p);
	}
	return 0;
}

int pending_load(struct registry *r, struct err *err)
{
	CLEANUP(buf_release) struct buf path, text;
	struct json_parser *parser;
	struct err why = {0};
	int rc;

	buf_init(&path, PATH_MAX_BYTES);
	buf_init(&text, FILE_MAX);
	if (!r->snapshot_path || r->pending)
		return 0;
	rc = path_of(r, &path, err);
	if (rc)
		return rc;
	rc = file_read(buf_cstr(&path), &text, JSON_PADDING, err);
	if (rc == E_NOTFOUND)
		return 0;
	if (rc)
		return rc;
	parser = json_parser_new();
	rc = read_list(r, parser, buf_slice(&text), &why);
	json_parser_free(parser);
	return rc ? err_set(err, rc, "%s: %s", buf_cstr(&path), why.text) : 0;
}
