/* SPDX-License-Identifier: Apache-2.0 */
/* From an application's name for a record to its id.  What is not the same each time must not get into it. */
#include "serving/gateway/log_id.h"

#include "core/base/clock.h"
#include "core/base/err.h"

#define KEY_MAX_BYTES 128
#define AHEAD_US INT64_C(86400000000) /* clocks of others go wrong */

/* "5m" back from now is another moment each time. */
static bool is_moment(struct slice created_at)
{
	int64_t one = 0, other = 0;

	return !clock_parse(created_at, 0, &one) && !clock_parse(created_at, AHEAD_US, &other) && one == other;
}

static bool is_visible(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < 0x21 || s.p[i] > 0x7e)
			return false;
	}
	return s.n > 0 && s.n <= KEY_MAX_BYTES;
}

/* The name in one form: a UUID in lower case, whichever way it came. */
static int read_name(const struct log_name *name, char text[KEY_MAX_BYTES], struct slice *ret, struct uuid *ret_uuid,
		     struct err *err)
{
	if (name->id.p) {
		if (uuid_parse(name->id.p, name->id.n, ret_uuid))
			return err_set(err, E_INVALID,
				       "id must be a UUID: 36 characters as in 019ab3c4-5d6e-7f80-9a0b-1c2d3e4f5061");
		*ret = slice_from(uuid_format(ret_uuid, text));
		if (name->key.p && !slice_eq_nocase(name->key, *ret))
			return err_set(err, E_INVALID, "id and Idempotency-Key name different records: send one");
		return 0;
	}
	if (!is_visible(name->key))
		return err_set(err, E_INVALID, "Idempotency-Key must be 1 to %d visible characters", KEY_MAX_BYTES);
	*ret = name->key;
	if (!uuid_parse(name->key.p, name->key.n, ret_uuid))
		*ret = slice_from(uuid_format(ret_uuid, text));
	return 0;
}

static int64_t moment_of(const struct uuid *u)
{
	int64_t ms = 0;

	if (u->b[6] >> 4 != 7)
		return 0;
	for (size_t i = 0; i < 6; i++)
		ms = ms << 8 | u->b[i];
	return ms * 1000;
}

int log_id_take(const struct log_name *name, int64_t now_us, struct log_record *r, const char **ret_param,
		struct err *err)
{
	struct slice parts[2] = {name->caller};
	char text[KEY_MAX_BYTES];
	struct uuid u = {{0}};
	int64_t at_us;
	int rc;

	if (!name->id.p && !name->key.p)
		return 0;
	*ret_param = name->id.p ? "id" : "Idempotency-Key";
	rc = read_name(name, text, &parts[1], &u, err);
	if (rc)
		return rc;
	at_us = name->created_at.p ? r->created_us : moment_of(&u);
	if (!at_us && !name->created_at.p)
		return err_set(
			err, E_INVALID,
			"it says no time, which the log is ordered by: make it a UUIDv7, or send created_at too, the "
			"same each time");
	if (name->created_at.p)
		*ret_param = "created_at";
	if (name->created_at.p && !is_moment(name->created_at))
		return err_set(
			err, E_INVALID,
			"created_at must be a time such as 2026-11-23T04:50:20Z when the record is named: an age is "
			"another moment each time");
	if (at_us < 0 || at_us > now_us + AHEAD_US)
		return err_set(err, E_INVALID, "it says a time more than a day ahead: look at your clock");
	r->created_us = at_us;
	r->id = uuid_named(at_us, parts, COUNT_OF(parts));
	return 0;
}
