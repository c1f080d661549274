/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writers' side of the spool: copying a record into mapped memory, waking the reader, the sums.  Everything in
 * spool_append runs on a loop for each request: no lock, no allocation, no system call but the one that wakes a
 * sleeping reader.
 */
#include <assert.h>
#include <unistd.h>

#include "serving/spool/record.h"
#include "serving/spool/spool_internal.h"

/* --- waking --- */

void spool_signal(int event_fd)
{
	uint64_t one = 1;

	(void)!write(event_fd, &one, sizeof(one)); /* fails only when it is readable anyway */
}

int spool_wake_fd(const struct spool *s)
{
	return s->wake_fd;
}

int spool_room_fd(const struct spool *s)
{
	return s->room_fd;
}

static void drain(struct spool *s)
{
	uint64_t n;

	(void)!read(s->wake_fd, &n, sizeof(n)); /* E_AGAIN: it was clear */
}

void spool_wake_clear(struct spool *s)
{
	drain(s);
	atomic_store_explicit(&s->armed, true, memory_order_seq_cst);
}

void spool_wake_hush(struct spool *s)
{
	atomic_store_explicit(&s->armed, false, memory_order_seq_cst);
	drain(s);
}

/* --- appending --- */

/* Moves on to the next prepared segment; NULL when there is none. */
static struct segment *writer_rotate(struct writer *w)
{
	unsigned taken = atomic_load_explicit(&w->ring_taken, memory_order_relaxed);
	struct segment *old = w->segment, *g;

	if (taken == atomic_load_explicit(&w->ring_put, memory_order_acquire))
		return NULL;
	g = atomic_load_explicit(&w->ring[taken % SPOOL_AHEAD], memory_order_relaxed);
	w->segment = g;
	w->signalled = 0;
	atomic_store_explicit(&w->active, g, memory_order_release);
	atomic_store_explicit(&w->ring_taken, taken + 1, memory_order_release);
	if (old)
		atomic_store_explicit(&old->sealed, true, memory_order_release); /* its last touch: now it may go */
	return g;
}

static bool has_room(const struct segment *g, size_t span)
{
	return g && span <= g->size - atomic_load_explicit(&g->used, memory_order_relaxed);
}

/*
 * No segment is ready, and there may never be one while this writer keeps the last room on the disk: when the database
 * has all of its records, it leaves its own segment, which is then deleted and made anew.
 */
static void writer_give_up_spent(struct writer *w)
{
	struct segment *g = w->segment;
	size_t used = g ? atomic_load_explicit(&g->used, memory_order_relaxed) : 0;

	if (used <= SPOOL_SEGMENT_HEADER || atomic_load_explicit(&g->acked, memory_order_acquire) != used)
		return;
	w->segment = NULL;
	w->starving = false;
	atomic_store_explicit(&w->active, NULL, memory_order_release);
	atomic_store_explicit(&g->sealed, true, memory_order_release); /* as in writer_rotate */
}

/* The segment to append to; NULL when none is ready. *ret_urgent: spool_prepare has to be called. */
static struct segment *segment_for(struct writer *w, size_t span, bool *ret_urgent)
{
	struct segment *g = w->segment;

	if (!has_room(g, span)) {
		g = writer_rotate(w);
		if (!g)
			writer_give_up_spent(w);
		*ret_urgent = g || !w->starving; /* says so once */
		w->starving = !g;
	}
	return g;
}

static void record_store(struct segment *g, const struct log_record *r, uint32_t length)
{
	size_t at = atomic_load_explicit(&g->used, memory_order_relaxed);
	char *to = g->map + at;
	uint32_t crc;

	record_encode(r, to + SPOOL_RECORD_HEADER);
	crc = segment_crc(g, length, to + SPOOL_RECORD_HEADER);
	memcpy(to + sizeof(length), &crc, sizeof(crc));
	if (g->recycled && g->size - at - record_span(length) >= SPOOL_RECORD_HEADER)
		atomic_store_explicit(length_at(g, at + record_span(length)), 0, memory_order_relaxed);
	atomic_store_explicit(length_at(g, at), length, memory_order_seq_cst);
	atomic_store_explicit(&g->used, at + record_span(length), memory_order_release);
}

