/* SPDX-License-Identifier: Apache-2.0 */
/* The member `timeouts` that a model's configuration and a use case's settings share. */
#pragma once
#include "core/base/err.h"
#include "core/json/json.h"

#define TIMEOUT_MAX_MS INT64_C(86400000) /* a day */

struct timeouts { /* 0: whatever stands above decides */
	int64_t connect_ms, first_byte_ms, between_ms, total_ms;
};

/* Reads {"connect_ms", "first_byte_ms", "between_ms", "total_ms"}; NULL or null leaves *ret alone.  E_INVALID names the
 * member. */
int timeouts_parse(const struct json *obj, struct timeouts *ret, struct err *err);
struct json_writer;
void timeouts_write(struct json_writer *w, const struct timeouts *t);
