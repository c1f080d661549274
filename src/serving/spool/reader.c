/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reading side: segments made ahead, records read in order, what is acknowledged deleted.  A segment may
 * be deleted only when it is sealed (its writer has left it for good), read to its end and acknowledged.
 */
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "serving/spool/record.h"
#include "serving/spool/spool_internal.h"

#define GIVE_BACK_BYTES ((size_t)256 << 10)
#define BUSY_BYTES_PER_MS 4096 /* of a writer that is busy, so much is acknowledged */
#define BUSY_MS 1000	       /* one that was acknowledged so lately is */
#define PAGE 4096u

static void unlock(struct spool **s)
{
	pthread_mutex_unlock(&(*s)->lock);
}

/* Until the end of the function. */
#define LOCK(s)                                     \
	CLEANUP(unlock) struct spool *locked = (s); \
	pthread_mutex_lock(&locked->lock)

/* --- tracks --- */

static size_t start_of(const struct track *t, const struct segment *g)
{
	return g->sequence == t->ack.sequence ? max_size(t->ack.offset, SPOOL_SEGMENT_HEADER) : SPOOL_SEGMENT_HEADER;
}

/* 0 at the end, or while there is nothing behind the offset yet. */
static uint32_t length_read(const struct segment *g, size_t offset)
{
	if (offset >= g->end || offset > g->size - SPOOL_RECORD_HEADER)
		return 0;
	return atomic_load_explicit(length_at(g, offset), memory_order_seq_cst);
}

void track_append(struct spool *s, struct segment *g)
{
	struct track *t = &s->tracks[g->writer];

	if (t->last)
		t->last->next = g;
	else
		t->first = g;
	t->last = g;
	if (!t->reading) {
		t->reading = g;
		t->offset = start_of(t, g);
	}
	if (g->writer >= s->n_tracks)
		s->n_tracks = g->writer + 1;
	s->allocated_bytes += g->size;
	counter_add(&s->n_segments, 1);
}

/* The segment is sealed and nothing more is to be read from offset on. */
static void segment_end(struct spool *s, struct segment *g, size_t offset)
{
	size_t used = atomic_load_explicit(&g->used, memory_order_acquire);

	if (g->ended)
		return;
	g->ended = true;
	g->end = min_size(g->end, offset);
	if (g->found)
		counter_add(&s->cut_bytes, segment_tail(g, g->end));
	else if (used > g->end)
		counter_add(&s->cut_bytes, used - g->end);
}

void track_skip_empty(struct spool *s, struct segment *g)
{
	size_t offset = start_of(&s->tracks[g->writer], g);

	if (!length_read(g, offset))
		segment_end(s, g, offset);
}

static void segment_unmap(struct segment *g)
{
	(void)madvise(g->map, g->size, MADV_DONTNEED); /* or it stays resident */
	atomic_store_explicit(&g->touched, 0, memory_order_relaxed);
}

/* All of it is acknowledged, and its writer has left it. */
static void segment_retire(struct spool *s, struct segment *g)
{
	if (g->found || s->n_spare == SPOOL_SPARE) {
		segment_delete(s, g);
		return;
	}
	if (g->given_back || g->dropped) /* not of a busy writer: it need not be resident */
		segment_unmap(g);
	g->next = s->spare;
	s->spare = g;
	s->n_spare++;
	spool_signal(s->room_fd);
}

static bool is_acknowledged(const struct track *t, const struct segment *g)
{
	return g->sequence < t->ack.sequence || start_of(t, g) >= g->end;
}

void track_reap(struct spool *s, struct track *t)
{
	while (t->first && t->first->ended && is_acknowledged(t, t->first)) {
		struct segment *g = t->first;

		t->first = g->next;
		if (!t->first)
			t->last = NULL;
		if (t->reading == g) {
			t->reading = t->first;
			t->offset = t->first ? start_of(t, t->first) : 0;
		}
		segment_retire(s, g);
	}
}

static void reap_all(struct spool *s)
{
	for (unsigned i = 0; i < s->n_tracks; i++)
		track_reap(s, &s->tracks[i]);
}

/* --- reading --- */

