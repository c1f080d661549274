/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool: what happened, on disk before the answer's last byte leaves.
 * One writer per loop, each with its own segment files; a thread elsewhere
 * (control/history) prepares segments ahead, reads whole records and
 * acknowledges them.  A record survives kill -9 of this process; `sync` decides
 * what a power cut may take.
 *
 * File: <dir>/<writer>-<sequence>.seg.  A header, then records: length (4 bytes, stored last, release), CRC-32C (4), payload, padding to
 * 8.  A length of zero ends the used part.
 */
#pragma once
#include "core/base/err.h"
#include "core/base/metric.h"
#include "domain/record.h"

#define SPOOL_SEGMENT_BYTES (64u * 1024 * 1024)
#define SPOOL_RECORD_MAX (16u * 1024 * 1024)

struct spool;

struct spool_options {
	const char *directory;	 /* made if missing */
	unsigned n_writers;	 /* one per loop, and one more for the control plane */
	size_t segment_bytes;	 /* default SPOOL_SEGMENT_BYTES; a power of two, at least 1 MiB; grown for a larger record */
	size_t max_bytes;	 /* all segments together; default 4 GiB. Past it appending fails and is counted */
};

struct spool_stats {
	struct counter records, bytes;	/* appended */
	struct counter lost;		/* records that could not be appended: the disk or max_bytes was full, or too large */
	struct counter shipped;		/* acknowledged */
	struct counter cut_bytes;	/* dropped from torn ends after a crash */
	struct counter segments, pending_bytes; /* now */
};

/* Opens the directory (locked against a second process: E_BUSY names it), finds what an earlier run left, and prepares the first
 * segment of every writer, so that an open spool can always take a record. */
int spool_open(const struct spool_options *o, struct spool **ret, struct err *err);
void spool_close(struct spool *s); /* keeps what is not acknowledged */
const struct spool_stats *spool_stats(const struct spool *s);

/*
 * Appends one record.  Only the owner of `writer` may call; copies into mapped memory, no system call (the segment that follows is
 * prepared ahead by spool_prepare).  E_TOOBIG, or E_UNAVAILABLE when no segment is ready: counted as lost.
 */
int spool_append(struct spool *s, unsigned writer, const struct log_record *r);
/* The reading thread is woken through this (eventfd; readable when something was appended since the last spool_wake_clear). */
int spool_wake_fd(const struct spool *s);
void spool_wake_clear(struct spool *s);

/* --- the reading thread --- */

/* Allocates and touches segments ahead, seals and deletes acknowledged ones.  E_IO says that the disk is full, or why not. */
int spool_prepare(struct spool *s, struct err *err);

struct spool_cursor { /* a place just behind a record */
	uint32_t writer;
	uint64_t sequence, offset;
};

/*
 * The next record that was not read yet, of any writer.  Its slices point into the mapping and live until spool_ack covers it.
 * 0, or E_AGAIN: nothing new.  A record that does not check is skipped, counted in cut_bytes and ends its segment.
 */
int spool_read(struct spool *s, struct log_record *ret, struct spool_cursor *ret_cursor);
/* The database has committed everything read so far from the writer up to the cursor. Durable positions, written and renamed. */
int spool_ack(struct spool *s, const struct spool_cursor *cursors, size_t n, struct err *err);
/* Go back to what is acknowledged (after a failed batch). */
void spool_rewind(struct spool *s);
