/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An API key: who holds it, what it may do, until when and how fast.  The key itself is known to its holder alone: what
 * is kept of it is its SHA-256, which is enough, since a key is 256 random bits that nobody can try out.
 */
#pragma once
#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/base/uuid.h"
#include "core/json/json.h"
#include "domain/budget.h"

#define KEY_TEXT_SIZE 68   /* "mk_", 64 hexadecimal digits, NUL */
#define KEY_DIGEST_SIZE 65 /* hexadecimal SHA-256, NUL */
#define KEY_NAME_MAX 64
#define KEY_MAX_USE_CASES 64
#define KEY_MAX_PER_MINUTE 1000000000
#define KEY_MAX_LIFE_US INT64_C(3153600000000000) /* a hundred years */

/* Each may do what those before it may. */
enum key_role {
	KEY_CLIENT,   /* inference, guardrail checks, log records, models that serve */
	KEY_OPERATOR, /* reads everything but keys; promotes, rolls back, deploys, changes statuses */
	KEY_ADMIN,    /* everything */
};
#define KEY_N_ROLES 3

struct key {
	struct uuid id;
	struct slice name;
	enum key_role role;
	char digest[KEY_DIGEST_SIZE];
	const struct slice *use_cases; /* that a client may call; none: all */
	size_t n_use_cases;
	int64_t requests_per_minute, tokens_per_minute; /* 0: no limit */
	struct budgets budgets;
	bool translate_strictly; /* what a model of another protocol could not get is refused, whatever the use case
				    says */
	int64_t created_us;
	int64_t expires_us; /* 0: never */
	int64_t revoked_us; /* 0: it is not */
};

const char *key_role_name(enum key_role r);
int key_role_parse(struct slice s, enum key_role *ret, struct err *err);
int key_name_check(struct slice name, struct err *err);
/* What has to hold of one that is being made.  Ids, digest and created_us are not looked at, but now_us is. */
int key_check(const struct key *k, int64_t now_us, struct err *err);
/* A new one: its text, and the digest that is kept of it. */
void key_make(char ret_text[KEY_TEXT_SIZE], char ret_digest[KEY_DIGEST_SIZE]);
static inline bool key_expired(const struct key *k, int64_t now_us)
{
	return k->expires_us && k->expires_us <= now_us;
}
/* "active", "expired", "revoked" */
const char *key_status(const struct key *k, int64_t now_us);
/* Whether a request for this use case is among what it may ask. */
bool key_allows(const struct key *k, struct slice use_case);

/* The members budget, token_budget and translation of an object; what it leaves out is none, and lenient. */
int key_parse_spending(const struct json *v, struct key *ret, struct err *err);
const char *key_translation(const struct key *k); /* "strict", "lenient" */
int key_translation_parse(struct slice s, bool *ret_strict, struct err *err);

struct json_writer;
/* One object, for people: without the digest, with its status at now_us. */
void key_write(struct json_writer *w, const struct key *k, int64_t now_us);
/* The same, but left open for more members; with the text of the key for who made it, once, or NULL. */
void key_write_open(struct json_writer *w, const struct key *k, const char *text, int64_t now_us);
/* One object, for the snapshot on disk; key_parse reads it back. */
void key_write_stored(struct json_writer *w, const struct key *k);
int key_parse(struct arena *a, const struct json *v, struct key *ret, struct err *err);
