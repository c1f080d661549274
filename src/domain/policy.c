/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes guardrail policies.  A policy is checked whole before
 * anything of it is used; what it cannot check here (whether an expression
 * compiles) is checked where it is compiled.
 */
#include "domain/policy.h"

#include "core/base/map.h"
#include "core/json/writer.h"

struct names {
	const char *const *name; /* by value; NULL: not a value */
	size_t n;
	const char *choices;
};

static const char *const action_names[] = {"allow", "flag", "mask", "fallback", "block"};
static const char *const severity_names[] = {"low", "medium", "high", "critical"};
static const char *const side_names[] = {NULL, "input", "output", "both"};
static const char *const kind_names[] = {"literal", "pattern", "pii"};
static const char *const rule_action_names[] = {NULL, "flag", "mask", "fallback", "block"};

static const struct names actions = {rule_action_names, COUNT_OF(rule_action_names), "flag, mask, fallback, block"};
static const struct names severities = {severity_names, COUNT_OF(severity_names), "low, medium, high, critical"};
static const struct names sides = {side_names, COUNT_OF(side_names), "input, output, both"};
static const struct names kinds = {kind_names, COUNT_OF(kind_names), "literal, pattern, pii"};

static const char *const pii_names[] = {"card", "email", "iban", "ssn", "phone"};

const char *guard_action_name(enum guard_action a)
{
	return (unsigned)a < COUNT_OF(action_names) ? action_names[a] : "unknown";
}

const char *guard_severity_name(enum guard_severity s)
{
	return (unsigned)s < COUNT_OF(severity_names) ? severity_names[s] : "unknown";
}

const char *guard_side_name(enum guard_side s)
{
	return (unsigned)s < COUNT_OF(side_names) && side_names[s] ? side_names[s] : "unknown";
}

const char *guard_kind_name(enum guard_kind k)
{
	return (unsigned)k < COUNT_OF(kind_names) ? kind_names[k] : "unknown";
}

/* A string member, copied; absent or null leaves *ret alone. */
static int copy_member(struct arena *a, const struct json *obj, const char *name, struct slice *ret, struct err *err)
{
	struct slice text = {NULL, 0};
	int rc = json_get_str(obj, name, &text, err);

	if (rc || !text.p)
		return rc;
	*ret = arena_slice(a, text);
	return ret->p ? 0 : err_set(err, E_TOOBIG, "the policy is too large");
}

/* One of a few words; absent leaves *ret alone. */
static int choice_member(const struct json *obj, const char *name, const struct names *of, unsigned *ret,
			 struct err *err)
{
	struct slice text = {NULL, 0};
	int rc = json_get_str(obj, name, &text, err);

	if (rc || !text.p)
		return rc;
	for (size_t i = 0; i < of->n; i++) {
		if (of->name[i] && slice_eq_str(text, of->name[i])) {
			*ret = (unsigned)i;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "%s must be one of %s", name, of->choices);
}

static int only_members(const struct json *obj, const char *const *known, size_t n, struct err *err)
{
	for (const struct json *m = obj->first; m; m = m->next) {
		const char *nearest = known[0];
		bool found = false;

		for (size_t i = 0; i < n && !found; i++) {
			found = slice_eq_str(m->key, known[i]);
			if (slice_distance(m->key, slice_from(known[i])) < slice_distance(m->key, slice_from(nearest)))
				nearest = known[i];
		}
		if (!found)
			return err_set(err, E_INVALID, "there is no member '" SLICE_FMT "'; the nearest is '%s'",
				       SLICE_ARG(slice_sub(m->key, 0, 64)), nearest);
		if (json_duplicate(obj, nearest))
			return err_set(err, E_INVALID, "%s is given twice", nearest);
	}
	return 0;
}

static bool id_is_valid(struct slice id)
{
	if (id.n == 0 || id.n > 64)
		return false;
	for (size_t i = 0; i < id.n; i++) {
		char c = id.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-'))
			return false;
	}
	return true;
}

static bool is_blank(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != ' ' && (s.p[i] < '\t' || s.p[i] > '\r'))
			return false;
	}
	return true;
}

static int check_value(enum guard_kind kind, const struct json *v, size_t nth, struct err *err)
{
	if (v->type != JSON_STRING)
		return err_set(err, E_INVALID, "values[%zu] must be a string, not %s", nth, json_type_name(v->type));
	if (v->str.n > POLICY_MAX_VALUE_BYTES)
		return err_set(err, E_INVALID, "values[%zu] has %zu bytes; the limit is %d", nth, v->str.n,
			       POLICY_MAX_VALUE_BYTES);
	if (is_blank(v->str))
		return err_set(err, E_INVALID, "values[%zu] is empty", nth);
	if (kind == GUARD_PATTERN && memchr(v->str.p, 0, v->str.n))
		return err_set(err, E_INVALID, "values[%zu] has a NUL byte; write \\x00", nth);
	if (kind != GUARD_PII)
		return 0;
	for (size_t i = 0; i < COUNT_OF(pii_names); i++) {
		if (slice_eq_str(v->str, pii_names[i]))
			return 0;
	}
	return err_set(err, E_INVALID, "values[%zu] must be one of card, email, iban, ssn, phone", nth);
}

