/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this directory share.
 *
 * One engine per side (input, output) has three parts: literals, patterns and
 * PII recognisers.  Each part is stepped over a window of text that may grow:
 * a whole text is one step with `over` set, a stream is many.  A part decides
 * only what no further byte can change, so a text gives the same hits however
 * it is cut.  After a step each part says where its earliest undecided
 * candidate begins.  What would break it: a part that decides on bytes it has
 * not seen, or that keeps a candidate without saying so.
 */
#pragma once
#include "core/base/arena.h"
#include "serving/guardrail/guard.h"
#include "serving/guardrail/scan.h"

#define GUARD_MAX_SPAN 4096   /* bytes of the longest match; a longer candidate is none */
#define GUARD_MAX_WS_RUN 64   /* white space bytes that count as one space inside a literal */
#define GUARD_LOOK_BEHIND 8   /* bytes before a candidate that a part may read */
#define GUARD_MAX_PICKS 128   /* matches that wait to be final, of all rules together */
#define GUARD_MAX_MASKED 64   /* mask hits that a stream remembers near its end */
#define GUARD_NONE UINT64_MAX /* no candidate */

/* Bytes [base, base + n) of a text; offsets everywhere are those of the whole text. */
struct window {
	const unsigned char *p;
	uint64_t base;
	size_t n;
	bool over; /* nothing follows */
};

static inline uint64_t window_end(const struct window *w)
{
	return w->base + w->n;
}

/* Where undecided candidates begin: of rules that intervene, and of any rule.  GUARD_NONE when there is none. */
struct live {
	uint64_t hold, any;
};

enum pii_kind { PII_CARD = 1, PII_EMAIL = 2, PII_IBAN = 4, PII_SSN = 8, PII_PHONE = 16 };

struct pii_rule {
	uint16_t rule;
	uint8_t kinds; /* enum pii_kind, or-ed */
};

struct literal_source {
	struct slice text;
	uint16_t rule;
	bool anywhere, intervenes;
};

struct pattern_source {
	struct slice text;
	const char *rule_id; /* for errors */
	uint16_t rule;
	bool intervenes;
};

struct literal_set;
struct pattern_set;

struct engine {
	bool any, intervenes;
	struct literal_set *literals; /* NULL: none */
	struct pattern_set *patterns;
	struct pii_rule *pii;
	size_t n_pii;
	struct scan scan; /* where each of them may begin */
};

struct guard_policy {
	struct arena arena;
	const char *name;
	struct guard_rule_info *rules;
	size_t n_rules;
	bool block_on_error;
	struct engine side[2]; /* input, output */
};

static inline const struct engine *guard_engine(const struct guard_policy *p, enum guard_side side)
{
	return &p->side[side == GUARD_OUTPUT];
}

struct pick {
	uint64_t start, end;
	uint16_t rule;
};

struct literal_cursor {
	uint64_t pos;
	uint32_t state;
	uint8_t kind;	/* of the byte before pos */
	uint8_t ws_run; /* white space bytes before pos, at most GUARD_MAX_WS_RUN */
};

/* Where one text stands.  Lives in the scratch while it is judged. */
struct run {
	const struct guard_policy *policy;
	const struct engine *engine;
	struct guard_scratch *scratch;
	struct guard_result *result;
	size_t first_hit; /* hits before it are not ours: ours are kept in order behind it */
	bool failed;
	uint64_t stop_at; /* start of the first hit that blocks or falls back */
	struct literal_cursor literal;
	uint64_t pattern_pos;	/* patterns have seen everything before it */
	bool pattern_begun;	/* the next two hold something */
	size_t n_pattern_live;	/* entries of pattern_live that are not GUARD_NONE */
	uint64_t *pattern_live; /* per expression: its undecided start, or GUARD_NONE */
	uint64_t *pattern_next; /* per expression: where it may begin next */
	void *pattern_stream;	/* of the expressions without a bound, see pattern.c */
	uint64_t *pii_cursor;	/* per pii rule: what is before it is decided */
	uint64_t *last_end;	/* per rule: end of its last hit */
	size_t n_picks, n_masked;
	/* From here on a stream keeps between two pieces what is in use, and no more. */
	struct pick picks[GUARD_MAX_PICKS];
	struct masked {
		uint64_t start, end;
	} masked[GUARD_MAX_MASKED];
};

