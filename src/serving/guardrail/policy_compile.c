/* SPDX-License-Identifier: Apache-2.0 */
/* From the plain policy to engines.  Everything a compiled policy points to is its own. */
#include <stdlib.h>

#include "serving/guardrail/guard_internal.h"

#define POLICY_MAX_BYTES (16u << 20)

static int copy_rules(struct guard_policy *p, const struct policy *source, struct err *err)
{
	p->name = arena_strndup(&p->arena, source->name.p, source->name.n);
	p->rules = ARENA_ARRAY(&p->arena, struct guard_rule_info, source->n_rules + 1);
	if (!p->name || !p->rules)
		return err_set(err, E_TOOBIG, "the policy is too large");
	for (size_t i = 0; i < source->n_rules; i++) {
		const struct policy_rule *r = &source->rules[i];
		struct guard_rule_info *to = &p->rules[i];

		to->id = arena_slice(&p->arena, r->id);
		to->category = arena_slice(&p->arena, r->category);
		to->action = r->action;
		to->severity = r->severity;
		to->kind = r->kind;
		if (r->mask.p) {
			to->mask = arena_slice(&p->arena, r->mask);
		} else {
			to->mask.p = arena_printf(&p->arena, "[" SLICE_FMT "]", SLICE_ARG(r->id));
			to->mask.n = r->id.n + 2;
		}
		if (!to->id.p || !to->category.p || !to->mask.p)
			return err_set(err, E_TOOBIG, "the policy is too large");
	}
	p->n_rules = source->n_rules;
	return 0;
}

static size_t count_values(const struct policy *source, enum guard_kind kind, enum guard_side side)
{
	size_t n = 0;

	for (size_t i = 0; i < source->n_rules; i++) {
		const struct policy_rule *r = &source->rules[i];

		if (r->kind == kind && (r->side & side))
			n += r->n_values;
	}
	return n;
}

static int compile_literals(struct engine *e, const struct policy *source, enum guard_side side,
			    struct scan_items *items, struct err *err)
{
	size_t n = count_values(source, GUARD_LITERAL, side), k = 0;
	struct literal_source *list;
	int rc;

	if (n == 0)
		return 0;
	list = calloc(n, sizeof(*list));
	if (!list)
		return err_set(err, E_TOOBIG, "out of memory for %zu literals", n);
	for (size_t i = 0; i < source->n_rules; i++) {
		const struct policy_rule *r = &source->rules[i];

		for (size_t v = 0; r->kind == GUARD_LITERAL && (r->side & side) && v < r->n_values; v++)
			list[k++] =
				(struct literal_source){r->values[v], (uint16_t)i, r->anywhere, r->action > GUARD_FLAG};
	}
	rc = literal_set_new(list, n, items, &e->literals, err);
	free(list);
	return rc;
}

static int compile_patterns(struct engine *e, const struct guard_policy *p, const struct policy *source,
			    enum guard_side side, struct scan_items *items, struct err *err)
{
	size_t n = count_values(source, GUARD_PATTERN, side), k = 0;
	struct pattern_source *list;
	int rc;

	if (n == 0)
		return 0;
	list = calloc(n, sizeof(*list));
	if (!list)
		return err_set(err, E_TOOBIG, "out of memory for %zu patterns", n);
	for (size_t i = 0; i < source->n_rules; i++) {
		const struct policy_rule *r = &source->rules[i];

		for (size_t v = 0; r->kind == GUARD_PATTERN && (r->side & side) && v < r->n_values; v++)
			list[k++] = (struct pattern_source){r->values[v], p->rules[i].id.p, (uint16_t)i,
							    r->action > GUARD_FLAG};
	}
	rc = pattern_set_new(list, n, items, &e->patterns, err);
	free(list);
	return rc;
}

static int compile_pii(struct guard_policy *p, struct engine *e, const struct policy *source, enum guard_side side,
		       struct scan_items *items, struct err *err)
{
	unsigned kinds = 0;

