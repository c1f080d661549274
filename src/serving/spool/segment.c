/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment files: made, mapped, found again, deleted.  Blocks are allocated before the file gets its name, so that
 * writing into the mapping can not run out of disk (which would be a SIGBUS); a file shorter than its header says is
 * mapped as far as it goes.  One that is used again has no name of a segment while its header changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/digest.h"
#include "serving/spool/spool_internal.h"

#define NAME_SIZE 48
#define PAGE 4096u

struct segment_header {
	char magic[8];
	uint32_t version, writer;
	uint64_t sequence, size;
	uint32_t recycled;
	char zero[24];
	uint32_t crc; /* of all before it */
};
_Static_assert(sizeof(struct segment_header) == SPOOL_SEGMENT_HEADER, "segment header");

static void name_format(char name[NAME_SIZE], uint32_t writer, uint64_t sequence)
{
	(void)snprintf(name, NAME_SIZE, "%03" PRIu32 "-%012" PRIu64 ".seg", writer, sequence); /* it fits */
}

bool segment_parse_name(const char *name, uint32_t *ret_writer, uint64_t *ret_sequence)
{
	struct slice s = slice_from(name), head;
	uint64_t writer, sequence;

	if (!slice_ends(s, SLICE_LIT(".seg")))
		return false;
	s.n -= 4;
	if (!slice_split(&s, '-', &head) || !s.p || slice_to_u64(head, &writer) < 0 || slice_to_u64(s, &sequence) < 0)
		return false;
	if (writer >= SPOOL_MAX_WRITERS || sequence == 0 || sequence >= UINT64_MAX / 2)
		return false;
	*ret_writer = (uint32_t)writer;
	*ret_sequence = sequence;
	return true;
}

uint32_t segment_crc(const struct segment *g, uint32_t length, const char *payload)
{
	return crc32c(crc32c(g->seed, &length, sizeof(length)), payload, length);
}

static uint32_t seed_of(uint64_t sequence)
{
	return crc32c(0, &sequence, sizeof(sequence));
}

static struct segment *segment_new(char *map, size_t size, uint32_t writer, uint64_t sequence)
{
	struct segment *g = calloc(1, sizeof(*g));

	if (!g)
		abort();
	g->map = map;
	g->fd = -1;
	g->size = size;
	g->writer = writer;
	g->sequence = sequence;
	g->seed = seed_of(sequence);
	g->end = SIZE_MAX;
	g->seen = SPOOL_SEGMENT_HEADER;
	atomic_init(&g->used, SPOOL_SEGMENT_HEADER);
	return g;
}

static struct segment_header header_make(const struct spool *s, uint32_t writer, bool recycled)
{
	struct segment_header h = {
		.magic = SEGMENT_MAGIC,
		.version = SEGMENT_VERSION,
		.writer = writer,
		.sequence = s->next_sequence,
		.size = s->segment_bytes,
		.recycled = recycled,
	};

	h.crc = crc32c(0, &h, offsetof(struct segment_header, crc));
	return h;
}

