/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated model: a real HTTP server on a private loopback port that speaks OpenAI chat completions and the plain
 * /generate protocol, so that demos and drills take the same path as a real upstream.
 *
 * What it does is told by the header x-muster-sim, a JSON object (configuration.sim of a model of provider sim):
 *   text            what it says; default: a sentence about the prompt, different for each seed
 *   latency_ms      before the first byte; default 20
 *   tokens_per_s    pace of a stream; 0: all at once; default 200
 *   error_rate      share of requests answered with `status`, 0 to 1; default 0
 *   status          of errors; default 500
 *   violation_rate  share of answers that carry something the default guardrail policy masks; default 0
 *   cut_after       tokens after which a stream is cut off without its end; 0: never
 *   seed            for all of these decisions; default 1
 * The n-th request of one configuration meets the same fate in every run.
 */
#pragma once
#include <stdint.h>

#include "core/base/err.h"

struct sim;

/* Starts it on a thread of its own, on 127.0.0.1 and any free port. */
int sim_start(struct sim **ret, uint16_t *ret_port, struct err *err);
void sim_stop(struct sim *s); /* NULL is fine */
