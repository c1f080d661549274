/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of use cases and guardrail policies: checked whole, stored whole, the whole before and after in the event.
 */
#include "control/registry/registry_internal.h"
#include "core/json/writer.h"

#define SETTINGS_MAX ((size_t)256 << 10)
#define POLICY_MAX ((size_t)16 << 20)

struct document {
	struct slice name, json;
};

static int check_fallbacks(struct change *c, const struct use_case *u, struct err *err)
{
	for (size_t i = 0; i < u->n_fallback; i++) {
		struct model_filter f = {.status = -1, .with_archived = true};
		struct model *there = NULL;
		size_t n = 0;
		int rc;

		model_ref_split(u->fallback[i], &f.name, &f.version);
		rc = store_model_list(c->db, c->a, &f, &there, &n, err);
		if (rc)
			return rc;
		if (n == 0)
			return err_set(err, E_INVALID,
				       "fallback '" SLICE_FMT "' is not registered: register it first, or leave it out",
				       SLICE_ARG(u->fallback[i]));
	}
	return 0;
}

static int settings_json(struct change *c, const struct use_case *u, struct slice *ret, struct err *err)
{
	CLEANUP(buf_release) struct buf out;
	struct json_writer w;

	buf_init(&out, 2 * SETTINGS_MAX);
	jw_init(&w, &out);
	use_case_write(&w, u);
	*ret = buf_failed(&out) ? (struct slice){NULL, 0} : arena_slice(c->a, buf_slice(&out));
	return ret->p ? 0 : err_set(err, E_TOOBIG, "the settings of the use case are too large");
}

static int read_settings(struct change *c, const struct document *d, struct slice *ret_json, struct err *err)
{
	struct object o = {NULL};
	struct use_case u = {0};
	int rc;

	if ((rc = use_case_check(d->name, err)) ||
	    (rc = change_object(c, "the settings", d->json, SETTINGS_MAX, &o, err)) ||
	    (rc = use_case_settings_check(o.root, err)) || (rc = use_case_parse(c->a, d->name, o.root, &u, err)) ||
	    (rc = check_fallbacks(c, &u, err)))
		return rc;
	u.created_us = u.updated_us = 0; /* the row has them */
	return settings_json(c, &u, ret_json, err);
}

static int apply_use_case(struct change *c, void *arg, struct err *err)
{
	const struct document *d = arg;
	struct use_case_row old = {0}, row = {.name = d->name, .created_us = c->now_us, .updated_us = c->now_us};
	struct registry_event e = {.kind = SLICE_LIT("use_case.settings"), .subject = d->name, .use_case = d->name};
	int rc = read_settings(c, d, &row.settings, err);

	if (rc)
		return rc;
	rc = store_use_case_get(c->db, c->a, d->name, &old, err);
	if (rc && rc != E_NOTFOUND)
		return rc;
	if (!rc && slice_eq(old.settings, row.settings))
		return 0;
	e.before = old.settings;
	e.after = row.settings;
	rc = store_use_case_put(c->db, &row, err);
	return rc ? rc : change_event(c, &e, err);
}

int registry_put_use_case(struct registry *r, struct slice name, struct slice settings, const struct registry_who *who,
			  struct err *err)
{
	struct document d = {name, settings};

	return registry_change(r, who, apply_use_case, &d, err);
}

/* Puts the name into the document when it is not there. */
static int name_document(struct change *c, const struct document *d, struct object *o, struct err *err)
{
	struct slice said = {NULL, 0};
	const char *named;
	int rc = json_get_str(o->root, "name", &said, err);

	if (rc || (said.p && slice_eq(said, d->name)))
		return rc;
	if (said.p)
		return err_set(err, E_INVALID,
			       "the policy calls itself '" SLICE_FMT "', it is to be saved as '" SLICE_FMT "'",
			       SLICE_ARG(slice_sub(said, 0, 64)), SLICE_ARG(d->name));
	named = arena_printf(c->a, "{\"name\":\"" SLICE_FMT "\"%s" SLICE_FMT, SLICE_ARG(d->name),
			     o->root->first ? "," : "", SLICE_ARG(slice_sub(o->text, 1, o->text.n)));
	if (!named)
		return err_set(err, E_TOOBIG, "the policy is too large");
	return change_object(c, "the policy", slice_from(named), 2 * POLICY_MAX, o, err);
}

static int read_policy(struct change *c, const struct document *d, struct slice *ret_doc, struct err *err)
{
	struct policy policy = {0};
	struct object o = {NULL};
	int rc;

	if (slice_eq_str(d->name, "none") || use_case_check(d->name, NULL))
		return err_set(err, E_INVALID,
			       "a policy cannot be called '" SLICE_FMT
			       "': use lower-case letters, digits, _ and -, and not none",
			       SLICE_ARG(slice_sub(d->name, 0, 64)));
	if ((rc = change_object(c, "the policy", d->json, POLICY_MAX, &o, err)) ||
	    (rc = name_document(c, d, &o, err)) || (rc = policy_parse(c->a, o.root, &policy, err)))
		return rc;
	*ret_doc = o.text;
	return 0;
}

static int find_policy(struct change *c, struct slice name, struct slice *ret_doc, struct err *err)
{
	struct policy_row *rows = NULL;
	size_t n = 0;
	int rc = store_policy_list(c->db, c->a, &rows, &n, err);

	for (size_t i = 0; i < n; i++) {
		if (slice_eq(rows[i].name, name))
			*ret_doc = rows[i].document;
	}
	return rc;
}

static int apply_policy(struct change *c, void *arg, struct err *err)
{
	const struct document *d = arg;
	struct policy_row row = {.name = d->name, .created_us = c->now_us, .updated_us = c->now_us};
	struct registry_event e = {.kind = SLICE_LIT("policy.saved"), .subject = d->name};
	int rc;

	if ((rc = read_policy(c, d, &row.document, err)) || (rc = find_policy(c, d->name, &e.before, err)))
		return rc;
	if (slice_eq(e.before, row.document))
		return 0;
	e.after = row.document;
	rc = store_policy_put(c->db, &row, err);
	return rc ? rc : change_event(c, &e, err);
}

int registry_put_policy(struct registry *r, struct slice name, struct slice document, const struct registry_who *who,
			struct err *err)
{
	struct document d = {name, document};

	return registry_change(r, who, apply_policy, &d, err);
}
