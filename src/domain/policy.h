/* SPDX-License-Identifier: Apache-2.0 */
/* A guardrail policy: which checks run, on what, and what happens.  Plain data; serving/guardrail compiles it. */
#pragma once
#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/json/json.h"

enum guard_action { /* ordered: the strongest of several hits wins */
		    GUARD_ALLOW,
		    GUARD_FLAG,	    /* record it, change nothing */
		    GUARD_MASK,	    /* replace the match */
		    GUARD_FALLBACK, /* answer with the fallback content */
		    GUARD_BLOCK,    /* refuse the request, or end the answer */
		    GUARD_N_ACTIONS,
};

enum guard_severity { GUARD_LOW, GUARD_MEDIUM, GUARD_HIGH, GUARD_CRITICAL };

enum guard_side { GUARD_INPUT = 1, GUARD_OUTPUT = 2, GUARD_BOTH = 3 };

enum guard_kind {
	GUARD_LITERAL, /* words and phrases: ASCII case-insensitive, white space runs equal one space, at word
			  boundaries unless anywhere */
	GUARD_PATTERN, /* regular expressions (vectorscan's PCRE subset) */
	GUARD_PII,     /* structured recognisers, by name: card, email, iban, ssn, phone */
};

struct policy_rule {
	struct slice id;       /* unique within the policy: [a-z0-9_.-], at most 64 bytes */
	struct slice category; /* free text: "pii", "secrets", "injection", "self_harm", ... */
	enum guard_kind kind;
	enum guard_action action; /* FLAG .. BLOCK */
	enum guard_severity severity;
	enum guard_side side;
	struct slice *values; /* literals, expressions, or recogniser names */
	size_t n_values;
	bool anywhere;	   /* literals: also inside words */
	struct slice mask; /* what replaces a match; absent: "[" + id + "]" */
};

#define POLICY_MAX_RULES 256
#define POLICY_MAX_VALUES 20000
#define POLICY_MAX_VALUE_BYTES 512

struct policy {
	struct slice name;
	struct slice description;
	struct policy_rule *rules;
	size_t n_rules;
	bool block_on_error; /* on_error: what to do when a check itself fails; default block */
};

/*
 * {"name", "description", "on_error": "block"|"allow",
 *  "rules": [{"id", "category", "kind": "literal"|"pattern"|"pii", "action", "severity", "side":
 * "input"|"output"|"both", "values": [...], "anywhere", "mask"}]} Checked whole; E_INVALID names the rule and the
 * member.  Everything is copied into the arena.
 */
int policy_parse(struct arena *a, const struct json *root, struct policy *ret, struct err *err);
struct json_writer;
void policy_write(struct json_writer *w, const struct policy *p);

const char *guard_action_name(enum guard_action a);
const char *guard_severity_name(enum guard_severity s);
const char *guard_side_name(enum guard_side s);
const char *guard_kind_name(enum guard_kind k);
