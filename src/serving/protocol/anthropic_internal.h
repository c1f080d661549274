/* SPDX-License-Identifier: Apache-2.0 */
/* Anthropic's messages, in several files: what each gives to the table entry in anthropic_back.c. */
#pragma once
#include "serving/protocol/protocol_internal.h"

int anthropic_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			     const char **ret_param, struct err *err);
int anthropic_decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err);
int anthropic_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m);
int anthropic_encode_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			   const struct answer_meta *m);
int anthropic_encode_error(struct buf *out, const struct api_error *e);
int anthropic_encode_stream_error(struct buf *out, const struct api_error *e);
int anthropic_encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			     struct dropped_params *dropped);
