/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was current then.  Events carry the whole model before and after, so the newest event of a use case that touched
 * its current model, at or before the moment asked for, is the answer by itself.
 */
#include <stdio.h>

#include "control/registry/registry_internal.h"

#define PAGE 100

struct search {
	struct json_parser *parser;
	struct arena *a; /* of the answer */
	struct model found;
};

static int read_side(struct search *s, struct arena *scratch, struct slice text, struct model *ret, struct err *err)
{
	struct json *root = NULL;
	struct err why = {0};

	if (json_parse_copy(s->parser, scratch, text, NULL, &root, &why) || model_parse(root, ret, &why))
		return err_set(err, E_CORRUPT, "an event of the registry cannot be read: %s", why.text);
	return 0;
}

/* 1: found; E_NOTFOUND: from here on nothing was current; 0: this event says nothing about it. */
static int judge(struct search *s, struct arena *scratch, const struct registry_event *e, struct err *err)
{
	struct model before = {.status = MODEL_CANDIDATE}, after = {0};
	int rc;

	if (!slice_starts(e->kind, SLICE_LIT("model.")) || !e->after.p)
		return 0;
	rc = read_side(s, scratch, e->after, &after, err);
	if (!rc && after.status == MODEL_CURRENT) {
		rc = read_side(s, s->a, e->after, &s->found, err);
		return rc ? rc : 1;
	}
	if (!rc && e->before.p)
		rc = read_side(s, scratch, e->before, &before, err);
	if (rc)
		return rc;
	return before.status == MODEL_CURRENT ? E_NOTFOUND : 0;
}

static int search_page(struct search *s, struct db *db, struct event_filter *f, char last[UUID_STR_SIZE],
		       struct err *err)
{
	CLEANUP(arena_release) struct arena scratch;
	struct registry_event *list = NULL;
	size_t n = 0;
	int rc;

	arena_init(&scratch, 16384, REGISTRY_MAX_BYTES);
	rc = store_event_list(db, &scratch, f, &list, &n, err);
	for (size_t i = 0; i < n && !rc; i++)
		rc = judge(s, &scratch, &list[i], err);
	if (rc)
		return rc;
	if (n < PAGE)
		return E_NOTFOUND;
	f->before_id = slice_from(uuid_format(&list[n - 1].id, last));
	return 0;
}

/* Seven parameters: what is asked, and both halves of the answer. */
int registry_current_at( // NOLINT(readability-function-size)
	struct registry *r, struct arena *a, struct slice use_case, int64_t at_us, struct model *ret,
	int64_t *ret_since_us, struct err *err)
{
	struct event_filter f = {.use_case = use_case, .until_us = at_us, .limit = PAGE};
	struct search s = {.a = a};
	char last[UUID_STR_SIZE];
	struct db *db = NULL;
	int rc = store_acquire(r->store, &db, err);

	if (rc)
		return rc;
	s.parser = json_parser_new();
	while (!rc)
		rc = search_page(&s, db, &f, last, err);
	json_parser_free(s.parser);
	store_release(r->store, db);
	if (rc == E_NOTFOUND)
		return err_set(err, rc, "nothing was current for " SLICE_FMT " then",
			       SLICE_ARG(slice_sub(use_case, 0, 64)));
	if (rc < 0)
		return rc;
	*ret = s.found;
	if (ret_since_us)
		*ret_since_us = s.found.status_since_us;
	return 0;
}
