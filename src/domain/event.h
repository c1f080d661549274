/* SPDX-License-Identifier: Apache-2.0 */
/* An entry of the append-only registry_events: who changed what, when, why, from what, to what. */
#pragma once
#include "core/base/slice.h"
#include "core/base/uuid.h"

struct registry_event {
	struct uuid id;
	int64_t at_us;
	struct slice kind;	    /* "model.registered", "model.status", "model.configuration", "model.metrics",
				       "use_case.settings", "policy.saved", ... */
	struct slice subject;	    /* model id, use case or policy name */
	struct slice use_case;	    /* absent when it concerns none */
	struct slice actor;	    /* who */
	struct slice reason;	    /* why; may be empty */
	struct slice before, after; /* JSON; absent: none */
};
