/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer_mode resume: a stream that broke off after a part of it had left goes on with what another model, or another
 * endpoint, makes of its beginning.  Private to the gateway.
 */
#pragma once
#include "domain/price.h"
#include "serving/gateway/exchange.h"

#define RESUMES_MAX 3 /* of one answer */

/* Whether a stream that breaks off now may be gone on with, as far as what it has said goes. */
bool resume_is_possible(const struct exchange *e);
/* The call broke off: from now on the answer is gone on with.  False: it cannot be. */
bool resume_begin(struct exchange *e, int rc);
/* Somebody is about to be asked. */
void resume_note_attempt(struct exchange *e);
/* A model serves that was given the beginning, or is about to be asked. */
bool resume_is_on(const struct exchange *e);
/* Whether it can go on with what has been said; true when nothing is to be gone on with. */
bool resume_accepts(const struct exchange *e, const struct target *t);
/* What is asked for: the request, or one with the beginning and less to say, in *space.  NULL: too large. */
const struct chat_request *resume_request(struct exchange *e, const struct target *t, struct upstream_params *params,
					  struct chat_request *space);
/* The texts of a model that goes on: s->seam decides what of them is new. */
bool resume_carries(const struct exchange *e, const struct chat_event *event);
/* Bytes of text that the model which serves now has said. */
size_t resume_said(const struct exchange *e);
/* Of all attempts that are in the answer. */
struct chat_usage resume_usage(const struct exchange *e);
struct money resume_cost(const struct exchange *e, struct money last);
/* Fields that stand behind the answer, for who reads them. */
void resume_tell(struct exchange *e);
