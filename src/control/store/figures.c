/* SPDX-License-Identifier: Apache-2.0 */
/* deployment_figures: each call is one statement. */
#include "control/store/figures.h"

#include "control/store/store_internal.h"

#define COLUMNS                                                                                              \
	"deployment_id, round, instance, step, candidate_requests, candidate_errors, candidate_violations, " \
	"candidate_latency, current_requests, current_errors, current_violations, current_latency"

int store_figures_put(struct db *db, const struct figures_row *row, struct err *err)
{
	const struct figures_arm *candidate = &row->arm[FIGURES_CANDIDATE], *current = &row->arm[FIGURES_CURRENT];
	char deployment[UUID_STR_SIZE], instance[UUID_STR_SIZE];
	const struct db_value args[] = {
		db_uuid(&row->deployment, deployment),
		db_int(row->round),
		db_uuid(&row->instance, instance),
		db_int(row->step),
		db_int(candidate->requests),
		db_int(candidate->errors),
		db_int(candidate->violations),
		db_text(candidate->latency),
		db_int(current->requests),
		db_int(current->errors),
		db_int(current->violations),
		db_text(current->latency),
	};

	return db_exec(db,
		       "insert into deployment_figures (" COLUMNS ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
		       "$11, $12) on conflict (deployment_id, round, instance) do update set "
		       "candidate_requests = excluded.candidate_requests, "
		       "candidate_errors = excluded.candidate_errors, "
		       "candidate_violations = excluded.candidate_violations, "
		       "candidate_latency = excluded.candidate_latency, "
		       "current_requests = excluded.current_requests, current_errors = excluded.current_errors, "
		       "current_violations = excluded.current_violations, current_latency = excluded.current_latency",
		       db_args(args, COUNT_OF(args)), NULL, err);
}

static struct figures_arm read_arm(struct row *r)
{
	struct figures_arm a = {.requests = row_int(r)};

	a.errors = row_int(r);
	a.violations = row_int(r);
	a.latency = row_text(r);
	return a;
}

int store_figures_list(struct db *db, struct arena *a, const struct uuid *deployment, struct figures_row **ret,
		       size_t *ret_n, struct err *err)
{
	struct figures_row *list;
	char id[UUID_STR_SIZE];
	struct sql q = {.n = 0};
	struct db_rows rows;
	int rc;

	sql_add(&q, "select " COLUMNS " from deployment_figures");
	sql_where(&q, "deployment_id = ", db_uuid(deployment, id));
	sql_add(&q, " order by round desc, instance limit ");
	sql_arg(&q, db_int(STORE_FIGURES_MAX));
	rc = sql_query(db, a, &q, &rows, err);
	if (rc)
		return rc;
	list = ARENA_ARRAY(a, struct figures_row, rows.n_rows);
	if (!list)
		return err_set(err, E_TOOBIG, "too many figures of one deployment");
	for (size_t i = 0; i < rows.n_rows; i++) {
		struct row r = {.rows = &rows, .row = i};

		list[i].deployment = row_uuid(&r);
		list[i].round = row_int(&r);
		list[i].instance = row_uuid(&r);
		list[i].step = (unsigned)row_int(&r);
		list[i].arm[FIGURES_CANDIDATE] = read_arm(&r);
		list[i].arm[FIGURES_CURRENT] = read_arm(&r);
		rc = row_end(&r, "deployment_figures", err);
		if (rc)
			return rc;
	}
	*ret = list;
	*ret_n = rows.n_rows;
	return 0;
}

int store_figures_forget(struct db *db, struct slice use_case, struct err *err)
{
	const struct db_value args[] = {db_text(use_case)};

	return db_exec(db,
		       "delete from deployment_figures where deployment_id in (select id from model_deployments "
		       "where use_case = $1 and finished_us is not null)",
		       db_args(args, COUNT_OF(args)), NULL, err);
}
