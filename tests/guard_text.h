/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of guardrails share: a policy from JSON, texts judged whole and in pieces. */
#pragma once
#include "core/base/buf.h"
#include "core/json/json.h"
#include "serving/guardrail/guard_internal.h"

static inline int guard_from_json(const char *text, struct guard_policy **ret, struct err *err)
{
	struct json_parser *parser = json_parser_new();
	struct json *root = NULL;
	struct policy policy;
	struct arena a;
	int rc;

	arena_init(&a, 4096, 64u << 20);
	rc = json_parse_copy(parser, &a, slice_from(text), NULL, &root, err);
	if (!rc)
		rc = policy_parse(&a, root, &policy, err);
	if (!rc)
		rc = guard_policy_compile(&policy, ret, err);
	arena_release(&a);
	json_parser_free(parser);
	return rc;
}

/* Makes a policy ask its parts at every place: what it finds then is what the scan must not lose. */
static inline void guard_ask_everywhere(struct guard_policy *p)
{
	for (size_t i = 0; i < COUNT_OF(p->side); i++) {
		struct scan *s = &p->side[i].scan;

		s->way = SCAN_BY_BYTE;
		memset(s->byte, 0xff, sizeof(s->byte));
		memset(s->before, 0xff, sizeof(s->before));
		s->share[SCAN_LITERAL] = 1000; /* literals then skip nothing */
	}
}

/* "0-4 a, 7-9 b": every hit of the result, by start and then by rule. */
static inline const char *hits_text(const struct guard_policy *p, const struct guard_result *r)
{
	static char text[8192];
	struct guard_hit hit[GUARD_MAX_HITS];
	size_t n = 0;

	memcpy(hit, r->hit, sizeof(hit));
	for (size_t i = 1; i < r->n_hits; i++) {
		for (size_t k = i; k > 0; k--) {
			struct guard_hit *a = &hit[k - 1], *b = &hit[k], swap = *a;

			if (a->start < b->start || (a->start == b->start && a->rule <= b->rule))
				break;
			*a = *b;
			*b = swap;
		}
	}
	text[0] = 0;
	for (size_t i = 0; i < r->n_hits && n < sizeof(text) - 200; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%llu-%llu " SLICE_FMT, i ? ", " : "",
				      (unsigned long long)hit[i].start, (unsigned long long)hit[i].end,
				      SLICE_ARG(guard_rule(p, hit[i].rule).id));
	return text;
}