static bool record_checks(const struct segment *g, size_t offset, uint32_t length)
{
	const char *at = g->map + offset;
	uint32_t crc;

	if (length > g->size - offset - SPOOL_RECORD_HEADER || record_span(length) > g->size - offset)
		return false;
	memcpy(&crc, at + sizeof(length), sizeof(crc));
	return crc == segment_crc(g, length, at + SPOOL_RECORD_HEADER);
}

/* What an earlier run left counts as pending from its first reading on. */
static void note_seen(struct spool *s, struct segment *g, size_t end)
{
	if (end <= g->seen)
		return;
	if (g->found)
		counter_add(&s->found_bytes, end - max_size(g->seen, start_of(&s->tracks[g->writer], g)));
	g->seen = end;
}

static int track_read(struct spool *s, struct track *t, struct log_record *ret, struct spool_cursor *ret_cursor)
{
	for (struct segment *g = t->reading; g; g = t->reading) {
		/* Before the length: when it was sealed, all its lengths are there to be seen. */
		bool sealed = atomic_load_explicit(&g->sealed, memory_order_acquire);
		uint32_t length = length_read(g, t->offset);
		size_t at = t->offset;

		if (length && record_checks(g, at, length)) {
			t->offset += record_span(length);
			note_seen(s, g, t->offset);
			*ret_cursor = (struct spool_cursor){g->writer, g->sequence, t->offset};
			if (record_decode((struct slice){g->map + at + SPOOL_RECORD_HEADER, length}, ret) == 0)
				return 0;
			counter_add(&s->cut_bytes, record_span(length));
			continue;
		}
		if (length)
			g->end = at;
		if (!sealed)
			return E_AGAIN;
		segment_end(s, g, at);
		if (!g->next)
			return E_AGAIN;
		t->reading = g->next;
		t->offset = start_of(t, g->next);
	}
	return E_AGAIN;
}

int spool_read(struct spool *s, struct log_record *ret, struct spool_cursor *ret_cursor)
{
	LOCK(s);
	for (unsigned i = 0; i < s->n_tracks; i++) {
		struct track *t = &s->tracks[s->next_track];

		s->next_track = (s->next_track + 1) % s->n_tracks;
		if (t->reading && track_read(s, t, ret, ret_cursor) == 0)
			return 0;
	}
	reap_all(s); /* what was just seen to have ended */
	return E_AGAIN;
}

size_t spool_unread(struct spool *s)
{
	size_t n = 0;

	LOCK(s);
	for (unsigned i = 0; i < s->n_tracks; i++) {
		const struct track *t = &s->tracks[i];

		for (const struct segment *g = t->reading; g; g = g->next) {
			size_t used = atomic_load_explicit(&g->used, memory_order_relaxed);
			size_t from = g == t->reading ? t->offset : SPOOL_SEGMENT_HEADER;

			n += used > from ? used - from : 0;
		}
	}
	return n;
}

void spool_rewind(struct spool *s)
{
	LOCK(s);
	for (unsigned i = 0; i < s->n_tracks; i++) {
		struct track *t = &s->tracks[i];

		t->reading = t->first;
		t->offset = t->first ? start_of(t, t->first) : 0;
	}
}

/* --- acknowledging --- */

static bool is_before(uint64_t sequence, uint64_t offset, const struct spool_cursor *c)
{
	return sequence < c->sequence || (sequence == c->sequence && offset < c->offset);
}

static void count_shipped(struct spool *s, struct track *t, const struct spool_cursor *c)
{
	const struct segment *g = t->first;
	size_t offset = g ? start_of(t, g) : 0;
	uint64_t records = 0, bytes = 0;

	while (g && is_before(g->sequence, offset, c)) {
		uint32_t length = length_read(g, offset);

		if (!length) {
			g = g->next;
			offset = SPOOL_SEGMENT_HEADER;
			continue;
		}
		records++;
		bytes += record_span(length);
		offset += record_span(length);
	}
	counter_add(&s->shipped, records);
	counter_add(&s->acked_bytes, bytes);
	t->lately_bytes += bytes;
}

static bool is_busy(struct track *t)
{
	int64_t now_ms = clock_mono_ms();
	bool busy = (int64_t)t->lately_bytes > (now_ms - t->looked_ms) * BUSY_BYTES_PER_MS;

	t->lately_bytes = 0;
	t->looked_ms = now_ms;
	return busy;
}

/* Resident pages before the acknowledged place are of no more use, until the segment is used again.  Nobody writes
 * there, and the file keeps what they hold. */
