/* SPDX-License-Identifier: Apache-2.0 */
/* http:// and https:// URLs, query strings, and host:port addresses. */
#pragma once
#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/base/slice.h"

struct url {
	bool tls;
	struct slice host;	/* without brackets */
	uint16_t port;		/* 80 or 443 when none is given */
	struct slice path;	/* with its query; "" when there is none */
	struct slice authority; /* as it belongs in Host: */
};

/* No user information, no fragment.  0 or E_INVALID with a sentence that quotes the text. */
int url_parse(struct slice s, struct url *ret, struct err *err);
/* "127.0.0.1:8080", "[::1]:8080", ":8080" (all interfaces), "localhost:0".  0 or E_INVALID. */
int addr_parse(struct slice s, struct slice *ret_host, uint16_t *ret_port, struct err *err);
bool addr_is_loopback(struct slice host); /* 127/8, ::1, localhost */
/* The decoded value of a query parameter, or absent.  Allocated in the arena when it had escapes. */
struct slice query_get(struct arena *a, struct slice query, const char *name);
/* Percent-decodes a path segment; absent when malformed or it holds NUL. */
struct slice url_decode(struct arena *a, struct slice s, bool plus_is_space);
