/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error codes, and the sentence for a human that may go with one.  A function
 * returns 0 or a negative E_*; one that a human will hear of takes a
 * `struct err *` last, untouched on success, NULL when nobody listens.
 */
#pragma once
#include "core/base/util.h"

enum err_code {
	E_INVALID = -1,	     /* the input is wrong */
	E_NOTFOUND = -2,     /* the thing named is not there */
	E_EXISTS = -3,	     /* it is there already */
	E_TOOBIG = -4,	     /* past a limit that we set */
	E_IO = -5,	     /* the system or the database failed */
	E_AGAIN = -6,	     /* nothing now; more input or time needed */
	E_TIMEOUT = -7,	     /* a deadline passed */
	E_CLOSED = -8,	     /* the other side is gone */
	E_DENIED = -9,	     /* not allowed */
	E_BUSY = -10,	     /* at capacity, or held by someone else */
	E_CORRUPT = -11,     /* stored or received bytes do not check */
	E_UNAVAILABLE = -12, /* a thing we depend on is away */
	E_CONFLICT = -13,    /* the state does not allow it */
	E_UNSUPPORTED = -14, /* understood, but cannot be done here */
};

struct err {
	int code;
	char text[500]; /* one sentence, no newline */
};

/* Fills *err (which may be NULL) and returns code, so that callers can `return err_set(...)`. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Puts "context: " in front of the text that is there. Returns err->code (or code 0 if err is NULL). */
int err_prefix(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "not found", "timed out", ...: never NULL. */
const char *err_name(int code);
