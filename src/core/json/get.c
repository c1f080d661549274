/* SPDX-License-Identifier: Apache-2.0 */
/* Looking things up in a parsed tree.  Members are few: they are compared one after the other. */
#include "core/json/json.h"

static const struct json *find(const struct json *from, struct slice name)
{
	for (; from; from = from->next)
		if (slice_eq(from->key, name))
			return from;
	return NULL;
}

const struct json *json_get(const struct json *obj, const char *name)
{
	return obj && obj->type == JSON_OBJECT ? find(obj->first, slice_from(name)) : NULL;
}

const struct json *json_duplicate(const struct json *obj, const char *name)
{
	const struct json *first = json_get(obj, name);

	return first ? find(first->next, slice_from(name)) : NULL;
}

static const char *with_article(enum json_type t)
{
	static const char *const names[] = {"null", "a boolean", "a number", "a string", "an array", "an object"};

	return names[t];
}

const char *json_type_name(enum json_type t)
{
	static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};

	return names[t];
}

/* *ret_member is left alone when the member is absent or null. */
static int typed(const struct json *obj, const char *name, enum json_type type, const struct json **ret_member,
		 struct err *err)
{
	const struct json *m = json_get(obj, name);

	if (!m || m->type == JSON_NULL)
		return 0;
	if (m->type != type)
		return err_set(err, E_INVALID, "'%s' must be %s, not %s", name, with_article(type),
			       with_article(m->type));
	*ret_member = m;
	return 0;
}

int json_get_str(const struct json *obj, const char *name, struct slice *ret, struct err *err)
{
	const struct json *m = NULL;
	int rc = typed(obj, name, JSON_STRING, &m, err);

	if (!rc && m)
		*ret = m->str;
	return rc;
}

int json_get_i64(const struct json *obj, const char *name, int64_t *ret, struct err *err)
{
	const struct json *m = NULL;
	int rc = typed(obj, name, JSON_NUMBER, &m, err);

	if (rc || !m)
		return rc;
	if (!m->is_integer)
		return err_set(err, E_INVALID, "'%s' must be a whole number", name);
	*ret = m->integer;
	return 0;
}

int json_get_double(const struct json *obj, const char *name, double *ret, struct err *err)
{
	const struct json *m = NULL;
	int rc = typed(obj, name, JSON_NUMBER, &m, err);

	if (!rc && m)
		*ret = m->number;
	return rc;
}

int json_get_bool(const struct json *obj, const char *name, bool *ret, struct err *err)
{
	const struct json *m = NULL;
	int rc = typed(obj, name, JSON_BOOL, &m, err);

	if (!rc && m)
		*ret = m->boolean;
	return rc;
}
