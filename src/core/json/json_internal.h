/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the C part of this directory takes from C++: simdjson's first stage (the text checked for UTF-8 and for strings
 * that end, the places of its tokens), and doubles to and from text.  Nothing here throws.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_index;

enum json_index_result {
	JSON_INDEX_OK,
	JSON_INDEX_EMPTY, /* white space only */
	JSON_INDEX_BAD,	  /* not UTF-8, a control character in a string, or a string without end */
	JSON_INDEX_FULL,  /* no memory for it, or past 4 GiB */
};

struct json_index *json_index_new(void);
void json_index_free(struct json_index *x);
/*
 * The offsets of every token's first byte, rising, valid until the next call: brackets, commas, colons, opening quotes,
 * and the first byte of each other run of characters.  Between two offsets stands one token and white space behind it;
 * behind the last one stands the length of the text.
 */
enum json_index_result json_index_run(struct json_index *x, const char *p, size_t n, const uint32_t **ret_at,
				      size_t *ret_n);
/* Bytes of the longest text that fits without growing. */
size_t json_index_capacity(const struct json_index *x);
void json_index_shrink(struct json_index *x); /* gives the memory back */

/* [p, end) is a number by JSON's grammar.  False when it is too large for a double. */
bool json_double_read(const char *p, const char *end, double *ret);
#define JSON_DOUBLE_SIZE 32
/* Shortest form that reads back the same; v is finite.  Returns the length. */
size_t json_double_write(double v, char out[JSON_DOUBLE_SIZE]);

#ifdef __cplusplus
}
#endif
