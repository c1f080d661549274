/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of tools that an answer makes, for the log: as the caller gets them, with what a policy masks masked.  Of a
 * stream they are gathered as they leave (hold.c); of a whole answer they stand in its parts.
 */
#pragma once
#include "domain/chat.h"

struct exchange;

/* Of one stream.  Zeroed at the start. */
struct calls {
	struct call *call;
	size_t n, n_bytes; /* LOG_TEXT_MAX at most */
	unsigned n_begun;
	bool is_full; /* a call found no room */
};

/* passes: the event leaves as it came, so that no id is made for a call that has none. */
void calls_begin(struct exchange *e, unsigned channel, struct slice id, struct slice name, bool passes);
void calls_add(struct exchange *e, unsigned channel, struct slice arguments);
/* n bytes that cannot be told as the caller got them. */
void calls_omit(struct exchange *e, unsigned channel, size_t n);
void calls_release(struct calls *c);
/* Those of the exchange's answer, as a JSON array of at most room bytes; absent: there are none. */
struct slice calls_json(struct exchange *e, size_t room);
/* Whether an application tells calls as the log does. */
bool calls_are_told(const struct json *calls);
