/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of a use case.  What use_case_write writes, use_case_parse reads back to the same settings: the snapshot
 * on disk and the events depend on it.
 */
#include "domain/use_case.h"

#include "core/base/clock.h"
#include "core/json/writer.h"
#include "domain/timeouts.h"

#define FALLBACK_CONTENT_MAX 65536

static const char *const members[] = {
	"fallback",	   "fallback_content", "policy",  "log",	 "timeouts",	   "use_case",
	"created_at",	   "updated_at",       "retries", "answer_mode", "log_durability", "priority",
	"max_concurrency", "translation",      "cache",	  "budget",	 "token_budget"};

const char *log_mode_name(enum log_mode m)
{
	switch (m) {
	case LOG_FULL:
		return "full";
	case LOG_METADATA:
		return "metadata";
	case LOG_NONE:
		return "none";
	}
	return "unknown";
}

static int log_mode_parse(struct slice s, enum log_mode *ret, struct err *err)
{
	for (unsigned i = LOG_FULL; i <= LOG_NONE; i++) {
		if (slice_eq_str(s, log_mode_name((enum log_mode)i))) {
			*ret = (enum log_mode)i;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "log has to be full, metadata or none, not '" SLICE_FMT "'",
		       SLICE_ARG(slice_sub(s, 0, 64)));
}

const char *answer_mode_name(enum answer_mode m)
{
	static const char *const names[] = {"error", "buffer", "resume"};

	return names[m];
}

static int answer_mode_parse(struct slice s, enum answer_mode *ret, struct err *err)
{
	for (unsigned i = ANSWER_ERROR; i <= ANSWER_RESUME; i++) {
		if (slice_eq_str(s, answer_mode_name((enum answer_mode)i))) {
			*ret = (enum answer_mode)i;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "answer_mode has to be error, buffer or resume, not '" SLICE_FMT "'",
		       SLICE_ARG(slice_sub(s, 0, 64)));
}

const char *priority_name(enum priority p)
{
	static const char *const names[] = {"normal", "low", "high"};

	return names[p];
}

static int load_parse(const struct json *root, struct use_case *u, struct err *err)
{
	struct slice s = {NULL, 0};
	int rc;

	if ((rc = json_get_str(root, "priority", &s, err)) ||
	    (rc = json_get_i64(root, "max_concurrency", &u->max_concurrency, err)))
		return rc;
	if (u->max_concurrency < 0 || u->max_concurrency > USE_CASE_MAX_CONCURRENCY)
		return err_set(err, E_INVALID, "max_concurrency has to be from 0 (any number) to %d, not %lld",
			       USE_CASE_MAX_CONCURRENCY, (long long)u->max_concurrency);
	if (!s.p)
		return 0;
	for (unsigned i = PRIORITY_NORMAL; i <= PRIORITY_HIGH; i++) {
		if (slice_eq_str(s, priority_name((enum priority)i))) {
			u->priority = (enum priority)i;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "priority has to be low, normal or high, not '" SLICE_FMT "'",
		       SLICE_ARG(slice_sub(s, 0, 64)));
}

static int translation_parse(const struct json *root, struct use_case *u, struct err *err)
{
	struct slice s = {NULL, 0};
	int rc = json_get_str(root, "translation", &s, err);

	if (rc || !s.p)
		return rc;
	if (!slice_eq_str(s, "lenient") && !slice_eq_str(s, "strict"))
		return err_set(err, E_INVALID, "translation has to be lenient or strict, not '" SLICE_FMT "'",
			       SLICE_ARG(slice_sub(s, 0, 64)));
	u->translate_strictly = slice_eq_str(s, "strict");
	return 0;
}

static int failing_parse(const struct json *root, struct use_case *u, struct err *err)
{
	struct slice mode = {NULL, 0};
	int64_t retries = -1;
	int rc;

	if ((rc = json_get_i64(root, "retries", &retries, err)) || (rc = json_get_str(root, "answer_mode", &mode, err)))
		return rc;
	if (retries < -1 || retries > USE_CASE_MAX_RETRIES)
		return err_set(err, E_INVALID, "retries has to be from 0 to %d, not %lld", USE_CASE_MAX_RETRIES,
			       (long long)retries);
	u->has_retries = retries >= 0;
	u->retries = retries >= 0 ? (unsigned)retries : 0;
	return mode.p ? answer_mode_parse(mode, &u->answer_mode, err) : 0;
}

static int cache_parse(const struct json *v, struct use_case *u, struct err *err)
{
	struct slice scope = SLICE_LIT("key");
	int64_t ttl = 0;
	struct err why = {0};

	if (!v || v->type == JSON_NULL)
		return 0;
	if (v->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "cache has to be an object with ttl_s, not a %s",
			       json_type_name(v->type));
	if (json_get_i64(v, "ttl_s", &ttl, &why) || json_get_str(v, "scope", &scope, &why))
		return err_set(err, E_INVALID, "cache: %s", why.text);
	if (ttl < 1 || ttl > USE_CASE_MAX_CACHE_S)
		return err_set(err, E_INVALID, "cache.ttl_s has to be from 1 to %d seconds", USE_CASE_MAX_CACHE_S);
	if (!slice_eq_str(scope, "key") && !slice_eq_str(scope, "use_case"))
		return err_set(err, E_INVALID, "cache.scope has to be key or use_case, not '" SLICE_FMT "'",
			       SLICE_ARG(slice_sub(scope, 0, 64)));
	u->cache_ttl_s = ttl;
	u->cache_scope = slice_eq_str(scope, "use_case") ? CACHE_USE_CASE : CACHE_KEY;
	return 0;
}

static int durability_parse(struct slice s, bool *ret_required, struct err *err)
{
	bool required = slice_eq_str(s, "required");

	if (!required && !slice_eq_str(s, "best_effort"))
		return err_set(err, E_INVALID, "log_durability has to be best_effort or required, not '" SLICE_FMT "'",
			       SLICE_ARG(slice_sub(s, 0, 64)));
	*ret_required = required;
	return 0;
}

static int keep(struct arena *a, struct slice s, struct slice *ret, struct err *err)
{
	if (!s.p)
		return 0;
	*ret = arena_slice(a, s);
	return ret->p ? 0 : err_set(err, E_TOOBIG, "the settings of the use case are too large");
}

static int fallback_check(struct slice ref, const struct use_case *u, struct err *err)
{
	struct slice name, version;
	struct err why = {0};

	model_ref_split(ref, &name, &version);
	if (model_name_check(name, &why) || (version.p && model_version_check(version, &why)))
		return err_set(err, E_INVALID, "fallback '" SLICE_FMT "' is not name@version: %s",
			       SLICE_ARG(slice_sub(ref, 0, 64)), why.text);
	for (size_t i = 0; i < u->n_fallback; i++) {
		if (slice_eq(u->fallback[i], ref))
			return err_set(err, E_INVALID, "fallback '" SLICE_FMT "' is named twice", SLICE_ARG(ref));
	}
	return 0;
}

static int fallbacks_parse(struct arena *a, const struct json *list, struct use_case *u, struct err *err)
{
	if (!list || list->type == JSON_NULL)
		return 0;
	if (list->type != JSON_ARRAY)
		return err_set(err, E_INVALID, "fallback has to be an array of \"name@version\", not a %s",
			       json_type_name(list->type));
	for (const struct json *v = list->first; v; v = v->next) {
		int rc;

		if (v->type != JSON_STRING)
			return err_set(err, E_INVALID, "fallback has to hold strings \"name@version\", not a %s",
				       json_type_name(v->type));
		if (u->n_fallback == USE_CASE_MAX_FALLBACKS)
			return err_set(err, E_INVALID, "fallback names more than %d models", USE_CASE_MAX_FALLBACKS);
		rc = fallback_check(v->str, u, err);
		if (!rc)
			rc = keep(a, v->str, &u->fallback[u->n_fallback], err);
		if (rc)
			return rc;
		u->n_fallback++;
	}
	return 0;
}

static int texts_parse(struct arena *a, const struct json *root, struct use_case *u, struct err *err)
{
	struct slice content = {NULL, 0}, policy = {NULL, 0}, log = {NULL, 0}, durability = {NULL, 0};
	int rc;

	if ((rc = json_get_str(root, "fallback_content", &content, err)) ||
	    (rc = json_get_str(root, "policy", &policy, err)) || (rc = json_get_str(root, "log", &log, err)) ||
	    (rc = json_get_str(root, "log_durability", &durability, err)))
		return rc;
	if (content.n > FALLBACK_CONTENT_MAX)
		return err_set(err, E_INVALID, "fallback_content is %zu bytes long: at most %d are taken", content.n,
			       FALLBACK_CONTENT_MAX);
	if (policy.p && use_case_check(policy, NULL))
		return err_set(
			err, E_INVALID,
			"policy has to be the name of a guardrail policy, or none to check nothing, not '" SLICE_FMT
			"'",
			SLICE_ARG(slice_sub(policy, 0, 64)));
	if (log.p && (rc = log_mode_parse(log, &u->log, err)))
		return rc;
	if (durability.p && (rc = durability_parse(durability, &u->log_required, err)))
		return rc;
	rc = keep(a, content, &u->fallback_content, err);
	return rc ? rc : keep(a, policy, &u->policy, err);
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

static int written_parse(const struct json *root, struct slice name, struct use_case *u, struct err *err)
{
	struct slice said = name;
	int rc = json_get_str(root, "use_case", &said, err);

	if (rc)
		return rc;
	if (!slice_eq(said, name))
		return err_set(err, E_INVALID,
			       "these are the settings of use case '" SLICE_FMT "', not of '" SLICE_FMT "'",
			       SLICE_ARG(slice_sub(said, 0, 64)), SLICE_ARG(name));
	if ((rc = time_parse(root, "created_at", &u->created_us, err)))
		return rc;
	return time_parse(root, "updated_at", &u->updated_us, err);
}

int use_case_parse(struct arena *a, struct slice name, const struct json *settings, struct use_case *ret,
		   struct err *err)
{
	struct use_case u = {0};
	struct timeouts t = {0};
	int rc;

	if ((rc = use_case_check(name, err)) || (rc = keep(a, name, &u.name, err)))
		return rc;
	if (settings && settings->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "the settings of a use case have to be an object, not a %s",
			       json_type_name(settings->type));
	if ((rc = written_parse(settings, name, &u, err)) ||
	    (rc = fallbacks_parse(a, json_get(settings, "fallback"), &u, err)) ||
	    (rc = texts_parse(a, settings, &u, err)) ||
	    (rc = timeouts_parse(json_get(settings, "timeouts"), &t, err)) || (rc = failing_parse(settings, &u, err)) ||
	    (rc = load_parse(settings, &u, err)) || (rc = translation_parse(settings, &u, err)) ||
	    (rc = budgets_parse(settings, &u.budgets, err)) || (rc = cache_parse(json_get(settings, "cache"), &u, err)))
		return rc;
	u.connect_timeout_ms = t.connect_ms;
	u.first_byte_timeout_ms = t.first_byte_ms;
	u.between_timeout_ms = t.between_ms;
	u.total_timeout_ms = t.total_ms;
	*ret = u;
	return 0;
}

static void text_write(struct json_writer *w, const char *key, struct slice s)
{
	jw_key(w, key);
	if (s.p)
		jw_str(w, s);
	else
		jw_null(w);
}

void use_case_write(struct json_writer *w, const struct use_case *u)
{
	struct timeouts t = {u->connect_timeout_ms, u->first_byte_timeout_ms, u->between_timeout_ms,
			     u->total_timeout_ms};
	char at[CLOCK_ISO_SIZE];

	jw_object(w);
	jw_kstr(w, "use_case", u->name);
	jw_key(w, "fallback");
	jw_array(w);
	for (size_t i = 0; i < u->n_fallback; i++)
		jw_str(w, u->fallback[i]);
	jw_array_end(w);
	text_write(w, "fallback_content", u->fallback_content);
	text_write(w, "policy", u->policy);
	jw_kcstr(w, "log", log_mode_name(u->log));
	jw_kcstr(w, "log_durability", u->log_required ? "required" : "best_effort");
	jw_key(w, "timeouts");
	timeouts_write(w, &t);
	jw_key(w, "retries");
	if (u->has_retries)
		jw_i64(w, u->retries);
	else
		jw_null(w);
	jw_kcstr(w, "answer_mode", answer_mode_name(u->answer_mode));
	jw_kcstr(w, "translation", u->translate_strictly ? "strict" : "lenient");
	jw_kcstr(w, "priority", priority_name(u->priority));
	if (u->cache_ttl_s) {
		jw_key(w, "cache");
		jw_object(w);
		jw_ki64(w, "ttl_s", u->cache_ttl_s);
		jw_kcstr(w, "scope", u->cache_scope == CACHE_USE_CASE ? "use_case" : "key");
		jw_object_end(w);
	}
	jw_ki64(w, "max_concurrency", u->max_concurrency);
	budgets_write(w, &u->budgets);
	if (u->created_us)
		jw_kcstr(w, "created_at", clock_iso(u->created_us, at));
	if (u->updated_us)
		jw_kcstr(w, "updated_at", clock_iso(u->updated_us, at));
	jw_object_end(w);
}

int use_case_settings_check(const struct json *settings, struct err *err)
{
	for (const struct json *v = settings && settings->type == JSON_OBJECT ? settings->first : NULL; v;
	     v = v->next) {
		const char *nearest = members[0];
		bool known = false;

		for (size_t i = 0; i < COUNT_OF(members) && !known; i++) {
			known = slice_eq_str(v->key, members[i]);
			if (slice_distance(v->key, slice_from(members[i])) <
			    slice_distance(v->key, slice_from(nearest)))
				nearest = members[i];
		}
		if (!known)
			return err_set(err, E_INVALID, "a use case has no setting '" SLICE_FMT "': did you mean '%s'?",
				       SLICE_ARG(slice_sub(v->key, 0, 64)), nearest);
		if (json_duplicate(settings, nearest))
			return err_set(err, E_INVALID, "the setting '%s' is there twice", nearest);
	}
	return 0;
}

struct slice use_case_of_layer(struct slice layer, char ret[USE_CASE_MAX + 8])
{
	static const char suffix[] = "_layer";
	size_t n = layer.n;

	if (n == 0 || n > USE_CASE_MAX)
		return (struct slice){NULL, 0};
	memcpy(ret, layer.p, n);
	if (!slice_ends(layer, SLICE_LIT("_layer"))) {
		memcpy(ret + n, suffix, sizeof(suffix) - 1);
		n += sizeof(suffix) - 1;
	}
	ret[n] = '\0';
	return (struct slice){ret, n};
}
