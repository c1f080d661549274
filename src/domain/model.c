/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, states and the written form of a model.  model_write and model_parse are two halves of one format that lies on
 * disk (snapshot) and in the database (events): members may be added, never renamed.
 */
#include "domain/model.h"

#include "core/base/clock.h"
#include "core/json/writer.h"

static const char *const status_names[MODEL_N_STATUSES] = {
	[MODEL_CANDIDATE] = "candidate",   [MODEL_TESTING] = "testing",	  [MODEL_CURRENT] = "current",
	[MODEL_DEPRECATED] = "deprecated", [MODEL_ARCHIVED] = "archived",
};

const char *model_status_name(enum model_status s)
{
	return (unsigned)s < MODEL_N_STATUSES ? status_names[s] : "unknown";
}

int model_status_parse(struct slice s, enum model_status *ret, struct err *err)
{
	for (unsigned i = 0; i < MODEL_N_STATUSES; i++) {
		if (slice_eq_str(s, status_names[i])) {
			*ret = (enum model_status)i;
			return 0;
		}
	}
	return err_set(err, E_INVALID,
		       "'" SLICE_FMT "' is not a status: say candidate, testing, current, deprecated or archived",
		       SLICE_ARG(slice_sub(s, 0, 64)));
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_name_char(char c)
{
	return is_alnum(c) || (c && strchr("._-:/", c));
}

static bool is_use_case_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

struct name_rule {
	const char *what, *allowed;
	size_t max;
	bool (*is_char)(char c);
};

static int name_check(const struct name_rule *rule, struct slice s, struct err *err)
{
	if (s.n == 0)
		return err_set(err, E_INVALID, "%s is missing", rule->what);
	if (s.n > rule->max)
		return err_set(err, E_INVALID, "%s is %zu bytes long: at most %zu are taken", rule->what, s.n,
			       rule->max);
	for (size_t i = 0; i < s.n; i++) {
		if (!rule->is_char(s.p[i]))
			return err_set(err, E_INVALID,
				       "%s '" SLICE_FMT "' holds a character that is not allowed: use %s", rule->what,
				       SLICE_ARG(s), rule->allowed);
	}
	return 0;
}

int model_name_check(struct slice name, struct err *err)
{
	static const struct name_rule rule = {"model_name", "letters, digits and . _ - : /", MODEL_NAME_MAX,
					      is_name_char};

	return name_check(&rule, name, err);
}

int model_version_check(struct slice version, struct err *err)
{
	static const struct name_rule rule = {"version", "letters, digits and . _ - : /", MODEL_VERSION_MAX,
					      is_name_char};

	return name_check(&rule, version, err);
}

int use_case_check(struct slice use_case, struct err *err)
{
	static const struct name_rule rule = {"use_case", "lower-case letters, digits, _ and -", USE_CASE_MAX,
					      is_use_case_char};

	return name_check(&rule, use_case, err);
}

void model_ref_split(struct slice ref, struct slice *ret_name, struct slice *ret_version)
{
	ptrdiff_t at = ref.p ? slice_chr(ref, '@') : -1;

	*ret_version = (struct slice){NULL, 0};
	*ret_name = ref;
	if (at < 0)
		return;
	*ret_name = (struct slice){ref.p, (size_t)at};
	*ret_version = (struct slice){ref.p + at + 1, ref.n - (size_t)at - 1};
}

static void time_write(struct json_writer *w, const char *key, int64_t at_us)
{
	char text[CLOCK_ISO_SIZE];

	jw_kcstr(w, key, clock_iso(at_us, text));
}

void model_write(struct json_writer *w, const struct model *m)
{
	char id[UUID_STR_SIZE];

	jw_object(w);
	jw_kcstr(w, "model_id", uuid_format(&m->id, id));
	jw_kstr(w, "model_name", m->name);
	jw_kstr(w, "version", m->version);
	jw_kstr(w, "use_case", m->use_case);
	jw_kstr(w, "model_type", m->model_type);
	jw_kstr(w, "provider", m->provider);
	jw_kraw(w, "configuration", m->configuration.n ? m->configuration : SLICE_LIT("{}"));
	jw_kraw(w, "performance_metrics", m->metrics.n ? m->metrics : SLICE_LIT("{}"));
	jw_kcstr(w, "status", model_status_name(m->status));
	time_write(w, "created_at", m->created_us);
	time_write(w, "updated_at", m->updated_us);
	time_write(w, "status_since", m->status_since_us);
	jw_object_end(w);
}

static int time_parse(const struct json *root, const char *name, int64_t *ret_us, struct err *err)
{
	struct slice text = {NULL, 0};
	int rc = json_get_str(root, name, &text, err);

	if (rc)
		return rc;
	if (text.p && clock_parse(text, 0, ret_us))
		return err_set(err, E_INVALID, "%s is not a time", name);
	return 0;
}

static int object_parse(const struct json *root, const char *name, struct slice *ret_raw, struct err *err)
{
	const struct json *v = json_get(root, name);

	if (!v || v->type == JSON_NULL)
		return 0;
	if (v->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "%s has to be an object, not a %s", name, json_type_name(v->type));
	*ret_raw = v->raw;
	return 0;
}

static int texts_parse(const struct json *root, struct model *m, struct err *err)
{
	const struct {
		const char *name;
		struct slice *at;
	} members[] = {
		{"model_name", &m->name},	{"version", &m->version},   {"use_case", &m->use_case},
		{"model_type", &m->model_type}, {"provider", &m->provider},
	};

	for (size_t i = 0; i < COUNT_OF(members); i++) {
		int rc = json_get_str(root, members[i].name, members[i].at, err);

		if (rc)
			return rc;
	}
	return 0;
}

static int names_check(const struct model *m, struct err *err)
{
	int rc = model_name_check(m->name, err);

	if (!rc)
		rc = model_version_check(m->version, err);
	if (!rc)
		rc = use_case_check(m->use_case, err);
	return rc;
}

int model_parse(const struct json *root, struct model *ret, struct err *err)
{
	struct slice id = {NULL, 0}, status = {NULL, 0};
	struct model m = {0};
	int rc;

	if (!root || root->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "a model has to be an object");
	if ((rc = json_get_str(root, "model_id", &id, err)) || (rc = json_get_str(root, "status", &status, err)) ||
	    (rc = texts_parse(root, &m, err)) || (rc = names_check(&m, err)) ||
	    (rc = object_parse(root, "configuration", &m.configuration, err)) ||
	    (rc = object_parse(root, "performance_metrics", &m.metrics, err)) ||
	    (rc = time_parse(root, "created_at", &m.created_us, err)) ||
	    (rc = time_parse(root, "updated_at", &m.updated_us, err)) ||
	    (rc = time_parse(root, "status_since", &m.status_since_us, err)) ||
	    (rc = model_status_parse(status, &m.status, err)))
		return rc;
	if (uuid_parse(id.p, id.n, &m.id))
		return err_set(err, E_INVALID, "model_id is not a UUID");
	*ret = m;
	return 0;
}
