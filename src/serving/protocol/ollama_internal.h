/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's /api/chat and /api/generate, in several files: what each gives to the table entries in ollama_back.c. */
#pragma once
#include "serving/protocol/protocol_internal.h"

int ollama_decode_chat(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
		       const char **ret_param, struct err *err);
int ollama_decode_generate(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			   const char **ret_param, struct err *err);
int ollama_chat_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err);
int ollama_generate_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err);
int ollama_encode_chat(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m);
int ollama_encode_generate(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m);
int ollama_encode_chat_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			     const struct answer_meta *m);
int ollama_encode_generate_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
				 const struct answer_meta *m);
int ollama_encode_error(struct buf *out, const struct api_error *e);
int ollama_encode_stream_error(struct buf *out, const struct api_error *e);
int ollama_encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped);
/* What a default parameter is called among the options; absent: it stands in the root. */
struct slice ollama_option_name(struct slice parameter);
