/* SPDX-License-Identifier: Apache-2.0 */
/* Gemini's generateContent, in several files: what each gives to the table entry in gemini_back.c. */
#pragma once
#include "serving/protocol/protocol_internal.h"

/* Its servers take each member under two names: "toolConfig" is "tool_config" too.  camel is the former. */
bool gemini_is(struct slice key, const char *camel);
/* The member of that name, in either form, or NULL. */
const struct json *gemini_get(const struct json *obj, const char *camel);
/* "" when it is no string. */
struct slice gemini_text(const struct json *obj, const char *camel);

/* Its servers take what would be the only item of a list for the list: v is either.  NULL: nothing. */
const struct json *gemini_items(const struct json *v);
const struct json *gemini_next(const struct json *list, const struct json *item);
/* Every string in a value that is no name is judged; labels: those too. */
int gemini_judge(struct front *f, const struct json *v, bool labels);
/* What a function said: the words in its response, when it is no more than words. */
struct slice gemini_result_text(const struct json *response);

/* "models/NAME", as bodies name a model. */
void gemini_model_name(struct buf *out, struct slice model);

int gemini_decode_request(struct arena *a, const struct json *root, struct slice body, struct chat_request *ret,
			  const char **ret_param, struct err *err);
int gemini_decode_details(struct arena *a, struct chat_request *r, const char **ret_param, struct err *err);
int gemini_encode_answer(struct buf *out, const struct chat_answer *answer, const struct answer_meta *m);
int gemini_encode_event(struct encode_state *s, struct buf *out, const struct chat_event *e,
			const struct answer_meta *m);
int gemini_encode_error(struct buf *out, const struct api_error *e);
int gemini_encode_stream_error(struct buf *out, const struct api_error *e);
int gemini_encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped);
/* What a default parameter is called in generationConfig; absent: it stands in the root. */
struct slice gemini_option_name(struct slice parameter);
