/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_deployments: one row per deployment, changed only by a writer that has seen the row as it is: the epoch says
 * so.  A unique index has at most one unfinished deployment per use case.
 */
#include "control/store/entities.h"
#include "control/store/store_internal.h"
#include "core/json/writer.h"

#define PLAN_MAX ((size_t)16 << 10)
#define COLUMNS                                                                                          \
	"id, use_case, model_id, previous_model_id, snapshot_id, strategy, state, step, share_percent, " \
	"since_us, holds_until_us, settings, evidence, rollback_reason, actor, reason, epoch, "          \
	"created_us, updated_us, finished_us"

static int plan_json(const struct deployment *d, struct buf *out, struct err *err)
{
	struct json_writer w;

	jw_init(&w, out);
	deploy_plan_write(&w, &d->plan);
	return buf_failed(out) ? err_set(err, E_TOOBIG, "the plan of the deployment is too large") : 0;
}

static struct db_value int_or_null(int64_t v)
{
	return v ? db_int(v) : (struct db_value){.type = DB_NULL};
}

int store_deployment_insert(struct db *db, const struct deployment *d, struct err *err)
{
	CLEANUP(buf_release) struct buf plan;
	char id[UUID_STR_SIZE], model[UUID_STR_SIZE], previous[UUID_STR_SIZE], snapshot[UUID_STR_SIZE];
	int rc;

	buf_init(&plan, PLAN_MAX);
	rc = plan_json(d, &plan, err);
	if (rc)
		return rc;

	const struct db_value first[] = {
		db_uuid(&d->id, id),
		db_text(d->use_case),
		db_uuid(&d->model_id, model),
		db_uuid_or_null(&d->previous_id, previous),
		db_uuid_or_null(&d->snapshot_id, snapshot),
		db_cstr(deploy_strategy_name(d->strategy)),
		db_cstr(deploy_state_name(d->state)),
		db_int(d->step),
		db_int(d->share),
		db_int(d->since_us),
		db_int(d->holds_until_us),
		db_text(buf_slice(&plan)),
		db_text(d->evidence),
		db_text(d->rollback_reason),
		db_text(d->actor.p ? d->actor : SLICE_LIT("")),
		db_text(d->reason.p ? d->reason : SLICE_LIT("")),
		db_int(d->epoch),
		db_int(d->created_us),
		db_int(d->updated_us),
		int_or_null(d->finished_us),
	};

	return db_exec(db,
		       "insert into model_deployments (" COLUMNS ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
		       "$11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
		       db_args(first, COUNT_OF(first)), NULL, err);
}

int store_deployment_update(struct db *db, const struct deployment *d, struct err *err)
{
	char id[UUID_STR_SIZE];
	const struct db_value args[] = {
		db_cstr(deploy_state_name(d->state)),
		db_int(d->step),
		db_int(d->share),
		db_int(d->since_us),
		db_int(d->holds_until_us),
		db_text(d->evidence),
		db_text(d->rollback_reason),
		db_int(d->epoch),
		db_int(d->updated_us),
		int_or_null(d->finished_us),
		db_uuid(&d->id, id),
		db_int(d->epoch - 1),
	};
	int64_t n_changed = 0;
	int rc = db_exec(db,
			 "update model_deployments set state = $1, step = $2, share_percent = $3, since_us = $4, "
			 "holds_until_us = $5, evidence = $6, rollback_reason = $7, epoch = $8, updated_us = $9, "
			 "finished_us = $10 where id = $11 and epoch = $12",
			 db_args(args, COUNT_OF(args)), &n_changed, err);

	if (!rc && n_changed == 0)
		return err_set(err, E_CONFLICT, "deployment %s was changed by someone else just now: look again", id);
	return rc;
}

static int read_plan(struct json_parser *parser, struct arena *a, struct slice text, struct deployment *d)
{
	struct json *root = NULL;

	return json_parse_copy(parser, a, text, NULL, &root, NULL) ||
			       deploy_plan_parse(d->strategy, root, &d->plan, NULL)
		       ? E_CORRUPT
		       : 0;
}

