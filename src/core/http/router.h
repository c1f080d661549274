/* SPDX-License-Identifier: Apache-2.0 */
/* Paths to handlers: a table of patterns ("/api/v1/models/{id}/history"), matched segment by segment. */
#pragma once
#include "core/http/head.h"

#define ROUTE_MAX_PARAMS 4

struct route {
	enum http_method method;
	const char *pattern;
	const void *target; /* whatever the owner of the table calls */
};

struct route_match {
	const struct route *route;
	struct slice param[ROUTE_MAX_PARAMS]; /* as they stand in the path: still percent-encoded */
	size_t n_params;
	unsigned allowed; /* on E_DENIED: a bit per enum http_method that the path does have */
};

/*
 * 0; E_NOTFOUND: no such path (404); E_DENIED: the path is there, but not for this method (405).  HEAD matches GET
 * unless it has a route of its own.  Of several patterns that fit, the one wins that is literal in the first segment
 * where they differ; a trailing slash makes another path.  The scan ends at a pattern without parameters: busy ones
 * belong to the front of the table.
 */
int route_find(const struct route *table, size_t n, const struct http_head *head, struct route_match *ret);

/* What `allowed` says, as Allow has it: "GET, POST". */
#define ROUTE_ALLOWED_SIZE 64
void route_allowed(unsigned allowed, char ret[ROUTE_ALLOWED_SIZE]);
