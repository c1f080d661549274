/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict HTTP/1.1 head parser (RFC 9112), for requests and answers.
 * Refused: bare LF, obsolete line folding, white space before the colon, bytes that no name or value may hold,
 * Content-Length and Transfer-Encoding together, two different or malformed lengths, a transfer coding other than
 * chunked, a request of HTTP/1.1 without exactly one Host, anything past the limits.
 *
 * Stricter than RFC 9112 asks for, on purpose:
 *  - a second Content-Length is refused even when it says the same, and so is a list in one; at most 18 digits;
 *  - Transfer-Encoding is `chunked`, once, in one header; in HTTP/1.0 it is refused;
 *  - a tab behind the value of these two is refused: there are parsers that take it for a part of the value;
 *  - a target is a path ("/..."), absolute ("http://host/..."), or "*" with OPTIONS; authority form, a user in front
 *    of the host, and '#' are not;
 *  - a target is visible ASCII: no control byte, no byte above 0x7e;
 *  - exactly one space between the parts of the first line; the version is HTTP/1.0 or HTTP/1.1, in upper case;
 *  - a Host with a byte that no host or port may hold is refused, in HTTP/1.0 too;
 *  - a status has three digits and is at least 100.
 * Allowed: at most two blank lines before a request; bytes 0x80 to 0xff and tabs in values and reasons; an empty
 * reason, with or without the space before it.  Methods that have no name here are HTTP_OTHER, but CONNECT is refused.
 * Nothing is copied: every slice points into the bytes given.
 */
#pragma once
#include "core/base/err.h"
#include "core/base/slice.h"

#define HTTP_MAX_HEADERS 100
#define HTTP_MAX_HEAD_BYTES 32768

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_OTHER };

struct http_header {
	struct slice name, value; /* value without white space around */
};

struct http_head {
	enum http_method method; /* request */
	struct slice method_name;
	struct slice target;	  /* as it came: "/v1/models?x=y" */
	struct slice path, query; /* of an absolute target what stands behind its host; query without '?'; absent when
				     there is none */
	int status;		  /* answer */
	struct slice reason;
	struct slice content_coding; /* request: what Content-Encoding says; absent: nothing */
	int minor;		     /* 0 or 1 of HTTP/1.x */
	struct http_header *header;  /* the caller's: room for HTTP_MAX_HEADERS before it is parsed */
	size_t n_headers;
	int64_t content_length; /* -1: none given */
	bool chunked;
	bool keep_alive; /* what version and Connection say */
	bool expect_continue;
	size_t head_bytes; /* of the whole head, blank line included (and blank lines before a request) */
	int refuse_status; /* after a refusal: what a server answers (400, 431, 501, 505) */
};

/* A head to parse into, with its room. */
#define HTTP_HEAD(name)                                   \
	struct http_header name##_room[HTTP_MAX_HEADERS]; \
	struct http_head name = {.header = name##_room}

/*
 * 0: *ret is whole and ret->head_bytes were used.  E_AGAIN: more bytes needed.  E_TOOBIG: past a limit (431).
 * E_INVALID: refused (400), the error says why.  E_UNSUPPORTED: a version or transfer coding that we do not speak (505,
 * 501). seen: how many bytes an earlier call with E_AGAIN was given (0 at first): the search goes on from there. After
 * a refusal *ret holds what was read before it (the path, if the request line was good); absent parts are absent.
 */
int http_parse_request(struct slice in, size_t seen, struct http_head *ret, struct err *err);
int http_parse_response(struct slice in, size_t seen, struct http_head *ret, struct err *err);

/* The bytes have moved: what pointed into those at `from` points into those at `to`. */
void http_head_move(struct http_head *h, const char *from, const char *to);
/* Value of the first header of that name (lower case literal), or absent. */
struct slice http_header(const struct http_head *h, const char *name);
bool http_is_name(struct slice s);		  /* what a header may be called: a token */
bool http_is_value(struct slice s);		  /* what it may say: no control characters but tabs */
const char *http_reason(int status);		  /* "Not Found"; "" when unknown */
const char *http_method_name(enum http_method m); /* "GET"; "" for HTTP_OTHER */
