/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing `timeouts`.  A misspelt member would silently leave a default in force, so unknown ones are
 * refused. */
#include "domain/timeouts.h"

#include "core/json/writer.h"

static int one_parse(const struct json *v, int64_t *ret, struct err *err)
{
	if (v->type == JSON_NULL)
		return 0;
	if (v->type != JSON_NUMBER || !v->is_integer || v->integer < 0 || v->integer > TIMEOUT_MAX_MS)
		return err_set(err, E_INVALID,
			       "timeouts." SLICE_FMT " has to be a whole number of milliseconds from 0 to %lld",
			       SLICE_ARG(v->key), (long long)TIMEOUT_MAX_MS);
	*ret = v->integer;
	return 0;
}

static int64_t *member_of(struct timeouts *t, struct slice key)
{
	if (slice_eq_str(key, "connect_ms"))
		return &t->connect_ms;
	if (slice_eq_str(key, "first_byte_ms"))
		return &t->first_byte_ms;
	if (slice_eq_str(key, "between_ms"))
		return &t->between_ms;
	if (slice_eq_str(key, "total_ms"))
		return &t->total_ms;
	return NULL;
}

int timeouts_parse(const struct json *obj, struct timeouts *ret, struct err *err)
{
	struct timeouts t = *ret;

	if (!obj || obj->type == JSON_NULL)
		return 0;
	if (obj->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "timeouts has to be an object, not a %s", json_type_name(obj->type));
	for (const struct json *v = obj->first; v; v = v->next) {
		int64_t *at = member_of(&t, v->key);
		int rc;

		if (!at)
			return err_set(err, E_INVALID,
				       "timeouts has no member '" SLICE_FMT
				       "': it takes connect_ms, first_byte_ms, between_ms and total_ms",
				       SLICE_ARG(slice_sub(v->key, 0, 64)));
		rc = one_parse(v, at, err);
		if (rc)
			return rc;
	}
	*ret = t;
	return 0;
}

void timeouts_write(struct json_writer *w, const struct timeouts *t)
{
	jw_object(w);
	jw_ki64(w, "connect_ms", t->connect_ms);
	jw_ki64(w, "first_byte_ms", t->first_byte_ms);
	jw_ki64(w, "between_ms", t->between_ms);
	jw_ki64(w, "total_ms", t->total_ms);
	jw_object_end(w);
}
