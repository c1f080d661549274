/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a failed request is worth sending again: how long to wait, and how many may.  Pure: now and random are
 * parameters.
 *
 * The budget keeps retries from making an outage worse: each request pays a tenth of a retry in, each retry takes a
 * whole one out, and ten at most are kept.  One comes back each ten seconds by itself, so that those with few requests
 * may repeat one too.  (The idea is Finagle's RetryBudget.)  Its state is one number, swapped atomically by those who
 * share it; 0 is a budget of one retry.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/base/slice.h"

struct retry_budget {
	uint64_t bits;
};

#define RETRY_BUDGET_PERCENT 10
#define RETRY_BUDGET_MAX 10
#define RETRY_REFILL_MS 10000

void retry_deposit(struct retry_budget *b, int64_t now_ms);  /* a first attempt */
bool retry_withdraw(struct retry_budget *b, int64_t now_ms); /* false: there is none left, and nothing changed */

#define RETRY_BACKOFF_MS 100
#define RETRY_BACKOFF_MAX_MS 2000
/*
 * How long to wait before retry n (1, 2, ...): 100 ms doubled each time, up to 2 s, of which the second half is up to
 * chance
 * ("equal jitter" of Brooker, Exponential Backoff And Jitter, 2015).
 */
int64_t retry_backoff_ms(unsigned n, uint32_t random);

#define RETRY_AFTER_MAX_MS INT64_C(3600000)
/*
 * What an answer said about when to come again, in milliseconds from now: retry-after-ms, else Retry-After as seconds
 * or as an HTTP date (wall_us: now).  -1: nothing that can be read; at most RETRY_AFTER_MAX_MS.
 */
int64_t retry_after_ms(struct slice retry_after_ms, struct slice retry_after, int64_t wall_us);
