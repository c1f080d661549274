/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the spool share.  Who owns what: a writer's thread owns the struct writer's own part; the reading
 * side (the thread that reads, and the one that makes room, under s->lock) owns tracks, the list of segments and every
 * file; between the two stand atomics only.
 *
 * - ring: the reading side puts prepared segments in, the writer takes them out.
 * - active: the writer's segment, for the reading side to look at; that side alone frees segments, and only sealed
 * ones.
 * - used: bytes of a segment that hold whole records; the writer stores it after each.
 * - sealed: the writer's last touch of a segment.
 * - acked: bytes that the database has, of the segment that it is at; the reading side stores it.
 * - touched: bytes of a segment that are mapped in; the reading side stores it.
 * - length: the first word of each record in the mapping, stored after the payload, and after the zero that follows it.
 * - armed: the reader may be asleep.  The writer stores a length and then loads armed; the reader stores armed and then
 *   loads lengths.  All four are sequentially consistent, so that one of the two sees the other.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "serving/spool/spool.h"

#define SEGMENT_MAGIC "MUSTRSEG"
#define SEGMENT_VERSION 2u    /* 1: no number in the checksums */
#define SPOOL_AHEAD 4u	      /* segments that may be ready for one writer */
#define SPOOL_SPARE 4u	      /* segments that wait to be used again */
#define SPOOL_BACKLOG 2u      /* sealed segments that stay resident until they are read */
#define SPOOL_BACKLOG_BUSY 8u /* the same, while some are acknowledged: they are about to be read */
#define SPOOL_MIN_SEGMENT ((size_t)1 << 20)
#define SPOOL_MAX_SEGMENT ((size_t)1 << 30)
#define SPOOL_DEFAULT_MAX_BYTES (4ull * 1024 * 1024 * 1024)

struct segment {
	struct segment *next; /* same track, later */
	char *map;
	int fd;	     /* -1: of an earlier run */
	size_t size; /* mapped, and of the file */
	uint32_t writer;
	uint64_t sequence;
	uint32_t seed; /* what a checksum begins with */
	bool recycled; /* bytes of an earlier use stand behind the records */
	/* the reading side */
	bool found;	   /* left by an earlier run */
	bool ended;	   /* sealed, and `end` is final */
	bool dropped;	   /* the pages were given back when it was sealed before its turn came */
	size_t end;	   /* nothing is read from here on: the end, or a torn record; SIZE_MAX while unknown */
	size_t seen;	   /* read at least once up to here */
	size_t given_back; /* pages before this were given back */
	/* shared */
	_Atomic size_t used, touched, acked;
	atomic_bool sealed;
};

struct position {
	uint64_t sequence, offset;
};

/* All segments of one writer number, oldest first; the reading side's. */
struct track {
	struct segment *first, *last;
	struct segment *reading; /* NULL only when the list is empty */
	size_t offset;		 /* in `reading` */
	struct position ack, mark;
	/* how fast it is acknowledged */
	uint64_t lately_bytes; /* since looked_ms */
	int64_t looked_ms;
	int64_t acked_ms; /* when last; 0: never */
};

struct writer {
	/* the writer's thread */
	struct segment *segment;
	size_t signalled; /* `touched` that it asked to extend already */
	bool starving;	  /* it said that no segment is ready */
	struct counter records, bytes, lost;
	/* shared */
	_Atomic(struct segment *) active;
	_Atomic(struct segment *) ring[SPOOL_AHEAD];
	atomic_uint ring_put, ring_taken;
} __attribute__((aligned(128)));

#define SPOOL_REMEMBERED ((size_t)65536)

struct spool {
	char *directory;
	int dir_fd, lock_fd, ack_fd, wake_fd, room_fd, null_fd;
	unsigned n_writers;
	size_t segment_bytes;
	uint64_t max_bytes;
	struct spool_stats *stats; /* the sums; its own memory so that reading them leaves the spool const */
	struct writer *writers;
	atomic_bool armed;
	_Atomic uint64_t *remembered; /* SPOOL_REMEMBERED of them: each in the place that its low bits name */
	pthread_mutex_t lock;	      /* the reading side: of all that follows */
	struct track tracks[SPOOL_MAX_WRITERS];
	unsigned n_tracks, next_track; /* n_tracks: n_writers, or more while an earlier run's are there */
	uint64_t next_sequence, ack_generation;
	uint64_t allocated_bytes;
	struct segment *spare; /* acknowledged, to be used again */
	unsigned n_spare;
	struct counter shipped, cut_bytes, n_segments, found_bytes, acked_bytes;
};

static inline size_t record_span(uint32_t length) /* with header and padding */
{
	return SPOOL_RECORD_HEADER + (((size_t)length + 7) & ~(size_t)7);
}

static inline _Atomic uint32_t *length_at(const struct segment *g, size_t offset)
{
	return (_Atomic uint32_t *)(void *)(g->map + offset);
}

/* --- spool.c --- */
void spool_signal(int event_fd);

/* --- segment.c --- */
/* E_IO; the file is there with its header, or not at all. */
int segment_create(struct spool *s, unsigned writer, struct segment **ret, struct err *err);
/* Maps a file of an earlier run.  E_CORRUPT: its header does not check; E_UNSUPPORTED: a newer Muster's. */
int segment_adopt(struct spool *s, const char *name, struct segment **ret, struct err *err);
void segment_touch(const struct spool *s, struct segment *g, size_t upto);
/* Unmaps and frees; the file stays. */
void segment_free(struct segment *g);
void segment_delete(struct spool *s, struct segment *g);	/* and its file */
void segment_uncount(struct spool *s, const struct segment *g); /* of the sums, which track_append counts it into */
/* Makes a new one of one that is acknowledged.  On an error it is deleted. */
int segment_recycle(struct spool *s, struct segment *g, unsigned writer, struct err *err);
void segment_shrink(struct spool *s, const struct segment *g); /* cuts the unused end off the file */
/* "<writer>-<sequence>.seg": false for any other name. */
bool segment_parse_name(const char *name, uint32_t *ret_writer, uint64_t *ret_sequence);
uint32_t segment_crc(const struct segment *g, uint32_t length, const char *payload);
/* Bytes from offset on that something was written to, as far as that can be told. */
size_t segment_tail(const struct segment *g, size_t offset);

/* --- ack.c --- */
int ack_open(struct spool *s, struct err *err); /* fills the tracks' positions and next_sequence */
int ack_write(struct spool *s, struct err *err);

/* --- reader.c --- */
void track_append(struct spool *s, struct segment *g); /* takes it over */
void track_reap(struct spool *s, struct track *t);     /* deletes what is acknowledged and sealed */
int spool_supply(struct spool *s, struct err *err);    /* makes the segments that are wanted */
void spool_drop_spare(struct spool *s);
/* One that was found and holds no record from `offset` on is at its end. */
void track_skip_empty(struct spool *s, struct segment *g);
