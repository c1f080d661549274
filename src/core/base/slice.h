/* SPDX-License-Identifier: Apache-2.0 */
/* A borrowed run of bytes: pointer and length, not terminated.  {NULL, 0} is "absent" where that matters. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *p;
	size_t n;
};

#define SLICE_LIT(s) ((struct slice){(s), sizeof(s) - 1})
#define SLICE_FMT "%.*s"
#define SLICE_ARG(s) (int)(s).n, (s).p

static inline struct slice slice_from(const char *s)
{
	return (struct slice){s, s ? strlen(s) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || !memcmp(a.p, b.p, a.n));
}

static inline bool slice_eq_str(struct slice a, const char *s)
{
	/* Of the strings of a table nearly all differ in their first byte: that is looked at before they are measured.
	 */
	return a.n && s ? *a.p == *s && slice_eq(a, slice_from(s)) : slice_eq(a, slice_from(s));
}

/* ASCII only. */
bool slice_eq_nocase(struct slice a, struct slice b);
bool slice_has_nocase(struct slice s, struct slice part); /* ASCII */
bool slice_starts(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);
/* Index of the first occurrence, or -1. */
ptrdiff_t slice_find(struct slice haystack, struct slice needle);
ptrdiff_t slice_chr(struct slice s, char c);
struct slice slice_trim(struct slice s);		       /* ASCII spaces and tabs at both ends */
struct slice slice_sub(struct slice s, size_t from, size_t n); /* clamped */
/* A part of whole where it is in a copy of whole; what is no part of it stays. */
struct slice slice_moved(struct slice part, struct slice whole, const char *copy);
/* Splits off what stands before the first sep; *s becomes the rest after it. False when *s was absent (p == NULL). */
bool slice_split(struct slice *s, char sep, struct slice *ret_head);
/* Decimal, no sign for u64, whole slice, overflow refused.  0 or E_INVALID. */
int slice_to_u64(struct slice s, uint64_t *ret);
int slice_to_i64(struct slice s, int64_t *ret);
int slice_to_double(struct slice s, double *ret);
char *slice_dup(struct slice s); /* malloc'd, terminated */
/* Levenshtein distance, for "did you mean": at most 64 bytes of each are compared. */
unsigned slice_distance(struct slice a, struct slice b);
