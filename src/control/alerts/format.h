/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What receivers get: one document for each alert and state.  Pure.  Other programs read these: members are added,
 * never changed.
 */
#pragma once
#include "control/alerts/alert.h"
#include "core/base/buf.h"

enum alert_format { ALERT_JSON, ALERT_SLACK, ALERT_ALERTMANAGER, ALERT_N_FORMATS };

const char *alert_format_name(enum alert_format f);

enum alert_message { ALERT_SAY_FIRING, ALERT_SAY_AGAIN, ALERT_SAY_RESOLVED, ALERT_SAY_TEST };

struct alert_document {
	const struct alert *alert;
	enum alert_message message;
	const char *receiver, *instance;
	int64_t now_us;
	int64_t ends_us; /* Alertmanager: while it fires, until when it is to be taken to; it is told again before */
};

/* E_TOOBIG: out is too small. */
int alert_document_write(enum alert_format f, const struct alert_document *d, struct buf *out);
