/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guardrail policy of a checkpoint.  Other use cases may share it, and what it says today may be on purpose: so a
 * policy that reads otherwise now is not changed back.  The use case that is taken back gets a policy of its own,
 * NAME-XXXXXXXX, that says what was said then.
 */
#include <stdio.h>

#include "control/registry/registry_internal.h"
#include "core/json/writer.h"

#define POLICY_MAX ((size_t)16 << 20)
#define SETTINGS_MAX ((size_t)512 << 10)
#define SUFFIX 8

/* What the policy of that name says today; absent: nothing, or what is built in. */
static int find_now(struct change *c, struct slice name, struct slice *ret, struct err *err)
{
	struct policy_row *rows = NULL;
	size_t n = 0;
	int rc = store_policy_list(c->db, c->a, &rows, &n, err);

	*ret = (struct slice){NULL, 0};
	for (size_t i = 0; i < n; i++)
		if (slice_eq(rows[i].name, name))
			*ret = rows[i].document;
	return rc;
}

/* What it said then: E_NOTFOUND when there was none. */
static int read_then(struct change *c, struct slice name, const struct json *document, struct policy *ret,
		     struct err *err)
{
	if (document && document->type == JSON_OBJECT)
		return policy_parse(c->a, document, ret, err);
	if (slice_eq_str(name, "default") && c->r->hooks.default_policy)
		return c->r->hooks.default_policy(c->a, ret, err);
	return E_NOTFOUND;
}

static struct slice own_name(struct change *c, struct slice name, const struct uuid *checkpoint)
{
	char id[UUID_STR_SIZE];

	uuid_format(checkpoint, id);
	return slice_from(arena_printf(c->a, SLICE_FMT "-%s", SLICE_ARG(slice_sub(name, 0, USE_CASE_MAX - SUFFIX - 1)),
				       id + UUID_STR_SIZE - 1 - SUFFIX));
}

static int save(struct change *c, const struct policy *p, struct err *err)
{
	CLEANUP(buf_release) struct buf out;
	struct policy_row row = {.name = p->name, .created_us = c->now_us, .updated_us = c->now_us};
	struct registry_event e = {.kind = SLICE_LIT("policy.saved"), .subject = p->name};
	struct json_writer w;
	int rc = find_now(c, p->name, &e.before, err);

	buf_init(&out, POLICY_MAX);
	if (rc)
		return rc;
	jw_init(&w, &out);
	policy_write(&w, p);
	if (buf_failed(&out))
		return err_set(err, E_TOOBIG, "the policy is too large");
	row.document = e.after = arena_slice(c->a, buf_slice(&out));
	if (slice_eq(e.before, row.document))
		return 0;
	rc = store_policy_put(c->db, &row, err);
	return rc ? rc : change_event(c, &e, err);
}

/* The settings, but with that policy. */
static int name_it(struct change *c, struct slice use_case, struct slice policy, struct slice *settings,
		   struct err *err)
{
	CLEANUP(buf_release) struct buf out;
	struct json *root = NULL;
	struct use_case u = {0};
	struct json_writer w;
	int rc;

	buf_init(&out, SETTINGS_MAX);
	if ((rc = json_parse_copy(c->parser, c->a, *settings, NULL, &root, err)) ||
	    (rc = use_case_parse(c->a, use_case, root, &u, err)))
		return rc;
	u.policy = policy;
	u.created_us = u.updated_us = 0; /* the row has them */
	jw_init(&w, &out);
	use_case_write(&w, &u);
	*settings = buf_failed(&out) ? (struct slice){NULL, 0} : arena_slice(c->a, buf_slice(&out));
	return settings->p ? 0 : err_set(err, E_TOOBIG, "the settings of the use case are too large");
}

int restore_policy(struct change *c, const struct checkpoint_row *kept, const struct json *policy,
		   struct slice *settings, struct slice *ret_name, struct err *err)
{
	const struct json *document = json_get(policy, "document");
	struct slice name = {NULL, 0}, now = {NULL, 0};
	struct policy then = {0};
	int rc = json_get_str(policy, "name", &name, err);

	*ret_name = (struct slice){NULL, 0};
	if (rc || !name.n || slice_eq_str(name, "none") || (rc = find_now(c, name, &now, err)))
		return rc;
	if (document && document->type == JSON_OBJECT ? slice_eq(document->raw, now) : !now.p)
		return 0;
	rc = read_then(c, name, document, &then, err);
	if (rc)
		return rc == E_NOTFOUND ? 0 : rc;
	then.name = own_name(c, name, &kept->id);
	if (!then.name.p)
		return err_set(err, E_TOOBIG, "the policy is too large");
	if ((rc = save(c, &then, err)) || (rc = name_it(c, kept->use_case, then.name, settings, err)))
		return rc;
	*ret_name = then.name;
	return 0;
}
