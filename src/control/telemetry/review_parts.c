/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a review that are few rows: violations, deployments, and what was changed by whom. */
#include "control/telemetry/review_internal.h"
#include "core/json/json.h"

/* --- violations --- */

static void add_tally(struct review *r, const struct review_violation_row *row)
{
	for (size_t i = 0; i < REVIEW_MAX_CATEGORIES; i++) {
		struct review_tally *t = &r->categories[i];

		if (i == r->n_categories) {
			*t = (struct review_tally){.name = row->category};
			r->n_categories++;
		}
		if (slice_eq(t->name, row->category)) {
			t->n += row->n;
			t->n_before += row->n_before;
			return;
		}
	}
	r->rules_left_off = true;
}

static void add_rule(struct review *r, const struct review_violation_row *row)
{
	struct review_rule *rule;
	size_t i = 0;

	while (i < r->n_rules && !(slice_eq(r->rules[i].rule, row->rule) && slice_eq(r->rules[i].policy, row->policy) &&
				   r->rules[i].severity == row->severity && r->rules[i].action == row->action))
		i++;
	if (i == REVIEW_MAX_RULES) {
		r->rules_left_off = true;
		return;
	}
	rule = &r->rules[i];
	if (i == r->n_rules) {
		r->n_rules++;
		*rule = (struct review_rule){.rule = row->rule,
					     .policy = row->policy,
					     .category = row->category,
					     .severity = row->severity,
					     .action = row->action};
	}
	rule->n += row->n;
	rule->n_before += row->n_before;
}

static void add_to_groups(struct review *r, const struct review_violation_row *row)
{
	struct review_group *groups[] = {review_use_case(r, row->use_case), review_model(r, row->use_case, row->model)};

	for (size_t i = 0; i < COUNT_OF(groups); i++) {
		if (!groups[i]) {
			r->groups_left_off = true;
			continue;
		}
		groups[i]->now.violations += row->n;
		groups[i]->before.violations += row->n_before;
	}
}

static int count_series(struct db *db, struct arena *a, struct review *r, const struct review_span *span,
			struct err *err)
{
	struct review_violation_count *list = NULL;
	size_t n = 0;
	int rc = store_review_violation_series(db, a, span, &list, &n, err);

	for (size_t i = 0; !rc && i < n; i++) {
		bool now = list[i].bucket >= r->n_buckets;

		if (now)
			r->buckets[list[i].bucket - r->n_buckets].violations += list[i].n;
		(now ? r->by_severity : r->by_severity_before)[list[i].severity] += list[i].n;
		(now ? &r->total.now : &r->total.before)->violations += list[i].n;
	}
	return rc;
}

int review_count_violations(struct db *db, struct arena *a, struct review *r, struct err *err)
{
	const struct review_span both = {.start_us = r->before_us,
					 .bucket_us = r->bucket_us,
					 .n_buckets = 2 * r->n_buckets,
					 .use_case = r->request.use_case};
	const struct review_span now = {.start_us = r->since_us,
					.bucket_us = r->bucket_us,
					.n_buckets = r->n_buckets,
					.use_case = r->request.use_case};
	struct review_violation_rows rows = {.n = 0};
	int rc = count_series(db, a, r, &both, err);

	if (!rc)
		rc = store_review_violations(db, a, &both, r->since_us, &rows, err);
	r->rules_left_off = rows.n == REVIEW_MAX_VIOLATION_ROWS;
	for (size_t i = 0; !rc && i < rows.n; i++) {
		add_tally(r, &rows.list[i]);
		add_rule(r, &rows.list[i]);
		add_to_groups(r, &rows.list[i]);
	}
	for (size_t i = 0; !rc && i < r->n_rules && i < REVIEW_MAX_SAMPLED; i++)
		if (r->rules[i].n)
			rc = store_review_samples(db, a, &now, r->rules[i].rule, &r->rules[i].samples, err);
	return rc;
}

/* --- deployments --- */

static struct slice full_name(struct arena *a, const struct model *m)
{
	return slice_from(arena_printf(a, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(m->name), SLICE_ARG(m->version)));
}

static int list_deployments(struct db *db, struct arena *a, const struct deployment_filter *f, int64_t until_us,
			    struct review_deployments *ret, struct err *err)
{
	int rc = store_deployment_list(db, a, f, &ret->list, &ret->n, err);

