/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each daemon has counted of a deployment: one row for each time that a step began and each process.  A process
 * writes its own rows only, whole, so writing one again changes nothing, and a process that died leaves what it said.
 */
#pragma once
#include "control/store/db.h"
#include "core/base/uuid.h"

struct figures_arm {
	int64_t requests, errors, violations;
	struct slice latency; /* as serving/stats writes a sketch */
};

enum { FIGURES_CURRENT, FIGURES_CANDIDATE, FIGURES_N_ARMS };

struct figures_row {
	struct uuid deployment, instance;
	int64_t round; /* the deployment's epoch when the step began */
	unsigned step;
	struct figures_arm arm[FIGURES_N_ARMS];
};

/* Rows of one deployment that are read at a time: the newest rounds. */
#define STORE_FIGURES_MAX 4000

int store_figures_put(struct db *db, const struct figures_row *row, struct err *err);
int store_figures_list(struct db *db, struct arena *a, const struct uuid *deployment, struct figures_row **ret,
		       size_t *ret_n, struct err *err);
/* Those of deployments of the use case that are over. */
int store_figures_forget(struct db *db, struct slice use_case, struct err *err);
