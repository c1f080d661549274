/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool: what happened, on disk before the answer's last byte leaves.
 * One writer per loop, each with its own segment files; threads elsewhere
 * (control/history) prepare segments ahead, read whole records and
 * acknowledge them.  A record survives kill -9 of this process; a power cut may
 * take what the kernel had not written yet.
 *
 * File: <dir>/<writer>-<sequence>.seg.  A header, then records: length (4 bytes, stored last), CRC-32C of length and
 * payload (4), payload, padding to 8.  A length of zero ends the used part.  The checksum begins with the number of the
 * segment, so that whatever checks is a record of it: a segment that is acknowledged whole is used again, under a new
 * number, with its pages, for making new ones costs more than all else that is done to a record.
 *
 * The mapped part that is resident stays small while little is written: SPOOL_WINDOW_BYTES ahead of each writer, and
 * what is not acknowledged.  The segments of a busy writer stay resident until spool_settle.
 */
#pragma once
#include "core/base/err.h"
#include "core/base/metric.h"
#include "domain/record.h"

/* Disk taken at start is n_writers of these: 16 MiB keeps a small installation small, and there are up to four ahead of
 * a busy writer, and four to be used again. */
#define SPOOL_SEGMENT_BYTES ((size_t)16 << 20)
/* What precedes the records of a segment, and each record. */
#define SPOOL_SEGMENT_HEADER 64u
#define SPOOL_RECORD_HEADER 8u
/* A record has to fit into one segment: this many bytes encoded with segments of the default size, less with smaller
 * ones. */
#define SPOOL_RECORD_MAX (SPOOL_SEGMENT_BYTES - SPOOL_SEGMENT_HEADER - SPOOL_RECORD_HEADER)
#define SPOOL_MAX_WRITERS 128u
#define SPOOL_WINDOW_BYTES ((size_t)512 << 10)

struct spool;

struct spool_options {
	const char *directory; /* made if missing */
	unsigned n_writers;    /* one per loop, and one more for the control plane; 1 to SPOOL_MAX_WRITERS */
	size_t segment_bytes;  /* 0: SPOOL_SEGMENT_BYTES; a power of two, 1 MiB to 1 GiB */
	uint64_t max_bytes;    /* all segments together; 0: 4 GiB. Past it appending fails and is counted */
};

struct spool_stats {
	struct counter records, bytes; /* appended */
	struct counter lost;	  /* records that could not be appended: the disk or max_bytes was full, or too large */
	struct counter shipped;	  /* acknowledged, of those appended and of those found by spool_open */
	struct counter cut_bytes; /* dropped from torn ends after a crash */
	struct counter segments;  /* now */
	struct counter pending_bytes; /* not acknowledged now; what an earlier run left counts once it was read */
};

/*
 * Opens the directory (locked against a second process: E_BUSY names it), finds what an earlier run left, and prepares
 * the first segment of every writer, so that an open spool can take a record.  A full disk does not fail it: what
 * serves must start. spool_prepare says so then, and appending fails until there is room.
 */
int spool_open(const struct spool_options *o, struct spool **ret, struct err *err);
/* Keeps what is not acknowledged.  No writer may append any more. */
void spool_close(struct spool *s);
const char *spool_directory(const struct spool *s);
/* Summed up at each call; any thread. */
const struct spool_stats *spool_stats(const struct spool *s);

/*
 * Appends one record.  Only the owner of `writer` may call; copies into mapped memory, no system call but the one that
 * wakes a sleeping thread.  E_TOOBIG, or E_UNAVAILABLE when no segment is ready: counted as lost.
 */
int spool_append(struct spool *s, unsigned writer, const struct log_record *r);
/*
 * Whether a record of that id was appended, and remembered, of late: some 60,000 of them are known, by a digest of
 * theirs, until others take their place or the spool is closed.  Any thread.
 */
void spool_remember(struct spool *s, const struct uuid *id);
bool spool_remembers(const struct spool *s, const struct uuid *id);
/* Whether a record of that many bytes would be taken now. Only the owner of `writer` may ask. */
bool spool_has_room(struct spool *s, unsigned writer, size_t record_bytes);

/* --- making room: any one thread, so that a reader that waits for its database delays nobody --- */

/*
 * Allocates and touches segments ahead, deletes acknowledged ones.  To be called when the eventfd is readable (a writer
 * is running out of prepared room, or segments were deleted; spool_prepare clears it), and every second while it fails.
 * E_IO says that the disk or the spool is full, or why not.
 */
int spool_prepare(struct spool *s, struct err *err);
int spool_room_fd(const struct spool *s);
/* Nothing happens now: gives back what was kept for a busy writer. */
void spool_settle(struct spool *s);

/* --- the reading thread --- */

/*
 * It is woken through this eventfd.  To sleep: spool_wake_clear, then spool_read until E_AGAIN, then poll: an append
 * after spool_wake_clear makes it readable, once; appends to an awake reader cost no system call.  spool_wake_hush
 * clears it too, but then appends do not make it readable.
 */
int spool_wake_fd(const struct spool *s);
void spool_wake_clear(struct spool *s);
void spool_wake_hush(struct spool *s);

struct spool_cursor { /* a place just behind a record */
	uint32_t writer;
	uint64_t sequence, offset;
};

/*
 * The next record that was not read yet, of any writer.  Its slices point into the mapping and live until spool_ack
 * covers it. 0, or E_AGAIN: nothing new.  A record that does not check is skipped, counted in cut_bytes and ends its
 * segment.
 */
int spool_read(struct spool *s, struct log_record *ret, struct spool_cursor *ret_cursor);
/*
 * The database has committed everything read so far from the writer up to the cursor; at most one cursor a writer.  The
 * positions are kept in <dir>/ack, in place and checksummed, so that acknowledging needs no room on a full disk. Losing
 * that file only makes records appear twice.
 */
int spool_ack(struct spool *s, const struct spool_cursor *cursors, size_t n, struct err *err);
/* How many bytes of records of this run were not read yet. */
size_t spool_unread(struct spool *s);
/* Go back to what is acknowledged (after a failed batch). */
void spool_rewind(struct spool *s);
/* Remembers how far all writers are now; reached: all that is acknowledged. */
void spool_mark(struct spool *s);
bool spool_mark_reached(struct spool *s);