/* Allocated, with a header, still without its name. */
static int file_fill(struct spool *s, int fd, uint32_t writer, struct err *err)
{
	struct segment_header h = header_make(s, writer, false);
	int failure;

	do
		failure = posix_fallocate(fd, 0, (off_t)s->segment_bytes);
	while (failure == EINTR);
	if (failure)
		return err_set(err, E_IO, "cannot allocate %zu MiB for the spool in %s: %s", s->segment_bytes >> 20,
			       s->directory, strerror(failure));
	if (pwrite(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		return err_set(err, E_IO, "cannot write to the spool in %s: %s", s->directory, strerror(errno));
	return 0;
}

static int file_map(struct spool *s, int fd, size_t size, char **ret, struct err *err)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return err_set(err, E_IO, "cannot map a segment of the spool in %s: %s", s->directory, strerror(errno));
	*ret = map;
	return 0;
}

static const char temporary[] = "new.tmp";

int segment_create(struct spool *s, unsigned writer, struct segment **ret, struct err *err)
{
	char name[NAME_SIZE], *map = NULL;
	int fd, rc;

	fd = openat(s->dir_fd, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, E_IO, "cannot create a segment of the spool in %s: %s", s->directory,
			       strerror(errno));
	name_format(name, writer, s->next_sequence);
	rc = file_fill(s, fd, writer, err);
	if (!rc)
		rc = file_map(s, fd, s->segment_bytes, &map, err);
	if (!rc && renameat(s->dir_fd, temporary, s->dir_fd, name) < 0)
		rc = err_set(err, E_IO, "cannot name a segment of the spool in %s: %s", s->directory, strerror(errno));
	if (rc < 0) {
		close(fd);
		if (map)
			munmap(map, s->segment_bytes);
		(void)unlinkat(s->dir_fd, temporary, 0); /* the next attempt truncates it */
		return rc;
	}
	*ret = segment_new(map, s->segment_bytes, writer, s->next_sequence++);
	(*ret)->fd = fd;
	return 0;
}

static void segment_renew(struct segment *g, unsigned writer, uint64_t sequence)
{
	g->next = NULL;
	g->writer = writer;
	g->sequence = sequence;
	g->seed = seed_of(sequence);
	g->recycled = true;
	g->ended = g->dropped = false;
	g->end = SIZE_MAX;
	g->seen = SPOOL_SEGMENT_HEADER;
	g->given_back = 0;
	atomic_store_explicit(&g->used, SPOOL_SEGMENT_HEADER, memory_order_relaxed);
	atomic_store_explicit(&g->acked, 0, memory_order_relaxed);
	atomic_store_explicit(&g->sealed, false, memory_order_relaxed);
}

int segment_recycle(struct spool *s, struct segment *g, unsigned writer, struct err *err)
{
	struct segment_header h = header_make(s, writer, true);
	char old[NAME_SIZE], name[NAME_SIZE];
	int rc = 0;

	name_format(old, g->writer, g->sequence);
	name_format(name, writer, s->next_sequence);
	if (renameat(s->dir_fd, old, s->dir_fd, temporary) < 0) {
		rc = err_set(err, E_IO, "cannot rename a segment of the spool in %s: %s", s->directory,
			     strerror(errno));
		segment_delete(s, g);
		return rc;
	}
	memcpy(g->map, &h, sizeof(h));
	atomic_store_explicit(length_at(g, SPOOL_SEGMENT_HEADER), 0, memory_order_relaxed);
	segment_renew(g, writer, s->next_sequence++);
	if (renameat(s->dir_fd, temporary, s->dir_fd, name) < 0) {
		rc = err_set(err, E_IO, "cannot name a segment of the spool in %s: %s", s->directory, strerror(errno));
		(void)unlinkat(s->dir_fd, temporary, 0); /* the next attempt truncates it */
		segment_delete(s, g);
	}
	return rc;
}

static int header_check(const struct segment_header *h, uint32_t writer, uint64_t sequence)
{
	if (memcmp(h->magic, SEGMENT_MAGIC, sizeof(h->magic)) != 0 ||
	    h->crc != crc32c(0, h, offsetof(struct segment_header, crc)))
		return E_CORRUPT;
	if (h->version > SEGMENT_VERSION)
		return E_UNSUPPORTED;
	return h->writer == writer && h->sequence == sequence ? 0 : E_CORRUPT;
}

int segment_adopt(struct spool *s, const char *name, struct segment **ret, struct err *err)
{
	struct segment_header h;
	uint64_t sequence;
	uint32_t writer;
	struct stat st;
	char *map = NULL;
	int fd, rc;

	if (!segment_parse_name(name, &writer, &sequence))
		return E_CORRUPT;
	fd = openat(s->dir_fd, name, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		rc = err_set(err, E_IO, "cannot open %s/%s: %s", s->directory, name, strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		rc = E_CORRUPT;
	else
		rc = header_check(&h, writer, sequence);
	if (!rc)
		rc = file_map(s, fd, (size_t)st.st_size, &map, err);
	close(fd);
	if (rc < 0)
		return rc;
	*ret = segment_new(map, (size_t)st.st_size, writer, sequence);
	(*ret)->found = true;
	(*ret)->recycled = h.recycled;
	if (h.version < 2)
		(*ret)->seed = 0;
	atomic_init(&(*ret)->sealed, true);
	return 0;
}

/*
 * Into the page cache, without a copy.  A read takes many pages at a time from the kernel, a fault one: that a read
 * comes first halves the cost of all that is done to these pages later, until the file is deleted.
 */
static void read_ahead(const struct spool *s, const struct segment *g, size_t from, size_t upto)
{
	off_t at = (off_t)from;

	(void)!sendfile(s->null_fd, g->fd, &at, upto - from); /* without it the faults cost more */
}

void segment_touch(const struct spool *s, struct segment *g, size_t upto)
{
	size_t from = atomic_load_explicit(&g->touched, memory_order_relaxed);

	upto = min_size((upto + PAGE - 1) & ~(size_t)(PAGE - 1), g->size);
	if (upto <= from)
		return;
	read_ahead(s, g, from, upto);
#ifdef MADV_POPULATE_WRITE
	/* Before Linux 5.14 this fails, and the writer meets its page faults itself: slower, not wrong. */
	(void)madvise(g->map + from, upto - from, MADV_POPULATE_WRITE);
#endif
	atomic_store_explicit(&g->touched, upto, memory_order_relaxed);
}

void segment_free(struct segment *g)
{
	if (!g)
		return;
	munmap(g->map, g->size);
	if (g->fd >= 0)
		close(g->fd);
	free(g);
}

void segment_uncount(struct spool *s, const struct segment *g)
{
	s->allocated_bytes -= g->size;
	counter_set(&s->n_segments, counter_get(&s->n_segments) - 1);
}

void segment_delete(struct spool *s, struct segment *g)
{
	char name[NAME_SIZE];

	name_format(name, g->writer, g->sequence);
	(void)unlinkat(s->dir_fd, name, 0); /* if it stays, the next run finds it acknowledged and deletes it */
	segment_uncount(s, g);
	spool_signal(s->room_fd);
	segment_free(g);
}

void segment_shrink(struct spool *s, const struct segment *g)
{
	size_t used = atomic_load_explicit(&g->used, memory_order_relaxed);
	char name[NAME_SIZE];
	int fd;

	name_format(name, g->writer, g->sequence);
	fd = openat(s->dir_fd, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!ftruncate(fd, (off_t)used); /* it only saves room */
	close(fd);
}

size_t segment_tail(const struct segment *g, size_t offset)
{
	static const char zeros[PAGE];
	size_t end = offset;

	if (g->recycled) { /* what stands behind a length of zero may be of an earlier use */
		uint32_t length = 0;

		if (g->size - offset >= sizeof(length))
			memcpy(&length, g->map + offset, sizeof(length));
		return length ? min_size(record_span(length), g->size - offset) : 0;
	}

	for (size_t at = offset; at < g->size;) {
		size_t n = min_size(PAGE - at % PAGE, g->size - at);

		if (!memcmp(g->map + at, zeros, n))
			break;
		while (n && !g->map[at + n - 1])
			n--;
		end = at + n;
		at = (at | (PAGE - 1)) + 1;
	}
	return end - offset;
}
