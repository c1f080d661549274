/* SPDX-License-Identifier: Apache-2.0 */
/* What an upstream that does not answer says by it: whose fault it is, and whether another may do better.  Pure. */
#pragma once
#include "serving/gateway/exchange.h"

/* What a status that is no success says.  OUTCOME_GOOD: the request itself is the matter (400, 413, 415, 422), which no
 * other model would see otherwise. */
enum outcome refusal_outcome(int status);
/* Words by which providers say that a request is longer than the model takes. */
bool refusal_is_too_long(struct slice body);
/* A provider that will not answer for what is asked, and says so with a status that others use for a bad key. */
bool refusal_is_unsafe(struct slice body);
/* Its own fault (a key, an account), with a 400 that others use for what is asked.  The words have to begin the
 * message, or be a whole string: what a caller wrote, and an upstream quotes, is to open no breaker. */
bool refusal_is_own_fault(struct slice body, struct slice message);
/* The status that an error has which came in an answer of success: its code, or what its words say; 0: there is none.
 */
int refusal_status_inside(struct json_parser *p, struct arena *a, struct slice body);
