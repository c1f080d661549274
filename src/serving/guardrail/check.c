/* SPDX-License-Identifier: Apache-2.0 */
/* Whole texts: judging, masking, and the scratch of a thread. */
#include <stdlib.h>

#include "core/base/buf.h"
#include "serving/guardrail/guard_internal.h"

struct guard_scratch {
	struct pattern_scratch *patterns;
	struct run run;
	struct scan_map map;
	uint64_t *memory; /* of the run */
	size_t memory_bytes;
	unsigned char window[GUARD_WINDOW]; /* of streams */
};

struct guard_scratch *guard_scratch_new(void)
{
	struct guard_scratch *s = calloc(1, sizeof(*s));

	if (s)
		s->patterns = pattern_scratch_new();
	if (s && !s->patterns) {
		free(s);
		s = NULL;
	}
	return s;
}

void guard_scratch_free(struct guard_scratch *s)
{
	if (!s)
		return;
	pattern_scratch_free(s->patterns);
	free(s->memory);
	free(s);
}

size_t guard_scratch_bytes(const struct guard_scratch *s)
{
	return sizeof(*s) + s->memory_bytes + pattern_scratch_bytes(s->patterns);
}

struct pattern_scratch *scratch_patterns(struct guard_scratch *s)
{
	return s->patterns;
}

struct scan_map *scratch_map(struct guard_scratch *s)
{
	return &s->map;
}

struct workplace scratch_workplace(struct guard_scratch *s)
{
	return (struct workplace){&s->run, s->window, s->memory};
}

void guard_result_init(struct guard_result *r)
{
	r->action = GUARD_ALLOW;
	r->failed = false;
	r->overflow = false;
	r->n_hits = 0;
}

/* Grows with the largest policy seen; a steady load allocates nothing. */
int scratch_fit(struct guard_scratch *s, const struct guard_policy *p, const struct engine *e)
{
	size_t need = run_memory(e, p->n_rules);

	if (need > s->memory_bytes) {
		uint64_t *grown = realloc(s->memory, need);

		if (!grown)
			return E_TOOBIG;
		s->memory = grown;
		s->memory_bytes = need;
	}
	return 0;
}

void guard_check(const struct guard_policy *p, struct guard_scratch *s, enum guard_side side, struct slice text,
		 struct guard_result *r)
{
	const struct engine *e = guard_engine(p, side);
	struct window w = {(const unsigned char *)text.p, 0, text.n, true};

	if (!e->any)
		return;
	if (scratch_fit(s, p, e)) {
		r->failed = true;
		if (p->block_on_error)
			r->action = GUARD_BLOCK;
		return;
	}
	run_start(&s->run, p, e, s->memory);
	s->run.scratch = s;
	s->run.result = r;
	s->run.first_hit = r->n_hits;
	(void)run_step(&s->run, &w); /* the text is over: nothing is undecided */
	pattern_run_release(e->patterns, &s->run);
}

/* Which mask is written where several overlap: that of the hit that begins first, then of the longest. */
int guard_mask(const struct guard_policy *p, const struct guard_result *r, size_t first_hit, struct slice text,
	       struct buf *out)
{
	uint64_t done = 0;
	size_t i = first_hit;

	while (i < r->n_hits) {
		const struct guard_hit *h = &r->hit[i];
		const struct guard_hit *name = h;
		uint64_t end = h->end;

		i++;
		if (p->rules[h->rule].action != GUARD_MASK || h->start < done || h->start >= text.n)
			continue;
		for (; i < r->n_hits && r->hit[i].start < end; i++) {
			if (p->rules[r->hit[i].rule].action != GUARD_MASK)
				continue;
			if (r->hit[i].start == name->start && r->hit[i].end > name->end)
				name = &r->hit[i];
			if (r->hit[i].end > end)
				end = r->hit[i].end;
		}
		(void)buf_append(out, text.p + done, (size_t)(h->start - done)); /* a failure stays in the buffer */
		(void)buf_add(out, p->rules[name->rule].mask);
		done = end < text.n ? end : text.n;
	}
	(void)buf_append(out, text.p + done, text.n - (size_t)done);
	return buf_failed(out) ? E_TOOBIG : 0;
}
