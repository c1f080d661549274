/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot on disk: {"format": 1, "crc32c": "xxxxxxxx", "snapshot": {...}}, the checksum over the bytes of the inner
 * object. It is what serves when the database is away at start, so it is either whole or refused: written beside,
 * synced, renamed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/json/writer.h"
#include "serving/snapshot/snapshot_internal.h"

#define FORMAT 1

static int io_failed(struct err *err, const char *doing, const char *path)
{
	return err_set(err, E_IO, "%s %s: %s", doing, path, strerror(errno));
}

static void closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* what matters was synced before */
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

static int write_all(int fd, struct slice bytes)
{
	while (bytes.n) {
		ssize_t n = write(fd, bytes.p, bytes.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return E_IO;
		bytes = (struct slice){bytes.p + n, bytes.n - (size_t)n};
	}
	return 0;
}

static int write_file(const char *path, struct slice bytes, struct err *err)
{
	CLEANUP(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return io_failed(err, "cannot create", path);
	if (write_all(fd, bytes) || fsync(fd))
		return io_failed(err, "cannot write", path);
	return 0;
}

/* The new name is on disk only once its directory is. */
static int sync_directory(const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash == path || !slash ? strdup(slash ? "/" : ".") : strndup(path, (size_t)(slash - path));
	CLEANUP(closep) int fd = -1;
	int rc = 0;

	if (!dir)
		abort();
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		rc = io_failed(err, "cannot sync", dir);
	free(dir);
	return rc;
}

int snapshot_save(const struct snapshot *s, const char *path, struct err *err)
{
	CLEANUP(buf_release) struct buf out, tmp;
	int rc;

	buf_init(&tmp, 4200);
	buf_init(&out, SNAPSHOT_MAX_BYTES);
	if (buf_printf(&tmp, "%s.%ld.tmp", path, (long)getpid()))
		return err_set(err, E_TOOBIG, "the path of the snapshot is too long");
	rc = write_document(s, &out, err);
	if (rc)
		return rc;
	rc = write_file(buf_cstr(&tmp), buf_slice(&out), err);
	if (!rc && rename(buf_cstr(&tmp), path))
		rc = io_failed(err, "cannot replace", path);
	if (rc) {
		(void)unlink(buf_cstr(&tmp)); /* it may not be there at all */
		return rc;
	}
	return sync_directory(path, err);
}

static int read_file(const char *path, struct buf *out, struct err *err)
{
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return err_set(err, E_NOTFOUND, "there is no snapshot at %s", path);
	if (fd < 0 || fstat(fd, &st))
		return io_failed(err, "cannot open", path);
	for (;;) {
		size_t room = (size_t)st.st_size + JSON_PADDING;
		char *to = buf_reserve(out, max_size(room - min_size(room, out->n), JSON_PADDING));
		ssize_t n;

		if (!to)
			return err_set(err, E_CORRUPT, "%s is past %zu MiB: it is no snapshot", path,
				       SNAPSHOT_MAX_BYTES >> 20);
		n = read(fd, to, out->cap - out->n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return io_failed(err, "cannot read", path);
		if (n == 0)
			return 0;
		out->n += (size_t)n;
	}
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
	    (rc = load_use_cases(l, body, err)) || (rc = load_policies(l, body, err)))
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