/* Once for each time that the touched part nears its end. */
static bool wants_touching(struct writer *w, const struct segment *g)
{
	size_t touched = atomic_load_explicit(&g->touched, memory_order_relaxed);
	size_t used = atomic_load_explicit(&g->used, memory_order_relaxed);

	if (used + SPOOL_WINDOW_BYTES / 2 < touched || touched >= g->size || w->signalled == touched)
		return false;
	w->signalled = touched;
	return true;
}

/* A flag first, so that of all appends to a sleeping reader one makes the call. */
static void wake_reader(struct spool *s)
{
	if (atomic_load_explicit(&s->armed, memory_order_seq_cst) &&
	    atomic_exchange_explicit(&s->armed, false, memory_order_seq_cst))
		spool_signal(s->wake_fd);
}

/* The last 8 bytes of an id are a digest or chance: no two of those that are made the same way are alike. */
static uint64_t mark_of(const struct uuid *id)
{
	uint64_t mark;

	memcpy(&mark, id->b + 8, sizeof(mark));
	return mark | 1; /* 0: an empty place */
}

static _Atomic uint64_t *place_of(const struct spool *s, uint64_t mark)
{
	return &s->remembered[mark >> 32 & (SPOOL_REMEMBERED - 1)];
}

void spool_remember(struct spool *s, const struct uuid *id)
{
	uint64_t mark = mark_of(id);

	atomic_store_explicit(place_of(s, mark), mark, memory_order_relaxed);
}

bool spool_remembers(const struct spool *s, const struct uuid *id)
{
	uint64_t mark = mark_of(id);

	return atomic_load_explicit(place_of(s, mark), memory_order_relaxed) == mark;
}

int spool_append(struct spool *s, unsigned writer, const struct log_record *r)
{
	struct writer *w = &s->writers[writer];
	size_t length = record_size(r);
	struct segment *g = NULL;
	bool urgent = false;
	int rc = E_TOOBIG;

	assert(writer < s->n_writers);
	if (length <= s->segment_bytes - SPOOL_SEGMENT_HEADER - SPOOL_RECORD_HEADER) {
		rc = E_UNAVAILABLE;
		g = segment_for(w, record_span((uint32_t)length), &urgent);
	}
	if (g) {
		record_store(g, r, (uint32_t)length);
		counter_add(&w->records, 1);
		counter_add(&w->bytes, record_span((uint32_t)length));
		urgent = wants_touching(w, g) || urgent;
		rc = 0;
	} else {
		counter_add(&w->lost, 1);
	}
	wake_reader(s);
	if (UNLIKELY(urgent))
		spool_signal(s->room_fd);
	return rc;
}

bool spool_has_room(struct spool *s, unsigned writer, size_t record_bytes)
{
	struct writer *w = &s->writers[writer];
	unsigned taken = atomic_load_explicit(&w->ring_taken, memory_order_relaxed);

	assert(writer < s->n_writers);
	if (has_room(w->segment, record_bytes + SPOOL_RECORD_HEADER) ||
	    taken != atomic_load_explicit(&w->ring_put, memory_order_acquire))
		return true;
	writer_give_up_spent(w);
	wake_reader(s); /* it sees that the segment has ended */
	return false;
}

/* --- numbers --- */

const char *spool_directory(const struct spool *s)
{
	return s->directory;
}

const struct spool_stats *spool_stats(const struct spool *s)
{
	uint64_t records = 0, bytes = 0, lost = 0;
	uint64_t acked = counter_get(&s->acked_bytes); /* before what it is taken from */

	for (unsigned i = 0; i < s->n_writers; i++) {
		records += counter_get(&s->writers[i].records);
		bytes += counter_get(&s->writers[i].bytes);
		lost += counter_get(&s->writers[i].lost);
	}
	counter_set(&s->stats->records, records);
	counter_set(&s->stats->bytes, bytes);
	counter_set(&s->stats->lost, lost);
	counter_set(&s->stats->shipped, counter_get(&s->shipped));
	counter_set(&s->stats->cut_bytes, counter_get(&s->cut_bytes));
	counter_set(&s->stats->segments, counter_get(&s->n_segments));
	bytes += counter_get(&s->found_bytes);
	counter_set(&s->stats->pending_bytes, bytes > acked ? bytes - acked : 0);
	return s->stats;
}