static void give_back(struct track *t, bool settle)
{
	struct segment *g = t->first;
	size_t upto;

	if (!g || g->sequence != t->ack.sequence)
		return;
	atomic_store_explicit(&g->acked, t->ack.offset, memory_order_release);
	upto = t->ack.offset & ~(size_t)(PAGE - 1);
	if ((t->lately_bytes < GIVE_BACK_BYTES || is_busy(t)) && !settle)
		return;
	if (upto <= g->given_back || upto > g->size)
		return;
	(void)madvise(g->map + g->given_back, upto - g->given_back, MADV_DONTNEED); /* or they stay resident */
	g->given_back = upto;
}

int spool_ack(struct spool *s, const struct spool_cursor *cursors, size_t n, struct err *err)
{
	int64_t now_ms = clock_mono_ms();
	int rc;

	LOCK(s);
	for (size_t i = 0; i < n; i++) {
		struct track *t = &s->tracks[cursors[i].writer];

		if (!is_before(t->ack.sequence, t->ack.offset, &cursors[i]))
			continue;
		count_shipped(s, t, &cursors[i]);
		t->ack = (struct position){cursors[i].sequence, cursors[i].offset};
		t->acked_ms = now_ms;
	}
	/* When this fails, a restart may ship a part again: no reason to keep segments. */
	rc = ack_write(s, err);
	for (size_t i = 0; i < n; i++) {
		track_reap(s, &s->tracks[cursors[i].writer]);
		give_back(&s->tracks[cursors[i].writer], false);
	}
	return rc;
}

void spool_mark(struct spool *s)
{
	LOCK(s);
	for (unsigned i = 0; i < s->n_tracks; i++) {
		struct track *t = &s->tracks[i];
		const struct segment *active = NULL;

		if (i < s->n_writers)
			active = atomic_load_explicit(&s->writers[i].active, memory_order_acquire);
		t->mark = (struct position){0, 0};
		if (active) {
			t->mark.sequence = active->sequence;
			t->mark.offset = atomic_load_explicit(&active->used, memory_order_acquire);
			continue;
		}
		for (const struct segment *g = t->first; g; g = g->next) {
			if (g->found)
				t->mark = (struct position){g->sequence, UINT64_MAX};
		}
	}
}

bool spool_mark_reached(struct spool *s)
{
	LOCK(s);
	for (unsigned i = 0; i < s->n_tracks; i++) {
		const struct track *t = &s->tracks[i];
		struct spool_cursor mark = {i, t->mark.sequence, t->mark.offset};

		if (t->first && is_before(t->first->sequence, start_of(t, t->first), &mark))
			return false;
	}
	return true;
}

/* --- preparing --- */

/* How many segments should be ready: more, the more were used. */
static unsigned ahead_wanted(const struct writer *w)
{
	unsigned taken = atomic_load_explicit(&w->ring_taken, memory_order_acquire);

	if (taken < 1)
		return 1;
	return taken < SPOOL_AHEAD ? taken : SPOOL_AHEAD;
}

static int segment_add(struct spool *s, unsigned writer, struct err *err)
{
	struct writer *w = &s->writers[writer];
	unsigned put = atomic_load_explicit(&w->ring_put, memory_order_relaxed);
	struct segment *g = s->spare;
	int rc;

	if (g) {
		s->spare = g->next;
		s->n_spare--;
		rc = segment_recycle(s, g, writer, err);
		if (rc == 0)
			segment_uncount(s, g); /* track_append counts it again */
	} else {
		rc = segment_create(s, writer, &g, err);
	}
	if (rc < 0)
		return rc;
	track_append(s, g);
	atomic_store_explicit(&w->ring[put % SPOOL_AHEAD], g, memory_order_relaxed);
	atomic_store_explicit(&w->ring_put, put + 1, memory_order_release);
	return 0;
}

static int writer_supply(struct spool *s, unsigned writer, struct err *err)
{
	struct writer *w = &s->writers[writer];
	unsigned wanted = ahead_wanted(w), ready;
	int rc = 0;

	while (rc == 0) {
		ready = atomic_load_explicit(&w->ring_put, memory_order_relaxed) -
			atomic_load_explicit(&w->ring_taken, memory_order_acquire);
		if (ready >= wanted)
			break;
		if (s->spare || s->allocated_bytes + s->segment_bytes <= s->max_bytes)
			rc = segment_add(s, writer, err);
		else if (ready) /* as far ahead as the limit lets it be */
			break;
		else
			rc = err_set(
				err, E_IO,
				"the spool in %s is full: the database has not taken its records, and the limit of all "
				"segments together is %" PRIu64 " MiB",
				s->directory, s->max_bytes >> 20);
	}
	return rc;
}