static int parse_values(struct arena *a, const struct json *obj, struct policy_rule *rule, struct err *err)
{
	const struct json *values = json_get(obj, "values");
	int rc;

	if (!values || values->type != JSON_ARRAY || values->n_items == 0)
		return err_set(err, E_INVALID, "values must be an array with at least one string");
	if (values->n_items > POLICY_MAX_VALUES)
		return err_set(err, E_INVALID, "values has %u entries; the limit for a policy is %d", values->n_items,
			       POLICY_MAX_VALUES);
	rule->values = ARENA_ARRAY(a, struct slice, values->n_items);
	if (!rule->values)
		return err_set(err, E_TOOBIG, "the policy is too large");
	for (const struct json *v = values->first; v; v = v->next) {
		rc = check_value(rule->kind, v, rule->n_values, err);
		if (rc)
			return rc;
		rule->values[rule->n_values] = arena_slice(a, v->str);
		if (!rule->values[rule->n_values++].p)
			return err_set(err, E_TOOBIG, "the policy is too large");
	}
	return 0;
}

static int need(const struct json *obj, const char *name, struct err *err)
{
	const struct json *m = json_get(obj, name);

	return m && m->type != JSON_NULL ? 0 : err_set(err, E_INVALID, "%s is missing", name);
}

static int check_needed(const struct json *obj, struct err *err)
{
	static const char *const needed[] = {"kind", "action", "values"};

	for (size_t i = 0; i < COUNT_OF(needed); i++) {
		int rc = need(obj, needed[i], err);

		if (rc)
			return rc;
	}
	return 0;
}

static int parse_choices(const struct json *obj, struct policy_rule *rule, struct err *err)
{
	unsigned kind = GUARD_LITERAL, action = GUARD_FLAG, severity = GUARD_MEDIUM, side = GUARD_BOTH;
	int rc;

	if ((rc = choice_member(obj, "kind", &kinds, &kind, err)) ||
	    (rc = choice_member(obj, "action", &actions, &action, err)) ||
	    (rc = choice_member(obj, "severity", &severities, &severity, err)) ||
	    (rc = choice_member(obj, "side", &sides, &side, err)))
		return rc;
	rule->kind = (enum guard_kind)kind;
	rule->action = (enum guard_action)action;
	rule->severity = (enum guard_severity)severity;
	rule->side = (enum guard_side)side;
	return 0;
}

static int parse_rule_members(struct arena *a, const struct json *obj, struct policy_rule *rule, struct err *err)
{
	static const char *const known[] = {"id",   "category", "kind",	    "action", "severity",
					    "side", "values",	"anywhere", "mask"};
	int rc;

	rule->category = SLICE_LIT("");
	if ((rc = only_members(obj, known, COUNT_OF(known), err)) || (rc = check_needed(obj, err)) ||
	    (rc = parse_choices(obj, rule, err)) || (rc = copy_member(a, obj, "category", &rule->category, err)) ||
	    (rc = copy_member(a, obj, "mask", &rule->mask, err)) ||
	    (rc = json_get_bool(obj, "anywhere", &rule->anywhere, err)))
		return rc;
	if (rule->category.n > 64)
		return err_set(err, E_INVALID, "category has %zu bytes; the limit is 64", rule->category.n);
	if (rule->mask.n > POLICY_MAX_VALUE_BYTES)
		return err_set(err, E_INVALID, "mask has %zu bytes; the limit is %d", rule->mask.n,
			       POLICY_MAX_VALUE_BYTES);
	if (rule->anywhere && rule->kind != GUARD_LITERAL)
		return err_set(err, E_INVALID, "anywhere is for literals only");
	return parse_values(a, obj, rule, err);
}

static int parse_rule(struct arena *a, const struct json *obj, size_t nth, struct policy_rule *rule, struct err *err)
{
	int rc;

	if (obj->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "rules[%zu] must be an object, not %s", nth, json_type_name(obj->type));
	rc = copy_member(a, obj, "id", &rule->id, err);
	if (!rc && !id_is_valid(rule->id))
		rc = err_set(err, E_INVALID, "id must be 1 to 64 characters of a-z, 0-9, '_', '.', '-'");
	if (rc) {
		err_prefix(err, "rules[%zu]", nth);
		return rc;
	}
	rc = parse_rule_members(a, obj, rule, err);
	if (rc)
		err_prefix(err, "rule '" SLICE_FMT "'", SLICE_ARG(rule->id));
	return rc;
}

