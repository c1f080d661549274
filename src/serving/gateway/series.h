/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which place in the counters of each loop belongs to which model: found when a model is made ready for requests, so
 * that counting costs no lookup.  A place is never given back: a series means one model for as long as the process
 * lives.  What comes when all places are taken is counted in the last one, and told.
 */
#pragma once
#include "core/base/slice.h"
#include "serving/gateway/gateway.h"

struct gateway_series_labels {
	struct slice use_case;
	struct slice model;	    /* name@version, or "endpoint" for a hardcoded one */
	struct slice provider;	    /* as OpenTelemetry calls it */
	struct slice request_model; /* what the provider is asked for; may be empty */
	enum gateway_operation operation;
};

/* What a protocol's requests are, in its series. */
struct protocol;
enum gateway_operation gateway_operation_of(const struct protocol *p);

/* Any thread.  s NULL: the last place. */
unsigned gateway_series_slot(struct gateway_series *s, const struct gateway_series_labels *labels);
/* Places that are named: they are 0 .. n-1, and stay.  Any thread. */
unsigned gateway_series_count(const struct gateway_series *s);
const struct gateway_series_labels *gateway_series_at(const struct gateway_series *s, unsigned slot);
/* How many times a model came that got none. */
uint64_t gateway_series_folded(const struct gateway_series *s);