int spool_supply(struct spool *s, struct err *err)
{
	int rc = 0, one;

	for (unsigned i = 0; i < s->n_writers; i++) {
		one = writer_supply(s, i, rc ? NULL : err);
		rc = rc ? rc : one;
	}
	return rc;
}

/* Maps in what the writer will come to next: the first page of a file's 2 MiB can take milliseconds, which no loop has.
 */
static void touch_ahead(const struct spool *s, struct writer *w)
{
	struct segment *active = atomic_load_explicit(&w->active, memory_order_acquire);
	unsigned taken = atomic_load_explicit(&w->ring_taken, memory_order_acquire);

	if (active)
		segment_touch(s, active,
			      atomic_load_explicit(&active->used, memory_order_relaxed) + SPOOL_WINDOW_BYTES);
	if (taken != atomic_load_explicit(&w->ring_put, memory_order_relaxed))
		segment_touch(s, atomic_load_explicit(&w->ring[taken % SPOOL_AHEAD], memory_order_relaxed),
			      SPOOL_WINDOW_BYTES / 4);
}

/* How many sealed segments may stay resident: to give back what is read soon, and have it again, costs the most when
 * there is no time for it. */
static unsigned backlog_of(const struct track *t, int64_t now_ms)
{
	return t->acked_ms && now_ms - t->acked_ms < BUSY_MS ? SPOOL_BACKLOG_BUSY : SPOOL_BACKLOG;
}

/* Those that wait for their turn (the database is away) need not be resident. */
static void drop_waiting(const struct track *t, unsigned n_stay)
{
	for (struct segment *g = t->reading ? t->reading->next : NULL; g; g = g->next) {
		if (n_stay) {
			n_stay--;
			continue;
		}
		if (g->dropped || !atomic_load_explicit(&g->sealed, memory_order_acquire))
			continue;
		g->dropped = true;
		(void)madvise(g->map, g->size, MADV_DONTNEED); /* or they stay resident */
	}
}

/* Of one that its writer has not filled: what stands behind the window. */
static void settle_ahead(struct segment *g, size_t used)
{
	size_t window = (used + SPOOL_WINDOW_BYTES) & ~(size_t)(PAGE - 1);

	if (window >= atomic_load_explicit(&g->touched, memory_order_relaxed))
		return;
	(void)madvise(g->map + window, g->size - window, MADV_DONTNEED); /* or it stays resident */
	atomic_store_explicit(&g->touched, window, memory_order_relaxed);
}

void spool_drop_spare(struct spool *s)
{
	for (struct segment *g = s->spare, *next; g; g = next) {
		next = g->next;
		segment_delete(s, g);
	}
	s->spare = NULL;
	s->n_spare = 0;
}

void spool_settle(struct spool *s)
{
	LOCK(s);
	for (struct segment *g = s->spare; g; g = g->next)
		segment_unmap(g);
	for (unsigned i = 0; i < s->n_tracks; i++) {
		struct track *t = &s->tracks[i];

		give_back(t, true);
		drop_waiting(t, 0);
		for (struct segment *g = t->first; g; g = g->next) {
			if (!g->found && !atomic_load_explicit(&g->sealed, memory_order_acquire))
				settle_ahead(g, atomic_load_explicit(&g->used, memory_order_relaxed));
		}
	}
}

int spool_prepare(struct spool *s, struct err *err)
{
	int64_t now_ms = clock_mono_ms();
	uint64_t n;
	int rc;

	LOCK(s);
	reap_all(s);
	(void)!read(s->room_fd, &n, sizeof(n)); /* EAGAIN: it was clear */
	for (unsigned i = 0; i < s->n_tracks; i++)
		drop_waiting(&s->tracks[i], backlog_of(&s->tracks[i], now_ms));
	rc = spool_supply(s, err);
	for (unsigned i = 0; i < s->n_writers; i++)
		touch_ahead(s, &s->writers[i]);
	return rc;
}