static int check_unique(const struct policy *p, struct err *err)
{
	CLEANUP(map_release) struct map seen;

	map_init(&seen);
	for (size_t i = 0; i < p->n_rules; i++) {
		if (map_put(&seen, p->rules[i].id, &p->rules[i]))
			return err_set(err, E_INVALID, "rule '" SLICE_FMT "': the id is used twice",
				       SLICE_ARG(p->rules[i].id));
	}
	return 0;
}

static int parse_rules(struct arena *a, const struct json *rules, struct policy *p, struct err *err)
{
	size_t n_values = 0;

	if (!rules || rules->type == JSON_NULL)
		return 0;
	if (rules->type != JSON_ARRAY)
		return err_set(err, E_INVALID, "rules must be an array, not %s", json_type_name(rules->type));
	if (rules->n_items > POLICY_MAX_RULES)
		return err_set(err, E_INVALID, "rules has %u entries; the limit is %d", rules->n_items,
			       POLICY_MAX_RULES);
	p->rules = ARENA_ARRAY(a, struct policy_rule, rules->n_items ? rules->n_items : 1);
	if (!p->rules)
		return err_set(err, E_TOOBIG, "the policy is too large");
	for (const struct json *r = rules->first; r; r = r->next) {
		int rc = parse_rule(a, r, p->n_rules, &p->rules[p->n_rules], err);

		if (rc)
			return rc;
		n_values += p->rules[p->n_rules++].n_values;
		if (n_values > POLICY_MAX_VALUES)
			return err_set(err, E_INVALID, "the rules have more than %d values together",
				       POLICY_MAX_VALUES);
	}
	return check_unique(p, err);
}

static int parse_on_error(const struct json *root, struct policy *p, struct err *err)
{
	struct slice text = {NULL, 0};
	int rc = json_get_str(root, "on_error", &text, err);

	if (rc)
		return rc;
	p->block_on_error = !text.p || slice_eq_str(text, "block");
	if (!p->block_on_error && !slice_eq_str(text, "allow"))
		return err_set(err, E_INVALID, "on_error must be one of block, allow");
	return 0;
}

int policy_parse(struct arena *a, const struct json *root, struct policy *ret, struct err *err)
{
	static const char *const known[] = {"name", "description", "on_error", "rules"};
	struct policy p = {.name = {NULL, 0}, .description = SLICE_LIT("")};
	int rc;

	if (!root || root->type != JSON_OBJECT)
		return err_set(err, E_INVALID, "a policy must be an object");
	if ((rc = only_members(root, known, COUNT_OF(known), err)) || (rc = copy_member(a, root, "name", &p.name, err)))
		return rc;
	if (!id_is_valid(p.name))
		return err_set(err, E_INVALID, "name must be 1 to 64 characters of a-z, 0-9, '_', '.', '-'");
	if ((rc = copy_member(a, root, "description", &p.description, err)) || (rc = parse_on_error(root, &p, err)) ||
	    (rc = parse_rules(a, json_get(root, "rules"), &p, err)))
		return rc;
	if (p.description.n > POLICY_MAX_VALUE_BYTES)
		return err_set(err, E_INVALID, "description has %zu bytes; the limit is %d", p.description.n,
			       POLICY_MAX_VALUE_BYTES);
	*ret = p;
	return 0;
}

static void write_rule(struct json_writer *w, const struct policy_rule *r)
{
	jw_object(w);
	jw_kstr(w, "id", r->id);
	jw_kstr(w, "category", r->category);
	jw_kcstr(w, "kind", guard_kind_name(r->kind));
	jw_kcstr(w, "action", guard_action_name(r->action));
	jw_kcstr(w, "severity", guard_severity_name(r->severity));
	jw_kcstr(w, "side", guard_side_name(r->side));
	if (r->anywhere)
		jw_kbool(w, "anywhere", true);
	if (r->mask.p)
		jw_kstr(w, "mask", r->mask);
	jw_key(w, "values");
	jw_array(w);
	for (size_t i = 0; i < r->n_values; i++)
		jw_str(w, r->values[i]);
	jw_array_end(w);
	jw_object_end(w);
}

void policy_write(struct json_writer *w, const struct policy *p)
{
	jw_object(w);
	jw_kstr(w, "name", p->name);
	jw_kstr(w, "description", p->description);
	jw_kcstr(w, "on_error", p->block_on_error ? "block" : "allow");
	jw_key(w, "rules");
	jw_array(w);
	for (size_t i = 0; i < p->n_rules; i++)
		write_rule(w, &p->rules[i]);
	jw_array_end(w);
	jw_object_end(w);
}
