/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a log record: a fixed part, then its strings, each with a length, then its violations, cost and calls of
 * tools.  The bytes are those of this machine (a spool is never carried to another).  A reader of version n reads n and
 * older.
 */
#pragma once
#include "core/base/err.h"
#include "domain/record.h"

#define RECORD_FORMAT_VERSION 3 /* 1 had no cost, 2 no calls of tools */

/* More than RECORD_MAX_VIOLATIONS are not written. */
size_t record_size(const struct log_record *r);
/* Writes record_size(r) bytes. */
void record_encode(const struct log_record *r, char *out);
/* Slices of *ret point into `in`.  E_CORRUPT when it does not hold together, or a newer Muster wrote it; any bytes are
 * safe to give. */
int record_decode(struct slice in, struct log_record *ret);
