/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a model goes on with the text that another has begun.  The beginning is given to it without the white space at
 * its end, which some refuse and others cut off; what of that it says again has left already, and is dropped.  So is
 * the whole beginning, where a model says that again.
 *
 * What would break it: dropping a byte that is not certain to be there twice.
 */
#pragma once
#include "core/base/slice.h"

struct seam {
	struct slice begun; /* what the model was given, if it may say it again; else absent */
	struct slice space; /* white space that stood behind it, and has left */
	size_t repeated;    /* bytes of begun that the model has said so far */
};

/* The text without the white space at its end. */
struct slice seam_trim(struct slice text);

/*
 * The next text of the model: what of it is new comes to *ret, both parts in this order.  The first may be a part of
 * s->begun, which was held until it was certain that the model does not repeat it.
 */
struct seam_text {
	struct slice held, text;
};
struct seam_text seam_take(struct seam *s, struct slice text);
/* The model has said all: what was still held. */
struct slice seam_end(struct seam *s);
