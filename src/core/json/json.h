/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading JSON.  simdjson checks the text (RFC 8259, UTF-8) and finds its
 * structure; the result is a tree of plain C nodes in the caller's arena, with
 * the place of every value in the source, so that a value can be replaced by
 * splicing bytes.  Strings without escapes borrow from the source text: it has
 * to live as long as the tree.
 */
#pragma once
#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/base/slice.h"

/* This many readable bytes have to follow the text that is parsed (their content does not matter). */
#define JSON_PADDING 64

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_type type;
	bool boolean;
	bool is_integer;    /* a number without fraction or exponent that fits an int64_t */
	uint32_t n_items;   /* of an array or object */
	struct slice key;   /* decoded name, when this is a member of an object; else absent */
	struct slice raw;   /* the bytes of this value in the source, no white space around */
	struct slice str;   /* the decoded text of a string */
	int64_t integer;    /* when is_integer */
	double number;	    /* any number */
	struct json *first; /* first item or member */
	struct json *next;  /* next sibling */
};

#define JSON_DEPTH_MAX 1024

struct json_limits {
	uint32_t max_depth; /* 0: 64; at most JSON_DEPTH_MAX */
	uint32_t max_nodes; /* 0: 1,000,000 */
};

/* One per thread: holds simdjson's scratch memory, which grows to the largest text seen and shrinks when idle. */
struct json_parser;
struct json_parser *json_parser_new(void);
void json_parser_free(struct json_parser *p);

/*
 * Parses text, which JSON_PADDING readable bytes follow.  limits may be NULL.
 * E_INVALID: not JSON, or not UTF-8; the error says where ("at byte 17: ...").
 * E_TOOBIG: too deep, too many values, or the arena is full.
 * An integer that no int64_t holds is a number that is no integer; a number too large for a double, and half a
 * surrogate pair in a string, are E_INVALID. Members named twice are all there, in order; json_get returns the first:
 * see json_duplicate.
 */
int json_parse(struct json_parser *p, struct arena *a, struct slice text, const struct json_limits *limits,
	       struct json **ret_root, struct err *err);
/* The same for text without padding: copies it into the arena first. */
int json_parse_copy(struct json_parser *p, struct arena *a, struct slice text, const struct json_limits *limits,
		    struct json **ret_root, struct err *err);

/* NULL when obj is NULL, no object, or has no such member. */
const struct json *json_get(const struct json *obj, const char *name);
/* The second member of that name, or NULL. */
const struct json *json_duplicate(const struct json *obj, const char *name);

/*
 * Typed members of an object.  Absent or null leaves *ret alone and returns 0; another type is E_INVALID with an error
 * that names the member and the type wanted.
 */
int json_get_str(const struct json *obj, const char *name, struct slice *ret, struct err *err);
int json_get_i64(const struct json *obj, const char *name, int64_t *ret, struct err *err);
int json_get_double(const struct json *obj, const char *name, double *ret, struct err *err);
int json_get_bool(const struct json *obj, const char *name, bool *ret, struct err *err);

const char *json_type_name(enum json_type t); /* "string", "number", ... */
