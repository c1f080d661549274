/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The findings of a readiness check, and how programs read them.  A finding that did not pass always says what to do;
 * what was not done is skipped.  A few warnings are failures in production: check_is_strict knows which.
 */
#pragma once
#include "core/base/buf.h"
#include "core/base/util.h"

enum check_state { CHECK_PASS, CHECK_WARN, CHECK_FAIL, CHECK_SKIPPED, CHECK_N_STATES };

struct check {
	const char *name; /* lives as long as the report */
	enum check_state state;
	struct slice evidence, advice; /* one line each; advice is absent when it passed */
};

#define CHECK_MAX 128

struct check_report {
	struct arena *arena; /* of the texts */
	bool production;
	struct check item[CHECK_MAX];
	size_t n, count[CHECK_N_STATES];
};

void check_report_init(struct check_report *r, struct arena *a, bool production);
/* advice: what to do (copied); NULL only with CHECK_PASS. */
void check_add(struct check_report *r, const char *name, enum check_state state, const char *advice, const char *fmt,
	       ...) PRINTF_LIKE(5, 6);
bool check_ready(const struct check_report *r); /* nothing failed */
const char *check_state_name(enum check_state s);
/* Whether a warning of that name is a failure with --production. */
bool check_is_strict(const char *name);

/* {"ready", "checks": [{"name", "state", "evidence", "advice"}], "counts": {"pass", "warn", "fail", "skipped"}} */
void check_write_json(const struct check_report *r, struct buf *out);
/* What CI systems read: a failure is a failed test, a warning one that passed and says so. */
void check_write_junit(const struct check_report *r, int64_t at_us, struct buf *out);
