/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of Gemini's protocol: they name the model and what is asked of it, /v1beta/models/MODEL:CALL, and /v1/ does as
 * well as /v1beta/.  What would break it: taking one of OpenAI's, /v1/models/MODEL, whose names may have colons.
 */
#pragma once
#include "core/base/arena.h"
#include "core/http/head.h"

struct gemini_path {
	struct slice model; /* as it stands there; empty: it names none */
	struct slice call;  /* "generateContent" */
};

/* Whether the path is one of Gemini's; *ret (or NULL) is what it says, if it has a model and a call. */
bool gemini_path_read(struct slice path, struct gemini_path *ret);

/* Whether it is a call that there is, of a model. */
bool gemini_path_is_call(const struct gemini_path *p);

enum gemini_alt { GEMINI_ARRAY, GEMINI_SSE, GEMINI_NEITHER };
/* How a stream is wanted: ?alt=sse, or as one JSON array, which is what ?alt=json and no word of it mean. */
enum gemini_alt gemini_path_alt(const struct http_head *head, struct arena *a);
/* A call whose errors are an array, as its answer is. */
bool gemini_path_wants_array(const struct http_head *head, struct arena *a);