	if (rc)
		return rc;
	ret->more = ret->n > REVIEW_MAX_DEPLOYMENTS;
	ret->n = min_size(ret->n, REVIEW_MAX_DEPLOYMENTS);
	ret->models = ARENA_ARRAY(a, struct slice, ret->n + 1);
	if (!ret->models)
		return err_set(err, E_TOOBIG, "the deployments of the review are more than fit in memory");
	for (size_t i = 0; i < ret->n; i++) {
		const struct deployment *d = &ret->list[i];
		struct model m = {.created_us = 0};

		if (d->finished_us && d->finished_us < until_us) {
			ret->finished++;
			ret->succeeded += d->state == DEPLOY_SUCCEEDED;
		}
		rc = store_model_get(db, a, &d->model_id, &m, err);
		if (rc && rc != E_NOTFOUND)
			return rc;
		if (!rc)
			ret->models[i] = full_name(a, &m);
	}
	return 0;
}

int review_list_deployments(struct db *db, struct arena *a, struct review *r, struct err *err)
{
	struct deployment_filter f = {.use_case = r->request.use_case,
				      .since_us = r->since_us,
				      .before_us = r->until_us,
				      .limit = REVIEW_MAX_DEPLOYMENTS + 1};
	int rc = list_deployments(db, a, &f, r->until_us, &r->deployments, err);

	if (rc)
		return rc;
	f.since_us = r->before_us;
	f.before_us = r->since_us;
	return list_deployments(db, a, &f, r->since_us, &r->deployments_before, err);
}

/* --- changes --- */

static struct slice text_of(const struct json *obj, const char *name)
{
	const struct json *v = json_get(obj, name);

	return v && v->type == JSON_STRING ? v->str : (struct slice){0};
}

static const struct json *parse(struct json_parser *p, struct arena *a, struct slice text)
{
	struct json *root = NULL;

	return text.n && !json_parse_copy(p, a, text, NULL, &root, NULL) ? root : NULL;
}

static struct slice model_named(struct arena *a, const struct json *m)
{
	struct slice name = text_of(m, "model_name"), version = text_of(m, "version");

	return name.n ? slice_from(arena_printf(a, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(name), SLICE_ARG(version)))
		      : (struct slice){0};
}

/* What the subject is called, and the status that it had and has, or which model served and does: the event holds both
 * as they were then. */
static void describe(struct json_parser *p, struct arena *a, struct review_change *c)
{
	const struct json *before = parse(p, a, c->event.before), *after = parse(p, a, c->event.after);
	const struct json *any = after ? after : before;
	struct slice model = model_named(a, any);

	c->name = model.n ? model : text_of(any, "name");
	c->to = text_of(after, "status");
	c->from = text_of(before, "status");
	if (slice_eq_str(c->event.kind, "use_case.rollback")) {
		c->name = c->event.subject;
		c->from = model_named(a, before);
		c->to = model_named(a, after);
	}
	if (slice_eq(c->from, c->to))
		c->from = c->to = (struct slice){0};
	c->event.before = c->event.after = (struct slice){0};
}

int review_list_changes(struct db *db, struct arena *a, struct review *r, struct err *err)
{
	const struct event_filter f = {.use_case = r->request.use_case,
				       .since_us = r->since_us,
				       .until_us = r->until_us - 1,
				       .limit = REVIEW_MAX_CHANGES + 1};
	struct registry_event *list = NULL;
	struct json_parser *p;
	size_t n = 0;
	int rc = store_event_list(db, a, &f, &list, &n, err);

	if (rc)
		return rc;
	r->more_changes = n > REVIEW_MAX_CHANGES;
	n = min_size(n, REVIEW_MAX_CHANGES);
	r->changes = ARENA_ARRAY(a, struct review_change, n + 1);
	if (!r->changes)
		return err_set(err, E_TOOBIG, "the changes of the review are more than fit in memory");
	p = json_parser_new();
	for (size_t i = 0; i < n; i++) {
		r->changes[i].event = list[i];
		describe(p, a, &r->changes[i]);
	}
	json_parser_free(p);
	r->n_changes = n;
	return 0;
}