static int read_row(struct json_parser *parser, struct arena *a, struct row *r, struct deployment *ret, struct err *err)
{
	struct deployment d = {.id = row_uuid(r)};
	int rc = 0;

	d.use_case = row_text(r);
	d.model_id = row_uuid(r);
	d.previous_id = row_uuid_or_nil(r);
	d.snapshot_id = row_uuid_or_nil(r);
	if (deploy_strategy_parse(row_text(r), &d.strategy, NULL))
		rc = E_CORRUPT;
	if (deploy_state_parse(row_text(r), &d.state))
		rc = E_CORRUPT;
	d.step = (unsigned)row_int(r);
	d.share = (unsigned)row_int(r);
	d.since_us = row_int(r);
	d.holds_until_us = row_int(r);
	if (read_plan(parser, a, row_text(r), &d) || d.step >= d.plan.n_steps || d.share > 100)
		rc = E_CORRUPT;
	d.evidence = row_text(r);
	d.rollback_reason = row_text(r);
	d.actor = row_text(r);
	d.reason = row_text(r);
	d.epoch = row_int(r);
	d.created_us = row_int(r);
	d.updated_us = row_int(r);
	d.finished_us = row_int(r);
	if (rc)
		r->rc = rc;
	*ret = d;
	return row_end(r, "model_deployments", err);
}

int store_deployment_list(struct db *db, struct arena *a, const struct deployment_filter *f, struct deployment **ret,
			  size_t *ret_n, struct err *err)
{
	struct json_parser *parser;
	struct deployment *list;
	struct sql q = {.n = 0};
	struct db_rows rows;
	int rc;

	sql_add(&q, "select " COLUMNS " from model_deployments");
	sql_where_text(&q, "use_case = ", f->use_case);
	sql_where_text(&q, "id = ", f->id);
	sql_where_text(&q, "id < ", f->before_id);
	if (f->id_prefix.p) {
		sql_where(&q, "substr(id, 1, length(", db_text(f->id_prefix));
		sql_add(&q, ")) = ");
		sql_arg(&q, db_text(f->id_prefix));
	}
	if (f->active)
		sql_add(&q, q.has_where ? " and finished_us is null" : " where finished_us is null");
	if (f->ended)
		sql_add(&q, q.has_where ? " and finished_us is not null" : " where finished_us is not null");
	if (f->since_us) {
		sql_where_time(&q, "(finished_us is null or finished_us >= ", f->since_us);
		sql_add(&q, ")");
	}
	sql_where_time(&q, "created_us < ", f->before_us);
	sql_add(&q, f->ended ? " order by finished_us desc, id desc limit " : " order by id desc limit ");
	sql_arg(&q, db_int((int64_t)store_limit(f->limit)));
	rc = sql_query(db, a, &q, &rows, err);
	if (rc)
		return rc;
	list = ARENA_ARRAY(a, struct deployment, rows.n_rows);
	if (!list)
		return err_set(err, E_TOOBIG, "too many deployments: ask for fewer");
	parser = json_parser_new();
	for (size_t i = 0; i < rows.n_rows && !rc; i++) {
		struct row r = {.rows = &rows, .row = i};

		rc = read_row(parser, a, &r, &list[i], err);
	}
	json_parser_free(parser);
	if (rc)
		return rc;
	*ret = list;
	*ret_n = rows.n_rows;
	return 0;
}

static int get_one(struct db *db, struct arena *a, const struct deployment_filter *f, struct deployment *ret,
		   struct err *err)
{
	struct deployment *list = NULL;
	size_t n = 0;
	int rc = store_deployment_list(db, a, f, &list, &n, err);

	if (rc)
		return rc;
	if (n == 0 && f->id.p)
		return err_set(err, E_NOTFOUND, "there is no deployment with the id " SLICE_FMT, SLICE_ARG(f->id));
	if (n == 0)
		return err_set(err, E_NOTFOUND, "no deployment is under way for " SLICE_FMT,
			       SLICE_ARG(slice_sub(f->use_case, 0, 64)));
	*ret = list[0];
	return 0;
}

int store_deployment_get(struct db *db, struct arena *a, const struct uuid *id, struct deployment *ret, struct err *err)
{
	char text[UUID_STR_SIZE];
	const struct deployment_filter f = {.id = slice_from(uuid_format(id, text)), .limit = 1};

	return get_one(db, a, &f, ret, err);
}

int store_deployment_active(struct db *db, struct arena *a, struct slice use_case, struct deployment *ret,
			    struct err *err)
{
	const struct deployment_filter f = {.use_case = use_case, .active = true, .limit = 1};

	return get_one(db, a, &f, ret, err);
}
