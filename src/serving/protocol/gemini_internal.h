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

int gemini_encode_request(struct buf *out, const struct chat_request *r, const struct upstream_params *p,
			  struct dropped_params *dropped);
/* What a default parameter is called in generationConfig; absent: it stands in the root. */
struct slice gemini_option_name(struct slice parameter);
