/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is well and what is not, part by part: kept by the control loop alone, which also answers /health from it.
 * The database being away is never worse than "degraded": requests are served from the snapshot, records wait in the
 * spool.
 */
#pragma once
#include "core/base/buf.h"
#include "core/base/util.h"

enum health_state { HEALTH_OK, HEALTH_DEGRADED, HEALTH_FAILED };

enum health_part {
	HEALTH_REGISTRY,
	HEALTH_HISTORICAL_LOG,
	HEALTH_GUARDRAILS,
	HEALTH_DEPLOYMENTS,
	HEALTH_GATEWAY,
	HEALTH_DATABASE,
	HEALTH_LEADER, /* whether this daemon does what only one of all on the database may */
	HEALTH_RETENTION,
	HEALTH_ALERTS, /* whether what is wrong can be told */
	HEALTH_N_PARTS,
};

enum health_figure_kind { HEALTH_COUNT, HEALTH_MS, HEALTH_TIME, HEALTH_TEXT };

struct health_figure {
	const char *name; /* a literal */
	enum health_figure_kind kind;
	int64_t number; /* a count, or a time in microseconds; negative, or a time of 0: not known */
	double ms;	/* negative: not known */
	char text[72];	/* empty: none */
};

#define HEALTH_MAX_FIGURES 12

struct health_status {
	enum health_state state;
	int64_t since_us;				 /* when it became so */
	char detail[240];				 /* one sentence */
	struct health_figure figure[HEALTH_MAX_FIGURES]; /* the evidence */
	size_t n_figures;
};

struct health {
	const char *version;
	int64_t start_us;
	struct health_status part[HEALTH_N_PARTS];
	/* what readiness rests on: the control loop sets these */
	bool snapshot_loaded;
	bool spool_open; /* able to take records, or history is switched off */
	bool stopping;
	size_t n_use_cases, n_usable; /* usable: a model, an endpoint or content can answer */
};

/* Every part begins as failed, "starting". */
void health_init(struct health *h, const char *version, int64_t now_us);
/* since_us moves only when the state does.  Figures go: those that stand behind it now follow. */
void health_set(struct health *h, enum health_part part, enum health_state state, int64_t now_us, const char *fmt, ...)
	PRINTF_LIKE(5, 6);
void health_count(struct health *h, enum health_part part, const char *name, uint64_t n);
void health_ms(struct health *h, enum health_part part, const char *name, double ms);
void health_time(struct health *h, enum health_part part, const char *name, int64_t at_us);
void health_text(struct health *h, enum health_part part, const char *name, const char *text);
enum health_state health_overall(const struct health *h);
bool health_ready(const struct health *h);

/* The bodies of GET /health, /health/live and /health/ready; each returns the HTTP status that goes with it. */
int health_write(const struct health *h, int64_t now_us, struct buf *out);
int health_write_live(struct buf *out);
int health_write_ready(const struct health *h, struct buf *out);

const char *health_state_name(enum health_state s);
const char *health_part_name(enum health_part p);
