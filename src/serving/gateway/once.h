/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idempotency-Key: requests of one caller with the same key, within limits.idempotency_window, are one request.  The
 * first is served; those that come while it is under way wait for it; all get its answer, streams included, and there
 * is one record in the log.  An answer that another try might better (5xx, 429, fallback content because nobody could
 * answer, one that broke off, one whose caller left) is not kept: who waits for it, or comes again, is served anew.
 * Who waits does so no longer than its own x-request-timeout-ms.  All of it is in memory: another daemon, or the next
 * one, does not know of it.
 *
 * The cache of a use case keeps answers the same way, without a key of the caller's: the request itself is the key,
 * with the model that would serve it, as it stands, the policy and the settings.  A promotion, or a change of any of
 * them, leaves what was kept behind.  Nobody waits: whoever comes while the first is under way asks the model too.
 * Only what the model answered well is kept, and each answer from the cache has its own record.
 *
 * The table is shared by the loops, behind a lock that only such requests take, for the time of a lookup.
 */
#pragma once
#include "core/base/slice.h"
#include "core/http/head.h"

struct exchange;
struct once_entry;
struct once_table;
struct once_waiter;

#define ONCE_KEY_MAX 255		  /* bytes of an Idempotency-Key */
#define ONCE_ANSWER_MAX ((size_t)4 << 20) /* a longer answer is not kept */
#define ONCE_TABLE_MAX ((size_t)64 << 20) /* of answers that are kept; then the oldest goes */
#define ONCE_ENTRIES_MAX 100000

/* What an exchange has to do with it. */
struct once {
	struct once_entry *entry;   /* it is the first: its answer is taken down here */
	struct once_table *table;   /* that has the entry */
	struct once_waiter *waiter; /* it waits for the first */
};

/* It looked for an earlier answer, and its own will be kept if it is fit. */
bool once_is_cache_miss(const struct exchange *e);
/* What leaves, taken down for those that come later. */
void once_head(struct exchange *e, int status, const struct http_header *h, size_t n);
void once_body(struct exchange *e, struct slice piece);
/* keep: it is whole, and no other try would better it. */
void once_end(struct exchange *e, bool keep);
/* The exchange goes: what it had begun is forgotten, and it waits no more. */
void once_release(struct exchange *e);
