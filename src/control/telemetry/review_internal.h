/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a review: each adds its own to *r. */
#pragma once
#include "control/telemetry/review.h"

int review_count_log(struct db *db, struct arena *a, struct review *r, struct err *err);
int review_count_violations(struct db *db, struct arena *a, struct review *r, struct err *err);
int review_list_deployments(struct db *db, struct arena *a, struct review *r, struct err *err);
int review_list_changes(struct db *db, struct arena *a, struct review *r, struct err *err);
void review_judge_targets(struct arena *a, struct review *r);
/* What there is to look at; models: all that are registered. */
int review_find(struct arena *a, struct review *r, const struct model *models, size_t n_models, struct err *err);

/* NULL: there are too many already. */
struct review_group *review_use_case(struct review *r, struct slice use_case);
struct review_group *review_model(struct review *r, struct slice use_case, struct slice model);
/* part of whole; 0 when whole is. */
double review_share(int64_t part, int64_t whole);
const char *review_target_name(enum review_target_id id);
double review_target_limit(enum review_target_id id);
