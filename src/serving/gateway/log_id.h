/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The id of a record that an application names itself, so that it may send it again: the same name from the same caller
 * for the same moment makes the same id, whichever daemon is asked and whatever it remembers.
 *
 * Ids are ordered by time, and lists, `since` and retention rest on that; so the id begins with the moment of the
 * record, and a digest fills the rest.  The moment is created_at, or stands in the name when that is a UUIDv7; a name
 * without either has none, and is refused.  Version 8 tells such an id from those that Muster makes: nobody can name a
 * record that another has.
 */
#pragma once
#include "domain/record.h"

struct log_name {
	struct slice id, key;	 /* the member `id`, the header Idempotency-Key; absent: not given */
	struct slice created_at; /* as it came; absent: not given */
	struct slice caller;
};

/*
 * Sets r->id and r->created_us (which holds created_at already, or the time now); neither when the record has no name.
 * E_INVALID: the error says what is wrong with the name, *ret_param with which part of the request.
 */
int log_id_take(const struct log_name *name, int64_t now_us, struct log_record *r, const char **ret_param,
		struct err *err);