	e->pii = ARENA_ARRAY(&p->arena, struct pii_rule, source->n_rules + 1);
	if (!e->pii)
		return err_set(err, E_TOOBIG, "the policy is too large");
	for (size_t i = 0; i < source->n_rules; i++) {
		const struct policy_rule *r = &source->rules[i];
		struct pii_rule *to = &e->pii[e->n_pii];

		if (r->kind != GUARD_PII || !(r->side & side))
			continue;
		*to = (struct pii_rule){.rule = (uint16_t)i};
		for (size_t v = 0; v < r->n_values; v++) {
			unsigned kind = pii_kind_from_name(r->values[v]);

			if (!kind)
				return err_set(err, E_INVALID,
					       "rule '" SLICE_FMT "': there is no recogniser '" SLICE_FMT
					       "'; there are card, email, iban, ssn, phone",
					       SLICE_ARG(r->id), SLICE_ARG(slice_sub(r->values[v], 0, 64)));
			to->kinds |= (uint8_t)kind;
		}
		kinds |= to->kinds;
		e->n_pii++;
	}
	if (pii_items(kinds, items))
		return err_set(err, E_TOOBIG, "out of memory for the recognisers");
	return 0;
}

static int compile_side(struct guard_policy *p, const struct policy *source, enum guard_side side, enum scan_way way,
			struct err *err)
{
	struct engine *e = &p->side[side == GUARD_OUTPUT];
	struct scan_items items = {0};
	int rc;

	for (size_t i = 0; i < source->n_rules; i++) {
		if (source->rules[i].side & side) {
			e->any |= source->rules[i].n_values > 0;
			e->intervenes |= source->rules[i].n_values > 0 && source->rules[i].action > GUARD_FLAG;
		}
	}
	rc = compile_literals(e, source, side, &items, err);
	if (!rc)
		rc = compile_patterns(e, p, source, side, &items, err);
	if (!rc)
		rc = compile_pii(p, e, source, side, &items, err);
	if (!rc && scan_build(&e->scan, &items, way))
		rc = err_set(err, E_TOOBIG, "out of memory for what the policy looks for");
	scan_items_release(&items);
	return rc;
}

static int check_limits(const struct policy *source, struct err *err)
{
	if (source->n_rules > POLICY_MAX_RULES)
		return err_set(err, E_INVALID, "the policy has %zu rules; the limit is %d", source->n_rules,
			       POLICY_MAX_RULES);
	for (size_t i = 0; i < source->n_rules; i++) {
		const struct policy_rule *r = &source->rules[i];

		for (size_t v = 0; v < r->n_values; v++) {
			if (r->values[v].n > POLICY_MAX_VALUE_BYTES)
				return err_set(err, E_INVALID,
					       "rule '" SLICE_FMT "': values[%zu] is longer than %d bytes",
					       SLICE_ARG(r->id), v, POLICY_MAX_VALUE_BYTES);
		}
	}
	return 0;
}

int policy_compile_for(const struct policy *source, enum scan_way way, struct guard_policy **ret, struct err *err)
{
	struct guard_policy *p;
	int rc = check_limits(source, err);

	if (rc)
		return rc;
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(err, E_TOOBIG, "out of memory");
	arena_init(&p->arena, 4096, POLICY_MAX_BYTES);
	p->block_on_error = source->block_on_error;
	rc = copy_rules(p, source, err);
	if (!rc)
		rc = compile_side(p, source, GUARD_INPUT, way, err);
	if (!rc)
		rc = compile_side(p, source, GUARD_OUTPUT, way, err);
	if (rc) {
		guard_policy_free(p);
		return rc;
	}
	*ret = p;
	return 0;
}

int guard_policy_compile(const struct policy *source, struct guard_policy **ret, struct err *err)
{
	return policy_compile_for(source, scan_best_way(), ret, err);
}

void guard_policy_free(struct guard_policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < COUNT_OF(p->side); i++) {
		literal_set_free(p->side[i].literals);
		pattern_set_free(p->side[i].patterns);
	}
	arena_release(&p->arena);
	free(p);
}

const char *guard_policy_name(const struct guard_policy *p)
{
	return p->name;
}

bool guard_policy_has(const struct guard_policy *p, enum guard_side side)
{
	return ((side & GUARD_INPUT) && p->side[0].any) || ((side & GUARD_OUTPUT) && p->side[1].any);
}

bool guard_policy_intervenes(const struct guard_policy *p, enum guard_side side)
{
	return ((side & GUARD_INPUT) && p->side[0].intervenes) || ((side & GUARD_OUTPUT) && p->side[1].intervenes);
}

struct guard_rule_info guard_rule(const struct guard_policy *p, uint16_t rule)
{
	return p->rules[rule];
}

size_t guard_policy_bytes(const struct guard_policy *p)
{
	size_t n = sizeof(*p) + p->arena.used_bytes;

	for (size_t i = 0; i < COUNT_OF(p->side); i++)
		n += literal_set_bytes(p->side[i].literals) + pattern_set_bytes(p->side[i].patterns);
	return n;
}