#define GUARD_PIECE 8192 /* bytes of a stream judged at once: what bounds the window */
#define GUARD_WINDOW (GUARD_MAX_SPAN + GUARD_LOOK_BEHIND + GUARD_PIECE)

/* policy_compile.c: guard_policy_compile() for one way of looking, which the processor must have. */
int policy_compile_for(const struct policy *source, enum scan_way way, struct guard_policy **ret, struct err *err);

/* run.c */
size_t run_memory(const struct engine *e, size_t n_rules); /* bytes behind the arrays of a run */
void run_place(struct run *r, void *memory);		   /* of the run's policy and engine: where its arrays are */
void run_start(struct run *r, const struct guard_policy *p, const struct engine *e, void *memory);
/* Judges what the window holds beyond what was judged. */
struct live run_step(struct run *r, const struct window *w);
void run_fail(struct run *r); /* a check could not be made */
/* A hit that nothing can change any more. */
void run_emit(struct run *r, uint16_t rule, uint64_t start, uint64_t end);
/* A match that a longer or an earlier one may replace. */
void run_match(struct run *r, uint16_t rule, uint64_t start, uint64_t end);
/* Every match of rules of that kind that begins before the live candidates is final. */
void run_settle(struct run *r, enum guard_kind kind, struct live live);

/* check.c: where the window that is stepped over names places. */
struct scan_map *scratch_map(struct guard_scratch *s);
static inline struct scan_cursor run_places(const struct run *r, const struct window *w, enum scan_part part)
{
	return (struct scan_cursor){&r->engine->scan, scratch_map(r->scratch), w->p, w->n, part};
}

/* literal.c */
/* Adds to `items` where its literals may begin. */
int literal_set_new(const struct literal_source *src, size_t n, struct scan_items *items, struct literal_set **ret,
		    struct err *err);
void literal_set_free(struct literal_set *s);
struct live literal_step(const struct literal_set *s, struct run *r, const struct window *w);
size_t literal_set_bytes(const struct literal_set *s);

/* pattern.c */
int pattern_set_new(const struct pattern_source *src, size_t n, struct scan_items *items, struct pattern_set **ret,
		    struct err *err);
void pattern_set_free(struct pattern_set *s);
size_t pattern_set_count(const struct pattern_set *s); /* expressions: entries of run.pattern_live */
struct live pattern_step(const struct pattern_set *s, struct run *r, const struct window *w);
/* Closes what a run holds of the pattern library. */
void pattern_run_release(const struct pattern_set *s, struct run *r);
size_t pattern_set_bytes(const struct pattern_set *s);
struct pattern_scratch *pattern_scratch_new(void);
void pattern_scratch_free(struct pattern_scratch *s);
/* Makes the scratch fit the set; cheap when it does. */
int pattern_scratch_fit(struct pattern_scratch *s, const struct pattern_set *set);
size_t pattern_scratch_bytes(const struct pattern_scratch *s);
struct pattern_scratch *scratch_patterns(struct guard_scratch *s);
/* check.c: what a stream works in while a piece of it is judged: a run, a window with room for GUARD_WINDOW bytes, and
 * memory for the arrays of the run, which is enough for every policy that it was made to fit. */
struct workplace {
	struct run *run;
	unsigned char *window;
	void *memory;
};
struct workplace scratch_workplace(struct guard_scratch *s);
int scratch_fit(struct guard_scratch *s, const struct guard_policy *p, const struct engine *e);

/* pii.c */
unsigned pii_kind_from_name(struct slice name); /* 0: unknown */
int pii_items(unsigned kinds, struct scan_items *items);
struct live pii_step(struct run *r, const struct window *w);

/* Bytes that the policy and a scratch keep: for tests and figures. */
size_t guard_policy_bytes(const struct guard_policy *p);
size_t guard_scratch_bytes(const struct guard_scratch *s);

static inline bool guard_is_space(unsigned char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool guard_is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static inline bool guard_is_alpha(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Letters, digits, '_' and every byte of a multi-byte character. */
static inline bool guard_is_word(int c)
{
	return guard_is_alpha(c) || guard_is_digit(c) || c == '_' || c >= 0x80;
}
