/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judging text.  A compiled policy is immutable and shared by all threads; each
 * thread has a scratch; each streamed answer has a guard_stream.  Nothing here
 * opens a socket, reads a clock or allocates without a bound.
 */
#pragma once
#include "domain/policy.h"

struct guard_policy;  /* compiled */
struct guard_scratch; /* per thread, for any policy */

/* Compiles a policy. E_INVALID names the rule: an expression that does not compile, or that a stream could not hold
 * back (no bound on its length, or one above 4 KiB) with an action other than flag. A rule that flags may have such
 * expressions: all of the rule are then reported once a text, each where it ends first, located by its last bytes.
 * `source` may go away afterwards. */
int guard_policy_compile(const struct policy *source, struct guard_policy **ret, struct err *err);
void guard_policy_free(struct guard_policy *p);
const char *guard_policy_name(const struct guard_policy *p);
/* Whether the policy has any rule for that side: when not, nothing need be decoded for it. */
bool guard_policy_has(const struct guard_policy *p, enum guard_side side);
/* Whether some rule for that side can change or stop what is sent (mask, fallback, block). */
bool guard_policy_intervenes(const struct guard_policy *p, enum guard_side side);
/* The built-in policy "default": parsed into the arena. */
int guard_default_policy(struct arena *a, struct policy *ret, struct err *err);

struct guard_scratch *guard_scratch_new(void);
void guard_scratch_free(struct guard_scratch *s);

struct guard_hit {
	uint16_t rule;	     /* index into the policy's rules: guard_rule() */
	uint64_t start, end; /* bytes of the text (of the whole stream, for streams) */
};

struct guard_rule_info {
	struct slice id, category, mask;
	enum guard_action action;
	enum guard_severity severity;
	enum guard_kind kind;
};
struct guard_rule_info guard_rule(const struct guard_policy *p, uint16_t rule);

#define GUARD_MAX_HITS 64

struct guard_result {
	enum guard_action action; /* the strongest of all hits */
	bool failed;		  /* a check itself failed: action is what on_error says */
	bool overflow; /* more than GUARD_MAX_HITS hits: the rest was not kept, but counted in action; when one
			* of these was to be masked, the check has failed: the text must not leave with half its masks
			*/
	size_t n_hits;
	struct guard_hit hit[GUARD_MAX_HITS]; /* by start; matches of one rule do not overlap */
};
void guard_result_init(struct guard_result *r);

/* Judges a whole text; adds to *r (init it first), so that several texts can share one result. Offsets are within this
 * text. */
void guard_check(const struct guard_policy *p, struct guard_scratch *s, enum guard_side side, struct slice text,
		 struct guard_result *r);
/* Appends text with every mask hit of r (hits from first_hit on, offsets within this text) replaced. */
struct buf;
int guard_mask(const struct guard_policy *p, const struct guard_result *r, size_t first_hit, struct slice text,
	       struct buf *out);

/*
 * Judging an answer piece by piece.  `safe` says how many bytes of all that was fed may leave: everything before the
 * earliest place where a match that intervenes could still begin.  Rules that only flag hold nothing back.
 */
struct guard_stream;
/* NULL when the policy has no rule for the side, or memory is short (the caller then acts as on_error says). */
struct guard_stream *guard_stream_new(const struct guard_policy *p, struct guard_scratch *s, enum guard_side side);
void guard_stream_free(struct guard_stream *g);
/*
 * Feeds the next piece.  Adds hits to *r as they become certain, with offsets in the whole stream.  *ret_safe: see
 * above. After a hit whose action is block or fallback, *ret_safe stays at the start of that hit.
 */
void guard_stream_feed(struct guard_stream *g, struct slice piece, struct guard_result *r, uint64_t *ret_safe);
/* The text is over: every candidate is decided. */
void guard_stream_end(struct guard_stream *g, struct guard_result *r, uint64_t *ret_safe);
