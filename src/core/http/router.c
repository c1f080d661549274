/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The router: a scan over the table, which is short (at most some 64 routes) and whose patterns mostly differ from the
 * path in their first bytes.  What would break it: a pattern with more than ROUTE_MAX_PARAMS parameters or 32 segments,
 * or one where a parameter is not a whole segment; those are our own mistakes and assert.
 */
#include "core/http/router.h"

#include <assert.h>
#include <stdio.h>

/*
 * Whether the path fits the pattern; fills the parameters.  *ret_rank has a bit per segment, the first one highest, set
 * where the pattern is literal: of two patterns that fit one path, the greater rank is the one that is literal where
 * the other is not.
 */
static bool pattern_match(const char *pattern, struct slice path, struct route_match *ret, uint32_t *ret_rank)
{
	const char *p = path.p, *end = path.p + path.n;
	uint32_t rank = 0;

	ret->n_params = 0;
	while (*pattern) {
		const char *start = p;

		if (*pattern != '{') {
			if (p == end || *p != *pattern)
				return false;
			rank = *pattern == '/' ? rank << 1 | 1 : rank;
			p++;
			pattern++;
			continue;
		}
		while (p < end && *p != '/')
			p++;
		if (p == start)
			return false;
		assert(ret->n_params < ROUTE_MAX_PARAMS);
		ret->param[ret->n_params++] = (struct slice){start, (size_t)(p - start)};
		rank &= ~(uint32_t)1;
		pattern = strchr(pattern, '}');
		assert(pattern && (pattern[1] == '\0' || pattern[1] == '/'));
		pattern++;
	}
	*ret_rank = rank;
	return p == end;
}

/* False when the byte after the first slash tells already that the path does not fit: most routes of another plane. */
static inline bool may_match(const char *pattern, struct slice path)
{
	return path.n < 2 || pattern[1] == path.p[1] || pattern[1] == '{';
}

static unsigned method_bits(enum http_method m)
{
	return m == HTTP_GET ? 1U << HTTP_GET | 1U << HTTP_HEAD : 1U << m;
}

int route_find(const struct route *table, size_t n, const struct http_head *head, struct route_match *ret)
{
	uint32_t best_rank = 0;
	unsigned allowed = 0;

	ret->route = NULL;
	for (size_t i = 0; i < n; i++) {
		struct route_match m;
		uint32_t rank;

		if (!may_match(table[i].pattern, head->path) || !pattern_match(table[i].pattern, head->path, &m, &rank))
			continue;
		allowed |= method_bits(table[i].method);
		if (head->method == HTTP_OTHER || !(method_bits(table[i].method) & 1U << head->method))
			continue;
		if (ret->route && (rank < best_rank || (rank == best_rank && table[i].method != head->method)))
			continue;
		best_rank = rank;
		*ret = m;
		ret->route = &table[i];
		if (m.n_params == 0 && table[i].method == head->method)
			break; /* nothing fits better */
	}
	ret->allowed = allowed;
	if (ret->route)
		return 0;
	ret->n_params = 0;
	return allowed ? E_DENIED : E_NOTFOUND;
}

void route_allowed(unsigned allowed, char ret[ROUTE_ALLOWED_SIZE])
{
	size_t n = 0;

	ret[0] = '\0';
	for (unsigned m = HTTP_GET; m < HTTP_OTHER; m++)
		if (allowed & 1U << m)
			n += (size_t)snprintf(ret + n, ROUTE_ALLOWED_SIZE - n, "%s%s", n ? ", " : "",
					      http_method_name((enum http_method)m)); /* all of them fit */
}
