/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's older completions of texts, in several files: what each gives to the table entry in completions_back.c. */
#pragma once
#include "serving/protocol/protocol_internal.h"

int completions_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			       const char **ret_param, struct err *err);
int completions_decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err);
int completions_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m);
int completions_encode_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			     const struct answer_meta *m);
