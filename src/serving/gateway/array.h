/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of server-sent events as one JSON array that grows by an element for each event: what Gemini's
 * streamGenerateContent is without alt=sse.  An array is closed behind an element that ends the answer, which an error
 * is too: whoever hears of no end hears no ']' either.
 */
#pragma once
#include "core/base/arena.h"
#include "core/base/slice.h"

struct array;

struct array *array_new(struct arena *a); /* NULL: the arena is full */
void array_release(struct array *s);
/* The array's bytes for these of the stream, cut anywhere; they live until the next call.  Absent: nothing yet, or more
 * than may be held (array_failed). */
struct slice array_add(struct array *s, struct slice piece);
/* The same for the last of them, and the end. */
struct slice array_end(struct array *s, struct slice piece);
bool array_failed(const struct array *s);
